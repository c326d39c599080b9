"""Messages and objects as JSON values, and back: what `decode` prints and `encode` reads.

The notation:

- A message is an object with its class in `message` and its fields by name; fields that have their
  default may be left out when writing by hand, and are when they say nothing.
- Bytes are a text when they are printable UTF-8, else `0x` and hexadecimal; a text that begins with `0x`
  is written in hexadecimal, so that every value has one meaning.
- Parameters, options and properties are objects by name, `0x` and a number where there is none; a key
  that repeats has a list of values.
- Codes are names, or numbers where the draft registers none.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Any

from pytest_moqt.protocol import messages, objects
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.values import (
    Filter,
    GroupOrder,
    KeyValues,
    Location,
    RangeFilter,
    Token,
    TrackNamespace,
)

KINDS: dict[str, type[Record]] = {
    name: kind
    for module in (messages, objects)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Record) and kind.__module__ == module.__name__
}
"Everything that can stand alone, by class name."

_PARAMETER_TYPES: dict[Parameter, Any] = {
    Parameter.AUTHORIZATION_TOKEN: Token,
    Parameter.LARGEST_OBJECT: Location,
    Parameter.SUBSCRIPTION_FILTER: Filter,
    Parameter.TRACK_NAMESPACE_PREFIX: TrackNamespace,
    Parameter.GROUP_ORDER: GroupOrder | int,
    Parameter.SUBGROUP_FILTER: RangeFilter,
    Parameter.OBJECTID_FILTER: RangeFilter,
    Parameter.PRIORITY_FILTER: RangeFilter,
    Parameter.OBJECT_PROPERTY_FILTER: RangeFilter,
    Parameter.TRACK_PROPERTY_FILTER: RangeFilter,
    Parameter.FILL_PARAMETERS: KeyValues,
}
_KEYS: dict[str, type[Enum]] = {
    "parameters": Parameter,
    "options": SetupOption,
    "track_properties": Property,
    "properties": Property,
}


class NotationError(ValueError):
    """A JSON value that stands for nothing here; the text is one sentence that says where and why."""


def to_json(value: Any) -> Any:
    """A message, an object or a value inside as what `json.dumps` takes."""
    if isinstance(value, Record):
        said = {name: getattr(value, name) for name in value._names}
        fields = {name: value_to_json(name, item) for name, item in said.items() if _says(value, name, item)}
        kind = type(value).__name__
        return {"message": kind, **fields} if kind in KINDS else fields
    if isinstance(value, bytes):
        return _bytes_to_json(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, KeyValues):
        # Only parameters are ever inside another value (FILL_PARAMETERS).
        return _pairs_to_json(value, Parameter)
    return value


def value_to_json(name: str, value: Any) -> Any:
    """A value of the field of that name, as it stands in the JSON of its message."""
    return _pairs_to_json(value, _KEYS[name]) if isinstance(value, KeyValues) else to_json(value)


def _says(record: Record, name: str, value: Any) -> bool:
    """Whether a field is worth writing: not when it has its default and that is nothing."""
    return name not in record._defaults or bool(value) or value != record._defaults[name]


def _bytes_to_json(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"
    return text if text.isprintable() and not text.startswith("0x") else f"0x{value.hex()}"


def _pairs_to_json(pairs: KeyValues[Any, Any], keys: type[Enum]) -> dict[str, Any]:
    names = {member.value: name for name, member in keys.__members__.items()}
    said: dict[str, Any] = {}
    for key, values in pairs.grouped().items():
        name = names.get(key) or f"{key:#x}"
        every = [to_json(value) for value in values]
        said[name] = every[0] if len(every) == 1 else every
    return said


def from_json(data: Any) -> Record:
    """The message or object that a JSON value stands for.

    Raises:
        NotationError: It stands for none.
    """
    if not isinstance(data, Mapping) or "message" not in data:
        raise NotationError('a message is an object with its class in "message"')
    kind = KINDS.get(str(data["message"]))
    if kind is None:
        raise NotationError(f"{data['message']!r} is no message: {', '.join(KINDS)}")
    return _record(kind, {key: value for key, value in data.items() if key != "message"}, kind.__name__)


def _record(kind: type[Record], data: Mapping[str, Any], where: str) -> Record:
    hints = typing.get_type_hints(kind)
    fields: dict[str, Any] = {}
    for name, value in data.items():
        if name not in kind._names:
            raise NotationError(f"{where} has no field {name!r}: {', '.join(kind._names)}")
        here = f"{where}.{name}"
        if name in _KEYS and isinstance(value, Mapping):
            fields[name] = _pairs_from_json(_KEYS[name], value, here)
        else:
            fields[name] = _value(hints[name], value, here)
    try:
        return kind(**fields)
    except TypeError as error:
        raise NotationError(f"{where}: {error}") from None


def _pairs_from_json(keys: type[Enum], data: Mapping[str, Any], where: str) -> KeyValues[Any, Any]:
    pairs: list[tuple[Any, Any]] = []
    for name, value in data.items():
        here = f"{where}.{name}"
        key: Any = keys.__members__.get(name)
        if key is None:
            try:
                key = int(name, 0)
            except ValueError:
                known = ", ".join(keys.__members__)
                raise NotationError(f"{here}: no such key; use a number or one of {known}") from None
        kind = _PARAMETER_TYPES.get(key, int) if isinstance(key, Parameter) else _kind_of(key, keys)
        repeats = isinstance(value, list) and kind is not TrackNamespace
        for item in value if repeats else [value]:
            pairs.append((key, _value(kind, item, here)))
    return KeyValues(pairs)


def _kind_of(key: int, keys: type[Enum]) -> Any:
    if keys is SetupOption and key == SetupOption.AUTHORIZATION_TOKEN:
        return Token
    return int if int(key) % 2 == 0 else bytes


def _value(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _choice(typing.get_args(kind), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise NotationError(f"{where} must be a list, not {data!r}")
        items = typing.get_args(kind)
        if items[-1] is not Ellipsis and len(items) != len(data):
            raise NotationError(f"{where} must be a list of {len(items)}, not of {len(data)}")
        kinds = [items[0]] * len(data) if items[-1] is Ellipsis else items
        return tuple(
            _value(item, entry, f"{where}[{number}]")
            for number, (item, entry) in enumerate(zip(kinds, data, strict=True))
        )
    if kind is KeyValues:
        if not isinstance(data, Mapping):
            raise NotationError(f"{where} must be an object, not {data!r}")
        return _pairs_from_json(Parameter, data, where)
    if kind is bytes:
        return _bytes_from_json(data, where)
    if kind in (int, bool, str):
        if type(data) is not kind:
            raise NotationError(f"{where} must be {_named(kind)}, not {data!r}")
        return data
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind, data, where)
    if isinstance(kind, type) and issubclass(kind, Record):
        if not isinstance(data, Mapping):
            raise NotationError(f"{where} must be an object, not {data!r}")
        inner = {key: value for key, value in data.items() if key != "message"}
        return _record(kind, inner, where)
    raise NotationError(f"{where}: {data!r} cannot be written")


def _choice(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and types.NoneType in kinds:
        return None
    named = data.get("message") if isinstance(data, Mapping) else None
    error = NotationError(f"{where}: {data!r} does not fit")
    for kind in kinds:
        if kind is types.NoneType or (named and getattr(kind, "__name__", "") != named):
            continue
        try:
            return _value(kind, data, where)
        except NotationError as failed:
            error = failed
    raise error


def _member(kind: type[Enum], data: Any, where: str) -> Enum:
    if isinstance(data, str) and data in kind.__members__:
        return kind.__members__[data]
    if issubclass(kind, IntEnum) and type(data) is int:
        try:
            return kind(data)
        except ValueError:
            pass
    raise NotationError(f"{where}: {data!r} is none of {', '.join(kind.__members__)}")


def _bytes_from_json(data: Any, where: str) -> bytes:
    if not isinstance(data, str):
        raise NotationError(f"{where} must be a text, or 0x and hexadecimal, not {data!r}")
    if not data.startswith("0x"):
        return data.encode()
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        raise NotationError(f"{where}: {data!r} is not hexadecimal") from None


def _named(kind: type) -> str:
    return {int: "a whole number", bool: "true or false", str: "a text"}[kind]
