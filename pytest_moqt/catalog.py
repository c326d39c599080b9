"""The cases that run by default: the runner's catalogue and nothing else.

Rules:

- This is the list that `--list` prints and that names are checked against, without importing pytest. A
  test holds it equal to what pytest collects from `interop_tests`.
- Identifiers are the runner's. They carry no draft number and are never used again for another case.

Source: the runner's TEST-CASES.md (July 2026), and its later catalogue for `rendezvous-timeout`.
"""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_SECONDS = 5.0
"The limit of a case for which none is specified (TEST-CLIENT-INTERFACE.md, timeout handling)."

REVISION = 1
"Of the catalogue's specifications taken together, as implemented here."


class Case(NamedTuple):
    """One case of the catalogue."""

    identifier: str
    module: str
    "Its module in `interop_tests`."
    function: str
    seconds: float
    after_sending: bool
    "The limit counts from our first request instead of from the start of the case."
    anchors: tuple[str, ...]
    "The sections it judges."
    since: int = 0
    "The first draft that it exists in; 0: all have it."
    level: str = "MUST"
    revision: int = 1
    "Of its specification, as implemented here."


CATALOG: tuple[Case, ...] = (
    Case(
        "setup-only",
        "test_session",
        "test_setup_only",
        2.0,
        False,
        ("session-init", "message-setup"),
    ),
    Case(
        "announce-only",
        "test_namespaces",
        "test_announce_only",
        2.0,
        True,
        ("message-pub-ns", "message-request-ok", "message-pub-ns-ok"),
    ),
    Case(
        "publish-namespace-done",
        "test_namespaces",
        "test_publish_namespace_done",
        2.0,
        True,
        (
            "message-pub-ns",
            "message-request-ok",
            "message-pub-ns-ok",
            "message-pub-ns-done",
            "request-cancellation",
        ),
    ),
    Case(
        "subscribe-error",
        "test_subscriptions",
        "test_subscribe_error",
        2.0,
        False,
        ("message-subscribe-req", "message-request-error", "message-subscribe-error"),
    ),
    Case(
        "announce-subscribe",
        "test_subscriptions",
        "test_announce_subscribe",
        3.0,
        False,
        ("message-pub-ns", "message-subscribe-req", "message-subscribe-ok"),
    ),
    Case(
        "subscribe-before-announce",
        "test_subscriptions",
        "test_subscribe_before_announce",
        3.5,
        False,
        ("message-subscribe-req", "message-subscribe-ok", "message-request-error", "message-pub-ns"),
    ),
    Case(
        "rendezvous-timeout",
        "test_subscriptions",
        "test_rendezvous_timeout",
        3.0,
        False,
        ("rendezvous-timeout", "message-request-error"),
        since=18,
    ),
)

IDENTIFIERS: tuple[str, ...] = tuple(case.identifier for case in CATALOG)


def find(identifier: str) -> Case | None:
    """The case with that identifier."""
    return next((case for case in CATALOG if case.identifier == identifier), None)
