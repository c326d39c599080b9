"""The cases about QUIC: green on a right relay, skipped where it does not offer a part, red where it errs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import defects_page
import pytest
from cells import QUIC_CASES, QUIC_CELLS, RAW_ONLY, SKIPPED, Cell, Runs, observed
from client_command import Run, fork_command
from settings import TRANSPORTS

from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.defects.chapter import QUIC
from pytest_moqt.relay.embedded import EmbeddedRelay
from pytest_moqt.relay.features import Features
from tests.sweeps import swept

NAMES = [case.identifier for case in QUIC_CASES]
AT_A_TIME = 4
"Runs; of the time that they take, a half is work."

NEVER_SKIPPED = {"quic-handshake", "quic-keyupdate", "quic-vn"}
"What every server has to do (RFC 9000 section 7, RFC 9001 section 6, RFC 9000 section 6.1)."


@dataclass(frozen=True)
class Partial:
    """A relay that does not offer a part of QUIC, and what is skipped with it, for which reason."""

    name: str
    features: Features
    skipped: dict[str, str]
    defect: str | None = None

    def __str__(self) -> str:
        return self.name


PARTIAL = [
    Partial("no-retry", Features(), {"quic-retry": "no-retry"}),
    Partial("no-chacha20", Features(chacha20=False), {"quic-chacha20": "no-chacha20"}),
    Partial("no-v2", Features(v2=False), {"quic-v2": "version-1-kept"}),
    Partial(
        "no-tickets",
        Features(resumption=False),
        {"quic-resumption": "no-ticket", "quic-zerortt": "no-ticket"},
    ),
    Partial("no-early-data", Features(zero_rtt=False), {"quic-zerortt": "no-early-data"}),
    Partial("no-migration", Features(migration=False), {"quic-connectionmigration": "migration-disabled"}),
    Partial(
        "tickets-forgotten",
        Features(),
        {"quic-resumption": "ticket-declined", "quic-zerortt": "early-data-rejected"},
        "quic-tickets-forgotten",
    ),
    Partial(
        "early-data-rejected",
        Features(),
        {"quic-zerortt": "early-data-rejected"},
        "quic-early-data-rejected",
    ),
    Partial(
        "no-spare-ids",
        Features(),
        {"quic-connectionmigration": "no-spare-connection-id"},
        "quic-no-spare-ids",
    ),
    Partial(
        "publishing-refused", Features(), {"quic-transfer": "publishing-refused"}, "quic-publishing-refused"
    ),
    Partial("rate-limited", Features(), {"quic-multiconnect": "rate-limited"}, "quic-rate-limited"),
]

REQUIRED = [partial for partial in PARTIAL if partial.name in ("no-retry", "no-v2", "tickets-forgotten")]

DEFECTIVE = [cell for cell in QUIC_CELLS if cell.defect is not None and cell.transport == "quic"]
# What is wrong beneath both transports is the same over both: the page's writer judges the others too, and
# thirty runs are what a test has time for.

CORRECT = [Cell(None, draft, transport, QUIC) for draft in SUPPORTED for transport in TRANSPORTS]
JUDGED = {
    Cell(None, draft, transport, QUIC)
    for turn, draft in enumerate(SUPPORTED)
    for transport in (TRANSPORTS if turn == 0 else [TRANSPORTS[turn % 2]])
}
"In an ordinary run: the newest draft over both transports, each other over one: no draft has a say in QUIC."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, folder: Path) -> Iterator[Runs]:
    """The runs of all cells that were selected, ahead of the tests that look at them."""
    items = [item for item in request.session.items if item.path == request.path]
    with Runs(
        dict.fromkeys(
            item.callspec.params["cell"]
            for item in items
            if hasattr(item, "callspec") and "cell" in item.callspec.params
        ),
        folder,
        AT_A_TIME,
    ) as runs:
        yield runs


def marks_of(run: Run) -> dict[str, str]:
    """What became of each case, skips with their reasons for machines."""
    return {
        point.name: str(point.values["skip"]) if point.directive == "SKIP" else observed_mark
        for point, observed_mark in zip(run.document.points, observed(run).values(), strict=True)
    }


# ---- right -----------------------------------------------------------------------------------------


def test_early_data_survives_a_retry(folder: Path) -> None:
    """A relay may ask for the address although it knows the ticket: SETUP is sent anew, and accepted."""
    with EmbeddedRelay(features=Features(retry=True)) as relay:
        url = relay.url("quic").replace("127.0.0.1", "localhost")
        run = fork_command(folder, "--relay", url, "--ca-file", relay.ca_file, "--test", "quic-zerortt")

    (point,) = run.document.points
    assert (point.ok, point.directive) == (True, ""), run.stdout
    second = point.values["quic"]["second"]
    assert (second["retry"], second["early_data"]) == (1, "accepted")


@pytest.mark.parametrize("cell", swept(CORRECT, JUDGED))
def test_a_relay_that_does_all_of_it_is_green(runs: Runs, cell: Cell) -> None:
    """In every draft, over both transports; only early data is not tried over WebTransport."""
    run = runs[cell]

    assert observed(run) == cell.expected, run.stdout + run.stderr
    assert {name for name, mark in cell.expected.items() if mark == SKIPPED} == (
        set(RAW_ONLY) if cell.transport == "webtransport" else set()
    )
    assert run.code == 0


def quic_of(run: Run, case: str) -> dict[str, Any]:
    """What the report says of the connections of a case, by role."""
    found: dict[str, Any] = run.document[case].values["quic"]
    return found


def test_the_reports_have_what_was_seen_of_quic(runs: Runs) -> None:
    """Version, cipher, Retry, resumption, early data, key phases and path challenges."""
    run = runs[Cell(None, SUPPORTED[0], "quic", QUIC)]

    handshake = quic_of(run, "quic-handshake")["client"]
    usual = {name: handshake[name] for name in ("version", "cipher", "retry", "resumed", "early_data")}
    assert usual == {
        "version": "1",
        "cipher": "AES_256_GCM_SHA384",
        "retry": 0,
        "resumed": False,
        "early_data": "none",
    }
    assert (handshake["key_phase"], handshake["path_challenges"]) == (0, 0)
    assert quic_of(run, "quic-transfer")["subscriber"]["limits_raised"] > 4
    assert quic_of(run, "quic-retry")["client"]["retry"] == 1
    assert run.document["quic-retry"].values["measured"]["foreign_token"] == "0xb INVALID_TOKEN"
    assert quic_of(run, "quic-keyupdate")["client"]["key_updates"] == 2
    assert quic_of(run, "quic-chacha20")["client"]["cipher"] == "CHACHA20_POLY1305_SHA256"
    assert quic_of(run, "quic-v2")["client"]["version"] == "2"
    assert quic_of(run, "quic-vn")["client"]["version_negotiation"] is True
    assert quic_of(run, "quic-resumption")["first"]["resumed"] is False
    assert quic_of(run, "quic-resumption")["second"]["resumed"] is True
    assert quic_of(run, "quic-zerortt")["second"]["early_data"] == "accepted"
    assert quic_of(run, "quic-zerortt")["second"]["early_octets"] > 0
    migrated = quic_of(run, "quic-connectionmigration")["client"]
    assert (migrated["path_challenges"], migrated["path_responses"]) == (2, 2)
    assert run.document["quic-multiconnect"].values["measured"]["connections"] == 20


# ---- not offered -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def partial_runs(request: pytest.FixtureRequest, folder: Path) -> Iterator[dict[str, Future[Run]]]:
    """By relay that does not offer something, a run of the cases that are about that."""

    def judge(partial: Partial, *more: str) -> Run:
        with EmbeddedRelay(features=partial.features, defect=partial.defect) as relay:
            names = [argument for case in partial.skipped for argument in ("--test", case)]
            return fork_command(
                folder, "--relay", relay.url("quic"), "--ca-file", relay.ca_file, *names, *more
            )

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        required = ("--require", "quic-*")
        yield {
            **{partial.name: pool.submit(judge, partial) for partial in PARTIAL},
            **{f"required {partial.name}": pool.submit(judge, partial, *required) for partial in REQUIRED},
        }


@pytest.mark.parametrize("partial", PARTIAL, ids=str)
def test_what_is_not_offered_is_skipped(partial_runs: dict[str, Future[Run]], partial: Partial) -> None:
    """With a reason that a machine can tell from others, in the directive and in the block."""
    run = partial_runs[partial.name].result()

    assert marks_of(run) == partial.skipped, run.stdout
    for point in run.document.points:
        assert point.reason.startswith(f"{point.values['skip']}: ")
    assert run.code == 0


@pytest.mark.parametrize("partial", REQUIRED, ids=str)
def test_what_is_required_is_not_skipped(partial_runs: dict[str, Future[Run]], partial: Partial) -> None:
    """`--require` makes the same a failure, which says why it would have been skipped."""
    run = partial_runs[f"required {partial.name}"].result()

    assert observed(run) == dict.fromkeys(partial.skipped, "rejected"), run.stdout
    for point in run.document.points:
        assert f"required, but skipped: {partial.skipped[point.name]}" in str(point.values["message"])
        assert point.values["skip"] == partial.skipped[point.name]
    assert run.code == 1


# ---- wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", DEFECTIVE, ids=str)
def test_exactly_the_intended_cases_fail(runs: Runs, cell: Cell) -> None:
    """A defect turns the cases red that it is about, for the stated cause, and no other; the page says so."""
    run = runs[cell]
    page = defects_page.rows(defects_page.PAGE.read_text())

    marks = observed(run)
    assert marks == cell.expected, run.stdout + run.stderr
    assert run.document.bail_out is None or cell.defect == "quic-wrong-origin"
    assert {name: page[str(cell.defect)][name] for name in marks} == marks
    assert run.code == (1 if any(not point.ok for point in run.document.points) else 0)


@pytest.mark.parametrize("case", NAMES)
def test_each_case_is_red_skipped_and_green_somewhere(case: str) -> None:
    """A defect of its own, and a relay without what the case is about where a server is free to be one."""
    red = [defect for defect in DEFECTS.values() if case in defect.cases]
    skipped = [partial for partial in PARTIAL if case in partial.skipped]

    assert [defect for defect in red if not defect.cases.issuperset(NAMES)]
    assert bool(skipped) is (case not in NEVER_SKIPPED)


def test_a_port_that_was_said_to_retry_has_to(folder: Path) -> None:
    """With --retry-relay the absence of Retry is a failure."""
    with EmbeddedRelay() as relay:
        run = fork_command(
            folder,
            *("--relay", relay.url("quic"), "--ca-file", relay.ca_file),
            *("--test", "quic-retry", "--retry-relay", relay.url("quic")),
        )

    point = run.document["quic-retry"]
    assert (point.ok, point.values["cause"]) == (False, "transport")
    assert point.values["expected"] == "Retry"
    assert point.values["spec"] == [f"RFC 9000 section {section}" for section in ("8.1.2", "8.1.3", "17.2.5")]


def test_a_relay_that_is_not_there_ends_the_run(folder: Path) -> None:
    """A dead relay is no failure of QUIC, and is met once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"moqt://127.0.0.1:{silent.getsockname()[1]}"
        run = fork_command(folder, "--relay", url, "--profile", "quic")

    assert [point.name for point in run.document.points] == ["quic-handshake"]
    assert run.document.bail_out is not None
    assert run.code == 1
