"""Dialling a relay, and a session's transport over raw QUIC."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
import warnings
from pathlib import Path

import pytest
from aioquic.quic.packet import QuicErrorCode
from quic_servers import (
    DEADLINE,
    PROMPT,
    Certificates,
    Owner,
    WebTransportPeer,
    babble,
    bound_socket,
    closed,
    connected,
    serve,
    turns,
)

from pytest_moqt.client.dial import dial
from pytest_moqt.client.errors import ConnectError, printable
from pytest_moqt.client.tls import TlsFileError, TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol.transport import (
    DatagramData,
    StopSending,
    StreamData,
    StreamReset,
    TransportClosed,
    TransportEvent,
)


async def refusal(
    url: str,
    *,
    alpn: tuple[str, ...] = ("moqt-18",),
    tls: TlsOptions | None = None,
    timeout: float = DEADLINE,
    idle_timeout: float = 30.0,
) -> ConnectError:
    """The error a dial ends with; no event may have been told."""
    owner = Owner()
    with pytest.raises(ConnectError) as caught:
        await dial(
            parse_relay_url(url),
            alpn=alpn,
            protocols=(),
            tls=tls or TlsOptions(verify=False),
            timeout=timeout,
            on_event=owner,
            idle_timeout=idle_timeout,
        )
    await turns()
    assert owner.events == []
    assert "\n" not in str(caught.value)
    return caught.value


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name resolve to some addresses, in this order."""
    found = [
        (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", (address, 0, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0))
        for address in addresses
    ]

    async def getaddrinfo(*args: object, **kwargs: object) -> list[object]:
        return list(found)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def open_files() -> int:
    """How many file descriptors this process has open; 0 where that cannot be told."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


# reaching somebody


async def test_dial_connects_and_says_what_was_chosen(certificates: Certificates) -> None:
    """A relay that answers is connected to, with the facts a report needs."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(
            f"moqt://localhost:{server.port}", owner, certificates, alpn=["moqt-16", "moqt-18"]
        ) as transport,
    ):
        assert (transport.name, transport.alpn, transport.protocol) == ("quic", "moqt-18", None)
        assert len(bytes.fromhex(transport.connection_id)) == 8
        assert transport.connection_id == transport.connection_id.lower()
        assert transport.connection_id == server.peer._quic.original_destination_connection_id.hex()
        assert transport.handshake["address"] == f"127.0.0.1:{server.port}"
        assert transport.closed is None


async def test_a_closed_port_is_refused_within_milliseconds() -> None:
    """Nobody listens: the operating system says so, and that is reported at once."""
    with bound_socket(listening=False) as port:
        error = await refusal(f"moqt://127.0.0.1:{port}")

    assert (error.kind, error.unreachable, error.tried) == ("refused", True, (f"127.0.0.1:{port}",))
    assert error.elapsed < PROMPT
    assert str(error).startswith(
        f"no relay answered at 127.0.0.1:{port} (UDP port closed: ICMP port unreachable after "
    )
    assert error.connection_id is not None


async def test_silence_ends_at_the_deadline() -> None:
    """A port that swallows everything costs the deadline and no more."""
    with bound_socket() as port:
        error = await refusal(f"moqt://127.0.0.1:{port}", timeout=0.2)

    assert (error.kind, error.unreachable) == ("timeout", True)
    assert 0.2 <= error.elapsed < PROMPT
    assert str(error) == f"no relay answered at 127.0.0.1:{port} (no reply within 200 ms)"


@pytest.mark.parametrize(
    "answer",
    [lambda data: b"HTTP/1.1 400 Bad Request\r\n\r\n", lambda data: data, lambda data: b"\xff" * 1200],
    ids=["text", "echo", "ones"],
)
async def test_garbage_is_no_answer(answer: object) -> None:
    """Datagrams that are not QUIC are counted, not answered, and end at the deadline."""
    async with babble(answer) as port:  # type: ignore[arg-type]
        error = await refusal(f"moqt://127.0.0.1:{port}", timeout=0.2)

    assert error.kind == "timeout"
    assert " came back)" in str(error)


async def test_a_name_without_address_is_told_at_once() -> None:
    """A name that does not resolve is a matter of names, not of relays."""
    error = await refusal("moqt://does-not-exist.invalid:1")

    assert (error.kind, error.unreachable, error.tried) == ("dns", True, ())
    assert "does-not-exist.invalid" in str(error)


async def test_a_slow_resolver_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up the name counts against the deadline."""

    async def getaddrinfo(*args: object, **kwargs: object) -> list[object]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    error = await refusal("moqt://relay.example:1", timeout=0.1)

    assert error.kind == "dns"
    assert "not resolved within 100 ms" in str(error)


async def test_every_address_is_tried(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> None:
    """A relay on the second address is found after the first refused."""
    owner = Owner()
    async with serve(certificates.good) as server:
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        async with connected(f"moqt://localhost:{server.port}", owner, certificates) as transport:
            tried = transport.handshake["tried"]

    assert tried == (f"127.0.0.2:{server.port}", f"127.0.0.1:{server.port}")


async def test_a_silent_address_leaves_its_share_to_the_next(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    """The deadline is shared fairly: a silent first address cannot use it all up."""
    owner = Owner()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        async with serve(certificates.good) as server:
            silent.bind(("127.0.0.3", server.port))
            resolve_to(monkeypatch, "127.0.0.3", "127.0.0.1")
            async with connected(
                f"moqt://localhost:{server.port}", owner, certificates, timeout=0.6
            ) as transport:
                elapsed_ms = transport.handshake["elapsed_ms"]

    assert isinstance(elapsed_ms, float)
    assert 300 <= elapsed_ms < 600


async def test_all_addresses_are_named_when_none_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names every address and what became of it; silence outweighs a refusal."""
    with bound_socket() as port:
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        error = await refusal(f"moqt://relay.example:{port}", timeout=0.2)

    assert error.kind == "timeout"
    assert error.tried == (f"127.0.0.2:{port}", f"127.0.0.1:{port}")
    assert f"127.0.0.2:{port}: UDP port closed" in str(error)
    assert f"127.0.0.1:{port}: no reply" in str(error)


async def test_an_unreachable_network_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address the system has no way to counts as one nobody answers at."""
    resolve_to(monkeypatch, "::1%no-such-interface")

    error = await refusal("moqt://relay.example:1")

    assert error.unreachable


# a handshake that fails


async def test_no_common_protocol_names_what_was_offered(certificates: Certificates) -> None:
    """A relay of other drafts is told from one that is not there."""
    async with serve(certificates.good) as server:
        error = await refusal(f"moqt://localhost:{server.port}", alpn=("moqt-98", "moqt-99"))

    assert (error.kind, error.code, error.unreachable) == ("alpn", 0x178, False)
    assert error.offered == ("moqt-98", "moqt-99")
    assert "ALPN moqt-98, moqt-99" in str(error)
    assert error.by_peer
    assert error.elapsed < PROMPT


async def test_a_relay_that_chooses_no_protocol_did_not_refuse(certificates: Certificates) -> None:
    """It is the client that ends the handshake then (RFC 9001 section 8.1)."""
    async with serve(certificates.good, alpn=()) as server:
        error = await refusal(f"moqt://localhost:{server.port}")

    assert (error.kind, error.code, error.by_peer) == ("alpn", 0x178, False)


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("expired", ["has expired", "renew it"]),
        ("future", ["is not valid yet"]),
        ("wrong_name", ["is for another name", "relay.example", "issue it for localhost"]),
        ("self_signed", ["is self-signed", "--ca-file"]),
    ],
)
async def test_a_bad_certificate_says_what_is_bad(
    certificates: Certificates, which: str, words: list[str]
) -> None:
    """Each fault of a certificate has its own sentence and a way to go on."""
    tls = TlsOptions(ca_file=str(certificates.authority))
    async with serve(getattr(certificates, which)) as server:
        error = await refusal(f"moqt://localhost:{server.port}", tls=tls)

    assert (error.kind, error.by_peer) == ("tls", False)
    assert error.elapsed < PROMPT
    for word in [*words, "--tls-disable-verify"]:
        assert word in str(error)


async def test_an_unknown_issuer_says_how_to_name_it(certificates: Certificates) -> None:
    """A certificate of an authority not trusted here asks for --ca-file."""
    tls = TlsOptions(ca_file=str(certificates.self_signed[0]))
    async with serve(certificates.good) as server:
        error = await refusal(f"moqt://localhost:{server.port}", tls=tls)

    assert error.kind == "tls"
    assert "untrusted issuer" in str(error)
    assert "--ca-file" in str(error)


async def test_without_verification_any_certificate_will_do(certificates: Certificates) -> None:
    """`verify=False` accepts even an expired certificate for another name."""
    async with serve(certificates.wrong_name) as server:
        transport = await dial(
            parse_relay_url(f"moqt://localhost:{server.port}"),
            alpn=["moqt-18"],
            protocols=[],
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
            on_event=Owner(),
        )
        await transport.finish()


async def test_an_address_is_checked_against_the_certificates_addresses(certificates: Certificates) -> None:
    """Dialling by address needs that address in the certificate."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://127.0.0.1:{server.port}", owner, certificates) as transport,
    ):
        assert transport.established


async def test_a_missing_ca_file_is_told_before_dialling(tmp_path: Path) -> None:
    """No packet is sent when the CA file cannot be read."""
    with pytest.raises(TlsFileError):
        await dial(
            parse_relay_url("moqt://127.0.0.1:1"),
            alpn=["moqt-18"],
            protocols=[],
            tls=TlsOptions(ca_file=str(tmp_path / "missing")),
            timeout=DEADLINE,
            on_event=Owner(),
        )


async def test_no_common_quic_version_is_told() -> None:
    """A relay that answers with Version Negotiation for versions unknown here."""

    def negotiate(data: bytes) -> bytes:
        destination = data[6 : 6 + data[5]]
        source = data[7 + len(destination) : 7 + len(destination) + data[6 + len(destination)]]
        return (
            b"\x80\x00\x00\x00\x00"
            + bytes([len(source)])
            + source
            + bytes([len(destination)])
            + destination
            + bytes.fromhex("ff00001d")
        )

    async with babble(negotiate) as port:
        error = await refusal(f"moqt://127.0.0.1:{port}")

    assert (error.kind, error.unreachable) == ("version", False)
    assert error.elapsed < PROMPT


async def test_a_relay_that_refuses_the_connection_is_quoted(certificates: Certificates) -> None:
    """A CONNECTION_CLOSE during the handshake is passed on, its text made safe to print."""
    reason = "go away\nBail out! \x1b[31m" + "x" * 500
    async with serve(
        certificates.good,
        on_event=lambda peer, event: peer._quic.close(QuicErrorCode.CONNECTION_REFUSED, 0, reason),
    ) as server:
        error = await refusal(f"moqt://localhost:{server.port}")

    assert (error.kind, error.code, error.reason) == ("closed", 2, reason)
    assert "0x2 CONNECTION_REFUSED" in str(error)
    assert "go away\\nBail out!" in str(error)
    assert len(str(error)) < 500


async def test_an_idle_limit_below_the_deadline_counts_as_silence() -> None:
    """The library gives up by itself when its idle timer is shorter than ours."""
    with bound_socket() as port:
        error = await refusal(f"moqt://127.0.0.1:{port}", timeout=3.0, idle_timeout=0.1)

    assert error.kind == "timeout"
    assert error.elapsed < PROMPT


def test_printable_escapes_and_shortens() -> None:
    """A peer's text cannot begin a line, move the cursor or fill the screen."""
    assert printable("plain") == "plain"
    assert printable("a\r\nb\x1b\u2028c\u202e") == "a\\r\\nb\\x1b\\u2028c\\u202e"
    assert printable("x" * 300) == "x" * 200 + "…"


# what a session asks


async def test_streams_carry_bytes_both_ways(certificates: Certificates) -> None:
    """What is sent arrives in order with its end, on streams of either kind and side."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        bidi, uni = transport.open_stream(unidirectional=False), transport.open_stream(unidirectional=True)
        transport.send(bidi, b"ask")
        transport.send(uni, b"tell")
        transport.send(uni, b"", fin=True)
        await server.peer.until(lambda peer: peer.received.get(bidi) == b"ask" and uni in peer.ended)
        server.peer.send(bidi, b"answer", fin=True)
        server.peer.send(server.peer.open(unidirectional=True), b"news")

        await owner.received(StreamData(bidi, b"answer", fin=True), StreamData(3, b"news"))

    assert (bidi, uni) == (0, 2)


async def test_ids_are_reserved_before_anything_is_sent(certificates: Certificates) -> None:
    """Opening twice gives two streams, and nothing leaves before `send`."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        ids = [transport.open_stream(unidirectional=kind) for kind in (True, True, False, False)]
        assert await transport.ping(DEADLINE)

        assert ids == [2, 6, 0, 4]
        assert server.peer.received == {}


async def test_resets_and_stops_pass_with_their_codes(certificates: Certificates) -> None:
    """Codes are QUIC's own over raw QUIC, in both directions."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        first, second = (transport.open_stream(unidirectional=False) for _ in range(2))
        for stream_id in (first, second):
            transport.send(stream_id, b"x")
        await server.peer.until(lambda peer: len(peer.received) == 2)
        transport.reset(first, 7)
        transport.stop(first, 8)
        await server.peer.until(lambda peer: first in peer.resets and first in peer.stops)
        server.peer.reset(second, 9)
        server.peer.stop(second, 10)

        await owner.received(StreamReset(second, 9, 9), StopSending(second, 10, 10))

        assert (server.peer.resets[first], server.peer.stops[first]) == (7, 8)
        await server.peer.until(lambda peer: peer.resets.get(second) == 10)


async def test_verbs_on_a_stream_given_up_do_nothing(certificates: Certificates) -> None:
    """After a reset or a stop, by either side, more bytes, resets and stops are dropped."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        ours, theirs = (transport.open_stream(unidirectional=False) for _ in range(2))
        for stream_id in (ours, theirs):
            transport.send(stream_id, b"x")
        transport.reset(ours, 1)
        await server.peer.until(lambda peer: theirs in peer.received)
        server.peer.stop(theirs, 2)
        await owner.received(StopSending(theirs, 2, 2))

        for stream_id in (ours, theirs):
            transport.send(stream_id, b"y", fin=True)
            transport.reset(stream_id, 3)
            transport.stop(stream_id, 4)
            transport.stop(stream_id, 5)

        await server.peer.until(lambda peer: len(peer.stops) == 2)
        assert (server.peer.stops, transport.closed) == ({ours: 4, theirs: 4}, None)


async def test_sending_in_the_very_turn_of_a_stop_does_nothing(certificates: Certificates) -> None:
    """The library knows of a stop before its event is told; a send in between is dropped, not an error."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        stream_id = transport.open_stream(unidirectional=False)
        transport.send(stream_id, b"x")
        await server.peer.until(lambda peer: stream_id in peer.received)
        owner.react = lambda event: transport.send(stream_id, b"more")
        quic = server.peer._quic
        quic.send_datagram_frame(b"before the stop")
        quic.stop_stream(stream_id, 2)
        server.peer.transmit()

        await owner.received(DatagramData(b"before the stop"), StopSending(stream_id, 2, 2))
        assert transport.failure is None


async def test_bytes_after_our_own_end_are_an_error_of_ours(certificates: Certificates) -> None:
    """Nothing may be lost silently: bytes behind a FIN are refused."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        stream_id = transport.open_stream(unidirectional=True)
        transport.send(stream_id, b"x", fin=True)
        transport.send(stream_id, b"", fin=True)

        with pytest.raises(ValueError, match="was ended by us"):
            transport.send(stream_id, b"y")
        with pytest.raises(ValueError, match="unidirectional and ours"):
            transport.stop(stream_id, 1)
        with pytest.raises(ValueError, match="codes 0 to"):
            transport.reset(stream_id, -1)
        with pytest.raises(ValueError, match="peer-initiated"):
            transport.send(3, b"y")


async def test_datagrams_pass_up_to_the_limit(certificates: Certificates) -> None:
    """The largest datagram arrives; one byte more is refused instead of blocking all others."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        limit = transport.max_datagram_size
        with pytest.raises(ValueError, match=f"at most {limit}"):
            transport.send_datagram(bytes(limit + 1))
        transport.send_datagram(bytes(limit))
        transport.send_datagram(b"small")
        await server.peer.until(lambda peer: len(peer.datagrams) == 2)
        server.peer.send_datagram(b"back")

        await owner.received(DatagramData(b"back"))
        assert [len(data) for data in server.peer.datagrams] == [1170, 5]


async def test_many_sends_leave_in_few_datagrams(certificates: Certificates) -> None:
    """One turn of the event loop is one transmission, however many sends it had."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        stream_id = transport.open_stream(unidirectional=True)
        calls = 0
        send = transport._quic.datagrams_to_send

        def counted(now: float) -> object:
            nonlocal calls
            calls += 1
            return send(now=now)

        transport._quic.datagrams_to_send = counted  # type: ignore[method-assign,assignment]
        for _ in range(100):
            transport.send(stream_id, b"0123456789")
        await turns()

        assert 1 <= calls <= 3  # one for the sends; acknowledgements may come in between
        await server.peer.until(lambda peer: len(peer.received.get(stream_id, b"")) == 1000)


async def test_ping_is_answered_at_once(certificates: Certificates) -> None:
    """A round trip is confirmed well below the 25 ms a peer may delay a lone acknowledgement."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        assert await transport.ping(DEADLINE)
        transport.close()
        assert not await transport.ping(DEADLINE)


async def test_ping_of_a_silent_peer_is_false(certificates: Certificates) -> None:
    """A peer that no longer answers is noticed within the time given."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        server.peer.datagram_received = lambda data, addr: None  # type: ignore[method-assign]

        assert not await transport.ping(0.05)


async def test_a_ping_ends_with_the_session(certificates: Certificates) -> None:
    """Waiting for an acknowledgement does not outlive the session."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        server.peer.datagram_received = lambda data, addr: None  # type: ignore[method-assign]
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(transport.ping(DEADLINE))
            await turns()
            server.peer.close_quic(0)

        assert answer.result() is False


# the end


async def test_our_close_reaches_the_peer_and_is_told_once(certificates: Certificates) -> None:
    """Code and reason leave the socket as an application's CONNECTION_CLOSE."""
    owner = Owner()
    async with serve(certificates.good) as server:
        async with connected(f"moqt://localhost:{server.port}", owner, certificates) as transport:
            transport.close(3, "enough")
            transport.close(4, "again")
            assert owner.events == []  # never from inside the verb
            ended = await closed(transport)

        assert ended == TransportClosed(3, "enough", by_peer=False, layer="session")
        assert owner.events == [ended]
        await server.peer.until(lambda peer: peer.terminated)
        terminated = server.peer.terminated
        assert terminated is not None
        assert (terminated.error_code, terminated.frame_type, terminated.reason_phrase) == (3, None, "enough")


async def test_finish_alone_closes_with_code_0(certificates: Certificates) -> None:
    """What was queued still leaves, then the close, and the end is told."""
    owner = Owner()
    async with serve(certificates.good) as server:
        async with connected(f"moqt://localhost:{server.port}", owner, certificates) as transport:
            stream_id = transport.open_stream(unidirectional=True)
            transport.send(stream_id, b"x" * 5000, fin=True)
        await transport.finish()

        assert owner.events == [TransportClosed(0, "", by_peer=False, layer="session")]
        await server.peer.until(lambda peer: peer.terminated)
        assert len(server.peer.received[stream_id]) == 5000


async def test_finish_takes_about_a_millisecond_and_leaves_nothing(certificates: Certificates) -> None:
    """No drain, no file descriptor, no timer, no unfinished future."""
    async with serve(certificates.good) as server:
        took = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for attempt in range(10):
                if attempt == 1:
                    before = open_files()
                transport = await dial(
                    parse_relay_url(f"moqt://localhost:{server.port}"),
                    alpn=["moqt-18"],
                    protocols=[],
                    tls=TlsOptions(verify=False),
                    timeout=DEADLINE,
                    on_event=Owner(),
                )
                began = time.perf_counter()
                await transport.finish()
                took.append(time.perf_counter() - began)
            gc.collect()
            after = open_files()

    assert after == before
    assert sorted(took)[len(took) // 2] < 0.02  # measured: 0.5 ms; a drain would be 45 ms at least


async def test_the_peers_close_is_told_after_what_came_before(certificates: Certificates) -> None:
    """Bytes ahead of a CONNECTION_CLOSE are told first, its code and reason within milliseconds."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        peer = server.peer
        peer.send(peer.open(unidirectional=True), b"last words")
        peer.close_quic(0x10, "timeout")
        began = time.perf_counter()

        ended = await closed(transport)

        assert time.perf_counter() - began < PROMPT
        assert ended == TransportClosed(0x10, "timeout", by_peer=True, layer="session")
        assert owner.events == [StreamData(3, b"last words"), ended]


async def test_a_close_by_quic_itself_is_told_as_such(certificates: Certificates) -> None:
    """A transport error of the peer is not taken for an application's code."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        server.peer.close_quic(QuicErrorCode.PROTOCOL_VIOLATION, "bad frame", frame_type=0x8)

        assert await closed(transport) == TransportClosed(0xA, "bad frame", by_peer=True, layer="quic")


async def test_an_idle_connection_ends(certificates: Certificates) -> None:
    """Nobody closed: the end is ours to see, and said to be the idle timeout."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates, idle_timeout=0.2) as transport,
    ):
        assert await closed(transport) == TransportClosed(0, "idle timeout", by_peer=False, layer="quic")
        assert len(owner.closes) == 1


async def test_a_relay_that_vanished_is_noticed(certificates: Certificates) -> None:
    """A relay whose process died leaves a closed port, which ends the session at once."""
    owner = Owner()
    async with serve(certificates.good) as server:
        transport = await dial(
            parse_relay_url(f"moqt://localhost:{server.port}"),
            alpn=["moqt-18"],
            protocols=[],
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
            on_event=owner,
        )
    transport.send(transport.open_stream(unidirectional=True), b"anyone?")

    ended = await closed(transport)
    await transport.finish()

    assert (ended.by_peer, ended.layer) == (False, "quic")
    assert "port unreachable" in ended.reason


async def test_verbs_after_the_end_do_nothing(certificates: Certificates) -> None:
    """A session that is over takes every verb without effect."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        stream_id = transport.open_stream(unidirectional=False)
        server.peer.close_quic(0)
        await closed(transport)

        transport.send(stream_id, b"x", fin=True)
        transport.reset(stream_id, 1)
        transport.stop(stream_id, 1)
        transport.send_datagram(b"x")
        transport.close(1)
        transport.open_stream(unidirectional=True)
        await transport.finish()

        assert len(owner.events) == 1


async def test_an_exception_of_the_owner_ends_the_session(certificates: Certificates) -> None:
    """A fault of ours closes with INTERNAL_ERROR and is kept; the event loop never sees it."""
    owner = Owner()
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))

    def fail(event: TransportEvent) -> None:
        raise KeyError("lost")

    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        owner.react = fail
        peer = server.peer
        peer.send(peer.open(unidirectional=True), b"a")

        ended = await closed(transport)
        await peer.until(lambda peer: peer.terminated)

    asyncio.get_running_loop().set_exception_handler(None)
    assert ended == TransportClosed(1, "internal error: KeyError: 'lost'", by_peer=False, layer="session")
    assert isinstance(transport.failure, KeyError)
    assert peer.terminated is not None
    assert (peer.terminated.error_code, peer.terminated.frame_type) == (1, None)
    assert owner.events == [StreamData(3, b"a"), ended]
    assert unhandled == []


async def test_a_stateless_reset_ends_the_session_without_another_packet(certificates: Certificates) -> None:
    """A relay that has lost its state says so in a datagram that only its token tells from noise."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        token = server.peer._quic._host_cids[0].stateless_reset_token
        # What follows a handshake has come when this is answered.
        assert await transport.ping(DEADLINE)
        before = len(server.peer.events)
        server.peer._transport.sendto(b"\x40" + bytes(24) + token, server.peer._quic._network_paths[0].addr)

        ended = await closed(transport)
        assert not await transport.ping(DEADLINE)
        await transport.finish()
        await turns()

        assert len(server.peer.events) == before
    assert ended == TransportClosed(0, "stateless reset", by_peer=True, layer="quic")
    assert owner.events == [ended]


async def test_an_exception_while_dialling_is_no_fault_of_the_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What aioquic raises before there is a session is told as our error."""

    def broken(*args: object, **kwargs: object) -> None:
        raise IndexError("pop from empty list")

    monkeypatch.setattr("aioquic.quic.connection.QuicConnection.receive_datagram", broken)
    async with babble(lambda data: b"x") as port:
        error = await refusal(f"moqt://localhost:{port}")

    assert (error.kind, error.unreachable) == ("internal", False)
    assert "IndexError: pop from empty list" in str(error)
    assert isinstance(error.__cause__, IndexError)


async def test_an_exception_inside_aioquic_ends_the_session(certificates: Certificates) -> None:
    """Whatever a datagram makes aioquic raise is an end of this session, not a message in a log."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):

        def broken(*args: object, **kwargs: object) -> None:
            raise IndexError("pop from empty list")

        transport._quic.receive_datagram = broken  # type: ignore[method-assign]
        server.peer.send_datagram(b"x")

        ended = await closed(transport)

    assert (ended.code, ended.by_peer, ended.layer) == (1, False, "session")
    assert "IndexError" in ended.reason


async def test_an_exception_while_sending_ends_the_session(certificates: Certificates) -> None:
    """If not even sending works any more, the session still ends and `finish` still returns."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):

        def broken(*args: object, **kwargs: object) -> None:
            raise AssertionError("no packet")

        transport._quic.datagrams_to_send = broken  # type: ignore[method-assign,assignment]
        transport.send_datagram(b"x")

        ended = await closed(transport)

    assert "AssertionError" in ended.reason


async def test_a_close_from_an_event_stops_the_events_behind_it(certificates: Certificates) -> None:
    """Once the owner has closed, what came in the same datagram is not told any more."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        owner.react = lambda event: transport.close(3)
        quic = server.peer._quic
        for data in (b"one", b"two"):
            quic.send_datagram_frame(data)
        server.peer.transmit()
        await closed(transport)

    assert owner.events == [
        DatagramData(b"one"),
        TransportClosed(3, "", by_peer=False, layer="session"),
    ]


async def test_a_cancelled_dial_leaves_nothing(certificates: Certificates) -> None:
    """Cancelling the dialling task closes the socket and tells nobody anything."""
    owner = Owner()
    with bound_socket() as port:
        task = asyncio.create_task(
            dial(
                parse_relay_url(f"moqt://127.0.0.1:{port}"),
                alpn=["moqt-18"],
                protocols=[],
                tls=TlsOptions(verify=False),
                timeout=DEADLINE,
                on_event=owner,
            )
        )
        await turns(10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await turns()

    gc.collect()
    assert owner.events == []


async def test_a_long_reason_is_cut_to_fit(certificates: Certificates) -> None:
    """A reason longer than a packet is cut between characters instead of never leaving."""
    owner = Owner()
    async with serve(certificates.good) as server:
        async with connected(f"moqt://localhost:{server.port}", owner, certificates) as transport:
            transport.close(3, "ü" * 2000 + "\ud800")
        await server.peer.until(lambda peer: peer.terminated)

    assert server.peer.terminated is not None
    assert server.peer.terminated.reason_phrase == "ü" * 256


async def test_key_log_is_written_where_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificates: Certificates
) -> None:
    """SSLKEYLOGFILE collects the secrets of every connection, behind what it held before."""
    path = tmp_path / "keys.log"
    path.write_text("# earlier\n")
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates),
    ):
        pass

    lines = path.read_text().splitlines()
    assert lines[0] == "# earlier"
    assert {line.split()[0] for line in lines[1:]} == {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    }

    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path))
    with pytest.raises(TlsFileError, match="SSLKEYLOGFILE"):
        await dial(
            parse_relay_url("moqt://127.0.0.1:1"),
            alpn=["moqt-18"],
            protocols=[],
            tls=TlsOptions(verify=False),
            timeout=DEADLINE,
            on_event=owner,
        )


async def test_more_streams_than_the_peer_allows_are_counted(certificates: Certificates) -> None:
    """Streams beyond the peer's limit are held back silently; the credit shows it beforehand."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        while transport.stream_credit(unidirectional=True):
            transport.send(transport.open_stream(unidirectional=True), b"x", fin=True)
        held_back = transport.open_stream(unidirectional=True)
        transport.send(held_back, b"waits")
        assert transport.unacknowledged(held_back) == 5

        # The first ones are done, so the peer grants more, and the one held back goes out.
        await server.peer.until(lambda peer: held_back in peer.received)


async def test_over_raw_quic_http3_is_never_imported(certificates: Certificates) -> None:
    """A relay that only speaks h3 is an ALPN mismatch to raw QUIC."""
    async with serve(certificates.good, WebTransportPeer, alpn=["h3"]) as server:
        error = await refusal(f"moqt://localhost:{server.port}")

    assert error.kind == "alpn"
