"""Toy projects in which pytest runs in a process of its own, and runs of the command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forks import fork, python_m_pytest
from strict_tap import Document, prefixed, read, runner_count

from pytest_moqt.protocol.drafts import SUPPORTED

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
URL = "moqt://relay.example:4443"
NEWEST = SUPPORTED[0]
"The draft that the fake relay chooses unless told otherwise."
SECONDS = 60.0
"For one run; a toy project takes about one."
INTERPRETERS = ("PYTHON", "LANG", "LC_")
"How variables begin that an interpreter reads at its start."


class Background:
    """A run that a test watches while it goes on."""

    def __init__(self, command: list[str], cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout = self.process.stdout
        self.stderr = self.process.stderr

    def wait_for(self, path: Path) -> None:
        """Wait until the run has made a file."""
        deadline = time.monotonic() + SECONDS
        while not path.exists():
            assert self.process.poll() is None, "the run ended before"
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def end_workers(self) -> None:
        """End those that outlive the process for a time; they would hold its pipes that long."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def result(self) -> Result:
        """Wait for the end."""
        stdout, stderr = self.process.communicate(timeout=SECONDS)
        return Result(self.process.returncode, stdout.decode(), stderr.decode())

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


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
    # Under CI pytest prints whole messages of several lines, which ours never are.
    named = {"CI", "DRAFT", "TESTCASE", "VERBOSE", "SSL_CERT_FILE", "PYTHONPATH"}
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
        """Pytest with the plugin; given by name, as the package need not be installed.

        Without that of Hypothesis, which takes a fifth of such a run's time to say nothing.
        """
        plugins = ("-p", "pytest_moqt.plugin", "-p", "no:hypothesispytest")
        return [sys.executable, "-m", "pytest", *plugins, *arguments]

    def background(self, *arguments: str) -> Background:
        """Start pytest."""
        return Background(self.command(*arguments), self.path)

    def pytest(self, *arguments: str, env: Mapping[str, str] | None = None, fresh: bool = False) -> Result:
        """Run pytest.

        Args:
            arguments: Of pytest.
            env: What its environment has beside the usual.
            fresh: In an interpreter that has imported nothing. So it is, too, with what interpreters read.
        """
        command = self.command(*arguments)
        if fresh or any(name.startswith(INTERPRETERS) for name in env or ()):
            return run(command, self.path, env)
        done = fork(python_m_pytest, command[3:], cwd=self.path, env=environment(env))
        return Result(done.code, done.stdout.decode(), done.stderr.decode())

    def tap(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run pytest against the fake relay, with the TAP report."""
        return self.pytest("--relay", URL, "--tap14", *arguments, env=env)
