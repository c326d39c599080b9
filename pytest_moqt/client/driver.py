"""Moves datagrams between a UDP socket and one QuicConnection: timers, sending, an end without waiting.

Rules:

- What happens on the connection is told to a `Handler`, never from inside a call the handler made.
- However much is queued in one turn of the event loop, it is sent in one go at its end: sending per
  object is 13 times slower.
- An end is noticed when it is parsed, not when aioquic's draining period is over.
- No exception reaches the event loop: what a datagram or an event raises is the handler's to know.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent

from pytest_moqt.client import aioquic_internals as internals

if TYPE_CHECKING:
    from pytest_moqt.client.connection import LossyLink

# Enough for all of a congestion window, in the pacer's smallest steps; only a bound, never a target.
_FLUSH_ROUNDS = 256

_DATAGRAMS_A_TURN = 16
"That are read before what follows from them is sent, if as many are there."
_DATAGRAM_OCTETS = 64 * 1024
"No UDP datagram is longer."


class Handler(Protocol):
    """Who is told what happens on a connection."""

    def quic_event(self, event: QuicEvent) -> None:
        """Take one event."""

    def batch_ended(self) -> None:
        """Take note that all events of one datagram or timer were told."""

    def quic_closed(self, close: internals.QuicClose) -> None:
        """Take note of the connection's end, once, after the last event before it."""

    def path_failed(self, error: OSError) -> None:
        """Take note that the operating system cannot reach the peer."""

    def failed(self, error: Exception) -> None:
        """Take what was raised in this process while the connection was served."""


class UdpDriver(asyncio.DatagramProtocol):
    """A connected UDP socket, one at a time, and the connection over it."""

    def __init__(self, quic: QuicConnection, handler: Handler, address: tuple[str, int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._quic = quic
        self._handler = handler
        self._address = address
        self._socket: asyncio.DatagramTransport | None = None
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._close_told = False
        self._stopped = False
        self._lost = self._loop.create_future()
        self._sockets = 0
        self.datagrams_received = 0
        self._heard = 0
        "Datagrams and errors that the socket had for us."
        self.link: LossyLink | None = None
        "What loses datagrams between the socket and the connection, if anything does."

    def connect(self, early: Callable[[], None] | None = None) -> None:
        """Send the first flight; to be called once, when the socket is there.

        Args:
            early: Writes what is to be sent with it, where a ticket allows that.
        """
        self._quic.connect(self._address, now=self._loop.time())
        if early is not None:
            early()
        self.flush()

    async def change_port(self) -> None:
        """Go on with a socket of another port, as after a NAT has rebound.

        Raises:
            OSError: There is none to be had.
        """
        old = self._socket
        assert old is not None, "connected before"
        # While the old one is open, so that the new one cannot get its port.
        await self._loop.create_datagram_endpoint(
            lambda: self, remote_addr=self._address, family=old.get_extra_info("socket").family
        )
        # At once: what a relay still sends there would be taken for an answer on the new path.
        old.abort()

    def send_soon(self) -> None:
        """Send what is queued at the end of this turn of the event loop."""
        if self._soon is None and not self._stopped:
            self._soon = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is queued, as far as congestion control and pacing allow, and set the timer."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._stopped:
            return
        self._send(self._loop.time())
        self._set_timer()

    def flush_all(self) -> None:
        """Send what is queued without pacing: for the last words of a connection."""
        self.flush()
        now = self._loop.time()
        for _ in range(_FLUSH_ROUNDS):
            if self._stopped or internals.is_closing(self._quic):
                return
            paced_until = internals.paced_until(self._quic)
            if paced_until is None or not internals.has_unsent(self._quic):
                return
            # The connection's clock may run ahead: nothing that it times will happen any more.
            now = max(now, paced_until)
            self._send(now)

    def stop(self) -> None:
        """Give up the socket and all timers at once; a CONNECTION_CLOSE must have been flushed before."""
        if self._stopped:
            return
        self._stopped = True
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = None
        # Past the draining period in one step, so that aioquic frees its keys and writes its log.
        end = self._quic.get_timer() if internals.is_closing(self._quic) else None
        if end is not None:
            self._quic.handle_timer(now=end)
        if self._socket is not None:
            self._socket.close()

    async def stopped(self) -> None:
        """Wait until the socket is closed, which takes one turn of the event loop after `stop`."""
        if self._socket is not None:
            await asyncio.wait({self._lost})

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._sockets += 1
        self._socket = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        """Pass on a datagram, and some that came behind it: what is sent for them is sent in one go."""
        self._take(data)
        for _ in range(_DATAGRAMS_A_TURN - 1):
            if self._stopped or self._socket is None:
                return
            try:
                # What asyncio would tell a turn later each.
                data = os.read(self._socket.get_extra_info("socket").fileno(), _DATAGRAM_OCTETS)
            except BlockingIOError:
                return
            except OSError as error:
                self.error_received(error)
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._heard += 1
        if self._stopped or (self.link is not None and self.link.loses(sent=False)):
            return
        self.datagrams_received += 1
        if internals.is_stateless_reset(self._quic, data):
            self._reset()
            return
        try:
            # The address we dialled, whatever form the socket gives it: aioquic compares them.
            self._quic.receive_datagram(data, self._address, now=self._loop.time())
        except Exception as error:
            self._handler.failed(error)
        self._tell_events()
        self.send_soon()

    def error_received(self, exc: Exception) -> None:
        """Pass on an ICMP error or a failed send; asyncio has only OSError for it.

        Not at once: the system tells an error before the datagrams that came ahead of it, and the last word
        of a relay that closes and is gone may be among these. A turn reads one of them, or one more error.
        """
        self._heard += 1
        if isinstance(exc, OSError):
            self._pass_on_later(exc)

    def _pass_on_later(self, exc: OSError) -> None:
        self._loop.call_soon(self._loop.call_soon, self._pass_on, exc, self._heard)

    def _pass_on(self, exc: OSError, heard: int) -> None:
        if self._stopped:
            return
        if self._heard > heard:
            self._pass_on_later(exc)
        else:
            self._handler.path_failed(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is closed, or the one before it."""
        self._sockets -= 1
        if not self._sockets and not self._lost.done():
            self._lost.set_result(None)
        if not self._stopped and exc is not None:
            self._handler.failed(exc)

    # private

    def _reset(self) -> None:
        # "the endpoint MUST enter the draining period and not send any further packets on this
        # connection" (RFC 9000 section 10.3.1).
        self.stop()
        if not self._close_told:
            self._close_told = True
            self._handler.quic_closed(internals.QuicClose(0, 0, "stateless reset", by_peer=True, idle=False))

    def _send(self, now: float) -> None:
        try:
            datagrams = self._quic.datagrams_to_send(now=now)
        except Exception as error:
            # Trying again would raise again.
            self.stop()
            self._handler.failed(error)
            return
        if self._socket is None:
            return
        for data, address in datagrams:
            # A connected socket reaches one address; probes of the server's preferred one are dropped.
            if address == self._address and (self.link is None or not self.link.loses(sent=True)):
                self._socket.sendto(data)

    def _tell_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            try:
                self._handler.quic_event(event)
            except Exception as error:
                self._handler.failed(error)
        try:
            self._handler.batch_ended()
        except Exception as error:
            self._handler.failed(error)
        self._tell_close()

    def _tell_close(self) -> None:
        if self._close_told:
            return
        close = internals.close_of(self._quic)
        if close is not None:
            self._close_told = True
            self._handler.quic_closed(close)

    def _set_timer(self) -> None:
        timer_at = None
        if not self._stopped and not internals.is_closing(self._quic):
            timer_at = self._quic.get_timer()
        if timer_at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = timer_at
        if timer_at is not None:
            self._timer = self._loop.call_at(timer_at, self._timer_due)

    def _timer_due(self) -> None:
        due = self._timer_at
        self._timer = self._timer_at = None
        if self._stopped or due is None:
            return
        try:
            # Never before the time asked for, even if the loop's clock is coarse.
            self._quic.handle_timer(now=max(due, self._loop.time()))
        except Exception as error:
            self._handler.failed(error)
        self._tell_events()
        self.flush()
