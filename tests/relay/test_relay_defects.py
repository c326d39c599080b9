"""The registry of defects: enough of them, and each wrong in one way."""

from __future__ import annotations

import pytest

from pytest_moqt import catalog
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import CHAPTERS, DEFECTS, Defect, applicable, behaviour_of
from pytest_moqt.relay.defects.chapter import CONFORMANCE, DATA_SUBGROUP, INFO, PASS, SKIP, WARN

CAUSES = {
    *("transport", "tls", "alpn", "webtransport", "setup", "rejected", "wrong-message"),
    *("malformed", "timeout", "closed", "reset", "data", "internal"),
}
TRANSPORTS = ("quic", "webtransport")


@pytest.mark.parametrize("case", catalog.IDENTIFIERS)
def test_every_case_can_be_failed_in_three_ways_and_more(case: str) -> None:
    """'A case no defect can fail is not evidence'; nor is one that fails for one cause only."""
    failing = [defect for defect in DEFECTS.values() if case in defect.cases]

    assert len(failing) >= 3
    assert len({defect.cause for defect in failing}) >= 3


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("case", catalog.IDENTIFIERS)
def test_every_case_can_be_failed_in_each_draft_that_has_it(number: int, transport: str, case: str) -> None:
    """On either transport."""
    failing = [defect for defect in applicable(number, transport) if case in defect.cases]

    assert len(failing) >= 3


def test_each_defect_has_a_name_of_its_own() -> None:
    """No entry hides another."""
    names = [defect.name for chapter in CHAPTERS for defect in chapter.defects]

    assert sorted(names) == sorted(DEFECTS)
    assert len({chapter.title for chapter in CHAPTERS}) == len(CHAPTERS)


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_described(defect: Defect) -> None:
    """Its cases, of one profile, and its cause are such that a report can name them."""
    known = {case.identifier for case in catalog.known() if case.profile == defect.profile}
    assert defect.cases | defect.skips <= known | {DATA_SUBGROUP}
    assert defect.suite.keys() <= {case.identifier for case in catalog.conformance()}
    assert set(defect.suite.values()) <= CAUSES | {WARN, INFO, PASS, SKIP}
    assert defect.suite or defect.profile != CONFORMANCE
    assert not defect.cases & defect.skips
    assert defect.cause in (CAUSES if defect.cases else {""})
    assert defect.sentence[0].isupper()
    assert defect.sentence.endswith(".")
    assert any(defect.applies(number, transport) for number in SUPPORTED for transport in TRANSPORTS)


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_overrides_decisions_only(defect: Defect) -> None:
    """What it changes is a method of `Behaviour`, and few of them."""
    decisions = {name for name in vars(Behaviour) if not name.startswith("_")}
    changed = {name for name in decisions if getattr(defect.behaviour, name) is not getattr(Behaviour, name)}

    assert 1 <= len(changed) <= 2


def test_each_relay_has_a_behaviour_of_its_own() -> None:
    """Some defects remember what they met."""
    name = "early-subscribe-rejects-publisher"

    assert behaviour_of(name) is not behaviour_of(name)
    assert type(behaviour_of(None)) is Behaviour


def test_an_unknown_name_is_answered_with_names_like_it() -> None:
    """One sentence."""
    with pytest.raises(KeyError) as caught:
        behaviour_of("announce-noanswer")

    assert caught.value.args[0].startswith(
        "no defect is called 'announce-noanswer'; did you mean announce-no-answer"
    )
