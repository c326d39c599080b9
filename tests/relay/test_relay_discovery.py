"""Namespaces as the relay matches, tells and forgets them."""

from __future__ import annotations

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.framing import Frame
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError
from pytest_moqt.protocol.values import TrackNamespace

TRACK = b"track"
BINARY = (b"a\x00b", b"\xff\xfe", b"sl/ash", b"d.o-t", b"\xc3\x28")
WITH_NAMESPACE = [n for n in sorted(SUPPORTED) if defines(DRAFTS[n], m.Namespace)]
WITH_OPTIONS = [n for n in WITH_NAMESPACE if not defines(DRAFTS[n], m.SubscribeTracks)]
EMPTY_LEGAL = [n for n in sorted(SUPPORTED) if not DRAFTS[n].min_namespace_fields]
EMPTY_ILLEGAL = sorted(set(SUPPORTED) - set(EMPTY_LEGAL))
EMPTY_PREFIX = [n for n in sorted(SUPPORTED) if not DRAFTS[n].min_prefix_fields]


def announce(client: Client, namespace: TrackNamespace) -> Asked:
    asked = client.request(m.PublishNamespace(namespace))
    assert [type(each) for each in client.about(asked)] == [m.RequestOk]
    return asked


def closed_with(client: Client) -> SessionError | None:
    return client.closed[0] if client.closed else None


def refused(client: Client, namespace: TrackNamespace, name: bytes = TRACK) -> bool:
    """Whether nobody has a track."""
    answer = client.ask(m.Subscribe(namespace, name))
    return isinstance(answer, m.RequestError) and answer.code == RequestErrorCode.DOES_NOT_EXIST


# ---- matching --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        (BINARY, b"\x00\xff"),
        (tuple(b"%c" % (0x41 + each) for each in range(32)), TRACK),
        ((b"x" * 4000, b"y" * 90), b"z" * 6),
        ((b"a",), b""),
    ],
    ids=["binary", "32-fields", "4096-bytes", "no-name"],
)
def test_names_pass_as_they_are(
    relay: FakeRelay, number: int, namespace: TrackNamespace, name: bytes
) -> None:
    """They are bytes, of any value, up to 32 fields and 4096 bytes."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher, namespace)

    subscription = subscriber.request(m.Subscribe(namespace, name))
    routed = publisher.expect(m.Subscribe)
    publisher.say(routed, m.SubscribeOk(1))

    assert (routed.message.track_namespace, routed.message.track_name) == (namespace, name)
    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]


def test_names_that_look_alike_are_others(relay: FakeRelay, number: int) -> None:
    """Compared byte by byte, and field by field."""
    publisher, subscriber = relay.client(number), relay.client(number)
    for namespace in (BINARY, (b"foobar",), (b"foo", b"bar2")):
        announce(publisher, namespace)

    assert refused(subscriber, (BINARY[0].upper(), *BINARY[1:]))
    assert refused(subscriber, (b"foo", b"bar"))
    assert refused(subscriber, (b"foo",))
    assert publisher.incoming(m.Subscribe) is None


@pytest.mark.parametrize("kind", [m.PublishNamespace, m.Subscribe, m.SubscribeNamespace])
@pytest.mark.parametrize(
    ("fields", "length"),
    [(33, 1), (2, 2049)],
    ids=["33-fields", "4098-bytes"],
)
def test_names_too_large_end_the_session(
    relay: FakeRelay, number: int, kind: type[m.Request], fields: int, length: int
) -> None:
    """'it MUST close the session with a PROTOCOL_VIOLATION'."""
    client = relay.client(number)
    name = (TRACK,) if kind is m.Subscribe else ()
    frame = client.frame(kind((b"a",), *name, request_id=0))
    whole = b"\x01\x01a"
    integers = client.draft.integers
    large = integers.encode(fields) + (integers.encode(length) + b"x" * length) * fields
    assert frame.body.count(whole) == 1
    own = client.own_streams or (kind is m.SubscribeNamespace and number in WITH_NAMESPACE)

    client.send_frame(
        Frame(frame.type, frame.body.replace(whole, large)),
        client.new_stream(unidirectional=False) if own else None,
    )

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


def _with_namespace(client: Client, octets: bytes) -> None:
    """Publish a namespace of these bytes."""
    frame = client.frame(m.PublishNamespace((b"a",), request_id=0))
    body = frame.body.replace(b"\x01\x01a", octets)
    client.send_frame(
        Frame(frame.type, body), client.new_stream(unidirectional=False) if client.own_streams else None
    )


@pytest.mark.parametrize("number", EMPTY_ILLEGAL)
def test_a_namespace_of_no_fields_ends_the_session(relay: FakeRelay, number: int) -> None:
    """Up to 16 there is none."""
    client = relay.client(number)

    _with_namespace(client, b"\x00")

    assert closed_with(client) == SessionError.PROTOCOL_VIOLATION


@pytest.mark.parametrize("number", EMPTY_LEGAL)
def test_a_namespace_of_no_fields_is_a_prefix_of_all(relay: FakeRelay, number: int) -> None:
    """From 17 on it is a namespace as others are."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher, ())

    subscriber.request(m.Subscribe((), TRACK))

    assert publisher.expect(m.Subscribe).message.track_namespace == ()


def test_an_empty_field_is_judged_as_the_draft_says(relay: FakeRelay, number: int) -> None:
    """'Each Track Namespace Field Value MUST contain at least one byte', from 16 on."""
    client = relay.client(number)

    _with_namespace(client, b"\x03\x01a\x00\x01b")

    legal = DRAFTS[number].empty_namespace_fields
    assert closed_with(client) == (None if legal else SessionError.PROTOCOL_VIOLATION)


# ---- coming and going ------------------------------------------------------------------------------


def test_a_namespace_may_be_withdrawn_and_published_again(relay: FakeRelay, number: int) -> None:
    """The second time is as the first."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.cancel(announce(publisher, (b"a",)))
    gone = refused(subscriber, (b"a",))

    announce(publisher, (b"a",))
    subscriber.request(m.Subscribe((b"a",), TRACK))

    assert gone
    assert publisher.expect(m.Subscribe).message.track_name == TRACK


def test_one_session_may_publish_a_namespace_twice(relay: FakeRelay, number: int) -> None:
    """Each request has its answer, and its end."""
    publisher, subscriber = relay.client(number), relay.client(number)
    first, second = announce(publisher, (b"a",)), announce(publisher, (b"a",))

    publisher.cancel(first)
    subscriber.request(m.Subscribe((b"a",), TRACK))
    still = publisher.incoming(m.Subscribe)
    publisher.cancel(second)

    assert still is not None
    assert publisher.closed is None
    assert relay.router.announcements == []


def test_two_sessions_may_hear_of_one_prefix(relay: FakeRelay, number: int) -> None:
    """Prefixes overlap within a session only."""
    one, other = relay.client(number), relay.client(number)

    answers = [client.ask(m.SubscribeNamespace((b"a",))) for client in (one, other)]

    assert [type(answer) for answer in answers] == [m.RequestOk] * 2


def test_a_refused_overlap_leaves_the_first_alone(relay: FakeRelay, number: int) -> None:
    """It is refused, its stream ended, and the first goes on."""
    publisher, subscriber = relay.client(number), relay.client(number)
    first = subscriber.request(m.SubscribeNamespace((b"a",)))
    second = subscriber.request(m.SubscribeNamespace((b"a", b"b")))

    announce(publisher, (b"a", b"b"))

    assert [type(each) for each in subscriber.about(second)] == [m.RequestError]
    if second.stream_id is not None:
        assert second.stream_id in subscriber.fins
        assert first.stream_id not in subscriber.fins
    if number in WITH_NAMESPACE:
        assert subscriber.about(first)[1:] == [m.Namespace((b"b",))]
    else:
        assert subscriber.expect(m.PublishNamespace).message.track_namespace == (b"a", b"b")


def test_a_prefix_may_be_asked_for_again_after_its_end(relay: FakeRelay, number: int) -> None:
    """It overlaps nothing any more."""
    publisher, subscriber = relay.client(number), relay.client(number)
    subscriber.cancel(subscriber.request(m.SubscribeNamespace((b"a",))))
    announce(publisher, (b"a",))
    before = [message for _, message in subscriber.messages if isinstance(message, m.Namespace)]

    answer = subscriber.about(subscriber.request(m.SubscribeNamespace((b"a",))))[0]

    assert before == []
    assert subscriber.closed is None
    assert isinstance(answer, m.RequestOk)


@pytest.mark.parametrize("number", EMPTY_PREFIX)
def test_an_empty_prefix_means_every_namespace(relay: FakeRelay, number: int) -> None:
    """'the sender is interested in all namespaces'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeNamespace(()))

    announce(publisher, (b"a", b"b"))

    assert subscriber.about(interest)[1:] == [m.Namespace((b"a", b"b"))]


@pytest.mark.parametrize("number", WITH_OPTIONS)
@pytest.mark.parametrize(("option", "hears"), [(0, "track"), (1, "namespace"), (2, "both")])
def test_subscribe_options_choose_what_is_told(
    relay: FakeRelay, number: int, option: int, hears: str
) -> None:
    """PUBLISH (0), NAMESPACE (1), or both (2)."""
    publisher, subscriber = relay.client(number), relay.client(number)
    announce(publisher, (b"a", b"b"))
    publisher.request(m.Publish((b"a", b"b"), TRACK, 1))

    interest = subscriber.request(m.SubscribeNamespace((b"a",), subscribe_options=option))

    told = [m.Namespace((b"b",))] if hears in ("namespace", "both") else []
    assert subscriber.about(interest)[1:] == told
    assert (subscriber.incoming(m.Publish) is not None) == (hears in ("track", "both"))


@pytest.mark.parametrize("number", WITH_NAMESPACE)
def test_a_publisher_that_is_gone_has_withdrawn_its_namespaces(relay: FakeRelay, number: int) -> None:
    """NAMESPACE_DONE, as after a withdrawal."""
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = subscriber.request(m.SubscribeNamespace((b"a",)))
    announce(publisher, (b"a", b"b"))

    publisher.disconnect()

    assert subscriber.about(interest)[1:] == [m.Namespace((b"b",)), m.NamespaceDone((b"b",))]
    assert refused(subscriber, (b"a", b"b"))
