"""Relays that are wrong about PUBLISH and SUBSCRIBE_TRACKS."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_publish = Chapter("Conformance: publish", CONFORMANCE)
