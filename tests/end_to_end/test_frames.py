"""Every frame of the client is one that the draft defines: decoded again as the relay's transport had it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from client_command import fork_command
from relay_recorder import Recorder, recording
from settings import SETTINGS, Setting, one_transport_each

from pytest_moqt import catalog
from pytest_moqt.client.session import ClientSession, SubgroupStream, connect
from pytest_moqt.client.tls import TlsOptions
from pytest_moqt.client.url import parse_relay_url
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import draft
from pytest_moqt.protocol.events import ObjectReceived
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import Sender, defines, layout_of_message
from pytest_moqt.protocol.objects import ObjectDatagram, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import (
    Filter,
    FilterType,
    GroupOrder,
    KeyValues,
    Location,
    Token,
    TokenAlias,
)
from pytest_moqt.relay.embedded import EmbeddedRelay
from tests.frames import Judgement, judged
from tests.sweeps import swept

SECONDS = 10.0
"For a tour, and for the relay to have seen the end of it; both take milliseconds."
WHERE = [pytest.param(*setting, id=str(setting)) for setting in SETTINGS]
NAMESPACE = (b"moq-test", b"frames")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """What was said to the relays of this test."""
    with recording() as recorder:
        yield recorder


# ---- the catalogue ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", swept(SETTINGS, one_transport_each(1)))
def test_the_draft_defines_all_that_a_case_sends(
    recorder: Recorder, tmp_path: Path, setting: Setting
) -> None:
    """Each session of each case: whole frames, at home on their streams, with nothing undefined in them."""
    number, transport = setting
    with EmbeddedRelay() as relay:
        run = fork_command(
            tmp_path,
            *("--relay", relay.url(transport), "--ca-file", relay.ca_file),
            *("--draft", str(number)),
        )
        transcripts = recorder.transcripts(SECONDS)

    assert run.code == 0, run.stdout + run.stderr
    assert [point.name for point in run.document.points if not point.directive] == [
        case.identifier for case in catalog.CATALOG if number in drafts(case.since)
    ]
    sessions = sum(len(point.values["sessions"]) for point in run.document.points if not point.directive)
    assert len(transcripts) == sessions
    row = draft(number)
    setup = layout_of_message(row, m.Setup, sender=Sender.CLIENT).name
    for transcript in transcripts:
        found = judged(transcript)
        assert (transcript.draft, transcript.transport) == (row, transport)
        assert found.messages[0] == setup
        assert found.faults == []
        assert judged(transcript, Sender.SERVER).faults == []


# ---- all that a session can say --------------------------------------------------------------------


class Tour(NamedTuple):
    """Two sessions with one relay."""

    publisher: ClientSession
    subscriber: ClientSession


@asynccontextmanager
async def tour(relay: EmbeddedRelay, number: int, transport: str) -> AsyncIterator[Tour]:
    """Both sessions, closed on leaving."""
    endpoint = parse_relay_url(relay.url(transport))
    tls = TlsOptions(ca_file=relay.ca_file)
    sessions = []
    async with asyncio.timeout(SECONDS):
        try:
            for role in Tour._fields:
                sessions.append(await connect(endpoint, offer=[number], tls=tls, role=role, timeout=SECONDS))
            yield Tour(*sessions)
        finally:
            for session in sessions:
                await session.close()


def subscribe(session: ClientSession, track: bytes) -> m.Subscribe:
    """A SUBSCRIBE with every parameter that all drafts have for it."""
    given: list[tuple[Any, Any]] = [
        (Parameter.OBJECT_DELIVERY_TIMEOUT, 5000),
        (Parameter.AUTHORIZATION_TOKEN, Token(TokenAlias.USE_VALUE, None, 0, b"token")),
        (Parameter.FORWARD, 1),
        (Parameter.SUBSCRIBER_PRIORITY, 7),
        (Parameter.SUBSCRIPTION_FILTER, Filter(FilterType.ABSOLUTE_RANGE, Location(3, 0), 300)),
        (Parameter.GROUP_ORDER, GroupOrder.ASCENDING),
    ]
    return m.Subscribe(NAMESPACE, track, KeyValues(given))


def publish_objects(publisher: ClientSession) -> SubgroupStream:
    """Two subgroups and two datagrams on the alias 7; the second subgroup is given back open."""
    whole = publisher.open_subgroup(SubgroupHeader(7, 3, 0, 9, has_properties=True))
    properties = KeyValues({Property.PRIOR_GROUP_ID_GAP: 2, Property.IMMUTABLE_PROPERTIES: b"\x02\x01"})
    whole.write(StreamObject(0, b"first", properties=properties))
    whole.write(StreamObject(300, b"second"))
    whole.write(StreamObject(301, b"", status=3), fin=True)
    left_open = publisher.open_subgroup(SubgroupHeader(7, 4, None, 9, end_of_group=True))
    left_open.write(StreamObject(5, b"x" * 2000))
    publisher.send_datagram(ObjectDatagram(7, 5, 1, 9, b"datagram"))
    publisher.send_datagram(ObjectDatagram(7, 5, 2, 9, status=3))
    return left_open


async def receive_all_objects(subscriber: ClientSession) -> None:
    """What `publish_objects` published, until nothing of it is under way any more."""
    wanted = {(3, 0), (3, 300), (3, 301), (4, 5)}
    while wanted:
        event = await subscriber.receive_object()
        if isinstance(event, ObjectReceived):
            wanted.discard((event.header.group_id, event.object.object_id))
    for _ in range(2):
        await subscriber.receive_datagram()


async def everything(publisher: ClientSession, subscriber: ClientSession) -> None:
    """Use every door but the raw one."""
    await publisher.request(m.PublishNamespace(NAMESPACE), expect=m.RequestOk)
    subscription = await subscriber.open(subscribe(subscriber, b"track"))
    asked = await publisher.receive(m.Subscribe)
    largest = KeyValues([(Parameter.LARGEST_OBJECT, Location(3, 1)), (Parameter.EXPIRES, 1000)])
    await publisher.reply(asked, m.SubscribeOk(7, largest))
    await subscriber.expect(subscription, m.SubscribeOk)
    left_open = publish_objects(publisher)
    await receive_all_objects(subscriber)
    left_open.reset(1)
    state = subscriber._session.requests[subscription.request_id or 0]
    filtered = Filter(FilterType.ABSOLUTE_RANGE, Location(9, 0), 200)
    subscriber._session.update(state, m.RequestUpdate(KeyValues({Parameter.SUBSCRIPTION_FILTER: filtered})))
    await publisher.send(asked, m.PublishDone(PublishDoneStatus.TRACK_ENDED, 2, "the end"))
    await subscriber.receive_later(subscription, m.PublishDone)

    refused = await subscriber.open(subscribe(subscriber, b"refused"))
    error = m.RequestError(RequestErrorCode.UNAUTHORIZED, "not for you – sorry")
    await publisher.reply(await publisher.receive(m.Subscribe), error)
    await subscriber.expect(refused, m.RequestError)

    cancelled = await subscriber.open(subscribe(subscriber, b"cancelled"))
    await publisher.reply(await publisher.receive(m.Subscribe), m.SubscribeOk(8))
    await subscriber.expect(cancelled, m.SubscribeOk)
    await subscriber.cancel(cancelled)

    others: list[m.Request] = [
        m.SubscribeNamespace(NAMESPACE[:1]),
        m.SubscribeTracks(NAMESPACE[:1]),
        m.TrackStatus(NAMESPACE, b"track"),
        m.Fetch(m.StandaloneFetch(NAMESPACE, b"track", Location(0, 0), Location(3, 0))),
        m.Publish((b"moq-test", b"pushed"), b"track", 77),
    ]
    for request in others:
        if defines(subscriber.draft, type(request)):
            opened = await subscriber.open(request)
            if isinstance(opened, m.TrackStatus | m.Fetch):  # the publisher is asked for what the relay lacks
                await publisher.reply(await publisher.receive(type(opened)), error)
            reply = await subscriber.answer(opened)
            if isinstance(reply, m.RequestOk) and not isinstance(opened, m.Publish | m.TrackStatus):
                await subscriber.cancel(opened)
    await subscriber.send(None, m.Goaway(timeout_ms=0, request_id=1))
    for session in (publisher, subscriber):
        await session.settle()


def seen(recorder: Recorder) -> list[Judgement]:
    """All sessions, judged."""
    return [judged(transcript) for transcript in recorder.transcripts(SECONDS)]


@pytest.mark.parametrize(("number", "transport"), WHERE)
async def test_the_draft_defines_all_that_a_session_can_send(
    recorder: Recorder, number: int, transport: str
) -> None:
    """Requests, answers, updates, withdrawals, objects on streams and in datagrams."""
    with EmbeddedRelay() as relay:
        async with tour(relay, number, transport) as sessions:
            await everything(*sessions)
        publisher, subscriber = await asyncio.to_thread(seen, recorder)

    assert publisher.faults == []
    assert subscriber.faults == []
    assert (publisher.streams, publisher.datagrams) == (2, 2)
    row = draft(number)
    for kind in (m.Subscribe, m.RequestUpdate, m.TrackStatus, m.Fetch, m.Publish, m.SubscribeNamespace):
        assert layout_of_message(row, kind).name in subscriber.messages
    for kind in (m.SubscribeOk, m.PublishDone, m.PublishNamespace):
        assert layout_of_message(row, kind).name in publisher.messages


# ---- the check can fail ----------------------------------------------------------------------------


def undefined_type(frame: Frame) -> Frame:
    """A type that no draft has."""
    return frame.replace(type=0x3F)


def undefined_parameter(frame: Frame) -> Frame:
    """One parameter, of a number that no draft has, in place of none."""
    assert frame.body.endswith(b"\x00")
    return frame.replace(body=frame.body[:-1] + b"\x01\x3e\x00")


def byte_too_many(frame: Frame) -> Frame:
    """A byte behind the last field."""
    return frame.replace(body=frame.body + b"\x00")


def cut_off(frame: Frame) -> Frame:
    """A Length that promises more than comes."""
    return frame.replace(length=len(frame.body) + 1)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (undefined_type, "defines no message of type 0x3f"),
        (undefined_parameter, "defines no message parameter 0x3e"),
        (byte_too_many, "1 byte after the last field of PUBLISH_NAMESPACE"),
        (cut_off, "ends inside a message"),
    ],
)
@pytest.mark.parametrize(("number", "transport"), WHERE)
async def test_a_frame_through_the_raw_door_is_found_out(
    recorder: Recorder, number: int, transport: str, edit: Callable[[Frame], Frame], words: str
) -> None:
    """One undefined thing among frames that are all well is a fault, whatever the relay thought of it."""
    with EmbeddedRelay() as relay:
        async with tour(relay, number, transport) as sessions:
            frame = sessions.publisher.frame(m.PublishNamespace(NAMESPACE))
            await sessions.publisher.send_raw(edit(frame))
            # Until the relay has it, or has ended the session for it.
            await sessions.publisher._transport.ping(SECONDS)
        publisher, subscriber = await asyncio.to_thread(seen, recorder)

    assert [words in fault for fault in publisher.faults].count(True) == 1, publisher.faults
    assert subscriber.faults == []
