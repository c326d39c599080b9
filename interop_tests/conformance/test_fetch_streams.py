"""What becomes of a FETCH: from whom its objects come, how they are marked, how its stream ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from pytest_moqt import (
    CaseFailure,
    Fetch,
    FetchObject,
    FetchOk,
    FetchRangeEnd,
    KeyValues,
    Parameter,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    StreamObject,
    drafts,
)

from .fetches import EMPTY_RANGE, Past, announced, outcome, past, says_unknown
from .tracks import payload
from .waits import REACTION_SECONDS, silence, within

PROPERTIES = KeyValues({0x38: 5, 0x39: b"unknown"})
"Object properties that nobody defines."
DATAGRAMS_MARKED = drafts(16)
"Drafts whose tracks may have both streams and datagrams, and whose fetches say what came in which."
TRIES, TRY_SECONDS = 3, 0.5
"For a datagram."
CANCEL_RESETS = drafts(15)
"Drafts in which the stream of a FETCH that was cancelled MUST be reset; 14 says so too, and SHOULD close."
TIMED_OUT_RANGE, TIMED_OUT = 0x20C, drafts(20)
"Flags of a range for which FILL_TIMEOUT was over, and the drafts that have them."


@pytest.mark.interop("fetch-standalone-upstream", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "message-fetch-ok", "fetch-handling")
async def test_fetch_standalone_upstream(relay: RelayUnderTest) -> None:
    """What the relay has not seen it fetches from the publisher."""
    async with announced(relay) as (archive, fetcher):
        archive.keep(0)
        archive.keep(1)
        may_answer = asyncio.Event()

        async def answer_later(fetch: Fetch) -> None:
            await may_answer.wait()
            await archive.answer(fetch)

        archive.respond = answer_later
        request = await fetcher.session.open(fetcher.of((0, 2), (1, 2)))
        answering = asyncio.create_task(fetcher.session.expect(request, FetchOk))
        asked = asyncio.create_task(archive.fetched.wait())
        async with within(REACTION_SECONDS, "FETCH at the publisher"):
            await asyncio.wait((answering, asked), return_when=asyncio.FIRST_COMPLETED)
        # "FETCH_OK MUST NOT be sent until the End Location is known"; answers to others may have told it.
        early = answering.done() and answering.exception() is None
        assert not early or archive.told, "FETCH_OK was said before the publisher was asked"

        may_answer.set()
        ok = await answering
        asked.cancel()
        stream = await fetcher.complete(request)

        assert stream.payloads == {place: payload(*place) for place in [(0, 2), (0, 3), (1, 0), (1, 1)]}
        assert stream.places == sorted(stream.places)
        assert (ok.end.group, ok.end.object) == (1, 2)


@pytest.mark.interop("fetch-properties-preserved", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("fetch-header", "object-properties", "message-object")
async def test_fetch_properties_preserved(relay: RelayUnderTest) -> None:
    """Priority, subgroup, unknown properties and the way it came are the same in a fetch of an object."""
    async with past(relay, {}) as track:
        for subgroup, priority in ((0, 10), (1, 200)):
            stream = track.publication.open(
                0,
                subgroup_id=subgroup,
                publisher_priority=priority,
                end_of_group=subgroup == 1,
                has_properties=True,
            )
            for number in (subgroup, subgroup + 2):
                content = payload(0, number)
                stream.write(StreamObject(number, content, properties=PROPERTIES))
                track.archive.put(FetchObject(0, subgroup, number, priority, content, PROPERTIES))
            stream.finish()
        await track.subscription.streams(2)
        # Up to 15 a track is of streams or of datagrams, not of both.
        if relay.draft.number in DATAGRAMS_MARKED:
            await _send_datagrams(track)

        last, _ = max(track.archive.objects)
        _, fetched = await track.fetcher.fetch((0, 0), (last, 0))

        assert fetched.places == sorted(track.archive.objects)
        for item in fetched.objects:
            # Properties that a relay knows it may add.
            told = {key: value for key, value in item.properties.pairs if key in PROPERTIES}
            as_sent = dataclasses.replace(item, properties=KeyValues(told))
            assert as_sent == track.archive.objects[item.group_id, item.object_id]


async def _send_datagrams(track: Past) -> None:
    """Send objects in datagrams, each a group, until one has come: any may be lost."""
    arrivals, alias = track.subscription.arrivals, track.subscription.alias
    for group in range(1, 1 + TRIES):
        track.publication.datagram(group, 0, publisher_priority=30, properties=PROPERTIES, end_of_group=True)
        track.archive.put(FetchObject(group, None, 0, 30, payload(group, 0), PROPERTIES))
        with contextlib.suppress(CaseFailure):
            return await arrivals.until(
                lambda: arrivals.datagrams(alias), "object in a datagram", seconds=TRY_SECONDS
            )
    raise CaseFailure(
        f"of {TRIES} datagrams none came",
        cause="timeout",
        expected="object in a datagram",
        received="timeout",
    )


@pytest.mark.interop("fetch-cancel", timeout=6.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch-cancel", "fetch-state-management")
async def test_fetch_cancel(relay: RelayUnderTest) -> None:
    """The stream of a FETCH that is cancelled is reset, and the session goes on."""
    async with past(relay, {0: range(4), 2: range(4)}) as track:
        fetcher, archive = track.fetcher, track.archive
        archive.keep(1)

        async def begin(fetch: Fetch) -> None:
            # The relay cannot be done before it is told to stop: of what it asks for, there is never all.
            stream = await archive.accept(fetch)
            assert stream is not None
            stream.write(archive.wanted(fetch)[0])

        archive.respond = begin
        request = await fetcher.session.open(fetcher.of((0, 0), (2, 0)))
        begun = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REACTION_SECONDS):
                await fetcher.session.expect(request, FetchOk)
                await fetcher.arrivals.until(lambda: fetcher.arrivals.fetches, "object")
                begun = True

        await fetcher.session.cancel(request)

        if begun:
            must = relay.draft.number in CANCEL_RESETS
            async with contextlib.nullcontext() if must else relay.should("the relay should end the stream"):
                stream = await fetcher.stream(request)
                if stream is not None and stream.ended:
                    # "Any gaps ... indicate objects that do not exist ..., so long as the fetch stream is
                    # terminated by a FIN" (`message-fetch`); whether it is sent before the cancel or behind.
                    known = {place: payload(*place) for place in archive.objects}
                    assert says_unknown(relay, stream) or stream.payloads == known, (
                        "the stream of a FETCH that lacks objects was ended as if it were complete"
                    )
                    relay.info("the relay had sent all that it knew of before the FETCH was cancelled")
        else:
            relay.info("the relay sends nothing before it has everything")
        archive.respond = archive.answer
        _, again = await fetcher.fetch((0, 0), (0, 1))
        assert again.places == [(0, 0)]


@pytest.mark.interop("fetch-upstream-failure", timeout=8.0, profile="fetch", optional=True)
@pytest.mark.spec("message-fetch", "fetch-handling", "end-of-range")
async def test_fetch_upstream_failure(relay: RelayUnderTest) -> None:
    """Objects that the publisher did not bring are never said not to exist."""
    async with announced(relay) as (archive, fetcher):
        archive.keep(0)
        archive.keep(1)

        async def refuse(fetch: Fetch) -> None:
            await archive.publisher.reply(fetch, RequestError(RequestErrorCode.INTERNAL_ERROR, "no archive"))

        async def break_off(fetch: Fetch) -> None:
            stream = await archive.accept(fetch)
            assert stream is not None
            for item in archive.wanted(fetch)[:2]:
                stream.write(item)
            # A reset overtakes what went before, and takes the header with it that says which FETCH it is of.
            await archive.publisher.settle()
            await silence()
            stream.reset(0)

        for group, respond in ((0, refuse), (1, break_off)):
            archive.respond = respond

            fetched = await outcome(fetcher, fetcher.of((group, 0), (group, 0)))

            if fetched is not None and not fetched.was_reset and not says_unknown(relay, fetched):
                # From draft 20 on a relay may have got them by a SUBSCRIBE that is filled.
                assert fetched.payloads == {(group, number): payload(group, number) for number in range(4)}


@pytest.mark.interop("fetch-fill-timeout-zero", timeout=5.0, profile="fetch", since=18, optional=True)
@pytest.mark.spec("fill-timeout", "end-of-range")
async def test_fetch_fill_timeout_zero(relay: RelayUnderTest) -> None:
    """A FETCH that may wait for nobody brings what is at hand, and marks the rest."""
    async with past(relay, {1: range(4)}, before=(0, 3)) as track:
        track.archive.keep(0)

        async def ignore(_: Fetch) -> None:
            """Never answer."""

        track.archive.respond = ignore

        async with within(REACTION_SECONDS, "end of a fetch that waits for nobody"):
            request = await track.fetcher.session.open(
                track.fetcher.of((0, 0), (1, 0), {Parameter.FILL_TIMEOUT: 0})
            )
            await track.fetcher.session.expect(request, FetchOk)
            stream = await track.fetcher.stream(request)

        assert stream is not None
        assert stream.ended
        marked = [item for item in stream.items if isinstance(item, FetchRangeEnd)]
        assert any(item.flags != EMPTY_RANGE for item in marked), "unknown objects are said not to exist"
        assert set(stream.places) <= {(1, number) for number in range(4)}
        if relay.draft.number in TIMED_OUT:
            with relay.should("the relay should say that FILL_TIMEOUT is why"):
                assert TIMED_OUT_RANGE in [item.flags for item in marked]


@pytest.mark.interop("fetch-cache-expired", timeout=5.0, profile="fetch", optional=True)
@pytest.mark.spec("max-cache-duration")
async def test_fetch_cache_expired(relay: RelayUnderTest) -> None:
    """What is older than MAX_CACHE_DURATION is not served but after the publisher was asked."""
    async with past(relay, lifetime_ms=100) as track:
        # Time has to pass here: three times what an object may be served for.
        await silence()

        fetched = await outcome(track.fetcher, track.fetcher.of((0, 0), (1, 0)))

        served = fetched is not None and fetched.objects
        # By a FETCH, or from draft 20 on by what a subscription is filled with.
        assert not served or track.archive.asked, "objects were served that had expired"
