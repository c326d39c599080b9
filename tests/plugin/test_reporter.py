"""The TAP report of a run: verdicts, diagnostics, order, and the ends a run may come to."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from toys import NEWEST, URL, Project, environment

from pytest_moqt.client.failures import CaseFailure
from pytest_moqt.diagnosis import diagnose
from pytest_moqt.protocol.drafts import SUPPORTED
from tests.sweeps import swept

MIXED = """
@pytest.mark.interop("first")
@pytest.mark.spec("message-setup")
async def test_first(relay):
    async with relay.connect() as session:
        assert session.peer_setup

@pytest.mark.interop("second")
@pytest.mark.spec("message-pub-ns")
async def test_second(relay):
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await publisher.request("x")

@pytest.mark.interop("third")
async def test_third(relay):
    async with relay.connect() as session:
        await session.request("x")
"""


def test_a_run_of_passing_cases(project: Project) -> None:
    """Version, header, plan, then one point for each case with its facts."""
    project.write("test_toy.py", MIXED)

    result = project.tap()

    document = result.document
    assert result.code == 0, result.stderr
    assert document.verdicts == [("first", "ok"), ("second", "ok"), ("third", "ok")]
    assert document.comments[0].startswith("moq-test-client ")
    assert document.comments[1:4] == [
        f"Relay: {URL}",
        f"Draft: draft-{NEWEST} (negotiated)",
        "Transport: quic",
    ]
    assert document.comments[4].startswith("TLS: certificate checked against")
    first, second = document["first"].values, document["second"].values
    assert isinstance(first["duration_ms"], int)
    assert (first["draft"], first["transport"]) == (f"draft-{NEWEST}", "quic")
    assert re.fullmatch("[0-9a-f]{16}", first["connection_id"])
    assert first["test_spec_revision"] == 1
    assert first["implementation_version"]
    assert first["sessions"]["client"] == {
        "moqt_version": f"moqt-{NEWEST}",
        "transport": "quic",
        "alpn": f"moqt-{NEWEST}",
        "quic_initial_destination_connection_id": first["connection_id"],
    }
    assert {"publisher_connection_id", "subscriber_connection_id"} <= second.keys()
    assert list(second["sessions"]) == ["publisher", "subscriber"]
    assert "connection_id" not in second


def test_the_draft_of_the_first_session_is_offered_alone_from_then_on(project: Project) -> None:
    """One run judges one draft: what the relay chose first."""
    project.write(
        "test_toy.py",
        """
        import fake_session, pytest_moqt.target as target
        OFFERS = []
        async def noted(endpoint, *, offer, **rest):
            OFFERS.append(tuple(offer))
            return await fake_session.connect(endpoint, offer=offer, **rest)
        target.connect = noted

        @pytest.mark.interop("one")
        async def test_one(relay):
            async with relay.connect(), relay.connect("other"):
                pass
            assert OFFERS == [(22, 21, 20, 19, 18, 17, 16, 15, 14), (16,)]
        """,
    )

    result = project.tap(env={"FAKE_RELAY": "draft-16"})

    assert result.document.verdicts == [("one", "ok")], result.stdout
    assert "Draft: draft-16 (negotiated)" in result.document.comments


def test_a_refused_request_is_a_failure_with_its_cause(project: Project) -> None:
    """Expected, received, message, cause, section and what was said, with the relay's text as data."""
    project.write("test_toy.py", MIXED)

    result = project.tap("--draft", "18", env={"FAKE_RELAY": "refuses"})

    document = result.document
    assert result.code == 1
    assert document.verdicts == [("first", "ok"), ("second", "not ok"), ("third", "not ok")]
    values = document["second"].values
    assert values["cause"] == "rejected"
    assert values["expected"] == "REQUEST_OK for request 0"
    assert "ok 9 - forged" in "\n".join(values["received"])
    assert "MoQT-18" in values["spec"]
    assert "10.15" in values["spec"]
    assert values["spec_url"].startswith("https://")
    assert len(values["journal"]["publisher"]) == 2
    assert document.bail_out is None


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_what_is_beside_the_case_is_told_and_fails_nothing(project: Project, jobs: list[str]) -> None:
    """A relay's breach beside the case is a note, how the draft was found a comment; both are green."""
    project.write("test_toy.py", MIXED)

    result = project.tap(*jobs, env={"FAKE_RELAY": "deviates remarks"})

    document = result.document
    assert result.code == 0, result.stderr
    assert all(point.ok for point in document.points)
    assert "beside this case, the relay broke its draft" in str(document["first"].values["notes"])
    assert len(document["second"].values["notes"]) == 2
    assert any(comment.startswith("Note: draft-14 was offered alone") for comment in document.comments)


def test_a_case_that_only_waits_names_what_it_awaited(project: Project) -> None:
    """A timeout is `received`, and what was awaited is `expected`."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("waits", timeout=0.3)
        async def test_waits(relay):
            async with relay.connect() as session:
                await session.request("x")

        @pytest.mark.interop("waits-after-sending", timeout=0.3, after_sending=True)
        async def test_waits_after_sending(relay):
            async with relay.connect() as session:
                await asyncio.sleep(0.5)
                await session.request("x")
        """,
    )

    document = project.tap(env={"FAKE_RELAY": "silent"}).document

    for name, least in (("waits", 300), ("waits-after-sending", 800)):
        values = document[name].values
        assert (values["received"], values["cause"]) == ("timeout", "timeout")
        assert values["expected"] == "REQUEST_OK or REQUEST_ERROR for request 0"
        assert "300 ms" in values["message"]
        assert least <= values["duration_ms"] < least + 250


def test_a_session_that_did_not_come_about_is_none_of_a_case_that_passed(project: Project) -> None:
    """There is nothing to name it by but what it was dialled with; where the case fails, that is told."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.parametrize("bears", [True, False])
        @pytest.mark.interop("is-refused")
        async def test_is_refused(relay, monkeypatch, bears):
            async with relay.connect("first"):
                monkeypatch.setenv("FAKE_RELAY", "no-setup")
                with pytest.raises(Exception, match="no SETUP"):
                    async with relay.connect("second"): pass
                assert bears
        """,
    )

    document = project.tap().document

    assert list(document["is-refused[True]"].values["sessions"]) == ["first"]
    assert list(document["is-refused[False]"].values["sessions"]) == ["first", "second"]


def test_a_session_that_the_relay_ended_is_never_a_pass(project: Project) -> None:
    """Leaving a session that was closed under us fails the case, unless the case waited for that."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("leaves")
        async def test_leaves(relay):
            async with relay.connect():
                pass

        @pytest.mark.interop("uses-fixture")
        async def test_uses_fixture(session):
            pass

        @pytest.mark.interop("awaits-the-end")
        async def test_awaits_the_end(session):
            session.close_awaited = True
        """,
    )

    document = project.tap(env={"FAKE_RELAY": "closes"}).document

    assert document.verdicts == [("leaves", "not ok"), ("uses-fixture", "not ok"), ("awaits-the-end", "ok")]
    assert document["leaves"].values["cause"] == "closed"
    assert document["uses-fixture"].values["phase"] == "teardown"


def test_a_failing_case_is_not_hidden_by_the_end_of_its_session(project: Project) -> None:
    """The first thing that went wrong is what the report says."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("fails")
        async def test_fails(session):
            assert 1 == 2, "the verdict"
        """,
    )

    values = project.tap(env={"FAKE_RELAY": "closes"}).document["fails"].values

    assert values["message"].startswith("the verdict")
    assert "phase" not in values


def test_a_setup_that_fails_is_a_failure_and_no_bail_out(project: Project) -> None:
    """A relay that answers is reachable; its connection id is reported although no session came about."""
    project.write("test_toy.py", MIXED)

    document = project.tap(env={"FAKE_RELAY": "no-setup"}).document

    assert [verdict for _, verdict in document.verdicts] == ["not ok"] * 3
    assert document.bail_out is None
    values = document["first"].values
    assert values["cause"] == "setup"
    assert re.fullmatch("[0-9a-f]{16}", values["connection_id"])
    offered = ", ".join(f"draft-{number}" for number in SUPPORTED)
    assert f"Draft: {offered} (requested)" in document.comments


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_an_unreachable_relay_ends_the_run(project: Project, jobs: list[str]) -> None:
    """The case that met it fails, then the bail-out; nothing else is tried."""
    project.write("test_toy.py", MIXED)

    result = project.tap(*jobs, env={"FAKE_RELAY": "unreachable"})

    document = result.document
    assert result.code == 1
    assert document.plan == 3
    assert document.bail_out == "no relay answered at 127.0.0.1:1"
    assert {verdict for _, verdict in document.verdicts} == {"not ok"}
    values = document.points[0].values
    assert values["cause"] == "transport"
    assert values["connection_id"]
    if not jobs:
        assert len(document.points) == 1


def test_verdicts_of_every_kind(project: Project) -> None:
    """Each outcome of pytest has one in TAP, and one for the exit code."""
    project.write(
        "test_toy.py",
        """
        def test_passes(): pass
        def test_fails():
            assert {"a": 1} == {"a": 2}
        @pytest.mark.skip(reason="not implemented # yet")
        def test_skipped_by_mark(): pass
        def test_skips(): pytest.skip("no \\n reason")
        @pytest.mark.xfail(reason="known bug #7")
        def test_expected_failure(): assert False
        @pytest.mark.xfail(reason="known bug")
        def test_unexpected_success(): pass
        @pytest.mark.xfail(reason="strict one", strict=True)
        def test_strict_unexpected_success(): pass
        @pytest.fixture
        def broken(): raise RuntimeError("in setup")
        def test_setup_error(broken): pass
        @pytest.fixture
        def breaks_later():
            yield
            raise RuntimeError("in teardown")
        def test_teardown_error(breaks_later): pass
        @pytest.mark.parametrize("x", ["# TODO", "a b"])
        def test_param(x): pass
        def test_stops(): pytest.fail("by hand")
        """,
    )

    result = project.pytest("--tap14")

    verdicts = [(name.partition("::test_")[2], verdict) for name, verdict in result.document.verdicts]
    assert result.code == 1
    assert verdicts == [
        ("passes", "ok"),
        ("fails", "not ok"),
        ("skipped_by_mark", "SKIP"),
        ("skips", "SKIP"),
        ("expected_failure", "TODO"),
        ("unexpected_success", "TODO"),
        ("strict_unexpected_success", "not ok"),
        ("setup_error", "not ok"),
        ("teardown_error", "not ok"),
        ("param[# TODO]", "ok"),
        ("param[a b]", "ok"),
        ("stops", "not ok"),
    ]
    points = {point.name.partition("::test_")[2]: point for point in result.document.points}
    assert points["skipped_by_mark"].reason == "not implemented # yet"
    assert points["expected_failure"].reason == "known bug #7"
    assert not points["expected_failure"].ok
    assert points["unexpected_success"].ok
    assert points["setup_error"].values["phase"] == "setup"
    assert points["setup_error"].values["cause"] == "internal"
    assert points["teardown_error"].values["phase"] == "teardown"
    assert points["fails"].values["expected"] == '{"a": 1} == {"a": 2}'
    assert any("{'a': 1} == {'a': 2}" in line for line in points["fails"].values["assertion"])
    assert points["stops"].values["message"] == "by hand"


def test_skips_and_expected_failures_are_no_failures(project: Project) -> None:
    """The exit code is 0 when nothing failed."""
    project.write(
        "test_toy.py",
        """
        def test_skips(): pytest.skip("why")
        @pytest.mark.xfail(reason="known")
        def test_expected_failure(): assert False
        """,
    )

    result = project.pytest("--tap14")

    assert result.code == 0
    assert [verdict for _, verdict in result.document.verdicts] == ["SKIP", "TODO"]


def test_a_wrong_reply_names_both(project: Project) -> None:
    """An assertion about a message's class becomes expected and received."""
    project.write(
        "test_toy.py",
        """
        from pytest_moqt import RequestError, RequestOk

        @pytest.mark.interop("wrong")
        async def test_wrong(relay):
            answer = RequestError(code=16, reason="gone")
            assert isinstance(answer, RequestOk)
        """,
    )

    values = project.tap().document["wrong"].values

    assert values["expected"] == "RequestOk"
    assert values["received"].startswith("RequestError(code=16")
    assert values["cause"] == "rejected"


def test_an_error_of_ours_says_so(project: Project) -> None:
    """A bug of a case is not blamed on the relay; in a group of errors the relay's comes first."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("bug")
        async def test_bug(relay):
            None.nothing

        @pytest.mark.interop("group")
        async def test_group(relay):
            async with relay.connect() as session, asyncio.TaskGroup() as tasks:
                tasks.create_task(session.request("x"))
                tasks.create_task(asyncio.sleep(5))
        """,
    )

    document = project.tap(env={"FAKE_RELAY": "refuses"}).document

    assert document["bug"].values["cause"] == "internal"
    assert "not of the relay" in document["bug"].values["message"]
    assert document["group"].values["cause"] == "rejected"


@pytest.mark.parametrize("causes", [*itertools.permutations(["closed", "rejected", "timeout"])], ids="-".join)
def test_of_several_failures_the_one_is_told_that_others_follow_from(causes: tuple[str, ...]) -> None:
    """The end of a session before a refusal, and that before what never came; however they are met."""
    failures = [CaseFailure(cause, cause=cause, expected="", received="") for cause in causes]

    told = diagnose(ExceptionGroup("", [failures[0], ExceptionGroup("", failures[1:])]))

    assert told["cause"] == "closed"


STEPS = """
@pytest.mark.interop("steps")
async def test_steps(subtests, relay):
    with subtests.test("publisher connected"):
        pass
    with subtests.test("subscriber", n=2):
        assert 1 == 2
    with subtests.test("not this draft"):
        pytest.skip("draft-14 lacks it")

@pytest.mark.interop("after")
async def test_after(relay):
    async with relay.connect():
        pass
"""


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_steps_are_a_list_in_the_diagnostics(project: Project, jobs: list[str]) -> None:
    """Behind docker compose an indented point would be counted, so steps are no points unless asked for."""
    project.write("test_toy.py", STEPS)

    result = project.tap(*jobs)

    assert result.code == 1
    assert result.document.verdicts == [("steps", "not ok"), ("after", "ok")]
    statuses = [step["status"] for step in result.document["steps"].values["steps"]]
    assert statuses == ["pass", "fail", "skip draft-14 lacks it"]
    assert result.document["steps"].values["cause"] == "data"


def test_steps_are_subtests_when_asked_for(project: Project) -> None:
    """With --subtests each is a point of a child document."""
    project.write("test_toy.py", STEPS)

    document = project.tap("--subtests").document

    children = document["steps"].children
    assert children is not None
    assert [verdict for _, verdict in children.verdicts] == ["ok", "not ok", "SKIP"]
    assert "steps" not in document["steps"].values


def test_points_are_written_as_the_cases_end(project: Project) -> None:
    """A reader sees the first verdict while the second case is still running."""
    project.write(
        "test_toy.py",
        """
        def test_a(): pass
        def test_b(): time.sleep(1.5)
        """,
    )
    with project.background("--tap14") as running:
        seen = [running.stdout.readline() for _ in range(4)]
        at = time.monotonic()
        rest = running.stdout.read()

    assert b"ok 1 - test_toy.py::test_a\n" in seen
    assert b"ok 2 - " in rest
    assert time.monotonic() - at > 0.7


@pytest.mark.parametrize("arguments", [["-n", "3"], ["-n", "3", "-s"], ["-n", "1"]])
def test_points_are_in_plan_order_with_workers(project: Project, arguments: list[str]) -> None:
    """Whichever worker ends first, the points ascend."""
    project.write(
        "test_toy.py",
        """
        print("ok 97 - at import")
        @pytest.mark.interop("slow")
        async def test_slow(relay):
            print("ok 98 - in a case")
            await asyncio.sleep(0.8)
            async with relay.connect(): pass
        @pytest.mark.parametrize("n", range(8))
        @pytest.mark.interop("quick")
        async def test_quick(relay, n):
            os.write(1, b"ok 99 - raw\\n")
            async with relay.connect(): pass
        """,
    )

    result = project.tap(*arguments)

    assert result.code == 0, result.stderr
    assert [name for name, _ in result.document.verdicts] == ["slow", *(f"quick[{n}]" for n in range(8))]
    assert f"Draft: draft-{NEWEST} (negotiated)" in result.document.comments


@pytest.mark.parametrize("arguments", [[], ["-s"]])
def test_stdout_holds_nothing_but_the_document(project: Project, arguments: list[str]) -> None:
    """Prints, raw writes, warnings and pytest's own report go to stderr."""
    project.write(
        "test_toy.py",
        """
        import subprocess, warnings
        print("ok 90 - at import"); os.write(1, b"ok 91 - at import\\n")
        def test_noise():
            print("ok 92 - print"); os.write(1, b"ok 93 - raw\\n"); warnings.warn("ok 94")
            subprocess.run(["echo", "ok 95 - child"])
            sys.__stdout__.write("ok 96 - original\\n"); sys.__stdout__.flush()
        def test_fails():
            print("Bail out!")
            assert False, "\\n# SKIP\\nok 97"
        """,
    )

    result = project.pytest("--tap14", *arguments)

    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok"]
    assert "test session starts" in result.stderr


def test_stopping_at_the_first_failure(project: Project) -> None:
    """-x ends the document with a bail-out, since planned points are missing."""
    project.write("test_toy.py", "def test_a(): assert 0\ndef test_b(): pass\n")

    result = project.pytest("--tap14", "-x")

    assert result.code == 1
    assert [verdict for _, verdict in result.document.verdicts] == ["not ok"]
    assert result.document.bail_out == "stopping after 1 failures"


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_a_module_that_cannot_be_collected(project: Project, jobs: list[str]) -> None:
    """The run bails out, and a reader that only counts points sees a failure."""
    project.write("test_bad.py", "import no_such_module\n")
    project.write("test_good.py", "def test_a(): pass\n")

    result = project.pytest("--tap14", *jobs)

    assert result.code == 1
    # Worker processes run what could be collected.
    assert [verdict for _, verdict in result.document.verdicts] == [*(["ok"] if jobs else []), "not ok"]
    assert result.document.bail_out is not None
    assert "collection error in test_bad.py" in result.document.bail_out
    assert "no_such_module" in result.document.bail_out


def test_an_error_inside_pytest(project: Project) -> None:
    """A plugin that breaks ends the document with a bail-out."""
    project.write(
        "conftest.py",
        """
        def pytest_runtest_protocol(item):
            if item.name == "test_b":
                raise RuntimeError("broken plugin")
        """,
    )
    project.write("test_toy.py", "def test_a(): pass\ndef test_b(): pass\n")

    result = project.pytest("--tap14")

    assert result.code == 1
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok"]
    assert result.document.bail_out == "internal error: RuntimeError: broken plugin"


def test_a_worker_that_dies(project: Project) -> None:
    """The case that was lost with its worker fails, and the others are reported."""
    project.write(
        "test_toy.py",
        """
        def test_a(): pass
        def test_b(): os._exit(3)
        def test_c(): pass
        """,
    )

    result = project.pytest("--tap14", "-n", "2")

    assert result.code == 1
    assert [verdict for _, verdict in result.document.verdicts] == ["ok", "not ok", "ok"]
    assert result.document.points[1].values["received"] == "the end of the worker process"


def test_pytest_exit_is_a_bail_out(project: Project) -> None:
    """A test that stops the whole run says why."""
    project.write("test_toy.py", "def test_a(): pytest.exit('enough')\ndef test_b(): pass\n")

    result = project.pytest("--tap14")

    assert result.code == 1
    assert result.document.bail_out == "enough"
    assert [verdict for _, verdict in result.document.verdicts] == ["not ok"]


def test_nothing_selected(project: Project) -> None:
    """An empty selection is a plan of none with a reason, and pytest's own exit code."""
    project.write("test_toy.py", "def test_a(): pass\n")

    result = project.pytest("--tap14", "-k", "nothing")

    assert result.code == 5
    assert result.stdout.endswith("1..0 # SKIP no test selected\n")


class Interruption(NamedTuple):
    """A signal, to a run with or without workers, in a case that awaits or blocks."""

    number: signal.Signals
    workers: bool
    blocking: bool

    def __str__(self) -> str:
        ways = ("two workers" if self.workers else "one process", "blocking" if self.blocking else "awaiting")
        return " ".join((self.number.name, *ways))


INTERRUPTIONS = [
    Interruption(*way)
    for way in itertools.product((signal.SIGTERM, signal.SIGINT), (False, True), (False, True))
]
ORDINARY = [way for way in INTERRUPTIONS if ((way.number is signal.SIGINT) + way.workers + way.blocking) % 2]
"Each two of the three together once."


@pytest.mark.parametrize("way", swept(INTERRUPTIONS, ORDINARY))
def test_an_interrupted_run_is_a_complete_document(project: Project, way: Interruption) -> None:
    """The case in progress fails, the reason is the signal, and pytest ends soon."""
    body = "time.sleep(30)" if way.blocking else "await asyncio.sleep(30)"
    jobs = ["-n", "2"] if way.workers else []
    project.write(
        "test_toy.py",
        f"""
        @pytest.mark.interop("quick")
        async def test_quick(relay):
            async with relay.connect(): pass
        @pytest.mark.interop("long", timeout=60)
        async def test_long(relay):
            open("started", "w").close()
            {body}
        @pytest.mark.interop("later")
        async def test_later(relay):
            time.sleep(30)
        """,
    )
    with project.background("--relay", URL, "--tap14", *jobs) as running:
        running.wait_for(project.path / "started")
        time.sleep(0.3)
        running.process.send_signal(way.number)
        running.process.wait(8)
        running.end_workers()
        result = running.result()

    assert result.code == 1
    assert result.document.verdicts == [("quick", "ok"), ("long", "not ok")]
    assert result.document.bail_out == f"interrupted by {way.number.name}"


BUDGET = """
@pytest.mark.interop("quick")
async def test_quick(relay):
    async with relay.connect(): pass
@pytest.mark.interop("slow", timeout=60)
async def test_slow(relay):
    {body}
@pytest.mark.interop("rest")
async def test_rest(relay):
    async with relay.connect(): pass
"""


@pytest.mark.parametrize("jobs", [[], ["-n", "2"]], ids=["one process", "two workers"])
def test_a_run_that_used_up_its_time(project: Project, jobs: list[str]) -> None:
    """What had not begun fails for that reason; the document is complete and no bail-out."""
    module = BUDGET.format(body="await asyncio.sleep(3)")
    # With two workers the fifth of these begins after six seconds, whatever the order and the machine.
    for name in ("more", "most", "last", "utmost"):
        module += f"@pytest.mark.interop('{name}', timeout=9)\nasync def test_{name}(relay):\n"
        module += "    await asyncio.sleep(3)\n"
    project.write("test_toy.py", module)

    result = project.tap("--budget", "4", *jobs)

    assert result.code == 1
    assert result.document.bail_out is None
    assert len(result.document.points) == 7
    # Cases in progress are let end, so how many come too late depends on how fast the run started.
    late = [point.values for point in result.document.points if not point.ok]
    assert late
    assert {values["message"] for values in late} == {"run budget of 4 s used up"}
    assert {values["cause"] for values in late} == {"timeout"}


def test_a_case_that_blocks_for_ever_ends_with_the_budget(project: Project) -> None:
    """When not even a signal can interrupt a case, the rest is reported and the process ends."""
    body = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(60)"
    project.write("test_toy.py", BUDGET.format(body=body))

    began = time.monotonic()
    result = project.tap("--budget", "2")

    assert result.code == 1
    assert result.document.verdicts == [("quick", "ok"), ("slow", "not ok"), ("rest", "not ok")]
    assert result.document["rest"].values["message"] == "run budget of 2 s used up"
    assert time.monotonic() - began < 15


def test_a_reader_that_goes_away(project: Project) -> None:
    """A closed pipe ends the run without a traceback."""
    project.write(
        "test_toy.py", "@pytest.mark.parametrize('n', range(50))\ndef test_a(n): time.sleep(0.02)\n"
    )
    with project.background("--tap14", "-q") as running:
        running.stdout.readline()
        running.stdout.close()
        stderr = running.stderr.read().decode()
        running.process.wait(10)

    assert running.process.returncode == 1
    assert "Traceback" not in stderr
    assert "INTERNALERROR" not in stderr


def test_collecting_only_writes_no_document(project: Project) -> None:
    """--collect-only, --help and --markers do what pytest does."""
    project.write("test_toy.py", MIXED)

    result = project.tap("--collect-only", "-q")

    assert result.code == 0
    assert "test_toy.py::first" in result.stdout
    assert "TAP version" not in result.stdout
    assert not project.tap("--help").stdout.startswith("TAP version")


def test_a_case_skipped_before_any_session_does_not_settle_the_draft(project: Project) -> None:
    """The head waits for the first session, so that it names the draft that was negotiated."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.skip(reason="not now")
        @pytest.mark.interop("skipped")
        async def test_skipped(relay): pass
        @pytest.mark.interop("runs")
        async def test_runs(relay):
            async with relay.connect(): pass
        """,
    )

    document = project.tap(env={"FAKE_RELAY": "draft-14"}).document

    assert document.verdicts == [("skipped", "SKIP"), ("runs", "ok")]
    assert "Draft: draft-14 (negotiated)" in document.comments


@pytest.mark.parametrize("relay", ["", "draft-16"])
def test_a_case_that_the_draft_does_not_have_is_skipped(project: Project, relay: str) -> None:
    """What cannot be tried is skipped with the reason, once the draft is known."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("newer", since=18)
        async def test_newer(relay):
            async with relay.connect(): pass
        @pytest.mark.interop("newer-too", since=18)
        async def test_newer_too(session): pass
        """,
    )

    document = project.tap(env={"FAKE_RELAY": relay}).document

    wanted = "SKIP" if relay else "ok"
    assert document.verdicts == [("newer", wanted), ("newer-too", wanted)]
    if relay:
        assert "draft-16" in document["newer"].reason
        assert document["newer"].values["draft"] == "draft-16"


def test_a_log_of_two_writers_has_whole_lines(project: Project, tmp_path: Path) -> None:
    """With stdout and stderr in one file, as the runner has them, points are still counted right."""
    project.write("test_toy.py", MIXED)
    log = tmp_path / "log"
    with log.open("wb") as file:
        command = project.command("--relay", URL, "--tap14")
        subprocess.run(command, cwd=project.path, env=environment(), stdout=file, stderr=file, check=True)

    lines = log.read_text().splitlines()
    points = [line for line in lines if re.match("(not )?ok", line)]
    assert points == ["ok 1 - first", "ok 2 - second", "ok 3 - third"]
