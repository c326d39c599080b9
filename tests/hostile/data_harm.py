"""Harm done on data streams and in datagrams of tracks that nobody subscribed to."""

from __future__ import annotations

from collections.abc import Callable

from relays import (
    BOTH,
    EARLY,
    HUGE,
    LARGEST_CODE,
    UNKNOWN_TYPE,
    Deed,
    Step,
    about_session,
    endlessly,
    number,
    own_stream,
    subgroup,
    with_setup,
)

from pytest_moqt.protocol.objects import (
    FETCH_HEADER,
    PADDING_STREAM,
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.relay.session import Session


def _unasked(session: Session) -> None:
    own_stream(
        session,
        subgroup(session, [StreamObject(index, b"payload") for index in range(3)]),
        fin=True,
        unidirectional=True,
    )


def _unasked_half(session: Session) -> None:
    data = subgroup(session, [StreamObject(0, b"payload")])
    own_stream(session, data[:-1], fin=True, unidirectional=True)


def _unasked_datagram(session: Session) -> None:
    session.transport.send_datagram(encode_datagram(ObjectDatagram(99, 0, 0, payload=b"x"), session.draft))


def _unasked_fetch(session: Session) -> None:
    own_stream(session, number(session, FETCH_HEADER) + number(session, 998), fin=True, unidirectional=True)


def _never_finished(session: Session) -> None:
    for _ in range(50):
        own_stream(session, subgroup(session, [StreamObject(0, b"payload")])[:-1], unidirectional=True)


def _tiny_objects(count: int) -> Callable[[Session], None]:
    def act(session: Session) -> None:
        # Object id, length 1 and one byte: three bytes each.
        own_stream(session, subgroup(session, []) + b"\0\1x" * count, fin=True, unidirectional=True)

    return act


def _endless_object(session: Session) -> None:
    data = subgroup(session, []) + number(session, 0) + number(session, HUGE) + b"begin"
    own_stream(session, data, unidirectional=True)


def _endless_properties(session: Session) -> None:
    encoder = SubgroupEncoder(SubgroupHeader(99, 0, has_properties=True), session.draft)
    data = encoder.header() + number(session, 0) + number(session, HUGE) + b"begin"
    own_stream(session, data, unidirectional=True)


def _long_properties(session: Session) -> None:
    encoder = SubgroupEncoder(SubgroupHeader(99, 0, has_properties=True), session.draft)
    data = encoder.header() + number(session, 0) + number(session, 12 << 20)
    stream_id = own_stream(session, data, unidirectional=True)
    endlessly(session, lambda: session.write(stream_id, b"\0" * 16000))


def _unknown_stream(session: Session) -> None:
    own_stream(session, number(session, UNKNOWN_TYPE + 0x10000) + b"who knows", unidirectional=True)


def _typeless_stream(session: Session) -> None:
    own_stream(session, b"", fin=True, unidirectional=True)


def _reset_at_once(session: Session) -> None:
    stream_id = session.transport.open_stream(unidirectional=True)
    session.transport.reset(stream_id, LARGEST_CODE[session.transport.name])


def _padding(session: Session) -> None:
    stream_id = own_stream(session, number(session, PADDING_STREAM), unidirectional=True)
    endlessly(session, lambda: session.write(stream_id, b"\0" * 4000))


def _many_streams(session: Session) -> None:
    """Ten thousand streams, as fast as the client lets them be opened."""
    data = subgroup(session, [StreamObject(0, b"x")])
    opened = 0

    def more() -> None:
        nonlocal opened
        while opened < 10_000 and session.transport.stream_credit(unidirectional=True) > 0:
            own_stream(session, data, fin=True, unidirectional=True)
            opened += 1
        if opened < 10_000 and not session.closed:
            session.call_later(0.002, more)

    more()


_UNASKED = "subgroup-header: an unknown Track Alias MAY be abandoned or buffered, and is no breach"
_ENDS_INSIDE = "message-object: a FIN in the middle of an object is a PROTOCOL_VIOLATION"

DATA = (
    Deed("data-nobody-asked-for", Step.ESTABLISHED, _unasked, None, _UNASKED, BOTH),
    Deed("data-before-setup", Step.SETUP, with_setup(_unasked, late=True), None, EARLY),
    Deed("data-that-ends-inside-an-object", Step.ESTABLISHED, _unasked_half, "data", _ENDS_INSIDE, BOTH),
    Deed("datagram-nobody-asked-for", Step.ESTABLISHED, _unasked_datagram, None, "object-datagram", BOTH),
    Deed("fetch-stream-nobody-asked-for", Step.ESTABLISHED, _unasked_fetch, None, "fetch-header", BOTH),
    Deed("streams-never-finished", Step.ESTABLISHED, _never_finished, None, _UNASKED, BOTH),
    Deed("5000-tiny-objects", Step.ESTABLISHED, _tiny_objects(5_000), None, _UNASKED, BOTH),
    Deed(
        "million-tiny-objects-for-an-answer",
        Step.REQUESTED,
        about_session(_tiny_objects(1_000_000)),
        "timeout",
        _UNASKED,
        BOTH,
    ),
    Deed("object-of-endless-length", Step.ESTABLISHED, _endless_object, None, _UNASKED, BOTH),
    Deed("properties-of-endless-length", Step.ESTABLISHED, _endless_properties, None, _UNASKED, BOTH),
    Deed("properties-of-12-megabytes", Step.ESTABLISHED, _long_properties, None, _UNASKED),
    Deed(
        "stream-of-an-unknown-type",
        Step.ESTABLISHED,
        _unknown_stream,
        "data",
        "stream-types: an unknown stream type closes the session",
        BOTH,
    ),
    Deed(
        "stream-without-a-type",
        Step.ESTABLISHED,
        _typeless_stream,
        "data",
        "stream-types: all unidirectional streams start with their type",
        BOTH,
    ),
    Deed("stream-reset-at-once", Step.ESTABLISHED, _reset_at_once, None, "stream-cancellation", BOTH),
    Deed("endless-padding", Step.ESTABLISHED, _padding, None, "padding-streams: MUST be discarded"),
    Deed("10000-streams", Step.ESTABLISHED, _many_streams, None, _UNASKED, BOTH),
    Deed(
        "10000-streams-for-an-answer",
        Step.REQUESTED,
        about_session(_many_streams),
        "timeout",
        _UNASKED,
        BOTH,
    ),
)
