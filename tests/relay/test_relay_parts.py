"""Large objects, which are passed on as they come: what becomes of one that is half there."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from relay_clients import Asked, Client, FakeRelay, Incoming, Outgoing

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.objects import FetchObject, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import STREAM_ERRORS, SessionError, StreamError
from pytest_moqt.protocol.values import KeyValues, Location
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS, GROUP = 77, 4
HEADER = SubgroupHeader(ALIAS, GROUP, subgroup_id=0, publisher_priority=9)
HALF = 100
"Large enough here, so that bytes can come one by one."
HEAD = 32
"More bytes than are before a payload."
SMALL = StreamObject(0, b"a small object")
LARGE = StreamObject(1, bytes(number % 251 for number in range(2 * HALF)))
NEXT = StreamObject(2, b"another small object")


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WHOLE_BYTES", HALF)


class Line:
    """A publisher with a stream of a group, and subscribers of its track."""

    def __init__(self, relay: FakeRelay, publisher: int, *subscribers: int) -> None:
        self.relay = relay
        self.publisher = relay.client(publisher)
        self.publisher.request(m.PublishNamespace(NAMESPACE))
        self.subscribers: list[Client] = []
        self.subscriptions: list[Asked] = []
        self.subscribe(subscribers[0])
        self.routed = self.publisher.expect(m.Subscribe)
        self.publisher.say(self.routed, m.SubscribeOk(ALIAS))
        for number in subscribers[1:]:
            self.subscribe(number)

    def subscribe(self, number: int, **parameters: Any) -> Client:
        """One subscriber more."""
        pairs = [(Parameter[name], value) for name, value in parameters.items()]
        client = self.relay.client(number)
        self.subscribers.append(client)
        self.subscriptions.append(client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(pairs))))
        return client

    def half(self) -> tuple[Outgoing, bytes]:
        """A small object and half of a large one, with what is missing of it."""
        stream = self.publisher.open_subgroup(HEADER).send(SMALL)
        return stream, stream.begin(LARGE, HALF)

    def fetch(self, client: Client) -> Asked:
        """Ask for all that is large."""
        place = Location(GROUP, LARGE.object_id)
        end = Location(GROUP, LARGE.object_id + 1)
        return client.request(m.Fetch(m.StandaloneFetch(NAMESPACE, TRACK, place, end), KeyValues()))


def only(client: Client) -> Incoming:
    (stream,) = client.streams
    return stream


def _broken(client: Client) -> bool:
    """Whether a client's one stream was reset within the large object, behind the small one."""
    stream = only(client)
    return stream.objects == [SMALL] and stream.stream_id in client.resets and not stream.fin


# ---- on their way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [14, 18, 22])
def test_what_came_of_a_large_object_is_passed_on(relay: FakeRelay, number: int, to: int) -> None:
    """'A publisher SHOULD begin sending incomplete objects when available', whatever drafts are spoken."""
    line = Line(relay, number, to)
    sent = dataclasses.replace(LARGE, properties=KeyValues({0x3C: 2}))
    stream = line.publisher.open_subgroup(dataclasses.replace(HEADER, has_properties=True)).send(SMALL)

    rest = stream.begin(sent, HALF)

    (subscriber,) = line.subscribers
    assert HALF < only(subscriber).octets < HALF + 2 * HEAD
    stream.deliver(rest)
    stream.send(NEXT, fin=True)
    assert only(subscriber).objects == [SMALL, sent, NEXT]
    assert only(subscriber).fin


def test_smaller_objects_wait_until_they_are_whole(relay: FakeRelay, number: int) -> None:
    """Each part costs as much as a small object."""
    line = Line(relay, number, number)
    stream = line.publisher.open_subgroup(HEADER).send(SMALL)
    before = only(line.subscribers[0]).octets
    sent = StreamObject(1, bytes(HALF - 1))

    rest = stream.begin(sent, HALF - 2)

    assert only(line.subscribers[0]).octets == before
    stream.deliver(rest)
    assert only(line.subscribers[0]).objects == [SMALL, sent]


def test_what_came_before_its_alias_is_passed_on_with_it(relay: FakeRelay, number: int) -> None:
    """Nothing more has to come for that."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscriber.request(m.Subscribe(NAMESPACE, TRACK))
    stream = publisher.open_subgroup(HEADER)
    rest = stream.begin(dataclasses.replace(LARGE, object_id=0), HALF)

    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(ALIAS))

    assert only(subscriber).octets > HALF
    stream.deliver(rest, fin=True)
    assert only(subscriber).payloads == [LARGE.payload]
    assert only(subscriber).fin


def test_who_changes_objects_gets_whole_ones(number: int) -> None:
    """A relay that is wrong about objects is so about large ones too."""

    class Shortening(Behaviour):
        def forward_object(self, item: StreamObject) -> StreamObject | None:
            return dataclasses.replace(item, payload=item.payload[:5])

    line = Line(FakeRelay(Shortening()), number, number)

    stream, rest = line.half()
    stream.deliver(rest, fin=True)

    assert only(line.subscribers[0]).payloads == [b"a sma", LARGE.payload[:5]]


# ---- broken off ------------------------------------------------------------------------------------


def test_a_reset_within_an_object_is_passed_on(relay: FakeRelay, number: int) -> None:
    """With its code; a FIN would say that the object is broken."""
    line = Line(relay, number, number)
    stream, _ = line.half()

    stream.reset(0x2)

    assert _broken(line.subscribers[0])
    assert list(line.subscribers[0].resets.values()) == [0x2]


def test_a_publisher_that_is_lost_within_an_object_resets_it(relay: FakeRelay, number: int) -> None:
    """Nobody takes it for complete."""
    line = Line(relay, number, number)
    line.half()

    line.publisher.disconnect()

    assert _broken(line.subscribers[0])
    assert relay.router.cache.assembled == 0


def test_a_stream_that_ends_within_a_large_object_is_a_violation(relay: FakeRelay, number: int) -> None:
    """Of its publisher, whose subscribers' streams are reset."""
    line = Line(relay, number, number)
    stream, rest = line.half()

    stream.deliver(rest[:-1], fin=True)

    assert line.publisher.closed is not None
    assert line.publisher.closed[0] == SessionError.PROTOCOL_VIOLATION
    assert _broken(line.subscribers[0])
    assert line.subscribers[0].closed is None


def test_an_object_that_is_too_large_does_not_begin(
    relay: FakeRelay, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream is stopped, the session goes on."""
    monkeypatch.setattr(limits, "OBJECT_BYTES", len(LARGE.payload) - 1)
    line = Line(relay, number, number)

    stream, _ = line.half()

    assert stream.stream_id in line.publisher.stops
    assert _broken(line.subscribers[0])
    assert line.publisher.closed is None


def test_a_subscriber_that_falls_behind_within_an_object_loses_it_alone(
    relay: FakeRelay, number: int
) -> None:
    """What it does not take is not kept for it without limit."""
    line = Line(relay, number, number, number)
    slow, quick = line.subscribers
    stream, rest = line.half()

    slow.transport.unacknowledged = limits.STREAM_BACKLOG
    stream.deliver(rest, fin=True)

    assert _broken(slow)
    assert only(quick).objects == [SMALL, LARGE]


def test_a_subscriber_that_leaves_within_an_object_is_sent_no_more(relay: FakeRelay, number: int) -> None:
    """One stops the stream, another its subscription; both affect nobody else."""
    line = Line(relay, number, number, number, number)
    stopping, leaving, staying = line.subscribers
    stream, rest = line.half()
    came = only(stopping).octets

    stopping.stop(only(stopping))
    leaving.cancel(line.subscriptions[1])
    stream.deliver(rest, fin=True)

    assert only(stopping).octets == came
    assert _broken(leaving)
    assert only(staying).objects == [SMALL, LARGE]


def test_an_object_that_takes_longer_than_its_timeout_is_reset(relay: FakeRelay, number: int) -> None:
    """'MUST check the time elapsed since the first byte of the object before attempting to pass it'."""
    line = Line(relay, number, number)
    timed = line.subscribe(number, OBJECT_DELIVERY_TIMEOUT=500)
    stream, rest = line.half()
    relay.clock.advance(0.4)
    stream.deliver(rest[: HALF // 2])
    assert not timed.resets

    relay.clock.advance(0.2)
    stream.deliver(rest[HALF // 2 :], fin=True)

    assert _broken(timed)
    code = STREAM_ERRORS.value(StreamError.DELIVERY_TIMEOUT, number)
    assert timed.resets == {only(timed).stream_id: 0x1 if code is None else code}
    assert only(line.subscribers[0]).objects == [SMALL, LARGE]


def test_the_time_of_a_part_is_that_of_its_object(relay: FakeRelay, number: int) -> None:
    """It has to be taken by then, whenever it came."""
    line = Line(relay, number, number)
    timed = line.subscribe(number, OBJECT_DELIVERY_TIMEOUT=500)
    stream, rest = line.half()
    relay.clock.advance(0.4)
    stream.deliver(rest[: HALF // 2])

    timed.transport.unacknowledged = 1
    relay.clock.advance(0.1)

    assert _broken(timed)


# ---- who gets it -----------------------------------------------------------------------------------


def test_who_subscribes_within_an_object_gets_what_follows_it(relay: FakeRelay, number: int) -> None:
    """'Largest Object updates when the first byte of an Object … is received': it is what lies behind."""
    line = Line(relay, number, number)
    stream, rest = line.half()

    late = line.subscribe(number)
    stream.deliver(rest)
    stream.send(NEXT, fin=True)

    (ok,) = late.about(line.subscriptions[1])
    assert ok.parameters[Parameter.LARGEST_OBJECT] == Location(GROUP, LARGE.object_id)
    assert only(late).objects == [NEXT]
    assert not only(late).header.first_object
    assert only(line.subscribers[0]).objects == [SMALL, LARGE, NEXT]


def test_a_subscriber_that_pauses_within_an_object_gets_the_rest(relay: FakeRelay, number: int) -> None:
    """The stream is reset when an object is left out."""
    line = Line(relay, number, number)
    (subscriber,) = line.subscribers
    stream, rest = line.half()

    subscriber.update(line.subscriptions[0], {Parameter.FORWARD: 0})
    stream.deliver(rest)
    assert only(subscriber).objects == [SMALL, LARGE]
    stream.send(NEXT, fin=True)

    assert only(subscriber).objects == [SMALL, LARGE]
    assert only(subscriber).stream_id in subscriber.resets


def test_a_copy_in_parts_is_dropped(relay: FakeRelay, number: int) -> None:
    """'The Relay SHOULD attempt to deduplicate Objects before forwarding'."""
    line = Line(relay, number, number)
    second = relay.client(number)
    second.request(m.PublishNamespace(NAMESPACE))
    second.say(second.expect(m.Subscribe), m.SubscribeOk(ALIAS))
    stream, rest = line.half()

    copy = second.open_subgroup(HEADER).send(SMALL)
    copy.deliver(copy.begin(LARGE, HALF), fin=True)
    stream.deliver(rest, fin=True)

    assert only(line.subscribers[0]).objects == [SMALL, LARGE]
    assert only(line.subscribers[0]).fin


# ---- what is kept of it ----------------------------------------------------------------------------


def test_an_object_that_passed_in_parts_is_kept(relay: FakeRelay, number: int) -> None:
    """Whole, for FETCH."""
    line = Line(relay, number, number)
    stream, rest = line.half()
    stream.deliver(rest, fin=True)
    client = relay.client(number)

    line.fetch(client)

    assert [item.payload for item in _objects(client)] == [LARGE.payload]
    assert relay.router.cache.assembled == 0


def test_who_fetches_an_object_that_is_coming_waits_for_it(relay: FakeRelay, number: int) -> None:
    """It is nearer than its publisher, who is not asked."""
    line = Line(relay, number, number)
    stream, rest = line.half()
    client = relay.client(number)

    line.fetch(client)
    assert not client.streams
    stream.deliver(rest, fin=True)

    assert [item.payload for item in _objects(client)] == [LARGE.payload]
    assert line.publisher.incoming(m.Fetch) is None


@pytest.mark.parametrize("number", [number for number in SUPPORTED if DRAFTS[number].fetch_ranges])
def test_who_fetches_an_object_that_breaks_off_is_helped_by_its_publisher(
    relay: FakeRelay, number: int
) -> None:
    """The wait is over with the stream."""
    line = Line(relay, number, number)
    stream, _ = line.half()
    client = relay.client(number)
    line.fetch(client)

    stream.reset(0x1)

    asked = line.publisher.expect(m.Fetch)
    line.publisher.say(asked, m.FetchOk(False, Location(GROUP, LARGE.object_id + 1)))
    found = FetchObject(GROUP, 0, LARGE.object_id, 9, LARGE.payload)
    line.publisher.answer_fetch(asked).send(found, fin=True)
    assert _objects(client) == [found]


def test_what_does_not_fit_passes_and_is_not_kept(
    relay: FakeRelay, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is put together of all objects is bounded."""
    monkeypatch.setattr(limits, "ASSEMBLED_BYTES", len(LARGE.payload) - 1)
    line = Line(relay, number, number)
    stream, rest = line.half()
    assert relay.router.cache.assembled == HALF

    stream.deliver(rest, fin=True)

    assert only(line.subscribers[0]).objects == [SMALL, LARGE]
    assert relay.router.cache.assembled == 0
    line.fetch(relay.client(number))
    line.publisher.expect(m.Fetch)


def _objects(client: Client) -> list[FetchObject]:
    """What the one fetch of a client brought."""
    (stream,) = client.fetches
    return [item for item in stream.fetched if isinstance(item, FetchObject)]
