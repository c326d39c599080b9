"""Relays that are wrong about SETUP, request ids, GOAWAY."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

in_sessions = Chapter("Conformance: session", CONFORMANCE)
