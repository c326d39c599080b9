"""Sweeps: the same test of many cells, of which an ordinary run judges a part, dealt out by their names.

A cell that an ordinary run leaves out is marked `thorough`; with `--thorough` all are run.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

CellT = TypeVar("CellT")


def dealt(cells: Sequence[CellT], name: str, turn: int = 0) -> CellT:
    """One of these cells, the same in every run on every machine.

    Args:
        cells: What there is to choose from.
        name: What the choice hangs on: a cell more or less elsewhere changes nothing here.
        turn: Another turn of the same name takes another cell.
    """
    return cells[(zlib.crc32(name.encode()) + turn) % len(cells)]


def swept(cells: Iterable[CellT], always: Collection[CellT]) -> list[ParameterSet]:
    """All cells as parameters; those that are not in `always` are left to a thorough run."""
    return [
        pytest.param(cell, id=str(cell), marks=() if cell in always else pytest.mark.thorough)
        for cell in cells
    ]
