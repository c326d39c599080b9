"""Relays that are wrong about TRACK_STATUS."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_status = Chapter("Conformance: status", CONFORMANCE)
