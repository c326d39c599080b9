"""Fetches of a track's past through the relay: a track that somebody published, and one who fetches of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    Fetch,
    FetchOk,
    FetchRangeEnd,
    KeyValues,
    Location,
    Parameter,
    Property,
    Publish,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    SessionError,
    StandaloneFetch,
    Subscribe,
    drafts,
)

from .archive import Archive
from .arrivals import Arrivals, Fetched, Place
from .reactions import closes, refuses
from .tracks import NAMESPACE, TRACK, Parameters, Publication, Subscription, announce, first_subscribe
from .waits import DELIVERY_SECONDS, REACTION_SECONDS, within

EMPTY_RANGE = 0x8C
"Flags of a range that holds no objects; those of others say that nothing is known of it."
UNKNOWN_STATUS = ((drafts(16, 17), 0x4), (drafts(18), 0x6))
"UNKNOWN_OBJECT_STATUS of a stream's reset."
LIFETIME_IS_PARAMETER = drafts(14, 15)
"Drafts that have MAX_CACHE_DURATION among the parameters; later it is a property of the track."
WHOLE = {0: range(4), 1: range(4), 2: range(4)}
"Three groups of four objects."

HAS_PROPERTIES = drafts(16)
"Drafts in which SUBSCRIBE_OK has properties of the track."


@dataclass
class Fetcher:
    """A session that fetches of one track."""

    relay: RelayUnderTest
    session: ClientSession
    namespace: tuple[bytes, ...]
    arrivals: Arrivals

    def of(self, start: Place, end: Place, parameters: Parameters | None = None) -> Fetch:
        """A FETCH from `start` to before `end`; object 0 there stands for the whole group."""
        wanted = StandaloneFetch(self.namespace, TRACK, Location(*start), Location(*end))
        return Fetch(wanted, KeyValues(parameters or {}))

    async def fetch(
        self, start: Place, end: Place, parameters: Parameters | None = None
    ) -> tuple[FetchOk, Fetched]:
        """Fetch a range whose objects can all be had (`get`)."""
        return await self.get(self.of(start, end, parameters))

    async def get(self, wanted: Fetch) -> tuple[FetchOk, Fetched]:
        """Fetch what can be had.

        Raises:
            CaseFailure: The relay refuses, or the stream does not come or does not end with a FIN.
        """
        request = await self.session.open(wanted)
        ok = await self.session.expect(request, FetchOk)
        return ok, await self.complete(request)

    async def complete(self, request: Fetch | Subscribe | Publish) -> Fetched:
        """The stream of objects that can all be had.

        Skips the case where the relay says that it does not know of them: it need not keep anything
        (`caching-relays`), and "can choose to reset the FETCH data stream ..., or indicate the range of
        unknown Objects" (`fetch-handling`).

        Raises:
            CaseFailure: It does not come, or does not end with a FIN.
        """
        stream = await self.stream(request)
        if stream is None:
            # "signals a fill failure by resetting the stream" (`fill-semantics`); the header may get lost.
            self.relay.not_offered("past-unknown", "the relay reset a fetch stream before its header came")
        if says_unknown(self.relay, stream):
            self.relay.not_offered("past-unknown", "the relay says that it does not know what was published")
        assert stream.ended, (
            f"the stream was reset with {stream.reset_code}, where all objects were to be had"
        )
        return stream

    async def refused(self, wanted: Fetch, *codes: RequestErrorCode) -> None:
        """Fetch what the relay has to refuse with one of these codes (`refuses`), without any objects.

        Skips the case where the relay says that it has no FETCH.

        Raises:
            CaseFailure: It accepts, or does not answer.
        """
        refusal = await refuses(self.relay, self.session, wanted, *codes, RequestErrorCode.NOT_SUPPORTED)
        if refusal is None:
            return  # the session is over, which `refuses` has judged
        if refusal.code is RequestErrorCode.NOT_SUPPORTED:
            self.relay.not_offered("not-supported", f"the relay has no such FETCH: {refusal.reason}")
        await self.brought_nothing()

    async def brought_nothing(self) -> None:
        """Make sure that no objects came."""
        await self.session.settle()
        await self.arrivals.take_what_came()
        assert [stream.places for stream in self.arrivals.fetches if stream.places] == []

    async def stream(self, request: Fetch | Subscribe | Publish) -> Fetched | None:
        """The stream that answers a FETCH, or fills a subscription, when it is over.

        Returns:
            None: one was reset so early that it does not tell of what request it was.

        Raises:
            CaseFailure: It does not come to an end.
        """
        number = request.request_id

        def over() -> bool:
            stream = self.arrivals.fetched(number)
            return bool(self.arrivals.nameless) if stream is None else stream.over

        await self.arrivals.until(over, f"end of the fetch stream of request {number}")
        return self.arrivals.fetched(number)


@dataclass
class Past:
    """A track that was published, and is not over; the relay has seen all of it."""

    publication: Publication
    subscription: Subscription
    archive: Archive
    fetcher: Fetcher


def says_unknown(relay: RelayUnderTest, stream: Fetched) -> bool:
    """Whether the relay said on a fetch stream that it does not know what there is."""
    if any(item.flags != EMPTY_RANGE for item in stream.items if isinstance(item, FetchRangeEnd)):
        return True
    codes = [code for span, code in UNKNOWN_STATUS if relay.draft.number in span]
    return stream.was_reset and stream.reset_code in codes


@contextlib.asynccontextmanager
async def past(
    relay: RelayUnderTest,
    groups: Mapping[int, Iterable[int]] = WHOLE,
    *,
    ended: bool = True,
    size: int = 32,
    lifetime_ms: int | None = None,
    before: Place | None = None,
    properties: Mapping[int, Any] | None = None,
) -> AsyncIterator[Past]:
    """A track that the relay has seen pass to a subscriber, and a session that may fetch of it.

    Args:
        relay: Between them.
        groups: The objects of each group.
        ended: Whether each group is said to end with its last object.
        size: Bytes of each payload.
        lifetime_ms: How long the relay may keep an object (`max-cache-duration`).
        before: The largest object before the subscription, of which the relay has seen nothing.
        properties: Of the track, in drafts in which one has any.
    """
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber") as subscriber,
        relay.connect("fetcher") as session,
    ):
        namespace = relay.namespace(NAMESPACE)
        answer: dict[Parameter | int, Any] = {}
        said = dict(properties or {}) if relay.draft.number in HAS_PROPERTIES else {}
        if before is not None:
            answer[Parameter.LARGEST_OBJECT] = Location(*before)
        if lifetime_ms is not None and relay.draft.number in LIFETIME_IS_PARAMETER:
            answer[Parameter.MAX_CACHE_DURATION] = lifetime_ms
        elif lifetime_ms is not None:
            said[Property.MAX_CACHE_DURATION] = lifetime_ms
        await announce(publisher, namespace)
        publication, subscription = await first_subscribe(
            publisher, subscriber, namespace, answer=answer, properties=said
        )
        archive = Archive(publisher)
        async with archive.serving(publication.request):
            for group, numbers in groups.items():
                archive.keep(group, numbers, size=size)
                publication.group(group, numbers, size=size, end_of_group=ended)
            await subscription.objects(*archive.objects)
            await subscription.streams(len(groups))
            fetcher = Fetcher(relay, session, namespace, Arrivals(session))
            yield Past(publication, subscription, archive, fetcher)


@contextlib.asynccontextmanager
async def announced(relay: RelayUnderTest) -> AsyncIterator[tuple[Archive, Fetcher]]:
    """A publisher whose track nobody has subscribed to, and a session that may fetch of it."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("fetcher") as session:
        await announce(publisher, namespace)
        archive = Archive(publisher)
        async with archive.serving():
            yield archive, Fetcher(relay, session, namespace, Arrivals(session))


@contextlib.contextmanager
def offered(relay: RelayUnderTest) -> Iterator[None]:
    """Skip the case where the relay refuses with NOT_SUPPORTED what is asked of it inside.

    "Relays MUST implement all MOQT messages" (`modularity`): it is a lack, but one that the relay tells of.
    """
    try:
        yield
    except CaseFailure as failure:
        refusal = relay.declined(failure)
        if refusal is None:
            raise
        relay.not_offered("not-supported", str(refusal))


async def closes_for(
    relay: RelayUnderTest, session: ClientSession, request: Fetch, code: SessionError
) -> None:
    """Wait until the relay ends a session for a FETCH; skips the case where it says that it has none.

    Raises:
        CaseFailure: It does not, though it takes FETCH.
    """
    session.bear_end()
    # Whatever else comes first, the end of the request's own stream too, the session has to end.
    with contextlib.suppress(CaseFailure, TimeoutError):
        async with asyncio.timeout(REACTION_SECONDS):
            reply = await session.answer(request)
            if isinstance(reply, RequestError) and reply.code == RequestErrorCode.NOT_SUPPORTED:
                relay.not_offered("not-supported", "the relay has no FETCH")
    await closes(relay, session, code)


async def outcome(fetcher: Fetcher, wanted: Fetch) -> Fetched | None:
    """What becomes of a FETCH: its stream, or None: it is refused.

    Skips the case where the relay says that it has no FETCH.
    """
    request = await fetcher.session.open(wanted)
    async with within(DELIVERY_SECONDS, "answer to FETCH"):
        reply = await fetcher.session.answer(request)
    if isinstance(reply, FetchOk):
        return await fetcher.stream(request)
    if isinstance(reply, RequestError) and reply.code == RequestErrorCode.NOT_SUPPORTED:
        fetcher.relay.not_offered("not-supported", f"the relay has no such FETCH: {reply.reason}")
    return None
