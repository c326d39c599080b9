"""The file of results: it says what the document says, point for point, however a run ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from toys import CHECKOUT, URL, Project, Result, run

from pytest_moqt.results import ResultsFile
from pytest_moqt.stream import TapStream

CASES = """
@pytest.mark.interop("setup-only")
async def test_setup_only(relay):
    async with relay.connect(): pass
@pytest.mark.interop("announce-only", timeout=60)
async def test_announce_only(relay):
    {body}
@pytest.mark.interop("subscribe-error")
async def test_subscribe_error(relay):
    async with relay.connect(): pass
"""
FOR_EVER = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(60)"
STALE = '{"complete": true}'


def written(path: Path, result: Result) -> dict[str, Any]:
    """The file, which has to agree with the document of the same run."""
    file: dict[str, Any] = json.loads(path.read_text())
    document = result.document
    assert [entry["case"] for entry in file["cases"]] == [point.name for point in document.points]
    assert [entry["outcome"] == "fail" for entry in file["cases"]] == [
        not point.ok for point in document.points
    ]
    assert [entry["outcome"] == "skip" for entry in file["cases"]] == [
        point.directive == "SKIP" for point in document.points
    ]
    assert sum(file["totals"].values()) == len(document.points)
    assert file["complete"] is (document.bail_out is None)
    assert [entry.name for entry in path.parent.iterdir() if entry.name.endswith(".part")] == []
    return file


def client(*arguments: str, cwd: Path) -> Result:
    """Run the command."""
    return run([sys.executable, "-m", "pytest_moqt.cli", *arguments], cwd, {"PYTHONPATH": str(CHECKOUT)})


def test_a_signal_leaves_the_case_that_it_met(project: Project) -> None:
    """And no word that the run is complete."""
    project.write("test_toy.py", CASES.format(body='open("started", "w").close(); time.sleep(30)'))
    path = project.path / "results.json"
    path.write_text(STALE)
    with project.background("--relay", URL, "--tap14", "--results", "results.json") as running:
        running.wait_for(project.path / "started")
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(20)
        result = running.result()

    file = written(path, result)

    assert [entry["case"] for entry in file["cases"]] == ["setup-only", "announce-only"]
    assert file["cases"][1]["message"] == "not finished: interrupted by SIGTERM"


def test_a_run_that_is_cut_off_leaves_every_case(project: Project) -> None:
    """Where a case cannot be ended and the process is; what it did not come to has level and profile too."""
    project.write("test_toy.py", CASES.format(body=FOR_EVER))
    path = project.path / "results.json"
    path.write_text(STALE)

    result = project.tap("--budget", "2", "--results", "results.json", "--junitxml", "report.xml")

    junit = ET.parse(project.path / "report.xml")
    assert [case.get("name") for case in junit.iter("testcase")] == [
        *("setup-only", "announce-only", "subscribe-error")
    ]
    assert [failure.get("message") for failure in junit.iter("failure")] == ["run budget of 2 s used up"] * 2
    file = written(path, result)
    assert [entry["outcome"] for entry in file["cases"]] == ["pass", "fail", "fail"]
    assert {(entry["level"], entry["profile"]) for entry in file["cases"]} == {("MUST", "catalogue")}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_a_relay_that_is_not_there_is_met_once(project: Project, workers: tuple[str, ...]) -> None:
    """Whatever other workers met of it."""
    project.write("test_toy.py", CASES.format(body="async with relay.connect(): pass"))

    result = project.tap("--results", "results.json", *workers, env={"FAKE_RELAY": "unreachable"})

    assert len(written(project.path / "results.json", result)["cases"]) == 1


def test_cases_are_in_plan_order(project: Project) -> None:
    """Of several workers too, one of which is slow."""
    project.write("test_toy.py", CASES.format(body="await asyncio.sleep(0.5)"))

    result = project.tap("--results", "results.json", "-n", "2")

    names = [entry["case"] for entry in written(project.path / "results.json", result)["cases"]]
    assert names == ["setup-only", "announce-only", "subscribe-error"]


def test_a_name_that_no_case_has_is_among_the_cases(tmp_path: Path) -> None:
    """Beside others, and alone."""
    path = tmp_path / "results.json"
    arguments = ("--relay", "embedded", "--results", "results.json", "-t", "nobody")

    beside = written(path, client(*arguments, "-t", "setup-only", cwd=tmp_path))
    alone = written(path, client(*arguments, cwd=tmp_path))

    assert [entry["outcome"] for entry in beside["cases"]] == ["pass", "skip"]
    assert alone["cases"] == [{"case": "nobody", "outcome": "skip", "reason": "not supported by this client"}]


def test_every_point_has_its_outcome(project: Project) -> None:
    """That of the catalogue too, in the block and in the file."""
    project.write("test_toy.py", CASES.format(body="assert False"))

    result = project.tap("--results", "results.json")

    outcomes = ["pass", "fail", "pass"]
    assert [point.values["outcome"] for point in result.document.points] == outcomes
    assert [entry["outcome"] for entry in written(project.path / "results.json", result)["cases"]] == outcomes


@pytest.mark.parametrize(("verdicts", "complete"), [("ab", True), ("a", False)])
def test_a_reader_that_goes_away_takes_no_outcome_along(
    tmp_path: Path, verdicts: str, complete: bool
) -> None:
    """What had a verdict is in the file, though the document broke."""
    reader, writer = os.pipe()
    os.close(reader)
    path = tmp_path / "results.json"
    stream = TapStream(writer, results=ResultsFile(str(path), {"client": "toy"}))
    stream.plan([("a", "case-a"), ("b", "case-b")])
    stream.release()

    for key in verdicts:
        stream.point(key, True)
    stream.end()

    os.close(writer)
    file = json.loads(path.read_text())
    assert stream.broken is not None
    assert [entry["case"] for entry in file["cases"]] == [f"case-{key}" for key in verdicts]
    assert (file["client"], file["complete"]) == ("toy", complete)


def test_a_link_stays_one(project: Project) -> None:
    """What it names is written."""
    project.write("test_toy.py", CASES.format(body="pass"))
    folder = project.path / "kept"
    folder.mkdir()
    link = project.path / "results.json"
    link.symlink_to(folder / "real.json")

    result = project.tap("--results", "results.json")

    assert link.is_symlink()
    written(folder / "real.json", result)


def test_what_is_no_file_is_not_replaced(tmp_path: Path, project: Project) -> None:
    """A named pipe, by the command and by pytest: a sentence, and the pipe is still there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    project.write("test_toy.py", CASES.format(body="pass"))

    command = client("--relay", "embedded", "-t", "setup-only", "--results", str(pipe), cwd=tmp_path)
    plugin = project.tap("--results", str(pipe))

    assert (command.code, command.stdout, plugin.code, plugin.stdout) == (2, "", 4, "")
    for result in (command, plugin):
        assert f"--results is '{pipe}', which is there and is no regular file" in result.stderr
    assert pipe.is_fifo()


def test_what_an_earlier_run_left_is_gone_when_a_run_cannot_write(tmp_path: Path) -> None:
    """Nobody takes it for this run's."""
    path = tmp_path / "results.json"
    path.write_text(STALE)
    (tmp_path / "results.json.part").mkdir()

    result = client("--relay", "embedded", "-t", "setup-only", "--results", "results.json", cwd=tmp_path)

    assert result.code == 1
    assert "Note: a report cannot be written to results.json: Is a directory" in result.document.comments
    assert not path.exists()
