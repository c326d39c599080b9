"""Wherever a run is put: full and read-only disks, closed descriptors, settings and variables of others."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest
from strict_tap import NotTap, read
from toys import CHECKOUT, SECONDS, URL, Project, Result, environment, run

from pytest_moqt import catalog

ENTRYPOINT = [sys.executable, str(CHECKOUT / "entrypoint.py")]
QUICK = ["-r", "embedded", "-t", "setup-only"]
TWO = """
@pytest.mark.interop("first")
async def test_first(relay):
    async with relay.connect(): pass
@pytest.mark.interop("second")
async def test_second(relay):
    async with relay.connect() as session:
        await session.request("x")
"""
BOTH = [("first", "ok"), ("second", "ok")]


def shell(
    script: str, *arguments: str, cwd: Path = Path("/"), env: Mapping[str, str] | None = None
) -> Result:
    """Run a command with what bash can do to it: its words are `"$@"`."""
    return run(["bash", "-c", script, "bash", *arguments], cwd, env)


def mounted(script: str, *arguments: str, cwd: Path = Path("/")) -> Result:
    """The same, in a namespace of its own in which it may mount."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: nothing can be mounted for a test alone")
    unshare = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    probe = [*unshare, "sh", "-c", "mount -t tmpfs -o size=4k tmpfs /mnt && mount -o remount,bind,ro /"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here: nothing can be mounted for a test alone")
    return run([*unshare, "bash", "-c", script, "bash", *arguments], cwd)


@pytest.fixture
def two(project: Project) -> Project:
    """A project of two cases."""
    project.write("test_toy.py", TWO)
    return project


# ---- reports that cannot be written ----------------------------------------------------------------

FULL = "No space left on device"


def limited(command: list[str], cwd: Path, size: int) -> Result:
    """Run a command that can make no file larger than this."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        capture_output=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def check_unwritten(result: Result, verdicts: list[tuple[str, str]], sentence: str) -> None:
    """The verdicts stand, in a whole document that says what is missing; the exit code says it too."""
    assert result.code == 1
    assert result.document.verdicts == verdicts
    assert result.document.bail_out is None
    assert f"Note: {sentence}" in result.document.comments
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_a_junit_report_of_the_command_on_a_full_disk() -> None:
    """A tiny file system that the report does not fit."""
    script = 'mount -t tmpfs -o size=4k tmpfs /mnt && head -c 4096 /dev/zero > /mnt/full; "$@"'

    result = mounted(script, *ENTRYPOINT, *QUICK, "--junit-xml", "/mnt/report.xml")

    check_unwritten(result, [("setup-only", "ok")], f"a report cannot be written to /mnt/report.xml: {FULL}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("jobs", [[], ["-n", "1"]], ids=["one process", "a worker"])
def test_a_junit_report_of_pytest_on_a_full_disk(two: Project, jobs: list[str]) -> None:
    """The device that is always full; pytest's summary is still there."""
    result = two.tap("--junitxml", "/dev/full", *jobs)

    check_unwritten(result, BOTH, f"a report cannot be written to /dev/full: {FULL}")
    assert "2 passed" in result.stderr


@pytest.mark.parametrize("command", [True, False], ids=["command", "pytest"])
def test_a_junit_report_beyond_the_limit_of_a_file(two: Project, command: bool) -> None:
    """What a quota does; the half of a report that is there can be taken for no whole one."""
    words = (
        [*ENTRYPOINT, *QUICK, "--junit-xml"]
        if command
        else two.command("--relay", URL, "--tap14", "--junitxml")
    )

    result = limited([*words, "report.xml"], two.path, 100)

    path = two.path / "report.xml"
    verdicts = [("setup-only", "ok")] if command else BOTH
    named = path if command else "report.xml"
    check_unwritten(result, verdicts, f"a report cannot be written to {named}: File too large")
    with pytest.raises(ET.ParseError):
        ET.parse(path)


def test_a_failure_is_said_beside_a_report_that_cannot_be_written(two: Project) -> None:
    """The code is that of the failed case in any case, and the points are all there."""
    result = two.tap("--junitxml", "/dev/full", env={"FAKE_RELAY": "refuses"})

    check_unwritten(
        result, [BOTH[0], ("second", "not ok")], f"a report cannot be written to /dev/full: {FULL}"
    )


def test_a_document_that_does_not_fit(tmp_path: Path) -> None:
    """It is cut where the room ends, which a strict reader sees; the rest is one sentence and code 1."""
    result = shell('ulimit -f 1; exec "$@" > tap', *ENTRYPOINT, "-r", "embedded", cwd=tmp_path)

    assert result.code == 1
    assert result.stderr == "moq-test-client: standard output cannot be written to: File too large\n"
    assert (tmp_path / "tap").stat().st_size == 1024
    with pytest.raises(NotTap):
        read((tmp_path / "tap").read_text())


@pytest.mark.parametrize("command", [True, False], ids=["command", "pytest"])
def test_a_file_system_that_can_only_be_read(command: bool) -> None:
    """The root and all that is mounted for files: nothing is written, and nothing missed."""
    script = """
        for point in /tmp /var/tmp /dev/shm; do
            mount --bind $point $point && mount -o remount,bind,ro $point || exit 9
        done
        mount -o remount,bind,ro / && cd "$1" && shift && ! touch x 2>/dev/null && exec "$@"
    """
    words = [sys.executable, "-m", "pytest", "interop_tests", "--relay", "embedded", "--tap14"]
    # pytest captures in files otherwise.
    words += ["--capture=sys", "-k", "setup-only"]

    result = mounted(script, str(CHECKOUT), *([*ENTRYPOINT, *QUICK] if command else words))

    assert result.code == 0, result.stdout + result.stderr
    assert result.document.verdicts == [("setup-only", "ok")]


# ---- descriptors, homes, hashes --------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_standard_descriptors_that_are_closed(closed: str) -> None:
    """The document is where it belongs, whatever number another file would get."""
    result = shell(f'"$@" {closed}', *ENTRYPOINT, *QUICK)

    assert result.code == 0
    assert result.document.verdicts == [("setup-only", "ok")]


def test_workers_with_standard_descriptors_that_are_closed() -> None:
    """They inherit what stands in for those."""
    result = shell('"$@" <&- 2>&-', *ENTRYPOINT, *QUICK, "-n", "2")

    assert (result.code, result.document.verdicts) == (0, [("setup-only", "ok")])


def test_pytest_without_standard_input(two: Project) -> None:
    """The same for --tap14."""
    result = shell('"$@" <&-', *two.command("--relay", URL, "--tap14"), cwd=two.path)

    assert (result.code, result.document.verdicts) == (0, BOTH)


def test_pytest_without_standard_output(two: Project) -> None:
    """There is nowhere for the document, which is said."""
    result = shell('"$@" >&-', *two.command("--relay", URL, "--tap14"), cwd=two.path)

    assert result.code != 0
    assert "--tap14 writes to standard output, which is closed" in result.stderr


def test_pytest_onto_a_full_disk(two: Project) -> None:
    """The run is not finished for nobody; no traceback."""
    result = shell('"$@" >/dev/full', *two.command("--relay", URL, "--tap14"), cwd=two.path)

    assert result.code == 1
    assert "standard output cannot be written to" in result.stderr
    assert "Traceback" not in result.stderr
    assert "INTERNALERROR" not in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_pytest_without_a_home_as_nobody_in_particular(two: Project) -> None:
    """A user without a name and a home, in a folder that belongs to somebody else."""
    for path in (two.path, *two.path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)

    def become() -> None:
        os.setgid(65534)
        os.setuid(54321)

    env = {name: value for name, value in environment().items() if name not in ("HOME", "USER", "LOGNAME")}
    try:
        done = subprocess.run(
            two.command("--relay", URL, "--tap14"),
            cwd=two.path,
            env=env,
            capture_output=True,
            timeout=SECONDS,
            preexec_fn=become,
            check=False,
        )
    except PermissionError:
        pytest.skip("the interpreter of this environment is for its owner only")
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    assert result.code == 0, result.stderr
    assert result.document.verdicts == BOTH


def timeless(text: str) -> str:
    """A document without what differs between any two runs: times, ids and the port of the embedded relay."""
    text = re.sub(r"\b[0-9a-f]{16,}\b", "ID", text)
    text = re.sub(r"(?<=duration_ms: )\d+", "MS", text)
    text = re.sub(r"\b\d+(\.\d+)? ms\b", "MS", text)
    return re.sub(r"(?<=127\.0\.0\.1:)\d+", "PORT", text)


def test_the_order_of_hashes_is_in_no_document(two: Project) -> None:
    """Byte for byte the same for several seeds, but for times and ids; of a red run and a green one."""
    seeds = ("0", "1", "4711")

    green = [run([*ENTRYPOINT, "-r", "embedded"], Path("/"), {"PYTHONHASHSEED": seed}) for seed in seeds]
    told = "refuses deviates remarks"
    red = [two.tap(env={"PYTHONHASHSEED": seed, "FAKE_RELAY": told}) for seed in seeds]

    assert [result.code for result in green + red] == [0, 0, 0, 1, 1, 1]
    assert green[0].document.plan == len(catalog.CATALOG)
    assert not red[0].document["second"].ok
    for results in (green, red):
        assert len({timeless(result.stdout) for result in results}) == 1


# ---- variables of Python's -------------------------------------------------------------------------

PYTHON = {
    "PYTHONWARNINGS": "error",
    "PYTHONDEVMODE": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii:strict",
    "LC_ALL": "C",
    "COLUMNS": "1",
    "TERM": "",
    "TMPDIR": "/no/such",
    "TZ": "Nowhere/Land",
}


def test_the_command_with_variables_of_python() -> None:
    """All at once: the document is the same as ever, and standard error is empty."""
    result = run([*ENTRYPOINT, *QUICK], Path("/"), PYTHON)

    assert (result.code, result.document.verdicts) == (0, [("setup-only", "ok")])
    assert result.stderr == ""


def test_assertions_hold_without_those_of_python(two: Project) -> None:
    """`python -O` takes no verdict away: pytest's assertions are its own. If not, nothing runs."""
    two.write("test_toy.py", "@pytest.mark.interop('false')\nasync def test_false(relay): assert 1 == 2\n")

    rewritten = two.tap(env={"PYTHONOPTIMIZE": "1"})
    plain = two.tap("--assert=plain", env={"PYTHONOPTIMIZE": "1"})

    assert rewritten.document.verdicts == [("false", "not ok")]
    assert (plain.code, plain.stdout) == (4, "")
    assert "a case could not fail" in plain.stderr


def test_variables_that_a_run_around_this_one_left(two: Project) -> None:
    """Started by a test that runs in a worker of pytest-xdist itself."""
    env = {"PYTEST_XDIST_WORKER": "gw0", "PYTEST_XDIST_WORKER_COUNT": "2", "PYTEST_CURRENT_TEST": "x (call)"}

    result = two.tap("-s", env=env)

    assert (result.code, result.document.verdicts) == (0, BOTH)


# ---- settings of others ----------------------------------------------------------------------------

HOSTILE_CONFTEST = "import os\nprint('ok 66 - printed')\nos.write(1, b'ok 67 - written\\n')\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\naddopts = -v --color=yes -s --durations=3 -rA --tb=long -l --full-trace\n"),
        ("pytest.ini", "[pytest]\naddopts = -q -q --tb=no --capture=tee-sys -p no:terminal -x --maxfail=1\n"),
        ("tox.ini", "[pytest]\nasyncio_mode = strict\nasyncio_debug = true\naddopts = -n 1 --assert=plain\n"),
        (
            "setup.cfg",
            "[tool:pytest]\naddopts = --import-mode=importlib --strict-markers --doctest-modules\n",
        ),
        ("conftest.py", HOSTILE_CONFTEST),
        (
            "pyproject.toml",
            '[tool.pytest.ini_options]\nasyncio_default_test_loop_scope = "function"\nlog_cli = true\n'
            'log_cli_level = "DEBUG"\njunit_family = "xunit1"\nxfail_strict = true\n',
        ),
    ],
)
def test_settings_in_a_parent_directory(tmp_path: Path, name: str, text: str) -> None:
    """They are pytest's to follow, for the cases as for any test: the document is whole and the same."""
    tmp_path.joinpath(name).write_text(text)
    project = below(tmp_path)

    result = project.tap()

    assert result.code == 0, result.stdout + result.stderr
    assert result.document.verdicts == BOTH


def below(parent: Path) -> Project:
    """A project of two cases further down."""
    folder = parent / "some" / "where"
    folder.mkdir(parents=True)
    project = Project(folder)
    project.write("test_toy.py", TWO)
    return project


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("pytest.ini", "[pytest\naddopts = -v\n", "pytest.ini"),
        ("pytest.ini", "[pytest]\naddopts = --nonsense\n", "--nonsense"),
        ("pytest.ini", "[pytest]\nminversion = 99\n", "99"),
        ("pytest.ini", "[pytest]\nasyncio_mode = sometimes\n", "asyncio_mode"),
        ("pyproject.toml", "[tool.pytest.ini_options\n", "pyproject.toml"),
        ("tox.ini", "[pytest]\naddopts = '\n", "quotation"),
        ("setup.cfg", "[tool:pytest]\nno equals sign\n", "setup.cfg"),
        ("conftest.py", "raise RuntimeError('a stray conftest')\n", "a stray conftest"),
        ("pytest.ini", "[pytest]\naddopts = -p no:asyncio\n", "pytest-asyncio"),
        # What pytest-asyncio warns of; it says itself what to write there.
        ("pytest.ini", "[pytest]\nfilterwarnings = error\n", "asyncio_default_fixture_loop_scope"),
    ],
)
def test_settings_in_a_parent_directory_that_cannot_be_used(
    tmp_path: Path, name: str, text: str, named: str
) -> None:
    """Nothing runs, and nothing is on standard output that somebody could count; the problem is named."""
    tmp_path.joinpath(name).write_text(text)
    if name == "conftest.py":
        # What makes it a parent of the same project, and not of another one.
        tmp_path.joinpath("pytest.ini").write_text("[pytest]\n")
    project = below(tmp_path)

    result = project.tap()

    assert result.code != 0
    assert result.stdout == ""
    assert named in result.stderr


def test_the_command_below_settings_of_others(tmp_path: Path) -> None:
    """None of them has a say, in the working directory's parents either, nor has a worker's."""
    for name, text in {
        "pytest.ini": "[pytest\naddopts = --nonsense\n",
        "pyproject.toml": "not toml [",
        "tox.ini": "[pytest]\naddopts = -p no:moqt -p no:asyncio\nfilterwarnings = error\n",
        "setup.cfg": "[tool:pytest]\nasyncio_mode = never\n",
        "conftest.py": "raise RuntimeError('a stray conftest')\n",
        "sitecustomize.py": "raise RuntimeError('not on the path')\n",
    }.items():
        tmp_path.joinpath(name).write_text(text)
    folder = tmp_path / "some" / "where"
    folder.mkdir(parents=True)
    env = {
        "PYTEST_ADDOPTS": "--collect-only",
        "PYTEST_PLUGINS": "no_such_plugin",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "",
        "PYTEST_DEBUG": "1",
        "PYTEST_TIMEOUT": "0.001",
        "PYTEST_XDIST_AUTO_NUM_WORKERS": "many",
        "PYTEST_XDIST_WORKER": "gw7",
    }

    result = run([*ENTRYPOINT, *QUICK, "-n", "1"], folder, env)

    assert (result.code, result.stderr) == (0, "")
    assert result.document.verdicts == [("setup-only", "ok")]


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"PYTEST_ADDOPTS": f"--tap14 --relay={URL} -k first"}, 0),
        ({"PYTEST_ADDOPTS": f"--tap14 --relay={URL} --deselect test_toy.py"}, 5),
        ({"PYTEST_ADDOPTS": f"--tap14 --relay={URL} --nonsense"}, 4),
        ({"PYTEST_PLUGINS": "no_such_plugin", "PYTEST_ADDOPTS": f"--tap14 --relay={URL}"}, None),
        ({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": f"--tap14 --relay={URL}"}, 4),
        (
            {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": f"--tap14 --relay={URL} -p pytest_asyncio.plugin",
            },
            0,
        ),
    ],
)
def test_variables_of_pytest(two: Project, env: dict[str, str], code: int | None) -> None:
    """They are pytest's to follow too: a run by variables alone, a selection, and what cannot be used."""
    result = two.pytest(env=env)

    if code is None:
        # pytest's own code for a plugin that cannot be loaded has changed before.
        assert result.code != 0
    else:
        assert result.code == code, result.stderr
    if code == 0:
        assert set(result.document.verdicts) <= set(BOTH)
        assert result.document.verdicts
    elif code == 5:
        assert result.document.plan == 0
    else:
        assert result.stdout == ""
        assert result.stderr != ""


@pytest.mark.parametrize("option", ["--setup-plan", "--setup-only", "--fixtures", "--collect-only"])
def test_what_runs_no_case_says_of_none_that_it_passed(two: Project, option: str) -> None:
    """There is no document, but what pytest was asked to show."""
    result = two.tap(option)

    assert "TAP version" not in result.stdout
    assert not re.search(r"^ *(not )?ok\b", result.stdout, re.MULTILINE)


def test_a_case_whose_run_was_left_out_is_no_pass(two: Project) -> None:
    """By a plugin that sets everything up and tears it down again, for whatever reason."""
    two.write(
        "conftest.py",
        """
        import fake_session
        fake_session.install()
        def pytest_runtest_setup(item):
            item.config.option.setuponly = item.name == "second"
        """,
    )

    result = two.tap()

    assert result.code == 1
    assert result.document.verdicts == [BOTH[0], ("second", "not ok")]
    assert result.document["second"].values["cause"] == "internal"


def test_the_cases_themselves_below_settings_of_others(tmp_path: Path) -> None:
    """A copy of the suite in somebody's project, where every warning is an error."""
    tmp_path.joinpath("pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config -v\n"
        "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    shutil.copytree(CHECKOUT / "interop_tests", tmp_path / "deep" / "interop_tests")
    command = [sys.executable, "-m", "pytest", "-p", "pytest_moqt.plugin", "deep/interop_tests"]

    result = run([*command, "--relay", "embedded", "--tap14"], tmp_path)

    assert result.code == 0, result.stdout + result.stderr
    assert result.document.verdicts == [(name, "ok") for name in catalog.IDENTIFIERS]
