"""Relays that are wrong about TRACK_STATUS."""

from __future__ import annotations

import dataclasses

from pytest_moqt.protocol.messages import PublishDone, RequestError, RequestOk, SubscribeOk
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import CONFORMANCE, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

of_status = Chapter("Conformance: status", CONFORMANCE)


@of_status.against(
    "track-status-without-largest",
    "It does not say which object is the largest.",
    {"track-status-ok": "data"},
)
class _TrackStatusWithoutLargest(Behaviour):
    def track_status(self, exchange: Exchange, ok: RequestOk) -> None:
        exchange.reply(dataclasses.replace(ok, parameters=KeyValues()))


@of_status.against(
    "track-status-without-properties",
    "It does not tell of the properties of the track.",
    {"track-status-ok": "data"},
    drafts(18),
)
class _TrackStatusWithoutProperties(Behaviour):
    def track_status(self, exchange: Exchange, ok: RequestOk) -> None:
        exchange.reply(dataclasses.replace(ok, track_properties=KeyValues()))


@of_status.against(
    "track-status-unknown-accepted",
    "It has a status of tracks that nobody publishes.",
    {"track-status-nonexistent": "wrong-message"},
)
class _TrackStatusUnknownAccepted(Behaviour):
    def track_status_refused(self, exchange: Exchange, error: RequestError) -> None:  # noqa: ARG002 - any
        exchange.reply(RequestOk())


@of_status.against(
    "track-status-refused-as-internal",
    "It refuses the status of a track that nobody publishes with INTERNAL_ERROR.",
    {"track-status-nonexistent": WARN},
)
class _TrackStatusRefusedAsInternal(Behaviour):
    def track_status_refused(self, exchange: Exchange, error: RequestError) -> None:
        exchange.reply(dataclasses.replace(error, code=RequestErrorCode.INTERNAL_ERROR))


@of_status.against(
    "track-status-subscribes",
    "It takes a SUBSCRIBE behind TRACK_STATUS for a second subscription to the same track.",
    {"track-status-no-state": "rejected"},
    drafts(16, 18),
)
class _TrackStatusSubscribes(Behaviour):
    def __init__(self) -> None:
        self._asked: set[Session] = set()

    def track_status(self, exchange: Exchange, ok: RequestOk) -> None:
        self._asked.add(exchange.session)
        exchange.reply(ok)

    def subscribed(self, exchange: Exchange, ok: SubscribeOk) -> None:
        if exchange.session in self._asked:
            exchange.reply(RequestError(RequestErrorCode.DUPLICATE_SUBSCRIPTION, "there is one already"))
        else:
            exchange.reply(ok)


@of_status.against(
    "track-status-is-done",
    "It says PUBLISH_DONE about a TRACK_STATUS.",
    {"track-status-no-state": "wrong-message"},
)
class _TrackStatusIsDone(Behaviour):
    def track_status(self, exchange: Exchange, ok: RequestOk) -> None:
        exchange.reply(ok)
        exchange.send(PublishDone(PublishDoneStatus.TRACK_ENDED, 0))
