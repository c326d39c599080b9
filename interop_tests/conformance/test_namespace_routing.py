"""Namespaces that publishers announce, and the subscriptions that are routed by them."""

from __future__ import annotations

import asyncio

import pytest

from pytest_moqt import (
    ClientSession,
    Message,
    PublishNamespace,
    RelayUnderTest,
    RequestError,
    RequestOk,
    SessionEnded,
    Subscribe,
    SubscribeOk,
    TrackNamespace,
)

from .routes import reaches, reaches_nobody, routed
from .tracks import ALIAS, NAMESPACE, TRACK, announce
from .waits import REACTION_SECONDS, within


@pytest.mark.interop("namespace-prefix-routing", timeout=5.0, profile="namespaces")
@pytest.mark.spec("publisher-interactions", "message-pub-ns")
async def test_namespace_prefix_routing(relay: RelayUnderTest) -> None:
    """A subscription is routed to the publisher of a prefix of its namespace, with the whole name."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)

        await routed(publisher, subscriber, (*namespace, b"bar", b"baz"), b"x")


@pytest.mark.interop("namespace-no-partial-field-match", timeout=8.0, profile="namespaces")
@pytest.mark.spec("publisher-interactions", "track-name")
async def test_namespace_no_partial_field_match(relay: RelayUnderTest) -> None:
    """Fields of a namespace match as a whole: one that begins alike, or a sibling, is another namespace."""
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher_1") as longer,
        relay.connect("publisher_2") as sibling,
        relay.connect("subscriber") as subscriber,
    ):
        await announce(longer, (*namespace, b"foobar"))
        await announce(sibling, (*namespace, b"foo", b"bar2"))
        await announce(sibling, (*namespace, b"foo", b"ba"))

        wanted = (*namespace, b"foo", b"bar")
        await reaches_nobody(
            relay, subscriber, wanted, longer, sibling, why="which announced another namespace"
        )


@pytest.mark.interop("namespace-binary-exact-match", timeout=8.0, profile="namespaces")
@pytest.mark.spec("track-name")
async def test_namespace_binary_exact_match(relay: RelayUnderTest) -> None:
    """Fields of a namespace are compared byte by byte, whatever the bytes mean."""
    namespace = relay.namespace(NAMESPACE)
    odd = (*namespace, b"a\x00\xff/.", b"\xc3\x28", b"Case")
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, odd)

        await routed(publisher, subscriber, odd)

        alike = (*odd[:-1], b"case")
        await reaches_nobody(
            relay, subscriber, alike, publisher, track=b"other", why="which announced it in capitals"
        )


@pytest.mark.interop("namespace-withdrawn-unroutable", timeout=8.0, profile="namespaces", level="should")
@pytest.mark.spec("publishing-namespaces", "message-pub-ns-done", "request-cancellation")
async def test_namespace_withdrawn_unroutable(relay: RelayUnderTest) -> None:
    """Subscriptions to a namespace are routed no more to a publisher that withdrew it."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        announcement = await announce(publisher, namespace)
        await publisher.cancel(announcement)

        # The withdrawal and the subscription come in different sessions, so the first may be late; a relay
        # that holds a subscription nobody is asked for may take as long as the deadline to say nothing.
        clock = asyncio.get_running_loop().time
        deadline = clock() + REACTION_SECONDS
        async with relay.should("the relay should ask a publisher no more"):
            tries = 0
            while await reaches(relay, subscriber, namespace, publisher, track=b"track %d" % tries):
                tries += 1
                assert clock() < deadline, f"it still does after {REACTION_SECONDS:g} s"


@pytest.mark.interop("namespace-dropped-on-disconnect", timeout=12.0, profile="namespaces", level="should")
@pytest.mark.spec("publishing-namespaces", "publisher-interactions")
async def test_namespace_dropped_on_disconnect(relay: RelayUnderTest) -> None:
    """The namespaces of a publisher that has left are gone: a subscription is refused like any other."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber:
        async with relay.connect("publisher") as publisher:
            await announce(publisher, namespace)
        if not await _is_refused(subscriber, relay.namespace("nonexistent/namespace")):
            relay.info("the relay leaves subscriptions that nobody publishes waiting")
            return

        answer: Message | None = None
        async with relay.should("the relay should forget a publisher that left", seconds=REACTION_SECONDS):
            answer = await subscriber.request(Subscribe(namespace, TRACK))
        if answer is not None:
            assert isinstance(answer, RequestError)


async def _is_refused(subscriber: ClientSession, namespace: TrackNamespace) -> bool:
    """Whether a subscription to what was never published is refused, as it is by most relays."""
    try:
        async with asyncio.timeout(REACTION_SECONDS):
            await subscriber.request(Subscribe(namespace, TRACK), expect=RequestError)
    except TimeoutError:
        return False
    return True


@pytest.mark.interop("namespace-reannounce", timeout=5.0, profile="namespaces")
@pytest.mark.spec("publishing-namespaces", "message-pub-ns")
async def test_namespace_reannounce(relay: RelayUnderTest) -> None:
    """A namespace that was withdrawn can be published again, and subscriptions are routed to it again."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        announcement = await announce(publisher, namespace)
        await publisher.cancel(announcement)
        await publisher.settle()  # the end of one stream and the beginning of the next have no order

        await announce(publisher, namespace)

        await routed(publisher, subscriber, namespace)


@pytest.mark.interop("namespace-duplicate-same-session", timeout=5.0, profile="namespaces", level="may")
@pytest.mark.spec("publishing-namespaces", "message-pub-ns")
async def test_namespace_duplicate_same_session(relay: RelayUnderTest) -> None:
    """A namespace that a session publishes again is accepted or refused, or ends the session."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher:
        await announce(publisher, namespace)

        again = await publisher.open(PublishNamespace(namespace))

        try:
            async with within(REACTION_SECONDS, "answer to the second PUBLISH_NAMESPACE"):
                answer = await publisher.answer(again)
        except SessionEnded:
            if publisher.closed is None or not publisher.closed.by_peer:
                raise
            publisher.close_awaited = True
            relay.info(f"the relay ends the session: {publisher.describe_close(publisher.closed)}")
            return
        relay.info(f"the relay answers with {publisher.describe(answer, PublishNamespace)}")


@pytest.mark.interop("namespace-two-publishers", timeout=5.0, profile="namespaces", level="may")
@pytest.mark.spec("multiple-publishers", "message-pub-ns")
async def test_namespace_two_publishers(relay: RelayUnderTest) -> None:
    """A namespace may have a second publisher, or not; either way both sessions go on."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher_1") as first, relay.connect("publisher_2") as second:
        await announce(first, namespace)

        async with within(REACTION_SECONDS, "answer to the second publisher"):
            answer = await second.request(PublishNamespace(namespace))

        relay.info(f"the relay answers the second with {second.describe(answer, PublishNamespace)}")
        for publisher in (first, second):
            # Not under that namespace, whose publisher may be the only one of all below it.
            await announce(publisher, relay.namespace(f"{NAMESPACE}/{publisher.role}"))


@pytest.mark.interop("subscribe-routed-to-all-publishers", timeout=5.0, profile="namespaces", optional=True)
@pytest.mark.spec("publisher-interactions", "multiple-publishers")
async def test_subscribe_routed_to_all_publishers(relay: RelayUnderTest) -> None:
    """A subscription is sent to every publisher of its namespace, and answered once."""
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher_1") as first,
        relay.connect("publisher_2") as second,
        relay.connect("subscriber") as subscriber,
    ):
        await announce(first, namespace)
        answer = await second.request(PublishNamespace(namespace))
        if not isinstance(answer, RequestOk):
            relay.not_offered("one-publisher-only", "the relay refuses a second publisher of a namespace")

        request = await subscriber.open(Subscribe(namespace, TRACK))

        for publisher in (first, second):
            async with within(REACTION_SECONDS, f"SUBSCRIBE to {publisher.role}"):
                asked = await publisher.receive(Subscribe, where=lambda ask: ask.track_name == TRACK)
            assert asked.track_namespace == namespace
            await publisher.reply(asked, SubscribeOk(ALIAS))
        await subscriber.expect(request, SubscribeOk)
