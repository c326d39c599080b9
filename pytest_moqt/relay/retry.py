"""Validates the addresses of clients by Retry, before anything is kept of them (RFC 9000 section 8.1.2)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import QuicRetryTokenHandler

from pytest_moqt.relay.behaviour import Behaviour

ID_BYTES = 8
"Length of the connection id that a Retry gives."

_CLOSE_BYTES = 1 + 8 + 8 + 1
"Type, code, frame type and length of no reason, each at its longest."


@dataclass(frozen=True, slots=True)
class Origin:
    """Which connection ids a client used before its address was known to be its own."""

    destination_id: bytes
    "Of its very first packet."
    retry_source_id: bytes | None = None
    "That the Retry gave it; None without one."


class AddressValidation:
    """What first packets are answered with, as long as nobody knows that their sender is there."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._tokens = QuicRetryTokenHandler()

    def examine(self, header: QuicHeader, address: NetworkAddress, now: float) -> Origin | bytes:
        """Where a first packet's connection began, or the datagram that answers it, empty: none does."""
        assert header.version is not None, "a first packet has a long header"
        if not header.token:
            return self._retry(header, header.version, address, now)
        try:
            original = self._tokens.validate_token(
                address=address, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            # "the server SHOULD immediately close the connection with an INVALID_TOKEN error" (section
            # 8.1.2), since a client takes no second Retry.
            return _close(header, header.version) if self._behaviour.answers_foreign_token() else b""
        if not self._behaviour.takes_token():
            return self._retry(header, header.version, address, now)
        return Origin(original, header.destination_cid)

    def _retry(self, header: QuicHeader, version: int, address: NetworkAddress, now: float) -> bytes:
        source_id = os.urandom(ID_BYTES)
        return encode_quic_retry(
            version=version,
            source_cid=source_id,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._tokens.create_token(
                address=address,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source_id,
                now=now,
            ),
        )


def _close(header: QuicHeader, version: int) -> bytes:
    """A datagram with CONNECTION_CLOSE INVALID_TOKEN, in keys that anyone can make who saw the packet."""
    crypto = CryptoPair()
    crypto.setup_initial(cid=header.destination_cid, is_client=False, version=version)
    builder = QuicPacketBuilder(
        host_cid=header.destination_cid,
        peer_cid=header.source_cid,
        is_client=False,
        max_datagram_size=SMALLEST_MAX_DATAGRAM_SIZE,
        version=version,
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=_CLOSE_BYTES)
    frame.push_uint_var(QuicErrorCode.INVALID_TOKEN)
    frame.push_uint_var(QuicFrameType.PADDING)
    frame.push_uint_var(0)
    datagrams, _ = builder.flush()
    return bytes(datagrams[0])
