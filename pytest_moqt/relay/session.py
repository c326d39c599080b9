"""One client's MoQT session as the relay sees it: SETUP, requests and replies, streams; no routing.

Rules:

- An `Exchange` is one request and all that belongs to it. What differs between drafts (the control
  stream and ids, or a stream of its own) ends here; routing speaks to exchanges only.
- What the client may not do raises RemoteProtocolError and closes this session with its code; nothing
  of it reaches another session ("the Relay MUST NOT propagate that message or Object", `relays-moq`).
- What is said to a client of a draft that cannot express it is not said; the caller is told so.
- Data that comes before SETUP, or before the track alias it names, is held, within `limits`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.answers import check_answer
from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import Draft, Topology
from pytest_moqt.protocol.errors import (
    DuplicateTrackAlias,
    InvalidRequestId,
    LocalProtocolError,
    NeedMoreData,
    ProtocolViolation,
    RemoteProtocolError,
    TooManyRequests,
)
from pytest_moqt.protocol.framing import Frame, decode, encode
from pytest_moqt.protocol.layouts import (
    Layout,
    Sender,
    Stream,
    layout_of_message,
    layout_of_type,
    reply_names,
)
from pytest_moqt.protocol.objects import (
    ObjectDatagram,
    decode_datagram,
)
from pytest_moqt.protocol.parameters import Parameter, Parameters, SetupOption
from pytest_moqt.protocol.registries import STREAM_ERRORS, RequestErrorCode, SessionError, StreamError
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
)
from pytest_moqt.protocol.updates import check_update
from pytest_moqt.protocol.values import KeyValues, Token
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.client_setup import check_setup
from pytest_moqt.relay.clock import Clock, Timer
from pytest_moqt.relay.exchange import Exchange, Owner
from pytest_moqt.relay.schedule import CONTROL, Rank, Share
from pytest_moqt.relay.streams import (
    ControlStream,
    DataStream,
    FetchSink,
    Ignored,
    IncomingStream,
    RequestStream,
    TrackSink,
    Unrecognised,
)
from pytest_moqt.relay.tokens import MalformedToken, repeats

logger = logging.getLogger("pytest_moqt.relay")

IMPLEMENTATION = b"moq-test-relay (pytest-moqt)"
"MOQT_IMPLEMENTATION of the relay."


class TooMuch(RemoteProtocolError):
    """The client asks for more memory than it gets."""

    code = SessionError.INTERNAL_ERROR


class RelayTransport(StreamTransport, Protocol):
    """What the relay asks of a transport beyond the verbs of a session."""

    @property
    def name(self) -> str:
        """`quic` or `webtransport`."""

    def stream_credit(self, *, unidirectional: bool) -> int:
        """How many more streams the client lets the relay open."""

    def backlog(self, stream_id: int) -> int:
        """Bytes of a stream that the client has not acknowledged."""

    def rank(self, stream_id: int, rank: Rank) -> None:
        """Send a stream by a rank among the others; what has none goes before all objects."""


class RequestRouter(Protocol):
    """Who takes the requests of clients."""

    def opened(self, session: Session) -> None:
        """A session begins."""

    def accept(self, exchange: Exchange) -> Owner:
        """Take a new request; it may be answered at once or later."""

    def closed(self, session: Session) -> None:
        """A session is over; its exchanges have been told."""


class _SeenIds:
    """Which request ids a client has used, where streams may overtake each other."""

    def __init__(self) -> None:
        self._below = 0
        self._above: set[int] = set()

    @property
    def beyond(self) -> int:
        """The first id (halved) above all that were used."""
        return max(self._above, default=self._below - 1) + 1

    def add(self, number: int) -> bool:
        """Remember an id (halved: 0, 1, 2 …); False: it was used before."""
        if number < self._below or number in self._above:
            return False
        self._above.add(number)
        if len(self._above) > limits.OUT_OF_ORDER_IDS:
            # The ids skipped belong to requests cancelled before they arrived; they will not come.
            self._below = min(self._above)
        while self._below in self._above:
            self._above.remove(self._below)
            self._below += 1
        return True


class Session:
    """One client's session.

    Args:
        transport: Carries it.
        draft: Negotiated by ALPN or sub-protocol; for draft 14 the only one of its version list.
        router: Takes the client's requests.
        behaviour: How the relay decides.
        clock: For what must not wait forever.
    """

    def __init__(
        self,
        transport: RelayTransport,
        draft: Draft,
        router: RequestRouter,
        behaviour: Behaviour,
        clock: Clock,
    ) -> None:
        self.transport = transport
        self.draft = draft
        self.closed = False
        self.established = False
        self.label = f"{draft.name}/{transport.name}#{id(self) & 0xFFFF:04x}"
        "Names the session in logs."
        self.going_away = False
        "The client sent GOAWAY: it gets no new requests."
        self.leaving = False
        "The relay sent GOAWAY: it takes no new requests."
        self.tokens = behaviour.token_cache()
        self.authorized_with: tuple[Token, ...] = ()
        "The tokens of the client's SETUP, by value."
        self._router = router
        self._behaviour = behaviour
        self._clock = clock
        self._own_streams = draft.topology is Topology.REQUEST_STREAMS
        self._control_in: int | None = None
        self._control_out: int | None = None
        self._streams: dict[int, IncomingStream] = {}
        self._outgoing: dict[int, Callable[[], None]] = {}
        self._held_bytes = 0
        self._held_streams: OrderedDict[int, DataStream] = OrderedDict()
        self._early_datagrams: list[ObjectDatagram] = []
        # requests of the client
        self._theirs: dict[int, Exchange] = {}
        self._their_next = 0
        self._their_limit = 2 * limits.REQUEST_CREDIT
        self._seen = _SeenIds()
        # requests of ours
        self._ours: dict[int, Exchange] = {}
        self._our_next = 1
        self._our_limit = 0
        self._waiting: list[Exchange] = []
        self._updates: dict[int, Exchange] = {}
        # tracks
        self._sinks: dict[int, TrackSink] = {}
        self._next_alias = 0
        self._timer: Timer | None = None

    # ---- what the server calls ----

    def start(self) -> None:
        """Begin: the transport is there."""
        self._router.opened(self)
        self._timer = self._clock.call_later(limits.SETUP_SECONDS, self._setup_late)
        if self._own_streams:
            self._say_control_on(self.transport.open_stream(unidirectional=True))
            self._behaviour.send_setup(self)

    def handle(self, event: TransportEvent) -> None:
        """Take one event; what the client may not do closes the session."""
        heard = None if self.closed else self._behaviour.heard(self, event)
        if heard is None or self.closed:
            return
        event = heard
        while True:
            try:
                self._handle(event)
                return
            except RemoteProtocolError as error:
                code = self._behaviour.violated(self, error)
                if code is not None:
                    self.close(code, str(error))
                    return
                rest = self._overlook(event)
                if rest is None:
                    return
                event = rest
            except Exception:
                logger.exception("%s: the relay failed", self.label)
                self.close(SessionError.INTERNAL_ERROR, "internal error")
                return

    def _overlook(self, event: TransportEvent) -> TransportEvent | None:
        """Go on after what should have ended the session, behind the message that was in error."""
        if not isinstance(event, StreamData):
            return None
        match self._streams.get(event.stream_id):
            case ControlStream() | RequestStream():
                return StreamData(event.stream_id, b"")
            case DataStream() as stream:
                stream.abandon(StreamError.INTERNAL_ERROR)
            case Unrecognised() as stream:
                stream.take()
                self._streams[event.stream_id] = Ignored(self, event.stream_id)
        return None

    def close(self, code: SessionError, reason: str = "") -> None:
        """End the session."""
        if not self.closed:
            logger.info("%s closed with %s: %s", self.label, code.name, reason)
            self._behaviour.close_session(self, code, reason)
            self._end()

    def go_away(self, seconds: float) -> None:
        """Say GOAWAY, and end the session in so many seconds if the client has not (`message-goaway`)."""
        if self.closed or self.leaving:
            return
        if not self.established and not self._own_streams:
            self.close(SessionError.NO_ERROR, "the relay stops")  # GOAWAY would come before SETUP
            return
        self.leaving = True
        unprocessed = 2 * self._seen.beyond
        goaway = m.Goaway(timeout_ms=round(seconds * 1000), request_id=unprocessed)
        self._behaviour.send_goaway(self, goaway)
        self.call_later(seconds, self._leave)

    def _leave(self) -> None:
        # "closes the session with GOAWAY_TIMEOUT ... if there are still open requests" (from 17 on).
        busy = self._theirs or self._ours
        code = SessionError.GOAWAY_TIMEOUT if busy else SessionError.NO_ERROR
        self.close(code, "the time to move elsewhere is over")

    # ---- what the relay says ----

    def setup(self) -> m.Setup:
        """The SETUP of a correct relay."""
        options: dict[int, Any] = {
            SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE: self.tokens.size,
            SetupOption.MOQT_IMPLEMENTATION: IMPLEMENTATION,
        }
        if self.draft.request_id_credit:
            options[SetupOption.MAX_REQUEST_ID] = self._their_limit
        versions = () if self.draft.version_code is None else (self.draft.version_code,)
        return m.Setup(KeyValues(options), versions)

    def frame(self, message: m.Message) -> Frame:
        """A message of the session itself as a frame."""
        return encode(message, self.draft, sender=Sender.SERVER)

    def _say_control_on(self, stream_id: int) -> None:
        self._control_out = stream_id
        self.transport.rank(stream_id, Rank(Share(CONTROL)))

    def send_control(self, message: m.Message) -> None:
        """Send a message of the session itself."""
        logger.debug("%s > %s", self.label, message)
        self.write(None, self.frame(message).encode(self.draft))

    def write(self, stream_id: int | None, data: bytes, *, fin: bool = False) -> None:
        """Send bytes on a stream, or on the control stream."""
        target = self._control_out if stream_id is None else stream_id
        if target is not None and not self.closed:
            self.transport.send(target, data, fin=fin)

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call back in some time, unless the session is over by then."""

        def call() -> None:
            if not self.closed:
                callback(*arguments)

        return self._clock.call_later(seconds, call)

    def abort(self, stream_id: int, error: StreamError) -> None:
        """End both halves of a request stream."""
        code = self.stream_code(error)
        self.transport.reset(stream_id, code)
        if stream_id in self._streams:
            self.transport.stop(stream_id, code)

    def finish_stream(self, stream_id: int) -> None:
        """End our half of a request stream; the client has a while to end its own.

        Not every client does, and each stream that stays open counts against its stream limit.
        """
        self.write(stream_id, b"", fin=True)
        if stream_id in self._streams:
            self._clock.call_later(limits.LINGER_SECONDS, self._stop_lingering, stream_id)

    def _stop_lingering(self, stream_id: int) -> None:
        if stream_id in self._streams and not self.closed:
            self.transport.stop(stream_id, self.stream_code(StreamError.CANCELLED))

    def stream_code(self, error: StreamError) -> int:
        """A reason for a reset as this draft numbers it; CANCELLED where it has none."""
        code = STREAM_ERRORS.value(error, self.draft.number)
        return 0x1 if code is None else code

    def request(self, message: m.Request, owner: Owner) -> Exchange | None:
        """Send a request; None: the draft cannot say it, or the client takes no more."""
        if self.closed or self.going_away or len(self._ours) >= limits.REQUESTS:
            return None
        exchange = Exchange(self, message, ours=True, stream_id=None)
        exchange.owner = owner
        try:
            self._numbered(message, 0)
        except LocalProtocolError as error:
            logger.debug("%s cannot be asked: %s", self.label, error)
            return None
        if self.draft.request_id_credit and self._our_next >= self._our_limit:
            if len(self._waiting) >= limits.REQUESTS_WAITING:
                return None
            if not self._waiting:
                self.send_control(m.RequestsBlocked(self._our_limit))
            self._waiting.append(exchange)
        else:
            self._send_request(exchange)
        return exchange

    def may_open_request(self) -> bool:
        """Whether a request would leave at once."""
        if self.draft.request_id_credit:
            return self._our_next < self._our_limit
        return self.transport.stream_credit(unidirectional=False) > 0

    def send_update(self, exchange: Exchange, parameters: Parameters) -> None:
        """Send REQUEST_UPDATE, or what the draft calls it, for an exchange."""
        if self.draft.request_id_credit and self._our_next >= self._our_limit:
            return  # an update that comes late is worse than none
        number = self._our_next
        update = m.RequestUpdate(parameters, exchange.request_id, number)
        if not exchange.send(update):
            return
        self._our_next += 2
        if reply_names(self.draft, m.RequestUpdate):
            exchange.updates += 1
            if not self._own_streams:
                self._updates[number] = exchange

    def answers_updates(self) -> bool:
        """Whether the draft answers REQUEST_UPDATE."""
        return bool(reply_names(self.draft, m.RequestUpdate))

    def new_alias(self) -> int:
        """A track alias that the relay has not used in this session."""
        self._next_alias += 1
        return self._next_alias

    def bind_alias(self, alias: int, sink: TrackSink) -> None:
        """Direct objects of an alias that the client chose to a track; `deliver_held` has those before.

        Raises:
            DuplicateTrackAlias: The alias is another live track's.
        """
        if self._sinks.setdefault(alias, sink) is not sink:
            raise DuplicateTrackAlias(f"track alias {alias} is that of another track")

    def deliver_held(self, alias: int, sink: TrackSink) -> None:
        """Pass on what was held until an alias was known."""
        for stream in list(self._streams.values()):
            if isinstance(stream, DataStream):
                stream.resolve()
        waiting = [item for item in self._early_datagrams if item.track_alias == alias]
        self._early_datagrams = [item for item in self._early_datagrams if item.track_alias != alias]
        for item in waiting:
            sink.datagram(item)

    def release_alias(self, alias: int, sink: TrackSink) -> None:
        """Undo `bind_alias`."""
        if self._sinks.get(alias) is sink:
            del self._sinks[alias]

    def sink_of(self, alias: int) -> TrackSink | None:
        """The track of an alias."""
        return self._sinks.get(alias)

    def fetch_sink(self, request_id: int) -> FetchSink | None:
        """Who takes the stream that answers a FETCH of ours."""
        exchange = self._ours.get(request_id)
        owner = None if exchange is None or exchange.over else exchange.owner
        return owner if isinstance(owner, FetchSink) else None

    def open_data_stream(self, on_stop: Callable[[], None], rank: Rank) -> int | None:
        """Open a stream for objects.

        Args:
            on_stop: Called when the client stops it.
            rank: By which it is sent among the others.

        Returns:
            None when too many are open.
        """
        if self.closed or len(self._outgoing) >= limits.FORWARDED_STREAMS:
            return None
        stream_id = self.transport.open_stream(unidirectional=True)
        self.transport.rank(stream_id, self._behaviour.rank(rank))
        self._outgoing[stream_id] = on_stop
        return stream_id

    def send_objects(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes of a stream for objects."""
        self._behaviour.send_objects(self, stream_id, data, fin)

    @property
    def passes_parts(self) -> bool:
        """Whether large objects of the client are passed on as they come."""
        return self._behaviour.passes_parts()

    def end_data_stream(self, stream_id: int, error: StreamError | None = None) -> None:
        """End a stream for objects: with a FIN, or a reset for a reason."""
        if self._outgoing.pop(stream_id, None) is None:
            return
        if error is None:
            self.send_objects(stream_id, b"", fin=True)
        elif not self.closed:
            self._behaviour.reset_objects(self, stream_id, error)

    def abandon_data_stream(self, stream_id: int, error: StreamError) -> None:
        """Reset a stream for objects that has got its FIN, but was not delivered."""
        if not self.closed:
            self.transport.reset(stream_id, self.stream_code(error))

    def hold(self, size: int) -> None:
        """Count bytes that are kept until they can be understood.

        Raises:
            TooMuch: There are too many.
        """
        self._held_bytes += size
        if self._held_bytes > limits.EARLY_BYTES:
            raise TooMuch(f"more than {limits.EARLY_BYTES} bytes that cannot be understood yet")

    def hold_stream(self, stream: DataStream) -> Timer:
        """Keep a stream of an unknown track alias for a while; the oldest gives way."""
        self._behaviour.unknown_alias(self)
        self._held_streams[stream.stream_id] = stream
        while len(self._held_streams) > limits.EARLY_STREAMS:
            self._held_streams.popitem(last=False)[1].give_up()
        return self._clock.call_later(limits.EARLY_SECONDS, stream.give_up)

    def release_held(self, stream: DataStream) -> None:
        """Undo `hold_stream`."""
        self._held_streams.pop(stream.stream_id, None)

    def forget(self, exchange: Exchange) -> None:
        """An exchange is over on our side."""
        number = exchange.request_id
        table = self._ours if exchange.ours else self._theirs
        if exchange in self._waiting:
            self._waiting.remove(exchange)
        stream = None if exchange.stream_id is None else self._streams.get(exchange.stream_id)
        if isinstance(stream, RequestStream) and stream.finished:
            self.stream_done(stream.stream_id)
        # A request that was cancelled before its answer is still answered, on a control stream.
        if number is not None and (self._own_streams or exchange.answered or not exchange.ours):
            table.pop(number, None)

    # ---- events ----

    def _handle(self, event: TransportEvent) -> None:
        match event:
            case StreamData():
                self._stream(event.stream_id).data(event.data, event.fin)
            case StreamReset():
                stream = self._streams.pop(event.stream_id, None)
                if stream is not None:
                    stream.reset(event.code)
            case StopSending():
                self._stopped(event.stream_id)
            case DatagramData():
                self._datagram(event.data)
            case TransportClosed():
                logger.info("%s ended: %s", self.label, event)
                if self._behaviour.notices_end(self, event):
                    self._end()

    def _stream(self, stream_id: int) -> IncomingStream:
        stream = self._streams.get(stream_id)
        if stream is None:
            if not opened_by_client(stream_id):
                return Ignored(self, stream_id)  # the client's half of a request of ours that is over
            if len(self._streams) >= limits.STREAMS:
                raise TooMuch(f"more than {limits.STREAMS} streams at a time")
            stream = self._streams[stream_id] = Unrecognised(self, stream_id)
        return stream

    def _stopped(self, stream_id: int) -> None:
        if stream_id == self._control_out:
            raise ProtocolViolation("the client stopped the control stream")
        stop = self._outgoing.pop(stream_id, None)
        if stop is not None:
            stop()
            return
        stream = self._streams.get(stream_id)
        if isinstance(stream, RequestStream):
            stream.stopped()

    def _datagram(self, data: bytes) -> None:
        item = decode_datagram(data, self.draft)
        if not isinstance(item, ObjectDatagram):
            self.padded()
            return
        sink = self._sinks.get(item.track_alias)
        if sink is not None:
            sink.datagram(item)
        else:
            self._early_datagrams = [*self._early_datagrams, item][-limits.EARLY_DATAGRAMS :]

    def _end(self) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            if isinstance(stream, DataStream):
                stream.abandon(StreamError.SESSION_CLOSED)
        exchanges = [*self._theirs.values(), *self._ours.values(), *self._waiting]
        for exchange in exchanges:
            exchange.gone()
        self._theirs.clear()
        self._ours.clear()
        self._outgoing.clear()
        self._router.closed(self)

    def _setup_late(self) -> None:
        if not self.closed:
            self.close(
                SessionError.CONTROL_MESSAGE_TIMEOUT, f"no SETUP within {limits.SETUP_SECONDS:g} seconds"
            )

    # ---- streams ----

    def recognise(self, stream: Unrecognised) -> None:
        """Find out what a stream is, from its first bytes; it stays as it is while that cannot be told."""
        number = self._first_integer(stream)
        if number is None:
            return
        found: IncomingStream | None = None
        setup = layout_of_message(self.draft, m.Setup, sender=Sender.CLIENT).code
        if is_unidirectional(stream.stream_id):
            if self._own_streams and number == setup:
                if self._control_in is not None:
                    raise ProtocolViolation("a second control stream")
                found = ControlStream(self, stream.stream_id)
            elif self.established:
                found = DataStream(self, stream.stream_id)
        elif self._own_streams:
            found = RequestStream(self, stream.stream_id) if self.established else None
        elif number == setup and self._control_in is None:
            self._say_control_on(stream.stream_id)
            found = ControlStream(self, stream.stream_id)
        else:
            layout = layout_of_type(self.draft, number, Sender.CLIENT)
            if layout is None or not layout.own_stream or not layout.stream & Stream.FIRST:
                name = f"type {number:#x}" if layout is None else layout.label
                raise ProtocolViolation(f"a bidirectional stream that begins with {name}")
            found = RequestStream(self, stream.stream_id) if self.established else None
        if found is None:
            return
        if isinstance(found, ControlStream):
            self._control_in = stream.stream_id
        self._streams[stream.stream_id] = found
        data, fin = stream.take()
        found.data(data, fin)

    def _first_integer(self, stream: Unrecognised) -> int | None:
        try:
            return Reader(stream.buffer, self.draft.integers).vint()
        except NeedMoreData:
            if stream.fin and is_unidirectional(stream.stream_id):
                raise ProtocolViolation("a unidirectional stream that ends before its type") from None
            if stream.fin:  # a request that was thought better of
                self._streams.pop(stream.stream_id, None)
                self.write(stream.stream_id, b"", fin=True)
            return None

    def padded(self) -> None:
        """The client sent padding."""
        self._behaviour.padded(self)

    def stream_done(self, stream_id: int) -> None:
        """A stream has nothing more to bring."""
        self._streams.pop(stream_id, None)

    def control_frame(self, frame: Frame) -> None:
        """Take a frame of the control stream."""
        self._behaviour.framed(self, frame)
        message, layout = decode(frame, self.draft, Sender.CLIENT)
        logger.debug("%s < %s", self.label, message)
        if isinstance(message, m.Setup):
            if self.established:
                raise ProtocolViolation(f"a second {layout.label}")
            self._take_setup(message)
            return
        if not self.established:
            raise ProtocolViolation(f"{layout.label} before SETUP")
        if self._own_streams:
            if not isinstance(message, m.Goaway):
                raise ProtocolViolation(f"{layout.label} may not be on the control stream")
            self._goaway(message)
            return
        if layout.own_stream:
            raise ProtocolViolation(f"{layout.label} needs a stream of its own")
        self._control_message(message, layout)

    # ---- SETUP ----

    def _take_setup(self, setup: m.Setup) -> None:
        self._behaviour.introduced(self, setup)
        setup = self._behaviour.take_setup(self, setup)
        if self.closed:
            return
        check_setup(setup, self.draft, webtransport=self.transport.name == "webtransport")
        self.authorized_with = self.tokens.take_setup(setup.options.all(SetupOption.AUTHORIZATION_TOKEN))
        self._our_limit = setup.options.get(SetupOption.MAX_REQUEST_ID, 0)
        self.established = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._own_streams:
            self._behaviour.send_setup(self)
        self._behaviour.established(self)
        for stream in list(self._streams.values()):
            if isinstance(stream, Unrecognised) and not self.closed:
                self.recognise(stream)

    def _goaway(self, message: m.Goaway) -> None:
        if message.new_session_uri:
            raise ProtocolViolation("GOAWAY of a client with a New Session URI")
        if self.going_away:
            raise ProtocolViolation("a second GOAWAY")
        if message.request_id is not None and message.request_id % 2 == 0:
            raise InvalidRequestId(f"GOAWAY names request {message.request_id}, which is none of the relay's")
        self.going_away = True
        self._behaviour.gone_away(self)

    # ---- requests of the client ----

    def _check_id(self, number: int | None) -> int:
        if number is None or number % 2:
            raise InvalidRequestId(f"request id {number} from a client, must be even")
        if not self.draft.request_id_credit:
            if not self._seen.add(number // 2):
                raise InvalidRequestId(f"request id {number} for the second time")
            return number
        if number >= self._their_limit:
            raise TooManyRequests(f"request id {number}, the maximum is {self._their_limit}")
        if number != self._their_next:
            raise InvalidRequestId(f"request id {number}, the next is {self._their_next}")
        self._their_next += 2
        if self._their_limit - self._their_next <= limits.REQUEST_CREDIT:
            self._their_limit += 2 * limits.REQUEST_CREDIT
            self.send_control(m.MaxRequestId(self._their_limit))
        return number

    def _take_update(self, update: m.RequestUpdate) -> int:
        """Take id and tokens of an update, which are spent whatever comes of it."""
        number = self._check_id(update.request_id)
        tokens = self.tokens.take(update.parameters.all(Parameter.AUTHORIZATION_TOKEN))
        if self.draft.repeated_tokens_refused and repeats(tokens):
            # A failed update ends what it is about; "an endpoint MAY escalate" (`session-termination`).
            raise MalformedToken("an authorization token twice in one message")
        return number

    def new_request(self, request: m.Request, stream_id: int | None) -> Exchange:
        """Take the first message of a client's request."""
        number = self._check_id(getattr(request, "request_id", None))
        parameters: Parameters = getattr(request, "parameters", KeyValues())
        exchange = Exchange(self, request, ours=False, stream_id=stream_id)
        exchange.tokens = self.tokens.take(parameters.all(Parameter.AUTHORIZATION_TOKEN))
        if len(self._theirs) >= limits.REQUESTS:
            reason = f"more than {limits.REQUESTS} requests at a time"
            exchange.reply(m.RequestError(RequestErrorCode.EXCESSIVE_LOAD, reason))
            return exchange
        self._theirs[number] = exchange
        owner = self._router.accept(exchange)
        if exchange.owner is None:
            exchange.owner = owner
        return exchange

    # ---- 14 to 16: everything on one stream, under ids ----

    def _control_message(self, message: m.Message, layout: Layout) -> None:
        match message:
            case m.Goaway():
                self._goaway(message)
            case m.MaxRequestId():
                self._raise_limit(message.maximum)
            case m.RequestsBlocked():
                pass  # credit is given in time without being asked
            case m.RequestUpdate():
                self._update_by_id(message)
            case m.Request():
                self.new_request(message, None)
            case m.Reply():
                self._reply_by_id(message, layout)
            case m.PublishNamespaceDone() | m.UnsubscribeNamespace():
                self._withdraw(message)
            case m.PublishNamespaceCancel():
                self._revoke(message)
            case _:
                self._message_by_id(message, layout)

    def _raise_limit(self, maximum: int) -> None:
        if maximum <= self._our_limit:
            raise ProtocolViolation(f"MAX_REQUEST_ID {maximum}, which is not above {self._our_limit}")
        self._our_limit = maximum
        while self._waiting and self._our_next < self._our_limit:
            self._send_request(self._waiting.pop(0))

    def _find(self, number: int | None, what: str) -> Exchange | None:
        """The exchange an id names; None when it is over."""
        exchange = (self._theirs if number is not None and number % 2 == 0 else self._ours).get(number or 0)
        if exchange is not None:
            return None if exchange.over else exchange
        if number is None or number >= (self._their_next if number % 2 == 0 else self._our_next):
            raise ProtocolViolation(f"{what} names request {number}, which there never was")
        return None

    def _update_by_id(self, update: m.RequestUpdate) -> None:
        number = self._take_update(update)
        exchange = self._find(update.existing_request_id, "REQUEST_UPDATE")
        if exchange is not None:
            self._check_updates(update, exchange)
        if exchange is not None and exchange.owner is not None:
            exchange.owner.received(update)
        elif self.answers_updates():
            error = m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "the request is over", request_id=number)
            frame = encode(error, self.draft, sender=Sender.SERVER, answering=m.RequestUpdate)
            self.write(None, frame.encode(self.draft))

    def _check_updates(self, update: m.RequestUpdate, exchange: Exchange) -> None:
        check_update(update, type(exchange.request), self.draft, by_requester=not exchange.ours)

    def _reply_by_id(self, reply: m.Reply, layout: Layout) -> None:
        number = getattr(reply, "request_id", None)
        updated = self._updates.pop(number, None) if number is not None else None
        if updated is not None:
            self._check_answers(layout, reply, m.RequestUpdate, updated.request)
            updated.updates -= 1
            if updated.owner is not None and not updated.over:
                updated.owner.received(reply)
            return
        exchange = self._ours.get(number) if number is not None else None
        if exchange is None:
            if number is None or number % 2 == 0 or number >= self._our_next:
                raise ProtocolViolation(f"{layout.label} answers request {number}, which there never was")
            return
        self._check_answers(layout, reply, type(exchange.request), exchange.request)
        if exchange.answered:
            raise ProtocolViolation(f"{layout.label} is the second answer to request {number}")
        self._answered(exchange, reply)

    def _check_answers(
        self, layout: Layout, reply: m.Reply, asked: type[m.Message], request: m.Request
    ) -> None:
        if asked not in layout.answers:
            raise ProtocolViolation(f"{layout.label} cannot answer {asked.__name__}")
        check_answer(reply, layout, asked, request, self.draft, Sender.CLIENT)

    def _answered(self, exchange: Exchange, reply: m.Reply) -> None:
        exchange.answered = True
        if exchange.over:
            self.forget(exchange)  # cancelled before: nobody asks any more
            return
        if isinstance(reply, m.RequestError):
            exchange.finish()
        if exchange.owner is not None:
            exchange.owner.replied(reply)

    def _message_by_id(self, message: m.Message, layout: Layout) -> None:
        exchange = self._find(getattr(message, "request_id", None), layout.label)
        if exchange is None:
            return
        request = exchange.request
        match message:
            case m.Unsubscribe():
                fits = isinstance(request, m.Publish if exchange.ours else m.Subscribe)
            case m.FetchCancel():
                fits = isinstance(request, m.Fetch) and not exchange.ours
            case m.PublishDone():
                fits = isinstance(request, m.Subscribe if exchange.ours else m.Publish)
            case _:
                fits = False
        if not fits:
            raise ProtocolViolation(f"{layout.label} does not fit request {exchange.request_id}")
        if isinstance(message, m.PublishDone):
            self._publish_done(exchange, message)
        else:
            exchange.gone()

    def _withdraw(self, message: m.PublishNamespaceDone | m.UnsubscribeNamespace) -> None:
        """A message that names what it ends by id or, in older drafts, by namespace."""
        if isinstance(message, m.PublishNamespaceDone):
            kind: type[m.Request] = m.PublishNamespace
            namespace, number, field = message.track_namespace, message.request_id, "track_namespace"
        else:
            kind = m.SubscribeNamespace
            namespace, number, field = (
                message.track_namespace_prefix,
                message.request_id,
                "track_namespace_prefix",
            )
        if namespace is None:
            exchange = self._find(number, type(message).__name__)
            if exchange is not None and not isinstance(exchange.request, kind):
                raise ProtocolViolation(f"request {number} is no {kind.__name__}")
        else:
            exchange = self._by_namespace(self._theirs, kind, field, namespace)
        if exchange is not None:
            exchange.gone()

    def _revoke(self, message: m.PublishNamespaceCancel) -> None:
        if message.track_namespace is not None:
            exchange = self._by_namespace(
                self._ours, m.PublishNamespace, "track_namespace", message.track_namespace
            )
        else:
            exchange = self._find(message.request_id, "PUBLISH_NAMESPACE_CANCEL")
        if exchange is not None:
            exchange.gone()

    @staticmethod
    def _by_namespace(
        table: dict[int, Exchange], kind: type[m.Request], field: str, value: object
    ) -> Exchange | None:
        for exchange in table.values():
            if isinstance(exchange.request, kind) and getattr(exchange.request, field) == value:
                return None if exchange.over else exchange
        return None

    # ---- from 17, and where an older draft uses it: one stream per request ----

    def request_frame(self, stream: RequestStream, frame: Frame) -> None:
        """Take a frame of a request's own stream."""
        self._behaviour.framed(self, frame)
        message, layout = decode(frame, self.draft, Sender.CLIENT)
        logger.debug("%s < %s", self.label, message)
        exchange = stream.exchange
        if exchange is None:
            if not layout.stream & Stream.FIRST or not isinstance(message, m.Request):
                raise ProtocolViolation(f"a request stream that begins with {layout.label}")
            if not self._own_streams and not layout.own_stream:
                raise ProtocolViolation(f"{layout.label} belongs on the control stream")
            stream.exchange = self.new_request(message, stream.stream_id)
            return
        of_status = isinstance(exchange.request, m.TrackStatus)
        if of_status and isinstance(message, m.RequestUpdate) and self.draft.status_update_closes:
            raise ProtocolViolation(f"{layout.label} of TRACK_STATUS")
        if exchange.over and not (exchange.ours and not exchange.answered):
            return
        self._request_message(exchange, message, layout)

    def _request_message(self, exchange: Exchange, message: m.Message, layout: Layout) -> None:
        if exchange.ours and not exchange.answered and not isinstance(message, m.Goaway):
            if not isinstance(message, m.Reply):
                raise ProtocolViolation(f"{layout.label} before the answer to the request")
            self._check_answers(layout, message, type(exchange.request), exchange.request)
            self._answered(exchange, message)
            return
        match message:
            case m.Goaway() if self.draft.goaway_on_requests:
                if exchange.goaway:
                    raise ProtocolViolation("a second GOAWAY on a request stream")
                if message.new_session_uri:
                    raise ProtocolViolation("GOAWAY of a client with a New Session URI")
                exchange.goaway = True
            case m.RequestUpdate() if self._may_update(exchange):
                self._take_update(message)
                self._check_updates(message, exchange)
                if exchange.owner is not None:
                    exchange.owner.received(message)
            case m.Reply() if exchange.updates:
                self._check_answers(layout, message, m.RequestUpdate, exchange.request)
                exchange.updates -= 1
                if exchange.owner is not None:
                    exchange.owner.received(message)
            case m.PublishDone() if isinstance(exchange.request, m.Subscribe if exchange.ours else m.Publish):
                self._publish_done(exchange, message)
            case m.PublishStateNotify() if isinstance(
                exchange.request, m.Subscribe if exchange.ours else m.Publish
            ):
                if exchange.owner is not None:
                    exchange.owner.received(message)
            case _:
                raise ProtocolViolation(f"{layout.label} does not belong on this request's stream")

    @staticmethod
    def _may_update(exchange: Exchange) -> bool:
        if exchange.ours:
            return isinstance(exchange.request, m.Publish)
        return not isinstance(exchange.request, m.TrackStatus)

    @staticmethod
    def _publish_done(exchange: Exchange, message: m.PublishDone) -> None:
        owner = exchange.owner
        exchange.finish()
        if owner is not None:
            owner.received(message)

    def request_finished(self, exchange: Exchange) -> None:
        """The client ended its half of a request's stream with a FIN."""
        if exchange.over:
            return
        request = exchange.request
        if exchange.ours:
            # A subscriber that has accepted a PUBLISH may have nothing more to say; a publisher has.
            ends = not exchange.answered or isinstance(request, m.Subscribe)
        elif isinstance(request, m.SubscribeNamespace | m.SubscribeTracks):
            ends = self.draft.fin_ends_namespace_subscription
        else:
            # What stands only as long as its stream does; the others have asked all they want to ask.
            ends = isinstance(request, m.Publish) or (
                isinstance(request, m.PublishNamespace) and self.draft.fin_ends_namespace_subscription
            )
        if ends:
            exchange.gone()
            self.write(exchange.stream_id, b"", fin=True)

    def request_cancelled(self, exchange: Exchange) -> None:
        """The client reset or stopped a request's stream."""
        if not exchange.over:
            exchange.gone()
            if not self.closed and exchange.stream_id is not None:
                self.abort(exchange.stream_id, StreamError.CANCELLED)

    # ---- requests of ours ----

    def _numbered(self, request: m.Request, number: int) -> tuple[m.Request, bytes]:
        request = dataclasses.replace(request, request_id=number)  # type: ignore[call-arg]
        frame = encode(request, self.draft, sender=Sender.SERVER)
        return request, self._behaviour.outgoing_request(frame).encode(self.draft)

    def _send_request(self, exchange: Exchange) -> None:
        number = self._our_next
        self._our_next += 2
        exchange.request, data = self._numbered(exchange.request, number)
        self._ours[number] = exchange
        logger.debug("%s > %s", self.label, exchange.request)
        if self._own_streams:
            exchange.stream_id = self.transport.open_stream(unidirectional=False)
            self._streams[exchange.stream_id] = RequestStream(self, exchange.stream_id, exchange)
        self._behaviour.send_request(exchange, data)
