"""Writes docs/defects.md: `python tests/end_to_end/defects_page.py > docs/defects.md`.

What the page promises is what test_defects.py observes, on every draft and transport; a test there holds the
page to the table in `relay/defects.py`.
"""

from __future__ import annotations

import sys

from pytest_moqt import catalog
from pytest_moqt.relay.defects import DEFECTS, Defect

HEAD = """\
# Every case is proven able to fail

Each row is a relay that is wrong in one way (`moq-test-relay --defect NAME`), and the cases that must fail
with it, for the cause that their reports must name; all others must pass. `tests/end_to_end/test_defects.py`
runs every row on every draft and transport that it exists in, and fails when a defect survives, when a case
fails that it is not about, or when another cause is reported. A correct relay passes everywhere.

| Defect | What the relay does | Where | Cause | Cases that fail |
|---|---|---|---|---|
"""


def _where(defect: Defect) -> str:
    parts = [str(defect.drafts)] if defect.drafts else []
    parts += sorted(defect.transports) if defect.transports else []
    return ", ".join(parts) or "everywhere"


def _cases(defect: Defect) -> str:
    if defect.cases == frozenset(catalog.IDENTIFIERS):
        return "all"
    return ", ".join(name for name in catalog.IDENTIFIERS if name in defect.cases)


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{defect.name}` | {defect.sentence} | {_where(defect)} | {defect.cause} | {_cases(defect)} |\n"
        for defect in DEFECTS.values()
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
