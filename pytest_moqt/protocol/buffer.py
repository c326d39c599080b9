"""Reading and writing the primitive values of one message or stream, in one draft's integer coding."""

from __future__ import annotations

from pytest_moqt.protocol.errors import NeedMoreData, ProtocolViolation
from pytest_moqt.protocol.varint import IntegerCoding


def counted(octets: int) -> str:
    """A number of bytes as a sentence says it: `1 byte`, `2 bytes`."""
    return "1 byte" if octets == 1 else f"{octets} bytes"


class Reader:
    """A cursor over bytes; every `pull` raises NeedMoreData rather than read past their end."""

    __slots__ = ("data", "end", "integers", "offset")

    def __init__(self, data: bytes, integers: IntegerCoding, offset: int = 0, end: int | None = None) -> None:
        self.data = data
        self.integers = integers
        self.offset = offset
        self.end = len(data) if end is None else end

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return self.end - self.offset

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.offset >= self.end

    def vint(self) -> int:
        """A variable-length integer."""
        value, offset = self.integers.decode(self.data, self.offset)
        if offset > self.end:
            raise NeedMoreData
        self.offset = offset
        return value

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two bytes, big-endian."""
        return int.from_bytes(self.take(2), "big")

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        end = self.offset + count
        if end > self.end:
            raise NeedMoreData
        data = self.data[self.offset : end]
        self.offset = end
        return data

    def octets(self, limit: int | None = None, what: str = "a value") -> bytes:
        """A length (variable-length integer) and that many bytes.

        Raises:
            ProtocolViolation: The length is above `limit`; said before the bytes are awaited.
        """
        return self.take(self._length(limit, what))

    def block(self, limit: int | None = None, what: str = "a value") -> Reader:
        """The same, as a reader over those bytes alone, whose offsets are this one's.

        Raises:
            ProtocolViolation: As `octets`.
        """
        return self.within(self._length(limit, what))

    def _length(self, limit: int | None, what: str) -> int:
        start = self.offset
        length = self.vint()
        if limit is not None and length > limit:
            raise ProtocolViolation(f"{what} of {length} bytes, at most {limit} are allowed", offset=start)
        return length

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.remaining)

    def within(self, length: int) -> Reader:
        """A reader over the next `length` bytes, which this one skips."""
        start = self.offset
        self.take(length)
        return Reader(self.data, self.integers, start, self.offset)


class Writer:
    """Bytes of a message, appended value by value."""

    __slots__ = ("_parts", "integers")

    def __init__(self, integers: IntegerCoding) -> None:
        self.integers = integers
        self._parts: list[bytes] = []

    def vint(self, value: int) -> None:
        """A variable-length integer, shortest form."""
        self._parts.append(self.integers.encode(value))

    def u8(self, value: int) -> None:
        """One byte."""
        self._parts.append(value.to_bytes(1, "big"))

    def u16(self, value: int) -> None:
        """Two bytes, big-endian."""
        self._parts.append(value.to_bytes(2, "big"))

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._parts.append(data)

    def octets(self, data: bytes) -> None:
        """A length (variable-length integer) and the bytes."""
        self.vint(len(data))
        self._parts.append(data)

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)
