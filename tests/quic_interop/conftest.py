"""Certificates and folders for the tests of the QUIC endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from pairs import Site

from pytest_moqt.relay.certificates import self_signed


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the runner mounts it on /certs."""
    folder = tmp_path_factory.mktemp("certs")
    identity = self_signed()
    (folder / "cert.pem").write_bytes(identity.pem)
    (folder / "priv.key").write_bytes(
        identity.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


@pytest.fixture
def site(tmp_path: Path, certs: Path) -> Site:
    """Empty folders for one run."""
    return Site(tmp_path, certs)
