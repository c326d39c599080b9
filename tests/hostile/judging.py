"""Judges hostile relays with the command, and says what every run of it must have survived.

Rules:

- A relay is hostile to its first session and a correct one afterwards: the first case meets the harm, the
  second shows that nothing of it is left.
- A run is judged whole: verdict and cause, time, memory, the document as a strict reader and as the
  interop runner's counting see it, with and without the prefix of docker compose, and the exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client_command import Run, fork_command
from strict_tap import prefixed, runner_count

from pytest_moqt import catalog
from pytest_moqt.limits import CONNECT_SECONDS

OVERTIME_SECONDS = 1.0
"What a case may take beyond its limit."
START_SECONDS = 8.0
"For the process beside its cases, on a machine that does other things too."
MAX_PEAK = 256 * 1024 * 1024
"Bytes that a run may have resident."

SETUP_FIRST = ("setup-only", "announce-only")
"The cases for relays that do harm before any request, or beside it."
REQUEST_FIRST = ("announce-only", "subscribe-error")
"The cases for relays that do harm about a request."


def judge(
    url: str,
    ca_file: str,
    folder: Path,
    cases: Sequence[str] = SETUP_FIRST,
    draft: int = 18,
    *extra: str,
) -> Run:
    """Judge the relay at `url` by these cases, in the catalogue's order."""
    return fork_command(
        folder,
        *("--relay", url.replace("127.0.0.1", "localhost"), "--ca-file", ca_file),
        *("--draft", str(draft), *(part for case in cases for part in ("--test", case)), *extra),
    )


def limit_of(case: str) -> float:
    """The seconds that a case may take, connecting included."""
    row = next(row for row in catalog.CATALOG if row.identifier == case)
    return row.seconds + (CONNECT_SECONDS if row.after_sending else 0.0)


def assert_survived(
    run: Run,
    cases: Sequence[str] = SETUP_FIRST,
    cause: str | None = None,
    *,
    bail_out: bool = False,
) -> None:
    """The first case has its verdict, the others are unharmed, and nothing else went wrong.

    Args:
        run: The run.
        cases: What was judged.
        cause: Of the first case's failure; None: the relay may do that, and the case passes.
        bail_out: The relay cannot be reached at all: after the first case the run ends with a bail-out.
    """
    shown = run.stdout + run.stderr
    document = run.document
    ran = cases[:1] if bail_out else cases
    assert [point.name for point in document.points] == list(ran), shown
    assert document.plan == len(cases), shown
    assert (document.bail_out is not None) == bail_out, shown

    first, *rest = document.points
    assert (first.ok, first.values.get("cause")) == (cause is None, cause), shown
    assert all(point.ok and not point.directive for point in rest), shown
    assert run.code == (0 if cause is None else 1), shown

    passed = sum(point.ok for point in document.points)
    counts = (passed, len(ran) - passed, 0)
    assert runner_count(run.stdout) == counts, shown
    assert runner_count(prefixed(run.stdout)) == counts, shown
    # One log takes both streams, in whatever order.
    assert runner_count(run.stdout + run.stderr) == counts, shown
    assert runner_count(prefixed(run.stderr)) == (0, 0, 0), shown

    assert all(line.isprintable() for line in run.stderr.split("\n")), shown
    for point in document.points:
        assert point.values["duration_ms"] <= (limit_of(point.name) + OVERTIME_SECONDS) * 1000, shown
    assert run.seconds <= sum(limit_of(case) + OVERTIME_SECONDS for case in ran) + START_SECONDS, shown
    assert 0 < run.peak < MAX_PEAK, shown
