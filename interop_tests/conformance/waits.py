"""How long the conformance cases wait: for what must come, and for what must not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pytest_moqt import CaseFailure, ClientSession, Request

SILENCE_SECONDS = 0.3
"How long nothing must come where silence is asserted: what a relay may take to do what it must not."
REACTION_SECONDS = 2.0
"For the end of a session that the draft asks for, and for the answer to a request."
GLANCE_SECONDS = 0.02
"Between looks at what else came, while something is awaited."
DELIVERY_SECONDS = 3.0
"For objects that are on their way, and for the end of their streams."


@contextlib.asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Fail with the cause `timeout` when this is not over in time.

    Args:
        seconds: The time.
        what: What is awaited, as a report says it: `PUBLISH_DONE`.

    Raises:
        CaseFailure: It was not.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise CaseFailure(
            f"no {what} within {seconds * 1000:.0f} ms", cause="timeout", expected=what, received="timeout"
        ) from None


async def silence() -> None:
    """Give the relay the time to do what it must not do."""
    await asyncio.sleep(SILENCE_SECONDS)


async def unanswered(session: ClientSession, request: Request, why: str) -> None:
    """Make sure that a request is not answered for the time of a silence.

    Args:
        session: That sent it.
        request: The request.
        why: What there should be before an answer, for the report: `its publisher has answered`.

    Raises:
        CaseFailure: It is.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SILENCE_SECONDS):
            answer = await session.answer(request)
            raise CaseFailure(
                f"the relay answered with {session.describe(answer, type(request))} before {why}",
                cause="wrong-message",
                expected=f"no answer before {why}",
                received=session.describe(answer, type(request)),
            )
