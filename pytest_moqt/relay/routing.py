"""Which client's request concerns which others: namespaces, tracks, and who wants to hear of them.

Rules (`relays-moq`, "Publisher Interactions" and "Subscriber Interactions"):

- SUBSCRIBE goes to every publisher that published the track, or a namespace that is a prefix of its
  own; the first that accepts is enough. All subscribers of a track share what comes of it.
- SUBSCRIBE for what nobody publishes is refused at once, or held if RENDEZVOUS_TIMEOUT says so.
- PUBLISH_NAMESPACE is passed on to SUBSCRIBE_NAMESPACE, as NAMESPACE or, in draft 14, as itself.
  PUBLISH is passed on to those who want tracks: SUBSCRIBE_TRACKS, before draft 18 SUBSCRIBE_NAMESPACE.
- TRACK_STATUS is answered from what is known of tracks that the relay has a subscription to; for others a
  publisher is asked, as it is for FETCH of what is not kept.
- Authorization tokens are not judged: who reaches a relay for tests may use it (`Behaviour.authorize`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import ProtocolViolation
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Parameters
from pytest_moqt.protocol.registries import REQUEST_ERRORS, RequestErrorCode
from pytest_moqt.protocol.values import KeyValues, TrackNamespace
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.cache import Cache
from pytest_moqt.relay.clock import Clock
from pytest_moqt.relay.exchange import Exchange, Owner
from pytest_moqt.relay.fetching import Fetching
from pytest_moqt.relay.forwarding import (
    Downstream,
    FullTrackName,
    Track,
    Upstream,
    accept_update,
)
from pytest_moqt.relay.inquiring import StatusInquiry
from pytest_moqt.relay.session import Session
from pytest_moqt.relay.tokens import repeats
from pytest_moqt.relay.track_properties import unknown_mandatory, unsupported

RANGE_FILTERS = (
    Parameter.SUBGROUP_FILTER,
    Parameter.OBJECTID_FILTER,
    Parameter.PRIORITY_FILTER,
    Parameter.OBJECT_PROPERTY_FILTER,
    Parameter.TRACK_PROPERTY_FILTER,
)
"Of drafts that have them (`range-filters`)."


def is_prefix(prefix: TrackNamespace, namespace: TrackNamespace) -> bool:
    """Whether a namespace lies under a prefix, field by field."""
    return namespace[: len(prefix)] == prefix


_LEAVING = m.RequestError(RequestErrorCode.GOING_AWAY, "the relay is about to stop")
_RESERVED = m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "the namespace is reserved")
_OVERLAP = m.RequestError(RequestErrorCode.PREFIX_OVERLAP, "the prefix overlaps one subscribed to")


def is_reserved(draft: Draft, namespace: TrackNamespace) -> bool:
    """Whether a namespace is nobody's (`.`), or of a session and so never another client's (`.session`)."""
    return draft.reserved_namespaces and namespace[:1] in ((b".",), (b".session",))


def _namespace(request: m.Request) -> TrackNamespace:
    """The namespace or prefix that a request names; of a joining FETCH none."""
    of = getattr(request, "range", request)
    found: TrackNamespace = getattr(of, "track_namespace", getattr(of, "track_namespace_prefix", ()))
    return found


class Router:
    """The tables of one relay."""

    def __init__(self, clock: Clock, behaviour: Behaviour) -> None:
        self.clock = clock
        self.behaviour = behaviour
        self.cache = Cache()
        self.sessions: set[Session] = set()
        self.deserted: Callable[[], object] = lambda: None
        "Called when the last session is over."
        self.announcements: list[Announcement] = []
        self.interests: list[Interest] = []
        self.tracks: dict[FullTrackName, Track] = {}

    def accept(self, exchange: Exchange) -> Owner:
        """Take a client's new request."""
        self.behaviour.requested(exchange)
        if exchange.over or exchange.session.closed or self._refused(exchange):
            return Nobody()
        match exchange.request:
            case m.PublishNamespace() as request:
                return self._publish_namespace(exchange, request)
            case m.Subscribe() as request:
                return self._subscribe(exchange, request)
            case m.Publish() as request:
                return self._publish(exchange, request)
            case m.SubscribeNamespace() as request:
                return self._subscribe_namespace(exchange, request)
            case m.SubscribeTracks() as request:
                tracks_only = Interest(self, exchange, request.track_namespace_prefix, tracks=True)
                return self._add_interest(tracks_only, request.parameters.get(Parameter.FORWARD, 1))
            case m.TrackStatus() as request:
                return self._track_status(exchange, request)
            case m.Fetch() as request:
                return self._fetch(exchange, request)
            case _:
                exchange.reply(m.RequestError(RequestErrorCode.NOT_SUPPORTED, "that is no request"))
                return Nobody()

    def _refused(self, exchange: Exchange) -> bool:
        """Refuse what no request may say, whatever it asks for."""
        draft = exchange.draft
        if exchange.session.leaving and REQUEST_ERRORS.value(_LEAVING.code, draft.number) is not None:
            # "any requests that arrive after the GOAWAY, MUST be rejected" (18); elsewhere they may be.
            return self._object(exchange, _LEAVING)
        if draft.repeated_tokens_refused and repeats(exchange.tokens):
            error = m.RequestError(RequestErrorCode.MALFORMED_AUTH_TOKEN, "one token twice in a message")
            return self._object(exchange, error)
        unauthorized = self.behaviour.authorize(exchange)
        if unauthorized is not None:
            exchange.reply(unauthorized)
            return True
        parameters: Parameters = getattr(exchange.request, "parameters", KeyValues())
        if any(each in parameters for each in RANGE_FILTERS):
            # MAX_FILTER_RANGES is 0 here (`max-filter-ranges`).
            error = m.RequestError(RequestErrorCode.INVALID_FILTER, "this relay takes no range filters")
            return self._object(exchange, error)
        return is_reserved(draft, _namespace(exchange.request)) and self._object(exchange, _RESERVED)

    def _object(self, exchange: Exchange, error: m.RequestError) -> bool:
        """Refuse a request, if that is how the relay decides."""
        decided = self.behaviour.objection(exchange, error)
        if decided is None:
            return False
        exchange.reply(decided)
        return True

    def opened(self, session: Session) -> None:
        """A session begins."""
        self.sessions.add(session)

    def closed(self, session: Session) -> None:
        """A session is over; its requests have been withdrawn one by one."""
        self.sessions.discard(session)
        if not self.sessions:
            self.deserted()

    def unused(self, track: Track) -> None:
        """A track has neither publishers nor subscribers."""
        if self.tracks.get(track.name) is track:
            del self.tracks[track.name]

    # ---- namespaces ----

    def _publish_namespace(self, exchange: Exchange, request: m.PublishNamespace) -> Owner:
        namespace = request.track_namespace
        announcement = Announcement(self, exchange, namespace)
        exchange.owner = announcement
        self.behaviour.accept_namespace(exchange)
        if exchange.over or exchange.session.closed:
            return Nobody()
        self.announcements.append(announcement)
        for interest in list(self.interests):
            interest.announced(namespace)
        for track in list(self.tracks.values()):
            # "it MUST send a SUBSCRIBE to the publisher that sent the PUBLISH_NAMESPACE for each matching
            # subscription": those that are held, and those that have other publishers already.
            if self.behaviour.matches(namespace, track.name[0]) and track.downstreams:
                track.ask(exchange.session)
        return announcement

    def withdrawn(self, announcement: Announcement) -> None:
        """A namespace has one publisher less; subscriptions under it go on."""
        if announcement not in self.announcements:
            return
        self.announcements.remove(announcement)
        if not any(other.namespace == announcement.namespace for other in self.announcements):
            for interest in list(self.interests):
                interest.withdrawn(announcement.namespace)

    def publishers_of(self, namespace: TrackNamespace) -> list[Session]:
        """The sessions that published a namespace or a prefix of it, longest prefix first."""
        matches = self.behaviour.matches
        matching = [each for each in self.announcements if matches(each.namespace, namespace)]
        matching.sort(key=lambda each: -len(each.namespace))
        return list(dict.fromkeys(each.session for each in matching))

    def _subscribe_namespace(self, exchange: Exchange, request: m.SubscribeNamespace) -> Owner:
        draft = exchange.draft
        # Subscribe Options of 16 and 17: 0 PUBLISH, 1 NAMESPACE, 2 both; 14 has no choice; from 18
        # SUBSCRIBE_TRACKS is a message of its own.
        split = defines(draft, m.SubscribeTracks)
        interest = Interest(
            self,
            exchange,
            request.track_namespace_prefix,
            namespaces=split or request.subscribe_options in (1, 2),
            tracks=not split and request.subscribe_options in (0, 2),
        )
        return self._add_interest(interest, request.parameters.get(Parameter.FORWARD, 1))

    def _add_interest(self, interest: Interest, forward: int) -> Owner:
        exchange = interest.exchange
        if self.overlaps(interest, interest.prefix) and self._object(exchange, _OVERLAP):
            return Nobody()
        interest.forward = forward
        exchange.owner = interest
        self.behaviour.accept_interest(exchange)
        if exchange.over or exchange.session.closed:
            return Nobody()
        self.interests.append(interest)
        interest.catch_up()
        return interest

    def overlaps(self, interest: Interest, prefix: TrackNamespace) -> bool:
        """Whether the session has an interest of the same kind in a prefix of this one, or under it."""
        return any(
            other is not interest
            and other.session is interest.session
            and type(other.exchange.request) is type(interest.exchange.request)
            and (is_prefix(other.prefix, prefix) or is_prefix(prefix, other.prefix))
            for other in self.interests
        )

    # ---- tracks ----

    def track(self, name: FullTrackName) -> Track:
        """The track of a name, known or new."""
        track = self.tracks.get(name)
        if track is None:
            track = self.tracks[name] = Track(name, self)
        return track

    def _subscribe(self, exchange: Exchange, request: m.Subscribe) -> Owner:
        session = exchange.session
        name = (request.track_namespace, request.track_name)
        known = self.tracks.get(name)
        earlier = None if known is None else known.downstream_of(session)
        if earlier is not None and not session.draft.repeated_subscriptions:
            ours = earlier.exchange is None or earlier.exchange.ours
            if self._is_duplicate(exchange, ours=ours):
                return Nobody()
        track = self.track(name)
        downstream = Downstream(track, session, request.parameters)
        downstream.exchange = exchange
        track.downstreams.append(downstream)
        # Known to the exchange before anybody answers: an answer may end everything at once.
        exchange.owner = downstream
        established = track.established
        if established:
            downstream.establish()
            track.forward_changed()
            if downstream.established and downstream.new_group is not None:
                track.request_group(downstream.new_group)
        # Those too that published the namespace of a track that others have offered: "Relays MUST send
        # SUBSCRIBE messages to all matching publishers" (18 section 9.5).
        publishers = self.behaviour.publishers(self.publishers_of(request.track_namespace))
        asked = [track.ask(publisher) for publisher in publishers if downstream in track.downstreams]
        if established:
            return downstream
        if any(asked) or track.upstreams:
            self.behaviour.routed(exchange)
        else:
            seconds = self.behaviour.hold_seconds(request)
            if seconds > 0:
                downstream.hold(seconds)
            else:
                track.remove_downstream(downstream)
                self.behaviour.no_publisher(exchange)
        return downstream

    def _publish(self, exchange: Exchange, request: m.Publish) -> Owner:
        session = exchange.session
        unknown = unknown_mandatory(request.track_properties, session.draft)
        if unknown is not None and self._object(exchange, unsupported(unknown)):
            return Nobody()
        name = (request.track_namespace, request.track_name)
        known = self.tracks.get(name)
        earlier = None if known is None else known.upstream_of(session)
        if earlier is not None and earlier.established:
            if not session.draft.repeated_subscriptions and self._is_duplicate(
                exchange, ours=not earlier.published
            ):
                return Nobody()
            earlier = None
        track = known or Track(name, self)
        upstream = Upstream(track, session, exchange)
        upstream.bind(request.track_alias)
        # Not before: an alias in use ends the session, and nothing would remain of the track.
        self.tracks[name] = track
        exchange.owner = upstream
        track.upstreams.append(upstream)
        if earlier is not None:
            # "it MUST ensure the subscription it initiated transitions to the Terminated state before
            # sending PUBLISH_OK" (`subscriptions`).
            earlier.cancel()
            track.remove_upstream(earlier)
        track.published_by(upstream, request.parameters, request.track_properties)
        for interest in list(self.interests):
            interest.published(track)
        row = parameter_layout(Parameter.FORWARD, session.draft)
        if row is None or "PUBLISH_OK" in row.scope:
            upstream.forward = track.wanted()
            ok = m.RequestOk(KeyValues(((Parameter.FORWARD, int(upstream.forward)),)))
            self.behaviour.accept_publish(exchange, ok)
        else:
            # What the subscriber wants otherwise than PUBLISH says follows in an update (20 section 10.11).
            upstream.forward = bool(request.parameters.get(Parameter.FORWARD, 1))
            self.behaviour.accept_publish(exchange, m.RequestOk())
            upstream.set_forward(track.wanted())
        if exchange.over:
            upstream.cancelled()
        else:
            session.deliver_held(request.track_alias, upstream)
        return upstream

    def _track_status(self, exchange: Exchange, request: m.TrackStatus) -> Owner:
        inquiry = StatusInquiry(self.track((request.track_namespace, request.track_name)), exchange)
        exchange.owner = inquiry
        inquiry.begin()
        return inquiry

    def _fetch(self, exchange: Exchange, request: m.Fetch) -> Owner:
        wanted = request.range
        if isinstance(wanted, m.JoiningFetch):
            joined = self._subscription(exchange.session, wanted.joining_request_id)
            if joined is None:
                code = RequestErrorCode.INVALID_JOINING_REQUEST_ID
                error = m.RequestError(code, "there is no such subscription")
                self.behaviour.fetch_refused(exchange, error)
                return Nobody()
            exchange.owner = joining = Fetching(joined.track, exchange)
            joined.join(joining, wanted)
            return joining
        track = self.track((wanted.track_namespace, wanted.track_name))
        exchange.owner = fetching = Fetching(track, exchange)
        if track.established or track.fetch_publishers():
            fetching.begin(wanted)
        else:
            fetching.refuse(m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "nobody publishes this track"))
        return fetching

    def _subscription(self, session: Session, request_id: int) -> Downstream | None:
        """A session's subscription, by the id of the request that it began with."""
        for track in self.tracks.values():
            for downstream in track.downstreams:
                exchange = downstream.exchange
                if downstream.session is session and exchange and exchange.request_id == request_id:
                    return downstream
        return None

    def _is_duplicate(self, exchange: Exchange, *, ours: bool) -> bool:
        """Refuse a second subscription to a track in one session, in the same role."""
        code = RequestErrorCode.DUPLICATE_SUBSCRIPTION
        kind = "SUBSCRIBE" if isinstance(exchange.request, m.Subscribe) else "PUBLISH"
        if REQUEST_ERRORS.value(code, exchange.draft.number, kind) is None and not ours:
            # Draft 14: "publishers SHOULD treat this as a protocol violation" (section 9.7); not so where
            # requests of both ends may have crossed.
            raise ProtocolViolation("a second subscription to the same track")
        error = m.RequestError(code, "there is a subscription to this track in this session")
        return self._object(exchange, error)


class Nobody:
    """The owner of requests that were answered and over at once."""

    def replied(self, reply: m.Reply) -> None:
        """Take an answer."""

    def received(self, message: m.Message) -> None:
        """Take a message."""

    def cancelled(self) -> None:
        """Take the end."""


class Announcement:
    """A client's PUBLISH_NAMESPACE."""

    def __init__(self, router: Router, exchange: Exchange, namespace: TrackNamespace) -> None:
        self.router = router
        self.exchange = exchange
        self.session = exchange.session
        self.namespace = namespace

    def replied(self, reply: m.Reply) -> None:
        """Not ours: nothing to take."""

    def received(self, message: m.Message) -> None:
        """Take REQUEST_UPDATE, which changes nothing here."""
        if isinstance(message, m.RequestUpdate):
            accept_update(self.exchange, message)

    def cancelled(self) -> None:
        """The publisher has withdrawn it, or is gone."""
        if self.router.behaviour.withdraws(self.exchange):
            self.router.withdrawn(self)
        if not self.session.closed:
            self.router.behaviour.namespace_withdrawn(self.exchange)


class Interest:
    """A client's SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS."""

    def __init__(
        self,
        router: Router,
        exchange: Exchange,
        prefix: TrackNamespace,
        *,
        namespaces: bool = False,
        tracks: bool = False,
    ) -> None:
        self.router = router
        self.exchange = exchange
        self.session = exchange.session
        self.prefix = prefix
        self.namespaces = namespaces
        self.tracks = tracks
        self.forward = 1
        self._told: set[TrackNamespace] = set()
        self._passed_on: dict[TrackNamespace, PassedOnNamespace] = {}

    def catch_up(self) -> None:
        """Tell what there is already."""
        for announcement in list(self.router.announcements):
            self.announced(announcement.namespace)
        for track in list(self.router.tracks.values()):
            self.published(track)

    def announced(self, namespace: TrackNamespace) -> None:
        """Tell of a namespace, once."""
        if not self.namespaces or namespace in self._told:
            return
        if not self.router.behaviour.matches(self.prefix, namespace):
            return
        said = self.router.behaviour.namespace_came(self.exchange, namespace)
        if said is None:
            return
        if defines(self.exchange.draft, m.Namespace):
            if self.exchange.send(m.Namespace(said[len(self.prefix) :])):
                self._told.add(namespace)
        elif not self._is_its_own(namespace):
            passed_on = PassedOnNamespace(self, namespace)
            passed_on.exchange = self.session.request(m.PublishNamespace(said), passed_on)
            if passed_on.exchange is not None:
                self._told.add(namespace)
                self._passed_on[namespace] = passed_on

    def withdrawn(self, namespace: TrackNamespace) -> None:
        """Tell that a namespace has no publisher any more."""
        if namespace not in self._told:
            return
        self._told.discard(namespace)
        passed_on = self._passed_on.pop(namespace, None)
        said = self.router.behaviour.namespace_went(self.exchange, namespace)
        if said is None:
            return
        if passed_on is None:
            self.exchange.send(m.NamespaceDone(said[len(self.prefix) :]))
        elif passed_on.exchange is not None:
            passed_on.exchange.cancel()

    def revoked(self, namespace: TrackNamespace) -> None:
        """The client wants to hear no more of a namespace that was passed on, until it comes anew."""
        self._passed_on.pop(namespace, None)

    def published(self, track: Track) -> None:
        """Offer a track that somebody else publishes, unless the client has it already."""
        if not self.tracks or not self.router.behaviour.matches(self.prefix, track.name[0]):
            return
        if not any(upstream.published for upstream in track.upstreams):
            return
        if track.upstream_of(self.session) or track.downstream_of(self.session):
            return
        namespace, name = track.name
        if not self.session.may_open_request() and defines(self.exchange.draft, m.PublishBlocked):
            self.exchange.send(m.PublishBlocked(namespace[len(self.prefix) :], name))
            return
        parameters = self._settings()
        downstream = Downstream(track, self.session, KeyValues(parameters))
        if track.largest is not None:
            parameters[Parameter.LARGEST_OBJECT] = track.largest
        publish = m.Publish(namespace, name, downstream.alias, KeyValues(parameters), track.properties)
        request = self.router.behaviour.offer(self.exchange, publish)
        if request is None:
            return
        downstream.exchange = self.session.request(request, downstream)
        if downstream.exchange is not None:
            track.downstreams.append(downstream)
            downstream.offered()
            track.forward_changed()

    def _settings(self) -> dict[Parameter | int, object]:
        """What the client asked for and PUBLISH says in its draft, but for its tokens."""
        settings: dict[Parameter | int, object] = {Parameter.FORWARD: self.forward}
        for key, value in self.exchange.request.parameters.pairs:  # type: ignore[attr-defined]  # both have them
            row = parameter_layout(key, self.exchange.draft) if isinstance(key, Parameter) else None
            if row is not None and "PUBLISH" in row.scope and key is not Parameter.AUTHORIZATION_TOKEN:
                settings.setdefault(key, value)
        return settings

    def _is_its_own(self, namespace: TrackNamespace) -> bool:
        return any(
            each.session is self.session and each.namespace == namespace for each in self.router.announcements
        )

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Not ours: nothing to take."""

    def received(self, message: m.Message) -> None:
        """Take REQUEST_UPDATE, which may change the prefix."""
        if not isinstance(message, m.RequestUpdate):
            return
        prefix = message.parameters.get(Parameter.TRACK_NAMESPACE_PREFIX, self.prefix)
        error = self._objection(prefix)
        if error is not None:
            # "When a REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE ... the responder MUST close the bidi
            # stream" (`updating-subscriptions`).
            error = dataclasses.replace(error, request_id=message.request_id)
            self.exchange.send(error, answering=m.RequestUpdate)
            self.exchange.finish()
            self.cancelled()
            return
        self.forward = message.parameters.get(Parameter.FORWARD, self.forward)
        accept_update(self.exchange, message)
        if prefix != self.prefix:
            self.prefix = prefix
            self._told = {namespace for namespace in self._told if is_prefix(prefix, namespace)}
            self.catch_up()

    def _objection(self, prefix: TrackNamespace) -> m.RequestError | None:
        """Why the prefix cannot become this one."""
        behaviour = self.router.behaviour
        if is_reserved(self.exchange.draft, prefix):
            return behaviour.objection(self.exchange, _RESERVED)
        if self.router.overlaps(self, prefix):
            return behaviour.objection(self.exchange, _OVERLAP)
        return None

    def cancelled(self) -> None:
        """The client wants to hear no more."""
        if self in self.router.interests and self.router.behaviour.ends_interest(self.exchange):
            self.router.interests.remove(self)


class PassedOnNamespace:
    """The relay's own PUBLISH_NAMESPACE to a subscriber of namespaces (draft 14)."""

    def __init__(self, interest: Interest, namespace: TrackNamespace) -> None:
        self._interest = interest
        self._namespace = namespace
        self.exchange: Exchange | None = None

    def replied(self, reply: m.Reply) -> None:
        """An answer changes nothing: what was refused is not offered again."""

    def received(self, message: m.Message) -> None:
        """Nothing comes."""

    def cancelled(self) -> None:
        """The client does not want to hear of it."""
        self._interest.revoked(self._namespace)
