"""The two commands: exit codes, a sentence for each failure, nothing half-written, and little memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from commands import CHECKOUT, command, environment, fetch, run, serving
from pairs import HOST, QUICK, Site, meet

from quic_interop.cases import CASES
from quic_interop.client import run as run_client
from quic_interop.connection import Patience
from quic_interop.errors import InteropError

KB, MB = 1024, 1024 * 1024
LARGE = int(os.environ.get("QUIC_INTEROP_LARGE_MB", "0"))


# ---- the probe -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("name", ["hungry-purple-octopus", "ecn", "versionnegotiation", "Handshake"])
def test_an_unknown_case_is_answered_before_anything_else(role: str, name: str) -> None:
    """127, with nothing mounted and nothing else set right."""
    result = run(
        role, TESTCASE=name, PORT="x", REQUESTS="x", SSLKEYLOGFILE="/no/where", WWW="/no", CERTS="/no"
    )

    assert (result.code, result.out) == (127, "")
    assert result.err.startswith(
        f"quic-interop-{role}: test case {name!r} is not supported; known are handshake, "
    )


@pytest.mark.parametrize("role", ["client", "server"])
def test_check_says_by_its_code_alone(role: str) -> None:
    """For the image's entry point, which has other things to do first."""
    assert [run(role, "--check", TESTCASE=name).code for name in ("transfer", "", "nothing")] == [0, 0, 127]


def test_the_module_takes_its_role_from_the_environment() -> None:
    """As the runner passes it."""
    codes = [
        subprocess.run(
            [*command("client")[:1], "-m", "quic_interop", "--check"],
            env=environment({"ROLE": role, "TESTCASE": "nothing"}),
            capture_output=True,
            check=False,
        ).returncode
        for role in ("client", "server", "")
    ]

    assert codes == [127, 127, 1]


@pytest.mark.parametrize("role", ["client", "server"])
def test_help_names_the_variables_and_the_cases(role: str) -> None:
    """And is no failure."""
    result = run(role, "--help")

    assert result.code == 0
    for word in ("TESTCASE", "SSLKEYLOGFILE", "QLOGDIR", *CASES):
        assert word in result.out


# ---- sentences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "REQUESTS names no URL, so there is nothing to download"),
        ({"REQUESTS": "http://x/a"}, "http://x/a has the scheme http, must be https"),
        ({"REQUESTS": "https://x:y/a"}, "https://x:y/a is no URL: "),
        (
            {"REQUESTS": "https://127.0.0.1/a", "DOWNLOADS": "/no/where"},
            "DOWNLOADS /no/where is no directory",
        ),
        (
            {"REQUESTS": "https://127.0.0.1/a", "SSLKEYLOGFILE": "/no/where"},
            "SSLKEYLOGFILE /no/where cannot be written: No such file or directory",
        ),
        (
            {"REQUESTS": "https://127.0.0.1/a", "QLOGDIR": "/dev/null/x"},
            "QLOGDIR /dev/null/x cannot be made: Not a directory",
        ),
        ({"REQUESTS": "https://nowhere.invalid/a"}, "nowhere.invalid has no address: "),
        (
            {"TESTCASE": "zerortt", "REQUESTS": "https://127.0.0.1/a"},
            "zerortt needs two connections, and so two URLs; ",
        ),
    ],
)
def test_a_client_that_cannot_begin(site: Site, variables: dict[str, str], sentence: str) -> None:
    """One sentence on standard error, code 1."""
    result = run("client", **{"DOWNLOADS": str(site.downloads), **variables})

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"quic-interop-client: {sentence}")
    assert result.err.count("\n") == 1


def test_a_server_that_cannot_begin(site: Site, tmp_path: Path) -> None:
    """Certificates, folders and ports that are not there are named."""
    good = {"CERTS": str(site.certs), "WWW": str(site.www), "PORT": "0"}
    bad = tmp_path / "bad"
    bad.mkdir()
    shutil.copy(site.certs / "cert.pem", bad)
    missing = run("server", "--host", HOST, **{**good, "CERTS": str(tmp_path / "no")})
    no_key = run("server", "--host", HOST, **{**good, "CERTS": str(bad)})
    (bad / "priv.key").mkdir()
    unreadable = run("server", "--host", HOST, **{**good, "CERTS": str(bad)})
    (bad / "priv.key").rmdir()
    (bad / "priv.key").write_text("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
    garbled = run("server", "--host", HOST, **{**good, "CERTS": str(bad)})
    no_www = run("server", "--host", HOST, **{**good, "WWW": str(tmp_path / "no")})
    no_host = run("server", "--host", "192.0.2.1", **good)
    no_port = run("server", "--host", HOST, **{**good, "PORT": "443x"})
    no_option = run("server", "--hots", HOST, **good)

    results = [missing, no_key, unreadable, garbled, no_www, no_host, no_port, no_option]
    assert [result.code for result in results] == [1] * 8
    assert [result.err.removeprefix("quic-interop-server: ").rstrip("\n") for result in results] == [
        f"certificate file {tmp_path / 'no' / 'cert.pem'} cannot be read: No such file or directory",
        f"key file {bad / 'priv.key'} cannot be read: No such file or directory",
        f"key file {bad / 'priv.key'} cannot be read: Is a directory",
        f"key file {bad / 'priv.key'} holds no PEM private key",
        f"WWW {tmp_path / 'no'} is no directory",
        "192.0.2.1, UDP port 0, cannot be listened on: Cannot assign requested address",
        "PORT 443x is no port, must be 0 to 65535",
        f"unrecognized arguments: --hots {HOST}",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for the superuser")
def test_a_key_that_may_not_be_read(site: Site, tmp_path: Path) -> None:
    """The sentence names it."""
    shutil.copytree(site.certs, tmp_path / "certs")
    (tmp_path / "certs" / "priv.key").chmod(0)

    result = run("server", "--host", HOST, CERTS=str(tmp_path / "certs"), WWW=str(site.www), PORT="0")

    assert result.code == 1
    assert result.err.endswith("priv.key cannot be read: Permission denied\n")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HOST, 0))
        return int(udp.getsockname()[1])


def test_a_port_where_nobody_is(site: Site) -> None:
    """Known at once from the operating system, not after half a minute."""
    port = _free_port()

    result = fetch(site, "handshake", f"https://{HOST}:{port}/a")

    assert result.code == 1
    assert result.err == f"quic-interop-client: {HOST}:{port} cannot be reached: Connection refused\n"


class _Garbage(asyncio.DatagramProtocol):
    """Answers everything with bytes that mean nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._transport.sendto(bytes(byte ^ 0x5A for byte in data), addr)  # type: ignore[attr-defined]
        self._transport.sendto(b"HTTP/1.1 400 Bad Request\r\n\r\n", addr)  # type: ignore[attr-defined]


async def test_a_server_that_answers_garbage(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after the idle time, and the sentence says that something came."""
    monkeypatch.setattr("quic_interop.configuration.IDLE_SECONDS", 0.5)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Garbage, local_addr=(HOST, 0))
    with closing(transport):
        port = transport.get_extra_info("sockname")[1]
        with pytest.raises(InteropError) as raised:
            await run_client(site.client(CASES["handshake"], port, ["a"]), patience=QUICK)

    words = str(raised.value)
    assert words.startswith(f"{HOST}:{port} did not answer as a QUIC server; ")
    assert words.endswith(" datagrams came that are none of a handshake")
    assert list(site.downloads.iterdir()) == []


async def test_a_server_that_is_silent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, without datagrams."""
    monkeypatch.setattr("quic_interop.configuration.IDLE_SECONDS", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HOST, 0))
        port = udp.getsockname()[1]
        with pytest.raises(InteropError) as raised:
            await run_client(site.client(CASES["handshake"], port, ["a"]), patience=QUICK)

    assert str(raised.value) == f"{HOST}:{port} did not answer as a QUIC server"


async def test_a_server_that_stops_in_the_middle(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that did not come whole is not there, those that did are."""
    names = site.offer({"small": KB, "large": 4 * MB})
    passed = 0

    def dies(udp: object, leaves: bool, data: bytes, peer: object) -> bytes | None:
        nonlocal passed
        passed += not leaves
        return data if passed < 500 else None

    outcome = await meet(site, names, "transfer", link=dies, patience=Patience(data=0.5))

    assert outcome.error.endswith(" gave no data for 0.5 s")
    assert [path.name for path in site.downloads.iterdir()] == ["small"]


def test_a_file_that_is_not_there(site: Site) -> None:
    """What came beside it stays, being whole."""
    site.offer({"there": KB})
    with serving(site, "handshake") as server:
        by_hq = fetch(site, "handshake", server.url("there"), server.url("nothing"))
    with serving(site, "http3") as http3:
        by_h3 = fetch(site, "http3", http3.url("nothing"))

    assert (by_hq.code, by_h3.code) == (1, 1)
    assert f"{HOST}:{server.port} did not give nothing: the server reset its stream with 0x1\n" in by_hq.err
    assert f"{HOST}:{http3.port} did not give nothing: HTTP status 404\n" in by_h3.err
    assert [path.name for path in site.downloads.iterdir()] in ([], ["there"])


def test_a_full_disk(site: Site) -> None:
    """The sentence names the file, and nothing of it is left."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: no disk can be mounted for a test alone")
    unshare = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    mount = [
        "sh",
        "-c",
        'mount -t tmpfs -o size=256k tmpfs "$DOWNLOADS" && "$@"; echo $?; ls -A "$DOWNLOADS"',
        "sh",
    ]
    downloads = {"DOWNLOADS": str(site.downloads)}
    probe = subprocess.run(
        [*unshare, *mount, "true"], env={**os.environ, **downloads}, capture_output=True, check=False
    )
    if probe.stdout != b"0\n":
        pytest.skip("no mount namespaces here: no disk can be mounted for a test alone")
    site.offer({"small": KB, "large": MB})
    with serving(site, "transfer") as server:
        variables = {
            **downloads,
            "TESTCASE": "transfer",
            "REQUESTS": f"{server.url('small')} {server.url('large')}",
        }
        done = subprocess.run(
            [*unshare, *mount, *command("client")],
            env=environment(variables),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.stdout == "1\nsmall\n"
    assert f"{site.downloads / 'large'} cannot be written: No space left on device\n" in done.stderr


def test_a_signal_in_the_middle(site: Site) -> None:
    """SIGTERM ends a client with 1, and what is not whole is removed; a server ends with 0."""
    site.offer({"large": 64 * MB})
    with serving(site, "transfer") as server:
        variables = {
            "TESTCASE": "transfer",
            "REQUESTS": server.url("large"),
            "DOWNLOADS": str(site.downloads),
        }
        process = subprocess.Popen(
            command("client"), env=environment(variables), stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 10
        while not any(path.stat().st_size for path in site.downloads.iterdir()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)  # nothing tells when another process has written
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)

    assert process.returncode == 1
    assert err == "quic-interop-client: stopped by a signal\n"
    assert list(site.downloads.iterdir()) == []
    assert server.result is not None
    assert (server.result.code, server.result.err) == (0, "")


# ---- what works ----------------------------------------------------------------------------------------


def test_logs_of_both_ends(site: Site, tmp_path: Path) -> None:
    """Secrets of both ends agree, in SSLKEYLOGFILE's format; each connection has a qlog file at each end."""
    site.offer({"a": KB, "b": KB})
    logs = {
        end: {"SSLKEYLOGFILE": str(tmp_path / f"{end}.keys"), "QLOGDIR": str(tmp_path / end / "qlog")}
        for end in "cs"
    }
    with serving(site, "resumption", **logs["s"]) as server:
        result = fetch(site, "resumption", server.url("a"), server.url("b"), **logs["c"])

    assert result.code == 0
    assert "connection 2: QUIC version 0x1, " in result.err
    keys = {end: set((tmp_path / f"{end}.keys").read_text().splitlines()) for end in "cs"}
    assert keys["c"] == keys["s"]
    assert len(keys["c"]) == 8
    names = {end: sorted(path.name for path in (tmp_path / end / "qlog").iterdir()) for end in "cs"}
    assert len(names["c"]) == 2
    assert [name.replace(".client.", ".server.") for name in names["c"]] == names["s"]


@pytest.mark.parametrize(
    "size",
    [16, pytest.param(LARGE, marks=pytest.mark.skipif(not LARGE, reason="QUIC_INTEROP_LARGE_MB is not set"))],
)
def test_memory_does_not_grow_with_the_file(site: Site, size: int) -> None:
    """Neither end keeps what it has passed on: a large file takes little more than a small one."""
    site.offer({"small": KB})
    with (site.www / "large").open("wb") as file:
        for _ in range(size):
            file.write(os.urandom(MB))
    peaks = {}
    for name in ("small", "large"):
        with serving(site, "transfer") as server:
            result = fetch(site, "transfer", server.url(name))
        assert result.code == 0
        assert server.result is not None
        peaks[name] = (result.peak_kilobytes, server.result.peak_kilobytes)

    assert subprocess.run(["cmp", site.www / "large", site.downloads / "large"], check=False).returncode == 0
    if not any(peaks["small"]):
        pytest.skip("this system does not say how much memory a process had")
    for small, large in zip(peaks["small"], peaks["large"], strict=True):
        assert large - small < 6 * KB
        assert large < 200 * KB


def test_the_commands_are_installed_under_their_names() -> None:
    """The console scripts are the functions that these tests run."""
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]

    assert scripts["quic-interop-client"] == "quic_interop.command:client"
    assert scripts["quic-interop-server"] == "quic_interop.command:server"
