"""The private names of aioquic 1.7 that a server needs and that have no public word.

Nothing else in the relay touches a name of aioquic that begins with an underscore, but for the ways of being
wrong in `broken_quic`; tests/relay/test_relay_internals.py checks that each is still there and still means
the same.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aioquic.h3.connection import H3Connection
from aioquic.quic.connection import END_STATES, QuicConnection, QuicConnectionState

from pytest_moqt.relay.schedule import REQUESTS, Rank

if TYPE_CHECKING:
    from aioquic.quic.packet_builder import QuicPacketBuilder
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream

# Settings by which clients of later drafts of WebTransport recognise a server (draft-ietf-webtrans-http3
# section 9.2): WT_ENABLED of the newest, WT_MAX_SESSIONS of the ones between. aioquic sends draft 02's.
_NEWER_WEBTRANSPORT_SETTINGS = {0x2C7CF000: 1, 0x14E9CD29: 1, 0xC671706A: 1}

# Of a 1-RTT packet with one DATAGRAM frame, besides the peer's connection id: first byte, packet
# number of 2 bytes, frame type, length of 2 bytes, AEAD tag of 16.
_DATAGRAM_OVERHEAD = 22

_UNRANKED = (REQUESTS,)

# disable_active_migration (RFC 9000 section 18.2), of no length; aioquic reads it and never sends it.
_NO_MIGRATION = b"\x0c\x00"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a QUIC connection ended."""

    code: int
    reason: str
    by_peer: bool
    application: bool
    "Whether `code` is the application's; otherwise it is QUIC's own."


def ended(quic: QuicConnection) -> Ended | None:
    """How a connection ended; None while it lives.

    aioquic tells by an event only after its draining period of three probe timeouts.
    """
    event = quic._close_event
    if event is None:
        return None
    by_peer = quic._state is QuicConnectionState.DRAINING
    return Ended(event.error_code, event.reason_phrase, by_peer, event.frame_type is None)


def is_ending(quic: QuicConnection) -> bool:
    """Whether nothing but the end of the draining period is left to happen."""
    return quic._state in END_STATES


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


def stream_credit(quic: QuicConnection, *, unidirectional: bool) -> int:
    """How many more streams the peer lets us open now; aioquic holds back others without a word."""
    limit = quic._remote_max_streams_uni if unidirectional else quic._remote_max_streams_bidi
    opened = quic.get_next_available_stream_id(is_unidirectional=unidirectional) // 4
    return max(0, limit - opened)


def unacknowledged(quic: QuicConnection, stream_id: int) -> int:
    """Bytes written to a stream that the peer has not acknowledged, sent or not."""
    stream = quic._streams.get(stream_id)
    return len(stream.sender._buffer) if stream is not None else 0


def window_left(quic: QuicConnection) -> int:
    """Bytes of streams that the client lets the server send now, on all together."""
    return quic._remote_max_data - quic._remote_max_data_used


def pending_datagrams(quic: QuicConnection) -> int:
    """Datagrams that wait for their first packet."""
    return len(quic._datagrams_pending)


def can_write(quic: QuicConnection, stream_id: int) -> bool:
    """Whether a stream of ours, or our half of one, still takes bytes."""
    stream = quic._streams.get(stream_id)
    if stream is None:
        return False
    # A fin or a reset, ours or the one aioquic answers STOP_SENDING with.
    return stream.sender._buffer_fin is None and stream.sender._reset_error_code is None


class ServerConnection(QuicConnection):
    """A client's QUIC connection at a server that need not offer all that aioquic has, and has priorities.

    aioquic fills a packet with what streams have in the order of its queue, and puts those that were in it at
    the end; here the queue is put in order before each packet.
    """

    early_data = True
    "Whether tickets allow data before the handshake is complete, and such data is taken."
    migration = True
    "Whether clients are told that they may go on from another address."

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ranks: dict[QuicStream, Rank] = {}
        self._turns = itertools.count(1)

    def rank(self, stream_id: int, rank: Rank) -> None:
        """Send a stream by a rank; streams that have none are sent in turns, before those of objects."""
        self._ranks[self._streams[stream_id]] = rank
        if len(self._ranks) > 2 * len(self._streams):
            # aioquic forgets a stream when all of it was acknowledged, and tells nobody.
            self._ranks = {each: kept for each, kept in self._ranks.items() if not each.is_finished}

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        super()._write_connection_limits(builder, space)
        self._put_in_order()  # here, as nothing else of aioquic's comes once in each packet before streams

    def _put_in_order(self) -> None:
        queue = self._streams_queue
        waiting = [stream for stream in queue if not stream.sender.buffer_is_empty]
        if len(waiting) < 2:
            return
        # What is left has a reset to say, or nothing.
        rest = [stream for stream in queue if stream.sender.buffer_is_empty]
        waiting.sort(key=self._urgency)
        queue[:] = rest + waiting

    def _urgency(self, stream: QuicStream) -> tuple[int, ...]:
        rank = self._ranks.get(stream)
        return _UNRANKED if rank is None else rank.urgency

    def _write_stream_frame(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream, max_offset: int
    ) -> int:
        used = super()._write_stream_frame(builder, space, stream, max_offset)
        if used and (rank := self._ranks.get(stream)) is not None:
            rank.share.served = next(self._turns)
        return used

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if not self.early_data:
            self.tls._max_early_data = None

    def _serialize_transport_parameters(self) -> bytes:
        return super()._serialize_transport_parameters() + (b"" if self.migration else _NO_MIGRATION)


class WebTransportServer(H3Connection):
    """HTTP/3 that announces WebTransport in all its drafts' words; sends its SETTINGS at once."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic, enable_webtransport=True)

    def _get_local_settings(self) -> dict[int, int]:
        return {**super()._get_local_settings(), **_NEWER_WEBTRANSPORT_SETTINGS}

    def buffered(self, stream_id: int) -> int:
        """Bytes of a stream that are kept until a frame is whole; HTTP/3 itself sets no limit."""
        stream = self._stream.get(stream_id)
        return len(stream.buffer) if stream is not None else 0
