"""The private names of aioquic 1.7 that its public interface has no word for, each behind a function.

Nothing else in this package touches a name of aioquic that begins with an underscore;
tests/client/test_aioquic_internals.py checks that each is still there and still means the same.
"""

from __future__ import annotations

import functools
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioquic.quic.connection import END_STATES, QuicConnection, QuicConnectionState
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.tls import Epoch

if TYPE_CHECKING:
    from aioquic.h3.connection import H3Connection
    from aioquic.quic.packet_builder import QuicPacketBuilder
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream

# Of a 1-RTT packet with one DATAGRAM frame, besides the peer's connection id: first byte, packet
# number of 2 bytes, frame type, length of 2 bytes, AEAD tag of 16.
_DATAGRAM_OVERHEAD = 22

# A short header's first byte, 4 bytes that look random, and the token (RFC 9000 section 10.3).
_SHORTEST_RESET = 21
_RESET_TOKEN = 16

# Settings by which servers of later drafts of WebTransport recognise a client: WT_ENABLED of the
# newest, WT_MAX_SESSIONS of the ones between; aioquic itself sends draft 02's only.
_NEWER_WEBTRANSPORT_SETTINGS = {0x2C7CF000: 1, 0x14E9CD29: 1, 0xC671706A: 1}


@dataclass(frozen=True, slots=True)
class QuicClose:
    """How a QUIC connection ended, known as soon as either side has said so."""

    code: int
    frame_type: int | None
    "None for an application's code; QUIC's own closes name the frame at fault, or 0."
    reason: str
    by_peer: bool
    idle: bool
    "Whether nobody closed it: it timed out."


def close_of(quic: QuicConnection) -> QuicClose | None:
    """How the connection ended; None while it lives.

    aioquic tells by an event only after its draining period, 45 to 600 ms later.
    """
    event = quic._close_event
    if event is None:
        return None
    # Read at once after the datagram or timer that ended it, when the state still says by whom.
    idle = quic._state is QuicConnectionState.TERMINATED and event.reason_phrase == "Idle timeout"
    by_peer = quic._state is QuicConnectionState.DRAINING
    return QuicClose(event.error_code, event.frame_type, event.reason_phrase, by_peer, idle)


def is_stateless_reset(quic: QuicConnection, datagram: bytes) -> bool:
    """Whether a datagram says that the peer has lost the connection's state (RFC 9000 section 10.3.1).

    aioquic drops it like any packet that it cannot read, and would probe a peer that is gone.
    """
    token = quic._peer_cid.stateless_reset_token
    if len(token) != _RESET_TOKEN or len(datagram) < _SHORTEST_RESET:
        return False
    # "endpoints MUST perform the comparison without leaking information about the value of the token".
    return hmac.compare_digest(datagram[-_RESET_TOKEN:], token)


def idle_seconds(quic: QuicConnection) -> float:
    """How long both sides may be silent until the connection is over (RFC 9000 section 10.1)."""
    return quic._idle_timeout()


def is_closing(quic: QuicConnection) -> bool:
    """Whether nothing but the end of the draining period is left to happen."""
    return quic._state in END_STATES


def paced_until(quic: QuicConnection) -> float | None:
    """When the pacer lets the next packet go, in the caller's clock; None when it holds none back."""
    return quic._pacing_at


def largest_datagram(quic: QuicConnection) -> int:
    """The longest payload in bytes of a DATAGRAM frame that aioquic sends and the peer takes; 0 is none.

    A longer one would never leave and hold back all behind it.
    """
    accepted = quic._remote_max_datagram_frame_size
    if accepted is None:
        return 0
    fits = quic._max_datagram_size - _DATAGRAM_OVERHEAD - len(quic._peer_cid.cid)
    # The peer's limit counts the frame's type and length too (RFC 9221 section 3).
    return max(0, min(fits, accepted - 3))


def datagram_limit(quic: QuicConnection) -> int:
    """The longest DATAGRAM frame in bytes that the peer takes; 0 is none."""
    return quic._remote_max_datagram_frame_size or 0


def stream_credit(quic: QuicConnection, *, unidirectional: bool) -> int:
    """How many more streams the peer lets us open now; aioquic holds back others without a word."""
    limit = quic._remote_max_streams_uni if unidirectional else quic._remote_max_streams_bidi
    opened = quic.get_next_available_stream_id(is_unidirectional=unidirectional) // 4
    return max(0, limit - opened)


def unacknowledged(quic: QuicConnection, stream_id: int) -> int:
    """Bytes written to a stream that the peer has not acknowledged, sent or not."""
    stream = quic._streams.get(stream_id)
    return len(stream.sender._buffer) if stream is not None else 0


def has_unsent(quic: QuicConnection) -> bool:
    """Whether a datagram, or a stream's bytes, end, reset or stop, waits for its first packet."""
    return bool(quic._datagrams_pending) or any(
        not stream.is_blocked
        and (not stream.sender.buffer_is_empty or stream.sender.reset_pending or stream.receiver.stop_pending)
        for stream in quic._streams.values()
    )


def allow_peer_streams(quic: QuicConnection, count: int) -> None:
    """Let the peer have `count` streams of each kind open at a time; to be called before connecting.

    aioquic fixes 128 and has no setting for it; each open stream makes every packet dearer.
    """
    for limit in (quic._local_max_streams_bidi, quic._local_max_streams_uni):
        limit.value = limit.sent = count


class ClientConnection(QuicConnection):
    """A client's connection that keeps its 0-RTT data when it has to begin again, and may withhold credit.

    After Retry or Version Negotiation aioquic forgets the packets of its first flight, and takes what was in
    them for sent: what was written before the handshake never arrives, and its bytes are in flight for ever.
    """

    withholds_credit = False
    "Whether the peer gets no more flow-control credit, for data nor for streams, than it has."

    @property
    def credit_left(self) -> int:
        """Bytes that the peer may still send on all streams together."""
        return self._local_max_data.value - self._local_max_data.used

    def extend_credit(self, octets: int) -> None:
        """Let the peer send so many bytes more on all streams together, and no others while withholding."""
        self._local_max_data.value += octets

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        if not self.withholds_credit:
            super()._write_connection_limits(builder, space)
        elif limit.value != limit.sent:
            # aioquic doubles what is used by half.
            used, limit.used = limit.used, 0
            try:
                super()._write_connection_limits(builder, space)
            finally:
                limit.used = used

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        if not self.withholds_credit:
            super()._write_stream_limits(builder, space, stream)

    def _connect(self, now: float) -> None:
        for space in self._spaces.values():
            for packet in space.sent_packets.values():
                for handler, arguments in packet.delivery_handlers:
                    handler(QuicDeliveryState.LOST, *arguments)
            self._loss.discard_space(space)
        super()._connect(now)


def quic_version(quic: QuicConnection) -> int | None:
    """The version in use; None before connecting."""
    return quic._version


def cipher_suite(quic: QuicConnection) -> str | None:
    """The name of the TLS 1.3 cipher suite in use; None before the relay has chosen one."""
    tls = getattr(quic, "tls", None)
    schedule = None if tls is None else tls.key_schedule
    return None if schedule is None else str(schedule.cipher_suite.name)


def is_confirmed(quic: QuicConnection) -> bool:
    """Whether the handshake is confirmed: for a client, whether HANDSHAKE_DONE came."""
    return quic._handshake_confirmed


def key_phase(quic: QuicConnection) -> int:
    """The key phase of the packets that are sent; it stays readable when the connection is over."""
    pair = quic._cryptos.get(Epoch.ONE_RTT)
    return 0 if pair is None else pair.send.key_phase


def spare_connection_ids(quic: QuicConnection) -> int:
    """How many connection ids of the peer's are not in use."""
    return len(quic._peer_cid_available)


@functools.cache
def _http3_class() -> type[H3Connection]:
    # Imported here: HTTP/3 brings QPACK, which a session over raw QUIC never needs.
    from aioquic.h3.connection import H3Connection as Base

    class WebTransportH3(Base):
        """HTTP/3 that announces WebTransport in all its drafts' words."""

        def _get_local_settings(self) -> dict[int, int]:
            return {**super()._get_local_settings(), **_NEWER_WEBTRANSPORT_SETTINGS}

    return WebTransportH3


def webtransport_http3(quic: QuicConnection) -> H3Connection:
    """HTTP/3 for a client that wants WebTransport; sends its SETTINGS at once."""
    return _http3_class()(quic, enable_webtransport=True)


def http3_buffered(http3: H3Connection, stream_id: int) -> int:
    """Bytes of a stream that HTTP/3 keeps until a frame is whole; it sets no limit itself."""
    stream = http3._stream.get(stream_id)
    return len(stream.buffer) if stream is not None else 0
