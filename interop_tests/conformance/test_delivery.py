"""`data-subgroup-basic`: the objects of a publisher come to a subscriber, all of them, once and unchanged.

A candidate for the runner's catalogue (revision 1), word for word: its namespace, its objects, its times.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from pytest_moqt import (
    UNKNOWN_STREAM_COUNT,
    CaseFailure,
    ClientSession,
    DataStreamEnded,
    DataStreamReset,
    GroupOrder,
    KeyValues,
    ObjectReceived,
    Parameter,
    PublishDone,
    PublishDoneStatus,
    PublishNamespace,
    RelayUnderTest,
    RequestOk,
    StreamObject,
    SubgroupHeader,
    Subscribe,
    SubscribeOk,
)

from .waits import within

NAMESPACE = "moq-interop/data-subgroup-basic"
TRACK = b"track"
ALIAS = 1
GROUPS, OBJECTS = 3, 5
GAP_SECONDS = 0.002
"Between two objects, by the specification."
CONTROL_SECONDS = 5.0
"For each step before the objects."
DELIVERY_SECONDS = 10.0
"From the first object sent to the last stream ended."

Place = tuple[int, int | None, int]
"Group, subgroup and object."


def payload(number: int) -> bytes:
    """What object `number` of each group holds."""
    return b"\x74" * (64 if number == 0 else 32)


SENT: dict[Place, bytes] = {
    (group, 0, number): payload(number) for group in range(GROUPS) for number in range(OBJECTS)
}


class Delivery:
    """What a subscriber got of one track; what comes under other aliases is nobody's."""

    def __init__(self, alias: int) -> None:
        self._alias = alias
        self.objects: list[tuple[Place, bytes]] = []
        self.subgroups: dict[int, tuple[int, int | None]] = {}
        "Group and subgroup of each stream that brought objects."
        self.ended: set[int] = set()
        "Streams that ended with a FIN."
        self.statuses: set[int] = set()
        """Streams that brought ends of groups or of the track: these are no objects, and a relay may say with
        them what the publisher says otherwise (of ranges without objects, `caching-relays`)."""
        self.reset: set[int] = set()

    def take(self, event: ObjectReceived | DataStreamEnded | DataStreamReset) -> None:
        """Take an object, or the end of a stream."""
        header = event.header
        if not isinstance(header, SubgroupHeader) or header.track_alias != self._alias:
            return
        if isinstance(event, DataStreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, DataStreamReset):
            self.reset.add(event.stream_id)
        elif isinstance(event.object, StreamObject) and event.object.status:
            self.statuses.add(event.stream_id)
        elif isinstance(event.object, StreamObject):
            number = event.object.object_id
            subgroup = number if header.subgroup_id is None else header.subgroup_id
            place = self.subgroups.setdefault(event.stream_id, (header.group_id, subgroup))
            self.objects.append(((*place, number), event.object.payload))

    @property
    def streams(self) -> int:
        """How many streams have ended, one way or the other."""
        return len(self.ended | self.reset)

    @property
    def missing(self) -> list[Place]:
        """What was sent and did not come."""
        return sorted(SENT.keys() - {place for place, _ in self.objects})

    @property
    def surplus(self) -> list[Place]:
        """What came and was not sent, or came more often than it was sent."""
        return sorted((Counter(place for place, _ in self.objects) - Counter(list(SENT))).elements())

    @property
    def changed(self) -> list[tuple[Place, bytes]]:
        """What came with other bytes than it was sent with."""
        return [(place, came) for place, came in self.objects if came != SENT.get(place, came)]

    @property
    def divided(self) -> list[tuple[int, int | None]]:
        """Subgroups that came on more streams than one."""
        return sorted((Counter(self.subgroups.values()) - Counter(set(self.subgroups.values()))).keys())

    async def take_what_came(self, subscriber: ClientSession) -> None:
        """Take what is there, and wait for nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                while True:
                    self.take(await subscriber.receive_object())


async def publish(publisher: ClientSession, subscription: Subscribe) -> None:
    """Send every object, and say that this was all."""
    for group in range(GROUPS):
        stream = publisher.open_subgroup(
            SubgroupHeader(ALIAS, group, first_object=publisher.draft.has_first_object)
        )
        for number in range(OBJECTS):
            stream.write(StreamObject(number, payload(number)))
            # Not a wait for something: the case is specified with this gap.
            await asyncio.sleep(GAP_SECONDS)
        stream.finish()
    await publisher.send(subscription, PublishDone(PublishDoneStatus.TRACK_ENDED, GROUPS, ""))


async def drain(subscriber: ClientSession, subscription: Subscribe, delivery: Delivery) -> PublishDone:
    """Take what is delivered, until the streams that PUBLISH_DONE counts have ended or the time is up."""
    done: PublishDone | None = None
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            done = await subscriber.receive_later(subscription, PublishDone)
            while delivery.streams < done.stream_count:
                delivery.take(await subscriber.receive_object())
            # Whatever came in excess was on its way by now.
            await subscriber.settle()
    except TimeoutError:
        if done is None:
            raise CaseFailure(
                f"no PUBLISH_DONE within {DELIVERY_SECONDS * 1000:.0f} ms",
                cause="timeout",
                expected="PUBLISH_DONE about the subscription",
                received="timeout",
            ) from None
    await delivery.take_what_came(subscriber)
    return done


@pytest.mark.interop("data-subgroup-basic", timeout=25.0, profile="data")
@pytest.mark.spec("model-subgroup", "subgroup-header", "message-publish-done")
async def test_data_subgroup_basic(relay: RelayUnderTest) -> None:
    """Fifteen objects in three groups come to the subscriber, and then the track's end."""
    namespace = relay.namespace(NAMESPACE)
    ascending: KeyValues[Parameter | int, GroupOrder] = KeyValues(
        [(Parameter.GROUP_ORDER, GroupOrder.ASCENDING)]
    )
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        async with within(CONTROL_SECONDS, "answer to PUBLISH_NAMESPACE"):
            await publisher.request(PublishNamespace(namespace), expect=RequestOk)
        async with within(CONTROL_SECONDS, "subscription"):
            subscription = await subscriber.open(Subscribe(namespace, TRACK, ascending))
            async with asyncio.TaskGroup() as tasks:
                answer = tasks.create_task(subscriber.expect(subscription, SubscribeOk))
                routed = await publisher.receive(Subscribe)
                await publisher.reply(routed, SubscribeOk(track_alias=ALIAS))
        assert (routed.track_namespace, routed.track_name) == (namespace, TRACK)

        delivery = Delivery(answer.result().track_alias)
        await publish(publisher, routed)
        done = await drain(subscriber, subscription, delivery)

    assert delivery.missing == []
    assert delivery.surplus == []
    assert delivery.changed == []
    assert delivery.divided == []
    assert (len(delivery.ended & delivery.subgroups.keys()), len(delivery.reset)) == (GROUPS, 0)
    assert done.status == PublishDoneStatus.TRACK_ENDED
    others = len(delivery.statuses - delivery.subgroups.keys())
    assert done.stream_count in (GROUPS, GROUPS + others, UNKNOWN_STREAM_COUNT)
