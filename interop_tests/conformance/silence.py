"""What must not come: looked for when it would be here, after a round trip or an answer that came later."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from pytest_moqt import CaseFailure, ClientSession, Message

MessageT = TypeVar("MessageT", bound=Message)


async def came(
    session: ClientSession,
    kind: type[MessageT],
    *,
    about: Message | None = None,
    where: Callable[[Any], bool] | None = None,
) -> MessageT | None:
    """What the relay has said already of a kind, as a request or about one; None: it has not.

    Args:
        session: To whom.
        kind: The message's class.
        about: The request that it would be about; None: it would be a request of the relay.
        where: Which of them; others are taken, if they are no requests.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            if about is None:
                return await session.receive(kind, where=where)
            while True:
                message = await session.receive_later(about, kind)
                if where is None or where(message):
                    return message
    return None


async def never_came(
    session: ClientSession,
    kind: type[Message],
    why: str,
    *,
    about: Message | None = None,
    where: Callable[[Any], bool] | None = None,
) -> None:
    """Make sure that the relay has not said a thing in all that it sent until now.

    Args:
        session: To whom.
        kind: The message's class.
        why: What speaks against it, as the end of a sentence: `although the namespace was withdrawn`.
        about: As in `came`.
        where: As in `came`.

    Raises:
        CaseFailure: It has.
    """
    await session.settle()
    message = await came(session, kind, about=about, where=where)
    if message is not None:
        name = session.describe(message)
        raise CaseFailure(
            f"{name} came to {session.role}, {why}",
            cause="wrong-message",
            expected=f"no {name}",
            received=repr(message),
        )


async def stays_open(session: ClientSession, request: Message) -> None:
    """Make sure that the relay has not ended its half of a request's stream, or the request.

    Raises:
        CaseFailure: It has.
    """
    await session.settle()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await session.wait_ended(request)
            name = session.describe(request)
            raise CaseFailure(
                f"the relay ended its half of the stream of {name}, which it had accepted",
                cause="reset",
                expected=f"the stream of {name} to stay open",
                received="the end of the stream",
            )
