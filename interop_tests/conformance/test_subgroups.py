"""Subgroups and their streams: which object is on which, what a header says, and how streams end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from pytest_moqt import (
    Draft,
    ObjectDatagram,
    RelayUnderTest,
    SessionEnded,
    StreamObject,
    SubgroupHeader,
    Subscribe,
    SubscribeOk,
    drafts,
)

from .arrivals import Arrivals, Subgroup
from .reactions import harmless
from .tracks import (
    ALIAS,
    NAMESPACE,
    Publication,
    Subscription,
    announce,
    established,
    first_subscribe,
    payload,
    prioritised,
    subscribe,
)
from .waits import REACTION_SECONDS, silence

IDS = (0, 1, 7, 100)
NO_ALIAS = 4242
"A track alias that nobody has named."
END_OF_GROUP = 0x3
"A status (`object-status`)."
CANCELLED = 0x1
"With which a stream is given up; the same number in all drafts (`stream-reset-codes`)."
PADDING_STREAM, PADDING_DATAGRAM = 0x132B3E28, 0x132B3E29
"Types (`padding`)."
PADDING = 256 * 1024
"Bytes."
HALF = 1000
"Bytes of an object of twice as many."


@pytest.mark.interop("subgroups-parallel", timeout=5.0, profile="data")
@pytest.mark.spec("model-subgroup", "subgroup-header")
async def test_subgroups_parallel(relay: RelayUnderTest) -> None:
    """Each subgroup of a group comes on a stream of its own, under its own id, whole."""
    sent = {subgroup: [position + 4 * turn for turn in range(3)] for position, subgroup in enumerate(IDS)}
    async with established(relay) as (publication, subscription):
        streams = {subgroup: publication.open(0, subgroup_id=subgroup) for subgroup in IDS}
        for turn in range(3):
            for subgroup, stream in streams.items():
                number = sent[subgroup][turn]
                stream.write(StreamObject(number, payload(0, number)), fin=turn == 2)

        await subscription.streams(len(IDS))

        came = {stream.id: [item.object_id for item in stream.objects] for stream in subscription.subgroups}
        assert len(subscription.subgroups) == len(IDS)
        assert came == sent
        assert subscription.payloads == {(0, number): payload(0, number) for number in range(12)}


@pytest.mark.interop("subgroup-header-variants", timeout=10.0, profile="data")
@pytest.mark.spec("subgroup-header", "relay-object-handling")
async def test_subgroup_header_variants(relay: RelayUnderTest) -> None:
    """Whatever the type of a SUBGROUP_HEADER, the subgroup's id, priority and last object come as sent."""
    async with prioritised(relay) as (publication, subscription, inherited):
        variants = _variants(relay.draft)
        for group, variant in enumerate(variants):
            publication.group(group, (5, 6), **variant)

        await subscription.streams(len(variants))

        assert {stream.group: _seen(subscription, stream) for stream in subscription.subgroups} == {
            group: _meant(variant, inherited) for group, variant in enumerate(variants)
        }
        assert subscription.places == [(group, number) for group in range(len(variants)) for number in (5, 6)]
        ends = [group for group, variant in enumerate(variants) if variant["end_of_group"]]
        claimed = [stream.group for stream in subscription.subgroups if stream.header.end_of_group]
        assert set(claimed) <= set(ends), "the relay ends groups that the publisher did not"


def _variants(draft: Draft) -> list[dict[str, Any]]:
    """Fields of a SUBGROUP_HEADER, for each type that a draft has."""
    modes: list[dict[str, Any]] = [
        {"subgroup_id": 0, "subgroup_id_field": False},
        {"subgroup_id": None},
        {"subgroup_id": 9},
    ]
    # 14 has no streams without a priority, and no draft before 18 the bit for the first object.
    priorities = (40, None) if draft.number in drafts(15) else (40,)
    firsts = (True, False) if draft.has_first_object else (False,)
    both = (False, True)
    return [
        {
            **mode,
            "publisher_priority": priority,
            "end_of_group": end,
            "has_properties": properties,
            "first_object": first,
        }
        for mode, priority, end, properties, first in itertools.product(modes, priorities, both, both, firsts)
    ]


def _seen(subscription: Subscription, stream: Subgroup) -> tuple[int | None, int]:
    return stream.id, subscription.priority(stream.header)


def _meant(variant: dict[str, Any], inherited: int) -> tuple[int, int]:
    subgroup, priority = variant["subgroup_id"], variant["publisher_priority"]
    return 5 if subgroup is None else subgroup, inherited if priority is None else priority


@pytest.mark.interop("subgroup-fin-propagates", timeout=5.0, profile="data")
@pytest.mark.spec("closing-subgroup-streams")
async def test_subgroup_fin_propagates(relay: RelayUnderTest) -> None:
    """A subgroup's stream ends with a FIN when the publisher ends it, and not before."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        for number in (0, 1):
            stream.write(StreamObject(number, payload(0, number)))
        await subscription.objects((0, 0), (0, 1))
        # Whether it ends by itself.
        await silence()
        await subscription.arrivals.take_what_came()
        early = [each.group for each in subscription.subgroups if each.over]

        stream.finish()

        assert early == [], "the stream was over before the publisher ended it"
        await subscription.streams(1)
        assert [each.ended for each in subscription.subgroups] == [True]


@pytest.mark.interop("subgroup-reset-propagates", timeout=5.0, profile="data")
@pytest.mark.spec("closing-subgroup-streams", "model-subgroup")
async def test_subgroup_reset_propagates(relay: RelayUnderTest) -> None:
    """A subgroup's stream that the publisher resets never ends with a FIN, and other groups come as ever."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        for number in (0, 1):
            stream.write(StreamObject(number, payload(0, number)))
        await subscription.objects((0, 0), (0, 1))

        stream.reset(CANCELLED)
        publication.group(1)

        await subscription.objects(*((1, number) for number in range(4)))
        with relay.should("the stream is reset as the publisher's was"):
            await subscription.arrivals.until(
                lambda: _first(subscription).over, "end of the stream of group 0"
            )
        assert not _first(subscription).ended, "the stream that was reset ends with a FIN"


def _first(subscription: Subscription) -> Subgroup:
    return next(stream for stream in subscription.subgroups if stream.group == 0)


@pytest.mark.interop("publisher-lost-mid-object", timeout=8.0, profile="data")
@pytest.mark.spec("closing-subgroup-streams", "data-streams")
async def test_publisher_lost_mid_object(relay: RelayUnderTest) -> None:
    """What a publisher leaves half sent never looks complete, and its subscriber goes on."""
    async with relay.connect("subscriber") as subscriber:
        async with relay.connect("publisher") as publisher:
            namespace = relay.namespace(NAMESPACE)
            await announce(publisher, namespace)
            publication, subscription = await first_subscribe(publisher, subscriber, namespace)
            publication.group(0)
            stream = publication.open(1)
            stream.write(StreamObject(0, payload(1, 0)))
            await subscription.objects(*((0, number) for number in range(4)), (1, 0))

            stream.write_beginning(StreamObject(1, payload(1, 1, 2 * HALF)), HALF)
        # A FIN within the object is broken data, and would fail the case by itself.
        with relay.should("the stream of a publisher that is gone is reset"):
            await subscription.streams(2, seconds=REACTION_SECONDS)

        assert [each.group for each in subscription.subgroups if each.ended] == [0]
        assert (1, 1) not in subscription.places
        async with relay.connect("publisher_2") as second:
            other = relay.namespace(f"{NAMESPACE}/second")
            await announce(second, other)
            publication, again = await first_subscribe(
                second, subscriber, other, arrivals=subscription.arrivals
            )
            publication.group(5)
            await again.objects(*((5, number) for number in range(4)))


@pytest.mark.interop("subscriber-stop-sending-subgroup", timeout=5.0, profile="data")
@pytest.mark.spec("closing-subgroup-streams")
async def test_subscriber_stop_sending_subgroup(relay: RelayUnderTest) -> None:
    """A subgroup that the subscriber stops is not sent again, and later groups are."""
    async with established(relay) as (publication, subscription):
        stream = publication.open(0)
        stream.write(StreamObject(0, payload(0, 0)))
        await subscription.objects((0, 0))

        subscription.session.stop_stream(_first(subscription).stream_id, CANCELLED)
        # What the relay has by now it knows.
        await subscription.session.settle()
        for number in (1, 2):
            stream.write(StreamObject(number, payload(0, number)), fin=number == 2)
        publication.group(1)

        await subscription.objects(*((1, number) for number in range(4)))
        with relay.should("the subgroup that was stopped is not opened again"):
            assert [each.group for each in subscription.subgroups].count(0) == 1


@pytest.mark.interop("first-object-bit", timeout=5.0, profile="data", since=18)
@pytest.mark.spec("model-subgroup", "subgroup-header")
async def test_first_object_bit(relay: RelayUnderTest) -> None:
    """A stream that begins with the first object ever published in its subgroup says so."""
    async with established(relay) as (publication, subscription):
        publication.group(0)
        publication.group(1)

        await subscription.streams(2)

        assert [stream.header.first_object for stream in subscription.subgroups] == [True, True]


@pytest.mark.interop("subgroup-end-of-group", timeout=5.0, profile="data")
@pytest.mark.spec("subgroup-header", "object-status", "caching-relays")
async def test_subgroup_end_of_group(relay: RelayUnderTest) -> None:
    """Which object is the last of its group can be told by what comes."""
    async with established(relay) as (publication, subscription):
        publication.group(0, end_of_group=True)
        stream = publication.open(1)
        for number in range(3):
            stream.write(StreamObject(number, payload(1, number)))
        stream.write(StreamObject(3, status=END_OF_GROUP), fin=True)

        await subscription.streams(2)

        # "a relay may change an End-of-Group="Y" Subgroup Header to an equivalent object with an End of Group
        # status", and none has to say what the header's bit says: its absence claims nothing.
        assert _ends(subscription, 1), "the End of Group that the publisher sent did not come"
        with relay.should("the end of a group that its header tells is passed on"):
            assert _ends(subscription, 0), "the END_OF_GROUP bit did not come"


def _ends(subscription: Subscription, group: int) -> bool:
    """Whether the subscriber knows the last object of a group."""
    streams = [stream for stream in subscription.subgroups if stream.group == group]
    told = [item for stream in streams for item in stream.objects if item.status == END_OF_GROUP]
    return bool(told) or any(stream.header.end_of_group and stream.ended for stream in streams)


@pytest.mark.interop("unknown-alias-data", timeout=5.0, profile="data", level="may")
@pytest.mark.spec("subgroup-header", "object-datagram", "track-alias")
async def test_unknown_alias_data(relay: RelayUnderTest) -> None:
    """Objects under an alias that nobody named are dropped or kept for a while, and reach nobody."""
    async with harmless(relay) as witness, relay.connect("publisher") as publisher:
        first = publisher.draft.has_first_object
        stream = publisher.open_subgroup(SubgroupHeader(NO_ALIAS, 0, first_object=first))
        for number in range(16):
            stream.write(StreamObject(number, bytes(4096)))
        for number in range(100):
            publisher.send_datagram(ObjectDatagram(NO_ALIAS, 1, number, payload=bytes(100)))

        # A round trip of MoQT: the relay has met them by then, or said why not.
        try:
            await announce(publisher, relay.namespace(NAMESPACE))
            await silence()
            await publisher.settle()
        except SessionEnded:
            publisher.close_awaited = True
            relay.warn("closed", "the relay ended the session of who sent under an unknown alias")
        came = Arrivals(witness)
        await came.take_what_came()
        assert came.is_empty, f"the objects came to another session: {came}"


@pytest.mark.interop("data-before-subscribe-ok", timeout=8.0, profile="data", level="may")
@pytest.mark.spec("subgroup-header", "track-alias")
async def test_data_before_subscribe_ok(relay: RelayUnderTest) -> None:
    """Objects that overtake the publisher's SUBSCRIBE_OK come or are given up, and what follows comes."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        async with asyncio.TaskGroup() as tasks:
            subscribing = tasks.create_task(subscribe(subscriber, namespace))
            routed = await publisher.receive(Subscribe)
            publication = Publication(publisher, routed, ALIAS)
            publication.group(0)
            # So that it is there before what names its alias.
            await publisher.settle()
            await publisher.reply(routed, SubscribeOk(ALIAS))
        subscription = subscribing.result()

        publication.group(1)

        await subscription.objects(*((1, number) for number in range(4)))
        await silence()
        await subscription.arrivals.take_what_came()
        early = [place for place in subscription.places if place[0] == 0]
        relay.info(f"{len(early)} of 4 objects came that were sent before SUBSCRIBE_OK")
        assert early in ([], [(0, number) for number in range(4)]), "a part of a subgroup came"


@pytest.mark.interop("padding-ignored", timeout=8.0, profile="data", since=18)
@pytest.mark.spec("padding-streams", "padding-datagrams")
async def test_padding_ignored(relay: RelayUnderTest) -> None:
    """Padding beside a track is thrown away, and the track comes as if there were none."""
    async with harmless(relay), established(relay) as (publication, subscription):
        padding = publication.session.open_stream()
        padding.send(relay.draft.integers.encode(PADDING_STREAM) + bytes(PADDING))
        for _ in range(10):
            publication.session.send_octets(relay.draft.integers.encode(PADDING_DATAGRAM) + bytes(100))
        publication.group(0)
        padding.finish()

        await publication.session.settle()
        await subscription.objects(*((0, number) for number in range(4)))
        publication.group(1)

        await subscription.streams(2)
        assert len(subscription.subgroups) == 2
        assert subscription.datagrams == []
