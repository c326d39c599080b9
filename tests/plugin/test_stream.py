"""The document on a descriptor: order, whole writes, and an end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from strict_tap import Document, read

from pytest_moqt.stream import TapStream


class Pipe:
    """What was written to a descriptor so far."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.text = ""

    def read(self) -> str:
        """Everything so far."""
        with contextlib.suppress(BlockingIOError):
            self.text += os.read(self.reader, 1 << 20).decode()
        return self.text

    def document(self) -> Document:
        """The same, as a strict reader has it."""
        return read(self.read())


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


@pytest.fixture
def stream(pipe: Pipe) -> TapStream:
    stream = TapStream(pipe.writer, ["client"])
    stream.plan([("a", "case-a"), ("b", "case-b"), ("c", "case-c")])
    return stream


def test_nothing_is_written_before_the_head_is_released(pipe: Pipe, stream: TapStream) -> None:
    """A verdict waits for the comments, which may still change."""
    stream.point("a", True)
    assert pipe.read() == ""

    stream.comments.append("Draft: draft-18")
    stream.release()

    assert pipe.read() == "TAP version 14\n# client\n# Draft: draft-18\n1..3\nok 1 - case-a\n"


def test_points_come_in_the_order_of_the_plan(pipe: Pipe, stream: TapStream) -> None:
    """A verdict waits for those before it, and is written with them."""
    stream.release()
    stream.point("c", True)
    stream.point("b", False)
    assert pipe.read().endswith("1..3\n")

    stream.point("a", True)
    stream.end()

    assert pipe.document().verdicts == [("case-a", "ok"), ("case-b", "not ok"), ("case-c", "ok")]


def test_a_point_and_its_diagnostics_are_one_write(
    stream: TapStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log shared with others never has a line of theirs between the two."""
    stream.release()
    writes: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(bytes(data)) or len(data))

    stream.point("a", False, values={"message": "no"})

    assert writes == [b'not ok 1 - case-a\n  ---\n  message: "no"\n  ...\n']


def test_a_verdict_is_given_once(pipe: Pipe, stream: TapStream) -> None:
    """A second verdict, or one for a case never planned, changes nothing."""
    stream.release()
    stream.point("a", True)
    stream.point("a", False)
    stream.point("z", False)

    assert pipe.read().endswith("1..3\nok 1 - case-a\n")


def test_breaking_off_fails_the_case_in_progress(pipe: Pipe, stream: TapStream) -> None:
    """What is finished keeps its verdict, also behind a gap; the first that is not fails; then the end."""
    stream.point("a", True)
    stream.point("c", True)
    stream.break_off("interrupted by SIGTERM", {"message": "interrupted"})

    document = pipe.document()
    assert document.verdicts == [("case-a", "ok"), ("case-b", "not ok"), ("case-c", "ok")]
    assert document.bail_out == "interrupted by SIGTERM"


def test_breaking_off_before_the_plan_is_a_failure_too(pipe: Pipe) -> None:
    """A run that ended before anything was collected is not an empty success."""
    TapStream(pipe.writer).break_off("collection error", {"message": "no module"})

    document = pipe.document()
    assert document.verdicts == [("collection", "not ok")]
    assert document.bail_out == "collection error"


def test_giving_up_fails_everything_that_has_no_verdict(pipe: Pipe, stream: TapStream) -> None:
    """The plan is fulfilled without a bail-out."""
    stream.point("b", True)
    stream.give_up({"message": "run budget used up"})

    document = pipe.document()
    assert document.verdicts == [("case-a", "not ok"), ("case-b", "ok"), ("case-c", "not ok")]
    assert document.bail_out is None


def test_nothing_follows_the_end(pipe: Pipe, stream: TapStream) -> None:
    """A verdict, a second end and a bail-out after the end are not written."""
    stream.bail_out("first")
    text = pipe.read()

    stream.point("a", True)
    stream.bail_out("second")
    stream.give_up({"message": "third"})

    assert pipe.read() == text


def test_an_end_in_the_middle_of_a_write_comes_after_it(
    pipe: Pipe, stream: TapStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler that ends the document while a point is half written leaves that point whole."""
    stream.release()
    write = os.write

    def interrupted_write(fd: int, data: memoryview) -> int:
        written = write(fd, data[:3])
        monkeypatch.setattr(os, "write", write)
        stream.break_off("interrupted by SIGTERM", {"message": "interrupted"})
        return written

    monkeypatch.setattr(os, "write", interrupted_write)
    stream.point("a", True, values={"duration_ms": 1})

    document = pipe.document()
    assert document.verdicts == [("case-a", "ok"), ("case-b", "not ok")]
    assert document.bail_out == "interrupted by SIGTERM"


def test_another_thread_can_end_it(pipe: Pipe, stream: TapStream) -> None:
    """The watchdog's thread gives up while the main thread is stuck elsewhere."""
    thread = threading.Thread(target=stream.give_up, args=({"message": "run budget used up"},))
    thread.start()
    thread.join(5)

    assert [verdict for _, verdict in pipe.document().verdicts] == ["not ok"] * 3


def test_a_reader_that_went_away_is_noted_and_not_raised(stream: TapStream) -> None:
    """A closed pipe ends the document without an exception."""
    reader, writer = os.pipe()
    os.close(reader)
    broken = TapStream(writer)
    broken.plan([("a", "case-a")])
    broken.release()

    broken.point("a", True)

    os.close(writer)
    assert isinstance(broken.broken, BrokenPipeError)
    assert broken.ended


def test_an_empty_plan_says_why(pipe: Pipe) -> None:
    """No test at all is a plan of none with a reason."""
    stream = TapStream(pipe.writer)
    stream.plan([], "no test selected")

    stream.end()

    assert pipe.read() == "TAP version 14\n1..0 # SKIP no test selected\n"


def test_a_reason_to_end_after_the_last_verdict_is_a_comment(pipe: Pipe, stream: TapStream) -> None:
    """Every case is judged and good by then: readers that count see what readers of bail-outs see."""
    for key in "abc":
        stream.point(key, True)
    stream.break_off("interrupted by SIGTERM", {"message": "interrupted"})

    document = pipe.document()
    assert [verdict for _, verdict in document.verdicts] == ["ok"] * 3
    assert document.bail_out is None
    assert document.comments[-1] == "Note: interrupted by SIGTERM"
    assert stream.bailed


def test_what_is_failed_at_the_end_has_the_time_since_it_began(pipe: Pipe, stream: TapStream) -> None:
    """The case in progress has its own, also of a first attempt; one that never began has none."""
    stream.begin("a")
    deadline = time.monotonic() + 0.02
    while time.monotonic() < deadline:
        stream.begin("a")
    stream.give_up({"message": "run budget used up"})

    durations = [point.values["duration_ms"] for point in pipe.document().points]
    assert durations[0] >= 20
    assert durations[1:] == [0, 0]


def test_an_own_descriptor_is_none_of_the_standard_ones() -> None:
    """Closed ones are opened on nothing, and a closed standard output is an error."""
    script = """
import os
from pytest_moqt.stream import own_stdout
os.close(0); os.close(2)
fd = own_stdout()
assert fd > 2
assert os.fstat(0).st_rdev == os.fstat(2).st_rdev == os.stat(os.devnull).st_rdev
assert os.get_inheritable(2) and not os.get_inheritable(fd)
os.write(fd, b"there")
os.close(1)
try:
    own_stdout()
except OSError:
    os.write(fd, b" and gone")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (0, b"there and gone")


def test_a_break_within_a_break_fails_one_point(
    pipe: Pipe, stream: TapStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second signal may come while the first is dealt with: no further case fails for it."""
    bail_out = stream.bail_out
    nested: list[str] = []

    def interrupted(reason: str) -> None:
        if not nested:
            nested.append(reason)
            stream.break_off("second", {"message": "second"})
        bail_out(reason)

    monkeypatch.setattr(stream, "bail_out", interrupted)
    stream.break_off("first", {"message": "first"})

    text = pipe.read()
    assert "not ok 1 - case-a" in text
    assert "case-b" not in text
