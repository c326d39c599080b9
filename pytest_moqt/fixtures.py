"""The fixtures of a test of a relay: `relay`, `session` and `draft`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pytest_asyncio.plugin import fixture as async_fixture

from pytest_moqt.client.session import ClientSession
from pytest_moqt.limits import Limit
from pytest_moqt.needs import NOTHING, Needs
from pytest_moqt.plugin import CASE, TARGET
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.target import RelayUnderTest


@pytest.fixture
def relay(request: pytest.FixtureRequest) -> RelayUnderTest:
    """The relay under test: `async with relay.connect("subscriber") as subscriber:`."""
    case = request.node.stash.get(CASE, None)
    limit = Limit(float("inf")) if case is None else case.limit
    needs = NOTHING if case is None else Needs.of(case.known)
    relay = RelayUnderTest(request.config.stash[TARGET], limit, needs)
    if case is not None:
        case.relay = relay
    relay.skip_unless_it_exists()
    return relay


@async_fixture(loop_scope="session")
async def session(request: pytest.FixtureRequest, relay: RelayUnderTest) -> AsyncIterator[ClientSession]:
    """A session with the relay, in the role `client`; closed after the test."""
    case = request.node.stash.get(CASE, None)
    if case is None:
        pytest.fail(
            "the session fixture needs a test marked @pytest.mark.interop or @pytest.mark.spec: "
            "those run on the event loop that the session lives on",
            pytrace=False,
        )
    async with relay.connect() as session:
        yield session
        if case.failed:
            # The verdict is there already; an end of the session is part of the same story.
            session.close_awaited = True


@async_fixture(loop_scope="session")
async def draft(relay: RelayUnderTest) -> Draft:
    """The draft of this run; negotiated with a session of its own when no test has had one yet."""
    try:
        return relay.draft
    except RuntimeError:
        async with relay.connect("probe"):
            return relay.draft
