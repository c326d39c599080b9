"""Relays that are wrong about namespaces and their discovery."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_namespaces = Chapter("Conformance: namespaces", CONFORMANCE)
