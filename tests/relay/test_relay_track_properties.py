"""Properties of tracks: what passes through the relay untouched, and what stops a track there."""

from __future__ import annotations

from typing import Any

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.parameters import Properties, Property
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.values import KeyValues

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
MANDATORY = 0x4FF1
WITH_PROPERTIES = [n for n in sorted(SUPPORTED) if DRAFTS[n].delta_types]
"From 16 on messages have room for them."
WITH_MANDATORY = [n for n in sorted(SUPPORTED) if DRAFTS[n].mandatory_properties]
WITHOUT_MANDATORY = sorted(set(WITH_PROPERTIES) - set(WITH_MANDATORY))

UNKNOWN: Properties = KeyValues(
    [
        (0x3D, b""),
        (0x3D, b"again"),
        (0x7F * 2 + 0x9E, 1 << 40),
        (0x3801, b"\x00\xff" * 300),
        (0x3802, 0),
        (0x3FFF, b"just below the mandatory ones"),
        (0x8000, 7),
    ]
)


def wants_tracks(client: Client) -> None:
    if defines(client.draft, m.SubscribeTracks):
        client.request(m.SubscribeTracks(NAMESPACE))
    else:
        client.request(m.SubscribeNamespace(NAMESPACE, subscribe_options=0))


def closed_with(client: Client) -> SessionError | None:
    return client.closed[0] if client.closed else None


def offer(client: Client, **properties: Any) -> Asked:
    pairs = [(Property[name], value) for name, value in properties.items()]
    return client.request(m.Publish(NAMESPACE, TRACK, 1, KeyValues(), KeyValues(pairs)))


# ---- passed on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", WITH_PROPERTIES)
def test_unknown_properties_of_an_offer_pass_untouched(relay: FakeRelay, number: int) -> None:
    """'it MUST NOT be modified, MUST be forwarded', in PUBLISH and in SUBSCRIBE_OK alike."""
    publisher, subscriber, watcher = (relay.client(number) for _ in range(3))
    wants_tracks(watcher)

    publisher.request(m.Publish(NAMESPACE, TRACK, 1, KeyValues(), UNKNOWN))
    answer = subscriber.ask(m.Subscribe(NAMESPACE, TRACK))

    assert answer.track_properties.pairs == UNKNOWN.pairs
    assert watcher.expect(m.Publish).message.track_properties.pairs == UNKNOWN.pairs


@pytest.mark.parametrize("number", WITH_PROPERTIES)
def test_unknown_properties_of_subscribe_ok_pass_untouched(relay: FakeRelay, number: int) -> None:
    """'A relay MUST include all Properties associated with a Track'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1, KeyValues(), UNKNOWN))

    assert subscriber.about(subscription)[0].track_properties.pairs == UNKNOWN.pairs


def immutable(number: int, *fields: int | bytes, length: int | None = None) -> bytes:
    """Integers, each in so many bytes, and bytes as they are."""
    integers = DRAFTS[number].integers
    return b"".join(each if isinstance(each, bytes) else integers.encode(each, length) for each in fields)


@pytest.mark.parametrize("number", WITH_PROPERTIES)
def test_immutable_properties_keep_their_bytes(relay: FakeRelay, number: int) -> None:
    """'the serialization ... of the Key-Value-Pairs MUST NOT change': here integers longer than needed."""
    publisher, subscriber = relay.client(number), relay.client(number)
    value = immutable(number, 0x38, 5, length=8)

    offer(publisher, IMMUTABLE_PROPERTIES=value)
    answer = subscriber.ask(m.Subscribe(NAMESPACE, TRACK))

    assert answer.track_properties.pairs == ((Property.IMMUTABLE_PROPERTIES, value),)


# ---- not passed on ---------------------------------------------------------------------------------


def mandatory(number: int, where: str) -> Properties:
    """A property that the relay cannot know, among the others or among the immutable ones."""
    if where == "mutable":
        return KeyValues([(MANDATORY, b"x")])
    return KeyValues([(Property.IMMUTABLE_PROPERTIES, immutable(number, MANDATORY, b"\x01x"))])


@pytest.mark.parametrize("number", WITH_MANDATORY)
@pytest.mark.parametrize("where", ["mutable", "immutable"])
def test_an_offer_with_a_mandatory_property_is_refused(relay: FakeRelay, number: int, where: str) -> None:
    """'it MUST NOT process or forward that track': UNSUPPORTED_EXTENSION."""
    publisher, watcher = relay.client(number), relay.client(number)
    wants_tracks(watcher)

    answer = publisher.ask(m.Publish(NAMESPACE, TRACK, 1, KeyValues(), mandatory(number, where)))

    assert answer.code == RequestErrorCode.UNSUPPORTED_EXTENSION
    assert watcher.incoming(m.Publish) is None
    assert relay.router.tracks == {}
    assert publisher.closed is None


@pytest.mark.parametrize("number", WITH_MANDATORY)
@pytest.mark.parametrize("where", ["mutable", "immutable"])
def test_a_subscription_to_a_mandatory_property_is_cancelled(
    relay: FakeRelay, number: int, where: str
) -> None:
    """'the subscriber MUST cancel the subscription', and tell those that wait UNSUPPORTED_EXTENSION."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK))
    routed = publisher.expect(m.Subscribe)

    publisher.say(routed, m.SubscribeOk(1, KeyValues(), mandatory(number, where)))

    (answer,) = subscriber.about(subscription)
    assert answer.code == RequestErrorCode.UNSUPPORTED_EXTENSION
    assert routed.stream_id in publisher.resets
    assert routed.stream_id in publisher.stops
    assert relay.router.tracks == {}
    assert publisher.closed is None


@pytest.mark.parametrize("number", WITH_MANDATORY)
def test_another_publisher_can_have_the_track_without_it(relay: FakeRelay, number: int) -> None:
    """What one publisher's track demands is refused to that publisher only."""
    first, second, subscriber = (relay.client(number) for _ in range(3))
    for publisher in (first, second):
        publisher.request(m.PublishNamespace(NAMESPACE))
    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    first.say(first.expect(m.Subscribe), m.SubscribeOk(1, KeyValues(), mandatory(number, "mutable")))
    before = subscriber.about(subscription)
    second.say(second.expect(m.Subscribe), m.SubscribeOk(1))

    assert before == []
    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


@pytest.mark.parametrize("number", WITHOUT_MANDATORY)
def test_no_property_is_mandatory_before_18(relay: FakeRelay, number: int) -> None:
    """There the number is unknown, and unknown properties are passed on."""
    publisher, subscriber = relay.client(number), relay.client(number)

    publisher.request(m.Publish(NAMESPACE, TRACK, 1, KeyValues(), mandatory(number, "mutable")))
    answer = subscriber.ask(m.Subscribe(NAMESPACE, TRACK))

    assert answer.track_properties.pairs == ((MANDATORY, b"x"),)


# ---- what no property may be -----------------------------------------------------------------------


def closes_with(relay: FakeRelay, number: int, pair: bytes) -> SessionError | None:
    """How the session of a PUBLISH ends that has these bytes as its properties."""
    publisher = relay.client(number)
    frame = publisher.frame(m.Publish(NAMESPACE, TRACK, 1, request_id=0))
    own = publisher.new_stream(unidirectional=False) if publisher.own_streams else None
    publisher.send_frame(frame.replace(body=frame.body + pair), own)
    return closed_with(publisher)


@pytest.mark.parametrize("number", WITH_PROPERTIES)
@pytest.mark.parametrize(
    ("kind", "value"), [(Property.DYNAMIC_GROUPS, 2), (Property.DEFAULT_PUBLISHER_GROUP_ORDER, 3)]
)
@pytest.mark.parametrize("where", ["mutable", "immutable"])
def test_a_value_outside_its_range_ends_the_session(
    relay: FakeRelay, number: int, kind: Property, value: int, where: str
) -> None:
    """'If an endpoint receives a value outside this range, it MUST close the session'."""
    pair = immutable(number, int(kind), value)
    if where == "immutable":
        pair = immutable(number, int(Property.IMMUTABLE_PROPERTIES), len(pair), pair)

    assert closes_with(relay, number, pair) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", WITH_PROPERTIES)
@pytest.mark.parametrize("inside", [b"\x3d\x05four", b"\x3c", b"\x3d"], ids=bytes.hex)
def test_immutable_properties_that_are_none_end_the_session(
    relay: FakeRelay, number: int, inside: bytes
) -> None:
    """'the following Value ... does not match the serialization': KEY_VALUE_FORMATTING_ERROR."""
    pair = immutable(number, int(Property.IMMUTABLE_PROPERTIES), len(inside), inside)

    assert closes_with(relay, number, pair) == SessionError.KEY_VALUE_FORMATTING_ERROR
