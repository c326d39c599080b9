"""Relays that say one text wherever they may."""

from __future__ import annotations

import dataclasses
from enum import Enum

from judging import REQUEST_FIRST
from relays import Deed, Hostile, Step, number, phrase
from request_harm import publish_and_end
from setup_harm import goaway

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.protocol.webtransport import CapsuleType, encode_capsule
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session


class End(Enum):
    """How the session ends in which a relay says a text wherever it may."""

    REFUSAL = "with REQUEST_ERROR"
    CLOSE = "with the session"
    ASSERTION = "with an answer that the case asserts against"

    @property
    def cases(self) -> tuple[str, ...]:
        """What the relay is judged by."""
        return ("rendezvous-timeout",) if self is End.ASSERTION else REQUEST_FIRST

    @property
    def cause(self) -> str:
        """Of the verdict."""
        return {End.REFUSAL: "rejected", End.CLOSE: "closed", End.ASSERTION: "data"}[self]


class _Octets(str):
    """A text whose encoding is whatever it was given, for what takes only texts."""

    __slots__ = ("octets",)
    octets: bytes

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The bytes given."""
        return self.octets


def _repeated(text: bytes, limit: int) -> bytes:
    """A text as often as it fits."""
    return text * (limit // len(text)) if text else text


class Talker(Hostile):
    """A relay that says one text in every place where a draft has room for one.

    Its name, a GOAWAY's URI, the reason of a PUBLISH_DONE, and that of the end.

    Args:
        text: The bytes.
        end: How it ends.
        often: Whether each place is filled to its limit.
    """

    def __init__(self, text: bytes, end: End, *, often: bool) -> None:
        super().__init__(Deed("talk", Step.REQUESTED, self._talk, end.cause, "reason-phrase"))
        self._text = text
        self._often = often
        self._end = end

    def send_setup(self, session: Session) -> None:
        """SETUP with the text for a name."""
        if self._victim is not None:
            super().send_setup(session)
            return
        self._victim = session
        setup = session.setup()
        pairs = [*setup.options.pairs]
        pairs = [pair for pair in pairs if pair[0] != SetupOption.MOQT_IMPLEMENTATION]
        pairs.append((SetupOption.MOQT_IMPLEMENTATION, self._fill(60000)))
        session.send_control(dataclasses.replace(setup, options=KeyValues(pairs)))

    def hold_seconds(self, subscribe: m.Subscribe) -> float:
        """Nothing is waited for."""
        return 0.0 if self._end is End.ASSERTION else super().hold_seconds(subscribe)

    def no_publisher(self, exchange: Exchange) -> None:
        """The answer to SUBSCRIBE."""
        if self._end is not End.ASSERTION or not self._strikes(Step.REQUESTED, exchange.session, exchange):
            super().no_publisher(exchange)

    def _fill(self, limit: int) -> bytes:
        return _repeated(self._text, limit) if self._often else self._text

    def _talk(self, exchange: Exchange) -> None:
        session = exchange.session
        uri = self._fill(8192)
        body = number(session, len(uri)) + uri + goaway(session).partition(b"\x10")[2][3:]
        session.write(None, Frame(0x10, body).encode(session.draft))
        publish_and_end(exchange, self._fill(1024))
        # In this order, and the end last, on whatever streams.
        session.transport.connection.flush()
        if self._end is End.CLOSE:
            close_with(session, self._fill(1000))
        else:
            error = exchange.frame(m.RequestError(RequestErrorCode.UNAUTHORIZED))
            exchange.write(error.replace(body=error.body[:-1] + phrase(exchange, self._fill(1024))))


def close_with(session: Session, reason: bytes) -> None:
    """Close a session with bytes for a reason."""
    text = _Octets("reason")
    text.octets = reason
    transport = session.transport
    if transport.name == "quic":
        transport.connection.quic.close(error_code=0x1, reason_phrase=text)
        transport.connection.send_soon()
    else:
        value = (0x1).to_bytes(4, "big") + reason
        capsule = encode_capsule(CapsuleType.CLOSE_WEBTRANSPORT_SESSION, value)
        upper = transport._upper
        upper._http3.send_data(transport._session_id, capsule, end_stream=True)
        transport.connection.send_soon()
    session._end()


FORGED = b"forged"
"A word that every text has, so that none is lost unseen."

TEXTS: dict[str, bytes] = {
    "newline": b"forged\nok 3 - forged\nnot ok 4 - forged",
    "crlf": b"forged\r\nok 3 - forged\r\nnot ok 4 - forged\r\n",
    "carriage-return": b"forged\rok 3 - forged",
    "point": b"ok 3 - forged",
    "failure": b"not ok 3 - forged",
    "plan": b"forged\n1..0\n1..1\n",
    "empty-plan": b"forged\n1..0 # SKIP forged",
    "version": b"forged\nTAP version 14\n1..1\nok 1 - forged\n",
    "block-begins": b"forged\n  ---\n  duration_ms: 1\n",
    "block-ends": b"forged\n  ...\nok 3 - forged\n",
    "bail-out": b"forged\nBail out! forged\n",
    "skip": b"forged # SKIP not our business",
    "todo": b"forged # TODO later",
    "escapes": b"forged \\# SKIP \\\\ # TODO \\",
    "quotes": b'forged": "x", \'y\': {z: [&a *a !b %c @d `e | f > g',
    "yaml": b"forged\n  cause: none\n  - ok 3 - forged\n  ? x\n",
    "prefix": b"forged\ntest-client-1  | ok 3 - forged\n",
    "subtest": b"forged\n# Subtest: forged\n    ok 1 - forged\n    1..1\n",
    "ansi": b"\x1b[2J\x1b[1;1Hok 3 - forged\x1b[0m\x9b31m\x1b]0;forged\x07",
    "nul": b"forged\0ok 3 - forged\0",
    "controls": b"forged" + bytes(range(32)) + b"\x7f",
    "invalid-utf-8": b"forged\xff\xfe\xc3\x28\xf5\x80\x80\x80",
    "surrogate": b"forged\xed\xa0\x80\xed\xbf\xbf",
    "overlong": b"forged\xc0\x8aok 3 - forged\xe0\x80\x8a",
    "separators": "forged\u2028ok 3 - forged\u2029ok 4 - forged\x85ok 5 - forged\x0b\x0c".encode(),
    "bidi": "forged \u202eko 3 - degrof\u202c \u2066ok\u2069 \u200f\u061c".encode(),
    "invisible": "forged\u200b\ufeff\u00ad\u2060\U000e0001\U000e0041".encode(),
    "wide": "forged 🏴‍☠️ ＯＫ ３ － ｆｏｒｇｅｄ ﷽".encode(),
    "spaces": b"   forged \t  ",
}
