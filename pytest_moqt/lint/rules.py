"""The rules of the checker, each with a stable name, and what was found against them.

Rules:

- `tap14`: what the TAP 14 specification demands of whoever writes a document, or what is no TAP at all.
- `contract`: what a test client owes the interop runner beyond that, and what some reader of TAP loses.
- `runner`: where the runner's own counting says something else than the document. These are warnings,
  since the document alone does not decide them (a subtest is good TAP); they do not decide the exit code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SHOWN = 50
"Findings of one rule that are kept; the rest is counted."


class Level(StrEnum):
    """Whose rule it is."""

    TAP14 = "tap14"
    CONTRACT = "contract"
    RUNNER = "runner"


class Rule(NamedTuple):
    """One rule."""

    name: str
    "Stable: other people's CI names it."
    level: Level
    meaning: str


_TAP14 = {
    "too-large": "the input has more, or longer, of something than is read here; the rest is not checked",
    "utf-8": "the text is UTF-8",
    "byte-order-mark": "nothing stands before the version line, no byte order mark either",
    "final-newline": "the last line ends with a newline",
    "version": "the first line is `TAP version 14`",
    "version-again": "the version line comes once",
    "plan-syntax": "a plan is `1..N`, and a reason behind ` # ` if any",
    "plan-missing": "a document has a plan",
    "plan-again": "a document has one plan",
    "plan-count": "there are as many test points as planned; fewer only before a bail-out",
    "point-after-plan": "no test point follows a plan that stands at the end",
    "id-range": "the number of a test point is one of the plan's",
    "directive-space": "the `#` of a directive has white space on both sides",
    "pragma-syntax": "a pragma is `pragma +key` or `pragma -key`",
    "yaml-place": "a YAML block stands right below a test point, one at most",
    "yaml-marker": "`---` and `...` stand exactly two columns further in than their test point",
    "yaml-indent": "every line of a YAML block is at least as far in as its markers",
    "yaml-unclosed": "a YAML block has an end",
    "yaml-syntax": "a YAML block is one YAML document, in which no key comes twice",
    "after-bail-out": "nothing but comments follows a bail-out",
    "indentation": "TAP of a subtest is indented by four spaces for each level",
    "subtest-empty": "a `# Subtest` comment is followed by the subtest's document",
    "subtest-interrupted": "no line of the parent stands between a subtest and its test point",
    "subtest-unfinished": "a subtest is followed by its test point in the parent",
    "subtest-name": "the test point of a subtest has the name that its comment gave",
    "subtest-status": "a subtest with a failure in it is not `ok` in the parent",
    "non-tap": "every line is TAP",
}
_CONTRACT = {
    "carriage-return": "lines end with a newline alone",
    "control-character": "no control characters, terminal colours or marks that turn the text's direction",
    "blank-line": "no line of white space alone, and no blank line inside a YAML block",
    "header": "comments before the plan name the client and its version, `Relay:` and `Draft: draft-NN`; "
    "where anything was tried also `Transport:` and `TLS:`",
    "plan-first": "the plan comes before the first test point, subtest or bail-out",
    "plan-form": "the plan is `1..N` with no zeros in front, and a reason only in `1..0`",
    "point-id": "a test point has a number",
    "id-order": "numbers of test points go up",
    "id-unique": "no number is used twice",
    "point-separator": "` - ` stands between the number and the description",
    "point-description": "a test point has a description",
    "name-unique": "one test point for each case",
    "directive-form": "directives are written `# SKIP` and `# TODO`, then a space and the reason",
    "escape": r"`#` and `\` in descriptions and reasons are written `\#` and `\\`",
    "skip-not-ok": "a skipped test point is `ok`",
    "pragma": "no pragmas: some readers do not know them",
    "yaml-missing": "every test point that was not skipped has a YAML block",
    "yaml-mapping": "a YAML block is a mapping",
    "yaml-quoting": "every string in a YAML block is in double quotes, on one line",
    "yaml-portable": "no tags, anchors or aliases, and no keys that are no text: readers differ there",
    "duration": "every YAML block has `duration_ms`, a number",
    "failure-fields": "a failure has `expected`, `received`, `message` and `cause`",
    "failure-spec": "a failure has `spec`, the section of the draft, unless its cause is `internal`",
    "cause": "`cause` is one of the contract's classes",
    "identity": "what passed names its sessions: connection ids, `sessions`, `implementation_version`, "
    "`test_spec_revision`",
    "identity-form": "connection ids are 8 to 20 bytes in lower-case hexadecimal, in `sessions` the same",
    "bail-out-form": "a bail-out is `Bail out!`, a space and the reason",
    "bail-out-failure": "a failure comes before a bail-out, for readers that do not know bail-outs",
    "countable-line": "no line but a test point counts as one for the runner, indented or not",
    "subtest-comment": "a subtest begins with `# Subtest: NAME`",
    "subtest-version": "a subtest has no version line",
    "subtest-bail-out": "the bail-out of a subtest is repeated without indentation",
}
_RUNNER = {
    "runner-count": "the interop runner counts the text as the document says",
    "runner-count-prefixed": "the same behind the prefix of docker compose, which goes with all indentation",
    "runner-count-log": "the same in the log of docker compose that was given, with every service's lines",
    "runner-plan": "it ignores the plan: points that are missing are not seen to be",
    "runner-bail-out": "it ignores bail-outs: without a failure before it the run is green",
    "runner-nothing": "it finds a test point at all; a log without any is unparseable to it",
}

RULES = {
    name: Rule(name, level, meaning)
    for level, meanings in ((Level.TAP14, _TAP14), (Level.CONTRACT, _CONTRACT), (Level.RUNNER, _RUNNER))
    for name, meaning in meanings.items()
}
"Every rule by its name."


class Finding(NamedTuple):
    """One place where a rule is broken."""

    line: int
    "From 1, in the input as it was given."
    rule: Rule
    message: str
    "One sentence."


class Findings:
    """What was found so far, bounded whatever the input.

    Attributes:
        counts: How often each rule was broken, also where nothing more of it is kept.
    """

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self.counts: dict[str, int] = {}
        self._ignored = ignored
        self._kept: list[Finding] = []

    def add(self, name: str, line: int, message: str) -> None:
        """Note that a rule is broken; nothing of a rule that is ignored."""
        rule = RULES[name]
        if name in self._ignored:
            return
        self.counts[name] = self.counts.get(name, 0) + 1
        if self.counts[name] <= SHOWN:
            self._kept.append(Finding(line, rule, message))

    @property
    def violations(self) -> list[Finding]:
        """What is kept of the rules that decide, by line."""
        return self._sorted(warnings=False)

    @property
    def warnings(self) -> list[Finding]:
        """What is kept of the others."""
        return self._sorted(warnings=True)

    def _sorted(self, *, warnings: bool) -> list[Finding]:
        found = [finding for finding in self._kept if (finding.rule.level is Level.RUNNER) == warnings]
        return sorted(found, key=lambda finding: finding.line)

    def total(self, *, warnings: bool) -> int:
        """How many there are, kept or not."""
        return sum(
            count for name, count in self.counts.items() if (RULES[name].level is Level.RUNNER) == warnings
        )

    @property
    def left_out(self) -> dict[str, int]:
        """How many of each rule are not kept."""
        return {name: count - SHOWN for name, count in self.counts.items() if count > SHOWN}


def shown(text: str, limit: int = 60) -> str:
    """A piece of the input for a sentence: on one line, in quotes, what does not print as an escape."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
