"""Relays that answer SUBSCRIBE wrongly, or route it so."""

from __future__ import annotations

import dataclasses

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.values import TrackNamespace
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import answers
from pytest_moqt.relay.defects.chapter import (
    CONTROL_STREAM,
    EARLY,
    HELD,
    INFO,
    REFUSED,
    REQUEST_STREAMS,
    ROUTED,
    UNPUBLISHED,
    WARN,
    Chapter,
)
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

# ---- SUBSCRIBE for what nobody publishes ---------------------------------------------------------

on_unpublished = Chapter("SUBSCRIBE for what nobody publishes")


class _Unpublished(Behaviour):
    """A relay that answers SUBSCRIBE for what nobody publishes in a wrong way."""

    answer = staticmethod(answers.says_nothing)

    def no_publisher(self, exchange: Exchange) -> None:
        self.answer(exchange, m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "nobody publishes this track"))


@on_unpublished(
    "subscribe-unknown-ok", "It accepts SUBSCRIBE for what nobody publishes.", REFUSED, "wrong-message"
)
class _SubscribeUnknownOk(Behaviour):
    def no_publisher(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))


@on_unpublished(
    "subscribe-unknown-held",
    "It holds SUBSCRIBE for what nobody publishes although no RENDEZVOUS_TIMEOUT asks for that.",
    REFUSED,
    "timeout",
    suite={"namespace-withdrawn-unroutable": INFO},
)
class _SubscribeUnknownHeld(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:
        return super().hold_seconds(subscribe) or 60.0


@on_unpublished(
    "subscribe-unknown-silent",
    "It never answers SUBSCRIBE for what nobody publishes.",
    UNPUBLISHED,
    "timeout",
)
class _SubscribeUnknownSilent(_Unpublished):
    pass


@on_unpublished(
    "subscribe-unknown-wrong-type",
    "It answers SUBSCRIBE for what nobody publishes with a message that does not answer SUBSCRIBE.",
    UNPUBLISHED,
    "wrong-message",
)
class _SubscribeUnknownWrongType(_Unpublished):
    answer = staticmethod(answers.answers_another_kind)


@on_unpublished(
    "subscribe-unknown-resets-stream",
    "It resets the stream of SUBSCRIBE for what nobody publishes instead of refusing.",
    UNPUBLISHED,
    "reset",
    REQUEST_STREAMS,
)
class _SubscribeUnknownResetsStream(_Unpublished):
    answer = staticmethod(answers.resets_stream)


@on_unpublished(
    "subscribe-unknown-closes-session",
    "It closes the session on SUBSCRIBE for what nobody publishes.",
    UNPUBLISHED,
    "closed",
)
class _SubscribeUnknownClosesSession(_Unpublished):
    answer = staticmethod(answers.closes_session)


@on_unpublished(
    "subscribe-error-wrong-request-id",
    "It refuses SUBSCRIBE under the id of another request.",
    UNPUBLISHED,
    "wrong-message",
    CONTROL_STREAM,
)
class _SubscribeErrorWrongRequestId(_Unpublished):
    answer = staticmethod(answers.other_request_id)


@on_unpublished(
    "subscribe-error-trailing-byte",
    "Its refusal of SUBSCRIBE has a byte after its last field.",
    UNPUBLISHED,
    "malformed",
)
class _SubscribeErrorTrailingByte(_Unpublished):
    answer = staticmethod(answers.trailing_byte)


@on_unpublished(
    "subscribe-unknown-finishes-stream",
    "It ends the stream of SUBSCRIBE for what nobody publishes instead of refusing.",
    UNPUBLISHED,
    "reset",
    REQUEST_STREAMS,
)
class _SubscribeUnknownFinishesStream(_Unpublished):
    answer = staticmethod(answers.finishes_stream)


@on_unpublished(
    "subscribe-error-twice",
    "It refuses SUBSCRIBE for what nobody publishes twice.",
    UNPUBLISHED,
    "wrong-message",
)
class _SubscribeErrorTwice(_Unpublished):
    answer = staticmethod(answers.twice)


@on_unpublished(
    "subscribe-error-on-control-stream",
    "It refuses SUBSCRIBE for what nobody publishes on its control stream.",
    UNPUBLISHED,
    "wrong-message",
    REQUEST_STREAMS,
)
class _SubscribeErrorOnControlStream(_Unpublished):
    answer = staticmethod(answers.on_control_stream)


@on_unpublished(
    "subscribe-error-on-new-stream",
    "It refuses SUBSCRIBE for what nobody publishes on a stream that it opens for that.",
    UNPUBLISHED,
    "wrong-message",
)
class _SubscribeErrorOnNewStream(_Unpublished):
    answer = staticmethod(answers.on_new_stream)


# ---- SUBSCRIBE for what is published -------------------------------------------------------------

on_published = Chapter("SUBSCRIBE for what is published")


class _Subscribed(Behaviour):
    """A relay that passes SUBSCRIBE_OK on in a wrong way."""

    answer = staticmethod(answers.says_nothing)

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        self.answer(exchange, ok)


@on_published("subscribe-not-routed", "It passes SUBSCRIBE on to no publisher.", ROUTED, "timeout")
class _SubscribeNotRouted(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:  # noqa: ARG002 - dropped
        return None


@on_published(
    "subscribe-answers-itself",
    "It accepts SUBSCRIBE for an announced namespace itself and does not ask the publisher.",
    ROUTED,
    "timeout",
)
class _SubscribeAnswersItself(_SubscribeNotRouted):
    def routed(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))


@on_published(
    "subscribe-forgets-publishers",
    "It refuses SUBSCRIBE although the namespace is announced.",
    ROUTED,
    "rejected",
)
class _SubscribeForgetsPublishers(Behaviour):
    def publishers(self, sessions: list[Session]) -> list[Session]:  # noqa: ARG002 - forgotten
        return []


@on_published(
    "subscribe-routes-wrong-track", "It asks the publisher for a track of another name.", ROUTED, "data"
)
class _SubscribeRoutesWrongTrack(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:
        return dataclasses.replace(subscribe, track_name=subscribe.track_name + b"-2")


@on_published(
    "subscribe-routes-wrong-namespace",
    "It asks the publisher for a track of a namespace one field shorter.",
    ROUTED,
    "data",
)
class _SubscribeRoutesWrongNamespace(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:
        return dataclasses.replace(subscribe, track_namespace=subscribe.track_namespace[:-1])


@on_published(
    "subscribe-routed-trailing-byte",
    "The SUBSCRIBE that it passes on has a byte after its last field.",
    ROUTED,
    "malformed",
)
class _SubscribeRoutedTrailingByte(Behaviour):
    def outgoing_request(self, frame: Frame) -> Frame:
        return frame.replace(body=frame.body + b"\x00")


@on_published("subscribe-ok-dropped", "It keeps the publisher's SUBSCRIBE_OK to itself.", ROUTED, "timeout")
class _SubscribeOkDropped(_Subscribed):
    pass


@on_published("subscribe-ok-twice", "It passes SUBSCRIBE_OK on twice.", ROUTED, "wrong-message")
class _SubscribeOkTwice(_Subscribed):
    answer = staticmethod(answers.twice)


@on_published(
    "subscribe-ok-wrong-type",
    "It passes SUBSCRIBE_OK on as a message that does not answer SUBSCRIBE.",
    ROUTED,
    "wrong-message",
)
class _SubscribeOkWrongType(_Subscribed):
    answer = staticmethod(answers.answers_another_kind)


@on_published("subscribe-ok-as-error", "It refuses SUBSCRIBE when the publisher accepts.", ROUTED, "rejected")
class _SubscribeOkAsError(_Subscribed):
    answer = staticmethod(answers.refuses)


@on_published(
    "subscribe-ok-trailing-byte",
    "The SUBSCRIBE_OK that it passes on has a byte after its last field.",
    ROUTED,
    "malformed",
)
class _SubscribeOkTrailingByte(_Subscribed):
    answer = staticmethod(answers.trailing_byte)


@on_published(
    "subscribe-ok-wrong-request-id",
    "It passes SUBSCRIBE_OK on under the id of another request.",
    ROUTED,
    "wrong-message",
    CONTROL_STREAM,
)
class _SubscribeOkWrongRequestId(_Subscribed):
    answer = staticmethod(answers.other_request_id)


@on_published(
    "subscribe-ok-closes-session",
    "It closes the subscriber's session when the publisher accepts.",
    ROUTED,
    "closed",
)
class _SubscribeOkClosesSession(_Subscribed):
    answer = staticmethod(answers.closes_session)


@on_published(
    "subscribe-ok-resets-stream",
    "It resets the subscriber's stream when the publisher accepts.",
    ROUTED,
    "reset",
    REQUEST_STREAMS,
)
class _SubscribeOkResetsStream(_Subscribed):
    answer = staticmethod(answers.resets_stream)


@on_published(
    "subscribe-ok-finishes-stream",
    "It ends the subscriber's stream when the publisher accepts.",
    ROUTED,
    "reset",
    REQUEST_STREAMS,
)
class _SubscribeOkFinishesStream(_Subscribed):
    answer = staticmethod(answers.finishes_stream)


@on_published(
    "subscribe-ok-on-control-stream",
    "It passes SUBSCRIBE_OK on, on its control stream.",
    ROUTED,
    "wrong-message",
    REQUEST_STREAMS,
)
class _SubscribeOkOnControlStream(_Subscribed):
    answer = staticmethod(answers.on_control_stream)


@on_published(
    "subscribe-ok-on-new-stream",
    "It passes SUBSCRIBE_OK on, on a stream that it opens for that.",
    ROUTED,
    "wrong-message",
)
class _SubscribeOkOnNewStream(_Subscribed):
    answer = staticmethod(answers.on_new_stream)


# ---- SUBSCRIBE before its publisher comes --------------------------------------------------------

on_early = Chapter("SUBSCRIBE before its publisher comes")


class _Grudge(Behaviour):
    """A relay that remembers what it refused, and treats its publisher in a wrong way."""

    answer = staticmethod(answers.says_nothing)

    def __init__(self) -> None:
        self._refused: list[tuple[TrackNamespace, Exchange]] = []

    def remember(self, exchange: Exchange) -> None:
        if isinstance(exchange.request, m.Subscribe):
            self._refused.append((exchange.request.track_namespace, exchange))

    def no_publisher(self, exchange: Exchange) -> None:
        self.remember(exchange)
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


@on_early(
    "early-subscribe-silences-publisher",
    "It does not answer PUBLISH_NAMESPACE for what it once refused to a subscriber.",
    EARLY,
    "timeout",
)
class _EarlySubscribeSilencesPublisher(_Grudge):
    pass


@on_early(
    "early-subscribe-rejects-publisher",
    "It refuses PUBLISH_NAMESPACE for what it once refused to a subscriber.",
    EARLY,
    "rejected",
)
class _EarlySubscribeRejectsPublisher(_Grudge):
    answer = staticmethod(answers.refuses)


@on_early(
    "early-subscribe-closes-publisher",
    "It closes the session that publishes what it once refused to a subscriber.",
    EARLY,
    "closed",
)
class _EarlySubscribeClosesPublisher(_Grudge):
    answer = staticmethod(answers.closes_session)


@on_early(
    "early-subscribe-closes-subscriber",
    "It closes the session that subscribed too early when the publisher comes.",
    EARLY,
    "closed",
)
class _EarlySubscribeClosesSubscriber(_Grudge):
    def publisher_came(self, exchange: Exchange, early: Exchange) -> None:
        early.session.close(SessionError.INTERNAL_ERROR, "defect: early-subscribe-closes-subscriber")
        exchange.reply(m.RequestOk())


@on_early(
    "early-subscribe-answered-again",
    "It accepts a subscription that it has refused when the publisher comes.",
    EARLY,
    "wrong-message",
)
class _EarlySubscribeAnsweredAgain(_Grudge):
    def no_publisher(self, exchange: Exchange) -> None:
        self.remember(exchange)
        # Its stream stays open: what was said on it is not the last word.
        exchange.write(exchange.frame(m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "not yet")))

    def publisher_came(self, exchange: Exchange, early: Exchange) -> None:
        early.write(early.frame(m.SubscribeOk(early.session.new_alias())))
        exchange.reply(m.RequestOk())


# ---- RENDEZVOUS_TIMEOUT --------------------------------------------------------------------------

on_rendezvous = Chapter("RENDEZVOUS_TIMEOUT")


class _Rendezvous(Behaviour):
    """A relay that ends a rendezvous in a wrong way."""

    answer = staticmethod(answers.says_nothing)

    def rendezvous_over(self, exchange: Exchange) -> None:
        self.answer(exchange, m.RequestError(RequestErrorCode.TIMEOUT, "no publisher came"))


@on_rendezvous(
    "rendezvous-immediate-error",
    "It ignores RENDEZVOUS_TIMEOUT.",
    HELD,
    "data",
    REQUEST_STREAMS,
    suite={"subscribe-rendezvous-wait": WARN, "subscribe-rendezvous-expired": WARN},
)
class _RendezvousImmediateError(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:  # noqa: ARG002 - ignored
        return 0.0


@on_rendezvous(
    "rendezvous-timeout-at-once",
    "It ends a rendezvous with TIMEOUT before any publisher could have come.",
    HELD,
    "data",
    REQUEST_STREAMS,
)
class _RendezvousTimeoutAtOnce(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:
        # A shorter time than asked for is the relay's right; none at all is no rendezvous.
        return min(super().hold_seconds(subscribe), 0.001)


@on_rendezvous(
    "rendezvous-wrong-code",
    "It ends a rendezvous with DOES_NOT_EXIST instead of TIMEOUT.",
    HELD,
    "data",
    REQUEST_STREAMS,
)
class _RendezvousWrongCode(Behaviour):
    def rendezvous_over(self, exchange: Exchange) -> None:
        self.no_publisher(exchange)


@on_rendezvous(
    "rendezvous-never",
    "It never ends a rendezvous.",
    HELD,
    "timeout",
    REQUEST_STREAMS,
    suite={"subscribe-rendezvous-expired": "timeout"},
)
class _RendezvousNever(_Rendezvous):
    pass


@on_rendezvous(
    "rendezvous-ok",
    "It accepts a subscription for which no publisher came.",
    HELD,
    "wrong-message",
    REQUEST_STREAMS,
)
class _RendezvousOk(Behaviour):
    def rendezvous_over(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))


@on_rendezvous(
    "rendezvous-resets-stream",
    "It ends a rendezvous by resetting the stream.",
    HELD,
    "reset",
    REQUEST_STREAMS,
)
class _RendezvousResetsStream(_Rendezvous):
    answer = staticmethod(answers.resets_stream)


@on_rendezvous(
    "rendezvous-closes-session",
    "It ends a rendezvous by closing the session.",
    HELD,
    "closed",
    REQUEST_STREAMS,
)
class _RendezvousClosesSession(_Rendezvous):
    answer = staticmethod(answers.closes_session)
