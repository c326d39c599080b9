"""Control messages as meanings: one frozen dataclass each, free of drafts.

Rules:

- A class is what is said, not how a draft writes it: `RequestOk` is REQUEST_OK, and draft 14's
  PUBLISH_NAMESPACE_OK, SUBSCRIBE_NAMESPACE_OK and TRACK_STATUS_OK, and PUBLISH_OK of every draft.
  `layouts.py` has the wire.
- Messages are values: compare them with `==`.
- `request_id` is None where a draft writes none (replies from 17 on) and until a session has given one.
- What draft 14 writes as fixed fields is in `parameters` (see `parameters.py`); the group order of a
  track, there a field of its OK, is in `track_properties` as it is from 16 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_moqt.protocol.parameters import Options, Parameters, Properties
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode
from pytest_moqt.protocol.values import Filter, KeyValues, Location, Redirect, TrackNamespace

UNKNOWN_STREAM_COUNT = (1 << 62) - 1
"PUBLISH_DONE's Stream Count when the publisher cannot tell, whatever number a draft writes."

_NO_PAIRS: KeyValues[Any, Any] = KeyValues()
_KEYED = ("options", "parameters", "track_properties")


class Message(Record):
    """Base of all control messages."""

    def __post_init__(self) -> None:
        # A plain dict may be given wherever pairs are kept.
        for name in _KEYED:
            value = getattr(self, name, None)
            if isinstance(value, Mapping) and not isinstance(value, KeyValues):
                self._set(name, KeyValues(value))


class Request(Message):
    """Base of the messages that open a request and are answered."""


class Reply(Message):
    """Base of the messages that answer a request."""


class Setup(Message):
    """CLIENT_SETUP, SERVER_SETUP (14-16) or SETUP (from 17)."""

    options: Options = _NO_PAIRS
    versions: tuple[int, ...] = ()
    "Draft 14 only: the version codes offered (client), the one selected (server)."


class Goaway(Message):
    """GOAWAY: the session, or from 18 one request, is to move elsewhere."""

    new_session_uri: str = ""
    "Empty: the URI in use; a client always sends it empty."
    timeout_ms: int | None = None
    "From 17: milliseconds until the sender closes; 0 is not said."
    request_id: int | None = None
    "Draft 18, control stream: the smallest request id of the peer that was not certainly processed."


class MaxRequestId(Message):
    """MAX_REQUEST_ID (14-16): the peer may use request ids below `maximum`."""

    maximum: int


class RequestsBlocked(Message):
    """REQUESTS_BLOCKED (14-16): the sender would have used ids at or above `maximum`."""

    maximum: int


class RequestOk(Reply):
    """The request was accepted."""

    parameters: Parameters = _NO_PAIRS
    track_properties: Properties = _NO_PAIRS
    "From 18, in reply to TrackStatus; draft 14 lifts its group order field to here."
    request_id: int | None = None


class RequestError(Reply):
    """The request was refused."""

    code: RequestErrorCode | int
    "An int when the draft registers no such number."
    reason: str = ""
    "At most 1024 bytes of UTF-8; the peer's text, never to be trusted."
    retry_interval: int = 0
    "From 16: milliseconds plus one; 0 is do not retry."
    redirect: Redirect | None = None
    "From 18, with REDIRECT only."
    request_id: int | None = None


class Subscribe(Request):
    """SUBSCRIBE: ask for the objects of one track."""

    track_namespace: TrackNamespace
    track_name: bytes
    parameters: Parameters = _NO_PAIRS
    request_id: int | None = None


class SubscribeOk(Reply):
    """SUBSCRIBE_OK: the subscription stands."""

    track_alias: int
    parameters: Parameters = _NO_PAIRS
    track_properties: Properties = _NO_PAIRS
    request_id: int | None = None


class RequestUpdate(Request):
    """REQUEST_UPDATE, SUBSCRIBE_UPDATE (14, 15): change a request of ours that stands."""

    parameters: Parameters = _NO_PAIRS
    existing_request_id: int | None = None
    "14-16: the request to change; from 17 the stream says which."
    request_id: int | None = None


class Unsubscribe(Message):
    """UNSUBSCRIBE (14-16): end a subscription of ours."""

    request_id: int | None = None


class Publish(Request):
    """PUBLISH: offer one track to the peer."""

    track_namespace: TrackNamespace
    track_name: bytes
    track_alias: int
    parameters: Parameters = _NO_PAIRS
    track_properties: Properties = _NO_PAIRS
    request_id: int | None = None


class PublishDone(Message):
    """PUBLISH_DONE: the publisher ends a subscription."""

    status: PublishDoneStatus | int
    stream_count: int = UNKNOWN_STREAM_COUNT
    "Data streams opened for the subscription."
    reason: str = ""
    request_id: int | None = None


class PublishStateNotify(Message):
    """PUBLISH_STATE_NOTIFY (from 20): the publisher's side of a subscription changed; never answered."""

    parameters: Parameters = _NO_PAIRS


class StandaloneFetch(Record):
    """FETCH type 0x1: a range of a track by name. `end` is exclusive; object 0 means the whole group."""

    track_namespace: TrackNamespace
    track_name: bytes
    start: Location
    end: Location


class JoiningFetch(Record):
    """FETCH types 0x2 and 0x3 (14-19): what precedes a subscription; FILL_PARAMETERS later."""

    joining_request_id: int
    joining_start: int
    "Groups before the largest (relative), or a group id (absolute)."
    relative: bool = True


class FilteredFetch(Record):
    """FETCH from 20: a range that no start and end give; where they do, it is a StandaloneFetch too."""

    track_namespace: TrackNamespace
    track_name: bytes
    filter: Filter | None = None
    "None: the whole track."


class Fetch(Request):
    """FETCH: ask for past objects."""

    range: StandaloneFetch | JoiningFetch | FilteredFetch
    parameters: Parameters = _NO_PAIRS
    request_id: int | None = None


class FetchOk(Reply):
    """FETCH_OK: the objects come on a stream of their own."""

    end_of_track: bool
    end: Location
    "Exclusive; object 0 means the whole group."
    parameters: Parameters = _NO_PAIRS
    track_properties: Properties = _NO_PAIRS
    request_id: int | None = None


class FetchCancel(Message):
    """FETCH_CANCEL (14-16): end a fetch of ours."""

    request_id: int | None = None


class TrackStatus(Request):
    """TRACK_STATUS: ask about a track without subscribing."""

    track_namespace: TrackNamespace
    track_name: bytes
    parameters: Parameters = _NO_PAIRS
    request_id: int | None = None


class PublishNamespace(Request):
    """PUBLISH_NAMESPACE: tracks under this namespace can be had from the sender."""

    track_namespace: TrackNamespace
    parameters: Parameters = _NO_PAIRS
    request_id: int | None = None


class PublishNamespaceDone(Message):
    """PUBLISH_NAMESPACE_DONE (14-16): the publisher withdraws; named by namespace (14, 15) or id (16)."""

    track_namespace: TrackNamespace | None = None
    request_id: int | None = None


class PublishNamespaceCancel(Message):
    """PUBLISH_NAMESPACE_CANCEL (14-16): the receiver revokes; named by namespace (14, 15) or id (16)."""

    code: RequestErrorCode | int
    reason: str = ""
    track_namespace: TrackNamespace | None = None
    request_id: int | None = None


class SubscribeNamespace(Request):
    """SUBSCRIBE_NAMESPACE: be told of namespaces (and up to 17 of tracks) under a prefix."""

    track_namespace_prefix: TrackNamespace
    parameters: Parameters = _NO_PAIRS
    subscribe_options: int = 2
    "16 and 17, Subscribe Options: 0 PUBLISH only, 1 NAMESPACE only, 2 both."
    request_id: int | None = None


class SubscribeTracks(Request):
    """SUBSCRIBE_TRACKS (from 18): be sent PUBLISH for tracks under a prefix."""

    track_namespace_prefix: TrackNamespace
    parameters: Parameters = _NO_PAIRS
    request_id: int | None = None


class UnsubscribeNamespace(Message):
    """UNSUBSCRIBE_NAMESPACE (14, 15): named by prefix (14) or id (15)."""

    track_namespace_prefix: TrackNamespace | None = None
    request_id: int | None = None


class Namespace(Message):
    """NAMESPACE (from 16): a namespace under the prefix exists."""

    track_namespace_suffix: TrackNamespace


class NamespaceDone(Message):
    """NAMESPACE_DONE (from 16): it no longer does."""

    track_namespace_suffix: TrackNamespace


class PublishBlocked(Message):
    """PUBLISH_BLOCKED (17, 18), PUBLISH_SKIPPED (from 19): a track under the prefix could not be offered."""

    track_namespace_suffix: TrackNamespace
    track_name: bytes
