"""What the relay keeps of tracks: objects that passed through it, and which places are known to be empty.

Rules:

- A place holds an object, is known to hold none, or is unknown (`model-object`). It is known to hold none
  only where a text says so: behind an End of Group or End of Track, behind the last object of a stream that
  ended with a FIN and whose header says that it ends the group, in a gap that the properties of an object
  tell of, in a gap of a fetch. Ids left out in a subgroup mean nothing ("A consumer cannot infer information
  about the existence of Objects", `subgroup-header`), nor does a later group for those before it.
- What is known to exist or not to exist is not changed by what comes later ("MAY ignore subsequently
  received Objects", "SHOULD NOT cache", `caching-relays`).
- The oldest groups go first, with all that is known of them, when there is too much; what is older than
  MAX_CACHE_DURATION is unknown again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from typing import NamedTuple

from pytest_moqt.protocol.objects import StreamObject
from pytest_moqt.protocol.parameters import Property
from pytest_moqt.protocol.values import Location
from pytest_moqt.relay import limits
from pytest_moqt.relay.clock import Clock
from pytest_moqt.relay.course import LAST_OBJECT, before
from pytest_moqt.relay.intervals import Intervals

_NOT_THERE, _END_OF_GROUP, _END_OF_TRACK = 0x1, 0x3, 0x4
"Object statuses (`object-status`), in the drafts that have them."


class Kept(NamedTuple):
    """An object that was received."""

    subgroup_id: int | None
    "None: it came in a datagram."
    priority: int
    item: StreamObject
    arrived: float
    "By the relay's clock."


class Stretch(NamedTuple):
    """Places in a row without an object that is kept."""

    empty: bool
    "They are known to hold no objects; otherwise that is unknown."
    last: Location
    "Included."


class _Group:
    __slots__ = ("empty", "ids", "kept", "size")

    def __init__(self) -> None:
        self.kept: dict[int, Kept] = {}
        self.ids: list[int] = []
        "Of what is kept, rising."
        self.empty = Intervals()
        self.size = 0


class Cache:
    """The bytes that all tracks of a relay share, and the age of their groups."""

    def __init__(self) -> None:
        self.size = 0
        self.assembled = 0
        "Beside these, of objects that are not whole yet (`assembly`)."
        self._groups: OrderedDict[tuple[TrackCache, int], None] = OrderedDict()

    def begun(self, track: TrackCache, group_id: int) -> None:
        """A group is the newest."""
        self._groups[track, group_id] = None

    def trim(self, track: TrackCache, group_id: int) -> None:
        """Drop the oldest groups while there is too much, but not this one."""
        while self.size > limits.CACHE_BYTES and len(self._groups) > 1:
            oldest = next(iter(self._groups))
            if oldest == (track, group_id):
                # It is what is being received: as good as new.
                self._groups.move_to_end(oldest)
                continue
            oldest[0].drop(oldest[1])

    def dropped(self, track: TrackCache, group_id: int, size: int) -> None:
        """A group is kept no more."""
        self.size -= size
        self._groups.pop((track, group_id), None)


class TrackCache:
    """What is kept of one track."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self.size = 0
        self.duration: float | None = None
        "Seconds that an object may be served (`max-cache-duration`); None: as long as it is kept."
        self.end: Location | None = None
        "There are no objects from here on: the track has ended."
        self._cache = cache
        self._clock = clock
        self._groups: dict[int, _Group] = {}
        self._ids: list[int] = []
        self._empty_groups = Intervals()

    # ---- what comes to be known ----

    def add(self, group_id: int, subgroup_id: int | None, priority: int, item: StreamObject) -> None:
        """An object was received, or a status in its place; `trim` follows when who waits for it has it."""
        number = item.object_id
        if item.properties.pairs:
            self._take_gaps(group_id, item)
        if not item.status:
            self._keep(group_id, number, Kept(subgroup_id, priority, item, self._clock.time()))
        elif item.status == _END_OF_TRACK:
            place = Location(group_id, number)
            self.end = place if self.end is None else min(self.end, place)
        elif item.status == _END_OF_GROUP:
            self.end_group(group_id, number)
        elif item.status == _NOT_THERE:
            self.set_empty(Location(group_id, number), Location(group_id, number))

    def end_group(self, group_id: int, number: int) -> None:
        """There are no objects from a number on in a group."""
        self.set_empty(Location(group_id, number), Location(group_id, LAST_OBJECT))

    def group_has_ended(self, group_id: int) -> bool:
        """Whether the end of a group is known."""
        group = self._groups.get(group_id)
        known = None if group is None else group.empty.around(LAST_OBJECT)
        return known is not None or (self.end is not None and group_id <= self.end.group)

    def set_empty(self, first: Location, last: Location) -> None:
        """There are no objects from one place to another, but for those that are kept already."""
        if first > last:
            return
        if first.group == last.group:
            self._empty_in(first.group, first.object, last.object)
            return
        self._empty_in(first.group, first.object, LAST_OBJECT)
        self._empty_in(last.group, 0, last.object)
        self._set_empty_groups(first.group + 1, last.group - 1)

    # ---- what is known ----

    def at(self, place: Location, last: Location) -> Kept | Stretch:
        """What is at a place: an object, or how far places are alike from here to `last`, ids rising."""
        if self.end is not None:
            if place >= self.end:
                return Stretch(True, last)
            last = min(last, before(self.end) or last)
        group = self._groups.get(place.group)
        if group is None:
            return self._between_groups(place, last)
        kept = group.kept.get(place.object)
        if kept is not None and self._is_fresh(kept):
            return kept
        upto = last.object if last.group == place.group else LAST_OBJECT
        index = bisect_right(group.ids, place.object)
        if index < len(group.ids):
            upto = min(upto, group.ids[index] - 1)
        around = group.empty.around(place.object)
        if around is not None:
            return Stretch(True, Location(place.group, min(upto, around[1])))
        beginning = group.empty.after(place.object)
        if beginning is not None:
            upto = min(upto, beginning - 1)
        return Stretch(False, Location(place.group, upto))

    def below(self, group_id: int, lowest: int) -> int:
        """How far down groups are alike of which nothing is kept, as nothing is of `group_id`."""
        if group_id in self._groups:
            return group_id
        index = bisect_left(self._ids, group_id) - 1
        if index >= 0:
            lowest = max(lowest, self._ids[index] + 1)
        if self.end is not None and self.end.group <= group_id:
            # The group of the end has places of both kinds, unless it is one that nothing is known of.
            return max(lowest, min(group_id, self.end.group + 1))
        around = self._empty_groups.around(group_id)
        if around is not None:
            return max(lowest, around[0])
        beneath = self._empty_groups.before(group_id)
        return lowest if beneath is None else max(lowest, beneath + 1)

    # ---- what is forgotten ----

    def trim(self, group_id: int) -> None:
        """Drop the oldest groups while there is too much; of this one objects, when it is the last."""
        if self.size <= limits.CACHE_TRACK_BYTES and self._cache.size <= limits.CACHE_BYTES:
            return
        group = self._groups.get(group_id)
        if group is None:
            return
        while self.size > limits.CACHE_TRACK_BYTES and len(self._groups) > 1:
            self.drop(next(each for each in self._groups if each != group_id))
        while self.size > limits.CACHE_TRACK_BYTES and len(group.ids) > 1:
            # All that is kept is one group: its beginning goes.
            self._grow(group, -_size(group.kept.pop(group.ids.pop(0))))
        self._cache.trim(self, group_id)

    def drop(self, group_id: int) -> None:
        """Forget a group, with all that is known of it."""
        group = self._groups.pop(group_id)
        del self._ids[bisect_left(self._ids, group_id)]
        self.size -= group.size
        self._cache.dropped(self, group_id, group.size)

    def clear(self) -> None:
        """Forget everything."""
        for group_id in list(self._groups):
            self.drop(group_id)
        self._empty_groups = Intervals()

    # ---- private ----

    def _keep(self, group_id: int, number: int, kept: Kept) -> None:
        if self.end is not None and Location(group_id, number) >= self.end:
            return
        group = self._group(group_id)
        if group is None or number in group.empty:
            return
        known = group.kept.get(number)
        if known is not None and self._is_fresh(known):
            return
        if known is None:
            insort(group.ids, number)
        else:
            self._grow(group, -_size(known))
        group.kept[number] = kept
        self._grow(group, _size(kept))

    def _group(self, group_id: int) -> _Group | None:
        """A group, known or new; None: it is known to be empty."""
        group = self._groups.get(group_id)
        if group is None and group_id not in self._empty_groups:
            group = self._groups[group_id] = _Group()
            insort(self._ids, group_id)
            self._cache.begun(self, group_id)
            self._grow(group, limits.CACHE_OVERHEAD)
        return group

    def _grow(self, group: _Group, size: int) -> None:
        group.size += size
        self.size += size
        self._cache.size += size

    def _empty_in(self, group_id: int, first: int, last: int) -> None:
        group = self._group(group_id)
        if group is not None:
            group.empty.add(first, last)

    def _set_empty_groups(self, first: int, last: int) -> None:
        if first > last:
            return
        for group_id in self._ids[bisect_left(self._ids, first) : bisect_right(self._ids, last)]:
            self._groups[group_id].empty.add(0, LAST_OBJECT)
        self._empty_groups.add(first, last)
        self._empty_groups.forget_lowest(limits.REMEMBERED)

    def _take_gaps(self, group_id: int, item: StreamObject) -> None:
        """The properties Prior Group ID Gap and Prior Object ID Gap."""
        groups = item.properties.get(Property.PRIOR_GROUP_ID_GAP, 0)
        if isinstance(groups, int) and 0 < groups <= group_id:
            self._set_empty_groups(group_id - groups, group_id - 1)
        numbers = item.properties.get(Property.PRIOR_OBJECT_ID_GAP, 0)
        if isinstance(numbers, int) and 0 < numbers <= item.object_id:
            self._empty_in(group_id, item.object_id - numbers, item.object_id - 1)

    def _between_groups(self, place: Location, last: Location) -> Stretch:
        upto = last.group
        index = bisect_right(self._ids, place.group)
        if index < len(self._ids):
            upto = min(upto, self._ids[index] - 1)
        around = self._empty_groups.around(place.group)
        if around is not None:
            upto = min(upto, around[1])
        else:
            beginning = self._empty_groups.after(place.group)
            upto = upto if beginning is None else min(upto, beginning - 1)
        return Stretch(around is not None, last if upto == last.group else Location(upto, LAST_OBJECT))

    def _is_fresh(self, kept: Kept) -> bool:
        return self.duration is None or self._clock.time() - kept.arrived <= self.duration


def _size(kept: Kept) -> int:
    item = kept.item
    size = limits.CACHE_OVERHEAD + len(item.payload)
    if item.properties.pairs:
        size += sum(len(value) for _, value in item.properties.pairs if isinstance(value, bytes))
    return size
