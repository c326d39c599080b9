"""Sessions: their control streams, what else a stream may begin with, and names that are nobody's."""

from __future__ import annotations

import asyncio

import pytest

from pytest_moqt import (
    ClientSession,
    PublishNamespace,
    RelayUnderTest,
    RequestErrorCode,
    SessionError,
    Subscribe,
    SubscribeOk,
)

from .reactions import answers_or_ends, attack, closes, harmless, may_close, refuses
from .tracks import NAMESPACE, TRACK
from .waits import REACTION_SECONDS, within

NOBODYS = b"."
SESSION_LEVEL = b".session"


async def in_use(relay: RelayUnderTest, attacker: ClientSession) -> None:
    """Have a request answered: what was sent before has been read, and a reset can destroy none of it."""
    assert await answers_or_ends(relay, attacker) is None


@pytest.mark.interop("control-stream-fin", timeout=5.0, profile="session")
@pytest.mark.spec("session-init")
async def test_control_stream_fin(relay: RelayUnderTest) -> None:
    """The end of a client's control stream ends the session with PROTOCOL_VIOLATION."""
    async with attack(relay) as attacker:
        await in_use(relay, attacker)

        attacker.control_stream.finish()

        await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("control-stream-reset", timeout=8.0, profile="session")
@pytest.mark.spec("session-init")
async def test_control_stream_reset(relay: RelayUnderTest) -> None:
    """The reset of a client's control stream ends the session with PROTOCOL_VIOLATION, as should a stop."""
    async with harmless(relay):
        async with relay.connect("resetting") as attacker:
            await in_use(relay, attacker)

            attacker.control_stream.reset(0)

            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
        async with relay.connect("stopping") as attacker:
            await in_use(relay, attacker)

            attacker.stop_control()

            async with relay.should("the relay should close a session that wants none of its control stream"):
                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("bidi-unexpected-first-message", timeout=6.0, profile="session")
@pytest.mark.spec("session-init")
async def test_bidi_unexpected_first_message(relay: RelayUnderTest) -> None:
    """A bidirectional stream that begins with an answer ends the session with PROTOCOL_VIOLATION."""
    async with attack(relay) as attacker:
        ok = attacker.frame(SubscribeOk(1, request_id=1))

        attacker.open_stream(unidirectional=False).send(ok.encode(relay.draft))

        if relay.draft.other_bidi_streams_close:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
        else:
            await may_close(
                relay,
                attacker,
                SessionError.PROTOCOL_VIOLATION,
                ends="the relay bears one bidirectional stream only",
                goes_on="the relay bears a second bidirectional stream",
            )


@pytest.mark.interop("reserved-namespace-dot", timeout=5.0, profile="session", since=18)
@pytest.mark.spec("reserved-namespaces")
async def test_reserved_namespace_dot(relay: RelayUnderTest) -> None:
    """Requests about the namespace `.` are refused with DOES_NOT_EXIST."""
    async with relay.connect() as session:
        namespace = (NOBODYS, *relay.namespace(NAMESPACE))

        await refuses(relay, session, PublishNamespace(namespace), RequestErrorCode.DOES_NOT_EXIST)
        await refuses(relay, session, Subscribe(namespace, TRACK), RequestErrorCode.DOES_NOT_EXIST)


@pytest.mark.interop("session-namespace-not-forwarded", timeout=6.0, profile="session", since=18)
@pytest.mark.spec("session-level-tracks")
async def test_session_namespace_not_forwarded(relay: RelayUnderTest) -> None:
    """Requests for tracks of `.session` are refused with DOES_NOT_EXIST, whoever claims to publish it."""
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        own = relay.namespace("x")
        async with within(REACTION_SECONDS, "answer to PUBLISH_NAMESPACE"):
            await publisher.request(PublishNamespace((SESSION_LEVEL,)))

        for track in (Subscribe((SESSION_LEVEL, *own), TRACK), Subscribe((SESSION_LEVEL,), b"")):
            await refuses(relay, subscriber, track, RequestErrorCode.DOES_NOT_EXIST)

        await publisher.settle()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await publisher.receive(Subscribe)
