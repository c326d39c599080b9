"""Bytes of which someone else has said what they mean, against the codec, byte by byte.

`draftNN.json` hold the drafts' own examples and whole messages worked out from the drafts' text, most of
them written alike by another implementation; `source` says which. The newer files have their meaning in the
notation of the `decode` command, in `said`.
`hex` is complete, with type and Length. `canonical` stands beside bytes that are valid and not how we
write the same: there it holds what we write (integers: false).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.errors import NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.framing import FrameBuffer, decode, encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.notation import from_json
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
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    GroupOrder,
    KeyValues,
    Location,
    Redirect,
    Token,
    TokenAlias,
)

HERE = Path(__file__).parent


def _entries(kind: str) -> list[Any]:
    found = []
    for number, draft in DRAFTS.items():
        data = json.loads((HERE / f"draft{number}.json").read_text(encoding="utf-8"))
        assert data["draft"] == number
        for entry in data[kind]:
            found.append(pytest.param(draft, entry, id=f"{number}-{entry.get('id', entry['hex'])}"))
    return found


# ---- what a vector says, as our values -------------------------------------------------------------


def _location(said: dict[str, int]) -> Location:
    return Location(said["group"], said["object"])


def _names(said: list[str]) -> tuple[bytes, ...]:
    return tuple(name.encode() for name in said)


def _value(said: Any) -> Any:
    if isinstance(said, str):
        return said.encode()
    if not isinstance(said, dict):
        return said
    if "filter" in said:
        start = _location(said["start"]) if "start" in said else None
        return Filter(FilterType(said["filter"]), start, said.get("end_group"))
    if "alias_type" in said:
        return Token(TokenAlias[said["alias_type"]], said.get("alias"), said["type"], said["value"].encode())
    return _location(said)


def _parameters(said: dict[str, Any]) -> KeyValues[Any, Any]:
    pairs = [(Parameter(key), _value(value)) for key, value in said.items()]
    return KeyValues(
        (key, GroupOrder(value) if key is Parameter.GROUP_ORDER else value) for key, value in pairs
    )


def _properties(said: dict[str, Any]) -> KeyValues[int, Any]:
    return KeyValues(
        (int(key) if key.isdigit() else Property[key], _value(value)) for key, value in said.items()
    )


def _range(said: dict[str, Any]) -> m.StandaloneFetch | m.JoiningFetch:
    if "start" not in said:
        return m.JoiningFetch(**said)
    return m.StandaloneFetch(
        _names(said["track_namespace"]),
        said["track_name"].encode(),
        _location(said["start"]),
        _location(said["end"]),
    )


READERS: dict[str, Any] = {
    "options": lambda said: KeyValues((SetupOption[key], _value(value)) for key, value in said.items()),
    "parameters": _parameters,
    "track_properties": _properties,
    "versions": tuple,
    "track_namespace": _names,
    "track_namespace_prefix": _names,
    "track_name": str.encode,
    "code": RequestErrorCode,
    "status": PublishDoneStatus,
    "range": _range,
    "end": _location,
    "redirect": lambda said: Redirect(said["connect_uri"], (), b""),
}


def _message(entry: dict[str, Any]) -> m.Message:
    if "said" in entry:
        message = from_json(entry["said"])
        assert isinstance(message, m.Message)
        return message
    kind: type[m.Message] = getattr(m, entry["message"])
    fields = entry["fields"]
    return kind(**{name: READERS.get(name, lambda said: said)(said) for name, said in fields.items()})


def _header(entry: dict[str, Any]) -> SubgroupHeader | FetchHeader:
    if "fetch" in entry["header"]:
        return FetchHeader(**entry["header"]["fetch"])
    return SubgroupHeader(**entry["header"]["subgroup"])


def _object(said: dict[str, Any], header: SubgroupHeader | FetchHeader) -> StreamItem:
    if "range_end" in said:
        return FetchRangeEnd(said["range_end"], said["group_id"], said["object_id"])
    given = {
        **said,
        "payload": said.get("payload", "").encode(),
        "properties": _properties(said.get("properties", {})),
    }
    return FetchObject(**given) if isinstance(header, FetchHeader) else StreamObject(**given)


def _stream(entry: dict[str, Any]) -> list[Any]:
    if "said" in entry:
        return [from_json(said) for said in entry["said"]]
    header = _header(entry)
    return [header, *(_object(said, header) for said in entry["objects"])]


def _decoder(draft: Draft, entry: dict[str, Any]) -> DataStreamDecoder:
    return DataStreamDecoder(draft, descending=lambda _: entry.get("descending", False))


# ---- messages --------------------------------------------------------------------------------------


def _senders(entry: dict[str, Any]) -> list[Sender]:
    return [Sender(entry["sender"])] if "sender" in entry else list(Sender)


@pytest.mark.parametrize(("draft", "entry"), _entries("messages"))
def test_message_means_what_its_vector_says(draft: Draft, entry: dict[str, Any]) -> None:
    """The bytes of a control message, whole and one at a time, give exactly the message they stand for."""
    data = bytes.fromhex(entry["hex"])
    expected = _message(entry)
    slow = FrameBuffer(draft)

    frame = FrameBuffer(draft, data).take()
    taken = []
    for byte in data:
        slow.feed(bytes([byte]))
        taken.append(slow.take())

    assert frame is not None
    assert taken == [None] * (len(data) - 1) + [frame]
    for sender in _senders(entry):
        message, layout = decode(frame, draft, sender)
        assert message == expected
        if "answers" in entry:
            assert getattr(m, entry["answers"]) in layout.answers


@pytest.mark.parametrize(("draft", "entry"), _entries("messages"))
def test_message_is_written_as_its_vector_has_it(draft: Draft, entry: dict[str, Any]) -> None:
    """The message gives exactly the bytes that stand for it."""
    answering = getattr(m, entry["answers"]) if "answers" in entry else None

    for sender in _senders(entry):
        frame = encode(_message(entry), draft, sender=sender, answering=answering)

        assert frame.encode(draft).hex() == entry.get("canonical", entry["hex"])


@pytest.mark.parametrize(("draft", "entry"), _entries("messages"))
def test_prefix_of_a_message_waits_for_more(draft: Draft, entry: dict[str, Any]) -> None:
    """No proper beginning of a control message is taken for a message or for a fault."""
    data = bytes.fromhex(entry["hex"])

    for end in range(len(data)):
        buffer = FrameBuffer(draft, data[:end])

        assert buffer.take() is None
        assert buffer.pending == data[:end]


# ---- the data plane --------------------------------------------------------------------------------


@pytest.mark.parametrize(("draft", "entry"), _entries("streams"))
def test_stream_means_what_its_vector_says(draft: Draft, entry: dict[str, Any]) -> None:
    """A data stream, whole and one byte at a time, gives exactly the header and objects it stands for."""
    data = bytes.fromhex(entry["hex"])
    decoder = _decoder(draft, entry)

    slow = [item for byte in data for item in decoder.feed(bytes([byte]))]
    slow += decoder.feed(b"", fin=True)

    assert _decoder(draft, entry).feed(data, fin=True) == _stream(entry)
    assert slow == _stream(entry)


@pytest.mark.parametrize(("draft", "entry"), _entries("streams"))
def test_stream_is_written_as_its_vector_has_it(draft: Draft, entry: dict[str, Any]) -> None:
    """Header and objects give exactly the bytes that stand for them."""
    header, *objects = _stream(entry)

    if isinstance(header, SubgroupHeader):
        subgroup = SubgroupEncoder(header, draft)
        data = subgroup.header() + b"".join(
            subgroup.object(item) for item in objects if isinstance(item, StreamObject)
        )
    else:
        assert isinstance(header, FetchHeader)
        fetch = FetchEncoder(draft, descending=entry.get("descending", False))
        data = fetch.header(header.request_id)
        for item in objects:
            if isinstance(item, FetchRangeEnd):
                data += fetch.range_end(item)
            elif isinstance(item, FetchObject):
                data += fetch.object(item)

    assert data.hex() == entry.get("canonical", entry["hex"])


@pytest.mark.parametrize(("draft", "entry"), _entries("streams"))
def test_prefix_of_a_stream_waits_for_more_and_may_not_end(draft: Draft, entry: dict[str, Any]) -> None:
    """A stream cut anywhere gives the objects before the cut; a FIN there is a violation, if inside one."""
    data = bytes.fromhex(entry["hex"])
    whole = _stream(entry)

    for end in range(len(data)):
        items = _decoder(draft, entry).feed(data[:end])

        assert items == whole[: len(items)]
        assert len(items) < len(whole)
        between_items = items and _length(draft, entry, len(items)) == end
        if between_items:
            assert _decoder(draft, entry).feed(data[:end], fin=True) == items
        else:
            with pytest.raises(RemoteProtocolError):
                _decoder(draft, entry).feed(data[:end], fin=True)


def _length(draft: Draft, entry: dict[str, Any], count: int) -> int:
    """How many bytes the first `count` items take: the shortest prefix that gives as many."""
    data = bytes.fromhex(entry["hex"])
    return next(end for end in range(len(data)) if len(_decoder(draft, entry).feed(data[:end])) == count)


@pytest.mark.parametrize(("draft", "entry"), _entries("datagrams"))
def test_datagram_means_what_its_vector_says(draft: Draft, entry: dict[str, Any]) -> None:
    """A datagram gives exactly the object it stands for, and the object the datagram."""
    if "said" in entry:
        expected = from_json(entry["said"])
        assert isinstance(expected, ObjectDatagram)
    else:
        said = entry["datagram"]
        expected = ObjectDatagram(**{**said, "payload": said.get("payload", "").encode()})
    data = bytes.fromhex(entry["hex"])

    assert decode_datagram(data, draft) == expected
    assert encode_datagram(expected, draft) == data
    for end in range(len(data) - len(expected.payload)):
        with pytest.raises(RemoteProtocolError):
            decode_datagram(data[:end], draft)


# ---- integers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("draft", "entry"), _entries("integers"))
def test_integer_means_what_its_vector_says(draft: Draft, entry: dict[str, Any]) -> None:
    """An integer's bytes give its value, its value gives its shortest bytes, and no prefix is enough."""
    data = bytes.fromhex(entry["hex"])

    assert draft.integers.decode(data) == (entry["value"], len(data))
    assert draft.integers.encode(entry["value"], len(data)) == data
    assert (draft.integers.encode(entry["value"]) == data) is entry.get("canonical", True)
    for end in range(len(data)):
        with pytest.raises(NeedMoreData):
            draft.integers.decode(data[:end])
