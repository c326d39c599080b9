"""Sessions with a mistake in them: whatever a client makes of its bytes, the relay goes on for others."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from relay_clients import Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, Draft
from pytest_moqt.protocol.framing import encode
from pytest_moqt.protocol.layouts import Sender, defines, layout_of_message
from pytest_moqt.protocol.objects import (
    ObjectDatagram,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    encode_datagram,
)
from pytest_moqt.protocol.parameters import Parameter, SetupOption
from pytest_moqt.protocol.registries import SessionError
from pytest_moqt.protocol.transport import DatagramData, StreamData, StreamReset
from pytest_moqt.protocol.values import KeyValues, Token, TokenAlias

ROUNDS = 100
"Mutations of each draft; the same ones in every run."
NAMESPACE = (b"moq-test", b"mutations")
TRACK = b"track"

Piece = tuple[str, bytes]
"Where some bytes go (`control`, `request`, `data`, `datagram`), and they."


def whole(draft: Draft) -> list[Piece]:
    """A session that says a little of everything."""
    token = Token(TokenAlias.REGISTER, 1, 0, b"secret")
    tokens = KeyValues({Parameter.AUTHORIZATION_TOKEN: token})
    properties = KeyValues({0x3C: 5, 0x3D: b"five"} if draft.delta_types else {})
    requests: list[m.Request] = [
        m.PublishNamespace(NAMESPACE, tokens),
        m.Publish(NAMESPACE, TRACK, 1, KeyValues(), properties),
        m.Subscribe(NAMESPACE, TRACK, KeyValues({Parameter.FORWARD: 1})),
        m.SubscribeNamespace(NAMESPACE[:1]),
        m.TrackStatus(NAMESPACE, TRACK),
    ]
    if defines(draft, m.SubscribeTracks):
        requests.append(m.SubscribeTracks(NAMESPACE[:1]))
    versions = () if draft.version_code is None else (draft.version_code,)
    credit = {SetupOption.MAX_REQUEST_ID: 100} if draft.request_id_credit else {}
    pieces = [("control", _frame(draft, m.Setup(KeyValues(credit), versions)))]
    for number, request in enumerate(requests):
        numbered: Any = dataclasses.replace(request, request_id=2 * number)  # type: ignore[call-arg]
        own = not draft.request_id_credit or layout_of_message(draft, type(request)).own_stream
        pieces.append(("request" if own else "control", _frame(draft, numbered)))
    encoder = SubgroupEncoder(SubgroupHeader(1, 0, has_properties=True), draft)
    objects = [StreamObject(0, b"object", properties=KeyValues({0x3C: 9})), StreamObject(4, b"another")]
    pieces.append(("data", encoder.header() + b"".join(map(encoder.object, objects))))
    pieces.append(("datagram", encode_datagram(ObjectDatagram(1, 1, 0, payload=b"datagram"), draft)))
    pieces.append(("control", _frame(draft, m.Goaway(timeout_ms=0))))
    return pieces


def _frame(draft: Draft, message: m.Message) -> bytes:
    return encode(message, draft, sender=Sender.CLIENT).encode(draft)


def mutated(pieces: list[Piece], chance: random.Random) -> list[Piece]:
    """One to three mistakes: a bit, a cut, a length, two pieces in the other order, one twice or nowhere."""
    pieces = list(pieces)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(pieces))
        where, data = pieces[at]
        if not data:
            continue
        match chance.randrange(6):
            case 0 | 1:
                byte = chance.randrange(len(data))
                flipped = data[byte] ^ 1 << chance.randrange(8)
                pieces[at] = (where, data[:byte] + bytes([flipped]) + data[byte + 1 :])
            case 2:
                pieces[at] = (where, data[: chance.randrange(len(data))])
            case 3:
                byte = min(chance.randrange(4), len(data) - 1)
                pieces[at] = (where, data[:byte] + chance.randbytes(1) + data[byte + 1 :])
            case 4:
                other = chance.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case 5:
                pieces[at : at + 1] = chance.choice([[], [pieces[at]] * 2])
    return pieces


def send(client: Client, pieces: list[Piece], chance: random.Random) -> None:
    """Say all of it, each stream ended in one way or another."""
    for where, data in pieces:
        if where == "datagram":
            client.session.handle(DatagramData(data))
            continue
        stream = client.control
        if where != "control":
            stream = client.new_stream(unidirectional=where == "data")
        client.session.handle(StreamData(stream, data))
        if where != "control":
            ends = [StreamData(stream, b"", fin=True), StreamReset(stream, 1, 1), StreamData(stream, b"")]
            client.session.handle(chance.choice(ends))


def test_a_session_without_a_mistake_is_served(relay: FakeRelay, number: int) -> None:
    """What is mutated below is legal to begin with."""
    client = relay.stranger(number)

    send(client, whole(DRAFTS[number]), random.Random(3))

    assert client.closed is None
    assert client.session.going_away


def test_no_mistake_of_one_client_harms_another(
    relay: FakeRelay, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """After each, a track is still published, subscribed to and received; nothing fails in the relay."""
    chance = random.Random(number)
    pieces = whole(DRAFTS[number])
    publisher, witness = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace((b"witness",)))
    witness.request(m.Subscribe((b"witness",), TRACK))
    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1))
    codes = set()

    for group in range(ROUNDS):
        hostile = relay.stranger(number)
        send(hostile, mutated(pieces, chance), chance)
        publisher.open_subgroup(SubgroupHeader(1, group)).send(StreamObject(0, b"%d" % group), fin=True)
        if hostile.closed is None:
            hostile.disconnect()
        else:
            codes.add(hostile.closed[0])

        assert witness.streams.pop().payloads == [b"%d" % group]
        assert publisher.closed is None
        assert witness.closed is None
        assert relay.router.sessions == {publisher.session, witness.session}
        assert set(relay.router.tracks) == {((b"witness",), TRACK)}

    assert SessionError.INTERNAL_ERROR not in codes
    assert SessionError.PROTOCOL_VIOLATION in codes
    assert "the relay failed" not in caplog.text
