"""Targets of the codec: what any bytes may lead to, and that it does not matter how they are cut."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from random import Random
from typing import Any

from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.framing import Frame, FrameBuffer, decode, encode_by
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.notation import from_json, to_json
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchHeader,
    FetchRangeEnd,
    ObjectDatagram,
    ObjectTooLarge,
    Padding,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.varint import QUIC_VARINT, VI64, VI64_17
from pytest_moqt.protocol.webtransport import (
    MAX_CAPSULE_VALUE,
    CapsuleError,
    CapsuleReader,
    CapsuleType,
    Demultiplexer,
    application_code,
    decode_close,
    encode_capsule,
    encode_close,
    format_available_protocols,
    parse_available_protocols,
    parse_protocol,
    wire_code,
)
from pytest_moqt.protocol.webtransport import decode_datagram as decode_http_datagram
from pytest_moqt.protocol.webtransport import encode_datagram as encode_http_datagram
from tests.fuzz.cursor import Cursor, pieces
from tests.fuzz.engine import Target

_VALUES = re.compile(r"0x[0-9a-f]+|\d+|b?'[^']*'|\(.*\)")


def said(error: Exception) -> str:
    """What kind of error it is: its sentence without the values in it."""
    return f"{type(error).__name__}: {without_values(str(error))}"


def without_values(sentence: str) -> str:
    """A sentence with `#` for every value in it, so that two of one kind are equal."""
    return _VALUES.sub("#", sentence)[:60]


def check_offset(error: RemoteProtocolError, length: int) -> None:
    """An offset is a place in what was read, or its end."""
    assert error.offset is None or 0 <= error.offset <= length, f"offset {error.offset} of {length} bytes"


# ---- integers --------------------------------------------------------------------------------------


def integers(octets: bytes) -> Hashable:
    """Any bytes are an integer, too few, or none, in each coding; one that was read is written as it was."""
    kinds: list[Any] = []
    for coding in (QUIC_VARINT, VI64_17, VI64):
        try:
            value, end = coding.decode(octets)
        except NeedMoreData:
            assert not octets or coding.size_of(octets[0]) > len(octets)
            kinds.append("short")
        except RemoteProtocolError as error:
            check_offset(error, len(octets))
            kinds.append("none")
        else:
            assert coding.encode(value, end) == octets[:end]
            assert coding.decode(octets[:end]) == (value, end)
            kinds.append(end)
    return tuple(kinds)


# ---- control messages ------------------------------------------------------------------------------


def frames(octets: bytes, draft: Draft) -> tuple[list[Frame], bytes, str]:
    """The frames in these bytes, what is left over, and the error that ends them; however they are cut."""
    outcomes = []
    for way in pieces(octets):
        buffer = FrameBuffer(draft)
        found: list[Frame] = []
        error = ""
        try:
            for piece in way:
                buffer.feed(piece)
                while (frame := buffer.take()) is not None:
                    found.append(frame)
        except RemoteProtocolError as failed:
            error = said(failed)
        outcomes.append((found, buffer.pending if not error else b"", error))
    assert outcomes[0] == outcomes[1] == outcomes[2], "frames depend on how their bytes are cut"
    return outcomes[0]


def control(octets: bytes) -> Hashable:
    """Messages of either end: read or refused, and what was read is written and read again the same."""
    cursor = Cursor(octets)
    draft = cursor.draft()
    sender = Sender.CLIENT if cursor.byte() % 2 else Sender.SERVER
    found, _, error = frames(cursor.rest(), draft)
    kinds = [error]
    for frame in found[:8]:
        try:
            message, layout = decode(frame, draft, sender)
        except RemoteProtocolError as refused:
            check_offset(refused, len(frame.body))
            kinds.append(said(refused))
            continue
        kinds.append(layout.name + _shape(message))
        assert isinstance(message, layout.message)
        again = from_json(json.loads(json.dumps(to_json(message))))
        assert again == message, f"{message} is {again} after JSON"
        try:
            written = encode_by(message, layout, draft)
        except LocalProtocolError as unwritable:
            kinds.append(said(unwritable))
            continue
        assert decode(written, draft, sender) == (message, layout)
    return (draft.number, *kinds[:6])


def _shape(message: Any) -> str:
    """Which parts a message has."""
    parts = []
    for name in ("parameters", "options", "track_properties"):
        parts += [str(key) if len(str(key)) > 4 else "" for key in getattr(message, name, ())]
    return ",".join(sorted(set(parts)))


def relength(octets: bytes, chance: Random, *, head: int = 2) -> bytes:
    """The same input with the Length of its first frame, or of a later one, up to its end."""
    coding = Cursor(octets).draft().integers
    at = head
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        try:
            _, behind = coding.decode(octets, at)
        except (NeedMoreData, RemoteProtocolError):
            return octets
        length = int.from_bytes(octets[behind : behind + 2], "big")
        if behind + 2 + length >= len(octets):
            break
        at = behind + 2 + length
    else:
        behind = coding.decode(octets, head)[1]
    left = len(octets) - behind - 2
    if not 0 <= left <= 0xFFFF:
        return octets
    return octets[:behind] + left.to_bytes(2, "big") + octets[behind + 2 :]


# ---- objects ---------------------------------------------------------------------------------------


def data(octets: bytes) -> Hashable:
    """A data stream: objects or one error, alike however it is cut; what was read is written again."""
    cursor = Cursor(octets)
    draft = cursor.draft()
    flags = cursor.byte()
    descending, finished, small = bool(flags & 1), not flags & 2, bool(flags & 4)
    stream = cursor.rest()
    outcomes = []
    for way in pieces(stream):
        decoder = DataStreamDecoder(draft, descending=lambda _: descending)
        if small:
            decoder.max_object_size = 16
        items: list[Any] = []
        error = ""
        try:
            for number, piece in enumerate(way):
                decoder.feed(piece, finished and number == len(way) - 1)
                items += decoder.completed
        except RemoteProtocolError as failed:
            check_offset(failed, len(stream))
            items += decoder.completed
            error = f"{failed} at {failed.offset}"
        except ObjectTooLarge as failed:
            items += decoder.completed
            error = str(failed)
        assert decoder.consumed + len(decoder.pending) <= len(stream), "it keeps more than it was given"
        outcomes.append((items, error))
    assert outcomes[0] == outcomes[1] == outcomes[2], "objects depend on how their bytes are cut"
    found, error = outcomes[0]
    if found:
        _write_again(draft, found, descending)
    kinds = [type(item).__name__ + str(bool(getattr(item, "status", 0))) for item in found[:4]]
    return (draft.number, descending, without_values(error), *kinds)


def _write_again(draft: Draft, items: list[Any], descending: bool) -> None:
    header, *objects = items
    if isinstance(header, Padding):
        return
    if isinstance(header, SubgroupHeader):
        subgroup = SubgroupEncoder(header, draft)
        written = subgroup.header() + b"".join(map(subgroup.object, objects))
    else:
        assert isinstance(header, FetchHeader)
        fetch = FetchEncoder(draft, descending=descending)
        written = fetch.header(header.request_id)
        for item in objects:
            written += fetch.range_end(item) if isinstance(item, FetchRangeEnd) else fetch.object(item)
    again = DataStreamDecoder(draft, descending=lambda _: descending).feed(written, fin=True)
    assert again == items, f"{items} is {again} when it is written and read"


def datagram(octets: bytes) -> Hashable:
    """A datagram: an object that can be written again, padding, or refused."""
    cursor = Cursor(octets)
    draft = cursor.draft()
    payload = cursor.rest()
    try:
        item = decode_datagram(payload, draft)
    except RemoteProtocolError as error:
        check_offset(error, len(payload))
        return (draft.number, said(error))
    if isinstance(item, Padding):
        return (draft.number, "padding")
    assert isinstance(item, ObjectDatagram)
    assert decode_datagram(encode_datagram(item, draft), draft) == item
    return (draft.number, payload[0], item.status, bool(item.properties))


# ---- WebTransport ----------------------------------------------------------------------------------


def capsules(octets: bytes) -> Hashable:
    """A CONNECT stream: capsules or one error, alike however it is cut, and nothing long is kept."""
    cursor = Cursor(octets)
    ended = bool(cursor.byte() % 2)
    stream = cursor.rest()
    outcomes = []
    for way in pieces(stream):
        reader = CapsuleReader()
        found: list[Any] = []
        error = ""
        try:
            for piece in way:
                found += reader.feed(piece)
                assert len(reader._buffer) <= MAX_CAPSULE_VALUE + 16, "more is kept than a capsule can be"
            if ended:
                reader.end()
        except CapsuleError as failed:
            error = str(failed)
        outcomes.append((None if error else found, error))
    assert outcomes[0] == outcomes[1] == outcomes[2], "capsules depend on how their bytes are cut"
    kinds: list[Any] = []
    for capsule in outcomes[0][0] or []:
        assert CapsuleReader().feed(encode_capsule(capsule.type, capsule.value)) == [capsule]
        if capsule.type == CapsuleType.CLOSE_WEBTRANSPORT_SESSION:
            kinds.append(_close(capsule.value))
        kinds.append(capsule.type)
    return (ended, outcomes[0][1][:30], *kinds[:6])


def _close(value: bytes) -> str:
    try:
        code, reason = decode_close(value)
    except CapsuleError:
        return "too short"
    (again,) = CapsuleReader().feed(encode_close(code, reason))
    read, text = decode_close(again.value)
    assert read == code
    assert reason.startswith(text)
    return "whole" if text == reason else "cut"


def headers(octets: bytes) -> Hashable:
    """Streams, datagrams, codes and sub-protocols of WebTransport: whose they are, whatever they say."""
    cursor = Cursor(octets)
    stream_id, kind = cursor.byte() % 8, cursor.byte() % 3
    rest = cursor.rest()
    if kind == 0:
        return ("stream", stream_id, *_demultiplexed(stream_id, rest))
    if kind == 1:
        try:
            session_id, payload = decode_http_datagram(rest)
        except NeedMoreData:
            return ("datagram", "short")
        assert decode_http_datagram(encode_http_datagram(session_id, payload)) == (session_id, payload)
        code = application_code(session_id)
        assert code is None or wire_code(code) == session_id
        return ("datagram", code is None, bool(payload))
    names = parse_available_protocols(rest.decode("latin-1"))
    assert parse_protocol(rest.decode("latin-1")) == (names[0] if len(names) == 1 else None)
    if all(" " <= character <= "~" for name in names for character in name):
        assert parse_available_protocols(format_available_protocols(names)) == names
    return ("names", min(len(names), 4))


def _demultiplexed(stream_id: int, octets: bytes) -> tuple[Any, ...]:
    outcomes = []
    for way in pieces(octets):
        streams = Demultiplexer()
        session: Any = "undecided"
        passed = b""
        for number, piece in enumerate(way):
            fin = number == len(way) - 1
            delivery = streams.receive(stream_id, piece, fin)
            if delivery is None:
                assert not fin, "the end of a stream is not passed on"
                continue
            assert session in ("undecided", delivery.session_id), "a stream changes its session"
            session = delivery.session_id
            passed += delivery.data
        outcomes.append((session, passed))
    assert outcomes[0] == outcomes[1] == outcomes[2], "a stream's session depends on how its bytes are cut"
    session, passed = outcomes[0]
    assert octets.endswith(passed)
    assert session is not None or passed == octets, "bytes of HTTP/3 are lost"
    return (session is None, len(octets) - len(passed))


# ---- the list --------------------------------------------------------------------------------------

TYPES = tuple(
    sorted(
        {
            draft.integers.encode(number)
            for draft in DRAFTS.values()
            for number in (
                *(0x02, 0x03, 0x04, 0x05, 0x07, 0x08, 0x09, 0x0A, 0x0E, 0x10, 0x20, 0x21, 0x22, 0x30, 0x32),
                *(
                    0x33,
                    0x34,
                    0x3C,
                    0x3E,
                    0x50,
                    0x51,
                    0x8C,
                    0x10C,
                    0x2F00,
                    0x132B3E28,
                    0x132B3E29,
                    0xFF00000E,
                ),
            )
        }
    )
)
"Types of messages, streams, parameters, options and properties, as the drafts write them."

TARGETS = (
    Target("integers", "integers of variable length, all codings", integers, size=16),
    Target("control", "control messages of either end", control, TYPES, relength),
    Target("data", "data streams: subgroups, fetches and padding", data, TYPES),
    Target("datagram", "datagrams", datagram, TYPES, size=256),
    Target(
        "capsules",
        "capsules on the CONNECT stream of WebTransport",
        capsules,
        (b"\x68\x43", b"\x80\x00\x78\xae", b"\x29\x04abcd"),
    ),
    Target(
        "headers",
        "stream headers, datagrams, codes and sub-protocols of WebTransport",
        headers,
        (
            b"\x40\x54",
            b"\x40\x41",
            b"\x00",
            b'"moqt-18"',
            b", ",
            b'\\"',
            b";q=1",
            b"\xc0\x00\x52\xe4\xa4\x0f\xa8\xdb",
        ),
        size=256,
    ),
)
