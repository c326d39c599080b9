"""The outcomes of a run as JSON: for programs that want more than TAP can say."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

OUTCOMES = ("pass", "info", "warn", "skip", "fail")
"""Of a case, from the best to the worst. `info`: it took one of the ways that the draft allows; `warn`: it
missed a SHOULD, or did the right thing with another code."""

KEPT = (
    *("level", "profile", "skip", "message", "cause", "expected", "received", "spec", "spec_url", "warnings"),
    *("observed", "measured", "duration_ms"),
)
"What is taken over from a point's diagnostics."


def entry(name: str, outcome: str, values: Mapping[str, Any], directive: str, reason: str) -> dict[str, Any]:
    """What the document says of one case.

    Args:
        name: Its identifier, or the id of a test that has none.
        outcome: One of OUTCOMES.
        values: The point's diagnostics.
        directive: `SKIP`, `TODO` or empty.
        reason: Of the directive.
    """
    said: dict[str, Any] = {"case": name, "outcome": outcome}
    if directive == "TODO":
        said["expected_failure"] = reason
        said["as_expected"] = outcome == "fail"
    elif directive:
        said["reason"] = reason
    return said | {key: values[key] for key in KEPT if values.get(key) not in (None, "", [], {})}


def totals(outcomes: Sequence[str]) -> dict[str, int]:
    """How many cases have each outcome, of those that any has."""
    counted = Counter(outcomes)
    return {outcome: counted[outcome] for outcome in OUTCOMES if counted[outcome]}


def write(path: str, head: Mapping[str, Any], cases: Sequence[Mapping[str, Any]], *, ended: bool) -> None:
    """Write the document, whole or not at all.

    Args:
        path: Where to.
        head: What the run was about: relay, draft, transport, version.
        cases: Of each case what `entry` says.
        ended: Whether every planned case is in it.

    Raises:
        OSError: It cannot be written.
    """
    document = {
        **head,
        "complete": ended,
        "totals": totals([str(case["outcome"]) for case in cases]),
        "cases": list(cases),
    }
    beside = f"{path}.part"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, default=str)
        file.write("\n")
    os.replace(beside, path)
