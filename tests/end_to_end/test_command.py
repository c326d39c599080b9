"""The command as a user starts it, against the embedded relay and against none."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from client_command import Run
from settings import SETTINGS, Setting, one_transport_each
from strict_tap import prefixed, runner_count

from pytest_moqt import catalog
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.relay.embedded import EmbeddedRelay
from tests.sweeps import swept


@pytest.mark.parametrize("setting", swept(SETTINGS, one_transport_each()))
def test_the_embedded_relay_passes(client: Callable[..., Run], setting: Setting) -> None:
    """Every case passes, or is skipped where the draft does not have it; the runner counts the same."""
    draft, transport = setting
    run = client("--relay", "embedded", "--draft", str(draft), "--transport", transport)

    document = run.document
    assert run.code == 0, run.stdout + run.stderr
    assert run.stderr == ""
    skipped = [case.identifier for case in catalog.CATALOG if draft not in drafts(case.since)]
    assert document.verdicts == [
        (case.identifier, "SKIP" if case.identifier in skipped else "ok") for case in catalog.CATALOG
    ]
    assert f"Draft: draft-{draft} (negotiated)" in document.comments
    assert f"Transport: {transport}" in document.comments
    assert runner_count(run.stdout) == runner_count(prefixed(run.stdout))


def test_the_environment_alone_is_enough(client: Callable[..., Run]) -> None:
    """The interop runner passes no argument."""
    run = client(RELAY_URL="embedded", TESTCASE="setup-only", MOQT_DRAFT="draft-16")

    assert run.code == 0, run.stdout + run.stderr
    assert run.document.verdicts == [("setup-only", "ok")]
    assert "Draft: draft-16 (negotiated)" in run.document.comments


def test_a_relay_without_sub_protocols_is_judged_in_draft_14(client: Callable[..., Run]) -> None:
    """An offer over WebTransport that nobody answers is followed by one of draft 14, in the open."""
    with EmbeddedRelay(drafts=(14,)) as relay:
        run = client("--relay", relay.url("webtransport"), "--ca-file", relay.ca_file, "-t", "setup-only")

    assert run.code == 0, run.stdout + run.stderr
    assert "Draft: draft-14 (negotiated)" in run.document.comments
    assert any(comment.startswith("Note: draft-14 was offered") for comment in run.document.comments)


def test_a_pinned_draft_is_never_fallen_back_from(client: Callable[..., Run]) -> None:
    """A relay that speaks another draft alone fails by name."""
    with EmbeddedRelay(drafts=(14,)) as relay:
        run = client(
            *("--relay", relay.url("webtransport"), "--ca-file", relay.ca_file),
            *("--draft", "18", "-t", "setup-only"),
        )

    assert run.code == 1
    assert run.document["setup-only"].values["cause"] == "webtransport"


def test_a_closed_port_ends_the_run(client: Callable[..., Run]) -> None:
    """The case that met it fails, then the run bails out; nothing is left to wait for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    run = client("--relay", f"moqt://127.0.0.1:{port}")

    document = run.document
    assert run.code == 1
    assert [point.ok for point in document.points] == [False]
    assert document.points[0].values["cause"] == "transport"
    assert document.bail_out is not None
    assert "UDP port closed" in document.bail_out


def test_a_silent_port_ends_the_run(client: Callable[..., Run]) -> None:
    """The same for a port that nothing answers from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        run = client("--relay", f"https://127.0.0.1:{silent.getsockname()[1]}")

    document = run.document
    assert run.code == 1
    assert [point.ok for point in document.points] == [False]
    assert document.bail_out is not None
