"""What a session's journal has, what it leaves out, and that nothing of a relay can break its lines."""

from __future__ import annotations

import re
import sys
import weakref

import pytest
from journal_sessions import Relay

from pytest_moqt import wire
from pytest_moqt.client import journal as journals
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import layout_of_message
from pytest_moqt.protocol.objects import (
    FetchEncoder,
    FetchObject,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.transport import DatagramData, StopSending, StreamReset

ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]
REQUEST_STREAMS = [
    pytest.param(row, id=row.name) for row in DRAFTS.values() if row.topology is Topology.REQUEST_STREAMS
]
SUBSCRIBE = m.Subscribe((b"moq-test", b"interop"), b"test-track")
GOAWAY = m.Goaway("moqt://elsewhere", timeout_ms=5)
HEADER = SubgroupHeader(track_alias=5, group_id=7, publisher_priority=128)
DATA_STREAM = 7
"The relay's second unidirectional stream, which is a data stream in all drafts."


def reply_stream(relay: Relay) -> int:
    """Where the relay answers our first request."""
    return 0


def refusal(relay: Relay, reason: str) -> bytes:
    """Refuse our first request."""
    request_id = 0 if relay.draft.replies_carry_request_id else None
    answer = m.RequestError(RequestErrorCode.DOES_NOT_EXIST, reason, request_id=request_id)
    return relay.say(answer, reply_stream(relay), m.Subscribe)


def subgroup(draft: Draft, count: int, header: SubgroupHeader = HEADER) -> bytes:
    """A stream of empty objects."""
    encoder = SubgroupEncoder(header, draft)
    return encoder.header() + b"".join(encoder.object(StreamObject(number)) for number in range(count))


@pytest.mark.parametrize("draft", ALL)
async def test_a_control_message_has_time_direction_stream_fields_and_bytes(draft: Draft) -> None:
    """Both ends' messages are there in order, and `decode` takes their bytes as they are."""
    relay = Relay(draft)
    await relay.session.open(SUBSCRIBE)
    octets = refusal(relay, "nobody is here")

    sent, received = relay.line(" SUBSCRIBE "), relay.line("nobody is here")
    kind = "control" if draft.topology is Topology.SINGLE_CONTROL_STREAM else "request"
    opens = "" if kind == "control" else "opens "
    assert re.match(rf"\d+\.\d ms > {opens}{kind} stream 0: SUBSCRIBE ", sent)
    assert "track_namespace=['moq-test', 'interop']" in sent
    assert "track_name='test-track'" in sent
    name = layout_of_message(draft, m.RequestError, answering=m.Subscribe).name
    assert re.match(rf"\d+\.\d ms < {kind} stream 0: {name} ", received)
    assert "DOES_NOT_EXIST" in received
    assert received.endswith(f"[{octets.hex()}]")
    assert wire.main(["decode", "--draft", str(draft.number), "--from", "server", octets.hex()]) == 0
    directions = [line.split()[2] for line in relay.lines]
    assert directions == ["-", ">", "<", ">", "<"]


@pytest.mark.parametrize("draft", ALL)
def test_who_opened_the_control_streams_is_told(draft: Draft) -> None:
    """Our control stream and the relay's, where it has one of its own, begin with SETUP."""
    relay = Relay(draft)

    ours, theirs = (line.partition(" ms ")[2] for line in relay.lines[1:3])
    assert ours.startswith(f"> opens control stream {0 if relay.control == 0 else 2}: ")
    assert theirs.startswith("< control stream 0: " if relay.control == 0 else "< opens control stream 3: ")


@pytest.mark.parametrize("draft", ALL)
def test_where_decoding_stopped_is_told_with_the_whole_message(draft: Draft) -> None:
    """The line of a message that cannot be read has the offset, the reason and all of its bytes."""
    relay = Relay(draft)
    frame = relay.frame(GOAWAY)
    octets = relay.say(
        frame.replace(body=frame.body + b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"), relay.control
    )

    assert relay.session.closed is not None
    error = relay.session.closed.error
    assert error is not None
    line = relay.line("GOAWAY, reading stopped")
    assert f"reading stopped at offset {error.offset}: {error}" in line
    assert line.endswith(f"[{octets.hex()}]")
    assert relay.line("we closed").endswith(f"we closed: PROTOCOL_VIOLATION (0x3): {error}")


@pytest.mark.parametrize("draft", ALL)
def test_a_message_that_never_became_whole_is_told(draft: Draft) -> None:
    """How many bytes of it came, on which stream, and what they are."""
    relay = Relay(draft)
    octets = relay.frame(GOAWAY).encode(draft)

    for byte in octets[:-1]:
        relay.send(relay.control, bytes([byte]))

    count = len(octets) - 1
    line = relay.line("unfinished")
    assert f"< stream {relay.control}: {count} bytes of an unfinished message" in line
    assert line.endswith(f"[{octets[:-1].hex()}]")
    assert relay.session.journal.half_said() == [
        f"{count} bytes of an unfinished message on stream {relay.control} [{octets[:-1].hex()}]"
    ]


@pytest.mark.parametrize("draft", ALL)
def test_a_data_stream_is_its_header_its_count_and_its_end(draft: Draft) -> None:
    """Objects are not listed: how many, how many bytes, the first and the last."""
    relay = Relay(draft)
    data = subgroup(draft, 15)

    relay.send(DATA_STREAM, data[:10])
    relay.send(DATA_STREAM, data[10:], fin=True)

    opened = relay.line(f"opens stream {DATA_STREAM}")
    assert f"< opens stream {DATA_STREAM}: SUBGROUP_HEADER track_alias=5, group_id=7" in opened
    assert f"[{data[:10].hex()}" in opened
    carried = f"15 objects, {len(data)} bytes, group 7 object 0 to group 7 object 14"
    assert relay.line("FIN").endswith(f"< stream {DATA_STREAM}: FIN after {carried}")


@pytest.mark.parametrize("draft", ALL)
def test_a_data_stream_under_way_stands_where_it_is(draft: Draft) -> None:
    """A stream that never ends is told all the same, as is the object that is not whole."""
    relay = Relay(draft)
    data = subgroup(draft, 3)

    relay.send(DATA_STREAM, data[:-1])

    assert f"< stream {DATA_STREAM} so far: 2 objects, {len(data) - 1} bytes" in relay.line("so far")
    assert f"stream {DATA_STREAM}: 2 bytes of an unfinished message or object" in relay.line("unfinished")


@pytest.mark.parametrize("draft", ALL)
def test_a_fetch_stream_names_its_request(draft: Draft) -> None:
    """FETCH_HEADER is decoded too, and places have their groups."""
    relay = Relay(draft)
    encoder = FetchEncoder(draft)
    data = encoder.header(4) + encoder.object(FetchObject(1, 0, 2, 128, b"x"))

    relay.send(DATA_STREAM, data, fin=True)

    assert "FETCH_HEADER request_id=4" in relay.line("opens stream")
    assert "FIN after 1 object, " in relay.line("FIN")
    assert relay.line("FIN").endswith("group 1 object 2")


@pytest.mark.parametrize("draft", REQUEST_STREAMS)
def test_resets_and_stops_have_their_codes_by_name(draft: Draft) -> None:
    """Of a data stream with what it had carried; a code that WebTransport cannot map as it stood there."""
    relay = Relay(draft)
    relay.send(DATA_STREAM, subgroup(draft, 3))

    relay.session.handle(StreamReset(DATA_STREAM, 0x1, 0x1))
    relay.session.handle(StopSending(2, 0x99, 0x99))

    assert f"< stream {DATA_STREAM}: RESET_STREAM CANCELLED (0x1) after 3 objects" in relay.line(
        "RESET_STREAM"
    )
    assert "< stream 2: STOP_SENDING unregistered (0x99)" in relay.line("STOP_SENDING")
    relay = Relay(draft)
    relay.session.handle(StreamReset(11, None, 0x7B))
    assert "stream 11: RESET_STREAM 0x7b, outside WebTransport's range" in relay.line("RESET_STREAM")


@pytest.mark.parametrize("draft", ALL)
def test_our_own_streams_are_there_too(draft: Draft) -> None:
    """Header, objects and end of a subgroup of ours, and a stream of ours that was abandoned."""
    relay = Relay(draft)
    stream = relay.session.open_subgroup(HEADER)
    stream.write(StreamObject(0, b"abc"))
    stream.write(StreamObject(1, b"abc"), fin=True)
    relay.session.open_subgroup(HEADER).reset(0x1)

    opened = [line for line in relay.lines if "SUBGROUP_HEADER track_alias=5" in line]
    assert len(opened) == 2
    assert all(" ms > opens stream " in line for line in opened)
    assert f"> stream {stream.stream_id}: FIN after 2 objects, " in relay.line("FIN")
    assert relay.line("FIN").endswith("group 7 object 0 to group 7 object 1")
    assert "RESET_STREAM CANCELLED (0x1) after 0 objects" in relay.line("RESET_STREAM")


def test_objects_are_not_kept() -> None:
    """Each may have megabytes, and a journal lasts as long as its session."""
    relay = Relay(DRAFTS[18])
    item = StreamObject(0, bytes(1000))
    relay.session.open_subgroup(HEADER).write(item)

    left = weakref.ref(item)
    del item

    assert left() is None


@pytest.mark.parametrize("draft", ALL)
def test_datagrams_are_counted_in_one_line(draft: Draft) -> None:
    """How many, how many bytes, the first and the last."""
    relay = Relay(draft)
    sizes = 0
    for number in range(500):
        data = encode_datagram(ObjectDatagram(5, 7, number, payload=b"x"), draft)
        sizes += len(data)
        relay.session.handle(DatagramData(data))
    relay.session.send_datagram(ObjectDatagram(5, 7, 0, payload=b"x"))

    received, sent = relay.line("500 datagrams"), relay.line("1 datagram,")
    assert f"500 datagrams, {sizes} bytes, group 7 object 0 to group 7 object 499" in received
    assert " ms < since " in received
    assert " ms > since " in sent


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize(
    ("code", "by_peer", "layer", "words"),
    [
        (0x3, True, "session", '< the relay closed: PROTOCOL_VIOLATION (0x3): "why not"'),
        (0x7B, True, "session", '< the relay closed: unregistered (0x7b): "why not"'),
        (0x0, False, "session", '> we closed: NO_ERROR (0x0): "why not"'),
        (0xA, True, "quic", '< the relay closed: QUIC error 0xa PROTOCOL_VIOLATION: "why not"'),
        (0x10, False, "quic", '> the connection was lost: QUIC error 0x10 NO_VIABLE_PATH: "why not"'),
        (0x104, True, "http3", '< the relay closed: HTTP/3 error 0x104 H3_CLOSED_CRITICAL_STREAM: "why not"'),
    ],
)
def test_the_end_has_code_name_reason_and_who(
    draft: Draft, code: int, by_peer: bool, layer: str, words: str
) -> None:
    """The last line says how the session ended."""
    relay = Relay(draft)

    relay.close(code, "why not", by_peer=by_peer, layer=layer)

    assert relay.lines[-1].endswith(words)


# ---- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
async def test_a_flood_of_objects_pushes_out_nothing(draft: Draft) -> None:
    """Tens of thousands of objects take one line, and the messages are all there."""
    relay = Relay(draft)
    await relay.session.open(SUBSCRIBE)
    before = relay.lines
    encoder = SubgroupEncoder(HEADER, draft)
    chunk = encoder.header()
    for number in range(10_000):
        chunk += encoder.object(StreamObject(number))
        if number % 500 == 499:
            relay.send(DATA_STREAM, chunk)
            chunk = b""

    lines = relay.lines
    assert lines[: len(before)] == before
    assert len(lines) == len(before) + 2
    assert "10000 objects" in lines[-1]
    assert not relay.session.journal.forgotten


@pytest.mark.parametrize("draft", ALL)
async def test_a_flood_of_streams_leaves_the_messages(draft: Draft) -> None:
    """Ten thousand streams, ended or not, are bounded, counted, and push out no message."""
    relay = Relay(draft)
    await relay.session.open(SUBSCRIBE)
    before = relay.lines
    data = subgroup(draft, 1)
    for number in range(5_000):
        relay.send(DATA_STREAM + 8 * number, data, fin=True)
        relay.send(DATA_STREAM + 8 * number + 4, data)

    lines = relay.session.journal.lines(40)
    assert len(lines) == 40
    assert [line for line in lines if line in before] == before
    assert [line for line in relay.session.journal.lines(12) if line in before] == before
    entries = list(relay.session.journal)
    assert lines[0] == f"… {len(entries) - 39 + relay.session.journal.forgotten} entries left out"
    assert any("are not here" in line for line in map(str, entries))
    assert len(entries) < journals.MAX_STREAM_EVENTS + journals.MAX_STREAMS + 10


def test_a_flood_of_long_messages_is_bounded_by_its_bytes() -> None:
    """Messages of the greatest length take no more memory than some thousand of the usual."""
    draft = DRAFTS[max(DRAFTS)]
    relay = Relay(draft)
    journal = relay.session.journal
    for number in range(1000):
        journal.frame("received", 1 + 4 * number, Frame(0x3F, bytes(65_000)), None, None)

    kept = [entry for entry in journal if isinstance(entry, journals.ControlMessage)]
    assert sum(len(entry.frame.body) for entry in kept) <= journals.MAX_MESSAGE_OCTETS
    assert journal.forgotten == 1003 - len(kept)
    assert relay.lines[0] == f"… {journal.forgotten} entries left out"


def test_a_flood_of_messages_says_how_many_are_left_out() -> None:
    """The newest are kept; what is asked for is a number of lines, the first of which says the rest."""
    draft = DRAFTS[max(DRAFTS)]
    relay = Relay(draft)
    for number in range(1000):
        relay.session.journal.event(f"number {number}")

    lines = relay.session.journal.lines(12)
    assert len(lines) == 12
    assert lines[0] == f"… {1000 + 3 - 11} entries left out"
    assert lines[-1].endswith("number 999")
    assert lines[1].endswith("number 989")


@pytest.mark.parametrize("draft", ALL)
async def test_a_long_message_is_cut_and_says_so(draft: Draft) -> None:
    """A line has a bounded length, whatever the message has."""
    relay = Relay(draft)
    await relay.session.open(SUBSCRIBE)
    octets = refusal(relay, "x" * 1000)

    line = relay.line("xxx")
    assert len(line) <= journals.MAX_LINE
    assert line.endswith(f"… ({journals.LINE_OCTETS} of {len(octets)} bytes)]")


HOSTILE = [
    "\nok 3 - forged\n",
    "\r\n  ...\nBail out! now",
    "# SKIP \x1b[31mred\x1b[0m",
    '"] - ok 1\u2028not ok 2\u0085',
    "\u202eright to left\x00",
    "\\\" 'quoted' … ",
    "ok " * 300,
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("draft", ALL)
async def test_no_text_of_a_relay_breaks_a_line(draft: Draft, text: str) -> None:
    """Reason phrases are data: each entry stays one printable line that begins with a number."""
    relay = Relay(draft)
    await relay.session.open(SUBSCRIBE)
    refusal(relay, text)
    relay.close(0x3, text)

    lines = relay.lines
    assert len(lines) == 6
    for line in lines:
        assert line.isprintable()
        assert re.match(r"\d+\.\d ms [-<>] ", line)
        assert len(line) <= journals.MAX_LINE


@pytest.mark.parametrize("draft", ALL)
async def test_noting_makes_no_words(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run pays for that passes is references and counts."""
    made: list[str] = []

    def word(*arguments: object, **more: object) -> str:
        made.append(sys._getframe(1).f_code.co_name)
        return "word"

    for name in ("fields", "hexadecimal", "describe_close", "describe_error", "cut", "printable"):
        monkeypatch.setattr(journals, name, word)
    relay = Relay(draft)
    await relay.session.open(SUBSCRIBE)
    refusal(relay, "gone")
    relay.send(DATA_STREAM, subgroup(draft, 10), fin=True)
    relay.close(0x0)

    assert made == []
    assert relay.lines
    assert made


@pytest.mark.parametrize("draft", ALL)
async def test_raw_frames_of_ours_are_read_as_far_as_they_can_be(draft: Draft) -> None:
    """What a test sends past the tables is told in the same words."""
    relay = Relay(draft)
    frame = relay.session.frame(m.PublishNamespace((b"a",)))
    await relay.session.send_raw(frame)
    await relay.session.send_raw(frame.replace(body=frame.body + b"\x00"))

    whole, edited = (line for line in relay.lines if "PUBLISH_NAMESPACE" in line)
    assert "track_namespace=['a']" in whole
    length = len(frame.encode(draft))
    assert f"reading stopped at offset {length}: 1 byte after the last field" in edited


@pytest.mark.parametrize("draft", ALL)
def test_nothing_is_noted_after_the_end(draft: Draft) -> None:
    """What still comes, and what is still asked of the transport, is no part of the session."""
    relay = Relay(draft)
    relay.close(0x3)
    before = relay.lines

    relay.send(DATA_STREAM, subgroup(draft, 1), fin=True)

    assert relay.lines == before
