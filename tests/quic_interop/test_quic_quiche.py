"""Cases against quiche, by the npm package @matrixai/quic, in both roles, judged by the packets on the wire.

The package is optional: NODE_MODULES names the folder that it is in. What is not a pass here is in
docs/findings/quiche-js.md, with who is right.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from dissection import connections_of, secrets_of
from judgement import Evidence, judge
from ngtcp2_peers import RUN_SECONDS, START_SECONDS, free_port
from pairs import CASES, HOST, QUICK, Site
from wire_capture import Capture

from quic_interop.client import run
from quic_interop.errors import InteropError
from quic_interop.server import Running

KB = 1024
PEER = Path(__file__).with_name("quiche_peer.mjs")
MODULES = os.environ.get("NODE_MODULES", "")
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    not (NODE and MODULES and Path(MODULES, "@matrixai", "quic").is_dir()),
    reason="no Node here, or NODE_MODULES does not name a folder with @matrixai/quic (make quiche)",
)

# Few bytes: its server loses the end of a stream that comes while its connection may send nothing.
SMALL = {"a": KB, "b": 2 * KB}
ALWAYS_RETRIES = ["a Retry packet"]


@asynccontextmanager
async def _peer(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(PEER),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@asynccontextmanager
async def _server(site: Site) -> AsyncIterator[int]:
    port = free_port()
    async with _peer("server", HOST, str(port), str(site.certs), str(site.www)) as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        assert line == b"ready\n"
        yield port


async def _client(site: Site, port: int, names: Sequence[str]) -> None:
    async with _peer("client", HOST, str(port), str(site.downloads), *names) as process:
        output, _ = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
        assert process.returncode == 0, output.decode(errors="replace")


@pytest.mark.parametrize(
    ("name", "error", "against"),
    [
        ("handshake", "", ALWAYS_RETRIES),
        ("retry", "", []),
        ("keyupdate", "", []),
        ("chacha20", "", []),
        ("multiconnect", "", []),
        ("v2", "the server chose QUIC version 0x1, not 0x6b3343cf", None),
        ("resumption", "the server did not resume the session", ["certificates were sent: [True, True]"]),
        ("zerortt", "the server did not resume the session", None),
        ("connectionmigration", " gave no other address to move to for 0.5 s", ["one path only"]),
    ],
)
async def test_our_client_against_quiche(
    site: Site, name: str, error: str, against: list[str] | None
) -> None:
    """Files are whole in every case, whatever else the server offers."""
    names = site.offer(SMALL)
    capture = Capture(at_client=True)
    said = ""
    async with _server(site) as port:
        try:
            await run(
                site.client(CASES[name], port, names), patience=QUICK, link=capture, told=lambda line: None
            )
        except InteropError as raised:
            said = str(raised)

    connections = connections_of(capture.datagrams, secrets_of(site.keys))
    found = judge(name, Evidence(connections, site.www, site.downloads, names))
    assert said.endswith(error)
    assert bool(said) is bool(error)
    assert not [words for words in found if words.endswith((" differs", " is missing", " is there"))]
    if against is not None:
        assert found == against


@pytest.mark.parametrize("name", ["handshake", "transfer", "retry", "multiconnect"])
async def test_quiche_against_our_server(site: Site, tmp_path: Path, name: str) -> None:
    """Its client finds Retry and flow control in our server, and gets whole files."""
    names = site.offer({"200k": 200 * KB, "300k": 300 * KB} if name == "transfer" else SMALL)
    capture = Capture(at_client=False)
    keys = tmp_path / "server.keys"
    with closing(Running(site.server(CASES[name], keys=keys), link=capture)) as running:
        for wanted in [[one] for one in names] if name == "multiconnect" else [names]:
            await _client(site, running.listener.port, wanted)

    connections = connections_of(capture.datagrams, secrets_of(keys))
    assert judge(name, Evidence(connections, site.www, site.downloads, names)) == []
