"""A WebTransport server whose HTTP/3 is written by hand, so that every byte of it can be wrong.

Rules:

- Nothing of aioquic's HTTP/3 is used, and nothing here checks what it sends.
- The client's CONNECT is its first bidirectional stream; what it says in it is not read.
- Beneath is aioquic's QUIC, above the embedded relay's sessions (`fronts.HostileRelay`): what a row does not
  change is a correct relay.

Sources: RFC 9114 (frames 7, streams 6.2), RFC 9204 (4.5 field lines), RFC 9220, draft-ietf-webtrans-http3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aioquic.quic import events as quic_events
from fronts import HostileRelay, vint

from pytest_moqt.protocol.drafts import draft
from pytest_moqt.protocol.errors import NeedMoreData
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
)
from pytest_moqt.protocol.webtransport import (
    Demultiplexer,
    application_code,
    decode_datagram,
    encode_close,
)
from pytest_moqt.relay.connection import Connection, Handler, WebTransportTransport
from pytest_moqt.relay.internals import Ended, ServerConnection

DATA, HEADERS, SETTINGS, PUSH_PROMISE, GOAWAY, GREASE = 0x0, 0x1, 0x4, 0x5, 0x7, 0x21
"Frame types (RFC 9114 section 7.2); every 31st from 0x21 on is reserved and means nothing."
CONTROL, PUSH, ENCODER, DECODER = 0x0, 0x1, 0x2, 0x3
"Types of unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2)."
CONNECT_STREAM = 0
LONGEST = (1 << 62) - 1

Fields = Iterable[tuple[bytes, bytes]]

DRAFT = draft(18)


def frame(kind: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame, with any length said of its payload."""
    return vint(kind, len(payload) if length is None else length) + payload


def settings(values: Mapping[int, int] | Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    pairs = values.items() if isinstance(values, Mapping) else values
    return frame(SETTINGS, b"".join(vint(*pair) for pair in pairs))


def prefixed_integer(value: int, bits: int, flags: int) -> bytes:
    """An integer as QPACK writes it (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    value -= most
    octets = [flags | most]
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def field_section(fields: Fields) -> bytes:
    """Field lines with literal names, which need no table (RFC 9204 section 4.5.6)."""
    lines = (
        prefixed_integer(len(name), 3, 0x20) + name + prefixed_integer(len(value), 7, 0) + value
        for name, value in fields
    )
    return b"\0\0" + b"".join(lines)


def headers(*fields: tuple[bytes, bytes]) -> bytes:
    """A HEADERS frame."""
    return frame(HEADERS, field_section(fields))


def response(status: bytes = b"200", *more: tuple[bytes, bytes]) -> bytes:
    """An answer to CONNECT, which chooses the draft that these tests offer."""
    return headers((b":status", status), (b"wt-protocol", b'"moqt-18"'), *more)


CORRECT = settings({0x8: 1, 0x33: 1, 0x2C7CF000: 1, 0x14E9CD29: 1, 0xC671706A: 1, 0x2B603742: 1})
"SETTINGS of a relay: extended CONNECT, datagrams, WebTransport in its drafts' words."


class Script(HostileRelay):
    """A relay whose HTTP/3 follows a script.

    Args:
        control: What its control stream begins with behind the type; None: there is none.
        answer: What CONNECT is answered with, on its stream.
        accepted: A session begins with that.
        at: A step (`fronts.HostileRelay.step`), or `open`: HTTP/3 begins, `connect`: CONNECT came,
            `answered`: its answer was sent.
        what: Is done at that step.
        instead: What the relay would do then is left out.
    """

    http3: Http3 | None = None

    def __init__(
        self,
        *,
        control: bytes | None = CORRECT,
        answer: bytes | None = None,
        accepted: bool = True,
        at: str = "",
        what: Callable[[Script], None] | None = None,
        instead: bool = False,
    ) -> None:
        super().__init__()
        self.control = control
        self.answer = response() if answer is None else answer
        # Without a step of its own it does what it is for by what it begins with, or by its answer.
        self._acts_at = at or ("open" if answer is None else "answered")
        self.accepted = accepted
        self._at = at
        self._what = what
        self._instead = instead

    def step(self, name: str) -> bool | None:
        if name == self._acts_at:
            self.acted += 1
        if name != self._at:
            return False
        if self._what is not None:
            self._what(self)
        return self._instead

    def connect_by(self, quic: ServerConnection) -> Connection:
        return _Connection(quic, self)

    # what the rows do

    def write(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes on a stream."""
        self.quic.send_stream_data(stream_id, data, fin)
        self.flush()

    def say(self, data: bytes, *, fin: bool = False) -> None:
        """Send bytes on the CONNECT stream."""
        self.write(CONNECT_STREAM, data, fin=fin)

    def control_stream(self) -> int:
        """The id of the control stream."""
        assert self.http3 is not None
        assert self.http3.control is not None
        return self.http3.control

    def open(self, *, unidirectional: bool = True) -> int:
        """The id of a new stream."""
        stream_id = self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        self.quic.send_stream_data(stream_id, b"")
        return stream_id


class _Connection(Connection):
    """The relay's, but for HTTP/3."""

    def _tell(self, event: quic_events.QuicEvent) -> None:
        if isinstance(event, quic_events.ProtocolNegotiated):
            script = self.host
            assert isinstance(script, Script)
            self._alpn = event.alpn_protocol
            self._upper = Http3(self, script)  # type: ignore[assignment]
        else:
            self.host.front.guard(super()._tell, event)


class Http3:
    """HTTP/3 without a state that wrong bytes could offend; stands where the relay's would."""

    def __init__(self, connection: Connection, script: Script) -> None:
        self.demultiplexer = Demultiplexer()
        self.control: int | None = None
        self._connection = connection
        self._script = script
        self._session: Handler | None = None
        self._asked = False
        script.http3 = self
        if script.control is not None:
            self.control = connection.quic.get_next_available_stream_id(is_unidirectional=True)
            connection.quic.send_stream_data(self.control, vint(CONTROL) + script.control)
        script.reached("open")

    def quic_event(self, event: quic_events.QuicEvent) -> None:
        """Take one event of the connection."""
        match event:
            case quic_events.StreamDataReceived():
                delivery = self.demultiplexer.receive(event.stream_id, event.data, event.end_stream)
                if delivery is None:
                    return
                if delivery.session_id is not None:
                    self._pass(StreamData(event.stream_id, delivery.data, delivery.fin))
                elif event.stream_id == CONNECT_STREAM and not self._asked:
                    self._asked = True
                    self._answer()
            case quic_events.StreamReset() if self.demultiplexer.session_of(event.stream_id) is not None:
                code = application_code(event.error_code)
                self._pass(StreamReset(event.stream_id, code, event.error_code))
            case quic_events.StopSendingReceived() if (
                self.demultiplexer.session_of(event.stream_id) is not None
            ):
                code = application_code(event.error_code)
                self._pass(StopSending(event.stream_id, code, event.error_code))
            case quic_events.DatagramFrameReceived():
                try:
                    _, payload = decode_datagram(event.data)
                except NeedMoreData:
                    return
                self._pass(DatagramData(payload))

    def connection_ended(self, end: Ended) -> None:
        """The connection is over."""
        self._pass(TransportClosed(end.code, end.reason, end.by_peer, "quic"))

    def close_session(self, code: int, reason: str) -> None:
        """Say that the session is over."""
        self._script.say(frame(DATA, encode_close(code, reason)), fin=True)

    def _answer(self) -> None:
        script = self._script
        if script.reached("connect"):
            return
        script.say(script.answer)
        if not script.reached("answered") and script.accepted:
            transport = WebTransportTransport(self._connection, self, CONNECT_STREAM)  # type: ignore[arg-type]
            self._session = script.open_session(transport, DRAFT)

    def _pass(self, event: StreamData | StreamReset | StopSending | DatagramData | TransportClosed) -> None:
        if self._session is not None:
            self._session.handle(event)
