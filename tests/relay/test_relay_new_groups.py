"""NEW_GROUP_REQUEST of subscribers: what publishers hear of it."""

from __future__ import annotations

from typing import Any

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import DRAFTS, SUPPORTED
from pytest_moqt.protocol.objects import StreamObject, SubgroupHeader
from pytest_moqt.protocol.parameter_layouts import parameter_layout
from pytest_moqt.protocol.parameters import Parameter, Property
from pytest_moqt.protocol.values import KeyValues

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
ALIAS = 7
NUMBERS = [
    number
    for number in SUPPORTED
    if parameter_layout(Parameter.NEW_GROUP_REQUEST, DRAFTS[number]) and DRAFTS[number].delta_types
]
"Drafts whose tracks have the property DYNAMIC_GROUPS; 15 has a parameter."
pytestmark = pytest.mark.parametrize("number", NUMBERS)


class Line:
    """A publisher and a subscriber of one track."""

    def __init__(self, relay: FakeRelay, number: int, first: int | None = None, dynamic: int = 1) -> None:
        self.publisher, self.subscriber = relay.client(number), relay.client(number)
        self.publisher.request(m.PublishNamespace(NAMESPACE))
        self.asked = ask(self.subscriber, first)
        self.routed = self.publisher.expect(m.Subscribe)
        properties: dict[int, Any] = {Property.DYNAMIC_GROUPS: dynamic}
        self.publisher.say(self.routed, m.SubscribeOk(ALIAS, track_properties=KeyValues(properties)))

    def update(self, value: int) -> None:
        """The subscriber wants a new group."""
        self.subscriber.update(self.asked, {Parameter.NEW_GROUP_REQUEST: value})

    def publish(self, group: int) -> None:
        """An object of a group."""
        self.publisher.open_subgroup(SubgroupHeader(ALIAS, group)).send(StreamObject(0, b"x"), fin=True)

    @property
    def wishes(self) -> list[int]:
        """What the publisher was told."""
        said = [message for _, message in self.publisher.messages]
        return [
            message.parameters[Parameter.NEW_GROUP_REQUEST]
            for message in said
            if isinstance(message, m.Subscribe | m.RequestUpdate)
            and Parameter.NEW_GROUP_REQUEST in message.parameters
        ]


def ask(client: Client, wish: int | None) -> Asked:
    """Subscribe, perhaps with a wish."""
    pairs = () if wish is None else ((Parameter.NEW_GROUP_REQUEST, wish),)
    return client.request(m.Subscribe(NAMESPACE, TRACK, KeyValues(pairs)))


@pytest.mark.parametrize("wish", [0, 9])
def test_the_first_subscribe_has_it(relay: FakeRelay, number: int, wish: int) -> None:
    """'MUST include the NEW_GROUP_REQUEST when subscribing upstream', and says it no second time."""
    assert Line(relay, number, wish).wishes == [wish]


def test_a_later_subscriber_s_goes_on_in_an_update(relay: FakeRelay, number: int) -> None:
    """'for an Established subscription': it MUST send an update."""
    line = Line(relay, number)

    ask(relay.client(number), 4)

    assert line.wishes == [4]


def test_one_is_outstanding_until_the_largest_group_increases(relay: FakeRelay, number: int) -> None:
    """Not while there is one 'with a greater or equal value'."""
    line = Line(relay, number)

    for value in (5, 5, 4, 6):
        line.update(value)
    line.publish(2)
    line.update(5)

    assert line.wishes == [5, 6, 5]


def test_a_group_that_is_there_is_not_wished_for(relay: FakeRelay, number: int) -> None:
    """'a non-zero value less than or equal to the Largest Group'; 0 is for any."""
    line = Line(relay, number)
    line.publish(3)

    line.update(3)
    line.update(0)

    assert line.wishes == [0]


def test_a_track_without_dynamic_groups_is_asked_for_none(relay: FakeRelay, number: int) -> None:
    """'unless: The Track does not support dynamic Groups'."""
    line = Line(relay, number, dynamic=0)

    line.update(5)

    assert line.wishes == []
