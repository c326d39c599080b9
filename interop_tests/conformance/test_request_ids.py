"""Request ids: even for a client, each used once, and no more of them than the relay allows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from pytest_moqt import (
    ClientSession,
    MaxRequestId,
    Opening,
    PublishNamespace,
    RelayUnderTest,
    RequestAbandoned,
    SessionEnded,
    SessionError,
    SetupOption,
    Topology,
)

from .overload import abandoned_for_load, ended_for_load
from .reactions import attack, closes, harmless, judge_close
from .tracks import NAMESPACE
from .waits import REACTION_SECONDS, within

GRANTED = 20
"MAX_REQUEST_ID of sessions that then take it back."
OVERTAKING = 100
"Requests that come before one of a smaller id: what a client may well open in one flight."
LAST_ID = (1 << 62) - 2
"The largest id that a client can write up to draft 16."


async def ask(relay: RelayUnderTest, session: ClientSession, name: str, number: int) -> PublishNamespace:
    """Publish a namespace under a request id."""
    return await session.open(PublishNamespace(relay.namespace(f"{NAMESPACE}/{name}")), number=number)


async def answered(session: ClientSession, *requests: PublishNamespace) -> None:
    """Have requests answered, either way.

    Raises:
        CaseFailure: One is not.
    """
    for request in requests:
        async with within(REACTION_SECONDS, f"answer to request {request.request_id}"):
            await session.answer(request)


@pytest.mark.interop("request-id-wrong-parity", timeout=5.0, profile="session")
@pytest.mark.spec("request-id")
async def test_request_id_wrong_parity(relay: RelayUnderTest) -> None:
    """A request of a client with an odd id ends the session with INVALID_REQUEST_ID."""
    async with attack(relay) as attacker:
        await ask(relay, attacker, "odd", 1)

        await closes(relay, attacker, SessionError.INVALID_REQUEST_ID)


@pytest.mark.interop("request-id-duplicate", timeout=5.0, profile="session")
@pytest.mark.spec("request-id")
async def test_request_id_duplicate(relay: RelayUnderTest) -> None:
    """A second request under one id ends the session with INVALID_REQUEST_ID."""
    async with attack(relay) as attacker:
        await answered(attacker, await ask(relay, attacker, "first", 0))

        await ask(relay, attacker, "second", 0)

        await closes(relay, attacker, SessionError.INVALID_REQUEST_ID)


@pytest.mark.interop("request-id-skipped", timeout=5.0, profile="session")
@pytest.mark.spec("request-id")
async def test_request_id_skipped(relay: RelayUnderTest) -> None:
    """A request whose id is not the next ends the session up to draft 16; later ids may have gaps."""
    async with attack(relay) as attacker:
        await answered(attacker, await ask(relay, attacker, "first", 0))

        later = await ask(relay, attacker, "later", 6)

        if relay.draft.topology is Topology.SINGLE_CONTROL_STREAM:
            await closes(relay, attacker, SessionError.INVALID_REQUEST_ID)
            return
        # "Each endpoint increments its Request ID by 2" binds the sender; who receives it is told to look at
        # parity and duplicates only.
        try:
            await answered(attacker, later)
        except SessionEnded:
            judge_close(relay, attacker, await attacker.wait_closed(), SessionError.INVALID_REQUEST_ID)
            relay.warn("gap-refused", "the relay ended a session whose request ids have a gap")


@contextlib.contextmanager
def each_used_once(session: ClientSession) -> Iterator[None]:
    """Say of a session that is ended for its request ids here that there is nothing wrong with them.

    Raises:
        SessionEnded: It was ended, and why it must not be.
    """
    try:
        yield
    except SessionEnded as ended:
        close = session.closed
        if close is None or not close.by_peer or close.layer != "session":
            raise
        if close.code != SessionError.INVALID_REQUEST_ID:
            raise
        raise SessionEnded(
            f"{ended}, although each id was used once: requests on streams of their own come in any order",
            cause=ended.cause,
            expected=ended.expected,
            received=ended.received,
        ) from None


@pytest.mark.interop("request-id-out-of-order", timeout=5.0, profile="session", since=17)
@pytest.mark.spec("request-id")
async def test_request_id_out_of_order(relay: RelayUnderTest) -> None:
    """Requests on streams of their own may come in any order of their ids."""
    async with relay.connect() as session:
        with each_used_once(session):
            await answered(session, await ask(relay, session, "second", 2))

            await answered(session, await ask(relay, session, "first", 0))


@pytest.mark.interop("request-id-overtaken", timeout=15.0, profile="session", since=17)
@pytest.mark.spec("request-id")
async def test_request_id_overtaken(relay: RelayUnderTest) -> None:
    """A request that comes after a hundred with larger ids, or as many as may be, is answered like them."""
    async with relay.connect() as session:
        # What a lost packet, or one with too little room for a stream, does to a flight of requests. The late
        # one is sent late, and not held back in part: some relays read no other request meanwhile.
        many = min(OVERTAKING, session.requests_left - 1)
        if many < 1:
            relay.not_offered("one-request", "the relay lets a client make one request at a time")
        with each_used_once(session):
            later = [await ask(relay, session, f"{number}", 2 * number) for number in range(1, 1 + many)]
            try:
                for request in later:
                    await _answered_or_too_many(session, request)
            except SessionEnded:
                how = ended_for_load(session)
                if how is None:
                    raise
                relay.not_offered("turned-away", f"a client has {many} requests at once: {how}")

            await _answered_or_too_many(session, await ask(relay, session, "late", 0))


async def _answered_or_too_many(session: ClientSession, request: PublishNamespace) -> None:
    try:
        await answered(session, request)
    except RequestAbandoned as abandoned:
        if not abandoned_for_load(abandoned):
            raise


@pytest.mark.interop("request-id-exceeds-max", timeout=5.0, profile="session", until=16)
@pytest.mark.spec("message-max-request-id", "request-id")
async def test_request_id_exceeds_max(relay: RelayUnderTest) -> None:
    """A request whose id the relay has not granted ends the session."""
    async with attack(relay) as attacker:
        assert attacker.peer_setup is not None
        granted = attacker.peer_setup.options.get(SetupOption.MAX_REQUEST_ID, 0)
        if granted > LAST_ID:
            relay.not_offered("no-limit", "the relay grants every request id that there is")

        # Not one by one up to the limit: a relay raises it as requests come, and then none is beyond it.
        if granted:
            await ask(relay, attacker, "beyond", LAST_ID)
        else:
            first = PublishNamespace(relay.namespace(NAMESPACE), request_id=0)
            await attacker.send_raw(attacker.frame(first))

        # It is not the next id either; drafts 15 and 16 name the second code for both.
        await closes(relay, attacker, SessionError.TOO_MANY_REQUESTS, SessionError.INVALID_REQUEST_ID)


@pytest.mark.interop("max-request-id-not-increasing", timeout=8.0, profile="session", until=16)
@pytest.mark.spec("message-max-request-id")
async def test_max_request_id_not_increasing(relay: RelayUnderTest) -> None:
    """MAX_REQUEST_ID that grants no more than before ends the session with PROTOCOL_VIOLATION."""
    opening = Opening(options=((SetupOption.MAX_REQUEST_ID, GRANTED),))
    async with harmless(relay):
        for role, maximum in (("equal", GRANTED), ("smaller", GRANTED - 2)):
            async with relay.connect(role, opening=opening) as attacker:
                await attacker.send_raw(attacker.frame(MaxRequestId(maximum)))

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
