"""The conformance suite against relays nobody here wrote: what becomes of each case is known, and examined.

`expected/RELAY.json` has the outcome of every case that does not pass, by draft and transport; each red or
amber one is explained in docs/findings/. Where runs differ it has several, with `|` between.
`MOQT_WRITE_EXPECTED=1` adds what comes of a run to the files instead of comparing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conftest import NAMES, Starter
from pytest_moqt import catalog
from pytest_moqt.listing import exists_in

EXPECTED = Path(__file__).parent / "expected"
ORDINARY = {("aiomoqt", 18, "quic")}
"Of which every run of all tests makes sure; the others take half an hour."
AT_A_TIME = "3"
"Cases, which wait for most of their time."
SECONDS = 400.0
"For a run: a relay that stays silent makes many cases wait."

SETTINGS = [
    pytest.param(
        *(name, draft, transport),
        marks=() if (name, draft, transport) in ORDINARY else pytest.mark.thorough,
        id=f"{name}-{draft}-{transport}",
    )
    for name in NAMES
    for draft in (14, 16, 18, 20, 22)
    for transport in ("quic", "webtransport")
]


def known(name: str) -> dict[str, dict[str, str]]:
    """What is expected of a relay."""
    path = EXPECTED / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def note(name: str, setting: str, came: dict[str, str]) -> None:
    """Add what came of a run to what is expected."""
    everything = known(name)
    before = everything.get(setting)
    if before is not None:
        for case in before.keys() | came.keys():
            said = {*before.get(case, "pass").split("|"), came.get(case, "pass")}
            came[case] = "|".join(sorted(said))
    everything[setting] = dict(sorted(came.items()))
    text = json.dumps(dict(sorted(everything.items())), indent=1)
    (EXPECTED / f"{name}.json").write_text(text + "\n")


@pytest.mark.parametrize(("name", "draft", "transport"), SETTINGS)
def test_the_suite(starter: Starter, tmp_path: Path, name: str, draft: int, transport: str) -> None:
    """Every case has the outcome that it had when it was examined."""
    setting = f"{draft}-{transport}"
    expected = known(name).get(setting)
    writing = bool(os.environ.get("MOQT_WRITE_EXPECTED"))
    if expected is None and not writing:
        pytest.skip(f"nobody has written down what becomes of the cases on {name} in {setting}")
    path = tmp_path / "results.json"
    profiles = [argument for category in catalog.CATEGORIES for argument in ("--profile", category)]
    with starter(name) as peer:
        run = peer.judge(
            *("--relay", peer.url(transport), "--draft", str(draft), "--results", str(path)),
            *("-n", AT_A_TIME, *profiles),
            seconds=SECONDS,
        )

    document = json.loads(path.read_text())
    came = {
        entry["case"]: entry.get("cause", "fail") if entry["outcome"] == "fail" else entry["outcome"]
        for entry in document["cases"]
    }
    assert document["complete"], run.stderr
    asked = [case for case in catalog.conformance() if case.profile in catalog.CATEGORIES]
    assert came.keys() == {case.identifier for case in asked}
    lacking = {case.identifier for case in asked if not exists_in(case, draft)}
    others = {case: outcome for case, outcome in came.items() if outcome != "pass" and case not in lacking}
    if writing:
        note(name, setting, others)
        return
    assert expected is not None
    surprises = {
        case: f"{outcome}, not {expected.get(case, 'pass')}"
        for case, outcome in came.items()
        if case not in lacking and outcome not in expected.get(case, "pass").split("|")
    }
    assert surprises == {}
