"""WebTransport over HTTP/3 as bytes: codes, capsules, stream headers and the sub-protocol header.

What a client and a relay both need, for either side and any number of sessions. Rules:

- A session is named by the stream id of its CONNECT request, a client's bidirectional stream.
- A stream opened inside a session begins with a signal value and the session's id; only the half of
  the side that opened it has this header.
- Anything a peer may send is bounded here: no capsule and no stream header is ever collected without limit.

Sources: draft-ietf-webtrans-http3 (codes 4.3, streams 4.1 and 4.2, sub-protocols 3.3, end of a
session 6), RFC 9297 section 3 (capsules), RFC 8941 (structured fields).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from pytest_moqt.protocol.errors import MoqtError, NeedMoreData
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.transport import is_unidirectional, utf8_prefix
from pytest_moqt.protocol.varint import QUIC_VARINT

FIRST_APPLICATION_CODE = 0x52E4A40FA8DB
LAST_APPLICATION_CODE = 0x52E5AC983162

MAX_SESSION_CODE = (1 << 32) - 1
"The largest application code a stream or a session of WebTransport can carry."

MAX_CLOSE_REASON = 1024
'Bytes of UTF-8; "its length MUST NOT exceed 1024 bytes" (draft-ietf-webtrans-http3 section 6).'

# Half as much again as any valid CLOSE_WEBTRANSPORT_SESSION, so that a reason slightly too long still
# arrives with its code, while a length out of all proportion is refused before its bytes are awaited.
MAX_CAPSULE_VALUE = 4 + MAX_CLOSE_REASON + 512

BUFFERED_STREAM_REJECTED = 0x3994BD84
"HTTP/3 code for a stream whose session is not known (draft-ietf-webtrans-http3 section 4.5)."
SESSION_GONE = 0x170D7B68
"HTTP/3 code for the streams of a session that ended (draft-ietf-webtrans-http3 section 6)."


class CapsuleType(IntEnum):
    """Capsules that end a session (draft-ietf-webtrans-http3 sections 4.6 and 6)."""

    CLOSE_WEBTRANSPORT_SESSION = 0x2843
    DRAIN_WEBTRANSPORT_SESSION = 0x78AE


_KEPT = frozenset(int(kept) for kept in CapsuleType)


class StreamSignal(IntEnum):
    """First integer of a stream opened inside a session (draft-ietf-webtrans-http3 sections 4.1, 4.2)."""

    BIDIRECTIONAL = 0x41
    UNIDIRECTIONAL = 0x54


class CapsuleError(MoqtError):
    """The capsules on a CONNECT stream cannot be read: too long, too short, or cut off by its end."""


def wire_code(code: int) -> int:
    """The HTTP/3 code that carries an application code on a stream or a connection.

    Raises:
        ValueError: `code` does not fit 32 bits.
    """
    if not 0 <= code <= MAX_SESSION_CODE:
        raise ValueError(f"WebTransport carries codes 0 to {MAX_SESSION_CODE:#x}, not {code:#x}")
    # Every 31st code of HTTP/3 is reserved for grease (RFC 9114 section 8.1), so it is stepped over.
    return FIRST_APPLICATION_CODE + code + code // 0x1E


def application_code(wire: int) -> int | None:
    """The application code that an HTTP/3 code carries; None when it carries none."""
    if not FIRST_APPLICATION_CODE <= wire <= LAST_APPLICATION_CODE or (wire - 0x21) % 0x1F == 0:
        return None
    shifted = wire - FIRST_APPLICATION_CODE
    return shifted - shifted // 0x1F


class Capsule(Record):
    """One capsule of a type in `CapsuleType`, whole."""

    type: int
    value: bytes


def encode_capsule(capsule_type: int, value: bytes = b"") -> bytes:
    """Type, length and value (RFC 9297 section 3.2)."""
    return QUIC_VARINT.encode(capsule_type) + QUIC_VARINT.encode(len(value)) + value


def encode_close(code: int, reason: str = "") -> bytes:
    """A CLOSE_WEBTRANSPORT_SESSION capsule; a reason above 1024 bytes is cut between characters.

    Raises:
        ValueError: `code` does not fit 32 bits.
    """
    if not 0 <= code <= MAX_SESSION_CODE:
        raise ValueError(f"WebTransport carries codes 0 to {MAX_SESSION_CODE:#x}, not {code:#x}")
    value = code.to_bytes(4, "big") + utf8_prefix(reason, MAX_CLOSE_REASON).encode()
    return encode_capsule(CapsuleType.CLOSE_WEBTRANSPORT_SESSION, value)


def decode_close(value: bytes) -> tuple[int, str]:
    """Code and reason of a CLOSE_WEBTRANSPORT_SESSION; bytes that are not UTF-8 are replaced.

    Raises:
        CapsuleError: It has not even the four bytes of the code.
    """
    if len(value) < 4:
        raise CapsuleError(f"CLOSE_WEBTRANSPORT_SESSION of {len(value)} bytes, the code alone has 4")
    return int.from_bytes(value[:4], "big"), value[4:].decode("utf-8", "replace")


class CapsuleReader:
    """Bytes of a CONNECT stream to capsules, however they are cut.

    Capsules of types not in `CapsuleType` "MUST be silently skipped" (RFC 9297 section 3.2): they are
    counted away as they arrive, whatever their length, and never collected.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._skip = 0

    def feed(self, data: bytes) -> list[Capsule]:
        """The capsules that `data` completes, in order.

        Raises:
            CapsuleError: A capsule we would have to keep is longer than `MAX_CAPSULE_VALUE`.
        """
        found: list[Capsule] = []
        self._buffer += data
        while self._buffer:
            if self._skip:
                skipped = min(self._skip, len(self._buffer))
                self._skip -= skipped
                self._buffer = self._buffer[skipped:]
                continue
            try:
                capsule_type, start = QUIC_VARINT.decode(self._buffer)
                length, start = QUIC_VARINT.decode(self._buffer, start)
            except NeedMoreData:
                break
            if capsule_type not in _KEPT:
                self._buffer = self._buffer[start:]
                self._skip = length
                continue
            if length > MAX_CAPSULE_VALUE:
                raise CapsuleError(
                    f"a {CapsuleType(capsule_type).name} capsule of {length} bytes,"
                    f" at most {MAX_CAPSULE_VALUE} are read"
                )
            if len(self._buffer) < start + length:
                break
            found.append(Capsule(capsule_type, self._buffer[start : start + length]))
            self._buffer = self._buffer[start + length :]
        return found

    def end(self) -> None:
        """Say that the stream ended.

        Raises:
            CapsuleError: It ended inside a capsule (RFC 9297 section 3.3: "malformed or incomplete").
        """
        if self._buffer or self._skip:
            raise CapsuleError("the CONNECT stream ended inside a capsule")


def stream_header(session_id: int, *, unidirectional: bool) -> bytes:
    """What the side that opens a stream of a session writes first."""
    signal = StreamSignal.UNIDIRECTIONAL if unidirectional else StreamSignal.BIDIRECTIONAL
    return QUIC_VARINT.encode(signal) + QUIC_VARINT.encode(session_id)


class Delivery(Record):
    """Bytes of one stream and whom they belong to."""

    session_id: int | None
    "The WebTransport session; None for a stream of HTTP/3 itself."
    data: bytes
    "Without the stream's header; may be empty when the header came alone."
    fin: bool


class Demultiplexer:
    """Tells the streams of WebTransport sessions from those of HTTP/3, from their first bytes.

    For client and server alike: streams the peer opens are recognised, streams opened here are
    registered with `opened`.
    """

    def __init__(self) -> None:
        self._sessions: dict[int, int | None] = {}
        self._headers: dict[int, bytes] = {}

    def opened(self, stream_id: int, session_id: int | None) -> None:
        """Register a stream of ours: the peer's half of it has no header."""
        self._sessions[stream_id] = session_id

    def is_known(self, stream_id: int) -> bool:
        """Whether it is decided whom a stream belongs to."""
        return stream_id in self._sessions

    def session_of(self, stream_id: int) -> int | None:
        """The session of a stream; None for HTTP/3's and for a stream not decided yet."""
        return self._sessions.get(stream_id)

    def receive(self, stream_id: int, data: bytes, fin: bool) -> Delivery | None:
        """Take bytes of a stream, in order.

        Returns:
            What to pass on; None while the header is incomplete. A stream that ends inside its header
            belongs to HTTP/3, whose business malformed streams are.
        """
        if stream_id in self._sessions:
            return Delivery(self._sessions[stream_id], data, fin)
        data = self._headers.pop(stream_id, b"") + data
        signal = StreamSignal.UNIDIRECTIONAL if is_unidirectional(stream_id) else StreamSignal.BIDIRECTIONAL
        session_id: int | None = None
        start = 0
        try:
            found, after_signal = QUIC_VARINT.decode(data)
            if found == signal:
                session_id, start = QUIC_VARINT.decode(data, after_signal)
        except NeedMoreData:
            if not fin:
                self._headers[stream_id] = data  # at most 15 bytes: two integers of 8, one short
                return None
        self._sessions[stream_id] = session_id
        return Delivery(session_id, data[start:], fin)

    def forget(self, stream_id: int) -> None:
        """Drop what is known of a stream that has ended both ways."""
        self._sessions.pop(stream_id, None)
        self._headers.pop(stream_id, None)


def encode_datagram(session_id: int, payload: bytes) -> bytes:
    """An HTTP datagram: the quarter stream id before the payload (RFC 9297 section 2.1)."""
    return QUIC_VARINT.encode(session_id // 4) + payload


def decode_datagram(data: bytes) -> tuple[int, bytes]:
    """Session id and payload of an HTTP datagram.

    Raises:
        NeedMoreData: It ends inside the quarter stream id, an HTTP/3 error H3_DATAGRAM_ERROR.
    """
    quarter, start = QUIC_VARINT.decode(data)
    return quarter * 4, data[start:]


def format_available_protocols(protocols: Iterable[str]) -> str:
    """The value of `WT-Available-Protocols`: a structured-field list of strings, most wanted first.

    Raises:
        ValueError: A name has characters that a structured-field string cannot hold.
    """
    return ", ".join(format_protocol(protocol) for protocol in protocols)


def format_protocol(protocol: str) -> str:
    """The value of `WT-Protocol`: a structured-field string (RFC 8941 section 3.3.3).

    Raises:
        ValueError: The name has characters that a structured-field string cannot hold.
    """
    if not all(" " <= character <= "~" for character in protocol):
        raise ValueError(f"{protocol!r} is no structured-field string: printable ASCII only")
    escaped = protocol.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_available_protocols(value: str) -> list[str]:
    """The names in `WT-Available-Protocols`, in order; bare tokens count too, parameters are dropped.

    Returns:
        The names; an empty list when the field cannot be read, which is as good as absent
        (RFC 8941 section 4.2: "the entire field value MUST be ignored").
    """
    names: list[str] = []
    position, end = 0, len(value)
    while position < end:
        while position < end and value[position] in " \t":
            position += 1
        item: list[str] = []
        if position < end and value[position] == '"':
            position += 1
            while position < end and value[position] != '"':
                if value[position] == "\\":
                    position += 1
                    if position >= end:
                        return []
                item.append(value[position])
                position += 1
            if position >= end:
                return []
            position += 1
        else:
            while position < end and value[position] not in ',; \t"':
                item.append(value[position])
                position += 1
        if not item:
            return []
        names.append("".join(item))
        comma = value.find(",", position)
        rest = value[position : comma if comma >= 0 else end].strip(" \t")
        if rest and not rest.startswith(";"):
            return []
        if comma >= 0 and not value[comma + 1 :].strip(" \t"):
            return []
        position = comma + 1 if comma >= 0 else end
    return names


def parse_protocol(value: str) -> str | None:
    """The name in `WT-Protocol`, quoted or not; None when it is empty, unreadable or not exactly one."""
    names = parse_available_protocols(value)
    return names[0] if len(names) == 1 else None
