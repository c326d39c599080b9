"""What of QUIC the relay offers and does not, and how it is wrong in one way: the private names are there."""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
from pathlib import Path

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicHeader, QuicPacketType, pull_quic_header
from aioquic.tls import CipherSuite, SessionTicket

from pytest_moqt.client.connection import QuicFacts, QuicOptions
from pytest_moqt.client.session import connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.relay import broken_quic, limits
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.embedded import EmbeddedRelay
from pytest_moqt.relay.features import Features
from pytest_moqt.relay.internals import ServerConnection
from pytest_moqt.relay.retry import AddressValidation, Origin
from pytest_moqt.relay.tickets import TicketStore

CLIENT = ("127.0.0.1", 4000)
DEADLINE = 5.0

BROKEN = [
    broken
    for _, broken in inspect.getmembers(broken_quic, inspect.isclass)
    if issubclass(broken, (ServerConnection, CryptoPair)) and broken.__module__ == broken_quic.__name__
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_what_a_broken_server_replaces_is_there(broken: type) -> None:
    """A method of aioquic's that is called otherwise now would leave a server that is right."""
    replaced = [name for name in vars(broken) if inspect.isfunction(vars(broken)[name])]

    assert replaced
    for name in replaced:
        assert any(hasattr(base, name) for base in broken.__mro__[1:]), name


def test_the_private_values_that_broken_servers_change_are_there() -> None:
    """Those that are read or set, and not replaced."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["moqt-18"])
    quic = QuicConnection(configuration=configuration)
    quic.connect(("127.0.0.1", 4443), now=0.0)

    for name in re.findall(r"self\.(_[a-z]\w+)\b(?!\()", Path(broken_quic.__file__).read_text()):
        assert hasattr(quic, name), name
    assert hasattr(quic.tls, "_cipher_suites")
    assert hasattr(quic.tls, "_max_early_data")
    assert hasattr(quic.tls, "_alpn_protocols")
    assert hasattr(quic.tls, "_server_handle_hello")
    assert hasattr(quic.tls, "new_session_ticket_cb")


# ---- Retry -----------------------------------------------------------------------------------------


def first_packet(token: bytes = b"", destination: bytes = b"12345678") -> QuicHeader:
    """The header of a client's first packet."""
    return QuicHeader(
        version=1,
        packet_type=QuicPacketType.INITIAL,
        packet_length=1200,
        destination_cid=destination,
        source_cid=b"client",
        token=token,
        integrity_tag=b"",
        supported_versions=[],
    )


def read_retry(answer: Origin | bytes) -> QuicHeader:
    """The Retry packet that a first packet was answered with."""
    assert isinstance(answer, bytes)
    return pull_quic_header(Buffer(data=answer))


def test_a_token_proves_an_address_and_names_the_first_packet() -> None:
    """The Retry's connection id and token lead back to where the connection began."""
    validation = AddressValidation(Behaviour())
    retry = read_retry(validation.examine(first_packet(), CLIENT, now=1.0))

    origin = validation.examine(first_packet(retry.token, retry.source_cid), CLIENT, now=2.0)

    assert retry.packet_type is QuicPacketType.RETRY
    assert retry.destination_cid == b"client"
    assert origin == Origin(b"12345678", retry.source_cid)


@pytest.mark.parametrize(
    ("address", "now", "token"),
    [
        (("127.0.0.1", 4001), 2.0, None),
        (CLIENT, 100.0, None),
        (CLIENT, 2.0, b"garbage that nobody gave to anybody"),
        (CLIENT, 2.0, b"short"),
    ],
    ids=["other-port", "late", "garbage", "short"],
)
def test_a_token_that_proves_nothing_closes(
    address: tuple[str, int], now: float, token: bytes | None
) -> None:
    """With INVALID_TOKEN, which the client can read."""
    validation = AddressValidation(Behaviour())
    retry = read_retry(validation.examine(first_packet(), CLIENT, now=1.0))
    shown = retry.token if token is None else token

    answer = validation.examine(first_packet(shown, retry.source_cid), address, now=now)

    assert isinstance(answer, bytes)
    crypto = CryptoPair()
    crypto.setup_initial(cid=retry.source_cid, is_client=True, version=1)
    buf = Buffer(data=answer)
    header = pull_quic_header(buf)
    _, payload, _ = crypto.decrypt_packet(answer[: header.packet_length], buf.tell(), 0)
    assert header.destination_cid == b"client"
    assert payload.startswith(bytes([0x1C, 0x0B, 0x00, 0x00]))


# ---- tickets ---------------------------------------------------------------------------------------


def ticket(number: int) -> SessionTicket:
    """A ticket that a client would show as its number."""
    return SessionTicket(
        age_add=0,
        cipher_suite=CipherSuite.AES_128_GCM_SHA256,
        not_valid_after=None,  # type: ignore[arg-type]  # nobody asks
        not_valid_before=None,  # type: ignore[arg-type]
        resumption_secret=b"",
        server_name="localhost",
        ticket=str(number).encode(),
    )


def test_a_ticket_is_good_once() -> None:
    """Early data that is sent again finds none (RFC 8446 section 8.1)."""
    store = TicketStore(Behaviour())
    store.add(ticket(1))

    assert store.take(b"1") == ticket(1)
    assert store.take(b"1") is None
    assert store.take(b"2") is None


def test_tickets_are_kept_within_bounds() -> None:
    """The oldest is forgotten first."""
    store = TicketStore(Behaviour())
    for number in range(limits.TICKETS + 1):
        store.add(ticket(number))

    assert store.take(b"0") is None
    assert store.take(b"1") == ticket(1)


# ---- features --------------------------------------------------------------------------------------


async def met(features: Features, options: QuicOptions, defect: str | None = None) -> QuicFacts:
    """What a client sees of a relay."""
    with EmbeddedRelay(features=features, defect=defect) as relay:
        session = await connect(
            parse_relay_url(relay.url("quic")),
            offer=(18,),
            tls=TlsOptions(ca_data=relay.certificate),
            timeout=DEADLINE,
            quic=options,
        )
        await session.connection.wait_confirmed(DEADLINE)
        await session.settle()
        await session.close()
        return session.connection.facts


async def test_what_is_offered_is_seen_by_a_client() -> None:
    """Retry, tickets and migration; without them nothing of the kind."""
    keeping = QuicOptions(keep_tickets=True)

    with_all = await met(Features(retry=True), keeping)
    without = await met(Features(resumption=False, migration=False), keeping)

    assert (with_all.retry, with_all.tickets, with_all.active_migration) == (1, 1, True)
    assert (without.retry, without.tickets, without.active_migration) == (0, 0, False)


async def test_a_client_that_keeps_no_tickets_gets_none() -> None:
    """So that they cost nobody anything who does not want them."""
    facts = await met(Features(), QuicOptions())

    assert facts.tickets == 0


async def test_without_migration_packets_from_elsewhere_are_dropped() -> None:
    """And the connection goes on from the port that it was made from."""
    with EmbeddedRelay(features=Features(migration=False)) as relay:
        session = await connect(
            parse_relay_url(relay.url("quic")),
            offer=(18,),
            tls=TlsOptions(ca_data=relay.certificate),
            timeout=DEADLINE,
            quic=QuicOptions(),
        )
        assert await session.connection.ping(DEADLINE)

        await session.connection.change_port()

        assert not await session.connection.ping(0.5)
        await session.close()


async def test_a_version_that_nobody_speaks_is_answered_with_those_that_are() -> None:
    """One or two of them."""
    for features, versions in ((Features(), [1, 0x6B3343CF]), (Features(v2=False), [1])):
        with (
            EmbeddedRelay(features=features) as relay,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            packet = bytes.fromhex("c0 1a2a3a4a 08 0102030405060708 04 0a0b0c0d") + bytes(1200)
            await loop.sock_sendto(client, packet, ("127.0.0.1", relay.port))
            answer = await asyncio.wait_for(loop.sock_recv(client, 2000), DEADLINE)

        header = pull_quic_header(Buffer(data=answer))
        assert header.supported_versions == versions
        assert (header.destination_cid, header.source_cid) == (bytes.fromhex("0a0b0c0d"), bytes(range(1, 9)))
