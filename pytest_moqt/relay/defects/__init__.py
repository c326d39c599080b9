"""Relays that are wrong in exactly one way each: with them the test suite is proven able to fail.

Rules:

- A defect overrides decisions of `Behaviour`, and only for one wrong way; everything else stays correct.
- An entry says which cases must fail with it, for which cause. All other cases must pass. A case that
  a draft does not have, as `rendezvous-timeout` before 18, is skipped there as ever.
- An entry that fails no case is odd, and allowed: slow within the limits of every case, or saying what the
  draft tells its peer to bear. It proves that no case is stricter than its specification.
- Each is judged with the cases of one profile: those that run by default, those about QUIC, or those of the
  conformance suite, of which it names what becomes of each that it turns red. One that does not offer what
  it need not offer says which of these cases have to be skipped with it.
- `drafts` and `transports` say where the defect exists; elsewhere the relay is a correct one.
- Nothing waits but on a timer of the session (`Session.call_later`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from pytest_moqt.protocol.drafts import Draft, draft
from pytest_moqt.relay.behaviour import Behaviour
from pytest_moqt.relay.defects import (
    data_streams,
    delivery,
    namespaces,
    quic,
    sessions,
    subscriptions,
    timing,
)
from pytest_moqt.relay.defects.chapter import DEFAULT, Chapter, Defect
from pytest_moqt.relay.defects.conformance import (
    auth,
    data,
    fetch,
    malformed,
    publish,
    robustness,
    session,
    status,
    transport,
)
from pytest_moqt.relay.defects.conformance import namespaces as conformance_namespaces
from pytest_moqt.relay.defects.conformance import subscriptions as conformance_subscriptions

CHAPTERS: tuple[Chapter, ...] = (
    sessions.on_connection,
    sessions.on_setup,
    namespaces.on_publish_namespace,
    namespaces.on_withdrawal,
    subscriptions.on_unpublished,
    subscriptions.on_published,
    subscriptions.on_early,
    subscriptions.on_rendezvous,
    timing.in_time,
    data_streams.on_data,
    delivery.in_delivery,
    quic.beneath,
    session.in_sessions,
    conformance_namespaces.of_namespaces,
    publish.of_publish,
    conformance_subscriptions.of_subscriptions,
    data.of_objects,
    fetch.of_fetch,
    status.of_status,
    auth.of_tokens,
    malformed.of_malformed,
    transport.of_transports,
    robustness.under_load,
)
"In the order in which a session meets them, but for what is beneath it."

DEFECTS: Mapping[str, Defect] = MappingProxyType(
    {defect.name: defect for chapter in CHAPTERS for defect in chapter.defects}
)
"Every defect by its name."


def behaviour_of(name: str | None) -> Behaviour:
    """How the relay of a defect decides; without a name, a correct one.

    Raises:
        KeyError: There is no such defect; the message is a sentence that names those most like it.
    """
    if name is None:
        return Behaviour()
    try:
        return DEFECTS[name].behaviour()
    except KeyError:
        close = difflib.get_close_matches(name, DEFECTS, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise KeyError(f"no defect is called {name!r}{hint}") from None


def applicable(number: int, transport: str, profile: str = DEFAULT) -> list[Defect]:
    """The defects that exist in a draft over a transport, of those judged with the cases of a profile."""
    row: Draft = draft(number)
    return [
        defect
        for defect in DEFECTS.values()
        if defect.profile == profile and defect.applies(row.number, transport)
    ]
