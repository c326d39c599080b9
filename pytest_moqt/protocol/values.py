"""Values inside messages: locations, filters, tokens, redirects, and key-value collections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Generic, TypeVar

from pytest_moqt.protocol.record import Record

TrackNamespace = tuple[bytes, ...]
"A namespace, a prefix or a suffix: its fields, each a byte string (`track-name`)."


class Location(Record):
    """A place in a track: a group and an object in it; places are ordered."""

    group: int
    object: int

    def __init__(self, group: int, object: int) -> None:  # noqa: A002 - the field's name
        values = self.__dict__
        values["group"] = group
        values["object"] = object

    def __lt__(self, other: Location) -> bool:
        return (self.group, self.object) < (other.group, other.object)

    def __le__(self, other: Location) -> bool:
        return (self.group, self.object) <= (other.group, other.object)

    def __gt__(self, other: Location) -> bool:
        return (self.group, self.object) > (other.group, other.object)

    def __ge__(self, other: Location) -> bool:
        return (self.group, self.object) >= (other.group, other.object)

    def __str__(self) -> str:
        return f"{{{self.group}, {self.object}}}"


class FilterType(IntEnum):
    """Where a subscription starts and ends (`subscription-filters`, from 19 `location-filters`).

    The numbers are those of drafts 14-19; what has none there is a meaning of later drafts only.
    """

    UNFILTERED = 0x0
    "From 20: everything, said explicitly; what removes a filter in an update."
    NEXT_GROUP_START = 0x1
    LARGEST_OBJECT = 0x2
    "From the object after the largest on; Next Object in later drafts."
    ABSOLUTE_START = 0x3
    ABSOLUTE_RANGE = 0x4
    "To the end of the end group."
    RELATIVE_START = -1
    "From 20: so many groups before the next one; 1 is the current group."
    FULL_RANGE = -2
    "From 20: to an object of the end group, included."


class Filter(Record):
    """The part of a track that a subscription, or from draft 20 a fetch, asks for."""

    type: FilterType
    start: Location | None = None
    "Given with ABSOLUTE_START, ABSOLUTE_RANGE and FULL_RANGE only."
    end_group: int | None = None
    "The last group, included, as an absolute id, whatever a draft writes; with the ranges only."
    end_object: int | None = None
    "The last object, included; with FULL_RANGE only."
    groups_back: int | None = None
    "1 or more; with RELATIVE_START only."


class RangeFilter(Record):
    """A filter on numbers of objects or tracks (`range-filters`, from 19)."""

    set_id: int | None = None
    "Filters of one set must all fit, and one set must; None: removes the filter."
    ranges: tuple[tuple[int, int | None], ...] = ()
    "First and last, both included, ascending; the last range may be open (None)."
    property_type: int | None = None
    "Of what value; with the two filters on properties only."


class GroupOrder(IntEnum):
    """The order in which groups are delivered."""

    ASCENDING = 1
    DESCENDING = 2


class TokenAlias(IntEnum):
    """What a token structure does (`authorization-token`)."""

    DELETE = 0x0
    REGISTER = 0x1
    USE_ALIAS = 0x2
    USE_VALUE = 0x3


class Token(Record):
    """The value of AUTHORIZATION_TOKEN."""

    alias_type: TokenAlias
    alias: int | None = None
    "With DELETE, REGISTER and USE_ALIAS."
    type: int | None = None
    "With REGISTER and USE_VALUE; 0 is a type agreed out of band."
    value: bytes = b""
    "With REGISTER and USE_VALUE."


class Redirect(Record):
    """Where to ask instead (`redirect-structure`, from draft 18)."""

    connect_uri: str
    "Empty: the same relay."
    track_namespace: TrackNamespace
    track_name: bytes


K = TypeVar("K", bound=object)
V_co = TypeVar("V_co", covariant=True)


class KeyValues(Mapping[K, V_co], Generic[K, V_co]):
    """An immutable collection of pairs in wire order, in which a key may repeat.

    `[key]` and `get` give a key's first value, `all` every one. Two collections are equal when each
    key has the same values in the same order: the order among different keys carries no meaning.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Mapping[K, V_co] | Iterable[tuple[K, V_co]] = ()) -> None:
        if isinstance(pairs, KeyValues):
            pairs = pairs.pairs
        elif isinstance(pairs, Mapping):
            pairs = pairs.items()
        self.pairs: tuple[tuple[K, V_co], ...] = tuple(pairs)

    def all(self, key: K) -> tuple[V_co, ...]:
        """Every value of a key, in order."""
        return tuple(value for name, value in self.pairs if name == key)

    def __getitem__(self, key: K) -> V_co:
        for name, value in self.pairs:
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[K]:
        return iter(dict.fromkeys(name for name, _ in self.pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self.pairs})

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def grouped(self) -> dict[K, tuple[V_co, ...]]:
        """Every key with its values, in one pass: a peer's message may have tens of thousands of pairs."""
        grouped: dict[K, list[V_co]] = {}
        for key, value in self.pairs:
            grouped.setdefault(key, []).append(value)
        return {key: tuple(values) for key, values in grouped.items()}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, KeyValues):
            return self.grouped() == other.grouped()
        if isinstance(other, Mapping):
            return self == KeyValues(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key}: {value!r}" for key, value in self.pairs) + "}"
