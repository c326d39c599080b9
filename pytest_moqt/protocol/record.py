"""Immutable values with named fields, as frozen dataclasses are, made without compiling anything.

`@dataclass(frozen=True)` writes and compiles six functions for each class, about half a millisecond; the
hundred classes of this package would cost a run of the client a tenth of its start. `Record` has those
functions once, for all. To type checkers, and to `dataclasses.fields` and `replace`, a record is a frozen
dataclass. A class of which one is made for each object of a stream has its own `__init__`: the one for all
takes five times as long.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NoReturn, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Record:
    """Base of immutable values; `__post_init__`, where a class has it, may replace fields by `_set`."""

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _compared: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # it is one now
        cls._names = tuple(field.name for field in fields)
        cls._defaults = {
            field.name: field.default for field in fields if field.default is not dataclasses.MISSING
        }
        cls._compared = tuple(field.name for field in fields if field.compare)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = self._names
        values = self.__dict__
        values.update(self._defaults)
        if args:
            if len(args) > len(names):
                raise TypeError(f"{type(self).__name__} takes {len(names)} values, not {len(args)}")
            values.update(zip(names, args, strict=False))
        for name in kwargs:
            if name not in names or name in names[: len(args)]:
                raise TypeError(f"{type(self).__name__} has no {name!r}, or has it already")
        values.update(kwargs)
        if len(values) != len(names):
            missing = ", ".join(name for name in names if name not in values)
            raise TypeError(f"{type(self).__name__} needs {missing}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Nothing to do; a class may check or complete its fields here."""

    def _set(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _values(self) -> tuple[Any, ...]:
        values = self.__dict__
        return tuple([values[name] for name in self._compared])

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        assert isinstance(other, Record)
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        values = self.__dict__
        said = [f"{field.name}={values[field.name]!r}" for field in dataclasses.fields(self) if field.repr]  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(said)})"
