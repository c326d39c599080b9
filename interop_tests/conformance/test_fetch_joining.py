"""Joining: the past of a track, up to where a subscription begins; no gap, and nothing twice.

Up to draft 19 a joining FETCH brings it, from draft 20 on a fill that SUBSCRIBE asks for (`fill-semantics`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from pytest_moqt import (
    Fetch,
    Filter,
    FilterType,
    JoiningFetch,
    KeyValues,
    Location,
    Parameter,
    RelayUnderTest,
    RequestErrorCode,
    SessionError,
    StreamObject,
    SubgroupHeader,
    SubgroupStream,
    drafts,
)

from .archive import Archive
from .arrivals import Arrivals, Place
from .fetches import Fetcher, Past, closes_for, offered, past
from .reactions import attack
from .tracks import NAMESPACE, Subscription, announce, first_subscribe, payload, subscribe
from .waits import silence

FILLING = drafts(20)
"Drafts in which SUBSCRIBE asks for what precedes it; in others a FETCH does."
NOTHING: Mapping[Parameter | int, Any] = MappingProxyType({})
FROM_NOW_ON = Filter(FilterType.LARGEST_OBJECT)
GROUPS = {group: range(4) for group in range(4)}
"Whole groups; the live one follows, of which objects 0 to 2 were published."
LIVE = 4


def begin_live_group(track: Past) -> SubgroupStream:
    """Publish the beginning of the live group."""
    stream = open_live_group(track, track.publication.alias, begins=True)
    for number in range(3):
        stream.write(StreamObject(number, payload(LIVE, number)))
    track.archive.keep(LIVE, range(3))
    return stream


def open_live_group(track: Past, alias: int, *, begins: bool = False) -> SubgroupStream:
    """A stream of the live group under an alias; `begins` with the first object or a later one."""
    session = track.publication.session
    first = begins and session.draft.has_first_object
    return session.open_subgroup(SubgroupHeader(alias, LIVE, end_of_group=True, first_object=first))


async def goes_on_from(track: Past, first: int, start: Filter, joining: JoiningFetch) -> None:
    """Join a track, then publish more: together the two bring all objects from a group on, once.

    Args:
        track: What is joined.
        first: The group.
        start: The same for a fill.
        joining: The same for a FETCH, of whatever subscription.
    """
    stream = begin_live_group(track)
    await track.subscription.objects((LIVE, 2))

    subscription, past_places = await join(track, start, joining)
    for live in (stream, *(open_live_group(track, alias) for alias in track.archive.aliases)):
        for number in (3, 4):
            live.write(StreamObject(number, payload(LIVE, number)))
        live.finish()
    await subscription.objects((LIVE, 4))
    await subscription.streams(1)

    before = [(group, number) for group in range(first, LIVE) for number in range(4)]
    assert past_places == [*before, (LIVE, 0), (LIVE, 1), (LIVE, 2)]
    assert subscription.places == [(LIVE, 3), (LIVE, 4)]


async def join(track: Past, start: Filter, joining: JoiningFetch) -> tuple[Subscription, list[Place]]:
    """Subscribe from now on, and get what was before; with the places of that."""
    fetcher = track.fetcher
    filling = fetcher.session.draft.number in FILLING
    subscription = await subscribe_from_now_on(fetcher, start if filling else None)
    if filling:
        return subscription, (await fetcher.complete(subscription.request)).places
    ok, stream = await fetcher.get(of_subscription(subscription, joining))
    assert (ok.end.group, ok.end.object) == (LIVE, 3)
    return subscription, stream.places


async def subscribe_from_now_on(
    fetcher: Fetcher, fill: Filter | None, more: Mapping[Parameter | int, Any] = NOTHING
) -> Subscription:
    """Subscribe from the next object on, with what has to be filled and more parameters."""
    parameters: dict[Parameter | int, Any] = {Parameter.SUBSCRIPTION_FILTER: FROM_NOW_ON, **more}
    if fill is not None:
        parameters[Parameter.FILL_PARAMETERS] = KeyValues({Parameter.SUBSCRIPTION_FILTER: fill})
    return await subscribe(fetcher.session, fetcher.namespace, parameters, arrivals=fetcher.arrivals)


def of_subscription(subscription: Subscription, joining: JoiningFetch) -> Fetch:
    """A joining FETCH of this subscription."""
    number = subscription.request.request_id
    assert number is not None
    return Fetch(JoiningFetch(number, joining.joining_start, joining.relative))


@pytest.mark.interop("fetch-joining-relative", timeout=6.0, profile="fetch", optional=True)
@pytest.mark.spec("joining-fetches", "fill-semantics")
async def test_fetch_joining_relative(relay: RelayUnderTest) -> None:
    """A subscription and so many groups before it bring every object from there on, once."""
    back = 2
    start = Filter(FilterType.RELATIVE_START, groups_back=back + 1)
    async with past(relay, GROUPS) as track:
        await goes_on_from(track, LIVE - back, start, JoiningFetch(0, back, relative=True))


@pytest.mark.interop("fetch-joining-absolute", timeout=6.0, profile="fetch", optional=True)
@pytest.mark.spec("joining-fetches", "fill-semantics")
async def test_fetch_joining_absolute(relay: RelayUnderTest) -> None:
    """A subscription and what is before it from a certain group on bring every object, once."""
    start = Filter(FilterType.ABSOLUTE_START, start=Location(1, 0))
    async with past(relay, GROUPS) as track:
        await goes_on_from(track, 1, start, JoiningFetch(0, 1, relative=False))


@pytest.mark.interop("fetch-joining-unknown-request", timeout=3.0, profile="fetch", until=19)
@pytest.mark.spec("joining-fetches", "message-fetch-error")
async def test_fetch_joining_unknown_request(relay: RelayUnderTest) -> None:
    """A joining FETCH of no subscription is refused with INVALID_JOINING_REQUEST_ID."""
    async with relay.connect("fetcher") as session:
        fetcher = Fetcher(relay, session, relay.namespace(NAMESPACE), Arrivals(session))

        await fetcher.refused(Fetch(JoiningFetch(1000, 1)), RequestErrorCode.INVALID_JOINING_REQUEST_ID)


@pytest.mark.interop("fetch-joining-wrong-filter", timeout=6.0, profile="fetch", until=16)
@pytest.mark.spec("joining-fetches")
async def test_fetch_joining_wrong_filter(relay: RelayUnderTest) -> None:
    """A joining FETCH of a subscription that does not begin at the largest object ends the session."""
    async with attack(relay) as attacker, relay.connect("publisher") as publisher:
        namespace = relay.namespace(NAMESPACE)
        await announce(publisher, namespace)
        archive = Archive(publisher)
        archive.keep(1)
        archive.keep(2)
        publication, subscription = await first_subscribe(
            publisher,
            attacker,
            namespace,
            {Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.NEXT_GROUP_START)},
            answer={Parameter.LARGEST_OBJECT: archive.largest},
        )
        async with archive.serving(publication.request):
            request = await attacker.open(of_subscription(subscription, JoiningFetch(0, 1)))

            await closes_for(relay, attacker, request, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("fetch-joining-forward-0", timeout=4.0, profile="fetch", since=18)
@pytest.mark.spec("joining-fetches", "fill-semantics")
async def test_fetch_joining_forward_0(relay: RelayUnderTest) -> None:
    """A subscription that is paused cannot be joined: INVALID_RANGE, or no fill."""
    async with past(relay) as track:
        await gets_no_past(track, {Parameter.FORWARD: 0})


@pytest.mark.interop("fetch-joining-no-content", timeout=4.0, profile="fetch")
@pytest.mark.spec("joining-fetches", "fill-semantics")
async def test_fetch_joining_no_content(relay: RelayUnderTest) -> None:
    """A track without objects cannot be joined: INVALID_RANGE, or no fill."""
    async with past(relay, {}) as track:
        await gets_no_past(track)


async def gets_no_past(track: Past, parameters: Mapping[Parameter | int, Any] = NOTHING) -> None:
    """Subscribe with more parameters, and join: it is refused, or where there is no answer, nothing comes."""
    fetcher = track.fetcher
    filling = fetcher.session.draft.number in FILLING
    start = Filter(FilterType.RELATIVE_START, groups_back=2) if filling else None
    with offered(fetcher.relay):
        subscription = await subscribe_from_now_on(fetcher, start, parameters)

    if not filling:
        joining = of_subscription(subscription, JoiningFetch(0, 1))
        await fetcher.refused(joining, RequestErrorCode.INVALID_RANGE)
        return
    await silence()

    await fetcher.arrivals.take_what_came()
    assert fetcher.arrivals.fetches == []
