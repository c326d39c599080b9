"""Sessions: what SETUP may hold, which request ids are good, and how a session moves on."""

from __future__ import annotations

import pytest

from pytest_moqt import Opening, PublishNamespace, RelayUnderTest, SessionError

from .reactions import attack, closes
from .tracks import NAMESPACE, announce

GREASE = ((0x9D, b"unknown"), (0x11C, 7))
"Setup options that nobody defines: an odd type with bytes, an even one with a number (`grease`)."
PARITY = "request-id"


@pytest.mark.interop("setup-unknown-option-ignored", timeout=3.0, profile="session")
@pytest.mark.spec("setup-options", "setup-params", "message-setup", "grease")
async def test_setup_unknown_option_ignored(relay: RelayUnderTest) -> None:
    """Setup options that the relay does not know are ignored."""
    async with relay.connect("publisher", opening=Opening(options=GREASE)) as publisher:
        await announce(publisher, relay.namespace(NAMESPACE))


@pytest.mark.interop("request-id-wrong-parity", timeout=5.0, profile="session")
@pytest.mark.spec("request-id")
async def test_request_id_wrong_parity(relay: RelayUnderTest) -> None:
    """A request of a client with an odd id ends the session with INVALID_REQUEST_ID."""
    async with attack(relay) as attacker:
        await attacker.open(PublishNamespace(relay.namespace(NAMESPACE)), number=1)

        await closes(relay, attacker, SessionError.INVALID_REQUEST_ID)
