"""Relays that answer PUBLISH_NAMESPACE wrongly, or bear its end badly."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import answers
from pytest_moqt.relay.defects.chapter import (
    ANNOUNCING,
    CONTROL_STREAM,
    REQUEST_STREAMS,
    WITHDRAWING,
    Chapter,
)
from pytest_moqt.relay.defects.sessions import UNKNOWN_TYPE
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

# ---- PUBLISH_NAMESPACE ---------------------------------------------------------------------------

on_publish_namespace = Chapter("PUBLISH_NAMESPACE")


class _Announce(Behaviour):
    """A relay that answers PUBLISH_NAMESPACE in a wrong way."""

    answer = staticmethod(answers.says_nothing)

    def accept_namespace(self, exchange: Exchange) -> None:
        self.answer(exchange, m.RequestOk())


@on_publish_namespace("announce-no-answer", "It never answers PUBLISH_NAMESPACE.", ANNOUNCING, "timeout")
class _AnnounceNoAnswer(_Announce):
    pass


@on_publish_namespace("announce-error", "It refuses every PUBLISH_NAMESPACE.", ANNOUNCING, "rejected")
class _AnnounceError(_Announce):
    answer = staticmethod(answers.refuses)


@on_publish_namespace(
    "announce-ok-wrong-request-id",
    "It accepts PUBLISH_NAMESPACE under the id of another request.",
    ANNOUNCING,
    "wrong-message",
    CONTROL_STREAM,
)
class _AnnounceOkWrongRequestId(_Announce):
    answer = staticmethod(answers.other_request_id)


@on_publish_namespace(
    "announce-ok-trailing-byte",
    "Its answer to PUBLISH_NAMESPACE has a byte after its last field.",
    ANNOUNCING,
    "malformed",
)
class _AnnounceOkTrailingByte(_Announce):
    answer = staticmethod(answers.trailing_byte)


@on_publish_namespace(
    "announce-answer-wrong-type",
    "It answers PUBLISH_NAMESPACE with SUBSCRIBE_OK.",
    ANNOUNCING,
    "wrong-message",
)
class _AnnounceAnswerWrongType(_Announce):
    answer = staticmethod(answers.answers_another_kind)


@on_publish_namespace(
    "announce-ok-twice", "It accepts every PUBLISH_NAMESPACE twice.", ANNOUNCING, "wrong-message"
)
class _AnnounceOkTwice(_Announce):
    answer = staticmethod(answers.twice)


@on_publish_namespace(
    "announce-resets-stream",
    "It resets the stream of PUBLISH_NAMESPACE instead of answering.",
    ANNOUNCING,
    "reset",
    REQUEST_STREAMS,
)
class _AnnounceResetsStream(_Announce):
    answer = staticmethod(answers.resets_stream)


@on_publish_namespace(
    "announce-closes-session", "It closes the session on PUBLISH_NAMESPACE.", ANNOUNCING, "closed"
)
class _AnnounceClosesSession(_Announce):
    answer = staticmethod(answers.closes_session)


@on_publish_namespace(
    "announce-finishes-stream",
    "It ends the stream of PUBLISH_NAMESPACE instead of answering.",
    ANNOUNCING,
    "reset",
    REQUEST_STREAMS,
)
class _AnnounceFinishesStream(_Announce):
    answer = staticmethod(answers.finishes_stream)


@on_publish_namespace(
    "announce-ok-cut-short",
    "It ends the stream of PUBLISH_NAMESPACE a byte before the end of its answer.",
    ANNOUNCING,
    "malformed",
    REQUEST_STREAMS,
)
class _AnnounceOkCutShort(_Announce):
    answer = staticmethod(answers.cut_short)


@on_publish_namespace(
    "announce-ok-on-control-stream",
    "It accepts PUBLISH_NAMESPACE on its control stream.",
    ANNOUNCING,
    "wrong-message",
    REQUEST_STREAMS,
)
class _AnnounceOkOnControlStream(_Announce):
    answer = staticmethod(answers.on_control_stream)


@on_publish_namespace(
    "announce-ok-on-new-stream",
    "It accepts PUBLISH_NAMESPACE on a stream that it opens for that.",
    ANNOUNCING,
    "wrong-message",
)
class _AnnounceOkOnNewStream(_Announce):
    answer = staticmethod(answers.on_new_stream)


@on_publish_namespace(
    "announce-ok-previous-request-id",
    "It accepts every PUBLISH_NAMESPACE under the id of the session's first request.",
    WITHDRAWING,
    "wrong-message",
    CONTROL_STREAM,
)
class _AnnounceOkPreviousRequestId(Behaviour):
    def accept_namespace(self, exchange: Exchange) -> None:
        exchange.reply(m.RequestOk(request_id=0))


@on_publish_namespace(
    "announce-ok-previous-stream",
    "It accepts every PUBLISH_NAMESPACE on the stream of the session's first, which is cancelled by then.",
    WITHDRAWING,
    "timeout",
    REQUEST_STREAMS,
)
class _AnnounceOkPreviousStream(Behaviour):
    def __init__(self) -> None:
        self._first: WeakKeyDictionary[Session, int | None] = WeakKeyDictionary()

    def accept_namespace(self, exchange: Exchange) -> None:
        first = self._first.setdefault(exchange.session, exchange.stream_id)
        exchange.session.write(first, exchange.frame(m.RequestOk()).encode(exchange.draft))


# ---- the withdrawal of a namespace ---------------------------------------------------------------

on_withdrawal = Chapter("The withdrawal of a namespace")


@on_withdrawal(
    "withdraw-closes-session", "It closes the session when a namespace is withdrawn.", WITHDRAWING, "closed"
)
class _WithdrawClosesSession(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.session.close(SessionError.PROTOCOL_VIOLATION, "defect: withdraw-closes-session")


@on_withdrawal(
    "withdraw-answers-with-error",
    "It answers the withdrawal of a namespace, which has no answer, with an error.",
    WITHDRAWING,
    "wrong-message",
    CONTROL_STREAM,
)
class _WithdrawAnswersWithError(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        error = m.RequestError(RequestErrorCode.INTERNAL_ERROR, "defect: withdraw-answers-with-error")
        exchange.write(exchange.frame(error))


@on_withdrawal(
    "withdraw-sends-setup",
    "It begins anew, with SETUP, when a namespace is withdrawn.",
    WITHDRAWING,
    "wrong-message",
)
class _WithdrawSendsSetup(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.session.send_control(exchange.session.setup())


@on_withdrawal(
    "withdraw-sends-unknown-type",
    "It sends a message that no draft defines when a namespace is withdrawn.",
    WITHDRAWING,
    "malformed",
)
class _WithdrawSendsUnknownType(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.session.write(None, Frame(UNKNOWN_TYPE, b"").encode(exchange.draft))


@on_withdrawal(
    "withdraw-answers-with-ok",
    "It answers PUBLISH_NAMESPACE again when the namespace is withdrawn.",
    WITHDRAWING,
    "wrong-message",
    CONTROL_STREAM,
)
class _WithdrawAnswersWithOk(Behaviour):
    def namespace_withdrawn(self, exchange: Exchange) -> None:
        exchange.write(exchange.frame(m.RequestOk()))
