"""The command, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from client_command import Run, run_command


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., Run]:
    """The command."""

    def run(*arguments: str, **environment: str) -> Run:
        return run_command(tmp_path, *arguments, **environment)

    return run
