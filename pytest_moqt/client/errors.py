"""Why no session came about, in one sentence a relay author can act on."""

from __future__ import annotations

from typing import Final, Literal

ConnectErrorKind = Literal[
    "dns", "refused", "timeout", "tls", "alpn", "webtransport", "version", "closed", "internal"
]

UNREACHABLE: Final = frozenset({"dns", "refused", "timeout"})

MAX_PEER_TEXT = 200
"Characters of a peer's text that a sentence of ours quotes; the whole text stays in `reason`."

TLS_ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
"TLS alerts by number (RFC 8446 section 6.2); QUIC carries them as 0x100 + number (RFC 9001 section 4.8)."

QUIC_ERRORS: Final = {
    0x0: "NO_ERROR",
    0x1: "INTERNAL_ERROR",
    0x2: "CONNECTION_REFUSED",
    0x3: "FLOW_CONTROL_ERROR",
    0x4: "STREAM_LIMIT_ERROR",
    0x5: "STREAM_STATE_ERROR",
    0x6: "FINAL_SIZE_ERROR",
    0x7: "FRAME_ENCODING_ERROR",
    0x8: "TRANSPORT_PARAMETER_ERROR",
    0x9: "CONNECTION_ID_LIMIT_ERROR",
    0xA: "PROTOCOL_VIOLATION",
    0xB: "INVALID_TOKEN",
    0xC: "APPLICATION_ERROR",
    0xD: "CRYPTO_BUFFER_EXCEEDED",
    0xE: "KEY_UPDATE_ERROR",
    0xF: "AEAD_LIMIT_REACHED",
    0x10: "NO_VIABLE_PATH",
    0x11: "VERSION_NEGOTIATION_ERROR",
}
"QUIC's own codes (RFC 9000 section 20.1, RFC 9368 section 7)."

HTTP3_ERRORS: Final = {
    0x33: "H3_DATAGRAM_ERROR",
    0x100: "H3_NO_ERROR",
    0x101: "H3_GENERAL_PROTOCOL_ERROR",
    0x102: "H3_INTERNAL_ERROR",
    0x103: "H3_STREAM_CREATION_ERROR",
    0x104: "H3_CLOSED_CRITICAL_STREAM",
    0x105: "H3_FRAME_UNEXPECTED",
    0x106: "H3_FRAME_ERROR",
    0x107: "H3_EXCESSIVE_LOAD",
    0x108: "H3_ID_ERROR",
    0x109: "H3_SETTINGS_ERROR",
    0x10A: "H3_MISSING_SETTINGS",
    0x10B: "H3_REQUEST_REJECTED",
    0x10C: "H3_REQUEST_CANCELLED",
    0x10D: "H3_REQUEST_INCOMPLETE",
    0x10E: "H3_MESSAGE_ERROR",
    0x10F: "H3_CONNECT_ERROR",
    0x110: "H3_VERSION_FALLBACK",
    0x200: "QPACK_DECOMPRESSION_FAILED",
    0x201: "QPACK_ENCODER_STREAM_ERROR",
    0x202: "QPACK_DECODER_STREAM_ERROR",
}
"HTTP/3's codes (RFC 9114 section 8.1, RFC 9204 section 6, RFC 9297 section 5.2)."


class ConnectError(Exception):
    """No session with the relay: nothing answered, or what answered refused.

    Attributes:
        kind: What kind of thing went wrong; `timeout` only when no address completed the QUIC handshake,
            `internal` when it was ours and not the relay's.
        code: The number that came with it: QUIC's, HTTP/3's or the HTTP status; None when there is none.
        reason: The text that came with it, as it came; may hold anything when a peer wrote it.
        tried: The addresses tried, in order, such as `127.0.0.1:4443`.
        offered: The application protocols offered (ALPN, then WebTransport's), in order.
        elapsed: Seconds from the start of the attempt.
        connection_id: Original destination connection id of the last attempt, lower-case hex; None
            when none was made.
        by_peer: Whether the relay ended the attempt by closing the connection, and not we for what it did.
    """

    def __init__(
        self,
        kind: ConnectErrorKind,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        tried: tuple[str, ...] = (),
        offered: tuple[str, ...] = (),
        elapsed: float = 0.0,
        connection_id: str | None = None,
        by_peer: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: ConnectErrorKind = kind
        self.code = code
        self.reason = reason
        self.tried = tried
        self.offered = offered
        self.elapsed = elapsed
        self.connection_id = connection_id
        self.by_peer = by_peer

    @property
    def unreachable(self) -> bool:
        """Whether nothing answered, so that no other attempt is likely to fare better."""
        return self.kind in UNREACHABLE


def printable(text: str, limit: int = MAX_PEER_TEXT) -> str:
    """A peer's text made fit for one line of ours: escapes for what does not print, and not too long."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def quoted(text: str) -> str:
    """`: "text"` to append to a sentence, or nothing for no text."""
    return f': "{printable(text)}"' if text else ""


def name_of(code: int, *, http3: bool = False) -> str:
    """A code with its name where it has one: `0x2 CONNECTION_REFUSED`."""
    name = (HTTP3_ERRORS if http3 else QUIC_ERRORS).get(code)
    if not http3 and 0x100 <= code <= 0x1FF:
        alert = code - 0x100
        name = f"TLS alert {alert} {TLS_ALERTS.get(alert, '')}".rstrip()
    return f"{code:#x} {name}" if name else f"{code:#x}"
