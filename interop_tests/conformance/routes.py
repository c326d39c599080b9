"""Where a relay takes a SUBSCRIBE: to which publishers, or to none."""

from __future__ import annotations

import asyncio

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    Subscribe,
    TrackNamespace,
)

from .silence import came
from .tracks import TRACK, first_subscribe
from .waits import REACTION_SECONDS


async def routed(
    publisher: ClientSession, subscriber: ClientSession, namespace: TrackNamespace, track: bytes = TRACK
) -> None:
    """Make sure that a subscription comes to a publisher with every byte of its name, and stands."""
    publication, _ = await first_subscribe(publisher, subscriber, namespace, track=track)

    request = publication.request
    assert (request.track_namespace, request.track_name) == (namespace, track)


async def reaches(
    relay: RelayUnderTest,
    subscriber: ClientSession,
    namespace: TrackNamespace,
    *publishers: ClientSession,
    track: bytes = TRACK,
) -> ClientSession | None:
    """Subscribe to a track that ought to have no publisher, and see who is asked for it.

    A relay that leaves the subscriber waiting for a publisher is said to; whether it may is another case's.

    Returns:
        The first of the publishers that is asked, which has refused then; None: none is.

    Raises:
        CaseFailure: The relay accepts, although nobody else has.
    """
    request = await subscriber.open(Subscribe(namespace, track))
    answering = asyncio.create_task(subscriber.expect(request, RequestError))
    asking = [
        asyncio.create_task(publisher.receive(Subscribe, where=lambda ask: ask.track_name == track))
        for publisher in publishers
    ]
    try:
        await asyncio.wait(
            [answering, *asking], timeout=REACTION_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for publisher, task in zip(publishers, asking, strict=True):
            if task.done():
                refusal = RequestError(RequestErrorCode.DOES_NOT_EXIST, "there is no such track")
                await publisher.reply(task.result(), refusal)
                return publisher
        if answering.done():
            answering.result()
        else:
            relay.info("the relay leaves a subscription waiting for a publisher")
    finally:
        for each in (answering, *asking):
            each.cancel()
        await asyncio.gather(answering, *asking, return_exceptions=True)
    for publisher in publishers:
        await publisher.settle()
        if await came(publisher, Subscribe, where=lambda ask: ask.track_name == track) is not None:
            return publisher
    return None


async def reaches_nobody(
    relay: RelayUnderTest,
    subscriber: ClientSession,
    namespace: TrackNamespace,
    *publishers: ClientSession,
    why: str,
    track: bytes = TRACK,
) -> None:
    """Make sure that no publisher is asked for a track.

    Args:
        relay: The relay.
        subscriber: Subscribes to the track.
        namespace: The track's.
        publishers: Who might be asked.
        why: What speaks against it, as the end of a sentence.
        track: Its name.

    Raises:
        CaseFailure: One is, or the relay accepts by itself.
    """
    asked = await reaches(relay, subscriber, namespace, *publishers, track=track)
    if asked is not None:
        raise CaseFailure(
            f"SUBSCRIBE for {namespace!r} came to {asked.role}, {why}",
            cause="wrong-message",
            expected=f"no SUBSCRIBE for {namespace!r}",
            received="SUBSCRIBE",
        )
