"""Each private name of aioquic that the relay relies on is there and means what it is taken for."""

from __future__ import annotations

import itertools

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived, QuicEvent, StreamDataReceived

from pytest_moqt.relay import internals
from pytest_moqt.relay.certificates import self_signed
from pytest_moqt.relay.schedule import CONTROL, Rank, Share

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
        self.server = internals.ServerConnection(
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


# ---- the order of streams ------------------------------------------------------------------------


class Ranked(Pair):
    """The same, whose server sends a packet at a time."""

    def open(self, rank: Rank | None, size: int) -> int:
        """A stream of the server's with so many bytes to send."""
        server = self.server
        stream_id = server.get_next_available_stream_id(is_unidirectional=True)
        server.send_stream_data(stream_id, bytes(size), end_stream=True)
        if rank is not None:
            server.rank(stream_id, rank)
        return stream_id

    def arrivals(self) -> list[int]:
        """The streams that the client was sent parts of, packet by packet."""
        self.events(self.client)
        self.exchange()
        came = [
            event.stream_id for event in self.events(self.client) if isinstance(event, StreamDataReceived)
        ]
        return [stream_id for stream_id, _ in itertools.groupby(came)]


LONG = 5000
"Bytes that several packets are needed for."


@pytest.fixture
def ranked() -> Ranked:
    return Ranked()


def test_streams_are_sent_by_their_ranks_to_the_end(ranked: Ranked) -> None:
    """Whatever the order in which they were opened, and however many packets each one takes."""
    first, second = Share(10), Share(200, descending=True)
    later = [ranked.open(Rank(second, 5, group), LONG) for group in (0, 1)]
    lowest = ranked.open(Rank(first, 9, 0, 0), LONG)
    fourth, third = (ranked.open(Rank(first, 5, 7, subgroup), LONG) for subgroup in (4, 3))
    sooner = ranked.open(Rank(first, 5, 6, 8), LONG)

    assert ranked.arrivals() == [sooner, third, fourth, lowest, later[1], later[0]]


def test_requests_alike_take_turns(ranked: Ranked) -> None:
    """None of them waits for the end of another, whatever the numbers of their groups."""
    one, other = Share(), Share()
    streams = [ranked.open(Rank(one, group=0), LONG), ranked.open(Rank(other, group=9), LONG)]

    arrivals = ranked.arrivals()

    assert set(arrivals) == set(streams)
    assert len(arrivals) >= 6


def test_a_priority_that_changes_counts_for_what_waits(ranked: Ranked) -> None:
    """The client's window is closed meanwhile."""
    one, other = Share(10), Share(20)
    window = ranked.server._remote_max_data
    ranked.server._remote_max_data = 0
    streams = [ranked.open(Rank(one), LONG), ranked.open(Rank(other), LONG)]
    assert ranked.arrivals() == []

    one.priority = 30
    ranked.server._remote_max_data = window

    assert ranked.arrivals() == streams[::-1]


def test_control_streams_go_first(ranked: Ranked) -> None:
    """Then those of requests, which have no rank, and then all objects."""
    urgent = ranked.open(Rank(Share(0), 0), LONG)
    ranked.client.send_stream_data(0, b"x")
    ranked.exchange()
    ranked.server._remote_max_data = 0
    ranked.open(Rank(Share(0), 0), 100)
    ranked.server.send_stream_data(0, bytes(LONG))
    control = ranked.open(Rank(Share(CONTROL)), LONG)
    ranked.arrivals()
    ranked.server._remote_max_data = 100_000

    assert ranked.arrivals() == [control, 0, urgent + 4]


def test_ranks_of_streams_that_are_over_are_forgotten(ranked: Ranked) -> None:
    """A connection that lives long has many."""
    for _ in range(50):
        ranked.open(Rank(Share()), 10)
        ranked.exchange()

    assert len(ranked.server._ranks) < 10
