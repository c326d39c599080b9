"""Relays that are wrong about many clients, and slow ones."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque

from aioquic.quic.packet import QuicErrorCode

from pytest_moqt.protocol.messages import RequestError, Subscribe, SubscribeOk
from pytest_moqt.protocol.objects import SubgroupHeader
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError, StreamError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.transport import TransportClosed
from pytest_moqt.protocol.values import TrackNamespace
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import CONFORMANCE, INFO, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

HEADER = 8
"Bytes of a stream by which it is known of which group it is; an object is longer."
BEHIND = 128 * 1024
"Bytes that a subscriber has not acknowledged, with which all others wait for it."
LOOK_SECONDS = 0.02
"How often it is looked whether they have to."

UNTOLD = 4096
"Bytes that a client has not acknowledged of what it is told of namespaces, with which all others wait."
NAMESPACES = 32
SESSIONS = 12
"That the relay has at a time."
SILENT_SECONDS = 0.4
"After which the relay thinks less of a session."
SUBSCRIPTIONS = 16
"That the relay passes on in its life."
SUBSCRIBERS = 64
"Sessions that are sent objects."
ALIASES = 32
"Track aliases that are told from each other."

under_load = Chapter("Conformance: robustness", CONFORMANCE)


@under_load.against(
    "slowest-decides",
    "It sends objects to all subscribers no faster than the slowest of them takes them.",
    {"slow-subscriber-isolated": "timeout"},
)
class _SlowestDecides(Behaviour):
    def __init__(self) -> None:
        self._waiting: deque[tuple[Session, int, bytes, bool]] = deque()
        self._streams: defaultdict[Session, set[int]] = defaultdict(set)

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        self._waiting.append((session, stream_id, data, fin))
        if len(self._waiting) == 1:
            self._send(session)

    def _send(self, waker: Session) -> None:
        while self._waiting:
            if self._is_behind():
                waker.call_later(LOOK_SECONDS, self._send, waker)
                return
            session, stream_id, data, fin = self._waiting.popleft()
            self._streams[session].add(stream_id)
            session.write(stream_id, data, fin=fin)

    def _is_behind(self) -> bool:
        return any(
            sum(map(session.transport.backlog, streams)) > BEHIND
            for session, streams in self._streams.items()
            if not session.closed
        )


@under_load.against(
    "waits-for-who-watches",
    "It answers PUBLISH_NAMESPACE when all who watch namespaces have taken what they were told before.",
    {"stalled-control-reader": "timeout"},
    drafts(16),
)
class _WaitsForWatchers(Behaviour):
    def __init__(self) -> None:
        self._watching: set[Exchange] = set()

    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:
        self._watching.add(exchange)
        return namespace

    def accept_namespace(self, exchange: Exchange) -> None:
        if any(self._is_behind(each) for each in self._watching):
            exchange.session.call_later(LOOK_SECONDS, self.accept_namespace, exchange)
        else:
            super().accept_namespace(exchange)

    def _is_behind(self, watching: Exchange) -> bool:
        session, stream_id = watching.session, watching.stream_id
        return not session.closed and stream_id is not None and session.transport.backlog(stream_id) > UNTOLD


@under_load.against(
    "thirty-two-namespaces-told",
    "It tells who watches namespaces of thirty-two, and of no more.",
    {"load-many-namespaces": "timeout"},
    drafts(16),
)
class _FewTold(Behaviour):
    def __init__(self) -> None:
        self._told = 0

    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:  # noqa: ARG002
        self._told += 1
        return namespace if self._told <= NAMESPACES else None


@under_load.against(
    "thirteenth-ends-the-first",
    "It has twelve sessions at a time, and ends the oldest for a new one.",
    {"load-many-sessions": "closed", "load-fanout-100": "closed"},
)
class _ThirteenthEndsFirst(Behaviour):
    def __init__(self) -> None:
        self._sessions: deque[Session] = deque()

    def established(self, session: Session) -> None:
        self._sessions.append(session)
        if len(self._sessions) > SESSIONS:
            self._sessions.popleft().close(SessionError.INTERNAL_ERROR, "there are too many sessions")


@under_load.against(
    "sixty-four-subscribers-served",
    "It sends objects to the first sixty-four sessions that subscribe to any.",
    {"load-fanout-100": "timeout"},
)
class _SixtyFourServed(Behaviour):
    def __init__(self) -> None:
        self._served: set[Session] = set()

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        if len(self._served) < SUBSCRIBERS:
            self._served.add(session)
        if session in self._served:
            super().send_objects(session, stream_id, data, fin)
        else:
            self.send_too_many(session, stream_id, data, fin)

    def send_too_many(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        """Send objects to a session behind the sixty-fourth."""


@under_load.against(
    "sixty-fifth-gets-other-bytes",
    "It sends the sixty-fifth session that gets objects, and all after it, other bytes at the end of each.",
    {"load-fanout-100": "data"},
)
class _OtherBytes(_SixtyFourServed):
    def send_too_many(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        session.write(stream_id, data[:-1] + bytes(255 - octet for octet in data[-1:]), fin=fin)


@under_load.against(
    "sixty-fifth-is-given-up",
    "It resets the streams to the sixty-fifth session that gets objects, and to all after it, as too much.",
    {"load-fanout-100": INFO},
    drafts(17),
)
class _GivenUp(_SixtyFourServed):
    def send_too_many(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:  # noqa: ARG002
        session.write(stream_id, data[:HEADER])
        self.reset_objects(session, stream_id, StreamError.EXCESSIVE_LOAD)


@under_load.against(
    "sixty-fifth-is-too-much",
    "It refuses the sixty-fifth subscriber of a track, and all after it, with EXCESSIVE_LOAD.",
    {"load-fanout-100": INFO},
    drafts(17),
)
class _TooMuch(Behaviour):
    def __init__(self) -> None:
        self._served = 0

    def subscribed(self, exchange: Exchange, ok: SubscribeOk) -> None:
        self._served += 1
        if self._served > SUBSCRIBERS:
            exchange.reply(RequestError(RequestErrorCode.EXCESSIVE_LOAD, "there are too many subscribers"))
        else:
            super().subscribed(exchange, ok)


@under_load.against(
    "sixty-sixth-is-refused",
    "It takes sixty-five connections, and refuses the others.",
    {"load-fanout-100": INFO},
)
class _Full(Behaviour):
    def __init__(self) -> None:
        self._taken = 0

    def refusal(self) -> int | None:
        self._taken += 1
        return None if self._taken <= SUBSCRIBERS + 1 else QuicErrorCode.CONNECTION_REFUSED


@under_load.against(
    "aliases-of-five-bits",
    "It sends objects under the lower five bits of their track alias.",
    {"load-many-subscriptions": "timeout"},
)
class _NarrowAliases(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, track_alias=header.track_alias % ALIASES)


@under_load.against(
    "clients-never-gone",
    "It takes no note of a client that is gone.",
    {"connection-churn": "timeout", "publisher-churn": WARN},
)
class _NeverGone(Behaviour):
    def notices_end(self, session: Session, closed: TransportClosed) -> bool:  # noqa: ARG002 - of any
        return False


@under_load.against(
    "sixteen-subscriptions-for-life",
    "It asks publishers for a track sixteen times, and then no more.",
    {"subscribe-churn": "timeout"},
)
class _SixteenSubscriptions(Behaviour):
    def __init__(self) -> None:
        self._asked = 0

    def ask_publisher(self, subscribe: Subscribe) -> Subscribe | None:
        self._asked += 1
        return subscribe if self._asked <= SUBSCRIPTIONS else None


@under_load.against(
    "forgets-who-is-silent",
    "It sends nothing to a subscriber that has been silent for a while.",
    {"soak-idle-session": "timeout"},
)
class _Forgets(Behaviour):
    def __init__(self) -> None:
        self._forgotten: set[Session] = set()

    def subscribed(self, exchange: Exchange, ok: SubscribeOk) -> None:
        exchange.session.call_later(SILENT_SECONDS, self._forgotten.add, exchange.session)
        super().subscribed(exchange, ok)

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        if session not in self._forgotten:
            super().send_objects(session, stream_id, data, fin)


class _EndsSilentPublishers(Behaviour):
    """A relay that ends the session of a publisher that says no more."""

    def accept_namespace(self, exchange: Exchange) -> None:
        super().accept_namespace(exchange)
        self._watch(exchange.session)

    def _watch(self, session: Session) -> None:
        session.call_later(SILENT_SECONDS, session.close, SessionError.NO_ERROR, "it was silent")


@under_load.against(
    "silent-publishers-ended",
    "It ends the session of a publisher that is silent for a while.",
    {"soak-idle-session": INFO},
)
class _SilentPublishersEnded(_EndsSilentPublishers):
    pass


@under_load.against(
    "silent-publishers-ended-unsaid",
    "It ends the session of a publisher that is silent for a while, and tells nobody who has its tracks.",
    {"soak-idle-session": WARN},
)
class _EndedUnsaid(_EndsSilentPublishers):
    def _watch(self, session: Session) -> None:
        # Past its own notice: what it has of the session stands.
        session.call_later(SILENT_SECONDS, session.transport.close, SessionError.NO_ERROR, "it was silent")

    def notices_end(self, session: Session, closed: TransportClosed) -> bool:  # noqa: ARG002 - of any
        return False


@under_load.against(
    "silent-sessions-ended",
    "It ends every session that is silent for a while.",
    {"soak-idle-session": INFO},
)
class _SilentSessionsEnded(_EndsSilentPublishers):
    def subscribed(self, exchange: Exchange, ok: SubscribeOk) -> None:
        super().subscribed(exchange, ok)
        self._watch(exchange.session)


@under_load.against(
    "silent-tracks-withdrawn",
    "It withdraws its own subscription to a track that is silent for a while, and keeps its subscribers.",
    {"soak-idle-session": "reset"},
)
class _TracksWithdrawn(Behaviour):
    def send_request(self, exchange: Exchange, data: bytes) -> None:
        super().send_request(exchange, data)
        if isinstance(exchange.request, Subscribe):
            exchange.session.call_later(SILENT_SECONDS, exchange.cancel)
