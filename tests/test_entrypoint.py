"""The command moq-test-client, from its arguments and environment to its exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from toys import CHECKOUT, NEWEST, Background, Result, run

ENTRYPOINT = str(CHECKOUT / "entrypoint.py")
NAMES = [
    "setup-only",
    "announce-only",
    "publish-namespace-done",
    "subscribe-error",
    "announce-subscribe",
    "subscribe-before-announce",
    "rendezvous-timeout",
]
QUIC = [
    *("quic-handshake", "quic-transfer", "quic-retry", "quic-keyupdate", "quic-chacha20"),
    *("quic-v2", "quic-vn", "quic-resumption", "quic-zerortt", "quic-connectionmigration"),
    "quic-multiconnect",
]


def client(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
    """Run the command."""
    return run([sys.executable, ENTRYPOINT, *arguments], cwd or Path("/"), env)


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a UDP port that takes everything and answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"moqt://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """The URL of a UDP port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        return f"moqt://127.0.0.1:{bound.getsockname()[1]}"


# Answers that need no run.


@pytest.mark.parametrize("flag", ["--list", "-l"])
def test_the_list(flag: str) -> None:
    """The names, one a line, and nothing else."""
    result = client(flag)

    assert (result.code, result.stdout.splitlines(), result.stderr) == (0, NAMES, "")


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["--profile", "quic"], QUIC),
        (["--profile", "catalogue", "--profile", "quic"], [*NAMES, *QUIC]),
        (["--profile", "quic", "-t", "setup-only"], ["setup-only", *QUIC]),
        (["-t", "quic-v*"], ["quic-v2", "quic-vn"]),
    ],
)
def test_what_would_run_is_listed(arguments: list[str], listed: list[str]) -> None:
    """Profiles, and names beside them, in the order in which they run."""
    result = client("--list", *arguments)

    assert (result.code, result.stdout.splitlines(), result.stderr) == (0, listed, "")


@pytest.mark.parametrize("variable", ["MOQT_DRAFT", "DRAFT", "MOQT_VERSIONS"])
def test_the_list_is_of_the_draft_that_a_variable_names(variable: str) -> None:
    """As a run would be; an argument comes before it."""
    named = client("--list", env={variable: "16"})
    given = client("--list", "--draft", "18", env={variable: "16"})

    assert named.stdout.splitlines() == [name for name in NAMES if name != "rendezvous-timeout"]
    assert given.stdout.splitlines() == NAMES


def test_a_section_that_a_variable_names_is_that_of_a_draft() -> None:
    """The newest where none is asked for, like one that an argument names."""
    by_variable = client("--list", env={"TESTCASE": "10.7"})
    by_argument = client("--list", "-t", "10.7")

    assert by_variable == by_argument
    assert by_variable.stdout
    assert f"sections are those of draft-{NEWEST}" in by_variable.stderr


def test_a_list_is_whole_where_a_write_is_short() -> None:
    """What a pipe does not take at once follows."""
    script = """
import os, sys
write = os.write
os.write = lambda fd, data: write(fd, bytes(data[:100]))
from pytest_moqt.cli import main
sys.exit(main(["--list", "--all"]))
"""
    short = run([sys.executable, "-c", script], CHECKOUT)

    assert short.stdout == client("--list", "--all").stdout


def test_the_help() -> None:
    """Every flag, its variable, the cases, the exit codes and an example."""
    result = client("--help")

    assert result.code == 0
    for word in (
        *("--relay", "--test", "--list", "--verbose", "--tls-disable-verify", "--draft", "--transport"),
        *("--ca-file", "--junit-xml", "--budget", "RELAY_URL", "TESTCASE", "VERBOSE", "MOQT_DRAFT"),
        *("SSL_CERT_FILE", "127", "embedded", *NAMES),
    ):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110


def test_the_version() -> None:
    """The name and the version."""
    result = client("--version")

    assert result.code == 0
    assert result.stdout.startswith("moq-test-client ")


def test_answers_without_a_run_load_neither_pytest_nor_a_quic_stack() -> None:
    """`--list`, `--help`, unknown names and bad values are quick."""
    script = """
import sys
from pytest_moqt.cli import main
lists = (["--list"], ["--list", "--profile", "quic"], ["--help"])
for arguments in (*lists, ["-t", "nope"], ["--draft", "x"], ["--relay", "x"], ["--nonsense"]):
    try:
        main(arguments)
    except SystemExit:
        pass
heavy = {"pytest", "_pytest", "aioquic", "asyncio", "yaml", "cryptography"} & set(sys.modules)
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""
    result = run([sys.executable, "-c", script], CHECKOUT)

    assert result.code == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "named"),
    [
        (["--relay", "http://x"], {}, "moqt://"),
        ([], {"RELAY_URL": "relay:4443"}, "moqt://"),
        (["--draft", "13"], {}, "--draft is '13'"),
        ([], {"MOQT_DRAFT": "latest"}, "22, 21, 20, 19, 18, 17, 16, 15, 14"),
        (["--transport", "tcp"], {}, "auto, quic, webtransport"),
        (["--ca-file", "/no/such/file"], {}, "/no/such/file"),
        ([], {"TLS_DISABLE_VERIFY": "maybe"}, "1, true, yes"),
        ([], {"VERBOSE": "2"}, "1, true, yes"),
        (["--budget", "soon"], {}, "number of seconds"),
        (["--jobs", "many"], {}, "number from 1 to 64"),
        (["--jobs", "9" * 5000], {}, "number from 1 to 64"),
        (["--list"], {"MOQT_DRAFT": "latest"}, "MOQT_DRAFT is 'latest'"),
        (
            ["--list", "-t", "rendezvous-timeout", "--draft", "14"],
            {},
            "no case is left: none of the 1 selected is in draft-14",
        ),
        (["--require", "10.7"], {}, "--require is '10.7', a section: use the name of a case, or a pattern"),
        (["--junit-xml", "/no/such/directory/x.xml"], {}, "/no/such/directory"),
        (["--profile", "quick"], {}, "use catalogue, all, core, session"),
        (["--require", "quic-chacha"], {}, "did you mean 'quic-chacha20'?"),
        (["--retry-relay", "http://x"], {}, "--retry-relay"),
        (["--nonsense"], {}, "--help"),
        (["--relay"], {}, "--help"),
    ],
)
def test_a_value_that_cannot_be_used(arguments: list[str], env: dict[str, str], named: str) -> None:
    """One sentence that names the good values, exit code 2, and nothing on stdout."""
    result = client(*arguments, env=env)

    assert result.code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("moq-test-client: ")
    assert named in result.stderr


@pytest.mark.parametrize(
    ("arguments", "env"),
    [(["-t", "setup-onyl"], {}), ([], {"TESTCASE": "setup-onyl"})],
    ids=["flag", "variable"],
)
def test_a_case_that_is_not_known(arguments: list[str], env: dict[str, str]) -> None:
    """A whole document, exit code 127, and the name that was probably meant."""
    result = client(*arguments, env=env)

    assert result.code == 127
    assert result.stdout.endswith("1..1\nok 1 - setup-onyl # SKIP not supported by this client\n")
    assert result.document.verdicts == [("setup-onyl", "SKIP")]
    assert "did you mean 'setup-only'?" in result.stderr


def test_a_hostile_name_of_a_case() -> None:
    """It is shown, and forges nothing."""
    result = client("-t", "x\nok 2 - forged # TODO")

    assert result.code == 127
    assert result.document.plan == 1


# Runs.


def test_a_run_against_the_embedded_relay() -> None:
    """The whole catalogue passes, and the head says what was judged."""
    result = client("--relay", "embedded", cwd=CHECKOUT)

    document = result.document
    assert result.code == 0, result.stdout
    assert document.verdicts == [(name, "ok") for name in NAMES]
    assert document.comments[1].startswith("Relay: embedded (moqt://127.0.0.1:")
    assert document.comments[2] == f"Draft: draft-{NEWEST} (negotiated)"
    assert document.comments[5] == "Cases: 7 of the catalogue's 7, 0 not selected"
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "env", "ran"),
    [
        (["-t", "setup-only"], {}, NAMES[:1]),
        (["-t", "subscribe-error", "-t", "setup-only"], {}, ["setup-only", "subscribe-error"]),
        (["-t", "announce-*", "-t", "*-before-announce"], {}, [NAMES[1], NAMES[4], NAMES[5]]),
        ([], {"TESTCASE": "setup-only, announce-only"}, NAMES[:2]),
        (["-t", "setup-only"], {"TESTCASE": "announce-only"}, NAMES[:1]),
        ([], {"TESTCASE": ""}, NAMES),
        (["--profile", "catalogue"], {"TESTCASE": "announce-only"}, NAMES),
    ],
)
def test_cases_are_chosen_by_name(arguments: list[str], env: dict[str, str], ran: list[str]) -> None:
    """Names, patterns and the variable; an argument comes first, an empty variable counts as not set."""
    result = client("-r", "embedded", *arguments, env=env)

    assert result.code == 0
    assert result.document.verdicts == [(name, "ok") for name in ran]
    missing = len(NAMES) - len(ran)
    assert f"Cases: {len(ran)} of the catalogue's 7, {missing} not selected" in result.document.comments


def test_a_case_about_quic_runs_by_its_name() -> None:
    """The embedded relay sends Retry at another port, when asked to."""
    result = client(
        "-r", "embedded", "-t", "quic-retry", "--retry-relay", "embedded", "--require", "quic-retry"
    )

    assert result.code == 0, result.stdout
    assert result.document.verdicts == [("quic-retry", "ok")]
    assert result.document["quic-retry"].values["quic"]["client"]["retry"] == 1
    assert "Cases: 1 of the profile quic's 11, 10 not selected" in result.document.comments


def test_known_and_unknown_cases_together() -> None:
    """The known ones run, the unknown are skipped points, and the exit code is 127."""
    result = client("-r", "embedded", "-t", "setup-only", "-t", "nope")

    assert result.code == 127
    assert result.document.verdicts == [("setup-only", "ok"), ("nope", "SKIP")]


@pytest.mark.parametrize(
    ("arguments", "env", "draft", "transport"),
    [
        ([], {"RELAY_URL": "embedded", "MOQT_DRAFT": "draft-16"}, "draft-16", "quic"),
        (["--draft", "14"], {"RELAY_URL": "embedded", "MOQT_DRAFT": "16"}, "draft-14", "quic"),
        (
            ["--transport", "webtransport"],
            {"RELAY_URL": "embedded", "DRAFT": "18"},
            "draft-18",
            "webtransport",
        ),
    ],
)
def test_draft_and_transport(arguments: list[str], env: dict[str, str], draft: str, transport: str) -> None:
    """What was pinned is what is negotiated, reported in the head and with each point."""
    result = client("-t", "setup-only", *arguments, env=env)

    assert result.code == 0, result.stdout
    assert f"Draft: {draft} (negotiated)" in result.document.comments
    values = result.document["setup-only"].values
    assert (values["draft"], values["transport"]) == (draft, transport)
    assert ("webtransport_protocol" in values["sessions"]["client"]) == (transport == "webtransport")


def test_in_parallel_and_with_junit(tmp_path: Path) -> None:
    """--jobs and --junit-xml, with the path taken from where the command was run."""
    result = client("-r", "embedded", "-n", "2", "--junit-xml", "report.xml", cwd=tmp_path)

    assert result.code == 0, result.stdout
    assert result.document.verdicts == [(name, "ok") for name in NAMES]
    cases = list(ET.parse(tmp_path / "report.xml").iter("testcase"))
    assert sorted(str(case.get("name")) for case in cases) == sorted(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.xml"]


def test_a_relay_that_is_not_there(closed: str) -> None:
    """The first case fails, the run bails out at once, and stderr has one sentence."""
    began = time.monotonic()

    result = client("-r", closed)

    assert result.code == 1
    assert result.document.verdicts == [("setup-only", "not ok")]
    assert result.document.plan == 7
    assert result.document.bail_out is not None
    assert result.document["setup-only"].values["cause"] == "transport"
    assert len(result.stderr.splitlines()) == 1
    assert time.monotonic() - began < 10


def test_a_relay_that_says_nothing(silent: str) -> None:
    """Silence ends the run too, within seconds and not after the sum of all limits."""
    began = time.monotonic()

    result = client("-r", silent)

    assert result.code == 1
    assert result.document.bail_out is not None
    assert result.document.points[0].values["received"] == "timeout"
    assert time.monotonic() - began < 10


def test_verbose_reports_on_stderr_as_comments(closed: str) -> None:
    """Progress and the traceback, each line behind `# `; stdout stays the same document."""
    result = client("-r", closed, env={"VERBOSE": "1"})

    assert result.document.plan == 7
    lines = result.stderr.splitlines()
    assert any("setup-only FAILED" in line for line in lines)
    assert all(line.startswith(("# ", "#", "moq-test-client: ")) for line in lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run(silent: str, number: signal.Signals) -> None:
    """The document is complete, and the exit code is 1."""
    with Background([sys.executable, ENTRYPOINT, "-r", silent], CHECKOUT) as running:
        time.sleep(1.5)
        running.process.send_signal(number)
        result = running.result()

    assert result.code == 1
    assert not result.document.points[0].ok
    assert result.document.bail_out == f"interrupted by {number.name}"


@pytest.mark.parametrize("delay", [0.15, 0.3, 0.5, 0.7, 0.9])
def test_a_signal_at_any_moment(silent: str, delay: float) -> None:
    """Also while pytest is still being loaded; before that there is nothing to end."""
    with Background([sys.executable, ENTRYPOINT, "-r", silent], CHECKOUT) as running:
        time.sleep(delay)
        running.process.send_signal(signal.SIGTERM)
        result = running.result()

    if result.code == -signal.SIGTERM:
        assert result.stdout == ""
    else:
        assert result.code == 1
        assert result.document.bail_out == "interrupted by SIGTERM"
        assert not result.document.points[0].ok


# Surroundings.


def test_a_reader_that_goes_away() -> None:
    """A closed pipe, or no stdout at all, ends the command quietly with code 1."""
    for command in (
        f"{ENTRYPOINT} -r embedded | true; exit ${{PIPESTATUS[0]}}",
        f"{ENTRYPOINT} -r embedded >&-",
    ):
        result = run(["bash", "-c", f"{sys.executable} {command}"], Path("/"))
        assert (result.code, result.stdout, result.stderr) == (1, "", "")


def test_a_full_disk() -> None:
    """An output that cannot be written is one sentence and code 1."""
    result = run(["bash", "-c", f"{sys.executable} {ENTRYPOINT} -r embedded >/dev/full"], Path("/"))

    assert result.code == 1
    assert result.stderr == "moq-test-client: standard output cannot be written to: No space left on device\n"


def test_a_strange_directory(tmp_path: Path) -> None:
    """What lies in the working directory, and pytest's own variables, have no say."""
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\naddopts = --nonsense\nminversion = 99\n")
    tmp_path.joinpath("pyproject.toml").write_text("not toml [")
    tmp_path.joinpath("conftest.py").write_text("raise RuntimeError('a stray conftest')\n")
    tmp_path.joinpath("interop_tests").mkdir()
    env = {
        "PYTEST_ADDOPTS": "--nonsense",
        "PYTEST_PLUGINS": "no_such_plugin",
        "PYTEST_THEME": "no-such-theme",
        "FORCE_COLOR": "1",
    }

    result = client("-r", "embedded", "-t", "setup-only", env=env, cwd=tmp_path)

    assert result.code == 0, result.stderr
    assert result.document.verdicts == [("setup-only", "ok")]
    assert result.stderr == ""


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    """The working directory may have been removed."""
    leave = f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone"

    result = run(["bash", "-c", f"{leave} && {sys.executable} {ENTRYPOINT} -r embedded"], Path("/"))

    assert result.code == 0, result.stderr
    assert len(result.document.points) == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_a_home_and_as_nobody_in_particular(tmp_path: Path) -> None:
    """Uid 1000 and gid 65534, no HOME, and nowhere to write, as the runner has it."""
    tmp_path.chmod(0o555)
    env = {"PATH": os.environ["PATH"], "RELAY_URL": "moqt://127.0.0.1:9"}

    def become() -> None:
        os.setgid(65534)
        os.setuid(1000)

    try:
        done = subprocess.run(
            [sys.executable, ENTRYPOINT],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            preexec_fn=become,
            check=False,
        )
    except PermissionError:
        pytest.skip("the interpreter of this environment is for its owner only")

    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert result.code == 1
    assert result.document.bail_out is not None


def test_nowhere_to_write(closed: str) -> None:
    """On a read-only file system there are no temporary files either."""
    script = (
        f"import sys, tempfile; sys.path.insert(0, {str(CHECKOUT)!r}); tempfile.tempdir = '/no/such'\n"
        f"from pytest_moqt.cli import main; sys.exit(main(['-r', {closed!r}]))"
    )

    result = run([sys.executable, "-c", script], Path("/"))

    assert result.code == 1
    assert result.document.bail_out is not None
    assert result.document.bail_out.startswith("no relay answered")


def test_noise_in_a_case_reaches_nobody(tmp_path: Path) -> None:
    """What is printed, by Python or past it, reaches neither stdout nor stderr."""
    noise = tmp_path / "noise.py"
    noise.write_text(
        "import os, sys, logging\n"
        "import pytest_moqt.client.session as session\n"
        "connect = session.connect\n"
        "async def noisy(*args, **named):\n"
        "    print('ok 90 - print'); print('ok 91', file=sys.stderr)\n"
        "    os.write(1, b'ok 92\\n'); os.write(2, b'ok 93\\n'); logging.getLogger('x').error('ok 94')\n"
        "    return await connect(*args, **named)\n"
        "session.connect = noisy\n"
        "from pytest_moqt.cli import main\n"
        "sys.exit(main(['-r', 'embedded', '-t', 'setup-only']))\n"
    )

    result = run([sys.executable, str(noise)], tmp_path)

    assert result.code == 0, result.stdout
    assert result.document.verdicts == [("setup-only", "ok")]
    assert result.stderr == ""


def test_the_environment_alone_is_enough() -> None:
    """The runner passes no arguments; what it passes empty counts as not set."""
    env = dict.fromkeys(("TESTCASE", "TLS_DISABLE_VERIFY", "VERBOSE", "MOQT_DRAFT", "DRAFT"), "")

    result = client(env={**env, "RELAY_URL": "embedded"})

    assert result.code == 0
    assert len(result.document.points) == 7


def test_points_come_while_the_run_goes_on() -> None:
    """A reader has the first verdict before the last case is over."""
    with Background([sys.executable, ENTRYPOINT, "-r", "embedded"], CHECKOUT) as running:
        seen: list[float] = []

        def watch() -> None:
            for line in running.stdout:
                if line.startswith(b"ok "):
                    seen.append(time.monotonic())

        watcher = threading.Thread(target=watch)
        watcher.start()
        watcher.join(60)
        running.process.wait(10)

    assert running.process.returncode == 0
    assert len(seen) == 7
    assert seen[-1] - seen[0] > 0.8
