"""Objects that are none: ends of groups and tracks, and statuses that nobody may send."""

from __future__ import annotations

import pytest

from pytest_moqt import CaseFailure, PublishDoneStatus, RelayUnderTest, SessionError, StreamObject

from .octets import insistent_datagram
from .reactions import closes, harmless
from .tracks import Publication, Subscription, established, payload
from .waits import REACTION_SECONDS

END_OF_GROUP, END_OF_TRACK = 0x3, 0x4
UNKNOWN_STATUS = 0x2
"That no draft has."
PROPERTIES = bytes((2, 0x3A, 7))
"Length, type and value; numbers this small are written alike in every draft."
STATUS_AND_PROPERTIES = 0x21
"Type of an OBJECT_DATAGRAM that has both."
PRIORITY = 128


@pytest.mark.interop("object-status-end-of-track", timeout=6.0, profile="data")
@pytest.mark.spec("object-status")
async def test_object_status_end_of_track(relay: RelayUnderTest) -> None:
    """The end of a track that an object tells comes to the subscriber, as that object or as PUBLISH_DONE."""
    async with established(relay) as (publication, subscription):
        publication.group(0)
        publication.open(1).write(StreamObject(0, status=END_OF_TRACK), fin=True)

        try:
            await subscription.arrivals.until(
                lambda: END_OF_TRACK in _statuses(subscription, 1, 0),
                "object 1/0 of status 0x4",
                seconds=REACTION_SECONDS / 2,
            )
        except CaseFailure:
            assert _statuses(subscription, 1, 0) == [], "the object came with another status than 0x4"
            done = await subscription.done()
            assert done.status == PublishDoneStatus.TRACK_ENDED
            relay.info("the end of the track came as PUBLISH_DONE")
        # Of whatever status: an end that is said again behind the end is none.
        streams = subscription.subgroups
        came = [(stream.group, item.object_id) for stream in streams for item in stream.objects]
        assert [place for place in came if place > (1, 0)] == []


def _statuses(subscription: Subscription, group: int, number: int) -> list[int]:
    """Of what came at a place."""
    streams = [stream for stream in subscription.subgroups if stream.group == group]
    return [item.status for stream in streams for item in stream.objects if item.object_id == number]


@pytest.mark.interop("object-status-invalid", timeout=8.0, profile="data", level="should")
@pytest.mark.spec("object-status", "relays-moq")
async def test_object_status_invalid(relay: RelayUnderTest) -> None:
    """An object of a status that no draft has ends its publisher's session, and goes no further."""
    async with harmless(relay), established(relay) as (publication, subscription):
        stream = publication.open(0)
        stream.write(StreamObject(0, payload(0, 0)))
        await subscription.objects((0, 0))

        stream.write(
            StreamObject(1, status=END_OF_GROUP), edit=lambda octets: octets[:-1] + bytes([UNKNOWN_STATUS])
        )

        with relay.should("a session ends whose client sends an unknown status"):
            await closes(relay, publication.session, SessionError.PROTOCOL_VIOLATION)
        # Passed on, it breaks the subscriber's session, which fails the case as this one is left.
        await subscription.session.settle()


@pytest.mark.interop("object-status-with-properties", timeout=8.0, profile="data", since=15)
@pytest.mark.spec("object-properties", "object-extensions", "object-datagram")
async def test_object_status_with_properties(relay: RelayUnderTest) -> None:
    """An End of Group with properties, on a stream or in a datagram, ends its publisher's session."""
    for send in (_on_a_stream, _in_a_datagram):
        async with harmless(relay), established(relay) as (publication, _):
            send(publication)

            await closes(relay, publication.session, SessionError.PROTOCOL_VIOLATION)


def _on_a_stream(publication: Publication) -> None:
    stream = publication.open(0, has_properties=True)
    # Object id, no properties, no payload, the status.
    stream.write(
        StreamObject(0, status=END_OF_GROUP), edit=lambda octets: octets[:1] + PROPERTIES + octets[2:]
    )


def _in_a_datagram(publication: Publication) -> None:
    head = bytes((STATUS_AND_PROPERTIES, publication.alias, 0, 0, PRIORITY))
    insistent_datagram(publication.session, head + PROPERTIES + bytes([END_OF_GROUP]))
