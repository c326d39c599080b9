"""The command's way of choosing, listing, rehearsing and running conformance cases."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from client_command import Run, fork_command

from pytest_moqt import catalog
from pytest_moqt.listing import exists_in

SUITE = [case.identifier for case in catalog.conformance() if catalog.ALL in case.profiles]
EVERYTHING = [*catalog.IDENTIFIERS, *SUITE]


def names(run: Run) -> list[str]:
    """The lines of a list."""
    return run.stdout.splitlines()


def test_the_whole_suite_is_listed(tmp_path: Path) -> None:
    """In the order in which it runs; of a draft, what that draft has."""
    everything = fork_command(tmp_path, "--list", "--all")
    of_18 = fork_command(tmp_path, "--list", "--all", "--draft", "18")

    assert (names(everything), everything.code, everything.stderr) == (EVERYTHING, 0, "")
    assert names(of_18) == [case.identifier for case in catalog.known() if _has(case, 18)]


def _has(case: catalog.Case, draft: int) -> bool:
    return catalog.ALL in case.profiles and exists_in(case, draft)


def test_what_takes_minutes_is_listed_when_it_is_asked_for(tmp_path: Path) -> None:
    """By its profile, and in no other list."""
    soak = fork_command(tmp_path, "--list", "--profile", "soak")

    assert names(soak) == [case.identifier for case in catalog.conformance() if case.profile == "soak"]
    assert names(soak)
    assert not set(names(soak)) & set(EVERYTHING)


def test_the_list_for_machines_is_json(tmp_path: Path) -> None:
    """With what is required of the relay."""
    run = fork_command(tmp_path, "--list", "--profile", "data", "--json", "--draft", "18")

    entries = json.loads(run.stdout)
    assert [entry["identifier"] for entry in entries] == [
        case.identifier for case in catalog.conformance() if case.profile == "data" and exists_in(case, 18)
    ]
    assert all(entry["requirement"].endswith(".") and entry["sections"] for entry in entries)


def test_a_rehearsal_says_what_would_be_run(tmp_path: Path) -> None:
    """In the draft that the relay chooses, with the reason of each skip."""
    run = fork_command(tmp_path, "--relay", "embedded", "--draft", "16", "--all", "--dry-run")

    head, lines = names(run)[:3], names(run)[3:]
    assert head == ["# Relay: embedded", "# Draft: draft-16 (negotiated)", "# Transport: quic"]
    assert [line.split()[1].rstrip(":") for line in lines] == EVERYTHING
    run_ones = [line.split()[1] for line in lines if line.startswith("run ")]
    assert run_ones == [
        case.identifier for case in catalog.known() if _has(case, 16) and case.transport in ("", "quic")
    ]
    assert (
        "skip rendezvous-timeout: not in draft-16: only drafts 18 and later have what this case needs"
        in lines
    )
    assert run.code == 0


def test_a_rehearsal_knows_no_more_names_than_a_run(tmp_path: Path) -> None:
    """The same sentence, the same exit code."""
    run = fork_command(tmp_path, "--relay", "embedded", "-t", "setup-onyl", "-t", "setup-only", "--dry-run")

    assert names(run)[3:] == ["run setup-only", "skip setup-onyl: not supported by this client"]
    assert "did you mean 'setup-only'?" in run.stderr
    assert run.code == 127


def test_a_rehearsal_without_a_relay_fails(tmp_path: Path) -> None:
    """With the sentence that a run would have."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

    run = fork_command(tmp_path, "--relay", f"moqt://127.0.0.1:{port}", "--all", "--dry-run")

    assert (run.code, run.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in run.stderr


def test_workers_keep_the_order(tmp_path: Path) -> None:
    """With -n the points stay in plan order."""
    arguments = ("--relay", "embedded", "--draft", "18", "--profile", "session", "--level", "must")
    one = fork_command(tmp_path, *arguments)
    four = fork_command(tmp_path, *arguments, "-n", "4")

    assert one.document.verdicts == four.document.verdicts
    assert len(one.document.points) > 1
    assert (one.code, four.code) == (0, 0)


def test_results_hold_every_case(tmp_path: Path) -> None:
    """As the document does."""
    path = tmp_path / "results.json"
    run = fork_command(
        tmp_path, *("--relay", "embedded", "--draft", "18", "--profile", "session", "--results", str(path))
    )

    document = json.loads(path.read_text())
    assert [entry["case"] for entry in document["cases"]] == [point.name for point in run.document.points]
    assert (document["draft"], document["transport"], document["complete"]) == ("draft-18", "quic", True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--level", "shall"), "--level is 'shall': use must, should, may"),
        (("--profile", "dta"), "--profile is 'dta': use catalogue, all, core, session"),
        (("--exclude", "nobody"), "--exclude: no case is called 'nobody'"),
        (("-t", "setup-only", "--level", "may"), "no case is left: of "),
        (("--expect", "none.yaml"), "--expect is 'none.yaml', which cannot be read: No such file"),
        (("--results", "none/x.json"), "--results is 'none/x.json': use a path in a directory that can be"),
        (("--soak", "long"), "--soak is 'long': use a number of seconds above 0"),
        (("--long",), "--long and --json say how --list prints: give --list too"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """Before anything is run."""
    run = fork_command(tmp_path, "--relay", "embedded", *arguments)

    assert (run.code, run.stdout) == (2, "")
    assert sentence in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_section_that_no_case_cites_is_not_supported(tmp_path: Path) -> None:
    """Like a name that no case has."""
    run = fork_command(tmp_path, "--relay", "embedded", "--draft", "18", "-t", "99.1")

    assert run.document.verdicts == [("99.1", "SKIP")]
    assert run.code == 127
    assert "no case cites section 99.1 of draft-18" in run.stderr


def test_a_relay_that_dies_ends_the_suite_with_the_case_that_met_it(tmp_path: Path) -> None:
    """A failure, a bail-out, exit code 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

    run = fork_command(tmp_path, "--relay", f"moqt://127.0.0.1:{port}", "--profile", "data")

    assert run.code == 1
    assert [point.ok for point in run.document.points] == [False]
    assert run.document.bail_out is not None
