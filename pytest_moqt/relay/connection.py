"""One client's QUIC connection: its datagrams and timers, and the MoQT session that it negotiates.

Rules:

- Sending happens once at the end of a turn of the event loop, however much was queued in it.
- The end of a connection is noticed when it is parsed, not when aioquic's draining period is over.
- Over raw QUIC the ALPN names the draft and the session begins with the handshake, or before its end with
  the first data that a client sends early. With `h3` it begins with an accepted CONNECT, of which a
  connection may have one.
- No exception reaches the event loop: what the session cannot handle ends this connection only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic import events as quic_events
from aioquic.quic.connection import NetworkAddress
from aioquic.quic.packet import QuicFrameType

from pytest_moqt.protocol.drafts import Draft, draft_of_alpn
from pytest_moqt.protocol.errors import NeedMoreData
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    StreamTransport,
    TransportClosed,
    TransportEvent,
    is_unidirectional,
    opened_by_client,
    utf8_prefix,
)
from pytest_moqt.protocol.webtransport import (
    BUFFERED_STREAM_REJECTED,
    SESSION_GONE,
    CapsuleError,
    CapsuleReader,
    CapsuleType,
    Demultiplexer,
    application_code,
    decode_close,
    decode_datagram,
    encode_close,
    encode_datagram,
    parse_available_protocols,
    stream_header,
    wire_code,
)
from pytest_moqt.relay import internals, limits
from pytest_moqt.relay.schedule import Rank

logger = logging.getLogger("pytest_moqt.relay")

MAX_CLOSE_REASON = 512
"Bytes: a CONNECTION_CLOSE must fit one packet."

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request for a WebTransport session gets."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    draft: Draft | None = None
    "Of the session; with status 200 only."


class Handler(Protocol):
    """A session above a transport."""

    def handle(self, event: TransportEvent) -> None:
        """Take one event."""


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    loop: asyncio.AbstractEventLoop

    def send(self, data: bytes, address: NetworkAddress) -> None:
        """Send one UDP datagram."""

    def add_id(self, connection_id: bytes, connection: Connection) -> None:
        """Direct packets with this connection id to the connection."""

    def remove_id(self, connection_id: bytes) -> None:
        """Undo `add_id`."""

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""

    def refusal(self) -> int | None:
        """The QUIC error with which a connection is refused; None: it is welcome."""

    def open_session(self, transport: SessionTransport, draft: Draft) -> Handler:
        """Begin a session."""

    def answer_connect(self, path: str, offered: Sequence[str] | None) -> Answer:
        """Decide on a request for a WebTransport session.

        Args:
            path: As requested, with its query.
            offered: The names in WT-Available-Protocols; None without that header.
        """


class Connection:
    """A QUIC connection of a client, from its first packet to the end of its draining period."""

    def __init__(self, quic: internals.ServerConnection, host: Host) -> None:
        self.quic = quic
        self.address: NetworkAddress | None = None
        "Whence the last datagram came."
        self.host = host
        self.loop = host.loop
        self._upper: RawTransport | WebTransportConnection | None = None
        self._alpn: str | None = None
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._end_told = False

    def datagram_received(self, data: bytes, address: NetworkAddress) -> None:
        """Take one UDP datagram."""
        self.address = address
        self.quic.receive_datagram(data, address, now=self.loop.time())
        self._tell_events()
        self.send_soon()

    def send_soon(self) -> None:
        """Send what is queued at the end of this turn of the event loop."""
        if self._soon is None:
            self._soon = self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is queued, as far as congestion control and pacing allow, and set the timer."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        for data, address in self.quic.datagrams_to_send(now=self.loop.time()):
            self.host.send(data, address)
        self._set_timer()

    def close(self, code: int, reason: str = "") -> None:
        """End the connection with a code of its application; what is queued is sent before."""
        self.flush()
        self.quic.close(error_code=code, reason_phrase=utf8_prefix(reason, MAX_CLOSE_REASON))
        self.flush()

    def end(self) -> None:
        """End the connection if its session has not."""
        if not internals.ended(self.quic):
            self.close(ErrorCode.H3_NO_ERROR if self._alpn == "h3" else 0, "the relay stops")

    def drop(self) -> None:
        """Give up timers, for a server that stops."""
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = None

    def _set_timer(self) -> None:
        timer_at = self.quic.get_timer()
        if timer_at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = timer_at
        if timer_at is not None:
            self._timer = self.loop.call_at(timer_at, self._timer_due)

    def _timer_due(self) -> None:
        due = self._timer_at
        self._timer = self._timer_at = None
        # The event loop may be early by its clock's resolution; aioquic would then do nothing.
        self.quic.handle_timer(now=max(self.loop.time(), due or 0.0))
        self._tell_events()
        self.send_soon()

    def _tell_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            try:
                self._tell(event)
            except Exception:
                logger.exception("the relay failed on %s", type(event).__name__)
                self.quic.close(error_code=SessionError.INTERNAL_ERROR, reason_phrase="internal error")
        if self._end_told or (end := internals.ended(self.quic)) is None:
            return
        self._end_told = True
        if self._upper is not None:
            self._upper.connection_ended(end)

    def _tell(self, event: quic_events.QuicEvent) -> None:
        match event:
            case quic_events.ConnectionIdIssued():
                self.host.add_id(event.connection_id, self)
            case quic_events.ConnectionIdRetired():
                self.host.remove_id(event.connection_id)
            case quic_events.ConnectionTerminated():
                self.drop()
                self.host.gone(self)
            case quic_events.ProtocolNegotiated():
                self._alpn = event.alpn_protocol
                refusal = self.host.refusal()
                if refusal is not None:
                    self.quic.close(error_code=refusal, frame_type=QuicFrameType.PADDING)
                elif self._alpn == "h3":
                    # Not later: the client's HTTP/3 control stream may come with its handshake.
                    self._upper = WebTransportConnection(self)
            case quic_events.HandshakeCompleted():
                self._begin_raw()
            case _:
                # Before the handshake is complete these are early data: nothing else is told then.
                self._begin_raw()
                if self._upper is not None:
                    self._upper.quic_event(event)

    def _begin_raw(self) -> None:
        """Begin the session of a draft that the ALPN names, unless it has begun."""
        if self._upper is not None or internals.ended(self.quic) is not None:
            return
        draft = draft_of_alpn(self._alpn or "")
        if draft is not None:
            self._upper = RawTransport(self, draft)


class SessionTransport(StreamTransport):
    """The verbs of a session on its connection; what raw QUIC and WebTransport share."""

    name: ClassVar[str]
    "`quic` or `webtransport`."

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.quic = connection.quic
        self.closed = False

    @property
    def max_datagram_size(self) -> int:
        """The largest payload in bytes that `send_datagram` takes now."""
        return internals.largest_datagram(self.quic) - len(self._datagram(b""))

    def stream_credit(self, *, unidirectional: bool) -> int:
        """How many more streams the client lets the relay open."""
        return internals.stream_credit(self.quic, unidirectional=unidirectional)

    def backlog(self, stream_id: int) -> int:
        """Bytes of a stream that the client has not acknowledged."""
        return internals.unacknowledged(self.quic, stream_id)

    def open_stream(self, *, unidirectional: bool) -> int:
        """Open a stream; over WebTransport its header is queued at once."""
        stream_id = self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        # Even nothing has to be written: only that takes the id.
        self.quic.send_stream_data(stream_id, self._prefix(stream_id))
        return stream_id

    def rank(self, stream_id: int, rank: Rank) -> None:
        """Send a stream by a rank among the others; what has none goes before all objects."""
        self.quic.rank(stream_id, rank)

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes; after a reset, a stop or the session's end it does nothing."""
        if not self.closed and internals.can_write(self.quic, stream_id):
            self.quic.send_stream_data(stream_id, data, fin)
            self.connection.send_soon()

    def reset(self, stream_id: int, code: int) -> None:
        """Abandon our sending half; what was queued before gets a chance to leave."""
        if not self.closed:
            self.connection.flush()
            self.quic.reset_stream(stream_id, self._wire_code(code))
            self.connection.send_soon()

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the client to abandon its sending half."""
        if not self.closed:
            try:
                self.quic.stop_stream(stream_id, self._wire_code(code))
            except ValueError:
                return  # it has ended and aioquic has forgotten it
            self.connection.send_soon()

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram, or drop it when too many wait."""
        if len(data) > self.max_datagram_size:
            raise ValueError(f"a datagram of {len(data)} bytes, at most {self.max_datagram_size} fit")
        if not self.closed and internals.pending_datagrams(self.quic) < limits.DATAGRAMS_QUEUED:
            self.quic.send_datagram_frame(self._datagram(data))
            self.connection.send_soon()

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self._close(code, reason)

    def _prefix(self, stream_id: int) -> bytes:  # noqa: ARG002 - raw QUIC has none
        return b""

    def _datagram(self, data: bytes) -> bytes:
        return data

    def _wire_code(self, code: int) -> int:
        return code

    def _close(self, code: int, reason: str) -> None:
        raise NotImplementedError


class RawTransport(SessionTransport):
    """A session over raw QUIC: stream ids and codes are QUIC's own."""

    name = "quic"

    def __init__(self, connection: Connection, draft: Draft) -> None:
        super().__init__(connection)
        self._session = connection.host.open_session(self, draft)

    def quic_event(self, event: quic_events.QuicEvent) -> None:
        """Take one event of the connection."""
        if self.closed:
            return
        match event:
            case quic_events.StreamDataReceived():
                self._session.handle(StreamData(event.stream_id, event.data, event.end_stream))
            case quic_events.StreamReset():
                self._session.handle(StreamReset(event.stream_id, event.error_code, event.error_code))
            case quic_events.StopSendingReceived():
                self._session.handle(StopSending(event.stream_id, event.error_code, event.error_code))
            case quic_events.DatagramFrameReceived():
                self._session.handle(DatagramData(event.data))

    def connection_ended(self, end: internals.Ended) -> None:
        """The connection is over, and the session with it."""
        if not self.closed:
            self.closed = True
            layer = "session" if end.application else "quic"
            self._session.handle(TransportClosed(end.code, end.reason, end.by_peer, layer))

    def _close(self, code: int, reason: str) -> None:
        self.connection.close(code, reason)


class WebTransportTransport(SessionTransport):
    """A session over WebTransport: streams and datagrams carry its id, codes are mapped."""

    name = "webtransport"

    def __init__(self, connection: Connection, upper: WebTransportConnection, session_id: int) -> None:
        super().__init__(connection)
        self._upper = upper
        self._session_id = session_id

    def _prefix(self, stream_id: int) -> bytes:
        self._upper.demultiplexer.opened(stream_id, self._session_id)
        return stream_header(self._session_id, unidirectional=is_unidirectional(stream_id))

    def _datagram(self, data: bytes) -> bytes:
        return encode_datagram(self._session_id, data)

    def _wire_code(self, code: int) -> int:
        return wire_code(code)

    def _close(self, code: int, reason: str) -> None:
        self._upper.close_session(code, reason)


class WebTransportConnection:
    """HTTP/3 with at most one WebTransport session.

    H3Connection serves HTTP/3's own streams, QPACK and CONNECT; streams and datagrams of the session
    never reach it: aioquic reads the peer's half of a stream of ours as HTTP/3 frames.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http3 = internals.WebTransportServer(connection.quic)
        self.demultiplexer = Demultiplexer()
        self._capsules = CapsuleReader()
        self._session_id: int | None = None
        self._refused: set[int] = set()
        self._transport: WebTransportTransport | None = None
        self._session: Handler | None = None
        self._waiting: HeadersReceived | None = None
        self._early: list[tuple[int, TransportEvent]] = []
        self._early_bytes = 0

    def quic_event(self, event: quic_events.QuicEvent) -> None:
        """Take one event of the connection."""
        match event:
            case quic_events.StreamDataReceived():
                self._stream_data(event)
            case quic_events.StreamReset():
                code = application_code(event.error_code)
                self._signal(StreamReset(event.stream_id, code, event.error_code), event)
            case quic_events.StopSendingReceived():
                code = application_code(event.error_code)
                self._signal(StopSending(event.stream_id, code, event.error_code), event)
            case quic_events.DatagramFrameReceived():
                self._datagram(event.data)

    def connection_ended(self, end: internals.Ended) -> None:
        """The connection is over, and the session with it."""
        code = application_code(end.code) if end.application else None
        layer = "http3" if code is None and end.application else "session" if end.application else "quic"
        self._end(TransportClosed(end.code if code is None else code, end.reason, end.by_peer, layer))

    def close_session(self, code: int, reason: str) -> None:
        """Say to the client that the session is over, and give it time to close the connection."""
        if self._session_id is None:
            return
        # First what was said before: streams of one packet are read in any order.
        self._connection.flush()
        self._http3.send_data(self._session_id, encode_close(code, reason), end_stream=True)
        self._connection.flush()
        self._connection.loop.call_later(
            limits.LINGER_SECONDS, self._connection.close, ErrorCode.H3_NO_ERROR, "the session is over"
        )

    # streams and datagrams

    def _stream_data(self, event: quic_events.StreamDataReceived) -> None:
        delivery = self.demultiplexer.receive(event.stream_id, event.data, event.end_stream)
        if delivery is None:
            return
        if delivery.session_id is not None:
            data = StreamData(event.stream_id, delivery.data, delivery.fin)
            self._deliver(delivery.session_id, data)
            self._forget_ended(event.stream_id, delivery.fin)
            return
        event = quic_events.StreamDataReceived(delivery.data, delivery.fin, event.stream_id)
        for http_event in self._http3.handle_event(event):
            self._http_event(http_event)
        if self._waiting is not None and self._http3.received_settings is not None:
            waiting, self._waiting = self._waiting, None
            self._connect(waiting)
        if self._http3.buffered(event.stream_id) > limits.CONNECT_BYTES:
            self._connection.close(ErrorCode.H3_EXCESSIVE_LOAD, "an HTTP/3 frame is too long")

    def _signal(self, event: StreamReset | StopSending, raw: quic_events.QuicEvent) -> None:
        if event.stream_id == self._session_id:
            self._end(TransportClosed(0, "the CONNECT stream was reset", by_peer=True, layer="http3"))
        session_id = self.demultiplexer.session_of(event.stream_id)
        if session_id is not None and event.wire_code == SESSION_GONE:
            # How streams of a session end that its client has ended: that is no fault of the stream, and
            # the capsule that says so may come after it.
            return
        if session_id is not None:
            self._deliver(session_id, event)
            self._forget_ended(event.stream_id, isinstance(event, StreamReset))
        else:
            self._http3.handle_event(raw)

    def _forget_ended(self, stream_id: int, ended: bool) -> None:
        if ended and is_unidirectional(stream_id):
            self.demultiplexer.forget(stream_id)

    def _datagram(self, data: bytes) -> None:
        try:
            session_id, payload = decode_datagram(data)
        except NeedMoreData:
            self._connection.close(ErrorCode.H3_DATAGRAM_ERROR, "a datagram without a session id")
            return
        self._deliver(session_id, DatagramData(payload))

    def _deliver(self, session_id: int, event: TransportEvent) -> None:
        if session_id % 4:
            self._connection.close(ErrorCode.H3_ID_ERROR, f"session id {session_id} is no client's stream")
        elif self._session is not None and session_id == self._session_id:
            if self._transport is not None and not self._transport.closed:
                self._session.handle(event)
        elif self._session_id is not None or session_id in self._refused or not self._hold(session_id, event):
            self._reject(event)

    def _hold(self, session_id: int, event: TransportEvent) -> bool:
        """Keep what comes before the CONNECT request that it belongs to."""
        size = len(event.data) if isinstance(event, StreamData | DatagramData) else 0
        if self._early_bytes + size > limits.EARLY_BYTES or len(self._early) >= limits.EARLY_STREAMS:
            return False
        self._early_bytes += size
        self._early.append((session_id, event))
        return True

    def _reject(self, event: TransportEvent) -> None:
        if not isinstance(event, StreamData):
            return
        quic, stream_id = self._connection.quic, event.stream_id
        if not is_unidirectional(stream_id):
            quic.reset_stream(stream_id, BUFFERED_STREAM_REJECTED)
        if not event.fin and opened_by_client(stream_id):
            quic.stop_stream(stream_id, BUFFERED_STREAM_REJECTED)

    # HTTP/3

    def _http_event(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            if self._http3.received_settings is None and self._waiting is None:
                # "the server MUST NOT process any incoming WebTransport requests until the client's
                # SETTINGS have been received" (draft-ietf-webtrans-http3 section 3.1).
                self._waiting = event
            else:
                self._connect(event)
        elif isinstance(event, DataReceived) and event.stream_id == self._session_id:
            self._capsule_data(event.data, event.stream_ended)

    def _connect(self, event: HeadersReceived) -> None:
        headers = dict(event.headers)
        stream_id = event.stream_id
        if headers.get(b":method") != b"CONNECT" or headers.get(b":protocol") != b"webtransport":
            self._refuse(stream_id, Answer(404))
            return
        if self._session_id is not None:
            self._refused.add(stream_id)
            self._connection.quic.reset_stream(stream_id, ErrorCode.H3_REQUEST_REJECTED)
            return
        path = headers.get(b":path", b"").decode("ascii", "replace")
        offered = headers.get(b"wt-available-protocols")
        names = None if offered is None else parse_available_protocols(offered.decode("ascii", "replace"))
        answer = self._connection.host.answer_connect(path, names)
        if answer.status != 200 or answer.draft is None:
            self._refuse(stream_id, answer)
            return
        self._session_id = stream_id
        self._http3.send_headers(stream_id, self._headers(answer))
        self._transport = WebTransportTransport(self._connection, self, stream_id)
        self._session = self._connection.host.open_session(self._transport, answer.draft)
        early, self._early = self._early, []
        for session_id, held in early:
            self._deliver(session_id, held)
        if event.stream_ended:
            self._capsule_data(b"", ended=True)

    @staticmethod
    def _headers(answer: Answer) -> Headers:
        return [
            (b":status", str(answer.status).encode()),
            (b"sec-webtransport-http3-draft", b"draft02"),
            *answer.headers,
        ]

    def _refuse(self, stream_id: int, answer: Answer) -> None:
        self._http3.send_headers(stream_id, self._headers(answer), end_stream=True)
        if len(self._refused) < limits.EARLY_STREAMS:
            self._refused.add(stream_id)
        for session_id, held in self._early:
            if session_id == stream_id:
                self._reject(held)
        self._early = [(session_id, held) for session_id, held in self._early if session_id != stream_id]

    def _capsule_data(self, data: bytes, ended: bool) -> None:
        try:
            for capsule in self._capsules.feed(data):
                if capsule.type == CapsuleType.CLOSE_WEBTRANSPORT_SESSION:
                    code, reason = decode_close(capsule.value)
                    self._end(TransportClosed(code, reason, by_peer=True, layer="session"))
            if ended:
                self._capsules.end()
        except CapsuleError as error:
            self._connection.close(ErrorCode.H3_DATAGRAM_ERROR, str(error))
            return
        if ended:
            # "Cleanly terminating a CONNECT stream without a CLOSE_WEBTRANSPORT_SESSION capsule SHALL be
            # semantically equivalent to ... an application error code of 0" (section 6).
            self._end(TransportClosed(0, "", by_peer=True, layer="session"))

    def _end(self, closed: TransportClosed) -> None:
        """The session is over by the client, or with the connection."""
        transport, session = self._transport, self._session
        if transport is None or session is None or transport.closed:
            return
        transport.closed = True
        session.handle(closed)
        if self._session_id is not None and not internals.is_ending(self._connection.quic):
            if internals.can_write(self._connection.quic, self._session_id):
                self._http3.send_data(self._session_id, b"", end_stream=True)
            self._connection.send_soon()
