"""The properties of published tracks: kept for subscribers, understood where they must be, and valid."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_moqt import (
    Frame,
    KeyValues,
    Property,
    Publish,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    SessionError,
    Subscribe,
    SubscribeOk,
)

from .publishing import offered, open_publish, publish, want_tracks
from .reactions import closes, harmless, refuses
from .tracks import ALIAS, NAMESPACE, TRACK, announce, subscribe
from .waits import REACTION_SECONDS, within

UNKNOWN = {0x9D: b"\x00 unknown", 0x11C: 300}
"Properties that nobody defines, an odd type with bytes and an even one with a number (`grease`)."
MANDATORY = {0x4FF1: b"\x01"}
"A property that nobody may overlook and nobody knows (`mandatory-track-properties`)."
INVALID = ((Property.DYNAMIC_GROUPS, 1, 2), (Property.DEFAULT_PUBLISHER_GROUP_ORDER, 1, 3))
"Properties with a value that they may have, and one that they may not."


@pytest.mark.interop("publish-properties-forwarded", timeout=8.0, profile="publish", since=16)
@pytest.mark.spec("relay-track-handling", "properties", "extension-headers", "message-publish")
async def test_publish_properties_forwarded(relay: RelayUnderTest) -> None:
    """Properties of a track that the relay does not know come to its subscribers, byte by byte."""
    namespace = relay.namespace(NAMESPACE)
    async with (
        relay.connect("publisher") as publisher,
        relay.connect("subscriber_1") as subscriber,
        relay.connect("subscriber_2") as listener,
    ):
        published = await publish(relay, publisher, namespace, properties=UNKNOWN)

        subscription = await published.meanwhile(subscribe(subscriber, namespace))
        assert {key: subscription.ok.track_properties.get(key) for key in UNKNOWN} == UNKNOWN

        offer = await offered(relay, listener, await want_tracks(relay, listener, namespace))
        assert {key: offer.track_properties.get(key) for key in UNKNOWN} == UNKNOWN


@pytest.mark.interop("publish-mandatory-property-unknown", timeout=6.0, profile="publish", since=18)
@pytest.mark.spec("mandatory-track-properties")
async def test_publish_mandatory_property_unknown(relay: RelayUnderTest) -> None:
    """A published track with an unknown mandatory property is refused with UNSUPPORTED_EXTENSION."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher:
        await publish(relay, publisher, namespace)

        track = Publish(namespace, b"other", ALIAS + 1, track_properties=KeyValues(MANDATORY))
        await refuses(relay, publisher, track, RequestErrorCode.UNSUPPORTED_EXTENSION)


@pytest.mark.interop("subscribe-ok-mandatory-property-unknown", timeout=6.0, profile="publish", since=18)
@pytest.mark.spec("mandatory-track-properties")
async def test_subscribe_ok_mandatory_property_unknown(relay: RelayUnderTest) -> None:
    """A track whose SUBSCRIBE_OK has an unknown mandatory property is given up, its subscriber refused."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await announce(publisher, namespace)
        request = await subscriber.open(Subscribe(namespace, TRACK))
        asked = await publisher.receive(Subscribe, where=lambda ask: ask.track_name == TRACK)

        await publisher.reply(asked, SubscribeOk(ALIAS, track_properties=KeyValues(MANDATORY)))

        async with within(REACTION_SECONDS, "refusal"):
            refusal = await subscriber.expect(request, RequestError)
        if refusal.code != RequestErrorCode.UNSUPPORTED_EXTENSION:
            said = subscriber.describe(refusal, Subscribe)
            relay.warn(
                "wrong-code", f"the relay refuses with {said}, where UNSUPPORTED_EXTENSION is asked for"
            )
        async with within(REACTION_SECONDS, "end of the relay's subscription"):
            await publisher.wait_withdrawn(asked)


@pytest.mark.interop("publish-property-invalid-value", timeout=8.0, profile="publish", since=16)
@pytest.mark.spec("dynamic-groups", "group-order-pref")
async def test_publish_property_invalid_value(relay: RelayUnderTest) -> None:
    """A property of a track with a value that it may not have ends the session with PROTOCOL_VIOLATION."""
    namespace = relay.namespace(NAMESPACE)
    async with harmless(relay) as witness:
        await publish(relay, witness, namespace, track=b"valid")
        for key, valid, invalid in INVALID:
            async with relay.connect("attacker") as attacker:
                await open_publish(
                    attacker, namespace, properties={key: valid}, edit=_ending_in(valid, invalid)
                )

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


def _ending_in(valid: int, invalid: int) -> Callable[[Frame], Frame]:
    """An edit of the last value in a frame, where the properties are."""

    def edit(frame: Frame) -> Frame:
        assert frame.body[-1] == valid
        return frame.replace(body=frame.body[:-1] + bytes([invalid]))

    return edit
