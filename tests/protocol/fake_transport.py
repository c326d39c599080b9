"""Two sessions without a network: everything that is sent arrives, one byte at a time."""

from __future__ import annotations

from collections import deque
from typing import Any

from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.events import Event
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import Layout, Sender
from pytest_moqt.protocol.messages import Message
from pytest_moqt.protocol.session import Observer, Session
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    TransportEvent,
)
from pytest_moqt.protocol.values import KeyValues


class FakeTransport:
    """One end's transport: keeps what is asked of it, in order, for the other end."""

    max_datagram_size = 1200

    def __init__(self, sender: Sender) -> None:
        self._next = {
            unidirectional: 2 * unidirectional + (sender is Sender.SERVER) for unidirectional in (False, True)
        }
        self.outbox: deque[TransportEvent] = deque()
        self.inbox: list[TransportEvent] = []
        self.sent: dict[int, bytes] = {}
        "All bytes by stream."
        self.resets: list[tuple[int, int]] = []
        self.stops: list[tuple[int, int]] = []
        self.closed: list[tuple[int, str]] = []

    def open_stream(self, *, unidirectional: bool) -> int:
        """The next stream id of this end (RFC 9000 section 2.1)."""
        stream_id = self._next[unidirectional]
        self._next[unidirectional] += 4
        return stream_id

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Cut into single bytes, the end apart."""
        self.sent[stream_id] = self.sent.get(stream_id, b"") + data
        self.outbox.extend(StreamData(stream_id, bytes([byte])) for byte in data)
        if fin:
            self.outbox.append(StreamData(stream_id, b"", fin=True))

    def reset(self, stream_id: int, code: int) -> None:
        """Abandon our half."""
        self.resets.append((stream_id, code))
        self.outbox.append(StreamReset(stream_id, code, code))

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the other end to abandon its half."""
        self.stops.append((stream_id, code))
        self.outbox.append(StopSending(stream_id, code, code))

    def send_datagram(self, data: bytes) -> None:
        """Whole, as datagrams are."""
        self.outbox.append(DatagramData(data))

    def close(self, code: int = 0, reason: str = "") -> None:
        """Once; a second call does nothing. The other end is told, and so is this one."""
        if not self.closed:
            self.closed.append((code, reason))
            self.outbox.append(TransportClosed(code, reason, by_peer=True, layer="session"))
            self.inbox.append(TransportClosed(code, reason, by_peer=False, layer="session"))


class Pair:
    """A client's and a server's session of one draft, and what each has reported."""

    def __init__(
        self,
        draft: Draft,
        *,
        started: bool = True,
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
    ) -> None:
        self.draft = draft
        self.transports = {sender: FakeTransport(sender) for sender in Sender}
        self.frames: list[tuple[str, str]] = []
        "Who received which message, by wire name, in order."
        self.sessions = {}
        for sender, arguments in ((Sender.CLIENT, client), (Sender.SERVER, server)):
            self.sessions[sender] = Session(
                draft,
                self.transports[sender],
                sender=sender,
                observer=self._observer(sender),
                **{
                    name: KeyValues(value) if name == "options" else value
                    for name, value in (arguments or {}).items()
                },
            )
        self.client, self.server = self.sessions[Sender.CLIENT], self.sessions[Sender.SERVER]
        self.events: dict[Session, list[Event]] = {self.client: [], self.server: []}
        if started:
            self.start()

    def _observer(self, end: Sender) -> Observer:
        def observe(
            direction: str,
            stream_id: int | None,
            frame: Frame,
            message: Message | None,
            layout: Layout | None,
        ) -> None:
            if direction == "received":
                self.frames.append((end.value, layout.name if layout else hex(frame.type)))

        return observe

    def start(self) -> None:
        """Exchange SETUP; the server says its own when it has the client's, as every draft allows."""
        self.client.start()
        self.settle()
        self.server.start()
        self.settle()

    def settle(self) -> None:
        """Deliver until nothing is under way."""
        while any(transport.outbox for transport in self.transports.values()):
            for sender, other in ((Sender.CLIENT, self.server), (Sender.SERVER, self.client)):
                outbox = self.transports[sender].outbox
                while outbox:
                    self.events[other] += other.handle_event(outbox.popleft())
        for sender, session in self.sessions.items():
            inbox, self.transports[sender].inbox = self.transports[sender].inbox, []
            self.events[session] += [event for arrived in inbox for event in session.handle_event(arrived)]

    def deliver(self, session: Session, *events: TransportEvent) -> list[Event]:
        """Hand a session events of its transport and return what it reports."""
        reported = [event for arrived in events for event in session.handle_event(arrived)]
        self.events[session] += reported
        return reported

    def taken(self, session: Session) -> list[Event]:
        """What a session has reported since the last time."""
        self.settle()
        reported, self.events[session] = self.events[session], []
        return reported

    def only(self, session: Session) -> Any:
        """The one thing that a session has reported since the last time."""
        (event,) = self.taken(session)
        return event

    def forget(self) -> None:
        """Deliver, and drop what was reported."""
        self.settle()
        for reported in self.events.values():
            reported.clear()
