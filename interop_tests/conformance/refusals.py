"""Connections that a relay refuses because of what the client offers or asks for."""

from __future__ import annotations

from pytest_moqt import ConnectError, RelayUnderTest

REFUSED_STATUS = 400
"Of HTTP, and above."


def judge_refusal(relay: RelayUnderTest, error: ConnectError) -> None:
    """Judge how a connection failed that had to: by TLS (ALPN), or by the answer to CONNECT.

    Another alert of TLS, or the end of the connection, is a warning: the client cannot tell why.

    Raises:
        ConnectError: It was not refused, but is not there, or says what it may not, or we ended it.
    """
    if error.kind == "webtransport" and (error.code or 0) >= REFUSED_STATUS:
        return
    if error.kind == "alpn" and error.by_peer:
        return
    if error.kind in ("tls", "closed") and error.by_peer:
        relay.warn("wrong-code", f"the relay does not say what it refuses: {error}")
        return
    raise error
