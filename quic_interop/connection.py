"""A client's connection: its sockets, what it fetches, and what was seen of it.

Rules:

- A socket has one address of the server as its peer, so that a refusal is known at once. A server that
  wants to be spoken to at another address gets another socket with the same address of ours.
- Not more than IN_FLIGHT requests are open at a time: aioquic looks at every open stream for every packet.
- A wait ends when there was no progress for a while, or when the connection has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aioquic.h3.connection import ErrorCode
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, PingAcknowledged, ProtocolNegotiated, QuicEvent
from aioquic.tls import SessionTicket

from pytest_moqt.client.aioquic_internals import ClientConnection as ClientQuic
from pytest_moqt.client.aioquic_internals import (
    QuicClose,
    close_of,
    is_closing,
    is_confirmed,
    key_phase,
    quic_version,
)
from quic_interop.aioquic_internals import cipher_suite, retried
from quic_interop.cases import H3
from quic_interop.downloads import Download
from quic_interop.driver import Driver
from quic_interop.errors import InteropError
from quic_interop.fetching import Fetcher, Http09, Http3, Piece
from quic_interop.network import Address, Link, UdpSocket, connected_socket

IN_FLIGHT = 100
"Of requests; the runner's server allows 1000 at most, aioquic's 128."


@dataclass(frozen=True)
class Patience:
    """How long a connection waits without progress, in seconds."""

    handshake: float = 60.0
    "For the end of it; idle servers are given up before (`configuration.IDLE_SECONDS`)."
    data: float = 30.0
    "For the next bytes of any file."
    step: float = 5.0
    "For what a case needs besides the files: a session ticket, an answer with new keys, a move."


@dataclass(frozen=True)
class Facts:
    """What was seen of a connection."""

    version: int
    cipher_suite: int
    retried: bool
    resumed: bool
    early_data_accepted: bool
    key_updated: bool
    "Whether something came that was protected with updated keys."
    servers: tuple[Address, ...]
    "The server's addresses, in the order in which they were used."
    handshake_ms: float

    def __str__(self) -> str:
        """In a line."""
        notable = {
            "Retry": self.retried,
            "resumed": self.resumed,
            "early data accepted": self.early_data_accepted,
            "keys updated": self.key_updated,
        }
        moved = [f"moved to port {address[1]}" for address in self.servers[1:]]
        return ", ".join(
            [
                f"QUIC version 0x{self.version:x}",
                f"cipher suite 0x{self.cipher_suite:x}",
                f"handshake {self.handshake_ms:.0f} ms",
                *(name for name, seen in notable.items() if seen),
                *moved,
            ]
        )


class Unreachable(InteropError):
    """The operating system knows that nobody is at an address."""


class ClientConnection:
    """One connection to a server; a `driver.Handler` and a `network.Owner`.

    Args:
        configuration: aioquic's.
        family: Of the address.
        address: The server's.
        authority: Host and port, for HTTP/3.
        patience: How long it waits.
        link: What happens to datagrams on the way.

    Raises:
        Unreachable: There is no way to the address.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        family: int,
        address: Address,
        authority: str,
        *,
        patience: Patience,
        link: Link | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.tickets: list[SessionTicket] = []
        "Given by the server so far."
        self._quic = ClientQuic(configuration=configuration, session_ticket_handler=self.tickets.append)
        self._driver = Driver(self._quic, self._send, self)
        self._family = family
        self._authority = authority
        self._patience = patience
        self._link = link
        self._alpn = (configuration.alpn_protocols or [""])[0]
        self._fetcher: Fetcher | None = None if self._alpn == H3 else Http09(self._quic)
        self._early_requests = 0
        self._queue: deque[tuple[str, Callable[[], Download]]] = deque()
        self._open: dict[int, Download] = {}
        self._completed: HandshakeCompleted | None = None
        self._completed_at = 0.0
        self._failure: InteropError | None = None
        self._datagrams = 0
        self._key_updated = False
        self._pings_answered = 0
        self._waiting: tuple[Callable[[], bool], asyncio.Future[None]] | None = None
        self._servers: list[Address] = [address]
        self._sockets: dict[Address, UdpSocket | None] = {}
        self._peers: dict[UdpSocket, Address] = {}
        self._started_at = self._progress_at = self._loop.time()
        self._reach(address)
        self._quic.connect(address, now=self._loop.time())
        ticket = configuration.session_ticket
        if self._alpn == H3 and ticket is not None and ticket.max_early_data_size:
            self._fetcher = Http3(self._quic, authority)

    # what a plan does

    def update_keys(self) -> None:
        """Update the keys as soon as the handshake is confirmed."""
        self._quic.request_key_update()

    def fetch(self, files: Iterable[tuple[str, Callable[[], Download]]]) -> None:
        """Ask for files by their paths; before the handshake they are asked for in 0-RTT data.

        Args:
            files: Paths, and what begins the download of each.
        """
        self._queue.extend(files)
        self._request_more()

    async def handshake(self) -> None:
        """Wait for the handshake.

        Raises:
            InteropError: There was none.
        """
        self._early_requests = len(self._open)
        self._driver.flush()
        await self._until(
            lambda: self._completed is not None, "a completed handshake", self._patience.handshake
        )

    async def fetched(self) -> None:
        """Wait for all files.

        Raises:
            InteropError: One did not come.
        """
        self._driver.flush()
        await self._until(lambda: not self._queue and not self._open, "data", self._patience.data)

    async def ticket(self) -> SessionTicket:
        """Wait for a session ticket.

        Raises:
            InteropError: There was none.
        """
        await self._until(lambda: bool(self.tickets), "session ticket", self._patience.step)
        return self.tickets[-1]

    async def keys_updated(self) -> None:
        """Wait until something came that is protected with the updated keys.

        Raises:
            InteropError: The handshake was not confirmed, or nothing came.
        """
        await self._until(lambda: is_confirmed(self._quic), "HANDSHAKE_DONE", self._patience.step)
        if not self._key_updated:
            wanted = self._pings_answered + 1
            self._quic.send_ping(wanted)
            self._driver.flush()
            await self._until(
                lambda: self._pings_answered >= wanted, "packet with updated keys", self._patience.step
            )

    async def moved(self) -> None:
        """Wait until another address of the server is used.

        Raises:
            InteropError: It was not.
        """
        await self._until(lambda: len(self._servers) > 1, "other address to move to", self._patience.step)

    def close(self) -> None:
        """End the connection, without waiting for the server."""
        if not is_closing(self._quic):
            self._quic.close(ErrorCode.H3_NO_ERROR if self._alpn == H3 else 0)
            self._driver.flush()
        self._driver.stop()
        for udp in self._peers:
            udp.close()

    @property
    def facts(self) -> Facts:
        """What was seen; after the handshake."""
        assert self._completed is not None
        return Facts(
            version=quic_version(self._quic) or 0,
            cipher_suite=cipher_suite(self._quic),
            retried=retried(self._quic),
            resumed=self._completed.session_resumed,
            # aioquic says so whenever the ticket allows it, even with nothing sent.
            early_data_accepted=self._completed.early_data_accepted and self._early_requests > 0,
            key_updated=self._key_updated,
            servers=tuple(self._servers),
            handshake_ms=(self._completed_at - self._started_at) * 1000,
        )

    # network.Owner

    def datagram(self, udp: UdpSocket, data: bytes, peer: Address) -> None:  # noqa: ARG002 - it has one peer
        """Take one datagram; aioquic compares its address, which has to have the form that we dialled."""
        self._datagrams += 1
        self._driver.receive(data, self._peers[udp])

    def drained(self) -> None:
        """Act on what came."""
        self._driver.settle()

    def refused(self, udp: UdpSocket, error: OSError) -> None:
        """Give up when the first address refuses; a connection that stands survives what ICMP says."""
        if not self._datagrams and self._peers.get(udp) == self._servers[0]:
            self._fail(Unreachable(f"{self._authority} cannot be reached: {error.strerror or error}"))

    # driver.Handler

    def quic_event(self, event: QuicEvent) -> None:
        """Take one event."""
        if isinstance(event, ProtocolNegotiated) and self._fetcher is None:
            self._fetcher = Http3(self._quic, self._authority)
        elif isinstance(event, HandshakeCompleted):
            self._completed = event
            self._completed_at = self._progress_at = self._loop.time()
        elif isinstance(event, PingAcknowledged):
            self._pings_answered += 1
            self._note_keys()
        if self._fetcher is not None:
            for piece in self._fetcher.pieces(event):
                self._take(piece)

    def batch_ended(self) -> None:
        """Ask for more, and see whether what is waited for has come."""
        self._request_more()
        server = self._quic.get_peer_address()
        if server != self._servers[-1]:
            self._servers.append(server)
        close = close_of(self._quic)
        if close is not None:
            self._fail(InteropError(self._how_it_ended(close)))
        self._wake()

    def failed(self, error: Exception) -> None:
        """Give up for what was raised in this process."""
        if not isinstance(error, InteropError):
            what = f"{type(error).__name__}: {error}"
            error = InteropError(f"the connection to {self._authority} failed in this program: {what}")
        self._fail(error)

    # private

    def _reach(self, address: Address) -> UdpSocket | None:
        first = self._sockets.get(self._servers[0])
        try:
            made = connected_socket(self._family, address, beside=first)
        except OSError as error:
            self._sockets[address] = None
            if first is None:
                raise Unreachable(f"{self._authority} cannot be reached: {error.strerror or error}") from None
            return None
        udp = UdpSocket(made, self, self._link, connected=True)
        self._sockets[address] = udp
        self._peers[udp] = address
        return udp

    def _send(self, data: bytes, address: Address) -> None:
        udp = self._sockets[address] if address in self._sockets else self._reach(address)
        if udp is not None:
            udp.send(data, address)

    def _request_more(self) -> None:
        while self._fetcher is not None and self._queue and len(self._open) < IN_FLIGHT:
            path, begin = self._queue.popleft()
            self._open[self._fetcher.request(path)] = begin()

    def _take(self, piece: Piece) -> None:
        download = self._open.get(piece.stream_id)
        if download is None or self._failure is not None:
            return
        if piece.refused:
            raise InteropError(f"{self._authority} did not give {download.name}: {piece.refused}")
        if piece.data:
            self._progress_at = self._loop.time()
            self._note_keys()
            download.write(piece.data)
        if piece.ended:
            download.finish()
            del self._open[piece.stream_id]

    def _note_keys(self) -> None:
        # To be asked when something was read: our own update flips the phase before the peer's does.
        self._key_updated = self._key_updated or key_phase(self._quic) == 1

    def _how_it_ended(self, close: QuicClose) -> str:
        if close.idle and self._completed is None:
            other = (
                f"; {self._datagrams} datagrams came that are none of a handshake" if self._datagrams else ""
            )
            return f"{self._authority} did not answer as a QUIC server{other}"
        if close.idle:
            return f"{self._authority} fell silent"
        if close.by_peer:
            return f"{self._authority} closed the connection with {_error_of(close)}"
        return f"the connection to {self._authority} ended with {_error_of(close)}"

    def _fail(self, error: InteropError) -> None:
        self._failure = self._failure or error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            reached, waiter = self._waiting
            if not waiter.done() and (self._failure is not None or reached()):
                waiter.set_result(None)

    async def _until(self, reached: Callable[[], bool], what: str, seconds: float) -> None:
        began = self._loop.time()
        while not reached():
            if self._failure is not None:
                raise self._failure
            remaining = max(began, self._progress_at) + seconds - self._loop.time()
            if remaining <= 0:
                raise InteropError(f"{self._authority} gave no {what} for {seconds:g} s")
            waiter = self._loop.create_future()
            self._waiting = (reached, waiter)
            await asyncio.wait({waiter}, timeout=remaining)
            self._waiting = None


def _error_of(close: QuicClose) -> str:
    space = "application" if close.frame_type is None else "QUIC"
    reason = f", {close.reason!r}" if close.reason else ""
    return f"{space} error 0x{close.code:x}{reason}"
