"""Relays that are wrong about FETCH."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_fetch = Chapter("Conformance: fetch", CONFORMANCE)
