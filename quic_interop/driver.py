"""Moves datagrams, time and events between one QUIC connection and whoever owns it.

What a connection raises, whatever was sent to it, is its handler's to know and reaches nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent

from pytest_moqt.client.aioquic_internals import is_closing
from quic_interop.network import Address


class Handler(Protocol):
    """Who is told what happens on a connection."""

    def quic_event(self, event: QuicEvent) -> None:
        """Take one event."""

    def batch_ended(self) -> None:
        """Take note that all events of this turn were told; what is written now is sent with the rest."""

    def failed(self, error: Exception) -> None:
        """Take what was raised in this process while the connection was served."""


class Driver:
    """One connection's timer and its datagrams.

    Args:
        quic: The connection.
        send: What takes a datagram and where it goes.
        handler: Who is told.
    """

    def __init__(
        self, quic: QuicConnection, send: Callable[[bytes, Address], None], handler: Handler
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._quic = quic
        self._send = send
        self._handler = handler
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def receive(self, data: bytes, path: Address) -> None:
        """Take a datagram; `settle` is to follow when there are no more of them."""
        if self._stopped:
            return
        try:
            self._quic.receive_datagram(data, path, now=self._loop.time())
        except Exception as error:
            self._handler.failed(error)

    def settle(self) -> None:
        """Tell what happened, then send what is to be sent."""
        if self._stopped:
            return
        try:
            while (event := self._quic.next_event()) is not None:
                self._handler.quic_event(event)
            self._handler.batch_ended()
        except Exception as error:
            self._handler.failed(error)
        self.flush()

    def flush(self) -> None:
        """Send what congestion control and pacing let go, and set the timer."""
        if self._stopped:
            return
        try:
            for data, path in self._quic.datagrams_to_send(now=self._loop.time()):
                self._send(data, path)
        except Exception as error:
            self.stop()
            self._handler.failed(error)
            return
        self._set_timer(self._quic.get_timer())

    def stop(self) -> None:
        """Let nothing more happen; a close must have been flushed before."""
        self._stopped = True
        self._set_timer(None)
        # Past the draining period in one step, so that aioquic writes the end of its log.
        end = self._quic.get_timer() if is_closing(self._quic) else None
        if end is not None:
            self._quic.handle_timer(now=end)

    def _set_timer(self, due: float | None) -> None:
        if self._timer is not None:
            if self._timer.when() == due and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_at(due, self._timer_due, due)

    def _timer_due(self, due: float) -> None:
        self._timer = None
        try:
            # Never before the time asked for, even if the loop's clock is coarse.
            self._quic.handle_timer(now=max(due, self._loop.time()))
        except Exception as error:
            self._handler.failed(error)
        self.settle()
