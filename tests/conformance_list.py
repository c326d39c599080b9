"""`pytest_moqt/conformance.json` from what pytest collects: `python -m tests.conformance_list` writes it.

The tests say what there is to say of a case; the file has it for those who may not import pytest. A case is a
line, so that a change shows as one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_moqt import catalog
from pytest_moqt.plugin import CASE

ROOT = Path(__file__).parents[1]
FILE = ROOT / "pytest_moqt" / "conformance.json"
FOLDER = ROOT / "interop_tests" / catalog.CONFORMANCE


class _Collected:
    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = session.items


def collected() -> list[pytest.Item]:
    """The tests of the conformance suite, as pytest collects them."""
    plugin = _Collected()
    # Our modules are imported already, so their assertions stay as they are; nothing is run.
    arguments = [
        "--collect-only",
        "-qq",
        "-W",
        "ignore",
        "-p",
        "pytest_moqt.plugin",
        "-p",
        "no:cacheprovider",
        "--profile",
        f"{catalog.ALL},{catalog.SOAK}",
    ]
    code = pytest.main(["-c", str(ROOT / "pyproject.toml"), *arguments, str(FOLDER)], plugins=[plugin])
    if code != pytest.ExitCode.OK:
        raise SystemExit(f"pytest ended with {code}: see above")
    return plugin.items


def row(item: pytest.Item) -> dict[str, Any]:
    """What the file says of a test."""
    case = item.stash[CASE].known
    entry: dict[str, Any] = {
        "identifier": case.identifier,
        "profile": case.profile,
        "level": case.level,
        "seconds": case.seconds,
        "since": case.since,
        "until": case.until,
        "optional": case.optional,
        "transport": case.transport,
        "revision": case.revision,
        "anchors": list(case.anchors),
        "module": f"{catalog.CONFORMANCE}/{item.path.stem}",
        "function": case.function,
        "summary": case.summary,
    }
    usual = {"since": 0, "until": 0, "optional": False, "transport": "", "revision": 1}
    return {key: value for key, value in entry.items() if key not in usual or value != usual[key]}


def in_order(items: list[pytest.Item]) -> list[dict[str, Any]]:
    """All rows in the order in which the cases run: by profile, then as they stand in their modules."""
    # Whatever order the file that is to be replaced gave them.
    items = sorted(items, key=lambda item: (str(item.path), item.function.__code__.co_firstlineno))  # type: ignore[attr-defined]
    return sorted(map(row, items), key=lambda entry: catalog.CHAPTERS.index(entry["profile"]))


def text(rows: list[dict[str, Any]]) -> str:
    """The file."""
    return "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in rows) + "\n]\n"


if __name__ == "__main__":
    found = in_order(collected())
    FILE.write_text(text(found), encoding="utf-8")
    sys.stdout.write(f"{len(found)} cases in {FILE.relative_to(ROOT)}\n")
