"""FETCH of a range of a track: all that is in it comes on one stream, in order, and nothing else."""

from __future__ import annotations

import pytest

from pytest_moqt import (
    Fetch,
    GroupOrder,
    JoiningFetch,
    KeyValues,
    Parameter,
    Property,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    SessionEnded,
    SessionError,
    StreamObject,
    drafts,
)

from .archive import REFUSING_EMPTY
from .arrivals import Arrivals
from .fetches import WHOLE, Fetcher, closes_for, past
from .reactions import attack, closes, refuses
from .tracks import NAMESPACE, payload

UNENDED = {0: range(4), 1: range(4), 2: range(5)}
"The last object of the track is 4 of group 2, and more may follow."
END_OF_TRACK = 0x4
"An object status (`object-status`)."
STATUSES_FETCHED = drafts(14, 15)
"Drafts in which a fetch brings statuses too."


@pytest.mark.interop("fetch-standalone-cached", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "fetch-header", "fetch-handling")
async def test_fetch_standalone_cached(relay: RelayUnderTest) -> None:
    """What was published comes as it was, on one stream that names the FETCH, in ascending order."""
    async with past(relay) as track:
        ok, stream = await track.fetcher.fetch((0, 0), (2, 0))

        published = sorted(track.archive.objects)
        assert stream.places == published
        assert stream.payloads == {place: payload(*place) for place in published}
        assert len(track.fetcher.arrivals.fetches) == 1
        assert ok.end.group == 2


@pytest.mark.interop("fetch-entire-group", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-ok")
async def test_fetch_entire_group(relay: RelayUnderTest) -> None:
    """An end at object 0 of a group stands for all of that group."""
    async with past(relay) as track:
        ok, stream = await track.fetcher.fetch((1, 0), (1, 0))

        assert stream.places == [(1, number) for number in WHOLE[1]]
        assert ok.end.group == 1
        assert ok.end.object == 0 or ok.end.object >= len(WHOLE[1])
        # The place behind the last object means the same. From draft 20 on the end is the last object, be it
        # the last that there is or the last that there can be.
        with relay.should("FETCH_OK should give the end as it was asked for"):
            assert ok.end.object == 0 or relay.draft.fetch_end_included


@pytest.mark.interop("fetch-partial-multi-group", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-ok", "fetch-handling")
async def test_fetch_partial_multi_group(relay: RelayUnderTest) -> None:
    """A range that begins and ends within groups brings exactly what is in it, down to a single object."""
    async with past(relay) as track:
        several, stream = await track.fetcher.fetch((0, 3), (2, 2))
        single, other = await track.fetcher.fetch((1, 2), (1, 3))

        assert stream.places == [(0, 3), *((1, number) for number in WHOLE[1]), (2, 0), (2, 1)]
        assert other.places == [(1, 2)]
        assert [(ok.end.group, ok.end.object) for ok in (several, single)] == [(2, 2), (1, 3)]


@pytest.mark.interop("fetch-descending", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "group-order", "fetch-handling")
async def test_fetch_descending(relay: RelayUnderTest) -> None:
    """Groups come in descending order where that is asked for, and the objects of each in ascending order."""
    async with past(relay) as track:
        _, stream = await track.fetcher.fetch((0, 3), (2, 2), {Parameter.GROUP_ORDER: GroupOrder.DESCENDING})

        assert stream.places == [(2, 0), (2, 1), *((1, number) for number in WHOLE[1]), (0, 3)]


@pytest.mark.interop("fetch-end-beyond-largest", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch-ok", "fetch-handling")
async def test_fetch_end_beyond_largest(relay: RelayUnderTest) -> None:
    """A range that goes on ends at the largest object, and FETCH_OK says so."""
    async with past(relay, UNENDED, ended=False) as track:
        ok, stream = await track.fetcher.fetch((1, 0), (100, 0))

        assert stream.places == [*((1, number) for number in range(4)), *((2, number) for number in range(5))]
        assert (ok.end.group, ok.end.object) == (2, 5)
        assert not ok.end_of_track


@pytest.mark.interop("fetch-end-of-track", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch-ok", "object-status")
async def test_fetch_end_of_track(relay: RelayUnderTest) -> None:
    """FETCH_OK says that its end is that of the track, where the publisher has said so."""
    async with past(relay, {0: range(4), 1: range(4)}) as track:
        stream = track.publication.open(2)
        for number in range(5):
            stream.write(StreamObject(number, payload(2, number)))
        stream.write(StreamObject(5, status=END_OF_TRACK), fin=True)
        track.archive.keep(2, range(5))
        track.archive.ended = True
        await track.subscription.streams(3)

        ok, fetched = await track.fetcher.fetch((1, 0), (100, 0))

        assert fetched.places == [
            *((1, number) for number in range(4)),
            *((2, number) for number in range(5)),
        ]
        assert ok.end_of_track
        # The place of the status may count as the largest: in drafts 14 and 15 a status is an object.
        assert (ok.end.group, ok.end.object) in [(2, 5), (2, 6)]
        if relay.draft.number not in STATUSES_FETCHED:
            with relay.should("FETCH_OK should end at the last object that exists"):
                assert (ok.end.group, ok.end.object) == (2, 5)


@pytest.mark.interop("fetch-empty-range", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-error", "fetch-header", "fetch-handling")
async def test_fetch_empty_range(relay: RelayUnderTest) -> None:
    """A range that is known to hold no objects brings none: an empty stream, or NO_OBJECTS in draft 14."""
    async with past(relay, {}) as track:
        stream = track.publication.open(0, has_properties=True, end_of_group=True)
        stream.write(StreamObject(0, payload(0, 0)))
        gap = KeyValues({int(Property.PRIOR_OBJECT_ID_GAP): 8})
        stream.write(StreamObject(9, payload(0, 9), properties=gap), fin=True)
        track.archive.keep(0, [0, 9])
        await track.subscription.objects((0, 0), (0, 9))

        if relay.draft.number in REFUSING_EMPTY:
            await track.fetcher.refused(track.fetcher.of((0, 3), (0, 6)), RequestErrorCode.NO_OBJECTS)
            return
        ok, fetched = await track.fetcher.fetch((0, 3), (0, 6))

        assert fetched.objects == []
        assert (ok.end.group, ok.end.object) == (0, 6)
        with relay.should("the relay should mark no range as empty where that is what its absence says"):
            assert fetched.items == []


@pytest.mark.interop("fetch-start-beyond-largest", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-error", "fetch-handling")
async def test_fetch_start_beyond_largest(relay: RelayUnderTest) -> None:
    """A range that begins behind the largest object is refused with INVALID_RANGE."""
    async with past(relay, UNENDED) as track:
        await track.fetcher.refused(track.fetcher.of((50, 0), (51, 0)), RequestErrorCode.INVALID_RANGE)


@pytest.mark.interop("fetch-no-objects-yet", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-error", "fetch-handling")
async def test_fetch_no_objects_yet(relay: RelayUnderTest) -> None:
    """A track without objects is no range to be fetched: INVALID_RANGE."""
    async with past(relay, {}) as track:
        # NO_OBJECTS, which draft 14 has, fits as well.
        codes = (RequestErrorCode.INVALID_RANGE, RequestErrorCode.NO_OBJECTS)
        await track.fetcher.refused(track.fetcher.of((0, 0), (1, 0)), *codes)


@pytest.mark.interop("fetch-end-before-start", timeout=5.0, profile="fetch", until=19, optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-error", "fetch-handling")
async def test_fetch_end_before_start(relay: RelayUnderTest) -> None:
    """A range that ends before it begins is refused with INVALID_RANGE, or ends the session."""
    # A client that asks for that breaks a MUST of its own. Later drafts write the end as a difference.
    async with past(relay, UNENDED) as track:
        session = track.fetcher.session

        try:
            refusal = await session.request(track.fetcher.of((2, 0), (0, 0)), expect=RequestError)
        except SessionEnded:
            await closes(relay, session, SessionError.PROTOCOL_VIOLATION)
            relay.info("the relay ends the session")
        else:
            with relay.should("the relay should refuse with INVALID_RANGE"):
                assert refusal.code is RequestErrorCode.INVALID_RANGE


@pytest.mark.interop("fetch-nonexistent-track", timeout=3.0, profile="fetch")
@pytest.mark.spec("message-fetch", "message-fetch-error", "message-request-error")
async def test_fetch_nonexistent_track(relay: RelayUnderTest) -> None:
    """A track that nobody publishes is refused with DOES_NOT_EXIST."""
    async with relay.connect("fetcher") as session:
        fetcher = Fetcher(relay, session, relay.namespace(NAMESPACE), Arrivals(session))

        wanted = fetcher.of((0, 0), (1, 0))
        if await refuses(relay, session, wanted, RequestErrorCode.DOES_NOT_EXIST) is not None:
            await fetcher.brought_nothing()


@pytest.mark.interop("fetch-invalid-type", timeout=10.0, profile="fetch", until=19)
@pytest.mark.spec("message-fetch")
async def test_fetch_invalid_type(relay: RelayUnderTest) -> None:
    """A FETCH of a type that there is not ends the session with PROTOCOL_VIOLATION."""
    for number in (0x0, 0x4):
        async with attack(relay) as attacker:
            joining = Fetch(JoiningFetch(joining_request_id=0, joining_start=0, relative=True))
            # The first request has the id 0: the first byte that is 2 is the type.
            kind = bytes([number])
            request = await attacker.open(
                joining,
                edit=lambda frame: frame.replace(body=frame.body.replace(b"\x02", kind, 1)),  # noqa: B023
            )

            await closes_for(relay, attacker, request, SessionError.PROTOCOL_VIOLATION)
