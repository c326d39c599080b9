"""WebTransport as bytes: codes, capsules, stream headers, the sub-protocol header."""

from __future__ import annotations

import pytest

from pytest_moqt.protocol.errors import NeedMoreData
from pytest_moqt.protocol.webtransport import (
    MAX_CAPSULE_VALUE,
    Capsule,
    CapsuleError,
    CapsuleReader,
    CapsuleType,
    Delivery,
    Demultiplexer,
    application_code,
    decode_close,
    decode_datagram,
    encode_capsule,
    encode_close,
    encode_datagram,
    format_available_protocols,
    format_protocol,
    parse_available_protocols,
    parse_protocol,
    stream_header,
    wire_code,
)

# From draft-ietf-webtrans-http3 section 4.3: first and last code, and the first behind a reserved one.
CODES = [(0x0, 0x52E4A40FA8DB), (0x1, 0x52E4A40FA8DC), (0x1E, 0x52E4A40FA8FA), (0xFFFFFFFF, 0x52E5AC983162)]


@pytest.mark.parametrize(("code", "wire"), CODES)
def test_codes_map_to_http3_and_back(code: int, wire: int) -> None:
    """Codes of 32 bits have their place in HTTP/3's range."""
    assert wire_code(code) == wire
    assert application_code(wire) == code


def test_every_code_survives_and_reserved_ones_are_stepped_over() -> None:
    """The mapping is one to one and never lands on a code reserved for grease."""
    wires = [wire_code(code) for code in range(1000)]

    assert [application_code(wire) for wire in wires] == list(range(1000))
    assert all((wire - 0x21) % 0x1F for wire in wires)
    assert wires == sorted(set(wires))


@pytest.mark.parametrize("wire", [0, 0x100, 0x52E4A40FA8DA, 0x52E4A40FA8F9, 0x52E5AC983163, 2**62 - 1])
def test_other_codes_carry_none(wire: int) -> None:
    """HTTP/3's own codes, reserved ones and those beyond the range are no application's."""
    assert application_code(wire) is None


@pytest.mark.parametrize("code", [-1, 2**32])
def test_codes_beyond_32_bits_cannot_be_sent(code: int) -> None:
    """WebTransport carries 32 bits."""
    with pytest.raises(ValueError, match="0xffffffff"):
        wire_code(code)
    with pytest.raises(ValueError, match="0xffffffff"):
        encode_close(code)


def test_a_close_capsule_has_code_and_reason() -> None:
    """Type 0x2843, length, 4 bytes of code, UTF-8."""
    capsule = encode_close(3, "bye")

    assert capsule == bytes.fromhex("68430700000003") + b"bye"
    assert decode_close(capsule[3:]) == (3, "bye")


def test_a_long_reason_is_cut_between_characters() -> None:
    """A reason has at most 1024 bytes."""
    (capsule,) = CapsuleReader().feed(encode_close(0, "x" + "ü" * 1000))

    assert decode_close(capsule.value) == (0, "x" + "ü" * 511)


def test_a_close_without_a_whole_code_is_an_error() -> None:
    """Four bytes are the least."""
    with pytest.raises(CapsuleError, match="3 bytes"):
        decode_close(b"\0\0\0")


def test_a_reason_that_is_no_utf8_is_replaced() -> None:
    """A peer's broken text does not hide its code."""
    assert decode_close(b"\0\0\0\7a\xff") == (7, "a\ufffd")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_capsules_are_read_however_they_are_cut(size: int) -> None:
    """Capsules come out whole and in order; unknown ones are skipped, their length notwithstanding."""
    stream = (
        encode_capsule(0x29, b"grease")
        + encode_capsule(CapsuleType.DRAIN_WEBTRANSPORT_SESSION)
        + encode_capsule(0x190B4D3D, bytes(5000))
        + encode_close(1, "end")
    )
    reader = CapsuleReader()

    found = [
        capsule
        for start in range(0, len(stream), size)
        for capsule in reader.feed(stream[start : start + size])
    ]
    reader.end()

    assert found == [Capsule(0x78AE, b""), Capsule(0x2843, b"\0\0\0\1end")]


def test_an_oversized_close_is_refused_before_it_comes() -> None:
    """A length beyond reason is an error at once, not a buffer."""
    with pytest.raises(CapsuleError, match=str(MAX_CAPSULE_VALUE)):
        CapsuleReader().feed(bytes.fromhex("6843ffffffffffffffff"))


def test_skipping_an_endless_capsule_keeps_nothing() -> None:
    """An unknown capsule of 2^62-1 bytes costs no memory."""
    reader = CapsuleReader()
    reader.feed(bytes.fromhex("29ffffffffffffffff"))

    for _ in range(100):
        assert reader.feed(bytes(10000)) == []

    assert reader._buffer == b""
    with pytest.raises(CapsuleError, match="inside a capsule"):
        reader.end()


@pytest.mark.parametrize("prefix", [b"\x68", b"\x68\x43", b"\x68\x43\x07\x00"])
def test_an_end_inside_a_capsule_is_an_error(prefix: bytes) -> None:
    """A truncated capsule is malformed."""
    reader = CapsuleReader()
    assert reader.feed(prefix) == []

    with pytest.raises(CapsuleError):
        reader.end()


def test_stream_headers_are_signal_and_session() -> None:
    """0x41 and 0x54 as integers of two bytes, then the session's id."""
    assert stream_header(0, unidirectional=False) == bytes.fromhex("404100")
    assert stream_header(64, unidirectional=True) == bytes.fromhex("40544040")


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize(("stream_id", "unidirectional"), [(1, False), (0, False), (3, True), (2, True)])
def test_streams_of_a_session_are_recognised(stream_id: int, unidirectional: bool, size: int) -> None:
    """Whoever opened the stream and however its header is cut, the bytes behind it come out."""
    stream = stream_header(4, unidirectional=unidirectional) + b"payload"
    streams = Demultiplexer()

    found = [
        streams.receive(stream_id, stream[start : start + size], start + size >= len(stream))
        for start in range(0, len(stream), size)
    ]

    deliveries = [delivery for delivery in found if delivery is not None]
    assert b"".join(delivery.data for delivery in deliveries) == b"payload"
    assert {delivery.session_id for delivery in deliveries} == {4}
    assert deliveries[-1].fin
    assert streams.session_of(stream_id) == 4


def test_a_header_that_comes_alone_opens_the_stream() -> None:
    """Some relays send the header in a packet of its own."""
    assert Demultiplexer().receive(3, stream_header(0, unidirectional=True), False) == Delivery(0, b"", False)


@pytest.mark.parametrize(
    ("stream_id", "data"),
    [(3, b"\x00\x04\x00"), (3, b"\x40\x41\x00"), (1, b"\x40\x54\x00"), (0, b"\x01\x05hello")],
    ids=["control", "bidirectional signal", "unidirectional signal", "request"],
)
def test_streams_of_http3_pass_with_all_their_bytes(stream_id: int, data: bytes) -> None:
    """Nothing is taken off a stream that belongs to no session."""
    streams = Demultiplexer()

    assert streams.receive(stream_id, data, False) == Delivery(None, data, False)
    assert streams.receive(stream_id, b"more", True) == Delivery(None, b"more", True)
    assert (streams.is_known(stream_id), streams.session_of(stream_id)) == (True, None)


@pytest.mark.parametrize("data", [b"", b"\x40", b"\x40\x54", b"\x40\x54\x80"])
def test_a_stream_that_ends_inside_its_header_is_left_to_http3(data: bytes) -> None:
    """It can belong to no session."""
    assert Demultiplexer().receive(3, data, True) == Delivery(None, data, True)


def test_a_stream_of_ours_has_no_header_from_the_peer() -> None:
    """The peer's half of a stream opened here begins with its first byte."""
    streams = Demultiplexer()
    streams.opened(0, 8)

    assert streams.receive(0, b"\x40\x41", False) == Delivery(8, b"\x40\x41", False)
    streams.forget(0)
    assert not streams.is_known(0)


def test_datagrams_name_a_quarter_of_the_session() -> None:
    """Session 4 is quarter stream id 1."""
    assert encode_datagram(4, b"x") == b"\x01x"
    assert decode_datagram(b"\x01x") == (4, b"x")
    with pytest.raises(NeedMoreData):
        decode_datagram(b"\x40")


def test_offers_are_quoted_strings() -> None:
    """A list of structured-field strings, escapes included."""
    assert format_available_protocols(["moqt-18", "moqt-16"]) == '"moqt-18", "moqt-16"'
    assert format_protocol('a"\\') == '"a\\"\\\\"'
    with pytest.raises(ValueError, match="printable ASCII"):
        format_protocol("ü")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ('"moqt-18", "moqt-16"', ["moqt-18", "moqt-16"]),
        ('"moqt-18"\t,"moqt-16"  ', ["moqt-18", "moqt-16"]),
        ("moqt-18,moqt-16", ["moqt-18", "moqt-16"]),
        ('"a";q=1, b;x', ["a", "b"]),
        ('"a\\"\\\\b"', ['a"\\b']),
        ('"a,b"', ["a,b"]),
        ("", []),
        ("  ", []),
        ('"a', []),
        ('"a\\', []),
        ('"a",', []),
        (",a", []),
        ("a b", []),
        ('a"b"', []),
    ],
)
def test_offers_are_read_leniently(value: str, names: list[str]) -> None:
    """Strings or bare tokens; a field that cannot be read counts as absent."""
    assert parse_available_protocols(value) == names


@pytest.mark.parametrize(
    ("value", "name"),
    [('"moqt-18"', "moqt-18"), ("moqt-18", "moqt-18"), ("", None), ('"a", "b"', None), ('"', None)],
)
def test_an_answer_is_one_name(value: str, name: str | None) -> None:
    """With quotes or without."""
    assert parse_protocol(value) == name
