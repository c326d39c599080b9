"""A client that says what a test wants said, and keeps what it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived, StreamReset
from pairs import HOST

from quic_interop.driver import Driver
from quic_interop.network import Address, UdpSocket, connected_socket

SECONDS = 5.0


@dataclass
class RawClient:
    """One connection; a `driver.Handler` and a `network.Owner`."""

    port: int
    alpn: str = "hq-interop"
    events: list[QuicEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    errors: list[Exception] = field(default_factory=list)

    def start(self) -> None:
        """Send the first flight."""
        configuration = QuicConfiguration(alpn_protocols=[self.alpn], verify_mode=0)
        address = (HOST, self.port)
        self.quic = QuicConnection(configuration=configuration)
        self.udp = UdpSocket(connected_socket(socket.AF_INET, address), self, connected=True)
        self.driver = Driver(self.quic, self.udp.send, self)
        self.quic.connect(address, now=asyncio.get_running_loop().time())
        self.driver.flush()

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Write to a stream, in a packet of its own."""
        self.quic.send_stream_data(stream_id, data, end_stream=end)
        self.driver.flush()

    def stream(self, stream_id: int) -> tuple[bytes, int | None, bool]:
        """What came on a stream: bytes, the code of a reset, and whether it ended."""
        mine = [event for event in self.events if getattr(event, "stream_id", None) == stream_id]
        data = b"".join(event.data for event in mine if isinstance(event, StreamDataReceived))
        reset = next((event.error_code for event in mine if isinstance(event, StreamReset)), None)
        return data, reset, any(isinstance(event, StreamDataReceived) and event.end_stream for event in mine)

    async def until(self, reached: Callable[[], Any]) -> None:
        """Wait for a condition, to a deadline."""
        async with asyncio.timeout(SECONDS):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    async def answer(self, stream_id: int) -> tuple[bytes, int | None]:
        """What a stream ended with."""

        def ended() -> bool:
            _, reset, end = self.stream(stream_id)
            return end or reset is not None

        await self.until(ended)
        return self.stream(stream_id)[:2]

    def datagram(self, udp: UdpSocket, data: bytes, peer: Address) -> None:
        self.driver.receive(data, (HOST, self.port))

    def drained(self) -> None:
        self.driver.settle()

    def refused(self, udp: UdpSocket, error: OSError) -> None:
        self.errors.append(error)

    def quic_event(self, event: QuicEvent) -> None:
        self.events.append(event)

    def batch_ended(self) -> None:
        self.changed.set()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


@asynccontextmanager
async def raw_client(port: int, alpn: str = "hq-interop") -> AsyncIterator[RawClient]:
    """A client with a completed handshake."""
    client = RawClient(port, alpn)
    client.start()
    try:
        await client.until(lambda: any(isinstance(event, HandshakeCompleted) for event in client.events))
        yield client
        assert client.errors == []
    finally:
        client.quic.close()
        client.driver.flush()
        client.driver.stop()
        client.udp.close()
