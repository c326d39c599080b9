"""The three integer codings of MoQT, as values that a draft's row names.

- `QUIC_VARINT`, drafts 14-16: RFC 9000 section 16, 1, 2, 4 or 8 bytes, up to 2^62-1.
- `VI64_17`, draft 17 section 1.4.1: the count of leading one bits is the count of following bytes, no
  7-byte form: 0xFC is a violation. 0xFD, which would be one too, is not named there; refused alike.
- `VI64`, draft 18 section 1.4.1 on: the same with the 7-byte form, up to 2^64-1.

Any length is valid when reading (RFC 9000 section 16; draft 18: "need not be encoded on the minimum
number of bytes"); writing uses the shortest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, ProtocolViolation
from pytest_moqt.protocol.record import Record


class IntegerCoding(Record):
    """How a draft writes an integer of variable length."""

    name: str
    maximum: int
    "The largest value that can be written."
    lengths: tuple[int, ...]
    "The lengths in bytes that the coding has, ascending."
    size_of: Callable[[int], int]
    "Length in bytes of an encoding, from its first byte; 0 when that byte may not begin one."
    pack: Callable[[int, int], bytes]
    "Value and length in bytes to bytes."
    unpack: Callable[[bytes], int]
    "One whole encoding to its value."
    capacity: Callable[[int], int]
    "Length in bytes to the largest value of that length."

    def only(self, length: int) -> IntegerCoding:
        """The same coding with one length for every value, for integers that are not as short as can be."""
        return dataclasses.replace(self, lengths=(length,))

    @cached_property
    def single(self) -> tuple[bytes, ...]:
        """The encodings of one byte, each at its value, which is the byte's; none where none is written."""
        if 1 not in self.lengths:
            return ()
        return tuple(self.pack(value, 1) for value in range(self.capacity(1) + 1))

    def encode(self, value: int, length: int | None = None) -> bytes:
        """Write a value, in `length` bytes when given (for tests of non-minimal forms).

        Raises:
            LocalProtocolError: The value is negative, too large, or does not fit `length`.
        """
        if length is None and 0 <= value < len(self.single):
            return self.single[value]
        if not 0 <= value <= self.maximum:
            raise LocalProtocolError(f"{value} is outside 0..{self.maximum}, the range of a {self.name}")
        for candidate in self.lengths:
            if value <= self.capacity(candidate) and (length is None or candidate == length):
                return self.pack(value, candidate)
        raise LocalProtocolError(f"{value} has no {self.name} of {length} bytes")

    def decode(self, data: bytes, offset: int = 0) -> tuple[int, int]:
        """Read one value.

        Returns:
            The value and the offset just behind it.

        Raises:
            NeedMoreData: The bytes end inside it.
            ProtocolViolation: The first byte begins no integer in this coding.
        """
        if offset >= len(data):
            raise NeedMoreData
        first = data[offset]
        if first < len(self.single):
            return first, offset + 1
        size = self.size_of(first)
        if not size:
            raise ProtocolViolation(f"a {self.name} may not begin with the byte {first:#04x}", offset=offset)
        end = offset + size
        if end > len(data):
            raise NeedMoreData
        return self.unpack(data[offset:end]), end


def _quic_size(first: int) -> int:
    return 1 << (first >> 6)


def _quic_pack(value: int, length: int) -> bytes:
    return (value | (length.bit_length() - 1) << (8 * length - 2)).to_bytes(length, "big")


def _quic_unpack(data: bytes) -> int:
    return int.from_bytes(data, "big") & ((1 << (8 * len(data) - 2)) - 1)


def _quic_capacity(length: int) -> int:
    return (1 << (8 * length - 2)) - 1


def _vi64_size(first: int) -> int:
    # The leading one bits of a byte are the leading zeros of its complement.
    return 9 - (first ^ 0xFF).bit_length()


def _vi64_17_size(first: int) -> int:
    return 0 if first in (0xFC, 0xFD) else _vi64_size(first)


def _vi64_pack(value: int, length: int) -> bytes:
    if length == 9:
        return b"\xff" + value.to_bytes(8, "big")
    prefix = (0xFF << (9 - length)) & 0xFF
    return (prefix << 8 * (length - 1) | value).to_bytes(length, "big")


def _vi64_unpack(data: bytes) -> int:
    if len(data) == 9:
        return int.from_bytes(data[1:], "big")
    return int.from_bytes(data, "big") & _vi64_capacity(len(data))


def _vi64_capacity(length: int) -> int:
    return (1 << (64 if length == 9 else 7 * length)) - 1


QUIC_VARINT = IntegerCoding(
    "QUIC varint", (1 << 62) - 1, (1, 2, 4, 8), _quic_size, _quic_pack, _quic_unpack, _quic_capacity
)
VI64_17 = IntegerCoding(
    "vi64 without the 7-byte form",
    (1 << 64) - 1,
    (1, 2, 3, 4, 5, 6, 8, 9),
    _vi64_17_size,
    _vi64_pack,
    _vi64_unpack,
    _vi64_capacity,
)
VI64 = IntegerCoding(
    "vi64",
    (1 << 64) - 1,
    (1, 2, 3, 4, 5, 6, 7, 8, 9),
    _vi64_size,
    _vi64_pack,
    _vi64_unpack,
    _vi64_capacity,
)
