"""`docs/suite-defects.md` from the list of defects: `python -m tests.suite_defects_page` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from pytest_moqt.relay.defects import CHAPTERS
from pytest_moqt.relay.defects.chapter import Defect

PAGE = Path(__file__).parents[1] / "docs" / "suite-defects.md"
HEAD = """\
# Every case of the conformance suite is proven able to fail

Each row is a relay that is wrong in one way (`moq-test-relay --defect NAME`), and the cases of the suite
that see it: the cause that their reports name, `warn` where the relay misses a SHOULD or has another
code, `info` where it takes another of the ways that its draft leaves it, or `pass` where that is nothing
to tell. `tests/conformance/` judges each of these relays with its cases in every run, and holds that every
case has one that fails it. The page was written by `python -m tests.suite_defects_page`.
"""
TABLE = "\n| Defect | What the relay does | Where | What becomes of which case |\n|---|---|---|---|\n"


def page() -> str:
    """The whole page."""
    text = HEAD
    for chapter in CHAPTERS:
        seen = [defect for defect in chapter.defects if defect.suite]
        if seen:
            text += f"\n## {chapter.title}\n{TABLE}" + "".join(map(_row, seen))
    return text


def _row(defect: Defect) -> str:
    where = ", ".join(filter(None, [str(defect.drafts or ""), *sorted(defect.transports or ())]))
    cases = ", ".join(f"`{case}` {mark}" for case, mark in defect.suite.items())
    return f"| `{defect.name}` | {defect.sentence} | {where or 'everywhere'} | {cases} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} written\n")
