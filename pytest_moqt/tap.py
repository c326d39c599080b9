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

_ESCAPES = {'"': '"', "\\": "\\", "\n": "n", "\r": "r", "\t": "t"}
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
    text = _dump(values, MAX_TEXT, MAX_ENTRIES)
    if len(text) > MAX_BLOCK:
        text = _dump({**values, "shortened": True}, MAX_TEXT // 10, MAX_ENTRIES // 10)
    if not text:
        return ""
    return "".join(f"  {line}\n" for line in ["---", *text.splitlines(), "..."])


def _dump(values: Mapping[str, Any], max_text: int, max_entries: int) -> str:
    tidied = _tidy(values, max_text, max_entries, MAX_DEPTH)
    if not tidied:
        return ""
    # Here and not above: PyYAML costs a quarter of the start-up of a command that only lists names.
    import yaml

    global _dumper
    if _dumper is None:
        _dumper = _make_dumper()
    dumped: str = yaml.dump(tidied, Dumper=_dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    # Legal in YAML, but marks that hide in a text, or turn its direction, could make it read otherwise.
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\u{ord(character):04x}"
        for character in dumped
    )


_dumper: Any = None


def _make_dumper() -> Any:
    """PyYAML's safe dumper, but texts in double quotes, keys bare, and lists indented below their key."""
    import yaml

    class Dumper(yaml.SafeDumper):
        # Without the short escapes that only YAML knows, such as `\\e`: the readers of TAP do not all.
        ESCAPE_REPLACEMENTS = _ESCAPES  # type: ignore[misc]  # final in the stubs, read through self

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            # Lists one step in, so that a key and its entries never start in the same column.
            super().increase_indent(flow, False)

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"')

    def mapping(dumper: Any, value: dict[str, Any]) -> Any:
        pairs = [
            (yaml.ScalarNode("tag:yaml.org,2002:str", key), dumper.represent_data(entry))
            for key, entry in value.items()
        ]
        return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=False)

    Dumper.add_representer(str, text)
    Dumper.add_representer(dict, mapping)
    return Dumper


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
    return name if name[:1].isalpha() else f"_{name}"
