"""Each private name of aioquic that the relay relies on is there and means what it is taken for."""

from __future__ import annotations

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived, QuicEvent, StreamDataReceived

from pytest_moqt.relay import internals
from pytest_moqt.relay.certificates import self_signed

CLIENT, SERVER = ("192.0.2.1", 1000), ("192.0.2.2", 4443)


class Pair:
    """A client and a server connected by nothing but calls."""

    def __init__(self) -> None:
        identity = self_signed()
        self.now = 0.0
        self.client = QuicConnection(
            configuration=QuicConfiguration(
                alpn_protocols=["h3"], verify_mode=0, max_datagram_frame_size=65535
            )
        )
        self.server = QuicConnection(
            configuration=QuicConfiguration(
                is_client=False,
                alpn_protocols=["h3"],
                certificate=identity.certificate,
                private_key=identity.private_key,
                max_datagram_frame_size=65535,
            ),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self.client.connect(SERVER, now=self.now)
        self.exchange()

    def exchange(self) -> None:
        """Move datagrams until there are none."""
        for _ in range(20):
            self.now += 0.01
            for source, target, address in (
                (self.client, self.server, CLIENT),
                (self.server, self.client, SERVER),
            ):
                for data, _ in source.datagrams_to_send(now=self.now):
                    target.receive_datagram(data, address, now=self.now)

    def events(self, quic: QuicConnection) -> list[QuicEvent]:
        """What happened at one end."""
        events = []
        while (event := quic.next_event()) is not None:
            events.append(event)
        return events


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_close_of_the_client_is_known_when_it_is_parsed(pair: Pair) -> None:
    """Before aioquic's event, and by whom."""
    assert internals.ended(pair.server) is None

    pair.client.close(5, reason_phrase="enough")
    for data, _ in pair.client.datagrams_to_send(now=pair.now):
        pair.server.receive_datagram(data, CLIENT, now=pair.now)

    assert internals.ended(pair.server) == internals.Ended(5, "enough", by_peer=True, application=True)
    assert internals.is_ending(pair.server)


def test_a_close_of_ours_is_not_the_clients(pair: Pair) -> None:
    """Nor is an idle timeout."""
    pair.server.close(7, reason_phrase="bye")

    assert internals.ended(pair.server) == internals.Ended(7, "bye", by_peer=False, application=True)
    assert not internals.is_ending(pair.server)


def test_the_largest_datagram_leaves_and_a_longer_one_does_not(pair: Pair) -> None:
    """A datagram of that size arrives; one byte more would block all behind it."""
    size = internals.largest_datagram(pair.server)

    pair.server.send_datagram_frame(bytes(size))
    assert internals.pending_datagrams(pair.server) == 1
    pair.exchange()
    arrived = [event.data for event in pair.events(pair.client) if isinstance(event, DatagramFrameReceived)]
    pair.server.send_datagram_frame(bytes(size + 1))
    pair.exchange()

    assert arrived == [bytes(size)]
    assert internals.pending_datagrams(pair.server) == 1


def test_stream_credit_is_what_may_be_opened(pair: Pair) -> None:
    """It shrinks with every stream."""
    before = internals.stream_credit(pair.server, unidirectional=True)

    pair.server.send_stream_data(pair.server.get_next_available_stream_id(is_unidirectional=True), b"x")

    assert internals.stream_credit(pair.server, unidirectional=True) == before - 1
    assert internals.stream_credit(pair.server, unidirectional=False) == before


def test_an_id_is_taken_by_writing_nothing(pair: Pair) -> None:
    """`SessionTransport.open_stream` relies on it; nothing is sent for it."""
    first = pair.server.get_next_available_stream_id()

    pair.server.send_stream_data(first, b"")
    pair.exchange()

    assert pair.server.get_next_available_stream_id() == first + 4
    assert not any(isinstance(event, StreamDataReceived) for event in pair.events(pair.client))


def test_the_backlog_of_a_stream_is_what_was_not_acknowledged(pair: Pair) -> None:
    """It grows with writing and shrinks with acknowledgements."""
    stream_id = pair.server.get_next_available_stream_id(is_unidirectional=True)
    assert internals.unacknowledged(pair.server, stream_id) == 0

    pair.server.send_stream_data(stream_id, bytes(500))
    written = internals.unacknowledged(pair.server, stream_id)
    pair.exchange()

    assert (written, internals.unacknowledged(pair.server, stream_id)) == (500, 0)


def test_a_stream_takes_bytes_until_it_is_finished_reset_or_stopped(pair: Pair) -> None:
    """Aioquic raises when asked to write afterwards."""
    finished, reset, stopped = (0, 4, 8)
    for stream_id in (finished, reset, stopped):
        pair.server.send_stream_data(stream_id + 1, b"x")
    pair.exchange()

    pair.server.send_stream_data(finished + 1, b"", end_stream=True)
    pair.server.reset_stream(reset + 1, 1)
    pair.client.stop_stream(stopped + 1, 1)
    before = internals.can_write(pair.server, stopped + 1)
    pair.exchange()

    assert before
    assert [internals.can_write(pair.server, each + 1) for each in (finished, reset, stopped, 400)] == [
        False
    ] * 4


def test_http3_announces_webtransport_in_all_drafts_words(pair: Pair) -> None:
    """Clients look for one or another of the settings."""
    http3 = internals.WebTransportServer(pair.server)

    assert http3.sent_settings is not None
    assert {0x2B603742, 0x2C7CF000, 0x14E9CD29, 0xC671706A} <= set(http3.sent_settings)


def test_what_http3_holds_back_is_counted(pair: Pair) -> None:
    """A frame that never becomes whole is kept by aioquic without a limit."""
    http3 = internals.WebTransportServer(pair.server)
    headers = encode_uint_var(0x1) + encode_uint_var(1_000_000)

    http3.handle_event(StreamDataReceived(headers + bytes(100), False, 0))

    assert http3.buffered(0) == 100
    assert http3.buffered(4) == 0
