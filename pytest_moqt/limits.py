"""How long a case may take, and what ends it when it will not end.

Three layers, each for what the one above cannot end:

1. The case runs in a task of its own, which is cancelled when its time is up; swallowing the
   cancellation does not help it, and what it awaited at that moment is in the failure.
2. A case that blocks the event loop is interrupted by an alarm, in the main thread.
3. `Watchdog`, a thread, ends the whole run when nothing else can.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

from pytest_moqt.client.failures import CaseFailure

CONNECT_SECONDS = 2.0
"For the connection and SETUP together, where the specification gives a case no time for them."
GRACE_SECONDS = 0.5
"What a cancelled case may take to close its sessions; the run does not wait longer."
ALARM_SECONDS = 1.0
"How long after its limit a case that blocks the event loop is interrupted."
CANCELLATIONS = 3
"How often a case is cancelled before its coroutine is thrown away."


class CaseTimeout(CaseFailure):
    """A case had used up its time."""

    def __init__(self, message: str, *, expected: str) -> None:
        super().__init__(message, cause="timeout", expected=expected, received="timeout")


class BudgetUsedUp(CaseFailure):
    """The run had used up its time before the case could begin."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"run budget of {seconds:g} s used up",
            cause="timeout",
            expected="the case to run",
            received="run budget used up",
        )


class Limit:
    """The clock of one case.

    Attributes:
        seconds: The time it has.
        after_sending: Whether that counts from our first request; connecting then has a limit of its own.
    """

    def __init__(self, seconds: float, *, after_sending: bool = False) -> None:
        self.seconds = seconds
        self.after_sending = after_sending
        self._sent = False
        self._deadline: float | None = None
        self._cap: tuple[float, float, str] | None = None
        self._moved: asyncio.Event | None = None

    def reset(self) -> None:
        """Another attempt is to come."""
        self._sent = False
        self._deadline = None
        if self._cap is not None:
            self.cap(*self._cap[1:])

    def start(self) -> None:
        """The case begins now."""
        self._deadline = time.monotonic() + (CONNECT_SECONDS if self.after_sending else self.seconds)

    def cap(self, seconds: float, whose: str) -> None:
        """Let the time be up that many seconds from now, or from `reset`, at the latest.

        Args:
            seconds: The time.
            whose: Who wants it so.
        """
        self._cap = time.monotonic() + seconds, seconds, whose

    def request_sent(self) -> None:
        """Our first request was sent now."""
        if self.after_sending and not self._sent and self._deadline is not None:
            self._deadline = time.monotonic() + self.seconds
            if self._moved is not None:
                self._moved.set()
        self._sent = True

    async def wait_end(self) -> None:
        """Wait until the time is up, wherever the end is moved in the meantime."""
        self._moved = asyncio.Event()
        while (left := self.remaining) is None or left > 0:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left)

    @property
    def remaining(self) -> float | None:
        """Seconds left; None before the start, negative after the end."""
        return None if self._end is None else self._end - time.monotonic()

    def exceeded(self, moment: float) -> bool:
        """Whether the time was up at `moment` (of `time.monotonic`)."""
        return self._end is not None and moment > self._end

    @property
    def _end(self) -> float | None:
        if self._deadline is None or self._cap is None:
            return self._deadline
        return min(self._deadline, self._cap[0])

    def timeout(self, awaited: list[str], note: str = "") -> CaseTimeout:
        """The failure of a case whose time is up while it awaited these."""
        expected = "; ".join(awaited) or "the case to end"
        if self._cap is not None and self._end == self._cap[0]:
            when = f"the {self._cap[1] * 1000:.0f} ms of {self._cap[2]}"
        elif self.after_sending and not self._sent:
            when = f"{CONNECT_SECONDS * 1000:.0f} ms, before any request was sent"
        else:
            since = " after the first request" if self.after_sending else ""
            when = f"{self.seconds * 1000:.0f} ms{since}"
        what = f"still waiting for {expected}" if awaited else "the case was still running"
        return CaseTimeout(f"no end within {when}: {what}{note}", expected=expected)


async def run_within(
    limit: Limit, case: Callable[[], Coroutine[Any, Any, None]], awaited: Callable[[], list[str]]
) -> None:
    """Run a case to its end or to that of its time.

    Args:
        limit: Its clock, started here.
        case: Gives its coroutine.
        awaited: Says what is being waited for, when asked at the end of the time.

    Raises:
        CaseTimeout: Its time was up, whatever the case then did.
    """
    __tracebackhide__ = True
    coroutine = case()
    task = asyncio.get_running_loop().create_task(coroutine)
    ended_at: list[float] = []
    task.add_done_callback(lambda _: ended_at.append(time.monotonic()))
    limit.start()
    clock = asyncio.get_running_loop().create_task(limit.wait_end())
    with _alarm(limit, awaited):
        try:
            await asyncio.wait({task, clock}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _stop(task, coroutine)
            raise
        finally:
            clock.cancel()
    if not task.done():
        failure = limit.timeout(awaited())
        ended = await _stop(task, coroutine)
        if ended is None:
            note = "; it did not end when it was cancelled"
            raise limit.timeout(failure.expected.split("; "), note)
        # Where the case was when its time was up, as if it had been raised there.
        raise failure.with_traceback(ended.__traceback__)
    task.result()
    if limit.exceeded(ended_at[0] if ended_at else time.monotonic()):
        raise limit.timeout([], "; it came back too late, after blocking the event loop")


async def _stop(task: asyncio.Task[None], coroutine: Coroutine[Any, Any, None]) -> BaseException | None:
    """Cancel a case.

    Returns:
        What it ended with; None when it would not, and was thrown away.
    """
    for _ in range(CANCELLATIONS):
        task.cancel()
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
        if task.done():
            try:
                task.result()
            except BaseException as error:
                return error
            return asyncio.CancelledError()
    # Otherwise the task would run on inside later cases, and hold up the end of the loop.
    with contextlib.suppress(BaseException):
        coroutine.close()
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE_SECONDS)
    return None


@contextlib.contextmanager
def _alarm(limit: Limit, awaited: Callable[[], list[str]]) -> Iterator[None]:
    """Interrupt the main thread some time after the limit, unless this is left before.

    While a case blocks the loop, no timer of the loop can fire; a signal still can.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        left = limit.remaining
        if (left is not None and left > 0) or _debugging():
            return
        raise limit.timeout(awaited(), "; it blocked the event loop")

    usable = (
        threading.current_thread() is threading.main_thread()
        and hasattr(signal, "setitimer")
        # Somebody else's alarm, such as pytest-timeout's, is left alone.
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )
    if not usable:
        yield
        return
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, (limit.remaining or 0.0) + ALARM_SECONDS, ALARM_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _debugging() -> bool:
    """Whether a person is looking at the case in a debugger."""
    trace = sys.gettrace()
    module = getattr(trace, "__module__", None) or type(trace).__module__
    return module.split(".")[0] in ("bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy")


class Watchdog:
    """Calls `action`, in a thread of its own, when nobody has stopped it in time."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        # Its `put` may be called by a signal handler that interrupted another `put`.
        self._orders: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="moqt-watchdog", daemon=True).start()

    def within(self, seconds: float) -> None:
        """Act in that many seconds, unless an earlier deadline stands; may be called in a signal handler."""
        self._orders.put(time.monotonic() + seconds)

    def stop(self) -> None:
        """There is nothing left to end."""
        self._orders.put(None)

    def _run(self) -> None:
        deadline: float | None = None
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                order = self._orders.get(timeout=left)
            except queue.Empty:
                self._action()
                return
            if order is None:
                return
            deadline = order if deadline is None else min(deadline, order)
