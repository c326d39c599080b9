"""Sessions of TLS are resumed with a ticket, and SETUP goes before the handshake's end."""

from __future__ import annotations

import pytest

from pytest_moqt import QuicOptions, RelayUnderTest, Ticket

from .steps import TICKET_SECONDS, operate


async def ticket_of(relay: RelayUnderTest) -> Ticket:
    """A ticket that the relay gives to a connection, which is over then."""
    async with relay.connect("first", quic=QuicOptions(keep_tickets=True)) as session:
        ticket = await session.connection.wait_ticket(TICKET_SECONDS)
    if ticket is None:
        relay.not_offered("no-ticket", f"no session ticket came within {TICKET_SECONDS * 1000:.0f} ms")
    return ticket


@pytest.mark.interop("quic-resumption", timeout=8.0, profile="quic")
@pytest.mark.spec("rfc9001#4.5", "rfc8446#2.2")
async def test_quic_resumption(relay: RelayUnderTest) -> None:
    """A client that shows the relay's ticket gets its session, resumed or from scratch."""
    ticket = (await ticket_of(relay)).without_early_data()
    async with relay.connect("second", quic=QuicOptions(ticket=ticket)) as session:
        await operate(relay, session)

        resumed = session.connection.facts.resumed
    if not resumed:
        relay.not_offered("ticket-declined", "the relay gave a ticket and made a full handshake all the same")


@pytest.mark.interop("quic-zerortt", timeout=8.0, profile="quic")
@pytest.mark.spec("rfc9001#4.6", "rfc9001#9.2")
async def test_quic_zerortt(relay: RelayUnderTest) -> None:
    """SETUP that is sent in 0-RTT packets is answered, whether the relay takes it then or later."""
    if relay.transport == "webtransport":
        relay.not_tried("webtransport", "a WebTransport client sends nothing early: only moqt:// is tried")
    ticket = await ticket_of(relay)
    if not ticket.early_data:
        relay.not_offered("no-early-data", "the relay's ticket allows no early data")
    async with relay.connect("second", quic=QuicOptions(ticket=ticket, early_setup=True)) as session:
        # What may be sent again by an attacker has to be harmless: SETUP is, and nothing else went early.
        assert session.connection.facts.early_octets > 0
        await operate(relay, session)

        facts = session.connection.facts
    relay.measured["early_octets"] = facts.early_octets
    if facts.early_data != "accepted":
        relay.not_offered("early-data-rejected", "the relay took SETUP when the handshake was complete")
