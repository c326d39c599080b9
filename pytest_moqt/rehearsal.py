"""What a run would do, without doing it: one session with the relay says which draft it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.failures import CaseFailure
from pytest_moqt.client.session import connect
from pytest_moqt.limits import CONNECT_SECONDS
from pytest_moqt.needs import Needs
from pytest_moqt.options import RunOptions
from pytest_moqt.selection import Selection
from pytest_moqt.target import Target


def rehearse(
    run: RunOptions, selection: Selection, write: Callable[[str], int], say: Callable[[str], None]
) -> int:
    """Print a line for each case: `run NAME`, or `skip NAME: why`.

    Args:
        run: The relay and how to reach it.
        selection: The cases.
        write: Puts text on standard output, and returns the exit code.
        say: Puts a sentence on standard error.

    Returns:
        The exit code.
    """
    target = Target(run)
    try:
        target.start()
        number = asyncio.run(_negotiated(target))
        transport = target.endpoint.transport
    except (ConnectError, CaseFailure) as error:
        say(str(error))
        return 1
    finally:
        target.stop()
    lines = [f"# Relay: {run.relay}", f"# Draft: draft-{number} (negotiated)", f"# Transport: {transport}"]
    for case in selection.cases:
        lacking = Needs.of(case).lacking((number,), transport)
        lines.append(f"run {case.identifier}" if lacking is None else f"skip {case.identifier}: {lacking[1]}")
    lines += [f"skip {name}: not supported by this client" for name in selection.unknown]
    return write("\n".join(lines) + "\n")


async def _negotiated(target: Target) -> int:
    """The number of the draft that the relay chooses."""
    session = await connect(
        target.endpoint, offer=target.offer, tls=target.tls, role="probe", timeout=CONNECT_SECONDS
    )
    await session.close()
    return session.draft.number
