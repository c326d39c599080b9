"""Relays that forward objects wrongly, or tell the end of a track so: what only a case with objects can see.

Rules:

- Each changes what a subscriber gets of a track that a publisher sends correctly; the session itself stays
  such that no codec can find fault with it.
- Where a stream more or less is the wrongness, PUBLISH_DONE counts what was opened: one wrong way at a time.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.registries import PublishDoneStatus, StreamError
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import DELIVERED, WARN, Chapter
from pytest_moqt.relay.session import Session

CHOSEN = 1
"The group, or the object of each subgroup, that is treated wrongly where not all are."
BEHIND_SECONDS = 0.3
"How much later than PUBLISH_DONE objects may come; the draft has subscribers wait for their streams."

in_delivery = Chapter("Delivery")


# ---- objects ---------------------------------------------------------------------------------------


class _OneObject(Behaviour):
    """A relay that treats one object of each subgroup wrongly."""

    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return self.edit(item) if item.object_id == CHOSEN else item

    def edit(self, item: StreamObject) -> StreamObject | None:
        raise NotImplementedError


@in_delivery("objects-kept", "It forwards no object of any track.", DELIVERED, "data")
class _ObjectsKept(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:  # noqa: ARG002 - of all
        return None


@in_delivery(
    "object-dropped",
    "It leaves out the second object of each subgroup.",
    DELIVERED,
    "data",
    suite={"data-subgroup-basic": "data", "single-group": "data", "multiple-groups": "timeout"},
)
class _ObjectDropped(_OneObject):
    def edit(self, item: StreamObject) -> StreamObject | None:  # noqa: ARG002 - dropped
        return None


@in_delivery("object-corrupted", "It changes a bit of the second object of each subgroup.", DELIVERED, "data")
class _ObjectCorrupted(_OneObject):
    def edit(self, item: StreamObject) -> StreamObject | None:
        return dataclasses.replace(item, payload=item.payload[:-1] + bytes([item.payload[-1] ^ 1]))


@in_delivery("object-shortened", "It takes a byte off the second object of each subgroup.", DELIVERED, "data")
class _ObjectShortened(_OneObject):
    def edit(self, item: StreamObject) -> StreamObject | None:
        return dataclasses.replace(item, payload=item.payload[:-1])


@in_delivery("object-lengthened", "It adds a byte to the second object of each subgroup.", DELIVERED, "data")
class _ObjectLengthened(_OneObject):
    def edit(self, item: StreamObject) -> StreamObject | None:
        return dataclasses.replace(item, payload=item.payload + b"\x00")


@in_delivery(
    "object-emptied", "It takes the payload off the second object of each subgroup.", DELIVERED, "data"
)
class _ObjectEmptied(_OneObject):
    def edit(self, item: StreamObject) -> StreamObject | None:
        return dataclasses.replace(item, payload=b"")


@in_delivery("objects-renumbered", "It counts the objects of a subgroup from 1.", DELIVERED, "data")
class _ObjectsRenumbered(Behaviour):
    def forward_object(self, item: StreamObject) -> StreamObject | None:
        return dataclasses.replace(item, object_id=item.object_id + 1)


# ---- streams ---------------------------------------------------------------------------------------


@in_delivery("subgroup-dropped", "It does not forward the second group.", DELIVERED, "data")
class _SubgroupDropped(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return None if header.group_id == CHOSEN else header


@in_delivery("groups-renumbered", "It counts the groups of a track from 1.", DELIVERED, "data")
class _GroupsRenumbered(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, group_id=header.group_id + 1)


@in_delivery("subgroups-renumbered", "It counts the subgroups of a group from 1.", DELIVERED, "data")
class _SubgroupsRenumbered(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, subgroup_id=(header.subgroup_id or 0) + 1)


@in_delivery(
    "alias-wrong", "It forwards objects under another alias than its SUBSCRIBE_OK names.", DELIVERED, "data"
)
class _AliasWrong(Behaviour):
    def forward_header(self, header: SubgroupHeader) -> SubgroupHeader | None:
        return dataclasses.replace(header, track_alias=header.track_alias + 1)


@in_delivery(
    "subgroup-split",
    "It ends a subgroup's stream before its second object, and sends the rest on another.",
    DELIVERED,
    "data",
)
class _SubgroupSplit(Behaviour):
    def breaks_off_before(self, object_id: int) -> bool:
        return object_id == CHOSEN


@in_delivery("subgroup-doubled", "It forwards each subgroup on two streams.", DELIVERED, "data")
class _SubgroupDoubled(Behaviour):
    def __init__(self) -> None:
        self._copies: dict[tuple[Session, int], int] = {}

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        place = (session, stream_id)
        if place not in self._copies:
            self._copies[place] = session.transport.open_stream(unidirectional=True)
        for each in (stream_id, self._copies[place]):
            session.write(each, data, fin=fin)

    def publish_done(self, done: m.PublishDone) -> m.PublishDone | None:
        return dataclasses.replace(done, stream_count=2 * done.stream_count)


@in_delivery("streams-reset", "It resets each stream where the publisher has ended it.", DELIVERED, "data")
class _StreamsReset(Behaviour):
    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        session.write(stream_id, data)
        if fin:
            session.transport.reset(stream_id, session.stream_code(StreamError.INTERNAL_ERROR))


@in_delivery(
    "streams-unfinished",
    "It ends no stream that it forwards.",
    DELIVERED,
    "data",
    suite={"subgroup-fin-propagates": "timeout"},
)
class _StreamsUnfinished(Behaviour):
    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:  # noqa: ARG002
        session.write(stream_id, data)


# ---- PUBLISH_DONE ----------------------------------------------------------------------------------


@in_delivery(
    "publish-done-kept",
    "It keeps the publisher's PUBLISH_DONE to itself.",
    DELIVERED,
    "timeout",
    suite={
        "publish-done-forwarded": "timeout",
        "publish-done-stream-count": "timeout",
        "publish-done-on-publisher-loss": WARN,
    },
)
class _PublishDoneKept(Behaviour):
    def publish_done(self, done: m.PublishDone) -> m.PublishDone | None:  # noqa: ARG002 - kept
        return None


@in_delivery(
    "publish-done-wrong-status",
    "It passes PUBLISH_DONE on with INTERNAL_ERROR where the publisher said TRACK_ENDED.",
    DELIVERED,
    "data",
    suite={"publish-done-forwarded": WARN},
)
class _PublishDoneWrongStatus(Behaviour):
    def publish_done(self, done: m.PublishDone) -> m.PublishDone | None:
        return dataclasses.replace(done, status=PublishDoneStatus.INTERNAL_ERROR)


@in_delivery(
    "publish-done-counts-too-few",
    "It passes PUBLISH_DONE on with a stream less than it opened.",
    DELIVERED,
    "data",
)
class _PublishDoneCountsTooFew(Behaviour):
    def publish_done(self, done: m.PublishDone) -> m.PublishDone | None:
        return dataclasses.replace(done, stream_count=done.stream_count - 1)


@in_delivery(
    "publish-done-counts-too-many",
    "It passes PUBLISH_DONE on with a stream more than it opened.",
    DELIVERED,
    "data",
    suite={"publish-done-stream-count": "timeout"},
)
class _PublishDoneCountsTooMany(Behaviour):
    def publish_done(self, done: m.PublishDone) -> m.PublishDone | None:
        return dataclasses.replace(done, stream_count=done.stream_count + 1)


# ---- what a subscriber has to bear -----------------------------------------------------------------


@in_delivery.lawful(
    "publish-done-uncounted",
    "It passes PUBLISH_DONE on without saying how many streams it opened, for which the draft has a number.",
)
class _PublishDoneUncounted(Behaviour):
    def publish_done(self, done: m.PublishDone) -> m.PublishDone | None:
        return dataclasses.replace(done, stream_count=m.UNKNOWN_STREAM_COUNT)


@in_delivery.lawful(
    "objects-behind-publish-done",
    "Its objects come 0.3 seconds after the PUBLISH_DONE that counts their streams, as on some networks.",
)
class _ObjectsBehindPublishDone(Behaviour):
    def __init__(self) -> None:
        self._behind: defaultdict[Session, deque[tuple[int, bytes, bool]]] = defaultdict(deque)

    def send_objects(self, session: Session, stream_id: int, data: bytes, fin: bool) -> None:
        self._behind[session].append((stream_id, data, fin))
        session.call_later(BEHIND_SECONDS, self._send, session)

    def _send(self, session: Session) -> None:
        # The next in their order, whichever timer it was that fired.
        stream_id, data, fin = self._behind[session].popleft()
        session.write(stream_id, data, fin=fin)
