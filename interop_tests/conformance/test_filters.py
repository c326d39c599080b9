"""Filters: a subscriber gets the objects of the range that it asked for, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pytest_moqt import (
    Filter,
    FilterType,
    Frame,
    KeyValues,
    Location,
    Parameter,
    RangeFilter,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    SessionEnded,
    SessionError,
    SetupOption,
    Subscribe,
    SubscribeOk,
    drafts,
)

from .arrivals import Arrivals, Place
from .reactions import attack, closes, judge_close, refuses
from .sources import Source, sourced
from .tracks import NAMESPACE, TRACK, Subscription, subscribe
from .waits import REACTION_SECONDS, silence, within

OBJECTS = 4
"Of each group."
MANY_RANGES = 64
"More than a case sends to exceed a relay's limit."


Edit = Callable[[Frame], Frame]


def selecting(
    kind: FilterType, start: Place | None = None, end_group: int | None = None
) -> KeyValues[Any, Any]:
    """The parameters of a SUBSCRIBE with a filter."""
    where = None if start is None else Location(*start)
    return KeyValues(((Parameter.SUBSCRIPTION_FILTER, Filter(kind, where, end_group)),))


def places(*groups: int, numbers: range = range(OBJECTS)) -> list[Place]:
    """Group and object of these objects of these groups."""
    return [(group, number) for group in groups for number in numbers]


@contextlib.asynccontextmanager
async def kept(relay: RelayUnderTest) -> AsyncIterator[tuple[Source, Subscription]]:
    """A track with a subscriber that has no filter: it gets everything, so that the relay does too."""
    async with sourced(relay) as source, relay.connect("subscriber_1") as subscriber_1:
        yield source, await subscribe(subscriber_1, source.namespace)


@pytest.mark.interop("subscribe-filter-absolute-range", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters", "location-filter")
async def test_subscribe_filter_absolute_range(relay: RelayUnderTest) -> None:
    """A subscription to a range of groups gets this range, its last group whole, and nothing else."""
    async with (
        kept(relay) as (source, everything),
        relay.connect("subscriber_2") as subscriber_2,
        relay.connect("subscriber_3") as subscriber_3,
    ):
        two_groups = selecting(FilterType.ABSOLUTE_RANGE, (1, 2), 2)
        one_group = selecting(FilterType.ABSOLUTE_RANGE, (1, 2), 1)
        second = await subscribe(subscriber_2, source.namespace, two_groups)
        third = await subscribe(subscriber_3, source.namespace, one_group)

        for group in range(5):
            source.group(group)

        await second.objects((1, 2), (1, 3), *places(2))
        await third.objects((1, 2), (1, 3))
        await everything.objects(*places(*range(5)))
        await silence()
        for each in (second, third):
            await each.arrivals.take_what_came()
        assert second.places == [(1, 2), (1, 3), *places(2)]
        assert third.places == [(1, 2), (1, 3)]


@pytest.mark.interop("subscribe-filter-absolute-start", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters", "location-filter")
async def test_subscribe_filter_absolute_start(relay: RelayUnderTest) -> None:
    """A subscription from a place on gets what is published from there on, and nothing before it."""
    wanted = [(2, 3), *places(3)]
    async with kept(relay) as (source, everything), relay.connect("subscriber_2") as subscriber_2:
        second = await subscribe(subscriber_2, source.namespace, selecting(FilterType.ABSOLUTE_START, (2, 3)))

        for group in range(4):
            source.group(group)

        await second.objects(*wanted)
        await everything.objects(*places(*range(4)))
        await silence()
        await second.arrivals.take_what_came()
        assert second.places == wanted


@pytest.mark.interop("subscribe-filter-largest", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters", "location-filter")
async def test_subscribe_filter_largest(relay: RelayUnderTest) -> None:
    """A subscription from the largest object on gets the objects behind it, in the middle of a group."""
    await _join(relay, FilterType.LARGEST_OBJECT, [(1, 2), (1, 3), *places(2)])


@pytest.mark.interop("subscribe-filter-next-group", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters", "location-filter")
async def test_subscribe_filter_next_group(relay: RelayUnderTest) -> None:
    """A subscription from the next group on gets nothing of the group that is being published."""
    await _join(relay, FilterType.NEXT_GROUP_START, places(2))


async def _join(relay: RelayUnderTest, kind: FilterType, wanted: list[Place]) -> None:
    """Subscribe in the middle of group 1, and get just what is wanted of its rest, and of group 2."""
    async with kept(relay) as (source, everything), relay.connect("subscriber_2") as subscriber_2:
        late, stream = source.subgroup(0), source.subgroup(1)
        late.write(0, 1)
        stream.write(0, 1)
        await everything.objects(*places(0, 1, numbers=range(2)))
        second = await subscribe(subscriber_2, source.namespace, selecting(kind))

        # "relays can receive Objects with Locations smaller than Largest Object after the SUBSCRIBE is
        # processed, but these Objects do not pass the Largest Object filter."
        late.write(2)
        stream.write(2, 3)
        late.finish()
        stream.finish()
        source.group(2)

        await second.objects(*wanted)
        await everything.objects(*places(0, numbers=range(3)), *places(1, 2))
        await silence()
        await second.arrivals.take_what_came()
        assert second.places == wanted


@pytest.mark.interop("subscribe-filter-range-in-past", timeout=8.0, profile="subscriptions", level="should")
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters", "location-filters")
async def test_subscribe_filter_range_in_past(relay: RelayUnderTest) -> None:
    """A subscription to groups that are over is refused, or, from draft 20 on, stands and gets nothing."""
    past = selecting(FilterType.ABSOLUTE_RANGE, (1, 0), 2)
    async with kept(relay) as (source, everything), relay.connect("subscriber_2") as subscriber_2:
        for group in range(6):
            source.group(group)
        await everything.objects(*places(*range(6)))
        await everything.streams(6)

        async with within(REACTION_SECONDS, "answer"):
            answer = await subscriber_2.request(Subscribe(source.namespace, TRACK, past))

        if relay.draft.past_filters_refused:
            with relay.should("the relay should refuse a range that is over with INVALID_RANGE"):
                assert isinstance(answer, RequestError)
                assert answer.code == RequestErrorCode.INVALID_RANGE
        else:
            # "A Location Filter on a subscription is always valid, even if it specifies a range entirely
            # before Largest Object" (22 section 3.3.1).
            assert isinstance(answer, SubscribeOk), subscriber_2.describe(answer, Subscribe)
        source.group(6)
        await everything.objects(*places(6))
        await silence()
        arrivals = Arrivals(subscriber_2)
        await arrivals.take_what_came()
        got = arrivals.places(answer.track_alias) if isinstance(answer, SubscribeOk) else []
        assert [place for place in got if not 1 <= place[0] <= 2] == []
        # "Subscribe only requests newly published or received Objects."
        with relay.should("the relay should send a subscriber no objects of the past"):
            assert got == []


@pytest.mark.interop(
    "subscribe-filter-end-before-start", timeout=8.0, profile="subscriptions", level="should", until=16
)
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters")
async def test_subscribe_filter_end_before_start(relay: RelayUnderTest) -> None:
    """A subscription to a range that ends before it starts is refused with INVALID_RANGE."""
    backwards = selecting(FilterType.ABSOLUTE_RANGE, (5, 0), 3)
    async with kept(relay) as (source, _), relay.connect("subscriber_2") as subscriber_2:
        request = Subscribe(source.namespace, TRACK, backwards)
        async with relay.should("the relay should refuse a range that ends before it starts"):
            try:
                async with within(REACTION_SECONDS, "refusal"):
                    refusal = await subscriber_2.request(request, expect=RequestError)
            except SessionEnded:
                # "End Group MUST specify the same or a larger Group": who breaks that may be closed for it.
                close = await subscriber_2.wait_closed()
                judge_close(relay, subscriber_2, close, SessionError.PROTOCOL_VIOLATION)
            else:
                assert refusal.code == RequestErrorCode.INVALID_RANGE


# ---- filters that nobody may write ----------------------------------------------------------------

TYPE_AT = ((drafts(14, 14), -2), (drafts(15), -1))
"Where the Filter Type is in a SUBSCRIBE whose only parameter is a filter of nothing but a type."
BIGGEST = (1 << 64) - 1


def _with_type(relay: RelayUnderTest, number: int) -> Edit:
    """An edit that writes another Filter Type."""

    def edit(frame: Frame) -> Frame:
        place = next(place for span, place in TYPE_AT if relay.draft.number in span)
        body = bytearray(frame.body)
        body[place] = number
        return frame.replace(body=bytes(body))

    return edit


def _ending(cut: int, end: bytes) -> Edit:
    """An edit that writes other bytes in place of the last ones."""
    return lambda frame: frame.replace(body=frame.body[:-cut] + end)


async def _refused_by_close(
    relay: RelayUnderTest,
    parameters: KeyValues[Any, Any],
    edit: Edit,
    *codes: SessionError,
) -> None:
    """A SUBSCRIBE with one edit ends its session."""
    async with attack(relay) as attacker:
        request = Subscribe(relay.namespace(NAMESPACE), TRACK, parameters)
        await attacker.open(request, edit=edit)

        await closes(relay, attacker, *codes)


@pytest.mark.interop("subscribe-filter-unknown-type", timeout=10.0, profile="subscriptions", until=19)
@pytest.mark.spec("message-subscribe-req", "subscription-filter", "subscription-filters", "location-filter")
async def test_subscribe_filter_unknown_type(relay: RelayUnderTest) -> None:
    """A Filter Type that the draft does not have ends the session with PROTOCOL_VIOLATION."""
    for number in (0x0, 0x5):
        await _refused_by_close(
            relay,
            selecting(FilterType.LARGEST_OBJECT),
            _with_type(relay, number),
            SessionError.PROTOCOL_VIOLATION,
        )


# In drafts 20 and 21 a filter has no type: how many fields it has tells what it is.
@pytest.mark.interop("subscribe-location-filter-unknown-type", timeout=8.0, profile="subscriptions", since=22)
@pytest.mark.spec("location-filter")
async def test_subscribe_location_filter_unknown_type(relay: RelayUnderTest) -> None:
    """A Location Filter Type that the draft does not have ends the session with PROTOCOL_VIOLATION."""
    await _refused_by_close(
        relay,
        selecting(FilterType.LARGEST_OBJECT),
        _with_type(relay, 0x6),
        SessionError.PROTOCOL_VIOLATION,
    )


# From draft 17 on nothing is said of it; drafts 20 and 21 tell the fields by the length, 22 has none.
@pytest.mark.interop(
    "subscribe-filter-length-mismatch", timeout=10.0, profile="subscriptions", since=15, until=16
)
@pytest.mark.spec("subscription-filter")
async def test_subscribe_filter_length_mismatch(relay: RelayUnderTest) -> None:
    """A filter that is longer or shorter than its Filter Type needs ends the session."""
    longer = (selecting(FilterType.LARGEST_OBJECT), _ending(2, b"\x02\x02\x00"))
    shorter = (selecting(FilterType.ABSOLUTE_START, (2, 3)), _ending(4, b"\x02\x03\x02"))
    for parameters, edit in (longer, shorter):
        await _refused_by_close(
            relay,
            parameters,
            edit,
            SessionError.PROTOCOL_VIOLATION,
            SessionError.KEY_VALUE_FORMATTING_ERROR,
        )


@pytest.mark.interop("subscribe-filter-delta-overflow", timeout=8.0, profile="subscriptions", since=18)
@pytest.mark.spec("subscription-filters", "location-filters", "location-filter")
async def test_subscribe_filter_delta_overflow(relay: RelayUnderTest) -> None:
    """A range that ends behind the largest group there can be ends the session with PROTOCOL_VIOLATION."""
    to_the_last = selecting(FilterType.ABSOLUTE_RANGE, (BIGGEST, 0), BIGGEST)
    await _refused_by_close(relay, to_the_last, _ending(1, b"\x01"), SessionError.PROTOCOL_VIOLATION)


# ---- ranges of numbers ----------------------------------------------------------------------------


@pytest.mark.interop(
    "subscribe-range-filters-disabled", timeout=8.0, profile="subscriptions", since=19, optional=True
)
@pytest.mark.spec("range-filters", "max-filter-ranges")
async def test_subscribe_range_filters_disabled(relay: RelayUnderTest) -> None:
    """More ranges than MAX_FILTER_RANGES allows are refused with INVALID_FILTER; fewer select."""
    async with kept(relay) as (source, everything), relay.connect("subscriber_2") as subscriber_2:
        assert subscriber_2.peer_setup is not None
        limit = subscriber_2.peer_setup.options.get(SetupOption.MAX_FILTER_RANGES, 0)
        if limit < MANY_RANGES:
            ranges = tuple((4 * number, 4 * number + 1) for number in range(limit + 1))
            too_many = _by_number(source, ranges)
            if await refuses(relay, subscriber_2, too_many, RequestErrorCode.INVALID_FILTER) is None:
                return  # the session is over, which `refuses` has judged
        if limit == 0:
            return

        request = await subscriber_2.open(_by_number(source, ((1, 2),)))
        ok = await subscriber_2.expect(request, SubscribeOk)
        source.group(0)
        source.group(1)

        second = Subscription(subscriber_2, request, ok, Arrivals(subscriber_2))
        await second.objects(*places(0, 1, numbers=range(1, 3)))
        await everything.objects(*places(0, 1))
        await silence()
        await second.arrivals.take_what_came()
        assert second.places == places(0, 1, numbers=range(1, 3))


def _by_number(source: Source, ranges: tuple[tuple[int, int], ...]) -> Subscribe:
    """A SUBSCRIBE for the objects with these numbers."""
    wanted = ((Parameter.OBJECTID_FILTER, RangeFilter(0, ranges)),)
    return Subscribe(source.namespace, TRACK, KeyValues(wanted))
