"""Relays that go on where their client should have been shown the door."""

from __future__ import annotations

from typing import ClassVar

from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.session import Session


class Overlooks(Behaviour):
    """A relay that goes on where its client's fault, in its own words, has one of these phrases."""

    phrases: ClassVar[tuple[str, ...]] = ()

    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:
        """As a correct relay, but for those."""
        if any(phrase in str(error) for phrase in self.phrases):
            return None
        return super().violated(session, error)
