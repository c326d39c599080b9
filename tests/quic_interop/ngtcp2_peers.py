"""ngtcp2's example client and server (Debian's ngtcp2-client and ngtcp2-server), run on loopback.

They speak HTTP/3 alone, so the cases are run with it instead of HTTP/0.9; nothing else of a case changes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from pairs import HOST, Site

from quic_interop.cases import CASES, H3, Case

START_SECONDS = 5.0
RUN_SECONDS = 20.0

# Debian puts servers where ordinary users do not look.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
_PROBE = b"\xc3WAIT\x08destinat\x08sourceid".ljust(1207, b"\0")
"A packet of an unknown version, which any server answers: the runner's simulator waits in the same way."


def required(tool: str) -> str:
    """The path of a program, or a skipped test."""
    found = shutil.which(tool, path=_PATH)
    if found is None:
        pytest.skip(f"no {tool} here (make quic-peers)")
    return found


def by_http3(name: str) -> Case:
    """A case as ngtcp2 can take part in it."""
    return dataclasses.replace(CASES[name], alpn=H3)


def free_port() -> int:
    """A UDP port of loopback that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HOST, 0))
        return int(udp.getsockname()[1])


@asynccontextmanager
async def gtlsserver(site: Site, log: Path, *options: str) -> AsyncIterator[int]:
    """A server on a free port, which is given; it has answered a first packet."""
    port = free_port()
    arguments = [*options, "--htdocs", str(site.www), HOST, str(port)]
    certificate = [str(site.certs / "priv.key"), str(site.certs / "cert.pem")]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            required("gtlsserver"), "--quiet", *arguments, *certificate, stdout=output, stderr=output
        )
    try:
        if not await _answers(port):
            pytest.fail(f"gtlsserver did not answer within {START_SECONDS:g} s; it wrote {_said(log)!r}")
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _said(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _answers(port: int) -> bool:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        until = loop.time() + START_SECONDS
        while loop.time() < until:
            with suppress(TimeoutError, OSError):
                await loop.sock_sendto(udp, _PROBE, (HOST, port))
                await asyncio.wait_for(loop.sock_recv(udp, 2048), 0.05)
                return True
    return False


async def gtlsclient(site: Site, port: int, names: Sequence[str], *options: str) -> None:
    """Fetch files, to the end of the process.

    Raises:
        AssertionError: It did not end with 0.
    """
    urls = [f"https://{HOST}:{port}/{name}" for name in names]
    process = await asyncio.create_subprocess_exec(
        required("gtlsclient"),
        *("--quiet", "--exit-on-all-streams-close", "--download", str(site.downloads)),
        *options,
        *(HOST, str(port), *urls),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0, output.decode(errors="replace")
