"""Versions of QUIC are negotiated: compatibly to version 2, and after one that nobody speaks."""

from __future__ import annotations

import pytest

from pytest_moqt import VERSION_1, VERSION_2, QuicOptions, RelayUnderTest

from .steps import failed, operate

RESERVED = 0x1A2A3A4A
"A version that is reserved to exercise negotiation (RFC 9000 section 15)."


@pytest.mark.interop("quic-v2", timeout=5.0, profile="quic")
@pytest.mark.spec("rfc9369#4", "rfc9368#2")
async def test_quic_v2(relay: RelayUnderTest) -> None:
    """A client that begins in version 1 and prefers version 2 is taken there, or stays where it is."""
    wanted = QuicOptions(versions=(VERSION_2, VERSION_1), first_version=VERSION_1)
    async with relay.connect(quic=wanted) as session:
        await operate(relay, session)

        version = session.connection.facts.version
    if version == "1":
        relay.not_offered("version-1-kept", "the relay works, but stayed on QUIC version 1")
    assert version == "2"


@pytest.mark.interop("quic-vn", timeout=5.0, profile="quic")
@pytest.mark.spec("rfc9000#6.1")
async def test_quic_vn(relay: RelayUnderTest) -> None:
    """A first packet in a version that nobody speaks is answered with Version Negotiation."""
    wanted = QuicOptions(versions=(RESERVED, VERSION_1))
    async with relay.connect(quic=wanted) as session:
        await operate(relay, session)

        facts = session.connection.facts
    if not facts.version_negotiation:
        raise failed(
            f"the relay took a connection of version {RESERVED:#x}, which cannot be",
            expected="Version Negotiation",
            received=f"a handshake in version {facts.version}",
        )
    assert facts.version == "1"
