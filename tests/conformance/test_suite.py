"""The conformance suite: green on a correct relay, each case red on some that is not, and listed as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from client_command import Run
from settings import Setting
from suite_runs import CASES, SETTINGS, judge, outcomes, settings_of

from pytest_moqt import catalog
from pytest_moqt.listing import exists_in
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.defects.chapter import INFO, PASS, SKIP
from tests import suite_defects_page
from tests.ahead import Ahead, runs_ahead
from tests.sweeps import dealt, swept

ROOT = Path(__file__).parents[2]
GREEN = {"pass", "info"}


class Asked(NamedTuple):
    """A correct relay, which is asked for the whole suite or for the cases dealt to its setting."""

    setting: Setting
    whole: bool

    def __str__(self) -> str:
        return f"{'whole-' if self.whole else ''}{self.setting}"

    @property
    def cases(self) -> list[str]:
        """The cases, in the list's order."""
        if self.whole:
            return list(CASES)
        return [name for name in CASES if dealt(settings_of(None, name), name) == self.setting]


DEALT = [Asked(setting, whole=False) for setting in SETTINGS]
"Each case once, as every run of all tests judges it; the whole suite takes a minute in each setting."
CORRECT = swept([*DEALT, *(Asked(setting, whole=True) for setting in SETTINGS)], DEALT)
PROVING = {name: defect for name, defect in DEFECTS.items() if defect.suite}


def judge_correct(asked: Asked, folder: Path) -> Run:
    """A correct relay, with the cases that a profile leaves to those who name them."""
    named = [name for name in asked.cases if not asked.whole or catalog.CORE not in CASES[name].profiles]
    core = ("--profile", "core") if asked.whole else ()
    return judge(folder, None, asked.setting, *core, *_tests(named))


def judge_wrong(name: str, folder: Path) -> list[tuple[Setting, list[str], Run]]:
    """A relay with a defect, in settings that its name decides, with the cases that have to see it there."""
    suite = PROVING[name].suite
    by_setting: dict[Setting, list[str]] = {}
    for case in suite:
        there = settings_of(name, case)
        assert there, f"{case} can meet {name} nowhere"
        # Cases that see the same defect share a run of the command wherever they can.
        by_setting.setdefault(dealt(there, f"{name} {case}" if len(suite) == 1 else name), []).append(case)
    return [
        (setting, cases, judge(folder, name, setting, *_tests(cases)))
        for setting, cases in by_setting.items()
    ]


def _tests(names: Iterable[str]) -> list[str]:
    return [argument for name in names for argument in ("--test", name)]


correct_runs = runs_ahead("asked", judge_correct)
wrong_runs = runs_ahead("name", judge_wrong)


@pytest.mark.parametrize("asked", CORRECT)
def test_a_correct_relay_passes_every_case(correct_runs: Ahead[Asked, Run], asked: Asked) -> None:
    """In each draft; skipped is only what the draft or the transport lacks."""
    lacking = {name for name in asked.cases if asked.setting not in settings_of(None, name)}

    def right(run: Run) -> None:
        became = {name: outcome for name, outcome in outcomes(run).items() if name in CASES}
        assert {name for name, outcome in became.items() if outcome == "skip"} == lacking
        assert {name: what for name, what in became.items() if what not in GREEN | {"skip"}} == {}, run.stdout
        assert became.keys() == set(asked.cases)

    correct_runs.check(asked, right)


def test_an_ordinary_run_judges_every_case_on_a_correct_relay() -> None:
    """Once, and in each draft and over each transport some."""
    assert sorted(name for asked in DEALT for name in asked.cases) == sorted(CASES)
    assert all(asked.cases for asked in DEALT)


@pytest.mark.parametrize("name", PROVING)
def test_a_defect_turns_its_cases_red(
    wrong_runs: Ahead[str, list[tuple[Setting, list[str], Run]]], name: str
) -> None:
    """Each for the stated cause, in a draft and over a transport that the name decides."""
    suite = PROVING[name].suite

    def right(runs: list[tuple[Setting, list[str], Run]]) -> None:
        for setting, cases, run in runs:
            told = (setting, run.stdout, run.stderr)
            assert outcomes(run) == {case: suite[case] for case in cases}, told

    wrong_runs.check(name, right)


def test_every_case_has_a_defect_that_turns_it_red() -> None:
    """A case that nothing can fail is no evidence."""
    marks = [mark for defect in PROVING.values() for mark in defect.suite.items()]
    proven = {case for case, mark in marks if mark not in (INFO, PASS, SKIP)}

    assert sorted(CASES.keys() - proven) == []


def test_the_list_is_fresh() -> None:
    """`conformance.json` says what the tests say; `make catalogue` writes it anew."""
    script = (
        "from tests import conformance_list as made; import sys;"
        "rows = made.in_order(made.collected()); sys.exit(made.FILE.read_text() != made.text(rows))"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_the_page_of_defects_is_fresh() -> None:
    """docs/suite-defects.md says what the list says; `python -m tests.suite_defects_page` writes it."""
    assert suite_defects_page.PAGE.read_text(encoding="utf-8") == suite_defects_page.page()


def test_names_are_unique() -> None:
    """Over all suites, and none is a catalogue case's."""
    names = [case.identifier for case in catalog.known()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_case_is_described(case: catalog.Case) -> None:
    """By a level, a profile, sections of the drafts that it exists in, and a sentence."""
    from pytest_moqt.protocol.sections import section

    assert case.level.lower() in catalog.LEVELS
    assert case.profile in catalog.CHAPTERS
    assert case.summary.endswith(".")
    for draft in (setting.draft for setting in SETTINGS if exists_in(case, setting.draft)):
        assert any("#" in anchor or section(anchor, draft) for anchor in case.anchors), draft
