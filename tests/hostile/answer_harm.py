"""Harm done in place of an answer, with it, and right after it."""

from __future__ import annotations

from collections.abc import Callable

from relays import (
    BOTH,
    HUGE,
    LARGEST_CODE,
    LATE_SECONDS,
    LENGTH,
    NAMESPACE,
    SESSION_END,
    SOON_SECONDS,
    Deed,
    Step,
    answer,
    close_session,
    close_unknown,
    drip,
    length_of_nothing,
    number,
    own_stream,
    phrase,
    request_frame,
)

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame, encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.values import KeyValues, Redirect
from pytest_moqt.relay.exchange import Exchange


def _about(exchange: Exchange) -> bytes:
    """What an answer begins with: the request's id, where the draft writes it."""
    if exchange.draft.replies_carry_request_id:
        return number(exchange.session, exchange.request_id or 0)
    return b""


def _error_with(reason: Callable[[Exchange], bytes]) -> Callable[[Exchange], None]:
    """REQUEST_ERROR with whatever comes for its Reason Phrase."""

    def edit(exchange: Exchange, frame: Frame) -> Frame:
        # The empty phrase that is replaced is the last byte.
        return frame.replace(body=frame.body[:-1] + reason(exchange))

    return answer(edit, m.RequestError(RequestErrorCode.UNAUTHORIZED))


def _half_answer(exchange: Exchange) -> None:
    exchange.session.write(exchange.stream_id, _answer_bytes(exchange)[:-1])


def _answer_bytes(exchange: Exchange) -> bytes:
    return exchange.frame(m.RequestOk()).encode(exchange.draft)


def _half_answer_then(end: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    def act(exchange: Exchange) -> None:
        _half_answer(exchange)
        end(exchange)

    return act


def _finish_request(exchange: Exchange) -> None:
    exchange.session.write(exchange.stream_id, b"", fin=True)


def _reset_request(exchange: Exchange, code: int | None = None) -> None:
    assert exchange.stream_id is not None
    largest = LARGEST_CODE[exchange.session.transport.name]
    exchange.session.transport.reset(exchange.stream_id, largest if code is None else code)


def _stop_request(exchange: Exchange) -> None:
    assert exchange.stream_id is not None
    exchange.session.transport.stop(exchange.stream_id, LARGEST_CODE[exchange.session.transport.name])


def _close_exchange(code: int = 0, reason: str = "") -> Callable[[Exchange], None]:
    return lambda exchange: close_session(exchange.session, code, reason)


def _ok_with_parameters(count: int, body: bytes = b"") -> Callable[[Exchange], None]:
    def act(exchange: Exchange) -> None:
        frame = exchange.frame(m.RequestOk())
        exchange.write(frame.replace(body=_about(exchange) + number(exchange.session, count) + body))

    return act


def _redirect(length: int) -> Callable[[Exchange], None]:
    reply = m.RequestError(RequestErrorCode.REDIRECT, "", redirect=Redirect("", (), b""))

    def edit(exchange: Exchange, frame: Frame) -> Frame:
        return frame.replace(body=frame.body[:-3] + number(exchange.session, length) + b"moqt")

    return answer(edit, reply)


def _never_made(exchange: Exchange) -> None:
    exchange.write(exchange.frame(m.RequestOk(request_id=998)))


def _on_anothers_stream(exchange: Exchange) -> None:
    session = exchange.session
    request = request_frame(session, m.SubscribeNamespace(NAMESPACE)).encode(session.draft)
    own_stream(session, request + _answer_bytes(exchange))


def _then_refuse(exchange: Exchange) -> None:
    exchange.write(exchange.frame(m.RequestError(RequestErrorCode.UNAUTHORIZED, "on second thoughts")))


def _update_of_theirs(exchange: Exchange) -> None:
    update = m.RequestUpdate(KeyValues(), exchange.request_id, 1)
    exchange.write(encode(update, exchange.draft, sender=Sender.SERVER))


_CANCEL = "request-cancellation: a request may be cancelled by either endpoint, which is no acceptance"
_PHRASE = "reason-phrase: a length above 1024 is a PROTOCOL_VIOLATION"
_ONE_ANSWER = "message-request-ok: a request has one response"

ANSWERS = (
    Deed("answer-half", Step.REQUESTED, _half_answer, "timeout", LENGTH, BOTH),
    Deed(
        "answer-half-then-fin",
        Step.REQUESTED,
        _half_answer_then(_finish_request),
        "malformed",
        LENGTH,
        BOTH,
    ),
    Deed("answer-half-then-reset", Step.REQUESTED, _half_answer_then(_reset_request), "reset", _CANCEL),
    Deed(
        "answer-half-then-close",
        Step.REQUESTED,
        _half_answer_then(_close_exchange(0x1)),
        "closed",
        SESSION_END,
        BOTH,
    ),
    Deed(
        "answer-a-byte-a-second",
        Step.REQUESTED,
        lambda exchange: drip(exchange.session, exchange.stream_id, _answer_bytes(exchange), LATE_SECONDS),
        "timeout",
        "security-timeouts: implementations set their own",
        BOTH,
    ),
    Deed(
        "answer-a-byte-at-a-time",
        Step.REQUESTED,
        lambda exchange: drip(exchange.session, exchange.stream_id, _answer_bytes(exchange), SOON_SECONDS),
        None,
        "a stream has no message boundaries (RFC 9000 section 2.2)",
        BOTH,
    ),
    Deed(
        "answer-of-65535-bytes-a-byte-a-second",
        Step.REQUESTED,
        lambda exchange: drip(
            exchange.session,
            exchange.stream_id,
            length_of_nothing(exchange.session, exchange.frame(m.RequestOk()).type, 65535, b"\0" * 99),
            LATE_SECONDS,
        ),
        "timeout",
        "security-timeouts: implementations set their own",
        BOTH,
    ),
    Deed("answer-with-endless-parameters", Step.REQUESTED, _ok_with_parameters(HUGE), "malformed", LENGTH),
    Deed(
        "answer-with-30000-parameters",
        Step.REQUESTED,
        _ok_with_parameters(30000, b"\0" * 60000),
        "malformed",
        "message-params: an unknown parameter is a PROTOCOL_VIOLATION",
    ),
    Deed(
        "refusal-with-a-reason-of-1024-bytes",
        Step.REQUESTED,
        _error_with(lambda exchange: phrase(exchange, b"r" * 1024)),
        "rejected",
        "reason-phrase: at most 1024 bytes",
        BOTH,
    ),
    Deed(
        "refusal-with-a-reason-of-1025-bytes",
        Step.REQUESTED,
        _error_with(lambda exchange: phrase(exchange, b"r" * 1025)),
        "malformed",
        _PHRASE,
        BOTH,
    ),
    Deed(
        "refusal-with-a-reason-of-65000-bytes",
        Step.REQUESTED,
        _error_with(lambda exchange: phrase(exchange, b"r" * 65000)),
        "malformed",
        _PHRASE,
        BOTH,
    ),
    Deed(
        "refusal-with-a-reason-of-endless-length",
        Step.REQUESTED,
        _error_with(lambda exchange: phrase(exchange, b"r" * 9, HUGE)),
        "malformed",
        _PHRASE,
        BOTH,
    ),
    Deed(
        "redirect-with-a-uri-of-endless-length",
        Step.REQUESTED,
        _redirect(HUGE),
        "malformed",
        "message: the Length must match the fields",
    ),
    Deed(
        "refusal-to-be-retried-at-once",
        Step.REQUESTED,
        lambda exchange: exchange.reply(
            m.RequestError(RequestErrorCode.EXCESSIVE_LOAD, "come again", retry_interval=1)
        ),
        "rejected",
        "message-request-error: a Retry Interval of 1 allows another request at once, and demands none",
    ),
    Deed("request-reset", Step.REQUESTED, _reset_request, "reset", _CANCEL),
    Deed("request-stopped", Step.REQUESTED, _stop_request, "reset", _CANCEL),
    Deed(
        "request-finished",
        Step.REQUESTED,
        _finish_request,
        "reset",
        "message-pub-ns: the subscriber answers with REQUEST_OK or REQUEST_ERROR",
    ),
    Deed("request-reset-after-its-answer", Step.ANSWERED, _reset_request, None, _CANCEL),
    Deed("request-stopped-after-its-answer", Step.ANSWERED, _stop_request, None, _CANCEL),
    Deed("close-for-an-answer", Step.REQUESTED, _close_exchange(0x2, "no"), "closed", SESSION_END, BOTH),
    Deed(
        "close-after-the-answer",
        Step.ANSWERED,
        _close_exchange(),
        "closed",
        "session-termination: it may, but nobody asked it to",
        BOTH,
    ),
    Deed(
        "close-after-the-answer-with-unknown-code",
        Step.ANSWERED,
        lambda exchange: close_unknown(exchange.session),
        "closed",
        "session-termination: codes are a SHOULD",
        BOTH,
    ),
    Deed(
        "close-after-the-answer-with-a-long-reason",
        Step.ANSWERED,
        _close_exchange(0x1, "because " * 8000),
        "closed",
        "session-termination: any error message",
        BOTH,
    ),
    Deed(
        "answer-to-a-request-never-made",
        Step.REQUESTED,
        _never_made,
        "wrong-message",
        "request-id: answers name a request",
        (14,),
    ),
    Deed(
        "answer-on-a-stream-of-its-own",
        Step.REQUESTED,
        lambda exchange: own_stream(exchange.session, _answer_bytes(exchange)),
        "wrong-message",
        "session-init: bidirectional streams MUST NOT begin with another message than a request",
    ),
    Deed(
        "answer-on-the-stream-of-another-request",
        Step.REQUESTED,
        _on_anothers_stream,
        "wrong-message",
        "request-id: responses are sent on the same stream as the request",
    ),
    Deed(
        "answer-on-the-control-stream",
        Step.REQUESTED,
        lambda exchange: exchange.session.write(None, _answer_bytes(exchange)),
        "wrong-message",
        "message: the Stream column",
    ),
    Deed(
        "answer-twice",
        Step.ANSWERED,
        lambda exchange: exchange.write(exchange.frame(m.RequestOk())),
        "wrong-message",
        _ONE_ANSWER,
        BOTH,
    ),
    Deed("answer-then-refusal", Step.ANSWERED, _then_refuse, "wrong-message", _ONE_ANSWER, BOTH),
    Deed(
        "update-of-the-clients-request",
        Step.ANSWERED,
        _update_of_theirs,
        "wrong-message",
        "message-request-update: the sender of a request may update it",
        BOTH,
    ),
)
