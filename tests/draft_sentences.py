"""The normative sentences of a draft, read off its source: Markdown as kramdown-rfc takes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

KEYWORD = re.compile(r"\b(?:MUST|SHALL|SHOULD)(?: NOT)?\b|\b(?:REQUIRED|RECOMMENDED)\b")
"What makes a sentence normative (RFC 2119); MAY asks for nothing."

_HEADING = re.compile(r"(#{1,6}) +(.*?)(?:\s*\{#([\w-]+).*\})?\s*$")
_FENCE = re.compile(r"\s*(?:~~~|```)")
_RULE = re.compile(r"\s*[-+|=]{3,}")
_ITEM = re.compile(r"\s*(?:[*+-]|\d+\.|:)\s+")
_REFERENCE = re.compile(r"\[?\{\{[^}]*\}\}\]?")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs)\.")
_STOP = re.compile(r"(?<=[.!?])\s+(?=[A-Z(0-9])")
_HIDDEN = "\0"
"A full stop that ends no sentence."


class Sentence(NamedTuple):
    """One sentence of a draft."""

    section: str
    "Its number: `9.20.1`."
    text: str

    @property
    def digest(self) -> str:
        """What tells it from others, whatever its punctuation and line breaks."""
        letters = re.sub(r"[^a-z0-9]", "", self.text.lower())
        return hashlib.sha256(letters.encode()).hexdigest()[:8]


def normative(source: str) -> list[Sentence]:
    """The sentences of a draft that ask for something, in their order, without its appendices."""
    _, _, body = source.partition("\n--- middle\n")
    body, _, _ = body.partition("\n--- back\n")
    return [
        Sentence(section, sentence)
        for section, lines in _sections(body.splitlines())
        for paragraph in _paragraphs(lines)
        for sentence in _sentences(paragraph)
        if KEYWORD.search(sentence)
    ]


def _sections(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Number and lines of each section; what stands in figures is left out."""
    counts: list[int] = []
    number, held, in_figure = "", [], False
    for line in lines:
        if _FENCE.match(line):
            in_figure = not in_figure
            held.append("")
        elif in_figure:
            continue
        elif heading := _HEADING.match(line):
            yield number, held
            depth = len(heading[1])
            counts = [*counts, *[0] * depth][:depth]
            counts[-1] += 1
            number, held = ".".join(map(str, counts)), []
        else:
            held.append(line)
    yield number, held


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs, items of lists and rows of tables, each in one line."""
    held: list[str] = []
    for line in [*lines, ""]:
        ends = not line.strip() or _RULE.match(line)
        item = _ITEM.match(line)
        begins = item or line.lstrip().startswith("|")
        if held and (ends or begins):
            yield " ".join(held)
            held = []
        if not ends:
            held.append(line[item.end() if item else 0 :].strip())


def _sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, without references and marks of Markdown."""
    text = _LINK.sub(r"\1", _REFERENCE.sub("", paragraph))
    text = re.sub(r"\(\s*\)|[`*\"]", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    text = _ABBREVIATION.sub(lambda found: found[0].replace(".", _HIDDEN), text)
    return [part.replace(_HIDDEN, ".").strip() for part in _STOP.split(text)]
