"""Connections come about: one, one whose address is validated first, and many."""

from __future__ import annotations

import statistics

import pytest

from pytest_moqt import Close, NotConnected, QuicOptions, RelayUnderTest, SessionError

from .steps import confirm, failed, operate

CONNECTIONS = 20
"Of `quic-multiconnect`, one after the other."
CONNECTION_REFUSED = 0x2
"What a server says that takes no more connections for now (RFC 9000 section 20.1)."


@pytest.mark.interop("quic-handshake", timeout=5.0, profile="quic")
@pytest.mark.spec("rfc9000#7", "rfc9001#4.1.2")
async def test_quic_handshake(relay: RelayUnderTest) -> None:
    """A connection of QUIC version 1 carries a session, is confirmed, and ends when we close it."""
    async with relay.connect(quic=QuicOptions()) as session:
        await confirm(session)

        assert session.peer_setup is not None
        assert session.connection.facts.version == "1"

    assert session.closed == Close(SessionError.NO_ERROR, by_peer=False)


@pytest.mark.interop("quic-retry", timeout=5.0, profile="quic")
@pytest.mark.spec("rfc9000#8.1.2", "rfc9000#17.2.5")
async def test_quic_retry(relay: RelayUnderTest) -> None:
    """A client that answers Retry with its token gets its session."""
    async with relay.connect(quic=QuicOptions(), retry_port=True) as session:
        await operate(relay, session)

        retried = session.connection.facts.retry
    if not retried and relay.has_retry_port:
        raise failed(
            "the port of --retry-relay sent no Retry", expected="Retry", received="the handshake at once"
        )
    if not retried:
        relay.not_offered("no-retry", "the relay sent no Retry; --retry-relay names a port that does")


@pytest.mark.interop("quic-multiconnect", timeout=20.0, profile="quic")
@pytest.mark.spec("rfc9000#5.2.2", "rfc9000#7")
async def test_quic_multiconnect(relay: RelayUnderTest) -> None:
    """Many connections, one after the other, are each as good as the first."""
    taken: list[float] = []
    for number in range(1, CONNECTIONS + 1):
        try:
            async with relay.connect(quic=QuicOptions()) as session:
                await operate(relay, session)

                taken.append(session.connection.facts.handshake_ms or 0.0)
        except NotConnected as refusal:
            if refusal.code == CONNECTION_REFUSED and refusal.kind == "closed":
                relay.not_offered("rate-limited", f"the relay refused connection {number} of {CONNECTIONS}")
            raise
    relay.measured["connections"] = len(taken)
    relay.measured["handshake_ms"] = {
        "min": round(min(taken), 1),
        "median": round(statistics.median(taken), 1),
        "max": round(max(taken), 1),
    }
