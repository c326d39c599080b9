"""Objects that are passed on in parts, put together beside that for the cache.

Rules:

- What is put together of all objects is bounded: one more byte, and the object that it is of is passed on
  but not kept.
- A place that holds such an object is known to hold one from its first byte on ("Largest Object updates when
  the first byte of an Object ... is received", `subscription-filter`); who fetches it waits for the last.
"""

from __future__ import annotations

from io import BytesIO

from pytest_moqt.protocol.objects import ObjectBeginning, StreamObject
from pytest_moqt.relay import limits
from pytest_moqt.relay.cache import Cache


class Assembly:
    """One object, as far as it came."""

    def __init__(self, cache: Cache, beginning: ObjectBeginning) -> None:
        self._cache = cache
        self._beginning = beginning
        # Which gives what it holds without a copy; parts in a list would be there twice for a moment.
        self._payload: BytesIO | None = BytesIO()
        self._size = 0

    def add(self, payload: bytes) -> None:
        """Take the next bytes, while there is room for them."""
        if self._payload is None:
            return
        if self._cache.assembled + len(payload) > limits.ASSEMBLED_BYTES:
            self.give_up()
            return
        self._payload.write(payload)
        self._size += len(payload)
        self._cache.assembled += len(payload)

    def take(self) -> StreamObject | None:
        """The object, all of which came; None: there was no room for it."""
        if self._payload is None:
            return None
        payload = self._payload.getvalue()
        self.give_up()
        return StreamObject(self._beginning.object_id, payload, 0, self._beginning.properties)

    def give_up(self) -> None:
        """Forget what came, and what comes."""
        self._payload = None
        self._cache.assembled -= self._size
        self._size = 0
