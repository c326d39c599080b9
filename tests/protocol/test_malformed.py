"""Bytes that a draft forbids, one fault each, and what a session closes with; limits from both sides.

A body is written in hex with the fault in it; its beginning is that of a vector in `tests/vectors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, draft
from pytest_moqt.protocol.errors import (
    KeyValueFormattingError,
    LocalProtocolError,
    ProtocolViolation,
    RemoteProtocolError,
)
from pytest_moqt.protocol.framing import Frame, decode, encode
from pytest_moqt.protocol.layouts import Sender
from pytest_moqt.protocol.messages import Goaway
from pytest_moqt.protocol.notation import to_json
from pytest_moqt.protocol.objects import (
    MAX_PROPERTIES_SIZE,
    DataStreamDecoder,
    FetchEncoder,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    ObjectTooLarge,
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

ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]

NAMESPACE = "02086d6f712d7465737407696e7465726f70"
TRACK = NAMESPACE + "0a746573742d747261636b"
SUBSCRIBE_14 = "00" + TRACK

_VIOLATION = ProtocolViolation
_FORMATTING = KeyValueFormattingError

CASES: list[tuple[str, str, int, str, type[RemoteProtocolError], str]] = [
    # drafts, what is wrong, type, body, error, words
    # ---- names (`track-name`) ----
    ("14 16", "a namespace without fields", 0x06, "000000", _VIOLATION, "of 0 fields, must be 1 to 32"),
    ("14 16 18", "a namespace of 33 fields", 0x06, "0021", _VIOLATION, "of 33 fields"),
    ("16 18", "an empty field", 0x06, "00010000", _VIOLATION, "an empty field in a Track Namespace"),
    ("14 16", "a field longer than any name", 0x06, "00015001", _VIOLATION, "of 4097 bytes"),
    ("18", "a field longer than any name", 0x06, "00019001", _VIOLATION, "of 4097 bytes"),
    ("14", "a prefix without fields", 0x11, "000000", _VIOLATION, "Prefix of 0 fields, must be 1 to 32"),
    ("16", "a suffix of 33 fields", 0x08, "21", _VIOLATION, "Suffix of 33 fields"),
    ("18", "a suffix of 33 fields", 0x0E, "21", _VIOLATION, "Suffix of 33 fields"),
    # ---- limits (`reason-phrase`, `message-goaway`, `key-value-pair`) ----
    ("14", "a reason of 1025 bytes", 0x05, "00044401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    ("16", "a reason of 1025 bytes", 0x05, "0010004401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    ("18", "a reason of 1025 bytes", 0x05, "10008401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    ("14 16", "a URI of 8193 bytes", 0x10, "6001", _VIOLATION, "a URI of 8193 bytes"),
    ("18", "a URI of 8193 bytes", 0x10, "a001", _VIOLATION, "a URI of 8193 bytes"),
    ("16", "a track property of 65536 bytes", 0x04, "0001001180010000", _VIOLATION, "of 65536 bytes"),
    ("18", "a track property of 65536 bytes", 0x04, "010011c10000", _VIOLATION, "of 65536 bytes"),
    ("16", "group order 3 of a track", 0x04, "0001002203", _VIOLATION, "GROUP_ORDER is 3, must be 1 or 2"),
    ("18", "group order 0 of a track", 0x04, "01002200", _VIOLATION, "GROUP_ORDER is 0, must be 1 or 2"),
    ("16", "DYNAMIC_GROUPS 2", 0x04, "0001003002", _VIOLATION, "DYNAMIC_GROUPS is 2, must be 0 or 1"),
    ("18", "DYNAMIC_GROUPS 2", 0x04, "01003002", _VIOLATION, "DYNAMIC_GROUPS is 2, must be 0 or 1"),
    ("18", "types that add up too far", 0x04, "01000201ffffffffffffffffff", _VIOLATION, "overflows"),
    # ---- parameters (`message-params`) ----
    ("16", "an unknown parameter", 0x03, "00" + TRACK + "014001", _VIOLATION, "no message parameter 0x1"),
    ("18", "an unknown parameter", 0x03, "00" + TRACK + "017f00", _VIOLATION, "no message parameter 0x7f"),
    ("16", "a parameter twice", 0x03, "00" + TRACK + "0210010001", _VIOLATION, "FORWARD (0x10) twice"),
    ("18", "a parameter twice", 0x03, "00" + TRACK + "0210010001", _VIOLATION, "FORWARD (0x10) twice"),
    ("14", "a parameter twice", 0x06, "00" + NAMESPACE + "0202010201", _VIOLATION, "TIMEOUT (0x2) twice"),
    ("18", "a parameter of another message", 0x06, "00" + NAMESPACE + "011001", _VIOLATION, "may not be in"),
    ("16", "FORWARD 2", 0x03, "00" + TRACK + "011002", _VIOLATION, "FORWARD is 2, must be one of 0, 1"),
    ("18", "FORWARD 2", 0x03, "00" + TRACK + "011002", _VIOLATION, "FORWARD is 2, must be one of 0, 1"),
    ("16", "GROUP_ORDER 0", 0x03, "00" + TRACK + "012200", _VIOLATION, "GROUP_ORDER is 0"),
    ("18", "GROUP_ORDER 3", 0x03, "00" + TRACK + "012203", _VIOLATION, "GROUP_ORDER is 3"),
    ("16", "a priority above 255", 0x03, "00" + TRACK + "01204100", _VIOLATION, "SUBSCRIBER_PRIORITY is 256"),
    ("16", "a delivery timeout of 0", 0x03, "00" + TRACK + "010200", _VIOLATION, "DELIVERY_TIMEOUT is 0"),
    ("16", "a LARGEST_OBJECT too long", 0x04, "0001010903010203", _FORMATTING, "1 byte too many"),
    ("16", "a LARGEST_OBJECT too short", 0x04, "000101090101", _FORMATTING, "ends too early"),
    # ---- tokens (`authorization-token`) ----
    ("14", "an unknown alias type", 0x06, "00" + NAMESPACE + "01030104", _FORMATTING, "alias type 4"),
    ("16 18", "an unknown alias type", 0x06, "00" + NAMESPACE + "01030104", _FORMATTING, "alias type 4"),
    ("14 16 18", "an empty token", 0x06, "00" + NAMESPACE + "010300", _FORMATTING, "ends too early"),
    ("14 16 18", "a DELETE with a rest", 0x06, "00" + NAMESPACE + "0103030001ff", _FORMATTING, "too many"),
    ("14 16", "a token in SETUP", 0x20, "", _VIOLATION, "end inside its"),
    # ---- filters (`subscription-filters`) ----
    ("14", "filter type 0", 0x03, SUBSCRIBE_14 + "8001010000", _VIOLATION, "filter type 0x0"),
    ("16 18", "filter type 5", 0x03, "00" + TRACK + "01210105", _VIOLATION, "filter type 0x5"),
    ("16 18", "a filter too short", 0x03, "00" + TRACK + "0121020305", _VIOLATION, "filter ends too early"),
    ("16 18", "a filter too long", 0x03, "00" + TRACK + "0121020200", _VIOLATION, "1 byte too many"),
    # ---- fixed fields of draft 14 ----
    ("14", "Group Order 3", 0x03, SUBSCRIBE_14 + "8003010200", _VIOLATION, "Group Order is 3"),
    ("14", "Forward 2", 0x03, SUBSCRIBE_14 + "8001020200", _VIOLATION, "Forward is 2"),
    ("14", "Group Order 0 in an answer", 0x04, "000100000000", _VIOLATION, "Group Order is 0"),
    ("14", "Content Exists 2", 0x04, "000100010200", _VIOLATION, "Content Exists is 2"),
    ("14", "End Of Track 2", 0x18, "000102000000", _VIOLATION, "End Of Track is 2"),
    # ---- other fields ----
    ("16", "End Of Track 2", 0x18, "0002000000", _VIOLATION, "End Of Track is 2"),
    ("18", "End Of Track 2", 0x18, "02000000", _VIOLATION, "End Of Track is 2"),
    ("16", "Subscribe Options 3", 0x11, "00" + NAMESPACE + "0300", _VIOLATION, "Subscribe Options is 3"),
    ("14", "fetch type 4", 0x16, "02800104", _VIOLATION, "fetch type 0x4"),
    ("16 18", "fetch type 0", 0x16, "0200", _VIOLATION, "fetch type 0x0"),
    ("18", "REDIRECT without where to", 0x05, "340100", _VIOLATION, "end inside its redirect"),
    ("18", "where to without REDIRECT", 0x05, "100100000000", _VIOLATION, "3 bytes after the last field"),
    # ---- setup ----
    ("14", "an option twice", 0x21, "c0000000ff00000e0202010201", _VIOLATION, "MAX_REQUEST_ID twice"),
    ("16", "an option twice", 0x21, "0202010001", _VIOLATION, "MAX_REQUEST_ID twice"),
    ("18", "an option twice", 0x2F00, "04010001", _VIOLATION, "MAX_AUTH_TOKEN_CACHE_SIZE twice"),
    ("18", "an unknown alias type in SETUP", 0x2F00, "030104", _FORMATTING, "alias type 4"),
]

MALFORMED = [
    pytest.param(DRAFTS[int(number)], code, body, error, words, id=f"{number}-{what}".replace(" ", "-"))
    for numbers, what, code, body, error, words in CASES
    for number in numbers.split()
]


@pytest.mark.parametrize(("draft_row", "code", "body", "error", "words"), MALFORMED)
def test_malformed_message_is_refused_for_its_fault(
    draft_row: Draft, code: int, body: str, error: type[RemoteProtocolError], words: str
) -> None:
    """A message with one fault ends the session with the code that the draft gives the fault."""
    sender = Sender.CLIENT if code == 0x20 else Sender.SERVER

    with pytest.raises(error) as caught:
        decode(Frame(code, bytes.fromhex(body)), draft_row, sender)

    assert type(caught.value) is error
    assert words in str(caught.value)
    assert caught.value.offset is not None
    assert caught.value.offset <= len(body) // 2


def test_length_is_refused_before_its_bytes_are_awaited() -> None:
    """A data stream that promises more than we hold is refused at its length."""
    subgroup = bytes.fromhex("1001008000") + draft(16).integers.encode(1 << 40)
    properties = bytes.fromhex("1101008000") + draft(16).integers.encode(1 << 40)

    for data in (subgroup, properties):
        with pytest.raises(ObjectTooLarge, match="of 1099511627776 bytes"):
            DataStreamDecoder(draft(16)).feed(data)


# ---- what is legal though it looks wrong -----------------------------------------------------------


@pytest.mark.parametrize("draft_row", ALL)
def test_full_names_may_have_4096_bytes_and_no_more(draft_row: Draft) -> None:
    """Namespace and name together have at most 4096 bytes (`track-name`)."""
    fields = (b"n" * 2048, b"s" * 2000)
    fits = m.Publish(fields, b"t" * 48, 1, request_id=0)
    frame = encode(fits, draft_row, sender=Sender.CLIENT)
    track_name = draft_row.integers.encode(48)

    read, _ = decode(frame, draft_row, Sender.CLIENT)

    assert isinstance(read, m.Publish)
    assert (read.track_namespace, read.track_name) == (fields, b"t" * 48)
    with pytest.raises(LocalProtocolError, match="more than 4096 bytes"):
        encode(m.Publish(fields, b"t" * 49, 1, request_id=0), draft_row, sender=Sender.CLIENT)
    too_long = frame.body.replace(track_name + b"t" * 48, draft_row.integers.encode(49) + b"t" * 49)
    with pytest.raises(ProtocolViolation, match="more than 4096 bytes"):
        decode(frame.replace(body=too_long), draft_row, Sender.CLIENT)


def test_empty_namespace_field_is_legal_in_draft_14() -> None:
    """Nothing in draft 14 forbids an empty field (section 2.4.1)."""
    message = m.PublishNamespace((b"", b"a"), request_id=0)

    frame = encode(message, draft(14), sender=Sender.CLIENT)

    assert decode(frame, draft(14), Sender.CLIENT)[0] == message


@pytest.mark.parametrize("draft_row", ALL)
def test_unknown_setup_options_are_kept_and_may_repeat(draft_row: Draft) -> None:
    """Endpoints ignore setup options that they do not know, however often they come (`message-setup`)."""
    options = KeyValues([(0x9D, b"grease"), (0x9D, b"more"), (0x11C, 7)])
    setup = m.Setup(options, (0xFF00000E,) if draft_row.version_code else ())

    read, _ = decode(encode(setup, draft_row, sender=Sender.SERVER), draft_row, Sender.SERVER)

    assert read == setup
    assert read.options.all(0x9D) == (b"grease", b"more")


def test_unknown_parameters_are_kept_in_draft_14() -> None:
    """Draft 14 has receivers ignore parameters that they do not know (section 9.2)."""
    message = m.PublishNamespace((b"a",), KeyValues([(0x41, b"x"), (0x42, 7), (0x41, b"y")]), 0)

    frame = encode(message, draft(14), sender=Sender.CLIENT)

    assert decode(frame, draft(14), Sender.CLIENT)[0] == message


@pytest.mark.parametrize("draft_row", ALL)
def test_tokens_may_repeat_and_keep_their_order(draft_row: Draft) -> None:
    """AUTHORIZATION_TOKEN may come more than once in a message (`authorization-token`)."""
    tokens = [
        Token(TokenAlias.USE_VALUE, type=0, value=b"b"),
        Token(TokenAlias.USE_VALUE, type=0, value=b"a"),
    ]
    parameters = KeyValues((Parameter.AUTHORIZATION_TOKEN, token) for token in tokens)

    frame = encode(m.PublishNamespace((b"a",), parameters, 0), draft_row, sender=Sender.CLIENT)
    read, _ = decode(frame, draft_row, Sender.CLIENT)

    assert isinstance(read, m.PublishNamespace)
    assert read.parameters.all(Parameter.AUTHORIZATION_TOKEN) == tuple(tokens)


@pytest.mark.parametrize("draft_row", [pytest.param(draft(18), id="draft-18")])
def test_parameter_out_of_place_in_a_reply_is_tolerated(draft_row: Draft) -> None:
    """GROUP_ORDER in SUBSCRIBE_OK is common in the field and harms nobody (`message-params`)."""
    frame = Frame(0x04, bytes.fromhex("01012201"))

    read, _ = decode(frame, draft_row, Sender.SERVER)

    assert isinstance(read, m.SubscribeOk)
    assert read.parameters[Parameter.GROUP_ORDER] == GroupOrder.ASCENDING


@pytest.mark.parametrize("draft_row", ALL)
def test_reason_that_is_not_utf8_survives(draft_row: Draft) -> None:
    """A reason is shown, never judged: bytes that are no UTF-8 are kept."""
    frame = encode(
        m.RequestError(RequestErrorCode.TIMEOUT, "\udcff\udcfe", request_id=0),
        draft_row,
        sender=Sender.SERVER,
        answering=m.Subscribe,
    )

    read, _ = decode(frame, draft_row, Sender.SERVER)

    assert b"\xff\xfe" in frame.body
    assert isinstance(read, m.RequestError)
    assert read.reason == "\udcff\udcfe"


def test_fields_that_draft_14_fixes_have_defaults() -> None:
    """A message without parameters is written with the defaults that later drafts give them."""
    frame = encode(m.Subscribe((b"a",), b"b", request_id=0), draft(14), sender=Sender.CLIENT)

    read, _ = decode(frame, draft(14), Sender.CLIENT)

    assert read == m.Subscribe(
        (b"a",),
        b"b",
        {
            Parameter.SUBSCRIBER_PRIORITY: 128,
            Parameter.FORWARD: 1,
            Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.LARGEST_OBJECT),
        },
        0,
    )


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (16, PublishDoneStatus.EXPIRED, 0x5),
        (18, PublishDoneStatus.EXPIRED, 0x6),
        (18, PublishDoneStatus.TOO_FAR_BEHIND, 0x5),
    ],
)
def test_status_keeps_its_meaning_where_its_number_changes(
    number: int, status: PublishDoneStatus, code: int
) -> None:
    """EXPIRED and TOO_FAR_BEHIND change places in draft 18 (`message-publish-done`)."""
    frame = encode(m.PublishDone(status, 0, request_id=0), draft(number), sender=Sender.SERVER)

    assert frame.body[-3] == code
    assert decode(frame, draft(number), Sender.SERVER)[0].status is status


# ---- what we refuse to write -----------------------------------------------------------------------

UNWRITABLE: list[tuple[int, m.Message, str]] = [
    (16, m.Subscribe((b"a",), b"b", {Parameter.RENDEZVOUS_TIMEOUT: 1}, 0), "no message parameter RENDEZVOUS"),
    (16, m.TrackStatus((b"a",), b"b", {Parameter.FORWARD: 1}, 0), "defines no FORWARD in TRACK_STATUS"),
    (16, m.Subscribe((b"a",), b"b", {Parameter.OBJECT_DELIVERY_TIMEOUT: 0}, 0), "cannot be 0 in draft-16"),
    (18, m.Subscribe((b"a",), b"b", {Parameter.SUBSCRIBER_PRIORITY: 256}, 0), "256 does not fit one byte"),
    (18, m.Subscribe((b"a",), b"b"), "Subscribe.request_id must be given in draft-18"),
    (18, m.Subscribe((b"", b"a"), b"b", request_id=0), "allows no empty field"),
    (16, m.PublishNamespace((), request_id=0), "of 0 fields, draft-16 allows 1 to 32"),
    (16, m.RequestError(RequestErrorCode.REDIRECT, request_id=0), "draft-16 has no REDIRECT"),
    (14, m.RequestError(RequestErrorCode.EXCESSIVE_LOAD, request_id=0), "draft-14 has no EXCESSIVE_LOAD"),
    (18, m.RequestError(RequestErrorCode.REDIRECT), "redirect does not fit its other values"),
    (18, m.RequestError(RequestErrorCode.TIMEOUT, redirect=Redirect("", (), b"")), "redirect does not fit"),
    (16, m.RequestError(0x4000, "x" * 1025, request_id=0), "a Reason Phrase of 1025 bytes"),
    (18, m.Goaway("x" * 8193, 0), "a URI of 8193 bytes"),
    (18, m.SubscribeOk(1 << 64), "is outside 0..18446744073709551615"),
    (16, m.SubscribeOk(1 << 62, request_id=0), "is outside 0..4611686018427387903"),
    (
        16,
        m.SubscribeOk(1, track_properties={Property.DYNAMIC_GROUPS: b"x"}, request_id=0),
        "must be an integer",
    ),
    (16, m.Setup({SetupOption.PATH: 7}), "the value of key 0x1 must be bytes"),
    (14, m.Setup(versions=()), "selects exactly one version, not 0"),
    (
        18,
        m.Subscribe((b"a",), b"b", {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START)}, 0),
        "needs a start",
    ),
    (
        18,
        m.Subscribe(
            (b"a",),
            b"b",
            {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_RANGE, Location(1, 0))},
            0,
        ),
        "needs an end group",
    ),
]


@pytest.mark.parametrize(
    ("number", "message", "words"),
    [pytest.param(*case, id=f"{case[0]}-{case[2]}".replace(" ", "-")) for case in UNWRITABLE],
)
def test_what_a_draft_cannot_say_is_our_error(number: int, message: m.Message, words: str) -> None:
    """A mistake of ours is refused with the offending value, and never as the peer's."""
    with pytest.raises(LocalProtocolError) as caught:
        encode(message, draft(number), sender=Sender.SERVER)

    assert words in str(caught.value)


def test_frame_that_no_length_can_hold_is_our_error() -> None:
    """A control message has at most 65535 bytes behind its Length (`message`)."""
    assert len(Frame(0x3F, bytes(65535)).encode(draft(18))) == 65538
    with pytest.raises(LocalProtocolError, match="a message of 65536 bytes"):
        Frame(0x3F, bytes(65536)).encode(draft(18))


# ---- the data plane --------------------------------------------------------------------------------

BAD_STREAMS: list[tuple[str, str, str, str]] = [
    # drafts, what is wrong, stream in hex, words
    ("14 16 18", "subgroup mode 3", "16", "no unidirectional stream of type 0x16"),
    ("14", "DEFAULT_PRIORITY before it was defined", "30", "type 0x30"),
    ("14 16", "FIRST_OBJECT before it was defined", "4050", "type 0x50"),
    ("18", "a bit beyond FIRST_OBJECT", "8090", "type 0x90"),
    ("14", "status 2", "10010080000002", "draft-14 has no object status 0x2"),
    ("16 18", "status 1", "10010080000001", "has no object status 0x1"),
    ("16 18", "End of Group with properties", "1101008000023c010003", "status 0x3 with properties"),
    ("14", "Does Not Exist with extensions", "1101008000023c010001", "status 0x1 with properties"),
    ("16 18", "a first object of a prior group", "05021400800161", "refer to a prior group"),
    ("16 18", "a first object of a prior subgroup", "05021d0000800161", "a prior subgroup"),
    ("16 18", "a first object of a prior object", "05021800800161", "refer to a prior object"),
    ("16 18", "a first object of a prior priority", "05020c00000161", "a prior priority"),
    ("16", "flags that mean nothing", "05024080", "no Serialization Flags 0x80"),
    ("18", "flags that mean nothing", "0502820c", "no Serialization Flags 0x20c"),
    ("18", "a group below 0", "05021c00008001610c00000161", "group id -1 is outside"),
]


def _feed_slowly(decoder: DataStreamDecoder, data: bytes) -> None:
    for byte in data:
        decoder.feed(bytes([byte]))


@pytest.mark.parametrize(
    ("draft_row", "data", "words"),
    [
        pytest.param(DRAFTS[int(number)], data, words, id=f"{number}-{what}".replace(" ", "-"))
        for numbers, what, data, words in BAD_STREAMS
        for number in numbers.split()
    ],
)
def test_malformed_stream_is_refused_for_its_fault(draft_row: Draft, data: str, words: str) -> None:
    """A data stream with one fault ends the session."""
    decoder = DataStreamDecoder(draft_row, descending=lambda request_id: True)

    with pytest.raises(ProtocolViolation) as caught:
        _feed_slowly(decoder, bytes.fromhex(data))

    assert words in str(caught.value)


@pytest.mark.parametrize("draft_row", ALL)
def test_object_ids_do_not_overflow(draft_row: Draft) -> None:
    """An object id is at most 2^64-1; differences that add up to more are refused."""
    top = draft_row.integers.encode(draft_row.integers.maximum)
    stream = bytes.fromhex("10010080") + (top + b"\x01a") * 6

    with pytest.raises(ProtocolViolation, match=r"object id \d+ is above 2\^64-1"):
        DataStreamDecoder(draft_row).feed(stream)


def test_datagram_bits_ignored_in_an_object_that_was_a_datagram() -> None:
    """With the datagram bit set "the subscriber MUST ignore" the subgroup bits (16 section 10.4.4.1)."""
    data = bytes.fromhex("0502405f0000800161")

    _, item = DataStreamDecoder(draft(16)).feed(data, fin=True)

    assert item == FetchObject(0, None, 0, 128, b"a")


@pytest.mark.parametrize("number", [16, 18])
def test_object_after_an_end_of_range_goes_on_from_it(number: int) -> None:
    """After End of Range the prior group and object are its own, the prior priority the last object's."""
    encoder = FetchEncoder(draft(number))
    items = [
        FetchObject(1, 0, 0, 9, b"a"),
        FetchRangeEnd(0x10C, 1, 5),
        FetchObject(1, 0, 6, 9, b"b"),
        FetchRangeEnd(0x8C, 3, 0),
        FetchObject(3, 2, 7, 9, b"c"),
    ]

    data = encoder.header(0)
    for item in items:
        data += encoder.range_end(item) if isinstance(item, FetchRangeEnd) else encoder.object(item)

    assert DataStreamDecoder(draft(number)).feed(data, fin=True)[1:] == items


BAD_DATAGRAMS: list[tuple[str, str, str, str]] = [
    ("14 16 18", "an empty datagram", "", "ends inside its header"),
    ("14", "DEFAULT_PRIORITY before it was defined", "08010000", "no datagram of type 0x8"),
    ("14", "a status without object id", "2401008003", "no datagram of type 0x24"),
    ("16 18", "a bit that is not defined", "1001000080", "no datagram of type 0x10"),
    ("14 16 18", "END_OF_GROUP with a status", "220100008003", "no datagram of type 0x22"),
    ("14 16 18", "properties of no bytes", "01010000800061", "whose properties block is empty"),
    ("14 16 18", "a status and a payload", "20010000800361", "1 byte after the status"),
    ("16 18", "a status that is not defined", "200100008001", "no object status 0x1"),
    ("16 18", "End of Group with properties", "2101000080023c0103", "status 0x3 with properties"),
    ("14 16 18", "properties cut off", "0101000080053c01", "ends inside its header"),
]


@pytest.mark.parametrize(
    ("draft_row", "data", "words"),
    [
        pytest.param(DRAFTS[int(number)], data, words, id=f"{number}-{what}".replace(" ", "-"))
        for numbers, what, data, words in BAD_DATAGRAMS
        for number in numbers.split()
    ],
)
def test_malformed_datagram_is_refused_for_its_fault(draft_row: Draft, data: str, words: str) -> None:
    """A datagram with one fault ends the session."""
    with pytest.raises(ProtocolViolation) as caught:
        decode_datagram(bytes.fromhex(data), draft_row)

    assert words in str(caught.value)


def _subgroup(number: int, **header: Any) -> SubgroupEncoder:
    return SubgroupEncoder(SubgroupHeader(1, 0, **header), draft(number))


UNWRITABLE_DATA: list[tuple[str, Callable[[], object]]] = [
    ("no SUBGROUP_HEADER of type 0x54", lambda: _subgroup(16, first_object=True).header()),
    ("no SUBGROUP_HEADER of type 0x34", lambda: _subgroup(14, publisher_priority=None).header()),
    ("promises no properties", lambda: _subgroup(16).object(StreamObject(0, b"a", 0, KeyValues({0x3C: 1})))),
    ("a payload or a status, not both", lambda: _subgroup(16).object(StreamObject(0, b"a", 3))),
    ("has no object status 0x1", lambda: _subgroup(16).object(StreamObject(0, b"", 1))),
    ("no datagram of type 0x8", lambda: encode_datagram(ObjectDatagram(1, 0, 0, None), draft(14))),
    (
        "no datagram of type 0x22",
        lambda: encode_datagram(ObjectDatagram(1, 0, 0, status=3, end_of_group=True), draft(18)),
    ),
    ("has no object status 0x1", lambda: encode_datagram(ObjectDatagram(1, 0, 0, status=1), draft(16))),
    (
        "allows no properties in an object of status 0x3",
        lambda: _subgroup(16, has_properties=True).object(StreamObject(0, b"", 3, KeyValues({0x3C: 1}))),
    ),
    (
        "no object status in the answer to a FETCH",
        lambda: FetchEncoder(draft(16)).object(FetchObject(0, 0, 0, 0, b"", status=3)),
    ),
    (
        "a payload or a status, not both",
        lambda: encode_datagram(ObjectDatagram(1, 0, 0, payload=b"a", status=3), draft(16)),
    ),
    ("no End of Range 0x20c", lambda: FetchEncoder(draft(18)).range_end(FetchRangeEnd(0x20C, 0, 0))),
    ("no End of Range 0x8c", lambda: FetchEncoder(draft(14)).range_end(FetchRangeEnd(0x8C, 0, 0))),
]


@pytest.mark.parametrize(
    ("words", "write"),
    [
        pytest.param(*case, id=f"{place}-{case[0]}".replace(" ", "-"))
        for place, case in enumerate(UNWRITABLE_DATA)
    ],
)
def test_objects_that_a_draft_cannot_write_are_our_error(words: str, write: Callable[[], object]) -> None:
    """The encoders of the data plane refuse what the draft does not have."""
    with pytest.raises(LocalProtocolError) as caught:
        write()

    assert words in str(caught.value)


def test_objects_of_a_subgroup_rise() -> None:
    """An object id that is not above the last cannot be written (`subgroup-header`)."""
    encoder = _subgroup(16)
    encoder.object(StreamObject(4, b"a"))

    with pytest.raises(LocalProtocolError, match="object 4 cannot follow object 4"):
        encoder.object(StreamObject(4, b"b"))


# ---- collections and records -----------------------------------------------------------------------


def test_collections_are_equal_by_key_whatever_the_order_of_keys() -> None:
    """Wire order among different keys means nothing; among values of one key it does."""
    assert KeyValues([(1, b"a"), (2, 5), (1, b"b")]) == KeyValues([(2, 5), (1, b"a"), (1, b"b")])
    assert KeyValues([(1, b"a"), (1, b"b")]) != KeyValues([(1, b"b"), (1, b"a")])
    assert KeyValues({1: b"a"}) == {1: b"a"}
    assert hash(KeyValues([(1, b"a"), (2, 5)])) == hash(KeyValues([(2, 5), (1, b"a")]))
    assert KeyValues([(1, b"a"), (1, b"b")]).get(1) == b"a"
    assert len(KeyValues([(1, b"a"), (1, b"b")])) == 1
    assert KeyValues({1: b"a"}) != 7


def test_messages_are_values() -> None:
    """Messages are equal by their fields, take plain dicts, cannot be changed and name what they lack."""
    message = m.Subscribe((b"a",), b"b", {Parameter.FORWARD: 1})

    assert message == m.Subscribe(track_name=b"b", track_namespace=(b"a",), parameters={Parameter.FORWARD: 1})
    assert message != m.TrackStatus((b"a",), b"b", {Parameter.FORWARD: 1})
    assert hash(message) == hash(m.Subscribe((b"a",), b"b", {Parameter.FORWARD: 1}))
    with pytest.raises(AttributeError, match="cannot assign to field 'track_name'"):
        message.track_name = b"c"  # type: ignore[misc]
    with pytest.raises(TypeError, match="Subscribe needs track_namespace, track_name"):
        m.Subscribe()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Subscribe has no 'nonsense', or has it already"):
        m.Subscribe((b"a",), b"b", nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("number", "code", "body", "offset"),
    [
        # The fault is inside a value that has a length of its own: the filter's type, the token's, ...
        (16, 0x03, "00" + TRACK + "01210105", len(bytes.fromhex("00" + TRACK)) + 3),
        (18, 0x03, "00" + TRACK + "01210105", len(bytes.fromhex("00" + TRACK)) + 3),
        (18, 0x06, "00" + NAMESPACE + "01030104", len(bytes.fromhex("00" + NAMESPACE)) + 3),
        (16, 0x06, "00" + NAMESPACE + "01030104", len(bytes.fromhex("00" + NAMESPACE)) + 3),
    ],
)
def test_offset_of_a_fault_in_a_value_counts_from_the_body(
    number: int, code: int, body: str, offset: int
) -> None:
    """A report shows the byte at fault, also where it is deep inside."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode(Frame(code, bytes.fromhex(body)), draft(number), Sender.SERVER)

    assert caught.value.offset == offset


@pytest.mark.parametrize("draft_row", ALL)
def test_text_that_has_no_utf8_is_our_error(draft_row: Draft) -> None:
    """A lone surrogate that stands for no byte cannot be sent."""
    goaway = Goaway("\ud800", 0, 1)

    with pytest.raises(LocalProtocolError, match="a URI with a lone surrogate has no UTF-8"):
        encode(goaway, draft_row, sender=Sender.SERVER)


@pytest.mark.parametrize("draft_row", ALL)
def test_a_properties_block_has_a_limit_of_ours(draft_row: Draft) -> None:
    """A block of tiny pairs is forty times as large in memory; it is refused before it comes."""
    header = SubgroupEncoder(SubgroupHeader(0, 0, has_properties=True), draft_row).header()

    DataStreamDecoder(draft_row).feed(header + b"\x00" + draft_row.integers.encode(MAX_PROPERTIES_SIZE))
    with pytest.raises(ObjectTooLarge, match="a properties block of 262145 bytes, at most 262144"):
        DataStreamDecoder(draft_row).feed(
            header + b"\x00" + draft_row.integers.encode(MAX_PROPERTIES_SIZE + 1)
        )


def test_collections_of_many_keys_are_compared_and_told_in_time() -> None:
    """A peer's message may have thirty thousand pairs; each is looked at once, not once for each other."""
    options = bytes([0x10, 0x00]) + b"\x02\x00" * 32000
    setup, _ = decode(Frame(0x2F00, options), draft(18), Sender.SERVER)
    began = time.process_time()

    again, _ = decode(Frame(0x2F00, options), draft(18), Sender.SERVER)
    assert again == setup
    assert len(to_json(setup)["options"]) == 32001

    # Quadratic, it is above ten.
    assert time.process_time() - began < 5
