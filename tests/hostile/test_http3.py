"""Relays that are hostile or broken in HTTP/3 and WebTransport, judged whole."""

from __future__ import annotations

from functools import partial

import pytest
from fronts import listening
from harm import Judged, Meeting, assert_right, meet, meetings, ordinary
from http3 import Script, headers, response
from http3_harm import HARMS

from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.session import connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import Endpoint, parse_relay_url
from pytest_moqt.diagnosis import diagnose
from tests.ahead import Ahead, runs_ahead
from tests.sweeps import swept

DEADLINE = 5.0


runs = runs_ahead("meeting", meet)


@pytest.mark.parametrize("meeting", swept(meetings(HARMS), ordinary(HARMS)))
def test_the_verdict_is_right_and_the_next_case_unharmed(
    runs: Ahead[Meeting, Judged], meeting: Meeting
) -> None:
    """A relay that breaks HTTP/3 fails for the stated cause, and one that is merely odd passes."""
    runs.check(meeting, partial(assert_right, meeting=meeting))


async def _outcome(endpoint: Endpoint) -> tuple[str | None, int | None]:
    """The cause of the failure with its code; None and None when a session came about."""
    try:
        session = await connect(endpoint, offer=[18], tls=TlsOptions(verify=False), timeout=DEADLINE)
    except ConnectError as error:
        return diagnose(error)["cause"], error.code
    await session.close()
    return None, None


async def test_every_status_to_connect_is_understood() -> None:
    """2xx begins a session, 1xx is followed by an answer, and with any other there is none."""
    statuses = iter(range(100, 600))
    seen = {}

    def relay() -> Script:
        status = b"%d" % next(statuses)
        if status.startswith(b"1"):
            return Script(answer=headers((b":status", status)) + response(b"418"), accepted=False)
        return Script(answer=response(status), accepted=status.startswith(b"2"))

    async with listening(relay) as front:
        endpoint = parse_relay_url(front.url("webtransport"))
        for status in range(100, 600):
            seen[status] = await _outcome(endpoint)
            assert front.victim.acted == 1
            front.dismiss()

        assert front.failures == []
    assert seen == {
        **dict.fromkeys(range(100, 200), ("webtransport", 418)),
        # "HTTP/3 does not support ... the 101 (Switching Protocols) informational status code" (RFC 9114
        # section 4.5): a malformed message, H3_MESSAGE_ERROR.
        101: ("webtransport", 0x10E),
        **dict.fromkeys(range(200, 300), (None, None)),
        **{status: ("webtransport", status) for status in range(300, 600)},
    }
