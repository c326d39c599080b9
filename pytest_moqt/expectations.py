"""Failures of a relay that are known: read from a YAML file, matched by case and draft.

A file is a list of entries:

    - case: fetch-*            # a name or a pattern
      draft: [14, 16]          # a number or several; left out: in every draft
      reason: no cache before version 2

A known failure is reported as one that is expected (TODO), a pass in its place as unexpected.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_moqt import catalog
from pytest_moqt.options import OptionError

if TYPE_CHECKING:
    import yaml

KEYS = ("case", "draft", "reason")
MAX_SIZE = 1024 * 1024


class Expectation(NamedTuple):
    """One entry."""

    pattern: str
    drafts: tuple[int, ...]
    "Of which it speaks; none: of all."
    reason: str

    def is_about(self, identifier: str, spoken: int | None) -> bool:
        """Whether it speaks of a case in the draft spoken; None is not known, and no draft that is named."""
        return fnmatchcase(identifier, self.pattern) and (not self.drafts or spoken in self.drafts)


def load(path: str) -> tuple[Expectation, ...]:
    """Read a file.

    Raises:
        OptionError: It cannot be read, or an entry cannot be used; with its line and key.
    """
    import yaml

    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # Each process of a run reads it, and a pipe has it only for the first.
        raise OptionError(f"--expect is {path!r}, which is no regular file: it is read more than once")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_SIZE + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise OptionError(f"--expect is {path!r}, which cannot be read: {why}") from None
    if len(text) > MAX_SIZE:
        raise OptionError(f"--expect is {path!r}, which is longer than {MAX_SIZE} characters")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it is no YAML"
        raise OptionError(f"{path}{line}: {problem}") from None
    except RecursionError:
        raise OptionError(f"{path}: it is nested too deeply") from None
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise OptionError(f"{path} line 1: it is no list of entries `- case: NAME`, with draft and reason")
    return tuple(_entry(child, path) for child in node.value)


def _entry(node: yaml.Node, path: str) -> Expectation:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise OptionError(f"{_at(node, path)}: an entry is a mapping with the keys {', '.join(KEYS)}")
    values: dict[str, Any] = {}
    where = dict.fromkeys(KEYS, _at(node, path))
    for key_node, value_node in node.value:
        line = _at(key_node, path)
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode) or key not in KEYS:
            shown = repr(key) if isinstance(key_node, yaml.ScalarNode) else "that is a list or a mapping"
            raise OptionError(f"{line}: there is no key {shown}; use {', '.join(KEYS)}")
        if key in values:
            raise OptionError(f"{line}: the key {key} is there twice; each entry begins with `- `")
        where[key] = line
        values[key] = _value(value_node, key, line)
    pattern, reason = values.get("case"), values.get("reason")
    if not isinstance(pattern, str) or not pattern:
        raise OptionError(
            f"{where['case']}: the key case has {pattern!r}; use the name of a case, or a pattern"
        )
    if not catalog.matching(pattern):
        raise OptionError(f"{where['case']}: the key case has {pattern!r}, which no case is called")
    if not isinstance(reason, str) or not reason.strip():
        raise OptionError(f"{where['reason']}: the key reason has {reason!r}; say why the failure is known")
    return Expectation(pattern, _drafts(values.get("draft"), where["draft"]), " ".join(reason.split()))


def _at(node: yaml.Node, path: str) -> str:
    return f"{path} line {node.start_mark.line + 1}"


def _value(node: yaml.Node, key: str, where: str) -> Any:
    """What stands behind a key: a text, a number, nothing, or a list of those."""
    import yaml

    listed = key == "draft" and isinstance(node, yaml.SequenceNode)
    parts = node.value if listed else [node]
    for part in parts:
        if not isinstance(part, yaml.ScalarNode):
            kind = "a list" if isinstance(part, yaml.SequenceNode) else "a mapping"
            raise OptionError(f"{where}: the key {key} has {kind}, where none can be")
    try:
        values = [yaml.constructor.SafeConstructor().construct_document(part) for part in parts]
    except yaml.constructor.ConstructorError as error:
        raise OptionError(f"{where}: {error.problem}") from None
    except (ValueError, LookupError, AttributeError, OverflowError):
        # Such as 2024-13-45, which looks like a date, or a tag that its text does not fit.
        shown = ", ".join(repr(part.value) for part in parts)
        raise OptionError(f"{where}: the key {key} has {shown}, which YAML cannot read; quote it") from None
    return values if listed else values[0]


def _drafts(value: Any, where: str) -> tuple[int, ...]:
    from pytest_moqt.protocol.drafts import SUPPORTED

    if value is None:
        return ()
    numbers = value if isinstance(value, list) else [value]
    wrong = [number for number in numbers if type(number) is not int or number not in SUPPORTED]
    if wrong or not numbers:
        known = ", ".join(map(str, SUPPORTED))
        shown = repr(wrong[0]) if wrong else "an empty list"
        raise OptionError(f"{where}: the key draft has {shown}; use {known}, or a list of them")
    return tuple(numbers)
