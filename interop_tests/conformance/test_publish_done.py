"""PUBLISH_DONE: the end of a track reaches its subscribers, with how many streams there were."""

from __future__ import annotations

import pytest

from pytest_moqt import (
    UNKNOWN_STREAM_COUNT,
    ObjectDatagram,
    RelayUnderTest,
    RequestError,
    Subscribe,
    Topology,
)

from .sources import sourced
from .tracks import (
    NAMESPACE,
    TRACK,
    announce,
    first_subscribe,
    judge_status,
    payload,
    subscribe,
)
from .waits import DELIVERY_SECONDS, REACTION_SECONDS, silence, within

GROUPS, SUBGROUPS = 3, 2
SENT = [(group, number) for group in range(2) for number in range(4)]


@pytest.mark.interop("publish-done-forwarded", timeout=10.0, profile="subscriptions")
@pytest.mark.spec("message-publish-done", "subscriptions")
async def test_publish_done_forwarded(relay: RelayUnderTest) -> None:
    """The end of a track is told to each of its subscribers, and the track has no publisher from then on."""
    async with (
        sourced(relay) as source,
        relay.connect("subscriber_1") as subscriber_1,
        relay.connect("subscriber_2") as subscriber_2,
        relay.connect("late") as late,
    ):
        first = await subscribe(subscriber_1, source.namespace)
        second = await subscribe(subscriber_2, source.namespace)
        for group in range(2):
            source.group(group)

        await source.done()

        for each in (first, second):
            await each.objects(*SENT)
            await each.streams(2)
            done = await each.done()
            assert set(SENT) <= set(each.places)
            judge_status(relay, done)
            if relay.draft.topology is Topology.REQUEST_STREAMS:
                what = "the relay should end the request's stream behind PUBLISH_DONE"
                async with relay.should(what, seconds=REACTION_SECONDS):
                    await each.session.wait_ended(each.request)
        async with within(REACTION_SECONDS, "answer to a SUBSCRIBE behind PUBLISH_DONE"):
            # Its publisher is asked anew, and refuses; or the relay knows that already.
            await late.request(Subscribe(source.namespace, TRACK), expect=RequestError)


@pytest.mark.interop("publish-done-stream-count", timeout=10.0, profile="subscriptions")
@pytest.mark.spec("message-publish-done")
async def test_publish_done_stream_count(relay: RelayUnderTest) -> None:
    """PUBLISH_DONE counts the streams opened for the subscription, none for a track of datagrams."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        publication, subscription = await first_subscribe(publisher, subscriber, namespace)
        datagrams, quick = await first_subscribe(
            publisher, subscriber, namespace, track=b"datagrams", alias=9, arrivals=subscription.arrivals
        )
        for group in range(GROUPS):
            for subgroup in range(SUBGROUPS):
                publication.group(group, range(subgroup, 8, SUBGROUPS), subgroup_id=subgroup)
        publisher.send_datagram(ObjectDatagram(datagrams.alias, 0, 0, payload=payload(0, 0)))

        await publication.done(streams=GROUPS * SUBGROUPS)
        await datagrams.done(streams=0)

        done, none = await subscription.done(), await quick.done()
        if done.stream_count != UNKNOWN_STREAM_COUNT:
            await subscription.streams(done.stream_count)
        await silence()
        await subscription.arrivals.take_what_came()
        opened = len(subscription.arrivals.subgroups(subscription.alias))
        assert done.stream_count in (opened, UNKNOWN_STREAM_COUNT)
        # "If the publisher did not open any streams for this subscription, the publisher MUST set Stream
        # Count to 0" (18): nobody is unable to count to that. There may be one that says that the track ends.
        assert none.stream_count == len(subscription.arrivals.subgroups(quick.alias))


@pytest.mark.interop("publish-done-on-publisher-loss", timeout=10.0, profile="subscriptions", level="should")
@pytest.mark.spec("message-publish-done", "relays-moq")
async def test_publish_done_on_publisher_loss(relay: RelayUnderTest) -> None:
    """A subscriber hears that the only publisher of its track is gone, and its session goes on."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber:
        async with relay.connect("publisher") as publisher:
            await announce(publisher, namespace)
            publication, subscription = await first_subscribe(publisher, subscriber, namespace)
            publication.group(0)
            await subscription.streams(1)

        async with relay.should("the relay should say that the publisher is gone", seconds=DELIVERY_SECONDS):
            await subscription.over()

        await announce(subscriber, relay.namespace(f"{NAMESPACE}/afterwards"))
