"""What the relay did that fails a case: one exception, with all that a report says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_moqt.client.journal import Journal
    from pytest_moqt.protocol.errors import RemoteProtocolError
    from pytest_moqt.protocol.registries import RequestErrorCode

CAUSES: Final = (
    *("transport", "tls", "alpn", "webtransport", "setup", "rejected", "wrong-message"),
    *("malformed", "timeout", "closed", "reset", "data", "internal"),
)
"Where to look; a failure has exactly one."


class CaseFailure(Exception):
    """The relay did not do what the case needs.

    Attributes:
        cause: One of the causes above.
        expected: What was awaited, in the wire names of the draft in use.
        received: What came instead; `timeout` when nothing did.
        spec: The anchor of the section in question, if it is not one that the case cites.
        facts: What is known of a session that did not come about (see `ClientSession.facts`).
        error: What the relay sent that the draft does not allow, with its bytes, if that is why.
        draft: The number of the draft that the session spoke, where the failure knows it.
        journal: What was said in a session that did not come about.
    """

    def __init__(
        self,
        message: str,
        *,
        cause: str,
        expected: str,
        received: str,
        spec: str | None = None,
        facts: dict[str, str] | None = None,
        error: RemoteProtocolError | None = None,
        draft: int | None = None,
        journal: Journal | None = None,
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.expected = expected
        self.received = received
        self.spec = spec
        self.facts = facts or {}
        self.error = error
        self.draft = draft
        self.journal = journal


class SetupError(CaseFailure):
    """The connection came about, the session did not: SETUP did not come, or cannot be accepted."""


class UnexpectedReply(CaseFailure):
    """A request was answered, but not as the case needs.

    Attributes:
        code: Of a refusal: what it said.
    """

    code: RequestErrorCode | int | None = None


class SessionEnded(CaseFailure):
    """The session ended before what was awaited came."""


class RequestAbandoned(CaseFailure):
    """The relay abandoned a request's stream instead of answering."""


class NotConnected(CaseFailure):
    """The relay is there, but a connection of the kind that the case asks for does not come about.

    Attributes:
        code: The number that came with it, as in `ConnectError`; None when there is none.
        kind: What kind of thing went wrong, as in `ConnectError`.
    """

    def __init__(
        self, message: str, *, cause: str, expected: str, received: str, code: int | None, kind: str
    ) -> None:
        super().__init__(message, cause=cause, expected=expected, received=received)
        self.code = code
        self.kind = kind


def overtaken(failure: CaseFailure, late: CaseFailure) -> CaseFailure:
    """A failure that a case which waited for something else has not met, in place of its timeout."""
    failure.args = (f"{failure}, and {late.expected} never came",)
    return failure


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of them, however deep; any other error alone."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
