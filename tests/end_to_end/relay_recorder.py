"""What clients send to relays of this process, taken where QUIC hands it over, and what the relays say.

The client's part is recorded below the relay's session and its WebTransport: nothing of ours has read it
yet. The relay's part is recorded as its session says it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aioquic.quic import events as quic_events

from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    TransportEvent,
)
from pytest_moqt.relay.connection import Connection, RawTransport, SessionTransport, WebTransportConnection
from pytest_moqt.relay.server import Server
from tests.frames import Said, Transcript


class Recorder:
    """The sessions of all relays in this process, while it is in force."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._said: dict[Connection, list[Said]] = {}
        self._sessions: dict[Connection, Transcript] = {}
        self._ended: set[Connection] = set()

    def said(self, connection: Connection, sender: Sender, event: TransportEvent) -> None:
        """Note what one end did."""
        with self._changed:
            self._said.setdefault(connection, []).append(Said(sender, event))

    def opened(self, connection: Connection, draft: Draft, transport: str) -> None:
        """Note that a connection has a session."""
        with self._changed:
            said = self._said.setdefault(connection, [])
            self._sessions[connection] = Transcript(draft, transport, said)

    def ended(self, connection: Connection) -> None:
        """Note that a connection is over."""
        with self._changed:
            self._ended.add(connection)
            self._changed.notify_all()

    def transcripts(self, timeout: float) -> list[Transcript]:
        """The sessions so far, each of them over.

        Raises:
            TimeoutError: One of them is not over within so many seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._sessions.keys() <= self._ended, timeout):
                raise TimeoutError(f"a session is not over {timeout:g} s after its client")
            return list(self._sessions.values())


def _event(event: quic_events.QuicEvent) -> TransportEvent | None:
    match event:
        case quic_events.StreamDataReceived():
            return StreamData(event.stream_id, event.data, event.end_stream)
        case quic_events.StreamReset():
            return StreamReset(event.stream_id, event.error_code, event.error_code)
        case quic_events.StopSendingReceived():
            return StopSending(event.stream_id, event.error_code, event.error_code)
        case quic_events.DatagramFrameReceived():
            return DatagramData(event.data)
    return None


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record the sessions of all relays in this process."""
    recorder = Recorder()

    with pytest.MonkeyPatch.context() as patch:

        def before(kind: type, name: str, note: Any) -> None:
            """Have `note` called before the method, with its arguments."""
            method = getattr(kind, name)

            def noted(*arguments: Any, **keywords: Any) -> Any:
                note(*arguments, **keywords)
                return method(*arguments, **keywords)

            patch.setattr(kind, name, noted)

        def received(connection: Connection, event: quic_events.QuicEvent) -> None:
            if (heard := _event(event)) is not None:
                recorder.said(connection, Sender.CLIENT, heard)

        def sent(transport: SessionTransport, stream_id: int, data: bytes, *, fin: bool = False) -> None:
            recorder.said(transport.connection, Sender.SERVER, StreamData(stream_id, data, fin))

        def opened(server: Server, transport: SessionTransport, draft: Draft) -> None:
            recorder.opened(transport.connection, draft, transport.name)

        def raw_ended(transport: RawTransport, end: Any) -> None:
            if end.by_peer:
                layer = "session" if end.application else "quic"
                closed = TransportClosed(end.code, end.reason, by_peer=True, layer=layer)
                recorder.said(transport.connection, Sender.CLIENT, closed)
            recorder.ended(transport.connection)

        def web_ended(upper: WebTransportConnection, end: Any) -> None:
            recorder.ended(upper._connection)

        before(Connection, "_tell", received)
        before(SessionTransport, "send", sent)
        before(
            SessionTransport,
            "reset",
            lambda transport, stream_id, code: recorder.said(
                transport.connection, Sender.SERVER, StreamReset(stream_id, code, code)
            ),
        )
        before(
            SessionTransport,
            "stop",
            lambda transport, stream_id, code: recorder.said(
                transport.connection, Sender.SERVER, StopSending(stream_id, code, code)
            ),
        )
        before(
            SessionTransport,
            "send_datagram",
            lambda transport, data: recorder.said(transport.connection, Sender.SERVER, DatagramData(data)),
        )
        before(Server, "open_session", opened)
        before(RawTransport, "connection_ended", raw_ended)
        before(WebTransportConnection, "connection_ended", web_ended)
        yield recorder
