"""Relays that are wrong about FETCH, and about fills."""

from __future__ import annotations

import dataclasses

from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.messages import Fetch, FetchOk, RequestError, StandaloneFetch
from pytest_moqt.protocol.objects import FetchObject, FetchRangeEnd
from pytest_moqt.protocol.registries import RequestErrorCode, SessionError, StreamError
from pytest_moqt.protocol.spans import drafts
from pytest_moqt.protocol.values import GroupOrder, KeyValues, Location
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.course import LAST_OBJECT
from pytest_moqt.relay.defects.chapter import CONFORMANCE, WARN, Chapter
from pytest_moqt.relay.exchange import Exchange
from pytest_moqt.relay.session import Session

of_fetch = Chapter("Conformance: fetch", CONFORMANCE)

RANGES = drafts(14, 19)
"Drafts whose FETCH has a type, and whose subscriptions are joined by one."
FILLS = drafts(20)
"Drafts whose subscriptions are filled."


# ---- which objects ---------------------------------------------------------------------------------


@of_fetch.against(
    "fetch-object-dropped",
    "It leaves the second object of each group out of what is fetched.",
    {
        "fetch-standalone-cached": "data",
        "fetch-entire-group": "data",
        "fetch-joining-relative": "data",
        "fetch-joining-absolute": "data",
        "fetch-standalone-upstream": "data",
    },
)
class _FetchObjectDropped(Behaviour):
    def fetch_object(self, item: FetchObject) -> FetchObject | None:
        return None if item.object_id == 1 else item


@of_fetch.against(
    "fetch-whole-group-as-one",
    "It takes an end at object 0, which stands for the whole group, for that object.",
    {"fetch-entire-group": "data"},
)
class _FetchWholeGroupAsOne(Behaviour):
    def fetch_range(
        self,
        exchange: Exchange,  # noqa: ARG002 - of all
        start: Location,
        last: Location,
    ) -> tuple[Location, Location]:
        return start, Location(last.group, 0) if last.object == LAST_OBJECT else last


@of_fetch.against(
    "fetch-end-included",
    "It sends one object more than was asked for: the end of a range up to draft 19 is behind it.",
    {"fetch-partial-multi-group": "data"},
)
class _FetchEndIncluded(Behaviour):
    def fetch_range(
        self,
        exchange: Exchange,  # noqa: ARG002 - of all
        start: Location,
        last: Location,
    ) -> tuple[Location, Location]:
        return start, Location(last.group, min(last.object + 1, LAST_OBJECT))


@of_fetch.against(
    "fetch-whole-groups",
    "It fetches whole groups, whatever part of them was asked for.",
    {"fetch-partial-multi-group": "data", "fetch-descending": "data", "fetch-empty-range": "data"},
    drafts(15),
)
class _FetchWholeGroups(Behaviour):
    def fetch_range(
        self,
        exchange: Exchange,  # noqa: ARG002 - of all
        start: Location,
        last: Location,
    ) -> tuple[Location, Location]:
        return Location(start.group, 0), Location(last.group, LAST_OBJECT)


@of_fetch.against(
    "fetch-ascending-only",
    "It fetches in ascending order where descending order was asked for.",
    {"fetch-descending": "data"},
)
class _FetchAscendingOnly(Behaviour):
    def fetch_order(self, exchange: Exchange, order: GroupOrder) -> GroupOrder:  # noqa: ARG002 - any
        return GroupOrder.ASCENDING


@of_fetch.against(
    "joining-fetch-too-short",
    "What joins a subscription ends one object before it begins.",
    {"fetch-joining-relative": "data", "fetch-joining-absolute": "data"},
    RANGES,
)
class _JoiningFetchTooShort(Behaviour):
    def joins(self, exchange: Exchange, largest: Location) -> Location:  # noqa: ARG002 - of all
        return Location(largest.group, largest.object - 1)


@of_fetch.against(
    "fill-ignored",
    "It subscribes and fills nothing.",
    {"fetch-joining-relative": "timeout", "fetch-joining-absolute": "timeout"},
    FILLS,
)
class _FillIgnored(Behaviour):
    def fills(self, exchange: Exchange, forward: bool) -> bool:  # noqa: ARG002 - none
        return False


@of_fetch.against(
    "fill-while-paused",
    "It fills a subscription that is paused.",
    {"fetch-joining-forward-0": "data"},
    FILLS,
)
class _FillWhilePaused(Behaviour):
    def fills(self, exchange: Exchange, forward: bool) -> bool:  # noqa: ARG002 - all
        return True


# ---- what is said ----------------------------------------------------------------------------------


@of_fetch.against(
    "fetch-stream-of-another",
    "The header of a fetch stream names another request.",
    {"fetch-standalone-cached": "timeout"},
)
class _FetchStreamOfAnother(Behaviour):
    def fetch_request_id(self, request_id: int) -> int:
        return request_id + 2


@of_fetch.against(
    "fetch-ok-end-as-asked",
    "FETCH_OK says that the fetch reaches as far as was asked, though the track does not.",
    {"fetch-end-beyond-largest": "data"},
)
class _FetchOkEndAsAsked(Behaviour):
    def fetched(self, exchange: Exchange, ok: FetchOk) -> None:
        request = exchange.request
        assert isinstance(request, Fetch)
        if isinstance(request.range, StandaloneFetch):
            end = request.range.end
            whole = end.object == 0 and exchange.draft.fetch_end_included
            ok = dataclasses.replace(ok, end=Location(end.group, LAST_OBJECT + 1) if whole else end)
        exchange.reply(ok)


@of_fetch.against(
    "fetch-end-of-track-untold",
    "FETCH_OK never says that the end is that of the track.",
    {"fetch-end-of-track": "data"},
)
class _FetchEndOfTrackUntold(Behaviour):
    def fetched(self, exchange: Exchange, ok: FetchOk) -> None:
        exchange.reply(dataclasses.replace(ok, end_of_track=False))


@of_fetch.against(
    "fetch-invalid-range-accepted",
    "It says FETCH_OK for a range that is none.",
    {
        "fetch-start-beyond-largest": "wrong-message",
        "fetch-no-objects-yet": "wrong-message",
        "fetch-end-before-start": "wrong-message",
        "fetch-joining-forward-0": "wrong-message",
        "fetch-joining-no-content": "wrong-message",
        "fetch-joining-unknown-request": "wrong-message",
        "fetch-nonexistent-track": "wrong-message",
    },
    RANGES,
)
class _FetchInvalidRangeAccepted(Behaviour):
    def fetch_refused(self, exchange: Exchange, error: RequestError) -> None:  # noqa: ARG002 - whatever it is
        exchange.reply(FetchOk(False, Location(1000, 1)))


@of_fetch.against(
    "fetch-refused-for-other-reasons",
    "It refuses every FETCH with INTERNAL_ERROR that it refuses.",
    {
        "fetch-start-beyond-largest": WARN,
        "fetch-no-objects-yet": WARN,
        "fetch-end-before-start": WARN,
        "fetch-joining-unknown-request": WARN,
        "fetch-nonexistent-track": WARN,
    },
)
class _FetchRefusedForOtherReasons(Behaviour):
    def fetch_refused(self, exchange: Exchange, error: RequestError) -> None:
        exchange.reply(dataclasses.replace(error, code=RequestErrorCode.INTERNAL_ERROR))


@of_fetch.against(
    "fetch-type-overlooked",
    "It goes on with a session in which there was a FETCH of an unknown type.",
    {"fetch-invalid-type": "timeout"},
    RANGES,
)
class _FetchTypeOverlooked(Behaviour):
    def violated(self, session: Session, error: RemoteProtocolError) -> SessionError | None:  # noqa: ARG002
        return None


@of_fetch.against(
    "joining-any-subscription",
    "It joins subscriptions that may not be joined.",
    {"fetch-joining-wrong-filter": "timeout", "fetch-joining-forward-0": "wrong-message"},
    RANGES,
)
class _JoiningAnySubscription(Behaviour):
    def joinable(self, exchange: Exchange, allowed: bool) -> bool:  # noqa: ARG002 - whichever
        return True


# ---- where objects come from -----------------------------------------------------------------------


@of_fetch.against(
    "fetch-never-upstream",
    "It asks no publisher for objects that it has not seen.",
    {"fetch-standalone-upstream": "rejected"},
)
class _FetchNeverUpstream(Behaviour):
    def ask_fetch(self, fetch: Fetch) -> Fetch | None:  # noqa: ARG002 - none
        return None


@of_fetch.against(
    "fetch-properties-dropped",
    "Objects that are fetched have lost their properties.",
    {"fetch-properties-preserved": "data"},
)
class _FetchPropertiesDropped(Behaviour):
    def fetch_object(self, item: FetchObject) -> FetchObject | None:
        return dataclasses.replace(item, properties=KeyValues())


@of_fetch.against(
    "fetch-priority-forgotten",
    "Objects that are fetched all have the same priority.",
    {"fetch-properties-preserved": "data"},
)
class _FetchPriorityForgotten(Behaviour):
    def fetch_object(self, item: FetchObject) -> FetchObject | None:
        return dataclasses.replace(item, publisher_priority=128)


@of_fetch.against(
    "fetch-datagram-unmarked",
    "Objects that came in datagrams are fetched as if they were of subgroup 0.",
    {"fetch-properties-preserved": "data"},
    drafts(16),
)
class _FetchDatagramUnmarked(Behaviour):
    def fetch_object(self, item: FetchObject) -> FetchObject | None:
        return dataclasses.replace(item, subgroup_id=item.subgroup_id or 0)


# ---- how streams end -------------------------------------------------------------------------------


@of_fetch.against(
    "fetch-cancel-ignored",
    "It goes on with the stream of a FETCH that was cancelled.",
    {"fetch-cancel": "timeout"},
    drafts(15),
)
class _FetchCancelIgnored(Behaviour):
    def fetch_cancelled(self, exchange: Exchange) -> bool:  # noqa: ARG002 - none
        return False


@of_fetch.against(
    "fetch-cancel-finished",
    "It ends the stream of a FETCH that was cancelled with a FIN, as if it were complete.",
    {"fetch-cancel": "data"},
    drafts(15),
)
class _FetchCancelFinished(Behaviour):
    def fetch_end(self, error: StreamError | None) -> StreamError | None:
        return None if error is StreamError.CANCELLED else error


@of_fetch.against(
    "fetch-unknown-unmarked",
    "It ends a fetch stream as if it were complete, where objects are missing.",
    {"fetch-upstream-failure": "data"},
)
class _FetchUnknownUnmarked(Behaviour):
    def fetch_gap(self, end: FetchRangeEnd) -> FetchRangeEnd | None:  # noqa: ARG002 - of all
        return None

    def fetch_end(self, error: StreamError | None) -> StreamError | None:  # noqa: ARG002 - of all
        return None


@of_fetch.against(
    "fetch-unknown-as-empty",
    "It says of objects that it does not know that they do not exist.",
    {"fetch-fill-timeout-zero": "data"},
    drafts(18),
)
class _FetchUnknownAsEmpty(Behaviour):
    def fetch_gap(self, end: FetchRangeEnd) -> FetchRangeEnd | None:
        return dataclasses.replace(end, flags=0x8C)


@of_fetch.against(
    "fill-timeout-ignored",
    "It waits for publishers though FILL_TIMEOUT is 0.",
    {"fetch-fill-timeout-zero": "timeout"},
    drafts(18),
)
class _FillTimeoutIgnored(Behaviour):
    def fill_timeout(self, exchange: Exchange, milliseconds: int | None) -> int | None:  # noqa: ARG002
        return None


@of_fetch.against(
    "cache-never-expires",
    "It serves what it has kept, however old that is.",
    {"fetch-cache-expired": "data"},
)
class _CacheNeverExpires(Behaviour):
    def cache_seconds(self, seconds: float | None) -> float | None:  # noqa: ARG002 - whatever is said
        return None
