"""Writes docs/defects.md from a run of every cell: `python tests/end_to_end/defects_page.py`.

The page says what was observed; where that is not what `relay/defects/` expects, it says both, and the exit
code is 1. With `--all` every relay is judged in every draft over each transport, and nothing is written. A
test holds the page to the list of defects, and each cell's run to its row of the page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1] / "plugin"), str(Path(__file__).parents[2])]

from cells import (
    ALL,
    CASES,
    CELLS,
    DATA_CASE,
    LONG,
    QUIC_CASES,
    QUIC_CELLS,
    QUIC_JUDGED,
    RAW_ONLY,
    SKIPPED,
    SPOKEN,
    TRANSPORTS,
    Marks,
    Runs,
    observed,
)

from pytest_moqt.relay.defects import CHAPTERS, DEFECTS, Defect
from pytest_moqt.relay.defects.chapter import CONFORMANCE, DEFAULT, QUIC

if TYPE_CHECKING:
    from cells import Cell

PAGE = Path(__file__).parents[2] / "docs" / "defects.md"

NAMES = [case.identifier for case in CASES]
QUIC_NAMES = [case.identifier for case in QUIC_CASES]
NO_DEFECT = "none"
NO_QUIC_DEFECT = "none of QUIC's"
PAGE_CELLS = [*CELLS, *QUIC_CELLS]
"Those that the page is written from."

HEAD = """\
# Every case is proven able to fail

Each row is a relay that is wrong in one way (`moq-test-relay --defect NAME`), and what the cases said of it:

- `.` the case passed, as it must: what is wrong is not its business;
- a word: the case failed, and its report named this cause (README, "How to read a failure");
- `-` the case does not exist in the drafts that the relay is wrong in.

The page was written by `python tests/end_to_end/defects_page.py` from {runs} runs: each relay in the drafts
{spoken} and in one of the other four in turn, over one transport ({transports}) and then
the other; or only where "Where" says. What was observed is what the list in `pytest_moqt/relay/defects/`
expects, the same in every draft and over both transports; otherwise the row would say both.
`tests/end_to_end/test_defects.py` makes one run of each relay every time, with `--thorough` the same runs,
and fails when one of them is not what its row says: no defect survives, and no case fails that a defect is
not about. With `--all` the writer judges every relay in every draft over each transport, in {all} runs.

{lawful} of the {count} fail nothing, and must not: they are slow within the limits of every case, or do what
a draft tells its peer to bear. `{data}` is no default case: it is there, from the
conformance suite, because no default case carries objects. `rendezvous-timeout` is skipped before
draft 18.

"""

QUIC_HEAD = """
## QUIC

What is wrong with these is beneath MoQT. They are judged with the cases about QUIC (`--profile quic`) and no
others, in draft {drafts}: {runs} runs of the same kind, with the Retry of each at a port of its own, of which
`tests/end_to_end/test_quic_cases.py` repeats those over raw QUIC. `skip` is a relay that does not offer what
the case is about, and need not; with `--require` it fails. `{raw}` is skipped over WebTransport.
`{long}` is as much work as all the others together, and judges those alone that it is about.

"""


def _table(names: list[str]) -> str:
    columns = "| Defect | What the relay does | Where | " + " | ".join(names) + " |\n"
    return columns + "|---|---|---|" + ":-:|" * len(names) + "\n"


def _where(defect: Defect) -> str:
    parts = [str(defect.drafts)] if defect.drafts else []
    parts += sorted(defect.transports) if defect.transports else []
    return ", ".join(parts) or "everywhere"


def _mark(case: str, marks: Mapping[Cell, Marks]) -> str:
    """What became of a case in the cells of one defect, the cells that are not as expected by name."""
    # In a draft, or over a transport, that does not have the case there was nothing to see.
    there = [cell for cell in marks if cell.transport == "quic" or case not in RAW_ONLY]
    if all(case not in cell.expected for cell in there):
        return ""
    expected = {cell.expected[case] for cell in there}
    skip = "skip" if there[0].profile == QUIC else SKIPPED
    usual = ", ".join(sorted(expected - {SKIPPED})) or skip
    others = [
        f"**{said.get(case, 'absent')}** in {cell.draft} {cell.transport}"
        for cell, said in marks.items()
        if said.get(case) != cell.expected[case]
    ]
    return ", ".join([usual, *others])


def _row(name: str, words: str, marks: Mapping[Cell, Marks]) -> str:
    names = QUIC_NAMES if next(iter(marks)).profile == QUIC else NAMES
    cells = [_mark(case, marks) for case in names]
    return f"| `{name}` | {words} | {' | '.join(cells)} |\n"


def page(observations: Mapping[Cell, Marks]) -> str:
    """The whole page.

    Args:
        observations: What became of the cases in every cell.
    """
    of: dict[tuple[str | None, str], dict[Cell, Marks]] = {}
    for cell, marks in observations.items():
        of.setdefault((cell.defect, cell.profile), {})[cell] = marks
    usual = [defect for defect in DEFECTS.values() if defect.profile == DEFAULT]
    text = HEAD.format(
        runs=sum(cell.profile == DEFAULT for cell in observations),
        all=len(ALL) + len(QUIC_CELLS),
        spoken=", ".join(map(str, sorted(SPOKEN))),
        transports=", ".join(TRANSPORTS),
        lawful=sum(not defect.cases for defect in usual),
        count=len(usual),
        data=DATA_CASE.identifier,
    )
    text += _table(NAMES) + _row(NO_DEFECT, "Nothing wrong. | everywhere", of[None, DEFAULT])
    for chapter in CHAPTERS:
        if chapter.profile == CONFORMANCE:
            # On a page of their own, docs/suite-defects.md.
            continue
        if chapter.profile == QUIC:
            text += QUIC_HEAD.format(
                drafts=", ".join(map(str, QUIC_JUDGED)),
                runs=sum(cell.profile == QUIC for cell in observations),
                raw=", ".join(RAW_ONLY),
                long=", ".join(LONG),
            )
            text += _table(QUIC_NAMES) + _row(NO_QUIC_DEFECT, "Nothing wrong. | everywhere", of[None, QUIC])
        else:
            text += f"\n## {chapter.title}\n\n{_table(NAMES)}"
        for defect in chapter.defects:
            marks = of[defect.name, chapter.profile]
            text += _row(defect.name, f"{defect.sentence} | {_where(defect)}", marks)
    return text


def rows(text: str) -> dict[str, dict[str, str]]:
    """What a page says of each case, by defect; where a case must be skipped, the mark of a skipped case."""
    found = {}
    names: list[str] = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.strip("|").split("|")]
        if line.startswith("| Defect |"):
            names = fields[3:]
        elif line.startswith("| `"):
            marks = [SKIPPED if mark == "skip" else mark for mark in fields[3:]]
            found[fields[0].strip("`")] = dict(zip(names, marks, strict=True))
    return found


def _unexpected(cell: Cell, marks: Marks) -> Marks:
    expected = cell.expected
    return {name: marks.get(name, "absent") for name in expected if marks.get(name) != expected[name]}


def write(cells: list[Cell]) -> int:
    """Make these runs, and write the page.

    Returns:
        0 when all is as expected, 1 otherwise.
    """
    import tempfile

    observations: dict[Cell, Marks] = {}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, Runs(cells, Path(folder)) as runs:
        for number, cell in enumerate(runs.made(), 1):
            print(f"{number}/{len(cells)} {cell}", file=sys.stderr)
        for cell in cells:
            marks = observations[cell] = observed(runs[cell])
            wrong += marks != cell.expected
            if cell in runs.surprises:
                first, second = _unexpected(cell, runs.surprises[cell]), _unexpected(cell, marks)
                print(f"{cell} was at first {first}, and then {second or 'as expected'}", file=sys.stderr)
    if cells is PAGE_CELLS:
        PAGE.write_text(page(observations))
        print(f"{PAGE.name} written", file=sys.stderr)
    twice = f"{len(runs.surprises)} of {len(cells)} relays were judged twice"
    print(f"{twice}, {wrong} are not as expected", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    # Each process of a run would import the file that the main module names.
    del __file__
    sys.exit(write([*ALL, *QUIC_CELLS] if "--all" in sys.argv[1:] else PAGE_CELLS))
