"""Relays that are hostile or broken beneath the session, in UDP and QUIC, judged whole."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from fronts import certificate_file, serving
from harm import Judged, Meeting, assert_right, meet, meetings, ordinary
from judging import SETUP_FIRST, judge
from quic_harm import HARMS, InSession, vanish
from strict_tap import prefixed, runner_count

from tests.ahead import Ahead, runs_ahead
from tests.sweeps import swept

runs = runs_ahead("meeting", meet)


@pytest.mark.parametrize("meeting", swept(meetings(HARMS), ordinary(HARMS)))
def test_the_verdict_is_right_and_the_next_case_unharmed(
    runs: Ahead[Meeting, Judged], meeting: Meeting
) -> None:
    """A relay that breaks QUIC fails for the stated cause, and one that is merely odd passes."""
    runs.check(meeting, partial(assert_right, meeting=meeting))


@pytest.mark.parametrize("transport", ["quic", "webtransport"])
def test_a_relay_that_dies_fails_its_case_and_ends_the_run_with_the_next(
    tmp_path: Path, transport: str
) -> None:
    """ICMP says in the session that nobody listens any more: the next case cannot reach the relay at all."""
    with serving(partial(InSession, "setup", vanish)) as front:
        run = judge(front.url(transport), certificate_file(tmp_path), tmp_path, SETUP_FIRST)

    assert front.failures == []
    document = run.document
    assert [(point.ok, point.values["cause"]) for point in document.points] == [(False, "transport")] * 2
    for point in document.points:
        assert "UDP port closed" in point.values["message"]
    assert document.bail_out is not None
    assert run.code == 1
    assert runner_count(run.stdout) == runner_count(prefixed(run.stdout)) == (0, 2, 0)
