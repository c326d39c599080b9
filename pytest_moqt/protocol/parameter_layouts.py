"""The table of message parameters: meaning x drafts -> number, value coding, and where it may appear.

A scope is the wire name of a message; replies that share REQUEST_OK are told apart by what they answer
(`PUBLISH_OK`, `TRACK_STATUS_OK`, `REQUEST_UPDATE_OK`, ...). What an update may carry depends besides on the
request it changes, which the message alone does not show: that is `updates`, and `check_update` holds it.

Sources: drafts 14 section 9.2.1, 15 and 16 sections 9.2 and 13.2, 17 sections 9.3 and 14.3, 18-20 sections
10.2 and 15.7, 22 sections 9.20 and 16.7; `message-params`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from pytest_moqt.protocol.buffer import Reader, Writer
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import KeyValueFormattingError, LocalProtocolError, ProtocolViolation
from pytest_moqt.protocol.fields import (
    FILTER_ABSOLUTE,
    FILTER_COUNTED,
    FILTER_DELTA,
    FILTER_TYPED,
    LOCATION,
    PREFIX,
    TOKEN,
    U8,
    VINT,
    Codec,
    in_wire_order,
    limited,
    positive,
    pull_full_name,
    pull_pair_value,
    pull_type,
    push_full_name,
    push_pair_value,
    push_type,
    range_filter,
    sized,
)
from pytest_moqt.protocol.messages import FilteredFetch, JoiningFetch, Message, StandaloneFetch
from pytest_moqt.protocol.parameters import Parameter, Parameters
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.protocol.values import Filter, FilterType, KeyValues, Location

_P = Parameter


class ParameterLayout(Record):
    """How the drafts of `span` write one parameter."""

    parameter: Parameter
    number: int
    codec: Codec[Any]
    span: Span
    scope: frozenset[str]
    updates: frozenset[str] | None = None
    """Whose REQUEST_UPDATE may carry it, by what the updater said first; None: everybody's.

    That is the request's wire name; PUBLISH_OK for the subscriber of a PUBLISH (`message-request-update`).
    """
    repeatable: bool = False
    printed: str = ""
    "The name as those drafts print it, where it differs."

    @property
    def label(self) -> str:
        """`LOCATION_FILTER (0x21)`."""
        return f"{self.printed or self.parameter} ({self.number:#x})"


def _scope(names: str) -> frozenset[str]:
    return frozenset(names.split())


_FORWARD = (0, 1)
_ORDER = (1, 2)
_TIMEOUT_14 = _scope(
    "SUBSCRIBE SUBSCRIBE_OK SUBSCRIBE_UPDATE PUBLISH PUBLISH_OK TRACK_STATUS TRACK_STATUS_OK"
)
_TIMEOUT_16 = _scope("SUBSCRIBE REQUEST_UPDATE PUBLISH_OK")
_TOKENS_14 = "SUBSCRIBE SUBSCRIBE_UPDATE PUBLISH SUBSCRIBE_NAMESPACE PUBLISH_NAMESPACE TRACK_STATUS FETCH"
_TOKENS_16 = "SUBSCRIBE REQUEST_UPDATE PUBLISH SUBSCRIBE_NAMESPACE PUBLISH_NAMESPACE TRACK_STATUS FETCH"
# 15: "SUBSCRIBE_OK, PUBLISH or in REQUEST_OK in response to SUBSCRIBE_UPDATE" (section 9.2.1.9), but
# TRACK_STATUS is answered "with the same parameters it would have set in a SUBSCRIBE_OK" (section 9.19), and
# 16 has it in the definition too.
_LARGEST = _scope("SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK")
_FORWARDING = "SUBSCRIBE REQUEST_UPDATE PUBLISH PUBLISH_OK"
_ORDERED = _scope("SUBSCRIBE PUBLISH_OK FETCH")
_PRIORITISED_15 = _scope("SUBSCRIBE FETCH SUBSCRIBE_UPDATE PUBLISH_OK TRACK_STATUS")
_PRIORITISED_16 = _scope("SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH_OK")
_FILTERED_15 = _scope("SUBSCRIBE PUBLISH_OK SUBSCRIBE_UPDATE TRACK_STATUS")
_FILTERED_16 = _scope("SUBSCRIBE PUBLISH_OK REQUEST_UPDATE")
_REGROUPED = _scope("PUBLISH_OK SUBSCRIBE REQUEST_UPDATE")
_NAMESPACE_OKS = _scope("PUBLISH_NAMESPACE_OK SUBSCRIBE_NAMESPACE_OK")
_NOTIFIED = _scope("PUBLISH_STATE_NOTIFY")
# "Any Parameter that can be specified on a Subscription (ie: in SUBSCRIBE) is valid in SUBSCRIBE_TRACKS,
# unless otherwise specified" (19 section 10.19.1, 20 section 10.20.1, 22 section 3.6.2). Most definitions do
# not repeat it and the list of 22 section 9.18 is shorter; one relay in the field takes what 3.6.2 says.
_TRACKS = _scope("SUBSCRIBE_TRACKS")
_TIMEOUT_20 = _scope("SUBSCRIBE REQUEST_UPDATE PUBLISH") | _TRACKS
_FILTERED_20 = _scope("SUBSCRIBE FETCH PUBLISH PUBLISH_STATE_NOTIFY REQUEST_UPDATE FILL_PARAMETERS") | _TRACKS

# "REQUEST_UPDATE (for a subscription)". Up to draft 19 what asks for namespaces or tracks is called a
# subscription too ("authorized to perform this namespace subscription", 18 section 10.19), so where that
# request may carry a parameter, its update may. 20 tells the two apart (section 10.2.18), and 22 lists what
# each update may carry (section 9.5), the timeouts for subscriptions only, which before are said for any.
_SUBSCRIPTION = _scope("SUBSCRIBE PUBLISH PUBLISH_OK")
_NAMESPACE_TOO = _SUBSCRIPTION | _scope("SUBSCRIBE_NAMESPACE")
_TRACKS_TOO = _SUBSCRIPTION | _TRACKS
_FETCH = _scope("FETCH")
# "On a subscription, from the subscriber only" (19 section 5.1.3, 20 section 5.1.4, 22 section 3.3.2).
_SUBSCRIBER = _scope("SUBSCRIBE PUBLISH_OK")

_LOWEST_FILL = 0x0A
"The lowest parameter that FILL_PARAMETERS may hold; a smaller integer at its beginning is a count."


def _pull_fill(reader: Reader, draft: Draft) -> Parameters:
    """The parameters inside FILL_PARAMETERS.

    The drafts do not say whether a count precedes them, as it does in a message (20 section 10.2.15): most
    write one, some do not, so both are read.
    """
    values: dict[str, Any] = {}
    if not reader.at_end:
        start = reader.offset
        number = reader.vint()
        reader.offset = start
        if number < _LOWEST_FILL:
            _FILL.pull(reader, draft, values)
        else:
            _FILL.pull_pairs(reader, draft, values, lambda: not reader.at_end)
    found: Parameters = values.get("parameters", KeyValues())
    return found


def _push_fill(writer: Writer, value: Parameters, draft: Draft) -> None:
    _FILL.push_parameters(writer, draft, value)


PARAMETER_LAYOUTS: tuple[ParameterLayout, ...] = (
    ParameterLayout(
        _P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(14, 15), _TIMEOUT_14, printed="DELIVERY_TIMEOUT"
    ),
    # "DELIVERY_TIMEOUT, if present, MUST contain a value greater than 0" (16 section 9.2.2.2).
    ParameterLayout(
        _P.OBJECT_DELIVERY_TIMEOUT,
        0x02,
        positive(VINT, "DELIVERY_TIMEOUT"),
        drafts(16, 16),
        _TIMEOUT_16,
        printed="DELIVERY_TIMEOUT",
    ),
    ParameterLayout(
        _P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(17, 17), _TIMEOUT_16, printed="DELIVERY_TIMEOUT"
    ),
    ParameterLayout(_P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(18, 18), _TIMEOUT_16),
    ParameterLayout(_P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(19, 19), _TIMEOUT_16 | _TRACKS),
    ParameterLayout(_P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(20, 21), _TIMEOUT_20),
    ParameterLayout(_P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(22), _TIMEOUT_20, _SUBSCRIPTION),
    ParameterLayout(_P.AUTHORIZATION_TOKEN, 0x03, TOKEN, drafts(14, 15), _scope(_TOKENS_14), repeatable=True),
    ParameterLayout(_P.AUTHORIZATION_TOKEN, 0x03, TOKEN, drafts(16, 17), _scope(_TOKENS_16), repeatable=True),
    ParameterLayout(
        _P.AUTHORIZATION_TOKEN, 0x03, TOKEN, drafts(18), _scope(_TOKENS_16) | _TRACKS, repeatable=True
    ),
    # Number 0x4 means something else from draft 17 on.
    ParameterLayout(
        _P.MAX_CACHE_DURATION,
        0x04,
        VINT,
        drafts(14, 15),
        _scope("PUBLISH SUBSCRIBE_OK FETCH_OK TRACK_STATUS_OK"),
    ),
    # 17 and 18 do not state the coding; every implementation writes an integer.
    ParameterLayout(_P.RENDEZVOUS_TIMEOUT, 0x04, VINT, drafts(17, 18), _scope("SUBSCRIBE")),
    ParameterLayout(_P.RENDEZVOUS_TIMEOUT, 0x04, VINT, drafts(19), _scope("SUBSCRIBE") | _TRACKS),
    ParameterLayout(_P.SUBGROUP_DELIVERY_TIMEOUT, 0x06, VINT, drafts(18, 18), _TIMEOUT_16),
    ParameterLayout(_P.SUBGROUP_DELIVERY_TIMEOUT, 0x06, VINT, drafts(19, 19), _TIMEOUT_16 | _TRACKS),
    ParameterLayout(_P.SUBGROUP_DELIVERY_TIMEOUT, 0x06, VINT, drafts(20, 21), _TIMEOUT_20),
    ParameterLayout(_P.SUBGROUP_DELIVERY_TIMEOUT, 0x06, VINT, drafts(22), _TIMEOUT_20, _SUBSCRIPTION),
    ParameterLayout(_P.EXPIRES, 0x08, VINT, drafts(15, 16), _scope("SUBSCRIBE_OK PUBLISH PUBLISH_OK")),
    # 17: "or REQUEST_OK", whatever that answers (section 9.3.8).
    ParameterLayout(
        _P.EXPIRES,
        0x08,
        VINT,
        drafts(17, 17),
        _scope("SUBSCRIBE_OK PUBLISH PUBLISH_OK REQUEST_UPDATE_OK TRACK_STATUS_OK") | _NAMESPACE_OKS,
    ),
    ParameterLayout(
        _P.EXPIRES, 0x08, VINT, drafts(18, 18), _scope("SUBSCRIBE_OK PUBLISH PUBLISH_OK REQUEST_UPDATE_OK")
    ),
    ParameterLayout(
        _P.EXPIRES,
        0x08,
        VINT,
        drafts(19),
        _scope("SUBSCRIBE_OK PUBLISH PUBLISH_OK REQUEST_UPDATE_OK SUBSCRIBE_TRACKS_OK") | _NAMESPACE_OKS,
    ),
    # "Length/Value does not match the serialization defined by that Type": KEY_VALUE_FORMATTING_ERROR
    # (16 section 1.4.2), where a parameter is a key-value pair.
    ParameterLayout(
        _P.LARGEST_OBJECT,
        0x09,
        sized(LOCATION, "LARGEST_OBJECT", KeyValueFormattingError),
        drafts(15, 16),
        _LARGEST,
    ),
    ParameterLayout(_P.LARGEST_OBJECT, 0x09, LOCATION, drafts(17, 19), _LARGEST),
    ParameterLayout(_P.LARGEST_OBJECT, 0x09, LOCATION, drafts(20), _LARGEST | _NOTIFIED),
    ParameterLayout(_P.FILL_TIMEOUT, 0x0A, VINT, drafts(18, 19), _scope("FETCH")),
    ParameterLayout(_P.FILL_TIMEOUT, 0x0A, VINT, drafts(20), _scope("FETCH FILL_PARAMETERS")),
    ParameterLayout(
        _P.PUBLISHER_PRIORITY,
        0x0E,
        limited(VINT, range(256), "PUBLISHER_PRIORITY"),
        drafts(15, 15),
        _scope("SUBSCRIBE_OK PUBLISH"),
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(VINT, _FORWARD, "FORWARD"),
        drafts(15, 15),
        _scope("SUBSCRIBE SUBSCRIBE_UPDATE PUBLISH PUBLISH_OK SUBSCRIBE_NAMESPACE")
        | _scope("TRACK_STATUS TRACK_STATUS_OK"),
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(VINT, _FORWARD, "FORWARD"),
        drafts(16, 16),
        _scope(_FORWARDING + " SUBSCRIBE_NAMESPACE"),
        _NAMESPACE_TOO,
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(U8, _FORWARD, "FORWARD"),
        drafts(17, 17),
        _scope(_FORWARDING + " SUBSCRIBE_NAMESPACE"),
        _NAMESPACE_TOO,
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(U8, _FORWARD, "FORWARD"),
        drafts(18, 19),
        _scope(_FORWARDING) | _TRACKS,
        _TRACKS_TOO,
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(U8, _FORWARD, "FORWARD"),
        drafts(20),
        _scope("SUBSCRIBE REQUEST_UPDATE PUBLISH") | _TRACKS | _NOTIFIED,
        _TRACKS_TOO,
    ),
    ParameterLayout(
        _P.SUBSCRIBER_PRIORITY,
        0x20,
        limited(VINT, range(256), "SUBSCRIBER_PRIORITY"),
        drafts(15, 15),
        _PRIORITISED_15,
    ),
    ParameterLayout(
        _P.SUBSCRIBER_PRIORITY,
        0x20,
        limited(VINT, range(256), "SUBSCRIBER_PRIORITY"),
        drafts(16, 16),
        _PRIORITISED_16,
        _SUBSCRIPTION | _FETCH,
    ),
    ParameterLayout(
        _P.SUBSCRIBER_PRIORITY, 0x20, U8, drafts(17, 18), _PRIORITISED_16, _SUBSCRIPTION | _FETCH
    ),
    ParameterLayout(
        _P.SUBSCRIBER_PRIORITY, 0x20, U8, drafts(19, 19), _PRIORITISED_16 | _TRACKS, _TRACKS_TOO | _FETCH
    ),
    ParameterLayout(
        _P.SUBSCRIBER_PRIORITY,
        0x20,
        U8,
        drafts(20),
        _scope("SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH FILL_PARAMETERS") | _TRACKS,
        _SUBSCRIPTION | _FETCH,
    ),
    ParameterLayout(_P.SUBSCRIPTION_FILTER, 0x21, FILTER_ABSOLUTE, drafts(15, 15), _FILTERED_15),
    ParameterLayout(
        _P.SUBSCRIPTION_FILTER, 0x21, FILTER_ABSOLUTE, drafts(16, 16), _FILTERED_16, _SUBSCRIPTION
    ),
    ParameterLayout(_P.SUBSCRIPTION_FILTER, 0x21, FILTER_DELTA, drafts(17, 18), _FILTERED_16, _SUBSCRIPTION),
    ParameterLayout(
        _P.SUBSCRIPTION_FILTER,
        0x21,
        FILTER_DELTA,
        drafts(19, 19),
        _FILTERED_16 | _TRACKS,
        _TRACKS_TOO,
        printed="LOCATION_FILTER",
    ),
    ParameterLayout(
        _P.SUBSCRIPTION_FILTER,
        0x21,
        FILTER_COUNTED,
        drafts(20, 21),
        _FILTERED_20,
        _SUBSCRIPTION,
        printed="LOCATION_FILTER",
    ),
    ParameterLayout(
        _P.SUBSCRIPTION_FILTER,
        0x21,
        FILTER_TYPED,
        drafts(22),
        _FILTERED_20,
        _SUBSCRIPTION,
        printed="LOCATION_FILTER",
    ),
    ParameterLayout(
        _P.GROUP_ORDER,
        0x22,
        limited(VINT, _ORDER, "GROUP_ORDER"),
        drafts(15, 15),
        _ORDERED | _scope("SUBSCRIBE_OK TRACK_STATUS TRACK_STATUS_OK PUBLISH"),
    ),
    ParameterLayout(_P.GROUP_ORDER, 0x22, limited(VINT, _ORDER, "GROUP_ORDER"), drafts(16, 16), _ORDERED),
    ParameterLayout(_P.GROUP_ORDER, 0x22, limited(U8, _ORDER, "GROUP_ORDER"), drafts(17, 18), _ORDERED),
    # PUBLISH is not in the definition of 19 (section 10.2.8), but "PUBLISH messages resulting from this
    # SUBSCRIBE_TRACKS will include the GROUP_ORDER parameter with the same value" (section 10.19.1).
    ParameterLayout(
        _P.GROUP_ORDER,
        0x22,
        limited(U8, _ORDER, "GROUP_ORDER"),
        drafts(19, 19),
        _scope("SUBSCRIBE SUBSCRIBE_TRACKS FETCH PUBLISH"),
    ),
    ParameterLayout(
        _P.GROUP_ORDER,
        0x22,
        limited(U8, _ORDER, "GROUP_ORDER"),
        drafts(20),
        _scope("SUBSCRIBE SUBSCRIBE_TRACKS FETCH PUBLISH FILL_PARAMETERS"),
    ),
    ParameterLayout(
        _P.FILL_PARAMETERS,
        0x23,
        sized(Codec("parameters", _pull_fill, _push_fill), "FILL_PARAMETERS"),
        drafts(20),
        _scope("SUBSCRIBE REQUEST_UPDATE") | _TRACKS,
        _SUBSCRIPTION,
    ),
    *(
        ParameterLayout(
            parameter, number, range_filter(of_property), span, scope, _SUBSCRIBER, repeatable=True
        )
        for parameter, number, of_property in (
            (_P.SUBGROUP_FILTER, 0x25, False),
            (_P.OBJECTID_FILTER, 0x26, False),
            (_P.PRIORITY_FILTER, 0x27, False),
            (_P.OBJECT_PROPERTY_FILTER, 0x28, True),
        )
        for span, scope in (
            (drafts(19, 19), _scope("SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE PUBLISH_OK")),
            (drafts(20), _scope("SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE FILL_PARAMETERS")),
        )
    ),
    ParameterLayout(
        _P.TRACK_PROPERTY_FILTER,
        0x29,
        range_filter(of_property=True),
        drafts(19),
        _scope("SUBSCRIBE_TRACKS REQUEST_UPDATE"),
        _TRACKS,
        repeatable=True,
    ),
    ParameterLayout(
        _P.DYNAMIC_GROUPS,
        0x30,
        limited(VINT, (0, 1), "DYNAMIC_GROUPS"),
        drafts(15, 15),
        _scope("SUBSCRIBE_OK PUBLISH"),
    ),
    ParameterLayout(
        _P.NEW_GROUP_REQUEST, 0x32, VINT, drafts(15, 15), _scope("PUBLISH_OK SUBSCRIBE SUBSCRIBE_UPDATE")
    ),
    ParameterLayout(_P.NEW_GROUP_REQUEST, 0x32, VINT, drafts(16, 18), _REGROUPED, _SUBSCRIPTION),
    ParameterLayout(_P.NEW_GROUP_REQUEST, 0x32, VINT, drafts(19, 19), _REGROUPED | _TRACKS, _TRACKS_TOO),
    ParameterLayout(
        _P.NEW_GROUP_REQUEST,
        0x32,
        VINT,
        drafts(20),
        _scope("SUBSCRIBE REQUEST_UPDATE") | _TRACKS,
        _SUBSCRIPTION,
    ),
    # The text says a Track Namespace (`track-namespace-prefix-param`), although the list of codings has it
    # from 22 on only; one implementation puts a length before it up to 20.
    ParameterLayout(
        _P.TRACK_NAMESPACE_PREFIX,
        0x34,
        PREFIX,
        drafts(18),
        _scope("REQUEST_UPDATE"),
        _scope("SUBSCRIBE_NAMESPACE") | _TRACKS,
    ),
    ParameterLayout(
        _P.INCLUDE_PROPERTIES,
        0x35,
        limited(U8, (0, 1), "INCLUDE_PROPERTIES"),
        drafts(20),
        _scope("SUBSCRIBE FETCH TRACK_STATUS SUBSCRIBE_TRACKS"),
    ),
)


@cache
def _by_number(draft: int) -> dict[int, ParameterLayout]:
    return {row.number: row for row in PARAMETER_LAYOUTS if draft in row.span}


@cache
def _by_parameter(draft: int) -> dict[Parameter, ParameterLayout]:
    return {row.parameter: row for row in PARAMETER_LAYOUTS if draft in row.span}


def parameter_layout(parameter: Parameter, draft: Draft) -> ParameterLayout | None:
    """How a draft writes a parameter; None when it has no such parameter."""
    return _by_parameter(draft.number).get(parameter)


class ParametersField(Record):
    """The parameters of a message: a count, then that many.

    A parameter in a message it is not defined for ends the session where the draft says so, but in
    requests, and from draft 20 in REQUEST_OK, only: relays in the field put GROUP_ORDER into SUBSCRIBE_OK,
    which harms nobody. Which reply a REQUEST_OK is shows not before it is matched, so what any of them may
    have is taken in all.
    """

    scopes: frozenset[str]
    "Wire names; several for a reply that answers several requests."
    strict: bool
    "Out of scope ends the session."
    lifted: frozenset[Parameter] = frozenset()
    "Parameters that other fields of this layout carry (draft 14)."
    name: str = "parameters"
    attributes: tuple[str, ...] = ("parameters",)

    def _named(self) -> str:
        return " or ".join(sorted(self.scopes))

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read them, behind those that earlier fields gave."""
        left = iter(range(reader.vint()))
        self.pull_pairs(reader, draft, values, lambda: next(left, None) is not None)

    def pull_pairs(
        self, reader: Reader, draft: Draft, values: dict[str, Any], more: Callable[[], bool]
    ) -> None:
        """Read parameters without their count, as long as there are `more`."""
        known = _by_number(draft.number)
        pairs: list[tuple[Any, Any]] = list(values.get("parameters", KeyValues()).pairs)
        number = 0
        while more():
            start = reader.offset
            number = pull_type(reader, draft, number)
            row = known.get(number)
            if row is None:
                if draft.unknown_parameters_close:
                    raise ProtocolViolation(
                        f"{draft.name} defines no message parameter {number:#x}", offset=start
                    )
                pairs.append((number, pull_pair_value(reader, number)))
                continue
            if self.strict and draft.parameter_scope_closes and not row.scope & self.scopes:
                raise ProtocolViolation(
                    f"parameter {row.label} may not be in {self._named()}",
                    offset=start,
                )
            if not row.repeatable and any(key == row.parameter for key, _ in pairs):
                raise ProtocolViolation(f"parameter {row.label} twice", offset=start)
            pairs.append((row.parameter, row.codec.pull(reader, draft)))
        values["parameters"] = KeyValues(pairs)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write those that no other field carries."""
        self.push_parameters(writer, draft, message.parameters)  # type: ignore[attr-defined]

    def push_parameters(self, writer: Writer, draft: Draft, given: Parameters) -> None:
        """Write a count and these parameters."""
        rows: dict[int, ParameterLayout] = {}
        pairs = []
        for key, value in given.pairs:
            if key in self.lifted:
                continue
            if not isinstance(key, Parameter):
                pairs.append((key, value))
                continue
            row = parameter_layout(key, draft)
            if row is None:
                raise LocalProtocolError(f"{draft.name} has no message parameter {key}")
            if not row.scope & self.scopes:
                raise LocalProtocolError(f"{draft.name} defines no {key} in {self._named()}")
            rows[row.number] = row
            pairs.append((row.number, value))
        writer.vint(len(pairs))
        self._push_pairs(writer, draft, pairs, rows)

    @staticmethod
    def _push_pairs(
        writer: Writer,
        draft: Draft,
        pairs: Iterable[tuple[int, Any]],
        rows: dict[int, ParameterLayout],
    ) -> None:
        previous = 0
        for number, value in in_wire_order(pairs, draft):
            push_type(writer, draft, number, previous)
            if number in rows:
                rows[number].codec.push(writer, value, draft)
            else:
                push_pair_value(writer, number, value)
            previous = number


_FILL = ParametersField(frozenset({"FILL_PARAMETERS"}), strict=True)


class FilteredTrack(Record):
    """FETCH from draft 20: a track, and parameters of which the location filter is the range asked for.

    A filter from a start to an end is a StandaloneFetch, as in the drafts that write it so.
    """

    parameters: ParametersField
    name: str = "track and parameters"
    attributes: tuple[str, ...] = ("range", "parameters")

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read name and parameters, and take the filter out of these."""
        namespace, name = pull_full_name(reader, draft)
        self.parameters.pull(reader, draft, values)
        given: Parameters = values["parameters"]
        found: Filter | None = given.get(_P.SUBSCRIPTION_FILTER)
        values["parameters"] = KeyValues(pair for pair in given.pairs if pair[0] != _P.SUBSCRIPTION_FILTER)
        values["range"] = FilteredFetch(namespace, name, found)
        if found is not None and found.start is not None and found.end_group is not None:
            last = -1 if found.end_object is None else found.end_object
            values["range"] = StandaloneFetch(
                namespace, name, found.start, Location(found.end_group, last + 1)
            )

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write name and parameters, the range among these."""
        asked: Any = message
        wanted = asked.range
        if isinstance(wanted, JoiningFetch):
            raise LocalProtocolError(f"{draft.name} has no joining FETCH: use FILL_PARAMETERS")
        push_full_name(writer, wanted.track_namespace, wanted.track_name, draft)
        chosen = wanted.filter if isinstance(wanted, FilteredFetch) else _filter_between(wanted)
        pairs = list(asked.parameters.pairs)
        if chosen is not None:
            pairs.append((_P.SUBSCRIPTION_FILTER, chosen))
        self.parameters.push_parameters(writer, draft, KeyValues(pairs))


def _filter_between(wanted: StandaloneFetch) -> Filter:
    """A start and an end that is not part of the range, as a filter."""
    if wanted.end.object:
        return Filter(FilterType.FULL_RANGE, wanted.start, wanted.end.group, wanted.end.object - 1)
    return Filter(FilterType.ABSOLUTE_RANGE, wanted.start, wanted.end.group)
