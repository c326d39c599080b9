"""Our codec beside aiomoqt's, on generated messages, objects and datagrams of every draft that both speak.

What we write is read by aiomoqt, and what aiomoqt writes for it is read by us and says the same; what one
refuses the other refuses too. Where they do not agree, a row of DISAGREEMENTS says why, and the tests hold
that it is so: an unlisted disagreement fails, and so does a listed one that does not occur.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.errors import MoqtError
from pytest_moqt.protocol.fields import ErrorCode
from pytest_moqt.protocol.framing import Frame, decode, decode_body, encode_by, pull_frame
from pytest_moqt.protocol.layouts import Layout, Sender, layout_of_type
from pytest_moqt.protocol.messages import UNKNOWN_STREAM_COUNT, FilteredFetch, RequestUpdate
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.protocol.parameter_layouts import (
    PARAMETER_LAYOUTS,
    FilteredTrack,
    ParameterLayout,
    ParametersField,
    parameter_layout,
)
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    GroupOrder,
    KeyValues,
    Location,
    RangeFilter,
    Token,
    TokenAlias,
)
from tests.protocol.strategies import PROFILE, ROWS, datagrams, fetches, messages, parameter_values, subgroups

SPOKEN = (14, 16, 18, 20, 22)
PROGRAM = Path(__file__).with_name("aiomoqt_codec.py")
ANSWER_SECONDS = 20.0
EXAMPLES = 10
"For each row of the tables, each also with edits."
VALUES = 10
"For each parameter of each message."
STREAMS = 40
"Streams and datagrams, for each draft."

REFUSED = "refused"
ACCEPTED = "accepted, whatever it is taken for"
UNREADABLE = "written so that we refuse it"


# ---- the other codec -------------------------------------------------------------------------------


class Aiomoqt:
    """Its codec, in a process of its own: it needs a newer Python than we do."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), "-P", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def ask(self, draft: Draft, plane: str, data: bytes, descending: bool = False) -> dict[str, Any]:
        """What it makes of these bytes."""
        question = {"draft": draft.number, "plane": plane, "hex": data.hex(), "descending": descending}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            assert select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0], (
                f"no answer to {question}"
            )
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            assert piece, f"it ended over {question}"
            line += piece
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=ANSWER_SECONDS)


@pytest.fixture(scope="module")
def aiomoqt() -> Iterator[Aiomoqt]:
    """One process for all tests of this module."""
    venv = os.environ.get("PEERS_VENV")
    if not venv:
        pytest.skip("PEERS_VENV does not name a venv with aiomoqt (make peers)")
    python = Path(venv) / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-P", "-c", "import aiomoqt"], check=False).returncode:
        pytest.skip(f"PEERS_VENV has no aiomoqt: {venv}")
    codec = Aiomoqt(python)
    yield codec
    codec.close()


# ---- examples --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Example:
    """Bytes for both to read."""

    draft: Draft
    name: str
    "Wire name of the message, or what of the data plane it is."
    edit: str
    "What was done to valid bytes; empty: nothing."
    data: bytes
    ours: Any
    "What we read; REFUSED."
    refusal: str = ""
    "Why we refused it."
    descending: bool = False
    made_of: Any = None
    "The message, before an edit."


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """The same examples of a strategy in every run."""
    found: list[Any] = []

    @settings(PROFILE, max_examples=count)
    @given(strategy)
    def collect(item: Any) -> None:
        found.append(item)

    collect()
    return found


def read_message(draft: Draft, sender: Sender, data: bytes) -> Any:
    """The message of a whole frame."""
    frame = pull_frame(Reader(data, draft.integers))
    return decode(frame, draft, sender)[0]


def read_stream(draft: Draft, descending: bool, data: bytes) -> Any:
    """The header and objects of a whole stream."""
    return DataStreamDecoder(draft, descending=lambda _: descending).feed(data, fin=True)


def example(
    draft: Draft, name: str, edit: str, data: bytes, read: Callable[[bytes], Any], **more: Any
) -> Example:
    """Bytes, and what we make of them."""
    try:
        return Example(draft, name, edit, data, read(data), **more)
    except MoqtError as error:
        return Example(draft, name, edit, data, REFUSED, str(error), **more)


def parameters_field(layout: Layout) -> ParametersField | None:
    """The field of a row that has its parameters."""
    for field in layout.fields:
        if isinstance(field, FilteredTrack):
            return field.parameters
        if isinstance(field, ParametersField):
            return field
    return None


UNKNOWN = 0x7D
"A parameter and an option that no draft defines; its value is bytes."
FOREIGN = (0x08, 0x04, 0x0A, 0x32)
"Parameters whose values are integers in all drafts; no message has all of them."
NOT_UTF_8 = "\udcff"

BYTES = ("forward", "group_order", "default_publisher_group_order", "content_exists", "end_of_track")
"Fields of one byte that has two or three values, most of them of draft 14."
NAMESPACES = ("full track name", "track_namespace", "track_namespace_prefix", "track_namespace_suffix")
NO_FIELDS = tuple(f"no {name}" for name in NAMESPACES)
TWICE = "a parameter twice"
TWO_OPTIONS = "an option twice"
NOBODY_KNOWS = "a parameter nobody knows"
ELSEWHERE = "a parameter where it is not defined"


def variants(draft: Draft, layout: Layout, message: Any) -> Iterator[tuple[str, Frame]]:
    """A message, and with one edit each: what decoders get wrong first."""

    def having(attribute: str, *pairs: tuple[Any, Any]) -> Frame:
        more = KeyValues([*getattr(message, attribute).pairs, *pairs])
        return encode_by(dataclasses.replace(message, **{attribute: more}), layout, draft)

    frame = encode_by(message, layout, draft)
    yield "", frame
    yield "a byte less", frame.replace(body=frame.body[:-1])
    yield "a byte more", frame.replace(body=frame.body + b"\x00")
    yield from fields_edited(draft, layout, frame)
    for name in ("reason", "new_session_uri"):
        if hasattr(message, name):
            yield "not UTF-8", encode_by(dataclasses.replace(message, **{name: NOT_UTF_8}), layout, draft)
    if any(field.name == "track_properties" for field in layout.fields):
        order = {**dict(message.track_properties.pairs), Property.DEFAULT_PUBLISHER_GROUP_ORDER: 1}
        changed = dataclasses.replace(message, track_properties=KeyValues(order))
        yield "groups ascending", encode_by(changed, layout, draft)
    if hasattr(message, "options"):
        yield TWO_OPTIONS, having("options", (SetupOption.PATH, b"a"), (SetupOption.PATH, b"b"))
        yield "an option nobody knows, twice", having("options", (UNKNOWN, b"x"), (UNKNOWN, b"y"))
    field = parameters_field(layout)
    if field is None:
        return
    yield NOBODY_KNOWS, having("parameters", (UNKNOWN, b"x"))
    yield NOBODY_KNOWS, having("parameters", (UNKNOWN, b"x"), (UNKNOWN, b"y"))
    rows = parameter_rows(draft)
    elsewhere = [row.number for row in rows if row.number in FOREIGN and not row.scope & field.scopes]
    if elsewhere:
        yield ELSEWHERE, having("parameters", (elsewhere[0], 1))
    for row in rows:
        if not row.scope & field.scopes or row.parameter in field.lifted:
            continue
        if row.parameter is Parameter.AUTHORIZATION_TOKEN:
            first, second = (Token(TokenAlias.USE_VALUE, None, 0, value) for value in (b"1", b"2"))
            yield "two tokens", having("parameters", (row.parameter, first), (row.parameter, second))
        given = message.parameters.all(row.parameter)
        if given and not row.repeatable:
            yield TWICE, having("parameters", (row.parameter, given[0]))


def fields_edited(draft: Draft, layout: Layout, frame: Frame) -> Iterator[tuple[str, Frame]]:
    """A frame with a value in one field that the draft may not allow there."""
    where: list[tuple[Any, int, int]] = []
    decode_body(frame.body, layout, draft, where)
    for field, start, end in where:
        if end - start == 1 and field.name in BYTES:
            yield f"{field.name} 9", frame.replace(body=frame.body[:start] + b"\x09" + frame.body[end:])
        if field.name in NAMESPACES:
            nothing = bytes(len(field.attributes))
            yield f"no {field.name}", frame.replace(body=frame.body[:start] + nothing + frame.body[end:])


def parameter_rows(draft: Draft) -> list[ParameterLayout]:
    """The parameters of a draft."""
    return [row for row in PARAMETER_LAYOUTS if draft.number in row.span]


@cache
def values_of(draft: Draft, row: ParameterLayout) -> list[Any]:
    """Values of one parameter."""
    return drawn(parameter_values(draft, row.parameter, row.codec.kind), VALUES)


def with_each_parameter(draft: Draft, layout: Layout, message: Any) -> Iterator[Frame]:
    """A message with each parameter that it may have, alone, in several values."""
    field = parameters_field(layout)
    for row in parameter_rows(draft) if field is not None else ():
        is_range = row.parameter is Parameter.SUBSCRIPTION_FILTER and hasattr(message, "range")
        if row.scope & field.scopes and row.parameter not in field.lifted and not is_range:
            for value in values_of(draft, row):
                alone = dataclasses.replace(message, parameters=KeyValues([(row.parameter, value)]))
                yield encode_by(alone, layout, draft)


def coded(draft: Draft, layout: Layout, message: Any) -> Iterator[Frame]:
    """A message with each of the codes that a draft may have in it."""
    for field in layout.fields:
        if isinstance(field, ErrorCode):
            for number in range(0x40):
                name = field.table.name(number, draft.number, field.space)
                if name is not RequestErrorCode.REDIRECT:
                    changes = {field.name: name} | (
                        {"redirect": None} if hasattr(message, "redirect") else {}
                    )
                    yield encode_by(dataclasses.replace(message, **changes), layout, draft)


# ---- what is not the same --------------------------------------------------------------------------


@dataclasses.dataclass
class Disagreement:
    """Something that aiomoqt does otherwise."""

    where: tuple[tuple[Span, str], ...]
    "Drafts, and the wire names of the messages; it has to occur in each of them that a draft has."
    why: str
    "Who is right by which section, or that no text decides it."
    applies: Callable[[Example], Any]
    "To which examples; it has to occur in all of them."
    theirs: Callable[[Any, Draft], Any]
    "What it makes of what we read; fields by name where it reads and cannot write."

    def listed(self, name: str, draft: Draft) -> bool:
        """Whether it is to occur in a message of a draft."""
        return any(draft.number in span and name in names.split() for span, names in self.where)


ALL = drafts(14, 22)
DICTIONARIES = drafts(14, 18)
"Where it keeps parameters in a dictionary, a value for each type."


def refuses(*_: Any) -> str:
    """It ends the session."""
    return REFUSED


def accepts(*_: Any) -> str:
    """It takes what we refuse."""
    return ACCEPTED


def attribute(found: Example, name: str) -> Any:
    """An attribute of what we read; None where that has none, or we refused."""
    return getattr(found.ours, name, None)


def is_not_utf_8(found: Example) -> bool:
    """Whether bytes of a text were none, and are lone surrogates."""
    message: Any = found.made_of if found.ours is REFUSED else found.ours
    text = getattr(message, "reason", "") + getattr(message, "new_session_uri", "")
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def repeated(pairs: Any) -> bool:
    """Whether a key has several values."""
    return pairs is not None and len(pairs) != len(pairs.pairs)


def last_of_each(name: str) -> Callable[[Any, Draft], Any]:
    """Of values with one type the last is kept."""
    return lambda message, _: dataclasses.replace(
        message, **{name: KeyValues(dict(getattr(message, name).pairs))}
    )


def known_options(message: Any, _: Draft) -> Any:
    """Options that the draft knows, and of each the first."""
    kept: dict[int, Any] = {}
    for number, value in message.options.pairs:
        if number in KNOWN_OPTIONS:
            kept.setdefault(number, value)
    return dataclasses.replace(message, options=KeyValues(kept))


def fetch_with_defaults(message: Any, draft: Draft) -> Any:
    """A FETCH that says what its sender left to the default."""
    defaults = {Parameter.SUBSCRIBER_PRIORITY: 128, Parameter.GROUP_ORDER: GroupOrder.ASCENDING}
    missing = [pair for pair in defaults.items() if pair[0] not in message.parameters]
    asked = message.range
    if isinstance(asked, FilteredFetch) and asked.filter is None:
        asked = dataclasses.replace(asked, filter=WHOLE_TRACK[draft.number])
    return dataclasses.replace(
        message, range=asked, parameters=KeyValues([*message.parameters.pairs, *missing])
    )


def without_ascending(message: Any, _: Draft) -> Any:
    """The order of groups is not said where it is the usual one."""
    order = (Property.DEFAULT_PUBLISHER_GROUP_ORDER, 1)
    kept = [pair for pair in message.track_properties.pairs if pair != order]
    return dataclasses.replace(message, track_properties=KeyValues(kept))


KNOWN_OPTIONS = {option for option in SetupOption if option is not SetupOption.MAX_REQUEST_ID}
WHOLE_TRACK = {
    20: Filter(FilterType.UNFILTERED),
    22: Filter(FilterType.ABSOLUTE_START, Location(0, 0)),
}

ERRORS_14 = (
    "SUBSCRIBE_ERROR PUBLISH_ERROR FETCH_ERROR TRACK_STATUS_ERROR PUBLISH_NAMESPACE_ERROR "
    "SUBSCRIBE_NAMESPACE_ERROR"
)
_TOKENS = "SUBSCRIBE PUBLISH FETCH TRACK_STATUS PUBLISH_NAMESPACE SUBSCRIBE_NAMESPACE"
_PARAMETERS_14 = f"{_TOKENS} SUBSCRIBE_UPDATE SUBSCRIBE_OK PUBLISH_OK TRACK_STATUS_OK FETCH_OK"

DISAGREEMENTS: tuple[Disagreement, ...] = (
    Disagreement(
        ((drafts(14, 14), _PARAMETERS_14), (drafts(16, 18), f"{_TOKENS} REQUEST_UPDATE SUBSCRIBE_TRACKS")),
        "It keeps one value of each type, the last, although AUTHORIZATION_TOKEN MAY be repeated (14 "
        "section 9.2.1.1, 16 section 9.2.2.1, 18 section 10.2.2), as may what 14 does not know (section "
        "9.2).",
        lambda found: repeated(attribute(found, "parameters")),
        last_of_each("parameters"),
    ),
    Disagreement(
        ((DICTIONARIES, "CLIENT_SETUP SERVER_SETUP SETUP"),),
        "It keeps one value of each option, the last, of tokens too. Duplicates of unknown options MUST "
        "be allowed (14 and 16 section 9.2, 18 section 10.3), which it does: what is ignored may be lost.",
        lambda found: repeated(attribute(found, "options")),
        last_of_each("options"),
    ),
    Disagreement(
        ((drafts(20, 22), "SETUP"),),
        "It keeps the options that the draft has, the others being ignored (20 section 10.3, 22 section "
        "9.1), and of several tokens the first.",
        lambda found: found.ours is not REFUSED,
        known_options,
    ),
    Disagreement(
        (
            (
                drafts(14, 14),
                "SUBSCRIBE SUBSCRIBE_OK SUBSCRIBE_UPDATE PUBLISH PUBLISH_OK TRACK_STATUS TRACK_STATUS_OK "
                "FETCH_OK",
            ),
            (drafts(16, 16), "SUBSCRIBE_NAMESPACE PUBLISH_OK"),
            (drafts(18, 18), "SUBSCRIBE_TRACKS PUBLISH_OK"),
            (drafts(16, 18), "SUBSCRIBE SUBSCRIBE_OK REQUEST_OK REQUEST_UPDATE PUBLISH FETCH"),
            (DICTIONARIES, "CLIENT_SETUP SERVER_SETUP SETUP"),
        ),
        'It takes twice what may be there once. "Receivers SHOULD check" and close the session (14 and 16 '
        "section 9.2, 18 section 10.2), which we do, and it does from 20 on.",
        lambda found: found.edit in (TWICE, TWO_OPTIONS),
        accepts,
    ),
    Disagreement(
        (
            (
                drafts(16, 16),
                f"{_TOKENS} REQUEST_UPDATE SUBSCRIBE_OK PUBLISH_OK REQUEST_OK FETCH_OK",
            ),
        ),
        "It skips a parameter that nobody knows, as in 14. An endpoint that receives one MUST close the "
        "session (16 section 9.2); from 18 on it closes, as we do.",
        lambda found: found.edit == NOBODY_KNOWS,
        accepts,
    ),
    Disagreement(
        ((drafts(14, 14), "SUBSCRIBE_OK TRACK_STATUS_OK PUBLISH"),),
        "It takes any number for Content Exists: one that is not 0 or 1 MUST terminate the session (14 "
        "sections 9.8 and 9.13).",
        lambda found: found.edit == "content_exists 9",
        accepts,
    ),
    Disagreement(
        ((drafts(14, 14), "PUBLISH PUBLISH_OK FETCH FETCH_OK"),),
        "It takes any Group Order and Forward in these, unlike in SUBSCRIBE: other values are a protocol "
        "error (14 sections 9.13, 9.14, 9.16 and 9.17).",
        lambda found: found.edit in ("group_order 9", "default_publisher_group_order 9", "forward 9"),
        accepts,
    ),
    Disagreement(
        ((ALL, "FETCH_OK"),),
        "It keeps any number for End Of Track, which is 1 or 0 (14 section 9.17, 18 section 10.13); what "
        "another one would mean no text says, so here it is not 1.",
        lambda found: found.edit == "end_of_track 9",
        accepts,
    ),
    Disagreement(
        (
            (
                drafts(14, 14),
                "SUBSCRIBE TRACK_STATUS PUBLISH PUBLISH_NAMESPACE PUBLISH_NAMESPACE_DONE "
                "PUBLISH_NAMESPACE_CANCEL SUBSCRIBE_NAMESPACE UNSUBSCRIBE_NAMESPACE",
            ),
            (drafts(16, 16), "SUBSCRIBE TRACK_STATUS PUBLISH PUBLISH_NAMESPACE"),
        ),
        "It takes a namespace of no fields, as is right from 17 on: before there are between 1 and 32 (14 "
        "and 16 section 2.4.1).",
        lambda found: found.edit in NO_FIELDS,
        accepts,
    ),
    Disagreement(
        ((drafts(20, 22), "SUBSCRIBE_OK FETCH_OK"),),
        "It closes over a parameter that the reply does not have, as it MUST (20 section 10.2.1, 22 "
        "section 9.20.1); we do so in requests and REQUEST_OK only, since relays put GROUP_ORDER into "
        "SUBSCRIBE_OK.",
        lambda found: found.edit == ELSEWHERE,
        refuses,
    ),
    Disagreement(
        ((drafts(18, 20), "REQUEST_UPDATE"),),
        "It has a length before TRACK_NAMESPACE_PREFIX. The parameter uses the Track Namespace encoding "
        "(18 section 10.2.14, 20 section 10.2.20), which begins with no length; in 22 it has none there "
        "either.",
        lambda found: Parameter.TRACK_NAMESPACE_PREFIX in found.made_of.parameters,
        refuses,
    ),
    Disagreement(
        ((drafts(16, 22), "FETCH"),),
        "It writes priority, order and, from 20 on, range also where they were left out. Those are the "
        "defaults (16 sections 9.2.2.3 and 9.2.2.4, 18 sections 10.2.7 and 10.2.8, 20 section 5.1.2): the "
        "same is said.",
        lambda found: found.ours is not REFUSED,
        fetch_with_defaults,
    ),
    Disagreement(
        ((drafts(16, 22), "SUBSCRIBE_OK PUBLISH"),),
        "It leaves out DEFAULT_PUBLISHER_GROUP_ORDER where groups ascend, which is its default (18 "
        "section 12.5, 22 section 10.5): the same is said.",
        lambda found: (
            (attribute(found, "track_properties") or {}).get(Property.DEFAULT_PUBLISHER_GROUP_ORDER) == 1
        ),
        without_ascending,
    ),
    Disagreement(
        ((drafts(20, 22), "PUBLISH_DONE"),),
        "It reads and does not write SUBSCRIPTION_ENDED, which 20 no longer has (section 15.11.3); we "
        "write any number that we are given.",
        lambda found: attribute(found, "status") == 0x3,
        lambda message, _: {"status_code": 3, "reason": message.reason},
    ),
    Disagreement(
        (
            (
                ALL,
                f"GOAWAY PUBLISH_DONE PUBLISH_NAMESPACE_CANCEL REQUEST_ERROR {ERRORS_14}",
            ),
        ),
        'A text that is not UTF-8 is an exception there. A reason is UTF-8 and "does not carry '
        'information" for the protocol (14 section 1.4.3, 18 section 1.4.4); what to do otherwise no text '
        "says: we keep its bytes.",
        is_not_utf_8,
        refuses,
    ),
    Disagreement(
        ((drafts(14, 14), "subgroup"),),
        "It closes over properties on any status but Normal, as is right from 15 on. In 14 any object may "
        "have them except one with the status Object Does Not Exist (section 10.2.1.2).",
        lambda found: (
            found.ours is not REFUSED
            and any(isinstance(item, StreamObject) and item.status and item.properties for item in found.ours)
        ),
        refuses,
    ),
    Disagreement(
        ((ALL, "datagram"),),
        'It does not look behind a status. With one "there is no Object Payload" (18 section 11.3.1), so '
        "a byte behind it belongs to no field.",
        lambda found: found.edit == "a byte more" and found.ours is REFUSED,
        accepts,
    ),
    Disagreement(
        ((drafts(14, 14), "datagram"),),
        "It takes extension headers of length 0, over which it MUST close (14 section 10.3.1). From 16 on "
        "it closes, as we do.",
        lambda found: found.data == NO_PROPERTIES,
        accepts,
    ),
    Disagreement(
        ((ALL, "datagram"),),
        "It leaves object id 0 out where it may: two ways of saying the same (18 section 11.3.1).",
        lambda found: (
            attribute(found, "object_id_field")
            and not found.ours.object_id
            and (found.draft.zero_object_id_with_status or found.ours.status is None)
        ),
        lambda item, _: dataclasses.replace(item, object_id_field=False),
    ),
    Disagreement(
        ((drafts(16, 22), "datagram"),),
        "It writes status Normal as an empty payload, which it is (18 section 11.2.1.1).",
        lambda found: attribute(found, "status") == 0,
        lambda item, _: dataclasses.replace(item, status=None),
    ),
    Disagreement(
        ((drafts(16, 22), "datagram"),),
        "It reads DEFAULT_PRIORITY and has no way to write it: it puts the number there that the object "
        "would inherit (18 section 11.3.1), or 128.",
        lambda found: isinstance(found.ours, ObjectDatagram) and found.ours.publisher_priority is None,
        lambda item, _: dataclasses.replace(item, publisher_priority=128),
    ),
)


def expectation(found: Example) -> tuple[Any, list[int]]:
    """What is to be expected of aiomoqt, and the disagreements for which it is not what we say."""
    expected = found.ours
    rows = []
    for index, row in enumerate(DISAGREEMENTS):
        done = isinstance(expected, (str, dict)) and found.ours is not REFUSED
        if not done and row.listed(found.name, found.draft) and row.applies(found):
            otherwise = row.theirs(expected, found.draft)
            if otherwise != expected:
                rows.append(index)
            expected = otherwise
    return expected, rows


def agrees(theirs: Any, expected: Any) -> bool:
    """Whether what aiomoqt made of bytes is what was expected."""
    if expected is ACCEPTED:
        return theirs is not REFUSED
    if isinstance(expected, dict):
        return isinstance(theirs, dict) and expected.items() <= theirs.items()
    return bool(theirs == expected)


# ---- the same by name ------------------------------------------------------------------------------
#
# That both write the same bytes for what they read does not show that they read the same out of them.

ATTRIBUTES = {
    "request_id": ("request_id",),
    "existing_request_id": ("existing_request_id", "subscription_request_id"),
    "track_namespace": ("track_namespace", "namespace"),
    "track_namespace_prefix": ("namespace_prefix",),
    "track_namespace_suffix": ("namespace_suffix",),
    "track_name": ("track_name",),
    "track_alias": ("track_alias",),
    "group_id": ("group_id",),
    "subgroup_id": ("subgroup_id",),
    "object_id": ("object_id",),
    "publisher_priority": ("publisher_priority",),
    "end_of_group": ("end_of_group",),
    "payload": ("payload",),
    "status": ("status",),
    "flags": ("end_of_range",),
    "properties": ("extensions",),
    "reason": ("reason",),
    "retry_interval": ("retry_interval",),
    "stream_count": ("stream_count",),
    "new_session_uri": ("new_session_uri",),
    "timeout_ms": ("timeout",),
    "maximum": ("maximum_request_id", "request_id"),
    "end_of_track": ("end_of_track",),
    "joining_request_id": ("joining_request_id",),
    "joining_start": ("joining_start",),
    Parameter.EXPIRES: ("expires",),
    Parameter.FORWARD: ("forward",),
    Parameter.SUBSCRIBER_PRIORITY: ("priority", "subscriber_priority"),
    Parameter.GROUP_ORDER: ("group_order",),
}
"Ours, and what the classes of aiomoqt call it."
_FILTER = ("filter_type", "start_group", "start_object", "end_group")
NAMELESS = {
    "REQUEST_UPDATE": _FILTER,  # 16 and 18: bytes that are not taken apart; as in the next
    "REQUEST_OK": (*_FILTER, "largest_group_id", "largest_object_id"),
    "SUBSCRIBE_UPDATE": ("filter_type",),  # 14 has none: the fields say which
    "PUBLISH_DONE": ("status",),  # a name here
    "datagram": ("payload", "end_of_group"),  # those with a status have neither in 14
    **dict.fromkeys(ERRORS_14.split(), ("retry_interval",)),  # 14 has none
}
"What we read and its class has no field for, by messages."
FILTERS = {
    FilterType.UNFILTERED: 0,
    FilterType.NEXT_GROUP_START: 1,
    FilterType.RELATIVE_START: 1,
    FilterType.ABSOLUTE_START: 2,
    FilterType.ABSOLUTE_RANGE: 3,
    FilterType.FULL_RANGE: 4,
    FilterType.LARGEST_OBJECT: 5,
}
"Its types of location filters, from draft 20 on."


def plain(value: Any) -> Any:
    """A value as the other side gives it."""
    if isinstance(value, KeyValues):
        return {str(int(key)): plain(item) for key, item in value.pairs} or None
    if isinstance(value, Filter):
        start, first = value.start, 0 if value.type is FilterType.NEXT_GROUP_START else value.groups_back
        return {
            "type": FILTERS[value.type],
            "start_group": start.group if start else first,
            "start_object": start.object if start else None,
            "end_group": value.end_group,
            "end_object": value.end_object,
        }
    if isinstance(value, RangeFilter):
        return {name: plain(getattr(value, name)) for name in ("set_id", "ranges", "property_type")}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def named(item: Any, draft: Draft) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What we read, by the names that it has in aiomoqt."""
    for name, value in vars(item).items():
        if name == "stream_count" and value == UNKNOWN_STREAM_COUNT:
            yield (name,), draft.unknown_stream_count
        elif name in ATTRIBUTES and value is not None:
            yield ATTRIBUTES[name], plain(value)
    asked = getattr(item, "range", None)
    if asked is not None:
        yield from named(asked, draft)
    for before, place in (("start", getattr(item, "start", None)), ("end", getattr(item, "end", None))):
        if place is not None:
            yield (f"{before}_group", "largest_group_id"), place.group
            yield (f"{before}_object", "largest_object_id"), place.object
    for key in getattr(item, "parameters", ()):
        values = item.parameters.all(key)
        row = parameter_layout(key, draft) if isinstance(key, Parameter) else None
        places = (f"parameters {key if row is None else row.number}", *ATTRIBUTES.get(key, ()))
        if key is Parameter.LARGEST_OBJECT:
            yield ("largest_group_id",), values[0].group
            yield ("largest_object_id",), values[0].object
        elif key is Parameter.SUBSCRIPTION_FILTER:
            yield from named_filter(item, values[0], draft)
        elif row is not None and row.codec.kind == "range filter":
            yield places, plain(values)
        elif isinstance(values[-1], int):
            yield places, int(values[-1])


def named_filter(item: Any, value: Filter, draft: Draft) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A filter by the names that it has there: one value from draft 20 on, several fields before."""
    if draft.number in COUNTED_FILTERS:
        yield ("location_filter", "parameters 33"), plain(value)
        return
    plus = int(isinstance(item, RequestUpdate))  # draft 14's has the group behind the last one
    if value.start is not None:
        yield ("start_group",), value.start.group
        yield ("start_object",), value.start.object
    if value.end_group is not None:
        yield ("end_group",), value.end_group + plus
    yield ("filter_type",), int(value.type)


COUNTED_FILTERS = (20, 22)


def misread(found: Example, read: Any) -> list[str]:
    """What has another value there than here."""
    wrong = []
    ours, theirs = (found.ours, read) if isinstance(found.ours, list) else ([found.ours], [read])
    for item, fields in zip(ours, theirs, strict=True):
        inner = {f"parameters {key}": value for key, value in (fields.get("parameters") or {}).items()}
        have = {name: value for name, value in {**fields, **inner}.items() if value is not None}
        for names, value in named(item, found.draft):
            place = next((name for name in names if name in have), None)
            if place is None and value is not None and names[0] not in NAMELESS.get(found.name, ()):
                wrong.append(
                    f"{found.draft} {found.name}: {names} is {value!r} here, not there: {item} {fields}"
                )
            elif place is not None and have[place] != value:
                wrong.append(
                    f"{found.draft} {found.name}: {place} is {value!r} here, {have[place]!r} there: {item}"
                )
    return wrong


def judge(
    aiomoqt: Aiomoqt, plane: str, examples: list[Example], read: Callable[[Example, bytes], Any]
) -> None:
    """Hold that aiomoqt does with each example what is expected, and that each listed disagreement occurs."""
    wrong: list[str] = []
    occurred: set[int] = set()
    for found in examples:
        answer = aiomoqt.ask(found.draft, plane, found.data, found.descending)
        theirs: Any = REFUSED if "refused" in answer else answer["read"]
        if "written" in answer:
            try:
                theirs = read(found, bytes.fromhex(answer["written"]))
            except MoqtError:
                theirs = UNREADABLE
        expected, rows = expectation(found)
        occurred.update(rows)
        if not found.edit and REFUSED not in (theirs, found.ours):
            wrong += misread(found, answer["read"])
        if not agrees(theirs, expected):
            wrong.append(
                f"{found.draft} {found.name}, {found.edit or 'valid'}: {found.data.hex()}\n"
                f"  we read {found.ours!r} "
                f"{found.refusal}\n  expected {expected!r}\n  theirs {theirs!r}\n  answer {answer}"
            )
    listed = {
        index for index, row in enumerate(DISAGREEMENTS) if row.listed(examples[0].name, examples[0].draft)
    }
    assert not wrong, f"{len(wrong)} of {len(examples)}\n" + "\n".join(sorted(wrong, key=len)[:5])
    assert [DISAGREEMENTS[index].why for index in sorted(listed - occurred)] == []


# ---- the tests -------------------------------------------------------------------------------------

SPOKEN_ROWS = [
    pytest.param(draft, row, id=f"{draft.number}-{row.name}") for draft, row in ROWS if draft.number in SPOKEN
]
SPOKEN_DRAFTS = [pytest.param(DRAFTS[number], id=f"draft-{number}") for number in SPOKEN]


@pytest.mark.parametrize(("draft", "layout"), SPOKEN_ROWS)
def test_messages(aiomoqt: Aiomoqt, draft: Draft, layout: Layout) -> None:
    """Every message of every draft, valid and with one edit, is to both what it is to one."""
    read = partial(read_message, draft, layout.sender or Sender.SERVER)
    examples = [
        example(draft, layout.name, edit, frame.encode(draft), read, made_of=message)
        for message in drawn(messages(draft, layout), EXAMPLES)
        for edit, frame in variants(draft, layout, message)
    ]
    first = examples[0].made_of
    for frame in (*coded(draft, layout, first), *with_each_parameter(draft, layout, first)):
        made = example(draft, layout.name, "", frame.encode(draft), read)
        examples.append(dataclasses.replace(made, made_of=made.ours))

    judge(aiomoqt, "control", examples, lambda _, data: read(data))


@pytest.mark.parametrize("draft", SPOKEN_DRAFTS)
def test_message_types(aiomoqt: Aiomoqt, draft: Draft) -> None:
    """Both know the same types of messages."""
    types = [*range(0x60), *range(0x2F00, 0x2F10)]
    known = {number for number in types for sender in Sender if layout_of_type(draft, number, sender)}
    theirs = set()
    for number in types:
        refusal = aiomoqt.ask(draft, "control", Frame(number).encode(draft)).get("refused", "")
        theirs |= {number} - ({number} if refusal.startswith("Refused: message type") else set())

    assert known ^ theirs == set()


def written(draft: Draft, header: Any, items: list[Any], descending: bool = False) -> bytes:
    """A data stream's bytes."""
    if isinstance(header, SubgroupHeader):
        subgroup = SubgroupEncoder(header, draft)
        return subgroup.header() + b"".join(map(subgroup.object, items))
    fetch = FetchEncoder(draft, descending=descending)
    return fetch.header(header) + b"".join(
        fetch.range_end(item) if isinstance(item, FetchRangeEnd) else fetch.object(item) for item in items
    )


def subgroup_with_status(draft: Draft) -> Iterator[tuple[SubgroupHeader, list[StreamObject]]]:
    """Properties on each status that may have them."""
    for status in sorted(draft.statuses_with_properties):
        yield SubgroupHeader(0, 0, has_properties=True), [StreamObject(0, b"", status, KeyValues({0x3C: 1}))]


def behind_a_datagram(draft: Draft) -> list[FetchObject]:
    """An object of subgroup 1, behind one that was published as a datagram where the draft can say so."""
    return [FetchObject(0, None if draft.fetch_ranges else 0, 0, 0, b"x"), FetchObject(0, 1, 1, 0, b"y")]


NO_PROPERTIES = bytes([0x01, 0, 0, 0, 128, 0])
"A datagram that says it has properties, and has none."


def small_datagrams(draft: Draft) -> Iterator[ObjectDatagram]:
    """With object id 0, with a status, and with the priority of the subscription where that can be said."""
    yield ObjectDatagram(0, 0, 0, 0, b"x")
    yield ObjectDatagram(0, 0, 1, 0, status=0)
    if draft.datagram_flags & 0x08:
        yield ObjectDatagram(0, 0, 1, None, b"x")


def data_edits(data: bytes) -> list[tuple[str, bytes]]:
    """Bytes of the data plane, and with one edit each."""
    return [("", data), ("a byte less", data[:-1]), ("a byte more", data + b"\x00")]


@pytest.mark.parametrize("draft", SPOKEN_DRAFTS)
def test_subgroup_streams(aiomoqt: Aiomoqt, draft: Draft) -> None:
    """A subgroup stream is to both the same header and objects."""
    examples = [
        example(draft, "subgroup", edit, data, partial(read_stream, draft, False))
        for header, objects in [*drawn(subgroups(draft), STREAMS), *subgroup_with_status(draft)]
        for edit, data in data_edits(written(draft, header, objects))
    ]

    judge(aiomoqt, "stream", examples, lambda _, data: read_stream(draft, False, data))


@pytest.mark.parametrize("draft", SPOKEN_DRAFTS)
def test_fetch_streams(aiomoqt: Aiomoqt, draft: Draft) -> None:
    """A fetch stream is to both the same objects, in either order of groups."""
    streams = [*drawn(fetches(draft), STREAMS), (False, behind_a_datagram(draft))]
    examples = [
        example(draft, "fetch", edit, data, partial(read_stream, draft, order), descending=order)
        for order, items in streams
        for edit, data in data_edits(written(draft, 7, items, order))
    ]

    judge(aiomoqt, "stream", examples, lambda found, data: read_stream(draft, found.descending, data))


@pytest.mark.parametrize("draft", SPOKEN_DRAFTS)
def test_datagrams(aiomoqt: Aiomoqt, draft: Draft) -> None:
    """A datagram is to both the same object."""
    examples = [
        example(draft, "datagram", edit, data, partial(decode_datagram, draft=draft))
        for item in [*drawn(datagrams(draft), STREAMS), *small_datagrams(draft)]
        for edit, data in data_edits(encode_datagram(item, draft))
        if data
    ]

    examples.append(example(draft, "datagram", "", NO_PROPERTIES, partial(decode_datagram, draft=draft)))

    judge(aiomoqt, "datagram", examples, lambda _, data: decode_datagram(data, draft))
