"""Runs the test client from a checkout or an image; installed, the same is the command moq-test-client."""

from __future__ import annotations

import sys

from pytest_moqt.cli import main

if __name__ == "__main__":
    sys.exit(main())
