"""Who hears of whom: namespaces, subscriptions and offers on their way through the relay."""

from __future__ import annotations

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.layouts import defines, reply_names
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import (
    PublishDoneStatus,
    RequestErrorCode,
    SessionError,
)
from pytest_moqt.protocol.values import Filter, FilterType, KeyValues, Location
from pytest_moqt.relay import limits

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
SUBSCRIBE = m.Subscribe(NAMESPACE, TRACK)

WITH_NAMESPACE = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.Namespace)]
WITHOUT_NAMESPACE = [n for n in sorted(SUPPORTED) if not defines(DRAFTS[n], m.Namespace)]
WITH_RENDEZVOUS = [
    n for n in sorted(SUPPORTED) if parameter_layout(Parameter.RENDEZVOUS_TIMEOUT, DRAFTS[n]) is not None
]
ONCE = [n for n in sorted(SUPPORTED) if not DRAFTS[n].repeated_subscriptions]
REPEATED = [n for n in sorted(SUPPORTED) if DRAFTS[n].repeated_subscriptions]
WITH_TRACKS = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.SubscribeTracks)]
WITH_UPDATE_ANSWERS = [n for n in sorted(SUPPORTED) if reply_names(DRAFTS[n], m.RequestUpdate)]
# Draft 16 section 9.11, 17 section 9.3.5, 18 to 20 section 10.2.7, 22 section 9.5.
WITH_UPDATES_BY_KIND = sorted(set(SUPPORTED) - {14, 15})


def announce(client: Client, namespace: tuple[bytes, ...] = NAMESPACE) -> Asked:
    asked = client.request(m.PublishNamespace(namespace))
    assert [type(each) for each in client.about(asked)] == [m.RequestOk]
    return asked


def accept(client: Client, alias: int = 1, **fields: object) -> Asked:
    """Accept the SUBSCRIBE that the relay must have sent."""
    asked = client.expect(m.Subscribe)
    client.say(asked, m.SubscribeOk(alias, **fields))  # type: ignore[arg-type]
    return asked


def wants_tracks(client: Client, prefix: tuple[bytes, ...], forward: int = 1) -> Asked:
    """Ask to be offered tracks, in the draft's way."""
    parameters = KeyValues({Parameter.FORWARD: forward})
    if defines(client.draft, m.SubscribeTracks):
        return client.request(m.SubscribeTracks(prefix, parameters))
    if not defines(client.draft, m.Namespace):
        parameters = KeyValues()  # draft 14's message has no such parameter
    return client.request(m.SubscribeNamespace(prefix, parameters, subscribe_options=0))


# ---- subscriptions ---------------------------------------------------------------------------------


def test_what_nobody_publishes_does_not_exist(relay: FakeRelay, number: int) -> None:
    """'The relay MUST immediately return REQUEST_ERROR with error code DOES_NOT_EXIST'."""
    client = relay.client(number)

    answer = client.ask(SUBSCRIBE)

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST
    assert relay.router.tracks == {}


def test_a_subscription_is_routed_and_answered_by_its_publisher(relay: FakeRelay, number: int) -> None:
    """SUBSCRIBE reaches the publisher under the relay's id, SUBSCRIBE_OK the subscriber under its own."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)

    subscription = subscriber.request(SUBSCRIBE)
    unanswered = subscriber.about(subscription)
    routed = accept(publisher, alias=77)

    assert unanswered == []
    assert (routed.message.track_namespace, routed.message.track_name) == (NAMESPACE, TRACK)
    assert routed.id == 1
    (ok,) = subscriber.about(subscription)
    assert isinstance(ok, m.SubscribeOk)


def test_drafts_meet_at_the_relay(relay: FakeRelay) -> None:
    """Publisher and subscriber need not speak the same draft."""
    newest, oldest = max(SUPPORTED), min(SUPPORTED)
    publisher, subscriber = relay.client(newest), relay.client(oldest)
    announce(publisher)

    subscription = subscriber.request(SUBSCRIBE)
    accept(publisher, parameters=KeyValues({Parameter.LARGEST_OBJECT: Location(4, 2)}))

    (ok,) = subscriber.about(subscription)
    assert ok.parameters[Parameter.LARGEST_OBJECT] == Location(4, 2)


def test_a_refusal_of_the_publisher_reaches_the_subscriber(relay: FakeRelay, number: int) -> None:
    """Code and reason are the publisher's."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)

    subscription = subscriber.request(SUBSCRIBE)
    publisher.say(publisher.expect(m.Subscribe), m.RequestError(RequestErrorCode.UNAUTHORIZED, "no"))

    (error,) = subscriber.about(subscription)
    assert (error.code, error.reason) == (RequestErrorCode.UNAUTHORIZED, "no")
    assert relay.router.tracks == {}


def test_an_unregistered_code_is_passed_on_as_internal_error(relay: FakeRelay, number: int) -> None:
    """'unknown error code = INTERNAL_ERROR of that space'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)

    subscription = subscriber.request(SUBSCRIBE)
    publisher.say(publisher.expect(m.Subscribe), m.RequestError(0x3FFF, "?"))

    (error,) = subscriber.about(subscription)
    assert error.code == RequestErrorCode.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("announced", "reached"),
    [
        ((b"moq-test",), True),
        ((b"moq-test", b"interop"), True),
        ((b"moq-test", b"interop", b"more"), False),
        ((b"moq",), False),
        ((b"interop",), False),
    ],
)
def test_namespaces_match_field_by_field(
    relay: FakeRelay, number: int, announced: tuple[bytes, ...], reached: bool
) -> None:
    """A publisher of a prefix is asked, one of a longer or merely similar name is not."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher, announced)

    subscriber.request(SUBSCRIBE)

    assert (publisher.incoming(m.Subscribe) is not None) == reached


def test_all_matching_publishers_are_asked(relay: FakeRelay, number: int) -> None:
    """'Relays MUST send SUBSCRIBE messages to all matching publishers'; one that accepts is enough."""
    first, second, subscriber = relay.client(number), relay.client(number), relay.client(number)
    announce(first, NAMESPACE[:1])
    announce(second)

    subscription = subscriber.request(SUBSCRIBE)
    second.say(second.expect(m.Subscribe), m.RequestError(RequestErrorCode.DOES_NOT_EXIST))
    unanswered = subscriber.about(subscription)
    accept(first)

    assert unanswered == []
    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


def test_one_subscription_upstream_serves_several_subscribers(relay: FakeRelay, number: int) -> None:
    """'The published content received from the upstream subscription request is ... shared'."""
    publisher, early, late = relay.client(number), relay.client(number), relay.client(number)
    announce(publisher)
    first = early.request(SUBSCRIBE)
    accept(publisher)

    second = late.request(SUBSCRIBE)

    assert publisher.incoming(m.Subscribe) is None
    assert [type(each) for each in early.about(first) + late.about(second)] == [m.SubscribeOk] * 2


def test_a_client_may_subscribe_to_what_it_publishes(relay: FakeRelay, number: int) -> None:
    """'An endpoint MAY SUBSCRIBE to a Track it is publishing'; relays must bear it."""
    client = relay.client(number)
    announce(client)

    subscription = client.request(SUBSCRIBE)
    accept(client)

    assert [type(each) for each in client.about(subscription)] == [m.SubscribeOk]


@pytest.mark.parametrize("number", REPEATED)
def test_a_session_may_subscribe_to_a_track_twice(relay: FakeRelay, number: int) -> None:
    """From 19 each subscription stands for itself; here with an alias of its own."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    first = subscriber.request(SUBSCRIBE)
    routed = accept(publisher)

    second = subscriber.request(SUBSCRIBE)
    (one,), (two,) = subscriber.about(first), subscriber.about(second)
    subscriber.cancel(first)

    assert isinstance(one, m.SubscribeOk)
    assert isinstance(two, m.SubscribeOk)
    assert one.track_alias != two.track_alias
    assert not ended(publisher, routed)
    assert subscriber.closed is None


@pytest.mark.parametrize("number", [n for n in sorted(SUPPORTED) if n not in REPEATED])
def test_a_second_subscription_to_a_track_fails(relay: FakeRelay, number: int) -> None:
    """DUPLICATE_SUBSCRIPTION; drafts 14 and 15, which have no such code, end the session."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscriber.request(SUBSCRIBE)
    accept(publisher)

    second = subscriber.about(subscriber.request(SUBSCRIBE))

    if second:
        assert second[0].code == RequestErrorCode.DUPLICATE_SUBSCRIPTION
    else:
        assert subscriber.closed is not None
        assert subscriber.closed[0] == SessionError.PROTOCOL_VIOLATION


def test_a_publisher_that_does_not_answer_is_given_up(relay: FakeRelay, number: int) -> None:
    """The subscriber hears TIMEOUT instead of nothing."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)

    relay.clock.advance(limits.ANSWER_SECONDS)

    (error,) = subscriber.about(subscription)
    assert error.code == RequestErrorCode.TIMEOUT
    assert relay.router.tracks == {}


def test_a_publisher_that_disconnects_before_it_answers_is_given_up(relay: FakeRelay, number: int) -> None:
    """The subscriber is told at once."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)

    publisher.disconnect()

    (error,) = subscriber.about(subscription)
    assert error.code == RequestErrorCode.DOES_NOT_EXIST
    assert relay.router.announcements == []


def test_a_range_that_is_over_cannot_be_subscribed_to(relay: FakeRelay, number: int) -> None:
    """'specified Filter or range of Locations cannot be satisfied'; from 20 it is a valid filter."""
    publisher, early, late = relay.client(number), relay.client(number), relay.client(number)
    announce(publisher)
    early.request(SUBSCRIBE)
    accept(publisher, parameters=KeyValues({Parameter.LARGEST_OBJECT: Location(9, 0)}))

    wanted = Filter(FilterType.ABSOLUTE_RANGE, Location(2, 0), end_group=3)
    answer = late.ask(m.Subscribe(NAMESPACE, TRACK, KeyValues({Parameter.SUBSCRIPTION_FILTER: wanted})))

    if DRAFTS[number].past_filters_refused:
        assert answer.code == RequestErrorCode.INVALID_RANGE
    else:
        assert isinstance(answer, m.SubscribeOk)


# ---- the end of subscriptions ------------------------------------------------------------------------


def test_the_last_subscriber_ends_the_subscription_upstream(relay: FakeRelay, number: int) -> None:
    """Nobody wants the track any more: the publisher hears that, once, and not before."""
    publisher, one, other = relay.client(number), relay.client(number), relay.client(number)
    announce(publisher)
    first = one.request(SUBSCRIBE)
    routed = accept(publisher)
    second = other.request(SUBSCRIBE)

    one.cancel(first)
    before = ended(publisher, routed)
    other.cancel(second)

    assert not before
    assert ended(publisher, routed)
    assert relay.router.tracks == {}


def ended(publisher: Client, routed: Asked) -> bool:
    """Whether the relay has ended its own SUBSCRIBE."""
    if routed.stream_id is not None:
        return routed.stream_id in publisher.resets and routed.stream_id in publisher.stops
    return any(isinstance(each, m.Unsubscribe) for each in publisher.about(routed))


def test_a_subscriber_that_disconnects_has_unsubscribed(relay: FakeRelay, number: int) -> None:
    """The end of a session ends its subscriptions."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscriber.request(SUBSCRIBE)
    routed = accept(publisher)

    subscriber.disconnect()

    assert ended(publisher, routed)


def test_a_subscription_cancelled_before_its_answer_is_forgotten(relay: FakeRelay, number: int) -> None:
    """The publisher's late answer harms nobody."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    routed = publisher.expect(m.Subscribe)

    subscriber.cancel(subscription)
    publisher.say(routed, m.SubscribeOk(1))

    assert subscriber.about(subscription) == []
    assert publisher.closed is None
    assert announce(publisher, (b"still", b"healthy"))


def test_publish_done_reaches_subscribers(relay: FakeRelay, number: int) -> None:
    """Status and reason are the publisher's, and the subscription is over."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    routed = accept(publisher)

    publisher.say(routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0, "the end"))

    done = subscriber.about(subscription)[-1]
    assert (done.status, done.stream_count, done.reason) == (PublishDoneStatus.TRACK_ENDED, 0, "the end")
    assert relay.router.tracks == {}
    assert subscription.stream_id is None or subscription.stream_id in subscriber.fins


def test_a_publisher_that_disconnects_ends_its_tracks(relay: FakeRelay, number: int) -> None:
    """Subscribers get PUBLISH_DONE when there will be no more objects."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    accept(publisher)

    publisher.disconnect()

    done = subscriber.about(subscription)[-1]
    assert isinstance(done, m.PublishDone)
    assert done.status == PublishDoneStatus.INTERNAL_ERROR
    assert relay.router.tracks == {}


def test_another_publisher_keeps_a_track_alive(relay: FakeRelay, number: int) -> None:
    """'Relays MUST handle Objects for the same Track from multiple publishers'."""
    first, second, subscriber = relay.client(number), relay.client(number), relay.client(number)
    announce(first)
    announce(second)
    subscription = subscriber.request(SUBSCRIBE)
    accept(first)
    accept(second)

    first.disconnect()

    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


# ---- rendezvous ------------------------------------------------------------------------------------


def patient(milliseconds: int) -> m.Subscribe:
    return m.Subscribe(NAMESPACE, TRACK, KeyValues({Parameter.RENDEZVOUS_TIMEOUT: milliseconds}))


@pytest.mark.parametrize("number", WITH_RENDEZVOUS)
def test_a_rendezvous_ends_with_timeout(relay: FakeRelay, number: int) -> None:
    """'If the timeout expires without a publisher, the relay SHOULD respond with ... TIMEOUT'."""
    subscriber = relay.client(number)
    subscription = subscriber.request(patient(500))

    relay.clock.advance(0.49)
    before = subscriber.about(subscription)
    relay.clock.advance(0.02)

    assert before == []
    (error,) = subscriber.about(subscription)
    assert error.code == RequestErrorCode.TIMEOUT
    assert relay.router.tracks == {}


@pytest.mark.parametrize("number", WITH_RENDEZVOUS)
def test_a_publisher_that_comes_in_time_gets_the_subscription(relay: FakeRelay, number: int) -> None:
    """'If a publisher becomes available within this time, the relay proceeds ... normally'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    subscription = subscriber.request(patient(500))
    relay.clock.advance(0.4)

    announce(publisher)
    relay.clock.advance(0.4)
    accept(publisher)

    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


@pytest.mark.parametrize("number", WITH_RENDEZVOUS)
def test_a_track_offered_in_time_gets_the_subscription(relay: FakeRelay, number: int) -> None:
    """'it MUST proceed with the SUBSCRIBE and MUST NOT also forward the PUBLISH to that subscriber'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, NAMESPACE[:1])
    subscription = subscriber.request(patient(500))

    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]
    assert subscriber.incoming(m.Publish) is None


@pytest.mark.parametrize("number", WITH_RENDEZVOUS)
def test_no_time_means_no_rendezvous(relay: FakeRelay, number: int) -> None:
    """'A value of 0 indicates the subscriber does not want to wait'."""
    answer = relay.client(number).ask(patient(0))

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST


@pytest.mark.parametrize("number", WITH_RENDEZVOUS)
def test_a_rendezvous_is_not_held_longer_than_the_relay_likes(relay: FakeRelay, number: int) -> None:
    """'The relay MAY use a shorter timeout than requested'."""
    subscriber = relay.client(number)
    subscription = subscriber.request(patient(10**12))

    relay.clock.advance(limits.RENDEZVOUS_SECONDS)

    assert subscriber.about(subscription)[0].code == RequestErrorCode.TIMEOUT


# ---- withdrawal ------------------------------------------------------------------------------------


def test_a_withdrawn_namespace_gets_no_more_subscriptions(relay: FakeRelay, number: int) -> None:
    """And the session of its publisher goes on."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announced = announce(publisher)

    publisher.cancel(announced)
    answer = subscriber.ask(SUBSCRIBE)

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST
    assert publisher.incoming(m.Subscribe) is None
    assert announce(publisher)


def test_a_withdrawal_leaves_subscriptions_alone(relay: FakeRelay, number: int) -> None:
    """It concerns new subscriptions only."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announced = announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    accept(publisher)

    publisher.cancel(announced)

    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_a_finished_stream_withdraws_a_namespace(relay: FakeRelay, number: int) -> None:
    """PUBLISH_NAMESPACE stands as long as its stream does; from 19 a FIN says only that no more is said."""
    publisher = relay.client(number)
    announced = announce(publisher)
    assert announced.stream_id is not None

    publisher.deliver(announced.stream_id, b"", fin=True)

    withdrawn = DRAFTS[number].fin_ends_namespace_subscription
    assert (relay.router.announcements == []) == withdrawn
    assert (announced.stream_id in publisher.fins) == withdrawn


# ---- hearing of namespaces ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", WITH_NAMESPACE)
def test_namespaces_are_told_as_they_come_and_go(relay: FakeRelay, number: int) -> None:
    """NAMESPACE and NAMESPACE_DONE, with what comes behind the prefix."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announced = announce(publisher)
    interest = subscriber.request(m.SubscribeNamespace(NAMESPACE[:1], subscribe_options=1))
    other = announce(publisher, (b"moq-test", b"other", b"deep"))

    publisher.cancel(announced)
    publisher.cancel(other)

    assert subscriber.about(interest)[1:] == [
        m.Namespace((b"interop",)),
        m.Namespace((b"other", b"deep")),
        m.NamespaceDone((b"interop",)),
        m.NamespaceDone((b"other", b"deep")),
    ]


@pytest.mark.parametrize("number", WITH_NAMESPACE)
def test_a_namespace_of_two_publishers_is_told_once(relay: FakeRelay, number: int) -> None:
    """It is done when both are."""
    first, second, subscriber = relay.client(number), relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeNamespace(NAMESPACE))
    announced = announce(first)
    announce(second)

    first.cancel(announced)
    before = subscriber.about(interest)[1:]
    second.disconnect()

    assert before == [m.Namespace(())]
    assert subscriber.about(interest)[1:] == [m.Namespace(()), m.NamespaceDone(())]


@pytest.mark.parametrize("number", WITH_NAMESPACE)
def test_who_has_ended_its_interest_hears_no_more(relay: FakeRelay, number: int) -> None:
    """SUBSCRIBE_NAMESPACE is cancelled by ending its stream; from 19 by resetting it only."""
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeNamespace(NAMESPACE))
    assert interest.stream_id is not None

    subscriber.deliver(interest.stream_id, b"", fin=True)
    if not DRAFTS[number].fin_ends_namespace_subscription:
        assert len(relay.router.interests) == 1
        subscriber.cancel(interest)
    announce(publisher)

    assert len(subscriber.about(interest)) == 1
    assert relay.router.interests == []


@pytest.mark.parametrize("number", WITHOUT_NAMESPACE)
def test_publish_namespace_is_passed_on_in_draft_14(relay: FakeRelay, number: int) -> None:
    """Subscribers to namespaces get PUBLISH_NAMESPACE and PUBLISH_NAMESPACE_DONE themselves."""
    publisher, subscriber = relay.client(number), relay.client(number)
    subscriber.request(m.SubscribeNamespace(NAMESPACE[:1]))

    announced = announce(publisher)
    passed_on = subscriber.expect(m.PublishNamespace)
    subscriber.say(passed_on, m.RequestOk())
    publisher.cancel(announced)

    assert passed_on.message.track_namespace == NAMESPACE
    assert subscriber.messages[-1] == (None, m.PublishNamespaceDone(NAMESPACE))


@pytest.mark.parametrize("number", WITHOUT_NAMESPACE)
def test_unsubscribe_namespace_ends_it_in_draft_14(relay: FakeRelay, number: int) -> None:
    """UNSUBSCRIBE_NAMESPACE names the prefix."""
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeNamespace(NAMESPACE[:1]))

    subscriber.cancel(interest)
    announce(publisher)

    assert subscriber.incoming(m.PublishNamespace) is None


@pytest.mark.parametrize("number", WITHOUT_NAMESPACE)
def test_a_revoked_namespace_is_not_spoken_of_again(relay: FakeRelay, number: int) -> None:
    """PUBLISH_NAMESPACE_CANCEL ends what was passed on; its withdrawal is then no news."""
    publisher, subscriber = relay.client(number), relay.client(number)
    subscriber.request(m.SubscribeNamespace(NAMESPACE[:1]))
    announced = announce(publisher)
    passed_on = subscriber.expect(m.PublishNamespace)
    subscriber.say(passed_on, m.RequestOk())

    cancel = m.PublishNamespaceCancel(RequestErrorCode.UNINTERESTED, "", NAMESPACE)
    subscriber.send_control(cancel)
    said = len(subscriber.messages)
    publisher.cancel(announced)

    assert subscriber.closed is None
    assert len(subscriber.messages) == said


@pytest.mark.parametrize("second", [NAMESPACE, NAMESPACE[:1], (*NAMESPACE, b"more")])
def test_overlapping_prefixes_are_refused(relay: FakeRelay, number: int, second: tuple[bytes, ...]) -> None:
    """'it MUST respond with REQUEST_ERROR with error code PREFIX_OVERLAP'."""
    client = relay.client(number)
    client.request(m.SubscribeNamespace(NAMESPACE))

    answer = client.ask(m.SubscribeNamespace(second))

    assert answer.code == RequestErrorCode.PREFIX_OVERLAP


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_namespaces_and_tracks_overlap_apart(relay: FakeRelay, number: int) -> None:
    """'SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS have independent overlap spaces'."""
    client = relay.client(number)
    client.request(m.SubscribeNamespace(NAMESPACE))

    assert client.ask(m.SubscribeTracks(NAMESPACE)) == m.RequestOk()


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_the_prefix_of_an_interest_can_be_changed(relay: FakeRelay, number: int) -> None:
    """Suffixes after the update are relative to the new prefix."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    interest = subscriber.request(m.SubscribeNamespace((b"elsewhere",)))

    subscriber.update(interest, {Parameter.TRACK_NAMESPACE_PREFIX: NAMESPACE[:1]})

    assert subscriber.about(interest)[1:] == [m.RequestOk(), m.Namespace((b"interop",))]


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_a_prefix_cannot_be_changed_into_an_overlapping_one(relay: FakeRelay, number: int) -> None:
    """'the receiver MUST respond with REQUEST_ERROR with error code PREFIX_OVERLAP', and close."""
    subscriber = relay.client(number)
    subscriber.request(m.SubscribeNamespace(NAMESPACE))
    interest = subscriber.request(m.SubscribeNamespace((b"elsewhere",)))

    (answer,) = subscriber.update(interest, {Parameter.TRACK_NAMESPACE_PREFIX: NAMESPACE[:1]})

    assert answer.code == RequestErrorCode.PREFIX_OVERLAP
    assert interest.stream_id in subscriber.fins
    assert len(relay.router.interests) == 1


# ---- PUBLISH ---------------------------------------------------------------------------------------


def _answer_says_forward(number: int) -> bool:
    """Whether PUBLISH_OK may carry FORWARD; from 20 it follows in a REQUEST_UPDATE."""
    row = parameter_layout(Parameter.FORWARD, DRAFTS[number])
    return row is None or "PUBLISH_OK" in row.scope


def test_an_offer_without_subscribers_is_accepted_without_objects(relay: FakeRelay, number: int) -> None:
    """'The relay MAY respond with PUBLISH_OK in Forward State=0 until there are known subscribers'."""
    publisher = relay.client(number)

    offered = publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    answer, *later = publisher.about(offered)
    assert isinstance(answer, m.RequestOk)
    says = answer if _answer_says_forward(number) else later[0]
    assert says.parameters[Parameter.FORWARD] == 0


def test_a_subscriber_turns_objects_on_and_off(relay: FakeRelay, number: int) -> None:
    """'the Relay MUST send REQUEST_UPDATE with Forward=1'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    offered = publisher.request(m.Publish(NAMESPACE, TRACK, 1))
    if not _answer_says_forward(number):
        assert publisher.expect(m.RequestUpdate).message.parameters[Parameter.FORWARD] == 0

    subscription = subscriber.request(SUBSCRIBE)
    on = publisher.expect(m.RequestUpdate)
    subscriber.cancel(subscription)
    off = publisher.expect(m.RequestUpdate)

    assert on.message.parameters[Parameter.FORWARD] == 1
    assert off.message.parameters[Parameter.FORWARD] == 0
    if publisher.draft.replies_carry_request_id:
        assert on.message.existing_request_id == offered.id


def test_an_offered_track_is_subscribed_to_at_once(relay: FakeRelay, number: int) -> None:
    """'When a Relay receives an authorized SUBSCRIBE for a Track with ... upstream ... SUBSCRIBE_OK'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    answer = subscriber.ask(SUBSCRIBE)

    assert isinstance(answer, m.SubscribeOk)
    assert publisher.incoming(m.Subscribe) is None


@pytest.mark.parametrize("first", ["offer", "interest"])
def test_offers_reach_who_wants_tracks(relay: FakeRelay, number: int, first: str) -> None:
    """'it MUST send a PUBLISH request to each subscriber' of tracks, whoever came first."""
    publisher, subscriber = relay.client(number), relay.client(number)
    if first == "interest":
        wants_tracks(subscriber, NAMESPACE[:1])
    offered = publisher.request(m.Publish(NAMESPACE, TRACK, 1))
    if first == "offer":
        wants_tracks(subscriber, NAMESPACE[:1])

    passed_on = subscriber.expect(m.Publish)
    subscriber.say(passed_on, m.RequestOk())

    assert (passed_on.message.track_namespace, passed_on.message.track_name) == (NAMESPACE, TRACK)
    forward = publisher.about(offered)[0].parameters.get(Parameter.FORWARD, 1)
    while update := publisher.incoming(m.RequestUpdate):
        forward = update.message.parameters[Parameter.FORWARD]
    assert forward == 1
    assert subscriber.closed is None


def test_an_offer_does_not_return_to_its_publisher(relay: FakeRelay, number: int) -> None:
    """'excluding tracks published by the subscriber'."""
    client = relay.client(number)
    wants_tracks(client, NAMESPACE[:1])

    client.request(m.Publish(NAMESPACE, TRACK, 1))

    assert client.incoming(m.Publish) is None


def test_a_refused_offer_is_no_subscription(relay: FakeRelay, number: int) -> None:
    """The subscriber's UNINTERESTED is its own business."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, NAMESPACE[:1])
    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    subscriber.say(subscriber.expect(m.Publish), m.RequestError(RequestErrorCode.UNINTERESTED))

    (track,) = relay.router.tracks.values()
    assert track.downstreams == []
    assert publisher.closed is None


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_an_offer_that_finds_no_stream_is_said_to_be_blocked(relay: FakeRelay, number: int) -> None:
    """PUBLISH_BLOCKED names the track, 'because there are no available bidirectional streams'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = wants_tracks(subscriber, NAMESPACE[:1])
    subscriber.transport.credit = 0

    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    assert subscriber.about(interest)[1:] == [m.PublishBlocked(NAMESPACE[1:], TRACK)]


@pytest.mark.parametrize("number", ONCE)
def test_a_second_offer_of_a_track_fails(relay: FakeRelay, number: int) -> None:
    """One subscription of a track in each role."""
    publisher = relay.client(number)
    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    second = publisher.about(publisher.request(m.Publish(NAMESPACE, TRACK, 2)))

    if second:
        assert second[0].code == RequestErrorCode.DUPLICATE_SUBSCRIPTION
    else:
        assert publisher.closed is not None


@pytest.mark.parametrize("alias", [1, 2])
@pytest.mark.parametrize("number", REPEATED)
def test_a_track_may_be_offered_twice_from_19_on(relay: FakeRelay, number: int, alias: int) -> None:
    """'for a Track that has Established downstream subscriptions, it MUST respond with PUBLISH_OK'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    first = publisher.request(m.Publish(NAMESPACE, TRACK, 1))
    subscription = subscriber.request(SUBSCRIBE)
    second = publisher.request(m.Publish(NAMESPACE, TRACK, alias))

    publisher.say(first, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0))
    publisher.open_subgroup(SubgroupHeader(alias, group_id=0)).send(StreamObject(0, b"still"), fin=True)
    before = subscriber.about(subscription)
    publisher.say(second, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 1))

    assert [type(each) for each in publisher.about(second)[:1]] == [m.RequestOk]
    assert [stream.payloads for stream in subscriber.streams] == [[b"still"]]
    assert [type(each) for each in before] == [m.SubscribeOk]
    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk, m.PublishDone]
    assert relay.router.tracks == {}


def test_an_alias_of_another_track_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'it MUST close the session with error DUPLICATE_TRACK_ALIAS'."""
    publisher = relay.client(number)
    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    publisher.request(m.Publish(NAMESPACE, b"other", 1))

    assert publisher.closed is not None
    assert publisher.closed[0] == SessionError.DUPLICATE_TRACK_ALIAS
    assert relay.router.tracks == {}


def test_an_offer_takes_the_place_of_a_pending_subscription(relay: FakeRelay, number: int) -> None:
    """'it MUST ensure the subscription it initiated transitions to the Terminated state'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    routed = publisher.expect(m.Subscribe)

    publisher.request(m.Publish(NAMESPACE, TRACK, 1))

    assert ended(publisher, routed)
    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


# ---- updates, status, fetch --------------------------------------------------------------------------


@pytest.mark.parametrize("number", WITH_UPDATE_ANSWERS)
def test_updates_are_answered(relay: FakeRelay, number: int) -> None:
    """'exactly one REQUEST_OK or REQUEST_ERROR'; it tells the largest object."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announced = announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    accept(publisher, parameters=KeyValues({Parameter.LARGEST_OBJECT: Location(1, 2)}))

    (updated,) = subscriber.update(subscription, {Parameter.SUBSCRIBER_PRIORITY: 7})
    (kept,) = publisher.update(announced, {})

    assert updated.parameters[Parameter.LARGEST_OBJECT] == Location(1, 2)
    assert isinstance(kept, m.RequestOk)


@pytest.mark.parametrize("number", WITH_UPDATES_BY_KIND)
def test_an_update_has_what_its_request_may_have(relay: FakeRelay, number: int) -> None:
    """'REQUEST_UPDATE (for a subscription or FETCH)' says of what else it is a violation."""
    publisher, subscriber, other = relay.client(number), relay.client(number), relay.client(number)
    priority = {Parameter.SUBSCRIBER_PRIORITY: 7}
    announced = announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    accept(publisher)
    wanted = other.request(m.SubscribeNamespace(NAMESPACE, subscribe_options=1))

    subscriber.update(subscription, priority)
    publisher.update(announced, priority)
    other.update(wanted, priority)

    assert subscriber.closed is None
    assert publisher.closed == (
        SessionError.PROTOCOL_VIOLATION,
        "parameter SUBSCRIBER_PRIORITY (0x20) may not be in an update of PUBLISH_NAMESPACE",
    )
    assert other.closed == (
        SessionError.PROTOCOL_VIOLATION,
        "parameter SUBSCRIBER_PRIORITY (0x20) may not be in an update of SUBSCRIBE_NAMESPACE",
    )


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_an_update_of_what_the_relay_publishes_is_that_of_a_subscription(
    relay: FakeRelay, number: int
) -> None:
    """The subscriber of a PUBLISH may change the subscription, but asks for no other tracks with it."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, NAMESPACE)
    publisher.request(m.Publish(NAMESPACE, TRACK, 1))
    offered = subscriber.expect(m.Publish)
    subscriber.say(offered, m.RequestOk())

    (kept,) = subscriber.update(offered, {Parameter.SUBSCRIBER_PRIORITY: 7})
    assert isinstance(kept, m.RequestOk)
    subscriber.update(offered, {Parameter.TRACK_NAMESPACE_PREFIX: NAMESPACE})

    assert subscriber.closed == (
        SessionError.PROTOCOL_VIOLATION,
        "parameter TRACK_NAMESPACE_PREFIX (0x34) may not be in an update of PUBLISH by its subscriber",
    )


def test_the_forward_state_is_passed_upstream(relay: FakeRelay, number: int) -> None:
    """When nobody wants objects any more the publisher need not send them."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    subscription = subscriber.request(SUBSCRIBE)
    accept(publisher)

    subscriber.update(subscription, {Parameter.FORWARD: 0})

    update = publisher.expect(m.RequestUpdate)
    assert update.message.parameters[Parameter.FORWARD] == 0
    assert publisher.closed is None


@pytest.mark.parametrize("number", sorted(set(SUPPORTED) - set(WITH_UPDATE_ANSWERS)))
def test_draft_14_does_not_let_subscriptions_widen(relay: FakeRelay, number: int) -> None:
    """'The Start Location MUST NOT decrease and the End Group MUST NOT increase'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    start = Filter(FilterType.ABSOLUTE_START, Location(5, 0))
    wanted = KeyValues({Parameter.SUBSCRIPTION_FILTER: start})
    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK, wanted))
    accept(publisher)

    wider = Filter(FilterType.ABSOLUTE_START, Location(4, 0))
    subscriber.update(subscription, {Parameter.SUBSCRIPTION_FILTER: wider})

    assert subscriber.closed is not None
    assert subscriber.closed[0] == SessionError.PROTOCOL_VIOLATION


def test_the_status_of_a_track_is_told_if_it_is_known(relay: FakeRelay, number: int) -> None:
    """TRACK_STATUS tells the largest object of a track the relay is subscribed to."""
    publisher, subscriber = relay.client(number), relay.client(number)
    largest = KeyValues({Parameter.LARGEST_OBJECT: Location(3, 1)})
    publisher.request(m.Publish(NAMESPACE, TRACK, 1, largest))

    asked = subscriber.request(m.TrackStatus(NAMESPACE, TRACK))
    unknown = subscriber.ask(m.TrackStatus(NAMESPACE, b"other"))

    (known,) = subscriber.about(asked)
    assert known.parameters[Parameter.LARGEST_OBJECT] == Location(3, 1)
    assert asked.stream_id is None or asked.stream_id in subscriber.fins
    assert unknown.code == RequestErrorCode.DOES_NOT_EXIST


def test_the_status_of_other_tracks_is_asked_for(relay: FakeRelay, number: int) -> None:
    """'Relays without an Established subscription MAY forward TRACK_STATUS to one or more publishers'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    asked = subscriber.request(m.TrackStatus(NAMESPACE, TRACK))
    before = subscriber.about(asked)

    routed = publisher.expect(m.TrackStatus)
    publisher.say(routed, m.RequestOk(KeyValues({Parameter.LARGEST_OBJECT: Location(3, 1)})))

    assert before == []
    (answer,) = subscriber.about(asked)
    assert answer.parameters[Parameter.LARGEST_OBJECT] == Location(3, 1)
    assert asked.stream_id is None or asked.stream_id in subscriber.fins
    assert relay.router.tracks == {}


def test_the_status_that_no_publisher_knows_is_an_error(relay: FakeRelay, number: int) -> None:
    """All are asked, one after the other; the last refusal is passed on."""
    publishers, subscriber = [relay.client(number) for _ in range(2)], relay.client(number)
    for publisher in publishers:
        announce(publisher)
    asked = subscriber.request(m.TrackStatus(NAMESPACE, TRACK))

    for publisher in publishers:
        refusal = m.RequestError(RequestErrorCode.UNAUTHORIZED, "no")
        publisher.say(publisher.expect(m.TrackStatus), refusal)

    (answer,) = subscriber.about(asked)
    assert answer.code == RequestErrorCode.UNAUTHORIZED


def test_the_status_of_a_silent_publisher_is_not_waited_for_forever(relay: FakeRelay, number: int) -> None:
    """TIMEOUT, as for SUBSCRIBE."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher)
    asked = subscriber.request(m.TrackStatus(NAMESPACE, TRACK))

    relay.clock.advance(limits.ANSWER_SECONDS)

    (answer,) = subscriber.about(asked)
    assert answer.code == RequestErrorCode.TIMEOUT
    assert relay.router.tracks == {}


def test_asking_for_a_status_is_no_subscription(relay: FakeRelay, number: int) -> None:
    """'it does not create downstream subscription state or send any Objects'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.Publish(NAMESPACE, TRACK, 1))
    subscriber.request(m.TrackStatus(NAMESPACE, TRACK))
    publisher.open_subgroup(SubgroupHeader(1, 0)).send(StreamObject(0, b"x"), fin=True)

    answer = subscriber.ask(SUBSCRIBE)

    assert isinstance(answer, m.SubscribeOk)
    assert subscriber.streams == []


@pytest.mark.parametrize("namespace", [(b".",), (b".", b"x"), (b".session",), (b".session", b"x")])
@pytest.mark.parametrize("number", WITH_TRACKS)
def test_reserved_namespaces_do_not_exist(
    relay: FakeRelay, number: int, namespace: tuple[bytes, ...]
) -> None:
    """'endpoints ... MUST reject requests referencing it with DOES_NOT_EXIST', whatever the request is."""
    publisher, client = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(()))

    answers = [
        client.ask(request)
        for request in (
            m.PublishNamespace(namespace),
            m.Subscribe(namespace, TRACK),
            m.Subscribe(namespace, b""),
            m.Publish(namespace, TRACK, 1),
            m.TrackStatus(namespace, TRACK),
            m.Fetch(m.StandaloneFetch(namespace, TRACK, Location(0, 0), Location(1, 0))),
            m.SubscribeNamespace(namespace),
            m.SubscribeTracks(namespace),
        )
    ]

    assert [answer.code for answer in answers] == [RequestErrorCode.DOES_NOT_EXIST] * 8
    assert publisher.incoming(m.Subscribe) is None


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_other_namespaces_with_a_period_are_anybodys(relay: FakeRelay, number: int) -> None:
    """A request for an unrecognized one is passed 'to the Application', which is a client here."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher, (b".other",))

    subscriber.request(m.Subscribe((b".other", b"x"), TRACK))

    assert publisher.expect(m.Subscribe).message.track_namespace == (b".other", b"x")


@pytest.mark.parametrize("number", WITH_TRACKS)
def test_a_prefix_cannot_be_changed_into_a_reserved_one(relay: FakeRelay, number: int) -> None:
    """The update refers to it as much as a request would."""
    client = relay.client(number)
    interest = client.request(m.SubscribeNamespace(NAMESPACE))

    (answer,) = client.update(interest, {Parameter.TRACK_NAMESPACE_PREFIX: (b".",)})

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST
    assert interest.stream_id in client.fins
