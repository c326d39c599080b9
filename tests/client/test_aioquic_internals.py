"""Each private name of aioquic that the client relies on is there and means what it is taken for."""

from __future__ import annotations

import asyncio

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from quic_servers import Certificates, Owner, Peer, WebTransportPeer, connected, serve, turns

from pytest_moqt.client import aioquic_internals as internals
from pytest_moqt.client.webtransport import WebTransport

SERVER = ("192.0.2.1", 4443)


def client(**options: object) -> QuicConnection:
    """A client that has sent its first flight to nobody."""
    configuration = QuicConfiguration(alpn_protocols=["moqt-18"], **options)  # type: ignore[arg-type]
    return QuicConnection(configuration=configuration)


def test_an_idle_timeout_is_told_from_a_close() -> None:
    """`_close_event` and `_state` say at once that nobody closed the connection."""
    quic = client(idle_timeout=1.0)
    quic.connect(SERVER, now=0.0)
    assert internals.close_of(quic) is None

    quic.handle_timer(now=100.0)

    close = internals.close_of(quic)
    assert close is not None
    assert (close.idle, close.by_peer) == (True, False)


async def test_the_idle_time_is_the_shorter_of_both_sides(certificates: Certificates) -> None:
    """Ours while nothing is known of the server's."""
    assert internals.idle_seconds(client(idle_timeout=20.0)) == 20.0
    async with (
        serve(certificates.good, idle_timeout=6.0) as server,
        connected(f"moqt://localhost:{server.port}", Owner(), certificates) as transport,
    ):
        assert internals.idle_seconds(transport._quic) == 6.0
        assert transport.keep_alive_seconds == 2.0


def test_our_own_close_is_not_the_peers() -> None:
    """A local close has an event before it is sent, and the connection is closing once it is."""
    quic = client()
    quic.connect(SERVER, now=0.0)

    quic.close(7, reason_phrase="enough")

    assert internals.close_of(quic) == internals.QuicClose(7, None, "enough", by_peer=False, idle=False)
    assert not internals.is_closing(quic)
    quic.datagrams_to_send(now=0.0)
    assert internals.is_closing(quic)


async def test_a_stateless_reset_is_known_by_its_token(certificates: Certificates) -> None:
    """The token is the one that the server gave with its connection id; none is known before."""
    owner = Owner()
    assert not internals.is_stateless_reset(client(), bytes(60))
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        token = server.peer._quic._host_cids[0].stateless_reset_token

        assert internals.is_stateless_reset(transport._quic, bytes(5) + token)
        assert not internals.is_stateless_reset(transport._quic, bytes(4) + token)
        assert not internals.is_stateless_reset(transport._quic, bytes(5) + token[:-1] + b"?")


async def test_the_peers_close_is_known_before_its_event(certificates: Certificates) -> None:
    """A CONNECTION_CLOSE is seen when it is parsed, not after the draining period."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        server.peer.close_quic(9, "bye")
        await asyncio.wait_for(transport.wait_closed(), 1)

        close = internals.close_of(transport._quic)
        assert close == internals.QuicClose(9, None, "bye", by_peer=True, idle=False)
        assert transport._quic.next_event() is None


async def test_limits_the_peer_set_are_read(certificates: Certificates) -> None:
    """Datagram size and stream credit come from the peer's transport parameters."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        quic = transport._quic

        assert internals.largest_datagram(quic) == 1200 - 30
        assert internals.stream_credit(quic, unidirectional=True) == 128
        transport.open_stream(unidirectional=True)
        assert internals.stream_credit(quic, unidirectional=True) == 127
        assert internals.stream_credit(quic, unidirectional=False) == 128
        assert internals.quic_version(quic) == 1


async def test_a_peer_without_datagrams_takes_none(certificates: Certificates) -> None:
    """Without max_datagram_frame_size from the peer not even an empty datagram may be sent."""
    owner = Owner()
    async with (
        serve(certificates.good, max_datagram_frame_size=None) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        assert internals.largest_datagram(transport._quic) == 0
        assert internals.datagram_limit(transport._quic) == 0


async def test_a_peers_small_datagram_limit_is_kept(certificates: Certificates) -> None:
    """The peer's limit counts type and length of the frame."""
    owner = Owner()
    async with (
        serve(certificates.good, max_datagram_frame_size=100) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        assert internals.largest_datagram(transport._quic) == 97
        assert internals.datagram_limit(transport._quic) == 100


async def test_what_is_unsent_and_unacknowledged_is_counted(certificates: Certificates) -> None:
    """Bytes wait in the sender until they are acknowledged, and `has_unsent` until they are sent."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        quic = transport._quic
        stream_id = transport.open_stream(unidirectional=True)
        assert not internals.has_unsent(quic)

        transport.send(stream_id, b"0123456789")

        assert internals.has_unsent(quic)
        assert internals.unacknowledged(quic, stream_id) == 10
        assert await transport.ping(1.0)
        assert not internals.has_unsent(quic)
        assert internals.unacknowledged(quic, stream_id) == 0
        assert internals.unacknowledged(quic, 4444) == 0


def test_the_pacer_is_read() -> None:
    """`_pacing_at` is None while nothing is held back."""
    quic = client()
    quic.connect(SERVER, now=0.0)
    quic.datagrams_to_send(now=0.0)

    assert internals.paced_until(quic) is None


async def test_more_peer_streams_can_be_allowed(certificates: Certificates) -> None:
    """The limit announced to the peer is the one asked for."""
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates, peer_streams=300),
    ):
        assert server.peer._quic._remote_max_streams_uni == 300
        assert server.peer._quic._remote_max_streams_bidi == 300


async def test_what_tls_and_the_handshake_came_to_is_read(certificates: Certificates) -> None:
    """The cipher suite, HANDSHAKE_DONE, the key phase and the ids to spare; nothing of it before."""
    before = client()
    assert internals.cipher_suite(before) is None
    assert not internals.is_confirmed(before)
    assert internals.key_phase(before) == 0
    owner = Owner()
    async with (
        serve(certificates.good) as server,
        connected(f"moqt://localhost:{server.port}", owner, certificates) as transport,
    ):
        quic = transport._quic
        assert await transport.ping(1.0)

        assert internals.cipher_suite(quic) == "AES_256_GCM_SHA384"
        assert internals.is_confirmed(quic)
        assert internals.spare_connection_ids(quic) == 7
        quic.request_key_update()
        assert await transport.ping(1.0)
        assert internals.key_phase(quic) == 1
    assert internals.key_phase(quic) == 1


async def test_http3_announces_all_generations_of_webtransport(certificates: Certificates) -> None:
    """A relay of any WebTransport draft finds the setting it looks for."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=["h3"]) as server,
        connected(f"https://localhost:{server.port}", owner, certificates) as transport,
    ):
        http = server.webtransport.http
        assert http is not None
        settings = http.received_settings
        assert settings is not None
        for setting in (0x8, 0x33, 0x2B603742, 0x2C7CF000, 0x14E9CD29, 0xC671706A):
            assert settings[setting] == 1
        assert isinstance(transport, WebTransport)
        assert transport._http3 is not None
        assert internals.http3_buffered(transport._http3, 0) == 0


async def test_http3_buffering_is_seen(certificates: Certificates) -> None:
    """What HTTP/3 keeps of an incomplete frame can be counted."""
    owner = Owner()
    async with (
        serve(certificates.good, WebTransportPeer, alpn=["h3"]) as server,
        connected(f"https://localhost:{server.port}", owner, certificates) as transport,
    ):
        # A HEADERS frame (0x1) of 8000 bytes, of which 100 come.
        server.peer.send(0, bytes.fromhex("015f40") + bytes(100))
        await transport.ping(1.0)
        await turns()

        assert isinstance(transport, WebTransport)
        assert transport._http3 is not None
        assert internals.http3_buffered(transport._http3, 0) == 100


def test_the_servers_tests_stand_on_the_same_name() -> None:
    """The server of these tests notices a close by the same private name."""
    assert "_close_event" in vars(client())
    assert issubclass(WebTransportPeer, Peer)
