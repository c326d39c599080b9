"""The command moq-test-client: flags and environment to a pytest run that writes TAP 14 to stdout.

Rules:

- What needs no run (`--list`, `--help`, unknown names, bad values) is answered without importing pytest
  or a QUIC stack.
- stdout has TAP and nothing else; stderr has one sentence for each problem, and with --verbose pytest's own
  report, each line behind `# `, so that it reads as TAP's comments where both go to one log.
- Nothing of the working directory, the home directory or pytest's environment variables has a say.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, cast

from pytest_moqt import catalog, options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TextIO

    from pytest_moqt.selection import Selection
    from pytest_moqt.stream import TapStream

NAME = "moq-test-client"

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNSUPPORTED = 127
"A case asked for by name that this client does not have (TEST-CLIENT-INTERFACE.md, exit codes)."

NOT_SUPPORTED = "not supported by this client"

PLUGINS = ("pytest_asyncio.plugin", "pytest_moqt.plugin")
"The plugins of a run."

UNUSED_PLUGINS = (
    *("cacheprovider", "debugging", "doctest", "faulthandler", "junitxml", "legacypath", "pastebin"),
    *("setuponly", "setupplan", "stepwise", "terminalprogress", "threadexception", "unittest"),
    *("unraisableexception", "tmpdir", "monkeypatch", "recwarn", "logging"),
)
"pytest's own plugins that a run here never uses: an eighth of its start-up, and files it would write."

SUBCOMMANDS = ("decode", "encode", "lint-tap")
"What the command does beside judging a relay; the first argument, as no relay's URL is."

DESCRIPTION = "Judge a Media over QUIC (MoQT) relay. Writes TAP version 14 to standard output."
EPILOG = f"""\
cases (those of the interop runner's catalogue; all of them run by default):
{"".join(f"  {identifier}{chr(10)}" for identifier in catalog.IDENTIFIERS)}
more cases, by profile ({NAME} --list --profile NAME prints them; --list --long says what they ask):
  all                  the catalogue and the conformance suite
  core                 what every relay has to do, of the conformance suite
  {", ".join(catalog.CATEGORIES[:6])},
  {", ".join(catalog.CATEGORIES[6:])}
                       the chapters of the conformance suite
  soak                 sessions that are silent for long, 90 seconds or what --soak says; in no other profile
  quic                 the QUIC beneath a session: retry, key update, resumption, migration, ...

outcomes (in each point's diagnostics, and in --results):
  pass, fail, skip; warn, where a SHOULD was missed or the right reaction had another code: ok, unless
  --strict is given; info, where the draft leaves to the relay what it did

environment (an argument comes first; an empty variable counts as not set):
  RELAY_URL            --relay
  TESTCASE             --test; several names with commas or spaces between
  TLS_DISABLE_VERIFY   --tls-disable-verify, when 1, true or yes
  VERBOSE              --verbose, likewise
  MOQT_DRAFT, DRAFT, MOQT_VERSIONS
                       --draft; the first that is set
  SSL_CERT_FILE        --ca-file

beside judging:
  {NAME} decode --draft N HEX     MoQT bytes to a table, or to JSON
  {NAME} encode --draft N JSON    and back
  {NAME} lint-tap FILE            TAP, of any client, against the runner's contract
                                           (each has --help)

exit codes:
  0    every case asked for passed; skipped cases count as passed
  1    a case failed, or the run ended early
  2    an argument cannot be used
  127  a case was asked for by a name that is not known here

examples:
  {NAME} --relay moqt://relay.example:4443
  {NAME} --relay https://relay.example/moq --draft 18 --test setup-only --test 'subscribe-*'
  {NAME} --relay https://localhost:4443 --ca-file certs/cert.pem --junit-xml result.xml
  {NAME} --relay embedded
  {NAME} --relay moqt://relay.example:4443 --all --expect known-failures.yaml --results results.json
  {NAME} --relay moqt://relay.example:4443 --draft 18 --test 10.7 --test 'fetch-*' --level must
"""


class UsageProblem(Exception):
    """An argument or variable that cannot be used; the text is one sentence."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse's own, but of a fixed width: to find out the terminal's it loads archive formats."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


class _Parser(argparse.ArgumentParser):
    """argparse, but a problem is one sentence."""

    def error(self, message: str) -> None:  # type: ignore[override]  # ours raises too, but a type of its own
        raise UsageProblem(f"{message} (see {NAME} --help)")


def _parser() -> _Parser:
    parser = _Parser(
        prog=NAME,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-r",
        "--relay",
        metavar="URL",
        help=f"the relay: https:// for WebTransport, moqt:// for raw QUIC, or `{options.EMBEDDED}` for one "
        f"of our own; default {options.DEFAULT_RELAY}",
    )
    add(
        "-t",
        "--test",
        metavar="NAME",
        action="append",
        default=[],
        help="run only this case, or those that a pattern such as 'announce-*' names, or that judge a "
        "section of the draft in use, such as 10.7; may be repeated",
    )
    add(
        "--profile",
        metavar="NAME",
        action="append",
        default=[],
        help=f"run the cases of this profile ({', '.join(catalog.PROFILES)}) beside those that --test names; "
        "may be repeated",
    )
    add("--all", action="store_true", help=f"the same as --profile {catalog.ALL}")
    add(
        "--level",
        metavar="NAME",
        action="append",
        default=[],
        help=f"of the cases chosen only those of this level ({', '.join(catalog.LEVELS)}); alone, of all; "
        "may be repeated",
    )
    add(
        "--exclude",
        metavar="NAME",
        action="append",
        default=[],
        help="leave out a case; a name, a pattern or a section, may be repeated",
    )
    add("--strict", action="store_true", help="fail a case whose outcome is warn")
    add(
        "--expect",
        metavar="FILE",
        help="YAML list of known failures (case, draft, reason): reported as TODO, and where they pass, as "
        "unexpected",
    )
    add(
        "--require",
        metavar="NAME",
        action="append",
        default=[],
        help="fail this case where the relay does not offer what it is about, which is a skip otherwise; "
        "what the draft does not have stays one; a name or a pattern, may be repeated",
    )
    add(
        "-l",
        "--list",
        action="store_true",
        help="print the names of the cases that would run, one a line, and end; with --draft those it has",
    )
    add("--long", action="store_true", help="with --list: level, drafts, sections and requirement too")
    add("--json", action="store_true", help="with --list: the same for machines")
    add(
        "--dry-run",
        action="store_true",
        help="have one session with the relay, then print what would be run, what skipped, and why",
    )
    add("-v", "--verbose", action="store_true", help="report progress and failures on standard error too")
    add("--tls-disable-verify", action="store_true", help="accept any certificate")
    add(
        "--draft",
        metavar="N",
        help="offer only this draft (18, draft-18, moqt-18), or these, with commas between, the preferred "
        "first; default all, newest first",
    )
    add(
        "--transport",
        metavar="NAME",
        help=f"{', '.join(options.TRANSPORTS)}; auto, the default, follows the URL's scheme",
    )
    add("--ca-file", metavar="PEM", help="trust only the authorities in this file; default the system's")
    add(
        "--retry-relay",
        metavar="URL",
        help="the relay at a port that answers every first packet with Retry, for quic-retry",
    )
    add(
        "--soak",
        metavar="SECONDS",
        help=f"how long cases of the profile {catalog.SOAK} are silent; default {catalog.SOAK_SECONDS:g}",
    )
    add("--wire", action="store_true", help="report what was said, message by message, for passed cases too")
    add("--fixed-names", action="store_true", help="use the namespaces exactly as specified, for every run")
    add("--subtests", action="store_true", help="write the steps of a case as TAP subtests")
    add(
        "--budget",
        metavar="SECONDS",
        help="time for the whole run, after which what remains fails; 0 for none, "
        f"default {options.DEFAULT_BUDGET:g}, or none where conformance cases run",
    )
    add("--results", metavar="PATH", help="write the outcomes as JSON there too")
    add("--junit-xml", metavar="PATH", help="write a JUnit XML report there too")
    add("-n", "--jobs", metavar="N", help="run N cases at a time (needs pytest-xdist)")
    add("--version", action="store_true", help="print the version and exit")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program; the process's own when None.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if argv is None else argv
    if given and given[0] in SUBCOMMANDS:
        if given[0] == "lint-tap":
            from pytest_moqt.lint import command as lint

            return lint.main(given[1:])
        from pytest_moqt import wire

        return wire.main(given)
    parser = _parser()
    try:
        arguments = parser.parse_args(given)
        if arguments.list:
            return _list(arguments, os.environ)
        if arguments.long or arguments.json:
            raise UsageProblem("--long and --json say how --list prints: give --list too")
        if arguments.version:
            import pytest_moqt

            return _print(f"{NAME} {pytest_moqt.__version__}\n")
        return _judge(arguments, os.environ)
    except (UsageProblem, options.OptionError) as problem:
        _say(str(problem))
        return EXIT_USAGE


def command() -> NoReturn:
    """`main` as a process, which ends with it: nothing is left to tidy, and taking 50 MB apart takes time."""
    import gc

    # Until all is imported: nothing of that is garbage, so nobody has to look for any meanwhile.
    gc.disable()
    code = main()
    # None where the descriptor was closed from the start.
    for file in filter(None, (sys.stdout, sys.stderr)):
        try:
            file.flush()
        except (OSError, ValueError):
            code = code or EXIT_FAILED
    os._exit(code)


def _print(text: str) -> int:
    data = memoryview(text.encode())
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        return EXIT_FAILED
    return EXIT_OK


def _say(sentence: str, fd: int = 2) -> None:
    """One sentence on stderr, never shaped like a test point."""
    from pytest_moqt.tap import printable

    with suppress(OSError):  # Nobody listens; the exit code says it too.
        os.write(fd, f"{NAME}: {printable(sentence, 1000)}\n".encode("utf-8", "backslashreplace"))


def _profiles(arguments: argparse.Namespace) -> list[str]:
    return options.profiles([*arguments.profile, *([catalog.ALL] if arguments.all else [])])


def _wanted(arguments: argparse.Namespace, environ: Mapping[str, str]) -> list[str]:
    """Names, patterns and sections, of the arguments or the environment."""
    found = options.variable(environ, "TESTCASE")
    if arguments.test or _profiles(arguments) or found is None:
        return list(arguments.test)
    return options.words([found[1]])


def _selected(arguments: argparse.Namespace, environ: Mapping[str, str], drafts: Sequence[int]) -> Selection:
    """The cases that the arguments and the environment ask for.

    Raises:
        OptionError: A value cannot be used.
        UsageProblem: Nothing is left.
    """
    from pytest_moqt.selection import is_section, select

    profiles = _profiles(arguments)
    wanted = _wanted(arguments, environ)
    exclude = options.words(arguments.exclude)
    selection = select(
        wanted, profiles, levels=options.levels(arguments.level), exclude=exclude, draft=drafts[0]
    )
    if selection.nothing_left:
        raise UsageProblem(selection.nothing_left)
    if len(drafts) > 1 and any(map(is_section, [*wanted, *exclude])):
        _say(f"sections are those of draft-{drafts[0]}; --draft names another")
    return selection


def _list(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from pytest_moqt import listing
    from pytest_moqt.selection import did_you_mean, is_section

    given = options.drafts_given(arguments.draft, environ) or ()
    numbers = given or (0,)
    named = [*_wanted(arguments, environ), *options.words(arguments.exclude)]
    if not given and (arguments.long or arguments.json or any(map(is_section, named))):
        # Without a say in it, the newest: its sections are the ones that people look up.
        from pytest_moqt.protocol.drafts import SUPPORTED

        numbers = SUPPORTED
    selection = _selected(arguments, environ, numbers)
    for name in selection.unknown:
        _say(did_you_mean(name, numbers[0]))
    cases = [
        case
        for case in selection.cases
        if not given or any(listing.exists_in(case, number) for number in given)
    ]
    if selection.cases and not cases:
        asked_for = ", ".join(f"draft-{number}" for number in given)
        raise UsageProblem(f"no case is left: none of the {len(selection.cases)} selected is in {asked_for}")
    if arguments.json:
        return _print(listing.as_json(cases, numbers))
    return _print(listing.long(cases, numbers) if arguments.long else listing.plain(cases))


def _judge(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from pytest_moqt.selection import did_you_mean, is_section

    verbose = arguments.verbose
    if not verbose and (found := options.variable(environ, "VERBOSE")):
        verbose = options.truth(found[1], found[0])
    run = options.resolve(
        relay=arguments.relay,
        draft=arguments.draft,
        transport=arguments.transport,
        ca_file=arguments.ca_file,
        disable_verify=arguments.tls_disable_verify,
        fixed_names=arguments.fixed_names,
        retry_relay=arguments.retry_relay,
        soak_seconds=arguments.soak,
        default_relay=options.DEFAULT_RELAY,
        environ=environ,
    )
    assert run is not None  # there is a default
    selection = _selected(arguments, environ, run.drafts)
    cases, unknown = selection.cases, selection.unknown
    budget = arguments.budget
    if budget is not None:
        options.seconds(budget, "--budget")
    elif selection.beyond_the_catalogue:
        budget = "0"
    required = options.words(arguments.require)
    for pattern in required:
        if is_section(pattern):
            raise UsageProblem(f"--require is {pattern!r}, a section: use the name of a case, or a pattern")
        if not catalog.matching(pattern):
            raise UsageProblem(f"--require: {did_you_mean(pattern, run.drafts[0])}")
    if arguments.dry_run:
        from pytest_moqt.rehearsal import rehearse

        for name in unknown:
            _say(did_you_mean(name, run.drafts[0]))
        code = rehearse(run, selection, _print, _say)
        return EXIT_UNSUPPORTED if unknown and code == EXIT_OK else code
    jobs = _jobs(arguments.jobs)
    report = _writable("--junit-xml", arguments.junit_xml)
    _writable("--results", arguments.results)
    expected = ""
    if arguments.expect:
        from pytest_moqt.expectations import load

        load(arguments.expect)
        expected = os.path.abspath(arguments.expect)
    for name in unknown:
        _say(did_you_mean(name, run.drafts[0]))

    from pytest_moqt.stream import TapStream, own_stdout, unwritten

    results = None
    if arguments.results:
        from pytest_moqt.results import ResultsFile

        results = ResultsFile(arguments.results, {"client": f"{NAME} {_version()}", "relay": run.relay})
    if report and os.path.isfile(report):
        # What is there afterwards is of this run.
        with suppress(OSError):
            os.unlink(os.path.realpath(report))
    try:
        stream = TapStream(own_stdout(), _head(run), results)
    except OSError:
        # Without a stdout there is nobody to tell.
        return EXIT_FAILED
    if not cases:
        stream.plan([(name, name) for name in unknown])
        for name in unknown:
            stream.point(name, True, directive="SKIP", reason=NOT_SUPPORTED)
        stream.end()
        if results is not None and results.problem is not None:
            _say(unwritten(results.problem))
            return EXIT_FAILED
        return EXIT_FAILED if stream.broken else EXIT_UNSUPPORTED

    given = [
        f"--relay={run.relay}",
        f"--transport={run.transport}",
        *([f"--draft={','.join(map(str, run.drafts))}"] if run.drafts_given else []),
        *(["--tls-disable-verify"] if not run.verify else []),
        *([f"--ca-file={os.path.abspath(run.ca_file)}"] if run.ca_file else []),
        *([f"--retry-relay={run.retry_relay}"] if run.retry_relay else []),
        *([f"--soak={arguments.soak}"] if arguments.soak else []),
        *(["--fixed-names"] if run.fixed_names else []),
        *(f"--require={pattern}" for pattern in required),
        *(["--wire"] if arguments.wire else []),
        *(["--subtests"] if arguments.subtests else []),
        *([f"--budget={budget}"] if budget is not None else []),
        *(["--moqt-strict"] if arguments.strict else []),
        *([f"--expect={expected}"] if expected else []),
        *([f"--junit-xml={report}"] if report else []),
        *jobs,
    ]
    code = _run(given, cases, unknown, stream, verbose)
    # A failure says more than a name that is not known.
    return EXIT_UNSUPPORTED if unknown and code == EXIT_OK else code


def _head(run: options.RunOptions) -> list[str]:
    """The comments of a document that comes to an end before the reporter knows more."""
    requested = ", ".join(f"draft-{number}" for number in run.drafts)
    return [
        f"{NAME} {_version()}",
        f"Relay: {run.relay}",
        f"Draft: {requested} (requested)",
        f"Transport: {run.transport}",
        f"TLS: {run.tls}",
    ]


def _broken_off(reason: str) -> dict[str, str]:
    """The diagnostics of the case that a run never came to."""
    return {
        "expected": "the case to run",
        "received": reason,
        "message": f"not begun: {reason}",
        "cause": "internal",
    }


def _version() -> str:
    import pytest_moqt

    return str(pytest_moqt.__version__)


def _jobs(text: str | None) -> list[str]:
    if text is None:
        return []
    # Of a text of thousands of digits Python makes no number.
    digits = text.lstrip("0") if text.isascii() and text.isdigit() else ""
    if not (0 < len(digits) <= 2 and int(digits) <= 64):
        from pytest_moqt.tap import printable

        raise UsageProblem(f"--jobs is {printable(text, 40)!r}: use a number from 1 to 64")
    if int(digits) == 1:
        return []
    from importlib.util import find_spec

    if find_spec("xdist") is None:
        raise UsageProblem("--jobs needs pytest-xdist: pip install 'pytest-moqt[xdist]'")
    return ["-p", "xdist.plugin", "-p", "xdist.looponfail", "-n", digits]


def _writable(name: str, text: str | None) -> str:
    """The absolute path of a report that is to be written, if one is."""
    if not text:
        return ""
    path = os.path.abspath(text)
    directory = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path) or not os.path.isdir(directory) or not os.access(directory, os.W_OK):
        raise UsageProblem(f"{name} is {text!r}: use a path in a directory that can be written to")
    return path


def _run(
    given: list[str],
    cases: Sequence[catalog.Case],
    unknown: Sequence[str],
    stream: TapStream,
    verbose: bool,
) -> int:
    """Let pytest run the cases, with descriptors and signals arranged so that stdout stays a document."""
    stream.plan([(case.identifier, case.identifier) for case in cases])
    stderr = os.dup(2)
    sink = _Sink(stderr if verbose else None)
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        # What is written past Python's own files.
        os.dup2(null, fd)
    # All of a file that is used here; both are annotated as real ones.
    sys.stdout = sys.stderr = cast("TextIO", sink)
    try:
        problem, code = _call_pytest(given, cases, unknown, stream, verbose, sink, stderr)
    finally:
        sink.close()
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    if stream.broken is not None:
        if not isinstance(stream.broken, BrokenPipeError):
            _say(f"standard output cannot be written to: {stream.broken.strerror}", stderr)
        return EXIT_FAILED
    if problem:
        _say(problem, stderr)
    return code


def _call_pytest(
    given: list[str],
    cases: Sequence[catalog.Case],
    unknown: Sequence[str],
    stream: TapStream,
    verbose: bool,
    sink: _Sink,
    stderr: int,
) -> tuple[str, int]:
    """Run pytest; returns what to say on stderr, and the exit code."""
    import gc
    from importlib import import_module

    from pytest_moqt import deferred

    restore = _interruptible(stream, stderr)
    try:
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            del os.environ[name]
        # Inherited by the worker processes of pytest-xdist.
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        in_workers = "-n" in given
        if in_workers:
            os.environ["PYTEST_PLUGINS"] = ",".join(PLUGINS)
        tests = catalog.FOLDER
        if not os.path.isdir(tests):
            reason = f"the interop_tests package is missing beside {os.path.dirname(__file__)}"
            stream.break_off(reason, _broken_off(reason))
            return reason, EXIT_FAILED
        try:
            os.getcwd()
        except OSError:
            # pytest asks for it, and the directory may be gone.
            os.chdir(tests)

        if "--tls-disable-verify" in given:
            deferred.defer(deferred.CERTIFICATE_CHECK)
        for group in deferred.UNUSED:
            deferred.defer(group)
        deferred.defer_package("pytest_asyncio")
        # Before pytest begins, which would look at each of these imports for assertions to rewrite.
        import pytest

        import pytest_moqt.client.session  # noqa: F401 - for the effect
        from pytest_moqt.reporter import Command

        # As modules where it can be: for a name pytest looks through the metadata of all that is installed.
        plugins = [import_module(name) for name in PLUGINS if not in_workers]
        gc.freeze()
        # Most of what a run makes stays; to look for garbage at every 700 objects takes a twentieth of it.
        gc.set_threshold(10_000, 20, 20)
        gc.enable()
        command = Command(stream, unknown, lambda sentence: _say(sentence, stderr))
        junit = any(entry.startswith("--junit-xml") for entry in given)
        arguments = [
            *("-c", os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.ini")),
            *("--rootdir", os.path.dirname(tests), "--confcutdir", tests),
            *(f"-pno:{name}" for name in UNUSED_PLUGINS if not (junit and name == "junitxml")),
            # In memory: capturing descriptors too needs files, and there may be nowhere to write.
            *("--tap14", "--color=no", "-W", "ignore", "--capture=sys"),
            *(("-v", "-ra") if verbose else ("-q", "-q", "--no-header", "--no-summary")),
            # Source lines cost as much as the case, and here nobody reads them.
            f"--tb={'short' if verbose or junit else 'line'}",
            *given,
            *(f"{os.path.join(tests, case.module)}.py::{case.function}" for case in cases),
        ]
        code = int(pytest.main(arguments, plugins=[*plugins, command]))
    except KeyboardInterrupt:
        reason = "interrupted by SIGINT"
        stream.break_off(reason, _broken_off(reason))
        return reason, EXIT_FAILED
    except Exception as error:
        reason = f"internal error: {type(error).__name__}: {error}"
        stream.break_off(reason, _broken_off(reason))
        return reason, EXIT_FAILED
    finally:
        restore()
    if not stream.ended:
        # pytest gave up before the reporter could begin: its last line says why.
        reason = f"internal error: {sink.last_line or f'pytest ended with {code}'}"
        stream.break_off(reason, _broken_off(reason))
        return reason, EXIT_FAILED
    return command.problem, EXIT_OK if code == 0 else EXIT_FAILED


def _interruptible(stream: TapStream, stderr: int) -> Callable[[], None]:
    """End the document at a signal that comes before the reporter listens to them.

    Process 1 of a container is not ended by a signal that it has no handler for.
    """
    import signal

    def end(number: int, _frame: object) -> None:
        reason = f"interrupted by {signal.Signals(number).name}"
        stream.break_off(reason, _broken_off(reason))
        _say(reason, stderr)
        os._exit(EXIT_FAILED)

    previous = {
        number: signal.signal(number, end)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # As SIGHUP is under nohup, and SIGINT in the background of a script.
        if signal.getsignal(number) is not signal.SIG_IGN
    }

    def restore() -> None:
        while previous:
            number, handler = previous.popitem()
            if signal.getsignal(number) is end:
                signal.signal(number, handler)

    return restore


class _Sink:
    """Takes what is printed during a run: to `fd`, each line behind `# `, or nowhere."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._rest = ""
        self.last_line = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line.rsplit("\r", 1)[-1])
        return len(text)

    def _line(self, line: str) -> None:
        if line.strip():
            self.last_line = line.strip()
        if self._fd is not None:
            try:
                os.write(self._fd, f"# {line}".rstrip().encode(self.encoding, self.errors) + b"\n")
            except OSError:
                self._fd = None

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Whole lines only: a part of one would lack its `# `."""

    def close(self) -> None:
        """Write what came without a line end."""
        if self._rest:
            self.write("\n")
        self._fd = None

    def isatty(self) -> bool:
        return False


if __name__ == "__main__":
    command()
