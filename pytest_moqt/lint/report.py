"""The report on one input: what breaks a rule, and what the document and the runner count."""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_moqt.lint.diagnostics import Diagnostics
from pytest_moqt.lint.reader import Reader
from pytest_moqt.lint.rules import Findings, shown
from pytest_moqt.lint.runner import (
    Count,
    Verdict,
    count,
    counted,
    has_version,
    prefixed_verdict,
    ticks,
    verdict,
)
from pytest_moqt.lint.source import Source

_CLIENT = re.compile(r"[^\s:]+ v?[0-9]\S*.*")
_HEADER = {
    "Relay: URL": re.compile(r"Relay: \S.*"),
    "Draft: draft-NN": re.compile(r"Draft: draft-[0-9]+\b.*"),
}
# The contract names these two without a form of words.
_HEADER_WHEN_TRIED = {
    "Transport: NAME": re.compile(r"[\w -]*transport[\w -]*: \S.*", re.IGNORECASE),
    "TLS: how it was checked": re.compile(r"[\w -]*(?:tls|certificate)[\w -]*: \S.*", re.IGNORECASE),
}


class Report(NamedTuple):
    """What there is to say about one input."""

    findings: Findings
    lines: int
    "Of the document."
    planned: int | None
    "None where there is no plan."
    document: Count
    "As a reader of TAP 14 has it."
    bailed_out: bool
    plain: Count
    "As the interop runner has it."
    prefixed: Count
    "As it has it with the prefix of docker compose on every line."
    log: Count | None
    "As it has it in the log of docker compose that was given, if one was."
    service: str | None
    "Whose lines of that log are the document."
    left_out: int
    "How many lines of that log are not."

    @property
    def clean(self) -> bool:
        """Whether no rule is broken; warnings do not count."""
        return self.findings.total(warnings=False) == 0


def check(data: bytes, ignored: frozenset[str] = frozenset(), service: str | None = None) -> Report:
    """Check an input.

    Args:
        data: All of it.
        ignored: Names of rules that are not checked.
        service: Whose lines to take from a log of docker compose; found out where None.
    """
    findings = Findings(ignored)
    source = Source(data, findings, service)
    reader = Reader(findings, Diagnostics(findings).check)
    for number, text in source.pieces():
        reader.line(number, text)
    reader.end()
    _check_header(reader, findings)
    document = counted(reader.verdicts.values())
    runner = _Runner(source, reader, findings)
    runner.compare(document)
    return Report(
        findings,
        reader.lines,
        reader.root.plan,
        document,
        bool(reader.bail_out),
        runner.plain,
        runner.prefixed,
        runner.log,
        source.service,
        source.left_out,
    )


def _check_header(reader: Reader, findings: Findings) -> None:
    """The comments before the plan; where all was skipped nothing was dialled that they could describe."""
    comments = reader.root.comments
    tried = any(found is not Verdict.SKIPPED for found in reader.verdicts.values())
    wanted = {"the client and its version": _CLIENT, **_HEADER, **(_HEADER_WHEN_TRIED if tried else {})}
    if not tried:
        del wanted["Draft: draft-NN"]
    missing = [name for name, form in wanted.items() if not any(map(form.fullmatch, comments))]
    if missing:
        line = reader.root.plan_line or 1
        findings.add("header", line, f"no comment before the plan says {', '.join(missing)}")


class _Runner:
    """What the interop runner makes of the same lines.

    Attributes:
        plain: Of the document's text.
        prefixed: Of the same behind the prefix of docker compose.
        log: Of the log that was given, where it is one of docker compose.
    """

    def __init__(self, source: Source, reader: Reader, findings: Findings) -> None:
        self._reader = reader
        self._findings = findings
        plain: list[Verdict] = []
        prefixed: list[Verdict] = []
        self._first_plain = self._first_prefixed = 0
        self._has_version = False
        for number, text in source.lines:
            self._has_version = self._has_version or has_version(text)
            # bash's `read` does not return a last line without a newline; docker compose gives it one.
            alone = verdict(text) if source.ended or number != source.lines[-1].number else None
            behind = prefixed_verdict(text)
            own = reader.verdicts.get(number)
            if alone is not own and not self._first_plain:
                self._first_plain = number
            if behind is not own and not self._first_prefixed:
                self._first_prefixed = number
            if alone:
                plain.append(alone)
            if behind:
                prefixed.append(behind)
            if (alone or behind) and own is None and number not in reader.not_counted:
                self._countable(number, text, indented=alone is None)
        self.plain = counted(plain) if self._has_version else ticks(text for _, text in source.lines)
        self.prefixed = counted(prefixed) if self._has_version else self.plain
        self.log = None if source.log is None else count("".join(f"{text}\n" for _, text in source.log))

    def _countable(self, number: int, text: str, *, indented: bool) -> None:
        how = "behind the prefix of docker compose " if indented else ""
        self._findings.add(
            "countable-line",
            number,
            f"{how}the interop runner counts this line as a test point: {shown(text)}",
        )

    def compare(self, document: Count) -> None:
        """Note where the counts are not the document's own.

        Args:
            document: What a reader of TAP 14 counts.
        """
        add, root = self._findings.add, self._reader.root
        if self.plain.total == 0:
            add("runner-nothing", 1, "the runner finds no test point and takes the log as unparseable")
        for name, runner, line, where in (
            ("runner-count", self.plain, self._first_plain, ""),
            (
                "runner-count-prefixed",
                self.prefixed,
                self._first_prefixed,
                " behind the prefix of docker compose",
            ),
            ("runner-count-log", self.log, 1, " in the whole log"),
        ):
            if runner is not None and runner != document:
                add(name, line or 1, f"the runner counts {runner}{where}, and the document has {document}")
        if root.plan is not None and not self._reader.bail_out and root.plan != document.total:
            add(
                "runner-plan",
                root.plan_line,
                f"the runner ignores the plan of {root.plan}: for it there are {self.plain.total} points",
            )
        if self._reader.bail_out and self.plain.failed == 0:
            add(
                "runner-bail-out",
                self._reader.bail_out,
                f"the runner ignores the bail-out: for it the run has {self.plain}",
            )
