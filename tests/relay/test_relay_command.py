"""The command moq-test-relay."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_moqt.client.connection import VERSION_1, VERSION_2, QuicOptions
from pytest_moqt.client.dial import dial
from pytest_moqt.client.session import connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.relay.__main__ import main
from pytest_moqt.relay.defects import DEFECTS

COMMAND = [sys.executable, "-m", "pytest_moqt.relay"]
DEADLINE = 10.0


class Running:
    """The command, until its ready line and the lines behind it were read."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(("WebTransport:", "defect:")):
                break

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE)
        return self.process.returncode


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence with which arguments are refused."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("moq-test-relay: ")
    return line.removeprefix("moq-test-relay: ")


async def test_the_ready_line_says_where_and_who(running: Running) -> None:
    """Address, fingerprint in both spellings, and URLs that can be dialled."""
    ready, digest, drafts, raw, webtransport = running.lines

    match = re.fullmatch(
        r"moq-test-relay ready on 127\.0\.0\.1:(\d+) sha256=((?:[0-9A-F]{2}:){31}[0-9A-F]{2})", ready
    )
    assert match
    assert re.fullmatch(r"certificate hash \(base64\): [A-Za-z0-9+/]{43}=", digest)
    assert drafts == "drafts: " + ", ".join(f"draft-{number}" for number in SUPPORTED)
    assert raw == f"raw QUIC: moqt://127.0.0.1:{match[1]}"
    assert webtransport == f"WebTransport: https://127.0.0.1:{match[1]}"
    for line in (raw, webtransport):
        transport = await dial(
            parse_relay_url(line.split(": ")[1]),
            alpn=["moqt-18"],
            protocols=["moqt-18"],
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
            on_event=lambda event: None,
        )
        await transport.finish()
    assert running.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(running: Running, number: signal.Signals) -> None:
    """As its caller wants it."""
    assert running.end(number) == 0


@pytest.mark.parametrize("then", ["client-goes", "second-signal"])
async def test_a_signal_may_give_clients_time(then: str) -> None:
    """GOAWAY first; the command ends when the last client has gone, or at a second signal."""
    running = Running("--goaway", "600")
    session = await connect(
        parse_relay_url(running.lines[-1].split(": ")[1]),
        offer=[18],
        tls=TlsOptions(verify=False),
        timeout=DEADLINE,
    )

    running.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE):
        answer: m.Message = m.RequestOk()
        while isinstance(answer, m.RequestOk):  # until the signal has come
            answer = await session.request(m.PublishNamespace((b"a",)))
    still = running.process.poll() is None
    if then == "client-goes":
        await session.close()
        code = await asyncio.to_thread(running.process.wait, DEADLINE)
        running.process.communicate()
    else:
        code = await asyncio.to_thread(running.end, signal.SIGINT)
        await session.close()

    assert isinstance(answer, m.RequestError)
    assert answer.code == RequestErrorCode.GOING_AWAY
    assert still
    assert code == 0


def test_options_are_heeded() -> None:
    """Drafts, transport and defect are in what it says."""
    running = Running("--draft", "draft-16,14", "--transport", "webtransport", "--defect", "setup-never")

    assert running.lines[2:3] == ["drafts: draft-16, draft-14"]
    assert not any("moqt://" in line for line in running.lines)
    running.end()


async def test_what_of_quic_it_offers_can_be_chosen() -> None:
    """What is unusual is said, and a client meets it."""
    running = Running("--retry", "--no-zero-rtt", "--no-v2", "--no-migration")
    assert running.lines[3] == "QUIC: retry, no zero-rtt, no v2, no migration"

    both = QuicOptions(versions=(VERSION_2, VERSION_1), first_version=VERSION_1, keep_tickets=True)
    session = await connect(
        parse_relay_url(running.lines[4].split(": ")[1]),
        offer=(18,),
        tls=TlsOptions(verify=False),
        timeout=DEADLINE,
        quic=both,
    )
    ticket = await session.connection.wait_ticket(DEADLINE)
    facts = session.connection.facts
    await session.close()

    assert (facts.retry, facts.version, facts.active_migration) == (1, "1", False)
    assert ticket is not None
    assert not ticket.early_data
    running.end()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "70000"], "argument --port: '70000' is no port, must be 0 to 65535"),
        (["--draft", "13"], f"argument --draft: '13' is no draft of {','.join(map(str, SUPPORTED))}"),
        (["--goaway", "-1"], "argument --goaway: '-1' is not a number of seconds from 0 to an hour"),
        (["--cert", "cert.pem"], "--cert and --key belong together: give both or none"),
        (
            ["--defect", "setup-nevr"],
            "no defect is called 'setup-nevr'; did you mean setup-never or setup-late or "
            "setup-twice? --list-defects names all",
        ),
        (["--defect", "x"], "no defect is called 'x'; --list-defects names all"),
        (["--transport", "tcp"], "argument --transport: invalid choice: 'tcp'"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 cannot be listened on: Cannot assign requested address"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """On standard error, with the good values where there are few."""
    assert refused(capsys, "--port", "0", *arguments).startswith(sentence)


def test_a_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        said = refused(capsys, "--port", str(port))

    assert said == f"UDP port {port} of 127.0.0.1 is in use; choose another --port, or 0 for a free one"


def test_a_missing_certificate_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It names the file."""
    missing = str(tmp_path / "no.pem")

    said = refused(capsys, "--port", "0", "--cert", missing, "--key", missing)

    assert said == f"certificate file {missing} cannot be read: No such file or directory"


def test_defects_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each by name, with what it does and what it fails."""
    assert main(["--list-defects"]) == 0

    listed = capsys.readouterr().out
    for defect in DEFECTS.values():
        fails = f"{', '.join(sorted(defect.cases))}; cause {defect.cause}"
        assert (
            f"{defect.sentence}\n    fails {fails if defect.cases else 'no case: it is allowed'}\n" in listed
        )
    assert listed.count("\n    fails ") == len(DEFECTS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The package's."""
    assert main(["--version"]) == 0

    assert re.fullmatch(r"moq-test-relay \d\S*\n", capsys.readouterr().out)
