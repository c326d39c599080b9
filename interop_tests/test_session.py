"""A session comes about and ends."""

from __future__ import annotations

import pytest

from pytest_moqt import Close, RelayUnderTest, SessionError


@pytest.mark.interop("setup-only", timeout=2.0)
@pytest.mark.spec("session-init", "message-setup")
async def test_setup_only(relay: RelayUnderTest) -> None:
    """The relay answers our SETUP with its own, and the session ends without error."""
    async with relay.connect() as session:
        assert session.peer_setup is not None

    assert session.closed == Close(SessionError.NO_ERROR, by_peer=False)
