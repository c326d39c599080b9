"""Objects in datagrams: they stay what they are, whatever type their datagrams have."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest

from pytest_moqt import (
    CaseFailure,
    Draft,
    KeyValues,
    ObjectDatagram,
    RelayUnderTest,
    SessionError,
    drafts,
)

from .octets import insistent_datagram
from .reactions import closes, harmless
from .tracks import Subscription, established, payload, prioritised

COUNT, SIZE = 20, 200
ENOUGH = 18
"Of those: what is lost on the way is nobody's fault."
TRIES = 3
"For each type: the same."
TRY_SECONDS = 0.7
END_OF_GROUP = 0x3
PROPERTIES = {0x11C: 7, 0x9D: b"unknown"}
"That nobody defines (`grease`)."
EMPTY_PROPERTIES = 0x01, 0x07, 0x00, 0x00, 0x80, 0x00
"Type, alias, group, object, priority and a properties block of no bytes."
INVALID_TYPES = (0x22, 0x10, 0x40, 0x3FFE)
"Status and end of group; a bit that is always 0; one that has no meaning; and what needs two bytes."


@pytest.mark.interop("datagram-object", timeout=5.0, profile="data")
@pytest.mark.spec("object-datagram", "message-object")
async def test_datagram_object(relay: RelayUnderTest) -> None:
    """Objects that are sent in datagrams come in datagrams, with their bytes."""
    async with established(relay) as (publication, subscription):
        for number in range(COUNT):
            publication.datagram(0, number, size=SIZE)

        await subscription.arrivals.until(
            lambda: len(subscription.datagrams) >= ENOUGH, f"{ENOUGH} of {COUNT} datagrams"
        )
        await subscription.session.settle()
        await subscription.arrivals.take_what_came()

        assert subscription.subgroups == [], "objects of datagrams came on streams"
        assert len(set(subscription.places)) == len(subscription.places)
        assert subscription.payloads == {place: payload(*place, SIZE) for place in subscription.places}


@pytest.mark.interop("datagram-type-variants", timeout=8.0, profile="data")
@pytest.mark.spec("object-datagram")
async def test_datagram_type_variants(relay: RelayUnderTest) -> None:
    """Whatever the type of its datagram, an object comes with its priority, properties, status and end."""
    async with prioritised(relay) as (publication, subscription, inherited):
        variants = _variants(relay.draft)

        def ends(item: ObjectDatagram) -> bool:
            # "relays MAY change the representation of a missing range" (`caching-relays`).
            behind = item.object_id > variants[item.group_id % len(variants)]["number"]
            return behind and item.status == END_OF_GROUP

        def came() -> dict[int, ObjectDatagram]:
            return {item.group_id % len(variants): item for item in subscription.datagrams if not ends(item)}

        def ended() -> set[int]:
            told = [item for item in subscription.datagrams if item.end_of_group or ends(item)]
            return {item.group_id % len(variants) for item in told}

        for turn in range(TRIES):
            for place in range(len(variants)):
                if place not in came():
                    publication.datagram(turn * len(variants) + place, **variants[place])
            with contextlib.suppress(CaseFailure):
                await subscription.arrivals.until(
                    lambda: len(came()) == len(variants), "datagram of each type", seconds=TRY_SECONDS
                )
                break

        assert {place: _seen(subscription, item) for place, item in came().items()} == {
            place: _meant(variant, inherited) for place, variant in enumerate(variants)
        }
        by_bit = {place for place, variant in enumerate(variants) if variant["end_of_group"]}
        by_status = {place for place, variant in enumerate(variants) if variant.get("status") == END_OF_GROUP}
        assert ended() <= by_bit | by_status, "the relay ends groups that the publisher did not"
        with relay.should("the end of a group that a datagram tells is passed on"):
            await subscription.arrivals.until(
                lambda: by_bit <= ended(), "datagram that ends each group", seconds=TRY_SECONDS
            )


def _variants(draft: Draft) -> list[dict[str, Any]]:
    """Fields of an OBJECT_DATAGRAM, for each type that a draft has."""
    # 14 has no datagrams without a priority.
    priorities = (40, None) if draft.number in drafts(15) else (40,)
    both = (False, True)
    variants: list[dict[str, Any]] = [
        {
            "number": number,
            "object_id_field": number > 0,
            "publisher_priority": priority,
            "properties": KeyValues(PROPERTIES if properties else {}),
            "end_of_group": end,
        }
        for number, priority, properties, end in itertools.product((3, 0), priorities, both, both)
    ]
    # A status goes without end of group; from 15 on with properties only if it is that of a normal object.
    allowed = (3, 0) if draft.zero_object_id_with_status else (3,)
    variants += [
        {
            "number": number,
            "object_id_field": number > 0,
            "publisher_priority": priority,
            "properties": KeyValues(PROPERTIES if properties else {}),
            "end_of_group": False,
            "status": 0 if properties else END_OF_GROUP,
            "payload": b"",
        }
        for number, priority, properties in itertools.product(allowed, priorities, both)
    ]
    return variants


def _seen(subscription: Subscription, item: ObjectDatagram) -> tuple[object, ...]:
    properties = sorted(pair for pair in item.properties.pairs if pair[0] in PROPERTIES)
    status = item.status or 0
    return item.object_id, subscription.priority(item), properties, status


def _meant(variant: dict[str, Any], inherited: int) -> tuple[object, ...]:
    priority = variant["publisher_priority"]
    return (
        variant["number"],
        inherited if priority is None else priority,
        sorted(variant["properties"].pairs),
        variant.get("status", 0),
    )


@pytest.mark.interop("datagram-properties-length-zero", timeout=5.0, profile="data")
@pytest.mark.spec("object-datagram")
async def test_datagram_properties_length_zero(relay: RelayUnderTest) -> None:
    """A datagram that has properties, and none of them, ends its publisher's session."""
    async with harmless(relay), established(relay) as (publication, subscription):
        insistent_datagram(publication.session, bytes(EMPTY_PROPERTIES) + b"payload")

        await closes(relay, publication.session, SessionError.PROTOCOL_VIOLATION)
        await subscription.session.settle()
        await subscription.arrivals.take_what_came()
        assert subscription.places == [], "the datagram was passed on"


@pytest.mark.interop("datagram-invalid-type", timeout=10.0, profile="data")
@pytest.mark.spec("object-datagram", "data-streams")
async def test_datagram_invalid_type(relay: RelayUnderTest) -> None:
    """A datagram of a type that the draft does not have ends the session."""
    async with harmless(relay):
        # Up to 15 it is said only that the session is closed; later drafts name the code.
        code = SessionError.PROTOCOL_VIOLATION if relay.draft.number in drafts(16) else None
        for number in INVALID_TYPES:
            async with relay.connect("attacker") as attacker:
                head = relay.draft.integers.encode(number)
                insistent_datagram(attacker, head + bytes((7, 0, 0, 128)) + b"payload")

                await closes(relay, attacker, code)


@pytest.mark.interop("mixed-forwarding-preference", timeout=5.0, profile="data", since=16)
@pytest.mark.spec("data-streams", "object-datagram")
async def test_mixed_forwarding_preference(relay: RelayUnderTest) -> None:
    """Of a track that has both, objects of streams come on streams and those of datagrams in datagrams."""
    # Up to 15 a publisher may not mix them; whether a relay notices is not said.
    async with established(relay) as (publication, subscription):
        publication.group(0)
        await subscription.streams(1)
        for number in range(COUNT):
            publication.datagram(1, number)

        await subscription.arrivals.until(
            lambda: len(subscription.datagrams) >= ENOUGH, f"{ENOUGH} of {COUNT} datagrams"
        )

        assert [stream.group for stream in subscription.subgroups] == [0]
        assert {item.group_id for item in subscription.datagrams} == {1}
        assert subscription.payloads == {place: payload(*place) for place in subscription.places}
        assert {(0, number) for number in range(4)} <= set(subscription.places)
