"""Numbers with names: session errors, request errors, PUBLISH_DONE and stream-reset codes.

Rules:

- A code alone means nothing: PUBLISH_DONE's 0x5 is EXPIRED up to draft 17 and TOO_FAR_BEHIND from 18.
  So names are the values that messages carry, and a `CodeTable` maps them to numbers, per draft.
- Draft 14 has one space of request errors per request; a row then says for which (`spaces`).
- A code that no row knows stays a number: an unknown code is INTERNAL_ERROR of its space, never a
  reason to close a session (draft 18 section 14, `grease`).

Sources: drafts 14 section 13.1, 15 section 13.3, 16 section 13.4, 17 section 14.5, 18 section 15.10.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Generic, TypeVar

from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.spans import Span, drafts


class SessionError(IntEnum):
    """Why a session ended, in CONNECTION_CLOSE or CLOSE_WEBTRANSPORT_SESSION (`session-termination`)."""

    NO_ERROR = 0x0
    INTERNAL_ERROR = 0x1
    UNAUTHORIZED = 0x2
    PROTOCOL_VIOLATION = 0x3
    INVALID_REQUEST_ID = 0x4
    DUPLICATE_TRACK_ALIAS = 0x5
    KEY_VALUE_FORMATTING_ERROR = 0x6
    TOO_MANY_REQUESTS = 0x7  # 14-16
    INVALID_REQUIRED_REQUEST_ID = 0x7  # 17: the same number, so another name of the same member
    INVALID_PATH = 0x8
    MALFORMED_PATH = 0x9
    GOAWAY_TIMEOUT = 0x10
    CONTROL_MESSAGE_TIMEOUT = 0x11
    DATA_STREAM_TIMEOUT = 0x12
    AUTH_TOKEN_CACHE_OVERFLOW = 0x13
    DUPLICATE_AUTH_TOKEN_ALIAS = 0x14
    VERSION_NEGOTIATION_FAILED = 0x15  # up to 19
    MALFORMED_AUTH_TOKEN = 0x16
    UNKNOWN_AUTH_TOKEN_ALIAS = 0x17
    EXPIRED_AUTH_TOKEN = 0x18
    INVALID_AUTHORITY = 0x19
    MALFORMED_AUTHORITY = 0x1A
    TOO_MANY_REQUEST_UPDATES = 0x1B  # from 19


class RequestErrorCode(StrEnum):
    """Why a request was refused (`message-request-error`); draft 14's names in their later form."""

    INTERNAL_ERROR = "INTERNAL_ERROR"
    UNAUTHORIZED = "UNAUTHORIZED"
    TIMEOUT = "TIMEOUT"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    MALFORMED_AUTH_TOKEN = "MALFORMED_AUTH_TOKEN"
    EXPIRED_AUTH_TOKEN = "EXPIRED_AUTH_TOKEN"
    GOING_AWAY = "GOING_AWAY"
    EXCESSIVE_LOAD = "EXCESSIVE_LOAD"
    DOES_NOT_EXIST = "DOES_NOT_EXIST"
    INVALID_RANGE = "INVALID_RANGE"
    MALFORMED_TRACK = "MALFORMED_TRACK"
    DUPLICATE_SUBSCRIPTION = "DUPLICATE_SUBSCRIPTION"
    UNINTERESTED = "UNINTERESTED"
    PREFIX_OVERLAP = "PREFIX_OVERLAP"
    NAMESPACE_PREFIX_UNKNOWN = "NAMESPACE_PREFIX_UNKNOWN"
    NAMESPACE_TOO_LARGE = "NAMESPACE_TOO_LARGE"
    NO_OBJECTS = "NO_OBJECTS"
    INVALID_JOINING_REQUEST_ID = "INVALID_JOINING_REQUEST_ID"
    UNKNOWN_STATUS_IN_RANGE = "UNKNOWN_STATUS_IN_RANGE"
    UNSUPPORTED_EXTENSION = "UNSUPPORTED_EXTENSION"
    REDIRECT = "REDIRECT"
    CONFLICTING_FILTERS = "CONFLICTING_FILTERS"
    INVALID_FILTER = "INVALID_FILTER"


class PublishDoneStatus(StrEnum):
    """Why a publisher ended a subscription (`message-publish-done`)."""

    INTERNAL_ERROR = "INTERNAL_ERROR"
    UNAUTHORIZED = "UNAUTHORIZED"
    TRACK_ENDED = "TRACK_ENDED"
    SUBSCRIPTION_ENDED = "SUBSCRIPTION_ENDED"
    GOING_AWAY = "GOING_AWAY"
    EXPIRED = "EXPIRED"
    TOO_FAR_BEHIND = "TOO_FAR_BEHIND"
    MALFORMED_TRACK = "MALFORMED_TRACK"
    UPDATE_FAILED = "UPDATE_FAILED"
    EXCESSIVE_LOAD = "EXCESSIVE_LOAD"


class StreamError(StrEnum):
    """Why a stream was reset or stopped (`stream-reset-codes`)."""

    INTERNAL_ERROR = "INTERNAL_ERROR"
    CANCELLED = "CANCELLED"
    DELIVERY_TIMEOUT = "DELIVERY_TIMEOUT"
    SESSION_CLOSED = "SESSION_CLOSED"
    GOING_AWAY = "GOING_AWAY"
    TOO_FAR_BEHIND = "TOO_FAR_BEHIND"
    UNKNOWN_OBJECT_STATUS = "UNKNOWN_OBJECT_STATUS"
    EXPIRED_AUTH_TOKEN = "EXPIRED_AUTH_TOKEN"
    EXCESSIVE_LOAD = "EXCESSIVE_LOAD"
    MALFORMED_TRACK = "MALFORMED_TRACK"


Name = TypeVar("Name", bound=StrEnum)


class Code(Record, Generic[Name]):
    """One registered number: `name` is `value` in the drafts of `span`."""

    name: Name
    value: int
    span: Span
    spaces: frozenset[str] = frozenset()
    "Draft 14 only: the requests in whose error space this number has this meaning; empty is all."
    printed: str = ""
    "The name as that draft prints it, where it differs."


class CodeTable(Generic[Name]):
    """Names to numbers and back, for one registry over all drafts."""

    def __init__(self, registry: str, rows: tuple[Code[Name], ...]) -> None:
        self.registry = registry
        self.rows = rows
        self._rows_for = lru_cache(maxsize=None)(self._select)

    def _select(self, draft: int, space: str) -> tuple[Code[Name], ...]:
        return tuple(
            row for row in self.rows if draft in row.span and (not row.spaces or space in row.spaces)
        )

    def name(self, value: int, draft: int, space: str = "") -> Name | int:
        """What a number means in a draft; the number itself when nothing is registered."""
        for row in self._rows_for(draft, space):
            if row.value == value:
                return row.name
        return value

    def value(self, name: Name | int, draft: int, space: str = "") -> int | None:
        """The number a name has in a draft; None when that draft has no such code."""
        if not isinstance(name, StrEnum):
            return name
        for row in self._rows_for(draft, space):
            if row.name == name:
                return row.value
        return None

    def describe(self, name: Name | int, draft: int, space: str = "") -> str:
        """A code as a report prints it: `DOES_NOT_EXIST (0x10)`, `unregistered (0x7b)`."""
        if not isinstance(name, StrEnum):
            return f"unregistered ({name:#x})"
        for row in self._rows_for(draft, space):
            if row.name == name:
                return f"{row.printed or row.name} ({row.value:#x})"
        return str(name)


def _spaces(*names: str) -> frozenset[str]:
    return frozenset(names)


_R = RequestErrorCode
_TRACK = _spaces("SUBSCRIBE", "FETCH")
_TOKEN = _spaces("SUBSCRIBE", "FETCH", "PUBLISH_NAMESPACE", "SUBSCRIBE_NAMESPACE")

REQUEST_ERRORS: CodeTable[RequestErrorCode] = CodeTable(
    "request errors",
    (
        Code(_R.INTERNAL_ERROR, 0x0, drafts(14)),
        Code(_R.UNAUTHORIZED, 0x1, drafts(14)),
        Code(_R.TIMEOUT, 0x2, drafts(14)),
        Code(_R.NOT_SUPPORTED, 0x3, drafts(14)),
        # Draft 14: a space per request (sections 9.9, 9.15, 9.18, 9.22, 9.25, 9.30); TRACK_STATUS uses
        # SUBSCRIBE's.
        Code(_R.DOES_NOT_EXIST, 0x4, drafts(14, 14), _TRACK, "TRACK_DOES_NOT_EXIST"),
        Code(_R.UNINTERESTED, 0x4, drafts(14, 14), _spaces("PUBLISH", "PUBLISH_NAMESPACE")),
        Code(_R.NAMESPACE_PREFIX_UNKNOWN, 0x4, drafts(14, 14), _spaces("SUBSCRIBE_NAMESPACE")),
        Code(_R.INVALID_RANGE, 0x5, drafts(14, 14), _TRACK),
        Code(
            _R.PREFIX_OVERLAP, 0x5, drafts(14, 14), _spaces("SUBSCRIBE_NAMESPACE"), "NAMESPACE_PREFIX_OVERLAP"
        ),
        Code(_R.NO_OBJECTS, 0x6, drafts(14, 14), _spaces("FETCH")),
        Code(_R.INVALID_JOINING_REQUEST_ID, 0x7, drafts(14, 14), _spaces("FETCH")),
        Code(_R.UNKNOWN_STATUS_IN_RANGE, 0x8, drafts(14, 14), _spaces("FETCH")),
        Code(_R.MALFORMED_TRACK, 0x9, drafts(14, 14), _spaces("FETCH")),
        Code(_R.MALFORMED_AUTH_TOKEN, 0x10, drafts(14, 14), _TOKEN),
        Code(_R.EXPIRED_AUTH_TOKEN, 0x12, drafts(14, 14), _TOKEN),
        # From draft 15: one space (REQUEST_ERROR).
        Code(_R.MALFORMED_AUTH_TOKEN, 0x4, drafts(15)),
        Code(_R.EXPIRED_AUTH_TOKEN, 0x5, drafts(15)),
        # Draft 16 uses GOING_AWAY in its text without registering it; relays send 0x6.
        Code(_R.GOING_AWAY, 0x6, drafts(16)),
        Code(_R.EXCESSIVE_LOAD, 0x9, drafts(17)),
        Code(_R.DOES_NOT_EXIST, 0x10, drafts(15)),
        Code(_R.INVALID_RANGE, 0x11, drafts(15)),
        Code(_R.MALFORMED_TRACK, 0x12, drafts(15)),
        Code(_R.DUPLICATE_SUBSCRIPTION, 0x19, drafts(16, 18)),
        Code(_R.UNINTERESTED, 0x20, drafts(15)),
        Code(_R.PREFIX_OVERLAP, 0x30, drafts(15)),
        Code(_R.NAMESPACE_TOO_LARGE, 0x31, drafts(17)),
        Code(_R.INVALID_JOINING_REQUEST_ID, 0x32, drafts(15, 19)),
        Code(_R.UNKNOWN_STATUS_IN_RANGE, 0x33, drafts(15, 15)),
        Code(_R.UNSUPPORTED_EXTENSION, 0x33, drafts(18)),
        Code(_R.REDIRECT, 0x34, drafts(18)),
        Code(_R.CONFLICTING_FILTERS, 0x35, drafts(19)),
        Code(_R.INVALID_FILTER, 0x36, drafts(19)),
    ),
)

_P = PublishDoneStatus

PUBLISH_DONE_STATUSES: CodeTable[PublishDoneStatus] = CodeTable(
    "PUBLISH_DONE codes",
    (
        Code(_P.INTERNAL_ERROR, 0x0, drafts(14)),
        Code(_P.UNAUTHORIZED, 0x1, drafts(14)),
        Code(_P.TRACK_ENDED, 0x2, drafts(14)),
        Code(_P.SUBSCRIPTION_ENDED, 0x3, drafts(14, 19)),
        Code(_P.GOING_AWAY, 0x4, drafts(14)),
        # 0x5 and 0x6 change places in draft 18.
        Code(_P.EXPIRED, 0x5, drafts(14, 17)),
        Code(_P.TOO_FAR_BEHIND, 0x6, drafts(14, 17)),
        Code(_P.TOO_FAR_BEHIND, 0x5, drafts(18)),
        Code(_P.EXPIRED, 0x6, drafts(18)),
        Code(_P.MALFORMED_TRACK, 0x7, drafts(14, 15)),
        Code(_P.UPDATE_FAILED, 0x8, drafts(15)),
        Code(_P.EXCESSIVE_LOAD, 0x9, drafts(17)),
        Code(_P.MALFORMED_TRACK, 0x12, drafts(16)),
    ),
)

_S = StreamError

STREAM_ERRORS: CodeTable[StreamError] = CodeTable(
    "stream reset codes",
    (
        Code(_S.INTERNAL_ERROR, 0x0, drafts(14)),
        Code(_S.CANCELLED, 0x1, drafts(14)),
        Code(_S.DELIVERY_TIMEOUT, 0x2, drafts(14)),
        Code(_S.SESSION_CLOSED, 0x3, drafts(14)),
        # 0x4 changes its meaning in draft 18.
        Code(_S.UNKNOWN_OBJECT_STATUS, 0x4, drafts(16, 17)),
        Code(_S.GOING_AWAY, 0x4, drafts(18)),
        Code(_S.TOO_FAR_BEHIND, 0x5, drafts(17)),
        Code(_S.UNKNOWN_OBJECT_STATUS, 0x6, drafts(18)),
        Code(_S.EXPIRED_AUTH_TOKEN, 0x7, drafts(18)),
        Code(_S.EXCESSIVE_LOAD, 0x9, drafts(17)),
        Code(_S.MALFORMED_TRACK, 0x12, drafts(16)),
    ),
)


# What not every draft registers under one name; all other codes of SessionError are in every draft.
_SESSION_ERRORS: dict[int, tuple[tuple[Span, str], ...]] = {
    0x7: ((drafts(14, 16), "TOO_MANY_REQUESTS"), (drafts(17, 17), "INVALID_REQUIRED_REQUEST_ID")),
    0x15: ((drafts(14, 19), "VERSION_NEGOTIATION_FAILED"),),
    0x1B: ((drafts(19), "TOO_MANY_REQUEST_UPDATES"),),
}


def describe_session_error(code: int, draft: int) -> str:
    """A session's close code as a report prints it: `PROTOCOL_VIOLATION (0x3)`."""
    names = [name for span, name in _SESSION_ERRORS.get(code, ()) if draft in span]
    if code not in _SESSION_ERRORS and code in set(SessionError):
        names = [SessionError(code).name]
    return f"{names[0] if names else 'unregistered'} ({code:#x})"
