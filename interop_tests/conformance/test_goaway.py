"""GOAWAY of a client: it ends no subscription, and is bound to rules of its own."""

from __future__ import annotations

import pytest

from pytest_moqt import ClientSession, Frame, Goaway, RelayUnderTest, SessionError

from .reactions import attack, closes
from .tracks import established, payload

SERVERS_URI = "moqt://localhost/elsewhere"
"Where only a server may send its peer."


def goaway(session: ClientSession, uri: str = "", request_id: int = 1) -> Frame:
    """A client's GOAWAY, on its control stream; `request_id` where the draft has one there."""
    return session.frame(Goaway(uri, timeout_ms=0, request_id=request_id))


@pytest.mark.interop("goaway-from-client", timeout=5.0, profile="session")
@pytest.mark.spec("message-goaway")
async def test_goaway_from_client(relay: RelayUnderTest) -> None:
    """GOAWAY of a subscriber ends neither its session nor its subscription."""
    async with established(relay) as (publication, subscription):
        await subscription.session.send_raw(goaway(subscription.session))
        await subscription.session.settle()
        publication.group(0)

        await subscription.objects((0, 0), (0, 1), (0, 2), (0, 3))
        await subscription.streams(1)

        assert subscription.payloads[0, 3] == payload(0, 3)


@pytest.mark.interop("goaway-client-uri-nonempty", timeout=5.0, profile="session")
@pytest.mark.spec("message-goaway")
async def test_goaway_client_uri_nonempty(relay: RelayUnderTest) -> None:
    """GOAWAY of a client that names another URI ends the session with PROTOCOL_VIOLATION."""
    async with attack(relay) as attacker:
        await attacker.send_raw(goaway(attacker, SERVERS_URI))

        await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("goaway-repeated", timeout=5.0, profile="session")
@pytest.mark.spec("message-goaway")
async def test_goaway_repeated(relay: RelayUnderTest) -> None:
    """A second GOAWAY on the control stream ends the session with PROTOCOL_VIOLATION."""
    async with attack(relay) as attacker:
        await attacker.send_raw(goaway(attacker))
        await attacker.send_raw(goaway(attacker))

        await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("goaway-request-id-parity", timeout=5.0, profile="session", since=18, until=18)
@pytest.mark.spec("message-goaway")
async def test_goaway_request_id_parity(relay: RelayUnderTest) -> None:
    """GOAWAY of a client with the id of a request of its own ends the session with INVALID_REQUEST_ID."""
    async with attack(relay) as attacker:
        await attacker.send_raw(goaway(attacker, request_id=0))

        await closes(relay, attacker, SessionError.INVALID_REQUEST_ID)
