"""Sessions with mistakes in them, made of a valid one by chance; the same ones in every run."""

from __future__ import annotations

import random

from pytest_moqt import (
    ClientSession,
    Goaway,
    KeyValues,
    Parameter,
    Publish,
    PublishNamespace,
    RelayUnderTest,
    Request,
    Subscribe,
    SubscribeNamespace,
    SubscribeTracks,
    Token,
    TokenAlias,
    Topology,
    TrackStatus,
)

from .octets import integers, stream_object, subgroup
from .tracks import Parameters

CONTROL, REQUEST, DATA, DATAGRAM = "control", "request", "data", "datagram"
Piece = tuple[str, bytes]
"Where some bytes go, one of the above, and they."
TRACK = b"track"
ALIAS = 1


def valid(relay: RelayUnderTest, session: ClientSession) -> list[Piece]:
    """What a client may say behind its SETUP: a little of everything, about a namespace of its own."""
    draft, namespace = session.draft, relay.namespace("mutated/session")
    tokens: Parameters = {Parameter.AUTHORIZATION_TOKEN: Token(TokenAlias.USE_VALUE, type=0, value=b"secret")}
    forward: Parameters = {Parameter.FORWARD: 1}
    requests: list[Request] = [
        PublishNamespace(namespace, KeyValues(tokens)),
        Publish(namespace, TRACK, ALIAS),
        Subscribe(namespace, TRACK, KeyValues(forward)),
        SubscribeNamespace(namespace),
        TrackStatus(namespace, TRACK),
    ]
    if relay.supports(SubscribeTracks):
        requests.append(SubscribeTracks(namespace))
    where = REQUEST if draft.topology is Topology.REQUEST_STREAMS else CONTROL
    pieces = [(where, session.frame(request).encode(draft)) for request in requests]
    objects = stream_object(draft, 0, b"object") + stream_object(draft, 3, b"another")
    pieces.append((DATA, subgroup(draft, ALIAS, 0) + objects))
    # Type 0: no properties, an object id, a priority, a payload.
    pieces.append((DATAGRAM, integers(draft, 0, ALIAS, 1, 0) + b"\x80datagram"))
    pieces.append((CONTROL, session.frame(Goaway(timeout_ms=0, request_id=1)).encode(draft)))
    return pieces


def mutated(pieces: list[Piece], chance: random.Random) -> list[Piece]:
    """One to three mistakes: a bit, a cut, a byte at the head, pieces exchanged, one twice or left out."""
    pieces = list(pieces)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(pieces))
        where, data = pieces[at]
        if not data:
            continue
        byte = chance.randrange(len(data))
        match chance.choice(("bit", "bit", "cut", "head", "exchange", "repeat", "leave out")):
            case "bit":
                data = data[:byte] + bytes([data[byte] ^ 1 << chance.randrange(8)]) + data[byte + 1 :]
                pieces[at] = where, data
            case "cut":
                pieces[at] = where, data[:byte]
            case "head":
                byte %= 4
                pieces[at] = where, data[:byte] + chance.randbytes(1) + data[byte + 1 :]
            case "exchange":
                other = chance.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case "repeat":
                pieces.insert(at, pieces[at])
            case "leave out" if len(pieces) > 1:
                del pieces[at]
    return pieces


def send(session: ClientSession, pieces: list[Piece], chance: random.Random) -> None:
    """Say all of it, each stream ended in one way or another, or left open."""
    for where, data in pieces:
        if where == DATAGRAM:
            session.send_octets(data)
        elif where == CONTROL:
            session.control_stream.send(data)
        else:
            stream = session.open_stream(unidirectional=where == DATA)
            end = chance.choice(("fin", "reset", "open"))
            stream.send(data, fin=end == "fin")
            if end == "reset":
                stream.reset(1)
