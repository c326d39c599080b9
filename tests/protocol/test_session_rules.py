"""Two sessions of one draft talk through a fake transport, one byte at a time.

Every test runs on every draft that has what it is about; where drafts differ, a table says how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from fake_transport import Pair

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.events import (
    Close,
    CreditReceived,
    DatagramReceived,
    DataStreamEnded,
    DataStreamOpened,
    DataStreamReset,
    DeviantRequest,
    GoawayReceived,
    MessageReceived,
    ObjectReceived,
    ReplyReceived,
    RequestCancelled,
    RequestEnded,
    RequestReceived,
    RequestsBlockedReceived,
    RequestState,
    SessionClosed,
    SetupReceived,
)
from pytest_moqt.protocol.framing import Frame, decode_body, encode, encode_by
from pytest_moqt.protocol.layouts import Sender, defines, layout_of_message, reply_names
from pytest_moqt.protocol.objects import (
    MAX_OBJECT_SIZE,
    PADDING_DATAGRAM,
    PADDING_STREAM,
    FetchEncoder,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupHeader,
)
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode, SessionError, StreamError
from pytest_moqt.protocol.session import MAX_OPEN_REQUESTS, REQUEST_CREDIT, Session, State
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
)
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    GroupOrder,
    KeyValues,
    Location,
    RangeFilter,
    Redirect,
    Token,
    TokenAlias,
)

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"test-track"
FULL = m.StandaloneFetch(NAMESPACE, TRACK, Location(0, 0), Location(5, 0))

REQUESTS: dict[type[m.Message], tuple[Callable[[], m.Message], Callable[[], m.Message]]] = {
    m.Subscribe: (lambda: m.Subscribe(NAMESPACE, TRACK), lambda: m.SubscribeOk(7)),
    m.Publish: (lambda: m.Publish(NAMESPACE, TRACK, 7), m.RequestOk),
    m.Fetch: (lambda: m.Fetch(FULL), lambda: m.FetchOk(False, Location(5, 1))),
    m.TrackStatus: (lambda: m.TrackStatus(NAMESPACE, TRACK), m.RequestOk),
    m.PublishNamespace: (lambda: m.PublishNamespace(NAMESPACE), m.RequestOk),
    m.SubscribeNamespace: (lambda: m.SubscribeNamespace(NAMESPACE), m.RequestOk),
    m.SubscribeTracks: (lambda: m.SubscribeTracks(NAMESPACE), m.RequestOk),
}
"A request of each kind and an answer that accepts it."

ALL = [pytest.param(draft, id=draft.name) for draft in DRAFTS.values()]
KINDS = [
    pytest.param(draft, kind, id=f"{draft.name}-{kind.__name__}")
    for draft in DRAFTS.values()
    for kind in REQUESTS
    if defines(draft, kind)
]


def having(holds: Callable[[Draft], bool]) -> list[Any]:
    """The drafts of which something holds."""
    return [pytest.param(draft, id=draft.name) for draft in DRAFTS.values() if holds(draft)]


WITH_CREDIT = having(lambda draft: draft.request_id_credit)
ONE_CONTROL_STREAM = having(lambda draft: draft.topology is Topology.SINGLE_CONTROL_STREAM)
STREAM_PER_REQUEST = having(lambda draft: draft.topology is Topology.REQUEST_STREAMS)
WITH_NAMESPACE_STREAM = having(lambda draft: defines(draft, m.Namespace))
WITH_PADDING = having(lambda draft: draft.padding)
ONLY_17 = [pytest.param(DRAFTS[17], id="draft-17")]
BY_MESSAGE = {
    # What withdraws a request, where it is a message: draft 14 sections 9.11, 9.19, 9.26, 9.31; draft 15
    # sections 9.12, 9.18, 9.21, 9.24; draft 16 sections 9.12, 9.18, 9.22. From 17 all by their stream (17
    # section 3.3.1), as 16's SUBSCRIBE_NAMESPACE is (section 9.25).
    (14, m.Subscribe): "UNSUBSCRIBE",
    (14, m.Fetch): "FETCH_CANCEL",
    (14, m.PublishNamespace): "PUBLISH_NAMESPACE_DONE",
    (14, m.SubscribeNamespace): "UNSUBSCRIBE_NAMESPACE",
    (15, m.Subscribe): "UNSUBSCRIBE",
    (15, m.Fetch): "FETCH_CANCEL",
    (15, m.PublishNamespace): "PUBLISH_NAMESPACE_DONE",
    (15, m.SubscribeNamespace): "UNSUBSCRIBE_NAMESPACE",
    (16, m.Subscribe): "UNSUBSCRIBE",
    (16, m.Fetch): "FETCH_CANCEL",
    (16, m.PublishNamespace): "PUBLISH_NAMESPACE_DONE",
}
UPDATES = {
    # The message that changes a request, and what accepts it: drafts 14 section 9.10 (nothing does), 15
    # sections 9.11 and 9.7, 16 sections 9.11 and 9.7, 17 sections 9.10 and 9.6, later alike.
    14: ("SUBSCRIBE_UPDATE", None),
    15: ("SUBSCRIBE_UPDATE", "REQUEST_OK"),
    **dict.fromkeys((16, 17, 18, 19, 20, 21, 22), ("REQUEST_UPDATE", "REQUEST_OK")),
}
UNKNOWN_UPDATES = {
    # Draft 14 section 9.1; drafts 15 and 16 section 9.11: "MUST close the session with PROTOCOL_VIOLATION".
    14: SessionError.INVALID_REQUEST_ID,
    15: SessionError.PROTOCOL_VIOLATION,
    16: SessionError.PROTOCOL_VIOLATION,
}
CANCELS = {
    # A stream's reset codes that moved: drafts 17 section 14.5.4, 18 section 15.10.4, later alike.
    17: (StreamError.UNKNOWN_OBJECT_STATUS, 0x4),
    **dict.fromkeys((18, 19, 20, 21, 22), (StreamError.UNKNOWN_OBJECT_STATUS, 0x6)),
}
BLOCKED_ON = {
    # Whose stream PUBLISH_BLOCKED, later PUBLISH_SKIPPED, comes on: drafts 17 section 9.21, 18 and 19 section
    # 10.20, 20 section 10.21, 22 section 9.19.
    17: (m.SubscribeNamespace, "PUBLISH_BLOCKED"),
    18: (m.SubscribeTracks, "PUBLISH_BLOCKED"),
    **dict.fromkeys((19, 20, 21, 22), (m.SubscribeTracks, "PUBLISH_SKIPPED")),
}
FIN_CANCELS: dict[int, tuple[type[m.Message], ...]] = {
    # Drafts 17 and 18 section 6.1: "cancelled by closing the stream with either a FIN or RESET_STREAM". Later
    # it "is not a request cancellation" (drafts 19 and 20 section 3.3.2, 22 section 6.4.2.2).
    17: (m.SubscribeNamespace,),
    18: (m.SubscribeNamespace, m.SubscribeTracks),
    **dict.fromkeys((19, 20, 21, 22), ()),
}
GOAWAYS = {
    # What GOAWAY has on the control stream: drafts 14 to 16 section 9.4, 17 section 9.5, 18 to 20 section
    # 10.4, 22 section 9.2.
    **dict.fromkeys((14, 15, 16), m.Goaway()),
    17: m.Goaway(timeout_ms=5000),
    18: m.Goaway(timeout_ms=5000, request_id=0),
    **dict.fromkeys((19, 20, 21, 22), m.Goaway(timeout_ms=5000)),
}
UPDATES_LIMITED = (19, 20, 21, 22)
"MAX_REQUEST_UPDATES: drafts 19 and 20 section 10.3.1.7, 22 section 9.1.7."
STATUS_NOT_UPDATED = (19, 20, 21, 22)
'REQUEST_UPDATE "other than in the two cases above" closes: drafts 19 and 20 section 10.9, 22 section 9.5.'
UPDATED_BY_KIND = (18, 19, 20, 21, 22)
"TRACK_NAMESPACE_PREFIX: draft 18 section 10.2.14, 19 section 10.2.19, 20 10.2.20, 22 section 9.20.20."
RANGES_FILTERED = (19, 20, 21, 22)
"Range filters: draft 19 section 5.1.3, 20 section 5.1.4, 22 section 3.3.2."
STATUS_HAS_PROPERTIES = (18, 19, 20, 21, 22)
"Track Properties in REQUEST_OK: drafts 18 to 20 section 10.5, 22 section 9.3."
NOTIFIED = (20, 21, 22)
"PUBLISH_STATE_NOTIFY and FILL_PARAMETERS: draft 20 sections 10.10 and 10.2.15, 22 sections 9.10 and 9.20.15."
UPDATED_WITH: dict[Parameter, Any] = {
    Parameter.FORWARD: 0,
    Parameter.SUBSCRIBER_PRIORITY: 7,
    Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, Location(3, 1)),
    Parameter.NEW_GROUP_REQUEST: 1,
    Parameter.OBJECT_DELIVERY_TIMEOUT: 1000,
    Parameter.OBJECTID_FILTER: RangeFilter(0, ((3, 5),)),
    Parameter.TRACK_PROPERTY_FILTER: RangeFilter(0, ((3, 5),), 0x10),
    Parameter.FILL_PARAMETERS: KeyValues({Parameter.SUBSCRIBER_PRIORITY: 7}),
    Parameter.TRACK_NAMESPACE_PREFIX: (b"moq-test",),
}
# An update of what may not have which parameter, and since when: draft 16 section 9.11, later the definitions
# of the parameters (17 section 9.3, 18 to 20 section 10.2, 22 section 9.20), the lists of 22 section 9.5.
MISPLACED: list[tuple[type[m.Message], Parameter, int, int]] = [
    (m.Fetch, Parameter.FORWARD, 16, 22),
    (m.Fetch, Parameter.SUBSCRIPTION_FILTER, 16, 22),
    (m.Fetch, Parameter.OBJECTID_FILTER, 19, 22),
    (m.Fetch, Parameter.FILL_PARAMETERS, 20, 22),
    (m.Fetch, Parameter.OBJECT_DELIVERY_TIMEOUT, 22, 22),
    (m.PublishNamespace, Parameter.SUBSCRIBER_PRIORITY, 16, 22),
    (m.PublishNamespace, Parameter.NEW_GROUP_REQUEST, 16, 22),
    (m.SubscribeNamespace, Parameter.SUBSCRIBER_PRIORITY, 16, 22),
    (m.SubscribeNamespace, Parameter.TRACK_PROPERTY_FILTER, 19, 22),
    (m.SubscribeTracks, Parameter.OBJECTID_FILTER, 19, 22),
    (m.SubscribeTracks, Parameter.SUBSCRIPTION_FILTER, 20, 22),
    (m.Subscribe, Parameter.TRACK_PROPERTY_FILTER, 19, 22),
    (m.Subscribe, Parameter.TRACK_NAMESPACE_PREFIX, 18, 22),
    # "From the subscriber only" (19 section 5.1.3, 20 section 5.1.4, 22 section 3.3.2).
    (m.Publish, Parameter.OBJECTID_FILTER, 19, 22),
]
IN_PLACE: list[tuple[type[m.Message], Parameter, int, int]] = [
    (m.Fetch, Parameter.SUBSCRIBER_PRIORITY, 16, 22),
    # Of any request, by the definitions alone.
    (m.Fetch, Parameter.OBJECT_DELIVERY_TIMEOUT, 16, 21),
    (m.PublishNamespace, Parameter.OBJECT_DELIVERY_TIMEOUT, 16, 21),
    # What is asked for namespaces or tracks is a subscription too, before 20 tells the two apart.
    (m.SubscribeNamespace, Parameter.FORWARD, 16, 17),
    (m.SubscribeTracks, Parameter.FORWARD, 18, 22),
    (m.SubscribeTracks, Parameter.SUBSCRIPTION_FILTER, 19, 19),
    (m.SubscribeTracks, Parameter.TRACK_PROPERTY_FILTER, 19, 22),
    (m.SubscribeTracks, Parameter.TRACK_NAMESPACE_PREFIX, 18, 22),
    (m.SubscribeNamespace, Parameter.TRACK_NAMESPACE_PREFIX, 18, 22),
    (m.Subscribe, Parameter.OBJECTID_FILTER, 19, 22),
    (m.Publish, Parameter.SUBSCRIPTION_FILTER, 16, 22),
    (m.Publish, Parameter.FORWARD, 16, 22),
]


def updates(rows: list[tuple[type[m.Message], Parameter, int, int]]) -> list[Any]:
    """Draft, request and parameter, for every draft that a row is about."""
    return [
        pytest.param(DRAFTS[number], kind, parameter, id=f"draft-{number}-{kind.__name__}-{parameter}")
        for kind, parameter, first, last in rows
        for number in range(first, last + 1)
    ]


WITHDRAWABLE = [
    pytest.param(draft, kind, id=f"{draft.name}-{kind.__name__}")
    for draft in DRAFTS.values()
    for kind in (m.Subscribe, m.Fetch, m.PublishNamespace, m.SubscribeNamespace, m.SubscribeTracks)
    if defines(draft, kind)
]


def as_read(pair: Pair, message: m.Message, answering: type[m.Message] | None = None) -> m.Message:
    """The message as the other end reads it: with the values of fixed fields that it did not give."""
    layout = layout_of_message(pair.draft, type(message), answering=answering)
    return decode_body(encode_by(message, layout, pair.draft).body, layout, pair.draft)


def asked(
    pair: Pair, kind: type[m.Message], asker: Session | None = None
) -> tuple[RequestState, RequestState]:
    """A request of a kind, made and arrived: as the asker and as the answerer have it."""
    asker = asker or pair.client
    other = pair.server if asker is pair.client else pair.client
    pair.forget()
    request = asker.request(REQUESTS[kind][0]())
    return request, pair.only(other).request


def granted(pair: Pair, kind: type[m.Message]) -> tuple[RequestState, RequestState]:
    """The client's request of a kind, made and accepted."""
    request, received = asked(pair, kind)
    pair.server.reply(received, REQUESTS[kind][1]())
    pair.forget()
    return request, received


def reply_frame(pair: Pair, message: m.Message, request: RequestState) -> Frame:
    """A reply's frame for the raw door, whatever has been answered before."""
    if pair.draft.replies_carry_request_id:
        message = dataclasses.replace(message, request_id=request.id)  # type: ignore[call-arg]
    return encode(message, pair.draft, sender=Sender.SERVER, answering=type(request.message))


def assert_closed(pair: Pair, by: Session, code: SessionError, words: str) -> None:
    """One end has closed the session for the stated cause, and the other has seen it."""
    pair.settle()
    other = pair.server if by is pair.client else pair.client
    assert by.closed == Close(code, by_peer=False)
    assert by.closed.error is not None
    assert by.closed.error.code is code
    assert words in by.closed.reason
    assert other.closed == Close(code, by_peer=True)
    assert by.state is State.CLOSED
    assert isinstance(pair.events[by][-1], SessionClosed)


# ---- setup -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
def test_both_ends_know_each_others_setup(draft: Draft) -> None:
    """After SETUP both ends are open and know the other's options (`message-setup`)."""
    pair = Pair(draft, client={"options": {SetupOption.PATH: b"/moq"}})

    credit = {SetupOption.MAX_REQUEST_ID: REQUEST_CREDIT} if draft.request_id_credit else {}
    versions = () if draft.version_code is None else (draft.version_code,)
    assert pair.taken(pair.server) == [
        SetupReceived(m.Setup({SetupOption.PATH: b"/moq", **credit}, versions))
    ]
    assert pair.taken(pair.client) == [SetupReceived(m.Setup(credit, versions))]
    assert (pair.client.state, pair.server.state) == (State.OPEN, State.OPEN)
    assert pair.client.credit == (REQUEST_CREDIT if draft.request_id_credit else None)


@pytest.mark.parametrize("draft", ALL)
def test_second_setup_ends_the_session(draft: Draft) -> None:
    """SETUP comes once (`message-setup`)."""
    pair = Pair(draft)
    again = m.Setup(versions=() if draft.version_code is None else (draft.version_code,))

    pair.server.send_frame(pair.server.frame(again))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "a second SETUP")


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
def test_message_before_setup_ends_the_session(draft: Draft) -> None:
    """SETUP is the first message on the control stream (`session-init`)."""
    pair = Pair(draft, started=False)
    pair.client.start()
    pair.settle()

    pair.server.send_frame(pair.server.frame(m.MaxRequestId(7)))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "MAX_REQUEST_ID came before SETUP")


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_request_may_overtake_setup(draft: Draft) -> None:
    """Streams are not ordered: a request may arrive before its sender's SETUP (`session-init`)."""
    pair = Pair(draft, started=False)

    pair.client.request(m.PublishNamespace(NAMESPACE))

    assert isinstance(pair.only(pair.server), RequestReceived)


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_second_control_stream_ends_the_session(draft: Draft) -> None:
    """Each end opens one control stream (`session-init`)."""
    pair = Pair(draft)
    setup = pair.server.frame(m.Setup()).encode(draft)

    pair.server.send_bytes(pair.transports[Sender.SERVER].open_stream(unidirectional=True), setup)

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "a second control stream")


@pytest.mark.parametrize("draft", having(lambda draft: draft.version_code is not None))
@pytest.mark.parametrize("versions", [(0xFF00000D,), ()])
def test_version_that_was_not_offered_ends_the_session(draft: Draft, versions: tuple[int, ...]) -> None:
    """The client offers, the server selects among that (`version-negotiation`)."""
    pair = Pair(draft, started=False)
    frame = encode(m.Setup(versions=versions), draft, sender=Sender.CLIENT)

    pair.client._streams.start(frame)

    assert_closed(pair, pair.server, SessionError.VERSION_NEGOTIATION_FAILED, "is spoken here")


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize(
    ("option", "code"),
    [
        (SetupOption.PATH, SessionError.INVALID_PATH),
        (SetupOption.AUTHORITY, SessionError.INVALID_AUTHORITY),
    ],
)
def test_server_names_neither_path_nor_authority(
    draft: Draft, option: SetupOption, code: SessionError
) -> None:
    """PATH and AUTHORITY are the client's to send (`path`, `authority`)."""
    pair = Pair(draft, server={"options": {option: b"/"}})

    if option is SetupOption.AUTHORITY and draft.authority_is_implementation:
        # "The MOQT_IMPLEMENTATION parameter (Parameter Type 0x05)": draft 14, section 9.3.2.6.
        assert pair.client.closed is None
    else:
        assert_closed(pair, pair.client, code, f"a server sent the setup option {option.name}")


@pytest.mark.parametrize("draft", ALL)
def test_a_control_stream_that_we_stopped_may_be_reset(draft: Draft) -> None:
    """QUIC answers STOP_SENDING with RESET_STREAM (RFC 9000 section 3.5); that is no fault of the peer's."""
    pair = Pair(draft)
    stream_id = 3 if draft.topology is Topology.REQUEST_STREAMS else 0

    pair.client.stop_control()
    events = pair.client.handle_event(StreamReset(stream_id, 0, 0))

    assert events == []
    assert pair.client.closed is None


def end_control(pair: Pair, how: str) -> None:
    """Have the server end the control stream: its own, or with `stop` the client's."""
    transport = pair.transports[Sender.SERVER]
    if pair.client.draft.topology is Topology.SINGLE_CONTROL_STREAM:
        server_control = client_control = 0
    else:
        server_control, client_control = 3, 2
    if how == "fin":
        transport.send(server_control, b"", fin=True)
    elif how == "reset":
        transport.reset(server_control, 1)
    else:
        transport.stop(client_control, 1)


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize("how", ["fin", "reset", "stop"])
def test_control_stream_may_not_end(draft: Draft, how: str) -> None:
    """Closing, resetting or stopping the control stream is a violation (`session-init`)."""
    pair = Pair(draft)

    end_control(pair, how)

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "the control stream was")


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize("how", ["fin", "reset", "stop"])
def test_control_stream_may_end_before_the_session(draft: Draft, how: str) -> None:
    """Of a session whose end is awaited, streams may end first."""
    pair = Pair(draft)
    pair.client.control_may_end = True

    end_control(pair, how)
    pair.settle()

    assert pair.client.closed is None


# ---- requests and replies --------------------------------------------------------------------------


@pytest.mark.parametrize("asker", list(Sender), ids=lambda sender: sender.value)
@pytest.mark.parametrize(("draft", "kind"), KINDS)
def test_request_is_accepted(draft: Draft, kind: type[m.Message], asker: Sender) -> None:
    """A request arrives as it was made and its answer finds it, from either end."""
    pair = Pair(draft)
    pair.forget()
    ours = pair.sessions[asker]
    theirs = pair.server if ours is pair.client else pair.client

    request = ours.request(REQUESTS[kind][0]())
    arrived = pair.only(theirs)
    theirs.reply(arrived.request, REQUESTS[kind][1]())
    answered = pair.only(ours)

    assert request.id == (0 if asker is Sender.CLIENT else 1)
    assert arrived == RequestReceived(arrived.request, as_read(pair, request.message))
    assert (arrived.request.id, arrived.request.ours) == (request.id, False)
    sent = arrived.request.replies[0]
    assert answered == ReplyReceived(request, as_read(pair, sent, kind))
    assert not request.awaiting
    assert not request.cancelled
    assert not arrived.request.owed
    assert not any(request.awaiting for request in ours.requests.values())


@pytest.mark.parametrize(("draft", "kind"), KINDS)
def test_request_is_refused(draft: Draft, kind: type[m.Message]) -> None:
    """A refusal carries its code by name and ends the request."""
    pair = Pair(draft)
    request, received = asked(pair, kind)
    assert request.awaiting == [type(request.message)]

    pair.server.reply(received, m.RequestError(RequestErrorCode.NOT_SUPPORTED, "no"))

    event = pair.only(pair.client)
    assert event.request is request
    assert (event.message.code, event.message.reason) == (RequestErrorCode.NOT_SUPPORTED, "no")
    assert request.cancelled


@pytest.mark.parametrize("draft", ALL)
def test_answers_find_their_requests_in_any_order(draft: Draft) -> None:
    """Two requests are answered the other way round."""
    pair = Pair(draft)
    first, first_received = asked(pair, m.Subscribe)
    second, second_received = asked(pair, m.Fetch)

    pair.server.reply(second_received, m.FetchOk(True, Location(1, 1)))
    pair.server.reply(first_received, m.SubscribeOk(9))

    assert [event.request for event in pair.taken(pair.client)] == [second, first]
    assert second.replies[0].end == Location(1, 1)
    assert first.replies[0].track_alias == 9


@pytest.mark.parametrize("draft", ALL)
def test_request_ids_rise_by_two(draft: Draft) -> None:
    """Ids are even from the client, odd from the server, and rise by two (`message-subscribe-req`)."""
    pair = Pair(draft)

    ids = [pair.client.request(m.PublishNamespace((b"a%d" % number,))).id for number in range(3)]
    odd = [pair.server.request(m.PublishNamespace((b"a%d" % number,))).id for number in range(3)]

    assert (ids, odd) == ([0, 2, 4], [1, 3, 5])
    assert len(pair.taken(pair.server)) == 4  # SETUP and three requests


@pytest.mark.parametrize("draft", having(lambda draft: draft.number == 18))
def test_publish_is_accepted_by_either_type_of_the_table(draft: Draft) -> None:
    """18 section 10 has PUBLISH_OK as 0x1E beside REQUEST_OK, which it is by section 10.5."""
    pair = Pair(draft)
    request, received = asked(pair, m.Publish)

    pair.server.send_frame(Frame(0x1E, b"\x00"), received)

    assert pair.only(pair.client) == ReplyReceived(request, m.RequestOk())
    pair.server.send_frame(Frame(0x1E, b"\x00"), received)
    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "PUBLISH_OK for request 0, which was")


@pytest.mark.parametrize("draft", ALL)
def test_update_is_answered_where_the_draft_answers_it(draft: Draft) -> None:
    """An update changes a standing request; draft 14 has no answer to it (`message-request-update`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.Subscribe)

    pending = pair.client.update(request, m.RequestUpdate({Parameter.FORWARD: 0}))
    event = pair.only(pair.server)

    assert isinstance(event, MessageReceived)
    assert event.message.parameters[Parameter.FORWARD] == 0
    assert event.message.request_id == 2
    assert (event.request.update_of or event.request) is received
    name, answer_name = UPDATES[draft.number]
    assert pair.frames[-1] == ("server", name)
    if answer_name:
        pair.server.reply(event.request, m.RequestOk())
        answer = pair.only(pair.client)
        assert answer.request is pending
        assert not pending.awaiting
        assert not request.cancelled
        assert pair.frames[-1] == ("client", answer_name)
    else:
        with pytest.raises(LocalProtocolError, match="awaits no answer"):
            pair.server.reply(event.request, m.RequestOk())


@pytest.mark.parametrize("draft", having(lambda draft: bool(reply_names(draft, m.RequestUpdate))))
def test_refused_update_leaves_the_request_standing(draft: Draft) -> None:
    """A failed update does not end the request, PUBLISH_DONE would (`message-request-update`)."""
    pair = Pair(draft)
    request, _ = granted(pair, m.Subscribe)
    pending = pair.client.update(request, m.RequestUpdate({Parameter.FORWARD: 0}))

    pair.server.reply(pair.only(pair.server).request, m.RequestError(RequestErrorCode.UNAUTHORIZED))

    assert pair.only(pair.client).request is pending
    assert not request.cancelled


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
def test_update_of_an_unknown_request_ends_the_session(draft: Draft) -> None:
    """An update names a request that exists (`message-request-update`, `message-subscribe-update`)."""
    pair = Pair(draft)
    update = m.RequestUpdate(existing_request_id=40, request_id=0)

    pair.client.send_frame(encode(update, draft, sender=Sender.CLIENT))

    assert_closed(pair, pair.server, UNKNOWN_UPDATES[draft.number], "an update of request 40")


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_update_by_the_publisher_ends_the_session(draft: Draft) -> None:
    """A request is updated by who made it, not by who answers it (`message-request-update`)."""
    pair = Pair(draft)
    _, received = granted(pair, m.Subscribe)

    pair.server.send_frame(encode(m.RequestUpdate(request_id=1), draft, sender=Sender.SERVER), received)

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "an update of request 0, which is ours")


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_publication_is_updated_from_either_end(draft: Draft) -> None:
    """The sender of a PUBLISH may update it, and the subscriber too (`message-request-update`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.Publish)
    token = Token(TokenAlias.USE_VALUE, type=0, value=b"tok")

    pair.client.update(request, m.RequestUpdate({Parameter.AUTHORIZATION_TOKEN: token}))
    assert pair.only(pair.server).request is received
    pair.server.update(received, m.RequestUpdate({Parameter.FORWARD: 0}))
    assert pair.only(pair.client).request is request
    pair.client.reply(request, m.RequestOk())
    pair.server.reply(received, m.RequestOk())

    assert pair.only(pair.server).request is received
    assert pair.only(pair.client).request is request


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_update_of_track_status_ends_the_session_where_the_draft_says_so(draft: Draft) -> None:
    """TRACK_STATUS is not among what an update may change (`message-request-update`)."""
    pair = Pair(draft)
    request, received = asked(pair, m.TrackStatus)
    update = m.RequestUpdate(request_id=2)
    forbidden = draft.number in STATUS_NOT_UPDATED

    if forbidden:
        with pytest.raises(LocalProtocolError, match="has no update of TRACK_STATUS"):
            pair.client.update(request, m.RequestUpdate())
    pair.client.send_frame(encode(update, draft, sender=Sender.CLIENT), request)

    if forbidden:
        assert_closed(
            pair, pair.server, SessionError.PROTOCOL_VIOLATION, "an update of request 0, a TRACK_STATUS"
        )
    else:
        assert pair.only(pair.server) == MessageReceived(received, update)


def update_with(
    pair: Pair, request: RequestState, parameter: Parameter, by: Session, number: int | None = None
) -> None:
    """Update a request through the raw door."""
    update = m.RequestUpdate(
        {parameter: UPDATED_WITH[parameter]}, request.id, request.id + 2 if number is None else number
    )
    sender = next(sender for sender, session in pair.sessions.items() if session is by)
    frame = encode(update, pair.draft, sender=sender)
    by.send_frame(frame, None if pair.draft.replies_carry_request_id else request)


@pytest.mark.parametrize("asker", list(Sender), ids=lambda sender: sender.value)
@pytest.mark.parametrize(("draft", "kind", "parameter"), updates(MISPLACED))
def test_update_with_what_its_request_may_not_have_ends_the_session(
    draft: Draft, kind: type[m.Message], parameter: Parameter, asker: Sender
) -> None:
    """What an update may have depends on what it changes (`message-request-update`, `message-params`)."""
    pair = Pair(draft)
    ours = pair.sessions[asker]
    theirs = pair.server if ours is pair.client else pair.client
    request, _ = asked(pair, kind, ours)

    with pytest.raises(LocalProtocolError, match="may not be in an update of"):
        ours.update(request, m.RequestUpdate({parameter: UPDATED_WITH[parameter]}))
    update_with(pair, request, parameter, ours)

    name = layout_of_message(draft, kind).name
    words = f") may not be in an update of {name}"
    assert_closed(pair, theirs, SessionError.PROTOCOL_VIOLATION, words)


@pytest.mark.parametrize("asker", list(Sender), ids=lambda sender: sender.value)
@pytest.mark.parametrize(("draft", "kind", "parameter"), updates(IN_PLACE))
def test_update_with_what_its_request_may_have_is_taken(
    draft: Draft, kind: type[m.Message], parameter: Parameter, asker: Sender
) -> None:
    """Nothing that a draft's text allows in an update is refused (`message-params`)."""
    pair = Pair(draft)
    ours = pair.sessions[asker]
    theirs = pair.server if ours is pair.client else pair.client
    request, _ = asked(pair, kind, ours)

    ours.update(request, m.RequestUpdate({parameter: UPDATED_WITH[parameter]}))

    event = pair.only(theirs)
    assert isinstance(event, MessageReceived)
    assert event.message.parameters[parameter] == UPDATED_WITH[parameter]


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in RANGES_FILTERED))
def test_subscriber_of_a_publication_may_filter_it_by_ranges(draft: Draft) -> None:
    """The one who publishes may not, the one who subscribes may (`range-filters`)."""
    pair = Pair(draft)
    _, received = granted(pair, m.Publish)
    wanted = {Parameter.OBJECTID_FILTER: UPDATED_WITH[Parameter.OBJECTID_FILTER]}

    pair.server.update(received, m.RequestUpdate(wanted))

    assert pair.only(pair.client).message.parameters == KeyValues(wanted)


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in UPDATED_BY_KIND))
def test_subscriber_of_a_publication_asks_for_no_other_tracks(draft: Draft) -> None:
    """What belongs to SUBSCRIBE_TRACKS is refused from the subscriber of a PUBLISH too (`message-params`)."""
    pair = Pair(draft)
    _, received = granted(pair, m.Publish)

    update_with(pair, received, Parameter.TRACK_NAMESPACE_PREFIX, pair.server, number=1)

    assert_closed(
        pair,
        pair.client,
        SessionError.PROTOCOL_VIOLATION,
        "parameter TRACK_NAMESPACE_PREFIX (0x34) may not be in an update of PUBLISH by its subscriber",
    )


@pytest.mark.parametrize("draft", having(lambda draft: draft.number == 16))
def test_parameter_that_no_update_has_is_passed_over_where_the_draft_says_so(draft: Draft) -> None:
    """16 section 9.2.2: "If it appears in some other type of message, it MUST be ignored"."""
    pair = Pair(draft)
    granted(pair, m.Subscribe)
    body = b"\x02" + b"\x00" + b"\x01" + b"\x22\x01"  # GROUP_ORDER

    pair.client.send_frame(Frame(0x02, body))

    assert pair.only(pair.server).message.parameters == KeyValues({Parameter.GROUP_ORDER: 1})


@pytest.mark.parametrize("asker", list(Sender), ids=lambda sender: sender.value)
@pytest.mark.parametrize("draft", having(lambda draft: draft.number in UPDATES_LIMITED))
def test_updates_without_an_answer_are_limited(draft: Draft, asker: Sender) -> None:
    """What MAX_REQUEST_UPDATES allows is kept to at both ends, for each request (`max-request-updates`)."""
    options = {"options": {SetupOption.MAX_REQUEST_UPDATES: 2}}
    pair = Pair(draft, client=options, server=options)
    ours = pair.sessions[asker]
    theirs = pair.server if ours is pair.client else pair.client
    request, received = asked(pair, m.Subscribe, ours)
    theirs.reply(received, m.SubscribeOk(7))
    pair.forget()
    first = 0 if asker is Sender.CLIENT else 1

    for _ in range(2):
        ours.update(request, m.RequestUpdate({Parameter.FORWARD: 0}))
    with pytest.raises(LocalProtocolError, match="the peer allows 2 updates of a request without an answer"):
        ours.update(request, m.RequestUpdate({Parameter.FORWARD: 1}))
    # An answer makes room for one more, whose id is the next: what was refused has used none up.
    pair.settle()
    theirs.reply(received, m.RequestOk())
    pair.settle()
    ours.update(request, m.RequestUpdate({Parameter.FORWARD: 1}))
    other, _ = asked(pair, m.Fetch, ours)
    assert [first, first + 2, first + 4, first + 6, first + 8] == list(ours.requests)
    ours.update(other, m.RequestUpdate({Parameter.SUBSCRIBER_PRIORITY: 1}))
    pair.settle()
    assert theirs.closed is None

    ours.send_frame(encode(m.RequestUpdate(request_id=first + 12), draft, sender=asker), request)

    assert_closed(
        pair,
        theirs,
        SessionError.TOO_MANY_REQUEST_UPDATES,
        f"more than 2 updates of request {first} without an answer",
    )


@pytest.mark.parametrize("limit", [{}, {SetupOption.MAX_REQUEST_UPDATES: 0}], ids=["unsaid", "zero"])
@pytest.mark.parametrize("draft", having(lambda draft: draft.number in UPDATES_LIMITED))
def test_updates_are_not_limited_by_default(draft: Draft, limit: dict[int, int]) -> None:
    """Unsaid is 0, and 0 "means the endpoint does not limit" (`max-request-updates`)."""
    pair = Pair(draft, server={"options": limit})
    request, _ = granted(pair, m.Subscribe)

    for _ in range(20):
        pair.client.update(request, m.RequestUpdate({Parameter.FORWARD: 0}))

    assert len(pair.taken(pair.server)) == 20


@pytest.mark.parametrize("draft", having(lambda draft: draft.number not in UPDATES_LIMITED))
def test_option_that_would_limit_updates_means_nothing_before_it_was_defined(draft: Draft) -> None:
    """Up to draft 18 option 0x08 is unknown, and unknown options are ignored (`message-setup`)."""
    options = {"options": {SetupOption.MAX_REQUEST_UPDATES: 1}}
    pair = Pair(draft, client=options, server=options)
    request, _ = granted(pair, m.Subscribe)

    for _ in range(3):
        pair.client.update(request, m.RequestUpdate({Parameter.FORWARD: 0}))

    assert [type(event) for event in pair.taken(pair.server)] == [MessageReceived] * 3
    assert pair.server.closed is None


@pytest.mark.parametrize(("draft", "kind"), WITHDRAWABLE)
def test_request_is_withdrawn_in_the_drafts_way(draft: Draft, kind: type[m.Message]) -> None:
    """A request is ended by its message or by cancelling its stream (`request-cancellation`)."""
    pair = Pair(draft)
    request, received = granted(pair, kind)
    pair.frames.clear()

    pair.client.cancel(request)

    event = pair.only(pair.server)
    message = BY_MESSAGE.get((draft.number, kind))
    assert event == RequestCancelled(received, None if message else 1)
    assert request.cancelled
    assert received.cancelled
    assert pair.frames == ([("server", message)] if message else [])
    if not message:
        transport = pair.transports[Sender.CLIENT]
        assert transport.resets == transport.stops == [(request.stream_id, 1)]


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
@pytest.mark.parametrize("kind", [m.Publish, m.TrackStatus])
def test_request_that_a_draft_cannot_withdraw_is_our_error(draft: Draft, kind: type[m.Message]) -> None:
    """No message of drafts 14 to 16 withdraws PUBLISH or TRACK_STATUS."""
    pair = Pair(draft)
    request, _ = granted(pair, kind)

    with pytest.raises(LocalProtocolError, match=f"has no way to cancel {kind.__name__}"):
        pair.client.cancel(request)

    assert pair.taken(pair.server) == []


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_stream_is_cancelled_with_the_drafts_number(draft: Draft) -> None:
    """A reason has its number in the draft (`stream-reset-codes`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.Subscribe)
    reason, number = CANCELS[draft.number]

    pair.client.cancel(request, reason)

    assert pair.only(pair.server) == RequestCancelled(received, number)


@pytest.mark.parametrize("draft", ONLY_17)
def test_reason_that_a_draft_has_not_is_our_error(draft: Draft) -> None:
    """Draft 17 has no stream error GOING_AWAY (section 14.5.4)."""
    pair = Pair(draft)
    request, _ = granted(pair, m.Subscribe)

    with pytest.raises(LocalProtocolError, match="draft-17 has no stream error GOING_AWAY"):
        pair.client.cancel(request, StreamError.GOING_AWAY)

    assert pair.taken(pair.server) == []
    assert not request.cancelled


@pytest.mark.parametrize(
    ("draft", "end"),
    [
        # Drafts 14 section 9.31 (by the prefix) and 15 section 9.24 (by the request id).
        pytest.param(DRAFTS[14], "14001202086d6f712d7465737407696e7465726f70", id="draft-14"),
        pytest.param(DRAFTS[15], "14000100", id="draft-15"),
    ],
)
def test_namespace_subscription_is_named_in_the_drafts_way(draft: Draft, end: str) -> None:
    """UNSUBSCRIBE_NAMESPACE says which subscription it ends by its prefix, or by its id."""
    pair = Pair(draft)
    request, received = granted(pair, m.SubscribeNamespace)

    pair.client.cancel(request)

    assert pair.only(pair.server) == RequestCancelled(received)
    assert pair.transports[Sender.CLIENT].sent[0].endswith(bytes.fromhex(end))


@pytest.mark.parametrize("draft", having(lambda draft: defines(draft, m.PublishNamespaceCancel)))
def test_receiver_revokes_a_namespace(draft: Draft) -> None:
    """PUBLISH_NAMESPACE_CANCEL ends the publisher's request (`message-pub-ns-cancel`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.PublishNamespace)
    cancel = m.PublishNamespaceCancel(RequestErrorCode.UNINTERESTED, "no more", NAMESPACE, received.id)

    pair.server.send(received, cancel)

    assert pair.only(pair.client) == RequestCancelled(request)


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
def test_withdrawal_of_another_kind_of_request_ends_the_session(draft: Draft) -> None:
    """UNSUBSCRIBE names a SUBSCRIBE (`message-unsubscribe`)."""
    pair = Pair(draft)
    request, _ = granted(pair, m.Fetch)

    pair.client.send(request, m.Unsubscribe())

    assert_closed(pair, pair.server, SessionError.PROTOCOL_VIOLATION, "which is no such request")


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
def test_withdrawal_of_what_is_gone_is_late_and_not_wrong(draft: Draft) -> None:
    """A message about a request that is not known any more is reported without one."""
    pair = Pair(draft)
    pair.forget()

    pair.client.send(None, m.Unsubscribe(40))

    assert pair.only(pair.server) == MessageReceived(None, m.Unsubscribe(40))


@pytest.mark.parametrize("draft", ALL)
def test_publisher_ends_a_subscription(draft: Draft) -> None:
    """PUBLISH_DONE arrives about its request and says that no more will (`message-publish-done`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.Subscribe)

    pair.server.send(received, m.PublishDone(PublishDoneStatus.EXPIRED, 3, "over"))

    event = pair.only(pair.client)
    assert event.request is request
    assert (event.message.status, event.message.stream_count) == (PublishDoneStatus.EXPIRED, 3)
    assert request.ended


@pytest.mark.parametrize("draft", WITH_NAMESPACE_STREAM)
def test_namespaces_come_on_the_stream_that_asked(draft: Draft) -> None:
    """NAMESPACE and NAMESPACE_DONE come on the stream of SUBSCRIBE_NAMESPACE (`message-subscribe-ns`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.SubscribeNamespace)

    pair.server.send(received, m.Namespace((b"live",)))
    pair.server.send(received, m.Namespace(()))
    pair.server.send(received, m.NamespaceDone((b"live",)))

    assert pair.taken(pair.client) == [
        MessageReceived(request, m.Namespace((b"live",))),
        MessageReceived(request, m.Namespace(())),
        MessageReceived(request, m.NamespaceDone((b"live",))),
    ]
    assert request.stream_id is not None


@pytest.mark.parametrize("draft", WITH_NAMESPACE_STREAM)
def test_namespace_on_the_control_stream_ends_the_session(draft: Draft) -> None:
    """NAMESPACE belongs to a request's stream (`message-namespace`)."""
    pair = Pair(draft)

    pair.server.send_frame(pair.server.frame(m.Namespace((b"live",))))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "NAMESPACE may not come on the control")


@pytest.mark.parametrize("draft", having(lambda draft: defines(draft, m.PublishBlocked)))
def test_publisher_says_what_it_could_not_offer(draft: Draft) -> None:
    """It comes on the stream that asked for tracks (`message-publish-blocked`, `message-publish-skipped`)."""
    pair = Pair(draft)
    kind, name = BLOCKED_ON[draft.number]
    request, received = granted(pair, kind)

    pair.server.send(received, m.PublishBlocked((b"live",), TRACK))

    assert pair.only(pair.client) == MessageReceived(request, m.PublishBlocked((b"live",), TRACK))
    assert pair.frames[-1] == ("client", name)


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_end_of_a_request_stream_is_reported_once(draft: Draft) -> None:
    """A FIN says that the peer will send no more about the request (`request-cancellation`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.Subscribe)

    pair.server.finish(received)

    assert pair.only(pair.client) == RequestEnded(request)
    assert request.ended
    assert pair.client.closed is None


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_responder_abandons_a_request(draft: Draft) -> None:
    """A reset of the response is reported with its code (`request-cancellation`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.Subscribe)
    assert received.stream_id is not None

    pair.transports[Sender.SERVER].reset(received.stream_id, 0x5)

    assert pair.only(pair.client) == RequestCancelled(request, 0x5)


@pytest.mark.parametrize("draft", having(lambda draft: bool(reply_names(draft, m.RequestUpdate))))
def test_namespace_subscription_is_updated(draft: Draft) -> None:
    """An update of SUBSCRIBE_NAMESPACE arrives where the draft has it and is answered."""
    pair = Pair(draft)
    request, received = granted(pair, m.SubscribeNamespace)
    token = Token(TokenAlias.USE_VALUE, type=0, value=b"tok")

    pending = pair.client.update(request, m.RequestUpdate({Parameter.AUTHORIZATION_TOKEN: token}))
    event = pair.only(pair.server)
    pair.server.reply(event.request, m.RequestOk())

    assert (event.request.update_of or event.request) is received
    assert pair.only(pair.client).request is pending


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in STATUS_HAS_PROPERTIES))
def test_track_properties_come_with_track_status_only(draft: Draft) -> None:
    """Track Properties in any REQUEST_OK but TRACK_STATUS's are a violation (`message-request-ok`)."""
    pair = Pair(draft)
    status, status_received = asked(pair, m.TrackStatus)
    pair.server.reply(status_received, m.RequestOk(track_properties={Property.DYNAMIC_GROUPS: 1}))
    assert pair.only(pair.client).request is status
    _, received = asked(pair, m.PublishNamespace)

    pair.server.send_frame(
        pair.server.frame(m.RequestOk(track_properties={Property.DYNAMIC_GROUPS: 1})), received
    )

    assert_closed(
        pair, pair.client, SessionError.PROTOCOL_VIOLATION, "Track Properties in answer to PUBLISH_NAME"
    )


REDIRECTS = (18, 19, 20, 21, 22)
"Redirect: drafts 18 to 20 section 10.6.1, 22 section 9.4.1."
REDIRECTED_TRACKS = (19, 20, 21, 22)
"SUBSCRIBE_TRACKS may be redirected to no track: drafts 19 and 20 section 10.6.1, 22 section 9.4.1."
REDIRECTED = [
    pytest.param(draft, kind, id=f"{draft.name}-{kind.__name__}")
    for draft in DRAFTS.values()
    for kind in REQUESTS
    if draft.number in REDIRECTS and defines(draft, kind)
]


@pytest.mark.parametrize(("draft", "kind"), REDIRECTED)
def test_redirect_of_a_namespace_names_no_track(draft: Draft, kind: type[m.Message]) -> None:
    """A Track Name in the redirect of a namespace ends the session (`redirect-structure`)."""
    pair = Pair(draft)
    request, received = asked(pair, kind)
    redirect = Redirect("moqt://elsewhere.example", (b"other",), b"track")

    pair.server.reply(received, m.RequestError(RequestErrorCode.REDIRECT, redirect=redirect))

    nameless = kind in (m.SubscribeNamespace, m.PublishNamespace) or (
        kind is m.SubscribeTracks and draft.number in REDIRECTED_TRACKS
    )
    if nameless:
        assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "to a track, b'track'")
    else:
        assert pair.only(pair.client).request is request


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in REDIRECTS))
def test_server_is_redirected_within_its_session_only(draft: Draft) -> None:
    """A server that receives a Connect URI closes the session (`redirect-structure`)."""
    pair = Pair(draft)
    redirect = Redirect("moqt://elsewhere.example", (b"other",), b"track")
    request = pair.server.request(m.Subscribe(NAMESPACE, TRACK))
    received = pair.taken(pair.client)[-1].request

    pair.client.reply(received, m.RequestError(RequestErrorCode.REDIRECT, redirect=redirect))

    assert request.stream_id is not None
    assert_closed(pair, pair.server, SessionError.PROTOCOL_VIOLATION, "redirects a server to 'moqt://else")


END_INCLUDED = (20, 21, 22)
"FETCH_OK's End Location is the last object's: 20 section 10.14, 22 section 9.12."


class Ended(NamedTuple):
    """A FETCH_OK's end, and whether a fetch from {5, 3} may have it."""

    end: Location
    legal: Callable[[Draft], bool]


ENDS = {
    "behind": Ended(Location(5, 4), lambda _: True),
    "whole-group": Ended(Location(5, 0), lambda _: True),
    # Up to 19 the place behind the last object: nothing was there. Later the last object is written.
    "start": Ended(Location(5, 3), lambda draft: draft.number not in END_INCLUDED),
    "before": Ended(Location(5, 2), lambda _: False),
    "group-before": Ended(Location(4, 9), lambda _: False),
    "whole-group-before": Ended(Location(4, 0), lambda _: False),
}
ENDED = [
    pytest.param(draft, ended, id=f"{draft.name}-{name}")
    for draft in DRAFTS.values()
    for name, ended in ENDS.items()
    # Where the last object is written, there is no end that leaves open which that is.
    if ended.end.object or draft.number not in END_INCLUDED
]


@pytest.mark.parametrize(("draft", "ended"), ENDED)
def test_fetch_does_not_end_before_it_begins(draft: Draft, ended: Ended) -> None:
    """An end that is smaller than the start ends the session (`message-fetch-ok`)."""
    pair = Pair(draft)
    pair.forget()
    wanted = m.StandaloneFetch(NAMESPACE, TRACK, Location(5, 3), Location(9, 0))
    request = pair.client.request(m.Fetch(wanted))
    received = pair.taken(pair.server)[-1].request

    pair.server.reply(received, m.FetchOk(end_of_track=False, end=ended.end))

    if ended.legal(draft):
        assert pair.only(pair.client).request is request
    else:
        assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "{5, 3} was asked for")


FIRST_IS_ANSWER = (17, 18, 19, 20, 21, 22)
'"any frame other than a REQUEST_OK or a REQUEST_ERROR": 17 section 10.18, 18 10.17, 22 3.6 and 4.'


@pytest.mark.parametrize("draft", having(lambda draft: defines(draft, m.Namespace)))
def test_namespace_comes_after_the_answer(draft: Draft) -> None:
    """NAMESPACE before the answer to SUBSCRIBE_NAMESPACE ends the session, from draft 17 on."""
    pair = Pair(draft)
    request, received = asked(pair, m.SubscribeNamespace)

    pair.server.send(received, m.Namespace((b"suffix",)))

    if draft.number in FIRST_IS_ANSWER:
        assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "before the answer")
    else:
        assert pair.only(pair.client) == MessageReceived(request, m.Namespace((b"suffix",)))


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in FIRST_IS_ANSWER))
def test_namespace_may_come_before_the_answer_to_an_update(draft: Draft) -> None:
    """Only the first answer opens the list of namespaces; that to an update may overtake nothing."""
    pair = Pair(draft)
    request, received = granted(pair, m.SubscribeNamespace)
    pair.client.update(request, m.RequestUpdate({}))
    pair.forget()

    pair.server.send(received, m.Namespace((b"suffix",)))

    assert pair.only(pair.client) == MessageReceived(request, m.Namespace((b"suffix",)))


# ---- what a peer may not do ------------------------------------------------------------------------


@pytest.mark.parametrize(("draft", "kind"), KINDS)
def test_second_reply_ends_the_session(draft: Draft, kind: type[m.Message]) -> None:
    """A request is answered once (`message-request-ok`)."""
    pair = Pair(draft)
    request, received = granted(pair, kind)

    pair.server.send_frame(
        reply_frame(pair, REQUESTS[kind][1](), request), received if received.stream_id is not None else None
    )

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "which was answered before")


@pytest.mark.parametrize("draft", ALL)
def test_reply_of_another_kind_ends_the_session(draft: Draft) -> None:
    """A FETCH is answered by FETCH_OK or an error, not by SUBSCRIBE_OK (`message-fetch-ok`)."""
    pair = Pair(draft)
    request, received = asked(pair, m.Fetch)
    reply = m.SubscribeOk(1, request_id=request.id if draft.replies_carry_request_id else None)

    pair.server.send_frame(encode(reply, draft, sender=Sender.SERVER), received)

    assert_closed(
        pair, pair.client, SessionError.PROTOCOL_VIOLATION, "SUBSCRIBE_OK in answer to FETCH, which"
    )


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
@pytest.mark.parametrize("number", [40, 1])
def test_reply_to_a_request_never_made_ends_the_session(draft: Draft, number: int) -> None:
    """A reply names a request of the receiver (`request-id`)."""
    pair = Pair(draft)
    pair.server.request(m.PublishNamespace(NAMESPACE))
    reply = m.SubscribeOk(1, request_id=number)

    pair.server.send_frame(encode(reply, draft, sender=Sender.SERVER))

    assert_closed(
        pair, pair.client, SessionError.PROTOCOL_VIOLATION, f"for request {number}, which we never made"
    )


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_stream_that_begins_with_a_reply_ends_the_session(draft: Draft) -> None:
    """A request stream begins with a request (`stream-types`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=False)

    pair.server.send_bytes(stream_id, pair.server.frame(m.SubscribeOk(1)).encode(draft))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "SUBSCRIBE_OK may not come on stream 1")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(m.RequestUpdate(request_id=1), id="update"),
        pytest.param(m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0), id="done"),
        pytest.param(m.Namespace((b"a",)), id="namespace"),
        pytest.param(m.Goaway(timeout_ms=0), id="goaway"),
    ],
)
@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_stream_that_begins_with_no_request_ends_the_session(draft: Draft, message: m.Message) -> None:
    """Bidirectional streams "MUST NOT begin with any other message type" (`session-init`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=False)

    pair.server.send_bytes(stream_id, encode(message, draft, sender=Sender.SERVER).encode(draft))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "may not come on stream 1")


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_stream_that_begins_with_an_answer_of_old_ends_the_session(draft: Draft) -> None:
    """0x1E is PUBLISH_OK in drafts 17 and 18, and no message later (`message`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=False)

    pair.server.send_bytes(stream_id, Frame(0x1E, b"\x00").encode(draft))

    known = draft.number in (17, 18)
    words = "PUBLISH_OK may not come on stream 1" if known else "no message of type 0x1e"
    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, words)


@pytest.mark.parametrize("kind", ["control", "request", "data"])
@pytest.mark.parametrize("draft", ONLY_17)
def test_byte_that_begins_no_integer_ends_the_session(draft: Draft, kind: str) -> None:
    """Draft 17: "11111100 is an invalid code point" (section 1.4.1), whatever it would begin."""
    pair = Pair(draft)
    transport = pair.transports[Sender.SERVER]
    stream_id = 3 if kind == "control" else transport.open_stream(unidirectional=kind == "data")

    pair.server.send_bytes(stream_id, b"\xfc")

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "may not begin with the byte 0xfc")


@pytest.mark.parametrize("draft", ONLY_17)
def test_dependency_before_the_first_request_ends_the_session(draft: Draft) -> None:
    """2 x Required Request ID Delta may not exceed the Request ID (17 section 9.2)."""
    pair = Pair(draft)
    pair.forget()
    frame = pair.client.frame(m.PublishNamespace(NAMESPACE, request_id=4))
    assert frame.body[:2] == b"\x04\x00"

    pair.client.send_frame(frame.replace(body=b"\x04\x02" + frame.body[2:]))
    assert pair.only(pair.server).request.id == 4
    pair.client.send_frame(frame.replace(body=b"\x02\x02" + frame.body[2:]))

    assert_closed(
        pair,
        pair.server,
        SessionError.INVALID_REQUIRED_REQUEST_ID,
        "Required Request ID Delta 2 reaches before the first request",
    )


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in RANGES_FILTERED))
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("01270400008100", id="priority-above-255"),
        pytest.param("012803001105", id="odd-property"),
        pytest.param("01260b00ffffffffffffffffff01", id="end-above-all"),
        pytest.param("022602000100020002", id="set-twice"),
    ],
)
def test_bad_range_filter_does_not_end_the_session(draft: Draft, value: str) -> None:
    """The request is refused with INVALID_FILTER, so it must arrive (`range-filters`)."""
    pair = Pair(draft)
    pair.forget()
    frame = pair.client.frame(m.Subscribe(NAMESPACE, TRACK))
    assert frame.body[-1:] == b"\x00"

    pair.client.send_frame(frame.replace(body=frame.body[:-1] + bytes.fromhex(value)))

    assert isinstance(pair.only(pair.server), RequestReceived)
    assert pair.server.closed is None


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_reply_on_the_control_stream_ends_the_session(draft: Draft) -> None:
    """Replies come on their request's stream (`session-init`)."""
    pair = Pair(draft)
    asked(pair, m.Subscribe)

    pair.server.send_frame(pair.server.frame(m.SubscribeOk(1)))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "may not come on the control stream")


@pytest.mark.parametrize(
    "draft", having(lambda draft: draft.replies_carry_request_id and defines(draft, m.Namespace))
)
def test_reply_on_another_requests_stream_ends_the_session(draft: Draft) -> None:
    """The stream of SUBSCRIBE_NAMESPACE carries what belongs to it (`message-subscribe-ns`)."""
    pair = Pair(draft)
    subscribe, _ = asked(pair, m.Subscribe)
    _, received = asked(pair, m.SubscribeNamespace)

    pair.server.send_frame(reply_frame(pair, m.SubscribeOk(1), subscribe), received)

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "on the stream of request 2")


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_second_request_on_a_stream_ends_the_session(draft: Draft) -> None:
    """Each request has a stream of its own (`session-init`)."""
    pair = Pair(draft)
    request, _ = granted(pair, m.Subscribe)

    pair.client.send_frame(pair.client.frame(m.Subscribe(NAMESPACE, TRACK)), request)

    assert_closed(pair, pair.server, SessionError.PROTOCOL_VIOLATION, "SUBSCRIBE may not come on stream 0")


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
def test_request_on_a_stream_of_its_own_ends_the_session(draft: Draft) -> None:
    """Up to draft 16 SUBSCRIBE travels on the control stream (`session-init`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.CLIENT].open_stream(unidirectional=False)

    pair.client.send_bytes(stream_id, pair.client.frame(m.Subscribe(NAMESPACE, TRACK)).encode(draft))

    assert_closed(pair, pair.server, SessionError.PROTOCOL_VIOLATION, "SUBSCRIBE may not come on stream 4")


@pytest.mark.parametrize("draft", ALL)
def test_request_id_of_the_wrong_parity_ends_the_session(draft: Draft) -> None:
    """The least significant bit of a request id says which end made it (`request-id`)."""
    pair = Pair(draft)

    pair.client.send_frame(pair.client.frame(m.PublishNamespace(NAMESPACE, request_id=1)))

    assert_closed(pair, pair.server, SessionError.INVALID_REQUEST_ID, "request id 1 is of the wrong parity")


@pytest.mark.parametrize("draft", ALL)
def test_request_id_used_twice_ends_the_session(draft: Draft) -> None:
    """A request id is used once (`request-id`)."""
    pair = Pair(draft)
    asked(pair, m.Subscribe)

    pair.client.send_frame(pair.client.frame(m.PublishNamespace(NAMESPACE, request_id=0)))

    assert_closed(pair, pair.server, SessionError.INVALID_REQUEST_ID, "request id 0 was used before")


@pytest.mark.parametrize("draft", ALL)
def test_request_id_out_of_sequence_is_wrong_where_one_stream_orders_all(draft: Draft) -> None:
    """Ids come in sequence on one stream; where streams overtake each other they may not (`request-id`)."""
    pair = Pair(draft)
    pair.forget()

    pair.client.send_frame(pair.client.frame(m.PublishNamespace(NAMESPACE, request_id=2)))

    if draft.topology is Topology.SINGLE_CONTROL_STREAM and not defines(draft, m.Namespace):
        assert_closed(pair, pair.server, SessionError.INVALID_REQUEST_ID, "request id 2 where 0 was next")
    else:
        assert isinstance(pair.only(pair.server), RequestReceived)


@pytest.mark.parametrize("draft", ALL)
def test_unknown_message_type_ends_the_session(draft: Draft) -> None:
    """Who "receives an unknown message type MUST close the session" (`message`)."""
    pair = Pair(draft)

    pair.server.send_frame(Frame(0x3F, b"\x00"))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "no message of type 0x3f from a server")


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize(
    "change", [lambda body: body + b"\x00", lambda body: body[:-1]], ids=["long", "short"]
)
def test_length_that_does_not_fit_the_fields_ends_the_session(
    draft: Draft, change: Callable[[bytes], bytes]
) -> None:
    """A Length that "does not match the length of the Message Payload" ends the session (`message`)."""
    pair = Pair(draft)
    frame = pair.server.frame(m.PublishNamespace(NAMESPACE))

    pair.server.send_frame(frame.replace(body=change(frame.body)))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "of PUBLISH_NAMESPACE (type 0x6)")
    assert pair.client.closed is not None
    assert pair.client.closed.error is not None
    assert pair.client.closed.error.fault == "malformed"
    assert pair.client.closed.error.octets == frame.replace(body=change(frame.body)).encode(draft)


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_request_stream_that_ends_inside_a_message_ends_the_session(draft: Draft) -> None:
    """A stream ends between messages (`message`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=False)
    data = pair.server.frame(m.PublishNamespace(NAMESPACE)).encode(draft)

    pair.server.send_bytes(stream_id, data[:-1], fin=True)

    words = f"ends {len(data) - 1} bytes into a message"
    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, words)


# ---- passing over ----------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
def test_malformed_request_can_be_passed_over(draft: Draft) -> None:
    """A session may be told to report a malformed request and go on; its id is used up all the same."""
    pair = Pair(draft, client={"pass_over_requests": True})
    pair.forget()
    frame = pair.server.frame(m.PublishNamespace(NAMESPACE))

    pair.server.send_frame(frame.replace(body=frame.body + b"\x00"))
    passed_over = pair.only(pair.client)
    pair.server.request(m.PublishNamespace(NAMESPACE))
    next_request = pair.only(pair.client)

    assert isinstance(passed_over, DeviantRequest)
    assert (passed_over.name, passed_over.kind) == ("PUBLISH_NAMESPACE", m.PublishNamespace)
    assert "1 byte after the last field" in str(passed_over.error)
    assert passed_over.error.octets == frame.replace(body=frame.body + b"\x00").encode(draft)
    assert next_request.request.id == 3
    assert pair.client.closed is None


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_requests_passed_over_do_not_use_up_the_credit(draft: Draft) -> None:
    """Credit is raised for requests that were passed over too, as the peer has used their ids."""
    pair = Pair(draft, client={"pass_over_requests": True})
    pair.forget()

    for _ in range(REQUEST_CREDIT):
        frame = pair.server.frame(m.PublishNamespace(NAMESPACE))
        pair.server.send_frame(frame.replace(body=frame.body + b"\x00"))
        pair.settle()
    pair.server.request(m.PublishNamespace(NAMESPACE))

    assert isinstance(pair.taken(pair.client)[-1], RequestReceived)


@pytest.mark.parametrize("draft", ALL)
def test_only_requests_are_passed_over(draft: Draft) -> None:
    """A malformed reply ends the session, whatever was said about requests."""
    pair = Pair(draft, client={"pass_over_requests": True})
    request, received = asked(pair, m.Subscribe)
    frame = reply_frame(pair, m.SubscribeOk(1), request)

    pair.server.send_frame(frame.replace(body=b""), received)

    assert_closed(
        pair, pair.client, SessionError.PROTOCOL_VIOLATION, "SUBSCRIBE_OK (type 0x4) end inside its"
    )


@pytest.mark.parametrize("draft", having(lambda draft: draft.min_prefix_fields > 0))
def test_empty_prefix_is_passed_over(draft: Draft) -> None:
    """The case that passing over is for: a relay that asks for all namespaces where a draft forbids it."""
    pair = Pair(draft, client={"pass_over_requests": True})
    pair.forget()
    frame = pair.server.frame(m.SubscribeNamespace(NAMESPACE))

    pair.server.send_frame(frame.replace(body=b"\x01\x00\x00"))

    event = pair.only(pair.client)
    assert isinstance(event, DeviantRequest)
    assert "a Track Namespace Prefix of 0 fields" in str(event.error)


# ---- credit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asker", list(Sender), ids=lambda sender: sender.value)
@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_request_beyond_the_credit_is_our_error_until_it_is_raised(draft: Draft, asker: Sender) -> None:
    """A request waits for MAX_REQUEST_ID rather than break it, at either end (`message-max-request-id`)."""
    limit = 2 if asker is Sender.CLIENT else 3  # one request of either, of ids 0 and 1
    options = {"options": {SetupOption.MAX_REQUEST_ID: limit}}
    pair = Pair(draft, client=options, server=options)
    ours = pair.sessions[asker]
    theirs = pair.server if ours is pair.client else pair.client
    ours.request(m.PublishNamespace(NAMESPACE))
    pair.forget()

    assert not ours.may_request
    with pytest.raises(LocalProtocolError, match=f"request ids below {limit} only"):
        ours.request(m.PublishNamespace(NAMESPACE))
    theirs.send(None, m.MaxRequestId(6))

    assert pair.only(ours) == CreditReceived(6)
    assert ours.credit == 6
    ours.request(m.PublishNamespace(NAMESPACE))
    assert isinstance(pair.only(theirs), RequestReceived)


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_update_beyond_the_credit_is_our_error(draft: Draft) -> None:
    """An update consumes a request id too (`request-id`)."""
    pair = Pair(draft, server={"options": {SetupOption.MAX_REQUEST_ID: 2}})
    request, _ = granted(pair, m.Subscribe)

    with pytest.raises(LocalProtocolError, match="request ids below 2 only"):
        pair.client.update(request, m.RequestUpdate({Parameter.FORWARD: 0}))


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_credit_of_a_peer_that_grants_none_is_zero(draft: Draft) -> None:
    """A peer that is granted no request id "MUST NOT create any requests" (`max-request-id`)."""
    pair = Pair(draft, server={"options": {SetupOption.MAX_REQUEST_ID: 0}})

    with pytest.raises(LocalProtocolError, match="request ids below 0 only"):
        pair.client.request(m.PublishNamespace(NAMESPACE))


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_request_beyond_the_credit_ends_the_session(draft: Draft) -> None:
    """A request id at or above the maximum is TOO_MANY_REQUESTS (`message-max-request-id`)."""
    pair = Pair(draft, server={"options": {SetupOption.MAX_REQUEST_ID: 2}})

    pair.client.send_frame(pair.client.frame(m.PublishNamespace((b"a",))))
    pair.client.send_frame(pair.client.frame(m.PublishNamespace((b"b",))))

    assert_closed(pair, pair.server, SessionError.TOO_MANY_REQUESTS, "request id 2, only ids below 2")


@pytest.mark.parametrize("draft", WITH_CREDIT)
@pytest.mark.parametrize("maximum", [REQUEST_CREDIT, REQUEST_CREDIT - 2])
def test_credit_that_does_not_grow_ends_the_session(draft: Draft, maximum: int) -> None:
    """MAX_REQUEST_ID "with an equal or smaller value" is a violation (`message-max-request-id`)."""
    pair = Pair(draft)

    pair.server.send_frame(pair.server.frame(m.MaxRequestId(maximum)))

    assert_closed(
        pair, pair.client, SessionError.PROTOCOL_VIOLATION, f"MAX_REQUEST_ID {maximum} does not raise"
    )


@pytest.mark.parametrize("draft", ALL)
def test_peer_never_runs_out_of_credit(draft: Draft) -> None:
    """What we granted is raised before it is used up (`message-max-request-id`)."""
    pair = Pair(draft)

    for number in range(REQUEST_CREDIT + 5):
        pair.client.request(m.PublishNamespace((b"a%d" % number,)))
        pair.settle()

    requests = [event for event in pair.taken(pair.server) if isinstance(event, RequestReceived)]
    assert len(requests) == REQUEST_CREDIT + 5


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_credit_ends_with_the_requests_that_are_kept(draft: Draft) -> None:
    """No id is granted whose request would be refused: a peer within its credit does no wrong."""
    pair = Pair(draft)
    frames = [
        encode(m.TrackStatus(NAMESPACE, TRACK, request_id=2 * number), draft, sender=Sender.CLIENT)
        for number in range(MAX_OPEN_REQUESTS + 1)
    ]
    *allowed, beyond = [StreamData(0, frame.encode(draft)) for frame in frames]

    reported = pair.deliver(pair.server, *allowed)

    assert len(reported) == MAX_OPEN_REQUESTS
    assert pair.server.closed is None
    pair.settle()
    assert pair.client.credit == 2 * MAX_OPEN_REQUESTS
    pair.deliver(pair.server, beyond)
    assert_closed(pair, pair.server, SessionError.TOO_MANY_REQUESTS, f"request id {2 * MAX_OPEN_REQUESTS}")


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_peer_says_that_it_is_blocked(draft: Draft) -> None:
    """REQUESTS_BLOCKED is reported (`message-requests-blocked`)."""
    pair = Pair(draft)
    pair.forget()

    pair.client.send(None, m.RequestsBlocked(100))

    assert pair.only(pair.server) == RequestsBlockedReceived(100)


@pytest.mark.parametrize("draft", having(lambda draft: not draft.request_id_credit))
def test_requests_are_without_credit_where_streams_limit_them(draft: Draft) -> None:
    """From draft 17 stream limits bound requests (`request-id`)."""
    pair = Pair(draft)

    assert pair.client.credit is None
    assert pair.client.may_request
    with pytest.raises(LocalProtocolError, match="has no MaxRequestId message"):
        pair.client.send(None, m.MaxRequestId(7))


# ---- GOAWAY ----------------------------------------------------------------------------------------


def goaway(draft: Draft, uri: str = "") -> m.Goaway:
    """GOAWAY with what the draft has in it, on the control stream."""
    return dataclasses.replace(GOAWAYS[draft.number], new_session_uri=uri)


@pytest.mark.parametrize("draft", ALL)
def test_goaway_is_reported_once(draft: Draft) -> None:
    """A second GOAWAY on the control stream is a violation (`message-goaway`)."""
    pair = Pair(draft)
    pair.forget()
    said = goaway(draft, "moqt://b.example/x")

    pair.server.send(None, said)

    assert pair.only(pair.client) == GoawayReceived(said)
    pair.server.send(None, said)
    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "a second GOAWAY")


@pytest.mark.parametrize("draft", ALL)
def test_client_may_not_say_where_to_go(draft: Draft) -> None:
    """A client's GOAWAY has an empty URI (`message-goaway`)."""
    pair = Pair(draft)

    pair.client.send(None, goaway(draft, "moqt://b.example/x"))

    assert_closed(pair, pair.server, SessionError.PROTOCOL_VIOLATION, "a client's GOAWAY with a URI")


@pytest.mark.parametrize("draft", having(lambda draft: draft.goaway_on_requests))
def test_goaway_moves_one_request(draft: Draft) -> None:
    """GOAWAY on a request stream is about that request, and may come once on each (`message-goaway`)."""
    pair = Pair(draft)
    first, first_received = granted(pair, m.Subscribe)
    second, second_received = granted(pair, m.Fetch)
    said = m.Goaway(timeout_ms=5000)

    for received in (first_received, second_received):
        pair.server.send(received, said)

    assert pair.taken(pair.client) == [GoawayReceived(said, first), GoawayReceived(said, second)]
    pair.server.send(second_received, said)
    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "a second GOAWAY")


GOAWAY_NAMES_A_REQUEST = having(
    lambda draft: any(field.name == "request_id" for field in layout_of_message(draft, m.Goaway).fields)
)


@pytest.mark.parametrize("draft", GOAWAY_NAMES_A_REQUEST)
def test_goaway_names_a_request_of_its_receiver(draft: Draft) -> None:
    """The Request ID has the receiver's parity, or the session ends with INVALID_REQUEST_ID."""
    pair = Pair(draft)

    pair.server.send(None, m.Goaway(timeout_ms=0, request_id=1))

    assert_closed(pair, pair.client, SessionError.INVALID_REQUEST_ID, "names request 1, which is none")


@pytest.mark.parametrize("draft", GOAWAY_NAMES_A_REQUEST)
def test_goaway_about_a_request_names_none(draft: Draft) -> None:
    """The Request ID is "present only when sent on the control stream" (`message-goaway`)."""
    pair = Pair(draft)
    _, received = granted(pair, m.PublishNamespace)

    pair.server.send(received, m.Goaway(timeout_ms=0, request_id=0))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "with a Request ID")


@pytest.mark.parametrize("draft", ONLY_17)
def test_goaway_about_a_request_ends_the_session_before_it_was_defined(draft: Draft) -> None:
    """In draft 17 GOAWAY is about the session, on the control stream (section 9.5)."""
    pair = Pair(draft)
    _, received = granted(pair, m.Subscribe)

    with pytest.raises(LocalProtocolError, match="draft-17 has no GOAWAY on the stream of a request now"):
        pair.server.send(received, goaway(draft))
    pair.server.send_frame(encode(goaway(draft), draft, sender=Sender.SERVER), received)

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "GOAWAY may not come on stream 0")


# ---- objects ---------------------------------------------------------------------------------------

SUBGROUP = SubgroupHeader(track_alias=7, group_id=3)


@pytest.mark.parametrize("draft", ALL)
def test_objects_of_a_subgroup_arrive(draft: Draft) -> None:
    """A subgroup stream is reported when it opens, per object, and when it ends (`subgroup-header`)."""
    pair = Pair(draft)
    pair.forget()

    stream_id, encoder = pair.server.open_subgroup(SUBGROUP)
    pair.server.send_bytes(stream_id, encoder.object(StreamObject(0, b"abcd")))
    pair.server.send_bytes(stream_id, encoder.object(StreamObject(4, b"", 3)), fin=True)

    assert pair.taken(pair.client) == [
        DataStreamOpened(stream_id, SUBGROUP),
        ObjectReceived(stream_id, SUBGROUP, StreamObject(0, b"abcd")),
        ObjectReceived(stream_id, SUBGROUP, StreamObject(4, b"", 3)),
        DataStreamEnded(stream_id, SUBGROUP),
    ]


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize("order", list(GroupOrder))
def test_fetched_objects_arrive_in_the_order_asked_for(draft: Draft, order: GroupOrder) -> None:
    """A fetch stream is read in the group order of its FETCH (`fetch-header`)."""
    pair = Pair(draft)
    request = pair.client.request(m.Fetch(FULL, {Parameter.GROUP_ORDER: order}))
    pair.forget()
    groups = [1, 2, 5] if order is GroupOrder.ASCENDING else [5, 2, 1]
    objects = [FetchObject(group, 0, 0, 128, b"x") for group in groups]
    encoder = FetchEncoder(draft, descending=order is GroupOrder.DESCENDING)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=True)

    pair.server.send_bytes(stream_id, encoder.header(request.id))
    for item in objects:
        pair.server.send_bytes(stream_id, encoder.object(item))

    opened, *received = pair.taken(pair.client)
    assert opened == DataStreamOpened(stream_id, FetchHeader(request.id))
    assert [event.object for event in received] == objects


@dataclasses.dataclass
class Order:
    """What decides in which order a fill's groups come."""

    subscription: GroupOrder | None
    fill: GroupOrder | None
    publisher: GroupOrder | None
    descending: bool


ORDERS = {
    # Drafts 20 sections 10.2.8 and 10.2.15, 22 sections 9.20.8 and 9.20.15.
    "nothing": Order(None, None, None, descending=False),
    "subscription": Order(GroupOrder.DESCENDING, None, None, descending=True),
    "fill": Order(None, GroupOrder.DESCENDING, None, descending=True),
    "fill-against-subscription": Order(
        GroupOrder.DESCENDING, GroupOrder.ASCENDING, GroupOrder.DESCENDING, descending=False
    ),
    "publisher": Order(None, None, GroupOrder.DESCENDING, descending=True),
    "subscription-against-publisher": Order(
        GroupOrder.ASCENDING, None, GroupOrder.DESCENDING, descending=False
    ),
}


@pytest.mark.parametrize("order", [pytest.param(order, id=name) for name, order in ORDERS.items()])
@pytest.mark.parametrize("later", [False, True], ids=["subscribe", "update"])
@pytest.mark.parametrize("draft", having(lambda draft: draft.number in NOTIFIED))
def test_fill_arrives_in_the_order_asked_for(draft: Draft, later: bool, order: Order) -> None:
    """A fill is a fetch stream under the id of what asked for it, in its own order (`fill-semantics`)."""
    pair = Pair(draft)
    inside = {} if order.fill is None else {Parameter.GROUP_ORDER: order.fill}
    fill = {Parameter.FILL_PARAMETERS: KeyValues(inside)}
    asked_for = {} if order.subscription is None else {Parameter.GROUP_ORDER: order.subscription}
    request = pair.client.request(m.Subscribe(NAMESPACE, TRACK, asked_for if later else asked_for | fill))
    preferred = {} if order.publisher is None else {Property.DEFAULT_PUBLISHER_GROUP_ORDER: order.publisher}
    pair.server.reply(pair.taken(pair.server)[-1].request, m.SubscribeOk(7, track_properties=preferred))
    if later:
        pair.client.update(request, m.RequestUpdate(fill))
    pair.forget()
    number = 2 if later else 0
    groups = [5, 2, 1] if order.descending else [1, 2, 5]
    encoder = FetchEncoder(draft, descending=order.descending)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=True)

    pair.server.send_bytes(stream_id, encoder.header(number))
    for group in groups:
        pair.server.send_bytes(stream_id, encoder.object(FetchObject(group, 0, 0, 128, b"x")))
    pair.server.send_bytes(stream_id, encoder.range_end(FetchRangeEnd(0x20C, groups[-1], 9)), fin=True)

    opened, *received, ended = pair.taken(pair.client)
    assert opened == DataStreamOpened(stream_id, FetchHeader(number))
    assert [event.object.group_id for event in received] == [*groups, groups[-1]]
    assert received[-1].object == FetchRangeEnd(0x20C, groups[-1], 9)
    assert ended == DataStreamEnded(stream_id, FetchHeader(number))
    assert pair.client.closed is None


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in NOTIFIED))
def test_fill_that_fails_is_reset_and_the_subscription_goes_on(draft: Draft) -> None:
    """A fill has no REQUEST_ERROR: its stream is opened and reset (`fill-semantics`)."""
    pair = Pair(draft)
    fill = {Parameter.FILL_PARAMETERS: KeyValues()}
    request = pair.client.request(m.Subscribe(NAMESPACE, TRACK, fill))
    received = pair.taken(pair.server)[-1].request
    pair.server.reply(received, m.SubscribeOk(7))
    pair.forget()
    transport = pair.transports[Sender.SERVER]
    stream_id = transport.open_stream(unidirectional=True)

    pair.server.send_bytes(stream_id, FetchEncoder(draft).header(request.id))
    transport.reset(stream_id, 0x0)

    assert pair.taken(pair.client) == [
        DataStreamOpened(stream_id, FetchHeader(request.id)),
        DataStreamReset(stream_id, FetchHeader(request.id), 0x0),
    ]
    assert not request.cancelled
    assert pair.client.closed is None


@pytest.mark.parametrize("draft", ALL)
def test_datagram_arrives(draft: Draft) -> None:
    """A datagram is reported (`object-datagram`)."""
    pair = Pair(draft)
    pair.forget()
    datagram = ObjectDatagram(7, 3, 1, payload=b"data")

    pair.server.send_datagram(datagram)

    assert pair.only(pair.client) == DatagramReceived(datagram)


@pytest.mark.parametrize("draft", ALL)
def test_malformed_datagram_ends_the_session(draft: Draft) -> None:
    """A datagram of an unknown type is a violation (`object-datagram`)."""
    pair = Pair(draft)

    pair.transports[Sender.SERVER].send_datagram(b"\x3f\x00\x00")

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "no datagram of type")
    assert pair.client.closed is not None
    assert pair.client.closed.error is not None
    assert pair.client.closed.error.fault == "data"


@pytest.mark.parametrize("draft", WITH_PADDING)
def test_padding_means_nothing(draft: Draft) -> None:
    """Padding streams and datagrams are read and dropped (`padding`)."""
    pair = Pair(draft)
    pair.forget()
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=True)

    pair.server.send_bytes(stream_id, draft.integers.encode(PADDING_STREAM) + bytes(50), fin=True)
    pair.transports[Sender.SERVER].send_datagram(draft.integers.encode(PADDING_DATAGRAM) + bytes(50))

    assert pair.taken(pair.client) == []
    assert pair.client.closed is None


@pytest.mark.parametrize("draft", having(lambda draft: not draft.padding))
def test_padding_is_unknown_before_it_was_defined(draft: Draft) -> None:
    """A padding stream is of an unknown type in older drafts (`data-streams`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=True)

    pair.server.send_bytes(stream_id, draft.integers.encode(PADDING_STREAM))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "stream of type 0x132b3e28")


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize("number", [0x00, 0x0B, 0x16, 0x1E, 0x3F])
def test_unknown_stream_type_ends_the_session(draft: Draft, number: int) -> None:
    """Who "receives an unknown stream type MUST close the session" (`data-streams`)."""
    pair = Pair(draft)
    stream_id = pair.transports[Sender.SERVER].open_stream(unidirectional=True)

    pair.server.send_bytes(stream_id, draft.integers.encode(number))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, f"stream of type {number:#x}")


@pytest.mark.parametrize("draft", ALL)
def test_stream_that_ends_before_its_type_ends_the_session(draft: Draft) -> None:
    """A unidirectional stream has a type (`data-streams`)."""
    pair = Pair(draft)

    pair.server.send_bytes(pair.transports[Sender.SERVER].open_stream(unidirectional=True), b"", fin=True)

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "ends before its type")


@pytest.mark.parametrize("draft", ALL)
def test_stream_that_ends_inside_an_object_ends_the_session(draft: Draft) -> None:
    """A FIN in the middle of an object is a violation (`message-object`)."""
    pair = Pair(draft)
    stream_id, encoder = pair.server.open_subgroup(SUBGROUP)

    pair.server.send_bytes(stream_id, encoder.object(StreamObject(0, b"abcd"))[:-1], fin=True)

    assert_closed(
        pair, pair.client, SessionError.PROTOCOL_VIOLATION, "the stream ends 5 bytes into an object"
    )


@pytest.mark.parametrize("draft", ALL)
def test_data_stream_is_abandoned(draft: Draft) -> None:
    """A reset of a data stream is reported with its code and is no fault (`data-streams`)."""
    pair = Pair(draft)
    stream_id, encoder = pair.server.open_subgroup(SUBGROUP)
    pair.server.send_bytes(stream_id, encoder.object(StreamObject(0, b"abcd"))[:-1])
    silent = pair.transports[Sender.SERVER].open_stream(unidirectional=True)
    pair.forget()

    pair.transports[Sender.SERVER].reset(stream_id, 2)
    pair.transports[Sender.SERVER].reset(silent, 1)

    assert pair.taken(pair.client) == [
        DataStreamReset(stream_id, SUBGROUP, 2),
        DataStreamReset(silent, None, 1),
    ]
    assert pair.client.closed is None


@pytest.mark.parametrize("draft", ALL)
def test_object_too_large_for_us_is_refused_and_no_fault_of_the_peer(draft: Draft) -> None:
    """An object longer than we hold is stopped before its bytes are kept; what follows of it is ignored."""
    pair = Pair(draft)
    stream_id, _ = pair.server.open_subgroup(SUBGROUP)
    pair.forget()
    head = draft.integers.encode(0) + draft.integers.encode(1 << 30)

    pair.server.send_bytes(stream_id, head)
    pair.server.send_bytes(stream_id, b"\xff" * 40, fin=True)

    assert pair.taken(pair.client) == [DataStreamReset(stream_id, SUBGROUP, None)]
    assert pair.client.closed is None
    assert [stopped for stopped, _ in pair.transports[Sender.CLIENT].stops] == [stream_id]


@pytest.mark.parametrize("draft", ALL)
def test_we_may_refuse_a_subgroup(draft: Draft) -> None:
    """A stream that is refused is stopped, once, and nothing more of it is reported (`data-streams`)."""
    pair = Pair(draft)
    stream_id, encoder = pair.server.open_subgroup(SUBGROUP)
    pair.server.send_bytes(stream_id, encoder.object(StreamObject(0, b"abcd")))
    pair.forget()

    pair.client.refuse_stream(stream_id)
    pair.client.refuse_stream(stream_id)
    pair.server.send_bytes(stream_id, encoder.object(StreamObject(1, b"abcd")), fin=True)

    assert pair.taken(pair.client) == []
    assert pair.client.closed is None
    assert pair.transports[Sender.CLIENT].stops == [(stream_id, 0)]


@pytest.mark.parametrize("draft", ALL)
def test_peer_may_refuse_a_subgroup(draft: Draft) -> None:
    """STOP_SENDING on a data stream of ours ends that stream alone (`data-streams`)."""
    pair = Pair(draft)
    stream_id, _ = pair.client.open_subgroup(SUBGROUP)
    pair.forget()

    pair.transports[Sender.SERVER].stop(stream_id, 1)

    assert pair.taken(pair.client) == []
    assert pair.client.closed is None


# ---- two doors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
def test_checked_door_refuses_what_the_draft_forbids(draft: Draft) -> None:
    """What only a mistake of ours would send is refused and nothing is sent."""
    pair = Pair(draft)
    request, received = granted(pair, m.Subscribe)
    waiting, fetch_received = asked(pair, m.Fetch)

    with pytest.raises(LocalProtocolError, match="awaits no answer of ours"):
        pair.server.reply(received, m.SubscribeOk(7))
    with pytest.raises(LocalProtocolError, match="awaits no answer of ours"):
        pair.client.reply(waiting, m.FetchOk(False, Location(1, 0)))
    with pytest.raises(LocalProtocolError, match="cannot answer Fetch"):
        pair.server.reply(fetch_received, m.SubscribeOk(7))
    with pytest.raises(LocalProtocolError, match="use request or reply"):
        pair.client.send(None, m.Subscribe(NAMESPACE, TRACK))
    with pytest.raises(LocalProtocolError, match="use request or reply"):
        pair.client.send(request, m.SubscribeOk(7))
    with pytest.raises(LocalProtocolError, match="opens no request"):
        pair.client.request(m.PublishDone(PublishDoneStatus.TRACK_ENDED))
    with pytest.raises(LocalProtocolError, match=r"(GROUP_ORDER|Group Order) cannot be 3"):
        pair.client.request(m.Subscribe(NAMESPACE, TRACK, {Parameter.GROUP_ORDER: 3}))

    assert pair.taken(pair.server) == []
    assert pair.taken(pair.client) == []


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_checked_door_keeps_messages_on_their_streams(draft: Draft) -> None:
    """A message about a request is not sent on the control stream, nor the other way round."""
    pair = Pair(draft)
    _, received = granted(pair, m.Subscribe)

    with pytest.raises(LocalProtocolError, match="PUBLISH_DONE"):
        pair.server.send(None, m.PublishDone(PublishDoneStatus.TRACK_ENDED))
    with pytest.raises(LocalProtocolError, match="SETUP"):
        pair.server.send(received, m.Setup())
    assert pair.taken(pair.client) == []


@pytest.mark.parametrize("draft", WITH_CREDIT)
def test_credit_of_ours_may_only_grow(draft: Draft) -> None:
    """What we grant by the checked door is what we keep to (`message-max-request-id`)."""
    pair = Pair(draft)

    with pytest.raises(LocalProtocolError, match="does not raise the 100 granted"):
        pair.client.send(None, m.MaxRequestId(REQUEST_CREDIT))


@pytest.mark.parametrize("draft", ALL)
def test_request_that_cannot_be_written_uses_up_no_id(draft: Draft) -> None:
    """A mistake of ours leaves no gap in the request ids."""
    pair = Pair(draft)

    with pytest.raises(LocalProtocolError, match="33 fields"):
        pair.client.request(m.PublishNamespace((b"a",) * 33))

    assert pair.client.request(m.PublishNamespace(NAMESPACE)).id == 0


@pytest.mark.parametrize("draft", ALL)
def test_raw_door_sends_what_the_draft_forbids(draft: Draft) -> None:
    """The raw door asks nothing: any frame, any bytes, any Length."""
    pair = Pair(draft)

    pair.client.send_frame(Frame(0x3F, b"\x01\x02", length=7))

    sent = pair.transports[Sender.CLIENT].sent
    control = 0 if draft.topology is Topology.SINGLE_CONTROL_STREAM else 2
    assert sent[control].endswith(b"\x3f\x00\x07\x01\x02")


@pytest.mark.parametrize("draft", ALL)
def test_frame_of_a_request_opens_a_stream_where_the_draft_does(draft: Draft) -> None:
    """The raw door puts a frame where the checked door would."""
    pair = Pair(draft)
    pair.forget()

    stream_id = pair.client.send_frame(pair.client.frame(m.Subscribe(NAMESPACE, TRACK)))

    assert stream_id == (None if draft.topology is Topology.SINGLE_CONTROL_STREAM else 0)
    assert isinstance(pair.only(pair.server), RequestReceived)


@pytest.mark.parametrize("draft", ALL)
def test_raw_reply_to_a_raw_request_is_the_peers_fault_where_ids_tell(draft: Draft) -> None:
    """The receiving half stays honest: it knows the requests of the checked door only."""
    pair = Pair(draft)
    pair.forget()
    pair.client.send_frame(pair.client.frame(m.Subscribe(NAMESPACE, TRACK)))
    received = pair.only(pair.server).request

    pair.server.reply(received, m.SubscribeOk(7))

    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, "SUBSCRIBE_OK")


# ---- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
def test_our_close_is_reported_to_both_ends(draft: Draft) -> None:
    """Who closed, and with which code, is known at both ends (`session-termination`)."""
    pair = Pair(draft)
    pair.forget()

    pair.client.close(SessionError.NO_ERROR, "done")

    assert pair.taken(pair.client) == [SessionClosed(Close(0, by_peer=False))]
    assert pair.taken(pair.server) == [SessionClosed(Close(0, by_peer=True))]
    assert pair.server.closed is not None
    assert (pair.server.closed.reason, pair.server.closed.layer) == ("done", "session")


@pytest.mark.parametrize("draft", ALL)
def test_nothing_follows_the_end(draft: Draft) -> None:
    """After the end no event is reported and no request is made."""
    pair = Pair(draft)
    pair.deliver(pair.client, TransportClosed(0x3, "bad", by_peer=True, layer="session"))

    late = [StreamData(3, b"\x10"), StreamReset(3, 1, 1), StopSending(0, 1, 1), DatagramData(b"\xff")]

    assert pair.deliver(pair.client, *late) == []
    with pytest.raises(LocalProtocolError, match="the session is closed"):
        pair.client.request(m.PublishNamespace(NAMESPACE))


@pytest.mark.parametrize("draft", ALL)
def test_close_of_a_lower_layer_is_told_apart(draft: Draft) -> None:
    """A code of QUIC or HTTP/3 is not taken for one of MoQT."""
    pair = Pair(draft)

    (event,) = pair.deliver(pair.client, TransportClosed(0x1, "idle", by_peer=True, layer="quic"))

    assert isinstance(event, SessionClosed)
    assert event.close.layer == "quic"


@pytest.mark.parametrize("draft", ALL)
def test_one_alias_for_two_live_tracks_ends_the_session(draft: Draft) -> None:
    """`track-alias`: "the same Track Alias as a different Track ... MUST close ... DUPLICATE_TRACK_ALIAS"."""
    pair = Pair(draft)
    for name in (b"one", b"two"):
        pair.forget()
        pair.client.request(m.Subscribe(NAMESPACE, name))
        pair.server.reply(pair.only(pair.server).request, m.SubscribeOk(7))

    pair.settle()

    assert pair.client.closed == Close(SessionError.DUPLICATE_TRACK_ALIAS, by_peer=False)


@pytest.mark.parametrize("draft", ALL)
def test_an_alias_is_free_again_when_its_track_has_ended(draft: Draft) -> None:
    """`track-alias` forbids two tracks at the same time, not one after the other."""
    pair = Pair(draft)
    _, first = granted(pair, m.Subscribe)
    pair.server.send(first, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0))
    pair.forget()
    pair.client.request(m.Subscribe(NAMESPACE, b"another"))
    pair.server.reply(pair.only(pair.server).request, m.SubscribeOk(7))

    pair.settle()

    assert pair.client.closed is None


@pytest.mark.parametrize("draft", WITH_NAMESPACE_STREAM)
def test_namespace_done_before_its_namespace_ends_the_session(draft: Draft) -> None:
    """`message-subscribe-ns`: NAMESPACE_DONE for a suffix of which no NAMESPACE came."""
    pair = Pair(draft)
    _, received = granted(pair, m.SubscribeNamespace)

    pair.server.send(received, m.Namespace((b"a",)))
    pair.server.send(received, m.NamespaceDone((b"a",)))
    pair.settle()
    assert pair.client.closed is None
    pair.server.send(received, m.NamespaceDone((b"a",)))
    pair.settle()

    assert pair.client.closed == Close(SessionError.PROTOCOL_VIOLATION, by_peer=False)


@pytest.mark.parametrize("draft", ONE_CONTROL_STREAM)
def test_a_request_of_the_peer_is_revoked_by_its_own_message(draft: Draft) -> None:
    """`message-pub-ns-cancel`: the receiver of a namespace has a message for it, unlike the publisher's."""
    pair = Pair(draft)
    _, received = granted(pair, m.PublishNamespace)

    pair.server.cancel(received)
    pair.settle()

    assert pair.frames[-1] == ("client", "PUBLISH_NAMESPACE_CANCEL")


@pytest.mark.parametrize("draft", having(lambda draft: draft.fin_ends_namespace_subscription))
def test_fin_of_the_requester_ends_a_namespace_subscription(draft: Draft) -> None:
    """Up to draft 18 a FIN on its stream is how SUBSCRIBE_NAMESPACE ends (`message-subscribe-ns`)."""
    pair = Pair(draft)
    request, received = granted(pair, m.SubscribeNamespace)

    pair.client.finish(request)

    assert pair.only(pair.server) == RequestCancelled(received)


@pytest.mark.parametrize(
    ("draft", "kind"), [param for param in KINDS if param.values[0].topology is Topology.REQUEST_STREAMS]
)
def test_fin_of_the_requester_cancels_where_the_draft_says_so(draft: Draft, kind: type[m.Message]) -> None:
    """From draft 19 a FIN "is not a request cancellation", of no request (`graceful-request-closure`)."""
    pair = Pair(draft)
    request, received = asked(pair, kind)

    pair.client.finish(request)

    if kind in FIN_CANCELS[draft.number]:
        assert pair.only(pair.server) == RequestCancelled(received)
        assert received.cancelled
        return
    assert pair.only(pair.server) == RequestEnded(received)
    assert not received.cancelled
    pair.server.reply(received, REQUESTS[kind][1]())
    assert isinstance(pair.only(pair.client), ReplyReceived)
    if kind is m.SubscribeNamespace:
        pair.server.send(received, m.Namespace((b"live",)))
        assert pair.only(pair.client) == MessageReceived(request, m.Namespace((b"live",)))
    assert not request.cancelled


@pytest.mark.parametrize("draft", having(lambda draft: draft.number in NOTIFIED))
def test_publisher_says_that_its_side_changed(draft: Draft) -> None:
    """The publisher says so on the subscription's stream; nobody answers (`message-publish-state-notify`)."""
    said = m.PublishStateNotify({Parameter.LARGEST_OBJECT: Location(10, 3), Parameter.FORWARD: 0})
    options = {"options": {SetupOption.MAX_REQUEST_UPDATES: 1}}
    pair = Pair(draft, client=options, server=options)
    subscription, subscribed = granted(pair, m.Subscribe)
    publication, published = granted(pair, m.Publish)

    # Not counted among updates: more than MAX_REQUEST_UPDATES of them are no fault.
    for _ in range(3):
        pair.server.send(subscribed, said)
        pair.client.send(publication, said)

    assert pair.taken(pair.client) == [MessageReceived(subscription, said)] * 3
    assert pair.taken(pair.server) == [MessageReceived(published, said)] * 3
    assert not subscription.owed
    assert not published.owed
    with pytest.raises(LocalProtocolError, match="awaits no answer of ours"):
        pair.client.reply(subscription, m.RequestOk())


@pytest.mark.parametrize("kind", [m.Subscribe, m.Fetch, m.TrackStatus, m.SubscribeTracks, m.PublishNamespace])
@pytest.mark.parametrize("by", list(Sender), ids=lambda sender: sender.value)
@pytest.mark.parametrize("draft", having(lambda draft: draft.number in NOTIFIED))
def test_state_of_what_the_sender_does_not_publish_ends_the_session(
    draft: Draft, by: Sender, kind: type[m.Message]
) -> None:
    """PUBLISH_STATE_NOTIFY "for any other request type, or from the subscriber" closes."""
    if kind is m.Subscribe and by is Sender.SERVER:
        kind = m.Publish  # the server publishes what was subscribed to, and subscribes to what was published
    pair = Pair(draft)
    request, received = granted(pair, kind)
    frame = encode(m.PublishStateNotify(), draft, sender=by)

    pair.sessions[by].send_frame(frame, request if by is Sender.CLIENT else received)

    assert_closed(
        pair,
        pair.server if by is Sender.CLIENT else pair.client,
        SessionError.PROTOCOL_VIOLATION,
        "PUBLISH_STATE_NOTIFY about request 0, no subscription that the sender publishes",
    )


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_state_of_nothing_ends_the_session(draft: Draft) -> None:
    """On the control stream PUBLISH_STATE_NOTIFY is out of place, and before draft 20 unknown (`message`)."""
    pair = Pair(draft)

    pair.server.send_frame(Frame(0x22, b"\x00"))

    known = draft.number in NOTIFIED
    words = "PUBLISH_STATE_NOTIFY may not come on the control stream" if known else "no message of type 0x22"
    assert_closed(pair, pair.client, SessionError.PROTOCOL_VIOLATION, words)


@pytest.mark.parametrize("draft", STREAM_PER_REQUEST)
def test_an_answer_to_its_own_request_ends_the_session(draft: Draft) -> None:
    """A request is answered by the other end (18 section 3.3), never by the one that made it."""
    pair = Pair(draft)
    request, _ = asked(pair, m.Subscribe)

    answer = encode(m.SubscribeOk(7), draft, sender=Sender.CLIENT, answering=m.Subscribe)
    pair.client.send_frame(answer, request)
    pair.settle()

    assert pair.server.closed == Close(SessionError.PROTOCOL_VIOLATION, by_peer=False)


@pytest.mark.parametrize("draft", ALL)
def test_an_update_is_no_later_message(draft: Draft) -> None:
    """It takes a request id of its own, which only `update` gives."""
    pair = Pair(draft)
    request, _ = granted(pair, m.Subscribe)

    with pytest.raises(LocalProtocolError, match="use update"):
        pair.client.send(request, m.RequestUpdate(existing_request_id=request.id))


@pytest.mark.parametrize("draft", ALL)
def test_objects_before_a_fault_are_reported(draft: Draft) -> None:
    """What came whole came, even in one piece with what ends the session (`message-object`)."""
    pair = Pair(draft)
    stream_id, encoder = pair.server.open_subgroup(SubgroupHeader(7, 0))
    whole = pair.transports[Sender.SERVER].sent[stream_id] + encoder.object(StreamObject(0, b"x"))
    unknown_status = encoder.object(StreamObject(1, b"", status=3))[:-1] + b"\x3f"

    reported = pair.deliver(pair.client, StreamData(stream_id, whole + unknown_status))

    assert [type(event) for event in reported] == [DataStreamOpened, ObjectReceived, SessionClosed]
    assert pair.client.closed is not None
    error = pair.client.closed.error
    assert error is not None
    assert error.offset is not None
    assert error.octets[error.offset :] == b"\x3f"


@pytest.mark.parametrize("draft", ALL)
def test_objects_before_one_too_large_are_reported(draft: Draft) -> None:
    """The stream is stopped for the large one, and what came before it came."""
    pair = Pair(draft)
    stream_id, encoder = pair.server.open_subgroup(SubgroupHeader(7, 0))
    whole = pair.transports[Sender.SERVER].sent[stream_id] + encoder.object(StreamObject(0, b"x"))
    huge = b"\x00" + draft.integers.encode(MAX_OBJECT_SIZE + 1)

    reported = pair.deliver(pair.client, StreamData(stream_id, whole + huge))

    assert [type(event) for event in reported] == [DataStreamOpened, ObjectReceived, DataStreamReset]
    assert pair.client.closed is None
