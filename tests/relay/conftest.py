"""A relay without a network, and the drafts to try it in."""

from __future__ import annotations

import pytest
from relay_clients import FakeRelay

from pytest_moqt.protocol.drafts import SUPPORTED


@pytest.fixture
def relay() -> FakeRelay:
    return FakeRelay()


@pytest.fixture(params=sorted(SUPPORTED), ids=lambda number: f"draft-{number}")
def number(request: pytest.FixtureRequest) -> int:
    """Each draft's number in turn."""
    number: int = request.param
    return number
