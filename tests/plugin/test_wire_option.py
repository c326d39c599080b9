"""The journals in reports: of failed tests always, of all with --wire, and never past a report's bounds."""

from __future__ import annotations

import re

import pytest
from fake_session import HOSTILE
from toys import URL, Project

from pytest_moqt import tap
from pytest_moqt.target import JOURNAL_LINES, MAX_JOURNALS, MAX_RECORDS, WIRE_LINES

CASES = """
@pytest.mark.interop("passes")
async def test_passes(relay):
    async with relay.connect("publisher"): pass

@pytest.mark.interop("fails")
async def test_fails(relay):
    async with relay.connect("subscriber") as subscriber:
        await subscriber.request("x")

def test_their_own(): pass
"""
BUSY = """
@pytest.mark.interop("busy")
async def test_busy(relay):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range({sessions}):
            session = await stack.enter_async_context(relay.connect("subscriber"))
            for number in range(60):
                session.journal.event(f"number {{number}} " + {text!r})
        assert {verdict}
"""


def busy(project: Project, sessions: int, text: str, verdict: bool) -> None:
    """A case with sessions in which much happens."""
    case = BUSY.format(sessions=sessions, text=text, verdict=verdict)
    project.write("test_toy.py", f"import contextlib\n{case}")


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_only_a_failure_has_its_journal_unless_all_are_asked_for(project: Project, jobs: list[str]) -> None:
    """With --wire every test of a relay has it, with what its teardown did."""
    project.write("test_toy.py", CASES)

    usual = project.tap(*jobs, env={"FAKE_RELAY": "refuses"}).document
    wire = project.tap("--wire", *jobs, env={"FAKE_RELAY": "refuses"}).document

    assert "journal" not in usual["passes"].values
    assert list(usual["fails"].values["journal"]) == ["subscriber"]
    assert list(wire["passes"].values["journal"]) == ["publisher"]
    assert list(wire["fails"].values["journal"]) == ["subscriber"]
    assert "journal" not in wire["test_toy.py::test_their_own"].values
    for line in wire["passes"].values["journal"]["publisher"]:
        assert re.match(r"\d+\.\d ms [-<>] ", line)


def test_a_skipped_test_has_no_journal(project: Project) -> None:
    """There was no session."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("skipped")
        async def test_skipped(relay): pytest.skip("why not")
        """,
    )

    assert "journal" not in project.tap("--wire").document["skipped"].values


def test_a_failure_shows_its_last_lines(project: Project) -> None:
    """A failure has what led to it, and says how much more there was; with --wire it has more."""
    busy(project, 1, "x", False)

    few = project.tap().document["busy"].values["journal"]["subscriber"]
    many = project.tap("--wire").document["busy"].values["journal"]["subscriber"]

    for lines, most in ((few, JOURNAL_LINES), (many, WIRE_LINES)):
        assert len(lines) == most
        assert lines[-1].endswith("number 59 x")
        # Two entries of the fake session come before.
        assert lines[0] == f"… {62 - (most - 1)} entries left out"


def test_a_report_of_very_many_sessions_has_the_first_and_the_last(project: Project) -> None:
    """So that there is room in its block for all else."""
    busy(project, 100, "x", True)

    values = project.tap().document["busy"].values

    roles = list(values["sessions"])
    assert len(roles) == MAX_RECORDS
    assert (roles[0], roles[1], roles[-1]) == ("subscriber", "subscriber_2", "subscriber_100")
    assert {name for name in values if name.endswith("_connection_id")} == {
        f"{role}_connection_id" for role in roles
    }


@pytest.mark.parametrize("text", ["x" * 400, HOSTILE * 5, '"\\' * 200], ids=["long", "hostile", "escapes"])
def test_a_point_stays_within_the_bounds_of_a_block(project: Project, text: str) -> None:
    """However much was said, nothing else of the report is cut for it, and what is left out is said."""
    busy(project, 12, text, False)

    result = project.tap("--wire")

    values = result.document["busy"].values
    journal = values["journal"]
    block = result.stdout[result.stdout.index("  ---") :]
    assert len(block) < tap.MAX_BLOCK + 100
    assert "shortened" not in values
    assert values["cause"] == "data"
    assert journal.pop("left_out") == [f"… {12 - MAX_JOURNALS} earlier sessions left out"]
    assert len(journal) == MAX_JOURNALS
    for lines in journal.values():
        left_out = re.fullmatch(r"… (\d+) earlier lines left out", lines[0])
        assert left_out is not None
        assert int(left_out[1]) + len(lines) - 1 == WIRE_LINES
        assert "number 59" in lines[-1]


def test_an_ordinary_report_has_the_journal_of_a_failure(project: Project) -> None:
    """As a section of its own, behind expected and received, a line for each entry."""
    project.write("test_toy.py", CASES)

    result = project.pytest("--relay", URL, env={"FAKE_RELAY": "refuses"})

    _, _, section = result.stdout.partition(" MoQT journal ")
    assert result.stdout.count(" MoQT journal ") == 1
    assert "\nsubscriber:\n  " in section
    assert re.search(r"^  \d+\.\d ms > SETUP subscriber$", section, re.MULTILINE)
    assert not re.search(r"^\s*(ok|not ok|Bail out!)", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "more", [[], ["-rP"], ["-rA"], ["-n", "2"]], ids=["alone", "rP", "rA", "two workers"]
)
def test_an_ordinary_report_has_the_others_with_wire(project: Project, more: list[str]) -> None:
    """Each test's once: in a section of those that passed, or where pytest shows their sections anyway."""
    project.write("test_toy.py", CASES)

    result = project.pytest("--relay", URL, "--wire", *more, env={"FAKE_RELAY": "refuses"})

    assert result.stdout.count("> SETUP publisher") == 1
    assert result.stdout.count("> SETUP subscriber") == 1
    assert ("MoQT journals of passed tests" in result.stdout) == (more not in (["-rP"], ["-rA"]))


def test_without_wire_nothing_is_shown_of_what_passed(project: Project) -> None:
    """Not even with pytest's own option for that."""
    project.write("test_toy.py", CASES)

    result = project.pytest("--relay", URL, "-rP")

    assert "MoQT journal" not in result.stdout


def test_a_project_of_others_may_give_the_option(project: Project) -> None:
    """Without a test of a relay it does nothing."""
    project.write("test_toy.py", "def test_theirs(): pass\n")

    result = project.pytest("--wire")

    assert result.code == 0
    assert "MoQT" not in result.stdout
