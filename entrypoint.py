"""Runs the test client from a checkout or an image; installed, the same is the command moq-test-client."""

from __future__ import annotations

from pytest_moqt.cli import command

if __name__ == "__main__":
    command()
