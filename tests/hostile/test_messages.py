"""Relays that do harm with MoQT's messages and streams: the verdict is right, and nothing else happens."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from answer_harm import ANSWERS
from client_command import Run
from data_harm import DATA
from judging import assert_survived, judge
from relays import Deed, Hostile, drafts_of
from request_harm import REQUESTS
from setup_harm import GOAWAYS, SETUPS

from pytest_moqt.relay.embedded import EmbeddedRelay
from tests.ahead import Ahead, runs_ahead
from tests.sweeps import dealt, swept

DEEDS = (*SETUPS, *GOAWAYS, *ANSWERS, *REQUESTS, *DATA)
TRANSPORTS = ("quic", "webtransport")
_BY_NAME = {deed.name: deed for deed in DEEDS}


class Cell(NamedTuple):
    """One deed, one draft, one transport."""

    deed: str
    draft: int
    transport: str

    def __str__(self) -> str:
        return f"{self.deed}-{self.draft}-{self.transport}"


CELLS = [
    Cell(deed.name, draft, transport)
    for deed in DEEDS
    for transport in TRANSPORTS
    for draft in drafts_of(deed, transport)
]
JUDGED = {
    Cell(deed.name, drafts_of(deed, transport)[turn], transport)
    for deed in DEEDS
    for turn in range(len(deed.drafts))
    for transport in (dealt(TRANSPORTS, deed.name, turn),)
}
"In an ordinary run: each deed in each of its drafts, over one transport and then the other."


def deed_of(cell: Cell) -> Deed:
    """What is done."""
    return _BY_NAME[cell.deed]


def judge_hostile(cell: Cell, folder: Path) -> Run:
    """Judge the relay that does it."""
    deed = deed_of(cell)
    hostile = Hostile(deed)
    with EmbeddedRelay(behaviour=hostile) as relay:
        run = judge(relay.url(cell.transport), relay.ca_file, folder, deed.cases, cell.draft)
    assert (hostile.acted, hostile.failures) == (1, [])
    return run


runs = runs_ahead("cell", judge_hostile)


@pytest.mark.parametrize("cell", swept(CELLS, JUDGED))
def test_a_deed_has_its_verdict_and_no_other_effect(runs: Ahead[Cell, Run], cell: Cell) -> None:
    """What a relay does to one session fails that case, if it breaks the draft, and nothing else."""
    deed = deed_of(cell)

    def right(run: Run) -> None:
        assert_survived(run, deed.cases, deed.cause)
        notes = [note for point in run.document.points for note in point.values.get("notes", ())]
        assert bool(notes) == deed.noted, run.stdout

    runs.check(cell, right)


def test_behaviours_are_many() -> None:
    """No name stands twice, and each behaviour has its text."""
    assert len(_BY_NAME) == len(DEEDS) >= 40
    assert all(deed.why for deed in DEEDS)


def test_an_ordinary_run_has_every_deed_over_both_transports_where_drafts_differ() -> None:
    """A deed that drafts take differently meets both; each draft meets both in any case."""
    for deed in DEEDS:
        judged = [cell for cell in JUDGED if cell.deed == deed.name]
        assert len(judged) == len(deed.drafts)
        assert len({cell.transport for cell in judged}) == min(len(deed.drafts), len(TRANSPORTS))
    assert set(CELLS) >= JUDGED
    met = {(cell.draft, cell.transport) for cell in JUDGED}
    assert met == {(cell.draft, cell.transport) for cell in CELLS}
