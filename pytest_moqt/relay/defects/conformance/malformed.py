"""Relays that are wrong about what no draft allows."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_malformed = Chapter("Conformance: malformed", CONFORMANCE)
