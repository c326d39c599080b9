"""What was said in a session, in order: bounded, and cheap while nobody asks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import Layout
from pytest_moqt.protocol.messages import Message

MAX_ENTRIES = 200
"Entries that are kept; older ones are counted and forgotten."
MAX_OCTETS = 256
"Bytes of one body that are kept."


@dataclass(frozen=True, slots=True)
class Entry:
    """One control message, or one event of the session."""

    at_ms: float
    "Milliseconds since the connection was begun."
    direction: str
    "`sent` or `received`."
    stream_id: int | None
    "None: the control stream, when we sent it."
    name: str
    "The message's wire name, its type in hex where the draft has none, or the event."
    message: Message | None = None
    octets: bytes = b""
    "The first bytes of the message, type and length included: what the `decode` command takes."
    size: int = 0
    "Bytes of the whole message."

    def __str__(self) -> str:
        arrow = ">" if self.direction == "sent" else "<"
        where = "" if self.stream_id is None else f" stream {self.stream_id}"
        cut = "..." if self.size > len(self.octets) else ""
        said = "" if self.message is None else f" {self.message!r}"
        body = f" [{self.octets.hex()}{cut}]" if self.octets else ""
        return f"{self.at_ms:.1f} ms {arrow} {self.name}{where}{said}{body}"


class Journal:
    """The entries of one session.

    Args:
        draft: The draft spoken.
        began: When dialling began, by `time.monotonic`.
    """

    def __init__(self, draft: Draft, began: float) -> None:
        self._draft = draft
        self._began = began
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self.forgotten = 0
        "Entries that were dropped to stay within MAX_ENTRIES."

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def frame(
        self,
        direction: str,
        stream_id: int | None,
        frame: Frame,
        message: Message | None,
        layout: Layout | None,
    ) -> None:
        """Note a control message (a `protocol.session.Observer`)."""
        name = layout.name if layout else f"message of type {frame.type:#x}"
        octets = frame.encode(self._draft)
        self._append(
            Entry(self._now(), direction, stream_id, name, message, octets[:MAX_OCTETS], len(octets))
        )

    def event(self, direction: str, name: str, stream_id: int | None = None) -> None:
        """Note anything else."""
        self._append(Entry(self._now(), direction, stream_id, name))

    def _append(self, entry: Entry) -> None:
        self.forgotten += len(self._entries) == MAX_ENTRIES
        self._entries.append(entry)

    def _now(self) -> float:
        return (time.monotonic() - self._began) * 1000
