"""Servers and ways that are wrong in one way each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aioquic.tls import Epoch

from quic_interop.aioquic_internals import ServerConnection
from quic_interop.network import Address, UdpSocket
from quic_interop.server import Running

Spoil = Callable[[Running], object]


def forget_tickets(running: Running) -> None:
    """Tickets are given, and none is known again."""
    tickets = running.listener._tickets
    assert tickets is not None
    tickets.take = lambda label: None  # type: ignore[method-assign]


def serve_another_file(running: Running) -> None:
    """Whatever is asked for, the same bytes come."""
    find = running.listener.www.find

    def other(path: str) -> Path:
        file = find(path)
        return file.with_name("other")

    running.listener.www.find = other  # type: ignore[method-assign]


class IgnoresKeyUpdates(ServerConnection):
    """Reads the packets of a new key phase, and goes on in the old one."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._cryptos[Epoch.ONE_RTT]._update_key = lambda trigger: None  # type: ignore[method-assign]


class NeverConfirms(ServerConnection):
    """Sends no HANDSHAKE_DONE."""

    def _write_handshake_done_frame(self, builder: Any) -> None:
        pass


class OneWay:
    """A way on which no other port of a server is reached than its first; a `network.Link`."""

    def __init__(self) -> None:
        self._server: Address = None

    def __call__(self, udp: UdpSocket, leaves: bool, data: bytes, peer: Address) -> bytes | None:
        self._server = self._server or peer
        return data if peer == self._server else None
