"""Each private name of aioquic that the endpoint relies on is there and means what it is taken for."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from pairs import CASES, HOST, QUICK, Site, meet

import quic_interop
from pytest_moqt.client.aioquic_internals import is_confirmed, key_phase, unacknowledged
from quic_interop import aioquic_internals as internals
from quic_interop.connection import ClientConnection
from quic_interop.server import Running

SERVER = ("192.0.2.1", 443)
PACKAGE = Path(quic_interop.__file__).parent


def client(**options: object) -> QuicConnection:
    """A client that has sent its first flight to nobody."""
    quic = QuicConnection(configuration=QuicConfiguration(alpn_protocols=["hq-interop"], **options))  # type: ignore[arg-type]
    quic.connect(SERVER, now=0.0)
    return quic


def _private_names(path: Path) -> list[str]:
    """Attributes of others, and modules, that begin with one underscore."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id == "self"
        ):
            found.append(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found += [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    return [name for name in found if name.startswith("_") and not name.startswith("__")]


def test_private_names_are_in_one_module() -> None:
    """All of the package but the adapter uses public names of aioquic."""
    modules = sorted(PACKAGE.glob("*.py"))
    adapter = PACKAGE / "aioquic_internals.py"

    named = {path.name: _private_names(path) for path in modules if path != adapter}

    assert len(modules) > 15
    assert {name: found for name, found in named.items() if found} == {}
    assert _private_names(adapter)


def test_the_first_packet_of_a_datagram_is_read() -> None:
    """`aioquic._buffer` makes the buffer that `pull_quic_header` reads."""
    quic = client()
    ((datagram, _),) = quic.datagrams_to_send(now=0.0)

    header = internals.header_of(datagram, 8)

    assert (header.version, header.source_cid) == (1, quic.host_cid)
    with pytest.raises(ValueError):
        internals.header_of(b"\x00", 8)


def test_before_the_handshake() -> None:
    """What is not known yet is a value, no exception."""
    quic = client()

    assert internals.cipher_suite(quic) == 0
    assert not internals.retried(quic)


@contextmanager
def connection_to(running: Running) -> Iterator[ClientConnection]:
    """A client's connection to it, closed on leaving."""
    configuration = QuicConfiguration(alpn_protocols=["hq-interop"], verify_mode=0)
    address = (HOST, running.listener.port)
    connection = ClientConnection(configuration, socket.AF_INET, address, "server", patience=QUICK)
    with closing(connection):
        yield connection


async def test_what_a_connection_became(site: Site) -> None:
    """Cipher suite, Retry, confirmation, key phase and unacknowledged bytes of a real connection."""
    with (
        closing(Running(site.server(CASES["retry"]))) as running,
        connection_to(running) as connection,
    ):
        quic = connection._quic
        await connection.handshake()
        assert internals.cipher_suite(quic) == 0x1302
        assert internals.retried(quic)

        quic.send_stream_data(0, b"0123456789")
        assert unacknowledged(quic, 0) == 10
        assert unacknowledged(quic, 444) == 0
        connection.update_keys()
        await connection.keys_updated()

        assert is_confirmed(quic)
        assert key_phase(quic) == 1
        assert unacknowledged(quic, 0) == 0


async def test_a_preferred_address_is_a_transport_parameter(site: Site) -> None:
    """The client gets address, connection id and reset token, and the server routes that id."""
    with (
        closing(Running(site.server(CASES["connectionmigration"]))) as running,
        connection_to(running) as connection,
    ):
        await connection.handshake()
        await connection.moved()

        assert connection.facts.servers == (
            (HOST, running.listener.port),
            (HOST, running.listener.preferred_port),
        )
        assert connection._quic._peer_cid.sequence_number == 1
        assert connection._quic._peer_cid.cid in running.listener._connections
        assert len(connection._quic._peer_cid.stateless_reset_token) == 16


async def test_no_preferred_address_is_offered_elsewhere(site: Site) -> None:
    """A server of another case has no second port."""
    outcome = await meet(site, site.offer({"a": 10}), "transfer")

    assert [len(facts.servers) for facts in outcome.facts] == [1]
