"""The inputs that fuzzing begins with: files of names and hexadecimal, two for each target.

`corpus/TARGET.hex` is written by `python -m tests.fuzz.seeds`: what our own encoders say in each draft, and
the vectors of others. `corpus/TARGET.found.hex` has every input that was once a finding, added by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "corpus"


class Entry(NamedTuple):
    """One input."""

    name: str
    "Without white space."
    octets: bytes


def written(entries: Iterable[Entry]) -> str:
    """The text of a corpus file."""
    return "".join(f"{entry.name} {entry.octets.hex() or '-'}\n" for entry in entries)


def read(text: str) -> list[Entry]:
    """The inputs in a corpus file; lines that begin with `#`, and empty ones, are comments.

    Raises:
        ValueError: A line is no name and hexadecimal.
    """
    entries = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, octets = line.split()
            entries.append(Entry(name, b"" if octets == "-" else bytes.fromhex(octets)))
    return entries


def path(target: str, kind: str = "") -> Path:
    """The file of a target: of its seeds, or with the kind `found` of what was found."""
    return FOLDER / (f"{target}.{kind}.hex" if kind else f"{target}.hex")


def load(target: str) -> list[Entry]:
    """All inputs of a target, those that were once findings first."""
    entries = []
    for kind in ("found", ""):
        file = path(target, kind)
        if file.exists():
            entries += read(file.read_text(encoding="ascii"))
    return entries
