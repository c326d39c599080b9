"""The subcommand `lint-tap`: a file or standard input to findings, as text or JSON.

Rules:

- Nothing here imports pytest or a QUIC stack, and PyYAML only where a YAML block is read.
- Findings go to standard output. The exit code is 1 when a rule is broken, 0 when none is, warnings or not,
  and 2, with one sentence on standard error, for an argument or a file that cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_moqt.lint.report import Report, check
from pytest_moqt.lint.rules import RULES, Finding, Level
from pytest_moqt.lint.source import MAX_BYTES
from pytest_moqt.tap import printable

if TYPE_CHECKING:
    from pytest_moqt.lint.runner import Count

NAME = "moq-test-client lint-tap"
EXIT_CLEAN, EXIT_VIOLATIONS, EXIT_USAGE = 0, 1, 2

DESCRIPTION = """\
Check the output of a MoQT test client: strictly as TAP version 14, as the contract with the interop runner,
and for what the runner's own counting makes of it. A log of docker compose is recognised by the prefix of its
version line; then the lines of that service are checked."""
EPILOG = f"""\
levels:
  {Level.TAP14:<10} what the TAP 14 specification demands, and what is no TAP at all: a violation
  {Level.CONTRACT:<10} what the interop runner's interface asks beyond that, and what some readers of TAP
             lose: a violation
  {Level.RUNNER:<10} the runner counts something else than the document says, in the plain text or behind the
             prefix of docker compose, or does not see a plan or bail-out: a warning

Each finding is `FILE:LINE: LEVEL RULE: sentence`; the names of rules are stable. The last line sums up.

exit codes:
  0    no violation; there may be warnings
  1    violations
  2    an argument or the file cannot be used

examples:
  {NAME} result.tap
  moq-test-client -r moqt://localhost:4443 | tee result.tap | {NAME} -
  {NAME} --json --ignore identity --ignore yaml-quoting result.tap
  {NAME} --tap14-only output-of-another-tool.tap
"""


class UsageProblem(Exception):
    """An argument or file that cannot be used; the text is one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageProblem(f"{message} (see {NAME} --help)")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24, width=100)


def _parser() -> _Parser:
    parser = _Parser(
        prog=NAME, description=DESCRIPTION, epilog=EPILOG, formatter_class=_Formatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="what to check; - is standard input")
    add("--json", action="store_true", help="one JSON object instead of lines")
    add("--tap14-only", action="store_true", help="leave the contract's rules out, for TAP of any other tool")
    add("--ignore", metavar="RULE", action="append", default=[], help="leave this rule out; may be repeated")
    add("--service", metavar="NAME", help="the file is a log of docker compose: check this service's lines")
    add("--rules", action="store_true", help="print every rule with its level and meaning, and exit")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run `lint-tap`.

    Args:
        argv: What comes behind `lint-tap`.

    Returns:
        The exit code.
    """
    try:
        arguments = _parser().parse_args(argv)
        if arguments.rules:
            lines = [f"{rule.name:<22} {rule.level:<9} {rule.meaning}\n" for rule in RULES.values()]
            return _print("".join(lines), EXIT_CLEAN)
        if arguments.file is None:
            raise UsageProblem(f"name a FILE, or - for standard input (see {NAME} --help)")
        ignored = _ignored(arguments)
        report = check(_read(arguments.file), ignored, arguments.service)
        if arguments.service is not None and not report.lines:
            raise UsageProblem(
                f"no line of {arguments.file!r} has the prefix of service {arguments.service!r}"
            )
    except UsageProblem as problem:
        if sys.stderr is not None:
            print(f"{NAME}: {printable(str(problem), 1000)}", file=sys.stderr)
        return EXIT_USAGE
    name = "standard input" if arguments.file == "-" else printable(arguments.file)
    code = EXIT_CLEAN if report.clean else EXIT_VIOLATIONS
    text = _json(name, report) if arguments.json else "".join(f"{line}\n" for line in _lines(name, report))
    return _print(text, code)


def _ignored(arguments: argparse.Namespace) -> frozenset[str]:
    for name in arguments.ignore:
        if name not in RULES:
            import difflib

            close = difflib.get_close_matches(name, RULES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see --rules"
            raise UsageProblem(f"no rule is called {name!r}: {hint}")
    contract = [rule.name for rule in RULES.values() if rule.level is Level.CONTRACT]
    return frozenset([*arguments.ignore, *(contract if arguments.tap14_only else [])])


def _read(path: str) -> bytes:
    """The input, and of one that does not end no more than shows that it is too much."""
    try:
        if path != "-":
            with open(path, "rb") as file:
                return file.read(MAX_BYTES + 1)
        # None where the descriptor was closed from the start.
        if sys.stdin is None:
            raise UsageProblem("standard input is closed")
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        what = "standard input" if path == "-" else repr(path)
        raise UsageProblem(f"{what} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _print(text: str, code: int) -> int:
    """Write to standard output; a reader that went away is a failure, and no traceback."""
    try:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        return code or EXIT_VIOLATIONS
    return code


def _lines(name: str, report: Report) -> Iterator[str]:
    if report.service is not None:
        yield (
            f"{name}: a log of docker compose: checked are the lines of {report.service} without their "
            f"prefix, {report.left_out} others are not"
        )
    findings = sorted([*report.findings.violations, *report.findings.warnings], key=lambda found: found.line)
    for found in findings:
        kind = "warning, " if found.rule.level is Level.RUNNER else ""
        yield f"{name}:{found.line}: {kind}{found.rule.level} {found.rule.name}: {found.message}"
    for rule, more in report.findings.left_out.items():
        yield f"{name}: {more} more of {rule}"
    yield f"{name}: {_summary(report)}"


def _summary(report: Report) -> str:
    planned = "no plan" if report.planned is None else f"{report.planned} planned"
    points = f"{_counted(report.document.total, 'point')} ({planned}): {report.document}"
    bailed = ", bailed out" if report.bailed_out else ""
    log = "" if report.log is None else f", in the whole log {report.log}"
    runner = f"plain {report.plain}, with the compose prefix {report.prefixed}{log}"
    violations, warnings = (report.findings.total(warnings=warnings) for warnings in (False, True))
    found = f"{_counted(violations, 'violation')}, {_counted(warnings, 'warning')}"
    return f"{points}{bailed}; the runner counts: {runner}; {found}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _json(name: str, report: Report) -> str:
    import json

    violations, warnings = (report.findings.total(warnings=warnings) for warnings in (False, True))
    said = {
        "file": name,
        "clean": report.clean,
        "compose": None
        if report.service is None
        else {"service": report.service, "lines_of_others": report.left_out},
        "violations": [_finding(found) for found in report.findings.violations],
        "warnings": [_finding(found) for found in report.findings.warnings],
        "not_listed": report.findings.left_out,
        "summary": {
            "planned": report.planned,
            "points": report.document.total,
            **_count(report.document),
            "bailed_out": report.bailed_out,
            "runner": {
                "plain": _count(report.plain),
                "prefixed": _count(report.prefixed),
                "log": None if report.log is None else _count(report.log),
            },
            "violations": violations,
            "warnings": warnings,
        },
    }
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "line": found.line,
        "level": str(found.rule.level),
        "rule": found.rule.name,
        "message": found.message,
    }


def _count(count: Count) -> dict[str, int]:
    return {"passed": count.passed, "failed": count.failed, "skipped": count.skipped}
