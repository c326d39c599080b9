"""What holds for every session, whatever its peer and its transport do, in whatever order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import PROFILE, damaged, datagrams, fetches, messages, subgroups

from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.framing import encode_by
from pytest_moqt.protocol.layouts import Sender, layouts_of
from pytest_moqt.protocol.objects import FetchEncoder, FetchRangeEnd, SubgroupEncoder, encode_datagram
from pytest_moqt.protocol.transport import StopSending, StreamReset, TransportClosed
from tests.fuzz.session_targets import OUR_ACTS, WAYS, Play, alike

DRAFT_ROWS = [pytest.param(draft, id=draft.name) for draft in DRAFTS.values()]
Act = Callable[[Play], None]

STREAMS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 9, 11])
CODES = st.none() | st.integers(0, 9)


@st.composite
def streams(draw: st.DrawFn, draft: Draft) -> bytes:
    """What may stand on a data stream."""
    if draw(st.booleans()):
        header, objects = draw(subgroups(draft))
        subgroup = SubgroupEncoder(header, draft)
        return subgroup.header() + b"".join(map(subgroup.object, objects))
    descending, items = draw(fetches(draft))
    fetch = FetchEncoder(draft, descending=descending)
    return fetch.header(draw(st.integers(0, 4))) + b"".join(
        fetch.range_end(item) if isinstance(item, FetchRangeEnd) else fetch.object(item) for item in items
    )


def acts(draft: Draft) -> st.SearchStrategy[Act]:
    """One thing that the peer, the transport or we do."""
    rows = layouts_of(draft)
    frames = st.sampled_from(rows).flatmap(
        lambda layout: messages(draft, layout).map(
            lambda message: encode_by(message, layout, draft).encode(draft)
        )
    )
    octets = st.one_of(frames, frames, streams(draft), frames.flatmap(damaged), st.binary(max_size=12))
    payloads = st.binary(max_size=9) | datagrams(draft).map(lambda item: encode_datagram(item, draft))

    def say(stream_id: int, said: bytes, fin: bool) -> Act:
        return lambda play: play.say(stream_id, said, fin=fin)

    def end(kind: type[StreamReset | StopSending], stream_id: int, code: int | None) -> Act:
        return lambda play: play.take(kind(stream_id, code, 0))

    def close(code: int, by_peer: bool) -> Act:
        return lambda play: play.take(TransportClosed(code, "", by_peer, "session"))

    return st.one_of(
        st.builds(say, STREAMS, octets, st.booleans()),
        st.builds(say, STREAMS, octets, st.just(False)),
        st.builds(end, st.sampled_from([StreamReset, StopSending]), STREAMS, CODES),
        payloads.map(lambda said: lambda play: play.datagram(said)),
        st.integers(0, 6 * len(OUR_ACTS)).map(lambda number: lambda play: play.ours(number)),
        st.builds(close, st.integers(0, 9), st.booleans()),
    )


@pytest.mark.parametrize("sender", Sender)
@pytest.mark.parametrize("draft", DRAFT_ROWS)
@settings(PROFILE, max_examples=20)
@given(data=st.data())
def test_session_survives_any_peer(draft: Draft, sender: Sender, data: st.DataObject) -> None:
    """Whatever is done in whatever order, a session reports it or closes once, and never raises.

    It comes to the same by the byte as at once, and what it keeps and says stays in proportion.
    """
    pass_over, opened = data.draw(st.booleans()), data.draw(st.integers(0, 3)) > 0
    script = data.draw(st.lists(acts(draft), max_size=12))

    plays = []
    for way in range(WAYS):
        play = Play(draft, sender, pass_over=pass_over, way=way)
        if opened:
            play.open()
        for act in script:
            act(play)
        play.check(len(script))
        plays.append(play)

    alike(plays)
