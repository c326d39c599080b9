"""Tests of a MoQT relay: `pytest interop_tests --relay URL`."""
