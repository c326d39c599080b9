"""The two commands as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pairs import HOST, Site

CHECKOUT = Path(__file__).parents[2]
SECONDS = 30.0


def command(role: str, *arguments: str) -> list[str]:
    """The console script of a role, without it being installed."""
    return _program(role, "", arguments)


PEAK = "peak resident memory in kB: "
"Behind the last line on standard error of a process that is measured."
_TELL = f"""\
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print({PEAK!r} + peak[0], end="", file=sys.stderr)"""
# What the system counts for a child begins with the memory of the process that started it.


def measured(role: str, *arguments: str) -> list[str]:
    """The same, but it tells at its end how much memory it had, where the system knows."""
    return _program(role, _TELL if Path("/proc/self/status").exists() else "", arguments)


def _program(role: str, last: str, arguments: tuple[str, ...]) -> list[str]:
    text = f"import sys\nfrom quic_interop.command import {role}\ncode = {role}()\n{last}\nsys.exit(code)"
    return [sys.executable, "-c", text, *arguments]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what a run reads, and with these."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name
        not in (
            "TESTCASE",
            "REQUESTS",
            "DOWNLOADS",
            "SSLKEYLOGFILE",
            "QLOGDIR",
            "PORT",
            "CERTS",
            "WWW",
            "ROLE",
        )
    }
    return {**ours, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", **variables}


@dataclass
class Result:
    """What a process left."""

    code: int
    out: str
    err: str
    peak_kilobytes: int = 0
    "Of resident memory."


def run(role: str, *arguments: str, **variables: str) -> Result:
    """Run a command to its end."""
    done = subprocess.run(
        command(role, *arguments),
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@dataclass
class RunningServer:
    """A server process that is ready."""

    process: subprocess.Popen[str]
    ready: str
    result: Result | None = None
    "Once it was stopped."

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.ready.split("port ")[1].split(",")[0].split(":")[0])

    def url(self, name: str) -> str:
        """Of a file."""
        return f"https://{HOST}:{self.port}/{name}"


@contextmanager
def serving(site: Site, case: str, **variables: str) -> Iterator[RunningServer]:
    """A server process, stopped by SIGTERM as the runner does it."""
    settings = {"TESTCASE": case, "PORT": "0", "CERTS": str(site.certs), "WWW": str(site.www), **variables}
    process = subprocess.Popen(
        measured("server", "--host", HOST),
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        running = RunningServer(process, process.stdout.readline())
        assert running.ready, process.stderr.read()
        yield running
    finally:
        process.terminate()
        running.result = _waited(process)


def fetch(site: Site, case: str, *urls: str, **variables: str) -> Result:
    """Run a client process to its end, and see how much memory it took."""
    settings = {"TESTCASE": case, "REQUESTS": " ".join(urls), "DOWNLOADS": str(site.downloads), **variables}
    process = subprocess.Popen(
        measured("client"),
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return _waited(process)


def _waited(process: subprocess.Popen[str]) -> Result:
    # To the end of its output first, which is short; then to its end.
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        out, err = process.stdout.read(), process.stderr.read()
    process.wait()
    said, known, peak = err.rpartition(PEAK)
    return Result(process.returncode, out, said, int(peak)) if known else Result(process.returncode, out, err)
