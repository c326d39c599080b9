"""Bytes that no client may send: each ends the session of its sender, and concerns nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from relay_clients import Asked, Client, FakeRelay, Outgoing

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED, Draft, Topology
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.objects import (
    FETCH_HEADER,
    PADDING_DATAGRAM,
    PADDING_STREAM,
    ObjectDatagram,
    StreamObject,
    SubgroupHeader,
    is_subgroup_type,
)
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode, SessionError
from pytest_moqt.protocol.transport import DatagramData, StreamData
from pytest_moqt.protocol.values import Redirect

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77
HEADER = SubgroupHeader(ALIAS, group_id=0, subgroup_id=0)
VIOLATION = SessionError.PROTOCOL_VIOLATION
ON_CONTROL = [n for n in sorted(SUPPORTED) if DRAFTS[n].topology is Topology.SINGLE_CONTROL_STREAM]
ON_STREAMS = [n for n in sorted(SUPPORTED) if DRAFTS[n].topology is Topology.REQUEST_STREAMS]
WITH_DELTAS = [n for n in sorted(SUPPORTED) if DRAFTS[n].delta_types]
WITH_PADDING = [n for n in sorted(SUPPORTED) if DRAFTS[n].padding]
WITHOUT_PADDING = sorted(set(SUPPORTED) - set(WITH_PADDING))
WITH_REDIRECT = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.SubscribeTracks)]


def closed_with(client: Client) -> SessionError | None:
    return client.closed[0] if client.closed else None


def written(draft: Draft, *fields: int | bytes, length: int | None = None) -> bytes:
    """Integers, each in so many bytes, and bytes as they are."""
    return b"".join(
        each if isinstance(each, bytes) else draft.integers.encode(each, length) for each in fields
    )


class Scene:
    """A publisher that misbehaves, its subscriber, and somebody else who watches."""

    def __init__(self, relay: FakeRelay, number: int, *, answered: bool = True) -> None:
        self.relay = relay
        self.draft = DRAFTS[number]
        self.hostile = relay.client(number)
        self.subscriber = relay.client(number)
        self.witness = relay.client(number)
        self.hostile.request(m.PublishNamespace(NAMESPACE))
        self.subscription = self.subscriber.request(m.Subscribe(NAMESPACE, TRACK))
        self.routed: Asked = self.hostile.expect(m.Subscribe)
        if answered:
            self.hostile.say(self.routed, m.SubscribeOk(ALIAS))

    def said(self) -> list[m.Message]:
        """What the subscriber was told about its subscription."""
        return self.subscriber.about(self.subscription)

    def assert_only_the_sender_is_hurt(self) -> None:
        """The others stay, and the relay serves them."""
        assert self.subscriber.closed is None
        assert self.witness.closed is None
        assert self.witness.ask(m.PublishNamespace((b"witness",))) == self.witness_ok()

    def witness_ok(self) -> m.RequestOk:
        """How the relay accepts."""
        number = self.witness._next_id - 2
        return m.RequestOk(request_id=number if self.draft.replies_carry_request_id else None)


def send_request(client: Client, frame: Frame) -> None:
    """Send any frame where a request begins."""
    client.send_frame(frame, client.new_stream(unidirectional=False) if client.own_streams else None)


# ---- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0x3FFF, 0x01, 0x40, 0x41])
def test_unknown_and_reserved_message_types_end_the_session(relay: FakeRelay, number: int, kind: int) -> None:
    """'An endpoint that receives an unknown message type MUST close the session', well framed or not."""
    scene = Scene(relay, number)

    scene.hostile.send_frame(Frame(kind, b"\x00\x00"))

    assert closed_with(scene.hostile) == VIOLATION
    scene.assert_only_the_sender_is_hurt()


@pytest.mark.parametrize("number", ON_STREAMS)
def test_an_unknown_message_type_on_a_request_stream_ends_the_session(relay: FakeRelay, number: int) -> None:
    """The same, while a subscription stands on that stream."""
    scene = Scene(relay, number)

    scene.hostile.send_frame(Frame(0x3FFF), scene.routed.stream_id)

    assert closed_with(scene.hostile) == VIOLATION
    scene.assert_only_the_sender_is_hurt()


REQUESTS = [m.PublishNamespace((b"a", b"b"), request_id=0), m.Subscribe((b"a", b"b"), TRACK, request_id=0)]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("difference", [3, -2])
def test_a_length_that_does_not_fit_ends_the_session(
    relay: FakeRelay, number: int, request_: m.Request, difference: int
) -> None:
    """'If the length does not match the length of the Message Payload': more, with as many bytes, or less."""
    client = relay.client(number)
    frame = client.frame(request_)
    body = frame.body + bytes(max(difference, 0))

    send_request(client, frame.replace(body=body, length=len(frame.body) + difference))

    assert closed_with(client) == VIOLATION
    assert client.messages[1:] == []


@pytest.mark.parametrize("claimed", [40, (1 << 62) - 1], ids=["too-many", "enormous"])
@pytest.mark.parametrize("field", range(4), ids=["fields", "field", "name", "parameters"])
def test_a_field_that_claims_more_than_there_is_ends_the_session(
    relay: FakeRelay, number: int, field: int, claimed: int
) -> None:
    """Number of fields, length of a field, of the name, number of parameters: none is believed."""
    client = relay.client(number)
    frame = client.frame(m.Subscribe((b"field",), TRACK, request_id=0))
    whole = b"\x01\x05field\x05track"
    head, tail = frame.body.split(whole)
    claim = client.draft.integers.encode(claimed)
    parts = [b"\x01", b"\x05", b"\x05"]
    if field < 3:
        parts[field] = claim
    else:
        assert tail.endswith(b"\x00")
        tail = tail[:-1] + claim

    send_request(
        client, Frame(frame.type, head + parts[0] + parts[1] + b"field" + parts[2] + b"track" + tail)
    )

    assert closed_with(client) == VIOLATION


@pytest.mark.parametrize(
    ("number", "length"),
    [(number, length) for number in sorted(SUPPORTED) for length in DRAFTS[number].integers.lengths],
)
def test_integers_need_not_be_as_short_as_they_can(relay: FakeRelay, number: int, length: int) -> None:
    """Any length that can represent a value is valid: in frames, on streams and in datagrams."""
    draft = DRAFTS[number]
    publisher, subscriber = relay.client(number), relay.client(number)
    short = publisher.frame(REQUESTS[0])
    # Its integers are all below 0x20, its letters above.
    longer = [written(draft, byte if byte < 0x20 else bytes([byte]), length=length) for byte in short.body]
    body = b"".join(longer)
    kind, alias = written(draft, short.type, length=length), 5
    stream = publisher.new_stream(unidirectional=False) if publisher.own_streams else publisher.control

    publisher.deliver(stream, kind + len(body).to_bytes(2, "big") + body)
    subscription = subscriber.request(m.Subscribe((b"a", b"b"), TRACK))
    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(alias))
    data = publisher.new_stream(unidirectional=True)
    publisher.deliver(data, written(draft, 0x14, alias, 0, 0, length=length) + b"\x80")
    publisher.deliver(data, written(draft, 0, 3, length=length) + b"abc", fin=True)
    datagram = written(draft, 0x00, alias, 1, 0, length=length) + b"\x80payload"
    publisher.session.handle(DatagramData(datagram))

    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]
    assert [stream.payloads for stream in subscriber.streams] == [[b"abc"]]
    assert [item.payload for item in subscriber.datagrams] == [b"payload"]
    assert publisher.closed is None


def test_an_integer_that_is_cut_short_ends_the_session(relay: FakeRelay, number: int) -> None:
    """A message whose Length ends inside an integer."""
    client = relay.client(number)
    frame = client.frame(m.PublishNamespace(NAMESPACE, request_id=0))

    send_request(client, Frame(frame.type, frame.body[:-1] + client.draft.integers.encode(5, 4)[:2]))

    assert closed_with(client) == VIOLATION


# ---- pairs and parameters --------------------------------------------------------------------------


def _introduced_with(relay: FakeRelay, number: int, pairs: bytes, count: int) -> Client:
    """A client whose SETUP has these options."""
    client = relay.stranger(number)
    draft = client.draft
    head = b"" if draft.version_code is None else written(draft, 1, draft.version_code)
    head += written(draft, count) if draft.counted_options else b""
    client.send_frame(Frame(client.frame(m.Setup(versions=(0,) * bool(head))).type, head + pairs))
    return client


def test_a_value_of_more_than_65535_bytes_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'If an endpoint receives a length larger than the maximum, it MUST close the session'."""
    client = _introduced_with(relay, number, written(DRAFTS[number], 0x9D, 65536, b"xyz"), 1)

    assert closed_with(client) == VIOLATION


@pytest.mark.parametrize("number", WITH_DELTAS)
def test_types_that_add_up_to_too_much_end_the_session(relay: FakeRelay, number: int) -> None:
    """'The previous Type value plus the Delta Type MUST NOT be greater than 2^64 - 1'."""
    draft = DRAFTS[number]
    largest = (1 << 62) - 2
    client = _introduced_with(relay, number, written(draft, *(largest, 0) * 5), 5)

    assert closed_with(client) == VIOLATION


def test_a_known_option_that_is_cut_short_is_a_formatting_error(relay: FakeRelay, number: int) -> None:
    """'If a receiver understands a Type, and the following Value ... does not match'."""
    client = _introduced_with(relay, number, b"\x04" + DRAFTS[number].integers.encode(5, 4)[:1], 1)

    assert closed_with(client) == SessionError.KEY_VALUE_FORMATTING_ERROR


def _with_parameters(client: Client, request: m.Request, *pairs: bytes) -> Frame:
    """The request's frame with these parameters instead of none."""
    frame = client.frame(request)
    assert frame.body.endswith(b"\x00")
    return frame.replace(body=frame.body[:-1] + bytes([len(pairs)]) + b"".join(pairs))


def _answered(client: Client, stream: int | None) -> bool:
    if client.own_streams:
        return any(where == stream for where, _ in client.messages)
    return len(client.messages) > 1


@pytest.mark.parametrize(
    ("request_", "pairs", "closes"),
    [
        (REQUESTS[1], [(0x3FFE, b"\x05")], lambda draft: draft.unknown_parameters_close),
        (REQUESTS[1], [(0x02, b"\x05"), (0x02, b"\x05")], lambda _: True),
        (REQUESTS[0], [(0x02, b"\x05")], lambda draft: draft.parameter_scope_closes),
    ],
    ids=["unknown", "twice", "elsewhere"],
)
def test_parameters_are_judged_as_the_draft_says(
    relay: FakeRelay,
    number: int,
    request_: m.Request,
    pairs: list[tuple[int, bytes]],
    closes: Callable[[Draft], bool],
) -> None:
    """Unknown ones, one twice, and one of another message: a violation, or ignored."""
    client = relay.client(number)
    previous, octets = 0, []
    for kind, value in pairs:
        octets.append(client.draft.integers.encode(kind - previous) + value)
        previous = kind if client.draft.delta_types else 0
    frame = _with_parameters(client, request_, *octets)
    stream = client._next[False] if client.own_streams else None

    send_request(client, frame)

    if closes(client.draft):
        assert closed_with(client) == VIOLATION
    else:
        assert client.closed is None
        assert _answered(client, stream)


# ---- answers ---------------------------------------------------------------------------------------


def test_a_reason_of_1024_bytes_is_passed_on(relay: FakeRelay, number: int) -> None:
    """It is the longest that there may be."""
    scene = Scene(relay, number, answered=False)

    scene.hostile.say(scene.routed, m.RequestError(RequestErrorCode.UNAUTHORIZED, "x" * 1024))

    (answer,) = scene.said()
    assert isinstance(answer, m.RequestError)
    assert (answer.code, answer.reason) == (RequestErrorCode.UNAUTHORIZED, "x" * 1024)
    assert scene.hostile.closed is None


def test_a_longer_reason_ends_the_session_of_who_sent_it(relay: FakeRelay, number: int) -> None:
    """'If an endpoint receives a length exceeding the maximum, it MUST close the session'."""
    scene = Scene(relay, number, answered=False)
    error = m.RequestError(RequestErrorCode.UNAUTHORIZED, "x" * 1024, request_id=scene.routed.id)
    frame = scene.hostile.frame(error, answering=m.Subscribe)
    length = scene.draft.integers.encode(1024)
    assert frame.body.count(length) == 1

    scene.hostile.send_frame(
        Frame(frame.type, frame.body.replace(length, scene.draft.integers.encode(1025)) + b"x"),
        scene.routed.stream_id,
    )

    assert closed_with(scene.hostile) == VIOLATION
    assert [type(each) for each in scene.said()] == [m.RequestError]
    scene.assert_only_the_sender_is_hurt()


@pytest.mark.parametrize("number", WITH_REDIRECT)
def test_a_redirect_elsewhere_ends_the_session_of_who_sent_it(relay: FakeRelay, number: int) -> None:
    """'If a server receives a Redirect with a non-zero Connect URI Length it MUST close the session'."""
    scene = Scene(relay, number, answered=False)
    redirect = Redirect("moqt://elsewhere.example", NAMESPACE, TRACK)

    scene.hostile.say(scene.routed, m.RequestError(RequestErrorCode.REDIRECT, redirect=redirect))

    assert closed_with(scene.hostile) == VIOLATION
    assert [type(each) for each in scene.said()] == [m.RequestError]
    scene.assert_only_the_sender_is_hurt()


@pytest.mark.parametrize("number", WITH_REDIRECT)
def test_a_redirect_within_the_relay_is_passed_on(relay: FakeRelay, number: int) -> None:
    """The subscriber is told where the publisher has the track."""
    scene = Scene(relay, number, answered=False)
    redirect = Redirect("", (b"other",), TRACK)

    scene.hostile.say(scene.routed, m.RequestError(RequestErrorCode.REDIRECT, redirect=redirect))

    (answer,) = scene.said()
    assert isinstance(answer, m.RequestError)
    assert (answer.code, answer.redirect) == (RequestErrorCode.REDIRECT, redirect)


@pytest.mark.parametrize("number", ON_STREAMS)
def test_an_answer_to_ones_own_request_ends_the_session(relay: FakeRelay, number: int) -> None:
    """SUBSCRIBE_OK on the stream of the client's own PUBLISH_NAMESPACE."""
    client = relay.client(number)
    announced = client.request(m.PublishNamespace(NAMESPACE))

    client.send_frame(client.frame(m.SubscribeOk(1)), announced.stream_id)

    assert closed_with(client) == VIOLATION


def test_a_fetch_stream_that_nobody_asked_for_hurts_nobody(relay: FakeRelay, number: int) -> None:
    """It is ignored, or ends the session of who opened it."""
    scene = Scene(relay, number)

    scene.hostile.deliver(
        scene.hostile.new_stream(unidirectional=True), written(scene.draft, FETCH_HEADER, 41), fin=True
    )

    assert closed_with(scene.hostile) in (None, VIOLATION)
    scene.assert_only_the_sender_is_hurt()


# ---- streams and datagrams -------------------------------------------------------------------------


def _reserved_types(number: int) -> list[int]:
    kinds = (0x16, 0x17, 0x1E, 0x1F, 0x36, 0x3F, 0x56, 0x77, 0x00, 0x07, 0x3FFF, 0x9D)
    return [kind for kind in kinds if not is_subgroup_type(kind, DRAFTS[number])]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(number, kind) for number in sorted(SUPPORTED) for kind in _reserved_types(number)],
    ids=lambda each: f"{each:#x}" if each > 22 else str(each),
)
def test_stream_types_that_there_are_not_end_the_session(relay: FakeRelay, number: int, kind: int) -> None:
    """Reserved bits of a SUBGROUP_HEADER, and types that nobody defined."""
    scene = Scene(relay, number)
    stream = scene.hostile.new_stream(unidirectional=True)

    scene.hostile.deliver(stream, written(scene.draft, kind, ALIAS, 0, 0) + b"\x80", fin=True)

    assert closed_with(scene.hostile) == VIOLATION
    assert scene.subscriber.streams == []
    scene.assert_only_the_sender_is_hurt()


@pytest.mark.parametrize("cut", ["payload", "header"])
def test_a_stream_that_ends_inside_an_object_is_reset_for_its_subscriber(
    relay: FakeRelay, number: int, cut: str
) -> None:
    """The sender is closed; "short data" is never shown as if it were whole."""
    scene = Scene(relay, number)
    outgoing: Outgoing = scene.hostile.open_subgroup(HEADER).send(StreamObject(0, b"whole"))
    rest = {"payload": written(scene.draft, 0, 10, b"short"), "header": written(scene.draft, 0)}[cut]

    scene.hostile.deliver(outgoing.stream_id, rest, fin=True)

    (stream,) = scene.subscriber.streams
    assert closed_with(scene.hostile) == VIOLATION
    assert stream.payloads == [b"whole"]
    assert not stream.fin
    assert stream.stream_id in scene.subscriber.resets
    assert isinstance(scene.said()[-1], m.PublishDone)
    scene.assert_only_the_sender_is_hurt()


@pytest.mark.parametrize("number", [n for n in ON_STREAMS if DRAFTS[n].goaway_on_requests])
def test_an_object_id_beyond_the_last_ends_the_session(relay: FakeRelay, number: int) -> None:
    """From 18 on integers have 64 bits, and an id of more is a violation."""
    scene = Scene(relay, number)
    outgoing = scene.hostile.open_subgroup(HEADER).send(StreamObject(5, b"whole"))

    scene.hostile.deliver(outgoing.stream_id, written(scene.draft, (1 << 64) - 6, 1, b"x"))

    (stream,) = scene.subscriber.streams
    assert closed_with(scene.hostile) == VIOLATION
    assert stream.payloads == [b"whole"]
    assert stream.stream_id in scene.subscriber.resets


def test_an_object_that_claims_to_be_enormous_is_given_up(relay: FakeRelay, number: int) -> None:
    """Nothing is kept of it; the session goes on, and so do other streams of the track."""
    scene = Scene(relay, number)

    for _ in range(20):
        stream = scene.hostile.new_stream(unidirectional=True)
        scene.hostile.session.handle(
            StreamData(
                stream, written(scene.draft, 0x14, ALIAS, 0, 0) + b"\x80" + written(scene.draft, 0, 1 << 60)
            )
        )
        scene.hostile.session.handle(StreamData(stream, bytes(100_000)))
        assert stream in scene.hostile.stops
    scene.hostile.open_subgroup(SubgroupHeader(ALIAS, group_id=1)).send(StreamObject(0, b"next"), fin=True)

    assert scene.hostile.closed is None
    assert [stream.payloads for stream in scene.subscriber.streams] == [[b"next"]]


BAD_ITEMS: dict[str, Callable[[Scene], None]] = {
    "status": lambda scene: scene.hostile.deliver(
        scene.hostile.new_stream(unidirectional=True),
        written(scene.draft, 0x14, ALIAS, 0, 0) + b"\x80" + written(scene.draft, 0, 0, 0x2),
    ),
    "datagram": lambda scene: scene.hostile.session.handle(DatagramData(b"\x3e\x4d\x00\x00")),
    "stream": lambda scene: scene.hostile.deliver(
        scene.hostile.new_stream(unidirectional=True), written(scene.draft, 0x3E, ALIAS)
    ),
    "update": lambda scene: scene.hostile.send_frame(Frame(0x02, b"\x00\x00\xff"), scene.routed.stream_id),
}


@pytest.mark.parametrize("item", BAD_ITEMS)
def test_what_is_invalid_is_not_passed_on(relay: FakeRelay, number: int, item: str) -> None:
    """'the Relay MUST NOT propagate that message or Object to another Session'."""
    scene = Scene(relay, number)
    before = len(scene.subscriber.messages)

    BAD_ITEMS[item](scene)

    (done,) = (message for _, message in scene.subscriber.messages[before:])
    assert closed_with(scene.hostile) == VIOLATION
    assert isinstance(done, m.PublishDone)
    assert done.status == PublishDoneStatus.INTERNAL_ERROR
    assert scene.subscriber.streams == []
    assert scene.subscriber.datagrams == []
    scene.assert_only_the_sender_is_hurt()


# ---- padding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", WITH_PADDING)
def test_padding_is_ignored(relay: FakeRelay, number: int) -> None:
    """Streams and datagrams that mean nothing, however long they are."""
    scene = Scene(relay, number)
    stream = scene.hostile.new_stream(unidirectional=True)

    scene.hostile.deliver(stream, written(scene.draft, PADDING_STREAM) + bytes(300))
    scene.hostile.session.handle(StreamData(stream, bytes(1_000_000), fin=True))
    scene.hostile.session.handle(DatagramData(written(scene.draft, PADDING_DATAGRAM) + bytes(500)))
    scene.hostile.send_datagram(ObjectDatagram(ALIAS, 0, 0, payload=b"after"))

    assert scene.hostile.closed is None
    assert scene.subscriber.streams == []
    assert [item.payload for item in scene.subscriber.datagrams] == [b"after"]


@pytest.mark.parametrize("number", WITHOUT_PADDING)
def test_padding_is_an_unknown_stream_type_before_18(relay: FakeRelay, number: int) -> None:
    """Which ends the session."""
    client = relay.client(number)

    client.deliver(client.new_stream(unidirectional=True), written(client.draft, PADDING_STREAM))

    assert closed_with(client) == VIOLATION
