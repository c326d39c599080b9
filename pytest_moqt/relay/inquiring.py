"""TRACK_STATUS: what is known of a track, told to a client, if need be after asking a publisher."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.parameters import Parameter, Parameters
from pytest_moqt.protocol.registries import RequestErrorCode
from pytest_moqt.protocol.values import KeyValues
from pytest_moqt.relay import limits
from pytest_moqt.relay.clock import Timer
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.fetching import PastSource


class StatusSource(PastSource, Protocol):
    """A track whose status is wanted."""

    @property
    def established(self) -> bool:
        """Whether the relay has a subscription to it."""

    @property
    def parameters(self) -> Parameters:
        """What SUBSCRIBE_OK would say."""


class StatusInquiry:
    """A client's TRACK_STATUS; the owner of its request."""

    def __init__(self, source: StatusSource, exchange: Exchange) -> None:
        self._source = source
        self._exchange = exchange
        self._question: StatusQuestion | None = None
        source.fetch_begun(self)

    def begin(self) -> None:
        """Answer, or ask: "Relays without an `Established` subscription MAY forward TRACK_STATUS"."""
        if self._source.established:
            self._answer(m.RequestOk(self._source.parameters, self._source.properties))
            return
        self._question = StatusQuestion(self._source, self)
        self._question.begin()

    def told(self, reply: m.RequestOk | m.RequestError) -> None:
        """A publisher has answered, or none can."""
        self._question = None
        if isinstance(reply, m.RequestOk):
            # Parameters are for the next hop only, but for what they say of the track itself.
            largest = reply.parameters.get(Parameter.LARGEST_OBJECT)
            known: Parameters = KeyValues(() if largest is None else ((Parameter.LARGEST_OBJECT, largest),))
            self._answer(m.RequestOk(known, reply.track_properties))
            return
        code = reply.code if isinstance(reply.code, RequestErrorCode) else RequestErrorCode.INTERNAL_ERROR
        self._source.behaviour.track_status_refused(self._exchange, m.RequestError(code, reply.reason))
        self._over()

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Not ours: nothing to take."""

    def received(self, message: m.Message) -> None:
        """Nothing comes that changes it."""

    def cancelled(self) -> None:
        """The client does not want to know any more."""
        self._over()

    # private

    def _answer(self, ok: m.RequestOk) -> None:
        request = self._exchange.request
        assert isinstance(request, m.TrackStatus)
        if request.parameters.get(Parameter.INCLUDE_PROPERTIES, 1) == 0:
            ok = dataclasses.replace(ok, track_properties=KeyValues())
        self._source.behaviour.track_status(self._exchange, ok)
        self._over()

    def _over(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
        self._exchange.finish()
        self._source.fetch_over(self)


class StatusQuestion:
    """A TRACK_STATUS of the relay's own, at one publisher after the other; the owner of its request."""

    def __init__(self, source: StatusSource, inquiry: StatusInquiry) -> None:
        self._source = source
        self._inquiry: StatusInquiry | None = inquiry
        self._publishers = source.fetch_publishers()
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._error = m.RequestError(RequestErrorCode.DOES_NOT_EXIST, "nobody publishes this track")

    def begin(self) -> None:
        """Ask the first publisher that can be asked; the last refusal is the answer if all refuse."""
        if self._timer is None:
            self._timer = self._source.clock.call_later(limits.ANSWER_SECONDS, self._late)
        while self._publishers:
            question = m.TrackStatus(*self._source.name)
            self._exchange = self._publishers.pop(0).request(question, self)
            if self._exchange is not None:
                return
        self._tell(self._error)

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._inquiry = None
        self._end()

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Take the answer."""
        if isinstance(reply, m.RequestOk):
            self._tell(reply)
        elif isinstance(reply, m.RequestError):
            self._error = reply
            self.begin()

    def received(self, message: m.Message) -> None:
        """Nothing comes."""

    def cancelled(self) -> None:
        """The publisher is gone."""
        self.begin()

    # private

    def _late(self) -> None:
        self._timer = None
        self._tell(m.RequestError(RequestErrorCode.TIMEOUT, "no publisher has answered in time"))

    def _tell(self, reply: m.RequestOk | m.RequestError) -> None:
        inquiry, self._inquiry = self._inquiry, None
        self._end()
        if inquiry is not None:
            inquiry.told(reply)

    def _end(self) -> None:
        self._publishers = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._exchange is None:
            return
        if self._exchange.answered:
            self._exchange.finish()
        else:
            self._exchange.cancel()
