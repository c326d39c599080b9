"""Relays that are wrong in exactly one way each: with them the test suite is proven able to fail.

Rules:

- A defect overrides decisions of `Behaviour`, and only for one wrong way; everything else stays correct.
- An entry says which cases must fail with it, for which cause. All other cases must pass. A case that
  a draft does not have, as `rendezvous-timeout` before 18, is skipped there as ever.
- `drafts` and `transports` say where the defect exists; elsewhere the relay is a correct one.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from aioquic.quic.packet import QuicErrorCode

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft, draft
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.parameters import SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError, StreamError
from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.protocol.values import KeyValues, TrackNamespace
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.certificates import VALID_DAYS, Identity, self_signed
from pytest_moqt.relay.connection import Answer
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

UNKNOWN_TYPE = 0x3E
"A control message type that no draft defines; one byte in every integer coding."


@dataclass(frozen=True)
class Defect:
    """One wrong way."""

    name: str
    sentence: str
    "What the relay does, for a list of them."
    cases: frozenset[str]
    "Identifiers of the cases that must fail."
    cause: str
    "The cause class that their reports must name."
    behaviour: type[Behaviour]
    drafts: Span | None = None
    "The drafts that it exists in; None: all."
    transports: frozenset[str] | None = None
    "`quic`, `webtransport`; None: both."

    def applies(self, number: int, transport: str) -> bool:
        """Whether the relay is wrong in a draft over a transport."""
        return (self.drafts is None or number in self.drafts) and (
            self.transports is None or transport in self.transports
        )


_ANNOUNCING = frozenset(
    {"announce-only", "publish-namespace-done", "announce-subscribe", "subscribe-before-announce"}
)
_REQUESTING = _ANNOUNCING | {"subscribe-error", "rendezvous-timeout"}
_ALL = _REQUESTING | {"setup-only"}
_WITHDRAWING = frozenset({"publish-namespace-done"})
_REFUSED = frozenset({"subscribe-error"})
_UNPUBLISHED = _REFUSED | {"subscribe-before-announce"}
_ROUTED = frozenset({"announce-subscribe"})
_EARLY = frozenset({"subscribe-before-announce"})
_HELD = frozenset({"rendezvous-timeout"})

_CONTROL_STREAM = drafts(14, 16)
"Drafts that answer requests on the control stream, under their ids."
_REQUEST_STREAMS = drafts(17)
"Drafts that answer requests on streams of their own."
_SUB_PROTOCOL = drafts(15)
"Drafts that a WebTransport client offers by name."
_WEBTRANSPORT = frozenset({"webtransport"})

_registry: dict[str, Defect] = {}


def _defect(
    name: str,
    sentence: str,
    cases: frozenset[str],
    cause: str,
    where: Span | None = None,
    transports: frozenset[str] | None = None,
) -> Any:
    def register(behaviour: type[Behaviour]) -> type[Behaviour]:
        _registry[name] = Defect(name, sentence, cases, cause, behaviour, where, transports)
        return behaviour

    return register


def behaviour_of(name: str | None) -> Behaviour:
    """How the relay of a defect decides; without a name, a correct one.

    Raises:
        KeyError: There is no such defect; the message is a sentence that names those most like it.
    """
    if name is None:
        return Behaviour()
    try:
        return DEFECTS[name].behaviour()
    except KeyError:
        close = difflib.get_close_matches(name, DEFECTS, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise KeyError(f"no defect is called {name!r}{hint}") from None


# ---- connections -----------------------------------------------------------------------------------


@_defect("tls-expired", "Its certificate has expired.", _ALL, "tls")
class _TlsExpired(Behaviour):
    def identity(self, identity: Identity) -> Identity:  # noqa: ARG002 - replaced
        return self_signed(age_days=VALID_DAYS + 1)


@_defect("tls-wrong-name", "Its certificate is another host's.", _ALL, "tls")
class _TlsWrongName(Behaviour):
    def identity(self, identity: Identity) -> Identity:  # noqa: ARG002 - replaced
        return self_signed(host="relay.invalid", addresses=("192.0.2.1",))


@_defect("alpn-none", "It takes no application protocol that a client could offer.", _ALL, "alpn")
class _AlpnNone(Behaviour):
    def alpn(self, protocols: list[str]) -> list[str]:  # noqa: ARG002 - replaced
        return ["moqt-none"]


@_defect("quic-refuses", "It refuses every connection with CONNECTION_REFUSED.", _ALL, "transport")
class _QuicRefuses(Behaviour):
    def refusal(self) -> int | None:
        return QuicErrorCode.CONNECTION_REFUSED


@_defect(
    "wt-404", "It answers CONNECT with 404 on every path.", _ALL, "webtransport", transports=_WEBTRANSPORT
)
class _Wt404(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - replaced
        return Answer(404)


@_defect(
    "wt-no-protocol",
    "It accepts the WebTransport session without naming the sub-protocol it chose.",
    _ALL,
    "webtransport",
    _SUB_PROTOCOL,
    _WEBTRANSPORT,
)
class _WtNoProtocol(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - replaced
        return dataclasses.replace(answer, headers=())


@_defect(
    "wt-unoffered-protocol",
    "It accepts the WebTransport session with a sub-protocol that was not offered.",
    _ALL,
    "webtransport",
    _SUB_PROTOCOL,
    _WEBTRANSPORT,
)
class _WtUnofferedProtocol(Behaviour):
    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - replaced
        headers = tuple((name, b'"moqt-99"') for name, _ in answer.headers)
        return dataclasses.replace(answer, headers=headers)


# ---- SETUP -----------------------------------------------------------------------------------------


class _SetupFrame(Behaviour):
    """A relay whose SETUP is written wrongly."""

    def send_setup(self, session: Session) -> None:
        session.write(None, self.edit(session, session.frame(session.setup())).encode(session.draft))

    def edit(self, session: Session, frame: Frame) -> Frame:
        raise NotImplementedError


@_defect("setup-never", "It never sends SETUP.", _ALL, "setup")
class _SetupNever(Behaviour):
    def send_setup(self, session: Session) -> None:
        pass


@_defect("setup-closes-after", "It closes the session when SETUPs have been exchanged.", _ALL, "closed")
class _SetupClosesAfter(Behaviour):
    def established(self, session: Session) -> None:
        session.close(SessionError.INTERNAL_ERROR, "defect: setup-closes-after")


@_defect("setup-is-goaway", "It sends GOAWAY where SETUP belongs.", _ALL, "setup")
class _SetupIsGoaway(Behaviour):
    def send_setup(self, session: Session) -> None:
        goaway = m.Goaway(timeout_ms=0)
        session.write(None, session.frame(goaway).encode(session.draft))


@_defect(
    "setup-unknown-type",
    "Its SETUP has a type that no draft defines.",
    _ALL,
    "malformed",
    _CONTROL_STREAM,
)
class _SetupUnknownType(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(type=UNKNOWN_TYPE)


@_defect(
    "setup-unknown-stream",
    "Its control stream begins with a type that no draft defines.",
    _ALL,
    "setup",
    _REQUEST_STREAMS,
)
class _SetupUnknownStream(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(type=UNKNOWN_TYPE)


@_defect("setup-trailing-byte", "Its SETUP has a byte after its last field.", _ALL, "malformed")
class _SetupTrailingByte(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(body=frame.body + b"\x00")


@_defect("setup-bad-length", "The Length of its SETUP is a byte too small.", _ALL, "malformed")
class _SetupBadLength(_SetupFrame):
    def edit(self, session: Session, frame: Frame) -> Frame:  # noqa: ARG002 - of any session
        return frame.replace(length=len(frame.body) - 1)


@_defect("setup-twice", "It sends SETUP twice.", _ALL, "wrong-message")
class _SetupTwice(Behaviour):
    def send_setup(self, session: Session) -> None:
        session.send_control(session.setup())
        session.send_control(session.setup())


@_defect("setup-server-sends-path", "Its SETUP has PATH, which only a client's may have.", _ALL, "setup")
class _SetupServerSendsPath(Behaviour):
    def send_setup(self, session: Session) -> None:
        setup = session.setup()
        options = KeyValues([(SetupOption.PATH, b"/"), *setup.options.pairs])
        session.send_control(dataclasses.replace(setup, options=options))


@_defect(
    "setup-selects-unoffered-version",
    "Its SERVER_SETUP selects a version that was not offered.",
    _ALL,
    "setup",
    drafts(14, 14),
)
class _SetupSelectsUnofferedVersion(Behaviour):
    def send_setup(self, session: Session) -> None:
        setup = session.setup()
        versions = tuple(version + 1 for version in setup.versions)
        session.send_control(dataclasses.replace(setup, versions=versions))


@_defect(
    "setup-grants-no-requests",
    "Its SERVER_SETUP has no MAX_REQUEST_ID, and no message grants any request later.",
    _REQUESTING,
    "timeout",
    _CONTROL_STREAM,
)
class _SetupGrantsNoRequests(Behaviour):
    def send_setup(self, session: Session) -> None:
        setup = session.setup()
        pairs = [pair for pair in setup.options.pairs if pair[0] != SetupOption.MAX_REQUEST_ID]
        session.send_control(dataclasses.replace(setup, options=KeyValues(pairs)))


@_defect("request-closes-session", "It closes the session on any request.", _REQUESTING, "closed")
class _RequestClosesSession(Behaviour):
    def requested(self, exchange: Exchange) -> None:
        exchange.session.close(SessionError.INTERNAL_ERROR, "defect: request-closes-session")


# ---- answers, wrong in the ways that every answer can be ---------------------------------------------


def _says_nothing(exchange: Exchange, reply: m.Reply) -> None:
    """Leave a request without an answer, for ever."""


def _other_request_id(exchange: Exchange, reply: m.Reply) -> None:
    """Answer another request than the one made."""
    number = (exchange.request_id or 0) + 2
    exchange.reply(dataclasses.replace(reply, request_id=number))  # type: ignore[call-arg]


def _trailing_byte(exchange: Exchange, reply: m.Reply) -> None:
    """Put a byte after the last field."""
    frame = exchange.frame(reply)
    exchange.write(frame.replace(body=frame.body + b"\x00"))


def _twice(exchange: Exchange, reply: m.Reply) -> None:
    """Answer two times."""
    exchange.reply(reply)
    exchange.write(exchange.frame(reply))


def _closes_session(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - unsaid
    """Close the session instead of answering."""
    exchange.session.close(SessionError.INTERNAL_ERROR, "defect: the session is closed instead of an answer")


def _resets_stream(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - unsaid
    """Reset the request's stream instead of answering."""
    if exchange.stream_id is not None:
        exchange.session.abort(exchange.stream_id, StreamError.INTERNAL_ERROR)


def _answers_another_kind(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - replaced
    """Answer with a message that answers other requests."""
    request = type(exchange.request)
    if request is m.Subscribe:
        exchange.write(exchange.frame(m.RequestOk(), answering=m.PublishNamespace))
    else:
        exchange.write(exchange.frame(m.SubscribeOk(track_alias=1), answering=m.Subscribe))


def _refuses(exchange: Exchange, reply: m.Reply) -> None:  # noqa: ARG001 - replaced
    """Refuse what should be accepted."""
    exchange.reply(m.RequestError(RequestErrorCode.UNAUTHORIZED, "defect: refused without need"))


# ---- PUBLISH_NAMESPACE -----------------------------------------------------------------------------


class _Announce(Behaviour):
    """A relay that answers PUBLISH_NAMESPACE in a wrong way."""

    answer = staticmethod(_says_nothing)

    def accept_namespace(self, exchange: Exchange) -> None:
        self.answer(exchange, m.RequestOk())


@_defect("announce-no-answer", "It never answers PUBLISH_NAMESPACE.", _ANNOUNCING, "timeout")
class _AnnounceNoAnswer(_Announce):
    pass


@_defect("announce-error", "It refuses every PUBLISH_NAMESPACE.", _ANNOUNCING, "rejected")
class _AnnounceError(_Announce):
    answer = staticmethod(_refuses)


@_defect(
    "announce-ok-wrong-request-id",
    "It accepts PUBLISH_NAMESPACE under the id of another request.",
    _ANNOUNCING,
    "wrong-message",
    _CONTROL_STREAM,
)
class _AnnounceOkWrongRequestId(_Announce):
    answer = staticmethod(_other_request_id)


@_defect(
    "announce-ok-trailing-byte",
    "Its answer to PUBLISH_NAMESPACE has a byte after its last field.",
    _ANNOUNCING,
    "malformed",
)
class _AnnounceOkTrailingByte(_Announce):
    answer = staticmethod(_trailing_byte)


@_defect(
    "announce-answer-wrong-type",
    "It answers PUBLISH_NAMESPACE with SUBSCRIBE_OK.",
    _ANNOUNCING,
    "wrong-message",
)
class _AnnounceAnswerWrongType(_Announce):
    answer = staticmethod(_answers_another_kind)


@_defect("announce-ok-twice", "It accepts every PUBLISH_NAMESPACE twice.", _ANNOUNCING, "wrong-message")
class _AnnounceOkTwice(_Announce):
    answer = staticmethod(_twice)


@_defect(
    "announce-resets-stream",
    "It resets the stream of PUBLISH_NAMESPACE instead of answering.",
    _ANNOUNCING,
    "reset",
    _REQUEST_STREAMS,
)
class _AnnounceResetsStream(_Announce):
    answer = staticmethod(_resets_stream)


@_defect("announce-closes-session", "It closes the session on PUBLISH_NAMESPACE.", _ANNOUNCING, "closed")
class _AnnounceClosesSession(_Announce):
    answer = staticmethod(_closes_session)


# ---- the withdrawal of a namespace -------------------------------------------------------------------


@_defect(
    "withdraw-closes-session", "It closes the session when a namespace is withdrawn.", _WITHDRAWING, "closed"
)
class _WithdrawClosesSession(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.session.close(SessionError.PROTOCOL_VIOLATION, "defect: withdraw-closes-session")


@_defect(
    "withdraw-answers-with-error",
    "It answers the withdrawal of a namespace, which has no answer, with an error.",
    _WITHDRAWING,
    "wrong-message",
    _CONTROL_STREAM,
)
class _WithdrawAnswersWithError(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        error = m.RequestError(RequestErrorCode.INTERNAL_ERROR, "defect: withdraw-answers-with-error")
        exchange.write(exchange.frame(error))


@_defect(
    "withdraw-sends-setup",
    "It begins anew, with SETUP, when a namespace is withdrawn.",
    _WITHDRAWING,
    "wrong-message",
)
class _WithdrawSendsSetup(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.session.send_control(exchange.session.setup())


@_defect(
    "withdraw-sends-unknown-type",
    "It sends a message that no draft defines when a namespace is withdrawn.",
    _WITHDRAWING,
    "malformed",
)
class _WithdrawSendsUnknownType(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.session.write(None, Frame(UNKNOWN_TYPE, b"").encode(exchange.draft))


# ---- SUBSCRIBE for what nobody publishes -------------------------------------------------------------


class _Unpublished(Behaviour):
    """A relay that answers SUBSCRIBE for what nobody publishes in a wrong way."""

    answer = staticmethod(_says_nothing)

    def no_publisher(self, exchange: Exchange) -> None:
        self.answer(exchange, m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "nobody publishes this track"))


@_defect("subscribe-unknown-ok", "It accepts SUBSCRIBE for what nobody publishes.", _REFUSED, "wrong-message")
class _SubscribeUnknownOk(Behaviour):
    def no_publisher(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))


@_defect(
    "subscribe-unknown-held",
    "It holds SUBSCRIBE for what nobody publishes although no RENDEZVOUS_TIMEOUT asks for that.",
    _REFUSED,
    "timeout",
)
class _SubscribeUnknownHeld(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:
        return super().hold_seconds(subscribe) or 60.0


@_defect(
    "subscribe-unknown-silent",
    "It never answers SUBSCRIBE for what nobody publishes.",
    _UNPUBLISHED,
    "timeout",
)
class _SubscribeUnknownSilent(_Unpublished):
    pass


@_defect(
    "subscribe-unknown-wrong-type",
    "It answers SUBSCRIBE for what nobody publishes with a message that does not answer SUBSCRIBE.",
    _UNPUBLISHED,
    "wrong-message",
)
class _SubscribeUnknownWrongType(_Unpublished):
    answer = staticmethod(_answers_another_kind)


@_defect(
    "subscribe-unknown-resets-stream",
    "It resets the stream of SUBSCRIBE for what nobody publishes instead of refusing.",
    _UNPUBLISHED,
    "reset",
    _REQUEST_STREAMS,
)
class _SubscribeUnknownResetsStream(_Unpublished):
    answer = staticmethod(_resets_stream)


@_defect(
    "subscribe-unknown-closes-session",
    "It closes the session on SUBSCRIBE for what nobody publishes.",
    _UNPUBLISHED,
    "closed",
)
class _SubscribeUnknownClosesSession(_Unpublished):
    answer = staticmethod(_closes_session)


@_defect(
    "subscribe-error-wrong-request-id",
    "It refuses SUBSCRIBE under the id of another request.",
    _UNPUBLISHED,
    "wrong-message",
    _CONTROL_STREAM,
)
class _SubscribeErrorWrongRequestId(_Unpublished):
    answer = staticmethod(_other_request_id)


@_defect(
    "subscribe-error-trailing-byte",
    "Its refusal of SUBSCRIBE has a byte after its last field.",
    _UNPUBLISHED,
    "malformed",
)
class _SubscribeErrorTrailingByte(_Unpublished):
    answer = staticmethod(_trailing_byte)


# ---- SUBSCRIBE for what is published -----------------------------------------------------------------


class _Subscribed(Behaviour):
    """A relay that passes SUBSCRIBE_OK on in a wrong way."""

    answer = staticmethod(_says_nothing)

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        self.answer(exchange, ok)


@_defect("subscribe-not-routed", "It passes SUBSCRIBE on to no publisher.", _ROUTED, "timeout")
class _SubscribeNotRouted(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:  # noqa: ARG002 - dropped
        return None


@_defect(
    "subscribe-answers-itself",
    "It accepts SUBSCRIBE for an announced namespace itself and does not ask the publisher.",
    _ROUTED,
    "timeout",
)
class _SubscribeAnswersItself(_SubscribeNotRouted):
    def routed(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))


@_defect(
    "subscribe-forgets-publishers",
    "It refuses SUBSCRIBE although the namespace is announced.",
    _ROUTED,
    "rejected",
)
class _SubscribeForgetsPublishers(Behaviour):
    def publishers(self, sessions: list[Session]) -> list[Session]:  # noqa: ARG002 - forgotten
        return []


@_defect(
    "subscribe-routes-wrong-track", "It asks the publisher for a track of another name.", _ROUTED, "data"
)
class _SubscribeRoutesWrongTrack(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:
        return dataclasses.replace(subscribe, track_name=subscribe.track_name + b"-2")


@_defect(
    "subscribe-routes-wrong-namespace",
    "It asks the publisher for a track of a namespace one field shorter.",
    _ROUTED,
    "data",
)
class _SubscribeRoutesWrongNamespace(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:
        return dataclasses.replace(subscribe, track_namespace=subscribe.track_namespace[:-1])


@_defect(
    "subscribe-routed-trailing-byte",
    "The SUBSCRIBE that it passes on has a byte after its last field.",
    _ROUTED,
    "malformed",
)
class _SubscribeRoutedTrailingByte(Behaviour):
    def outgoing_request(self, frame: Frame) -> Frame:
        return frame.replace(body=frame.body + b"\x00")


@_defect("subscribe-ok-dropped", "It keeps the publisher's SUBSCRIBE_OK to itself.", _ROUTED, "timeout")
class _SubscribeOkDropped(_Subscribed):
    pass


@_defect("subscribe-ok-twice", "It passes SUBSCRIBE_OK on twice.", _ROUTED, "wrong-message")
class _SubscribeOkTwice(_Subscribed):
    answer = staticmethod(_twice)


@_defect(
    "subscribe-ok-wrong-type",
    "It passes SUBSCRIBE_OK on as a message that does not answer SUBSCRIBE.",
    _ROUTED,
    "wrong-message",
)
class _SubscribeOkWrongType(_Subscribed):
    answer = staticmethod(_answers_another_kind)


@_defect("subscribe-ok-as-error", "It refuses SUBSCRIBE when the publisher accepts.", _ROUTED, "rejected")
class _SubscribeOkAsError(_Subscribed):
    answer = staticmethod(_refuses)


@_defect(
    "subscribe-ok-trailing-byte",
    "The SUBSCRIBE_OK that it passes on has a byte after its last field.",
    _ROUTED,
    "malformed",
)
class _SubscribeOkTrailingByte(_Subscribed):
    answer = staticmethod(_trailing_byte)


@_defect(
    "subscribe-ok-wrong-request-id",
    "It passes SUBSCRIBE_OK on under the id of another request.",
    _ROUTED,
    "wrong-message",
    _CONTROL_STREAM,
)
class _SubscribeOkWrongRequestId(_Subscribed):
    answer = staticmethod(_other_request_id)


@_defect(
    "subscribe-ok-closes-session",
    "It closes the subscriber's session when the publisher accepts.",
    _ROUTED,
    "closed",
)
class _SubscribeOkClosesSession(_Subscribed):
    answer = staticmethod(_closes_session)


@_defect(
    "subscribe-ok-resets-stream",
    "It resets the subscriber's stream when the publisher accepts.",
    _ROUTED,
    "reset",
    _REQUEST_STREAMS,
)
class _SubscribeOkResetsStream(_Subscribed):
    answer = staticmethod(_resets_stream)


# ---- SUBSCRIBE before its publisher comes ------------------------------------------------------------


class _Grudge(Behaviour):
    """A relay that remembers what it refused, and treats its publisher in a wrong way."""

    answer = staticmethod(_says_nothing)

    def __init__(self) -> None:
        self._refused: list[tuple[TrackNamespace, Exchange]] = []

    def no_publisher(self, exchange: Exchange) -> None:
        if isinstance(exchange.request, m.Subscribe):
            self._refused.append((exchange.request.track_namespace, exchange))
        super().no_publisher(exchange)

    def accept_namespace(self, exchange: Exchange) -> None:
        assert isinstance(exchange.request, m.PublishNamespace)
        mine = exchange.request.track_namespace
        early = [each for namespace, each in self._refused if namespace[: len(mine)] == mine]
        if early:
            self.publisher_came(exchange, early[-1])
        else:
            super().accept_namespace(exchange)

    def publisher_came(self, exchange: Exchange, early: Exchange) -> None:  # noqa: ARG002 - for others
        self.answer(exchange, m.RequestOk())


@_defect(
    "early-subscribe-silences-publisher",
    "It does not answer PUBLISH_NAMESPACE for what it once refused to a subscriber.",
    _EARLY,
    "timeout",
)
class _EarlySubscribeSilencesPublisher(_Grudge):
    pass


@_defect(
    "early-subscribe-rejects-publisher",
    "It refuses PUBLISH_NAMESPACE for what it once refused to a subscriber.",
    _EARLY,
    "rejected",
)
class _EarlySubscribeRejectsPublisher(_Grudge):
    answer = staticmethod(_refuses)


@_defect(
    "early-subscribe-closes-publisher",
    "It closes the session that publishes what it once refused to a subscriber.",
    _EARLY,
    "closed",
)
class _EarlySubscribeClosesPublisher(_Grudge):
    answer = staticmethod(_closes_session)


@_defect(
    "early-subscribe-closes-subscriber",
    "It closes the session that subscribed too early when the publisher comes.",
    _EARLY,
    "closed",
)
class _EarlySubscribeClosesSubscriber(_Grudge):
    def publisher_came(self, exchange: Exchange, early: Exchange) -> None:
        early.session.close(SessionError.INTERNAL_ERROR, "defect: early-subscribe-closes-subscriber")
        exchange.reply(m.RequestOk())


@_defect(
    "early-subscribe-answered-again",
    "It accepts a subscription that it has refused when the publisher comes.",
    _EARLY,
    "wrong-message",
    _CONTROL_STREAM,
)
class _EarlySubscribeAnsweredAgain(_Grudge):
    def publisher_came(self, exchange: Exchange, early: Exchange) -> None:
        early.write(early.frame(m.SubscribeOk(early.session.new_alias())))
        exchange.reply(m.RequestOk())


# ---- RENDEZVOUS_TIMEOUT ------------------------------------------------------------------------------


class _Rendezvous(Behaviour):
    """A relay that ends a rendezvous in a wrong way."""

    answer = staticmethod(_says_nothing)

    def rendezvous_over(self, exchange: Exchange) -> None:
        self.answer(exchange, m.RequestError(RequestErrorCode.TIMEOUT, "no publisher came"))


@_defect("rendezvous-immediate-error", "It ignores RENDEZVOUS_TIMEOUT.", _HELD, "data", _REQUEST_STREAMS)
class _RendezvousImmediateError(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:  # noqa: ARG002 - ignored
        return 0.0


@_defect(
    "rendezvous-timeout-at-once",
    "It ends a rendezvous with TIMEOUT before any publisher could have come.",
    _HELD,
    "data",
    _REQUEST_STREAMS,
)
class _RendezvousTimeoutAtOnce(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:
        # A shorter time than asked for is the relay's right; none at all is no rendezvous.
        return min(super().hold_seconds(subscribe), 0.001)


@_defect(
    "rendezvous-wrong-code",
    "It ends a rendezvous with DOES_NOT_EXIST instead of TIMEOUT.",
    _HELD,
    "data",
    _REQUEST_STREAMS,
)
class _RendezvousWrongCode(Behaviour):
    def rendezvous_over(self, exchange: Exchange) -> None:
        self.no_publisher(exchange)


@_defect("rendezvous-never", "It never ends a rendezvous.", _HELD, "timeout", _REQUEST_STREAMS)
class _RendezvousNever(_Rendezvous):
    pass


@_defect(
    "rendezvous-ok",
    "It accepts a subscription for which no publisher came.",
    _HELD,
    "wrong-message",
    _REQUEST_STREAMS,
)
class _RendezvousOk(Behaviour):
    def rendezvous_over(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))


@_defect(
    "rendezvous-resets-stream",
    "It ends a rendezvous by resetting the stream.",
    _HELD,
    "reset",
    _REQUEST_STREAMS,
)
class _RendezvousResetsStream(_Rendezvous):
    answer = staticmethod(_resets_stream)


@_defect(
    "rendezvous-closes-session",
    "It ends a rendezvous by closing the session.",
    _HELD,
    "closed",
    _REQUEST_STREAMS,
)
class _RendezvousClosesSession(_Rendezvous):
    answer = staticmethod(_closes_session)


DEFECTS: Mapping[str, Defect] = MappingProxyType(_registry)
"Every defect by its name, in the order in which a session meets them."


def applicable(number: int, transport: str) -> list[Defect]:
    """The defects that exist in a draft over a transport."""
    row: Draft = draft(number)
    return [defect for defect in DEFECTS.values() if defect.applies(row.number, transport)]
