"""A NAT between a client and a server that can forget the port it had given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quic_interop.network import Address, UdpSocket, listening_socket


class Nat:
    """Passes datagrams between one client and a server; a `network.Owner`.

    Args:
        server: Its address.
        rebinds: After how many of the server's datagrams the client gets another port.
    """

    def __init__(self, server: Address, rebinds: int) -> None:
        self._server = server
        self._left = rebinds
        self._client: Address = None
        self._inside = UdpSocket(listening_socket(server[0], 0), self)
        self._outside = self._bound()
        self.port = int(self._inside.address[1])

    def _bound(self) -> UdpSocket:
        return UdpSocket(listening_socket(self._server[0], 0), self)

    def datagram(self, udp: UdpSocket, data: bytes, peer: Address) -> None:
        """Pass one datagram on; what still comes to a port that was given up is lost."""
        if udp is self._inside:
            self._client = peer
            self._outside.send(data, self._server)
        elif udp is self._outside:
            self._inside.send(data, self._client)
            self._left -= 1
            if self._left == 0:
                udp.close()
                self._outside = self._bound()

    def drained(self) -> None:
        """Nothing is kept."""

    def refused(self, udp: UdpSocket, error: OSError) -> None:
        """ICMP errors are not passed on."""

    def close(self) -> None:
        """Give up the ports."""
        self._inside.close()
        self._outside.close()


@contextmanager
def nat(server: Address, rebinds: int) -> Iterator[Nat]:
    """A NAT for as long as it is needed."""
    made = Nat(server, rebinds)
    try:
        yield made
    finally:
        made.close()
