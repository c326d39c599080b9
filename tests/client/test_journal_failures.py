"""The words of failures: times, codes and bytes, as far as the embedded relay does not show them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from journal_sessions import Relay

import pytest_moqt
from pytest_moqt import wire
from pytest_moqt.client import session as sessions
from pytest_moqt.client.failures import CAUSES, CaseFailure, RequestAbandoned, SetupError
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft, Topology
from pytest_moqt.protocol.objects import BEGINNING, StreamObject, SubgroupEncoder, SubgroupHeader
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.transport import StopSending, StreamReset
from pytest_moqt.reading import LINE_OCTETS, MAX_LINES, MAX_ROWS, reading
from pytest_moqt.relay.defects import DEFECTS

ALL = [pytest.param(row, id=row.name) for row in DRAFTS.values()]
REQUEST_STREAMS = [
    pytest.param(row, id=row.name) for row in DRAFTS.values() if row.topology is Topology.REQUEST_STREAMS
]
SUBSCRIBE = m.Subscribe((b"moq-test", b"interop"), b"test-track")


def test_no_cause_is_named_but_these() -> None:
    """Reports, and what the defects promise of them, know thirteen causes."""
    package = Path(pytest_moqt.__file__).parent
    named = {
        cause
        for path in [*package.glob("*.py"), *package.glob("client/*.py"), *package.glob("protocol/*.py")]
        for cause in re.findall(r'\bcause"?\s*[:=]\s*"([a-z-]+)"', path.read_text())
    }

    assert len(CAUSES) == 13
    assert named
    assert named <= set(CAUSES)
    assert {defect.cause for defect in DEFECTS.values() if defect.cases} <= set(CAUSES)


@pytest.mark.parametrize("draft", ALL)
async def test_a_refusal_has_the_time_that_it_took_to_come(
    draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the time until the case looked at it."""
    clock = SimpleNamespace(now=10.0)
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: clock.now))
    relay = Relay(draft)
    request = await relay.session.open(SUBSCRIBE)
    clock.now += 0.003
    request_id = 0 if draft.replies_carry_request_id else None
    relay.say(m.RequestError(RequestErrorCode.TIMEOUT, "no", request_id=request_id), 0, m.Subscribe)
    clock.now += 5

    unread = relay.session.refusal()
    with pytest.raises(CaseFailure, match=r'TIMEOUT \(0x2\): "no" after 3 ms$') as caught:
        await relay.session.expect(request, m.SubscribeOk)

    assert caught.value.cause == "rejected"
    assert str(unread) == str(caught.value)
    assert unread is not None
    assert unread.expected == caught.value.expected == "SUBSCRIBE_OK for request 0"
    assert relay.session.refusal() is None


@pytest.mark.parametrize("draft", REQUEST_STREAMS)
async def test_a_reset_says_more_than_the_stop_that_came_with_it(draft: Draft) -> None:
    """What ends a request is that no answer will come; only without that it is STOP_SENDING."""
    both, one = Relay(draft), Relay(draft)
    answers = [asyncio.ensure_future(relay.session.request(SUBSCRIBE)) for relay in (both, one)]
    # For one turn of the event loop, in which both are sent.
    await asyncio.sleep(0)

    both.session.handle(StopSending(0, 0x1, 0x1))
    both.session.handle(StreamReset(0, 0x0, 0x0))
    one.session.handle(StopSending(0, 0x1, 0x1))
    failures = await asyncio.gather(*answers, return_exceptions=True)

    for failure, words in zip(
        failures,
        [
            r"the relay reset the stream of SUBSCRIBE \(request 0\) with INTERNAL_ERROR \(0x0\) after .*",
            r"the relay wants no more of SUBSCRIBE \(request 0\) \(STOP_SENDING CANCELLED \(0x1\)\) after .*",
        ],
        strict=True,
    ):
        assert isinstance(failure, RequestAbandoned)
        assert failure.cause == "reset"
        assert re.fullmatch(words, str(failure)), str(failure)


@pytest.mark.parametrize("draft", ALL)
async def test_setup_that_does_not_come_says_what_came(draft: Draft) -> None:
    """Half a SETUP is told, with its bytes; and the failure knows its draft and its journal."""
    relay = Relay(draft, setup=False)
    octets = Relay(draft).frame(m.Setup(versions=() if draft.version_code is None else (draft.version_code,)))
    half = octets.encode(draft)[:-1]
    relay.send(relay.control, half)

    with pytest.raises(SetupError, match=half.hex()) as caught:
        await relay.session.wait_setup(0.0, 0.0)

    assert caught.value.draft == draft.number
    assert caught.value.journal is relay.session.journal
    assert caught.value.cause == "setup"


# ---- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", ALL)
@pytest.mark.parametrize("before", [3, 1000], ids=["short", "long"])
def test_bytes_of_a_data_stream_can_be_decoded_again(
    draft: Draft, before: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole stream where it is short, else its header and what is wrong; the offset is in those bytes."""
    relay = Relay(draft)
    encoder = SubgroupEncoder(SubgroupHeader(1, 2), draft)
    header = encoder.header()
    good = b"".join(encoder.object(StreamObject(number, b"ab")) for number in range(before))
    wrong = b"\x00\x00\x3e"
    stream = header + good + wrong
    for at in range(0, len(stream), 100):
        relay.send(7, stream[at : at + 100])

    assert relay.session.closed is not None
    error = relay.session.closed.error
    assert error is not None
    said = reading(error, draft.number)
    whole = len(stream) <= BEGINNING
    assert error.octets == (stream if whole else header + wrong)
    assert error.offset == len(error.octets) - 1
    assert error.left_out == (0 if whole else len(good))
    assert wire.main(str(said["decode"]).split()[1:]) == 1
    assert f"stopped at offset {error.offset}: {error}" in capsys.readouterr().err
    assert (f"{len(good)} bytes between the stream's header and these could be read" in said["reading"]) == (
        not whole
    )


def test_bytes_too_many_for_a_report_are_cut_and_counted() -> None:
    """Of a message of the greatest length there is the beginning, and how much is left out."""
    draft = DRAFTS[18]
    relay = Relay(draft)
    frame = relay.frame(m.Goaway("moqt://elsewhere", timeout_ms=5))
    octets = relay.say(frame.replace(body=frame.body + bytes(60_000)), relay.control)

    assert relay.session.closed is not None
    assert relay.session.closed.error is not None
    said = reading(relay.session.closed.error, draft.number)
    lines = said["octets"]
    assert len(lines) == MAX_LINES + 1
    assert "".join(lines[:-1]) == octets[: MAX_LINES * LINE_OCTETS].hex()
    assert lines[-1] == f"… {len(octets) - MAX_LINES * LINE_OCTETS} more bytes of {len(octets)}"
    assert "decode" not in said
    assert len(said["reading"]) <= MAX_ROWS + 3
    assert all(len(line) < 400 for line in said["reading"])


def test_bytes_before_a_message_are_none_to_show() -> None:
    """A control stream that ends is wrong without a byte."""
    relay = Relay(DRAFTS[18])
    relay.send(relay.control, b"", fin=True)

    assert relay.session.closed is not None
    assert relay.session.closed.error is not None
    assert reading(relay.session.closed.error, 18) == {}
