"""The places of a range in the order in which a fetch delivers them.

Groups rise or fall, objects rise within their group (`fetch-handling`).
"""

from __future__ import annotations

from pytest_moqt.protocol.values import Location

LAST_OBJECT = (1 << 64) - 1
"No object of a group comes after this one."


def after(place: Location) -> Location:
    """The next place in rising order."""
    if place.object >= LAST_OBJECT:
        return Location(place.group + 1, 0)
    return Location(place.group, place.object + 1)


def before(place: Location) -> Location | None:
    """The place before in rising order; None: there is none."""
    if place.object:
        return Location(place.group, place.object - 1)
    return Location(place.group - 1, LAST_OBJECT) if place.group else None


def last_of(end: Location) -> Location:
    """The last place of a range whose end is written exclusive, object 0 for the whole group."""
    return Location(end.group, end.object - 1 if end.object else LAST_OBJECT)


def end_of(last: Location) -> Location:
    """The inverse of `last_of`."""
    return Location(last.group, 0 if last.object >= LAST_OBJECT else last.object + 1)


class Course:
    """A way through a range, both ends included, from place to place.

    Args:
        start: The smallest place.
        last: The largest place; smaller than `start`: there is no place.
        descending: Groups fall.
    """

    def __init__(self, start: Location, last: Location, *, descending: bool = False) -> None:
        self.start = start
        self.last = last
        self.descending = descending
        self.place: Location | None = None
        "Where the way has come to; None: it is over."
        if start <= last:
            self.place = self._first_of(last.group) if descending else start

    @property
    def room(self) -> Location:
        """How far one can go from here without a step down to another group."""
        assert self.place is not None
        return self._end_of(self.place.group) if self.descending else self.last

    @property
    def final(self) -> Location:
        """The last place of the way."""
        return self._end_of(self.start.group) if self.descending else self.last

    def advance(self, upto: Location) -> None:
        """Go on to the place behind `upto`, which is on the way."""
        if not self.descending:
            self.place = after(upto) if upto < self.last else None
        elif upto < self._end_of(upto.group):
            self.place = Location(upto.group, upto.object + 1)
        elif upto.group > self.start.group:
            self.place = self._first_of(upto.group - 1)
        else:
            self.place = None

    def is_ahead(self, place: Location) -> bool:
        """Whether a place is still to come, the next one included."""
        if self.place is None or not self.start <= place <= self.last:
            return False
        return place == self.place or self.precedes(self.place, place)

    def precedes(self, one: Location, other: Location) -> bool:
        """Whether one place comes before another on this way."""
        if self.descending and one.group != other.group:
            return one.group > other.group
        return one < other

    def _first_of(self, group: int) -> Location:
        return self.start if group == self.start.group else Location(group, 0)

    def _end_of(self, group: int) -> Location:
        return self.last if group == self.last.group else Location(group, LAST_OBJECT)
