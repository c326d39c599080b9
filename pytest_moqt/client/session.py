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
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from pytest_moqt.client.dial import dial
from pytest_moqt.client.errors import ConnectError, printable, quoted
from pytest_moqt.client.failures import (
    CaseFailure,
    RequestAbandoned,
    SessionEnded,
    SetupError,
    UnexpectedReply,
)
from pytest_moqt.client.journal import Journal
from pytest_moqt.client.quic import ClientTransport
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import Endpoint
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft, draft, draft_of_alpn, draft_of_wt_protocol
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.events import (
    Close,
    DatagramReceived,
    DataStreamEnded,
    DataStreamReset,
    DeviantRequest,
    Event,
    MessageReceived,
    ObjectReceived,
    RequestCancelled,
    RequestReceived,
    RequestState,
    SessionClosed,
)
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import Sender, layout_of_message, reply_names
from pytest_moqt.protocol.objects import ObjectDatagram, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import Options, SetupOption
from pytest_moqt.protocol.registries import REQUEST_ERRORS, STREAM_ERRORS, describe_session_error
from pytest_moqt.protocol.session import Session
from pytest_moqt.protocol.transport import TransportEvent
from pytest_moqt.protocol.values import KeyValues

IMPLEMENTATION = "pytest-moqt"
"What MOQT_IMPLEMENTATION says of us (`moqt-implementation`)."
SHOWN_OCTETS = 256
"Bytes of a message at fault that a sentence shows; they can be given to the `decode` command."
SETTLE_SECONDS = 1.0
"For the relay to acknowledge a QUIC PING; twice the longest probe timeout that loopback or a LAN ever needs."

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=m.Message)


class ClientSession:
    """One MoQT session with a relay; made by `connect`."""

    def __init__(
        self, transport: ClientTransport, row: Draft, role: str, options: Options, began: float
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
        self._session = Session(
            row, transport, options=options, observer=self.journal.frame, pass_over_requests=True
        )
        self._inbox: list[RequestState] = []
        self._later: list[MessageReceived] = []
        self._objects: list[ObjectReceived | DataStreamEnded | DataStreamReset] = []
        self._waiters: list[tuple[asyncio.Future[Any], Callable[[], Any], str]] = []
        self._abandoned_with: dict[int, int | None] = {}
        self._sent_at: dict[int, float] = {}

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

    def facts(self) -> dict[str, str]:
        """The session in a report's words (the interop runner's `sessions` map)."""
        return _facts(self._transport, self.draft)

    # ---- requests of ours --------------------------------------------------------------------------

    async def open(self, message: MessageT) -> MessageT:
        """Send a request, waiting for the relay's credit where the draft has it.

        Returns:
            The message with its request id, to be given to `answer` and `cancel`.
        """
        session = self._session
        name = layout_of_message(self.draft, type(message)).name
        if not session.may_request:
            await self._wait(
                f"MAX_REQUEST_ID above {session.credit} to send {name}", lambda: session.may_request or None
            )
        self._check_open(f"{name} to be sent")
        request = session.request(message)
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
                return request.replies[0]
            if request.cancelled or request.ended:
                raise self._abandoned(request, expected)
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
        asked = type(request.message)
        wanted = layout_of_message(self.draft, kind, answering=asked).name
        received = self.describe(reply, asked)
        name = layout_of_message(self.draft, asked).name
        elapsed = (time.monotonic() - self._sent_at[request.id]) * 1000
        refused = isinstance(reply, m.RequestError)
        verb = "refused" if refused else "answered"
        raise UnexpectedReply(
            f"the relay {verb} {name} (request {request.id}) with {received} after {elapsed:.0f} ms",
            cause="rejected" if refused else "wrong-message",
            expected=f"{wanted} for request {request.id}",
            received=received,
        )

    async def cancel(self, message: m.Message) -> None:
        """Withdraw a request of ours in the draft's own way."""
        self._check_open("the request to be withdrawn")
        self._session.cancel(self._state(message))

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
        name = layout_of_message(self.draft, kind).name

        def arrived() -> MessageT | None:
            for deviant in self.deviations:
                if deviant.kind is kind:
                    # What fails the case is not beside it.
                    self.deviations.remove(deviant)
                    raise self._malformed(deviant, f"{name} from the relay")
            for request in self._inbox:
                if isinstance(request.message, kind) and (where is None or where(request.message)):
                    self._inbox.remove(request)
                    return request.message
            return None

        return await self._wait(f"{name} from the relay", arrived)

    async def reply(self, message: m.Message, answer: m.Message) -> None:
        """Answer a request of the relay."""
        self._check_open("the answer to be sent")
        self._session.reply(self._state(message), answer)

    async def send(self, message: m.Message | None, later: m.Message) -> None:
        """Say something later about a request of either end; None: on the control stream."""
        self._check_open("a message to be sent")
        self._session.send(None if message is None else self._state(message), later)

    async def receive_later(self, message: m.Message, kind: type[MessageT]) -> MessageT:
        """What the relay says later about a request: PublishDone, Namespace, NamespaceDone, ..."""
        request = self._state(message)

        def arrived() -> MessageT | None:
            for event in self._later:
                if event.request is request and isinstance(event.message, kind):
                    self._later.remove(event)
                    return event.message
            return None

        name = layout_of_message(self.draft, kind).name
        return await self._wait(f"{name} about request {request.id}", arrived)

    # ---- objects -----------------------------------------------------------------------------------

    def open_subgroup(self, header: SubgroupHeader) -> SubgroupStream:
        """Open a data stream of a track that the relay subscribed to."""
        self._check_open("a subgroup to be opened")
        stream_id, encoder = self._session.open_subgroup(header)
        return SubgroupStream(self._transport, stream_id, encoder.object)

    def send_datagram(self, datagram: ObjectDatagram) -> None:
        """Send an object in a datagram."""
        self._session.send_datagram(datagram)

    async def receive_object(self) -> ObjectReceived | DataStreamEnded | DataStreamReset:
        """The next object of any data stream, or the end of one."""
        return await self._wait("an object", lambda: self._objects.pop(0) if self._objects else None)

    async def receive_datagram(self) -> ObjectDatagram:
        """The next object in a datagram."""
        return await self._wait("a datagram", lambda: self.datagrams.pop(0) if self.datagrams else None)

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

    # ---- the end -----------------------------------------------------------------------------------

    async def wait_closed(self) -> Close:
        """How the relay ends the session."""
        self.close_awaited = True
        while self.closed is None:
            await self._wait("the relay to close the session", lambda: self.closed)
        return self.closed

    def check_open(self) -> None:
        """Make sure that the session stands, and that nothing was received that the draft forbids.

        Raises:
            CaseFailure: It ended, with how and why.
        """
        if not self.close_awaited:
            self._check_open(f"the session of {self.role} to stay open until we close it")

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

    def begin(self) -> None:
        """Send our SETUP."""
        self._session.start()

    def handle(self, event: TransportEvent) -> None:
        """Take an event of the transport."""
        for happening in self._session.handle_event(event):
            self._note(happening)
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

    def _note(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._inbox.append(event.request)
        elif isinstance(event, DeviantRequest):
            self.deviations.append(event)
        elif isinstance(event, MessageReceived):
            self._later.append(event)
        elif isinstance(event, (ObjectReceived, DataStreamEnded, DataStreamReset)):
            self._objects.append(event)
        elif isinstance(event, DatagramReceived):
            self.datagrams.append(event.datagram)
        elif isinstance(event, RequestCancelled):
            self._abandoned_with[event.request.id] = event.code
            self.journal.event("received", f"cancellation with code {event.code}", event.request.stream_id)
        elif isinstance(event, SessionClosed):
            side = "received" if event.close.by_peer else "sent"
            self.journal.event(side, f"close: {describe_close(event.close)}")

    async def _wait(self, what: str, ready: Callable[[], T | None]) -> T:
        value = ready()
        if value is not None:
            return value
        if self.closed is not None:
            raise self._ended(what)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiter = (future, ready, what)
        self._waiters.append(waiter)
        self.waiting.append(what)
        try:
            return await future
        finally:
            self._waiters.remove(waiter)
            self.waiting.remove(what)

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
                f"no {name} within {elapsed:.0f} ms of dialling, although the connection stands",
                cause="setup",
                expected=name,
                received="timeout",
                spec="message-setup",
                facts=self.facts(),
            ) from None
        except SessionEnded as ended:
            cause = ended.cause if ended.cause == "malformed" else "setup"
            raise SetupError(
                str(ended),
                cause=cause,
                expected=name,
                received=ended.received,
                spec="message-setup",
                facts=self.facts(),
            ) from None

    def _state(self, message: m.Message) -> RequestState:
        number = getattr(message, "request_id", None)
        request = self._session.requests.get(number) if number is not None else None
        if request is None:
            raise ValueError(f"{message!r} is no request of this session")
        return request

    def _check_open(self, expected: str) -> None:
        if self.closed is not None:
            raise self._ended(expected)

    def _ended(self, expected: str) -> SessionEnded:
        close = self.closed
        assert close is not None, "asked only then"
        if close.error is not None:
            return SessionEnded(
                f"the relay broke {self.draft.name}: {describe_error(close.error)}",
                cause=close.error.fault,
                expected=expected,
                received=printable(str(close.error)),
            )
        how = describe_close(close)
        who = "the relay closed" if close.by_peer else "we closed"
        lost = not close.by_peer and close.layer != "session"
        return SessionEnded(
            f"the connection of {self.role} was lost: {how}"
            if lost
            else f"{who} the session of {self.role} with {how} while we awaited {expected}",
            cause="transport" if lost else "closed",
            expected=expected,
            received=how,
        )

    def _malformed(self, deviant: DeviantRequest, expected: str) -> CaseFailure:
        return CaseFailure(
            f"the relay broke {self.draft.name}: {describe_error(deviant.error)}",
            cause=deviant.error.fault,
            expected=expected,
            received=printable(str(deviant.error)),
        )

    def notes(self) -> list[str]:
        """What the relay did wrong beside what the case is about, a sentence each."""
        return [
            f"beside this case, the relay broke {self.draft.name}: {describe_error(deviant.error)}"
            for deviant in self.deviations
        ]

    def _abandoned(self, request: RequestState, expected: str) -> RequestAbandoned:
        name = layout_of_message(self.draft, type(request.message)).name
        if request.cancelled:
            how = "by message"
            if request.stream_id is not None:
                code = self._abandoned_with.get(request.id)
                how = f"with {describe_stream_error(code, self.draft)}"
            return RequestAbandoned(
                f"the relay cancelled {name} (request {request.id}) {how} instead of answering",
                cause="reset",
                expected=expected,
                received=f"cancellation {how}",
                spec="request-cancellation",
            )
        return RequestAbandoned(
            f"the relay finished the stream of {name} (request {request.id}) without an answer",
            cause="reset",
            expected=expected,
            received="the end of the request stream",
            spec="request-cancellation",
        )

    def describe(self, message: m.Message, answering: type[m.Message] | None = None) -> str:
        """A message as a report prints it, codes by name: `REQUEST_ERROR DOES_NOT_EXIST (0x10): "gone"`."""
        layout = layout_of_message(self.draft, type(message), answering=answering)
        if not isinstance(message, m.RequestError):
            return layout.name
        space = next((field.space for field in layout.fields if hasattr(field, "space")), "")
        code = REQUEST_ERRORS.describe(message.code, self.draft.number, space)
        return f"{layout.name} {code}{quoted(message.reason)}"


class SubgroupStream:
    """A data stream of ours."""

    def __init__(
        self, transport: ClientTransport, stream_id: int, encode: Callable[[StreamObject], bytes]
    ) -> None:
        self.stream_id = stream_id
        self._transport = transport
        self._encode = encode

    def write(self, item: StreamObject, *, fin: bool = False) -> None:
        """Send an object, with `fin` as the last."""
        self._transport.send(self.stream_id, self._encode(item), fin=fin)

    def finish(self) -> None:
        """End the stream: all objects of the subgroup were sent."""
        self._transport.send(self.stream_id, b"", fin=True)

    def reset(self, code: int) -> None:
        """Abandon the stream with a stream error's number."""
        self._transport.reset(self.stream_id, code)


def describe_close(close: Close) -> str:
    """A close as a report prints it: `PROTOCOL_VIOLATION (0x3): "unexpected stream type"`."""
    if close.layer == "session":
        code = describe_session_error(close.code)
    else:
        code = f"{close.layer} error {close.code:#x}"
    return f"{code}{quoted(close.reason)}"


def describe_error(error: RemoteProtocolError) -> str:
    """What the peer did, with the bytes: `2 bytes after the last field of SETUP, in 0102 at offset 1`."""
    cut = "..." if len(error.octets) > SHOWN_OCTETS else ""
    octets = f", in {error.octets[:SHOWN_OCTETS].hex()}{cut}" if error.octets else ""
    at = f" at offset {error.offset}" if error.offset is not None else ""
    return f"{printable(str(error))}{octets}{at}"


def describe_stream_error(code: int | None, row: Draft) -> str:
    """A reset's code as a report prints it."""
    if code is None:
        return "a code outside WebTransport's range"
    return STREAM_ERRORS.describe(STREAM_ERRORS.name(code, row.number), row.number)


def _facts(transport: ClientTransport, row: Draft | None) -> dict[str, str]:
    facts = {"transport": transport.name, "alpn": transport.alpn}
    if row is not None:
        facts = {"moqt_version": row.label, **facts}
    if transport.protocol is not None:
        facts["webtransport_protocol"] = transport.protocol
    facts["quic_initial_destination_connection_id"] = transport.connection_id
    return facts


def _options(endpoint: Endpoint) -> Options:
    """Our setup options: PATH and AUTHORITY over raw QUIC only (`path`, `authority`)."""
    pairs: list[tuple[int, Any]] = []
    if endpoint.transport == "quic":
        pairs.append((SetupOption.PATH, endpoint.path.encode()))
        pairs.append((SetupOption.AUTHORITY, endpoint.authority.encode()))
    pairs.append((SetupOption.MOQT_IMPLEMENTATION, IMPLEMENTATION.encode()))
    return KeyValues(pairs)


async def connect(
    endpoint: Endpoint,
    *,
    offer: Sequence[int],
    tls: TlsOptions,
    role: str = "client",
    timeout: float,
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

    Raises:
        ConnectError: No connection, or none in a draft that was offered.
        SetupError: SETUP did not come, or cannot be accepted.
    """
    began = time.monotonic()
    rows = [draft(number) for number in offer]
    unnamed = [row for row in rows if row.wt_protocol is None]
    if endpoint.transport != "webtransport" or not unnamed or unnamed == rows:
        return await _connect(endpoint, rows, tls, role, timeout, began)
    named = [row for row in rows if row.wt_protocol is not None]
    try:
        return await _connect(endpoint, named, tls, role, timeout, began)
    except ConnectError as refusal:
        if refusal.kind != "webtransport":
            raise
        try:
            session = await _connect(endpoint, unnamed, tls, role, timeout, began)
        except (ConnectError, CaseFailure):
            raise refusal from None
        session.remarks.append(
            f"{session.draft.name} was offered, by offering no sub-protocol, after this: {refusal}"
        )
        return session


async def _connect(
    endpoint: Endpoint, rows: list[Draft], tls: TlsOptions, role: str, timeout: float, began: float
) -> ClientSession:
    """One connection, offering these drafts at once (see `connect`)."""
    protocols = [row.wt_protocol for row in rows if row.wt_protocol is not None]
    early: list[TransportEvent] = []
    sink: list[Callable[[TransportEvent], None]] = [early.append]
    transport = await dial(
        endpoint,
        alpn=[row.alpn for row in rows],
        protocols=protocols if endpoint.transport == "webtransport" else [],
        tls=tls,
        timeout=max(0.05, timeout - (time.monotonic() - began)),
        on_event=lambda event: sink[0](event),
    )
    try:
        row = _negotiated(transport, rows, protocols, began)
        session = ClientSession(transport, row, role, _options(endpoint), began)
        session.begin()
        for event in early:
            session.handle(event)
        sink[0] = session.handle
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
