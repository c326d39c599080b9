"""Tracks: who publishes them, who subscribed, and how objects get from the one to the others.

Rules:

- An upstream is a subscription in which the relay is the subscriber (its own SUBSCRIBE, or a client's
  PUBLISH); a downstream is one in which it is the publisher (a client's SUBSCRIBE, or its own PUBLISH).
- All downstreams of a track share its upstreams. With several publishers, who opens a subgroup first
  has it; copies by others are dropped ("Relay SHOULD attempt to deduplicate Objects").
- A stream in is a stream out per subscriber, under that subscription's alias and in that session's
  draft; small objects are passed on whole, large ones as they come. FIN and reset go the same way; a
  subscriber that is slow, or stops a stream, affects nobody else.
- What passes through is kept (`cache`), for FETCH and fills (`fetching`).
- A subscription is not ended when its range is: SUBSCRIPTION_ENDED is no duty in any draft, and objects of
  the last group may still be on their way.
- PUBLISH_DONE downstream follows when the streams it counts upstream have come and ended.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import LocalProtocolError, ProtocolViolation
from pytest_moqt.protocol.objects import (
    ObjectBeginning,
    ObjectDatagram,
    ObjectPart,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Parameters, Properties, Property
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode, StreamError
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    GroupOrder,
    KeyValues,
    Location,
    TrackNamespace,
)
from pytest_moqt.relay import limits
from pytest_moqt.relay.assembly import Assembly
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.cache import Cache, TrackCache
from pytest_moqt.relay.clock import Clock, Timer
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.fetching import Fetching, Fill, fill_course, saying_order
from pytest_moqt.relay.new_groups import NewGroups
from pytest_moqt.relay.ranges import Range, following, is_backwards, is_past, selected
from pytest_moqt.relay.schedule import DEFAULT_PRIORITY, Rank, Share
from pytest_moqt.relay.session import Session
from pytest_moqt.relay.timeouts import DeliveryWatch, Timeouts, timeouts
from pytest_moqt.relay.track_properties import unknown_mandatory, unsupported

FullTrackName = tuple[TrackNamespace, bytes]


def accept_update(exchange: Exchange, update: m.RequestUpdate, parameters: Parameters | None = None) -> None:
    """Answer REQUEST_UPDATE with OK, in drafts that answer it."""
    if exchange.session.answers_updates():
        reply = m.RequestOk(parameters or KeyValues(), request_id=update.request_id)
        exchange.send(reply, answering=m.RequestUpdate)


class TrackOwner(Protocol):
    """Who keeps the tracks."""

    behaviour: Behaviour
    clock: Clock
    cache: Cache

    def publishers_of(self, namespace: TrackNamespace) -> list[Session]:
        """The sessions that published a namespace or a prefix of it, longest prefix first."""

    def unused(self, track: Track) -> None:
        """A track has neither publishers nor subscribers."""


class Track:
    """A track that somebody publishes or wants."""

    def __init__(self, name: FullTrackName, owner: TrackOwner) -> None:
        self.name = name
        self.owner = owner
        self.behaviour = owner.behaviour
        self.clock = owner.clock
        self.cache = TrackCache(owner.cache, owner.clock)
        self.upstreams: list[Upstream] = []
        self.downstreams: list[Downstream] = []
        self.largest: Location | None = None
        self.properties: Properties = KeyValues()
        self.published_with: Parameters = KeyValues()
        "What SUBSCRIBE_OK or PUBLISH said beside them."
        self._seen: OrderedDict[Hashable, Upstream] = OrderedDict()
        self._new_groups = NewGroups()
        self._fetches: set[object] = set()
        self._coming: dict[Location, set[Callable[[], None]]] = {}
        "Objects that are passed on in parts and are not whole yet, with who waits for them."

    @property
    def live(self) -> bool:
        """Whether what is published comes to the relay now, so that it knows the largest object."""
        return any(upstream.established and upstream.forward for upstream in self.upstreams)

    @property
    def established(self) -> bool:
        """Whether a publisher has it."""
        return any(upstream.established for upstream in self.upstreams)

    @property
    def parameters(self) -> Parameters:
        """What is said of its state in SUBSCRIBE_OK and the like: LARGEST_OBJECT, if there is one."""
        return KeyValues(() if self.largest is None else ((Parameter.LARGEST_OBJECT, self.largest),))

    def upstream_of(self, session: Session) -> Upstream | None:
        """What a session publishes of the track."""
        return next((up for up in self.upstreams if up.session is session), None)

    def downstream_of(self, session: Session) -> Downstream | None:
        """A session's subscription to it."""
        return next((down for down in self.downstreams if down.session is session), None)

    def wanted(self) -> bool:
        """Whether a subscriber wants objects now."""
        return any(down.forward for down in self.downstreams)

    def ask(self, session: Session) -> bool:
        """Subscribe at a publisher; False: it cannot be asked."""
        if self.upstream_of(session) is not None:
            return True
        # FORWARD is 1 whatever the subscriber says: "Relays SHOULD set the Forward flag to 1 when a new
        # subscription needs to be sent upstream" (`forward-handling`).
        request = self.behaviour.ask_publisher(m.Subscribe(*self.name, self._new_group()))
        upstream = Upstream(self, session)
        if request is not None:
            exchange = session.request(request, upstream)
            if exchange is None:
                return False
            upstream.exchange = exchange
        self.upstreams.append(upstream)
        upstream.await_answer()
        return True

    def _new_group(self) -> Parameters:
        """NEW_GROUP_REQUEST for the first SUBSCRIBE, if a subscriber has one (`new-group-request`)."""
        if self.established:
            return KeyValues()
        wanted = [down.new_group for down in self.downstreams if down.new_group is not None]
        if not wanted:
            return KeyValues()
        self._new_groups.sent(max(wanted))
        return KeyValues(((Parameter.NEW_GROUP_REQUEST, max(wanted)),))

    def request_group(self, value: int) -> None:
        """Pass a subscriber's NEW_GROUP_REQUEST on, if it is to be."""
        if self._new_groups.passes(value, self.largest, self.properties):
            value = self.behaviour.request_group(value)
            self._new_groups.sent(value)
            for upstream in self.upstreams:
                if upstream.established and upstream.exchange is not None:
                    upstream.exchange.update(KeyValues(((Parameter.NEW_GROUP_REQUEST, value),)))

    def published_by(self, upstream: Upstream, parameters: Parameters, properties: Properties) -> None:
        """A publisher has accepted, or offered the track: tell the subscribers that wait."""
        upstream.established = True
        self.properties = self.behaviour.pass_on_properties(properties)
        self.published_with = parameters
        # A parameter up to draft 15, later a property.
        duration = parameters.get(Parameter.MAX_CACHE_DURATION, properties.get(Property.MAX_CACHE_DURATION))
        seconds = duration / 1000 if isinstance(duration, int) else None
        self.cache.duration = self.behaviour.cache_seconds(seconds)
        largest = parameters.get(Parameter.LARGEST_OBJECT)
        if largest is not None:
            self.note(largest)
        upstream.start = self.next_location()
        for downstream in list(self.downstreams):
            downstream.establish()

    def refused_by(self, upstream: Upstream, error: m.RequestError) -> None:
        """A publisher has refused, or cannot answer any more."""
        self.remove_upstream(upstream)
        if self.upstreams:
            return
        for downstream in list(self.downstreams):
            if not downstream.established:
                downstream.refuse(error)

    def ended_by(self, upstream: Upstream, status: PublishDoneStatus | int, reason: str) -> None:
        """A publisher will send no more."""
        self.remove_upstream(upstream)
        if not self.upstreams:
            for downstream in list(self.downstreams):
                downstream.end(status, reason)

    def remove_upstream(self, upstream: Upstream) -> None:
        """Forget a publisher."""
        upstream.release()
        if upstream in self.upstreams:
            self.upstreams.remove(upstream)
        self._tidy()

    def remove_downstream(self, downstream: Downstream) -> None:
        """Forget a subscriber; with the last one go the relay's own subscriptions."""
        downstream.release()
        if downstream in self.downstreams:
            self.downstreams.remove(downstream)
        if not self.downstreams:
            for upstream in [up for up in self.upstreams if not up.published]:
                upstream.cancel()
                self.remove_upstream(upstream)
        self.forward_changed()
        self._tidy()

    def forward_changed(self) -> None:
        """Pass on whether objects are wanted."""
        for upstream in self.upstreams:
            upstream.set_forward(self.wanted())

    @property
    def waking(self) -> bool:
        """Whether a publisher was asked to forward objects again, and has not said yet that it does."""
        return any(upstream.waking for upstream in self.upstreams)

    def woken(self) -> None:
        """A publisher has said so, or will not any more."""
        if not self.waking:
            for downstream in list(self.downstreams):
                downstream.woken()

    def next_location(self) -> Location:
        """The first place behind the largest object."""
        return following(self.largest)

    def note(self, location: Location) -> None:
        """An object exists there."""
        self._new_groups.came(location.group, self.largest)
        if self.largest is None or location > self.largest:
            self.largest = location

    def keep(self, group_id: int, subgroup_id: int | None, priority: int, item: StreamObject) -> None:
        """An object passes through; `cache.trim` follows."""
        if self.behaviour.keeps(item):
            self.cache.add(group_id, subgroup_id, priority, item)

    def begins(self, location: Location, item: ObjectBeginning) -> Assembly:
        """An object begins to pass through in parts; `passed` follows."""
        self._coming.setdefault(location, set())
        return Assembly(self.owner.cache, item)

    def await_object(self, place: Location, passed: Callable[[], None]) -> bool:
        """Whether the object there has begun to pass, and is not whole; if so, call back after its end."""
        if place in self._coming:
            self._coming[place].add(passed)
        return place in self._coming

    def passed(self, location: Location) -> None:
        """An object has passed through, or broke off: who waits for it looks again."""
        for waiting in self._coming.pop(location, ()):
            waiting()

    def claim(self, key: Hashable, upstream: Upstream) -> bool:
        """Whether objects of a subgroup, or a datagram, are this publisher's to bring."""
        holder = self._seen.setdefault(key, upstream)
        if len(self._seen) > limits.REMEMBERED:
            self._seen.popitem(last=False)
        return holder is upstream or holder not in self.upstreams

    @property
    def default_priority(self) -> int:
        """The priority of streams that state none."""
        priority = self.properties.get(Property.DEFAULT_PUBLISHER_PRIORITY, DEFAULT_PRIORITY)
        return priority if isinstance(priority, int) and priority < 256 else DEFAULT_PRIORITY

    # what is past

    def fetch_publishers(self) -> list[Session]:
        """Who can be asked for what is past: who publishes the track, then who may have it."""
        sessions = [upstream.session for upstream in self.upstreams if upstream.established]
        sessions += self.behaviour.publishers(self.owner.publishers_of(self.name[0]))
        return list(dict.fromkeys(sessions))

    def fetch_begun(self, fetching: object) -> None:
        """The track, with what is kept of it, is needed."""
        self._fetches.add(fetching)

    def fetch_over(self, fetching: object) -> None:
        """It is needed no more, for this."""
        self._fetches.discard(fetching)
        self._tidy()

    @property
    def group_order(self) -> GroupOrder:
        """The publisher's."""
        descending = self.properties.get(Property.DEFAULT_PUBLISHER_GROUP_ORDER) == GroupOrder.DESCENDING
        return GroupOrder.DESCENDING if descending else GroupOrder.ASCENDING

    def _tidy(self) -> None:
        # What is kept goes with the last who publishes, wants or fetches the track: who publishes one of
        # its name later need not mean the same.
        if not self.upstreams and not self.downstreams and not self._fetches:
            self.cache.clear()
            self.owner.unused(self)


class Upstream:
    """A subscription of the relay at a publisher; the owner of its request and the sink of its alias."""

    def __init__(self, track: Track, session: Session, exchange: Exchange | None = None) -> None:
        self.track = track
        self.session = session
        self.exchange = exchange
        self.published = exchange is not None
        "It began with the publisher's PUBLISH."
        self.established = False
        self.alias: int | None = None
        self.start = Location(0, 0)
        self.forward = True
        self.waking = False
        "FORWARD was set to 1, and that was not answered yet."
        self._wake_timer: Timer | None = None
        self._streams: set[SubgroupForwarder] = set()
        self._received = 0
        self._done: m.PublishDone | None = None
        self._timer: Timer | None = None

    def await_answer(self) -> None:
        """Give the publisher some time, not forever."""
        self._timer = self.track.owner.clock.call_later(limits.ANSWER_SECONDS, self._unanswered)

    def bind(self, alias: int) -> None:
        """Take the objects of an alias, unless another subscription of the session to the track does."""
        holder = self.session.sink_of(alias)
        if not isinstance(holder, Upstream) or holder.track is not self.track:
            self.session.bind_alias(alias, self)
        self.alias = alias

    def set_forward(self, forward: bool) -> None:
        """Tell the publisher whether objects are wanted, if that is news."""
        forward = self.track.behaviour.asks_for_objects(forward)
        if forward == self.forward or not self.established or self.exchange is None or self._done:
            return
        if not self.exchange.answered:
            return  # a PUBLISH, whose answer comes first and says it, or is followed by what it cannot say
        self.forward = forward
        # The filter is for draft 14, whose update always has a start, which may not decrease.
        self.exchange.update(
            KeyValues({Parameter.FORWARD: int(forward), **self._update_range(self.exchange.draft)})
        )
        self.waking = forward and self.exchange.updates > 0
        if self.waking and self._wake_timer is None:
            self._wake_timer = self.track.owner.clock.call_later(limits.WAKE_SECONDS, self._woken)

    def _update_range(self, draft: Draft) -> dict[Parameter | int, object]:
        if draft.version_code is None:
            return {}
        return {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, self.start)}

    def cancel(self) -> None:
        """End it: nobody wants the track any more."""
        if self.exchange is not None:
            self.exchange.cancel()

    def release(self) -> None:
        """Forget the alias; what still comes for it is nobody's."""
        self._stop_timer()
        self._woken()
        if self.alias is None or self.session.sink_of(self.alias) is not self:
            return
        self.session.release_alias(self.alias, self)
        for other in self.track.upstreams:
            if other is not self and other.session is self.session and other.alias == self.alias:
                other.bind(self.alias)

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Take the publisher's answer to SUBSCRIBE."""
        self._stop_timer()
        if isinstance(reply, m.SubscribeOk):
            if self._is_refused(reply):
                return
            self.bind(reply.track_alias)
            self.track.published_by(self, reply.parameters, reply.track_properties)
            self.session.deliver_held(reply.track_alias, self)
        elif isinstance(reply, m.RequestError):
            self.track.refused_by(self, reply)

    def _is_refused(self, ok: m.SubscribeOk) -> bool:
        """Cancel the subscription to a track that cannot be passed on (`mandatory-track-properties`)."""
        assert self.exchange is not None
        unknown = unknown_mandatory(ok.track_properties, self.session.draft)
        if unknown is None:
            return False
        error = self.track.behaviour.objection(self.exchange, unsupported(unknown))
        if error is None:
            return False
        self.cancel()
        self.track.refused_by(self, error)
        return True

    def received(self, message: m.Message) -> None:
        """Take PUBLISH_DONE, PUBLISH_STATE_NOTIFY, REQUEST_UPDATE or the answer to an update of ours."""
        if isinstance(message, m.PublishStateNotify | m.RequestOk):
            largest = message.parameters.get(Parameter.LARGEST_OBJECT)
            if largest is not None:
                self.track.note(largest)
        if isinstance(message, m.Reply):
            if self.exchange is not None and not self.exchange.updates:
                self._woken()
        elif isinstance(message, m.PublishDone):
            self.track.behaviour.publisher_done(self.session)
            self._done = message
            self._drain()
        elif isinstance(message, m.RequestUpdate) and self.exchange is not None:
            accept_update(self.exchange, message)

    def cancelled(self) -> None:
        """The publisher is gone."""
        if self.established:
            self.track.ended_by(self, PublishDoneStatus.INTERNAL_ERROR, "the publisher is gone")
        else:
            error = m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "the publisher is gone")
            self.track.refused_by(self, error)

    # TrackSink

    def open_subgroup(self, header: SubgroupHeader) -> SubgroupForwarder:
        """Take a new stream."""
        self._received += 1
        stream = SubgroupForwarder(self, header)
        self._streams.add(stream)
        return stream

    def closed_subgroup(self, stream: SubgroupForwarder) -> None:
        """A stream has ended."""
        self._streams.discard(stream)
        if self._done is not None:
            self._drain()

    def datagram(self, item: ObjectDatagram) -> None:
        """Pass on an object in a datagram."""
        location = Location(item.group_id, item.object_id)
        if not item.status:
            self.track.note(location)
        passed = self.track.behaviour.forward_datagram(item)
        if passed is None or not self.track.claim(("datagram", location), self):
            return
        priority = item.publisher_priority
        self.track.keep(
            item.group_id,
            None,
            self.track.default_priority if priority is None else priority,
            StreamObject(item.object_id, item.payload, item.status or 0, item.properties),
        )
        self.track.cache.trim(item.group_id)
        if item.end_of_group:
            self.track.cache.end_group(item.group_id, item.object_id + 1)
        for downstream in self.track.downstreams:
            if downstream.takes(location):
                downstream.send_datagram(passed)

    # private

    def _drain(self) -> None:
        """Wait for the streams that PUBLISH_DONE counts; it often arrives before them."""
        assert self._done is not None
        count = self._done.stream_count
        if count < m.UNKNOWN_STREAM_COUNT and self._received >= count and not self._streams:
            self._finish()
        elif self._timer is None:
            known = count < m.UNKNOWN_STREAM_COUNT or self._streams
            seconds = limits.DRAIN_SECONDS if known else limits.DRAIN_UNKNOWN_SECONDS
            self._timer = self.track.owner.clock.call_later(seconds, self._finish)

    def _finish(self) -> None:
        self._stop_timer()
        if self in self.track.upstreams and self._done is not None:
            for stream in list(self._streams):
                stream.abandon(StreamError.CANCELLED)
            self.track.ended_by(self, self._done.status, self._done.reason)

    def _woken(self) -> None:
        if self._wake_timer is not None:
            self._wake_timer.cancel()
            self._wake_timer = None
        if self.waking:
            self.waking = False
            self.track.woken()

    def _unanswered(self) -> None:
        self._timer = None
        self.cancel()
        seconds = f"{limits.ANSWER_SECONDS:g} seconds"
        error = m.RequestError(RequestErrorCode.TIMEOUT, f"no answer of the publisher within {seconds}")
        self.track.refused_by(self, error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Downstream:
    """A client's subscription at the relay; the owner of its request."""

    def __init__(self, track: Track, session: Session, parameters: Parameters) -> None:
        self.track = track
        self.session = session
        self.exchange: Exchange | None = None
        "None for a moment only: the relay's own PUBLISH before it is sent."
        self.established = False
        self.alias = track.behaviour.track_alias(session)
        self.forward = track.behaviour.forward_state(parameters.get(Parameter.FORWARD, 1))
        self.new_group: int | None = parameters.get(Parameter.NEW_GROUP_REQUEST)
        "What it was opened with."
        self._share = Share(parameters.get(Parameter.SUBSCRIBER_PRIORITY, DEFAULT_PRIORITY))
        self._parameters = parameters
        self._wanted: Filter | None = parameters.get(Parameter.SUBSCRIPTION_FILTER)
        self._range = Range()
        self._opened = 0
        self._streams: set[OutgoingSubgroup] = set()
        self._fills: set[Fill] = set()
        self._joins: list[tuple[Fetching, m.JoiningFetch]] = []
        self._joining: Location | None = None
        self._joining_moves = False
        "The Joining Location: the largest object told when objects began to be forwarded (`subscriptions`)."
        self._unanswered: list[m.RequestUpdate] = []
        "Updates whose answer waits until objects are forwarded to the relay again."
        self._ending: tuple[PublishDoneStatus | int, str] | None = None
        "PUBLISH_DONE waits for the fills."
        self._timer: Timer | None = None

    # before it stands

    def hold(self, seconds: float) -> None:
        """Wait for a publisher."""
        self._timer = self.track.owner.clock.call_later(seconds, self._rendezvous_over)

    def establish(self) -> None:
        """The track has a publisher: accept the subscription, once."""
        if self.established or self.exchange is None:
            return
        self._stop_timer()
        largest = self.track.largest
        if self.session.draft.past_filters_refused:
            if is_backwards(self._wanted):
                self.refuse(m.RequestError(RequestErrorCode.INVALID_RANGE, "the range ends before it starts"))
                return
            if is_past(self._wanted, largest, ended=self.track.cache.group_has_ended):
                error = m.RequestError(RequestErrorCode.INVALID_RANGE, f"the largest object is {largest}")
                self.refuse(error)
                return
        self.established = True
        self._select()
        self._joining = largest
        # "Indicates the subscription will be delivered in" that order (14 section 9.8).
        properties = saying_order(self.track.properties, self._group_order, self.session.draft)
        ok = m.SubscribeOk(self.alias, self.track.parameters, properties)
        self.track.behaviour.subscribed(self.exchange, ok)
        self._fill(self.exchange.request_id, self._parameters)
        self._serve_joins()

    def refuse(self, error: m.RequestError) -> None:
        """There will be no subscription."""
        self._refuse_joins()
        self.track.remove_downstream(self)
        if self.exchange is not None:
            if not isinstance(error.code, RequestErrorCode):
                error = dataclasses.replace(error, code=RequestErrorCode.INTERNAL_ERROR)
            self.track.behaviour.refused(self.exchange, dataclasses.replace(error, request_id=None))

    def _rendezvous_over(self) -> None:
        self._timer = None
        if not self.track.upstreams and self.exchange is not None:
            self._refuse_joins()
            self.track.remove_downstream(self)
            self.track.behaviour.rendezvous_over(self.exchange)

    # while it stands

    def offered(self) -> None:
        """The relay has sent PUBLISH: objects may follow at once."""
        self.established = True
        self._select()
        self._joining = self.track.largest

    def join(self, fetching: Fetching, wanted: m.JoiningFetch) -> None:
        """Fetch what precedes this subscription (`joining-fetches`).

        Raises:
            ProtocolViolation: The draft does not allow it for a subscription such as this.
        """
        if not self.established or self._unanswered:
            # "the Publisher receiving the Joining Fetch buffers [it] until ... the Subscription is
            # established", and "MUST process any pending REQUEST_UPDATE messages" (17 and 18 on); in older
            # drafts it may as well wait.
            self._joins.append((fetching, wanted))
            return
        if not self.track.behaviour.joinable(fetching.exchange, self._may_be_joined()):
            if self.session.draft.joining_misuse_closes:
                raise ProtocolViolation("a joining FETCH of a subscription that may not be joined")
            fetching.refuse(m.RequestError(RequestErrorCode.INVALID_RANGE, "the subscription is paused"))
            return
        if self._joining is None:
            error = m.RequestError(RequestErrorCode.INVALID_RANGE, "nothing was published yet")
            fetching.refuse(error)
            return
        largest = self.track.behaviour.joins(fetching.exchange, self._joining)
        group = max(0, largest.group - wanted.joining_start) if wanted.relative else wanted.joining_start
        end = Location(largest.group, largest.object + 1)
        fetching.begin(m.StandaloneFetch(*self.track.name, Location(group, 0), end), largest)

    def _may_be_joined(self) -> bool:
        if self.session.draft.joining_by_filter:
            return self._wanted is not None and self._wanted.type is FilterType.LARGEST_OBJECT
        return self.forward

    def _serve_joins(self) -> None:
        if self.established:
            joins, self._joins = self._joins, []
            for fetching, wanted in joins:
                try:
                    self.join(fetching, wanted)
                except ProtocolViolation as error:
                    # Of this client, whoever's message it is that is being handled.
                    self.session.close(error.code, str(error))

    def _refuse_joins(self) -> None:
        joins, self._joins = self._joins, []
        for fetching, _ in joins:
            code = RequestErrorCode.INVALID_JOINING_REQUEST_ID
            fetching.refuse(m.RequestError(code, "there is no such subscription"))

    @property
    def timeouts(self) -> Timeouts:
        """How long the client has to take what it is sent."""
        given = timeouts(self._parameters, self.track.published_with, self.track.properties)
        return self.track.behaviour.delivery_timeouts(given)

    def takes(self, location: Location) -> bool:
        """Whether the object there is to be sent."""
        return self.established and self.forward and location in self._range

    def open(self, header: SubgroupHeader, subgroup: int | None) -> OutgoingSubgroup | None:
        """Open a stream for a subgroup; None: the session takes no more, or shall have none."""
        draft = self.session.draft
        priority = header.publisher_priority
        if priority is None and not draft.subgroup_flags & _DEFAULT_PRIORITY_FLAG:
            priority = self.track.default_priority
        passed = self.track.behaviour.forward_header(
            dataclasses.replace(
                header,
                track_alias=self.alias,
                publisher_priority=priority,
                first_object=header.first_object and bool(draft.subgroup_flags & _FIRST_OBJECT_FLAG),
            )
        )
        if passed is None:
            return None
        stream = OutgoingSubgroup(self, passed, self._rank(header, subgroup))
        if not stream.start():
            return None
        self._opened += 1
        self._streams.add(stream)
        return stream

    def closed(self, stream: OutgoingSubgroup) -> None:
        """A stream has ended."""
        self._streams.discard(stream)

    def send_datagram(self, item: ObjectDatagram) -> None:
        """Send an object in a datagram, if it fits."""
        draft = self.session.draft
        priority = item.publisher_priority
        if priority is None and not draft.datagram_flags & _DATAGRAM_DEFAULT_PRIORITY_FLAG:
            priority = self.track.default_priority
        try:
            data = encode_datagram(
                dataclasses.replace(item, track_alias=self.alias, publisher_priority=priority), draft
            )
        except LocalProtocolError:
            return
        if not self.session.closed and len(data) <= self.session.transport.max_datagram_size:
            self.session.transport.send_datagram(data)

    def end(self, status: PublishDoneStatus | int, reason: str) -> None:
        """The track has no publisher any more: say PUBLISH_DONE, when all streams have ended."""
        for stream in list(self._streams):
            stream.end(StreamError.CANCELLED)
        if self._fills:
            self._ending = (status, reason)
            return
        self.track.remove_downstream(self)
        exchange = self.exchange
        if exchange is None:
            return
        if not isinstance(status, PublishDoneStatus):
            status = PublishDoneStatus.INTERNAL_ERROR
        done = self.track.behaviour.publish_done(m.PublishDone(status, self._opened, reason))
        if done is not None and not exchange.send(done):
            exchange.send(dataclasses.replace(done, status=PublishDoneStatus.INTERNAL_ERROR))
        exchange.finish()

    def release(self) -> None:
        """Reset the streams that are open."""
        self._stop_timer()
        self._ending = None
        for stream in list(self._streams):
            stream.end(StreamError.CANCELLED)
        for fill in list(self._fills):
            fill.cancel()

    # FillOwner

    def fill_opened(self) -> None:
        """It counts "any fill fetch streams" too (`message-publish-done`)."""
        self._opened += 1

    def fill_over(self, fill: Fill) -> None:
        """A fill has ended: PUBLISH_DONE may have waited for it."""
        self._fills.discard(fill)
        self.track.fetch_over(fill)
        if self._ending is not None and not self._fills:
            ending, self._ending = self._ending, None
            self.end(*ending)

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Take the client's answer to a PUBLISH of ours."""
        if isinstance(reply, m.RequestOk):
            row = parameter_layout(Parameter.FORWARD, self.session.draft)
            if row is not None and "PUBLISH_OK" in row.scope and Parameter.FORWARD not in reply.parameters:
                # "If the parameter is omitted from any other message, the default value is 1."
                reply = m.RequestOk(KeyValues((*reply.parameters.pairs, (Parameter.FORWARD, 1))))
            self._change(reply.parameters)
            self._joining_moves = False  # PUBLISH has said where objects begin
            if self.exchange is not None:
                # Asked for with SUBSCRIBE_TRACKS; the PUBLISH stands for it (22 sections 3.6.2, 6.4.2.1).
                self._fill(self.exchange.request_id, self._parameters)
        elif self.exchange is not None and self.track.behaviour.drops_refused(self.exchange):
            self.track.remove_downstream(self)

    def received(self, message: m.Message) -> None:
        """Take REQUEST_UPDATE."""
        if not isinstance(message, m.RequestUpdate) or self.exchange is None:
            return
        if self.session.draft.updates_only_narrow:
            self._check_narrower(message.parameters.get(Parameter.SUBSCRIPTION_FILTER))
        if Parameter.NEW_GROUP_REQUEST in message.parameters:
            self.track.request_group(message.parameters[Parameter.NEW_GROUP_REQUEST])
        resumed = self._change(message.parameters)
        if self._unanswered or (resumed and self.established and self.track.waking):
            # The largest object is told when the relay knows it again, as whoever joins there needs it.
            self._unanswered.append(message)
        else:
            self._answer_update(message)

    def woken(self) -> None:
        """The relay gets objects again: answer what waited for that."""
        updates, self._unanswered = self._unanswered, []
        for update in updates:
            if Parameter.SUBSCRIPTION_FILTER in update.parameters and self.session.answers_updates():
                self._select()
            self._answer_update(update)
        self._serve_joins()

    def cancelled(self) -> None:
        """The client has unsubscribed."""
        self._refuse_joins()
        assert self.exchange is not None, "its request is what was cancelled"
        if self.session.closed or self.track.behaviour.unsubscribes(self.exchange):
            self.track.remove_downstream(self)

    # private

    def _fill(self, request_id: int | None, parameters: Parameters) -> None:
        """Serve a fill that was asked for: none "while the subscription is paused" (`fill-semantics`)."""
        inside: Parameters | None = parameters.get(Parameter.FILL_PARAMETERS)
        if inside is None or request_id is None or self.exchange is None:
            return
        course = fill_course(inside, self._wanted, self._group_order, self.track.largest)
        if course is not None and self.track.behaviour.fills(self.exchange, self.forward):
            timeout = inside.get(Parameter.FILL_TIMEOUT)
            fill = Fill(self.track, self.session, request_id, course, self, timeout, self._fill_rank(inside))
            self._fills.add(fill)
            self.track.fetch_begun(fill)
            fill.begin()

    def _fill_rank(self, inside: Parameters) -> Rank:
        own: int | None = inside.get(Parameter.SUBSCRIBER_PRIORITY)
        order = inside.get(Parameter.GROUP_ORDER, self._group_order)
        share = self._share if own is None else Share(own)
        return Rank(share, subgroup=_BEFORE_SUBGROUPS, last=order != self._group_order)

    def _check_narrower(self, wanted: Filter | None) -> None:
        """Draft 14: "The Start Location MUST NOT decrease and the End Group MUST NOT increase" (9.10)."""
        if not self.established or wanted is None or wanted.start is None:
            return
        last = self._range.last
        widens = last is not None and (wanted.end_group is None or wanted.end_group > last.group)
        # Draft 15 lets it end later.
        if wanted.start < self._range.start or (widens and not self.session.draft.updates_answered):
            raise ProtocolViolation("SUBSCRIBE_UPDATE widens the subscription")

    def _answer_update(self, update: m.RequestUpdate) -> None:
        """Say what the largest object is, which may be where a joining FETCH ends, and fill."""
        assert self.exchange is not None
        if self.session.answers_updates():
            if update.parameters.get(Parameter.FORWARD) and self._joining_moves:
                self._joining, self._joining_moves = self.track.largest, False
            ok = m.RequestOk(self.track.parameters, request_id=update.request_id)
            self.track.behaviour.updated(self.exchange, ok)
        self._fill(update.request_id, update.parameters)

    def _change(self, parameters: Parameters) -> bool:
        """Take new values.

        Returns:
            Whether objects are wanted that were not before.
        """
        resumed = False
        if Parameter.SUBSCRIPTION_FILTER in parameters:
            wanted = parameters[Parameter.SUBSCRIPTION_FILTER]
            if self.session.answers_updates():
                self._wanted = wanted
                self._select()
            else:
                # Draft 14's update has a start and an end, and leaves the filter's type as it is.
                self._range = selected(wanted, self.track.largest)
        changed: dict[Parameter | int, object] = {
            key: parameters[key] for key in _STICKY if key in parameters
        }
        unchanged = [pair for pair in self._parameters.pairs if pair[0] not in changed]
        self._parameters = KeyValues([*unchanged, *changed.items()])
        # "a best effort SHOULD be made to apply the change to all objects that have not been scheduled".
        self._share.priority = parameters.get(Parameter.SUBSCRIBER_PRIORITY, self._share.priority)
        if Parameter.FORWARD in parameters:
            forward = self.track.behaviour.forward_state(parameters[Parameter.FORWARD])
            resumed = forward and not self.forward
            self._joining_moves = self._joining_moves or resumed
            self.forward = forward
            self.track.forward_changed()
        return resumed

    @property
    def _group_order(self) -> GroupOrder:
        """The subscriber's, or else the publisher's, which comes with its answer."""
        order: GroupOrder = self._parameters.get(Parameter.GROUP_ORDER, self.track.group_order)
        return order

    def _rank(self, header: SubgroupHeader, subgroup: int | None) -> Rank:
        self._share.descending = self._group_order == GroupOrder.DESCENDING
        priority = header.publisher_priority
        priority = self.track.default_priority if priority is None else priority
        return Rank(self._share, priority, header.group_id, subgroup or 0)

    def _select(self) -> None:
        part = selected(self._wanted, self.track.largest)
        if self.exchange is not None:
            part = self.track.behaviour.selected(self.exchange, part)
        self._range = part

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_STICKY = (
    Parameter.GROUP_ORDER,
    Parameter.OBJECT_DELIVERY_TIMEOUT,
    Parameter.SUBGROUP_DELIVERY_TIMEOUT,
)
"What an update changes for streams that begin later."

_BEFORE_SUBGROUPS = -1

# Bits of stream and datagram types of which a draft's row says whether it has them (`Draft`).
_DEFAULT_PRIORITY_FLAG = 0x20
_FIRST_OBJECT_FLAG = 0x40
_DATAGRAM_DEFAULT_PRIORITY_FLAG = 0x08


class OutgoingSubgroup:
    """One forwarded stream to one subscriber."""

    def __init__(self, downstream: Downstream, header: SubgroupHeader, rank: Rank) -> None:
        self._downstream = downstream
        self._session = downstream.session
        self._rank = rank
        self._encoder = SubgroupEncoder(header, downstream.session.draft)
        self._stream_id: int | None = None
        self._watch: DeliveryWatch | None = None
        self._unsent: list[bytes] = []
        "What came together leaves together: aioquic takes as long for one object as for a packet of them."
        self._since: float | None = None
        "When the object began to come that is being passed on."

    def start(self) -> bool:
        """Open it and send the header; False: the session takes no more streams."""
        try:
            header = self._encoder.header()
        except LocalProtocolError:
            return False
        self._stream_id = self._session.open_data_stream(self._stopped, self._rank)
        if self._stream_id is None:
            return False
        self._session.send_objects(self._stream_id, header)
        self._watch_delivery(self._stream_id, len(header))
        return True

    def _watch_delivery(self, stream_id: int, size: int) -> None:
        within = self._downstream.timeouts
        if within.object is None and within.subgroup is None:
            return

        def late() -> None:
            if self._stream_id is not None:
                self.end(StreamError.DELIVERY_TIMEOUT)
            else:  # it has got its FIN, and waits to be taken
                self._session.abandon_data_stream(stream_id, StreamError.DELIVERY_TIMEOUT)

        clock, transport = self._downstream.track.clock, self._session.transport
        self._watch = DeliveryWatch(clock, within, lambda: transport.backlog(stream_id), late)
        self._watch.wrote(size)

    @property
    def is_open(self) -> bool:
        """Whether objects can still be sent."""
        return self._stream_id is not None

    def send(self, item: StreamObject) -> None:
        """Send an object, in so far as the session's draft has it."""
        draft = self._session.draft
        if self._stream_id is None or item.status not in draft.object_statuses:
            return
        if item.properties and item.status not in draft.statuses_with_properties:
            item = dataclasses.replace(item, properties=KeyValues())
        try:
            data = self._encoder.object(item)
        except LocalProtocolError:
            self.end(StreamError.INTERNAL_ERROR)
            return
        self._unsent.append(data)

    def begin(self, item: ObjectBeginning) -> None:
        """Send the beginning of an object."""
        self.flush()
        if self._stream_id is None:
            return
        try:
            data = self._encoder.beginning(item)
        except LocalProtocolError:
            self.end(StreamError.INTERNAL_ERROR)
            return
        self._since = self._downstream.track.clock.time()
        self._unsent.append(data)

    def part(self, part: ObjectPart) -> None:
        """Send more of its payload."""
        if self._stream_id is None:
            return
        self._unsent.append(part.payload)
        if not part.left:
            self.flush()
            self._since = None

    def flush(self) -> None:
        """Let the objects go that were sent."""
        if self._stream_id is None or not self._unsent:
            return
        data = b"".join(self._unsent)
        self._unsent.clear()
        if self._watch is not None and self._since is not None and self._watch.is_late(self._since):
            # "MUST check the time elapsed since the first byte of the object" (`delivery-timeouts`).
            self.end(StreamError.DELIVERY_TIMEOUT)
        elif self._session.transport.backlog(self._stream_id) + len(data) > limits.STREAM_BACKLOG:
            self.end(StreamError.TOO_FAR_BEHIND)
        else:
            self._session.send_objects(self._stream_id, data)
            if self._watch is not None:
                self._watch.wrote(len(data), self._since)

    def end(self, error: StreamError | None = None) -> None:
        """End it with a FIN, or a reset for a reason."""
        self.flush()
        if self._stream_id is not None:
            stream_id, self._stream_id = self._stream_id, None
            self._session.end_data_stream(stream_id, error)
            if self._watch is not None and error is None:
                self._watch.finished()
            elif self._watch is not None:
                self._watch.cancel()
            self._downstream.closed(self)

    def _stopped(self) -> None:
        # aioquic has answered STOP_SENDING with a reset; the subscription goes on.
        self._stream_id = None
        if self._watch is not None:
            self._watch.cancel()
        self._downstream.closed(self)


class SubgroupForwarder:
    """One stream of a publisher, on its way to all who want it."""

    def __init__(self, upstream: Upstream, header: SubgroupHeader) -> None:
        self._upstream = upstream
        self._track = upstream.track
        self._header = header
        self._subgroup = header.subgroup_id
        self._first: int | None = None
        self._streams: dict[Downstream, OutgoingSubgroup | None] = {}
        self._assembly: Assembly | None = None
        "Of the object that is passed on in parts, with its place and who gets it."
        self._place = Location(0, 0)
        self._takers: list[OutgoingSubgroup] = []
        self._copy = False
        self._ended = False
        self._last: int | None = None
        priority = header.publisher_priority
        self._priority = self._track.default_priority if priority is None else priority

    def object(self, item: StreamObject) -> None:
        """Pass on the next object."""
        location = Location(self._header.group_id, item.object_id)
        if not item.status:
            # A status stands where there is no object, and none is the largest (`object-status`).
            self._track.note(location)
        if self._is_copy(item.object_id):
            return
        self._last = item.object_id
        self._track.keep(self._header.group_id, self._subgroup, self._priority, item)
        passed = self._track.behaviour.forward_object(item)
        if passed is None:
            return
        for stream in self._open_for(location, passed.object_id):
            stream.send(passed)

    def begin(self, item: ObjectBeginning) -> None:
        """Pass on the beginning of the next object, to who gets all of it."""
        location = Location(self._header.group_id, item.object_id)
        self._track.note(location)
        if self._is_copy(item.object_id):
            return
        self._last = item.object_id
        self._place, self._assembly = location, self._track.begins(location, item)
        self._takers = self._open_for(location, item.object_id)
        for stream in self._takers:
            stream.begin(item)

    def part(self, item: ObjectPart) -> None:
        """Pass on more of it."""
        if self._assembly is None:
            return
        self._assembly.add(item.payload)
        passed = self._track.behaviour.forward_part(item)
        if passed is not None:
            for stream in self._takers:
                stream.part(passed)
        if not item.left:
            self._takers = []
            self._assembled(self._assembly.take())

    def _is_copy(self, number: int) -> bool:
        """Whether the subgroup is another publisher's to bring, which shows at its first object."""
        if self._first is None:
            self._first = number
            if self._subgroup is None:
                self._subgroup = number
            self._copy = not self._track.claim((self._header.group_id, self._subgroup), self._upstream)
        return self._copy

    def _open_for(self, location: Location, object_id: int) -> list[OutgoingSubgroup]:
        """The streams that an object goes to; those are reset that may not leave it out."""
        streams = []
        for downstream in list(self._track.downstreams):
            stream = self._streams.get(downstream)
            if not downstream.takes(location):
                if stream is not None:
                    # "Omitting a Subgroup Object due to the subscriber's Forward State": reset
                    # (`closing-subgroup-streams`).
                    stream.end(StreamError.CANCELLED)
                continue
            if stream is not None and not stream.is_open and self._track.behaviour.reopens_stopped():
                del self._streams[downstream]
            elif stream is not None and self._track.behaviour.breaks_off_before(object_id):
                stream.end()
                del self._streams[downstream]
            if downstream not in self._streams:
                header = self._outgoing_header(location.object == self._first)
                stream = self._streams[downstream] = downstream.open(header, self._subgroup)
            if stream is not None:
                streams.append(stream)
        return streams

    def _assembled(self, item: StreamObject | None) -> None:
        """The object that was passed on in parts is over; None: it is not kept."""
        self._assembly = None
        if item is not None:
            self._track.keep(self._header.group_id, self._subgroup, self._priority, item)
        self._track.passed(self._place)

    def flush(self) -> None:
        """No more objects came with the last one: let it go on."""
        for stream in self._streams.values():
            if stream is not None:
                stream.flush()
        self._track.cache.trim(self._header.group_id)

    def finish(self) -> None:
        """The stream ended with a FIN."""
        if self._first is None and self._subgroup is not None:
            # A subgroup without objects is counted all the same.
            for downstream in self._track.downstreams:
                if downstream.takes(Location(self._header.group_id, 0)):
                    self._streams[downstream] = downstream.open(self._header, self._subgroup)
        if self._header.end_of_group and self._last is not None:
            self._track.cache.end_group(self._header.group_id, self._last + 1)
        self._end(None)

    def abandon(self, error: StreamError) -> None:
        """The stream was reset, or its session ended."""
        self._end(error)

    def _outgoing_header(self, is_first: bool) -> SubgroupHeader:
        if is_first:
            return self._header
        return dataclasses.replace(
            self._header, subgroup_id=self._subgroup, subgroup_id_field=True, first_object=False
        )

    def _end(self, error: StreamError | None) -> None:
        if self._ended:
            return
        self._ended = True
        for stream in self._streams.values():
            if stream is not None:
                stream.end(error)
        if self._assembly is not None:
            self._assembly.give_up()
            self._assembled(None)
        self._upstream.closed_subgroup(self)
