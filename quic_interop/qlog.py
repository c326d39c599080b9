"""qlog files that are written while a connection lives, one for each.

aioquic's own logger keeps every event until the connection's end: a download of 500 MB would need gigabytes,
and of a process that is stopped nothing would be left. This writes qlog 0.3 as JSON-SEQ (a record separator,
JSON, a newline), named by the connection's original destination id and the role.

Rules:

- An event goes to the file once its data is complete: aioquic fills in a received packet's frames after it
  has logged the packet, so what follows is held back until something is logged that cannot be part of it.
- A disk that is full ends a log, never a connection.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any, TextIO

from aioquic.quic.logger import QLOG_VERSION, QuicLogger, QuicLoggerTrace

from quic_interop.errors import InteropError

_SEPARATOR = "\x1e"
_BETWEEN_PACKETS = frozenset(
    f"transport:{name}"
    for name in ("datagrams_received", "datagrams_sent", "packet_dropped", "packet_received", "packet_sent")
)


class QlogTrace(QuicLoggerTrace):
    """The log of one connection."""

    def __init__(self, folder: Path, *, is_client: bool, odcid: bytes) -> None:
        super().__init__(is_client=is_client, odcid=odcid)
        self._held: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        role = "client" if is_client else "server"
        try:
            self._file = (folder / f"{odcid.hex()}.{role}.sqlog").open("w", encoding="utf-8")
        except OSError:
            return
        self._write(
            {
                "qlog_format": "JSON-SEQ",
                "qlog_version": QLOG_VERSION,
                "trace": {
                    "common_fields": {"ODCID": odcid.hex(), "time_format": "absolute"},
                    "vantage_point": {"name": "aioquic", "type": role},
                },
            }
        )

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        """Take an event; `data` may still grow until the next packet's."""
        if self._file is None:
            return
        name = f"{category}:{event}"
        if name in _BETWEEN_PACKETS:
            self._release()
        self._held.append({"data": data, "name": name, "time": self.encode_time(time.time())})

    def end(self) -> None:
        """Write what was held back."""
        self._release()
        if self._file is not None:
            self._close()

    def _release(self) -> None:
        held, self._held = self._held, []
        for event in held:
            self._write(event)

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(f"{_SEPARATOR}{json.dumps(record, separators=(',', ':'))}\n")
        except OSError:
            self._close()

    def _close(self) -> None:
        assert self._file is not None
        closing, self._file = self._file, None
        with contextlib.suppress(OSError):  # the disk is full: this log ends here
            closing.close()


class Qlog(QuicLogger):
    """The logs of all connections of a run, in one folder.

    Raises:
        InteropError: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InteropError(f"QLOGDIR {folder} cannot be made: {error.strerror or error}") from None
        self._folder = folder

    def start_trace(self, is_client: bool, odcid: bytes) -> QlogTrace:
        """Begin the log of a connection."""
        return QlogTrace(self._folder, is_client=is_client, odcid=odcid)

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        """End it."""
        assert isinstance(trace, QlogTrace)
        trace.end()
