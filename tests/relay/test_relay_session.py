"""What the relay takes from a client, and with which code it ends a session otherwise."""

from __future__ import annotations

import pytest
from relay_clients import Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED, Topology
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import layout_of_message
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import (
    REQUEST_ERRORS,
    PublishDoneStatus,
    RequestErrorCode,
    SessionError,
)
from pytest_moqt.protocol.transport import DatagramData, StopSending, StreamData, StreamReset
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay import limits
from pytest_moqt.relay.session import IMPLEMENTATION

NAMESPACE = (b"moq-test", b"interop")
ON_CONTROL = [n for n in sorted(SUPPORTED) if DRAFTS[n].topology is Topology.SINGLE_CONTROL_STREAM]
ON_STREAMS = [n for n in sorted(SUPPORTED) if DRAFTS[n].topology is Topology.REQUEST_STREAMS]
GOAWAY_WITH_ID = [
    n
    for n in ON_STREAMS
    if any(field.name == "request_id" for field in layout_of_message(DRAFTS[n], m.Goaway).fields)
]
"Where GOAWAY says which requests of its receiver were not processed (18)."


def closed_with(client: Client) -> SessionError | None:
    return client.closed[0] if client.closed else None


# ---- SETUP -----------------------------------------------------------------------------------------


def test_setup_is_answered_with_the_relays_own(relay: FakeRelay, number: int) -> None:
    """SETUP names the implementation and, where ids need credit, grants some."""
    client = relay.client(number)

    ((stream, setup),) = client.messages
    assert stream is None
    assert isinstance(setup, m.Setup)
    assert setup.options[SetupOption.MOQT_IMPLEMENTATION] == IMPLEMENTATION
    assert (SetupOption.MAX_REQUEST_ID in setup.options) == client.draft.request_id_credit
    assert client.session.established


@pytest.mark.parametrize("number", ON_STREAMS)
def test_setup_does_not_wait_for_the_clients_from_17_on(relay: FakeRelay, number: int) -> None:
    """Either end may send SETUP first."""
    client = relay.stranger(number)

    assert isinstance(client.messages[0][1], m.Setup)


def test_unknown_setup_options_are_ignored(relay: FakeRelay, number: int) -> None:
    """'Receivers MUST ignore unrecognized Setup Options', and allow them to repeat."""
    client = relay.stranger(number)

    client.setup(KeyValues([(0x7F * 3 + 0x9D, 7), (0x7F * 3 + 0x9D, 7), (0x7F * 4 + 0x9D, b"x")]))

    assert client.session.established


def test_a_second_setup_is_a_violation(relay: FakeRelay, number: int) -> None:
    """SETUP comes once."""
    client = relay.client(number)

    client.setup()

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_setup_of_no_common_version_fails() -> None:
    """The server picks one of the versions offered, or ends the session."""
    (number,) = [n for n in SUPPORTED if DRAFTS[n].version_code is not None]
    client = FakeRelay().stranger(number)

    client.setup(versions=(0xFF00000D, 0xFF00000F))

    assert closed_with(client) == SessionError.VERSION_NEGOTIATION_FAILED


@pytest.mark.parametrize(
    ("transport", "option", "value", "code"),
    [
        ("webtransport", SetupOption.PATH, b"/", SessionError.INVALID_PATH),
        ("webtransport", SetupOption.AUTHORITY, b"a.example", SessionError.INVALID_AUTHORITY),
        ("quic", SetupOption.PATH, b"no-slash", SessionError.MALFORMED_PATH),
        ("quic", SetupOption.PATH, b"/a b", SessionError.MALFORMED_PATH),
        ("quic", SetupOption.PATH, b"/\xff", SessionError.MALFORMED_PATH),
        ("quic", SetupOption.PATH, b"/%zz", SessionError.MALFORMED_PATH),
        ("quic", SetupOption.AUTHORITY, b"", SessionError.MALFORMED_AUTHORITY),
        ("quic", SetupOption.AUTHORITY, b"a.example:port", SessionError.MALFORMED_AUTHORITY),
        ("quic", SetupOption.AUTHORITY, b"a/b", SessionError.MALFORMED_AUTHORITY),
        ("quic", SetupOption.AUTHORITY, b"[::1", SessionError.MALFORMED_AUTHORITY),
        ("quic", SetupOption.AUTHORITY, b"a .example", SessionError.MALFORMED_AUTHORITY),
        ("quic", SetupOption.AUTHORITY, b"wrong.invalid:443", None),
        ("quic", SetupOption.PATH, b"", None),
        ("quic", SetupOption.PATH, b"/a/b%20c;d?e=f/?", None),
        ("quic", SetupOption.AUTHORITY, b"user@a.example:4443", None),
        ("quic", SetupOption.AUTHORITY, b"[::1]:4443", None),
    ],
)
def test_path_and_authority_are_checked(
    relay: FakeRelay,
    number: int,
    transport: str,
    option: SetupOption,
    value: bytes,
    code: SessionError | None,
) -> None:
    """Over WebTransport neither may be there; over raw QUIC both follow RFC 3986."""
    client = relay.stranger(number, transport=transport)

    client.setup(KeyValues({option: value}))

    assert closed_with(client) == code


def test_silence_instead_of_setup_is_not_waited_for_forever(relay: FakeRelay, number: int) -> None:
    """A client that says nothing is closed."""
    client = relay.stranger(number)

    relay.clock.advance(limits.SETUP_SECONDS)

    assert closed_with(client) == SessionError.CONTROL_MESSAGE_TIMEOUT


def test_half_a_setup_is_not_waited_for_forever_either(relay: FakeRelay, number: int) -> None:
    """A client that stalls is closed as one that is silent; others are not concerned."""
    client, witness = relay.stranger(number), relay.client(number)
    versions = () if client.draft.version_code is None else (client.draft.version_code,)
    whole = client.frame(m.Setup(KeyValues({0x9D: b"some more"}), versions)).encode(client.draft)
    client.deliver(client.control, whole[:-1])

    relay.clock.advance(limits.SETUP_SECONDS)

    assert closed_with(client) == SessionError.CONTROL_MESSAGE_TIMEOUT
    assert witness.closed is None


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_request_before_setup_is_a_violation(relay: FakeRelay, number: int) -> None:
    """The control stream begins with CLIENT_SETUP."""
    client = relay.stranger(number)

    client.request(m.PublishNamespace(NAMESPACE))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_STREAMS)
def test_a_request_that_overtakes_setup_is_answered(relay: FakeRelay, number: int) -> None:
    """'the data SHOULD be buffered until both control streams arrive'."""
    client = relay.stranger(number)
    early = client.request(m.PublishNamespace(NAMESPACE))

    client.setup()

    assert client.about(early) == [m.RequestOk()]


@pytest.mark.parametrize("number", ON_STREAMS)
def test_what_overtakes_setup_is_not_held_without_limit(relay: FakeRelay, number: int) -> None:
    """A client cannot fill the relay's memory before it has introduced itself."""
    client = relay.stranger(number)
    stream = client.new_stream(unidirectional=True)

    client.session.handle(StreamData(stream, b"\x10\x01" + bytes(limits.EARLY_BYTES)))

    assert closed_with(client) == SessionError.INTERNAL_ERROR


# ---- frames and streams ----------------------------------------------------------------------------


def test_an_unknown_message_type_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'An endpoint that receives an unknown message type MUST close the session'."""
    client = relay.client(number)

    client.send_frame(Frame(0x3E))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_a_byte_after_the_last_field_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'If the length does not match the length of the Message Payload ... PROTOCOL_VIOLATION'."""
    client = relay.client(number)
    frame = client.frame(m.PublishNamespace(NAMESPACE, request_id=0))
    own = client.new_stream(unidirectional=False) if client.own_streams else None

    client.send_frame(frame.replace(body=frame.body + b"\x00"), own)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION
    assert relay.router.announcements == []


def test_the_control_stream_may_not_end(relay: FakeRelay, number: int) -> None:
    """'A control stream MUST NOT be closed'."""
    client = relay.client(number)

    client.deliver(client.control, b"", fin=True)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_the_control_stream_may_not_be_reset(relay: FakeRelay, number: int) -> None:
    """The same, abruptly."""
    client = relay.client(number)

    client.session.handle(StreamReset(client.control, 0, 0))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_the_relays_control_stream_may_not_be_stopped(relay: FakeRelay, number: int) -> None:
    """The same, the other half."""
    client = relay.client(number)

    client.session.handle(StopSending(3 if client.own_streams else client.control, 0, 0))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_STREAMS)
def test_a_second_control_stream_is_a_violation(relay: FakeRelay, number: int) -> None:
    """There is one each way."""
    client = relay.client(number)
    second = client.new_stream(unidirectional=True)

    client.send_frame(client.frame(m.Setup()), second)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_an_unknown_stream_type_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'An endpoint that receives an unknown stream type MUST close the session'."""
    client = relay.client(number)

    client.deliver(client.new_stream(unidirectional=True), b"\x3e\x01\x01\x01\x01")

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_second_control_stream_of_two_ways_is_a_violation(relay: FakeRelay, number: int) -> None:
    """CLIENT_SETUP on another bidirectional stream."""
    client = relay.client(number)

    client.send_frame(client.frame(m.Setup(versions=(0xFF00000E,))), client.new_stream(unidirectional=False))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_stream_may_not_begin_with_an_answer(relay: FakeRelay, number: int) -> None:
    """Beside the control stream either."""
    client = relay.client(number)

    client.send_frame(
        client.frame(m.SubscribeOk(1, request_id=0), m.Subscribe), client.new_stream(unidirectional=False)
    )

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_a_stream_without_a_type_ends_the_session(relay: FakeRelay, number: int) -> None:
    """A unidirectional stream says what it is before it ends."""
    client = relay.client(number)

    client.deliver(client.new_stream(unidirectional=True), b"", fin=True)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_an_unknown_datagram_type_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'An endpoint that receives an unknown datagram type MUST close the session'."""
    client = relay.client(number)

    client.session.handle(DatagramData(b"\x3e\x01\x01\x01"))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_second_bidirectional_stream_is_a_violation(relay: FakeRelay, number: int) -> None:
    """'Bidirectional streams MUST NOT begin with any other message type'."""
    client = relay.client(number)
    stream = client.new_stream(unidirectional=False)

    client.send_frame(client.frame(m.PublishNamespace(NAMESPACE, request_id=0)), stream)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_STREAMS)
def test_a_request_on_the_control_stream_is_a_violation(relay: FakeRelay, number: int) -> None:
    """Each request has a stream of its own."""
    client = relay.client(number)

    client.send_control(m.PublishNamespace(NAMESPACE, request_id=0))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_STREAMS)
def test_a_request_stream_begins_with_a_request(relay: FakeRelay, number: int) -> None:
    """A reply opens nothing."""
    client = relay.client(number)
    stream = client.new_stream(unidirectional=False)

    client.send_frame(client.frame(m.RequestOk(), answering=m.PublishNamespace), stream)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", ON_STREAMS)
def test_a_request_stream_may_not_end_inside_a_message(relay: FakeRelay, number: int) -> None:
    """Half a message is none."""
    client = relay.client(number)
    stream = client.new_stream(unidirectional=False)
    data = client.frame(m.PublishNamespace(NAMESPACE, request_id=0)).encode(client.draft)

    client.deliver(stream, data[:-1], fin=True)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


# ---- request ids -----------------------------------------------------------------------------------


def test_an_odd_request_id_is_invalid(relay: FakeRelay, number: int) -> None:
    """A client's ids are even."""
    client = relay.client(number)

    client.request(m.PublishNamespace(NAMESPACE), number=1)

    assert closed_with(client) == SessionError.INVALID_REQUEST_ID


def test_a_repeated_request_id_is_invalid(relay: FakeRelay, number: int) -> None:
    """An id names one request."""
    client = relay.client(number)
    client.request(m.PublishNamespace(NAMESPACE))

    client.request(m.PublishNamespace(NAMESPACE), number=0)

    assert closed_with(client) == SessionError.INVALID_REQUEST_ID


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_skipped_request_id_is_invalid(relay: FakeRelay, number: int) -> None:
    """On one stream ids come in order."""
    client = relay.client(number)

    client.request(m.PublishNamespace(NAMESPACE), number=2)

    assert closed_with(client) == SessionError.INVALID_REQUEST_ID


@pytest.mark.parametrize("number", ON_STREAMS)
def test_requests_may_overtake_each_other(relay: FakeRelay, number: int) -> None:
    """On streams of their own they come in any order."""
    client = relay.client(number)

    answers = [
        client.about(client.request(m.PublishNamespace((b"%d" % each,)), number=each)) for each in (4, 0, 2)
    ]

    assert answers == [[m.RequestOk()]] * 3


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_request_id_above_the_maximum_is_too_many(relay: FakeRelay, number: int) -> None:
    """'If a Request ID equal to or larger than this is received ... TOO_MANY_REQUESTS'."""
    client = relay.client(number)

    client.request(m.PublishNamespace(NAMESPACE), number=2 * limits.REQUEST_CREDIT)

    assert closed_with(client) == SessionError.TOO_MANY_REQUESTS


@pytest.mark.parametrize("number", ON_CONTROL)
def test_credit_is_raised_before_it_is_used_up(relay: FakeRelay, number: int) -> None:
    """A client may make any number of requests, one after another."""
    client = relay.client(number)

    for each in range(2 * limits.REQUEST_CREDIT):
        asked = client.request(m.PublishNamespace((b"%d" % each,)))
        client.cancel(asked)

    assert client.closed is None
    raised = [message.maximum for _, message in client.messages if isinstance(message, m.MaxRequestId)]
    assert raised == sorted(set(raised))
    assert raised[-1] > client._next_id


@pytest.mark.parametrize("number", ON_CONTROL)
def test_the_relay_keeps_to_the_clients_credit(relay: FakeRelay, number: int) -> None:
    """Without credit a SUBSCRIBE waits, says that it is blocked, and follows MAX_REQUEST_ID."""
    publisher = relay.client(number, options=KeyValues())
    subscriber = relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))

    subscriber.request(m.Subscribe(NAMESPACE, b"track"))
    before = publisher.incoming(m.Subscribe)
    publisher.send_control(m.MaxRequestId(2))

    assert before is None
    assert (None, m.RequestsBlocked(0)) in publisher.messages
    assert publisher.expect(m.Subscribe).id == 1


@pytest.mark.parametrize("maximum", [100, 98])
@pytest.mark.parametrize("number", ON_CONTROL)
def test_max_request_id_must_grow(relay: FakeRelay, number: int, maximum: int) -> None:
    """'receipt of a MAX_REQUEST_ID message with an equal or smaller Request ID' is a violation."""
    client = relay.client(number)

    client.send_control(m.MaxRequestId(maximum))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_requests_of_one_client_are_bounded(
    relay: FakeRelay, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client cannot fill the relay's tables; what is too much is refused."""
    monkeypatch.setattr(limits, "REQUESTS", 3)
    client = relay.client(number)

    answers = [client.ask(m.PublishNamespace((b"%d" % each,))) for each in range(4)]

    assert [type(answer) for answer in answers] == [m.RequestOk] * 3 + [m.RequestError]
    assert client.closed is None


# ---- replies, updates, GOAWAY -------------------------------------------------------------------------


def test_a_second_answer_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'The peer SHOULD close the session with a protocol error if it receives more than one'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscriber.request(m.Subscribe(NAMESPACE, b"track"))
    asked = publisher.expect(m.Subscribe)

    publisher.say(asked, m.SubscribeOk(1))
    publisher.say(asked, m.SubscribeOk(1))

    assert closed_with(publisher) == SessionError.PROTOCOL_VIOLATION
    assert subscriber.closed is None


def test_an_answer_of_another_kind_ends_the_session(relay: FakeRelay, number: int) -> None:
    """SUBSCRIBE is not answered with what answers PUBLISH_NAMESPACE."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscriber.request(m.Subscribe(NAMESPACE, b"track"))

    publisher.say(publisher.expect(m.Subscribe), m.RequestOk(), answering=m.PublishNamespace)

    assert closed_with(publisher) == SessionError.PROTOCOL_VIOLATION
    assert subscriber.closed is None


@pytest.mark.parametrize("number", ON_CONTROL)
@pytest.mark.parametrize(
    "message",
    [
        m.Unsubscribe(7),
        m.SubscribeOk(1, request_id=7),
        m.PublishDone(PublishDoneStatus.TRACK_ENDED, request_id=6),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_request_that_never_was_cannot_be_named(relay: FakeRelay, number: int, message: m.Message) -> None:
    """Ids name requests of this session."""
    client = relay.client(number)

    client.send_control(message, answering=m.Subscribe if isinstance(message, m.Reply) else None)

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_goaway_of_a_client_is_heeded(relay: FakeRelay, number: int) -> None:
    """A client that goes away gets no new requests, and may finish what it has begun."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))

    publisher.send_control(m.Goaway(timeout_ms=0))
    answer = subscriber.ask(m.Subscribe(NAMESPACE, b"track"))

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST
    assert publisher.incoming(m.Subscribe) is None
    assert publisher.closed is None


def test_goaway_does_not_end_subscriptions(relay: FakeRelay, number: int) -> None:
    """'The GOAWAY message does not impact subscription state': objects keep coming."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscriber.request(m.Subscribe(NAMESPACE, b"track"))
    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1))

    subscriber.send_control(m.Goaway(timeout_ms=0, request_id=1 if number in GOAWAY_WITH_ID else None))
    publisher.open_subgroup(SubgroupHeader(1, group_id=0)).send(StreamObject(0, b"after"), fin=True)

    assert [stream.payloads for stream in subscriber.streams] == [[b"after"]]
    assert subscriber.closed is None


@pytest.mark.parametrize("number", GOAWAY_WITH_ID)
def test_goaway_names_a_request_of_the_relay(relay: FakeRelay, number: int) -> None:
    """'If the parity of the Request ID does not match the receiver's parity': INVALID_REQUEST_ID."""
    client = relay.client(number)

    client.send_control(m.Goaway(timeout_ms=0, request_id=0))

    assert closed_with(client) == SessionError.INVALID_REQUEST_ID


def test_a_second_goaway_is_a_violation(relay: FakeRelay, number: int) -> None:
    """GOAWAY comes once."""
    client = relay.client(number)

    client.send_control(m.Goaway(timeout_ms=0))
    client.send_control(m.Goaway(timeout_ms=0))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def test_goaway_of_a_client_has_no_uri(relay: FakeRelay, number: int) -> None:
    """'clients cannot instruct servers to initiate connections'."""
    client = relay.client(number)

    client.send_control(m.Goaway("moqt://elsewhere.example", timeout_ms=0))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


# ---- GOAWAY of the relay ---------------------------------------------------------------------------


def test_the_relay_says_once_that_it_goes(relay: FakeRelay, number: int) -> None:
    """Whatever stands goes on; what is not over in time is closed with GOAWAY_TIMEOUT."""
    publisher, subscriber, idle = (relay.client(number) for _ in range(3))
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscriber.request(m.Subscribe(NAMESPACE, b"track"))
    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1))
    clients = (publisher, subscriber, idle)

    for client in (*clients, *clients):
        client.session.go_away(3.0)
    publisher.open_subgroup(SubgroupHeader(1, group_id=0)).send(StreamObject(0, b"still"), fin=True)
    before = [client.closed for client in clients]
    relay.clock.advance(3.0)

    said = [
        [message for _, message in client.messages if isinstance(message, m.Goaway)] for client in clients
    ]
    assert [len(each) for each in said] == [1, 1, 1]
    assert [each[0].new_session_uri for each in said] == [""] * 3
    if number in GOAWAY_WITH_ID:
        assert [each[0].request_id for each in said] == [2, 2, 0]
    if number in ON_STREAMS:
        assert {each[0].timeout_ms for each in said} == {3000}
    assert [stream.payloads for stream in subscriber.streams] == [[b"still"]]
    assert before == [None] * 3
    # The subscriber's request was over when its publisher's session was.
    assert [closed_with(client) for client in clients] == [
        SessionError.GOAWAY_TIMEOUT,
        SessionError.NO_ERROR,
        SessionError.NO_ERROR,
    ]


def test_a_relay_that_goes_takes_no_requests(relay: FakeRelay, number: int) -> None:
    """'any requests that arrive after the GOAWAY, MUST be rejected' in 18; before 16 no code says so."""
    client = relay.client(number)
    client.session.go_away(3.0)

    answer = client.ask(m.PublishNamespace(NAMESPACE))

    if REQUEST_ERRORS.value(RequestErrorCode.GOING_AWAY, number) is None:
        assert isinstance(answer, m.RequestOk)
    else:
        assert answer.code == RequestErrorCode.GOING_AWAY


@pytest.mark.parametrize("number", ON_CONTROL)
def test_a_stranger_is_not_told_goaway(relay: FakeRelay, number: int) -> None:
    """It would come before SETUP."""
    client = relay.stranger(number)

    client.session.go_away(3.0)

    assert closed_with(client) == SessionError.NO_ERROR
    assert client.messages == []


@pytest.mark.parametrize("number", ON_STREAMS)
def test_goaway_does_not_wait_for_the_clients_setup(relay: FakeRelay, number: int) -> None:
    """The relay's own was said before; what the client has asked by then is refused."""
    client = relay.stranger(number)
    early = client.request(m.PublishNamespace(NAMESPACE))

    client.session.go_away(3.0)
    client.setup()

    assert [type(message) for _, message in client.messages[:2]] == [m.Setup, m.Goaway]
    assert [answer.code for answer in client.about(early)] == [RequestErrorCode.GOING_AWAY]


# ---- others ----------------------------------------------------------------------------------------


def test_a_violation_of_one_client_concerns_nobody_else(relay: FakeRelay, number: int) -> None:
    """'it would enable a single Session error to force an unrelated Session ... to be closed'."""
    good, bad = relay.client(number), relay.client(number)
    good.request(m.PublishNamespace(NAMESPACE))
    bad.request(m.Subscribe(NAMESPACE, b"track"))

    bad.setup()

    assert good.closed is None
    assert relay.router.tracks == {}


@pytest.mark.parametrize("number", ON_STREAMS)
def test_a_half_that_a_client_leaves_open_is_stopped_after_a_while(relay: FakeRelay, number: int) -> None:
    """A refused request is over; its stream must not count against the client's limit forever."""
    client = relay.client(number)
    patient = client.request(m.Subscribe(NAMESPACE, b"track"))
    prompt = client.request(m.Subscribe(NAMESPACE, b"track"))
    assert prompt.stream_id is not None
    client.deliver(prompt.stream_id, b"", fin=True)

    before = dict(client.stops)
    relay.clock.advance(limits.LINGER_SECONDS)

    assert before == {}
    assert list(client.stops) == [patient.stream_id]
    assert {patient.stream_id, prompt.stream_id} <= client.fins
