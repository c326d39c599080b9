"""TRACK_STATUS: what is known of a track is told, and nothing else comes of it."""

from __future__ import annotations

import pytest

from pytest_moqt import (
    ClientSession,
    Filter,
    FilterType,
    Location,
    Parameter,
    PublishDone,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    TrackStatus,
    drafts,
)

from .fetches import offered, past
from .silence import never_came
from .sources import sourced
from .tracks import NAMESPACE, TRACK, Parameters, subscribe
from .waits import REACTION_SECONDS, silence, within

OWN_STREAM = drafts(17)
"Drafts in which TRACK_STATUS has a stream of its own, which ends with the answer."
TELLS_PROPERTIES = drafts(18)
"Drafts in which the answer has the properties of the track."
PROPERTIES = {0x38: 5, 0x39: b"unknown"}
"Track properties that nobody defines."


async def has_ended(relay: RelayUnderTest, session: ClientSession, request: TrackStatus) -> None:
    """Make sure that the stream of a TRACK_STATUS ends with its answer."""
    if relay.draft.number in OWN_STREAM:
        async with within(REACTION_SECONDS, "end of the stream of TRACK_STATUS"):
            await session.wait_ended(request)


@pytest.mark.interop("track-status-ok", timeout=4.0, profile="status")
@pytest.mark.spec("message-track-status", "message-track-status-ok", "largest-param")
async def test_track_status_ok(relay: RelayUnderTest) -> None:
    """The status of a track is what SUBSCRIBE_OK would say of it: the largest object, and its properties."""
    async with past(relay, {3: range(5)}, properties=PROPERTIES) as track:
        inquirer = track.fetcher.session

        request = await inquirer.open(TrackStatus(track.fetcher.namespace, TRACK))
        with offered(relay):
            status = await inquirer.expect(request, RequestOk)

        assert status.parameters.get(Parameter.LARGEST_OBJECT) == Location(3, 4)
        if relay.draft.number in TELLS_PROPERTIES:
            assert status.track_properties == track.subscription.ok.track_properties
        await has_ended(relay, inquirer, request)


@pytest.mark.interop("track-status-nonexistent", timeout=3.0, profile="status")
@pytest.mark.spec("message-track-status", "message-track-status-error", "message-request-error")
async def test_track_status_nonexistent(relay: RelayUnderTest) -> None:
    """The status of a track that nobody publishes is DOES_NOT_EXIST."""
    async with relay.connect("inquirer") as inquirer:
        request = await inquirer.open(TrackStatus(relay.namespace(NAMESPACE), TRACK))

        refusal = await inquirer.expect(request, RequestError)

        if refusal.code is RequestErrorCode.NOT_SUPPORTED:
            relay.not_offered("not-supported", "the relay has no TRACK_STATUS")
        with relay.should("the relay should refuse with DOES_NOT_EXIST"):
            assert refusal.code is RequestErrorCode.DOES_NOT_EXIST
        await has_ended(relay, inquirer, request)


@pytest.mark.interop("track-status-no-state", timeout=5.0, profile="status")
@pytest.mark.spec("message-track-status")
async def test_track_status_no_state(relay: RelayUnderTest) -> None:
    """Who asked for the status of a track has not subscribed to it."""
    async with (
        sourced(relay) as source,
        relay.connect("subscriber") as subscriber,
        relay.connect("inquirer") as inquirer,
    ):
        subscription = await subscribe(subscriber, source.namespace)
        source.group(0)
        await subscription.streams(1)
        request = await inquirer.open(TrackStatus(source.namespace, TRACK))
        with offered(relay):
            await inquirer.expect(request, RequestOk)

        source.group(1)
        await subscription.streams(2)
        from_now_on: Parameters = {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.LARGEST_OBJECT)}
        again = await subscribe(inquirer, source.namespace, from_now_on)
        source.group(2)
        await again.streams(1)
        await source.done()
        await again.done()
        await silence()

        await never_came(inquirer, PublishDone, "although it has only asked for the status", about=request)
        await again.arrivals.take_what_came()
        assert again.places == [(2, number) for number in range(4)]
        assert again.arrivals.aliases == {again.alias}
