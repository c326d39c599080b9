"""What a relay does about a client that breaks its draft: it ends that session, and harms no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    Close,
    Opening,
    PublishNamespace,
    RelayUnderTest,
    Request,
    RequestError,
    RequestErrorCode,
    SessionEnded,
    SessionError,
)

from .tracks import NAMESPACE
from .waits import REACTION_SECONDS, within


async def closes(
    relay: RelayUnderTest,
    session: ClientSession,
    code: SessionError | None,
    *others: SessionError,
    seconds: float = REACTION_SECONDS,
) -> Close:
    """Wait until the relay ends a session, as the draft asks for.

    A code other than these is a warning: "an endpoint SHOULD use a relevant code" (`session-termination`).

    Args:
        relay: The relay.
        session: What it has to end.
        code: With what; None: any code will do.
        others: What will do as well.
        seconds: How long to wait.

    Raises:
        CaseFailure: It does not.
    """
    wanted = "the relay to close the session" + ("" if code is None else f" with {code.name} ({code:#x})")
    try:
        async with asyncio.timeout(seconds):
            close = await session.wait_closed()
    except TimeoutError:
        raise CaseFailure(
            f"the relay did not close the session of {session.role} within {seconds * 1000:.0f} ms",
            cause="timeout",
            expected=wanted,
            received="timeout",
        ) from None
    judge_close(relay, session, close, code, *others)
    return close


def judge_close(
    relay: RelayUnderTest,
    session: ClientSession,
    close: Close,
    code: SessionError | None,
    *others: SessionError,
) -> None:
    """Judge how a session ended that had to end.

    Raises:
        CaseFailure: Not by the relay's word.
    """
    how = session.describe_close(close)
    if close.error is not None:
        raise CaseFailure(
            f"the relay did not close the session of {session.role} but went on with what the draft forbids:"
            f" {close.error}",
            cause=close.error.fault,
            expected="the relay to close the session",
            received=str(close.error),
            error=close.error,
            draft=session.draft.number,
        )
    if not close.by_peer:
        raise CaseFailure(
            f"the session of {session.role} was not closed but lost: {how}",
            cause="transport",
            expected="the relay to close the session",
            received=how,
        )
    if close.layer != "session":
        relay.warn("wrong-layer", f"the relay ended the connection, not the MoQT session: {how}")
    elif code is not None and close.code not in (code, *others):
        names = " or ".join(f"{name.name} ({name:#x})" for name in (code, *others))
        relay.warn("wrong-code", f"the relay closed the session with {how}, where {names} is asked for")


async def answers_or_ends(relay: RelayUnderTest, session: ClientSession) -> Close | None:
    """Whichever comes first of a session: SETUP and the answer to a request, or its end by the relay.

    Returns:
        How it ended; None: the relay goes on with it.

    Raises:
        CaseFailure: Neither comes.
    """
    request = PublishNamespace(relay.namespace(f"{NAMESPACE}/{session.role}"))
    session.bear_end()
    try:
        async with within(REACTION_SECONDS, f"answer to {session.role}, or the end of its session"):
            await session.wait_open()
            await session.request(request)
    except SessionEnded:
        if session.closed is None or not session.closed.by_peer:
            raise
        session.close_awaited = True
        return session.closed
    return None


async def may_close(
    relay: RelayUnderTest, session: ClientSession, code: SessionError, *, ends: str, goes_on: str
) -> None:
    """Let the relay end a session, with this code, or go on with it, and say which it did.

    Args:
        relay: The relay.
        session: What it may end.
        code: With what.
        ends: What the relay does then, for the report: `the relay serves certain paths only`.
        goes_on: What it does otherwise.

    Raises:
        CaseFailure: Neither; or the session was lost.
    """
    with contextlib.suppress(SessionEnded):
        # So that the relay has what it may end the session for before it has the request.
        await session.settle()
    close = await answers_or_ends(relay, session)
    # It may also come behind the answer.
    session.close_awaited = True
    if close is not None:
        judge_close(relay, session, close, code)
    relay.info(goes_on if close is None else ends)


@contextlib.asynccontextmanager
async def harmless(relay: RelayUnderTest) -> AsyncIterator[ClientSession]:
    """Whatever happens inside, the relay goes on: a session opened before works, and a new one comes about.

    Gives the session opened before, `witness`.

    Raises:
        CaseFailure: The relay was harmed; that is the case's verdict then, whatever else it found.
    """
    async with relay.connect("witness") as witness:
        try:
            yield witness
        except (CaseFailure, AssertionError):
            # Whether the relay lives is the first question then.
            await _goes_on(relay, witness)
            raise
        await _goes_on(relay, witness)


async def _goes_on(relay: RelayUnderTest, witness: ClientSession) -> None:
    """See that nobody but the attacker was harmed."""
    await _works(relay, witness, "witness", "a session opened before no longer works")
    try:
        async with relay.connect("afterwards") as fresh:
            await _works(relay, fresh, "afterwards", "a new session does not work")
    except CaseFailure as failure:
        raise _harmed("no new session works", failure) from None


async def _works(relay: RelayUnderTest, session: ClientSession, name: str, harm: str) -> None:
    """Have a request answered, either way."""
    request = PublishNamespace(relay.namespace(f"{NAMESPACE}/{name}"))
    try:
        async with within(REACTION_SECONDS, f"answer to PUBLISH_NAMESPACE of {name}"):
            await session.request(request)
    except CaseFailure as failure:
        raise _harmed(harm, failure) from None


def _harmed(harm: str, failure: CaseFailure) -> CaseFailure:
    return CaseFailure(
        f"the relay was harmed: {harm}: {failure}",
        cause=failure.cause,
        expected="the relay to go on serving others",
        received=failure.received,
    )


@contextlib.asynccontextmanager
async def attack(
    relay: RelayUnderTest, role: str = "attacker", *, opening: Opening | None = None
) -> AsyncIterator[ClientSession]:
    """A session that breaks the draft, between a witness before and a new session afterwards (`harmless`)."""
    async with harmless(relay), relay.connect(role, opening=opening or Opening()) as attacker:
        yield attacker


async def refuses(
    relay: RelayUnderTest, session: ClientSession, request: Request, *codes: RequestErrorCode
) -> RequestError | None:
    """Send a request that the relay has to refuse, with one of these codes.

    Another code is a warning, and so is the end of the session: "an endpoint MAY escalate" a request's error
    to one of the session (`session-termination`).

    Returns:
        The refusal; None where the relay ended the session instead.

    Raises:
        CaseFailure: It accepts, or does not answer.
    """
    try:
        async with within(REACTION_SECONDS, "refusal"):
            refusal = await session.request(request, expect=RequestError)
    except SessionEnded:
        if session.closed is None or not session.closed.by_peer:
            raise
        session.close_awaited = True
        how = session.describe_close(session.closed)
        relay.warn("escalated", f"the relay ended the session with {how} where it should refuse the request")
        return None
    if codes and refusal.code not in codes:
        said, names = session.describe(refusal, type(request)), " or ".join(codes)
        relay.warn("wrong-code", f"the relay refused with {said}, where {names} is asked for")
    return refusal
