"""The relay on a UDP port: packets to connections, connections to sessions, raw QUIC and WebTransport alike.

Rules:

- One port serves both transports and all drafts: ALPN `h3` is WebTransport, the others name a draft.
- Over raw QUIC the relay prefers its newest draft; over WebTransport it takes the client's first that it
  has. A client that offers no sub-protocol is answered with draft 14, which negotiates in its SETUP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import cast

from aioquic._buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_version_negotiation,
    pull_quic_header,
)

from pytest_moqt.protocol.drafts import SUPPORTED, Draft, draft, draft_of_wt_protocol
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.webtransport import format_protocol
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.certificates import Identity
from pytest_moqt.relay.connection import Answer, Connection, Handler, SessionTransport
from pytest_moqt.relay.features import Features
from pytest_moqt.relay.internals import ServerConnection
from pytest_moqt.relay.retry import AddressValidation, Origin
from pytest_moqt.relay.routing import Router
from pytest_moqt.relay.session import Session
from pytest_moqt.relay.tickets import TicketStore

logger = logging.getLogger("pytest_moqt.relay")

# aioquic warns of each client that gives up; without a handler Python would print that to standard error.
logging.getLogger("quic").addHandler(logging.NullHandler())


def bind(host: str, port: int) -> socket.socket:
    """A UDP socket, bound.

    Raises:
        OSError: The address is not this machine's, or is in use.
    """
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    bound = socket.socket(family, kind, number)
    try:
        bound.setblocking(False)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


class Server(asyncio.DatagramProtocol):
    """A relay on one UDP socket; a `connection.Host`.

    Args:
        loop: The event loop it runs in.
        identity: Certificate and key.
        drafts: Draft numbers spoken.
        transport: `auto`, `quic` or `webtransport`.
        behaviour: How the relay decides; by default correctly.
        features: What of QUIC it offers.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        identity: Identity,
        *,
        drafts: Sequence[int] = SUPPORTED,
        transport: str = "auto",
        behaviour: Behaviour | None = None,
        features: Features | None = None,
    ) -> None:
        self.loop = loop
        self.behaviour = behaviour or Behaviour()
        self.features = features or Features()
        self.drafts: tuple[Draft, ...] = tuple(draft(number) for number in sorted(drafts, reverse=True))
        self.router = Router(loop, self.behaviour)
        alpn = [row.alpn for row in self.drafts] if transport != "webtransport" else []
        if transport != "quic":
            alpn.append("h3")
        self._configuration = QuicConfiguration(
            is_client=False,
            alpn_protocols=self.behaviour.alpn(alpn),
            certificate=identity.certificate,
            certificate_chain=list(identity.chain),
            private_key=identity.private_key,
            idle_timeout=limits.IDLE_SECONDS,
            max_datagram_frame_size=65535,
            supported_versions=self.features.versions,
            cipher_suites=self.features.ciphers,
        )
        self._validation = AddressValidation(self.behaviour) if self.features.retry else None
        self._tickets = TicketStore(self.behaviour) if self.features.resumption else None
        self._quic = self.behaviour.quic(ServerConnection)
        self._connections: dict[bytes, Connection] = {}
        self._socket: asyncio.DatagramTransport | None = None
        self._more: socket.socket | None = None
        "The same socket, to read what asyncio would tell one turn later."

    def connections(self) -> set[Connection]:
        """Those that have not drained."""
        return set(self._connections.values())

    def go_away(self, seconds: float) -> None:
        """Say GOAWAY to all clients; those that have not gone in so many seconds are closed."""
        for session in list(self.router.sessions):
            session.go_away(seconds)

    async def leave(self, seconds: float) -> None:
        """Say GOAWAY to all clients and wait until they have gone, or have been closed for staying."""
        gone = asyncio.Event()
        self.router.deserted = gone.set
        self.go_away(seconds)
        if self.router.sessions:
            # Not forever: sessions that began since then were told nothing.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), seconds)

    def close(self) -> None:
        """End all sessions and connections, and close the socket."""
        for session in list(self.router.sessions):
            session.close(SessionError.NO_ERROR, "the relay stops")
        for connection in self.connections():
            connection.end()
            connection.drop()
        self._connections.clear()
        if self._socket is not None:
            self._socket.close()
        if self._more is not None:
            self._more.close()
            self._more = None

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._socket = cast("asyncio.DatagramTransport", transport)
        own = transport.get_extra_info("socket")
        # A transport need not have one.
        self._more = None if own is None else own.dup()

    def datagram_received(self, data: bytes, addr: NetworkAddress) -> None:
        """Pass on a datagram, and some that came behind it: what is sent for them is sent in one go."""
        self._pass_on(data, addr)
        for _ in range(limits.DATAGRAMS_A_TURN - 1):
            if self._more is None:
                return
            try:
                data, addr = self._more.recvfrom(limits.DATAGRAM_BYTES)
            except OSError:
                return  # there is none, or there was an error, of which see `error_received`
            self._pass_on(data, addr)

    def _pass_on(self, data: bytes, addr: NetworkAddress) -> None:
        """Pass on one datagram; what is no QUIC packet of ours is dropped."""
        try:
            header = pull_quic_header(
                Buffer(data=data), host_cid_length=self._configuration.connection_id_length
            )
        except ValueError:
            return
        negotiable = header.packet_type is not QuicPacketType.VERSION_NEGOTIATION
        if negotiable and header.version not in (None, *self._configuration.supported_versions):
            if len(data) >= SMALLEST_MAX_DATAGRAM_SIZE:  # RFC 9000 section 6.1: never answer a small one
                answer = self.behaviour.negotiate_version(
                    encode_quic_version_negotiation(
                        source_cid=header.destination_cid,
                        destination_cid=header.source_cid,
                        supported_versions=self._configuration.supported_versions,
                    )
                )
                if answer is not None:
                    self.send(answer, addr)
            return
        connection = self._connections.get(header.destination_cid)
        if connection is None:
            if header.packet_type is not QuicPacketType.INITIAL or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
                return
            if len(self.connections()) >= limits.CONNECTIONS:
                return
            origin = Origin(header.destination_cid)
            if self._validation is not None:
                examined = self._validation.examine(header, addr, self.loop.time())
                if isinstance(examined, bytes):
                    if examined:
                        self.send(examined, addr)
                    return
                origin = examined
            connection = self._accept(header, origin)
        elif addr != connection.address and not (
            self.features.migration and self.behaviour.takes_from_new_port()
        ):
            # "drop packets on that path ... or proceed with path validation" (RFC 9000 section 9).
            return
        try:
            connection.datagram_received(data, addr)
        except Exception:
            logger.exception("a datagram could not be handled")

    def _accept(self, header: QuicHeader, origin: Origin) -> Connection:
        """A connection of a new client's."""
        quic = self._quic(
            configuration=self._configuration,
            original_destination_connection_id=origin.destination_id,
            retry_source_connection_id=origin.retry_source_id,
            session_ticket_fetcher=None if self._tickets is None else self._tickets.take,
            session_ticket_handler=None if self._tickets is None else self._tickets.add,
        )
        quic.early_data = self.features.zero_rtt
        quic.migration = self.features.migration
        connection = Connection(quic, self)
        self._connections[header.destination_cid] = connection
        self._connections[quic.host_cid] = connection
        return connection

    def error_received(self, exc: Exception) -> None:
        """ICMP errors say nothing that idle timeouts will not."""

    # connection.Host

    def send(self, data: bytes, address: NetworkAddress) -> None:
        """Send one UDP datagram."""
        if self._socket is not None and not self._socket.is_closing():
            self._socket.sendto(data, address)

    def add_id(self, connection_id: bytes, connection: Connection) -> None:
        """Direct packets with this connection id to the connection."""
        self._connections[connection_id] = connection

    def remove_id(self, connection_id: bytes) -> None:
        """Undo `add_id`."""
        self._connections.pop(connection_id, None)

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        for connection_id in [key for key, value in self._connections.items() if value is connection]:
            del self._connections[connection_id]

    def refusal(self) -> int | None:
        """The QUIC error with which a connection is refused; None: it is welcome."""
        return self.behaviour.refusal()

    def open_session(self, transport: SessionTransport, draft: Draft) -> Handler:
        """Begin a session."""
        session = Session(transport, draft, self.router, self.behaviour, self.loop)
        session.start()
        return session

    def answer_connect(self, path: str, offered: Sequence[str] | None) -> Answer:
        """Decide on a request for a WebTransport session (see `connection.Host`)."""
        return self.behaviour.answer_connect(self._correct_answer(self.behaviour.offered(offered)), path)

    def _correct_answer(self, offered: Sequence[str] | None) -> Answer:
        for name in offered or (None,):
            chosen = draft_of_wt_protocol(name)
            if chosen is not None and chosen in self.drafts:
                headers = () if name is None else ((b"wt-protocol", format_protocol(name).encode()),)
                return Answer(200, headers, chosen)
        return Answer(400)
