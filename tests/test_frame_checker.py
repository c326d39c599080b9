"""The checker of frames can fail: one fault in a session that is as its draft wants it otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.framing import Frame, encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.objects import (
    FetchEncoder,
    FetchObject,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import Parameter, SetupOption
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
)
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.protocol.webtransport import encode_capsule, encode_close, stream_header, wire_code
from pytest_moqt.protocol.webtransport import encode_datagram as encode_http_datagram
from tests.frames import Judgement, Said, Transcript, judged

NAMESPACE = (b"a", b"b")


class Conversation:
    """A session over raw QUIC in which each end has said SETUP; streams are numbered as a client's are."""

    def __init__(self, draft: Draft, options: dict[int, Any] | None = None, *, setup: bool = True) -> None:
        self.draft = draft
        self.transcript = Transcript(draft, "quic")
        self.single = draft.topology is Topology.SINGLE_CONTROL_STREAM
        self.controls = dict.fromkeys(Sender, 0) if self.single else {Sender.CLIENT: 2, Sender.SERVER: 3}
        self.next = 4 if self.single else 0
        "The client's next bidirectional stream."
        credit = {SetupOption.MAX_REQUEST_ID: 10} if draft.request_id_credit else {}
        versions = () if draft.version_code is None else (draft.version_code,)
        self.setup = m.Setup(KeyValues({**credit, **(options or {})}), versions)
        if setup:
            self.client(self.setup)
            self.server(m.Setup(KeyValues(credit), versions))

    def bytes_of(self, said: m.Message | Frame | bytes, sender: Sender, answering: Any = None) -> bytes:
        """What a message, a frame or bytes are on the wire."""
        if isinstance(said, bytes):
            return said
        if isinstance(said, m.Message):
            said = encode(said, self.draft, sender=sender, answering=answering)
        return said.encode(self.draft)

    def client(self, said: Any, stream_id: int | None = None, *, fin: bool = False) -> None:
        """The client says something, on its control stream if on no other."""
        stream_id = self.controls[Sender.CLIENT] if stream_id is None else stream_id
        data = StreamData(stream_id, self.bytes_of(said, Sender.CLIENT), fin)
        self.transcript.said.append(Said(Sender.CLIENT, data))

    def server(self, said: Any, stream_id: int | None = None) -> None:
        """The server says something."""
        stream_id = self.controls[Sender.SERVER] if stream_id is None else stream_id
        data = StreamData(stream_id, self.bytes_of(said, Sender.SERVER))
        self.transcript.said.append(Said(Sender.SERVER, data))

    def event(self, event: Any) -> None:
        """The client does something else."""
        self.transcript.said.append(Said(Sender.CLIENT, event))

    def request(self, said: Any) -> int:
        """The client makes a request where the draft wants it; the stream is returned."""
        if self.single:
            self.client(said)
            return 0
        stream_id, self.next = self.next, self.next + 4
        self.client(said, stream_id)
        return stream_id

    def asked(self, said: Any) -> int:
        """The server makes a request; the stream that it is to be answered on is returned."""
        stream_id = 0 if self.single else 1
        self.server(said, stream_id)
        return stream_id

    def track(self) -> None:
        """The client publishes a track, alias 7, that the server asked for."""
        stream_id = self.asked(m.Subscribe(NAMESPACE, b"t", request_id=1))
        self.client(m.SubscribeOk(7, request_id=1), stream_id)

    @property
    def found(self) -> Judgement:
        """What the client is charged with."""
        return judged(self.transcript)


ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]
Edit = Callable[[Conversation], None]


def subgroup(draft: Draft, alias: int = 7) -> bytes:
    """A whole subgroup stream."""
    encoder = SubgroupEncoder(SubgroupHeader(alias, 1), draft)
    return encoder.header() + encoder.object(StreamObject(0, b"payload"))


def publish(number: int = 0) -> m.PublishNamespace:
    """A request that every draft has."""
    return m.PublishNamespace(NAMESPACE, request_id=number)


# ---- nothing wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
def test_a_session_as_its_draft_wants_it_has_no_fault(draft: Draft) -> None:
    """Requests, answers, objects, datagrams, a reset and a close: all defined, all in their places."""
    talk = Conversation(draft)
    talk.request(publish())
    talk.track()
    talk.client(subgroup(draft), 6, fin=True)
    talk.client(subgroup(draft)[:-2], 10)
    talk.event(StreamReset(10, 0x1, 0x1))
    talk.event(DatagramData(encode_datagram(ObjectDatagram(7, 1, 1, payload=b"x"), draft)))
    fetch = FetchEncoder(draft)
    stream_id = talk.asked(m.Fetch(m.StandaloneFetch(NAMESPACE, b"t", *[m.Location(0, 0)] * 2), request_id=3))
    if talk.single:
        ok = m.FetchOk(False, m.Location(1, 0), request_id=3)
        talk.client(ok, stream_id)
        talk.client(fetch.header(3) + fetch.object(FetchObject(0, 0, 0, 1, b"x")), 14, fin=True)
    talk.event(TransportClosed(0, "", by_peer=True, layer="session"))

    found = talk.found

    assert found.faults == []
    assert found.messages[1:3] == ["PUBLISH_NAMESPACE", "SUBSCRIBE_OK"]
    assert (found.streams, found.datagrams) == (3 if talk.single else 2, 1)


# ---- one fault -------------------------------------------------------------------------------------


def _twice(talk: Conversation) -> None:
    talk.request(publish())
    talk.request(publish())


def _unwritten(talk: Conversation) -> None:
    """The type of PUBLISH_NAMESPACE in two bytes instead of one."""
    octets = talk.bytes_of(publish(), Sender.CLIENT)
    talk.request(talk.draft.integers.encode(octets[0], 2) + octets[1:])


def _misplaced_parameter(talk: Conversation) -> None:
    """FORWARD, which a PUBLISH_NAMESPACE cannot have; draft 14 has no such number."""
    body = encode(publish(), talk.draft, sender=Sender.CLIENT).body
    talk.request(Frame(0x06, body[:-1] + b"\x01\x10\x01"))


def _refused_with_unknown_code(talk: Conversation) -> None:
    stream_id = talk.asked(m.Subscribe(NAMESPACE, b"t", request_id=1))
    talk.client(m.RequestError(0x3F, request_id=1), stream_id)


def _reason_of_no_text(talk: Conversation) -> None:
    stream_id = talk.asked(m.Subscribe(NAMESPACE, b"t", request_id=1))
    talk.client(m.RequestError(m.RequestErrorCode.UNAUTHORIZED, "\udcff", request_id=1), stream_id)


def _answered_twice(talk: Conversation) -> None:
    stream_id = talk.asked(m.Subscribe(NAMESPACE, b"t", request_id=1))
    for alias in (1, 2):
        talk.client(m.SubscribeOk(alias, request_id=1), stream_id)


def _answered_wrongly(talk: Conversation) -> None:
    stream_id = talk.asked(m.PublishNamespace(NAMESPACE, request_id=1))
    talk.client(m.SubscribeOk(1, request_id=1), stream_id)


def _answered_unasked(talk: Conversation) -> None:
    talk.client(m.SubscribeOk(1, request_id=1), 0 if talk.single else 1)


def _done_with_nothing(talk: Conversation) -> None:
    done = m.PublishDone(m.PublishDoneStatus.TRACK_ENDED, request_id=0)
    talk.client(done, talk.request(publish()))


def _ended_in_a_message(talk: Conversation) -> None:
    talk.request(talk.bytes_of(publish(), Sender.CLIENT)[:-1])


def _request_in_the_wrong_place(talk: Conversation) -> None:
    talk.client(publish(), talk.next if talk.single else talk.controls[Sender.CLIENT])


def _object_cut_off(talk: Conversation) -> None:
    talk.track()
    talk.client(subgroup(talk.draft)[:-1], 6, fin=True)


def _object_left_open(talk: Conversation) -> None:
    talk.track()
    talk.client(subgroup(talk.draft)[:-1], 6)


def _unshort_object(talk: Conversation) -> None:
    talk.track()
    octets = subgroup(talk.draft)
    talk.client(octets[:1] + talk.draft.integers.encode(7, 2) + octets[2:], 6, fin=True)


def _bytes_after_the_end(talk: Conversation) -> None:
    talk.track()
    talk.client(subgroup(talk.draft), 6, fin=True)
    talk.client(b"\x00", 6)


def _unknown_property(talk: Conversation) -> None:
    talk.track()
    item = ObjectDatagram(7, 1, 1, payload=b"x", properties=KeyValues({0x7E: 1}))
    talk.event(DatagramData(encode_datagram(item, talk.draft)))


def _fetch_unasked(talk: Conversation) -> None:
    fetch = FetchEncoder(talk.draft)
    talk.client(fetch.header(1) + fetch.object(FetchObject(0, 0, 0, 1, b"x")), 6, fin=True)


def _datagram(data: bytes) -> Edit:
    return lambda talk: talk.event(DatagramData(data))


FAULTS: list[tuple[Edit, str]] = [
    (lambda talk: talk.request(Frame(0x3E)) and None, "defines no message of type 0x3e from a client"),
    (lambda talk: talk.client(talk.setup), "it is the second SETUP"),
    (lambda talk: talk.request(publish(2)) and None, "the request ids are [2], must be [0]"),
    (lambda talk: talk.request(publish(1)) and None, "request id 1 is of the other end's parity"),
    (_twice, "request id 0 was used before"),
    (_unwritten, "is written 06"),
    (_misplaced_parameter, "PUBLISH_NAMESPACE"),
    (_refused_with_unknown_code, "has no code 0x3f there"),
    (_reason_of_no_text, "reason is no UTF-8"),
    (_answered_twice, "it answers nothing that was asked"),
    (_answered_wrongly, "it is no answer to PublishNamespace"),
    (_answered_unasked, "it answers nothing that was asked"),
    (_done_with_nothing, "it is about no request that it can be about"),
    (_ended_in_a_message, "ends inside a message"),
    (_request_in_the_wrong_place, "it may not travel on"),
    (lambda talk: talk.client(b"", fin=True), "the control stream was ended"),
    (_object_cut_off, "bytes into an object"),
    (_object_left_open, "bytes into an object"),
    (_unshort_object, "is written"),
    (_bytes_after_the_end, "on stream 6, which had ended"),
    (lambda talk: talk.client(subgroup(talk.draft), 6, fin=True), "no track has the alias 7"),
    (lambda talk: talk.client(b"\x3f\x00", 6, fin=True), "no unidirectional stream of type 0x3f"),
    (lambda talk: talk.client(b"\x00", 7), "the other end's alone"),
    (_fetch_unasked, "is no FETCH of the other end"),
    (_unknown_property, "nothing defines the property 0x7e"),
    (_datagram(b"\x3f"), "has no datagram of type 0x3f"),
    (lambda talk: talk.event(StreamReset(10, 0x3F, 0x3F)), "abandoned with 0x3f"),
    (lambda talk: talk.event(StopSending(3, None, 0x100)), "abandoned with 0x100"),
    (
        lambda talk: talk.event(TransportClosed(0x3F, "", by_peer=True, layer="session")),
        "closed with 0x3f, which is no session error",
    ),
    (lambda talk: talk.client(m.Goaway("moqt://x", 0, 1)), "a client names no URI"),
]


@pytest.mark.parametrize(("edit", "words"), FAULTS, ids=[words for _, words in FAULTS])
@pytest.mark.parametrize("draft", ALL)
def test_one_fault_is_found(draft: Draft, edit: Edit, words: str) -> None:
    """Whatever the rest of the session is."""
    talk = Conversation(draft)

    edit(talk)

    assert [fault for fault in talk.found.faults if words in fault], talk.found.faults


@pytest.mark.parametrize("draft", ALL)
def test_a_session_without_setup_is_found(draft: Draft) -> None:
    """A client that says nothing has not said SETUP, nor has one that says something else."""
    silent, early = Conversation(draft, setup=False), Conversation(draft, setup=False)
    early.client(m.Goaway("", 0, 1))

    assert silent.found.faults == ["no SETUP was sent"]
    assert "no SETUP was sent" in early.found.faults
    # On a unidirectional stream GOAWAY's type is that of a subgroup.
    assert any("it comes before SETUP" in fault for fault in early.found.faults) == early.single


@pytest.mark.parametrize("draft", ALL)
def test_undefined_options_are_found(draft: Draft) -> None:
    """An option that no draft has, and one that this draft does not have any more."""
    found = Conversation(draft, {0x3E: 1, SetupOption.MAX_REQUEST_ID: 4}).found

    assert any("nothing defines the setup option 0x3e" in fault for fault in found.faults)
    gone = any("has no setup option MAX_REQUEST_ID" in fault for fault in found.faults)
    assert gone != draft.request_id_credit


@pytest.mark.parametrize("draft", [row for row in ALL if row.values[0].request_id_credit])
def test_a_request_above_the_credit_is_found(draft: Draft) -> None:
    """MAX_REQUEST_ID 10 allows ids up to 9."""
    talk = Conversation(draft)
    for number in range(0, 12, 2):
        talk.request(publish(number))

    assert [fault for fault in talk.found.faults if "request id 10, granted are those below 10" in fault]
    assert len(talk.found.faults) == 1


def test_a_wrong_version_is_found() -> None:
    """Draft 14 names itself in SETUP."""
    draft = DRAFTS[14]
    talk = Conversation(draft, setup=False)
    talk.client(m.Setup(KeyValues(), (0xFF00000E, 0x1)))

    assert any("the versions are" in fault for fault in talk.found.faults)


# ---- WebTransport ----------------------------------------------------------------------------------

CONNECT = b"\x01\x03abc"
SETTINGS = b"\x00\x04\x02\x01\x00"


def over_webtransport(draft: Draft, *events: Any, options: dict[int, Any] | None = None) -> list[str]:
    """The faults of a session over WebTransport, of which the CONNECT stream is 0, that has these events."""
    talk = Conversation(draft, options, setup=False)
    control = 4 if talk.single else 6
    transcript = Transcript(draft, "webtransport")
    header = stream_header(0, unidirectional=not talk.single)
    setup = header + talk.bytes_of(talk.setup, Sender.CLIENT)
    said = [StreamData(2, SETTINGS), StreamData(0, CONNECT), StreamData(control, setup), *events]
    transcript.said = [Said(Sender.CLIENT, event) for event in said]
    return judged(transcript).faults


def capsule(data: bytes) -> StreamData:
    """A DATA frame on the CONNECT stream."""
    return StreamData(0, bytes([0, len(data)]) + data, True)


@pytest.mark.parametrize("draft", ALL)
def test_a_session_over_webtransport_has_no_fault(draft: Draft) -> None:
    """HTTP/3's own streams, a close capsule and a mapped code are no business of MoQT, and right."""
    header = stream_header(0, unidirectional=True)
    events = [
        StreamData(10, b"\x02"),
        StreamData(14, header[:1]),
        StreamData(14, header[1:]),
        StreamReset(14, None, wire_code(1)),
        capsule(encode_close(0, "done")),
    ]

    assert over_webtransport(draft, *events) == []


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (StreamData(14, stream_header(4, unidirectional=True)), "stream 14 names session 4"),
        (StreamData(14, b"\x80\x00\x00\x54\x00"), "stream 14 is not in its shortest form"),
        (StreamData(14, b"\x40"), "stream 14 ends inside its header"),
        (StreamData(14, b"\x21"), "is of type 0x21, which nothing defines"),
        (StreamData(2, b"\x21\x00"), "a frame of type 0x21 on HTTP/3's stream 2"),
        (StreamData(2, b"\x07\x05"), "HTTP/3's stream 2 ends inside a frame"),
        (StreamData(0, b"\x21\x00"), "a frame of type 0x21 on HTTP/3's stream 0"),
        (capsule(encode_capsule(0x29)), "a capsule 2900"),
        (capsule(encode_close(0x3F)), "which is no session error"),
        (capsule(encode_capsule(0x2843, b"\0\0\0\0\xff")), "with the reason b'\\xff'"),
        (DatagramData(encode_http_datagram(8, b"\x00")), "a datagram names session 8"),
        (StreamReset(8, None, 0x1), "abandoned with 0x1"),
    ],
)
def test_one_fault_of_webtransport_is_found(event: Any, words: str) -> None:
    """What HTTP/3 and WebTransport do not define is as wrong as what MoQT does not."""
    assert [fault for fault in over_webtransport(DRAFTS[18], event) if words in fault]


@pytest.mark.parametrize("option", [SetupOption.PATH, SetupOption.AUTHORITY])
def test_options_of_raw_quic_are_found_over_webtransport(option: SetupOption) -> None:
    """PATH and AUTHORITY are in CONNECT there."""
    faults = over_webtransport(DRAFTS[18], options={option: b"/"})

    assert [
        fault
        for fault in faults
        if f"the setup option {option.name} from a client over webtransport" in fault
    ]


def test_the_parameter_of_another_message_is_found_out_where_the_draft_ignores_it() -> None:
    """Draft 16 lets FORWARD pass in SUBSCRIBE_OK; who sends it is still wrong."""
    talk = Conversation(DRAFTS[16])
    stream_id = talk.asked(m.Subscribe(NAMESPACE, b"t", request_id=1))
    talk.client(Frame(0x04, b"\x01\x07\x01\x10\x01"), stream_id)

    assert [
        fault for fault in talk.found.faults if f"defines no {Parameter.FORWARD} in SUBSCRIBE_OK" in fault
    ]
