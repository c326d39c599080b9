"""A session's transport over WebTransport, against a server that can be made to misbehave."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from functools import partial

import pytest
from aioquic.h3.connection import ErrorCode
from aioquic.quic import events as quic_events
from quic_servers import (
    DEADLINE,
    PROMPT,
    Certificates,
    Owner,
    Peer,
    Server,
    WebTransportPeer,
    closed,
    connected,
    serve,
    turns,
)

from pytest_moqt.client import webtransport
from pytest_moqt.client.dial import dial
from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.quic import ClientTransport
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol.transport import (
    DatagramData,
    Ending,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    TransportEvent,
)
from pytest_moqt.protocol.webtransport import (
    BUFFERED_STREAM_REJECTED,
    SESSION_GONE,
    encode_capsule,
    encode_close,
    stream_header,
    wire_code,
)

H3 = ["h3"]


def url(server: Server, path: str = "/") -> str:
    return f"https://localhost:{server.port}{path}"


async def refusal(
    server: Server, *, path: str = "/", protocols: tuple[str, ...] = ("moqt-18",), timeout: float = DEADLINE
) -> ConnectError:
    """The error a dial ends with; no event may have been told."""
    owner = Owner()
    with pytest.raises(ConnectError) as caught:
        await dial(
            parse_relay_url(url(server, path)),
            alpn=["moqt-18"],
            protocols=protocols,
            tls=TlsOptions(verify=False),
            timeout=timeout,
            on_event=owner,
        )
    await turns()
    assert owner.events == []
    assert "\n" not in str(caught.value)
    return caught.value


def kind(**attributes: object) -> type[WebTransportPeer]:
    """A server that answers CONNECT in some way."""
    return type("Kind", (WebTransportPeer,), attributes)


# establishing


async def test_a_session_is_established_with_the_protocol_chosen(certificates: Certificates) -> None:
    """CONNECT names authority, path and sub-protocols; the answer's choice loses its quotes."""
    owner = Owner()
    answering = kind(response=((b"wt-protocol", b'"moqt-16"'),))
    async with (
        serve(certificates.good, answering, alpn=H3) as server,
        connected(
            url(server, "/moq?a=b"), owner, certificates, protocols=["moqt-18", "moqt-16"]
        ) as transport,
    ):
        assert (transport.name, transport.alpn, transport.protocol) == ("webtransport", "h3", "moqt-16")
        assert transport.handshake["http_status"] == 200
        assert server.webtransport.request == {
            b":method": b"CONNECT",
            b":protocol": b"webtransport",
            b":scheme": b"https",
            b":authority": f"localhost:{server.port}".encode(),
            b":path": b"/moq?a=b",
            b"sec-webtransport-http3-draft02": b"1",
            b"wt-available-protocols": b'"moqt-18", "moqt-16"',
        }


async def test_without_protocols_no_header_is_sent(certificates: Certificates) -> None:
    """Draft 14 negotiates inside the session."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        assert transport.protocol is None
        assert b"wt-available-protocols" not in server.webtransport.request


async def test_an_unquoted_choice_is_read_too(certificates: Certificates) -> None:
    """Older relays answer with a bare token."""
    owner = Owner()
    answering = kind(response=((b"wt-protocol", b"moqt-18"),))
    async with (
        serve(certificates.good, answering, alpn=H3) as server,
        connected(url(server), owner, certificates, protocols=["moqt-18"]) as transport,
    ):
        assert transport.protocol == "moqt-18"


@pytest.mark.parametrize("status", [404, 400, 302, 500])
async def test_another_status_is_told_with_its_path(certificates: Certificates, status: int) -> None:
    """A relay that refuses CONNECT is there, but has no session for that path."""
    async with serve(certificates.good, kind(status=status), alpn=H3) as server:
        error = await refusal(server, path="/moq")

    assert (error.kind, error.code, error.unreachable) == ("webtransport", status, False)
    assert f"HTTP status {status} to CONNECT for path /moq" in str(error)
    assert error.offered == ("h3", "moqt-18")


async def test_a_choice_that_was_not_offered_is_refused(certificates: Certificates) -> None:
    """The relay may only choose among what was offered."""
    answering = kind(response=((b"wt-protocol", b'"moqt-99"'),))
    async with serve(certificates.good, answering, alpn=H3) as server:
        error = await refusal(server)

    assert error.kind == "webtransport"
    assert "'moqt-99', offered: moqt-18" in str(error)


async def test_no_http3_is_an_alpn_mismatch(certificates: Certificates) -> None:
    """A relay of raw QUIC only."""
    async with serve(certificates.good, alpn=["moqt-18"]) as server:
        error = await refusal(server)

    assert (error.kind, error.code) == ("alpn", 0x178)
    assert "ALPN h3" in str(error)


async def test_no_answer_to_connect_says_what_was_awaited(certificates: Certificates) -> None:
    """The relay was reached, so silence after the handshake is not `timeout`."""
    async with serve(certificates.good, kind(status=None), alpn=H3) as server:
        error = await refusal(server, path="/moq", timeout=0.2)

    assert (error.kind, error.unreachable) == ("webtransport", False)
    assert "awaited an answer to CONNECT for path /moq" in str(error)
    assert 0.2 <= error.elapsed < PROMPT


async def test_no_settings_and_no_answer_says_so(certificates: Certificates) -> None:
    """A server that negotiates h3 and then speaks no HTTP/3."""
    async with serve(certificates.good, kind(http3_from_the_start=False), alpn=H3) as server:
        error = await refusal(server, timeout=0.2)

    assert error.kind == "webtransport"
    assert "SETTINGS" in str(error)
    assert "neither came" in str(error)


async def test_settings_without_webtransport_are_named_when_nothing_is_answered(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HTTP/3 server that is no WebTransport server."""
    monkeypatch.setattr(
        "aioquic.h3.connection.H3Connection._get_local_settings", lambda self: {0x1: 0, 0x7: 0}
    )
    async with serve(certificates.good, kind(status=None), alpn=H3) as server:
        error = await refusal(server, timeout=0.2)

    assert error.kind == "webtransport"
    assert "announce no WebTransport and no extended CONNECT" in str(error)


async def test_settings_without_webtransport_are_forgiven_when_connect_is_answered(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is the answer."""
    monkeypatch.setattr(
        "aioquic.h3.connection.H3Connection._get_local_settings", lambda self: {0x1: 0, 0x7: 0}
    )
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        assert transport.established


async def test_connect_is_sent_without_settings_after_a_grace(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that waits for CONNECT before it sends SETTINGS gets it, a little later."""
    monkeypatch.setattr(webtransport, "SETTINGS_GRACE", 0.05)
    seen: list[int] = []

    def note(peer: Peer, event: quic_events.QuicEvent) -> None:
        if isinstance(event, quic_events.StreamDataReceived):
            seen.append(event.stream_id)

    async with serve(certificates.good, kind(http3_from_the_start=False), alpn=H3, on_event=note) as server:
        await refusal(server, timeout=0.3)

    assert 0 in seen


async def test_settings_that_break_a_rule_are_told(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H3_DATAGRAM must be 0 or 1."""
    monkeypatch.setattr(
        "aioquic.h3.connection.H3Connection._get_local_settings", lambda self: {0x8: 1, 0x33: 7}
    )
    async with serve(certificates.good, WebTransportPeer, alpn=H3) as server:
        error = await refusal(server)

    assert (error.kind, error.code) == ("webtransport", 0x109)
    assert "H3_SETTINGS_ERROR" in str(error)


async def test_a_close_instead_of_an_answer_is_told(certificates: Certificates) -> None:
    """Some relays close the connection on a CONNECT they dislike."""

    def answer(self: WebTransportPeer) -> None:
        self.close_quic(0, "no")

    async with serve(certificates.good, kind(answer=answer), alpn=H3) as server:
        error = await refusal(server)

    assert (error.kind, error.reason, error.unreachable) == ("closed", "no", False)
    assert "an answer to CONNECT" in str(error)


async def test_a_reset_instead_of_an_answer_is_told(certificates: Certificates) -> None:
    """H3_REQUEST_REJECTED and the like."""

    def answer(self: WebTransportPeer) -> None:
        self.reset(0, ErrorCode.H3_REQUEST_REJECTED)

    async with serve(certificates.good, kind(answer=answer), alpn=H3) as server:
        error = await refusal(server)

    assert (error.kind, error.code) == ("webtransport", ErrorCode.H3_REQUEST_REJECTED)
    assert "CONNECT stream was reset" in str(error)


async def test_an_end_instead_of_an_answer_is_told(certificates: Certificates) -> None:
    """A request stream that ends without a response."""

    def answer(self: WebTransportPeer) -> None:
        self.send(0, b"", fin=True)

    async with serve(certificates.good, kind(answer=answer), alpn=H3) as server:
        error = await refusal(server)

    assert error.kind == "webtransport"
    assert "unanswered" in str(error)


async def test_streams_that_overtake_the_answer_are_kept(certificates: Certificates) -> None:
    """What a relay sends inside the session before its 200 arrives is told after it, in order."""

    def answer(self: WebTransportPeer) -> None:
        self.send(self.open_in_session(unidirectional=True), b"early")
        self.send_datagram(b"\x00early")
        WebTransportPeer.answer(self)
        self.transmit()

    owner = Owner()
    async with (
        serve(certificates.good, kind(answer=answer), alpn=H3) as server,
        connected(url(server), owner, certificates),
    ):
        await owner.received(DatagramData(b"early"), StreamData(15, b"early"))


async def test_what_is_kept_before_the_answer_is_bounded(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that only talks and never answers is given up."""
    monkeypatch.setattr(webtransport, "MAX_HELD", 2000)

    def answer(self: WebTransportPeer) -> None:
        self.send(self.open_in_session(unidirectional=True), bytes(4000))

    async with serve(certificates.good, kind(answer=answer), alpn=H3) as server:
        error = await refusal(server)

    assert error.kind == "webtransport"
    assert "before the answer to CONNECT" in str(error)


# streams and datagrams


async def test_streams_carry_bytes_both_ways(certificates: Certificates) -> None:
    """Headers go before what is sent and come off what is received; the peer's answers have none."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        peer = server.webtransport
        bidi, uni = transport.open_stream(unidirectional=False), transport.open_stream(unidirectional=True)
        transport.send(bidi, b"ask")
        transport.send(uni, b"tell", fin=True)
        await peer.until(lambda _: peer.inside.get(bidi) == b"ask" and uni in peer.ended)
        peer.send(bidi, b"answer", fin=True)
        theirs = [peer.open_in_session(unidirectional=kind) for kind in (True, False)]
        for stream_id in theirs:
            peer.send(stream_id, b"news")

        await owner.received(
            StreamData(bidi, b"answer", fin=True),
            StreamData(theirs[0], b"news"),
            StreamData(theirs[1], b"news"),
        )

        assert peer.received[bidi] == stream_header(0, unidirectional=False) + b"ask"
        assert peer.received[uni] == stream_header(0, unidirectional=True) + b"tell"
        assert peer.inside[uni] == b"tell"
        transport.send(theirs[1], b"reply")
        await peer.until(lambda _: peer.received.get(theirs[1]) == b"reply")


async def test_answers_that_look_like_http3_frames_are_left_alone(certificates: Certificates) -> None:
    """MoQT bytes on a bidirectional stream of ours are no frames of HTTP/3, whatever they look like."""
    owner = Owner()
    payload = bytes.fromhex("00040102030401050000000000")
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        bidi = transport.open_stream(unidirectional=False)
        transport.send(bidi, b"ask")
        await server.peer.until(lambda peer: bidi in peer.received)
        for byte in payload:
            server.peer.send(bidi, bytes([byte]))

        await owner.until(
            lambda events: b"".join(e.data for e in events if isinstance(e, StreamData)) == payload
        )


async def test_nothing_leaves_before_send_and_the_header_goes_with_an_empty_one(
    certificates: Certificates,
) -> None:
    """Opening sends nothing; sending no bytes opens the stream to the peer."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        silent, empty = (transport.open_stream(unidirectional=True) for _ in range(2))
        transport.send(empty, b"")
        await server.peer.until(lambda peer: empty in peer.received)

        assert server.peer.received[empty] == stream_header(0, unidirectional=True)
        assert silent not in server.peer.received


async def test_a_header_in_single_bytes_is_understood(certificates: Certificates) -> None:
    """Integers of a stream's header may be split between packets and need not be minimal."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates),
    ):
        stream_id = server.peer.open(unidirectional=True)
        for byte in bytes.fromhex("8000005480000000") + b"ab":
            server.peer.send(stream_id, bytes([byte]))
        server.peer.send(stream_id, b"", fin=True)

        await owner.received(StreamData(stream_id, b"", fin=True))
        assert [event for event in owner.events if isinstance(event, StreamData) and event.data] == [
            StreamData(stream_id, b"a"),
            StreamData(stream_id, b"b"),
        ]


async def test_a_header_alone_opens_the_stream(certificates: Certificates) -> None:
    """A stream without bytes yet is told, so that its order among streams is known."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates),
    ):
        stream_id = server.webtransport.open_in_session(unidirectional=True)
        server.peer.transmit()

        await owner.received(StreamData(stream_id, b""))


@pytest.mark.parametrize("unidirectional", [True, False])
async def test_streams_of_other_sessions_are_refused(
    certificates: Certificates, unidirectional: bool
) -> None:
    """There is one session; a stream that names another is stopped and not told."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates),
    ):
        peer = server.webtransport
        stream_id = peer.open_in_session(unidirectional=unidirectional, session_id=4)
        peer.send(stream_id, b"lost")

        await peer.until(lambda _: stream_id in peer.stops)
        assert peer.stops[stream_id] == BUFFERED_STREAM_REJECTED
        if not unidirectional:
            await peer.until(lambda _: peer.resets.get(stream_id) == BUFFERED_STREAM_REJECTED)
        assert owner.events == []


@pytest.mark.parametrize("unidirectional", [True, False])
async def test_a_stream_of_what_can_be_no_session_ends_the_session(
    certificates: Certificates, unidirectional: bool
) -> None:
    """A session is a client's request: an id that is none is an error of the connection."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        peer = server.webtransport
        peer.send(peer.open_in_session(unidirectional=unidirectional, session_id=3), b"lost")

        ended = await closed(transport)

    assert (ended.code, ended.by_peer, ended.layer) == (ErrorCode.H3_ID_ERROR, False, "http3")
    assert owner.events == [ended]


async def test_a_bidirectional_stream_of_no_session_is_refused(certificates: Certificates) -> None:
    """A server opens no requests."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        stream_id = server.peer.open(unidirectional=False)
        server.peer.send(stream_id, b"\x01\x05hello")

        await server.peer.until(lambda peer: stream_id in peer.stops)
        assert (server.peer.stops[stream_id], transport.closed) == (ErrorCode.H3_STREAM_CREATION_ERROR, None)


async def test_unknown_streams_of_http3_are_ignored(certificates: Certificates) -> None:
    """Types reserved for grease are HTTP/3's business."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.send(server.peer.open(unidirectional=True), b"\x40\x21grease", fin=True)
        server.peer.reset(server.peer.open(unidirectional=True), 5)
        assert await transport.ping(DEADLINE)

        assert (owner.events, transport.closed) == ([], None)


async def test_a_stream_may_be_reset_before_its_session_is_told(certificates: Certificates) -> None:
    """A code of a session's range says that it is the session's, whose header got lost."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        stream_id = server.peer.open(unidirectional=True)
        server.peer.reset(stream_id, wire_code(4))
        assert await transport.ping(DEADLINE)

        assert owner.events == [StreamReset(stream_id, 4, wire_code(4))]


async def test_resets_and_stops_are_mapped(certificates: Certificates) -> None:
    """Codes travel in HTTP/3's range; one that is in no application's range stays visible as it came."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        ours, mapped, unmapped = (transport.open_stream(unidirectional=False) for _ in range(3))
        for stream_id in (ours, mapped, unmapped):
            transport.send(stream_id, b"x")
        await server.peer.until(
            lambda peer: len([i for i in peer.received if i in (ours, mapped, unmapped)]) == 3
        )
        transport.reset(ours, 7)
        transport.stop(ours, 30)
        server.peer.reset(mapped, wire_code(9))
        server.peer.stop(mapped, wire_code(10))
        server.peer.reset(unmapped, ErrorCode.H3_REQUEST_CANCELLED)
        server.peer.stop(unmapped, 0)

        await server.peer.until(lambda peer: ours in peer.resets and ours in peer.stops)
        await owner.received(
            StreamReset(mapped, 9, wire_code(9)),
            StopSending(mapped, 10, wire_code(10)),
            StreamReset(unmapped, None, 0x10C),
            StopSending(unmapped, None, 0),
        )
        assert (server.peer.resets[ours], server.peer.stops[ours]) == (wire_code(7), wire_code(30))
        with pytest.raises(ValueError, match="0xffffffff"):
            transport.reset(mapped, 2**32)


async def test_the_end_of_a_streams_session_tells_nothing_of_the_stream(certificates: Certificates) -> None:
    """A relay that ends a session resets its streams with WT_SESSION_GONE, perhaps before it says so."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        stream_id = transport.open_stream(unidirectional=False)
        transport.send(stream_id, b"x")
        await server.peer.until(lambda peer: stream_id in peer.received)

        server.peer.reset(stream_id, SESSION_GONE)
        server.peer.stop(stream_id, SESSION_GONE)
        server.webtransport.send_on_connect(encode_close(3, "gone"), fin=True)
        ended = await closed(transport)

        assert owner.events == [ended]
        assert (ended.code, ended.ending) == (3, Ending.CAPSULE)
        assert await transport.wait_connect_ended(DEADLINE)


async def test_datagrams_pass_up_to_the_limit(certificates: Certificates) -> None:
    """One byte names the session, so one less is left; datagrams of other sessions are dropped."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        assert transport.max_datagram_size == 1169
        with pytest.raises(ValueError, match="at most 1169"):
            transport.send_datagram(bytes(1170))
        transport.send_datagram(b"\x01" * 1169)
        await server.peer.until(lambda peer: peer.datagrams)
        server.peer.send_datagram(b"\x01other session")
        server.peer.send_datagram(b"\x00ours")

        await owner.received(DatagramData(b"ours"))
        assert server.peer.datagrams == [b"\x00" + b"\x01" * 1169]
        assert len(owner.events) == 1


# the end


async def test_our_close_is_a_capsule_and_then_the_connections_end(certificates: Certificates) -> None:
    """The relay learns code and reason on the CONNECT stream, and that the connection is over."""
    owner = Owner()
    async with serve(certificates.good, WebTransportPeer, alpn=H3) as server:
        async with connected(url(server), owner, certificates) as transport:
            transport.send(transport.open_stream(unidirectional=True), b"x" * 5000)
            transport.close(3, "enough")

        peer = server.webtransport
        await peer.until(lambda _: peer.terminated)
        assert peer.closes == [(3, "enough")]
        assert 0 in peer.ended
        assert peer.terminated is not None
        assert (peer.terminated.error_code, peer.terminated.frame_type) == (ErrorCode.H3_NO_ERROR, None)
        assert sum(len(data) for data in peer.inside.values()) == 5000
    assert owner.events == [TransportClosed(3, "enough", by_peer=False, layer="session")]


async def test_a_session_can_be_left_by_the_end_of_its_connect_stream(certificates: Certificates) -> None:
    """A FIN without a capsule, and the connection stays."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        transport.leave(Ending.FIN)
        await server.peer.until(lambda peer: 0 in peer.ended)

        assert server.webtransport.closes == []
        assert await closed(transport) == TransportClosed(0, "", by_peer=False, layer="session")
        assert not await transport.wait_connect_ended(0)


async def test_a_session_can_be_left_by_the_connections_end(certificates: Certificates) -> None:
    """CONNECTION_CLOSE with H3_NO_ERROR, and nothing on the CONNECT stream."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        transport.leave(Ending.CONNECTION)
        await closed(transport)
        await transport.finish()
        await server.peer.until(lambda peer: peer.terminated)

        assert 0 not in server.peer.ended
        assert server.webtransport.closes == []


async def test_our_close_can_be_awaited_before_finish(certificates: Certificates) -> None:
    """Closing alone already reaches the relay."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        transport.close(2**32 - 1)

        await server.peer.until(lambda peer: 0 in peer.ended)
        assert await closed(transport) == TransportClosed(2**32 - 1, "", by_peer=False, layer="session")
        assert server.webtransport.closes == [(2**32 - 1, "")]


async def test_our_close_falls_back_to_the_connection_when_connect_was_stopped(
    certificates: Certificates,
) -> None:
    """A relay that reads no capsules still learns the code."""
    owner = Owner()
    async with serve(certificates.good, WebTransportPeer, alpn=H3) as server:
        async with connected(url(server), owner, certificates) as transport:
            server.peer.stop(0, 0)
            await server.peer.until(lambda peer: 0 in peer.resets)
            transport.close(7, "bye")
        await server.peer.until(lambda peer: peer.terminated)

    assert server.peer.terminated is not None
    assert server.peer.terminated.error_code == wire_code(7)
    assert owner.events == [TransportClosed(7, "bye", by_peer=False, layer="session")]


@pytest.mark.parametrize("size", [1, 1000])
async def test_the_peers_capsule_ends_the_session(certificates: Certificates, size: int) -> None:
    """Code and reason of CLOSE_WEBTRANSPORT_SESSION, however its bytes are cut, behind other capsules."""
    owner = Owner()
    capsules = encode_capsule(0x29, b"grease") + encode_capsule(0x78AE) + encode_close(3, "violation")
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        for start in range(0, len(capsules), size):
            server.webtransport.send_on_connect(capsules[start : start + size])

        assert await closed(transport) == TransportClosed(3, "violation", by_peer=True, layer="session")
        await server.peer.until(lambda peer: 0 in peer.ended)  # answered with the end of our half


async def test_only_the_first_of_several_ends_is_told(certificates: Certificates) -> None:
    """Capsule, FIN, reset and CONNECTION_CLOSE with other codes: the capsule came first."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.webtransport.send_on_connect(encode_close(3, "first"), fin=True)
        server.peer.close_quic(wire_code(4), "second")
        ended = await closed(transport)
        await turns(20)

    assert ended == TransportClosed(3, "first", by_peer=True, layer="session")
    assert owner.events == [ended]


async def test_the_end_of_the_connect_stream_is_code_0(certificates: Certificates) -> None:
    """A FIN without a capsule ends the session without error."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.send(0, b"", fin=True)
        ended = await closed(transport)

        assert ended == TransportClosed(0, "", by_peer=True, layer="session")
        assert ended.ending is Ending.FIN


async def test_an_answer_that_ends_the_stream_ends_the_session(certificates: Certificates) -> None:
    """200 and FIN: a session that was over as soon as it began."""

    def answer(self: WebTransportPeer) -> None:
        assert self.http is not None
        self.http.send_headers(0, [(b":status", b"200")], end_stream=True)

    owner = Owner()
    async with (
        serve(certificates.good, kind(answer=answer), alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        assert await closed(transport) == TransportClosed(0, "", by_peer=True, layer="session")


@pytest.mark.parametrize(
    ("wire", "expected"),
    [(ErrorCode.H3_REQUEST_CANCELLED, (0x10C, "http3")), (wire_code(5), (5, "session"))],
)
async def test_a_reset_of_the_connect_stream_ends_the_session(
    certificates: Certificates, wire: int, expected: tuple[int, str]
) -> None:
    """With HTTP/3's code, or an application's if it is one."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.reset(0, wire)

        ended = await closed(transport)

    assert (ended.code, ended.layer, ended.by_peer) == (*expected, True)


@pytest.mark.parametrize(
    ("wire", "frame_type", "expected"),
    [
        (wire_code(3), None, (3, "session")),
        (0, None, (0, "http3")),
        (0x100, None, (0x100, "http3")),
        (0xA, 0, (0xA, "quic")),
    ],
    ids=["application", "zero", "no error", "transport"],
)
async def test_the_connections_end_ends_the_session(
    certificates: Certificates, wire: int, frame_type: int | None, expected: tuple[int, str]
) -> None:
    """CONNECTION_CLOSE may carry an application's code, HTTP/3's or QUIC's."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.close_quic(wire, "why", frame_type)

        ended = await closed(transport)

    assert ended == TransportClosed(expected[0], "why", by_peer=True, layer=expected[1])


async def test_stopping_the_connect_stream_ends_nothing(certificates: Certificates) -> None:
    """A relay that drops its reading half reads no capsules, that is all."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.stop(0, 0)
        await server.peer.until(lambda peer: 0 in peer.resets)
        assert await transport.ping(DEADLINE)

        assert transport.closed is None


@pytest.mark.parametrize(
    ("data", "fin", "words"),
    [
        (
            bytes.fromhex("6843") + bytes.fromhex("80010000"),
            False,
            "CLOSE_WEBTRANSPORT_SESSION capsule of 65536",
        ),
        (encode_capsule(0x2843, b"\0\0"), False, "2 bytes"),
        (b"\x68", True, "ended inside a capsule"),
    ],
    ids=["oversized", "short", "truncated"],
)
async def test_malformed_capsules_end_the_session(
    certificates: Certificates, data: bytes, fin: bool, words: str
) -> None:
    """Capsules that cannot be read are answered with H3_MESSAGE_ERROR."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.webtransport.send_on_connect(data, fin=fin)

        ended = await closed(transport)
        await server.peer.until(lambda peer: peer.terminated)

    assert (ended.code, ended.by_peer, ended.layer) == (ErrorCode.H3_MESSAGE_ERROR, False, "http3")
    assert words in ended.reason
    assert server.peer.terminated is not None
    assert server.peer.terminated.error_code == ErrorCode.H3_MESSAGE_ERROR


async def test_a_malformed_frame_on_the_connect_stream_ends_the_session(certificates: Certificates) -> None:
    """SETTINGS has no business there."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.send(0, b"\x04\x00")

        ended = await closed(transport)

    assert (ended.code, ended.by_peer, ended.layer) == (ErrorCode.H3_FRAME_UNEXPECTED, False, "http3")


@pytest.mark.parametrize("name", ["HEADERS", "PUSH_PROMISE"])
async def test_only_data_may_follow_on_the_connect_stream(certificates: Certificates, name: str) -> None:
    """Trailers and promises have no place in a session (RFC 9114 section 4.4)."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        http = server.webtransport.http
        assert http is not None
        if name == "HEADERS":
            http.send_headers(0, [(b"grpc-status", b"0")])
        else:
            http.send_push_promise(
                0, [(name, b"x") for name in (b":method", b":scheme", b":authority", b":path")]
            )
        server.peer.transmit()

        ended = await closed(transport)

    assert (ended.code, ended.by_peer, ended.layer) == (ErrorCode.H3_FRAME_UNEXPECTED, False, "http3")
    assert name in ended.reason


async def test_a_closed_control_stream_ends_the_session(certificates: Certificates) -> None:
    """The control stream must stay open."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.send(3, b"", fin=True)

        assert (await closed(transport)).code == ErrorCode.H3_CLOSED_CRITICAL_STREAM


@pytest.mark.parametrize("data", [b"\x40", b"\xff" * 8 + b"x"], ids=["cut off", "beyond all streams"])
async def test_a_datagram_without_session_ends_the_session(certificates: Certificates, data: bytes) -> None:
    """A datagram that ends inside its quarter stream id, or whose stream cannot exist, is an error."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        server.peer.send_datagram(data)

        ended = await closed(transport)

    assert (ended.code, ended.by_peer, ended.layer) == (ErrorCode.H3_DATAGRAM_ERROR, False, "http3")


@pytest.mark.parametrize("on_control_stream", [False, True])
async def test_endless_frames_are_not_collected(certificates: Certificates, on_control_stream: bool) -> None:
    """HTTP/3 wants whole frames; one that is announced without limit ends the session instead."""
    owner = Owner()
    async with (
        serve(certificates.good, kind(status=200), alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        if on_control_stream:
            # A push stream (type 1, push id 0) collects HEADERS like a request stream.
            stream_id = server.peer.open(unidirectional=True)
            server.peer.send(stream_id, b"\x01\x00")
        else:
            stream_id = 0
        server.peer.send(stream_id, bytes.fromhex("01") + bytes.fromhex("ffffffffffffffff") + bytes(200_000))

        ended = await closed(transport)

    assert (ended.code, ended.by_peer, ended.layer) == (ErrorCode.H3_EXCESSIVE_LOAD, False, "http3")


async def test_an_exception_of_the_owner_ends_the_session(certificates: Certificates) -> None:
    """A fault of ours leaves as a capsule with INTERNAL_ERROR."""
    owner = Owner()

    def fail(event: TransportEvent) -> None:
        raise KeyError("lost")

    owner.react = fail
    async with serve(certificates.good, WebTransportPeer, alpn=H3) as server:
        async with connected(url(server), owner, certificates) as transport:
            server.peer.send_datagram(b"\x00x")
            ended = await closed(transport)
        await server.peer.until(lambda peer: peer.terminated)

    assert ended == TransportClosed(1, "internal error: KeyError: 'lost'", by_peer=False, layer="session")
    assert server.webtransport.closes == [(1, "internal error: KeyError: 'lost'")]


async def test_verbs_after_the_end_do_nothing(certificates: Certificates) -> None:
    """A session that is over takes every verb without effect."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        stream_id = transport.open_stream(unidirectional=False)
        server.webtransport.send_on_connect(encode_close(0), fin=True)
        await closed(transport)

        _use_every_verb(transport, stream_id)
        await turns()

        assert len(owner.events) == 1


def _has_ended(stream_id: int, peer: Peer) -> bool:
    return stream_id in peer.ended


def _use_every_verb(transport: ClientTransport, stream_id: int) -> None:
    transport.send(stream_id, b"x", fin=True)
    transport.reset(stream_id, 1)
    transport.stop(stream_id, 1)
    transport.send_datagram(b"x")
    transport.close(1)
    transport.open_stream(unidirectional=True)


async def test_streams_leave_nothing_in_http3(certificates: Certificates) -> None:
    """Forty streams later HTTP/3 holds what it held before."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=H3) as server,
        connected(url(server), owner, certificates) as transport,
    ):
        assert isinstance(transport, webtransport.WebTransport)
        assert transport._http3 is not None
        before = len(transport._http3._stream)
        for _ in range(40):
            stream_id = transport.open_stream(unidirectional=False)
            transport.send(stream_id, b"ask", fin=True)
            await server.peer.until(partial(_has_ended, stream_id))
            server.peer.send(stream_id, b"answer", fin=True)
            await owner.received(StreamData(stream_id, b"answer", fin=True))

        assert len(transport._http3._stream) == before


def test_raw_quic_does_without_http3() -> None:
    """HTTP/3 and QPACK are imported only when WebTransport is dialled."""
    code = (
        "import sys, pytest_moqt.client.dial;"
        "unwanted = ('aioquic.h3.connection', 'aioquic.asyncio', 'pylsqpack');"
        "sys.exit(','.join(name for name in unwanted if name in sys.modules) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


async def test_sessions_side_by_side(certificates: Certificates) -> None:
    """Thirty sessions at once, each with a connection of its own."""

    async def one(server: Server) -> str:
        owner = Owner()
        async with connected(url(server), owner, certificates) as transport:
            stream_id = transport.open_stream(unidirectional=True)
            transport.send(stream_id, transport.connection_id.encode(), fin=True)
            # Thirty handshakes at once are half a second's work for a machine that has nothing else to do.
            assert await transport.ping(6 * DEADLINE)
            return transport.connection_id

    async with serve(certificates.good, WebTransportPeer, alpn=H3) as server:
        ids = await asyncio.gather(*(one(server) for _ in range(30)))

        seen = {
            data.decode()
            for peer in server.peers
            if isinstance(peer, WebTransportPeer)
            for data in peer.inside.values()
        }
        assert seen == set(ids)
        assert len(seen) == 30
