"""What a case needs of a run to make sense: a draft that has the thing, a transport that carries it."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_moqt.catalog import Case
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.spans import Span, drafts


class Needs(Record):
    """Of one case."""

    drafts: Span = drafts(0)
    transport: str = ""
    "The only one that has it; empty: both have."

    @classmethod
    def of(cls, case: Case) -> Needs:
        """Those of a case of the list."""
        return cls(drafts(case.since, case.until or None), case.transport)

    def lacking(self, offered: Iterable[int], transport: str) -> tuple[str, str] | None:
        """Why the case makes no sense: for machines, and for people; None when it does.

        Args:
            offered: The drafts that the run can still be about.
            transport: What its sessions use.
        """
        offered = list(offered)
        if not any(number in self.drafts for number in offered):
            without = " and ".join(f"draft-{number}" for number in offered)
            return "draft-lacks-it", f"not in {without}: only {self.drafts} have what this case needs"
        if self.transport and self.transport != transport:
            name = {"quic": "raw QUIC", "webtransport": "WebTransport"}[self.transport]
            return "other-transport", f"only sessions over {name} have what this case needs"
        return None


NOTHING = Needs()
