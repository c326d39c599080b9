"""FETCH and fills: past objects of a track on their way to one client, from the cache or from publishers.

Rules:

- What the cache does not know is fetched from a publisher, gap by gap, and passed on as it comes; places
  that stay unknown are marked as such where the draft can say so, elsewhere the stream is reset ("it can
  choose to reset the FETCH data stream ..., or indicate the range of unknown Objects", `fetch-handling`).
- A relay that is subscribed to a track knows its largest object and so where a fetch of it ends; of
  others a publisher is asked, and its FETCH_OK passed on (`message-fetch-ok`).
- An object that is on its way to subscribers is waited for, not asked for.
- FETCH_OK is said when the first object is at hand, so that an error can still be said until then.
- A fetch stream is sent by the priority that the publisher gave the object that was passed to the transport
  last: of what waits there, a mebibyte at most, the transport does not know the parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import LocalProtocolError
from pytest_moqt.protocol.objects import FetchEncoder, FetchObject, FetchRangeEnd
from pytest_moqt.protocol.parameters import Parameter, Parameters, Properties, Property
from pytest_moqt.protocol.registries import REQUEST_ERRORS, STREAM_ERRORS, RequestErrorCode, StreamError
from pytest_moqt.protocol.values import Filter, GroupOrder, KeyValues, Location
from pytest_moqt.relay import limits
from pytest_moqt.relay.asking import Asked, Source, first_of
from pytest_moqt.relay.cache import Kept
from pytest_moqt.relay.clock import Timer
from pytest_moqt.relay.course import LAST_OBJECT, Course, after, end_of, last_of
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.ranges import selected
from pytest_moqt.relay.schedule import DEFAULT_PRIORITY, Rank, Share
from pytest_moqt.relay.session import Session

EMPTY_RANGE, UNKNOWN_RANGE, TIMED_OUT_RANGE = 0x8C, 0x10C, 0x20C
"Flags of an End of Range (`end-of-range`)."


class PastSource(Source, Protocol):
    """A track whose past is wanted."""

    largest: Location | None
    properties: Properties

    @property
    def live(self) -> bool:
        """Whether all that is published comes to the relay, so that it knows the largest object."""

    def await_object(self, place: Location, passed: Callable[[], None]) -> bool:
        """Whether the object there has begun to pass, and is not whole; if so, call back after its end."""

    def fetch_begun(self, fetching: object) -> None:
        """The track is needed."""

    def fetch_over(self, fetching: object) -> None:
        """The track is needed no more, for this."""


class StreamOwner(Protocol):
    """Whose request a fetch stream answers."""

    def opening(self) -> bool:
        """The first bytes follow; False: they must not."""

    def opens_empty(self) -> bool:
        """Whether there is a stream though there are no objects."""

    def opens_failed(self, error: m.RequestError) -> bool:
        """Whether there is a stream, to be reset, though nothing could be sent on it."""

    def stream_over(self) -> None:
        """Nothing more will be sent."""


class FetchStream:
    """One stream of past objects.

    Args:
        source: Their track.
        session: The client's.
        request_id: Of the request that the stream answers.
        course: Which places, in which order.
        owner: Whose request that is.
        rank: By what the stream is sent; where it has got to is put down there.
        fill_ms: FILL_TIMEOUT; None: not given.
    """

    def __init__(
        self,
        source: PastSource,
        session: Session,
        request_id: int,
        course: Course,
        owner: StreamOwner,
        rank: Rank,
        fill_ms: int | None = None,
    ) -> None:
        self.over = False
        self._rank = rank
        self._source = source
        self._session = session
        self._request_id = request_id
        self._course = course
        self._owner = owner
        self._encoder = FetchEncoder(session.draft, descending=course.descending)
        self._stream_id: int | None = None
        self._asked: Asked | None = None
        self._asked_to: Location | None = None
        "Places up to here were asked for: what is still unknown there stays so."
        self._empty_to: Location | None = None
        "Since the last object or marker there are places that hold none, the last of them this one."
        self._error = m.RequestError(RequestErrorCode.INTERNAL_ERROR, "objects are missing")
        self._fill_ms = fill_ms
        self._budget: Timer | None = None
        self._budget_spent = fill_ms == 0
        self._pause: Timer | None = None
        self._refused = False
        "No publisher brings anything: none is asked again."
        self._pumping = False

    def adopt(self, asked: Asked) -> None:
        """Wait for a fetch of the whole course that a publisher has accepted."""
        asked.waiter = self
        self._asked, self._asked_to = asked, self._course.final
        self._start_budget()

    def open(self) -> bool:
        """Open the stream, if it is not yet; False: there will be none."""
        if self._stream_id is not None:
            return True
        stream_id = self._session.open_data_stream(self._stopped, self._rank)
        if stream_id is None:
            error = m.RequestError(RequestErrorCode.INTERNAL_ERROR, "too many streams are open")
            self._owner.opens_failed(error)
            self._end()
            return False
        if not self._owner.opening():
            self._session.end_data_stream(stream_id, StreamError.CANCELLED)
            self._end()
            return False
        self._stream_id = stream_id
        number = self._source.behaviour.fetch_request_id(self._request_id)
        self._write(self._encoder.header(number))
        return True

    def pump(self) -> None:
        """Send what is known, as far as the client keeps up, and see to the rest."""
        if self._pumping:
            return  # who is asked may answer at once
        self._pumping = True
        try:
            self._go_on()
        finally:
            self._pumping = False

    def cancel(self, error: StreamError = StreamError.CANCELLED) -> None:
        """Stop: the client, or its request, is gone."""
        if not self.over:
            if self._stream_id is not None:
                self._session.end_data_stream(self._stream_id, self._source.behaviour.fetch_end(error))
            self._end()

    # FetchWaiter

    def asked_ok(self, ok: m.FetchOk) -> None:
        """The publisher has accepted; where the fetch ends is known already."""

    def asked_more(self) -> None:
        """The cache knows more."""
        if self._fill_ms is None and self._budget is not None:
            # Our own limit is for publishers that bring nothing, not for those that bring much.
            self._budget.cancel()
            self._budget = None
            self._start_budget()
        self.pump()

    def asked_done(self, error: m.RequestError | None) -> None:
        """The publisher has said all it has to say."""
        self._asked = None
        if error is not None:
            self._error = error
            self._refused = error.code not in (RequestErrorCode.INVALID_RANGE, RequestErrorCode.NO_OBJECTS)
        self.pump()

    # private

    def _go_on(self) -> None:
        while not self.over:
            place = self._course.place
            if place is None:
                self._finish()
                return
            if self._has_to_wait():
                return
            found = self._source.cache.at(place, self._course.room)
            if isinstance(found, Kept):
                self._send(place, found)
                self._course.advance(place)
            elif found.empty:
                self._empty_to = self._last_alike(place, found.last)
                self._course.advance(self._empty_to)
            elif not self._look_for(place, found.last):
                return

    def _has_to_wait(self) -> bool:
        if self._stream_id is None:
            return False
        if self._session.transport.backlog(self._stream_id) < limits.FETCH_BACKLOG:
            return False
        if self._pause is None:
            self._pause = self._source.clock.call_later(limits.FETCH_PAUSE_SECONDS, self._resume)
        return True

    def _resume(self) -> None:
        self._pause = None
        self.pump()

    def _look_for(self, place: Location, last: Location) -> bool:
        """Something is unknown: ask, wait, or say so; False: go on later."""
        if self._asked is not None:
            return False
        if not self._budget_spent and self._source.await_object(place, self.pump):
            self._start_budget()
            return False
        if self._asked_to is not None and not self._course.precedes(self._asked_to, place):
            if self._course.precedes(self._asked_to, last):
                last = self._asked_to
            self._say_unknown(self._last_unknown(last, self._asked_to))
            return not self.over
        last = self._last_unknown(self._last_alike(place, last), None)
        if self._budget_spent or self._refused:
            self._say_unknown(last)
            return not self.over
        self._start_budget()
        self._asked_to = last
        first = place
        if last.group < place.group:
            first, last = Location(last.group, 0), Location(place.group, LAST_OBJECT)
        wanted = m.StandaloneFetch(*self._source.name, first, end_of(last))
        self._asked = Asked(self._source, self, wanted, descending=self._course.descending)
        self._asked.begin()
        return self._asked is None

    def _last_unknown(self, last: Location, limit: Location | None) -> Location:
        """How far the unknown goes beyond a stretch of it, where stretches rise."""
        if self._course.descending:
            return last
        while last < self._course.last and (limit is None or last < limit):
            more = self._source.cache.at(after(last), self._course.last if limit is None else limit)
            if isinstance(more, Kept) or more.empty:
                break
            last = more.last
        return last

    def _last_alike(self, place: Location, last: Location) -> Location:
        """The last place of a stretch in this order: it may go on through groups below."""
        course = self._course
        if not course.descending or last.object < LAST_OBJECT or place.object:
            return last
        beginning = course.start.group if not course.start.object else course.start.group + 1
        if place.group <= beginning:
            return last
        return Location(self._source.cache.below(place.group, beginning), LAST_OBJECT)

    def _start_budget(self) -> None:
        if self._budget is None:
            seconds = limits.FETCH_SECONDS
            if self._fill_ms is not None:
                seconds = min(seconds, self._fill_ms / 1000)
            self._budget = self._source.clock.call_later(seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        self._budget = None
        self._budget_spent = True
        self._error = m.RequestError(RequestErrorCode.TIMEOUT, "no publisher brought the objects in time")
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
        self.pump()

    def _send(self, place: Location, kept: Kept) -> None:
        item = FetchObject(
            place.group,
            kept.subgroup_id,
            place.object,
            kept.priority,
            kept.item.payload,
            kept.item.properties,
        )
        passed = self._source.behaviour.fetch_object(item)
        if passed is None or not self.open():
            return
        self._empty_to = None
        try:
            data = self._encoder.object(passed)
        except LocalProtocolError:
            self._fail(StreamError.INTERNAL_ERROR)
            return
        self._rank.publisher_priority, self._rank.group = kept.priority, place.group
        self._write(data)

    def _say_unknown(self, last: Location) -> None:
        """Mark a range, from here on, as unknown, or give up."""
        draft = self._session.draft
        if UNKNOWN_RANGE not in draft.fetch_ranges:
            self._fail(StreamError.UNKNOWN_OBJECT_STATUS)
            return
        if not self.open():
            return
        if self._empty_to is not None:
            # What goes before is known not to exist: the two have to be told apart.
            self._mark(EMPTY_RANGE, self._empty_to)
        late = self._budget_spent and self._fill_ms is not None and TIMED_OUT_RANGE in draft.fetch_ranges
        self._mark(TIMED_OUT_RANGE if late else UNKNOWN_RANGE, last)
        self._empty_to = None
        self._course.advance(last)

    def _mark(self, flags: int, place: Location) -> None:
        most = self._session.draft.integers.maximum
        end = FetchRangeEnd(flags, place.group, min(place.object, most))
        passed = self._source.behaviour.fetch_gap(end)
        if passed is not None:
            self._write(self._encoder.range_end(passed))

    def _write(self, data: bytes) -> None:
        if self._stream_id is not None:
            self._session.send_objects(self._stream_id, data)

    def _finish(self) -> None:
        if self._stream_id is None and not (self._owner.opens_empty() and self.open()):
            self._end()
            return
        if self._stream_id is not None:
            self._session.end_data_stream(self._stream_id, self._source.behaviour.fetch_end(None))
        self._end()

    def _fail(self, error: StreamError) -> None:
        if STREAM_ERRORS.value(error, self._session.draft.number) is None:
            error = StreamError.INTERNAL_ERROR
        if self._stream_id is None and not (self._owner.opens_failed(self._error) and self.open()):
            self._end()
            return
        if self._stream_id is not None:
            self._session.end_data_stream(self._stream_id, self._source.behaviour.fetch_end(error))
        self._end()

    def _stopped(self) -> None:
        # aioquic has answered STOP_SENDING with a reset.
        self._stream_id = None
        self._end()

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        for timer in (self._budget, self._pause):
            if timer is not None:
                timer.cancel()
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
        self._owner.stream_over()


class Fetching:
    """A client's FETCH; the owner of its request."""

    def __init__(self, source: PastSource, exchange: Exchange) -> None:
        self._source = source
        self.exchange = exchange
        self._session = exchange.session
        self._draft = exchange.draft
        request = exchange.request
        assert isinstance(request, m.Fetch)
        self._parameters = request.parameters
        self._share = Share(self._parameters.get(Parameter.SUBSCRIBER_PRIORITY, DEFAULT_PRIORITY))
        order = _order(self._parameters, source.properties, self._draft)
        self._descending = source.behaviour.fetch_order(exchange, order) is GroupOrder.DESCENDING
        self._stream: FetchStream | None = None
        self._asked: Asked | None = None
        self._wanted: m.StandaloneFetch | m.FilteredFetch | None = None
        self._ok: m.FetchOk | None = None
        self._timer: Timer | None = None
        self._asked_at = 0.0
        source.fetch_begun(self)

    def begin(self, wanted: m.StandaloneFetch | m.FilteredFetch, largest: Location | None = None) -> None:
        """Find out what is wanted, and serve it.

        Args:
            wanted: By track and range.
            largest: The last place that is served; None: what is known of the track decides.
        """
        last = last_of(wanted.end) if isinstance(wanted, m.StandaloneFetch) else None
        if isinstance(wanted, m.StandaloneFetch) and last is not None and last < wanted.start:
            self._refuse(RequestErrorCode.INVALID_RANGE, f"{wanted.start} is behind the end, {wanted.end}")
            return
        known = self._source.largest
        if largest is not None:
            self._serve(wanted, largest)
        elif self._source.live or (known is not None and last is not None and last <= known):
            self._serve(wanted, known)
        elif self._fill_ms == 0:
            # Where the answer would end is not known, and nobody may be waited for who could say it.
            self._refuse(RequestErrorCode.TIMEOUT, "nothing of the track is at hand")
        else:
            self._ask(wanted)

    def refuse(self, error: m.RequestError) -> None:
        """There will be no objects."""
        if not isinstance(error.code, RequestErrorCode):
            error = dataclasses.replace(error, code=RequestErrorCode.INTERNAL_ERROR)
        # A redirect or a time to come again was meant for this relay, and for its track only.
        reply = m.RequestError(error.code, error.reason)
        self._source.behaviour.fetch_refused(self.exchange, reply)
        self._over()

    # Owner

    def replied(self, reply: m.Reply) -> None:
        """Not ours: nothing to take."""

    def received(self, message: m.Message) -> None:
        """Take REQUEST_UPDATE, which may change the priority."""
        if not isinstance(message, m.RequestUpdate):
            return
        self._share.priority = message.parameters.get(Parameter.SUBSCRIBER_PRIORITY, self._share.priority)
        if self._session.answers_updates():
            reply = m.RequestOk(KeyValues(), request_id=message.request_id)
            self.exchange.send(reply, answering=m.RequestUpdate)

    def cancelled(self) -> None:
        """The client wants no more: "It MUST reset ... [the] data stream" (`fetch-state-management`)."""
        if self._stream is not None and self._source.behaviour.fetch_cancelled(self.exchange):
            self._stream.cancel()
        self._over()

    # StreamOwner

    def opening(self) -> bool:
        """Say FETCH_OK."""
        assert self._ok is not None
        self._source.behaviour.fetched(self.exchange, self._ok)
        return not self.exchange.over

    def opens_empty(self) -> bool:
        """Draft 14 has an error for it; in others the stream ends after its header."""
        space = "FETCH"
        if REQUEST_ERRORS.value(RequestErrorCode.NO_OBJECTS, self._draft.number, space) is None:
            return True
        self._refuse(RequestErrorCode.NO_OBJECTS, "there are no objects in that range")
        return False

    def opens_failed(self, error: m.RequestError) -> bool:
        """Nothing was said: the request fails."""
        self.refuse(error)
        return False

    def stream_over(self) -> None:
        """The request is over with its stream."""
        self._over()

    # FetchWaiter

    def asked_ok(self, ok: m.FetchOk) -> None:
        """A publisher has accepted: pass its objects on."""
        asked = self._asked
        assert asked is not None
        self._stop_timer()
        last, wanted = last_of(ok.end), self._wanted
        assert wanted is not None
        start = wanted.start if isinstance(wanted, m.StandaloneFetch) else first_of(wanted, last)
        self._prepare(start, ok.end, ok.end_of_track, ok.track_properties)
        fill_ms = self._fill_ms
        if fill_ms is not None:
            fill_ms -= int(1000 * (self._source.clock.time() - self._asked_at))
        stream = self._begin_stream(Course(start, last, descending=self._descending), fill_ms)
        stream.adopt(asked)
        self._asked = None
        stream.pump()

    def asked_more(self) -> None:
        """Nothing comes before FETCH_OK."""

    def asked_done(self, error: m.RequestError | None) -> None:
        """No publisher has accepted."""
        self._asked = None
        wanted = self._wanted
        if (
            error is not None
            and error.code is RequestErrorCode.NO_OBJECTS
            and isinstance(wanted, m.StandaloneFetch)
        ):
            # Draft 14's publisher: the track exists, and the range is empty.
            self._stop_timer()
            self._prepare(wanted.start, wanted.end, False, self._source.properties)
            course = Course(wanted.start, last_of(wanted.end), descending=self._descending)
            self._begin_stream(course, None).pump()
            return
        self.refuse(error or m.RequestError(RequestErrorCode.INTERNAL_ERROR, "the publisher is gone"))

    # private

    @property
    def _fill_ms(self) -> int | None:
        value: int | None = self._parameters.get(Parameter.FILL_TIMEOUT)
        return self._source.behaviour.fill_timeout(self.exchange, value)

    def _serve(self, wanted: m.StandaloneFetch | m.FilteredFetch, largest: Location | None) -> None:
        """Serve from what is known of the track."""
        if largest is None:
            self._refuse(RequestErrorCode.INVALID_RANGE, "nothing was published yet")
            return
        if isinstance(wanted, m.StandaloneFetch):
            start, last = wanted.start, last_of(wanted.end)
        else:
            part = selected(wanted.filter, largest)
            start, last = part.start, part.last or largest
        if start > largest:
            self._refuse(RequestErrorCode.INVALID_RANGE, f"the largest object is {largest}")
            return
        start, last = self._source.behaviour.fetch_range(self.exchange, start, min(last, largest))
        # Cut off, the end is the place behind the largest object; otherwise it is as it was asked for.
        end = Location(last.group, last.object + 1)
        if isinstance(wanted, m.StandaloneFetch) and last_of(wanted.end) <= largest:
            end = wanted.end
        final = self._source.cache.end is not None and last == self._source.largest
        self._prepare(start, end, final, self._source.properties)
        self._begin_stream(Course(start, last, descending=self._descending), self._fill_ms).pump()

    def _ask(self, wanted: m.StandaloneFetch | m.FilteredFetch) -> None:
        self._wanted = wanted
        seconds = limits.FETCH_SECONDS
        if self._fill_ms is not None:
            seconds = min(seconds, self._fill_ms / 1000)
        self._timer = self._source.clock.call_later(seconds, self._late)
        self._asked_at = self._source.clock.time()
        self._asked = Asked(self._source, self, wanted, descending=self._descending)
        self._asked.begin()

    def _late(self) -> None:
        self._timer = None
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None
        self._refuse(RequestErrorCode.TIMEOUT, "no publisher has answered in time")

    def _prepare(self, start: Location, end: Location, final: bool, properties: Properties) -> None:
        """What FETCH_OK will say."""
        if self._draft.fetch_end_included:
            # The last object is written there: of a whole group the last that there can be.
            end = end if end.object else Location(end.group, LAST_OBJECT + 1)
            end = max(end, Location(start.group, start.object + 1))
        elif end.object > self._draft.integers.maximum:
            end = Location(end.group, 0)  # the same, as a publisher of such a draft has said it
        order = GroupOrder.DESCENDING if self._descending else GroupOrder.ASCENDING
        properties = saying_order(properties, order, self._draft)
        if self._parameters.get(Parameter.INCLUDE_PROPERTIES, 1) == 0:
            properties = KeyValues()
        self._ok = m.FetchOk(final, end, track_properties=properties)

    def _begin_stream(self, course: Course, fill_ms: int | None) -> FetchStream:
        number = self.exchange.request_id
        assert number is not None
        rank = Rank(self._share)
        self._stream = FetchStream(self._source, self._session, number, course, self, rank, fill_ms)
        return self._stream

    def _refuse(self, code: RequestErrorCode, reason: str) -> None:
        self.refuse(m.RequestError(code, reason))

    def _over(self) -> None:
        self._stop_timer()
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None
        self.exchange.finish()
        self._source.fetch_over(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class FillOwner(Protocol):
    """The subscription that asked for a fill."""

    def fill_opened(self) -> None:
        """One stream more belongs to the subscription."""

    def fill_over(self, fill: Fill) -> None:
        """A fill has ended."""


class Fill:
    """Past objects that came with a subscription (`fill-semantics`); they have no answer but their stream."""

    def __init__(
        self,
        source: PastSource,
        session: Session,
        request_id: int,
        course: Course,
        owner: FillOwner,
        fill_ms: int | None,
        rank: Rank,
    ) -> None:
        self._owner = owner
        self._stream = FetchStream(source, session, request_id, course, self, rank, fill_ms)

    def begin(self) -> None:
        """Open the stream, send what is known, ask for the rest."""
        self._stream.open()
        self._stream.pump()

    def cancel(self) -> None:
        """The subscription is over: "MUST reset any open fill fetch streams"."""
        self._stream.cancel()

    # StreamOwner

    def opening(self) -> bool:
        """There is no message to say."""
        self._owner.fill_opened()
        return True

    def opens_empty(self) -> bool:
        """The range has places; that none holds an object has to be said."""
        return True

    def opens_failed(self, error: m.RequestError) -> bool:  # noqa: ARG002 - there is no error to be said
        """The stream is there: "it MUST open a fill fetch stream and reset it" (`fill-semantics`)."""
        return True

    def stream_over(self) -> None:
        """Tell the subscription."""
        self._owner.fill_over(self)


def fill_course(
    inside: Parameters, wanted: Filter | None, order: GroupOrder, largest: Location | None
) -> Course | None:
    """The places that a fill brings, up to the largest object.

    Args:
        inside: What is in FILL_PARAMETERS.
        wanted: The filter of the subscription, which holds if there is none inside.
        order: The same of the order.
        largest: The track's largest object; None: there is none yet.

    Returns:
        None when there are no places: no stream is opened then.
    """
    if largest is None:
        return None
    part = selected(inside.get(Parameter.SUBSCRIPTION_FILTER, wanted), largest)
    last = largest if part.last is None else min(part.last, largest)
    descending = inside.get(Parameter.GROUP_ORDER, order) == GroupOrder.DESCENDING
    course = Course(part.start, last, descending=descending)
    return None if course.place is None else course


def saying_order(properties: Properties, order: GroupOrder, draft: Draft) -> Properties:
    """Track properties for an answer that says in which order groups will come, where the draft has such."""
    if not _says_order(draft):
        return properties
    pairs = (pair for pair in properties.pairs if pair[0] != Property.DEFAULT_PUBLISHER_GROUP_ORDER)
    return KeyValues((*pairs, (Property.DEFAULT_PUBLISHER_GROUP_ORDER, int(order))))


def _says_order(draft: Draft) -> bool:
    """Whether answers have a field for the order (14), which messages carry as a track property."""
    return draft.version_code is not None


def _order(parameters: Parameters, properties: Properties, draft: Draft) -> GroupOrder:
    """The order that was asked for; "0x0 indicates the original publisher's" (14), ascending in others."""
    asked = parameters.get(Parameter.GROUP_ORDER)
    if asked is None and _says_order(draft):
        asked = properties.get(Property.DEFAULT_PUBLISHER_GROUP_ORDER)
    return GroupOrder.DESCENDING if asked == GroupOrder.DESCENDING else GroupOrder.ASCENDING
