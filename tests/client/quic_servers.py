"""Servers on loopback for the client's tests: raw QUIC, WebTransport, and sockets that answer otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pytest_moqt.client.dial import dial
from pytest_moqt.client.quic import ClientTransport
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol.transport import TransportClosed, TransportEvent
from pytest_moqt.protocol.webtransport import CapsuleReader, Demultiplexer, decode_close, stream_header

DEADLINE = 5.0
PROMPT = 2.5
"Seconds; far below the deadline, far above what anything here takes: how fast it is, benchmarks say."
"Seconds that any single wait of a test may take; all of them take milliseconds."


class Certificates:
    """An authority and server certificates, as PEM files in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._authority = self._sign("authority", "Test authority", None, authority=True)
        self.authority = self._write("authority", self._authority)
        self.good = self._issue("good", "localhost")
        self.expired = self._issue("expired", "localhost", valid_for=dt.timedelta(days=-1))
        self.future = self._issue("future", "localhost", valid_from=dt.timedelta(days=2))
        self.wrong_name = self._issue("wrong_name", "relay.example")
        self.self_signed = self._issue("self_signed", "localhost", self_signed=True)

    def _issue(
        self,
        name: str,
        host: str,
        *,
        valid_from: dt.timedelta = dt.timedelta(days=-3),
        valid_for: dt.timedelta = dt.timedelta(days=5),
        self_signed: bool = False,
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            name, host, key, valid_from=valid_from, valid_for=valid_for, self_signed=self_signed
        )
        key_file = self._directory / f"{name}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return self._write(name, certificate), key_file

    def _sign(
        self,
        name: str,
        host: str,
        key: ec.EllipticCurvePrivateKey | None,
        *,
        valid_from: dt.timedelta = dt.timedelta(days=-3),
        valid_for: dt.timedelta = dt.timedelta(days=5),
        authority: bool = False,
        self_signed: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        signer = key if self_signed and key is not None else self._authority_key
        issuer = subject if authority or self_signed else self._authority.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key((key or self._authority_key).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid_from)
            .not_valid_after(now + max(valid_for, valid_from + dt.timedelta(days=1)))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            names: list[x509.GeneralName] = [x509.DNSName(host)]
            if host == "localhost":
                names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._directory / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


class Peer(QuicConnectionProtocol):
    """The server's end of one connection: keeps every event and lets a test act."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.events: list[quic_events.QuicEvent] = []
        self.terminated: quic_events.ConnectionTerminated | None = None
        self.received: dict[int, bytes] = {}
        self.datagrams: list[bytes] = []
        self.resets: dict[int, int] = {}
        self.stops: dict[int, int] = {}
        self.ended: set[int] = set()
        self._waiters: list[tuple[Callable[[Peer], object], asyncio.Future[None]]] = []
        self.on_event: Callable[[Peer, quic_events.QuicEvent], None] | None = None

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        """Keep an event and do what this kind of server does."""
        self.events.append(event)
        match event:
            case quic_events.StreamDataReceived():
                self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
                if event.end_stream:
                    self.ended.add(event.stream_id)
            case quic_events.StreamReset():
                self.resets[event.stream_id] = event.error_code
            case quic_events.StopSendingReceived():
                self.stops[event.stream_id] = event.error_code
            case quic_events.DatagramFrameReceived():
                self.datagrams.append(event.data)
            case quic_events.ConnectionTerminated():
                self.terminated = event
        if self.on_event is not None:
            self.on_event(self, event)
        self.take(event)
        self.look()

    def take(self, event: quic_events.QuicEvent) -> None:
        """Do what a kind of server does with an event."""

    def look(self) -> None:
        """Wake who waits for what is true now."""
        for condition, waiter in self._waiters:
            if not waiter.done() and condition(self):
                waiter.set_result(None)

    async def until(self, condition: Callable[[Peer], object]) -> None:
        """Wait until something about this connection is true."""
        if not condition(self):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, waiter))
            await asyncio.wait_for(waiter, DEADLINE)

    def datagram_received(self, data: bytes | str, addr: object) -> None:
        """Take a datagram and notice at once if it ended the connection."""
        super().datagram_received(data, addr)
        # Known when it is parsed; aioquic's event for it comes after the draining period.
        if self.terminated is None and self._quic._close_event is not None:
            self.terminated = self._quic._close_event
            self.look()

    # acting

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes on a stream, now."""
        self._quic.send_stream_data(stream_id, data, fin)
        self.transmit()

    def open(self, *, unidirectional: bool) -> int:
        """Open a stream without sending anything."""
        stream_id = self._quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        self._quic.send_stream_data(stream_id, b"")
        return stream_id

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream with a code as QUIC carries it."""
        self._quic.reset_stream(stream_id, code)
        self.transmit()

    def stop(self, stream_id: int, code: int) -> None:
        """Stop a stream with a code as QUIC carries it."""
        self._quic.stop_stream(stream_id, code)
        self.transmit()

    def send_datagram(self, data: bytes) -> None:
        """Send a DATAGRAM frame, now."""
        self._quic.send_datagram_frame(data)
        self.transmit()

    def close_quic(self, code: int, reason: str = "", frame_type: int | None = None) -> None:
        """Send CONNECTION_CLOSE, an application's unless a frame type is given."""
        self._quic.close(code, frame_type, reason)
        self.transmit()


class WebTransportPeer(Peer):
    """The same, answering CONNECT; streams are taken apart below HTTP/3, as in the client."""

    status: int | None = 200
    "What CONNECT is answered with; None never answers."
    response: tuple[tuple[bytes, bytes], ...] = ()
    "Header fields of the answer besides its status."
    http3_from_the_start = True

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.http: H3Connection | None = None
        self.request: dict[bytes, bytes] = {}
        self.capsules = CapsuleReader()
        self.closes: list[tuple[int, str]] = []
        self.streams = Demultiplexer()
        self.inside: dict[int, bytes] = {}
        "Bytes of the session's streams, headers taken off."

    def take(self, event: quic_events.QuicEvent) -> None:
        """Take the session's streams apart and give the rest to HTTP/3."""
        if isinstance(event, quic_events.ProtocolNegotiated) and self.http3_from_the_start:
            self.http = H3Connection(self._quic, enable_webtransport=True)
        if self.http is None:
            return
        if isinstance(event, quic_events.StreamDataReceived):
            delivery = self.streams.receive(event.stream_id, event.data, event.end_stream)
            if delivery is None:
                return
            if delivery.session_id is not None:
                self.inside[event.stream_id] = self.inside.get(event.stream_id, b"") + delivery.data
                return
            event = quic_events.StreamDataReceived(delivery.data, delivery.fin, event.stream_id)
        for told in self.http.handle_event(event):
            if isinstance(told, HeadersReceived):
                self.request = dict(told.headers)
                self.answer()
            elif isinstance(told, DataReceived):
                for capsule in self.capsules.feed(told.data):
                    self.closes.append(decode_close(capsule.value))

    def answer(self) -> None:
        """Answer CONNECT."""
        if self.status is not None and self.http is not None:
            self.http.send_headers(0, [(b":status", str(self.status).encode()), *self.response])

    def open_in_session(self, *, unidirectional: bool, session_id: int = 0) -> int:
        """Open a stream of a session; its header leaves with what is sent next."""
        stream_id = self.open(unidirectional=unidirectional)
        self.streams.opened(stream_id, session_id)
        self._quic.send_stream_data(stream_id, stream_header(session_id, unidirectional=unidirectional))
        return stream_id

    def send_on_connect(self, data: bytes, *, fin: bool = False) -> None:
        """Send a DATA frame on the CONNECT stream."""
        assert self.http is not None
        self.http.send_data(0, data, fin)
        self.transmit()


class Server:
    """A server of one kind of peer."""

    def __init__(self, port: int, peers: list[Peer]) -> None:
        self.port = port
        self.peers = peers

    @property
    def peer(self) -> Peer:
        """The one connection there was."""
        assert len(self.peers) == 1
        return self.peers[0]

    @property
    def webtransport(self) -> WebTransportPeer:
        """The one connection there was, when it is of that kind."""
        assert isinstance(self.peer, WebTransportPeer)
        return self.peer


@contextlib.asynccontextmanager
async def serve(
    certificate: tuple[Path, Path],
    kind: type[Peer] = Peer,
    *,
    alpn: Sequence[str] = ("moqt-18",),
    host: str = "127.0.0.1",
    on_event: Callable[[Peer, quic_events.QuicEvent], None] | None = None,
    **options: object,
) -> AsyncIterator[Server]:
    """Serve on a free port until the block is left; without ALPN where `alpn` is empty."""
    settings: dict[str, object] = {"max_datagram_frame_size": 65535, **options}
    configuration = QuicConfiguration(alpn_protocols=list(alpn) or None, is_client=False, **settings)  # type: ignore[arg-type]
    configuration.load_cert_chain(*certificate)
    peers: list[Peer] = []

    def create(*args: object, **kwargs: object) -> Peer:
        peer = kind(*args, **kwargs)
        peer.on_event = on_event
        peers.append(peer)
        return peer

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: QuicServer(configuration=configuration, create_protocol=create), local_addr=(host, 0)
    )
    try:
        yield Server(transport.get_extra_info("sockname")[1], peers)
    finally:
        transport.abort()
        for peer in peers:
            if peer._timer is not None:
                peer._timer.cancel()
        await turns()


@contextlib.contextmanager
def bound_socket(*, listening: bool = True) -> Iterator[int]:
    """A port where nobody answers: with a socket that never reads, or with none at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        port = udp.getsockname()[1]
        if not listening:
            udp.close()
        yield port


class Babbler(asyncio.DatagramProtocol):
    """Answers every datagram with the same bytes."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Answer."""
        self._transport.sendto(self._answer(data), addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def babble(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """A port that answers, but not in QUIC."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Babbler(answer), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.abort()
        await turns()


async def turns(count: int = 3) -> None:
    """Let the event loop turn, so that what was scheduled for `soon` is done."""
    for _ in range(count):
        await asyncio.sleep(0)


class Owner:
    """What a session would be: keeps the events it is told."""

    def __init__(self) -> None:
        self.events: list[TransportEvent] = []
        self.react: Callable[[TransportEvent], None] | None = None
        self._waiters: list[tuple[Callable[[list[TransportEvent]], object], asyncio.Future[None]]] = []

    def __call__(self, event: TransportEvent) -> None:
        """Take an event as `on_event`."""
        self.events.append(event)
        for condition, waiter in self._waiters:
            if not waiter.done() and condition(self.events):
                waiter.set_result(None)
        if self.react is not None:
            self.react(event)

    async def until(self, condition: Callable[[list[TransportEvent]], object]) -> None:
        """Wait until something about the events is true."""
        if not condition(self.events):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, waiter))
            await asyncio.wait_for(waiter, DEADLINE)

    async def received(self, *expected: TransportEvent) -> None:
        """Wait until all of some events were told."""
        await self.until(lambda events: all(event in events for event in expected))

    @property
    def closes(self) -> list[TransportClosed]:
        """The ends that were told."""
        return [event for event in self.events if isinstance(event, TransportClosed)]


@contextlib.asynccontextmanager
async def connected(
    url: str,
    owner: Owner,
    certificates: Certificates,
    *,
    alpn: Sequence[str] = ("moqt-18",),
    protocols: Sequence[str] = (),
    timeout: float = DEADLINE,
    **options: float,
) -> AsyncIterator[ClientTransport]:
    """An established transport, finished when the block is left."""
    transport = await dial(
        parse_relay_url(url),
        alpn=alpn,
        protocols=protocols,
        tls=TlsOptions(ca_file=str(certificates.authority)),
        timeout=timeout,
        on_event=owner,
        **options,  # type: ignore[arg-type]
    )
    try:
        yield transport
    finally:
        await transport.finish()


async def closed(transport: ClientTransport) -> TransportClosed:
    """The session's end, awaited with a deadline."""
    waiting: Awaitable[TransportClosed] = transport.wait_closed()
    return await asyncio.wait_for(waiting, DEADLINE)
