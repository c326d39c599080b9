"""pytest's hooks: options, marks, names, limits, and the TAP report; what they call is loaded when needed.

Rules:

- Projects that have this installed and do not use it notice nothing: without `--relay` or RELAY_URL no
  test is touched, and with RELAY_URL only tests marked `interop` or `spec` are.
- An `interop` test is known by its case's name everywhere: in output, node ids, `-k` and reports.
- Tests of ours run on one event loop, and against a clock.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_moqt import catalog
from pytest_moqt import options as run_options

if TYPE_CHECKING:
    from pytest_moqt.client.failures import CaseFailure
    from pytest_moqt.expectations import Expectation
    from pytest_moqt.limits import Limit
    from pytest_moqt.reporter import Command, Reporter
    from pytest_moqt.target import RelayUnderTest, Target

OURS = ("interop", "spec")
"The marks of a test of a relay."
JOURNAL = "MoQT journal"
"The section of a report that has the journals."
NOT_SUPPORTED = "not-supported"
"Why a case is skipped that the relay answers with that, for machines."
BYTES = ("octets", "offset", "reading", "decode")
"What a report says of bytes at fault."
MAX_EXPLAINED = 1000
"Characters of a line in a section of a report."


class RunningCase:
    """What is known of one of our tests while it runs."""

    def __init__(self, item: pytest.Item) -> None:
        from pytest_moqt.limits import Limit

        mark = item.get_closest_marker("interop")
        details = {} if mark is None else mark.kwargs
        self.identifier: str | None = None if mark is None else str(mark.args[0])
        seconds = float(details.get("timeout", catalog.DEFAULT_SECONDS))
        if details.get("profile") == catalog.SOAK:
            # Of such a case it is the time beside its silence.
            seconds += _soak(item.config)
        # The mark nearest to the function comes first, and is the last on the page.
        marks = reversed(list(item.iter_markers("spec")))
        self.anchors = [str(anchor) for mark in marks for anchor in mark.args]
        function = getattr(item, "originalname", None) or item.name
        self.known = catalog.Case(
            self.identifier or item.name,
            item.path.stem,
            function,
            seconds,
            bool(details.get("after_sending", False)),
            tuple(self.anchors),
            since=int(details.get("since", 0)),
            until=int(details.get("until", 0)),
            level=str(details.get("level", "must")).upper(),
            revision=int(details.get("revision", 1)),
            profile=str(details.get("profile", catalog.DEFAULT)),
            optional=bool(details.get("optional", False)),
            transport=str(details.get("transport", "")),
            summary=_summary(item),
        )
        self.limit: Limit = Limit(seconds, after_sending=self.known.after_sending)
        self.begin()

    def begin(self) -> None:
        """Forget what an earlier attempt left: there may be several, such as pytest-rerunfailures makes."""
        self.limit.reset()
        self.relay: RelayUnderTest | None = None
        self.failed = False
        self.compared: tuple[str, Any, Any] | None = None
        "Operator and sides of the last comparison that failed in an assertion."


def _summary(item: pytest.Item) -> str:
    """The first sentence of a test's docstring: what it requires of the relay."""
    document = inspect.getdoc(getattr(item, "obj", None)) or ""
    return " ".join(document.partition("\n\n")[0].split())


CASE: pytest.StashKey[RunningCase] = pytest.StashKey()
TARGET: pytest.StashKey[Target] = pytest.StashKey()
OPTIONS: pytest.StashKey[run_options.RunOptions | None] = pytest.StashKey()
EXPECTED: pytest.StashKey[Sequence[Expectation]] = pytest.StashKey()
DEADLINE: pytest.StashKey[float] = pytest.StashKey()
"When the run's budget is used up, in seconds of `time.time`, which worker processes share."
TAP_FD: pytest.StashKey[int] = pytest.StashKey()
RUNNING: pytest.StashKey[RunningCase | None] = pytest.StashKey()
"The test of ours that runs now, on the configuration."
STOP: pytest.StashKey[str] = pytest.StashKey()
"Why no other test is worth trying after this one, as its last attempt has it."


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """A group of our own in `pytest --help`."""
    # Loaded by its entry point and by `-p` too, it would be registered under two names, which is an error.
    own_name = pluginmanager.get_name(sys.modules[__name__])
    for name in ("moqt", __name__):
        if own_name is not None and own_name != name:
            pluginmanager.set_blocked(name)

    group = parser.getgroup("moqt", "MoQT relays (pytest-moqt)")
    add = group.addoption
    add(
        "--relay",
        metavar="URL",
        dest="moqt_relay",
        help="The relay to judge: https://HOST:PORT/PATH (WebTransport), moqt://HOST:PORT/PATH (raw QUIC), "
        "or `embedded` for one of our own. Env: RELAY_URL.",
    )
    add(
        "--draft",
        metavar="N",
        dest="moqt_draft",
        help="Offer only this draft (18, draft-18, moqt-18), or these, with commas between, the preferred "
        "first. Default: all, newest first. Env: MOQT_DRAFT, DRAFT, MOQT_VERSIONS.",
    )
    add(
        "--transport",
        metavar="NAME",
        dest="moqt_transport",
        help="quic or webtransport, whatever the URL's scheme; auto (default) follows it.",
    )
    add(
        "--ca-file",
        metavar="PEM",
        dest="moqt_ca_file",
        help="Trust only the authorities in this file. Env: SSL_CERT_FILE.",
    )
    add(
        "--tls-disable-verify",
        action="store_true",
        dest="moqt_tls_disable_verify",
        help="Accept any certificate. Env: TLS_DISABLE_VERIFY=1.",
    )
    add(
        "--tap14",
        action="store_true",
        dest="moqt_tap14",
        help="Write TAP version 14 to stdout, and everything else to stderr.",
    )
    add(
        "--wire",
        action="store_true",
        dest="moqt_wire",
        help="Show what was said in each session, message by message, for every test of a relay and not only "
        "for those that fail.",
    )
    add(
        "--subtests",
        action="store_true",
        dest="moqt_subtests",
        help="With --tap14: steps as TAP subtests, instead of a list in each point's diagnostics.",
    )
    add(
        "--profile",
        metavar="NAME",
        action="append",
        dest="moqt_profile",
        help=f"Run the cases of these profiles only: {', '.join(catalog.PROFILES)}; may be repeated.",
    )
    add(
        "--level",
        metavar="NAME",
        action="append",
        dest="moqt_level",
        help=f"Run only cases of these levels: {', '.join(catalog.LEVELS)}; may be repeated.",
    )
    add(
        "--exclude",
        metavar="NAME",
        action="append",
        dest="moqt_exclude",
        help="Leave out a case; a name or a pattern, may be repeated.",
    )
    add(
        "--moqt-strict",
        action="store_true",
        dest="moqt_strict",
        help="Fail a case whose outcome is warn: the relay missed a SHOULD, or did the right thing with "
        "another code.",
    )
    add(
        "--expect",
        metavar="FILE",
        dest="moqt_expect",
        help="YAML list of known failures (case, draft, reason), which are then expected to fail.",
    )
    add(
        "--results",
        metavar="PATH",
        dest="moqt_results",
        help="With --tap14: write the outcomes as JSON there too.",
    )
    add(
        "--require",
        metavar="NAME",
        action="append",
        dest="moqt_require",
        help="Fail this case where the relay does not offer what it is about, which is a skip otherwise; "
        "what the draft does not have stays one. A name or a pattern, may be repeated.",
    )
    add(
        "--retry-relay",
        metavar="URL",
        dest="moqt_retry_relay",
        help="The relay at a port that answers every first packet with Retry, for quic-retry.",
    )
    add(
        "--soak",
        metavar="SECONDS",
        dest="moqt_soak",
        help=f"How long cases of the profile {catalog.SOAK} are silent. Default: {catalog.SOAK_SECONDS:g}.",
    )
    add(
        "--fixed-names",
        action="store_true",
        dest="moqt_fixed_names",
        help="Use the namespaces exactly as specified, without a part that is unique to the case.",
    )
    add(
        "--budget",
        metavar="SECONDS",
        dest="moqt_budget",
        help="After this time the cases that remain fail without being run; 0 is no limit. "
        f"Default: {run_options.DEFAULT_BUDGET:g} with --tap14, else 0, and 0 where a soak is asked for.",
    )


def _given(config: pytest.Config, name: str) -> Any:
    return getattr(config.option, f"moqt_{name}", None)


def _stands_aside(config: pytest.Config) -> bool:
    """Whether pytest is asked for something other than running tests."""
    names = (
        "help",
        "version",
        "collectonly",
        "setuponly",
        "setupplan",
        "showfixtures",
        "show_fixtures_per_test",
        "markers",
        "cacheshow",
    )
    return any(getattr(config.known_args_namespace, name, False) for name in names)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """With --tap14: keep stdout for the document."""
    if (
        getattr(early_config.known_args_namespace, "moqt_tap14", False)
        and _command(early_config) is None
        and not _stands_aside(early_config)
    ):
        # Before pytest keeps its own copies of the descriptors: from here on, whatever writes to stdout
        # (prints, other plugins, C code) writes to stderr, and only the report has stdout. A worker process
        # of pytest-xdist does the same and no harm: it cannot be told from the others as early as this.
        from pytest_moqt.stream import own_stdout

        try:
            early_config.stash[TAP_FD] = own_stdout()
        except OSError:
            raise pytest.UsageError("--tap14 writes to standard output, which is closed") from None
        sys.stdout.flush()
        os.dup2(2, 1)
    return (yield)


def _command(config: pytest.Config) -> Command | None:
    """The command that started this run, if it was not pytest's own."""
    command: Command | None = config.pluginmanager.get_plugin("moqt-command")
    return command


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Say what is wrong with an option as pytest says it.

    Raises:
        UsageError: An option cannot be used.
    """
    try:
        yield
    except run_options.OptionError as error:
        raise pytest.UsageError(str(error)) from None


def _options(config: pytest.Config) -> run_options.RunOptions | None:
    """What the run was asked to do; None when there is no relay to judge.

    Raises:
        UsageError: A value cannot be used.
    """
    if OPTIONS not in config.stash:
        with _usage():
            config.stash[OPTIONS] = run_options.resolve(
                relay=_given(config, "relay"),
                draft=_given(config, "draft"),
                transport=_given(config, "transport"),
                ca_file=_given(config, "ca_file"),
                disable_verify=bool(_given(config, "tls_disable_verify")),
                fixed_names=bool(_given(config, "fixed_names")),
                retry_relay=_given(config, "retry_relay"),
                soak_seconds=_given(config, "soak"),
            )
    return config.stash[OPTIONS]


def _soak(config: pytest.Config) -> float:
    """How long the cases of the profile `soak` are silent, in seconds.

    Raises:
        UsageError: The value cannot be used.
    """
    with _usage():
        return run_options.soak(_given(config, "soak"))


def _profiles(config: pytest.Config) -> list[str]:
    """The profiles that the run is restricted to; none: it is not.

    Raises:
        UsageError: There is no such profile.
    """
    with _usage():
        return run_options.profiles(_given(config, "profile") or ())


def _levels(config: pytest.Config) -> list[str]:
    """The levels that the run is restricted to; none: it is not.

    Raises:
        UsageError: There is no such level.
    """
    with _usage():
        return run_options.levels(_given(config, "level") or ())


def _expectations(config: pytest.Config) -> Sequence[Expectation]:
    """The failures that are known.

    Raises:
        UsageError: The file that tells them cannot be used.
    """
    path = _given(config, "expect")
    if not path:
        return ()
    if EXPECTED not in config.stash:
        from pytest_moqt.expectations import load

        with _usage():
            config.stash[EXPECTED] = load(os.path.join(config.invocation_params.dir, path))
    return config.stash[EXPECTED]


def _require_means(config: pytest.Config) -> None:
    """Refuse to run where no case could be judged.

    Raises:
        UsageError: Coroutine functions would not be run, or assertions not be made.
    """
    if sys.flags.optimize and config.option.assertmode == "plain":
        raise pytest.UsageError(
            "assertions are switched off, by python -O together with --assert=plain: a case could not fail"
        )
    plugin = sys.modules.get("pytest_asyncio.plugin")
    if plugin is None or not config.pluginmanager.is_registered(plugin):
        raise pytest.UsageError(
            "tests of a relay need pytest-asyncio, which is switched off: by -p no:asyncio, or by "
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD, beside which -p pytest_asyncio.plugin switches it on"
        )


def _budget(config: pytest.Config) -> float | None:
    """Seconds that the run may take."""
    given = _given(config, "budget")
    if given:
        with _usage():
            return run_options.seconds(given, "--budget")
    # A soak alone may take longer than that.
    return run_options.DEFAULT_BUDGET if _given(config, "tap14") and not _soak_named(config) else None


def _relay_configured(config: pytest.Config) -> bool:
    return bool(_given(config, "relay") or run_options.variable(os.environ, "RELAY_URL"))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Marks, options asked for, fixtures and the reporter."""
    add = config.addinivalue_line
    add(
        "markers",
        "interop(identifier, timeout=5.0, after_sending=False, since=0, until=0, revision=1, "
        "profile='catalogue', level='must', optional=False, transport=''): a case of a relay under its fixed "
        "name; timeout in seconds, from our first request with after_sending, and of the profile soak "
        "beside its silence; since and until are the drafts "
        "that have what it is about, transport the only one that does (pytest-moqt)",
    )
    add(
        "markers",
        "spec(*anchors): the sections that a test judges, of the MoQT draft by their anchors, or such as "
        "rfc9000#8.1.2 (pytest-moqt)",
    )
    for profile in catalog.PROFILES:
        if profile != catalog.DEFAULT:
            add("markers", f"{profile}: given to the cases of the profile {profile} (pytest-moqt)")
    for level in catalog.LEVELS:
        add("markers", f"{level}: given to the cases of the conformance suite of this level (pytest-moqt)")
    if config.getoption("help", False) or config.getoption("version", False):
        return
    if _given(config, "relay"):
        # What was asked for here is refused here; the environment may mean somebody else.
        _options(config)
        _require_means(config)
    _profiles(config)
    _levels(config)
    _expectations(config)
    budget = _budget(config)
    if _is_worker(config):
        deadline = config.workerinput.get("moqt_deadline")  # type: ignore[attr-defined]
    else:
        deadline = None if budget is None else time.time() + budget
    if deadline is not None:
        config.stash[DEADLINE] = deadline
    if _relay_configured(config):
        from pytest_moqt import fixtures

        config.pluginmanager.register(fixtures, "moqt-fixtures")
        config.args[:] = [_function_id(arg) for arg in config.args]
    else:
        config.pluginmanager.register(_NoRelay(), "moqt-no-relay")
    reporter = None
    if _given(config, "tap14") and not _is_worker(config) and not _stands_aside(config):
        if getattr(config.option, "tap_stream", False):
            raise pytest.UsageError(
                "--tap14 and pytest-tap's --tap each write a TAP document of their own: give one of the two"
            )
        reporter = _reporter(config, budget)
        config.pluginmanager.register(reporter, "moqt-reporter")
    if config.pluginmanager.has_plugin("timeout"):
        from pytest_moqt.neighbours import Timeouts

        before_exit = None if reporter is None else reporter.expire
        config.pluginmanager.register(Timeouts(before_exit), "moqt-timeouts")


def _reporter(config: pytest.Config, budget: float | None) -> Reporter:
    from pytest_moqt.reporter import Reporter
    from pytest_moqt.stream import TapStream

    command = _command(config)
    if command is not None:
        return Reporter(config, command.stream, command, budget)
    path = _given(config, "results")
    file = None
    if path:
        import pytest_moqt
        from pytest_moqt.results import ResultsFile

        with _usage():
            file = ResultsFile(path, {"client": f"moq-test-client {pytest_moqt.__version__}"})
    return Reporter(config, TapStream(config.stash[TAP_FD], results=file), None, budget)


class _NoRelay:
    """Says what is missing to a test that asks for the relay when none was named."""

    @pytest.fixture
    def relay(self) -> None:
        """The relay under test (needs --relay URL or RELAY_URL)."""
        pytest.fail("which relay? Give --relay URL, or set RELAY_URL", pytrace=False)


def _function_id(arg: str) -> str:
    """A node id that names a case (`…::setup-only`), as the one of its function, which pytest collects."""
    path, separator, name = arg.rpartition("::")
    if separator and ("-" in name or name in catalog.IDENTIFIERS) and re.fullmatch(r"[a-z0-9-]+", name):
        return f"{path}::test_{name.replace('-', '_')}"
    return arg


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker process of pytest-xdist shares the run's deadline."""
    if DEADLINE in node.config.stash:
        node.workerinput["moqt_deadline"] = node.config.stash[DEADLINE]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which relay the run judges."""
    if not _given(config, "relay"):
        return []
    options = _options(config)
    assert options is not None
    offered = ", ".join(f"draft-{number}" for number in options.drafts)
    return [f"moqt: {options.relay}, {options.transport} transport, offering {offered}, {options.tls}"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folder of a suite that was not asked for: those cases are not even imported."""
    suite = collection_path.name
    if suite not in catalog.SUITES:
        return None
    if os.path.realpath(collection_path.parent) != os.path.realpath(catalog.FOLDER):
        return None
    return None if _asked_for(suite, collection_path, config) else True


def _asked_for(suite: str, folder: Path, config: pytest.Config) -> bool:
    """Whether a suite was named: by profile, level, mark or keyword, or by a path into its folder."""
    profiles = catalog.SUITES[suite]
    if profiles.intersection(_profiles(config)):
        return True
    if suite == catalog.CONFORMANCE and _levels(config) and not _profiles(config):
        return True
    marks = profiles | {suite} | (set(catalog.LEVELS) if suite == catalog.CONFORMANCE else set())
    if marks.intersection(asserted(config.option.markexpr)):
        return True
    if (profiles | {suite}).intersection(asserted(config.option.keyword)):
        return True
    module = f"{os.path.basename(catalog.FOLDER)}.{suite}"
    for arg in config.args:
        path = arg.partition("::")[0]
        absolute = Path(os.path.abspath(os.path.join(config.invocation_params.dir, path)))
        if absolute.is_relative_to(folder) or f"{path}.".startswith(f"{module}."):
            return True
    return False


def _soak_named(config: pytest.Config) -> bool:
    """Whether cases that take minutes may be what was asked for: by a word, or as a test of their name."""
    tests = (os.path.basename(arg.replace("::", "/")).removeprefix("test_") for arg in config.args)
    named = any(word.startswith(catalog.SOAK) for word in (*_profiles(config), *tests))
    return named or _soak_in_expressions(config)


def _soak_in_expressions(config: pytest.Config) -> bool:
    """Whether -m or -k asks for cases that take minutes."""
    words = asserted(config.option.markexpr) | asserted(config.option.keyword)
    return any(word.startswith(catalog.SOAK) for word in words)


def _soak_asked_for(item: pytest.Item, config: pytest.Config) -> bool:
    """Whether a case that takes minutes was named: by mark or keyword, by its node id, or by its module."""
    if _soak_in_expressions(config):
        return True
    module = getattr(item, "module", None)
    for arg in config.args:
        path = arg.partition("::")[0]
        if module is not None and path == module.__name__:
            return True
        absolute = os.path.join(config.invocation_params.dir, path)
        if os.path.realpath(absolute) == os.path.realpath(item.path):
            return True
    return False


def asserted(expression: str) -> set[str]:
    """The words of an expression of -m or -k that are to hold, and not those that are not to."""
    words = set()
    negated, outer = False, []
    next_negated = False
    for token in re.findall(r"[()]|[\w-]+", expression):
        if token == "not":
            next_negated = not next_negated
            continue
        if token == "(":
            outer.append(negated)
            negated ^= next_negated
        elif token == ")":
            negated = outer.pop() if outer else False
        elif token not in ("and", "or") and negated == next_negated:
            words.add(token)
        next_negated = False
    return words


def _marks(obj: object) -> Iterator[pytest.Mark]:
    marks = getattr(obj, "pytestmark", None)
    yield from marks if isinstance(marks, list) else ()


def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> None:
    """Put coroutine functions of ours on the one event loop of the run, whatever the project's settings.

    Behind the plugins that want to be first, such as anyio's, and before pytest makes tests of them.
    """
    if not inspect.iscoroutinefunction(obj):
        return
    own = {mark.name for mark in _marks(obj)}
    inherited = any(collector.get_closest_marker(name) for name in OURS)
    if not (own.intersection(OURS) or inherited):
        return
    if "asyncio" not in own:
        pytest.mark.asyncio(loop_scope="session")(obj)
    if any(_is_of_anyio(mark) for mark in _marks(obj)):
        # Its auto mode takes every coroutine function for its own.
        vars(obj)["pytestmark"] = [mark for mark in _marks(obj) if not _is_of_anyio(mark)]


def _is_of_anyio(mark: pytest.Mark) -> bool:
    return mark.name == "usefixtures" and mark.args == ("anyio_backend",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name our tests, put them in order, and give each its clock."""
    ours = [item for item in items if any(item.get_closest_marker(name) for name in OURS)]
    if not ours:
        return
    if not config.option.collectonly:
        options = _options(config)
        if options is None:
            raise pytest.UsageError(
                f"{ours[0].nodeid.partition('::')[0]} holds tests of a relay, but none is named: "
                "give --relay URL, or set RELAY_URL"
            )
        _require_means(config)
        from pytest_moqt.target import Target

        config.stash[TARGET] = Target(options)
    named: dict[str, str] = {}
    for item in ours:
        function = item.nodeid
        if item.get_closest_marker("anyio") is not None:
            raise pytest.UsageError(
                f"{function} is marked anyio, but a test of a relay runs on the event loop of the run: "
                "take that mark away"
            )
        _name(item)
        if item.name != function.rpartition("::")[2] and named.setdefault(item.name, function) != function:
            raise pytest.UsageError(
                f"{named[item.name]} and {function} are both called {item.name!r}: a name stands for one case"
            )
        case = item.stash[CASE] = RunningCase(item)
        # For -m; of a profile that is not in the list, whoever made it up registers the mark.
        for profile in sorted(case.known.profiles - {catalog.DEFAULT}):
            item.add_marker(profile)
        if case.known.profile in catalog.CHAPTERS:
            item.add_marker(case.known.level.lower())
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _within_limit(item.obj, case, full_trace=config.option.fulltrace)
    _keep_selected(config, items)
    _check_required(config, items)
    _sort(items)


def _keep_selected(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of a relay that are not asked for by profile, level or name; otherwise as ever."""
    profiles, levels = _profiles(config), _levels(config)
    excluded = run_options.words(_given(config, "exclude") or ())

    def wanted(item: pytest.Item) -> bool:
        case = item.stash[CASE].known
        if any(fnmatchcase(case.identifier, pattern) for pattern in excluded):
            return False
        if levels and case.level.lower() not in levels:
            return False
        if profiles:
            return bool(case.profiles.intersection(profiles))
        if case.profile == catalog.SOAK and not _soak_asked_for(item, config):
            return False
        # In a copy of the folder of cases, which only looks like ours.
        suite = next((name for name, known in catalog.SUITES.items() if case.profile in known), None)
        return suite is None or _asked_for(suite, item.path.parent, config)

    others = {item for item in items if CASE in item.stash and not wanted(item)}
    if others:
        config.hook.pytest_deselected(items=[item for item in items if item in others])
        items[:] = [item for item in items if item not in others]


def _check_required(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """A name given to --require that nothing has would require nothing.

    Raises:
        UsageError: There is one.
    """
    names = [item.stash[CASE].identifier or "" for item in items if CASE in item.stash]
    for pattern in run_options.words(_given(config, "require") or ()):
        if not catalog.matching(pattern) and not any(fnmatchcase(name, pattern) for name in names):
            raise pytest.UsageError(f"--require is {pattern!r}: no case is called that")


def _is_required(item: pytest.Item, case: RunningCase) -> bool:
    patterns = run_options.words(_given(item.config, "require") or ())
    return any(fnmatchcase(case.identifier or item.nodeid, pattern) for pattern in patterns)


def _name(item: pytest.Item) -> None:
    """Give an `interop` test the name of its case.

    Raises:
        UsageError: The mark names none, or none that can stand in a report.
    """
    mark = item.get_closest_marker("interop")
    if mark is None:
        return
    identifier = mark.args[0] if mark.args else None
    if not isinstance(identifier, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identifier):
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.interop takes the name of the case, of small letters, digits and "
            f"hyphens, such as 'setup-only'; it has {identifier!r}"
        )
    parameters = f"[{item.callspec.id}]" if hasattr(item, "callspec") else ""
    parent, _, _ = item.nodeid.rpartition("::")
    item.name = identifier + parameters
    node_id = f"{parent}::{item.name}"
    # pytest has no public way to rename an item, and reports, --lf and JUnit all go by the node id: a text
    # up to pytest 9.1, a value that has a text since.
    structured = getattr(item, "id", None)
    if structured is None:
        setattr(item, "_nodeid", node_id)  # noqa: B010  # unknown to the types of newer versions
    else:
        setattr(item, "_id", type(structured).parse(node_id))  # noqa: B010  # the same for older ones


def _sort(items: list[pytest.Item]) -> None:
    """Put the cases of the lists in their order, in the places that they have."""
    cases = [item.stash[CASE].known for item in items if CASE in item.stash]
    beyond = any(case.profile in catalog.CHAPTERS for case in cases)
    listed = catalog.known() if beyond else (*catalog.CATALOG, *catalog.QUIC)
    order = {known.identifier: place for place, known in enumerate(listed)}

    def rank(item: pytest.Item) -> int | None:
        case = item.stash.get(CASE, None)
        return None if case is None or case.identifier is None else order.get(case.identifier)

    places = [place for place, item in enumerate(items) if rank(item) is not None]
    ranked = sorted((items[place] for place in places), key=lambda item: rank(item) or 0)
    for place, item in zip(places, ranked, strict=True):
        items[place] = item


def _within_limit(function: Callable[..., Any], case: RunningCase, *, full_trace: bool) -> Callable[..., Any]:
    from pytest_moqt.client.errors import ConnectError
    from pytest_moqt.client.failures import CaseFailure, overtaken
    from pytest_moqt.limits import CaseTimeout, run_within

    @wraps(function)
    async def limited(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        relay = case.relay
        instead: list[CaseFailure] = []
        half_said: list[str] = []

        def awaited() -> list[str]:
            """What is awaited at the end of the time; and meanwhile the sessions still stand as they did."""
            if relay is None:
                return []
            half_said[:] = relay.half_said()
            explanation = relay.explanation()
            instead[:] = [] if explanation is None else [explanation]
            return relay.awaited()

        try:
            try:
                await run_within(case.limit, lambda: function(*args, **kwargs), awaited)
            except CaseTimeout as late:
                if instead:
                    raise overtaken(instead[0], late) from None
                if half_said:
                    raise CaseTimeout(
                        f"{late}; there are {'; '.join(half_said)}", expected=late.expected
                    ) from None
                raise
        except (CaseFailure, ConnectError) as failure:
            if not full_trace:
                # Its text says all; where in the client it was raised is nobody's business.
                failure.with_traceback(_up_to(function.__code__.co_filename, failure.__traceback__))
            raise

    return limited


def _up_to(filename: str, traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that ends with the last frame of that file; all of it when it has none."""
    frames = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        if kept is not None or frame.tb_frame.f_code.co_filename == filename:
            kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept or (frames[0] if frames else None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start the embedded relay, when that was asked for: not in the time of the first case."""
    target = session.config.stash.get(TARGET, None)
    if target is not None and session.items:
        target.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Stop the run when this test says so, and not before its last attempt."""
    handled = yield
    stop = item.stash.get(STOP, "")
    if stop:
        # The other cases would only meet the same again.
        item.session.shouldfail = stop
    return handled


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin an attempt; fail what comes after the end of the run's time."""
    item.stash[STOP] = ""
    item.config.stash[RUNNING] = item.stash.get(CASE, None)
    if CASE in item.stash:
        item.stash[CASE].begin()
    deadline = item.config.stash.get(DEADLINE, None)
    if deadline is not None and time.time() >= deadline:
        from pytest_moqt.limits import BudgetUsedUp

        raise BudgetUsedUp(_budget(item.config) or 0.0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the diagnosis and the facts of the sessions in the report."""
    report = yield
    case = item.stash.get(CASE, None)
    if case is None and not _given(item.config, "tap14"):
        return report
    if case is not None and report.failed and call.excinfo is not None:
        _skip_what_is_not_offered(report, call.excinfo.value, case)
    if case is not None and call.excinfo is not None and report.skipped:
        _required_but_skipped(item, report, call.excinfo, case)
    elif report.failed and call.excinfo is not None:
        if case is not None:
            case.failed = True
        # Attributes of a report travel with it from a worker process.
        failure = vars(report)["moqt_failure"] = _failure(item, call.excinfo, case)
        item.stash[STOP] = str(failure.get("bail_out") or item.stash.get(STOP, ""))
        if case is not None:
            report.sections.append(("MoQT", _explained(failure)))
            if "journal" in failure:
                report.sections.append((JOURNAL, _of_journals(failure["journal"])))
    if case is not None and report.passed and report.when == "call" and case.relay is not None:
        _fail_what_is_strict(item, report, case, case.relay)
    if case is not None and (report.failed or report.when == "call"):
        _expect(item, report, case, None if call.excinfo is None else call.excinfo.value)
    if case is not None:
        facts = vars(report)["moqt_case"] = _facts(item, case)
        if report.when == "call" and report.passed and "journal" in facts:
            report.sections.append((JOURNAL, _of_journals(facts["journal"])))
        if report.when == "call" or not report.passed:
            properties = _properties(facts, report)
            known = {name for name, _ in properties}
            item.user_properties[:] = [entry for entry in item.user_properties if entry[0] not in known]
            item.user_properties.extend(properties)
            report.user_properties = list(item.user_properties)
    return report


def _required_but_skipped(
    item: pytest.Item,
    report: pytest.TestReport,
    excinfo: pytest.ExceptionInfo[BaseException],
    case: RunningCase,
) -> None:
    """With --require: a case that the relay leaves untried has failed."""
    if hasattr(report, "wasxfail") or not _is_required(item, case):
        return
    if case.relay is not None and case.relay.beyond_the_relay:
        # No relay passes a case that the draft does not have: a pattern would fail every one of them.
        return
    reason = str(excinfo.value)
    message = f"required, but skipped: {reason}"
    case.failed = True
    report.outcome, report.longrepr = "failed", message
    failure = vars(report)["moqt_failure"] = {
        "expected": "the case to be tried, as --require asks",
        "received": reason,
        "message": message,
        "cause": "rejected",
        **_citations(case.anchors, _draft_of(item, None)),
    }
    report.sections.append(("MoQT", _explained(failure)))


def _skip_what_is_not_offered(report: pytest.TestReport, error: BaseException, case: RunningCase) -> None:
    """Of what a relay need not offer, its word that it does not is a reason to skip."""
    refusal = case.relay.declined(error) if case.known.optional and case.relay is not None else None
    if refusal is not None and case.relay is not None:
        case.relay.skipped = NOT_SUPPORTED
        report.outcome = "skipped"
        report.longrepr = ("", 0, f"{NOT_SUPPORTED}: {refusal}")


def _fail_what_is_strict(
    item: pytest.Item, report: pytest.TestReport, case: RunningCase, relay: RelayUnderTest
) -> None:
    """With --moqt-strict: a warning is a failure."""
    warnings = relay.observed.warnings
    if not warnings or not _given(item.config, "strict"):
        return
    case.failed = True
    report.outcome, report.longrepr = "failed", f"strict: {warnings[0]}"
    failure = vars(report)["moqt_failure"] = {
        "expected": "no warning, as --strict asks",
        "received": warnings[0],
        "message": f"strict: {'; '.join(warnings)}",
        "cause": "data",
        **_citations(case.anchors, _draft_of(item, None)),
    }
    report.sections.append(("MoQT", _explained(failure)))


def _expect(
    item: pytest.Item, report: pytest.TestReport, case: RunningCase, error: BaseException | None
) -> None:
    """With --expect: a failure that is known is expected, and its absence is not.

    What is no failure of the case's own is none that is known: a relay that is not there, an error of ours,
    the end of the run's time.
    """
    if report.skipped or hasattr(report, "wasxfail"):
        return
    from pytest_moqt.limits import BudgetUsedUp

    failure = getattr(report, "moqt_failure", {})
    if failure.get("bail_out") or failure.get("cause") == "internal" or isinstance(error, BudgetUsedUp):
        return
    target = item.config.stash.get(TARGET, None)
    spoken = None if target is None else _spoken(target)
    known = next(
        (known for known in _expectations(item.config) if known.is_about(case.known.identifier, spoken)), None
    )
    if known is None:
        return
    # As pytest reports a test marked xfail: skipped when it fails, passed when it does not.
    vars(report)["wasxfail"] = known.reason
    if report.failed:
        report.outcome = "skipped"


def _spoken(target: Target) -> int | None:
    """The draft of the run: the one that the relay chose, or before any the only one it can."""
    if target.draft is not None:
        return target.draft.number
    return target.options.drafts[0] if len(target.options.drafts) == 1 else None


def _citations(anchors: Sequence[str], draft: int | None) -> dict[str, Any]:
    from pytest_moqt.diagnosis import citations

    return citations(anchors, draft)


def _failure(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], case: RunningCase | None
) -> dict[str, Any]:
    from pytest_moqt.diagnosis import Comparison, citations, diagnose
    from pytest_moqt.neighbours import of_timeout
    from pytest_moqt.protocol.sections import section

    statement = ""
    if isinstance(excinfo.value, AssertionError):
        # Whatever pytest meets while it looks for the source: the line is a comfort, not the verdict.
        with contextlib.suppress(Exception):
            statement = str(excinfo.traceback[-1].statement)
    awaited = case.relay.awaited() if case is not None and case.relay is not None else []
    compared = None if case is None or case.compared is None else Comparison(*case.compared)
    values = diagnose(of_timeout(excinfo.value, awaited) or excinfo.value, statement, compared)
    if isinstance(excinfo.value, AssertionError) and case is not None and case.relay is not None:
        # An answer of the relay that an assertion found wrong, or its code, said as one.
        code = None if compared is None else compared.left
        told = case.relay.told(values["received"], code)
        if told is not None:
            wrong = "" if values["cause"] in ("rejected", "wrong-message") else f"{values['message']}: "
            values.update(received=told.received, message=f"{wrong}{told}")
    draft = _draft_of(item, values.pop("draft_number", None))
    anchors = [] if case is None else case.anchors
    if "spec" in values and (not anchors or draft is None or section(values["spec"], draft)):
        anchors = [values["spec"]]
    # Behind what they are about, before the bytes.
    behind = {name: values.pop(name) for name in list(values) if name in BYTES}
    values.pop("spec", None)
    values.update(citations(anchors, draft))
    values.update(behind)
    if case is not None and case.relay is not None:
        journals = case.relay.journals()
        if any(journals.values()):
            values["journal"] = journals
    return values


def _draft_of(item: pytest.Item, spoken: int | None) -> int | None:
    """The draft that a failure is to be judged by: the one spoken, or else the first that was offered."""
    if spoken is not None:
        return spoken
    target = item.config.stash.get(TARGET, None)
    if target is None:
        return None
    return target.draft.number if target.draft is not None else target.options.drafts[0]


def _explained(failure: dict[str, Any]) -> str:
    """A failure as a section of pytest's own report."""
    from pytest_moqt.tap import printable

    names = ("expected", "received", "cause", "spec", "spec_url", *BYTES)
    lines = []
    for name in names:
        value = failure.get(name)
        if isinstance(value, list):
            lines += [f"{name}:", *(f"  {printable(str(entry), MAX_EXPLAINED)}" for entry in value)]
        elif value not in (None, ""):
            lines.append(f"{name}: {printable(str(value), MAX_EXPLAINED)}")
    return "\n".join(lines)


def _of_journals(journals: dict[str, list[str]]) -> str:
    """Journals as a section of pytest's own report."""
    return "\n".join(
        line for role, lines in journals.items() for line in (f"{role}:", *(f"  {line}" for line in lines))
    )


def _facts(item: pytest.Item, case: RunningCase) -> dict[str, Any]:
    """What the report says of the case and its sessions, whatever its verdict."""
    target = item.config.stash[TARGET]
    facts: dict[str, Any] = {
        "identifier": case.identifier,
        "revision": case.known.revision,
        "level": case.known.level,
        "profile": case.known.profile,
        **target.facts(),
    }
    if case.relay is not None:
        facts["outcome"] = case.relay.observed.outcome
        # One that did not come about, and need not have, is no session of a case that passed.
        tried = case.failed or bool(case.relay.skipped)
        facts["sessions"] = case.relay.on_record(tried=tried)
        facts["notes"] = case.relay.notes()
        facts.update(case.relay.findings())
        if _given(item.config, "wire"):
            from pytest_moqt.target import WIRE_LINES

            facts["journal"] = case.relay.journals(WIRE_LINES)
    return facts


def _properties(facts: dict[str, Any], report: pytest.TestReport) -> list[tuple[str, object]]:
    """The facts as flat properties, for JUnit XML."""
    properties: list[tuple[str, object]] = [
        (name, facts[name]) for name in ("draft", "transport", "level", "profile") if name in facts
    ]
    if report.failed or (report.skipped and hasattr(report, "wasxfail")):
        properties.append(("outcome", "fail"))
    else:
        properties.append(("outcome", "skip" if report.skipped else facts.get("outcome", "pass")))
    properties += [(name, said) for name in ("warnings", "observed") for said in facts.get(name, ())]
    properties += connection_ids(facts.get("sessions", {})).items()
    return properties


def connection_ids(sessions: dict[str, dict[str, str]]) -> dict[str, str]:
    """`connection_id` of an only session, `<role>_connection_id` of several, as far as they are known."""
    key = "quic_initial_destination_connection_id"
    known = {role: facts[key] for role, facts in sessions.items() if key in facts}
    if len(sessions) == 1:
        return dict.fromkeys(["connection_id"] if known else [], *known.values())
    return {f"{role}_connection_id": connection_id for role, connection_id in known.items()}


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> None:
    """Keep what was compared: what pytest makes of it is cut in the middle."""
    case = config.stash.get(RUNNING, None)
    if case is not None:
        case.compared = (op, left, right)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """With --wire: the journals of the tests that passed, unless pytest shows their sections anyway."""
    if not _given(config, "wire") or terminalreporter.hasopt("P"):
        return
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    journals = [
        (report.nodeid, text) for report in passed for name, text in report.sections if name == JOURNAL
    ]
    if journals:
        terminalreporter.section("MoQT journals of passed tests")
    for node_id, text in journals:
        terminalreporter.write_sep("_", node_id)
        terminalreporter.write_line(text)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the embedded relay."""
    target = config.stash.get(TARGET, None)
    if target is not None:
        target.stop()


def planned_names(node_ids: Sequence[str]) -> list[str]:
    """The description of each point: the name of a case, else the whole node id."""
    names = []
    for node_id in node_ids:
        name = node_id.rpartition("::")[2]
        names.append(name if re.fullmatch(r"[a-z0-9-]+(\[.*\])?", name) else node_id)
    return names
