"""The plugin among pytest's own features, and in projects that do not use it."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from toys import CHECKOUT, NEWEST, URL, Project, environment

TWO = """
@pytest.mark.interop("first-case")
@pytest.mark.spec("message-setup")
async def test_first_case(relay):
    async with relay.connect(): pass

@pytest.mark.interop("second-case")
async def test_second_case(relay):
    async with relay.connect("publisher") as publisher:
        await publisher.request("x")

def test_their_own(): pass
"""


def test_an_ordinary_run_names_the_cases(project: Project) -> None:
    """Cases go by their names in pytest's own report, beside other tests."""
    project.write("test_toy.py", TWO)

    result = project.pytest("--relay", URL, "-v")

    assert result.code == 0, result.stdout
    assert "test_toy.py::first-case PASSED" in result.stdout
    assert "test_toy.py::test_their_own PASSED" in result.stdout
    assert f"moqt: {URL}" in result.stdout
    assert "TAP version" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["-k", "first-case"], ["first-case"]),
        (["-k", "not first-case and not their"], ["second-case"]),
        (["test_toy.py::first-case"], ["first-case"]),
        (["test_toy.py::test_first_case"], ["first-case"]),
        (["--deselect", "test_toy.py::first-case"], ["second-case", "test_their_own"]),
        (["-m", "interop"], ["first-case", "second-case"]),
    ],
)
@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_cases_are_selected_by_their_names(
    project: Project, arguments: list[str], ran: list[str], jobs: list[str]
) -> None:
    """-k, node ids as printed, node ids of the functions, --deselect and -m do what they say."""
    project.write("test_toy.py", TWO)

    result = project.pytest("--relay", URL, "-rA", "--no-header", *arguments, *jobs)

    passed = [line.partition("::")[2] for line in result.stdout.splitlines() if line.startswith("PASSED")]
    assert sorted(passed) == sorted(ran), result.stdout


def test_only_what_failed_last_is_run_again(project: Project) -> None:
    """--lf knows cases by their names."""
    project.write("test_toy.py", TWO)
    first = project.pytest("--relay", URL, env={"FAKE_RELAY": "refuses"})

    second = project.pytest("--relay", URL, "--lf", "-v")

    assert first.code == 1
    assert "test_toy.py::second-case PASSED" in second.stdout
    assert "first-case" not in second.stdout


def test_stopping_at_the_first_failure(project: Project) -> None:
    """-x ends an ordinary run as pytest does."""
    project.write("test_toy.py", TWO)

    result = project.pytest("--relay", URL, "-x", env={"FAKE_RELAY": "refuses"})

    assert result.code == 1
    assert "stopping after 1 failures" in result.stdout
    assert "cause: rejected" in result.stdout


def test_an_unreachable_relay_is_tried_once(project: Project) -> None:
    """An ordinary run stops too, and says why in the last lines."""
    project.write("test_toy.py", TWO)

    result = project.pytest("--relay", URL, env={"FAKE_RELAY": "unreachable"})

    assert result.code == 1
    assert "1 failed" in result.stdout
    assert "!! no relay answered at 127.0.0.1:1 !!" in result.stdout


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_junit_has_names_and_connection_ids(project: Project, jobs: list[str]) -> None:
    """The XML report names the cases, and carries draft, transport and connection ids as properties."""
    project.write("test_toy.py", TWO)

    project.pytest("--relay", URL, "--junitxml", "report.xml", *jobs, env={"FAKE_RELAY": "refuses"})

    cases = {case.get("name"): case for case in ET.parse(project.path / "report.xml").iter("testcase")}
    assert list(cases) == ["first-case", "second-case", "test_their_own"] or jobs
    first = {entry.get("name"): entry.get("value") for entry in cases["first-case"].iter("property")}
    second = {entry.get("name"): entry.get("value") for entry in cases["second-case"].iter("property")}
    assert first["draft"] == f"draft-{NEWEST}"
    assert first["transport"] == "quic"
    assert first["connection_id"]
    assert second["connection_id"] != first["connection_id"]
    assert cases["second-case"].find("failure") is not None


def test_cases_run_in_the_order_of_the_catalogue(project: Project) -> None:
    """The cases of the catalogue come in its order, whatever the modules' names; others stay in place."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("subscribe-error")
        async def test_1(relay): pass
        def test_between(): pass
        @pytest.mark.interop("my-own")
        async def test_2(relay): pass
        @pytest.mark.interop("setup-only")
        async def test_3(relay): pass
        """,
    )

    names = [name for name, _ in project.tap().document.verdicts]

    assert names == ["setup-only", "test_toy.py::test_between", "my-own", "subscribe-error"]


def test_the_catalogue_and_what_pytest_collects_are_equal() -> None:
    """Names, order, limits, drafts, anchors and places of the static list are those of the tests."""
    script = """
import pytest

class Collect:
    def pytest_collection_finish(self, session):
        self.items = session.items

collect = Collect()
code = pytest.main(["--collect-only", "-q", "-p", "pytest_moqt.plugin", "interop_tests"], plugins=[collect])
assert code == 0
from pytest_moqt import catalog
from pytest_moqt.plugin import CASE
found = [item for item in collect.items if item.stash[CASE].identifier]
for item, case in zip(found, catalog.CATALOG, strict=True):
    known = item.stash[CASE]
    assert item.name == known.identifier == case.identifier
    assert (item.path.stem, item.function.__name__) == (case.module, case.function), case
    assert item.function.__name__ == "test_" + case.identifier.replace("-", "_")
    assert (known.limit.seconds, known.known.after_sending) == (case.seconds, case.after_sending), case
    assert (known.known.since, known.known.revision) == (case.since, case.revision), case
    assert tuple(known.anchors) == case.anchors, case
    assert item.function.__doc__
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=environment(), capture_output=True, check=False
    )

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


# Other people's projects.

FOREIGN = """
import asyncio, sys

def test_nothing_of_ours_is_loaded():
    loaded = {name for name in sys.modules if name.startswith("pytest_moqt")}
    assert loaded <= {"pytest_moqt", "pytest_moqt.plugin", "pytest_moqt.catalog", "pytest_moqt.options"}
    assert "aioquic" not in sys.modules
    assert "yaml" not in sys.modules

@pytest.fixture
def session(): return "theirs"

def test_their_session(session): assert session == "theirs"

def test_their_loop_scope(request):
    assert not [name for name in request.fixturenames if "runner" in name]
"""


def test_a_project_that_does_not_use_it_notices_nothing(project: Project) -> None:
    """No line, no import of a QUIC stack, no changed test."""
    project.write("conftest.py", "")
    project.write("test_toy.py", FOREIGN)

    result = project.pytest("-v", fresh=True)

    assert result.code == 0, result.stdout
    for word in ("moqt:", "MoQT", "relay"):
        assert word not in result.stdout


@pytest.mark.parametrize(
    "env",
    [{"RELAY_URL": "smtp://mail.example"}, {"RELAY_URL": URL, "DRAFT": "final"}, {"SSL_CERT_FILE": "/no"}],
)
def test_a_variable_that_means_something_else_does_no_harm(project: Project, env: dict[str, str]) -> None:
    """RELAY_URL or DRAFT may be another program's: they are only read for tests of a relay."""
    project.write("conftest.py", "")
    project.write("test_toy.py", "def test_a(): pass\n")

    result = project.pytest(env=env)

    assert result.code == 0, result.stdout + result.stderr


def test_help_has_a_group_of_its_own(project: Project) -> None:
    """The options and their variables are in pytest's help, the marks in --markers."""
    text = project.pytest("--help").stdout
    _, _, group = text.partition("MoQT relays (pytest-moqt):")

    for option in (
        "--relay=URL",
        "--draft=N",
        "--transport=NAME",
        "--ca-file=PEM",
        "--tls-disable-verify",
        "--tap14",
        "--wire",
        "--subtests",
        "--fixed-names",
        "--budget=SECONDS",
    ):
        assert option in group
    for name in ("RELAY_URL", "MOQT_DRAFT", "TLS_DISABLE_VERIFY", "SSL_CERT_FILE"):
        assert name in group
    assert "@pytest.mark.interop(identifier" in project.pytest("--markers").stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--relay", "ftp://x"], "moqt://"),
        (["--relay", "moqt://x:99999"], "moqt://"),
        (["--relay", URL, "--draft", "13"], "22, 21, 20, 19, 18, 17, 16, 15, 14"),
        (["--relay", URL, "--draft", "newest"], "22, 21, 20, 19, 18, 17, 16, 15, 14"),
        (["--relay", URL, "--transport", "tcp"], "auto, quic, webtransport"),
        (["--relay", URL, "--ca-file", "/no/such/file"], "/no/such/file"),
        (["--relay", URL, "--budget", "soon"], "number of seconds"),
    ],
)
@pytest.mark.parametrize("tap", [[], ["--tap14"]], ids=["ordinary", "tap"])
def test_a_bad_value_names_the_good_ones(
    project: Project, arguments: list[str], named: str, tap: list[str]
) -> None:
    """It is a usage error of one sentence, before any test runs; stdout stays empty in TAP mode."""
    project.write("test_toy.py", TWO)

    result = project.pytest(*arguments, *tap)

    assert result.code == 4
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.strip() == ""


def test_tests_of_a_relay_without_a_relay(project: Project) -> None:
    """Nothing is skipped in silence: the way out is named. Collecting needs no relay."""
    project.write("test_toy.py", TWO)

    result = project.pytest()

    assert result.code == 4
    assert "--relay URL" in result.stderr
    assert "RELAY_URL" in result.stderr
    assert project.pytest("--collect-only", "-q").stdout.splitlines()[0] == "test_toy.py::first-case"


def test_a_fixture_of_ours_without_a_relay(project: Project) -> None:
    """A test that is not marked and asks for the relay fails with the way out."""
    project.write("test_toy.py", "def test_a(relay): pass\n")

    result = project.pytest()

    assert result.code == 1
    assert "Give --relay URL, or set RELAY_URL" in result.stdout


@pytest.mark.parametrize(
    ("env", "code"),
    [({"RELAY_URL": URL}, 0), ({"RELAY_URL": ""}, 4), ({"RELAY_URL": URL, "MOQT_DRAFT": "9"}, 4)],
)
def test_the_environment_stands_in_for_options(project: Project, env: dict[str, str], code: int) -> None:
    """RELAY_URL names the relay, an empty one does not, and a bad draft is a usage error."""
    project.write("test_toy.py", TWO)

    assert project.pytest(env=env).code == code


@pytest.mark.parametrize("identifier", ["", "Setup Only", "setup_only", "ok 1 - forged", "a--b", "a\\nb"])
def test_a_case_needs_a_name_that_can_stand_in_a_report(project: Project, identifier: str) -> None:
    """A mark whose name could be taken for something else is a usage error."""
    project.write("test_toy.py", f"@pytest.mark.interop('{identifier}')\nasync def test_a(relay): pass\n")

    result = project.pytest("--relay", URL)

    assert result.code == 4
    assert "'setup-only'" in result.stderr


def test_two_cases_of_one_name_are_refused(project: Project) -> None:
    """A name stands for one case in every report."""
    case = "@pytest.mark.interop('same')\nasync def test_{0}(relay): pass\n"
    project.write("test_toy.py", case.format("a") + case.format("b"))

    result = project.pytest("--relay", URL)

    assert result.code == 4
    assert "same" in result.stderr


def test_loading_it_twice_is_harmless(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`-p pytest_moqt.plugin` beside its entry point, as with a plugin that is installed."""
    site = tmp_path_factory.mktemp("site")
    info = site / "pytest_moqt-0.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: pytest-moqt\nVersion: 0.0\n")
    info.joinpath("entry_points.txt").write_text("[pytest11]\nmoqt = pytest_moqt.plugin\n")
    project.write("test_toy.py", TWO)
    env = environment()
    env["PYTHONPATH"] = f"{site}:{env['PYTHONPATH']}"

    plain = [sys.executable, "-m", "pytest", "--relay", URL, "-q"]
    for command in (plain, [*plain, "-p", "pytest_moqt.plugin"], [*plain, "-p", "moqt"], [*plain, "-n", "1"]):
        done = subprocess.run(command, cwd=project.path, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    project.write(
        "conftest.py",
        "import fake_session\nfake_session.install()\npytest_plugins = ['pytest_moqt.plugin']\n",
    )
    done = subprocess.run(plain, cwd=project.path, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_names_on_the_wire_are_unique_unless_fixed(project: Project) -> None:
    """A namespace gets 128 random bits in hexadecimal as its last field, for each case anew."""
    project.write(
        "test_toy.py",
        """
        import re
        SEEN = set()
        @pytest.mark.parametrize("n", [1, 2])
        @pytest.mark.interop("names")
        async def test_names(relay, n):
            namespace = relay.namespace("moq-test/interop")
            assert relay.namespace("moq-test/interop") == namespace
            assert namespace[:2] == (b"moq-test", b"interop")
            if "--fixed-names" in sys.argv:
                assert len(namespace) == 2
            else:
                assert re.fullmatch(rb"[0-9a-f]{32}", namespace[2])
                assert namespace not in SEEN
                SEEN.add(namespace)
        """,
    )

    assert project.pytest("--relay", URL).code == 0
    assert project.pytest("--relay", URL, "--fixed-names").code == 0


def test_the_draft_fixture_negotiates_when_it_must(project: Project) -> None:
    """A test can ask for the draft of the run without a session of its own."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.spec("message")
        async def test_draft(draft):
            assert draft.number == 16
        """,
    )

    assert project.pytest("--relay", URL, env={"FAKE_RELAY": "draft-16"}).code == 0


def test_the_public_names_can_be_imported() -> None:
    """Every public name is there, and importing the package alone loads next to nothing."""
    script = """
import sys
import pytest_moqt
assert not [name for name in sys.modules if name.startswith("pytest_moqt.")]
for name in dir(pytest_moqt):
    if not name.startswith("_"):
        getattr(pytest_moqt, name)
assert pytest_moqt.RequestOk.__name__ == "RequestOk"
assert pytest_moqt.__version__
try:
    pytest_moqt.Nonsense
except AttributeError:
    pass
else:
    raise SystemExit("Nonsense is there")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
