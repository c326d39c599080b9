"""How the tests are dealt out to several workers (`make test`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

SPREAD = ("tests/plugin/", "tests/odd_places/", "tests/test_entrypoint.py")
"Where each test is a run or two of pytest in a process of its own, for seconds, and shares nothing."


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
