"""Relays that mean harm or are broken: what they do to their first session, and what the right verdict is.

Rules:

- A `Deed` is done once, at its step of the first session; every later session has a correct relay.
- What must fail the case for a reason of its own is not answered beside, so that the verdict does not hang
  on which of two streams was read first. What is allowed is followed by the correct answer.
- A verdict against a relay that keeps to its draft is the worst of errors: what a draft allows has the
  cause None, and `why` names the text, for those allowed and those forbidden alike.
- Deeds speak in messages and bytes of streams. What QUIC packets and HTTP/3 frames can do is elsewhere.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from judging import REQUEST_FIRST, SETUP_FIRST

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame, encode
from pytest_moqt.protocol.layouts import Sender, defines, layout_of_type
from pytest_moqt.protocol.objects import (
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
)
from pytest_moqt.protocol.values import Location
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

HUGE = (1 << 62) - 1
"The largest integer that all drafts can write, and the largest code of QUIC."
LARGEST_CODE = {"quic": HUGE, "webtransport": 0xFFFFFFFF}
UNKNOWN_TYPE = 0x3E
"A control message type that no draft defines; one byte in every integer coding."
NAMESPACE = (b"hostile",)
TRACK = b"track"
SOON_SECONDS = 0.005
"Between the bytes of a relay that is only slow."
LATE_SECONDS = 1.0
"Between the bytes of a relay that will not end within any limit."
BOTH = (14, 18)
"Drafts of a deed that one control stream and a stream for each request take differently."
ALIKE = {14: (14, 16), 18: (18, 20, 22)}
"Drafts that take a deed alike, unless it says otherwise: a run has one of them."
NO_SETUP = "session-init: each peer's control stream begins with SETUP"
SESSION_END = "session-termination: the session may be closed at any point; that is no SETUP"
EARLY = "session-init: requests could arrive prior to the control streams"
LENGTH = "message: a Length that does not match the fields is a PROTOCOL_VIOLATION"
"Texts that several deeds go by."


class Step(Enum):
    """When a relay does its deed."""

    SETUP = "in place of its SETUP"
    ESTABLISHED = "when both SETUPs were exchanged"
    REQUESTED = "in place of its answer to PUBLISH_NAMESPACE"
    ANSWERED = "right after that answer"


@dataclass(frozen=True)
class Deed:
    """One behaviour."""

    name: str
    step: Step
    act: Callable[[Any], None]
    "Does it, to the session or, about a request, the exchange."
    cause: str | None
    "Of the verdict; None: the relay may do that."
    why: str
    drafts: tuple[int, ...] = (18,)
    "Each stands for those that are like it."
    alone: bool = False
    "None of the drafts stands for another: what is done, or what it means, is in no other text."
    noted: bool = False
    "A breach beside the case, which the report must mention without failing it."

    @property
    def cases(self) -> tuple[str, str]:
        """What the relay is judged by."""
        return SETUP_FIRST if self.step is Step.SETUP else REQUEST_FIRST


def drafts_of(deed: Deed, transport: str) -> list[int]:
    """The drafts that a deed is done on over a transport: of those alike one, the same in every run."""
    turn = zlib.crc32(f"{deed.name}-{transport}".encode())
    return [draft if deed.alone else ALIKE[draft][turn % len(ALIKE[draft])] for draft in deed.drafts]


class Hostile(Behaviour):
    """A relay that does a deed to its first session."""

    def __init__(self, deed: Deed) -> None:
        self._step = deed.step
        self._act = deed.act
        self._is_mute = deed.step is Step.ESTABLISHED and deed.cause is not None
        self._victim: Session | None = None
        self.acted = 0
        "How often the deed was begun: once, or the test says nothing."
        self.failures: list[Exception] = []
        "What it raised, which would look like a relay that closes its session."

    def send_setup(self, session: Session) -> None:
        """The first word of every session in every draft."""
        self._victim = self._victim or session
        if not self._strikes(Step.SETUP, session):
            super().send_setup(session)

    def established(self, session: Session) -> None:
        """The second."""
        self._strikes(Step.ESTABLISHED, session)

    def accept_namespace(self, exchange: Exchange) -> None:
        """The answer."""
        if self._is_mute and exchange.session is self._victim:
            return
        if not self._strikes(Step.REQUESTED, exchange.session, exchange):
            super().accept_namespace(exchange)
            self._strikes(Step.ANSWERED, exchange.session, exchange)

    def _strikes(self, step: Step, session: Session, exchange: Exchange | None = None) -> bool:
        if step is not self._step or session is not self._victim:
            return False
        self.acted += 1
        try:
            self._act(exchange or session)
        except Exception as error:
            self.failures.append(error)
        return True


# ---- words of their language -------------------------------------------------------------------------


def number(session: Session, value: int) -> bytes:
    """An integer in the draft's coding."""
    return session.draft.integers.encode(value)


def setup_bytes(session: Session) -> bytes:
    """The correct SETUP."""
    return session.frame(session.setup()).encode(session.draft)


def length_of_nothing(session: Session, kind: int, length: int = 65535, body: bytes = b"") -> bytes:
    """The beginning of a message that claims a length."""
    return number(session, kind) + length.to_bytes(2, "big") + body


def drip(session: Session, stream_id: int | None, data: bytes, seconds: float) -> None:
    """Write one byte at a time, with a pause after each."""

    def next_byte(left: bytes) -> None:
        if left and not session.closed:
            session.write(stream_id, left[:1])
            session.call_later(seconds, next_byte, left[1:])

    next_byte(data)


def endlessly(session: Session, write: Callable[[], None], pause: float = 0.001) -> None:
    """Do something again and again while the session lives."""

    def again() -> None:
        if not session.closed:
            write()
            session.call_later(pause, again)

    again()


def own_stream(session: Session, data: bytes, *, fin: bool = False, unidirectional: bool = False) -> int:
    """Open a stream of the relay's own and write on it."""
    stream_id = session.transport.open_stream(unidirectional=unidirectional)
    session.write(stream_id, data, fin=fin)
    return stream_id


def ask(session: Session, data: bytes) -> int | None:
    """Write a request of the relay's own where its draft has it; None: on the control stream."""
    kind, _ = session.draft.integers.decode(data)
    layout = layout_of_type(session.draft, kind, Sender.SERVER)
    if session.draft.replies_carry_request_id and not (layout and layout.own_stream):
        session.write(None, data)
        return None
    return own_stream(session, data)


def request_frame(session: Session, message: m.Message, request_id: int = 1) -> Frame:
    """A request of the relay's own."""
    numbered = dataclasses.replace(message, request_id=request_id)  # type: ignore[call-arg]
    return encode(numbered, session.draft, sender=Sender.SERVER)


def own_requests(session: Session) -> list[m.Message]:
    """One request of every kind that the draft lets a relay make."""
    kinds: list[m.Message] = [
        m.Subscribe(NAMESPACE, TRACK),
        m.Publish(NAMESPACE, b"another", track_alias=7),
        m.PublishNamespace(NAMESPACE),
        m.SubscribeNamespace(NAMESPACE),
        m.SubscribeTracks(NAMESPACE),
        m.Fetch(m.StandaloneFetch(NAMESPACE, TRACK, Location(0, 0), Location(1, 0))),
        m.TrackStatus(NAMESPACE, TRACK),
    ]
    return [kind for kind in kinds if defines(session.draft, type(kind))]


def subgroup(session: Session, objects: Sequence[StreamObject], alias: int = 99) -> bytes:
    """The bytes of a subgroup stream of a track that nobody subscribed to."""
    encoder = SubgroupEncoder(SubgroupHeader(alias, 0), session.draft)
    return encoder.header() + b"".join(map(encoder.object, objects))


def with_setup(*deeds: Callable[[Session], None], late: bool = False) -> Callable[[Session], None]:
    """Do deeds and say SETUP, in one go: `late` after them, otherwise before."""

    def act(session: Session) -> None:
        if not late:
            session.send_control(session.setup())
        for deed in deeds:
            deed(session)
        if late:
            session.send_control(session.setup())

    return act


def control(data: Callable[[Session], bytes]) -> Callable[[Session], None]:
    """Write bytes on the control stream."""
    return lambda session: session.write(None, data(session))


def about_session(deed: Callable[[Session], None]) -> Callable[[Exchange], None]:
    """A deed to a session, done when it asks for something."""
    return lambda exchange: deed(exchange.session)


def answer(
    edit: Callable[[Exchange, Frame], Frame], reply: m.Reply | None = None
) -> Callable[[Exchange], None]:
    """Answer with an edited frame."""

    def act(exchange: Exchange) -> None:
        exchange.write(edit(exchange, exchange.frame(reply or m.RequestOk())))

    return act


def close_session(session: Session, code: int, reason: str) -> None:
    session.transport.close(code, reason)
    session._end()


def close_unknown(session: Session) -> None:
    close_session(session, LARGEST_CODE[session.transport.name], "")


def phrase(exchange: Exchange, text: bytes, length: int | None = None) -> bytes:
    """A Reason Phrase."""
    return number(exchange.session, len(text) if length is None else length) + text
