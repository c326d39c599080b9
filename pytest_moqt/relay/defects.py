"""Relays that are wrong in exactly one way."""

from __future__ import annotations

from pytest_moqt.relay.behaviour import Behaviour


def behaviour_of(name: str | None) -> Behaviour:
    """x."""
    if name is None:
        return Behaviour()
    raise KeyError(name)
