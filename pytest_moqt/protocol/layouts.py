"""THE TABLE of control messages: meaning x drafts -> wire name, type code, stream, fields.

Rules:

- A type code means nothing without its draft and direction: (draft, sender, code) is the key for
  reading, (draft, message, what it answers) for writing.
- Reading and writing interpret the same row.
- A note about a draft's text stands beside the row it concerns.

Sources: the message tables of the drafts' sections "Control Messages" (14-17: 9, 18-20: 10, 22: 9) and the
sections of the single messages, cited by anchor.
"""

from __future__ import annotations

from enum import Enum, Flag, auto
from functools import cache
from typing import Any

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.fields import (
    FETCH_END,
    FILTER_FIELDS,
    FLAG,
    NAMESPACE,
    OPTIONS,
    PREFIX,
    REASON,
    REDIRECT,
    STREAM_COUNT,
    SUFFIX,
    TRACK_PROPERTIES,
    U8,
    UPDATE_RANGE,
    URI,
    VERSION_SELECTED,
    VERSIONS_OFFERED,
    VINT,
    Codec,
    Constant,
    ErrorCode,
    FetchRange,
    Field,
    FullTrackName,
    Lifted,
    LiftedLargest,
    Optional,
    Plain,
    RequiredRequestId,
    limited,
)
from pytest_moqt.protocol.parameter_layouts import FilteredTrack, ParametersField
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.registries import PUBLISH_DONE_STATUSES, REQUEST_ERRORS, RequestErrorCode
from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.protocol.values import Filter, FilterType, GroupOrder


class Stream(Flag):
    """Where a message may travel (the Stream column of draft 18 section 10).

    Up to draft 16 everything travels on the one control stream but what a row marks `own_stream`.
    """

    CONTROL = auto()
    FIRST = auto()
    "It opens a request."
    REPLY = auto()
    "The responder's first message."
    REQUEST = auto()
    "Later on, either way."


class Sender(Enum):
    """Which end of a session sends a message."""

    CLIENT = "client"
    SERVER = "server"


class Layout(Record):
    """How the drafts of `span` write one meaning."""

    message: type[m.Message]
    name: str
    "As the draft prints it; what reports show."
    code: int
    "Its type code."
    stream: Stream
    span: Span
    fields: tuple[Field, ...]
    anchor: str
    "Of the section that defines it; sections.py has its number per draft."
    sender: Sender | None = None
    "None: either end."
    answers: tuple[type[m.Message], ...] = ()
    "Replies only: the requests that it may answer."
    own_stream: bool = False
    "Up to 16: travels on a stream of its own request, not on the control stream."
    only_read: bool = False
    "A peer may write it so; we write it as another row has it."

    @property
    def label(self) -> str:
        """`SUBSCRIBE (type 0x3)`."""
        return f"{self.name} (type {self.code:#x})"


# ---- fields that recur -----------------------------------------------------------------------------

REQUEST_ID = Plain("request_id", VINT)
REQUIRED_17 = RequiredRequestId()
SUBSCRIBE_OPTIONS = Plain("subscribe_options", limited(VINT, (0, 1, 2), "Subscribe Options"))
REASON_FIELD = Plain("reason", REASON)
NAMESPACE_FIELD = Plain("track_namespace", NAMESPACE)
PREFIX_FIELD = Plain("track_namespace_prefix", PREFIX)
SUFFIX_FIELD = Plain("track_namespace_suffix", SUFFIX)
TRACK = FullTrackName()
TRACK_ALIAS = Plain("track_alias", VINT)
PROPERTIES_FIELD = Plain("track_properties", TRACK_PROPERTIES)
END_OF_TRACK = Plain("end_of_track", FLAG)


def _enum(codec: Codec[int], kind: type[GroupOrder]) -> Codec[Any]:
    """The codec's integers as members of `kind`; an integer it has no member for stays one."""
    members = {int(member): member for member in kind}
    return Codec(codec.kind, lambda r, d: members.get(value := codec.pull(r, d), value), codec.push)


def _lifted_order(legal: tuple[int, ...]) -> Lifted:
    return Lifted(
        Parameter.GROUP_ORDER,
        _enum(limited(U8, legal, "Group Order"), GroupOrder),
        default=legal[0],
        drop=0,
    )


FORWARD_14 = Lifted(Parameter.FORWARD, limited(U8, (0, 1), "Forward"), default=1)
PRIORITY_14 = Lifted(Parameter.SUBSCRIBER_PRIORITY, U8, default=128)
ORDER_OR_NONE_14 = _lifted_order((0, 1, 2))
ORDER_14 = _lifted_order((1, 2))
# A publisher's order: a property of the track from draft 16 on, so that is where it is carried.
TRACK_ORDER_14 = Lifted(
    Property.DEFAULT_PUBLISHER_GROUP_ORDER,
    limited(U8, (1, 2), "Group Order"),
    default=1,
    into="track_properties",
)
EXPIRES_14 = Lifted(Parameter.EXPIRES, VINT, default=0, drop=0)
FILTER_14 = Lifted(Parameter.SUBSCRIPTION_FILTER, FILTER_FIELDS, default=Filter(FilterType.LARGEST_OBJECT))
UPDATE_RANGE_14 = Lifted(
    Parameter.SUBSCRIPTION_FILTER, UPDATE_RANGE, default=Filter(FilterType.ABSOLUTE_START)
)
LARGEST_14 = LiftedLargest()

_LIFTED_14 = frozenset(
    {
        Parameter.FORWARD,
        Parameter.SUBSCRIBER_PRIORITY,
        Parameter.GROUP_ORDER,
        Parameter.EXPIRES,
        Parameter.SUBSCRIPTION_FILTER,
        Parameter.LARGEST_OBJECT,
    }
)


def request_parameters(scope: str) -> ParametersField:
    """The parameters of a request, whose scope is its name."""
    return ParametersField(frozenset({scope}), strict=True)


def reply_parameters(*scopes: str, strict: bool = False) -> ParametersField:
    """The parameters of a reply, which may be any of `scopes`."""
    return ParametersField(frozenset(scopes), strict=strict)


def parameters_14(scope: str, *lifted: Parameter) -> ParametersField:
    """Draft 14: the parameters beside the fixed fields `lifted`."""
    return ParametersField(frozenset({scope}), strict=False, lifted=frozenset(lifted))


def error_code(space: str = "") -> ErrorCode:
    """A request error's code."""
    return ErrorCode("code", REQUEST_ERRORS, space)


_F, _R = Stream.FIRST, Stream.REPLY
_CONTROL, _REQUEST = Stream.CONTROL, Stream.REQUEST
_P = Parameter


def _subscribe_14(name: str) -> tuple[Field, ...]:
    """SUBSCRIBE's fields, and TRACK_STATUS's: "identical to the SUBSCRIBE message" (section 9.20)."""
    lifted = (_P.SUBSCRIBER_PRIORITY, _P.GROUP_ORDER, _P.FORWARD, _P.SUBSCRIPTION_FILTER)
    fixed = (REQUEST_ID, TRACK, PRIORITY_14, ORDER_OR_NONE_14, FORWARD_14, FILTER_14)
    return (*fixed, parameters_14(name, *lifted))


_ERROR_FIELDS_16 = (REQUEST_ID, error_code(), Plain("retry_interval", VINT), REASON_FIELD)
_NAMESPACE_REQUESTS = (m.PublishNamespace, m.SubscribeNamespace)
_ANSWERED_BY_ERROR_16 = (
    m.Subscribe,
    m.RequestUpdate,
    m.Publish,
    m.Fetch,
    m.TrackStatus,
    *_NAMESPACE_REQUESTS,
)
_ANSWERED_BY_OK_18 = (m.Publish, m.RequestUpdate, m.TrackStatus, *_NAMESPACE_REQUESTS, m.SubscribeTracks)
_OKS_19 = (
    "PUBLISH_OK",
    "TRACK_STATUS_OK",
    "REQUEST_UPDATE_OK",
    "PUBLISH_NAMESPACE_OK",
    "SUBSCRIBE_NAMESPACE_OK",
    "SUBSCRIBE_TRACKS_OK",
)


def _error_14(name: str, number: int, space: str, anchor: str, *answers: type[m.Message]) -> Layout:
    return Layout(
        m.RequestError,
        name,
        number,
        _R,
        drafts(14, 14),
        (REQUEST_ID, error_code(space), REASON_FIELD),
        anchor,
        answers=answers,
    )


LAYOUTS: tuple[Layout, ...] = (
    # ---- setup and session ----
    Layout(
        m.Setup,
        "CLIENT_SETUP",
        0x20,
        _CONTROL,
        drafts(14, 14),
        (Plain("versions", VERSIONS_OFFERED), Plain("options", OPTIONS)),
        "message-setup",
        sender=Sender.CLIENT,
    ),
    Layout(
        m.Setup,
        "SERVER_SETUP",
        0x21,
        _CONTROL,
        drafts(14, 14),
        (Plain("versions", VERSION_SELECTED), Plain("options", OPTIONS)),
        "message-setup",
        sender=Sender.SERVER,
    ),
    Layout(
        m.Setup,
        "CLIENT_SETUP",
        0x20,
        _CONTROL,
        drafts(15, 16),
        (Plain("options", OPTIONS),),
        "message-setup",
        sender=Sender.CLIENT,
    ),
    Layout(
        m.Setup,
        "SERVER_SETUP",
        0x21,
        _CONTROL,
        drafts(15, 16),
        (Plain("options", OPTIONS),),
        "message-setup",
        sender=Sender.SERVER,
    ),
    Layout(m.Setup, "SETUP", 0x2F00, _CONTROL, drafts(17), (Plain("options", OPTIONS),), "message-setup"),
    Layout(
        m.Goaway, "GOAWAY", 0x10, _CONTROL, drafts(14, 16), (Plain("new_session_uri", URI),), "message-goaway"
    ),
    Layout(
        m.Goaway,
        "GOAWAY",
        0x10,
        _CONTROL,
        drafts(17, 17),
        (Plain("new_session_uri", URI), Plain("timeout_ms", VINT)),
        "message-goaway",
    ),
    # The Request ID is there on the control stream only, and nothing says so but the Length (section 10.4).
    Layout(
        m.Goaway,
        "GOAWAY",
        0x10,
        _CONTROL | _REQUEST,
        drafts(18, 18),
        (Plain("new_session_uri", URI), Plain("timeout_ms", VINT), Optional("request_id", VINT)),
        "message-goaway",
    ),
    Layout(
        m.Goaway,
        "GOAWAY",
        0x10,
        _CONTROL | _REQUEST,
        drafts(19),
        (Plain("new_session_uri", URI), Plain("timeout_ms", VINT)),
        "message-goaway",
    ),
    Layout(
        m.MaxRequestId,
        "MAX_REQUEST_ID",
        0x15,
        _CONTROL,
        drafts(14, 16),
        (Plain("maximum", VINT),),
        "message-max-request-id",
    ),
    Layout(
        m.RequestsBlocked,
        "REQUESTS_BLOCKED",
        0x1A,
        _CONTROL,
        drafts(14, 16),
        (Plain("maximum", VINT),),
        "message-requests-blocked",
    ),
    # ---- replies ----
    Layout(
        m.RequestOk,
        "PUBLISH_NAMESPACE_OK",
        0x07,
        _R,
        drafts(14, 14),
        (REQUEST_ID,),
        "message-pub-ns-ok",
        answers=(m.PublishNamespace,),
    ),
    Layout(
        m.RequestOk,
        "SUBSCRIBE_NAMESPACE_OK",
        0x12,
        _R,
        drafts(14, 14),
        (REQUEST_ID,),
        "message-sub-ns-ok",
        answers=(m.SubscribeNamespace,),
    ),
    # "TRACK_STATUS_OK ... with the same format as SUBSCRIBE_OK", its Track Alias 0 (section 9.21).
    Layout(
        m.RequestOk,
        "TRACK_STATUS_OK",
        0x0E,
        _R,
        drafts(14, 14),
        (
            REQUEST_ID,
            Constant("track_alias", VINT, 0),
            EXPIRES_14,
            TRACK_ORDER_14,
            LARGEST_14,
            parameters_14("TRACK_STATUS_OK", _P.EXPIRES, _P.LARGEST_OBJECT),
        ),
        "message-track-status-ok",
        answers=(m.TrackStatus,),
    ),
    Layout(
        m.RequestOk,
        "PUBLISH_OK",
        0x1E,
        _R,
        drafts(14, 14),
        (
            REQUEST_ID,
            FORWARD_14,
            PRIORITY_14,
            ORDER_14,
            FILTER_14,
            parameters_14(
                "PUBLISH_OK", _P.FORWARD, _P.SUBSCRIBER_PRIORITY, _P.GROUP_ORDER, _P.SUBSCRIPTION_FILTER
            ),
        ),
        "message-publish-ok",
        answers=(m.Publish,),
    ),
    Layout(
        m.RequestOk,
        "PUBLISH_OK",
        0x1E,
        _R,
        drafts(15, 16),
        (REQUEST_ID, reply_parameters("PUBLISH_OK")),
        "message-publish-ok",
        answers=(m.Publish,),
    ),
    Layout(
        m.RequestOk,
        "REQUEST_OK",
        0x07,
        _R,
        drafts(15, 16),
        (
            REQUEST_ID,
            reply_parameters("TRACK_STATUS_OK", "REQUEST_UPDATE_OK"),
        ),
        "message-request-ok",
        answers=(m.RequestUpdate, m.TrackStatus, *_NAMESPACE_REQUESTS),
    ),
    Layout(
        m.RequestOk,
        "PUBLISH_OK",
        0x1E,
        _R,
        drafts(17, 17),
        (reply_parameters("PUBLISH_OK"),),
        "message-publish-ok",
        answers=(m.Publish,),
    ),
    Layout(
        m.RequestOk,
        "REQUEST_OK",
        0x07,
        _R,
        drafts(17, 17),
        (
            reply_parameters(
                "TRACK_STATUS_OK", "REQUEST_UPDATE_OK", "PUBLISH_NAMESPACE_OK", "SUBSCRIBE_NAMESPACE_OK"
            ),
        ),
        "message-request-ok",
        answers=(m.RequestUpdate, m.TrackStatus, *_NAMESPACE_REQUESTS),
    ),
    Layout(
        m.RequestOk,
        "REQUEST_OK",
        0x07,
        _R,
        drafts(18, 18),
        (reply_parameters("PUBLISH_OK", "TRACK_STATUS_OK", "REQUEST_UPDATE_OK"), PROPERTIES_FIELD),
        "message-request-ok",
        answers=_ANSWERED_BY_OK_18,
    ),
    # The table of messages has it still, as the section of REQUEST_OK, which is what PUBLISH_OK names there;
    # the list of changes has it removed, and 19 reserves the number. It is no unknown type, so it ends no
    # session; Track Properties would ("they are empty in PUBLISH_OK"), as bytes behind the last field.
    Layout(
        m.RequestOk,
        "PUBLISH_OK",
        0x1E,
        _R,
        drafts(18, 18),
        (reply_parameters("PUBLISH_OK"),),
        "message-request-ok",
        answers=(m.Publish,),
        only_read=True,
    ),
    Layout(
        m.RequestOk,
        "REQUEST_OK",
        0x07,
        _R,
        drafts(19, 19),
        (reply_parameters(*_OKS_19), PROPERTIES_FIELD),
        "message-request-ok",
        answers=_ANSWERED_BY_OK_18,
    ),
    Layout(
        m.RequestOk,
        "REQUEST_OK",
        0x07,
        _R,
        drafts(20),
        (reply_parameters(*_OKS_19, strict=True), PROPERTIES_FIELD),
        "message-request-ok",
        answers=_ANSWERED_BY_OK_18,
    ),
    _error_14("SUBSCRIBE_ERROR", 0x05, "SUBSCRIBE", "message-subscribe-error", m.Subscribe),
    _error_14("PUBLISH_ERROR", 0x1F, "PUBLISH", "message-publish-error", m.Publish),
    _error_14("FETCH_ERROR", 0x19, "FETCH", "message-fetch-error", m.Fetch),
    _error_14("TRACK_STATUS_ERROR", 0x0F, "SUBSCRIBE", "message-track-status-error", m.TrackStatus),
    _error_14(
        "PUBLISH_NAMESPACE_ERROR", 0x08, "PUBLISH_NAMESPACE", "message-pub-ns-error", m.PublishNamespace
    ),
    _error_14(
        "SUBSCRIBE_NAMESPACE_ERROR", 0x13, "SUBSCRIBE_NAMESPACE", "message-sub-ns-error", m.SubscribeNamespace
    ),
    Layout(
        m.RequestError,
        "REQUEST_ERROR",
        0x05,
        _R,
        drafts(15, 15),
        (REQUEST_ID, error_code(), REASON_FIELD),
        "message-request-error",
        answers=_ANSWERED_BY_ERROR_16,
    ),
    Layout(
        m.RequestError,
        "REQUEST_ERROR",
        0x05,
        _R,
        drafts(16, 16),
        _ERROR_FIELDS_16,
        "message-request-error",
        answers=_ANSWERED_BY_ERROR_16,
    ),
    Layout(
        m.RequestError,
        "REQUEST_ERROR",
        0x05,
        _R,
        drafts(17, 17),
        _ERROR_FIELDS_16[1:],
        "message-request-error",
        answers=_ANSWERED_BY_ERROR_16,
    ),
    Layout(
        m.RequestError,
        "REQUEST_ERROR",
        0x05,
        _R,
        drafts(18),
        (
            *_ERROR_FIELDS_16[1:],
            Optional("redirect", REDIRECT, when=lambda values: values["code"] == RequestErrorCode.REDIRECT),
        ),
        "message-request-error",
        answers=(*_ANSWERED_BY_ERROR_16, m.SubscribeTracks),
    ),
    # ---- subscriptions ----
    Layout(
        m.Subscribe,
        "SUBSCRIBE",
        0x03,
        _F,
        drafts(14, 14),
        _subscribe_14("SUBSCRIBE"),
        "message-subscribe-req",
    ),
    Layout(
        m.Subscribe,
        "SUBSCRIBE",
        0x03,
        _F,
        drafts(15, 16),
        (REQUEST_ID, TRACK, request_parameters("SUBSCRIBE")),
        "message-subscribe-req",
    ),
    Layout(
        m.Subscribe,
        "SUBSCRIBE",
        0x03,
        _F,
        drafts(17, 17),
        (REQUEST_ID, REQUIRED_17, TRACK, request_parameters("SUBSCRIBE")),
        "message-subscribe-req",
    ),
    Layout(
        m.Subscribe,
        "SUBSCRIBE",
        0x03,
        _F,
        drafts(18),
        (REQUEST_ID, TRACK, request_parameters("SUBSCRIBE")),
        "message-subscribe-req",
    ),
    Layout(
        m.SubscribeOk,
        "SUBSCRIBE_OK",
        0x04,
        _R,
        drafts(14, 14),
        (
            REQUEST_ID,
            TRACK_ALIAS,
            EXPIRES_14,
            TRACK_ORDER_14,
            LARGEST_14,
            parameters_14("SUBSCRIBE_OK", _P.EXPIRES, _P.LARGEST_OBJECT),
        ),
        "message-subscribe-ok",
        answers=(m.Subscribe,),
    ),
    Layout(
        m.SubscribeOk,
        "SUBSCRIBE_OK",
        0x04,
        _R,
        drafts(15, 15),
        (REQUEST_ID, TRACK_ALIAS, reply_parameters("SUBSCRIBE_OK")),
        "message-subscribe-ok",
        answers=(m.Subscribe,),
    ),
    Layout(
        m.SubscribeOk,
        "SUBSCRIBE_OK",
        0x04,
        _R,
        drafts(16, 16),
        (REQUEST_ID, TRACK_ALIAS, reply_parameters("SUBSCRIBE_OK"), PROPERTIES_FIELD),
        "message-subscribe-ok",
        answers=(m.Subscribe,),
    ),
    Layout(
        m.SubscribeOk,
        "SUBSCRIBE_OK",
        0x04,
        _R,
        drafts(17),
        (TRACK_ALIAS, reply_parameters("SUBSCRIBE_OK"), PROPERTIES_FIELD),
        "message-subscribe-ok",
        answers=(m.Subscribe,),
    ),
    # Never answered; the end group is plus one, unlike SUBSCRIBE's (section 9.10).
    Layout(
        m.RequestUpdate,
        "SUBSCRIBE_UPDATE",
        0x02,
        _REQUEST,
        drafts(14, 14),
        (
            REQUEST_ID,
            Plain("existing_request_id", VINT),
            UPDATE_RANGE_14,
            PRIORITY_14,
            FORWARD_14,
            parameters_14("SUBSCRIBE_UPDATE", _P.SUBSCRIPTION_FILTER, _P.SUBSCRIBER_PRIORITY, _P.FORWARD),
        ),
        "message-subscribe-update",
    ),
    Layout(
        m.RequestUpdate,
        "SUBSCRIBE_UPDATE",
        0x02,
        _REQUEST,
        drafts(15, 15),
        (REQUEST_ID, Plain("existing_request_id", VINT), request_parameters("SUBSCRIBE_UPDATE")),
        "message-subscribe-update",
    ),
    Layout(
        m.RequestUpdate,
        "REQUEST_UPDATE",
        0x02,
        _REQUEST,
        drafts(16, 16),
        (REQUEST_ID, Plain("existing_request_id", VINT), request_parameters("REQUEST_UPDATE")),
        "message-request-update",
    ),
    Layout(
        m.RequestUpdate,
        "REQUEST_UPDATE",
        0x02,
        _REQUEST,
        drafts(17, 17),
        (REQUEST_ID, REQUIRED_17, request_parameters("REQUEST_UPDATE")),
        "message-request-update",
    ),
    Layout(
        m.RequestUpdate,
        "REQUEST_UPDATE",
        0x02,
        _REQUEST,
        drafts(18),
        (REQUEST_ID, request_parameters("REQUEST_UPDATE")),
        "message-request-update",
    ),
    Layout(
        m.Unsubscribe, "UNSUBSCRIBE", 0x0A, _REQUEST, drafts(14, 16), (REQUEST_ID,), "message-unsubscribe"
    ),
    Layout(
        m.TrackStatus,
        "TRACK_STATUS",
        0x0D,
        _F,
        drafts(14, 14),
        _subscribe_14("TRACK_STATUS"),
        "message-track-status",
    ),
    Layout(
        m.TrackStatus,
        "TRACK_STATUS",
        0x0D,
        _F,
        drafts(15, 15),
        (REQUEST_ID, TRACK, request_parameters("TRACK_STATUS")),
        "message-track-status",
    ),
    Layout(
        m.TrackStatus,
        "TRACK_STATUS",
        0x0D,
        _F,
        drafts(16, 16),
        (REQUEST_ID, TRACK, request_parameters("TRACK_STATUS")),
        "message-track-status",
    ),
    Layout(
        m.TrackStatus,
        "TRACK_STATUS",
        0x0D,
        _F,
        drafts(17, 17),
        (REQUEST_ID, REQUIRED_17, TRACK, request_parameters("TRACK_STATUS")),
        "message-track-status",
    ),
    Layout(
        m.TrackStatus,
        "TRACK_STATUS",
        0x0D,
        _F,
        drafts(18),
        (REQUEST_ID, TRACK, request_parameters("TRACK_STATUS")),
        "message-track-status",
    ),
    # ---- publishing ----
    # Drafts 14's PUBLISH, PUBLISH_OK and PUBLISH_ERROR print `Length (i)`; the framing of all messages,
    # a 16-bit length, is meant (section 9).
    Layout(
        m.Publish,
        "PUBLISH",
        0x1D,
        _F,
        drafts(14, 14),
        (
            REQUEST_ID,
            TRACK,
            TRACK_ALIAS,
            TRACK_ORDER_14,
            LARGEST_14,
            FORWARD_14,
            parameters_14("PUBLISH", _P.LARGEST_OBJECT, _P.FORWARD),
        ),
        "message-publish",
    ),
    Layout(
        m.Publish,
        "PUBLISH",
        0x1D,
        _F,
        drafts(15, 15),
        (REQUEST_ID, TRACK, TRACK_ALIAS, request_parameters("PUBLISH")),
        "message-publish",
    ),
    Layout(
        m.Publish,
        "PUBLISH",
        0x1D,
        _F,
        drafts(16, 16),
        (REQUEST_ID, TRACK, TRACK_ALIAS, request_parameters("PUBLISH"), PROPERTIES_FIELD),
        "message-publish",
    ),
    Layout(
        m.Publish,
        "PUBLISH",
        0x1D,
        _F,
        drafts(17, 17),
        (REQUEST_ID, REQUIRED_17, TRACK, TRACK_ALIAS, request_parameters("PUBLISH"), PROPERTIES_FIELD),
        "message-publish",
    ),
    Layout(
        m.Publish,
        "PUBLISH",
        0x1D,
        _F,
        drafts(18),
        (REQUEST_ID, TRACK, TRACK_ALIAS, request_parameters("PUBLISH"), PROPERTIES_FIELD),
        "message-publish",
    ),
    Layout(
        m.PublishDone,
        "PUBLISH_DONE",
        0x0B,
        _REQUEST,
        drafts(14, 16),
        (
            REQUEST_ID,
            ErrorCode("status", PUBLISH_DONE_STATUSES),
            Plain("stream_count", STREAM_COUNT),
            REASON_FIELD,
        ),
        "message-publish-done",
    ),
    Layout(
        m.PublishDone,
        "PUBLISH_DONE",
        0x0B,
        _REQUEST,
        drafts(17),
        (ErrorCode("status", PUBLISH_DONE_STATUSES), Plain("stream_count", STREAM_COUNT), REASON_FIELD),
        "message-publish-done",
    ),
    # ---- fetch ----
    Layout(
        m.Fetch,
        "FETCH",
        0x16,
        _F,
        drafts(14, 14),
        (
            REQUEST_ID,
            PRIORITY_14,
            ORDER_OR_NONE_14,
            FetchRange(),
            parameters_14("FETCH", _P.SUBSCRIBER_PRIORITY, _P.GROUP_ORDER),
        ),
        "message-fetch",
    ),
    Layout(
        m.Fetch,
        "FETCH",
        0x16,
        _F,
        drafts(15, 16),
        (REQUEST_ID, FetchRange(), request_parameters("FETCH")),
        "message-fetch",
    ),
    Layout(
        m.Fetch,
        "FETCH",
        0x16,
        _F,
        drafts(17, 17),
        (REQUEST_ID, REQUIRED_17, FetchRange(), request_parameters("FETCH")),
        "message-fetch",
    ),
    Layout(
        m.Fetch,
        "FETCH",
        0x16,
        _F,
        drafts(18, 19),
        (REQUEST_ID, FetchRange(), request_parameters("FETCH")),
        "message-fetch",
    ),
    Layout(
        m.Fetch,
        "FETCH",
        0x16,
        _F,
        drafts(20),
        (REQUEST_ID, FilteredTrack(request_parameters("FETCH"))),
        "message-fetch",
    ),
    Layout(
        m.FetchOk,
        "FETCH_OK",
        0x18,
        _R,
        drafts(14, 14),
        (REQUEST_ID, TRACK_ORDER_14, END_OF_TRACK, Plain("end", FETCH_END), parameters_14("FETCH_OK")),
        "message-fetch-ok",
        answers=(m.Fetch,),
    ),
    Layout(
        m.FetchOk,
        "FETCH_OK",
        0x18,
        _R,
        drafts(15, 15),
        (REQUEST_ID, END_OF_TRACK, Plain("end", FETCH_END), reply_parameters("FETCH_OK")),
        "message-fetch-ok",
        answers=(m.Fetch,),
    ),
    Layout(
        m.FetchOk,
        "FETCH_OK",
        0x18,
        _R,
        drafts(16, 16),
        (REQUEST_ID, END_OF_TRACK, Plain("end", FETCH_END), reply_parameters("FETCH_OK"), PROPERTIES_FIELD),
        "message-fetch-ok",
        answers=(m.Fetch,),
    ),
    Layout(
        m.FetchOk,
        "FETCH_OK",
        0x18,
        _R,
        drafts(17),
        (END_OF_TRACK, Plain("end", FETCH_END), reply_parameters("FETCH_OK"), PROPERTIES_FIELD),
        "message-fetch-ok",
        answers=(m.Fetch,),
    ),
    Layout(
        m.FetchCancel, "FETCH_CANCEL", 0x17, _REQUEST, drafts(14, 16), (REQUEST_ID,), "message-fetch-cancel"
    ),
    # ---- namespaces ----
    Layout(
        m.PublishNamespace,
        "PUBLISH_NAMESPACE",
        0x06,
        _F,
        drafts(14, 14),
        (REQUEST_ID, NAMESPACE_FIELD, parameters_14("PUBLISH_NAMESPACE")),
        "message-pub-ns",
    ),
    Layout(
        m.PublishNamespace,
        "PUBLISH_NAMESPACE",
        0x06,
        _F,
        drafts(15, 16),
        (REQUEST_ID, NAMESPACE_FIELD, request_parameters("PUBLISH_NAMESPACE")),
        "message-pub-ns",
    ),
    Layout(
        m.PublishNamespace,
        "PUBLISH_NAMESPACE",
        0x06,
        _F,
        drafts(17, 17),
        (REQUEST_ID, REQUIRED_17, NAMESPACE_FIELD, request_parameters("PUBLISH_NAMESPACE")),
        "message-pub-ns",
    ),
    Layout(
        m.PublishNamespace,
        "PUBLISH_NAMESPACE",
        0x06,
        _F,
        drafts(18),
        (REQUEST_ID, NAMESPACE_FIELD, request_parameters("PUBLISH_NAMESPACE")),
        "message-pub-ns",
    ),
    Layout(
        m.PublishNamespaceDone,
        "PUBLISH_NAMESPACE_DONE",
        0x09,
        _REQUEST,
        drafts(14, 15),
        (NAMESPACE_FIELD,),
        "message-pub-ns-done",
    ),
    Layout(
        m.PublishNamespaceDone,
        "PUBLISH_NAMESPACE_DONE",
        0x09,
        _REQUEST,
        drafts(16, 16),
        (REQUEST_ID,),
        "message-pub-ns-done",
    ),
    Layout(
        m.PublishNamespaceCancel,
        "PUBLISH_NAMESPACE_CANCEL",
        0x0C,
        _REQUEST,
        drafts(14, 15),
        (NAMESPACE_FIELD, error_code("PUBLISH_NAMESPACE"), REASON_FIELD),
        "message-pub-ns-cancel",
    ),
    Layout(
        m.PublishNamespaceCancel,
        "PUBLISH_NAMESPACE_CANCEL",
        0x0C,
        _REQUEST,
        drafts(16, 16),
        (REQUEST_ID, error_code(), REASON_FIELD),
        "message-pub-ns-cancel",
    ),
    Layout(
        m.SubscribeNamespace,
        "SUBSCRIBE_NAMESPACE",
        0x11,
        _F,
        drafts(14, 14),
        (REQUEST_ID, PREFIX_FIELD, parameters_14("SUBSCRIBE_NAMESPACE")),
        "message-subscribe-ns",
    ),
    Layout(
        m.SubscribeNamespace,
        "SUBSCRIBE_NAMESPACE",
        0x11,
        _F,
        drafts(15, 15),
        (REQUEST_ID, PREFIX_FIELD, request_parameters("SUBSCRIBE_NAMESPACE")),
        "message-subscribe-ns",
    ),
    Layout(
        m.SubscribeNamespace,
        "SUBSCRIBE_NAMESPACE",
        0x11,
        _F,
        drafts(16, 16),
        (
            REQUEST_ID,
            PREFIX_FIELD,
            SUBSCRIBE_OPTIONS,
            request_parameters("SUBSCRIBE_NAMESPACE"),
        ),
        "message-subscribe-ns",
        own_stream=True,
    ),
    Layout(
        m.SubscribeNamespace,
        "SUBSCRIBE_NAMESPACE",
        0x11,
        _F,
        drafts(17, 17),
        (
            REQUEST_ID,
            REQUIRED_17,
            PREFIX_FIELD,
            SUBSCRIBE_OPTIONS,
            request_parameters("SUBSCRIBE_NAMESPACE"),
        ),
        "message-subscribe-ns",
    ),
    Layout(
        m.SubscribeNamespace,
        "SUBSCRIBE_NAMESPACE",
        0x50,
        _F,
        drafts(18),
        (REQUEST_ID, PREFIX_FIELD, request_parameters("SUBSCRIBE_NAMESPACE")),
        "message-subscribe-ns",
    ),
    Layout(
        m.SubscribeTracks,
        "SUBSCRIBE_TRACKS",
        0x51,
        _F,
        drafts(18),
        (REQUEST_ID, PREFIX_FIELD, request_parameters("SUBSCRIBE_TRACKS")),
        "message-subscribe-tracks",
    ),
    Layout(
        m.UnsubscribeNamespace,
        "UNSUBSCRIBE_NAMESPACE",
        0x14,
        _REQUEST,
        drafts(14, 14),
        (PREFIX_FIELD,),
        "message-unsub-ns",
    ),
    Layout(
        m.UnsubscribeNamespace,
        "UNSUBSCRIBE_NAMESPACE",
        0x14,
        _REQUEST,
        drafts(15, 15),
        (REQUEST_ID,),
        "message-unsub-ns",
    ),
    Layout(
        m.Namespace,
        "NAMESPACE",
        0x08,
        _REQUEST,
        drafts(16),
        (SUFFIX_FIELD,),
        "message-namespace",
        own_stream=True,
    ),
    Layout(
        m.NamespaceDone,
        "NAMESPACE_DONE",
        0x0E,
        _REQUEST,
        drafts(16),
        (SUFFIX_FIELD,),
        "message-namespace-done",
        own_stream=True,
    ),
    Layout(
        m.PublishBlocked,
        "PUBLISH_BLOCKED",
        0x0F,
        _REQUEST,
        drafts(17, 18),
        (FullTrackName("track_namespace_suffix", SUFFIX),),
        "message-publish-blocked",
    ),
    Layout(
        m.PublishBlocked,
        "PUBLISH_SKIPPED",
        0x0F,
        _REQUEST,
        drafts(19),
        (FullTrackName("track_namespace_suffix", SUFFIX),),
        "message-publish-skipped",
    ),
    Layout(
        m.PublishStateNotify,
        "PUBLISH_STATE_NOTIFY",
        0x22,
        _REQUEST,
        drafts(20),
        (request_parameters("PUBLISH_STATE_NOTIFY"),),
        "message-publish-state-notify",
    ),
)


class _Tables:
    """The rows of one draft, by what they are looked up with."""

    def __init__(self, number: int) -> None:
        self.rows = tuple(row for row in LAYOUTS if number in row.span)
        self.by_type: dict[tuple[int, Sender], Layout] = {}
        self.by_message: dict[type[m.Message], tuple[Layout, ...]] = {}
        for row in self.rows:
            for sender in Sender if row.sender is None else (row.sender,):
                self.by_type[row.code, sender] = row
            if not row.only_read:
                self.by_message[row.message] = (*self.by_message.get(row.message, ()), row)


@cache
def _tables(number: int) -> _Tables:
    return _Tables(number)


def layouts_of(draft: Draft) -> tuple[Layout, ...]:
    """All rows of a draft."""
    return _tables(draft.number).rows


def layout_of_type(draft: Draft, number: int, sender: Sender) -> Layout | None:
    """The row by which to read a message of type `number` from `sender`; None when there is none."""
    return _tables(draft.number).by_type.get((number, sender))


def layout_of_message(
    draft: Draft,
    message: type[m.Message],
    *,
    answering: type[m.Message] | None = None,
    sender: Sender | None = None,
) -> Layout:
    """The row by which to write a message.

    Args:
        draft: The draft.
        message: What is to be written.
        answering: For a reply, the request it answers: drafts may write it differently for each.
        sender: Which end writes, where ends write it differently.

    Raises:
        LocalProtocolError: The draft cannot say that.
    """
    rows = _tables(draft.number).by_message.get(message, ())
    if not rows:
        raise LocalProtocolError(f"{draft.name} has no {message.__name__} message")
    fitting = [
        row
        for row in rows
        if (answering is None or not row.answers or answering in row.answers)
        and (sender is None or row.sender in (None, sender))
    ]
    if not fitting:
        what = f"answer {answering.__name__}" if answering else f"be sent by the {sender and sender.value}"
        raise LocalProtocolError(f"in {draft.name} {message.__name__} cannot {what}")
    return fitting[0]


def defines(draft: Draft, message: type[m.Message]) -> bool:
    """Whether a draft has a message at all."""
    return message in _tables(draft.number).by_message


def reply_names(draft: Draft, request: type[m.Message]) -> tuple[str, ...]:
    """The wire names of the replies that a request may get: `("SUBSCRIBE_OK", "REQUEST_ERROR")`."""
    return tuple(row.name for row in layouts_of(draft) if request in row.answers)
