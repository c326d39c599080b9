"""Decodes again all that one end of a session sent: the strict decoder, and the draft's rules about it.

Rules:

- Judged are bytes as the other end's transport received them, in order; no state of the sender is asked.
- A message must be defined by the draft for its sender, be whole, at home on its stream, about something
  that exists, and written as the codec writes it; parameters, options, properties and codes must be ones
  that the draft defines for that message. Nothing may be left over.
- Who asked what is read off both ends' bytes. Faults of the one judged are reported, a sentence each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft, Topology
from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.fields import ErrorCode
from pytest_moqt.protocol.framing import Frame, FrameBuffer, decode, encode_by
from pytest_moqt.protocol.layouts import (
    Layout,
    Sender,
    Stream,
    layout_of_message,
    layout_of_type,
    reply_names,
)
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchHeader,
    FetchRangeEnd,
    ObjectDatagram,
    Padding,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import STREAM_ERRORS, SessionError, StreamError
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    TransportEvent,
    is_unidirectional,
    opened_by_client,
)
from pytest_moqt.protocol.values import GroupOrder
from pytest_moqt.protocol.varint import QUIC_VARINT
from pytest_moqt.protocol.webtransport import (
    MAX_CLOSE_REASON,
    SESSION_GONE,
    CapsuleType,
    StreamSignal,
    application_code,
    encode_capsule,
    stream_header,
)
from pytest_moqt.protocol.webtransport import decode_datagram as decode_http_datagram
from pytest_moqt.protocol.webtransport import encode_datagram as encode_http_datagram


class Said(NamedTuple):
    """One thing that one end did, as the other end's transport had it."""

    sender: Sender
    event: TransportEvent


_SESSION_ERRORS = frozenset(map(int, SessionError))
_PROPERTIES = frozenset(map(int, Property))
_OPTIONS = frozenset(map(int, SetupOption))


@dataclass
class Transcript:
    """A session, in the order in which the server saw it."""

    draft: Draft
    transport: str
    "`quic` or `webtransport`."
    said: list[Said] = field(default_factory=list)
    "Over WebTransport the client's part is QUIC's: with stream headers, HTTP/3's own streams and codes."


@dataclass
class Judgement:
    """What one end of a session sent."""

    faults: list[str] = field(default_factory=list)
    "What the draft does not define, a sentence each."
    messages: list[str] = field(default_factory=list)
    "Wire names, in the order received."
    streams: int = 0
    "Data streams."
    datagrams: int = 0


def judged(transcript: Transcript, sender: Sender = Sender.CLIENT) -> Judgement:
    """What one end sent, and what is wrong with it."""
    judge = _Judge(transcript.draft, transcript.transport, sender)
    wrapped = _Unwrapper() if transcript.transport == "webtransport" else None
    for end, event in transcript.said:
        if wrapped is not None and end is Sender.CLIENT:
            for inner in wrapped.take(event):
                judge.take(end, inner)
        else:
            judge.take(end, event)
    judge.end()
    if wrapped is not None and sender is Sender.CLIENT:
        judge.found.faults += wrapped.end()
    return judge.found


# ---- WebTransport ----------------------------------------------------------------------------------

_CONTROL, _QPACK_ENCODER, _QPACK_DECODER = 0x00, 0x02, 0x03
_DATA, _HEADERS, _SETTINGS = 0x00, 0x01, 0x04
_NUMBERED_GOAWAY = (18,)
"Where GOAWAY on the control stream has a Request ID (18 section 10.4); 19 took it out again."
_LATER_ON_CONTROL = frozenset({0x03, 0x07, 0x0D})
"CANCEL_PUSH, GOAWAY and MAX_PUSH_ID (RFC 9114 section 7.2)."


class _Unwrapper:
    """Takes a client's stream headers and session ids off, and judges what is HTTP/3's own."""

    def __init__(self) -> None:
        self._faults: list[str] = []
        self._heads: dict[int, bytes] = {}
        "Streams of which the header is not whole yet."
        self._inside: set[int] = set()
        "Streams of the session."
        self._http: dict[int, bytes] = {}
        self._connect: int | None = None

    def take(self, event: TransportEvent) -> list[TransportEvent]:
        """What an event of QUIC is in the session; nothing for HTTP/3's own."""
        match event:
            case StreamData():
                return self._data(event)
            case StreamReset() | StopSending():
                return self._code(event)
            case DatagramData():
                session_id, payload = decode_http_datagram(event.data)
                self._check_session(session_id, "a datagram")
                if encode_http_datagram(session_id, payload) != event.data:
                    self._faults.append("a datagram's quarter stream id is not in its shortest form")
                return [DatagramData(payload)]
        return []

    def _data(self, event: StreamData) -> list[TransportEvent]:
        stream_id = event.stream_id
        if stream_id in self._inside or not opened_by_client(stream_id):
            return [event]
        if stream_id in self._http:
            self._http[stream_id] += event.data
            return []
        data = self._heads.pop(stream_id, b"") + event.data
        unidirectional = is_unidirectional(stream_id)
        signal = StreamSignal.UNIDIRECTIONAL if unidirectional else StreamSignal.BIDIRECTIONAL
        try:
            number, at = QUIC_VARINT.decode(data)
            if number != signal:
                self._http[stream_id] = data
                if not unidirectional and self._connect is None:
                    self._connect = stream_id
                return []
            session_id, at = QUIC_VARINT.decode(data, at)
        except NeedMoreData:
            self._heads[stream_id] = data
            return []
        self._inside.add(stream_id)
        self._check_session(session_id, f"stream {stream_id}")
        if stream_header(session_id, unidirectional=unidirectional) != data[:at]:
            self._faults.append(f"the header of stream {stream_id} is not in its shortest form")
        return [StreamData(stream_id, data[at:], event.fin)]

    def _code(self, event: StreamReset | StopSending) -> list[TransportEvent]:
        if event.stream_id in self._http or event.wire_code == SESSION_GONE:
            return []
        code = application_code(event.wire_code)
        return [type(event)(event.stream_id, code, event.wire_code)]

    def _check_session(self, session_id: int, where: str) -> None:
        if session_id != self._connect:
            self._faults.append(f"{where} names session {session_id}, the CONNECT stream is {self._connect}")

    def end(self) -> list[str]:
        """All that was wrong."""
        for stream_id, data in self._heads.items():
            self._faults.append(f"stream {stream_id} ends inside its header: {data.hex()}")
        for stream_id, data in self._http.items():
            where = f"HTTP/3's stream {stream_id}"
            if not is_unidirectional(stream_id):
                self._judge_connect(data, where)
                continue
            number, at = QUIC_VARINT.decode(data)
            if number == _CONTROL:
                self._judge_control(data[at:], where)
            elif number not in (_QPACK_ENCODER, _QPACK_DECODER):
                self._faults.append(f"{where} is of type {number:#x}, which nothing defines")
        return self._faults

    def _frames(self, data: bytes, where: str) -> list[tuple[int, bytes]]:
        frames: list[tuple[int, bytes]] = []
        at = 0
        while at < len(data):
            try:
                number, behind = QUIC_VARINT.decode(data, at)
                length, behind = QUIC_VARINT.decode(data, behind)
            except NeedMoreData:
                break
            if behind + length > len(data):
                break
            frames.append((number, data[behind : behind + length]))
            at = behind + length
        if at < len(data):
            self._faults.append(f"{where} ends inside a frame: {data[at:].hex()}")
        return frames

    def _judge_control(self, data: bytes, where: str) -> None:
        first, *later = self._frames(data, where) or [(-1, b"")]
        if first[0] != _SETTINGS:
            self._faults.append(f"{where} does not begin with SETTINGS")
        self._faults += [
            f"a frame of type {number:#x} on {where}"
            for number, _ in later
            if number not in _LATER_ON_CONTROL
        ]

    def _judge_connect(self, data: bytes, where: str) -> None:
        frames = self._frames(data, where)
        if not frames or frames[0][0] != _HEADERS:
            self._faults.append(f"{where} does not begin with HEADERS")
        self._faults += [
            f"a frame of type {number:#x} on {where}" for number, _ in frames[1:] if number != _DATA
        ]
        for number, value in self._frames(b"".join(body for kind, body in frames if kind == _DATA), where):
            if number == CapsuleType.CLOSE_WEBTRANSPORT_SESSION:
                self._judge_close(value, where)
            elif number != CapsuleType.DRAIN_WEBTRANSPORT_SESSION or value:
                self._faults.append(f"a capsule {encode_capsule(number, value).hex()} on {where}")

    def _judge_close(self, value: bytes, where: str) -> None:
        code, reason = int.from_bytes(value[:4], "big"), value[4:]
        if len(value) < 4 or code not in _SESSION_ERRORS:
            self._faults.append(f"{where} closes the session with {value.hex()}, which is no session error")
        if len(reason) > MAX_CLOSE_REASON or not _is_utf8(reason):
            self._faults.append(f"{where} closes the session with the reason {reason!r}")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# ---- sessions --------------------------------------------------------------------------------------


@dataclass
class _Asked:
    """A request of either end."""

    message: Any
    sender: Sender
    owed: list[type[m.Message]]


@dataclass
class _Half:
    """What one end sent on one stream."""

    frames: FrameBuffer
    data: bytes = b""
    "Of data streams."
    count: int = 0
    "Messages so far."
    is_data: bool | None = None
    finished: bool = False
    reset: bool = False


# What a message says later, and about whose request: the sender's own, or the other end's.
_ABOUT: dict[type[m.Message], tuple[tuple[bool, type[m.Message]], ...]] = {
    m.Unsubscribe: ((True, m.Subscribe),),
    m.FetchCancel: ((True, m.Fetch),),
    m.PublishNamespaceDone: ((True, m.PublishNamespace),),
    m.UnsubscribeNamespace: ((True, m.SubscribeNamespace),),
    m.PublishNamespaceCancel: ((False, m.PublishNamespace),),
    m.PublishDone: ((False, m.Subscribe), (True, m.Publish)),
    m.Namespace: ((False, m.SubscribeNamespace),),
    m.NamespaceDone: ((False, m.SubscribeNamespace),),
    m.PublishBlocked: ((False, m.SubscribeTracks), (False, m.SubscribeNamespace)),
    m.RequestUpdate: ((True, m.Request), (False, m.Publish)),
}


class _Judge:
    """One session; only what the end `judged` does wrong is a fault."""

    def __init__(self, draft: Draft, transport: str, judged: Sender) -> None:
        self.found = Judgement()
        self._draft = draft
        self._transport = transport
        self._judged = judged
        self._halves: dict[tuple[Sender, int], _Half] = {}
        self._controls: dict[Sender, int] = {}
        self._asked: dict[int, _Asked] = {}
        self._by_stream: dict[int, _Asked] = {}
        self._setups: set[Sender] = set()
        self._credit = dict.fromkeys(Sender, 0)
        self._aliases: dict[Sender, set[int]] = {sender: set() for sender in Sender}
        self._datagrams: list[bytes] = []
        self._sender = judged

    def take(self, sender: Sender, event: TransportEvent) -> None:
        """Take what one end did."""
        self._sender = sender
        match event:
            case StreamData():
                self._data(event)
            case StreamReset() | StopSending():
                self._code(event)
            case DatagramData() if sender is self._judged:
                self._datagrams.append(event.data)
            case TransportClosed() if event.layer == "session" and self._transport == "quic":
                if event.code not in _SESSION_ERRORS:
                    self._fault(f"the session is closed with {event.code:#x}, which is no session error")

    def end(self) -> None:
        """The session is over: judge what could not be before."""
        self._sender = self._judged
        if self._judged not in self._setups:
            self._fault("no SETUP was sent")
        for (sender, stream_id), half in self._halves.items():
            if sender is not self._judged:
                continue
            if half.is_data is None and not half.reset and half.data:
                self._fault(f"stream {stream_id} ends before its type: {half.data.hex()}")
            elif half.is_data:
                self._judge_data_stream(stream_id, half)
            elif half.frames.pending and not half.reset:
                self._fault(f"stream {stream_id} ends inside a message: {half.frames.pending.hex()}")
        for data in self._datagrams:
            self._judge_datagram(data)
        ids = sorted(number for number, asked in self._asked.items() if asked.sender is self._judged)
        wanted = list(range(self._first_id(self._judged), len(ids) * 2 + self._first_id(self._judged), 2))
        if ids != wanted:
            self._fault(f"the request ids are {ids}, must be {wanted}")

    def _fault(self, sentence: str) -> None:
        if self._sender is self._judged:
            self.found.faults.append(sentence)

    @staticmethod
    def _first_id(sender: Sender) -> int:
        return int(sender is Sender.SERVER)

    # ---- streams ----

    def _data(self, event: StreamData) -> None:
        stream_id, sender = event.stream_id, self._sender
        half = self._halves.setdefault((sender, stream_id), _Half(FrameBuffer(self._draft)))
        opens = opened_by_client(stream_id) == (sender is Sender.CLIENT)
        if half.finished or half.reset:
            self._fault(f"{event.data.hex() or 'an end'} on stream {stream_id}, which had ended")
        half.finished |= event.fin
        if is_unidirectional(stream_id):
            if not opens:
                self._fault(f"bytes on stream {stream_id}, which is the other end's alone")
            half.data += event.data
            if half.is_data is None:
                half.is_data = self._is_data(half.data)
            if half.is_data is False:
                self._controls.setdefault(sender, stream_id)
                half.frames.feed(half.data)
                half.data = b""
        else:
            if self._draft.topology is Topology.SINGLE_CONTROL_STREAM and sender is Sender.CLIENT and opens:
                for end in Sender:
                    self._controls.setdefault(end, stream_id)
            half.is_data = False
            half.frames.feed(event.data)
        if half.is_data is False:
            for octets, frame in self._frames(half, stream_id):
                self._message(stream_id, half, octets, frame)
                half.count += 1
        if event.fin and self._controls.get(sender) == stream_id:
            self._fault("the control stream was ended")

    def _is_data(self, data: bytes) -> bool | None:
        if self._draft.topology is Topology.SINGLE_CONTROL_STREAM:
            return True
        try:
            number, _ = self._draft.integers.decode(data)
        except NeedMoreData:
            return None
        return number != layout_of_message(self._draft, m.Setup).code

    def _frames(self, half: _Half, stream_id: int) -> Iterator[tuple[bytes, Frame]]:
        while True:
            before = half.frames.pending
            try:
                frame = half.frames.take()
            except RemoteProtocolError as error:
                self._fault(f"stream {stream_id}: {error} in {before.hex()}")
                return
            if frame is None:
                return
            yield before[: len(before) - len(half.frames.pending)], frame

    def _code(self, event: StreamReset | StopSending) -> None:
        stream_id = event.stream_id
        if isinstance(event, StreamReset):
            half = self._halves.setdefault((self._sender, stream_id), _Half(FrameBuffer(self._draft)))
            half.reset = True
        if stream_id in self._controls.values():
            self._fault("the control stream was abandoned")
        number = event.code
        name = None if number is None else STREAM_ERRORS.name(number, self._draft.number)
        if not isinstance(name, StreamError):
            self._fault(
                f"stream {stream_id} is abandoned with {event.wire_code:#x}, which is no stream error of "
                f"{self._draft.name}"
            )

    # ---- messages ----

    def _message(self, stream_id: int, half: _Half, octets: bytes, frame: Frame) -> None:
        sender, draft = self._sender, self._draft
        layout = layout_of_type(draft, frame.type, sender)
        if layout is None:
            self._fault(
                f"stream {stream_id}: {draft.name} defines no message of type {frame.type:#x} from a "
                f"{sender.value}, sent was {octets.hex()}"
            )
            return
        where = f"stream {stream_id}: {layout.label}"
        if sender is self._judged:
            self.found.messages.append(layout.name)
        try:
            message, _ = decode(frame, draft, sender)
        except RemoteProtocolError as error:
            self._fault(f"{where}: {error}, sent was {octets.hex()}")
            return
        try:
            written = encode_by(message, layout, draft).encode(draft)
        except LocalProtocolError as error:
            self._fault(f"{where}: {error}, sent was {octets.hex()}")
        else:
            if written != octets:
                self._fault(f"{where} is {octets.hex()}, is written {written.hex()}")
        for what in self._undefined(message, layout):
            self._fault(f"{where}: {what}")
        for what in self._misplaced(stream_id, half, message, layout):
            self._fault(f"{where}: {what}")

    def _undefined(self, message: Any, layout: Layout) -> Iterator[str]:
        """Values that the codec would let through, as it must let through a peer's."""
        for key in getattr(message, "parameters", ()):
            if not isinstance(key, Parameter):
                yield f"{self._draft.name} defines no message parameter {key:#x}"
        for key in getattr(message, "track_properties", ()):
            if key not in _PROPERTIES:
                yield f"nothing defines the property {key:#x}"
        for row in layout.fields:
            if isinstance(row, ErrorCode) and isinstance(getattr(message, row.name), int):
                yield f"{self._draft.name} has no code {getattr(message, row.name):#x} there"
        for name in message._names:
            value = getattr(message, name)
            if isinstance(value, str) and not value.isascii() and not _is_utf8(_octets(value)):
                yield f"{name} is no UTF-8: {value!r}"
        if isinstance(message, m.Setup):
            yield from self._undefined_options(message)

    def _undefined_options(self, setup: m.Setup) -> Iterator[str]:
        for key in setup.options:
            if key not in _OPTIONS:
                yield f"nothing defines the setup option {key:#x}"
            elif key == SetupOption.MAX_REQUEST_ID and not self._draft.request_id_credit:
                yield f"{self._draft.name} has no setup option MAX_REQUEST_ID"
            elif key in (SetupOption.PATH, SetupOption.AUTHORITY) and (
                self._transport != "quic" or self._sender is Sender.SERVER
            ):
                name, whence = SetupOption(key).name, f"{self._sender.value} over {self._transport}"
                yield f"the setup option {name} from a {whence}"
        versions = () if self._draft.version_code is None else (self._draft.version_code,)
        if setup.versions != versions:
            yield f"the versions are {setup.versions}, must be {versions}"

    def _misplaced(self, stream_id: int, half: _Half, message: Any, layout: Layout) -> Iterator[str]:
        """What is wrong with a message's being there, then; and what it changes is noted."""
        sender = self._sender
        on_control = self._controls.get(sender) == stream_id
        if not self._is_at_home(stream_id, half, layout, on_control=on_control):
            yield "it may not travel on " + (
                "the control stream" if on_control else f"message {half.count} here"
            )
        if sender not in self._setups and on_control and not isinstance(message, m.Setup):
            yield "it comes before SETUP"
        match message:
            case m.Setup():
                if sender in self._setups:
                    yield "it is the second SETUP"
                self._setups.add(sender)
                self._grant(message.options.get(SetupOption.MAX_REQUEST_ID, 0))
            case m.MaxRequestId():
                yield from self._raised(message.maximum)
            case m.Goaway():
                yield from self._goaway(message, on_control=on_control)
            case m.Reply():
                yield from self._answers(stream_id, message, layout)
            case m.RequestUpdate():
                yield from self._updates(stream_id, message)
            case m.Request():
                yield from self._asks(stream_id, message, on_control=on_control)
            case _ if type(message) in _ABOUT:
                if self._subject(stream_id, message) is None:
                    yield "it is about no request that it can be about"

    def _is_at_home(self, stream_id: int, half: _Half, layout: Layout, *, on_control: bool) -> bool:
        single = self._draft.topology is Topology.SINGLE_CONTROL_STREAM
        if on_control:
            return not layout.own_stream if single else Stream.CONTROL in layout.stream
        opens = opened_by_client(stream_id) == (self._sender is Sender.CLIENT)
        if not half.count:
            wanted = Stream.FIRST if opens else Stream.REPLY
            return wanted in layout.stream and (layout.own_stream or not opens or not single)
        if single:
            return not opens and layout.own_stream and Stream.REQUEST in layout.stream
        # REPLY again: the answer to a REQUEST_UPDATE; that there was one is asked elsewhere.
        return bool(layout.stream & (Stream.REQUEST | Stream.REPLY))

    def _other(self) -> Sender:
        return Sender.SERVER if self._sender is Sender.CLIENT else Sender.CLIENT

    def _grant(self, maximum: int) -> None:
        self._credit[self._other()] = maximum

    def _raised(self, maximum: int) -> Iterator[str]:
        if maximum <= self._credit[self._other()]:
            yield f"{maximum} does not raise the {self._credit[self._other()]} granted before"
        self._grant(maximum)

    def _goaway(self, message: m.Goaway, *, on_control: bool) -> Iterator[str]:
        if self._sender is Sender.CLIENT and message.new_session_uri:
            yield "a client names no URI"
        numbered = self._draft.number in _NUMBERED_GOAWAY and on_control
        if (message.request_id is not None) != numbered:
            where = "on the control stream and nowhere else" if numbered else "nowhere here"
            yield f"a Request ID is there {where}"

    def _asks(self, stream_id: int, message: Any, *, on_control: bool) -> Iterator[str]:
        yield from self._takes_id(message.request_id)
        asked = _Asked(message, self._sender, [type(message)])
        self._asked[message.request_id] = asked
        if not on_control:
            self._by_stream[stream_id] = asked
        if isinstance(message, m.Publish):
            self._aliases[self._sender].add(message.track_alias)

    def _takes_id(self, number: int) -> Iterator[str]:
        if number % 2 != self._first_id(self._sender):
            yield f"request id {number} is of the other end's parity"
        if number in self._asked:
            yield f"request id {number} was used before"
        if self._draft.request_id_credit and number >= self._credit[self._sender]:
            yield f"request id {number}, granted are those below {self._credit[self._sender]}"

    def _subject(self, stream_id: int, message: Any) -> _Asked | None:
        """The request that a message is about; None when there is none of the right kind."""
        number = getattr(message, "existing_request_id", None)
        if number is None and not isinstance(message, m.RequestUpdate):
            number = getattr(message, "request_id", None)
        candidates: Iterable[_Asked | None] = [self._asked.get(number)]
        if number is None:
            candidates = [self._by_stream.get(stream_id)]
            for name in ("track_namespace", "track_namespace_prefix"):
                if (named := getattr(message, name, None)) is not None:
                    candidates = [
                        asked for asked in self._asked.values() if getattr(asked.message, name, None) == named
                    ]
        for asked in candidates:
            if asked is not None and any(
                own == (asked.sender is self._sender) and isinstance(asked.message, kind)
                for own, kind in _ABOUT[type(message)]
            ):
                return asked
        return None

    def _updates(self, stream_id: int, message: m.RequestUpdate) -> Iterator[str]:
        asked = self._subject(stream_id, message)
        number = message.request_id
        assert number is not None, "every draft writes it"
        yield from self._takes_id(number)
        if asked is None:
            yield "it updates no request that it can update"
            asked = _Asked(message, self._sender, [])
        pending = asked
        if self._draft.replies_carry_request_id:
            pending = _Asked(message, self._sender, [])
            self._asked[number] = pending
        else:
            self._asked[number] = _Asked(message, self._sender, [])
        if reply_names(self._draft, m.RequestUpdate):
            pending.owed.append(m.RequestUpdate)

    def _answers(self, stream_id: int, message: Any, layout: Layout) -> Iterator[str]:
        if self._draft.replies_carry_request_id:
            asked = self._asked.get(message.request_id)
        else:
            asked = self._by_stream.get(stream_id)
        if asked is None or not asked.owed:
            yield "it answers nothing that was asked"
            return
        if asked.owed[0] not in layout.answers:
            yield f"it is no answer to {asked.owed[0].__name__}"
        own = isinstance(asked.message, m.Publish) and asked.owed[0] is m.RequestUpdate
        if asked.sender is self._sender and not own:
            yield "it answers a request of its own sender"
        asked.owed.pop(0)
        if isinstance(message, m.SubscribeOk):
            self._aliases[self._sender].add(message.track_alias)

    # ---- objects ----

    def _judge_data_stream(self, stream_id: int, half: _Half) -> None:
        where = f"data stream {stream_id}"
        self.found.streams += 1
        decoder = DataStreamDecoder(self._draft, descending=self._is_descending)
        try:
            header, *items = decoder.feed(half.data, half.finished) or [None]
        except RemoteProtocolError as error:
            self._fault(f"{where}: {error}, sent was {half.data.hex()}")
            return
        if decoder.consumed != len(half.data) and not half.reset:
            self._fault(f"{where} ends {len(half.data) - decoder.consumed} bytes into an object")
        match header:
            case SubgroupHeader():
                subgroup = SubgroupEncoder(header, self._draft)
                written = subgroup.header() + b"".join(map(subgroup.object, items))
                if header.track_alias not in self._aliases[self._judged]:
                    self._fault(f"{where}: no track has the alias {header.track_alias}")
            case FetchHeader():
                fetch = FetchEncoder(self._draft, descending=self._is_descending(header.request_id))
                written = fetch.header(header.request_id) + b"".join(
                    fetch.range_end(item) if isinstance(item, FetchRangeEnd) else fetch.object(item)
                    for item in items
                )
                asked = self._asked.get(header.request_id)
                if asked is None or not isinstance(asked.message, m.Fetch) or asked.sender is self._judged:
                    self._fault(f"{where}: request {header.request_id} is no FETCH of the other end")
            case _:
                return
        if written != half.data[: decoder.consumed]:
            self._fault(f"{where} is {half.data.hex()}, is written {written.hex()}")
        for item in items:
            self._judge_properties(where, item)

    def _is_descending(self, request_id: int) -> bool:
        asked = self._asked.get(request_id)
        given = getattr(asked.message, "parameters", {}) if asked else {}
        return bool(given.get(Parameter.GROUP_ORDER) == GroupOrder.DESCENDING)

    def _judge_datagram(self, data: bytes) -> None:
        self.found.datagrams += 1
        try:
            item = decode_datagram(data, self._draft)
        except RemoteProtocolError as error:
            self._fault(f"a datagram: {error}, sent was {data.hex()}")
            return
        if isinstance(item, Padding):
            return
        assert isinstance(item, ObjectDatagram)
        written = encode_datagram(item, self._draft)
        if written != data:
            self._fault(f"a datagram is {data.hex()}, is written {written.hex()}")
        if item.track_alias not in self._aliases[self._judged]:
            self._fault(f"a datagram: no track has the alias {item.track_alias}")
        self._judge_properties("a datagram", item)

    def _judge_properties(self, where: str, item: Any) -> None:
        for key in getattr(item, "properties", ()):
            if key not in _PROPERTIES:
                self._fault(f"{where}: nothing defines the property {key:#x}")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
