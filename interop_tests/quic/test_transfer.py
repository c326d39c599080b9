"""Objects of a megabyte come through windows that are a quarter of that."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from pytest_moqt import (
    CaseFailure,
    ClientSession,
    DataStreamReset,
    ObjectReceived,
    PublishNamespace,
    QuicOptions,
    RelayUnderTest,
    RequestError,
    RequestErrorCode,
    RequestOk,
    StreamObject,
    SubgroupHeader,
    Subscribe,
    SubscribeOk,
)

from .steps import NAMESPACE, failed

TRACK = b"test-track"
ALIAS = 1
GROUPS, OBJECTS, OCTETS = 8, 16, 8192
"One stream for each group; a mebibyte in all, and each stream twice its first window."
WINDOW = 256 * 1024
STREAM_WINDOW = 64 * 1024
STALL_SECONDS = 5.0
"Without an object: some hundred round trips on any link."
POLICY = (RequestErrorCode.UNAUTHORIZED, RequestErrorCode.NOT_SUPPORTED)
"With which a relay refuses a stranger's objects."


def payload(group: int, number: int) -> bytes:
    """What an object holds: no two have the same bytes, and none can be made smaller."""
    return random.Random(f"{group} {number}").randbytes(OCTETS)


def publish(publisher: ClientSession) -> None:
    """Queue every object; windows and congestion decide when it leaves."""
    first = publisher.draft.has_first_object
    for group in range(GROUPS):
        stream = publisher.open_subgroup(SubgroupHeader(ALIAS, group, first_object=first))
        for number in range(OBJECTS):
            stream.write(StreamObject(number, payload(group, number)))
        stream.finish()


async def take(subscriber: ClientSession, alias: int) -> dict[int, list[tuple[int, bytes]]]:
    """By group, number and bytes of each object in the order in which they came.

    Raises:
        CaseFailure: One is missing and nothing comes any more, or a stream was reset.
    """
    came: dict[int, list[tuple[int, bytes]]] = {group: [] for group in range(GROUPS)}
    while sum(map(len, came.values())) < GROUPS * OBJECTS:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                event = await subscriber.receive_object()
        except TimeoutError:
            octets = sum(len(held) for objects in came.values() for _, held in objects)
            raise failed(
                f"nothing came for {STALL_SECONDS:g} s after {octets} of {GROUPS * OBJECTS * OCTETS} bytes",
                expected=f"{GROUPS * OBJECTS} objects",
                received=f"{sum(map(len, came.values()))} objects, then timeout",
                cause="timeout",
            ) from None
        header = event.header
        if not isinstance(header, SubgroupHeader) or header.track_alias != alias:
            continue
        if isinstance(event, DataStreamReset):
            raise failed(
                f"the relay reset the stream of group {header.group_id}",
                expected="the whole stream",
                received="RESET_STREAM",
                cause="reset",
            )
        if isinstance(event, ObjectReceived) and isinstance(event.object, StreamObject):
            came.setdefault(header.group_id, []).append((event.object.object_id, event.object.payload))
    return came


def digest(objects: list[tuple[int, bytes]]) -> str:
    """Numbers, order and bytes of objects in a line."""
    return hashlib.sha256(b"".join(f"{number}:".encode() + held for number, held in objects)).hexdigest()


async def subscribe(relay: RelayUnderTest, publisher: ClientSession, subscriber: ClientSession) -> int:
    """Bring a track from one to the other; returns its alias for the subscriber."""
    namespace = relay.namespace(NAMESPACE)
    answer = await publisher.request(PublishNamespace(namespace))
    if isinstance(answer, RequestError) and answer.code in POLICY:
        relay.not_offered("publishing-refused", f"the relay refused PUBLISH_NAMESPACE: {answer.code}")
    assert isinstance(answer, RequestOk)
    subscription = await subscriber.open(Subscribe(namespace, TRACK))
    async with asyncio.TaskGroup() as tasks:
        accepted = tasks.create_task(subscriber.expect(subscription, SubscribeOk))
        routed = await publisher.receive(Subscribe)
        await publisher.reply(routed, SubscribeOk(track_alias=ALIAS))
    return accepted.result().track_alias


@pytest.mark.interop("quic-transfer", timeout=20.0, profile="quic")
@pytest.mark.spec("rfc9000#4.1", "rfc9000#4.2")
async def test_quic_transfer(relay: RelayUnderTest) -> None:
    """A mebibyte of objects comes whole and in order, a window at a time."""
    small = QuicOptions(max_data=WINDOW, max_stream_data=STREAM_WINDOW)
    async with (
        relay.connect("publisher", quic=QuicOptions()) as publisher,
        relay.connect("subscriber", quic=small) as subscriber,
    ):
        alias = await subscribe(relay, publisher, subscriber)
        began = asyncio.get_running_loop().time()

        publish(publisher)
        came = await take(subscriber, alias)

        taken = asyncio.get_running_loop().time() - began
        facts = subscriber.connection.facts
    relay.measured["octets"] = GROUPS * OBJECTS * OCTETS
    relay.measured["transfer_ms"] = round(taken * 1000, 1)
    for group, objects in came.items():
        numbers = [number for number, _ in objects]
        assert numbers == list(range(OBJECTS)), f"group {group} came as {numbers}"
        expected = [(number, payload(group, number)) for number in range(OBJECTS)]
        assert digest(objects) == digest(expected), f"group {group} came with other bytes"
    if not facts.limits_raised:
        raise CaseFailure(
            "all came within the first window",
            cause="internal",
            expected="MAX_DATA of ours",
            received="none",
        )
