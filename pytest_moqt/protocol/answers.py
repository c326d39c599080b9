"""What an answer may say, beyond its layout: rules that need the request it answers.

Which messages answer which request is in `layouts.py`; whoever matches answers to requests asks here next.
"""

from __future__ import annotations

from typing import Any

from pytest_moqt.protocol import messages as m
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import ProtocolViolation
from pytest_moqt.protocol.layouts import Layout, Sender, layout_of_message
from pytest_moqt.protocol.values import Location


def check_answer(
    reply: m.Reply, layout: Layout, asked: type[m.Message], request: Any, draft: Draft, sender: Sender
) -> None:
    """Hold an answer against its request.

    Args:
        reply: The answer.
        layout: Its row.
        asked: What it answers: the request's first message, or an update of it.
        request: The request's first message.
        draft: The session's.
        sender: Who answers.

    Raises:
        ProtocolViolation: Track Properties where only TRACK_STATUS gets them (`message-request-ok`); a
            redirect that its receiver can make nothing of (`redirect-structure`); a FETCH_OK that ends
            before the FETCH begins (`message-fetch-ok`).
    """
    name = layout.name
    if isinstance(reply, m.RequestOk) and reply.track_properties and asked is not m.TrackStatus:
        what = layout_of_message(draft, asked).name
        raise ProtocolViolation(f"{name} with Track Properties in answer to {what}")
    if isinstance(reply, m.RequestError) and reply.redirect is not None:
        if reply.redirect.connect_uri and sender is Sender.CLIENT:
            raise ProtocolViolation(f"{name} redirects a server to {reply.redirect.connect_uri[:200]!r}")
        nameless = asked in (m.SubscribeNamespace, m.PublishNamespace) or (
            asked is m.SubscribeTracks and draft.tracks_redirect_to_namespace
        )
        if reply.redirect.track_name and nameless:
            what = layout_of_message(draft, asked).name
            raise ProtocolViolation(f"{name} redirects {what} to a track, {reply.redirect.track_name!r}")
    if isinstance(reply, m.FetchOk) and isinstance(request, m.Fetch):
        start = _first(request)
        # The place behind the last object; object 0 there stands for the whole group. Where that place is
        # what the draft writes, it may be the start itself: there was nothing.
        end = reply.end if reply.end.object else Location(reply.end.group + 1, 0)
        if start is not None and (end < start or (end == start and draft.fetch_end_included)):
            raise ProtocolViolation(f"{name} ends before {end}, {start} was asked for")


def _first(fetch: m.Fetch) -> Location | None:
    """Where a fetch begins; None: that depends on what the publisher has."""
    if isinstance(fetch.range, m.StandaloneFetch):
        return fetch.range.start
    if isinstance(fetch.range, m.FilteredFetch) and fetch.range.filter is not None:
        return fetch.range.filter.start
    return None
