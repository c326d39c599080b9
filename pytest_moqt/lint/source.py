"""The lines of what was given to check: bytes taken apart, decoded, and out of the log of docker compose.

Rules:

- Whatever the bytes are, they become lines; what is wrong with them is noted.
- Everything is bounded: of the input, of its lines and of each line no more is looked at than below.
- A line keeps its number in the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pytest_moqt.lint.rules import Findings

MAX_BYTES = 64 * 1024 * 1024
MAX_LINES = 500_000
MAX_LINE = 64 * 1024
"Bytes of one line. A whole run of seven cases writes some 10 KiB in 200 lines."

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_COMPOSE = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9._-]*) *\| ?TAP version 1[34]\s*")
# C0 without the newline and the carriage return, which has a rule of its own; DEL and C1; separators of lines
# and paragraphs; what turns the direction of a text; the byte order mark.
_CONTROL = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


class Line(NamedTuple):
    """One line of the document."""

    number: int
    "From 1, in the input."
    text: str
    "Without its newline; bytes that are no UTF-8 are lone surrogates."


class Source:
    """What was given, as lines.

    Attributes:
        lines: Those of the document: all, or those of one service in a log of docker compose.
        log: All lines of such a log, else None.
        service: That service.
        ended: Whether the last line has a newline.
    """

    def __init__(self, data: bytes, findings: Findings, service: str | None = None) -> None:
        """Take the bytes apart.

        Args:
            data: The whole input, or more of it than `MAX_BYTES`.
            findings: Gets what is wrong with the bytes.
            service: Whose lines to take from a log of docker compose; where None, whether it is one and
                whose lines they are is found out by the version line.
        """
        self._findings = findings
        self.ended = True
        self.service = service
        self.log: list[Line] | None = None
        lines = self._split(data)
        if service is None:
            self.service = _service(lines)
        if self.service is not None:
            self.log = lines
            prefix = re.compile(re.escape(self.service) + r" *\| ?")
            lines = [
                Line(number, text[found.end() :])
                for number, text in lines
                if (found := prefix.match(text)) is not None
            ]
        self.lines = lines
        for line in lines:
            self._check(line)

    @property
    def left_out(self) -> int:
        """How many lines of the log belong to others."""
        return 0 if self.log is None else len(self.log) - len(self.lines)

    def _split(self, data: bytes) -> list[Line]:
        if data.startswith(_BYTE_ORDER_MARK):
            self._findings.add("byte-order-mark", 1, "the text begins with a byte order mark")
            data = data[len(_BYTE_ORDER_MARK) :]
        too_many = len(data) > MAX_BYTES
        pieces = data[:MAX_BYTES].split(b"\n", MAX_LINES)
        if too_many or len(pieces) > MAX_LINES:
            pieces = pieces[:MAX_LINES]
            what = f"{MAX_BYTES >> 20} MiB" if too_many else f"{MAX_LINES} lines"
            self._findings.add("too-large", len(pieces), f"only the first {what} are checked")
        elif pieces[-1] == b"":
            pieces.pop()
        else:
            self.ended = False
            self._findings.add("final-newline", len(pieces), "the last line has no newline at its end")
        return [Line(number, self._decode(number, piece)) for number, piece in enumerate(pieces, 1)]

    def _decode(self, number: int, piece: bytes) -> str:
        if len(piece) > MAX_LINE:
            self._findings.add(
                "too-large",
                number,
                f"the line has {len(piece)} bytes, of which only the first {MAX_LINE} are checked",
            )
            # Not in the middle of a character.
            end = next(
                (end for end in range(MAX_LINE, MAX_LINE - 4, -1) if piece[end] & 0xC0 != 0x80), MAX_LINE
            )
            piece = piece[:end]
        try:
            return piece.decode()
        except UnicodeDecodeError as error:
            self._findings.add(
                "utf-8", number, f"the line is no UTF-8 from its byte {error.start + 1} on: {error.reason}"
            )
            return piece.decode(errors="surrogateescape")

    def _check(self, line: Line) -> None:
        number, text = line
        if text.isprintable():
            return
        if "\r" in text:
            self._findings.add("carriage-return", number, "the line has a carriage return in it")
        if found := _CONTROL.search(text):
            code = ord(found.group())
            self._findings.add(
                "control-character", number, f"the line has the control character U+{code:04X} in it"
            )

    def pieces(self) -> Iterator[Line]:
        """The lines as a reader of TAP has them: it should take a carriage return for the end of one too."""
        for line in self.lines:
            if "\r" not in line.text:
                yield line
                continue
            for piece in line.text.removesuffix("\r").split("\r"):
                yield Line(line.number, piece)


def _service(lines: list[Line]) -> str | None:
    """Whose version line comes first in a log of docker compose; None where this is none."""
    for _, text in lines:
        if text.startswith("TAP version "):
            return None
        if found := _COMPOSE.fullmatch(text):
            return found[1]
    return None
