"""Failures of a relay that are known: read from a YAML file, matched by case and draft.

A file is a list of entries:

    - case: fetch-*            # a name or a pattern
      draft: [14, 16]          # a number or several; left out: in every draft
      reason: no cache before version 2

A known failure is reported as one that is expected (TODO), a pass in its place as unexpected.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pytest_moqt import catalog
from pytest_moqt.options import OptionError

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
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it is no YAML"
        raise OptionError(f"{path}{line}: {problem}") from None
    except RecursionError:
        raise OptionError(f"{path}: it is nested too deeply") from None
    if entries is None:
        return ()
    if not isinstance(entries, list) or node is None:
        raise OptionError(f"{path} line 1: it is no list of entries `- case: NAME`, with draft and reason")
    return tuple(
        _entry(entry, f"{path} line {child.start_mark.line + 1}")
        for entry, child in zip(entries, node.value, strict=True)
    )


def _entry(entry: Any, where: str) -> Expectation:
    if not isinstance(entry, dict):
        raise OptionError(f"{where}: an entry is a mapping with the keys {', '.join(KEYS)}")
    for key in entry:
        if key not in KEYS:
            raise OptionError(f"{where}: there is no key {key!r}; use {', '.join(KEYS)}")
    pattern, reason = entry.get("case"), entry.get("reason")
    if not isinstance(pattern, str) or not pattern:
        raise OptionError(f"{where}: the key case has {pattern!r}; use the name of a case, or a pattern")
    if not catalog.matching(pattern):
        raise OptionError(f"{where}: the key case has {pattern!r}, which no case is called")
    if not isinstance(reason, str) or not reason.strip():
        raise OptionError(f"{where}: the key reason has {reason!r}; say why the failure is known")
    return Expectation(pattern, _drafts(entry.get("draft"), where), " ".join(reason.split()))


def _drafts(value: Any, where: str) -> tuple[int, ...]:
    from pytest_moqt.protocol.drafts import SUPPORTED

    if value is None:
        return ()
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        if type(number) is not int or number not in SUPPORTED:
            known = ", ".join(map(str, SUPPORTED))
            raise OptionError(f"{where}: the key draft has {number!r}; use {known}, or a list of them")
    return tuple(numbers)
