"""The relay on a port: what it negotiates, how sessions end, and that it starts and stops at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from aioquic.asyncio.client import connect as quic_connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent, StreamReset

from pytest_moqt.client.dial import dial
from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.quic import ClientTransport
from pytest_moqt.client.session import ClientSession, connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.objects import ObjectDatagram, StreamObject, SubgroupHeader
from pytest_moqt.protocol.registries import PublishDoneStatus, SessionError
from pytest_moqt.protocol.transport import TransportClosed, TransportEvent
from pytest_moqt.relay import internals, limits
from pytest_moqt.relay.certificates import self_signed
from pytest_moqt.relay.embedded import EmbeddedRelay
from pytest_moqt.relay.server import Server, bind

DEADLINE = 5.0
NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
TRANSPORTS = ("quic", "webtransport")


class Owner:
    """Keeps what a transport tells."""

    def __init__(self) -> None:
        self.events: list[TransportEvent] = []

    def __call__(self, event: TransportEvent) -> None:
        """Take an event."""
        self.events.append(event)


class Running:
    """A relay in the event loop of the test."""

    def __init__(self, server: Server, port: int, leave: contextlib.AsyncExitStack) -> None:
        self.server = server
        self.port = port
        self._leave = leave

    async def dial(
        self, transport: str, *, alpn: Sequence[str] = (), protocols: Sequence[str] = (), path: str = ""
    ) -> ClientTransport:
        """A transport that is closed with the relay at the latest."""
        scheme = "moqt" if transport == "quic" else "https"
        dialled = await dial(
            parse_relay_url(f"{scheme}://127.0.0.1:{self.port}{path}"),
            alpn=alpn,
            protocols=protocols,
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
            on_event=Owner(),
        )
        self._leave.push_async_callback(dialled.finish)
        return dialled

    async def session(self, number: int, transport: str) -> ClientSession:
        """A session that is closed with the relay at the latest."""
        scheme = "moqt" if transport == "quic" else "https"
        session = await connect(
            parse_relay_url(f"{scheme}://127.0.0.1:{self.port}"),
            offer=[number],
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
        )
        self._leave.push_async_callback(session.close)
        return session


@contextlib.asynccontextmanager
async def running(**options: object) -> AsyncIterator[Running]:
    loop = asyncio.get_running_loop()
    server = Server(loop, self_signed(), **options)  # type: ignore[arg-type]
    bound = bind("127.0.0.1", 0)
    await loop.create_datagram_endpoint(lambda: server, sock=bound)
    async with contextlib.AsyncExitStack() as leave:
        leave.callback(server.close)
        yield Running(server, bound.getsockname()[1], leave)


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that the relay does silently."""
    while not happened():  # noqa: ASYNC110 - it has no event for that; each test has a deadline
        await asyncio.sleep(0.002)


# ---- negotiation -----------------------------------------------------------------------------------


async def test_raw_quic_prefers_the_newest_draft() -> None:
    """Whatever order the client offers them in."""
    offered = [DRAFTS[number].alpn for number in sorted(SUPPORTED)]

    async with running() as relay:
        transport = await relay.dial("quic", alpn=offered)

    assert transport.alpn == DRAFTS[max(SUPPORTED)].alpn


async def test_webtransport_prefers_what_the_client_does() -> None:
    """The first of WT-Available-Protocols that is spoken here."""
    named = [DRAFTS[number].wt_protocol or "" for number in sorted(SUPPORTED) if DRAFTS[number].wt_protocol]

    async with running() as relay:
        transport = await relay.dial("webtransport", protocols=["moqt-99", *named])

    assert transport.protocol == named[0]


async def test_nothing_in_common_over_raw_quic_fails_the_handshake() -> None:
    """ALPN: no_application_protocol."""
    async with running(drafts=[16]) as relay:
        with pytest.raises(ConnectError) as caught:
            await relay.dial("quic", alpn=["moqt-18"])

    assert caught.value.kind == "alpn"


async def test_nothing_in_common_over_webtransport_is_a_bad_request() -> None:
    """HTTP status 400."""
    async with running() as relay:
        with pytest.raises(ConnectError) as caught:
            await relay.dial("webtransport", protocols=["moqt-99"])

    assert (caught.value.kind, caught.value.code) == ("webtransport", 400)


async def test_no_offer_over_webtransport_means_draft_14() -> None:
    """Which negotiates in its SETUP; a relay without it refuses."""
    async with running() as relay:
        transport = await relay.dial("webtransport")
        assert transport.protocol is None
    async with running(drafts=[18]) as relay:
        with pytest.raises(ConnectError) as caught:
            await relay.dial("webtransport")

    assert (caught.value.kind, caught.value.code) == ("webtransport", 400)


async def test_every_path_is_served() -> None:
    """A client's URL decides nothing here."""
    async with running() as relay:
        transport = await relay.dial("webtransport", protocols=["moqt-18"], path="/a/b?c=d")

    assert transport.protocol == "moqt-18"


@pytest.mark.parametrize(("served", "other"), [("quic", "webtransport"), ("webtransport", "quic")])
async def test_one_transport_alone_can_be_served(served: str, other: str) -> None:
    """`--transport` leaves the other's ALPN out."""
    async with running(transport=served) as relay:
        await relay.dial(served, alpn=["moqt-18"], protocols=["moqt-18"])
        with pytest.raises(ConnectError) as caught:
            await relay.dial(other, alpn=["moqt-18"], protocols=["moqt-18"])

    assert caught.value.kind == "alpn"


# ---- sessions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_objects_pass_from_publisher_to_subscriber(number: int, transport: str) -> None:
    """Announce, subscribe, objects on streams and in datagrams, the end: over the network."""
    async with running() as relay, asyncio.timeout(DEADLINE):
        publisher, subscriber = [await relay.session(number, transport) for _ in range(2)]
        await publisher.request(m.PublishNamespace(NAMESPACE), expect=m.RequestOk)
        subscription = await subscriber.open(m.Subscribe(NAMESPACE, TRACK))
        routed = await publisher.receive(m.Subscribe)
        await publisher.reply(routed, m.SubscribeOk(track_alias=1))
        await subscriber.expect(subscription, m.SubscribeOk)

        publisher.send_datagram(ObjectDatagram(1, 9, 0, payload=b"datagram"))
        publisher.open_subgroup(SubgroupHeader(1, 0)).write(StreamObject(0, bytes(100_000)), fin=True)
        item = await subscriber.receive_object()
        datagram = await subscriber.receive_datagram()
        await publisher.send(routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 1))
        done = await subscriber.receive_later(subscription, m.PublishDone)

        assert item.object == StreamObject(0, bytes(100_000))  # type: ignore[union-attr]
        assert datagram.payload == b"datagram"
        assert (done.status, done.stream_count) == (PublishDoneStatus.TRACK_ENDED, 1)
        await publisher.settle()
        await subscriber.settle()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_violation_closes_with_the_drafts_code(number: int, transport: str) -> None:
    """In CONNECTION_CLOSE or CLOSE_WEBTRANSPORT_SESSION, whichever is the session's."""
    async with running() as relay, asyncio.timeout(DEADLINE):
        session = await relay.session(number, transport)
        await session.send_raw(session.frame(m.Setup(versions=(0xFF00000E,))))
        closed = await session.wait_closed()

    assert (closed.code, closed.by_peer, closed.layer) == (SessionError.PROTOCOL_VIOLATION, True, "session")
    assert "SETUP" in closed.reason


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_disconnected_publisher_is_gone_at_once(number: int, transport: str) -> None:
    """Its close is enough; nothing waits for an idle timeout."""
    async with running() as relay, asyncio.timeout(DEADLINE):
        publisher = await relay.session(number, transport)
        await publisher.request(m.PublishNamespace(NAMESPACE), expect=m.RequestOk)
        subscriber = await relay.session(number, transport)

        began = time.monotonic()
        await publisher.close()
        await until(lambda: not relay.server.router.announcements)
        elapsed = time.monotonic() - began

        assert elapsed < DEADLINE / 2
        await subscriber.request(m.Subscribe(NAMESPACE, TRACK), expect=m.RequestError)


async def test_a_webtransport_connection_does_not_outlive_its_session_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client has a moment to close it; then the relay does."""
    monkeypatch.setattr("pytest_moqt.relay.limits.LINGER_SECONDS", 0.05)
    async with running() as relay, asyncio.timeout(DEADLINE):
        session = await relay.session(18, "webtransport")
        (connection,) = relay.server.connections()
        await session.send_raw(session.frame(m.Setup()))
        await session.wait_closed()
        await until(lambda: internals.ended(connection.quic) is not None)


async def test_connections_are_forgotten_when_they_have_drained() -> None:
    """Nothing stays behind."""
    async with running() as relay, asyncio.timeout(DEADLINE):
        sessions = [await relay.session(18, transport) for transport in TRANSPORTS]
        assert len(relay.server.connections()) == 2
        for session in sessions:
            await session.close()
        await until(lambda: not relay.server.connections())


# ---- HTTP/3 and UDP --------------------------------------------------------------------------------


class Browser(QuicConnectionProtocol):
    """An HTTP/3 client that asks whatever it likes."""

    http: H3Connection

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.statuses: dict[int, bytes] = {}
        self.resets: dict[int, int] = {}
        self.changed = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take an event of the connection."""
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic, enable_webtransport=True)
        if isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code
            self.changed.set()
        for http_event in self.http.handle_event(event):
            self.http_event(http_event)

    def http_event(self, event: H3Event) -> None:
        """Take an answer."""
        if isinstance(event, HeadersReceived):
            self.statuses[event.stream_id] = dict(event.headers)[b":status"]
            self.changed.set()

    async def ask(self, **pseudo: bytes) -> bytes | int:
        """The status of a request, or the code it was reset with."""
        stream_id = self._quic.get_next_available_stream_id()
        headers = [(b":" + name.encode(), value) for name, value in pseudo.items()]
        self.http.send_headers(stream_id, [*headers, (b":authority", b"localhost"), (b":path", b"/")])
        self.transmit()
        while stream_id not in self.statuses and stream_id not in self.resets:
            self.changed.clear()
            await self.changed.wait()
        return self.statuses.get(stream_id, self.resets.get(stream_id, 0))


async def test_only_one_webtransport_session_lives_on_a_connection() -> None:
    """Other requests get 404, another session is rejected (H3_REQUEST_REJECTED)."""
    configuration = QuicConfiguration(alpn_protocols=["h3"], verify_mode=0, max_datagram_frame_size=65535)
    webtransport = {"method": b"CONNECT", "scheme": b"https", "protocol": b"webtransport"}

    async with (
        running() as relay,
        asyncio.timeout(DEADLINE),
        quic_connect("127.0.0.1", relay.port, configuration=configuration, create_protocol=Browser) as client,
    ):
        assert isinstance(client, Browser)
        page = await client.ask(method=b"GET", scheme=b"https")
        first = await client.ask(**webtransport)
        second = await client.ask(**webtransport)

    assert (page, first, second) == (b"404", b"200", 0x10B)


async def test_an_unknown_quic_version_is_negotiated() -> None:
    """RFC 9000 section 6.1; what is no QUIC at all is dropped."""
    loop = asyncio.get_running_loop()
    async with running() as relay, asyncio.timeout(DEADLINE):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", relay.port))
            await loop.sock_sendall(client, b"")
            await loop.sock_sendall(client, b"\xc0 no quic")
            unknown = b"\xc0\x1a\x2a\x3a\x4a\x08ABCDEFGH\x04wxyz" + bytes(1200)
            await loop.sock_sendall(client, unknown)
            answer = await loop.sock_recv(client, 2000)

    assert answer[1:5] == bytes(4)
    assert answer[5:19] == b"\x04wxyz\x08ABCDEFGH"
    assert (1).to_bytes(4, "big") in answer[19:]


# ---- in a thread of its own --------------------------------------------------------------------------


async def test_the_embedded_relay_is_verified_with_its_own_certificate() -> None:
    """By name and by address, over both transports."""
    with EmbeddedRelay() as relay:
        for url in (relay.url("quic"), relay.url(), f"https://localhost:{relay.port}"):
            transport = await dial(
                parse_relay_url(url),
                alpn=["moqt-18"],
                protocols=["moqt-18"],
                tls=TlsOptions(ca_file=relay.ca_file),
                timeout=DEADLINE,
                on_event=Owner(),
            )
            await transport.finish()


def test_the_embedded_relay_starts_and_stops_at_once() -> None:
    """A run does not notice it; nothing is left behind."""
    relay = EmbeddedRelay()

    began = time.monotonic()
    port = relay.start()
    started = time.monotonic()
    certificate = Path(relay.ca_file)
    assert certificate.read_text().startswith("-----BEGIN CERTIFICATE-----")
    relay.stop()
    stopped = time.monotonic()
    relay.stop()

    assert port == relay.port > 0
    assert started - began < DEADLINE / 2
    assert stopped - started < DEADLINE / 2
    assert not certificate.exists()


async def test_clients_of_a_stopped_relay_hear_of_it() -> None:
    """It closes its connections."""
    told = asyncio.get_running_loop().create_future()

    def take(event: TransportEvent) -> None:
        if isinstance(event, TransportClosed):
            told.set_result(event)

    relay = EmbeddedRelay()
    relay.start()
    transport = await dial(
        parse_relay_url(relay.url("quic")),
        alpn=["moqt-18"],
        protocols=(),
        tls=TlsOptions(ca_file=relay.ca_file),
        timeout=DEADLINE,
        on_event=take,
    )
    assert await transport.ping(DEADLINE)
    # In a thread, so that the client reads while the relay stops: its own late packets meet a closed port.
    await asyncio.to_thread(relay.stop)
    closed = await asyncio.wait_for(told, DEADLINE)
    await transport.finish()

    assert (closed.by_peer, closed.code) == (True, 0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_clients_are_told_when_the_relay_goes(transport: str) -> None:
    """GOAWAY to each, and the end with its code to who stays."""
    with EmbeddedRelay() as relay:
        session = await connect(
            parse_relay_url(relay.url(transport)),
            offer=[18],
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
        )
        await session.request(m.PublishNamespace(NAMESPACE), expect=m.RequestOk)

        relay.go_away(0.05)
        async with asyncio.timeout(DEADLINE):
            closed = await session.wait_closed()
        await session.close()

    assert (closed.code, closed.by_peer) == (SessionError.GOAWAY_TIMEOUT, True)


def test_a_relay_that_does_not_run_cannot_go() -> None:
    """Nobody would hear of it."""
    with pytest.raises(RuntimeError, match="not running"):
        EmbeddedRelay().go_away(1.0)


def test_a_port_in_use_is_said_at_once() -> None:
    """By OSError, in the thread that starts the relay."""
    with EmbeddedRelay() as relay, pytest.raises(OSError, match="in use"):
        EmbeddedRelay(port=relay.port).start()


def test_an_unknown_defect_is_said_at_once() -> None:
    """With names that are like it."""
    with pytest.raises(KeyError, match="did you mean setup-never"):
        EmbeddedRelay(defect="setup-nevr")


# ---- datagrams -------------------------------------------------------------------------------------


async def test_datagrams_that_wait_are_read_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there may be; the others are read in the next."""
    turns: list[int] = []
    taken = Server.datagram_received

    def count(server: Server, data: bytes, addr: tuple[str, int]) -> None:
        turns.append(len(answers))
        taken(server, data, addr)

    answers: list[bytes] = []
    monkeypatch.setattr(Server, "datagram_received", count)
    monkeypatch.setattr(Server, "send", lambda _server, data, _addr: answers.append(data))
    unknown = b"\xc0\x0a\x0a\x0a\x0a\x08" + bytes(8) + b"\x00" + bytes(1200)
    async with running() as relay:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(limits.DATAGRAMS_A_TURN + 2):
                client.sendto(unknown, ("127.0.0.1", relay.port))
            async with asyncio.timeout(DEADLINE):
                await until(lambda: len(answers) == limits.DATAGRAMS_A_TURN + 2)

    assert turns == [0, limits.DATAGRAMS_A_TURN]
