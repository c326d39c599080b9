"""What of an event loop the relay uses, so that tests can move the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A call that was scheduled."""

    def cancel(self) -> None:
        """Undo it."""


class Clock(Protocol):
    """What of an event loop the relay uses."""

    def time(self) -> float:
        """Seconds since some moment."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call back in `delay` seconds."""
