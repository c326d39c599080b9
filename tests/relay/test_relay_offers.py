"""PUBLISH on its way through the relay: who is offered a track, on which terms, and when objects follow."""

from __future__ import annotations

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.layouts import defines
from pytest_moqt.protocol.objects import ObjectDatagram, StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import PublishDoneStatus, RequestErrorCode
from pytest_moqt.protocol.values import KeyValues

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77


def _scope(number: int) -> frozenset[str]:
    row = parameter_layout(Parameter.FORWARD, DRAFTS[number])
    return frozenset() if row is None else row.scope


ASKS_PAUSED = [n for n in sorted(SUPPORTED) if _scope(n) & {"SUBSCRIBE_NAMESPACE", "SUBSCRIBE_TRACKS"}]
"Drafts in which tracks can be asked for without their objects."
ACCEPTS_WITH = [n for n in ASKS_PAUSED if "PUBLISH_OK" in _scope(n)]
ACCEPTS_WITHOUT = sorted(set(ASKS_PAUSED) - set(ACCEPTS_WITH))


def wants_tracks(client: Client, prefix: tuple[bytes, ...] = NAMESPACE[:1], forward: int = 1) -> Asked:
    """Ask to be offered tracks, in the draft's way."""
    parameters = KeyValues({} if forward else {Parameter.FORWARD: 0})
    if defines(client.draft, m.SubscribeTracks):
        return client.request(m.SubscribeTracks(prefix, parameters))
    return client.request(m.SubscribeNamespace(prefix, parameters, subscribe_options=0))


def publish(client: Client, name: bytes = TRACK, alias: int = ALIAS, **parameters: object) -> Asked:
    pairs = [(Parameter[key], value) for key, value in parameters.items()]
    return client.request(m.Publish(NAMESPACE, name, alias, KeyValues(pairs)))


def send(client: Client, group: int, alias: int = ALIAS) -> None:
    client.open_subgroup(SubgroupHeader(alias, group_id=group)).send(
        StreamObject(0, b"group %d" % group), fin=True
    )


def groups(client: Client) -> list[bytes]:
    return [payload for stream in client.streams for payload in stream.payloads]


def forward_of(client: Client, offered: Asked) -> int:
    """The forward state that the relay asked of a publisher, in its answer or in updates."""
    forward: int = client.about(offered)[0].parameters.get(Parameter.FORWARD, 1)
    while update := client.incoming(m.RequestUpdate):
        forward = update.message.parameters[Parameter.FORWARD]
    return forward


# ---- paused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ASKS_PAUSED)
def test_tracks_asked_for_without_objects_are_offered_so(relay: FakeRelay, number: int) -> None:
    """'PUBLISH messages resulting from this ... will set the FORWARD parameter to 0', until it is 1."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, forward=0)
    publish(publisher)
    offered = subscriber.expect(m.Publish)
    paused = {Parameter.FORWARD: 0} if number in ACCEPTS_WITH else {}

    subscriber.say(offered, m.RequestOk(KeyValues(paused)))
    send(publisher, 0)
    before = groups(subscriber)
    subscriber.update(offered, {Parameter.FORWARD: 1})
    send(publisher, 1)

    assert offered.message.parameters[Parameter.FORWARD] == 0
    assert before == []
    assert groups(subscriber) == [b"group 1"]


@pytest.mark.parametrize("number", ASKS_PAUSED)
def test_a_publisher_is_answered_before_it_is_updated(relay: FakeRelay, number: int) -> None:
    """However soon the relay knows that nobody wants objects."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, forward=0)

    publish(publisher)

    said = [type(message) for _, message in publisher.messages]
    assert said.index(m.RequestOk) < (said.index(m.RequestUpdate) if m.RequestUpdate in said else len(said))


@pytest.mark.parametrize("number", ACCEPTS_WITH)
@pytest.mark.parametrize("says", [True, False], ids=["said", "omitted"])
def test_accepting_turns_objects_on(relay: FakeRelay, number: int, says: bool) -> None:
    """FORWARD of PUBLISH_OK; 'if the parameter is omitted ... the default value is 1'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, forward=0)
    mine = publish(publisher)

    subscriber.say(
        subscriber.expect(m.Publish), m.RequestOk(KeyValues({Parameter.FORWARD: 1} if says else {}))
    )
    send(publisher, 0)

    assert forward_of(publisher, mine) == 1
    assert groups(subscriber) == [b"group 0"]


@pytest.mark.parametrize("number", ACCEPTS_WITHOUT)
def test_accepting_changes_nothing_where_it_cannot(relay: FakeRelay, number: int) -> None:
    """From 20 on PUBLISH says what holds, until a REQUEST_UPDATE."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, forward=0)
    mine = publish(publisher)

    subscriber.say(subscriber.expect(m.Publish), m.RequestOk())
    send(publisher, 0)

    assert forward_of(publisher, mine) == 0
    assert groups(subscriber) == []


def test_a_second_publisher_is_told_that_objects_are_wanted(relay: FakeRelay, number: int) -> None:
    """'If at least one downstream subscriber ... has Forward State=1, the Relay MUST use' it in the reply."""
    first, second, subscriber = (relay.client(number) for _ in range(3))
    publish(first)
    subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    offered = publish(second, FORWARD=0)

    assert isinstance(second.about(offered)[0], m.RequestOk)
    assert forward_of(second, offered) == 1


# ---- who is offered what ---------------------------------------------------------------------------


def test_who_published_the_namespace_is_asked_for_an_offered_track_too(relay: FakeRelay, number: int) -> None:
    """'Relays MUST send SUBSCRIBE messages to all matching publishers', of either kind, once each."""
    offering, announcing, subscriber = (relay.client(number) for _ in range(3))
    announcing.request(m.PublishNamespace(NAMESPACE))
    offering.request(m.PublishNamespace(NAMESPACE))
    publish(offering)

    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK))
    announcing.say(announcing.expect(m.Subscribe), m.SubscribeOk(5))
    send(offering, 0)
    send(announcing, 1, alias=5)

    assert offering.incoming(m.Subscribe) is None
    assert [type(each) for each in subscriber.about(subscription)] == [m.SubscribeOk]
    assert groups(subscriber) == [b"group 0", b"group 1"]


def test_nobody_is_offered_what_it_did_not_ask_for(relay: FakeRelay, number: int) -> None:
    """'Relays MUST NOT send any PUBLISH messages without knowing the client is interested'."""
    publisher, bystander = relay.client(number), relay.client(number)
    before = len(bystander.messages)

    publish(publisher)
    publisher.request(m.PublishNamespace(NAMESPACE))

    assert len(bystander.messages) == before


def test_an_offer_publishes_no_namespace(relay: FakeRelay, number: int) -> None:
    """'If a Publisher would like Subscriptions in a Namespace routed to it', it says so."""
    publisher, subscriber = relay.client(number), relay.client(number)
    publish(publisher)

    answer = subscriber.ask(m.Subscribe(NAMESPACE, b"another track"))

    assert answer.code == RequestErrorCode.DOES_NOT_EXIST
    assert publisher.incoming(m.Subscribe) is None


def test_only_tracks_under_the_prefix_are_offered(relay: FakeRelay, number: int) -> None:
    """Field by field."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber, NAMESPACE)

    publisher.request(m.Publish((b"moq-test", b"interopable"), TRACK, 1))
    publisher.request(m.Publish((b"moq-test",), TRACK, 2))
    publisher.request(m.Publish((*NAMESPACE, b"deep"), TRACK, 3))

    assert subscriber.expect(m.Publish).message.track_namespace == (*NAMESPACE, b"deep")
    assert subscriber.incoming(m.Publish) is None


def test_who_refuses_an_offer_gets_no_objects_and_further_offers(relay: FakeRelay, number: int) -> None:
    """UNINTERESTED concerns one track."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber)
    publish(publisher)

    subscriber.say(subscriber.expect(m.Publish), m.RequestError(RequestErrorCode.UNINTERESTED))
    send(publisher, 0)
    publish(publisher, b"later", 78)

    assert subscriber.streams == []
    assert subscriber.expect(m.Publish).message.track_name == b"later"
    assert publisher.closed is None
    assert subscriber.closed is None


def test_a_withdrawn_interest_leaves_what_was_accepted(relay: FakeRelay, number: int) -> None:
    """'relays MUST NOT send any further PUBLISH messages'; objects of those that stand go on."""
    publisher, subscriber = relay.client(number), relay.client(number)
    interest = wants_tracks(subscriber)
    publish(publisher)
    subscriber.say(subscriber.expect(m.Publish), m.RequestOk())

    subscriber.cancel(interest)
    publish(publisher, b"later", 78)
    send(publisher, 0)

    assert subscriber.incoming(m.Publish) is None
    assert groups(subscriber) == [b"group 0"]


# ---- objects ---------------------------------------------------------------------------------------


def test_objects_may_overtake_their_offer(relay: FakeRelay, number: int) -> None:
    """'Publishers MAY start sending Objects ... before receiving a PUBLISH_OK'."""
    publisher, subscriber = relay.client(number), relay.client(number)
    wants_tracks(subscriber)

    send(publisher, 0)
    publisher.send_datagram(ObjectDatagram(ALIAS, 1, 0, payload=b"datagram"))
    publish(publisher)
    subscriber.say(subscriber.expect(m.Publish), m.RequestOk())
    send(publisher, 2)

    assert groups(subscriber) == [b"group 0", b"group 2"]
    assert [item.payload for item in subscriber.datagrams] == [b"datagram"]
    assert publisher.closed is None


def test_two_publishers_of_a_track_are_one_to_its_subscriber(relay: FakeRelay, number: int) -> None:
    """Each object once, the end when both have ended."""
    first, second, subscriber = (relay.client(number) for _ in range(3))
    offers = [publish(first, alias=1), publish(second, alias=2)]
    subscription = subscriber.request(m.Subscribe(NAMESPACE, TRACK))

    send(first, 0, alias=1)
    send(second, 0, alias=2)
    send(second, 1, alias=2)
    first.say(offers[0], m.PublishDone(PublishDoneStatus.TRACK_ENDED, 1))
    before = subscriber.about(subscription)
    second.say(offers[1], m.PublishDone(PublishDoneStatus.TRACK_ENDED, 2))

    assert groups(subscriber) == [b"group 0", b"group 1"]
    assert [type(each) for each in before] == [m.SubscribeOk]
    assert subscriber.about(subscription)[-1].stream_count == 2


def test_an_offer_of_another_draft_is_understood(relay: FakeRelay, number: int) -> None:
    """Publisher and subscriber of tracks need not speak the same."""
    publisher, subscriber = relay.client(max(SUPPORTED)), relay.client(number)
    wants_tracks(subscriber)

    publish(publisher)
    subscriber.say(subscriber.expect(m.Publish), m.RequestOk())
    send(publisher, 0)

    assert groups(subscriber) == [b"group 0"]
