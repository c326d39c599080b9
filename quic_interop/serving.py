"""A server's half of HTTP/0.9 and HTTP/3: requests to files, and files to streams as fast as they are taken.

Of a file no more is read than WINDOW bytes ahead of what the client has acknowledged, so that a large one
costs no memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, Protocol

from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from pytest_moqt.client.aioquic_internals import unacknowledged
from quic_interop.www import NotOffered, Www

WINDOW = 262144
"Bytes of a file that wait to be acknowledged; ten times what the runner's link has under way."
_CHUNK = 65536
_LONGEST_REQUEST = 4096
"Of HTTP/0.9, in bytes; the runner's are below 300."

_HQ_ERROR = 1
"Code of a reset in HTTP/0.9, which has none of its own."


class Server(Protocol):
    """A way to serve files on one connection."""

    def quic_event(self, event: QuicEvent) -> None:
        """Take one event."""

    def feed(self) -> None:
        """Write what there is room for."""

    def close(self) -> None:
        """Give up all files."""


class _Body:
    """A file on its way to a client."""

    def __init__(self, file: BinaryIO, size: int, write: Callable[[bytes, bool], None]) -> None:
        self._file = file
        self._left = size
        self._write = write

    def feed(self, room: int) -> bool:
        """Write up to about `room` bytes; whether that was all.

        Raises:
            OSError: The file cannot be read, or is shorter than it was.
        """
        while self._left and room > 0:
            data = self._file.read(min(_CHUNK, self._left))
            if not data:
                raise OSError("the file became shorter")
            self._left -= len(data)
            room -= len(data)
            self._write(data, self._left == 0)
        return self._left == 0

    def close(self) -> None:
        """Give up the file."""
        self._file.close()


class Bodies:
    """The files that are on their way on one connection."""

    def __init__(self, quic: QuicConnection, error: int) -> None:
        self._quic = quic
        self._error = error
        self._bodies: dict[int, _Body] = {}

    def add(self, stream_id: int, file: BinaryIO, size: int, write: Callable[[bytes, bool], None]) -> None:
        """Begin to send a file."""
        self._bodies[stream_id] = _Body(file, size, write)
        if not size:
            write(b"", True)
            self.drop(stream_id)

    def feed(self) -> None:
        """Write what there is room for."""
        for stream_id, body in list(self._bodies.items()):
            room = WINDOW - unacknowledged(self._quic, stream_id)
            try:
                done = body.feed(room)
            except OSError:
                # The client must not take what came for the whole.
                self._quic.reset_stream(stream_id, self._error)
                done = True
            if done:
                self.drop(stream_id)

    def drop(self, stream_id: int) -> None:
        """Send no more on a stream."""
        body = self._bodies.pop(stream_id, None)
        if body is not None:
            body.close()

    def close(self) -> None:
        """Send no more at all."""
        for stream_id in list(self._bodies):
            self.drop(stream_id)


class Http09Server(Server):
    """HTTP/0.9: a line names the file, whose bytes are the answer; a reset says that there is none."""

    def __init__(self, quic: QuicConnection, www: Www) -> None:
        self._quic = quic
        self._www = www
        self._lines: dict[int, bytes | None] = {}
        "Requests that are not whole, and None for streams whose request was read but has not ended."
        self._bodies = Bodies(quic, _HQ_ERROR)

    def quic_event(self, event: QuicEvent) -> None:
        """Read requests."""
        if isinstance(event, StreamDataReceived) and event.stream_id % 4 == 0:
            self._read(event)
        elif isinstance(event, StreamReset):
            self._lines.pop(event.stream_id, None)
        elif isinstance(event, StopSendingReceived):
            self._bodies.drop(event.stream_id)

    def feed(self) -> None:
        """Write what there is room for."""
        self._bodies.feed()

    def close(self) -> None:
        """Give up all files."""
        self._bodies.close()

    def _read(self, event: StreamDataReceived) -> None:
        stream_id = event.stream_id
        line = self._lines.get(stream_id, b"")
        if line is None:
            return  # answered; whatever follows the line
        line += event.data
        if len(line) > _LONGEST_REQUEST:
            self._quic.stop_stream(stream_id, _HQ_ERROR)
            self._answer(stream_id, b"")
        elif b"\n" in line or event.end_stream:
            self._answer(stream_id, line.partition(b"\n")[0].rstrip(b"\r"))
        else:
            self._lines[stream_id] = line
        if event.end_stream:
            self._lines.pop(stream_id, None)

    def _answer(self, stream_id: int, line: bytes) -> None:
        self._lines[stream_id] = None
        method, _, path = line.decode("latin-1").partition(" ")
        try:
            if method != "GET":
                raise NotOffered(f"{method!r} is no method of HTTP/0.9")
            file, size = _opened(self._www, path)
        except NotOffered:
            self._quic.reset_stream(stream_id, _HQ_ERROR)
            return
        self._bodies.add(stream_id, file, size, partial(self._quic.send_stream_data, stream_id))


class Http3Server(Server):
    """HTTP/3; to be made when the protocol is negotiated, before any of the client's streams is read."""

    def __init__(self, quic: QuicConnection, www: Www) -> None:
        self._www = www
        self._http = H3Connection(quic)
        self._bodies = Bodies(quic, ErrorCode.H3_INTERNAL_ERROR)

    def quic_event(self, event: QuicEvent) -> None:
        """Read requests."""
        for part in self._http.handle_event(event):
            if isinstance(part, HeadersReceived):
                self._answer(part)
        if isinstance(event, StopSendingReceived):
            self._bodies.drop(event.stream_id)

    def feed(self) -> None:
        """Write what there is room for."""
        self._bodies.feed()

    def close(self) -> None:
        """Give up all files."""
        self._bodies.close()

    def _answer(self, request: HeadersReceived) -> None:
        stream_id = request.stream_id
        headers = dict(request.headers)
        if b":method" not in headers:
            return  # trailers
        try:
            if headers[b":method"] != b"GET":
                raise NotOffered("only GET is known")
            file, size = _opened(self._www, headers.get(b":path", b"").decode("latin-1"))
        except NotOffered:
            self._http.send_headers(stream_id, [(b":status", b"404")], end_stream=True)
            return
        self._http.send_headers(
            stream_id, [(b":status", b"200"), (b"content-length", str(size).encode("ascii"))]
        )
        self._bodies.add(stream_id, file, size, partial(self._http.send_data, stream_id))


def _opened(www: Www, path: str) -> tuple[BinaryIO, int]:
    file = www.find(path)
    try:
        opened = file.open("rb")
    except OSError as error:
        raise NotOffered(f"{path!r} cannot be read: {error.strerror or error}") from None
    return opened, os.fstat(opened.fileno()).st_size
