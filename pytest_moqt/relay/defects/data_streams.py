"""Relays that say on data streams and in datagrams what nobody may, or what nobody has to mind.

Rules:

- What is malformed ends a session wherever it comes ("MUST close the session", `stream-types`,
  `object-datagram`), so a case fails in which it comes: each entry says it at one moment of a session.
- Datagrams leave before what was written to streams at that moment, so that none is sent with SETUP: what
  comes before a session is there is another wrongness.
- The bytes are written by hand, as nothing that encodes would write them. Numbers below 64 are one byte in
  every integer coding.
"""

from __future__ import annotations

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.buffer import Writer
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.objects import PADDING_DATAGRAM, PADDING_STREAM
from pytest_moqt.protocol.registries import StreamError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects.chapter import (
    ALL,
    ANNOUNCING,
    REQUEST_STREAMS,
    ROUTED,
    UNPUBLISHED,
    Chapter,
)
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

NO_TYPE = 0x02
"A type that no draft has for a stream: neither bit 4 of SUBGROUP_HEADER nor FETCH_HEADER's 0x5."
NO_DATAGRAM_TYPE = 0x10
"A type that no draft has for a datagram: bit 4 is always 0."
RESERVED_MODE = 0x16
"SUBGROUP_HEADER whose Subgroup ID mode is 0b11."
SUBGROUP, WITH_PROPERTIES = 0x10, 0x11
"SUBGROUP_HEADER of subgroup 0 with a priority, and that with properties in its objects."
STATUS = 0x20
"OBJECT_DATAGRAM with a status instead of a payload."
NO_STATUS = 0x3E
"A status that no draft has."
END_OF_GROUP = 0x03
NO_ALIAS = 63
"A track alias that no subscription of these relays gets."
PRIORITY = 128

on_data = Chapter("Data streams and datagrams")


def stream(session: Session, *numbers: int, payload: bytes = b"") -> None:
    """A data stream of these bytes, and its end."""
    stream_id = session.transport.open_stream(unidirectional=True)
    session.write(stream_id, bytes(numbers) + payload, fin=True)


def datagram(session: Session, *numbers: int, payload: bytes = b"") -> None:
    """A datagram of these bytes."""
    session.transport.send_datagram(bytes(numbers) + payload)


def _integer(row: Draft, number: int) -> bytes:
    writer = Writer(row.integers)
    writer.vint(number)
    return bytes(writer)


class _AtSetup(Behaviour):
    """A relay that does something once SETUPs have been exchanged."""

    def established(self, session: Session) -> None:
        self.act(session)

    def act(self, session: Session) -> None:
        raise NotImplementedError


class _AtNamespace(Behaviour):
    """A relay that does something once it has accepted PUBLISH_NAMESPACE."""

    def accept_namespace(self, exchange: Exchange) -> None:
        super().accept_namespace(exchange)
        self.act(exchange.session)

    def act(self, session: Session) -> None:
        raise NotImplementedError


class _AtRefusal(Behaviour):
    """A relay that does something once it has refused SUBSCRIBE for what nobody publishes."""

    def no_publisher(self, exchange: Exchange) -> None:
        super().no_publisher(exchange)
        self.act(exchange.session)

    def act(self, session: Session) -> None:
        raise NotImplementedError


class _AtSubscription(Behaviour):
    """A relay that does something once it has passed SUBSCRIBE_OK on."""

    def subscribed(self, exchange: Exchange, ok: m.SubscribeOk) -> None:
        super().subscribed(exchange, ok)
        self.act(exchange.session, ok.track_alias)

    def act(self, session: Session, alias: int) -> None:
        raise NotImplementedError


# ---- streams ---------------------------------------------------------------------------------------


@on_data(
    "stream-unknown-type",
    "It opens a data stream of a type that no draft defines when SETUPs have been exchanged.",
    ALL,
    "data",
)
class _StreamUnknownType(_AtSetup):
    def act(self, session: Session) -> None:
        stream(session, NO_TYPE)


@on_data(
    "stream-without-type",
    "It opens a data stream and ends it before its type when it refuses SUBSCRIBE.",
    UNPUBLISHED,
    "data",
)
class _StreamWithoutType(_AtRefusal):
    def act(self, session: Session) -> None:
        stream(session)


@on_data(
    "stream-reserved-mode",
    "It opens a subgroup stream of the reserved Subgroup ID mode when it accepts PUBLISH_NAMESPACE.",
    ANNOUNCING,
    "data",
)
class _StreamReservedMode(_AtNamespace):
    def act(self, session: Session) -> None:
        stream(session, RESERVED_MODE, NO_ALIAS, 0, PRIORITY)


@on_data(
    "stream-header-cut-short",
    "It ends a subgroup stream inside its header when it refuses SUBSCRIBE.",
    UNPUBLISHED,
    "data",
)
class _StreamHeaderCutShort(_AtRefusal):
    def act(self, session: Session) -> None:
        stream(session, SUBGROUP, NO_ALIAS)


@on_data(
    "object-cut-short",
    "It ends a subgroup stream inside an object when it passes SUBSCRIBE_OK on.",
    ROUTED,
    "data",
)
class _ObjectCutShort(_AtSubscription):
    def act(self, session: Session, alias: int) -> None:
        stream(session, SUBGROUP, alias, 0, PRIORITY, 0, 4, payload=b"ab")


@on_data(
    "object-unknown-status",
    "It sends an object of a status that no draft has when it passes SUBSCRIBE_OK on.",
    ROUTED,
    "data",
)
class _ObjectUnknownStatus(_AtSubscription):
    def act(self, session: Session, alias: int) -> None:
        stream(session, SUBGROUP, alias, 0, PRIORITY, 0, 0, NO_STATUS)


@on_data(
    "object-status-with-properties",
    "It sends an end of group with properties, which only an object has, when it passes SUBSCRIBE_OK on.",
    ROUTED,
    "data",
    drafts(15),
)
class _ObjectStatusWithProperties(_AtSubscription):
    def act(self, session: Session, alias: int) -> None:
        stream(session, WITH_PROPERTIES, alias, 0, PRIORITY, 0, 2, 0x3C, 2, 0, END_OF_GROUP)


@on_data(
    "object-id-overflow",
    "It sends an object after the last that there can be when it passes SUBSCRIBE_OK on.",
    ROUTED,
    "data",
    REQUEST_STREAMS,
)
class _ObjectIdOverflow(_AtSubscription):
    def act(self, session: Session, alias: int) -> None:
        last = _integer(session.draft, 2**64 - 1)
        stream(session, SUBGROUP, alias, 0, PRIORITY, payload=last + b"\x01a" + b"\x00\x01b")


# ---- datagrams -------------------------------------------------------------------------------------


@on_data(
    "datagram-unknown-type",
    "It sends a datagram of a type that no draft defines when it accepts PUBLISH_NAMESPACE.",
    ANNOUNCING,
    "data",
)
class _DatagramUnknownType(_AtNamespace):
    def act(self, session: Session) -> None:
        datagram(session, NO_DATAGRAM_TYPE)


@on_data(
    "datagram-cut-short",
    "It sends a datagram that ends inside its header when it refuses SUBSCRIBE.",
    UNPUBLISHED,
    "data",
)
class _DatagramCutShort(_AtRefusal):
    def act(self, session: Session) -> None:
        datagram(session, 0x00, NO_ALIAS)


@on_data(
    "datagram-empty-properties",
    "It sends a datagram whose properties are there and empty when it passes SUBSCRIBE_OK on.",
    ROUTED,
    "data",
)
class _DatagramEmptyProperties(_AtSubscription):
    def act(self, session: Session, alias: int) -> None:
        datagram(session, 0x01, alias, 0, 0, PRIORITY, 0, payload=b"abcd")


@on_data(
    "datagram-status-and-payload",
    "It sends a datagram with a status and a payload behind it when it passes SUBSCRIBE_OK on.",
    ROUTED,
    "data",
)
class _DatagramStatusAndPayload(_AtSubscription):
    def act(self, session: Session, alias: int) -> None:
        datagram(session, STATUS, alias, 0, 0, PRIORITY, END_OF_GROUP, payload=b"abcd")


# ---- what a client has to bear ---------------------------------------------------------------------


@on_data.lawful(
    "objects-of-unknown-alias",
    "It sends an object on a stream and one in a datagram under a track alias of which it said nothing: "
    "the message that names it may come later.",
)
class _ObjectsOfUnknownAlias(_AtSetup):
    def act(self, session: Session) -> None:
        stream(session, SUBGROUP, NO_ALIAS, 0, PRIORITY, 0, 4, payload=b"abcd")
        datagram(session, 0x00, NO_ALIAS, 0, 0, PRIORITY, payload=b"abcd")


@on_data.lawful(
    "stream-reset",
    "It begins a subgroup stream and resets it when SETUPs have been exchanged: "
    "that affects nothing but the stream.",
)
class _StreamReset(_AtSetup):
    def act(self, session: Session) -> None:
        stream_id = session.transport.open_stream(unidirectional=True)
        session.write(stream_id, bytes((SUBGROUP, NO_ALIAS, 0, PRIORITY)))
        session.transport.reset(stream_id, session.stream_code(StreamError.CANCELLED))


@on_data.lawful(
    "padding",
    "It sends padding on a stream and in a datagram when SETUPs have been exchanged.",
    drafts(18),
)
class _Padding(_AtSetup):
    def act(self, session: Session) -> None:
        stream(session, payload=_integer(session.draft, PADDING_STREAM) + bytes(100))
        datagram(session, payload=_integer(session.draft, PADDING_DATAGRAM) + bytes(100))
