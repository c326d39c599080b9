"""Relays that are wrong about objects, subgroups and datagrams."""

from __future__ import annotations

from pytest_moqt.relay.defects.chapter import CONFORMANCE, Chapter

of_objects = Chapter("Conformance: data", CONFORMANCE)
