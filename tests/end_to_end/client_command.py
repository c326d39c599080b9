"""Runs of the command: a process of its own, in an empty folder, judged by its output and exit code.

`run_command` starts it as a user does. `fork_command` does the same from a process that has imported
everything already, for tests that need hundreds of runs: three quarters of a run's work are its imports.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from forks import fork
from strict_tap import Document, read

RUN_SECONDS = 60.0
_OURS = ("RELAY_URL", "TESTCASE", "TLS_DISABLE_VERIFY", "VERBOSE", "MOQT_DRAFT", "DRAFT", "MOQT_VERSIONS")


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OURS}


@dataclass
class Run:
    """What a run of the command left."""

    code: int
    stdout: str
    stderr: str
    peak: int = 0
    "The most memory that its process had resident, in bytes; known of forked ones."
    seconds: float = 0.0
    "From its start to its end, by a clock on the wall; known of forked ones."

    @property
    def document(self) -> Document:
        """Its TAP, read strictly."""
        return read(self.stdout)


def run_command(folder: Path, *arguments: str, **environment: str) -> Run:
    """Run `moq-test-client` in a folder, with no variable of ours but those given."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest_moqt.cli", *arguments],
        cwd=folder,
        env={**_clean(), **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def _client(arguments: tuple[str, ...]) -> int:
    from pytest_moqt.cli import main

    return main(arguments)


def fork_command(folder: Path, *arguments: str, limit: float = RUN_SECONDS) -> Run:
    """Run `moq-test-client` in a new folder below `folder`, in a process that imports nothing.

    Args:
        folder: Where its own folder is made.
        arguments: Of the command.
        limit: Seconds that it may take.
    """
    own = Path(tempfile.mkdtemp(dir=folder))
    done = fork(_client, arguments, cwd=own, env=_clean(), limit=limit)
    # Not as text, which would take a carriage return for the end of a line.
    return Run(done.code, done.stdout.decode(), done.stderr.decode(), done.peak, done.seconds)
