"""What a namespace and a track name may be: how many fields, how long, and which bytes."""

from __future__ import annotations

import pytest

from pytest_moqt import (
    PublishNamespace,
    RelayUnderTest,
    Request,
    SessionEnded,
    SessionError,
    Subscribe,
    SubscribeNamespace,
    TrackNamespace,
    TrackStatus,
)

from .names import LONGEST, MOST_FIELDS, filled, putting, sized, written
from .reactions import attack, closes, harmless
from .routes import routed
from .tracks import NAMESPACE, TRACK, announce
from .waits import REACTION_SECONDS, within


@pytest.mark.interop("namespace-32-fields", timeout=5.0, profile="namespaces")
@pytest.mark.spec("track-name")
async def test_namespace_32_fields(relay: RelayUnderTest) -> None:
    """A namespace of 32 fields is taken and routed by."""
    namespace = relay.namespace(NAMESPACE)
    namespace += (b"f",) * (MOST_FIELDS - len(namespace))
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)

        await routed(publisher, subscriber, namespace)


@pytest.mark.interop("namespace-33-fields", timeout=8.0, profile="namespaces")
@pytest.mark.spec("track-name", "track-namespace-structure", "message-subscribe-ns")
async def test_namespace_33_fields(relay: RelayUnderTest) -> None:
    """A namespace of more than 32 fields ends the session with PROTOCOL_VIOLATION, in every request."""
    namespace = relay.namespace(NAMESPACE)
    namespace += (b"f",) * (MOST_FIELDS - len(namespace))
    requests = (PublishNamespace(namespace), Subscribe(namespace, TRACK), SubscribeNamespace(namespace))
    await _end_the_session(relay, namespace, (*namespace, b"f"), *requests)


@pytest.mark.interop("namespace-0-fields", timeout=8.0, profile="namespaces")
@pytest.mark.spec("track-name")
async def test_namespace_0_fields(relay: RelayUnderTest) -> None:
    """A namespace of no fields ends the session with PROTOCOL_VIOLATION; from 17 on it is one like others."""
    namespace = relay.namespace(NAMESPACE)
    # Only a subscriber: a publisher of this namespace would get everybody's, where a relay takes it.
    async with relay.connect("subscriber") as subscriber:
        if not relay.draft.min_namespace_fields:
            # No SUBSCRIBE, which a relay may hold until there is a publisher.
            async with within(REACTION_SECONDS, "answer to TRACK_STATUS"):
                answer = await subscriber.request(TrackStatus((), namespace[-1]))
            relay.info(f"the relay answers with {subscriber.describe(answer, TrackStatus)}")
            return
    await _end_the_session(relay, namespace, (), Subscribe(namespace, TRACK))


async def _end_the_session(
    relay: RelayUnderTest, allowed: TrackNamespace, forbidden: TrackNamespace, *requests: Request
) -> None:
    """Make requests for a namespace that may not be, each in a session that must end for it."""
    async with harmless(relay):
        for request in requests:
            async with relay.connect("attacker") as attacker:
                edit = putting(written(relay.draft, forbidden), written(relay.draft, allowed))
                await attacker.open(request, edit=edit)

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("namespace-empty-field", timeout=6.0, profile="namespaces")
@pytest.mark.spec("track-name", "track-namespace-structure")
async def test_namespace_empty_field(relay: RelayUnderTest) -> None:
    """An empty field in a namespace ends the session with PROTOCOL_VIOLATION, where the draft forbids it."""
    namespace = relay.namespace(NAMESPACE)
    async with attack(relay) as attacker:
        new, old = (written(relay.draft, (*namespace, field)) for field in (b"", b"f"))
        request = await attacker.open(PublishNamespace((*namespace, b"f")), edit=putting(new, old))

        if not relay.draft.empty_namespace_fields:
            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
            return
        # Up to 15 nothing is said of it, so that everything but silence will do.
        try:
            async with within(REACTION_SECONDS, "answer to PUBLISH_NAMESPACE"):
                answer = await attacker.answer(request)
            relay.info(f"the relay answers with {attacker.describe(answer, PublishNamespace)}")
        except SessionEnded:
            relay.info("the relay ends the session")
            await closes(relay, attacker, None)


@pytest.mark.interop("full-track-name-4096", timeout=5.0, profile="namespaces")
@pytest.mark.spec("track-name", "track-namespace-structure")
async def test_full_track_name_4096(relay: RelayUnderTest) -> None:
    """A Full Track Name of 4096 bytes is taken, and comes to the publisher byte by byte."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)

        await routed(publisher, subscriber, filled(namespace, LONGEST // 2), b"n" * (LONGEST // 2))


@pytest.mark.interop("full-track-name-4097", timeout=6.0, profile="namespaces")
@pytest.mark.spec("track-name", "track-namespace-structure")
async def test_full_track_name_4097(relay: RelayUnderTest) -> None:
    """A Full Track Name of more than 4096 bytes ends the session with PROTOCOL_VIOLATION."""
    namespace = filled(relay.namespace(NAMESPACE), LONGEST // 2)
    name = b"n" * (LONGEST // 2)
    async with harmless(relay):
        async with relay.connect("attacker") as attacker:
            new, old = sized(relay.draft, name + b"n"), sized(relay.draft, name)
            await attacker.open(Subscribe(namespace, name), edit=putting(new, old))

            await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
        if relay.draft.namespace_length_limited:
            async with relay.connect("attacker") as attacker:
                new, old = (written(relay.draft, filled(namespace, size)) for size in (LONGEST + 1, LONGEST))
                await attacker.open(PublishNamespace(filled(namespace, LONGEST)), edit=putting(new, old))

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("track-name-empty", timeout=5.0, profile="namespaces", since=16)
@pytest.mark.spec("track-name")
async def test_track_name_empty(relay: RelayUnderTest) -> None:
    """A track name may be empty: the subscription is routed like any other."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)

        await routed(publisher, subscriber, namespace, b"")
