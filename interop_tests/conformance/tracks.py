"""Tracks through the relay: a publisher, its subscribers, and what the one sends and the others get."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_moqt import (
    UNKNOWN_STREAM_COUNT,
    ClientSession,
    KeyValues,
    ObjectDatagram,
    Parameter,
    Property,
    Publish,
    PublishDone,
    PublishDoneStatus,
    PublishNamespace,
    RelayUnderTest,
    RequestOk,
    StreamObject,
    SubgroupHeader,
    SubgroupStream,
    Subscribe,
    SubscribeOk,
    drafts,
)

from .arrivals import Arrivals, Place, Subgroup
from .waits import DELIVERY_SECONDS, REACTION_SECONDS, within

NAMESPACE = "moq-test/conformance"
TRACK = b"track"
ALIAS = 7
"What our publishers call a track; a relay has names of its own for its subscribers."
TRACK_PRIORITY, USUAL_PRIORITY = 77, 128
"Of objects that state none: as the track has it, and where the track says nothing either."

Parameters = Mapping[Parameter | int, Any]


def payload(group: int, number: int, size: int = 32) -> bytes:
    """What an object holds: bytes that no other object has."""
    beginning = f"{group}/{number};".encode()
    return (beginning * -(-size // len(beginning)))[:size]


@dataclass
class Publication:
    """A track as its publisher sees it: a SUBSCRIBE of the relay's that was accepted, or its own PUBLISH."""

    session: ClientSession
    request: Subscribe | Publish
    alias: int

    def group(
        self,
        group: int,
        numbers: Iterable[int] = range(4),
        *,
        size: int = 32,
        fin: bool = True,
        **header: Any,
    ) -> SubgroupStream:
        """Send objects of a group on a stream of its own.

        Args:
            group: Its id.
            numbers: Ids of the objects, ascending.
            size: Bytes of each payload.
            fin: Whether the stream ends behind them.
            header: More of the SUBGROUP_HEADER, such as `subgroup_id`.

        Returns:
            The stream, for what follows where it has not ended.
        """
        stream = self.open(group, **header)
        for number in numbers:
            stream.write(StreamObject(number, payload(group, number, size)))
        if fin:
            stream.finish()
        return stream

    def open(self, group: int, **header: Any) -> SubgroupStream:
        """Open a stream for objects of a group, with more of its SUBGROUP_HEADER such as `subgroup_id`.

        It begins with the subgroup's first object, unless that is said otherwise (`model-subgroup`).
        """
        header = {"first_object": self.session.draft.has_first_object, **header}
        return self.session.open_subgroup(SubgroupHeader(self.alias, group, **header))

    def datagram(self, group: int, number: int, *, size: int = 32, **fields: Any) -> None:
        """Send an object in a datagram, with more of its fields such as `properties`."""
        fields = {"payload": payload(group, number, size), **fields}
        self.session.send_datagram(ObjectDatagram(self.alias, group, number, **fields))

    async def done(
        self,
        streams: int = UNKNOWN_STREAM_COUNT,
        status: PublishDoneStatus = PublishDoneStatus.TRACK_ENDED,
    ) -> None:
        """Say that this was all, with how many streams were opened."""
        await self.session.send(self.request, PublishDone(status, streams))


@dataclass
class Subscription:
    """A track as a subscriber sees it."""

    session: ClientSession
    request: Subscribe | Publish
    ok: SubscribeOk | Publish
    "What tells the alias and the properties: the answer, or the relay's PUBLISH itself."
    arrivals: Arrivals

    @property
    def alias(self) -> int:
        """What the relay calls the track in this session."""
        return self.ok.track_alias

    @property
    def places(self) -> list[Place]:
        """Group and object of what came, sorted."""
        return self.arrivals.places(self.alias)

    @property
    def payloads(self) -> dict[Place, bytes]:
        """What came."""
        return self.arrivals.payloads(self.alias)

    @property
    def subgroups(self) -> list[Subgroup]:
        """The streams that came, in the order in which they did."""
        return self.arrivals.subgroups(self.alias)

    @property
    def datagrams(self) -> list[ObjectDatagram]:
        """The objects that came in datagrams."""
        return self.arrivals.datagrams(self.alias)

    def priority(self, header: SubgroupHeader | ObjectDatagram) -> int:
        """The publisher's priority of a stream or a datagram: its own, or else the track's."""
        if header.publisher_priority is not None:
            return header.publisher_priority
        # Draft 15 has a parameter where later ones have a property; 128 is what is meant by neither.
        told = self.ok.parameters.get(Parameter.PUBLISHER_PRIORITY, 128)
        return int(self.ok.track_properties.get(Property.DEFAULT_PUBLISHER_PRIORITY, told))

    async def objects(self, *wanted: Place) -> None:
        """Wait for these objects.

        Raises:
            CaseFailure: They did not come.
        """
        missing = set(wanted)
        await self.arrivals.until(lambda: missing <= set(self.places), f"objects {sorted(missing)}")

    async def streams(self, count: int, *, seconds: float = DELIVERY_SECONDS) -> None:
        """Wait until that many streams have ended, one way or the other.

        Raises:
            CaseFailure: They did not.
        """
        await self.arrivals.until(
            lambda: sum(stream.over for stream in self.arrivals.subgroups(self.alias)) >= count,
            f"end of {count} streams",
            seconds=seconds,
        )

    async def done(self) -> PublishDone:
        """Wait for PUBLISH_DONE.

        Raises:
            CaseFailure: It did not come.
        """
        async with within(REACTION_SECONDS, "PUBLISH_DONE"):
            return await self.session.receive_later(self.request, PublishDone)

    async def over(self) -> None:
        """Wait for the end of the subscription: PUBLISH_DONE, or the reset of its stream.

        Raises:
            CaseFailure: Its stream ended without either.
        """
        told = asyncio.create_task(self.done())
        withdrawn = asyncio.create_task(self.session.wait_withdrawn(self.request))
        try:
            done, _ = await asyncio.wait({told, withdrawn}, return_when=asyncio.FIRST_COMPLETED)
            if withdrawn not in done:
                await told
        finally:
            for task in (told, withdrawn):
                task.cancel()
            await asyncio.gather(told, withdrawn, return_exceptions=True)


def judge_status(relay: RelayUnderTest, done: PublishDone) -> None:
    """Judge why a track is over, as the relay says it of one that has ended.

    Another status is a warning: "SHOULD use a relevant status code" (`message-publish-done`).
    """
    if done.status != PublishDoneStatus.TRACK_ENDED:
        relay.warn("wrong-code", f"PUBLISH_DONE says {done.status} of a track that has ended")


async def announce(publisher: ClientSession, namespace: tuple[bytes, ...]) -> PublishNamespace:
    """Say that a publisher has a namespace, which the relay has to take.

    Returns:
        The request, to be withdrawn with `cancel`.
    """
    request = await publisher.open(PublishNamespace(namespace))
    await publisher.expect(request, RequestOk)
    return request


async def subscribe(
    subscriber: ClientSession,
    namespace: tuple[bytes, ...],
    parameters: Parameters | None = None,
    *,
    track: bytes = TRACK,
    arrivals: Arrivals | None = None,
) -> Subscription:
    """Subscribe to a track that has a publisher already.

    Args:
        subscriber: The session.
        namespace: The track's.
        parameters: Of SUBSCRIBE.
        track: Its name.
        arrivals: What takes the session's data, where the session has several subscriptions.
    """
    request = await subscriber.open(Subscribe(namespace, track, KeyValues(parameters or {})))
    ok = await subscriber.expect(request, SubscribeOk)
    return Subscription(subscriber, request, ok, arrivals or Arrivals(subscriber))


async def first_subscribe(
    publisher: ClientSession,
    subscriber: ClientSession,
    namespace: tuple[bytes, ...],
    parameters: Parameters | None = None,
    *,
    track: bytes = TRACK,
    alias: int = ALIAS,
    answer: Parameters | None = None,
    properties: Mapping[int, Any] | None = None,
    arrivals: Arrivals | None = None,
) -> tuple[Publication, Subscription]:
    """Subscribe to a track of an announced namespace; its publisher accepts.

    Args:
        publisher: Has announced the namespace.
        subscriber: The other session.
        namespace: The track's.
        parameters: Of the subscriber's SUBSCRIBE.
        track: Its name.
        alias: What the publisher calls the track.
        answer: Parameters of the publisher's SUBSCRIBE_OK.
        properties: Track properties of the same.
        arrivals: What takes the subscriber's data, where it has several subscriptions.
    """
    async with asyncio.TaskGroup() as tasks:
        subscribing = tasks.create_task(
            subscribe(subscriber, namespace, parameters, track=track, arrivals=arrivals)
        )
        routed = await publisher.receive(Subscribe, where=lambda message: message.track_name == track)
        ok = SubscribeOk(alias, KeyValues(answer or {}), KeyValues(properties or {}))
        await publisher.reply(routed, ok)
    return Publication(publisher, routed, alias), subscribing.result()


@contextlib.asynccontextmanager
async def established(
    relay: RelayUnderTest,
    parameters: Parameters | None = None,
    *,
    answer: Parameters | None = None,
    properties: Mapping[int, Any] | None = None,
) -> AsyncIterator[tuple[Publication, Subscription]]:
    """A publisher and a subscriber of one track, each in a session of its own.

    Args:
        relay: Between them.
        parameters: Of the subscriber's SUBSCRIBE.
        answer: Parameters of the publisher's SUBSCRIBE_OK.
        properties: Track properties of the same.
    """
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        yield await first_subscribe(
            publisher, subscriber, namespace, parameters, answer=answer, properties=properties
        )


@contextlib.asynccontextmanager
async def prioritised(relay: RelayUnderTest) -> AsyncIterator[tuple[Publication, Subscription, int]]:
    """A publisher and a subscriber of one track; with the priority of objects that have none of their own.

    The track has one where the draft lets it say so; elsewhere it is the drafts' usual one.

    Args:
        relay: Between them.
    """
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        tells = relay.draft.number in drafts(16)
        publication, subscription = await first_subscribe(
            *(publisher, subscriber, namespace),
            properties={Property.DEFAULT_PUBLISHER_PRIORITY: TRACK_PRIORITY} if tells else None,
        )
        yield publication, subscription, TRACK_PRIORITY if tells else USUAL_PRIORITY
