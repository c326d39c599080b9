"""qlog files: written while a connection lives, whole in each record, and never a connection's end."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic.packet import QuicPacketType
from dissection import connections_of, secrets_of
from pairs import CASES, QUICK, Site
from wire_capture import Capture

from quic_interop import qlog
from quic_interop.client import run
from quic_interop.server import Running

NAMES = {
    QuicPacketType.INITIAL: "initial",
    QuicPacketType.HANDSHAKE: "handshake",
    QuicPacketType.ONE_RTT: "1RTT",
}


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-SEQ file (RFC 7464)."""
    first, *texts = path.read_text(encoding="utf-8").split("\x1e")
    assert first == ""
    return [json.loads(text) for text in texts]


async def _fetched(site: Site, folder: Path) -> Capture:
    names = site.offer({"a": 100_000})
    capture = Capture(at_client=True)
    with closing(Running(site.server(CASES["transfer"]))) as running:
        settings = site.client(CASES["transfer"], running.listener.port, names, qlog=folder)
        await run(settings, patience=QUICK, link=capture, told=lambda line: None)
    return capture


async def test_packets_of_the_log_are_those_of_the_wire(site: Site, tmp_path: Path) -> None:
    """Every packet that came is there, in order, with as many frames as it had."""
    capture = await _fetched(site, tmp_path / "q" / "log")
    (file,) = (tmp_path / "q" / "log").iterdir()
    head, *events = records(file)
    (connection,) = connections_of(capture.datagrams, secrets_of(site.keys))

    assert file.name == f"{connection.first_id.hex()}.client.sqlog"
    assert (head["qlog_format"], head["trace"]["vantage_point"]["type"]) == ("JSON-SEQ", "client")
    logged = [
        (event["data"]["header"]["packet_type"], event["data"]["header"]["packet_number"])
        for event in events
        if event["name"] == "transport:packet_received"
    ]
    seen = [(NAMES[packet.type], packet.number) for packet in connection.packets if not packet.from_client]
    assert logged == seen[: len(logged)]
    assert len(logged) > 50
    for event in events:
        if event["name"] == "transport:packet_received":
            assert event["data"]["frames"], event


async def test_a_record_is_written_when_it_is_complete(tmp_path: Path) -> None:
    """The frames of a packet are added after it was logged, by other events in between too."""
    trace = qlog.QlogTrace(tmp_path, is_client=True, odcid=b"\x01")
    frames: list[str] = []
    trace.log_event(category="transport", event="packet_received", data={"frames": frames})
    frames.append("ack")
    trace.log_event(category="recovery", event="metrics_updated", data={})
    frames.append("stream")
    trace.log_event(category="transport", event="packet_sent", data={})
    assert trace._file is not None
    trace._file.flush()

    file = tmp_path / "01.client.sqlog"
    assert [event["name"] for event in records(file)[1:]] == [
        "transport:packet_received",
        "recovery:metrics_updated",
    ]
    assert records(file)[1]["data"] == {"frames": ["ack", "stream"]}
    trace.end()
    assert len(records(file)) == 4


async def test_a_full_disk_ends_a_log_and_no_connection(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file comes whole, and the log has what there was room for."""
    (tmp_path / "log").mkdir()
    monkeypatch.setattr(Path, "open", _to_the_full_device(Path.open))

    await _fetched(site, tmp_path / "log")

    assert list((tmp_path / "log").iterdir()) == []
    assert (site.downloads / "a").stat().st_size == 100_000


def _to_the_full_device(opened: Any) -> Any:
    def open_(self: Path, *arguments: Any, **options: Any) -> Any:
        return opened(Path("/dev/full") if self.suffix == ".sqlog" else self, *arguments, **options)

    return open_
