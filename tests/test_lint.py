"""`lint-tap`: each rule is broken by a document that breaks nothing else, and no input breaks the checker."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_moqt import tap
from pytest_moqt.client import failures
from pytest_moqt.diagnosis import CONNECT_CAUSES
from pytest_moqt.lint import block, source
from pytest_moqt.lint.command import EXIT_CLEAN, EXIT_USAGE, EXIT_VIOLATIONS, main
from pytest_moqt.lint.diagnostics import CAUSES
from pytest_moqt.lint.report import Report, check
from pytest_moqt.lint.rules import RULES, SHOWN, Level
from pytest_moqt.lint.runner import Count, count, prefixed, prefixed_verdict, verdict

CLEAN = """\
TAP version 14
# moq-test-client 0.1.0
# Relay: moqt://localhost:4443
# Draft: draft-18 (negotiated)
# Transport: quic
# TLS: no certificate accepted or refused
1..4
ok 1 - setup-only
  ---
  duration_ms: 9
  connection_id: "84ee7793841adcad"
  sessions:
    client:
      moqt_version: "moqt-18"
      transport: "quic"
      alpn: "moqt-18"
      quic_initial_destination_connection_id: "84ee7793841adcad"
  implementation_version: "0.1.0"
  test_spec_revision: 1
  ...
not ok 2 - announce-only
  ---
  duration_ms: 12.5
  expected: "REQUEST_OK for request 0"
  received: "REQUEST_ERROR UNAUTHORIZED (0x1): \\"no token\\""
  message:
    - "the relay refused PUBLISH_NAMESPACE"
    - "ok 3 - says the relay"
  cause: "rejected"
  spec: "MoQT-18 section 10.15 (message-pub-ns)"
  publisher_connection_id: "84ee7793841adcadd926a1baf1c677cc"
  ...
ok 3 - rendezvous-timeout # SKIP draft-14 has no such \\# thing
not ok 4 - later # TODO not \\\\ yet
  ---
  duration_ms: 0
  notes: []
  none: null
  ...
"""
"Its points stand on lines 8, 21, 33 and 34, the block of the last on 35 to 39."
SUBTESTS = """\
TAP version 14
1..2
# Subtest: within
    1..3
    ok 1 - connected
      ---
      duration_ms: 1
      ...
    ok 2 - asked # SKIP not now
    not ok 3 - answered # TODO
ok 1 - within
# Subtest: failed
    1..1
    not ok 1 - answered
not ok 2 - failed
"""
BAILED = """\
TAP version 14
1..3
ok 1 - first
not ok 2 - second
Bail out! no relay answered
# behind it comments are good
"""
TRAILING = """\
TAP version 14
ok 1 - first
ok 2 - second
1..2
"""
PIECES = frozenset({"header", "yaml-missing"})
"What the smaller documents lack, beside what they are about."
CONTRACT = frozenset(name for name, rule in RULES.items() if rule.level is Level.CONTRACT)


def edited(text: str, *edits: tuple[int, str | None]) -> str:
    """A document with lines, by number, replaced by others, or without them."""
    lines = text.splitlines()
    for number, new in sorted(edits, reverse=True):
        lines[number - 1 : number] = [] if new is None else new.splitlines()
    return "".join(f"{line}\n" for line in lines)


def violations(text: str | bytes, ignored: frozenset[str] = frozenset()) -> list[tuple[str, int]]:
    """Rule and line of each violation."""
    report = check(text.encode() if isinstance(text, str) else text, ignored)
    return [(found.rule.name, found.line) for found in report.findings.violations]


def warnings(report: Report) -> list[tuple[str, int]]:
    """Rule and line of each warning."""
    return [(found.rule.name, found.line) for found in report.findings.warnings]


# ---- the rules -------------------------------------------------------------------------------------


class Break(NamedTuple):
    """A document that breaks one rule."""

    rule: str
    line: int
    edits: Sequence[tuple[int, str | None]]
    "Lines of the document, by number, that are replaced, or dropped."
    document: str = CLEAN
    beside: tuple[str, ...] = ()
    "Rules of the contract that cannot but break too."


FIRST_BLOCK = [(number, f" {CLEAN.splitlines()[number - 1]}") for number in range(9, 21)]
"The first block, one column too far in."
EXPECTED = CLEAN.splitlines()[23]

BREAKS = [
    Break("version", 1, [(1, "TAP version 13")]),
    Break("version", 1, [(1, "TAP version 14 ")]),
    Break("version", 1, [(1, None)]),
    Break("version-again", 2, [(1, "TAP version 14\nTAP version 14")]),
    Break("plan-syntax", 8, [(7, "1..4\n2..4")]),
    Break("plan-syntax", 8, [(7, "1..4\n1..four")]),
    Break("plan-syntax", 7, [(7, "0..4")]),
    Break("plan-syntax", 7, [(7, f"1..{'4' * 5000}")]),
    Break("plan-syntax", 4, [(4, "    1..-3")], SUBTESTS),
    Break("plan-missing", 38, [(7, None)]),
    Break("plan-missing", 4, [(4, None)], SUBTESTS),
    Break("plan-again", 40, [(39, "  ...\n1..4")]),
    Break("plan-again", 5, [(4, "    1..3\n    1..3")], SUBTESTS),
    Break("plan-count", 7, [(7, "1..5")]),
    Break("plan-count", 4, [(4, "    1..4")], SUBTESTS),
    Break("plan-count", 2, [(2, "1..1"), (4, "not ok - second")], BAILED, ("point-id",)),
    Break("plan-first", 39, [(7, None), (39, "  ...\n1..4")]),
    Break("plan-first", 4, [], TRAILING),
    Break("plan-first", 4, [(2, None)], BAILED),
    Break("plan-first", 10, [(4, None), (10, "    not ok 3 - answered # TODO\n    1..3")], SUBTESTS),
    Break("plan-form", 7, [(7, "1..04")]),
    Break("plan-form", 7, [(7, "1..4 # so many")]),
    Break("point-after-plan", 4, [(4, None), (3, "1..2\nok 2 - second")], TRAILING, ("plan-first",)),
    Break("id-range", 33, [(33, "ok 9 - rendezvous-timeout # SKIP so")]),
    Break("id-range", 33, [(33, "ok 0 - rendezvous-timeout # SKIP so")]),
    Break("id-range", 33, [(33, f"ok {'9' * 5000} - rendezvous-timeout # SKIP so")]),
    Break("id-range", 3, [(3, "ok 3 - second")], TRAILING, ("plan-first",)),
    Break("id-order", 33, [(21, "not ok 3 - announce-only"), (33, "ok 2 - rendezvous-timeout # SKIP so")]),
    Break("id-unique", 33, [(33, "ok 2 - rendezvous-timeout # SKIP so")]),
    Break("id-unique", 9, [(9, "    ok 1 - asked # SKIP not now")], SUBTESTS),
    Break("point-id", 33, [(33, "ok - rendezvous-timeout # SKIP so")]),
    Break("point-separator", 8, [(8, "ok 1 setup-only")]),
    Break("point-description", 33, [(33, "ok 3 - # SKIP so")]),
    Break("name-unique", 33, [(33, "ok 3 - setup-only # SKIP so")]),
    Break("directive-space", 8, [(8, "ok 1 - setup-only# SKIP so")]),
    Break("directive-space", 8, [(8, "ok 1 - setup-only #todo")]),
    Break("directive-form", 33, [(33, "ok 3 - rendezvous-timeout # skip so")]),
    Break("directive-form", 33, [(33, "ok 3 - rendezvous-timeout # Skipped: so")]),
    Break("directive-form", 33, [(33, "ok 3 - rendezvous-timeout #  SKIP so")]),
    Break("directive-form", 33, [(33, "ok 3 - rendezvous-timeout # SKIP  so")]),
    Break("escape", 8, [(8, "ok 1 - setup # only")]),
    Break("escape", 8, [(8, "ok 1 - setup\\only")]),
    Break("escape", 33, [(33, "ok 3 - rendezvous-timeout # SKIP issue # TODO")]),
    Break("skip-not-ok", 33, [(33, "not ok 3 - rendezvous-timeout # SKIP so")]),
    Break("skip-not-ok", 9, [(9, "    not ok 2 - asked # SKIP not now")], SUBTESTS),
    Break("pragma", 8, [(7, "1..4\npragma +strict")]),
    Break("pragma-syntax", 8, [(7, "1..4\npragma strict")]),
    Break("indentation", 34, [(33, "ok 3 - rendezvous-timeout # SKIP so\n   1..3")]),
    Break("indentation", 34, [(33, "ok 3 - a # SKIP so\n\t1..3")], CLEAN, ("control-character",)),
    Break("indentation", 10, [(9, "    ok 2 - asked # SKIP not now\n     1..3")], SUBTESTS),
    Break("non-tap", 8, [(7, "1..4\nConnecting ...")]),
    Break("non-tap", 8, [(7, "1..4\nokay")]),
    Break("non-tap", 8, [(7, "1..4\nOK 1 - setup-only")]),
    Break("non-tap", 8, [(7, "1..4\n--- a/file")]),
    Break("non-tap", 8, [(7, "1..4\nok\t1 - setup-only")], CLEAN, ("control-character",)),
    Break("control-character", 24, [(24, '  expected: "\u202egnp"')]),
    Break("control-character", 8, [(8, "ok 1 - \x1b[32msetup-only\x1b[0m")]),
    Break("control-character", 8, [(8, "ok 1 - setup\x00only")]),
    Break("blank-line", 8, [(7, "1..4\n  \n")]),
    Break("blank-line", 10, [(9, "  ---\n\n")]),
    Break("header", 6, [(2, None)]),
    Break("header", 6, [(3, None)]),
    Break("header", 7, [(4, "# Draft: latest")]),
    Break("header", 6, [(5, None)]),
    Break("header", 6, [(6, None)]),
    Break("yaml-missing", 34, [(number, None) for number in range(35, 40)]),
    Break("yaml-place", 8, [(7, '1..4\n  ---\n  a: "b"\n  ...')]),
    Break("yaml-place", 40, [(39, '  ...\n  ---\n  a: "b"\n  ...')]),
    Break("yaml-marker", 9, FIRST_BLOCK),
    Break("yaml-marker", 9, [(9, "  --- ")]),
    Break("yaml-marker", 20, [(20, " ...")]),
    Break("yaml-marker", 20, [(20, "  ...  ")]),
    Break("yaml-marker", 6, [(6, "  ---"), (7, "  duration_ms: 1"), (8, "  ...")], SUBTESTS),
    Break("yaml-indent", 10, [(10, " from elsewhere\n  duration_ms: 9")]),
    Break("yaml-indent", 10, [(10, "# from elsewhere\n  duration_ms: 9")]),
    Break("yaml-unclosed", 9, [(20, None)]),
    Break("yaml-unclosed", 35, [(39, None)]),
    Break("yaml-unclosed", 6, [(8, None)], SUBTESTS),
    Break("yaml-syntax", 24, [(24, "  expected: REQUEST_OK: no")]),
    Break("yaml-syntax", 24, [(24, '  duration_ms: "again"')]),
    Break("yaml-syntax", 25, [(24, '  expected: "x"\n  --- "y"')]),
    Break("yaml-syntax", 24, [(24, f"  expected: {'[' * 50}{']' * 50}")]),
    Break("yaml-syntax", 24, [(24, "  expected: *unknown")]),
    Break("yaml-syntax", 24, [(24, '  expected: "\x1b"')], CLEAN, ("control-character",)),
    Break("yaml-mapping", 35, [(36, '  - "a"'), (37, None), (38, None)]),
    Break("yaml-mapping", 35, [(36, None), (37, None), (38, None)]),
    Break("yaml-quoting", 24, [(24, "  expected: REQUEST_OK")]),
    Break("yaml-quoting", 24, [(24, "  expected: 'REQUEST_OK'")]),
    Break("yaml-quoting", 24, [(24, "  expected: |\n    REQUEST_OK")]),
    Break("yaml-quoting", 24, [(24, '  expected: "REQUEST\n    OK"')]),
    Break("yaml-quoting", 24, [(24, "  expected: 0123")]),
    Break("yaml-quoting", 24, [(24, "  expected: no")]),
    Break("yaml-quoting", 25, [(24, '  expected: "a"\n  others: ["b", c]')]),
    Break("yaml-quoting", 7, [(7, "      duration: 1 s")], SUBTESTS),
    Break("yaml-portable", 24, [(24, '  expected: !!str "REQUEST_OK"')]),
    Break("yaml-portable", 24, [(24, '  expected: &anchor "REQUEST_OK"')]),
    Break("yaml-portable", 25, [(24, '  expected: "REQUEST_OK"\n  no: 1')]),
    Break("yaml-portable", 25, [(24, '  expected: "REQUEST_OK"\n  ? [1]\n  : 2')]),
    Break("duration", 35, [(36, None)]),
    Break("duration", 36, [(36, '  duration_ms: "0"')]),
    Break("duration", 36, [(36, "  duration_ms: -1")]),
    Break("duration", 36, [(36, "  duration_ms: [1]")]),
    Break("failure-fields", 22, [(24, None)]),
    Break("failure-fields", 22, [(25, "  received: null")]),
    Break("failure-fields", 22, [(26, "  message: []"), (27, None), (28, None)]),
    Break("failure-spec", 22, [(30, None)]),
    Break("cause", 29, [(29, '  cause: "bad luck"')]),
    Break("cause", 29, [(29, '  cause: ["rejected"]')]),
    Break("identity", 9, [(11, None), *((number, None) for number in range(12, 18))]),
    Break("identity", 9, [(18, None)]),
    Break("identity", 9, [(16, None)]),
    Break("identity-form", 31, [(31, '  publisher_connection_id: "84EE7793841ADCAD"')]),
    Break("identity-form", 31, [(31, '  publisher_connection_id: "abc12345"')]),
    Break("identity-form", 31, [(31, '  "!_connection_id": "84ee7793841adcad"')]),
    Break("identity-form", 17, [(17, '      quic_initial_destination_connection_id: "94ee7793841adcad"')]),
    Break("identity-form", 32, [(31, '  a_connection_id: "84ee7793841adcad"\n  sessions: "none"')]),
    Break("identity-form", 33, [(31, '  a_connection_id: "84ee7793841adcad"\n  sessions:\n    a: 1')]),
    Break("countable-line", 24, [(24, f"  ok 7: 1\n{EXPECTED}")]),
    Break("countable-line", 24, [(24, f"  not okay: 1\n{EXPECTED}")]),
    Break("countable-line", 8, [(7, "1..4\nnot okay")], CLEAN, ("non-tap",)),
    Break("after-bail-out", 6, [(6, "ok 3 - third")], BAILED),
    Break("after-bail-out", 6, [(6, "Killed")], BAILED),
    Break("bail-out-form", 5, [(5, "Bail out!")], BAILED),
    Break("bail-out-form", 5, [(5, "bail out! no relay answered")], BAILED),
    Break("bail-out-failure", 5, [(4, "ok 2 - second")], BAILED),
    Break("bail-out-failure", 5, [(4, "not ok 2 - second # TODO")], BAILED),
    Break("subtest-empty", 12, [(13, None), (14, None)], SUBTESTS),
    Break("subtest-empty", 16, [(15, "not ok 2 - failed\n# Subtest: more")], SUBTESTS),
    Break("subtest-interrupted", 11, [(11, "# in between\nok 1 - within")], SUBTESTS),
    Break("subtest-interrupted", 9, [(9, "# in between\n    ok 2 - asked # SKIP not now")], SUBTESTS),
    Break("subtest-interrupted", 11, [(11, "pragma +strict\nok 1 - within")], SUBTESTS, ("pragma",)),
    Break("subtest-unfinished", 13, [(2, "1..1"), (15, None)], SUBTESTS),
    Break("subtest-unfinished", 4, [(2, "1..1"), (11, None), (15, "not ok 1 - failed")], SUBTESTS),
    Break("subtest-unfinished", 15, [(14, "    not ok 1 - x\n        1..0")], SUBTESTS, ("subtest-comment",)),
    Break("subtest-name", 11, [(11, "ok 1 - another")], SUBTESTS),
    Break("subtest-name", 11, [(3, "# Subtest")], SUBTESTS),
    Break("subtest-status", 15, [(15, "ok 2 - failed")], SUBTESTS),
    Break("subtest-comment", 3, [(3, None)], SUBTESTS),
    Break("subtest-version", 4, [(4, "    TAP version 14\n    1..3")], SUBTESTS),
    Break("subtest-bail-out", 15, [(15, "    Bail out! no relay")], SUBTESTS, ("bail-out-failure",)),
]
BYTES = [
    ("utf-8", 8, CLEAN.encode().replace(b"setup-only", b"setup-\xff")),
    ("utf-8", 24, CLEAN.encode().replace(b"for request 0", b"for \xc3\x28")),
    ("byte-order-mark", 1, b"\xef\xbb\xbf" + CLEAN.encode()),
    ("final-newline", 39, CLEAN.encode()[:-1]),
    ("carriage-return", 2, CLEAN.encode().replace(b"0.1.0\n", b"0.1.0\r\n", 1)),
    ("too-large", 24, CLEAN.encode().replace(b"for request 0", b"x" * source.MAX_LINE, 1)),
]
WARNINGS = [
    ("runner-count", 3, "TAP version 14\n1..2\nok name\nok 2 - other\n"),
    ("runner-count-prefixed", 5, SUBTESTS),
    ("runner-count-log", 1, prefixed(CLEAN) + "relay-1  | ok 1 - listening\n"),
    ("runner-plan", 2, "TAP version 14\n1..2\nok 1 - first\n"),
    ("runner-bail-out", 4, "TAP version 14\n1..2\nok 1 - first\nBail out! no relay\n"),
    ("runner-nothing", 1, "TAP version 14\n1..0 # SKIP nothing to run\n"),
]


@pytest.mark.parametrize("document", [CLEAN, SUBTESTS, BAILED])
def test_a_clean_document_breaks_no_rule(document: str) -> None:
    """What the tests below break one rule of breaks none as it is."""
    assert violations(document, frozenset() if document == CLEAN else PIECES) == []


@pytest.mark.parametrize("broken", [pytest.param(entry, id=entry.rule) for entry in BREAKS])
def test_a_broken_rule_is_found_on_its_line(broken: Break) -> None:
    """One edit breaks one rule, and nothing that follows from it is held against the document."""
    text = edited(broken.document, *broken.edits)

    found = violations(text, frozenset() if broken.document == CLEAN else PIECES)

    assert [entry for entry in found if entry[0] not in broken.beside] == [(broken.rule, broken.line)]
    assert {rule for rule, _ in found} == {broken.rule, *broken.beside}


@pytest.mark.parametrize(("rule", "line", "data"), BYTES)
def test_broken_bytes_are_found_on_their_line(rule: str, line: int, data: bytes) -> None:
    """What is wrong with the bytes is one finding; the rest is read all the same."""
    found = violations(data)

    assert found[0] == (rule, line)
    # Half of a long line is no YAML.
    assert {name for name, _ in found} <= {rule, *(["yaml-syntax"] if rule == "too-large" else [])}


@pytest.mark.parametrize(("rule", "line", "text"), WARNINGS)
def test_another_count_of_the_runner_is_a_warning(rule: str, line: int, text: str) -> None:
    """The runner is right about its own count, so the document is told, and not turned down for it."""
    report = check(text.encode(), frozenset(RULES) - {rule})

    assert warnings(report) == [(rule, line)]
    assert report.clean


def test_every_rule_has_a_document_that_breaks_it() -> None:
    """A rule that nothing breaks is no rule."""
    broken = {entry.rule for entry in BREAKS} | {rule for rule, _, _ in (*BYTES, *WARNINGS)}

    assert broken == set(RULES)


@pytest.mark.parametrize("level", [Level.CONTRACT, Level.RUNNER])
def test_a_rule_that_is_ignored_is_not_checked(level: Level) -> None:
    """`--ignore` takes the name of any rule; the others stay."""
    ignored = frozenset(name for name, rule in RULES.items() if rule.level is level)
    text = edited(SUBTESTS, (7, "      duration: 1 s"), (11, "ok 1 - another"))

    report = check(text.encode(), ignored)

    levels = {finding.rule.level for finding in (*report.findings.violations, *report.findings.warnings)}
    assert levels == set(Level) - {level}


# TAP 14 specification, its complete examples.
GOOD = [
    TRAILING,
    "TAP version 14\n1..3\nok 2\nok 3\nok 1\n",
    "TAP version 14\n1..5\nnot ok\nok\nnot ok\nok\nok\n",
    "TAP version 14\n1..573\nnot ok 1 - database handle\nBail out! Couldn't connect to database.\n",
    "TAP version 14\n1..0 # skip because English-to-French translator isn't installed\n",
    "TAP version 14\n1..2\n# skip: true\nok 1 - later # Skipped\n\nok 2 - works # Skipped: only there\n",
    "TAP version 14\npragma +strict\nok 1 - hello \\# todo\nok 2 - hello # todo hash # character\n1..2\n",
    "TAP version 14\n    ok 1 - subtest test point\n    1..1\nok 1 - subtest passing\n1..1\n",
    "TAP version 14\n        ok 1 - nested\n        1..1\n    ok 1 - parent\n    1..1\nok 1 - double\n1..1\n",
    "TAP version 14\n\n# Subtest: empty\n    1..0\nok 1 - empty\n\n# Subtest\n    ok 1 - x\n    1..1\nok 2\n"
    "1..2\n",
    "TAP version 14\n# Subtest: 1\n    # Subtest: 2\n        1..0\n    ok 1 - 2\n    1..1\nok 1 - 1\n1..1\n",
    'TAP version 14\nok - created Board\nok\n  ---\n  message: "Board"\n  dump:\n     board:\n'
    "       - '      16G         05C        '\n  ...\nok - board has 7 tiles + starter tile\n1..3\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_tap_of_another_tool_breaks_none_of_its_rules(text: str) -> None:
    """Without the contract's rules every example of the specification is good."""
    assert violations(text, CONTRACT) == []


def test_an_empty_input_is_no_document() -> None:
    """Nothing at all is a violation, and on a line that an editor can go to."""
    assert violations(b"", CONTRACT) == [("version", 1), ("plan-missing", 1)]


def test_a_failure_of_the_client_itself_names_no_section() -> None:
    """Everywhere else a failure cites the draft."""
    text = edited(CLEAN, (29, '  cause: "internal"'), (30, None))

    assert violations(text) == []


def test_a_run_that_only_skipped_says_nothing_of_a_draft() -> None:
    """Nothing was dialled."""
    text = "TAP version 14\n# client 1.0\n# Relay: moqt://a\n1..1\nok 1 - nope # SKIP not supported here\n"

    assert violations(text) == []


def test_lines_behind_a_carriage_return_are_lines() -> None:
    """A reader of TAP takes it for the end of a line, so nothing can hide behind it."""
    text = CLEAN.replace("# Relay", "# x\rnot ok 1 - forged\r# Relay")

    assert ("plan-first", 7) in violations(text)
    assert ("id-unique", 8) in violations(text)


def test_crlf_is_one_rule_and_hides_nothing() -> None:
    """Each line ends in another way than it should, which is all that is wrong."""
    report = check(CLEAN.replace("\n", "\r\n").encode())

    assert report.findings.counts == {"carriage-return": 39}
    assert report.document == Count(2, 1, 1)


def test_the_causes_are_those_that_the_client_gives() -> None:
    """The list of the linter is the list of the client."""
    assert set(CAUSES) == set(failures.CAUSES) >= set(CONNECT_CAUSES.values())


# ---- the runner's count ----------------------------------------------------------------------------

# What lib/tap-parser.sh of the interop runner made of each line (July 2026, bash 5.2, GNU sed 4.9, C.UTF-8).
COUNTED = [
    ("ok 1 - a", "passed", "passed"),
    ("ok 1x", "passed", "passed"),
    ("ok - ", "passed", "passed"),
    ("ok", "passed", "passed"),
    ("ok\r", None, None),
    ("ok  1", None, None),
    ("ok -", None, None),
    ("ok -- ", None, None),
    ("ok name", None, None),
    ("ok #", None, None),
    ("okay", None, None),
    ("OK 1", None, None),
    ("not ok", "failed", "failed"),
    ("not okay", "failed", "failed"),
    ("ok 1 - a # skipped", "skipped", "skipped"),
    ("ok 2 #  SKIP", "passed", "passed"),
    ("ok 3 - b# SKIP", "passed", "passed"),
    ("ok 4 - c \\# SKIP", "passed", "passed"),
    ("ok 8 # TODO", "passed", "passed"),
    ("not ok 6 # SKIP", "failed", "failed"),
    ("not ok 7 # todo", "passed", "passed"),
    ("not ok 9 # SKIP # TODO", "passed", "passed"),
    ("  ok 1", None, "passed"),
    ("    not ok 1", None, "failed"),
    ("\tok", None, "passed"),
    ("\u3000ok 1", None, "passed"),
    ("\u00a0ok 1", None, None),
    ("# ok 1", None, None),
    ("- ok 1", None, None),
    ("relay-1  | ok 1", "passed", None),
    ("| ok 1", "passed", None),
    ("relay | test | ok 1", None, None),
    ("o\0k 1 - a", "passed", "passed"),
    ("ok 2 - \udcff", "passed", "passed"),
]


@pytest.mark.parametrize(("line", "plain", "behind"), COUNTED)
def test_a_line_counts_as_the_runner_counts_it(line: str, plain: str | None, behind: str | None) -> None:
    """As the script itself did, alone and with the prefix of docker compose before it."""
    assert verdict(line) == plain
    assert prefixed_verdict(line) == behind == verdict(prefixed(line)[:-1])


def test_a_log_without_tap_is_counted_by_its_ticks() -> None:
    """The runner still knows the output of clients before TAP."""
    assert count("✓ setup-only\n✗ announce-only\n✓✗ both\nok 1\n") == Count(2, 2, 0)
    assert count("ok 1\n") == Count()
    assert count("xTAP version 13 y\nok 1\nok 2") == Count(1, 0, 0)


@pytest.mark.parametrize("document", [CLEAN, SUBTESTS, BAILED, TRAILING])
def test_the_report_has_both_counts(document: str) -> None:
    """Line by line in the report, or at once: the same."""
    report = check(document.encode())

    assert report.plain == count(document)
    assert report.prefixed == count(prefixed(document))


# ---- logs of docker compose ------------------------------------------------------------------------


def log_of(text: str) -> str:
    """A log with a relay's lines among those of a client."""
    lines = prefixed(text).splitlines(keepends=True)
    return "".join(
        ["Attaching to relay-1\n", "relay-1        | listening\n", *lines, "make: *** [run] Error 1\n"]
    )


def test_a_log_of_docker_compose_is_recognised() -> None:
    """The lines of whoever prints the version line are the document; they keep their numbers in the log."""
    report = check(log_of(edited(CLEAN, (8, "ok 1 setup-only"))).encode())

    assert (report.service, report.left_out) == ("test-client-1", 3)
    assert [(found.rule.name, found.line) for found in report.findings.violations] == [
        ("point-separator", 10)
    ]
    assert report.log == report.plain == report.prefixed


def test_a_service_can_be_named() -> None:
    """Where no version line tells which it is."""
    log = log_of(edited(CLEAN, (1, None)))

    assert check(log.encode()).service is None
    assert [rule for rule, _ in violations(log)].count("non-tap") > 3
    report = check(log.encode(), service="test-client-1")
    assert [found.rule.name for found in report.findings.violations] == ["version"]


# ---- whatever the input ----------------------------------------------------------------------------

FRAGMENTS = [
    *CLEAN.splitlines(),
    *SUBTESTS.splitlines(),
    *BAILED.splitlines(),
    *(
        "",
        " ",
        "ok",
        "not ok",
        "ok 1",
        "1..0",
        "1..2",
        "Bail out!",
        "    Bail out! x",
        "pragma +x",
        "---",
        "...",
    ),
    *(
        "  ---",
        "  ...",
        "      ---",
        "        1..1",
        "        ok 1 - x",
        "# Subtest",
        "    # Subtest: y",
        "\r",
    ),
    *(
        "? a",
        "- - -",
        "&a [*a]",
        "*b",
        "!!python/object:x",
        '"',
        "'",
        "|",
        "key: [",
        "<<: 1",
        "\x00",
        "\ufeff",
    ),
    *("ok # SKIP", "ok 1 - a \\", "x | ok 2", "test-client-1  | TAP version 14", "test-client-1  | ok 1"),
]
edits = st.tuples(
    st.sampled_from(["drop", "double", "insert", "indent", "outdent", "swap", "cut"]),
    st.integers(0, 60),
    st.sampled_from(FRAGMENTS) | st.text(max_size=20),
)


def mutated(text: str, changes: list[tuple[str, int, str]]) -> str:
    """A document after some accidents."""
    lines = text.splitlines()
    for what, where, fragment in changes:
        at = where % len(lines) if lines else 0
        match what:
            case "insert":
                lines.insert(at, fragment)
            case _ if not lines:
                pass
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "indent":
                lines[at] = " " * (where % 7) + lines[at]
            case "outdent":
                lines[at] = lines[at][where % 5 :]
            case "swap":
                lines[at], lines[-1] = lines[-1], lines[at]
            case "cut":
                lines[at] = lines[at][: len(lines[at]) // 2]
    return "".join(f"{line}\n" for line in lines)


def assert_well_formed(report: Report, lines: int) -> None:
    """Every finding has a line of the input and one printable sentence, and the counts fit."""
    found = [*report.findings.violations, *report.findings.warnings]
    for finding in found:
        assert 1 <= finding.line <= max(lines, 1)
        assert finding.message.isprintable()
        assert len(finding.message) < 400
    total = sum(report.findings.counts.values())
    assert len(found) + sum(report.findings.left_out.values()) == total
    assert report.clean == (report.findings.total(warnings=False) == 0)


@given(
    document=st.sampled_from([CLEAN, SUBTESTS, BAILED, TRAILING]),
    changes=st.lists(edits, min_size=1, max_size=6),
)
def test_no_accident_breaks_the_checker(document: str, changes: list[tuple[str, int, str]]) -> None:
    """Lines dropped, doubled, inserted, moved and cut: violations at most, and the same from a log."""
    text = mutated(document, changes)
    data = text.encode("utf-8", "surrogateescape" if text.isascii() else "replace")

    report = check(data)

    assert_well_formed(report, data.count(b"\n"))
    if text.startswith("TAP version 14\n"):
        logged = check(prefixed(data.decode()).encode())
        assert logged.service == "test-client-1"
        assert logged.findings.violations == report.findings.violations
        assert (logged.document, logged.plain, logged.log) == (report.document, report.plain, report.prefixed)


@given(data=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_break_the_checker(data: bytes) -> None:
    """Whatever is not TAP is at least without a version line."""
    report = check(data)

    assert_well_formed(report, data.count(b"\n") + 1)
    assert not report.clean


@given(
    text=st.text(alphabet=st.sampled_from("ab:-?[]{}&*!|>'\"%@`#,\\ \n\t~<0.é\u2028\x85\x00"), max_size=80)
)
def test_no_block_breaks_the_checker(text: str) -> None:
    """What is no YAML is a violation on one of the block's lines."""
    block = "".join(f"  {line}\n" for line in text.split("\n"))
    document = f"TAP version 14\n1..1\nok 1 - a\n  ---\n{block}  ...\n"

    report = check(document.encode())

    assert_well_formed(report, document.count("\n"))
    assert report.document == Count(1, 0, 0)


@given(values=st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=5))
def test_what_our_writer_writes_is_clean(values: dict[str, Any]) -> None:
    """Only what a block owes by its content can be missing from it."""
    text = (
        tap.VERSION + tap.plan(1) + tap.point(True, 1, "case") + tap.yaml_block({"duration_ms": 1, **values})
    )

    assert violations(text, PIECES | {"identity", "identity-form", "cause", "duration"}) == []


def test_both_parsers_of_pyyaml_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML came without its faster half, nothing is found that is not found with it."""
    blocks = [entry for entry in BREAKS if entry.rule.startswith("yaml-")]
    fast = [violations(edited(entry.document, *entry.edits)) for entry in blocks]
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)

    slow = [violations(edited(entry.document, *entry.edits)) for entry in blocks]

    assert slow == fast


def test_a_flood_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an input without end the beginning is checked, and that is said once; not every finding is kept."""
    monkeypatch.setattr(source, "MAX_LINES", 1000)

    report = check(b"TAP version 14\n" + b"ok\n" * 5000)

    assert report.findings.counts["too-large"] == 1
    assert report.document.total == 999
    assert len(report.findings.violations) < 10 * SHOWN
    assert report.findings.left_out["point-id"] == 999 - SHOWN

    monkeypatch.setattr(source, "MAX_BYTES", 100)
    assert violations(b"TAP version 14\n1..1\nok 1 - a" + b"x" * 100, CONTRACT) == [("too-large", 3)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x" * (block.MAX_BLOCK + 1), "too-large"),
        ("[" * 20_000, "yaml-syntax"),
        ("{" * 20_000, "yaml-syntax"),
        ("- " * 20_000, "yaml-syntax"),
    ],
)
def test_a_block_without_measure_is_a_violation(text: str, rule: str) -> None:
    """Neither its size nor its depth reaches a limit of the parser."""
    lines = "".join(f"  {text[at : at + 60_000]}\n" for at in range(0, len(text), 60_000))

    found = violations(f"TAP version 14\n1..1\nok 1 - a\n  ---\n{lines}  ...\n", CONTRACT)

    assert [name for name, _ in found] == [rule]


def test_a_line_is_cut_between_characters() -> None:
    """What is not looked at is not taken for broken UTF-8."""
    line = "# " + "é" * source.MAX_LINE

    assert violations(edited(CLEAN, (2, f"{line}\n# client 1.0"))) == [("too-large", 2)]
    assert violations(edited(CLEAN, (2, f"#{line}\n# client 1.0"))) == [("too-large", 2)]


# ---- the command -----------------------------------------------------------------------------------


@pytest.fixture
def clean_file(tmp_path: Path) -> str:
    """A file with a clean document."""
    path = tmp_path / "result.tap"
    path.write_text(CLEAN)
    return str(path)


@pytest.fixture
def broken_file(tmp_path: Path) -> str:
    """A file with a violation, and with a warning."""
    path = tmp_path / "broken.tap"
    path.write_text(edited(CLEAN, (33, "not ok 3 - rendezvous-timeout # SKIP so")))
    return str(path)


def test_a_clean_file_is_summed_up(capsys: pytest.CaptureFixture[str], clean_file: str) -> None:
    """One line, exit 0."""
    code = main([clean_file])

    assert code == EXIT_CLEAN
    counts = "2 passed, 1 failed, 1 skipped"
    assert capsys.readouterr().out == (
        f"{clean_file}: 4 points (4 planned): {counts}; the runner counts: plain {counts}, with the compose "
        f"prefix {counts}; 0 violations, 0 warnings\n"
    )


def test_findings_are_lines_with_file_line_level_and_rule(
    capsys: pytest.CaptureFixture[str], broken_file: str
) -> None:
    """As compilers print them; a violation makes the exit code 1."""
    code = main([broken_file])

    lines = capsys.readouterr().out.splitlines()
    assert code == EXIT_VIOLATIONS
    assert [line.split(": ")[:2] for line in lines[:-1]] == [
        [f"{broken_file}:33", "contract skip-not-ok"],
        [f"{broken_file}:33", "warning, runner runner-count"],
        [f"{broken_file}:33", "warning, runner runner-count-prefixed"],
    ]
    assert lines[-1].endswith("; 1 violation, 2 warnings")


def test_warnings_alone_are_exit_0(capsys: pytest.CaptureFixture[str], broken_file: str) -> None:
    """They are printed, and do not decide."""
    assert main(["--ignore", "skip-not-ok", broken_file]) == EXIT_CLEAN
    assert "warning, runner runner-count" in capsys.readouterr().out


def test_rules_of_the_contract_can_be_left_out(capsys: pytest.CaptureFixture[str], broken_file: str) -> None:
    """A failing skip is good TAP."""
    assert main(["--tap14-only", broken_file]) == EXIT_CLEAN


def test_json_is_one_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All that the lines say, for programs."""
    path = tmp_path / "log"
    path.write_text(log_of(edited(CLEAN, (33, "not ok 3 - rendezvous-timeout # SKIP so"))))

    code = main(["--json", str(path)])

    said = json.loads(capsys.readouterr().out)
    count = {"passed": 2, "failed": 2, "skipped": 0}
    assert code == EXIT_VIOLATIONS
    assert said["clean"] is False
    assert said["compose"] == {"service": "test-client-1", "lines_of_others": 3}
    assert [(found["line"], found["level"], found["rule"]) for found in said["violations"]] == [
        (35, "contract", "skip-not-ok")
    ]
    assert {found["rule"] for found in said["warnings"]} == {
        *("runner-count", "runner-count-prefixed", "runner-count-log")
    }
    assert said["summary"] == {
        "planned": 4,
        "points": 4,
        "passed": 2,
        "failed": 1,
        "skipped": 1,
        "bailed_out": False,
        "runner": {"plain": count, "prefixed": count, "log": count},
        "violations": 1,
        "warnings": 3,
    }


def test_a_log_says_whose_lines_were_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Before anything else."""
    path = tmp_path / "log"
    path.write_text(log_of(CLEAN))

    code = main([str(path)])

    assert code == EXIT_CLEAN
    assert capsys.readouterr().out.startswith(
        f"{path}: a log of docker compose: checked are the lines of test-client-1 without their prefix, 3"
    )


def test_a_flood_of_findings_is_shortened(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """How many more there are is said for each rule."""
    path = tmp_path / "flood"
    path.write_text("x\n" * 1000)

    main(["--tap14-only", str(path)])

    assert f"{path}: {1000 - SHOWN} more of non-tap\n" in capsys.readouterr().out


def test_standard_input_is_a_dash(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a pipe."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CLEAN.encode())))

    assert main(["-"]) == EXIT_CLEAN
    assert capsys.readouterr().out.startswith("standard input: 4 points")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a FILE"),
        (["nowhere.tap"], "'nowhere.tap' cannot be read: No such file"),
        (["."], "'.' cannot be read: Is a directory"),
        (["a\0b"], "cannot be read"),
        (["--nope", "x"], "--nope"),
        (["x", "y"], "unrecognized arguments: y"),
        (["--ignore", "yaml-quoted", "x"], "did you mean 'yaml-quoting'?"),
        (["--ignore", "", "x"], "no rule is called ''"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    words: str,
) -> None:
    """Exit 2, and nothing on standard output."""
    monkeypatch.chdir(tmp_path)

    code = main(arguments)

    said = capsys.readouterr()
    assert code == EXIT_USAGE
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err


def test_a_service_that_has_no_lines_is_said(capsys: pytest.CaptureFixture[str], clean_file: str) -> None:
    """A wrong name is no violation of the log."""
    assert main(["--service", "client", clean_file]) == EXIT_USAGE
    assert "no line of" in capsys.readouterr().err


def test_help_and_rules_say_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """`--rules` has each rule on a line; `--help` has the levels and the exit codes."""
    assert main(["--rules"]) == EXIT_CLEAN
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[rule.name, rule.level] for rule in RULES.values()]

    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in said for word in (*Level, "--json", "--tap14-only", "exit codes"))


def run(*arguments: str, stdin: bytes = b"", program: str = "") -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = [
        sys.executable,
        "-c",
        program or "import sys; from pytest_moqt.cli import main; sys.exit(main())",
    ]
    return subprocess.run([*command, *arguments], input=stdin, capture_output=True, timeout=60, check=False)


def test_the_command_reads_a_pipe_of_any_bytes() -> None:
    """No traceback, whatever comes, also where the output's encoding lacks the characters."""
    program = (
        "import sys; sys.stdout.reconfigure(encoding='ascii'); "
        "from pytest_moqt.cli import main; sys.exit(main())"
    )

    done = run("lint-tap", "-", stdin="é ok\n".encode() + bytes(range(256)) * 20, program=program)

    assert done.returncode == EXIT_VIOLATIONS
    assert done.stderr == b""
    assert done.stdout.splitlines()[0].startswith(
        b"standard input:1: tap14 version: the first line is '\\xe9 ok'"
    )


def test_a_reader_that_went_away_is_no_traceback(clean_file: str) -> None:
    """`lint-tap FILE | head -0`."""
    program = "import os, sys; os.close(1); from pytest_moqt.cli import main; sys.exit(main())"

    done = run("lint-tap", clean_file, program=program)

    assert done.returncode == EXIT_VIOLATIONS
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("stdin", "allowed"), [(b"TAP version 14\n1..1\nok 1 - a\n", set()), (CLEAN.encode(), {"yaml"})]
)
def test_it_starts_without_pytest_and_a_quic_stack(stdin: bytes, allowed: set[str]) -> None:
    """And without PyYAML where there is no YAML."""
    program = (
        "import sys; from pytest_moqt.cli import main; main(['lint-tap', '-']); "
        "print(*sorted({'pytest', 'aioquic', 'asyncio', 'yaml'} & set(sys.modules)), sep=',')"
    )

    done = run(stdin=stdin, program=program)

    assert done.returncode == 0, done.stderr
    assert set(filter(None, done.stdout.decode().splitlines()[-1].split(","))) == allowed
