"""The outcomes of a run as JSON: for programs that want more than TAP can say.

Rules:

- It says what the TAP document says, point for point: it is written when that ends, whatever ended it.
- A file of an earlier run is removed when a run begins: what is there afterwards is of this run, or nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pytest_moqt import catalog
from pytest_moqt.options import OptionError

OUTCOMES = ("pass", "info", "warn", "skip", "fail")
"""Of a case, from the best to the worst. `info`: it took one of the ways that the draft allows; `warn`: it
missed a SHOULD, or did the right thing with another code."""

KEPT = (
    *("level", "profile", "skip", "message", "cause", "expected", "received", "spec", "spec_url", "warnings"),
    *("observed", "measured", "duration_ms"),
)
"What is taken over from a point's diagnostics."


def entry(
    name: str, ok: bool, directive: str = "", reason: str = "", values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the file says of one point.

    Args:
        name: Its description: a case's identifier, or the id of a test that has none.
        ok: Its status as written; a failing TODO's is False.
        directive: `SKIP`, `TODO` or empty.
        reason: Of the directive.
        values: Its diagnostics.
    """
    values = values or {}
    outcome = str(values.get("outcome") or ("fail" if not ok else "skip" if directive == "SKIP" else "pass"))
    said: dict[str, Any] = {"case": name, "outcome": outcome}
    if directive == "TODO":
        said["expected_failure"] = reason
        said["as_expected"] = outcome == "fail"
    elif directive:
        said["reason"] = reason
    return said | {key: values[key] for key in KEPT if values.get(key) not in (None, "", [], {})}


def _in_full(said: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with level and profile also of a case that the run did not come to."""
    case = None if "level" in said else catalog.find(str(said["case"]))
    return {**said, **({} if case is None else {"level": case.level, "profile": case.profile})}


def totals(outcomes: Sequence[str]) -> dict[str, int]:
    """How many cases have each outcome, of those that any has."""
    counted = Counter(outcomes)
    return {outcome: counted[outcome] for outcome in OUTCOMES if counted[outcome]}


def usable(name: str, given: str) -> str:
    """The absolute path of a file that is to be written, behind a link that of the file it names.

    Args:
        name: The option.
        given: Its value.

    Raises:
        OptionError: Something is there that is no regular file, which would be replaced.
    """
    path = os.path.realpath(given)
    if os.path.exists(path) and not os.path.isfile(path):
        raise OptionError(f"{name} is {given!r}, which is there and is no regular file: use another path")
    return path


class ResultsFile:
    """Where the outcomes go.

    Attributes:
        given: The path, as it was asked for.
        head: What the run is about: client, relay, draft, transport; may change until it is written.
        problem: Why it could not be written, if so.
    """

    def __init__(self, given: str, head: Mapping[str, Any]) -> None:
        """A run begins.

        Raises:
            OptionError: The path cannot be used.
        """
        self.given = given
        self.head = dict(head)
        self.problem: OSError | None = None
        self._path = usable("--results", given)
        with suppress(OSError):  # Not there, or it cannot be replaced either, which is told at the end.
            os.unlink(self._path)

    def write(self, cases: Iterable[Mapping[str, Any]], *, complete: bool) -> None:
        """Write the file, whole or not at all; `problem` says why it could not be.

        Args:
            cases: Of each point what `entry` says, in plan order.
            complete: Whether every planned point is among them, and the run was not broken off.
        """
        import json

        entries = [_in_full(case) for case in cases]
        document = {
            **self.head,
            "complete": complete,
            "totals": totals([str(case["outcome"]) for case in entries]),
            "cases": entries,
        }
        beside = f"{self._path}.part"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1, default=str)
                file.write("\n")
            os.replace(beside, self._path)
        except OSError as error:
            error.filename = self.given
            self.problem = error
