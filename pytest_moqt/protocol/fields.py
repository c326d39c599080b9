"""Field codecs: how one value of a message is read and written.

Rules:

- A `Codec` reads and writes one value. A `Field` places values in a message's attributes; most are
  `Plain`, one codec for one attribute.
- Reading never fails otherwise than by NeedMoreData or a RemoteProtocolError; limits are checked before
  the bytes that would break them are awaited (drafts, section "Control Messages").
- Writing refuses what the draft cannot express with LocalProtocolError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from pytest_moqt.protocol.buffer import Reader, Writer, counted
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import (
    InvalidRequiredRequestId,
    KeyValueFormattingError,
    LocalProtocolError,
    MoqtError,
    NeedMoreData,
    ProtocolViolation,
)
from pytest_moqt.protocol.messages import (
    UNKNOWN_STREAM_COUNT,
    FilteredFetch,
    JoiningFetch,
    Message,
    StandaloneFetch,
)
from pytest_moqt.protocol.parameters import Options, Parameter, Parameters, Properties, Property, SetupOption
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.registries import CodeTable
from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    KeyValues,
    Location,
    RangeFilter,
    Redirect,
    Token,
    TokenAlias,
    TrackNamespace,
)

MAX_NAMESPACE_FIELDS = 32
"`track-name`."
MAX_FULL_TRACK_NAME = 4096
"Bytes of all namespace fields and the track name together (`track-name`)."
MAX_REASON = 1024
"Bytes (`reason-phrase`)."
MAX_URI = 8192
"Bytes (`message-goaway`)."
MAX_TYPE = (1 << 64) - 1
"The largest type that differences may add up to (`key-value-pair`)."
MAX_VALUE = 65535
"Bytes of a key-value pair's value: 2^16-1."

T = TypeVar("T")


class Codec(Record, Generic[T]):
    """How one kind of value is read and written."""

    kind: str
    pull: Callable[[Reader, Draft], T]
    push: Callable[[Writer, T, Draft], None]


class Field(Protocol):
    """A place in a layout."""

    @property
    def name(self) -> str:
        """What a diagnosis calls it."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of the message that it fills, wholly or in part."""

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read into `values`, by attribute."""

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write from the message."""


# ---- codecs of plain values ------------------------------------------------------------------------


def _push_u8(writer: Writer, value: int, _: Draft) -> None:
    if not 0 <= value <= 0xFF:
        raise LocalProtocolError(f"{value} does not fit one byte")
    writer.u8(value)


VINT: Codec[int] = Codec("integer", lambda r, _: r.vint(), lambda w, v, _: w.vint(v))
U8: Codec[int] = Codec("byte", lambda r, _: r.u8(), _push_u8)


def limited(codec: Codec[int], legal: Iterable[int], what: str) -> Codec[int]:
    """A codec whose other values are a PROTOCOL_VIOLATION."""
    allowed = frozenset(legal)

    def pull(reader: Reader, draft: Draft) -> int:
        start = reader.offset
        value = codec.pull(reader, draft)
        if value not in allowed:
            good = ", ".join(map(str, sorted(allowed)))
            raise ProtocolViolation(f"{what} is {value}, must be one of {good}", offset=start)
        return value

    def push(writer: Writer, value: int, draft: Draft) -> None:
        if value not in allowed:
            raise LocalProtocolError(f"{what} cannot be {value} here")
        codec.push(writer, value, draft)

    return Codec(codec.kind, pull, push)


def positive(codec: Codec[int], what: str) -> Codec[int]:
    """A codec whose value 0 is a PROTOCOL_VIOLATION."""

    def pull(reader: Reader, draft: Draft) -> int:
        start = reader.offset
        value = codec.pull(reader, draft)
        if not value:
            raise ProtocolViolation(f"{what} is 0, must be greater", offset=start)
        return value

    def push(writer: Writer, value: int, draft: Draft) -> None:
        if not value:
            raise LocalProtocolError(f"{what} cannot be 0 in {draft.name}")
        codec.push(writer, value, draft)

    return Codec(codec.kind, pull, push)


# One byte, of which the drafts say what 1 and 0 mean and nothing of the others, so these end no session: they
# are not 1.
FLAG: Codec[bool] = Codec("flag", lambda r, _: r.u8() == 1, lambda w, v, _: w.u8(int(v)))


def octets(what: str, limit: int | None = None) -> Codec[bytes]:
    """A length and bytes."""
    return Codec("bytes", lambda r, _: r.octets(limit, what), lambda w, v, _: w.octets(v))


def text(what: str, limit: int) -> Codec[str]:
    """A length and UTF-8; what is not UTF-8 survives as lone surrogates, so that nothing is lost."""

    def push(writer: Writer, value: str, _: Draft) -> None:
        try:
            data = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise LocalProtocolError(f"{what} with a lone surrogate has no UTF-8: {value!a}") from None
        if len(data) > limit:
            raise LocalProtocolError(f"{what} of {len(data)} bytes, at most {limit} are allowed")
        writer.octets(data)

    return Codec("text", lambda r, _: r.octets(limit, what).decode("utf-8", "surrogateescape"), push)


def _pull_end(reader: Reader, draft: Draft) -> Location:
    return Location(reader.vint(), reader.vint() + draft.fetch_end_included)


def _push_end(writer: Writer, value: Location, draft: Draft) -> None:
    if draft.fetch_end_included and not value.object:
        raise LocalProtocolError(f"{draft.name} writes the last object: {value} leaves open which that is")
    _push_location(writer, Location(value.group, value.object - draft.fetch_end_included), draft)


FETCH_END: Codec[Location] = Codec("location", _pull_end, _push_end)
"FETCH_OK's End Location, carried as the place behind the last object, as up to 19 (`message-fetch-ok`)."


def _pull_stream_count(reader: Reader, draft: Draft) -> int:
    count = reader.vint()
    return UNKNOWN_STREAM_COUNT if count == draft.unknown_stream_count else count


def _push_stream_count(writer: Writer, value: int, draft: Draft) -> None:
    writer.vint(draft.unknown_stream_count if value == UNKNOWN_STREAM_COUNT else value)


STREAM_COUNT: Codec[int] = Codec("integer", _pull_stream_count, _push_stream_count)
"PUBLISH_DONE's, with the draft's own number for an unknown count."

REASON = text("a Reason Phrase", MAX_REASON)
URI = text("a URI", MAX_URI)
TRACK_NAME = octets("a Track Name", MAX_FULL_TRACK_NAME)


def _push_location(writer: Writer, value: Location, _: Draft) -> None:
    writer.vint(value.group)
    writer.vint(value.object)


LOCATION: Codec[Location] = Codec("location", lambda r, _: Location(r.vint(), r.vint()), _push_location)


def sized(
    inner: Codec[T],
    what: str,
    error: type[KeyValueFormattingError] | None = None,
    limit: int | None = MAX_VALUE,
) -> Codec[T]:
    """A length and, in exactly that many bytes, another value; `error` when they do not fit."""

    def pull(reader: Reader, draft: Draft) -> T:
        start = reader.offset
        body = reader.block(limit, what)
        try:
            value = inner.pull(body, draft)
        except NeedMoreData:
            raise (error or ProtocolViolation)(f"{what} ends too early", offset=start) from None
        except MoqtError as exc:
            if error is None or isinstance(exc, error):
                raise
            raise error(f"{what}: {exc}", offset=start) from None
        if not body.at_end:
            raise (error or ProtocolViolation)(f"{counted(body.remaining)} too many in {what}", offset=start)
        return value

    def push(writer: Writer, value: T, draft: Draft) -> None:
        body = Writer(writer.integers)
        inner.push(body, value, draft)
        writer.octets(bytes(body))

    return Codec(inner.kind, pull, push)


def _pull_versions(reader: Reader, _: Draft) -> tuple[int, ...]:
    return tuple(reader.vint() for _ in range(reader.vint()))


def _push_versions(writer: Writer, value: tuple[int, ...], _: Draft) -> None:
    writer.vint(len(value))
    for version in value:
        writer.vint(version)


def _push_selected(writer: Writer, value: tuple[int, ...], draft: Draft) -> None:
    if len(value) != 1:
        raise LocalProtocolError(f"{draft.name} selects exactly one version, not {len(value)}")
    writer.vint(value[0])


VERSIONS_OFFERED: Codec[tuple[int, ...]] = Codec("versions", _pull_versions, _push_versions)
"Draft 14's CLIENT_SETUP: a count, then version codes (section 9.3)."
VERSION_SELECTED: Codec[tuple[int, ...]] = Codec("version", lambda r, _: (r.vint(),), _push_selected)
"Draft 14's SERVER_SETUP: the one selected."


# ---- namespaces ------------------------------------------------------------------------------------


def _pull_fields(reader: Reader, draft: Draft, minimum: int, what: str) -> TrackNamespace:
    start = reader.offset
    count = reader.vint()
    if not minimum <= count <= MAX_NAMESPACE_FIELDS:
        raise ProtocolViolation(
            f"{what} of {count} fields, must be {minimum} to {MAX_NAMESPACE_FIELDS}", offset=start
        )
    fields = []
    total = 0
    for _ in range(count):
        at = reader.offset
        value = reader.octets(MAX_FULL_TRACK_NAME, f"a field of {what}")
        if not value and not draft.empty_namespace_fields:
            raise ProtocolViolation(f"an empty field in {what}", offset=at)
        total += len(value)
        if total > MAX_FULL_TRACK_NAME:
            raise ProtocolViolation(f"{what} of more than {MAX_FULL_TRACK_NAME} bytes", offset=start)
        fields.append(value)
    return tuple(fields)


def _push_fields(writer: Writer, value: TrackNamespace, draft: Draft, minimum: int, what: str) -> None:
    if not minimum <= len(value) <= MAX_NAMESPACE_FIELDS:
        raise LocalProtocolError(
            f"{what} of {len(value)} fields, {draft.name} allows {minimum} to {MAX_NAMESPACE_FIELDS}"
        )
    if not draft.empty_namespace_fields and b"" in value:
        raise LocalProtocolError(f"{draft.name} allows no empty field in {what}")
    if sum(map(len, value)) > MAX_FULL_TRACK_NAME:
        raise LocalProtocolError(f"{what} of more than {MAX_FULL_TRACK_NAME} bytes")
    writer.vint(len(value))
    for item in value:
        writer.octets(item)


NAMESPACE: Codec[TrackNamespace] = Codec(
    "namespace",
    lambda r, d: _pull_fields(r, d, d.min_namespace_fields, "a Track Namespace"),
    lambda w, v, d: _push_fields(w, v, d, d.min_namespace_fields, "a Track Namespace"),
)
PREFIX: Codec[TrackNamespace] = Codec(
    "namespace",
    lambda r, d: _pull_fields(r, d, d.min_prefix_fields, "a Track Namespace Prefix"),
    lambda w, v, d: _push_fields(w, v, d, d.min_prefix_fields, "a Track Namespace Prefix"),
)
# A suffix is empty when namespace and prefix are the same; draft 16 does not say, its relays do it.
SUFFIX: Codec[TrackNamespace] = Codec(
    "namespace",
    lambda r, d: _pull_fields(r, d, 0, "a Track Namespace Suffix"),
    lambda w, v, d: _push_fields(w, v, d, 0, "a Track Namespace Suffix"),
)


def _pull_redirect(reader: Reader, draft: Draft) -> Redirect:
    return Redirect(URI.pull(reader, draft), SUFFIX.pull(reader, draft), TRACK_NAME.pull(reader, draft))


def _push_redirect(writer: Writer, value: Redirect, draft: Draft) -> None:
    URI.push(writer, value.connect_uri, draft)
    SUFFIX.push(writer, value.track_namespace, draft)
    writer.octets(value.track_name)


REDIRECT: Codec[Redirect] = Codec("redirect", _pull_redirect, _push_redirect)


# ---- tokens ----------------------------------------------------------------------------------------


def _pull_token(reader: Reader, _: Draft) -> Token:
    start = reader.offset
    number = reader.vint()
    try:
        kind = TokenAlias(number)
    except ValueError:
        raise KeyValueFormattingError(f"token alias type {number} is not 0 to 3", offset=start) from None
    alias = None if kind is TokenAlias.USE_VALUE else reader.vint()
    if kind in (TokenAlias.DELETE, TokenAlias.USE_ALIAS):
        return Token(kind, alias)
    return Token(kind, alias, reader.vint(), reader.rest())


def _push_token(writer: Writer, value: Token, _: Draft) -> None:
    writer.vint(value.alias_type)
    if value.alias_type is not TokenAlias.USE_VALUE:
        writer.vint(value.alias or 0)
    if value.alias_type in (TokenAlias.REGISTER, TokenAlias.USE_VALUE):
        writer.vint(value.type or 0)
        writer.raw(value.value)


# "If the Token structure cannot be decoded, the receiver MUST close the session with
# KEY_VALUE_FORMATTING_ERROR" (14 section 9.2.1.1, 16 section 9.2.2.1, 18 section 10.2.2).
TOKEN: Codec[Token] = sized(
    Codec("token", _pull_token, _push_token), "an authorization token", KeyValueFormattingError
)


# ---- filters ---------------------------------------------------------------------------------------


def _filter(end_is_delta: bool) -> Codec[Filter]:
    def pull(reader: Reader, _: Draft) -> Filter:
        start = reader.offset
        number = reader.vint()
        if not 1 <= number <= 4:
            raise ProtocolViolation(f"filter type {number:#x} is not 1 to 4", offset=start)
        kind = FilterType(number)
        if kind in (FilterType.NEXT_GROUP_START, FilterType.LARGEST_OBJECT):
            return Filter(kind)
        first = Location(reader.vint(), reader.vint())
        if kind is FilterType.ABSOLUTE_START:
            return Filter(kind, first)
        end = reader.vint() + (first.group if end_is_delta else 0)
        if end > MAX_TYPE:
            # "If the resulting Group ID would be greater than 2^64 - 1" (18 section 5.1.2).
            raise ProtocolViolation("the end group of a filter is above 2^64-1", offset=start)
        return Filter(kind, first, end)

    def push(writer: Writer, value: Filter, draft: Draft) -> None:
        if not 1 <= value.type <= 4:
            raise LocalProtocolError(f"{draft.name} has no filter of type {value.type.name}")
        writer.vint(value.type)
        if value.type in (FilterType.NEXT_GROUP_START, FilterType.LARGEST_OBJECT):
            return
        if value.start is None:
            raise LocalProtocolError(f"a filter of type {value.type.name} needs a start")
        writer.vint(value.start.group)
        writer.vint(value.start.object)
        if value.type is FilterType.ABSOLUTE_RANGE:
            if value.end_group is None:
                raise LocalProtocolError("a filter of type ABSOLUTE_RANGE needs an end group")
            writer.vint(value.end_group - value.start.group if end_is_delta else value.end_group)

    return Codec("filter", pull, push)


FILTER_FIELDS = _filter(end_is_delta=False)
"Draft 14: in the message itself, the end group absolute (section 9.7)."
FILTER_ABSOLUTE = sized(_filter(end_is_delta=False), "a subscription filter")
"Drafts 15, 16: the end group absolute (section 5.1.2)."
FILTER_DELTA = sized(_filter(end_is_delta=True), "a subscription filter")
"Drafts 17-19: the end group as a difference from the start's (section 5.1.2)."


# From draft 20 a filter is a few fields, whose meaning their number (20, 21) or a type (22) tells
# (`location-filters`): groups back; start; start and end group; start and end.
_WITH_END = (FilterType.ABSOLUTE_RANGE, FilterType.FULL_RANGE)


def _filter_of_fields(fields: tuple[int, ...], start: int) -> Filter:
    if not fields:
        return Filter(FilterType.UNFILTERED)
    if len(fields) == 1:
        if not fields[0]:
            return Filter(FilterType.NEXT_GROUP_START)
        return Filter(FilterType.RELATIVE_START, groups_back=fields[0])
    first = Location(fields[0], fields[1])
    if len(fields) == 2:
        return Filter(FilterType.ABSOLUTE_START, first)
    end = first.group + fields[2]
    if end > MAX_TYPE:
        raise ProtocolViolation("the end group of a location filter is above 2^64-1", offset=start)
    if len(fields) == 3:
        return Filter(FilterType.ABSOLUTE_RANGE, first, end)
    return Filter(FilterType.FULL_RANGE, first, end, fields[3])


def _fields_of_filter(value: Filter) -> tuple[int, ...]:
    if value.type is FilterType.UNFILTERED:
        return ()
    if value.type is FilterType.NEXT_GROUP_START:
        return (0,)
    given: list[int | None] = [value.groups_back]
    if value.type is not FilterType.RELATIVE_START:
        given = [None] if value.start is None else [value.start.group, value.start.object]
    if value.type in _WITH_END and value.start is not None and value.end_group is not None:
        given.append(value.end_group - value.start.group)
        given += [value.end_object] if value.type is FilterType.FULL_RANGE else []
    if None in given or (value.type in _WITH_END and len(given) < 3):
        raise LocalProtocolError(f"a filter of type {value.type.name} lacks its start or its end")
    return tuple(number for number in given if number is not None)


def _pull_counted_filter(reader: Reader, _: Draft) -> Filter:
    start = reader.offset
    fields: list[int] = []
    while not reader.at_end:
        if len(fields) == 4:
            raise ProtocolViolation("a location filter of more than four fields", offset=start)
        fields.append(reader.vint())
    if fields == [0, 0]:
        return Filter(FilterType.LARGEST_OBJECT)
    return _filter_of_fields(tuple(fields), start)


def _push_counted_filter(writer: Writer, value: Filter, draft: Draft) -> None:
    fields = (0, 0) if value.type is FilterType.LARGEST_OBJECT else _fields_of_filter(value)
    if fields == (0, 0) and value.type is FilterType.ABSOLUTE_START:
        raise LocalProtocolError(
            f"{draft.name} cannot write a filter that starts at {{0, 0}} and is open: those bytes mean the "
            "next object; leave it out"
        )
    for number in fields:
        writer.vint(number)


_NEXT_OBJECT = 0x5
"The one filter type of 22 that is not the number of its fields."


def _pull_typed_filter(reader: Reader, _: Draft) -> Filter:
    start = reader.offset
    number = reader.vint()
    if number == _NEXT_OBJECT:
        return Filter(FilterType.LARGEST_OBJECT)
    if number > _NEXT_OBJECT:
        raise ProtocolViolation(f"location filter type {number:#x} is not 0 to 5", offset=start)
    return _filter_of_fields(tuple(reader.vint() for _ in range(number)), start)


def _push_typed_filter(writer: Writer, value: Filter, _: Draft) -> None:
    if value.type is FilterType.LARGEST_OBJECT:
        writer.vint(_NEXT_OBJECT)
        return
    fields = _fields_of_filter(value)
    writer.vint(len(fields))
    for number in fields:
        writer.vint(number)


FILTER_COUNTED = sized(
    Codec("location filter", _pull_counted_filter, _push_counted_filter), "a location filter"
)
"Drafts 20, 21: a length, and up to four integers whose number tells what they are (section 5.1.2)."
FILTER_TYPED: Codec[Filter] = Codec("location filter", _pull_typed_filter, _push_typed_filter)
"From 22: a type, which is the number of integers behind it, but for Next Object (section 3.3.1)."


def range_filter(of_property: bool) -> Codec[RangeFilter]:
    """A range filter (`range-filters`); what is wrong in it is the request's error, not the session's.

    Args:
        of_property: It says of which property the numbers are.
    """

    def pull(reader: Reader, _: Draft) -> RangeFilter:
        if reader.at_end:
            return RangeFilter()
        set_id = reader.u8()
        property_type = reader.vint() if of_property else None
        ranges: list[tuple[int, int | None]] = []
        last = 0
        while not reader.at_end:
            first = last + reader.vint()
            end = None if reader.at_end else first + reader.vint()
            ranges.append((first, end))
            last = first if end is None else end
        return RangeFilter(set_id, tuple(ranges), property_type)

    def push(writer: Writer, value: RangeFilter, draft: Draft) -> None:
        if value.set_id is None:
            return
        U8.push(writer, value.set_id, draft)
        if of_property != (value.property_type is not None):
            raise LocalProtocolError("a property type belongs to the filters on properties, and only there")
        if value.property_type is not None:
            writer.vint(value.property_type)
        last = 0
        for number, (first, end) in enumerate(value.ranges, 1):
            if (
                first < last
                or (end is not None and end < first)
                or (end is None and number < len(value.ranges))
            ):
                raise LocalProtocolError(f"the ranges {value.ranges} do not ascend to at most one open end")
            writer.vint(first - last)
            if end is not None:
                writer.vint(end - first)
                last = end

    return sized(Codec("range filter", pull, push), "a range filter")


def _pull_update_range(reader: Reader, _: Draft) -> Filter:
    start = Location(reader.vint(), reader.vint())
    end = reader.vint()
    if end == 0:
        return Filter(FilterType.ABSOLUTE_START, start)
    return Filter(FilterType.ABSOLUTE_RANGE, start, end - 1)


def _push_update_range(writer: Writer, value: Filter, _: Draft) -> None:
    start = value.start or Location(0, 0)
    writer.vint(start.group)
    writer.vint(start.object)
    writer.vint(0 if value.end_group is None else value.end_group + 1)


UPDATE_RANGE: Codec[Filter] = Codec("filter", _pull_update_range, _push_update_range)
"Draft 14's SUBSCRIBE_UPDATE: start, then the end group plus one, 0 for open (section 9.10)."


# ---- key-value pairs -------------------------------------------------------------------------------


def pull_pair_value(reader: Reader, number: int) -> int | bytes:
    """A value written by its type's parity: even an integer, odd a length and bytes (`key-value-pair`)."""
    if number % 2 == 0:
        return reader.vint()
    return reader.octets(MAX_VALUE, f"the value of key {number:#x}")


def push_pair_value(writer: Writer, number: int, value: int | bytes) -> None:
    """The reverse of `pull_pair_value`."""
    if (number % 2 == 0) != isinstance(value, int):
        wanted = "an integer" if number % 2 == 0 else "bytes"
        raise LocalProtocolError(f"the value of key {number:#x} must be {wanted}, not {value!r}")
    if isinstance(value, int):
        writer.vint(value)
    else:
        writer.octets(value)


def pull_type(reader: Reader, draft: Draft, previous: int) -> int:
    """The type of the next pair, absolute whatever the draft writes."""
    start = reader.offset
    number = reader.vint()
    if draft.delta_types:
        number += previous
        if number > MAX_TYPE:
            raise ProtocolViolation("the sum of key-value type differences overflows", offset=start)
    return number


def push_type(writer: Writer, draft: Draft, number: int, previous: int) -> None:
    """The reverse of `pull_type`; `number` may not be below `previous` where types are differences."""
    writer.vint(number - previous if draft.delta_types else number)


def _pull_pairs(reader: Reader, draft: Draft, more: Callable[[], bool]) -> Iterable[tuple[int, Any]]:
    number = 0
    while more():
        number = pull_type(reader, draft, number)
        yield number, pull_pair_value(reader, number)


def in_wire_order(pairs: Iterable[tuple[int, Any]], draft: Draft) -> list[tuple[int, Any]]:
    """Pairs in the order a draft writes them: ascending where types are differences, else as given."""
    listed = list(pairs)
    if draft.delta_types:
        listed.sort(key=lambda pair: pair[0])
    return listed


def _push_pairs(writer: Writer, draft: Draft, pairs: Iterable[tuple[int, Any]]) -> None:
    previous = 0
    for number, value in in_wire_order(pairs, draft):
        push_type(writer, draft, number, previous)
        push_pair_value(writer, number, value)
        previous = number


def _pull_properties_to_end(reader: Reader, draft: Draft) -> Properties:
    return KeyValues(_pull_pairs(reader, draft, lambda: not reader.at_end))


def _push_properties_to_end(writer: Writer, value: Properties, draft: Draft) -> None:
    _push_pairs(writer, draft, value.pairs)


PROPERTIES_TO_END: Codec[Properties] = Codec("properties", _pull_properties_to_end, _push_properties_to_end)
"Properties without a length of their own: pairs to the end of what holds them."

# "If an endpoint receives a value outside this range, it MUST close the session with
# PROTOCOL_VIOLATION" (`group-order-pref`, and alike for DYNAMIC_GROUPS).
_TRACK_PROPERTY_VALUES = {Property.DEFAULT_PUBLISHER_GROUP_ORDER: (1, 2), Property.DYNAMIC_GROUPS: (0, 1)}


def _pull_track_properties(reader: Reader, draft: Draft) -> Properties:
    start = reader.offset
    properties = _pull_properties_to_end(reader, draft)
    for known, allowed in _TRACK_PROPERTY_VALUES.items():
        for value in properties.all(known):
            if value not in allowed:
                good = " or ".join(map(str, allowed))
                raise ProtocolViolation(f"{known.name} is {value}, must be {good}", offset=start)
    return properties


TRACK_PROPERTIES: Codec[Properties] = Codec("properties", _pull_track_properties, _push_properties_to_end)
"Track properties: pairs to the end of the message (16 on)."

PROPERTIES: Codec[Properties] = sized(PROPERTIES_TO_END, "a properties block", limit=None)
"Object properties: a length in bytes, then pairs; the drafts set the whole block no limit."


# Where a draft does not know an option it is ignored, however often it comes (`setup-options`).
_UNREPEATABLE_OPTIONS: dict[int, Span] = {
    SetupOption.PATH: drafts(14),
    SetupOption.MAX_REQUEST_ID: drafts(14, 16),
    SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE: drafts(14),
    SetupOption.AUTHORITY: drafts(14),
    SetupOption.MAX_FILTER_RANGES: drafts(19),
    SetupOption.MOQT_IMPLEMENTATION: drafts(14),
    SetupOption.MAX_REQUEST_UPDATES: drafts(19),
}


def _pull_options(reader: Reader, draft: Draft) -> Options:
    if draft.counted_options:
        left = iter(range(reader.vint()))
        more: Callable[[], bool] = lambda: next(left, None) is not None  # noqa: E731
    else:
        more = lambda: not reader.at_end  # noqa: E731
    pairs: list[tuple[int, Any]] = []
    number = 0
    while more():
        at = reader.offset
        number = pull_type(reader, draft, number)
        is_known = draft.number in _UNREPEATABLE_OPTIONS.get(number, ())
        if is_known and any(number == key for key, _ in pairs):
            raise ProtocolViolation(f"setup option {SetupOption(number).name} twice", offset=at)
        is_token = number == SetupOption.AUTHORIZATION_TOKEN
        try:
            pairs.append((number, TOKEN.pull(reader, draft) if is_token else pull_pair_value(reader, number)))
        except NeedMoreData:
            if not is_known and not is_token:
                raise
            # "If a receiver understands a Type, and the following Value or Length/Value does not match the
            # serialization defined by that Type" (`key-value-pair`).
            name = SetupOption(number).name
            raise KeyValueFormattingError(f"setup option {name} ends too early", offset=at) from None
    return KeyValues(pairs)


def _push_options(writer: Writer, value: Options, draft: Draft) -> None:
    if draft.counted_options:
        writer.vint(len(value.pairs))
    previous = 0
    for number, item in in_wire_order(value.pairs, draft):
        push_type(writer, draft, number, previous)
        if isinstance(item, Token):
            TOKEN.push(writer, item, draft)
        else:
            push_pair_value(writer, number, item)
        previous = number


OPTIONS: Codec[Options] = Codec("options", _pull_options, _push_options)


# ---- fields ----------------------------------------------------------------------------------------


class Plain(Record):
    """One codec for one attribute."""

    name: str
    codec: Codec[Any]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute has the field's name."""
        return (self.name,)

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read the attribute."""
        values[self.name] = self.codec.pull(reader, draft)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write the attribute."""
        value = getattr(message, self.name)
        if value is None:
            raise LocalProtocolError(f"{type(message).__name__}.{self.name} must be given in {draft.name}")
        self.codec.push(writer, value, draft)


class Optional(Record):
    """A field at the end that is there if bytes remain, or if `when` holds for what was read before."""

    name: str
    codec: Codec[Any]
    when: Callable[[Any], bool] | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute has the field's name."""
        return (self.name,)

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read the attribute if it is there."""
        if not reader.at_end if self.when is None else self.when(values):
            values[self.name] = self.codec.pull(reader, draft)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write the attribute if it is given."""
        value = getattr(message, self.name)
        if self.when is not None and self.when(vars(message)) != (value is not None):
            raise LocalProtocolError(f"{type(message).__name__}.{self.name} does not fit its other values")
        if value is not None:
            self.codec.push(writer, value, draft)


class Lifted(Record):
    """A fixed field of draft 14 that a message carries among its parameters or track properties."""

    key: Any
    codec: Codec[Any]
    default: Any
    "Written when the message does not give it."
    drop: Any = None
    "The value that means absent: not lifted when read."
    into: str = "parameters"

    @property
    def name(self) -> str:
        """The parameter's or property's name."""
        return str(getattr(self.key, "name", self.key)).lower()

    @property
    def attributes(self) -> tuple[str, ...]:
        """The collection it is part of."""
        return (self.into,)

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read and add to the collection."""
        value = self.codec.pull(reader, draft)
        if value != self.drop:
            lifted = values.setdefault(self.into, KeyValues())
            values[self.into] = KeyValues((*lifted.pairs, (self.key, value)))

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write from the collection."""
        self.codec.push(writer, getattr(message, self.into).get(self.key, self.default), draft)


class LiftedLargest(Record):
    """Draft 14's Content Exists and Largest Location, carried as LARGEST_OBJECT."""

    name: str = "content_exists"
    attributes: tuple[str, ...] = ("parameters",)

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read and add to the parameters."""
        if CONTENT_EXISTS.pull(reader, draft):
            lifted = values.setdefault("parameters", KeyValues())
            location = LOCATION.pull(reader, draft)
            values["parameters"] = KeyValues((*lifted.pairs, (Parameter.LARGEST_OBJECT, location)))

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write from the parameters."""
        parameters: Parameters = message.parameters  # type: ignore[attr-defined]
        largest = parameters.get(Parameter.LARGEST_OBJECT)
        writer.u8(largest is not None)
        if largest is not None:
            LOCATION.push(writer, largest, draft)


CONTENT_EXISTS = limited(U8, (0, 1), "Content Exists")


class RequiredRequestId(Record):
    """Draft 17's Required Request ID Delta: on which earlier request this one depends (section 9.2).

    Dependencies order what a receiver delivers, and are not kept: 0, no dependency, is written.
    """

    name: str = "required_request_id_delta"
    attributes: tuple[str, ...] = ()

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:  # noqa: ARG002 - a Field
        """Check it and skip it."""
        start = reader.offset
        delta = reader.vint()
        if 2 * delta > values["request_id"]:
            raise InvalidRequiredRequestId(
                f"Required Request ID Delta {delta} reaches before the first request", offset=start
            )

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:  # noqa: ARG002 - a Field
        """Write no dependency."""
        writer.vint(0)


class Constant(Record):
    """A field that is always written with one value and not kept when read."""

    name: str
    codec: Codec[Any]
    value: Any
    attributes: tuple[str, ...] = ()

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:  # noqa: ARG002 - a Field
        """Skip it."""
        self.codec.pull(reader, draft)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:  # noqa: ARG002 - a Field
        """Write it."""
        self.codec.push(writer, self.value, draft)


class FullTrackName(Record):
    """Track namespace and track name, together at most 4096 bytes (`track-name`)."""

    namespace: str = "track_namespace"
    codec: Codec[TrackNamespace] = NAMESPACE
    name: str = "full track name"

    @property
    def attributes(self) -> tuple[str, ...]:
        """Both attributes."""
        return (self.namespace, "track_name")

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read both."""
        values[self.namespace], values["track_name"] = pull_full_name(reader, draft, self.codec)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write both."""
        track: Any = message
        push_full_name(writer, getattr(track, self.namespace), track.track_name, draft, self.codec)


def pull_full_name(
    reader: Reader, draft: Draft, codec: Codec[TrackNamespace] = NAMESPACE
) -> tuple[TrackNamespace, bytes]:
    """A namespace and a track name."""
    start = reader.offset
    namespace = codec.pull(reader, draft)
    name = TRACK_NAME.pull(reader, draft)
    if sum(map(len, namespace)) + len(name) > MAX_FULL_TRACK_NAME:
        raise ProtocolViolation(f"a Full Track Name of more than {MAX_FULL_TRACK_NAME} bytes", offset=start)
    return namespace, name


def push_full_name(
    writer: Writer,
    namespace: TrackNamespace,
    name: bytes,
    draft: Draft,
    codec: Codec[TrackNamespace] = NAMESPACE,
) -> None:
    """The reverse of `pull_full_name`."""
    if sum(map(len, namespace)) + len(name) > MAX_FULL_TRACK_NAME:
        raise LocalProtocolError(f"a Full Track Name of more than {MAX_FULL_TRACK_NAME} bytes")
    codec.push(writer, namespace, draft)
    writer.octets(name)


class ErrorCode(Record):
    """A code of a registry, carried by name; `space` as in `registries.Code.spaces`."""

    name: str
    table: CodeTable[Any]
    space: str = ""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute has the field's name."""
        return (self.name,)

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read the number and name it."""
        values[self.name] = self.table.name(reader.vint(), draft.number, self.space)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write the number of the name."""
        name = getattr(message, self.name)
        number = self.table.value(name, draft.number, self.space)
        if number is None:
            raise LocalProtocolError(f"{draft.name} has no {name} among its {self.table.registry}")
        writer.vint(number)


class FetchRange(Record):
    """FETCH's type and what follows from it, drafts 14-19 (`message-fetch`)."""

    name: str = "range"
    attributes: tuple[str, ...] = ("range",)

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read the type and its fields."""
        start = reader.offset
        number = reader.vint()
        if number == 0x1:
            namespace, name = pull_full_name(reader, draft)
            values["range"] = StandaloneFetch(
                namespace, name, LOCATION.pull(reader, draft), LOCATION.pull(reader, draft)
            )
        elif number in (0x2, 0x3):
            values["range"] = JoiningFetch(reader.vint(), reader.vint(), relative=number == 0x2)
        else:
            raise ProtocolViolation(f"fetch type {number:#x} is not 1 to 3", offset=start)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write the type and its fields."""
        value: StandaloneFetch | JoiningFetch | FilteredFetch = message.range  # type: ignore[attr-defined]
        if isinstance(value, FilteredFetch):
            raise LocalProtocolError(f"{draft.name} fetches from a start to an end only, or joins")
        if isinstance(value, StandaloneFetch):
            writer.vint(0x1)
            push_full_name(writer, value.track_namespace, value.track_name, draft)
            LOCATION.push(writer, value.start, draft)
            LOCATION.push(writer, value.end, draft)
        else:
            writer.vint(0x2 if value.relative else 0x3)
            writer.vint(value.joining_request_id)
            writer.vint(value.joining_start)
