"""The YAML block below a test point: its lines, what they say, and whether every reader takes it so.

Rules:

- PyYAML takes the text apart into events and builds nothing: no tag does anything, no alias is followed.
- Which of its two parsers is used makes no difference in what is found, only in speed.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pytest_moqt.lint.rules import Findings, shown

MAX_BLOCK = 256 * 1024
"Characters of one block that are parsed; our own writer stops at 32 KiB."
MAX_YAML = 8 * 1024 * 1024
"Characters of all blocks together: PyYAML's own parser takes a minute for twice as much."
MAX_DEPTH = 40
"Mappings and lists inside one another."

# What is the same in YAML 1.1 and 1.2, for readers of either.
_NOT_TEXT = re.compile(r"|~|null|true|false|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TEXT_KEY = re.compile(r"[A-Za-z_][\w .-]*")
_NOT_A_KEY = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"Words that YAML 1.1 takes for something else than a text, in any case of letters."
_NOT_YAML = re.compile("[^\t\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"Characters that may stand in no YAML text, which the two parsers would place differently."


class Scalar(NamedTuple):
    """A value that is no container."""

    text: str
    quoted: bool
    "Whether it stands in quotes, or in a literal block, and so is a text whatever it looks like."
    line: int

    @property
    def is_text(self) -> bool:
        """Whether every reader takes it for a text."""
        return self.quoted or _NOT_TEXT.fullmatch(self.text) is None

    @property
    def number(self) -> float | None:
        """The number that it is, if it is one."""
        return None if self.quoted or _NUMBER.fullmatch(self.text) is None else float(self.text)


class Container:
    """A mapping or a list.

    Attributes:
        mapping: Whether it is a mapping.
        entries: Of a mapping the values by their keys, of a list by their index as a text.
        line: Where it begins.
        key: Whose value comes next, in a mapping; None where a key comes next, and in a list.
    """

    def __init__(self, *, mapping: bool, line: int) -> None:
        self.mapping = mapping
        self.entries: dict[str, Scalar | Container] = {}
        self.line = line
        self.key: str | None = None

    @property
    def awaits_key(self) -> bool:
        """Whether what comes next is a key."""
        return self.mapping and self.key is None

    def put(self, value: Scalar | Container) -> None:
        """Take the value of the key, or the next of the list."""
        self.entries[str(len(self.entries)) if self.key is None else self.key] = value
        self.key = None


class Block:
    """The lines between `---` and `...`.

    Attributes:
        line: Where it begins.
        indent: In which column its markers stand.
    """

    def __init__(self, line: int, indent: int) -> None:
        self.line = line
        self.indent = indent
        self.size = 0
        self._lines: list[str] = []
        self._numbers: list[int] = []

    def add(self, number: int, text: str) -> None:
        """Take a line, as far in as it stands in the document."""
        self.size += len(text) + 1
        if self.size <= MAX_BLOCK:
            # Bytes that are no UTF-8 have been noted as such.
            self._lines.append(text[self.indent :].encode(errors="replace").decode())
            self._numbers.append(number)

    def read(self, findings: Findings) -> Container | None:
        """Parse it; what is wrong is noted.

        Returns:
            The mapping that it is; None when it is none.
        """
        if self.size > MAX_BLOCK:
            findings.add(
                "too-large",
                self.line,
                f"the YAML block has {self.size} characters, which is not parsed: {MAX_BLOCK} are the limit",
            )
            return None
        try:
            for number, line in enumerate(self._lines):
                if found := _NOT_YAML.search(line):
                    raise _Wrong(f"U+{ord(found.group()):04X} may not stand in it", number)
            builder = _Builder(self)
            values = builder.build("\n".join(self._lines))
        except _Wrong as wrong:
            findings.add("yaml-syntax", self.number(wrong.line), f"the block is no YAML: {wrong}")
            return None
        for name, at, message in builder.found:
            findings.add(name, at, message)
        return values

    def number(self, line: int) -> int:
        """The line of the input that this line of the block, from 0, is."""
        return self._numbers[min(line, len(self._numbers) - 1)] if self._numbers else self.line


class _Wrong(Exception):
    """The block is no YAML."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Builder:
    """Events to values.

    Attributes:
        found: Rules that are broken, with line and sentence; of no interest in what is no YAML after all.
    """

    def __init__(self, block: Block) -> None:
        self.found: list[tuple[str, int, str]] = []
        self._block = block
        self._open: list[Container] = []
        self._root: Scalar | Container | None = None
        self._documents = 0
        self._anchors: set[str] = set()

    def build(self, text: str) -> Container | None:
        """The mapping that this text is."""
        import yaml

        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for event in yaml.parse(text, Loader=loader):
                self._take(event, type(event).__name__)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(str(error.problem or error.context).split())
            raise _Wrong(problem, mark.line if mark else 0) from None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise _Wrong(" ".join(str(error).split()), 0) from None
        if isinstance(self._root, Container) and self._root.mapping:
            return self._root
        what = (
            "empty" if self._root is None else "a list" if isinstance(self._root, Container) else "one value"
        )
        self._note("yaml-mapping", self._block.line, f"the YAML block is {what} and no mapping")
        return None

    def _note(self, rule: str, line: int, message: str) -> None:
        self.found.append((rule, line, message))

    def _take(self, event: Any, kind: str) -> None:
        line = event.start_mark.line
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise _Wrong("a second document begins in it", line)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise _Wrong(f"the alias {shown(event.anchor)} has no anchor", line)
            self._unportable(line, f"the alias {shown(event.anchor)}")
            self._put(Scalar("", quoted=True, line=self._number(line)), line)
        elif kind == "ScalarEvent":
            self._scalar(event, line)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._marks(event, line)
            if len(self._open) >= MAX_DEPTH:
                raise _Wrong(f"more than {MAX_DEPTH} mappings and lists inside one another", line)
            container = Container(mapping=kind == "MappingStartEvent", line=self._number(line))
            self._put(container, line)
            self._open.append(container)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._open.pop()

    def _scalar(self, event: Any, line: int) -> None:
        self._marks(event, line)
        scalar = Scalar(str(event.value), bool(event.style), self._number(line))
        if self._open and self._open[-1].awaits_key:
            self._key(scalar, line)
            return
        key = self._said()
        self._put(scalar, line)
        if not scalar.is_text:
            return
        if event.style != '"':
            how = {"'": "in single quotes", "|": "a literal block", ">": "a folded block"}.get(
                event.style, "not in quotes"
            )
            self._note("yaml-quoting", scalar.line, f"{key} is {how}: {shown(scalar.text)}")
        elif event.end_mark.line != line:
            self._note("yaml-quoting", scalar.line, f"{key} goes over several lines")

    def _key(self, key: Scalar, line: int) -> None:
        if not key.quoted and (key.text.lower() in _NOT_A_KEY or _TEXT_KEY.fullmatch(key.text) is None):
            self._unportable(line, f"the key {shown(key.text)} without quotes")
        if key.text in self._open[-1].entries:
            raise _Wrong(f"the key {shown(key.text)} comes twice", line)
        self._open[-1].key = key.text

    def _said(self) -> str:
        """What the next value is, for a sentence."""
        if not self._open:
            return "the text"
        key = self._open[-1].key
        return "an entry of a list" if key is None else f"the value of {shown(key)}"

    def _marks(self, event: Any, line: int) -> None:
        if event.tag is not None:
            self._unportable(line, f"the tag {shown(event.tag)}")
        if event.anchor is not None:
            self._anchors.add(event.anchor)
            self._unportable(line, f"the anchor {shown(event.anchor)}")

    def _unportable(self, line: int, what: str) -> None:
        self._note("yaml-portable", self._number(line), f"{what} is not the same to all readers")

    def _put(self, value: Scalar | Container, line: int) -> None:
        if not self._open:
            self._root = value
        elif self._open[-1].awaits_key:
            self._unportable(line, "a key that is no text")
            self._open[-1].key = f"? {len(self._open[-1].entries)}"
        else:
            self._open[-1].put(value)

    def _number(self, line: int) -> int:
        return self._block.number(line)
