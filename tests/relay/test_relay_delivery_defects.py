"""Relays that forward wrongly: what a subscriber gets of a track that was sent correctly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from relay_clients import FakeRelay, Incoming

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.registries import PublishDoneStatus
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import behaviour_of
from pytest_moqt.relay.defects.delivery import BEHIND_SECONDS

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77
GROUPS, OBJECTS = 3, 3

Streams = list[tuple[int, int | None, list[tuple[int, bytes]], bool]]
"Group, subgroup, objects and whether it ended with a FIN, of each stream."

SENT: Streams = [
    (group, 0, [(number, b"object %d" % number) for number in range(OBJECTS)], True)
    for group in range(GROUPS)
]


class Delivered:
    """A subscriber to a track that was published from its beginning to its end."""

    def __init__(self, number: int, behaviour: Behaviour) -> None:
        self.relay = FakeRelay(behaviour)
        publisher, self.subscriber = self.relay.client(number), self.relay.client(number)
        publisher.request(m.PublishNamespace(NAMESPACE))
        self.asked = self.subscriber.request(m.Subscribe(NAMESPACE, TRACK))
        routed = publisher.expect(m.Subscribe)
        publisher.say(routed, m.SubscribeOk(ALIAS))
        for group, subgroup, objects, _ in SENT:
            stream = publisher.open_subgroup(SubgroupHeader(ALIAS, group, subgroup))
            stream.send(*(StreamObject(*item) for item in objects), fin=True)
        publisher.say(routed, m.PublishDone(PublishDoneStatus.TRACK_ENDED, GROUPS))

    @property
    def alias(self) -> int:
        """Of its SUBSCRIBE_OK."""
        alias = self.subscriber.about(self.asked)[0].track_alias
        assert isinstance(alias, int)
        return alias

    @property
    def done(self) -> m.PublishDone | None:
        """The PUBLISH_DONE that it got."""
        last = self.subscriber.about(self.asked)[-1]
        return last if isinstance(last, m.PublishDone) else None

    @property
    def streams(self) -> Streams:
        """What it got."""
        return [described(stream) for stream in self.subscriber.streams]


def described(stream: Incoming) -> tuple[int, int | None, list[tuple[int, bytes]], bool]:
    objects = [(item.object_id, item.payload) for item in stream.objects]
    return stream.header.group_id, stream.header.subgroup_id, objects, stream.fin


def test_a_correct_relay_delivers_what_was_sent(number: int) -> None:
    """All of it, in its streams, which PUBLISH_DONE counts."""
    delivered = Delivered(number, Behaviour())

    assert delivered.streams == SENT
    assert delivered.done is not None
    assert (delivered.done.status, delivered.done.stream_count) == (PublishDoneStatus.TRACK_ENDED, GROUPS)


def edited(edit: Callable[[int, bytes], tuple[int, bytes] | None]) -> Streams:
    """What was sent, with each object changed, or left out."""
    return [
        (group, subgroup, [new for old in objects if (new := edit(*old)) is not None], fin)
        for group, subgroup, objects, fin in SENT
    ]


def second(change: Callable[[bytes], bytes]) -> Streams:
    """What was sent, with the payload of each second object changed."""
    return edited(lambda number, payload: (number, change(payload) if number == 1 else payload))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("objects-kept", []),
        ("object-dropped", edited(lambda number, payload: None if number == 1 else (number, payload))),
        ("object-corrupted", second(lambda payload: payload[:-1] + bytes([payload[-1] ^ 1]))),
        ("object-shortened", second(lambda payload: payload[:-1])),
        ("object-lengthened", second(lambda payload: payload + b"\x00")),
        ("object-emptied", second(lambda payload: b"")),
        ("objects-renumbered", edited(lambda number, payload: (number + 1, payload))),
        ("subgroup-dropped", [SENT[0], SENT[2]]),
        ("groups-renumbered", [(group + 1, *rest) for group, *rest in SENT]),
        ("subgroups-renumbered", [(group, 1, *rest) for group, _, *rest in SENT]),
        (
            "subgroup-split",
            [
                (group, subgroup, part, fin)
                for group, subgroup, objects, fin in SENT
                for part in (objects[:1], objects[1:])
            ],
        ),
        ("streams-unfinished", [(*rest, False) for *rest, _ in SENT]),
        ("streams-reset", [(*rest, False) for *rest, _ in SENT]),
    ],
)
def test_streams_are_wrong_as_it_says(number: int, name: str, expected: Streams) -> None:
    """One thing is wrong with the streams, and PUBLISH_DONE counts them as they are."""
    delivered = Delivered(number, behaviour_of(name))

    assert delivered.streams == expected
    assert delivered.done is not None
    assert delivered.done.stream_count == len(expected)
    assert set(delivered.subscriber.resets) == (
        {stream.stream_id for stream in delivered.subscriber.streams} if name == "streams-reset" else set()
    )


def test_streams_are_doubled(number: int) -> None:
    """Each with the same bytes, and each counted."""
    delivered = Delivered(number, behaviour_of("subgroup-doubled"))

    assert sorted(delivered.streams) == sorted([*SENT, *SENT])
    assert delivered.done is not None
    assert delivered.done.stream_count == 2 * GROUPS


def test_the_alias_is_not_that_of_subscribe_ok(number: int) -> None:
    """The streams themselves are right."""
    delivered = Delivered(number, behaviour_of("alias-wrong"))

    assert delivered.streams == SENT
    assert delivered.alias not in {stream.header.track_alias for stream in delivered.subscriber.streams}


@pytest.mark.parametrize(
    ("name", "status", "count"),
    [
        ("publish-done-wrong-status", PublishDoneStatus.INTERNAL_ERROR, GROUPS),
        ("publish-done-counts-too-few", PublishDoneStatus.TRACK_ENDED, GROUPS - 1),
        ("publish-done-counts-too-many", PublishDoneStatus.TRACK_ENDED, GROUPS + 1),
        ("publish-done-uncounted", PublishDoneStatus.TRACK_ENDED, m.UNKNOWN_STREAM_COUNT),
    ],
)
def test_publish_done_is_wrong_as_it_says(
    number: int, name: str, status: PublishDoneStatus, count: int
) -> None:
    """The objects are all there."""
    delivered = Delivered(number, behaviour_of(name))

    assert delivered.streams == SENT
    assert delivered.done is not None
    assert (delivered.done.status, delivered.done.stream_count) == (status, count)


def test_publish_done_is_kept(number: int) -> None:
    """The objects are all there."""
    delivered = Delivered(number, behaviour_of("publish-done-kept"))

    assert delivered.streams == SENT
    assert delivered.done is None


def test_objects_come_behind_publish_done(number: int) -> None:
    """All of them, in their order."""
    delivered = Delivered(number, behaviour_of("objects-behind-publish-done"))
    early, done = delivered.streams, delivered.done

    delivered.relay.clock.advance(BEHIND_SECONDS)

    assert early == []
    assert done is not None
    assert done.stream_count == GROUPS
    assert delivered.streams == SENT
