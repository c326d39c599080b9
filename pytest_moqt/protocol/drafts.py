"""One row per draft: what differs between drafts and is not the layout of one message.

Source: the drafts' sections on session initialisation, key-value pairs, data streams and request ids;
section numbers are beside each field. A newer draft starts as a row here: what it changes of the one before.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.varint import QUIC_VARINT, VI64, VI64_17, IntegerCoding


class Topology(Enum):
    """How a draft uses streams (`session-init`)."""

    SINGLE_CONTROL_STREAM = "one bidirectional control stream carries all requests"
    REQUEST_STREAMS = "a pair of unidirectional control streams, one bidirectional stream per request"


class FetchCoding(Enum):
    """How a draft writes the objects of a FETCH stream (`fetch-header`)."""

    EXPLICIT = "every field in every object"
    FLAGS_WITH_STATUS = "flags of one byte, absolute ids, a status where the payload is empty"
    FLAGS_ABSOLUTE = "flags, absolute ids"
    FLAGS_DELTA = "flags, ids as differences"


class Draft(Record):
    """What a session must know of its draft."""

    number: int
    alpn: str
    "ALPN over raw QUIC (`native-quic`)."
    wt_protocol: str | None
    "WebTransport sub-protocol (`webtransport`); None: the draft is offered by offering none."
    version_code: int | None
    "The number in CLIENT_SETUP's list, where the draft has one; 0xff000000 + draft."
    integers: IntegerCoding
    topology: Topology
    delta_types: bool
    "Key-value types are written as differences from the one before (16 on)."
    counted_options: bool
    "SETUP counts its options; otherwise they end with the message (17 on)."
    unknown_parameters_close: bool
    "An unknown message parameter ends the session (16 on); otherwise it is ignored."
    parameter_scope_closes: bool
    "A known parameter in a message it is not defined for ends the session (17 on)."
    replies_carry_request_id: bool
    request_id_credit: bool
    "MAX_REQUEST_ID limits request ids (up to 16); otherwise stream limits do."
    min_namespace_fields: int
    min_prefix_fields: int
    empty_namespace_fields: bool
    "A field of a namespace may be empty (up to 15)."
    subgroup_flags: int
    "Legal bits of a SUBGROUP_HEADER type beside 0x10 (`subgroup-header`)."
    datagram_flags: int
    "Legal bits of an OBJECT_DATAGRAM type (`object-datagram`)."
    zero_object_id_with_status: bool
    "A status datagram may leave its object id out (15 on)."
    object_statuses: frozenset[int]
    "Object status codes (`object-status`)."
    statuses_with_properties: frozenset[int]
    "Statuses whose objects may carry properties."
    fetch_coding: FetchCoding
    fetch_ranges: frozenset[int]
    "End-of-range flags of a FETCH stream (`end-of-range`)."
    fetch_end_included: bool
    "FETCH_OK's End Location is the last object's (20 on); before, it is the place behind it."
    unknown_stream_count: int
    "PUBLISH_DONE's Stream Count when the publisher cannot tell (`message-publish-done`)."
    padding: bool
    "Padding streams and datagrams exist (`padding`, 18 on)."
    other_bidi_streams_close: bool
    "A bidirectional stream that begins with no request ends the session (16 on); before, any second one may."
    authority_is_implementation: bool
    "Setup parameter 0x05 is said to be MOQT_IMPLEMENTATION as well as AUTHORITY (14, `setup-params`)."
    goaway_on_requests: bool
    "GOAWAY may come on a request stream (18 on)."
    fin_ends_namespace_subscription: bool
    "A FIN of the requester ends SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS (16-18); later it is no cancel."

    reserved_namespaces: bool
    "Namespaces that begin with `.` or `.session` are no client's (`reserved-namespaces`, 18 on)."
    mandatory_properties: bool
    "Who does not understand a track's property of 0x4000 to 0x7FFF refuses the track (18 on)."
    repeated_tokens_refused: bool
    "One authorization token may not be twice in a message (`authorization-token`, 15 on)."
    namespaces_by_request: bool
    """PUBLISH_NAMESPACE tells who sent SUBSCRIBE_NAMESPACE (14, 15); 16 and 17 say so in one section, and in
    another that NAMESPACE does, as it alone does later."""
    namespace_length_limited: bool
    "A namespace alone may not be longer than a full track name either (`track-name`, 16 on)."
    parameters_hold_namespaces: bool
    "Track Namespaces are among the encodings of parameters (22 on); one parameter has it from 18 on."
    publish_ok_forwards: bool
    "PUBLISH_OK sets the forward state, to 1 where it has none (up to 19); later PUBLISH and updates do."
    offers_carry_group_order: bool
    "PUBLISH repeats the GROUP_ORDER of the SUBSCRIBE_TRACKS that it comes of (19 on)."
    duplicates_refused: bool
    "A second subscription of a session to a track is DUPLICATE_SUBSCRIPTION (`subscriptions`, 16 to 18)."
    repeated_subscriptions: bool
    "One session may subscribe to a track more than once (`subscriptions`, 19 on)."
    past_filters_refused: bool
    "A filter that ends before the largest object is INVALID_RANGE (up to 19); later it is a valid one."
    joining_by_filter: bool
    "A joining FETCH needs a subscription with the filter Largest Object (up to 16), later Forward State 1."
    joining_misuse_closes: bool
    "A joining FETCH without that ends the session (up to 17), later it is INVALID_RANGE."
    answer_opens_namespaces: bool
    "NAMESPACE and its like before the answer to their request end the session (17 on)."
    tracks_redirect_to_namespace: bool
    "A redirect of SUBSCRIBE_TRACKS may name no track (19 on; 18 names the other two such requests only)."
    request_update_limit: bool
    "MAX_REQUEST_UPDATES limits updates without an answer (19 on); before, that option is unknown."
    unknown_update_is_invalid_id: bool
    "An update of no known request is INVALID_REQUEST_ID (14), else PROTOCOL_VIOLATION (15 and 16 say so)."
    status_update_closes: bool
    "An update of TRACK_STATUS ends the session (19 on); 16 allows it in one place and forbids it in another."
    updates_answered: bool
    "REQUEST_UPDATE is answered (15 on)."
    updates_only_narrow: bool
    "An update that lets a subscription start earlier ends the session (14, 15)."

    @property
    def name(self) -> str:
        """`draft-18`."""
        return f"draft-{self.number}"

    @property
    def label(self) -> str:
        """The identifier that a session negotiated: `moqt-18`, `moq-00`."""
        return self.alpn

    @property
    def has_first_object(self) -> bool:
        """SUBGROUP_HEADER says whether its stream begins with the subgroup's first object (18 on)."""
        return bool(self.subgroup_flags & 0x40)

    def __repr__(self) -> str:
        return self.name


_14 = Draft(
    number=14,
    alpn="moq-00",
    wt_protocol=None,
    version_code=0xFF00000E,
    integers=QUIC_VARINT,
    topology=Topology.SINGLE_CONTROL_STREAM,
    delta_types=False,
    counted_options=True,
    unknown_parameters_close=False,
    parameter_scope_closes=False,
    replies_carry_request_id=True,
    request_id_credit=True,
    min_namespace_fields=1,
    min_prefix_fields=1,
    empty_namespace_fields=True,
    subgroup_flags=0x0F,
    datagram_flags=0x27,
    zero_object_id_with_status=False,
    object_statuses=frozenset({0x0, 0x1, 0x3, 0x4}),
    statuses_with_properties=frozenset({0x0, 0x3, 0x4}),
    fetch_coding=FetchCoding.EXPLICIT,
    fetch_ranges=frozenset(),
    fetch_end_included=False,
    unknown_stream_count=(1 << 62) - 1,
    padding=False,
    other_bidi_streams_close=False,
    authority_is_implementation=True,
    goaway_on_requests=False,
    fin_ends_namespace_subscription=False,
    reserved_namespaces=False,
    mandatory_properties=False,
    repeated_tokens_refused=False,
    namespaces_by_request=True,
    namespace_length_limited=False,
    parameters_hold_namespaces=False,
    publish_ok_forwards=True,
    offers_carry_group_order=False,
    duplicates_refused=False,
    repeated_subscriptions=False,
    past_filters_refused=True,
    joining_by_filter=True,
    joining_misuse_closes=True,
    answer_opens_namespaces=False,
    tracks_redirect_to_namespace=False,
    request_update_limit=False,
    unknown_update_is_invalid_id=True,
    status_update_closes=False,
    updates_answered=False,
    updates_only_narrow=True,
)


def _after(row: Draft, **changes: Any) -> Draft:
    """The next draft: as `row` but for `changes`; its identifiers are those that every draft has since 15."""
    number = row.number + 1
    name = f"moqt-{number}"
    return dataclasses.replace(row, number=number, alpn=name, wt_protocol=name, **changes)


_15 = _after(
    _14,
    version_code=None,
    authority_is_implementation=False,
    subgroup_flags=0x2F,
    datagram_flags=0x2F,
    # The table of 15 prints "Object ID present" for 0x2C and 0x2D, against its bits and against 16.
    zero_object_id_with_status=True,
    statuses_with_properties=frozenset({0x0}),
    fetch_coding=FetchCoding.FLAGS_WITH_STATUS,
    repeated_tokens_refused=True,
    unknown_update_is_invalid_id=False,
    updates_answered=True,
)
_16 = _after(
    _15,
    delta_types=True,
    namespace_length_limited=True,
    duplicates_refused=True,
    other_bidi_streams_close=True,
    unknown_parameters_close=True,
    min_prefix_fields=0,
    empty_namespace_fields=False,
    object_statuses=frozenset({0x0, 0x3, 0x4}),
    fetch_coding=FetchCoding.FLAGS_ABSOLUTE,
    fetch_ranges=frozenset({0x8C, 0x10C}),
    updates_only_narrow=False,
    fin_ends_namespace_subscription=True,
)
_17 = _after(
    _16,
    integers=VI64_17,
    topology=Topology.REQUEST_STREAMS,
    counted_options=False,
    parameter_scope_closes=True,
    replies_carry_request_id=False,
    request_id_credit=False,
    min_namespace_fields=0,
    joining_by_filter=False,
    answer_opens_namespaces=True,
)
_18 = _after(
    _17,
    integers=VI64,
    subgroup_flags=0x6F,
    fetch_coding=FetchCoding.FLAGS_DELTA,
    joining_misuse_closes=False,
    namespaces_by_request=False,
    padding=True,
    goaway_on_requests=True,
    reserved_namespaces=True,
    mandatory_properties=True,
)
_19 = _after(
    _18,
    fin_ends_namespace_subscription=False,
    offers_carry_group_order=True,
    duplicates_refused=False,
    repeated_subscriptions=True,
    tracks_redirect_to_namespace=True,
    request_update_limit=True,
    status_update_closes=True,
)
_20 = _after(
    _19,
    publish_ok_forwards=False,
    fetch_ranges=frozenset({0x8C, 0x10C, 0x20C}),
    fetch_end_included=True,
    unknown_stream_count=(1 << 64) - 1,
    past_filters_refused=False,
)
# 21 is 20 with its sections in another order.
_21 = _after(_20)
_22 = _after(_21, parameters_hold_namespaces=True)

_ROWS = (_14, _15, _16, _17, _18, _19, _20, _21, _22)

DRAFTS: dict[int, Draft] = {row.number: row for row in _ROWS}
SUPPORTED: tuple[int, ...] = tuple(sorted(DRAFTS, reverse=True))
"Draft numbers, newest first: the order in which they are offered."


def draft(number: int) -> Draft:
    """The row of a draft.

    Raises:
        KeyError: No row; the message names the drafts that have one.
    """
    try:
        return DRAFTS[number]
    except KeyError:
        known = ", ".join(str(number) for number in SUPPORTED)
        raise KeyError(f"draft {number} is not supported; supported: {known}") from None


def draft_of_alpn(alpn: str) -> Draft | None:
    """The draft that a raw QUIC ALPN stands for."""
    return next((row for row in _ROWS if row.alpn == alpn), None)


def draft_of_wt_protocol(protocol: str | None) -> Draft | None:
    """The draft that a WebTransport sub-protocol, or its absence, stands for."""
    return next((row for row in _ROWS if row.wt_protocol == protocol), None)
