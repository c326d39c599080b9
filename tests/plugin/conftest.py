"""Toy projects, in which pytest runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from strict_tap import Document, prefixed, read, runner_count

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
URL = "moqt://relay.example:4443"
SECONDS = 60.0
"For one run; a toy project takes about one."


@dataclass
class Result:
    """What a run left."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Document:
        """The TAP document, after checking that the runner counts the same in it as a TAP reader."""
        document = read(self.stdout)
        skipped = sum(point.directive == "SKIP" for point in document.points)
        failed = sum(not point.ok and point.directive != "TODO" for point in document.points)
        counted = (len(document.points) - skipped - failed, failed, skipped)
        assert runner_count(self.stdout) == counted
        if not any(point.children for point in document.points):
            assert runner_count(prefixed(self.stdout)) == counted
        return document


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what steers pytest or the client, and with the toys' modules in reach."""
    steering = ("PYTEST_", "MOQT_", "TLS_", "RELAY_", "FAKE_")
    named = {"DRAFT", "TESTCASE", "VERBOSE", "SSL_CERT_FILE", "PYTHONPATH"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(steering) and name not in named
    }
    kept["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), str(HERE)])
    return {**kept, **(given or {})}


def run(
    command: list[str], cwd: Path, env: Mapping[str, str] | None = None, *, clean_env: bool = True
) -> Result:
    """Run a command to its end."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(env) if clean_env else dict(env or {}),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


class Project:
    """A directory with toy tests, whose relay is the fake one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("conftest.py", "import fake_session\n\nfake_session.install()\n")

    def write(self, name: str, text: str) -> None:
        """Write a file; a test module gets the usual imports."""
        imports = "import asyncio, os, sys, time\nimport pytest\n" if name.startswith("test_") else ""
        self.path.joinpath(name).write_text(imports + textwrap.dedent(text))

    def command(self, *arguments: str) -> list[str]:
        """Pytest with the plugin; given by name, as the package need not be installed."""
        return [sys.executable, "-m", "pytest", "-p", "pytest_moqt.plugin", *arguments]

    def pytest(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run pytest."""
        return run(self.command(*arguments), self.path, env)

    def tap(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run pytest against the fake relay, with the TAP report."""
        return self.pytest("--relay", URL, "--tap14", *arguments, env=env)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty toy project."""
    return Project(tmp_path)
