"""Relays that only the conformance suite can tell from correct ones, a module for each of its profiles."""
