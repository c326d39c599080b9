"""Writes the corpus: `python -m tests.fuzz.seeds`.

Every message of every draft as our encoders write it, with all the parameters that it may have, the vectors
that others wrote, data streams, capsules and whole sessions of both ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_moqt import tap
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.fields import Lifted
from pytest_moqt.protocol.framing import encode, encode_by
from pytest_moqt.protocol.layouts import Layout, Sender, Stream, layouts_of
from pytest_moqt.protocol.notation import to_json
from pytest_moqt.protocol.objects import (
    PADDING_DATAGRAM,
    PADDING_STREAM,
    FetchEncoder,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.parameter_layouts import PARAMETER_LAYOUTS, ParametersField
from pytest_moqt.protocol.parameters import Parameter, Property, SetupOption
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    KeyValues,
    Location,
    RangeFilter,
    Redirect,
    Token,
    TokenAlias,
)
from pytest_moqt.protocol.varint import QUIC_VARINT, VI64, VI64_17
from pytest_moqt.protocol.webtransport import (
    CapsuleType,
    encode_capsule,
    encode_close,
    format_available_protocols,
    stream_header,
    wire_code,
)
from pytest_moqt.protocol.webtransport import encode_datagram as encode_http_datagram
from tests.fuzz import corpus
from tests.fuzz.corpus import Entry
from tests.fuzz.session_targets import (
    CLOSED,
    DATA,
    DATA_FIN,
    DATAGRAM,
    FIN,
    OUR_ACTS,
    OURS,
    RESET,
    STOP,
    setup_of,
)
from tests.fuzz.text_targets import FORGERIES

VECTORS = Path(__file__).parents[1] / "vectors"

_PARAMETER_VALUES: dict[Any, Any] = {
    "token": Token(TokenAlias.USE_VALUE, None, 0, b"token"),
    "location": Location(1, 2),
    "filter": Filter(FilterType.ABSOLUTE_RANGE, Location(1, 2), 3),
    "location filter": Filter(FilterType.ABSOLUTE_RANGE, Location(1, 2), 3),
    "range filter": RangeFilter(0, ((3, 5), (10, None))),
    "namespace": (b"a",),
    Parameter.OBJECT_PROPERTY_FILTER: RangeFilter(1, ((100, None),), 0x10),
    Parameter.TRACK_PROPERTY_FILTER: RangeFilter(1, ((100, None),), 0x10),
    Parameter.FILL_PARAMETERS: KeyValues(
        {
            Parameter.FILL_TIMEOUT: 200,
            Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.RELATIVE_START, groups_back=1),
        }
    ),
}
"By parameter, or by kind of value."
_VALUES: dict[str, Any] = {
    "options": KeyValues(
        {SetupOption.MOQT_IMPLEMENTATION: b"seed", SetupOption.MAX_AUTH_TOKEN_CACHE_SIZE: 9}
    ),
    "new_session_uri": "moqt://relay/",
    "timeout_ms": 500,
    "request_id": 2,
    "existing_request_id": 0,
    "maximum": 200,
    "code": RequestErrorCode.INTERNAL_ERROR,
    "reason": "no",
    "retry_interval": 70,
    "status": PublishDoneStatus.TRACK_ENDED,
    "stream_count": 3,
    "track_namespace": (b"a", b"b"),
    "track_namespace_prefix": (b"a",),
    "track_namespace_suffix": (b"b",),
    "track_name": b"t",
    "track_alias": 7,
    "range": m.StandaloneFetch((b"a", b"b"), b"t", Location(0, 0), Location(1, 2)),
    "end_of_track": True,
    "end": Location(1, 2),
    "subscribe_options": 1,
}
_TRACK_PROPERTIES = {
    Property.MAX_CACHE_DURATION: 1000,
    Property.IMMUTABLE_PROPERTIES: b"\x02\x01",
    Property.DEFAULT_PUBLISHER_GROUP_ORDER: 2,
    Property.DYNAMIC_GROUPS: 1,
}


def message(draft: Draft, layout: Layout) -> m.Message:
    """A message of a row, with everything that it may have."""
    given: dict[str, Any] = {}
    for row in layout.fields:
        for name in row.attributes:
            if name in _VALUES:
                given[name] = _VALUES[name]
        if isinstance(row, ParametersField):
            given["parameters"] = _parameters(draft, row)
        elif isinstance(row, Lifted) and row.into == "track_properties":
            given["track_properties"] = KeyValues({row.key: 2})
        elif row.name == "track_properties":
            given["track_properties"] = KeyValues(_TRACK_PROPERTIES)
        elif row.name == "versions":
            given["versions"] = (draft.version_code,)
    return layout.message(**given)


def _parameters(draft: Draft, row: ParametersField) -> KeyValues[Any, Any]:
    pairs: dict[Any, Any] = {
        known.parameter: _PARAMETER_VALUES.get(known.parameter, _PARAMETER_VALUES.get(known.codec.kind, 1))
        for known in PARAMETER_LAYOUTS
        if draft.number in known.span and known.scope & row.scopes
    }
    if Parameter.SUBSCRIPTION_FILTER in row.lifted:
        pairs[Parameter.SUBSCRIPTION_FILTER] = _PARAMETER_VALUES["filter"]
    return KeyValues(pairs)


def _name(*parts: Any) -> str:
    return "-".join(str(part).lower().replace(" ", "-").replace("_", "-") for part in parts)


def _each() -> Iterator[tuple[Draft, Layout, bytes]]:
    """Every row, and its message on the wire."""
    for draft in DRAFTS.values():
        for layout in layouts_of(draft):
            yield draft, layout, encode_by(message(draft, layout), layout, draft).encode(draft)


def _vectors(kind: str) -> Iterator[tuple[Draft, dict[str, Any], bytes]]:
    for draft in DRAFTS.values():
        said = json.loads((VECTORS / f"draft{draft.number}.json").read_text(encoding="utf-8"))
        for number, entry in enumerate(said[kind]):
            yield draft, {"id": f"{kind}-{number}", **entry}, bytes.fromhex(entry["hex"])


# ---- by target -------------------------------------------------------------------------------------


def integers() -> Iterator[Entry]:
    """Each length of each coding."""
    for coding in (QUIC_VARINT, VI64_17, VI64):
        for length in coding.lengths:
            yield Entry(_name(coding.name, length), coding.encode(coding.capacity(length), length))


def control() -> Iterator[Entry]:
    """Every message of every draft."""
    for draft, layout, octets in _each():
        sender = int(layout.sender is Sender.CLIENT)
        yield Entry(_name(draft.number, layout.name), bytes([draft.number, sender]) + octets)
    for draft, entry, octets in _vectors("messages"):
        sender = int(entry.get("sender") == "client")
        yield Entry(_name(draft.number, "vector", entry["id"]), bytes([draft.number, sender]) + octets)
    for draft in DRAFTS.values():
        redirect = m.RequestError(RequestErrorCode.REDIRECT, "", redirect=Redirect("moqt://h", (b"a",), b"t"))
        if draft.goaway_on_requests:
            frame = encode(redirect, draft, sender=Sender.SERVER).encode(draft)
            yield Entry(_name(draft.number, "redirect"), bytes([draft.number, 0]) + frame)


def _subgroup(draft: Draft, **header: Any) -> bytes:
    encoder = SubgroupEncoder(SubgroupHeader(7, 3, has_properties=True, **header), draft)
    properties = KeyValues({Property.PRIOR_GROUP_ID_GAP: 2, Property.IMMUTABLE_PROPERTIES: b"\x02\x01"})
    return (
        encoder.header()
        + encoder.object(StreamObject(0, b"payload", properties=properties))
        + encoder.object(StreamObject(300, b"x" * 70))
        + encoder.object(StreamObject(301, b"", status=3))
    )


def _fetch(draft: Draft, *, descending: bool = False) -> bytes:
    encoder = FetchEncoder(draft, descending=descending)
    second = 1 if descending else 9
    items: list[FetchObject | FetchRangeEnd] = [
        FetchObject(5, 0, 0, 128, b"payload", KeyValues({Property.PRIOR_OBJECT_ID_GAP: 1})),
        FetchObject(5, 0, 1, 128, b"next"),
        FetchObject(5, 2, 7, 9, b""),
        FetchObject(second, 2, 0, 9, b"other group"),
    ]
    items += [FetchRangeEnd(flags, second, 4) for flags in sorted(draft.fetch_ranges)]
    written = encoder.header(2)
    for item in items:
        written += encoder.range_end(item) if isinstance(item, FetchRangeEnd) else encoder.object(item)
    return written


def _streams() -> Iterator[tuple[Draft, str, int, bytes]]:
    """Data streams; the number is 1 for descending order."""
    for draft in DRAFTS.values():
        yield draft, "subgroup", 0, _subgroup(draft, subgroup_id=0, subgroup_id_field=False)
        yield draft, "subgroup-of-the-first-object", 0, _subgroup(draft, subgroup_id=None)
        yield draft, "subgroup-by-id", 0, _subgroup(draft, subgroup_id=70, end_of_group=True)
        yield draft, "fetch", 0, _fetch(draft)
        yield draft, "fetch-descending", 1, _fetch(draft, descending=True)
        if draft.padding:
            yield draft, "padding", 0, draft.integers.encode(PADDING_STREAM) + bytes(9)
    for draft, entry, octets in _vectors("streams"):
        yield draft, f"vector-{entry['id']}", 0, octets


def data() -> Iterator[Entry]:
    """Subgroups and fetches of every shape."""
    for draft, name, descending, octets in _streams():
        yield Entry(_name(draft.number, name), bytes([draft.number, descending]) + octets)


def _datagrams() -> Iterator[tuple[Draft, str, bytes]]:
    for draft in DRAFTS.values():
        properties = KeyValues({Property.PRIOR_GROUP_ID_GAP: 2})
        yield draft, "payload", encode_datagram(ObjectDatagram(7, 3, 1, 9, b"x", None, properties), draft)
        yield draft, "end", encode_datagram(ObjectDatagram(7, 3, 1, 9, b"x", end_of_group=True), draft)
        yield draft, "status", encode_datagram(ObjectDatagram(7, 3, 1, 9, status=3), draft)
        zero = ObjectDatagram(7, 3, 0, 9, b"x", object_id_field=False)
        yield draft, "object-zero", encode_datagram(zero, draft)
        if draft.padding:
            yield draft, "padding", draft.integers.encode(PADDING_DATAGRAM) + bytes(5)
    for draft, entry, octets in _vectors("datagrams"):
        yield draft, f"vector-{entry['id']}", octets


def datagram() -> Iterator[Entry]:
    """Datagrams of every shape."""
    for draft, name, octets in _datagrams():
        yield Entry(_name(draft.number, name), bytes([draft.number]) + octets)


def capsules() -> Iterator[Entry]:
    """What stands on a CONNECT stream."""
    drain = encode_capsule(CapsuleType.DRAIN_WEBTRANSPORT_SESSION)
    yield Entry("close", b"\x01" + encode_close(3, "grün"))
    yield Entry("drain-grease-close", b"\x01" + drain + encode_capsule(0x29, b"grease") + encode_close(0))
    yield Entry("endless", b"\x00" + bytes.fromhex("29ffffffffffffffff") + bytes(9))
    yield Entry("too-long", b"\x00" + bytes.fromhex("6843ffffffffffffffff"))
    yield Entry("cut-off", b"\x01" + encode_close(3, "reason")[:-1])


def headers() -> Iterator[Entry]:
    """Stream headers, datagrams, codes and sub-protocols."""
    for stream_id, unidirectional in ((0, False), (1, False), (2, True), (3, True)):
        octets = stream_header(4, unidirectional=unidirectional) + b"payload"
        yield Entry(f"stream-{stream_id}", bytes([stream_id, 0]) + octets)
    yield Entry("http3-control", bytes.fromhex("0300" + "000402014005"))
    yield Entry("datagram", b"\x00\x01" + encode_http_datagram(4, b"payload"))
    yield Entry("code", b"\x00\x01" + encode_http_datagram(wire_code(3), b""))
    yield Entry("protocols", b"\x00\x02" + format_available_protocols(["moqt-18", 'a"\\', "x,y"]).encode())
    yield Entry("protocols-of-tokens", b"\x00\x02moqt-18;q=1, moqt-16\t,b")


def _act(kind: int, *rest: int | bytes) -> bytes:
    return bytes([kind]) + b"".join(part if isinstance(part, bytes) else bytes([part]) for part in rest)


def _say(stream_id: int, octets: bytes, *, fin: bool = False) -> bytes:
    return _act(DATA_FIN if fin else DATA, stream_id, len(octets).to_bytes(2, "big"), octets)


def _requests(draft: Draft) -> Iterator[tuple[int, Layout, bytes]]:
    """The rows that begin, answer or follow a request, and which of the target's requests they are about."""
    asked = (m.Subscribe, m.PublishNamespace, m.SubscribeNamespace, m.SubscribeTracks, m.Fetch, m.Publish)
    for layout in layouts_of(draft):
        whole = message(draft, layout)
        if hasattr(whole, "request_id"):
            own = 1 if Stream.FIRST in layout.stream else 0
            whole = type(whole)(**{**vars(whole), "request_id": own})
        octets = encode_by(whole, layout, draft).encode(draft)
        for number, kind in enumerate((*asked, m.TrackStatus)):
            if kind in layout.answers:
                yield number, layout, octets
        if not layout.answers and layout.sender is None:
            yield 0, layout, octets


def request() -> Iterator[Entry]:
    """Each answer to each request, and each request of the peer's."""
    for draft in DRAFTS.values():
        for number, layout, octets in _requests(draft):
            how = 8 if Stream.FIRST in layout.stream else 0
            yield Entry(_name(draft.number, layout.name, number), bytes([draft.number, number, how]) + octets)


def session() -> Iterator[Entry]:
    """Conversations of both ends: requests, answers, objects, and every way to end them."""
    for draft in DRAFTS.values():
        single = draft.topology is Topology.SINGLE_CONTROL_STREAM
        for sender in Sender:
            peer = Sender.CLIENT if sender is Sender.SERVER else Sender.SERVER
            own, asked = (0, 1) if sender is Sender.CLIENT else (1, 0)
            control = 0 if single else (3 if peer is Sender.SERVER else 2)
            theirs = 1 if peer is Sender.SERVER else (4 if single else 0)
            data_stream = 7 if peer is Sender.SERVER else 6

            def of(
                said: m.Message, answering: Any = None, draft: Draft = draft, peer: Sender = peer
            ) -> bytes:
                return encode(said, draft, sender=peer, answering=answering).encode(draft)

            subscribe = m.Subscribe((b"a",), b"t", request_id=asked)
            request_stream = control if single else theirs
            answer_stream = control if single else (0 if sender is Sender.CLIENT else 1)
            ok = of(m.SubscribeOk(7, request_id=own), m.Subscribe)
            head = bytes([draft.number, int(sender is Sender.SERVER)])
            name = f"{draft.number}-{sender.value}"
            yield Entry(f"{name}-asked", head + _say(request_stream, of(subscribe)) + _act(OURS, 4 + 9 * 1))
            yield Entry(
                f"{name}-asks",
                head
                + _act(OURS, 0)
                + _say(answer_stream, ok)
                + _act(OURS, 3)
                + _act(OURS, 6)
                + _act(OURS, 7),
            )
            yield Entry(
                f"{name}-objects",
                head
                + _act(OURS, 0)
                + _say(answer_stream, ok)
                + _say(data_stream, _subgroup(draft, subgroup_id=0), fin=True)
                + _say(data_stream + 4, _fetch(draft))
                + _act(RESET, data_stream + 4, 1)
                + b"".join(
                    _act(DATAGRAM, len(octets), octets) for row, _, octets in _datagrams() if row is draft
                ),
            )
            yield Entry(
                f"{name}-ends",
                head + _act(OURS, 2) + _act(STOP, answer_stream, 1) + _act(FIN, 5) + _act(CLOSED, 3),
            )
            yield Entry(
                f"{name}-setup-late",
                bytes([draft.number, 4 | head[1]]) + _say(control, of(setup_of(draft))) * 2,
            )
            acts = b"".join(_act(OURS, number) for number in range(3 * len(OUR_ACTS)))
            yield Entry(f"{name}-acts", head + acts)


def decode() -> Iterator[Entry]:
    """What the command reads: control and request streams, data streams, datagrams."""
    for draft, layout, octets in _each():
        flags = 0 if layout.sender is None else 6 if layout.sender is Sender.CLIENT else 4
        yield Entry(_name(draft.number, layout.name), bytes([draft.number, 0, flags]) + octets)
    for draft, name, _, octets in _streams():
        stream = 3 if "fetch" in name else 2
        yield Entry(_name(draft.number, name), bytes([draft.number, stream, 0]) + octets)
    for draft, name, octets in _datagrams():
        yield Entry(_name(draft.number, "datagram", name), bytes([draft.number, 4, 0]) + octets)


def encode_texts() -> Iterator[Entry]:
    """What the command writes."""
    for draft, layout, _ in _each():
        text = json.dumps(to_json(message(draft, layout)), separators=(",", ":"))
        yield Entry(_name(draft.number, layout.name), bytes([draft.number]) + text.encode())
    for draft in DRAFTS.values():
        stream = [SubgroupHeader(7, 3, 0, 9), StreamObject(0, b"x"), StreamObject(1, b"", status=3)]
        fetch = [m.Message(), FetchObject(1, 0, 0, 9, b"x")]
        for name, items in (
            ("subgroup", stream),
            ("fetch", fetch),
            ("datagram", [ObjectDatagram(7, 3, 1, 9)]),
        ):
            text = json.dumps([to_json(item) for item in items], separators=(",", ":"))
            yield Entry(_name(draft.number, name), bytes([draft.number]) + text.encode())


def report() -> Iterator[Entry]:
    """Every forgery, as a name, in a list and as a key."""
    for number in range(len(FORGERIES)):
        forgery = bytes([2, number, 0])
        pairs = forgery + b"\x03\x02" + 2 * (b"\x06" + forgery) + b"\x00\x02ab\x06" + forgery
        yield Entry(f"forgery-{number}", 3 * forgery + b"\x02" + pairs)


def lint() -> Iterator[Entry]:
    """A whole document, the same in a log of docker compose, and each forgery in a document."""
    block = tap.yaml_block(
        {"message": "refused", "sessions": {"client": {"alpn": "moqt-18"}}, "list": [1, None]}
    )
    head = tap.VERSION + tap.comment("Relay: moqt://relay.example:4443") + tap.plan(3)
    points = (
        tap.point(True, 1, "setup-only")
        + tap.subtest("announce-only", [("step", True, ""), ("other", True, "SKIP why")])
        + tap.point(True, 2, "announce-only", "SKIP", "no reason")
        + tap.point(False, 3, "subscribe-error")
        + block
    )
    yield Entry("document", (head + points).encode())
    yield Entry("bailed-out", (head + tap.bail_out("the UDP port is closed")).encode())
    log = "".join(f"test-client-1  | {line}\n" for line in (head + points).splitlines())
    yield Entry("log", log.encode())
    for number, forgery in enumerate(FORGERIES):
        text = tap.VERSION + tap.plan(1) + f"ok 1 - {forgery}\n  ---\n  key: {forgery}\n  ...\n"
        yield Entry(f"forgery-{number}", text.encode("utf-8", "surrogatepass"))


SEEDS = {
    "integers": integers,
    "control": control,
    "data": data,
    "datagram": datagram,
    "capsules": capsules,
    "headers": headers,
    "request": request,
    "session": session,
    "decode": decode,
    "encode": encode_texts,
    "report": report,
    "lint": lint,
}


def text_of(target: str) -> str:
    """What stands in a target's file: each input once."""
    unique = {entry.octets: entry for entry in reversed(list(SEEDS[target]()))}
    return corpus.written(reversed(unique.values()))


def main() -> None:
    """Write all files of seeds; those of findings are not touched."""
    corpus.FOLDER.mkdir(exist_ok=True)
    for target in SEEDS:
        corpus.path(target).write_text(text_of(target), encoding="ascii")


if __name__ == "__main__":
    main()
