"""Many subscribers of one track, each on a connection of its own: who is let in, and what each has to get.

Rules:

- A relay may let in fewer than come. Where it turns somebody away for what it has to bear, nobody else is
  sent: those that it let in are judged.
- Whom it let in gets the track. It may give a subscription up later, but has to say so.
- An object is sent when everybody has the one before. How long it takes is told, and is no verdict: the
  time that our own sessions take to read it is in it, for all of them run in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    ConnectError,
    PublishDone,
    PublishDoneStatus,
    RelayUnderTest,
    RequestAbandoned,
    RequestError,
    RequestErrorCode,
    SessionEnded,
    SetupError,
    Subscribe,
    SubscribeOk,
    drafts,
)

from .arrivals import Arrivals, Place
from .overload import abandoned_for_load, ended_for_load
from .silence import came
from .sources import SourceStream
from .tracks import TRACK, Subscription, payload

AT_A_TIME = 5
"That come at once: a relay in a slow language gets each of them served before we give up on it."
OBJECT_SECONDS = 10.0
"For an object to be with everybody: three hundred times what it takes."
FULL = ("closed", "webtransport", "tls", "timeout")
"How a connection is refused that comes about with others: by QUIC, HTTP, what is in front of them, or not."
REFUSED = (RequestErrorCode.EXCESSIVE_LOAD, RequestErrorCode.GOING_AWAY)
UNNAMED, NAMED_SINCE = RequestErrorCode.INTERNAL_ERROR, drafts(17)
"What EXCESSIVE_LOAD has to be before there is such a code, and the drafts that have it."
GIVEN_UP = (PublishDoneStatus.EXCESSIVE_LOAD, PublishDoneStatus.TOO_FAR_BEHIND)
RESET = (0x5, 0x9)
"The same as codes of streams, in every draft that has them (`stream-reset-codes`)."
NAMED = 5
"Subscribers that a failure names."


class Crowd:
    """The subscribers of a track that were let in."""

    def __init__(
        self, relay: RelayUnderTest, namespace: tuple[bytes, ...], sessions: contextlib.AsyncExitStack
    ) -> None:
        self.subscriptions: list[Subscription] = []
        self.turned_away: list[str] = []
        "What those were told that were not."
        self.given_up: list[str] = []
        "What those were told that were let in, and then get no more."
        self._relay = relay
        self._namespace = namespace
        self._sessions = sessions
        self._seconds: dict[str, list[float]] = {}
        "That each object took, by the subscriber's role."

    async def come(self, count: int) -> None:
        """Let so many subscribe, some at a time, until one is turned away.

        Raises:
            CaseFailure: One got no answer, or one that a relay under load has no reason for.
        """
        for first in range(1, count + 1, AT_A_TIME):
            if self.turned_away:
                return
            async with asyncio.TaskGroup() as tasks:
                for number in range(first, min(first + AT_A_TIME, count + 1)):
                    tasks.create_task(self._come(f"subscriber_{number}"))

    async def _come(self, role: str) -> None:
        try:
            session = await self._sessions.enter_async_context(self._relay.connect(role))
        except ConnectError as refusal:
            if refusal.kind not in FULL:
                raise
            self._turn_away(refusal, waited=refusal.kind == "timeout")
        except SetupError as refusal:
            if refusal.cause != "setup":
                raise
            self._turn_away(refusal, waited=refusal.received == "timeout")
        else:
            await self._subscribe(session)

    def _turn_away(self, refusal: ConnectError | SetupError, *, waited: bool) -> None:
        if waited and not self.subscriptions:
            # Where nobody has got in, nothing says that it was one too many.
            raise refusal
        if waited:
            # "SHOULD send an Initial packet containing a CONNECTION_CLOSE frame with error code
            # CONNECTION_REFUSED" (RFC 9000 section 5.2.2).
            self._relay.warn("no-refusal", f"one that is one too many should be refused: {refusal}")
        self.turned_away.append(str(refusal))

    async def _subscribe(self, session: ClientSession) -> None:
        try:
            request = await session.open(Subscribe(self._namespace, TRACK))
            answer = await session.answer(request)
        except SessionEnded:
            how = ended_for_load(session)
            if how is None:
                raise
            self.turned_away.append(how)
            return
        except RequestAbandoned as abandoned:
            if not abandoned_for_load(abandoned):
                raise
            self.turned_away.append(abandoned.received)
            return
        if isinstance(answer, SubscribeOk):
            self.subscriptions.append(Subscription(session, request, answer, Arrivals(session)))
            self._seconds[session.role] = []
            return
        # "When a Relay receives an authorized SUBSCRIBE for a Track with one or more `Established` upstream
        # subscriptions, it MUST reply with SUBSCRIBE_OK", but "MAY reject excessive subscriptions".
        if not isinstance(answer, RequestError) or answer.code not in (*REFUSED, UNNAMED):
            await session.expect(request, SubscribeOk)
            return
        said = session.describe(answer, Subscribe)
        if answer.code == UNNAMED and session.draft.number in NAMED_SINCE:
            self._relay.warn("wrong-code", f"the relay refused with {said}, where EXCESSIVE_LOAD is meant")
        self.turned_away.append(said)

    async def get(self, stream: SourceStream, place: Place, size: int) -> None:
        """Send an object, and wait until all have it, unchanged.

        Raises:
            CaseFailure: Somebody does not get it, or gets something else.
        """
        sent = time.monotonic()
        stream.write(place[1])
        late: list[Subscription] = []

        async def wait(each: Subscription) -> None:
            try:
                await each.arrivals.until(
                    lambda: place in each.payloads, f"object {place}", seconds=OBJECT_SECONDS
                )
            except SessionEnded:
                raise
            except CaseFailure:
                late.append(each)
            else:
                self._seconds[each.session.role].append(time.monotonic() - sent)

        async with asyncio.TaskGroup() as tasks:
            for each in self.subscriptions:
                tasks.create_task(wait(each))
        for each in late:
            await self._give_up(each, place)
        self._judge(place, payload(*place, size))

    async def _give_up(self, late: Subscription, place: Place) -> None:
        """Leave out a subscriber that was told that it is too much for the relay, or too slow."""
        done = await came(late.session, PublishDone, about=late.request)
        codes = [stream.reset_code for stream in late.subgroups if stream.group == place[0]]
        if done is not None and done.status in GIVEN_UP:
            said = f"PUBLISH_DONE {done.status}"
        elif code := next((code for code in codes if code in RESET), None):
            said = f"RESET_STREAM {code:#x}"
        else:
            return
        self.subscriptions.remove(late)
        self.given_up.append(f"{said} ({late.session.role})")

    def _judge(self, place: Place, sent: bytes) -> None:
        """See that everybody has what was sent."""
        got = {each.session.role: each.payloads.get(place) for each in self.subscriptions}
        what = f"object {place[0]}/{place[1]}"
        without = [role for role, octets in got.items() if octets is None]
        if without:
            raise CaseFailure(
                f"{len(without)} of {len(got)} subscribers did not get {what} "
                f"within {OBJECT_SECONDS * 1000:.0f} ms: {_named(without)}",
                cause="timeout",
                expected=f"{what} at each of {len(got)} subscribers",
                received="timeout",
            )
        changed = [role for role, octets in got.items() if octets != sent]
        if changed:
            came_instead = got[changed[0]] or b""
            alike = [ours == theirs for ours, theirs in zip(sent, came_instead, strict=False)]
            first = [*alike, False].index(False)
            raise CaseFailure(
                f"{len(changed)} of {len(got)} subscribers got other bytes for {what}: {_named(changed)}",
                cause="data",
                expected=f"{len(sent)} bytes",
                received=f"{len(came_instead)} bytes, others from byte {first} on",
            )

    def measured(self) -> dict[str, object]:
        """How long the objects took, in milliseconds, and who waited longest."""
        taken = sorted(seconds * 1000 for values in self._seconds.values() for seconds in values)
        if not taken:
            return {}
        medians = {role: statistics.median(values) for role, values in self._seconds.items() if values}
        slowest = max(medians, key=lambda role: medians[role])
        figures = {
            "median": statistics.median(taken),
            "p99": taken[len(taken) * 99 // 100],
            "max": taken[-1],
        }
        return {
            "subscribers": len(self.subscriptions),
            "latency_ms": {name: round(value, 1) for name, value in figures.items()},
            "slowest_subscriber": {"role": slowest, "median_ms": round(medians[slowest] * 1000, 1)},
        }


@contextlib.asynccontextmanager
async def gathered(relay: RelayUnderTest, namespace: tuple[bytes, ...], count: int) -> AsyncIterator[Crowd]:
    """As many subscribers of a track, or as the relay lets in.

    Args:
        relay: Under test.
        namespace: The track's, which has a publisher.
        count: How many come.
    """
    async with contextlib.AsyncExitStack() as sessions:
        crowd = Crowd(relay, namespace, sessions)
        await crowd.come(count)
        yield crowd


def _named(roles: list[str]) -> str:
    first, more = roles[:NAMED], len(roles) - NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
