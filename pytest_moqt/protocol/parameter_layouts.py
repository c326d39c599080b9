"""The table of message parameters: meaning x drafts -> number, value coding, and where it may appear.

A scope is the wire name of a message; replies that share REQUEST_OK are told apart by what they answer
(`PUBLISH_OK`, `TRACK_STATUS_OK`, `REQUEST_UPDATE_OK`, ...).

Sources: draft 14 section 9.2.1, 16 sections 9.2 and 13.2, 18 sections 10.2 and 15.7; `message-params`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from pytest_moqt.protocol.buffer import Reader, Writer
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import KeyValueFormattingError, LocalProtocolError, ProtocolViolation
from pytest_moqt.protocol.fields import (
    FILTER_ABSOLUTE,
    FILTER_DELTA,
    LOCATION,
    PREFIX,
    TOKEN,
    U8,
    VINT,
    Codec,
    in_wire_order,
    limited,
    positive,
    pull_pair_value,
    pull_type,
    push_pair_value,
    push_type,
    sized,
)
from pytest_moqt.protocol.messages import Message
from pytest_moqt.protocol.parameters import Parameter, Parameters
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.protocol.values import KeyValues

_P = Parameter


class ParameterLayout(Record):
    """How the drafts of `span` write one parameter."""

    parameter: Parameter
    number: int
    codec: Codec[Any]
    span: Span
    scope: frozenset[str]
    repeatable: bool = False


def _scope(names: str) -> frozenset[str]:
    return frozenset(names.split())


_FORWARD = (0, 1)
_ORDER = (1, 2)
_TIMEOUT_14 = _scope(
    "SUBSCRIBE SUBSCRIBE_OK SUBSCRIBE_UPDATE PUBLISH PUBLISH_OK TRACK_STATUS TRACK_STATUS_OK"
)
_TIMEOUT_16 = _scope("SUBSCRIBE REQUEST_UPDATE PUBLISH_OK")
_TOKENS = "SUBSCRIBE REQUEST_UPDATE PUBLISH SUBSCRIBE_NAMESPACE PUBLISH_NAMESPACE TRACK_STATUS FETCH"
_LARGEST = _scope("SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK")
_FORWARDING = "SUBSCRIBE REQUEST_UPDATE PUBLISH PUBLISH_OK"
_ORDERED = _scope("SUBSCRIBE PUBLISH_OK FETCH")
_PRIORITISED = _scope("SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH_OK")
_FILTERED = _scope("SUBSCRIBE PUBLISH_OK REQUEST_UPDATE")

PARAMETER_LAYOUTS: tuple[ParameterLayout, ...] = (
    ParameterLayout(_P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(14, 14), _TIMEOUT_14),
    # "DELIVERY_TIMEOUT, if present, MUST contain a value greater than 0" (16 section 9.2.2.2).
    ParameterLayout(
        _P.OBJECT_DELIVERY_TIMEOUT, 0x02, positive(VINT, "DELIVERY_TIMEOUT"), drafts(16, 16), _TIMEOUT_16
    ),
    ParameterLayout(_P.OBJECT_DELIVERY_TIMEOUT, 0x02, VINT, drafts(17), _TIMEOUT_16),
    ParameterLayout(
        _P.AUTHORIZATION_TOKEN,
        0x03,
        TOKEN,
        drafts(14, 14),
        _scope(_TOKENS.replace("REQUEST_UPDATE", "SUBSCRIBE_UPDATE")),
        repeatable=True,
    ),
    ParameterLayout(_P.AUTHORIZATION_TOKEN, 0x03, TOKEN, drafts(16, 17), _scope(_TOKENS), repeatable=True),
    ParameterLayout(
        _P.AUTHORIZATION_TOKEN,
        0x03,
        TOKEN,
        drafts(18),
        _scope(_TOKENS + " SUBSCRIBE_TRACKS"),
        repeatable=True,
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
    ParameterLayout(_P.RENDEZVOUS_TIMEOUT, 0x04, VINT, drafts(17), _scope("SUBSCRIBE")),
    ParameterLayout(_P.SUBGROUP_DELIVERY_TIMEOUT, 0x06, VINT, drafts(18), _TIMEOUT_16),
    ParameterLayout(_P.EXPIRES, 0x08, VINT, drafts(15, 16), _scope("SUBSCRIBE_OK PUBLISH PUBLISH_OK")),
    ParameterLayout(
        _P.EXPIRES, 0x08, VINT, drafts(17), _scope("SUBSCRIBE_OK PUBLISH PUBLISH_OK REQUEST_UPDATE_OK")
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
    ParameterLayout(_P.LARGEST_OBJECT, 0x09, LOCATION, drafts(17), _LARGEST),
    ParameterLayout(_P.FILL_TIMEOUT, 0x0A, VINT, drafts(18), _scope("FETCH")),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(VINT, _FORWARD, "FORWARD"),
        drafts(15, 16),
        _scope(_FORWARDING + " SUBSCRIBE_NAMESPACE"),
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(U8, _FORWARD, "FORWARD"),
        drafts(17, 17),
        _scope(_FORWARDING + " SUBSCRIBE_NAMESPACE"),
    ),
    ParameterLayout(
        _P.FORWARD,
        0x10,
        limited(U8, _FORWARD, "FORWARD"),
        drafts(18),
        _scope(_FORWARDING + " SUBSCRIBE_TRACKS"),
    ),
    ParameterLayout(
        _P.SUBSCRIBER_PRIORITY,
        0x20,
        limited(VINT, range(256), "SUBSCRIBER_PRIORITY"),
        drafts(15, 16),
        _PRIORITISED,
    ),
    ParameterLayout(_P.SUBSCRIBER_PRIORITY, 0x20, U8, drafts(17), _PRIORITISED),
    ParameterLayout(_P.SUBSCRIPTION_FILTER, 0x21, FILTER_ABSOLUTE, drafts(15, 16), _FILTERED),
    ParameterLayout(_P.SUBSCRIPTION_FILTER, 0x21, FILTER_DELTA, drafts(17, 19), _FILTERED),
    ParameterLayout(_P.GROUP_ORDER, 0x22, limited(VINT, _ORDER, "GROUP_ORDER"), drafts(15, 16), _ORDERED),
    ParameterLayout(_P.GROUP_ORDER, 0x22, limited(U8, _ORDER, "GROUP_ORDER"), drafts(17), _ORDERED),
    ParameterLayout(
        _P.NEW_GROUP_REQUEST, 0x32, VINT, drafts(15), _scope("PUBLISH_OK SUBSCRIBE REQUEST_UPDATE")
    ),
    # The text says a Track Namespace (`track-namespace-prefix-param`); one implementation puts a length
    # before it.
    ParameterLayout(_P.TRACK_NAMESPACE_PREFIX, 0x34, PREFIX, drafts(18), _scope("REQUEST_UPDATE")),
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
    requests only: which reply a REQUEST_OK is shows not before it is matched, and relays in the field
    put GROUP_ORDER into SUBSCRIBE_OK, which harms nobody.
    """

    scopes: frozenset[str]
    "Wire names; several for a reply that answers several requests."
    strict: bool
    lifted: frozenset[Parameter] = frozenset()
    "Parameters that other fields of this layout carry (draft 14)."
    name: str = "parameters"
    attributes: tuple[str, ...] = ("parameters",)

    def _named(self) -> str:
        return " or ".join(sorted(self.scopes))

    def pull(self, reader: Reader, draft: Draft, values: dict[str, Any]) -> None:
        """Read them, behind those that earlier fields gave."""
        known = _by_number(draft.number)
        pairs: list[tuple[Any, Any]] = list(values.get("parameters", KeyValues()).pairs)
        number = 0
        for _ in range(reader.vint()):
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
                    f"parameter {row.parameter} ({number:#x}) may not be in {self._named()}",
                    offset=start,
                )
            if not row.repeatable and any(key == row.parameter for key, _ in pairs):
                raise ProtocolViolation(f"parameter {row.parameter} ({number:#x}) twice", offset=start)
            pairs.append((row.parameter, row.codec.pull(reader, draft)))
        values["parameters"] = KeyValues(pairs)

    def push(self, writer: Writer, draft: Draft, message: Message) -> None:
        """Write those that no other field carries."""
        given: Parameters = message.parameters  # type: ignore[attr-defined]
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
