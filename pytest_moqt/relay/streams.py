"""The streams that a client sends on: what each is, and how its bytes become frames or objects.

A stream begins as `Unrecognised`, until its first bytes and the state of the session say what it is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pytest_moqt.protocol.errors import ProtocolViolation
from pytest_moqt.protocol.framing import FrameBuffer
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectBeginning,
    ObjectDatagram,
    ObjectPart,
    ObjectTooLarge,
    StreamItem,
    StreamObject,
    SubgroupHeader,
)
from pytest_moqt.protocol.registries import STREAM_ERRORS, StreamError
from pytest_moqt.relay import limits
from pytest_moqt.relay.clock import Timer
from pytest_moqt.relay.exchange import Exchange

if TYPE_CHECKING:
    from pytest_moqt.relay.session import Session

logger = logging.getLogger("pytest_moqt.relay")


class Subgroup(Protocol):
    """Where the objects of one incoming stream go."""

    def object(self, item: StreamObject) -> None:
        """Take the next object."""

    def begin(self, item: ObjectBeginning) -> None:
        """Take the beginning of the next one; its payload follows."""

    def part(self, item: ObjectPart) -> None:
        """Take more of its payload."""

    def flush(self) -> None:
        """No more objects came with the last one: let it go on."""

    def finish(self) -> None:
        """The stream ended with a FIN."""

    def abandon(self, error: StreamError) -> None:
        """The stream was reset, or its session ended."""


class TrackSink(Protocol):
    """Where the objects of a track alias go."""

    def open_subgroup(self, header: SubgroupHeader) -> Subgroup:
        """Take a new stream."""

    def datagram(self, item: ObjectDatagram) -> None:
        """Take an object in a datagram."""


@runtime_checkable
class FetchSink(Protocol):
    """Where the objects of a fetch of the relay's own go."""

    descending: bool

    def fetched(self, item: FetchObject | FetchRangeEnd) -> None:
        """Take the next object or marker."""

    def finish(self) -> None:
        """The stream ended with a FIN."""

    def abandon(self, error: StreamError) -> None:
        """The stream was reset, or its session ended."""


class IncomingStream:
    """A stream that the client sends on."""

    def __init__(self, session: Session, stream_id: int) -> None:
        self.session = session
        self.stream_id = stream_id

    def data(self, data: bytes, fin: bool) -> None:
        """Take the next bytes."""

    def reset(self, code: int | None) -> None:
        """The client abandoned the stream."""


class Ignored(IncomingStream):
    """A stream that nobody listens to."""


class Unrecognised(IncomingStream):
    """A stream of which it is not known, or cannot be used yet, what it is."""

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self.buffer = b""
        self.fin = False

    def data(self, data: bytes, fin: bool) -> None:
        """Take the next bytes."""
        self.session.hold(len(data))
        self.buffer += data
        self.fin = fin
        self.session.recognise(self)

    def take(self) -> tuple[bytes, bool]:
        """What came so far; it is no longer held."""
        self.session.hold(-len(self.buffer))
        return self.buffer, self.fin

    def reset(self, code: int | None) -> None:  # noqa: ARG002 - whatever the reason
        """The client abandoned the stream."""
        self.session.hold(-len(self.buffer))


class ControlStream(IncomingStream):
    """The client's control stream."""

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self._frames = FrameBuffer(session.draft)

    def data(self, data: bytes, fin: bool) -> None:
        """Take the next bytes."""
        self._frames.feed(data)
        while not self.session.closed and (frame := self._frames.take()) is not None:
            self.session.control_frame(frame)
        if fin and not self.session.closed:
            raise ProtocolViolation("the client ended the control stream")

    def reset(self, code: int | None) -> None:  # noqa: ARG002 - whatever the reason
        """The client abandoned the stream."""
        raise ProtocolViolation("the client reset the control stream")


class RequestStream(IncomingStream):
    """A request's own stream."""

    def __init__(self, session: Session, stream_id: int, exchange: Exchange | None = None) -> None:
        super().__init__(session, stream_id)
        self.exchange = exchange
        self.finished = False
        "The client said all it has to say; it may still want no more from us."
        self._frames = FrameBuffer(session.draft)

    def data(self, data: bytes, fin: bool) -> None:
        """Take the next bytes."""
        self._frames.feed(data)
        while not self.session.closed and (frame := self._frames.take()) is not None:
            self.session.request_frame(self, frame)
        if not fin or self.session.closed:
            return
        if self._frames.pending:
            raise ProtocolViolation(
                f"a request stream that ends {len(self._frames.pending)} bytes into a message"
            )
        self.finished = True
        if self.exchange is not None:
            self.session.request_finished(self.exchange)
        if self.exchange is None or self.exchange.over:
            self.session.stream_done(self.stream_id)

    def reset(self, code: int | None) -> None:  # noqa: ARG002 - whatever the reason
        """The client abandoned its half."""
        if self.exchange is not None:
            self.session.request_cancelled(self.exchange)

    def stopped(self) -> None:
        """The client wants no more on our half."""
        if self.exchange is not None:
            self.session.request_cancelled(self.exchange)


class DataStream(IncomingStream):
    """A stream of objects, held while its track alias is unknown."""

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self._decoder = DataStreamDecoder(
            session.draft, max_object_size=limits.OBJECT_BYTES, descending=self._is_descending
        )
        self._header: SubgroupHeader | None = None
        self._target: Subgroup | None = None
        self._fetch: FetchSink | None = None
        self._held: list[StreamObject] = []
        self._held_bytes = 0
        self._in_parts = False
        self._finished = False
        self._ignored = False
        self._timer: Timer | None = None

    def data(self, data: bytes, fin: bool) -> None:
        """Take the next bytes."""
        if self._ignored:
            if fin:
                self.session.stream_done(self.stream_id)
            return
        try:
            for item in self._decoder.feed(data, fin):
                self._take(item)
            if self._target is not None and not self._in_parts:
                self._pass_parts()
        except ObjectTooLarge as error:
            self._refuse(str(error))
            return
        if self._target is not None:
            self._target.flush()
        if fin and not self._ignored:
            self._finished = True
            if self._target is not None:
                self._target.finish()
            if self._fetch is not None:
                self._fetch.finish()
        if fin and (self._target is not None or self._fetch is not None or self._ignored):
            self.session.stream_done(self.stream_id)

    def reset(self, code: int | None) -> None:
        """The client abandoned the stream."""
        name = StreamError.CANCELLED
        if code is not None:
            known = STREAM_ERRORS.name(code, self.session.draft.number)
            name = known if isinstance(known, StreamError) else StreamError.INTERNAL_ERROR
        self.abandon(name)

    def abandon(self, error: StreamError) -> None:
        """No more of it will come."""
        self._release()
        self._ignored = True
        if self._target is not None and not self._finished:
            self._target.abandon(error)
        if self._fetch is not None and not self._finished:
            self._fetch.abandon(error)

    def resolve(self) -> None:
        """Look whether the track alias is known by now."""
        if self._header is None or self._target is not None or self._ignored:
            return
        held = self._held
        self._find_target(self._header)
        if self._target is None:
            return
        for item in held:
            self._target.object(item)
        self._pass_parts()
        self._target.flush()
        if self._finished:
            self._target.finish()
            self.session.stream_done(self.stream_id)

    def _find_target(self, header: SubgroupHeader) -> None:
        sink = self.session.sink_of(header.track_alias)
        if sink is not None:
            self._release()
            self._target = sink.open_subgroup(header)

    def _pass_parts(self) -> None:
        """Take large objects as they come, not before it is known who wants them."""
        self._in_parts = True
        if self.session.passes_parts:
            for item in self._decoder.give_parts(limits.WHOLE_BYTES):
                self._take(item)

    def _take(self, item: StreamItem) -> None:
        if isinstance(item, StreamObject):  # first: there are the most of them
            self._take_object(item)
        elif isinstance(item, ObjectPart):
            if self._target is not None:
                self._target.part(item)
        elif isinstance(item, ObjectBeginning):
            if self._target is not None:
                self._target.begin(item)
        elif isinstance(item, SubgroupHeader):
            self._header = item
            self._find_target(item)
            if self._target is None:
                self._timer = self.session.hold_stream(self)
        elif isinstance(item, FetchHeader):
            self._fetch = self.session.fetch_sink(item.request_id)
            self._ignored = self._fetch is None  # nobody asked for it, or wants it any more
        elif isinstance(item, FetchObject | FetchRangeEnd):
            if self._fetch is not None:
                self._fetch.fetched(item)
        else:
            self._ignored = True
            self.session.padded()

    def _take_object(self, item: StreamObject) -> None:
        if self._target is not None:
            self._target.object(item)
        else:
            self._held.append(item)
            self._held_bytes += len(item.payload)
            self.session.hold(len(item.payload))

    def _is_descending(self, request_id: int) -> bool:
        sink = self.session.fetch_sink(request_id)
        return sink is not None and sink.descending

    def give_up(self) -> None:
        """No track came for it."""
        if self._target is None and not self._ignored:
            self._refuse("its track alias stays unknown")

    def _refuse(self, why: str) -> None:
        logger.info("%s: stream %d is given up: %s", self.session.label, self.stream_id, why)
        self._release()
        self._ignored = True
        self.session.transport.stop(self.stream_id, self.session.stream_code(StreamError.CANCELLED))
        if self._target is not None:
            self._target.abandon(StreamError.CANCELLED)
        if self._fetch is not None:
            self._fetch.abandon(StreamError.CANCELLED)
        if self._finished:
            self.session.stream_done(self.stream_id)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.session.release_held(self)
        self.session.hold(-self._held_bytes)
        self._held, self._held_bytes = [], 0
