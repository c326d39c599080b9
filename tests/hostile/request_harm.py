"""Harm done with messages that nobody asked for: requests of the relay's own, unknown ones, floods."""

from __future__ import annotations

from collections.abc import Callable

from relays import (
    BOTH,
    EARLY,
    HUGE,
    LENGTH,
    NAMESPACE,
    NO_SETUP,
    TRACK,
    UNKNOWN_TYPE,
    Deed,
    Step,
    about_session,
    ask,
    control,
    endlessly,
    length_of_nothing,
    number,
    own_requests,
    own_stream,
    phrase,
    request_frame,
    with_setup,
)

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame, encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.registries import PublishDoneStatus
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session


def _ask_all(session: Session) -> None:
    for index, message in enumerate(own_requests(session)):
        ask(session, request_frame(session, message, 1 + 2 * index).encode(session.draft))


def _ask_all_cut(session: Session) -> None:
    """Every request with its last byte missing, the Length right."""
    for index, message in enumerate(own_requests(session)):
        frame = request_frame(session, message, 1 + 2 * index)
        ask(session, frame.replace(body=frame.body[:-1]).encode(session.draft))


def _ask_all_half(session: Session) -> None:
    for index, message in enumerate(own_requests(session)):
        own_stream(session, request_frame(session, message, 1 + 2 * index).encode(session.draft)[:-1])


def _ask_ids(*ids: int) -> Callable[[Session], None]:
    def act(session: Session) -> None:
        for request_id in ids:
            ask(
                session,
                request_frame(session, m.PublishNamespace(NAMESPACE), request_id).encode(session.draft),
            )

    return act


def _same_alias(session: Session) -> None:
    for request_id, name in ((1, b"one"), (3, b"two")):
        message = m.Publish(NAMESPACE, name, track_alias=7)
        ask(session, request_frame(session, message, request_id).encode(session.draft))


def _field_length(session: Session) -> None:
    body = number(session, 1) + number(session, 1) + number(session, HUGE) + b"field"
    ask(session, Frame(0x06, body).encode(session.draft))


def _flood(count: int) -> Callable[[Session], None]:
    """Requests within whatever limits the client sets."""

    def act(session: Session) -> None:
        asked = 0

        def more() -> None:
            nonlocal asked
            while asked < count and not session.closed:
                if session.draft.request_id_credit:
                    if 1 + 2 * asked >= session._our_limit:
                        break
                elif session.transport.stream_credit(unidirectional=False) <= 0:
                    break
                request = request_frame(session, m.PublishNamespace(NAMESPACE), 1 + 2 * asked)
                ask(session, request.encode(session.draft))
                asked += 1
            if asked < count and not session.closed:
                session.call_later(0.002, more)

        more()

    return act


def _flood_over_credit(session: Session) -> None:
    """Requests without a look at MAX_REQUEST_ID; each differs from the first in the 4 bytes of its id."""
    first = request_frame(session, m.PublishNamespace(NAMESPACE), 1)
    rest = first.body[1:]
    head = length_of_nothing(session, first.type, 4 + len(rest))
    ids = ((0x8000_0001 + 2 * index).to_bytes(4, "big") for index in range(5000))
    session.write(None, b"".join(head + request_id + rest for request_id in ids))


def _unknown(session: Session) -> bytes:
    return Frame(UNKNOWN_TYPE, b"who knows").encode(session.draft)


def _endless_unknown(session: Session) -> None:
    endlessly(
        session, lambda: session.write(None, Frame(UNKNOWN_TYPE, b"?" * 1000).encode(session.draft) * 20)
    )


def _endless_bytes(session: Session) -> None:
    """A message of 65535 bytes after the other, none of them whole before the next is begun."""
    session.write(None, length_of_nothing(session, 0x10))
    endlessly(session, lambda: session.write(None, b"\0" * 16000))


def _endless_malformed(session: Session) -> None:
    """SUBSCRIBE_NAMESPACE with an id and nothing else, again and again."""
    asked = 0

    def more() -> None:
        nonlocal asked
        frames = []
        for _ in range(20):
            frames.append(Frame(0x11, number(session, 1 + 2 * asked)).encode(session.draft))
            asked += 1
        session.write(None, b"".join(frames))

    endlessly(session, more)


def _endless_blocked(session: Session) -> None:
    message = session.frame(m.RequestsBlocked(1)).encode(session.draft)
    endlessly(session, lambda: session.write(None, message * 50))


def _grants(count: int) -> bytes:
    """So many MAX_REQUEST_ID, each one higher: type, Length and 8 bytes, written here for their number."""
    first = 0xC000_0000_4000_0000
    return b"".join(b"\x15\0\x08" + (first + index).to_bytes(8, "big") for index in range(count))


GRANTS = _grants(5_000)


def _many_grants(session: Session) -> None:
    session.write(None, GRANTS)


def publish_and_end(exchange: Exchange, reason: bytes = b"over") -> None:
    """A PUBLISH of the relay's own and its end."""
    session = exchange.session
    publish = request_frame(session, m.Publish(NAMESPACE, TRACK, track_alias=3)).encode(session.draft)
    done = m.PublishDone(PublishDoneStatus.TRACK_ENDED, 0, request_id=1)
    frame = encode(done, session.draft, sender=Sender.SERVER)
    frame = frame.replace(body=frame.body[:-1] + phrase(exchange, reason))
    ask(session, publish + frame.encode(session.draft))


_OWN = "session-init: a request stream begins with one of seven messages, from either end"
_BREACH = "message: a Length that does not match is a PROTOCOL_VIOLATION, but of a request no case asked for"

REQUESTS = (
    Deed("own-requests-before-setup", Step.SETUP, with_setup(_ask_all, late=True), None, EARLY),
    Deed("own-requests-with-setup", Step.SETUP, with_setup(_ask_all), None, _OWN, BOTH),
    Deed("own-requests-after-setup", Step.ESTABLISHED, _ask_all, None, _OWN, BOTH),
    Deed(
        "own-requests-malformed-before-setup",
        Step.SETUP,
        with_setup(_ask_all_cut, late=True),
        None,
        _BREACH,
        noted=True,
    ),
    Deed(
        "own-requests-malformed-with-setup",
        Step.SETUP,
        with_setup(_ask_all_cut),
        None,
        _BREACH,
        BOTH,
        noted=True,
    ),
    Deed(
        "own-requests-malformed-after-setup",
        Step.ESTABLISHED,
        _ask_all_cut,
        None,
        _BREACH,
        BOTH,
        noted=True,
    ),
    Deed("own-requests-never-whole", Step.ESTABLISHED, _ask_all_half, None, "nothing was said yet"),
    Deed(
        "own-request-before-setup-on-the-control-stream",
        Step.SETUP,
        with_setup(_ask_ids(1), late=True),
        "setup",
        NO_SETUP,
        (14,),
    ),
    Deed(
        "own-request-with-a-field-of-endless-length",
        Step.ESTABLISHED,
        _field_length,
        None,
        _BREACH,
        BOTH,
        noted=True,
    ),
    Deed(
        "own-request-ids-twice",
        Step.ESTABLISHED,
        _ask_ids(1, 1),
        "wrong-message",
        "request-id: a duplicate is an INVALID_REQUEST_ID",
        BOTH,
    ),
    Deed(
        "own-request-ids-even",
        Step.ESTABLISHED,
        _ask_ids(0),
        "wrong-message",
        "request-id: the wrong least significant bit is an INVALID_REQUEST_ID",
        BOTH,
    ),
    Deed(
        "own-request-id-endless",
        Step.ESTABLISHED,
        _ask_ids(HUGE),
        None,
        "request-id: odd and new; that ids rise by two says nothing of what a receiver does otherwise",
    ),
    Deed(
        "5000-own-requests-whatever-the-credit",
        Step.ESTABLISHED,
        _flood_over_credit,
        "wrong-message",
        "message-max-request-id: an id at or above the maximum is TOO_MANY_REQUESTS",
        (14,),
    ),
    Deed(
        "one-alias-for-two-tracks",
        Step.ESTABLISHED,
        _same_alias,
        "wrong-message",
        "track-alias: DUPLICATE_TRACK_ALIAS",
        BOTH,
    ),
    Deed(
        "10000-own-requests",
        Step.ESTABLISHED,
        _flood(10_000),
        None,
        "session-init: requests are limited by the client's own limits of streams or ids",
        BOTH,
    ),
    Deed(
        "10000-own-requests-for-an-answer",
        Step.REQUESTED,
        about_session(_flood(10_000)),
        "timeout",
        "session-init: requests are limited by the client's own limits of streams or ids",
        BOTH,
    ),
    Deed(
        "malformed-requests-for-an-answer",
        Step.REQUESTED,
        about_session(_endless_malformed),
        "timeout",
        _BREACH,
        (14,),
        noted=True,
    ),
    Deed(
        "unknown-message",
        Step.ESTABLISHED,
        control(_unknown),
        "malformed",
        "message: unknown types close",
        BOTH,
    ),
    Deed("endless-unknown-messages", Step.ESTABLISHED, _endless_unknown, "malformed", "message", BOTH),
    Deed(
        "unknown-message-for-setup",
        Step.SETUP,
        with_setup(control(_unknown), late=True),
        "malformed",
        "message: unknown types close",
        (14,),
    ),
    Deed(
        "unknown-message-for-an-answer",
        Step.REQUESTED,
        lambda exchange: exchange.write(Frame(UNKNOWN_TYPE, b"who knows")),
        "malformed",
        "message: unknown types close",
        BOTH,
    ),
    Deed(
        "unknown-message-on-a-stream-of-its-own",
        Step.ESTABLISHED,
        lambda session: own_stream(session, _unknown(session)),
        "malformed",
        "message: unknown types close",
    ),
    Deed("endless-control-bytes", Step.ESTABLISHED, _endless_bytes, "malformed", LENGTH, BOTH),
    Deed(
        "5000-messages-at-once",
        Step.ESTABLISHED,
        _many_grants,
        None,
        "message-max-request-id: each is larger than the last",
        (14,),
    ),
    Deed(
        "endless-messages-for-an-answer",
        Step.REQUESTED,
        about_session(_endless_blocked),
        "timeout",
        "message-requests-blocked: nothing limits their number",
        (14,),
    ),
    Deed(
        "credit-that-falls",
        Step.ESTABLISHED,
        control(lambda session: session.frame(m.MaxRequestId(1)).encode(session.draft)),
        "wrong-message",
        "message-max-request-id: one that does not increase is a PROTOCOL_VIOLATION",
        (14,),
    ),
    Deed(
        "blocked-and-less-blocked",
        Step.ESTABLISHED,
        control(
            lambda session: b"".join(
                session.frame(m.RequestsBlocked(maximum)).encode(session.draft) for maximum in (100, 0, HUGE)
            )
        ),
        None,
        "message-requests-blocked: nothing is said of its order",
        (14,),
    ),
    Deed(
        "credit-in-a-draft-without",
        Step.ESTABLISHED,
        control(lambda session: Frame(0x15, number(session, 1000)).encode(session.draft)),
        "malformed",
        "message: unknown types close",
    ),
    Deed(
        "publish-and-its-end",
        Step.ANSWERED,
        publish_and_end,
        None,
        "message-publish-done: the publisher may be done before it is answered",
        BOTH,
    ),
)
