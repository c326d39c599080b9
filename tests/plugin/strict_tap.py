"""A TAP 14 reader that accepts nothing it need not, and has everything checked by `lint-tap` too.

The two were written apart: a document has to satisfy both.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from typing import Any

import yaml

from pytest_moqt.lint.report import check
from pytest_moqt.lint.runner import count
from pytest_moqt.lint.runner import prefixed as prefixed

_POINT = re.compile(
    r"(?P<status>ok|not ok) (?P<number>[1-9]\d*) - (?P<name>(?:[^#\\]|\\\\|\\#)+?)"
    r"(?: # (?P<directive>SKIP|TODO)(?: (?P<reason>(?:[^#\\]|\\\\|\\#)+))?)?"
)
_UNESCAPED = re.compile(r"\\([\\#])")


class NotTap(AssertionError):
    """The text is no TAP 14 document."""


@dataclass
class Point:
    """A test point and what belongs to it."""

    ok: bool
    number: int
    name: str
    directive: str = ""
    reason: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    children: Document | None = None


@dataclass
class Document:
    """A whole document."""

    comments: list[str] = field(default_factory=list)
    plan: int | None = None
    reason: str = ""
    points: list[Point] = field(default_factory=list)
    bail_out: str | None = None

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Name and verdict of each point, a directive standing for the verdict."""
        return [(point.name, point.directive or ("ok" if point.ok else "not ok")) for point in self.points]

    def __getitem__(self, name: str) -> Point:
        return next(point for point in self.points if point.name == name)


PIECES = frozenset(
    {
        *("header", "yaml-missing", "duration", "failure-fields", "failure-spec"),
        *("cause", "identity", "bail-out-failure", "bail-out-form"),
    }
)
"Rules that a document without a relay is not held to: one that a test of the writer put together."
TOYS = frozenset({"identity", "failure-spec"})
"The same for toy cases, which may have no session, and are about no section."


def _not_held_to(document: Document) -> frozenset[str]:
    """The rules that a document is not held to, by what its head says it is; our client's is held to all."""
    relay = next((comment for comment in document.comments if comment.startswith("Relay: ")), None)
    if relay is None:
        return PIECES
    return TOYS if relay == "Relay: moqt://relay.example:4443" else frozenset()


def read(text: str) -> Document:
    """Read a document.

    Raises:
        NotTap: A rule of TAP 14, or of this project's output, is broken.
    """
    if not text.endswith("\n"):
        raise NotTap(f"the last line has no end: {text[-80:]!r}")
    lines = text[:-1].split("\n")
    for line in lines:
        if not line.isprintable():
            raise NotTap(f"not printable: {line!r}")
        if line != line.rstrip() or not line:
            raise NotTap(f"blank, or white space at the end: {line!r}")
    if lines.pop(0) != "TAP version 14":
        raise NotTap("the first line is not the version")
    document = _read(lines, "")
    if lines:
        raise NotTap(f"left over: {lines[0]!r}")
    violations = check(text.encode(), _not_held_to(document)).findings.violations
    if violations:
        raise NotTap("\n".join(f"line {line}: {rule.name}: {message}" for line, rule, message in violations))
    return document


def _read(lines: list[str], indent: str) -> Document:
    document = Document()
    name: str | None = None
    children: Document | None = None
    while lines:
        if not lines[0].startswith(indent):
            break
        if document.bail_out is not None:
            raise NotTap(f"after the bail-out: {lines[0]!r}")
        line = lines.pop(0)[len(indent) :]
        if line.startswith("# Subtest: "):
            name = line.removeprefix("# Subtest: ")
            children = _read(lines, indent + "    ")
            continue
        if children is not None and not re.match(r"(not )?ok ", line):
            raise NotTap(f"a subtest is not followed by its point but by {line!r}")
        if line.startswith("#"):
            document.comments.append(line.removeprefix("#").strip())
        elif line.startswith("1.."):
            _plan(document, line)
        elif line.startswith("Bail out!"):
            document.bail_out = _UNESCAPED.sub(r"\1", line.removeprefix("Bail out!").strip())
        else:
            document.points.append(_point(document, line, lines, indent))
            if children is not None:
                if name != document.points[-1].name:
                    raise NotTap(f"the subtest {name!r} ends with {document.points[-1].name!r}")
                document.points[-1].children, children = children, None
    if document.plan is None:
        raise NotTap("no plan")
    if document.bail_out is None and len(document.points) != document.plan:
        raise NotTap(f"{document.plan} points planned, {len(document.points)} found, and no bail-out")
    return document


def _plan(document: Document, line: str) -> None:
    if document.plan is not None or document.points:
        raise NotTap(f"a plan that is not the first thing after the comments: {line!r}")
    match = re.fullmatch(r"1\.\.(\d+)(?: # SKIP (.+))?", line)
    if match is None or (match[2] and match[1] != "0"):
        raise NotTap(f"no plan: {line!r}")
    document.plan = int(match[1])
    document.reason = match[2] or ""


def _point(document: Document, line: str, lines: list[str], indent: str) -> Point:
    match = _POINT.fullmatch(line)
    if match is None:
        raise NotTap(f"neither a point nor anything else: {line!r}")
    if document.plan is None:
        raise NotTap(f"a point before the plan: {line!r}")
    number = int(match["number"])
    last = document.points[-1].number if document.points else 0
    if not last < number <= document.plan:
        raise NotTap(f"point {number} after {last}, of {document.plan}")
    ok = match["status"] == "ok"
    if match["directive"] == "SKIP" and not ok:
        raise NotTap(f"a skipped point that is not ok: {line!r}")
    point = Point(
        ok,
        number,
        _UNESCAPED.sub(r"\1", match["name"]),
        match["directive"] or "",
        _UNESCAPED.sub(r"\1", match["reason"] or ""),
    )
    if lines and lines[0] == f"{indent}  ---":
        block: list[str] = []
        lines.pop(0)
        while lines and lines[0] != f"{indent}  ...":
            block.append(lines.pop(0))
            if not block[-1].startswith(f"{indent}  "):
                raise NotTap(f"inside a YAML block: {block[-1]!r}")
            if re.match(r"(not )?ok\b(?!:)", block[-1].strip()):
                raise NotTap(f"reads as a test point without its indentation: {block[-1]!r}")
        if not lines:
            raise NotTap("a YAML block without end")
        lines.pop(0)
        point.values = yaml.safe_load(textwrap.dedent("\n".join(block)))
    return point


def runner_count(text: str) -> tuple[int, int, int]:
    """Passed, failed and skipped points, as the interop runner counts the lines of a log."""
    return tuple(count(text))
