"""Many clients, slow ones, and such as come and go: what one does costs no other its track.

The numbers are those of a second on one machine, not of a load test: whoever wants that gives a relay more.
Left out are a session that is silent for 90 seconds and a hundred subscribers for twenty.
"""

from __future__ import annotations

import pytest

from pytest_moqt import (
    QuicOptions,
    RelayUnderTest,
)

from .tracks import (
    NAMESPACE,
    announce,
    first_subscribe,
    payload,
    subscribe,
)

WINDOW = 64 * 1024
"Bytes that a slow subscriber takes, and no more."
SLOW_GROUPS, SLOW_OBJECTS, SLOW_SIZE = 16, 16, 4096
"A mebibyte, most of which a slow subscriber leaves with the relay: a second's work for one of Python."
SLOW_SECONDS = 15.0
"Until a fast one has all."
SESSIONS = 20
TRACKS = 100
LOAD_SECONDS = 10.0
"Until all of many have been answered, or have come."
CHURNING = 20
AT_A_TIME = 5
PUBLISHERS = 6
SUBSCRIPTIONS = 40


@pytest.mark.interop("slow-subscriber-isolated", timeout=25.0, profile="robustness")
@pytest.mark.spec("subscriber-interactions", "resource-exhaustion", "delivery-timeouts")
async def test_slow_subscriber_isolated(relay: RelayUnderTest) -> None:
    """A subscriber that reads nothing any more does not keep another from getting the whole track."""
    slowly = QuicOptions(max_data=WINDOW, max_stream_data=WINDOW)
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("slow_subscriber", quic=slowly) as slow,
        relay.connect("subscriber") as fast,
    ):
        await announce(publisher, namespace)
        publication, _ = await first_subscribe(publisher, slow, namespace)
        subscription = await subscribe(fast, namespace)
        slow.connection.withhold_credit()

        for group in range(SLOW_GROUPS):
            publication.group(group, range(SLOW_OBJECTS), size=SLOW_SIZE)

        await subscription.streams(SLOW_GROUPS, seconds=SLOW_SECONDS)
        assert subscription.payloads == {
            (group, number): payload(group, number, SLOW_SIZE)
            for group in range(SLOW_GROUPS)
            for number in range(SLOW_OBJECTS)
        }
        # Its own loss is the slow one's: resets, PUBLISH_DONE, the end of its session, or a long wait.
        if slow.closed is not None and slow.closed.by_peer:
            slow.close_awaited = True
            relay.info(f"the slow subscriber's session ended: {slow.describe_close(slow.closed)}")
