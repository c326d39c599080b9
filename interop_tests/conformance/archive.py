"""The past of a track at its publisher: what it says to a relay that asks for it.

A relay may answer a FETCH from what it kept, or ask its publisher; so whoever publishes what others fetch has
to be ready to be asked (`fetch-handling`), and for a second SUBSCRIBE or a TRACK_STATUS too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    Fetch,
    FetchHeader,
    FetchObject,
    FetchOk,
    FetchStream,
    Filter,
    FilterType,
    GroupOrder,
    JoiningFetch,
    KeyValues,
    Location,
    Message,
    Parameter,
    Publish,
    RequestError,
    RequestErrorCode,
    RequestOk,
    RequestUpdate,
    StandaloneFetch,
    Subscribe,
    SubscribeOk,
    TrackStatus,
    drafts,
)

from .arrivals import Place
from .tracks import ALIAS, Parameters, payload

LAST = (1 << 64) - 1
"The greatest object id of any draft."
REFUSING_EMPTY = drafts(14, 14)
"Drafts that refuse a FETCH of a range without objects; others answer it with an empty stream."
END_INCLUDED = drafts(20)
"Drafts whose FETCH_OK names the last object, not the place behind it."


class Archive:
    """Objects that a publisher has, and what it says about them.

    Args:
        publisher: The session in which it is asked.
    """

    def __init__(self, publisher: ClientSession) -> None:
        self.publisher = publisher
        self.objects: dict[Place, FetchObject] = {}
        self.ended = False
        "Whether its last object is the last of the track."
        self.asked: list[Fetch | Subscribe | RequestUpdate] = []
        "What the relay fetched, and had filled."
        self.told: list[Subscribe | TrackStatus | RequestUpdate] = []
        "What the relay was told the largest object in answer to."
        self.respond: Callable[[Fetch], Awaitable[object]] = self.answer
        "What becomes of a FETCH."
        self.aliases: list[int] = []
        "Of what the relay subscribed to beside the first: it need not make one subscription of several."
        self.fetched = asyncio.Event()
        "The relay has asked."
        self._following: list[asyncio.Task[None]] = []
        self._unused = itertools.count(ALIAS + 1)

    @property
    def largest(self) -> Location | None:
        """Its largest object."""
        return Location(*max(self.objects)) if self.objects else None

    def keep(self, group: int, numbers: Iterable[int] = range(4), *, size: int = 32) -> None:
        """Have objects of a group, as `Publication.group` sends them."""
        for number in numbers:
            self.put(FetchObject(group, 0, number, 128, payload(group, number, size)))

    def put(self, item: FetchObject) -> None:
        """Have an object."""
        self.objects[item.group_id, item.object_id] = item

    async def answer(self, fetch: Fetch) -> None:
        """Send all that was asked for."""
        stream = await self.accept(fetch)
        if stream is not None:
            for item in self.wanted(fetch):
                stream.write(item)
            stream.finish()

    async def accept(self, fetch: Fetch) -> FetchStream | None:
        """Say FETCH_OK and open the stream; None: the range is none that can be had, which is said."""
        first, last = self._range(fetch)
        largest = self.largest
        if largest is None or first > largest or last < first:
            await self._refuse(fetch, RequestErrorCode.INVALID_RANGE)
            return None
        if not self.wanted(fetch) and self.publisher.draft.number in REFUSING_EMPTY:
            await self._refuse(fetch, RequestErrorCode.NO_OBJECTS)
            return None
        final = self.ended and last >= largest
        await self.publisher.reply(fetch, FetchOk(final, self._end(min(last, largest), last)))
        return self._open(fetch, fetch.parameters.get(Parameter.GROUP_ORDER))

    def wanted(self, fetch: Fetch) -> list[FetchObject]:
        """The objects that are asked for, in the order that is."""
        first, last = self._range(fetch)
        return self._between(first, last, fetch.parameters.get(Parameter.GROUP_ORDER))

    @contextlib.asynccontextmanager
    async def serving(self, *requests: Subscribe | Publish) -> AsyncIterator[None]:
        """Answer the relay as long as this lasts.

        Args:
            requests: Of subscriptions there are already: what the relay changes about them is answered too.

        Raises:
            CaseFailure: What the relay asked is no request, or it ended the publisher's session.
        """
        tasks = asyncio.gather(
            self._each(Fetch, self._take_fetch),
            self._each(Subscribe, self._take_subscribe),
            self._each(TrackStatus, self._take_status),
        )
        for request in requests:
            self._follow(request)
        try:
            yield
        finally:
            # Where the relay failed the publisher, that is why the case failed, whatever it then missed.
            tasks.cancel()
            for following in self._following:
                following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tasks

    # private

    async def _each(self, kind: type[Any], take: Callable[[Any], Awaitable[object]]) -> None:
        while True:
            await take(await self.publisher.receive(kind))

    async def _take_fetch(self, fetch: Fetch) -> None:
        self.asked.append(fetch)
        self.fetched.set()
        await self.respond(fetch)

    async def _take_subscribe(self, subscribe: Subscribe) -> None:
        self.told.append(subscribe)
        self.aliases.append(next(self._unused))
        await self.publisher.reply(subscribe, SubscribeOk(self.aliases[-1], self._state()))
        self._fill(subscribe, subscribe.parameters)
        self._follow(subscribe)

    def _follow(self, request: Subscribe | Publish) -> None:
        self._following.append(asyncio.create_task(self._take_updates(request)))

    async def _take_updates(self, request: Subscribe | Publish) -> None:
        said = {**request.parameters}
        # Until the relay withdraws its request; the end of the session is told where requests are awaited.
        with contextlib.suppress(CaseFailure):
            while True:
                update = await self.publisher.receive_later(request, RequestUpdate)
                said.pop(Parameter.FILL_PARAMETERS, None)
                said |= update.parameters
                if self.publisher.draft.updates_answered:
                    self.told.append(update)
                    await self.publisher.reply(update, RequestOk(self._state()))
                self._fill(update, said)

    async def _take_status(self, status: TrackStatus) -> None:
        self.told.append(status)
        await self.publisher.reply(status, RequestOk(self._state()))
        await self.publisher.finish(status)

    def _fill(self, request: Subscribe | RequestUpdate, said: Parameters) -> None:
        """Bring what a subscription or its update asks for with it, if it does (`fill-semantics`)."""
        fill = said.get(Parameter.FILL_PARAMETERS)
        if fill is None or not self.objects:
            return
        self.asked.append(request)
        asked = {**said, **fill}
        first, last = self._filtered(asked.get(Parameter.SUBSCRIPTION_FILTER))
        stream = self._open(request, asked.get(Parameter.GROUP_ORDER))
        for item in self._between(first, last, asked.get(Parameter.GROUP_ORDER)):
            stream.write(item)
        stream.finish()

    def _state(self) -> KeyValues[Any, Any]:
        return KeyValues({} if self.largest is None else {Parameter.LARGEST_OBJECT: self.largest})

    def _open(self, request: Fetch | Subscribe | RequestUpdate, order: GroupOrder | None) -> FetchStream:
        assert request.request_id is not None
        header = FetchHeader(request.request_id)
        return self.publisher.open_fetch(header, descending=order == GroupOrder.DESCENDING)

    def _between(self, first: Location, last: Location, order: GroupOrder | None) -> list[FetchObject]:
        sign = -1 if order == GroupOrder.DESCENDING else 1
        places = [place for place in self.objects if first <= Location(*place) <= last]
        return [self.objects[place] for place in sorted(places, key=lambda at: (sign * at[0], at[1]))]

    def _range(self, fetch: Fetch) -> tuple[Location, Location]:
        """From where to where a FETCH goes, both included."""
        wanted = fetch.range
        if isinstance(wanted, StandaloneFetch):
            end = wanted.end
            return wanted.start, Location(end.group, end.object - 1 if end.object else LAST)
        largest = self.largest or Location(0, 0)
        if isinstance(wanted, JoiningFetch):
            back = largest.group - wanted.joining_start
            return Location(max(0, back) if wanted.relative else wanted.joining_start, 0), largest
        return self._filtered(wanted.filter)

    def _filtered(self, wanted: Filter | None) -> tuple[Location, Location]:
        largest = self.largest or Location(0, 0)
        if wanted is None or wanted.type is FilterType.UNFILTERED:
            return Location(0, 0), largest
        if wanted.groups_back is not None:
            return Location(max(0, largest.group + 1 - wanted.groups_back), 0), largest
        first = wanted.start or Location(largest.group, largest.object + 1)
        if wanted.end_group is None:
            return first, largest
        return first, Location(wanted.end_group, LAST if wanted.end_object is None else wanted.end_object)

    def _end(self, last: Location, asked: Location) -> Location:
        """FETCH_OK's End Location: as asked, but not beyond the largest object."""
        if last != asked or last.object != LAST:
            return Location(last.group, last.object + 1)
        whole = Location(last.group, LAST + 1)
        return whole if self.publisher.draft.number in END_INCLUDED else Location(last.group, 0)

    async def _refuse(self, request: Message, code: RequestErrorCode) -> None:
        await self.publisher.reply(request, RequestError(code, "not to be had"))
