"""Every defect of the embedded relay against every case: the intended ones fail, for the stated cause.

A case that no defect can fail is no evidence, and one that fails for what is not its business is worse.
The runs are waits for the most part: several are made at a time, ahead of the tests that look at them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import defects_page
import pytest
from client_command import Run, fork_command

from pytest_moqt import catalog
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.relay.defects import DEFECTS, applicable
from pytest_moqt.relay.embedded import EmbeddedRelay

AT_A_TIME = 8
TRANSPORTS = ("quic", "webtransport")
FEWEST = 3
"Defects that each case must have for itself."


class Cell(NamedTuple):
    """One relay, one draft, one transport."""

    defect: str | None
    draft: int
    transport: str

    def __str__(self) -> str:
        return f"{self.defect or 'none'}-{self.draft}-{self.transport}"


CELLS = [
    Cell(name, draft, transport)
    for draft in SUPPORTED
    for transport in TRANSPORTS
    for name in (None, *(defect.name for defect in applicable(draft, transport)))
]


def judge(cell: Cell, folder: Path) -> Run:
    """Judge that relay in that draft."""
    with EmbeddedRelay(defect=cell.defect) as relay:
        return fork_command(
            folder,
            *("--relay", relay.url(cell.transport).replace("127.0.0.1", "localhost")),
            *("--draft", str(cell.draft), "--ca-file", relay.ca_file),
        )


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Cell, Future[Run]]]:
    """The runs of all cells that were selected, begun at once and finished as they come."""
    folder = tmp_path_factory.mktemp("empty")
    cells = [
        item.callspec.params["cell"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec") and "cell" in item.callspec.params
    ]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {cell: pool.submit(judge, cell, folder) for cell in cells}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_exactly_the_intended_cases_fail(runs: dict[Cell, Future[Run]], cell: Cell) -> None:
    """A defect turns the cases red that it is about, for the stated cause, and no other."""
    run = runs[cell].result()

    defect = DEFECTS[cell.defect] if cell.defect else None
    existing = {case.identifier for case in catalog.CATALOG if not case.drafts or cell.draft in case.drafts}
    intended = dict.fromkeys(defect.cases & existing, defect.cause) if defect else {}
    points = run.document.points
    failed = {point.name: point.values.get("cause") for point in points if not point.ok}
    assert failed == intended, run.stdout + run.stderr
    assert {point.name for point in points} == set(catalog.IDENTIFIERS)
    assert run.code == (1 if intended else 0)


@pytest.mark.parametrize("case", catalog.IDENTIFIERS)
def test_each_case_has_defects_of_its_own(case: str) -> None:
    """At least three defects turn the case red that leave some other case green."""
    own = [
        defect.name
        for defect in DEFECTS.values()
        if case in defect.cases and defect.cases != frozenset(catalog.IDENTIFIERS)
    ]

    assert len(own) >= (FEWEST if case != "setup-only" else 0)
    assert len([defect for defect in DEFECTS.values() if case in defect.cases]) >= FEWEST


def test_the_page_of_defects_is_fresh() -> None:
    """docs/defects.md says what the table says; `python tests/end_to_end/defects_page.py` writes it anew."""
    page = Path(__file__).parents[2] / "docs" / "defects.md"

    assert page.read_text() == defects_page.page()
