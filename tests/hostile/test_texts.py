"""Relays whose texts are made to be taken for the report: they stay texts, in one line, and readable."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from client_command import Run
from judging import assert_survived, judge
from talkers import FORGED, TEXTS, End, Talker

from pytest_moqt.relay.embedded import EmbeddedRelay
from tests.ahead import Ahead, runs_ahead


class Cell(NamedTuple):
    """One text, in every place, on one way to the end."""

    text: str
    often: bool
    end: End
    draft: int
    transport: str

    def __str__(self) -> str:
        often = "filled" if self.often else "once"
        return f"{self.text}-{often}-{self.end.name.lower()}-{self.draft}-{self.transport}"


# Each text meets each transport, each end and each length, but not all of them together: where a text
# comes from makes no difference to how it is written.
CELLS = [
    cell
    for index, text in enumerate(TEXTS)
    for cell in (
        Cell(text, bool(index % 2), End.REFUSAL, 18, "quic"),
        Cell(text, not index % 2, End.CLOSE, 18, "webtransport"),
        (
            Cell(text, False, End.ASSERTION, 18, "webtransport"),
            Cell(text, False, End.CLOSE, 18, "quic"),
            Cell(text, False, End.REFUSAL, 14, "webtransport"),
        )[index % 3],
    )
]


def judge_talker(cell: Cell, folder: Path) -> Run:
    """Judge the relay that says it, with a report on standard error as well."""
    talker = Talker(TEXTS[cell.text], cell.end, often=cell.often)
    with EmbeddedRelay(behaviour=talker) as relay:
        url = relay.url(cell.transport)
        run = judge(url, relay.ca_file, folder, cell.end.cases, cell.draft, "--verbose")
    assert (talker.acted, talker.failures) == (1, [])
    return run


runs = runs_ahead("cell", judge_talker)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_text_stays_a_text(runs: Ahead[Cell, Run], cell: Cell) -> None:
    """Whatever a relay says, the report has its own points only, and tells what was said."""

    def right(run: Run) -> None:
        assert_survived(run, cell.end.cases, cell.end.cause)
        message = run.document.points[0].values["message"]
        assert (FORGED.decode() in message) != _is_lost_below(cell), run.stdout

    runs.check(cell, right)


def _is_lost_below(cell: Cell) -> bool:
    """Whether aioquic gives no reason: of a CONNECTION_CLOSE it takes UTF-8 only."""
    try:
        TEXTS[cell.text].decode()
    except UnicodeDecodeError:
        return cell.transport == "quic" and cell.end is End.CLOSE
    return False
