"""What subscribers get of a track: filters and their changes, the forward state, delivery timeouts."""

from __future__ import annotations

from typing import Any

import pytest
from relay_clients import Asked, Client, FakeRelay, Incoming

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.layouts import reply_names
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.registries import STREAM_ERRORS, RequestErrorCode, SessionError, StreamError
from pytest_moqt.protocol.values import Filter, FilterType, KeyValues, Location, RangeFilter
from pytest_moqt.relay import limits

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77

ANSWERING = [number for number in SUPPORTED if reply_names(DRAFTS[number], m.RequestUpdate)]
REFUSING = [number for number in SUPPORTED if DRAFTS[number].past_filters_refused]
BACKWARDS = [number for number in REFUSING if DRAFTS[number].request_id_credit]
"Where the end group of a filter is written as it is, not as a difference."
FULL = [number for number in SUPPORTED if parameter_layout(Parameter.FILL_PARAMETERS, DRAFTS[number])]
NARROWING = [number for number in SUPPORTED if DRAFTS[number].updates_only_narrow]
FILTERING = [number for number in SUPPORTED if parameter_layout(Parameter.OBJECTID_FILTER, DRAFTS[number])]
BY_SUBGROUP = [
    number for number in SUPPORTED if parameter_layout(Parameter.SUBGROUP_DELIVERY_TIMEOUT, DRAFTS[number])
]


class Subscribed:
    """A publisher and one subscriber, whose SUBSCRIBE the publisher has accepted."""

    def __init__(
        self,
        relay: FakeRelay,
        number: int,
        properties: dict[int, Any] | None = None,
        **parameters: object,
    ) -> None:
        self.publisher, self.subscriber = relay.client(number), relay.client(number)
        self.publisher.request(m.PublishNamespace(NAMESPACE))
        self.asked = self.ask(self.subscriber, **parameters)
        self.routed = self.publisher.expect(m.Subscribe)
        ok = m.SubscribeOk(ALIAS, track_properties=KeyValues(properties or {}))
        self.publisher.say(self.routed, ok)

    @staticmethod
    def ask(client: Client, **parameters: object) -> Asked:
        pairs = [(Parameter[name], value) for name, value in parameters.items()]
        return client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(pairs)))

    def publish(self, group: int, *numbers: int, fin: bool = True, **fields: Any) -> Any:
        items = [StreamObject(number, b"object %d" % number) for number in numbers]
        return self.publisher.open_subgroup(SubgroupHeader(ALIAS, group, **fields)).send(*items, fin=fin)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Of what arrived."""
        return [
            (stream.header.group_id, item.object_id)
            for stream in self.subscriber.streams
            for item in stream.objects
        ]

    @property
    def stream(self) -> Incoming:
        (stream,) = self.subscriber.streams
        return stream


# ---- filters -----------------------------------------------------------------------------------------


def test_a_narrower_start_holds_at_once(relay: FakeRelay, number: int) -> None:
    """Streams of which the rest is left out are reset ("the Start Location to a larger Location")."""
    line = Subscribed(relay, number, SUBSCRIPTION_FILTER=Filter(FilterType.ABSOLUTE_START, Location(0, 1)))
    sending = line.publish(0, 1, fin=False)

    later = Filter(FilterType.ABSOLUTE_START, Location(2, 1))
    line.subscriber.update(line.asked, {Parameter.SUBSCRIPTION_FILTER: later})
    sending.send(StreamObject(2, b"too early"), fin=True)
    line.publish(1, 0)
    line.publish(2, 0, 1, 2)

    assert line.places == [(0, 1), (2, 1), (2, 2)]
    assert line.subscriber.streams[0].stream_id in line.subscriber.resets
    assert line.subscriber.streams[1].fin


def test_a_narrower_end_holds_at_once(relay: FakeRelay, number: int) -> None:
    """An open range may get an end."""
    line = Subscribed(relay, number, SUBSCRIPTION_FILTER=Filter(FilterType.ABSOLUTE_START, Location(0, 1)))

    shorter = Filter(FilterType.ABSOLUTE_RANGE, Location(0, 1), end_group=1)
    line.subscriber.update(line.asked, {Parameter.SUBSCRIPTION_FILTER: shorter})
    for group in range(3):
        line.publish(group, 1)

    assert line.places == [(0, 1), (1, 1)]
    assert line.subscriber.closed is None


@pytest.mark.parametrize("number", NARROWING)
def test_an_earlier_start_ends_the_session(relay: FakeRelay, number: int) -> None:
    """'the Start Location MUST not decrease' (15), 'MUST NOT' (14)."""
    line = Subscribed(relay, number, SUBSCRIPTION_FILTER=Filter(FilterType.ABSOLUTE_START, Location(3, 0)))

    line.subscriber.update(
        line.asked, {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, Location(2, 0))}
    )

    assert line.subscriber.closed == (
        SessionError.PROTOCOL_VIOLATION,
        "SUBSCRIBE_UPDATE widens the subscription",
    )


@pytest.mark.parametrize("number", ANSWERING)
def test_a_later_end_is_taken(relay: FakeRelay, number: int) -> None:
    """15 speaks of updates that increase the End Location, and no later draft forbids them."""
    line = Subscribed(
        relay, number, SUBSCRIPTION_FILTER=Filter(FilterType.ABSOLUTE_RANGE, Location(0, 1), end_group=0)
    )

    longer = Filter(FilterType.ABSOLUTE_RANGE, Location(0, 1), end_group=1)
    line.subscriber.update(line.asked, {Parameter.SUBSCRIPTION_FILTER: longer})
    line.publish(1, 0)

    assert line.places == [(1, 0)]
    assert line.subscriber.closed is None


@pytest.mark.parametrize("number", FILTERING)
def test_range_filters_are_refused(relay: FakeRelay, number: int) -> None:
    """MAX_FILTER_RANGES is 0 here: "an endpoint MUST reject this with ... INVALID_FILTER"."""
    subscriber = relay.client(number)
    wanted = KeyValues(((Parameter.OBJECTID_FILTER, RangeFilter(0, ((1, 2),))),))

    answer = subscriber.ask(m.Subscribe(NAMESPACE, TRACK, wanted))

    assert isinstance(answer, m.RequestError)
    assert answer.code == RequestErrorCode.INVALID_FILTER


@pytest.mark.parametrize("number", [number for number in ANSWERING if number not in NARROWING])
def test_a_wider_filter_is_taken(relay: FakeRelay, number: int) -> None:
    """From 16 on updates may let a subscription start earlier; objects that are past do not come again."""
    narrow = Filter(FilterType.ABSOLUTE_RANGE, Location(3, 0), end_group=3)
    line = Subscribed(relay, number, SUBSCRIPTION_FILTER=narrow)
    line.publish(0, 0)

    wide = Filter(FilterType.ABSOLUTE_START, Location(0, 1))
    (answer,) = line.subscriber.update(line.asked, {Parameter.SUBSCRIPTION_FILTER: wide})
    line.publish(1, 0)
    line.publish(4, 0)

    assert isinstance(answer, m.RequestOk)
    assert line.places == [(1, 0), (4, 0)]


@pytest.mark.parametrize("number", FULL)
def test_both_ends_of_a_full_range_are_kept_to(relay: FakeRelay, number: int) -> None:
    """From an object of one group to an object of another, both included; what is cut off is no FIN."""
    wanted = Filter(FilterType.FULL_RANGE, Location(1, 1), end_group=2, end_object=0)
    line = Subscribed(relay, number, SUBSCRIPTION_FILTER=wanted)

    for group in range(4):
        line.publish(group, 0, 1, 2)

    assert line.places == [(1, 1), (1, 2), (2, 0)]
    assert [stream.fin for stream in line.subscriber.streams] == [True, False]
    assert line.subscriber.streams[1].stream_id in line.subscriber.resets


def test_a_subscription_outlives_its_range(relay: FakeRelay, number: int) -> None:
    """20: 'A publisher does not end a subscription solely because'; before, it need not."""
    wanted = Filter(FilterType.ABSOLUTE_RANGE, Location(0, 0), end_group=0)
    line = Subscribed(relay, number, SUBSCRIPTION_FILTER=wanted)

    line.publish(0, 0, end_of_group=True)
    line.publish(1, 0)

    (ok,) = line.subscriber.about(line.asked)
    assert isinstance(ok, m.SubscribeOk)
    assert line.places == [(0, 0)]


@pytest.mark.parametrize("number", REFUSING)
@pytest.mark.parametrize(("end", "ended", "refused"), [(1, False, True), (2, False, False), (2, True, True)])
def test_a_range_that_was_published_is_invalid(
    relay: FakeRelay, number: int, end: int, ended: bool, refused: bool
) -> None:
    """'if the entire End Group has already been published it SHOULD send ... INVALID_RANGE'."""
    line = Subscribed(relay, number)
    line.publish(2, 0, end_of_group=ended)

    client = relay.client(number)
    wanted = Filter(FilterType.ABSOLUTE_RANGE, Location(0, 0), end_group=end)
    (answer,) = client.about(line.ask(client, SUBSCRIPTION_FILTER=wanted))

    if refused:
        assert answer.code == RequestErrorCode.INVALID_RANGE
    else:
        assert isinstance(answer, m.SubscribeOk)


@pytest.mark.parametrize("number", sorted(set(SUPPORTED) - set(REFUSING)))
def test_a_filter_of_what_is_past_is_valid_later(relay: FakeRelay, number: int) -> None:
    """'A Location Filter on a subscription is always valid' (20)."""
    line = Subscribed(relay, number)
    line.publish(2, 0)

    client = relay.client(number)
    wanted = Filter(FilterType.ABSOLUTE_RANGE, Location(0, 0), end_group=1)
    (answer,) = client.about(line.ask(client, SUBSCRIPTION_FILTER=wanted))

    assert isinstance(answer, m.SubscribeOk)


@pytest.mark.parametrize("number", BACKWARDS)
def test_a_range_that_ends_before_it_starts_is_invalid(relay: FakeRelay, number: int) -> None:
    """INVALID_RANGE, and the publisher's other subscribers have their objects."""
    line = Subscribed(relay, number)
    client = relay.client(number)

    wanted = Filter(FilterType.ABSOLUTE_RANGE, Location(5, 0), end_group=3)
    (answer,) = client.about(line.ask(client, SUBSCRIPTION_FILTER=wanted))
    line.publish(0, 0)

    assert answer.code == RequestErrorCode.INVALID_RANGE
    assert line.places == [(0, 0)]


def test_a_status_is_not_the_largest_object(relay: FakeRelay, number: int) -> None:
    """It stands where there is none."""
    line = Subscribed(relay, number)
    sending = line.publish(1, 0, 1, fin=False)
    sending.send(StreamObject(2, status=3), fin=True)

    client = relay.client(number)
    (answer,) = client.about(line.ask(client))

    assert answer.parameters[Parameter.LARGEST_OBJECT] == Location(1, 1)
    assert line.stream.objects[-1] == StreamObject(2, status=3)


# ---- the forward state -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", ANSWERING)
def test_resuming_waits_until_the_publisher_forwards_again(relay: FakeRelay, number: int) -> None:
    """The answer tells the largest object, which only the publisher knows after a pause."""
    line = Subscribed(relay, number)
    line.subscriber.update(line.asked, {Parameter.FORWARD: 0})
    line.publisher.say(*_update(line.publisher, 0))

    early = line.subscriber.update(line.asked, {Parameter.FORWARD: 1})
    asked, ok = _update(line.publisher, 1, {Parameter.LARGEST_OBJECT: Location(6, 2)})
    line.publisher.say(asked, ok, m.RequestUpdate)
    line.publish(7, 0)

    assert early == []
    answer = line.subscriber.about(line.asked)[-1] if line.subscriber.own_streams else _last(line.subscriber)
    assert answer.parameters[Parameter.LARGEST_OBJECT] == Location(6, 2)
    assert line.places == [(7, 0)]


def _update(
    publisher: Client, forward: int, known: dict[Any, Any] | None = None
) -> tuple[Asked, m.RequestOk]:
    """The relay's update, and what answers it."""
    update = publisher.expect(m.RequestUpdate)
    assert update.message.parameters[Parameter.FORWARD] == forward
    return update, m.RequestOk(KeyValues(known or {}), request_id=update.id)


def _last(client: Client) -> Any:
    return [message for _, message in client.messages if isinstance(message, m.RequestOk)][-1]


@pytest.mark.parametrize("number", ANSWERING)
def test_a_publisher_that_does_not_answer_holds_up_resuming_briefly(relay: FakeRelay, number: int) -> None:
    """It is answered with what is known."""
    line = Subscribed(relay, number)
    line.subscriber.update(line.asked, {Parameter.FORWARD: 0})
    early = line.subscriber.update(line.asked, {Parameter.FORWARD: 1})

    relay.clock.advance(limits.WAKE_SECONDS)

    assert early == []
    answers = [message for _, message in line.subscriber.messages if isinstance(message, m.RequestOk)]
    assert len(answers) == 2


def test_one_subscriber_without_forward_state_disturbs_no_other(relay: FakeRelay, number: int) -> None:
    """Objects come as long as somebody wants them, and reach those only."""
    line = Subscribed(relay, number, FORWARD=0)
    other = relay.client(number)
    line.ask(other)

    line.publish(0, 0)

    assert line.places == []
    assert [stream.payloads for stream in other.streams] == [[b"object 0"]]


# ---- delivery timeouts -----------------------------------------------------------------------------


def test_an_object_that_is_not_taken_in_time_resets_its_stream(relay: FakeRelay, number: int) -> None:
    """With DELIVERY_TIMEOUT; later groups are delivered."""
    line = Subscribed(relay, number, OBJECT_DELIVERY_TIMEOUT=500)
    line.subscriber.transport.unacknowledged = 5
    line.publish(0, 0, fin=False)

    relay.clock.advance(0.4)
    before = dict(line.subscriber.resets)
    relay.clock.advance(0.2)
    line.subscriber.transport.unacknowledged = 0
    line.publish(1, 0)

    assert before == {}
    code = STREAM_ERRORS.value(StreamError.DELIVERY_TIMEOUT, number)
    late, prompt = line.subscriber.streams
    assert line.subscriber.resets == {late.stream_id: code}
    assert prompt.fin


def test_an_object_that_is_taken_in_time_is_no_concern(relay: FakeRelay, number: int) -> None:
    """However long its stream then stays open."""
    line = Subscribed(relay, number, OBJECT_DELIVERY_TIMEOUT=500)
    sending = line.publish(0, 0, fin=False)

    relay.clock.advance(5)
    sending.send(StreamObject(1, b"late, but whole"), fin=True)
    relay.clock.advance(5)

    assert line.subscriber.resets == {}
    assert line.stream.fin


def test_an_end_that_is_not_taken_in_time_is_followed_by_a_reset(relay: FakeRelay, number: int) -> None:
    """The time of an object runs on behind the FIN."""
    line = Subscribed(relay, number, OBJECT_DELIVERY_TIMEOUT=500)
    line.subscriber.transport.unacknowledged = 5
    line.publish(0, 0)

    relay.clock.advance(0.6)

    code = STREAM_ERRORS.value(StreamError.DELIVERY_TIMEOUT, number)
    assert line.subscriber.resets == {line.stream.stream_id: code}


@pytest.mark.parametrize("number", BY_SUBGROUP)
def test_the_smaller_timeout_of_both_ends_holds_for_a_subgroup(relay: FakeRelay, number: int) -> None:
    """'the smaller of the two is used', from the FIN on."""
    line = Subscribed(relay, number, {Property.SUBGROUP_DELIVERY_TIMEOUT: 300}, SUBGROUP_DELIVERY_TIMEOUT=900)
    line.subscriber.transport.unacknowledged = 5
    sending = line.publish(0, 0, fin=False)
    relay.clock.advance(5)

    sending.send(fin=True)
    relay.clock.advance(0.2)
    before = dict(line.subscriber.resets)
    relay.clock.advance(0.2)

    assert before == {}
    code = STREAM_ERRORS.value(StreamError.DELIVERY_TIMEOUT, number)
    assert line.subscriber.resets == {line.stream.stream_id: code}


def test_who_stops_a_stream_is_not_reset_for_being_late(relay: FakeRelay, number: int) -> None:
    """The stream is over."""
    line = Subscribed(relay, number, OBJECT_DELIVERY_TIMEOUT=500)
    line.subscriber.transport.unacknowledged = 5
    line.publish(0, 0, fin=False)

    line.subscriber.stop(line.stream)
    relay.clock.advance(5)

    assert line.subscriber.resets == {}
