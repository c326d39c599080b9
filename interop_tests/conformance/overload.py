"""How a relay says that something is one too many, which it may where a case brings many of a kind."""

from __future__ import annotations

from pytest_moqt import ClientSession, RequestAbandoned, SessionError

ENDED = {
    "session": (SessionError.NO_ERROR, SessionError.INTERNAL_ERROR, SessionError.TOO_MANY_REQUESTS),
    # NO_ERROR, INTERNAL_ERROR and CONNECTION_REFUSED (RFC 9000 section 20.1).
    "quic": (0x0, 0x1, 0x2),
    # H3_NO_ERROR, H3_INTERNAL_ERROR and H3_EXCESSIVE_LOAD (RFC 9114 section 8.1), and those of QUIC.
    "http3": (0x0, 0x1, 0x2, 0x100, 0x102, 0x107),
}
"How a session may end that is one too many, by the layer that says it: no draft has a code for that."


def ended_for_load(session: ClientSession) -> str | None:
    """How a session ended that may have been too much; None where it has not ended, or not for that."""
    close = session.closed
    if close is None or not close.by_peer or close.code not in ENDED.get(close.layer, ()):
        return None
    session.close_awaited = True
    return session.describe_close(close)


def abandoned_for_load(abandoned: RequestAbandoned) -> bool:
    """Whether a request's stream was reset because there is too much to do.

    "The endpoint is overloaded and is resetting this stream" (`stream-reset-codes`).
    """
    return "EXCESSIVE_LOAD" in abandoned.received
