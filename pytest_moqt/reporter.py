"""pytest's reports as TAP 14: each case's verdict after its teardown, in plan order, up to a true end.

Rules:

- A case fails when any of its phases or steps failed; a skip and an expected failure are no failures.
- Whatever ends the run (an unreachable relay, a signal, an error of ours, the time) ends the document too,
  and never in a way that a reader who only counts lines takes for success.
- Only the main process writes; the worker processes of pytest-xdist send their reports to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import Any

import pytest

import pytest_moqt
from pytest_moqt import catalog, results
from pytest_moqt.limits import Watchdog
from pytest_moqt.plugin import OPTIONS, connection_ids, planned_names
from pytest_moqt.stream import COLLECTION, TapStream, unwritten
from pytest_moqt.tap import MAX_BLOCK, printable, yaml_block

OVERTIME_SECONDS = 3.0
"What a run may take beyond its budget, for a case in progress and its teardown, before it is cut off."
RESERVE = 1024
"Characters of a block that are left for its own lines when journals fill it."
EXIT_SECONDS = 3.0
"What pytest may take to end after a signal; the document is complete by then."
LAST_SECONDS = 10.0
"What may be taken to write the document's end and the reports when the run is cut off."

FINDINGS = ("skip", "warnings", "observed", "quic", "measured", "notes")
"What the report says of a case beside its verdict, where there is any of it (see `RelayUnderTest.findings`)."

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OWN_EXITS = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
"What pytest itself ends with when it ran all there was."


class Command:
    """What the command tells the reporter, and the other way round; a pytest plugin without hooks.

    Attributes:
        stream: The document, on the real stdout.
        extra: Names asked for that no case has; they are skipped points at the end.
        say: Puts a sentence on the real stderr.
        problem: Why the run ended early, once it has.
    """

    __name__ = "moqt-command"

    def __init__(self, stream: TapStream, extra: Sequence[str], say: Callable[[str], None]) -> None:
        self.stream = stream
        self.extra = tuple(extra)
        self.say = say
        self.problem = ""


class Verdict:
    """What has been reported of one test so far."""

    def __init__(self) -> None:
        self.failed = False
        self.skipped: str | None = None
        self.todo: str | None = None
        self.seconds = 0.0
        self.phase = ""
        self.failure: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.steps: list[tuple[str, bool, str]] = []
        self.ran = False
        self.again = False
        "Whether another attempt follows, in the way of pytest-rerunfailures and its like."

    @property
    def ok(self) -> bool:
        """The status as TAP writes it."""
        return not self.failed

    @property
    def outcome(self) -> str:
        """The outcome, of those that `results` knows."""
        if self.failed:
            return "fail"
        if self.skipped is not None:
            return "skip"
        return str(self.facts.get("outcome", "pass"))

    @property
    def attempt(self) -> dict[str, Any]:
        """What the report says of an attempt that was not the last."""
        said = {"status": "fail", "duration_ms": round(self.seconds * 1000)}
        said |= {name: self.failure[name] for name in ("cause", "message") if name in self.failure}
        return said | connection_ids(self.facts.get("sessions", {}))


class Reporter:
    """The plugin that writes the document."""

    def __init__(
        self, config: pytest.Config, stream: TapStream, command: Command | None, budget: float | None
    ) -> None:
        self.config = config
        self.stream = stream
        self.command = command
        self.budget = budget
        self._verdicts: dict[str, Verdict] = {}
        self._attempts: dict[str, list[dict[str, Any]]] = {}
        self._collect_error = ""
        self._session: pytest.Session | None = None
        self._facts: dict[str, Any] = {}
        self._planned = False
        self._begun = False
        self._cases = ""
        self._interrupted = ""
        self._pid = os.getpid()
        self._unexpected: list[str] = []
        self._watchdog = Watchdog(self._cut_off)
        self._handlers: dict[signal.Signals, Any] = {}
        if budget is not None:
            self._watchdog.within(budget + OVERTIME_SECONDS)

    # What is to come.

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """From here on a signal ends the document."""
        self._session = session
        for number in INTERRUPTS:
            if signal.getsignal(number) is signal.SIG_IGN:
                # As under nohup, or in the background of a script.
                continue
            try:
                self._handlers[number] = signal.signal(number, self._on_signal)
            except ValueError:
                # Not the main thread: then whoever has that thread decides.
                break
        self._describe()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The plan, when the tests run in this process."""
        if not self.config.pluginmanager.has_plugin("dsession"):
            self._plan([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """The plan, when worker processes collect; all of them collect the same."""
        if not self._planned and ids:
            self._plan(ids)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why tests could not be collected."""
        if report.failed and not self._collect_error:
            lines = [line for line in report.longreprtext.splitlines() if line.strip()]
            last = next((line for line in reversed(lines) if line.startswith("E ")), (lines or [""])[-1])
            self._collect_error = f"collection error in {report.nodeid}: {last.removeprefix('E ').strip()}"

    def _plan(self, ids: Sequence[str]) -> None:
        names = planned_names(ids)
        extra = () if self.command is None else self.command.extra
        points = [*zip(ids, names, strict=True), *((name, name) for name in extra)]
        if self._collect_error:
            # Worker processes run what could be collected all the same.
            points.append((COLLECTION, COLLECTION))
        self.stream.plan(points, "no test selected")
        self._planned = True
        self._cases = _selection(names)
        self._describe()

    def _describe(self) -> None:
        """The comments of the head, as far as they are known."""
        comments = [f"moq-test-client {pytest_moqt.__version__}"]
        options = self.config.stash.get(OPTIONS, None)
        if options is not None:
            requested = ", ".join(f"draft-{number}" for number in options.drafts)
            draft = self._facts.get("draft")
            comments += [
                f"Relay: {self._facts.get('relay', options.relay)}",
                f"Draft: {draft} (negotiated)" if draft else f"Draft: {requested} (requested)",
                f"Transport: {self._facts.get('transport', options.transport)}",
                f"TLS: {options.tls}",
            ]
        comments += [f"Note: {remark}" for remark in self._facts.get("remarks", ())]
        if self._cases:
            comments += [f"Cases: {self._cases}", f"Test specification: revision {catalog.REVISION}"]
        self.stream.comments[:] = comments
        if self.stream.results is not None:
            names = ("relay", "draft", "transport")
            self.stream.results.head.update(
                (name, self._facts[name]) for name in names if name in self._facts
            )

    # What happens.

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._begun = True
        self.stream.begin(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one phase, or one step, of a test."""
        verdict = self._verdicts.setdefault(report.nodeid, Verdict())
        if isinstance(report, pytest.SubtestReport):
            self._step(verdict, report)
            return
        if report.when in ("setup", "call"):
            verdict.seconds += report.duration
        verdict.facts.update(getattr(report, "moqt_case", {}))
        if hasattr(report, "wasxfail"):
            verdict.todo = str(report.wasxfail).removeprefix("reason: ")
            # An expected failure arrives as skipped, an unexpected success as passed.
            verdict.failed = verdict.failed or report.skipped
            verdict.failure = verdict.failure or getattr(report, "moqt_failure", {})
        elif not (report.passed or report.failed or report.skipped):
            # An outcome of some other plugin's: this attempt failed, and does not count.
            verdict.again = True
            verdict.failure = verdict.failure or getattr(report, "moqt_failure", None) or _of_text(report)
        elif report.failed:
            if not verdict.failure:
                verdict.phase = str(report.when)
                verdict.failure = getattr(report, "moqt_failure", None) or _of_text(report)
            verdict.failed = True
            verdict.todo = verdict.skipped = None
        elif report.skipped:
            verdict.skipped = _skip_reason(report)
        verdict.ran = verdict.ran or report.when == "call"
        self._learn(verdict.facts)
        if report.when not in ("setup", "call", "teardown"):
            # A worker process died with this test, and nothing more will be said of it.
            verdict.failure = {
                "expected": "the case to end",
                "received": "the end of the worker process",
                "message": verdict.failure.get("message", "the worker process ended"),
                "cause": "internal",
            }
            verdict.ran = True
            self._finish(report.nodeid)

    def _step(self, verdict: Verdict, report: pytest.SubtestReport) -> None:
        described = [] if report.context.msg is None else [report.context.msg]
        described += [f"{name}={value}" for name, value in report.context.kwargs.items()]
        name = " ".join(described) or f"step {len(verdict.steps) + 1}"
        if hasattr(report, "wasxfail"):
            reason = str(report.wasxfail).removeprefix("reason: ")
            verdict.steps.append((name, not report.skipped, f"TODO {reason}"))
        elif report.skipped:
            verdict.steps.append((name, True, f"SKIP {_skip_reason(report)}"))
        else:
            verdict.steps.append((name, not report.failed, ""))
        if report.failed:
            verdict.failed = True
            if not verdict.failure:
                verdict.phase = "call"
                verdict.failure = getattr(report, "moqt_failure", None) or _of_text(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """The test and its teardown are over: its verdict is final."""
        self._finish(nodeid)

    def _learn(self, facts: dict[str, Any]) -> None:
        """Complete the head: the draft is known once a session has set up."""
        known: dict[str, Any] = {
            name: facts[name] for name in ("relay", "draft", "transport", "remarks") if name in facts
        }
        if not known or self._facts.get("draft"):
            return
        self._facts.update(known)
        self._describe()

    def _finish(self, nodeid: str) -> None:
        verdict = self._verdicts.pop(nodeid, None)
        if verdict is None:
            return
        if verdict.again:
            self._attempts.setdefault(nodeid, []).append(verdict.attempt)
            return
        if not (verdict.ran or verdict.failed or verdict.skipped is not None or verdict.todo is not None):
            verdict.failed = True
            verdict.failure = {
                "expected": "the case to run",
                "received": "no run",
                "message": "its setup and teardown were reported, but no run of the case itself",
                "cause": "internal",
            }
        attempts = self._attempts.pop(nodeid, [])
        directive, reason = "", ""
        if verdict.todo is not None:
            directive, reason = "TODO", verdict.todo
        elif verdict.skipped is not None and not verdict.failed:
            directive, reason = "SKIP", verdict.skipped
        as_subtests = bool(self.config.option.moqt_subtests)
        values = self._diagnostics(verdict, attempts, list_steps=not as_subtests)
        if directive == "TODO" and verdict.ok:
            self._unexpected.append(planned_names([nodeid])[0])
        self._end_line_of_stderr()
        self.stream.point(
            nodeid,
            verdict.ok,
            directive=directive,
            reason=reason,
            values=values,
            steps=verdict.steps if as_subtests else (),
        )
        if self._facts.get("draft") or directive != "SKIP" or not verdict.facts:
            # A skipped case may have had no session; one that follows may still name the draft.
            self.stream.release()
        bail_out = verdict.failure.get("bail_out")
        if bail_out:
            self._stop(str(bail_out))
            self.stream.bail_out(str(bail_out))
        if self.stream.broken is not None:
            self._stop("standard output cannot be written to")

    def _end_line_of_stderr(self) -> None:
        """Where stderr goes to the same log, a point must not continue a line of pytest's dots."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and self.command is None:
            terminal.ensure_newline()
            terminal.flush()

    def _stop(self, reason: str) -> None:
        if self._session is not None and not self._session.shouldfail:
            self._session.shouldfail = reason
        self._say(reason)

    def _diagnostics(
        self, verdict: Verdict, attempts: list[dict[str, Any]], *, list_steps: bool
    ) -> dict[str, Any]:
        facts = verdict.facts
        values: dict[str, Any] = {"duration_ms": round(verdict.seconds * 1000)}
        if verdict.failed:
            failure = {name: entry for name, entry in verdict.failure.items() if name != "bail_out"}
            journal = failure.pop("journal", None)
            values.update(failure)
            if verdict.phase in ("setup", "teardown"):
                values["phase"] = verdict.phase
        else:
            journal = None
        # That of the last phase has all; it is there when all was asked for.
        journal = facts.get("journal", journal)
        for name in ("draft", "transport"):
            if name in facts:
                values[name] = facts[name]
        sessions = facts.get("sessions", {})
        values.update(connection_ids(sessions))
        known = {role: session for role, session in sessions.items() if session}
        if known:
            values["sessions"] = known
        if facts:
            values["implementation_version"] = pytest_moqt.__version__
            values["test_spec_revision"] = facts.get("revision", 1)
            values.update(outcome=verdict.outcome, level=facts["level"], profile=facts["profile"])
            if verdict.todo is not None and verdict.ok:
                values["unexpected_pass"] = verdict.todo
        if list_steps and verdict.steps:
            values["steps"] = [
                {"name": name, "status": note.lower() if note else "pass" if ok else "fail"}
                for name, ok, note in verdict.steps
            ]
        values.update((name, facts[name]) for name in FINDINGS if facts.get(name))
        if attempts:
            values["earlier_attempts"] = attempts
        if journal:
            values["journal"] = _fitting(journal, values)
        return values

    # How it ends.

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Something stopped the run: a signal, pytest.exit, or a session that was told to stop."""
        if self._collect_error:
            self._bail_out(self._collect_error)
        elif self._interrupted:
            self._break_off(self._interrupted)
        elif isinstance(excinfo.value, pytest.exit.Exception):
            self._bail_out(str(excinfo.value.msg))
        elif isinstance(excinfo.value, pytest.Session.Interrupted):
            self._bail_out(str(excinfo.value))
        else:
            self._break_off("interrupted by SIGINT")

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Pytest or a plugin broke."""
        if self._collect_error:
            self._bail_out(self._collect_error)
        else:
            self._bail_out(f"internal error: {excinfo.typename}: {excinfo.value}")

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """End the document when the other reports are written, or could not be.

        A wrapper, but the innermost: pytest's summary comes after it, with the exit code that is set here.
        """
        result: object = None
        try:
            result = yield
        except OSError as error:
            self._unwritten(session, error)
        except KeyboardInterrupt:
            if not self._interrupted:
                raise
            # That was our own way out of whatever took its time; the document has its end.
        finally:
            self._end(session, session.exitstatus)
        return result

    def _unwritten(self, session: pytest.Session, error: OSError) -> None:
        """The verdicts stand, but a report that was asked for is not there."""
        sentence = unwritten(error, getattr(self.config.option, "xmlpath", None))
        self.stream.comment(f"Note: {sentence}")
        self._complain(session, sentence)

    def _complain(self, session: pytest.Session, sentence: str) -> None:
        self._say(sentence)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(sentence, red=True)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _end(self, session: pytest.Session, exitstatus: int) -> None:
        """End the document, and make the exit code agree with it."""
        if exitstatus == pytest.ExitCode.USAGE_ERROR and not self._begun:
            # Said on stderr; a run that never was has no document.
            self._restore()
            return
        if self._collect_error:
            self._bail_out(self._collect_error)
        elif self._interrupted:
            self._break_off(self._interrupted)
        elif not self._planned and exitstatus not in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            self._bail_out(f"pytest ended with {_exit_name(exitstatus)} before any test")
        else:
            self._skip_extra()
            self._sum_up()
            missing = self.stream.unfinished
            if missing:
                why = session.shouldfail or session.shouldstop or f"{missing[0].name} was not run"
                self._bail_out(str(why))
            elif self.stream.all_ok and exitstatus not in OWN_EXITS:
                # A plugin asks for more than that every test passes.
                self.stream.comment(f"Note: no case failed, but pytest ends with {_exit_name(exitstatus)}")
        self.stream.end()
        self._restore()
        if self.stream.results is not None and self.stream.results.problem is not None:
            self._complain(session, unwritten(self.stream.results.problem))
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not self.stream.broken:
            return
        good = self.stream.all_ok and not self.stream.bailed and self.stream.broken is None
        if not good or exitstatus != pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """There is nothing left to guard."""
        self._watchdog.stop()
        self._restore()

    def _restore(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    def _sum_up(self) -> None:
        """Comments at the end: the outcomes, where TAP does not tell them, and what passed unexpectedly."""
        counted = results.totals([entry["outcome"] for entry in self.stream.entries])
        if counted.keys() & {"warn", "info"}:
            said = ", ".join(f"{count} {outcome}" for outcome, count in counted.items())
            self.stream.comment(f"Outcomes: {said}")
        if self._unexpected:
            sentence = f"passed, although known to fail: {', '.join(self._unexpected)}"
            self.stream.comment(f"Note: {sentence}")
            self._say(sentence)

    def _skip_extra(self) -> None:
        for name in () if self.command is None else self.command.extra:
            self.stream.point(name, True, directive="SKIP", reason="not supported by this client")

    def _bail_out(self, reason: str) -> None:
        if self.stream.any_failed:
            self.stream.bail_out(reason)
            self._say(reason)
        else:
            self._break_off(reason)

    def _break_off(self, reason: str) -> None:
        """End in such a way that a reader who ignores bail-outs sees a failure too."""
        values = {
            "expected": "the case to run to its end",
            "received": reason,
            "message": f"not finished: {reason}",
            "cause": "internal",
        }
        self.stream.break_off(reason, values)
        self._say(reason)

    def _say(self, reason: str) -> None:
        if self.command is not None and not self.command.problem:
            self.command.problem = reason

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A forked child that has not replaced itself yet.
            raise KeyboardInterrupt
        again = bool(self._interrupted)
        self._interrupted = f"interrupted by {signal.Signals(number).name}"
        self._watchdog.within(0.0 if again else EXIT_SECONDS)

        def leave() -> None:
            raise KeyboardInterrupt

        # A point may be half written: then both are left for the moment when it is whole.
        self._break_off(self._interrupted)
        self.stream.run(leave)

    def expire(self, reason: str) -> None:
        """In a thread of its own: the process is about to be ended, since a test took too long."""
        values = {
            "expected": "the test to end",
            "received": "timeout",
            "message": reason,
            "cause": "timeout",
        }
        self.stream.break_off(reason, values)

    def _cut_off(self) -> None:
        """In the watchdog's thread: nothing else can end this run any more."""
        # Not even a disk that does not answer.
        last = threading.Timer(LAST_SECONDS, os._exit, (1,))
        last.daemon = True
        last.start()
        missing = self.stream.unfinished
        why = self._interrupted
        if why:
            self._break_off(why)
        else:
            why = f"run budget of {self.budget:g} s used up"
            values = {
                "expected": "the case to end",
                "received": "run budget used up",
                "message": why,
                "cause": "timeout",
            }
            self.stream.give_up(values)
            self._say(why)
        self._write_junit([point.key for point in missing], why)
        if self.command is not None:
            self.command.say(self.command.problem)
        os._exit(1)

    def _write_junit(self, missing: Sequence[str], why: str) -> None:
        """The JUnit report, which pytest writes when a session ends; those that have not ended fail in it."""
        logs = [log for log in self.config.pluginmanager.get_plugins() if type(log).__name__ == "LogXML"]
        # Whatever the thread that is cut off was about to do with it.
        with contextlib.suppress(Exception):
            for log in logs:
                for nodeid in filter(lambda key: "::" in key, missing):
                    where = (nodeid.partition("::")[0], None, nodeid.rpartition("::")[2])
                    log.pytest_runtest_logreport(pytest.TestReport(nodeid, where, {}, "failed", why, "call"))
                log.pytest_sessionfinish()


def _selection(names: Sequence[str]) -> str:
    """How many cases of each profile were selected, of those that have any."""
    said = []
    listed = (*catalog.CATALOG, *catalog.QUIC)
    # Those of the suite are in a file, which is not read where none of them can be meant.
    cases = listed if {case.identifier for case in listed}.issuperset(names) else catalog.known()
    for profile in catalog.PROFILES:
        known = [case.identifier for case in cases if case.profile == profile]
        selected = sum(name in names for name in known)
        if selected:
            whose = "the catalogue's" if profile == catalog.DEFAULT else f"the profile {profile}'s"
            said.append(f"{selected} of {whose} {len(known)}, {len(known) - selected} not selected")
    return "; ".join(said)


def _fitting(journals: dict[str, list[str]], values: dict[str, Any]) -> dict[str, list[str]]:
    """As many of the last lines of each journal as the block of these values has room for."""
    room = MAX_BLOCK - len(yaml_block(values)) - RESERVE
    share = max(room, 0) // len(journals)
    return {role: _last(lines, share) for role, lines in journals.items()}


def _last(lines: list[str], room: int) -> list[str]:
    kept = len(lines)
    for kept in range(len(lines)):
        # Indented by six, in quotes, with a hyphen.
        room -= len(yaml_block({"": lines[-1 - kept]})) - len(yaml_block({"": ""})) + 12
        if room < 0:
            break
    else:
        return lines
    return [f"… {len(lines) - kept} earlier lines left out", *lines[len(lines) - kept :]]


def _skip_reason(report: pytest.TestReport) -> str:
    longrepr = report.longrepr
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr or "")
    return reason.removeprefix("Skipped: ").removeprefix("Skipped").strip()


def _of_text(report: pytest.TestReport) -> dict[str, Any]:
    """A failure of which nothing but pytest's text is known, such as a strict xfail that passed."""
    lines = [line for line in report.longreprtext.splitlines() if line.strip()]
    message = printable(lines[-1]) if lines else "failed"
    return {"expected": "the test to pass", "received": message, "message": message, "cause": "data"}


def _exit_name(exitstatus: int) -> str:
    try:
        return pytest.ExitCode(exitstatus).name
    except ValueError:
        return str(exitstatus)
