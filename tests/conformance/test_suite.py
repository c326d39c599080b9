"""The conformance suite: green on a correct relay, each case red on some that is not, and listed as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from suite_runs import CASES, SETTINGS, Setting, in_turn, judge, outcomes, settings_of

from pytest_moqt import catalog
from pytest_moqt.listing import exists_in
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.defects.chapter import INFO
from tests import suite_defects_page

ROOT = Path(__file__).parents[2]
GREEN = {"pass", "info"}
ORDINARY = {(14, "quic"), (18, "webtransport"), (22, "quic")}
"Where every run of all tests judges the correct relay; the others take a minute each."
CORRECT = [
    pytest.param(setting, marks=() if setting in ORDINARY else pytest.mark.thorough, id=str(setting))
    for setting in SETTINGS
]
PROVING = {name: defect for name, defect in DEFECTS.items() if defect.suite}


@pytest.mark.parametrize("setting", CORRECT)
def test_a_correct_relay_passes_every_case(tmp_path: Path, setting: Setting) -> None:
    """In each draft; skipped is only what the draft or the transport lacks."""
    run = judge(tmp_path, None, setting, "--profile", "core", *_optional())

    became = {name: outcome for name, outcome in outcomes(run).items() if name in CASES}
    lacking = {
        name
        for name, case in CASES.items()
        if not exists_in(case, setting.draft) or case.transport not in ("", setting.transport)
    }
    red = [name for name, outcome in became.items() if outcome not in GREEN | {"skip"}]
    if red:
        # A machine with too much to do makes any relay late: what was red has to be green alone.
        again = judge(tmp_path, None, setting, *(word for name in red for word in ("--test", name)))
        became |= outcomes(again)
    assert {name for name, outcome in became.items() if outcome == "skip"} == lacking
    assert {name: became[name] for name in red if became[name] not in GREEN} == {}, run.stdout
    assert became.keys() == CASES.keys()


def _optional() -> list[str]:
    return [argument for case in CASES.values() if case.optional for argument in ("--test", case.identifier)]


@pytest.mark.parametrize("name", PROVING)
def test_a_defect_turns_its_cases_red(tmp_path: Path, name: str) -> None:
    """Each for the stated cause, in a draft and over a transport that the name decides."""
    suite = PROVING[name].suite
    by_setting: dict[Setting, list[str]] = {}
    for case in suite:
        there = settings_of(name, case)
        assert there, f"{case} can meet {name} nowhere"
        by_setting.setdefault(in_turn([name, case] if len(suite) == 1 else [name], there), []).append(case)

    for setting, cases in by_setting.items():
        named = [argument for case in cases for argument in ("--test", case)]
        run = judge(tmp_path, name, setting, *named)

        assert outcomes(run) == {case: suite[case] for case in cases}, (setting, run.stdout, run.stderr)


def test_every_case_has_a_defect_that_turns_it_red() -> None:
    """A case that nothing can fail is no evidence."""
    proven = {case for defect in PROVING.values() for case, mark in defect.suite.items() if mark != INFO}

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
    assert case.profile in catalog.CATEGORIES
    assert case.summary.endswith(".")
    for draft in (setting.draft for setting in SETTINGS if exists_in(case, setting.draft)):
        assert any("#" in anchor or section(anchor, draft) for anchor in case.anchors), draft
