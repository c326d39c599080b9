"""UDP sockets that read all that waits before anyone has to act on it."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any, Protocol

Address = Any
"As the socket module has it: a tuple whose length is the family's."

_BUFFER_BYTES = 4 << 20
"Asked for in both directions; a burst of a whole window must not be lost in our own queue."
_READ_AT_ONCE = 64
_LONGEST_DATAGRAM = 65535


class Owner(Protocol):
    """Who takes what a socket receives."""

    def datagram(self, udp: UdpSocket, data: bytes, peer: Address) -> None:
        """Take one datagram."""

    def drained(self) -> None:
        """Act on what was taken: for now nothing more waits."""

    def refused(self, udp: UdpSocket, error: OSError) -> None:
        """Take what the operating system says of a peer that it cannot reach."""


Link = Callable[["UdpSocket", bool, bytes, Address], bytes | None]
"""What happens to a datagram on the way: socket, whether it leaves, its bytes, the peer. What is returned
goes on, None is lost. Tests listen here, and lose and corrupt."""


class UdpSocket:
    """A socket with an address.

    Args:
        bound: The socket, which is this object's from now on.
        owner: Who is told.
        link: What happens to datagrams on the way.
        connected: Whether it has one peer only.
    """

    def __init__(
        self, bound: socket.socket, owner: Owner, link: Link | None = None, *, connected: bool = False
    ) -> None:
        bound.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            bound.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        self.address: Address = bound.getsockname()
        "Ours."
        self._socket = bound
        self._connected = connected
        self._owner = owner
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound, self._readable)

    def send(self, data: bytes, peer: Address) -> None:
        """Send a datagram; one that the system does not take is lost, as on any way."""
        if self._link is not None:
            passed = self._link(self, True, data, peer)
            if passed is None:
                return
            data = passed
        try:
            if self._connected:
                self._socket.send(data)
            else:
                self._socket.sendto(data, peer)
        except BlockingIOError:
            pass
        except OSError as error:
            self._owner.refused(self, error)

    def share(self, other: socket.socket) -> None:
        """Give our address to another socket as well.

        Raises:
            OSError: The system does not do that.
        """
        # Not before: of two sockets with this option the system gives both the same free port, even to
        # different programs.
        for each in (self._socket, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(self.address)

    def close(self) -> None:
        """Give it up."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_READ_AT_ONCE):
            try:
                data, peer = self._socket.recvfrom(_LONGEST_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                self._owner.refused(self, error)
                break
            if self._link is not None:
                passed = self._link(self, False, data, peer)
                if passed is None:
                    continue
                data = passed
            self._owner.datagram(self, data, peer)
        self._owner.drained()


def connected_socket(family: int, peer: Address, beside: UdpSocket | None = None) -> socket.socket:
    """A socket with one peer, which is told when that cannot be reached.

    Args:
        family: Of the address.
        peer: Where it sends.
        beside: Another of ours, with another peer, whose address it shares.

    Raises:
        OSError: There is no way to the peer.
    """
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if beside is not None:
            beside.share(made)
        made.connect(peer)
    except OSError:
        made.close()
        raise
    return made


def listening_socket(host: str | None, port: int) -> socket.socket:
    """A socket for a server.

    Args:
        host: The address to listen on; None is every one of IPv6 and IPv4, or of IPv4 where there is no IPv6.
        port: UDP port; 0 is a free one.

    Raises:
        OSError: It is not ours, or in use.
    """
    if host is not None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        return _bound(family, address)
    try:
        return _bound(socket.AF_INET6, ("::", port))
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bound(socket.AF_INET, ("0.0.0.0", port))


def _bound(family: int, address: Address) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
