"""TAP 14 text: version, plan, test points, directives, bail-outs, comments and YAML blocks.

Rules:

- Everything here is a pure function from values to whole lines that end with a newline.
- A relay's text is data: what does not print is written as an escape, so no text can start a line, end
  a YAML block, or become a directive.
- Inside a YAML block every string stands in double quotes on one line, and every line starts with a key
  or with `- `: a reader that strips indentation never finds a test point in it.

Source: the TAP 14 specification, and what four of its readers accept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "TAP version 14\n"

MAX_TEXT = 500
"Characters kept of one text: room for a sentence and a quoted reason phrase, not for a flood."
MAX_ENTRIES = 40
"Entries kept of one list or mapping."
MAX_DEPTH = 5
"Levels of mappings and lists kept."
MAX_BLOCK = 32 * 1024
"Characters of one YAML block; a larger one is written again with a tenth of the text."

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"Words that YAML 1.1 takes for something else than a text."
_NEWLINES = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """One line: white space becomes a space, what does not print an escape; at most `limit` characters."""
    text = " ".join(text.split())
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def escape(text: str) -> str:
    r"""`text` for a description or a reason: `\` and `#` escaped, so that no directive can begin in it."""
    return printable(text).replace("\\", "\\\\").replace("#", "\\#")


def comment(text: str) -> str:
    """A comment line; an empty `text` gives a bare `#`."""
    return f"# {printable(text)}".rstrip() + "\n"


def plan(count: int, reason: str = "") -> str:
    """The plan line.

    Args:
        count: Test points to come.
        reason: Why there are none; only with a count of 0, since some readers lose the plan otherwise.
    """
    if count == 0:
        return f"1..0 # SKIP {escape(reason or 'nothing to run')}\n"
    return f"1..{count}\n"


def point(ok: bool, number: int, name: str, directive: str = "", reason: str = "") -> str:
    """A test point.

    Args:
        ok: Its status; a skipped point must be `ok`, since some readers count `not ok … # SKIP` as failed.
        number: From 1.
        name: The description, escaped here.
        directive: `SKIP`, `TODO` or nothing.
        reason: Of the directive; may be empty.
    """
    line = f"{'ok' if ok else 'not ok'} {number} - {escape(name)}"
    if directive:
        line += f" # {directive} {escape(reason)}".rstrip()
    return line + "\n"


def bail_out(reason: str) -> str:
    """The line that ends a run early."""
    return f"Bail out! {escape(reason)}".rstrip() + "\n"


def subtest(name: str, steps: Sequence[tuple[str, bool, str]]) -> str:
    """A child document, to be followed directly by the parent's point of the same name.

    Args:
        name: The parent's description.
        steps: Name, verdict and SKIP/TODO reason with its directive (`SKIP why`) or nothing.
    """
    lines = [f"# Subtest: {escape(name)}\n", f"    {plan(len(steps), 'no steps')}"]
    for number, (step, ok, note) in enumerate(steps, 1):
        directive, _, reason = note.partition(" ")
        lines.append("    " + point(ok, number, step, directive, reason))
    return "".join(lines)


def yaml_block(values: Mapping[str, Any]) -> str:
    """The diagnostics of the point above: whole lines, two spaces in; nothing when there are no values.

    Numbers, booleans and null stay what they are; a text of several lines becomes a list of lines;
    everything else is written as a quoted text. Texts, lists and depth are bounded.
    """
    lines = _dump(values, MAX_TEXT, MAX_ENTRIES)
    if sum(map(len, lines)) > MAX_BLOCK:
        lines = _dump({**values, "shortened": True}, MAX_TEXT // 10, MAX_ENTRIES // 10)
    if not lines:
        return ""
    return "".join(f"  {line}\n" for line in ["---", *lines, "..."])


def _dump(values: Mapping[str, Any], max_text: int, max_entries: int) -> list[str]:
    return _block(_tidy(values, max_text, max_entries, MAX_DEPTH) or {})


def _block(value: dict[str, Any] | list[Any]) -> list[str]:
    """The lines of a mapping or list in block style, each entry below what it belongs to, two spaces in.

    Ours and not PyYAML's: this subset is what all readers of TAP agree on, which took as much code to
    get out of PyYAML, and whose import and dump are a twentieth of a run that passes. What it writes is
    read back by PyYAML in the tests.
    """
    lines: list[str] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                lines.append(f"{key}:")
                lines += [f"  {line}" for line in _block(inner)]
            else:
                lines.append(f"{key}: {_scalar(inner)}")
        return lines
    for entry in value:
        first, *rest = _block(entry) if isinstance(entry, dict | list) else [_scalar(entry)]
        lines.append(f"- {first}")
        lines += [f"  {line}" for line in rest]
    return lines


def _scalar(value: str | float | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # YAML 1.1 knows no exponent without a point before it.
        mantissa, exponent, power = repr(value).partition("e")
        return mantissa if not exponent else f"{mantissa}{'' if '.' in mantissa else '.0'}e{power}"
    if value.isprintable():
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    # Marks that hide in a text, or turn its direction, could make it read otherwise: escaped too. Without
    # the short escapes that only YAML knows, such as `\\e`: the readers of TAP do not all.
    return f'"{"".join(map(_character, value))}"'


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _tidy(value: Any, max_text: int, max_entries: int, depth: int) -> Any:
    """`value` made of what may stand in a block; None where nothing is left of a container."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and depth:
        tidied = {
            _key(key): _tidy(entry, max_text, max_entries, depth - 1)
            for key, entry in list(value.items())[:max_entries]
        }
        return {key: entry for key, entry in tidied.items() if entry not in ({}, [])}
    if isinstance(value, list | tuple) and depth:
        entries = [_tidy(entry, max_text, max_entries, depth - 1) for entry in value[:max_entries]]
        if len(value) > max_entries:
            entries.append(f"… and {len(value) - max_entries} more")
        return [entry for entry in entries if entry not in ({}, [])]
    lines = _NEWLINES.split(str(value).strip("\r\n"))
    if len(lines) > 1:
        return _tidy([line for line in lines if line.strip()], max_text, max_entries, 1)
    text = lines[0]
    if len(text) > max_text:
        text = text[: max_text - 1] + "…"
    # A lone surrogate has no UTF-8, and its escape is refused by YAML readers.
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isprintable() else text


def _key(key: object) -> str:
    """A key that no reader mistakes for something else: lower case, digits and underscores."""
    name = re.sub(r"[^a-z0-9_]+", "_", str(key).lower())[:60].strip("_")
    return name if name[:1].isalpha() and name not in _NOT_TEXT else f"_{name}"
