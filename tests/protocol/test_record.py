"""Records: what those that write their own `__init__` must keep."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator

import pytest

from pytest_moqt.protocol import events, objects, transport, values
from pytest_moqt.protocol.record import Record


def _own() -> Iterator[type[Record]]:
    for module in (events, objects, transport, values):
        for each in vars(module).values():
            if (
                inspect.isclass(each)
                and issubclass(each, Record)
                and each is not Record
                and "__init__" in vars(each)
            ):
                yield each


OWN = sorted(set(_own()), key=lambda each: each.__name__)


def test_what_is_made_for_each_object_is_quick_to_make() -> None:
    """None is forgotten below."""
    assert [each.__name__ for each in OWN] == [
        *("Location", "ObjectPart", "ObjectReceived", "StreamData", "StreamObject")
    ]


@pytest.mark.parametrize("record", OWN, ids=lambda each: each.__name__)
def test_an_init_of_its_own_sets_the_fields(record: type[Record]) -> None:
    """Each by its name, in their order, and with their defaults."""
    fields = dataclasses.fields(record)  # type: ignore[arg-type]  # it is one
    parameters = list(inspect.signature(record).parameters.values())
    given = {field.name: object() for field in fields}

    made = record(**given)

    assert vars(made) == given
    assert [each.name for each in parameters] == [field.name for field in fields]
    missing = dataclasses.MISSING
    defaults = [missing if each.default is each.empty else each.default for each in parameters]
    assert defaults == [field.default for field in fields]
