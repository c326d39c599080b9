"""The line of a test point, taken apart: status, number, description, directive."""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_moqt.lint.rules import Findings, shown
from pytest_moqt.lint.runner import Verdict

MAX_DIGITS = 9
"Of a number; with more of them it is in no plan."

_START = re.compile(r"(not )?ok(?= |\Z)")
_NUMBER = re.compile(r" ([0-9]+)(?= |\Z)")
_MARK = re.compile(r"(?:\\[\\#])+|\\|#")
"What is escaped, and what is not."
_WORD = re.compile(r"#[ \t]*(?:skip|todo)", re.IGNORECASE)
# Behind white space no `#` is escaped.
_DIRECTIVE = re.compile(r"(?<=[ \t])#[ \t]+(?P<word>skip|todo)\S*", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([\\#])")


class Point(NamedTuple):
    """A test point."""

    line: int
    depth: int
    "How many subtests it is in."
    ok: bool
    number: int | None
    name: str
    "The description without escapes; empty where there is none."
    directive: str
    "`SKIP`, `TODO` or nothing."

    @property
    def verdict(self) -> Verdict:
        """As TAP 14 has it: neither a skip nor a failing TODO is a failure."""
        if self.directive == "SKIP":
            return Verdict.SKIPPED
        return Verdict.PASSED if self.ok or self.directive else Verdict.FAILED


def is_point(text: str) -> bool:
    """Whether this line, without its indentation, is a test point."""
    return _START.match(text) is not None


def unescaped(text: str) -> str:
    r"""The text that is meant: `\#` is `#`, `\\` is `\`."""
    return _ESCAPED.sub(r"\1", text).strip()


def whole_number(digits: str) -> int:
    """These digits as a number; a number beyond every plan where there are too many."""
    return int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS


def read_point(line: int, depth: int, text: str, findings: Findings) -> Point:
    """Read a line that `is_point`; what is wrong with its form is noted."""
    start = _START.match(text)
    assert start is not None
    rest = text[start.end() :]
    number = None
    if found := _NUMBER.match(rest):
        number = whole_number(found[1])
        rest = rest[found.end() :]
    else:
        findings.add("point-id", line, "the test point has no number")
    separated = rest == " -" or rest.startswith(" - ")
    described, directive, reason = _split(line, rest[2:] if separated else rest, findings)
    name = unescaped(described)
    if not name:
        findings.add("point-description", line, "the test point has no description")
    elif not separated:
        findings.add(
            "point-separator", line, f"the description {shown(name)} stands there without ` - ` before it"
        )
    if directive == "SKIP" and start[1]:
        findings.add(
            "skip-not-ok", line, "a skipped test point is `not ok`, which some readers count as failed"
        )
    _check_escapes(line, described, reason, findings)
    return Point(line, depth, start[1] is None, number, name, directive)


def _split(line: int, text: str, findings: Findings) -> tuple[str, str, str]:
    """Description, directive, and reason as they are written."""
    found = _DIRECTIVE.search(text)
    if found is None:
        return text, "", ""
    directive, rest = found["word"].upper(), text[found.end() :]
    if found.group() != f"# {directive}" or rest[:1] not in ("", " ") or rest[1:2] in (" ", "\t"):
        findings.add(
            "directive-form",
            line,
            f"{shown(found.group())} is to be written `# {directive}`, with one space before a reason",
        )
    return text[: found.start()], directive, rest


def _check_escapes(line: int, described: str, reason: str, findings: Findings) -> None:
    for what, text in (("description", described), ("reason", reason)):
        for mark in _MARK.finditer(text):
            if mark.group() not in ("#", "\\"):
                continue
            if what == "description" and (word := _WORD.match(text, mark.start())):
                findings.add(
                    "directive-space",
                    line,
                    f"{shown(word.group())} may be taken for a directive: write `\\#`, or put spaces around",
                )
            else:
                character = mark.group()
                findings.add(
                    "escape", line, f"the `{character}` in the {what} is to be written `\\{character}`"
                )
            return
