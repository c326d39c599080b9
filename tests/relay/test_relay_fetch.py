"""FETCH and fills, from what the relay keeps and from publishers."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from relay_clients import Asked, Client, FakeRelay, Incoming

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.objects import (
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupHeader,
)
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.registries import (
    REQUEST_ERRORS,
    STREAM_ERRORS,
    PublishDoneStatus,
    RequestErrorCode,
    SessionError,
    StreamError,
)
from pytest_moqt.protocol.values import Filter, FilterType, GroupOrder, KeyValues, Location
from pytest_moqt.relay import limits

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77
EMPTY, UNKNOWN, TIMED_OUT = 0x8C, 0x10C, 0x20C
LAST = (1 << 64) - 1

FILLING = [number for number in SUPPORTED if parameter_layout(Parameter.FILL_PARAMETERS, DRAFTS[number])]
MARKING = [number for number in SUPPORTED if DRAFTS[number].fetch_ranges]
JOINING = sorted(set(SUPPORTED) - set(FILLING))
BUDGETED = [number for number in SUPPORTED if parameter_layout(Parameter.FILL_TIMEOUT, DRAFTS[number])]


def _has_duration(number: int) -> bool:
    """Whether MAX_CACHE_DURATION is a parameter there."""
    return parameter_layout(Parameter.MAX_CACHE_DURATION, DRAFTS[number]) is not None


def an_object(group: int, number: int, **fields: Any) -> FetchObject:
    """As `Published` sends it."""
    values: dict[str, Any] = {
        "subgroup_id": 0,
        "publisher_priority": 9,
        "payload": b"object %d of group %d" % (number, group),
    }
    return FetchObject(group_id=group, object_id=number, **{**values, **fields})


class Published:
    """A track with one subscriber, so that the relay keeps what is published; and one who fetches of it.

    Args:
        relay: Whose.
        number: The draft of all.
        groups: How many objects each group has, from group 0 on.
        ended: Whether headers say that their stream ends its group.
        largest: What SUBSCRIBE_OK says of the largest object.
    """

    def __init__(
        self,
        relay: FakeRelay,
        number: int,
        *groups: int,
        ended: bool = True,
        largest: Location | None = None,
        properties: dict[int, Any] | None = None,
    ) -> None:
        self.relay, self.ended = relay, ended
        self.publisher, self.subscriber = relay.client(number), relay.client(number)
        self.client = relay.client(number)
        self.publisher.request(m.PublishNamespace(NAMESPACE))
        self.subscription = self.subscriber.request(m.Subscribe(NAMESPACE, TRACK))
        self.routed = self.publisher.expect(m.Subscribe)
        parameters = KeyValues(() if largest is None else ((Parameter.LARGEST_OBJECT, largest),))
        track_properties = KeyValues(properties or {})
        self.publisher.say(self.routed, m.SubscribeOk(ALIAS, parameters, track_properties))
        for group, count in enumerate(groups):
            self.publish(group, *range(count))

    def publish(self, group: int, *numbers: int, fin: bool = True, **fields: Any) -> None:
        header = SubgroupHeader(ALIAS, group, 0, 9, end_of_group=self.ended, **fields)
        items = [StreamObject(number, an_object(group, number).payload) for number in numbers]
        self.publisher.open_subgroup(header).send(*items, fin=fin)

    def fetch(self, start: tuple[int, int], end: tuple[int, int], **parameters: Any) -> Asked:
        """Ask for a range; its end is exclusive, object 0 for the whole group."""
        wanted = m.StandaloneFetch(NAMESPACE, TRACK, Location(*start), Location(*end))
        pairs = [(Parameter[name], value) for name, value in parameters.items()]
        return self.client.request(m.Fetch(wanted, KeyValues(pairs)))

    def answer(self, asked: Asked) -> Any:
        """The one answer to a request."""
        (answer,) = self.client.about(asked)
        return answer

    def places(self) -> list[tuple[int, int]]:
        """Of the objects that were fetched."""
        return [(item.group_id, item.object_id) for item in fetched(self.client)]


def only_fetch(client: Client) -> Incoming:
    (stream,) = client.fetches
    return stream


def fetched(client: Client) -> list[FetchObject]:
    return [item for item in only_fetch(client).fetched if isinstance(item, FetchObject)]


def said_end(number: int, end: Location) -> Location:
    """An end as FETCH_OK says it: of a whole group the last object there can be, where that is written."""
    whole = not end.object and DRAFTS[number].fetch_end_included
    return Location(end.group, LAST + 1) if whole else end


# ---- what is kept -----------------------------------------------------------------------------------


def test_a_fetch_is_served_from_what_passed_through(relay: FakeRelay, number: int) -> None:
    """FETCH_OK, and one stream with all objects of the range in order and nothing else, then FIN."""
    track = Published(relay, number, 3, 3, 3)

    asked = track.fetch((0, 1), (1, 0))

    ok, stream = track.answer(asked), only_fetch(track.client)
    assert isinstance(ok, m.FetchOk)
    assert (ok.end_of_track, ok.end) == (False, said_end(number, Location(1, 0)))
    assert stream.items[0] == FetchHeader(asked.id)
    wanted = [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert stream.fetched == [an_object(*place) for place in wanted]
    assert stream.fin
    assert track.publisher.incoming(m.Fetch) is None


def test_the_request_is_over_with_its_stream(relay: FakeRelay, number: int) -> None:
    """A request stream ends with a FIN; nothing stays behind."""
    track = Published(relay, number, 2, 1)

    asked = track.fetch((0, 0), (0, 0))

    assert asked.stream_id is None or asked.stream_id in track.client.fins
    assert asked.id not in track.client.session._theirs


@pytest.mark.parametrize(
    ("start", "end", "places"),
    [
        ((0, 1), (2, 1), [(2, 0), (1, 0), (1, 1), (1, 2), (0, 1), (0, 2)]),
        ((1, 1), (1, 3), [(1, 1), (1, 2)]),
        ((0, 0), (1, 2), [(1, 0), (1, 1), (0, 0), (0, 1), (0, 2)]),
    ],
)
def test_groups_fall_in_descending_order(
    relay: FakeRelay,
    number: int,
    start: tuple[int, int],
    end: tuple[int, int],
    places: list[tuple[int, int]],
) -> None:
    """'A publisher MUST send fetched groups in the requested group order', objects rising in each."""
    track = Published(relay, number, 3, 3, 3)

    asked = track.fetch(start, end, GROUP_ORDER=GroupOrder.DESCENDING)

    assert track.places() == places
    assert only_fetch(track.client).fin
    ok = track.answer(asked)
    if DRAFTS[number].version_code is not None:
        assert ok.track_properties[Property.DEFAULT_PUBLISHER_GROUP_ORDER] == GroupOrder.DESCENDING


def test_a_fetch_ends_at_the_largest_object(relay: FakeRelay, number: int) -> None:
    """FETCH_OK says the place behind it if the range goes on."""
    track = Published(relay, number, 3, 5)

    asked = track.fetch((0, 2), (100, 0))

    assert track.answer(asked).end == Location(1, 5)
    assert track.places() == [(0, 2), *((1, each) for each in range(5))]


def test_all_fields_of_an_object_are_kept(relay: FakeRelay, number: int) -> None:
    """Priority, subgroup, properties, and how it was sent, as far as the draft can say it."""
    track = Published(relay, number)
    properties = KeyValues({0x38: 5, 0x39: b"unknown"})
    header = SubgroupHeader(ALIAS, 0, 7, 200, end_of_group=True, has_properties=True)
    track.publisher.open_subgroup(header).send(StreamObject(0, b"one", properties=properties))
    track.publisher.send_datagram(ObjectDatagram(ALIAS, 0, 1, 3, b"two", properties=properties))

    track.fetch((0, 0), (0, 2))

    datagram_subgroup = None if DRAFTS[number].fetch_ranges else 1
    assert only_fetch(track.client).fetched == [
        FetchObject(0, 7, 0, 200, b"one", properties),
        FetchObject(0, datagram_subgroup, 1, 3, b"two", properties),
    ]


def test_places_known_to_be_empty_are_gaps(relay: FakeRelay, number: int) -> None:
    """The end of a group by its status, and gaps told by properties, need no publisher."""
    track = Published(relay, number, ended=False)
    gap = KeyValues({Property.PRIOR_OBJECT_ID_GAP: 4})
    header = SubgroupHeader(ALIAS, 0, 0, 9, has_properties=True)
    track.publisher.open_subgroup(header).send(
        StreamObject(0, b"first"), StreamObject(5, b"sixth", properties=gap), StreamObject(6, status=3)
    )
    after = KeyValues({Property.PRIOR_GROUP_ID_GAP: 2})
    header = dataclasses.replace(header, group_id=3)
    track.publisher.open_subgroup(header).send(StreamObject(0, b"later", properties=after))

    asked = track.fetch((0, 0), (3, 1))

    assert track.places() == [(0, 0), (0, 5), (3, 0)]
    assert track.answer(asked).end == Location(3, 1)
    assert only_fetch(track.client).fin
    assert track.publisher.incoming(m.Fetch) is None


def test_an_empty_range_is_an_empty_stream_or_no_objects(relay: FakeRelay, number: int) -> None:
    """15 on: 'sends the FETCH_HEADER and closes the stream with a FIN'; 14 has an error."""
    track = Published(relay, number, 2, 1)

    asked = track.fetch((0, 5), (0, 8))

    if REQUEST_ERRORS.value(RequestErrorCode.NO_OBJECTS, number, "FETCH") is None:
        assert isinstance(track.answer(asked), m.FetchOk)
        assert only_fetch(track.client).items == [FetchHeader(asked.id)]
        assert only_fetch(track.client).fin
    else:
        assert track.answer(asked).code == RequestErrorCode.NO_OBJECTS
        assert track.client.fetches == []


def test_the_end_of_a_track_is_told(relay: FakeRelay, number: int) -> None:
    """End Of Track is 1, and the end is the final object's."""
    track = Published(relay, number, 2)
    header = SubgroupHeader(ALIAS, 1, 0, 9)
    track.publisher.open_subgroup(header).send(StreamObject(0, b"last"), StreamObject(1, status=4))

    asked, within = track.fetch((0, 0), (9, 0)), track.fetch((0, 0), (0, 0))

    assert (track.answer(asked).end_of_track, track.answer(asked).end) == (True, Location(1, 1))
    assert not track.answer(within).end_of_track
    assert track.client.fetches[0].fetched[-1] == an_object(1, 0, payload=b"last")


# ---- what cannot be served ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"), [((50, 0), (60, 0)), ((1, 5), (1, 9)), ((1, 3), (1, 2)), ((1, 0), (0, 0))]
)
def test_a_range_behind_the_largest_object_is_invalid(
    relay: FakeRelay, number: int, start: tuple[int, int], end: tuple[int, int]
) -> None:
    """As is one that ends before it starts; nothing else is said."""
    track = Published(relay, number, 3, 5)
    if DRAFTS[number].fetch_end_included and end[0] < start[0]:
        end = (start[0], 0)  # the end group is written as a difference: none is smaller
        start = (start[0], 5)

    asked = track.fetch(start, end)

    assert track.answer(asked).code == RequestErrorCode.INVALID_RANGE
    assert track.client.fetches == []


def test_a_track_without_objects_has_no_range(relay: FakeRelay, number: int) -> None:
    """'If no Objects have been published for the track ... INVALID_RANGE'."""
    track = Published(relay, number)

    assert track.answer(track.fetch((0, 0), (1, 0))).code == RequestErrorCode.INVALID_RANGE


def test_what_nobody_publishes_cannot_be_fetched(relay: FakeRelay, number: int) -> None:
    """Nor does asking leave anything behind."""
    client = relay.client(number)

    answer = client.ask(m.Fetch(m.StandaloneFetch(NAMESPACE, TRACK, Location(0, 0), Location(1, 0))))

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST
    assert relay.router.tracks == {}


def test_what_is_kept_goes_with_the_track(relay: FakeRelay, number: int) -> None:
    """A track that comes again under the same name may be another."""
    track = Published(relay, number, 3, 3)

    track.publisher.say(track.routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 2))

    assert relay.router.tracks == {}
    assert relay.router.cache.size == 0
    track.fetch((0, 0), (0, 0))
    assert track.publisher.incoming(m.Fetch) is not None


# ---- cancellation and speed --------------------------------------------------------------------------


def test_a_cancelled_fetch_has_its_stream_reset(relay: FakeRelay, number: int) -> None:
    """'The publisher SHOULD promptly close the unidirectional stream'; the session goes on."""
    track = Published(relay, number, 5, 5)
    track.client.transport.unacknowledged = limits.FETCH_BACKLOG
    asked = track.fetch((0, 0), (1, 0))

    track.client.cancel(asked)
    track.client.transport.unacknowledged = 0
    relay.clock.advance(1)

    stream = only_fetch(track.client)
    assert stream.stream_id in track.client.resets
    assert not stream.fin
    assert track.client.closed is None
    again = track.fetch((1, 0), (1, 2))
    assert isinstance(track.answer(again), m.FetchOk)


def test_a_slow_client_is_waited_for(relay: FakeRelay, number: int) -> None:
    """The rest of a fetch is sent when what went before has been acknowledged."""
    track = Published(relay, number, 5, 5)
    track.client.transport.unacknowledged = limits.FETCH_BACKLOG
    track.fetch((0, 0), (1, 0))
    relay.clock.advance(1)
    before = len(only_fetch(track.client).fetched)

    track.client.transport.unacknowledged = 0
    relay.clock.advance(limits.FETCH_PAUSE_SECONDS)

    assert before <= 1
    assert len(fetched(track.client)) == 10
    assert only_fetch(track.client).fin


def test_a_stream_that_the_client_stops_is_over(relay: FakeRelay, number: int) -> None:
    """Nothing more is sent, and the request with it is done."""
    track = Published(relay, number, 5, 5)
    track.client.transport.unacknowledged = limits.FETCH_BACKLOG
    asked = track.fetch((0, 0), (1, 0))

    track.client.stop(only_fetch(track.client))
    track.client.transport.unacknowledged = 0
    relay.clock.advance(1)

    assert len(only_fetch(track.client).fetched) <= 1
    assert asked.id not in track.client.session._theirs


# ---- publishers --------------------------------------------------------------------------------------


class Announced:
    """A publisher of a namespace, no subscriber, and one who fetches."""

    def __init__(self, relay: FakeRelay, number: int) -> None:
        self.relay = relay
        self.publisher, self.client = relay.client(number), relay.client(number)
        self.publisher.request(m.PublishNamespace(NAMESPACE))

    def fetch(self, start: tuple[int, int], end: tuple[int, int], **parameters: Any) -> Asked:
        wanted = m.StandaloneFetch(NAMESPACE, TRACK, Location(*start), Location(*end))
        pairs = [(Parameter[name], value) for name, value in parameters.items()]
        return self.client.request(m.Fetch(wanted, KeyValues(pairs)))


@pytest.mark.parametrize("order", GroupOrder)
def test_a_track_nobody_subscribed_to_is_fetched_from_its_publisher(
    relay: FakeRelay, number: int, order: GroupOrder
) -> None:
    """Its answer is passed on, and its objects as they come; a second fetch is asked for anew."""
    line = Announced(relay, number)
    asked = line.fetch((1, 0), (2, 3), GROUP_ORDER=order)
    upstream = line.publisher.expect(m.Fetch)
    before = line.client.about(asked)
    items = [an_object(1, 0), an_object(1, 4), an_object(2, 1)]
    if order is GroupOrder.DESCENDING:
        items = [items[2], *items[:2]]

    line.publisher.say(upstream, m.FetchOk(False, Location(2, 2)))
    stream = line.publisher.answer_fetch(upstream).send(items[0])
    between = list(only_fetch(line.client).fetched)
    stream.send(*items[1:], fin=True)

    assert upstream.message.range == m.StandaloneFetch(NAMESPACE, TRACK, Location(1, 0), Location(2, 3))
    assert upstream.message.parameters[Parameter.GROUP_ORDER] == order
    assert before == []
    (ok,) = line.client.about(asked)
    assert ok.end == Location(2, 2)
    assert between == items[:1]
    assert only_fetch(line.client).fetched == items
    assert only_fetch(line.client).fin
    assert relay.router.tracks == {}
    line.fetch((1, 0), (2, 3))
    assert line.publisher.incoming(m.Fetch) is not None


def test_objects_may_come_before_fetch_ok(relay: FakeRelay, number: int) -> None:
    """'A publisher MAY send Objects in response to a FETCH before the FETCH_OK'."""
    line = Announced(relay, number)
    asked = line.fetch((0, 0), (0, 0))
    upstream = line.publisher.expect(m.Fetch)

    line.publisher.answer_fetch(upstream).send(an_object(0, 0), fin=True)
    before = line.client.about(asked)
    line.publisher.say(upstream, m.FetchOk(True, Location(0, 1)))

    assert before == []
    assert line.client.about(asked)[0].end_of_track
    assert only_fetch(line.client).fetched == [an_object(0, 0)]
    assert only_fetch(line.client).fin


def test_a_refusal_of_the_publisher_is_passed_on(relay: FakeRelay, number: int) -> None:
    """An error, once, and no stream."""
    line = Announced(relay, number)
    asked = line.fetch((0, 0), (1, 0))
    upstream = line.publisher.expect(m.Fetch)

    line.publisher.say(upstream, m.RequestError(RequestErrorCode.UNAUTHORIZED, "no"))

    (answer,) = line.client.about(asked)
    assert answer.code == RequestErrorCode.UNAUTHORIZED
    assert line.client.fetches == []


def test_a_publisher_that_does_not_answer_is_not_waited_for_forever(relay: FakeRelay, number: int) -> None:
    """TIMEOUT, and the publisher's request is cancelled."""
    line = Announced(relay, number)
    asked = line.fetch((0, 0), (1, 0))
    upstream = line.publisher.expect(m.Fetch)

    relay.clock.advance(limits.FETCH_SECONDS)

    (answer,) = line.client.about(asked)
    assert answer.code == RequestErrorCode.TIMEOUT
    if upstream.stream_id is None:
        assert any(isinstance(said, m.FetchCancel) for _, said in line.publisher.messages)
    else:
        assert upstream.stream_id in line.publisher.resets


@pytest.mark.parametrize("number", MARKING)
def test_a_publisher_that_falls_silent_is_not_waited_for_forever(relay: FakeRelay, number: int) -> None:
    """It may take its time as long as something comes."""
    line = Announced(relay, number)
    line.fetch((0, 0), (1, 0))
    upstream = line.publisher.expect(m.Fetch)
    line.publisher.say(upstream, m.FetchOk(False, Location(0, 3)))
    sending = line.publisher.answer_fetch(upstream)
    for each in range(2):
        relay.clock.advance(limits.FETCH_SECONDS * 0.9)
        sending.send(an_object(0, each))
    before = list(only_fetch(line.client).fetched)

    relay.clock.advance(limits.FETCH_SECONDS)

    assert before == [an_object(0, 0), an_object(0, 1)]
    assert only_fetch(line.client).fetched == [*before, FetchRangeEnd(UNKNOWN, 0, 2)]
    assert only_fetch(line.client).fin


@pytest.mark.parametrize("how", ["reset", "disconnect"])
def test_a_fetch_that_breaks_off_does_not_end_as_if_whole(relay: FakeRelay, number: int, how: str) -> None:
    """The rest is marked as unknown where the draft can, else the stream is reset; never a bare FIN."""
    line = Announced(relay, number)
    line.fetch((0, 0), (1, 0))
    upstream = line.publisher.expect(m.Fetch)
    line.publisher.say(upstream, m.FetchOk(False, Location(1, 3)))
    sending = line.publisher.answer_fetch(upstream).send(an_object(0, 0))

    if how == "reset":
        sending.reset(0x1)
    else:
        line.publisher.disconnect()

    stream = only_fetch(line.client)
    assert stream.fetched[0] == an_object(0, 0)
    if DRAFTS[number].fetch_ranges:
        assert stream.fetched[1:] == [FetchRangeEnd(UNKNOWN, 1, 2)]
        assert stream.fin
    else:
        code = STREAM_ERRORS.value(StreamError.INTERNAL_ERROR, number)
        assert line.client.resets == {stream.stream_id: code}
        assert not stream.fin


def test_only_what_is_not_kept_is_asked_for(relay: FakeRelay, number: int) -> None:
    """The relay subscribed when the track had come to group 2; group 0 is a gap of its cache."""
    track = Published(relay, number, largest=Location(1, 3))
    track.publish(2, 0, 1)

    asked = track.fetch((0, 2), (2, 0))
    upstream = track.publisher.expect(m.Fetch)
    track.publisher.say(upstream, m.FetchOk(False, said_end(number, Location(1, 0))))
    track.publisher.answer_fetch(upstream).send(an_object(0, 2), an_object(1, 3), fin=True)

    assert upstream.message.range == m.StandaloneFetch(NAMESPACE, TRACK, Location(0, 2), Location(1, 0))
    assert isinstance(track.answer(asked), m.FetchOk)
    assert track.places() == [(0, 2), (1, 3), (2, 0), (2, 1)]
    assert only_fetch(track.client).fin
    again = relay.client(number)
    again.request(m.Fetch(m.StandaloneFetch(NAMESPACE, TRACK, Location(0, 2), Location(2, 0))))
    assert [item.object_id for item in fetched(again)] == [2, 3, 0, 1]
    assert track.publisher.incoming(m.Fetch) is None


def test_a_group_without_a_known_end_is_asked_for(relay: FakeRelay, number: int) -> None:
    """That a later group exists does not say that an earlier one is complete."""
    track = Published(relay, number, 2, 2, ended=False)

    track.fetch((0, 0), (1, 2))
    upstream = track.publisher.expect(m.Fetch)

    assert upstream.message.range == m.StandaloneFetch(NAMESPACE, TRACK, Location(0, 2), Location(0, 0))


@pytest.mark.parametrize("to", sorted(SUPPORTED), ids=lambda to: f"to-{to}")
def test_a_fetch_passes_between_drafts(relay: FakeRelay, number: int, to: int) -> None:
    """A publisher of one draft is asked in its own way for what a client of another wants: a whole group."""
    publisher, client = relay.client(number), relay.client(to)
    publisher.request(m.PublishNamespace(NAMESPACE))
    wanted = m.StandaloneFetch(NAMESPACE, TRACK, Location(2, 0), Location(2, 0))
    asked = client.request(m.Fetch(wanted))
    upstream = publisher.expect(m.Fetch)

    properties = KeyValues({Property.DYNAMIC_GROUPS: 1})
    end = said_end(number, Location(2, 0))
    publisher.say(upstream, m.FetchOk(False, end, track_properties=properties))
    items = [an_object(2, 0, subgroup_id=4), an_object(2, 3, payload=b"")]
    publisher.answer_fetch(upstream).send(*items, fin=True)

    assert upstream.message.range == wanted
    (ok,) = client.about(asked)
    assert (ok.end_of_track, ok.end) == (False, said_end(to, Location(2, 0)))
    assert only_fetch(client).fetched == items
    assert only_fetch(client).fin


@pytest.mark.parametrize("order", GroupOrder)
@pytest.mark.parametrize("seed", range(8))
def test_kept_or_not_all_objects_of_a_range_arrive_once(
    relay: FakeRelay, number: int, seed: int, order: GroupOrder
) -> None:
    """Whatever the relay has seen of a track, as long as its publisher answers for the rest."""
    chance = random.Random(seed)
    there = {group: sorted(chance.sample(range(6), chance.randrange(1, 5))) for group in range(5)}
    largest = Location(4, there[4][-1])
    track = Published(relay, number, ended=False, largest=largest)
    for group, numbers in there.items():
        track.ended = chance.random() < 0.5
        seen = [each for each in numbers if track.ended or chance.random() < 0.5]
        if seen and chance.random() < 0.7:
            track.publish(group, *seen)
    start = Location(chance.randrange(4), chance.randrange(6))
    end = Location(chance.randrange(start.group + 1, 6), chance.randrange(6))

    asked = track.fetch((start.group, start.object), (end.group, end.object), GROUP_ORDER=order)
    while (upstream := track.publisher.incoming(m.Fetch)) is not None:
        _serve(track.publisher, upstream, there)

    places = _between(there, m.StandaloneFetch(NAMESPACE, TRACK, start, end), order)
    if places:
        assert isinstance(track.answer(asked), m.FetchOk)
        assert only_fetch(track.client).fetched == [an_object(*place) for place in places]
        assert only_fetch(track.client).fin
    else:
        assert all(stream.fetched == [] for stream in track.client.fetches)


def _between(
    there: dict[int, list[int]], wanted: m.StandaloneFetch, order: GroupOrder
) -> list[tuple[int, int]]:
    """The objects of a range in the order asked for."""
    end = wanted.end if wanted.end.object else Location(wanted.end.group + 1, 0)
    groups = sorted(there, reverse=order == GroupOrder.DESCENDING)
    places = [Location(group, each) for group in groups for each in there[group]]
    return [(place.group, place.object) for place in places if wanted.start <= place < end]


def _serve(publisher: Client, upstream: Asked, there: dict[int, list[int]]) -> None:
    """Answer a FETCH of the relay with what there is."""
    wanted, number = upstream.message.range, publisher.draft.number
    places = _between(there, wanted, upstream.message.parameters[Parameter.GROUP_ORDER])
    if not places and REQUEST_ERRORS.value(RequestErrorCode.NO_OBJECTS, number, "FETCH") is not None:
        publisher.say(upstream, m.RequestError(RequestErrorCode.NO_OBJECTS, "none"))
        return
    publisher.say(upstream, m.FetchOk(False, said_end(number, wanted.end)))
    publisher.answer_fetch(upstream).send(*(an_object(*place) for place in places), fin=True)


@pytest.mark.parametrize("number", MARKING)
@pytest.mark.parametrize("order", GroupOrder)
def test_what_stays_unknown_is_marked(relay: FakeRelay, number: int, order: GroupOrder) -> None:
    """'indicate the range of unknown Objects and continue serving other known Objects'."""
    track = Published(relay, number, largest=Location(1, 3))
    track.publish(2, 0, 1)
    track.publish(4, 0)

    track.fetch((1, 2), (4, 0), GROUP_ORDER=order)
    asked = [track.publisher.expect(m.Fetch)]
    refusal = m.RequestError(RequestErrorCode.NOT_SUPPORTED, "no")
    track.publisher.say(asked[0], refusal)

    most = min(LAST, DRAFTS[number].integers.maximum)
    known = {2: [an_object(2, 0), an_object(2, 1)], 4: [an_object(4, 0)]}
    gaps = {1: FetchRangeEnd(UNKNOWN, 1, most), 3: FetchRangeEnd(UNKNOWN, 3, most)}
    split = FetchRangeEnd(EMPTY, 2, most)
    expected: list[object] = [gaps[1], *known[2], split, gaps[3], *known[4]]
    if order is GroupOrder.DESCENDING:
        expected = [*known[4], gaps[3], *known[2], split, gaps[1]]
    assert only_fetch(track.client).fetched == expected
    assert only_fetch(track.client).fin
    assert track.publisher.incoming(m.Fetch) is None


@pytest.mark.parametrize("number", BUDGETED)
def test_a_fetch_without_time_brings_only_what_is_kept(relay: FakeRelay, number: int) -> None:
    """FILL_TIMEOUT 0: 'the relay MUST NOT wait for upstream delivery'."""
    track = Published(relay, number, largest=Location(1, 3))
    track.publish(2, 0)

    track.fetch((1, 0), (2, 1), FILL_TIMEOUT=0)

    mark = TIMED_OUT if TIMED_OUT in DRAFTS[number].fetch_ranges else UNKNOWN
    assert only_fetch(track.client).fetched == [FetchRangeEnd(mark, 1, LAST), an_object(2, 0)]
    assert only_fetch(track.client).fin
    assert track.publisher.incoming(m.Fetch) is None


@pytest.mark.parametrize("number", BUDGETED)
def test_the_time_for_publishers_is_limited(relay: FakeRelay, number: int) -> None:
    """What has not come by then is marked, and the rest is sent."""
    track = Published(relay, number, largest=Location(1, 3))
    track.publish(2, 0)
    track.fetch((1, 0), (2, 1), FILL_TIMEOUT=200)
    upstream = track.publisher.expect(m.Fetch)
    track.publisher.say(upstream, m.FetchOk(False, Location(1, 4)))
    track.publisher.answer_fetch(upstream).send(an_object(1, 0))

    relay.clock.advance(0.2)

    mark = TIMED_OUT if TIMED_OUT in DRAFTS[number].fetch_ranges else UNKNOWN
    assert only_fetch(track.client).fetched == [
        an_object(1, 0),
        FetchRangeEnd(mark, 1, LAST),
        an_object(2, 0),
    ]
    assert upstream.stream_id in track.publisher.resets


@pytest.mark.parametrize("number", [each for each in SUPPORTED if not _has_duration(each)])
def test_objects_older_than_their_duration_are_asked_for_again(relay: FakeRelay, number: int) -> None:
    """'Once Objects have expired from cache, their state becomes unknown' (MAX_CACHE_DURATION)."""
    track = Published(relay, number, properties={Property.MAX_CACHE_DURATION: 1000})
    track.publish(0, 0, 1)
    track.publish(1, 0)
    relay.clock.advance(1.5)

    track.fetch((0, 0), (0, 0))

    assert track.publisher.incoming(m.Fetch) is not None
    assert track.client.fetches == []


@pytest.mark.parametrize("number", [each for each in SUPPORTED if _has_duration(each)])
def test_the_duration_may_be_a_parameter(relay: FakeRelay, number: int) -> None:
    """Of SUBSCRIBE_OK, in drafts 14 and 15."""
    line = Announced(relay, number)
    line.client.request(m.Subscribe(NAMESPACE, TRACK))
    duration = KeyValues({Parameter.MAX_CACHE_DURATION: 1000})
    line.publisher.say(line.publisher.expect(m.Subscribe), m.SubscribeOk(ALIAS, duration))
    line.publisher.open_subgroup(SubgroupHeader(ALIAS, 0)).send(StreamObject(0, b"x"))
    relay.clock.advance(1.5)

    line.fetch((0, 0), (0, 1))

    assert line.publisher.incoming(m.Fetch) is not None


# ---- joining -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", JOINING)
@pytest.mark.parametrize(
    ("start", "relative", "first"), [(2, True, 2), (1, False, 1), (9, True, 0)], ids=lambda value: str(value)
)
def test_a_joining_fetch_ends_where_its_subscription_begins(
    relay: FakeRelay, number: int, start: int, relative: bool, first: int
) -> None:
    """'the Objects retrieved by the FETCH and SUBSCRIBE are contiguous and non-overlapping'."""
    track = Published(relay, number, 2, 2, 2, 2)
    track.publish(4, 0, 1, 2, fin=False)
    subscribed = _join(track)

    joined = track.client.request(m.Fetch(m.JoiningFetch(subscribed.id, start, relative)))
    track.publish(4, 3)

    assert track.answer(joined).end == Location(4, 3)
    expected = [(group, each) for group in range(first, 4) for each in range(2)]
    assert track.places() == [*expected, (4, 0), (4, 1), (4, 2)]
    live = [stream for stream in track.client.streams if stream not in track.client.fetches]
    assert [item.object_id for stream in live for item in stream.objects] == [3]


@pytest.mark.parametrize("number", [each for each in JOINING if DRAFTS[each].joining_misuse_closes])
def test_joining_wrongly_harms_nobody_else(relay: FakeRelay, number: int) -> None:
    """Though it comes out when the publisher accepts the subscription."""
    line = Announced(relay, number)
    wanted: dict[Any, Any] = {Parameter.FORWARD: 0}
    if DRAFTS[number].joining_by_filter:
        wanted = {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.NEXT_GROUP_START)}
    subscribed = line.client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(wanted)))
    line.client.request(m.Fetch(m.JoiningFetch(subscribed.id, 0)))

    line.publisher.say(line.publisher.expect(m.Subscribe), m.SubscribeOk(ALIAS))

    assert line.client.closed is not None
    assert line.client.closed[0] == SessionError.PROTOCOL_VIOLATION
    assert line.publisher.closed is None


def _join(track: Published, **parameters: Any) -> Asked:
    wanted = {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.LARGEST_OBJECT)}
    pairs = {**wanted, **{Parameter[name]: value for name, value in parameters.items()}}
    return track.client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(pairs)))


@pytest.mark.parametrize("number", JOINING)
def test_a_joining_fetch_waits_for_its_subscription(relay: FakeRelay, number: int) -> None:
    """'the Publisher receiving the Joining Fetch buffers the pending Joining Fetch'."""
    line = Announced(relay, number)
    wanted = KeyValues({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.LARGEST_OBJECT)})
    subscribed = line.client.request(m.Subscribe(NAMESPACE, TRACK, wanted))
    joined = line.client.request(m.Fetch(m.JoiningFetch(subscribed.id, 0)))
    before = line.client.about(joined)

    largest = KeyValues({Parameter.LARGEST_OBJECT: Location(2, 1)})
    line.publisher.say(line.publisher.expect(m.Subscribe), m.SubscribeOk(ALIAS, largest))
    upstream = line.publisher.expect(m.Fetch)
    line.publisher.say(upstream, m.FetchOk(False, Location(2, 2)))
    line.publisher.answer_fetch(upstream).send(an_object(2, 0), an_object(2, 1), fin=True)

    assert before == []
    assert upstream.message.range == m.StandaloneFetch(NAMESPACE, TRACK, Location(2, 0), Location(2, 2))
    assert isinstance(line.client.about(joined)[0], m.FetchOk)
    assert only_fetch(line.client).fetched == [an_object(2, 0), an_object(2, 1)]


@pytest.mark.parametrize("number", JOINING)
def test_a_joining_fetch_of_a_refused_subscription_fails(relay: FakeRelay, number: int) -> None:
    """There is no such subscription then."""
    line = Announced(relay, number)
    wanted = KeyValues({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.LARGEST_OBJECT)})
    subscribed = line.client.request(m.Subscribe(NAMESPACE, TRACK, wanted))
    joined = line.client.request(m.Fetch(m.JoiningFetch(subscribed.id, 0)))

    refusal = m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "")
    line.publisher.say(line.publisher.expect(m.Subscribe), refusal)

    (answer,) = line.client.about(joined)
    assert answer.code == RequestErrorCode.INVALID_JOINING_REQUEST_ID


@pytest.mark.parametrize("number", JOINING)
def test_what_is_joined_has_to_be_a_subscription(relay: FakeRelay, number: int) -> None:
    """'it MUST return a REQUEST_ERROR with error code INVALID_JOINING_REQUEST_ID'."""
    track = Published(relay, number, 1)

    asked = track.client.request(m.Fetch(m.JoiningFetch(1000, 0)))

    assert track.answer(asked).code == RequestErrorCode.INVALID_JOINING_REQUEST_ID


@pytest.mark.parametrize("number", JOINING)
def test_a_track_without_objects_cannot_be_joined(relay: FakeRelay, number: int) -> None:
    """'If no Objects have been published for the track ... INVALID_RANGE'."""
    track = Published(relay, number)
    subscribed = _join(track)

    asked = track.client.request(m.Fetch(m.JoiningFetch(subscribed.id, 0)))

    assert track.answer(asked).code == RequestErrorCode.INVALID_RANGE


@pytest.mark.parametrize("number", JOINING)
def test_joining_needs_what_the_draft_says(relay: FakeRelay, number: int) -> None:
    """Up to 16 the filter Largest Object, then Forward State 1; up to 17 the session is closed without."""
    track = Published(relay, number, 2, 2)
    by_filter, closes = DRAFTS[number].joining_by_filter, DRAFTS[number].joining_misuse_closes
    other = Filter(FilterType.NEXT_GROUP_START)
    subscribed = _join(track, **({"SUBSCRIPTION_FILTER": other} if by_filter else {"FORWARD": 0}))

    asked = track.client.request(m.Fetch(m.JoiningFetch(subscribed.id, 0)))

    if closes:
        assert track.client.closed is not None
        assert track.client.closed[0] == SessionError.PROTOCOL_VIOLATION
    else:
        assert track.answer(asked).code == RequestErrorCode.INVALID_RANGE
    assert track.client.fetches == []
    assert track.subscriber.closed is None


@pytest.mark.parametrize("number", [each for each in JOINING if not DRAFTS[each].joining_by_filter])
def test_what_is_joined_ends_where_objects_began_to_be_forwarded(relay: FakeRelay, number: int) -> None:
    """The Joining Location is the one of the answer 'that changes the Forward State from 0 to 1'."""
    track = Published(relay, number, 2)
    subscribed = _join(track, FORWARD=0)
    track.publish(1, 0, 1)
    track.client.update(subscribed, {Parameter.FORWARD: 1})
    track.publish(2, 0)

    track.client.request(m.Fetch(m.JoiningFetch(subscribed.id, 0)))

    assert track.places() == [(1, 0), (1, 1)]


# ---- from draft 20 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", FILLING)
@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (None, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
        (Filter(FilterType.RELATIVE_START, groups_back=2), [(1, 0), (1, 1), (2, 0), (2, 1)]),
        (Filter(FilterType.ABSOLUTE_START, Location(1, 1)), [(1, 1), (2, 0), (2, 1)]),
        (Filter(FilterType.FULL_RANGE, Location(0, 1), 1, 0), [(0, 1), (1, 0)]),
    ],
    ids=["all", "relative", "start", "full"],
)
def test_a_filter_is_the_range_of_a_fetch(
    relay: FakeRelay, number: int, wanted: Filter | None, places: list[tuple[int, int]]
) -> None:
    """Without an end it goes to the largest object."""
    track = Published(relay, number, 2, 2, 2)

    asked = track.client.request(m.Fetch(m.FilteredFetch(NAMESPACE, TRACK, wanted)))

    end = Location(*places[-1])
    assert track.answer(asked).end == Location(end.group, end.object + 1)
    assert track.places() == places


@pytest.mark.parametrize("number", FILLING)
def test_a_fetch_of_what_comes_next_has_no_range(relay: FakeRelay, number: int) -> None:
    """It starts behind the largest object."""
    track = Published(relay, number, 2)
    wanted = m.FilteredFetch(NAMESPACE, TRACK, Filter(FilterType.LARGEST_OBJECT))

    asked = track.client.request(m.Fetch(wanted))

    assert track.answer(asked).code == RequestErrorCode.INVALID_RANGE


@pytest.mark.parametrize("number", FILLING)
def test_a_whole_track_is_fetched_from_its_publisher_in_older_drafts(relay: FakeRelay, number: int) -> None:
    """Where a fetch needs an end, it gets one that nothing is behind."""
    publisher, client = relay.client(min(SUPPORTED)), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    asked = client.request(m.Fetch(m.FilteredFetch(NAMESPACE, TRACK)))
    upstream = publisher.expect(m.Fetch)

    publisher.say(upstream, m.FetchOk(False, Location(3, 1)))
    publisher.answer_fetch(upstream).send(an_object(3, 0), fin=True)

    assert upstream.message.range.start == Location(0, 0)
    assert client.about(asked)[0].end == Location(3, 1)
    assert fetched(client) == [an_object(3, 0)]


@pytest.mark.parametrize("number", FILLING)
def test_a_relative_fetch_is_passed_on_as_it_is(relay: FakeRelay, number: int) -> None:
    """The publisher knows the largest object, and FETCH_OK tells it."""
    line = Announced(relay, number)
    wanted = Filter(FilterType.RELATIVE_START, groups_back=1)
    line.client.request(m.Fetch(m.FilteredFetch(NAMESPACE, TRACK, wanted)))
    upstream = line.publisher.expect(m.Fetch)

    line.publisher.say(upstream, m.FetchOk(False, Location(7, 2)))
    line.publisher.answer_fetch(upstream).send(an_object(7, 0), an_object(7, 1), fin=True)

    assert upstream.message.range.filter == wanted
    assert fetched(line.client) == [an_object(7, 0), an_object(7, 1)]
    assert only_fetch(line.client).fin


@pytest.mark.parametrize("number", FILLING)
def test_a_fill_brings_what_precedes_the_subscription(relay: FakeRelay, number: int) -> None:
    """Under the subscription's request id, up to the largest object, with a FIN; PUBLISH_DONE counts it."""
    track = Published(relay, number, 2, 2)
    inside = KeyValues({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.RELATIVE_START, groups_back=1)})

    subscribed = _join(track, FILL_PARAMETERS=inside)
    track.publish(2, 0)
    track.publisher.say(track.routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 3))

    stream = only_fetch(track.client)
    assert stream.items[0] == FetchHeader(subscribed.id)
    assert track.places() == [(1, 0), (1, 1)]
    assert stream.fin
    assert track.client.about(subscribed)[-1].stream_count == 2


@pytest.mark.parametrize("number", FILLING)
def test_the_end_of_a_track_waits_for_its_fills(relay: FakeRelay, number: int) -> None:
    """PUBLISH_DONE comes when all streams have ended."""
    track = Published(relay, number, largest=Location(0, 1))
    subscribed = _join(track, FILL_PARAMETERS=KeyValues())
    assert track.client.fetches == []  # the subscription's own filter selects nothing of the past
    track.client.update(subscribed, {Parameter.FILL_PARAMETERS: _everything()})
    upstream = track.publisher.expect(m.Fetch)
    track.publisher.say(upstream, m.FetchOk(False, Location(0, 2)))
    sending = track.publisher.answer_fetch(upstream).send(an_object(0, 0))

    track.publisher.say(track.routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0))
    before = track.client.about(subscribed)[-1]
    sending.send(an_object(0, 1), fin=True)

    assert not isinstance(before, m.PublishDone)
    assert only_fetch(track.client).fin
    done = track.client.about(subscribed)[-1]
    assert (done.status, done.stream_count) == (PublishDoneStatus.TRACK_ENDED, 1)


def _everything() -> KeyValues[Any, Any]:
    return KeyValues({Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.UNFILTERED)})


@pytest.mark.parametrize("number", FILLING)
def test_fills_are_reset_when_their_subscription_is_cancelled(relay: FakeRelay, number: int) -> None:
    """'the publisher MUST reset any open fill fetch streams'."""
    track = Published(relay, number, largest=Location(0, 1))
    subscribed = _join(track, FILL_PARAMETERS=_everything())

    track.client.cancel(subscribed)

    assert only_fetch(track.client).stream_id in track.client.resets


@pytest.mark.parametrize("number", FILLING)
def test_a_fill_that_is_stopped_leaves_its_subscription(relay: FakeRelay, number: int) -> None:
    """'Resetting or cancelling a fill fetch stream ... does not affect the subscription'."""
    track = Published(relay, number, largest=Location(0, 1))
    _join(track, FILL_PARAMETERS=_everything())

    track.client.stop(only_fetch(track.client))
    track.publish(1, 0)

    assert [stream.payloads for stream in track.client.streams[1:]] == [[an_object(1, 0).payload]]
