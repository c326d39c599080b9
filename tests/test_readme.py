"""What the README says of the tables is what the tables say."""

from __future__ import annotations

from drafts_table import README, table, written


def test_the_table_of_drafts_is_fresh() -> None:
    """`python tests/drafts_table.py` writes it anew."""
    text = README.read_text(encoding="utf-8")

    assert text == written(text)
    assert table() in text
