"""Bytes written by someone else: the MIT-licensed vectors of moqtap, drafts 14 and 16.

They are read from a checkout's neighbour `../shared/vectors` and skipped, with the reason, where that is
absent. What a vector says is compared fact by fact with what our codec reads, and written back. Where
the two disagree the draft's text decides; the outcome is in `DISAGREEMENTS`, one reason each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.fields import ErrorCode
from pytest_moqt.protocol.framing import Frame, FrameBuffer, decode, encode_by
from pytest_moqt.protocol.layouts import Layout, Sender
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamItem,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.values import Location, Token, TokenAlias

ROOT = Path(__file__).parents[3] / "shared" / "vectors" / "transport"
ABSENT = "the third-party vectors are not beside this checkout (../shared/vectors)"

DISAGREEMENTS: dict[str, str] = {
    "14/publish-namespace-ok/basic": (
        "the vector is wrong: PUBLISH_NAMESPACE_OK is a Request ID and nothing else (section 9.24), so its"
        " parameter count is a byte past the end"
    ),
    "14/subscribe-namespace-ok/basic": (
        "the vector is wrong: SUBSCRIBE_NAMESPACE_OK is a Request ID and nothing else (section 9.29)"
    ),
    "14/subscribe-ok/no-content": (
        "the vector is wrong: Group Order 0 in SUBSCRIBE_OK is a protocol error (section 9.8)"
    ),
    "14/datagram/type-0x21": (
        "the vector is wrong: an object of status Object Does Not Exist may have no extension headers"
        " (section 10.2.1.2)"
    ),
    "16/fetch/with-params": (
        "the vector is wrong: types are differences (section 1.4.2), so its second parameter is 0x42, which"
        " no draft defines; draft 14's absolute types were kept"
    ),
    "16/publish-ok/with-params": "the vector is wrong: as 16/fetch/with-params",
    "16/subscribe/unknown-extension-param": (
        "the vector is wrong: an unknown message parameter closes the session (section 9.2)"
    ),
    "16/fetch-header/fetch-end-of-non-existent-range": (
        "the vector is wrong: an End of Range has a Group ID and an Object ID only, no Payload Length; what"
        " follows is then an object that refers to a prior one (section 10.4.4.2)"
    ),
    "16/fetch-header/fetch-end-of-unknown-range": (
        "the vector is wrong: as 16/fetch-header/fetch-end-of-non-existent-range"
    ),
    "16/fetch-header/fetch-with-explicit-subgroup": (
        "the vector is wrong: the first object refers to a prior priority (section 10.4.4.1)"
    ),
    "16/fetch-header/fetch-datagram-forwarding": (
        "the vector is wrong: the first object refers to a prior priority (section 10.4.4.1)"
    ),
    "16/subgroup/subgroup-extensions-status-object": (
        "the vector is wrong: extension headers on an object that is not Normal (section 10.2.1.2)"
    ),
}
"Vectors that we refuse: `draft/file/id`, who is wrong, and why, with the draft's section."

READ_OTHERWISE: dict[str, str] = {
    "16/subgroup/subgroup-extensions-two-objects-empty": (
        "the vector is wrong: Object ID Delta + 1 is added to the previous id (section 10.4.2), so a"
        " difference of 1 after object 0 is object 2; its draft 14 sister is right"
    ),
    "16/subgroup/subgroup-extensions-two-objects-nonempty": (
        "the vector is wrong: as 16/subgroup/subgroup-extensions-two-objects-empty"
    ),
}
"Vectors whose object ids we read otherwise."

ACCEPTED: dict[str, str] = {
    "14/client-setup/no-versions-error": (
        "neither is wrong: the draft sets no minimum (section 9.3); our session refuses an empty list with"
        " VERSION_NEGOTIATION_FAILED, which a codec cannot"
    ),
}
"Vectors of errors that our codec reads."

UNWRITABLE: dict[str, str] = {
    "16/publish-namespace/with-forward": (
        "FORWARD is not defined for PUBLISH_NAMESPACE (section 9.2.2.8); a receiver ignores it, a sender"
        " has no reason to send it"
    ),
    "16/subscribe-ok/with-delivery-timeout": (
        "DELIVERY_TIMEOUT is not defined for SUBSCRIBE_OK (section 9.2.2.2); the same"
    ),
}
"Vectors that we read and refuse to write."


class Vector:
    """One vector and where it is from."""

    def __init__(self, draft: Draft, path: Path, entry: dict[str, Any]) -> None:
        self.draft = draft
        self.name = path.stem
        self.key = f"{draft.number}/{path.stem}/{entry['id']}"
        self.description: str = entry["description"]
        self.data = bytes.fromhex(entry["hex"])
        self.decoded: dict[str, Any] = entry.get("decoded", {})
        self.error: str | None = entry.get("error")
        self.canonical: bool = entry.get("canonical", True)


def _vectors(where: str) -> Iterator[Vector]:
    for number in DRAFTS:
        for path in sorted((ROOT / f"draft{number}" / "codec").glob(where)):
            for entry in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
                yield Vector(DRAFTS[number], path, entry)


def _parameters(where: str) -> list[Any]:
    return [pytest.param(vector, id=vector.key) for vector in _vectors(where)] or [
        pytest.param(None, marks=pytest.mark.skip(reason=ABSENT))
    ]


MESSAGES = _parameters("messages/*.json")
DATA_STREAMS = _parameters("data-streams/[fs]*.json")
DATAGRAMS = _parameters("data-streams/datagram.json")
INTEGERS = _parameters("varint.json")


# ---- what a message says, in the vectors' words ----------------------------------------------------


def _text(value: Any) -> Any:
    """Any value as the vectors write it: numbers as decimal strings, bytes as text."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Location):
        return {"group": str(value.group), "object": str(value.object)}
    if isinstance(value, tuple):
        return [_text(item) for item in value]
    return value


def _token(token: Token) -> dict[str, str]:
    facts = {"alias_type": str(int(token.alias_type))}
    if token.alias is not None:
        facts["token_alias"] = str(token.alias)
    if token.alias_type in (TokenAlias.REGISTER, TokenAlias.USE_VALUE):
        facts |= {"token_type": str(token.type), "token_value": token.value.hex()}
    return facts


def _filter(value: Any) -> dict[str, str]:
    facts = {"filter_type": str(int(value.type))}
    if value.start is not None:
        facts |= {"start_group": str(value.start.group), "start_object": str(value.start.object)}
    if value.end_group is not None:
        facts["end_group"] = str(value.end_group)
    return facts


def _pairs(pairs: Any, names: Any, lifted: frozenset[Any] = frozenset()) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for key, value in pairs.pairs:
        if key in lifted:
            continue
        name = names(key)
        if name is None:
            raw = value if isinstance(value, bytes) else bytes([value])
            facts.setdefault("unknown", []).append(
                {"id": hex(key), "length": str(len(raw)), "raw_hex": raw.hex()}
            )
        elif isinstance(value, Token):
            facts[name] = _token(value)
        else:
            facts[name] = _filter(value) if name == "subscription_filter" else _text(value)
    return facts


def _parameter_name(key: Any) -> str | None:
    if not isinstance(key, Parameter):
        return None
    return key.value.lower().removeprefix("object_") if "DELIVERY" in key.value else key.value.lower()


def _property_name(key: int) -> str:
    return Property(key).name.lower().removeprefix("object_")


def _facts(message: m.Message, layout: Layout, draft: Draft) -> dict[str, Any]:
    """What a message says, in the vectors' words."""
    facts: dict[str, Any] = {}
    for name, value in vars(message).items():
        facts[name] = _text(value)
    if isinstance(message, m.Setup):
        facts["supported_versions"] = facts["versions"]
        facts["selected_version"] = facts["versions"][0] if facts["versions"] else None
        facts["parameters"] = _pairs(message.options, lambda key: SetupOption(key).name.lower())
        return facts
    maximum = facts.get("maximum")
    if maximum is not None:
        facts |= {"request_id": maximum, "max_request_id": maximum, "maximum_request_id": maximum}
    facts["namespace_prefix"] = facts.get("track_namespace_prefix")
    facts["namespace_suffix"] = facts.get("track_namespace_suffix")
    facts["subscription_request_id"] = facts.get("existing_request_id")
    facts["reason_phrase"] = facts.get("reason")
    for field in layout.fields:
        if isinstance(field, ErrorCode):
            number = field.table.value(getattr(message, field.name), draft.number, field.space)
            facts["status_code" if field.name == "status" else "error_code"] = str(number)
    if isinstance(message, m.Fetch):
        facts |= _range(message.range)
    if isinstance(message, m.FetchOk):
        facts["end_location"] = facts["end"]
        facts |= {"end_group": facts["end"]["group"], "end_object": facts["end"]["object"]}
    lifted: frozenset[Any] = frozenset()
    for field in layout.fields:
        lifted |= getattr(field, "lifted", frozenset())
    if hasattr(message, "parameters"):
        if lifted or layout.name == "FETCH_OK":
            facts |= _fixed_fields(message, layout)
        facts["parameters"] = _pairs(message.parameters, _parameter_name, lifted)
    if getattr(message, "track_properties", None):
        facts["track_extensions"] = _pairs(message.track_properties, _property_name)
    return facts


def _range(value: m.StandaloneFetch | m.JoiningFetch) -> dict[str, Any]:
    if isinstance(value, m.JoiningFetch):
        return {
            "fetch_type": "2" if value.relative else "3",
            "joining_request_id": str(value.joining_request_id),
            "joining_start": str(value.joining_start),
        }
    return {
        "fetch_type": "1",
        "track_namespace": _text(value.track_namespace),
        "track_name": value.track_name.decode(),
        "start_group": str(value.start.group),
        "start_object": str(value.start.object),
        "end_group": str(value.end.group),
        "end_object": str(value.end.object),
    }


def _fixed_fields(message: Any, layout: Layout) -> dict[str, Any]:
    """Draft 14's fixed fields, which our messages keep among parameters and track properties."""
    given = message.parameters
    facts = {
        "subscriber_priority": _text(given.get(Parameter.SUBSCRIBER_PRIORITY)),
        "group_order": _text(given.get(Parameter.GROUP_ORDER, 0)),
        "forward": _text(given.get(Parameter.FORWARD)),
        "expires": _text(given.get(Parameter.EXPIRES, 0)),
        "content_exists": str(int(Parameter.LARGEST_OBJECT in given)),
        "largest_location": _text(given.get(Parameter.LARGEST_OBJECT)),
    }
    if layout.name == "TRACK_STATUS_OK":
        facts["track_alias"] = "0"
    properties = getattr(message, "track_properties", {})
    if Property.DEFAULT_PUBLISHER_GROUP_ORDER in properties:
        facts["group_order"] = _text(properties[Property.DEFAULT_PUBLISHER_GROUP_ORDER])
    asked = given.get(Parameter.SUBSCRIPTION_FILTER)
    if asked is not None:
        facts |= _filter(asked)
        if layout.name == "SUBSCRIBE_UPDATE":
            # On the wire plus one, and 0 when open.
            facts["end_group"] = "0" if asked.end_group is None else str(asked.end_group + 1)
    return facts


def _read(data: bytes, draft: Draft) -> tuple[m.Message, Layout, Frame]:
    buffer = FrameBuffer(draft)
    buffer.feed(data)
    frame = buffer.take()
    if frame is None:
        raise NeedMoreData
    assert buffer.pending == b""
    sender = Sender.CLIENT if frame.type == 0x20 else Sender.SERVER
    return *decode(frame, draft, sender), frame


# ---- tests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", MESSAGES)
def test_message_reads_as_its_vector_says(vector: Vector) -> None:
    """A control message of another implementation means to us what it means to them."""
    if vector.error == "incomplete":
        with pytest.raises((NeedMoreData, RemoteProtocolError)):
            _read(vector.data, vector.draft)
        return
    if vector.key in ACCEPTED:
        _read(vector.data, vector.draft)
        return
    if vector.error is not None or vector.key in DISAGREEMENTS:
        with pytest.raises(RemoteProtocolError):
            _read(vector.data, vector.draft)
        return

    message, layout, frame = _read(vector.data, vector.draft)

    facts = _facts(message, layout, vector.draft)
    assert {name: facts.get(name) for name in vector.decoded} == vector.decoded
    assert layout.name == vector.name.replace("-", "_").upper()
    if vector.key in UNWRITABLE:
        with pytest.raises(LocalProtocolError):
            encode_by(message, layout, vector.draft)
        return
    written = encode_by(message, layout, vector.draft)
    if vector.canonical:
        assert written.encode(vector.draft).hex() == vector.data.hex()
    else:
        assert written != frame
        assert decode(written, vector.draft, layout.sender or Sender.SERVER)[0] == message


@pytest.mark.parametrize("vector", MESSAGES)
def test_error_codes_have_the_names_that_vectors_print(vector: Vector) -> None:
    """A code and its name are one pair in both implementations."""
    named = re.search(r"([A-Z][A-Z_]{4,}) \(0x", vector.description)
    if vector.error or vector.key in DISAGREEMENTS or not named:
        return

    message, layout, _ = _read(vector.data, vector.draft)

    for field in layout.fields:
        if isinstance(field, ErrorCode):
            name = getattr(message, field.name)
            described = field.table.describe(name, vector.draft.number, field.space)
            assert described.split()[0] == named[1]


def _properties(item: Any) -> dict[int, Any]:
    return dict(item.properties.pairs)


def _property(name: str) -> Property:
    return Property[name.upper().replace("DELIVERY_TIMEOUT", "OBJECT_DELIVERY_TIMEOUT")]


def _check_properties(item: Any, said: dict[str, Any]) -> None:
    if "extension_headers" in said:
        given = said["extension_headers"]
        if isinstance(given, dict):
            wanted = {_property(name): int(value) for name, value in given.items()}
        else:
            wanted = {int(pair["type"]): int(pair["value"]) for pair in given}
        assert _properties(item) == wanted
    elif "extension_headers_hex" in said:
        pairs = "".join(f"{key:02x}{value:02x}" for key, value in _properties(item).items())
        assert said["extension_headers_hex"] == pairs
    else:
        assert not item.properties


def _feed(data: bytes, draft: Draft) -> list[StreamItem]:
    """A whole stream, one byte at a time."""
    decoder = DataStreamDecoder(draft)
    items = [item for byte in data for item in decoder.feed(bytes([byte]))]
    items += decoder.feed(b"", fin=True)
    return items


@pytest.mark.parametrize("vector", DATA_STREAMS)
def test_data_stream_reads_as_its_vector_says(vector: Vector) -> None:
    """A data stream of another implementation means to us what it means to them."""
    if vector.error is not None or vector.key in DISAGREEMENTS:
        with pytest.raises(RemoteProtocolError):
            _feed(vector.data, vector.draft)
        return

    header, *objects = _feed(vector.data, vector.draft)

    said = vector.decoded
    if isinstance(header, SubgroupHeader):
        if vector.key in READ_OTHERWISE:
            assert [item.object_id for item in objects] == [0, 2]
            for wanted, number in zip(said["objects"], "02", strict=True):
                wanted["object_id"] = number
        _check_subgroup(header, objects, said)
        written = _write_subgroup(header, objects, vector.draft)
    else:
        assert isinstance(header, FetchHeader)
        _check_fetch(header, objects, said)
        written = _write_fetch(header, objects, vector.draft)
    assert [header, *objects] == _feed(written, vector.draft)
    if vector.canonical:
        assert written.hex() == vector.data.hex()
    else:
        assert written != vector.data


def _check_subgroup(header: SubgroupHeader, objects: list[Any], said: dict[str, Any]) -> None:
    first = objects[0].object_id if objects else None
    subgroup = first if header.subgroup_id is None else header.subgroup_id
    assert str(header.track_alias) == said["track_alias"]
    assert str(header.group_id) == said["group_id"]
    assert said.get("subgroup_id") in (None, str(subgroup))
    priority = said.get("publisher_priority")
    assert (None if header.publisher_priority is None else str(header.publisher_priority)) == priority
    assert header.end_of_group == said.get("end_of_group", header.end_of_group)
    assert len(objects) == len(said["objects"])
    for item, wanted in zip(objects, said["objects"], strict=True):
        assert isinstance(item, StreamObject)
        assert str(item.object_id) == wanted["object_id"]
        assert item.payload.hex() == wanted.get("payload_hex", "")
        assert str(len(item.payload)) == wanted["payload_length"]
        assert str(item.status) == wanted.get("status", wanted.get("object_status", "0"))
        _check_properties(item, wanted)


def _write_subgroup(header: SubgroupHeader, objects: list[Any], draft: Draft) -> bytes:
    encoder = SubgroupEncoder(header, draft)
    return encoder.header() + b"".join(encoder.object(item) for item in objects)


def _check_fetch(header: FetchHeader, objects: list[Any], said: dict[str, Any]) -> None:
    assert str(header.request_id) == said["request_id"]
    assert len(objects) == len(said["objects"])
    for item, wanted in zip(objects, said["objects"], strict=True):
        assert str(item.group_id) == wanted.get("group_id", str(item.group_id))
        assert str(item.object_id) == wanted.get("object_id", str(item.object_id))
        if isinstance(item, FetchRangeEnd):
            assert item.flags == int(wanted["serialization_flags"], 16)
            continue
        assert isinstance(item, FetchObject)
        subgroup = None if item.subgroup_id is None else str(item.subgroup_id)
        assert subgroup == wanted.get("subgroup_id", subgroup)
        priority = str(item.publisher_priority)
        assert priority == wanted.get("publisher_priority", priority)
        assert item.payload.hex() == wanted.get("payload_hex", "")
        assert str(item.status) == wanted.get("object_status", "0")
        _check_properties(item, wanted)


def _write_fetch(header: FetchHeader, objects: list[Any], draft: Draft) -> bytes:
    encoder = FetchEncoder(draft)
    data = encoder.header(header.request_id)
    for item in objects:
        data += encoder.range_end(item) if isinstance(item, FetchRangeEnd) else encoder.object(item)
    return data


@pytest.mark.parametrize("vector", DATAGRAMS)
def test_datagram_reads_as_its_vector_says(vector: Vector) -> None:
    """A datagram of another implementation means to us what it means to them."""
    if vector.error is not None or vector.key in DISAGREEMENTS:
        with pytest.raises(RemoteProtocolError):
            decode_datagram(vector.data, vector.draft)
        return

    item = decode_datagram(vector.data, vector.draft)

    said = vector.decoded
    assert isinstance(item, ObjectDatagram)
    assert str(item.track_alias) == said["track_alias"]
    assert str(item.group_id) == said["group_id"]
    assert str(item.object_id) == said.get("object_id", "0")
    priority = None if item.publisher_priority is None else str(item.publisher_priority)
    assert priority == said.get("publisher_priority")
    assert item.payload.hex() == said.get("payload_hex", "")
    assert (None if item.status is None else str(item.status)) == said.get("object_status")
    if "end_of_group" in said:
        assert item.end_of_group == said["end_of_group"]
    _check_properties(item, said)
    assert encode_datagram(item, vector.draft).hex() == vector.data.hex()


@pytest.mark.parametrize("vector", INTEGERS)
def test_integer_reads_as_its_vector_says(vector: Vector) -> None:
    """An integer of another implementation has the same value for us, in minimal form or not."""
    integers = vector.draft.integers
    if vector.error is not None:
        with pytest.raises(NeedMoreData):
            integers.decode(vector.data)
        return

    value, end = integers.decode(vector.data)

    assert (str(value), end) == (vector.decoded["value"], len(vector.data))
    assert (integers.encode(value) == vector.data) is vector.canonical
    assert integers.encode(value, len(vector.data)) == vector.data


@pytest.mark.skipif(not ROOT.is_dir(), reason=ABSENT)
def test_every_exception_is_of_a_vector_that_exists() -> None:
    """A disagreement that no vector shows any more is removed from the tables."""
    keys = {vector.key for vector in _vectors("**/*.json")}

    assert DISAGREEMENTS.keys() | READ_OTHERWISE.keys() | ACCEPTED.keys() | UNWRITABLE.keys() <= keys
