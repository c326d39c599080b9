"""What the relay must understand of a track's properties before it passes the track on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import KeyValueFormattingError, NeedMoreData
from pytest_moqt.protocol.fields import TRACK_PROPERTIES
from pytest_moqt.protocol.messages import RequestError
from pytest_moqt.protocol.parameters import Properties, Property
from pytest_moqt.protocol.registries import RequestErrorCode

MANDATORY = range(0x4000, 0x8000)
"Properties that nobody may pass on without understanding them; this relay understands none of them."


def unknown_mandatory(properties: Properties, draft: Draft) -> int | None:
    """The first property that the relay would have to understand (`mandatory-track-properties`).

    Raises:
        ProtocolViolation: A property inside the immutable ones has a value that it may not have.
        KeyValueFormattingError: The immutable ones are no key-value pairs.
    """
    numbers = [number for number, _ in _all(properties, draft)]
    if not draft.mandatory_properties:
        return None
    return next((number for number in numbers if number in MANDATORY), None)


def unsupported(number: int) -> RequestError:
    """The refusal of a track for a property that the relay would have to understand."""
    reason = f"the track has property {number:#x}, which this relay does not understand"
    return RequestError(RequestErrorCode.UNSUPPORTED_EXTENSION, reason)


def _all(properties: Properties, draft: Draft) -> Iterator[tuple[int, Any]]:
    """Every property, the immutable ones too.

    "processors MUST search both the mutable properties and the contents of Immutable Properties" (18 section
    12.7).
    """
    for number, value in properties.pairs:
        yield number, value
        if number == Property.IMMUTABLE_PROPERTIES:
            try:
                yield from TRACK_PROPERTIES.pull(Reader(value, draft.integers), draft).pairs
            except NeedMoreData:
                raise KeyValueFormattingError("the immutable properties of a track end too early") from None
