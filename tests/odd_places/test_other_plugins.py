"""Beside pytest plugins that others wrote: whatever they do to a run, the document stays whole and true.

`make plugins` installs them in a folder that only the runs under test see. The command knows none of them;
with `pytest --tap14` each does its own work.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from toys import CHECKOUT, HERE, URL, Project, Result, environment, run
from watched import ENTRYPOINT, Watched

from pytest_moqt import catalog
from pytest_moqt.neighbours import LATE_SECONDS

PLUGINS = Path(os.environ.get("PLUGINS", CHECKOUT / ".venv-plugins")).resolve()
MOST, TAP = "most", "tap"
"The two folders: pytest-tap needs an older pytest than the others."

pytestmark = pytest.mark.skipif(
    not (PLUGINS / ".installed").exists(), reason="the plugins of others are not installed (make plugins)"
)

CASES = """
@pytest.mark.interop("first")
async def test_first(relay):
    async with relay.connect(): pass
@pytest.mark.interop("second", timeout=30)
async def test_second(relay):
    async with relay.connect() as session:
        await session.request("x")
@pytest.mark.interop("third")
async def test_third(relay):
    async with relay.connect(): pass
"""
NAMES = ["first", "second", "third"]


def beside(folder: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which these plugins are found."""
    env = environment(given)
    env["PYTHONPATH"] = os.pathsep.join([str(PLUGINS / folder), env["PYTHONPATH"]])
    return env


def tap(
    project: Project, *arguments: str, folder: str = MOST, env: Mapping[str, str] | None = None
) -> Result:
    """Run pytest among them, in the order of the file unless a test is about that."""
    order = [] if folder == TAP or any("randomly" in word for word in arguments) else ["-p", "no:randomly"]
    command = project.command("--relay", URL, "--tap14", *order, *arguments)
    return run(command, project.path, beside(folder, env), clean_env=False)


@pytest.fixture
def three(project: Project) -> Project:
    """A project of three cases; the second asks the relay for something."""
    project.write("test_toy.py", CASES)
    return project


# ---- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [MOST, TAP])
def test_the_command_knows_none_of_them(folder: str) -> None:
    """Nor do its workers, whatever the variables say that those plugins read."""
    env = beside(folder, {"PYTEST_TIMEOUT": "0.001", "PYTEST_ADDOPTS": "--reruns 5 -p anyio"})

    result = run([*ENTRYPOINT, "-r", "embedded", "-n", "2"], Path("/"), env, clean_env=False)

    assert (result.code, result.stderr) == (0, "")
    assert result.document.verdicts == [(name, "ok") for name in catalog.IDENTIFIERS]


def test_pytest_with_most_of_them() -> None:
    """They are there, and the catalogue's cases pass in its order, under their names."""
    command = [sys.executable, "-m", "pytest", "interop_tests", "--relay", "embedded", "--tap14"]

    result = run(command, CHECKOUT, beside(MOST), clean_env=False)

    assert result.code == 0, result.stderr
    assert result.document.verdicts == [(name, "ok") for name in catalog.IDENTIFIERS]
    loaded = re.search(r"^plugins: (.*)$", result.stderr, re.MULTILINE)
    assert loaded is not None
    for name in ("anyio", "randomly", "rerunfailures", "timeout", "moqt"):
        assert f"{name}-" in loaded[1]


def test_a_foreign_project_has_them_as_before(project: Project) -> None:
    """Without a relay nothing of ours stands between a project and its plugins."""
    project.write("conftest.py", "")
    project.write(
        "test_toy.py",
        """
        RUNS = []
        def test_flaky():
            RUNS.append(1)
            assert len(RUNS) == 2
        @pytest.mark.anyio
        async def test_anyio(anyio_backend_name):
            assert anyio_backend_name == "asyncio"
        @pytest.mark.flaky(reruns=0)
        def test_long(): time.sleep(60)
        """,
    )

    command = project.command("--reruns", "1", "--timeout", "1", "-p", "no:randomly")
    result = run(command, project.path, beside(MOST), clean_env=False)

    assert result.code == 1
    assert re.search(r"1 failed, 2 passed, 1 rerun", result.stdout), result.stdout
    assert "Timeout (>1.0s) from pytest-timeout" in result.stdout


# ---- pytest-rerunfailures: one point, the last verdict, the earlier attempts in its block ---------


@pytest.mark.parametrize("jobs", [[], ["-n", "1"]], ids=["one process", "a worker"])
def test_a_case_that_fails_every_time(three: Project, jobs: list[str]) -> None:
    """It is one point that is not ok, and says how often it was tried and what came each time."""
    result = tap(three, "--reruns", "2", *jobs, env={"FAKE_RELAY": "refuses"})

    assert result.code == 1
    assert result.document.verdicts == [("first", "ok"), ("second", "not ok"), ("third", "ok")]
    values = result.document["second"].values
    assert values["cause"] == "rejected"
    attempts = values["earlier_attempts"]
    assert [(attempt["status"], attempt["cause"]) for attempt in attempts] == [("fail", "rejected")] * 2
    identities = {attempt["connection_id"] for attempt in attempts} | {values["connection_id"]}
    assert len(identities) == 3
    assert "earlier_attempts" not in result.document["first"].values


FLAKY = """
TRIED = []
@pytest.mark.interop("flaky", timeout=0.5, after_sending=True)
async def test_flaky(relay):
    TRIED.append(1)
    async with relay.connect() as session:
        await asyncio.sleep(0.4)
        os.environ["FAKE_RELAY"] = "" if len(TRIED) == 3 else "silent" if len(TRIED) == 2 else "refuses"
        await session.request("x")
        await asyncio.sleep(0.3)
@pytest.mark.interop("after")
async def test_after(relay):
    async with relay.connect(): pass
"""


def test_a_case_that_passes_in_the_end(project: Project) -> None:
    """It passed, as it was asked to be judged; the report hides nothing. Each attempt has its whole time."""
    project.write("test_toy.py", FLAKY)

    result = tap(project, "--reruns", "2", "--junitxml", "report.xml")

    assert result.code == 0, result.stdout
    assert result.document.verdicts == [("flaky", "ok"), ("after", "ok")]
    attempts = result.document["flaky"].values["earlier_attempts"]
    assert [attempt["cause"] for attempt in attempts] == ["rejected", "timeout"]
    assert result.document["flaky"].values["duration_ms"] >= 700
    report = (project.path / "report.xml").read_text()
    # Of each attempt once.
    assert report.count('name="connection_id"') == 4


def test_a_flaky_case_that_is_to_fail_the_run(project: Project) -> None:
    """--fail-on-flaky makes the run fail, and the document says that no case did."""
    project.write("test_toy.py", FLAKY)

    result = tap(project, "--reruns", "2", "--fail-on-flaky")

    assert result.code == 1
    assert result.document.verdicts == [("flaky", "ok"), ("after", "ok")]
    assert "Note: no case failed, but pytest ends with 7" in result.document.comments


def test_a_relay_that_comes_while_it_is_tried_again(project: Project) -> None:
    """Only the last attempt says that no relay is there; until then nothing ends the run."""
    project.write("test_toy.py", FLAKY.replace('else "refuses"', 'else ""').replace('"silent"', '""'))
    project.write(
        "conftest.py",
        """
        import os, fake_session
        fake_session.install()
        def pytest_runtest_setup(item):
            os.environ["FAKE_RELAY"] = "" if getattr(item, "execution_count", 1) > 1 else "unreachable"
        """,
    )

    came = tap(project, "--reruns", "1")
    never = tap(project, "--reruns", "0")

    assert came.code == 0, came.stdout
    assert came.document.verdicts == [("flaky", "ok"), ("after", "ok")]
    assert came.document["flaky"].values["earlier_attempts"][0]["cause"] == "transport"
    assert never.code == 1
    assert never.document.verdicts == [("flaky", "not ok")]
    assert never.document.bail_out is not None


def test_a_case_that_dies_with_its_worker_and_is_tried_again(project: Project) -> None:
    """The death is an attempt like others."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("deadly")
        async def test_deadly(relay):
            async with relay.connect(): pass
            if not os.path.exists("died"):
                open("died", "w").close()
                os._exit(3)
        """,
    )

    result = tap(project, "--reruns", "1", "-n", "1")

    assert result.code == 0, result.stdout
    assert result.document.verdicts == [("deadly", "ok")]
    attempts = result.document["deadly"].values["earlier_attempts"]
    assert [attempt["cause"] for attempt in attempts] == ["internal"]
    assert "crashed" in attempts[0]["message"]


# ---- pytest-timeout: a limit more for a case; when it ends the process, the document comes first ----


@pytest.mark.parametrize(("method", "jobs"), [("signal", []), ("thread", []), ("thread", ["-n", "1"])])
def test_a_case_that_takes_longer_than_pytest_timeout_allows(
    three: Project, method: str, jobs: list[str]
) -> None:
    """By either method it fails as by its own limit, says what it awaited, and the next one runs."""
    result = tap(three, "--timeout=0.5", f"--timeout-method={method}", *jobs, env={"FAKE_RELAY": "silent"})

    assert result.code == 1
    assert result.document.verdicts == [("first", "ok"), ("second", "not ok"), ("third", "ok")]
    values = result.document["second"].values
    assert (values["cause"], values["received"]) == ("timeout", "timeout")
    assert values["expected"] == "REQUEST_OK or REQUEST_ERROR for request 0"
    assert "the 500 ms of pytest-timeout" in values["message"]
    assert 400 <= values["duration_ms"] < LATE_SECONDS * 1000


BLOCKED = """
def test_quick(): pass
def test_blocked():
    open("reached", "w").close()
    time.sleep(60)
def test_later(): pass
"""


def test_a_blocked_test_by_the_method_of_signals(project: Project) -> None:
    """It is interrupted, fails for its time, and the next one runs."""
    project.write("test_toy.py", BLOCKED)

    result = tap(project, "--timeout=0.5")

    assert result.code == 1
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok", "ok"]
    values = result.document.points[1].values
    assert (values["cause"], values["received"]) == ("timeout", "timeout")
    assert "pytest-timeout" in values["message"]


def test_a_blocked_test_by_the_method_of_threads(project: Project) -> None:
    """That one ends the process: the document is ended before, and the stacks are on standard error."""
    project.write("test_toy.py", BLOCKED)

    result = tap(project, "--timeout=0.5", "--timeout-method=thread")

    assert result.code == 1
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok"]
    values = result.document.points[1].values
    assert (values["cause"], values["received"]) == ("timeout", "timeout")
    assert values["duration_ms"] >= 400
    assert result.document.bail_out == "test_blocked: Timeout (>0.5s) from pytest-timeout."
    assert "Stack of MainThread" in result.stderr


def test_a_blocked_test_in_a_worker_by_the_method_of_threads(project: Project) -> None:
    """The process that ends is the worker: its case is lost with it, and no other."""
    project.write("test_toy.py", BLOCKED)

    result = tap(project, "--timeout=0.5", "--timeout-method=thread", "-n", "1")

    assert result.code == 1
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok", "ok"]
    assert result.document.points[1].values["received"] == "the end of the worker process"


def test_a_case_that_blocks_the_loop_by_the_method_of_threads(project: Project) -> None:
    """Its own alarm comes before pytest-timeout's thread does, so that the next case runs."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("blocks", timeout=30)
        async def test_blocks(relay): time.sleep(60)
        @pytest.mark.interop("after")
        async def test_after(relay):
            async with relay.connect(): pass
        """,
    )

    result = tap(project, "--timeout=0.5", "--timeout-method=thread")

    assert result.code == 1
    assert result.document.verdicts == [("blocks", "not ok"), ("after", "ok")]
    assert result.document["blocks"].values["cause"] == "timeout"


def test_each_attempt_has_the_time_of_pytest_timeout(three: Project) -> None:
    """Together with pytest-rerunfailures, whose attempts that plugin gives one time for all."""
    result = tap(three, "--timeout=0.5", "--reruns=1", env={"FAKE_RELAY": "silent"})

    values = result.document["second"].values
    assert result.code == 1
    assert [attempt["cause"] for attempt in values["earlier_attempts"]] == ["timeout"]
    assert values["duration_ms"] >= 400
    assert result.document["third"].ok


def test_a_signal_while_pytest_timeout_waits(project: Project) -> None:
    """Its thread does not hold up the end."""
    project.write("test_toy.py", BLOCKED)
    command = project.command("--tap14", "--timeout=50", "--timeout-method=thread", "-p", "no:randomly")
    with Watched(command, project.path, beside(MOST)) as running:
        running.wait_for_file(project.path / "reached")
        running.send_all(2)
        result = running.result()

    assert result.code == 1
    assert result.document.bail_out == "interrupted by SIGINT"


def test_the_session_of_pytest_timeout(three: Project) -> None:
    """--session-timeout stops between two cases: what is missing is so behind a bail-out that says why."""
    result = tap(three, "--session-timeout=0.01")

    assert result.code == 1
    assert result.document.bail_out is not None
    assert result.document.bail_out.startswith("session-timeout")
    assert ("first", "ok") in result.document.verdicts


# ---- pytest-randomly: the plan is the order in which the tests are run ------------------------------


def test_a_shuffled_run(project: Project) -> None:
    """Points and numbers follow the plan; the catalogue's cases keep their order among themselves."""
    cases = CASES.replace('"first"', '"setup-only"').replace('"third"', '"subscribe-error"')
    project.write("test_toy.py", cases)
    project.write("test_more.py", "@pytest.mark.parametrize('n', range(6))\ndef test_more(n): pass\n")

    orders = []
    for arguments in (["--randomly-seed=1"], ["--randomly-seed=1", "-n", "2"], ["--randomly-seed=2"]):
        result = tap(project, "-p", "randomly", *arguments)
        assert result.code == 0, result.stderr
        orders.append([name for name, _ in result.document.verdicts])

    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    for order in orders:
        assert order.index("setup-only") < order.index("subscribe-error")


def test_a_seed_makes_no_name_the_same(project: Project) -> None:
    """What keeps runs on one relay apart is not taken from the generator that pytest-randomly seeds."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("names")
        async def test_names(relay):
            open(os.environ["NAMES"], "wb").write(relay.namespace("x")[-1])
        """,
    )

    for name in ("one", "two"):
        result = tap(project, "-p", "randomly", "--randomly-seed=1", env={"NAMES": name})
        assert result.code == 0, result.stderr

    one, two = ((project.path / name).read_bytes() for name in ("one", "two"))
    assert one != two
    assert len(one) == 32


# ---- anyio: its auto mode takes no case of ours ----------------------------------------------------


def test_the_auto_mode_of_anyio(three: Project) -> None:
    """The cases keep their names and run on the loop of the run; other tests are anyio's."""
    three.write(
        "test_more.py",
        """
        @pytest.fixture
        def anyio_backend(): return "asyncio"
        async def test_theirs(anyio_backend_name): assert anyio_backend_name == "asyncio"
        """,
    )

    result = tap(three, "--anyio-mode=auto")

    assert result.code == 0, result.stderr
    assert sorted(name for name, _ in result.document.verdicts) == sorted(
        [*NAMES, "test_more.py::test_theirs"]
    )


def test_a_case_that_is_marked_for_anyio(three: Project) -> None:
    """It cannot run on two loops, which is said before anything runs."""
    three.write("test_toy.py", "pytestmark = pytest.mark.anyio\n" + CASES)

    result = tap(three)

    assert (result.code, result.stdout) == (4, "")
    assert "is marked anyio" in result.stderr


# ---- pytest-tap: one document on standard output ---------------------------------------------------


def test_both_documents_at_once_are_refused(three: Project) -> None:
    """Two writers of TAP would be counted twice."""
    result = tap(three, "--tap", folder=TAP)

    assert (result.code, result.stdout) == (4, "")
    assert "--tap14 and pytest-tap's --tap" in result.stderr


def test_the_files_of_pytest_tap(three: Project) -> None:
    """They stand in nobody's way."""
    result = tap(three, "--tap-combined", "--tap-outdir=out", folder=TAP, env={"FAKE_RELAY": "refuses"})

    assert result.code == 1
    assert result.document.verdicts == [("first", "ok"), ("second", "not ok"), ("third", "ok")]
    theirs = (three.path / "out" / "testresults.tap").read_text()
    assert re.findall(r"^(ok|not ok) \d+ \S*::(\S+)$", theirs, re.MULTILINE) == [
        ("ok", "first"),
        ("not ok", "second"),
        ("ok", "third"),
    ]


def test_a_relay_judged_in_the_words_of_pytest_tap(three: Project) -> None:
    """Without --tap14 its document is the only one."""
    command = three.command("--relay", URL, "--tap")

    result = run(command, three.path, beside(TAP), clean_env=False)

    assert result.code == 0, result.stderr
    assert re.findall(r"^ok \d+ \S*::(\S+)$", result.stdout, re.MULTILINE) == NAMES
    assert HERE.name not in result.stdout
