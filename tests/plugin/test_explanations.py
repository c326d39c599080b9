"""What a report says of a failure: cause, one sentence with the values, section, bytes and journal.

Each wrong way of the embedded relay here stands for a kind of failure; that all of them are found, for their
causes, is `tests/end_to_end/test_defects.py`'s.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from client_command import fork_command
from strict_tap import Point
from toys import NEWEST, Project, environment

from pytest_moqt import wire
from pytest_moqt.client.failures import CAUSES
from pytest_moqt.relay.defects import DEFECTS
from pytest_moqt.relay.embedded import EmbeddedRelay

AT_A_TIME = 4
ATTEMPTS = 3


class Failure(NamedTuple):
    """One relay, and what the report of one case must say of it."""

    defect: str
    draft: int
    transport: str
    case: str
    message: str
    "A pattern for the whole sentence."
    anchor: str
    expected: str = ""
    received: str = ""
    "Patterns too."

    def __str__(self) -> str:
        return f"{self.defect}-{self.draft}-{self.transport}"


REFUSED = r'REQUEST_ERROR UNAUTHORIZED \(0x1\): "defect: refused without need"'
FAILURES = [
    # No session.
    Failure(
        *("quic-refuses", 18, "quic", "setup-only"),
        r"the relay at .* closed the connection while we awaited the QUIC handshake .*: "
        r"0x2 CONNECTION_REFUSED",
        "session-establishment",
        "a connection to the relay at .*",
        "0x2 CONNECTION_REFUSED",
    ),
    Failure(
        *("tls-expired", 16, "webtransport", "setup-only"),
        r"the certificate of the relay at .* has expired .*: renew it; .*",
        "session-establishment",
    ),
    Failure(
        *("alpn-none", 14, "quic", "setup-only"),
        r"the relay at .* speaks none of the protocols offered \(ALPN moq-00\).*",
        "session-establishment",
    ),
    Failure(
        *("wt-404", 18, "webtransport", "setup-only"),
        r"no WebTransport session with the relay at .*404.*",
        "session-establishment",
    ),
    Failure(
        *("setup-never", 14, "webtransport", "setup-only"),
        r"no SERVER_SETUP within \d+ ms of dialling, although the connection stands; "
        r"nothing came on any stream",
        "message-setup",
        "SERVER_SETUP",
        "timeout",
    ),
    Failure(
        *("setup-is-goaway", 18, "quic", "setup-only"),
        r"no SETUP within \d+ ms .*; what came instead: opens stream 3: .*\[10[0-9a-f]+\]",
        "message-setup",
    ),
    Failure(
        *("setup-trailing-byte", 16, "quic", "setup-only"),
        r"the relay broke draft-16: 1 byte after the last field of SERVER_SETUP \(type 0x21\), "
        r"at offset \d+ of 21[0-9a-f]+00",
        "message-setup",
    ),
    # A session.
    Failure(
        *("setup-closes-after", 18, "quic", "setup-only"),
        r'the relay closed the session of client with INTERNAL_ERROR \(0x1\): "defect: setup-closes-after" '
        r"before we closed it",
        "session-init",
        "the session of client to stay open until we close it",
    ),
    Failure(
        *("announce-error", 18, "quic", "announce-only"),
        rf"the relay refused PUBLISH_NAMESPACE \(request 0\) with {REFUSED} after \d+ ms",
        "message-pub-ns",
        "REQUEST_OK for request 0",
        REFUSED,
    ),
    Failure(
        *("announce-error", 14, "quic", "announce-only"),
        r"the relay refused PUBLISH_NAMESPACE \(request 0\) with "
        r'PUBLISH_NAMESPACE_ERROR UNAUTHORIZED \(0x1\): "defect: refused without need" after \d+ ms',
        "message-pub-ns",
        "PUBLISH_NAMESPACE_OK for request 0",
    ),
    Failure(
        # The publisher awaits the SUBSCRIBE that was refused: that is what is said, and no timeout.
        *("subscribe-forgets-publishers", 16, "webtransport", "announce-subscribe"),
        r"the relay refused SUBSCRIBE \(request 0\) with "
        r'REQUEST_ERROR DOES_NOT_EXIST \(0x10\): ".+" after \d+ ms',
        "message-subscribe-req",
        "SUBSCRIBE_OK for request 0",
    ),
    Failure(
        *("announce-no-answer", 18, "quic", "announce-only"),
        r"no end within 2000 ms after the first request: "
        r"still waiting for REQUEST_OK or REQUEST_ERROR for request 0",
        "message-pub-ns",
        "REQUEST_OK or REQUEST_ERROR for request 0",
        "timeout",
    ),
    Failure(
        *("announce-resets-stream", 18, "webtransport", "announce-only"),
        r"the relay reset the stream of PUBLISH_NAMESPACE \(request 0\) with INTERNAL_ERROR \(0x0\) "
        r"after \d+ ms instead of answering",
        "request-cancellation",
        received=r"RESET_STREAM INTERNAL_ERROR \(0x0\)",
    ),
    Failure(
        *("announce-finishes-stream", 18, "quic", "announce-only"),
        r"the relay finished the stream of PUBLISH_NAMESPACE \(request 0\) after \d+ ms without an answer",
        "request-cancellation",
    ),
    Failure(
        *("announce-ok-trailing-byte", 14, "quic", "announce-only"),
        r"the relay broke draft-14: 1 byte after the last field of PUBLISH_NAMESPACE_OK \(type 0x7\), "
        r"at offset 4 of 0700020000",
        "message-pub-ns-ok",
    ),
    Failure(
        *("announce-answer-wrong-type", 18, "quic", "announce-only"),
        r"the relay broke draft-18: SUBSCRIBE_OK in answer to PUBLISH_NAMESPACE, which takes REQUEST_OK or "
        r"REQUEST_ERROR, in 04[0-9a-f]+",
        "message-pub-ns",
    ),
    Failure(
        *("withdraw-sends-unknown-type", 16, "quic", "publish-namespace-done"),
        r"the relay broke draft-16: draft-16 defines no message of type 0x3e from a server, "
        r"at offset 0 of 3e0000",
        "message",
    ),
    Failure(
        *("subscribe-unknown-ok", 16, "quic", "subscribe-error"),
        r"the relay answered SUBSCRIBE \(request 0\) with SUBSCRIBE_OK after \d+ ms",
        "message-subscribe-req",
        "REQUEST_ERROR for request 0",
        "SUBSCRIBE_OK",
    ),
    Failure(
        *("subscribe-routes-wrong-track", 18, "quic", "announce-subscribe"),
        r"\(forwarded.track_namespace, forwarded.track_name\) is .*b'test-track-2'\), not .*b'test-track'\)",
        "message-subscribe-req",
        r".*b'moq-test', b'interop', .*b'test-track'\)",
        r".*b'moq-test', b'interop', .*b'test-track-2'\)",
    ),
    Failure(
        *("rendezvous-wrong-code", 18, "quic", "rendezvous-timeout"),
        r"answer.code is DOES_NOT_EXIST, not TIMEOUT: the relay refused SUBSCRIBE \(request 0\) with "
        r'REQUEST_ERROR DOES_NOT_EXIST \(0x10\): ".*" after \d{3} ms',
        "rendezvous-timeout",
        "TIMEOUT",
        r'REQUEST_ERROR DOES_NOT_EXIST \(0x10\): ".*"',
    ),
    Failure(
        *("rendezvous-timeout-at-once", 18, "quic", "rendezvous-timeout"),
        r"TIMEOUT came \d+ ms after SUBSCRIBE: the relay waited for no publisher",
        "rendezvous-timeout",
        r"waited_ms > \d+\.\d",
        r"\d+\.\d",
    ),
    # The data plane.
    Failure(
        *("object-unknown-status", 14, "quic", "announce-subscribe"),
        r"the relay broke draft-14: draft-14 has no object status 0x3e, at offset \d+ of 1[0-9a-f]+3e",
        "data-streams",
    ),
    Failure(
        *("object-id-overflow", 18, "quic", "announce-subscribe"),
        r"the relay broke draft-18: object id 18446744073709551616 is above 2\^64-1, "
        r"at offset \d+ of 1[0-9a-f]+",
        "data-streams",
    ),
    Failure(
        *("datagram-status-and-payload", 16, "quic", "announce-subscribe"),
        r"the relay broke draft-16: 4 bytes after the status of a datagram, "
        r"at offset 6 of 20[0-9a-f]+61626364",
        "object-datagram",
    ),
]


def judge(failure: Failure, folder: Path) -> Point:
    """Judge that relay by that case; again where the machine had no time for the client itself."""
    for _ in range(ATTEMPTS):
        with EmbeddedRelay(defect=failure.defect) as relay:
            run = fork_command(
                folder,
                *("--relay", relay.url(failure.transport).replace("127.0.0.1", "localhost")),
                *("--draft", str(failure.draft), "--ca-file", relay.ca_file, "--test", failure.case),
            )
        point = run.document[failure.case]
        if "event loop" not in str(point.values.get("message")):
            break
    return point


@pytest.fixture(scope="module")
def points(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Failure, Future[Point]]]:
    """The points of all failures that were selected, ahead of the tests that look at them."""
    folder = tmp_path_factory.mktemp("empty")
    failures = dict.fromkeys(
        item.callspec.params["failure"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec") and "failure" in item.callspec.params
    )
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {failure: pool.submit(judge, failure, folder) for failure in failures}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_failure_says_what_was_wrong(points: dict[Failure, Future[Point]], failure: Failure) -> None:
    """Its cause, a sentence with the values, what was expected and what came instead."""
    point = points[failure].result()

    values = point.values
    assert not point.ok
    assert values["cause"] == DEFECTS[failure.defect].cause
    assert values["cause"] in CAUSES
    assert re.fullmatch(failure.message, values["message"]), values["message"]
    assert re.fullmatch(failure.expected or ".+", values["expected"]), values["expected"]
    assert re.fullmatch(failure.received or ".+", values["received"]), values["received"]
    assert values["received"] == "timeout" or values["cause"] != "timeout"


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_failure_names_the_section(points: dict[Failure, Future[Point]], failure: Failure) -> None:
    """Draft, number and anchor, and where that can be read, also when no session came about."""
    values = points[failure].result().values

    cited = [values["spec"]] if isinstance(values["spec"], str) else values["spec"]
    links = [values["spec_url"]] if isinstance(values["spec_url"], str) else values["spec_url"]
    sections = [re.fullmatch(r"MoQT-(\d+) section ([\d.]+) \((.+)\)", text) for text in cited]
    assert None not in sections
    assert failure.anchor in {section[3] for section in sections if section}
    assert {section[1] for section in sections if section} == {str(failure.draft)}
    assert links == [
        f"https://datatracker.ietf.org/doc/html/draft-ietf-moq-transport-{failure.draft}#section-{section[2]}"
        for section in sections
        if section
    ]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_failure_shows_the_bytes_and_our_reading(
    points: dict[Failure, Future[Point]], failure: Failure, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong bytes are there whole, and the command given stops at the same place for the same reason."""
    values = points[failure].result().values
    about_bytes = "the relay broke draft" in values["message"]

    assert ("octets" in values) == about_bytes
    if not about_bytes:
        return
    program, *arguments = shlex.split(values["decode"])
    code = wire.main(arguments)
    said = capsys.readouterr().err
    assert program == "moq-test-client"
    assert arguments[-1] == values["octets"]
    assert values["octets"] in values["message"]
    reading = values["reading"]
    if values["cause"] == "wrong-message":
        assert code == 0
        assert reading[-1] == "nothing is left: these bytes can be read, but may not come here"
        return
    assert code == 1
    assert f"stopped at offset {values['offset']}: " in said
    stopped = next(line for line in reading if "reading stopped" in line)
    assert stopped.partition("reading stopped: ")[2] in said
    assert stopped.startswith(f"{values['offset']}: ")


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_failure_has_the_last_of_each_session(
    points: dict[Failure, Future[Point]], failure: Failure
) -> None:
    """Wherever a connection stood there is its journal, which ends with how it ended."""
    values = points[failure].result().values

    journal = values.get("journal", {})
    connected = [role for role, facts in values["sessions"].items() if "moqt_version" in facts]
    assert list(journal) == connected
    assert bool(connected) != (failure.anchor == "session-establishment")
    for lines in journal.values():
        assert "connected: " in lines[0]
        assert re.match(r"\d+\.\d ms [<>] (we|the relay) closed: ", lines[-1])


# ---- refusals and ends that the case does not look at ----------------------------------------------

ELSEWHERE = """
from pytest_moqt import (
    CaseFailure, PublishNamespace, RequestError, RequestOk, StreamObject, SubgroupHeader, Subscribe,
    SubscribeOk,
)

@pytest.mark.interop("listens", timeout=1.0)
@pytest.mark.spec("message-subscribe-req")
async def test_listens(relay):
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await subscriber.open(Subscribe(relay.namespace("nowhere"), b"track"))
        await publisher.receive(Subscribe)

@pytest.mark.interop("knows", timeout=1.0)
async def test_knows(relay):
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await subscriber.request(Subscribe(relay.namespace("nowhere"), b"track"), expect=RequestError)
        await publisher.receive(Subscribe)

@pytest.mark.interop("leaves", timeout=1.0)
async def test_leaves(relay):
    async with relay.connect("visitor"):
        pass
    async with relay.connect("publisher") as publisher:
        await publisher.receive(Subscribe)

@pytest.mark.interop("asserts", timeout=1.0)
async def test_asserts(relay):
    async with relay.connect("subscriber") as subscriber:
        answer = await subscriber.request(Subscribe(relay.namespace("nowhere"), b"track"))
        assert isinstance(answer, RequestOk)

@pytest.mark.interop("publishes", timeout=2.0)
async def test_publishes(relay):
    namespace = relay.namespace("somewhere")
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        await publisher.request(PublishNamespace(namespace), expect=RequestOk)
        asked = await subscriber.open(Subscribe(namespace, b"track"))
        await publisher.receive(Subscribe)
        publisher.open_subgroup(SubgroupHeader(4711, 0)).write(StreamObject(0, b"early"))
        await subscriber.expect(asked, SubscribeOk)

@pytest.mark.interop("waits", timeout=2.0)
async def test_waits(relay):
    async with relay.connect("publisher") as publisher, relay.connect("subscriber") as subscriber:
        publisher.open_subgroup(SubgroupHeader(4711, 0)).write(StreamObject(0, b"nobody's"))
        while publisher.closed is None:
            await publisher.wait_for_more("its end")
        raise CaseFailure("no object in 1 ms", cause="timeout", expected="the object", received="timeout")
"""


def elsewhere(project: Project, defect: str | None) -> dict[str, dict[str, Any]]:
    """The diagnostics of those cases against a relay with that defect."""
    project.write("conftest.py", "")
    project.write("test_toy.py", ELSEWHERE)
    with EmbeddedRelay(defect=defect) as relay:
        result = project.pytest(
            *("--tap14", "--relay", relay.url("quic").replace("127.0.0.1", "localhost")),
            *("--ca-file", relay.ca_file),
            env=environment(),
        )
    return {point.name: point.values for point in result.document.points if not point.ok}


def test_a_refusal_is_reported_when_something_else_is_awaited(project: Project) -> None:
    """With code, name, reason and milliseconds; one that the case knows of is no news."""
    values = elsewhere(project, None)

    refused = (
        r"the relay refused SUBSCRIBE \(request 0\) with REQUEST_ERROR DOES_NOT_EXIST \(0x10\): "
        r'"nobody publishes this track" after (\d+) ms'
    )
    listens = re.fullmatch(
        rf"{refused}, and SUBSCRIBE from the relay \(publisher\) never came", values["listens"]["message"]
    )
    assert listens is not None, values["listens"]["message"]
    assert int(listens[1]) < 900
    assert values["listens"]["cause"] == "rejected"
    assert values["knows"]["cause"] == "timeout"
    assert values["knows"]["spec"] == f"MoQT-{NEWEST}"
    # Nor is the end of a session that the case has left.
    assert values["leaves"]["cause"] == "timeout"
    assert re.fullmatch(refused, values["asserts"]["message"]), values["asserts"]["message"]
    assert values["asserts"]["cause"] == "rejected"


def test_an_end_is_reported_when_something_else_is_awaited(project: Project) -> None:
    """A session that the relay ended is the reason, although the case waits in another one."""
    values = elsewhere(project, "subscribe-unknown-closes-session")["listens"]

    assert values["cause"] == "closed"
    assert re.fullmatch(
        r"the relay closed the session of subscriber with INTERNAL_ERROR \(0x1\): .* before we closed it, "
        r"and SUBSCRIBE from the relay \(publisher\) never came",
        values["message"],
    ), values["message"]


def test_a_refusal_that_follows_from_an_end_is_reported_as_that(project: Project) -> None:
    """A relay that ends the publisher's session refuses its subscribers: the first is why."""
    values = elsewhere(project, "closes-for-unknown-alias")["publishes"]

    assert values["cause"] == "closed"
    assert "unknown track alias" in values["message"]
    assert any("the publisher is gone" in line for line in values["journal"]["subscriber"])


def test_a_time_that_ends_after_the_end_of_a_session_is_reported_as_that(project: Project) -> None:
    """Also where not the case's time was up, but a shorter one of its own."""
    values = elsewhere(project, "closes-for-unknown-alias")["waits"]

    assert values["cause"] == "closed"
    assert re.fullmatch(
        r"the relay closed the session of publisher with .*unknown track alias.*, and the object never came",
        values["message"],
    ), values["message"]


def test_half_a_message_is_reported_when_its_rest_is_awaited(project: Project) -> None:
    """A timeout says what came of the message that never became whole."""
    project.write(
        "test_toy.py",
        """
        @pytest.mark.interop("waits", timeout=0.3)
        async def test_waits(relay):
            async with relay.connect() as session:
                session.journal.unfinished = lambda: {4: b"\\x07\\x00\\x03"}
                await session.request("x")
        """,
    )

    values = project.tap(env={"FAKE_RELAY": "silent"}).document["waits"].values

    assert values["cause"] == "timeout"
    assert values["message"].endswith(
        "for request 0; there are 3 bytes of an unfinished message on stream 4 [070003]"
    )
