"""How the interop runner counts a log: its lib/tap-parser.sh, line by line.

Rules, as that script has them:

- A log without `TAP version 13` or `14` anywhere has no TAP; lines with ✓ and ✗ are counted instead.
- Of each line the prefix of docker compose goes, with all white space behind it.
- Then `ok` followed by a space and a digit, by ` - `, or by nothing is a test point, and so is whatever
  begins with `not ok`. Plan, numbers, YAML, subtests and bail-outs mean nothing.
- ` # SKIP` makes an `ok` skipped and ` # TODO` a `not ok` passed, in any case of letters.
- NUL bytes are not there, and neither is a last line without a newline: what bash's `read` makes of them.

Source: englishm/moq-interop-runner, July 2026, run with bash 5.2 and GNU sed 4.9 in a UTF-8 locale, which
is what its CI has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

COMPOSE_PREFIX = "test-client-1  | "
"What docker compose writes before each line of the client."

# POSIX [[:space:]] in glibc's UTF-8 locales.
_SPACE = " \t\x0b\x0c\r\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000"
_PREFIX = re.compile(rf"[a-zA-Z0-9._-]*[{_SPACE}]*\|[{_SPACE}]*")
_INDENTATION = re.compile(f"[{_SPACE}]*")
_OK = re.compile(r"ok(?: [0-9]| - |\Z)")
_SKIP = re.compile(" # SKIP", re.IGNORECASE)
_TODO = re.compile(" # TODO", re.IGNORECASE)
_VERSION = re.compile("TAP version 1[34]")


class Verdict(StrEnum):
    """What a line counts as."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Count(NamedTuple):
    """What the runner makes of a log."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """Test points; with none the runner takes the log as unparseable."""
        return sum(self)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def verdict(line: str) -> Verdict | None:
    """What a line of a log counts as, if anything; without its newline, NULs are ignored."""
    # Almost no line goes on from here.
    if "ok" not in line and "\0" not in line:
        return None
    line = line.replace("\0", "")
    prefix = _PREFIX.match(line)
    return _bare(line[prefix.end() :] if prefix else line)


def prefixed_verdict(line: str) -> Verdict | None:
    """The same with the prefix of docker compose before the line."""
    if "ok" not in line and "\0" not in line:
        return None
    line = line.replace("\0", "")
    indentation = _INDENTATION.match(line)
    # The prefix goes once: what else looks like one stays.
    return _bare(line[indentation.end() :] if indentation else line)


def _bare(line: str) -> Verdict | None:
    if line.startswith("not ok"):
        return Verdict.PASSED if _TODO.search(line) else Verdict.FAILED
    if _OK.match(line):
        return Verdict.SKIPPED if _SKIP.search(line) else Verdict.PASSED
    return None


def counted(verdicts: Iterable[Verdict | None]) -> Count:
    """These verdicts as a count."""
    count = dict.fromkeys(Verdict, 0)
    for found in verdicts:
        if found is not None:
            count[found] += 1
    return Count(count[Verdict.PASSED], count[Verdict.FAILED], count[Verdict.SKIPPED])


def has_version(text: str) -> bool:
    """Whether the runner looks for TAP in this log, or this line of one."""
    return _VERSION.search(text) is not None


def count(text: str) -> Count:
    """What the runner counts in a log."""
    lines = text.split("\n")
    return counted(map(verdict, lines[:-1])) if has_version(text) else ticks(lines)


def ticks(lines: Iterable[str]) -> Count:
    """What the runner counts in a log without TAP."""
    marks = [("✓" in line, "✗" in line) for line in lines]
    return Count(sum(passed for passed, _ in marks), sum(failed for _, failed in marks))


def prefixed(text: str) -> str:
    """The log that docker compose makes of this output."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return "".join(f"{COMPOSE_PREFIX}{line}\n" for line in lines)
