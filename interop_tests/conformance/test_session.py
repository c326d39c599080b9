"""Sessions: their control streams, what else a stream may begin with, and names that are nobody's."""

from __future__ import annotations

import contextlib

import pytest

from pytest_moqt import (
    ClientSession,
    Namespace,
    PublishNamespace,
    RelayUnderTest,
    RequestErrorCode,
    RequestOk,
    SessionEnded,
    SessionError,
    Subscribe,
    SubscribeNamespace,
    SubscribeOk,
)

from .outcomes import came_of
from .reactions import answers_or_ends, attack, closes, harmless, may_close, refuses
from .silence import never_came
from .tracks import NAMESPACE, TRACK
from .waits import REACTION_SECONDS

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

        for request in (PublishNamespace(namespace), Subscribe(namespace, TRACK)):
            if await refuses(relay, session, request, RequestErrorCode.DOES_NOT_EXIST) is None:
                return  # the session is over, which `refuses` has judged


@pytest.mark.interop("session-namespace-not-forwarded", timeout=6.0, profile="session", since=18)
@pytest.mark.spec("session-level-tracks")
async def test_session_namespace_not_forwarded(relay: RelayUnderTest) -> None:
    """Requests about `.session` are refused with DOES_NOT_EXIST, and no other session hears of them."""
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber") as subscriber,
        relay.connect("listener") as listener,
    ):
        own = relay.namespace("x")
        everything = await listener.open(SubscribeNamespace(()))
        # Not every client may ask for all namespaces: whom the relay does not accept it tells of none.
        answer, _ = await came_of(listener, everything, seconds=REACTION_SECONDS)

        await refuses(relay, publisher, PublishNamespace((SESSION_LEVEL,)), RequestErrorCode.DOES_NOT_EXIST)
        for track in (Subscribe((SESSION_LEVEL, *own), TRACK), Subscribe((SESSION_LEVEL,), b"")):
            if await refuses(relay, subscriber, track, RequestErrorCode.DOES_NOT_EXIST) is None:
                break  # the session is over, which `refuses` has judged

        # A session that was ended, where its request was to be refused, has been warned of.
        why = "although it is about `.session` of another session"
        if publisher.closed is None:
            await never_came(publisher, Subscribe, why)
        if isinstance(answer, RequestOk):
            # The namespaces of all clients come here: how the relay tells of those is other cases' business.
            with contextlib.suppress(SessionEnded):
                await never_came(listener, Namespace, why, about=everything, where=_is_session_level)
                await never_came(listener, PublishNamespace, why, where=_is_session_level)
        listener.close_awaited = True


def _is_session_level(notice: Namespace | PublishNamespace) -> bool:
    """Whether it is about `.session`, told to a subscriber to the empty prefix."""
    namespace = notice.track_namespace_suffix if isinstance(notice, Namespace) else notice.track_namespace
    return namespace[:1] == (SESSION_LEVEL,)
