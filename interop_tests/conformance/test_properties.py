"""Fields and properties of objects: a relay passes on what it knows nothing of, unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_moqt import Draft, KeyValues, Property, RelayUnderTest, StreamObject, drafts

from .arrivals import Place
from .tracks import Subscription, established, payload

LARGEST_VARINT, LARGEST_VI64 = (1 << 62) - 1, (1 << 64) - 1
"The largest integers there are up to draft 16, and from 17 on."
PRIORITIES = (0, 128, 255)
GAPS = (0, 5, 6, 1000)

UNKNOWN: tuple[dict[int, Any], ...] = (
    {0x11C: 1},
    {0x9D: bytes(range(256)) + bytes(44)},
    {},
    {0x38: 0, 0x39: b"", 0x3A: (1 << 62) - 1},
    {0x3800: 300, 0x3801: b"application"},
    {0x38: 2, 0x11C: 1 << 30},
)
"""Properties of one object after the other: types that nobody defines (`grease`), and such as are left to
applications; numbers where even, bytes where odd."""


@pytest.mark.interop("object-fields-preserved", timeout=6.0, profile="data")
@pytest.mark.spec("relay-object-handling", "subgroup-header", "model-object")
async def test_object_fields_preserved(relay: RelayUnderTest) -> None:
    """Ids and priorities come as they were sent, up to the largest that the draft can write."""
    async with established(relay) as (publication, subscription):
        largest = LARGEST_VARINT if relay.draft.number in drafts(14, 16) else LARGEST_VI64
        sent = {
            (0, 0, 0): [0],
            (1, 1 << 14, 128): [1 << 14, (1 << 30) + 1],
            (1 << 32, 1 << 30, 255): [0, 1 << 32],
            (largest - 1, largest - 1, 1): [largest - 1],
            (largest, largest, 2): [0, largest - 1, largest],
        }
        for (group, subgroup, priority), numbers in sent.items():
            publication.group(group, numbers, subgroup_id=subgroup, publisher_priority=priority)

        await subscription.streams(len(sent))

        assert {
            (stream.group, stream.id, subscription.priority(stream.header)): [
                item.object_id for item in stream.objects
            ]
            for stream in subscription.subgroups
        } == sent
        assert all(octets == payload(*place) for place, octets in subscription.payloads.items())


@pytest.mark.interop("object-id-gap", timeout=5.0, profile="data")
@pytest.mark.spec("subgroup-header", "closing-subgroup-streams")
async def test_object_id_gap(relay: RelayUnderTest) -> None:
    """Objects whose ids have gaps come on one stream with these ids, and none between them."""
    async with established(relay) as (publication, subscription):
        publication.group(0, GAPS)

        await subscription.streams(1)

        (stream,) = subscription.subgroups
        assert [(item.object_id, item.payload) for item in stream.objects] == [
            (number, payload(0, number)) for number in GAPS
        ]
        assert stream.ended


@pytest.mark.interop("properties-unknown-preserved", timeout=5.0, profile="data")
@pytest.mark.spec("properties", "extension-headers", "object-extensions")
async def test_properties_unknown_preserved(relay: RelayUnderTest) -> None:
    """Properties that the relay does not know come with their object, unchanged, and with no other."""
    types = {key for properties in UNKNOWN for key in properties}
    async with established(relay) as (publication, subscription):
        _publish(publication.open(0, has_properties=True), UNKNOWN)

        await subscription.streams(1)

        assert _properties(subscription, types) == {
            (0, number): properties for number, properties in enumerate(UNKNOWN)
        }


@pytest.mark.interop("properties-immutable-preserved", timeout=5.0, profile="data")
@pytest.mark.spec("immutable-properties", "immutable-extensions")
async def test_properties_immutable_preserved(relay: RelayUnderTest) -> None:
    """Immutable properties come byte by byte as they were sent, however their integers are written."""
    async with established(relay) as (publication, subscription):
        sent: tuple[dict[int, Any], ...] = ({Property.IMMUTABLE_PROPERTIES: _immutable(relay.draft)}, {})
        _publish(publication.open(0, has_properties=True), sent)

        await subscription.streams(1)

        assert _properties(subscription, {Property.IMMUTABLE_PROPERTIES}) == {
            (0, number): properties for number, properties in enumerate(sent)
        }


def _immutable(draft: Draft) -> bytes:
    """Two properties, the first in integers that are longer than they have to be."""
    encode = draft.integers.encode
    second = 0x9D - 0x3A if draft.delta_types else 0x9D
    return encode(0x3A, 4) + encode(7, 2) + encode(second) + encode(3) + b"abc"


@pytest.mark.interop("properties-gap-preserved", timeout=5.0, profile="data")
@pytest.mark.spec("prior-group-id-gap", "prior-object-id-gap")
async def test_properties_gap_preserved(relay: RelayUnderTest) -> None:
    """What a publisher says of groups and objects that do not exist comes with the objects that say it."""
    gaps: set[int] = {Property.PRIOR_GROUP_ID_GAP, Property.PRIOR_OBJECT_ID_GAP}
    async with established(relay) as (publication, subscription):
        publication.group(0)
        stream = publication.open(3, has_properties=True)
        stream.write(_object(3, 0, {Property.PRIOR_GROUP_ID_GAP: 2}))
        stream.write(_object(3, 4, {Property.PRIOR_OBJECT_ID_GAP: 3}), fin=True)

        await subscription.streams(2)

        assert {place: told for place, told in _properties(subscription, gaps).items() if told} == {
            (3, 0): {Property.PRIOR_GROUP_ID_GAP: 2},
            (3, 4): {Property.PRIOR_OBJECT_ID_GAP: 3},
        }


def _object(group: int, number: int, properties: dict[Any, Any]) -> StreamObject:
    return StreamObject(number, payload(group, number), properties=KeyValues(properties))


def _publish(stream: Any, properties: Any) -> None:
    for number, pairs in enumerate(properties):
        stream.write(_object(0, number, pairs), fin=number == len(properties) - 1)


def _properties(subscription: Subscription, types: set[int]) -> dict[Place, dict[int, Any]]:
    """By place, the properties of some types: a relay may add others that it knows."""
    return {
        (stream.group, item.object_id): {key: value for key, value in item.properties.pairs if key in types}
        for stream in subscription.subgroups
        for item in stream.objects
    }
