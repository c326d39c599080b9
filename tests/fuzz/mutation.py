"""Makes an input of two others: bits and ranges changed, integers and lengths rewritten, both spliced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from pytest_moqt.protocol.varint import QUIC_VARINT, VI64

BYTES = (0x00, 0x01, 0x02, 0x3F, 0x40, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xFC, 0xFD, 0xFE, 0xFF)
"First bytes at which integers get another length, and their neighbours."
INTEGERS = (
    *(0, 1, 2, 3, 4, 5, 63, 64, 127, 128, 255, 256, 1024, 1025, 4096, 4097, 8192, 8193, 16383, 16384),
    *(65535, 65536, (1 << 30) - 1, 1 << 30, (1 << 32) - 1, (1 << 62) - 1),
)
"Values at which a limit of a draft, or the length of an integer, changes."
MOST = 5
"Changes to one input."

Change = Callable[[Random, bytearray, bytes, Sequence[bytes]], None]


def _flip(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    if octets:
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)


def _set(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    if octets:
        octets[chance.randrange(len(octets))] = chance.choice((*BYTES, chance.randrange(256)))


def _step(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    """A length one too long or too short."""
    if octets:
        at = chance.randrange(len(octets))
        octets[at] = (octets[at] + chance.choice((-1, 1))) % 256


def _insert(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    at = chance.randint(0, len(octets))
    octets[at:at] = chance.randbytes(chance.choice((1, 1, 2, 3, 8)))


def _delete(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    if octets:
        at = chance.randrange(len(octets))
        del octets[at : at + chance.choice((1, 1, 2, 4, 16))]


def _cut(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    del octets[chance.randint(0, len(octets)) :]


def _repeat(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    if octets:
        start = chance.randrange(len(octets))
        part = octets[start : start + chance.choice((1, 2, 4, 8, 32))]
        octets[start:start] = part * chance.choice((1, 1, 2, 8))


def _move(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    if octets:
        start = chance.randrange(len(octets))
        part = octets[start : start + chance.choice((1, 2, 4, 8, 32))]
        del octets[start : start + len(part)]
        at = chance.randint(0, len(octets))
        octets[at:at] = part


def _integer(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    """An integer, of any length, in the place of what may be another."""
    coding = chance.choice((QUIC_VARINT, VI64))
    value = chance.choice((*INTEGERS, coding.maximum))
    lengths = [length for length in coding.lengths if value <= coding.capacity(length)]
    written = coding.encode(value, chance.choice((lengths[0], chance.choice(lengths))))
    at = chance.randint(0, len(octets))
    replaced = coding.size_of(octets[at]) if at < len(octets) and chance.random() < 0.8 else 0
    octets[at : at + replaced] = written


def _length(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    """A length of two bytes that says how much there is behind it, or nearly."""
    if len(octets) >= 2:
        at = chance.randrange(len(octets) - 1)
        left = max(0, len(octets) - at - 2 + chance.choice((-1, 0, 0, 0, 1)))
        octets[at : at + 2] = chance.choice((left, left, 65535)).to_bytes(2, "big")


def _word(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    if words:
        word = chance.choice(words)
        at = chance.randint(0, len(octets))
        octets[at : at + chance.choice((0, 0, len(word)))] = word


def _splice(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    """The beginning of one and the end of the other."""
    at = chance.randint(0, len(octets))
    octets[at:] = other[chance.randint(0, len(other)) :]


def _graft(chance: Random, octets: bytearray, other: bytes, words: Sequence[bytes]) -> None:
    """A piece of the other in the midst of the one."""
    if other:
        start = chance.randrange(len(other))
        at = chance.randint(0, len(octets))
        octets[at:at] = other[start : start + chance.choice((1, 2, 4, 8, 16, 64))]


CHANGES: tuple[Change, ...] = (
    *(_flip, _set, _set, _step, _insert, _delete, _cut, _repeat, _move),
    *(_integer, _integer, _length, _word, _word, _splice, _graft),
)


def mutate(chance: Random, octets: bytes, other: bytes, words: Sequence[bytes] = ()) -> bytes:
    """An input like `octets`, by chance.

    Args:
        chance: Decides everything.
        octets: What is changed.
        other: What may be mixed in.
        words: Bytes that mean something to the target.
    """
    changed = bytearray(octets)
    for _ in range(chance.randint(1, MOST)):
        chance.choice(CHANGES)(chance, changed, other, words)
    return bytes(changed)
