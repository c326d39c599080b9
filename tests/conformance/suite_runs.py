"""Relays of our own under the conformance suite: what becomes of its cases, and what has to."""

from __future__ import annotations

from pathlib import Path

from client_command import Run, fork_command
from settings import TRANSPORTS, Setting

from pytest_moqt import catalog
from pytest_moqt.listing import exists_in
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.embedded import EmbeddedRelay

JUDGED = (14, 16, 18, 20, 22)
"The drafts that most relays speak, in which the suite has to hold."
SECONDS = 300.0
"For a run of the whole suite, of which a third is waits, on a machine that has other things to do."
SOAK_SECONDS = "1"
"Of silence: more than the relays with defects need to make something of it."
CASES = {case.identifier: case for case in catalog.conformance()}


SETTINGS = [Setting(draft, transport) for draft in JUDGED for transport in TRANSPORTS]


def settings_of(defect: str | None, case: str) -> list[Setting]:
    """Where a case exists, and a defect too; None: in a correct relay."""
    row = CASES[case]
    return [
        setting
        for setting in SETTINGS
        if (defect is None or DEFECTS[defect].applies(*setting))
        and exists_in(row, setting.draft)
        and row.transport in ("", setting.transport)
    ]


def judge(folder: Path, defect: str | None, setting: Setting, *arguments: str) -> Run:
    """Run the command against a relay of our own."""
    with EmbeddedRelay(defect=defect) as relay:
        return fork_command(
            folder,
            *("--relay", relay.url(setting.transport).replace("127.0.0.1", "localhost")),
            *("--draft", str(setting.draft), "--ca-file", relay.ca_file, "--soak", SOAK_SECONDS),
            *arguments,
            limit=SECONDS,
        )


def outcomes(run: Run) -> dict[str, str]:
    """What became of each case: `pass`, `info`, `warn`, `skip`, or the cause of its failure."""
    return {
        point.name: "skip"
        if point.directive == "SKIP"
        else str(point.values.get("outcome", "pass"))
        if point.ok
        else str(point.values.get("cause"))
        for point in run.document.points
    }
