"""How the tests are dealt out to several workers (`make test`)."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SPREAD = ("plugin", "odd_places", "test_entrypoint.py")
"Where each test is a run or two of pytest in a process of its own, for seconds, and shares nothing."


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a file together, for the sake of what they share, but for the slow ones.

    xdist gives the largest groups out first, and single tests at the end: no worker is left with one long
    file while the others have nothing to do.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        path = item.path.relative_to(TESTS)
        if path.parts[0] not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(path.as_posix()))
