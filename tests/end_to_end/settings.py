"""The settings in which a relay of our own is judged: each supported draft over each transport."""

from __future__ import annotations

from typing import NamedTuple

from pytest_moqt.protocol.drafts import SUPPORTED
from tests.sweeps import dealt

TRANSPORTS = ("quic", "webtransport")


class Setting(NamedTuple):
    """A draft over a transport."""

    draft: int
    transport: str

    def __str__(self) -> str:
        return f"{self.draft}-{self.transport}"


SETTINGS = [Setting(draft, transport) for draft in SUPPORTED for transport in TRANSPORTS]


def one_transport_each(turn: int = 0) -> list[Setting]:
    """Each draft over one transport; another turn takes the other."""
    return [Setting(draft, dealt(TRANSPORTS, str(draft), turn)) for draft in SUPPORTED]
