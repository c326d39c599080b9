"""Subscribers are told which namespaces there are, which come and which go.

A publisher leaves after its subscribers where that is not what the case is about: what they are told of its
leaving is `namespace-done-delivered`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    KeyValues,
    Message,
    Namespace,
    Parameter,
    Publish,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    SessionEnded,
    SessionError,
    SubscribeNamespace,
    TrackNamespace,
)

from .discovery import Discovery, ask_for_namespaces, discover
from .names import putting, written
from .publishing import offered, publish
from .reactions import attack, closes, judge_close, refuses
from .silence import never_came, stays_open
from .tracks import NAMESPACE, announce
from .waits import REACTION_SECONDS, within


@pytest.mark.interop("subscribe-namespace-lifecycle", timeout=5.0, profile="namespaces")
@pytest.mark.spec("subscribing-to-namespaces", "message-subscribe-ns", "message-namespace")
@pytest.mark.spec("message-namespace-done")
async def test_subscribe_namespace_lifecycle(relay: RelayUnderTest) -> None:
    """A subscriber to a namespace is told when it is published, and then when it is withdrawn."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        discovery = await discover(relay, subscriber, namespace)

        announcement = await announce(publisher, namespace)
        await discovery.told()
        await publisher.cancel(announcement)
        await discovery.withdrawn()


@pytest.mark.interop("subscribe-namespace-ok", timeout=5.0, profile="namespaces")
@pytest.mark.spec("subscribing-to-namespaces", "message-subscribe-ns", "message-sub-ns-ok")
async def test_subscribe_namespace_ok(relay: RelayUnderTest) -> None:
    """A prefix under which nothing is published is accepted, and its request stays open in silence."""
    async with relay.connect("subscriber") as subscriber:
        discovery = await discover(relay, subscriber, relay.namespace(NAMESPACE))

        await discovery.told_no_more("although no namespace is under the prefix")
        await stays_open(subscriber, discovery.request)


@pytest.mark.interop("subscribe-namespace-existing", timeout=5.0, profile="namespaces")
@pytest.mark.spec("subscribing-to-namespaces", "message-subscribe-ns", "message-namespace")
async def test_subscribe_namespace_existing(relay: RelayUnderTest) -> None:
    """A subscriber to a prefix is told of a namespace under it that was published before."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, (*prefix, b"b", b"c"))

        discovery = await discover(relay, subscriber, prefix)

        await discovery.told(b"b", b"c")


@pytest.mark.interop("subscribe-namespace-future", timeout=5.0, profile="namespaces")
@pytest.mark.spec("subscribing-to-namespaces", "publishing-namespaces", "message-namespace")
async def test_subscribe_namespace_future(relay: RelayUnderTest) -> None:
    """A subscriber to a prefix is told of a namespace that is published later, and of no other prefix's."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        discovery = await discover(relay, subscriber, prefix)

        await announce(publisher, (*prefix[:-1], b"z", prefix[-1]))
        await announce(publisher, (*prefix, b"b"))

        await discovery.told(b"b")
        await discovery.told_no_more("although it is not under the prefix")


@pytest.mark.interop("namespace-done-delivered", timeout=8.0, profile="namespaces")
@pytest.mark.spec("message-namespace-done", "message-pub-ns-done", "subscribing-to-namespaces")
async def test_namespace_done_delivered(relay: RelayUnderTest) -> None:
    """A subscriber is told of the end of a namespace that was withdrawn, or whose publisher left."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber:
        discovery = await discover(relay, subscriber, prefix)
        async with relay.connect("publisher") as publisher:
            announcement = await announce(publisher, (*prefix, b"b"))
            await discovery.told(b"b")
            await announce(publisher, (*prefix, b"c"))
            await discovery.told(b"c")

            await publisher.cancel(announcement)

            await discovery.withdrawn(b"b")
        with relay.should("the relay should tell of the namespaces of a publisher that left"):
            await discovery.withdrawn(b"c")
        # What it tells of once too often comes before what it is told of afterwards.
        async with relay.connect("next_publisher") as publisher:
            await announce(publisher, (*prefix, b"d"))
            await discovery.told(b"d")


@pytest.mark.interop("subscribe-namespace-overlap", timeout=8.0, profile="namespaces")
@pytest.mark.spec("message-subscribe-ns", "message-sub-ns-error", "subscribing-to-namespaces")
async def test_subscribe_namespace_overlap(relay: RelayUnderTest) -> None:
    """A prefix that begins with one subscribed to in the session, or is the same, is PREFIX_OVERLAP."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        discovery = await discover(relay, subscriber, prefix)

        for overlapping in ((*prefix, b"b"), prefix):
            request = SubscribeNamespace(overlapping, subscribe_options=1)
            refusal = await refuses(relay, subscriber, request, RequestErrorCode.PREFIX_OVERLAP)
            if refusal is None:
                return  # the session is over, which `refuses` has judged

        await announce(publisher, (*prefix, b"x"))
        await discovery.told(b"x")


@pytest.mark.interop("subscribe-namespace-overlap-other-session", timeout=5.0, profile="namespaces")
@pytest.mark.spec("message-subscribe-ns", "subscribing-to-namespaces")
async def test_subscribe_namespace_overlap_other_session(relay: RelayUnderTest) -> None:
    """Prefixes of different sessions may overlap: each is told of what is under its own."""
    prefix = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber_1") as first,
        relay.connect("subscriber_2") as second,
    ):
        shorter = await discover(relay, first, prefix)
        longer = await discover(relay, second, (*prefix, b"b"))

        await announce(publisher, (*prefix, b"b", b"c"))

        await shorter.told(b"b", b"c")
        await longer.told(b"c")


@pytest.mark.interop("subscribe-namespace-empty-prefix", timeout=6.0, profile="namespaces", level="may")
@pytest.mark.spec("message-subscribe-ns", "subscribing-to-namespaces")
async def test_subscribe_namespace_empty_prefix(relay: RelayUnderTest) -> None:
    """A prefix of no fields ends the session up to 15; later it is for every namespace, or is refused."""
    async with attack(relay, "subscriber") as subscriber:
        if relay.draft.min_prefix_fields:
            prefix = relay.namespace(NAMESPACE)
            edit = putting(written(relay.draft, ()), written(relay.draft, prefix))
            await subscriber.open(SubscribeNamespace(prefix), edit=edit)
            await closes(relay, subscriber, SessionError.PROTOCOL_VIOLATION)
            return

        request = await ask_for_namespaces(subscriber, ())

        try:
            async with within(REACTION_SECONDS, "answer to SUBSCRIBE_NAMESPACE"):
                answer = await subscriber.answer(request)
        except SessionEnded:
            # 16 allows prefixes of no fields and forbids namespaces of none.
            if not relay.draft.min_namespace_fields or subscriber.closed is None:
                raise
            subscriber.close_awaited = True
            judge_close(relay, subscriber, subscriber.closed, SessionError.PROTOCOL_VIOLATION)
            relay.warn("strict", "the relay ends the session for a prefix of no fields, which may be one")
            return
        relay.info(f"the relay answers with {subscriber.describe(answer, SubscribeNamespace)}")
        # What is told of the namespaces of all the relay's clients from now on is other cases' business.
        subscriber.close_awaited = True


@pytest.mark.interop("subscribe-namespace-cancel", timeout=10.0, profile="namespaces")
@pytest.mark.spec("subscribing-to-namespaces", "message-unsub-ns", "request-cancellation")
async def test_subscribe_namespace_cancel(relay: RelayUnderTest) -> None:
    """A subscription to a prefix that was cancelled is over: the prefix can be subscribed to anew."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        ways: list[Callable[[Message], Awaitable[None]]] = [subscriber.cancel]
        if relay.draft.fin_ends_namespace_subscription:
            ways.append(subscriber.finish)
        for number, end in enumerate(ways):
            wanted = (*prefix, b"%d" % number)
            former = await discover(relay, subscriber, wanted)

            await end(former.request)
            again = await _discover_again(relay, subscriber, wanted)

            await announce(publisher, (*wanted, b"b"))
            await again.told(b"b")
            await former.told_no_more("although the request was cancelled")


async def _discover_again(
    relay: RelayUnderTest, subscriber: ClientSession, prefix: TrackNamespace
) -> Discovery:
    """Subscribe to a prefix as soon as the relay knows that an earlier subscription is over.

    The end of one stream and the beginning of another have no order: it may still know of the earlier one.
    """
    refusal: RequestError | None = None
    try:
        async with asyncio.timeout(REACTION_SECONDS):
            while True:
                request = await ask_for_namespaces(subscriber, prefix)
                answer = await subscriber.answer(request)
                if not isinstance(answer, RequestError) or answer.code != RequestErrorCode.PREFIX_OVERLAP:
                    await subscriber.expect(request, RequestOk)
                    return Discovery(relay, subscriber, request)
                refusal = answer
                await subscriber.settle()
    except TimeoutError:
        said = "nothing" if refusal is None else subscriber.describe(refusal, SubscribeNamespace)
        raise CaseFailure(
            f"the prefix cannot be subscribed to again: the relay answers with {said}",
            cause="timeout" if refusal is None else "rejected",
            expected="a subscription to a prefix that was cancelled",
            received=said,
        ) from None


@pytest.mark.interop(
    "subscribe-namespace-update-prefix", timeout=8.0, profile="namespaces", since=18, optional=True
)
@pytest.mark.spec("updating-namespace-subscriptions", "track-namespace-prefix-param")
async def test_subscribe_namespace_update_prefix(relay: RelayUnderTest) -> None:
    """An update changes the prefix of a subscription, or ends it where the new one overlaps another."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        discovery = await discover(relay, subscriber, (*prefix, b"a"))
        await discover(relay, subscriber, (*prefix, b"z"))

        await _move(relay, discovery, (*prefix, b"c"))

        await announce(publisher, (*prefix, b"c", b"d"))
        await discovery.told(b"d")

        answer = await subscriber.update(
            discovery.request, KeyValues([(Parameter.TRACK_NAMESPACE_PREFIX, (*prefix, b"z", b"y"))])
        )
        assert isinstance(answer, RequestError)
        assert answer.code == RequestErrorCode.PREFIX_OVERLAP
        async with within(REACTION_SECONDS, "end of the stream of SUBSCRIBE_NAMESPACE"):
            await subscriber.wait_ended(discovery.request)


async def _move(relay: RelayUnderTest, discovery: Discovery, prefix: TrackNamespace) -> None:
    """Change the prefix of a subscription."""
    try:
        async with within(REACTION_SECONDS, "answer to REQUEST_UPDATE"):
            answer = await discovery.session.update(
                discovery.request, KeyValues([(Parameter.TRACK_NAMESPACE_PREFIX, prefix)])
            )
    except SessionEnded:
        # The parameter has "the Track Namespace encoding", which is not among the encodings that parameters
        # can have before 22; there are relays that put a length before it.
        if relay.draft.parameters_hold_namespaces or discovery.session.closed is None:
            raise
        discovery.session.close_awaited = True
        relay.not_offered("prefix-unread", "the relay reads TRACK_NAMESPACE_PREFIX in another way")
    except CaseFailure as failure:
        if failure.cause != "reset":
            raise
        # "Receivers cancel requests if they are unable to or choose not to respond" (`request-cancellation`).
        relay.not_offered("no-prefix-updates", f"the relay changes no prefixes: {failure}")
    if isinstance(answer, RequestError) and answer.code == RequestErrorCode.NOT_SUPPORTED:
        relay.not_offered("no-prefix-updates", "the relay does not change prefixes")
    assert isinstance(answer, RequestOk)
    discovery.prefix = prefix


@pytest.mark.interop("subscribe-namespace-options", timeout=8.0, profile="namespaces", since=16, until=17)
@pytest.mark.spec("message-subscribe-ns")
async def test_subscribe_namespace_options(relay: RelayUnderTest) -> None:
    """Subscribe Options choose between tracks (0), namespaces (1) and both (2)."""
    prefix = relay.namespace(NAMESPACE)
    # The track is in it, so that one namespace is told of whether or not tracks make theirs known.
    namespace = (*prefix, b"b")
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber_0") as tracks,
        relay.connect("subscriber_1") as namespaces,
        relay.connect("subscriber_2") as both,
    ):
        await announce(publisher, namespace)
        await publish(relay, publisher, namespace)

        asked = {}
        for options, session in enumerate((tracks, namespaces, both)):
            asked[session] = await ask_for_namespaces(session, prefix, options=options)
            await session.expect(asked[session], RequestOk)

        for session in (tracks, both):
            await session.reply(await offered(relay, session, asked[session]), RequestOk())
        for session in (namespaces, both):
            await Discovery(relay, session, asked[session]).told(b"b")
        await never_came(tracks, Namespace, "although only tracks were asked for", about=asked[tracks])
        await never_came(namespaces, Publish, "although only namespaces were asked for")
