"""What ends a run with exit code 1."""

from __future__ import annotations


class InteropError(Exception):
    """A run failed; the message is one sentence for standard error."""
