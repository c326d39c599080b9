"""Tests of the QUIC beneath a relay's sessions: `pytest interop_tests/quic --relay URL`."""
