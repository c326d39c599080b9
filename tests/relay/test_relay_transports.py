"""Beneath sessions: how they end and reset over WebTransport, and that both transports meet at one relay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aioquic.h3.connection import ErrorCode
from aioquic.quic import connection as quic_connection
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration

from pytest_moqt.client.quic import ClientTransport
from pytest_moqt.client.session import ClientSession, connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.events import DataStreamEnded, DataStreamReset, ObjectReceived
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.objects import ObjectDatagram, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import (
    STREAM_ERRORS,
    PublishDoneStatus,
    SessionError,
    StreamError,
)
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.protocol.varint import QUIC_VARINT
from pytest_moqt.protocol.webtransport import CapsuleType, decode_close, encode_close, wire_code
from pytest_moqt.relay.certificates import self_signed
from pytest_moqt.relay.server import Server, bind

DEADLINE = 5.0
NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
CONNECT_STREAM = 0
WITH_TRACKS = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.SubscribeTracks)]


class Relay:
    """A relay in the event loop of the test."""

    def __init__(self, server: Server, port: int, leave: contextlib.AsyncExitStack) -> None:
        self.server = server
        self.port = port
        self._leave = leave

    async def session(self, number: int, transport: str) -> ClientSession:
        """A session that is closed with the relay at the latest."""
        scheme = "moqt" if transport == "quic" else "https"
        url = parse_relay_url(f"{scheme}://127.0.0.1:{self.port}")
        session = await connect(url, offer=[number], tls=TlsOptions(verify=False), timeout=DEADLINE)
        self._leave.push_async_callback(session.close)
        return session


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Relay]:
    """A relay, and a deadline for what is done with it."""
    loop = asyncio.get_running_loop()
    server = Server(loop, self_signed())
    bound = bind("127.0.0.1", 0)
    await loop.create_datagram_endpoint(lambda: server, sock=bound)
    async with contextlib.AsyncExitStack() as leave, asyncio.timeout(DEADLINE):
        leave.callback(server.close)
        yield Relay(server, bound.getsockname()[1], leave)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[quic_events.QuicEvent]:
    """What QUIC told the clients of this test."""
    events: list[quic_events.QuicEvent] = []
    told = ClientTransport.quic_event

    def quic_event(transport: ClientTransport, event: quic_events.QuicEvent) -> None:
        events.append(event)
        told(transport, event)

    monkeypatch.setattr(ClientTransport, "quic_event", quic_event)
    return events


async def subscribed(publisher: ClientSession, subscriber: ClientSession) -> tuple[m.Subscribe, m.Subscribe]:
    """A subscription that stands: as the subscriber asked, and as the publisher was asked."""
    await publisher.request(m.PublishNamespace(NAMESPACE), expect=m.RequestOk)
    subscription = await subscriber.open(m.Subscribe(NAMESPACE, TRACK))
    routed = await publisher.receive(m.Subscribe)
    await publisher.reply(routed, m.SubscribeOk(track_alias=1))
    await subscriber.expect(subscription, m.SubscribeOk)
    return subscription, routed


# ---- WebTransport ----------------------------------------------------------------------------------


def capsules(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The capsules in the DATA frames of a stream."""
    frames = Reader(data, QUIC_VARINT)
    body = b""
    while not frames.at_end:
        kind, payload = frames.vint(), frames.octets(None, "a frame")
        body += payload if kind == 0 else b""
    reader = Reader(body, QUIC_VARINT)
    while not reader.at_end:
        yield reader.vint(), reader.octets(None, "a capsule")


async def test_a_session_error_is_a_capsule_and_a_fin(number: int, seen: list[quic_events.QuicEvent]) -> None:
    """CLOSE_WEBTRANSPORT_SESSION has the code as it is; HTTP/3 itself has no error."""
    async with running() as relay:
        session = await relay.session(number, "webtransport")
        await session.send_raw(session.frame(m.PublishNamespace(NAMESPACE, request_id=1)))
        await session.wait_closed()

    said = [
        event
        for event in seen
        if isinstance(event, quic_events.StreamDataReceived) and event.stream_id == CONNECT_STREAM
    ]
    (close,) = [
        value
        for kind, value in capsules(b"".join(event.data for event in said))
        if kind == CapsuleType.CLOSE_WEBTRANSPORT_SESSION
    ]
    assert decode_close(close)[0] == SessionError.INVALID_REQUEST_ID
    assert said[-1].end_stream
    ends = [event for event in seen if isinstance(event, quic_events.ConnectionTerminated)]
    assert {end.error_code for end in ends} <= {ErrorCode.H3_NO_ERROR}


def _capsule(transport: ClientTransport) -> None:
    transport._http3.send_data(CONNECT_STREAM, encode_close(0, ""), end_stream=False)  # type: ignore[attr-defined]


def _fin(transport: ClientTransport) -> None:
    transport._quic.send_stream_data(CONNECT_STREAM, b"", end_stream=True)


def _connection(transport: ClientTransport) -> None:
    transport._quic.close(error_code=ErrorCode.H3_NO_ERROR)


@pytest.mark.parametrize("end", [_capsule, _fin, _connection], ids=["capsule", "fin", "connection"])
async def test_however_a_client_ends_its_session_it_is_over(
    number: int, end: Callable[[ClientTransport], None]
) -> None:
    """Its namespaces are withdrawn, and its subscribers are told."""
    async with running() as relay:
        publisher, subscriber = [await relay.session(number, "webtransport") for _ in range(2)]
        subscription, _ = await subscribed(publisher, subscriber)

        end(publisher._transport)
        publisher._transport.driver.send_soon()
        done = await subscriber.receive_later(subscription, m.PublishDone)

        assert done.status == PublishDoneStatus.INTERNAL_ERROR
        assert relay.server.router.announcements == []
        await subscriber.request(m.Subscribe(NAMESPACE, b"another"), expect=m.RequestError)


async def test_reset_codes_are_mapped_over_webtransport(
    number: int, seen: list[quic_events.QuicEvent]
) -> None:
    """0x52e4a40fa8db + n on the wire, and the draft's code again for who receives it."""
    code = STREAM_ERRORS.value(StreamError.DELIVERY_TIMEOUT, number)
    assert code is not None
    async with running() as relay:
        publisher, subscriber = [await relay.session(number, "webtransport") for _ in range(2)]
        await subscribed(publisher, subscriber)
        stream = publisher.open_subgroup(SubgroupHeader(1, 0))
        stream.write(StreamObject(0, b"first"))
        await subscriber.receive_object()

        stream.reset(code)
        ended = await subscriber.receive_object()

    assert isinstance(ended, DataStreamReset)
    assert ended.code == code
    resets = [event.error_code for event in seen if isinstance(event, quic_events.StreamReset)]
    assert wire_code(code) in resets


@pytest.mark.parametrize("number", [n for n in sorted(SUPPORTED) if not DRAFTS[n].replies_carry_request_id])
async def test_cancellations_are_mapped_over_webtransport(
    number: int, seen: list[quic_events.QuicEvent]
) -> None:
    """The relay ends a request upstream with the mapped form of CANCELLED."""
    cancelled = STREAM_ERRORS.value(StreamError.CANCELLED, number)
    assert cancelled is not None
    async with running() as relay:
        publisher, subscriber = [await relay.session(number, "webtransport") for _ in range(2)]
        subscription, _ = await subscribed(publisher, subscriber)

        await subscriber.cancel(subscription)
        await _until(lambda: any(isinstance(event, quic_events.StopSendingReceived) for event in seen))

    codes = {
        event.error_code
        for event in seen
        if isinstance(event, quic_events.StopSendingReceived | quic_events.StreamReset)
    }
    assert codes == {wire_code(cancelled)}


async def _until(happened: Callable[[], bool]) -> None:
    """Wait for what no session tells; the relay's deadline bounds it."""
    while not happened():  # noqa: ASYNC110 - there is no event for that
        await asyncio.sleep(0.002)


# ---- both transports -------------------------------------------------------------------------------


@pytest.mark.parametrize(("publishing", "subscribing"), [("quic", "webtransport"), ("webtransport", "quic")])
async def test_transports_meet_at_the_relay(number: int, publishing: str, subscribing: str) -> None:
    """Streams, datagrams and the end of a track pass from the one to the other."""
    async with running() as relay:
        publisher = await relay.session(number, publishing)
        subscriber = await relay.session(number, subscribing)
        subscription, routed = await subscribed(publisher, subscriber)

        publisher.send_datagram(ObjectDatagram(1, 1, 0, payload=b"datagram"))
        stream = publisher.open_subgroup(SubgroupHeader(1, 0))
        for each in range(3):
            stream.write(StreamObject(each, b"object %d" % each), fin=each == 2)
        items = [await subscriber.receive_object() for _ in range(3)]
        datagram = await subscriber.receive_datagram()
        await publisher.send(routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 1))
        done = await subscriber.receive_later(subscription, m.PublishDone)

    payloads = [item.object.payload for item in items if isinstance(item, ObjectReceived)]  # type: ignore[union-attr]
    assert payloads == [b"object 0", b"object 1", b"object 2"]
    assert datagram.payload == b"datagram"
    assert (done.status, done.stream_count) == (PublishDoneStatus.TRACK_ENDED, 1)


def allow_few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on clients let the relay open four unidirectional streams at first, and no others."""
    made = quic_connection.QuicConnection.__init__

    def init(
        quic: quic_connection.QuicConnection, *, configuration: QuicConfiguration, **options: object
    ) -> None:
        made(quic, configuration=configuration, **options)  # type: ignore[arg-type]
        if configuration.is_client:
            for limit, streams in (quic._local_max_streams_uni, 4), (quic._local_max_streams_bidi, 0):
                limit.value = limit.sent = streams

    monkeypatch.setattr(quic_connection.QuicConnection, "__init__", init)


async def test_the_relay_keeps_to_stream_limits(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams beyond the limit wait until the client allows them; none is lost, and the session stands."""
    async with running() as relay:
        publisher = await relay.session(number, "quic")
        allow_few_streams(monkeypatch)
        subscriber = await relay.session(number, "quic")
        await subscribed(publisher, subscriber)

        for group in range(40):
            publisher.open_subgroup(SubgroupHeader(1, group)).write(StreamObject(0, b"%d" % group), fin=True)
        ended = 0
        payloads = set()
        while ended < 40:
            item = await subscriber.receive_object()
            ended += isinstance(item, DataStreamEnded)
            if isinstance(item, ObjectReceived):
                payloads.add(item.object.payload)  # type: ignore[union-attr]

        assert payloads == {b"%d" % group for group in range(40)}
        assert subscriber.closed is None


@pytest.mark.parametrize("number", WITH_TRACKS)
async def test_a_client_without_streams_for_requests_is_told_of_tracks(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PUBLISH_BLOCKED, later PUBLISH_SKIPPED, instead of a PUBLISH that could not be sent."""
    async with running() as relay:
        publisher = await relay.session(number, "quic")
        allow_few_streams(monkeypatch)
        subscriber = await relay.session(number, "quic")
        interest = await subscriber.open(m.SubscribeTracks(NAMESPACE))
        await subscriber.expect(interest, m.RequestOk)

        paused = KeyValues({Parameter.FORWARD: 0})
        await publisher.request(m.Publish(NAMESPACE, TRACK, 1, paused), expect=m.RequestOk)
        blocked = await subscriber.receive_later(interest, m.PublishBlocked)

        assert (blocked.track_namespace_suffix, blocked.track_name) == ((), TRACK)
