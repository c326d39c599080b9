"""The two ways in which drafts use streams, and nothing else that differs.

A topology owns the bytes of control and request streams: it turns them into frames, each with the
stream it came on and the request that stream belongs to, and puts our frames where the draft wants
them. Drafts 14-16 have one bidirectional control stream for everything, but for the messages that their
layout marks `own_stream`; from 17 each end has a unidirectional control stream, and every request a
bidirectional stream of its own (`session-init`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pytest_moqt.protocol.buffer import counted
from pytest_moqt.protocol.drafts import Draft, Topology
from pytest_moqt.protocol.errors import NeedMoreData, ProtocolViolation
from pytest_moqt.protocol.events import RequestState
from pytest_moqt.protocol.framing import Frame, FrameBuffer
from pytest_moqt.protocol.layouts import Layout, Sender, Stream, layout_of_message
from pytest_moqt.protocol.messages import Setup
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.transport import StreamData, StreamTransport, is_unidirectional, opened_by_client


class Arrival(Record):
    """A frame and where it came."""

    frame: Frame
    stream_id: int
    on_control: bool
    request: RequestState | None
    "The request whose own stream it came on, once it is known."


class StreamUse(Protocol):
    """What a session asks of its topology."""

    requests: dict[int, RequestState]
    "Requests by their own stream."

    @property
    def control_stream(self) -> int | None:
        """The control stream that we write on; None before `start`."""

    @property
    def peer_control_stream(self) -> int | None:
        """The control stream that the peer writes on; None before it is there."""

    def start(self, setup: Frame) -> None:
        """Open our control stream with SETUP."""

    def send(self, frame: Frame, layout: Layout | None, request: RequestState | None) -> None:
        """Put a frame where it belongs; a request that needs a stream of its own is given one."""

    def is_data(self, event: StreamData) -> bool | None:
        """Whether a stream is a data stream; None when its bytes so far do not tell."""

    def receive(self, event: StreamData) -> Iterator[Arrival]:
        """The frames that an event completes.

        Raises:
            RemoteProtocolError: The control stream was closed, or a stream ended inside a frame.
        """

    def may_carry(self, arrival: Arrival, layout: Layout) -> bool:
        """Whether a message may travel where it came."""

    def is_control(self, stream_id: int) -> bool:
        """Whether a stream is a control stream of either end."""

    def unfinished(self) -> Iterator[tuple[int, bytes]]:
        """What came on each stream, by its id, that is no whole message yet."""


class _Buffers:
    """The frames of many streams."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._buffers: dict[int, FrameBuffer] = {}

    def frames(self, event: StreamData) -> Iterator[Frame]:
        buffer = self._buffers.setdefault(event.stream_id, FrameBuffer(self.draft))
        buffer.feed(event.data)
        while (frame := buffer.take()) is not None:
            yield frame
        if event.fin:
            pending = buffer.pending
            del self._buffers[event.stream_id]
            if pending:
                raise ProtocolViolation(
                    f"stream {event.stream_id} ends {counted(len(pending))} into a message",
                    offset=len(pending),
                ).marked("malformed", pending)

    def unfinished(self) -> Iterator[tuple[int, bytes]]:
        return ((number, buffer.pending) for number, buffer in self._buffers.items() if buffer.pending)


class SingleControlStream:
    """Drafts 14-16: the client's first bidirectional stream carries everything (14 section 3.3)."""

    def __init__(self, draft: Draft, transport: StreamTransport, sender: Sender) -> None:
        self._draft = draft
        self._transport = transport
        self._sender = sender
        self._buffers = _Buffers(draft)
        self._control: int | None = None
        self.requests: dict[int, RequestState] = {}

    def start(self, setup: Frame) -> None:
        """The client opens the stream; the server answers on it."""
        if self._sender is Sender.CLIENT:
            self._control = self._transport.open_stream(unidirectional=False)
        assert self._control is not None, "a server starts when the client's stream has come"
        self._transport.send(self._control, setup.encode(self._draft))

    def send(self, frame: Frame, layout: Layout | None, request: RequestState | None) -> None:
        """On the control stream, or on the stream of a request that has one."""
        stream_id = self._control if request is None else request.stream_id
        if request is not None and stream_id is None:
            if layout is not None and layout.own_stream and Stream.FIRST in layout.stream:
                stream_id = self._transport.open_stream(unidirectional=False)
                request.stream_id = stream_id
                self.requests[stream_id] = request
            else:
                stream_id = self._control
        assert stream_id is not None, "the session has started"
        self._transport.send(stream_id, frame.encode(self._draft))

    def is_data(self, event: StreamData) -> bool | None:
        """Every unidirectional stream is one."""
        return is_unidirectional(event.stream_id)

    def receive(self, event: StreamData) -> Iterator[Arrival]:
        """Frames of the control stream or of a request's own."""
        if self._control is None and opened_by_client(event.stream_id):
            self._control = event.stream_id
        on_control = event.stream_id == self._control
        for frame in self._buffers.frames(event):
            yield Arrival(frame, event.stream_id, on_control, self.requests.get(event.stream_id))
        if event.fin and on_control:
            raise ProtocolViolation("the control stream was closed during the session")

    def may_carry(self, arrival: Arrival, layout: Layout) -> bool:
        """What a layout marks `own_stream` comes on its own, replies to it too, the rest on control."""
        if arrival.on_control:
            return not layout.own_stream
        if arrival.request is None:
            return layout.own_stream and Stream.FIRST in layout.stream
        return (layout.own_stream and Stream.FIRST not in layout.stream) or Stream.REPLY in layout.stream

    @property
    def control_stream(self) -> int | None:
        """The one both ends write on."""
        return self._control

    @property
    def peer_control_stream(self) -> int | None:
        """The one both ends write on."""
        return self._control

    def is_control(self, stream_id: int) -> bool:
        """The one both ends write on."""
        return stream_id == self._control

    def unfinished(self) -> Iterator[tuple[int, bytes]]:
        """Of the control stream and of requests' own."""
        return self._buffers.unfinished()


class RequestStreams:
    """From draft 17: each end has a control stream, each request its own stream (18 section 3.3)."""

    def __init__(self, draft: Draft, transport: StreamTransport, sender: Sender) -> None:
        self._draft = draft
        self._transport = transport
        self._sender = sender
        self._buffers = _Buffers(draft)
        self._ours: int | None = None
        self._peers: int | None = None
        self._setup_type = layout_of_message(draft, Setup).code
        self.requests: dict[int, RequestState] = {}

    def start(self, setup: Frame) -> None:
        """Each end opens its own; SETUP's type is the stream's type."""
        self._ours = self._transport.open_stream(unidirectional=True)
        self._transport.send(self._ours, setup.encode(self._draft))

    def send(
        self,
        frame: Frame,
        layout: Layout | None,  # noqa: ARG002 - the other topology's
        request: RequestState | None,
    ) -> None:
        """On our control stream, or on the request's, which its first message opens."""
        if request is None:
            stream_id = self._ours
        else:
            if request.stream_id is None:
                request.stream_id = self._transport.open_stream(unidirectional=False)
                self.requests[request.stream_id] = request
            stream_id = request.stream_id
        assert stream_id is not None, "the session has started"
        self._transport.send(stream_id, frame.encode(self._draft))

    def is_data(self, event: StreamData) -> bool | None:
        """A unidirectional stream of any type but SETUP's."""
        if not is_unidirectional(event.stream_id):
            return False
        if event.stream_id == self._peers:
            return False
        try:
            number, _ = self._draft.integers.decode(event.data)
        except NeedMoreData:
            return None
        return number != self._setup_type

    def receive(self, event: StreamData) -> Iterator[Arrival]:
        """Frames of the peer's control stream or of a request's."""
        on_control = is_unidirectional(event.stream_id)
        if on_control and self._peers is None:
            self._peers = event.stream_id
        if on_control and event.stream_id != self._peers:
            raise ProtocolViolation(f"a second control stream, {event.stream_id} beside {self._peers}")
        for frame in self._buffers.frames(event):
            yield Arrival(frame, event.stream_id, on_control, self.requests.get(event.stream_id))
        if event.fin and on_control:
            raise ProtocolViolation("the control stream was closed during the session")

    def may_carry(self, arrival: Arrival, layout: Layout) -> bool:
        """By the layout's stream column."""
        if arrival.on_control:
            return Stream.CONTROL in layout.stream
        if arrival.request is None:
            return Stream.FIRST in layout.stream
        return bool(layout.stream & (Stream.REPLY | Stream.REQUEST))

    @property
    def control_stream(self) -> int | None:
        """The one that we write on."""
        return self._ours

    @property
    def peer_control_stream(self) -> int | None:
        """The one that the peer has opened."""
        return self._peers

    def is_control(self, stream_id: int) -> bool:
        """Ours or the peer's."""
        return stream_id in (self._ours, self._peers)

    def unfinished(self) -> Iterator[tuple[int, bytes]]:
        """Of the peer's control stream and of requests' own."""
        return self._buffers.unfinished()


def stream_use(draft: Draft, transport: StreamTransport, sender: Sender) -> StreamUse:
    """The topology of a draft."""
    if draft.topology is Topology.SINGLE_CONTROL_STREAM:
        return SingleControlStream(draft, transport, sender)
    return RequestStreams(draft, transport, sender)
