"""Answers to the relay that no draft allows: they end the session of who gave them, and no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    Fetch,
    FetchOk,
    FilteredFetch,
    Location,
    Redirect,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    SessionError,
    StandaloneFetch,
    Subscribe,
    SubscribeOk,
    Topology,
)

from .arrivals import Arrivals
from .names import putting, sized
from .octets import integers
from .outcomes import came_of, came_of_session
from .reactions import closes, harmless, judge_close
from .tracks import ALIAS, NAMESPACE, TRACK, announce
from .variants import named
from .waits import REACTION_SECONDS, silence, within

LONGEST = 1024
"Bytes that a Reason Phrase may have."
UNUSED_ID = 99
"A request id of the relay's that it has not come to."
FETCH_HEADER = 0x05
RANGE = (Location(2, 0), Location(3, 0))
"What is fetched: groups 2 and 3."
ELSEWHERE = "https://elsewhere.invalid/moq"


@contextlib.asynccontextmanager
async def asked_for_a_track(
    relay: RelayUnderTest, name: str
) -> AsyncIterator[tuple[ClientSession, Subscribe, ClientSession, Subscribe]]:
    """A publisher that was asked for a track and has not answered, and the subscriber that waits for it.

    Gives the publisher, the relay's SUBSCRIBE, the subscriber, and its own.
    """
    namespace = relay.namespace(f"{NAMESPACE}/{name}")
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        waiting = await subscriber.open(Subscribe(namespace, TRACK))
        yield publisher, await publisher.receive(Subscribe), subscriber, waiting


async def refused_after_all(relay: RelayUnderTest, subscriber: ClientSession, waiting: Subscribe) -> None:
    """Make sure that a subscription is not accepted whose publisher said nothing valid."""
    answer, said = await came_of(subscriber, waiting, seconds=REACTION_SECONDS)
    if answer is None or isinstance(answer, CaseFailure):
        relay.warn("should", f"the relay should refuse the subscription, and {said}")
    else:
        assert isinstance(answer, RequestError), f"the relay {said}"


@pytest.mark.interop("reason-phrase-too-long", timeout=8.0, profile="malformed")
@pytest.mark.spec("reason-phrase")
async def test_reason_phrase_too_long(relay: RelayUnderTest) -> None:
    """A reason of more than 1024 bytes ends the session with PROTOCOL_VIOLATION, one of 1024 does not."""
    longest = RequestError(RequestErrorCode.INTERNAL_ERROR, "x" * LONGEST)
    async with harmless(relay):
        with named(relay, "1024 bytes"):
            async with asked_for_a_track(relay, "good") as (publisher, asked, subscriber, waiting):
                await publisher.reply(asked, longest)

                async with within(REACTION_SECONDS, "answer to SUBSCRIBE"):
                    await subscriber.expect(waiting, RequestError)
        with named(relay, "1025 bytes"):
            async with asked_for_a_track(relay, "long") as (publisher, asked, subscriber, waiting):
                reason = b"x" * LONGEST
                longer = putting(
                    integers(relay.draft, LONGEST + 1) + reason + b"x", sized(relay.draft, reason)
                )
                await publisher.reply(asked, longest, edit=longer)

                await closes(relay, publisher, SessionError.PROTOCOL_VIOLATION)
                await refused_after_all(relay, subscriber, waiting)


@pytest.mark.interop("redirect-to-server", timeout=6.0, profile="malformed", since=18)
@pytest.mark.spec("redirect-structure")
async def test_redirect_to_server(relay: RelayUnderTest) -> None:
    """A redirect of the relay to another URI ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay), asked_for_a_track(relay, "here") as (publisher, asked, subscriber, waiting):
        redirect = Redirect(ELSEWHERE, asked.track_namespace, asked.track_name)
        await publisher.reply(asked, RequestError(RequestErrorCode.REDIRECT, redirect=redirect))

        await closes(relay, publisher, SessionError.PROTOCOL_VIOLATION)
        await refused_after_all(relay, subscriber, waiting)


async def _upstream(
    relay: RelayUnderTest, publisher: ClientSession, subscriber: ClientSession, fetching: Fetch
) -> Fetch:
    """The relay's FETCH for a client's; without one the case is skipped."""
    asking = asyncio.create_task(publisher.receive(Fetch))
    refusing = asyncio.create_task(came_of(subscriber, fetching, seconds=REACTION_SECONDS))
    try:
        await asyncio.wait([asking, refusing], return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            relay.not_offered("no-upstream-fetch", f"the relay asks no publisher: it {refusing.result()[1]}")
        return asking.result()
    finally:
        asking.cancel()
        refusing.cancel()


@pytest.mark.interop("fetch-response-malformed", timeout=10.0, profile="malformed", since=16, optional=True)
@pytest.mark.spec("fetch-header", "message-fetch-ok")
async def test_fetch_response_malformed(relay: RelayUnderTest) -> None:
    """An answer to the relay's FETCH that cannot be ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        beginnings = {
            "a first object that refers to a prior one": integers(relay.draft, 0x00, 4) + b"data",
            "Serialization Flags 0x80": integers(relay.draft, 0x80, 2, 0, 0, 4) + b"data",
            "FETCH_OK that ends before the start": None,
        }
        for number, (name, beginning) in enumerate(beginnings.items()):
            namespace = relay.namespace(f"{NAMESPACE}/{number}")
            with named(relay, name):
                async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
                    await announce(publisher, namespace)
                    fetching = await subscriber.open(Fetch(StandaloneFetch(namespace, TRACK, *RANGE)))
                    asked = await _upstream(relay, publisher, subscriber, fetching)
                    end = _before(asked) if beginning is None else Location(RANGE[1].group, 1)
                    if end is None:
                        relay.info("the relay fetches from the beginning on, before which no answer ends")
                        continue
                    await publisher.reply(asked, FetchOk(end_of_track=False, end=end))
                    if beginning is not None:
                        header = integers(relay.draft, FETCH_HEADER, asked.request_id or 0)
                        publisher.open_stream().send(header + beginning)

                    await closes(relay, publisher, SessionError.PROTOCOL_VIOLATION)
                    await _not_fetched(relay, subscriber, fetching)


def _before(asked: Fetch) -> Location | None:
    """An End Location that is smaller than the start of the relay's FETCH; None: there is none."""
    # Its range need not be that of the client's FETCH.
    wanted = asked.range
    start = wanted.start if isinstance(wanted, StandaloneFetch) else None
    if isinstance(wanted, FilteredFetch) and wanted.filter is not None:
        start = wanted.filter.start
    if start is None:
        return None
    if start.group:
        return Location(start.group - 1, 1)
    # The object is one more than is meant, and 0 means the whole group.
    return Location(0, start.object - 1) if start.object > 1 else None


async def _not_fetched(relay: RelayUnderTest, subscriber: ClientSession, fetching: Fetch) -> None:
    """A fetch is refused, or its stream reset, of which nothing valid came."""
    answer, said = await came_of(subscriber, fetching, seconds=REACTION_SECONDS)
    if answer is None or isinstance(answer, CaseFailure):
        relay.warn("should", f"the relay should refuse the fetch, and {said}")
    elif isinstance(answer, FetchOk):
        arrivals = Arrivals(subscriber)
        with relay.should("the relay should reset the stream of the fetch"):
            await arrivals.until(
                lambda: (stream := arrivals.fetched(fetching.request_id)) and stream.over,
                "end of the fetch",
                seconds=REACTION_SECONDS,
            )
        stream = arrivals.fetched(fetching.request_id)
        assert stream is None or not (stream.ended and stream.items == []), "the relay says that all is empty"
        assert stream is None or stream.objects == []
    else:
        assert isinstance(answer, RequestError), f"the relay {said}"


@pytest.mark.interop("response-unsolicited", timeout=5.0, profile="malformed", level="may")
@pytest.mark.spec("message", "data-streams", "request-id")
async def test_response_unsolicited(relay: RelayUnderTest) -> None:
    """Answers that the relay asked nobody for harm nobody."""
    async with harmless(relay), contextlib.AsyncExitStack() as stack:
        own_streams = relay.draft.topology is Topology.REQUEST_STREAMS
        attackers: dict[str, ClientSession] = {}

        async def attacker(name: str) -> ClientSession:
            attackers[name] = await stack.enter_async_context(relay.connect("attacker"))
            return attackers[name]

        for kind, reply in {
            "SUBSCRIBE_OK": SubscribeOk(ALIAS, request_id=UNUSED_ID),
            "FETCH_OK": FetchOk(end_of_track=False, end=Location(0, 1), request_id=UNUSED_ID),
        }.items():
            session = await attacker(kind)
            # Where requests have streams, behind the answer to a request of our own.
            about = await announce(session, relay.namespace(f"{NAMESPACE}/{kind}")) if own_streams else None
            await session.send_raw(session.frame(reply), about)
        session = await attacker("a stream that answers a FETCH")
        session.open_stream().send(integers(relay.draft, FETCH_HEADER, UNUSED_ID))
        await silence()

        for name, session in attackers.items():
            close, said = await came_of_session(session, seconds=0)
            relay.info(f"{name}: the relay {said}")
            if close is not None:
                codes = SessionError.PROTOCOL_VIOLATION, SessionError.INVALID_REQUEST_ID
                judge_close(relay, session, close, *codes)
