"""Hypothesis strategies for every message of every draft, made from the rows that read and write them."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.fields import (
    UPDATE_RANGE,
    VERSION_SELECTED,
    ErrorCode,
    Lifted,
    LiftedLargest,
    Plain,
)
from pytest_moqt.protocol.layouts import Layout, layouts_of
from pytest_moqt.protocol.objects import (
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupHeader,
)
from pytest_moqt.protocol.parameter_layouts import PARAMETER_LAYOUTS, FilteredTrack, ParametersField
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.spans import Span
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    GroupOrder,
    KeyValues,
    Location,
    RangeFilter,
    Redirect,
    Token,
    TokenAlias,
)

PROFILE = settings(
    max_examples=8,
    deadline=None,  # two busy cores: a deadline would measure the neighbours
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"The same examples in every run, few per row: there are a hundred rows."


def is_end(draft: Draft, *spans: Span) -> bool:
    """Whether a draft is the oldest or the newest of those that are in all these spans."""
    common = [number for number in DRAFTS if all(number in span for span in spans)]
    return draft.number in (common[:1] + common[-1:])


ROWS = [(draft, row) for draft in DRAFTS.values() for row in layouts_of(draft) if is_end(draft, row.span)]
"Each row in its oldest and in its newest draft: what lies between them is another draft's row for the rest."
ROW_IDS = [f"{draft.number}-{row.name}" for draft, row in ROWS]

REASONS = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))


@cache
def integers(draft: Draft, limit: int | None = None) -> st.SearchStrategy[int]:
    """Integers of every length that the draft writes."""
    top = draft.integers.maximum if limit is None else limit
    edges = [draft.integers.capacity(length) for length in draft.integers.lengths]
    near = [edge + step for edge in edges for step in (0, 1) if edge + step <= top]
    return st.one_of(st.integers(0, min(top, 300)), st.sampled_from(near or [0]), st.integers(0, top))


@cache
def locations(draft: Draft) -> st.SearchStrategy[Location]:
    """Any location."""
    return st.builds(Location, integers(draft), integers(draft))


@cache
def names(draft: Draft, minimum: int) -> st.SearchStrategy[tuple[bytes, ...]]:
    """Namespaces, prefixes and suffixes, some at the limit of 32 fields."""
    field = st.binary(min_size=0 if draft.empty_namespace_fields else 1, max_size=12)
    few = st.lists(field, min_size=minimum, max_size=4)
    return st.one_of(few, st.lists(field, min_size=32, max_size=32)).map(tuple)


@cache
def filters(draft: Draft, *, update: bool = False) -> st.SearchStrategy[Filter]:
    """Filters of all four types; `update`: those that draft 14's SUBSCRIBE_UPDATE can say."""
    start = locations(draft)
    absolute = st.builds(Filter, st.just(FilterType.ABSOLUTE_START), start)
    ranges = st.tuples(start, integers(draft, draft.integers.maximum - 1)).map(
        lambda pair: Filter(
            FilterType.ABSOLUTE_RANGE,
            Location(min(pair[0].group, pair[1]), pair[0].object),
            max(pair[0].group, pair[1]) - int(pair[0].group == draft.integers.maximum),
        )
    )
    if update:
        return st.one_of(absolute, ranges)
    open_ended = st.sampled_from([FilterType.NEXT_GROUP_START, FilterType.LARGEST_OBJECT])
    return st.one_of(st.builds(Filter, open_ended), absolute, ranges)


@cache
def tokens(draft: Draft) -> st.SearchStrategy[Token]:
    """Tokens of all four alias types."""
    number, value = integers(draft), st.binary(max_size=8)
    return st.one_of(
        st.builds(Token, st.sampled_from([TokenAlias.DELETE, TokenAlias.USE_ALIAS]), number),
        st.builds(Token, st.just(TokenAlias.REGISTER), number, number, value),
        st.builds(Token, st.just(TokenAlias.USE_VALUE), st.none(), number, value),
    )


def pair(draft: Draft, keys: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, Any]]:
    """A key-value pair by its key's parity."""
    value = integers(draft)
    return keys.flatmap(lambda key: st.tuples(st.just(key), value if key % 2 == 0 else st.binary(max_size=8)))


@cache
def properties(draft: Draft) -> st.SearchStrategy[KeyValues[int, Any]]:
    """Properties, known or not, with the values that every draft allows."""
    legal = {
        Property.OBJECT_DELIVERY_TIMEOUT: st.integers(1, 5000),
        Property.DEFAULT_PUBLISHER_PRIORITY: st.integers(0, 255),
        Property.DEFAULT_PUBLISHER_GROUP_ORDER: st.integers(1, 2),
        Property.DYNAMIC_GROUPS: st.integers(0, 1),
        Property.PRIOR_GROUP_ID_GAP: st.integers(0, 9),
    }
    known = st.one_of([st.tuples(st.just(int(key)), value) for key, value in legal.items()])
    unknown = pair(draft, integers(draft).filter(lambda key: key > 0x3E))
    return st.lists(st.one_of(known, unknown), max_size=4, unique_by=lambda item: item[0]).map(KeyValues)


@cache
def options(draft: Draft) -> st.SearchStrategy[KeyValues[int, Any]]:
    """Setup options: each known one at most once, tokens and unknown ones as often as they like."""
    once = {
        SetupOption.PATH: st.binary(max_size=8),
        SetupOption.MAX_REQUEST_ID: integers(draft),
        SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE: integers(draft),
        SetupOption.AUTHORITY: st.binary(max_size=8),
        SetupOption.MAX_FILTER_RANGES: integers(draft),
        SetupOption.MOQT_IMPLEMENTATION: st.binary(max_size=8),
        SetupOption.MAX_REQUEST_UPDATES: integers(draft),
    }
    known = st.fixed_dictionaries({}, optional=once).map(lambda given: list(given.items()))
    token = st.tuples(st.just(SetupOption.AUTHORIZATION_TOKEN), tokens(draft))
    unknown = pair(draft, integers(draft).filter(lambda key: key > 8))
    return st.tuples(known, st.lists(st.one_of(token, unknown), max_size=3)).map(
        lambda both: KeyValues([*both[0], *both[1]])
    )


def range_filters(of_property: bool) -> st.SearchStrategy[RangeFilter]:
    """A filter of ascending ranges, the last perhaps open, or one that removes the filter."""

    def made(set_id: int, kind: int | None, steps: list[tuple[int, int]], is_open: bool) -> RangeFilter:
        ranges: list[tuple[int, int | None]] = []
        last = 0
        for first, length in steps:
            ranges.append((last + first, last + first + length))
            last += first + length
        if is_open and ranges:
            ranges[-1] = (ranges[-1][0], None)
        return RangeFilter(set_id, tuple(ranges), kind)

    step = st.tuples(st.integers(0, 300), st.integers(0, 300))
    number = st.integers(0, 999) if of_property else st.none()
    return st.just(RangeFilter()) | st.builds(
        made, st.integers(0, 255), number, st.lists(step, max_size=3), st.booleans()
    )


def location_filters(draft: Draft) -> st.SearchStrategy[Filter]:
    """A filter as drafts 20 and later have them."""
    start = st.builds(Location, st.integers(1, 2**40), integers(draft))

    def ending(first: Location, more: int, last: int | None) -> Filter:
        kind = FilterType.ABSOLUTE_RANGE if last is None else FilterType.FULL_RANGE
        return Filter(kind, first, first.group + more, last)

    bare = [FilterType.UNFILTERED, FilterType.NEXT_GROUP_START, FilterType.LARGEST_OBJECT]
    return st.one_of(
        st.sampled_from([Filter(kind) for kind in bare]),
        st.builds(lambda back: Filter(FilterType.RELATIVE_START, groups_back=back), st.integers(1, 300)),
        start.map(lambda first: Filter(FilterType.ABSOLUTE_START, first)),
        st.builds(ending, start, st.integers(0, 300), st.none() | st.integers(0, 2**40)),
    )


def parameter_values(draft: Draft, parameter: Parameter, kind: str) -> st.SearchStrategy[Any]:
    """Values of a parameter that every draft allows; `kind` is its codec's."""
    if parameter is Parameter.INCLUDE_PROPERTIES or parameter is Parameter.DYNAMIC_GROUPS:
        return st.integers(0, 1)
    if kind == "range filter":
        return range_filters(parameter in (Parameter.OBJECT_PROPERTY_FILTER, Parameter.TRACK_PROPERTY_FILTER))
    if kind == "location filter":
        return location_filters(draft)
    if parameter is Parameter.FILL_PARAMETERS:
        inner = {
            Parameter.FILL_TIMEOUT: integers(draft),
            Parameter.SUBSCRIBER_PRIORITY: st.integers(0, 255),
            Parameter.SUBSCRIPTION_FILTER: location_filters(draft),
            Parameter.GROUP_ORDER: st.sampled_from(list(GroupOrder)),
        }
        return st.fixed_dictionaries({}, optional=inner).map(KeyValues)
    if parameter is Parameter.GROUP_ORDER:
        return st.sampled_from(list(GroupOrder))
    if parameter is Parameter.FORWARD:
        return st.integers(0, 1)
    if parameter in (Parameter.SUBSCRIBER_PRIORITY, Parameter.PUBLISHER_PRIORITY):
        return st.integers(0, 255)
    if kind == "integer":
        return integers(draft).map(lambda value: value or 1)  # draft 16: a delivery timeout is not 0
    return {
        "token": tokens(draft),
        "location": locations(draft),
        "filter": filters(draft),
        "namespace": names(draft, draft.min_prefix_fields),
    }[kind]


def parameters(draft: Draft, layout: Layout) -> st.SearchStrategy[KeyValues[Any, Any]]:
    """Parameters that a message may have: what fixed fields say, always, and some of the others."""
    field = next(
        field.parameters if isinstance(field, FilteredTrack) else field
        for field in layout.fields
        if isinstance(field, ParametersField | FilteredTrack)
    )
    fixed: dict[Any, st.SearchStrategy[Any]] = {}
    absent: dict[Any, st.SearchStrategy[Any]] = {}
    for other in layout.fields:
        if isinstance(other, LiftedLargest):
            absent[Parameter.LARGEST_OBJECT] = locations(draft)
        elif isinstance(other, Lifted) and other.into == "parameters":
            if other.key is Parameter.SUBSCRIPTION_FILTER:
                fixed[other.key] = filters(draft, update=other.codec is UPDATE_RANGE)
            elif other.drop is None or (other.key is Parameter.GROUP_ORDER and other.default):
                fixed[other.key] = parameter_values(draft, other.key, "integer")
            else:
                absent[other.key] = parameter_values(draft, other.key, "integer")
    repeated: list[Any] = []
    for row in PARAMETER_LAYOUTS:
        if draft.number in row.span and row.scope & field.scopes:
            value = parameter_values(draft, row.parameter, row.codec.kind)
            absent[row.parameter] = value
            if row.repeatable:
                repeated.append(st.tuples(st.just(row.parameter), value))
    if not draft.unknown_parameters_close:
        known = {row.number for row in PARAMETER_LAYOUTS if draft.number in row.span}
        repeated.append(pair(draft, integers(draft).filter(lambda key: key not in known)))
    more = st.lists(st.one_of(repeated), max_size=2) if repeated else st.just([])
    return st.tuples(st.fixed_dictionaries(fixed, optional=absent), more).map(
        lambda both: KeyValues([*both[0].items(), *both[1]])
    )


def filtered_ranges(draft: Draft) -> st.SearchStrategy[m.StandaloneFetch | m.FilteredFetch]:
    """What a FETCH asks for by a filter."""

    def made(namespace: Any, name: bytes, chosen: Filter | None) -> m.StandaloneFetch | m.FilteredFetch:
        if chosen is None or chosen.start is None or chosen.end_group is None:
            return m.FilteredFetch(namespace, name, chosen)
        last = -1 if chosen.end_object is None else chosen.end_object
        return m.StandaloneFetch(namespace, name, chosen.start, Location(chosen.end_group, last + 1))

    name = names(draft, draft.min_namespace_fields)
    return st.builds(made, name, st.binary(max_size=9), st.none() | location_filters(draft))


def ranges(draft: Draft) -> st.SearchStrategy[m.StandaloneFetch | m.JoiningFetch]:
    """What a FETCH asks for."""
    name = names(draft, draft.min_namespace_fields)
    where = locations(draft)
    return st.one_of(
        st.builds(m.StandaloneFetch, name, st.binary(max_size=9), where, where),
        st.builds(m.JoiningFetch, integers(draft), integers(draft), st.booleans()),
    )


def _codes(draft: Draft, field: ErrorCode) -> st.SearchStrategy[Any]:
    known = [field.table.name(number, draft.number, field.space) for number in range(0x60)]
    free = integers(draft).filter(lambda number: number >= 0x60)
    return st.one_of(st.sampled_from(known), free)


def _plain(draft: Draft, layout: Layout, field: Plain) -> st.SearchStrategy[Any]:
    name = field.name
    if name == "versions":
        count = (1, 1) if field.codec is VERSION_SELECTED else (0, 4)
        return st.lists(integers(draft), min_size=count[0], max_size=count[1]).map(tuple)
    known = {
        "options": options(draft),
        "new_session_uri": REASONS,
        "reason": REASONS,
        "track_namespace": names(draft, draft.min_namespace_fields),
        "track_namespace_prefix": names(draft, draft.min_prefix_fields),
        "track_namespace_suffix": names(draft, 0),
        "track_properties": properties(draft),
        # Where the last object is written, the place behind it is no group's beginning.
        "end": locations(draft).map(
            lambda end: Location(end.group, end.object or 1) if draft.fetch_end_included else end
        ),
        "end_of_track": st.booleans(),
        "subscribe_options": st.integers(0, 2),
    }
    return known.get(name, integers(draft))


@cache
def messages(draft: Draft, layout: Layout) -> st.SearchStrategy[m.Message]:
    """Any message that a row can write and read back as it was."""
    given: dict[str, st.SearchStrategy[Any]] = {}
    for field in layout.fields:
        if isinstance(field, Plain):
            given[field.name] = _plain(draft, layout, field)
        elif isinstance(field, ErrorCode):
            given[field.name] = _codes(draft, field)
        elif isinstance(field, ParametersField):
            given["parameters"] = parameters(draft, layout)
        elif isinstance(field, Lifted) and field.into == "track_properties":
            given["track_properties"] = st.integers(1, 2).map(
                lambda order, key=field.key: KeyValues({key: order})
            )
        elif field.name == "full track name":
            suffix = "track_namespace_suffix" in field.attributes
            given[field.attributes[0]] = names(draft, 0 if suffix else draft.min_namespace_fields)
            given["track_name"] = st.binary(max_size=9)
        elif isinstance(field, FilteredTrack):
            given["range"] = filtered_ranges(draft)
            given["parameters"] = parameters(draft, layout).map(
                lambda all_of: KeyValues(p for p in all_of.pairs if p[0] is not Parameter.SUBSCRIPTION_FILTER)
            )
        elif field.name == "range":
            given["range"] = ranges(draft)
        elif field.name == "request_id":
            given["request_id"] = st.none() | integers(draft)
    made = st.fixed_dictionaries(given)
    if any(field.name == "redirect" for field in layout.fields):
        made = st.tuples(made, st.builds(Redirect, REASONS, names(draft, 0), st.binary(max_size=9))).map(
            lambda both: (
                both[0] | ({"redirect": both[1]} if both[0]["code"] == RequestErrorCode.REDIRECT else {})
            )
        )
    return made.map(lambda values: layout.message(**values))


# ---- the data plane --------------------------------------------------------------------------------

PAYLOADS = st.binary(max_size=20)
PRIORITIES = st.integers(0, 255)


@cache
@st.composite
def subgroups(draw: st.DrawFn, draft: Draft) -> tuple[SubgroupHeader, list[StreamObject]]:
    """A subgroup stream that the draft can write."""
    mode = draw(st.sampled_from(["zero", "first", "field"]))
    header = SubgroupHeader(
        draw(integers(draft)),
        draw(integers(draft)),
        {"zero": 0, "first": None, "field": draw(integers(draft))}[mode],
        draw(st.none() | PRIORITIES) if draft.subgroup_flags & 0x20 else draw(PRIORITIES),
        end_of_group=draw(st.booleans()),
        first_object=bool(draft.subgroup_flags & 0x40) and draw(st.booleans()),
        has_properties=draw(st.booleans()),
        subgroup_id_field=mode == "field",
    )
    objects = []
    number = -1
    for _ in range(draw(st.integers(0, 4))):
        number += 1 + draw(st.integers(0, 20000))
        payload = draw(PAYLOADS)
        status = 0 if payload else draw(st.sampled_from(sorted(draft.object_statuses)))
        may_have = header.has_properties and status in draft.statuses_with_properties
        given = draw(properties(draft)) if may_have else KeyValues()
        objects.append(StreamObject(number, payload, status, given))
    return header, objects


@cache
@st.composite
def fetches(draw: st.DrawFn, draft: Draft) -> tuple[bool, list[FetchObject | FetchRangeEnd]]:
    """The objects of a fetch stream that the draft can write, and whether they come in descending order."""
    descending = draw(st.booleans())
    group, number = draw(st.integers(0, 9)) + (1000 if descending else 0), -1
    items: list[FetchObject | FetchRangeEnd] = []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            group += draw(st.integers(1, 90)) * (-1 if descending else 1)
            number = -1
        number += 1 + draw(st.sampled_from([0, 0, 1, 300]))
        if draft.fetch_ranges and draw(st.integers(0, 4)) == 0:
            items.append(FetchRangeEnd(draw(st.sampled_from(sorted(draft.fetch_ranges))), group, number))
            continue
        payload = draw(PAYLOADS)
        explicit = not draft.fetch_ranges  # the drafts that write a status, and a subgroup always
        status = draw(st.sampled_from(sorted(draft.object_statuses))) if explicit and not payload else 0
        given = draw(properties(draft)) if status in draft.statuses_with_properties else KeyValues()
        subgroup = draw(
            st.sampled_from([0, 0, 1, 2, 70]) if explicit else st.sampled_from([None, 0, 1, 2, 70])
        )
        priority = draw(st.sampled_from([0, 128, 255]))
        items.append(FetchObject(group, subgroup, number, priority, payload, given, status))
    return descending, items


@cache
@st.composite
def datagrams(draw: st.DrawFn, draft: Draft) -> ObjectDatagram:
    """A datagram that the draft can write."""
    status = draw(st.none() | st.sampled_from(sorted(draft.object_statuses)))
    field = draw(st.booleans()) or (status is not None and not draft.zero_object_id_with_status)
    return ObjectDatagram(
        draw(integers(draft)),
        draw(integers(draft)),
        draw(integers(draft)) if field else 0,
        draw(st.none() | PRIORITIES) if draft.datagram_flags & 0x08 else draw(PRIORITIES),
        b"" if status is not None else draw(PAYLOADS),
        status,
        draw(properties(draft))
        if status is None or status in draft.statuses_with_properties
        else KeyValues(),
        end_of_group=status is None and draw(st.booleans()),
        object_id_field=field,
    )


# ---- pieces and damage --------------------------------------------------------------------------------


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes with one to three bytes changed, put in or taken out."""
    broken = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(broken)))
        how = draw(st.sampled_from(["change", "insert", "delete", "cut"]))
        if how == "insert":
            broken[place:place] = draw(st.binary(min_size=1, max_size=3))
        elif how == "change" and place < len(broken):
            broken[place] = draw(st.integers(0, 255))
        elif how == "delete":
            del broken[place : place + 1]
        elif how == "cut":
            del broken[place:]
    return bytes(broken)
