"""Whatever ends a run or a part of it, at whatever stage: the document is whole and true, the code right."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from strict_tap import NotTap, read
from toys import URL, Project
from watched import ENTRYPOINT, SECONDS, Watched, alive, catches, children, owner_of_port, wait_for

from pytest_moqt import catalog, reporter

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="processes are watched in /proc"
)

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL
WORKERS_GONE = 30.0
"Seconds: a worker process whose main process died gives a test five to end, and itself ten."

# ---- the stages of a run ---------------------------------------------------------------------------

CONFTEST = """
import os, time
import fake_session
import pytest
fake_session.install()

def reach(stage):
    if os.environ["STAGE"] == stage:
        open("reached", "w").close()
        time.sleep(60)

def pytest_collection_modifyitems(): reach("collecting")
def pytest_runtest_logstart(nodeid):
    if nodeid.endswith("second"): reach("between")
def pytest_sessionfinish(): reach("ending")

@pytest.fixture
def stages():
    reach("setup")
    yield
    reach("teardown")
"""
THREE = """
@pytest.mark.interop("first")
async def test_first(relay):
    async with relay.connect(): pass
@pytest.mark.interop("second")
async def test_second(relay, stages):
    async with relay.connect(): pass
@pytest.mark.interop("third")
async def test_third(relay):
    async with relay.connect(): pass
"""
FIRST = ("first", "ok")
SECOND_BROKEN = [FIRST, ("second", "not ok")]
ALL = [FIRST, ("second", "ok"), ("third", "ok")]


@pytest.mark.parametrize(
    ("stage", "number", "jobs", "verdicts"),
    [
        ("collecting", TERM, [], [("collection", "not ok")]),
        ("collecting", HUP, ["-n", "2"], [("collection", "not ok")]),
        ("setup", INT, [], SECOND_BROKEN),
        ("between", TERM, [], SECOND_BROKEN),
        ("teardown", TERM, [], SECOND_BROKEN),
        ("teardown", HUP, ["-n", "1"], SECOND_BROKEN),
        ("ending", TERM, [], ALL),
    ],
)
def test_a_signal_at_each_stage(
    project: Project, stage: str, number: signal.Signals, jobs: list[str], verdicts: list[tuple[str, str]]
) -> None:
    """What has a verdict keeps it, what has none by then does not pass, and the reason is the signal."""
    project.write("conftest.py", CONFTEST)
    project.write("test_toy.py", THREE)
    command = project.command("--relay", URL, "--tap14", *jobs)
    with Watched(command, project.path, {"STAGE": stage}) as running:
        running.wait_for_file(project.path / "reached")
        if stage == "teardown" and jobs:
            running.read_until("ok 1 - first")
        running.send(number)
        result = running.result()

    assert result.code == 1
    assert result.document.verdicts == verdicts
    if verdicts == ALL:
        # There is nothing to bail out of any more, but what was asked for was not all done.
        assert result.document.bail_out is None
        assert f"Note: interrupted by {number.name}" in result.document.comments
    else:
        assert result.document.bail_out == f"interrupted by {number.name}"
    broken = [point.values for point in result.document.points if not point.ok]
    assert all(values["received"] == f"interrupted by {number.name}" for values in broken)
    assert all(isinstance(values["duration_ms"], int) for values in broken)


def judge(silent: socket.socket, *arguments: str, **more: object) -> Watched:
    """The command, against a relay that never answers."""
    url = f"moqt://127.0.0.1:{silent.getsockname()[1]}"
    return Watched([*ENTRYPOINT, "-r", url, *arguments], Path("/"), **more)  # type: ignore[arg-type]


def test_the_command_before_it_runs_anything(silent: socket.socket) -> None:
    """A signal as soon as there is somebody to take it: the first case fails, none was tried."""
    silent.setblocking(False)
    with judge(silent) as running:
        wait_for(lambda: catches(running.pid, TERM) or running.process.poll() is not None, "a handler")
        running.send(TERM)
        result = running.result()

    assert result.code == 1
    assert result.document.verdicts == [("setup-only", "not ok")]
    assert result.document.bail_out == "interrupted by SIGTERM"
    with pytest.raises(BlockingIOError):
        silent.recv(2048)


@pytest.mark.parametrize(
    ("jobs", "group"), [([], False), (["-n", "2"], True)], ids=["main process", "whole group with workers"]
)
def test_the_command_in_its_first_case(silent: socket.socket, jobs: list[str], group: bool) -> None:
    """A signal to the command alone, or to all its processes, as a terminal sends it."""
    with judge(silent, *jobs) as running:
        silent.recv(2048)
        if group:
            running.send_all(INT)
        else:
            running.send(HUP)
        workers = children(running.pid)
        result = running.result()

    assert result.code == 1
    assert result.document.verdicts == [("setup-only", "not ok")]
    assert result.document.bail_out == f"interrupted by {'SIGINT' if group else 'SIGHUP'}"
    assert result.stderr == f"moq-test-client: {result.document.bail_out}\n"
    wait_for(lambda: not any(map(alive, workers)), "the workers are gone", WORKERS_GONE)


STUBBORN = """
def test_first(): pass
def test_stubborn():
    open("reached", "w").close()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            open("refused", "w").close()
"""


def test_a_second_signal_ends_what_the_first_could_not(project: Project) -> None:
    """The document is whole after the first; with the second nobody waits any longer."""
    project.write("test_toy.py", STUBBORN)
    with Watched(project.command("--tap14"), project.path) as running:
        running.wait_for_file(project.path / "reached")
        running.send(TERM)
        running.read_until("Bail out!")
        running.wait_for_file(project.path / "refused")
        began = time.monotonic()
        running.send(INT)
        result = running.result()

    assert result.code == 1
    assert time.monotonic() - began < reporter.EXIT_SECONDS
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok"]
    assert result.document.bail_out == "interrupted by SIGTERM"


def test_a_test_that_swallows_the_only_signal(project: Project) -> None:
    """The run ends some seconds later, without a second one."""
    project.write("test_toy.py", STUBBORN)
    with Watched(project.command("--tap14"), project.path) as running:
        running.wait_for_file(project.path / "reached")
        running.send(HUP)
        result = running.result()

    assert result.code == 1
    assert result.document.bail_out == "interrupted by SIGHUP"


def test_many_signals_at_once(silent: socket.socket) -> None:
    """Each is taken while another is being dealt with: there is one end, and it is whole."""
    with judge(silent) as running:
        silent.recv(2048)
        for _ in range(20):
            running.send(TERM)
            running.send(INT)
        result = running.result()

    assert result.code == 1
    assert result.document.verdicts == [("setup-only", "not ok")]
    assert result.document.bail_out in ("interrupted by SIGTERM", "interrupted by SIGINT")


@pytest.mark.parametrize("number", [HUP, INT])
def test_an_ignored_signal_stays_ignored(project: Project, number: signal.Signals) -> None:
    """As with nohup, and for a script's jobs in the background; the command and the plugin alike."""
    project.write("conftest.py", CONFTEST.replace("time.sleep(60)", "open('more').close()"))
    project.write("test_toy.py", THREE)
    os.mkfifo(project.path / "more")
    command = project.command("--relay", URL, "--tap14")
    with Watched(command, project.path, {"STAGE": "setup"}, ignoring=number) as running:
        running.wait_for_file(project.path / "reached")
        running.send(number)
        # The open ends when both ends are there.
        (project.path / "more").open("w").close()
        result = running.result()

    assert result.code == 0, result.stderr
    assert result.document.verdicts == ALL


def test_the_command_ignores_what_it_was_started_ignoring() -> None:
    """SIGHUP in the middle of a run under nohup."""
    command = [*ENTRYPOINT, "-r", "embedded", "-t", "setup-only", "-t", "rendezvous-timeout"]
    with Watched(command, Path("/"), ignoring=HUP) as running:
        running.read_until("ok 1 - setup-only")
        running.send(HUP)
        result = running.result()

    assert result.code == 0, result.stdout
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "ok"]


# ---- worker processes ------------------------------------------------------------------------------

# pytest-xdist gives each of four workers two of these to begin with: those with odd numbers meet.
EIGHT = """
def case(name):
    @pytest.mark.interop(name, timeout=60)
    async def test(relay):
        async with relay.connect(): pass
        if int(name[-1]) % 2:
            with open(name + ".new", "w") as file: file.write(str(os.getpid()))
            os.rename(name + ".new", name)
            while not os.path.exists("go"):
                await asyncio.sleep(0.01)
    return test
for n in range(1, 9):
    globals()[f"test_{n}"] = case(f"case-{n}")
"""


def test_workers_that_are_killed_in_the_middle_of_a_case(project: Project) -> None:
    """Their cases fail for that reason, and it is nobody else's business."""
    project.write("test_toy.py", EIGHT)
    with Watched(project.command("--relay", URL, "--tap14", "-n", "4"), project.path) as running:
        for n in (1, 3, 5, 7):
            running.wait_for_file(project.path / f"case-{n}")
        for name, number in (("case-3", KILL), ("case-5", TERM)):
            os.kill(int((project.path / name).read_text()), number)
        (project.path / "go").touch()
        result = running.result()

    document = result.document
    assert result.code == 1
    assert document.bail_out is None
    assert document.plan == 8
    assert {name for name, verdict in document.verdicts if verdict == "not ok"} == {"case-3", "case-5"}
    for name in ("case-3", "case-5"):
        values = document[name].values
        assert (values["cause"], values["received"]) == ("internal", "the end of the worker process")
        assert isinstance(values["duration_ms"], int)


def test_a_worker_of_the_command_is_killed(silent: socket.socket) -> None:
    """The case that it had begun fails for that reason, or the run ends for another; none of them passes."""
    with judge(silent, "-n", "4") as running:
        _, (_, port) = silent.recvfrom(2048)
        worker = wait_for(lambda: owner_of_port(port, children(running.pid)), "the owner of the socket")
        os.kill(worker, KILL)
        result = running.result()

    assert result.code == 1
    assert result.document.plan == len(catalog.CATALOG)
    assert result.document.bail_out is not None
    assert {point.ok for point in result.document.points} == {False}
    assert "the end of the worker process" in {point.values["received"] for point in result.document.points}


@pytest.mark.parametrize("arguments", [[], ["--max-worker-restart=0"]], ids=["restarted", "given up"])
def test_every_worker_dies(project: Project, arguments: list[str]) -> None:
    """Each case is lost, or the run is: every planned point fails or is missing behind a bail-out."""
    project.write(
        "test_toy.py",
        "import signal\n"
        "@pytest.mark.parametrize('n', range(2))\n"
        "def test_deadly(n): os.kill(os.getpid(), signal.SIGKILL)\n",
    )

    with Watched(project.command("--tap14", "-n", "1", *arguments), project.path) as running:
        result = running.result()

    assert result.code == 1
    assert result.document.plan == 2
    assert {point.ok for point in result.document.points} == {False}
    if arguments:
        assert result.document.bail_out is not None
    else:
        assert len(result.document.points) == 2


def test_a_worker_that_dies_before_there_is_a_plan(project: Project) -> None:
    """Nothing was judged, and nothing passes: another worker does it, or the run bails out."""
    project.write(
        "conftest.py",
        CONFTEST.replace("time.sleep(60)", "time.sleep(0.01) if os.path.exists('go') else time.sleep(60)"),
    )
    project.write("test_toy.py", THREE)
    command = project.command("--relay", URL, "--tap14", "-n", "1")
    with Watched(command, project.path, {"STAGE": "collecting"}) as running:
        running.wait_for_file(project.path / "reached")
        (project.path / "go").touch()
        for worker in children(running.pid):
            os.kill(worker, KILL)
        result = running.result()

    if result.document.bail_out is None:
        assert (result.code, result.document.verdicts) == (0, ALL)
    else:
        assert result.code == 1
        assert {point.ok for point in result.document.points} == {False}


# ---- those who started it, and those who read it ---------------------------------------------------


def test_workers_do_not_outlive_the_main_process(project: Project) -> None:
    """Killed without a chance to say anything, it leaves no process behind."""
    project.write("test_toy.py", EIGHT)
    with Watched(project.command("--relay", URL, "--tap14", "-n", "2"), project.path) as running:
        running.wait_for_file(project.path / "case-1")
        workers = children(running.pid)
        running.send(KILL)
        running.process.wait()
        wait_for(lambda: not any(map(alive, workers)), "the workers are gone", WORKERS_GONE)

    assert len(workers) == 2


def test_a_run_whose_parent_dies_goes_on_to_its_end(tmp_path: Path) -> None:
    """With its output in a file there is still a reader: the document becomes complete."""
    script = f'"$@" > {tmp_path}/tap & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait'
    command = ["bash", "-c", script, "bash", *ENTRYPOINT, "-r", "embedded"]
    with Watched(command, tmp_path) as running:
        running.wait_for_file(tmp_path / "pid")
        orphan = int((tmp_path / "pid").read_text())
        running.send(KILL)
        running.process.wait()
        wait_for(lambda: not alive(orphan), "the end of the run")

    document = read((tmp_path / "tap").read_text())
    assert document.verdicts == [(name, "ok") for name in catalog.IDENTIFIERS]


@pytest.mark.parametrize("default", [False, True], ids=["ignored", "default"])
def test_a_reader_that_goes_away_between_two_points(default: bool) -> None:
    """Quietly, with code 1, and soon; SIGPIPE as the parent left it, which Python ignores in any case."""
    disposition = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL); " if default else ""
    script = f"{disposition}import sys; sys.argv[0] = 'x'; from pytest_moqt.cli import command; command()"
    with Watched([ENTRYPOINT[0], "-c", script, "-r", "embedded"], Path("/")) as running:
        running.read_until("ok 1 - setup-only")
        running.stdout.close()
        stderr = running.stderr.read().decode()
        code = running.process.wait(SECONDS)

    assert (code, stderr) == ((-signal.SIGPIPE, "") if default else (1, ""))


def test_a_reader_that_stops_reading(project: Project) -> None:
    """What cannot be written is not waited for longer than for seconds; the exit code says that it failed."""
    project.write(
        "test_toy.py",
        "@pytest.mark.parametrize('n', range(99))\n"
        "def test_long(n):\n"
        "    open('reached' if n == 20 else 'begun', 'w').close()\n"
        "    assert not [n] * 400\n",
    )
    with Watched(project.command("--tap14"), project.path) as running:
        fcntl.fcntl(running.stdout, fcntl.F_SETPIPE_SZ, 4096)
        wait_for(lambda: _blocked_in_write(running.pid), "the pipe is full")
        running.send(TERM)
        code = running.process.wait(SECONDS)
        written = running.stdout.read().decode()

    assert code == 1
    with pytest.raises(NotTap):
        read(written)


def _blocked_in_write(pid: int) -> bool:
    try:
        return bool(re.search(r"pipe_write|pipe_wait", Path(f"/proc/{pid}/wchan").read_text()))
    except OSError:
        return False
