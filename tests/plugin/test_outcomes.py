"""Outcomes beyond ok and not ok: warnings, choices, known failures, what is not offered."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from toys import Project

CASES = """
@pytest.mark.interop("plain", profile="data")
async def test_plain(relay):
    '''Nothing to say.'''

@pytest.mark.interop("warned", profile="data", level="should")
async def test_warned(relay):
    '''It does what it should.'''
    relay.warn("wrong-code", "closed with 0x1, where 0x3 is asked for")

@pytest.mark.interop("chosen", profile="data", level="may")
async def test_chosen(relay):
    '''Either way will do.'''
    relay.info("the relay took the first way")

@pytest.mark.interop("failed", profile="data")
async def test_failed(relay):
    '''It does what it must.'''
    relay.warn("late", "it took its time")
    assert False, "it did not"
"""


BEYOND = """
@pytest.mark.interop("skipped", profile="data")
async def test_skipped(relay):
    pytest.skip("not today")

@pytest.fixture
def breaks_later():
    yield
    assert False

@pytest.mark.interop("late", profile="data")
async def test_late(relay, breaks_later): pass

@pytest.mark.interop("setup-only")
async def test_setup_only(relay): assert False
"""


def blocks(project: Project, *arguments: str) -> dict[str, dict[str, Any]]:
    """The diagnostics of each point."""
    return {point.name: point.values for point in project.tap(*arguments).document.points}


def test_outcomes_stand_in_each_point(project: Project) -> None:
    """A warning and a choice are ok; a failure is one, whatever else was said."""
    project.write("test_toy.py", CASES)

    result = project.tap()

    points = {point.name: point for point in result.document.points}
    assert {name: point.values["outcome"] for name, point in points.items()} == {
        "plain": "pass",
        "warned": "warn",
        "chosen": "info",
        "failed": "fail",
    }
    assert [name for name, point in points.items() if not point.ok] == ["failed"]
    assert points["warned"].values["warnings"] == ["wrong-code: closed with 0x1, where 0x3 is asked for"]
    assert points["chosen"].values["observed"] == ["the relay took the first way"]
    assert points["failed"].values["warnings"] == ["late: it took its time"]
    assert (points["warned"].values["level"], points["warned"].values["profile"]) == ("SHOULD", "data")
    assert "Outcomes: 1 pass, 1 info, 1 warn, 1 fail" in result.document.comments
    assert result.code == 1


def test_strict_turns_a_warning_into_a_failure(project: Project) -> None:
    """And nothing else."""
    project.write("test_toy.py", CASES)

    result = project.tap("--moqt-strict")

    points = {point.name: point for point in result.document.points}
    assert [name for name, point in points.items() if not point.ok] == ["warned", "failed"]
    assert points["warned"].values["message"] == "strict: wrong-code: closed with 0x1, where 0x3 is asked for"
    assert points["warned"].values["cause"] == "data"


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ("with relay.should('it should do so'): assert 1 == 2, 'one is two'", "it should do so: one is two"),
        (
            "async with relay.should('it should come', seconds=0.01): await asyncio.sleep(5)",
            "it should come: not within 0.01 s",
        ),
        (
            "with relay.should('it should do so'):\n"
            "        raise CaseFailure('nothing came', cause='timeout', expected='a', received='b')",
            "it should do so: nothing came",
        ),
    ],
    ids=["assertion", "wait", "failure"],
)
def test_what_a_relay_should_do_is_a_warning(project: Project, body: str, warning: str) -> None:
    """And the case goes on behind it."""
    project.write(
        "test_toy.py",
        "from pytest_moqt import CaseFailure\n"
        "@pytest.mark.interop('toy', profile='data')\n"
        f"async def test_toy(relay):\n    {body}\n    relay.info('on')\n",
    )

    block = blocks(project)["toy"]

    assert (block["outcome"], block["warnings"], block["observed"]) == (
        "warn",
        [f"should: {warning}"],
        ["on"],
    )


@pytest.mark.parametrize("cause", ["malformed", "closed", "transport"])
def test_harm_is_a_failure_where_only_a_should_was_looked_at(project: Project, cause: str) -> None:
    """A relay that breaks the protocol, or ends the session, has missed more than that."""
    project.write(
        "test_toy.py",
        f"""
        from pytest_moqt import CaseFailure
        @pytest.mark.interop("toy", profile="data")
        async def test_toy(relay):
            with relay.should("it should do so"):
                raise CaseFailure("broken", cause={cause!r}, expected="a", received="b")
        """,
    )

    block = blocks(project)["toy"]

    assert (block["outcome"], block["cause"], block["message"]) == ("fail", cause, "broken")


REFUSED = """
from pytest_moqt import CaseFailure, PublishNamespace, RequestErrorCode
from pytest_moqt.client.failures import UnexpectedReply

@pytest.mark.interop("toy", profile="data", optional={optional})
async def test_toy(relay):
    failure = UnexpectedReply("refused", cause="rejected", expected="OK", received="an error")
    failure.code = RequestErrorCode.{code}
    other = CaseFailure("wrong object", cause="data", expected="a", received="b")
    raise {raised}
"""


@pytest.mark.parametrize(
    ("optional", "code", "raised", "verdict"),
    [
        (True, "NOT_SUPPORTED", "failure", "SKIP"),
        (True, "NOT_SUPPORTED", "ExceptionGroup('', [failure])", "SKIP"),
        (True, "NOT_SUPPORTED", "ExceptionGroup('', [failure, other])", "not ok"),
        (True, "NOT_SUPPORTED", "ExceptionGroup('', [failure, KeyError('ours')])", "not ok"),
        (True, "INTERNAL_ERROR", "failure", "not ok"),
        (False, "NOT_SUPPORTED", "failure", "not ok"),
    ],
)
def test_what_is_optional_need_not_be_supported(
    project: Project, optional: bool, code: str, raised: str, verdict: str
) -> None:
    """The relay's word NOT_SUPPORTED is a reason to skip there, and nowhere else."""
    project.write("test_toy.py", REFUSED.format(optional=optional, code=code, raised=raised))

    document = project.tap().document

    assert document.verdicts == [("toy", verdict)]
    if verdict == "SKIP":
        assert document["toy"].reason == "not-supported: refused"
        assert document["toy"].values["outcome"] == "skip"
        assert document["toy"].values["skip"] == "not-supported"


def test_what_is_required_may_not_be_declined(project: Project) -> None:
    """--require holds for what the relay says it does not support too."""
    project.write("test_toy.py", REFUSED.format(optional=True, code="NOT_SUPPORTED", raised="failure"))

    assert project.tap("--require", "toy").document.verdicts == [("toy", "not ok")]


EXPECTED = """
@pytest.mark.interop("setup-only")
async def test_setup_only(relay):
    async with relay.connect(): pass
    assert False

@pytest.mark.interop("announce-only")
async def test_announce_only(relay):
    async with relay.connect(): pass
"""


def test_known_failures_are_expected_and_their_absence_is_told(project: Project) -> None:
    """In the draft that was spoken, not in another."""
    project.write("test_toy.py", EXPECTED)
    project.write("known.yaml", "- {case: '*', draft: [18, 22], reason: known since spring}\n")

    result = project.tap("--expect", "known.yaml", "--draft", "18")
    other = project.tap("--expect", "known.yaml", "--draft", "16")

    assert result.document.verdicts == [("setup-only", "TODO"), ("announce-only", "TODO")]
    failed, passed = result.document.points
    assert (failed.ok, passed.ok) == (False, True)
    assert failed.reason == passed.reason == "known since spring"
    assert failed.values["message"] == "assert False"
    assert passed.values["unexpected_pass"] == "known since spring"
    assert "Note: passed, although known to fail: announce-only" in result.document.comments
    assert result.code == 0
    assert other.document.verdicts == [("setup-only", "not ok"), ("announce-only", "ok")]


def test_a_relay_that_is_not_there_is_no_known_failure(project: Project) -> None:
    """Who ignores bail-outs sees a failure."""
    project.write("test_toy.py", EXPECTED)
    project.write("known.yaml", "- {case: '*', reason: known}\n")

    result = project.tap("--expect", "known.yaml", env={"FAKE_RELAY": "unreachable"})

    assert result.document.verdicts == [("setup-only", "not ok")]
    assert result.document.bail_out is not None
    assert result.code == 1


OTHERS_FAULTS = """
@pytest.mark.interop("ours", profile="data")
async def test_ours(relay):
    raise KeyError("ours")

@pytest.mark.interop("slow", profile="data")
async def test_slow(relay):
    await asyncio.sleep(1.2)

@pytest.mark.interop("late", profile="data")
async def test_late(relay): pass
"""


def test_what_is_no_fault_of_the_relay_is_no_known_failure(project: Project) -> None:
    """An error of the client's, and the end of the run's time before the case began."""
    project.write("test_toy.py", OTHERS_FAULTS)
    project.write("known.yaml", "- {case: '*', reason: known}\n")

    result = project.tap("--expect", "known.yaml", "--budget", "1")

    assert result.document.verdicts == [("ours", "not ok"), ("slow", "TODO"), ("late", "not ok")]
    assert result.code == 1


IN_SETUP = """
@pytest.mark.interop("setup-only")
async def test_setup_only(session): pass

@pytest.mark.interop("announce-only")
async def test_announce_only(relay):
    async with relay.connect(): pass
"""


def test_a_draft_that_is_offered_alone_is_the_one_that_a_known_failure_names(project: Project) -> None:
    """Before the first SETUP too; where several are offered nobody knows which one it would be."""
    project.write("test_toy.py", IN_SETUP)
    project.write("known.yaml", "- {case: '*', draft: 18, reason: no SETUP}\n")
    failing = {"FAKE_RELAY": "no-setup"}

    alone = project.tap("--expect", "known.yaml", "--draft", "18", env=failing)
    several = project.tap("--expect", "known.yaml", "--draft", "18,16", env=failing)

    assert alone.document.verdicts == [("setup-only", "TODO"), ("announce-only", "TODO")]
    assert alone.code == 0
    assert several.document.verdicts == [("setup-only", "not ok"), ("announce-only", "not ok")]


def test_a_file_of_known_failures_that_cannot_be_used_ends_the_run_before_it_begins(project: Project) -> None:
    """With the sentence that says why."""
    project.write("test_toy.py", EXPECTED)
    project.write("known.yaml", "- case: nobody\n")

    result = project.pytest("--relay", "moqt://relay.example", "--expect", "known.yaml")

    assert result.code == 4
    assert "known.yaml line 1: the key case has 'nobody', which no case is called" in result.stderr


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_results_are_written_as_json(project: Project, workers: tuple[str, ...]) -> None:
    """Every case with its outcome and what it was about, and how many have each."""
    project.write("test_toy.py", CASES)
    project.write("known.yaml", "- {case: setup-only, reason: known}\n")

    project.tap("--results", "results.json", *workers)

    document = json.loads((project.path / "results.json").read_text())
    assert document["complete"] is True
    assert document["totals"] == {"pass": 1, "info": 1, "warn": 1, "fail": 1}
    assert document["relay"] == "moqt://relay.example:4443"
    cases = {entry["case"]: entry for entry in document["cases"]}
    assert cases["warned"]["warnings"] == ["wrong-code: closed with 0x1, where 0x3 is asked for"]
    assert cases["chosen"]["observed"] == ["the relay took the first way"]
    assert (cases["failed"]["cause"], cases["failed"]["message"]) == ("data", "it did not")
    assert [entry.name for entry in project.path.iterdir() if entry.name.endswith(".part")] == []


def test_results_that_cannot_be_written_cost_no_verdict(project: Project) -> None:
    """A note says so, and the exit code."""
    project.write("test_toy.py", CASES.partition('@pytest.mark.interop("failed"')[0])

    result = project.tap("--results", "nowhere/results.json")

    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "ok", "ok"]
    assert any(
        "a report cannot be written to nowhere/results.json" in line for line in result.document.comments
    )
    assert result.code == 1


def test_outcomes_are_properties_in_junit(project: Project) -> None:
    """With what was found, beside the draft and the connection ids."""
    project.write("test_toy.py", CASES + BEYOND)
    project.write("known.yaml", "- {case: setup-only, reason: known}\n")

    project.tap("--junit-xml", "report.xml", "--expect", "known.yaml")

    properties = {
        case.get("name"): [(entry.get("name"), entry.get("value")) for entry in case.iter("property")]
        for case in ET.parse(project.path / "report.xml").iter("testcase")
    }
    outcomes = {
        name: [value for key, value in found if key == "outcome"] for name, found in properties.items()
    }
    assert outcomes == {
        "plain": ["pass"],
        "warned": ["warn"],
        "chosen": ["info"],
        "failed": ["fail"],
        "skipped": ["skip"],
        "late": ["fail"],
        "setup-only": ["fail"],
    }
    assert ("warnings", "wrong-code: closed with 0x1, where 0x3 is asked for") in properties["warned"]
    assert ("observed", "the relay took the first way") in properties["chosen"]
    assert {("level", "SHOULD"), ("profile", "data")} <= set(properties["warned"])


def test_cases_are_chosen_by_profile_level_mark_and_exclusion(project: Project) -> None:
    """In pytest's way and in ours."""
    project.write("test_toy.py", CASES)

    for arguments, chosen in (
        (("--profile", "data"), ["plain", "warned", "chosen", "failed"]),
        (("--profile", "data", "--level", "should,may"), ["warned", "chosen"]),
        (("--profile", "core", "--exclude", "failed", "--exclude", "w*"), ["plain", "chosen"]),
        (("-m", "data and should"), ["warned"]),
        (("-m", "may"), ["chosen"]),
    ):
        assert [name for name, _ in project.tap(*arguments).document.verdicts] == chosen, arguments


@pytest.mark.parametrize(
    ("arguments", "draft", "lacking"),
    [
        ("since=18", "16", "not in draft-16: only drafts 18 and later have what this case needs"),
        ("until=16", "18", "not in draft-18: only drafts up to 16 have what this case needs"),
        (
            "transport='webtransport'",
            "18",
            "only sessions over WebTransport have what this case needs",
        ),
    ],
)
def test_what_cannot_be_tried_is_skipped(project: Project, arguments: str, draft: str, lacking: str) -> None:
    """A case says which drafts and which transport have what it is about."""
    project.write(
        "test_toy.py",
        f"@pytest.mark.interop('toy', profile='data', {arguments})\n"
        "async def test_toy(relay): assert False\n",
    )

    point = project.tap("--draft", draft).document["toy"]

    assert (point.directive, point.reason) == ("SKIP", lacking)
