"""Decisions that a defect gets wrong: each is asked for with what it concerns, and what it says happens."""

from __future__ import annotations

from typing import Any

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED, Topology
from pytest_moqt.protocol.errors import InvalidRequestId, RemoteProtocolError
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.objects import PADDING_STREAM, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import Parameter, Properties, SetupOption
from pytest_moqt.protocol.registries import (
    PublishDoneStatus,
    RequestErrorCode,
    SessionError,
    StreamError,
)
from pytest_moqt.protocol.transport import StreamData, TransportClosed
from pytest_moqt.protocol.values import KeyValues, Token, TokenAlias, TrackNamespace
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session
from pytest_moqt.relay.tokens import TokenCache

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77
GOAWAY = 0x10
"Its type, in every draft."
HEADER = SubgroupHeader(ALIAS, group_id=0, subgroup_id=0)
ON_CONTROL = [n for n in sorted(SUPPORTED) if DRAFTS[n].topology is Topology.SINGLE_CONTROL_STREAM]
WITH_NAMESPACE = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.Namespace)]
WITH_TRACKS = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.SubscribeTracks)]


def closed_with(client: Client) -> SessionError | None:
    return client.closed[0] if client.closed else None


# ---- errors of a client ----------------------------------------------------------------------------


class _Lenient(Behaviour):
    """Overlooks whatever a client does."""

    def __init__(self) -> None:
        self.errors: list[type[RemoteProtocolError]] = []

    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        self.errors.append(type(error))
        return None


class _Confused(Behaviour):
    """Closes with a code of another error."""

    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        return SessionError.GOAWAY_TIMEOUT


def test_an_error_of_a_client_may_be_answered_with_another_code(number: int) -> None:
    """The code is a decision."""
    client = FakeRelay(_Confused()).client(number)

    client.request(m.PublishNamespace(NAMESPACE), number=1)

    assert closed_with(client) == SessionError.GOAWAY_TIMEOUT


def test_an_error_of_a_client_may_be_overlooked(number: int) -> None:
    """The message is not acted upon, and those behind it are, even in the same bytes."""
    behaviour = _Lenient()
    client = FakeRelay(behaviour).client(number)
    wrong = client.frame(m.PublishNamespace(NAMESPACE, request_id=1)).encode(client.draft)
    unknown = Frame(0x3FFF).encode(client.draft)
    right = client.frame(m.PublishNamespace(NAMESPACE, request_id=0)).encode(client.draft)
    stream = client.new_stream(unidirectional=False) if client.own_streams else client.control

    client.session.handle(StreamData(stream, wrong + unknown + right))

    assert behaviour.errors[0] is InvalidRequestId
    assert len(behaviour.errors) == 2
    assert isinstance(client.messages[-1][1], m.RequestOk)
    assert client.closed is None


def test_streams_that_are_overlooked_come_to_nothing(number: int) -> None:
    """An unknown stream is ignored from there on; one that ends inside an object is reset for subscribers."""
    behaviour = _Lenient()
    line = Line(FakeRelay(behaviour), number)
    stream = line.publisher.new_stream(unidirectional=True)

    line.publisher.deliver(stream, b"\x3e\x01\x02\x03", fin=True)
    outgoing = line.publisher.open_subgroup(HEADER).send(StreamObject(0, b"whole"))
    line.publisher.deliver(outgoing.stream_id, b"\x00", fin=True)

    (received,) = line.subscriber.streams
    assert line.publisher.closed is None
    assert received.stream_id in line.subscriber.resets
    assert len(behaviour.errors) == 2


class Line:
    """A publisher of a namespace and a subscriber to a track of it."""

    def __init__(self, relay: FakeRelay, number: int) -> None:
        self.relay = relay
        self.publisher, self.subscriber = relay.client(number), relay.client(number)
        self.announced = self.publisher.request(m.PublishNamespace(NAMESPACE))
        self.subscription = self.subscriber.request(m.Subscribe(NAMESPACE, TRACK))
        self.routed: Asked = self.publisher.expect(m.Subscribe)
        self.publisher.say(self.routed, m.SubscribeOk(ALIAS))


# ---- the end of sessions ---------------------------------------------------------------------------


class _Mute(Behaviour):
    """Ends sessions without a word."""

    def close_session(self, session: Session, code: SessionError, reason: str) -> None:
        pass


def test_how_a_session_ends_is_a_decision(number: int) -> None:
    """The relay's side of it is over, whatever the client is told."""
    relay = FakeRelay(_Mute())
    client = relay.client(number)

    client.setup()

    assert client.closed is None
    assert client.session.closed
    assert relay.router.sessions == set()


class _Deaf(Behaviour):
    """Does not notice that a client is gone."""

    def notices_end(self, session: Session, closed: TransportClosed) -> bool:
        return False


def test_a_client_that_is_gone_may_go_unnoticed(number: int) -> None:
    """Its namespaces and tracks stay."""
    line = Line(FakeRelay(_Deaf()), number)

    line.publisher.disconnect()

    assert len(line.relay.router.announcements) == 1
    assert len(line.subscriber.about(line.subscription)) == 1


class _Strict(Behaviour):
    """Wants no option that it does not know."""

    def introduced(self, session: Session, setup: m.Setup) -> None:
        if any(option not in set(SetupOption) for option in setup.options):
            session.close(SessionError.PROTOCOL_VIOLATION, "an option too many")


def test_setup_may_be_judged_more_strictly(number: int) -> None:
    """What the client says of itself is at hand before anything is made of it."""
    relay = FakeRelay(_Strict())
    client = relay.stranger(number)
    before = len(client.messages)

    client.setup(KeyValues({0x9D: b"grease"}))

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION
    assert len(client.messages) == before
    assert not client.session.established


class _Listening(Behaviour):
    """Counts what means nothing to a correct relay."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def gone_away(self, session: Session) -> None:
        self.noted.append("goaway")

    def padded(self, session: Session) -> None:
        self.noted.append("padding")


def test_goaway_and_padding_are_noted(number: int) -> None:
    """A defect may make something of them."""
    behaviour = _Listening()
    client = FakeRelay(behaviour).client(number)

    client.send_control(m.Goaway(timeout_ms=0, request_id=1 if _goaway_has_id(client) else None))
    if client.draft.padding:
        padding = client.draft.integers.encode(PADDING_STREAM)
        client.deliver(client.new_stream(unidirectional=True), padding)

    assert behaviour.noted == ["goaway", "padding"][: 1 + client.draft.padding]
    assert client.closed is None


def _goaway_has_id(client: Client) -> bool:
    return len(client.frame(m.Goaway(timeout_ms=0, request_id=1)).body) == 3


class _Reading(Behaviour):
    """Keeps what its clients say, and objects to GOAWAY."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def framed(self, session: Session, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.type == GOAWAY:
            raise InvalidRequestId("no client goes away")


def test_control_messages_are_looked_at_before_they_are_understood(number: int) -> None:
    """On every stream that has them; an objection ends the session as any does."""
    behaviour = _Reading()
    client = FakeRelay(behaviour).client(number)
    behaviour.frames.clear()

    client.request(m.PublishNamespace(NAMESPACE))
    client.send_control(m.Goaway(timeout_ms=0, request_id=1 if _goaway_has_id(client) else None))

    request = client.frame(m.PublishNamespace(NAMESPACE, request_id=0))
    assert behaviour.frames[0] == request
    assert behaviour.frames[1].type == GOAWAY
    assert closed_with(client) == SessionError.INVALID_REQUEST_ID


# ---- requests --------------------------------------------------------------------------------------


class _Permissive(Behaviour):
    """Serves what the draft objects to."""

    def __init__(self) -> None:
        self.codes: list[RequestErrorCode | int] = []

    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        self.codes.append(error.code)
        return None


class _Gruff(Behaviour):
    """Has one answer to all that the draft objects to."""

    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        return m.RequestError(RequestErrorCode.UNAUTHORIZED, "no")


def objectionable(client: Client) -> list[m.Request]:
    """Requests that the draft has refused, each of its kind."""
    requests: list[m.Request] = [m.SubscribeNamespace(NAMESPACE)]
    if client.draft.reserved_namespaces:
        requests.append(m.PublishNamespace((b".",)))
    if client.draft.mandatory_properties:
        requests.append(m.Publish(NAMESPACE, TRACK, 1, KeyValues(), KeyValues({0x4FF1: b"x"})))
    if client.draft.repeated_tokens_refused:
        token = Token(TokenAlias.USE_VALUE, type=0, value=b"x")
        twice = KeyValues([(Parameter.AUTHORIZATION_TOKEN, token)] * 2)
        requests.append(m.PublishNamespace(NAMESPACE, twice))
    return requests


def test_what_the_draft_objects_to_may_be_served(number: int) -> None:
    """As if nothing were wrong."""
    behaviour = _Permissive()
    client = FakeRelay(behaviour).client(number)
    client.request(m.SubscribeNamespace(NAMESPACE[:1]))
    wrong = objectionable(client)

    answers = [client.about(client.request(each))[0] for each in wrong]

    assert [type(answer) for answer in answers] == [m.RequestOk] * len(wrong)
    assert behaviour.codes[0] == RequestErrorCode.PREFIX_OVERLAP
    assert len(behaviour.codes) == len(wrong)


def test_what_the_draft_objects_to_may_be_answered_otherwise(number: int) -> None:
    """The code is a decision."""
    client = FakeRelay(_Gruff()).client(number)
    client.request(m.SubscribeNamespace(NAMESPACE[:1]))

    answers = [client.ask(each) for each in objectionable(client)]

    assert {answer.code for answer in answers} == {RequestErrorCode.UNAUTHORIZED}


class _Generous(Behaviour):
    """Keeps more tokens than others."""

    def token_cache(self) -> TokenCache:
        return TokenCache(5_000)


def test_how_much_may_be_registered_is_a_decision(number: int) -> None:
    """SETUP says what the cache takes."""
    client = FakeRelay(_Generous()).client(number)
    token = Token(TokenAlias.REGISTER, 1, 0, bytes(4_000))

    answer = client.ask(m.PublishNamespace(NAMESPACE, KeyValues({Parameter.AUTHORIZATION_TOKEN: token})))

    setup: Any = client.messages[0][1]
    assert setup.options[SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE] == 5_000
    assert isinstance(answer, m.RequestOk)


# ---- namespaces and offers -------------------------------------------------------------------------


class _Renaming(Behaviour):
    """Tells subscribers to namespaces of other namespaces."""

    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        return None if b"secret" in namespace else (*namespace, b"more")

    def namespace_went(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        return None if b"stays" in namespace else (*namespace, b"less")


@pytest.mark.parametrize("number", WITH_NAMESPACE)
def test_what_is_told_of_namespaces_is_a_decision(number: int) -> None:
    """That they came, and that they went."""
    relay = FakeRelay(_Renaming())
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeNamespace((b"a",), subscribe_options=1))

    for name in (b"known", b"secret", b"stays"):
        publisher.cancel(publisher.request(m.PublishNamespace((b"a", name))))

    assert subscriber.about(interest)[1:] == [
        m.Namespace((b"known", b"more")),
        m.NamespaceDone((b"known", b"less")),
        m.Namespace((b"stays", b"more")),
    ]


class _Exact(Behaviour):
    """Takes a prefix for a namespace."""

    def matches(self, prefix: TrackNamespace, namespace: TrackNamespace) -> bool:
        return prefix == namespace


def test_what_lies_under_a_prefix_is_a_decision(number: int) -> None:
    """For subscriptions, for namespaces and for tracks."""
    relay = FakeRelay(_Exact())
    publisher, subscriber = relay.client(number), relay.client(number)
    subscriber.request(m.SubscribeNamespace(NAMESPACE[:1]))
    before = len(subscriber.messages)

    publisher.request(m.PublishNamespace(NAMESPACE))
    publisher.request(m.Publish(NAMESPACE, b"offered", 1))
    answers = [subscriber.ask(m.Subscribe((*NAMESPACE, b"deep"), TRACK))]
    told = subscriber.messages[before:]
    subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    assert [type(message) for _, message in told] == [m.RequestError]
    assert [answer.code for answer in answers] == [RequestErrorCode.DOES_NOT_EXIST]
    assert publisher.expect(m.Subscribe).message.track_namespace == NAMESPACE


class _Forgetful(Behaviour):
    """Never forgets a namespace, and offers no track."""

    def withdraws(self, exchange: Exchange) -> bool:
        return False

    def offer(self, exchange: Exchange, publish: m.Publish) -> m.Publish | None:
        return None


def test_a_withdrawn_namespace_may_stay(number: int) -> None:
    """Subscriptions are still sent to who published it."""
    relay = FakeRelay(_Forgetful())
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.cancel(publisher.request(m.PublishNamespace(NAMESPACE)))

    subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    assert publisher.expect(m.Subscribe).message.track_name == TRACK


class _Stubborn(Behaviour):
    """Hears neither the end of an interest nor a refusal, and tells no publisher to send."""

    def __init__(self) -> None:
        self.done: list[Session] = []

    def ends_interest(self, exchange: Exchange) -> bool:
        return exchange.session.closed

    def drops_refused(self, exchange: Exchange) -> bool:
        return False

    def asks_for_objects(self, wanted: bool) -> bool:
        return False

    def publisher_done(self, session: Session) -> None:
        self.done.append(session)


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_who_refuses_and_cancels_may_go_unheard(number: int) -> None:
    """Objects of the refused track come all the same, and the next is offered."""
    relay = FakeRelay(_Stubborn())
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeTracks(NAMESPACE))
    publisher.request(m.Publish(NAMESPACE, TRACK, ALIAS))
    refusal = m.RequestError(RequestErrorCode.UNINTERESTED, "no")
    subscriber.say(subscriber.expect(m.Publish), refusal)

    subscriber.cancel(interest)
    publisher.open_subgroup(HEADER).send(StreamObject(0, b"unwanted"), fin=True)
    publisher.request(m.Publish(NAMESPACE, b"next", ALIAS + 1))

    assert [stream.payloads for stream in subscriber.streams] == [[b"unwanted"]]
    assert subscriber.expect(m.Publish).message.track_name == b"next"


def test_whether_a_publisher_is_told_to_send_is_a_decision(number: int) -> None:
    """One that waits goes on waiting, though there is a subscriber; its end is noted."""
    behaviour = _Stubborn()
    relay = FakeRelay(behaviour)
    publisher, subscriber = relay.client(number), relay.client(number)
    published = publisher.request(m.Publish(NAMESPACE, TRACK, ALIAS, KeyValues({Parameter.FORWARD: 0})))

    subscriber.request(m.Subscribe(NAMESPACE, TRACK))
    publisher.say(published, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0))

    assert publisher.incoming(m.RequestUpdate) is None
    assert behaviour.done == [publisher.session]


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_an_offer_may_be_kept_back(number: int) -> None:
    """The subscriber of tracks hears nothing of it."""
    relay = FakeRelay(_Forgetful())
    publisher, subscriber = relay.client(number), relay.client(number)
    subscriber.request(m.SubscribeTracks(NAMESPACE))

    answer = publisher.ask(m.Publish(NAMESPACE, TRACK, 1, KeyValues({Parameter.FORWARD: 0})))

    assert isinstance(answer, m.RequestOk)
    assert subscriber.incoming(m.Publish) is None


class _Careless(Behaviour):
    """Refuses offers and interests, drops properties, and ends broken streams as if they were whole."""

    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:
        exchange.reply(m.RequestError(RequestErrorCode.UNINTERESTED, "no"))

    def accept_interest(self, exchange: Exchange) -> None:
        exchange.reply(m.RequestError(RequestErrorCode.NOT_SUPPORTED, "no"))

    def pass_on_properties(self, properties: Properties) -> Properties:
        return KeyValues()

    def reset_objects(self, session: Session, stream_id: int, error: StreamError) -> None:
        session.send_objects(stream_id, b"", fin=True)


def test_offers_and_interests_may_be_refused(number: int) -> None:
    """Nothing is left of them then."""
    relay = FakeRelay(_Careless())
    client = relay.client(number)

    answers = [client.ask(m.Publish(NAMESPACE, TRACK, 1)), client.ask(m.SubscribeNamespace(NAMESPACE))]

    assert [answer.code for answer in answers] == [
        RequestErrorCode.UNINTERESTED,
        RequestErrorCode.NOT_SUPPORTED,
    ]
    assert relay.router.interests == []
    assert relay.router.tracks == {}
    assert client.closed is None


def test_a_reset_may_become_a_fin(number: int) -> None:
    """How a broken stream ends is a decision."""
    line = Line(FakeRelay(_Careless()), number)

    line.publisher.open_subgroup(HEADER).send(StreamObject(0, b"first")).reset(1)

    (stream,) = line.subscriber.streams
    assert stream.fin
    assert line.subscriber.resets == {}


@pytest.mark.parametrize("number", [n for n in sorted(SUPPORTED) if DRAFTS[n].delta_types])
def test_properties_may_be_dropped(number: int) -> None:
    """What subscribers see of them is a decision."""
    relay = FakeRelay(_Careless())
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1, KeyValues(), KeyValues({0x3C: 7})))

    assert subscriber.about(subscription)[0].track_properties == KeyValues()
