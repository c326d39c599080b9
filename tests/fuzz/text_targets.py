"""Targets that make text of a peer's bytes: the commands `decode` and `encode`, and the report."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import yaml

from pytest_moqt import tap, wire
from pytest_moqt.lint import command as lint_tap
from pytest_moqt.lint.report import check
from pytest_moqt.lint.rules import RULES, Level
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.notation import KINDS
from tests.fuzz.codec_targets import TYPES, without_values
from tests.fuzz.cursor import Cursor
from tests.fuzz.engine import Target

# ---- decode and encode -----------------------------------------------------------------------------


def command(
    arguments: Sequence[str], given: str | bytes, run: Callable[[Sequence[str]], int] = wire.main
) -> tuple[int, str, str]:
    """Run a subcommand with these words and this standard input.

    Returns:
        Exit code, standard output and standard error, of which both must have been UTF-8.
    """
    written = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict") for _ in range(2)]
    octets = given.encode("utf-8", "surrogateescape") if isinstance(given, str) else given
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(octets), "utf-8", newline="")
    try:
        with contextlib.redirect_stdout(written[0]), contextlib.redirect_stderr(written[1]):
            code = run(arguments)
    finally:
        sys.stdin = before
    texts = []
    for stream in written:
        stream.seek(0)
        texts.append(stream.read())
    for line in "".join(texts).split("\n"):
        assert line.isprintable(), f"a line that does things to a terminal: {line!r}"
    return code, texts[0], texts[1]


def decode(octets: bytes) -> Hashable:
    """`decode`: a table or JSON of what can be read, exit code 0 or 1; `encode` takes what it printed."""
    cursor = Cursor(octets)
    draft = cursor.draft()
    stream = wire.STREAMS[cursor.byte() % len(wire.STREAMS)]
    flags = cursor.byte()
    payload = cursor.rest()
    words = ["--draft", str(draft.number)]
    sender = ["--from", "client" if flags & 2 else "server"] if flags & 4 else []
    shown = ["decode", *words, *sender, "--stream", stream]
    code, table, errors = command(shown, payload.hex())
    assert code in (wire.EXIT_OK, wire.EXIT_MALFORMED), f"exit code {code}"
    assert (code == wire.EXIT_OK) == (not errors), f"exit code {code} with {errors!r}"
    for line in table.splitlines():
        assert re.match(r" *\d+  ", line), f"a line without an offset: {line!r}"
    same, text, _ = command([*shown, "--json"], payload.hex())
    read = json.loads(text)
    assert same == code
    for item in read:
        assert 0 <= item["offset"] <= len(payload), f"offset {item['offset']} of {len(payload)} bytes"
    if code == wire.EXIT_OK:
        _encode_again(draft, stream, sender, read)
    kinds = [item.get("name") or item.get("fields", {}).get("message", "") for item in read[:3]]
    return (draft.number, stream, without_values(errors), *kinds)


def _encode_again(draft: Draft, stream: str, sender: list[str], read: list[dict[str, Any]]) -> None:
    """What `decode` printed is encoded, unless the draft lets nobody say it, and decoded the same."""
    words = ["--draft", str(draft.number), *sender]
    code, text, errors = command(["encode", *words], json.dumps(read))
    if code != wire.EXIT_OK:
        assert code == wire.EXIT_MALFORMED
        assert errors
        return
    again, decoded, _ = command(["decode", *words, "--stream", stream, "--json"], text)
    assert again == wire.EXIT_OK, f"{text} cannot be decoded"
    fields = [[item["fields"] for item in items] for items in (read, json.loads(decoded))]
    assert fields[0] == fields[1], f"{fields[0]} is {fields[1]} when it is written and read"


def encode(octets: bytes) -> Hashable:
    """`encode`: any text is bytes in hexadecimal, or a sentence and exit code 1."""
    cursor = Cursor(octets)
    draft = cursor.draft()
    text = cursor.rest().decode("utf-8", "replace")
    code, written, errors = command(["encode", "--draft", str(draft.number)], text)
    assert code in (wire.EXIT_OK, wire.EXIT_MALFORMED), f"exit code {code}"
    assert (code == wire.EXIT_OK) == (not errors)
    for line in written.splitlines():
        bytes.fromhex(line)
    return (draft.number, code, without_values(errors), min(written.count("\n"), 3))


# ---- the report ------------------------------------------------------------------------------------

FORGERIES = (
    "ok 3 - forged",
    "not ok 3 - forged",
    "\nok 3 - forged\n",
    "\n  ...\nok 3 - forged",
    "\r\n...\r\nok 2",
    "Bail out! forged",
    "\nBail out! forged",
    "# SKIP forged",
    "x # TODO",
    "\\# SKIP",
    "1..9",
    "---",
    "...",
    "test-client-1  | ok 4 - forged",
    "\x1b[2K\x1b[1A",
    "\u2028ok 5",
    "\x85ok 6",
    "\x0cok 7",
    "\u202eko",
    "key: value",
    '"',
    "\\",
    "- ok",
    "&a *a",
    "!!python/object",
    "\ufeff",
    "\ud800",
    "ok",
    "no",
    "~",
)
MAX_ITEMS = 60
"Of one value, over all its levels."


class _Values:
    """Values as a report may be given them, read off an input."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._left = MAX_ITEMS

    def text(self) -> str:
        cursor = self._cursor
        kind = cursor.byte() % 4
        if kind == 0:
            return cursor.take(cursor.byte()).decode("utf-8", "surrogateescape")
        if kind == 1:
            return "".join(chr(cursor.number()) for _ in range(cursor.byte() % 16))
        if kind == 2:
            return FORGERIES[cursor.byte() % len(FORGERIES)] * (1 + cursor.byte() % 3)
        return cursor.take(cursor.byte() % 8).decode("latin-1") * cursor.byte()

    def mapping(self, depth: int = 0) -> dict[Any, Any]:
        return {self.text(): self.value(depth + 1) for _ in range(self._cursor.byte() % 6) if self._more()}

    def value(self, depth: int = 0) -> Any:
        cursor = self._cursor
        kind = cursor.byte() % 8
        if kind == 0:
            return int.from_bytes(cursor.take(cursor.byte() % 12), "big", signed=True)
        if kind == 1:
            return (None, True, False)[cursor.byte() % 3]
        if kind == 2:
            return struct.unpack(">d", cursor.take(8).ljust(8, b"\0"))[0]
        if kind == 3 and depth < 8:
            return [self.value(depth + 1) for _ in range(cursor.byte() % 8) if self._more()]
        if kind == 4 and depth < 8:
            return self.mapping(depth)
        if kind == 5:
            return cursor.take(cursor.byte())
        return self.text()

    def _more(self) -> bool:
        self._left -= 1
        return self._left > 0 and not self._cursor.at_end


_POINT = re.compile(r"(?:[\w.-]*[ \t]*\|[ \t]*)?\s*(not )?ok\b(?!\s*:)", re.IGNORECASE)
"A test point, or what the least of its readers takes for one, with and without a prefix of docker compose."


def report(octets: bytes) -> Hashable:
    """A failed point with a peer's texts everywhere: one point, and one YAML block that can be read."""
    values = _Values(Cursor(octets))
    name, reason, note = values.text(), values.text(), values.text()
    given = values.mapping()
    block = tap.yaml_block(given)
    document = [
        tap.VERSION,
        tap.plan(1),
        tap.comment(note),
        tap.point(False, 1, name, "TODO", reason),
        block,
        tap.bail_out(reason),
    ]
    text = "".join(document)
    lines = text.split("\n")
    assert lines.pop() == "", "the last line has no end"
    assert text.splitlines() == lines, "a character that some readers take for the end of a line"
    for line in lines:
        assert line.isprintable(), f"a line that does things to a terminal: {line!r}"
        line.encode("utf-8")
    points = [line for line in lines if _POINT.match(line)]
    assert len(points) == 1, f"more than one point: {points}"
    assert [line for line in lines if line.startswith(("Bail out!", "1.."))] == [lines[1], lines[-1]]
    assert points[0].count(" # ") == 1, f"a directive from nowhere: {points[0]!r}"
    assert len(block) <= tap.MAX_BLOCK * 2
    broken = [
        finding for finding in check(text.encode()).findings.violations if finding.rule.level == Level.TAP14
    ]
    assert not broken, f"no TAP 14: {broken}"
    return _read_block(block, given)


def _read_block(block: str, given: dict[Any, Any]) -> Hashable:
    if not block:
        return ()
    first, *body, last = block.splitlines()
    assert (first, last) == ("  ---", "  ...")
    for line in body:
        assert line.startswith("  "), f"it is not inside the block: {line!r}"
        assert line.strip() not in ("---", "..."), f"it ends the block: {line!r}"
    read = yaml.safe_load("\n".join(body))
    assert isinstance(read, dict), "the block is no mapping"
    assert len(read) <= len(given) + 1
    kinds = sorted({type(value).__name__ for value in read.values()})
    return (*kinds, "shortened" in read, len(body).bit_length())


# ---- lint-tap --------------------------------------------------------------------------------------


def lint(octets: bytes) -> Hashable:
    """`lint-tap`: any bytes are judged; findings name a line there is, and the exit code fits them."""
    code, text, errors = command(["-", "--json"], octets, lint_tap.main)
    said = json.loads(text)
    assert code == (lint_tap.EXIT_VIOLATIONS if said["violations"] else lint_tap.EXIT_CLEAN)
    assert not errors
    lines = octets.count(b"\n") + 1
    found = [*said["violations"], *said["warnings"]]
    for finding in found:
        assert 1 <= finding["line"] <= lines, f"line {finding['line']} of {lines}"
        assert finding["rule"] in RULES
    same, table, errors = command(["-"], octets, lint_tap.main)
    assert (same, errors) == (code, "")
    assert table.count("\n") > len(found)
    rules = sorted({finding["rule"] for finding in found})
    return (*rules[:1], *rules[-1:], len(rules).bit_length())


TARGETS = (
    Target("decode", "the command `decode`, and `encode` of what it prints", decode, TYPES),
    Target(
        "encode",
        "the command `encode`",
        encode,
        (
            *(f'"{name}"'.encode() for name in KINDS),
            *(
                b'{"message":',
                b'"fields":',
                b"null",
                b"-1",
                b"1e9",
                b'"0x"',
                b'"\\ud800"',
                b"[" * 400,
                b"9" * 400,
            ),
        ),
        size=8192,
    ),
    Target(
        "report",
        "texts of a peer in TAP: nothing forged, and YAML that can be read",
        report,
        tuple(forgery.encode("utf-8", "replace") for forgery in FORGERIES),
    ),
    Target(
        "lint",
        "the command `lint-tap`",
        lint,
        (
            *(forgery.encode("utf-8", "replace") for forgery in FORGERIES),
            *(b"TAP version 14\n", b"1..3\n", b"ok 1 - a\n", b"not ok 2 - b\n", b"  ---\n", b"  ...\n"),
            *(
                b"    ",
                b"  ",
                b"# Subtest: a\n",
                b"pragma +strict\n",
                b"test-client-1  | ",
                b"a: 1\n",
                b"- x\n",
            ),
        ),
    ),
)
