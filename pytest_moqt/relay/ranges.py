"""The part of a track that a filter selects, once it is known how far the track has come."""

from __future__ import annotations

from collections.abc import Callable

from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.values import Filter, FilterType, Location

_LAST = (1 << 64) - 1
"No object of a group comes after this one."


class Range(Record):
    """Places of a track, both ends included."""

    start: Location = Location(0, 0)
    last: Location | None = None
    "None: there is no end."

    def __contains__(self, location: Location) -> bool:
        return location >= self.start and (self.last is None or location <= self.last)


def selected(wanted: Filter | None, largest: Location | None) -> Range:
    """What a filter selects of a track.

    Args:
        wanted: None: everything.
        largest: The track's largest object, from which some filters count; None: there is none yet.
    """
    if wanted is None:
        return Range()
    last = None
    if wanted.end_group is not None:
        last = Location(wanted.end_group, _LAST if wanted.end_object is None else wanted.end_object)
    if wanted.type is FilterType.LARGEST_OBJECT:
        start = following(largest)
    elif wanted.type is FilterType.NEXT_GROUP_START:
        start = Location(0, 0) if largest is None else Location(largest.group + 1, 0)
    elif wanted.type is FilterType.RELATIVE_START:
        back = wanted.groups_back or 0
        start = Location(0 if largest is None else max(0, largest.group + 1 - back), 0)
    else:
        start = wanted.start or Location(0, 0)
    return Range(start, last)


def following(largest: Location | None) -> Location:
    """The first place behind the largest object."""
    return Location(0, 0) if largest is None else Location(largest.group, largest.object + 1)


def is_past(
    wanted: Filter | None,
    largest: Location | None,
    *,
    ended: Callable[[int], bool] = lambda group: False,  # noqa: ARG005 - nothing is known
) -> bool:
    """Whether all groups that a filter selects were published.

    Args:
        wanted: The filter.
        largest: The track's largest object; None: there is none yet.
        ended: Whether a group is known to have no further objects.
    """
    if wanted is None or largest is None or wanted.end_group is None:
        return False
    return wanted.end_group < largest.group or (wanted.end_group == largest.group and ended(largest.group))


def is_backwards(wanted: Filter | None) -> bool:
    """Whether a filter ends in a group before the one it starts in, as drafts up to 16 can write it."""
    if wanted is None or wanted.end_group is None or wanted.start is None:
        return False
    return wanted.end_group < wanted.start.group
