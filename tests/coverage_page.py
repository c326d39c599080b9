"""Writes docs/coverage.md, which statements of the drafts the cases test: `python -m tests.coverage_page`.

What the drafts say is in `tests/statements/`, a file for each chapter of the newest draft, in its order, and
one for what it says no longer. A statement is a sentence with MUST, SHOULD or their like:

- `id`: its anchor (`pytest_moqt/protocol/sections.py`), `/`, and a name;
- `quote`: as much of it as is needed to find it; the words may be those of another of its drafts;
- `level`: `must` or `should`, the stronger of what is in it;
- `drafts`: those that have it, each with the digest of the sentence (`tests/draft_sentences.py`), or `read`
  where the text was read and no digest is to be had;
- `at`: the anchors of drafts in which it stands elsewhere;
- `cases`: what fails or warns when a relay breaks it; or `untestable`: why none can, one of `REASONS`.

A case is named where its assertions judge the statement, not where it merely passes by. The rules that our
own session holds every relay to (`protocol/session.py`) are judged by each case that meets the message; one
that does is named. `cases-beside.yaml` has the cases that judge no such sentence, and what they are about.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import yaml

from pytest_moqt import catalog
from pytest_moqt.protocol.sections import section
from pytest_moqt.protocol.spans import drafts as span

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "coverage.md"
FOLDER = Path(__file__).parent / "statements"
BESIDE = FOLDER / "cases-beside.yaml"

JUDGED = (14, 16, 18, 20, 22)
"The drafts whose statements are kept, oldest first."
NEWEST = JUDGED[-1]
READ = "read"
"In place of a digest."

REASONS = {
    "client": "it binds clients, original publishers or end subscribers, not the relay",
    "inside": "whether it is kept shows inside the relay only",
    "application": "it is about applications, the names and formats they choose, or whom they authorize",
    "documents": "it binds other documents and registries",
    "transport": "it is about QUIC or TLS beneath",
    "occasion": "no client can bring about the occasion, or know that it is there",
    "vague": "it says too little to tell when it is broken",
    "void": "nothing on the wire could break it, or nothing falls under it",
    "summary": "it says only that other statements hold",
}
"Why a client cannot test a statement."

BESIDE_REASONS = {
    "prose": "what a draft prescribes without MUST or SHOULD",
    "inference": "what follows from a draft that does not say it",
    "open": "what a draft leaves to the relay, or to its peers, which the relay has to bear then",
    "robustness": "whom the relay goes on serving, whatever its clients do",
    "transport": "what QUIC, HTTP or WebTransport prescribe",
}
"What the cases are about that judge no statement."


class Statement(NamedTuple):
    """What a draft asks for in one sentence."""

    id: str
    quote: str
    level: str
    drafts: dict[int, str]
    "The drafts that have it, and the digests of their sentences."
    at: Mapping[int, str] = MappingProxyType({})
    cases: tuple[str, ...] = ()
    untestable: str = ""

    @property
    def newest(self) -> int:
        """The newest draft that has it."""
        return max(self.drafts)

    def anchor(self, draft: int) -> str:
        """Where a draft has it."""
        return self.at.get(draft, self.id.partition("/")[0])

    def section(self, draft: int) -> str | None:
        """The number of its section in a draft."""
        return section(self.anchor(draft), draft)

    def judged_by(self, draft: int) -> list[str]:
        """Its cases that exist in a draft."""
        known = {case.identifier: case for case in catalog.known()}
        return [
            name
            for name in self.cases
            if (case := known.get(name)) and draft in span(case.since, case.until or None)
        ]


def statements() -> list[Statement]:
    """All statements, in the order of the newest draft; what it does not have comes last."""
    rows = [row for path in sorted(FOLDER.glob("[0-9]*.yaml")) for row in yaml.safe_load(path.read_bytes())]
    return [Statement(**{**row, "cases": tuple(row.get("cases", ()))}) for row in rows]


def beside() -> dict[str, str]:
    """The cases that judge no statement, and what they are about: one of `BESIDE_REASONS`."""
    names: dict[str, str] = yaml.safe_load(BESIDE.read_bytes())
    return names


HEAD = """\
# What of the drafts is tested

Written by `python -m tests.coverage_page` from `tests/statements/`, which has every sentence of the drafts
{drafts} that has MUST, SHALL, SHOULD, REQUIRED or RECOMMENDED in it: {total} statements,
of which {testable} can be tested from outside a relay. A sentence that several drafts have is one statement,
whatever words they changed. Each was read and judged by hand. That none is missing, and that each stands
where it is said to, is checked against the texts of the drafts {checked}, where these are at hand. Of
{read} no text can be checked: draft 22 was read whole, draft 20 where it may differ from both 22 and
the editors' copy that came before it.

A statement counts as covered where at least one case fails, or warns, when a relay breaks it: what the case
asserts decides, not its name. A case need not find every way to break the statement, so that a share of
100 % would not mean that nothing is left to test. Nor do cases judge such sentences only: much of what a
draft prescribes it prescribes without these words, in the layout of its messages above all.

In a draft, a case counts that exists in that draft.

| Draft | MUST, testable | covered | share | SHOULD, testable | covered | share |
|---|--:|--:|--:|--:|--:|--:|
"""

BY_SECTION = """
## By section

Sections are those of draft {newest}; "also in" names the other drafts that have a statement, and their
sections. A statement that no case judges is marked **none**; where its cases exist in some of its drafts
only, the others are named.
"""

FORMER = """
## What draft {newest} no longer says

By section of the newest draft that has it.
"""

COLUMNS = """\
| | Statement | Also in | Cases |
|---|---|---|---|
"""

REST = """
## What a client cannot test

| Why | Statements |
|---|--:|
"""

CASES_BESIDE = """
## Cases that judge no such sentence

| Case | What it is about |
|---|---|
"""


def _share(covered: int, testable: int) -> str:
    return f"{100 * covered // testable} %" if testable else "-"


def _counts(rows: Iterable[Statement], draft: int, level: str) -> tuple[int, int, str]:
    of_level = [row for row in rows if row.level == level and draft in row.drafts and not row.untestable]
    covered = sum(bool(row.judged_by(draft)) for row in of_level)
    return len(of_level), covered, _share(covered, len(of_level))


def _listed(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _elsewhere(row: Statement) -> str:
    """Its sections in the other drafts."""
    others = sorted(row.drafts.keys() - {row.newest}, reverse=True)
    return ", ".join(f"{draft}: {row.section(draft)}" for draft in others)


def _cases(row: Statement) -> str:
    """Its cases, and the drafts that have it in which none of them exists."""
    if not row.cases:
        return "**none**"
    names = ", ".join(f"`{name}`" for name in row.cases)
    without = [draft for draft in sorted(row.drafts) if not row.judged_by(draft)]
    return f"{names}; **none in {_listed(without)}**" if without else names


def _key(row: Statement) -> tuple[int, list[int]]:
    return -row.newest, [int(part) for part in (row.section(row.newest) or "0").split(".")]


def _by_section(rows: Iterable[Statement]) -> Iterator[str]:
    """Testable statements with their cases, under headings."""
    heading = ""
    for row in sorted((row for row in rows if not row.untestable), key=_key):
        which = f"{row.section(row.newest)} `{row.anchor(row.newest)}`"
        which = which if row.newest == NEWEST else f"Draft {row.newest}, {which}"
        if which != heading:
            heading = which
            yield f"\n### {which}\n\n{COLUMNS}"
        cells = (row.level.upper(), _escaped(row.quote), _elsewhere(row), _cases(row))
        yield f"| {' | '.join(cells)} |\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def page() -> str:
    """The page."""
    rows = statements()
    testable = [row for row in rows if not row.untestable]
    read = sorted({draft for row in rows for draft, digest in row.drafts.items() if digest == READ})
    parts = [
        HEAD.format(
            drafts=_listed(JUDGED),
            total=len(rows),
            testable=len(testable),
            checked=_listed(draft for draft in JUDGED if draft not in read),
            read=_listed(read),
        )
    ]
    for draft in reversed(JUDGED):
        cells = [*_counts(rows, draft, "must"), *_counts(rows, draft, "should")]
        parts.append(f"| {draft} | {' | '.join(map(str, cells))} |\n")
    parts += [
        BY_SECTION.format(newest=NEWEST),
        *_by_section(row for row in rows if row.newest == NEWEST),
        FORMER.format(newest=NEWEST),
        *_by_section(row for row in rows if row.newest != NEWEST),
        REST,
    ]
    reasons = Counter(row.untestable for row in rows)
    parts += [f"| {why} | {reasons[name]} |\n" for name, why in REASONS.items()]
    parts += [CASES_BESIDE, *(f"| `{name}` | {BESIDE_REASONS[why]} |\n" for name, why in beside().items())]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
