"""Packets are protected: with keys that change, and with the cipher that a client wants."""

from __future__ import annotations

import pytest

from pytest_moqt import NotConnected, QuicOptions, RelayUnderTest

from .steps import acknowledged, confirm, operate

UPDATES = 2
"A server that carries out one by accident of its state does not carry out the next."
CHACHA20 = "CHACHA20_POLY1305_SHA256"
HANDSHAKE_FAILURE = 0x100 + 40
"The TLS alert of a server that finds no common cipher suite (RFC 8446 section 4.1.1)."


@pytest.mark.interop("quic-keyupdate", timeout=8.0, profile="quic")
@pytest.mark.spec("rfc9001#6")
async def test_quic_keyupdate(relay: RelayUnderTest) -> None:
    """The relay follows us to new keys, twice."""
    async with relay.connect(quic=QuicOptions()) as session:
        await confirm(session)
        for number in range(1, UPDATES + 1):
            # Nothing may be on its way: what still comes in the old keys cannot be read.
            await acknowledged(session, "the handshake" if number == 1 else "the key update before")
            before = session.connection.facts.key_phase

            session.connection.update_key()

            await acknowledged(session, f"key update {number}")
            assert session.connection.facts.key_phase != before
            await operate(relay, session, str(number))

        # The relay's too: its answers could not have been read in the old keys, which are gone.
        assert session.connection.facts.key_updates == UPDATES


@pytest.mark.interop("quic-chacha20", timeout=5.0, profile="quic")
@pytest.mark.spec("rfc8446#9.1", "rfc9001#5.4.4")
async def test_quic_chacha20(relay: RelayUnderTest) -> None:
    """A client that offers only ChaCha20 gets its session, or the alert that says why not."""
    try:
        async with relay.connect(quic=QuicOptions(ciphers=(CHACHA20,))) as session:
            await operate(relay, session)

            assert session.connection.facts.cipher == CHACHA20
    except NotConnected as refusal:
        if refusal.code == HANDSHAKE_FAILURE:
            relay.not_offered("no-chacha20", "the relay does not have TLS_CHACHA20_POLY1305_SHA256")
        raise
