"""Every defect of the embedded relay in each draft and over each transport: what must come of it, what does.

A cell is one relay, judged by one run of the command in one draft over one transport: with the cases of the
catalogue and `data-subgroup-basic`, or, where its defect is one of QUIC, with those about QUIC. The runs are
waits for the most part: several are made at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, Self

from client_command import Run, fork_command
from settings import TRANSPORTS
from strict_tap import NotTap

from pytest_moqt import catalog
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.relay.certificates import self_signed
from pytest_moqt.relay.defects import DEFECTS, applicable
from pytest_moqt.relay.defects.chapter import DATA_SUBGROUP, DEFAULT, QUIC
from pytest_moqt.relay.embedded import EmbeddedRelay
from pytest_moqt.relay.features import Features
from tests.sweeps import dealt

AT_A_TIME = 10
"Runs; of the time that they take, a tenth is work."
AGAIN_AT_A_TIME = 3
"The same, of those that were not as expected."
SPOKEN = (22, 20, 18, 16, 14)
"What most relays speak: each defect is judged in each of these every time, in the others in turn."
QUIC_JUDGED = (18,)
"The one draft that defects of QUIC are judged in: no draft has a say in them."
GREEN, SKIPPED = ".", "-"
"What became of a case that did not fail; of one that did, it is the cause."

DATA_CASE = next(case for case in catalog.conformance() if case.identifier == DATA_SUBGROUP)
CASES = (*catalog.CATALOG, DATA_CASE)
QUIC_CASES = catalog.QUIC
RAW_ONLY = ("quic-zerortt",)
"Skipped over WebTransport, whatever the relay does."
LONG = ("quic-transfer",)
"As much work as all the others together: judges a correct relay, and those with a defect that it is about."

Marks = dict[str, str]
"What became of each case, by its name."


class Cell(NamedTuple):
    """One relay, one draft, one transport."""

    defect: str | None
    draft: int
    transport: str
    profile: str = DEFAULT

    def __str__(self) -> str:
        return f"{self.defect or 'none'}-{self.draft}-{self.transport}"

    @property
    def cases(self) -> tuple[catalog.Case, ...]:
        """The cases that judge it."""
        if self.profile != QUIC:
            return CASES
        about = DEFECTS[self.defect].cases | DEFECTS[self.defect].skips if self.defect else set(LONG)
        return tuple(case for case in QUIC_CASES if case.identifier not in LONG or case.identifier in about)

    @property
    def expected(self) -> Marks:
        """What must become of each case."""
        return {case.identifier: self._expected(case) for case in self.cases}

    def _expected(self, case: catalog.Case) -> str:
        defect = DEFECTS[self.defect] if self.defect else None
        if self.draft not in drafts(case.since):
            return SKIPPED
        if self.transport == "webtransport" and case.identifier in RAW_ONLY:
            return SKIPPED
        if defect is not None and case.identifier in defect.skips:
            return SKIPPED
        return defect.cause if defect is not None and case.identifier in defect.cases else GREEN


def _cells(judged: Iterable[int], profile: str) -> list[Cell]:
    return [
        Cell(name, draft, transport, profile)
        for draft in judged
        for transport in TRANSPORTS
        for name in (None, *(defect.name for defect in applicable(draft, transport, profile)))
    ]


ALL = _cells(SUPPORTED, DEFAULT)
"Every cell there is, but for those of QUIC."
QUIC_CELLS = _cells(QUIC_JUDGED, QUIC)


def _in_turn() -> list[Cell]:
    """What the page of defects is written from: a third of all cells.

    The correct relay in each draft over each transport; each defect in each draft that most relays speak and
    in one of the others, over one transport and then the other, so that it meets both. What the other drafts
    write differently is rows, which tests/protocol and tests/relay hold for each of them.
    """
    cells = [cell for cell in ALL if cell.defect is None]
    others = [number for number in SUPPORTED if number not in SPOKEN]
    names = [defect.name for defect in DEFECTS.values() if defect.profile == DEFAULT]
    for turn, name in enumerate(names):
        for position, number in enumerate((*SPOKEN, others[turn % len(others)])):
            both = [cell for cell in ALL if cell.defect == name and cell.draft == number]
            cells += both[(turn + position) % 2 :][:1] or both[:1]
    return cells


CELLS = _in_turn()


def _one_of_each() -> list[Cell]:
    """What there is time for in an ordinary run of all tests: each relay once, the correct one everywhere."""
    found: dict[str | None, list[Cell]] = {}
    for cell in CELLS:
        found.setdefault(cell.defect, []).append(cell)
    correct = found.pop(None)
    return [*correct, *(dealt(cells, str(name)) for name, cells in found.items())]


JUDGED = _one_of_each()


def judge(cell: Cell, folder: Path) -> Run:
    """Judge that relay in that draft."""
    if cell.profile == QUIC:
        return judge_quic(cell, folder)
    with EmbeddedRelay(defect=cell.defect) as relay:
        return fork_command(folder, *_arguments(relay, cell), *_named(CASES))


def judge_quic(cell: Cell, folder: Path) -> Run:
    """Judge that relay with the cases about QUIC, and its Retry at a port of its own."""
    identity = self_signed()
    with (
        EmbeddedRelay(defect=cell.defect, identity=identity) as relay,
        EmbeddedRelay(defect=cell.defect, identity=identity, features=Features(retry=True)) as retry,
    ):
        return fork_command(
            folder,
            *_arguments(relay, cell),
            *("--retry-relay", _url(retry, cell)),
            *_named(cell.cases),
        )


def _named(cases: Iterable[catalog.Case]) -> list[str]:
    return [argument for case in cases for argument in ("--test", case.identifier)]


def _url(relay: EmbeddedRelay, cell: Cell) -> str:
    return relay.url(cell.transport).replace("127.0.0.1", "localhost")


def _arguments(relay: EmbeddedRelay, cell: Cell) -> tuple[str, ...]:
    return (
        *("--relay", _url(relay, cell)),
        *("--draft", str(cell.draft), "--ca-file", relay.ca_file),
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

    def __init__(self, cells: Iterable[Cell], folder: Path, at_a_time: int = AT_A_TIME) -> None:
        self.surprises: dict[Cell, Marks] = {}
        "What was made of the first run of those that were run again."
        self._folder = folder
        self._many = ThreadPoolExecutor(at_a_time)
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
