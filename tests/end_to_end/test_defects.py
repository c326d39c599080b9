"""Every defect of the embedded relay against every case: the intended ones fail, for the stated cause.

A case that no defect can fail is no evidence, and one that fails for what is not its business is worse.
An ordinary run judges each defect once, in one draft over one transport; a thorough one makes all the runs
that docs/defects.md is written from, and `python tests/end_to_end/defects_page.py --all` judges every cell.
"""

from __future__ import annotations

from collections.abc import Iterator

import defects_page
import pytest
from cells import ALL, CASES, CELLS, JUDGED, SKIPPED, SPOKEN, Cell, Runs, observed
from settings import TRANSPORTS

from pytest_moqt import catalog
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.defects.chapter import DEFAULT
from tests.sweeps import swept

FEWEST = 3
"Defects that each case must have for itself."

NAMES = [case.identifier for case in CASES]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The runs of all cells that were selected, ahead of the tests that look at them."""
    cells = [
        item.callspec.params["cell"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec") and "cell" in item.callspec.params
    ]
    with Runs(cells, tmp_path_factory.mktemp("empty")) as runs:
        yield runs


@pytest.fixture(scope="module")
def page() -> dict[str, dict[str, str]]:
    """docs/defects.md: a row for each defect, and one for none."""
    return defects_page.rows(defects_page.PAGE.read_text())


@pytest.mark.parametrize("cell", swept(CELLS, JUDGED))
def test_exactly_the_intended_cases_fail(runs: Runs, page: dict[str, dict[str, str]], cell: Cell) -> None:
    """A defect turns the cases red that it is about, for the stated cause, and no other; the page says so."""
    run = runs[cell]

    marks = observed(run)
    assert marks == cell.expected, run.stdout + run.stderr
    tried = {name: mark for name, mark in marks.items() if mark != SKIPPED}
    assert {name: page[cell.defect or "none"][name] for name in tried} == tried
    assert run.code == (1 if any(not point.ok for point in run.document.points) else 0)


def test_the_page_has_every_defect_in_both_transports_and_most_drafts() -> None:
    """What is made in turn leaves no defect out, nor any draft or transport that it exists in."""
    for name in (defect.name for defect in DEFECTS.values() if defect.profile == DEFAULT):
        there = {(cell.draft, cell.transport) for cell in ALL if cell.defect == name}
        judged = {(cell.draft, cell.transport) for cell in CELLS if cell.defect == name}
        drafts = {draft for draft, _ in there}
        assert judged <= there
        assert {draft for draft, _ in judged} >= drafts & set(SPOKEN)
        assert len(drafts) == 1 or {way for _, way in judged} == {way for _, way in there}, name
    assert {(cell.draft, cell.transport) for cell in CELLS} == {(cell.draft, cell.transport) for cell in ALL}


def test_an_ordinary_run_judges_each_defect_and_meets_each_draft_and_transport() -> None:
    """Each relay that is wrong is seen red in every run, some in each draft and over each transport."""
    wrong = [cell for cell in JUDGED if cell.defect is not None]

    assert set(JUDGED) <= set(CELLS)
    assert sorted(str(cell.defect) for cell in wrong) == sorted(
        defect.name for defect in DEFECTS.values() if defect.profile == DEFAULT
    )
    everywhere = {(draft, transport) for draft in SUPPORTED for transport in TRANSPORTS}
    assert {(cell.draft, cell.transport) for cell in JUDGED if cell.defect is None} == everywhere
    assert {cell.draft for cell in wrong} == set(SUPPORTED)
    assert {cell.transport for cell in wrong} == set(TRANSPORTS)


@pytest.mark.parametrize("case", NAMES)
def test_each_case_has_defects_of_its_own(case: str) -> None:
    """At least three defects turn the case red that leave some other case green."""
    failing = [defect for defect in DEFECTS.values() if case in defect.cases]
    own = [defect for defect in failing if not defect.cases.issuperset(catalog.IDENTIFIERS)]

    # A session that comes about and ends is what every case begins and ends with.
    assert len(own) >= (FEWEST if case != "setup-only" else 0)
    assert len(failing) >= FEWEST


def test_the_page_of_defects_is_fresh() -> None:
    """docs/defects.md says what the table says; `python tests/end_to_end/defects_page.py` writes it anew."""
    expected = {cell: cell.expected for cell in defects_page.PAGE_CELLS}

    assert defects_page.PAGE.read_text() == defects_page.page(expected)


def test_the_page_tells_what_was_expected_from_what_was_observed() -> None:
    """A survivor, and a case that fails for what is not its business, can be seen on the page."""
    marks = {cell: cell.expected for cell in defects_page.PAGE_CELLS}
    cell = next(cell for cell in CELLS if cell.defect == "announce-error")
    marks[cell] = {**cell.expected, "announce-only": ".", "setup-only": "closed"}

    row = defects_page.rows(defects_page.page(marks))["announce-error"]

    where = f"{cell.draft} {cell.transport}"
    assert row["announce-only"] == f"rejected, **.** in {where}"
    assert row["setup-only"] == f"., **closed** in {where}"
    assert row["announce-subscribe"] == "rejected"
