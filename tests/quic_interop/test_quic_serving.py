"""What the server makes of requests, good ones in pieces and bad ones, and of datagrams that are none."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aioquic.buffer import Buffer
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from pairs import HOST, Site, content, meet
from raw_client import raw_client

from pytest_moqt.client.aioquic_internals import close_of, unacknowledged
from quic_interop.cases import CASES
from quic_interop.client import run
from quic_interop.errors import InteropError
from quic_interop.server import Running, ServedConnection, TicketStore
from quic_interop.serving import WINDOW

KB, MB = 1024, 1024 * 1024
REFUSED = 1


@pytest.fixture
async def running(site: Site) -> Iterator[Running]:
    """A server of `handshake` with a file."""
    site.offer({"file": 5 * KB, "empty": 0})
    (site.root / "secret").write_text("secret")
    with closing(Running(site.server(CASES["handshake"]))) as running:
        yield running


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /file\r\n"],
        [b"GET /file\n"],
        [b"GET /file"],
        [b"G", b"ET /f", b"ile", b"\r", b"\n"],
        [b"GET /file\r\n", b"Host: server\r\n\r\n"],
    ],
    ids=["line", "no CR", "FIN alone", "pieces", "more lines"],
)
async def test_a_request_in_any_pieces(running: Running, pieces: list[bytes]) -> None:
    """A line ends with a newline or with the stream."""
    async with raw_client(running.listener.port) as client:
        for piece in pieces[:-1]:
            client.send(0, piece)
        client.send(0, pieces[-1], end=True)

        assert await client.answer(0) == (content("file", 5 * KB), None)


async def test_an_answer_does_not_wait_for_the_end_of_the_stream(running: Running) -> None:
    """The line says it all."""
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /file\r\n")

        assert await client.answer(0) == (content("file", 5 * KB), None)


async def test_an_empty_file(running: Running) -> None:
    """Nothing but the end of the stream."""
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /empty\r\n", end=True)

        assert await client.answer(0) == (b"", None)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /../secret\r\n",
        b"GET /%2e%2e/secret\r\n",
        b"GET ../secret\r\n",
        b"GET /nothing\r\n",
        b"GET /\r\n",
        b"POST /file\r\n",
        b"\r\n",
        b"",
        b"\xff\xfe\x00\r\n",
        b"GET /" + b"x" * 5000,
    ],
)
async def test_a_request_that_is_refused(running: Running, line: bytes) -> None:
    """The stream is reset, and the connection serves on."""
    async with raw_client(running.listener.port) as client:
        client.send(0, line, end=True)
        assert await client.answer(0) == (b"", REFUSED)

        client.send(4, b"GET /file\r\n", end=True)
        assert await client.answer(4) == (content("file", 5 * KB), None)


async def test_a_line_without_end(running: Running) -> None:
    """It is refused when it is longer than any request, without waiting for its end."""
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /" + b"x" * 5000)

        assert await client.answer(0) == (b"", REFUSED)


async def test_a_file_that_becomes_shorter(running: Running, site: Site) -> None:
    """What came is not the whole, and the reset says so."""
    site.offer({"large": 16 * WINDOW})
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /large\r\n", end=True)
        await client.until(lambda: client.stream(0)[0])
        os.truncate(site.www / "large", WINDOW)

        data, reset = await client.answer(0)

    assert reset == REFUSED
    assert len(data) < 16 * WINDOW


async def test_a_client_that_wants_no_more(running: Running, site: Site) -> None:
    """After STOP_SENDING the file is given up, and the connection serves on."""
    site.offer({"large": 8 * WINDOW})
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /large\r\n", end=True)
        await client.until(lambda: client.stream(0)[0])
        client.quic.stop_stream(0, 7)
        client.driver.flush()
        await client.until(lambda: client.stream(0)[1] is not None)

        client.send(4, b"GET /file\r\n", end=True)
        assert await client.answer(4) == (content("file", 5 * KB), None)
    assert len(client.stream(0)[0]) < 8 * WINDOW


async def test_no_more_of_a_file_is_read_than_a_window(running: Running, site: Site) -> None:
    """Beyond what the client has acknowledged: a large one costs the server no memory."""
    site.offer({"large": 16 * WINDOW})
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /large\r\n", end=True)
        await client.until(lambda: client.stream(0)[0])
        (served,) = set(running.listener._connections.values())

        held = unacknowledged(served._quic, 0)

    assert 0 < held <= WINDOW + 65536


async def test_http3_has_a_status(running: Running, site: Site) -> None:
    """200 with its length, or 404."""
    with closing(Running(site.server(CASES["http3"]))) as http3:
        async with raw_client(http3.listener.port, "h3") as client:
            http = H3Connection(client.quic)
            seen: list[object] = []
            for stream_id, method, path in (
                (0, b"GET", b"/file"),
                (4, b"GET", b"/../secret"),
                (8, b"PUT", b"/file"),
            ):
                http.send_headers(
                    stream_id,
                    [(b":method", method), (b":scheme", b"https"), (b":authority", b"x"), (b":path", path)],
                    end_stream=True,
                )
            client.driver.flush()
            await client.until(lambda: all(client.stream(stream_id)[2] for stream_id in (0, 4, 8)))
            for event in client.events:
                seen += http.handle_event(event)

    statuses = {part.stream_id: dict(part.headers) for part in seen if isinstance(part, HeadersReceived)}
    assert statuses == {
        0: {b":status": b"200", b"content-length": b"5120"},
        4: {b":status": b"404"},
        8: {b":status": b"404"},
    }
    body = b"".join(part.data for part in seen if isinstance(part, DataReceived) and part.stream_id == 0)
    assert body == content("file", 5 * KB)


@pytest.mark.parametrize(("case", "count"), [("transfer", 2000), ("http3", 300)])
async def test_very_many_files(site: Site, case: str, count: int) -> None:
    """All on one connection, whatever the server's limit of streams is (multiplexing)."""
    names = site.offer({f"{number:04}": 32 for number in range(count)})

    outcome = await meet(site, names, case)

    assert outcome.error == ""
    assert len(outcome.facts) == 1
    assert outcome.against("handshake") == []


async def test_a_second_url_of_the_same_server_uses_the_same_connection(site: Site) -> None:
    """And one of another server gets another."""
    names = site.offer({"a": KB, "b": KB, "c": KB})
    case = CASES["handshake"]
    with closing(Running(site.server(case))) as one, closing(Running(site.server(case))) as other:
        settings = site.client(case, one.listener.port, names[:2])
        first, second = settings.requests
        (elsewhere,) = site.client(case, other.listener.port, names[2:]).requests

        facts = await run(replace(settings, requests=(first, elsewhere, second)), told=lambda line: None)

    assert [fact.servers[0][1] for fact in facts] == [one.listener.port, other.listener.port]
    assert {path.name for path in site.downloads.iterdir()} == set(names)


# ---- datagrams ---------------------------------------------------------------------------------------


async def _exchange(port: int, *datagrams: bytes) -> bytes | None:
    """Send datagrams; the first answer, or None when there is none in 200 ms."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.connect((HOST, port))
        for data in datagrams:
            await loop.sock_sendall(udp, data)
        try:
            # The only way to see that nothing comes.
            return await asyncio.wait_for(loop.sock_recv(udp, 2048), 0.2)
        except TimeoutError:
            return None


def _long_header(version: int, size: int, first: int = 0xC3) -> bytes:
    head = bytes([first]) + version.to_bytes(4) + b"\x08" + b"destinat" + b"\x08" + b"sourceid"
    return head + bytes(size - len(head))


@pytest.mark.parametrize("size", [1207, 60])
async def test_an_unknown_version_is_negotiated(running: Running, size: int) -> None:
    """The runner's simulator waits for this answer before it starts a client."""
    answer = await _exchange(running.listener.port, _long_header(0x57414954, size))

    assert answer is not None
    header = pull_quic_header(Buffer(data=answer))
    assert header.packet_type is QuicPacketType.VERSION_NEGOTIATION
    assert (header.destination_cid, header.source_cid) == (b"sourceid", b"destinat")
    assert header.supported_versions == [1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xc0",
        os.urandom(1200),
        _long_header(0, 1200),
        _long_header(1, 1200),
        _long_header(1, 100),
        b"\x40" + bytes(50),
    ],
    ids=[
        "empty",
        "a byte",
        "a head",
        "random",
        "negotiation",
        "no Initial",
        "a short Initial",
        "short header",
    ],
)
async def test_garbage_is_dropped(running: Running, data: bytes) -> None:
    """It gets no answer, and the server serves on."""
    answered = await _exchange(running.listener.port, data)

    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /file\r\n", end=True)
        assert await client.answer(0) == (content("file", 5 * KB), None)
    if data[:1] != b"\xc3":
        assert (
            answered is None
            or pull_quic_header(Buffer(data=answered)).packet_type is not QuicPacketType.INITIAL
        )


async def test_a_token_that_is_not_ours_is_answered_with_retry(site: Site) -> None:
    """As if the client had sent none (RFC 9000 section 8.1.3)."""
    quic = QuicConnection(
        configuration=QuicConfiguration(alpn_protocols=["hq-interop"], token=b"not ours at all")
    )
    quic.connect((HOST, 1), now=0.0)
    ((initial, _),) = quic.datagrams_to_send(now=0.0)
    with closing(Running(site.server(CASES["retry"]))) as running:
        answer = await _exchange(running.listener.port, initial)

    assert answer is not None
    assert pull_quic_header(Buffer(data=answer)).packet_type is QuicPacketType.RETRY


async def test_connections_are_forgotten(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has closed leaves nothing behind once its connection has drained."""
    async with raw_client(running.listener.port) as client:
        client.send(0, b"GET /file\r\n", end=True)
        await client.answer(0)
        assert running.listener._connections
        forget, forgotten = running.listener.forget, asyncio.Event()

        def tell(connection: ServedConnection) -> None:
            forget(connection)
            forgotten.set()

        monkeypatch.setattr(running.listener, "forget", tell)

    await asyncio.wait_for(forgotten.wait(), 5)

    assert running.listener._connections == {}


async def test_a_fault_of_ours_ends_one_connection_alone(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is told so (INTERNAL_ERROR), and the server serves on."""

    def broken(path: str) -> None:
        raise RuntimeError("not foreseen")

    async with raw_client(running.listener.port) as other, raw_client(running.listener.port) as client:
        with monkeypatch.context() as patch:
            patch.setattr(running.listener.www, "find", broken)
            client.send(0, b"GET /file\r\n", end=True)
            await client.until(lambda: close_of(client.quic))
        close = close_of(client.quic)
        other.send(0, b"GET /file\r\n", end=True)
        assert await other.answer(0) == (content("file", 5 * KB), None)

    assert close is not None
    assert (close.code, close.reason, close.by_peer) == (1, "RuntimeError", True)


def test_tickets_are_taken_once() -> None:
    """What is replayed finds no session; the oldest of very many are forgotten."""
    store = TicketStore()
    for number in range(1001):
        store.add(SimpleNamespace(ticket=bytes([number // 256, number % 256])))  # type: ignore[arg-type]

    assert store.take(b"\x00\x00") is None
    assert store.take(b"\x00\x01") is not None
    assert store.take(b"\x00\x01") is None


async def test_ports_that_cannot_be_had(site: Site) -> None:
    """The sentence names the port."""
    settings = site.server(CASES["handshake"])
    with closing(Running(settings)) as running, pytest.raises(InteropError) as raised:
        Running(replace(settings, port=running.listener.port))

    assert str(raised.value) == (
        f"{HOST}, UDP port {running.listener.port}, cannot be listened on: Address already in use"
    )
