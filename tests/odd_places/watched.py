"""A run under test that is watched while it goes on, by what it writes and by what the kernel knows of it.

Nothing sleeps for a time that was guessed: what is waited for is looked for again and again, to a deadline.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from toys import CHECKOUT, Result, environment

ENTRYPOINT = [sys.executable, str(CHECKOUT / "entrypoint.py")]
SECONDS = 60.0
"For a run, and for anything that is waited for."
LOOK_AGAIN = 0.01


def wait_for(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait until this is so; returns what it came to."""
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(LOOK_AGAIN)
    return met


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, tasks.read_text().split())
        except OSError:
            # The thread ended meanwhile.
            continue
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def owner_of_port(port: int, candidates: list[int]) -> int | None:
    """Which of these processes has a UDP socket with this local port."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/udp6").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if int(row[1].rpartition(":")[2], 16) == port}
    for pid in candidates:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                if os.readlink(link) in sockets:
                    return pid
            except OSError:
                # Closed meanwhile.
                continue
    return None


class Watched:
    """A run, in a session of its own, so that a whole group of processes can be signalled."""

    def __init__(
        self,
        command: list[str],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        ignoring: signal.Signals | None = None,
    ) -> None:
        def prepare() -> None:
            if ignoring is not None:
                signal.signal(ignoring, signal.SIG_IGN)

        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=prepare,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout = self.process.stdout
        self.stderr = self.process.stderr
        self._seen = b""

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self.process.pid

    def read_until(self, text: str) -> None:
        """Read its standard output up to this text."""
        deadline = time.monotonic() + SECONDS
        while text.encode() not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, self._seen
            if select.select([self.stdout], [], [], left)[0]:
                piece = os.read(self.stdout.fileno(), 65536)
                assert piece, f"it ended without {text!r}: {self._seen!r}"
                self._seen += piece

    def wait_for_file(self, path: Path) -> None:
        """Wait until the run made a file."""
        wait_for(lambda: path.exists() or self.process.poll() is not None, f"{path.name} is there")
        assert path.exists(), f"the run ended with {self.process.poll()} before"

    def send(self, number: signal.Signals) -> None:
        """Signal the main process."""
        self.process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """Signal the whole group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def result(self, seconds: float = SECONDS) -> Result:
        """Wait for the end of the main process, then for what it wrote."""
        self.process.wait(seconds)
        stdout, stderr = self.process.communicate(timeout=SECONDS)
        return Result(self.process.returncode, (self._seen + stdout).decode(), stderr.decode())

    def __enter__(self) -> Watched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            # What it started is in its group; nothing else is.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
