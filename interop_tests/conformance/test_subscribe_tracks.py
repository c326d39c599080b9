"""Tracks under a prefix, offered to who asks for them: SUBSCRIBE_TRACKS, before 18 SUBSCRIBE_NAMESPACE.

A relay may wait with its answer to PUBLISH until those to whom it has offered the track have answered, so
they do before that is awaited.
"""

from __future__ import annotations

import pytest

from pytest_moqt import (
    ClientSession,
    GroupOrder,
    Parameter,
    Publish,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    TrackNamespace,
)

from .publishing import (
    OTHER_ALIAS,
    PAUSED,
    accept,
    accepted,
    arrive,
    offered,
    open_publish,
    publish,
    takes_tracks,
    want_tracks,
)
from .silence import came, never_came
from .tracks import NAMESPACE, TRACK, subscribe
from .updates import update
from .waits import REACTION_SECONDS, silence, within

OTHER = b"other"
LATER = 1000
"A group that no other track comes to."


@pytest.mark.interop("subscribe-tracks-existing", timeout=8.0, profile="publish")
@pytest.mark.spec("message-subscribe-tracks", "message-subscribe-ns", "publisher-interactions")
async def test_subscribe_tracks_existing(relay: RelayUnderTest) -> None:
    """A track that was published before is offered to who asks for its prefix, and its objects come."""
    prefix = relay.namespace(NAMESPACE)
    namespace = (*prefix, b"b")
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        published = await publish(relay, publisher, namespace)

        offer = await offered(relay, subscriber, await want_tracks(relay, subscriber, prefix))

        assert (offer.track_namespace, offer.track_name) == (namespace, TRACK)
        await arrive(published, await accept(subscriber, offer))


@pytest.mark.interop("subscribe-tracks-future", timeout=8.0, profile="publish")
@pytest.mark.spec("message-subscribe-tracks", "message-subscribe-ns", "publisher-interactions")
async def test_subscribe_tracks_future(relay: RelayUnderTest) -> None:
    """A track that is published later is offered to who asked for its prefix, and one elsewhere is not."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber, relay.connect("publisher") as publisher:
        asked = await want_tracks(relay, subscriber, prefix)

        await publish(relay, publisher, (*prefix[:-1], b"z", prefix[-1]), track=OTHER, alias=OTHER_ALIAS)
        request = await open_publish(publisher, (*prefix, b"b"))

        subscription = await accept(subscriber, await offered(relay, subscriber, asked))
        await arrive(await accepted(relay, publisher, request), subscription)
        await never_came(
            subscriber,
            Publish,
            "though it is not under the prefix",
            where=lambda offer: offer.track_name == OTHER,
        )


@pytest.mark.interop("subscribe-tracks-forward-0", timeout=8.0, profile="publish", since=16, optional=True)
@pytest.mark.spec("message-subscribe-tracks", "message-subscribe-ns", "forward-parameter")
async def test_subscribe_tracks_forward_0(relay: RelayUnderTest) -> None:
    """Tracks asked for with FORWARD 0 are offered so, and bring no object before FORWARD 1."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber, relay.connect("publisher") as publisher:
        settings: dict[Parameter | int, int] = {**PAUSED}
        if relay.draft.offers_carry_group_order:
            settings[Parameter.GROUP_ORDER] = GroupOrder.DESCENDING
        await takes_tracks(relay, publisher)
        asked = await want_tracks(relay, subscriber, prefix, settings)
        request = await open_publish(publisher, prefix)
        offer = await offered(relay, subscriber, asked)
        assert offer.parameters.get(Parameter.FORWARD, 1) == 0
        if relay.draft.offers_carry_group_order:
            with relay.should("the offer should have the GROUP_ORDER that was asked for"):
                assert offer.parameters.get(Parameter.GROUP_ORDER) == GroupOrder.DESCENDING
        subscription = await accept(subscriber, offer, PAUSED if relay.draft.publish_ok_forwards else None)
        published = await accepted(relay, publisher, request)
        await published.settle()
        if published.forward:
            published.group(0)
            await silence()
            await subscription.arrivals.take_what_came()
            assert subscription.places == []

        # The relay may ask the publisher before it answers, and what came in between may follow or not.
        await published.meanwhile(update(relay, subscription, {Parameter.FORWARD: 1}))
        await arrive(published, subscription, group=1)


@pytest.mark.interop("publish-rejected-downstream", timeout=8.0, profile="publish")
@pytest.mark.spec("message-publish", "message-publish-error", "message-request-error")
async def test_publish_rejected_downstream(relay: RelayUnderTest) -> None:
    """Who refuses a track gets no object of it, and is offered the next; its publisher goes on."""
    prefix = relay.namespace(NAMESPACE)
    async with (
        relay.connect("subscriber") as subscriber,
        relay.connect("viewer") as viewer,
        relay.connect("publisher") as publisher,
    ):
        await takes_tracks(relay, publisher)
        asked = await want_tracks(relay, subscriber, prefix)
        unwanted = await open_publish(publisher, prefix)
        refused = await offered(relay, subscriber, asked)

        await subscriber.reply(refused, RequestError(RequestErrorCode.UNINTERESTED, "no, thanks"))

        wanted = await open_publish(publisher, prefix, track=OTHER, alias=OTHER_ALIAS)
        subscription = await accept(subscriber, await offered(relay, subscriber, asked, track=OTHER))
        published = await accepted(relay, publisher, unwanted)
        await arrive(published, await published.meanwhile(subscribe(viewer, prefix)))
        await arrive(await accepted(relay, publisher, wanted), subscription, group=LATER)
        # The alias of what was refused is free, also for the other track: groups tell the two apart.
        came = subscription.arrivals.places(refused.track_alias)
        assert [place for place in came if place[0] < LATER] == []


@pytest.mark.interop("subscribe-tracks-cancel", timeout=10.0, profile="publish")
@pytest.mark.spec("subscribing-to-namespaces", "message-unsub-ns", "request-cancellation")
async def test_subscribe_tracks_cancel(relay: RelayUnderTest) -> None:
    """Who cancelled the request for tracks is offered no more of them, and keeps those accepted."""
    prefix = relay.namespace(NAMESPACE)
    async with relay.connect("subscriber") as subscriber, relay.connect("publisher") as publisher:
        await takes_tracks(relay, publisher)
        asked = await want_tracks(relay, subscriber, prefix)
        request = await open_publish(publisher, prefix)
        subscription = await accept(subscriber, await offered(relay, subscriber, asked))
        published = await accepted(relay, publisher, request)

        await subscriber.cancel(asked)
        await subscriber.settle()

        # The end of the request and what follows come in different sessions, so the first may be late.
        async with within(REACTION_SECONDS, "end of the offers"):
            number = 1
            while await _is_offered(relay, publisher, subscriber, prefix, number):
                number += 1
        await arrive(published, subscription)


async def _is_offered(
    relay: RelayUnderTest,
    publisher: ClientSession,
    subscriber: ClientSession,
    prefix: TrackNamespace,
    number: int,
) -> bool:
    """Publish one more track, and see whether it is offered; who is, refuses."""
    name = b"more %d" % number
    request = await open_publish(publisher, prefix, track=name, alias=OTHER_ALIAS + number)
    await silence()
    offer = await came(subscriber, Publish, where=lambda offer: offer.track_name == name)
    if offer is None:
        await accepted(relay, publisher, request)
        return False
    await subscriber.reply(offer, RequestError(RequestErrorCode.UNINTERESTED, "no more"))
    return True
