"""Sets of numbers kept as intervals, against plain sets."""

from __future__ import annotations

import random

import pytest

from pytest_moqt.relay.intervals import Intervals

NUMBERS = range(40)


def _run(members: set[int], number: int) -> tuple[int, int] | None:
    if number not in members:
        return None
    first = last = number
    while first - 1 in members:
        first -= 1
    while last + 1 in members:
        last += 1
    return first, last


@pytest.mark.parametrize("seed", range(20))
def test_intervals_are_sets(seed: int) -> None:
    """Whatever is added in whatever order."""
    chance = random.Random(seed)
    intervals, members = Intervals(), set[int]()

    for _ in range(8):
        first = chance.choice(NUMBERS)
        last = first + chance.randrange(-1, 6)
        intervals.add(first, last)
        members |= set(range(first, last + 1))

        for number in NUMBERS:
            assert intervals.around(number) == _run(members, number)
            assert (number in intervals) == (number in members)
            beginnings = [each for each in members if each > number and each - 1 not in members]
            assert intervals.after(number) == min(beginnings, default=None)
            ends = [each for each in members if each < number and each + 1 not in members]
            assert intervals.before(number) == max(ends, default=None)


def test_the_lowest_are_forgotten_first() -> None:
    """A bound on their number."""
    intervals = Intervals()
    for number in (5, 1, 9):
        intervals.add(number, number)

    intervals.forget_lowest(2)

    assert [number for number in range(12) if number in intervals] == [5, 9]
