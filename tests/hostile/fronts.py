"""A UDP port between clients and a correct relay, whose first client meets somebody else.

Rules:

- Whoever sends the first datagram is the victim: a `Hostile` decides what becomes of its datagrams and
  of those for it. All others reach the relay and hear of nothing.
- A front lives in one event loop: in a thread of its own (`serving`) or in that of a test (`open`).
- A hostile counts what it did in `acted`, so that no test passes because nothing happened.
- What is raised in a hostile is kept in `failures`, for the test to see.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicHeader, QuicPacketType, pull_quic_header
from aioquic.tls import Epoch

from pytest_moqt.protocol.drafts import Draft, draft_of_wt_protocol
from pytest_moqt.protocol.varint import QUIC_VARINT
from pytest_moqt.protocol.webtransport import format_protocol
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.certificates import self_signed
from pytest_moqt.relay.connection import Answer, Connection, Handler, SessionTransport
from pytest_moqt.relay.internals import ServerConnection
from pytest_moqt.relay.routing import Router
from pytest_moqt.relay.server import Server
from pytest_moqt.relay.session import Session

if TYPE_CHECKING:
    from pytest_moqt.relay.exchange import Exchange

Address = tuple[str, int]

HOST = "127.0.0.1"
STOP_SECONDS = 5.0
"For the thread of a front to end; it takes milliseconds."
ID_LENGTH = 8
"Bytes of every connection id here, aioquic's own choice."


IDENTITY = self_signed()
"One certificate for all fronts of a process."


def vint(*numbers: int) -> bytes:
    """Integers as QUIC writes them (RFC 9000 section 16)."""
    return b"".join(QUIC_VARINT.encode(number) for number in numbers)


def header_of(datagram: bytes) -> QuicHeader:
    """The header of the first packet in a datagram."""
    return pull_quic_header(Buffer(data=datagram), host_cid_length=ID_LENGTH)


class Hostile:
    """What the victim meets. As it stands it harms nobody: every datagram passes, both ways."""

    front: Front
    client: Address

    def __init__(self) -> None:
        self.acted = 0
        "How often it did what it is for."

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where it lives."""
        return self.front.loop

    def from_client(self, data: bytes) -> None:
        """Take a datagram of the victim."""
        self.to_relay(data)

    def from_relay(self, data: bytes) -> None:
        """Take a datagram of the relay for the victim."""
        self.to_client(data)

    def to_client(self, data: bytes) -> None:
        """Send a datagram to the victim, as the relay."""
        self.front.send(data, self.client)

    def to_relay(self, data: bytes) -> None:
        """Send a datagram to the relay, as the victim."""
        self.front.relay.datagram_received(data, self.client)

    def stop(self) -> None:
        """The front closes."""


class _Outlet:
    """The relay's socket: it ends in the front."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def sendto(self, data: bytes, address: Address) -> None:
        self._front.from_relay(data, address)

    def get_extra_info(self, name: str) -> None:
        """It has no socket of its own."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""


class Front(asyncio.DatagramProtocol):
    """The port.

    Args:
        hostile: What the victim meets.
        everyone: Every client is a victim: `hostile` is then called for each.
    """

    relay: Server
    loop: asyncio.AbstractEventLoop

    def __init__(self, hostile: Callable[[], Hostile], *, everyone: bool = False) -> None:
        self.port = 0
        self.victims: dict[Address, Hostile] = {}
        self.failures: list[BaseException] = []
        self._hostile = hostile
        self._everyone = everyone
        self._socket: asyncio.DatagramTransport | None = None

    @property
    def victim(self) -> Hostile:
        """What the only victim met."""
        (hostile,) = self.victims.values()
        return hostile

    def url(self, transport: str) -> str:
        """What to dial."""
        return f"{'moqt' if transport == 'quic' else 'https'}://{HOST}:{self.port}"

    async def listen(self) -> None:
        """Begin, in this event loop."""
        self.loop = asyncio.get_running_loop()
        self.relay = Server(self.loop, IDENTITY)
        self.relay.connection_made(cast("asyncio.BaseTransport", _Outlet(self)))
        await self.loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, self.port))

    def dismiss(self) -> None:
        """Forget the victims: the system gives their ports to others."""
        for hostile in self.victims.values():
            hostile.stop()
        self.victims.clear()

    def close(self) -> None:
        """End everything."""
        self.dismiss()
        self.relay.close()
        self.unplug()

    def unplug(self) -> None:
        """Close the socket only: who sends here learns from ICMP that there is nobody."""
        if self._socket is not None:
            self._socket.abort()
            self._socket = None

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram."""
        if self._socket is not None:
            self._socket.sendto(data, address)

    def guard(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call something of a hostile's, and keep what it raises."""
        try:
            action(*arguments)
        except Exception as error:
            self.failures.append(error)

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._socket = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Take a datagram of any client."""
        if (self._everyone or not self.victims) and addr not in self.victims and is_initial(data):
            self._greet(addr)
        hostile = self.victims.get(addr)
        if hostile is None:
            self.relay.datagram_received(data, addr)
        else:
            self.guard(hostile.from_client, data)

    def from_relay(self, data: bytes, address: Address) -> None:
        """Take a datagram of the relay's."""
        hostile = self.victims.get(address)
        if hostile is None:
            self.send(data, address)
        else:
            self.guard(hostile.from_relay, data)

    def error_received(self, exc: Exception) -> None:
        """A client that has left: no concern of a relay's."""

    def _greet(self, address: Address) -> None:
        hostile = self._hostile()
        hostile.front, hostile.client = self, address
        self.victims[address] = hostile


@contextlib.contextmanager
def serving(hostile: Callable[[], Hostile]) -> Iterator[Front]:
    """A front in a thread of its own."""
    front = Front(hostile)
    started = threading.Event()
    stopping: list[Callable[[], object]] = []

    async def serve() -> None:
        ended = asyncio.Event()
        await front.listen()
        stopping.append(lambda: front.loop.call_soon_threadsafe(ended.set))
        started.set()
        await ended.wait()
        front.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="hostile", daemon=True)
    thread.start()
    if not started.wait(STOP_SECONDS):
        raise TimeoutError("the front did not start")
    try:
        yield front
    finally:
        stopping[0]()
        thread.join(STOP_SECONDS)


@contextlib.asynccontextmanager
async def listening(hostile: Callable[[], Hostile]) -> AsyncIterator[Front]:
    """A front in this event loop, hostile to every client."""
    front = Front(hostile, everyone=True)
    await front.listen()
    try:
        yield front
    finally:
        front.close()


def certificate_file(directory: Path) -> str:
    """A PEM file to verify every front with."""
    handle, name = tempfile.mkstemp(suffix=".pem", dir=directory)
    with os.fdopen(handle, "wb") as file:
        file.write(IDENTITY.pem)
    return name


# ---- packets by hand --------------------------------------------------------------------------------


def initial_packet(first: bytes, frames: bytes, *, source: bytes = b"hostile!") -> bytes:
    """A server's Initial packet with any frames, in answer to a client's first datagram.

    Everybody on the path can write one: its keys come from the client's own packet (RFC 9001 section 5.2).
    """
    asked = header_of(first)
    crypto = CryptoPair()
    crypto.setup_initial(cid=asked.destination_cid, is_client=False, version=asked.version or 1)
    payload = frames.ljust(32, b"\0")  # header protection needs a sample
    number = 0
    header = (
        bytes([0xC1])
        + (asked.version or 1).to_bytes(4, "big")
        + bytes([len(asked.source_cid)])
        + asked.source_cid
        + bytes([len(source)])
        + source
        + b"\0"  # no token
        + (0x4000 | (2 + len(payload) + 16)).to_bytes(2, "big")
        + number.to_bytes(2, "big")
    )
    return crypto.encrypt_packet(header, payload, number)


def is_initial(data: bytes) -> bool:
    """Whether a datagram begins with an Initial packet."""
    return bool(data[0] & 0x80) and header_of(data).packet_type is QuicPacketType.INITIAL


def short_packet(quic: QuicConnection, frames: bytes) -> bytes:
    """A 1-RTT packet with any frames, on a connection of aioquic's, in its keys and numbers."""
    number = quic._packet_number
    quic._packet_number += 1
    crypto = quic._cryptos[Epoch.ONE_RTT]
    header = bytes([0x43 | crypto.key_phase << 2]) + quic._peer_cid.cid + number.to_bytes(4, "big")
    return crypto.encrypt_packet(header, frames.ljust(8, b"\0"), number)


def close_frame(code: int, reason: bytes, *, application: bool = False) -> bytes:
    """CONNECTION_CLOSE (RFC 9000 section 19.19)."""
    kind = b"\x1d" + vint(code) if application else b"\x1c" + vint(code, 0)
    return kind + vint(len(reason)) + reason


# ---- a relay of one connection ---------------------------------------------------------------------


class _Steps(Behaviour):
    """A correct relay's decisions, each told to a hostile."""

    def __init__(self, hostile: HostileRelay) -> None:
        self._hostile = hostile

    def established(self, session: Session) -> None:
        self._hostile.reached("setup")

    def accept_namespace(self, exchange: Exchange) -> None:
        if self._hostile.reached("request"):
            return
        super().accept_namespace(exchange)
        # The frames of one packet have no order among streams: what comes next comes in a later one.
        self._hostile.flush()
        self._hostile.reached("reply")


class HostileRelay(Hostile):
    """A relay for the victim alone: aioquic's QUIC, the embedded relay's sessions, and hooks in between.

    A subclass overrides `configure`, `prepare` and `step`.
    """

    connection: Connection | None = None

    def __init__(self) -> None:
        super().__init__()
        self.transport: SessionTransport | None = None

    # for subclasses

    def configure(self, configuration: QuicConfiguration) -> None:
        """Change how QUIC is set up."""

    def prepare(self, quic: QuicConnection) -> None:
        """Change the connection before its first packet."""

    def step(self, name: str) -> bool | None:
        """A point of the session is reached.

        Args:
            name: `session`: it begins, nothing was said. `setup`: both SETUPs were exchanged. `request`:
                PUBLISH_NAMESPACE came. `reply`: it was answered.

        Returns:
            Whether what would follow does not.
        """

    # what they use

    def reached(self, name: str) -> bool:
        """Do what `step` says, and keep what it raises: a session would take that for a fault of its own."""
        try:
            return bool(self.step(name))
        except Exception as error:
            self.front.failures.append(error)
            return False

    @property
    def quic(self) -> QuicConnection:
        """The victim's connection."""
        assert self.connection is not None
        return self.connection.quic

    def flush(self) -> None:
        """Send what is queued."""
        assert self.connection is not None
        self.connection.flush()

    def send_frames(self, frames: bytes) -> None:
        """Send a 1-RTT packet of these frames, before anything that is queued, acknowledgements too."""
        self.to_client(short_packet(self.quic, frames))

    # Hostile

    def from_client(self, data: bytes) -> None:
        """Take a datagram of the victim."""
        if self.connection is None:
            self.connection = self.accept(header_of(data).destination_cid)
        self.connection.datagram_received(data, self.client)

    def accept(self, original: bytes, retried: bytes | None = None) -> Connection:
        """Begin the connection.

        Args:
            original: The connection id that the client chose for its first packet.
            retried: The one that a Retry packet gave it.
        """
        configuration = QuicConfiguration(
            is_client=False,
            alpn_protocols=[*(row.alpn for row in self.front.relay.drafts), "h3"],
            certificate=IDENTITY.certificate,
            certificate_chain=list(IDENTITY.chain),
            private_key=IDENTITY.private_key,
            max_datagram_frame_size=65535,
        )
        self.configure(configuration)
        quic = ServerConnection(
            configuration=configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        self.prepare(quic)
        return self.connect_by(quic)

    def connect_by(self, quic: ServerConnection) -> Connection:
        """What is above QUIC."""
        return Connection(quic, self)

    def stop(self) -> None:
        """Give up the connection's timers."""
        if self.connection is not None:
            self.connection.drop()

    # connection.Host

    def send(self, data: bytes, address: Any) -> None:
        """Send one datagram of the connection."""
        self.to_client(data)

    def add_id(self, connection_id: bytes, connection: Connection) -> None:
        """All that comes from the victim is the connection's."""

    def remove_id(self, connection_id: bytes) -> None:
        """All that comes from the victim is the connection's."""

    def gone(self, connection: Connection) -> None:
        """The connection has ended."""

    def refusal(self) -> int | None:
        """It is welcome."""
        return None

    def open_session(self, transport: SessionTransport, draft: Draft) -> Handler:
        """Begin the session of a correct relay."""
        self.transport = transport
        behaviour = _Steps(self)
        session = Session(transport, draft, Router(self.loop, behaviour), behaviour, self.loop)
        if not self.reached("session"):
            session.start()
            # SETUP leaves now: what is done at `setup` may be the last that leaves at all, and must not come
            # behind the acknowledgement of the client's last words, with which its case is over.
            self.flush()
        return session

    def answer_connect(self, path: str, offered: Sequence[str] | None) -> Answer:
        """Take the first sub-protocol offered."""
        name = offered[0] if offered else None
        headers = () if name is None else ((b"wt-protocol", format_protocol(name).encode()),)
        return Answer(200, headers, draft_of_wt_protocol(name))
