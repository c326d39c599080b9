"""Relays that are wrong about authorization tokens."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_tokens = Chapter("Conformance: auth", CONFORMANCE)
