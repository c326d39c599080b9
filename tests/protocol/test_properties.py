"""What holds for all messages, objects and bytes, on examples that hypothesis makes."""

from __future__ import annotations

from typing import Any

import pytest
from fake_transport import FakeTransport
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    PROFILE,
    ROW_IDS,
    ROWS,
    damaged,
    datagrams,
    fetches,
    messages,
    properties,
    subgroups,
)

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.errors import (
    LocalProtocolError,
    NeedMoreData,
    ProtocolViolation,
    RemoteProtocolError,
)
from pytest_moqt.protocol.framing import Frame, FrameBuffer, decode, encode_by
from pytest_moqt.protocol.layouts import Layout, Sender
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    ObjectTooLarge,
    Padding,
    SubgroupEncoder,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.session import Session
from pytest_moqt.protocol.transport import DatagramData, StopSending, StreamData, StreamReset
from pytest_moqt.protocol.varint import QUIC_VARINT, VI64, VI64_17, IntegerCoding
from pytest_moqt.protocol.webtransport import CapsuleError, CapsuleReader

DRAFT_ROWS = [pytest.param(draft, id=draft.name) for draft in DRAFTS.values()]
CODINGS = [pytest.param(coding, id=coding.name) for coding in (QUIC_VARINT, VI64_17, VI64)]


# ---- integers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", CODINGS)
@PROFILE
@given(data=st.data())
def test_integer_survives_in_every_length(coding: IntegerCoding, data: st.DataObject) -> None:
    """A value written in any length that holds it is read back, and the shortest is what is written."""
    length = data.draw(st.sampled_from(coding.lengths))
    value = data.draw(st.integers(0, coding.capacity(length)))
    tail = data.draw(st.binary(max_size=3))

    written = coding.encode(value, length)

    assert len(written) == length
    assert coding.decode(written + tail) == (value, length)
    assert coding.decode(b"\x00" + written, 1) == (value, length + 1)
    shortest = next(size for size in coding.lengths if value <= coding.capacity(size))
    assert len(coding.encode(value)) == shortest
    for end in range(length):
        with pytest.raises(NeedMoreData):
            coding.decode(written[:end])


@pytest.mark.parametrize("coding", CODINGS)
def test_every_first_byte_begins_an_integer_or_is_refused(coding: IntegerCoding) -> None:
    """The first byte alone tells the length; draft 17 has none for 0xFC and 0xFD."""
    for first in range(256):
        data = bytes([first]) + bytes(8)
        if coding is VI64_17 and first in (0xFC, 0xFD):
            with pytest.raises(ProtocolViolation):
                coding.decode(data)
        else:
            value, end = coding.decode(data)
            assert coding.encode(value, end) == data[:end]


@pytest.mark.parametrize("coding", CODINGS)
def test_integer_out_of_range_is_our_error(coding: IntegerCoding) -> None:
    """What cannot be written is refused before anything is sent."""
    with pytest.raises(LocalProtocolError):
        coding.encode(coding.maximum + 1)
    with pytest.raises(LocalProtocolError):
        coding.encode(-1)
    with pytest.raises(LocalProtocolError):
        coding.encode(coding.capacity(1) + 1, 1)


# ---- control messages ------------------------------------------------------------------------------


def _decode(frame: Frame, draft: Draft, layout: Layout) -> m.Message:
    message, row = decode(frame, draft, layout.sender or Sender.SERVER)
    assert row is layout
    return message


@pytest.mark.parametrize(("draft", "layout"), ROWS, ids=ROW_IDS)
@PROFILE
@given(data=st.data())
def test_message_survives_the_wire(draft: Draft, layout: Layout, data: st.DataObject) -> None:
    """What is written is read back equal, whole or one byte at a time, and written again the same."""
    message = data.draw(messages(draft, layout))

    frame = encode_by(message, layout, draft)
    buffer = FrameBuffer(draft)
    written = frame.encode(draft)
    taken = []
    for byte in written:
        assert not taken
        buffer.feed(bytes([byte]))
        taken += [found for found in [buffer.take()] if found]

    assert taken == [frame]
    assert _decode(frame, draft, layout) == message
    assert encode_by(_decode(frame, draft, layout), layout, draft) == frame


@pytest.mark.parametrize(("draft", "layout"), ROWS, ids=ROW_IDS)
@PROFILE
@given(data=st.data())
def test_damaged_message_is_read_or_refused(draft: Draft, layout: Layout, data: st.DataObject) -> None:
    """Any bytes in a message's place give a message that can be written again, or a RemoteProtocolError."""
    body = encode_by(data.draw(messages(draft, layout)), layout, draft).body
    frame = Frame(layout.code, data.draw(st.one_of(damaged(body), st.binary(max_size=30))))

    try:
        message = _decode(frame, draft, layout)
    except RemoteProtocolError:
        return

    assert isinstance(message, layout.message)
    try:
        written = encode_by(message, layout, draft)
    except LocalProtocolError:
        return  # a reply's parameter that is out of scope is read and not written
    assert _decode(written, draft, layout) == message


@pytest.mark.parametrize(("draft", "layout"), ROWS, ids=ROW_IDS)
@settings(PROFILE, max_examples=4)
@given(data=st.data())
def test_message_cut_or_lengthened_is_refused(draft: Draft, layout: Layout, data: st.DataObject) -> None:
    """A body that is shorter or longer than its fields is never taken for the message."""
    message = data.draw(messages(draft, layout))
    body = encode_by(message, layout, draft).body
    open_ended = (
        layout.fields[-1].name in ("track_properties", "options", "request_id") and not layout.answers
    )
    open_ended |= layout.fields[-1].name == "track_properties"

    for end in range(len(body)):
        try:
            shorter = _decode(Frame(layout.code, body[:end]), draft, layout)
        except RemoteProtocolError:
            continue
        # Pairs that run to the end of a message may end earlier, but only with one pair less.
        assert open_ended
        assert shorter != message

    if not open_ended:
        with pytest.raises(RemoteProtocolError):
            _decode(Frame(layout.code, body + b"\x00"), draft, layout)


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=100)
@given(chunks=st.lists(st.binary(max_size=9), max_size=8))
def test_any_bytes_make_frames_however_they_are_cut(draft: Draft, chunks: list[bytes]) -> None:
    """Frames do not depend on how their bytes arrive."""
    pieces, whole = FrameBuffer(draft), FrameBuffer(draft, b"".join(chunks))

    in_pieces = []
    for chunk in chunks:
        pieces.feed(chunk)
        while (frame := pieces.take()) is not None:
            in_pieces.append(frame)

    at_once = []
    while (frame := whole.take()) is not None:
        at_once.append(frame)
    assert in_pieces == at_once
    assert pieces.pending == whole.pending


# ---- the data plane --------------------------------------------------------------------------------


def _write_subgroup(draft: Draft, header: Any, objects: list[Any]) -> bytes:
    encoder = SubgroupEncoder(header, draft)
    return encoder.header() + b"".join(encoder.object(item) for item in objects)


def _write_fetch(draft: Draft, request_id: int, descending: bool, items: list[Any]) -> bytes:
    encoder = FetchEncoder(draft, descending=descending)
    data = encoder.header(request_id)
    for item in items:
        data += encoder.range_end(item) if isinstance(item, FetchRangeEnd) else encoder.object(item)
    return data


def _by_byte(decoder: DataStreamDecoder, data: bytes) -> tuple[list[Any], str]:
    """The items before the first error, and the error."""
    items: list[Any] = []
    try:
        for byte in data:
            items += decoder.feed(bytes([byte]))
        items += decoder.feed(b"", fin=True)
    except (RemoteProtocolError, ObjectTooLarge) as error:
        return items, f"{type(error).__name__}: {error}"
    return items, ""


def _at_once(decoder: DataStreamDecoder, data: bytes) -> tuple[list[Any], str]:
    try:
        return decoder.feed(data, fin=True), ""
    except (RemoteProtocolError, ObjectTooLarge) as error:
        return [], f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=60)
@given(data=st.data())
def test_subgroup_survives_the_wire(draft: Draft, data: st.DataObject) -> None:
    """A subgroup stream is read as it was written, whole or one byte at a time."""
    header, objects = data.draw(subgroups(draft))

    written = _write_subgroup(draft, header, objects)

    assert DataStreamDecoder(draft).feed(written, fin=True) == [header, *objects]
    assert _by_byte(DataStreamDecoder(draft), written) == ([header, *objects], "")


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=60)
@given(data=st.data())
def test_fetch_survives_the_wire(draft: Draft, data: st.DataObject) -> None:
    """A fetch stream is read as it was written, in either group order."""
    descending, items = data.draw(fetches(draft))
    written = _write_fetch(draft, 7, descending, items)

    def decoder() -> DataStreamDecoder:
        return DataStreamDecoder(draft, descending=lambda request_id: descending and request_id == 7)

    header, *read = decoder().feed(written, fin=True)
    assert read == items
    assert _by_byte(decoder(), written) == ([header, *read], "")


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=60)
@given(data=st.data())
def test_damaged_data_stream_is_read_or_refused_alike_however_it_is_cut(
    draft: Draft, data: st.DataObject
) -> None:
    """Any bytes of a data stream give objects or one error, the same whole or one byte at a time."""
    descending, items = data.draw(fetches(draft))
    valid = data.draw(
        st.sampled_from(
            [_write_subgroup(draft, *data.draw(subgroups(draft))), _write_fetch(draft, 7, descending, items)]
        )
    )
    broken = data.draw(st.one_of(damaged(valid), st.binary(max_size=30)))

    slow, slow_error = _by_byte(DataStreamDecoder(draft, max_object_size=16), broken)
    whole, error = _at_once(DataStreamDecoder(draft, max_object_size=16), broken)

    assert error == slow_error
    if not error:
        assert whole == slow


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=100)
@given(data=st.data())
def test_datagram_survives_the_wire(draft: Draft, data: st.DataObject) -> None:
    """A datagram is read as it was written."""
    item = data.draw(datagrams(draft))

    written = encode_datagram(item, draft)

    assert decode_datagram(written, draft) == item


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=80)
@given(data=st.data())
def test_damaged_datagram_is_read_or_refused(draft: Draft, data: st.DataObject) -> None:
    """Any datagram gives an object that can be written again, or a RemoteProtocolError."""
    valid = encode_datagram(data.draw(datagrams(draft)), draft)
    broken = data.draw(st.one_of(damaged(valid), st.binary(max_size=20)))

    try:
        item = decode_datagram(broken, draft)
    except RemoteProtocolError:
        return

    if isinstance(item, ObjectDatagram):
        assert decode_datagram(encode_datagram(item, draft), draft) == item
    else:
        assert item == Padding()


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@PROFILE
@given(data=st.data())
def test_properties_of_an_object_keep_their_values(draft: Draft, data: st.DataObject) -> None:
    """Properties, known or not, arrive as they were sent."""
    given_properties = data.draw(properties(draft))
    item = FetchObject(1, 0, 0, 9, b"x", given_properties)

    _, read = DataStreamDecoder(draft).feed(_write_fetch(draft, 0, False, [item]), fin=True)

    assert isinstance(read, FetchObject)
    assert read.properties == given_properties


# ---- capsules --------------------------------------------------------------------------------------


@settings(PROFILE, max_examples=80)
@given(
    chunks=st.lists(
        st.one_of(st.binary(max_size=9), st.just(b"\x68\x43\x04"), st.just(b"\x80\x00\x78\xae")), max_size=8
    )
)
def test_any_bytes_make_capsules_however_they_are_cut(chunks: list[bytes]) -> None:
    """Capsules, or the error, do not depend on how their bytes arrive."""
    outcomes = []
    for pieces in (chunks, [b"".join(chunks)]):
        reader = CapsuleReader()
        found: list[Any] = []
        try:
            for piece in pieces:
                found += reader.feed(piece)
            reader.end()
        except CapsuleError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(str(found))

    assert outcomes[0] == outcomes[1]


# ---- sessions --------------------------------------------------------------------------------------


def _event(draft: Draft) -> st.SearchStrategy[Any]:
    rows = [layout for row, layout in ROWS if row is draft]
    stream = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 9, 11])
    frames = st.sampled_from(rows).flatmap(
        lambda layout: messages(draft, layout).map(
            lambda message: encode_by(message, layout, draft).encode(draft)
        )
    )
    subgroup = subgroups(draft).map(lambda both: _write_subgroup(draft, *both))
    some = st.one_of(frames, frames, subgroup, frames.flatmap(damaged), st.binary(max_size=12))
    code = st.none() | st.integers(0, 9)
    return st.one_of(
        st.builds(StreamData, stream, some, st.booleans()),
        st.builds(StreamData, stream, some),
        st.builds(StreamReset, stream, code, st.just(0)),
        st.builds(StopSending, stream, code, st.just(0)),
        st.builds(
            DatagramData, st.binary(max_size=9) | datagrams(draft).map(lambda d: encode_datagram(d, draft))
        ),
    )


@pytest.mark.parametrize("sender", Sender)
@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=30)
@given(data=st.data())
def test_session_survives_any_peer(draft: Draft, sender: Sender, data: st.DataObject) -> None:
    """Whatever arrives in whatever order, a session reports it or closes once, and never raises."""
    transport = FakeTransport(sender)
    session = Session(draft, transport, sender=sender, pass_over_requests=data.draw(st.booleans()))
    if sender is Sender.CLIENT:
        session.start()
    events = data.draw(st.lists(_event(draft), max_size=6))

    reported = [event for arrived in events for event in session.handle_event(arrived)]

    assert len(transport.closed) <= 1
    assert [type(event).__name__ for event in reported].count("SessionClosed") == len(transport.closed)
    assert (session.closed is not None) == bool(transport.closed)
    assert all(integer >= 0 for integer, _ in transport.closed)
    assert Reader(b"", draft.integers).at_end
