"""Relays that are wrong about SETUP, request ids, GOAWAY."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import draft
from pytest_moqt.protocol.errors import ProtocolViolation, RemoteProtocolError
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.transport import StreamData, TransportEvent
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.protocol.webtransport import format_protocol
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.broken_quic import TakesAnyProtocol
from pytest_moqt.relay.connection import Answer
from pytest_moqt.relay.defects.chapter import (
    CONFORMANCE,
    CONTROL_STREAM,
    INFO,
    REQUEST_STREAMS,
    SKIP,
    SUB_PROTOCOL,
    WARN,
    WEBTRANSPORT,
    Chapter,
)
from pytest_moqt.relay.defects.conformance.overlooking import Overlooks
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.internals import ServerConnection
from pytest_moqt.relay.session import Session

RAW_QUIC = frozenset({"quic"})
ONLY_14 = drafts(14, 14)
PIECE = 4
"Bytes; a shorter one is a message cut in two to a relay that does not put them together."
BEGINNING_SECONDS = 1.0
"What a slow relay needs for SETUP; a client that does not wait asks sooner."


in_sessions = Chapter("Conformance: session", CONFORMANCE)

# ---- SETUP ---------------------------------------------------------------------------------------


@in_sessions.against(
    "setup-latest-draft-only",
    "It answers every request for a WebTransport session with its newest draft, whatever was offered.",
    {"setup-version-unsupported": "webtransport"},
    SUB_PROTOCOL,
    WEBTRANSPORT,
)
class _SetupLatestDraftOnly(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - any path
        if answer.draft is not None:
            return answer
        newest = draft(22)
        name = format_protocol(newest.label).encode()
        return Answer(200, ((b"wt-protocol", name),), newest)


@in_sessions.against(
    "setup-alpn-unchecked",
    "It goes on without an application protocol with a client that has none in common with it.",
    {"setup-version-unsupported": "alpn"},
    SUB_PROTOCOL,
    RAW_QUIC,
)
class _SetupAlpnUnchecked(Behaviour):
    def quic(self, usual: type[ServerConnection]) -> type[ServerConnection]:  # noqa: ARG002 - replaced
        return TakesAnyProtocol


@in_sessions.against(
    "setup-first-version-only",
    "It looks at the first version of CLIENT_SETUP only.",
    {"setup-version-list": "setup"},
    ONLY_14,
)
class _SetupFirstVersionOnly(Behaviour):
    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:  # noqa: ARG002 - of any session
        return m.Setup(setup.options, setup.versions[:1])


@in_sessions.against(
    "setup-any-version",
    "It answers CLIENT_SETUP without looking at its versions.",
    {"setup-version-unsupported": "timeout"},
    ONLY_14,
)
class _SetupAnyVersion(Behaviour):
    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:
        return m.Setup(setup.options, session.setup().versions)


@in_sessions.against(
    "setup-unknown-option-closes",
    "It ends a session whose SETUP has an option that it does not know.",
    {"setup-unknown-option-ignored": "closed", "setup-unknown-option-repeated": "closed"},
    REQUEST_STREAMS,
)
class _SetupUnknownOptionCloses(Behaviour):
    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:  # noqa: ARG002 - of any session
        for kind in setup.options:
            if kind not in set(SetupOption):
                raise ProtocolViolation(f"setup option {kind:#x} is unknown")
        return setup


@in_sessions.against(
    "setup-repeated-option-closes",
    "It ends a session whose SETUP has an option twice, known or not.",
    {"setup-unknown-option-repeated": "closed"},
    REQUEST_STREAMS,
)
class _SetupRepeatedOptionCloses(Behaviour):
    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:  # noqa: ARG002 - of any session
        if len(setup.options.pairs) != len(setup.options):
            raise ProtocolViolation("a setup option twice")
        return setup


class _Ignores(Behaviour):
    """A relay that has never heard of a setup option."""

    option: ClassVar[SetupOption]

    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:  # noqa: ARG002 - of any session
        return m.Setup(
            KeyValues([pair for pair in setup.options.pairs if pair[0] != self.option]), setup.versions
        )


@in_sessions.against(
    "setup-path-ignored",
    "It does not look at PATH.",
    {"setup-path-malformed": "timeout", "setup-path-on-webtransport": "timeout"},
)
class _SetupPathIgnored(_Ignores):
    option = SetupOption.PATH


@in_sessions.against(
    "setup-authority-ignored",
    "It does not look at AUTHORITY.",
    {"setup-authority-malformed": "timeout", "setup-authority-on-webtransport": "timeout"},
    drafts(15),
)
class _SetupAuthorityIgnored(_Ignores):
    option = SetupOption.AUTHORITY


@in_sessions.against(
    "setup-endpoint-wrong-code",
    "It ends a session at an endpoint that it does not serve with INTERNAL_ERROR.",
    {"setup-path-unsupported": WARN, "setup-authority-unsupported": WARN},
    transports=RAW_QUIC,
)
class _SetupEndpointWrongCode(Behaviour):
    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:
        path = setup.options.get(SetupOption.PATH, b"")
        authority = setup.options.get(SetupOption.AUTHORITY, b"")
        if path not in (b"", b"/") or b".invalid" in authority:
            session.close(SessionError.INTERNAL_ERROR, "no such endpoint")
        return setup


@in_sessions.against(
    "setup-endpoint-strict",
    "It serves one path of one authority, as it may.",
    {"setup-path-unsupported": INFO, "setup-authority-unsupported": INFO},
    transports=RAW_QUIC,
)
class _SetupEndpointStrict(Behaviour):
    def take_setup(self, session: Session, setup: m.Setup) -> m.Setup:
        if setup.options.get(SetupOption.PATH, b"") not in (b"", b"/"):
            session.close(SessionError.INVALID_PATH, "no such endpoint")
        elif b".invalid" in setup.options.get(SetupOption.AUTHORITY, b""):
            session.close(SessionError.INVALID_AUTHORITY, "no such authority")
        return setup


@in_sessions.against(
    "setup-whole-reads-only",
    "It takes what it reads for whole messages.",
    {"setup-byte-by-byte": "closed"},
)
class _SetupWholeReadsOnly(Behaviour):
    def heard(self, session: Session, event: TransportEvent) -> TransportEvent | None:
        if isinstance(event, StreamData) and not event.fin and len(event.data) < PIECE:
            session.close(SessionError.PROTOCOL_VIOLATION, "a message cut in two")
        return event


class _SlowToBegin(Behaviour):
    """A relay that needs some time for a client's SETUP, and does not keep what comes meanwhile."""

    def __init__(self) -> None:
        self._ready: set[Session] = set()

    def established(self, session: Session) -> None:
        session.call_later(BEGINNING_SECONDS, self._ready.add, session)

    def requested(self, exchange: Exchange) -> None:
        if exchange.session not in self._ready:
            self.early(exchange)

    def early(self, exchange: Exchange) -> None:
        raise NotImplementedError


@in_sessions.against(
    "setup-early-requests-close",
    "It ends a session that makes requests right behind SETUP.",
    {"setup-pipelined-requests": "closed"},
    REQUEST_STREAMS,
)
class _SetupEarlyRequestsClose(_SlowToBegin):
    def early(self, exchange: Exchange) -> None:
        exchange.session.close(SessionError.PROTOCOL_VIOLATION, "a request right behind SETUP")


@in_sessions.against(
    "setup-early-requests-reset",
    "It resets the streams of requests that come right behind SETUP.",
    {"setup-pipelined-requests": WARN},
    REQUEST_STREAMS,
)
class _SetupEarlyRequestsReset(_SlowToBegin):
    def early(self, exchange: Exchange) -> None:
        exchange.cancel()


@in_sessions.against(
    "setup-twice-borne",
    "It goes on after a second SETUP, and with a second control stream.",
    {"setup-second-setup": WARN, "setup-second-control-stream": WARN},
    drafts(16),
)
class _SetupTwiceBorne(Overlooks):
    phrases = ("a second", "begins with CLIENT_SETUP")


@in_sessions.against(
    "setup-second-control-stream-borne",
    "It reads no second bidirectional stream, as it may.",
    {"setup-second-control-stream": INFO, "bidi-unexpected-first-message": INFO},
    drafts(14, 15),
)
class _SetupSecondControlStreamBorne(Overlooks):
    phrases = ("a bidirectional stream that begins with",)


@in_sessions.against(
    "setup-not-first-borne",
    "It waits for SETUP behind whatever else a control stream begins with.",
    {"setup-first-message-not-setup": "timeout"},
    drafts(16, 16),
)
class _SetupNotFirstBorne(Overlooks):
    phrases = ("that begins with",)


@in_sessions.against(
    "setup-not-first-awaited",
    "It waits for SETUP behind another message, where its draft does not say that this ends the session.",
    {"setup-first-message-not-setup": WARN},
    drafts(14, 15),
)
class _SetupNotFirstAwaited(_SetupNotFirstBorne):
    pass


@in_sessions.against(
    "setup-one-at-a-time",
    "It says SETUP to no client while it waits for that of another.",
    {"setup-missing": "setup"},
    REQUEST_STREAMS,
)
class _SetupOneAtATime(Behaviour):
    def __init__(self) -> None:
        self._waiting: list[Session] = []

    def send_setup(self, session: Session) -> None:
        self._waiting = [other for other in self._waiting if not (other.established or other.closed)]
        if not self._waiting:
            super().send_setup(session)
        self._waiting.append(session)


# ---- streams -------------------------------------------------------------------------------------


@in_sessions.against(
    "control-stream-end-borne",
    "It goes on without its client's control stream.",
    {"control-stream-fin": "timeout", "control-stream-reset": "timeout"},
)
class _ControlStreamEndBorne(Overlooks):
    phrases = ("ended the control stream", "reset the control stream")


@in_sessions.against(
    "control-stream-stop-borne",
    "It goes on without its own control stream when the client stops it.",
    {"control-stream-reset": WARN},
)
class _ControlStreamStopBorne(Overlooks):
    phrases = ("stopped the control stream",)


@in_sessions.against(
    "bidi-first-message-borne",
    "It passes over a bidirectional stream that begins with no request.",
    {"bidi-unexpected-first-message": "timeout"},
    drafts(16),
)
class _BidiFirstMessageBorne(Overlooks):
    phrases = ("stream that begins with",)


# ---- request ids ---------------------------------------------------------------------------------


@in_sessions.against(
    "request-id-unchecked",
    "It does not look at request ids.",
    {
        "request-id-wrong-parity": "timeout",
        "request-id-duplicate": "timeout",
        "request-id-skipped": "timeout",
    },
    CONTROL_STREAM,
)
class _RequestIdUnchecked(Overlooks):
    phrases = ("request id",)


@in_sessions.against(
    "request-id-parity-unchecked",
    "It does not look at the parity of request ids, nor for two of a kind.",
    {"request-id-wrong-parity": "timeout", "request-id-duplicate": "timeout"},
    REQUEST_STREAMS,
)
class _RequestIdParityUnchecked(Overlooks):
    phrases = ("request id",)


@in_sessions.against(
    "request-id-wrong-code",
    "It ends a session for its request ids with PROTOCOL_VIOLATION.",
    {"request-id-wrong-parity": WARN, "request-id-duplicate": WARN},
)
class _RequestIdWrongCode(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        if error.code is SessionError.INVALID_REQUEST_ID:
            return SessionError.PROTOCOL_VIOLATION
        return super().violated(session, error)


@in_sessions.against(
    "request-id-in-sequence",
    "It wants request ids in sequence, although their streams have none.",
    {"request-id-out-of-order": "closed", "request-id-overtaken": "closed", "request-id-skipped": WARN},
    REQUEST_STREAMS,
)
class _RequestIdInSequence(Behaviour):
    def __init__(self) -> None:
        self._next: dict[Session, int] = {}

    def requested(self, exchange: Exchange) -> None:
        session, number = exchange.session, exchange.request_id
        if number is None or number != self._next.get(session, 0):
            session.close(SessionError.INVALID_REQUEST_ID, f"request id {number} is not the next")
        else:
            self._next[session] = number + 2


@in_sessions.against(
    "request-ids-in-a-window",
    "It takes a request id for a used one that is 64 requests behind the largest.",
    {"request-id-overtaken": "closed"},
    REQUEST_STREAMS,
)
class _RequestIdsInAWindow(Behaviour):
    def __init__(self) -> None:
        self._largest: dict[Session, int] = {}

    def requested(self, exchange: Exchange) -> None:
        session, number = exchange.session, exchange.request_id
        largest = self._largest.get(session, 0)
        if number is None or number < largest - 2 * 64:
            session.close(SessionError.INVALID_REQUEST_ID, f"duplicate request id {number}")
        else:
            self._largest[session] = max(largest, number)


@in_sessions.against(
    "sixty-fifth-request-ends-session",
    "It ends a session that makes a sixty-fifth request, for there are too many.",
    {"request-id-overtaken": SKIP},
    REQUEST_STREAMS,
)
class _SixtyFifthRequestEndsSession(Behaviour):
    def __init__(self) -> None:
        self._made: Counter[Session] = Counter()

    def requested(self, exchange: Exchange) -> None:
        self._made[exchange.session] += 1
        if self._made[exchange.session] > 64:
            exchange.session.close(SessionError.TOO_MANY_REQUESTS, "there are too many requests")


@in_sessions.against(
    "late-request-ends-session",
    "It ends a session for a request id that comes late, as for an error of its own.",
    {"request-id-overtaken": "closed", "request-id-out-of-order": "closed"},
    REQUEST_STREAMS,
)
class _LateRequestEndsSession(Behaviour):
    def __init__(self) -> None:
        self._made: Counter[Session] = Counter()

    def requested(self, exchange: Exchange) -> None:
        self._made[exchange.session] += 1
        if exchange.request_id == 0 and self._made[exchange.session] > 1:
            exchange.session.close(SessionError.INTERNAL_ERROR, "request 0 is late")


@in_sessions.against(
    "request-id-unlimited",
    "It takes request ids that it has not granted, and grants that take some back.",
    {"request-id-exceeds-max": "timeout", "max-request-id-not-increasing": "timeout"},
    CONTROL_STREAM,
)
class _RequestIdUnlimited(Overlooks):
    phrases = ("the maximum is", "the next is", "MAX_REQUEST_ID")


# ---- GOAWAY --------------------------------------------------------------------------------------


@in_sessions.against(
    "goaway-closes",
    "It ends the session of a client that sends GOAWAY.",
    {"goaway-from-client": "closed"},
)
class _GoawayCloses(Behaviour):
    def gone_away(self, session: Session) -> None:
        session.close(SessionError.NO_ERROR, "as you wish")


@in_sessions.against(
    "goaway-unchecked",
    "It does not look at what a client's GOAWAY says, nor how often it comes.",
    {"goaway-client-uri-nonempty": "timeout", "goaway-repeated": "timeout"},
)
class _GoawayUnchecked(Overlooks):
    phrases = ("GOAWAY",)


@in_sessions.against(
    "goaway-request-unchecked",
    "It does not look at the Request ID of GOAWAY.",
    {"goaway-request-id-parity": "timeout"},
    drafts(18, 18),
)
class _GoawayRequestUnchecked(Overlooks):
    phrases = ("GOAWAY names request",)


# ---- names that are nobody's ---------------------------------------------------------------------


@in_sessions.against(
    "reserved-namespaces-served",
    "It serves reserved namespaces like any other.",
    {"reserved-namespace-dot": "wrong-message", "session-namespace-not-forwarded": "wrong-message"},
    drafts(18),
)
class _ReservedNamespacesServed(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        if error.reason == "the namespace is reserved":
            return None
        return super().objection(exchange, error)


@in_sessions.against(
    "session-namespace-accepted",
    "It accepts a publisher of `.session`, and asks it for nothing.",
    {"session-namespace-not-forwarded": "wrong-message"},
    drafts(18),
)
class _SessionNamespaceAccepted(Behaviour):
    def requested(self, exchange: Exchange) -> None:
        request = exchange.request
        if isinstance(request, m.PublishNamespace) and request.track_namespace[:1] == (b".session",):
            exchange.reply(m.RequestOk())


@in_sessions.against(
    "session-namespace-told",
    "It refuses a publisher of `.session`, and tells others of it.",
    {"session-namespace-not-forwarded": "wrong-message"},
    drafts(18),
)
class _SessionNamespaceTold(Behaviour):
    def __init__(self) -> None:
        self._interests: list[Exchange] = []

    def accept_interest(self, exchange: Exchange) -> None:
        super().accept_interest(exchange)
        self._interests.append(exchange)

    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        request = exchange.request
        if isinstance(request, m.PublishNamespace) and request.track_namespace[:1] == (b".session",):
            for interest in self._interests:
                interest.send(m.Namespace(request.track_namespace))
        return super().objection(exchange, error)
