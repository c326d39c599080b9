"""Which tests an ordinary run makes, and how they are dealt out to several workers (`make test`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

SPREAD = ("tests/plugin/", "tests/odd_places/", "tests/test_entrypoint.py")
"Where each test is a run or two of pytest in a process of its own, for seconds, and shares nothing."


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ask for all that there is."""
    text = "run every cell of the sweeps, of which a run has a part otherwise (tests/sweeps.py)"
    parser.addoption("--thorough", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of what an ordinary run leaves out."""
    config.addinivalue_line("markers", "thorough: run with --thorough only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a thorough run has time for."""
    if config.getoption("thorough"):
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Keep the tests of a file together, for the sake of what they share, but for the slow ones.

    The largest files are given out first, and single tests at the end: no worker is left with one long file
    while the others have nothing to do. (`loadgroup` would say the same, if pytest 9.2 heeded what xdist 3.8
    writes into a test's id.)
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LoadMostFiles(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if nodeid.startswith(SPREAD) else str(super()._split_scope(nodeid))

    return LoadMostFiles(config, log)
