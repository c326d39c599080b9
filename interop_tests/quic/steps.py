"""What the cases about QUIC have in common: a request that shows that the session works, waits that fail."""

from __future__ import annotations

import asyncio

from pytest_moqt import CaseFailure, ClientSession, PublishNamespace, RelayUnderTest

NAMESPACE = "moq-test/interop"

CONFIRM_SECONDS = 2.0
"For HANDSHAKE_DONE, which a server sends as soon as the handshake is complete (RFC 9001 section 4.1.2)."
TICKET_SECONDS = 2.0
"For a session ticket; servers send them with HANDSHAKE_DONE or soon after."
ANSWER_SECONDS = 2.0
"For the answer to a request, as in the runner's `announce-only`."
PING_SECONDS = 2.0
"For an acknowledgement: enough for three probes on a link of 100 ms."


def failed(message: str, *, expected: str, received: str, cause: str = "transport") -> CaseFailure:
    """A failure that QUIC is to blame for."""
    return CaseFailure(message, cause=cause, expected=expected, received=received)


async def operate(relay: RelayUnderTest, session: ClientSession, name: str = "") -> None:
    """Have a request answered, either way: below MoQT any answer shows that both directions work.

    Args:
        relay: The relay.
        session: With it.
        name: Tells several requests of a case apart.

    Raises:
        CaseFailure: There is no answer.
    """
    request = PublishNamespace(relay.namespace(f"{NAMESPACE}{name and '/'}{name}"))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reply = await session.request(request)
    except TimeoutError:
        raise failed(
            f"no answer to PUBLISH_NAMESPACE within {ANSWER_SECONDS * 1000:.0f} ms",
            expected="any answer to PUBLISH_NAMESPACE",
            received="timeout",
            cause="timeout",
        ) from None
    answers = relay.measured.setdefault("answers", {})
    assert isinstance(answers, dict)
    said = session.describe(reply, type(request))
    answers[said] = answers.get(said, 0) + 1


async def confirm(session: ClientSession) -> None:
    """Wait until the relay says that the handshake is complete.

    Raises:
        CaseFailure: It does not.
    """
    if not await session.connection.wait_confirmed(CONFIRM_SECONDS):
        raise failed(
            f"the relay sent no HANDSHAKE_DONE within {CONFIRM_SECONDS * 1000:.0f} ms of the handshake's end",
            expected="HANDSHAKE_DONE",
            received="timeout",
            cause="timeout",
        )


async def acknowledged(session: ClientSession, after: str) -> None:
    """Have a round trip.

    Args:
        session: With the relay.
        after: What was done before, for the report.

    Raises:
        CaseFailure: Nothing came back, or the session ended.
    """
    if await session.connection.ping(PING_SECONDS):
        return
    session.check_open()
    raise failed(
        f"the relay acknowledged nothing within {PING_SECONDS * 1000:.0f} ms after {after}",
        expected=f"an acknowledgement after {after}",
        received="timeout",
        cause="timeout",
    )
