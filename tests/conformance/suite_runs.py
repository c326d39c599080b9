"""Relays of our own under the conformance suite: what becomes of its cases, and what has to."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from client_command import Run, fork_command

from pytest_moqt import catalog
from pytest_moqt.listing import exists_in
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.embedded import EmbeddedRelay

JUDGED = (14, 16, 18, 20, 22)
"The drafts that most relays speak, in which the suite has to hold."
TRANSPORTS = ("quic", "webtransport")
SECONDS = 300.0
"For a run of the whole suite, of which a third is waits, on a machine that has other things to do."
CASES = {case.identifier: case for case in catalog.conformance()}


class Setting(NamedTuple):
    """A draft over a transport."""

    draft: int
    transport: str

    def __str__(self) -> str:
        return f"{self.draft}-{self.transport}"


SETTINGS = [Setting(draft, transport) for draft in JUDGED for transport in TRANSPORTS]


def settings_of(defect: str, case: str) -> list[Setting]:
    """Where a defect exists, and the case too."""
    row = CASES[case]
    return [
        setting
        for setting in SETTINGS
        if DEFECTS[defect].applies(*setting)
        and exists_in(row, setting.draft)
        and row.transport in ("", setting.transport)
    ]


def in_turn(names: Iterable[str], settings: list[Setting]) -> Setting:
    """One of them, another for others' names, and always the same."""
    return settings[zlib.crc32(" ".join(names).encode()) % len(settings)]


def judge(folder: Path, defect: str | None, setting: Setting, *arguments: str) -> Run:
    """Run the command against a relay of our own."""
    with EmbeddedRelay(defect=defect) as relay:
        return fork_command(
            folder,
            *("--relay", relay.url(setting.transport).replace("127.0.0.1", "localhost")),
            *("--draft", str(setting.draft), "--ca-file", relay.ca_file),
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
