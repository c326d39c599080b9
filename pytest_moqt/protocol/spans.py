"""A span of draft numbers: the one way a table row says which drafts it holds for."""

from __future__ import annotations

from pytest_moqt.protocol.record import Record


class Span(Record):
    """Drafts `first` to `last`, both included; `last` None is open, as a newest row is."""

    first: int
    last: int | None = None

    def __contains__(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)

    def __str__(self) -> str:
        if self.last is None:
            return f"drafts {self.first} and later"
        if not self.first:
            return f"drafts up to {self.last}"
        return f"draft {self.first}" if self.first == self.last else f"drafts {self.first}-{self.last}"


def drafts(first: int, last: int | None = None) -> Span:
    """The span of drafts `first` to `last` (open-ended without `last`)."""
    return Span(first, last)
