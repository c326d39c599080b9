"""Relays that are wrong about what no draft allows."""

from __future__ import annotations

from pytest_moqt.protocol.errors import ProtocolViolation, RemoteProtocolError
from pytest_moqt.protocol.framing import Frame, decode, encode_by
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.messages import Setup
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.transport import StreamData, TransportEvent, is_unidirectional
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import CONFORMANCE, WARN, Chapter
from pytest_moqt.relay.defects.conformance.overlooking import Overlooks
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

LONG = 512
"Bytes of an object that come in one packet, whatever its path allows."

of_malformed = Chapter("Conformance: malformed", CONFORMANCE)

# ---- messages ------------------------------------------------------------------------------------


@of_malformed.against(
    "message-unknown-borne",
    "It passes over control messages of an unknown type.",
    {"message-unknown-type": "timeout"},
)
class _MessageUnknownBorne(Overlooks):
    phrases = ("defines no message of type",)


@of_malformed.against(
    "message-rest-borne",
    "It does not mind bytes behind the last field of a control message.",
    {"message-length-too-long": "timeout"},
)
class _MessageRestBorne(Overlooks):
    phrases = ("after the last field",)


@of_malformed.against(
    "message-cut-borne",
    "It drops control messages that end inside a field, and waits for better ones.",
    {
        "message-length-too-short": "timeout",
        "field-length-overrun": "timeout",
        "varint-truncated": "timeout",
    },
)
class _MessageCutBorne(Overlooks):
    phrases = ("end inside its",)


@of_malformed.against(
    "integers-minimal-only",
    "It takes integers for an error that are longer than they need be.",
    {"varint-non-minimal": "closed"},
)
class _IntegersMinimalOnly(Behaviour):
    def framed(self, session: Session, frame: Frame) -> None:
        message, layout = decode(frame, session.draft, Sender.CLIENT)
        if not isinstance(message, Setup) and encode_by(message, layout, session.draft).body != frame.body:
            raise ProtocolViolation("an integer longer than it need be")


# ---- key-value pairs and parameters --------------------------------------------------------------


@of_malformed.against(
    "pair-any-length",
    "It waits for as many bytes as a key-value pair claims.",
    {"kvp-value-too-long": "timeout"},
)
class _PairAnyLength(Overlooks):
    phrases = ("at most 65535 are allowed",)


@of_malformed.against(
    "pair-cut-borne",
    "It waits for the rest of a key-value pair that is cut by the end of its message.",
    {"kvp-known-type-bad-value": "timeout"},
)
class _PairCutBorne(Overlooks):
    phrases = ("ends too early",)


@of_malformed.against(
    "pair-type-wraps",
    "It goes on where the types of key-value pairs add up to more than 2^64-1.",
    {"kvp-delta-overflow": "timeout"},
    drafts(16),
)
class _PairTypeWraps(Overlooks):
    phrases = ("type differences overflows",)


@of_malformed.against(
    "parameter-unknown-borne",
    "It passes over messages with a parameter that the draft does not define.",
    {"param-unknown": "timeout"},
    drafts(16),
)
class _ParameterUnknownBorne(Overlooks):
    phrases = ("defines no message parameter",)


@of_malformed.against(
    "parameter-unknown-closes",
    "It ends the session for a parameter that it does not know, which it should ignore.",
    {"param-unknown": "closed"},
    drafts(14, 15),
)
class _ParameterUnknownCloses(Behaviour):
    def requested(self, exchange: Exchange) -> None:
        parameters = getattr(exchange.request, "parameters", ())
        if any(not isinstance(key, Parameter) for key in parameters):
            exchange.session.close(SessionError.PROTOCOL_VIOLATION, "an unknown parameter")


@of_malformed.against(
    "parameter-twice-borne",
    "It does not mind a parameter that is twice in a message.",
    {"param-duplicate": WARN},
)
class _ParameterTwiceBorne(Overlooks):
    phrases = (" twice",)


@of_malformed.against(
    "parameter-anywhere",
    "It does not mind parameters of other messages.",
    {"param-wrong-message": "timeout"},
    drafts(17),
)
class _ParameterAnywhere(Overlooks):
    phrases = ("may not be in",)


# ---- data streams --------------------------------------------------------------------------------


@of_malformed.against(
    "stream-unknown-borne",
    "It stops reading streams of an unknown type, and goes on.",
    {"stream-type-unknown": "timeout", "subgroup-type-reserved": "timeout"},
)
class _StreamUnknownBorne(Overlooks):
    phrases = ("has no unidirectional stream of type",)


@of_malformed.against(
    "stream-cut-borne",
    "It does not mind a stream that ends inside an object.",
    {"stream-fin-mid-object": WARN},
)
class _StreamCutBorne(Overlooks):
    phrases = ("into an object",)


@of_malformed.against(
    "object-id-wraps",
    "It goes on where object ids add up to more than 2^64-1.",
    {"object-id-overflow": "timeout"},
    drafts(18),
)
class _ObjectIdWraps(Overlooks):
    phrases = ("object id",)


@of_malformed.against(
    "object-blocks-others",
    "It hears nobody else while a long object has not come whole.",
    {"object-length-huge": "timeout"},
)
class _ObjectBlocksOthers(Behaviour):
    def __init__(self) -> None:
        self._reading: Session | None = None

    def heard(self, session: Session, event: TransportEvent) -> TransportEvent | None:
        if self._reading not in (None, session):
            return None
        if isinstance(event, StreamData) and is_unidirectional(event.stream_id) and len(event.data) > LONG:
            self._reading = None if event.fin else session
        return event


# ---- answers -------------------------------------------------------------------------------------


@of_malformed.against(
    "reason-any-length",
    "It does not mind reasons of more than 1024 bytes.",
    {"reason-phrase-too-long": "timeout"},
)
class _ReasonAnyLength(Overlooks):
    phrases = ("a Reason Phrase of",)


@of_malformed.against(
    "redirect-borne",
    "It does not mind being redirected to another URI.",
    {"redirect-to-server": "timeout"},
    drafts(18),
)
class _RedirectBorne(Overlooks):
    phrases = ("redirects a server",)


@of_malformed.against(
    "fetch-answer-unchecked",
    "It gives a fetch up whose objects refer to what did not come, and goes on.",
    {"fetch-response-malformed": "timeout"},
    drafts(16),
)
class _FetchAnswerUnchecked(Overlooks):
    phrases = ("refer to a prior",)


# ---- harm ----------------------------------------------------------------------------------------


@of_malformed.against(
    "violation-ends-others",
    "Who breaks the draft takes the sessions with it that were there before.",
    {
        "message-truncated-fin": "closed",
        "response-unsolicited": "closed",
        "invalid-input-not-propagated": "closed",
        "mutation-smoke": "closed",
    },
)
class _ViolationEndsOthers(Behaviour):
    def __init__(self) -> None:
        self._sessions: list[Session] = []

    def established(self, session: Session) -> None:
        self._sessions.append(session)

    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        for other in self._sessions:
            if other is not session:
                other.close(SessionError.INTERNAL_ERROR, "another session failed")
        self._sessions = []
        return super().violated(session, error)
