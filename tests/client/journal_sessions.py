"""A client's session without a network: the relay's half is bytes, and what the client sends is kept."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pytest_moqt.client.session import ClientSession
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft, Topology
from pytest_moqt.protocol.framing import Frame, encode_by
from pytest_moqt.protocol.layouts import Sender, layout_of_message
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.transport import StreamData, TransportClosed
from pytest_moqt.protocol.values import KeyValues


class SilentTransport:
    """What a ClientSession asks of its transport; nothing arrives anywhere."""

    name: ClassVar[str] = "quic"
    protocol = None
    connection_id = "0123456789abcdef"
    failure = None
    max_datagram_size = 1200

    def __init__(self, draft: Draft) -> None:
        self.alpn = draft.alpn
        self.closed: tuple[int, str] | None = None
        self._next = {True: 2, False: 0}

    def open_stream(self, *, unidirectional: bool) -> int:
        stream_id = self._next[unidirectional]
        self._next[unidirectional] += 4
        return stream_id

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None: ...

    def reset(self, stream_id: int, code: int) -> None: ...

    def stop(self, stream_id: int, code: int) -> None: ...

    def send_datagram(self, data: bytes) -> None: ...

    def close(self, code: int = 0, reason: str = "") -> None:
        self.closed = (code, reason)


class Relay:
    """The relay's side of one session, and the session."""

    def __init__(self, draft: Draft, *, setup: bool = True) -> None:
        self.draft = draft
        self.transport = SilentTransport(draft)
        transport: Any = self.transport
        self.session = ClientSession(transport, draft, "client", KeyValues([]), time.monotonic())
        single = draft.topology is Topology.SINGLE_CONTROL_STREAM
        self.control = 0 if single else 3
        self.session.begin()
        if setup:
            credit = [(SetupOption.MAX_REQUEST_ID, 100)] if draft.request_id_credit else []
            versions = () if draft.version_code is None else (draft.version_code,)
            self.say(m.Setup(KeyValues(credit), versions), self.control)

    def frame(self, message: m.Message, answering: type[m.Message] | None = None) -> Frame:
        """A message of the relay."""
        layout = layout_of_message(
            self.draft, type(message), answering=answering, sender=None if answering else Sender.SERVER
        )
        return encode_by(message, layout, self.draft)

    def say(
        self, message: m.Message | Frame, stream_id: int, answering: type[m.Message] | None = None
    ) -> bytes:
        """Send a message."""
        frame = message if isinstance(message, Frame) else self.frame(message, answering)
        octets = frame.encode(self.draft)
        self.send(stream_id, octets)
        return octets

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes."""
        self.session.handle(StreamData(stream_id, data, fin))

    def close(self, code: int, reason: str = "", *, by_peer: bool = True, layer: str = "session") -> None:
        """End the session."""
        self.session.handle(TransportClosed(code, reason, by_peer, layer))

    @property
    def lines(self) -> list[str]:
        """The journal."""
        return self.session.journal.lines(1000)

    def line(self, words: str) -> str:
        """The only line with these words."""
        found = [line for line in self.lines if words in line]
        assert len(found) == 1, "\n".join(self.lines)
        return found[0]
