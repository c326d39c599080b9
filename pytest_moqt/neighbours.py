"""Other people's pytest plugins, as far as a report of ours must know of them.

Rules:

- pytest-timeout: a case ends by its own means when that plugin's time is up, with its sessions closed and
  what it awaited in the report. Where only the end of the process is left, the document gets its end first.
- The others need no hook of theirs. What they do is dealt with where it meets a rule of ours: further
  attempts (pytest-rerunfailures) in the reporter, anyio's auto mode and a second TAP document in the plugin.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_moqt.limits import CaseTimeout
from pytest_moqt.plugin import CASE

LATE_SECONDS = 3.0
"What a case may take to end after pytest-timeout's time, before that plugin uses its own means."

TIMEOUT = "pytest-timeout"


class Timeouts:
    """Stands before pytest-timeout's timers, in the way that its hooks are meant for.

    Attributes:
        before_exit: Called with a sentence before the process is ended; None where nobody needs to know.
    """

    def __init__(self, before_exit: Callable[[str], None] | None) -> None:
        self.before_exit = before_exit

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool:
        """Start the timer of one test, in pytest-timeout's stead or before it."""
        case = item.stash.get(CASE, None)
        if case is not None and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            case.limit.cap(settings.timeout, TIMEOUT)
            settings = settings._replace(timeout=settings.timeout + LATE_SECONDS)
        if settings.method == "thread" and self.before_exit is not None:
            self._start_thread(item, settings)
            return True
        others = item.config.pluginmanager.subset_hook_caller("pytest_timeout_set_timer", [self])
        return bool(others(item=item, settings=settings))

    def _start_thread(self, item: pytest.Item, settings: Any) -> None:
        """The thread of pytest-timeout's method `thread`, which ends the process without a word to others."""
        timer = threading.Timer(settings.timeout, self._expire, (item, settings))

        def cancel() -> None:
            timer.cancel()
            timer.join()

        vars(item)["cancel_timeout"] = cancel
        timer.start()

    def _expire(self, item: pytest.Item, settings: Any) -> None:
        theirs = importlib.import_module("pytest_timeout")
        if not settings.disable_debugger_detection and theirs.is_debugging():
            return
        if self.before_exit is not None:
            self.before_exit(f"{item.name}: {theirs.PYTEST_FAILURE_MESSAGE % settings.timeout}")
        theirs.timeout_timer(item, settings)


def of_timeout(error: BaseException, awaited: list[str]) -> CaseTimeout | None:
    """The failure of a test that pytest-timeout's method `signal` interrupted; None of any other.

    Args:
        error: What ended the test.
        awaited: What it was waiting for.
    """
    if isinstance(error, pytest.fail.Exception) and str(error).endswith(f" from {TIMEOUT}."):
        return CaseTimeout(str(error), expected="; ".join(awaited) or "the test to end")
    return None
