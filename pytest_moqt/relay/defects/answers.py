"""The ways in which every answer can be wrong; each says it, or does it, instead of `reply`."""

from __future__ import annotations

import dataclasses

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError, StreamError
from pytest_moqt.relay.exchange import Exchange


def says_nothing(exchange: Exchange, reply: m.Reply) -> None:
    """Leave a request without an answer, for ever."""


def other_request_id(exchange: Exchange, reply: m.Reply) -> None:
    """Answer another request than the one made."""
    number = (exchange.request_id or 0) + 2
    exchange.reply(dataclasses.replace(reply, request_id=number))  # type: ignore[call-arg]


def trailing_byte(exchange: Exchange, reply: m.Reply) -> None:
    """Put a byte after the last field."""
    frame = exchange.frame(reply)
    exchange.write(frame.replace(body=frame.body + b"\x00"))


def twice(exchange: Exchange, reply: m.Reply) -> None:
    """Answer two times."""
    # An answer that ends the request ends its stream too: it is the second that may.
    exchange.write(exchange.frame(reply))
    exchange.reply(reply)


def on_control_stream(exchange: Exchange, reply: m.Reply) -> None:
    """Answer on the control stream, where the draft has the request's own."""
    exchange.session.write(None, exchange.frame(reply).encode(exchange.draft))


def on_new_stream(exchange: Exchange, reply: m.Reply) -> None:
    """Answer on a stream that the relay opens for it."""
    session = exchange.session
    session.write(
        session.transport.open_stream(unidirectional=False), exchange.frame(reply).encode(session.draft)
    )


def cut_short(exchange: Exchange, reply: m.Reply) -> None:
    """End the request's stream inside the answer."""
    data = exchange.frame(reply).encode(exchange.draft)
    exchange.session.write(exchange.stream_id, data[:-1], fin=True)


def finishes_stream(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - unsaid
    """End the request's stream instead of answering."""
    exchange.session.write(exchange.stream_id, b"", fin=True)


def resets_stream(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - unsaid
    """Reset the request's stream instead of answering."""
    if exchange.stream_id is not None:
        exchange.session.abort(exchange.stream_id, StreamError.INTERNAL_ERROR)


def closes_session(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - unsaid
    """Close the session instead of answering."""
    exchange.session.close(SessionError.INTERNAL_ERROR, "defect: the session is closed instead of an answer")


def answers_another_kind(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - replaced
    """Answer with a message that answers other requests."""
    request = type(exchange.request)
    if request is m.Subscribe:
        exchange.write(exchange.frame(m.RequestOk(), answering=m.PublishNamespace))
    else:
        exchange.write(exchange.frame(m.SubscribeOk(track_alias=1), answering=m.Subscribe))


def refuses(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - replaced
    """Refuse what should be accepted."""
    exchange.reply(m.RequestError(RequestErrorCode.UNAUTHORIZED, "defect: refused without need"))
