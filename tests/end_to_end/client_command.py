"""Runs of the command: a process of its own, in an empty folder, judged by its output and exit code.

`run_command` starts it as a user does. `fork_command` does the same from a process that has imported
everything already, for tests that need hundreds of runs: three quarters of a run's work are its imports.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from strict_tap import Document, read

from pytest_moqt import catalog

RUN_SECONDS = 60.0
_OURS = ("RELAY_URL", "TESTCASE", "TLS_DISABLE_VERIFY", "VERBOSE", "MOQT_DRAFT", "DRAFT", "MOQT_VERSIONS")


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
    clean = {name: value for name, value in os.environ.items() if name not in _OURS}
    done = subprocess.run(
        [sys.executable, "-m", "pytest_moqt.cli", *arguments],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"Bytes in which getrusage counts."

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["pytest", "pytest_asyncio.plugin", "yaml", "pytest_moqt.client.webtransport", "pytest_moqt.target"]
)


def _run_forked(
    folder: str, arguments: tuple[str, ...], output: str, errors: str, more: tuple[catalog.Case, ...]
) -> None:
    for descriptor, path in ((1, output), (2, errors)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
    for name in _OURS:
        os.environ.pop(name, None)
    os.chdir(folder)
    catalog.CATALOG += more
    catalog.IDENTIFIERS += tuple(case.identifier for case in more)
    from pytest_moqt.cli import main

    code = main(arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    # The pool of processes now and then loses an exit code (it then says 255); a file does not.
    Path("code").write_text(f"{code} {peak}")
    os._exit(code)


def fork_command(folder: Path, *arguments: str, more: tuple[catalog.Case, ...] = ()) -> Run:
    """Run `moq-test-client` in a new folder below `folder`, in a process that imports nothing.

    Args:
        folder: Where its own folder is made.
        arguments: Of the command.
        more: Cases that it has beside those of the catalogue.
    """
    own = Path(tempfile.mkdtemp(dir=folder))
    output, errors = own / "stdout", own / "stderr"
    process = _forks.Process(target=_run_forked, args=(str(own), arguments, str(output), str(errors), more))
    began = time.monotonic()
    process.start()
    process.join(RUN_SECONDS)
    seconds = time.monotonic() - began
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{arguments} did not end within {RUN_SECONDS:g} s")
    code = own / "code"
    if not code.exists():
        raise RuntimeError(f"{arguments} died with {process.exitcode}: {errors.read_text()}")
    number, peak = map(int, code.read_text().split())
    # Not `read_text`, which would take a carriage return for the end of a line.
    return Run(number, output.read_bytes().decode(), errors.read_bytes().decode(), peak, seconds)
