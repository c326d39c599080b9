"""Which of a session's streams of objects is sent first (`scheduling-algorithm`).

Rules:

- The subscriber's priority of the request decides, then the publisher's priority, then, among streams that
  answer one request, the order of its groups, and in a group the lowest subgroup.
- A subscription's fill goes before the subscription's own objects of the same group, and behind them all
  where its groups have another order (20 on).
- Requests that are alike in both priorities take turns: "the expectation is that all subscriptions will be
  able to send some data".
- Nothing is decided before it can be sent: the streams of a connection are put in order ahead of each of its
  packets (`internals`), so that what was queued long ago is overtaken by what is more urgent.
- Control streams come before all objects, then request streams. Datagrams wait for the congestion window
  only, and come before all streams, as the driver has it.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PRIORITY = 128
"Of a subscriber that states none (`subscriber-priority`), and of such a publisher (`publisher-priority`)."
CONTROL, REQUESTS = -2, -1
"""What control streams have for a subscriber's priority, and what has no rank: "the control streams SHOULD be
prioritized highest, followed by the bidi request streams and then all subscribed Objects"."""


@dataclass(slots=True, eq=False)
class Share:
    """What a request has of its session: all streams that answer it are sent by this."""

    priority: int = DEFAULT_PRIORITY
    "The subscriber's, 0 to 255; the lowest is sent first. It may change while streams are open."
    descending: bool = False
    "Whether higher groups are sent first."
    served: int = 0
    "When anything of it was sent last, in frames of the connection."


@dataclass(slots=True, eq=False)
class Rank:
    """The place of a stream among those of its session."""

    share: Share
    publisher_priority: int = DEFAULT_PRIORITY
    group: int = 0
    subgroup: int = 0
    last: bool = False
    "Whether it waits for all others of the request that have these priorities."

    @property
    def urgency(self) -> tuple[int, ...]:
        """What is smallest is sent first."""
        share = self.share
        group = -self.group if share.descending else self.group
        return (share.priority, self.publisher_priority, share.served, self.last, group, self.subgroup)
