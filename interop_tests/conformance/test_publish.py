"""Tracks that their publisher offers by PUBLISH: accepted or refused, subscribed to, and ended."""

from __future__ import annotations

import pytest

from pytest_moqt import (
    UNKNOWN_STREAM_COUNT,
    KeyValues,
    Parameter,
    Publish,
    PublishDoneStatus,
    PublishNamespace,
    RelayUnderTest,
    RequestErrorCode,
    SessionEnded,
    SessionError,
    Subscribe,
    SubscribeOk,
)

from .arrivals import Arrivals
from .publishing import OTHER_ALIAS, PAUSED, Published, accepted, arrive, open_publish, publish
from .reactions import attack, closes, refuses
from .routes import reaches_nobody
from .silence import never_came
from .tracks import (
    ALIAS,
    NAMESPACE,
    TRACK,
    Subscription,
    announce,
    first_subscribe,
    judge_status,
    payload,
    subscribe,
)
from .waits import REACTION_SECONDS, silence, within

PENDING_MS = 5000
"What a subscriber allows the relay to wait for a publisher."


async def ended(published: Published, streams: int) -> None:
    """End a track, and make sure that its publisher's session goes on.

    Raises:
        CaseFailure: It does not.
    """
    await published.done(streams, PublishDoneStatus.TRACK_ENDED)
    await published.session.finish(published.request)

    async with within(REACTION_SECONDS, "answer to the request after PUBLISH_DONE"):
        await published.session.request(PublishNamespace(published.request.track_namespace))


# ---- accepted, refused, ended ------------------------------------------------------------------------


@pytest.mark.interop("publish-ok", timeout=5.0, profile="publish")
@pytest.mark.spec("message-publish", "message-publish-ok", "message-request-ok", "message-publish-error")
async def test_publish_ok(relay: RelayUnderTest) -> None:
    """A track that nobody has asked for is accepted or refused, once."""
    async with relay.connect("publisher") as publisher:
        request = await open_publish(publisher, relay.namespace(NAMESPACE))

        async with within(REACTION_SECONDS, "answer to PUBLISH"):
            answer = await publisher.answer(request)
        await publisher.settle()  # a second answer would be here

        relay.info(f"the relay answers with {publisher.describe(answer, Publish)}")


@pytest.mark.interop("publish-track-only", timeout=6.0, profile="publish")
@pytest.mark.spec("message-publish", "message-publish-done")
async def test_publish_track_only(relay: RelayUnderTest) -> None:
    """A track is published and ended without an object, and the session goes on.

    A candidate for the runner's catalogue; the plainest reading of its name, as a test client in the field
    has it: PUBLISH, its OK, PUBLISH_DONE.
    """
    async with relay.connect("publisher") as publisher:
        published = await publish(relay, publisher, relay.namespace(NAMESPACE))

        await ended(published, 0)


@pytest.mark.interop("publish-without-subscriber", timeout=10.0, profile="publish")
@pytest.mark.spec("message-publish", "message-publish-done", "forward-parameter")
async def test_publish_without_subscriber(relay: RelayUnderTest) -> None:
    """A track without subscribers is published, with an object if the relay wants it, and ended.

    A candidate for the runner's catalogue.
    """
    async with relay.connect("publisher") as publisher:
        published = await publish(relay, publisher, relay.namespace(NAMESPACE))

        if published.forward:
            published.group(0, [0])
        await ended(published, int(published.forward))

        relay.info(f"the forward state without subscribers is {int(published.forward)}")


@pytest.mark.interop("publish-track-subscribe", timeout=8.0, profile="publish")
@pytest.mark.spec("message-publish", "message-publish-done", "publisher-interactions")
async def test_publish_track_subscribe(relay: RelayUnderTest) -> None:
    """A subscriber to a published track gets its object, and then its end.

    A candidate for the runner's catalogue; the plainest reading of its name.
    """
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        published = await publish(relay, publisher, namespace)
        subscription = await published.meanwhile(subscribe(subscriber, namespace))
        await published.wanted()

        published.group(0, [0])
        await subscription.objects((0, 0))
        await published.done(1)

        assert subscription.payloads == {(0, 0): payload(0, 0)}
        judge_status(relay, await subscription.done())


@pytest.mark.interop(
    "publish-to-pending-subscription", timeout=10.0, profile="publish", since=18, level="should"
)
@pytest.mark.spec("rendezvous-timeout", "publisher-interactions", "message-publish", "message-publish-done")
async def test_publish_to_pending_subscription(relay: RelayUnderTest) -> None:
    """A subscription that waits for a publisher is established by PUBLISH, and gets the track to its end.

    A candidate for the runner's catalogue.
    """
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber, relay.connect("publisher") as publisher:
        request = await subscriber.open(
            Subscribe(namespace, TRACK, KeyValues([(Parameter.RENDEZVOUS_TIMEOUT, PENDING_MS)]))
        )
        await subscriber.settle()

        published = await publish(relay, publisher, namespace)

        async with within(REACTION_SECONDS, "answer to SUBSCRIBE"):
            answer = await published.meanwhile(subscriber.answer(request))
        if not isinstance(answer, SubscribeOk):
            said = subscriber.describe(answer, Subscribe)
            relay.warn("should", f"the relay answers with {said}, where it should hold the subscription")
            return
        subscription = Subscription(subscriber, request, answer, Arrivals(subscriber))
        await published.wanted()
        published.group(0, [0])
        # PUBLISH_DONE may overtake the object.
        await subscription.objects((0, 0))
        await published.done(1)

        done = await subscription.done()
        await subscription.streams(1)

        assert subscription.payloads == {(0, 0): payload(0, 0)}
        judge_status(relay, done)
        assert done.stream_count in (1, UNKNOWN_STREAM_COUNT)


# ---- subscribers of a published track ------------------------------------------------------------------


@pytest.mark.interop("publish-then-subscribe", timeout=8.0, profile="publish")
@pytest.mark.spec("publisher-interactions", "message-publish")
async def test_publish_then_subscribe(relay: RelayUnderTest) -> None:
    """A published track can be subscribed to by name, without a namespace having been published."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        published = await publish(relay, publisher, namespace)

        subscription = await published.meanwhile(subscribe(subscriber, namespace))

        await arrive(published, subscription)


@pytest.mark.interop("publish-forward-raised", timeout=8.0, profile="publish")
@pytest.mark.spec("publisher-interactions", "message-publish", "forward-parameter")
async def test_publish_forward_raised(relay: RelayUnderTest) -> None:
    """A publisher that waits is told to send as soon as there is a subscriber who wants objects."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        published = await publish(relay, publisher, namespace, PAUSED)
        await published.settle()
        if published.forward:
            relay.not_offered("never-paused", "the relay wants objects without subscribers")

        subscription = await published.meanwhile(subscribe(subscriber, namespace))

        await arrive(published, subscription)


@pytest.mark.interop("publish-with-waiting-subscriber", timeout=8.0, profile="publish", optional=True)
@pytest.mark.spec("publisher-interactions", "multiple-publishers")
async def test_publish_with_waiting_subscriber(relay: RelayUnderTest) -> None:
    """A publisher of a track that has subscribers is accepted, and told to send."""
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher_1") as first,
        relay.connect("publisher_2") as second,
        relay.connect("subscriber") as subscriber,
    ):
        await announce(first, namespace)
        await first_subscribe(first, subscriber, namespace)

        published = await publish(relay, second, namespace, PAUSED, alias=OTHER_ALIAS)

        if relay.draft.publish_ok_forwards:
            assert published.forward, "the OK has FORWARD 0, though there is a subscriber"
        await published.wanted()


@pytest.mark.interop("publish-no-implicit-namespace", timeout=8.0, profile="publish", since=16)
@pytest.mark.spec("publisher-interactions")
async def test_publish_no_implicit_namespace(relay: RelayUnderTest) -> None:
    """Who published one track of a namespace is not asked for another."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await publish(relay, publisher, namespace)

        await reaches_nobody(
            relay, subscriber, namespace, publisher, track=b"other", why="which published another track"
        )


@pytest.mark.interop("publish-objects-before-ok", timeout=8.0, profile="publish", level="may")
@pytest.mark.spec("message-publish", "data-streams")
async def test_publish_objects_before_ok(relay: RelayUnderTest) -> None:
    """Objects that come with PUBLISH do no harm, and those that follow its OK come through."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        request = await open_publish(publisher, namespace)
        Published(publisher, request, ALIAS).group(0)

        published = await accepted(relay, publisher, request)

        subscription = await published.meanwhile(subscribe(subscriber, namespace))
        await arrive(published, subscription, group=1)


@pytest.mark.interop("publish-two-publishers-same-track", timeout=10.0, profile="publish", optional=True)
@pytest.mark.spec("multiple-publishers")
async def test_publish_two_publishers_same_track(relay: RelayUnderTest) -> None:
    """Objects of two publishers of one track come to its subscriber, each of them once."""
    namespace = relay.namespace(NAMESPACE)
    sent = [(group, number) for group in range(2) for number in range(4)]
    async with (
        relay.connect("publisher_1") as first,
        relay.connect("publisher_2") as second,
        relay.connect("subscriber") as subscriber,
    ):
        one = await publish(relay, first, namespace)
        subscription = await one.meanwhile(subscribe(subscriber, namespace))
        other = await publish(relay, second, namespace, alias=OTHER_ALIAS)

        await one.wanted()
        one.group(0)
        await subscription.objects(*sent[:4])
        await other.wanted()
        other.group(0)
        other.group(1)
        await subscription.objects(*sent)

        assert sorted(set(subscription.places)) == sent
        with relay.should("the relay should send an object once that two publishers have"):
            assert subscription.places == sent


@pytest.mark.interop("publish-uninvited-never", timeout=6.0, profile="publish")
@pytest.mark.spec("publisher-interactions", "subscribing-to-namespaces", "message-publish")
async def test_publish_uninvited_never(relay: RelayUnderTest) -> None:
    """A client that has asked for nothing is offered no tracks."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("bystander") as bystander, relay.connect("publisher") as publisher:
        await announce(publisher, namespace)
        await publish(relay, publisher, namespace)

        await silence()

        await never_came(bystander, Publish, "which asked for nothing")


# ---- what no publisher may do ----------------------------------------------------------------------------


@pytest.mark.interop("publish-duplicate-track", timeout=6.0, profile="publish")
@pytest.mark.spec("subscriptions", "message-publish")
async def test_publish_duplicate_track(relay: RelayUnderTest) -> None:
    """A track that a session publishes again is refused with DUPLICATE_SUBSCRIPTION, up to 18."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher:
        await publish(relay, publisher, namespace)
        again = Publish(namespace, TRACK, OTHER_ALIAS)

        if relay.draft.duplicates_refused:
            await refuses(relay, publisher, again, RequestErrorCode.DUPLICATE_SUBSCRIPTION)
            return
        # 14 and 15 say nothing of it, and from 19 on it is allowed, and need not be accepted.
        try:
            async with within(REACTION_SECONDS, "answer to the second PUBLISH"):
                answer = await publisher.request(again)
        except SessionEnded:
            if relay.draft.repeated_subscriptions or publisher.closed is None:
                raise
            await closes(relay, publisher, None)
            relay.info("the relay ends the session")
            return
        relay.info(f"the relay answers with {publisher.describe(answer, Publish)}")


@pytest.mark.interop("publish-duplicate-alias", timeout=6.0, profile="publish")
@pytest.mark.spec("message-publish", "track-alias")
async def test_publish_duplicate_alias(relay: RelayUnderTest) -> None:
    """Two tracks published under one alias end the session with DUPLICATE_TRACK_ALIAS."""
    namespace = relay.namespace(NAMESPACE)
    async with attack(relay, "publisher") as publisher:
        await publish(relay, publisher, namespace)

        await open_publish(publisher, namespace, track=b"other")

        await closes(relay, publisher, SessionError.DUPLICATE_TRACK_ALIAS)
