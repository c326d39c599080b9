"""Connections come about: one, one whose address is validated first, and many."""

from __future__ import annotations

import asyncio
import statistics

import pytest

from pytest_moqt import CaseFailure, Close, Loss, NotConnected, QuicOptions, RelayUnderTest, SessionError

from .steps import confirm, failed, operate

CONNECTIONS = 20
"Of `quic-multiconnect`, one after the other."
LOSSY = 5
"Of those at the same time whose handshakes lose datagrams."
LOST = 0.3
"The share of them, both ways; as in the interop runner's `handshakeloss`."
BURST = 2
"In a row at most, so that the third probe gets through: a second, with the usual times."
FOREIGN_TOKEN = b"an address validation token that nobody gave, as long as many are"
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


async def show_foreign_token(relay: RelayUnderTest) -> None:
    """Show a token that the relay never gave, and see that it takes no harm.

    What it makes of that is its own: it SHOULD go on as without a token, MAY send Retry, and may take the
    token for one of a Retry, which it drops or answers with INVALID_TOKEN (RFC 9000 sections 8.1.2, 8.1.3).
    """
    try:
        async with relay.connect(
            "foreign", quic=QuicOptions(token=FOREIGN_TOKEN), retry_port=True
        ) as session:
            await operate(relay, session, "foreign")

            relay.measured["foreign_token"] = "Retry" if session.connection.facts.retry else "passed over"
    except NotConnected as refusal:
        relay.measured["foreign_token"] = refusal.received
        # What the report has of it is beneath a session, which it never was.
        del relay.records["foreign"]
    async with relay.connect("after", quic=QuicOptions(), retry_port=True) as session:
        await operate(relay, session, "after")


@pytest.mark.interop("quic-retry", timeout=9.0, profile="quic")
@pytest.mark.spec("rfc9000#8.1.2", "rfc9000#8.1.3", "rfc9000#17.2.5")
async def test_quic_retry(relay: RelayUnderTest) -> None:
    """A client that answers Retry with its token gets its session; what shows another harms nobody."""
    async with relay.connect(quic=QuicOptions(), retry_port=True) as session:
        await operate(relay, session)

        retried = session.connection.facts.retry
    await show_foreign_token(relay)
    if not retried and relay.has_retry_port:
        raise failed(
            "the port of --retry-relay sent no Retry", expected="Retry", received="the handshake at once"
        )
    if not retried:
        relay.not_offered("no-retry", "the relay sent no Retry; --retry-relay names a port that does")


def summary(taken: list[float]) -> dict[str, float]:
    """What there is to say of many times."""
    values = {"min": min(taken), "median": statistics.median(taken), "max": max(taken)}
    return {name: round(value, 1) for name, value in values.items()}


async def lose_some(relay: RelayUnderTest, seed: int) -> float:
    """Have a session whose handshake loses datagrams; returns how long it took, in milliseconds."""
    loss = Loss(seed, share=LOST, burst=BURST)
    try:
        async with relay.connect(f"lossy_{seed}", quic=QuicOptions(loss=loss)) as session:
            session.connection.mend()
            await operate(relay, session, f"lossy-{seed}")
            return session.connection.facts.handshake_ms or 0.0
    except CaseFailure as failure:
        # Whatever of it was lost for good: the handshake, SETUP, or HTTP/3 between them.
        raise failed(
            f"over a link that loses {LOST:.0%} of the datagrams of a handshake: {failure}",
            expected="a session, for what is lost is sent again",
            received=failure.received,
        ) from failure


@pytest.mark.interop("quic-multiconnect", timeout=30.0, profile="quic")
@pytest.mark.spec("rfc9000#5.2.2", "rfc9002#6.2")
async def test_quic_multiconnect(relay: RelayUnderTest) -> None:
    """Many connections, one after the other, are each as good as the first; so are some that lose packets."""
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
    relay.measured["handshake_ms"] = summary(taken)
    async with asyncio.TaskGroup() as tasks:
        lossy = [tasks.create_task(lose_some(relay, number)) for number in range(1, LOSSY + 1)]
    relay.measured["lossy_handshake_ms"] = summary([task.result() for task in lossy])
