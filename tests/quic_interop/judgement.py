"""The conditions under which the QUIC Interop Runner takes a test case for passed, on captured packets.

Each function lists what is against it; an empty list is a pass. They follow the runner's documentation and
what it looks at, and add what a case is about where the runner looks at files alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aioquic.quic.packet import QuicPacketType
from dissection import (
    CERTIFICATE,
    MAX_DATA,
    MAX_STREAM_DATA,
    PATH_CHALLENGE,
    PATH_RESPONSE,
    Connection,
    Packet,
)

from quic_interop.cases import CHACHA20_POLY1305_SHA256, QUIC_V1, QUIC_V2

INITIAL, HANDSHAKE = QuicPacketType.INITIAL, QuicPacketType.HANDSHAKE
ZERO_RTT, ONE_RTT = QuicPacketType.ZERO_RTT, QuicPacketType.ONE_RTT

_MOST_ONE_RTT_BYTES = 5000
"Half of what 40 requests with names of 250 characters take: the runner's limit for zerortt."


@dataclass(frozen=True)
class Evidence:
    """What there is to judge."""

    connections: Sequence[Connection]
    www: Path
    downloads: Path
    names: Sequence[str]
    "Of the files that were asked for."


def judge(name: str, evidence: Evidence) -> list[str]:
    """What is against a pass of the case of this name."""
    return [*_files(evidence), *CONDITIONS[name](evidence)]


def _files(evidence: Evidence) -> list[str]:
    found = {path.name for path in evidence.downloads.iterdir()}
    against = [f"{name} is there" for name in sorted(found - set(evidence.names))]
    for name in evidence.names:
        if name not in found:
            against.append(f"{name} is missing")
        elif (evidence.downloads / name).read_bytes() != (evidence.www / name).read_bytes():
            against.append(f"{name} differs")
    return against


def _handshakes(evidence: Evidence, wanted: int) -> list[str]:
    ids = {
        packet.source_id
        for connection in evidence.connections
        for packet in connection.of(INITIAL, from_client=False)
    }
    return [] if len(ids) == wanted else [f"{len(ids)} handshakes instead of {wanted}"]


def _version_1(evidence: Evidence) -> list[str]:
    versions = _versions(evidence, INITIAL, from_client=False)
    return [] if versions == {QUIC_V1} else [f"server Initials of versions {sorted(versions)}"]


def _versions(evidence: Evidence, kind: QuicPacketType, *, from_client: bool) -> set[int]:
    return {
        packet.version or 0
        for connection in evidence.connections
        for packet in connection.of(kind, from_client=from_client)
    }


def _retries(evidence: Evidence) -> list[Packet]:
    return [
        packet
        for connection in evidence.connections
        for packet in connection.of(QuicPacketType.RETRY, from_client=False)
    ]


def _handshake(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 1), *_version_1(evidence)]
    return [*against, "a Retry packet"] if _retries(evidence) else against


def _transfer(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 1), *_version_1(evidence)]
    granted = {frame.type for packet in _sent(evidence, ONE_RTT, from_client=True) for frame in packet.frames}
    if not {MAX_DATA, MAX_STREAM_DATA} <= granted:
        against.append("the client renewed no credit")
    return against


def _sent(evidence: Evidence, kind: QuicPacketType, *, from_client: bool) -> list[Packet]:
    return [
        packet
        for connection in evidence.connections
        for packet in connection.of(kind, from_client=from_client)
    ]


def _retry(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 1), *_version_1(evidence)]
    tokens = [packet.token for packet in _retries(evidence)]
    if not any(tokens):
        return [*against, "no Retry packet with a token"]
    highest = -1
    for packet in _sent(evidence, INITIAL, from_client=True):
        if packet.token:
            if packet.token not in tokens:
                against.append("an Initial with a token that no Retry gave")
            if packet.number is None or packet.number <= highest:
                against.append("the packet number began anew with the token")
            return against
        highest = max(highest, -1 if packet.number is None else packet.number)
    return [*against, "no Initial with the token"]


def _key_update(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 1), *_version_1(evidence)]
    for from_client, who in ((True, "client"), (False, "server")):
        phases = {packet.key_phase for packet in _sent(evidence, ONE_RTT, from_client=from_client)}
        if 1 not in phases:
            against.append(f"no packet of the {who} has key phase 1")
    return against


def _chacha20(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 1), *_version_1(evidence)]
    for connection in evidence.connections:
        offered = _cipher_suites(connection.client_hello)
        if offered != [CHACHA20_POLY1305_SHA256]:
            against.append(f"cipher suites {', '.join(map(hex, offered))} were offered")
    return against


def _cipher_suites(client_hello: bytes) -> list[int]:
    # Head of 4, version of 2, random of 32, session id with its length.
    at = 39 + client_hello[38]
    length = int.from_bytes(client_hello[at : at + 2])
    return [int.from_bytes(client_hello[i : i + 2]) for i in range(at + 2, at + 2 + length, 2)]


def _multiconnect(evidence: Evidence) -> list[str]:
    return [*_handshakes(evidence, len(evidence.names)), *_version_1(evidence)]


def _v2(evidence: Evidence) -> list[str]:
    against = _handshakes(evidence, 1)
    if QUIC_V1 not in _versions(evidence, INITIAL, from_client=True):
        against.append("the client did not begin in version 1")
    if QUIC_V2 not in _versions(evidence, INITIAL, from_client=False):
        against.append("no Initial of the server is of version 2")
    for from_client in (True, False):
        if _versions(evidence, HANDSHAKE, from_client=from_client) != {QUIC_V2}:
            against.append("Handshake packets of another version than 2")
    return against


def _resumption(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 2), *_version_1(evidence)]
    certificates = [
        CERTIFICATE in connection.handshake_messages(from_client=False, kind=HANDSHAKE)
        for connection in evidence.connections
    ]
    return against if certificates == [True, False] else [*against, f"certificates were sent: {certificates}"]


def _zero_rtt(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 2), *_version_1(evidence)]
    early, late = (
        sum(len(packet.payload) for packet in _sent(evidence, kind, from_client=True))
        for kind in (ZERO_RTT, ONE_RTT)
    )
    if not early:
        against.append("no 0-RTT data")
    if late > _MOST_ONE_RTT_BYTES:
        against.append(f"more than {_MOST_ONE_RTT_BYTES} bytes of the client in 1-RTT packets")
    return against


def _migration(evidence: Evidence) -> list[str]:
    return [*_handshakes(evidence, 1), *_version_1(evidence), *_paths(evidence)]


def _paths(evidence: Evidence) -> list[str]:
    (connection,) = evidence.connections
    packets = [packet for packet in connection.packets if packet.type is ONE_RTT]
    paths = list(dict.fromkeys((packet.datagram.client, packet.datagram.server) for packet in packets))
    if len(paths) < 2:
        return ["one path only"]
    against = []
    old_ids = {
        packet.destination_id
        for packet in packets
        if packet.from_client and (packet.datagram.client, packet.datagram.server) == paths[0]
    }
    for path in paths[1:]:
        here = [packet for packet in packets if (packet.datagram.client, packet.datagram.server) == path]
        first = next((packet for packet in here if not packet.from_client), None)
        if first is None or not _data(first, PATH_CHALLENGE):
            against.append("the server's first packet on a new path has no PATH_CHALLENGE")
        challenges = {
            data for packet in here if not packet.from_client for data in _data(packet, PATH_CHALLENGE)
        }
        answers = {data for packet in here if packet.from_client for data in _data(packet, PATH_RESPONSE)}
        if not challenges <= answers:
            against.append("a PATH_CHALLENGE without an answer")
        if path[1] != paths[0][1] and next(p for p in here if p.from_client).destination_id in old_ids:
            against.append("the client's first packet on a new path has an old connection id")
    return against


def _data(packet: Packet, kind: int) -> list[bytes]:
    return [frame.data for frame in packet.frames if frame.type == kind]


def _http3(evidence: Evidence) -> list[str]:
    against = [*_handshakes(evidence, 1), *_version_1(evidence)]
    if b"\x02h3" not in evidence.connections[0].client_hello:
        against.append("h3 was not offered")
    return against


CONDITIONS: dict[str, Callable[[Evidence], list[str]]] = {
    "handshake": _handshake,
    "transfer": _transfer,
    "retry": _retry,
    "keyupdate": _key_update,
    "chacha20": _chacha20,
    "multiconnect": _multiconnect,
    "v2": _v2,
    "resumption": _resumption,
    "zerortt": _zero_rtt,
    "connectionmigration": _migration,
    "rebind": lambda evidence: [*_transfer(evidence), *_paths(evidence)],
    "http3": _http3,
}
