"""Objects: every one that is sent comes, once, with its bytes, in its place."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time

import pytest

from pytest_moqt import (
    CaseFailure,
    Filter,
    FilterType,
    Location,
    Parameter,
    PublishDone,
    PublishDoneStatus,
    QuicOptions,
    RelayUnderTest,
    StreamObject,
)

from .sources import sourced
from .tracks import (
    NAMESPACE,
    Parameters,
    Subscription,
    announce,
    established,
    first_subscribe,
    payload,
    subscribe,
)
from .waits import silence

MEBIBYTE = 1024 * 1024
LARGE, BEGINNING = 200_000, 10_000
"Bytes of an object that takes a while, and of its beginning that is enough to begin with."
LARGE_SECONDS, STALLED_SECONDS = 27.0, 10.0
"For 16 mebibytes, and without any more of them: a relay may take all before it sends the first."
MANY_OBJECTS = 3000
"Of one stream: some hundred packets, and a third of a second in a relay of Python."
MANY_GROUPS = 200
SUBSCRIBERS = 10
CANCELLED = 0x1
"With which a stream is given up; the same number in all drafts (`stream-reset-codes`)."


@pytest.mark.interop("single-object", timeout=5.0, profile="data")
@pytest.mark.spec("model-object", "subgroup-header", "data-streams")
async def test_single_object(relay: RelayUnderTest) -> None:
    """One object comes to the subscriber with its bytes, on a stream that ends behind it."""
    async with established(relay) as (publication, subscription):
        publication.group(0, [0], size=100, publisher_priority=77)

        await subscription.streams(1)

        (stream,) = subscription.subgroups
        assert subscription.payloads == {(0, 0): payload(0, 0, 100)}
        assert (stream.group, stream.id, subscription.priority(stream.header)) == (0, 0, 77)
        assert stream.ended


@pytest.mark.interop("single-group", timeout=5.0, profile="data")
@pytest.mark.spec("model-group", "model-subgroup", "subgroup-header")
async def test_single_group(relay: RelayUnderTest) -> None:
    """The objects of a subgroup come in their order on one stream, which then ends."""
    async with established(relay) as (publication, subscription):
        publication.group(0, range(10))

        await subscription.streams(1)

        (stream,) = subscription.subgroups
        assert [item.object_id for item in stream.objects] == list(range(10))
        assert subscription.payloads == {(0, number): payload(0, number) for number in range(10)}
        assert stream.ended


@pytest.mark.interop("multiple-groups", timeout=5.0, profile="data")
@pytest.mark.spec("model-group", "subgroup-header")
async def test_multiple_groups(relay: RelayUnderTest) -> None:
    """Each group comes whole, on a stream of its own."""
    sent = [(group, number) for group in range(4) for number in range(4)]
    async with established(relay) as (publication, subscription):
        for group in range(4):
            publication.group(group)

        await subscription.objects(*sent)
        await subscription.streams(4)

        assert subscription.places == sent
        assert subscription.payloads == {(group, number): payload(group, number) for group, number in sent}


@pytest.mark.interop("late-subscriber", timeout=8.0, profile="data")
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "location-filters", "largest-param")
async def test_late_subscriber(relay: RelayUnderTest) -> None:
    """Who subscribes from the largest object on, within a group, gets what follows it and nothing before."""
    largest: Parameters = {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.LARGEST_OBJECT)}
    async with (
        # Which answers a relay that subscribes once more too: "MAY aggregate" (`subscriber-interactions`).
        sourced(relay) as source,
        relay.connect("subscriber_1") as early,
        relay.connect("subscriber_2") as late,
    ):
        first = await subscribe(early, source.namespace)
        await source.forwarding()
        stream = source.subgroup(2, first_object=relay.draft.has_first_object)
        stream.write(*range(4))
        await first.objects((2, 3))

        joined = await subscribe(late, source.namespace, largest)
        stream.write(4, 5)
        stream.finish()
        source.group(3)
        await joined.objects((2, 4), (2, 5), *((3, number) for number in range(4)))

        assert joined.ok.parameters.get(Parameter.LARGEST_OBJECT) == Location(2, 3)
        assert joined.places == [(2, 4), (2, 5), *((3, number) for number in range(4))]
        with relay.should("a stream that begins within a subgroup does not say that it has the first object"):
            assert not any(each.header.first_object for each in joined.subgroups if each.group == 2)


@pytest.mark.interop("object-empty-payload", timeout=5.0, profile="data")
@pytest.mark.spec("object-status", "model-object")
async def test_object_empty_payload(relay: RelayUnderTest) -> None:
    """A normal object without payload comes as one, between its neighbours."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        for number, octets in enumerate((b"before", b"", b"behind")):
            stream.write(StreamObject(number, octets), fin=number == 2)

        await subscription.streams(1)

        (came,) = subscription.subgroups
        assert [(item.object_id, item.status, item.payload) for item in came.objects] == [
            (0, 0, b"before"),
            (1, 0, b""),
            (2, 0, b"behind"),
        ]


@pytest.mark.interop("object-1mib", timeout=10.0, profile="data")
@pytest.mark.spec("relay-object-handling", "model-object")
async def test_object_1mib(relay: RelayUnderTest) -> None:
    """An object of a mebibyte comes in one piece, with its bytes."""
    async with established(relay) as (publication, subscription):
        publication.group(0, [0], size=MEBIBYTE)

        await subscription.streams(1, seconds=8.0)

        assert subscription.places == [(0, 0)]
        assert _digest(subscription.payloads[0, 0]) == _digest(payload(0, 0, MEBIBYTE))


@pytest.mark.interop("object-16mib", timeout=30.0, profile="data", level="should")
@pytest.mark.spec("relay-object-handling", "closing-subgroup-streams", "model-object")
async def test_object_16mib(relay: RelayUnderTest) -> None:
    """An object of 16 mebibytes comes in one piece, with its bytes; what is given up does not look whole."""
    async with established(relay) as (publication, subscription):
        # Some seconds in a relay of Python, for 14000 packets in and as many out.
        publication.group(0, [0], size=16 * MEBIBYTE)

        # No draft bounds objects, and none forbids that a relay gives up what it has no room for.
        with relay.should(f"an object of {16 * MEBIBYTE} bytes comes whole"):
            await _large_stream(subscription)
            (stream,) = subscription.subgroups
            # A FIN within the object is broken data, and fails the case by itself.
            assert stream.ended, f"the stream was reset with {stream.reset_code}"

        for octets in subscription.payloads.values():
            assert _digest(octets) == _digest(payload(0, 0, 16 * MEBIBYTE))
        assert subscription.places == [(0, 0)] or not any(each.ended for each in subscription.subgroups)


async def _large_stream(subscription: Subscription) -> None:
    """Wait for the end of a stream for as long as bytes of it come.

    Raises:
        CaseFailure: It does not end, or nothing of it comes any more.
    """
    end = time.monotonic() + LARGE_SECONDS
    while True:
        came, left = subscription.session.octets_of(subscription.alias), end - time.monotonic()
        try:
            return await subscription.streams(1, seconds=min(left, STALLED_SECONDS))
        except CaseFailure:
            if left < STALLED_SECONDS or subscription.session.octets_of(subscription.alias) == came:
                raise


@pytest.mark.interop("object-streamed-incrementally", timeout=6.0, profile="data", level="should")
@pytest.mark.spec("subscriptions", "relay-object-handling")
async def test_object_streamed_incrementally(relay: RelayUnderTest) -> None:
    """The beginning of a large object comes before its publisher has sent the end, and then all of it."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        stream.write_beginning(StreamObject(0, payload(0, 0, LARGE)), LARGE // 2)

        # A second passes only where a relay waits for the whole.
        async with relay.should("the beginning of an object is passed on before its end is there", seconds=1):
            await subscription.session.receive_octets(BEGINNING, subscription.alias)
        stream.write_rest(fin=True)

        await subscription.streams(1)
        assert subscription.places == [(0, 0)]
        assert _digest(subscription.payloads[0, 0]) == _digest(payload(0, 0, LARGE))


@pytest.mark.interop("many-small-objects", timeout=15.0, profile="data")
@pytest.mark.spec("model-subgroup", "subscriber-interactions")
async def test_many_small_objects(relay: RelayUnderTest) -> None:
    """Thousands of small objects of a subgroup come in their order, each once."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        for number in range(MANY_OBJECTS):
            stream.write(StreamObject(number, payload(0, number, 1 + number % 100)))
        stream.finish()

        await subscription.streams(1, seconds=12.0)

        came = [item for stream in subscription.subgroups for item in stream.objects]
        assert [item.object_id for item in came] == list(range(MANY_OBJECTS))
        assert all(item.payload == payload(0, item.object_id, 1 + item.object_id % 100) for item in came)


@pytest.mark.interop("many-groups", timeout=15.0, profile="data")
@pytest.mark.spec("model-group", "resource-exhaustion")
async def test_many_groups(relay: RelayUnderTest) -> None:
    """Of a burst of groups each comes whole or not at all, and never on more streams than are allowed."""
    few = QuicOptions(peer_streams=MANY_GROUPS // 2)
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber", quic=few) as subscriber,
    ):
        await announce(publisher, namespace)
        publication, subscription = await first_subscribe(publisher, subscriber, namespace)
        for group in range(MANY_GROUPS):
            publication.group(group, [0])

        # Streams "MUST" be cancelled at a limit (`resource-exhaustion`): of which a relay has its own.
        with relay.should(f"all of {MANY_GROUPS} groups come"):
            await subscription.streams(MANY_GROUPS, seconds=8.0)

        # More streams than are allowed end the connection, which fails the case as the session is left.
        assert len(set(subscription.places)) == len(subscription.places) > 0
        assert all(octets == payload(*place) for place, octets in subscription.payloads.items())
        whole = [len(stream.objects) == 1 for stream in subscription.subgroups if stream.ended]
        assert all(whole), "a stream ended without its object"


@pytest.mark.interop("object-duplicate-identical", timeout=6.0, profile="data", level="should")
@pytest.mark.spec("caching-relays", "malformed-tracks", "closing-subgroup-streams")
async def test_object_duplicate_identical(relay: RelayUnderTest) -> None:
    """Objects that a publisher sends again, unchanged, after a reset come to the subscriber at least once."""
    async with established(relay) as (publication, subscription):
        broken = publication.open(0)
        for number in range(3):
            broken.write(StreamObject(number, payload(0, number)))
        await subscription.objects(*((0, number) for number in range(3)))
        broken.reset(CANCELLED)
        publication.group(0, range(5))

        # A relay may give up a subgroup whose stream was reset; it may not take the track for malformed.
        with relay.should("what follows is passed on"):
            await subscription.objects(*((0, number) for number in range(5)))
        publication.group(1)
        await subscription.objects(*((1, number) for number in range(4)))

        again = len(subscription.places) - len(set(subscription.places))
        if again:
            relay.info(f"{again} objects came twice")
        assert all(octets == payload(*place) for place, octets in subscription.payloads.items())


@pytest.mark.interop("object-duplicate-conflicting", timeout=6.0, profile="data", level="may", optional=True)
@pytest.mark.spec("malformed-tracks", "caching-relays")
async def test_object_duplicate_conflicting(relay: RelayUnderTest) -> None:
    """An object that is sent twice with different bytes ends the track as malformed, or comes as sent."""
    async with established(relay) as (publication, subscription):
        publication.group(0, [0], size=32)
        await subscription.objects((0, 0))
        publication.group(0, [0], size=48)

        await silence()
        # What becomes of who sends this is left open; its subscriber suffers no more than the track's end.
        publication.session.close_awaited = True
        await subscription.arrivals.take_what_came()
        came = [item.payload for stream in subscription.subgroups for item in stream.objects]
        assert came[0] == payload(0, 0, 32)
        assert set(came) <= {payload(0, 0, 32), payload(0, 0, 48)}
        try:
            async with asyncio.timeout(0):
                done = await subscription.session.receive_later(subscription.request, PublishDone)
        except TimeoutError:
            relay.info(f"the relay passed on {len(came)} of the two")
        else:
            assert done.status == PublishDoneStatus.MALFORMED_TRACK
            relay.info("the relay took the track for malformed")


@pytest.mark.interop("fanout-10", timeout=10.0, profile="data")
@pytest.mark.spec("subscriber-interactions", "relays-moq")
async def test_fanout_10(relay: RelayUnderTest) -> None:
    """Ten subscribers of a track get the same objects, all of them."""
    sent = [(group, number) for group in range(5) for number in range(20)]
    async with contextlib.AsyncExitStack() as sessions:
        source = await sessions.enter_async_context(sourced(relay))
        # One behind the other: no relay has to bear ten handshakes at once.
        subscribers = [
            await sessions.enter_async_context(relay.connect(f"subscriber_{number}"))
            for number in range(1, SUBSCRIBERS + 1)
        ]
        subscriptions = [await subscribe(session, source.namespace) for session in subscribers]
        await source.forwarding()

        for group in range(5):
            source.group(group, range(20))

        for each in subscriptions:
            await each.objects(*sent)
            assert each.places == sent
            assert each.payloads == {(group, number): payload(group, number) for group, number in sent}


def _digest(octets: bytes) -> tuple[int, str]:
    """Length and hash: what a report can show of much."""
    return len(octets), hashlib.sha256(octets).hexdigest()
