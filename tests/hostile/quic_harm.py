"""What a relay can do to QUIC beneath a session, harmful or merely odd: one row of `HARMS` each.

Rules:

- A row without a cause is something that QUIC allows or tells clients to ignore: the case must pass.
- A row says which section decides.
- A relay that never completes a handshake cannot be reached: the run ends with a bail-out.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable
from functools import partial

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import encode_quic_retry, encode_quic_version_negotiation
from cryptography.hazmat.primitives.serialization import Encoding
from fronts import (
    HOST,
    ID_LENGTH,
    Hostile,
    HostileRelay,
    close_frame,
    header_of,
    initial_packet,
    is_initial,
    vint,
)
from harm import FORGED, NOT_UTF8, Harm
from judging import REQUEST_FIRST

from pytest_moqt.protocol.drafts import draft
from pytest_moqt.protocol.objects import (
    PADDING_STREAM,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.webtransport import stream_header

DRAFT = draft(18)
VERSION_1, VERSION_2 = 0x1, 0x6B3343CF
UNKNOWN_VERSIONS = [0x1A2A3A4A, 0xFF00001D]
"One reserved to force negotiation, one of a draft of QUIC."
BURST = 16
"Packets that leave in one turn: a socket's buffer holds some ninety."
MAX_CODE = (1 << 62) - 1

# ---- before there are keys --------------------------------------------------------------------------


class VersionNegotiation(Hostile):
    """Version Negotiation in answer to the first datagrams; the relay takes what comes after."""

    def __init__(self, *versions: int, times: float = 1, stray: bool = False) -> None:
        super().__init__()
        self._versions = list(versions)
        self._times = times
        self._stray = stray

    def from_client(self, data: bytes) -> None:
        if is_initial(data) and self.acted < self._times:
            self.acted += 1
            asked = header_of(data)
            ours = os.urandom(ID_LENGTH) if self._stray else asked.source_cid
            self.to_client(encode_quic_version_negotiation(asked.destination_cid, ours, self._versions))
            if not self._stray and VERSION_1 not in self._versions:
                return
            if self._times > 1:
                return
        self.to_relay(data)


class LateVersionNegotiation(Hostile):
    """Version Negotiation before every packet of an established connection."""

    def __init__(self) -> None:
        super().__init__()
        self._answer = b""

    def from_client(self, data: bytes) -> None:
        if is_initial(data):
            asked = header_of(data)
            self._answer = encode_quic_version_negotiation(
                asked.destination_cid, asked.source_cid, UNKNOWN_VERSIONS
            )
        self.to_relay(data)

    def from_relay(self, data: bytes) -> None:
        self.to_client(data)
        self.acted += 1
        self.to_client(self._answer)


class ForgedRetry(Hostile):
    """A Retry packet that must be discarded, before the relay's answer."""

    def __init__(self, *, token: bytes, break_tag: bool) -> None:
        super().__init__()
        self._token = token
        self._break_tag = break_tag

    def from_client(self, data: bytes) -> None:
        if not self.acted:
            self.acted += 1
            packet = retry_packet(data, b"forged!!", self._token)
            self.to_client(packet[:-1] + bytes([packet[-1] ^ self._break_tag]))
        self.to_relay(data)


def crypto_frame(message: bytes, offset: int = 0) -> bytes:
    """CRYPTO (RFC 9000 section 19.6)."""
    return vint(0x06, offset, len(message)) + message


def retry_packet(first: bytes, source: bytes, token: bytes) -> bytes:
    """A valid Retry in answer to a client's first datagram."""
    asked = header_of(first)
    return encode_quic_retry(VERSION_1, source, asked.source_cid, asked.destination_cid, token)


class Retry(HostileRelay):
    """A relay that validates addresses by Retry (RFC 9000 section 8.1.2).

    Args:
        storm: More Retry packets for every datagram of the client's.
        announced: The handshake names the Retry, as it must.
    """

    def __init__(self, *, storm: int = 0, announced: bool = True) -> None:
        super().__init__()
        self._storm = storm
        self._announced = announced
        self._first = b""

    def from_client(self, data: bytes) -> None:
        if not self._first:
            self._first = data
            self.acted += 1
            self.to_client(retry_packet(data, b"retried!", b"token"))
            return
        for number in range(self._storm):
            self.to_client(retry_packet(self._first, number.to_bytes(ID_LENGTH, "big"), b"again"))
        if self.connection is None:
            retried = b"retried!" if self._announced else None
            self.connection = self.accept(header_of(self._first).destination_cid, retried)
        super().from_client(data)


class EndlessRetry(Hostile):
    """Nothing but Retry."""

    def from_client(self, data: bytes) -> None:
        self.acted += 1
        self.to_client(retry_packet(data, os.urandom(ID_LENGTH), os.urandom(16)))


class RefusedToken(EndlessRetry):
    """Retry, and then no liking for the token that comes back."""

    def from_client(self, data: bytes) -> None:
        if self.acted:
            self.to_client(initial_packet(data, close_frame(0xB, FORGED)))
        else:
            super().from_client(data)


class FirstWords(Hostile):
    """An Initial packet of these frames in answer to every one of the client's, and nothing else."""

    def __init__(self, frames: bytes) -> None:
        super().__init__()
        self._frames = frames

    def from_client(self, data: bytes) -> None:
        if is_initial(data):
            self.acted += 1
            self.to_client(initial_packet(data, self._frames))


class UnreadableInitial(Hostile):
    """Initial packets that nobody can decrypt, before the relay's own."""

    def from_client(self, data: bytes) -> None:
        if is_initial(data):
            self.acted += 1
            packet = initial_packet(data, b"\x01")
            self.to_client(packet[:-8] + os.urandom(8))
            self.to_client(packet[:30])
        self.to_relay(data)


class Garbage(Hostile):
    """Datagrams of noise before each of the relay's, every length and every first byte."""

    def __init__(self) -> None:
        super().__init__()
        self._noise = random.Random(1)

    def from_relay(self, data: bytes) -> None:
        for _ in range(BURST):
            self.acted += 1
            size = self._noise.choice([0, 1, 2, 7, 20, 21, 60, 1200, 1400])
            self.to_client(self._noise.randbytes(size))
        self.to_client(self._noise.randbytes(1) + data[1:])
        self.to_client(data)


class StrangerGarbage(Hostile):
    """The same from an address that is not the relay's, and copies of the relay's packets."""

    def from_relay(self, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((HOST, 0))
            for junk in (b"", os.urandom(40), os.urandom(1200), data):
                self.acted += 1
                stranger.sendto(junk, self.client)
        self.to_client(data)


# ---- the handshake ----------------------------------------------------------------------------------


class Silent(Hostile):
    """Nothing ever comes back."""

    def from_client(self, data: bytes) -> None:
        self.acted += 1


class OnlyServerHello(Hostile):
    """The relay's Initial packets come through, and what is behind them does not."""

    def from_relay(self, data: bytes) -> None:
        if is_initial(data):
            self.acted += 1
            self.to_client(data[: header_of(data).packet_length])


class NothingAfterHandshake(Hostile):
    """Every packet with application data is lost."""

    def from_relay(self, data: bytes) -> None:
        if data[0] & 0x80:
            self.to_client(data)
        else:
            self.acted += 1


class _NoCertificate:
    """Stands where a certificate should be."""

    def public_bytes(self, encoding: Encoding) -> bytes:
        return b"\x30\x82 no certificate"


class BrokenCertificate(HostileRelay):
    """Bytes in place of a certificate."""

    def configure(self, configuration: QuicConfiguration) -> None:
        self.acted += 1
        configuration.certificate = _NoCertificate()
        configuration.certificate_chain = []


class Tuned(HostileRelay):
    """A connection whose settings, and so its transport parameters, are changed.

    Args:
        tune: Is given the connection before its first packet.
        configure: Attributes of the configuration.
    """

    def __init__(self, tune: Callable[[QuicConnection], None] | None = None, **configure: object) -> None:
        super().__init__()
        self._tune = tune
        self._settings = configure

    def configure(self, configuration: QuicConfiguration) -> None:
        for name, value in self._settings.items():
            setattr(configuration, name, value)

    def prepare(self, quic: QuicConnection) -> None:
        self.acted += 1
        if self._tune is not None:
            self._tune(quic)


def no_streams(quic: QuicConnection, *, unidirectional: bool) -> None:
    """The client may open none, ever."""
    limit = quic._local_max_streams_uni if unidirectional else quic._local_max_streams_bidi
    limit.value = limit.sent = 0


def narrow(quic: QuicConnection) -> None:
    """Windows of a few bytes, each raised when half of it is used."""
    quic._local_max_data.value = quic._local_max_data.sent = 2000
    quic._local_max_stream_data_bidi_local = 64
    quic._local_max_stream_data_bidi_remote = 64
    quic._local_max_stream_data_uni = 64


def lazy_acknowledgements(quic: QuicConnection) -> None:
    """An acknowledgement comes a third of a second late, far beyond the 25 ms that were promised."""
    quic._ack_delay = 0.3


# ---- in the session ---------------------------------------------------------------------------------


class InSession(HostileRelay):
    """Does something at a step of the session.

    Args:
        at: The step.
        what: Is given this relay.
        instead: What the relay would do then is left out.
    """

    def __init__(self, at: str, what: Callable[[InSession], None], *, instead: bool = False) -> None:
        super().__init__()
        self._at = at
        self._what = what
        self._instead = instead
        self._mute = False

    def step(self, name: str) -> bool | None:
        if name != self._at:
            return False
        self.acted += 1
        self._what(self)
        return self._instead

    def to_client(self, data: bytes) -> None:
        if not self._mute:
            super().to_client(data)

    def mute(self) -> None:
        """Be silent from now on."""
        self._mute = True


def fall_silent(relay: InSession) -> None:
    """Every packet from now on is lost."""
    relay.mute()


def vanish(relay: InSession) -> None:
    """The relay's process ends, and its socket with it."""
    relay.front.unplug()


def stateless_reset(relay: InSession, *, forged: bool = False) -> None:
    """The relay has lost its state (RFC 9000 section 10.3), or somebody says so without knowing the token."""
    token = os.urandom(16) if forged else relay.quic._host_cids[0].stateless_reset_token
    for _ in range(BURST):
        relay.to_client(bytes([0x40 | os.urandom(1)[0] & 0x3F]) + os.urandom(25) + token)
        if forged:
            token = os.urandom(16)
    if not forged:
        relay.mute()


def frames(data: bytes | Callable[[QuicConnection], bytes], *, times: int = 1) -> Callable[[InSession], None]:
    """Sends a packet of these frames."""

    def send(relay: InSession) -> None:
        for _ in range(times):
            relay.send_frames(data(relay.quic) if callable(data) else data)

    return send


def next_stream(quic: QuicConnection) -> int:
    """A unidirectional stream that the relay has not opened."""
    return quic.get_next_available_stream_id(is_unidirectional=True)


def stream_frame(stream_id: int, data: bytes, *, offset: int = 0, fin: bool = False) -> bytes:
    """STREAM with offset and length (RFC 9000 section 19.8)."""
    return vint(0x0E | fin, stream_id, offset, len(data)) + data


def reset_frame(stream_id: int, code: int, size: int) -> bytes:
    """RESET_STREAM (RFC 9000 section 19.4)."""
    return vint(0x04, stream_id, code, size)


def connection_id_frame(sequence: int, retire: int) -> bytes:
    """NEW_CONNECTION_ID (RFC 9000 section 19.15)."""
    own = sequence.to_bytes(ID_LENGTH, "big")
    return vint(0x18, sequence, retire) + bytes([len(own)]) + own + sequence.to_bytes(16, "big")


def update_keys(relay: InSession) -> None:
    """The next packets are in new keys."""
    relay.quic.request_key_update()
    relay.quic.send_ping(1)


class Flood(HostileRelay):
    """A flood from a step on, as fast as the client's limits allow, in place of an answer to a request.

    A subclass says in `wave` what the next packets carry.
    """

    TOTAL = 10_000

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at
        self._running = False
        self._waiting: asyncio.Handle | None = None

    def step(self, name: str) -> bool | None:
        if name == self._at:
            self._running = True
            self.loop.call_soon(self.front.guard, self._pour)
        return name == self._at == "request"

    def stop(self) -> None:
        self._running = False
        super().stop()

    def gone(self, connection: object) -> None:
        self._running = False

    def _pour(self) -> None:
        self._waiting = None
        if not self._running or self.quic._close_event is not None:
            return
        for _ in range(BURST):
            carried = self.wave()
            if not carried:
                break
            self.send_frames(carried)
        if self.acted < self.TOTAL:
            # Far slower than the client takes them, or most would be lost in its socket.
            self._waiting = self.loop.call_later(0.002, self.front.guard, self._pour)

    def wave(self) -> bytes:
        """The frames of the next packet; none while the client allows no more."""
        raise NotImplementedError

    @property
    def header(self) -> bytes:
        """What a data stream begins with on this transport."""
        assert self.transport is not None
        return stream_header(0, unidirectional=True) if self.transport.name == "webtransport" else b""


def subgroup(*objects: StreamObject) -> bytes:
    """A subgroup of a track that nobody subscribed to, with these objects."""
    encoder = SubgroupEncoder(SubgroupHeader(track_alias=77, group_id=0), DRAFT)
    return encoder.header() + b"".join(encoder.object(item) for item in objects)


class StreamFlood(Flood):
    """Ten thousand streams, each with one object and its end, or reset as soon as it is open.

    Of bidirectional ones the client allows 128 that it has not ended itself.
    """

    def __init__(self, at: str, *, unidirectional: bool = True, reset: bool = False) -> None:
        super().__init__(at)
        self._unidirectional = unidirectional
        self._reset = reset
        self._next = 0

    def wave(self) -> bytes:
        quic = self.quic
        limit = quic._remote_max_streams_uni if self._unidirectional else quic._remote_max_streams_bidi
        own = quic.get_next_available_stream_id(is_unidirectional=self._unidirectional) // 4
        self._next = max(self._next, own)
        carried = b""
        data = self.header + subgroup(StreamObject(0, b"x"))
        while self._next < limit and len(carried) < 1100 and self.acted < self.TOTAL:
            stream_id = 4 * self._next + (3 if self._unidirectional else 1)
            if self._reset:
                carried += reset_frame(stream_id, 0, 0)
            else:
                carried += stream_frame(stream_id, data, fin=True)
            self._next += 1
            self.acted += 1
        return carried


class DatagramFlood(Flood):
    """Ten thousand datagrams of a track that nobody subscribed to."""

    def wave(self) -> bytes:
        assert self.transport is not None
        carried = b""
        while len(carried) < 1100:
            item = ObjectDatagram(track_alias=77, group_id=self.acted, object_id=0, payload=b"x" * 16)
            data = self.transport._datagram(encode_datagram(item, DRAFT))
            carried += vint(0x31, len(data)) + data
            self.acted += 1
        return carried


class ObjectFlood(HostileRelay):
    """A million objects of one byte on one stream."""

    TOTAL = 1_000_000

    def __init__(self, at: str) -> None:
        super().__init__()
        self._at = at

    def step(self, name: str) -> bool | None:
        if name != self._at:
            return False
        assert self.transport is not None
        stream_id = self.transport.open_stream(unidirectional=True)
        self.acted += self.TOTAL
        one = subgroup(StreamObject(0, b"x"))
        tiny = one[len(subgroup()) :]
        self.transport.send(stream_id, subgroup() + tiny * self.TOTAL)
        return name == "request"


def open_streams(relay: InSession, *, unidirectional: bool, count: int, data: bytes) -> None:
    """Streams that are opened and never finished."""
    assert relay.transport is not None
    for _ in range(count):
        relay.transport.send(relay.transport.open_stream(unidirectional=unidirectional), data)


def streams_beyond_limit(quic: QuicConnection) -> bytes:
    """A stream that the client has not allowed."""
    return stream_frame(4 * quic._remote_max_streams_uni + 3, b"x")


# ---- the network ------------------------------------------------------------------------------------


class Doubled(Hostile):
    """Every datagram comes twice, both ways."""

    def from_client(self, data: bytes) -> None:
        self.acted += 1
        for _ in range(2):
            self.to_relay(data)

    def from_relay(self, data: bytes) -> None:
        self.acted += 1
        for _ in range(2):
            self.to_client(data)


class Swapped(Hostile):
    """Datagrams come in pairs, the later first."""

    PAIR_SECONDS = 0.01
    "How long one waits for the other."

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, bytes] = {}

    def from_client(self, data: bytes) -> None:
        self._swap("relay", data, self.to_relay)

    def from_relay(self, data: bytes) -> None:
        self._swap("client", data, self.to_client)

    def _swap(self, to: str, data: bytes, send: Callable[[bytes], None]) -> None:
        if to in self._held:
            self.acted += 1
            send(data)
            send(self._held.pop(to))
        else:
            self._held[to] = data
            self.loop.call_later(self.PAIR_SECONDS, self.front.guard, self._let_go, to, data, send)

    def _let_go(self, to: str, data: bytes, send: Callable[[bytes], None]) -> None:
        if self._held.get(to) is data:
            send(self._held.pop(to))


class Lossy(Hostile):
    """Every second datagram in one direction is lost.

    In both, what the relay's QUIC repeats can be what is lost again, for longer than a case has.
    """

    def __init__(self, *, to_client: bool) -> None:
        super().__init__()
        self._to_client = to_client
        self._sent = 0

    def from_client(self, data: bytes) -> None:
        if self._to_client or self._passes():
            self.to_relay(data)

    def from_relay(self, data: bytes) -> None:
        if not self._to_client or self._passes():
            self.to_client(data)

    def _passes(self) -> bool:
        self._sent += 1
        lost = self._sent % 2 == 0
        self.acted += lost
        return not lost


# ---- the table --------------------------------------------------------------------------------------


def _violation(name: str, section: str, says: str, what: bytes | Callable[[QuicConnection], bytes]) -> Harm:
    return Harm(name, lambda: InSession("setup", frames(what)), section, "transport", says)


HARMS = (
    Harm(
        "version-negotiation-unknown",
        partial(VersionNegotiation, *UNKNOWN_VERSIONS, times=1_000),
        "RFC 9000 section 6.2",
        "transport",
        "speaks no version of QUIC known here",
    ),
    Harm("version-negotiation-ours", partial(VersionNegotiation, VERSION_1), "RFC 9000 section 6.2"),
    Harm(
        "version-negotiation-ours-endless",
        partial(VersionNegotiation, VERSION_1, times=1_000),
        "RFC 9000 section 6.2",
        "transport",
        "no QUIC handshake within",
        bail_out=True,
    ),
    Harm("version-negotiation-version-2", partial(VersionNegotiation, VERSION_2), "RFC 9368 section 2.1"),
    Harm(
        "version-negotiation-version-2-endless",
        partial(VersionNegotiation, VERSION_2, times=1_000),
        "RFC 9368 section 4",
        "transport",
        "no QUIC handshake within",
        bail_out=True,
    ),
    Harm(
        "version-negotiation-for-another",
        partial(VersionNegotiation, *UNKNOWN_VERSIONS, stray=True),
        "RFC 9000 section 17.2.1",
    ),
    Harm("version-negotiation-too-late", LateVersionNegotiation, "RFC 9000 section 6.2"),
    Harm("retry", Retry, "RFC 9000 section 8.1.2"),
    Harm("retry-storm", partial(Retry, storm=50), "RFC 9000 section 17.2.5.2"),
    Harm(
        "retry-endless",
        EndlessRetry,
        "RFC 9000 section 17.2.5.2",
        "transport",
        "no QUIC handshake within",
        bail_out=True,
    ),
    Harm("retry-forged", partial(ForgedRetry, token=b"x", break_tag=True), "RFC 9001 section 5.8"),
    Harm(
        "retry-without-token", partial(ForgedRetry, token=b"", break_tag=False), "RFC 9000 section 17.2.5.2"
    ),
    Harm(
        "retry-unannounced",
        partial(Retry, announced=False),
        "RFC 9000 section 7.3",
        "transport",
        "TRANSPORT_PARAMETER_ERROR",
    ),
    Harm("retry-token-refused", RefusedToken, "RFC 9000 section 8.1.2", "transport", "INVALID_TOKEN"),
    Harm("initial-unreadable", UnreadableInitial, "RFC 9001 section 5.2"),
    Harm(
        "initial-unknown-frame",
        partial(FirstWords, vint(0x3F00)),
        "RFC 9000 section 12.4",
        "transport",
        "FRAME_ENCODING_ERROR",
    ),
    Harm(
        "initial-close",
        partial(FirstWords, close_frame(0x2, FORGED)),
        "RFC 9000 section 10.2",
        "transport",
        "CONNECTION_REFUSED",
    ),
    Harm(
        "initial-close-not-utf8",
        partial(FirstWords, close_frame(0x1, NOT_UTF8)),
        "RFC 9000 section 19.19",
        "transport",
        "INTERNAL_ERROR",
    ),
    Harm(
        "initial-close-unknown-code",
        partial(FirstWords, close_frame(MAX_CODE, b"x" * 1000)),
        "RFC 9000 section 20.1",
        "transport",
        "0x3fffffffffffffff",
    ),
    Harm(
        "initial-alert",
        partial(FirstWords, close_frame(0x128, FORGED)),
        "RFC 9001 section 4.8",
        "tls",
        "TLS alert 40 handshake_failure",
    ),
    Harm(
        "initial-alert-alpn",
        partial(FirstWords, close_frame(0x178, FORGED)),
        "RFC 9001 section 8.1",
        "alpn",
        "speaks none of the protocols offered",
    ),
    Harm(
        "initial-close-of-application",
        partial(FirstWords, close_frame(0x3, FORGED, application=True)),
        "RFC 9000 section 12.5",
        "transport",
        "PROTOCOL_VIOLATION",
    ),
    Harm(
        "server-hello-garbage",
        partial(FirstWords, crypto_frame(b"\x02\0\0\x20" + bytes(32))),
        "RFC 8446 section 6.2",
        "tls",
        "decode_error",
    ),
    Harm(
        "server-hello-never-whole",
        partial(FirstWords, crypto_frame(b"\x02\xff\xff\xff" + bytes(32))),
        "RFC 9000 section 10.1",
        "transport",
        "no QUIC handshake within",
        bail_out=True,
    ),
    Harm(
        "server-hello-of-a-client",
        partial(FirstWords, crypto_frame(b"\x01\0\0\x04" + bytes(4))),
        "RFC 8446 section 4",
        "tls",
        "unexpected_message",
    ),
    Harm("garbage", Garbage, "RFC 9000 section 5.2.1"),
    Harm("garbage-from-elsewhere", StrangerGarbage, "RFC 9000 section 9"),
    Harm("silence", Silent, "RFC 9000 section 10.1", "transport", "no reply within", bail_out=True),
    Harm(
        "server-hello-only",
        OnlyServerHello,
        "RFC 9000 section 10.1",
        "transport",
        "no QUIC handshake within",
        bail_out=True,
    ),
    Harm(
        "silence-after-handshake",
        NothingAfterHandshake,
        "RFC 9000 section 10.1",
        {"quic": "setup", "webtransport": "webtransport"},
    ),
    Harm("certificate-broken", BrokenCertificate, "RFC 8446 section 4.4.2", "tls", "could not be parsed"),
    Harm(
        "no-unidirectional-streams",
        partial(Tuned, partial(no_streams, unidirectional=True)),
        "RFC 9114 section 6.2",
        {"quic": "timeout", "webtransport": "webtransport"},
        cases=REQUEST_FIRST,
    ),
    Harm(
        "no-bidirectional-streams",
        partial(Tuned, partial(no_streams, unidirectional=False)),
        "RFC 9000 section 4.6",
        {"quic": "timeout", "webtransport": "webtransport"},
        cases=REQUEST_FIRST,
    ),
    Harm(
        "no-data",
        partial(Tuned, max_data=0),
        "RFC 9000 section 4.1",
        {"quic": "timeout", "webtransport": "webtransport"},
        cases=REQUEST_FIRST,
    ),
    Harm("narrow-windows", partial(Tuned, narrow), "RFC 9000 section 4.1", cases=REQUEST_FIRST),
    Harm("late-acknowledgements", partial(Tuned, lazy_acknowledgements), "RFC 9000 section 13.2.1"),
    Harm(
        "no-datagrams",
        partial(Tuned, max_datagram_frame_size=None),
        "RFC 9297 section 2.1.1",
        {"quic": None, "webtransport": "webtransport"},
    ),
    Harm(
        "silence-after-setup",
        partial(InSession, "setup", fall_silent),
        "RFC 9000 section 10.1",
        "transport",
        "acknowledged no QUIC PING",
    ),
    Harm(
        "silence-after-request",
        partial(InSession, "request", fall_silent, instead=True),
        "RFC 9000 section 10.1",
        "timeout",
        cases=REQUEST_FIRST,
    ),
    Harm(
        "stateless-reset",
        partial(InSession, "setup", stateless_reset),
        "RFC 9000 section 10.3.1",
        "closed",
        "stateless reset",
    ),
    Harm(
        "stateless-reset-in-request",
        partial(InSession, "request", stateless_reset, instead=True),
        "RFC 9000 section 10.3.1",
        "closed",
        "stateless reset",
        cases=REQUEST_FIRST,
    ),
    Harm(
        "stateless-reset-forged",
        partial(InSession, "setup", partial(stateless_reset, forged=True)),
        "RFC 9000 section 10.3.1",
    ),
    Harm("key-update", partial(InSession, "setup", update_keys), "RFC 9001 section 6"),
    Harm(
        "path-challenges",
        partial(InSession, "setup", frames(b"".join(vint(0x1A) + bytes(8) for _ in range(100)))),
        "RFC 9000 section 8.2",
    ),
    Harm(
        "new-tokens",
        partial(InSession, "setup", frames(vint(0x07, 1000) + bytes(1000), times=BURST)),
        "RFC 9000 section 8.1.3",
    ),
    Harm(
        "connection-ids-retired",
        partial(InSession, "setup", frames(connection_id_frame(8, 1) + connection_id_frame(9, 2))),
        "RFC 9000 section 5.1.2",
    ),
    _violation(
        "connection-id-twice", "RFC 9000 section 19.15", "PROTOCOL_VIOLATION", connection_id_frame(3, 9)
    ),
    _violation(
        "connection-ids-too-many",
        "RFC 9000 section 5.1.1",
        "CONNECTION_ID_LIMIT_ERROR",
        b"".join(connection_id_frame(number, 0) for number in range(10, 30)),
    ),
    _violation("unknown-frame", "RFC 9000 section 12.4", "FRAME_ENCODING_ERROR", vint(0x3F00)),
    _violation("frame-cut-off", "RFC 9000 section 12.4", "FRAME_ENCODING_ERROR", vint(0x06, 0, 60) + b"x"),
    _violation("stream-of-ours", "RFC 9000 section 19.8", "STREAM_STATE_ERROR", stream_frame(4000, b"x")),
    _violation("stream-beyond-limit", "RFC 9000 section 4.6", "STREAM_LIMIT_ERROR", streams_beyond_limit),
    _violation(
        "stream-beyond-window",
        "RFC 9000 section 4.1",
        "FLOW_CONTROL_ERROR",
        lambda quic: stream_frame(next_stream(quic), b"x", offset=1 << 40),
    ),
    _violation(
        "stream-beyond-integers",
        "RFC 9000 section 19.8",
        "FRAME_ENCODING_ERROR",
        lambda quic: stream_frame(next_stream(quic), b"x", offset=MAX_CODE),
    ),
    _violation(
        "final-size-changed",
        "RFC 9000 section 4.5",
        "FINAL_SIZE_ERROR",
        lambda quic: (
            stream_frame(next_stream(quic), b"", offset=9, fin=True) + reset_frame(next_stream(quic), 0, 3)
        ),
    ),
    _violation(
        "crypto-flood", "RFC 9000 section 7.5", "CRYPTO_BUFFER_EXCEEDED", vint(0x06, 1 << 30, 1) + b"x"
    ),
    Harm("ten-thousand-streams", partial(StreamFlood, "setup"), "RFC 9000 section 4.6"),
    Harm(
        "ten-thousand-streams-unanswered",
        partial(StreamFlood, "request"),
        "RFC 9000 section 4.6",
        "timeout",
        cases=REQUEST_FIRST,
    ),
    Harm("ten-thousand-resets", partial(StreamFlood, "setup", reset=True), "RFC 9000 section 3.2"),
    Harm(
        "ten-thousand-resets-unanswered",
        partial(StreamFlood, "request", reset=True),
        "RFC 9000 section 3.2",
        "timeout",
        cases=REQUEST_FIRST,
    ),
    Harm(
        "every-bidirectional-stream-reset",
        partial(StreamFlood, "request", unidirectional=False, reset=True),
        "RFC 9000 section 3.2",
        "timeout",
        cases=REQUEST_FIRST,
    ),
    Harm("ten-thousand-datagrams", partial(DatagramFlood, "setup"), "RFC 9221 section 5"),
    Harm(
        "ten-thousand-datagrams-unanswered",
        partial(DatagramFlood, "request"),
        "RFC 9221 section 5",
        "timeout",
        cases=REQUEST_FIRST,
    ),
    Harm("a-million-objects", partial(ObjectFlood, "setup"), "draft-ietf-moq-transport-18 subgroup-header"),
    Harm(
        "a-million-objects-unanswered",
        partial(ObjectFlood, "request"),
        "draft-ietf-moq-transport-18 subgroup-header",
        "timeout",
        cases=REQUEST_FIRST,
    ),
    Harm(
        "stream-of-unknown-type",
        partial(
            InSession,
            "setup",
            partial(open_streams, unidirectional=True, count=1, data=DRAFT.integers.encode(0x7F * 9 + 0x9D)),
        ),
        "draft-ietf-moq-transport-18 stream-types",
        "data",
        "has no unidirectional stream of type",
    ),
    Harm(
        "padding-streams",
        partial(
            InSession,
            "setup",
            partial(
                open_streams,
                unidirectional=True,
                count=50,
                data=DRAFT.integers.encode(PADDING_STREAM) + bytes(10_000),
            ),
        ),
        "draft-ietf-moq-transport-18 padding-streams",
    ),
    Harm(
        "streams-never-finished",
        partial(
            InSession,
            "setup",
            partial(open_streams, unidirectional=True, count=100, data=subgroup() + b"\x00\x05ab"),
        ),
        "RFC 9000 section 3.1",
    ),
    Harm(
        "requests-never-finished",
        partial(InSession, "setup", partial(open_streams, unidirectional=False, count=100, data=b"\x03")),
        "RFC 9000 section 3.1",
    ),
    Harm("every-packet-twice", Doubled, "RFC 9000 section 12.3"),
    Harm("packets-swapped", Swapped, "RFC 9000 section 13"),
    Harm("half-of-its-packets-lost", partial(Lossy, to_client=True), "RFC 9002 section 6"),
    Harm("half-of-our-packets-lost", partial(Lossy, to_client=False), "RFC 9002 section 6"),
)
