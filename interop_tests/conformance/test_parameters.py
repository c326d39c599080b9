"""Parameters of SUBSCRIBE: values that no draft has, and what a publisher hears of those that there are."""

from __future__ import annotations

import contextlib
from typing import TypeVar

import pytest

from pytest_moqt import (
    CaseFailure,
    Frame,
    GroupOrder,
    KeyValues,
    Parameter,
    Property,
    RelayUnderTest,
    RequestError,
    RequestUpdate,
    SessionError,
    Span,
    Subscribe,
    drafts,
)

from .reactions import attack, closes
from .sources import Source, sourced
from .tracks import NAMESPACE, TRACK, Parameters, subscribe
from .waits import REACTION_SECONDS, silence, within

ORDER_AT = ((drafts(14, 14), -4), (drafts(15), -1))
FORWARD_AT = ((drafts(14, 14), -3), (drafts(15), -1))
"Where a value is, from the end, in a SUBSCRIBE with no other parameter; in draft 14 a filter follows."
NO_ORDER = ((drafts(14, 14), (3,)), (drafts(15), (0, 3)))
"Group orders that a draft does not have; in 14, 0 is the publisher's."
ZERO_CLOSES = drafts(16, 16)
"Drafts in which a delivery timeout of 0 is an error; elsewhere it is none."

T = TypeVar("T")
Places = tuple[tuple[Span, int], ...]


async def one_byte(relay: RelayUnderTest, parameters: Parameters, places: Places, value: int) -> None:
    """A SUBSCRIBE with another value in one byte ends its session with PROTOCOL_VIOLATION."""

    def edit(frame: Frame) -> Frame:
        body = bytearray(frame.body)
        body[_there(relay, places)] = value
        return frame.replace(body=bytes(body))

    async with attack(relay) as attacker:
        await attacker.open(Subscribe(relay.namespace(NAMESPACE), TRACK, KeyValues(parameters)), edit=edit)

        await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


def _there(relay: RelayUnderTest, rows: tuple[tuple[Span, T], ...]) -> T:
    """What a table says of the draft of the run."""
    return next(value for span, value in rows if relay.draft.number in span)


@pytest.mark.interop("subscribe-forward-invalid", timeout=8.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "message-params", "forward-parameter")
async def test_subscribe_forward_invalid(relay: RelayUnderTest) -> None:
    """A forward state other than 0 and 1 ends the session with PROTOCOL_VIOLATION."""
    await one_byte(relay, {Parameter.FORWARD: 1}, FORWARD_AT, 2)


@pytest.mark.interop("subscribe-group-order-invalid", timeout=10.0, profile="subscriptions")
@pytest.mark.spec("message-subscribe-req", "group-order")
async def test_subscribe_group_order_invalid(relay: RelayUnderTest) -> None:
    """A group order that the draft does not have ends the session with PROTOCOL_VIOLATION."""
    await one_byte(relay, {Parameter.GROUP_ORDER: GroupOrder.ASCENDING}, ORDER_AT, 3)
    if 0 in _there(relay, NO_ORDER):
        await one_byte(relay, {Parameter.GROUP_ORDER: GroupOrder.ASCENDING}, ORDER_AT, 0)


@pytest.mark.interop("subscribe-delivery-timeout-zero", timeout=8.0, profile="subscriptions", since=16)
@pytest.mark.spec("delivery-timeout", "delivery-timeouts", "object-delivery-timeout")
async def test_subscribe_delivery_timeout_zero(relay: RelayUnderTest) -> None:
    """A delivery timeout of 0 ends the session in draft 16; elsewhere it means that there is none."""
    async with sourced(relay) as source:
        if relay.draft.number in ZERO_CLOSES:
            await one_byte(relay, {Parameter.OBJECT_DELIVERY_TIMEOUT: 1}, ((ZERO_CLOSES, -1),), 0)
            return
        async with relay.connect("subscriber") as subscriber:
            subscription = await subscribe(
                subscriber, source.namespace, {Parameter.OBJECT_DELIVERY_TIMEOUT: 0}
            )

            source.group(0)

            await subscription.objects(*((0, number) for number in range(4)))
            await subscription.streams(1)
            assert [stream.ended for stream in subscription.arrivals.subgroups(subscription.alias)] == [True]


@pytest.mark.interop(
    "subscribe-new-group-request", timeout=8.0, profile="subscriptions", since=16, optional=True
)
@pytest.mark.spec("new-group-request", "dynamic-groups")
async def test_subscribe_new_group_request(relay: RelayUnderTest) -> None:
    """A wish for a new group reaches the publisher, once as long as it is outstanding."""
    any_group: Parameters = {Parameter.NEW_GROUP_REQUEST: 0}
    next_group: Parameters = {Parameter.NEW_GROUP_REQUEST: 5}
    async with (
        sourced(relay, properties={Property.DYNAMIC_GROUPS: 1}) as source,
        relay.connect("subscriber") as subscriber,
    ):
        subscription = await subscribe(subscriber, source.namespace, any_group)
        assert wishes(source) == [0]
        source.group(0)
        await subscription.objects(*((0, number) for number in range(4)))

        for _ in range(2):
            async with within(REACTION_SECONDS, "answer to the update"):
                answer = await subscriber.update(subscription.request, KeyValues(next_group))
            if isinstance(answer, RequestError):
                relay.not_offered("update-refused", subscriber.describe(answer, RequestUpdate))
        # The relay may answer before it passes the wish on, which a second update does not repeat.
        with contextlib.suppress(CaseFailure):
            await source.until(lambda: len(wishes(source)) > 1, "second NEW_GROUP_REQUEST of the relay")
        await silence()

        assert wishes(source) == [0, 5]


def wishes(source: Source) -> list[int]:
    """The groups that the relay has asked the publisher for."""
    said = [each.get(Parameter.NEW_GROUP_REQUEST) for asked in source.asked for each in asked.said]
    return [wish for wish in said if wish is not None]
