"""Work that tests look at, done ahead of them, several at a time: runs of the command are waits mostly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import pytest
from strict_tap import NotTap

AT_A_TIME = 3

KeyT = TypeVar("KeyT")
DoneT = TypeVar("DoneT")


class Ahead(Generic[KeyT, DoneT]):
    """Work on many keys, begun ahead of the tests that look at what comes of it."""

    def __init__(self, pool: ThreadPoolExecutor, keys: Iterable[KeyT], work: Callable[[KeyT], DoneT]) -> None:
        self._work = work
        self._first = {key: pool.submit(work, key) for key in keys}

    def check(self, key: KeyT, assertion: Callable[[DoneT], None]) -> None:
        """Look at what came of a key; at a second run if the first is wrong.

        A machine with too much to do can make any relay late, and these share it with each other. It makes
        nobody write what is no TAP: that is never looked at twice.
        """
        try:
            assertion(self._first[key].result())
        except NotTap:
            raise
        except AssertionError:
            assertion(self._work(key))


@contextmanager
def ahead(keys: Iterable[KeyT], work: Callable[[KeyT], DoneT]) -> Iterator[Ahead[KeyT, DoneT]]:
    """The work on all keys, several at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield Ahead(pool, keys, work)
        pool.shutdown(cancel_futures=True)


def selected(request: pytest.FixtureRequest, name: str) -> list[object]:
    """The values of a parameter in those tests of the module that were selected."""
    return [
        item.callspec.params[name]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec") and name in item.callspec.params
    ]


def runs_ahead(name: str, work: Callable[[KeyT, Path], DoneT]) -> Callable[..., Iterator[Ahead[KeyT, DoneT]]]:
    """A fixture of a module: the work on all that was selected of it, in an empty folder.

    Args:
        name: The parameter of its tests that is the key.
        work: What to do for a key, in which folder.
    """

    @pytest.fixture(scope="module")
    def runs(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Ahead[KeyT, DoneT]]:
        folder = tmp_path_factory.mktemp("empty")
        with ahead(selected(request, name), lambda key: work(key, folder)) as begun:
            yield begun

    return runs
