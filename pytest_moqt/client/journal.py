"""What was said in a session, in order: bounded, and cheap while nobody asks.

Rules:

- Noting keeps references and counts; words are made when somebody reads.
- Control messages and streams have room of their own, objects and datagrams are only counted: no flood of
  one of them pushes out the others.
- A line is printable, has a bounded length, begins with a number, and says what it leaves out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from pytest_moqt.client.errors import printable
from pytest_moqt.client.wording import (
    cut,
    describe_close,
    describe_error,
    describe_stream_error,
    fields,
    hexadecimal,
)
from pytest_moqt.protocol.buffer import counted
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.events import (
    Close,
    DatagramReceived,
    DataStreamOpened,
    DeviantRequest,
    Event,
    ObjectReceived,
    SessionClosed,
)
from pytest_moqt.protocol.framing import Frame, decode
from pytest_moqt.protocol.layouts import Layout, Sender
from pytest_moqt.protocol.messages import Message
from pytest_moqt.protocol.objects import (
    PADDING_STREAM,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamHeader,
    StreamObject,
    SubgroupHeader,
)
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    StreamTransport,
    TransportEvent,
    is_unidirectional,
    opened_by_client,
)

MAX_MESSAGES = 200
"Control messages, and events of the session, that are kept; older ones are counted and forgotten."
MAX_MESSAGE_OCTETS = 256 * 1024
"Bytes of all control messages that are kept: four of the longest, a thousand of the usual."
MAX_STREAM_EVENTS = 100
"Beginnings and ends of streams that are kept."
MAX_STREAMS = 2000
"Streams under way at a time that are followed."
MAX_LINE = 480
"Characters of a line; a report takes 500."
FIELD_CHARACTERS = 200
"Of a line, for the fields of a message."
LINE_OCTETS = 80
"Bytes of a message that a line shows: those of the usual one."
HEAD_OCTETS = 24
"First bytes of a stream that are kept."

SENT, RECEIVED = "sent", "received"
_ARROWS = {SENT: ">", RECEIVED: "<"}

Item = StreamObject | FetchObject | FetchRangeEnd | ObjectDatagram
Place = tuple[int | None, int]
"Group and object; no group where the stream's header has it. A payload may be large, and is not kept."


class Entry:
    """One line.

    Attributes:
        at_ms: Milliseconds since the connection was begun.
        direction: `sent` or `received`; empty for neither.
        stream_id: None where it is of none.
    """

    # Written out: to make dataclasses of them costs every start two milliseconds.
    __slots__ = ("at_ms", "direction", "stream_id")

    def __init__(self, at_ms: float, direction: str, stream_id: int | None) -> None:
        self.at_ms = at_ms
        self.direction = direction
        self.stream_id = stream_id

    def said(self) -> str:
        """What happened."""
        raise NotImplementedError

    def __str__(self) -> str:
        line = f"{self.at_ms:.1f} ms {_ARROWS.get(self.direction, '-')} {self.said()}"
        return cut(printable(line, MAX_LINE + 1), MAX_LINE)


class ControlMessage(Entry):
    """A control message, understood or not.

    Attributes:
        kind: `control` or `request`, of its stream.
        opens: It is the first on a stream of its sender.
        error: Why it was not understood.
    """

    __slots__ = ("draft", "error", "frame", "kind", "layout", "message", "opens")

    def __init__(
        self,
        at_ms: float,
        direction: str,
        stream_id: int | None,
        kind: str,
        opens: bool,
        frame: Frame,
        message: Message | None,
        layout: Layout | None,
        draft: Draft,
    ) -> None:
        super().__init__(at_ms, direction, stream_id)
        self.kind = kind
        self.opens = opens
        self.frame = frame
        self.message = message
        self.layout = layout
        self.draft = draft
        self.error: RemoteProtocolError | None = None

    @property
    def octets(self) -> bytes:
        """The whole message, type and length included: what the `decode` command takes."""
        return self.frame.encode(self.draft)

    def said(self) -> str:
        """`request stream 0: SUBSCRIBE track_name='x' [0300…]`."""
        number = "" if self.stream_id is None else f" {self.stream_id}"
        where = f"{'opens ' if self.opens else ''}{self.kind} stream{number}"
        name = self.layout.name if self.layout else f"a message of type {self.frame.type:#x}"
        return f"{where}: {name}{self._read()} [{hexadecimal(self.octets, LINE_OCTETS)}]"

    def _read(self) -> str:
        message, error = self.message, self.error
        if message is None and error is None:
            # Sent as raw bytes, which may be anything.
            sender = Sender.CLIENT if self.direction == SENT else Sender.SERVER
            try:
                message, _ = decode(self.frame, self.draft, sender)
            except RemoteProtocolError as stopped:
                error = stopped
                if error.offset is not None:
                    error.offset += len(self.octets) - len(self.frame.body)
        if message is not None:
            return f" {fields(message, FIELD_CHARACTERS)}".rstrip()
        at = "" if error is None or error.offset is None else f" at offset {error.offset}"
        return f", reading stopped{at}: {cut(str(error), FIELD_CHARACTERS)}"


class Happening(Entry):
    """Anything that needs no more words than its text."""

    __slots__ = ("text",)

    def __init__(self, at_ms: float, direction: str, stream_id: int | None, text: str) -> None:
        super().__init__(at_ms, direction, stream_id)
        self.text = text

    def said(self) -> str:
        """The text."""
        return self.text


class Ended(Entry):
    """How the session ended."""

    __slots__ = ("close", "draft")

    def __init__(self, at_ms: float, direction: str, close: Close, draft: Draft) -> None:
        super().__init__(at_ms, direction, None)
        self.close = close
        self.draft = draft

    def said(self) -> str:
        """`close PROTOCOL_VIOLATION (0x3): "a second SETUP"`, and who did."""
        lost = not self.close.by_peer and self.close.layer != "session"
        who = "the connection was lost" if lost else "the relay closed" if self.close.by_peer else "we closed"
        error = self.close.error
        if error is None:
            return f"{who}: {describe_close(self.close, self.draft)}"
        where = describe_error(error) if error.stream != "control" else str(error)
        return f"{who}: {error.code.name} ({error.code:#x}): {where}"


class Tally:
    """What one half of a stream carried, or all datagrams of one direction.

    Attributes:
        units: Objects, or datagrams.
        head: The first bytes.
        kind: `control` or `request` where it carries messages.
    """

    __slots__ = ("at_ms", "first", "head", "header", "kind", "last", "last_ms", "octets", "unit", "units")

    def __init__(self, at_ms: float, unit: str = "object") -> None:
        self.at_ms = self.last_ms = at_ms
        self.unit = unit
        self.units = 0
        self.octets = 0
        self.first: Place | None = None
        self.last: Place | None = None
        self.header: StreamHeader | None = None
        self.head = b""
        self.kind = ""

    def add(self, data: bytes, now: float) -> None:
        """Take note of bytes."""
        if self.octets < HEAD_OCTETS:
            self.head += data[: HEAD_OCTETS - self.octets]
        self.octets += len(data)
        self.last_ms = now

    def count(self, items: Sequence[Item]) -> None:
        """Take note of objects, in order."""
        if self.first is None:
            self.first = _ids(items[0])
        self.last = _ids(items[-1])
        self.units += len(items)

    def __str__(self) -> str:
        text = f"{self.units} {self.unit}{'s' * (self.units != 1)}, {counted(self.octets)}"
        if self.first is not None and self.last is not None:
            text += f", {_place(self.header, self.first)}"
            text += f" to {_place(self.header, self.last)}" if self.units > 1 else ""
        return text


class Opened(Entry):
    """A stream began that carries no messages, or none yet."""

    __slots__ = ("draft", "tally")

    def __init__(self, at_ms: float, direction: str, stream_id: int, tally: Tally, draft: Draft) -> None:
        super().__init__(at_ms, direction, stream_id)
        self.tally = tally
        self.draft = draft

    def said(self) -> str:
        """`opens stream 7: SUBGROUP_HEADER track_alias=1, group_id=0`, as far as it came."""
        header = self.tally.header
        more = "…" if self.tally.octets > len(self.tally.head) else ""
        octets = f" [{self.tally.head.hex()}{more}]" if self.tally.head else ""
        if header is None:
            return f"opens stream {self.stream_id}{self._undecided()}{octets}"
        name = "FETCH_HEADER" if isinstance(header, FetchHeader) else "SUBGROUP_HEADER"
        return f"opens stream {self.stream_id}: {name} {fields(header, FIELD_CHARACTERS)}{octets}"

    def _undecided(self) -> str:
        ways = "unidirectional" if is_unidirectional(self.stream_id or 0) else "bidirectional"
        try:
            number, _ = self.draft.integers.decode(self.tally.head)
        except (NeedMoreData, RemoteProtocolError):
            return f", {ways}"
        if number == PADDING_STREAM and self.draft.padding and ways == "unidirectional":
            return ": padding"
        return f", {ways}, which begins with {number:#x}"


class Counted(Entry):
    """What a stream, or the datagrams, had carried at this time.

    Attributes:
        how: `FIN`, `RESET_STREAM CANCELLED (0x1)`, ...; empty: it is not over.
    """

    __slots__ = ("how", "tally")

    def __init__(
        self, at_ms: float, direction: str, stream_id: int | None, tally: Tally, how: str = ""
    ) -> None:
        super().__init__(at_ms, direction, stream_id)
        self.tally = tally
        self.how = how

    def said(self) -> str:
        """`stream 7: FIN after 15 objects, 512 bytes, group 0 object 0 to group 0 object 14`."""
        if self.stream_id is None:
            return f"since {self.tally.at_ms:.1f} ms: {self.tally}"
        if not self.how:
            return f"stream {self.stream_id} so far: {self.tally}"
        return f"stream {self.stream_id}: {self.how} after {self.tally}"


def _when(entry: Entry) -> float:
    return entry.at_ms


def _ids(item: Item) -> Place:
    return getattr(item, "group_id", None), item.object_id


def _place(header: StreamHeader | None, place: Place) -> str:
    group = header.group_id if isinstance(header, SubgroupHeader) else place[0] or 0
    return f"group {group} object {place[1]}"


class Journal:
    """The entries of one session.

    Args:
        draft: The draft spoken.
        began: When dialling began, by `time.monotonic`.
    """

    def __init__(self, draft: Draft, began: float) -> None:
        self.unfinished: Callable[[], dict[int, bytes]] = dict
        "What came on each stream that is no whole message yet (see `Session.unfinished`)."
        self._draft = draft
        self._began = began
        self._messages: deque[Entry] = deque()
        self._held = 0
        self._streams: deque[Entry] = deque(maxlen=MAX_STREAM_EVENTS)
        self._halves: dict[str, dict[int, Tally]] = {SENT: {}, RECEIVED: {}}
        self._datagrams: dict[str, Tally] = {}
        self._control: int | None = None
        self._over = False
        self._moved_ms = 0.0
        self.forgotten = 0
        "Entries that were dropped to stay within the limits."
        self.unfollowed = 0
        "Events of streams that were not followed, since too many were under way."

    # ---- what is noted -----------------------------------------------------------------------------

    def frame(
        self,
        direction: str,
        stream_id: int | None,
        frame: Frame,
        message: Message | None,
        layout: Layout | None,
    ) -> None:
        """Note a control message (a `protocol.session.Observer`)."""
        now = self._now()
        if stream_id is None and direction == SENT:
            stream_id = self._control
        kind = "request"
        if stream_id is None or stream_id == self._control or is_unidirectional(stream_id):
            kind = "control"
        opens = False
        if stream_id is not None:
            half = self._half(direction, stream_id, now)
            if half is not None and not half.kind:
                half.kind = kind
                ours = opened_by_client(stream_id)
                # Of a stream whose beginning came before, that is noted already.
                opens = ours if direction == SENT else not ours and not half.octets
        self._messages.append(
            ControlMessage(now, direction, stream_id, kind, opens, frame, message, layout, self._draft)
        )
        self._held += len(frame.body)
        self._forget()

    def event(self, text: str, direction: str = "") -> None:
        """Note anything else."""
        self._messages.append(Happening(self._now(), direction, None, text))
        self._forget()

    def heard(self, event: TransportEvent, happenings: Sequence[Event]) -> None:
        """Note what the peer did.

        Args:
            event: As the transport told it.
            happenings: What the session made of it.
        """
        if self._over:
            return
        if isinstance(event, StreamData):
            self._heard_data(event, happenings)
        elif isinstance(event, DatagramData):
            objects = [each.datagram for each in happenings if isinstance(each, DatagramReceived)]
            self._count_datagram(RECEIVED, len(event.data), objects)
        elif isinstance(event, StreamReset):
            code = describe_stream_error(event.code, event.wire_code, self._draft)
            self._end(RECEIVED, event.stream_id, f"RESET_STREAM {code}")
        elif isinstance(event, StopSending):
            code = describe_stream_error(event.code, event.wire_code, self._draft)
            text = f"stream {event.stream_id}: STOP_SENDING {code}"
            self._note_stream(Happening(self._now(), RECEIVED, event.stream_id, text))
        for happening in happenings:
            if type(happening) is DeviantRequest:
                self._explain(happening.error)
        if happenings and isinstance(closed := happenings[-1], SessionClosed):
            self._note_close(closed.close)

    def opened(self, stream_id: int, *, unidirectional: bool) -> None:
        """Note that we opened a stream."""
        if self._control is None:
            # The first is our control stream, in all drafts.
            self._control = stream_id
            return
        half = self._half(SENT, stream_id, now := self._now())
        if unidirectional and half is not None:
            self._note_stream(Opened(now, SENT, stream_id, half, self._draft))

    def wrote(self, stream_id: int, data: bytes, fin: bool) -> None:
        """Note that we sent bytes on a stream."""
        half = self._halves[SENT].get(stream_id)
        if half is not None and not half.kind:
            half.add(data, self._now())
        if fin:
            self._end(SENT, stream_id, "FIN")

    def wrote_header(self, stream_id: int, header: StreamHeader) -> None:
        """Note what a data stream of ours is."""
        half = self._halves[SENT].get(stream_id)
        if half is not None:
            half.header = header

    def wrote_object(self, stream_id: int, item: Item) -> None:
        """Note that we sent an object on a stream."""
        half = self._halves[SENT].get(stream_id)
        if half is not None:
            half.count((item,))

    def gave_up(self, stream_id: int, how: str, code: int) -> None:
        """Note our RESET_STREAM or STOP_SENDING."""
        text = f"{how} {describe_stream_error(code, None, self._draft)}"
        if how == "RESET_STREAM":
            self._end(SENT, stream_id, text)
        elif not self._over:
            text = f"stream {stream_id}: {text}"
            self._note_stream(Happening(self._now(), SENT, stream_id, text))

    def sent_datagram(self, size: int) -> None:
        """Note a datagram of ours."""
        self._count_datagram(SENT, size, ())

    # ---- what is asked -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Entry]:
        """All entries in order of time; what is under way stands where it last moved."""
        return iter(sorted([*self._messages, *self._of_streams()], key=_when))

    def lines(self, most: int) -> list[str]:
        """The last entries as text; of more than there is room for, most are control messages.

        Args:
            most: Lines, of which one may say how many entries are left out.
        """
        messages, streams = list(self._messages), sorted(self._of_streams(), key=_when)
        left_out = self.forgotten
        room = most - bool(left_out)
        if len(messages) + len(streams) > room:
            room = most - 1
            kept = min(len(messages), max(room * 2 // 3, room - len(streams)))
            left_out += len(messages) + len(streams) - room
            messages = messages[len(messages) - kept :]
            streams = streams[len(streams) - (room - kept) :]
        lines = [str(entry) for entry in sorted([*messages, *streams], key=_when)]
        if left_out:
            lines.insert(0, f"… {left_out} {'entry' if left_out == 1 else 'entries'} left out")
        return lines

    def heard_instead(self) -> str:
        """What came from the relay, for the sentence about a first thing that did not."""
        heard = [entry for entry in self if entry.direction == RECEIVED]
        return f"what came instead: {heard[0].said()}" if heard else "nothing came on any stream"

    def half_said(self) -> list[str]:
        """What came and is no whole message yet, a phrase for each stream."""
        return [
            f"{counted(len(octets))} of an unfinished message on stream {number}"
            f" [{hexadecimal(octets, LINE_OCTETS)}]"
            for number, octets in sorted(self.unfinished().items())
        ]

    # ---- inside ------------------------------------------------------------------------------------

    def _now(self) -> float:
        return (monotonic() - self._began) * 1000

    def _forget(self) -> None:
        messages = self._messages
        while len(messages) > MAX_MESSAGES or (self._held > MAX_MESSAGE_OCTETS and len(messages) > 1):
            oldest = messages.popleft()
            if type(oldest) is ControlMessage:
                self._held -= len(oldest.frame.body)
            self.forgotten += 1

    def _note_stream(self, entry: Entry) -> None:
        self.forgotten += len(self._streams) == MAX_STREAM_EVENTS
        self._streams.append(entry)
        self._moved_ms = entry.at_ms

    def _half(self, direction: str, stream_id: int, now: float) -> Tally | None:
        """The tally of one half of a stream; None when too many are followed already."""
        halves = self._halves[direction]
        half = halves.get(stream_id)
        if half is None:
            if len(halves) >= MAX_STREAMS:
                self.unfollowed += 1
                return None
            half = halves[stream_id] = Tally(now)
        return half

    def _heard_data(self, event: StreamData, happenings: Sequence[Event]) -> None:
        stream_id = event.stream_id
        now = self._now()
        half = self._halves[RECEIVED].get(stream_id)
        if half is None:
            half = self._half(RECEIVED, stream_id, now)
            if half is not None and not opened_by_client(stream_id):
                self._note_stream(Opened(now, RECEIVED, stream_id, half, self._draft))
        if half is not None:
            half.add(event.data, now)
            if happenings and not half.kind:
                self._count_objects(half, happenings)
        if happenings:
            error = happenings[-1].close.error if isinstance(happenings[-1], SessionClosed) else None
            if error is not None:
                self._explain(error)
        if event.fin:
            self._end(RECEIVED, stream_id, "FIN")

    def _count_objects(self, half: Tally, happenings: Sequence[Event]) -> None:
        if half.header is None and isinstance(happenings[0], DataStreamOpened):
            half.header = happenings[0].header
        items = [each.object for each in happenings if type(each) is ObjectReceived]
        if items:
            half.count(items)

    def _count_datagram(self, direction: str, size: int, items: Sequence[ObjectDatagram]) -> None:
        now = self._now()
        tally = self._datagrams.get(direction)
        if tally is None:
            tally = self._datagrams[direction] = Tally(now, "datagram")
        tally.last_ms = now
        tally.octets += size
        if items:
            tally.count(items)
        else:
            tally.units += 1

    def _end(self, direction: str, stream_id: int, how: str) -> None:
        if self._over:
            return
        half = self._halves[direction].pop(stream_id, None)
        if half is not None and half.header is not None:
            self._note_stream(Counted(self._now(), direction, stream_id, half, how))
        else:
            self._note_stream(Happening(self._now(), direction, stream_id, f"stream {stream_id}: {how}"))

    def _explain(self, error: RemoteProtocolError) -> None:
        """Say at the message in question why it was not understood."""
        for entry in reversed(self._messages):
            if not isinstance(entry, ControlMessage) or entry.message is not None:
                continue
            if entry.direction == RECEIVED and entry.octets == error.octets:
                entry.error = error
                return

    def _note_close(self, close: Close) -> None:
        self._over = True
        direction = RECEIVED if close.by_peer else SENT
        self._messages.append(Ended(self._now(), direction, close, self._draft))
        self._forget()

    def _of_streams(self) -> Iterator[Entry]:
        yield from self._streams
        for direction, halves in self._halves.items():
            for stream_id, half in halves.items():
                if half.header is not None:
                    yield Counted(half.last_ms, direction, stream_id, half)
        for direction, tally in self._datagrams.items():
            yield Counted(tally.last_ms, direction, None, tally)
        heard = self._halves[RECEIVED]
        for stream_id, octets in self.unfinished().items():
            # Of one that has ended meanwhile only its last bytes are left.
            at_ms = heard[stream_id].last_ms if stream_id in heard else self._moved_ms
            text = f"stream {stream_id}: {counted(len(octets))} of an unfinished message or object"
            text += f" [{hexadecimal(octets, LINE_OCTETS)}]"
            yield Happening(at_ms, RECEIVED, stream_id, text)
        if self.unfollowed:
            text = f"{self.unfollowed} events of streams beyond the first {MAX_STREAMS} are not here"
            yield Happening(self._now(), "", None, text)


class WatchedTransport:
    """A transport whose verbs a journal notes (a `StreamTransport`)."""

    def __init__(self, transport: StreamTransport, journal: Journal) -> None:
        self._transport = transport
        self._journal = journal
        self.held: list[tuple[int, bytes, bool]] | None = None
        "Takes what is sent on streams, for somebody to send it on (`ClientSession.byte_by_byte`)."

    @property
    def max_datagram_size(self) -> int:
        """See StreamTransport."""
        return self._transport.max_datagram_size

    def open_stream(self, *, unidirectional: bool) -> int:
        """See StreamTransport."""
        stream_id = self._transport.open_stream(unidirectional=unidirectional)
        self._journal.opened(stream_id, unidirectional=unidirectional)
        return stream_id

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """See StreamTransport."""
        if self.held is None:
            self._transport.send(stream_id, data, fin=fin)
        else:
            self.held.append((stream_id, data, fin))
        self._journal.wrote(stream_id, data, fin)

    def reset(self, stream_id: int, code: int) -> None:
        """See StreamTransport."""
        self._transport.reset(stream_id, code)
        self._journal.gave_up(stream_id, "RESET_STREAM", code)

    def stop(self, stream_id: int, code: int) -> None:
        """See StreamTransport."""
        self._transport.stop(stream_id, code)
        self._journal.gave_up(stream_id, "STOP_SENDING", code)

    def send_datagram(self, data: bytes) -> None:
        """See StreamTransport."""
        self._transport.send_datagram(data)
        self._journal.sent_datagram(len(data))

    def close(self, code: int = 0, reason: str = "") -> None:
        """See StreamTransport."""
        self._transport.close(code, reason)
