"""Control messages that no draft allows: of no type, of a wrong length, cut; and integers of any length."""

from __future__ import annotations

import pytest

from pytest_moqt import (
    ClientSession,
    Draft,
    Frame,
    PublishNamespace,
    RelayUnderTest,
    Request,
    RequestOk,
    SessionError,
    Subscribe,
    SubscribeOk,
    Topology,
)

from .arrivals import Arrivals
from .edits import Edit, ending
from .names import putting, sized
from .octets import stream_object, subgroup
from .outcomes import came_of, came_of_session
from .reactions import attack, closes, harmless
from .silence import never_came
from .tracks import ALIAS, NAMESPACE, TRACK, announce, payload
from .variants import named, variant

UNKNOWN_TYPES = (0x3FFE, 0x01, 0x40, 0x41)
"Message types that no draft defines; the last three were SETUP of drafts before 14, and are reserved."
LARGEST = (1 << 62) - 1
"The largest integer that all codings have."


def requests(relay: RelayUnderTest) -> dict[str, Request]:
    """Two requests whose last field is a count of parameters, which is none."""
    namespace = relay.namespace(NAMESPACE)
    return {"PUBLISH_NAMESPACE": PublishNamespace(namespace), "SUBSCRIBE": Subscribe(namespace, TRACK)}


@pytest.mark.interop("message-unknown-type", timeout=8.0, profile="malformed")
@pytest.mark.spec("message")
async def test_message_unknown_type(relay: RelayUnderTest) -> None:
    """A control message of an unknown type ends the session, with whatever code."""
    async with harmless(relay):
        for number in UNKNOWN_TYPES:
            async with variant(relay, f"type {number:#x}") as attacker:
                await attacker.send_raw(Frame(number, b"\x00"))

                await closes(relay, attacker, None)
        if relay.draft.topology is Topology.REQUEST_STREAMS:
            async with variant(relay, "on the stream of a request") as attacker:
                request = await announce(attacker, relay.namespace(NAMESPACE))
                await attacker.send_raw(Frame(UNKNOWN_TYPES[0], b"\x00"), request)

                await closes(relay, attacker, None)


@pytest.mark.interop("message-length-too-long", timeout=5.0, profile="malformed")
@pytest.mark.spec("message")
async def test_message_length_too_long(relay: RelayUnderTest) -> None:
    """A control message whose Length is larger than its fields ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        for name, request in requests(relay).items():
            async with variant(relay, name) as attacker:
                await attacker.open(request, edit=ending(b"\x00\x00\x00"))

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("message-length-too-short", timeout=5.0, profile="malformed")
@pytest.mark.spec("message")
async def test_message_length_too_short(relay: RelayUnderTest) -> None:
    """A control message whose Length is smaller than its fields ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        for name, request in requests(relay).items():
            async with variant(relay, name) as attacker:
                await attacker.open(request, edit=lambda frame: frame.replace(length=len(frame.body) - 2))

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


@pytest.mark.interop("message-truncated-fin", timeout=5.0, profile="malformed", level="may", since=17)
@pytest.mark.spec("message", "session-termination")
async def test_message_truncated_fin(relay: RelayUnderTest) -> None:
    """A request whose stream ends in the middle of it is not taken for a request."""
    namespace = relay.namespace(NAMESPACE)
    async with relay.connect("publisher") as publisher:
        await announce(publisher, namespace)
        async with attack(relay) as attacker:
            request = await attacker.open(Subscribe(namespace, TRACK), edit=_half)
            await attacker.finish(request)

            answer, said = await came_of(attacker, request)

            assert not isinstance(answer, SubscribeOk)
            relay.info(f"half a SUBSCRIBE, and the end of its stream: the relay {said}")
            await never_came(publisher, Subscribe, "although no whole SUBSCRIBE was sent")


def _half(frame: Frame) -> Frame:
    return frame.replace(body=frame.body[: len(frame.body) // 2], length=len(frame.body))


def overruns(draft: Draft, namespace: tuple[bytes, ...]) -> dict[str, tuple[type[Request], Edit]]:
    """Lengths and counts that claim more than their message has."""
    integer = draft.integers.encode
    track, first, count = sized(draft, TRACK), sized(draft, namespace[0]), integer(len(namespace))
    return {
        "Track Name Length": (Subscribe, putting(integer(1000) + TRACK, track)),
        "Track Name Length of 2^62-1": (Subscribe, putting(integer(LARGEST) + TRACK, track)),
        "a Namespace Field Length": (PublishNamespace, putting(integer(1000) + namespace[0], first)),
        "the number of namespace fields": (PublishNamespace, putting(integer(31) + first, count + first)),
        "2^62-1 namespace fields": (PublishNamespace, putting(integer(LARGEST) + first, count + first)),
        "the number of parameters": (PublishNamespace, ending(integer(9), instead_of=b"\x00")),
        "2^62-1 parameters": (Subscribe, ending(integer(LARGEST), instead_of=b"\x00")),
    }


@pytest.mark.interop("field-length-overrun", timeout=8.0, profile="malformed")
@pytest.mark.spec("message")
async def test_field_length_overrun(relay: RelayUnderTest) -> None:
    """A length or a count that claims more than its message has ends the session with PROTOCOL_VIOLATION."""
    namespace = relay.namespace(NAMESPACE)
    async with harmless(relay):
        for name, (kind, edit) in overruns(relay.draft, namespace).items():
            valid = Subscribe(namespace, TRACK) if kind is Subscribe else PublishNamespace(namespace)
            async with variant(relay, name) as attacker:
                await attacker.open(valid, edit=edit)

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)


async def _served_with_wide_integers(
    relay: RelayUnderTest, publisher: ClientSession, subscriber: ClientSession, octets: int
) -> None:
    """Announce, subscribe and deliver an object; every integer of requests and object has so many bytes."""
    draft, namespace = relay.draft, relay.namespace(f"{NAMESPACE}/{octets}")
    alias, content = ALIAS + octets, payload(0, 0)

    def wide(frame: Frame) -> Frame:
        return frame.widened(draft, octets)

    announcing = await publisher.open(PublishNamespace(namespace), edit=wide)
    await publisher.expect(announcing, RequestOk)
    subscribing = await subscriber.open(Subscribe(namespace, TRACK), edit=wide)
    asked = await publisher.receive(Subscribe)
    assert (asked.track_namespace, asked.track_name) == (namespace, TRACK)
    await publisher.reply(asked, SubscribeOk(alias))
    ok = await subscriber.expect(subscribing, SubscribeOk)
    stream = subgroup(draft, alias, 0, octets=octets) + stream_object(draft, 0, content, octets=octets)
    publisher.open_stream().send(stream, fin=True)
    arrivals = Arrivals(subscriber)
    await arrivals.until(lambda: arrivals.places(ok.track_alias), "object")
    assert arrivals.payloads(ok.track_alias) == {(0, 0): content}


@pytest.mark.interop("varint-non-minimal", timeout=5.0, profile="malformed")
@pytest.mark.spec("variable-length-integers", "rfc9000#16")
async def test_varint_non_minimal(relay: RelayUnderTest) -> None:
    """Integers written in more bytes than they need are read like any others."""
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        for octets in relay.draft.integers.lengths[-3:]:
            with named(relay, f"integers of {octets} bytes"):
                await _served_with_wide_integers(relay, publisher, subscriber, octets)


@pytest.mark.interop("varint-truncated", timeout=5.0, profile="malformed")
@pytest.mark.spec("message")
async def test_varint_truncated(relay: RelayUnderTest) -> None:
    """A control message that ends inside an integer ends the session with PROTOCOL_VIOLATION."""
    async with harmless(relay):
        start = relay.draft.integers.encode(0, 2)[:1]
        for name, request in requests(relay).items():
            async with variant(relay, name) as attacker:
                await attacker.open(request, edit=ending(start, instead_of=b"\x00"))

                await closes(relay, attacker, SessionError.PROTOCOL_VIOLATION)
        # No draft says what becomes of a stream that ends before its type is known.
        async with variant(relay, "a stream that ends inside its type") as attacker:
            attacker.open_stream().send(start, fin=True)

            _, said = await came_of_session(attacker)
            relay.info(f"the relay {said}")
