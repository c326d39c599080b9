"""The fixture of the plugin's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty toy project."""
    return Project(tmp_path)
