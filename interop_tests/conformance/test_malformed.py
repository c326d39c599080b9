"""What no draft allows: the relay ends the session that says it, and no other."""

from __future__ import annotations

import pytest

from pytest_moqt import Frame, RelayUnderTest

from .reactions import attack, closes

UNKNOWN_TYPE = 0x3FFE
"A message type that no draft has, nor keeps for grease."


@pytest.mark.interop("message-unknown-type", timeout=5.0, profile="malformed")
@pytest.mark.spec("message")
async def test_message_unknown_type(relay: RelayUnderTest) -> None:
    """A control message of an unknown type ends the session, with whatever code."""
    async with attack(relay) as attacker:
        await attacker.send_raw(Frame(UNKNOWN_TYPE, b"\x00"))

        await closes(relay, attacker, None)
