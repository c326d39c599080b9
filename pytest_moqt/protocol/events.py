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
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.transport import Ending
from pytest_moqt.protocol.values import TrackNamespace


class Close(Record):
    """How a session ended; two are equal when code and side are."""

    code: int
    "A SessionError when `layer` is `session`, else QUIC's or HTTP/3's own code."
    by_peer: bool
    reason: str = field(default="", compare=False)
    layer: str = field(default="session", compare=False)
    "`session`, `quic` or `http3`."
    ending: Ending = field(default=Ending.CONNECTION, compare=False)
    "By what the peer ended it, where it did."
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
    "What the peer has not answered yet, in order: the request if it is ours, and our updates of it."
    owed: list[type[m.Message]] = field(default_factory=list)
    "What we have not answered yet, in order: the request if it is the peer's, and the peer's updates."
    replies: list[m.Message] = field(default_factory=list)
    cancelled: bool = False
    "Withdrawn, refused or abandoned, by either end."
    ended: bool = False
    "The peer will send no more about it."
    track_alias: int | None = None
    "What the peer calls the track that it publishes for this request."
    announced: set[TrackNamespace] = field(default_factory=set)
    "SUBSCRIBE_NAMESPACE: the suffixes of which NAMESPACE came, and no NAMESPACE_DONE since."
    update_of: RequestState | None = None
    "Drafts 14-16: the request that this REQUEST_UPDATE changes."


class SetupReceived(Record):
    """The peer's SETUP came; requests may be made."""

    setup: m.Setup


class RequestReceived(Record):
    """The peer made a request."""

    request: RequestState
    message: m.Message


class DeviantRequest(Record):
    """A request of the peer that the draft does not allow, passed over (see `Session`)."""

    name: str
    "Its wire name."
    kind: type[m.Message]
    error: RemoteProtocolError
    stream_id: int


class ReplyReceived(Record):
    """Our request, or our update of it, was answered."""

    request: RequestState
    message: m.Message


class MessageReceived(Record):
    """Something later about a request of either end: PUBLISH_DONE, NAMESPACE, an update, ..."""

    request: RequestState | None
    "None when the message names none that is known."
    message: m.Message


class RequestCancelled(Record):
    """The peer withdrew its request, or abandoned ours."""

    request: RequestState
    code: int | None = None
    "The stream's reset or STOP_SENDING code; None when a message said it or no code could be mapped."


class RequestEnded(Record):
    """The peer finished its side of a request's stream."""

    request: RequestState


class GoawayReceived(Record):
    """The peer wants the session, or one request, to move."""

    goaway: m.Goaway
    request: RequestState | None = None


class CreditReceived(Record):
    """The peer raised the number of requests we may make (14-16)."""

    maximum: int


class RequestsBlockedReceived(Record):
    """The peer says that it has no credit left (14-16)."""

    maximum: int


class DataStreamOpened(Record):
    """A data stream's header came."""

    stream_id: int
    header: StreamHeader


class ObjectReceived(Record):
    """A data stream brought an object, or the end of a fetched range."""

    stream_id: int
    header: StreamHeader
    object: StreamObject | FetchObject | FetchRangeEnd

    def __init__(
        self,
        stream_id: int,
        header: StreamHeader,
        object: StreamObject | FetchObject | FetchRangeEnd,  # noqa: A002 - the field's name
    ) -> None:
        values = self.__dict__
        values["stream_id"] = stream_id
        values["header"] = header
        values["object"] = object


class DataStreamEnded(Record):
    """A data stream ended whole."""

    stream_id: int
    header: StreamHeader


class DataStreamReset(Record):
    """A data stream was abandoned, by the peer or, when it was too large for us, by us."""

    stream_id: int
    header: StreamHeader | None
    code: int | None


class DatagramReceived(Record):
    """A datagram brought an object."""

    datagram: ObjectDatagram


class SessionClosed(Record):
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
