"""Relays that are wrong about subscriptions, filters and updates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.objects import StreamObject
from pytest_moqt.protocol.parameters import Parameter, Properties
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode, SessionError, StreamError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import KeyValues, Location
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.broken_quic import OrdersInWideWindows
from pytest_moqt.relay.connection import SessionTransport
from pytest_moqt.relay.defects.chapter import CONFORMANCE, INFO, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.internals import ServerConnection, window_left
from pytest_moqt.relay.ranges import Range
from pytest_moqt.relay.schedule import Rank
from pytest_moqt.relay.session import Session
from pytest_moqt.relay.timeouts import Timeouts

of_subscriptions = Chapter("Conformance: subscriptions", CONFORMANCE)

ANSWERED_UPDATES = drafts(15)
"Drafts that answer an update."
MUCH, FEW = 100 * 1024, 1024
"Bytes that a subscriber has not acknowledged, and bytes that it takes."


# ---- how they come about --------------------------------------------------------------------------


@of_subscriptions.against(
    "subscribe-ok-early",
    "It answers SUBSCRIBE with SUBSCRIBE_OK before the publisher has.",
    {"subscribe-ok-waits-for-upstream": "wrong-message"},
)
class _OkEarly(Behaviour):
    def routed(self, exchange: Exchange) -> None:
        exchange.reply(m.SubscribeOk(exchange.session.new_alias()))

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        """It has said so before."""


@of_subscriptions.against(
    "subscribe-refusal-kept",
    "It keeps the publisher's refusal of a SUBSCRIBE to itself.",
    {"subscribe-upstream-error": "timeout"},
)
class _RefusalKept(Behaviour):
    def refused(self, exchange: Exchange, error: m.RequestError) -> None:
        """It says nothing."""


class _ByRequest(Behaviour):
    """A relay that remembers which SUBSCRIBE it serves."""

    subscribing: Exchange | None = None

    def requested(self, exchange: Exchange) -> None:
        if isinstance(exchange.request, m.Subscribe):
            self.subscribing = exchange


class _Copies(_ByRequest):
    """A relay that tells the publisher what the subscriber told the relay."""

    copied: Parameter

    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:
        assert self.subscribing is not None
        said = self.subscribing.request.parameters.pairs  # type: ignore[attr-defined]  # a SUBSCRIBE
        copied = [pair for pair in said if pair[0] is self.copied]
        return dataclasses.replace(subscribe, parameters=KeyValues([*subscribe.parameters.pairs, *copied]))


@of_subscriptions.against(
    "subscribe-self-refused",
    "It asks no session for a track that the session itself subscribes to.",
    {"subscribe-self": "rejected"},
)
class _SelfRefused(_ByRequest):
    def publishers(self, sessions: list[Session]) -> list[Session]:
        assert self.subscribing is not None
        return [session for session in sessions if session is not self.subscribing.session]


@of_subscriptions.against(
    "subscribe-again-accepted",
    "It accepts a second subscription to a track in one session.",
    {"subscribe-duplicate": "wrong-message"},
    drafts(16, 18),
)
class _AgainAccepted(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        known = error.code is RequestErrorCode.DUPLICATE_SUBSCRIPTION
        return None if known else super().objection(exchange, error)


@of_subscriptions.against(
    "subscribe-again-refused",
    "It refuses a second subscription to a track in one session.",
    {"subscribe-duplicate": "rejected"},
    drafts(19),
)
class _AgainRefused(Behaviour):
    def __init__(self) -> None:
        self._sessions: WeakKeyDictionary[Session, set[bytes]] = WeakKeyDictionary()

    def requested(self, exchange: Exchange) -> None:
        if isinstance(exchange.request, m.Subscribe):
            names = self._sessions.setdefault(exchange.session, set())
            if exchange.request.track_name in names:
                exchange.reply(m.RequestError(RequestErrorCode.INTERNAL_ERROR, "once is enough"))
            names.add(exchange.request.track_name)


# ---- what SUBSCRIBE_OK says -----------------------------------------------------------------------


@of_subscriptions.against(
    "one-alias-for-all",
    "It calls all tracks by one track alias.",
    {"subscribe-alias-unique": "wrong-message"},
)
class _OneAlias(Behaviour):
    def track_alias(self, session: Session) -> int:  # noqa: ARG002 - in each
        return 1


class _OkEdited(Behaviour):
    """A relay that changes the parameters of SUBSCRIBE_OK."""

    edit: Mapping[Parameter | int, Any]

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        kept = [pair for pair in ok.parameters.pairs if pair[0] not in (Parameter.LARGEST_OBJECT,)]
        super().subscribed(
            exchange, dataclasses.replace(ok, parameters=KeyValues([*kept, *self.edit.items()]))
        )


@of_subscriptions.against(
    "subscribe-ok-without-largest",
    "It names no largest object in SUBSCRIBE_OK.",
    {"subscribe-largest-present": "data"},
)
class _NoLargest(_OkEdited):
    edit: Mapping[Parameter | int, Any] = {}


@of_subscriptions.against(
    "subscribe-ok-invents-largest",
    "It names the object {0, 0} in SUBSCRIBE_OK, whatever was published.",
    {"subscribe-largest-absent": "data", "subscribe-largest-present": "data"},
)
class _InventedLargest(_OkEdited):
    edit: Mapping[Parameter | int, Any] = {Parameter.LARGEST_OBJECT: Location(0, 0)}


@of_subscriptions.against(
    "track-properties-dropped",
    "It drops the properties of tracks.",
    {"subscribe-track-properties": "data"},
    drafts(16),
)
class _PropertiesDropped(Behaviour):
    def pass_on_properties(self, properties: Properties) -> Properties:  # noqa: ARG002 - dropped
        return KeyValues()


@of_subscriptions.against(
    "subscriber-token-forwarded",
    "It copies the subscriber's authorization token into the SUBSCRIBE that the publisher gets.",
    {"subscribe-params-not-forwarded": "data"},
)
class _TokenForwarded(_Copies):
    copied = Parameter.AUTHORIZATION_TOKEN


@of_subscriptions.against(
    "subscriber-timeout-forwarded",
    "It copies the subscriber's delivery timeout into the SUBSCRIBE that the publisher gets.",
    {"subscribe-params-not-forwarded": WARN},
)
class _TimeoutForwarded(_Copies):
    copied = Parameter.OBJECT_DELIVERY_TIMEOUT


@of_subscriptions.against(
    "new-group-request-kept",
    "It keeps NEW_GROUP_REQUEST of a SUBSCRIBE to itself.",
    {"subscribe-new-group-request": "data"},
    drafts(16),
)
class _NewGroupKept(Behaviour):
    def ask_publisher(self, subscribe: m.Subscribe) -> m.Subscribe | None:
        return dataclasses.replace(subscribe, parameters=KeyValues())


# ---- filters --------------------------------------------------------------------------------------


@of_subscriptions.against(
    "filters-ignored",
    "It sends every subscriber all objects, whatever the filter.",
    {
        "subscribe-filter-absolute-range": "data",
        "subscribe-filter-absolute-start": "data",
        "subscribe-filter-largest": "data",
        "subscribe-filter-next-group": "data",
    },
)
class _FiltersIgnored(Behaviour):
    def selected(self, exchange: Exchange, part: Range) -> Range:  # noqa: ARG002 - nothing counts
        return Range()


@of_subscriptions.against(
    "filter-ends-ignored",
    "It knows where a subscription starts, and not where it ends.",
    {"subscribe-filter-absolute-range": "data"},
)
class _EndsIgnored(Behaviour):
    def selected(self, exchange: Exchange, part: Range) -> Range:  # noqa: ARG002 - whoever asks
        return dataclasses.replace(part, last=None)


@of_subscriptions.against(
    "past-ranges-open",
    "It takes a subscription to groups that are over for one to all that follow.",
    {"subscribe-filter-range-in-past": "data"},
    drafts(20),
)
class _PastOpen(_EndsIgnored):
    """Draft 20 on accepts such a subscription, which then gets nothing."""


@of_subscriptions.against(
    "bad-ranges-accepted",
    "It accepts a subscription to a range that is over, or that ends before it starts.",
    {"subscribe-filter-range-in-past": WARN, "subscribe-filter-end-before-start": WARN},
    drafts(14, 19),
)
class _BadRangesAccepted(Behaviour):
    def refused(self, exchange: Exchange, error: m.RequestError) -> None:
        if error.code is RequestErrorCode.INVALID_RANGE:
            exchange.reply(m.SubscribeOk(exchange.session.new_alias()))
        else:
            super().refused(exchange, error)


@of_subscriptions.against(
    "range-filters-accepted",
    "It accepts range filters, of which it has announced to take none.",
    {"subscribe-range-filters-disabled": "wrong-message"},
    drafts(19),
)
class _RangeFiltersAccepted(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        return None if error.code is RequestErrorCode.INVALID_FILTER else super().objection(exchange, error)


@of_subscriptions.against(
    "subscription-errors-overlooked",
    "It ends no session for what its client may not say.",
    {
        "subscribe-filter-unknown-type": "timeout",
        "subscribe-location-filter-unknown-type": "timeout",
        "subscribe-filter-length-mismatch": "timeout",
        "subscribe-filter-delta-overflow": "timeout",
        "subscribe-forward-invalid": "timeout",
        "subscribe-group-order-invalid": "timeout",
        "subscribe-update-unknown-request": "timeout",
        "request-update-misplaced": "timeout",
    },
)
class _Overlooked(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:  # noqa: ARG002
        return None


# ---- forward state and updates --------------------------------------------------------------------


@of_subscriptions.against(
    "forward-ignored",
    "It sends objects to a subscriber that has said FORWARD 0.",
    {
        "subscribe-forward-0": "data",
        "subscribe-forward-toggle": "data",
        "subscribe-forward-upstream": "data",
    },
    ANSWERED_UPDATES,
)
class _ForwardIgnored(Behaviour):
    def forward_state(self, wanted: int) -> bool:  # noqa: ARG002 - always
        return True


@of_subscriptions.against(
    "updates-unanswered",
    "It carries updates out, and answers none.",
    {
        "subscribe-forward-toggle": "timeout",
        "subscribe-update-ok": "timeout",
        "subscribe-update-narrow": "timeout",
    },
    ANSWERED_UPDATES,
)
class _UpdatesUnanswered(Behaviour):
    def updated(self, exchange: Exchange, ok: m.RequestOk) -> None:
        """It says nothing."""


@of_subscriptions.against(
    "updates-not-applied",
    "It answers updates of the filter, and goes on as before.",
    {"subscribe-update-narrow": "data", "subscribe-update-widen": "timeout"},
    drafts(16),
)
class _UpdatesNotApplied(Behaviour):
    def __init__(self) -> None:
        self._parts: WeakKeyDictionary[Exchange, Range] = WeakKeyDictionary()

    def selected(self, exchange: Exchange, part: Range) -> Range:
        return self._parts.setdefault(exchange, part)


@of_subscriptions.against(
    "zero-is-no-time",
    "It takes a delivery timeout of 0 for no time at all.",
    {"subscribe-delivery-timeout-zero": "timeout"},
    drafts(17),
)
class _ZeroIsNoTime(_ByRequest):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        assert self.subscribing is not None
        parameters = self.subscribing.request.parameters  # type: ignore[attr-defined]  # a SUBSCRIBE
        return None if parameters.get(Parameter.OBJECT_DELIVERY_TIMEOUT) == 0 else item


@of_subscriptions.against(
    "delivery-timeouts-ignored",
    "It goes on sending what a subscriber did not take within its delivery timeout.",
    {"subscribe-delivery-timeout": "timeout"},
)
class _TimeoutsIgnored(Behaviour):
    def delivery_timeouts(self, timeouts: Timeouts) -> Timeouts:  # noqa: ARG002 - there is none
        return Timeouts()


# ---- how they end ---------------------------------------------------------------------------------


@of_subscriptions.against(
    "unsubscribe-ignored",
    "It goes on sending objects to a subscriber that has ended its subscription.",
    {"subscribe-unsubscribe": "timeout"},
)
class _UnsubscribeIgnored(Behaviour):
    def unsubscribes(self, exchange: Exchange) -> bool:  # noqa: ARG002 - nobody
        return False


# ---- what is sent first ---------------------------------------------------------------------------


class _Ranked(Behaviour):
    """A relay that has an order of its own for streams."""

    kind: type[Rank]

    def rank(self, rank: Rank) -> Rank:
        return self.kind(rank.share, rank.publisher_priority, rank.group, rank.subgroup, rank.last)


class _Alike(Rank):
    @property
    def urgency(self) -> tuple[int, ...]:
        return (0,)


@of_subscriptions.against(
    "streams-all-alike",
    "It sends the streams of a session in turns, whatever was asked for.",
    {"subscribe-group-order-descending": WARN, "subscribe-priority-respected": WARN},
)
class _AllAlike(_Ranked):
    kind = _Alike


class _LowerFirst(Rank):
    @property
    def urgency(self) -> tuple[int, ...]:
        return (self.share.priority, self.publisher_priority, self.share.served, self.group, self.subgroup)


@of_subscriptions.against(
    "groups-ascending",
    "It sends the lower of two groups first, whatever order the subscriber wants.",
    {"subscribe-group-order-descending": WARN},
)
class _GroupsAscending(_Ranked):
    kind = _LowerFirst


class _UpsideDown(Rank):
    @property
    def urgency(self) -> tuple[int, ...]:
        most, *rest = super().urgency
        return (255 - most, *rest)


@of_subscriptions.against(
    "priorities-upside-down",
    "It takes the highest number for the most urgent of the subscribers' priorities.",
    {"subscribe-priority-respected": WARN},
)
class _PrioritiesUpsideDown(_Ranked):
    kind = _UpsideDown


@of_subscriptions.against(
    "streams-by-priority-in-wide-windows",
    "It sends streams by their priorities while the client's window is wide, and in turns otherwise.",
    {"subscribe-group-order-descending": INFO, "subscribe-priority-respected": INFO},
)
class _InWideWindows(Behaviour):
    def quic(self, usual: type[ServerConnection]) -> type[ServerConnection]:  # noqa: ARG002 - replaced
        return OrdersInWideWindows


def _is_full(session: Session) -> bool:
    assert isinstance(session.transport, SessionTransport), "it serves real connections only"
    return window_left(session.transport.quic) < FEW


class _Behind(Behaviour):
    """A relay that does something about a client that takes nothing and for which much waits."""

    def __init__(self) -> None:
        self._streams: WeakKeyDictionary[Session, set[int]] = WeakKeyDictionary()

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        streams = self._streams.setdefault(session, set())
        streams.add(stream_id)
        super().send_objects(session, stream_id, data, fin)
        if _is_full(session) and sum(map(session.transport.backlog, streams)) > MUCH:
            for each in streams:
                session.transport.reset(each, session.stream_code(StreamError.CANCELLED))
            streams.clear()
            self.behind(session)

    def behind(self, session: Session) -> None:
        """Streams were reset of a client that does not take them."""


@of_subscriptions.against(
    "backlog-dropped",
    "It resets the streams that wait for a client, if they are many, and says nothing of it.",
    {"subscribe-group-order-descending": "data", "subscribe-priority-respected": "data"},
)
class _BacklogDropped(_Behind):
    pass


@of_subscriptions.against(
    "backlog-given-up",
    "It ends the subscriptions for whose client much waits, with TOO_FAR_BEHIND.",
    {"subscribe-group-order-descending": INFO, "subscribe-priority-respected": INFO},
)
class _BacklogGivenUp(_Behind):
    def __init__(self) -> None:
        super().__init__()
        self._subscriptions: WeakKeyDictionary[Session, list[Exchange]] = WeakKeyDictionary()

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        super().subscribed(exchange, ok)
        self._subscriptions.setdefault(exchange.session, []).append(exchange)

    def behind(self, session: Session) -> None:
        for exchange in self._subscriptions.pop(session, []):
            exchange.send(m.PublishDone(PublishDoneStatus.TOO_FAR_BEHIND, m.UNKNOWN_STREAM_COUNT))
