"""What the relay keeps of tracks, and what it concludes from what it saw."""

from __future__ import annotations

import pytest
from relay_clients import FakeClock

from pytest_moqt.protocol.objects import StreamObject
from pytest_moqt.protocol.parameters import Property
from pytest_moqt.protocol.values import KeyValues, Location
from pytest_moqt.relay import limits
from pytest_moqt.relay.cache import Cache, Kept, Stretch, TrackCache
from pytest_moqt.relay.course import LAST_OBJECT

END = Location(9, 4)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def track(cache: Cache, clock: FakeClock) -> TrackCache:
    return TrackCache(cache, clock)


def put(track: TrackCache, group: int, *numbers: int, payload: bytes = b"x") -> None:
    for number in numbers:
        track.add(group, 0, 128, StreamObject(number, payload))
        track.trim(group)


def story(track: TrackCache, last: Location = END) -> list[object]:
    """From place to place: an object's, or what is known of a stretch and where it ends."""
    found: list[object] = []
    place = Location(0, 0)
    while place <= last:
        at = track.at(place, last)
        if isinstance(at, Kept):
            found.append((place.group, place.object))
            place = Location(place.group, place.object + 1)
        else:
            found.append(("empty" if at.empty else "unknown", (at.last.group, at.last.object)))
            place = Location(at.last.group, at.last.object + 1)
            if at.last.object == LAST_OBJECT:
                place = Location(at.last.group + 1, 0)
    return found


def test_of_nothing_nothing_is_known(track: TrackCache) -> None:
    """One stretch, from end to end."""
    assert story(track) == [("unknown", (9, 4))]


def test_ids_left_out_mean_nothing(track: TrackCache) -> None:
    """'A consumer cannot infer information about the existence of Objects between'."""
    put(track, 1, 0, 3)
    put(track, 3, 0)

    assert story(track, last=Location(3, 0)) == [
        ("unknown", (0, LAST_OBJECT)),
        (1, 0),
        ("unknown", (1, 2)),
        (1, 3),
        ("unknown", (1, LAST_OBJECT)),
        ("unknown", (2, LAST_OBJECT)),
        (3, 0),
    ]


def test_statuses_say_what_does_not_exist(track: TrackCache) -> None:
    """End of Group, End of Track, and draft 14's Object Does Not Exist."""
    put(track, 0, 0, 2)
    track.add(0, 0, 128, StreamObject(1, status=1))
    track.add(0, 0, 128, StreamObject(3, status=3))
    put(track, 1, 0)
    track.add(1, 0, 128, StreamObject(1, status=4))

    assert story(track) == [
        (0, 0),
        ("empty", (0, 1)),
        (0, 2),
        ("empty", (0, LAST_OBJECT)),
        (1, 0),
        ("empty", (9, 4)),
    ]
    assert track.end == Location(1, 1)


def test_properties_tell_of_gaps(track: TrackCache) -> None:
    """Prior Group ID Gap and Prior Object ID Gap; nonsense is no news."""
    gaps = KeyValues({Property.PRIOR_GROUP_ID_GAP: 2, Property.PRIOR_OBJECT_ID_GAP: 3})
    track.add(3, 0, 128, StreamObject(4, b"x", properties=gaps))
    too_large = KeyValues({Property.PRIOR_GROUP_ID_GAP: 9, Property.PRIOR_OBJECT_ID_GAP: 3})
    track.add(4, 0, 128, StreamObject(0, b"x", properties=too_large))

    assert story(track, last=Location(4, 0)) == [
        ("unknown", (0, LAST_OBJECT)),
        ("empty", (2, LAST_OBJECT)),
        ("unknown", (3, 0)),
        ("empty", (3, 3)),
        (3, 4),
        ("unknown", (3, LAST_OBJECT)),
        (4, 0),
    ]


def test_a_range_that_is_empty_keeps_what_is_in_it(track: TrackCache) -> None:
    """Objects that are known to exist do, whatever a later gap says of them."""
    put(track, 2, 1)

    track.set_empty(Location(0, 1), Location(4, 0))

    assert story(track, last=Location(4, 1)) == [
        ("unknown", (0, 0)),
        ("empty", (0, LAST_OBJECT)),
        ("empty", (1, LAST_OBJECT)),
        ("empty", (2, 0)),
        (2, 1),
        ("empty", (2, LAST_OBJECT)),
        ("empty", (3, LAST_OBJECT)),
        ("empty", (4, 0)),
        ("unknown", (4, 1)),
    ]


def test_what_is_known_not_to_exist_does_not_come_into_being(track: TrackCache) -> None:
    """'A caching relay SHOULD NOT cache ... the Object in this case'."""
    track.end_group(0, 2)
    track.set_empty(Location(1, 0), Location(3, 0))
    track.add(5, 0, 128, StreamObject(0, status=4))

    put(track, 0, 2)
    put(track, 2, 0)
    put(track, 5, 1)

    assert track.at(Location(0, 2), END) == Stretch(True, Location(0, LAST_OBJECT))
    assert track.at(Location(2, 0), Location(2, 5)) == Stretch(True, Location(2, 5))
    assert track.at(Location(5, 1), END) == Stretch(True, END)


def test_the_first_of_two_objects_at_a_place_is_kept(track: TrackCache) -> None:
    """'Relays MAY ignore subsequently received Objects'."""
    put(track, 0, 0, payload=b"first")
    put(track, 0, 0, payload=b"second")

    kept = track.at(Location(0, 0), END)

    assert isinstance(kept, Kept)
    assert kept.item.payload == b"first"


def test_objects_expire_one_by_one(track: TrackCache, clock: FakeClock) -> None:
    """'Objects earlier in a multi-object stream will expire earlier'; a new copy is as good as new."""
    track.duration = 1.0
    put(track, 0, 0)
    clock.advance(0.6)
    put(track, 0, 1)
    clock.advance(0.6)
    aged = story(track, last=Location(0, 1))

    put(track, 0, 0)

    assert aged == [("unknown", (0, 0)), (0, 1)]
    assert story(track, last=Location(0, 1)) == [(0, 0), (0, 1)]


def test_groups_alike_are_passed_at_once_on_the_way_down(track: TrackCache) -> None:
    """However many there are."""
    put(track, 10, 0)
    track.set_empty(Location(20, 0), Location(30, LAST_OBJECT))

    assert track.below(1 << 40, 0) == 31
    assert track.below(30, 0) == 30
    assert track.below(29, 0) == 21
    assert track.below(19, 0) == 11
    assert track.below(10, 0) == 10
    assert track.below(9, 4) == 4


def test_the_oldest_groups_of_a_track_go_first(
    track: TrackCache, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that is known of them."""
    monkeypatch.setattr(limits, "CACHE_TRACK_BYTES", 5 * limits.CACHE_OVERHEAD)

    for group in (3, 1, 2):
        put(track, group, 0)
        track.end_group(group, 1)

    assert isinstance(track.at(Location(1, 0), END), Kept)
    assert isinstance(track.at(Location(2, 0), END), Kept)
    assert track.at(Location(3, 0), END) == Stretch(False, END)
    assert track.size == cache.size <= limits.CACHE_TRACK_BYTES


def test_the_beginning_of_a_single_group_goes_when_it_is_too_large(
    track: TrackCache, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is new is kept."""
    monkeypatch.setattr(limits, "CACHE_TRACK_BYTES", 4 * limits.CACHE_OVERHEAD)

    put(track, 0, *range(6), payload=b"xy")

    assert story(track, last=Location(0, 5)) == [("unknown", (0, 3)), (0, 4), (0, 5)]
    assert track.size == cache.size


def test_tracks_share_the_bytes_of_a_relay(
    track: TrackCache, cache: Cache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest group gives way, whosever it is; what is forgotten is not counted."""
    monkeypatch.setattr(limits, "CACHE_BYTES", 5 * limits.CACHE_OVERHEAD)
    other = TrackCache(cache, clock)
    put(track, 0, 0)
    put(other, 0, 0)

    put(other, 1, 0)

    assert track.at(Location(0, 0), END) == Stretch(False, END)
    assert isinstance(other.at(Location(0, 0), END), Kept)
    assert cache.size <= limits.CACHE_BYTES
    other.clear()
    track.clear()
    assert (cache.size, track.size, other.size) == (0, 0, 0)
