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
    InvalidRequiredRequestId,
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
    RangeFilter,
    Redirect,
    Token,
    TokenAlias,
)

ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]
FROM_15 = "15 16 17 18 19 20 21 22"
FROM_16 = "16 17 18 19 20 21 22"
FROM_17 = "17 18 19 20 21 22"
FROM_18 = "18 19 20 21 22"
FROM_19 = "19 20 21 22"
FROM_20 = "20 21 22"

NAMESPACE = "02086d6f712d7465737407696e7465726f70"
TRACK = NAMESPACE + "0a746573742d747261636b"
SUBSCRIBE_14 = "00" + TRACK
ID = "00~"
"A request's id, and where `~` is what draft 17 alone has behind it: no Required Request ID."
SUBSCRIBE = ID + TRACK
TOP = "ffffffffffffffffff"
"2^64-1 from draft 17 on."

_VIOLATION = ProtocolViolation
_FORMATTING = KeyValueFormattingError
_REQUIRED = InvalidRequiredRequestId


def numbers(drafts: str) -> list[int]:
    """Draft numbers out of `FROM_17` and its like."""
    return [int(number) for number in drafts.split()]


def written(body: str, number: int) -> bytes:
    """A body in hex as draft `number` has it."""
    return bytes.fromhex(body.replace("~", "00" if number == 17 else ""))


CASES: list[tuple[str, str, int, str, type[RemoteProtocolError], str]] = [
    # drafts, what is wrong, type, body, error, words
    # ---- names (`track-name`) ----
    ("14 15 16", "a namespace without fields", 0x06, "000000", _VIOLATION, "of 0 fields, must be 1 to 32"),
    ("14 " + FROM_15, "a namespace of 33 fields", 0x06, ID + "21", _VIOLATION, "of 33 fields"),
    (FROM_16, "an empty field", 0x06, ID + "010000", _VIOLATION, "an empty field in a Track Namespace"),
    ("14 15 16", "a field longer than any name", 0x06, "00015001", _VIOLATION, "of 4097 bytes"),
    (FROM_17, "a field longer than any name", 0x06, ID + "019001", _VIOLATION, "of 4097 bytes"),
    ("14 15", "a prefix without fields", 0x11, "000000", _VIOLATION, "Prefix of 0 fields, must be 1 to 32"),
    (FROM_16, "a suffix of 33 fields", 0x08, "21", _VIOLATION, "Suffix of 33 fields"),
    (FROM_16, "a suffix of 33 fields that is gone", 0x0E, "21", _VIOLATION, "Suffix of 33 fields"),
    (FROM_17, "a suffix of 33 fields not offered", 0x0F, "21", _VIOLATION, "Suffix of 33 fields"),
    # ---- limits (`reason-phrase`, `message-goaway`, `key-value-pair`) ----
    ("14", "a reason of 1025 bytes", 0x05, "00044401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    ("15", "a reason of 1025 bytes", 0x05, "00104401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    ("16", "a reason of 1025 bytes", 0x05, "0010004401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    (FROM_17, "a reason of 1025 bytes", 0x05, "10008401", _VIOLATION, "a Reason Phrase of 1025 bytes"),
    ("14 15 16", "a URI of 8193 bytes", 0x10, "6001", _VIOLATION, "a URI of 8193 bytes"),
    (FROM_17, "a URI of 8193 bytes", 0x10, "a001", _VIOLATION, "a URI of 8193 bytes"),
    ("16", "a track property of 65536 bytes", 0x04, "0001001180010000", _VIOLATION, "of 65536 bytes"),
    (FROM_17, "a track property of 65536 bytes", 0x04, "010011c10000", _VIOLATION, "of 65536 bytes"),
    ("16", "group order 3 of a track", 0x04, "0001002203", _VIOLATION, "GROUP_ORDER is 3, must be 1 or 2"),
    (FROM_17, "group order 0 of a track", 0x04, "01002200", _VIOLATION, "GROUP_ORDER is 0, must be 1 or 2"),
    ("16", "DYNAMIC_GROUPS 2", 0x04, "0001003002", _VIOLATION, "DYNAMIC_GROUPS is 2, must be 0 or 1"),
    (FROM_17, "DYNAMIC_GROUPS 2", 0x04, "01003002", _VIOLATION, "DYNAMIC_GROUPS is 2, must be 0 or 1"),
    (FROM_17, "types that add up too far", 0x04, "01000201" + TOP, _VIOLATION, "overflows"),
    # ---- integers of draft 17 (section 1.4.1), which names 0xFC only: 0xFD has its six leading ones too ----
    (
        "17",
        "an integer that begins with 0xFC",
        0x10,
        "fc00000000000000",
        _VIOLATION,
        "begin with the byte 0xfc",
    ),
    (
        "17",
        "an integer that begins with 0xFD",
        0x10,
        "fd00000000000000",
        _VIOLATION,
        "begin with the byte 0xfd",
    ),
    # ---- what draft 17 depends on (section 9.2) ----
    (
        "17",
        "a dependency on what was before",
        0x06,
        "0001",
        _REQUIRED,
        "Delta 1 reaches before the first request",
    ),
    ("17", "a dependency of an update", 0x02, "0403", _REQUIRED, "Delta 3 reaches before the first request"),
    # ---- parameters (`message-params`) ----
    ("16", "an unknown parameter", 0x03, SUBSCRIBE + "014001", _VIOLATION, "no message parameter 0x1"),
    (FROM_17, "an unknown parameter", 0x03, SUBSCRIBE + "017f00", _VIOLATION, "no message parameter 0x7f"),
    (FROM_17, "parameter 0x3F", 0x03, SUBSCRIBE + "013f00", _VIOLATION, "no message parameter 0x3f"),
    (FROM_17, "parameters that add up too far", 0x03, SUBSCRIBE + "021001" + TOP, _VIOLATION, "overflows"),
    ("15", "a parameter twice", 0x03, SUBSCRIBE + "0210011001", _VIOLATION, "FORWARD (0x10) twice"),
    (FROM_16, "a parameter twice", 0x03, SUBSCRIBE + "0210010001", _VIOLATION, "FORWARD (0x10) twice"),
    (
        FROM_17,
        "a priority twice",
        0x03,
        SUBSCRIBE + "0220100010",
        _VIOLATION,
        "SUBSCRIBER_PRIORITY (0x20) twice",
    ),
    (
        "14 15",
        "a parameter twice",
        0x06,
        "00" + NAMESPACE + "0202010201",
        _VIOLATION,
        " DELIVERY_TIMEOUT (0x2) twice",
    ),
    (
        "17",
        "a timeout twice",
        0x03,
        SUBSCRIBE + "0202010001",
        _VIOLATION,
        "parameter DELIVERY_TIMEOUT (0x2) twice",
    ),
    (
        FROM_18,
        "a timeout twice",
        0x03,
        SUBSCRIBE + "0202010001",
        _VIOLATION,
        "OBJECT_DELIVERY_TIMEOUT (0x2) twice",
    ),
    (
        "18",
        "a filter twice",
        0x03,
        SUBSCRIBE + "022101010000",
        _VIOLATION,
        "SUBSCRIPTION_FILTER (0x21) twice",
    ),
    (FROM_19, "a filter twice", 0x03, SUBSCRIBE + "022101010001", _VIOLATION, "LOCATION_FILTER (0x21) twice"),
    (FROM_17, "a parameter of another message", 0x06, ID + NAMESPACE + "011001", _VIOLATION, "may not be in"),
    (
        FROM_17,
        "LARGEST_OBJECT of a subscriber",
        0x03,
        SUBSCRIBE + "01090a03",
        _VIOLATION,
        "may not be in SUBSCRIBE",
    ),
    (FROM_17, "a filter of a status", 0x0D, SUBSCRIBE + "01210101", _VIOLATION, "may not be in TRACK_STATUS"),
    (
        "18 19",
        "FORWARD of a namespace",
        0x50,
        ID + NAMESPACE + "011001",
        _VIOLATION,
        "may not be in SUBSCRIBE_NAME",
    ),
    (
        "18",
        "priority of tracks",
        0x51,
        ID + NAMESPACE + "012010",
        _VIOLATION,
        "may not be in SUBSCRIBE_TRACKS",
    ),
    (FROM_15, "FORWARD 2", 0x03, SUBSCRIBE + "011002", _VIOLATION, "FORWARD is 2, must be one of 0, 1"),
    (FROM_15, "GROUP_ORDER 0", 0x03, SUBSCRIBE + "012200", _VIOLATION, "GROUP_ORDER is 0"),
    (FROM_15, "GROUP_ORDER 3", 0x03, SUBSCRIBE + "012203", _VIOLATION, "GROUP_ORDER is 3"),
    ("15 16", "a priority above 255", 0x03, SUBSCRIBE + "01204100", _VIOLATION, "SUBSCRIBER_PRIORITY is 256"),
    ("15", "a priority of a track above 255", 0x04, "0001010e4100", _VIOLATION, "PUBLISHER_PRIORITY is 256"),
    ("15", "DYNAMIC_GROUPS 2", 0x04, "0001013002", _VIOLATION, "DYNAMIC_GROUPS is 2, must be one of 0, 1"),
    ("16", "a delivery timeout of 0", 0x03, SUBSCRIBE + "010200", _VIOLATION, "DELIVERY_TIMEOUT is 0"),
    ("15 16", "a LARGEST_OBJECT too long", 0x04, "0001010903010203", _FORMATTING, "1 byte too many"),
    ("15 16", "a LARGEST_OBJECT too short", 0x04, "000101090101", _FORMATTING, "ends too early"),
    (FROM_20, "INCLUDE_PROPERTIES 2", 0x03, SUBSCRIBE + "013502", _VIOLATION, "INCLUDE_PROPERTIES is 2"),
    (
        FROM_20,
        "INCLUDE_PROPERTIES of an offer",
        0x1D,
        ID + TRACK + "07013501",
        _VIOLATION,
        "may not be in PUBLISH",
    ),
    (FROM_20, "FORWARD in PUBLISH_OK", 0x07, "011001", _VIOLATION, "FORWARD (0x10) may not be in"),
    (FROM_20, "a filter in PUBLISH_OK", 0x07, "01210101", _VIOLATION, "LOCATION_FILTER (0x21) may not be in"),
    (
        FROM_20,
        "range filters in PUBLISH_OK",
        0x07,
        "01250100",
        _VIOLATION,
        "SUBGROUP_FILTER (0x25) may not be in",
    ),
    (FROM_20, "EXPIRES in a notification", 0x22, "010801", _VIOLATION, "may not be in PUBLISH_STATE_NOTIFY"),
    # ---- tokens (`authorization-token`) ----
    (
        "14 " + FROM_15,
        "an unknown alias type",
        0x06,
        ID + NAMESPACE + "01030104",
        _FORMATTING,
        "alias type 4",
    ),
    ("14 " + FROM_15, "an empty token", 0x06, ID + NAMESPACE + "010300", _FORMATTING, "ends too early"),
    ("14 " + FROM_15, "a DELETE with a rest", 0x06, ID + NAMESPACE + "0103030001ff", _FORMATTING, "too many"),
    ("14 15 16", "a token in SETUP", 0x20, "", _VIOLATION, "end inside its"),
    # ---- filters (`subscription-filters`) ----
    ("14", "filter type 0", 0x03, SUBSCRIBE_14 + "8001010000", _VIOLATION, "filter type 0x0"),
    ("15 16 17 18 19", "filter type 5", 0x03, SUBSCRIBE + "01210105", _VIOLATION, "filter type 0x5"),
    ("15 16 17 18 19", "filter type 0", 0x03, SUBSCRIBE + "01210100", _VIOLATION, "filter type 0x0"),
    (
        "15 16 17 18 19",
        "a filter too short",
        0x03,
        SUBSCRIBE + "0121020305",
        _VIOLATION,
        "filter ends too early",
    ),
    ("15 16 17 18 19", "a filter too long", 0x03, SUBSCRIBE + "0121020200", _VIOLATION, "1 byte too many"),
    ("17 18 19", "an end too far", 0x03, SUBSCRIBE + "01210c040100" + TOP, _VIOLATION, "is above 2^64-1"),
    # ---- filters by the number of their fields (20 section 5.1.2) ----
    (
        "20 21",
        "a filter of five fields",
        0x03,
        SUBSCRIBE + "0121050000000000",
        _VIOLATION,
        "more than four fields",
    ),
    ("20 21", "half a field", 0x03, SUBSCRIBE + "01210180", _VIOLATION, "a location filter ends too early"),
    (
        "20 21",
        "a half second field",
        0x03,
        SUBSCRIBE + "0121020581",
        _VIOLATION,
        "a location filter ends too early",
    ),
    ("20 21", "the next object of 22", 0x03, SUBSCRIBE + "012105", _VIOLATION, "end inside its parameters"),
    ("20 21", "an end too far", 0x03, SUBSCRIBE + "01210b0100" + TOP, _VIOLATION, "is above 2^64-1"),
    (
        "20 21",
        "an end too far with its object",
        0x16,
        ID + TRACK + "01210c0100" + TOP + "00",
        _VIOLATION,
        "above 2^64-1",
    ),
    # ---- filters by type (22 section 9.20.9) ----
    ("22", "filter type 6", 0x03, SUBSCRIBE + "012106", _VIOLATION, "location filter type 0x6 is not 0 to 5"),
    ("22", "a filter too short", 0x03, SUBSCRIBE + "01210205", _VIOLATION, "end inside its parameters"),
    ("22", "an end too far", 0x03, SUBSCRIBE + "0121030100" + TOP, _VIOLATION, "is above 2^64-1"),
    (
        "22",
        "an end too far with its object",
        0x16,
        ID + TRACK + "0121040100" + TOP + "00",
        _VIOLATION,
        "above 2^64-1",
    ),
    # ---- FILL_PARAMETERS (20 section 10.2.15, 22 section 9.20.15) ----
    (
        FROM_20,
        "FORWARD in a fill",
        0x03,
        SUBSCRIBE + "012303011001",
        _VIOLATION,
        "may not be in FILL_PARAMETERS",
    ),
    (
        FROM_20,
        "a token in a fill",
        0x03,
        SUBSCRIBE + "0123020103",
        _VIOLATION,
        "may not be in FILL_PARAMETERS",
    ),
    (
        FROM_20,
        "FORWARD in a fill without count",
        0x03,
        SUBSCRIBE + "0123021001",
        _VIOLATION,
        "may not be in FILL_PARA",
    ),
    (
        FROM_20,
        "a fill in a fill",
        0x03,
        SUBSCRIBE + "012303012300",
        _VIOLATION,
        "may not be in FILL_PARAMETERS",
    ),
    (
        FROM_20,
        "a track filter in a fill",
        0x03,
        SUBSCRIBE + "012303012900",
        _VIOLATION,
        "may not be in FILL_PARAMETERS",
    ),
    (
        FROM_20,
        "an unknown parameter in a fill",
        0x03,
        SUBSCRIBE + "012303013f00",
        _VIOLATION,
        "parameter 0x3f",
    ),
    (
        FROM_20,
        "a priority twice in a fill",
        0x03,
        SUBSCRIBE + "01230502201000" + "10",
        _VIOLATION,
        "(0x20) twice",
    ),
    (
        FROM_20,
        "a fill that counts too many",
        0x03,
        SUBSCRIBE + "012303020a00",
        _VIOLATION,
        "FILL_PARAMETERS ends too",
    ),
    (
        FROM_20,
        "a fill that counts too few",
        0x03,
        SUBSCRIBE + "012304010a00ff",
        _VIOLATION,
        "too many in FILL_PARAM",
    ),
    (FROM_20, "a fill twice", 0x03, SUBSCRIBE + "0223000000", _VIOLATION, "FILL_PARAMETERS (0x23) twice"),
    (FROM_20, "a fill of a FETCH", 0x16, ID + TRACK + "012300", _VIOLATION, "may not be in FETCH"),
    # ---- fixed fields of draft 14 ----
    ("14", "Group Order 3", 0x03, SUBSCRIBE_14 + "8003010200", _VIOLATION, "Group Order is 3"),
    ("14", "Forward 2", 0x03, SUBSCRIBE_14 + "8001020200", _VIOLATION, "Forward is 2"),
    ("14", "Group Order 0 in an answer", 0x04, "000100000000", _VIOLATION, "Group Order is 0"),
    ("14", "Content Exists 2", 0x04, "000100010200", _VIOLATION, "Content Exists is 2"),
    # ---- other fields ----
    ("16 17", "Subscribe Options 3", 0x11, ID + NAMESPACE + "0300", _VIOLATION, "Subscribe Options is 3"),
    ("14", "fetch type 4", 0x16, "02800104", _VIOLATION, "fetch type 0x4"),
    ("15 16 17 18 19", "fetch type 0", 0x16, "02~00", _VIOLATION, "fetch type 0x0"),
    (FROM_18, "REDIRECT without where to", 0x05, "340100", _VIOLATION, "end inside its redirect"),
    (FROM_18, "where to without REDIRECT", 0x05, "100100000000", _VIOLATION, "3 bytes after the last field"),
    (
        "17",
        "where to before it was defined",
        0x05,
        "340100000000",
        _VIOLATION,
        "3 bytes after the last field",
    ),
    (FROM_18, "half of where to", 0x05, "3401000000", _VIOLATION, "end inside its redirect"),
    (
        "14 15 16",
        "a GOAWAY with a timeout",
        0x10,
        "0000",
        _VIOLATION,
        "1 byte after the last field of GOAWAY",
    ),
    (FROM_17, "a GOAWAY without timeout", 0x10, "00", _VIOLATION, "end inside its timeout_ms"),
    (
        "17 " + FROM_19,
        "a GOAWAY with an id",
        0x10,
        "000000",
        _VIOLATION,
        "1 byte after the last field of GOAWAY",
    ),
    (FROM_20, "a FETCH of 19", 0x16, "0201" + TRACK + "0000050000", _VIOLATION, "of FETCH (type 0x16)"),
    # ---- setup ----
    ("14", "an option twice", 0x21, "c0000000ff00000e0202010201", _VIOLATION, "MAX_REQUEST_ID twice"),
    ("15", "an option twice", 0x21, "0202010201", _VIOLATION, "MAX_REQUEST_ID twice"),
    ("16", "an option twice", 0x21, "0202010001", _VIOLATION, "MAX_REQUEST_ID twice"),
    (FROM_17, "an option twice", 0x2F00, "04010001", _VIOLATION, "MAX_AUTH_TOKEN_CACHE_SIZE twice"),
    (FROM_19, "MAX_FILTER_RANGES twice", 0x2F00, "06010001", _VIOLATION, "MAX_FILTER_RANGES twice"),
    (FROM_19, "MAX_REQUEST_UPDATES twice", 0x2F00, "08010001", _VIOLATION, "MAX_REQUEST_UPDATES twice"),
    (FROM_17, "an unknown alias type in SETUP", 0x2F00, "030104", _FORMATTING, "alias type 4"),
    ("14", "half an option", 0x21, "c0000000ff00000e010240", _FORMATTING, "MAX_REQUEST_ID ends too early"),
    ("15 16", "half an option", 0x21, "010240", _FORMATTING, "MAX_REQUEST_ID ends too early"),
    (FROM_17, "half an option", 0x2F00, "0480", _FORMATTING, "MAX_AUTH_TOKEN_CACHE_SIZE ends too early"),
    (FROM_17, "an option too short", 0x2F00, "0104612f", _FORMATTING, "PATH ends too early"),
    (FROM_17, "a token too short", 0x2F00, "03040300", _FORMATTING, "AUTHORIZATION_TOKEN ends too early"),
    (FROM_17, "half an unknown option", 0x2F00, "0a80", _VIOLATION, "end inside its options"),
    ("17 18", "half an option of 19", 0x2F00, "0680", _VIOLATION, "end inside its options"),
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
    octets = written(body, draft_row.number)

    with pytest.raises(error) as caught:
        decode(Frame(code, octets), draft_row, sender)

    assert type(caught.value) is error
    assert words in str(caught.value)
    assert caught.value.offset is not None
    assert caught.value.offset <= len(octets)


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


@pytest.mark.parametrize("number", [14, 15])
def test_empty_namespace_field_is_legal_up_to_draft_15(number: int) -> None:
    """Nothing in drafts 14 and 15 forbids an empty field (section 2.4.1)."""
    message = m.PublishNamespace((b"", b"a"), request_id=0)

    frame = encode(message, draft(number), sender=Sender.CLIENT)

    assert decode(frame, draft(number), Sender.CLIENT)[0] == message


@pytest.mark.parametrize("number", numbers(FROM_17))
def test_names_may_have_no_namespace_from_draft_17(number: int) -> None:
    """A namespace has 0 to 32 fields (17 section 2.4.1), and a name may be empty."""
    message = m.Subscribe((), b"", request_id=0)

    frame = encode(message, draft(number), sender=Sender.CLIENT)

    assert frame.body == written("00~000000", number)
    assert decode(frame, draft(number), Sender.CLIENT)[0] == message


@pytest.mark.parametrize("draft_row", ALL)
def test_unknown_setup_options_are_kept_and_may_repeat(draft_row: Draft) -> None:
    """Endpoints ignore setup options that they do not know, however often they come (`message-setup`)."""
    options = KeyValues([(0x9D, b"grease"), (0x9D, b"more"), (0x11C, 7)])
    setup = m.Setup(options, (0xFF00000E,) if draft_row.version_code else ())

    read, _ = decode(encode(setup, draft_row, sender=Sender.SERVER), draft_row, Sender.SERVER)

    assert read == setup
    assert read.options.all(0x9D) == (b"grease", b"more")


@pytest.mark.parametrize("number", [14, 15])
def test_unknown_parameters_are_kept_up_to_draft_15(number: int) -> None:
    """Drafts 14 and 15 have receivers ignore parameters that they do not know (section 9.2)."""
    message = m.PublishNamespace((b"a",), KeyValues([(0x41, b"x"), (0x42, 7), (0x41, b"y")]), 0)

    frame = encode(message, draft(number), sender=Sender.CLIENT)

    assert decode(frame, draft(number), Sender.CLIENT)[0] == message


@pytest.mark.parametrize("number", [15, 16])
def test_parameter_of_another_message_is_ignored_before_draft_17(number: int) -> None:
    """Drafts 15 and 16: "in some other type of message, it MUST be ignored" (section 9.2.1)."""
    read, _ = decode(Frame(0x06, written(ID + NAMESPACE + "011001", number)), draft(number), Sender.SERVER)

    assert isinstance(read, m.PublishNamespace)
    assert read.track_namespace == (b"moq-test", b"interop")


@pytest.mark.parametrize("number", [14, 15, 17, 18, 19, 20, 21, 22])
def test_delivery_timeout_of_0_is_legal_but_in_draft_16(number: int) -> None:
    """Draft 16 alone forbids it (section 9.2.2.2); 17 says that it means none (section 9.3.3)."""
    message = m.Subscribe((b"a",), b"b", {Parameter.OBJECT_DELIVERY_TIMEOUT: 0}, 0)

    read, _ = decode(encode(message, draft(number), sender=Sender.CLIENT), draft(number), Sender.CLIENT)

    assert isinstance(read, m.Subscribe)
    assert read.parameters[Parameter.OBJECT_DELIVERY_TIMEOUT] == 0


@pytest.mark.parametrize("number", numbers(FROM_18))
def test_integers_of_seven_bytes_are_legal_from_draft_18(number: int) -> None:
    """What may begin no integer of draft 17 begins one of seven bytes later (18 section 1.4.1)."""
    read, _ = decode(Frame(0x10, bytes.fromhex("fc00000000000000")), draft(number), Sender.SERVER)

    assert read == m.Goaway("", 0)
    assert draft(number).integers.decode(bytes.fromhex("fd000000000001")) == ((1 << 48) + 1, 7)


def test_dependency_on_an_earlier_request_is_read_and_none_is_written_in_draft_17() -> None:
    """Request 4 may depend on 2 and on 0 (17 section 9.2); what order that asks for is not kept."""
    message = m.PublishNamespace((b"moq-test", b"interop"), request_id=4)

    for delta in ("00", "01", "02"):
        frame = Frame(0x06, bytes.fromhex("04" + delta + NAMESPACE + "00"))
        assert decode(frame, draft(17), Sender.CLIENT)[0] == message
    assert encode(message, draft(17), sender=Sender.CLIENT).body.startswith(b"\x04\x00\x02")


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


@pytest.mark.parametrize("draft_row", [pytest.param(draft(n), id=f"draft-{n}") for n in numbers(FROM_17)])
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
        *((number, PublishDoneStatus.EXPIRED, 0x5) for number in (14, 15, 16, 17)),
        *((number, PublishDoneStatus.TOO_FAR_BEHIND, 0x6) for number in (14, 15, 16, 17)),
        *((number, PublishDoneStatus.EXPIRED, 0x6) for number in (18, 19, 20, 21, 22)),
        *((number, PublishDoneStatus.TOO_FAR_BEHIND, 0x5) for number in (18, 19, 20, 21, 22)),
    ],
)
def test_status_keeps_its_meaning_where_its_number_changes(
    number: int, status: PublishDoneStatus, code: int
) -> None:
    """EXPIRED and TOO_FAR_BEHIND change places in draft 18 (`message-publish-done`)."""
    frame = encode(m.PublishDone(status, 0, request_id=0), draft(number), sender=Sender.SERVER)

    assert frame.body[-3] == code
    assert decode(frame, draft(number), Sender.SERVER)[0].status is status


UNKNOWN_COUNTS = {
    # "it MUST set Stream Count to 2^62 - 1" (14 section 9.12 to 19 section 10.11); 2^64-1 from 20 on (section
    # 10.12).
    **dict.fromkeys((14, 15, 16), "ffffffffffffffff"),
    **dict.fromkeys((17, 18, 19), "ff3fffffffffffffff"),
    **dict.fromkeys((20, 21, 22), TOP),
}


@pytest.mark.parametrize("draft_row", ALL)
def test_count_of_streams_that_nobody_knows_has_the_drafts_number(draft_row: Draft) -> None:
    """PUBLISH_DONE says that the publisher cannot tell in the draft's way (`message-publish-done`)."""
    unknown = bytes.fromhex(UNKNOWN_COUNTS[draft_row.number])
    number = 0 if draft_row.replies_carry_request_id else None
    done = m.PublishDone(PublishDoneStatus.TRACK_ENDED, m.UNKNOWN_STREAM_COUNT, "", number)

    frame = encode(done, draft_row, sender=Sender.SERVER)
    known, _ = decode(frame.replace(body=frame.body.replace(unknown, b"\x03")), draft_row, Sender.SERVER)

    assert frame.body.endswith(b"\x02" + unknown + b"\x00")
    assert decode(frame, draft_row, Sender.SERVER)[0] == done
    assert known == m.PublishDone(PublishDoneStatus.TRACK_ENDED, 3, "", number)


# ---- filters and fills of newer drafts -------------------------------------------------------------

NAMES = ((b"moq-test", b"interop"), b"test-track")
LOCATION_FILTERS: list[tuple[str, Filter, str, str]] = [
    # Draft 20 section 5.1.2, where the number of fields behind a length tells; draft 22 section 9.20.9, where
    # a type does, and there is no length.
    ("none", Filter(FilterType.UNFILTERED), "00", "00"),
    ("next group", Filter(FilterType.NEXT_GROUP_START), "0100", "0100"),
    ("current group", Filter(FilterType.RELATIVE_START, groups_back=1), "0101", "0101"),
    ("200 groups back", Filter(FilterType.RELATIVE_START, groups_back=200), "0280c8", "0180c8"),
    ("next object", Filter(FilterType.LARGEST_OBJECT), "020000", "05"),
    ("a start", Filter(FilterType.ABSOLUTE_START, Location(300, 0)), "03812c00", "02812c00"),
    ("a start in the first group", Filter(FilterType.ABSOLUTE_START, Location(0, 1)), "020001", "020001"),
    ("whole groups", Filter(FilterType.ABSOLUTE_RANGE, Location(5, 0), 9), "03050004", "03050004"),
    ("the first group", Filter(FilterType.ABSOLUTE_RANGE, Location(0, 0), 0), "03000000", "03000000"),
    ("a range", Filter(FilterType.FULL_RANGE, Location(5, 0), 9, 7), "0405000407", "0405000407"),
    ("one object", Filter(FilterType.FULL_RANGE, Location(0, 0), 0, 0), "0400000000", "0400000000"),
    ("far", Filter(FilterType.FULL_RANGE, Location(300, 5), 301, 0), "05812c050100", "04812c050100"),
    (
        "to the last group there is",
        Filter(FilterType.ABSOLUTE_RANGE, Location(1, 0), (1 << 64) - 1),
        "0b0100fffffffffffffffffe",
        "030100fffffffffffffffffe",
    ),
]


@pytest.mark.parametrize(
    ("number", "meaning", "value"),
    [
        pytest.param(number, meaning, value, id=f"{number}-{what}".replace(" ", "-"))
        for what, meaning, counted, typed in LOCATION_FILTERS
        for number, value in ((20, counted), (21, counted), (22, typed))
    ],
)
def test_location_filter_has_one_form_in_a_draft(number: int, meaning: Filter, value: str) -> None:
    """A meaning is written in one way, and what is written means that (`location-filters`)."""
    frame = Frame(0x03, bytes.fromhex("00" + TRACK + "0121" + value))
    message = m.Subscribe(*NAMES, {Parameter.SUBSCRIPTION_FILTER: meaning}, 0)

    assert encode(message, draft(number), sender=Sender.CLIENT) == frame
    assert decode(frame, draft(number), Sender.CLIENT)[0] == message


@pytest.mark.parametrize(
    ("number", "value", "meaning"),
    [
        # The number of fields counts, not that of bytes.
        (20, "03800a03", Filter(FilterType.ABSOLUTE_START, Location(10, 3))),
        (21, "03800a03", Filter(FilterType.ABSOLUTE_START, Location(10, 3))),
        # The bytes of the next object at 20 are another filter at 22: from the beginning on.
        (22, "020000", Filter(FilterType.ABSOLUTE_START, Location(0, 0))),
        (22, "8005", Filter(FilterType.LARGEST_OBJECT)),
    ],
)
def test_location_filter_is_read_as_its_draft_has_it(number: int, value: str, meaning: Filter) -> None:
    """The same bytes may be another filter in another draft (`location-filters`)."""
    frame = Frame(0x03, bytes.fromhex("00" + TRACK + "0121" + value))

    assert decode(frame, draft(number), Sender.CLIENT)[0] == m.Subscribe(
        *NAMES, {Parameter.SUBSCRIPTION_FILTER: meaning}, 0
    )


FETCHES: list[tuple[str, m.Fetch, str, str]] = [
    # Draft 20 section 10.13: the shape of a SUBSCRIBE, its range in LOCATION_FILTER, the end included.
    ("the whole track", m.Fetch(m.FilteredFetch(*NAMES), {}, 2), "00", "00"),
    (
        "objects",
        m.Fetch(m.StandaloneFetch(*NAMES, Location(5, 0), Location(6, 2)), {Parameter.GROUP_ORDER: 1}, 2),
        "022104050001010101",
        "022104050001010101",
    ),
    (
        "a group",
        m.Fetch(m.StandaloneFetch(*NAMES, Location(5, 0), Location(5, 0)), {}, 2),
        "012103050000",
        "012103050000",
    ),
    (
        "from an object on",
        m.Fetch(m.FilteredFetch(*NAMES, Filter(FilterType.ABSOLUTE_START, Location(300, 2))), {}, 2),
        "012103812c02",
        "012102812c02",
    ),
    (
        "the current group",
        m.Fetch(
            m.FilteredFetch(*NAMES, Filter(FilterType.RELATIVE_START, groups_back=1)),
            {Parameter.FILL_TIMEOUT: 0},
            2,
        ),
        "020a00170101",
        "020a00170101",
    ),
    (
        "the next object",
        m.Fetch(m.FilteredFetch(*NAMES, Filter(FilterType.LARGEST_OBJECT)), {}, 2),
        "0121020000",
        "012105",
    ),
]


@pytest.mark.parametrize(
    ("number", "message", "parameters"),
    [
        pytest.param(number, message, value, id=f"{number}-{what}".replace(" ", "-"))
        for what, message, counted, typed in FETCHES
        for number, value in ((20, counted), (21, counted), (22, typed))
    ],
)
def test_fetch_asks_by_a_filter_from_draft_20(number: int, message: m.Fetch, parameters: str) -> None:
    """FETCH has no type; its LOCATION_FILTER says what it asks for, the last object included."""
    frame = Frame(0x16, bytes.fromhex("02" + TRACK + parameters))

    assert encode(message, draft(number), sender=Sender.CLIENT) == frame
    assert decode(frame, draft(number), Sender.CLIENT)[0] == message


FETCH_ENDS = {
    # The end {6, 1} of a FETCH_OK: up to 19 the place behind the last object, from 20 on that object.
    15: ("0000060100", Location(6, 1)),
    16: ("0000060100", Location(6, 1)),
    17: ("00060100", Location(6, 1)),
    18: ("00060100", Location(6, 1)),
    19: ("00060100", Location(6, 1)),
    20: ("00060100", Location(6, 2)),
    21: ("00060100", Location(6, 2)),
    22: ("00060100", Location(6, 2)),
}


@pytest.mark.parametrize("number", FETCH_ENDS)
def test_end_of_a_fetch_is_included_from_draft_20(number: int) -> None:
    """End Location is "the last Object, plus 1" up to 19, "inclusive" later; it is carried as the former."""
    body, end = FETCH_ENDS[number]
    message = m.FetchOk(False, end, request_id=0 if draft(number).replies_carry_request_id else None)

    assert decode(Frame(0x18, bytes.fromhex(body)), draft(number), Sender.SERVER)[0] == message
    assert encode(message, draft(number), sender=Sender.SERVER).body == bytes.fromhex(body)


TIMEOUT = Parameter.FILL_TIMEOUT
FILLS: list[tuple[str, str, dict[Parameter, Any]]] = [
    # The value of FILL_PARAMETERS, its length first (20 section 10.2.15); whether a count comes next is open.
    ("counted", "05020a001601", {TIMEOUT: 0, Parameter.SUBSCRIBER_PRIORITY: 1}),
    ("without a count", "040a001601", {TIMEOUT: 0, Parameter.SUBSCRIBER_PRIORITY: 1}),
    ("counted and empty", "0100", {}),
    ("empty", "00", {}),
    (
        "counted group",
        "0401210101",
        {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.RELATIVE_START, groups_back=1)},
    ),
    (
        "group without a count",
        "03210101",
        {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.RELATIVE_START, groups_back=1)},
    ),
    ("range filter removed", "03012600", {Parameter.OBJECTID_FILTER: RangeFilter()}),
]


@pytest.mark.parametrize("number", numbers(FROM_20))
@pytest.mark.parametrize(
    ("value", "parameters"), [pytest.param(*case, id=what.replace(" ", "-")) for what, *case in FILLS]
)
def test_fill_is_read_with_and_without_its_count(
    number: int, value: str, parameters: dict[Parameter, Any]
) -> None:
    """What is in FILL_PARAMETERS is read however it is bounded, its types from 0 on (`fill-parameters`)."""
    # SUBSCRIBER_PRIORITY and NEW_GROUP_REQUEST around it: the outer types go on from its own.
    frame = Frame(0x03, bytes.fromhex("00" + TRACK + "03204003" + value + "0f19"))

    assert decode(frame, draft(number), Sender.CLIENT)[0] == m.Subscribe(
        *NAMES,
        {
            Parameter.SUBSCRIBER_PRIORITY: 0x40,
            Parameter.FILL_PARAMETERS: KeyValues(parameters),
            Parameter.NEW_GROUP_REQUEST: 25,
        },
        0,
    )


@pytest.mark.parametrize("number", numbers(FROM_20))
def test_fill_is_written_with_its_count(number: int) -> None:
    """As the parameters "for a separate message" are, and as most others write it (`fill-parameters`)."""
    fill = KeyValues({TIMEOUT: 0, Parameter.SUBSCRIBER_PRIORITY: 1})
    message = m.RequestUpdate({Parameter.FILL_PARAMETERS: fill}, request_id=2)

    frame = encode(message, draft(number), sender=Sender.CLIENT)

    assert frame == Frame(0x02, bytes.fromhex("02012305020a001601"))


RANGE_FILTERS: list[tuple[str, str, dict[Parameter, RangeFilter]]] = [
    # Type, length and value (19 section 5.1.3, 20 section 5.1.4).
    (
        "3 to 5 and 10 to 15",
        "26050003020505",
        {Parameter.OBJECTID_FILTER: RangeFilter(0, ((3, 5), (10, 15)))},
    ),
    ("an open end", "26020064", {Parameter.OBJECTID_FILTER: RangeFilter(0, ((100, None),))}),
    (
        "ranges and an open end",
        "250407010205",
        {Parameter.SUBGROUP_FILTER: RangeFilter(7, ((1, 3), (8, None)))},
    ),
    ("of a property", "2803011064", {Parameter.OBJECT_PROPERTY_FILTER: RangeFilter(1, ((100, None),), 0x10)}),
    ("removed", "2600", {Parameter.OBJECTID_FILTER: RangeFilter()}),
    ("no range", "260105", {Parameter.OBJECTID_FILTER: RangeFilter(5)}),
]
BAD_RANGES: list[tuple[str, str, Parameter, list[RangeFilter]]] = [
    # A count, then types, lengths and values. "an endpoint MUST reject this with REQUEST_ERROR with error
    # code INVALID_FILTER": the session goes on.
    ("a priority above 255", "01270400008100", Parameter.PRIORITY_FILTER, [RangeFilter(0, ((0, 256),))]),
    (
        "an odd property",
        "012803001105",
        Parameter.OBJECT_PROPERTY_FILTER,
        [RangeFilter(0, ((5, None),), 0x11)],
    ),
    (
        "an end above 2^64-1",
        "01260b00" + TOP + "01",
        Parameter.OBJECTID_FILTER,
        [RangeFilter(0, (((1 << 64) - 1, 1 << 64),))],
    ),
    (
        "a set twice",
        "022602000100020002",
        Parameter.OBJECTID_FILTER,
        [RangeFilter(0, ((1, None),)), RangeFilter(0, ((2, None),))],
    ),
]


@pytest.mark.parametrize("number", numbers(FROM_19))
@pytest.mark.parametrize(
    ("value", "parameters"), [pytest.param(*case, id=what.replace(" ", "-")) for what, *case in RANGE_FILTERS]
)
def test_range_filter_is_written_as_differences(
    number: int, value: str, parameters: dict[Parameter, RangeFilter]
) -> None:
    """Each number of a range filter counts from the one before; the last may be missing (`range-filters`)."""
    frame = Frame(0x02, bytes.fromhex("0201" + value))
    message = m.RequestUpdate(KeyValues(parameters), request_id=2)

    assert decode(frame, draft(number), Sender.CLIENT)[0] == message
    assert encode(message, draft(number), sender=Sender.CLIENT) == frame


@pytest.mark.parametrize("number", numbers(FROM_19))
@pytest.mark.parametrize(
    ("value", "parameter", "filters"),
    [pytest.param(*case, id=what.replace(" ", "-")) for what, *case in BAD_RANGES],
)
def test_range_that_cannot_be_is_the_requests_fault(
    number: int, value: str, parameter: Parameter, filters: list[RangeFilter]
) -> None:
    """A bad range filter is refused with INVALID_FILTER, so it is read whatever it says (`range-filters`)."""
    read, _ = decode(Frame(0x03, written(SUBSCRIBE + value, number)), draft(number), Sender.CLIENT)

    assert isinstance(read, m.Subscribe)
    assert list(read.parameters.all(parameter)) == filters


# ---- what we refuse to write -----------------------------------------------------------------------


def _filtered(chosen: Filter) -> m.Subscribe:
    return m.Subscribe((b"a",), b"b", {Parameter.SUBSCRIPTION_FILTER: chosen}, 0)


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
    (
        15,
        m.RequestError(RequestErrorCode.DUPLICATE_SUBSCRIPTION, request_id=0),
        "draft-15 has no DUPLICATE_SUB",
    ),
    (15, m.TrackStatus((b"a",), b"b", {Parameter.NEW_GROUP_REQUEST: 1}, 0), "in TRACK_STATUS"),
    (17, m.SubscribeTracks((b"a",)), "draft-17 has no SubscribeTracks message"),
    (
        17,
        m.RequestUpdate({Parameter.TRACK_NAMESPACE_PREFIX: (b"a",)}, request_id=0),
        "no message parameter TRACK_NAME",
    ),
    (18, m.SubscribeTracks((b"a",), {Parameter.NEW_GROUP_REQUEST: 1}, 0), "defines no NEW_GROUP_REQUEST in"),
    (19, m.PublishStateNotify(), "draft-19 has no PublishStateNotify message"),
    (19, _filtered(Filter(FilterType.RELATIVE_START, groups_back=1)), "has no filter of type RELATIVE_START"),
    (19, _filtered(Filter(FilterType.FULL_RANGE, Location(1, 0), 1, 2)), "has no filter of type FULL_RANGE"),
    (19, _filtered(Filter(FilterType.UNFILTERED)), "has no filter of type UNFILTERED"),
    (19, m.Fetch(m.FilteredFetch((b"a",), b"b"), {}, 0), "draft-19 fetches from a start to an end only"),
    (20, m.Fetch(m.JoiningFetch(0, 1), {}, 2), "draft-20 has no joining FETCH: use FILL_PARAMETERS"),
    (20, m.FetchOk(False, Location(5, 0)), "writes the last object: {5, 0} leaves open which that is"),
    (20, _filtered(Filter(FilterType.ABSOLUTE_START, Location(0, 0))), "starts at {0, 0} and is open"),
    (20, _filtered(Filter(FilterType.RELATIVE_START)), "lacks its start or its end"),
    (20, _filtered(Filter(FilterType.ABSOLUTE_RANGE, Location(1, 0))), "lacks its start or its end"),
    (22, _filtered(Filter(FilterType.FULL_RANGE, Location(1, 0), 2)), "lacks its start or its end"),
    (20, m.RequestOk({Parameter.FORWARD: 1}), "draft-20 defines no FORWARD in"),
    (20, m.PublishDone(PublishDoneStatus.SUBSCRIPTION_ENDED, 0), "draft-20 has no SUBSCRIPTION_ENDED"),
    (
        20,
        m.RequestUpdate({Parameter.FILL_PARAMETERS: KeyValues({Parameter.FORWARD: 1})}, request_id=0),
        "defines no FORWARD in FILL_PARAMETERS",
    ),
    (
        19,
        m.RequestUpdate({Parameter.OBJECTID_FILTER: RangeFilter(0, ((5, 3),))}, request_id=0),
        "do not ascend to at most one open end",
    ),
    (
        19,
        m.RequestUpdate({Parameter.OBJECTID_FILTER: RangeFilter(0, ((5, None), (7, 8)))}, request_id=0),
        "do not ascend to at most one open end",
    ),
    (
        19,
        m.RequestUpdate({Parameter.OBJECTID_FILTER: RangeFilter(0, ((5, 6),), 0x10)}, request_id=0),
        "a property type belongs to the filters on properties",
    ),
    (
        19,
        m.SubscribeTracks((b"a",), {Parameter.TRACK_PROPERTY_FILTER: RangeFilter(0, ((5, 6),))}, 0),
        "a property type belongs to the filters on properties",
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
    ("14 " + FROM_15, "subgroup mode 3", "16", "no unidirectional stream of type 0x16"),
    ("14 " + FROM_15, "a stream of an unknown type", "0b", "no unidirectional stream of type 0xb"),
    ("14", "DEFAULT_PRIORITY before it was defined", "30", "type 0x30"),
    ("14 15 16", "FIRST_OBJECT before it was defined", "4050", "type 0x50"),
    ("17", "FIRST_OBJECT before it was defined", "50", "type 0x50"),
    ("15 16", "a bit beyond those defined", "4090", "type 0x90"),
    (FROM_17, "a bit beyond those defined", "8090", "type 0x90"),
    ("14 15", "status 2", "10010080000002", "has no object status 0x2"),
    (FROM_16, "status 1", "10010080000001", "has no object status 0x1"),
    (FROM_15, "End of Group with properties", "1101008000023c010003", "status 0x3 with properties"),
    ("14 15", "Does Not Exist with extensions", "1101008000023c010001", "status 0x1 with properties"),
    (FROM_15, "a first object of a prior group", "05021400800161", "refer to a prior group"),
    (FROM_15, "a first object of a prior subgroup", "05021d0000800161", "a prior subgroup"),
    (FROM_15, "a first object of a prior object", "05021800800161", "refer to a prior object"),
    (FROM_15, "a first object of a prior priority", "05020c00000161", "a prior priority"),
    # Draft 15: one byte, "0x40 | PROTOCOL_VIOLATION", "0x80 | PROTOCOL_VIOLATION" (section 10.4.4).
    ("15", "the datagram bit before it was defined", "05025c", "no Serialization Flags 0x5c"),
    ("15", "an End of Range before it was defined", "05028c", "no Serialization Flags 0x8c"),
    ("15", "status 2 in a fetch", "05021c000080" + "0002", "has no object status 0x2"),
    ("15", "End of Group with extensions in a fetch", "05023c000080023c010003", "status 0x3 with properties"),
    ("16", "flags that mean nothing", "05024080", "no Serialization Flags 0x80"),
    (FROM_17, "flags that mean nothing", "05028080", "no Serialization Flags 0x80"),
    ("17 18 19", "a range that was timed out", "0502820c", "no Serialization Flags 0x20c"),
    (FROM_20, "a range of no kind", "0502830c", "no Serialization Flags 0x30c"),
    (FROM_18, "a group below 0", "05021c00008001610c00000161", "group id -1 is outside"),
    ("17", "an integer that begins with 0xFC", "0502fc", "begin with the byte 0xfc"),
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


@pytest.mark.parametrize("number", numbers(FROM_16))
@pytest.mark.parametrize(("flags", "subgroup"), [("05", 0), ("06", 1)])
def test_subgroup_behind_a_fetched_datagram_counts_from_0(number: int, flags: str, subgroup: int) -> None:
    """Only the first object may not refer to a prior one (16 section 10.4.4.1, 18 section 11.4.4.1)."""
    datagram = draft(number).integers.encode(0x5C) + bytes.fromhex("0300800161")

    items = DataStreamDecoder(draft(number)).feed(
        b"\x05\x02" + datagram + bytes.fromhex(flags + "010162"), fin=True
    )

    assert [item.subgroup_id for item in items if isinstance(item, FetchObject)] == [None, subgroup]


def test_fetched_object_may_have_a_status_in_draft_15() -> None:
    """The status is "only present if the Object Payload Length is zero" (15 section 10.4.4)."""
    # One byte of flags each: an object whole, then its successor with the status End of Group.
    data = bytes.fromhex("0502" + "1c0300800161" + "00" + "0003")

    _, *items = DataStreamDecoder(draft(15)).feed(data, fin=True)

    assert items == [FetchObject(3, 0, 0, 128, b"a"), FetchObject(3, 0, 1, 128, b"", status=3)]
    encoder = FetchEncoder(draft(15))
    assert (
        encoder.header(2) + b"".join(encoder.object(item) for item in items if isinstance(item, FetchObject))
        == data
    )


@pytest.mark.parametrize("number", numbers(FROM_16))
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
    if number in numbers(FROM_20):
        # "End of Timed-Out Range" (20 table 7, 22 section 11.4.1).
        items += [FetchRangeEnd(0x20C, 5, 1), FetchObject(5, 2, 2, 9, b"d")]

    data = encoder.header(0)
    for item in items:
        data += encoder.range_end(item) if isinstance(item, FetchRangeEnd) else encoder.object(item)

    assert DataStreamDecoder(draft(number)).feed(data, fin=True)[1:] == items


@pytest.mark.parametrize(("byte", "said"), [("00", False), ("01", True), ("02", False), ("ff", False)])
@pytest.mark.parametrize(
    ("draft_row", "before", "after"),
    [
        pytest.param(DRAFTS[number], before, after, id=f"{number}")
        for drafts_of, before, after in (
            ("14", "0001", "000000"),
            ("15 16", "00", "000000"),
            (FROM_17, "", "000000"),
        )
        for number in numbers(drafts_of)
    ],
)
def test_end_of_track_is_one_or_it_is_not(
    draft_row: Draft, before: str, after: str, byte: str, said: bool
) -> None:
    """It is 1 if "all Objects have been published", 0 if not: no text ends a session for another number."""
    message, _ = decode(Frame(0x18, bytes.fromhex(before + byte + after)), draft_row, Sender.SERVER)

    assert isinstance(message, m.FetchOk)
    assert message.end_of_track is said


def test_publish_ok_of_the_older_drafts_is_read_where_the_table_has_it() -> None:
    """18 section 10 lists 0x1E as PUBLISH_OK, of the section of REQUEST_OK; 19 reserves it."""
    body = bytes.fromhex("010805")

    message, layout = decode(Frame(0x1E, body), draft(18), Sender.SERVER)

    assert message == m.RequestOk({Parameter.EXPIRES: 5})
    assert layout.answers == (m.Publish,)
    assert encode(message, draft(18), sender=Sender.SERVER, answering=m.Publish) == Frame(0x07, body)
    for number in numbers("19 20 21 22"):
        with pytest.raises(ProtocolViolation, match="type 0x1e"):
            decode(Frame(0x1E, body), draft(number), Sender.SERVER)


@pytest.mark.parametrize("draft_row", [pytest.param(row, id=row.name) for row in DRAFTS.values()])
def test_object_of_no_status_in_a_datagram_has_no_payload(draft_row: Draft) -> None:
    """Only with another status than zero an object "MUST have an empty payload" (`object-status`)."""
    found = decode_datagram(bytes.fromhex("20010000800061"), draft_row)

    assert found == ObjectDatagram(1, 0, 0, 128, status=0)


BAD_DATAGRAMS: list[tuple[str, str, str, str]] = [
    ("14 " + FROM_15, "an empty datagram", "", "ends inside its header"),
    ("14", "DEFAULT_PRIORITY before it was defined", "08010000", "no datagram of type 0x8"),
    ("14", "a status without object id", "2401008003", "no datagram of type 0x24"),
    ("14 " + FROM_15, "a bit that is not defined", "1001000080", "no datagram of type 0x10"),
    (FROM_17, "a bit beyond all", "808001000080", "no datagram of type 0x80"),
    ("14 " + FROM_15, "END_OF_GROUP with a status", "220100008003", "no datagram of type 0x22"),
    ("14 " + FROM_15, "properties of no bytes", "01010000800061", "whose properties block is empty"),
    ("14 " + FROM_15, "a status and a payload", "20010000800361", "1 byte after the status"),
    ("14 15", "a status that is not defined", "200100008002", "no object status 0x2"),
    (FROM_16, "a status that is not defined", "200100008001", "no object status 0x1"),
    (FROM_15, "End of Group with properties", "2101000080023c0103", "status 0x3 with properties"),
    ("14 " + FROM_15, "properties cut off", "0101000080053c01", "ends inside its header"),
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
    ("no End of Range 0x20c", lambda: FetchEncoder(draft(19)).range_end(FetchRangeEnd(0x20C, 0, 0))),
    ("no End of Range 0x8c", lambda: FetchEncoder(draft(14)).range_end(FetchRangeEnd(0x8C, 0, 0))),
    ("no End of Range 0x8c", lambda: FetchEncoder(draft(15)).range_end(FetchRangeEnd(0x8C, 0, 0))),
    ("no SUBGROUP_HEADER of type 0x54", lambda: _subgroup(17, first_object=True).header()),
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
