"""Many clients, slow ones, and such as come and go: what one does costs no other its track.

The numbers are such that a case takes a second: what is looked for is a relay that waits for one client with
all others, that runs out of something small, or that keeps what is gone; no measure of what it can bear. A
session that is silent for 90 seconds is in `test_soak.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    ConnectError,
    Message,
    Opening,
    QuicOptions,
    RelayUnderTest,
    RequestError,
    SetupOption,
    Subscribe,
    SubscribeOk,
)

from .arrivals import Arrivals
from .crowd import gathered
from .discovery import discover
from .reactions import refuses
from .sources import sourced
from .tracks import (
    NAMESPACE,
    Publication,
    Subscription,
    announce,
    established,
    first_subscribe,
    payload,
    subscribe,
)
from .waits import REACTION_SECONDS, within

WINDOW = 64 * 1024
"Bytes that a slow subscriber takes, and no more."
SLOW_GROUPS, SLOW_OBJECTS, SLOW_SIZE = 16, 16, 4096
"A mebibyte, most of which a slow subscriber leaves with the relay: a second's work for one of Python."
SLOW_SECONDS = 15.0
"Until a fast one has all."
SESSIONS = 20
NAMESPACES = 60
TRACKS = 100
FLIGHT = 20
"Of subscriptions: more are asked for when these have been answered."
STALLED_NAMESPACES, LONG_FIELD = 60, 1000
"Of which a client that has stopped reading is told; and bytes of a field of each: what it is told fills it."
CHURNS, AT_A_TIME = 20, 5
PUBLISHERS = 6
SUBSCRIPTIONS = 40
SUBSCRIBERS = 100
CROWD_GROUPS, CROWD_OBJECTS, CROWD_SIZE = 4, 2, 1000
"""Of the track for a hundred: a packet an object, and as much as we read in a second. Of a real track, of two
megabits a second, it would be our own speed that is seen: two hundred megabits come together here."""
LOAD_SECONDS = 10.0
"Until all of many have been answered, or have come."


@pytest.mark.interop("slow-subscriber-isolated", timeout=25.0, profile="robustness")
@pytest.mark.spec("subscriber-interactions", "resource-exhaustion", "delivery-timeouts")
async def test_slow_subscriber_isolated(relay: RelayUnderTest) -> None:
    """A subscriber that reads nothing any more does not keep another from getting the whole track."""
    slowly = QuicOptions(max_data=WINDOW, max_stream_data=WINDOW)
    async with (
        sourced(relay) as source,
        relay.connect("slow_subscriber", quic=slowly) as slow,
        relay.connect("subscriber") as fast,
    ):
        await subscribe(slow, source.namespace)
        subscription = await subscribe(fast, source.namespace)
        await source.forwarding()
        slow.connection.withhold_credit()

        for group in range(SLOW_GROUPS):
            source.group(group, range(SLOW_OBJECTS), size=SLOW_SIZE)

        await subscription.streams(SLOW_GROUPS, seconds=SLOW_SECONDS)
        assert subscription.payloads == {
            (group, number): payload(group, number, SLOW_SIZE)
            for group in range(SLOW_GROUPS)
            for number in range(SLOW_OBJECTS)
        }
        # Its own loss is the slow one's: resets, PUBLISH_DONE, the end of its session, or a long wait.
        if slow.closed is not None and slow.closed.by_peer:
            slow.close_awaited = True
            relay.info(f"the slow subscriber's session ended: {slow.describe_close(slow.closed)}")


@pytest.mark.interop("stalled-control-reader", timeout=20.0, profile="robustness", level="should", since=16)
@pytest.mark.spec("resource-exhaustion", "state-maintenance", "message-subscribe-ns")
async def test_stalled_control_reader(relay: RelayUnderTest) -> None:
    """A client that reads none of what it asked to be told keeps nobody from being served."""
    # Up to 15 what it is told are requests, and these wait for the credit that it gives.
    slowly = QuicOptions(max_data=WINDOW // 4, max_stream_data=WINDOW // 4)
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("stalled", quic=slowly) as stalled,
        relay.connect("subscriber") as subscriber,
    ):
        prefix = relay.namespace(f"{NAMESPACE}/watched")
        await discover(relay, stalled, prefix)
        stalled.connection.withhold_credit()

        async with within(LOAD_SECONDS, f"answer to each of {STALLED_NAMESPACES} PUBLISH_NAMESPACE"):
            for number in range(min(STALLED_NAMESPACES, publisher.requests_left - 1)):
                await announce(publisher, (*prefix, b"%d" % number, bytes(LONG_FIELD)))
        namespace = relay.namespace(NAMESPACE)
        await announce(publisher, namespace)
        publication, subscription = await first_subscribe(publisher, subscriber, namespace)
        publication.group(0)

        await subscription.objects(*((0, number) for number in range(4)))
        if stalled.closed is not None and stalled.closed.by_peer:
            stalled.close_awaited = True
            relay.info(f"the stalled session ended: {stalled.describe_close(stalled.closed)}")


@pytest.mark.interop("load-many-namespaces", timeout=25.0, profile="robustness", level="should")
@pytest.mark.spec("state-maintenance", "subscribing-to-namespaces", "message-pub-ns")
async def test_load_many_namespaces(relay: RelayUnderTest) -> None:
    """A client is told of each of many namespaces under a prefix, and then of the end of each."""
    prefix = relay.namespace(f"{NAMESPACE}/many")
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber", opening=_generous(relay)) as subscriber,
    ):
        discovery = await discover(relay, subscriber, prefix)
        names = [b"%d" % number for number in range(min(NAMESPACES, publisher.requests_left))]
        announcements = []
        for name in names:
            announcements.append(await announce(publisher, (*prefix, name)))
            await discovery.told(name)

        for name, announcement in zip(names, announcements, strict=True):
            await publisher.cancel(announcement)
            await discovery.withdrawn(name)


@pytest.mark.interop("load-many-sessions", timeout=20.0, profile="robustness", level="should")
@pytest.mark.spec("resource-exhaustion")
async def test_load_many_sessions(relay: RelayUnderTest) -> None:
    """Twenty clients that come at once are served, and a track beside them goes on."""
    async with established(relay) as (publication, subscription), contextlib.AsyncExitStack() as sessions:

        async def come(number: int) -> bool:
            try:
                client = await sessions.enter_async_context(relay.connect(f"client_{number}"))
            except ConnectError as refusal:
                if refusal.code is None:
                    raise
                return False
            await announce(client, relay.namespace(f"{NAMESPACE}/client-{number}"))
            return True

        async with within(LOAD_SECONDS, f"answer to PUBLISH_NAMESPACE in each of {SESSIONS} sessions"):
            served = await asyncio.gather(*map(come, range(SESSIONS)))
        if not all(served):
            relay.info(f"the relay refused {served.count(False)} of {SESSIONS} connections")
        publication.group(0)

        await subscription.objects(*((0, number) for number in range(4)))


@pytest.mark.interop("load-many-subscriptions", timeout=25.0, profile="robustness", level="should")
@pytest.mark.spec("resource-exhaustion", "track-alias", "message-subscribe-ok")
async def test_load_many_subscriptions(relay: RelayUnderTest) -> None:
    """A client that subscribes to a hundred tracks gets the object of each, under the track's own alias."""
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("subscriber") as subscriber,
        relay.connect("publisher", opening=_generous(relay)) as publisher,
    ):
        await announce(publisher, namespace)
        arrivals = Arrivals(subscriber)
        publications: dict[bytes, Publication] = {}
        # As many as it allows without one having ended.
        names = [b"%d" % number for number in range(min(TRACKS, subscriber.requests_left))]
        async with (
            within(LOAD_SECONDS, f"answer to each of {len(names)} SUBSCRIBE"),
            answering(publisher, publications),
        ):
            requests: list[Subscribe] = []
            answers: list[Message] = []
            # Not all in one flight: in what order they come then is the network's, and request-id-overtaken.
            for first in range(0, len(names), FLIGHT):
                some = names[first : first + FLIGHT]
                flight = [await subscriber.open(Subscribe(namespace, name)) for name in some]
                answers += [await subscriber.answer(request) for request in flight]
                requests += flight
        refusals = [answer for answer in answers if isinstance(answer, RequestError)]
        if refusals:
            codes = ", ".join(sorted({str(refusal.code) for refusal in refusals}))
            relay.info(f"{len(refusals)} of {len(names)} subscriptions were refused, with {codes}")
        accepted = {
            request.track_name: answer.track_alias
            for request, answer in zip(requests, answers, strict=True)
            if isinstance(answer, SubscribeOk)
        }
        for name in accepted:
            publications[name].group(int(name), [0])

        await arrivals.until(
            lambda: all(arrivals.places(alias) for alias in accepted.values()),
            f"object of each of {len(accepted)} tracks",
            seconds=LOAD_SECONDS,
        )

        assert {name: arrivals.places(alias) for name, alias in accepted.items()} == {
            name: [(int(name), 0)] for name in accepted
        }
        assert accepted


@pytest.mark.interop("load-fanout-100", timeout=60.0, profile="robustness", level="should")
@pytest.mark.spec("subscriber-interactions", "resource-exhaustion")
async def test_load_fanout_100(relay: RelayUnderTest) -> None:
    """A hundred subscribers of a track, each on a connection of its own, get every object of it."""
    sent = [(group, number) for group in range(CROWD_GROUPS) for number in range(CROWD_OBJECTS)]
    # Two seconds: most of it is a hundred handshakes, of which we do one half.
    async with sourced(relay) as source, gathered(relay, source.namespace, SUBSCRIBERS) as crowd:
        if crowd.turned_away:
            said = (
                f"of {SUBSCRIBERS} subscribers {len(crowd.subscriptions)} were let in: {crowd.turned_away[0]}"
            )
            if not crowd.subscriptions:
                relay.not_offered("turned-away", said)
            relay.info(said)
        await source.forwarding()

        for group in range(CROWD_GROUPS):
            stream = source.subgroup(group, size=CROWD_SIZE)
            for number in range(CROWD_OBJECTS):
                await crowd.get(stream, (group, number), CROWD_SIZE)
            stream.finish()

        if crowd.given_up:
            relay.info(f"{len(crowd.given_up)} subscriptions were given up: {crowd.given_up[0]}")
        if not crowd.subscriptions:
            relay.warn("nobody-served", "the relay has let subscribers in and given all of them up")
        relay.measured.update(crowd.measured(), upstream_subscriptions=len(source.asked))
        assert [each.session.role for each in crowd.subscriptions if each.places != sent] == []


def _generous(relay: RelayUnderTest) -> Opening:
    """Allows the relay as many requests as it is going to be asked for, where that needs allowing."""
    if not relay.draft.request_id_credit:
        return Opening()
    return Opening(options=((SetupOption.MAX_REQUEST_ID, 4 * TRACKS),))


@contextlib.asynccontextmanager
async def answering(publisher: ClientSession, publications: dict[bytes, Publication]) -> AsyncIterator[None]:
    """Accept whatever the relay subscribes to meanwhile, each under an alias of its own."""

    async def accept() -> None:
        alias = 100
        while True:
            routed = await publisher.receive(Subscribe)
            alias += 1
            publications[routed.track_name] = Publication(publisher, routed, alias)
            # Whoever gives up at once may have had the relay give up too, and nobody is told anything then.
            with contextlib.suppress(CaseFailure):
                await publisher.reply(routed, SubscribeOk(alias))

    accepting = asyncio.create_task(accept())
    try:
        yield
    finally:
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting


@pytest.mark.interop("connection-churn", timeout=25.0, profile="robustness")
@pytest.mark.spec("resource-exhaustion", "publisher-interactions", "subscriber-interactions")
async def test_connection_churn(relay: RelayUnderTest) -> None:
    """Clients that come and go disturb no track, and leave nothing behind."""

    async def come_and_go(number: int) -> None:
        async with relay.connect(f"client_{number}") as client:
            await announce(client, relay.namespace(f"{NAMESPACE}/client-{number}"))
            await client.answer(await client.open(Subscribe(relay.namespace(f"{NAMESPACE}/none"), b"none")))

    async with established(relay) as (publication, subscription):
        for round_number in range(CHURNS // AT_A_TIME):
            numbers = range(round_number * AT_A_TIME, (round_number + 1) * AT_A_TIME)
            await asyncio.gather(*map(come_and_go, numbers))
            publication.group(round_number)
            await subscription.objects(*((round_number, number) for number in range(4)))

        for number in (0, CHURNS - 1):
            gone = relay.namespace(f"{NAMESPACE}/client-{number}")
            if await refuses(relay, subscription.session, Subscribe(gone, b"track")) is None:
                break  # the session is over, which `refuses` has judged
        await announce(publication.session, relay.namespace(f"{NAMESPACE}/client-0"))


@pytest.mark.interop("publisher-churn", timeout=30.0, profile="robustness")
@pytest.mark.spec("publisher-interactions", "multiple-publishers", "message-publish-done")
async def test_publisher_churn(relay: RelayUnderTest) -> None:
    """A track whose publishers replace each other comes from each in turn, as its subscriber asks again."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber:
        arrivals = Arrivals(subscriber)
        for group in range(PUBLISHERS):
            async with relay.connect(f"publisher_{group + 1}") as publisher:
                await announce(publisher, namespace)
                publication, subscription = await first_subscribe(
                    publisher, subscriber, namespace, arrivals=arrivals
                )
                publication.group(group)
                await subscription.objects(*((group, number) for number in range(4)))
            try:
                await subscription.done()
            except CaseFailure:
                relay.warn("no-publish-done", "the subscriber of a publisher that is gone is not told so")
                await subscriber.cancel(subscription.request)
            await _all_in_their_place(subscription, group)


async def _all_in_their_place(subscription: Subscription, group: int) -> None:
    """What came under an alias is of a group that was there while the subscription was, with its bytes."""
    await subscription.arrivals.take_what_came()
    came = subscription.payloads
    assert came == {place: payload(*place) for place in came}
    # A subscription without a filter may be given what there is of the group before.
    assert {place[0] for place in came} <= {group - 1, group}


@pytest.mark.interop("subscribe-churn", timeout=25.0, profile="robustness")
@pytest.mark.spec("subscriber-interactions", "message-subscribe-req")
async def test_subscribe_churn(relay: RelayUnderTest) -> None:
    """After a client has subscribed and thought better of it again and again, a subscription works."""
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("subscriber") as subscriber,
        relay.connect("publisher", opening=_generous(relay)) as publisher,
    ):
        await announce(publisher, namespace)
        publications: dict[bytes, Publication] = {}
        async with answering(publisher, publications):
            for turn in range(min(SUBSCRIPTIONS, subscriber.requests_left - 1)):
                request = await subscriber.open(Subscribe(namespace, b"%d" % (turn % 2)))
                if turn % 2:
                    await subscriber.answer(request)
                await subscriber.cancel(request)
            async with within(REACTION_SECONDS, "answer to the last SUBSCRIBE"):
                subscription = await subscribe(subscriber, namespace, track=b"last")
        publications[b"last"].group(0)

        await subscription.objects(*((0, number) for number in range(4)))
