"""Relays that are wrong about raw QUIC and WebTransport."""

from __future__ import annotations

from collections.abc import Sequence

from aioquic.h3.connection import ErrorCode

from pytest_moqt.protocol.messages import Subscribe
from pytest_moqt.protocol.registries import SessionError, StreamError
from pytest_moqt.protocol.transport import TransportClosed
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.broken_quic import IgnoresStreamLimits, NoDatagrams
from pytest_moqt.relay.connection import Answer, SessionTransport
from pytest_moqt.relay.defects.chapter import CONFORMANCE, SUB_PROTOCOL, WARN, WEBTRANSPORT, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.internals import ServerConnection
from pytest_moqt.relay.session import Session

of_transports = Chapter("Conformance: transport", CONFORMANCE)


def _transport(session: Session) -> SessionTransport:
    assert isinstance(session.transport, SessionTransport), "it serves real connections only"
    return session.transport


@of_transports.against(
    "datagrams-not-negotiated",
    "Its QUIC takes no DATAGRAM frames.",
    {"quic-datagram-negotiated": "data"},
    transports=frozenset({"quic"}),
)
class _DatagramsNotNegotiated(Behaviour):
    def quic(self, usual: type[ServerConnection]) -> type[ServerConnection]:  # noqa: ARG002 - replaced
        return NoDatagrams


@of_transports.against(
    "stream-limit-ignored",
    "It opens a stream for each group, whether the client lets it or not.",
    {"quic-stream-limit-respected": "transport"},
)
class _StreamLimitIgnored(Behaviour):
    def quic(self, usual: type[ServerConnection]) -> type[ServerConnection]:  # noqa: ARG002 - replaced
        return IgnoresStreamLimits


@of_transports.against(
    "wt-path-dead",
    "It accepts a WebTransport session on any path, and serves one path.",
    {"wt-connect-path": "setup"},
    transports=WEBTRANSPORT,
)
class _WtPathDead(Behaviour):
    def __init__(self) -> None:
        self._dead = False

    def answer_connect(self, answer: Answer, path: str) -> Answer:
        self._dead = path != "/"
        return answer

    def send_setup(self, session: Session) -> None:
        if not self._dead:
            super().send_setup(session)


@of_transports.against(
    "wt-first-protocol-only",
    "It looks at the first protocol that a WebTransport client offers.",
    {"wt-protocol-header": "webtransport"},
    SUB_PROTOCOL,
    WEBTRANSPORT,
)
class _WtFirstProtocolOnly(Behaviour):
    def offered(self, names: Sequence[str] | None) -> Sequence[str] | None:
        return names and names[:1]


@of_transports.against(
    "wt-close-never",
    "It says to no WebTransport client that its session is over.",
    {"wt-close-capsule": "timeout"},
    transports=WEBTRANSPORT,
)
class _WtCloseNever(Behaviour):
    def close_session(self, session: Session, code: SessionError, reason: str) -> None:
        pass


@of_transports.against(
    "wt-close-connection",
    "It ends the QUIC connection with an error of HTTP/3 instead of the WebTransport session.",
    {"wt-close-capsule": WARN},
    transports=WEBTRANSPORT,
)
class _WtCloseConnection(Behaviour):
    def close_session(self, session: Session, code: SessionError, reason: str) -> None:  # noqa: ARG002
        transport = _transport(session)
        transport.closed = True
        transport.connection.close(ErrorCode.H3_GENERAL_PROTOCOL_ERROR, reason)


@of_transports.against(
    "wt-session-end-overlooked",
    "It takes no note of the end of a WebTransport session while its connection stands.",
    {"wt-session-end-by-client": "timeout"},
    transports=WEBTRANSPORT,
)
class _WtSessionEndOverlooked(Behaviour):
    def notices_end(self, session: Session, closed: TransportClosed) -> bool:  # noqa: ARG002 - of any
        return closed.layer != "session"


@of_transports.against(
    "wt-reset-code-unmapped",
    "It resets the streams of a WebTransport session with the bare codes of MoQT.",
    {"wt-reset-code-mapping": "webtransport"},
    transports=WEBTRANSPORT,
)
class _WtResetCodeUnmapped(Behaviour):
    def reset_objects(self, session: Session, stream_id: int, error: StreamError) -> None:
        transport = _transport(session)
        transport.quic.reset_stream(stream_id, session.stream_code(error))
        transport.connection.send_soon()


@of_transports.against(
    "transports-apart",
    "It routes raw QUIC and WebTransport each for itself.",
    {"transport-crossing": "rejected"},
)
class _TransportsApart(Behaviour):
    def __init__(self) -> None:
        self._asking = ""

    def requested(self, exchange: Exchange) -> None:
        if isinstance(exchange.request, Subscribe):
            self._asking = exchange.session.transport.name

    def publishers(self, sessions: list[Session]) -> list[Session]:
        return [session for session in sessions if session.transport.name == self._asking]
