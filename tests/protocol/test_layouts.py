"""The tables against a second copy of what the drafts say, and against themselves.

The copies below were read off the drafts' own tables and parameter definitions, section beside each; they
repeat what `layouts.py`, `parameter_layouts.py`, `registries.py` and `sections.py` say in another order
and are not derived from it. Those of 20 and 22 were read off the editors' builds of these drafts, which
number their sections and have no anchors. The text of draft 21 is not to be had: the editors' proof says that
it is 20 with its sections in another order, so its copies are those of 20 without their sections.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED, Draft, draft, draft_of_alpn, draft_of_wt_protocol
from pytest_moqt.protocol.errors import LocalProtocolError, ProtocolViolation
from pytest_moqt.protocol.framing import decode, encode
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
from pytest_moqt.protocol.parameter_layouts import (
    PARAMETER_LAYOUTS,
    FilteredTrack,
    ParameterLayout,
    ParametersField,
)
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
from pytest_moqt.protocol.values import KeyValues, Token, TokenAlias

SPECS = Path(__file__).parents[3] / "shared" / "protocol" / "specs"
ABSENT = "the drafts' texts are not beside this checkout (../shared/protocol/specs)"
WITHOUT_ANCHORS = (20, 21, 22)
"Drafts whose sources, which have the anchors, are not to be had."

ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]
NO_SOURCE = pytest.mark.skip(reason="no text with anchors; NUMBERS copies what its table of contents prints")
WITH_SOURCES = [
    pytest.param(row, id=row.name, marks=[NO_SOURCE] if row.number in WITHOUT_ANCHORS else [])
    for row in DRAFTS.values()
]

# ---- the copies ------------------------------------------------------------------------------------


def _table(text: str) -> dict[str, tuple[int, str]]:
    """Code, name, and the section: its anchor, or its number where the text has no anchors."""
    rows = (line.split() for line in text.strip().splitlines())
    return {name: (int(code, 16), where) for code, name, where in rows}


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
    # Draft 15, table of section 9.
    15: _table("""
        0x20 CLIENT_SETUP message-setup
        0x21 SERVER_SETUP message-setup
        0x10 GOAWAY message-goaway
        0x15 MAX_REQUEST_ID message-max-request-id
        0x1A REQUESTS_BLOCKED message-requests-blocked
        0x7 REQUEST_OK message-request-ok
        0x5 REQUEST_ERROR message-request-error
        0x3 SUBSCRIBE message-subscribe-req
        0x4 SUBSCRIBE_OK message-subscribe-ok
        0x2 SUBSCRIBE_UPDATE message-subscribe-update
        0xA UNSUBSCRIBE message-unsubscribe
        0x1D PUBLISH message-publish
        0x1E PUBLISH_OK message-publish-ok
        0xB PUBLISH_DONE message-publish-done
        0x16 FETCH message-fetch
        0x18 FETCH_OK message-fetch-ok
        0x17 FETCH_CANCEL message-fetch-cancel
        0xD TRACK_STATUS message-track-status
        0x6 PUBLISH_NAMESPACE message-pub-ns
        0x9 PUBLISH_NAMESPACE_DONE message-pub-ns-done
        0xC PUBLISH_NAMESPACE_CANCEL message-pub-ns-cancel
        0x11 SUBSCRIBE_NAMESPACE message-subscribe-ns
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
    # Draft 17, table of section 9. 0x20 and 0x21 are reserved from here on.
    17: _table("""
        0x2F00 SETUP message-setup
        0x10 GOAWAY message-goaway
        0x7 REQUEST_OK message-request-ok
        0x5 REQUEST_ERROR message-request-error
        0x3 SUBSCRIBE message-subscribe-req
        0x4 SUBSCRIBE_OK message-subscribe-ok
        0x2 REQUEST_UPDATE message-request-update
        0x1D PUBLISH message-publish
        0x1E PUBLISH_OK message-publish-ok
        0xB PUBLISH_DONE message-publish-done
        0x16 FETCH message-fetch
        0x18 FETCH_OK message-fetch-ok
        0xD TRACK_STATUS message-track-status
        0x6 PUBLISH_NAMESPACE message-pub-ns
        0x8 NAMESPACE message-namespace
        0xE NAMESPACE_DONE message-namespace-done
        0x11 SUBSCRIBE_NAMESPACE message-subscribe-ns
        0xF PUBLISH_BLOCKED message-publish-blocked
    """),
    # Draft 18, table of section 10. Its 0x1E PUBLISH_OK is of the section of REQUEST_OK, and one of two ways
    # to say that: section 10.5 makes it another name, the change log says that the type is gone.
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
        0x1E PUBLISH_OK message-request-ok
        0x7 REQUEST_OK message-request-ok
        0x5 REQUEST_ERROR message-request-error
    """),
    # Draft 19, table of section 10. 0x1E is reserved: "PUBLISH_OK in <= 17".
    19: _table("""
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
        0xF PUBLISH_SKIPPED message-publish-skipped
        0x2 REQUEST_UPDATE message-request-update
        0x7 REQUEST_OK message-request-ok
        0x5 REQUEST_ERROR message-request-error
    """),
    # Draft 20, table 5 (section 10).
    20: _table("""
        0x2F00 SETUP 10.3
        0x10 GOAWAY 10.4
        0x3 SUBSCRIBE 10.7
        0x4 SUBSCRIBE_OK 10.8
        0x22 PUBLISH_STATE_NOTIFY 10.10
        0x1D PUBLISH 10.11
        0xB PUBLISH_DONE 10.12
        0x16 FETCH 10.13
        0x18 FETCH_OK 10.14
        0xD TRACK_STATUS 10.15
        0x6 PUBLISH_NAMESPACE 10.16
        0x50 SUBSCRIBE_NAMESPACE 10.19
        0x51 SUBSCRIBE_TRACKS 10.20
        0x8 NAMESPACE 10.17
        0xE NAMESPACE_DONE 10.18
        0xF PUBLISH_SKIPPED 10.21
        0x2 REQUEST_UPDATE 10.9
        0x7 REQUEST_OK 10.5
        0x5 REQUEST_ERROR 10.6
    """),
    # Draft 22, table 5 (section 9).
    22: _table("""
        0x2F00 SETUP 9.1
        0x10 GOAWAY 9.2
        0x3 SUBSCRIBE 9.6
        0x4 SUBSCRIBE_OK 9.7
        0x22 PUBLISH_STATE_NOTIFY 9.10
        0x1D PUBLISH 9.8
        0xB PUBLISH_DONE 9.9
        0x16 FETCH 9.11
        0x18 FETCH_OK 9.12
        0xD TRACK_STATUS 9.13
        0x6 PUBLISH_NAMESPACE 9.14
        0x50 SUBSCRIBE_NAMESPACE 9.15
        0x51 SUBSCRIBE_TRACKS 9.18
        0x8 NAMESPACE 9.16
        0xE NAMESPACE_DONE 9.17
        0xF PUBLISH_SKIPPED 9.19
        0x2 REQUEST_UPDATE 9.5
        0x7 REQUEST_OK 9.3
        0x5 REQUEST_ERROR 9.4
    """),
}
MESSAGES[21] = {name: (code, "") for name, (code, _) in MESSAGES[20].items()}

_SIX = {"TRACK_STATUS", "SUBSCRIBE", "PUBLISH", "FETCH", "PUBLISH_NAMESPACE", "SUBSCRIBE_NAMESPACE"}
_SEVEN = _SIX | {"SUBSCRIBE_TRACKS"}
FIRST_ON_A_STREAM = {
    # Draft 17 section 3.3: "one of these six message types". Drafts 18 to 20 section 10, 22 section 9, column
    # Stream of the table of messages: "Request, First".
    17: _SIX,
    18: _SEVEN,
    19: _SEVEN,
    20: _SEVEN,
    21: _SEVEN,
    22: _SEVEN,
}
ON_CONTROL = {number: {"SETUP", "GOAWAY"} for number in FIRST_ON_A_STREAM}
"Draft 17 sections 9.4 and 9.5; the same column, later: Control."
ON_BOTH = {number: set() if number == 17 else {"GOAWAY"} for number in FIRST_ON_A_STREAM}
'Draft 17 section 9.5 knows GOAWAY for a session only; the same column, later: "Control, Request".'
ON_ITS_OWN_STREAM = {
    # Drafts 14 and 15 section 3.3: one bidirectional stream for everything. Draft 16 section 9.25:
    # SUBSCRIBE_NAMESPACE "on a new bidirectional stream", NAMESPACE and NAMESPACE_DONE on its response.
    14: set(),
    15: set(),
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
    # Draft 15 sections 9.7 and 9.8; that SUBSCRIBE_UPDATE may be refused is in section 9.11 only.
    15: {
        "SUBSCRIBE": {"SUBSCRIBE_OK", "REQUEST_ERROR"},
        "PUBLISH": {"PUBLISH_OK", "REQUEST_ERROR"},
        "FETCH": {"FETCH_OK", "REQUEST_ERROR"},
        "TRACK_STATUS": {"REQUEST_OK", "REQUEST_ERROR"},
        "PUBLISH_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_UPDATE": {"REQUEST_OK", "REQUEST_ERROR"},
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
    # Draft 17 sections 9.6, 9.7 and 9.12.
    17: {
        "SUBSCRIBE": {"SUBSCRIBE_OK", "REQUEST_ERROR"},
        "PUBLISH": {"PUBLISH_OK", "REQUEST_ERROR"},
        "FETCH": {"FETCH_OK", "REQUEST_ERROR"},
        "TRACK_STATUS": {"REQUEST_OK", "REQUEST_ERROR"},
        "PUBLISH_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "REQUEST_UPDATE": {"REQUEST_OK", "REQUEST_ERROR"},
    },
}
for _number in (18, 19, 20, 21, 22):
    # Drafts 18 to 20 sections 10.5 and 10.6, draft 22 sections 9.3 and 9.4.
    REPLIES[_number] = {
        "SUBSCRIBE": {"SUBSCRIBE_OK", "REQUEST_ERROR"},
        "PUBLISH": {"REQUEST_OK", "REQUEST_ERROR"},
        "FETCH": {"FETCH_OK", "REQUEST_ERROR"},
        "TRACK_STATUS": {"REQUEST_OK", "REQUEST_ERROR"},
        "PUBLISH_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_NAMESPACE": {"REQUEST_OK", "REQUEST_ERROR"},
        "SUBSCRIBE_TRACKS": {"REQUEST_OK", "REQUEST_ERROR"},
        "REQUEST_UPDATE": {"REQUEST_OK", "REQUEST_ERROR"},
    }
REPLIES[18]["PUBLISH"] |= {"PUBLISH_OK"}  # the table of section 10


Scoped = dict[int, tuple[str, str, set[str]]]


def _parameters(text: str) -> Scoped:
    rows = (line.split() for line in text.strip().splitlines())
    return {int(code, 16): (name, kind, set(scope)) for code, name, kind, *scope in rows}


def _with_tracks(defined: Scoped) -> Scoped:
    """What a SUBSCRIBE may have, a SUBSCRIBE_TRACKS may have.

    "Any Parameter that can be specified on a Subscription (ie: in SUBSCRIBE) is valid in SUBSCRIBE_TRACKS,
    unless otherwise specified" (19 section 10.19.1, 20 section 10.20.1, 22 section 3.6.2).
    """
    return {
        code: (name, kind, scope | ({"SUBSCRIBE_TRACKS"} if "SUBSCRIBE" in scope else set()))
        for code, (name, kind, scope) in defined.items()
    }


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
    # Draft 15 section 9.2.1 (9.2.1.1 to 9.2.1.12) and the registry of section 13.2. All follow their parity.
    # REQUEST_OK in answer to SUBSCRIBE_UPDATE and TRACK_STATUS under the names of draft 18. LARGEST_OBJECT in
    # TRACK_STATUS_OK by section 9.19: "the same parameters it would have set in a SUBSCRIBE_OK".
    15: _parameters("""
        0x02 DELIVERY_TIMEOUT integer TRACK_STATUS TRACK_STATUS_OK PUBLISH PUBLISH_OK SUBSCRIBE \
 SUBSCRIBE_OK SUBSCRIBE_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE SUBSCRIBE_UPDATE SUBSCRIBE_NAMESPACE \
 PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x04 MAX_CACHE_DURATION integer PUBLISH SUBSCRIBE_OK FETCH_OK TRACK_STATUS_OK
        0x08 EXPIRES integer SUBSCRIBE_OK PUBLISH PUBLISH_OK
        0x09 LARGEST_OBJECT location SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK
        0x0E PUBLISHER_PRIORITY integer SUBSCRIBE_OK PUBLISH
        0x10 FORWARD integer SUBSCRIBE SUBSCRIBE_UPDATE PUBLISH PUBLISH_OK TRACK_STATUS TRACK_STATUS_OK \
 SUBSCRIBE_NAMESPACE
        0x20 SUBSCRIBER_PRIORITY integer SUBSCRIBE SUBSCRIBE_UPDATE TRACK_STATUS PUBLISH_OK FETCH
        0x21 SUBSCRIPTION_FILTER filter SUBSCRIBE TRACK_STATUS PUBLISH_OK SUBSCRIBE_UPDATE
        0x22 GROUP_ORDER integer SUBSCRIBE SUBSCRIBE_OK TRACK_STATUS TRACK_STATUS_OK PUBLISH PUBLISH_OK FETCH
        0x30 DYNAMIC_GROUPS integer PUBLISH SUBSCRIBE_OK
        0x32 NEW_GROUP_REQUEST integer PUBLISH_OK SUBSCRIBE SUBSCRIBE_UPDATE
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
    # Draft 17 sections 9.3.2 to 9.3.11 and the registry of section 14.3. EXPIRES may be in "REQUEST_OK",
    # whatever that answers; RENDEZVOUS_TIMEOUT has no stated encoding.
    17: _parameters("""
        0x02 DELIVERY_TIMEOUT integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE REQUEST_UPDATE SUBSCRIBE_NAMESPACE \
 PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x04 RENDEZVOUS_TIMEOUT integer SUBSCRIBE
        0x08 EXPIRES integer SUBSCRIBE_OK PUBLISH PUBLISH_OK REQUEST_UPDATE_OK TRACK_STATUS_OK \
 SUBSCRIBE_NAMESPACE_OK PUBLISH_NAMESPACE_OK
        0x09 LARGEST_OBJECT location SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK
        0x10 FORWARD byte SUBSCRIBE REQUEST_UPDATE PUBLISH PUBLISH_OK SUBSCRIBE_NAMESPACE
        0x20 SUBSCRIBER_PRIORITY byte SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH_OK
        0x21 SUBSCRIPTION_FILTER filter SUBSCRIBE PUBLISH_OK REQUEST_UPDATE
        0x22 GROUP_ORDER byte SUBSCRIBE PUBLISH_OK FETCH
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
    # Draft 19 sections 10.2.2 to 10.2.19, the registry of section 15.7, and for 0x25 to 0x29 section 5.1.3.
    # GROUP_ORDER in PUBLISH by section 10.19.1: "PUBLISH messages resulting from this SUBSCRIBE_TRACKS will
    # include the GROUP_ORDER parameter", although section 10.2.8 does not list PUBLISH.
    19: _with_tracks(
        _parameters("""
        0x02 OBJECT_DELIVERY_TIMEOUT integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE REQUEST_UPDATE SUBSCRIBE_NAMESPACE \
 SUBSCRIBE_TRACKS PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x04 RENDEZVOUS_TIMEOUT integer SUBSCRIBE
        0x06 SUBGROUP_DELIVERY_TIMEOUT integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x08 EXPIRES integer SUBSCRIBE_OK PUBLISH PUBLISH_OK SUBSCRIBE_NAMESPACE_OK SUBSCRIBE_TRACKS_OK \
 PUBLISH_NAMESPACE_OK REQUEST_UPDATE_OK
        0x09 LARGEST_OBJECT location SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK
        0x0A FILL_TIMEOUT integer FETCH
        0x10 FORWARD byte SUBSCRIBE REQUEST_UPDATE PUBLISH PUBLISH_OK SUBSCRIBE_TRACKS
        0x20 SUBSCRIBER_PRIORITY byte SUBSCRIBE FETCH REQUEST_UPDATE PUBLISH_OK
        0x21 LOCATION_FILTER filter SUBSCRIBE PUBLISH_OK REQUEST_UPDATE
        0x22 GROUP_ORDER byte SUBSCRIBE SUBSCRIBE_TRACKS FETCH PUBLISH
        0x25 SUBGROUP_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS PUBLISH_OK REQUEST_UPDATE
        0x26 OBJECTID_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS PUBLISH_OK REQUEST_UPDATE
        0x27 PRIORITY_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS PUBLISH_OK REQUEST_UPDATE
        0x28 OBJECT_PROPERTY_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS PUBLISH_OK REQUEST_UPDATE
        0x29 TRACK_PROPERTY_FILTER range_filter SUBSCRIBE_TRACKS REQUEST_UPDATE
        0x32 NEW_GROUP_REQUEST integer PUBLISH_OK SUBSCRIBE REQUEST_UPDATE
        0x34 TRACK_NAMESPACE_PREFIX namespace REQUEST_UPDATE
    """)
    ),
    # Draft 20 sections 10.2.2 to 10.2.21, the registry of section 15.7, for 0x25 to 0x29 section 5.1.4, and
    # what may be inside FILL_PARAMETERS by table 6 (section 10.2.15).
    20: _with_tracks(
        _parameters("""
        0x02 OBJECT_DELIVERY_TIMEOUT integer SUBSCRIBE PUBLISH REQUEST_UPDATE
        0x03 AUTHORIZATION_TOKEN token PUBLISH SUBSCRIBE REQUEST_UPDATE SUBSCRIBE_NAMESPACE \
 SUBSCRIBE_TRACKS PUBLISH_NAMESPACE TRACK_STATUS FETCH
        0x04 RENDEZVOUS_TIMEOUT integer SUBSCRIBE
        0x06 SUBGROUP_DELIVERY_TIMEOUT integer SUBSCRIBE PUBLISH REQUEST_UPDATE
        0x08 EXPIRES integer SUBSCRIBE_OK PUBLISH PUBLISH_OK SUBSCRIBE_NAMESPACE_OK SUBSCRIBE_TRACKS_OK \
 PUBLISH_NAMESPACE_OK REQUEST_UPDATE_OK
        0x09 LARGEST_OBJECT location SUBSCRIBE_OK PUBLISH REQUEST_UPDATE_OK TRACK_STATUS_OK \
 PUBLISH_STATE_NOTIFY
        0x0A FILL_TIMEOUT integer FETCH FILL_PARAMETERS
        0x10 FORWARD byte SUBSCRIBE REQUEST_UPDATE PUBLISH SUBSCRIBE_TRACKS PUBLISH_STATE_NOTIFY
        0x20 SUBSCRIBER_PRIORITY byte SUBSCRIBE PUBLISH FETCH REQUEST_UPDATE FILL_PARAMETERS
        0x21 LOCATION_FILTER location_filter FETCH SUBSCRIBE PUBLISH REQUEST_UPDATE PUBLISH_STATE_NOTIFY \
 FILL_PARAMETERS
        0x22 GROUP_ORDER byte SUBSCRIBE PUBLISH SUBSCRIBE_TRACKS FETCH FILL_PARAMETERS
        0x23 FILL_PARAMETERS parameters SUBSCRIBE REQUEST_UPDATE
        0x25 SUBGROUP_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE FILL_PARAMETERS
        0x26 OBJECTID_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE FILL_PARAMETERS
        0x27 PRIORITY_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE FILL_PARAMETERS
        0x28 OBJECT_PROPERTY_FILTER range_filter FETCH SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE \
 FILL_PARAMETERS
        0x29 TRACK_PROPERTY_FILTER range_filter SUBSCRIBE_TRACKS REQUEST_UPDATE
        0x32 NEW_GROUP_REQUEST integer SUBSCRIBE REQUEST_UPDATE
        0x34 TRACK_NAMESPACE_PREFIX namespace REQUEST_UPDATE
        0x35 INCLUDE_PROPERTIES byte SUBSCRIBE TRACK_STATUS FETCH SUBSCRIBE_TRACKS
    """)
    ),
}
PARAMETERS[21] = PARAMETERS[20]


def _transposed(text: str) -> dict[str, set[str]]:
    return {name: set(given) for name, *given in (line.split() for line in text.strip().splitlines())}


PARAMETERS_OF_22 = _transposed(
    # Draft 22 the other way round: what each message may have, by the lists of sections 9.3, 9.5 to 9.8, 9.10
    # to 9.15 and 9.18, and of table 7 (section 9.20.15). REQUEST_UPDATE: what any request's update may have.
    """
    PUBLISH_OK EXPIRES
    REQUEST_UPDATE_OK EXPIRES LARGEST_OBJECT
    TRACK_STATUS_OK LARGEST_OBJECT
    SUBSCRIBE_NAMESPACE_OK EXPIRES
    SUBSCRIBE_TRACKS_OK EXPIRES
    PUBLISH_NAMESPACE_OK EXPIRES
    REQUEST_UPDATE OBJECT_DELIVERY_TIMEOUT AUTHORIZATION_TOKEN SUBGROUP_DELIVERY_TIMEOUT FORWARD \
 SUBSCRIBER_PRIORITY LOCATION_FILTER FILL_PARAMETERS SUBGROUP_FILTER OBJECTID_FILTER PRIORITY_FILTER \
 OBJECT_PROPERTY_FILTER NEW_GROUP_REQUEST TRACK_NAMESPACE_PREFIX TRACK_PROPERTY_FILTER
    SUBSCRIBE OBJECT_DELIVERY_TIMEOUT AUTHORIZATION_TOKEN RENDEZVOUS_TIMEOUT SUBGROUP_DELIVERY_TIMEOUT \
 FORWARD SUBSCRIBER_PRIORITY LOCATION_FILTER GROUP_ORDER FILL_PARAMETERS SUBGROUP_FILTER OBJECTID_FILTER \
 PRIORITY_FILTER OBJECT_PROPERTY_FILTER NEW_GROUP_REQUEST INCLUDE_PROPERTIES
    SUBSCRIBE_OK EXPIRES LARGEST_OBJECT
    PUBLISH OBJECT_DELIVERY_TIMEOUT AUTHORIZATION_TOKEN SUBGROUP_DELIVERY_TIMEOUT EXPIRES LARGEST_OBJECT \
 FORWARD SUBSCRIBER_PRIORITY LOCATION_FILTER GROUP_ORDER
    PUBLISH_STATE_NOTIFY LARGEST_OBJECT FORWARD LOCATION_FILTER
    FETCH AUTHORIZATION_TOKEN FILL_TIMEOUT SUBSCRIBER_PRIORITY LOCATION_FILTER GROUP_ORDER SUBGROUP_FILTER \
 OBJECTID_FILTER PRIORITY_FILTER OBJECT_PROPERTY_FILTER INCLUDE_PROPERTIES
    TRACK_STATUS AUTHORIZATION_TOKEN INCLUDE_PROPERTIES
    PUBLISH_NAMESPACE AUTHORIZATION_TOKEN
    SUBSCRIBE_NAMESPACE AUTHORIZATION_TOKEN
    SUBSCRIBE_TRACKS AUTHORIZATION_TOKEN FORWARD GROUP_ORDER SUBGROUP_FILTER OBJECTID_FILTER PRIORITY_FILTER \
 OBJECT_PROPERTY_FILTER TRACK_PROPERTY_FILTER INCLUDE_PROPERTIES
    FILL_PARAMETERS FILL_TIMEOUT SUBSCRIBER_PRIORITY LOCATION_FILTER GROUP_ORDER SUBGROUP_FILTER \
 OBJECTID_FILTER PRIORITY_FILTER OBJECT_PROPERTY_FILTER
"""
)
PARAMETERS[22] = _with_tracks(
    # Draft 22: numbers by the registry of section 16.7, which is that of 20, and so are the kinds of sections
    # 9.20.2 to 9.20.21; how a LOCATION_FILTER is written differs (`test_malformed.py`).
    {
        code: (name, kind, {message for message, given in PARAMETERS_OF_22.items() if name in given})
        for code, (name, kind, _) in PARAMETERS[20].items()
    }
)

# What an update of which request may have, where a definition names the request: 16 sections 9.2.2.3,
# 9.2.2.5, 9.2.2.8, 9.2.2.9; 17 sections 9.3.5, 9.3.7, 9.3.10, 9.3.11; 18 sections 10.2.7, 10.2.9, 10.2.12 to
# 10.2.14; 19 sections 5.1.3, 10.2.7, 10.2.9, 10.2.17 to 10.2.19; 20 sections 5.1.4, 10.2.7, 10.2.9, 10.2.15,
# 10.2.18 to 10.2.20. PUBLISH is its sender's update, PUBLISH_OK that of its subscriber.
# Up to 19 SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS are subscriptions, as far as they may have the parameter
# themselves: their text does not tell them apart, and what it may mean is not held against anybody.
_FOR_ANY_16 = "DELIVERY_TIMEOUT AUTHORIZATION_TOKEN"
_FOR_ANY_18 = "OBJECT_DELIVERY_TIMEOUT SUBGROUP_DELIVERY_TIMEOUT AUTHORIZATION_TOKEN"
_FOR_SUBSCRIPTIONS_16 = "FORWARD SUBSCRIBER_PRIORITY SUBSCRIPTION_FILTER NEW_GROUP_REQUEST"
_FOR_SUBSCRIPTIONS_19 = "FORWARD SUBSCRIBER_PRIORITY LOCATION_FILTER NEW_GROUP_REQUEST"
_RANGES = "SUBGROUP_FILTER OBJECTID_FILTER PRIORITY_FILTER OBJECT_PROPERTY_FILTER"
UPDATED = {
    **dict.fromkeys(
        (16, 17),
        _transposed(f"""
    SUBSCRIBE {_FOR_ANY_16} {_FOR_SUBSCRIPTIONS_16}
    PUBLISH {_FOR_ANY_16} {_FOR_SUBSCRIPTIONS_16}
    PUBLISH_OK {_FOR_ANY_16} {_FOR_SUBSCRIPTIONS_16}
    FETCH {_FOR_ANY_16} SUBSCRIBER_PRIORITY
    TRACK_STATUS {_FOR_ANY_16}
    PUBLISH_NAMESPACE {_FOR_ANY_16}
    SUBSCRIBE_NAMESPACE {_FOR_ANY_16} FORWARD
    """),
    ),
    18: _transposed(f"""
    SUBSCRIBE {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_16}
    PUBLISH {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_16}
    PUBLISH_OK {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_16}
    FETCH {_FOR_ANY_18} SUBSCRIBER_PRIORITY
    TRACK_STATUS {_FOR_ANY_18}
    PUBLISH_NAMESPACE {_FOR_ANY_18}
    SUBSCRIBE_NAMESPACE {_FOR_ANY_18} TRACK_NAMESPACE_PREFIX
    SUBSCRIBE_TRACKS {_FOR_ANY_18} TRACK_NAMESPACE_PREFIX FORWARD
    """),
    19: _transposed(f"""
    SUBSCRIBE {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} {_RANGES}
    PUBLISH {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19}
    PUBLISH_OK {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} {_RANGES}
    FETCH {_FOR_ANY_18} SUBSCRIBER_PRIORITY
    TRACK_STATUS {_FOR_ANY_18}
    PUBLISH_NAMESPACE {_FOR_ANY_18}
    SUBSCRIBE_NAMESPACE {_FOR_ANY_18} TRACK_NAMESPACE_PREFIX
    SUBSCRIBE_TRACKS {_FOR_ANY_18} TRACK_NAMESPACE_PREFIX TRACK_PROPERTY_FILTER {_FOR_SUBSCRIPTIONS_19}
    """),
    **dict.fromkeys(
        (20, 21),
        _transposed(f"""
    SUBSCRIBE {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} FILL_PARAMETERS {_RANGES}
    PUBLISH {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} FILL_PARAMETERS
    PUBLISH_OK {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} FILL_PARAMETERS {_RANGES}
    FETCH {_FOR_ANY_18} SUBSCRIBER_PRIORITY
    TRACK_STATUS {_FOR_ANY_18}
    PUBLISH_NAMESPACE {_FOR_ANY_18}
    SUBSCRIBE_NAMESPACE {_FOR_ANY_18} TRACK_NAMESPACE_PREFIX
    SUBSCRIBE_TRACKS {_FOR_ANY_18} TRACK_NAMESPACE_PREFIX TRACK_PROPERTY_FILTER FORWARD
    """),
    ),
    # The lists of 22 section 9.5, a subscription's without range filters for who publishes it.
    22: _transposed(f"""
    SUBSCRIBE {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} FILL_PARAMETERS {_RANGES}
    PUBLISH {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} FILL_PARAMETERS
    PUBLISH_OK {_FOR_ANY_18} {_FOR_SUBSCRIPTIONS_19} FILL_PARAMETERS {_RANGES}
    FETCH AUTHORIZATION_TOKEN SUBSCRIBER_PRIORITY
    PUBLISH_NAMESPACE AUTHORIZATION_TOKEN
    SUBSCRIBE_NAMESPACE AUTHORIZATION_TOKEN TRACK_NAMESPACE_PREFIX
    SUBSCRIBE_TRACKS AUTHORIZATION_TOKEN FORWARD TRACK_PROPERTY_FILTER TRACK_NAMESPACE_PREFIX
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
_SESSION_18 = {code: name for code, name in _SESSION_14.items() if code != 0x7}
_SESSION_20 = _codes("""
    0x0 NO_ERROR 0x1 INTERNAL_ERROR 0x2 UNAUTHORIZED 0x3 PROTOCOL_VIOLATION 0x4 INVALID_REQUEST_ID
    0x5 DUPLICATE_TRACK_ALIAS 0x6 KEY_VALUE_FORMATTING_ERROR 0x8 INVALID_PATH 0x9 MALFORMED_PATH
    0x10 GOAWAY_TIMEOUT 0x11 CONTROL_MESSAGE_TIMEOUT 0x12 DATA_STREAM_TIMEOUT 0x13 AUTH_TOKEN_CACHE_OVERFLOW
    0x14 DUPLICATE_AUTH_TOKEN_ALIAS 0x16 MALFORMED_AUTH_TOKEN 0x17 UNKNOWN_AUTH_TOKEN_ALIAS
    0x18 EXPIRED_AUTH_TOKEN 0x19 INVALID_AUTHORITY 0x1A MALFORMED_AUTHORITY 0x1B TOO_MANY_REQUEST_UPDATES
""")
SESSION_ERRORS = {
    14: _SESSION_14,  # section 13.1.1
    15: _SESSION_14,  # section 13.3.1
    16: _SESSION_14,  # section 13.4.1
    17: _SESSION_14 | {0x7: "INVALID_REQUIRED_REQUEST_ID"},  # section 14.5.1
    18: _SESSION_18,  # section 15.10.1
    19: _SESSION_18 | {0x1B: "TOO_MANY_REQUEST_UPDATES"},  # section 15.11.1
    20: _SESSION_20,  # section 15.11.1
    21: _SESSION_20,
    22: _SESSION_20,  # section 16.11.1
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
    # Draft 15 section 13.3.2.
    15: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE 0x12 MALFORMED_TRACK
        0x20 UNINTERESTED 0x30 PREFIX_OVERLAP 0x32 INVALID_JOINING_REQUEST_ID 0x33 UNKNOWN_STATUS_IN_RANGE
    """),
    # Draft 16 section 13.4.2. GOING_AWAY is in the text of section 9.4 and not in the registry; the
    # number is that of the next draft.
    16: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE 0x12 MALFORMED_TRACK
        0x19 DUPLICATE_SUBSCRIPTION 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP 0x32 INVALID_JOINING_REQUEST_ID
        0x6 GOING_AWAY
    """),
    # Draft 17 section 14.5.2.
    17: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x6 GOING_AWAY 0x9 EXCESSIVE_LOAD 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE
        0x12 MALFORMED_TRACK 0x19 DUPLICATE_SUBSCRIPTION 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP
        0x31 NAMESPACE_TOO_LARGE 0x32 INVALID_JOINING_REQUEST_ID
    """),
    # Draft 18 section 15.10.2.
    18: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x6 GOING_AWAY 0x9 EXCESSIVE_LOAD 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE
        0x12 MALFORMED_TRACK 0x19 DUPLICATE_SUBSCRIPTION 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP
        0x31 NAMESPACE_TOO_LARGE 0x32 INVALID_JOINING_REQUEST_ID 0x33 UNSUPPORTED_EXTENSION 0x34 REDIRECT
    """),
    # Draft 19 section 15.11.2.
    19: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x6 GOING_AWAY 0x9 EXCESSIVE_LOAD 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE
        0x12 MALFORMED_TRACK 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP 0x31 NAMESPACE_TOO_LARGE
        0x32 INVALID_JOINING_REQUEST_ID 0x33 UNSUPPORTED_EXTENSION 0x34 REDIRECT 0x35 CONFLICTING_FILTERS
        0x36 INVALID_FILTER
    """),
}
for _number in (20, 21, 22):
    # Draft 20 section 15.11.2, draft 22 section 16.11.2.
    REQUEST_ERROR_CODES[_number] = _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TIMEOUT 0x3 NOT_SUPPORTED 0x4 MALFORMED_AUTH_TOKEN
        0x5 EXPIRED_AUTH_TOKEN 0x6 GOING_AWAY 0x9 EXCESSIVE_LOAD 0x10 DOES_NOT_EXIST 0x11 INVALID_RANGE
        0x12 MALFORMED_TRACK 0x20 UNINTERESTED 0x30 PREFIX_OVERLAP 0x31 NAMESPACE_TOO_LARGE
        0x33 UNSUPPORTED_EXTENSION 0x34 REDIRECT 0x35 CONFLICTING_FILTERS 0x36 INVALID_FILTER
    """)
PUBLISH_DONE_CODES = {
    # Draft 14 section 13.1.3.
    14: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 EXPIRED 0x6 TOO_FAR_BEHIND 0x7 MALFORMED_TRACK
    """),
    # Draft 15 section 13.3.3.
    15: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 EXPIRED 0x6 TOO_FAR_BEHIND 0x7 MALFORMED_TRACK 0x8 UPDATE_FAILED
    """),
    # Draft 16 section 13.4.3.
    16: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 EXPIRED 0x6 TOO_FAR_BEHIND 0x8 UPDATE_FAILED 0x12 MALFORMED_TRACK
    """),
    # Draft 17 section 14.5.3.
    17: _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 EXPIRED 0x6 TOO_FAR_BEHIND 0x8 UPDATE_FAILED 0x9 EXCESSIVE_LOAD 0x12 MALFORMED_TRACK
    """),
}
for _number in (18, 19):
    # Draft 18 section 15.10.3, draft 19 section 15.11.3.
    PUBLISH_DONE_CODES[_number] = _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x3 SUBSCRIPTION_ENDED 0x4 GOING_AWAY
        0x5 TOO_FAR_BEHIND 0x6 EXPIRED 0x8 UPDATE_FAILED 0x9 EXCESSIVE_LOAD 0x12 MALFORMED_TRACK
    """)
for _number in (20, 21, 22):
    # Draft 20 section 15.11.3, draft 22 section 16.11.3.
    PUBLISH_DONE_CODES[_number] = _codes("""
        0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 TRACK_ENDED 0x4 GOING_AWAY 0x5 TOO_FAR_BEHIND 0x6 EXPIRED
        0x8 UPDATE_FAILED 0x9 EXCESSIVE_LOAD 0x12 MALFORMED_TRACK
    """)
STREAM_RESET_CODES = {
    # Draft 14 section 13.1.8.
    14: _codes("0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED"),
    # Draft 15 section 13.3.4.
    15: _codes("0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED"),
    # Draft 16 section 13.4.4.
    16: _codes("""
        0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED
        0x4 UNKNOWN_OBJECT_STATUS 0x12 MALFORMED_TRACK
    """),
    # Draft 17 section 14.5.4.
    17: _codes("""
        0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED
        0x4 UNKNOWN_OBJECT_STATUS 0x5 TOO_FAR_BEHIND 0x9 EXCESSIVE_LOAD 0x12 MALFORMED_TRACK
    """),
}
for _number in (18, 19, 20, 21, 22):
    # Draft 18 section 15.10.4, drafts 19 and 20 section 15.11.4, draft 22 section 16.11.4.
    STREAM_RESET_CODES[_number] = _codes("""
        0x0 INTERNAL_ERROR 0x1 CANCELLED 0x2 DELIVERY_TIMEOUT 0x3 SESSION_CLOSED 0x4 GOING_AWAY
        0x5 TOO_FAR_BEHIND 0x6 UNKNOWN_OBJECT_STATUS 0x7 EXPIRED_AUTH_TOKEN 0x9 EXCESSIVE_LOAD
        0x12 MALFORMED_TRACK
    """)

_OPTIONS_17 = _codes("""
    0x01 PATH 0x03 AUTHORIZATION_TOKEN 0x04 MAX_AUTH_TOKEN_CACHE_SIZE 0x05 AUTHORITY 0x07 MOQT_IMPLEMENTATION
""")
_OPTIONS_14 = _OPTIONS_17 | {0x02: "MAX_REQUEST_ID"}
_OPTIONS_19 = _OPTIONS_17 | {0x06: "MAX_FILTER_RANGES", 0x08: "MAX_REQUEST_UPDATES"}
SETUP_OPTIONS = {
    14: _OPTIONS_14,  # section 9.3.2, which prints 0x05 for two of them, see `parameters.py`
    15: _OPTIONS_14,  # section 9.3.1
    16: _OPTIONS_14,  # section 9.3.1
    17: _OPTIONS_17,  # section 9.4.1
    18: _OPTIONS_17,  # section 15.4
    19: _OPTIONS_19,  # section 15.4
    20: _OPTIONS_19,  # section 15.4
    21: _OPTIONS_19,
    22: _OPTIONS_19,  # section 16.4
}
PROPERTIES = {
    # Draft 18 section 15.8, as drafts 19, 20 and 22 have it; drafts 16 section 13.3 and 17 section 14.4 have
    # the same but 0x06, and older names of 0x02, 0x0B.
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
    number = draft_row.number
    ours = {
        row.name: (row.code, section(row.anchor, number) or "" if number in WITHOUT_ANCHORS else row.anchor)
        for row in layouts_of(draft_row)
    }

    assert ours == MESSAGES[number]


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
    for number in DRAFTS:
        seen: set[tuple[object, ...]] = set()
        for row in (row for row in LAYOUTS if number in row.span and not row.only_read):
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
        both = Stream.CONTROL | Stream.REQUEST
        assert {row.name for row in rows if both in row.stream} == ON_BOTH[draft_row.number]
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
    """Writing finds the row by which the other end reads, or the better one of two."""
    for row in layouts_of(draft_row):
        for answered in row.answers or (None,):
            found = layout_of_message(draft_row, row.message, answering=answered, sender=row.sender)
            assert (found is row) is not row.only_read
            assert not found.only_read


def test_what_a_draft_cannot_say_is_our_error() -> None:
    """A message that a draft lacks, or that is no answer to a request, is refused before it is written."""
    with pytest.raises(LocalProtocolError, match="draft-14 has no SubscribeTracks message"):
        layout_of_message(draft(14), m.SubscribeTracks)
    with pytest.raises(LocalProtocolError, match="in draft-16 SubscribeOk cannot answer Fetch"):
        layout_of_message(draft(16), m.SubscribeOk, answering=m.Fetch)


# ---- parameters and codes --------------------------------------------------------------------------


def _kind(row: ParameterLayout) -> str:
    return row.codec.kind.replace(" ", "_")


@pytest.mark.parametrize("draft_row", ALL)
def test_parameters_are_those_of_the_draft(draft_row: Draft) -> None:
    """Every message parameter has its number, its kind of value and the messages it may be in."""
    rows = [row for row in PARAMETER_LAYOUTS if draft_row.number in row.span]

    ours = {
        row.number: (row.label.removesuffix(f" ({row.number:#x})"), _kind(row), set(row.scope))
        for row in rows
    }

    assert len(ours) == len(rows)
    assert ours == PARAMETERS[draft_row.number]


@pytest.mark.parametrize("number", sorted(set(DRAFTS) - {14, 15}))
def test_what_an_update_may_have_depends_on_what_it_changes(number: int) -> None:
    """`REQUEST_UPDATE (for a subscription)`: a definition may name the request (`message-params`)."""
    rows = [row for row in PARAMETER_LAYOUTS if number in row.span and "REQUEST_UPDATE" in row.scope]

    ours = {
        updater: {
            row.printed or str(row.parameter) for row in rows if row.updates is None or updater in row.updates
        }
        for updater in UPDATED[number]
    }

    assert ours == UPDATED[number]


@pytest.mark.parametrize("row", PARAMETER_LAYOUTS, ids=lambda row: f"{row.parameter}-{row.span}")
def test_only_what_an_update_may_have_names_who_updates(row: ParameterLayout) -> None:
    """Drafts 14 and 15 update subscriptions only, and need no such names."""
    assert row.updates is None or "REQUEST_UPDATE" in row.scope


@pytest.mark.parametrize("draft_row", ALL)
def test_parameters_of_one_number_are_one_parameter(draft_row: Draft) -> None:
    """A name that drafts change names the same parameter: what it means is its key, in every draft."""
    renamed = {"DELIVERY_TIMEOUT": "OBJECT_DELIVERY_TIMEOUT", "LOCATION_FILTER": "SUBSCRIPTION_FILTER"}

    for row in PARAMETER_LAYOUTS:
        if draft_row.number in row.span:
            printed = PARAMETERS[draft_row.number][row.number][0]
            assert row.parameter == renamed.get(printed, printed)


@pytest.mark.parametrize("draft_row", ALL)
def test_what_may_repeat_is_as_the_draft_says(draft_row: Draft) -> None:
    """AUTHORIZATION_TOKEN says that it may be repeated within a message, and so do range filters."""
    rows = [row for row in PARAMETER_LAYOUTS if draft_row.number in row.span]

    # "All other filter parameters MAY appear multiple times" (19 section 5.1.3, 20 section 5.1.4).
    filters = {number for number in range(0x25, 0x2A) if number in PARAMETERS[draft_row.number]}
    assert {row.number for row in rows if row.repeatable} == {0x03} | filters


SHORTHANDS = {
    # Names for a REQUEST_OK in answer to one request: drafts 18 to 20 section 10.5, 22 section 1.5. Drafts 14
    # to 17 have PUBLISH_OK as a message, 14 most of them; the others are used here alike.
    "PUBLISH_OK",
    "TRACK_STATUS_OK",
    "REQUEST_UPDATE_OK",
    "SUBSCRIBE_NAMESPACE_OK",
    "SUBSCRIBE_TRACKS_OK",
    "PUBLISH_NAMESPACE_OK",
}


@pytest.mark.parametrize("draft_row", ALL)
def test_scopes_are_names_of_messages(draft_row: Draft) -> None:
    """A parameter's scope names messages of the draft, shorthands for a REQUEST_OK, or FILL_PARAMETERS."""
    messages = set(MESSAGES[draft_row.number])
    replies = {name for name in SHORTHANDS if name.removesuffix("_OK") in messages | {"REQUEST_UPDATE"}}
    known = messages | replies | {name for name, _, _ in PARAMETERS[draft_row.number].values()}

    for row in PARAMETER_LAYOUTS:
        if draft_row.number in row.span:
            assert row.scope <= known
            assert not row.scope & set(Parameter) - {"FILL_PARAMETERS"}
    for layout in layouts_of(draft_row):
        for field in layout.fields:
            given = field.parameters if isinstance(field, FilteredTrack) else field
            if isinstance(given, ParametersField):
                assert given.scopes <= messages | replies
                assert layout.name in given.scopes or layout.name == "REQUEST_OK"


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
    """Every session error of a draft has its number and its name there, and no other number has one."""
    copy = SESSION_ERRORS[draft_row.number]

    for code in range(0x100):
        described = describe_session_error(code, draft_row.number)
        assert described == f"{copy.get(code, 'unregistered')} ({code:#x})"
    for code, name in copy.items():
        assert SessionError[name] == code


@pytest.mark.parametrize("draft_row", ALL)
def test_setup_options_are_those_of_the_registry(draft_row: Draft) -> None:
    """What a draft registers comes once in SETUP, tokens excepted; what it does not know may repeat."""
    for option in SetupOption:
        once = (
            option.name in SETUP_OPTIONS[draft_row.number].values() and option.name != "AUTHORIZATION_TOKEN"
        )
        token = Token(TokenAlias.USE_VALUE, type=0)
        value = token if option.name == "AUTHORIZATION_TOKEN" else b"" if option % 2 else 7
        versions = () if draft_row.version_code is None else (draft_row.version_code,)
        setup = m.Setup(KeyValues([(int(option), value)] * 2), versions)
        frame = encode(setup, draft_row, sender=Sender.SERVER)
        if once:
            with pytest.raises(ProtocolViolation, match=f"setup option {option.name} twice"):
                decode(frame, draft_row, Sender.SERVER)
        else:
            assert decode(frame, draft_row, Sender.SERVER)[0] == setup


def test_setup_options_and_properties_keep_their_numbers() -> None:
    """Setup options and properties have one number through all drafts."""
    assert {int(option): option.name for option in SetupOption} == _OPTIONS_14 | _OPTIONS_19
    assert {int(known): known.name for known in Property} == PROPERTIES


# ---- drafts ----------------------------------------------------------------------------------------


def test_drafts_are_found_by_what_is_negotiated() -> None:
    """ALPN and WebTransport sub-protocol stand for one draft each; no sub-protocol stands for draft 14."""
    # Draft 14 sections 3.1.2 and 3.2; drafts 15 to 20 section 3.1, draft 22 section 6.2.
    alpns = ["moq-00", *(f"moqt-{number}" for number in range(15, 23))]
    assert SUPPORTED == (22, 21, 20, 19, 18, 17, 16, 15, 14)
    assert [draft_of_alpn(alpn) for alpn in alpns] == list(DRAFTS.values())
    assert [draft_of_wt_protocol(alpn) for alpn in (None, *alpns[1:])] == list(DRAFTS.values())
    assert [row.number for row in DRAFTS.values() if row.version_code is not None] == [14]
    assert draft_of_alpn("h3") is None
    assert draft_of_wt_protocol("moq-00") is None
    with pytest.raises(
        KeyError, match="draft 13 is not supported; supported: 22, 21, 20, 19, 18, 17, 16, 15, 14"
    ):
        draft(13)


# ---- sections --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft_row", ALL)
def test_every_message_can_be_cited(draft_row: Draft) -> None:
    """A report can name the section of every message; of draft 21, which has no text here, the anchor."""
    for row in layouts_of(draft_row):
        number = section(row.anchor, draft_row.number)
        where = f" section {number}" if number else ""
        assert bool(number) == (draft_row.number != 21), row.label
        assert cite(row.anchor, draft_row.number) == f"MoQT-{draft_row.number}{where} ({row.anchor})"


def test_citation_names_draft_section_and_anchor() -> None:
    """A citation is complete, or says as much as is known."""
    assert cite("message-pub-ns", 18) == "MoQT-18 section 10.15 (message-pub-ns)"
    assert cite("message-subscribe-tracks", 14) == "MoQT-14 (message-subscribe-tracks)"
    assert link("message-pub-ns", 18).endswith("/draft-ietf-moq-transport-18#section-10.15")
    assert link("message-subscribe-tracks", 14).endswith("/draft-ietf-moq-transport-14")


NUMBERS = {
    # Off the tables of contents of drafts 20 and 22, by title.
    "reason-phrase": ("1.4.4", "8.5"),  # Reason Phrase Structure
    "track-name": ("2.4.1", "2.4.1"),  # Track Naming
    "reserved-namespaces": ("3.2.1", "2.4.3"),  # Reserved Namespaces
    "track-scope": ("2.4.3", "2.5"),  # Scope
    "webtransport": ("3.1.4", "6.2.1"),  # WebTransport
    "session-init": ("3.3", "6.3"),  # Session initialization
    "graceful-request-closure": ("3.3.2", "6.4.2.2"),  # Graceful Request Stream Closure
    "request-cancellation": ("3.3.3", "6.4.2.3"),  # Request Cancellation and Rejection
    "stream-reset-codes": ("3.3.4", "12.5"),  # Stream Reset Error Codes
    "subscription-state-management": ("5.1.1", "3.1.2"),  # Subscription State Management
    "location-filters": ("5.1.2", "3.3.1"),  # Location Filters
    "range-filters": ("5.1.4", "3.3.2"),  # Range Filters
    "fill-semantics": ("5.1.3", "3.4"),  # Fill Semantics
    "combining-filters": ("5.1.5", "3.3.3"),  # Combining Filters
    "fetch-state-management": ("5.2", "3.2.4"),  # Fetch State Management
    "scheduling-algorithm": ("7.2", "5.1.2"),  # Scheduling Algorithm
    "forward-handling": ("9.2", "7.2"),  # Forward Handling, Paused Subscription Handling
    "large-namespaces": ("6.3.1", "7.5"),  # Relay Resource Protection in Large Namespaces
    "request-id": ("10.1", "6.4.2.1"),  # Request ID
    "message-params": ("10.2", "9.20"),  # Message Parameters, Control Message Parameters
    "location-filter": ("10.2.9", "9.20.9"),  # LOCATION FILTER Parameter
    "fill-parameters": ("10.2.15", "9.20.15"),  # FILL PARAMETERS Parameter
    "publisher-interactions": ("9.5", "7.6"),  # Publisher Interactions
    "publishing-namespaces": ("6.2", "4.1"),  # Publishing Namespaces
    "updating-subscriptions": ("10.9.1", "9.5.1"),  # Updating Subscriptions
    "updating-namespace-subscriptions": ("10.9.2", "9.5.2"),  # Updating Namespace Subscriptions
    "relay-track-handling": ("9.6", "7.7"),  # Relay Track Handling
    "track-namespace-prefix-param": ("10.2.20", "9.20.20"),  # TRACK_NAMESPACE_PREFIX Parameter
    "include-properties": ("10.2.21", "9.20.21"),  # INCLUDE_PROPERTIES Parameter
    "redirect-structure": ("10.6.1", "9.4.1"),  # Redirect Structure
    "object-datagram": ("11.3.1", "11.2.1"),  # Object Datagram
    "fetch-header": ("11.4.4", "11.4.1"),  # Fetch Header
    "padding": ("11.5", "11.5"),  # Padding
    "flags": ("11.4.4.1", "11.4.1.1"),  # Flags
    "preventing-impersonation": ("13.3.3", "15.3.3"),  # Preventing Impersonation
    "grease": ("14", "13"),  # Grease
    "iana-object-status": ("15.9", "16.9"),  # Object Status
}


@pytest.mark.parametrize("anchor", NUMBERS)
def test_sections_of_drafts_without_anchors_are_numbered_by_title(anchor: str) -> None:
    """A cited section of drafts 20 and 22 has the number that their tables of contents print."""
    assert (section(anchor, 20), section(anchor, 22)) == NUMBERS[anchor]
    assert section(anchor, 21) is None


def _headings(number: int) -> tuple[dict[str, str], dict[str, str]]:
    """Anchor to section number, counted from the headings of a draft's text.

    Returns:
        Headings by their own anchors; and the others by their titles, as the draft's references have them.
    """
    text = (SPECS / f"draft-ietf-moq-transport-{number}.md").read_text(encoding="utf-8")
    body = text.split("\n--- middle\n", 1)[1].split("\n--- back\n", 1)[0]
    body = re.sub(r"^~~~.*?^~~~", "", body, flags=re.MULTILINE | re.DOTALL)
    counts: list[int] = []
    anchored: dict[str, str] = {}
    titled: dict[str, str] = {}
    headings = re.findall(r"^(#+) (.*?)(?:\{#([\w-]+)[^}]*\})?\s*$", body, flags=re.MULTILINE)
    for level, title, anchor in headings:
        depth = len(level)
        counts = [*counts, *[0] * (depth - len(counts))][:depth]
        counts[-1] += 1
        found, name = (anchored, anchor) if anchor else (titled, re.sub(r"\W+", "-", title.strip().lower()))
        found.setdefault(name, ".".join(map(str, counts)))
    return anchored, titled


@pytest.mark.skipif(not SPECS.is_dir(), reason=ABSENT)
@pytest.mark.parametrize("draft_row", WITH_SOURCES)
def test_sections_are_numbered_as_the_draft_numbers_them(draft_row: Draft) -> None:
    """A cited section is where the draft has the anchor."""
    anchored, titled = _headings(draft_row.number)
    headings = {**titled, **anchored}
    ours = {
        anchor: numbers[draft_row.number]
        for anchor, numbers in SECTIONS.items()
        if draft_row.number in numbers
    }

    assert ours
    assert ours == {anchor: headings.get(anchor) for anchor in ours}
    assert not {anchor for anchor in SECTIONS if anchor in anchored and anchor not in ours}
