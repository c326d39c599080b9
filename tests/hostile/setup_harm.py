"""Harm done with SETUP and GOAWAY, and with the control stream they come on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from relays import (
    BOTH,
    HUGE,
    LATE_SECONDS,
    NO_SETUP,
    SESSION_END,
    SOON_SECONDS,
    Deed,
    Step,
    close_session,
    close_unknown,
    control,
    drip,
    length_of_nothing,
    number,
    own_stream,
    setup_bytes,
    with_setup,
)

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session


def _nothing(session: Session) -> None:
    """Say nothing."""


def _late(session: Session) -> None:
    session.call_later(0.5, session.send_control, session.setup())


def _half(session: Session) -> None:
    data = setup_bytes(session)
    session.write(None, data[: len(data) // 2])


def _half_then(end: Callable[[Session], None]) -> Callable[[Session], None]:
    def act(session: Session) -> None:
        _half(session)
        end(session)

    return act


def _finish_control(session: Session) -> None:
    session.write(None, b"", fin=True)


def _reset_control(session: Session) -> None:
    assert session._control_out is not None
    session.transport.reset(session._control_out, 0x1)


def _stop_control(session: Session) -> None:
    assert session._control_in is not None
    # First what was said before: a packet has STOP_SENDING before the bytes of streams.
    session.transport.connection.flush()
    session.transport.stop(session._control_in, 0x1)


def _close(code: int = 0, reason: str = "") -> Callable[[Session], None]:
    return lambda session: close_session(session, code, reason)


def _setup_with(*pairs: tuple[int, Any]) -> Callable[[Session], None]:
    def act(session: Session) -> None:
        setup = session.setup()
        options = KeyValues(sorted([*setup.options.pairs, *pairs]))
        session.send_control(dataclasses.replace(setup, options=options))

    return act


def _option_length(session: Session) -> bytes:
    body = number(session, SetupOption.MOQT_IMPLEMENTATION) + number(session, HUGE) + b"name"
    frame = session.frame(session.setup())
    if session.draft.counted_options:
        body = number(session, session.draft.version_code or 0) + number(session, 1) + body
    return frame.replace(body=body).encode(session.draft)


def _option_count(session: Session) -> bytes:
    frame = session.frame(session.setup())
    version = number(session, session.draft.version_code or 0)
    return frame.replace(body=version + number(session, HUGE)).encode(session.draft)


def _version(session: Session) -> None:
    session.send_control(dataclasses.replace(session.setup(), versions=(HUGE,)))


def _second_control_stream(session: Session) -> None:
    own_stream(session, setup_bytes(session), unidirectional=True)


_CONTROL_ENDS = "session-init: a control stream MUST NOT be closed; PROTOCOL_VIOLATION"

SETUPS = (
    Deed("setup-never", Step.SETUP, _nothing, "setup", NO_SETUP, BOTH),
    Deed("setup-half", Step.SETUP, _half, "setup", NO_SETUP, BOTH),
    Deed("setup-half-then-fin", Step.SETUP, _half_then(_finish_control), "malformed", _CONTROL_ENDS, BOTH),
    Deed("setup-late", Step.SETUP, _late, None, "message-setup: nothing says how soon it comes", BOTH),
    Deed("setup-half-then-reset", Step.SETUP, _half_then(_reset_control), "setup", _CONTROL_ENDS, BOTH),
    Deed("setup-half-then-close", Step.SETUP, _half_then(_close(0x1)), "setup", SESSION_END, BOTH),
    Deed("control-stream-stopped", Step.ESTABLISHED, _stop_control, "wrong-message", _CONTROL_ENDS, BOTH),
    Deed("control-stream-stopped-for-setup", Step.SETUP, _stop_control, "setup", _CONTROL_ENDS, (14,)),
    Deed(
        "setup-a-byte-a-second",
        Step.SETUP,
        lambda session: drip(session, None, setup_bytes(session), LATE_SECONDS),
        "setup",
        "security-timeouts: implementations set their own",
        BOTH,
    ),
    Deed(
        "setup-a-byte-at-a-time",
        Step.SETUP,
        lambda session: drip(session, None, setup_bytes(session), SOON_SECONDS),
        None,
        "a stream has no message boundaries (RFC 9000 section 2.2)",
        BOTH,
    ),
    Deed(
        "setup-of-65535-bytes-a-byte-a-second",
        Step.SETUP,
        lambda session: drip(
            session,
            None,
            length_of_nothing(session, session.frame(session.setup()).type, 65535, b"\0" * 99),
            LATE_SECONDS,
        ),
        "setup",
        NO_SETUP,
        BOTH,
    ),
    Deed(
        "setup-with-16000-unknown-options",
        Step.SETUP,
        _setup_with(*[(0x7F0A, 0)] * 16000),
        None,
        "message-setup: receivers MUST ignore unknown options and MUST allow duplicates of them",
    ),
    Deed(
        "setup-option-of-endless-length",
        Step.SETUP,
        control(_option_length),
        "malformed",
        "key-value-pair-structure: a length above 2^16-1 is a PROTOCOL_VIOLATION",
        BOTH,
    ),
    Deed(
        "setup-endless-option-count",
        Step.SETUP,
        control(_option_count),
        "malformed",
        "message: the Length must match the fields",
        (14,),
    ),
    Deed(
        "setup-of-a-version-far-away",
        Step.SETUP,
        _version,
        "setup",
        "message-setup: the server selects a version that the client offered",
        (14,),
        alone=True,
    ),
    Deed(
        "setup-twice",
        Step.ESTABLISHED,
        control(setup_bytes),
        "wrong-message",
        "message-setup: SETUP is the first message, once",
        BOTH,
    ),
    Deed(
        "second-control-stream",
        Step.ESTABLISHED,
        _second_control_stream,
        "wrong-message",
        "session-init: each peer opens one control stream",
    ),
    Deed("close-before-setup", Step.SETUP, _close(), "setup", SESSION_END, BOTH),
    Deed("close-before-setup-with-unknown-code", Step.SETUP, close_unknown, "setup", SESSION_END, BOTH),
    Deed(
        "close-with-setup",
        Step.SETUP,
        with_setup(_close(SessionError.NO_ERROR)),
        "closed",
        "session-termination: it may, but then the case has no session",
        BOTH,
    ),
    Deed("close-after-setup", Step.ESTABLISHED, _close(0x2, "who are you"), "closed", SESSION_END, BOTH),
    Deed("control-stream-finished", Step.ESTABLISHED, _finish_control, "wrong-message", _CONTROL_ENDS, BOTH),
    Deed("control-stream-reset", Step.ESTABLISHED, _reset_control, "wrong-message", _CONTROL_ENDS, BOTH),
)


def goaway(session: Session, uri: str = "", request_id: int | None = 0) -> bytes:
    """GOAWAY for the control stream."""
    one_stream = session.draft.replies_carry_request_id
    message = m.Goaway(uri) if one_stream else m.Goaway(uri, timeout_ms=0, request_id=request_id)
    return session.frame(message).encode(session.draft)


def _goaway_uri_length(length: int) -> Callable[[Session], bytes]:
    def data(session: Session) -> bytes:
        body = number(session, length) + b"h" * min(length, 9000)
        return Frame(0x10, body).encode(session.draft)

    return data


def _goaway_on_request(exchange: Exchange) -> None:
    # Not by `exchange.frame`, which gives every message that can have one the request's id.
    exchange.write(exchange.session.frame(m.Goaway(timeout_ms=0)))


def _goaway_on_request_twice(exchange: Exchange) -> None:
    _goaway_on_request(exchange)
    _goaway_on_request(exchange)


def _goaway_with_id_on_request(exchange: Exchange) -> None:
    exchange.write(exchange.frame(m.Goaway(timeout_ms=0, request_id=exchange.request_id)))


def _refuse_going_away(exchange: Exchange) -> None:
    exchange.session.write(None, goaway(exchange.session))
    exchange.reply(m.RequestError(RequestErrorCode.GOING_AWAY, "elsewhere"))


_GOAWAY = "message-goaway: an endpoint sends GOAWAY to say that it intends to close soon; it may at any time"
_GOAWAY_TWICE = "message-goaway: more than one is a PROTOCOL_VIOLATION"

GOAWAYS = (
    Deed("goaway-for-setup", Step.SETUP, control(goaway), "setup", NO_SETUP, BOTH),
    Deed(
        "goaway-before-setup",
        Step.SETUP,
        with_setup(control(goaway), late=True),
        "setup",
        NO_SETUP,
        BOTH,
    ),
    Deed("goaway-with-setup", Step.SETUP, with_setup(control(goaway)), None, _GOAWAY, BOTH),
    Deed("goaway-after-setup", Step.ESTABLISHED, control(goaway), None, _GOAWAY, BOTH),
    Deed(
        "goaway-twice",
        Step.ESTABLISHED,
        control(lambda session: goaway(session) * 2),
        "wrong-message",
        _GOAWAY_TWICE,
        BOTH,
    ),
    Deed(
        "goaway-names-a-request-of-the-relay",
        Step.ESTABLISHED,
        control(lambda session: goaway(session, request_id=1)),
        "wrong-message",
        "message-goaway: a Request ID of the wrong parity is an INVALID_REQUEST_ID",
        alone=True,
    ),
    Deed(
        "goaway-with-a-uri-of-8192-bytes",
        Step.ESTABLISHED,
        control(lambda session: goaway(session, "h" * 8192)),
        None,
        "message-goaway: the maximum length of the URI is 8192 bytes",
        BOTH,
    ),
    Deed(
        "goaway-with-a-uri-of-8193-bytes",
        Step.ESTABLISHED,
        control(_goaway_uri_length(8193)),
        "malformed",
        "message-goaway: a longer one is a PROTOCOL_VIOLATION",
        BOTH,
    ),
    Deed(
        "goaway-with-a-uri-of-endless-length",
        Step.ESTABLISHED,
        control(_goaway_uri_length(HUGE)),
        "malformed",
        "message-goaway: a longer one is a PROTOCOL_VIOLATION",
        BOTH,
    ),
    Deed(
        "goaway-and-refusal",
        Step.REQUESTED,
        _refuse_going_away,
        "rejected",
        "message-goaway: what arrives after GOAWAY is rejected with GOING_AWAY",
    ),
    Deed(
        "goaway-for-an-answer",
        Step.REQUESTED,
        _goaway_on_request,
        "timeout",
        "message-goaway: a request may be moved elsewhere, which is no answer",
    ),
    Deed(
        "goaway-on-the-request-with-its-id",
        Step.REQUESTED,
        _goaway_with_id_on_request,
        "wrong-message",
        "message-goaway: the Request ID is present only on the control stream",
        alone=True,
    ),
    Deed(
        "goaway-on-the-request-after-its-answer",
        Step.ANSWERED,
        _goaway_on_request,
        None,
        "message-goaway: GOAWAY MAY be sent on a request stream",
    ),
    Deed(
        "goaway-on-the-request-twice",
        Step.REQUESTED,
        _goaway_on_request_twice,
        "wrong-message",
        _GOAWAY_TWICE,
    ),
)
