"""A session as a case sees it, over a transport that does nothing: what is awaited, and what is kept."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from pytest_moqt.client import session as client
from pytest_moqt.client.failures import RequestAbandoned, SessionEnded
from pytest_moqt.client.quic import ClientTransport
from pytest_moqt.client.session import ClientSession
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.framing import decode, encode, pull_frame
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.transport import DatagramData, StopSending, StreamData, TransportClosed
from pytest_moqt.protocol.values import KeyValues, TrackNamespace

NAMESPACE = (b"moq-test",)
DATA_STREAM = 11
"A unidirectional stream of the server's."

ALL = [pytest.param(draft, id=draft.name) for draft in DRAFTS.values()]
STREAM_PER_REQUEST = [
    pytest.param(draft, id=draft.name)
    for draft in DRAFTS.values()
    if draft.topology is Topology.REQUEST_STREAMS
]


class Silence:
    """A transport whose peer is the test."""

    name = "quic"
    alpn = "moqt"
    protocol = None
    failure = None

    def __init__(self) -> None:
        self.stopped: list[int] = []
        self.sent: dict[int, bytes] = {}
        self._next = {True: 2, False: 0}

    def open_stream(self, *, unidirectional: bool) -> int:
        stream_id = self._next[unidirectional]
        self._next[unidirectional] += 4
        return stream_id

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        self.sent[stream_id] = self.sent.get(stream_id, b"") + data

    def stop(self, stream_id: int, code: int) -> None:
        self.stopped.append(stream_id)


def opened(draft: Draft) -> tuple[ClientSession, Silence]:
    """A session whose SETUP has been exchanged."""
    transport = Silence()
    session = ClientSession(
        cast("ClientTransport", transport), draft, "client", KeyValues(), time.monotonic()
    )
    session.begin()
    options = {SetupOption.MAX_REQUEST_ID: 100} if draft.request_id_credit else {}
    versions = () if draft.version_code is None else (draft.version_code,)
    setup = encode(m.Setup(KeyValues(options), versions), draft, sender=Sender.SERVER)
    stream_id = 3 if draft.topology is Topology.REQUEST_STREAMS else 0
    session.handle(StreamData(stream_id, setup.encode(draft)))
    return session, transport


class Packets(Silence):
    """A transport that notes what each of its packets has."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = self
        self.packets: list[tuple[int, bytes]] = []
        self.ended: list[int] = []
        self._queued: list[tuple[int, bytes]] = []

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        self._queued.append((stream_id, data))
        if fin:
            self.ended.append(stream_id)

    def flush(self) -> None:
        self.packets += [(self._queued[0][0], b"".join(data for _, data in self._queued))]
        self._queued.clear()


@pytest.mark.parametrize("draft", ALL)
async def test_setup_goes_out_byte_by_byte(draft: Draft) -> None:
    """Each in a packet of its own, in order, when the block is left."""
    transport = Packets()
    session = ClientSession(
        cast("ClientTransport", transport), draft, "client", KeyValues(), time.monotonic()
    )

    async with session.byte_by_byte(0):
        session.begin()
        assert transport.packets == []

    sent = b"".join(data for _, data in transport.packets)
    assert {len(data) for _, data in transport.packets} == {1}
    assert {stream_id for stream_id, _ in transport.packets} == {session.control_stream.stream_id}
    assert decode(pull_frame(Reader(sent, draft.integers)), draft, Sender.CLIENT)[0] == m.Setup(
        KeyValues({SetupOption.MAX_REQUEST_ID: 100} if draft.request_id_credit else {}),
        () if draft.version_code is None else (draft.version_code,),
    )


async def test_the_end_of_a_stream_goes_out_alone_too() -> None:
    """Where no byte is left to send it with."""
    transport = Packets()
    session = ClientSession(
        cast("ClientTransport", transport), DRAFTS[18], "client", KeyValues(), time.monotonic()
    )
    session.begin()
    transport.flush()

    async with session.byte_by_byte(0):
        stream = session.open_stream()
        stream.send(b"ab")
        stream.send(b"", fin=True)
        assert transport.ended == []

    assert transport.packets[-3:] == [(stream.stream_id, octets) for octets in (b"a", b"b", b"")]
    assert transport.ended == [stream.stream_id]


def asks(session: ClientSession, namespace: TrackNamespace, number: int) -> None:
    """Have the relay publish a namespace under a request id: 1, 3, 5 ..."""
    draft = session.draft
    frame = encode(m.PublishNamespace(namespace, request_id=number), draft, sender=Sender.SERVER)
    # Its bidirectional streams are 1, 5, 9 ...
    stream_id = 2 * number - 1 if draft.topology is Topology.REQUEST_STREAMS else 0
    session.handle(StreamData(stream_id, frame.encode(draft)))


@pytest.mark.parametrize("draft", ALL)
async def test_an_id_of_the_relays_that_we_used_is_still_the_relays(draft: Draft) -> None:
    """A case may use one, to see what comes of it: the relay breaks no rule when it does so too."""
    session, _ = opened(draft)
    ours = await session.open(m.PublishNamespace(NAMESPACE), number=1)

    asks(session, (b"theirs",), 1)

    theirs = session.take(m.PublishNamespace)
    assert theirs is not None
    assert theirs.track_namespace == (b"theirs",)
    assert session.closed is None
    ok = encode(m.RequestOk(request_id=1), draft, sender=Sender.SERVER, answering=m.PublishNamespace)
    session.handle(StreamData(0, ok.encode(draft)))
    assert isinstance(await session.answer(ours), m.RequestOk)


@pytest.mark.parametrize("draft", ALL)
async def test_what_came_is_taken_without_waiting(draft: Draft) -> None:
    """Each once, in order; and where nothing is left, until anything more has come."""
    session, _ = opened(draft)
    asks(session, (b"a",), 1)
    asks(session, (b"b",), 3)

    taken = [session.take(m.PublishNamespace) for _ in range(3)]

    assert [request and request.track_namespace for request in taken] == [(b"a",), (b"b",), None]
    more = asyncio.ensure_future(session.wait_for_more("a namespace"))
    await asyncio.sleep(0)  # until it waits
    assert not more.done()
    asks(session, (b"c",), 5)
    await more
    assert session.take(m.Publish) is None
    assert session.take(m.PublishNamespace, where=lambda request: request.request_id != 5) is None
    assert session.take(m.PublishNamespace) is not None


async def test_nothing_more_comes_of_a_session_that_is_over() -> None:
    """Its end is told of once, as anything else; who waits on is told so."""
    session, _ = opened(DRAFTS[18])
    more = asyncio.ensure_future(session.wait_for_more("a namespace"))
    await asyncio.sleep(0)  # until it waits

    session.handle(TransportClosed(0, "", by_peer=True, layer="session"))

    await more
    with pytest.raises(SessionEnded, match="while we awaited a namespace"):
        await session.wait_for_more("a namespace")


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
async def test_an_update_awaits_its_own_answer(draft: Draft) -> None:
    """Not the one that the request, or an update before it, still waits for."""
    session, _ = opened(draft)
    request = await session.open(m.Subscribe(NAMESPACE, b"track"))
    first = asyncio.ensure_future(session.update(request, KeyValues()))
    second = asyncio.ensure_future(session.update(request, KeyValues()))
    await asyncio.sleep(0)  # until both wait

    ok = m.SubscribeOk(track_alias=1)
    session.handle(
        StreamData(0, encode(ok, draft, sender=Sender.SERVER, answering=m.Subscribe).encode(draft))
    )
    refusals = [
        m.RequestError(code, reason="no")
        for code in (RequestErrorCode.INTERNAL_ERROR, RequestErrorCode.UNAUTHORIZED)
    ]
    for refusal in refusals:
        assert not second.done()
        frame = encode(refusal, draft, sender=Sender.SERVER, answering=m.RequestUpdate)
        session.handle(StreamData(0, frame.encode(draft)))
        await asyncio.sleep(0)

    assert [await first, await second] == refusals


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
async def test_an_answer_counts_that_comes_with_a_stop(draft: Draft) -> None:
    """STOP_SENDING stands before stream data in a packet: an answer in the same one is an answer."""
    session, _ = opened(draft)
    request = await session.open(m.PublishNamespace(NAMESPACE))
    ok = encode(m.RequestOk(), draft, sender=Sender.SERVER, answering=m.PublishNamespace)
    waiting = asyncio.ensure_future(session.answer(request))
    await asyncio.sleep(0)  # until it waits

    session.handle(StopSending(0, 1, 1))
    session.handle(StreamData(0, ok.encode(draft)))

    assert await waiting == m.RequestOk()


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
async def test_a_stop_without_an_answer_is_none(draft: Draft) -> None:
    """STOP_SENDING cancels a request (`request-cancellation`), and the wait is over."""
    session, _ = opened(draft)
    request = await session.open(m.PublishNamespace(NAMESPACE))
    waiting = asyncio.ensure_future(session.answer(request))
    await asyncio.sleep(0)  # until it waits

    session.handle(StopSending(0, 1, 1))

    with pytest.raises(RequestAbandoned, match=r"PUBLISH_NAMESPACE \(request 0\).* instead of answering"):
        await waiting


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize(("limit", "held"), [("MAX_HELD", 5), ("MAX_HELD_OCTETS", 20)])
async def test_objects_that_nobody_takes_are_refused(
    draft: Draft, monkeypatch: pytest.MonkeyPatch, limit: str, held: int
) -> None:
    """A stream that brings more than is kept is stopped, and the session stands."""
    monkeypatch.setattr(client, limit, held)
    session, transport = opened(draft)
    encoder = SubgroupEncoder(SubgroupHeader(7, 0), draft)
    objects = [encoder.header(), *(encoder.object(StreamObject(number, b"four")) for number in range(9))]

    for data in objects[:6]:
        session.handle(StreamData(DATA_STREAM, data))

    assert transport.stopped == []
    for data in objects[6:]:
        session.handle(StreamData(DATA_STREAM, data))
    assert transport.stopped == [DATA_STREAM]
    assert session.closed is None
    kept = [await session.receive_object() for _ in range(6)]
    assert [getattr(event, "object", None) for event in kept] == [
        StreamObject(number, b"four") for number in range(6)
    ]


@pytest.mark.parametrize("draft", ALL)
async def test_objects_that_are_taken_have_no_bound(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a case takes as it comes counts no more."""
    monkeypatch.setattr(client, "MAX_HELD", 2)
    monkeypatch.setattr(client, "MAX_HELD_OCTETS", 10)
    session, transport = opened(draft)
    encoder = SubgroupEncoder(SubgroupHeader(7, 0), draft)
    session.handle(StreamData(DATA_STREAM, encoder.header()))

    for number in range(20):
        session.handle(StreamData(DATA_STREAM, encoder.object(StreamObject(number, b"four"))))
        await session.receive_object()

    assert transport.stopped == []


@pytest.mark.parametrize("draft", ALL)
async def test_datagrams_that_nobody_takes_are_dropped(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first are kept ("it MAY drop the datagram", `datagrams`)."""
    monkeypatch.setattr(client, "MAX_HELD", 3)
    session, _ = opened(draft)

    for number in range(9):
        datagram = ObjectDatagram(7, 0, number, payload=b"x")
        session.handle(DatagramData(encode_datagram(datagram, draft)))

    assert [datagram.object_id for datagram in session.datagrams] == [0, 1, 2]


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
async def test_breaches_beside_the_case_are_bounded(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of malformed requests the first are kept, for the report."""
    monkeypatch.setattr(client, "MAX_DEVIATIONS", 2)
    session, _ = opened(draft)
    frame = encode(m.PublishNamespace(NAMESPACE, request_id=1), draft, sender=Sender.SERVER)

    for number in range(5):
        cut = frame.replace(body=frame.body[:-1])
        session.handle(StreamData(1 + 4 * number, cut.encode(draft)))

    assert len(session.notes()) == 2
    assert session.closed is None


@pytest.mark.parametrize("draft", ALL)
def test_an_object_is_sent_in_two_goes(draft: Draft) -> None:
    """So much of its payload, then the rest; nothing else comes between, nor the end of the stream."""
    session, transport = opened(draft)
    stream = session.open_subgroup(SubgroupHeader(5, 0))
    decoder = DataStreamDecoder(draft)
    decoder.feed(transport.sent[stream.stream_id])
    item = StreamObject(0, b"0123456789")

    stream.write_beginning(item, 4)

    assert decoder.feed(transport.sent[stream.stream_id][decoder.consumed :]) == []
    assert transport.sent[stream.stream_id].endswith(b"0123")
    for early in (
        lambda: stream.write(StreamObject(1)),
        lambda: stream.write_beginning(item, 1),
        stream.finish,
    ):
        with pytest.raises(LocalProtocolError, match="6 bytes of the object before were not sent"):
            early()
    stream.write_rest()
    stream.write(StreamObject(1, b"next"), fin=True)
    sent = DataStreamDecoder(draft).feed(transport.sent[stream.stream_id], fin=True)
    assert sent[1:] == [item, StreamObject(1, b"next")]


@pytest.mark.parametrize("draft", ALL)
async def test_bytes_that_complete_nothing_are_seen(draft: Draft) -> None:
    """Of streams of a track that go on, and of no other track."""
    session, _ = opened(draft)
    encoder = SubgroupEncoder(SubgroupHeader(5, 0), draft)
    data = encoder.header() + encoder.object(StreamObject(0, bytes(100)))
    wait = asyncio.ensure_future(session.receive_octets(50, 5))
    other = asyncio.ensure_future(session.receive_octets(1, 6))

    session.handle(StreamData(DATA_STREAM, data[:49]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not wait.done()
    session.handle(StreamData(DATA_STREAM, data[49:50]))
    await wait

    session.handle(StreamData(DATA_STREAM, data[50:], fin=True))
    ended = asyncio.ensure_future(session.receive_octets(1, 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for waiting in (other, ended):
        assert not waiting.done()
        waiting.cancel()
