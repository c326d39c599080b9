"""Subscriptions are routed to their publisher, or refused."""

from __future__ import annotations

import asyncio

import pytest

from pytest_moqt import (
    ClientSession,
    KeyValues,
    Parameter,
    PublishNamespace,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    Subscribe,
    SubscribeOk,
)

NAMESPACE = "moq-test/interop"
NOWHERE = "nonexistent/namespace"
TRACK = b"test-track"

PUBLISHER_DELAY = 0.5
"Seconds that the publisher starts after the subscriber, by the specification of the case."
RENDEZVOUS_MS = 500
"What the subscriber allows the relay to wait for a publisher."
AT_ONCE_MS = 100
"An answer this soon after a round trip came at once."
# A relay may wait for less than it is allowed (`rendezvous-timeout`), but a fifth of half a second is no wait
# for anybody, and less could not be told from a slow machine.


async def serve(publisher: ClientSession) -> None:
    """Accept whatever the relay subscribes to."""
    while True:
        await publisher.reply(await publisher.receive(Subscribe), SubscribeOk(track_alias=1))


@pytest.mark.interop("subscribe-error", timeout=2.0)
@pytest.mark.spec("message-subscribe-req", "message-request-error", "message-subscribe-error")
async def test_subscribe_error(relay: RelayUnderTest) -> None:
    """A subscription to a track that nobody publishes is refused."""
    async with relay.connect() as session:
        await session.request(Subscribe(relay.namespace(NOWHERE), TRACK), expect=RequestError)


@pytest.mark.interop("announce-subscribe", timeout=3.0)
@pytest.mark.spec("message-pub-ns", "message-subscribe-req", "message-subscribe-ok")
async def test_announce_subscribe(relay: RelayUnderTest) -> None:
    """A subscription to an announced namespace is routed to its publisher."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await publisher.request(PublishNamespace(namespace), expect=RequestOk)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(subscriber.request(Subscribe(namespace, TRACK), expect=SubscribeOk))
            forwarded = await publisher.receive(Subscribe)
            await publisher.reply(forwarded, SubscribeOk(track_alias=1))

        assert (forwarded.track_namespace, forwarded.track_name) == (namespace, TRACK)


@pytest.mark.interop("subscribe-before-announce", timeout=3.5)
@pytest.mark.spec("message-subscribe-req", "message-subscribe-ok", "message-request-error", "message-pub-ns")
async def test_subscribe_before_announce(relay: RelayUnderTest) -> None:
    """A subscription that comes before its publisher is answered, by OK or by an error."""
    namespace = relay.namespace(NAMESPACE)
    clock = asyncio.get_running_loop()
    began = clock.time()
    async with relay.connect("subscriber") as subscriber:
        subscription = await subscriber.open(Subscribe(namespace, TRACK))
        # Not a wait for something: the case is specified with this delay, from start to start.
        await asyncio.sleep(began + PUBLISHER_DELAY - clock.time())
        async with relay.connect("publisher") as publisher:
            await publisher.request(PublishNamespace(namespace), expect=RequestOk)

            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(serve(publisher))
                answer = await subscriber.answer(subscription)
                serving.cancel()

        assert isinstance(answer, SubscribeOk | RequestError)


@pytest.mark.interop("rendezvous-timeout", timeout=3.0, since=18)
@pytest.mark.spec("rendezvous-timeout", "message-request-error")
async def test_rendezvous_timeout(relay: RelayUnderTest) -> None:
    """A subscription that allows the relay a time to find a publisher is refused when that time is over."""
    subscription = Subscribe(
        relay.namespace(NOWHERE), TRACK, KeyValues([(Parameter.RENDEZVOUS_TIMEOUT, RENDEZVOUS_MS)])
    )
    async with relay.connect("subscriber") as subscriber:
        clock = asyncio.get_running_loop()
        began = clock.time()
        await subscriber.settle()
        sent = clock.time()
        answer = await subscriber.request(subscription, expect=RequestError)
        waited_ms = (clock.time() - sent) * 1000
        at_once_ms = (sent - began) * 1000 + AT_ONCE_MS

    assert answer.code == RequestErrorCode.TIMEOUT
    assert waited_ms > at_once_ms, (
        f"TIMEOUT came {waited_ms:.0f} ms after SUBSCRIBE: the relay waited for no publisher"
    )
