"""A session's transport over WebTransport: HTTP/3 for CONNECT and its capsules, streams below it.

Rules:

- aioquic's H3Connection sees the control streams, QPACK and the CONNECT stream, nothing else: it takes
  the answers on bidirectional streams we open for HTTP/3 frames, and has no word for resets and stops.
- It is made when ALPN is known, before the handshake completes: a server's SETTINGS come with the
  handshake's last packet and would be lost.
- One session per connection. Streams of other sessions are refused, their datagrams dropped.
- The session ends with the first of a CLOSE_WEBTRANSPORT_SESSION capsule, the end of the CONNECT stream
  (code 0), its reset, and CONNECTION_CLOSE, whose code may be an application's in HTTP/3's range: relays
  differ in which they use, and some use two. STOP_SENDING for the CONNECT stream ends nothing, it only
  says that the peer reads no capsules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aioquic.h3.connection import ErrorCode, H3Connection, ProtocolError
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events as quic_events
from aioquic.quic.connection import QuicConnection

from pytest_moqt.client import aioquic_internals as internals
from pytest_moqt.client.errors import printable
from pytest_moqt.client.quic import ClientTransport, EventHandler, Refusal
from pytest_moqt.client.url import Endpoint
from pytest_moqt.protocol.errors import NeedMoreData
from pytest_moqt.protocol.transport import (
    DatagramData,
    Ending,
    StreamData,
    TransportClosed,
    TransportEvent,
    is_unidirectional,
    opened_by_client,
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
    format_available_protocols,
    parse_protocol,
    stream_header,
    wire_code,
)

ENABLE_CONNECT_PROTOCOL = 0x8
# WT_ENABLED, WT_MAX_SESSIONS twice, ENABLE_WEBTRANSPORT and its companion: one per generation of drafts.
WEBTRANSPORT_SETTINGS = (0x2C7CF000, 0x14E9CD29, 0xC671706A, 0x2B603742, 0x2B603743)

SETTINGS_GRACE = 0.5
"""Seconds to await the relay's SETTINGS before sending CONNECT without.

A client has to await them (RFC 9220 section 3); a relay that sends none may still answer.
"""

MAX_HTTP3_FRAME = 65536
"Bytes of one HTTP/3 frame that are collected; aioquic sets no limit. A response of ours has under 1 kB."

MAX_STREAM_ID = (1 << 62) - 1
"The largest id a stream can have (RFC 9000 section 2.1)."

MAX_HELD = 1 << 20
"Bytes of session data kept while CONNECT is unanswered: one initial flow-control window."


class WebTransport(ClientTransport):
    """A session's transport over WebTransport; codes are mapped to and from HTTP/3's range."""

    name = "webtransport"

    def __init__(
        self,
        quic: QuicConnection,
        address: tuple[str, int],
        on_event: EventHandler,
        *,
        endpoint: Endpoint,
        protocols: Sequence[str],
    ) -> None:
        super().__init__(quic, address, on_event)
        self._endpoint = endpoint
        self._offered = tuple(protocols)
        self._http3: H3Connection | None = None
        self._session_id = 0  # the first bidirectional stream of ours
        self._connect_sent = False
        self._connect_ended = False
        self._connect_ended_by_peer = asyncio.Event()
        "The relay has ended its half of the CONNECT stream."
        self._grace: asyncio.TimerHandle | None = None
        self._capsules = CapsuleReader()
        self._streams = Demultiplexer()
        self._headers: set[int] = set()  # streams of ours whose header is still to be sent
        self._held: list[TransportEvent] = []
        self._held_bytes = 0

    def open_stream(self, *, unidirectional: bool) -> int:
        """Open a stream of ours and return its id; its header goes with the first `send`."""
        stream_id = super().open_stream(unidirectional=unidirectional)
        self._streams.opened(stream_id, self._session_id)
        self._headers.add(stream_id)
        return stream_id

    def leave(self, ending: Ending) -> None:
        """End the session in one way and no other; the connection may stay.

        Raises:
            ValueError: In that way only a relay ends it.
        """
        if ending is Ending.RESET:
            raise ValueError(f"no session of ours ends by {ending}")
        if self.closed is not None:
            return
        if ending is Ending.CAPSULE:
            self.close()
            return
        self._driver.flush_all()
        if ending is Ending.FIN:
            self._end_connect_stream()
        else:
            self._connect_ended = True
            self._close_connection()
        self._end_soon(TransportClosed(0, "", by_peer=False, layer="session", ending=ending))

    def abort(self) -> None:
        """Do what `finish` does, but leave closing the socket to the event loop's next turn."""
        self._cancel_grace()
        super().abort()

    async def wait_connect_ended(self, timeout: float) -> bool:
        """Whether the relay ends its half of the CONNECT stream within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._connect_ended_by_peer.wait()
        except TimeoutError:
            return False
        return True

    def awaited(self) -> str:
        """What is missing for the session to be established, for a sentence."""
        settings = self._http3.received_settings if self._http3 is not None else None
        answer = f"an answer to CONNECT for path {self._endpoint.path}"
        if settings is None:
            return f"HTTP/3 SETTINGS and {answer} (neither came)"
        if settings.get(ENABLE_CONNECT_PROTOCOL) != 1 and not any(
            settings.get(setting) for setting in WEBTRANSPORT_SETTINGS
        ):
            return f"{answer} (the relay's SETTINGS announce no WebTransport and no extended CONNECT)"
        return answer

    # establishing the session

    def _negotiated(self) -> None:
        if self.alpn == "h3":
            self._http3 = internals.webtransport_http3(self._quic)

    def _connected(self) -> None:
        self._connect_when_allowed()
        if not self._connect_sent:
            self._grace = self._loop.call_later(SETTINGS_GRACE, self._send_connect)

    def _connect_when_allowed(self) -> None:
        if self._http3 is not None and self._http3.received_settings is not None:
            self.handshake.setdefault("settings", dict(self._http3.received_settings))
            if self._handshaken.done():
                self._send_connect()

    def _send_connect(self) -> None:
        self._cancel_grace()
        if self._connect_sent or self._http3 is None or self.refusal is not None:
            return
        self._connect_sent = True
        self._session_id = self._quic.get_next_available_stream_id()
        self._streams.opened(self._session_id, None)
        headers = [
            (b":method", b"CONNECT"),
            (b":protocol", b"webtransport"),
            (b":scheme", b"https"),
            (b":authority", self._endpoint.authority.encode()),
            (b":path", self._endpoint.path.encode()),
            (b"sec-webtransport-http3-draft02", b"1"),
        ]
        if self._offered:
            offer = format_available_protocols(self._offered)
            headers.append((b"wt-available-protocols", offer.encode()))
        self._http3.send_headers(self._session_id, headers)
        self._driver.send_soon()

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _response(self, event: HeadersReceived) -> None:
        fields = dict(event.headers)
        status = int(fields.get(b":status", b"0"))
        if self.established or self.refusal is not None or 100 <= status < 200:
            return
        self.handshake["http_status"] = status
        if not 200 <= status < 300:
            self._refuse(
                Refusal(
                    "webtransport", status, f"HTTP status {status} to CONNECT for path {self._endpoint.path}"
                )
            )
            return
        self.protocol = parse_protocol(fields.get(b"wt-protocol", b"").decode("latin-1"))
        if self.protocol is not None and self.protocol not in self._offered:
            offered = ", ".join(self._offered) or "none"
            # Short enough for what was offered to follow in a sentence.
            reason = f"chose the sub-protocol '{printable(self.protocol, 100)}', offered: {offered}"
            self._refuse(Refusal("webtransport", status, reason))
            return
        self._establish()
        held, self._held = self._held, []
        for told in held:
            self._emit(told)

    # events

    def _emit(self, event: TransportEvent) -> None:
        if self.established:
            super()._emit(event)
        elif self.refusal is None:
            self._hold(event)

    def _hold(self, event: TransportEvent) -> None:
        """Keep what a relay sends inside a session it has not accepted yet; packets may overtake."""
        # The constant stands for the object itself, so that a flood of empty ones is bounded as well.
        self._held_bytes += 64 + (len(event.data) if isinstance(event, StreamData | DatagramData) else 0)
        if self._held_bytes > MAX_HELD:
            self._held.clear()
            self._refuse(
                Refusal("webtransport", None, f"more than {MAX_HELD} bytes before the answer to CONNECT")
            )
            return
        self._held.append(event)

    def _stream_data(self, event: quic_events.StreamDataReceived) -> None:
        stream_id = event.stream_id
        delivery = self._streams.receive(stream_id, event.data, event.end_stream)
        if delivery is None:
            return
        if delivery.session_id is None:
            if is_unidirectional(stream_id) or opened_by_client(stream_id):
                self._http3_event(
                    quic_events.StreamDataReceived(
                        data=delivery.data, end_stream=delivery.fin, stream_id=stream_id
                    )
                )
            else:
                # "Clients MUST treat receipt of a server-initiated bidirectional stream as a connection
                # error" unless an extension says otherwise (RFC 9114 section 6.1); one refused will do.
                self._refuse_stream(stream_id, ErrorCode.H3_STREAM_CREATION_ERROR)
        elif delivery.session_id % 4:
            # "If at any point a session ID is received that cannot be a valid ID for a client-initiated
            # bidirectional stream, the recipient MUST close the connection with an H3_ID_ERROR".
            reason = f"a stream of session {delivery.session_id}, which is no request of a client's"
            self._application_close(ErrorCode.H3_ID_ERROR, reason)
        elif delivery.session_id != self._session_id:
            self._refuse_stream(stream_id, BUFFERED_STREAM_REJECTED)
        else:
            if delivery.fin:
                self._stopped.add(stream_id)
            self._emit(StreamData(stream_id, delivery.data, delivery.fin))

    def _stream_reset(self, event: quic_events.StreamReset) -> None:
        stream_id = event.stream_id
        if self._is_ours(stream_id) and event.error_code == SESSION_GONE:
            # How the streams of a session end that the relay has ended; the capsule may come behind.
            self._stopped.add(stream_id)
        elif self._is_ours(stream_id):
            super()._stream_reset(event)
        elif self._streams.is_known(stream_id):
            self._http3_event(event)
            if self._connect_sent and stream_id == self._session_id:
                self._connect_reset(event.error_code)
        else:
            self._streams.forget(stream_id)
            # Reset before it was known whose it is. The code tells: of a session's, not of HTTP/3's own.
            if stream_id % 4 == 3 and self._application_code(event.error_code) is not None:
                super()._stream_reset(event)

    def _stop_sending(self, event: quic_events.StopSendingReceived) -> None:
        if self._is_ours(event.stream_id) and event.error_code == SESSION_GONE:
            self._abandoned.add(event.stream_id)
        elif self._is_ours(event.stream_id):
            super()._stop_sending(event)
        else:
            self._http3_event(event)

    def _datagram(self, event: quic_events.DatagramFrameReceived) -> None:
        try:
            session_id, payload = decode_datagram(event.data)
        except NeedMoreData:
            self._application_close(ErrorCode.H3_DATAGRAM_ERROR, "datagram without a quarter stream id")
            return
        if session_id > MAX_STREAM_ID:
            # "MUST be treated as an HTTP/3 connection error" (RFC 9297 section 2.1).
            reason = f"a datagram for stream {session_id:#x}, which cannot exist"
            self._application_close(ErrorCode.H3_DATAGRAM_ERROR, reason)
            return
        if session_id == self._session_id:
            self._emit(DatagramData(payload))

    def _is_ours(self, stream_id: int) -> bool:
        return self._streams.session_of(stream_id) == self._session_id

    def _refuse_stream(self, stream_id: int, wire: int) -> None:
        if stream_id in self._stopped:
            return
        self._stopped.add(stream_id)
        self._quic.stop_stream(stream_id, wire)
        if not is_unidirectional(stream_id):
            self._quic.reset_stream(stream_id, wire)

    def _http3_event(self, event: quic_events.QuicEvent) -> None:
        http3 = self._http3
        if http3 is None:
            return
        for told in http3.handle_event(event):
            if getattr(told, "stream_id", None) != self._session_id:
                continue
            if isinstance(told, DataReceived):
                self._connect_data(told.data, ended=told.stream_ended)
            elif self.established:
                # "Once the CONNECT method has completed, only DATA frames are permitted to be sent on the
                # stream" (RFC 9114 section 4.4).
                name = "HEADERS" if isinstance(told, HeadersReceived) else "PUSH_PROMISE"
                reason = f"{name} on the CONNECT stream of an established session"
                self._application_close(ErrorCode.H3_FRAME_UNEXPECTED, reason)
            elif isinstance(told, HeadersReceived):
                self._response(told)
                if told.stream_ended:
                    self._connect_data(b"", ended=True)
        if isinstance(event, quic_events.StreamDataReceived):
            kept = internals.http3_buffered(http3, event.stream_id)
            if kept > MAX_HTTP3_FRAME:
                reason = f"an HTTP/3 frame of more than {MAX_HTTP3_FRAME} bytes"
                self._application_close(ErrorCode.H3_EXCESSIVE_LOAD, reason)
        if not self._connect_sent:
            self._connect_when_allowed()

    # the end

    def _connect_data(self, data: bytes, *, ended: bool) -> None:
        if ended:
            self._connect_ended_by_peer.set()
        if self.refusal is not None or self.closed is not None:
            return
        try:
            for capsule in self._capsules.feed(data):
                if capsule.type == CapsuleType.CLOSE_WEBTRANSPORT_SESSION:
                    code, reason = decode_close(capsule.value)
                    self._session_ended(code, reason, Ending.CAPSULE)
                    return
            if ended:
                self._capsules.end()
                self._session_ended(0, "", Ending.FIN)
        except CapsuleError as error:
            self._application_close(ErrorCode.H3_MESSAGE_ERROR, str(error))

    def _session_ended(self, code: int, reason: str, ending: Ending) -> None:
        self._end_connect_stream()
        if self.established:
            self._end(TransportClosed(code, reason, by_peer=True, layer="session", ending=ending))
        else:
            self._refuse(
                Refusal("webtransport", code, f"ended the CONNECT stream unanswered{reason and ': '}{reason}")
            )

    def _connect_reset(self, wire: int) -> None:
        self._end_connect_stream()
        code = application_code(wire)
        reason = "the CONNECT stream was reset"
        if not self.established:
            self._refuse(Refusal("webtransport", wire, reason))
        elif code is not None:
            self._end(TransportClosed(code, reason, by_peer=True, layer="session", ending=Ending.RESET))
        else:
            self._end(TransportClosed(wire, reason, by_peer=True, layer="http3", ending=Ending.RESET))

    def _end_connect_stream(self) -> None:
        if not self._connect_ended:
            self._connect_ended = True
            try:
                self._quic.send_stream_data(self._session_id, b"", end_stream=True)
            except RuntimeError:
                return  # the peer has stopped it

    def _close_session(self, code: int, reason: str) -> None:
        if self._http3 is None or self._connect_ended:
            return
        self._connect_ended = True
        try:
            self._http3.send_data(self._session_id, encode_close(code, reason), end_stream=True)
        except (ProtocolError, RuntimeError):
            # The peer has stopped the CONNECT stream: the connection's end can still carry the code.
            self._application_close(wire_code(code), reason)

    def _close_connection(self) -> None:
        self._application_close(ErrorCode.H3_NO_ERROR, "")

    def _closed_by(self, close: internals.QuicClose) -> TransportClosed:
        closed = super()._closed_by(close)
        if close.idle or close.frame_type is not None:
            return closed
        code = application_code(close.code) if close.by_peer else None
        if code is not None:
            return TransportClosed(code, close.reason, by_peer=True, layer="session")
        return TransportClosed(close.code, close.reason, by_peer=close.by_peer, layer="http3")

    # codes and headers

    def _wire_code(self, code: int) -> int:
        return wire_code(code)

    def _application_code(self, wire: int) -> int | None:
        return application_code(wire)

    def _stream_prefix(self, stream_id: int) -> bytes:
        if stream_id not in self._headers:
            return b""
        self._headers.discard(stream_id)
        return stream_header(self._session_id, unidirectional=is_unidirectional(stream_id))

    def _datagram_prefix(self) -> bytes:
        return encode_datagram(self._session_id, b"")
