"""What a document, or that of a subtest, has shown of itself so far."""

from __future__ import annotations

from typing import NamedTuple

from pytest_moqt.lint.rules import shown


class Announcement(NamedTuple):
    """A `# Subtest` comment."""

    line: int
    name: str | None


class Document:
    """A document, or that of a subtest.

    Attributes:
        depth: How many subtests it is in.
        line: Where it begins.
        announcement: The comment before it.
        plan: The number of points planned.
        plan_line: Where; also that of a plan that cannot be read.
        points: How many points it has so far.
        failed: Whether one of them is a failure.
        announced: A subtest that is to begin.
        child: A subtest that waits for its point.
        comments: Those before the plan.
        ids: The numbers of its points.
        names: Their descriptions.
        last_id: The largest of the numbers.
        last_id_line: Where.
        plan_is_last: Whether the plan came after points.
        told_plan_first: Whether it has been said that something came before the plan.
    """

    def __init__(self, depth: int, line: int, announcement: Announcement | None = None) -> None:
        self.depth = depth
        self.line = line
        self.announcement = announcement
        self.plan: int | None = None
        self.plan_line = 0
        self.points = 0
        self.failed = False
        self.announced: Announcement | None = None
        self.child: Document | None = None
        self.comments: list[str] = []
        self.ids: set[int] = set()
        self.names: set[str] = set()
        self.last_id = 0
        self.last_id_line = 0
        self.plan_is_last = False
        self.told_plan_first = False

    @property
    def where(self) -> str:
        """For a sentence."""
        if self.depth == 0:
            return "the document"
        name = self.announcement and self.announcement.name
        return f"the subtest {shown(name)}" if name else f"the subtest of line {self.line}"
