"""Targets of whole sessions: a peer that says anything, in any order, cut in any way.

An input is a script: a byte for the draft, one for how the session begins, then acts one after another.
`handle_event` may not raise, the session reports what `events.py` has and nothing after its end, keeps no
more than was sent to it, and says no more than it was asked; all that whatever way the bytes are cut.
"""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft, Topology
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.events import (
    Event,
    RequestReceived,
    RequestState,
    SessionClosed,
    SetupReceived,
)
from pytest_moqt.protocol.framing import encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.parameters import Parameter, SetupOption
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode, SessionError
from pytest_moqt.protocol.session import REQUEST_CREDIT, Session
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    TransportEvent,
)
from pytest_moqt.protocol.values import Filter, FilterType, KeyValues, Location
from tests.fuzz.codec_targets import TYPES, check_offset, said
from tests.fuzz.cursor import Cursor, pieces
from tests.fuzz.engine import Target
from tests.protocol.fake_transport import FakeTransport

ACTS = 40
"Of one script; what follows is not read."
STREAMS = 16
"Ids of streams that a script can name."
EVENTS = typing.get_args(Event)

DATA, DATA_FIN, FIN, RESET, STOP, DATAGRAM, OURS, CLOSED = range(8)
"What a script may say, by the first byte of an act."

WAYS = 3
"In which bytes are cut: see `pieces`."

NAMESPACE = (b"a", b"b")


def setup_of(draft: Draft) -> m.Setup:
    """A peer's SETUP."""
    options = {SetupOption.MAX_REQUEST_ID: 20} if draft.request_id_credit else {}
    return m.Setup(KeyValues(options), () if draft.version_code is None else (draft.version_code,))


class Play:
    """A session and what became of it.

    Args:
        draft: The draft.
        sender: Which end it is.
        pass_over: Whether it passes over the peer's malformed requests.
        way: How bytes are cut.
    """

    def __init__(self, draft: Draft, sender: Sender, *, pass_over: bool, way: int) -> None:
        self.draft = draft
        self.sender = sender
        self.transport = FakeTransport(sender)
        self.session = Session(draft, self.transport, sender=sender, pass_over_requests=pass_over)
        self.events: list[Event] = []
        self.started = False
        self.heard = 0
        "Bytes of the peer."
        self._way = way
        if sender is Sender.CLIENT:
            self._start()

    def _start(self) -> None:
        self.started = True
        self.session.start()

    @property
    def control(self) -> int:
        """The peer's control stream."""
        if self.draft.topology is Topology.SINGLE_CONTROL_STREAM:
            return 0
        return 3 if self.sender is Sender.CLIENT else 2

    def open(self) -> None:
        """Let the peer say SETUP."""
        peer = Sender.SERVER if self.sender is Sender.CLIENT else Sender.CLIENT
        frame = encode(setup_of(self.draft), self.draft, sender=peer)
        self.take(StreamData(self.control, frame.encode(self.draft)))

    def say(self, stream_id: int, octets: bytes, *, fin: bool = False) -> None:
        """Bytes of the peer on a stream, cut in this play's way."""
        self.heard += len(octets)
        parts = pieces(octets)[self._way]
        for number, part in enumerate(parts):
            self.take(StreamData(stream_id, part, fin and number == len(parts) - 1))

    def datagram(self, octets: bytes) -> None:
        """A datagram of the peer."""
        self.heard += len(octets)
        self.take(DatagramData(octets))

    def take(self, event: TransportEvent) -> None:
        """Hand the session an event and look at what it makes of it."""
        over = self.session.closed is not None
        events = self.session.handle_event(event)
        assert not (over and events), f"{events} after the end"
        for happened in events:
            assert isinstance(happened, EVENTS), f"{happened} is no event"
            if isinstance(happened, SetupReceived) and not self.started:
                self._start()
        self.events += events

    def ours(self, chosen: int) -> None:
        """Do something of our own; what cannot be done is refused by LocalProtocolError and nothing else."""
        if not self.started or self.session.closed is not None:
            return
        try:
            OUR_ACTS[chosen % len(OUR_ACTS)](self.session, chosen // len(OUR_ACTS))
        except LocalProtocolError:
            return

    def check(self, acts: int) -> None:
        """Hold the session to its bounds."""
        ends = [event for event in self.events if isinstance(event, SessionClosed)]
        assert len(ends) == (self.session.closed is not None), "the end is said once"
        assert len(self.transport.closed) <= 1, "closed twice"
        assert all(code in _CODES for code, _ in self.transport.closed), "closed with no session error"
        kept = sum(map(len, self.session.unfinished().values()))
        assert kept <= self.heard, f"{kept} bytes are kept of {self.heard}"
        sent = sum(map(len, self.transport.sent.values()))
        assert sent <= 200 + 80 * acts + 20 * self.heard, (
            f"{sent} bytes are said after {self.heard} were heard"
        )
        ids = Counter(id(request) for request in self.session.requests.values())
        assert len(ids) <= self.heard + acts, "more requests than were made"

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What the session reports and does."""
        close = self.session.closed
        error = None if close is None else close.error
        at_fault = None
        if error is not None:
            check_offset(error, len(error.octets))
            # Of what is at fault as much as had come is kept.
            at_fault = (type(error), error.fault, error.offset, error.octets[: error.offset])
        return (
            tuple(map(repr, map(_told, self.events))),
            at_fault,
            self.transport.resets,
            self.transport.stops,
        )


_CODES = frozenset(map(int, SessionError))


def _told(event: Event) -> Any:
    """An event as a value: a request by its id, since its state goes on changing."""
    values = [
        value.id if isinstance(value, RequestState) else value
        for name, value in vars(event).items()
        if not isinstance(event, SessionClosed) or name == "close"
    ]
    return type(event).__name__, values


def _nth(session: Session, number: int, wanted: Callable[[RequestState], object]) -> RequestState:
    fitting = [request for request in session.requests.values() if wanted(request)]
    if not fitting:
        raise LocalProtocolError("there is no such request")
    return fitting[number % len(fitting)]


def _subscribe(session: Session, number: int) -> None:
    session.request(m.Subscribe(NAMESPACE, bytes([number % 4])))


def _fetch(session: Session, number: int) -> None:
    if number % 2:
        session.request(m.Fetch(m.JoiningFetch(0, number)))
    else:
        session.request(m.Fetch(m.StandaloneFetch(NAMESPACE, b"t", Location(0, 0), Location(number, 0))))


def _ask(session: Session, number: int) -> None:
    kinds: tuple[m.Request, ...] = (
        m.PublishNamespace(NAMESPACE),
        m.SubscribeNamespace(NAMESPACE[:1]),
        m.SubscribeTracks(NAMESPACE[:1]),
        m.Publish(NAMESPACE, b"t", number),
        m.TrackStatus(NAMESPACE, b"t"),
    )
    session.request(kinds[number % len(kinds)])


def _update(session: Session, number: int) -> None:
    request = _nth(session, number, lambda request: request.ours)
    narrowed = Filter(FilterType.ABSOLUTE_START, Location(number, 0))
    session.update(request, m.RequestUpdate(KeyValues({Parameter.SUBSCRIPTION_FILTER: narrowed})))


def _reply(session: Session, number: int) -> None:
    request = _nth(session, number // 4, lambda request: request.owed)
    session.reply(
        request,
        (
            m.RequestOk(),
            m.SubscribeOk(number),
            m.RequestError(RequestErrorCode.INTERNAL_ERROR, "no"),
            m.FetchOk(False, Location(1, 0)),
        )[number % 4],
    )


def _later(session: Session, number: int) -> None:
    request = _nth(session, number // 3, lambda request: True)
    kinds: tuple[m.Message, ...] = (
        m.PublishDone(PublishDoneStatus.TRACK_ENDED, number),
        m.Goaway("", 0),
        m.Namespace((b"n",)),
    )
    session.send(request, kinds[number % len(kinds)])


def _cancel(session: Session, number: int) -> None:
    session.cancel(_nth(session, number, lambda request: True))


def _finish(session: Session, number: int) -> None:
    session.finish(_nth(session, number, lambda request: True))


def _control(session: Session, number: int) -> None:
    kinds: tuple[m.Message, ...] = (
        m.MaxRequestId(REQUEST_CREDIT + number),
        m.RequestsBlocked(number),
        m.Goaway("", 0, number),
    )
    session.send(None, kinds[number % len(kinds)])


OUR_ACTS: tuple[Callable[[Session, int], None], ...] = (
    *(_subscribe, _fetch, _ask, _update, _reply, _later, _cancel, _finish, _control),
)


def alike(outcomes: list[Play]) -> Play:
    """The first of several plays of one script, which all must have come to the same."""
    whole = outcomes[0]
    for other in outcomes[1:]:
        assert other.outcome == whole.outcome, f"cut otherwise: {other.outcome} instead of {whole.outcome}"
    return whole


def _kind(play: Play) -> tuple[Any, ...]:
    """What a play was like."""
    names = Counter(type(event).__name__ for event in play.events)
    close = play.session.closed
    why = "" if close is None else said(close.error) if close.error else close.layer
    return (
        play.draft.number,
        play.sender.value,
        why,
        *sorted((name, min(count, 3)) for name, count in names.items()),
    )


# ---- a whole session -------------------------------------------------------------------------------


def session(octets: bytes) -> Hashable:
    """A script of everything that a peer and a transport can do, between acts of our own."""
    return _kind(alike([_played(octets, way) for way in range(WAYS)]))


def _played(octets: bytes, way: int) -> Play:
    cursor = Cursor(octets)
    draft = cursor.draft()
    how = cursor.byte()
    play = Play(draft, Sender.SERVER if how & 1 else Sender.CLIENT, pass_over=bool(how & 2), way=way)
    if not how & 4:
        play.open()
    acts = 0
    while not cursor.at_end and acts < ACTS:
        acts += 1
        _act(play, cursor)
    play.check(acts)
    return play


def _act(play: Play, cursor: Cursor) -> None:
    kind = cursor.byte() % 8
    if kind == OURS:
        play.ours(cursor.byte())
        return
    if kind == CLOSED:
        code = cursor.byte()
        play.take(
            TransportClosed(code, "gone", by_peer=bool(code % 2), layer="session" if code < 128 else "quic")
        )
        return
    if kind == DATAGRAM:
        play.datagram(cursor.take(cursor.byte()))
        return
    stream_id = cursor.byte() % STREAMS
    if kind in (DATA, DATA_FIN):
        play.say(stream_id, cursor.take(cursor.number() % 1024), fin=kind == DATA_FIN)
    elif kind == FIN:
        play.say(stream_id, b"", fin=True)
    else:
        code = cursor.byte()
        mapped = None if code == 255 else code
        play.take((StreamReset if kind == RESET else StopSending)(stream_id, mapped, code))


# ---- one request -----------------------------------------------------------------------------------

_REQUESTS: tuple[m.Request, ...] = (
    m.Subscribe(NAMESPACE, b"t"),
    m.PublishNamespace(NAMESPACE),
    m.SubscribeNamespace(NAMESPACE[:1]),
    m.SubscribeTracks(NAMESPACE[:1]),
    m.Fetch(m.StandaloneFetch(NAMESPACE, b"t", Location(0, 0), Location(1, 0))),
    m.Publish(NAMESPACE, b"t", 7),
    m.TrackStatus(NAMESPACE, b"t"),
)


def request(octets: bytes) -> Hashable:
    """What comes in answer to a request of ours, or as a request of the peer's, with and without an end."""
    return _kind(alike([_answered(octets, way) for way in range(WAYS)]))


def _answered(octets: bytes, way: int) -> Play:
    cursor = Cursor(octets)
    draft = cursor.draft()
    which, how = cursor.byte(), cursor.byte()
    play = Play(draft, Sender.CLIENT, pass_over=bool(how & 2), way=way)
    play.open()
    stream_id = 1  # the server's first request stream
    if how & 4 or draft.topology is Topology.SINGLE_CONTROL_STREAM:
        stream_id = play.control
    try:
        asked = play.session.request(_REQUESTS[which % len(_REQUESTS)])
    except LocalProtocolError:
        asked = None  # the draft has no such request
    if asked is not None and asked.stream_id is not None and not how & 8:
        stream_id = asked.stream_id
    if how & 16 and asked is not None:
        play.ours(OUR_ACTS.index(_update))
    play.say(stream_id, cursor.rest(), fin=bool(how & 1))
    received = [event for event in play.events if isinstance(event, RequestReceived)]
    assert len(received) <= play.heard
    play.check(2)
    return play


TARGETS = (
    Target("request", "request streams, and answers on control streams", request, TYPES),
    Target("session", "whole sessions of either end, with resets, ends and acts of our own", session, TYPES),
)
