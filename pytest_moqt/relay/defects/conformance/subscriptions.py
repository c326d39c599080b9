"""Relays that are wrong about subscriptions, filters and updates."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_subscriptions = Chapter("Conformance: subscriptions", CONFORMANCE)
