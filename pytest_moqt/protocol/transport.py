"""The seam between a session and what carries it: what a transport tells, and what it may be told.

Rules:

- Everything here is synchronous. A transport calls its owner with one event at a time and never
  from inside one of its own verbs.
- Stream ids are QUIC stream ids, over WebTransport too (RFC 9000 section 2.1: bit 0 set = opened by
  the server, bit 1 set = unidirectional). The CONNECT stream of WebTransport is never reported.
- Codes are MoQT's own numbers: a WebTransport transport maps them to and from HTTP/3's range
  (draft-ietf-webtrans-http3 section 4.3) and keeps the number seen on the wire beside them.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Protocol

from pytest_moqt.protocol.record import Record


class StreamData(Record):
    """Bytes of one stream, in order; `data` may be empty (a stream opened or ended with none)."""

    stream_id: int
    data: bytes
    fin: bool = False

    def __init__(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        values = self.__dict__
        values["stream_id"] = stream_id
        values["data"] = data
        values["fin"] = fin


class StreamReset(Record):
    """The peer abandoned its sending half (RESET_STREAM)."""

    stream_id: int
    code: int | None
    "The application's code; None when WebTransport could not map `wire_code`."
    wire_code: int


class StopSending(Record):
    """The peer asks us to abandon our sending half (STOP_SENDING)."""

    stream_id: int
    code: int | None
    "The application's code; None when WebTransport could not map `wire_code`."
    wire_code: int


class DatagramData(Record):
    """One datagram's payload."""

    data: bytes


class Ending(StrEnum):
    """By what a session ends; over raw QUIC by CONNECTION_CLOSE only."""

    CAPSULE = "CLOSE_WEBTRANSPORT_SESSION"
    FIN = "the end of the CONNECT stream"
    RESET = "the reset of the CONNECT stream"
    CONNECTION = "CONNECTION_CLOSE"


class TransportClosed(Record):
    """The session is over; nothing follows. Reported once, for our own close as well."""

    code: int
    "The application's code when `layer` is `session`, else QUIC's or HTTP/3's."
    reason: str
    by_peer: bool
    layer: str
    "`session` (application close or CLOSE_WEBTRANSPORT_SESSION), `quic` or `http3`."
    ending: Ending = field(default=Ending.CONNECTION, compare=False)


TransportEvent = StreamData | StreamReset | StopSending | DatagramData | TransportClosed


class StreamTransport(Protocol):
    """What a session may ask of its transport; every verb returns at once."""

    @property
    def max_datagram_size(self) -> int:
        """The largest payload in bytes that `send_datagram` takes now."""

    def open_stream(self, *, unidirectional: bool) -> int:
        """Open a stream of ours and return its id; nothing is sent before `send`."""

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes on a stream; after a reset, a stop or the session's end it does nothing."""

    def reset(self, stream_id: int, code: int) -> None:
        """Abandon our sending half."""

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the peer to abandon its sending half."""

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram.

        Raises:
            ValueError: `data` is longer than `max_datagram_size` bytes.
        """

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session with an application code; a second call does nothing."""


def is_unidirectional(stream_id: int) -> bool:
    """Whether a stream carries data one way only (RFC 9000 section 2.1)."""
    return bool(stream_id & 2)


def opened_by_client(stream_id: int) -> bool:
    """Whether the client opened this stream (RFC 9000 section 2.1)."""
    return not stream_id & 1


def utf8_prefix(text: str, limit: int) -> str:
    """The longest beginning of `text` whose UTF-8 has at most `limit` bytes; lone surrogates become `?`."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
