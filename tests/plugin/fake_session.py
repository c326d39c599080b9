"""Sessions without a network, for tests of the plugin: `install()` in a conftest puts them in place.

What the relay does is in the environment variable FAKE_RELAY, words with spaces between:
`unreachable`, `no-setup`, `draft-16`, `closes`, `silent`, `refuses`.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.failures import CaseFailure, SessionEnded, SetupError
from pytest_moqt.client.journal import Journal
from pytest_moqt.protocol.drafts import draft
from pytest_moqt.protocol.events import Close
from pytest_moqt.protocol.messages import Setup

HOSTILE = "nope\n  ...\nok 9 - forged\nBail out! \x1b[31m # SKIP \u2028"


def _behaviour() -> list[str]:
    return os.environ.get("FAKE_RELAY", "").split()


class FakeSession:
    """What the plugin and the toy cases use of a ClientSession."""

    def __init__(self, number: int, role: str, transport: str, identity: str) -> None:
        self.draft = draft(number)
        self.role = role
        self.peer_setup = Setup()
        self.closed: Close | None = None
        self.waiting: list[str] = []
        self.journal = Journal(self.draft, time.monotonic())
        self.journal.event(f"SETUP {role}", "sent")
        self.journal.event(f"SETUP {HOSTILE}", "received")
        self.only_listens = True
        self.left = False
        self.close_awaited = False
        self.remarks = [f"draft-14 was offered alone: {HOSTILE}"] if "remarks" in _behaviour() else []
        self.on_first_request: Any = None
        self.transport = transport
        self.identity = identity

    def facts(self) -> dict[str, str]:
        """See ClientSession.facts."""
        return {
            "moqt_version": self.draft.label,
            "transport": self.transport,
            "alpn": self.draft.alpn,
            "quic_initial_destination_connection_id": self.identity,
        }

    def refusal(self) -> None:
        """See ClientSession.refusal."""

    def told(self, shown: str, code: object = None) -> None:
        """See ClientSession.told."""

    def notes(self) -> list[str]:
        """See ClientSession.notes."""
        return (
            [f"beside this case, the relay broke its draft: {HOSTILE}"] if "deviates" in _behaviour() else []
        )

    def check_open(self) -> None:
        """See ClientSession.check_open."""
        if self.closed is not None and not self.close_awaited:
            raise SessionEnded("the relay closed", cause="closed", expected="an open session", received="0x3")

    async def settle(self) -> None:
        """See ClientSession.settle."""
        self.check_open()

    async def request(self, message: object, *, expect: object = None) -> object:
        """What FAKE_RELAY says."""
        behaviour = _behaviour()
        if self.on_first_request:
            self.on_first_request()
        if "refuses" in behaviour:
            raise CaseFailure(
                f"the relay refused: {HOSTILE}",
                cause="rejected",
                expected="REQUEST_OK for request 0",
                received=f"REQUEST_ERROR {HOSTILE}",
            )
        if "silent" in behaviour:
            self.waiting.append("REQUEST_OK or REQUEST_ERROR for request 0")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.waiting.pop()
        return message

    async def close(self, code: int = 0, reason: str = "") -> None:
        """See ClientSession.close."""
        if self.closed is None:
            self.closed = Close(code=0, by_peer=False)


_count = 0


async def connect(
    endpoint: Any, *, offer: Any, tls: Any, role: str, timeout: float, opening: Any
) -> FakeSession:
    """See pytest_moqt.client.session.connect."""
    global _count
    _count += 1
    behaviour = _behaviour()
    identity = f"{os.getpid():08x}{_count:08x}"
    await asyncio.sleep(0)
    if "unreachable" in behaviour:
        raise ConnectError(
            "refused", "no relay answered at 127.0.0.1:1", tried=("127.0.0.1:1",), connection_id=identity
        )
    if "no-setup" in behaviour:
        raise SetupError(
            "no SETUP within 2000 ms",
            cause="setup",
            expected="SETUP",
            received="timeout",
            spec="message-setup",
            facts={"transport": endpoint.transport, "quic_initial_destination_connection_id": identity},
        )
    number = next((int(word[6:]) for word in behaviour if word.startswith("draft-")), offer[0])
    session = FakeSession(number, role, endpoint.transport, identity)
    if "closes" in behaviour:
        session.closed = Close(code=3, by_peer=True)
    return session


def install() -> None:
    """Let `relay.connect` give fake sessions in this process."""
    import pytest_moqt.target

    pytest_moqt.target.connect = connect  # type: ignore[assignment]
