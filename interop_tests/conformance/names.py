"""Names as they are on the wire, for those that no message of ours can have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pytest_moqt import Draft, Frame

LONGEST = 4096
"Bytes of a Full Track Name (`track-name`)."
MOST_FIELDS = 32
"Fields of a Track Namespace (`track-name`)."


def written(draft: Draft, fields: Iterable[bytes]) -> bytes:
    """A namespace in the draft's coding, whether the draft allows it or not."""
    fields = tuple(fields)
    return draft.integers.encode(len(fields)) + b"".join(sized(draft, field) for field in fields)


def sized(draft: Draft, value: bytes) -> bytes:
    """Bytes behind their length, as fields and track names are written."""
    return draft.integers.encode(len(value)) + value


def putting(new: bytes, old: bytes) -> Callable[[Frame], Frame]:
    """An edit of a frame: other bytes in the place of some that are in its body once."""

    def edit(frame: Frame) -> Frame:
        assert frame.body.count(old) == 1, "one edit in one place"
        return frame.replace(body=frame.body.replace(old, new))

    return edit


def filled(namespace: tuple[bytes, ...], size: int) -> tuple[bytes, ...]:
    """A namespace with one more field, so that its fields have this many bytes together."""
    return (*namespace, b"f" * (size - sum(map(len, namespace))))
