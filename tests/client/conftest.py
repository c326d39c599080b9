"""Certificates for servers on loopback."""

from __future__ import annotations

import pytest
from quic_servers import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own and what it, or nobody, has signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
