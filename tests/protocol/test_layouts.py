"""The tables against a second copy of what the drafts say, and against themselves.

The copies below were read off the drafts' own tables and parameter definitions, section beside each; they
repeat what `layouts.py`, `parameter_layouts.py`, `registries.py` and `sections.py` say in another order
and are not derived from it.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED, Draft, draft, draft_of_alpn, draft_of_wt_protocol
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.layouts import (
    LAYOUTS,
    Layout,
    Sender,
    Stream,
    defines,
    layout_of_message,
    layout_of_type,
    layouts_of,
    reply_names,
)
from pytest_moqt.protocol.parameter_layouts import PARAMETER_LAYOUTS, ParameterLayout, ParametersField
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import (
    PUBLISH_DONE_STATUSES,
    REQUEST_ERRORS,
    STREAM_ERRORS,
    CodeTable,
    SessionError,
    describe_session_error,
)
from pytest_moqt.protocol.sections import SECTIONS, cite, link, section

SPECS = Path(__file__).parents[3] / "shared" / "protocol" / "specs"
ABSENT = "the drafts' texts are not beside this checkout (../shared/protocol/specs)"

ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]

# ---- the copies ------------------------------------------------------------------------------------


def _table(text: str) -> dict[str, tuple[int, str]]:
    rows = (line.split() for line in text.strip().splitlines())
    return {name: (int(code, 16), anchor) for code, name, anchor in rows}


MESSAGES = {
    # Draft 14, table of section 9. RESERVED rows (0x01, 0x40, 0x41) left out.
    14: _table("""
        0x20 CLIENT_SETUP message-setup
        0x21 SERVER_SETUP message-setup
        0x10 GOAWAY message-goaway
        0x15 MAX_REQUEST_ID message-max-request-id
        0x1A REQUESTS_BLOCKED message-requests-blocked
        0x3 SUBSCRIBE message-subscribe-req
        0x4 SUBSCRIBE_OK message-subscribe-ok
        0x5 SUBSCRIBE_ERROR message-subscribe-error
        0x2 SUBSCRIBE_UPDATE message-subscribe-update
        0xA UNSUBSCRIBE message-unsubscribe
        0xB PUBLISH_DONE message-publish-done
        0x1D PUBLISH message-publish
        0x1E PUBLISH_OK message-publish-ok
        0x1F PUBLISH_ERROR message-publish-error
        0x16 FETCH message-fetch
        0x18 FETCH_OK message-fetch-ok
        0x19 FETCH_ERROR message-fetch-error
        0x17 FETCH_CANCEL message-fetch-cancel
        0xD TRACK_STATUS message-track-status
        0xE TRACK_STATUS_OK message-track-status-ok
        0xF TRACK_STATUS_ERROR message-track-status-error
        0x6 PUBLISH_NAMESPACE message-pub-ns
        0x7 PUBLISH_NAMESPACE_OK message-pub-ns-ok
        0x8 PUBLISH_NAMESPACE_ERROR message-pub-ns-error
        0x9 PUBLISH_NAMESPACE_DONE message-pub-ns-done
        0xC PUBLISH_NAMESPACE_CANCEL message-pub-ns-cancel
        0x11 SUBSCRIBE_NAMESPACE message-subscribe-ns
        0x12 SUBSCRIBE_NAMESPACE_OK message-sub-ns-ok
        0x13 SUBSCRIBE_NAMESPACE_ERROR message-sub-ns-error
        0x14 UNSUBSCRIBE_NAMESPACE message-unsub-ns
    """),
    # Draft 16, table of section 9.
    16: _table("""
        0x20 CLIENT_SETUP message-setup
        0x21 SERVER_SETUP message-setup
        0x10 GOAWAY message-goaway
        0x15 MAX_REQUEST_ID message-max-request-id
        0x1A REQUESTS_BLOCKED message-requests-blocked
        0x7 REQUEST_OK message-request-ok
        0x5 REQUEST_ERROR message-request-error
        0x3 SUBSCRIBE message-subscribe-req
        0x4 SUBSCRIBE_OK message-subscribe-ok
        0x2 REQUEST_UPDATE message-request-update
        0xA UNSUBSCRIBE message-unsubscribe
        0x1D PUBLISH message-publish
        0x1E PUBLISH_OK message-publish-ok
        0xB PUBLISH_DONE message-publish-done
        0x16 FETCH message-fetch
        0x18 FETCH_OK message-fetch-ok
        0x17 FETCH_CANCEL message-fetch-cancel
        0xD TRACK_STATUS message-track-status
        0x6 PUBLISH_NAMESPACE message-pub-ns
        0x8 NAMESPACE message-namespace
        0x9 PUBLISH_NAMESPACE_DONE message-pub-ns-done
        0xE NAMESPACE_DONE message-namespace-done
        0xC PUBLISH_NAMESPACE_CANCEL message-pub-ns-cancel
        0x11 SUBSCRIBE_NAMESPACE message-subscribe-ns
    """),
    # Draft 18, table of section 10, without its 0x1E PUBLISH_OK: section 10.5 makes PUBLISH_OK another
    # name of REQUEST_OK, the change log says that the type is gone, and 19 reserves it.
    18: _table("""
        0x2F00 SETUP message-setup
        0x10 GOAWAY message-goaway
        0x3 SUBSCRIBE message-subscribe-req
        0x4 SUBSCRIBE_OK message-subscribe-ok
        0x1D PUBLISH message-publish
        0xB PUBLISH_DONE message-publish-done
        0x16 FETCH message-fetch
        0x18 FETCH_OK message-fetch-ok
        0xD TRACK_STATUS message-track-status
        0x6 PUBLISH_NAMESPACE message-pub-ns
        0x50 SUBSCRIBE_NAMESPACE message-subscribe-ns
        0x51 SUBSCRIBE_TRACKS message-subscribe-tracks
        0x8 NAMESPACE message-namespace
        0xE NAMESPACE_DONE message-namespace-done
        0xF PUBLISH_BLOCKED message-publish-blocked
        0x2 REQUEST_UPDATE message-request-update
        0x7 REQUEST_OK message-request-ok
        0x5 REQUEST_ERROR message-request-error
    """),
}

FIRST_ON_A_STREAM = {
    # Draft 18, column Stream of the table of section 10: "Request, First".
    18: {
        "SUBSCRIBE",
        "PUBLISH",
        "FETCH",
        "TRACK_STATUS",
        "PUBLISH_NAMESPACE",
        "SUBSCRIBE_NAMESPACE",
        "SUBSCRIBE_TRACKS",
    },
}
ON_CONTROL = {18: {"SETUP", "GOAWAY"}}
"Draft 18, the same column: Control."
ON_ITS_OWN_STREAM = {
    # Draft 14 section 3.3: one bidirectional stream for everything. Draft 16 section 9.25:
    # SUBSCRIBE_NAMESPACE "on a new bidirectional stream", NAMESPACE and NAMESPACE_DONE on its response.
    14: set(),
    16: {"SUBSCRIBE_NAMESPACE", "NAMESPACE", "NAMESPACE_DONE"},
}

REPLIES = {
    # Draft 14 sections 9.8-9.30. SUBSCRIBE_UPDATE is never answered (section 9.10).
    14: {
        "SUBSCRIBE": {"SUBSCRIBE_OK", "SUBSCRIBE_ERROR"},
        "PUBLISH": {"PUBLISH_OK", "PUBLISH_ERROR"},
        "FETCH": {"FETCH_OK", "FETCH_ERROR"},
        "TRACK_STATUS": {"TRACK_STATUS_OK", "TRACK_STATUS_ERROR"},
        "PUBLISH_NAMESPACE": {"PUBLISH_NAMESPACE_OK", "PUBLISH_NAMESPACE_ERROR"},
        "SUBSCRIBE_NAMESPACE": {"SUBSCRIBE_NAMESPACE_OK", "SUBSCRIBE_NAMESPACE_ERROR"},
        "SUBSCRIBE_UPDATE": set(),
    },
    # Draft 16 sections 9.7 and 9.8.
    16: {
        "SUBSCRIBE": {"SUBSCRIBE_OK", "REQUEST_ERROR"},
        "PUBLISH": {"PUBLISH_OK", "REQUEST_ERROR"},
        "FETCH": {"FETCH_OK", "REQUEST_ERROR"},
        "TRACK_STATUS": {"REQUEST_OK", "REQUEST_ERROR"},
        "PUBLISH_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "REQUEST_UPDATE": {"REQUEST_OK", "REQUEST_ERROR"},
    },
    # Draft 18 sections 10.5 and 10.6.
    18: {
        "SUBSCRIBE": {"SUBSCRIBE_OK", "REQUEST_ERROR"},
        "PUBLISH": {"REQUEST_OK", "REQUEST_ERROR"},
        "FETCH": {"FETCH_OK", "REQUEST_ERROR"},
        "TRACK_STATUS": {"REQUEST_OK", "REQUEST_ERROR"},
        "PUBLISH_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_TRACKS": {"REQUEST_OK", "REQUEST_ERROR"},
        "REQUEST_UPDATE": {"REQUEST_OK", "REQUEST_ERROR"},
    },
}


def _parameters(text: str) -> dict[int, tuple[str, str, set[str]]]:
    rows = (line.split() for line in text.strip().splitlines())
    return {int(code, 16): (name, kind, set(scope)) for code, name, kind, *scope in rows}


PARAMETERS = {
    # Draft 14 section 9.2.1: number, name, kind of value, messages. AUTHORIZATION TOKEN may be in both
    # SETUPs as well, where it is a setup parameter. All follow their parity (section 1.4.2).
    14: _parameters("""
        0x02 DELIVERY_TIMEOUT integer TRACK_STATUS TRACK_STATUS_OK PUBLISH PUBLISH_OK SUBSCRIBE \
 SUBSCRIBE_OK SUBSCRIBE_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE SUBSCRIBE_UPDATE SUBSCRIBE_NAMESPACE \
 PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x04 MAX_CACHE_DURATION integer PUBLISH SUBSCRIBE_OK FETCH_OK TRACK_STATUS_OK
    """),
    # Draft 16 section 9.2.2 (9.2.2.1 to 9.2.2.9) and the registry of section 13.2. REQUEST_OK in answer
    # to REQUEST_UPDATE and TRACK_STATUS under the names of draft 18.
    16: _parameters("""
        0x02 DELIVERY_TIMEOUT integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE REQUEST_UPDATE SUBSCRIBE_NAMESPACE \
 PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x08 EXPIRES integer SUBSCRIBE_OK PUBLISH PUBLISH_OK
        0x09 LARGEST_OBJECT location SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK
        0x10 FORWARD integer SUBSCRIBE REQUEST_UPDATE PUBLISH PUBLISH_OK SUBSCRIBE_NAMESPACE
        0x20 SUBSCRIBER_PRIORITY integer SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH_OK
        0x21 SUBSCRIPTION_FILTER filter SUBSCRIBE PUBLISH_OK REQUEST_UPDATE
        0x22 GROUP_ORDER integer SUBSCRIBE PUBLISH_OK FETCH
        0x32 NEW_GROUP_REQUEST integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
    """),
    # Draft 18 sections 10.2.2 to 10.2.14 and the registry of section 15.7. RENDEZVOUS_TIMEOUT and
    # FILL_TIMEOUT have no stated encoding; milliseconds are integers everywhere else.
    18: _parameters("""
        0x02 OBJECT_DELIVERY_TIMEOUT integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE REQUEST_UPDATE SUBSCRIBE_NAMESPACE \
 SUBSCRIBE_TRACKS PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x04 RENDEZVOUS_TIMEOUT integer SUBSCRIBE
        0x06 SUBGROUP_DELIVERY_TIMEOUT integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x08 EXPIRES integer SUBSCRIBE_OK PUBLISH PUBLISH_OK REQUEST_UPDATE_OK
        0x09 LARGEST_OBJECT location SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK
        0x0A FILL_TIMEOUT integer FETCH
        0x10 FORWARD byte SUBSCRIBE REQUEST_UPDATE PUBLISH PUBLISH_OK SUBSCRIBE_TRACKS
        0x20 SUBSCRIBER_PRIORITY byte SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH_OK
        0x21 SUBSCRIPTION_FILTER filter SUBSCRIBE PUBLISH_OK REQUEST_UPDATE
        0x22 GROUP_ORDER byte SUBSCRIBE PUBLISH_OK FETCH
        0x32 NEW_GROUP_REQUEST integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x34 TRACK_NAMESPACE_PREFIX namespace REQUEST_UPDATE
    """),
}


def _codes(text: str) -> dict[int, str]:
    rows = (line.split() for line in text.strip().splitlines())
    return {int(code, 16): name for pairs in rows for code, name in zip(pairs[::2], pairs[1::2], strict=True)}


_SESSION_14 = _codes("""
    0x0 NO_ERROR 0x1 INTERNAL_ERROR 0x2 UNAUTHORIZED 0x3 PROTOCOL_VIOLATION 0x4 INVALID_REQUEST_ID
    0x5 DUPLICATE_TRACK_ALIAS 0x6 KEY_VALUE_FORMATTING_ERROR 0x7 TOO_MANY_REQUESTS 0x8 INVALID_PATH
    0x9 MALFORMED_PATH 0x10 GOAWAY_TIMEOUT 0x11 CONTROL_MESSAGE_TIMEOUT 0x12 DATA_STREAM_TIMEOUT
    0x13 AUTH_TOKEN_CACHE_OVERFLOW 0x14 DUPLICATE_AUTH_TOKEN_ALIAS 0x15 VERSION_NEGOTIATION_FAILED
    0x16 MALFORMED_AUTH_TOKEN 0x17 UNKNOWN_AUTH_TOKEN_ALIAS 0x18 EXPIRED_AUTH_TOKEN
    0x19 INVALID_AUTHORITY 0x1A MALFORMED_AUTHORITY
""")
SESSION_ERRORS = {
    14: _SESSION_14,  # section 13.1.1
    16: _SESSION_14,  # section 13.4.1
    18: {code: name for code, name in _SESSION_14.items() if code != 0x7},  # section 15.10.1
}

_COMMON_14 = "0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED "
_TOKEN_14 = " 0x10 MALFORMED_AUTH_TOKEN 0x12 EXPIRED_AUTH_TOKEN"
REQUEST_ERROR_SPACES_14 = {
    # Draft 14 section 13.1: a registry per error message.
    "SUBSCRIBE": _codes(_COMMON_14 + "0x4 TRACK_DOES_NOT_EXIST 0x5 INVALID_RANGE" + _TOKEN_14),
    "PUBLISH": _codes(_COMMON_14 + "0x4 UNINTERESTED"),
    "FETCH": _codes(
        _COMMON_14
        + "0x4 TRACK_DOES_NOT_EXIST 0x5 INVALID_RANGE 0x6 NO_OBJECTS 0x7 INVALID_JOINING_REQUEST_ID"
        " 0x8 UNKNOWN_STATUS_IN_RANGE 0x9 MALFORMED_TRACK" + _TOKEN_14
    ),
    "PUBLISH_NAMESPACE": _codes(_COMMON_14 + "0x4 UNINTERESTED" + _TOKEN_14),
    "SUBSCRIBE_NAMESPACE": _codes(
        _COMMON_14 + "0x4 NAMESPACE_PREFIX_UNKNOWN 0x5 NAMESPACE_PREFIX_OVERLAP" + _TOKEN_14
    ),
}
REQUEST_ERROR_CODES = {
    # Draft 16 section 13.4.2. GOING_AWAY is in the text of section 9.4 and not in the registry; the
    # number is that of the next draft.
    16: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE 0x12 MALFORMED_TRACK
        0x19 DUPLICATE_SUBSCRIPTION 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP 0x32 INVALID_JOINING_REQUEST_ID
        0x6 GOING_AWAY
    """),
    # Draft 18 section 15.10.2.
    18: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x6 GOING_AWAY 0x9 EXCESSIVE_LOAD 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE
        0x12 MALFORMED_TRACK 0x19 DUPLICATE_SUBSCRIPTION 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP
        0x31 NAMESPACE_TOO_LARGE 0x32 INVALID_JOINING_REQUEST_ID 0x33 UNSUPPORTED_EXTENSION 0x34 REDIRECT
    """),
}
PUBLISH_DONE_CODES = {
    # Draft 14 section 13.1.3.
    14: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 EXPIRED 0x6 TOO_FAR_BEHIND 0x7 MALFORMED_TRACK
    """),
    # Draft 16 section 13.4.3.
    16: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 EXPIRED 0x6 TOO_FAR_BEHIND 0x8 UPDATE_FAILED 0x12 MALFORMED_TRACK
    """),
    # Draft 18 section 15.10.3.
    18: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 TOO_FAR_BEHIND 0x6 EXPIRED 0x8 UPDATE_FAILED 0x9 EXCESSIVE_LOAD 0x12 MALFORMED_TRACK
    """),
}
STREAM_RESET_CODES = {
    # Draft 14 section 13.1.8.
    14: _codes("0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED"),
    # Draft 16 section 13.4.4.
    16: _codes("""
        0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED
        0x4 UNKNOWN_OBJECT_STATUS 0x12 MALFORMED_TRACK
    """),
    # Draft 18 section 15.10.4.
    18: _codes("""
        0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED 0x4 GOING_AWAY
        0x5 TOO_FAR_BEHIND 0x6 UNKNOWN_OBJECT_STATUS 0x7 EXPIRED_AUTH_TOKEN 0x9 EXCESSIVE_LOAD
        0x12 MALFORMED_TRACK
    """),
}

SETUP_OPTIONS = {
    # Draft 16 section 9.3.1, draft 18 section 15.4, which lost MAX_REQUEST_ID. Draft 14 section 9.3.2 has
    # the same but prints 0x05 for two of them, see `parameters.py`.
    0x01: "PATH",
    0x02: "MAX_REQUEST_ID",
    0x03: "AUTHORIZATION_TOKEN",
    0x04: "MAX_AUTH_TOKEN_CACHE_SIZE",
    0x05: "AUTHORITY",
    0x07: "MOQT_IMPLEMENTATION",
}
PROPERTIES = {
    # Draft 18 section 15.8; draft 16 section 13.3 has the same but 0x06, and older names of 0x02, 0x0B.
    0x02: "OBJECT_DELIVERY_TIMEOUT",
    0x04: "MAX_CACHE_DURATION",
    0x06: "SUBGROUP_DELIVERY_TIMEOUT",
    0x0B: "IMMUTABLE_PROPERTIES",
    0x0E: "DEFAULT_PUBLISHER_PRIORITY",
    0x22: "DEFAULT_PUBLISHER_GROUP_ORDER",
    0x30: "DYNAMIC_GROUPS",
    0x3C: "PRIOR_GROUP_ID_GAP",
    0x3E: "PRIOR_OBJECT_ID_GAP",
}


# ---- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft_row", ALL)
def test_messages_are_those_of_the_drafts_table(draft_row: Draft) -> None:
    """Every message of a draft has its name, its type code and its section, and there is no other."""
    ours = {row.name: (row.code, row.anchor) for row in layouts_of(draft_row)}

    assert ours == MESSAGES[draft_row.number]


@pytest.mark.parametrize("draft_row", ALL)
def test_type_code_and_sender_name_one_message(draft_row: Draft) -> None:
    """What a type code means is never open once the draft and the sender are known."""
    keys = [
        (sender, row.code)
        for row in layouts_of(draft_row)
        for sender in ([row.sender] if row.sender else list(Sender))
    ]

    assert len(keys) == len(set(keys))
    for sender, code in keys:
        row = layout_of_type(draft_row, code, sender)
        assert row is not None
        assert row.code == code
    assert layout_of_type(draft_row, 0x3F, Sender.CLIENT) is None


def test_no_two_rows_of_a_message_hold_for_the_same_draft_but_by_what_they_answer() -> None:
    """Spans of one message overlap only where sender or answered request tells the rows apart."""
    for number in range(14, 21):
        seen: set[tuple[object, ...]] = set()
        for row in (row for row in LAYOUTS if number in row.span):
            for answered in row.answers or (None,):
                key = (row.message, row.sender, answered)
                assert key not in seen, f"draft {number}: {row.label}"
                seen.add(key)


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.name}-{row.span}") for row in LAYOUTS])
def test_fields_of_a_row_fill_attributes_of_its_message(row: Layout) -> None:
    """A row writes only attributes that its message has."""
    attributes = {field.name for field in dataclasses.fields(row.message)}

    for field in row.fields:
        assert set(field.attributes) <= attributes, field.name


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.name}-{row.span}") for row in LAYOUTS])
def test_row_gives_every_attribute_that_has_no_default(row: Layout) -> None:
    """Reading a row is enough to make its message."""
    required = {
        field.name for field in dataclasses.fields(row.message) if field.default is dataclasses.MISSING
    }

    assert required <= {name for field in row.fields for name in field.attributes}


@pytest.mark.parametrize("draft_row", ALL)
def test_every_request_is_answered_as_the_draft_says(draft_row: Draft) -> None:
    """A request has exactly the answers of its draft: one that accepts and one that refuses."""
    ours = {
        row.name: set(reply_names(draft_row, row.message))
        for row in layouts_of(draft_row)
        if issubclass(row.message, m.Request)
    }

    assert ours == REPLIES[draft_row.number]


@pytest.mark.parametrize("draft_row", ALL)
def test_only_replies_answer_and_only_requests_are_answered(draft_row: Draft) -> None:
    """The column of answers and the classes of messages say the same."""
    for row in layouts_of(draft_row):
        assert bool(row.answers) == issubclass(row.message, m.Reply)
        assert (Stream.REPLY in row.stream) == issubclass(row.message, m.Reply)
        assert all(issubclass(answered, m.Request) for answered in row.answers)
        assert all(defines(draft_row, answered) for answered in row.answers)
        first = Stream.FIRST in row.stream
        assert first == (issubclass(row.message, m.Request) and row.message is not m.RequestUpdate)


@pytest.mark.parametrize("draft_row", ALL)
def test_streams_are_those_of_the_draft(draft_row: Draft) -> None:
    """Which messages open a stream, which travel on the control stream, is as the draft prints it."""
    rows = layouts_of(draft_row)

    if draft_row.number in FIRST_ON_A_STREAM:
        assert {row.name for row in rows if Stream.FIRST in row.stream} == FIRST_ON_A_STREAM[draft_row.number]
        assert {row.name for row in rows if Stream.CONTROL in row.stream} == ON_CONTROL[draft_row.number]
    else:
        assert {row.name for row in rows if row.own_stream} == ON_ITS_OWN_STREAM[draft_row.number]


@pytest.mark.parametrize("draft_row", ALL)
def test_replies_carry_request_ids_where_the_draft_says(draft_row: Draft) -> None:
    """A reply has a Request ID where all share a stream, and none where it comes on the request's own."""
    for row in layouts_of(draft_row):
        if issubclass(row.message, m.Reply):
            names = [field.name for field in row.fields]
            assert ("request_id" in names) == draft_row.replies_carry_request_id, row.label


@pytest.mark.parametrize("draft_row", ALL)
def test_every_request_begins_with_its_id(draft_row: Draft) -> None:
    """A request that cannot be understood can still be counted: its id comes first."""
    for row in layouts_of(draft_row):
        if Stream.FIRST in row.stream:
            assert row.fields[0].name == "request_id", row.label


@pytest.mark.parametrize("draft_row", ALL)
def test_row_is_found_by_message_and_by_what_it_answers(draft_row: Draft) -> None:
    """Writing finds the row by which the other end reads."""
    for row in layouts_of(draft_row):
        for answered in row.answers or (None,):
            found = layout_of_message(draft_row, row.message, answering=answered, sender=row.sender)
            assert found is row


def test_what_a_draft_cannot_say_is_our_error() -> None:
    """A message that a draft lacks, or that is no answer to a request, is refused before it is written."""
    with pytest.raises(LocalProtocolError, match="draft-14 has no SubscribeTracks message"):
        layout_of_message(draft(14), m.SubscribeTracks)
    with pytest.raises(LocalProtocolError, match="in draft-16 SubscribeOk cannot answer Fetch"):
        layout_of_message(draft(16), m.SubscribeOk, answering=m.Fetch)


# ---- parameters and codes --------------------------------------------------------------------------


def _kind(row: ParameterLayout) -> str:
    return row.codec.kind


@pytest.mark.parametrize("draft_row", ALL)
def test_parameters_are_those_of_the_draft(draft_row: Draft) -> None:
    """Every message parameter has its number, its kind of value and the messages it may be in."""
    rows = [row for row in PARAMETER_LAYOUTS if draft_row.number in row.span]
    printed = {name for name, _, _ in PARAMETERS[draft_row.number].values()}

    ours = {
        row.number: (
            row.parameter.value
            if row.parameter.value in printed
            else row.parameter.value.removeprefix("OBJECT_"),
            _kind(row),
            set(row.scope),
        )
        for row in rows
    }

    assert len(ours) == len(rows)
    assert ours == PARAMETERS[draft_row.number]


@pytest.mark.parametrize("draft_row", ALL)
def test_only_tokens_may_repeat(draft_row: Draft) -> None:
    """AUTHORIZATION_TOKEN alone says that it may be repeated within a message."""
    rows = [row for row in PARAMETER_LAYOUTS if draft_row.number in row.span]

    assert {row.parameter for row in rows if row.repeatable} == {Parameter.AUTHORIZATION_TOKEN}


@pytest.mark.parametrize("draft_row", ALL)
def test_scopes_are_names_of_messages(draft_row: Draft) -> None:
    """A parameter's scope names messages of the draft, or its shorthands for a REQUEST_OK."""
    shorthands = {"PUBLISH_OK", "TRACK_STATUS_OK", "REQUEST_UPDATE_OK"}
    known = set(MESSAGES[draft_row.number]) | shorthands

    for row in PARAMETER_LAYOUTS:
        if draft_row.number in row.span:
            assert row.scope <= known
    for layout in layouts_of(draft_row):
        for field in layout.fields:
            if isinstance(field, ParametersField):
                assert field.scopes <= known
                assert layout.name in field.scopes or layout.name == "REQUEST_OK"


REGISTRIES = [
    pytest.param(table, number, codes, id=f"{table.registry}-{number}".replace(" ", "-"))
    for table, copies in (
        (REQUEST_ERRORS, REQUEST_ERROR_CODES),
        (PUBLISH_DONE_STATUSES, PUBLISH_DONE_CODES),
        (STREAM_ERRORS, STREAM_RESET_CODES),
    )
    for number, codes in copies.items()
]


@pytest.mark.parametrize(("table", "number", "codes"), REGISTRIES)
def test_codes_are_those_of_the_registry(table: CodeTable, number: int, codes: dict[int, str]) -> None:
    """Every code of a draft's registry has its name there and back, and no other number has one."""
    _check_codes(table, number, "", codes)


@pytest.mark.parametrize("space", REQUEST_ERROR_SPACES_14)
def test_codes_of_draft_14_are_those_of_their_space(space: str) -> None:
    """Draft 14 gives the same number another meaning in another request's errors."""
    _check_codes(REQUEST_ERRORS, 14, space, REQUEST_ERROR_SPACES_14[space])


def _check_codes(table: CodeTable, number: int, space: str, copy: dict[int, str]) -> None:
    for code in range(0x200):
        name = table.name(code, number, space)
        if code in copy:
            assert table.describe(name, number, space) == f"{copy[code]} ({code:#x})"
            assert table.value(name, number, space) == code
        else:
            assert name == code
            assert table.value(name, number, space) == code
            assert table.describe(name, number, space) == f"unregistered ({code:#x})"


@pytest.mark.parametrize("draft_row", ALL)
def test_session_errors_are_those_of_the_registry(draft_row: Draft) -> None:
    """Every session error of a draft has its number here."""
    ours = {int(code): code.name for code in SessionError}

    assert SESSION_ERRORS[draft_row.number].items() <= ours.items()
    assert set(ours) - set(_SESSION_14) == {0x1B}, "draft 19's TOO_MANY_REQUEST_UPDATES"
    assert describe_session_error(0x3) == "PROTOCOL_VIOLATION (0x3)"
    assert describe_session_error(0x7B) == "unregistered (0x7b)"


def test_setup_options_and_properties_are_those_of_the_registries() -> None:
    """Setup options and properties keep their numbers through all drafts."""
    assert {int(option): option.name for option in SetupOption} == SETUP_OPTIONS
    assert {int(known): known.name for known in Property} == PROPERTIES


# ---- drafts ----------------------------------------------------------------------------------------


def test_drafts_are_found_by_what_is_negotiated() -> None:
    """ALPN and WebTransport sub-protocol stand for one draft each; no sub-protocol stands for draft 14."""
    assert SUPPORTED == (18, 16, 14)
    assert [draft_of_alpn(alpn) for alpn in ("moq-00", "moqt-16", "moqt-18")] == list(DRAFTS.values())
    assert draft_of_wt_protocol("moqt-16") is draft(16)
    assert draft_of_wt_protocol(None) is draft(14)
    assert draft_of_alpn("h3") is None
    assert draft_of_wt_protocol("moq-00") is None
    with pytest.raises(KeyError, match="draft 13 is not supported; supported: 18, 16, 14"):
        draft(13)


# ---- sections --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft_row", ALL)
def test_every_message_can_be_cited(draft_row: Draft) -> None:
    """A report can name the section of every message of every draft."""
    for row in layouts_of(draft_row):
        assert section(row.anchor, draft_row.number), row.label


def test_citation_names_draft_section_and_anchor() -> None:
    """A citation is complete, or says as much as is known."""
    assert cite("message-pub-ns", 18) == "MoQT-18 section 10.15 (message-pub-ns)"
    assert cite("message-subscribe-tracks", 14) == "MoQT-14 (message-subscribe-tracks)"
    assert link("message-pub-ns", 18).endswith("/draft-ietf-moq-transport-18#section-10.15")
    assert link("message-subscribe-tracks", 14).endswith("/draft-ietf-moq-transport-14")


def _headings(number: int) -> dict[str, str]:
    """Anchor to section number, counted from the headings of a draft's text."""
    text = (SPECS / f"draft-ietf-moq-transport-{number}.md").read_text(encoding="utf-8")
    body = text.split("\n--- middle\n", 1)[1].split("\n--- back\n", 1)[0]
    body = re.sub(r"^~~~.*?^~~~", "", body, flags=re.MULTILINE | re.DOTALL)
    counts: list[int] = []
    found = {}
    for level, anchor in re.findall(r"^(#+) .*?(?:\{#([\w-]+)[^}]*\})?\s*$", body, flags=re.MULTILINE):
        depth = len(level)
        counts = [*counts, *[0] * (depth - len(counts))][:depth]
        counts[-1] += 1
        if anchor:
            found[anchor] = ".".join(map(str, counts))
    return found


@pytest.mark.skipif(not SPECS.is_dir(), reason=ABSENT)
@pytest.mark.parametrize("draft_row", ALL)
def test_sections_are_numbered_as_the_draft_numbers_them(draft_row: Draft) -> None:
    """A cited section is where the draft has the anchor."""
    headings = _headings(draft_row.number)
    ours = {
        anchor: numbers[draft_row.number]
        for anchor, numbers in SECTIONS.items()
        if draft_row.number in numbers
    }

    assert ours
    assert ours == {anchor: headings.get(anchor) for anchor in ours}
    assert not {anchor for anchor in SECTIONS if anchor in headings and anchor not in ours}
