"""Tracks that a publisher offers by PUBLISH, and the subscribers to whom the relay offers them in turn."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pytest_moqt import (
    ClientSession,
    Frame,
    KeyValues,
    Parameter,
    Publish,
    PublishBlocked,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    SubscribeNamespace,
    SubscribeTracks,
    TrackNamespace,
)

from .arrivals import Arrivals, Place
from .tracks import ALIAS, TRACK, Parameters, Publication, Subscription, payload
from .waits import GLANCE_SECONDS, REACTION_SECONDS, silence, within

ResultT = TypeVar("ResultT")
PAUSED: Parameters = {Parameter.FORWARD: 0}
"A publisher begins without sending objects, until the relay wants them."
OTHER_ALIAS = ALIAS + 1
TRACKS_ONLY = 0
"Subscribe Options of 16 and 17: tracks, not namespaces."


@dataclass
class Published(Publication):
    """A PUBLISH that the relay has accepted."""

    request: Publish
    forward: bool = True
    "Whether the relay wants objects, as far as it has said."

    async def wanted(self) -> None:
        """Wait until the relay wants objects; before, a publisher may not send any (`subscriptions`).

        Raises:
            CaseFailure: It goes on not wanting any.
        """
        await self.settle()
        async with within(REACTION_SECONDS, "update of PUBLISH to FORWARD 1"):
            while not self.forward:
                await self.updated()

    async def settle(self) -> None:
        """Take the updates that the relay has sent until now."""
        await self.session.settle()
        await self._take_updates()

    async def meanwhile(self, awaited: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Wait for this, and accept what the relay updates until then.

        A relay may update a track, and answer a subscriber when the publisher has answered that.
        """
        task = asyncio.create_task(awaited)
        try:
            # By looks: a wait for an update that is cancelled as the update comes would lose it.
            while not (await asyncio.wait({task}, timeout=GLANCE_SECONDS))[0]:
                await self._take_updates()
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _take_updates(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                while True:
                    await self.updated()

    async def updated(self) -> None:
        """Take the relay's next update."""
        update = await self.session.receive_update(self.request)
        self.forward = bool(update.parameters.get(Parameter.FORWARD, self.forward))


async def open_publish(
    publisher: ClientSession,
    namespace: TrackNamespace,
    parameters: Parameters | None = None,
    *,
    track: bytes = TRACK,
    alias: int = ALIAS,
    properties: Mapping[int, Any] | None = None,
    edit: Callable[[Frame], Frame] | None = None,
) -> Publish:
    """Send PUBLISH, and wait for nothing; `edit` changes its frame before."""
    request = Publish(namespace, track, alias, KeyValues(parameters or {}), KeyValues(properties or {}))
    return await publisher.open(request, edit=edit)


async def publish(
    relay: RelayUnderTest,
    publisher: ClientSession,
    namespace: TrackNamespace,
    parameters: Parameters | None = None,
    *,
    track: bytes = TRACK,
    alias: int = ALIAS,
    properties: Mapping[int, Any] | None = None,
) -> Published:
    """Offer a track; where the relay refuses, as it may, the case is skipped.

    Raises:
        CaseFailure: The relay does not answer.
    """
    request = await open_publish(
        publisher, namespace, parameters, track=track, alias=alias, properties=properties
    )
    return await accepted(relay, publisher, request)


async def accepted(relay: RelayUnderTest, publisher: ClientSession, request: Publish) -> Published:
    """The relay's OK to a PUBLISH; where it refuses, as it may, the case is skipped.

    Raises:
        CaseFailure: The relay does not answer.
    """
    async with within(REACTION_SECONDS, "answer to PUBLISH"):
        answer = await publisher.answer(request)
    if isinstance(answer, RequestError):
        said = publisher.describe(answer, Publish)
        relay.not_offered("publishing-refused", f"the relay refuses PUBLISH with {said}")
    ok = await publisher.expect(request, RequestOk)
    said_first = 1 if relay.draft.publish_ok_forwards else request.parameters.get(Parameter.FORWARD, 1)
    forward = bool(ok.parameters.get(Parameter.FORWARD, said_first))
    return Published(publisher, request, request.track_alias, forward)


async def takes_tracks(relay: RelayUnderTest, publisher: ClientSession) -> None:
    """Skip the case where the relay refuses PUBLISH, as it may; seen by a track that nobody has asked for."""
    await publish(relay, publisher, relay.namespace("moq-test/elsewhere"), track=b"elsewhere", alias=1)


async def ask_for_tracks(
    relay: RelayUnderTest,
    subscriber: ClientSession,
    prefix: TrackNamespace,
    parameters: Parameters | None = None,
) -> SubscribeTracks | SubscribeNamespace:
    """Ask to be offered the tracks under a prefix, in the draft's way, and wait for nothing."""
    settings = KeyValues(parameters or {})
    if relay.supports(SubscribeTracks):
        return await subscriber.open(SubscribeTracks(prefix, settings))
    return await subscriber.open(SubscribeNamespace(prefix, settings, subscribe_options=TRACKS_ONLY))


async def want_tracks(
    relay: RelayUnderTest,
    subscriber: ClientSession,
    prefix: TrackNamespace,
    parameters: Parameters | None = None,
) -> SubscribeTracks | SubscribeNamespace:
    """Ask to be offered the tracks under a prefix, which the relay has to accept if it offers any at all.

    Raises:
        CaseFailure: It does not.
    """
    request = await ask_for_tracks(relay, subscriber, prefix, parameters)
    async with within(REACTION_SECONDS, "answer to the request for tracks"):
        answer = await subscriber.answer(request)
    if isinstance(answer, RequestError) and answer.code == RequestErrorCode.NOT_SUPPORTED:
        relay.not_offered("no-offers", f"the relay does not support {type(request).__name__}")
    await subscriber.expect(request, RequestOk)
    return request


async def offered(
    relay: RelayUnderTest,
    subscriber: ClientSession,
    asked: SubscribeTracks | SubscribeNamespace,
    *,
    track: bytes = TRACK,
) -> Publish:
    """Wait until the relay offers a track; where it says that it will not, as it may, the case is skipped.

    Raises:
        CaseFailure: It says nothing.
    """
    ways: list[asyncio.Task[Publish | PublishBlocked]] = [
        asyncio.create_task(subscriber.receive(Publish, where=lambda offer: offer.track_name == track))
    ]
    if relay.supports(PublishBlocked):
        ways.append(asyncio.create_task(subscriber.receive_later(asked, PublishBlocked)))
    try:
        async with within(REACTION_SECONDS, "PUBLISH from the relay"):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        said = next(way for way in ways if way.done()).result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    if isinstance(said, PublishBlocked):
        relay.not_offered("track-skipped", f"the relay says {subscriber.describe(said)} instead of PUBLISH")
    return said


async def accept(
    subscriber: ClientSession, offer: Publish, parameters: Parameters | None = None
) -> Subscription:
    """Accept a track that the relay offers, with parameters of PUBLISH_OK."""
    await subscriber.reply(offer, RequestOk(KeyValues(parameters or {})))
    await subscriber.settle()
    return Subscription(subscriber, offer, offer, Arrivals(subscriber))


async def arrive(published: Published, subscription: Subscription, group: int = 0) -> None:
    """Send a group once the relay wants it; it comes whole, with its bytes.

    Who accepted an offer cannot tell when the relay knows that, and it may drop what comes before: to them
    groups are sent until one comes whole.
    """
    await published.wanted()
    published.group(group)
    if not isinstance(subscription.request, Publish):
        await subscription.objects(*_places(group))
        _came_whole(subscription, group)
        return
    sent = [group]

    async def send_more() -> None:
        for number in itertools.count(group + 1):
            await silence()
            published.group(number)
            sent.append(number)

    def whole() -> list[int]:
        return [number for number in sent if set(_places(number)) <= set(subscription.places)]

    sending = asyncio.create_task(send_more())
    try:
        await subscription.arrivals.until(whole, f"group whole, of those from {group} on")
    finally:
        sending.cancel()
    _came_whole(subscription, whole()[0])


def _places(group: int) -> list[Place]:
    return [(group, number) for number in range(4)]


def _came_whole(subscription: Subscription, group: int) -> None:
    """Each object of a group came, once and with its bytes."""
    came = [place for place in subscription.places if place[0] == group]
    assert came == _places(group)
    assert {place: subscription.payloads[place] for place in came} == {
        place: payload(*place) for place in came
    }
