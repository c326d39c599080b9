"""The entry point of the image, the manifest and the documentation agree with the program."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from commands import CHECKOUT

from quic_interop.cases import CASES

ENTRY_POINT = CHECKOUT / "interop" / "run_endpoint.sh"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with stand-ins for the two commands, which say how they were called."""
    for role in ("client", "server"):
        program = tmp_path / f"quic-interop-{role}"
        program.write_text(f'#!/bin/sh\necho "{role} $*"\n[ "$TESTCASE" = known ] || exit 127\n')
        program.chmod(0o755)
    return tmp_path


def _enter(programs: Path, **variables: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        ["sh", str(ENTRY_POINT)],
        env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_entry_point_asks_for_the_name_before_it_begins(programs: Path, role: str) -> None:
    """An unknown name ends it with 127 before the network is touched."""
    if any(Path(script).exists() for script in ("/setup.sh", "/wait-for-it.sh")):
        pytest.skip("this is a machine of the runner, whose network would be set up")

    assert _enter(programs, ROLE=role, TESTCASE="unknown") == (127, [f"{role} --check"])
    assert _enter(programs, ROLE=role, TESTCASE="known") == (0, [f"{role} --check", f"{role} "])


@pytest.mark.parametrize("variables", [{}, {"ROLE": "sim"}])
def test_the_entry_point_needs_a_role(programs: Path, variables: dict[str, str]) -> None:
    """It is one image for both."""
    assert _enter(programs, TESTCASE="known", **variables) == (1, [])


def test_the_manifest_is_an_entry_of_the_runner() -> None:
    """Image, address and role are what the runner reads."""
    (entry,) = json.loads((CHECKOUT / "interop" / "manifest.json").read_text()).values()

    assert entry.keys() == {"image", "url", "role"}
    assert entry["role"] == "both"


def test_the_documentation_has_every_case() -> None:
    """A row each, in the order of the table in the program."""
    text = (CHECKOUT / "docs" / "quic-interop.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `([a-z0-9]+)` \| ✓|^\| `(connectionmigration)` \|", text, re.MULTILINE) == [
        ("", name) if name == "connectionmigration" else (name, "") for name in CASES
    ]
