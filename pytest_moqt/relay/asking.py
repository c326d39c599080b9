"""A FETCH of the relay's own at a publisher, for what of a track it does not know itself.

Rules:

- What a fetch brings, objects and gaps, goes into the track's cache; who waits for it is told after each
  piece. Gaps count once FETCH_OK has said how far the fetch reaches, so what comes before it is held.
- A publisher that breaks the order or leaves the range is not believed: its fetch is cancelled.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.objects import FetchObject, FetchRangeEnd, StreamObject
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import RequestErrorCode, StreamError
from pytest_moqt.protocol.values import FilterType, GroupOrder, KeyValues, Location
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.cache import TrackCache
from pytest_moqt.relay.clock import Clock
from pytest_moqt.relay.course import LAST_OBJECT, Course, before, last_of
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

_END_OF_EMPTY_RANGE = 0x8C
"Flags of a FetchRangeEnd that says that there are no objects; the others say that nothing is known."

FullTrackName = tuple[tuple[bytes, ...], bytes]


class Source(Protocol):
    """A track, for those who want what of it is past."""

    name: FullTrackName
    cache: TrackCache
    behaviour: Behaviour
    clock: Clock

    def fetch_publishers(self) -> list[Session]:
        """Who can be asked, the most promising first."""


class FetchWaiter(Protocol):
    """Who waits for a fetch of the relay's own."""

    def asked_ok(self, ok: m.FetchOk) -> None:
        """The publisher has accepted."""

    def asked_more(self) -> None:
        """The cache knows more than before."""

    def asked_done(self, error: m.RequestError | None) -> None:
        """Nothing more will come; an error: the publisher refused, and nobody else can be asked."""


class Asked:
    """A FETCH of the relay's own; the owner of its request and the sink of its stream."""

    def __init__(
        self,
        source: Source,
        waiter: FetchWaiter,
        wanted: m.StandaloneFetch | m.FilteredFetch,
        *,
        descending: bool,
    ) -> None:
        self.descending = descending
        self._source = source
        self.waiter: FetchWaiter | None = waiter
        "None: nobody any more."
        self._wanted = wanted
        self._publishers = source.fetch_publishers()
        self._exchange: Exchange | None = None
        self._course: Course | None = None
        self._held: list[FetchObject | FetchRangeEnd] = []
        self._held_bytes = 0
        self._stream_ended = False
        self._error = m.RequestError(RequestErrorCode.INTERNAL_ERROR, "no publisher can be asked")

    def begin(self) -> None:
        """Ask the first publisher that can be asked; if there is none, the waiter is told at once."""
        order = GroupOrder.DESCENDING if self.descending else GroupOrder.ASCENDING
        fetch = m.Fetch(self._wanted, KeyValues(((Parameter.GROUP_ORDER, order),)))
        asked = self._source.behaviour.ask_fetch(fetch)
        while self._publishers and asked is not None:
            publisher = self._publishers.pop(0)
            self._exchange = publisher.request(asked, self) or publisher.request(
                self._spelt_out(asked, publisher), self
            )
            if self._exchange is not None:
                return
        self._tell_done(self._error)

    @staticmethod
    def _spelt_out(fetch: m.Fetch, publisher: Session) -> m.Fetch:
        """A fetch to the end of the track as drafts up to 19 say it: to an end that no object is behind."""
        wanted = fetch.range
        if not isinstance(wanted, m.FilteredFetch) or depends_on_largest(wanted):
            return fetch
        start = first_of(wanted, Location(0, 0))
        end = Location(publisher.draft.integers.maximum, 0)
        return dataclasses.replace(
            fetch, range=m.StandaloneFetch(wanted.track_namespace, wanted.track_name, start, end)
        )

    def cancel(self) -> None:
        """Nobody waits any more."""
        self.waiter = None
        if self._exchange is not None:
            self._exchange.cancel()

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Take FETCH_OK or an error."""
        if isinstance(reply, m.FetchOk):
            self._accepted(reply)
            return
        if not isinstance(reply, m.RequestError):
            return
        if reply.code is RequestErrorCode.NO_OBJECTS and isinstance(self._wanted, m.StandaloneFetch):
            # Draft 14's way to say that the range is empty (9.16.3).
            self._source.cache.set_empty(self._wanted.start, last_of(self._wanted.end))
            self._tell_done(reply)
            return
        self._error = reply
        self.begin()

    def received(self, message: m.Message) -> None:
        """Nothing comes that concerns a fetch."""

    def cancelled(self) -> None:
        """The publisher is gone."""
        if self._course is None:
            self.begin()
        else:
            self._tell_done(None)

    # FetchSink

    def fetched(self, item: FetchObject | FetchRangeEnd) -> None:
        """Take the next object or marker of the stream."""
        if self._course is not None:
            self._take(item)
        elif self.waiter is not None:
            self._held.append(item)
            self._held_bytes += limits.CACHE_OVERHEAD
            self._held_bytes += len(item.payload) if isinstance(item, FetchObject) else 0
            if self._held_bytes > limits.EARLY_FETCH_BYTES:
                self._break_off()

    def finish(self) -> None:
        """The stream ended with a FIN."""
        self._stream_ended = True
        self._conclude()

    def abandon(self, error: StreamError) -> None:  # noqa: ARG002 - whatever the reason
        """The stream was reset, or its session ended."""
        self._break_off()

    # private

    def _accepted(self, ok: m.FetchOk) -> None:
        start, last = self._reach(ok)
        self._course = Course(start, last, descending=self.descending)
        if ok.end_of_track:
            cache, end = self._source.cache, ok.end if ok.end.object else Location(ok.end.group + 1, 0)
            cache.end = end if cache.end is None else min(cache.end, end)
        if self.waiter is not None:
            self.waiter.asked_ok(ok)
        held, self._held = self._held, []
        for item in held:
            self._take(item)
        self._conclude()

    def _reach(self, ok: m.FetchOk) -> tuple[Location, Location]:
        """From where to where the fetch goes."""
        last = last_of(ok.end)
        if isinstance(self._wanted, m.StandaloneFetch):
            return self._wanted.start, min(last, last_of(self._wanted.end))
        return first_of(self._wanted, last), last

    def _take(self, item: FetchObject | FetchRangeEnd) -> None:
        course, cache = self._course, self._source.cache
        if self.waiter is None or course is None:
            return
        place = Location(item.group_id, item.object_id)
        if isinstance(item, FetchRangeEnd):
            place = min(max(place, course.start), course.last)
        if not course.is_ahead(place):
            self._break_off()
            return
        if isinstance(item, FetchRangeEnd):
            if item.flags == _END_OF_EMPTY_RANGE:
                self._skip(course, place)
                cache.set_empty(place, place)
        else:
            self._skip(course, place)
            properties = KeyValues(item.properties.pairs)
            kept = StreamObject(item.object_id, item.payload, item.status, properties)
            cache.add(item.group_id, item.subgroup_id, item.publisher_priority, kept)
        course.advance(place)
        self.waiter.asked_more()
        # Only now, when whoever waits for it has it, may it go again.
        cache.trim(item.group_id)

    def _skip(self, course: Course, place: Location) -> None:
        """The places from here to one that comes next in the stream hold no objects."""
        cache = self._source.cache
        assert course.place is not None
        while course.place.group != place.group:
            room = course.room
            if not course.descending:
                break
            # Groups between two that are in the stream hold nothing at all: told at once, however many.
            cache.set_empty(course.place, room)
            if place.group + 1 < course.place.group:
                cache.set_empty(Location(place.group + 1, 0), Location(course.place.group - 1, LAST_OBJECT))
            course.advance(Location(place.group + 1, LAST_OBJECT))
            assert course.place is not None
        ahead = before(place)
        if ahead is not None and course.place < place:
            cache.set_empty(course.place, ahead)

    def _conclude(self) -> None:
        """After the FIN, and FETCH_OK: the rest holds no objects."""
        course = self._course
        if course is None or not self._stream_ended or self.waiter is None:
            return
        cache = self._source.cache
        if course.place is not None and not course.descending:
            cache.set_empty(course.place, course.last)
        elif course.place is not None:
            cache.set_empty(course.place, course.room)
            if course.place.group > course.start.group:
                cache.set_empty(course.start, Location(course.place.group - 1, LAST_OBJECT))
        if self._exchange is not None:
            self._exchange.finish()
        self._tell_done(None)

    def _break_off(self) -> None:
        """What came is kept; the rest stays unknown."""
        if self.waiter is None:
            return
        if self._exchange is not None:
            self._exchange.cancel()
        answered = self._course is not None
        self._tell_done(None if answered else self._error)

    def _tell_done(self, error: m.RequestError | None) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            waiter.asked_done(error)


def first_of(wanted: m.FilteredFetch, largest: Location) -> Location:
    """Where a fetch begins whose start depends on the largest object."""
    back = None if wanted.filter is None else wanted.filter.groups_back
    if back is None:
        start = None if wanted.filter is None else wanted.filter.start
        return start or Location(0, 0)
    return Location(max(0, largest.group + 1 - back), 0)


def depends_on_largest(wanted: m.StandaloneFetch | m.FilteredFetch) -> bool:
    """Whether a fetch begins where only who knows the largest object can tell."""
    if isinstance(wanted, m.StandaloneFetch) or wanted.filter is None:
        return False
    return wanted.filter.type in (
        FilterType.RELATIVE_START,
        FilterType.NEXT_GROUP_START,
        FilterType.LARGEST_OBJECT,
    )
