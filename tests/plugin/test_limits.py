"""No case outlives its time, whatever it does with it."""

from __future__ import annotations

import re

import pytest
from toys import URL, Project

HANGING = {
    "awaits-for-ever": "await asyncio.get_running_loop().create_future()",
    "swallows-the-cancellation": """
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            pass
    """,
    "swallows-every-cancellation": """
        while True:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                pass
    """,
    "swallows-everything": """
        try:
            await asyncio.sleep(20)
        except BaseException:
            await asyncio.sleep(0.1)
    """,
    "blocks-for-a-while": "time.sleep(0.7)",
    "blocks-for-ever": "time.sleep(60)",
    "spins": "while True: pass",
    "blocks-and-swallows": """
        try:
            time.sleep(60)
        except Exception:
            pass
    """,
    "hides-in-a-group": """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(20))
    """,
    "cleans-up-for-ever": """
        try:
            await asyncio.sleep(20)
        finally:
            await asyncio.sleep(20)
    """,
}


def module(names: list[str]) -> str:
    """Toy cases that hang, and one after each that must not notice."""
    text = ""
    for number, name in enumerate(names):
        body = HANGING[name]
        lines = [line for line in body.splitlines() if line.strip()]
        inset = min(len(line) - len(line.lstrip()) for line in lines)
        text += f"@pytest.mark.interop('{name}', timeout=0.3)\nasync def test_{number}(relay):\n"
        text += "".join(f"    {line[inset:]}\n" for line in lines)
        text += f"@pytest.mark.interop('after-{name}')\nasync def test_after_{number}(relay):\n"
        text += "    async with relay.connect():\n        await asyncio.sleep(0.01)\n"
    return text


@pytest.mark.parametrize("names", [list(HANGING)[:5], list(HANGING)[5:]], ids=["awaiting", "blocking"])
def test_a_case_that_hangs_fails_and_the_next_one_runs(project: Project, names: list[str]) -> None:
    """Each is ended within seconds, for the reason that its time was up."""
    project.write("test_toy.py", module(names))

    result = project.tap()

    document = result.document
    assert result.code == 1
    for name in names:
        assert not document[name].ok, name
        assert document[name].values["cause"] == "timeout"
        assert document[name].values["received"] == "timeout"
        assert "300 ms" in document[name].values["message"]
        assert document[name].values["duration_ms"] < 4000
        assert document[f"after-{name}"].ok, name


def test_a_timeout_of_the_case_itself_is_another_thing(project: Project) -> None:
    """A TimeoutError that the case raises within its time is not taken for the end of its time."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("own-timeout", timeout=2)
        async def test_own_timeout(relay):
            async with asyncio.timeout(0.05):
                await asyncio.sleep(5)

        @pytest.mark.interop("own-failure", timeout=0.2)
        async def test_own_failure(relay):
            time.sleep(0.4)
            assert False, "the verdict"
        """,
    )

    document = project.tap().document

    assert "TimeoutError" in document["own-timeout"].values["message"]
    assert document["own-timeout"].values["duration_ms"] < 1000
    assert document["own-failure"].values["message"].startswith("the verdict")


def test_all_cases_share_one_event_loop(project: Project) -> None:
    """Also with a project's own settings, which hold for its own tests all the same."""
    project.write("pytest.ini", "[pytest]\nasyncio_mode = auto\n")
    project.write(
        "test_toy.py",
        """
        LOOPS = []

        @pytest.mark.interop("first")
        async def test_first(relay): LOOPS.append(asyncio.get_running_loop())

        @pytest.mark.spec("message")
        async def test_second(session): LOOPS.append(asyncio.get_running_loop())

        async def test_their_own(): LOOPS.append(asyncio.get_running_loop())

        @pytest.mark.spec("message")
        class TestClass:
            async def test_method(self, session): LOOPS.append(asyncio.get_running_loop())

        def test_loops():
            first, second, theirs, method = LOOPS
            assert first is second is method
            assert theirs is not first
        """,
    )

    result = project.pytest("--relay", URL)

    assert result.code == 0, result.stdout


def test_a_limit_needs_no_tap_report(project: Project) -> None:
    """In an ordinary run the same limit holds, and the failure says what was awaited."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("waits", timeout=0.3)
        async def test_waits(relay):
            async with relay.connect() as session:
                await session.request("x")
        """,
    )

    result = project.pytest("--relay", URL, env={"FAKE_RELAY": "silent"})

    assert result.code == 1
    assert "still waiting for REQUEST_OK or REQUEST_ERROR for request 0" in result.stdout
    assert re.search(r'^> +await session.request\("x"\)$', result.stdout, re.MULTILINE)
    assert "run_within" not in result.stdout
    assert "expected: REQUEST_OK or REQUEST_ERROR for request 0" in result.stdout


def test_a_run_has_no_budget_of_its_own_without_tap(project: Project) -> None:
    """Only --budget, or --tap14, limits the whole run; 0 takes the limit away."""
    project.write("test_toy.py", "def test_a(): time.sleep(0.3)\ndef test_b(): pass\n")

    assert project.pytest("--budget", "0.2").code == 1
    assert project.pytest("--budget", "0").code == 0
    assert project.pytest("--tap14", "--budget", "0").code == 0


@pytest.mark.parametrize(
    "arguments",
    [("--profile", "soak"), ("-m", "soak"), ("-k", "soak-toy or other"), ("test_soak.py",)],
    ids=["profile", "mark", "keyword", "module"],
)
def test_a_soak_has_no_budget_but_one_that_is_given(project: Project, arguments: tuple[str, ...]) -> None:
    """The one that --tap14 has of itself may be over before it is."""
    own = "from pytest_moqt import options\noptions.DEFAULT_BUDGET = 0.2\n"
    project.write("conftest.py", f"import fake_session\n{own}\nfake_session.install()\n")
    soak = "@pytest.mark.interop('soak-{0}', profile='soak')\nasync def test_{0}(relay): time.sleep(0.3)\n"
    project.write("test_soak.py", soak.format("toy") + soak.format("other"))

    assert project.tap(*arguments).document.verdicts == [("soak-toy", "ok"), ("soak-other", "ok")]
    given = project.tap(*arguments, "--budget", "0.2")
    assert given.document["soak-other"].values["message"] == "run budget of 0.2 s used up"


def test_other_cases_have_the_budget_of_tap(project: Project) -> None:
    """However many there are."""
    own = "from pytest_moqt import options\noptions.DEFAULT_BUDGET = 0.2\n"
    project.write("conftest.py", f"import fake_session\n{own}\nfake_session.install()\n")
    case = "@pytest.mark.interop('{0}')\nasync def test_{0}(relay): time.sleep(0.3)\n"
    project.write("test_toy.py", case.format("one") + case.format("two"))

    assert project.tap().document["two"].values["message"] == "run budget of 0.2 s used up"
