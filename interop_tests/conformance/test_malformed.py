"""Whatever one client says: the others are served, and see nothing of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from pytest_moqt import Frame, RelayUnderTest

from .mutations import mutated, send, valid
from .octets import integers, stream_object, subgroup
from .outcomes import came_of_session
from .reactions import harmless
from .tracks import Publication, Subscription, established, payload
from .variants import named
from .waits import REACTION_SECONDS

UNKNOWN_STATUS = 0x2A
"An object status that no draft defines."
UNKNOWN_DATAGRAM = 0x10
"A datagram type that no draft defines."
UNKNOWN_STREAM = 0x07
"A type of unidirectional stream that no draft defines."
REQUEST_UPDATE = 0x02
"SUBSCRIBE_UPDATE in drafts 14 and 15."
MUTATIONS = 150
"Sessions of mutation-smoke, one after the other: two to three seconds over loopback."


def bad_status(publication: Publication) -> None:
    """An object of a status that there is not."""
    draft = publication.session.draft
    item = integers(draft, 0, 0, UNKNOWN_STATUS)
    publication.session.open_stream().send(subgroup(draft, publication.alias, 1) + item)


def bad_datagram(publication: Publication) -> None:
    """A datagram of a type that there is not."""
    head = integers(publication.session.draft, UNKNOWN_DATAGRAM, publication.alias, 1, 0)
    publication.session.send_octets(head + b"\x80datagram")


def bad_stream(publication: Publication) -> None:
    """A stream of a type that there is not."""
    draft = publication.session.draft
    stream = subgroup(draft, publication.alias, 1, kind=UNKNOWN_STREAM) + stream_object(draft, 0, b"object")
    publication.session.open_stream().send(stream)


def bad_update(publication: Publication) -> None:
    """A REQUEST_UPDATE about the relay's subscription that ends behind its own id."""
    session = publication.session
    frame = Frame(REQUEST_UPDATE, integers(session.draft, 2))
    session.stream_of(publication.request).send(frame.encode(session.draft))


INVALID: dict[str, Callable[[Publication], None]] = {
    "an object of an unknown status": bad_status,
    "a datagram of an unknown type": bad_datagram,
    "a stream of an unknown type": bad_stream,
    "a REQUEST_UPDATE cut short": bad_update,
}


async def _told_of_the_end(subscription: Subscription) -> None:
    """Wait until a subscriber knows that its track will bring no more: by PUBLISH_DONE, or by a reset."""
    arrivals, alias = subscription.arrivals, subscription.alias
    waits = [
        asyncio.create_task(subscription.done()),
        asyncio.create_task(
            arrivals.until(
                lambda: any(stream.over for stream in arrivals.subgroups(alias)),
                "PUBLISH_DONE, nor end of a stream",
                seconds=REACTION_SECONDS,
            )
        ),
    ]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waits:
            task.cancel()


@pytest.mark.interop("invalid-input-not-propagated", timeout=12.0, profile="malformed")
@pytest.mark.spec("relays-moq")
async def test_invalid_input_not_propagated(relay: RelayUnderTest) -> None:
    """What a publisher says wrongly reaches none of its subscribers, whose sessions go on."""
    async with harmless(relay):
        for name, say in INVALID.items():
            with named(relay, name):
                async with established(relay) as (publication, subscription):
                    publication.group(0, [0], fin=False)
                    await subscription.objects((0, 0))

                    say(publication)

                    # What becomes of the publisher is other cases' matter; a correct relay ends it at once.
                    close, _ = await came_of_session(publication.session)
                    if close is not None:
                        with relay.should("the relay should tell the subscriber that its publisher is lost"):
                            await _told_of_the_end(subscription)
                    await subscription.session.settle()
                    await subscription.arrivals.take_what_came()
                    assert subscription.payloads == {(0, 0): payload(0, 0)}, name


@pytest.mark.interop("mutation-smoke", timeout=60.0, profile="malformed")
@pytest.mark.spec("message", "relays-moq")
async def test_mutation_smoke(relay: RelayUnderTest) -> None:
    """After each of many sessions with mistakes in them, new sessions and those of others work."""
    async with harmless(relay), established(relay) as (publication, subscription):
        for number in range(MUTATIONS):
            chance = random.Random(number)
            with named(relay, f"mutation {number}"):
                async with relay.connect("attacker") as attacker:
                    # Whatever the relay, or our own session, makes of it.
                    attacker.close_awaited = True
                    send(attacker, mutated(valid(relay, attacker), chance), chance)
                    publication.group(number, [0])
                    await subscription.objects((number, 0))
