"""A client's half of HTTP/0.9 and HTTP/3: paths to requests, QUIC events to pieces of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived, StreamReset


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of a file."""

    stream_id: int
    data: bytes = b""
    ended: bool = False
    "Whether this was all."
    refused: str = ""
    "Why nothing more comes; empty: it is on its way."


class Fetcher(Protocol):
    """A way to fetch files on one connection."""

    def request(self, path: str) -> int:
        """Ask for a path; the id of the stream on which it comes."""

    def pieces(self, event: QuicEvent) -> list[Piece]:
        """What an event brings."""


class Http09(Fetcher):
    """HTTP/0.9: a line on a stream, and the file's bytes back; only a reset says that there is none."""

    def __init__(self, quic: QuicConnection) -> None:
        self._quic = quic

    def request(self, path: str) -> int:
        """Ask for a path."""
        stream_id = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream_id, f"GET {path}\r\n".encode("ascii"), end_stream=True)
        return stream_id

    def pieces(self, event: QuicEvent) -> list[Piece]:
        """The bytes of the stream as they are."""
        if isinstance(event, StreamDataReceived):
            return [Piece(event.stream_id, event.data, event.end_stream)]
        return _refusals(event)


class Http3(Fetcher):
    """HTTP/3; to be made when the protocol is negotiated, before any of the server's streams is read."""

    def __init__(self, quic: QuicConnection, authority: str) -> None:
        self._quic = quic
        self._http = H3Connection(quic)
        self._authority = authority.encode("ascii")

    def request(self, path: str) -> int:
        """Ask for a path."""
        stream_id = self._quic.get_next_available_stream_id()
        headers = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", self._authority),
            (b":path", path.encode("ascii")),
        ]
        self._http.send_headers(stream_id, headers, end_stream=True)
        return stream_id

    def pieces(self, event: QuicEvent) -> list[Piece]:
        """The content of responses with status 200."""
        found = _refusals(event)
        for part in self._http.handle_event(event):
            if isinstance(part, HeadersReceived):
                status = dict(part.headers).get(b":status", b"200")  # trailers have none
                if status.startswith(b"1"):
                    continue
                refused = "" if status == b"200" else f"HTTP status {status.decode('ascii', 'replace')}"
                found.append(Piece(part.stream_id, ended=part.stream_ended, refused=refused))
            elif isinstance(part, DataReceived):
                found.append(Piece(part.stream_id, part.data, part.stream_ended))
        return found


def _refusals(event: QuicEvent) -> list[Piece]:
    if isinstance(event, StreamReset):
        return [Piece(event.stream_id, refused=f"the server reset its stream with 0x{event.error_code:x}")]
    return []
