"""What reports of `data-subgroup-basic` say of a wrong relay, and a case of a user's own.

Which defects it fails with on which draft and transport is in test_defects.py, beside the default cases.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cells import DATA_CASE, TRANSPORTS
from client_command import RUN_SECONDS, fork_command
from strict_tap import read

from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.relay.embedded import EmbeddedRelay

MINE = '''
import pytest

from pytest_moqt import PublishNamespace, RelayUnderTest, RequestOk


@pytest.mark.interop("mine", timeout=5.0)
@pytest.mark.spec("message-pub-ns")
async def test_mine(relay: RelayUnderTest) -> None:
    """A namespace is accepted."""
    async with relay.connect("publisher") as publisher:
        await publisher.request(PublishNamespace(relay.namespace("mine")), expect=RequestOk)
'''

Judge = Callable[[str], dict[str, object]]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """What the report says when a relay with a defect is judged, of the newest draft over raw QUIC."""

    def judge(defect: str) -> dict[str, object]:
        with EmbeddedRelay(defect=defect) as relay:
            run = fork_command(
                tmp_path,
                *("--relay", relay.url("quic").replace("127.0.0.1", "localhost")),
                *("--draft", str(SUPPORTED[0]), "--ca-file", relay.ca_file),
                *("--test", DATA_CASE.identifier),
            )
        (point,) = run.document.points
        assert not point.ok
        return point.values

    return judge


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_pytest_runs_a_case_that_is_not_in_the_catalogue(tmp_path: Path, transport: str) -> None:
    """A file in a folder of its own, a relay, and nothing else."""
    (tmp_path / "test_mine.py").write_text(MINE)

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_mine.py"),
            *("--relay", "embedded", "--transport", transport, "--tap14"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    document = read(done.stdout)
    assert document.verdicts == [("mine", "ok")]
    assert f"Transport: {transport}" in document.comments


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("object-dropped", "delivery.missing is [(0, 0, 1), (1, 0, 1), (2, 0, 1)], not []"),
        ("subgroup-split", "delivery.divided is [(0, 0), (1, 0), (2, 0)], not []"),
        ("publish-done-wrong-status", "done.status is INTERNAL_ERROR, not TRACK_ENDED"),
    ],
)
def test_a_report_names_what_is_wrong(judge: Judge, defect: str, message: str) -> None:
    """The place of each object in question, as group, subgroup and object."""
    values = judge(defect)

    assert values["cause"] == "data"
    assert values["message"] == message


@pytest.mark.parametrize(
    ("defect", "place"),
    [("subgroup-doubled", "surplus is [(0, 0, 0)"), ("object-corrupted", "changed is [((0, 0, 1)")],
)
def test_a_report_begins_with_the_first_wrong_object(judge: Judge, defect: str, place: str) -> None:
    """The same, where the list is long."""
    values = judge(defect)

    assert values["cause"] == "data"
    assert str(values["message"]).startswith(f"delivery.{place}")


def test_bytes_that_the_draft_does_not_allow_are_shown(judge: Judge) -> None:
    """With what they should have been the beginning of."""
    values = judge("object-cut-short")

    assert values["cause"] == "data"
    assert "the stream ends 4 bytes into an object" in str(values["message"])
    assert "0004" + b"ab".hex() in str(values["message"])
