"""The page about what of the drafts is tested, and the statements that it is written from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import coverage_page
import pytest
from coverage_page import BESIDE_REASONS, JUDGED, READ, REASONS, Statement
from draft_sentences import normative

from pytest_moqt import catalog
from pytest_moqt.protocol.spans import drafts

SPECS = Path(__file__).parents[2] / "shared" / "protocol" / "specs"
ABSENT = "the drafts' texts are not beside this checkout (../shared/protocol/specs)"

STATEMENTS = coverage_page.statements()
CASES = {case.identifier: case for case in catalog.known()}
CHECKED = [draft for draft in JUDGED if any(row.drafts.get(draft, READ) != READ for row in STATEMENTS)]
"Drafts whose sources, which have the anchors, are to be had."


def test_the_page_is_fresh() -> None:
    """`python -m tests.coverage_page` writes it anew."""
    assert coverage_page.PAGE.read_text(encoding="utf-8") == coverage_page.page()


def test_statements_are_told_apart_by_their_ids() -> None:
    """No two have the same."""
    assert [name for name, count in Counter(row.id for row in STATEMENTS).items() if count > 1] == []


@pytest.mark.parametrize("row", STATEMENTS, ids=lambda row: row.id)
def test_a_statement_is_complete(row: Statement) -> None:
    """Level, drafts, sections: all known; and it has cases, or a reason why it cannot have any."""
    assert row.level in ("must", "should")
    assert set(row.drafts) <= set(JUDGED)
    assert set(row.at) <= set(row.drafts)
    assert [draft for draft in row.drafts if row.section(draft) is None] == [], "no such section"
    assert not row.untestable or (row.untestable in REASONS and not row.cases)


@pytest.mark.parametrize("row", [row for row in STATEMENTS if row.cases], ids=lambda row: row.id)
def test_the_cases_of_a_statement_exist(row: Statement) -> None:
    """Each is in the catalogue, and exists in a draft that has the statement."""
    assert [name for name in row.cases if name not in CASES] == [], "no such case"
    assert len(set(row.cases)) == len(row.cases)
    for name in row.cases:
        case = CASES[name]
        assert any(draft in drafts(case.since, case.until or None) for draft in row.drafts), name


def test_every_conformance_case_judges_a_statement_or_has_a_reason_not_to() -> None:
    """And no case has both."""
    judging = {name for row in STATEMENTS for name in row.cases}
    reasons = coverage_page.beside()

    assert [name for name in reasons if name not in CASES] == [], "no such case"
    assert set(reasons.values()) <= set(BESIDE_REASONS)
    assert list(reasons) == sorted(reasons)
    assert sorted(judging & reasons.keys()) == []
    assert [
        case.identifier for case in catalog.conformance() if case.identifier not in judging | reasons.keys()
    ] == []


def test_the_newest_drafts_are_read_and_the_others_checked() -> None:
    """A draft has digests for all of its statements, or for none."""
    for draft in JUDGED:
        digests = {row.drafts[draft] for row in STATEMENTS if draft in row.drafts}
        assert digests == {READ} if draft not in CHECKED else READ not in digests


@pytest.mark.parametrize("draft", CHECKED)
def test_no_sentence_of_a_draft_is_left_out(draft: int) -> None:
    """Every sentence with MUST or SHOULD is a statement, in its section, and the other way round."""
    path = SPECS / f"draft-ietf-moq-transport-{draft}.md"
    if not path.is_file():
        pytest.skip(ABSENT)

    said = Counter(
        (sentence.section, sentence.digest) for sentence in normative(path.read_text(encoding="utf-8"))
    )
    kept = Counter((row.section(draft), row.drafts[draft]) for row in STATEMENTS if draft in row.drafts)

    assert sorted((said - kept).elements()) == []
    assert sorted(map(str, (kept - said).elements())) == []
