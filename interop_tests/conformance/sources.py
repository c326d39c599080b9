"""A publisher that sends what the relay asks it for, nothing else, and answers when the relay changes that.

A relay may pass its subscribers' filters and forward states on, or keep them to itself: with a publisher that
minds what it is asked, a subscriber gets the same from either.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_moqt import (
    ClientSession,
    Filter,
    FilterType,
    KeyValues,
    Location,
    Parameter,
    PublishDone,
    PublishDoneStatus,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    RequestUpdate,
    SessionEnded,
    StreamObject,
    SubgroupHeader,
    SubgroupStream,
    Subscribe,
    SubscribeOk,
    TrackStatus,
)

from .tracks import ALIAS, NAMESPACE, TRACK, announce, payload
from .waits import REACTION_SECONDS, within

START = Location(0, 0)
CANCELLED = 0x1
"In every draft (`closing-subgroup-streams`)."
LAST = (1 << 64) - 1


@dataclass
class Asked:
    """A SUBSCRIBE of the relay's: which part of the track it wants, and whether now."""

    request: Subscribe
    alias: int
    largest: Location | None
    "When it asked."
    forward: bool = True
    start: Location = START
    last: Location | None = None
    updates: list[RequestUpdate] = field(default_factory=list)
    "What it changed since."
    streams: int = 0
    "That were opened for it."

    def __post_init__(self) -> None:
        self.change(self.request.parameters)

    def change(self, parameters: Mapping[Any, Any]) -> None:
        """Take what a SUBSCRIBE or an update says."""
        if Parameter.FORWARD in parameters:
            self.forward = bool(parameters[Parameter.FORWARD])
        if Parameter.SUBSCRIPTION_FILTER in parameters:
            self._select(parameters[Parameter.SUBSCRIPTION_FILTER])

    @property
    def said(self) -> list[KeyValues[Any, Any]]:
        """The parameters of everything that it said of this subscription."""
        return [self.request.parameters, *(update.parameters for update in self.updates)]

    def wants(self, location: Location) -> bool:
        """Whether the object there is to be sent."""
        return self.forward and location >= self.start and (self.last is None or location <= self.last)

    def _select(self, wanted: Filter) -> None:
        self.last = None
        if wanted.end_group is not None:
            end = LAST if wanted.end_object is None else wanted.end_object
            self.last = Location(wanted.end_group, end)
        group = -1 if self.largest is None else self.largest.group
        match wanted.type:
            case FilterType.LARGEST_OBJECT if self.largest is not None:
                self.start = Location(group, self.largest.object + 1)
            case FilterType.NEXT_GROUP_START:
                self.start = Location(group + 1, 0)
            case FilterType.RELATIVE_START:
                self.start = Location(max(0, group + 1 - (wanted.groups_back or 0)), 0)
            case _:
                self.start = wanted.start or START


class SourceStream:
    """A subgroup, to each SUBSCRIBE that wants some of it."""

    def __init__(self, source: Source, header: SubgroupHeader, size: int) -> None:
        self._source = source
        self._header = header
        self._size = size
        self._streams: dict[int, SubgroupStream] = {}
        self._ended: set[int] = set()
        self._first: int | None = None

    def write(self, *numbers: int) -> None:
        """Send objects; a stream of which one is left out is reset, as the drafts want it."""
        for number in numbers:
            location = Location(self._header.group_id, number)
            self._source.note(location)
            if self._first is None:
                self._first = number
            for asked in self._source.asked:
                alias = asked.alias
                if alias in self._ended:
                    continue
                if asked.wants(location):
                    if alias not in self._streams:
                        begins = number == self._first
                        self._streams[alias] = self._source.open(asked, self._header, begins=begins)
                    item = StreamObject(number, payload(location.group, number, self._size))
                    self._streams[alias].write(item)
                else:
                    self.withdraw(alias)

    def withdraw(self, alias: int) -> None:
        """Abandon what is sent under an alias, where that is not over."""
        if alias in self._streams and alias not in self._ended:
            self._streams[alias].reset(CANCELLED)
            self._ended.add(alias)

    def finish(self) -> None:
        """Say that this was the whole subgroup."""
        for alias, stream in self._streams.items():
            if alias not in self._ended:
                stream.finish()
                self._ended.add(alias)


class Source:
    """A track at its publisher."""

    def __init__(
        self,
        session: ClientSession,
        namespace: tuple[bytes, ...],
        properties: Mapping[int, Any],
        alias: int = ALIAS,
    ) -> None:
        self.session = session
        self.namespace = namespace
        self.asked: list[Asked] = []
        "Every SUBSCRIBE of the relay's that stands."
        self.largest: Location | None = None
        self.ended = False
        "Whether all was said to be sent: there is nothing more to subscribe to."
        self._aliases = itertools.count(alias)
        self._subgroups: list[SourceStream] = []
        self._properties = KeyValues(properties)
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, location: Location) -> None:
        """An object exists there."""
        if self.largest is None or location > self.largest:
            self.largest = location

    def open(self, asked: Asked, header: SubgroupHeader, *, begins: bool) -> SubgroupStream:
        """A stream for what the relay asked for; `begins` with the subgroup's first object or later."""
        asked.streams += 1
        first = begins and self.session.draft.has_first_object
        return self.session.open_subgroup(replace(header, track_alias=asked.alias, first_object=first))

    def subgroup(self, group: int, subgroup_id: int = 0, *, size: int = 32, **header: Any) -> SourceStream:
        """A subgroup of a group, to be written piece by piece, each of `size` bytes."""
        stream = SourceStream(self, SubgroupHeader(ALIAS, group, subgroup_id, **header), size)
        self._subgroups.append(stream)
        return stream

    def group(self, group: int, numbers: Iterable[int] = range(4), **header: Any) -> None:
        """A group whole."""
        stream = self.subgroup(group, **header)
        stream.write(*numbers)
        stream.finish()

    async def done(self, status: PublishDoneStatus = PublishDoneStatus.TRACK_ENDED) -> None:
        """Say that this was all."""
        self.ended = True
        for asked in self.asked:
            await self.session.send(asked.request, PublishDone(status, asked.streams))

    async def forwarding(self) -> None:
        """Wait until the relay wants objects, from the start or by an update.

        Raises:
            CaseFailure: It does not.
        """
        await self.until(
            lambda: any(asked.forward for asked in self.asked),
            "SUBSCRIBE or update of the relay with FORWARD 1",
        )

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait until the relay has asked for something.

        Args:
            done: Whether it has.
            what: What it has to say, for the report: `SUBSCRIBE of the relay`.

        Raises:
            CaseFailure: It does not.
        """
        async with within(REACTION_SECONDS, what):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    async def serve(self) -> None:
        """Accept what the relay asks for until the track ends, and refuse it then, until cancelled."""
        self._tasks.add(asyncio.create_task(self._tell()))
        try:
            while True:
                request = await self.session.receive(Subscribe, where=self._is_ours)
                if self.ended:
                    error = RequestError(RequestErrorCode.DOES_NOT_EXIST, "the track has ended")
                    await self.session.reply(request, error)
                    continue
                asked = Asked(request, next(self._aliases), self.largest)
                self.asked.append(asked)
                ok = SubscribeOk(asked.alias, self._state(), self._properties)
                await self.session.reply(request, ok)
                self._changed.set()
                for following in (self._follow(asked), self._until_withdrawn(asked)):
                    self._tasks.add(asyncio.create_task(following))
        finally:
            for task in self._tasks:
                task.cancel()

    def _is_ours(self, request: Subscribe | TrackStatus) -> bool:
        return request.track_namespace == self.namespace and request.track_name == TRACK

    async def _tell(self) -> None:
        while True:
            status = await self.session.receive(TrackStatus, where=self._is_ours)
            await self.session.reply(status, RequestOk(self._state()))
            await self.session.finish(status)

    async def _follow(self, asked: Asked) -> None:
        while True:
            update = await self.session.receive_later(asked.request, RequestUpdate)
            asked.updates.append(update)
            asked.largest = self.largest
            asked.change(update.parameters)
            if self.session.draft.updates_answered:
                await self.session.reply(update, RequestOk(self._state()))
            self._changed.set()

    async def _until_withdrawn(self, asked: Asked) -> None:
        await self.session.wait_withdrawn(asked.request)
        self.asked.remove(asked)
        # "It MUST reset any open streams" (14 section 5.1).
        for stream in self._subgroups:
            stream.withdraw(asked.alias)
        self._changed.set()

    def _state(self) -> KeyValues[Any, Any]:
        return KeyValues({} if self.largest is None else {Parameter.LARGEST_OBJECT: self.largest})


@contextlib.asynccontextmanager
async def serving(
    relay: RelayUnderTest,
    publisher: ClientSession,
    *,
    properties: Mapping[int, Any] | None = None,
    name: str = NAMESPACE,
    alias: int = ALIAS,
) -> AsyncIterator[Source]:
    """A track that a session publishes: the namespace is announced, and every SUBSCRIBE accepted.

    Args:
        relay: Under test.
        publisher: The session.
        properties: Of the track.
        name: Of its namespace, where the session publishes several tracks.
        alias: What it calls the track in the first answer, and the ones that follow in others.
    """
    namespace = relay.namespace(name)
    await announce(publisher, namespace)
    source = Source(publisher, namespace, properties or {}, alias)
    # No task group: what the case finds has to leave it as it is, a skip too.
    task = asyncio.create_task(source.serve())
    try:
        yield source
    finally:
        task.cancel()
        # The end of the session is the case's to judge, or found when it is left.
        with contextlib.suppress(asyncio.CancelledError, SessionEnded):
            await task


@contextlib.asynccontextmanager
async def sourced(
    relay: RelayUnderTest, *, properties: Mapping[int, Any] | None = None
) -> AsyncIterator[Source]:
    """The same, with a session of its own."""
    async with (
        relay.connect("publisher") as publisher,
        serving(relay, publisher, properties=properties) as source,
    ):
        yield source
