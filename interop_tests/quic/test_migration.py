"""A connection goes on when the client's port changes, unasked or on purpose."""

from __future__ import annotations

import pytest

from pytest_moqt import CaseFailure, ClientSession, QuicOptions, RelayUnderTest

from .steps import acknowledged, confirm, failed, operate


async def go_on(relay: RelayUnderTest, session: ClientSession, how: str) -> None:
    """Go on from a new port, and see that the relay answers there, and validates it.

    Raises:
        CaseFailure: It does not.
    """
    before = session.connection.facts
    await session.connection.change_port()
    await acknowledged(session, how)
    await operate(relay, session, how.replace(" ", "-"))
    # Our response to a challenge that came with the answer has been sent by then.
    await acknowledged(session, how)
    facts = session.connection.facts
    if facts.path_challenges == before.path_challenges:
        raise failed(
            f"after {how} the relay went on without PATH_CHALLENGE: it sends to whom it has not validated",
            expected="PATH_CHALLENGE on the new path",
            received="packets without one",
        )
    assert facts.path_responses > before.path_responses


@pytest.mark.interop("quic-connectionmigration", timeout=10.0, profile="quic")
@pytest.mark.spec("rfc9000#9.3", "rfc9000#9.5")
async def test_quic_connectionmigration(relay: RelayUnderTest) -> None:
    """The relay follows a client to a new port, once as behind a NAT, once with a new connection id."""
    async with relay.connect(quic=QuicOptions()) as session:
        await confirm(session)
        await acknowledged(session, "the handshake")
        allowed = session.connection.facts.active_migration
        try:
            await go_on(relay, session, "a new port")
        except CaseFailure as silence:
            if allowed or silence.cause != "timeout":
                raise
            # "drop the packets on that path" (RFC 9000 section 9): it said before that it would.
            session.close_awaited = True
            relay.not_offered("migration-disabled", "the relay says disable_active_migration, and means it")
        if not allowed:
            relay.not_offered(
                "migration-disabled", "the relay says disable_active_migration; it follows a NAT"
            )
        if not session.connection.facts.spare_connection_ids:
            relay.not_offered("no-spare-connection-id", "the relay gives no connection id to migrate with")

        session.connection.change_connection_id()
        await go_on(relay, session, "a new port and connection id")
