"""What a relay did that fails no case and is worth saying: warnings, and choices that its draft leaves it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from pytest_moqt.client.failures import CaseFailure

if TYPE_CHECKING:
    from pytest_moqt.target import RelayUnderTest

HARM = ("malformed", "transport", "webtransport", "closed", "internal")
"Causes that are no missed SHOULD whatever was being looked at: the relay broke the protocol, or we did."


class Observed:
    """Of one case."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.choices: list[str] = []

    @property
    def outcome(self) -> str:
        """The outcome of a case that did not fail."""
        if self.warnings:
            return "warn"
        return "info" if self.choices else "pass"


class Should:
    """A part of a case whose failure is a warning (see `RelayUnderTest.should`)."""

    def __init__(self, relay: RelayUnderTest, what: str, seconds: float | None) -> None:
        self._relay = relay
        self._what = what
        self._timeout = None if seconds is None else asyncio.timeout(seconds)
        self._seconds = seconds

    def __enter__(self) -> None:
        assert self._timeout is None, "only `async with` can end a wait"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, CaseFailure) and error.cause in HARM:
            return False
        if isinstance(error, (CaseFailure, AssertionError)):
            self._relay.warn("should", f"{self._what}: {_first_line(error)}")
            return True
        return False

    async def __aenter__(self) -> None:
        if self._timeout is not None:
            await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._timeout is not None:
            try:
                await self._timeout.__aexit__(kind, error, traceback)
            except TimeoutError:
                self._relay.warn("should", f"{self._what}: not within {self._seconds:g} s")
                return True
        return self.__exit__(kind, error, traceback)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else "it did not"
