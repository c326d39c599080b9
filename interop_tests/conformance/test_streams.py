"""Data streams that no draft allows: of no type, cut inside an object, with ids and lengths out of bounds."""

from __future__ import annotations

import pytest

from pytest_moqt import RelayUnderTest, SessionError, drafts

from .octets import integers, stream_object, subgroup
from .outcomes import came_of_session
from .reactions import closes, harmless
from .tracks import established, payload
from .variants import named, variant

UNKNOWN_TYPES = (0x00, 0x07, 0x3FFF, 0x9D)
"Types of unidirectional streams that no draft defines; the last is kept for grease in other registries."
RESERVED_TYPES = (0x16, 0x17, 0x1E, 0x1F, 0x36, 0x56)
"SUBGROUP_HEADER with the mode that is kept for later (`subgroup-header`)."
CODE_NAMED = drafts(16)
"Drafts that name the code for these; before, they are types like any that is unknown."
HUGE = 1 << 60
HUGE_STREAMS, HUGE_SENT = 20, 100_000
LARGEST_DELTA = (1 << 64) - 1


@pytest.mark.interop("stream-type-unknown", timeout=8.0, profile="malformed")
@pytest.mark.spec("stream-types", "data-streams")
async def test_stream_type_unknown(relay: RelayUnderTest) -> None:
    """A unidirectional stream of an unknown type ends the session, with whatever code."""
    async with harmless(relay):
        for number in UNKNOWN_TYPES:
            async with variant(relay, f"type {number:#x}") as attacker:
                attacker.open_stream().send(integers(relay.draft, number) + bytes(8))

                await closes(relay, attacker, None)


@pytest.mark.interop("subgroup-type-reserved", timeout=8.0, profile="malformed")
@pytest.mark.spec("subgroup-header", "data-streams")
async def test_subgroup_type_reserved(relay: RelayUnderTest) -> None:
    """A SUBGROUP_HEADER with the reserved mode ends the session, from draft 16 on with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        code = SessionError.PROTOCOL_VIOLATION if relay.draft.number in CODE_NAMED else None
        for number in RESERVED_TYPES:
            async with variant(relay, f"type {number:#x}") as attacker:
                stream = subgroup(relay.draft, 1, 0, kind=number) + stream_object(relay.draft, 0, b"object")
                attacker.open_stream().send(stream)

                await closes(relay, attacker, code)


@pytest.mark.interop("stream-fin-mid-object", timeout=15.0, profile="malformed", level="should")
@pytest.mark.spec("data-streams", "subgroup-header")
async def test_stream_fin_mid_object(relay: RelayUnderTest) -> None:
    """A stream that ends inside an object ends the session, and never looks whole to subscribers."""
    async with harmless(relay):
        whole, second = (stream_object(relay.draft, 0, payload(0, number)) for number in (0, 1))
        cuts = {
            "inside the payload": second[:-16],
            "inside the object's first integer": integers(relay.draft, 1000)[:1],
        }
        for name, cut in cuts.items():
            with named(relay, name):
                async with established(relay) as (publication, subscription):
                    stream = publication.session.open_stream()
                    stream.send(subgroup(relay.draft, publication.alias, 0) + whole)
                    await subscription.objects((0, 0))
                    stream.send(cut, fin=True)

                    with relay.should("the relay should end the publisher's session"):
                        await closes(relay, publication.session, SessionError.PROTOCOL_VIOLATION)
                    with relay.should("the relay should reset the subscriber's stream"):
                        await subscription.streams(1)
                    [forwarded] = subscription.arrivals.subgroups(subscription.alias)
                    assert not forwarded.ended, f"{name}: the subscriber's stream ends as if it were whole"
                    assert subscription.payloads == {(0, 0): payload(0, 0)}


@pytest.mark.interop("object-id-overflow", timeout=5.0, profile="malformed", since=18)
@pytest.mark.spec("data-streams", "subgroup-header")
async def test_object_id_overflow(relay: RelayUnderTest) -> None:
    """An object id above 2^64-1 ends the session with PROTOCOL_VIOLATION, and is not passed on."""
    async with harmless(relay), established(relay) as (publication, subscription):
        stream = publication.session.open_stream()
        first = stream_object(relay.draft, 0, payload(0, 0))
        stream.send(subgroup(relay.draft, publication.alias, 0) + first)
        await subscription.objects((0, 0))
        stream.send(stream_object(relay.draft, LARGEST_DELTA, b"beyond"))

        await closes(relay, publication.session, SessionError.PROTOCOL_VIOLATION)
        await subscription.session.settle()
        await subscription.arrivals.take_what_came()

        assert subscription.payloads == {(0, 0): payload(0, 0)}


@pytest.mark.interop("object-length-huge", timeout=10.0, profile="malformed", level="may")
@pytest.mark.spec("data-streams", "subgroup-header")
async def test_object_length_huge(relay: RelayUnderTest) -> None:
    """Objects that claim 2^60 bytes and never come whole harm nobody but their publisher."""
    async with harmless(relay), established(relay) as (publication, subscription):
        for group in range(HUGE_STREAMS):
            beginning = stream_object(relay.draft, 0, bytes(HUGE_SENT), length=HUGE)
            publication.session.open_stream().send(
                subgroup(relay.draft, publication.alias, group) + beginning
            )

        _, said = await came_of_session(publication.session)

        relay.info(f"{HUGE_STREAMS} objects of 2^60 bytes: the relay {said}")
        await subscription.session.settle()
        await subscription.arrivals.take_what_came()
        assert subscription.places == []
