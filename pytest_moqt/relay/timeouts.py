"""Delivery timeouts: streams of objects that a subscriber does not take in time are reset.

An object is passed to the transport as soon as it is there, where it may wait for long. So the time is taken
until the subscriber has acknowledged it: "implementations SHOULD check object delivery timeouts before
retransmitting", and a publisher may give up before a timeout, not after it (`delivery-timeouts`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pytest_moqt.protocol.parameters import Parameter, Parameters, Properties, Property
from pytest_moqt.protocol.record import Record
from pytest_moqt.relay.clock import Clock, Timer


class Timeouts(Record):
    """Seconds; None: there is no such timeout."""

    object: float | None = None
    "For each object, from when it was received."
    subgroup: float | None = None
    "For the rest of a stream, from its FIN (18 on)."


def timeouts(subscriber: Parameters, publisher: Parameters, track: Properties) -> Timeouts:
    """What holds for a subscription: "the smaller of the two", of those that are given and not 0.

    Args:
        subscriber: Parameters of the subscription.
        publisher: Parameters that the publisher gave (14 and 15).
        track: Properties of the track (16 on).
    """

    def smallest(parameter: Parameter, name: Property) -> float | None:
        values = [subscriber.get(parameter), publisher.get(parameter), track.get(name)]
        given = [value for value in values if isinstance(value, int) and value > 0]
        return min(given) / 1000 if given else None

    return Timeouts(
        smallest(Parameter.OBJECT_DELIVERY_TIMEOUT, Property.OBJECT_DELIVERY_TIMEOUT),
        smallest(Parameter.SUBGROUP_DELIVERY_TIMEOUT, Property.SUBGROUP_DELIVERY_TIMEOUT),
    )


class Backlog(Protocol):
    """What is asked of a stream."""

    def __call__(self) -> int:
        """Its bytes that were not acknowledged."""


class DeliveryWatch:
    """Looks whether one stream is taken in time.

    Args:
        clock: The relay's.
        within: The timeouts.
        backlog: Of the stream.
        late: Called once, when it is not.
    """

    def __init__(self, clock: Clock, within: Timeouts, backlog: Backlog, late: Callable[[], None]) -> None:
        self._clock = clock
        self._within = within
        self._backlog = backlog
        self._late = late
        self._written = 0
        self._due: deque[tuple[float, int]] = deque()
        "When which bytes, counted from the stream's beginning, have to be acknowledged; rising."
        self._timer: Timer | None = None
        self._fin_timer: Timer | None = None

    def wrote(self, size: int, since: float | None = None) -> None:
        """An object was passed on; or a part of one that began to come at `since`, by the clock."""
        self._written += size
        if self._within.object is not None:
            began = self._clock.time() if since is None else since
            self._due.append((began + self._within.object, self._written))
            self._schedule()

    def is_late(self, since: float) -> bool:
        """Whether nothing more may be passed on of an object that began to come at `since`."""
        return self._within.object is not None and self._clock.time() > since + self._within.object

    def finished(self) -> None:
        """So was the end of the stream."""
        if self._within.subgroup is not None:
            self._fin_timer = self._clock.call_later(self._within.subgroup, self._look_at_all)

    def cancel(self) -> None:
        """The stream was reset."""
        self._due.clear()
        for timer in (self._timer, self._fin_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._fin_timer = None

    def _schedule(self) -> None:
        if self._timer is None and self._due:
            self._timer = self._clock.call_later(max(0.0, self._due[0][0] - self._clock.time()), self._look)

    def _look(self) -> None:
        self._timer = None
        taken = self._written - self._backlog()
        while self._due and self._due[0][1] <= taken:
            self._due.popleft()
        if self._due and self._due[0][0] <= self._clock.time():
            self._give_up()
        else:
            self._schedule()

    def _look_at_all(self) -> None:
        self._fin_timer = None
        if self._backlog():
            self._give_up()

    def _give_up(self) -> None:
        self.cancel()
        self._late()
