"""Relays that are wrong about many clients, and slow ones."""

from __future__ import annotations

from collections import defaultdict, deque

from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter
from pytest_moqt.relay.session import Session

BEHIND = 128 * 1024
"Bytes that a subscriber has not acknowledged, with which all others wait for it."
LOOK_SECONDS = 0.02
"How often it is looked whether they have to."

under_load = Chapter("Conformance: robustness", CONFORMANCE)


@under_load.against(
    "slowest-decides",
    "It sends objects to all subscribers no faster than the slowest of them takes them.",
    {"slow-subscriber-isolated": "timeout"},
)
class _SlowestDecides(Behaviour):
    def __init__(self) -> None:
        self._waiting: deque[tuple[Session, int, bytes, bool]] = deque()
        self._streams: defaultdict[Session, set[int]] = defaultdict(set)

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        self._waiting.append((session, stream_id, data, fin))
        if len(self._waiting) == 1:
            self._send(session)

    def _send(self, waker: Session) -> None:
        while self._waiting:
            if self._is_behind():
                waker.call_later(LOOK_SECONDS, self._send, waker)
                return
            session, stream_id, data, fin = self._waiting.popleft()
            self._streams[session].add(stream_id)
            session.write(stream_id, data, fin=fin)

    def _is_behind(self) -> bool:
        return any(
            sum(map(session.transport.backlog, streams)) > BEHIND
            for session, streams in self._streams.items()
            if not session.closed
        )
