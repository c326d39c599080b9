"""How fast objects come: ours against plain aioquic on the same bytes, and through the embedded relay.

Run by `run.py receiving`. A server of its own process sends one stream of objects to whoever opens a stream;
one client only counts bytes as aioquic hands them over, the other is a session as a case has it.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived

HOST, PORT = "127.0.0.1", 14444
DRAFT = 18
OBJECTS, OBJECT_BYTES = 512, 32 * 1024
SMALL, SMALL_BYTES = 40_000, 100
SECONDS = 120.0


def _stream() -> bytes:
    from pytest_moqt.protocol.drafts import draft
    from pytest_moqt.protocol.objects import StreamObject, SubgroupEncoder, SubgroupHeader

    encoder = SubgroupEncoder(SubgroupHeader(1, 0), draft(DRAFT))
    payload = bytes(OBJECT_BYTES)
    return encoder.header() + b"".join(
        encoder.object(StreamObject(number, payload)) for number in range(OBJECTS)
    )


def _setup() -> bytes:
    from pytest_moqt.protocol.drafts import draft
    from pytest_moqt.protocol.framing import encode
    from pytest_moqt.protocol.layouts import Sender
    from pytest_moqt.protocol.messages import Setup

    return encode(Setup(), draft(DRAFT), sender=Sender.SERVER).encode(draft(DRAFT))


class _Sender(QuicConnectionProtocol):
    """Sends SETUP, then the objects when the client has opened a stream."""

    stream = b""
    setup = b""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._sent = False

    def quic_event_received(self, event: QuicEvent) -> None:
        """Answer."""
        quic = self._quic
        if isinstance(event, HandshakeCompleted):
            quic.send_stream_data(quic.get_next_available_stream_id(is_unidirectional=True), self.setup)
        elif isinstance(event, StreamDataReceived) and not self._sent:
            self._sent = True
            number = quic.get_next_available_stream_id(is_unidirectional=True)
            quic.send_stream_data(number, self.stream, end_stream=True)


async def _serve() -> None:
    from pytest_moqt.relay.certificates import self_signed

    identity = self_signed()
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[f"moqt-{DRAFT}"])
    configuration.certificate = identity.certificate
    configuration.private_key = cast("Any", identity.private_key)
    _Sender.stream, _Sender.setup = _stream(), _setup()
    await serve(HOST, PORT, configuration=configuration, create_protocol=_Sender)
    print("ready", flush=True)
    await asyncio.Event().wait()


class _Counter(QuicConnectionProtocol):
    """Counts the bytes of the stream that ends."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.octets = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Count."""
        if isinstance(event, StreamDataReceived):
            self.octets += len(event.data)
            if event.end_stream and not self.done.done():
                self.done.set_result(None)


async def _plain() -> float:
    configuration = QuicConfiguration(alpn_protocols=[f"moqt-{DRAFT}"], verify_mode=ssl.CERT_NONE)
    async with connect(HOST, PORT, configuration=configuration, create_protocol=_Counter) as protocol:
        counter = cast("_Counter", protocol)
        before = time.perf_counter()
        number = counter._quic.get_next_available_stream_id(is_unidirectional=True)
        counter._quic.send_stream_data(number, b"\x00")
        counter.transmit()
        async with asyncio.timeout(SECONDS):
            await counter.done
        seconds = time.perf_counter() - before
    assert counter.octets > OBJECTS * OBJECT_BYTES, counter.octets
    return seconds


async def _ours() -> float:
    from pytest_moqt.client.session import connect as dial
    from pytest_moqt.client.tls import TlsOptions
    from pytest_moqt.client.url import parse_relay_url
    from pytest_moqt.protocol.events import DataStreamEnded

    # Our SETUP is the stream that the server waits for: the time counts from before dialling.
    before = time.perf_counter()
    session = await dial(
        parse_relay_url(f"moqt://{HOST}:{PORT}", "auto"),
        offer=(DRAFT,),
        tls=TlsOptions(verify=False),
        timeout=5.0,
    )
    count = 0
    async with asyncio.timeout(SECONDS):
        while not isinstance(await session.receive_object(), DataStreamEnded):
            count += 1
    seconds = time.perf_counter() - before
    await session.close()
    assert count == OBJECTS, count
    return seconds


@contextmanager
def _server() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("the server did not start")
        yield
    finally:
        process.terminate()
        process.wait()


def on_one_stream(runs: int) -> tuple[float, float]:
    """The best seconds for the same bytes: ours, and plain aioquic's, taking turns."""
    ours, plain = [], []
    with _server():
        for _ in range(runs):
            plain.append(asyncio.run(_plain()))
            ours.append(asyncio.run(_ours()))
    return min(ours), min(plain)


async def through_a_relay(url: str) -> float:
    """Objects a second from a publisher to a subscriber, each small, on one stream through a relay."""
    from pytest_moqt.client.session import connect as dial
    from pytest_moqt.client.tls import TlsOptions
    from pytest_moqt.client.url import parse_relay_url
    from pytest_moqt.protocol import messages as m
    from pytest_moqt.protocol.events import DataStreamEnded
    from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader

    endpoint, tls = parse_relay_url(url, "auto"), TlsOptions(verify=False)
    publisher = await dial(endpoint, offer=(DRAFT,), tls=tls, timeout=5.0)
    subscriber = await dial(endpoint, offer=(DRAFT,), tls=tls, timeout=5.0)
    await publisher.request(m.PublishNamespace((b"benchmark",)))
    subscription = await subscriber.open(m.Subscribe((b"benchmark",), b"track"))
    await publisher.reply(await publisher.receive(m.Subscribe), m.SubscribeOk(track_alias=1))
    await subscriber.expect(subscription, m.SubscribeOk)

    payload = bytes(SMALL_BYTES)
    before = time.perf_counter()
    stream = publisher.open_subgroup(SubgroupHeader(1, 0))

    async def publish() -> None:
        for number in range(SMALL):
            stream.write(StreamObject(number, payload), fin=number == SMALL - 1)
            if number % 200 == 0:
                await asyncio.sleep(0)

    count = 0
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        while not isinstance(await subscriber.receive_object(), DataStreamEnded):
            count += 1
    seconds = time.perf_counter() - before
    assert count == SMALL, count
    await publisher.close()
    await subscriber.close()
    return SMALL / seconds


if __name__ == "__main__":
    asyncio.run(_serve())
