"""Objects as the bytes they are, for streams that a session would never write."""

from __future__ import annotations

from pytest_moqt import ClientSession, Draft

SUBGROUP_HEADER = 0x14
"The type of a stream whose header has the subgroup's id and a priority; in every draft."
PRIORITY = b"\x80"
REPEATS = 5
"Of a datagram that has to come: each may be lost."


def integers(draft: Draft, *values: int, octets: int | None = None) -> bytes:
    """Integers of variable length, one behind the other; each in the fewest bytes, or in so many."""
    return b"".join(draft.integers.encode(value, octets) for value in values)


def subgroup(
    draft: Draft, alias: int, group: int, *, kind: int = SUBGROUP_HEADER, octets: int | None = None
) -> bytes:
    """The header of a stream of objects, of subgroup 0; `kind` is its type."""
    return integers(draft, kind, alias, group, 0, octets=octets) + PRIORITY


def stream_object(
    draft: Draft, delta: int, payload: bytes, *, length: int | None = None, octets: int | None = None
) -> bytes:
    """An object of such a stream.

    Args:
        draft: Whose integers are written.
        delta: Its id where it is the first, else how many ids are left out before it.
        payload: What it holds.
        length: What it claims to hold.
        octets: Bytes of each integer.
    """
    return integers(draft, delta, len(payload) if length is None else length, octets=octets) + payload


def insistent_datagram(session: ClientSession, octets: bytes) -> None:
    """Send the same datagram a few times, of which one has to come."""
    for _ in range(REPEATS):
        session.send_octets(octets)
