"""Relays that do what is right, but late: within the limits of all cases, of some, or of none.

Rules:

- The limits are those of the cases' specification: 2 s for `setup-only` and `subscribe-error`, from the
  beginning; 2 s after the first request for `announce-only` and `publish-namespace-done`; 3 s, 3.5 s and 3 s
  for the others, of which 0.5 s are the delay of `subscribe-before-announce` and the wait that
  `rendezvous-timeout` asks for. `data-subgroup-basic` has 5 s for each step before its objects.
- One thing of a session is late at a time. A case that needs two answers has no more time for them:
  `publish-namespace-done` publishes a second namespace to see that the session is healthy, so that a relay
  may be a second late with one of its answers, not with each.
"""

from __future__ import annotations

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import (
    ALL,
    ANNOUNCING,
    DELIVERED,
    HELD,
    REQUEST_STREAMS,
    ROUTED,
    UNPUBLISHED,
    WITHDRAWING,
    Chapter,
)
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

LATE_SECONDS = 1.0
"Within the limit of every case."
SETUP_LATE_SECONDS = 0.5
"The same, for what a case may need twice before it begins."
SLOW_SECONDS = 1.2
"Within the limit of every case, but not twice within 2 s."
TOO_LATE_SECONDS = 4.0
"Beyond the limit of every default case, within the 5 s of a step of `data-subgroup-basic`."

in_time = Chapter("Time")


class _SetupAfter(Behaviour):
    seconds = SETUP_LATE_SECONDS

    def send_setup(self, session: Session) -> None:
        session.call_later(self.seconds, session.send_control, session.setup())


@in_time.lawful("setup-late", "Its SETUP comes half a second late.")
class _SetupLate(_SetupAfter):
    pass


@in_time("setup-too-late", "Its SETUP comes four seconds late.", ALL, "setup")
class _SetupTooLate(_SetupAfter):
    seconds = TOO_LATE_SECONDS


class _AnnounceOkAfter(Behaviour):
    seconds = LATE_SECONDS

    def accept_namespace(self, exchange: Exchange) -> None:
        exchange.session.call_later(self.seconds, exchange.reply, m.RequestOk())


@in_time.lawful("announce-ok-late", "It accepts the first PUBLISH_NAMESPACE of a session a second late.")
class _AnnounceOkLate(_AnnounceOkAfter):
    def accept_namespace(self, exchange: Exchange) -> None:
        if exchange.request_id == 0:
            super().accept_namespace(exchange)
        else:
            exchange.reply(m.RequestOk())


@in_time(
    "announce-ok-slow",
    "It takes 1.2 seconds to accept a PUBLISH_NAMESPACE, each time: too long for two within 2 seconds.",
    WITHDRAWING,
    "timeout",
)
class _AnnounceOkSlow(_AnnounceOkAfter):
    seconds = SLOW_SECONDS


@in_time(
    "announce-ok-too-late",
    "It accepts PUBLISH_NAMESPACE four seconds late.",
    ANNOUNCING - DELIVERED,
    "timeout",
)
class _AnnounceOkTooLate(_AnnounceOkAfter):
    seconds = TOO_LATE_SECONDS


class _SubscribeErrorAfter(Behaviour):
    seconds = LATE_SECONDS

    def no_publisher(self, exchange: Exchange) -> None:
        exchange.session.call_later(self.seconds, super().no_publisher, exchange)


@in_time.lawful("subscribe-error-late", "It refuses SUBSCRIBE for what nobody publishes a second late.")
class _SubscribeErrorLate(_SubscribeErrorAfter):
    pass


@in_time(
    "subscribe-error-too-late",
    "It refuses SUBSCRIBE for what nobody publishes four seconds late.",
    UNPUBLISHED,
    "timeout",
)
class _SubscribeErrorTooLate(_SubscribeErrorAfter):
    seconds = TOO_LATE_SECONDS


class _SubscribeRoutedAfter(Behaviour):
    seconds = LATE_SECONDS

    def send_request(self, exchange: Exchange, data: bytes) -> None:
        exchange.session.call_later(self.seconds, super().send_request, exchange, data)


@in_time.lawful("subscribe-routed-late", "It passes SUBSCRIBE on to the publisher a second late.")
class _SubscribeRoutedLate(_SubscribeRoutedAfter):
    pass


@in_time(
    "subscribe-routed-too-late",
    "It passes SUBSCRIBE on to the publisher four seconds late.",
    ROUTED - DELIVERED,
    "timeout",
)
class _SubscribeRoutedTooLate(_SubscribeRoutedAfter):
    seconds = TOO_LATE_SECONDS


class _SubscribeOkAfter(Behaviour):
    seconds = LATE_SECONDS

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        exchange.session.call_later(self.seconds, exchange.reply, ok)


@in_time.lawful("subscribe-ok-late", "It passes SUBSCRIBE_OK on a second late.")
class _SubscribeOkLate(_SubscribeOkAfter):
    pass


@in_time(
    "subscribe-ok-too-late",
    "It passes SUBSCRIBE_OK on four seconds late.",
    ROUTED - DELIVERED,
    "timeout",
)
class _SubscribeOkTooLate(_SubscribeOkAfter):
    seconds = TOO_LATE_SECONDS


class _RendezvousAfter(Behaviour):
    seconds = LATE_SECONDS

    def rendezvous_over(self, exchange: Exchange) -> None:
        error = m.RequestError(RequestErrorCode.TIMEOUT, "no publisher came within RENDEZVOUS_TIMEOUT")
        exchange.session.call_later(self.seconds, exchange.reply, error)


@in_time.lawful("rendezvous-late", "It says that a rendezvous is over a second after that.", REQUEST_STREAMS)
class _RendezvousLate(_RendezvousAfter):
    pass


@in_time(
    "rendezvous-too-late",
    "It says that a rendezvous is over four seconds after that.",
    HELD,
    "timeout",
    REQUEST_STREAMS,
)
class _RendezvousTooLate(_RendezvousAfter):
    seconds = TOO_LATE_SECONDS
