"""What can go wrong on the wire, and whose fault it is."""

from __future__ import annotations

from typing import ClassVar

from pytest_moqt.protocol.registries import SessionError


class MoqtError(Exception):
    """Base of every error of this package."""


class LocalProtocolError(MoqtError):
    """We asked for something the draft forbids or cannot express: our fault, never the peer's."""


class NeedMoreData(MoqtError):
    """The bytes so far are a proper prefix; not an error, more may come."""


class RemoteProtocolError(MoqtError):
    """The peer broke the draft; the session must be closed with `code`.

    Attributes:
        offset: How many bytes of the message or stream had been read when it showed, if known.
        fault: What kind of thing it is: `malformed` (bytes that no message can have), `data` (the same,
            of an object) or `wrong-message` (a message that may not come here).
        octets: The bytes in question, if known; `offset` counts from their beginning.
        stream: What kind of stream they are of, in the words of the `decode` command: `control`, `subgroup`,
            `fetch` or `datagram`.
        left_out: Bytes of a data stream behind its header that are not among `octets`: they could be read.
    """

    code: ClassVar[SessionError] = SessionError.PROTOCOL_VIOLATION

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.fault = "wrong-message"
        self.octets = b""
        self.stream = "control"
        self.left_out = 0

    def marked(self, fault: str, octets: bytes, stream: str = "control") -> RemoteProtocolError:
        """The same error, saying what kind of thing it is and of which bytes."""
        self.fault = fault
        self.octets = octets
        self.stream = stream
        return self


class ProtocolViolation(RemoteProtocolError):
    """A rule of the draft was broken for which it names no code of its own (0x3)."""


class InvalidRequestId(RemoteProtocolError):
    """A request id out of sequence, of the wrong parity, repeated, or naming no request (0x4)."""

    code = SessionError.INVALID_REQUEST_ID


class DuplicateTrackAlias(RemoteProtocolError):
    """One alias for two live tracks of a session (0x5)."""

    code = SessionError.DUPLICATE_TRACK_ALIAS


class KeyValueFormattingError(RemoteProtocolError):
    """A key-value pair of a known type whose value cannot be read (0x6)."""

    code = SessionError.KEY_VALUE_FORMATTING_ERROR


class TooManyRequests(RemoteProtocolError):
    """A request id at or above the maximum granted, drafts 14-16 (0x7)."""

    code = SessionError.TOO_MANY_REQUESTS


class InvalidPath(RemoteProtocolError):
    """A PATH option where none may be: over WebTransport, or from a server (0x8)."""

    code = SessionError.INVALID_PATH


class InvalidAuthority(RemoteProtocolError):
    """An AUTHORITY option where none may be: over WebTransport, or from a server (0x19)."""

    code = SessionError.INVALID_AUTHORITY


class VersionNegotiationFailed(RemoteProtocolError):
    """No common draft, or a draft chosen that was not offered (0x15)."""

    code = SessionError.VERSION_NEGOTIATION_FAILED


class InvalidRequiredRequestId(RemoteProtocolError):
    """A request that depends on one before the first, draft 17 (0x7)."""

    code = SessionError.INVALID_REQUIRED_REQUEST_ID


class TooManyRequestUpdates(RemoteProtocolError):
    """More REQUEST_UPDATEs without an answer than MAX_REQUEST_UPDATES allows, from 19 (0x1B)."""

    code = SessionError.TOO_MANY_REQUEST_UPDATES
