"""Runs a test case as the server: datagrams to connections, connections to files, until it is told to stop.

Rules:

- A path is a socket of ours and an address of the client's: aioquic tells paths apart by the address it is
  given alone, so it is given both. Otherwise what a client sends to the preferred address would be of the old
  path, and be answered from the old socket.
- A version that is not known is answered with Version Negotiation, whatever is asked: the runner's simulator
  waits for that before it starts a client.
- A connection is kept until it has drained: what a client sent again before it closed must begin no new one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    ProtocolNegotiated,
    QuicEvent,
)
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from aioquic.tls import SessionTicket

from quic_interop.aioquic_internals import ServerConnection, header_of
from quic_interop.cases import H3
from quic_interop.configuration import server_configuration
from quic_interop.driver import Driver
from quic_interop.errors import InteropError
from quic_interop.network import Address, Link, UdpSocket, listening_socket
from quic_interop.serving import Http09Server, Http3Server, Server
from quic_interop.settings import ServerSettings
from quic_interop.www import Www

_CONNECTION_IDS = 10000
"Routed at a time, about ten for a connection; the runner's cases have one connection at a time."
_TICKETS = 1000
"Kept until they are used; the oldest go first."
_RETRY_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Path:
    """The two ends of a way, as aioquic's idea of an address."""

    udp: UdpSocket
    "Ours."
    peer: Address


class TicketStore:
    """Session tickets that were given; each is taken once, as 0-RTT data that is replayed must not be."""

    def __init__(self) -> None:
        self._tickets: OrderedDict[bytes, SessionTicket] = OrderedDict()

    def add(self, ticket: SessionTicket) -> None:
        """Keep one."""
        self._tickets[ticket.ticket] = ticket
        while len(self._tickets) > _TICKETS:
            self._tickets.popitem(last=False)

    def take(self, label: bytes) -> SessionTicket | None:
        """The one that a client shows, if it is ours."""
        return self._tickets.pop(label, None)


class ServedConnection:
    """One client; a `driver.Handler`."""

    def __init__(self, quic: ServerConnection, listener: Listener) -> None:
        self._quic = quic
        self._listener = listener
        self._server: Server | None = None
        self.driver = Driver(quic, _send, self)

    def quic_event(self, event: QuicEvent) -> None:
        """Take one event."""
        if isinstance(event, ProtocolNegotiated):
            made = Http3Server if event.alpn_protocol == H3 else Http09Server
            self._server = made(self._quic, self._listener.www)
        elif isinstance(event, ConnectionIdIssued):
            self._listener.route(event.connection_id, self)
        elif isinstance(event, ConnectionIdRetired):
            self._listener.unroute(event.connection_id)
        elif isinstance(event, ConnectionTerminated):
            self._end()
        if self._server is not None:
            self._server.quic_event(event)

    def batch_ended(self) -> None:
        """Write what there is room for."""
        if self._server is not None:
            self._server.feed()

    def failed(self, error: Exception) -> None:
        """End this connection, and no other, for what was raised in this process."""
        self._quic.close(QuicErrorCode.INTERNAL_ERROR, frame_type=0, reason_phrase=type(error).__name__)

    def close(self) -> None:
        """End the connection, without waiting for the client."""
        self._quic.close()
        self.driver.flush()
        self.driver.stop()
        self._end()

    def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._listener.forget(self)


class Listener:
    """A server for one test case, on one UDP port, or on two; a `network.Owner`.

    Args:
        settings: What to serve, and where.
        configuration: aioquic's.
        link: What happens to datagrams on the way.

    Raises:
        InteropError: A port cannot be had, or there is nothing to serve.
    """

    def __init__(
        self, settings: ServerSettings, configuration: QuicConfiguration, link: Link | None = None
    ) -> None:
        self.www = Www(settings.www)
        self._loop = asyncio.get_running_loop()
        self._case = settings.case
        self._configuration = configuration
        self._retry = QuicRetryTokenHandler() if settings.case.retry else None
        self._tickets = TicketStore() if settings.case.tickets else None
        self._connections: dict[bytes, ServedConnection] = {}
        self._touched: set[ServedConnection] = set()
        self._udp = UdpSocket(_bound(settings.host, settings.port), self, link)
        self._other: UdpSocket | None = None
        if settings.case.preferred_address:
            self._other = UdpSocket(_bound_near(settings.host, self.port), self, link)

    @property
    def port(self) -> int:
        """Of the first socket."""
        return int(self._udp.address[1])

    @property
    def preferred_port(self) -> int | None:
        """Where clients are asked to move to."""
        return None if self._other is None else int(self._other.address[1])

    def close(self) -> None:
        """End all connections."""
        for connection in set(self._connections.values()):
            connection.close()
        for udp in (self._udp, self._other):
            if udp is not None:
                udp.close()

    # ServedConnection

    def route(self, connection_id: bytes, connection: ServedConnection) -> None:
        """Give a connection what comes with an id."""
        self._connections[connection_id] = connection

    def unroute(self, connection_id: bytes) -> None:
        """Give nobody what comes with an id."""
        self._connections.pop(connection_id, None)

    def forget(self, connection: ServedConnection) -> None:
        """Give a connection nothing any more."""
        for connection_id in [key for key, value in self._connections.items() if value is connection]:
            del self._connections[connection_id]

    # network.Owner

    def datagram(self, udp: UdpSocket, data: bytes, peer: Address) -> None:
        """Take one datagram; what is no QUIC packet of ours is dropped."""
        try:
            header = header_of(data, self._configuration.connection_id_length)
        except ValueError:
            return
        if header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            return
        if header.version is not None and header.version not in self._configuration.supported_versions:
            udp.send(
                encode_quic_version_negotiation(
                    source_cid=header.destination_cid,
                    destination_cid=header.source_cid,
                    supported_versions=self._configuration.supported_versions,
                ),
                peer,
            )
            return
        path = Path(udp, peer)
        connection = self._connections.get(header.destination_cid)
        if connection is None:
            if header.packet_type is not QuicPacketType.INITIAL or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
                return
            connection = self._accept(header, path)
        if connection is not None:
            connection.driver.receive(data, path)
            self._touched.add(connection)

    def drained(self) -> None:
        """Act on what came."""
        touched, self._touched = self._touched, set()
        for connection in touched:
            connection.driver.settle()

    def refused(self, udp: UdpSocket, error: OSError) -> None:
        """ICMP errors say nothing that idle timeouts will not."""

    # private

    def _accept(self, header: QuicHeader, path: Path) -> ServedConnection | None:
        if len(self._connections) >= _CONNECTION_IDS:
            return None
        original, retry_source = header.destination_cid, None
        if self._retry is not None:
            try:
                original = self._retry.validate_token(
                    address=path.peer,
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=self._loop.time(),
                )
            except ValueError:
                # "the server SHOULD proceed as if the client did not have a validated address, including
                # potentially sending a Retry packet" (RFC 9000 section 8.1.3).
                self._send_retry(self._retry, header, path)
                return None
            retry_source = header.destination_cid
        quic = ServerConnection(
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retry_source,
            session_ticket_fetcher=None if self._tickets is None else self._tickets.take,
            session_ticket_handler=None if self._tickets is None else self._tickets.add,
            preferred=None if self._other is None else (_our_host(path), self._other.address[1]),
        )
        connection = ServedConnection(quic, self)
        self.route(header.destination_cid, connection)
        self.route(quic.host_cid, connection)
        return connection

    def _send_retry(self, tokens: QuicRetryTokenHandler, header: QuicHeader, path: Path) -> None:
        assert header.version is not None
        source = os.urandom(_RETRY_ID_BYTES)
        token = tokens.create_token(
            address=path.peer,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source,
            now=self._loop.time(),
        )
        retry = encode_quic_retry(
            version=header.version,
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        path.udp.send(retry, path.peer)


class Running:
    """A server that runs.

    Args:
        settings: What to serve, and where.
        link: What happens to datagrams on the way.

    Raises:
        InteropError: It cannot run.
    """

    def __init__(self, settings: ServerSettings, link: Link | None = None) -> None:
        with ExitStack() as stack:
            configuration = server_configuration(settings.case, settings.certs, settings.logs, stack)
            self.listener = Listener(settings, configuration, link)
            stack.callback(self.listener.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End it."""
        self._stack.close()


def _send(data: bytes, path: Path) -> None:
    path.udp.send(data, path.peer)


def _our_host(path: Path) -> str:
    """Our address as this client sees it: a socket that listens everywhere does not know."""
    family = socket.AF_INET6 if len(path.peer) == 4 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(path.peer)
        host = ipaddress.ip_address(probe.getsockname()[0].partition("%")[0])
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return str(mapped or host)


def _bound(host: str | None, port: int) -> socket.socket:
    try:
        return listening_socket(host, port)
    except OSError as error:
        where = f"{host or 'all addresses'}, UDP port {port},"
        raise InteropError(f"{where} cannot be listened on: {error.strerror or error}") from None


def _bound_near(host: str | None, port: int) -> socket.socket:
    """The next port, which is easily told from the first in a capture, or another where that is not free."""
    try:
        return listening_socket(host, port + 1)
    except (OSError, OverflowError):
        return _bound(host, 0)
