"""Relays that are wrong about raw QUIC and WebTransport."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_transports = Chapter("Conformance: transport", CONFORMANCE)
