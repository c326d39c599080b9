"""Relays that others wrote, started on loopback for the tests of this folder.

They are not part of this project: `PEERS_VENV` names a venv with what requirements.txt lists, and the
launchers are looked for beside the checkout. Where either is missing the tests are skipped, saying so.
Each relay runs in a network namespace of its own that holds nothing but loopback, because one of them
listens on every interface whatever it is told; the client enters that namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pytest_moqt.relay.certificates import self_signed

LAUNCHERS = Path(__file__).resolve().parents[2].parent / "shared" / "tools" / "peers"
START_SECONDS = 20.0
STOP_SECONDS = 5.0
RUN_SECONDS = 60.0
PORT = 14443
NAMES = ("aiomoqt", "moq-rs")


@dataclass
class Peer:
    """One relay, running."""

    name: str
    process: subprocess.Popen[bytes]

    def url(self, transport: str) -> str:
        """Its address over `quic` or `webtransport`."""
        scheme = "moqt" if transport == "quic" else "https"
        return f"{scheme}://localhost:{PORT}"

    def judge(self, *arguments: str, seconds: float = RUN_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run the test client beside it."""
        enter = ["nsenter", "-t", str(self.process.pid), "-n"]
        if os.getuid():
            enter += ["-U", "--preserve-credentials"]
        command = [sys.executable, "-m", "pytest_moqt.cli", "--tls-disable-verify", *arguments]
        return subprocess.run(
            [*enter, *command], capture_output=True, text=True, timeout=seconds, check=False
        )


def _require() -> Path:
    venv = os.environ.get("PEERS_VENV")
    if not venv:
        pytest.skip("PEERS_VENV does not name a venv with the outside relays (make peers)")
    if not LAUNCHERS.is_dir():
        pytest.skip("the launchers of the outside relays are not beside this checkout")
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here: an outside relay cannot be kept to loopback")
    if subprocess.run([LAUNCHERS / "loopback_only.sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here: an outside relay cannot be kept to loopback")
    return Path(venv)


def _bound(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process, in its own network namespace, has a UDP socket on PORT."""
    wanted = f":{PORT:04X} "
    for table in ("udp", "udp6"):
        try:
            if wanted in Path(f"/proc/{process.pid}/net/{table}").read_text():
                return True
        except OSError:
            return False
    return False


@contextmanager
def _running(name: str, command: list[str], log: Path) -> Iterator[Peer]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(LAUNCHERS / "loopback_only.sh"), *command], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _bound(process):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{name} did not start: {log.read_text(errors='replace')[-2000:]}")
            # Nothing tells when another process has bound its socket; this looks again, to a deadline.
            time.sleep(0.02)
        yield Peer(name, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for localhost and its key: two paths."""
    folder = tmp_path_factory.mktemp("certificate")
    identity = self_signed()
    chain, key = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(identity.pem)
    key.write_bytes(
        identity.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(chain), str(key)


Starter = Callable[[str], AbstractContextManager[Peer]]
"Starts the relay of that name; it is stopped on leaving."


@pytest.fixture(scope="session")
def starter(certificate: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Starter:
    """What starts an outside relay."""
    _require()
    chain, key = certificate
    commands = {
        "aiomoqt": [str(LAUNCHERS / "aiomoqt_relay.sh"), str(PORT), chain, key],
        "moq-rs": [
            sys.executable,
            str(LAUNCHERS / "moq_rs_relay.py"),
            *("--port", str(PORT), "--cert", chain, "--key", key),
        ],
    }

    def start(name: str) -> AbstractContextManager[Peer]:
        return _running(name, commands[name], tmp_path_factory.mktemp("log") / f"{name}.log")

    return start


@pytest.fixture(scope="module", params=NAMES)
def peer(request: pytest.FixtureRequest, starter: Starter) -> Iterator[Peer]:
    """Each outside relay in turn, for all the tests of a module."""
    with starter(request.param) as running:
        yield running
