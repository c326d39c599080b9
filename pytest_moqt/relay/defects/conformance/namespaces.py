"""Relays that are wrong about namespaces and their discovery."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.errors import ProtocolViolation, RemoteProtocolError
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.transport import TransportClosed
from pytest_moqt.protocol.values import TrackNamespace
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import answers
from pytest_moqt.relay.defects.chapter import CONFORMANCE, INFO, PASS, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.routing import Announcement, Nobody
from pytest_moqt.relay.session import Session

of_namespaces = Chapter("Conformance: namespaces", CONFORMANCE)

_NAMED = (m.PublishNamespace, m.Subscribe, m.Publish)


def _refuse(exchange: Exchange, reason: str) -> None:
    exchange.reply(m.RequestError(RequestErrorCode.INTERNAL_ERROR, f"defect: {reason}"))


# ---- routing ---------------------------------------------------------------------------------------


@of_namespaces.against(
    "routes-exact-namespaces",
    "It routes subscriptions to publishers of exactly their namespace, not of a prefix.",
    {"namespace-prefix-routing": "rejected"},
)
class _RoutesExactNamespaces(Behaviour):
    def matches(self, prefix: TrackNamespace, namespace: TrackNamespace) -> bool:
        return prefix == namespace


@of_namespaces.against(
    "routes-joined-namespaces",
    "It matches namespaces as strings, with a slash between their fields.",
    {"namespace-no-partial-field-match": "wrong-message"},
)
class _RoutesJoinedNamespaces(Behaviour):
    def matches(self, prefix: TrackNamespace, namespace: TrackNamespace) -> bool:
        return b"/".join(namespace).startswith(b"/".join(prefix))


@of_namespaces.against(
    "routes-without-case",
    "It takes capitals and small letters in namespaces for the same.",
    {"namespace-binary-exact-match": "wrong-message"},
)
class _RoutesWithoutCase(Behaviour):
    def matches(self, prefix: TrackNamespace, namespace: TrackNamespace) -> bool:
        folded = [field.lower() for field in namespace[: len(prefix)]]
        return folded == [field.lower() for field in prefix]


@of_namespaces.against(
    "routes-to-one-publisher",
    "It asks one publisher of a namespace only, where there are several.",
    {"subscribe-routed-to-all-publishers": "timeout"},
)
class _RoutesToOnePublisher(Behaviour):
    def publishers(self, sessions: list[Session]) -> list[Session]:
        return sessions[:1]


# ---- publishers that come, go, and come again --------------------------------------------------------


@of_namespaces.against(
    "withdrawal-ignored",
    "It goes on routing by namespaces that their publisher withdrew, and keeps this to itself.",
    {
        "namespace-withdrawn-unroutable": WARN,
        "namespace-done-delivered": "timeout",
        "subscribe-namespace-lifecycle": "timeout",
    },
)
class _WithdrawalIgnored(Behaviour):
    def withdraws(self, exchange: Exchange) -> bool:
        return exchange.session.closed


@of_namespaces.against(
    "departure-unnoticed",
    "It does not notice that a client has ended its session.",
    {"namespace-dropped-on-disconnect": WARN, "namespace-done-delivered": WARN},
)
class _DepartureUnnoticed(Behaviour):
    def notices_end(self, session: Session, closed: TransportClosed) -> bool:  # noqa: ARG002 - whatever it is
        return False


class _Again(Behaviour):
    """A relay that is wrong about a namespace that a session publishes for the second time."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Session, set[TrackNamespace]] = WeakKeyDictionary()

    def accept_namespace(self, exchange: Exchange) -> None:
        known = self._known.setdefault(exchange.session, set())
        namespace = exchange.request.track_namespace  # type: ignore[attr-defined]  # a PUBLISH_NAMESPACE
        if namespace in known:
            self.second(exchange)
        else:
            known.add(namespace)
            super().accept_namespace(exchange)

    def second(self, exchange: Exchange) -> None:
        """Answer it."""
        raise NotImplementedError


@of_namespaces.against(
    "namespace-once-only",
    "It refuses a namespace that the session had published and withdrawn.",
    {"namespace-reannounce": "rejected"},
)
class _NamespaceOnceOnly(_Again):
    def second(self, exchange: Exchange) -> None:
        _refuse(exchange, "the namespace was published before")


@of_namespaces.against(
    "namespace-twice-unanswered",
    "It does not answer a namespace that the session has published already.",
    {"namespace-duplicate-same-session": "timeout"},
)
class _NamespaceTwiceUnanswered(_Again):
    def second(self, exchange: Exchange) -> None:
        answers.says_nothing(exchange, m.RequestOk())


@of_namespaces.against(
    "second-publisher-closed",
    "It ends the session of a second publisher of a namespace.",
    {"namespace-two-publishers": "closed"},
)
class _SecondPublisherClosed(Behaviour):
    def __init__(self) -> None:
        self._holders: dict[TrackNamespace, Session] = {}

    def accept_namespace(self, exchange: Exchange) -> None:
        namespace = exchange.request.track_namespace  # type: ignore[attr-defined]  # a PUBLISH_NAMESPACE
        holder = self._holders.setdefault(namespace, exchange.session)
        if holder is exchange.session:
            super().accept_namespace(exchange)
        else:
            exchange.session.close(SessionError.PROTOCOL_VIOLATION, "defect: the namespace is taken")


@of_namespaces.against(
    "publisher-owns-its-prefix",
    "It refuses a second publisher of a namespace, and of all below it, as it may.",
    {"namespace-two-publishers": INFO},
)
class _PublisherOwnsItsPrefix(Behaviour):
    def __init__(self) -> None:
        self._holders: dict[TrackNamespace, Session] = {}

    def accept_namespace(self, exchange: Exchange) -> None:
        namespace = exchange.request.track_namespace  # type: ignore[attr-defined]  # a PUBLISH_NAMESPACE
        above = [self._holders.get(namespace[:fields]) for fields in range(len(namespace) + 1)]
        if any(holder not in (None, exchange.session) for holder in above):
            exchange.reply(m.RequestError(RequestErrorCode.UNAUTHORIZED, "the namespace is another's"))
            return
        self._holders[namespace] = exchange.session
        super().accept_namespace(exchange)


# ---- names -------------------------------------------------------------------------------------------


@of_namespaces.against(
    "names-unchecked",
    "It overlooks requests whose names break the limits, and goes on.",
    {"namespace-33-fields": "timeout", "full-track-name-4097": "timeout"},
)
class _NamesUnchecked(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        return None if isinstance(error, ProtocolViolation) else super().violated(session, error)


@of_namespaces.against(
    "empty-names-unchecked",
    "It overlooks requests with a namespace of no fields, or with an empty field.",
    {"namespace-0-fields": "timeout", "namespace-empty-field": "timeout"},
    drafts(16, 16),
)
class _EmptyNamesUnchecked(_NamesUnchecked):
    pass


@of_namespaces.against(
    "names-wrong-code",
    "It ends the session with PROTOCOL_VIOLATION's neighbour where a name breaks the limits.",
    {"namespace-33-fields": WARN},
)
class _NamesWrongCode(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:  # noqa: ARG002
        return SessionError.INTERNAL_ERROR


class _Picky(Behaviour):
    """A relay that refuses names that it has to take."""

    def requested(self, exchange: Exchange) -> None:
        request = exchange.request
        if isinstance(request, _NAMED) and self.minds(
            request.track_namespace, getattr(request, "track_name", None)
        ):
            _refuse(exchange, "no such names here")

    def minds(self, namespace: TrackNamespace, track: bytes | None) -> bool:
        """Whether it refuses this one; a PUBLISH_NAMESPACE has no track name."""
        raise NotImplementedError


@of_namespaces.against(
    "names-of-8-fields",
    "It refuses namespaces of more than 8 fields.",
    {"namespace-32-fields": "rejected"},
)
class _NamesOf8Fields(_Picky):
    def minds(self, namespace: TrackNamespace, track: bytes | None) -> bool:  # noqa: ARG002
        return len(namespace) > 8


@of_namespaces.against(
    "names-of-1024-bytes",
    "It refuses names of more than 1024 bytes.",
    {"full-track-name-4096": "rejected"},
)
class _NamesOf1024Bytes(_Picky):
    def minds(self, namespace: TrackNamespace, track: bytes | None) -> bool:
        return sum(map(len, namespace)) + len(track or b"") > 1024


@of_namespaces.against(
    "empty-track-name-refused",
    "It refuses tracks with an empty name.",
    {"track-name-empty": "rejected"},
)
class _EmptyTrackNameRefused(_Picky):
    def minds(self, namespace: TrackNamespace, track: bytes | None) -> bool:  # noqa: ARG002
        return track == b""


# ---- discovery ---------------------------------------------------------------------------------------


@of_namespaces.against(
    "discovery-both-ways",
    "It tells of a namespace by PUBLISH_NAMESPACE, and then by NAMESPACE: each is asked for in one section.",
    {"subscribe-namespace-future": PASS},
    drafts(16, 17),
)
class _DiscoveryBothWays(Behaviour):
    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        exchange.session.request(m.PublishNamespace(namespace), _ThenByNotice(exchange, namespace))
        return None


class _ThenByNotice(Nobody):
    """The relay's PUBLISH_NAMESPACE to a client, whose answer is followed by NAMESPACE."""

    def __init__(self, interest: Exchange, namespace: TrackNamespace) -> None:
        self._interest = interest
        self._namespace = namespace

    def replied(self, reply: m.Reply) -> None:  # noqa: ARG002 - whatever it is
        prefix = self._interest.request.track_namespace_prefix  # type: ignore[attr-defined]  # it has one
        self._interest.send(m.Namespace(self._namespace[len(prefix) :]))


@of_namespaces.against(
    "discovery-twice",
    "It tells of namespaces, and of their ends, by requests of its own beside NAMESPACE and NAMESPACE_DONE.",
    {
        "namespace-done-delivered": PASS,
        "subscribe-namespace-lifecycle": PASS,
        "subscribe-namespace-future": PASS,
        "load-many-namespaces": PASS,
    },
    drafts(16),
)
class _DiscoveryTwice(Behaviour):
    def __init__(self) -> None:
        self._standing: dict[tuple[Exchange, TrackNamespace], Exchange | None] = {}

    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        asked = exchange.session.request(m.PublishNamespace(namespace), Nobody())
        self._standing[exchange, namespace] = asked
        return namespace

    def namespace_went(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        asked = self._standing.pop((exchange, namespace), None)
        if asked is not None:
            asked.cancel()
        return namespace


@of_namespaces.against(
    "namespace-done-again",
    "It says NAMESPACE_DONE again, before the next NAMESPACE that follows.",
    {"namespace-done-delivered": "wrong-message"},
    drafts(16),
)
class _NamespaceDoneAgain(Behaviour):
    def __init__(self) -> None:
        self._said: dict[Exchange, m.NamespaceDone] = {}

    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        if exchange in self._said:
            exchange.send(self._said.pop(exchange))
        return namespace

    def namespace_went(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        prefix = exchange.request.track_namespace_prefix  # type: ignore[attr-defined]  # it has one
        self._said[exchange] = m.NamespaceDone(namespace[len(prefix) :])
        return namespace


@of_namespaces.against(
    "discovery-in-turn",
    "Before it tells of a namespace's end it tells of another one's begin, and waits for the answer to that.",
    {
        "namespace-done-delivered": PASS,
        "subscribe-namespace-lifecycle": PASS,
        "load-many-namespaces": PASS,
    },
)
class _DiscoveryInTurn(Behaviour):
    def withdraws(self, exchange: Exchange) -> bool:
        announcement = exchange.owner
        assert isinstance(announcement, Announcement)
        told = [
            each.session.request(m.PublishNamespace((b"elsewhere",)), _ThenOfTheEnd(announcement))
            for each in announcement.router.interests
            if self.matches(each.prefix, announcement.namespace)
        ]
        return not any(told)


class _ThenOfTheEnd(Nobody):
    """The relay's PUBLISH_NAMESPACE to a client, whose answer is followed by the end of another one."""

    def __init__(self, other: Announcement) -> None:
        self._other = other

    def replied(self, reply: m.Reply) -> None:  # noqa: ARG002 - whatever it is
        self._other.router.withdrawn(self._other)


@of_namespaces.against(
    "discovery-ends-at-once",
    "It ends the stream of SUBSCRIBE_NAMESPACE behind its answer.",
    {"subscribe-namespace-ok": "reset"},
    drafts(16),
)
class _DiscoveryEndsAtOnce(Behaviour):
    def accept_interest(self, exchange: Exchange) -> None:
        super().accept_interest(exchange)
        exchange.session.write(exchange.stream_id, b"", fin=True)


@of_namespaces.against(
    "discovery-unanswered",
    "It does not answer SUBSCRIBE_NAMESPACE.",
    {"subscribe-namespace-ok": "timeout", "subscribe-namespace-empty-prefix": "timeout"},
    drafts(16),
)
class _DiscoveryUnanswered(Behaviour):
    def accept_interest(self, exchange: Exchange) -> None:
        answers.says_nothing(exchange, m.RequestOk())


@of_namespaces.against(
    "discovery-tells-of-nothing",
    "It accepts SUBSCRIBE_NAMESPACE and tells of no namespace.",
    {
        "subscribe-namespace-existing": "timeout",
        "subscribe-namespace-future": "timeout",
        "subscribe-namespace-overlap-other-session": "timeout",
        "subscribe-namespace-lifecycle": "timeout",
    },
)
class _DiscoveryTellsOfNothing(Behaviour):
    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:  # noqa: ARG002
        return None


@of_namespaces.against(
    "discovery-tells-of-the-parent",
    "It tells of a namespace without its last field.",
    {"subscribe-namespace-existing": "wrong-message"},
)
class _DiscoveryTellsOfTheParent(Behaviour):
    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:  # noqa: ARG002
        return namespace[:-1]


@of_namespaces.against(
    "discovery-keeps-ends-to-itself",
    "It does not tell that a namespace is no more.",
    {"namespace-done-delivered": "timeout", "subscribe-namespace-lifecycle": "timeout"},
)
class _DiscoveryKeepsEnds(Behaviour):
    def namespace_went(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:  # noqa: ARG002
        return None


@of_namespaces.against(
    "discovery-overlaps",
    "It accepts prefixes that overlap.",
    {"subscribe-namespace-overlap": "wrong-message", "subscribe-namespace-update-prefix": "wrong-message"},
)
class _DiscoveryOverlaps(Behaviour):
    def objection(self, exchange: Exchange, error: m.RequestError) -> m.RequestError | None:
        overlaps = error.code is RequestErrorCode.PREFIX_OVERLAP
        return None if overlaps else super().objection(exchange, error)


@of_namespaces.against(
    "discovery-one-subscriber",
    "It refuses a prefix that another session has subscribed to, or a prefix of it.",
    {"subscribe-namespace-overlap-other-session": "rejected"},
)
class _DiscoveryOneSubscriber(Behaviour):
    def __init__(self) -> None:
        self._holders: dict[TrackNamespace, Session] = {}

    def accept_interest(self, exchange: Exchange) -> None:
        prefix = exchange.request.track_namespace_prefix  # type: ignore[attr-defined]  # both have it
        for held, session in self._holders.items():
            if session is not exchange.session and prefix[: len(held)] == held:
                exchange.reply(m.RequestError(RequestErrorCode.PREFIX_OVERLAP, "defect: another session's"))
                return
        self._holders[prefix] = exchange.session
        super().accept_interest(exchange)


@of_namespaces.against(
    "discovery-prefix-refused-by-close",
    "It ends the session of who asks for all namespaces.",
    {"subscribe-namespace-empty-prefix": "closed"},
    drafts(17),
)
class _DiscoveryAllCloses(Behaviour):
    def accept_interest(self, exchange: Exchange) -> None:
        if exchange.request.track_namespace_prefix:  # type: ignore[attr-defined]  # both have it
            super().accept_interest(exchange)
        else:
            exchange.session.close(SessionError.PROTOCOL_VIOLATION, "defect: a prefix of no fields")


@of_namespaces.against(
    "discovery-never-ends",
    "It goes on with a SUBSCRIBE_NAMESPACE that was cancelled.",
    {"subscribe-namespace-cancel": "rejected"},
)
class _DiscoveryNeverEnds(Behaviour):
    def ends_interest(self, exchange: Exchange) -> bool:
        return exchange.session.closed
