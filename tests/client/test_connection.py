"""The QUIC connection beneath a session: what is asked of it, what can be done to it, what is known of it."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent

from pytest_moqt.client.aioquic_internals import QuicClose
from pytest_moqt.client.connection import (
    VERSION_1,
    VERSION_2,
    Connection,
    Loss,
    LossyLink,
    QuicFacts,
    QuicOptions,
)
from pytest_moqt.client.driver import UdpDriver
from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.session import ClientSession, connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol.messages import PublishNamespace, RequestError, RequestOk, Subscribe
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.relay import limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.embedded import EmbeddedRelay
from pytest_moqt.relay.features import Features
from pytest_moqt.relay.session import Session

DEADLINE = 5.0
SHORT = 0.3
"For what is known not to come."


@asynccontextmanager
async def session_with(
    options: QuicOptions | None,
    relay: EmbeddedRelay,
    transport: str = "quic",
    watched: list[Connection] | None = None,
) -> AsyncIterator[ClientSession]:
    """A session with a relay."""
    session = await connect(
        parse_relay_url(relay.url(transport)),
        offer=(18,),
        tls=TlsOptions(ca_data=relay.certificate),
        timeout=DEADLINE,
        quic=options,
        watch=None if watched is None else watched.append,
    )
    try:
        yield session
    finally:
        await session.close()


async def test_what_nobody_asked_for_is_not_kept() -> None:
    """A session of any other case has no log."""
    with EmbeddedRelay() as relay:
        async with session_with(None, relay) as session:
            with pytest.raises(RuntimeError, match="dial with quic=QuicOptions"):
                _ = session.connection


@pytest.mark.parametrize("transport", ["quic", "webtransport"])
async def test_the_facts_of_a_plain_connection(transport: str) -> None:
    """While it stands, and unchanged when it is over."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(), relay, transport) as session:
            assert await session.connection.wait_confirmed(DEADLINE)
            standing = session.connection.facts
        over = session.connection.facts

    expected = QuicFacts(
        version="1",
        cipher="AES_256_GCM_SHA384",
        confirmed=True,
        resumed=False,
        active_migration=True,
        spare_connection_ids=7,
        max_datagram_frame=65535,
        handshake_ms=standing.handshake_ms,
    )
    assert standing == expected
    assert standing.handshake_ms is not None
    assert over == expected


async def test_the_relay_may_open_few_streams() -> None:
    """As many as a case says, of each kind, from the first packet on."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(peer_streams=8), relay) as session:
            for limit in (
                session.connection.quic._local_max_streams_uni,
                session.connection.quic._local_max_streams_bidi,
            ):
                assert (limit.value, limit.sent) == (8, 8)


async def test_the_facts_of_a_connection_that_never_came_about() -> None:
    """They are told before the first packet, and have what ended it."""
    watched: list[Connection] = []
    with EmbeddedRelay(features=Features(chacha20=False)) as relay, pytest.raises(ConnectError) as failed:
        async with session_with(QuicOptions(ciphers=("CHACHA20_POLY1305_SHA256",)), relay, watched=watched):
            pass

    (connection,) = watched
    assert failed.value.code == 0x128
    assert connection.facts.cipher is None
    assert connection.facts.resumed is None
    assert connection.facts.quic_error is not None
    assert connection.facts.quic_error.startswith("0x128 TLS alert 40 handshake_failure")


async def test_the_first_packet_and_the_connection_differ_in_version() -> None:
    """A client that begins in 1 and wants 2 gets it; one that speaks only 2 begins in it."""
    with EmbeddedRelay() as relay:
        for options in (
            QuicOptions(versions=(VERSION_2, VERSION_1), first_version=VERSION_1),
            QuicOptions(versions=(VERSION_2,)),
        ):
            async with session_with(options, relay) as session:
                assert session.connection.facts.version == "2"


async def test_windows_are_what_was_asked_for() -> None:
    """They are what the relay is told at first."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(max_data=4000, max_stream_data=3000), relay) as session:
            configuration = session.connection.quic.configuration

    assert (configuration.max_data, configuration.max_stream_data) == (4000, 3000)


@pytest.mark.parametrize("withheld", [False, True])
@pytest.mark.parametrize("transport", ["quic", "webtransport"])
async def test_credit_that_is_withheld_stays_withheld(transport: str, withheld: bool) -> None:
    """As the relay uses up what it may send it gets more, unless that is withheld; the connection goes on."""
    window = 2048
    options = QuicOptions(max_data=window, max_stream_data=window)
    with EmbeddedRelay() as relay:
        async with session_with(options, relay, transport) as session:
            if withheld:
                session.connection.withhold_credit()
            before = session.connection.facts.limits_raised
            for number in range(40):
                await session.open(Subscribe((b"nobody",), b"%d" % number))

            assert await session.connection.ping(DEADLINE)
            # What answers the requests needs a packet more than what acknowledges them.
            assert await session.connection.ping(DEADLINE)
            assert (session.connection.facts.limits_raised == before) == withheld


@pytest.mark.parametrize("transport", ["quic", "webtransport"])
async def test_credit_is_released_by_the_byte(transport: str) -> None:
    """The relay sends what it is allowed to, each time, and the rest when nothing is withheld any more."""
    window, step = 1024, 300
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(max_data=window), relay, transport) as session:
            connection = session.connection
            connection.withhold_credit()
            asked = [await session.open(Subscribe((b"nobody",), b"%d" % number)) for number in range(100)]

            assert await connection.wait_credit_used(DEADLINE)
            before = connection.facts.limits_raised
            for _ in range(3):
                connection.release_credit(step)
                assert connection.quic.credit_left == step
                assert await connection.wait_credit_used(DEADLINE)
            assert connection.facts.limits_raised == before + 3
            connection.grant_credit()

            for request in asked:
                assert isinstance(await session.answer(request), RequestError)


async def test_a_wait_ends_with_what_is_awaited_or_with_its_time() -> None:
    """A ticket comes; of a relay that gives none it is told that none came."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(keep_tickets=True), relay) as session:
            assert await session.connection.wait_ticket(DEADLINE) is not None
    with EmbeddedRelay(features=Features(resumption=False)) as relay:
        async with session_with(QuicOptions(keep_tickets=True), relay) as session:
            assert await session.connection.wait_ticket(SHORT) is None


async def test_setup_goes_early_and_once() -> None:
    """In 0-RTT packets where the ticket allows that, and the session is the same as ever."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(keep_tickets=True), relay) as session:
            ticket = await session.connection.wait_ticket(DEADLINE)
        assert ticket is not None
        async with session_with(QuicOptions(ticket=ticket, early_setup=True), relay) as session:
            await session.request(PublishNamespace((b"early",)), expect=RequestOk)
            facts = session.connection.facts
            lines = session.journal.lines(5)

    assert (facts.resumed, facts.early_data) == (True, "accepted")
    assert facts.early_octets > 0
    assert "not connected yet" in lines[0]
    assert "SETUP" in lines[1]


async def test_keys_are_new_on_both_sides_after_an_update() -> None:
    """The phase flips, and what comes then can be read."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(), relay) as session:
            connection = session.connection
            assert await connection.wait_confirmed(DEADLINE)
            assert await connection.ping(DEADLINE)

            phases = []
            for _ in range(3):
                connection.update_key()
                assert await connection.ping(DEADLINE)
                phases.append(connection.facts.key_phase)

            assert phases == [1, 0, 1]
            assert connection.facts.key_updates == 3


async def test_a_new_port_is_another_one_and_the_old_is_closed() -> None:
    """What still came to the old one would be taken for an answer on the new path."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(), relay) as session:
            driver = session._transport.driver
            old = driver._socket
            assert old is not None
            before = old.get_extra_info("sockname")[1]

            await session.connection.change_port()

            assert driver._socket is not old
            assert driver._socket is not None
            assert driver._socket.get_extra_info("sockname")[1] != before
            assert old.is_closing()
            assert await session.connection.ping(DEADLINE)
            assert session.connection.facts.path_challenges == 1
        assert driver._socket.is_closing()
        assert driver._sockets == 0


async def test_a_new_id_is_one_of_those_that_were_given() -> None:
    """There is one less to spare, until the relay gives another."""
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(), relay) as session:
            assert await session.connection.ping(DEADLINE)
            before = session.connection.facts.spare_connection_ids

            session.connection.change_connection_id()

            assert session.connection.facts.spare_connection_ids == before - 1
            assert await session.connection.ping(DEADLINE)


# ---- a link that loses -----------------------------------------------------------------------------


def test_a_link_loses_its_share_and_never_more_in_a_row() -> None:
    """The same places for the same seed, each direction for itself."""
    loss = Loss(seed=7, share=0.4, burst=3)
    link, same = LossyLink(loss), LossyLink(loss)

    sent = [link.loses(sent=True) for _ in range(3000)]
    received = [link.loses(sent=False) for _ in range(3000)]

    assert sent == [same.loses(sent=True) for _ in range(3000)]
    assert sent != received
    for lost in (sent, received):
        assert 0.35 < sum(lost) / len(lost) < 0.4
        longest = max(map(len, "".join("x" if gone else " " for gone in lost).split()))
        assert longest == 3


async def test_a_session_comes_about_over_a_link_that_loses() -> None:
    """QUIC sends again what was lost."""
    seed = random.Random(1).randrange(1000)
    with EmbeddedRelay() as relay:
        async with session_with(QuicOptions(loss=Loss(seed, share=0.3, burst=2)), relay) as session:
            async with asyncio.timeout(DEADLINE):
                await session.request(PublishNamespace((b"lossy",)), expect=RequestOk)

            assert session.connection.facts.confirmed


async def test_the_last_word_of_a_relay_that_is_gone_is_read_before_its_closed_port() -> None:
    """The system tells that nobody listens any more before the datagrams that came ahead of that."""
    with EmbeddedRelay() as relay:
        async with session_with(None, relay) as session:
            # Our event loop stands still: its CONNECTION_CLOSE waits in our socket, ICMP's answer behind it.
            relay.stop()
            driver = session._transport._driver
            assert driver._socket is not None
            driver._socket.sendto(b"\x00")

            closed = await asyncio.wait_for(session.wait_closed(), DEADLINE)

    assert (closed.by_peer, closed.code) == (True, 0)


class _Told:
    """Counts what a driver tells (a `driver.Handler`)."""

    def __init__(self) -> None:
        self.batches = 0
        self.driver: UdpDriver | None = None
        "To be stopped by the first."

    def quic_event(self, event: QuicEvent) -> None: ...

    def batch_ended(self) -> None:
        self.batches += 1
        if self.driver is not None:
            self.driver.stop()

    def quic_closed(self, close: QuicClose) -> None:
        raise AssertionError(close)

    def path_failed(self, error: OSError) -> None:
        raise error

    def failed(self, error: Exception) -> None:
        raise error


@pytest.mark.parametrize(("stops", "told"), [(False, 5), (True, 1)])
async def test_datagrams_that_wait_are_read_in_one_turn(stops: bool, told: int) -> None:
    """One by one all the same, and none once the connection is given up."""
    handler = _Told()
    turns: list[int] = []

    class Driver(UdpDriver):
        def datagram_received(self, data: bytes, addr: object) -> None:
            super().datagram_received(data, addr)
            turns.append(self.datagrams_received)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        quic = QuicConnection(configuration=QuicConfiguration(is_client=True))
        driver = Driver(quic, handler, peer.getsockname())
        endpoint, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: driver, remote_addr=peer.getsockname()
        )
        driver.connect()
        handler.driver = driver if stops else None
        for _ in range(5):
            # Of no connection: aioquic drops it.
            peer.sendto(b"\x40" + bytes(30), endpoint.get_extra_info("sockname"))
        async with asyncio.timeout(DEADLINE):
            while not turns:  # noqa: ASYNC110 - there is no event for a datagram that means nothing
                await asyncio.sleep(0.002)
        driver.stop()
        await driver.stopped()

    assert turns == [told]
    assert handler.batches == told


@pytest.mark.parametrize("transport", ["quic", "webtransport"])
async def test_a_session_that_rests_is_kept_beyond_the_idle_timeout(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """By PINGs, for as long as it was to rest; another that sends none is over by then."""
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.5)
    with EmbeddedRelay() as relay:
        async with session_with(None, relay, transport) as resting, session_with(None, relay) as idle:
            began = time.monotonic()

            await resting.rest(1.2)

            assert 1.2 <= time.monotonic() - began < DEADLINE
            await resting.settle()
            assert resting.closed is None
            assert idle.closed is not None
            assert idle.closed.reason == "idle timeout"


async def test_a_rest_is_over_when_the_relay_ends_the_session() -> None:
    """Which is no failure: what it means is the case's to say."""
    with EmbeddedRelay(behaviour=_Impatient()) as relay:
        async with session_with(None, relay) as session:
            async with asyncio.timeout(DEADLINE):
                await session.rest(60.0)

            assert session.closed is not None
            assert (session.closed.by_peer, session.closed.code) == (True, SessionError.NO_ERROR)


class _Impatient(Behaviour):
    def established(self, session: Session) -> None:
        session.call_later(0.1, session.close, SessionError.NO_ERROR, "it was silent")
