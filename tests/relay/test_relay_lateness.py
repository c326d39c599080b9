"""Relays that are late: what they say when, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from relay_clients import Asked, Client, FakeRelay

from pytest_moqt import catalog
from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import SUPPORTED
from pytest_moqt.protocol.parameters import Parameter
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay.defects import DEFECTS, behaviour_of
from pytest_moqt.relay.defects.timing import (
    LATE_SECONDS,
    SETUP_LATE_SECONDS,
    SLOW_SECONDS,
    TOO_LATE_SECONDS,
)

NAMESPACE = (b"moq-test", b"interop")
TRACK = b"track"
A_MOMENT = 0.001

Said = Callable[[], list[m.Message]]


def announced(relay: FakeRelay, number: int) -> Said:
    """A namespace is published."""
    publisher = relay.client(number)
    asked = publisher.request(m.PublishNamespace(NAMESPACE))
    return lambda: publisher.about(asked)


def refused(relay: FakeRelay, number: int) -> Said:
    """A track is asked for that nobody publishes."""
    subscriber = relay.client(number)
    asked = subscriber.request(m.Subscribe(NAMESPACE, TRACK))
    return lambda: subscriber.about(asked)


def routed(relay: FakeRelay, number: int) -> Said:
    """A track is asked for that a client publishes; what that client gets."""
    publisher, _ = _asked(relay, number)
    return lambda: [message for _, message in publisher.messages if isinstance(message, m.Subscribe)]


def accepted(relay: FakeRelay, number: int) -> Said:
    """The same, and the publisher accepts; what the subscriber gets."""
    publisher, (subscriber, asked) = _asked(relay, number)
    publisher.say(publisher.expect(m.Subscribe), m.SubscribeOk(1))
    return lambda: subscriber.about(asked)


def _asked(relay: FakeRelay, number: int) -> tuple[Client, tuple[Client, Asked]]:
    publisher, subscriber = relay.client(number), relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    return publisher, (subscriber, subscriber.request(m.Subscribe(NAMESPACE, TRACK)))


def greeted(relay: FakeRelay, number: int) -> Said:
    """A client says SETUP."""
    client = relay.stranger(number)
    client.setup()
    return lambda: [message for _, message in client.messages]


@pytest.mark.parametrize(
    ("name", "begin", "kind", "seconds"),
    [
        ("setup-late", greeted, m.Setup, SETUP_LATE_SECONDS),
        ("setup-too-late", greeted, m.Setup, TOO_LATE_SECONDS),
        ("announce-ok-late", announced, m.RequestOk, LATE_SECONDS),
        ("announce-ok-slow", announced, m.RequestOk, SLOW_SECONDS),
        ("announce-ok-too-late", announced, m.RequestOk, TOO_LATE_SECONDS),
        ("subscribe-error-late", refused, m.RequestError, LATE_SECONDS),
        ("subscribe-error-too-late", refused, m.RequestError, TOO_LATE_SECONDS),
        ("subscribe-routed-late", routed, m.Subscribe, LATE_SECONDS),
        ("subscribe-routed-too-late", routed, m.Subscribe, TOO_LATE_SECONDS),
        ("subscribe-ok-late", accepted, m.SubscribeOk, LATE_SECONDS),
        ("subscribe-ok-too-late", accepted, m.SubscribeOk, TOO_LATE_SECONDS),
    ],
)
def test_what_is_late_comes_then_and_once(
    number: int, name: str, begin: Callable[[FakeRelay, int], Said], kind: type[m.Message], seconds: float
) -> None:
    """Nothing before its time, and nothing after it but that."""
    relay = FakeRelay(behaviour_of(name))

    said = begin(relay, number)
    relay.clock.advance(seconds - A_MOMENT)
    before = said()
    relay.clock.advance(2 * A_MOMENT)

    assert before == []
    assert [type(message) for message in said()] == [kind]


def test_only_the_first_answer_of_a_session_is_late(number: int) -> None:
    """A case that needs two answers has no time for two late ones."""
    relay = FakeRelay(behaviour_of("announce-ok-late"))
    publisher = relay.client(number)
    publisher.request(m.PublishNamespace(NAMESPACE))
    relay.clock.advance(LATE_SECONDS)

    answer = publisher.ask(m.PublishNamespace((b"next",)))

    assert isinstance(answer, m.RequestOk)


@pytest.mark.parametrize("number", [n for n in SUPPORTED if n in (DEFECTS["rendezvous-late"].drafts or ())])
def test_a_rendezvous_is_over_late(number: int) -> None:
    """Later than RENDEZVOUS_TIMEOUT says by a second, and with its code."""
    relay = FakeRelay(behaviour_of("rendezvous-late"))
    subscriber = relay.client(number)
    wait = KeyValues({Parameter.RENDEZVOUS_TIMEOUT: 500})
    asked = subscriber.request(m.Subscribe(NAMESPACE, TRACK, wait))

    relay.clock.advance(0.5 + LATE_SECONDS - A_MOMENT)
    before = subscriber.about(asked)
    relay.clock.advance(2 * A_MOMENT)

    assert before == []
    (error,) = subscriber.about(asked)
    assert error.code == RequestErrorCode.TIMEOUT


def test_nobody_is_told_after_the_end_of_a_session(number: int) -> None:
    """A timer of a session that is over does nothing."""
    relay = FakeRelay(behaviour_of("announce-ok-late"))
    publisher = relay.client(number)
    asked = publisher.request(m.PublishNamespace(NAMESPACE))

    publisher.disconnect()
    relay.clock.advance(2 * LATE_SECONDS)

    assert publisher.about(asked) == []


def test_lateness_is_by_the_limits_of_the_cases() -> None:
    """A second is within each limit with time to spare, four are beyond each."""
    limits = [case.seconds for case in catalog.CATALOG]
    twice = next(case.seconds for case in catalog.CATALOG if case.identifier == "publish-namespace-done")

    assert min(limits) / 2 >= LATE_SECONDS
    assert max(limits) < TOO_LATE_SECONDS
    assert min(limits) > SLOW_SECONDS
    assert twice < 2 * SLOW_SECONDS
