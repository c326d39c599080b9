"""Subscriptions: how they come about, what SUBSCRIBE_OK says, and how a subscriber ends them."""

from __future__ import annotations

import secrets

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    KeyValues,
    Location,
    Parameter,
    Property,
    PublishNamespace,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    SessionEnded,
    SessionError,
    Subscribe,
    SubscribeOk,
    Token,
    TokenAlias,
    drafts,
)

from .arrivals import Arrivals, Place
from .reactions import judge_close, refuses
from .sources import Source, serving, sourced
from .tracks import (
    NAMESPACE,
    TRACK,
    Parameters,
    Publication,
    Subscription,
    announce,
    established,
    first_subscribe,
    payload,
    subscribe,
)
from .waits import REACTION_SECONDS, SILENCE_SECONDS, silence, unanswered, within

CANCELLED = 0x1
TRACKS = 10
"Of each publisher, in the case of many."
UNKNOWN_CODE = 0x11C
"A code that no draft registers, kept for grease where there is that."
WHOLE = [(0, number) for number in range(4)]

APPLICATION_NUMBER, APPLICATION_BYTES = 0x3840, 0x3841
"Properties of the range for applications: an even type with a number, an odd one with bytes."
CACHE_MS = 60_000
TIMEOUT_MS = 54_321
"A delivery timeout that nobody would think of."
RENDEZVOUS_MS = 5_000
SHORT_MS = 200
VIOLATION = drafts(14, 15)
"Drafts in which a second subscription should end the session."


# ---- how they come about --------------------------------------------------------------------------


@pytest.mark.interop("subscribe-ok-waits-for-upstream", timeout=5.0, profile="subscriptions")
@pytest.mark.spec("subscriber-interactions", "message-subscribe-ok")
async def test_subscribe_ok_waits_for_upstream(relay: RelayUnderTest) -> None:
    """SUBSCRIBE is answered when its publisher has accepted, not before."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        request = await subscriber.open(Subscribe(namespace, TRACK))
        routed = await publisher.receive(Subscribe)

        await unanswered(subscriber, request, "the publisher has accepted")
        await publisher.reply(routed, SubscribeOk(track_alias=1))

        await subscriber.expect(request, SubscribeOk)


@pytest.mark.interop("subscribe-upstream-error", timeout=5.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "message-request-error", "message-subscribe-error", "grease")
async def test_subscribe_upstream_error(relay: RelayUnderTest) -> None:
    """What the publisher refuses, with whatever code, the relay refuses, and both sessions go on."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        codes: tuple[RequestErrorCode | int, ...] = (RequestErrorCode.UNAUTHORIZED, UNKNOWN_CODE)
        for number, code in enumerate(codes):
            request = await subscriber.open(Subscribe(namespace, b"%d" % number))
            routed = await publisher.receive(Subscribe)

            await publisher.reply(routed, RequestError(code, "not for you"))

            async with within(REACTION_SECONDS, "refusal"):
                await subscriber.expect(request, RequestError)
        await publisher.request(PublishNamespace(relay.namespace(f"{NAMESPACE}/next")))


@pytest.mark.interop("subscribe-self", timeout=5.0, profile="subscriptions")
@pytest.mark.spec("subscriptions", "message-subscribe-req")
async def test_subscribe_self(relay: RelayUnderTest) -> None:
    """A publisher that subscribes to its own track gets what it publishes."""
    async with relay.connect("both") as both, serving(relay, both) as source:
        async with within(REACTION_SECONDS, "SUBSCRIBE_OK"):
            subscription = await subscribe(both, source.namespace)

        source.group(0)

        await subscription.objects(*WHOLE)
        await subscription.streams(1)
        assert subscription.places == WHOLE


@pytest.mark.interop("subscribe-duplicate", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("subscriptions", "message-subscribe-req")
async def test_subscribe_duplicate(relay: RelayUnderTest) -> None:
    """A second subscription to a track in one session is refused; from draft 19 on it stands too."""
    async with sourced(relay) as source, relay.connect("subscriber") as subscriber:
        first = await subscribe(subscriber, source.namespace)
        again = Subscribe(source.namespace, TRACK)
        if relay.draft.repeated_subscriptions:
            await stands_beside(relay, source, first, again)
        elif relay.draft.number in VIOLATION:
            await ends_session(relay, subscriber, again)
        else:
            if await refuses(relay, subscriber, again, RequestErrorCode.DUPLICATE_SUBSCRIPTION) is None:
                return  # the session is over, which `refuses` has judged
            source.group(0)
            await first.objects(*WHOLE)
            assert first.places == WHOLE


async def stands_beside(relay: RelayUnderTest, source: Source, first: Subscription, again: Subscribe) -> None:
    """Have a second subscription, which gets every object too."""
    async with within(REACTION_SECONDS, "answer"):
        answer = await first.session.request(again)
    if isinstance(answer, RequestError) and answer.code == RequestErrorCode.NOT_SUPPORTED:
        relay.not_offered("one-subscription", "the relay has one subscription to a track in a session")
    assert isinstance(answer, SubscribeOk), first.session.describe(answer, Subscribe)

    source.group(0)

    # "the publisher MUST send the Object once for each matching subscription, even when those subscriptions
    # share the same Track Alias" (22 section 3.1).
    aliases = {first.alias, answer.track_alias}

    def places() -> list[Place]:
        return sorted(place for alias in aliases for place in first.arrivals.places(alias))

    await first.arrivals.until(lambda: len(places()) >= 2 * len(WHOLE), "every object for each subscription")
    assert places() == sorted(2 * WHOLE)


async def ends_session(relay: RelayUnderTest, subscriber: ClientSession, again: Subscribe) -> None:
    """Subscribe a second time, which a relay should take for a protocol violation; a refusal will do too."""
    try:
        async with (
            relay.should("the relay should take a second subscription for a protocol violation"),
            within(REACTION_SECONDS, "refusal"),
        ):
            await subscriber.request(again, expect=RequestError)
    except SessionEnded:
        judge_close(relay, subscriber, await subscriber.wait_closed(), SessionError.PROTOCOL_VIOLATION)


# ---- waiting for a publisher ----------------------------------------------------------------------


@pytest.mark.interop(
    "subscribe-rendezvous-wait", timeout=8.0, profile="subscriptions", level="should", since=18, optional=True
)
@pytest.mark.spec("rendezvous-timeout")
async def test_subscribe_rendezvous_wait(relay: RelayUnderTest) -> None:
    """A subscription that allows the relay a time to find a publisher stands when one comes in that time."""
    namespace = relay.namespace(NAMESPACE)
    waiting = Subscribe(namespace, TRACK, KeyValues(((Parameter.RENDEZVOUS_TIMEOUT, RENDEZVOUS_MS),)))
    async with relay.connect("subscriber") as subscriber, relay.connect("publisher") as publisher:
        request = await subscriber.open(waiting)
        try:
            await unanswered(subscriber, request, "there is a publisher")
        except CaseFailure:
            refusal = await subscriber.expect(request, RequestError)
            if refusal.code == RequestErrorCode.NOT_SUPPORTED:
                raise
            said = subscriber.describe(refusal, Subscribe)
            if refusal.code == RequestErrorCode.TIMEOUT:
                relay.info(f"the relay waits for less than {SILENCE_SECONDS:g} s: {said}")
            else:
                relay.warn("should", f"the relay should hold a subscription with RENDEZVOUS_TIMEOUT: {said}")
            return

        await announce(publisher, namespace)
        routed = await publisher.receive(Subscribe)
        await publisher.reply(routed, SubscribeOk(track_alias=1))

        async with within(REACTION_SECONDS, "SUBSCRIBE_OK"):
            await subscriber.expect(request, SubscribeOk)


@pytest.mark.interop(
    "subscribe-rendezvous-expired",
    timeout=8.0,
    profile="subscriptions",
    level="should",
    since=18,
    optional=True,
)
@pytest.mark.spec("rendezvous-timeout")
async def test_subscribe_rendezvous_expired(relay: RelayUnderTest) -> None:
    """A subscription for which no publisher comes is refused: with 0 at once, else when its time is over."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber:
        none = Subscribe(namespace, b"at once", KeyValues(((Parameter.RENDEZVOUS_TIMEOUT, 0),)))
        if await refuses(relay, subscriber, none, RequestErrorCode.DOES_NOT_EXIST) is None:
            return  # the session is over, which `refuses` has judged
        # The time itself is waited for; as short as one can be told from none.
        some = Subscribe(namespace, TRACK, KeyValues(((Parameter.RENDEZVOUS_TIMEOUT, SHORT_MS),)))
        await refuses(relay, subscriber, some, RequestErrorCode.TIMEOUT)


# ---- what SUBSCRIBE_OK says -----------------------------------------------------------------------


@pytest.mark.interop("subscribe-alias-unique", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-ok", "track-alias")
async def test_subscribe_alias_unique(relay: RelayUnderTest) -> None:
    """Each track has a track alias of its own in a session, whatever its publisher calls it."""
    async with (
        relay.connect("publisher_1") as publisher_1,
        relay.connect("publisher_2") as publisher_2,
        relay.connect("subscriber") as subscriber,
    ):
        arrivals = Arrivals(subscriber)
        tracks: list[tuple[Publication, Subscription]] = []
        for which, publisher in enumerate((publisher_1, publisher_2)):
            namespace = relay.namespace(f"{NAMESPACE}/{which}")
            await announce(publisher, namespace)
            # Both publishers have the same aliases, each in its own session: copied, they would collide.
            tracks += [
                await first_subscribe(
                    publisher, subscriber, namespace, track=b"%d" % number, alias=number, arrivals=arrivals
                )
                for number in range(TRACKS)
            ]
        for number, (publication, _) in enumerate(tracks):
            publication.group(number, [0])

        for number, (_, subscription) in enumerate(tracks):
            await subscription.objects((number, 0))

        assert len({subscription.alias for _, subscription in tracks}) == len(tracks)
        for number, (_, subscription) in enumerate(tracks):
            assert subscription.payloads == {(number, 0): payload(number, 0)}


@pytest.mark.interop("subscribe-largest-absent", timeout=5.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-ok", "largest-param")
async def test_subscribe_largest_absent(relay: RelayUnderTest) -> None:
    """SUBSCRIBE_OK names no largest object of a track of which nothing was published."""
    async with established(relay) as (_, subscription):
        assert Parameter.LARGEST_OBJECT not in subscription.ok.parameters


@pytest.mark.interop("subscribe-largest-present", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-ok", "largest-param")
async def test_subscribe_largest_present(relay: RelayUnderTest) -> None:
    """SUBSCRIBE_OK names the largest object that the publisher named, or that came since."""
    claimed = Location(10, 3)
    async with (
        sourced(relay) as source,
        relay.connect("subscriber_1") as subscriber_1,
        relay.connect("subscriber_2") as subscriber_2,
    ):
        first = await subscribe(subscriber_1, source.namespace)
        source.group(2)
        source.group(3, range(5))
        await first.objects((2, 3), (3, 4))

        second = await subscribe(subscriber_2, source.namespace)
        _, told = await first_subscribe(
            source.session,
            subscriber_1,
            source.namespace,
            track=b"claimed",
            alias=99,
            answer={Parameter.LARGEST_OBJECT: claimed},
            arrivals=first.arrivals,
        )

        assert second.ok.parameters.get(Parameter.LARGEST_OBJECT) == Location(3, 4)
        assert told.ok.parameters.get(Parameter.LARGEST_OBJECT) == claimed


@pytest.mark.interop("subscribe-track-properties", timeout=5.0, profile="subscriptions", since=16)
@pytest.mark.spec("message-subscribe-ok", "relay-track-handling", "properties", "extension-headers")
async def test_subscribe_track_properties(relay: RelayUnderTest) -> None:
    """SUBSCRIBE_OK has the properties of the track that the relay does not know, unchanged."""
    unknown = {APPLICATION_NUMBER: 7, APPLICATION_BYTES: b"\x00\xffbytes"}
    properties = {Property.MAX_CACHE_DURATION: CACHE_MS, **unknown}
    async with established(relay, properties=properties) as (_, subscription):
        passed = subscription.ok.track_properties
        assert {key: passed.all(key) for key in unknown} == {key: (value,) for key, value in unknown.items()}


@pytest.mark.interop("subscribe-params-not-forwarded", timeout=5.0, profile="subscriptions", level="should")
@pytest.mark.spec(
    "version-specific-params", "message-params", "authorization-token", "object-delivery-timeout"
)
async def test_subscribe_params_not_forwarded(relay: RelayUnderTest) -> None:
    """What a subscriber says of itself goes no further: its token, and how long it waits for objects."""
    tokens = [Token(TokenAlias.USE_VALUE, type=0, value=secrets.token_bytes(16)) for _ in range(2)]
    async with (
        sourced(relay) as source,
        relay.connect("subscriber_1") as subscriber_1,
        relay.connect("subscriber_2") as subscriber_2,
    ):
        for subscriber, token in ((subscriber_1, tokens[0]), (subscriber_2, tokens[1])):
            parameters: Parameters = {
                Parameter.OBJECT_DELIVERY_TIMEOUT: TIMEOUT_MS,
                Parameter.AUTHORIZATION_TOKEN: token,
                Parameter.SUBSCRIBER_PRIORITY: 77,
            }
            request = Subscribe(source.namespace, TRACK, KeyValues(parameters))
            answer = await subscriber.request(request)
            if isinstance(answer, RequestError):
                relay.not_offered(
                    "token-refused", f"the relay takes no such token: {subscriber.describe(answer)}"
                )
        # What an update would take to come.
        await silence()

        said = [each for asked in source.asked for each in asked.said]
        told = [value for parameters in said for value in parameters.all(Parameter.AUTHORIZATION_TOKEN)]
        assert not {token.value for token in tokens} & {token.value for token in told}
        with relay.should("the relay should keep DELIVERY_TIMEOUT of a subscriber to itself"):
            assert TIMEOUT_MS not in [each.get(Parameter.OBJECT_DELIVERY_TIMEOUT) for each in said]


# ---- how they end ---------------------------------------------------------------------------------


@pytest.mark.interop("subscribe-unsubscribe", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-unsubscribe", "request-cancellation", "closing-subgroup-streams")
async def test_subscribe_unsubscribe(relay: RelayUnderTest) -> None:
    """A subscriber that ends its subscription gets no more, open streams are reset, others miss nothing."""
    async with (
        sourced(relay) as source,
        relay.connect("subscriber_1") as subscriber_1,
        relay.connect("subscriber_2") as subscriber_2,
    ):
        first = await subscribe(subscriber_1, source.namespace)
        second = await subscribe(subscriber_2, source.namespace)
        stream = source.subgroup(0)
        stream.write(0)
        await first.objects((0, 0))
        await second.objects((0, 0))

        await first.session.cancel(first.request)

        await first.streams(1)
        stream.write(1)
        stream.finish()
        source.group(1)
        await second.objects((0, 1), *((1, number) for number in range(4)))
        await second.streams(2)
        await silence()
        await first.arrivals.take_what_came()
        assert first.places == [(0, 0)]
        (ended,) = first.arrivals.subgroups(first.alias)
        assert ended.was_reset, (
            "the stream of a subscription that was ended has a FIN, as if it were complete"
        )
        if ended.reset_code != CANCELLED:
            relay.warn("wrong-code", f"the stream was reset with {ended.reset_code:#x}, not CANCELLED (0x1)")
