"""What a subscriber got: objects by alias, on which streams, in what order, and how the streams ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    DataStreamEnded,
    DataStreamReset,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupHeader,
)

from .waits import DELIVERY_SECONDS

Place = tuple[int, int]
"Group and object."


@dataclass
class Subgroup:
    """A stream of a subscription, as far as it came."""

    stream_id: int
    header: SubgroupHeader
    objects: list[StreamObject] = field(default_factory=list)
    ended: bool = False
    "With a FIN."
    was_reset: bool = False
    reset_code: int | None = None

    @property
    def group(self) -> int:
        """Its group."""
        return self.header.group_id

    @property
    def id(self) -> int | None:
        """Its subgroup's id; None where it is that of an object that did not come."""
        if self.header.subgroup_id is not None:
            return self.header.subgroup_id
        return self.objects[0].object_id if self.objects else None

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended or self.was_reset


@dataclass
class Fetched:
    """The stream that answers a FETCH, as far as it came."""

    stream_id: int
    header: FetchHeader
    items: list[FetchObject | FetchRangeEnd] = field(default_factory=list)
    ended: bool = False
    was_reset: bool = False
    reset_code: int | None = None

    @property
    def objects(self) -> list[FetchObject]:
        """Without the ends of ranges, and without what drafts up to 15 say of places that hold none."""
        return [item for item in self.items if isinstance(item, FetchObject) and not item.status]

    @property
    def places(self) -> list[Place]:
        """Group and object of each, in the order in which they came."""
        return [(item.group_id, item.object_id) for item in self.objects]

    @property
    def payloads(self) -> dict[Place, bytes]:
        """What each holds."""
        return {(item.group_id, item.object_id): item.payload for item in self.objects}

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended or self.was_reset


class Arrivals:
    """All data that came in one session; a case takes it through this or by hand, not both."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._subgroups: dict[int, Subgroup] = {}
        self._fetched: dict[int, Fetched] = {}
        self._datagrams: list[ObjectDatagram] = []
        self.nameless = 0
        "Streams that were reset before their header came."

    @property
    def is_empty(self) -> bool:
        """Whether nothing came."""
        return not (self._subgroups or self._fetched or self._datagrams)

    @property
    def aliases(self) -> set[int]:
        """Of all tracks of which anything came."""
        streams = {stream.header.track_alias for stream in self._subgroups.values()}
        return streams | {item.track_alias for item in self._datagrams}

    def subgroups(self, alias: int) -> list[Subgroup]:
        """The streams of a track, in the order in which they came."""
        return [stream for stream in self._subgroups.values() if stream.header.track_alias == alias]

    def datagrams(self, alias: int) -> list[ObjectDatagram]:
        """The objects of a track that came in datagrams."""
        return [item for item in self._datagrams if item.track_alias == alias]

    def fetched(self, request_id: int | None) -> Fetched | None:
        """The stream that answers a FETCH."""
        return next((each for each in self._fetched.values() if each.header.request_id == request_id), None)

    @property
    def fetches(self) -> list[Fetched]:
        """The streams of all fetches, in the order in which they came."""
        return list(self._fetched.values())

    def places(self, alias: int) -> list[Place]:
        """Group and object of every object of a track, sorted; one that came twice is there twice."""
        return sorted(place for place, _ in self._objects(alias))

    def payloads(self, alias: int) -> dict[Place, bytes]:
        """The payload of every object of a track."""
        return dict(self._objects(alias))

    def _objects(self, alias: int) -> list[tuple[Place, bytes]]:
        # None whose status says that there is none: "a relay may change an End-of-Group="Y" Subgroup Header
        # to an equivalent object with an End of Group status" (`caching-relays`).
        streamed = [
            ((stream.group, item.object_id), item.payload)
            for stream in self.subgroups(alias)
            for item in stream.objects
            if not item.status
        ]
        return streamed + [
            ((item.group_id, item.object_id), item.payload)
            for item in self.datagrams(alias)
            if not item.status
        ]

    async def until(
        self, done: Callable[[], object], what: str, *, seconds: float = DELIVERY_SECONDS
    ) -> None:
        """Take what comes until enough is there.

        Args:
            done: Whether it is.
            what: What is awaited, for the report: `four objects of group 2`.
            seconds: How long.

        Raises:
            CaseFailure: It did not come; with what came instead.
        """
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    self._take(await self._session.receive_data())
        except TimeoutError:
            raise CaseFailure(
                f"no {what} within {seconds * 1000:.0f} ms; {self}",
                cause="timeout",
                expected=what,
                received="timeout",
            ) from None

    async def take_what_came(self) -> None:
        """Take what is there, and wait for nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                while True:
                    self._take(await self._session.receive_data())

    def _take(self, event: object) -> None:
        if isinstance(event, ObjectDatagram):
            self._datagrams.append(event)
            return
        header, number = getattr(event, "header"), getattr(event, "stream_id")  # noqa: B009  # every other has them
        stream: Subgroup | Fetched
        if isinstance(header, SubgroupHeader):
            stream = self._subgroups.setdefault(number, Subgroup(number, header))
        elif isinstance(header, FetchHeader):
            stream = self._fetched.setdefault(number, Fetched(number, header))
        else:
            self.nameless += isinstance(event, DataStreamReset) and header is None
            return
        if isinstance(event, DataStreamEnded):
            stream.ended = True
        elif isinstance(event, DataStreamReset):
            stream.was_reset, stream.reset_code = True, event.code
        else:
            item = getattr(event, "object")  # noqa: B009  # what is left is an object
            if isinstance(stream, Subgroup):
                stream.objects.append(item)
            else:
                stream.items.append(item)

    def __str__(self) -> str:
        """What came, in short."""
        said = []
        for stream in self._subgroups.values():
            numbers = ", ".join(str(item.object_id) for item in stream.objects) or "none"
            end = "ended" if stream.ended else "reset" if stream.was_reset else "open"
            said.append(f"alias {stream.header.track_alias} group {stream.group} objects {numbers} ({end})")
        said += [
            f"datagram alias {item.track_alias} {item.group_id}/{item.object_id}" for item in self._datagrams
        ]
        for fetch in self._fetched.values():
            end = "ended" if fetch.ended else "reset" if fetch.was_reset else "open"
            said.append(f"fetch {fetch.header.request_id}: {len(fetch.objects)} objects ({end})")
        shown = "; ".join(said[:8]) + ("; …" if len(said) > 8 else "")
        return f"there came {shown}" if said else "nothing came"
