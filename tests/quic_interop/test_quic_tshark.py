"""The dissection that the judgements stand on, against that of tshark, with which the runner reads packets.

Opt-in, since tshark is large: QUIC_INTEROP_TSHARK names it. The packets are those that a test recorded
at the client's sockets; nothing is captured from a network, so that nobody has to be root.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from aioquic.quic.packet import QuicPacketType
from dissection import Packet
from pairs import CASES, Site, meet
from wire_capture import Datagram

TSHARK = os.environ.get("QUIC_INTEROP_TSHARK", "")
KB = 1024
FILES = {
    "handshake": {"a": KB},
    "transfer": {"a": 300 * KB, "b": 10 * KB},
    "http3": {"a": KB, "b": 100 * KB},
    "keyupdate": {"a": 500 * KB},
    "chacha20": {"a": 100 * KB},
    "multiconnect": {f"file-{number}": KB for number in range(10)},
    "resumption": {"a": KB, "b": KB},
    "zerortt": {f"{number:02}{'n' * 248}": 32 for number in range(40)},
    "connectionmigration": {"a": 500 * KB},
}
"Without retry, after which tshark 4.0 reads no Initial, and v2, whose packet types are other fields there."
_RAW_IPV4 = 228
"LINKTYPE_IPV4: a packet begins with its IP header."
_PACKET_TYPES = {
    QuicPacketType.INITIAL: 0,
    QuicPacketType.ZERO_RTT: 1,
    QuicPacketType.HANDSHAKE: 2,
}

pytestmark = pytest.mark.skipif(not TSHARK, reason="QUIC_INTEROP_TSHARK does not name tshark")


def pcap(datagrams: Sequence[Datagram]) -> bytes:
    """A capture file of them."""
    out = bytearray(b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(8))
    out += (65535).to_bytes(4, "little") + _RAW_IPV4.to_bytes(4, "little")
    for datagram in datagrams:
        ends = (datagram.client, datagram.server)
        source, target = ends if datagram.from_client else ends[::-1]
        udp = source[1].to_bytes(2) + target[1].to_bytes(2) + (8 + len(datagram.data)).to_bytes(2) + bytes(2)
        ip = b"\x45\x00" + (28 + len(datagram.data)).to_bytes(2) + bytes(4) + b"\x40\x11" + bytes(2)
        ip += ipaddress.IPv4Address(source[0]).packed + ipaddress.IPv4Address(target[0]).packed
        packet = ip + udp + datagram.data
        seconds, fraction = divmod(datagram.time, 1)
        for number in (int(seconds), int(fraction * 1e6), len(packet), len(packet)):
            out += number.to_bytes(4, "little")
        out += packet
    return bytes(out)


def tshark(datagrams: Sequence[Datagram], keys: Path, folder: Path, *fields: str) -> list[list[list[str]]]:
    """What tshark reads: for each datagram the values of each field, in order."""
    (folder / "capture.pcap").write_bytes(pcap(datagrams))
    ports = {datagram.server[1] for datagram in datagrams}
    done = subprocess.run(
        [
            TSHARK,
            *("-r", str(folder / "capture.pcap"), "-o", f"tls.keylog_file:{keys}", "-T", "fields"),
            *(word for port in ports for word in ("-d", f"udp.port=={port},quic")),
            *(word for name in fields for word in ("-e", name)),
            *("-E", "separator=;", "-E", "aggregator=,"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [
        [column.split(",") if column else [] for column in line.split(";")]
        for line in done.stdout.splitlines()
    ]


def _numbers(texts: Sequence[str]) -> list[int]:
    return [int(text, 0) for text in texts]


@pytest.mark.parametrize("name", FILES)
async def test_the_dissection_is_tsharks(site: Site, tmp_path: Path, name: str) -> None:
    """Types, versions, numbers, key phases and frames of every packet are what tshark reads in it."""
    outcome = await meet(site, site.offer(FILES[name]), name)
    assert outcome.evidence is not None
    ours: dict[int, list[Packet]] = {}
    datagrams: list[Datagram] = []
    for connection in outcome.evidence.connections:
        for packet in connection.packets:
            if id(packet.datagram) not in ours:
                datagrams.append(packet.datagram)
            ours.setdefault(id(packet.datagram), []).append(packet)

    theirs = tshark(
        datagrams,
        site.keys,
        tmp_path,
        *("quic.long.packet_type", "quic.version", "quic.packet_number", "quic.key_phase", "quic.frame_type"),
    )

    assert len(theirs) == len(datagrams)
    seen: Counter[str] = Counter()
    for datagram, (types, versions, numbers, phases, frames) in zip(datagrams, theirs, strict=True):
        packets = ours[id(datagram)]
        long = [packet for packet in packets if packet.version is not None]
        short = [packet for packet in packets if packet.version is None]
        assert _numbers(types) == [_PACKET_TYPES[packet.type] for packet in long]
        assert _numbers(versions) == [packet.version for packet in long]
        assert _numbers(numbers) == [packet.number for packet in packets if packet.number is not None]
        assert [phase in ("1", "True") for phase in phases] == [bool(packet.key_phase) for packet in short]
        # A run of PADDING is one frame there, and one for each byte here.
        assert [kind for kind in _numbers(frames) if kind] == [
            frame.type for packet in packets for frame in packet.frames if frame.type
        ]
        seen.update(packet.type.name for packet in packets)
    assert {"INITIAL", "HANDSHAKE", "ONE_RTT"} <= seen.keys()
    assert ("ZERO_RTT" in seen) is (name == "zerortt")
    assert set(FILES) <= set(CASES)
