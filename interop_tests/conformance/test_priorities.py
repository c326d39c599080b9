"""Priorities: what a subscriber is sent first when not all can be sent.

Each case has a relay pass some 400 KiB on to three subscribers, which takes half a second: less would be no
more than a relay may have handed to its transport before there was anything to choose (`backlog`).
"""

from __future__ import annotations

import pytest

from pytest_moqt import GroupOrder, Parameter, RelayUnderTest

from .backlog import GROUPS, Preferred, held_back, judge
from .sources import Source, serving, sourced
from .tracks import NAMESPACE

URGENT, PATIENT = 10, 200
"Priorities: the lower number is served first."
SECOND_ALIAS = 50
"Of the second track of one publisher."


@pytest.mark.interop(
    "subscribe-group-order-descending", timeout=20.0, profile="subscriptions", level="should"
)
@pytest.mark.spec("scheduling-algorithm", "group-order", "message-subscribe-req")
async def test_subscribe_group_order_descending(relay: RelayUnderTest) -> None:
    """Of groups that wait, a subscriber who wants descending order is sent the newer ones first."""
    async with sourced(relay) as source, held_back(relay, source) as backlog:
        newest, oldest = backlog.readers
        await newest.subscribe(source, {Parameter.GROUP_ORDER: GroupOrder.DESCENDING})
        newest.prefers = lambda _, group: group >= GROUPS // 2
        await oldest.subscribe(source, {Parameter.GROUP_ORDER: GroupOrder.ASCENDING})
        oldest.prefers = lambda _, group: group < GROUPS // 2

        await judge(relay, backlog)


@pytest.mark.interop("subscribe-priority-respected", timeout=20.0, profile="subscriptions", level="should")
@pytest.mark.spec("scheduling-algorithm", "considerations-for-setting-priorities", "subscriber-priority")
async def test_subscribe_priority_respected(relay: RelayUnderTest) -> None:
    """Of two tracks that wait for a subscriber, the one that it gave the higher priority is sent first."""
    async with (
        sourced(relay) as one,
        serving(relay, one.session, name=f"{NAMESPACE}/other", alias=SECOND_ALIAS) as other,
        held_back(relay, one, other) as backlog,
    ):
        for reader, urgent, patient in zip(backlog.readers, (other, one), (one, other), strict=True):
            await reader.subscribe(patient, {Parameter.SUBSCRIBER_PRIORITY: PATIENT})
            await reader.subscribe(urgent, {Parameter.SUBSCRIBER_PRIORITY: URGENT})
            reader.prefers = _is(urgent)

        await judge(relay, backlog)


def _is(urgent: Source) -> Preferred:
    return lambda source, _: source is urgent
