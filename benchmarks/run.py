"""Speed and memory of the client, as ratios measured in one run.

    make peers                                       # once: the relay and client to compare with
    .venv/bin/python benchmarks/run.py [NAME ...]    # all, or some of these:

- `startup`: `--list` and `--help` against `python -c pass`.
- `six`: the six classic cases against aiomoqt's relay, ours and aiomoqt's own client in turn; also CPU
  and peak memory of our default run.
- `connect`: dialling, SETUP and closing, median, against that relay.
- `dead`: how long a run takes that meets a closed port, and one that meets a silent one.
- `journal`: CPU of the default run against the same without journals, and of reading a hundred thousand
  tiny objects with a journal and without; needs no other relay than ours.
- `drafts`: importing the session, `--list` and the default run, with the tables of all drafts and at a
  commit that had three; needs git and its history.
- `receiving`: objects on one stream against plain aioquic, which only counts the same bytes; and small
  objects through the embedded relay.
- `suite`: every conformance case on draft 18 against the embedded relay, one at a time and four.

Everything runs in a network namespace that holds nothing but loopback (needs `unshare` and `ip`).
Figures vary with the machine and what else it does: read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(os.environ.get("PEERS_VENV", ROOT / ".venv-peers")) / "bin"
PORT = 14443
CLASSIC = (
    "setup-only",
    "announce-only",
    "publish-namespace-done",
    "subscribe-error",
    "announce-subscribe",
    "subscribe-before-announce",
)
OURS = [str(Path(sys.executable).parent / "moq-test-client")]
THEIRS = [
    str(PEERS / "python"),
    "-c",
    f"import aiomoqt.tools.moq_interop_client as c; c.STANDARD_TESTS = {list(CLASSIC)!r}; c.cli()",
]


JUDGE = "import pytest_moqt.client.session as s; from pytest_moqt.cli import command; command()"
NO_JOURNAL = """\
import pytest_moqt.client.journal as j, pytest_moqt.client.session as s
for name in ("frame", "event", "heard", "wrote_header", "wrote_object"):
    setattr(j.Journal, name, lambda *arguments, **more: None)
s.WatchedTransport = lambda transport, journal: transport
from pytest_moqt.cli import command; command()"""
OBJECTS = 100_000
THREE_DRAFTS = "5ac0e67"
"The last commit with rows for 14, 16 and 18 only."


def measure(command: list[str], ok: tuple[int, ...] = (0,)) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in MB of one run."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in ok:
        raise SystemExit(f"{command} ended with {process.returncode}: {said}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def alternate(runs: int, *commands: list[str]) -> list[tuple[float, float, float]]:
    """Medians of wall, CPU and memory of each command, the commands taking turns after one warm-up."""
    samples: list[list[tuple[float, float, float]]] = [[] for _ in commands]
    for number in range(runs + 1):
        for index, command in enumerate(commands):
            sample = measure(command)
            if number:
                samples[index].append(sample)
    return [
        tuple(statistics.median(column) for column in zip(*rows, strict=True))  # type: ignore[misc]
        for rows in samples
    ]


@contextmanager
def relay(folder: Path) -> Iterator[None]:
    """The relay of aiomoqt, on PORT."""
    from cryptography.hazmat.primitives import serialization as s

    from pytest_moqt.relay.certificates import self_signed

    identity = self_signed()
    chain, key = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(identity.pem)
    key.write_bytes(
        identity.private_key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    )
    command = [str(PEERS / "moq-interop-relay"), "--dual", "--port", str(PORT)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--cert", str(chain), "--key", str(key)], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while f":{PORT:04X} " not in Path("/proc/self/net/udp").read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the relay did not start: {(folder / 'log').read_text()[-1000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


def startup(runs: int) -> None:
    """`--list` and `--help`."""
    nothing, listing, helping = alternate(
        runs, [sys.executable, "-c", "pass"], [*OURS, "--list"], [*OURS, "--help"]
    )
    for name, figures in (("--list", listing), ("--help", helping)):
        ratio = figures[0] / nothing[0]
        print(f"startup  {name}: {figures[0] * 1000:.0f} ms, {ratio:.2f} x `python -c pass` (limit 4)")


def six(runs: int) -> None:
    """The six classic cases, ours against aiomoqt's client."""
    selection = [word for name in CLASSIC for word in ("-t", name)]
    with TemporaryDirectory() as folder, relay(Path(folder)):
        for transport, scheme in (("quic", "moqt"), ("webtransport", "https")):
            target = ["-r", f"{scheme}://localhost:{PORT}", "--tls-disable-verify", "--draft", "18"]
            ours, theirs = alternate(runs, [*OURS, *target, *selection], [*THEIRS, *target])
            print(
                f"six      {transport}: {ours[0]:.3f} s against {theirs[0]:.3f} s, "
                f"ratio {ours[0] / theirs[0]:.2f} (limit 1); CPU {ours[1]:.2f} s against {theirs[1]:.2f} s; "
                f"peak {ours[2]:.0f} MB against {theirs[2]:.0f} MB"
            )
            (whole,) = alternate(runs, [*OURS, *target])
            print(
                f"default  {transport}: {whole[0]:.3f} s, CPU {whole[1]:.2f} s (limit 0.8), "
                f"peak {whole[2]:.0f} MB (limit 80)"
            )


async def _connect(url: str, count: int) -> list[float]:
    from pytest_moqt.client.session import connect
    from pytest_moqt.client.tls import TlsOptions
    from pytest_moqt.client.url import parse_relay_url

    endpoint = parse_relay_url(url, "auto")
    samples = []
    for _ in range(count):
        before = time.perf_counter()
        session = await connect(endpoint, offer=(18,), tls=TlsOptions(verify=False), timeout=5.0)
        await session.close()
        samples.append((time.perf_counter() - before) * 1000)
    return samples


def connect(_: int) -> None:
    """Dial, SETUP, close."""
    with TemporaryDirectory() as folder, relay(Path(folder)):
        for transport, scheme in (("quic", "moqt"), ("webtransport", "https")):
            samples = asyncio.run(_connect(f"{scheme}://localhost:{PORT}", 21))[1:]
            median = statistics.median(samples)
            print(f"connect  {transport}: median of {len(samples)} {median:.1f} ms (limit 10)")


def dead(_: int) -> None:
    """A closed port, and one that nothing answers from."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    for name, port, limit in (("refused", 1, 1.5), ("silent", silent.getsockname()[1], 4.0)):
        wall, _, _ = measure([*OURS, "-r", f"moqt://127.0.0.1:{port}"], ok=(1,))
        print(f"dead     {name}: {wall:.2f} s (limit {limit})")


@contextmanager
def own_relay() -> Iterator[None]:
    """The embedded relay in a process of its own, on PORT."""
    command = [str(Path(sys.executable).parent / "moq-test-relay"), "--port", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit(f"{command} did not start")
        yield
    finally:
        process.terminate()
        process.wait()


class _Nowhere:
    """A transport that carries nothing."""

    max_datagram_size = 1200

    def open_stream(self, *, unidirectional: bool) -> int:  # noqa: ARG002 - one is enough
        return 2

    def send(self, stream_id: int, data: bytes, *, fin: bool = False) -> None: ...

    reset = stop = send_datagram = close = send


def _read_objects(chunks: list[bytes], noted: bool) -> float:
    """CPU seconds of one session that reads a data stream."""
    from pytest_moqt.client.journal import Journal, WatchedTransport
    from pytest_moqt.protocol.drafts import draft
    from pytest_moqt.protocol.session import Session
    from pytest_moqt.protocol.transport import StreamData

    row = draft(18)
    journal = Journal(row, time.monotonic())
    transport = WatchedTransport(_Nowhere(), journal) if noted else _Nowhere()
    session = Session(row, transport, observer=journal.frame if noted else None)
    session.start()
    before = time.process_time()
    for chunk in chunks:
        event = StreamData(7, chunk)
        happenings = session.handle_event(event)
        if noted:
            journal.heard(event, happenings)
    return time.process_time() - before


def journal(runs: int) -> None:
    """What journals cost that nobody reads."""
    from pytest_moqt.protocol.drafts import draft
    from pytest_moqt.protocol.objects import StreamObject, SubgroupEncoder, SubgroupHeader

    with own_relay():
        for transport, scheme in (("quic", "moqt"), ("webtransport", "https")):
            target = ["-r", f"{scheme}://127.0.0.1:{PORT}", "--tls-disable-verify", "--draft", "18"]
            noted, silent = alternate(
                3 * runs, [sys.executable, "-c", JUDGE, *target], [sys.executable, "-c", NO_JOURNAL, *target]
            )
            print(
                f"journal  {transport}: CPU of the default run {noted[1]:.3f} s against {silent[1]:.3f} s "
                f"without, ratio {noted[1] / silent[1]:.3f} (limit 1.05)"
            )
    encoder = SubgroupEncoder(SubgroupHeader(1, 0), draft(18))
    stream = encoder.header() + b"".join(encoder.object(StreamObject(number)) for number in range(OBJECTS))
    # As QUIC brings them: a packet's worth at a time.
    chunks = [stream[at : at + 1200] for at in range(0, len(stream), 1200)]
    samples = [(_read_objects(chunks, True), _read_objects(chunks, False)) for _ in range(runs + 1)][1:]
    with_it, without = (statistics.median(column) for column in zip(*samples, strict=True))
    print(
        f"journal  {OBJECTS} objects: {with_it:.3f} s against {without:.3f} s without, "
        f"ratio {with_it / without:.3f} (limit 1.05)"
    )


def _tree(folder: Path, commit: str) -> str:
    """The packages as they are at a commit, compiled."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "pytest_moqt", "interop_tests"],
        stdout=subprocess.PIPE,
        check=True,
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], check=True)
    return str(folder)


def drafts(runs: int) -> None:
    """What more drafts cost who uses one of them."""
    target = ["-r", f"moqt://127.0.0.1:{PORT}", "--tls-disable-verify", "--draft", "18"]
    with TemporaryDirectory() as folder, own_relay():
        trees = [_tree(Path(folder, name), commit) for name, commit in (("now", "HEAD"), ("b", THREE_DRAFTS))]
        for name, arguments in (
            ("import", ["-c", "import pytest_moqt.client.session"]),
            ("--list", ["-c", JUDGE, "--list"]),
            ("default run", ["-c", JUDGE, *target]),
        ):
            # Not by PYTHONPATH: an editable install may come before it.
            now, before = alternate(
                3 * runs,
                *(
                    [
                        sys.executable,
                        "-c",
                        f"import sys; sys.path.insert(0, {tree!r}); {arguments[1]}",
                        *arguments[2:],
                    ]
                    for tree in trees
                ),
            )
            print(
                f"drafts   {name}: {now[0] * 1000:.0f} ms against {before[0] * 1000:.0f} ms with three, "
                f"ratio {now[0] / before[0]:.2f}; CPU ratio {now[1] / before[1]:.2f}; "
                f"peak {now[2]:.1f} MB against {before[2]:.1f} MB, ratio {now[2] / before[2]:.2f}"
            )


def receive(runs: int) -> None:
    """Objects as a case gets them."""
    import receiving

    ours, plain = receiving.on_one_stream(runs)
    size = receiving.OBJECTS * receiving.OBJECT_BYTES / 1e6
    print(
        f"receiving one stream: {size / ours:.0f} MB/s against {size / plain:.0f} MB/s of plain aioquic, "
        f"ratio {plain / ours:.2f} (limit 0.8)"
    )
    with own_relay():
        for scheme in ("moqt", "https"):
            url = f"{scheme}://127.0.0.1:{PORT}"
            best = max(asyncio.run(receiving.through_a_relay(url)) for _ in range(runs))
            print(f"receiving through the embedded relay, {scheme}: {best:.0f} objects/s (limit 20000)")


def suite(_: int) -> None:
    """The whole suite."""
    for jobs, limit in ((1, 60), (4, 20)):
        command = [*OURS, "-r", "embedded", "--draft", "18", "--all", "-n", str(jobs)]
        wall, cpu, peak = measure(command, ok=(0, 1))
        print(
            f"suite    {jobs} at a time: {wall:.1f} s (limit {limit}), CPU {cpu:.1f} s, "
            f"peak {peak:.0f} MB (limit 256)"
        )


BENCHMARKS: dict[str, Callable[[int], None]] = {
    "startup": startup,
    "six": six,
    "connect": connect,
    "dead": dead,
    "journal": journal,
    "drafts": drafts,
    "receiving": receive,
    "suite": suite,
}


def main() -> None:
    """Run them, in a network namespace of their own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each command (default 7)")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}: {', '.join(BENCHMARKS)}")
    if "MOQT_BENCHMARK_SEALED" not in os.environ:
        if shutil.which("unshare") is None:
            raise SystemExit("no `unshare` here: the relay cannot be kept to loopback")
        flags = "-n" if os.getuid() == 0 else "-rn"
        os.environ["MOQT_BENCHMARK_SEALED"] = "1"
        seal = 'ip link set lo up && exec "$@"'
        os.execvp("unshare", ["unshare", flags, "sh", "-c", seal, "sh", sys.executable, *sys.argv])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # With it pytest could not keep the cases as it has rewritten them, and would do so in each run.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name](arguments.runs)


if __name__ == "__main__":
    main()
