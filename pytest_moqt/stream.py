"""The TAP document on a file descriptor: points in plan order, whole writes, and an end whatever happens.

Rules:

- Nothing is written before the head (version, comments, plan) may be: the draft in its comments is only
  known once the first session has been negotiated. `release` says so.
- A point and its diagnostics are one write, so that a log shared with other writers never tears them.
- Points that are finished out of order wait for those before them.
- The document can be ended from a signal handler and from another thread, at any moment, and only once.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from pytest_moqt import results, tap

WRITE_SECONDS = 5.0
"How long a reader that does not read may hold up one write."

COLLECTION = "collection"
"The point that stands for what comes before any test."


def own_stdout() -> int:
    """A descriptor of our own for standard output, beyond the three standard ones.

    Of those, one that is closed is opened on nothing: otherwise the next file or socket would have its
    number, and get what somebody writes to standard error.

    Raises:
        OSError: Standard output is closed.
    """
    fd: int = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    for standard in (0, 2):
        try:
            os.fstat(standard)
        except OSError:
            # The lowest that is free is what a new one gets.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    return fd


def unwritten(error: OSError, path: str | None = None) -> str:
    """A sentence about a report that could not be written; `path` is where to, if the error does not say."""
    named = error.filename or path
    return f"a report cannot be written{f' to {named}' if named else ''}: {error.strerror or error}"


class Point:
    """One planned test point."""

    def __init__(self, number: int, key: str, name: str) -> None:
        self.number = number
        self.key = key
        self.name = name
        self.text: str | None = None
        self.entry: dict[str, Any] = {}
        "What the file of results says of it, once it has a verdict."
        self.ok = False
        self.written = False
        self.began: float | None = None

    @property
    def duration_ms(self) -> int:
        """Since it began; 0 before that."""
        return 0 if self.began is None else round((monotonic() - self.began) * 1000)


class TapStream:
    """Writes one TAP document.

    Attributes:
        comments: The lines of the head, without `# `; may change until the head is written.
        broken: Why the descriptor can no longer be written to, if it cannot.
        ended: Whether the document has its end, or can get none.
        bailed: Whether it was ended early, for a reason.
        results: The file that is to say the same when it ends, if one is.
    """

    def __init__(
        self, fd: int, comments: Sequence[str] = (), results: results.ResultsFile | None = None
    ) -> None:
        self.fd = fd
        self.results = results
        self.comments: list[str] = list(comments)
        self.broken: OSError | None = None
        self.ended = False
        self.bailed = False
        self._points: list[Point] | None = None
        self._by_key: dict[str, Point] = {}
        self._reason = ""
        self._released = False
        self._head_written = False
        self._lock = threading.RLock()
        self._busy = False
        self._deferred: list[Callable[[], None]] = []
        self._closed = False
        self._broken_at: list[Point] | None = None
        "What had no verdict when the document was broken off."

    @property
    def unfinished(self) -> list[Point]:
        """The planned points that have no verdict yet, in plan order."""
        return [point for point in self._points or () if point.text is None]

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What the file of results says of the points that have a verdict, in plan order."""
        return [point.entry for point in self._points or () if point.text is not None]

    @property
    def any_failed(self) -> bool:
        """Whether a point with a verdict is a failure."""
        return any(point.text is not None and not point.ok for point in self._points or ())

    @property
    def all_ok(self) -> bool:
        """Whether every planned point has a verdict and none of them is a failure."""
        return self._points is not None and all(point.ok for point in self._points)

    def plan(self, points: Sequence[tuple[str, str]], reason: str = "") -> None:
        """State the points to come, as (key, name); `reason` says why there are none."""
        self._points = [Point(number, key, name) for number, (key, name) in enumerate(points, 1)]
        self._by_key = {point.key: point for point in self._points}
        self._reason = reason

    def begin(self, key: str) -> None:
        """The test of a planned point begins, perhaps once more."""
        point = self._by_key.get(key)
        if point is not None and point.began is None:
            point.began = monotonic()

    def point(
        self,
        key: str,
        ok: bool,
        *,
        directive: str = "",
        reason: str = "",
        values: Mapping[str, Any] | None = None,
        steps: Sequence[tuple[str, bool, str]] = (),
    ) -> None:
        """Give a planned point its verdict, and write what can be written.

        Args:
            key: As planned; an unknown or already finished one is ignored.
            ok: The status as written; a failing TODO counts as good.
            directive: `SKIP` or `TODO`.
            reason: Of the directive.
            values: The diagnostics.
            steps: A child document of these (name, verdict, note); empty for none.
        """
        point = self._by_key.get(key)
        if point is None or point.text is not None:
            return
        text = tap.subtest(point.name, steps) if steps else ""
        text += tap.point(ok, point.number, point.name, directive, reason)
        point.entry = results.entry(point.name, ok, directive, reason, values)
        point.ok = ok or directive == "TODO"
        point.text = text + tap.yaml_block(values or {})
        self.run(self._flush)

    def release(self) -> None:
        """Let the head go: what its comments say will not get better."""
        self._released = True
        self.run(self._flush)

    def comment(self, text: str) -> None:
        """Write a comment line, once the head is written; before that it becomes part of the head."""
        if not self._head_written:
            self.comments.append(text)
        else:
            self.run(lambda: self._write(tap.comment(text)))

    def end(self) -> None:
        """The run is over: write what is left. Points without a verdict stay unwritten."""
        self.run(lambda: self._end(None))

    def bail_out(self, reason: str) -> None:
        """End early: what has a verdict is written, then `Bail out! reason`.

        When every planned point is good by then there is nothing to bail out of: the reason is a comment.
        """
        self.run(lambda: self._end(reason))

    def break_off(self, reason: str, values: Mapping[str, Any]) -> None:
        """End early in the middle of a case: the first point without a verdict fails with `values`.

        A reader that only counts lines, and ignores the bail-out, then does not take the rest for good.
        """
        self._plan_collection()
        if self._broken_at is None:
            # A signal in the middle of this calls it again: one point fails, and not one for each signal.
            self._broken_at = self.unfinished[:1]
        self._fail(values, self._broken_at)
        self.bail_out(reason)

    def give_up(self, values: Mapping[str, Any]) -> None:
        """End with every point that has no verdict failed, for the reason in `values`."""
        self._plan_collection()
        self._fail(values, self.unfinished)
        self.end()

    def _plan_collection(self) -> None:
        """Have a point to fail when the run ends before there is a plan."""
        if not self._points and not self._head_written:
            self.plan([(COLLECTION, COLLECTION)])

    def _fail(self, values: Mapping[str, Any], points: Sequence[Point]) -> None:
        for point in points:
            block = {"duration_ms": point.duration_ms, **values}
            point.entry = results.entry(point.name, False, values=block)
            point.text = tap.point(False, point.number, point.name) + tap.yaml_block(block)

    def run(self, action: Callable[[], None]) -> bool:
        """Run `action` with the document to itself.

        Called again by a signal handler while an action runs in the same thread, it leaves the new
        action for the end of that one.

        Returns:
            False when the action was left for later, or cannot run at all.
        """
        if not self._lock.acquire(timeout=WRITE_SECONDS):
            return False
        if self._busy:
            self._deferred.append(action)
            self._lock.release()
            return False
        self._busy = True
        try:
            action()
        finally:
            self._busy = False
            self._lock.release()
        while self._deferred:
            self._deferred.pop(0)()
        return True

    def _end(self, reason: str | None) -> None:
        if self._closed:
            return
        self._closed = True
        if self._points is None:
            self.plan([], "nothing was run")
        whole = reason is None or (bool(self._points) and self.all_ok)
        if not self.ended:
            self._released = True
            self._flush()
            for point in self._points or ():
                self._write_point(point)
            if reason is not None:
                self._write(tap.comment(f"Note: {reason}") if whole else tap.bail_out(reason))
                self.bailed = True
            self.ended = True
        if self.results is not None:
            # Behind the document, which comes first where the two cannot both be.
            self.results.write(self.entries, complete=whole and not self.unfinished)
            if self.results.problem is not None and whole:
                self._write(tap.comment(f"Note: {unwritten(self.results.problem)}"))

    def _flush(self) -> None:
        if self.ended or not self._released or self._points is None:
            return
        if not self._head_written:
            self._head_written = True
            plan = tap.plan(len(self._points), self._reason)
            self._write("".join([tap.VERSION, *map(tap.comment, self.comments), plan]))
        for point in self._points:
            if point.text is None:
                break
            self._write_point(point)

    def _write_point(self, point: Point) -> None:
        if point.text is not None and not point.written:
            point.written = True
            self._write(point.text)

    def _write(self, text: str) -> None:
        if self.broken is not None:
            return
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while data:
                try:
                    data = data[os.write(self.fd, data) :]
                except BlockingIOError:
                    # Somebody else's setting of the shared descriptor.
                    if not select.select([], [self.fd], [], WRITE_SECONDS)[1]:
                        raise
        except OSError as error:
            self.broken = error
            self.ended = True
