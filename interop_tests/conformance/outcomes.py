"""What became of something that the drafts leave several answers to, so that a case can tell which it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from pytest_moqt import CaseFailure, ClientSession, Close, Message, Request, SessionEnded

from .waits import SILENCE_SECONDS

Outcome = Message | Close | CaseFailure | None
"The answer, how the session ended, how the request was abandoned; None: nothing."


async def came_of(
    session: ClientSession, request: Request, *, seconds: float = SILENCE_SECONDS
) -> tuple[Outcome, str]:
    """Wait for what the relay does about a request: it answers, abandons it, ends the session, or nothing.

    Returns:
        What it does, and the same as a report says it behind `the relay`.

    Raises:
        CaseFailure: The session was lost, or the relay sent what the draft does not allow.
    """
    return await _outcome(session, request, session.answer(request), seconds)


async def ask(
    session: ClientSession, message: Request, *, seconds: float = SILENCE_SECONDS
) -> tuple[Outcome, str]:
    """Make a request and do the same; the session may be over before it can be made."""
    return await _outcome(session, message, session.request(message), seconds)


async def _outcome(
    session: ClientSession, request: Request, answering: Coroutine[Any, Any, Message], seconds: float
) -> tuple[Outcome, str]:
    session.bear_end()
    try:
        async with asyncio.timeout(seconds):
            reply = await answering
    except TimeoutError:
        return None, "did nothing about it"
    except SessionEnded:
        return _closed_by_peer(session)
    except CaseFailure as abandoned:
        # The streams of a session that ends may be told of before its end.
        close, said = await came_of_session(session)
        if close is not None:
            return close, said
        return abandoned, f"abandoned it: {abandoned.received}"
    return reply, f"answered with {session.describe(reply, type(request))}"


async def came_of_session(
    session: ClientSession, *, seconds: float = SILENCE_SECONDS
) -> tuple[Close | None, str]:
    """Wait whether the relay ends a session; returns how, and the same as a report says it.

    Raises:
        CaseFailure: The session was lost, or the relay sent what the draft does not allow.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await session.wait_closed()
    if session.closed is None:
        session.close_awaited = False
        return None, "went on with the session"
    return _closed_by_peer(session)


def _closed_by_peer(session: ClientSession) -> tuple[Close, str]:
    close = session.closed
    assert close is not None
    if not close.by_peer:
        session.close_awaited = False
        session.check_open()
    session.close_awaited = True
    return close, f"ended the session with {session.describe_close(close)}"
