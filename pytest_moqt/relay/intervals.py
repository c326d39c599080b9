"""Sets of whole numbers that are mostly in a row: as few pairs of a first and a last one as can be."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Intervals:
    """Numbers from 0 on; ends are included."""

    def __init__(self) -> None:
        # Of the same length, both rising; no interval touches the next.
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, first: int, last: int) -> None:
        """Put all from `first` to `last` in; nothing, if `last` is smaller."""
        if last < first:
            return
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def around(self, number: int) -> tuple[int, int] | None:
        """The interval that a number is in."""
        index = bisect_right(self._firsts, number) - 1
        if index < 0 or self._lasts[index] < number:
            return None
        return self._firsts[index], self._lasts[index]

    def __contains__(self, number: int) -> bool:
        return bool(self._firsts) and self.around(number) is not None

    def after(self, number: int) -> int | None:
        """The first number of the next interval that begins behind a number."""
        index = bisect_right(self._firsts, number)
        return self._firsts[index] if index < len(self._firsts) else None

    def before(self, number: int) -> int | None:
        """The last number of the interval that ends before a number."""
        index = bisect_left(self._lasts, number) - 1
        return self._lasts[index] if index >= 0 else None

    def forget_lowest(self, keep: int) -> None:
        """Take the lowest intervals out, until there are `keep` at most."""
        surplus = len(self._firsts) - keep
        if surplus > 0:
            del self._firsts[:surplus], self._lasts[:surplus]
