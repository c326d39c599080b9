"""Relays that are wrong about PUBLISH and SUBSCRIBE_TRACKS."""

from __future__ import annotations

import dataclasses

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.errors import DuplicateTrackAlias, ProtocolViolation, RemoteProtocolError
from pytest_moqt.protocol.parameters import Parameter, Properties, Property
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import answers
from pytest_moqt.relay.defects.chapter import CONFORMANCE, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.forwarding import Upstream
from pytest_moqt.relay.routing import Announcement, Nobody, Router
from pytest_moqt.relay.session import Session

of_publish = Chapter("Conformance: publish", CONFORMANCE)


def _upstream(exchange: Exchange) -> Upstream:
    """What a PUBLISH has become."""
    assert isinstance(exchange.owner, Upstream)
    return exchange.owner


def _router(exchange: Exchange) -> Router:
    """Where a PUBLISH was taken."""
    router = _upstream(exchange).track.owner
    assert isinstance(router, Router)
    return router


# ---- PUBLISH ---------------------------------------------------------------------------------------


@of_publish.against(
    "publish-unanswered",
    "It does not answer PUBLISH.",
    {"publish-ok": "timeout"},
)
class _PublishUnanswered(Behaviour):
    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:
        answers.says_nothing(exchange, ok)


@of_publish.against(
    "publish-accepted-twice",
    "It answers PUBLISH with two OKs.",
    {"publish-ok": "wrong-message"},
)
class _PublishAcceptedTwice(Behaviour):
    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:
        answers.twice(exchange, ok)


@of_publish.against(
    "publish-done-closes",
    "It ends the session of a publisher that says PUBLISH_DONE.",
    {"publish-track-only": "closed", "publish-without-subscriber": "closed"},
)
class _PublishDoneCloses(Behaviour):
    def publisher_done(self, session: Session) -> None:
        session.close(SessionError.INTERNAL_ERROR, "defect: a track has ended")


@of_publish.against(
    "published-tracks-unknown",
    "It knows of tracks only by namespaces: those that were published alone it refuses.",
    {
        "publish-then-subscribe": "rejected",
        "publish-track-subscribe": "rejected",
        "publish-objects-before-ok": "rejected",
    },
)
class _PublishedTracksUnknown(Behaviour):
    def requested(self, exchange: Exchange) -> None:
        if isinstance(exchange.request, m.Subscribe):
            self.no_publisher(exchange)


@of_publish.against(
    "published-tracks-stay-paused",
    "It never tells a publisher that waits to send objects.",
    {"publish-forward-raised": "timeout"},
)
class _PublishedTracksStayPaused(Behaviour):
    def asks_for_objects(self, wanted: bool) -> bool:  # noqa: ARG002 - none ever
        return False


@of_publish.against(
    "publish-ok-always-pauses",
    "Its PUBLISH_OK has FORWARD 0, though the track has subscribers.",
    {"publish-with-waiting-subscriber": "data"},
    drafts(14, 19),
)
class _PublishOkAlwaysPauses(Behaviour):
    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:  # noqa: ARG002 - replaced
        exchange.reply(m.RequestOk(KeyValues([(Parameter.FORWARD, 0)])))


@of_publish.against(
    "track-announces-namespace",
    "It asks who published a track for other tracks of its namespace too.",
    {"publish-no-implicit-namespace": "wrong-message"},
)
class _TrackAnnouncesNamespace(Behaviour):
    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:
        super().accept_publish(exchange, ok)
        router = _router(exchange)
        namespace, _ = _upstream(exchange).track.name
        router.announcements.append(Announcement(router, exchange, namespace))


@of_publish.against(
    "second-publish-closes",
    "It ends the session of a second publisher of a track.",
    {"publish-two-publishers-same-track": "closed", "publish-with-waiting-subscriber": "closed"},
)
class _SecondPublishCloses(Behaviour):
    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:
        if len(_upstream(exchange).track.upstreams) > 1:
            exchange.session.close(SessionError.PROTOCOL_VIOLATION, "defect: the track has a publisher")
        else:
            super().accept_publish(exchange, ok)


@of_publish.against(
    "published-to-everybody",
    "It offers a published track to every client.",
    {"publish-uninvited-never": "wrong-message"},
)
class _PublishedToEverybody(Behaviour):
    def accept_publish(self, exchange: Exchange, ok: m.RequestOk) -> None:
        super().accept_publish(exchange, ok)
        for session in _router(exchange).sessions:
            if session is not exchange.session:
                offer = m.Publish(*_upstream(exchange).track.name, session.new_alias())
                session.request(offer, Nobody())


@of_publish.against(
    "publish-twice-accepted",
    "It accepts a track that the session publishes already.",
    {"publish-duplicate-track": "wrong-message"},
    drafts(16, 18),
)
class _PublishTwiceAccepted(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        duplicate = error.code is RequestErrorCode.DUPLICATE_SUBSCRIPTION
        return None if duplicate else super().objection(exchange, error)


@of_publish.against(
    "publish-twice-wrong-code",
    "It refuses a track that the session publishes already with UNINTERESTED.",
    {"publish-duplicate-track": WARN},
    drafts(16, 18),
)
class _PublishTwiceWrongCode(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        if error.code is RequestErrorCode.DUPLICATE_SUBSCRIPTION:
            return m.RequestError(RequestErrorCode.UNINTERESTED, "defect: another code")
        return super().objection(exchange, error)


@of_publish.against(
    "alias-shared",
    "It overlooks that two published tracks have one alias.",
    {"publish-duplicate-alias": "timeout"},
)
class _AliasShared(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        return None if isinstance(error, DuplicateTrackAlias) else super().violated(session, error)


@of_publish.against(
    "rendezvous-refused-at-once",
    "It waits for no publisher, whatever the subscriber allows.",
    {"publish-to-pending-subscription": WARN},
    drafts(18),
)
class _RendezvousRefusedAtOnce(Behaviour):
    def hold_seconds(self, subscribe: m.Subscribe) -> float:  # noqa: ARG002 - never
        return 0.0


# ---- properties ------------------------------------------------------------------------------------


@of_publish.against(
    "unknown-properties-dropped",
    "It passes on only those properties of a track that it knows.",
    {"publish-properties-forwarded": "data"},
    drafts(16),
)
class _UnknownPropertiesDropped(Behaviour):
    def pass_on_properties(self, properties: Properties) -> Properties:
        known = set(Property)
        return KeyValues([(key, value) for key, value in properties.pairs if key in known])


@of_publish.against(
    "mandatory-properties-overlooked",
    "It passes on tracks with mandatory properties that it does not know.",
    {
        "publish-mandatory-property-unknown": "wrong-message",
        "subscribe-ok-mandatory-property-unknown": "wrong-message",
    },
    drafts(18),
)
class _MandatoryPropertiesOverlooked(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        overlooked = error.code is RequestErrorCode.UNSUPPORTED_EXTENSION
        return None if overlooked else super().objection(exchange, error)


@of_publish.against(
    "mandatory-properties-wrong-code",
    "It refuses tracks with mandatory properties that it does not know with INTERNAL_ERROR.",
    {
        "publish-mandatory-property-unknown": WARN,
        "subscribe-ok-mandatory-property-unknown": WARN,
    },
    drafts(18),
)
class _MandatoryPropertiesWrongCode(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        if error.code is RequestErrorCode.UNSUPPORTED_EXTENSION:
            return m.RequestError(RequestErrorCode.INTERNAL_ERROR, "defect: another code")
        return super().objection(exchange, error)


@of_publish.against(
    "property-values-unchecked",
    "It overlooks properties with values that they may not have.",
    {"publish-property-invalid-value": "timeout"},
    drafts(16),
)
class _PropertyValuesUnchecked(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        return None if isinstance(error, ProtocolViolation) else super().violated(session, error)


# ---- SUBSCRIBE_TRACKS ------------------------------------------------------------------------------


@of_publish.against(
    "tracks-not-offered",
    "It accepts the request for tracks and offers none.",
    {"subscribe-tracks-existing": "timeout", "subscribe-tracks-future": "timeout"},
)
class _TracksNotOffered(Behaviour):
    def offer(self, exchange: Exchange, publish: m.Publish) -> m.Publish | None:  # noqa: ARG002 - none
        return None


@of_publish.against(
    "options-ignored",
    "It takes every SUBSCRIBE_NAMESPACE for one that asks for namespaces only.",
    {"subscribe-namespace-options": "timeout"},
    drafts(16, 17),
)
class _OptionsIgnored(_TracksNotOffered):
    pass


@of_publish.against(
    "tracks-offered-running",
    "It offers tracks with FORWARD 1, though FORWARD 0 was asked for.",
    {"subscribe-tracks-forward-0": "data"},
    drafts(16),
)
class _TracksOfferedRunning(Behaviour):
    def offer(self, exchange: Exchange, publish: m.Publish) -> m.Publish | None:  # noqa: ARG002 - all
        others = [pair for pair in publish.parameters.pairs if pair[0] is not Parameter.FORWARD]
        return dataclasses.replace(publish, parameters=KeyValues(others))


@of_publish.against(
    "tracks-offered-in-other-order",
    "It offers tracks without the group order that was asked for.",
    {"subscribe-tracks-forward-0": WARN},
    drafts(19),
)
class _TracksOfferedInOtherOrder(Behaviour):
    def offer(self, exchange: Exchange, publish: m.Publish) -> m.Publish | None:  # noqa: ARG002 - all
        others = [pair for pair in publish.parameters.pairs if pair[0] is not Parameter.GROUP_ORDER]
        return dataclasses.replace(publish, parameters=KeyValues(others))


@of_publish.against(
    "refused-tracks-sent",
    "It sends objects of a track to a client that refused it.",
    {"publish-rejected-downstream": "data"},
)
class _RefusedTracksSent(Behaviour):
    def drops_refused(self, exchange: Exchange) -> bool:  # noqa: ARG002 - none
        return False


@of_publish.against(
    "offers-never-end",
    "It goes on offering tracks to a client that has cancelled its request for them.",
    {"subscribe-tracks-cancel": "timeout"},
)
class _OffersNeverEnd(Behaviour):
    def ends_interest(self, exchange: Exchange) -> bool:
        return exchange.session.closed
