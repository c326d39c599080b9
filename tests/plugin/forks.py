"""Runs in processes that have imported already what every run imports: half of a short run's work, and more.

A fork is a process of its own, with the folder, the environment and the arguments it is given, and it ends as
a process ends. What depends on how an interpreter starts needs one that is started.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

SECONDS = 60.0
"For one run."

_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"Bytes in which getrusage counts."

_server = multiprocessing.get_context("forkserver")
# No plugin of pytest's, nor ours: of one that was imported before, pytest says that it cannot be rewritten.
_server.set_forkserver_preload(
    [
        "pytest",
        "execnet",
        "yaml",
        "pytest_moqt.client.webtransport",
        "pytest_moqt.options",
        "pytest_moqt.stream",
        "pytest_moqt.target",
    ]
)


class Forked(NamedTuple):
    """What a fork left."""

    code: int
    stdout: bytes
    stderr: bytes
    peak: int
    "The most memory that its process had resident, in bytes; 0 when it ended without a word."
    seconds: float
    "From its start to its end, by a clock on the wall."


def fork(
    work: Callable[..., int],
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    limit: float = SECONDS,
) -> Forked:
    """Do some work in a fork, whose exit code it returns.

    Args:
        work: A function of a module.
        arguments: For it.
        cwd: The folder it works in.
        env: Its whole environment; None: ours.
        limit: Seconds that it may take.

    Raises:
        TimeoutError: It did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory() as left:
        process = _server.Process(target=_run, args=(left, str(cwd), env, work, arguments))
        began = time.monotonic()
        process.start()
        process.join(limit)
        seconds = time.monotonic() - began
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{arguments} did not end within {limit:g} s")
        code, peak = process.exitcode, 0
        # The server of forks now and then loses an exit code (it then says 255); a file does not.
        if Path(left, "code").exists():
            code, peak = map(int, Path(left, "code").read_text().split())
        stdout, stderr = (Path(left, name).read_bytes() for name in ("stdout", "stderr"))
        return Forked(code, stdout, stderr, peak, seconds)


def _run(
    left: str,
    cwd: str,
    env: Mapping[str, str] | None,
    work: Callable[..., int],
    arguments: tuple[object, ...],
) -> None:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(left, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
    os.chdir(cwd)
    code = int(work(*arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    Path(left, "code").write_text(f"{code} {peak}")
    atexit._run_exitfuncs()
    os._exit(code)


def python_m_pytest(arguments: list[str]) -> int:
    """What `python -m pytest` does, in the folder we are in and with the paths of our environment."""
    import pytest

    import pytest_moqt

    # The word by which a module tells pytest that it need not be rewritten: it is too late for that, of which
    # pytest would warn.
    pytest_moqt.__doc__ = f"{pytest_moqt.__doc__} PYTEST_DONT_REWRITE"
    installed = (os.path.join(sys.prefix, ""), os.path.join(sys.base_prefix, ""))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [os.getcwd(), *paths, *(path for path in sys.path if path.startswith(installed))]
    sys.argv = [str(pytest.__file__), *arguments]
    return pytest.console_main()
