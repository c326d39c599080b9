"""Several ways to break one rule, each in a session of its own: what is said of one names it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

from pytest_moqt import CaseFailure, ClientSession, Opening, RelayUnderTest


@contextlib.contextmanager
def named(relay: RelayUnderTest, name: str) -> Iterator[None]:
    """Put the name of a variant before all that is found inside: a failure, warnings, choices."""
    seen = relay.observed
    warned, chosen = len(seen.warnings), len(seen.choices)
    try:
        yield
    except CaseFailure as failure:
        failure.args = (f"{name}: {failure}",)
        raise
    finally:
        seen.warnings[warned:] = [f"{warning} [{name}]" for warning in seen.warnings[warned:]]
        seen.choices[chosen:] = [f"{name}: {choice}" for choice in seen.choices[chosen:]]


@contextlib.asynccontextmanager
async def variant(
    relay: RelayUnderTest, name: str, role: str = "attacker", *, opening: Opening | None = None
) -> AsyncIterator[ClientSession]:
    """A session for one variant; use it inside `harmless`, which judges what it did to others.

    Args:
        relay: The relay.
        name: What is said in it.
        role: The session's name in the report.
        opening: How it begins.
    """
    with named(relay, name):
        async with relay.connect(role, opening=opening or Opening()) as session:
            yield session
