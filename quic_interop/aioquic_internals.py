"""The private names of aioquic 1.7 that this endpoint alone needs and that have no public word.

Nothing else in this package touches a name of aioquic that begins with an underscore;
tests/quic_interop/test_interop_internals.py checks that each is still there and still means the same.
Those that a client of MoQT needs too are in pytest_moqt/client/aioquic_internals.py.
"""

from __future__ import annotations

import os

from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionId
from aioquic.quic.events import ConnectionIdIssued
from aioquic.quic.packet import (
    QuicHeader,
    QuicPreferredAddress,
    pull_quic_header,
    push_quic_preferred_address,
)
from aioquic.tls import SessionTicketFetcher, SessionTicketHandler

_PREFERRED_ADDRESS = 0x0D
"The transport parameter (RFC 9000 section 18.2)."
_PREFERRED_ADDRESS_SEQUENCE = 1
"Of the connection id in it (RFC 9000 section 5.1.1)."
_RESET_TOKEN_BYTES = 16


def header_of(datagram: bytes, id_length: int) -> QuicHeader:
    """What the first packet of a datagram says in the clear.

    Args:
        datagram: It begins with a packet.
        id_length: Of our connection ids, in bytes: short headers do not say it.

    Raises:
        ValueError: It is no QUIC packet.
    """
    return pull_quic_header(Buffer(data=datagram), host_cid_length=id_length)


def cipher_suite(quic: QuicConnection) -> int:
    """The number of the cipher suite in use; 0 before the handshake."""
    schedule = quic.tls.key_schedule
    return 0 if schedule is None else int(schedule.cipher_suite)


def retried(quic: QuicConnection) -> bool:
    """Whether a client was sent a Retry packet, and followed it."""
    return quic._retry_count > 0


class ServerConnection(QuicConnection):
    """A server's connection that can name another address of the server.

    Args:
        preferred: IP address and port of the server that the client is asked to move to.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        original_destination_connection_id: bytes,
        retry_source_connection_id: bytes | None,
        session_ticket_fetcher: SessionTicketFetcher | None,
        session_ticket_handler: SessionTicketHandler | None,
        preferred: tuple[str, int] | None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
            session_ticket_fetcher=session_ticket_fetcher,
            session_ticket_handler=session_ticket_handler,
        )
        self._preferred: QuicPreferredAddress | None = None
        if preferred is not None:
            self._offer(preferred)

    def _offer(self, address: tuple[str, int]) -> None:
        given = QuicConnectionId(
            cid=os.urandom(self.configuration.connection_id_length),
            sequence_number=_PREFERRED_ADDRESS_SEQUENCE,
            stateless_reset_token=os.urandom(_RESET_TOKEN_BYTES),
            was_sent=True,
        )
        self._host_cids.append(given)
        self._host_cid_seq = _PREFERRED_ADDRESS_SEQUENCE + 1
        self._events.append(ConnectionIdIssued(connection_id=given.cid))
        is_ipv6 = ":" in address[0]
        self._preferred = QuicPreferredAddress(
            ipv4_address=None if is_ipv6 else address,
            ipv6_address=address if is_ipv6 else None,
            connection_id=given.cid,
            stateless_reset_token=given.stateless_reset_token,
        )

    def _serialize_transport_parameters(self) -> bytes:
        parameters = super()._serialize_transport_parameters()
        if self._preferred is None:
            return parameters
        value = Buffer(capacity=128)
        push_quic_preferred_address(value, self._preferred)
        added = Buffer(capacity=128)
        added.push_uint_var(_PREFERRED_ADDRESS)
        added.push_uint_var(len(value.data))
        added.push_bytes(value.data)
        return bytes(parameters + added.data)
