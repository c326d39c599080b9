"""Runs targets on inputs, holds each run to its bounds, keeps what was new, and makes a finding small.

Rules:

- A target is a function from bytes that raises nothing when all is well. Whatever it raises is a finding,
  and so is a run above the bounds of time or memory.
- A target's inputs depend on the seed and its own name alone, not on the clock and not on other targets:
  the same seed gives the same inputs, however far a run gets.
- What a target returns says what its run was like. An input that was like none before is kept, and later
  inputs are made of it: the fuzzer finds its way into a target without looking at its code.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from tests.fuzz.mutation import mutate

SLOW_SECONDS = 1.0
"Of this process's own time, for one input; most take a thousandth."
MEMORY_BYTES = 16 * 1024 * 1024
"For one input of a few thousand bytes, at the peak."
POOL = 3000
"Inputs kept of one target."
MINIMISE_RUNS = 3000
MINIMISE_SECONDS = 20.0
"To make one finding small; a slow one takes a second for each try."

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Slow(BaseException):
    """A run took too long; no `except Exception` of what is run may swallow it."""


class TooMuchMemory(Exception):
    """A run had more memory at its peak than it may."""


Run = Callable[[bytes], Hashable]


@dataclass(frozen=True)
class Target:
    """What is fuzzed."""

    name: str
    what: str
    "One line, for `--help`."
    run: Run
    words: tuple[bytes, ...] = ()
    "Bytes that mean something to it."
    repair: Callable[[bytes, random.Random], bytes] | None = None
    "Makes lengths fit again, so that a mutation reaches what is behind them."
    size: int = 2048
    "Bytes of an input, at most."


@dataclass(frozen=True)
class Finding:
    """An input on which a target did what it may not."""

    target: str
    octets: bytes
    error: str
    "The exception, as its last line in a traceback."
    trace: str
    place: tuple[str, str, int]
    "Exception, file and line: what makes two findings the same."
    found_as: int = 0
    "Bytes of the input before it was made small."
    number: int = 0
    "Which input of its target it was; 0 is the corpus."

    @property
    def command(self) -> str:
        """What runs it again."""
        return f"python -m tests.fuzz --target {self.target} --input {self.octets.hex() or '-'}"

    def report(self, seed: int) -> str:
        """All that is to be said of it."""
        lines = [
            f"FOUND in {self.target}: {self.error}",
            f"seed {seed}, input number {self.number}, {len(self.octets)} bytes (found with {self.found_as})",
            f"input: {self.octets.hex() or '-'}",
            self.trace.rstrip(),
            f"again: {self.command}",
        ]
        return "\n".join(lines) + "\n"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `Slow` in the body when it has computed for so long; waits and other processes do not count."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise Slow(f"more than {seconds:g} s for one input")

    before = signal.signal(signal.SIGPROF, late)
    # Again and again, in case the first is lost in a destructor.
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def _measured(run: Run, octets: bytes) -> Hashable:
    """Run with every allocation counted, which takes several times as long.

    Raises:
        TooMuchMemory: There was more at once than a run may have.
    """
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        outcome = run(octets)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak - before > MEMORY_BYTES:
        raise TooMuchMemory(f"{peak - before} bytes at once, at most {MEMORY_BYTES} are allowed")
    return outcome


def _place(error: BaseException) -> tuple[str, str, int]:
    """Where it was raised; a slow run may be stopped anywhere, so there only its kind counts."""
    name = type(error).__name__
    if isinstance(error, Slow | TooMuchMemory | RecursionError):
        return name, "", 0
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return name, "", 0
    return name, Path(last.tb_frame.f_code.co_filename).name, last.tb_lineno


class Fuzzer:
    """One target, fuzzed step by step."""

    def __init__(self, target: Target, seed: int, corpus: Sequence[bytes]) -> None:
        self.target = target
        self.count = 0
        "Inputs made and run."
        self._random = random.Random(f"{seed}/{target.name}")
        self._corpus = [*corpus]
        self._pool = [*corpus] or [b""]
        self._known: set[Hashable] = set()

    @property
    def kinds(self) -> int:
        """How many different things its runs have been."""
        return len(self._known)

    def replay(self) -> Finding | None:
        """Run the corpus."""
        for octets in self._corpus:
            if (finding := self._caught(octets)) is not None:
                return self._minimised(finding)
        return None

    def step(self) -> Finding | None:
        """Make an input and run it."""
        self.count += 1
        chance = self._random
        octets = mutate(chance, chance.choice(self._pool), chance.choice(self._pool), self.target.words)
        octets = octets[: self.target.size]
        if self.target.repair is not None and chance.random() < 0.5:
            octets = self.target.repair(octets, chance)[: self.target.size]
        return self._judge(octets)

    def judge(self, octets: bytes) -> Finding | None:
        """Run one input, and nothing else of it."""
        return self._caught(octets, measured=True)

    def _judge(self, octets: bytes, *, measured: bool = False) -> Finding | None:
        known = len(self._known)
        resident = _resident()
        finding = self._caught(octets, measured=measured)
        new = len(self._known) > known
        if finding is None and not measured and (new or _resident() - resident > MEMORY_BYTES // 2):
            # What is new, or made the process grow, is worth a second look at its memory.
            finding = self._caught(octets, measured=True)
        if new and finding is None:
            self._keep(octets)
        return None if finding is None else self._minimised(finding)

    def _keep(self, octets: bytes) -> None:
        if len(self._pool) < POOL:
            self._pool.append(octets)
        else:
            self._pool[self._random.randrange(POOL)] = octets

    def _caught(self, octets: bytes, *, measured: bool = False) -> Finding | None:
        try:
            # What counts every allocation is slow by itself.
            with within(SLOW_SECONDS * (10 if measured else 1)):
                run = self.target.run
                self._known.add(_measured(run, octets) if measured else run(octets))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            trace = "".join(traceback.format_exception(error))
            said = traceback.format_exception_only(error)[-1].strip()
            return Finding(self.target.name, octets, said, trace, _place(error), len(octets), self.count)
        return None

    # ---- making a finding small ----

    def _minimised(self, finding: Finding) -> Finding:
        """The same finding with as few bytes, and as many of them zero, as can be had in a bounded time."""
        measured = finding.place[0] == TooMuchMemory.__name__
        attempts = _Attempts()
        best = finding

        def holds(octets: bytes) -> bool:
            nonlocal best
            attempts.runs += 1
            found = self._caught(octets, measured=measured)
            if found is None or found.place != finding.place:
                return False
            best = Finding(
                found.target,
                octets,
                found.error,
                found.trace,
                found.place,
                len(finding.octets),
                finding.number,
            )
            return True

        size = max(1, len(finding.octets) // 2)
        while attempts.left:
            shrunk = self._without(best.octets, size, holds, attempts)
            if size == 1 and not shrunk:
                break
            size = size if shrunk else max(1, size // 2)
        for at in range(len(best.octets)):
            octets = best.octets
            for simple in (0, octets[at] // 2, octets[at] - 1):
                simpler = octets[:at] + bytes([max(0, simple)]) + octets[at + 1 :]
                if attempts.left and simpler < octets and holds(simpler):
                    break
        return best

    def _without(self, octets: bytes, size: int, holds: Callable[[bytes], bool], attempts: _Attempts) -> bool:
        """Leave out pieces of a size, from the end, each that is not needed; whether there was one."""
        shrunk = False
        at = len(octets) - size
        while at >= 0 and attempts.left:
            shorter = octets[:at] + octets[at + size :]
            repair = self.target.repair
            # A length in front of the piece may have to go down with it.
            for candidate in (shorter, shorter if repair is None else repair(shorter, random.Random(0))):
                if len(candidate) < len(octets) and holds(candidate):
                    octets = candidate
                    shrunk = True
                    break
            at -= size
        return shrunk


@dataclass
class _Attempts:
    """How much may still be tried."""

    runs: int = 0
    until: float = field(default_factory=lambda: time.monotonic() + MINIMISE_SECONDS)

    @property
    def left(self) -> bool:
        return self.runs < MINIMISE_RUNS and time.monotonic() < self.until
