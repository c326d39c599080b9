"""All that is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz import codec_targets, session_targets, text_targets

TARGETS = (*codec_targets.TARGETS, *session_targets.TARGETS, *text_targets.TARGETS)
