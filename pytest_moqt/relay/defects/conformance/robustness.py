"""Relays that are wrong about many clients, and slow ones."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

under_load = Chapter("Conformance: robustness", CONFORMANCE)
