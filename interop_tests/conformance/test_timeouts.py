"""Delivery timeouts: what a subscriber does not take in time is given up, and what follows still comes."""

from __future__ import annotations

import pytest

from pytest_moqt import Parameter, QuicOptions, RelayUnderTest, drafts

from .tracks import NAMESPACE, announce, first_subscribe

TIMEOUT_MS = 300
DELIVERY_TIMEOUT = 0x2
"In every draft (`closing-subgroup-streams`)."
WINDOW = 64 * 1024
"Bytes that the subscriber takes before it grants no more."
SIZE = 32 * 1024
"Of each object; eight of them do not fit."

TIMEOUTS = (
    (drafts(14, 17), Parameter.OBJECT_DELIVERY_TIMEOUT),
    # The one for objects is looked at before they go to QUIC, which may take all of them at once; this one
    # runs "via a timer until all data is acknowledged" (18 section 8).
    (drafts(18), Parameter.SUBGROUP_DELIVERY_TIMEOUT),
)


# It takes the timeout's time, and then as long as a relay needs to see that it is over.
@pytest.mark.interop("subscribe-delivery-timeout", timeout=10.0, profile="subscriptions", optional=True)
@pytest.mark.spec(
    "version-specific-params", "delivery-timeout", "delivery-timeouts", "subgroup-delivery-timeout"
)
async def test_subscribe_delivery_timeout(relay: RelayUnderTest) -> None:
    """A subgroup that is not taken within its delivery timeout is reset, and later ones come."""
    namespace = relay.namespace(NAMESPACE)
    small = QuicOptions(max_data=WINDOW, max_stream_data=WINDOW)
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber", quic=small) as subscriber,
    ):
        await announce(publisher, namespace)
        parameter = next(name for span, name in TIMEOUTS if relay.draft.number in span)
        publication, subscription = await first_subscribe(
            publisher, subscriber, namespace, {parameter: TIMEOUT_MS}
        )
        subscriber.connection.withhold_credit()
        publication.group(0, range(8), size=SIZE)

        await subscription.streams(1)
        subscriber.connection.grant_credit()
        publication.group(1)

        await subscription.objects(*((1, number) for number in range(4)))
        first = subscription.arrivals.subgroups(subscription.alias)[0]
        assert (first.group, first.was_reset) == (0, True)
        if first.reset_code != DELIVERY_TIMEOUT:
            code = first.reset_code
            relay.warn("wrong-code", f"the stream was reset with {code}, not DELIVERY_TIMEOUT (0x2)")
