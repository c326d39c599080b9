"""A session as a case sees it: messages out, messages in, each wait named and ended by the case's clock.

Rules:

- A message is its own handle: `open` gives it back with its request id, and `answer`, `cancel` and
  `reply` take it.
- Nothing here has a timeout of its own but connecting: a case's limit ends every wait, and `waiting`
  then says what for.
- What the relay did instead of what was awaited is a `CaseFailure` that names both.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pytest_moqt.client.dial import Asked, dial
from pytest_moqt.client.errors import ConnectError, printable, quoted
from pytest_moqt.client.failures import (
    CaseFailure,
    RequestAbandoned,
    SessionEnded,
    SetupError,
    UnexpectedReply,
)
from pytest_moqt.client.journal import Journal, WatchedTransport
from pytest_moqt.client.opening import USUAL, Opening
from pytest_moqt.client.quic import NO_VIABLE_PATH, ClientTransport
from pytest_moqt.client.raw import RawStream
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import Endpoint
from pytest_moqt.client.wording import describe_close, describe_error, describe_stream_error
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft, draft, draft_of_alpn, draft_of_wt_protocol
from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.events import (
    Close,
    DatagramReceived,
    DataStreamEnded,
    DataStreamReset,
    DeviantRequest,
    Event,
    MessageReceived,
    ObjectReceived,
    ReplyReceived,
    RequestCancelled,
    RequestEnded,
    RequestReceived,
    RequestState,
)
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import Sender, layout_of_message, layout_of_type, reply_names
from pytest_moqt.protocol.objects import (
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupHeader,
)
from pytest_moqt.protocol.parameters import Options, Parameters, SetupOption
from pytest_moqt.protocol.registries import REQUEST_ERRORS, StreamError
from pytest_moqt.protocol.session import Edit, Session
from pytest_moqt.protocol.transport import (
    Ending,
    StopSending,
    StreamReset,
    StreamTransport,
    TransportEvent,
)
from pytest_moqt.protocol.values import KeyValues

if TYPE_CHECKING:
    from pytest_moqt.client.connection import Connection, QuicOptions

IMPLEMENTATION = "pytest-moqt"
"What MOQT_IMPLEMENTATION says of us (`moqt-implementation`)."
MAX_HELD = 16384
"Objects, and datagrams, that are kept until a case takes them; 8 MB of the smallest."
MAX_HELD_OCTETS = 64 * 1024 * 1024
"Bytes of payload of those objects. A stream that brings more is refused."
MAX_DEVIATIONS = 100
"Malformed requests of the relay that are kept for the report."
SETTLE_SECONDS = 1.0
"For the relay to acknowledge a QUIC PING; twice the longest probe timeout that loopback or a LAN ever needs."

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=m.Message)
ItemT = TypeVar("ItemT", bound="StreamObject | FetchObject | FetchRangeEnd")


class ClientSession:
    """One MoQT session with a relay; made by `connect`."""

    def __init__(
        self,
        transport: ClientTransport,
        row: Draft,
        role: str,
        options: Options,
        began: float,
        *,
        early: bool = False,
    ) -> None:
        self.role = role
        self.draft = row
        self.journal = Journal(row, began)
        self.waiting: list[str] = []
        "What is awaited right now, for the report of a case whose time is up."
        self.on_first_request: Callable[[], None] | None = None
        "Called once, when our first request has been sent."
        self.close_awaited = False
        "The case waited for the session's end, so that it is no fault."
        self.datagrams: list[ObjectDatagram] = []
        "Datagrams received and not taken yet."
        self.remarks: list[str] = []
        "How the session came about, where that is worth a line in the report."
        self.deviations: list[DeviantRequest] = []
        "Requests of the relay that the draft forbids and no case waited for."
        self._transport = transport
        self._watched = WatchedTransport(transport, self.journal)
        self._session = Session(
            row, self._watched, options=options, observer=self.journal.frame, pass_over_requests=True
        )
        self.journal.unfinished = self._session.unfinished
        if not early:
            chosen = f", protocol {printable(transport.protocol)}" if transport.protocol else ""
            self.journal.event(f"connected: {transport.name}, ALPN {printable(transport.alpn)}{chosen}")
        else:
            self.journal.event(f"not connected yet: {row.name} goes on from a session ticket")
        self._inbox: list[RequestState] = []
        self._later: list[MessageReceived] = []
        self._objects: deque[ObjectReceived | DataStreamEnded | DataStreamReset] = deque()
        self._held_octets = 0
        self._waiters: list[tuple[asyncio.Future[Any], Callable[[], Any], str]] = []
        self._waking = False
        self._heard = 0
        "Events of the transport so far."
        self._given_up_with: dict[int, StreamReset | StopSending] = {}
        "By stream, how the relay abandoned the request that it is of."
        self._sent_at: dict[int, float] = {}
        self._settled_at: dict[int, float] = {}
        self._taken: set[int] = set()
        self._initiatives = 0

    # ---- what it is --------------------------------------------------------------------------------

    @property
    def peer_setup(self) -> m.Setup | None:
        """The relay's SETUP."""
        return self._session.peer_setup

    @property
    def closed(self) -> Close | None:
        """How the session ended; None while it stands."""
        return self._session.closed

    @property
    def transport(self) -> str:
        """`quic` or `webtransport`."""
        return self._transport.name

    @property
    def alpn(self) -> str:
        """The ALPN negotiated."""
        return self._transport.alpn

    @property
    def protocol(self) -> str | None:
        """The WebTransport sub-protocol that the relay chose; None over raw QUIC, or when it chose none."""
        return self._transport.protocol

    @property
    def connection_id(self) -> str:
        """The client's Initial Destination Connection ID, lower-case hex: what qlog files are named by."""
        return self._transport.connection_id

    @property
    def connection(self) -> Connection:
        """The QUIC connection beneath it.

        Raises:
            RuntimeError: Nobody asked for it when the session was dialled.
        """
        if self._transport.connection is None:
            raise RuntimeError("nothing was kept of this connection: dial with quic=QuicOptions()")
        return self._transport.connection

    @property
    def requests_left(self) -> int:
        """How many more requests the relay lets us make by now, by ids or by streams."""
        left = self._session.requests_left
        return self._transport.stream_credit(unidirectional=False) if left is None else left

    def facts(self) -> dict[str, str]:
        """The session in a report's words (the interop runner's `sessions` map)."""
        return _facts(self._transport, self.draft)

    # ---- requests of ours --------------------------------------------------------------------------

    async def open(
        self, message: MessageT, *, number: int | None = None, edit: Edit | None = None
    ) -> MessageT:
        """Send a request, waiting for the relay's credit where the draft has it.

        Args:
            message: The request.
            number: Its request id, where it is not to be the next.
            edit: What is changed of its frame before it is sent.

        Returns:
            The message with its request id, to be given to `answer` and `cancel`.
        """
        session = self._session
        name = layout_of_message(self.draft, type(message)).name
        if not session.may_request:
            await self._wait(
                f"MAX_REQUEST_ID above {session.credit} to send {name}", lambda: session.may_request or None
            )
        self._check_open(f"{name} to be sent", f"before {name} was sent")
        request = session.request(message, number=number, edit=edit)
        self._sent_at[request.id] = time.monotonic()
        if self.on_first_request is not None:
            self.on_first_request()
            self.on_first_request = None
        return request.message  # type: ignore[return-value]

    async def answer(self, message: m.Message) -> m.Message:
        """The relay's answer to a request of ours, matched by request.

        Raises:
            CaseFailure: The relay abandoned the request, or the session ended.
        """
        request = self._state(message)
        names = " or ".join(reply_names(self.draft, type(request.message)))
        expected = f"{names} for request {request.id}"

        def answered() -> m.Message | None:
            if request.replies:
                self._taken.add(request.id)
                return request.replies[0]
            if request.cancelled or request.ended:
                raise self._given_up(request, expected)
            return None

        return await self._wait(expected, answered)

    @overload
    async def request(self, message: m.Message) -> m.Message: ...

    @overload
    async def request(self, message: m.Message, *, expect: type[MessageT]) -> MessageT: ...

    async def request(self, message: m.Message, *, expect: type[m.Message] | None = None) -> m.Message:
        """Send a request and wait for its answer.

        Args:
            message: The request.
            expect: The one answer that the case can go on with.

        Raises:
            UnexpectedReply: The answer is another one.
            CaseFailure: No answer will come.
        """
        return await self.expect(await self.open(message), expect or m.Message)

    async def expect(self, message: m.Message, kind: type[MessageT]) -> MessageT:
        """The answer to a request sent before, which must be of this kind.

        Raises:
            UnexpectedReply: It is of another kind.
            CaseFailure: No answer will come.
        """
        reply = await self.answer(message)
        if isinstance(reply, kind):
            return reply
        request = self._state(message)
        wanted = layout_of_message(self.draft, kind, answering=type(request.message)).name
        raise self._unexpected(request, reply, wanted)

    async def update(self, message: m.Message, parameters: Parameters) -> m.Message | None:
        """Change a request of ours, or a PUBLISH of the relay's, and wait for the answer.

        Returns:
            The answer; None where the draft gives none (14).

        Raises:
            CaseFailure: The relay abandoned the request, or the session ended.
        """
        request = self._state(message)
        name = layout_of_message(self.draft, m.RequestUpdate).name
        self._check_open(f"{name} to be sent", f"before {name} was sent")
        pending = self._session.update(request, m.RequestUpdate(parameters))
        replies = reply_names(self.draft, m.RequestUpdate)
        if not replies:
            return None
        # What was asked before is answered before.
        place = len(pending.replies) + len(pending.awaiting) - 1
        expected = f"{' or '.join(replies)} for the update of request {request.id}"

        def answered() -> m.Message | None:
            if len(pending.replies) > place:
                return pending.replies[place]
            if request.cancelled or request.ended:
                raise self._given_up(request, expected)
            return None

        return await self._wait(expected, answered)

    async def cancel(self, message: m.Message, code: StreamError = StreamError.CANCELLED) -> None:
        """Withdraw a request of either end in the draft's own way; `code` where that is a stream's end."""
        self._check_open("the request to be withdrawn", "before the request was withdrawn")
        self._session.cancel(self._state(message), code)

    async def finish(self, message: m.Message) -> None:
        """End our half of the stream of a request, where it has its own."""
        self._check_open("the stream to be ended", "before the stream was ended")
        self._session.finish(self._state(message))

    async def wait_withdrawn(self, message: m.Message) -> None:
        """Wait until the relay withdraws its request, or abandons ours, in the draft's own way."""
        request = self._state(message)
        name = layout_of_message(self.draft, type(request.message)).name
        what = f"the end of {name} (request {request.id}) by the relay"
        await self._wait(what, lambda: request.cancelled or None, initiative=True)

    def is_withdrawn(self, message: m.Message) -> bool:
        """Whether the relay has withdrawn its request, or abandoned ours."""
        return self._state(message).cancelled

    async def wait_ended(self, message: m.Message) -> None:
        """Wait until the relay ends its half of a request's stream, or withdraws from it."""
        request = self._state(message)
        name = layout_of_message(self.draft, type(request.message)).name
        what = f"the end of the stream of {name} (request {request.id})"
        await self._wait(what, lambda: request.ended or request.cancelled or None, initiative=True)

    # ---- requests of the relay ---------------------------------------------------------------------

    async def receive(
        self, kind: type[MessageT], *, where: Callable[[MessageT], bool] | None = None
    ) -> MessageT:
        """The relay's next request of a kind, whatever else it asks; each is given once.

        Args:
            kind: The message's class.
            where: Which of them; the others stay for later.

        Raises:
            CaseFailure: One of that kind came that the draft forbids, or the session ended.
        """
        what = f"{layout_of_message(self.draft, kind).name} from the relay"
        return await self._wait(what, lambda: self.take(kind, where=where), initiative=True)

    def take(
        self, kind: type[MessageT], *, where: Callable[[MessageT], bool] | None = None
    ) -> MessageT | None:
        """What `receive` would give at once; None: it would wait.

        Raises:
            CaseFailure: One of that kind came that the draft forbids.
        """
        for deviant in self.deviations:
            if deviant.kind is kind:
                # What fails the case is not beside it.
                self.deviations.remove(deviant)
                raise self._malformed(deviant, f"{layout_of_message(self.draft, kind).name} from the relay")
        for request in self._inbox:
            if isinstance(request.message, kind) and (where is None or where(request.message)):
                self._inbox.remove(request)
                return request.message
        return None

    async def reply(self, message: m.Message, answer: m.Message, *, edit: Edit | None = None) -> None:
        """Answer a request of the relay; `edit` changes the answer's frame before it is sent."""
        self._check_open("the answer to be sent", "before it was answered")
        self._session.reply(self._state(message), answer, edit=edit)

    async def send(self, message: m.Message | None, later: m.Message) -> None:
        """Say something later about a request of either end; None: on the control stream."""
        self._check_open("a message to be sent", "before a message was sent")
        self._session.send(None if message is None else self._state(message), later)

    async def receive_later(self, message: m.Message, kind: type[MessageT]) -> MessageT:
        """What the relay says later about a request: PublishDone, Namespace, RequestUpdate, ...

        An update has a request id of its own up to draft 16; it comes here under the request that it changes.
        """
        what = f"{layout_of_message(self.draft, kind).name} about request {self._state(message).id}"
        return await self._wait(what, lambda: self.take_later(message, kind), initiative=True)

    def take_later(self, message: m.Message, kind: type[MessageT]) -> MessageT | None:
        """What `receive_later` would give at once; None: it would wait."""
        request = self._state(message)
        for event in self._later:
            about = event.request is request or getattr(event.request, "update_of", None) is request
            if about and isinstance(event.message, kind):
                self._later.remove(event)
                return event.message
        return None

    async def receive_update(self, message: m.Message) -> m.RequestUpdate:
        """The relay's next update of a request of its own, or of a PUBLISH of ours, which is accepted."""
        update = await self.receive_later(message, m.RequestUpdate)
        if m.RequestUpdate in self._state(update).owed:
            await self.reply(update, m.RequestOk())
        return update

    async def wait_for_more(self, what: str) -> None:
        """Wait until anything at all has come since this was called.

        For a case that looks for several things at once with `take`: to wait for each in a task of its own,
        and to cancel those that came second, would lose what they had taken already.

        Args:
            what: What is looked for, as a report says it.

        Raises:
            SessionEnded: The session is over, and nothing more comes.
        """
        heard = self._heard
        await self._wait(what, lambda: self._heard != heard or None, initiative=True)

    # ---- objects -----------------------------------------------------------------------------------

    def open_subgroup(self, header: SubgroupHeader) -> SubgroupStream:
        """Open a data stream of a track that the relay subscribed to."""
        self._check_open("a subgroup to be opened", "before a subgroup was opened")
        stream_id, encoder = self._session.open_subgroup(header)
        self.journal.wrote_header(stream_id, header)
        return SubgroupStream(self._watched, stream_id, encoder.object, self.journal)

    def open_fetch(self, header: FetchHeader, *, descending: bool = False) -> FetchStream:
        """Open the data stream that answers a FETCH of the relay; `descending` is the order of its groups."""
        self._check_open("a fetch stream to be opened", "before a fetch stream was opened")
        stream_id, encode = self._session.open_fetch(header, descending=descending)
        self.journal.wrote_header(stream_id, header)
        return FetchStream(self._watched, stream_id, encode, self.journal)

    def send_datagram(self, datagram: ObjectDatagram) -> None:
        """Send an object in a datagram."""
        self._session.send_datagram(datagram)

    async def receive_object(self) -> ObjectReceived | DataStreamEnded | DataStreamReset:
        """The next object of any data stream, or the end of one."""
        return await self._wait("an object", self._next_object, initiative=True)

    def _next_object(self) -> ObjectReceived | DataStreamEnded | DataStreamReset | None:
        if not self._objects:
            return None
        event = self._objects.popleft()
        if isinstance(event, ObjectReceived):
            self._held_octets -= _octets(event)
        return event

    async def receive_octets(self, octets: int, track_alias: int) -> None:
        """Wait until so many bytes came of a track's subgroup streams that go on, whatever they complete.

        Raises:
            CaseFailure: The session ended.
        """
        what = f"{octets} bytes under track alias {track_alias}"
        await self._wait(what, lambda: self.octets_of(track_alias) >= octets or None, initiative=True)

    def octets_of(self, track_alias: int) -> int:
        """Bytes that came so far of a track's subgroup streams that go on, whatever they complete."""
        return self._session.octets_of(track_alias)

    async def receive_data(self) -> ObjectReceived | DataStreamEnded | DataStreamReset | ObjectDatagram:
        """The next of what `receive_object` and `receive_datagram` give, whichever is there first."""

        def arrived() -> ObjectReceived | DataStreamEnded | DataStreamReset | ObjectDatagram | None:
            return self._next_object() or (self.datagrams.pop(0) if self.datagrams else None)

        return await self._wait("an object", arrived, initiative=True)

    async def receive_datagram(self) -> ObjectDatagram:
        """The next object in a datagram."""
        return await self._wait(
            "a datagram", lambda: self.datagrams.pop(0) if self.datagrams else None, initiative=True
        )

    # ---- the raw door ------------------------------------------------------------------------------

    def frame(self, message: m.Message) -> Frame:
        """The frame of a message, to be edited and sent with `send_raw`."""
        return self._session.frame(message)

    async def send_raw(self, frame: Frame, about: m.Message | None = None) -> int | None:
        """Send any frame: on the stream of request `about`, or where such a frame belongs.

        Returns:
            Its stream; None for the control stream.
        """
        return self._session.send_frame(frame, None if about is None else self._state(about))

    @property
    def control_stream(self) -> RawStream:
        """The stream on which we send what belongs to no request."""
        return RawStream(self._watched, self._session.control_stream)

    def stream_of(self, message: m.Message) -> RawStream:
        """The stream on which a request is spoken of: its own, or the control stream."""
        stream_id = self._state(message).stream_id
        return self.control_stream if stream_id is None else RawStream(self._watched, stream_id)

    def open_stream(self, *, unidirectional: bool = True) -> RawStream:
        """Open a stream for whatever bytes."""
        self._check_open("a stream to be opened", "before a stream was opened")
        return RawStream(self._watched, self._watched.open_stream(unidirectional=unidirectional))

    def send_octets(self, data: bytes) -> None:
        """Send a datagram of whatever bytes."""
        self._watched.send_datagram(data)

    def stop_control(self, code: int = 0) -> None:
        """Ask the relay to abandon its control stream; the reset that follows ends nothing here."""
        self._session.stop_control(code)

    @contextlib.asynccontextmanager
    async def byte_by_byte(self, pause: float) -> AsyncIterator[None]:
        """Send what is said inside this when it is left, each byte in a packet of its own.

        Args:
            pause: Seconds between two of them.
        """
        held: list[tuple[int, bytes, bool]] = []
        self._watched.held = held
        try:
            yield
        finally:
            self._watched.held = None
        for stream_id, data, fin in held:
            # The end of a stream may come alone.
            for place in range(len(data) or fin):
                last = place + 1 >= len(data)
                self._transport.send(stream_id, data[place : place + 1], fin=fin and last)
                self._transport.driver.flush()
                await asyncio.sleep(pause)

    def stop_stream(self, stream_id: int, code: int = 0) -> None:
        """Ask the relay to abandon a data stream of its own; what still comes of it is dropped."""
        self._session.refuse_stream(stream_id, code)

    # ---- the end -----------------------------------------------------------------------------------

    async def wait_open(self) -> m.Setup:
        """The relay's SETUP, in a session that was made without waiting for it (`Opening.wait`).

        Raises:
            SessionEnded: The relay ends the session instead.
        """
        name = layout_of_message(self.draft, m.Setup, sender=Sender.SERVER).name
        return await self._wait(name, lambda: self.peer_setup)

    def bear_end(self) -> None:
        """Take the end of the relay's control stream for the beginning of the session's from now on.

        The streams of a session that ends are told in any order, the session's own end among them.
        """
        self._session.control_may_end = True

    async def rest(self, seconds: float) -> None:
        """Say nothing for so many seconds, but keep the connection by PINGs (RFC 9000 section 10.1.2).

        It is over before when the session is, which fails nothing here.
        """
        end = time.monotonic() + seconds
        self.bear_end()
        while self.closed is None and (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, self._transport.keep_alive_seconds)):
                    await self._transport.wait_closed()
            except TimeoutError:
                await self._transport.ping(SETTLE_SECONDS)

    async def wait_closed(self) -> Close:
        """How the relay ends the session."""
        self.close_awaited = True
        self.bear_end()
        while self.closed is None:
            await self._wait("the relay to close the session", lambda: self.closed)
        return self.closed

    async def leave(self, ending: Ending) -> None:
        """End the session in one of the ways that WebTransport has; the QUIC connection may stay open.

        Raises:
            ValueError: The transport has no such way.
        """
        self.close_awaited = True
        self._transport.leave(ending)
        await self._transport.wait_closed()

    async def connect_stream_ended(self, seconds: float) -> bool:
        """Whether the relay ends its half of the CONNECT stream in time, of a session over WebTransport.

        Raises:
            ValueError: It is not over WebTransport.
        """
        return await self._transport.wait_connect_ended(seconds)

    @property
    def left(self) -> bool:
        """Whether we ended it, and not because of anything the relay did."""
        close = self.closed
        return close is not None and not close.by_peer and close.layer == "session" and close.error is None

    def check_open(self) -> None:
        """Make sure that the session stands, and that nothing was received that the draft forbids.

        Raises:
            CaseFailure: It ended, with how and why.
        """
        if not self.close_awaited:
            self._check_open(
                f"the session of {self.role} to stay open until we close it", "before we closed it"
            )

    async def settle(self) -> None:
        """One round trip, so that what the relay sent before is here; then `check_open`.

        Raises:
            CaseFailure: The session ended, or the relay acknowledges nothing any more.
        """
        if self.close_awaited:
            return
        if self.closed is None and not await self._transport.ping(SETTLE_SECONDS) and self.closed is None:
            raise SessionEnded(
                f"the relay acknowledged no QUIC PING of the session of {self.role} "
                f"within {SETTLE_SECONDS * 1000:.0f} ms",
                cause="transport",
                expected="an acknowledgement (RFC 9000 section 13.2.1)",
                received="timeout",
            )
        self.check_open()

    async def close(self, code: int = 0, reason: str = "") -> None:
        """End the session and give everything back; repeating it does nothing."""
        self._session.close(code, reason)
        await self._transport.finish()

    # ---- inside ------------------------------------------------------------------------------------

    def begin(self, edit: Edit | None = None) -> None:
        """Send our SETUP; `edit` changes its frame before."""
        self._session.start(edit)

    def handle(self, event: TransportEvent) -> None:
        """Take an event of the transport."""
        self._heard += 1
        happenings = self._session.handle_event(event)
        self.journal.heard(event, happenings)
        for happening in happenings:
            self._note(happening, event)
        if isinstance(event, StreamReset) and event.stream_id in self._given_up_with:
            # Mostly both come, and this one says that no answer will.
            self._given_up_with[event.stream_id] = event
        if self._waiters and not self._waking:
            # Not now: the frames of one packet have no order among streams, and STOP_SENDING behind an answer
            # may be told before it. What came with it is looked at together.
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        """Look which waits are over."""
        self._waking = False
        for future, ready, what in list(self._waiters):
            if future.done():
                continue
            try:
                value = ready()
                if value is None and self.closed is not None:
                    raise self._ended(what)
            except CaseFailure as failure:
                future.set_exception(failure)
            else:
                if value is not None:
                    future.set_result(value)

    def _note(self, event: Event, told: TransportEvent) -> None:
        if isinstance(event, RequestReceived):
            self._inbox.append(event.request)
        elif isinstance(event, ReplyReceived | RequestEnded):
            self._settled_at.setdefault(event.request.id, time.monotonic())
        elif isinstance(event, DeviantRequest):
            if len(self.deviations) < MAX_DEVIATIONS:
                self.deviations.append(event)
        elif isinstance(event, MessageReceived):
            self._later.append(event)
        elif isinstance(event, ObjectReceived):
            self._hold(event)
        elif isinstance(event, (DataStreamEnded, DataStreamReset)):
            self._objects.append(event)
        elif isinstance(event, DatagramReceived):
            # "it MAY drop the datagram" (`datagrams`).
            if len(self.datagrams) < MAX_HELD:
                self.datagrams.append(event.datagram)
        elif isinstance(event, RequestCancelled):
            self._settled_at.setdefault(event.request.id, time.monotonic())
            if isinstance(told, StreamReset | StopSending):
                self._given_up_with[told.stream_id] = told

    def _hold(self, event: ObjectReceived) -> None:
        """Keep an object until a case takes it, within bounds: nobody may have asked for any."""
        self._objects.append(event)
        self._held_octets += _octets(event)
        if len(self._objects) > MAX_HELD or self._held_octets > MAX_HELD_OCTETS:
            self._session.refuse_stream(event.stream_id)

    async def _wait(self, what: str, ready: Callable[[], T | None], *, initiative: bool = False) -> T:
        value = ready()
        if value is not None:
            return value
        if self.closed is not None:
            raise self._ended(what)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiter = (future, ready, what)
        self._waiters.append(waiter)
        self.waiting.append(what)
        self._initiatives += initiative
        try:
            return await future
        finally:
            self._waiters.remove(waiter)
            self.waiting.remove(what)
            self._initiatives -= initiative

    async def wait_setup(self, timeout: float, began: float) -> None:
        """Wait for the relay's SETUP.

        Raises:
            SetupError: It did not come in time, or what came cannot be accepted.
        """
        name = layout_of_message(self.draft, m.Setup, sender=Sender.SERVER).name
        try:
            async with asyncio.timeout(timeout):
                await self._wait(name, lambda: self.peer_setup)
        except TimeoutError:
            elapsed = (time.monotonic() - began) * 1000
            raise SetupError(
                f"no {name} within {elapsed:.0f} ms of dialling, although the connection stands; "
                f"{self.journal.heard_instead()}",
                cause="setup",
                expected=name,
                received="timeout",
                spec="message-setup",
                facts=self.facts(),
                draft=self.draft.number,
                journal=self.journal,
            ) from None
        except SessionEnded as ended:
            kept = ("malformed", "transport", "webtransport", "internal")
            cause = ended.cause if ended.cause in kept else "setup"
            raise SetupError(
                str(ended),
                cause=cause,
                expected=name,
                received=ended.received,
                spec="message-setup",
                facts=self.facts(),
                error=ended.error,
                draft=self.draft.number,
                journal=self.journal,
            ) from None

    def _state(self, message: m.Message) -> RequestState:
        number = getattr(message, "request_id", None)
        request = self._session.requests.get(number) if number is not None else None
        if request is None:
            raise ValueError(f"{message!r} is no request of this session")
        return request

    def _check_open(self, expected: str, when: str) -> None:
        if self.closed is not None:
            raise self._ended(expected, when)

    def _ended(self, expected: str, when: str = "") -> SessionEnded:
        close = self.closed
        assert close is not None, "asked only then"
        if close.error is not None:
            return SessionEnded(
                f"the relay broke {self.draft.name}: {describe_error(close.error)}",
                cause=close.error.fault,
                expected=expected,
                received=printable(str(close.error)),
                spec=self._section_of(close.error),
                error=close.error,
                draft=self.draft.number,
            )
        how = describe_close(close, self.draft)
        cause = "transport"
        if self._transport.failure is not None:
            cause, message = "internal", f"an error of the test client, not of the relay: {close.reason}"
        elif close.by_peer or close.layer == "session":
            who = "the relay closed" if close.by_peer else "we closed"
            when = when or f"while we awaited {expected}"
            message = f"{who} the session of {self.role} with {how} {when}"
            cause = "closed"
        elif close.layer == "http3":
            cause, message = "webtransport", f"the relay broke HTTP/3 in the session of {self.role}: {how}"
        elif close.code in (0, NO_VIABLE_PATH):
            message = f"the connection of {self.role} was lost: {how}"
        else:
            message = f"the relay broke QUIC beneath the session of {self.role}: {how}"
        return SessionEnded(message, cause=cause, expected=expected, received=how)

    def _malformed(self, deviant: DeviantRequest, expected: str) -> CaseFailure:
        return CaseFailure(
            f"the relay broke {self.draft.name}: {describe_error(deviant.error)}",
            cause=deviant.error.fault,
            expected=expected,
            received=printable(str(deviant.error)),
            spec=self._section_of(deviant.error),
            error=deviant.error,
            draft=self.draft.number,
        )

    def _section_of(self, error: RemoteProtocolError) -> str | None:
        """The anchor of the section that bytes which cannot be read would have to follow."""
        if error.fault == "data":
            return {"datagram": "object-datagram", "fetch": "fetch-header"}.get(error.stream, "data-streams")
        if error.fault != "malformed" or not error.octets:
            return None
        try:
            number, _ = self.draft.integers.decode(error.octets)
        except (NeedMoreData, RemoteProtocolError):
            return "message"
        layout = layout_of_type(self.draft, number, Sender.SERVER)
        return "message" if layout is None else layout.anchor

    # ---- what a report asks ------------------------------------------------------------------------

    @property
    def only_listens(self) -> bool:
        """Whether all that is awaited right now is something that the relay begins."""
        return len(self.waiting) == self._initiatives

    def refusal(self) -> UnexpectedReply | None:
        """The first refusal of a request of ours that nobody has taken note of, if there is one."""
        for request in self._session.requests.values():
            unread = request.ours and request.replies and request.id not in self._taken
            if unread and isinstance(request.replies[0], m.RequestError):
                asked = type(request.message)
                refusal = layout_of_message(self.draft, m.RequestError, answering=asked).name
                wanted = [name for name in reply_names(self.draft, asked) if name != refusal]
                return self._unexpected(request, request.replies[0], " or ".join(wanted))
        return None

    def told(self, shown: str, code: object = None) -> UnexpectedReply | None:
        """The failure that an answer is which an assertion found wrong; None when it is none of ours.

        Args:
            shown: The answer as pytest shows it: its repr, perhaps with `...` for its middle.
            code: Of a refusal, if that is what was found wrong.
        """
        head, gap, tail = shown.partition("...")
        for request in reversed(self._session.requests.values()):
            for answer in request.replies if request.ours else ():
                whole = repr(answer)
                found = whole == shown or (gap and whole.startswith(head) and whole.endswith(tail))
                if found or (isinstance(answer, m.RequestError) and answer.code is code):
                    return self._unexpected(request, answer, "another answer")
        return None

    def _unexpected(self, request: RequestState, reply: m.Message, wanted: str) -> UnexpectedReply:
        asked = type(request.message)
        name = layout_of_message(self.draft, asked).name
        received = self.describe(reply, asked)
        refused = isinstance(reply, m.RequestError)
        verb = "refused" if refused else "answered"
        failure = UnexpectedReply(
            f"the relay {verb} {name} (request {request.id}) with {received}{self._after(request)}",
            cause="rejected" if refused else "wrong-message",
            expected=f"{wanted} for request {request.id}",
            received=received,
        )
        failure.code = reply.code if isinstance(reply, m.RequestError) else None
        return failure

    def _after(self, request: RequestState) -> str:
        """How long a request took to be settled: ` after 3 ms`."""
        sent, settled = self._sent_at.get(request.id), self._settled_at.get(request.id)
        return "" if sent is None or settled is None else f" after {(settled - sent) * 1000:.0f} ms"

    def notes(self) -> list[str]:
        """What the relay did wrong beside what the case is about, a sentence each."""
        return [
            f"beside this case, the relay broke {self.draft.name}: {describe_error(deviant.error)}"
            for deviant in self.deviations
        ]

    def _given_up(self, request: RequestState, expected: str) -> RequestAbandoned:
        name = f"{layout_of_message(self.draft, type(request.message)).name} (request {request.id})"
        after = self._after(request)
        if not request.cancelled:
            message = f"the relay finished the stream of {name}{after} without an answer"
            received = "the end of the request stream"
        elif told := self._given_up_with.get(-1 if request.stream_id is None else request.stream_id):
            code = describe_stream_error(told.code, told.wire_code, self.draft)
            if isinstance(told, StreamReset):
                message = f"the relay reset the stream of {name} with {code}{after} instead of answering"
                received = f"RESET_STREAM {code}"
            else:
                message = (
                    f"the relay wants no more of {name} (STOP_SENDING {code}){after} instead of answering"
                )
                received = f"STOP_SENDING {code}"
        else:
            message = f"the relay withdrew from {name} by message{after} instead of answering"
            received = "its withdrawal by message"
        return RequestAbandoned(
            message, cause="reset", expected=expected, received=received, spec="request-cancellation"
        )

    def describe_close(self, close: Close) -> str:
        """How a session ended, as a report prints it: `PROTOCOL_VIOLATION (0x3): "unexpected type"`."""
        return describe_close(close, self.draft)

    def describe(self, message: m.Message, answering: type[m.Message] | None = None) -> str:
        """A message as a report prints it, codes by name: `REQUEST_ERROR DOES_NOT_EXIST (0x10): "gone"`."""
        layout = layout_of_message(self.draft, type(message), answering=answering)
        if not isinstance(message, m.RequestError):
            return layout.name
        space = next((field.space for field in layout.fields if hasattr(field, "space")), "")
        code = REQUEST_ERRORS.describe(message.code, self.draft.number, space)
        return f"{layout.name} {code}{quoted(message.reason)}"


class DataStream(Generic[ItemT]):
    """A data stream of ours."""

    def __init__(
        self,
        transport: StreamTransport,
        stream_id: int,
        encode: Callable[[ItemT], bytes],
        journal: Journal,
    ) -> None:
        self.stream_id = stream_id
        self._transport = transport
        self._encode = encode
        self._journal = journal
        self._rest = b""
        "What is missing of an object that was begun."

    def write(self, item: ItemT, *, fin: bool = False, edit: Callable[[bytes], bytes] | None = None) -> None:
        """Send an object, with `fin` as the last; `edit` changes its bytes before they are sent."""
        self._check_whole()
        data = self._encode(item) if edit is None else edit(self._encode(item))
        self._journal.wrote_object(self.stream_id, item)
        self._transport.send(self.stream_id, data, fin=fin)

    def finish(self) -> None:
        """End the stream: all that belongs to it was sent."""
        self._check_whole()
        self._transport.send(self.stream_id, b"", fin=True)

    def reset(self, code: int) -> None:
        """Abandon the stream with a stream error's number."""
        self._transport.reset(self.stream_id, code)

    def _check_whole(self) -> None:
        if self._rest:
            raise LocalProtocolError(f"{len(self._rest)} bytes of the object before were not sent")


class SubgroupStream(DataStream[StreamObject]):
    """Objects of a subgroup."""

    def write_beginning(self, item: StreamObject, octets: int) -> None:
        """Send an object up to so many bytes of its payload; `write_rest` sends the others."""
        self._check_whole()
        data = self._encode(item)
        begun = len(data) - len(item.payload) + octets
        self._rest = data[begun:]
        self._journal.wrote_object(self.stream_id, item)
        self._transport.send(self.stream_id, data[:begun], fin=False)

    def write_rest(self, *, fin: bool = False) -> None:
        """Send what is missing of the object that was begun, with `fin` as the last."""
        rest, self._rest = self._rest, b""
        self._transport.send(self.stream_id, rest, fin=fin)


class FetchStream(DataStream["FetchObject | FetchRangeEnd"]):
    """Objects that were fetched, and what is said of those that are not there."""


def _octets(event: ObjectReceived) -> int:
    """Bytes of an object's payload; the end of a fetched range has none."""
    return len(getattr(event.object, "payload", b""))


def _facts(transport: ClientTransport, row: Draft | None) -> dict[str, str]:
    facts = {"transport": transport.name, "alpn": transport.alpn}
    if row is not None:
        facts = {"moqt_version": row.label, **facts}
    if transport.protocol is not None:
        facts["webtransport_protocol"] = transport.protocol
    facts["quic_initial_destination_connection_id"] = transport.connection_id
    return facts


def _options(endpoint: Endpoint, opening: Opening) -> Options:
    """Our setup options: PATH and AUTHORITY over raw QUIC only (`path`, `authority`)."""
    pairs: list[tuple[int, Any]] = []
    if endpoint.transport == "quic":
        pairs.append((SetupOption.PATH, endpoint.path.encode()))
        pairs.append((SetupOption.AUTHORITY, endpoint.authority.encode()))
    pairs.append((SetupOption.MOQT_IMPLEMENTATION, IMPLEMENTATION.encode()))
    others = {key for key, _ in opening.options}
    return KeyValues([*(pair for pair in pairs if pair[0] not in others), *opening.options])


async def connect(
    endpoint: Endpoint,
    *,
    offer: Sequence[int],
    tls: TlsOptions,
    role: str = "client",
    timeout: float,
    quic: QuicOptions | None = None,
    watch: Callable[[Connection], None] | None = None,
    opening: Opening = USUAL,
) -> ClientSession:
    """Dial a relay and exchange SETUP.

    Over WebTransport a draft without a sub-protocol (14) is offered by offering none, so it cannot be
    offered beside others. When it is among several, the others are offered first; if the relay then
    answers without choosing one, or refuses, a second connection offers none. That is said in the
    session's `remarks`, and if it fails too, the first failure is the one raised: a relay that forgets
    WT-Protocol is not taken for one that speaks draft 14 alone.

    Args:
        endpoint: Where it is.
        offer: Draft numbers in order of preference; one alone is never fallen back from.
        tls: How its certificate is checked.
        role: The session's name in reports.
        timeout: Seconds for everything.
        quic: What is asked of the QUIC connection. SETUP can be sent early only in a draft that is offered
            alone, over raw QUIC.
        watch: Told of each connection that is tried, where something is asked of it.
        opening: How the session begins.

    Raises:
        ConnectError: No connection, or none in a draft that was offered.
        SetupError: SETUP did not come, or cannot be accepted.
    """
    began = time.monotonic()
    if opening.path is not None:
        endpoint = dataclasses.replace(endpoint, path=opening.path)
    rows = [draft(number) for number in offer]
    unnamed = [row for row in rows if row.wt_protocol is None]
    alone = endpoint.transport != "webtransport" or not unnamed or unnamed == rows
    if alone or opening.names is not None:
        return await _connect(endpoint, rows, tls, role, timeout, began, quic, watch, opening)
    named = [row for row in rows if row.wt_protocol is not None]
    try:
        return await _connect(endpoint, named, tls, role, timeout, began, quic, watch, opening)
    except ConnectError as refusal:
        if refusal.kind != "webtransport":
            raise
        try:
            session = await _connect(endpoint, unnamed, tls, role, timeout, began, quic, watch, opening)
        except (ConnectError, CaseFailure):
            raise refusal from None
        session.remarks.append(
            f"{session.draft.name} was offered, by offering no sub-protocol, after this: {refusal}"
        )
        return session


async def _connect(
    endpoint: Endpoint,
    rows: list[Draft],
    tls: TlsOptions,
    role: str,
    timeout: float,
    began: float,
    quic: QuicOptions | None,
    watch: Callable[[Connection], None] | None,
    opening: Opening,
) -> ClientSession:
    """One connection, offering these drafts at once (see `connect`)."""
    protocols = [row.wt_protocol for row in rows if row.wt_protocol is not None]
    alpn = [row.alpn for row in rows]
    if opening.names is not None:
        protocols = alpn = list(opening.names)
    early: list[TransportEvent] = []
    sink: list[Callable[[TransportEvent], None]] = [early.append]
    begun: list[ClientSession] = []

    def begin(transport: ClientTransport) -> None:
        """Send SETUP with the first flight."""
        begun[:] = [ClientSession(transport, rows[0], role, _options(endpoint, opening), began, early=True)]
        begun[0].begin()

    asked = None
    if quic is not None:
        alone = len(rows) == 1 and endpoint.transport == "quic"
        first = begin if quic.early_setup and alone else None
        asked = Asked(quic, watch, first)
    transport = await dial(
        endpoint,
        alpn=alpn,
        protocols=protocols if endpoint.transport == "webtransport" else [],
        tls=tls,
        timeout=max(0.05, timeout - (time.monotonic() - began)),
        on_event=lambda event: sink[0](event),
        asked=asked,
    )
    try:
        row = rows[0] if opening.names is not None else _negotiated(transport, rows, protocols, began)
        if begun:
            session = begun[0]
        else:
            session = ClientSession(transport, row, role, _options(endpoint, opening), began)
            if opening.send:
                session.begin(opening.edit)
        for event in early:
            session.handle(event)
        sink[0] = session.handle
        if opening.wait:
            await session.wait_setup(max(0.0, timeout - (time.monotonic() - began)), began)
    except BaseException:
        transport.close()
        await transport.finish()
        raise
    return session


def _negotiated(transport: ClientTransport, rows: list[Draft], protocols: list[str], began: float) -> Draft:
    """The draft that the relay chose.

    Raises:
        ConnectError: None, or one that was not offered.
    """
    if transport.name == "quic":
        chosen = draft_of_alpn(transport.alpn)
        if chosen is not None and chosen in rows:
            return chosen
        offered = tuple(row.alpn for row in rows)
        reason = f"the relay chose the ALPN {printable(transport.alpn)!r}, offered were {', '.join(offered)}"
        kind: Any = "alpn"
    else:
        chosen = draft_of_wt_protocol(transport.protocol)
        offered = tuple(protocols)
        kind = "webtransport"
        if transport.protocol is None and protocols:
            # Going on in draft 14 here would judge a draft that nobody chose: clients that did so named
            # the wrong draft in their reports.
            reason = (
                f"the relay accepted the WebTransport session without a WT-Protocol header, although "
                f"{', '.join(offered)} was offered: it chose no draft"
            )
        elif chosen is not None and chosen in rows:
            return chosen
        else:
            wanted = ", ".join(offered) or "none"
            named = printable(transport.protocol or "")
            reason = f"the relay chose WT-Protocol {named!r}, offered was {wanted}"
    raise ConnectError(
        kind,
        reason,
        reason=reason,
        offered=offered,
        elapsed=time.monotonic() - began,
        connection_id=transport.connection_id,
    )
