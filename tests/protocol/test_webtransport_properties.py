"""What holds for all capsules, stream headers, datagrams, codes and names of WebTransport."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import PROFILE, cut

from pytest_moqt.protocol.errors import NeedMoreData
from pytest_moqt.protocol.transport import is_unidirectional
from pytest_moqt.protocol.varint import QUIC_VARINT
from pytest_moqt.protocol.webtransport import (
    MAX_CAPSULE_VALUE,
    MAX_CLOSE_REASON,
    MAX_SESSION_CODE,
    Capsule,
    CapsuleError,
    CapsuleReader,
    CapsuleType,
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

MANY = settings(PROFILE, max_examples=100)
CODES = st.integers(0, MAX_SESSION_CODE)
KEPT = st.builds(Capsule, st.sampled_from(list(map(int, CapsuleType))), st.binary(max_size=40))
SKIPPED = st.builds(
    Capsule,
    st.integers(0, QUIC_VARINT.maximum).filter(lambda kind: kind not in list(CapsuleType)),
    st.binary(max_size=40),
)
SESSIONS = st.integers(0, (QUIC_VARINT.maximum - 3) // 4).map(lambda quarter: quarter * 4)
STREAMS = st.integers(0, 100)
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)


def read(pieces: list[bytes], *, ended: bool = True) -> tuple[list[Capsule], str]:
    """The capsules before the end or the first error, and the error."""
    reader = CapsuleReader()
    found: list[Capsule] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
            assert len(reader._buffer) <= MAX_CAPSULE_VALUE + 16
        if ended:
            reader.end()
    except CapsuleError as error:
        return [], str(error)
    return found, ""


@MANY
@given(data=st.data())
def test_capsules_survive_however_they_are_cut(data: st.DataObject) -> None:
    """Those that end a session come out whole and in order, others are passed over."""
    capsules = data.draw(st.lists(KEPT | SKIPPED, max_size=5))
    written = b"".join(encode_capsule(capsule.type, capsule.value) for capsule in capsules)
    kept = [capsule for capsule in capsules if capsule.type in list(CapsuleType)]

    assert read([written]) == (kept, "")
    assert read([written[at : at + 1] for at in range(len(written))]) == (kept, "")
    assert read(data.draw(cut(written))) == (kept, "")


@MANY
@given(capsule=KEPT | SKIPPED)
def test_every_prefix_of_a_capsule_needs_more(capsule: Capsule) -> None:
    """It is no capsule yet, and an error only where the stream ends."""
    written = encode_capsule(capsule.type, capsule.value)

    for end in range(1, len(written)):
        assert read([written[:end]], ended=False) == ([], "")
        assert read([written[:end]])[1] == "the CONNECT stream ended inside a capsule"


@MANY
@given(data=st.data())
def test_any_bytes_make_capsules_however_they_are_cut(data: st.DataObject) -> None:
    """Capsules, or the one error, do not depend on how their bytes arrive."""
    known = st.sampled_from([b"\x68\x43\x04", b"\x80\x00\x78\xae", b"\x68\x43\x46\x05", b"\x29\x03"])
    octets = b"".join(data.draw(st.lists(st.binary(max_size=9) | known, max_size=8)))

    outcomes = [
        read(pieces)
        for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))], data.draw(cut(octets)))
    ]

    assert outcomes[0] == outcomes[1] == outcomes[2]


@MANY
@given(code=CODES, reason=st.text(max_size=20), times=st.sampled_from([1, 1, 200]))
def test_a_close_survives_with_as_much_of_its_reason_as_fits(code: int, reason: str, times: int) -> None:
    """The code whole, the reason cut between characters; what has no UTF-8 is replaced."""
    ((capsule,), _) = read([encode_close(code, reason * times)])

    read_code, read_reason = decode_close(capsule.value)

    assert read_code == code
    assert len(read_reason.encode()) <= MAX_CLOSE_REASON
    said = (reason * times).encode("utf-8", "replace").decode()
    assert said.startswith(read_reason)
    assert read_reason == said or len(said.encode()) > MAX_CLOSE_REASON


@MANY
@given(value=st.binary(max_size=12))
def test_any_value_of_a_close_is_read_or_refused(value: bytes) -> None:
    """Four bytes of code, and any bytes for a reason."""
    try:
        code, _ = decode_close(value)
    except CapsuleError:
        assert len(value) < 4
    else:
        assert code == int.from_bytes(value[:4], "big")


@MANY
@given(code=CODES, wire=st.integers(0, QUIC_VARINT.maximum))
def test_codes_map_one_to_one(code: int, wire: int) -> None:
    """Every code has its place in HTTP/3's range, and nothing else there is a code."""
    assert application_code(wire_code(code)) == code
    mapped = application_code(wire)
    assert mapped is None or wire_code(mapped) == wire


@MANY
@given(data=st.data())
def test_streams_of_a_session_are_told_from_http3_however_they_are_cut(data: st.DataObject) -> None:
    """All bytes behind a header come out, for its session; all bytes of another stream for HTTP/3."""
    stream_id, session_id, payload = data.draw(st.tuples(STREAMS, SESSIONS, st.binary(max_size=12)))
    header = stream_header(session_id, unidirectional=is_unidirectional(stream_id))
    octets = data.draw(st.sampled_from([header + payload, payload]))
    expected = (session_id, payload) if octets != payload else None

    outcomes = []
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))], data.draw(cut(octets))):
        streams = Demultiplexer()
        passed = b""
        sessions: set[Any] = set()
        for number, piece in enumerate(pieces or [b""]):
            delivery = streams.receive(stream_id, piece, number >= len(pieces) - 1)
            if delivery is not None:
                passed += delivery.data
                sessions.add(delivery.session_id)
            assert all(len(kept) <= 15 for kept in streams._headers.values())
        assert len(sessions) == 1
        outcomes.append((sessions.pop(), passed))

    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert expected is None or outcomes[0] == expected
    assert outcomes[0][0] is not None or outcomes[0][1] == octets


@MANY
@given(session_id=SESSIONS, payload=st.binary(max_size=9))
def test_datagrams_survive(session_id: int, payload: bytes) -> None:
    """The session is a quarter of its number; too few bytes for that need more."""
    written = encode_datagram(session_id, payload)

    assert decode_datagram(written) == (session_id, payload)
    for end in range(len(written) - len(payload)):
        with pytest.raises(NeedMoreData):
            decode_datagram(written[:end])


@MANY
@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_names_survive(names: list[str]) -> None:
    """A list of structured-field strings is read as it was written, with any printable character in it."""
    assert parse_available_protocols(format_available_protocols(names)) == names
    assert parse_protocol(format_protocol(names[0])) == names[0]


@MANY
@given(value=st.text(st.sampled_from(list('ab",; \t\\=?é\x00')), max_size=12))
def test_any_text_is_names_or_none(value: str) -> None:
    """A header that cannot be read is as good as absent, and never an error."""
    names = parse_available_protocols(value)

    assert all(names)
    assert parse_protocol(value) == (names[0] if len(names) == 1 else None)
