"""A MoQT session as a state machine: transport events in, session events out, no I/O and no clock.

Rules:

- `handle_event` never raises: what the peer does wrong closes the session with the draft's code, and
  the last event is then `SessionClosed` with the error inside.
- Two doors for sending. `request`, `reply`, `send` and `cancel` go through the tables and raise
  LocalProtocolError on what the draft does not allow: a slip in a test is our error, never the peer's.
  `send_frame` and `send_bytes` skip the tables and only the tables: the receiving half stays honest.
- What a request may be answered with is in `layouts.py` (`answers`), where it travels in
  `topology.py`; neither is restated here, and no draft is named here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.answers import check_answer
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import (
    DuplicateTrackAlias,
    InvalidAuthority,
    InvalidPath,
    InvalidRequestId,
    LocalProtocolError,
    NeedMoreData,
    ProtocolViolation,
    RemoteProtocolError,
    TooManyRequests,
    TooManyRequestUpdates,
    VersionNegotiationFailed,
)
from pytest_moqt.protocol.events import (
    Close,
    CreditReceived,
    DatagramReceived,
    DataStreamEnded,
    DataStreamOpened,
    DataStreamReset,
    DeviantRequest,
    Event,
    GoawayReceived,
    MessageReceived,
    ObjectReceived,
    ReplyReceived,
    RequestCancelled,
    RequestEnded,
    RequestReceived,
    RequestsBlockedReceived,
    RequestState,
    SessionClosed,
    SetupReceived,
)
from pytest_moqt.protocol.framing import Frame, decode, encode_by
from pytest_moqt.protocol.layouts import (
    Layout,
    Sender,
    Stream,
    layout_of_message,
    layout_of_type,
    layouts_of,
    reply_names,
)
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    ObjectTooLarge,
    Padding,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import Options, Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import (
    STREAM_ERRORS,
    PublishDoneStatus,
    RequestErrorCode,
    StreamError,
)
from pytest_moqt.protocol.topology import Arrival, stream_use
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
from pytest_moqt.protocol.values import GroupOrder, KeyValues

REQUEST_CREDIT = 100
"MAX_REQUEST_ID that we grant, and by which we raise it (14-16): fifty requests of the peer."
MAX_OPEN_REQUESTS = 4096
"""Requests of the peer that we keep; more is taken for an attack, EXCESSIVE_LOAD in the drafts' words.

Where the draft has credit, no more is granted: a peer that keeps to it can do no wrong.
"""

MessageT = TypeVar("MessageT", bound=m.Message)
Edit = Callable[[Frame], Frame]
"A change of a frame before it is sent."
Observer = Callable[[str, int | None, Frame, m.Message | None, Layout | None], None]
"Told of every control frame: `sent` or `received`, stream id, frame, and what it means if that is known."


class State(Enum):
    """Where a session stands."""

    SETUP = "waiting for the peer's SETUP"
    OPEN = "open"
    CLOSED = "closed"


# How to withdraw a request by message, where the draft has one; otherwise its stream is cancelled.
_WITHDRAWALS: dict[type[m.Message], Callable[[Any], m.Message]] = {
    m.Subscribe: lambda request: m.Unsubscribe(request.request_id),
    m.Fetch: lambda request: m.FetchCancel(request.request_id),
    m.PublishNamespace: lambda request: m.PublishNamespaceDone(request.track_namespace, request.request_id),
    m.SubscribeNamespace: lambda request: m.UnsubscribeNamespace(
        request.track_namespace_prefix, request.request_id
    ),
}
# The same for a request of the peer that we have accepted.
_REVOCATIONS: dict[type[m.Message], Callable[[Any], m.Message]] = {
    m.Subscribe: lambda request: m.PublishDone(
        PublishDoneStatus.SUBSCRIPTION_ENDED, request_id=request.request_id
    ),
    m.PublishNamespace: lambda request: m.PublishNamespaceCancel(
        RequestErrorCode.UNINTERESTED,
        track_namespace=request.track_namespace,
        request_id=request.request_id,
    ),
}
_WITHDRAWN_BY: dict[type[m.Message], type[m.Message]] = {
    m.Unsubscribe: m.Subscribe,
    m.FetchCancel: m.Fetch,
    m.PublishNamespaceDone: m.PublishNamespace,
    m.UnsubscribeNamespace: m.SubscribeNamespace,
    m.PublishNamespaceCancel: m.PublishNamespace,
}


class Session:
    """One end of a MoQT session.

    Args:
        draft: The draft negotiated.
        transport: Where bytes go.
        sender: Which end we are.
        options: Setup options to send beside MAX_REQUEST_ID, which is added where the draft has it.
        observer: Told of every control frame.
        pass_over_requests: Do not close the session on a malformed request of the peer, but report it
            as `DeviantRequest` and go on. A relay may make requests that a case is not about (one asks
            every client for its namespaces, with a prefix that draft 14 forbids), and a verdict on them
            is not that case's business.
    """

    def __init__(
        self,
        draft: Draft,
        transport: StreamTransport,
        *,
        sender: Sender = Sender.CLIENT,
        options: Options | None = None,
        observer: Observer | None = None,
        pass_over_requests: bool = False,
    ) -> None:
        self.draft = draft
        self.state = State.SETUP
        self.peer_setup: m.Setup | None = None
        self.closed: Close | None = None
        self.control_may_end = False
        "The peer is to end the session, its control stream perhaps before: that is no fault then."
        self.requests: dict[int, RequestState] = {}
        "Requests of both ends, by id: parity keeps them apart."
        self._transport = transport
        self._sender = sender
        self._peer = Sender.SERVER if sender is Sender.CLIENT else Sender.CLIENT
        self._options: Options = KeyValues() if options is None else options
        self._observer = observer
        self._pass_over_requests = pass_over_requests
        self._streams = stream_use(draft, transport, sender)
        self._next_id = 0 if sender is Sender.CLIENT else 1
        self._next_peer_id = 1 - self._next_id
        self._peer_requests = 0
        self._peer_credit = 0
        self._our_credit = 0
        self._ids_in_order = not any(row.own_stream for row in layouts_of(draft))
        self._data: dict[int, DataStreamDecoder] = {}
        self._undecided: dict[int, bytes] = {}
        self._refused: set[int] = set()
        self._goaways: set[int | None] = set()
        self._fill_orders: dict[int, Any] = {}
        "The order that FILL_PARAMETERS asked for, by the id of the message that held them."
        self._events: list[Event] = []

    # ---- what we say -------------------------------------------------------------------------------

    def start(self, edit: Edit | None = None) -> None:
        """Send our SETUP; `edit` changes its frame before."""
        pairs = list(self._options.pairs)
        if self.draft.request_id_credit and SetupOption.MAX_REQUEST_ID not in self._options:
            pairs.append((SetupOption.MAX_REQUEST_ID, REQUEST_CREDIT))
        options: Options = KeyValues(pairs)
        self._peer_credit = options.get(SetupOption.MAX_REQUEST_ID, 0)
        versions = () if self.draft.version_code is None else (self.draft.version_code,)
        setup = m.Setup(options, versions)
        layout = layout_of_message(self.draft, m.Setup, sender=self._sender)
        frame = encode_by(setup, layout, self.draft)
        if edit is not None:
            frame = edit(frame)
        self._streams.start(frame)
        self._observe("sent", None, frame, setup, layout)

    @property
    def may_request(self) -> bool:
        """Whether the peer's credit allows another request now."""
        return not self.draft.request_id_credit or self._next_id < self._our_credit

    @property
    def requests_left(self) -> int | None:
        """How many more requests the peer's ids allow now; None where the draft sets no limit."""
        if not self.draft.request_id_credit:
            return None
        return max(0, (self._our_credit - self._next_id + 1) // 2)

    @property
    def credit(self) -> int | None:
        """The request id that the peer does not allow any more; None where the draft sets no limit."""
        return self._our_credit if self.draft.request_id_credit else None

    def request(
        self, message: m.Message, *, number: int | None = None, edit: Edit | None = None
    ) -> RequestState:
        """Make a request.

        Args:
            message: The request.
            number: Its id, where it is not to be the next; later ones go on from there.
            edit: What is changed of its frame before it is sent: a request that is not as it should be, or
                has what the table does not know, and is answered like any other.

        Returns:
            Its state; `message` inside carries the request id.

        Raises:
            LocalProtocolError: The draft has no such request, or the peer's credit is used up.
        """
        layout = self._layout(message, sender=self._sender)
        if Stream.FIRST not in layout.stream:
            raise LocalProtocolError(f"{layout.name} opens no request in {self.draft.name}")
        self._check_open()
        if not self.may_request:
            raise LocalProtocolError(
                f"the peer allows request ids below {self._our_credit} only, the next is {self._next_id}"
            )
        if number is not None:
            self._next_id = number
        message = dataclasses.replace(message, request_id=self._next_id)  # type: ignore[call-arg]
        frame = encode_by(message, layout, self.draft)
        if edit is not None:
            frame = edit(frame)
        request = RequestState(self._take_id(), message, ours=True, awaiting=[type(message)])
        self.requests[request.id] = request
        self._note_fill(request.id, message)
        self._send(frame, layout, request, message)
        return request

    def update(self, request: RequestState, update: m.RequestUpdate) -> RequestState:
        """Change a request of ours.

        Returns:
            What the answer, if the draft gives one, will be reported for.
        """
        update = dataclasses.replace(update, request_id=self._next_id, existing_request_id=request.id)
        layout = self._layout(update)
        self._check_open()
        if not self.may_request:
            raise LocalProtocolError(f"the peer allows request ids below {self._our_credit} only")
        if isinstance(request.message, m.TrackStatus) and self.draft.status_update_closes:
            raise LocalProtocolError(f"{self.draft.name} has no update of TRACK_STATUS")
        check_update(
            update, type(request.message), self.draft, by_requester=request.ours, error=LocalProtocolError
        )
        limit = self._update_limit(self.peer_setup.options if self.peer_setup else KeyValues())
        if limit and request.awaiting.count(m.RequestUpdate) >= limit:
            raise LocalProtocolError(f"the peer allows {limit} updates of a request without an answer")
        frame = encode_by(update, layout, self.draft)
        number = self._take_id()
        answered = bool(reply_names(self.draft, m.RequestUpdate))
        pending = request
        if self.draft.replies_carry_request_id:
            pending = RequestState(number, update, ours=True, stream_id=request.stream_id, update_of=request)
        self.requests[number] = pending
        self._note_fill(number, update)
        if answered:
            pending.awaiting.append(m.RequestUpdate)
        # Draft 16 does not say where an update of a SUBSCRIBE_NAMESPACE goes; it names its request, as
        # what travels on the control stream does.
        self._send(frame, layout, None if self.draft.replies_carry_request_id else request, update)
        return pending

    def reply(self, request: RequestState, message: m.Message, *, edit: Edit | None = None) -> None:
        """Answer a request of the peer; `edit` as for `request`.

        Raises:
            LocalProtocolError: It is not the peer's, is answered, or may not be answered so.
        """
        if not request.owed:
            raise LocalProtocolError(f"request {request.id} awaits no answer of ours")
        asked = request.owed[0]
        layout = self._layout(message, answering=asked, sender=self._sender)
        if self.draft.replies_carry_request_id:
            message = dataclasses.replace(message, request_id=request.id)  # type: ignore[call-arg]
        frame = encode_by(message, layout, self.draft)
        if edit is not None:
            frame = edit(frame)
        request.owed.pop(0)
        request.replies.append(message)
        if isinstance(message, m.RequestError) and asked is not m.RequestUpdate:
            request.cancelled = True
        self._send(frame, layout, request, message)

    def send(self, request: RequestState | None, message: m.Message) -> None:
        """Say something later about a request of either end, or on the control stream (None).

        Raises:
            LocalProtocolError: The draft does not have it there.
        """
        layout = self._layout(message, sender=self._sender)
        if layout.stream & (Stream.FIRST | Stream.REPLY):
            raise LocalProtocolError(f"{layout.name} opens or answers a request: use request or reply")
        if isinstance(message, m.RequestUpdate):
            raise LocalProtocolError(f"{layout.name} takes a request id of its own: use update")
        stream_id = None if request is None else request.stream_id
        # GOAWAY on a request's stream is about that request without naming it (`message-goaway`).
        about = request if not isinstance(message, m.Goaway) else None
        if about is not None and hasattr(message, "request_id") and message.request_id is None:
            message = dataclasses.replace(message, request_id=about.id)  # type: ignore[call-arg]
        frame = encode_by(message, layout, self.draft)
        arrival = Arrival(frame, -1, stream_id is None, None if stream_id is None else request)
        if isinstance(message, m.Setup) or not self._streams.may_carry(arrival, layout):
            where = "on the control stream" if stream_id is None else "on the stream of a request"
            raise LocalProtocolError(f"{self.draft.name} has no {layout.name} {where} now")
        if isinstance(message, m.MaxRequestId):
            if message.maximum <= self._peer_credit:
                raise LocalProtocolError(f"{message.maximum} does not raise the {self._peer_credit} granted")
            self._peer_credit = message.maximum
        self._send(frame, layout, request, message)

    def cancel(self, request: RequestState, code: StreamError = StreamError.CANCELLED) -> None:
        """Withdraw a request in the draft's own way: by its message, or by cancelling its stream."""
        if request.stream_id is None:
            withdrawal = (_WITHDRAWALS if request.ours else _REVOCATIONS).get(type(request.message))
            if withdrawal is None:
                raise LocalProtocolError(
                    f"{self.draft.name} has no way to cancel {type(request.message).__name__}"
                )
            self.send(request, withdrawal(request.message))
            request.cancelled = True
            return
        number = STREAM_ERRORS.value(code, self.draft.number)
        if number is None:
            raise LocalProtocolError(f"{self.draft.name} has no stream error {code}")
        request.cancelled = True
        self._transport.reset(request.stream_id, number)
        self._transport.stop(request.stream_id, number)

    def finish(self, request: RequestState) -> None:
        """End our side of a request's own stream; on a shared stream there is nothing to end."""
        if request.stream_id is not None:
            self._transport.send(request.stream_id, b"", fin=True)

    def open_subgroup(self, header: SubgroupHeader) -> tuple[int, SubgroupEncoder]:
        """Open a subgroup stream.

        Returns:
            The stream's id and what encodes its objects for `send_bytes`.
        """
        encoder = SubgroupEncoder(header, self.draft)
        data = encoder.header()
        stream_id = self._transport.open_stream(unidirectional=True)
        self._transport.send(stream_id, data)
        return stream_id, encoder

    def open_fetch(
        self, header: FetchHeader, *, descending: bool = False
    ) -> tuple[int, Callable[[FetchObject | FetchRangeEnd], bytes]]:
        """Open a stream that answers a FETCH.

        Returns:
            The stream's id and what encodes its items.
        """
        encoder = FetchEncoder(self.draft, descending=descending)
        stream_id = self._transport.open_stream(unidirectional=True)
        self._transport.send(stream_id, encoder.header(header.request_id))
        return stream_id, encoder.item

    def refuse_stream(self, stream_id: int, code: int = 0) -> None:
        """Take no more of a data stream of the peer; what is still under way is dropped."""
        if self._data.pop(stream_id, None) is not None:
            self._refused.add(stream_id)
            self._transport.stop(stream_id, code)

    def stop_control(self, code: int = 0) -> None:
        """Ask the peer to abandon its control stream, which it does by QUIC's rules, at once, whoever it is.

        Raises:
            LocalProtocolError: It has not opened it yet.
        """
        stream_id = self._streams.peer_control_stream
        if stream_id is None:
            raise LocalProtocolError("the peer has no control stream yet")
        self._refused.add(stream_id)
        self._transport.stop(stream_id, code)

    def send_datagram(self, datagram: ObjectDatagram) -> None:
        """Send one object in a datagram."""
        self._transport.send_datagram(encode_datagram(datagram, self.draft))

    def frame(self, message: m.Message) -> Frame:
        """A frame for the raw door; a request is given the next id, which is then used up."""
        layout = self._layout(message, sender=self._sender)
        if Stream.FIRST in layout.stream and getattr(message, "request_id", 0) is None:
            message = dataclasses.replace(message, request_id=self._take_id())  # type: ignore[call-arg]
        return encode_by(message, layout, self.draft)

    def send_frame(self, frame: Frame, request: RequestState | None = None) -> int | None:
        """The raw door: send any frame, on a request's stream or where such a frame opens one.

        Returns:
            The stream it went to; None for the control stream of either topology.
        """
        layout = layout_of_type(self.draft, frame.type, self._sender)
        target = request
        if target is None and layout is not None and Stream.FIRST in layout.stream:
            target = RequestState(-1, m.Message(), ours=True)
        self._streams.send(frame, layout, target)
        stream_id = target.stream_id if target else None
        self._observe("sent", stream_id, frame, None, layout)
        return stream_id

    @property
    def control_stream(self) -> int:
        """The stream on which we send what belongs to no request.

        Raises:
            LocalProtocolError: There is none before `start`.
        """
        stream_id = self._streams.control_stream
        if stream_id is None:
            raise LocalProtocolError("the session has not begun")
        return stream_id

    def send_bytes(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """The raw door: bytes on any stream."""
        self._transport.send(stream_id, data, fin=fin)

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session; `SessionClosed` follows when the transport has done it."""
        self._transport.close(code, reason)

    def unfinished(self) -> dict[int, bytes]:
        """What came on each stream, by its id, that is no whole message, header or object yet."""
        unfinished = {**self._undecided, **dict(self._streams.unfinished())}
        unfinished.update((number, data.pending) for number, data in self._data.items() if data.pending)
        return unfinished

    # ---- what the peer says ------------------------------------------------------------------------

    def handle_event(self, event: TransportEvent) -> list[Event]:
        """Take one event of the transport.

        Returns:
            What it means, in order; nothing after `SessionClosed`.
        """
        if self.closed is not None:
            return []
        self._events = []
        try:
            if isinstance(event, StreamData):
                self._receive_data(event)
            elif isinstance(event, StreamReset):
                self._receive_reset(event.stream_id, event.code, "reset")
            elif isinstance(event, StopSending):
                self._receive_stop(event)
            elif isinstance(event, DatagramData):
                self._receive_datagram(event.data)
            else:
                self._receive_close(event)
        except RemoteProtocolError as error:
            self._fail(error)
        events, self._events = self._events, []
        return events

    def _fail(self, error: RemoteProtocolError) -> None:
        self._transport.close(error.code, str(error)[:200])
        self._end(Close(error.code, by_peer=False, reason=str(error), error=error))

    def _end(self, close: Close) -> None:
        self.closed = close
        self.state = State.CLOSED
        self._events.append(SessionClosed(close))

    def _receive_close(self, event: TransportClosed) -> None:
        self._end(Close(event.code, event.by_peer, event.reason, event.layer, ending=event.ending))

    def _receive_data(self, event: StreamData) -> None:
        stream_id = event.stream_id
        if stream_id in self._data:
            self._receive_objects(event)
            return
        if stream_id in self._refused:
            # What was under way when we stopped the stream, the middle of an object.
            return
        if stream_id in self._undecided:
            event = StreamData(stream_id, self._undecided.pop(stream_id) + event.data, event.fin)
        if is_unidirectional(stream_id) and opened_by_client(stream_id) == (self._sender is Sender.CLIENT):
            return
        is_data = self._streams.is_data(event)
        if is_data is None:
            if event.fin:
                raise ProtocolViolation(f"stream {stream_id} ends before its type").marked("data", event.data)
            self._undecided[stream_id] = event.data
        elif is_data:
            self._data[stream_id] = DataStreamDecoder(self.draft, descending=self._is_descending)
            self._receive_objects(event)
        else:
            if event.fin and self.control_may_end and self._streams.is_control(stream_id):
                event = dataclasses.replace(event, fin=False)
            for arrival in self._streams.receive(event):
                try:
                    self._receive_frame(arrival)
                except RemoteProtocolError as error:
                    error.octets = error.octets or arrival.frame.encode(self.draft)
                    raise
            if event.fin:
                self._receive_fin(stream_id)

    def _receive_fin(self, stream_id: int) -> None:
        request = self._streams.requests.get(stream_id)
        if request is None or request.ended:
            return
        request.ended = True
        by_namespace = isinstance(request.message, m.SubscribeNamespace | m.SubscribeTracks)
        if by_namespace and not request.ours and self.draft.fin_ends_namespace_subscription:
            request.cancelled = True
            self._events.append(RequestCancelled(request))
        else:
            self._events.append(RequestEnded(request))

    def _receive_frame(self, arrival: Arrival) -> None:
        try:
            message, layout = decode(arrival.frame, self.draft, self._peer)
        except RemoteProtocolError as error:
            known = layout_of_type(self.draft, arrival.frame.type, self._peer)
            self._observe("received", arrival.stream_id, arrival.frame, None, known)
            octets = arrival.frame.encode(self.draft)
            error.marked("malformed", octets)
            if known is None:
                error.offset = 0
            elif error.offset is not None:
                error.offset += len(octets) - len(arrival.frame.body)
            if known is None or not self._may_pass_over(known, arrival):
                raise
            self._pass_over(error, known, arrival)
            return
        self._observe("received", arrival.stream_id, arrival.frame, message, layout)
        if arrival.on_control and self.peer_setup is None and not isinstance(message, m.Setup):
            raise ProtocolViolation(f"{layout.name} came before SETUP on the control stream")
        if not self._streams.may_carry(arrival, layout):
            where = "the control stream" if arrival.on_control else f"stream {arrival.stream_id}"
            raise ProtocolViolation(f"{layout.name} may not come on {where}")
        if isinstance(message, m.Setup):
            self._receive_setup(message)
        elif isinstance(message, m.Goaway):
            self._receive_goaway(message, arrival)
        elif isinstance(message, m.MaxRequestId):
            self._receive_credit(message)
        elif isinstance(message, m.RequestsBlocked):
            self._events.append(RequestsBlockedReceived(message.maximum))
        elif isinstance(message, m.Reply):
            self._receive_reply(message, layout, arrival)
        elif isinstance(message, m.RequestUpdate):
            self._receive_update(message, arrival)
        elif Stream.FIRST in layout.stream:
            self._receive_request(message, arrival)
        else:
            self._receive_later(message, layout, arrival)

    def _may_pass_over(self, layout: Layout, arrival: Arrival) -> bool:
        if not self._pass_over_requests or Stream.FIRST not in layout.stream:
            return False
        return self._streams.may_carry(arrival, layout) and (
            self.peer_setup is not None or not arrival.on_control
        )

    def _pass_over(self, error: RemoteProtocolError, layout: Layout, arrival: Arrival) -> None:
        # Every request begins with its id, which later ones count on from.
        try:
            number, _ = self.draft.integers.decode(arrival.frame.body)
        except (NeedMoreData, RemoteProtocolError):
            number = -1
        if number >= self._next_peer_id and number % 2 == self._next_peer_id % 2:
            self._next_peer_id = number + 2
            self._replenish(number)
        self._events.append(DeviantRequest(layout.name, layout.message, error, arrival.stream_id))

    def _receive_setup(self, setup: m.Setup) -> None:
        if self.peer_setup is not None:
            raise ProtocolViolation("a second SETUP")
        if self._peer is Sender.SERVER:
            if SetupOption.PATH in setup.options:
                raise InvalidPath("a server sent the setup option PATH")
            if SetupOption.AUTHORITY in setup.options and not self.draft.authority_is_implementation:
                raise InvalidAuthority("a server sent the setup option AUTHORITY")
        if self.draft.version_code is not None and self.draft.version_code not in setup.versions:
            offered = ", ".join(f"{version:#x}" for version in setup.versions)
            raise VersionNegotiationFailed(
                f"version {offered or 'none'} in SETUP, {self.draft.version_code:#x} is spoken here"
            )
        self._our_credit = setup.options.get(SetupOption.MAX_REQUEST_ID, 0)
        self.peer_setup = setup
        self.state = State.OPEN
        self._events.append(SetupReceived(setup))

    def _receive_goaway(self, goaway: m.Goaway, arrival: Arrival) -> None:
        if arrival.stream_id in self._goaways:
            raise ProtocolViolation("a second GOAWAY")
        if goaway.new_session_uri and self._peer is Sender.CLIENT:
            raise ProtocolViolation("a client's GOAWAY with a URI")
        if goaway.request_id is not None:
            if not arrival.on_control:
                # "Present only when sent on the control stream" (`message-goaway`).
                raise ProtocolViolation("GOAWAY on a request's stream with a Request ID")
            if goaway.request_id % 2 != (self._sender is Sender.SERVER):
                raise InvalidRequestId(
                    f"GOAWAY names request {goaway.request_id}, which is none of the {self._sender.value}'s"
                )
        self._goaways.add(arrival.stream_id)
        self._events.append(GoawayReceived(goaway, arrival.request))

    def _receive_credit(self, message: m.MaxRequestId) -> None:
        if message.maximum <= self._our_credit:
            raise ProtocolViolation(
                f"MAX_REQUEST_ID {message.maximum} does not raise the {self._our_credit} granted before"
            )
        self._our_credit = message.maximum
        self._events.append(CreditReceived(message.maximum))

    def _receive_request(self, message: Any, arrival: Arrival) -> None:
        number: int = message.request_id
        self._check_peer_id(number)
        self._peer_requests += 1
        if self._peer_requests > MAX_OPEN_REQUESTS:
            raise TooManyRequests(f"more than {MAX_OPEN_REQUESTS} requests in one session")
        request = RequestState(
            number,
            message,
            ours=False,
            stream_id=None if arrival.on_control else arrival.stream_id,
            owed=[type(message)],
        )
        # Where one of ours stands, we have used an id of the peer's, as a case may to see what comes of it.
        self.requests.setdefault(number, request)
        if isinstance(message, m.Publish):
            self._claim_alias(request, message.track_alias)
        if not arrival.on_control:
            self._streams.requests[arrival.stream_id] = request
        self._events.append(RequestReceived(request, message))
        self._replenish(number)

    def _check_peer_id(self, number: int) -> None:
        if number % 2 != (self._peer is Sender.SERVER):
            raise InvalidRequestId(f"request id {number} is of the wrong parity for a {self._peer.value}")
        used = self.requests.get(number)
        if used is not None and not used.ours:
            raise InvalidRequestId(f"request id {number} was used before")
        if self._ids_in_order and number != self._next_peer_id:
            raise InvalidRequestId(f"request id {number} where {self._next_peer_id} was next")
        if self.draft.request_id_credit and number >= self._peer_credit:
            raise TooManyRequests(f"request id {number}, only ids below {self._peer_credit} were granted")
        self._next_peer_id = max(self._next_peer_id, number + 2)

    def _replenish(self, number: int) -> None:
        if not self.draft.request_id_credit or number * 2 < self._peer_credit:
            return
        maximum = min(self._peer_credit + REQUEST_CREDIT, 2 * MAX_OPEN_REQUESTS)
        if maximum > self._peer_credit:
            self.send(None, m.MaxRequestId(maximum))

    def _receive_reply(self, message: Any, layout: Layout, arrival: Arrival) -> None:
        request = arrival.request
        if self.draft.replies_carry_request_id:
            named = self.requests.get(message.request_id)
            if named is None or not named.ours:
                raise ProtocolViolation(
                    f"{layout.name} for request {message.request_id}, which we never made"
                )
            if request is not None and named is not request and named.update_of is not request:
                raise ProtocolViolation(
                    f"{layout.name} for request {message.request_id} on the stream of request {request.id}"
                )
            request = named
        assert request is not None, "may_carry lets no reply through without a request"
        if not request.awaiting:
            why = "was answered before" if request.ours else "is not ours"
            raise ProtocolViolation(f"{layout.name} for request {request.id}, which {why}")
        if arrival.on_control and request.stream_id is not None and request.update_of is None:
            # "MUST send ... on the response half of the stream" (16, `message-subscribe-ns`).
            raise ProtocolViolation(
                f"{layout.name} for request {request.id} on the control stream, not on the request's own"
            )
        asked = request.awaiting[0]
        if asked not in layout.answers:
            wanted = " or ".join(reply_names(self.draft, asked))
            name = layout_of_message(self.draft, asked).name
            raise ProtocolViolation(f"{layout.name} in answer to {name}, which takes {wanted}")
        check_answer(message, layout, asked, request.message, self.draft, self._peer)
        if isinstance(message, m.SubscribeOk):
            self._claim_alias(request, message.track_alias)
        request.awaiting.pop(0)
        request.replies.append(message)
        if isinstance(message, m.RequestError) and asked is not m.RequestUpdate:
            request.cancelled = True
        self._events.append(ReplyReceived(request, message))

    def _receive_update(self, message: m.RequestUpdate, arrival: Arrival) -> None:
        number = message.request_id
        assert number is not None, "every draft writes it"
        self._check_peer_id(number)
        target = arrival.request
        if self.draft.replies_carry_request_id:
            target = self.requests.get(message.existing_request_id or 0)
            if target is None:
                wrong = InvalidRequestId if self.draft.unknown_update_is_invalid_id else ProtocolViolation
                raise wrong(f"an update of request {message.existing_request_id}, which is unknown")
        assert target is not None, "may_carry lets no update through without a request"
        if isinstance(target.message, m.TrackStatus) and self.draft.status_update_closes:
            raise ProtocolViolation(f"an update of request {target.id}, a TRACK_STATUS")
        if target.ours and not isinstance(target.message, m.Publish):
            # An update is the requester's, or the subscriber's of a PUBLISH (`message-request-update`).
            raise ProtocolViolation(f"an update of request {target.id}, which is ours")
        changed = target.update_of or target
        check_update(message, type(changed.message), self.draft, by_requester=not target.ours)
        pending = target
        if self.draft.replies_carry_request_id:
            pending = RequestState(number, message, ours=False, stream_id=target.stream_id, update_of=target)
        self.requests.setdefault(number, pending)
        limit = self._update_limit(self._options)
        if limit and pending.owed.count(m.RequestUpdate) >= limit:
            raise TooManyRequestUpdates(f"more than {limit} updates of request {target.id} without an answer")
        if reply_names(self.draft, m.RequestUpdate):
            pending.owed.append(m.RequestUpdate)
        self._events.append(MessageReceived(pending, message))
        self._replenish(number)

    def _receive_later(self, message: Any, layout: Layout, arrival: Arrival) -> None:
        request = arrival.request or self._named_by(message)
        if request is None:
            # "PUBLISH_DONE for a subscription that is gone" and its like: late, not wrong.
            self._events.append(MessageReceived(None, message))
            return
        if type(message) in _WITHDRAWN_BY:
            if not isinstance(request.message, _WITHDRAWN_BY[type(message)]):
                raise ProtocolViolation(f"{layout.name} for request {request.id}, which is no such request")
            if not request.cancelled:
                request.cancelled = True
                self._events.append(RequestCancelled(request))
            return
        by_namespace = isinstance(request.message, m.SubscribeNamespace | m.SubscribeTracks)
        if by_namespace and request.ours and not request.replies and self.draft.answer_opens_namespaces:
            # "any message other than a REQUEST_OK or a REQUEST_ERROR as the first message on the response
            # half of the stream" closes (`message-subscribe-ns`).
            raise ProtocolViolation(f"{layout.name} before the answer to request {request.id}")
        if isinstance(message, m.PublishStateNotify):
            # "A publisher sends it on the stream of a subscription" (`message-publish-state-notify`).
            subscribed = m.Subscribe if request.ours else m.Publish
            if not isinstance(request.message, subscribed):
                raise ProtocolViolation(
                    f"{layout.name} about request {request.id}, no subscription that the sender publishes"
                )
        if isinstance(message, m.PublishDone) and request.update_of is None:
            request.ended = True
        if isinstance(message, m.Namespace):
            request.announced.add(message.track_namespace_suffix)
        elif isinstance(message, m.NamespaceDone):
            if message.track_namespace_suffix not in request.announced:
                raise ProtocolViolation(
                    f"{layout.name} for {message.track_namespace_suffix!r}, of which no NAMESPACE came"
                )
            request.announced.remove(message.track_namespace_suffix)
        self._events.append(MessageReceived(request, message))

    def _claim_alias(self, request: RequestState, alias: int) -> None:
        """Note what the peer calls a track; another live track of that name ends the session."""
        message: Any = request.message
        for other in self.requests.values():
            if other.track_alias != alias or other.cancelled or other.ended or other is request:
                continue
            theirs: Any = other.message
            if (theirs.track_namespace, theirs.track_name) != (message.track_namespace, message.track_name):
                raise DuplicateTrackAlias(
                    f"track alias {alias} for request {request.id}, although request {other.id} has it"
                )
        request.track_alias = alias

    def _named_by(self, message: Any) -> RequestState | None:
        number = getattr(message, "request_id", None)
        if number is not None:
            return self.requests.get(number)
        for name, kind in (
            ("track_namespace", m.PublishNamespace),
            ("track_namespace_prefix", m.SubscribeNamespace),
        ):
            value = getattr(message, name, None)
            if value is not None:
                for request in reversed(self.requests.values()):
                    asked = request.message
                    if isinstance(asked, kind) and getattr(asked, name) == value and not request.cancelled:
                        return request
        return None

    def _receive_reset(self, stream_id: int, code: int | None, how: str) -> None:
        if stream_id in self._refused:
            return
        if self._streams.is_control(stream_id):
            if self.control_may_end:
                return
            raise ProtocolViolation(f"the control stream was {how} with code {code}")
        self._undecided.pop(stream_id, None)
        decoder = self._data.pop(stream_id, None)
        if decoder is not None or (is_unidirectional(stream_id) and how == "reset"):
            header = None if decoder is None else decoder.header
            self._events.append(DataStreamReset(stream_id, header, code))
            return
        request = self._streams.requests.get(stream_id)
        if request is not None and not request.cancelled:
            request.cancelled = True
            self._events.append(RequestCancelled(request, code))

    def _receive_stop(self, event: StopSending) -> None:
        if is_unidirectional(event.stream_id) and not self._streams.is_control(event.stream_id):
            # A subscriber may refuse one subgroup; that is between its stream and the transport.
            return
        self._receive_reset(event.stream_id, event.code, "stopped")

    def _receive_datagram(self, data: bytes) -> None:
        try:
            datagram = decode_datagram(data, self.draft)
        except RemoteProtocolError as error:
            raise error.marked("data", data, "datagram") from None
        if isinstance(datagram, ObjectDatagram):
            self._events.append(DatagramReceived(datagram))

    def _receive_objects(self, event: StreamData) -> None:
        stream_id = event.stream_id
        decoder = self._data[stream_id]
        too_large = False
        try:
            decoder.feed(event.data, event.fin)
        except ObjectTooLarge:
            too_large = True
        except RemoteProtocolError as error:
            kind = "fetch" if isinstance(decoder.header, FetchHeader) else "subgroup"
            octets = decoder.beginning
            if decoder.consumed + len(decoder.pending) > len(octets):
                # Too long: the header, and what cannot be understood.
                octets = decoder.head + decoder.pending
                error.left_out = decoder.consumed - len(decoder.head)
                if error.offset is not None:
                    error.offset -= error.left_out
            raise error.marked("data", octets, kind) from None
        finally:
            # Before an error too: objects that came whole came, however the stream goes on.
            self._report_items(stream_id, decoder)
        if too_large:
            self.refuse_stream(stream_id)
            self._events.append(DataStreamReset(stream_id, decoder.header, None))
            return
        if event.fin:
            del self._data[stream_id]
            if decoder.header is not None and not isinstance(decoder.header, Padding):
                self._events.append(DataStreamEnded(stream_id, decoder.header))

    def octets_of(self, track_alias: int) -> int:
        """Bytes that came so far of a track's subgroup streams that have not ended, with their headers."""
        return sum(
            decoder.received
            for decoder in self._data.values()
            if isinstance(decoder.header, SubgroupHeader) and decoder.header.track_alias == track_alias
        )

    def _report_items(self, stream_id: int, decoder: DataStreamDecoder) -> None:
        for item in decoder.completed:
            if isinstance(item, (StreamObject, FetchObject, FetchRangeEnd)):
                assert decoder.header is not None, "objects follow a header"
                self._events.append(ObjectReceived(stream_id, decoder.header, item))
            elif isinstance(item, SubgroupHeader | FetchHeader):
                self._events.append(DataStreamOpened(stream_id, item))

    def _note_fill(self, number: int, message: Any) -> None:
        """Keep what order a fill was asked for in; only the message that asks says so."""
        fill = message.parameters.get(Parameter.FILL_PARAMETERS)
        if fill is not None and Parameter.GROUP_ORDER in fill:
            self._fill_orders[number] = fill[Parameter.GROUP_ORDER]

    def _is_descending(self, request_id: int) -> bool:
        """Whether the groups of a fetch stream descend.

        A fill's do as FILL_PARAMETERS says, else as the subscription does (`fill-parameters`), else as the
        publisher prefers, as far as that is known by now; a FETCH that does not say is ascending.
        """
        request = self.requests.get(request_id)
        if request is None:
            return False
        asked: Any = request.message
        order = self._fill_orders.get(request_id, asked.parameters.get(Parameter.GROUP_ORDER))
        if order is None and not isinstance(asked, m.Fetch):
            for message in (asked, *request.replies):
                properties = getattr(message, "track_properties", {})
                order = properties.get(Property.DEFAULT_PUBLISHER_GROUP_ORDER, order)
        return bool(order == GroupOrder.DESCENDING)

    def _update_limit(self, options: Options) -> int:
        """What MAX_REQUEST_UPDATES among `options` allows; 0: no limit."""
        limit: int = options.get(SetupOption.MAX_REQUEST_UPDATES, 0)
        return limit if self.draft.request_update_limit else 0

    # ---- small things ------------------------------------------------------------------------------

    def _layout(
        self, message: m.Message, *, answering: type[m.Message] | None = None, sender: Sender | None = None
    ) -> Layout:
        return layout_of_message(self.draft, type(message), answering=answering, sender=sender)

    def _check_open(self) -> None:
        if self.state is State.CLOSED:
            raise LocalProtocolError("the session is closed")

    def _take_id(self) -> int:
        number = self._next_id
        self._next_id += 2
        return number

    def _send(self, frame: Frame, layout: Layout, request: RequestState | None, message: m.Message) -> None:
        self._streams.send(frame, layout, request)
        self._observe("sent", request.stream_id if request else None, frame, message, layout)

    def _observe(
        self,
        direction: str,
        stream_id: int | None,
        frame: Frame,
        message: m.Message | None,
        layout: Layout | None,
    ) -> None:
        if self._observer is not None:
            self._observer(direction, stream_id, frame, message, layout)
