"""Updates of subscriptions, and the forward state, which says whether objects are wanted now."""

from __future__ import annotations

import contextlib

import pytest

from pytest_moqt import (
    ClientSession,
    Filter,
    FilterType,
    KeyValues,
    Location,
    Parameter,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestUpdate,
    SessionEnded,
    SessionError,
    Subscribe,
    SubscribeOk,
    TrackStatus,
    drafts,
)

from .arrivals import Arrivals, Place
from .reactions import attack, closes
from .sources import Source, sourced
from .tracks import NAMESPACE, TRACK, Parameters, Subscription, subscribe
from .updates import update, update_failed
from .waits import REACTION_SECONDS, silence, within

PAUSED: Parameters = {Parameter.FORWARD: 0}
RUNNING: Parameters = {Parameter.FORWARD: 1}
MAY_REJECT = drafts(14, 18)
"Drafts in which subscriptions with FORWARD 0 may be rejected for what they cost."
NEVER_USED = 4000
"A request id that no case comes to."


def places(*groups: int) -> list[Place]:
    """Group and object of all objects of these groups."""
    return [(group, number) for group in groups for number in range(4)]


def from_group(group: int) -> Parameters:
    """The parameter of a subscription that starts with a group."""
    return {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, Location(group, 0))}


async def paused(relay: RelayUnderTest, subscriber: ClientSession, source: Source) -> Subscription:
    """Subscribe with FORWARD 0; a relay that does not take that, as it may, has none of these cases."""
    request = await subscriber.open(Subscribe(source.namespace, TRACK, KeyValues(PAUSED)))
    answer = await subscriber.answer(request)
    # "a publisher might deprioritize, reject, or close those subscriptions" (14 section 9.7, 18 section 9.2).
    rejectable = relay.draft.number in MAY_REJECT
    if isinstance(answer, RequestError) and (rejectable or answer.code == RequestErrorCode.NOT_SUPPORTED):
        relay.not_offered("forward-0-refused", subscriber.describe(answer, Subscribe))
    ok = await subscriber.expect(request, SubscribeOk)
    return Subscription(subscriber, request, ok, Arrivals(subscriber))


@pytest.mark.interop("subscribe-forward-0", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "subscriptions", "forward-parameter")
async def test_subscribe_forward_0(relay: RelayUnderTest) -> None:
    """A subscription with FORWARD 0 gets no object, and PUBLISH_DONE all the same."""
    async with sourced(relay) as source, relay.connect("subscriber") as subscriber:
        subscription = await paused(relay, subscriber, source)

        source.group(0)
        await source.done()

        await subscription.done()
        await silence()
        await subscription.arrivals.take_what_came()
        assert subscription.places == []


@pytest.mark.interop("subscribe-forward-toggle", timeout=10.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-update", "message-request-update", "forward-parameter")
@pytest.mark.spec("subscriptions", "closing-subgroup-streams")
async def test_subscribe_forward_toggle(relay: RelayUnderTest) -> None:
    """An update of FORWARD to 1 lets objects come, one to 0 ends that, and both are answered."""
    async with sourced(relay) as source, relay.connect("subscriber") as subscriber:
        subscription = await paused(relay, subscriber, source)
        source.group(0)

        await update(relay, subscription, RUNNING)
        await source.forwarding()
        stream = source.subgroup(1)
        stream.write(0, 1)

        await subscription.objects((1, 0), (1, 1))
        ok = await update(relay, subscription, PAUSED)
        stream.write(2)
        stream.finish()
        source.group(2)
        await silence()
        await subscription.arrivals.take_what_came()

        got = [place for place in subscription.places if place[0] > 0]
        if ok is None:
            # "the worst outcome is that it is not processed promptly and some extra objects ... are
            # delivered" (14 section 9.10).
            with relay.should("the relay should send no objects after FORWARD 0"):
                assert got == [(1, 0), (1, 1)]
            return
        assert got == [(1, 0), (1, 1)]
        # Group 0 may have been on its way when objects began to be wanted.
        streams = [each for each in subscription.arrivals.subgroups(subscription.alias) if each.group == 1]
        assert [each.ended for each in streams] == [False], (
            "a stream of which objects were left out has a FIN, as if it were complete"
        )
        assert ok.parameters.get(Parameter.LARGEST_OBJECT) == Location(1, 1)


@pytest.mark.interop("subscribe-forward-upstream", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("publisher-interactions", "forward-parameter", "subscriptions")
async def test_subscribe_forward_upstream(relay: RelayUnderTest) -> None:
    """The publisher is asked for objects when one subscriber wants them, and only that one gets them."""
    async with (
        sourced(relay) as source,
        relay.connect("subscriber_1") as subscriber_1,
        relay.connect("subscriber_2") as subscriber_2,
    ):
        resting = await paused(relay, subscriber_1, source)
        running = await subscribe(subscriber_2, source.namespace, RUNNING)

        await source.forwarding()
        source.group(0)

        await running.objects(*places(0))
        await silence()
        await resting.arrivals.take_what_came()
        assert running.places == places(0)
        assert resting.places == []


@pytest.mark.interop("subscribe-update-ok", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-update", "message-request-update")
async def test_subscribe_update_ok(relay: RelayUnderTest) -> None:
    """An update of the priority is answered once, one that changes nothing too, and objects keep coming."""
    async with sourced(relay) as source, relay.connect("subscriber") as subscriber:
        subscription = await subscribe(subscriber, source.namespace)

        await update(relay, subscription, {Parameter.SUBSCRIBER_PRIORITY: 10})
        await update(relay, subscription, {})
        source.group(0)

        await subscription.objects(*places(0))
        assert subscription.places == places(0)


@pytest.mark.interop("subscribe-update-narrow", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-update", "message-request-update")
async def test_subscribe_update_narrow(relay: RelayUnderTest) -> None:
    """A subscription that was updated to start later gets nothing of what is published before that."""
    async with sourced(relay) as source, relay.connect("subscriber") as subscriber:
        subscription = await subscribe(subscriber, source.namespace)

        ok = await update(relay, subscription, from_group(5))
        source.group(4)
        source.group(5)

        await subscription.objects(*places(5))
        await silence()
        await subscription.arrivals.take_what_came()
        if ok is None:
            with relay.should("the relay should send nothing from before the start of an update"):
                assert subscription.places == places(5)
        else:
            assert subscription.places == places(5)


@pytest.mark.interop("subscribe-update-widen", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-update", "message-request-update")
async def test_subscribe_update_widen(relay: RelayUnderTest) -> None:
    """An update may let a subscription start earlier, or be refused; up to draft 15 it ends the session."""
    async with sourced(relay) as source, attack(relay, "subscriber") as subscriber:
        subscription = await subscribe(subscriber, source.namespace, from_group(5))
        if relay.draft.updates_only_narrow:
            with contextlib.suppress(SessionEnded):
                await subscriber.update(subscription.request, KeyValues(from_group(2)))
            await closes(relay, subscriber, SessionError.PROTOCOL_VIOLATION)
            return

        async with within(REACTION_SECONDS, "answer to the update"):
            answer = await subscriber.update(subscription.request, KeyValues(from_group(2)))

        if isinstance(answer, RequestError):
            relay.info(f"the relay refused: {subscriber.describe(answer, RequestUpdate)}")
            await update_failed(relay, subscription)
            return
        # The answer, and what the publisher was told, may overtake each other.
        await silence()
        asked = any(each.wants(Location(2, 0)) for each in source.asked)
        source.group(2)
        source.group(5)
        await subscription.objects(*places(5))
        if asked:
            await subscription.objects(*places(2))
        else:
            relay.warn(
                "should",
                "the relay accepted the wider range, and asked its publisher for no more than before",
            )


@pytest.mark.interop("subscribe-update-unknown-request", timeout=8.0, profile="subscriptions", until=16)
@pytest.mark.spec("message-subscribe-update", "message-request-update")
async def test_subscribe_update_unknown_request(relay: RelayUnderTest) -> None:
    """An update of a request that never was ends the session."""
    async with attack(relay) as attacker:
        frame = attacker.frame(RequestUpdate(existing_request_id=NEVER_USED, request_id=0))
        await attacker.send_raw(frame)

        # The message's section has the one, and that of Request ID the other (14 to 16 section 9.1).
        violation, invalid = SessionError.PROTOCOL_VIOLATION, SessionError.INVALID_REQUEST_ID
        await closes(relay, attacker, violation, invalid)


@pytest.mark.interop("request-update-misplaced", timeout=10.0, profile="subscriptions", since=18)
@pytest.mark.spec("session-init", "message-request-update", "message-track-status")
async def test_request_update_misplaced(relay: RelayUnderTest) -> None:
    """An update that begins a stream ends the session, and so does one of TRACK_STATUS from draft 19 on."""
    async with attack(relay) as attacker:
        frame = attacker.frame(RequestUpdate(request_id=0))
        attacker.open_stream(unidirectional=False).send(frame.encode(relay.draft))

        await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)

    if relay.draft.status_update_closes:
        async with attack(relay) as attacker:
            asked = await attacker.open(TrackStatus(relay.namespace(NAMESPACE), TRACK))
            await attacker.send_raw(attacker.frame(RequestUpdate(request_id=2)), asked)

            # It need not read on behind its answer, which ends the stream.
            with relay.should("the relay should close the session for an update of TRACK_STATUS"):
                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
