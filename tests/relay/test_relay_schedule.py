"""What streams of objects are sent by: what subscribers and publishers have said, up to the last update."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from relay_clients import Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import Filter, FilterType, GroupOrder, KeyValues, Location
from pytest_moqt.relay.schedule import Rank

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 77
HEADER = SubgroupHeader(ALIAS, group_id=4, subgroup_id=3, publisher_priority=9)
FIRST, SECOND = StreamObject(5, b"first"), StreamObject(6, b"second")
USUAL = 128

FILLING = [number for number in SUPPORTED if parameter_layout(Parameter.FILL_PARAMETERS, DRAFTS[number])]
PREFERRING = [number for number in SUPPORTED if number in drafts(16)]


class Line:
    """A publisher and a subscriber."""

    def __init__(
        self, relay: FakeRelay, number: int, properties: dict[int, Any] | None = None, **parameters: Any
    ) -> None:
        self.publisher, self.subscriber = relay.client(number), relay.client(number)
        self.publisher.request(m.PublishNamespace(NAMESPACE))
        pairs = [(Parameter[name], value) for name, value in parameters.items()]
        self.subscription = self.subscriber.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(pairs)))
        routed = self.publisher.expect(m.Subscribe)
        self.publisher.say(routed, m.SubscribeOk(ALIAS, track_properties=KeyValues(properties or {})))

    def publish(self, **header: Any) -> Rank:
        """Send an object on a stream of its own; the rank of the stream that it is passed on."""
        self.publisher.open_subgroup(dataclasses.replace(HEADER, **header)).send(FIRST)
        return rank(self.subscriber)


def rank(client: Client) -> Rank:
    """That of the stream which a client was sent last."""
    return client.transport.ranks[client.streams[-1].stream_id]


def described(found: Rank) -> tuple[int, bool, int, int, int]:
    """What it was made of."""
    share = found.share
    return (share.priority, share.descending, found.publisher_priority, found.group, found.subgroup)


def test_a_stream_is_ranked_by_its_subscription_and_its_header(relay: FakeRelay, number: int) -> None:
    """Streams of one subscription share what it says."""
    line = Line(relay, number, SUBSCRIBER_PRIORITY=10, GROUP_ORDER=GroupOrder.DESCENDING)

    ranks = [line.publish(), line.publish(group_id=5, subgroup_id=None)]

    assert [described(each) for each in ranks] == [(10, True, 9, 4, 3), (10, True, 9, 5, FIRST.object_id)]
    assert ranks[0].share is ranks[1].share
    assert ranks[1].urgency < ranks[0].urgency


def test_draft_14_is_told_the_order_in_which_groups_will_come() -> None:
    """'Indicates the subscription will be delivered in Ascending (0x1) or Descending (0x2) order'."""
    orders = (GroupOrder.ASCENDING, GroupOrder.DESCENDING)
    lines = [Line(FakeRelay(), 14, GROUP_ORDER=order) for order in orders]

    said = [line.subscriber.about(line.subscription)[0] for line in lines]

    assert [ok.track_properties[Property.DEFAULT_PUBLISHER_GROUP_ORDER] for ok in said] == list(orders)


def test_who_states_nothing_has_the_usual(relay: FakeRelay, number: int) -> None:
    """'If omitted ... the publisher uses the value 128'; and groups rise."""
    ranked = Line(relay, number).publish()

    assert described(ranked) == (USUAL, False, 9, 4, 3)


@pytest.mark.parametrize("number", PREFERRING)
def test_the_publishers_preferences_hold_where_there_are_no_others(relay: FakeRelay, number: int) -> None:
    """'The publisher's preference is used if the subscriber did not express one'."""
    properties = {
        Property.DEFAULT_PUBLISHER_PRIORITY: 77,
        Property.DEFAULT_PUBLISHER_GROUP_ORDER: GroupOrder.DESCENDING,
    }

    silent = Line(relay, number, properties).publish(publisher_priority=None)
    relay = FakeRelay()
    rising = Line(relay, number, properties, GROUP_ORDER=GroupOrder.ASCENDING).publish()

    assert described(silent) == (USUAL, True, 77, 4, 3)
    assert described(rising) == (USUAL, False, 9, 4, 3)


def test_an_update_changes_streams_that_are_open(relay: FakeRelay, number: int) -> None:
    """'A best effort SHOULD be made to apply the change to all objects that have not been scheduled'."""
    line = Line(relay, number, SUBSCRIBER_PRIORITY=10)
    ranked = line.publish()

    line.subscriber.update(line.subscription, {Parameter.SUBSCRIBER_PRIORITY: 200})

    assert ranked.share.priority == 200
    assert line.publish(group_id=5).share is ranked.share


def test_a_fetch_has_a_priority_of_its_own(relay: FakeRelay, number: int) -> None:
    """With that of each object as it comes; an update changes it, where a draft has such."""
    line = Line(relay, number, SUBSCRIBER_PRIORITY=10)
    line.publish()
    client = relay.client(number)
    wanted = m.StandaloneFetch(NAMESPACE, TRACK, Location(4, 5), Location(4, 6))

    client.request(m.Fetch(wanted, KeyValues({Parameter.SUBSCRIBER_PRIORITY: 30})))

    ranked = rank(client)
    assert (ranked.share.priority, ranked.publisher_priority, ranked.group) == (30, 9, 4)


@pytest.mark.parametrize("number", FILLING)
@pytest.mark.parametrize(
    ("inside", "priority", "last"),
    [
        ({}, 10, False),
        ({Parameter.GROUP_ORDER: GroupOrder.DESCENDING}, 10, True),
        ({Parameter.SUBSCRIBER_PRIORITY: 40}, 40, False),
    ],
    ids=["as-the-subscription", "another-order", "another-priority"],
)
def test_a_fill_goes_before_its_subscription_unless_the_order_differs(
    relay: FakeRelay, number: int, inside: dict[Parameter, Any], priority: int, last: bool
) -> None:
    """'The fill-delivered object is scheduled first', of the same group; of another order, it comes last."""
    Line(relay, number).publish()
    client = relay.client(number)
    inside = {**inside, Parameter.SUBSCRIPTION_FILTER: Filter(FilterType.ABSOLUTE_START, Location(4, 5))}
    said = {Parameter.SUBSCRIBER_PRIORITY: 10, Parameter.FILL_PARAMETERS: KeyValues(inside)}

    client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(said)))

    ranked = rank(client)
    assert (ranked.share.priority, ranked.publisher_priority, ranked.group) == (priority, 9, 4)
    subscribed = Rank(ranked.share, 9, 4, 0)
    assert (ranked.urgency > subscribed.urgency) == last
