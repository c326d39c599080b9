"""The decisions of the relay, one method each: here as the drafts want them, in `defects/` one wrong.

Everything the relay says in answer to a client passes through a method of this class, with the request
it concerns at hand. Whatever is not a decision (framing, ids, routing tables) is not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_moqt.protocol.messages import (
    Fetch,
    FetchOk,
    Goaway,
    Publish,
    PublishDone,
    RequestError,
    RequestOk,
    RequestUpdate,
    Setup,
    Subscribe,
    SubscribeOk,
)
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.relay import limits
from pytest_moqt.relay.tokens import TokenCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioquic.tls import SessionTicket

    from pytest_moqt.protocol.errors import RemoteProtocolError
    from pytest_moqt.protocol.framing import Frame
    from pytest_moqt.protocol.objects import (
        FetchObject,
        FetchRangeEnd,
        ObjectDatagram,
        ObjectPart,
        StreamObject,
        SubgroupHeader,
    )
    from pytest_moqt.protocol.parameters import Properties
    from pytest_moqt.protocol.registries import SessionError, StreamError
    from pytest_moqt.protocol.transport import TransportClosed, TransportEvent
    from pytest_moqt.protocol.values import GroupOrder, Location, TrackNamespace
    from pytest_moqt.relay.certificates import Identity
    from pytest_moqt.relay.connection import Answer
    from pytest_moqt.relay.exchange import Exchange
    from pytest_moqt.relay.internals import ServerConnection
    from pytest_moqt.relay.ranges import Range
    from pytest_moqt.relay.schedule import Rank
    from pytest_moqt.relay.session import Session
    from pytest_moqt.relay.timeouts import Timeouts


class Behaviour:
    """How a correct relay decides."""

    # ---- connections ----

    def identity(self, identity: Identity) -> Identity:
        """The certificate that clients see."""
        return identity

    def alpn(self, protocols: list[str]) -> list[str]:
        """The application protocols that the relay takes, most wanted first."""
        return protocols

    def refusal(self) -> int | None:
        """The QUIC error with which a connection is refused (RFC 9000 section 20.1); None: it is welcome."""
        return None

    # ---- QUIC ----

    def quic(self, usual: type[ServerConnection]) -> type[ServerConnection]:
        """How QUIC itself is spoken beneath the sessions."""
        return usual

    def negotiate_version(self, packet: bytes) -> bytes | None:
        """What answers a packet in a version of QUIC that the relay does not speak; None: nothing."""
        return packet

    def takes_token(self) -> bool:
        """Whether a token is taken that came in a Retry of ours, from the address it is for."""
        return True

    def answers_foreign_token(self) -> bool:
        """Whether a first packet with a token that is none of ours gets INVALID_TOKEN, or is dropped."""
        return True

    def known_ticket(self, ticket: SessionTicket | None) -> SessionTicket | None:
        """What is known of a session ticket that a client shows; None: nothing."""
        return ticket

    def takes_from_new_port(self) -> bool:
        """Whether packets of a connection are taken that come from another port than the packets before."""
        return True

    # ---- sessions ----

    def offered(self, names: Sequence[str] | None) -> Sequence[str] | None:
        """The sub-protocols that a WebTransport client offers, as the relay understands them."""
        return names

    def answer_connect(self, answer: Answer, path: str) -> Answer:  # noqa: ARG002 - every path is served
        """What a request for a WebTransport session gets; `answer` has the draft's choice."""
        return answer

    def send_setup(self, session: Session) -> None:
        """Say SETUP: on the relay's control stream from 17 on, in answer to the client's before."""
        session.send_control(session.setup())

    def introduced(self, session: Session, setup: Setup) -> None:
        """Take note of a client's SETUP, before anything of it is judged."""

    def take_setup(self, session: Session, setup: Setup) -> Setup:  # noqa: ARG002 - of any session
        """A client's SETUP as the relay understands it, before anything is checked."""
        return setup

    def framed(self, session: Session, frame: Frame) -> None:
        """Take note of a control message of a client, before it is understood."""

    def heard(self, session: Session, event: TransportEvent) -> TransportEvent | None:  # noqa: ARG002
        """What is taken of an event of a session's transport; None: nothing."""
        return event

    def established(self, session: Session) -> None:
        """Take note that both SETUPs were exchanged."""

    def token_cache(self) -> TokenCache:
        """Where a client's authorization tokens are kept; its size is what SETUP announces."""
        return TokenCache(limits.TOKEN_CACHE_BYTES)

    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:  # noqa: ARG002
        """The code with which a session ends whose client broke its draft; None: it goes on."""
        return error.code

    def close_session(self, session: Session, code: SessionError, reason: str) -> None:
        """Say to a client that its session is over."""
        session.transport.close(code, reason)

    def notices_end(self, session: Session, closed: TransportClosed) -> bool:  # noqa: ARG002
        """Whether the relay takes note that a client has ended its session, or is gone."""
        return True

    def send_goaway(self, session: Session, goaway: Goaway) -> None:
        """Tell a client that the relay is about to stop."""
        session.send_control(goaway)

    def gone_away(self, session: Session) -> None:
        """Take note of a client's GOAWAY."""

    def padded(self, session: Session) -> None:
        """Take note of a padding stream or datagram of a client."""

    # ---- requests ----

    def requested(self, exchange: Exchange) -> None:
        """Take note of a client's request, before anything is done about it."""

    def authorize(self, exchange: Exchange) -> RequestError | None:  # noqa: ARG002 - who comes is welcome
        """With what a client's request is refused for its tokens, or for having none; None: it is allowed."""
        return None

    def objection(self, exchange: Exchange, error: RequestError) -> RequestError | None:  # noqa: ARG002
        """With what a request is refused to which the draft objects; None: it is served all the same.

        The request is the relay's own where the publisher's answer to it is what cannot be.
        """
        return error

    def outgoing_request(self, frame: Frame) -> Frame:
        """How a request of the relay's own is written."""
        return frame

    def send_request(self, exchange: Exchange, data: bytes) -> None:
        """Send the bytes of a request of the relay's own."""
        exchange.session.write(exchange.stream_id, data)

    # ---- namespaces ----

    def matches(self, prefix: TrackNamespace, namespace: TrackNamespace) -> bool:
        """Whether a namespace lies under a prefix that was published or asked for: field by field."""
        return namespace[: len(prefix)] == prefix

    def accept_namespace(self, exchange: Exchange) -> None:
        """Answer PUBLISH_NAMESPACE."""
        exchange.reply(RequestOk())

    def accept_interest(self, exchange: Exchange) -> None:
        """Answer SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS."""
        exchange.reply(RequestOk())

    def namespace_came(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:  # noqa: ARG002
        """The namespace of which a SUBSCRIBE_NAMESPACE is told that it is published; None: of none."""
        return namespace

    def namespace_went(self, exchange: Exchange, namespace: TrackNamespace) -> TrackNamespace | None:  # noqa: ARG002
        """The namespace of which a SUBSCRIBE_NAMESPACE is told that it is no more; None: of none."""
        return namespace

    def ends_interest(self, exchange: Exchange) -> bool:  # noqa: ARG002 - all
        """Whether a SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS is forgotten that its client cancelled."""
        return True

    def withdraws(self, exchange: Exchange) -> bool:  # noqa: ARG002 - all
        """Whether a namespace is forgotten whose publisher withdrew it, or is gone."""
        return True

    def namespace_withdrawn(self, exchange: Exchange) -> None:
        """Take note that a publisher withdrew a namespace, in its draft's way."""

    # ---- subscriptions ----

    def hold_seconds(self, subscribe: Subscribe) -> float:
        """How long a subscription waits for a publisher (`rendezvous-timeout`); 0 is not at all."""
        milliseconds = subscribe.parameters.get(Parameter.RENDEZVOUS_TIMEOUT, 0)
        return float(min(milliseconds / 1000, limits.RENDEZVOUS_SECONDS))

    def no_publisher(self, exchange: Exchange) -> None:
        """Answer SUBSCRIBE for a track that nobody publishes."""
        exchange.reply(RequestError(RequestErrorCode.DOES_NOT_EXIST, "nobody publishes this track"))

    def rendezvous_over(self, exchange: Exchange) -> None:
        """Answer a subscription that was held and for which no publisher came."""
        exchange.reply(RequestError(RequestErrorCode.TIMEOUT, "no publisher came within RENDEZVOUS_TIMEOUT"))

    def publishers(self, sessions: list[Session]) -> list[Session]:
        """Who is asked for a track: all that published it, or a namespace that is a prefix of its own."""
        return sessions

    def ask_publisher(self, subscribe: Subscribe) -> Subscribe | None:
        """The SUBSCRIBE that a publisher gets; None: it gets none."""
        return subscribe

    def routed(self, exchange: Exchange) -> None:
        """Take note that SUBSCRIBE waits for the answer of publishers."""

    def subscribed(self, exchange: Exchange, ok: SubscribeOk) -> None:
        """Answer SUBSCRIBE when the publisher has accepted."""
        exchange.reply(ok)

    def refused(self, exchange: Exchange, error: RequestError) -> None:
        """Answer SUBSCRIBE when all publishers have refused."""
        exchange.reply(error)

    def selected(self, exchange: Exchange, part: Range) -> Range:  # noqa: ARG002 - whoever asks
        """The part of a track that a subscription gets, as its filter has it."""
        return part

    def track_alias(self, session: Session) -> int:
        """What a track is called in a subscriber's session."""
        return session.new_alias()

    def unsubscribes(self, exchange: Exchange) -> bool:  # noqa: ARG002 - whoever asks
        """Whether a subscription is over that its client ended."""
        return True

    def forward_state(self, wanted: int) -> bool:
        """Whether a subscription is sent objects whose FORWARD is this."""
        return bool(wanted)

    def delivery_timeouts(self, timeouts: Timeouts) -> Timeouts:
        """How long objects and subgroups of a subscription may wait for the subscriber."""
        return timeouts

    def request_group(self, value: int) -> int:
        """The NEW_GROUP_REQUEST that a publisher gets, for a subscriber's."""
        return value

    def updated(self, exchange: Exchange, ok: RequestOk) -> None:
        """Answer REQUEST_UPDATE of a subscription, where the draft answers it."""
        exchange.send(ok, answering=RequestUpdate)

    # ---- the status of a track ----

    def track_status(self, exchange: Exchange, ok: RequestOk) -> None:
        """Answer TRACK_STATUS with what is known."""
        exchange.reply(ok)

    def track_status_refused(self, exchange: Exchange, error: RequestError) -> None:
        """Answer TRACK_STATUS of which nobody knows anything."""
        exchange.reply(error)

    # ---- past objects ----

    def keeps(self, item: StreamObject) -> bool:  # noqa: ARG002 - all
        """Whether an object that passes through is kept."""
        return True

    def fetch_order(self, exchange: Exchange, order: GroupOrder) -> GroupOrder:  # noqa: ARG002 - whoever asks
        """In which order groups are fetched; `order` is what was asked for."""
        return order

    def fetch_range(
        self,
        exchange: Exchange,  # noqa: ARG002 - whoever asks
        start: Location,
        last: Location,
    ) -> tuple[Location, Location]:
        """From where to where a fetch is served; both places are included, and were asked for."""
        return start, last

    def joinable(self, exchange: Exchange, allowed: bool) -> bool:  # noqa: ARG002 - whoever asks
        """Whether a subscription may be joined by a FETCH; `allowed` is the draft's word."""
        return allowed

    def fill_timeout(self, exchange: Exchange, milliseconds: int | None) -> int | None:  # noqa: ARG002
        """How long a FETCH may wait for publishers; `milliseconds` is what was asked for."""
        return milliseconds

    def cache_seconds(self, seconds: float | None) -> float | None:
        """How long objects of a track are served that were kept; None: as long as they are."""
        return seconds

    def joins(self, exchange: Exchange, largest: Location) -> Location:  # noqa: ARG002 - whoever asks
        """The last place that a joining fetch brings: the subscription brings what follows it."""
        return largest

    def fetched(self, exchange: Exchange, ok: FetchOk) -> None:
        """Answer FETCH; its stream follows."""
        exchange.reply(ok)

    def fetch_refused(self, exchange: Exchange, error: RequestError) -> None:
        """Answer FETCH that cannot be served."""
        exchange.reply(error)

    def ask_fetch(self, fetch: Fetch) -> Fetch | None:
        """The FETCH that a publisher gets for what is not kept; None: it gets none."""
        return fetch

    def fetch_request_id(self, request_id: int) -> int:
        """What the header of a fetch stream names."""
        return request_id

    def fetch_object(self, item: FetchObject) -> FetchObject | None:
        """What is sent of an object that was fetched; None: nothing."""
        return item

    def fetch_gap(self, end: FetchRangeEnd) -> FetchRangeEnd | None:
        """How a range is marked of which there are no objects in a fetch stream; None: it is not."""
        return end

    def fetch_end(self, error: StreamError | None) -> StreamError | None:
        """How a fetch stream ends: with a reset for a reason, or, None, with a FIN: it is complete."""
        return error

    def fetch_cancelled(self, exchange: Exchange) -> bool:  # noqa: ARG002 - whoever asked
        """Whether the stream of a fetch that the client cancelled is reset."""
        return True

    def fills(self, exchange: Exchange, forward: bool) -> bool:  # noqa: ARG002 - whoever asks
        """Whether a fill that was asked for is served: not while the subscription is paused."""
        return forward

    # ---- published tracks ----

    def accept_publish(self, exchange: Exchange, ok: RequestOk) -> None:
        """Answer PUBLISH."""
        exchange.reply(ok)

    def offer(self, exchange: Exchange, publish: Publish) -> Publish | None:  # noqa: ARG002 - all
        """The PUBLISH that follows a SUBSCRIBE_TRACKS or its like; None: the track is not offered."""
        return publish

    def drops_refused(self, exchange: Exchange) -> bool:  # noqa: ARG002 - all
        """Whether a track is no more a client's that it was offered and refused."""
        return True

    def asks_for_objects(self, wanted: bool) -> bool:
        """The forward state that a publisher is updated to, where it is news; `wanted`: by a subscriber."""
        return wanted

    def publisher_done(self, session: Session) -> None:
        """Take note that a publisher has said PUBLISH_DONE."""

    def pass_on_properties(self, properties: Properties) -> Properties:
        """The properties of a track as subscribers see them."""
        return properties

    # ---- objects ----

    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        """How a stream to a subscriber begins; None: there is no such stream."""
        return header

    def forward_object(self, item: StreamObject) -> StreamObject | None:
        """What a subscriber gets of an object; None: nothing."""
        return item

    def passes_parts(self) -> bool:
        """Whether large objects are passed on as they come ("SHOULD begin sending incomplete objects").

        Who changes objects changes whole ones.
        """
        return type(self).forward_object is Behaviour.forward_object

    def forward_part(self, part: ObjectPart) -> ObjectPart | None:
        """What a subscriber gets of the next bytes of a large object; None: nothing."""
        return part

    def forward_datagram(self, item: ObjectDatagram) -> ObjectDatagram | None:
        """What a subscriber gets of an object in a datagram; None: nothing."""
        return item

    def unknown_alias(self, session: Session) -> None:
        """Take note of a stream of a client under a track alias that nobody has named yet."""

    def rank(self, rank: Rank) -> Rank:
        """By what a stream of objects is sent among the others of its session."""
        return rank

    def reopens_stopped(self) -> bool:
        """Whether a subgroup whose stream the subscriber has stopped goes on on another one."""
        return False

    def breaks_off_before(self, object_id: int) -> bool:  # noqa: ARG002 - none
        """Whether the stream to a subscriber ends before an object, which begins another one."""
        return False

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        """Send the bytes of a forwarded stream, `fin` with its end."""
        session.write(stream_id, data, fin=fin)

    def reset_objects(self, session: Session, stream_id: int, error: StreamError) -> None:
        """Break a forwarded stream off, for the reason that its publisher or the relay has."""
        session.transport.reset(stream_id, session.stream_code(error))

    def publish_done(self, done: PublishDone) -> PublishDone | None:
        """What a subscriber is told at the end of its track; None: nothing."""
        return done
