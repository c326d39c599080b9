"""What a relay can do to HTTP/3 and WebTransport: one row of `HARMS` each.

Rules:

- A row without a cause is something that HTTP/3 allows or tells clients to ignore: the case must pass.
- A row says which section decides; `WebTransport` is draft-ietf-webtrans-http3.
- Until a session stands what the relay breaks is `webtransport`; between CONNECT's answer and SETUP an end
  is `setup`, later `closed`. A broken HTTP/3 stays `webtransport`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fronts import vint
from harm import FORGED, NOT_UTF8, Harm
from http3 import (
    CORRECT,
    DATA,
    ENCODER,
    GOAWAY,
    GREASE,
    HEADERS,
    LONGEST,
    PUSH,
    PUSH_PROMISE,
    SETTINGS,
    Script,
    field_section,
    frame,
    headers,
    response,
    settings,
)
from judging import REQUEST_FIRST

from pytest_moqt.protocol.webtransport import CapsuleType, encode_capsule, stream_header, wire_code

CLOSE, DRAIN = CapsuleType.CLOSE_WEBTRANSPORT_SESSION, CapsuleType.DRAIN_WEBTRANSPORT_SESSION
UNKNOWN_CAPSULE = 0x2A
MANY = 1_000

Act = Callable[[Script], None]

STEPS = {
    "answered": ("setup", ("setup-only", "announce-only")),
    "setup": ("closed", ("setup-only", "announce-only")),
    "request": ("closed", REQUEST_FIRST),
    "reply": ("closed", REQUEST_FIRST),
}
"Where a session can end: the cause of the first case's failure, and the cases."


def say(data: bytes, *, fin: bool = False) -> Act:
    """Bytes on the CONNECT stream."""
    return lambda script: script.say(data, fin=fin)


def capsules(data: bytes, *, fin: bool = False) -> Act:
    """Capsules on the CONNECT stream."""
    return say(frame(DATA, data), fin=fin)


def control(data: bytes, *, fin: bool = False) -> Act:
    """Bytes on the control stream."""
    return lambda script: script.write(script.control_stream(), data, fin=fin)


def unidirectional(data: bytes, *, times: int = 1, fin: bool = False) -> Act:
    """New unidirectional streams that begin with these bytes."""

    def act(script: Script) -> None:
        for _ in range(times):
            script.write(script.open(), data, fin=fin)

    return act


def bidirectional(data: bytes) -> Act:
    """A new bidirectional stream that begins with these bytes."""
    return lambda script: script.write(script.open(unidirectional=False), data)


def datagrams(data: bytes, *, times: int = 1) -> Act:
    """DATAGRAM frames."""

    def act(script: Script) -> None:
        for _ in range(times):
            script.quic.send_datagram_frame(data)
        script.flush()

    return act


def reset(code: int, *, control_stream: bool = False) -> Act:
    """RESET_STREAM for CONNECT, or for the control stream."""

    def act(script: Script) -> None:
        script.quic.reset_stream(script.control_stream() if control_stream else 0, code)
        script.flush()

    return act


def stop(code: int) -> Act:
    """STOP_SENDING for CONNECT."""

    def act(script: Script) -> None:
        script.quic.stop_stream(0, code)
        script.flush()

    return act


def several(*acts: Act) -> Act:
    """One after the other."""

    def act(script: Script) -> None:
        for one in acts:
            one(script)

    return act


def _row(
    name: str,
    section: str,
    cause: str | None = None,
    says: str = "",
    *,
    cases: tuple[str, ...] = ("setup-only", "announce-only"),
    **script: object,
) -> Harm:
    hostile = partial(Script, **script)  # type: ignore[arg-type]
    return Harm(name, hostile, section, cause, says, cases, transports=("webtransport",))


def _breaks(name: str, section: str, says: str, **script: object) -> Harm:
    return _row(name, section, "webtransport", says, **script)


def _ends(name: str, section: str, act: Act, says: str = "") -> list[Harm]:
    """A session that ends in this way at every step."""
    rows = [_breaks(f"{name}-at-connect", section, says, at="connect", what=act, instead=True)]
    for step, (cause, cases) in STEPS.items():
        instead = step in ("answered", "request")
        rows.append(
            _row(
                f"{name}-at-{step}",
                section,
                cause,
                says,
                cases=cases,
                at=step,
                what=act,
                instead=instead,
            )
        )
    return rows


def _statuses() -> list[Harm]:
    section = "WebTransport section 3.2"
    refused = [
        _breaks(
            f"status-{status}",
            section,
            f"HTTP status {status}",
            answer=response(b"%d" % status),
            accepted=False,
        )
        for status in (300, 302, 404, 503, 599)
    ]
    taken = [_row(f"status-{status}", section, answer=response(b"%d" % status)) for status in (204, 299)]
    return [*refused, *taken]


def _malformed_answers() -> list[Harm]:
    section = "RFC 9114 section 4.1.2"
    protocol = (b"wt-protocol", b'"moqt-18"')
    rows = {
        "status-abc": response(b"abc"),
        "status-2000": response(b"2000"),
        "status-empty": response(b""),
        "status-with-newline": response(b"200\nok 3 - forged"),
        "status-101": response(b"101"),
        "status-missing": headers(protocol),
        "status-twice": headers((b":status", b"200"), (b":status", b"200"), protocol),
        "status-behind-fields": headers(protocol, (b":status", b"200")),
        "pseudo-field-unknown": headers((b":status", b"200"), (b":path", b"/"), protocol),
        "field-in-capitals": response(b"200", (b"Server", b"x")),
        "field-with-newline": response(b"200", (b"server", b"x\r\nok 3 - forged")),
        "field-with-nul": response(b"200", (b"server", b"x\0")),
        "field-of-connection": response(b"200", (b"transfer-encoding", b"chunked")),
        "wt-protocol-with-newline": headers((b":status", b"200"), (b"wt-protocol", b'"moqt-18\nok 3 - x"')),
    }
    return [
        _breaks(name, section, "H3_MESSAGE_ERROR", answer=answer, accepted=False)
        for name, answer in rows.items()
    ]


def _protocols() -> list[Harm]:
    section = "WebTransport section 3.3"
    rows: dict[str, tuple[bytes | None, str]] = {
        "missing": (None, "chose no draft"),
        "empty": (b"", "chose no draft"),
        "unclosed": (b'"moqt-18', "chose no draft"),
        "two": (b'"moqt-18", "moqt-18"', "chose no draft"),
        "not-ascii": (b'"\xff\xfe"', "offered: moqt-18"),
        "other": (b'"moqt-16"', "offered: moqt-18"),
        "unknown": (b'"ok 3 - forged"', "offered: moqt-18"),
        "directive": (b'"moqt-18 # SKIP"', "offered: moqt-18"),
        "terminal": (b'"\x1b[2Jmoqt-18"', "offered: moqt-18"),
        "long": (b'"' + b"m" * 30_000 + b'"', "offered: moqt-18"),
    }
    refused = [
        _breaks(
            f"wt-protocol-{name}",
            section,
            says,
            answer=headers((b":status", b"200"), *([] if value is None else [(b"wt-protocol", value)])),
            accepted=False,
        )
        for name, (value, says) in rows.items()
    ]
    bare = headers((b":status", b"200"), (b"wt-protocol", b"moqt-18"))
    return [*refused, _row("wt-protocol-bare", section, answer=bare)]


def _settings() -> list[Harm]:
    return [
        _breaks(
            "settings-twice",
            "RFC 9114 section 7.2.4",
            "H3_FRAME_UNEXPECTED",
            control=CORRECT + CORRECT,
        ),
        *(
            _breaks(
                f"settings-of-http2-{number}",
                "RFC 9114 section 7.2.4.1",
                "H3_SETTINGS_ERROR",
                control=settings({number: 1}),
            )
            for number in (0x2, 0x5)
        ),
        _breaks(
            "settings-same-twice",
            "RFC 9114 section 7.2.4",
            "H3_SETTINGS_ERROR",
            control=settings([(0x33, 1), (0x33, 1)]),
        ),
        _breaks(
            "settings-datagram-7",
            "RFC 9297 section 2.1.1",
            "H3_SETTINGS_ERROR",
            control=settings({0x33: 7}),
        ),
        _breaks(
            "settings-cut-off",
            "RFC 9114 section 7.1",
            "H3_FRAME_ERROR",
            control=frame(SETTINGS, vint(0x33)),
        ),
        _breaks(
            "settings-not-first",
            "RFC 9114 section 6.2.1",
            "H3_MISSING_SETTINGS",
            control=frame(GOAWAY, vint(0)) + CORRECT,
        ),
        _breaks(
            "settings-endless",
            "RFC 9114 section 10.5",
            "H3_EXCESSIVE_LOAD",
            control=frame(SETTINGS, bytes(200_000), length=LONGEST),
        ),
        # What counts is the answer to CONNECT: relays are met that announce less than they do.
        _row("settings-never", "RFC 9114 section 6.2.1", control=b""),
        _row("settings-never-whole", "RFC 9114 section 6.2.1", control=frame(SETTINGS, b"", length=LONGEST)),
        _row("control-stream-never", "RFC 9114 section 6.2.1", control=None),
        _row("settings-empty", "WebTransport section 3.1", control=settings({})),
        _row(
            "settings-without-datagrams", "RFC 9297 section 2.1.1", control=settings({0x8: 1, 0x2C7CF000: 1})
        ),
        _row(
            "settings-unknown",
            "RFC 9114 section 7.2.4.1",
            control=settings([*((0x1F * n + 0x21, LONGEST) for n in range(MANY)), (0x8, 1), (0x33, 1)]),
        ),
    ]


def _answers() -> list[Harm]:
    big = (b"x-padding", b"p" * 60_000)
    bigger = (b"x-padding", b"p" * 70_000)
    early = headers((b":status", b"103"))
    return [
        _row("interim", "RFC 9114 section 4.1", answer=early + response()),
        _row("interim-many", "RFC 9110 section 15.2", answer=early * MANY + response()),
        _breaks(
            "interim-only",
            "RFC 9114 section 4.1",
            "awaited an answer to CONNECT",
            answer=early * MANY,
            accepted=False,
        ),
        _breaks(
            "no-answer", "RFC 9220 section 3", "awaited an answer to CONNECT", at="connect", instead=True
        ),
        _row("answer-of-60-kB", "RFC 9114 section 4.2.2", answer=response(b"200", big)),
        _breaks(
            "answer-of-70-kB",
            "RFC 9114 section 10.5.1",
            "H3_EXCESSIVE_LOAD",
            answer=response(b"200", bigger),
            accepted=False,
        ),
        _breaks(
            "answer-endless",
            "RFC 9114 section 10.5",
            "H3_EXCESSIVE_LOAD",
            answer=frame(HEADERS, bytes(200_000), length=LONGEST),
            accepted=False,
        ),
        _breaks(
            "answer-never-whole",
            "RFC 9114 section 7.1",
            "awaited an answer to CONNECT",
            answer=frame(HEADERS, b"", length=LONGEST),
            accepted=False,
        ),
        _breaks(
            "answer-cut-off",
            "RFC 9114 section 7.1",
            "H3_FRAME_ERROR",
            at="connect",
            what=say(frame(HEADERS, field_section([]), length=100), fin=True),
            instead=True,
        ),
        _breaks(
            "data-before-answer",
            "RFC 9114 section 4.1",
            "H3_FRAME_UNEXPECTED",
            answer=frame(DATA, b"x") + response(),
            accepted=False,
        ),
        _breaks(
            "settings-as-answer",
            "RFC 9114 section 7.2.4",
            "H3_FRAME_UNEXPECTED",
            answer=CORRECT,
            accepted=False,
        ),
        _breaks(
            "frame-of-http2-as-answer",
            "RFC 9114 section 7.2.8",
            "H3_FRAME_UNEXPECTED",
            answer=frame(0x8, b"x"),
            accepted=False,
        ),
        _row(
            "unknown-frames-before-answer",
            "RFC 9114 section 9",
            answer=frame(GREASE, bytes(100_000)) + frame(GREASE) * MANY + response(),
        ),
        _breaks(
            "unknown-frame-endless",
            "RFC 9114 section 9",
            "awaited an answer to CONNECT",
            answer=frame(GREASE, bytes(100_000), length=LONGEST),
            accepted=False,
        ),
        *(
            _breaks(
                f"qpack-{name}",
                "RFC 9204 section 2.2.3",
                "QPACK_DECOMPRESSION_FAILED",
                answer=frame(HEADERS, section),
                accepted=False,
            )
            for name, section in {
                "static-99": b"\0\0\xff\xff\x01",
                "dynamic": b"\0\0\x80",
                "cut-off": b"\0\0\x27",
                "empty": b"",
                "huge-length": b"\0\0\x27\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            }.items()
        ),
        _breaks(
            "qpack-blocked",
            "RFC 9204 section 2.1.2",
            "awaited an answer to CONNECT",
            answer=frame(HEADERS, b"\x02\0\x80"),
            accepted=False,
        ),
        _breaks(
            "qpack-encoder-stream",
            "RFC 9204 section 4.3",
            "QPACK_ENCODER_STREAM_ERROR",
            at="open",
            what=unidirectional(vint(ENCODER) + b"\xff" * 40),
        ),
        _row(
            "answer-that-ends",
            "WebTransport section 6",
            "setup",
            at="connect",
            what=say(response(), fin=True),
            instead=True,
        ),
    ]


def _streams() -> list[Harm]:
    return [
        _breaks(
            "control-stream-closed",
            "RFC 9114 section 6.2.1",
            "H3_CLOSED_CRITICAL_STREAM",
            at="setup",
            what=control(b"", fin=True),
        ),
        _breaks(
            "control-stream-reset",
            "RFC 9114 section 6.2.1",
            "H3_CLOSED_CRITICAL_STREAM",
            at="setup",
            what=reset(0x100, control_stream=True),
        ),
        _breaks(
            "control-streams-two",
            "RFC 9114 section 6.2.1",
            "H3_STREAM_CREATION_ERROR",
            at="setup",
            what=unidirectional(b"\0" + CORRECT),
        ),
        _breaks(
            "data-on-control-stream",
            "RFC 9114 section 7.2.1",
            "H3_FRAME_UNEXPECTED",
            at="setup",
            what=control(frame(DATA, b"x")),
        ),
        _row(
            "unknown-frame-on-control-stream",
            "RFC 9114 section 9",
            at="setup",
            what=control(frame(GREASE, bytes(100_000), length=LONGEST)),
        ),
        _row("goaway", "RFC 9114 section 5.2", at="setup", what=control(frame(GOAWAY, vint(4)))),
        _row(
            "goaway-at-request",
            "RFC 9114 section 5.2",
            cases=REQUEST_FIRST,
            at="request",
            what=control(frame(GOAWAY, vint(4))),
        ),
        _row(
            "reserved-streams",
            "RFC 9114 section 6.2.3",
            at="setup",
            what=unidirectional(vint(0x1F * 7 + 0x21) + bytes(1000), times=100, fin=True),
        ),
        _row(
            "push-stream",
            "RFC 9114 section 4.6",
            at="setup",
            what=unidirectional(vint(PUSH, 0) + headers((b":status", b"404"))),
        ),
        _breaks(
            "push-stream-beyond-limit",
            "RFC 9114 section 4.6",
            "H3_ID_ERROR",
            at="setup",
            what=unidirectional(vint(PUSH, 1000)),
        ),
        _breaks(
            "push-promise-in-session",
            "RFC 9114 section 4.4",
            "H3_FRAME_UNEXPECTED",
            at="setup",
            what=say(
                frame(
                    PUSH_PROMISE,
                    vint(0)
                    + field_section(
                        [
                            (b":method", b"GET"),
                            (b":scheme", b"https"),
                            (b":authority", b"localhost"),
                            (b":path", b"/"),
                        ]
                    ),
                )
            ),
        ),
        _breaks(
            "trailers-in-session",
            "RFC 9114 section 4.4",
            "H3_FRAME_UNEXPECTED",
            at="setup",
            what=say(headers((b"x", b"y"))),
        ),
        _row(
            "request-of-a-server",
            "WebTransport section 4.2",
            at="setup",
            what=bidirectional(headers((b":method", b"GET"))),
        ),
        _row(
            "stream-of-other-session",
            "WebTransport section 4.5",
            at="setup",
            what=several(
                unidirectional(stream_header(4, unidirectional=True) + b"x", times=50),
                bidirectional(stream_header(4, unidirectional=False) + b"x"),
            ),
        ),
        _breaks(
            "stream-of-no-session",
            "WebTransport section 4",
            "H3_ID_ERROR",
            at="setup",
            what=unidirectional(stream_header(3, unidirectional=True) + b"x"),
        ),
        _breaks(
            "requests-of-no-session",
            "WebTransport section 4",
            "H3_ID_ERROR",
            at="setup",
            what=bidirectional(stream_header(LONGEST, unidirectional=False) + b"x"),
        ),
        _row(
            "stream-without-end-of-header",
            "WebTransport section 4.1",
            at="setup",
            what=unidirectional(b"\x40", times=50),
        ),
        _row(
            "datagrams-of-other-session",
            "RFC 9297 section 2.1",
            at="setup",
            what=datagrams(b"\x01x", times=MANY),
        ),
        _breaks(
            "datagram-empty", "RFC 9297 section 2.1", "H3_DATAGRAM_ERROR", at="setup", what=datagrams(b"")
        ),
        _breaks(
            "datagram-of-no-stream",
            "RFC 9297 section 2.1",
            "H3_DATAGRAM_ERROR",
            at="setup",
            what=datagrams(vint(LONGEST) + b"x"),
        ),
    ]


def _capsules() -> list[Harm]:
    section = "RFC 9297 section 3.3"
    return [
        _row("drain", "WebTransport section 4.6", at="setup", what=capsules(encode_capsule(DRAIN))),
        _row(
            "capsules-unknown",
            "RFC 9297 section 3.2",
            at="setup",
            what=capsules(encode_capsule(UNKNOWN_CAPSULE, bytes(100)) * MANY),
        ),
        _row(
            "capsule-endless",
            "RFC 9297 section 3.2",
            at="setup",
            what=say(frame(DATA, vint(UNKNOWN_CAPSULE, LONGEST) + bytes(100_000), length=LONGEST)),
        ),
        _row(
            "capsule-in-single-bytes",
            section,
            at="setup",
            what=several(*(capsules(bytes([byte])) for byte in encode_capsule(UNKNOWN_CAPSULE, b"abc"))),
        ),
        _row(
            "unknown-frame-between-capsules",
            "RFC 9114 section 9",
            at="setup",
            what=say(frame(GREASE, b"x" * 1000)),
        ),
        _breaks(
            "close-endless",
            section,
            "H3_MESSAGE_ERROR",
            at="setup",
            what=say(frame(DATA, vint(CLOSE, LONGEST), length=LONGEST)),
        ),
        _breaks(
            "close-without-code",
            section,
            "H3_MESSAGE_ERROR",
            at="setup",
            what=capsules(encode_capsule(CLOSE, b"\0\0")),
        ),
        _breaks(
            "close-cut-off",
            section,
            "H3_MESSAGE_ERROR",
            at="setup",
            what=capsules(encode_capsule(CLOSE, b"\0\0\0\0reason")[:-3], fin=True),
        ),
        _breaks(
            "drain-endless",
            section,
            "H3_MESSAGE_ERROR",
            at="setup",
            what=say(frame(DATA, vint(DRAIN, LONGEST), length=LONGEST)),
        ),
        _row(
            "close-not-utf8",
            "WebTransport section 6",
            "closed",
            at="setup",
            what=capsules(encode_capsule(CLOSE, b"\0\0\0\0" + NOT_UTF8)),
        ),
        _row(
            "close-with-long-reason",
            "WebTransport section 6",
            "closed",
            at="setup",
            what=capsules(encode_capsule(CLOSE, bytes(4) + b"\xf0\x9f\x92\xa5" * 256)),
        ),
        _row("stop-sending", "WebTransport section 6", at="setup", what=stop(0x100)),
    ]


HARMS = (
    *_statuses(),
    *_malformed_answers(),
    *_protocols(),
    *_settings(),
    *_answers(),
    *_streams(),
    *_capsules(),
    *_ends("close", "WebTransport section 6", capsules(encode_capsule(CLOSE, bytes(4) + FORGED))),
    *_ends("end-of-stream", "WebTransport section 6", say(b"", fin=True)),
    *_ends("reset", "RFC 9114 section 4.1.1", reset(0x10C)),
    _row(
        "reset-with-moqt-code",
        "WebTransport section 4.3",
        "closed",
        "PROTOCOL_VIOLATION (0x3)",
        at="setup",
        what=reset(wire_code(3)),
    ),
)
