"""A session that is silent for long: it is kept, or ended in a way that everybody notices.

It runs when it is asked for by its name or the profile `soak`, for it takes as long as `--soak` says.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from pytest_moqt import CaseFailure, ClientSession, PublishDone, RelayUnderTest, SessionEnded, SessionError

from .silence import came
from .sources import Source, sourced
from .tracks import Subscription, payload, subscribe
from .waits import DELIVERY_SECONDS

GROUP = [(0, number) for number in range(4)]
IDLE = (
    *(SessionError.NO_ERROR, SessionError.INTERNAL_ERROR, SessionError.GOAWAY_TIMEOUT),
    *(SessionError.CONTROL_MESSAGE_TIMEOUT, SessionError.DATA_STREAM_TIMEOUT),
)
"How a session may end in which nothing was wrong; no draft has a code for one that was silent."


@pytest.mark.interop("soak-idle-session", timeout=30.0, profile="soak", level="may")
@pytest.mark.spec("timeouts", "security-timeouts", "idle-connection-handling", "relays-moq")
async def test_soak_idle_session(relay: RelayUnderTest) -> None:
    """After a long silence a track goes on, or its subscriber has been told that it does not."""
    async with sourced(relay) as source, relay.connect("subscriber") as subscriber:
        subscription = await subscribe(subscriber, source.namespace)
        await source.forwarding()

        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for session in (source.session, subscriber):
                tasks.create_task(session.rest(relay.soak_seconds))
        relay.measured["silent_s"] = round(time.monotonic() - began, 1)

        try:
            await _goes_on_or_is_over(relay, source, subscription)
        except SessionEnded:
            # At this very moment: whoever waited for something has been told by that.
            if not _ended(relay, subscriber) and not _ended(relay, source.session):
                raise


async def _goes_on_or_is_over(relay: RelayUnderTest, source: Source, subscription: Subscription) -> None:
    """See that a subscriber gets what is published, or knows that it does not."""
    publisher, subscriber = source.session, subscription.session
    gone = _ended(relay, publisher)
    if _ended(relay, subscriber):
        return
    if gone:
        # "When possible, Publishers SHOULD send a PUBLISH_DONE when terminating a subscription".
        async with relay.should(
            "the relay should tell the subscriber of a publisher whose session it has ended",
            seconds=DELIVERY_SECONDS,
        ):
            await subscription.over()
        return
    await subscriber.settle()
    done = await came(subscriber, PublishDone, about=subscription.request)
    if done is not None:
        relay.info(f"the relay ended the subscription that was silent, with {done.status}")
        return
    if not source.asked:
        raise CaseFailure(
            "the relay withdrew its own subscription, and the subscriber was not told",
            cause="reset",
            expected="the track to go on, or PUBLISH_DONE",
            received=f"the end of the relay's subscription, in {relay.soak_seconds:g} s of silence",
        )
    source.group(0)
    await subscription.objects(*GROUP)
    assert subscription.payloads == {place: payload(*place) for place in GROUP}


def _ended(relay: RelayUnderTest, session: ClientSession) -> bool:
    """Whether the relay has ended a session.

    Raises:
        CaseFailure: It was lost without a word, although we kept its connection.
    """
    close = session.closed
    if close is None:
        return False
    if not close.by_peer:
        session.check_open()
    session.close_awaited = True
    how = session.describe_close(close)
    relay.info(f"the relay ended the session of {session.role}, which was silent: {how}")
    if close.layer == "session" and close.code not in IDLE:
        relay.warn("wrong-code", f"the relay closed a session that was silent with {how}")
    return True
