"""What waits at the relay for subscribers that take nothing, and what of it comes first when they do.

A relay chooses among objects when it can send one: "An Object is not schedulable if it is known that no part
of it can be written due to underlying transport flow control limits" (`definitions`). So the subscribers'
windows are closed until everything is at the relay, as another subscriber shows. What came before that does
not count, there was no choice; and the backlog is many times what a relay may have passed to its transport
ahead of need. Nothing is timed.

How it chooses "is constrained by the prioritization interface of the underlying transport"
(`scheduling-algorithm`). Where a window narrower than the backlog is given to whoever writes first, as by
transports that promise a writer room, only packets are sent by priority: such a relay is right with a window
for all. One that hands objects to its transport by priority, as there is room, is right with a narrow window,
and a wide one is room for all. So a relay is right that is so in one of the two ways.

There are two subscribers, who want the opposite of each other: no order that nobody chose is right for both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    PublishDone,
    PublishDoneStatus,
    QuicOptions,
    RelayUnderTest,
)

from .arrivals import Arrivals
from .sources import Source
from .tracks import Parameters, Subscription, subscribe
from .waits import REACTION_SECONDS, SILENCE_SECONDS

WINDOW = 8 * 1024
"Bytes that a subscriber takes at first, and again in each step."
GROUPS = 6
"Of each track, each time."
SIZE = 2048
"Bytes of an object's payload."
OVERHEAD = 16
"More than an object and its part of a stream's beginning have beside that."
OBJECTS = 192
"Of all tracks and groups, each time: nearly fifty windows."
TIMES = 3
"How often windows are opened for all, where that has to decide."
BUILD_SECONDS = 5.0
"Until all of it is with a subscriber: ten times what relays take."
ENOUGH, ENOUGH_IN_WIDE = 0.8, 0.7
"""How much of the first half of the backlog at least is what the subscriber prefers. With a wide window there
may be more datagrams at once than are read in time, and what was in those that are lost comes late."""

Preferred = Callable[[Source, int], bool]
"Whether a track's group, numbered anew each time, is of those that should come first."
Waiting = tuple[Source, int, int]
"Source, group and object."


class Reader:
    """A subscriber whose window is closed at times."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.arrivals = Arrivals(session)
        self.prefers: Preferred = lambda _source, _group: True
        "What it should be sent first."
        self.subscriptions: dict[Source, Subscription] = {}

    async def subscribe(self, source: Source, parameters: Parameters) -> None:
        """Have a track sent."""
        request = subscribe(self.session, source.namespace, parameters, arrivals=self.arrivals)
        self.subscriptions[source] = await request

    @property
    def came(self) -> set[Waiting]:
        """All that it was sent."""
        return {
            (source, *place)
            for source, subscription in self.subscriptions.items()
            for place in subscription.places
        }

    def is_over(self, groups: int) -> bool:
        """Whether the streams of so many groups of each track have ended, one way or the other."""
        subgroups = [each for subscription in self.subscriptions.values() for each in subscription.subgroups]
        over = sum(stream.over for stream in subgroups) + self.arrivals.nameless
        return over >= groups * len(self.subscriptions)

    async def is_given_up(self) -> bool:
        """Whether the relay has ended a subscription for its backlog, as it may (`delivery-timeouts`)."""
        self.session.connection.grant_credit()  # or it could not be said
        with contextlib.suppress(TimeoutError, CaseFailure):
            async with asyncio.timeout(SILENCE_SECONDS):
                for subscription in self.subscriptions.values():
                    done = await self.session.receive_later(subscription.request, PublishDone)
                    if done.status == PublishDoneStatus.TOO_FAR_BEHIND:
                        return True
        return False


class Backlog:
    """What two subscribers have not been sent, of tracks that a third one gets whole."""

    def __init__(self, readers: tuple[Reader, Reader], witness: Reader) -> None:
        self.readers = readers
        self._witness = witness
        self._groups = 0
        self._sent: set[Waiting] = set()

    async def measure(self, *, narrow: bool) -> list[float]:
        """Have objects published while the windows are closed, and open them, one after the other.

        Args:
            narrow: Little by little until half has come; or for all.

        Returns:
            For each subscriber, how much of the half that came first is what it prefers.

        Raises:
            CaseFailure: Something does not come.
        """
        await self._build()
        return [await self._open(reader, narrow=narrow) for reader in self.readers]

    async def _build(self) -> None:
        """Have groups published, of each track in turn, until all are at the relay."""
        for reader in self.readers:
            reader.session.connection.withhold_credit()
        sources = self.readers[0].subscriptions
        numbers = range(OBJECTS // GROUPS // len(sources))
        for group in range(self._groups, self._groups + GROUPS):
            for source in sources:
                source.group(group, numbers, size=SIZE)
                self._sent.update((source, group, number) for number in numbers)
        self._groups += GROUPS
        for source in sources:
            await self._witness.subscriptions[source].streams(self._groups, seconds=BUILD_SECONDS)
            await source.session.settle()  # the relay may have asked for it once for each subscriber

    async def _open(self, reader: Reader, *, narrow: bool) -> float:
        connection, arrivals = reader.session.connection, reader.arrivals
        # It may be a moment behind the witness.
        await connection.wait_credit_used(SILENCE_SECONDS)
        await reader.session.settle()
        await arrivals.take_what_came()
        waiting = self._sent - reader.came

        def enough() -> bool:
            return 2 * len(waiting & reader.came) >= len(waiting) or reader.is_over(self._groups)

        while narrow and not enough():
            connection.release_credit(WINDOW)
            # "A publisher might not utilize the entire available ... session flow control".
            narrow = await connection.wait_credit_used(REACTION_SECONDS)
            await arrivals.take_what_came()
        # No more than is missing, or the next window would not be closed.
        connection.release_credit((len(waiting - reader.came) + 1) * (SIZE + OVERHEAD))
        await arrivals.until(enough, "half of what waited", seconds=BUILD_SECONDS)
        came, first = waiting & reader.came, self._groups - GROUPS
        share = sum(reader.prefers(source, group - first) for source, group, _ in came) / max(1, len(came))

        await arrivals.until(
            lambda: reader.is_over(self._groups), "rest of what waited", seconds=BUILD_SECONDS
        )
        for source, subscription in reader.subscriptions.items():
            assert subscription.payloads == self._witness.subscriptions[source].payloads
        assert reader.came == self._sent
        return share


@contextlib.asynccontextmanager
async def held_back(relay: RelayUnderTest, *sources: Source) -> AsyncIterator[Backlog]:
    """Two subscribers whose windows can be closed, and another one of the same tracks."""
    narrow = QuicOptions(max_data=WINDOW)
    async with (
        relay.connect("subscriber_1", quic=narrow) as one,
        relay.connect("subscriber_2", quic=narrow) as other,
        relay.connect("subscriber_3") as third,
    ):
        witness = Reader(third)
        for source in sources:
            await witness.subscribe(source, {})
            await source.forwarding()
        yield Backlog((Reader(one), Reader(other)), witness)


async def judge(relay: RelayUnderTest, backlog: Backlog) -> None:
    """Warn of a relay that sends what its subscribers prefer no sooner than the rest.

    Raises:
        CaseFailure: Something does not come at all.
    """
    try:
        narrow = await backlog.measure(narrow=True)
        if min(narrow) >= ENOUGH:
            return
        rounds = [await backlog.measure(narrow=False) for _ in range(TIMES)]
    except (CaseFailure, AssertionError):
        if not any([await reader.is_given_up() for reader in backlog.readers]):
            raise
        relay.info("the relay ended a subscription with TOO_FAR_BEHIND, before it could be judged")
        return
    wide = [sum(shares) / TIMES for shares in zip(*rounds, strict=True)]
    found = f"with narrow windows {_percent(narrow)}, with wide ones {_percent(wide)}"
    if min(wide) >= ENOUGH_IN_WIDE:
        relay.info(f"what the subscribers prefer comes first where there is room: {found}")
    else:
        relay.warn("priority-ignored", f"what comes first is not what the subscribers prefer: {found}")


def _percent(shares: list[float]) -> str:
    return " and ".join(f"{share:.0%}" for share in shares)
