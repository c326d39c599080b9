"""What one end of QUIC connections sends and receives, and ways that lose and corrupt it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from quic_interop.network import Address, Link, UdpSocket


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram that was on the wire."""

    from_client: bool
    client: Address
    server: Address
    data: bytes
    time: float = 0.0
    "Seconds, of a clock without a date."


@dataclass
class Capture:
    """Records what passes at a client's or a server's sockets; a `network.Link`.

    What the way beyond it loses was on the wire all the same; what it loses before the client was not.
    """

    at_client: bool
    beyond: Link | None = None
    "The way itself."
    datagrams: list[Datagram] = field(default_factory=list)

    def __call__(self, udp: UdpSocket, leaves: bool, data: bytes, peer: Address) -> bytes | None:
        passed: bytes | None = data
        if leaves:
            self._record(udp, leaves, data, peer)
        if self.beyond is not None:
            passed = self.beyond(udp, leaves, data, peer)
        if not leaves and passed is not None:
            self._record(udp, leaves, passed, peer)
        return passed

    def _record(self, udp: UdpSocket, leaves: bool, data: bytes, peer: Address) -> None:
        client, server = (udp.address, peer) if self.at_client else (peer, udp.address)
        self.datagrams.append(Datagram(leaves == self.at_client, client, server, data, time.monotonic()))


class LossyLink:
    """Loses a share of the datagrams of each direction, never more than `burst` in a row; a `network.Link`.

    Args:
        seed: Two links with the same one lose the same datagrams, counted by direction.
        share: Of datagrams lost.
        burst: The runner's link loses at most three in a row.
        corrupt: Change a byte instead of losing the datagram.
    """

    def __init__(self, seed: int, *, share: float = 0.3, burst: int = 3, corrupt: bool = False) -> None:
        self._random = {leaves: random.Random(f"{seed} {leaves}") for leaves in (True, False)}
        self._row = {True: 0, False: 0}
        self._share = share
        self._burst = burst
        self._corrupt = corrupt
        self.hit = 0
        "Datagrams lost or corrupted."

    def __call__(self, udp: UdpSocket, leaves: bool, data: bytes, peer: Address) -> bytes | None:
        unlucky = self._random[leaves].random() < self._share and self._row[leaves] < self._burst
        self._row[leaves] = self._row[leaves] + 1 if unlucky else 0
        if not unlucky:
            return data
        self.hit += 1
        if not self._corrupt:
            return None
        place = self._random[leaves].randrange(len(data))
        return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
