"""Clients without a network: they speak to the relay's sessions directly, one byte at a time.

They share the codec with the relay and nothing else, know no rule of the protocol but how to number
requests, and can therefore break every other one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.framing import Frame, FrameBuffer, decode, encode
from pytest_moqt.protocol.layouts import Sender, layout_of_type
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamItem,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import Options, Parameter, SetupOption
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    is_unidirectional,
    opened_by_client,
)
from pytest_moqt.protocol.values import GroupOrder, KeyValues
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.routing import Router
from pytest_moqt.relay.schedule import Rank
from pytest_moqt.relay.session import Session

MessageT = TypeVar("MessageT", bound=m.Message)


class FakeClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[FakeTimer] = []

    def time(self) -> float:
        """How far it was moved."""
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> FakeTimer:
        """Schedule a call."""
        timer = FakeTimer(self.now + delay, callback, args)
        self._calls.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen in its order."""
        end = self.now + seconds
        while due := [timer for timer in self._calls if timer.when <= end]:
            timer = min(due, key=lambda each: each.when)
            self._calls.remove(timer)
            self.now = max(self.now, timer.when)
            if not timer.cancelled:
                timer.callback(*timer.args)
        self.now = end


@dataclass
class FakeTimer:
    """A call that was scheduled."""

    when: float
    callback: Callable[..., object]
    args: tuple[Any, ...]
    cancelled: bool = False

    def cancel(self) -> None:
        """Undo it."""
        self.cancelled = True


class FakeRelay:
    """A relay's tables, on a fake clock."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.clock = FakeClock()
        self.behaviour = behaviour or Behaviour()
        self.router = Router(self.clock, self.behaviour)

    def client(self, number: int, *, transport: str = "quic", **options: Any) -> Client:
        """A client that has exchanged SETUP."""
        client = self.stranger(number, transport=transport)
        client.setup(**options)
        assert client.closed is None, client.closed
        return client

    def stranger(self, number: int, *, transport: str = "quic") -> Client:
        """A client that has said nothing."""
        return Client(self, DRAFTS[number], transport)


class FakeTransport:
    """The relay's end of a transport."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._next = {False: 1, True: 3}
        self.max_datagram_size = 1200
        self.credit = 100
        self.unacknowledged = 0
        self.ranks: dict[int, Rank] = {}

    @property
    def name(self) -> str:
        """`quic` or `webtransport`."""
        return self._name

    def stream_credit(self, *, unidirectional: bool) -> int:
        """What a test set."""
        return self.credit

    def backlog(self, stream_id: int) -> int:
        """What a test set."""
        return self.unacknowledged

    def rank(self, stream_id: int, rank: Rank) -> None:
        """Note it."""
        self.ranks[stream_id] = rank

    def open_stream(self, *, unidirectional: bool) -> int:
        """The next id of the server."""
        stream_id = self._next[unidirectional]
        self._next[unidirectional] += 4
        return stream_id

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Hand bytes to the client."""
        self._client.take(stream_id, data, fin)

    def reset(self, stream_id: int, code: int) -> None:
        """Note it at the client."""
        self._client.resets[stream_id] = code

    def stop(self, stream_id: int, code: int) -> None:
        """Note it at the client."""
        self._client.stops[stream_id] = code

    def send_datagram(self, data: bytes) -> None:
        """Hand it to the client."""
        item = decode_datagram(data, self._client.draft)
        assert isinstance(item, ObjectDatagram)
        self._client.datagrams.append(item)

    def close(self, code: int = 0, reason: str = "") -> None:
        """Note it at the client."""
        if self._client.closed is None:
            self._client.closed = (SessionError(code), reason)


@dataclass
class Asked:
    """A request, of either end."""

    message: Any
    stream_id: int | None
    "None: on the control stream."

    @property
    def id(self) -> int:
        """Its request id."""
        number = self.message.request_id
        assert isinstance(number, int)
        return number


@dataclass
class Incoming:
    """A data stream of the relay."""

    stream_id: int
    items: list[StreamItem] = field(default_factory=list)
    fin: bool = False
    octets: int = 0
    "Bytes that came."

    @property
    def header(self) -> SubgroupHeader:
        """The SUBGROUP_HEADER."""
        assert isinstance(self.items[0], SubgroupHeader)
        return self.items[0]

    @property
    def objects(self) -> list[StreamObject]:
        """Without the header."""
        return [item for item in self.items if isinstance(item, StreamObject)]

    @property
    def fetched(self) -> list[FetchObject | FetchRangeEnd]:
        """Of a fetch stream: objects and markers."""
        return [item for item in self.items if isinstance(item, FetchObject | FetchRangeEnd)]

    @property
    def payloads(self) -> list[bytes]:
        """Of all objects."""
        return [item.payload for item in self.objects]


class Outgoing:
    """A data stream of a client."""

    def __init__(self, client: Client, header: SubgroupHeader) -> None:
        self._client = client
        self._encoder = SubgroupEncoder(header, client.draft)
        self.stream_id = client.new_stream(unidirectional=True)
        client.deliver(self.stream_id, self._encoder.header())

    def send(self, *items: StreamObject, fin: bool = False) -> Outgoing:
        """Send objects, and perhaps the end."""
        for item in items:
            self._client.deliver(self.stream_id, self._encoder.object(item))
        if fin:
            self._client.deliver(self.stream_id, b"", fin=True)
        return self

    def begin(self, item: StreamObject, octets: int) -> bytes:
        """Send an object up to so many bytes of its payload, and give what is missing."""
        data = self._encoder.object(item)
        begun = len(data) - len(item.payload) + octets
        self.deliver(data[:begun])
        return data[begun:]

    def deliver(self, data: bytes, fin: bool = False) -> None:
        """Send bytes that are whatever they are."""
        self._client.deliver(self.stream_id, data, fin)

    def reset(self, code: int) -> None:
        """Abandon it."""
        self._client.session.handle(StreamReset(self.stream_id, code, code))


class Fetched:
    """A client's answer to a FETCH of the relay."""

    def __init__(self, client: Client, asked: Asked) -> None:
        order = asked.message.parameters.get(Parameter.GROUP_ORDER)
        self._client = client
        self._encoder = FetchEncoder(client.draft, descending=order == GroupOrder.DESCENDING)
        self.stream_id = client.new_stream(unidirectional=True)
        client.deliver(self.stream_id, self._encoder.header(asked.id))

    def send(self, *items: FetchObject | FetchRangeEnd, fin: bool = False) -> Fetched:
        """Send objects and markers, and perhaps the end."""
        for item in items:
            is_object = isinstance(item, FetchObject)
            data = self._encoder.object(item) if is_object else self._encoder.range_end(item)
            self._client.deliver(self.stream_id, data)
        if fin:
            self._client.deliver(self.stream_id, b"", fin=True)
        return self

    def reset(self, code: int) -> None:
        """Abandon it."""
        self._client.session.handle(StreamReset(self.stream_id, code, code))


class Client:
    """One client's end."""

    def __init__(self, relay: FakeRelay, draft: Draft, transport: str) -> None:
        self.relay = relay
        self.draft = draft
        self.own_streams = draft.topology is Topology.REQUEST_STREAMS
        self.closed: tuple[SessionError, str] | None = None
        self.messages: list[tuple[int | None, m.Message]] = []
        "What the relay said, with its stream; None is the control stream."
        self.streams: list[Incoming] = []
        self.datagrams: list[ObjectDatagram] = []
        self.resets: dict[int, int] = {}
        self.stops: dict[int, int] = {}
        self.fins: set[int] = set()
        self.transport = FakeTransport(self, transport)
        self._next = {False: 0, True: 2}
        self._next_id = 0
        self._frames: dict[int, FrameBuffer] = {}
        self._decoders: dict[int, DataStreamDecoder] = {}
        self._taken: list[m.Message] = []
        self._falling: set[int] = set()
        "The ids of fetches in descending order."
        self.control = self.new_stream(unidirectional=self.own_streams)
        self.session = Session(self.transport, draft, relay.router, relay.behaviour, relay.clock)
        self.session.start()

    # ---- bytes ----

    def new_stream(self, *, unidirectional: bool) -> int:
        """The id of a stream to be opened."""
        stream_id = self._next[unidirectional]
        self._next[unidirectional] += 4
        return stream_id

    def deliver(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        """Send bytes, one at a time."""
        for index in range(len(data)):
            self.session.handle(StreamData(stream_id, data[index : index + 1]))
        if fin or not data:
            self.session.handle(StreamData(stream_id, b"", fin))

    def take(self, stream_id: int, data: bytes, fin: bool) -> None:
        """Take bytes of the relay."""
        if fin:
            self.fins.add(stream_id)
        if self._is_data(stream_id, data):
            stream = next((each for each in self.streams if each.stream_id == stream_id), None)
            if stream is None:
                stream = Incoming(stream_id)
                self.streams.append(stream)
                self._decoders[stream_id] = DataStreamDecoder(
                    self.draft, descending=self._falling.__contains__
                )
            stream.octets += len(data)
            stream.items += self._decoders[stream_id].feed(data, fin)
            stream.fin = fin
            return
        frames = self._frames.setdefault(stream_id, FrameBuffer(self.draft))
        frames.feed(data)
        on_control = is_unidirectional(stream_id) or (not self.own_streams and stream_id == self.control)
        while (frame := frames.take()) is not None:
            message, _ = decode(frame, self.draft, Sender.SERVER)
            self.messages.append((None if on_control else stream_id, message))

    def _is_data(self, stream_id: int, data: bytes) -> bool:
        if not is_unidirectional(stream_id) or opened_by_client(stream_id):
            return False
        return not self.own_streams or stream_id in self._decoders or stream_id != 3

    # ---- messages ----

    def setup(self, options: Options | None = None, versions: tuple[int, ...] | None = None) -> None:
        """Send SETUP, by default one that grants a hundred request ids."""
        if options is None:
            credit = self.draft.request_id_credit
            options = KeyValues({SetupOption.MAX_REQUEST_ID: 100} if credit else {})
        if versions is None:
            versions = () if self.draft.version_code is None else (self.draft.version_code,)
        self.send_control(m.Setup(options, versions))

    def frame(self, message: m.Message, answering: type[m.Message] | None = None) -> Frame:
        """A message as a frame of this client."""
        return encode(message, self.draft, sender=Sender.CLIENT, answering=answering)

    def send_control(self, message: m.Message, answering: type[m.Message] | None = None) -> None:
        """Send a message on the control stream."""
        self.send_frame(self.frame(message, answering))

    def send_frame(self, frame: Frame, stream_id: int | None = None) -> None:
        """Send any frame, on the control stream if no other is named."""
        self.deliver(self.control if stream_id is None else stream_id, frame.encode(self.draft))

    def next_id(self) -> int:
        """The id of the next request."""
        number = self._next_id
        self._next_id += 2
        return number

    def request(self, message: m.Request, *, number: int | None = None) -> Asked:
        """Make a request, where the draft makes it."""
        number = self.next_id() if number is None else number
        message = dataclasses.replace(message, request_id=number)  # type: ignore[call-arg]
        frame = self.frame(message)
        layout = layout_of_type(self.draft, frame.type, Sender.CLIENT)
        assert layout is not None
        if isinstance(message, m.Fetch):
            order = message.parameters.get(Parameter.GROUP_ORDER)
            self._falling |= {number} if order == GroupOrder.DESCENDING else set()
        own = self.own_streams or layout.own_stream
        asked = Asked(message, self.new_stream(unidirectional=False) if own else None)
        self.send_frame(frame, asked.stream_id)
        return asked

    def about(self, asked: Asked) -> list[Any]:
        """What the relay said about a request, in order."""
        if asked.stream_id is not None:
            return [message for stream, message in self.messages if stream == asked.stream_id]
        return [
            message
            for stream, message in self.messages
            if stream is None
            and getattr(message, "request_id", None) == asked.id
            and not (isinstance(message, m.Request) and not isinstance(message, m.RequestUpdate))
        ]

    def ask(self, message: m.Request) -> Any:
        """Make a request and give its one answer; None: there was none."""
        said = self.about(self.request(message))
        assert len(said) <= 1, said
        return said[0] if said else None

    def incoming(self, kind: type[MessageT]) -> Asked | None:
        """The relay's next request of a kind that was not given yet."""
        for stream, message in self.messages:
            if isinstance(message, kind) and not any(message is taken for taken in self._taken):
                self._taken.append(message)
                return Asked(message, stream)
        return None

    def expect(self, kind: type[m.Message]) -> Asked:
        """The relay's next request of a kind, which must be there."""
        asked = self.incoming(kind)
        assert asked is not None, f"no {kind.__name__} in {self.messages}"
        return asked

    def say(self, asked: Asked, message: m.Message, answering: type[m.Message] | None = None) -> None:
        """Say something about a request of either end."""
        names = {each.name for each in dataclasses.fields(message)}
        if "request_id" in names and getattr(message, "request_id", None) is None:
            message = dataclasses.replace(message, request_id=asked.id)  # type: ignore[call-arg]
        if isinstance(message, m.Reply) and answering is None:
            answering = type(asked.message)
        self.send_frame(self.frame(message, answering), asked.stream_id)

    def update(self, asked: Asked, parameters: dict[Any, Any]) -> list[Any]:
        """Send REQUEST_UPDATE and give the answers it got."""
        update = m.RequestUpdate(KeyValues(parameters), asked.id, self.next_id())
        before = len(self.messages)
        self.send_frame(self.frame(update), asked.stream_id)
        return [message for _, message in self.messages[before:] if isinstance(message, m.Reply)]

    def cancel(self, asked: Asked, code: int = 1) -> None:
        """End a request in the draft's way."""
        if asked.stream_id is not None:
            self.session.handle(StreamReset(asked.stream_id, code, code))
            self.session.handle(StopSending(asked.stream_id, code, code))
            return
        match asked.message:
            case m.Subscribe():
                self.say(asked, m.Unsubscribe())
            case m.Publish():
                self.say(asked, m.Unsubscribe())
            case m.PublishNamespace(track_namespace=namespace):
                self.say(asked, m.PublishNamespaceDone(namespace))
            case m.SubscribeNamespace(track_namespace_prefix=prefix):
                self.say(asked, m.UnsubscribeNamespace(prefix))
            case m.Fetch():
                self.say(asked, m.FetchCancel())
            case _:
                raise AssertionError(f"cannot cancel {asked}")

    # ---- objects ----

    def open_subgroup(self, header: SubgroupHeader) -> Outgoing:
        """Open a data stream."""
        return Outgoing(self, header)

    def answer_fetch(self, asked: Asked) -> Fetched:
        """Open the stream that answers a FETCH of the relay."""
        return Fetched(self, asked)

    @property
    def fetches(self) -> list[Incoming]:
        """The fetch streams of the relay, of fetches and of fills."""
        return [stream for stream in self.streams if isinstance(stream.items[0], FetchHeader)]

    def stop(self, stream: Incoming, code: int = 1) -> None:
        """Stop a data stream of the relay."""
        self.session.handle(StopSending(stream.stream_id, code, code))

    def send_datagram(self, item: ObjectDatagram) -> None:
        """Send an object in a datagram."""
        self.session.handle(DatagramData(encode_datagram(item, self.draft)))

    def disconnect(self) -> None:
        """The connection ends."""
        self.session.handle(TransportClosed(0, "", by_peer=True, layer="session"))
