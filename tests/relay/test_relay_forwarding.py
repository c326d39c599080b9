"""Objects on their way from a publisher to its subscribers."""

from __future__ import annotations

import dataclasses

import pytest
from relay_clients import Asked, Client, FakeRelay, Incoming

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.objects import (
    FetchHeader,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
)
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.registries import (
    STREAM_ERRORS,
    PublishDoneStatus,
    SessionError,
    StreamError,
)
from pytest_moqt.protocol.transport import StreamData
from pytest_moqt.protocol.values import Filter, FilterType, KeyValues, Location
from pytest_moqt.relay import limits

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77
"The publisher's; the relay's own are others."
HEADER = SubgroupHeader(ALIAS, group_id=4, subgroup_id=0, publisher_priority=9)
ONE, TWO, THREE = (StreamObject(number, b"object %d" % number) for number in range(3))


class Line:
    """A publisher, the relay, and subscribers to one track."""

    def __init__(self, relay: FakeRelay, publisher: int, *subscribers: int, **fields: object) -> None:
        self.relay = relay
        self.publisher = relay.client(publisher)
        self.publisher.request(m.PublishNamespace(NAMESPACE))
        self.subscribers: list[Client] = []
        self.subscriptions: list[Asked] = []
        self.routed: Asked | None = None
        for number in subscribers:
            self.subscribe(number)
            if self.routed is None:
                self.routed = self.publisher.expect(m.Subscribe)
                self.publisher.say(self.routed, m.SubscribeOk(ALIAS, **fields))  # type: ignore[arg-type]

    def subscribe(self, number: int, **parameters: object) -> Client:
        """One subscriber more."""
        pairs = [(Parameter[name], value) for name, value in parameters.items()]
        client = self.relay.client(number)
        self.subscribers.append(client)
        self.subscriptions.append(client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(pairs))))
        return client

    def done(self, streams: int = m.UNKNOWN_STREAM_COUNT) -> None:
        """Say PUBLISH_DONE."""
        assert self.routed is not None
        self.publisher.say(self.routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, streams))

    def said(self, index: int = 0) -> list[object]:
        """What a subscriber was told about its subscription."""
        return self.subscribers[index].about(self.subscriptions[index])


def only(client: Client) -> Incoming:
    (stream,) = client.streams
    return stream


# ---- subgroups -------------------------------------------------------------------------------------


def test_objects_arrive_as_they_were_sent(relay: FakeRelay, number: int) -> None:
    """Under the alias of SUBSCRIBE_OK, with nothing changed but that."""
    line = Line(relay, number, number)
    properties = KeyValues({0x3C: 2})
    sent = [dataclasses.replace(ONE, properties=properties), TWO, StreamObject(7, b"")]
    header = dataclasses.replace(HEADER, has_properties=True, end_of_group=True)

    line.publisher.open_subgroup(header).send(*sent, fin=True)

    stream = only(line.subscribers[0])
    (ok,) = line.said()
    assert isinstance(ok, m.SubscribeOk)
    assert stream.header == dataclasses.replace(header, track_alias=ok.track_alias)
    assert stream.objects == sent
    assert stream.fin


def test_objects_are_passed_on_before_their_stream_ends(relay: FakeRelay, number: int) -> None:
    """Live means now."""
    line = Line(relay, number, number)

    line.publisher.open_subgroup(HEADER).send(ONE)

    assert only(line.subscribers[0]).payloads == [ONE.payload]


def test_objects_that_come_together_leave_together_before_the_end(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an object waits for its other half, what is whole does not."""
    line = Line(relay, 18, 18)
    encoder = SubgroupEncoder(HEADER, line.publisher.draft)
    stream_id = line.publisher.new_stream(unidirectional=True)
    head, *objects = [encoder.header(), *map(encoder.object, (ONE, TWO, THREE))]
    subscriber = line.subscribers[0]
    sent: list[tuple[int, bool]] = []
    take = subscriber.take

    def count(stream_id: int, data: bytes, fin: bool) -> None:
        take(stream_id, data, fin)
        sent.append((len(only(subscriber).objects), only(subscriber).fin))

    monkeypatch.setattr(subscriber, "take", count)
    line.publisher.session.handle(StreamData(stream_id, head + objects[0] + objects[1] + objects[2][:3]))
    line.publisher.session.handle(StreamData(stream_id, objects[2][3:], fin=True))

    assert sent == [(0, False), (2, False), (3, False), (3, True)]


def test_nothing_follows_the_reset_of_a_stream_that_is_too_far_behind(relay: FakeRelay) -> None:
    """Neither objects nor the FIN."""
    line = Line(relay, 18, 18)
    stream = line.publisher.open_subgroup(HEADER).send(ONE)
    subscriber = line.subscribers[0]
    subscriber.transport.unacknowledged = limits.STREAM_BACKLOG

    stream.send(TWO, THREE, fin=True)

    assert only(subscriber).objects == [ONE]
    assert not only(subscriber).fin
    assert list(subscriber.resets) == [only(subscriber).stream_id]


@pytest.mark.parametrize("to", sorted(SUPPORTED), ids=lambda to: f"to-{to}")
def test_objects_pass_between_drafts(relay: FakeRelay, number: int, to: int) -> None:
    """Headers are written as the subscriber's draft has them."""
    line = Line(relay, number, to)
    newest = bool(line.publisher.draft.subgroup_flags & 0x40)
    inherits = bool(line.publisher.draft.subgroup_flags & 0x20)
    header = dataclasses.replace(
        HEADER, first_object=newest, publisher_priority=None if inherits else 9, subgroup_id=None
    )

    line.publisher.open_subgroup(header).send(ONE, TWO, fin=True)

    stream = only(line.subscribers[0])
    assert stream.objects == [ONE, TWO]
    assert line.subscribers[0].closed is None


def test_a_priority_that_is_inherited_is_written_out_for_draft_14(relay: FakeRelay) -> None:
    """Where a draft cannot leave the priority out, the track's own is written."""
    oldest, newest = min(SUPPORTED), max(SUPPORTED)
    line = Line(relay, newest, oldest, track_properties=KeyValues({Property.DEFAULT_PUBLISHER_PRIORITY: 33}))

    line.publisher.open_subgroup(dataclasses.replace(HEADER, publisher_priority=None)).send(ONE)

    assert only(line.subscribers[0]).header.publisher_priority == 33


def test_every_subscriber_gets_every_object(relay: FakeRelay, number: int) -> None:
    """One upstream, several downstreams."""
    line = Line(relay, number, number, number, number)

    line.publisher.open_subgroup(HEADER).send(ONE, TWO, fin=True)

    assert [only(each).payloads for each in line.subscribers] == [[ONE.payload, TWO.payload]] * 3


def test_a_late_subscriber_joins_in_the_middle_of_a_subgroup(relay: FakeRelay, number: int) -> None:
    """It gets what comes from now on, on a stream that says which subgroup it is."""
    line = Line(relay, number, number)
    newest = bool(line.publisher.draft.subgroup_flags & 0x40)
    stream = line.publisher.open_subgroup(
        dataclasses.replace(HEADER, subgroup_id=None, first_object=newest)
    ).send(TWO)

    late = line.subscribe(number)
    stream.send(THREE, fin=True)

    joined = only(late)
    assert joined.objects == [THREE]
    assert joined.header.subgroup_id == TWO.object_id
    assert not joined.header.first_object
    assert joined.fin


def test_a_reset_is_passed_on(relay: FakeRelay, number: int) -> None:
    """'A relay might immediately reset the corresponding downstream stream'."""
    line = Line(relay, number, number)
    sending = line.publisher.open_subgroup(HEADER).send(ONE)

    sending.reset(0x2)

    subscriber = line.subscribers[0]
    assert subscriber.resets == {only(subscriber).stream_id: 0x2}
    assert not only(subscriber).fin
    assert subscriber.closed is None


def test_a_reset_is_passed_on_as_the_other_draft_numbers_it(relay: FakeRelay) -> None:
    """UNKNOWN_OBJECT_STATUS and its like move between drafts."""
    newest = max(SUPPORTED)
    there = STREAM_ERRORS.value(StreamError.UNKNOWN_OBJECT_STATUS, newest)
    assert there is not None
    numbers = {n: STREAM_ERRORS.value(StreamError.UNKNOWN_OBJECT_STATUS, n) for n in SUPPORTED}
    other, here = next((n, code) for n, code in numbers.items() if code not in (None, there))
    line = Line(relay, newest, other)

    line.publisher.open_subgroup(HEADER).send(ONE).reset(there)

    assert list(line.subscribers[0].resets.values()) == [here]


def test_who_stops_a_stream_misses_that_stream_only(relay: FakeRelay, number: int) -> None:
    """'Resets and STOP_SENDING on SUBSCRIBE data streams have no impact on other Subgroups'."""
    line = Line(relay, number, number, number)
    stopping, other = line.subscribers
    first = line.publisher.open_subgroup(HEADER).send(ONE)

    stopping.stop(only(stopping))
    first.send(TWO, fin=True)
    line.publisher.open_subgroup(dataclasses.replace(HEADER, group_id=5)).send(ONE, fin=True)

    assert [stream.payloads for stream in stopping.streams] == [[ONE.payload], [ONE.payload]]
    assert [stream.payloads for stream in other.streams] == [[ONE.payload, TWO.payload], [ONE.payload]]


def test_a_slow_subscriber_loses_a_stream_and_holds_up_nobody(relay: FakeRelay, number: int) -> None:
    """What a subscriber does not take is not kept for it without limit."""
    line = Line(relay, number, number, number)
    slow, quick = line.subscribers
    sending = line.publisher.open_subgroup(HEADER).send(ONE)

    slow.transport.unacknowledged = limits.STREAM_BACKLOG
    sending.send(TWO, fin=True)

    assert only(slow).payloads == [ONE.payload]
    assert only(slow).stream_id in slow.resets
    assert only(quick).payloads == [ONE.payload, TWO.payload]


def test_an_unsubscribed_client_has_its_streams_reset(relay: FakeRelay, number: int) -> None:
    """'It MUST reset any open streams associated with the SUBSCRIBE'."""
    line = Line(relay, number, number, number)
    leaving, staying = line.subscribers
    sending = line.publisher.open_subgroup(HEADER).send(ONE)

    leaving.cancel(line.subscriptions[0])
    sending.send(TWO, fin=True)

    assert only(leaving).payloads == [ONE.payload]
    assert only(leaving).stream_id in leaving.resets
    assert only(staying).payloads == [ONE.payload, TWO.payload]


def test_a_publisher_that_disconnects_has_its_streams_reset(relay: FakeRelay, number: int) -> None:
    """A FIN would say that the subgroup is complete."""
    line = Line(relay, number, number)
    line.publisher.open_subgroup(HEADER).send(ONE)

    line.publisher.disconnect()

    stream = only(line.subscribers[0])
    assert stream.stream_id in line.subscribers[0].resets
    assert not stream.fin
    assert isinstance(line.said()[-1], m.PublishDone)


def test_objects_that_overtake_subscribe_ok_are_held(relay: FakeRelay, number: int) -> None:
    """A stream may come before the message that explains its alias."""
    line = Line(relay, number)
    subscriber = line.subscribe(number)
    routed = line.publisher.expect(m.Subscribe)

    line.publisher.open_subgroup(HEADER).send(ONE, fin=True)
    line.publisher.say(routed, m.SubscribeOk(ALIAS))

    assert only(subscriber).payloads == [ONE.payload]
    assert only(subscriber).fin


def test_an_alias_that_stays_unknown_is_not_held_forever(relay: FakeRelay, number: int) -> None:
    """'it MAY abandon the stream, or choose to buffer it for a brief period'."""
    line = Line(relay, number, number)
    stream = line.publisher.open_subgroup(dataclasses.replace(HEADER, track_alias=5)).send(ONE)

    relay.clock.advance(limits.EARLY_SECONDS)

    assert stream.stream_id in line.publisher.stops
    assert line.publisher.closed is None


def test_streams_of_unknown_aliases_are_bounded(relay: FakeRelay, number: int) -> None:
    """The oldest is given up for the newest."""
    line = Line(relay, number, number)

    streams = [
        line.publisher.open_subgroup(dataclasses.replace(HEADER, track_alias=5, group_id=group))
        for group in range(limits.EARLY_STREAMS + 1)
    ]

    assert list(line.publisher.stops) == [streams[0].stream_id]


def test_an_object_too_large_is_refused(
    relay: FakeRelay, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream is stopped, the session goes on."""
    monkeypatch.setattr(limits, "OBJECT_BYTES", 10)
    line = Line(relay, number, number)

    stream = line.publisher.open_subgroup(HEADER).send(ONE, StreamObject(1, bytes(11)))

    assert stream.stream_id in line.publisher.stops
    assert only(line.subscribers[0]).payloads == [ONE.payload]
    assert only(line.subscribers[0]).stream_id in line.subscribers[0].resets
    assert line.publisher.closed is None


def test_a_stream_that_ends_inside_an_object_is_a_violation(relay: FakeRelay, number: int) -> None:
    """'the session SHOULD be closed with a PROTOCOL_VIOLATION', that of the publisher only."""
    line = Line(relay, number, number)
    stream = line.publisher.open_subgroup(HEADER)

    line.publisher.session.handle(StreamData(stream.stream_id, b"\x00\x05abc", fin=True))

    assert line.publisher.closed is not None
    assert line.publisher.closed[0] == SessionError.PROTOCOL_VIOLATION
    assert line.subscribers[0].closed is None


def test_a_copy_by_a_second_publisher_is_dropped(relay: FakeRelay, number: int) -> None:
    """'The Relay SHOULD attempt to deduplicate Objects before forwarding'."""
    line = Line(relay, number)
    second = relay.client(number)
    second.request(m.PublishNamespace(NAMESPACE))
    subscriber = line.subscribe(number)
    for publisher in (line.publisher, second):
        publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(ALIAS))

    for publisher in (line.publisher, second):
        publisher.open_subgroup(HEADER).send(ONE, TWO, fin=True)
        publisher.send_datagram(ObjectDatagram(ALIAS, 9, 0, payload=b"x"))

    assert only(subscriber).payloads == [ONE.payload, TWO.payload]
    assert len(subscriber.datagrams) == 1


def test_the_largest_object_is_told_to_later_subscribers(relay: FakeRelay, number: int) -> None:
    """SUBSCRIBE_OK tells what the relay has seen."""
    line = Line(relay, number, number)
    line.publisher.open_subgroup(HEADER).send(ONE, TWO)

    line.subscribe(number)

    (ok,) = line.said(1)
    assert isinstance(ok, m.SubscribeOk)
    assert ok.parameters[Parameter.LARGEST_OBJECT] == Location(4, 1)


# ---- what a subscriber asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "groups"),
    [
        (Filter(FilterType.LARGEST_OBJECT), [2, 3, 4, 5]),
        (Filter(FilterType.NEXT_GROUP_START), [3, 4, 5]),
        (Filter(FilterType.ABSOLUTE_START, Location(4, 0)), [4, 5]),
        (Filter(FilterType.ABSOLUTE_RANGE, Location(3, 0), end_group=4), [3, 4]),
    ],
    ids=lambda value: value.type.name if isinstance(value, Filter) else "",
)
def test_filters_are_kept_to(relay: FakeRelay, number: int, wanted: Filter, groups: list[int]) -> None:
    """'Each new Object ... is forwarded to each subscriber, as allowed by the subscription's filter'."""
    line = Line(relay, number, number, parameters=KeyValues({Parameter.LARGEST_OBJECT: Location(2, 0)}))
    subscriber = line.subscribe(number, SUBSCRIPTION_FILTER=wanted)

    for group in range(2, 6):
        header = dataclasses.replace(HEADER, group_id=group)
        line.publisher.open_subgroup(header).send(TWO, fin=True)

    assert [stream.header.group_id for stream in subscriber.streams] == groups


def test_without_forward_state_nothing_is_sent_until_it_is_set(relay: FakeRelay, number: int) -> None:
    """'The publisher does not send Objects if the Forward State is 0'."""
    line = Line(relay, number, number)
    quiet = line.subscribe(number, FORWARD=0)
    stream = line.publisher.open_subgroup(HEADER).send(ONE)
    before = list(quiet.streams)

    quiet.update(line.subscriptions[1], {Parameter.FORWARD: 1})
    stream.send(TWO)

    assert before == []
    assert only(quiet).objects == [TWO]


def test_a_stream_is_reset_when_objects_are_left_out_of_it(relay: FakeRelay, number: int) -> None:
    """'Omitting a Subgroup Object due to the subscriber's Forward State': it MUST be reset."""
    line = Line(relay, number, number, number)
    stream = line.publisher.open_subgroup(HEADER).send(ONE)

    line.subscribers[0].update(line.subscriptions[0], {Parameter.FORWARD: 0})
    stream.send(TWO, fin=True)

    first = only(line.subscribers[0])
    assert first.payloads == [ONE.payload]
    assert first.stream_id in line.subscribers[0].resets
    assert not first.fin


# ---- datagrams -------------------------------------------------------------------------------------


def test_datagrams_are_passed_on(relay: FakeRelay, number: int) -> None:
    """Under the relay's alias, with nothing changed but that."""
    line = Line(relay, number, number, number)
    sent = ObjectDatagram(ALIAS, 3, 5, 9, b"payload", properties=KeyValues({0x3C: 2}), end_of_group=True)

    line.publisher.send_datagram(sent)

    for index, subscriber in enumerate(line.subscribers):
        (ok,) = line.said(index)
        assert isinstance(ok, m.SubscribeOk)
        assert subscriber.datagrams == [dataclasses.replace(sent, track_alias=ok.track_alias)]


def test_a_datagram_too_large_for_one_subscriber_reaches_the_others(relay: FakeRelay, number: int) -> None:
    """Datagrams may get lost."""
    line = Line(relay, number, number, number)
    line.subscribers[0].transport.max_datagram_size = 8

    line.publisher.send_datagram(ObjectDatagram(ALIAS, 3, 5, 9, bytes(20)))

    assert [len(each.datagrams) for each in line.subscribers] == [0, 1]


def test_datagrams_that_overtake_subscribe_ok_are_held(relay: FakeRelay, number: int) -> None:
    """As streams are."""
    line = Line(relay, number)
    subscriber = line.subscribe(number)
    routed = line.publisher.expect(m.Subscribe)

    line.publisher.send_datagram(ObjectDatagram(ALIAS, 3, 5, 9, b"early"))
    line.publisher.say(routed, m.SubscribeOk(ALIAS))

    assert [each.payload for each in subscriber.datagrams] == [b"early"]


# ---- PUBLISH_DONE ----------------------------------------------------------------------------------


def test_publish_done_waits_for_the_streams_that_it_counts(relay: FakeRelay, number: int) -> None:
    """It 'is likely to arrive at the receiver before late-arriving objects'."""
    line = Line(relay, number, number)
    first = line.publisher.open_subgroup(HEADER).send(ONE)

    line.done(streams=2)
    first.send(TWO, fin=True)
    between = len(line.said())
    line.publisher.open_subgroup(dataclasses.replace(HEADER, group_id=5)).send(ONE, fin=True)

    assert between == 1
    done = line.said()[-1]
    assert isinstance(done, m.PublishDone)
    assert (done.status, done.stream_count) == (PublishDoneStatus.TRACK_ENDED, 2)
    assert all(stream.fin for stream in line.subscribers[0].streams)


def test_publish_done_counts_the_streams_of_its_subscriber(relay: FakeRelay, number: int) -> None:
    """Stream Count is 'the number of data streams the publisher opened for this subscription'."""
    line = Line(relay, number, number)
    line.publisher.open_subgroup(HEADER).send(ONE, fin=True)
    line.subscribe(number)
    line.publisher.open_subgroup(dataclasses.replace(HEADER, group_id=5)).send(ONE, fin=True)

    line.done(streams=2)

    counts = [line.said(index)[-1].stream_count for index in (0, 1)]  # type: ignore[attr-defined]
    assert counts == [2, 1]


def test_publish_done_does_not_wait_forever(relay: FakeRelay, number: int) -> None:
    """A stream that was reset before its header never comes."""
    line = Line(relay, number, number)
    line.publisher.open_subgroup(HEADER).send(ONE)
    line.done(streams=5)

    relay.clock.advance(limits.DRAIN_SECONDS)

    done = line.said()[-1]
    assert isinstance(done, m.PublishDone)
    assert done.stream_count == 1
    assert only(line.subscribers[0]).stream_id in line.subscribers[0].resets


def test_an_unknown_count_is_waited_for_briefly(relay: FakeRelay, number: int) -> None:
    """Streams may still come; the relay then knows how many it opened itself."""
    line = Line(relay, number, number)
    line.publisher.open_subgroup(HEADER).send(ONE, fin=True)
    line.done()
    line.publisher.open_subgroup(dataclasses.replace(HEADER, group_id=5)).send(ONE, fin=True)

    relay.clock.advance(limits.DRAIN_UNKNOWN_SECONDS)

    done = line.said()[-1]
    assert isinstance(done, m.PublishDone)
    assert done.stream_count == 2


def test_an_empty_subgroup_is_passed_on_and_counted(relay: FakeRelay, number: int) -> None:
    """The count includes 'streams that contained no Objects'."""
    line = Line(relay, number, number)

    line.publisher.open_subgroup(HEADER).send(fin=True)
    line.done(streams=1)

    assert only(line.subscribers[0]).fin
    assert line.said()[-1].stream_count == 1  # type: ignore[attr-defined]


def test_objects_of_an_offered_track_reach_who_accepts(relay: FakeRelay, number: int) -> None:
    """PUBLISH instead of SUBSCRIBE, on either side."""
    publisher, subscriber, other = relay.client(number), relay.client(number), relay.client(number)
    subscriber.request(m.Subscribe(NAMESPACE, TRACK))  # nobody publishes yet
    offered = publisher.request(m.Publish(NAMESPACE, TRACK, ALIAS))
    subscription = other.request(m.Subscribe(NAMESPACE, TRACK))

    publisher.open_subgroup(HEADER).send(ONE, fin=True)
    publisher.say(offered, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 1))

    assert only(other).payloads == [ONE.payload]
    assert other.about(subscription)[-1].status == PublishDoneStatus.TRACK_ENDED
    assert relay.router.tracks == {}


def test_statuses_that_a_draft_lacks_are_left_out(relay: FakeRelay) -> None:
    """Draft 14's Object Does Not Exist has no equal later."""
    older = min(SUPPORTED)
    newer = next(n for n in sorted(SUPPORTED) if 0x1 not in DRAFTS[n].object_statuses)
    line = Line(relay, older, newer)

    line.publisher.open_subgroup(HEADER).send(ONE, StreamObject(1, status=0x1), THREE, fin=True)

    assert only(line.subscribers[0]).objects == [ONE, THREE]


FILLING = [number for number in SUPPORTED if parameter_layout(Parameter.FILL_PARAMETERS, DRAFTS[number])]
CURRENT_GROUP = Filter(FilterType.RELATIVE_START, groups_back=1)
NEXT_OBJECT = Filter(FilterType.LARGEST_OBJECT)


def _fills(client: Client) -> list[int]:
    """The requests that fill fetch streams name which a client was sent."""
    headers = [stream.items[0] for stream in client.fetches]
    return [header.request_id for header in headers if isinstance(header, FetchHeader)]


@pytest.mark.parametrize("number", FILLING)
@pytest.mark.parametrize(
    ("inside", "outside", "opens"),
    [
        ({}, None, True),
        ({Parameter.SUBSCRIPTION_FILTER: CURRENT_GROUP}, NEXT_OBJECT, True),
        ({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.UNFILTERED)}, NEXT_OBJECT, True),
        ({}, NEXT_OBJECT, False),
        ({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, Location(5, 4))}, None, False),
        ({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, Location(5, 3))}, None, True),
        ({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.NEXT_GROUP_START)}, None, False),
    ],
    ids=["all", "current-group", "all-by-none", "next-object", "behind-largest", "largest", "next-group"],
)
def test_fill_is_opened_unless_it_is_empty(
    relay: FakeRelay, number: int, inside: dict[Parameter, Filter], outside: Filter | None, opens: bool
) -> None:
    """Under the request's id, and objects that come later have streams of their own (`fill-semantics`)."""
    line = Line(relay, number, number, parameters=KeyValues({Parameter.LARGEST_OBJECT: Location(5, 3)}))
    asked = {Parameter.FILL_PARAMETERS: KeyValues(inside)}
    if outside is not None:
        asked[Parameter.SUBSCRIPTION_FILTER] = outside
    client = relay.client(number)
    subscribed = client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(asked)))

    assert isinstance(client.about(subscribed)[0], m.SubscribeOk)
    assert _fills(client) == ([subscribed.id] if opens else [])
    line.publisher.open_subgroup(dataclasses.replace(HEADER, group_id=6)).send(ONE)
    assert client.streams[-1].payloads == [ONE.payload]


@pytest.mark.parametrize("number", FILLING)
def test_fill_of_a_paused_subscription_opens_no_stream(relay: FakeRelay, number: int) -> None:
    """What a paused subscription asked for opens no stream, nor does resuming it; a later update does."""
    Line(relay, number, number, parameters=KeyValues({Parameter.LARGEST_OBJECT: Location(5, 3)}))
    fill = {Parameter.FILL_PARAMETERS: KeyValues()}
    client = relay.client(number)
    subscribed = client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues({**fill, Parameter.FORWARD: 0})))

    client.update(subscribed, {Parameter.FORWARD: 1})
    assert _fills(client) == []

    client.update(subscribed, fill)
    # The third request of this client, whose ids are even.
    assert _fills(client) == [4]
