"""Captured datagrams to packets and frames, read with SSLKEYLOGFILE as the runner does with tshark.

The ciphers are aioquic's. What is read here owes nothing to what the endpoints say of themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from aioquic.buffer import Buffer
from aioquic.quic.crypto import CryptoContext, CryptoError, CryptoPair
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    get_retry_integrity_tag,
    pull_quic_header,
)
from aioquic.tls import CipherSuite
from wire_capture import Datagram

from quic_interop.network import Address

CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, CERTIFICATE = 1, 2, 4, 11
"Types of handshake messages (RFC 8446 section 4)."

_ACK, _ACK_ECN = 0x02, 0x03
_CRYPTO, _NEW_TOKEN, _STREAM, _STREAM_END = 0x06, 0x07, 0x08, 0x10
_NEW_CONNECTION_ID = 0x18
PATH_CHALLENGE, PATH_RESPONSE = 0x1A, 0x1B
MAX_DATA, MAX_STREAM_DATA = 0x10, 0x11
CRYPTO = _CRYPTO
_CLOSE, _APPLICATION_CLOSE = 0x1C, 0x1D
_INTEGERS = {
    # type: how many variable-length integers it is made of, where it is made of nothing else
    0x04: 3,
    0x05: 2,
    0x10: 1,
    0x11: 2,
    0x12: 1,
    0x13: 1,
    0x14: 1,
    0x15: 2,
    0x16: 1,
    0x17: 1,
    0x19: 1,
    0x00: 0,
    0x01: 0,
    0x1E: 0,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, as far as any test looks into it."""

    type: int
    offset: int = 0
    "Of CRYPTO."
    data: bytes = b""
    "Of CRYPTO, PATH_CHALLENGE and PATH_RESPONSE."


@dataclass(frozen=True)
class Packet:
    """One packet."""

    datagram: Datagram
    type: QuicPacketType
    version: int | None
    "None with a short header."
    destination_id: bytes
    source_id: bytes
    token: bytes
    number: int | None = None
    "None where it was not read."
    key_phase: int = 0
    payload: bytes = b""

    @cached_property
    def frames(self) -> list[Frame]:
        """What is in it; empty where it was not read."""
        return list(_frames(self.payload))

    @property
    def from_client(self) -> bool:
        """Who sent it."""
        return self.datagram.from_client


def _frames(payload: bytes) -> Iterator[Frame]:
    buffer = Buffer(data=payload)
    while not buffer.eof():
        kind = buffer.pull_uint_var()
        if kind in _INTEGERS:
            for _ in range(_INTEGERS[kind]):
                buffer.pull_uint_var()
            yield Frame(kind)
        elif kind in (_ACK, _ACK_ECN):
            buffer.pull_uint_var()
            buffer.pull_uint_var()
            ranges = buffer.pull_uint_var()
            for _ in range(1 + 2 * ranges + (3 if kind == _ACK_ECN else 0)):
                buffer.pull_uint_var()
            yield Frame(kind)
        elif kind == _CRYPTO:
            offset = buffer.pull_uint_var()
            yield Frame(kind, offset, buffer.pull_bytes(buffer.pull_uint_var()))
        elif kind == _NEW_TOKEN:
            buffer.pull_bytes(buffer.pull_uint_var())
            yield Frame(kind)
        elif _STREAM <= kind < _STREAM_END:
            buffer.pull_uint_var()
            if kind & 4:
                buffer.pull_uint_var()
            buffer.pull_bytes(buffer.pull_uint_var() if kind & 2 else len(payload) - buffer.tell())
            yield Frame(kind)
        elif kind == _NEW_CONNECTION_ID:
            buffer.pull_uint_var()
            buffer.pull_uint_var()
            buffer.pull_bytes(buffer.pull_uint8() + 16)
            yield Frame(kind)
        elif kind in (PATH_CHALLENGE, PATH_RESPONSE):
            yield Frame(kind, data=buffer.pull_bytes(8))
        elif kind in (_CLOSE, _APPLICATION_CLOSE):
            buffer.pull_uint_var()
            if kind == _CLOSE:
                buffer.pull_uint_var()
            buffer.pull_bytes(buffer.pull_uint_var())
            yield Frame(kind)
        else:
            raise AssertionError(f"frame of type 0x{kind:x} is not known here")


@dataclass
class Connection:
    """The packets of one connection."""

    client: Address
    first_id: bytes
    "The destination id of the client's first packet."
    secrets: dict[str, dict[str, bytes]]
    datagrams: list[Datagram] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)
    "Destination ids by which the client's long headers are known as this connection's."

    @cached_property
    def packets(self) -> list[Packet]:
        """All packets in the order of the wire, read as far as there are secrets."""
        return list(self._packets())

    def of(self, kind: QuicPacketType, *, from_client: bool) -> list[Packet]:
        """The packets of one kind and direction."""
        return [
            packet for packet in self.packets if packet.type is kind and packet.from_client is from_client
        ]

    @cached_property
    def client_hello(self) -> bytes:
        """The first ClientHello message, whole."""
        return self.handshake_messages(from_client=True, kind=QuicPacketType.INITIAL)[CLIENT_HELLO]

    def handshake_messages(self, *, from_client: bool, kind: QuicPacketType) -> dict[int, bytes]:
        """TLS messages by their type, with their heads, of what came in CRYPTO frames."""
        data = bytearray()
        for packet in self.of(kind, from_client=from_client):
            for frame in packet.frames:
                if frame.type == _CRYPTO:
                    data.extend(bytes(max(0, frame.offset + len(frame.data) - len(data))))
                    data[frame.offset : frame.offset + len(frame.data)] = frame.data
        messages: dict[int, bytes] = {}
        at = 0
        while at + 4 <= len(data):
            end = at + 4 + int.from_bytes(data[at + 1 : at + 4])
            messages[data[at]] = bytes(data[at:end])
            at = end
        return messages

    # reading

    def _packets(self) -> Iterator[Packet]:
        reading = _Reading(self)
        for datagram in self.datagrams:
            yield from reading.packets(datagram)


class _Reading:
    """The state of reading a connection from its first datagram to its last."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._initial_id = connection.first_id
        self._id_length = {True: 8, False: 8}
        "Of destination ids in short headers, by direction."
        self._expected: dict[tuple[bool, str], int] = {}
        self._random = b""
        self._cipher = CipherSuite.AES_256_GCM_SHA384
        self._contexts: dict[tuple[object, ...], CryptoContext | None] = {}
        self._hellos = {True: bytearray(), False: bytearray()}

    def packets(self, datagram: Datagram) -> Iterator[Packet]:
        buffer = Buffer(data=datagram.data)
        while not buffer.eof():
            start = buffer.tell()
            try:
                header = pull_quic_header(buffer, host_cid_length=self._id_length[datagram.from_client])
            except ValueError:
                return  # padding behind the last packet, or what a link corrupted
            end = start + header.packet_length
            packet = self._packet(datagram, header, datagram.data[start:end], buffer.tell() - start)
            buffer.seek(end)
            yield packet

    def _packet(self, datagram: Datagram, header: QuicHeader, raw: bytes, offset: int) -> Packet:
        if header.packet_type is QuicPacketType.RETRY:
            tag = get_retry_integrity_tag(raw[:-16], self._connection.first_id, version=header.version or 0)
            assert tag == header.integrity_tag, "a Retry packet without integrity"
            self._initial_id = header.source_cid
        elif header.version is not None and header.packet_type is not QuicPacketType.VERSION_NEGOTIATION:
            self._id_length[not datagram.from_client] = len(header.source_cid)
        packet = Packet(
            datagram,
            header.packet_type,
            header.version,
            header.destination_cid,
            header.source_cid,
            header.token,
        )
        context = self._context(packet)
        if context is None:
            return packet
        space = (datagram.from_client, _space(packet.type))
        try:
            _, payload, number, updated = context.decrypt_packet(raw, offset, self._expected.get(space, 0))
        except CryptoError:
            return packet
        self._expected[space] = max(self._expected.get(space, 0), number + 1)
        read = Packet(
            datagram,
            packet.type,
            packet.version,
            packet.destination_id,
            packet.source_id,
            packet.token,
            number,
            int(updated),
            payload,
        )
        if packet.type is QuicPacketType.INITIAL:
            self._read_hello(read)
        return read

    def _context(self, packet: Packet) -> CryptoContext | None:
        if packet.type is QuicPacketType.INITIAL:
            key: tuple[object, ...] = (packet.from_client, packet.version, self._initial_id)
        else:
            key = (packet.from_client, packet.type)
        if key not in self._contexts:
            made = self._made(packet)
            if made is None:
                return None  # perhaps its secrets are known later
            self._contexts[key] = made
        return self._contexts[key]

    def _made(self, packet: Packet) -> CryptoContext | None:
        if packet.type is QuicPacketType.INITIAL:
            pair = CryptoPair()
            pair.setup_initial(
                cid=self._initial_id, is_client=not packet.from_client, version=packet.version or 0
            )
            return pair.recv
        label = {
            QuicPacketType.ZERO_RTT: "CLIENT_EARLY_TRAFFIC_SECRET",
            QuicPacketType.HANDSHAKE: f"{_who(packet)}_HANDSHAKE_TRAFFIC_SECRET",
            QuicPacketType.ONE_RTT: f"{_who(packet)}_TRAFFIC_SECRET_0",
        }.get(packet.type)
        secret = self._connection.secrets.get(self._random.hex(), {}).get(label or "")
        if secret is None:
            return None
        if packet.type is not QuicPacketType.ZERO_RTT:
            self._version = packet.version or self._version
        context = CryptoContext()
        context.setup(cipher_suite=self._cipher, secret=secret, version=packet.version or self._version)
        return context

    def _read_hello(self, packet: Packet) -> None:
        data = self._hellos[packet.from_client]
        for frame in packet.frames:
            if frame.type == _CRYPTO and frame.offset <= len(data):
                data[frame.offset :] = frame.data
        # Type and length, version, random; of a ServerHello session id and cipher suite too.
        if packet.from_client and len(data) >= 38:
            self._random = bytes(data[6:38])
        elif not packet.from_client and len(data) >= 41:
            at = 39 + data[38]
            self._cipher = CipherSuite(int.from_bytes(data[at : at + 2]))
            self._version = packet.version or 1

    _version = 1


def _who(packet: Packet) -> str:
    return "CLIENT" if packet.from_client else "SERVER"


def _space(kind: QuicPacketType) -> str:
    return "application" if kind in (QuicPacketType.ZERO_RTT, QuicPacketType.ONE_RTT) else kind.name


def secrets_of(*key_logs: Path) -> dict[str, dict[str, bytes]]:
    """The secrets in files, by client random and label."""
    found: dict[str, dict[str, bytes]] = {}
    for path in key_logs:
        for line in path.read_text(encoding="ascii").splitlines():
            label, client_random, secret = line.split()
            found.setdefault(client_random, {})[label] = bytes.fromhex(secret)
    return found


def connections_of(
    datagrams: Iterable[Datagram], secrets: dict[str, dict[str, bytes]] | None = None
) -> list[Connection]:
    """Connections in the order of their first datagrams; what is of none is left out."""
    found: list[Connection] = []
    current: dict[Address, Connection] = {}
    for datagram in datagrams:
        try:
            header = pull_quic_header(Buffer(data=datagram.data), host_cid_length=8)
        except ValueError:
            continue
        connection = current.get(datagram.client)
        if datagram.from_client and header.packet_type is QuicPacketType.INITIAL:
            if connection is None or header.destination_cid not in connection.ids:
                connection = Connection(datagram.client, header.destination_cid, secrets or {})
                connection.ids.add(header.destination_cid)
                current[datagram.client] = connection
                found.append(connection)
        elif connection is not None and not datagram.from_client and header.version is not None:
            connection.ids.add(header.source_cid)
        if connection is not None:
            connection.datagrams.append(datagram)
    return found
