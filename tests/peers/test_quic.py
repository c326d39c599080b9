"""The cases about QUIC against relays nobody here wrote: another stack beneath each, over both transports."""

from __future__ import annotations

import re

import pytest

from pytest_moqt import catalog

DRAFTS = (22, 18, 14)
"Of those that both speak, one of each way of using streams: no draft has a say in QUIC."

SKIPPED = {
    "aiomoqt": {"quic-retry": "no-retry"},
    # Its tickets have no early_data, and it answers a client that prefers version 2 in version 1.
    "moq-rs": {"quic-retry": "no-retry", "quic-v2": "version-1-kept", "quic-zerortt": "no-early-data"},
}
"What each does not offer, in the version that requirements.txt pins, and need not."
OVER_WEBTRANSPORT = {"quic-zerortt": "webtransport"}

_POINT = re.compile(r"^(not ok|ok) \d+ - ([a-z0-9-]+)(?: # SKIP ([a-z0-9-]+): )?", re.MULTILINE)


def expected(name: str, transport: str) -> dict[str, str]:
    """What becomes of each case: `ok`, or why it is skipped."""
    beside = OVER_WEBTRANSPORT if transport == "webtransport" else {}
    return {**{case.identifier: "ok" for case in catalog.QUIC}, **SKIPPED[name], **beside}


@pytest.mark.parametrize("transport", ["quic", "webtransport"])
@pytest.mark.parametrize("draft", DRAFTS)
def test_eleven_cases(peer, draft: int, transport: str) -> None:
    """All that a relay offers passes, and the rest is skipped with its reason."""
    run = peer.judge("--relay", peer.url(transport), "--draft", str(draft), "--profile", "quic")

    outcomes = {name: skipped or status for status, name, skipped in _POINT.findall(run.stdout)}
    assert outcomes == expected(peer.name, transport), run.stdout + run.stderr
    assert run.returncode == 0


def test_what_is_required_has_to_be_offered(peer) -> None:
    """A feature that a relay does not have is a failure for those who need it."""
    run = peer.judge("--relay", peer.url("quic"), "--test", "quic-retry", "--require", "quic-retry")

    assert [status for status, _, _ in _POINT.findall(run.stdout)] == ["not ok"]
    assert "required, but skipped: no-retry" in run.stdout
    assert run.returncode == 1
