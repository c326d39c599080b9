"""A session's transport over raw QUIC, and what both transports share: verbs, events, the end.

Rules:

- The owner is told one event at a time and never from inside a verb it called; what follows from a
  verb, such as our own close, is told in the next turn of the event loop.
- `TransportClosed` is told once, by whichever comes first of the possible ends; nothing follows it.
- An exception from the owner, or in here, ends the session with INTERNAL_ERROR (1, the same number in
  all drafts) and is kept in `failure`.
- Until the session is established nothing is told: an end is then a `Refusal`, for `dial` to raise.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from aioquic.quic import events as quic_events
from aioquic.quic.connection import QuicConnection

from pytest_moqt.client import aioquic_internals as internals
from pytest_moqt.client.driver import UdpDriver
from pytest_moqt.client.errors import printable
from pytest_moqt.protocol.transport import (
    DatagramData,
    Ending,
    StopSending,
    StreamData,
    StreamReset,
    StreamTransport,
    TransportClosed,
    TransportEvent,
    is_unidirectional,
    opened_by_client,
    utf8_prefix,
)

if TYPE_CHECKING:
    from pytest_moqt.client.connection import Connection

INTERNAL_ERROR = 0x1
"MoQT's session error for a fault of our own (session termination codes, all drafts)."

NO_VIABLE_PATH = 0x10
"QUIC's code for an end that no packet told (RFC 9000 section 20.1)."

# A CONNECTION_CLOSE must fit a packet of 1200 bytes that may hold Initial and Handshake ones too.
MAX_CLOSE_REASON = 512

MAX_QUIC_CODE = (1 << 62) - 1

EventHandler = Callable[[TransportEvent], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the transport was not established."""

    cause: Literal["quic", "path", "webtransport", "internal"]
    code: int | None = None
    reason: str = ""
    close: internals.QuicClose | None = None
    "The connection's end, when that is the cause."


class ClientTransport(StreamTransport):
    """A QUIC connection to a relay that carries one session."""

    name: ClassVar[Literal["quic", "webtransport"]]

    def __init__(self, quic: QuicConnection, address: tuple[str, int], on_event: EventHandler) -> None:
        self._loop = asyncio.get_running_loop()
        self._quic = quic
        self._on_event = on_event
        self._driver = UdpDriver(quic, self, address)
        self._told_closed = False
        self._gone = asyncio.Event()
        self._handshaken = self._loop.create_future()
        self._settled = self._loop.create_future()
        self._finished: set[int] = set()  # streams whose sending half we ended
        self._abandoned: set[int] = set()  # streams whose sending half was reset, by us or by a stop
        self._stopped: set[int] = set()  # streams whose receiving half is over or stopped by us
        self._pings: dict[int, asyncio.Future[bool]] = {}
        self._ping_ids = itertools.count(1)
        self.alpn = ""
        self.protocol: str | None = None
        self.closed: TransportClosed | None = None
        self.failure: Exception | None = None
        self.refusal: Refusal | None = None
        self.established = False
        self.handshake: dict[str, object] = {}
        self.connection: Connection | None = None
        "What is known of the QUIC connection, where a case asked for it."
        self.watchers: list[Callable[[], None]] = []
        "Called when all events of a datagram were told."

    # what a session may ask

    @property
    def connection_id(self) -> str:
        """Original destination connection id in lower-case hex: what relays name their logs after."""
        return self._quic.original_destination_connection_id.hex()

    @property
    def max_datagram_size(self) -> int:
        """The largest payload in bytes that `send_datagram` takes now; 0 when the peer takes none."""
        return max(0, internals.largest_datagram(self._quic) - len(self._datagram_prefix()))

    def open_stream(self, *, unidirectional: bool) -> int:
        """Open a stream of ours and return its id; nothing is sent before `send`."""
        stream_id = self._quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        self._quic.send_stream_data(stream_id, b"")  # or the next call would return the same id
        return stream_id

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes on a stream; after a reset, a stop or the session's end it does nothing.

        Raises:
            ValueError: The stream cannot be sent on: ended by us, the peer's own, or never opened.
        """
        if self.closed is not None or stream_id in self._abandoned:
            return
        if stream_id in self._finished:
            if data:
                raise ValueError(f"stream {stream_id} was ended by us, {len(data)} bytes cannot follow")
            return
        data = self._stream_prefix(stream_id) + data
        try:
            self._quic.send_stream_data(stream_id, data, fin)
        except RuntimeError:
            return  # stopped by the peer in this very datagram, its event still to be told
        if fin:
            self._finished.add(stream_id)
        self._driver.send_soon()

    def reset(self, stream_id: int, code: int) -> None:
        """Abandon our sending half; a second call does nothing.

        Raises:
            ValueError: `code` does not fit, or the stream has no sending half of ours.
        """
        wire = self._wire_code(code)
        if self.closed is not None or stream_id in self._abandoned:
            return
        self._quic.reset_stream(stream_id, wire)
        self._abandoned.add(stream_id)
        self._driver.send_soon()

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the peer to abandon its sending half; a second call, or one after its end, does nothing.

        Raises:
            ValueError: `code` does not fit, or the stream is unidirectional and ours.
        """
        wire = self._wire_code(code)
        if is_unidirectional(stream_id) and opened_by_client(stream_id):
            raise ValueError(f"stream {stream_id} is unidirectional and ours, the peer sends nothing on it")
        if self.closed is not None or stream_id in self._stopped:
            return
        try:
            self._quic.stop_stream(stream_id, wire)
        except ValueError:
            return  # over both ways and forgotten
        self._stopped.add(stream_id)
        self._driver.send_soon()

    def send_datagram(self, data: bytes) -> None:
        """Send one datagram.

        Raises:
            ValueError: `data` is longer than `max_datagram_size` bytes.
        """
        if self.closed is not None:
            return
        limit = self.max_datagram_size
        if len(data) > limit:
            raise ValueError(f"a datagram of {len(data)} bytes, at most {limit} can be sent to this peer")
        self._quic.send_datagram_frame(self._datagram_prefix() + data)
        self._driver.send_soon()

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session with an application code; a second call does nothing.

        Raises:
            ValueError: `code` does not fit.
        """
        self._wire_code(code)
        if self.closed is None:
            self._close_session(code, reason)
            self._end_soon(TransportClosed(code, reason, by_peer=False, layer="session"))

    def leave(self, ending: Ending) -> None:
        """End the session in one of the ways that the transport has.

        Raises:
            ValueError: It has not.
        """
        if ending is not Ending.CONNECTION:
            raise ValueError(f"no session over raw QUIC ends by {ending}")
        self.close()

    async def wait_connect_ended(self, timeout: float) -> bool:  # noqa: ARG002 - there is none here
        """Whether the relay ends its half of the CONNECT stream within `timeout` seconds.

        Raises:
            ValueError: There is no such stream.
        """
        raise ValueError("no CONNECT stream over raw QUIC")

    async def ping(self, timeout: float) -> bool:
        """Whether the peer acknowledges within `timeout` seconds that it received all sent so far."""
        if self.closed is not None:
            return False
        answered: asyncio.Future[bool] = self._loop.create_future()
        ids = [next(self._ping_ids), next(self._ping_ids)]
        for ping_id in ids:
            self._pings[ping_id] = answered
            # Two packets: "an ACK frame SHOULD be sent after receiving at least two ack-eliciting
            # packets" (RFC 9000 section 13.2.2); alone, one may wait for the peer's max_ack_delay.
            self._quic.send_ping(ping_id)
            self._driver.flush()
        try:
            await asyncio.wait({answered}, timeout=timeout)
        finally:
            for ping_id in ids:
                self._pings.pop(ping_id, None)
        return answered.done() and answered.result()

    @property
    def keep_alive_seconds(self) -> float:
        """How often a PING keeps the connection when nothing else is sent, though one of them be lost."""
        return internals.idle_seconds(self._quic) / 3

    async def wait_closed(self) -> TransportClosed:
        """Wait until the session is over and its `TransportClosed` was told."""
        await self._gone.wait()
        assert self.closed is not None
        return self.closed

    async def finish(self) -> None:
        """Close if that was not done, send what is queued and give up the socket at once; idempotent.

        A CONNECTION_CLOSE is sent once and not repeated if it is lost: the peer then times out.
        """
        self.abort()
        await self._driver.stopped()

    def abort(self) -> None:
        """Do what `finish` does, but leave closing the socket to the event loop's next turn."""
        try:
            if self.established:
                self.close()
            self._driver.flush_all()
            self._close_connection()
            self._driver.flush()
        except Exception as error:
            self.failure = self.failure or error
        finally:
            self._driver.stop()
            self._tell_closed()

    def stream_credit(self, *, unidirectional: bool) -> int:
        """How many more streams the peer lets us open; others are held back until it lets us."""
        return internals.stream_credit(self._quic, unidirectional=unidirectional)

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes sent or queued on a stream that the peer has not acknowledged."""
        return internals.unacknowledged(self._quic, stream_id)

    # what dial asks

    @property
    def driver(self) -> UdpDriver:
        """What moves this transport's datagrams."""
        return self._driver

    @property
    def handshaken(self) -> bool:
        """Whether the QUIC handshake completed, so that something did answer."""
        return self._handshaken.done()

    async def wait_handshaken(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the QUIC handshake; whether it completed or was refused."""
        await asyncio.wait({self._handshaken, self._settled}, timeout=timeout, return_when="FIRST_COMPLETED")
        return self._handshaken.done() or self._settled.done()

    async def wait_settled(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the session is `established` or has a `refusal`."""
        await asyncio.wait({self._settled}, timeout=timeout)
        return self._settled.done()

    def awaited(self) -> str:
        """What is missing for the session to be established, for a sentence."""
        return "the QUIC handshake to complete"

    # driver.Handler

    def quic_event(self, event: quic_events.QuicEvent) -> None:
        """Take one event of the connection."""
        match event:
            case quic_events.StreamDataReceived():
                self._stream_data(event)
            case quic_events.StreamReset():
                self._stream_reset(event)
            case quic_events.StopSendingReceived():
                self._stop_sending(event)
            case quic_events.DatagramFrameReceived():
                self._datagram(event)
            case quic_events.PingAcknowledged():
                answered = self._pings.pop(event.uid, None)
                if answered is not None and not answered.done():
                    answered.set_result(True)
            case quic_events.ProtocolNegotiated():
                self.alpn = event.alpn_protocol or ""
                self._negotiated()
            case quic_events.HandshakeCompleted():
                self.handshake["quic_version"] = internals.quic_version(self._quic)
                self.handshake["session_resumed"] = event.session_resumed
                self.handshake["early_data_accepted"] = event.early_data_accepted
                if not self._handshaken.done():
                    self._handshaken.set_result(None)
                self._connected()

    def batch_ended(self) -> None:
        """Take note that all events of one datagram were told."""
        for watcher in list(self.watchers):
            watcher()

    def quic_closed(self, close: internals.QuicClose) -> None:
        """Take note of the connection's end."""
        if not self.established:
            self._refuse(Refusal("quic", close.code, close.reason, close))
        elif self.closed is None:
            self._end(self._closed_by(close))

    def path_failed(self, error: OSError) -> None:
        """Take note that the operating system cannot reach the peer."""
        if isinstance(error, ConnectionRefusedError):
            reason = "UDP port closed: ICMP port unreachable"
        else:
            reason = error.strerror or str(error)
        if not self.established:
            self._refuse(Refusal("path", error.errno, reason))
        else:
            # Not at once: a send may have failed inside a verb.
            self._end_soon(TransportClosed(NO_VIABLE_PATH, reason, by_peer=False, layer="quic"))

    def failed(self, error: Exception) -> None:
        """End the session for an exception raised in this process."""
        if self.failure is None:
            self.failure = error
        reason = printable(f"internal error: {type(error).__name__}: {error}")
        if not self.established:
            self._refuse(Refusal("internal", INTERNAL_ERROR, reason))
        elif self.closed is None:
            self._close_session(INTERNAL_ERROR, reason)
            self._end_soon(TransportClosed(INTERNAL_ERROR, reason, by_peer=False, layer="session"))

    # for the transports

    def _emit(self, event: TransportEvent) -> None:
        if self.closed is None:
            self._on_event(event)

    def _end(self, closed: TransportClosed) -> None:
        """The session is over, and that is news: tell it."""
        if self.closed is None:
            self.closed = closed
            self._tell_closed()

    def _end_soon(self, closed: TransportClosed) -> None:
        """The session is over by a verb: tell it when the verb has returned."""
        if self.closed is None:
            self.closed = closed
            self._driver.send_soon()
            self._loop.call_soon(self._tell_closed)

    def _tell_closed(self) -> None:
        if self.closed is None or self._told_closed:
            return
        self._told_closed = True
        for answered in self._pings.values():
            if not answered.done():
                answered.set_result(False)
        try:
            self._on_event(self.closed)
        except Exception as error:
            self.failure = self.failure or error
        finally:
            self._gone.set()

    def _establish(self) -> None:
        self.established = True
        if not self._settled.done():
            self._settled.set_result(None)

    def _refuse(self, refusal: Refusal) -> None:
        if self.refusal is None and not self.established:
            self.refusal = refusal
        if not self._settled.done():
            self._settled.set_result(None)

    def _application_close(self, code: int, reason: str) -> None:
        self._quic.close(error_code=code, reason_phrase=utf8_prefix(reason, MAX_CLOSE_REASON))

    # what the transports do differently

    def _wire_code(self, code: int) -> int:
        """A code of ours as QUIC carries it."""
        if not 0 <= code <= MAX_QUIC_CODE:
            raise ValueError(f"QUIC carries codes 0 to {MAX_QUIC_CODE:#x}, not {code:#x}")
        return code

    def _application_code(self, wire: int) -> int | None:
        """A code QUIC carried as ours."""
        return wire

    def _stream_prefix(self, stream_id: int) -> bytes:  # noqa: ARG002 - raw QUIC has none
        """What has to be sent on a stream of ours before anything else, once."""
        return b""

    def _datagram_prefix(self) -> bytes:
        """What every datagram begins with."""
        return b""

    def _negotiated(self) -> None:
        """The application protocol is known."""

    def _connected(self) -> None:
        """The QUIC handshake is complete."""
        self._establish()

    def _close_session(self, code: int, reason: str) -> None:
        """Say to the peer that the session is over."""
        self._driver.flush_all()  # aioquic sends nothing of what is queued once it is told to close
        self._application_close(code, reason)

    def _close_connection(self) -> None:
        """Say to the peer that the connection is over, if that was not done."""
        self._application_close(0, "")

    def _closed_by(self, close: internals.QuicClose) -> TransportClosed:
        """What the connection's end means for the session."""
        if close.idle:
            return TransportClosed(0, "idle timeout", by_peer=False, layer="quic")
        layer = "session" if close.frame_type is None and close.by_peer else "quic"
        return TransportClosed(close.code, close.reason, by_peer=close.by_peer, layer=layer)

    def _stream_data(self, event: quic_events.StreamDataReceived) -> None:
        if event.end_stream:
            self._stopped.add(event.stream_id)
        self._emit(StreamData(event.stream_id, event.data, event.end_stream))

    def _stream_reset(self, event: quic_events.StreamReset) -> None:
        self._stopped.add(event.stream_id)
        code = self._application_code(event.error_code)
        self._emit(StreamReset(event.stream_id, code, event.error_code))

    def _stop_sending(self, event: quic_events.StopSendingReceived) -> None:
        self._abandoned.add(event.stream_id)  # aioquic has answered with a reset of the same code
        code = self._application_code(event.error_code)
        self._emit(StopSending(event.stream_id, code, event.error_code))

    def _datagram(self, event: quic_events.DatagramFrameReceived) -> None:
        self._emit(DatagramData(event.data))


class QuicTransport(ClientTransport):
    """A session's transport over raw QUIC: stream ids and codes are QUIC's own."""

    name = "quic"
