"""Relays with which no session comes about as it should: connections, SETUP, the control stream."""

from __future__ import annotations

import dataclasses

from aioquic.quic.packet import QuicErrorCode

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.certificates import VALID_DAYS, Identity, self_signed
from pytest_moqt.relay.connection import Answer
from pytest_moqt.relay.defects.chapter import (
    ALL,
    CONTROL_STREAM,
    REQUEST_STREAMS,
    REQUESTING,
    SUB_PROTOCOL,
    WEBTRANSPORT,
    Chapter,
)
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

UNKNOWN_TYPE = 0x3E
"A control message type that no draft defines; one byte in every integer coding."


# ---- connections ---------------------------------------------------------------------------------

on_connection = Chapter("Connections")


@on_connection("tls-expired", "Its certificate has expired.", ALL, "tls")
class _TlsExpired(Behaviour):
    def identity(self, identity: Identity) -> Identity:  # noqa: ARG002 - replaced
        return self_signed(age_days=VALID_DAYS + 1)


@on_connection("tls-wrong-name", "Its certificate is another host's.", ALL, "tls")
class _TlsWrongName(Behaviour):
    def identity(self, identity: Identity) -> Identity:  # noqa: ARG002 - replaced
        return self_signed(host="relay.invalid", addresses=("192.0.2.1",))


@on_connection(
    "alpn-none",
    "It takes no application protocol that a client could offer.",
    ALL,
    "alpn",
    suite={"setup-alpn-selected": "alpn"},
)
class _AlpnNone(Behaviour):
    def alpn(self, protocols: list[str]) -> list[str]:  # noqa: ARG002 - replaced
        return ["moqt-none"]


@on_connection("quic-refuses", "It refuses every connection with CONNECTION_REFUSED.", ALL, "transport")
class _QuicRefuses(Behaviour):
    def refusal(self) -> int | None:
        return QuicErrorCode.CONNECTION_REFUSED


@on_connection(
    "wt-404", "It answers CONNECT with 404 on every path.", ALL, "webtransport", transports=WEBTRANSPORT
)
class _Wt404(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - replaced
        return Answer(404)


@on_connection(
    "wt-no-protocol",
    "It accepts the WebTransport session without naming the sub-protocol it chose.",
    ALL,
    "webtransport",
    SUB_PROTOCOL,
    WEBTRANSPORT,
)
class _WtNoProtocol(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - replaced
        return dataclasses.replace(answer, headers=())


@on_connection(
    "wt-unoffered-protocol",
    "It accepts the WebTransport session with a sub-protocol that was not offered.",
    ALL,
    "webtransport",
    SUB_PROTOCOL,
    WEBTRANSPORT,
)
class _WtUnofferedProtocol(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - replaced
        headers = tuple((name, b'"moqt-99"') for name, _ in answer.headers)
        return dataclasses.replace(answer, headers=headers)


# ---- SETUP ---------------------------------------------------------------------------------------

on_setup = Chapter("SETUP")


class _SetupFrame(Behaviour):
    """A relay whose SETUP is written wrongly."""

    def send_setup(self, session: Session) -> None:
        session.write(None, self.edit(session, session.frame(session.setup())).encode(session.draft))

    def edit(self, session: Session, frame: Frame) -> Frame:
        raise NotImplementedError


@on_setup("setup-never", "It never sends SETUP.", ALL, "setup")
class _SetupNever(Behaviour):
    def send_setup(self, session: Session) -> None:
        pass


@on_setup("setup-closes-after", "It closes the session when SETUPs have been exchanged.", ALL, "closed")
class _SetupClosesAfter(Behaviour):
    def established(self, session: Session) -> None:
        session.close(SessionError.INTERNAL_ERROR, "defect: setup-closes-after")


@on_setup("setup-is-goaway", "It sends GOAWAY where SETUP belongs.", ALL, "setup")
class _SetupIsGoaway(Behaviour):
    def send_setup(self, session: Session) -> None:
        goaway = m.Goaway(timeout_ms=0)
        session.write(None, session.frame(goaway).encode(session.draft))


@on_setup(
    "setup-unknown-type",
    "Its SETUP has a type that no draft defines.",
    ALL,
    "malformed",
    CONTROL_STREAM,
)
class _SetupUnknownType(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(type=UNKNOWN_TYPE)


@on_setup(
    "setup-unknown-stream",
    "Its control stream begins with a type that no draft defines.",
    ALL,
    "setup",
    REQUEST_STREAMS,
)
class _SetupUnknownStream(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(type=UNKNOWN_TYPE)


@on_setup("setup-trailing-byte", "Its SETUP has a byte after its last field.", ALL, "malformed")
class _SetupTrailingByte(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(body=frame.body + b"\x00")


@on_setup("setup-bad-length", "The Length of its SETUP is a byte too small.", ALL, "malformed")
class _SetupBadLength(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(length=len(frame.body) - 1)


@on_setup("setup-twice", "It sends SETUP twice.", ALL, "wrong-message")
class _SetupTwice(Behaviour):
    def send_setup(self, session: Session) -> None:
        session.send_control(session.setup())
        session.send_control(session.setup())


@on_setup(
    "setup-server-sends-path",
    "Its SETUP has PATH, which only a client's may have.",
    ALL,
    "setup",
    suite={"setup-server-options-legal": "setup"},
)
class _SetupServerSendsPath(Behaviour):
    def send_setup(self, session: Session) -> None:
        setup = session.setup()
        options = KeyValues([(SetupOption.PATH, b"/"), *setup.options.pairs])
        session.send_control(dataclasses.replace(setup, options=options))


@on_setup(
    "setup-selects-unoffered-version",
    "Its SERVER_SETUP selects a version that was not offered.",
    ALL,
    "setup",
    drafts(14, 14),
)
class _SetupSelectsUnofferedVersion(Behaviour):
    def send_setup(self, session: Session) -> None:
        setup = session.setup()
        versions = tuple(version + 1 for version in setup.versions)
        session.send_control(dataclasses.replace(setup, versions=versions))


@on_setup(
    "setup-grants-no-requests",
    "Its SERVER_SETUP has no MAX_REQUEST_ID, and no message grants any request later.",
    REQUESTING,
    "timeout",
    CONTROL_STREAM,
)
class _SetupGrantsNoRequests(Behaviour):
    def send_setup(self, session: Session) -> None:
        setup = session.setup()
        pairs = [pair for pair in setup.options.pairs if pair[0] != SetupOption.MAX_REQUEST_ID]
        session.send_control(dataclasses.replace(setup, options=KeyValues(pairs)))


@on_setup("request-closes-session", "It closes the session on any request.", REQUESTING, "closed")
class _RequestClosesSession(Behaviour):
    def requested(self, exchange: Exchange) -> None:
        exchange.session.close(SessionError.INTERNAL_ERROR, "defect: request-closes-session")


@on_setup(
    "control-stream-finished",
    "It ends its control stream when SETUPs have been exchanged.",
    ALL,
    "wrong-message",
)
class _ControlStreamFinished(Behaviour):
    def established(self, session: Session) -> None:
        session.write(None, b"", fin=True)
