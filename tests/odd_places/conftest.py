"""Fixtures of the tests that put a run in odd places."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty toy project, whose relay is the fake one."""
    return Project(tmp_path)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A UDP socket that takes everything and answers nothing: whoever sends to it is in its first case."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(60)
        yield bound
