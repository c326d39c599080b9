"""Reads an input: every input means something, and a short one means zeros."""

from __future__ import annotations

from pytest_moqt.protocol.drafts import DRAFTS, Draft


class Cursor:
    """A place in an input."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self._at >= len(self._octets)

    def byte(self) -> int:
        """The next byte; 0 at the end."""
        return int.from_bytes(self.take(1), "big")

    def number(self) -> int:
        """Two bytes."""
        return int.from_bytes(self.take(2), "big")

    def take(self, count: int) -> bytes:
        """The next bytes, as many as there are."""
        taken = self._octets[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._octets))

    def draft(self) -> Draft:
        """The draft that a byte names by its number, or any one."""
        number = self.byte()
        return DRAFTS.get(number) or list(DRAFTS.values())[number % len(DRAFTS)]


def pieces(octets: bytes) -> list[list[bytes]]:
    """The same bytes cut in several ways: whole, byte by byte, and in pieces that the bytes decide."""
    ways = [[octets], [octets[at : at + 1] for at in range(len(octets))] or [b""]]
    cut: list[bytes] = []
    at = 0
    size = 1 + sum(octets[:64]) % 7
    while at < len(octets):
        cut.append(octets[at : at + size])
        at += size
        size = 1 + (size * 5 + octets[min(at, len(octets) - 1)]) % 23
    return [*ways, cut or [b""]]
