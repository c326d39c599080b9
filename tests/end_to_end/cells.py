"""Every defect of the embedded relay in each draft and over each transport: what must come of it, what does.

A cell is one relay, judged by one run of the command in one draft over one transport, with the cases of the
catalogue and `data-subgroup-basic`. The runs are waits for the most part: several are made at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, Self

from client_command import Run, fork_command
from strict_tap import NotTap

from pytest_moqt import catalog
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.relay.defects import DEFECTS, applicable
from pytest_moqt.relay.defects.chapter import DATA_SUBGROUP
from pytest_moqt.relay.embedded import EmbeddedRelay

AT_A_TIME = 10
"Runs; of the time that they take, a tenth is work."
AGAIN_AT_A_TIME = 3
"The same, of those that were not as expected."
SPOKEN = (22, 20, 18, 16, 14)
"What most relays speak: each defect is judged in each of these every time, in the others in turn."
TRANSPORTS = ("quic", "webtransport")
GREEN, SKIPPED = ".", "-"
"What became of a case that did not fail; of one that did, it is the cause."

DATA_CASE = catalog.Case(
    DATA_SUBGROUP,
    # The command takes what it has from `interop_tests`; a path from the root leads anywhere.
    str(Path(__file__).parent / "cases" / "data_subgroup_basic"),
    "test_data_subgroup_basic",
    25.0,
    False,
    ("model-subgroup", "message-publish-done"),
)
CASES = (*catalog.CATALOG, DATA_CASE)

Marks = dict[str, str]
"What became of each case, by its name."


class Cell(NamedTuple):
    """One relay, one draft, one transport."""

    defect: str | None
    draft: int
    transport: str

    def __str__(self) -> str:
        return f"{self.defect or 'none'}-{self.draft}-{self.transport}"

    @property
    def expected(self) -> Marks:
        """What must become of each case."""
        defect = DEFECTS[self.defect] if self.defect else None
        return {
            case.identifier: SKIPPED
            if self.draft not in drafts(case.since)
            else defect.cause
            if defect is not None and case.identifier in defect.cases
            else GREEN
            for case in CASES
        }


ALL = [
    Cell(name, draft, transport)
    for draft in SUPPORTED
    for transport in TRANSPORTS
    for name in (None, *(defect.name for defect in applicable(draft, transport)))
]
"Every cell there is; the page is written from these."


def _in_turn() -> list[Cell]:
    """What there is time for in a run of all tests: a third of all cells.

    The correct relay in each draft over each transport; each defect in each draft that most relays speak and
    in one of the others, over one transport and then the other, so that it meets both. What the other drafts
    write differently is rows, which tests/protocol and tests/relay hold for each of them.
    """
    cells = [cell for cell in ALL if cell.defect is None]
    others = [number for number in SUPPORTED if number not in SPOKEN]
    for turn, name in enumerate(DEFECTS):
        for position, number in enumerate((*SPOKEN, others[turn % len(others)])):
            both = [cell for cell in ALL if cell.defect == name and cell.draft == number]
            cells += both[(turn + position) % 2 :][:1] or both[:1]
    return cells


CELLS = _in_turn()


def judge(cell: Cell, folder: Path) -> Run:
    """Judge that relay in that draft."""
    with EmbeddedRelay(defect=cell.defect) as relay:
        return fork_command(
            folder,
            *("--relay", relay.url(cell.transport).replace("127.0.0.1", "localhost")),
            *("--draft", str(cell.draft), "--ca-file", relay.ca_file),
            more=(DATA_CASE,),
        )


def observed(run: Run) -> Marks:
    """What became of each case."""
    return {
        point.name: SKIPPED
        if point.directive == "SKIP"
        else GREEN
        if point.ok
        else str(point.values.get("cause"))
        for point in run.document.points
    }


class Runs:
    """The runs of many cells, begun at once and finished as they come; a context manager.

    A machine with too much to do can make any relay late: what is not as expected is run again when all are
    over, with little else going on, twice at most, and that counts.
    """

    def __init__(self, cells: Iterable[Cell], folder: Path) -> None:
        self.surprises: dict[Cell, Marks] = {}
        "What was made of the first run of those that were run again."
        self._folder = folder
        self._many = ThreadPoolExecutor(AT_A_TIME)
        self._few = ThreadPoolExecutor(AGAIN_AT_A_TIME)
        self._first = {cell: self._many.submit(judge, cell, folder) for cell in cells}
        self._again: dict[Cell, Future[Run]] = {}

    def made(self) -> Iterator[Cell]:
        """The cells, each when it was run for the first time."""
        cells = {future: cell for cell, future in self._first.items()}
        return (cells[future] for future in as_completed(cells))

    def __getitem__(self, cell: Cell) -> Run:
        if cell not in self._again:
            first = self._first[cell]
            if self._marks(first) == cell.expected:
                return first.result()
            self._submit_again()
        return self._again[cell].result()

    def _submit_again(self) -> None:
        for cell, first in self._first.items():
            marks = self._marks(first)
            if marks != cell.expected:
                self.surprises[cell] = marks
                self._again[cell] = self._few.submit(self._judge_again, cell)

    def _judge_again(self, cell: Cell) -> Run:
        run = judge(cell, self._folder)
        return run if observed(run) == cell.expected else judge(cell, self._folder)

    @staticmethod
    def _marks(run: Future[Run]) -> Marks:
        """What came of a run; nothing when it did not end, or left no whole document."""
        try:
            return observed(run.result())
        except (TimeoutError, RuntimeError, NotTap):
            return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._many, self._few):
            pool.shutdown(cancel_futures=True)
