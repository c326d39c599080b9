"""What a session tells its caller: everything that was received, understood and legal."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.objects import (
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamHeader,
    StreamObject,
)


@dataclass(frozen=True)
class Close:
    """How a session ended; two are equal when code and side are."""

    code: int
    "A SessionError when `layer` is `session`, else QUIC's or HTTP/3's own code."
    by_peer: bool
    reason: str = field(default="", compare=False)
    layer: str = field(default="session", compare=False)
    "`session`, `quic` or `http3`."
    error: RemoteProtocolError | None = field(default=None, compare=False)
    "What the peer did, when that is why we closed."


@dataclass(eq=False)
class RequestState:
    """A request and where it stands; its identity is its id, which both ends know it by."""

    id: int
    message: m.Message
    ours: bool
    "We made it."
    stream_id: int | None = None
    "Its own stream; None where it shares the control stream."
    awaiting: list[type[m.Message]] = field(default_factory=list)
    "What of it is not answered yet: itself, then its updates, in order."
    replies: list[m.Message] = field(default_factory=list)
    cancelled: bool = False
    "Withdrawn, refused or abandoned, by either end."
    ended: bool = False
    "The peer will send no more about it."
    update_of: RequestState | None = None
    "Drafts 14-16: the request that this REQUEST_UPDATE changes."


@dataclass(frozen=True)
class SetupReceived:
    """The peer's SETUP came; requests may be made."""

    setup: m.Setup


@dataclass(frozen=True)
class RequestReceived:
    """The peer made a request."""

    request: RequestState
    message: m.Message


@dataclass(frozen=True)
class DeviantRequest:
    """A request of the peer that the draft does not allow, passed over (see `Session`)."""

    name: str
    "Its wire name."
    kind: type[m.Message]
    error: RemoteProtocolError
    stream_id: int


@dataclass(frozen=True)
class ReplyReceived:
    """Our request, or our update of it, was answered."""

    request: RequestState
    message: m.Message


@dataclass(frozen=True)
class MessageReceived:
    """Something later about a request of either end: PUBLISH_DONE, NAMESPACE, an update, ..."""

    request: RequestState | None
    "None when the message names none that is known."
    message: m.Message


@dataclass(frozen=True)
class RequestCancelled:
    """The peer withdrew its request, or abandoned ours."""

    request: RequestState
    code: int | None = None
    "The stream's reset or STOP_SENDING code; None when a message said it or no code could be mapped."


@dataclass(frozen=True)
class RequestEnded:
    """The peer finished its side of a request's stream."""

    request: RequestState


@dataclass(frozen=True)
class GoawayReceived:
    """The peer wants the session, or one request, to move."""

    goaway: m.Goaway
    request: RequestState | None = None


@dataclass(frozen=True)
class CreditReceived:
    """The peer raised the number of requests we may make (14-16)."""

    maximum: int


@dataclass(frozen=True)
class RequestsBlockedReceived:
    """The peer says that it has no credit left (14-16)."""

    maximum: int


@dataclass(frozen=True)
class DataStreamOpened:
    """A data stream's header came."""

    stream_id: int
    header: StreamHeader


@dataclass(frozen=True)
class ObjectReceived:
    """A data stream brought an object, or the end of a fetched range."""

    stream_id: int
    header: StreamHeader
    object: StreamObject | FetchObject | FetchRangeEnd


@dataclass(frozen=True)
class DataStreamEnded:
    """A data stream ended whole."""

    stream_id: int
    header: StreamHeader


@dataclass(frozen=True)
class DataStreamReset:
    """A data stream was abandoned, by the peer or, when it was too large for us, by us."""

    stream_id: int
    header: StreamHeader | None
    code: int | None


@dataclass(frozen=True)
class DatagramReceived:
    """A datagram brought an object."""

    datagram: ObjectDatagram


@dataclass(frozen=True)
class SessionClosed:
    """The session is over; nothing follows."""

    close: Close


Event = (
    SetupReceived
    | RequestReceived
    | DeviantRequest
    | ReplyReceived
    | MessageReceived
    | RequestCancelled
    | RequestEnded
    | GoawayReceived
    | CreditReceived
    | RequestsBlockedReceived
    | DataStreamOpened
    | ObjectReceived
    | DataStreamEnded
    | DataStreamReset
    | DatagramReceived
    | SessionClosed
)
