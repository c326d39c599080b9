"""What holds for all messages, objects and bytes, on examples that hypothesis makes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    PROFILE,
    ROW_IDS,
    ROWS,
    cut,
    damaged,
    datagrams,
    fetches,
    integers,
    is_end,
    messages,
    options,
    parameter_values,
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
from pytest_moqt.protocol.framing import Frame, FrameBuffer, decode, encode_by, pull_frame
from pytest_moqt.protocol.layouts import Layout, Sender, layout_of_message, layouts_of
from pytest_moqt.protocol.notation import from_json, to_json
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchObject,
    FetchRangeEnd,
    ObjectBeginning,
    ObjectDatagram,
    ObjectPart,
    ObjectTooLarge,
    Padding,
    StreamObject,
    SubgroupEncoder,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.parameter_layouts import PARAMETER_LAYOUTS, ParameterLayout, ParametersField
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.protocol.varint import QUIC_VARINT, VI64, VI64_17, IntegerCoding
from tests.sweeps import dealt, swept

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
@settings(PROFILE, max_examples=25)
@given(octets=st.binary(max_size=12))
def test_any_bytes_are_an_integer_too_few_or_refused(coding: IntegerCoding, octets: bytes) -> None:
    """Nothing else can come of them, and an integer that was read is what was written."""
    try:
        value, end = coding.decode(octets)
    except NeedMoreData:
        assert not octets or len(octets) < coding.size_of(octets[0])
    except ProtocolViolation:
        assert coding.size_of(octets[0]) == 0
    else:
        assert coding.encode(value, end) == octets[:end]


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
@settings(PROFILE, max_examples=4)
@given(data=st.data())
def test_every_prefix_of_a_message_needs_more(draft: Draft, layout: Layout, data: st.DataObject) -> None:
    """A message that is not whole is neither read nor refused, and the place in it is kept."""
    written = encode_by(data.draw(messages(draft, layout)), layout, draft).encode(draft)

    for end in range(len(written)):
        reader = Reader(b"\x07" + written[:end], draft.integers, 1)
        with pytest.raises(NeedMoreData):
            pull_frame(reader)
        assert reader.offset == 1

    # What would be behind it does not count: neither for a reader that ends before.
    reader = Reader(written, draft.integers, 0, len(written) - 1)
    with pytest.raises(NeedMoreData):
        pull_frame(reader)


class Place(NamedTuple):
    """A parameter in a message of a draft."""

    draft: Draft
    layout: Layout
    row: ParameterLayout

    def __str__(self) -> str:
        return f"{self.draft.number}-{self.layout.name}-{self.row.parameter}"


PARAMETER_PLACES = [
    Place(draft, layout, row)
    for draft in DRAFTS.values()
    for layout in layouts_of(draft)
    for field in layout.fields
    if isinstance(field, ParametersField)
    for row in PARAMETER_LAYOUTS
    if row.scope & field.scopes and is_end(draft, layout.span, row.span)
]
"Each parameter in each message, in the oldest and in the newest draft that has both rows."


def _one_end_of_each() -> list[Place]:
    ends: dict[tuple[int, int], list[Place]] = {}
    for place in PARAMETER_PLACES:
        ends.setdefault((id(place.layout), id(place.row)), []).append(place)
    return [dealt(places, f"{places[0].layout.name}-{places[0].row.parameter}") for places in ends.values()]


@pytest.mark.parametrize("place", swept(PARAMETER_PLACES, _one_end_of_each()))
@settings(PROFILE, max_examples=3)
@given(data=st.data())
def test_parameter_survives_in_every_message_that_has_it(place: Place, data: st.DataObject) -> None:
    """Beside any others, alone or, where it may, several times."""
    draft, layout, row = place
    message: Any = data.draw(messages(draft, layout))
    values = st.lists(
        parameter_values(draft, row.parameter, row.codec.kind),
        min_size=1,
        max_size=3 if row.repeatable else 1,
    )
    given = [(row.parameter, value) for value in data.draw(values)]
    others = [pair for pair in message.parameters.pairs if pair[0] != row.parameter]
    message = dataclasses.replace(message, parameters=KeyValues([*others, *given]))

    read = _decode(encode_by(message, layout, draft), draft, layout)

    assert read == message
    assert read.parameters.all(row.parameter) == tuple(value for _, value in given)


@pytest.mark.parametrize("sender", Sender)
@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=16)
@given(data=st.data())
def test_setup_options_survive(draft: Draft, sender: Sender, data: st.DataObject) -> None:
    """Known and unknown options, from either end, in the order of the draft."""
    given = data.draw(options(draft))
    layout = layout_of_message(draft, m.Setup, sender=sender)
    setup = m.Setup(given, () if draft.version_code is None else (draft.version_code,))

    read, row = decode(encode_by(setup, layout, draft), draft, sender)

    assert (read, row) == (setup, layout)


@pytest.mark.parametrize("sender", Sender)
@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=50)
@given(data=st.data())
def test_any_type_and_body_are_a_message_or_refused(
    draft: Draft, sender: Sender, data: st.DataObject
) -> None:
    """Whatever type is said, known or not; and a refusal says where in the body."""
    known = st.sampled_from([row.code for row in layouts_of(draft)])
    frame = Frame(data.draw(known | integers(draft)), data.draw(st.binary(max_size=40)))

    refusal: RemoteProtocolError | None = None
    try:
        message, layout = decode(frame, draft, sender)
    except RemoteProtocolError as error:
        refusal = error

    if refusal is not None:
        assert refusal.offset is None or 0 <= refusal.offset <= len(frame.body)
        return
    assert isinstance(message, layout.message)
    assert layout.code == frame.type
    assert layout.sender in (None, sender)


@pytest.mark.parametrize(("draft", "layout"), ROWS, ids=ROW_IDS)
@settings(PROFILE, max_examples=4)
@given(data=st.data())
def test_message_survives_json(draft: Draft, layout: Layout, data: st.DataObject) -> None:
    """What `decode` prints of a message is the message again."""
    message = data.draw(messages(draft, layout))

    assert from_json(json.loads(json.dumps(to_json(message)))) == message


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
@settings(PROFILE, max_examples=40)
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


class _Counted(bytes):
    """Bytes that count how many of them are copied."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.copied += len(found) if isinstance(key, slice) else 0
        return found


@pytest.mark.parametrize("draft", DRAFT_ROWS)
def test_a_frame_costs_the_same_however_many_come_at_once(draft: Draft) -> None:
    """A read of many small frames, as a window full of them after a loss, is not copied once for each."""
    data = _Counted(Frame(0, b"body").encode(draft) * 1000)
    buffer = FrameBuffer(draft, data)

    taken = sum(1 for _ in iter(buffer.take, None))

    assert (taken, buffer.pending) == (1000, b"")
    assert data.copied <= len(data)


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


def _fed(decoder: DataStreamDecoder, pieces: Iterable[bytes]) -> tuple[list[Any], str]:
    """The items before the end or the first error, and the error, of a stream that comes in these pieces."""
    items: list[Any] = []
    *before, last = [*pieces] or [b""]
    try:
        for piece in before:
            items += decoder.feed(piece)
        items += decoder.feed(last, fin=True)
    except (RemoteProtocolError, ObjectTooLarge) as error:
        at = getattr(error, "offset", None)
        return items + decoder.completed, f"{type(error).__name__}: {error} at {at}"
    return items, ""


def _by_byte(decoder: DataStreamDecoder, data: bytes) -> tuple[list[Any], str]:
    return _fed(decoder, [*(data[at : at + 1] for at in range(len(data))), b""])


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
@given(data=st.data())
def test_subgroup_survives_the_wire(draft: Draft, data: st.DataObject) -> None:
    """A subgroup stream is read as it was written, whole or one byte at a time."""
    header, objects = data.draw(subgroups(draft))

    written = _write_subgroup(draft, header, objects)

    assert DataStreamDecoder(draft).feed(written, fin=True) == [header, *objects]
    assert _by_byte(DataStreamDecoder(draft), written) == ([header, *objects], "")


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
@given(data=st.data())
def test_a_subgroup_in_parts_is_the_same(draft: Draft, data: st.DataObject) -> None:
    """Whatever the stream is cut into, and from where on parts are wanted; and so it is written again."""
    header, objects = data.draw(subgroups(draft))
    pieces = data.draw(cut(_write_subgroup(draft, header, objects)))
    least = data.draw(st.integers(1, 4))
    whole_pieces = data.draw(st.integers(0, len(pieces)))

    decoder = DataStreamDecoder(draft)
    items = [item for piece in pieces[:whole_pieces] for item in decoder.feed(piece)]
    items += decoder.give_parts(least)
    items += [item for piece in pieces[whole_pieces:] for item in decoder.feed(piece)]
    decoder.feed(b"", fin=True)

    assert [header, *_put_together(items[1:], least)] == [header, *objects]
    encoder = SubgroupEncoder(header, draft)
    written = [_write_item(encoder, item) for item in items[1:]]
    assert encoder.header() + b"".join(written) == _write_subgroup(draft, header, objects)
    assert decoder.received == sum(map(len, pieces))


def _put_together(items: Sequence[Any], least: int) -> list[StreamObject]:
    """The objects of which some came in parts, each of them of this length at least, none of no bytes."""
    objects: list[StreamObject] = []
    left = 0
    for item in items:
        if isinstance(item, ObjectPart):
            assert item.payload
            left -= len(item.payload)
            assert item.left == left
            objects[-1] = dataclasses.replace(objects[-1], payload=objects[-1].payload + item.payload)
            continue
        assert left == 0
        if isinstance(item, ObjectBeginning):
            assert item.length >= least
            left = item.length
            item = StreamObject(item.object_id, b"", 0, item.properties)
        objects.append(item)
    return objects


def _write_item(encoder: SubgroupEncoder, item: Any) -> bytes:
    if isinstance(item, ObjectPart):
        return item.payload
    return encoder.beginning(item) if isinstance(item, ObjectBeginning) else encoder.object(item)


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
@given(data=st.data())
def test_a_subgroup_in_parts_is_refused_where_it_is_in_whole(draft: Draft, data: st.DataObject) -> None:
    """And so are streams that end inside an object, at whichever byte."""
    valid = _write_subgroup(draft, *data.draw(subgroups(draft)))
    broken = data.draw(st.one_of(damaged(valid), st.integers(0, len(valid)).map(lambda end: valid[:end])))

    def refusal(*, in_parts: bool) -> str:
        decoder = DataStreamDecoder(draft, max_object_size=16)
        if in_parts:
            decoder.give_parts(1)
        error = _by_byte(decoder, broken)[1]
        return error.partition(":")[0]

    assert refusal(in_parts=True) == refusal(in_parts=False)


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
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


def _stream(draft: Draft, data: st.DataObject) -> tuple[bytes, bool]:
    """A valid data stream, and whether a fetch in it is in descending order."""
    if data.draw(st.booleans()):
        return _write_subgroup(draft, *data.draw(subgroups(draft))), False
    descending, items = data.draw(fetches(draft))
    return _write_fetch(draft, 7, descending, items), descending


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
@given(data=st.data())
def test_every_prefix_of_a_data_stream_needs_more(draft: Draft, data: st.DataObject) -> None:
    """A stream that is cut off brings what was whole, and is at fault only if it ends inside an object."""
    written, descending = _stream(draft, data)

    def decoder() -> DataStreamDecoder:
        return DataStreamDecoder(draft, descending=lambda _: descending)

    whole = decoder().feed(written, fin=True)
    for end in range(len(written)):
        open_ended, ended = decoder(), decoder()
        items = open_ended.feed(written[:end])
        assert items == whole[: len(items)]
        at_boundary = bool(items) and open_ended.consumed == end
        assert _fed(ended, [written[:end]])[0] == items
        assert (ended.consumed == end and bool(items)) == at_boundary
        if at_boundary:
            assert open_ended.feed(b"", fin=True) == []
        else:
            with pytest.raises(ProtocolViolation):
                open_ended.feed(b"", fin=True)


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
@given(data=st.data())
def test_damaged_data_stream_is_read_or_refused_alike_however_it_is_cut(
    draft: Draft, data: st.DataObject
) -> None:
    """Any bytes of a data stream give objects and at most one error, the same whatever they come in."""
    valid, _ = _stream(draft, data)
    broken = data.draw(st.one_of(damaged(valid), st.binary(max_size=30)))

    outcomes = [
        _fed(DataStreamDecoder(draft, max_object_size=16), [broken]),
        _by_byte(DataStreamDecoder(draft, max_object_size=16), broken),
        _fed(DataStreamDecoder(draft, max_object_size=16), data.draw(cut(broken))),
    ]

    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=40)
@given(data=st.data())
def test_datagram_survives_the_wire(draft: Draft, data: st.DataObject) -> None:
    """A datagram is read as it was written."""
    item = data.draw(datagrams(draft))

    written = encode_datagram(item, draft)

    assert decode_datagram(written, draft) == item


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=25)
@given(data=st.data())
def test_datagram_cut_off_is_another_or_refused(draft: Draft, data: st.DataObject) -> None:
    """Nothing more comes of a datagram: inside its header it is refused, in its payload it is shorter."""
    item = data.draw(datagrams(draft))
    written = encode_datagram(item, draft)

    for end in range(len(written)):
        try:
            shorter = decode_datagram(written[:end], draft)
        except ProtocolViolation:
            continue
        assert isinstance(shorter, ObjectDatagram)
        assert shorter == dataclasses.replace(item, payload=item.payload[: len(shorter.payload)])


@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=30)
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
