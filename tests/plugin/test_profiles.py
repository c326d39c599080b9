"""Cases in profiles: which are collected, which run, what is required, and what a report says of a skip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toys import CHECKOUT, Project, environment

from pytest_moqt import catalog
from pytest_moqt.plugin import asserted

QUIC = [case.identifier for case in catalog.QUIC]

COLLECTING = """
import sys, pytest

class Collect:
    def pytest_collection_finish(self, session):
        self.items = session.items

collect = Collect()
code = pytest.main(["--collect-only", "-q", "-p", "pytest_moqt.plugin", *sys.argv[1:]], plugins=[collect])
assert code in (0, 5), code
print("names:", *(item.name for item in collect.items))
print("modules:", *sorted(name for name in sys.modules if name.startswith("interop_tests.")))
"""


def collected(*arguments: str, cwd: Path = CHECKOUT) -> tuple[list[str], list[str]]:
    """The names of what pytest collects, and the modules of cases that it imported for that."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTING, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines() if line.startswith(("names", "mod")))
    return lines["names"].split(), lines["modules"].split()


def test_by_default_the_catalogue_is_collected_and_nothing_else_is_imported() -> None:
    """The folder of a profile costs nothing that nobody asked for."""
    names, modules = collected("interop_tests")

    assert names == list(catalog.IDENTIFIERS)
    assert [module for module in modules if "quic" in module] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["interop_tests", "--profile", "quic"],
        ["interop_tests", "-m", "quic"],
        ["interop_tests", "-k", "quic"],
        ["interop_tests/quic"],
        ["--pyargs", "interop_tests.quic"],
    ],
    ids=["profile", "mark", "keyword", "path", "module"],
)
def test_a_profile_is_chosen(arguments: list[str]) -> None:
    """By its name, its mark or its folder; in the order of the list."""
    names, _ = collected(*arguments)

    assert names == QUIC


@pytest.mark.parametrize("arguments", [["-k", "not fetch"], ["-m", "not must"]], ids=["keyword", "mark"])
def test_what_is_not_to_run_chooses_nothing(arguments: list[str]) -> None:
    """A profile or level behind `not` is none that was asked for."""
    names, _ = collected("interop_tests", *arguments)

    assert names == list(catalog.IDENTIFIERS)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("quic or fetch and data", {"quic", "fetch", "data"}),
        ("not fetch and data", {"data"}),
        ("not (fetch or not data) or not not quic", {"data", "quic"}),
        ("(not fetch) and not (data)", set()),
        ("interop and not (must", {"interop"}),
    ],
)
def test_words_that_are_to_hold(expression: str, words: set[str]) -> None:
    """Each `not` turns what stands behind it around, a word or a group."""
    assert asserted(expression) == words


SOAK = [case.identifier for case in catalog.conformance() if case.profile == catalog.SOAK]


@pytest.mark.parametrize(
    "arguments",
    [
        ["interop_tests", "--profile", "soak"],
        ["interop_tests", "-m", "soak"],
        ["interop_tests", "-k", "soak"],
        ["interop_tests/conformance/test_soak.py"],
        ["interop_tests/conformance/test_soak.py::soak-idle-session", "--relay", "moqt://relay.example"],
        ["--pyargs", "interop_tests.conformance.test_soak"],
    ],
    ids=["profile", "mark", "keyword", "module", "node", "dotted"],
)
def test_a_case_that_takes_minutes_is_chosen_by_name(arguments: list[str]) -> None:
    """By its profile, by its own name, or by its module's."""
    assert collected(*arguments)[0] == SOAK


@pytest.mark.parametrize(
    "arguments",
    [
        ["interop_tests/conformance"],
        ["interop_tests", "--profile", "all,robustness"],
        ["interop_tests", "--level", "may"],
        ["interop_tests", "-m", "may"],
        ["interop_tests", "-k", "conformance"],
    ],
    ids=["folder", "profiles", "level", "mark", "keyword"],
)
def test_a_case_that_takes_minutes_is_chosen_by_nothing_else(arguments: list[str]) -> None:
    """Others of the suite are."""
    names, _ = collected(*arguments)

    assert names
    assert set(names).isdisjoint(SOAK)


def test_a_soak_has_its_silence_beside_its_time(project: Project) -> None:
    """Its limit follows `--soak`, and so does what it is told."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("soak-toy", timeout=0.3, profile="soak")
        async def test_toy(relay):
            relay.measured["silent_s"] = relay.soak_seconds
            async with relay.connect():
                await asyncio.sleep(0.4)
        """,
    )

    short, long = (project.tap("--profile", "soak", "--soak", seconds) for seconds in ("0.01", "9"))

    assert short.document["soak-toy"].values["message"].startswith("no end within 310 ms")
    assert (long.document["soak-toy"].ok, long.code) == (True, 0)
    assert long.document["soak-toy"].values["measured"] == {"silent_s": 9.0}


def test_a_case_of_a_profile_is_chosen_by_its_node_id() -> None:
    """Like any other test."""
    names, _ = collected("interop_tests/quic/test_versions.py::quic-v2", "--relay", "moqt://relay.example")

    assert names == ["quic-v2"]


def test_a_relative_path_counts_from_where_pytest_was_started() -> None:
    """Inside the folder too."""
    assert collected("quic", cwd=CHECKOUT / "interop_tests")[0] == QUIC
    assert collected(".", cwd=CHECKOUT / "interop_tests" / "quic")[0] == QUIC


def test_several_profiles_are_taken_together() -> None:
    """Those of the catalogue first."""
    names, _ = collected("interop_tests", "--profile", "quic,catalogue")

    assert names == [*catalog.IDENTIFIERS, *QUIC]


def test_a_folder_of_the_same_name_elsewhere_is_nobodys_profile(tmp_path: Path) -> None:
    """Only the one beside the catalogue's cases is left out."""
    (tmp_path / "quic").mkdir()
    (tmp_path / "quic" / "test_theirs.py").write_text("def test_theirs(): pass\n")

    assert collected(str(tmp_path), "--rootdir", str(tmp_path))[0] == ["test_theirs"]


def test_the_list_of_quic_and_what_pytest_collects_are_equal() -> None:
    """Names, limits, sections and places of the static list are those of the tests."""
    script = """
import pytest

class Collect:
    def pytest_collection_finish(self, session):
        self.items = session.items

collect = Collect()
arguments = ["--collect-only", "-q", "-p", "pytest_moqt.plugin", "interop_tests/quic"]
assert pytest.main(arguments, plugins=[collect]) == 0
from pytest_moqt import catalog
from pytest_moqt.plugin import CASE
for item, case in zip(collect.items, catalog.QUIC, strict=True):
    known = item.stash[CASE]
    assert item.name == known.identifier == case.identifier
    assert (f"quic/{item.path.stem}", item.function.__name__) == (case.module, case.function), case
    assert (known.limit.seconds, known.known.after_sending) == (case.seconds, case.after_sending), case
    told = known.known
    assert (told.since, told.revision, told.profile) == (case.since, case.revision, case.profile), case
    assert tuple(known.anchors) == case.anchors, case
    assert item.function.__doc__
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, env=environment(), capture_output=True, check=False
    )

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "quick"], "--profile is 'quick': use catalogue, all, core, session"),
        (["--require", "quic-v3"], "--require is 'quic-v3': no case is called that"),
        (["--retry-relay", "relay"], "--retry-relay: relay URL 'relay' has no scheme"),
        (["--soak", "0"], "--soak is '0': use a number of seconds above 0"),
    ],
    ids=["profile", "require", "retry-relay", "soak"],
)
def test_what_cannot_be_used_is_said(project: Project, arguments: list[str], sentence: str) -> None:
    """By pytest's own error for usage."""
    project.write("test_toy.py", "@pytest.mark.interop('mine')\nasync def test_mine(relay): pass\n")

    result = project.pytest("--relay", "moqt://relay.example", *arguments)

    assert result.code == 4
    assert sentence in result.stderr


SKIPPING = """
@pytest.mark.interop("no-tea", profile="quic")
@pytest.mark.spec("rfc2324#2.3.2")
async def test_no_tea(relay):
    relay.measured["cups"] = 0
    relay.not_offered("teapot", "the relay brews coffee alone")

@pytest.mark.interop("setup-only")
async def test_setup_only(relay): pass
"""


def test_a_skip_has_a_reason_for_machines_and_one_for_people(project: Project) -> None:
    """Both in the directive, the first alone in the block."""
    project.write("test_toy.py", SKIPPING)

    result = project.tap()

    point = result.document["no-tea"]
    assert (point.ok, point.directive) == (True, "SKIP")
    assert point.reason == "teapot: the relay brews coffee alone"
    assert point.values["skip"] == "teapot"
    assert point.values["measured"] == {"cups": 0}
    assert result.code == 0


@pytest.mark.parametrize("pattern", ["no-tea", "no-*", "setup-only,no-tea"])
def test_what_is_required_fails_instead_of_being_skipped(project: Project, pattern: str) -> None:
    """With the reason, and the sections that the case cites."""
    project.write("test_toy.py", SKIPPING)

    result = project.tap("--require", pattern)

    point = result.document["no-tea"]
    assert (point.ok, point.directive) == (False, "")
    assert point.values["message"] == "required, but skipped: teapot: the relay brews coffee alone"
    assert (point.values["cause"], point.values["skip"]) == ("rejected", "teapot")
    assert point.values["spec"] == "RFC 2324 section 2.3.2"
    assert point.values["spec_url"] == "https://www.rfc-editor.org/rfc/rfc2324#section-2.3.2"
    assert result.document["setup-only"].ok
    assert result.code == 1


def test_what_is_required_fails_in_ordinary_output_too(project: Project) -> None:
    """And in worker processes."""
    project.write("test_toy.py", SKIPPING)

    for more in ((), ("-n", "2")):
        result = project.pytest("--relay", "moqt://relay.example", "--require", "no-tea", *more)

        assert "1 failed, 1 passed" in result.stdout
        assert "required, but skipped: teapot" in result.stdout


@pytest.mark.parametrize("pattern", ["newer*", "newer,newer-too,no-session", "*"])
def test_what_the_draft_does_not_have_is_required_of_nobody(project: Project, pattern: str) -> None:
    """No relay could pass it, and the reason is there; known at once, or when the draft is."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("newer", since=18)
        async def test_newer(relay):
            async with relay.connect(): pass
        @pytest.mark.interop("newer-too", since=18)
        async def test_newer_too(session): pass
        @pytest.mark.interop("no-session")
        async def test_no_session(relay): relay.not_tried("carrier", "pigeons are not tried")
        """,
    )

    result = project.tap("--require", pattern, env={"FAKE_RELAY": "draft-16"})

    assert result.document.verdicts == [("newer", "SKIP"), ("newer-too", "SKIP"), ("no-session", "SKIP")]
    assert result.document["newer"].values["skip"] == "draft-lacks-it"
    assert result.document["no-session"].reason == "carrier: pigeons are not tried"
    assert result.code == 0


def test_what_is_expected_to_fail_is_not_required(project: Project) -> None:
    """A mark of the case's own says more."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.xfail(reason="known")
        @pytest.mark.interop("known-bad")
        async def test_known_bad(relay): assert False
        """,
    )

    result = project.tap("--require", "known-bad")

    assert result.document.verdicts == [("known-bad", "TODO")]
    assert result.code == 0


def test_a_profile_deselects_the_tests_of_a_relay_that_are_in_none(project: Project) -> None:
    """And nothing of anybody else's."""
    project.write("test_toy.py", SKIPPING + "\ndef test_theirs(): pass\n")

    names = [name for name, _ in project.tap("--profile", "quic").document.verdicts]

    assert names == ["no-tea", "test_toy.py::test_theirs"]


def test_the_head_says_how_much_of_each_profile_was_selected(project: Project) -> None:
    """Of those that have any."""
    project.write("test_toy.py", SKIPPING.replace("no-tea", "quic-v2"))

    comments = project.tap().document.comments

    assert (
        "Cases: 1 of the catalogue's 7, 6 not selected; 1 of the profile quic's 11, 10 not selected"
        in comments
    )
