"""Relays that are wrong about objects, subgroups and datagrams.

Rules:

- What a case of the runner's catalogue sees too is in `delivery`; here is what those cannot see.
- Each is wrong in one way about every track; streams and datagrams stay such that they can be read.
"""

from __future__ import annotations

import dataclasses

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.objects import ObjectDatagram, ObjectPart, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.registries import SessionError, StreamError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import CONFORMANCE, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

SHORT = (1 << 16) - 1
"Bytes: the longest payload whose length has two bytes."
LOST = 1 << 16
LONG = 2 << 20
"Bytes of a stream that are many."
FEW_OBJECTS = 1024
FEW_SESSIONS = 8
FEW_GROUPS = 100
NARROW = (1 << 32) - 1
"The largest integer of 32 bits."

of_objects = Chapter("Conformance: data", CONFORMANCE)


# ---- objects ---------------------------------------------------------------------------------------


@of_objects.against(
    "payload-cut-at-64-kib",
    "It passes on the first 65535 bytes of an object.",
    {"object-1mib": "data"},
)
class _PayloadCut(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return dataclasses.replace(item, payload=item.payload[:SHORT])


@of_objects.against(
    "objects-stored-first",
    "It passes on nothing of an object before it has all of it.",
    {"object-streamed-incrementally": WARN},
)
class _StoredFirst(Behaviour):
    def passes_parts(self) -> bool:
        return False


@of_objects.against(
    "parts-sent-twice",
    "It passes on each part of a large object twice.",
    {"object-streamed-incrementally": "data"},
)
class _PartsTwice(Behaviour):
    def forward_part(self, part: ObjectPart) -> ObjectPart | None:
        return dataclasses.replace(part, payload=part.payload * 2)


@of_objects.against(
    "last-parts-lost",
    "It ends the stream of a large object 64 KiB before its end.",
    {"object-streamed-incrementally": "data"},
)
class _LastPartsLost(Behaviour):
    def forward_part(self, part: ObjectPart) -> ObjectPart | None:
        return part if part.left >= LOST else None


class _LongStreams(Behaviour):
    """What becomes of a forwarded stream when it gets long."""

    def __init__(self) -> None:
        self._sent: dict[tuple[Session, int], int] = {}

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        place = (session, stream_id)
        before = self._sent.get(place, 0)
        self._sent[place] = before + len(data)
        if self._sent[place] <= LONG:
            super().send_objects(session, stream_id, data, fin)
        elif before <= LONG:
            self.cut(session, stream_id)

    def cut(self, session: Session, stream_id: int) -> None:
        """End a stream that is long enough."""
        raise NotImplementedError


@of_objects.against(
    "long-streams-ended",
    "It ends a stream with a FIN where it has 2 MiB.",
    {"object-16mib": "data"},
)
class _LongStreamsEnded(_LongStreams):
    def cut(self, session: Session, stream_id: int) -> None:
        session.write(stream_id, b"", fin=True)


@of_objects.against(
    "long-streams-reset",
    "It resets a stream with EXCESSIVE_LOAD where it has 2 MiB.",
    {"object-16mib": WARN},
)
class _LongStreamsReset(_LongStreams):
    def cut(self, session: Session, stream_id: int) -> None:
        self.reset_objects(session, stream_id, StreamError.EXCESSIVE_LOAD)


@of_objects.against(
    "empty-objects-dropped",
    "It takes a normal object without payload for none.",
    {"object-empty-payload": "data"},
)
class _EmptyDropped(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return item if item.payload or item.status else None


@of_objects.against(
    "subgroup-ends-at-1024-objects",
    "It passes on the first 1024 objects of a subgroup.",
    {"many-small-objects": "data"},
)
class _FewObjects(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return item if item.object_id < FEW_OBJECTS else None


@of_objects.against(
    "eight-subscribers-served",
    "It sends objects to the first eight sessions that subscribe to any.",
    {"fanout-10": "timeout"},
)
class _EightServed(Behaviour):
    def __init__(self) -> None:
        self._served: list[Session] = []

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        if session not in self._served and len(self._served) < FEW_SESSIONS:
            self._served.append(session)
        if session in self._served:
            super().send_objects(session, stream_id, data, fin)


@of_objects.against(
    "ids-of-32-bits",
    "It keeps the lower 32 bits of a group's id.",
    {"object-fields-preserved": "data"},
)
class _NarrowIds(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, group_id=header.group_id & NARROW)


@of_objects.against(
    "stream-split-at-gaps",
    "It goes on with another stream behind a gap in the ids of objects.",
    {"object-id-gap": "data"},
)
class _SplitAtGaps(Behaviour):
    def __init__(self) -> None:
        self._next = 0

    def breaks_off_before(self, object_id: int) -> bool:
        is_next, self._next = object_id == self._next, object_id + 1
        return not is_next


@of_objects.against(
    "largest-object-untold",
    "It says nothing in SUBSCRIBE_OK of the largest object.",
    {"late-subscriber": "data"},
)
class _LargestUntold(Behaviour):
    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        known = [pair for pair in ok.parameters.pairs if pair[0] is not Parameter.LARGEST_OBJECT]
        super().subscribed(exchange, dataclasses.replace(ok, parameters=KeyValues(known)))


@of_objects.against(
    "a-hundred-groups",
    "It passes on the first hundred groups of a track.",
    {"many-groups": WARN},
)
class _HundredGroups(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return header if header.group_id < FEW_GROUPS else None


@of_objects.against(
    "subgroup-taken-once",
    "It passes on the first stream of a subgroup, and none that repeats what is missing of it.",
    {"object-duplicate-identical": WARN},
)
class _SubgroupTakenOnce(Behaviour):
    def __init__(self) -> None:
        self._taken: set[tuple[int, int | None]] = set()

    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        place = (header.group_id, header.subgroup_id)
        taken = place in self._taken
        self._taken.add(place)
        return None if taken else header


@of_objects.against(
    "duplicates-joined",
    "It passes an object on that it knows with the bytes that it knows of it before the new ones.",
    {"object-duplicate-conflicting": "data"},
)
class _DuplicatesJoined(Behaviour):
    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def forward_object(self, item: StreamObject) -> StreamObject | None:
        known = self._known.setdefault(item.object_id, item.payload)
        return item if known == item.payload else dataclasses.replace(item, payload=known + item.payload)


# ---- properties ------------------------------------------------------------------------------------


def _without(item: StreamObject, *types: int) -> StreamObject:
    """An object without properties of some types."""
    kept = [pair for pair in item.properties.pairs if pair[0] not in types]
    return dataclasses.replace(item, properties=KeyValues(kept))


@of_objects.against(
    "properties-merged",
    "It adds to the properties of an object those of the objects before.",
    {"properties-unknown-preserved": "data"},
)
class _PropertiesMerged(Behaviour):
    def __init__(self) -> None:
        self._known: dict[int, object] = {}

    def forward_object(self, item: StreamObject) -> StreamObject | None:
        self._known.update(item.properties.pairs)
        return dataclasses.replace(item, properties=KeyValues(sorted(self._known.items())))


@of_objects.against(
    "immutable-properties-dropped",
    "It passes objects on without their immutable properties.",
    {"properties-immutable-preserved": "data"},
)
class _ImmutableDropped(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return _without(item, Property.IMMUTABLE_PROPERTIES)


@of_objects.against(
    "gap-properties-dropped",
    "It keeps what objects say of gaps before them to itself.",
    {"properties-gap-preserved": "data"},
)
class _GapsDropped(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return _without(item, Property.PRIOR_GROUP_ID_GAP, Property.PRIOR_OBJECT_ID_GAP)


# ---- subgroups -------------------------------------------------------------------------------------


@of_objects.against(
    "subgroups-numbered-zero",
    "It gives every subgroup the id 0.",
    {"subgroups-parallel": "data", "subgroup-header-variants": "data"},
)
class _SubgroupsZero(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, subgroup_id=0)


@of_objects.against(
    "priorities-levelled",
    "It gives every stream and every datagram the priority 128.",
    {"single-object": "data", "datagram-type-variants": "data"},
)
class _PrioritiesLevelled(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, publisher_priority=128)

    def forward_datagram(self, item: ObjectDatagram) -> ObjectDatagram | None:
        return dataclasses.replace(item, publisher_priority=128)


@of_objects.against(
    "first-object-unsaid",
    "It says of no stream that it begins with the first object of its subgroup.",
    {"first-object-bit": "data"},
    drafts(18),
)
class _FirstObjectUnsaid(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, first_object=False)


@of_objects.against(
    "end-of-group-bit-dropped",
    "It says of no stream and of no datagram that it has the last object of its group.",
    {"subgroup-end-of-group": WARN, "datagram-type-variants": WARN},
)
class _EndOfGroupDropped(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, end_of_group=False)

    def forward_datagram(self, item: ObjectDatagram) -> ObjectDatagram | None:
        return dataclasses.replace(item, end_of_group=False)


@of_objects.against(
    "groups-ended-early",
    "It says of every stream and of every datagram that it has the last object of its group.",
    {"subgroup-header-variants": "data", "datagram-type-variants": "data"},
)
class _GroupsEndedEarly(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, end_of_group=True)

    def forward_datagram(self, item: ObjectDatagram) -> ObjectDatagram | None:
        # A status goes without it (`object-datagram`).
        return dataclasses.replace(item, end_of_group=item.status is None)


@of_objects.against(
    "statuses-dropped",
    "It passes on normal objects only.",
    {"object-status-end-of-track": "timeout"},
)
class _StatusesDropped(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return None if item.status else item


@of_objects.against(
    "reset-becomes-fin",
    "It ends a subscriber's stream with a FIN where the publisher's was reset, or broke off.",
    {
        "subgroup-reset-propagates": "data",
        "publisher-lost-mid-object": "data",
        "stream-fin-mid-object": "data",
    },
)
class _ResetBecomesFin(Behaviour):
    def reset_objects(self, session: Session, stream_id: int, error: StreamError) -> None:  # noqa: ARG002
        session.write(stream_id, b"", fin=True)


@of_objects.against(
    "stopped-subgroup-reopened",
    "It opens another stream for a subgroup whose stream the subscriber has stopped.",
    {"subscriber-stop-sending-subgroup": WARN},
)
class _StoppedReopened(Behaviour):
    def reopens_stopped(self) -> bool:
        return True


@of_objects.against(
    "closes-for-unknown-alias",
    "It ends a session whose client sends objects under a track alias that it has not named.",
    {"unknown-alias-data": WARN, "data-before-subscribe-ok": "closed"},
)
class _ClosesForUnknownAlias(Behaviour):
    def unknown_alias(self, session: Session) -> None:
        session.close(SessionError.PROTOCOL_VIOLATION, "unknown track alias")


@of_objects.against(
    "closes-for-padding",
    "It ends a session whose client sends padding.",
    {"padding-ignored": "closed"},
    drafts(18),
)
class _ClosesForPadding(Behaviour):
    def padded(self, session: Session) -> None:
        session.close(SessionError.PROTOCOL_VIOLATION, "unknown type")


# ---- datagrams -------------------------------------------------------------------------------------


@of_objects.against(
    "datagrams-kept",
    "It passes on no object that came in a datagram.",
    {"datagram-object": "timeout"},
)
class _DatagramsKept(Behaviour):
    def forward_datagram(self, item: ObjectDatagram) -> ObjectDatagram | None:  # noqa: ARG002 - of all
        return None


@of_objects.against(
    "datagrams-dropped-beside-streams",
    "It passes on no datagram of a track that has streams.",
    {"mixed-forwarding-preference": "timeout"},
    drafts(16),
)
class _DatagramsAfterStreams(Behaviour):
    def __init__(self) -> None:
        self._has_streams = False

    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        self._has_streams = True
        return header

    def forward_datagram(self, item: ObjectDatagram) -> ObjectDatagram | None:
        return None if self._has_streams else item


# ---- what no client may send -----------------------------------------------------------------------


@of_objects.against(
    "data-violations-borne",
    "It passes over what no draft allows in data streams and datagrams, and goes on.",
    {
        "object-status-invalid": WARN,
        "object-status-with-properties": "timeout",
        "datagram-properties-length-zero": "timeout",
        "datagram-invalid-type": "timeout",
    },
)
class _DataViolationsBorne(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:  # noqa: ARG002
        return None
