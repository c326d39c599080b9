"""The way of a fetch through its range, against a list of all places."""

from __future__ import annotations

import pytest

from pytest_moqt.protocol.values import Location
from pytest_moqt.relay.course import LAST_OBJECT, Course, after, before, end_of, last_of

RANGES = [
    (Location(1, 2), Location(1, 4)),
    (Location(1, 2), Location(3, 1)),
    (Location(0, 0), Location(2, LAST_OBJECT)),
    (Location(2, 3), Location(2, 3)),
]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("start", "last"), RANGES)
def test_a_course_goes_through_its_range_once(start: Location, last: Location, descending: bool) -> None:
    """Runs of a group at a time: from its first place there to its last."""
    course = Course(start, last, descending=descending)
    groups: list[tuple[Location, Location]] = []

    while (place := course.place) is not None:
        room = course.room
        end = room if room.group == place.group else Location(place.group, LAST_OBJECT)
        assert course.is_ahead(end)
        groups.append((place, end))
        course.advance(end)
        assert not course.is_ahead(end)

    wanted = [
        (
            start if group == start.group else Location(group, 0),
            last if group == last.group else Location(group, LAST_OBJECT),
        )
        for group in range(start.group, last.group + 1)
    ]
    assert groups == (wanted[::-1] if descending else wanted)
    assert groups[-1][1] == course.final


def test_a_course_without_places_is_over() -> None:
    """Its end comes before its start."""
    assert Course(Location(2, 0), Location(1, 9)).place is None


def test_ends_are_exclusive_and_object_0_is_the_whole_group() -> None:
    """As FETCH writes them up to 19."""
    assert last_of(Location(3, 0)) == Location(3, LAST_OBJECT)
    assert last_of(Location(3, 5)) == Location(3, 4)
    assert end_of(Location(3, LAST_OBJECT)) == Location(3, 0)
    assert end_of(Location(3, 4)) == Location(3, 5)


def test_places_follow_each_other() -> None:
    """From group to group."""
    assert after(Location(1, LAST_OBJECT)) == Location(2, 0)
    assert before(Location(2, 0)) == Location(1, LAST_OBJECT)
    assert before(after(Location(1, 1))) == Location(1, 1)
    assert before(Location(0, 0)) is None
