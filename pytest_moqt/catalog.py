"""The cases, each in a profile: those of the runner's catalogue run by default, the others when asked for.

Rules:

- These are the lists that `--list` prints and that names are checked against, without importing pytest. A
  test holds them equal to what pytest collects from `interop_tests`.
- What runs by default is the runner's catalogue and nothing else. Its identifiers are the runner's; no
  identifier carries a draft number or is ever used again for another case.
- The cases of a suite beside it are in the folder of `interop_tests` that has the suite's name. Those of the
  suite `conformance` are told by their tests alone: `conformance.json`, a case a line, is written from what
  pytest collects there (`make catalogue`).

Source: the runner's TEST-CASES.md (July 2026), and its later catalogue for `rendezvous-timeout`; for the
profile `quic` the test cases of the QUIC Interop Runner, made questions to a relay.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, NamedTuple

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop_tests")
"Where the cases are that come with this."

DEFAULT_SECONDS = 5.0
"The limit of a case for which none is specified (TEST-CLIENT-INTERFACE.md, timeout handling)."

DEFAULT = "catalogue"
"The profile of what runs when nothing else is asked for."
CATEGORIES = (
    *("session", "namespaces", "publish", "subscriptions", "data", "fetch", "status", "auth"),
    *("malformed", "transport", "robustness"),
)
"The profiles of the conformance suite, in the order in which its cases run."
SOAK = "soak"
"The conformance cases that take minutes: they run when they are asked for by name, or by this profile."
CHAPTERS = (*CATEGORIES, SOAK)
"Every profile that a conformance case may have of its own."
SOAK_SECONDS = 90.0
"How long they are silent: three times the idle timeout that is usual."
CORE = "core"
"The conformance cases about what every relay has to do; the others are about what it may offer."
ALL = "all"
"The catalogue and the whole conformance suite."
CONFORMANCE = "conformance"
"The suite of the profiles above, and its folder."

LEVELS = ("must", "should", "may")
"How strongly the draft asks for what a case is about; `may` is also what it leaves to the relay."

REVISION = 1
"Of the catalogue's specifications taken together, as implemented here."


class Case(NamedTuple):
    """One case of the catalogue."""

    identifier: str
    module: str
    "Its module in `interop_tests`, with `/` below a folder."
    function: str
    seconds: float
    after_sending: bool
    "The limit counts from our first request instead of from the start of the case."
    anchors: tuple[str, ...]
    "The sections it judges: anchors of the MoQT draft, or such as `rfc9000#8.1.2`."
    since: int = 0
    "The first draft that it exists in; 0: all have it."
    level: str = "MUST"
    revision: int = 1
    "Of its specification, as implemented here."
    profile: str = DEFAULT
    "What it is chosen by together with others of its kind."
    until: int = 0
    "The last draft that it exists in; 0: no end."
    optional: bool = False
    "A relay need not offer what it is about: NOT_SUPPORTED is a reason to skip it."
    transport: str = ""
    "`quic` or `webtransport` where only one has what it is about."
    summary: str = ""
    "What is required of the relay, in one line."

    @property
    def profiles(self) -> frozenset[str]:
        """Every profile that it is chosen by."""
        if self.profile not in CATEGORIES:
            return frozenset({self.profile, ALL} if self.profile == DEFAULT else {self.profile})
        return frozenset({self.profile, ALL} if self.optional else {self.profile, ALL, CORE})


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
"Of the cases that run by default."


def _quic(identifier: str, module: str, seconds: float, *anchors: str) -> Case:
    function = f"test_{identifier.replace('-', '_')}"
    return Case(identifier, f"quic/{module}", function, seconds, False, anchors, profile="quic")


QUIC: tuple[Case, ...] = (
    _quic("quic-handshake", "test_handshakes", 5.0, "rfc9000#7", "rfc9001#4.1.2"),
    _quic("quic-transfer", "test_transfer", 20.0, "rfc9000#4.1", "rfc9000#4.2"),
    _quic("quic-retry", "test_handshakes", 9.0, "rfc9000#8.1.2", "rfc9000#8.1.3", "rfc9000#17.2.5"),
    _quic("quic-keyupdate", "test_keys", 8.0, "rfc9001#6"),
    _quic("quic-chacha20", "test_keys", 5.0, "rfc8446#9.1", "rfc9001#5.4.4"),
    _quic("quic-v2", "test_versions", 5.0, "rfc9369#4", "rfc9368#2"),
    _quic("quic-vn", "test_versions", 5.0, "rfc9000#6.1"),
    _quic("quic-resumption", "test_resumption", 8.0, "rfc9001#4.5", "rfc8446#2.2"),
    _quic("quic-zerortt", "test_resumption", 8.0, "rfc9001#4.6", "rfc9001#9.2"),
    _quic("quic-connectionmigration", "test_migration", 10.0, "rfc9000#9.3", "rfc9000#9.5"),
    # The last: it uses up what a relay allows of connections in a time.
    _quic("quic-multiconnect", "test_handshakes", 30.0, "rfc9000#5.2.2", "rfc9002#6.2"),
)
"About the QUIC beneath a session; the names are the QUIC Interop Runner's behind `quic-`."

PROFILES: tuple[str, ...] = (DEFAULT, ALL, CORE, *CHAPTERS, *dict.fromkeys(case.profile for case in QUIC))
SUITES: dict[str, frozenset[str]] = {
    "quic": frozenset({"quic"}),
    CONFORMANCE: frozenset({ALL, CORE, *CHAPTERS}),
}
"Folders of `interop_tests` that are left out until one of these profiles is asked for."


@cache
def conformance() -> tuple[Case, ...]:
    """The cases of the conformance suite, in the order in which they run."""
    import json

    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance.json")
    with open(path, encoding="utf-8") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return tuple(Case(**{**row, "after_sending": False, "anchors": tuple(row["anchors"])}) for row in rows)


def known() -> tuple[Case, ...]:
    """Every case, those that run by default first."""
    return (*CATALOG, *conformance(), *QUIC)


def find(identifier: str) -> Case | None:
    """The case with that identifier."""
    return next((case for case in known() if case.identifier == identifier), None)


def matching(pattern: str) -> list[str]:
    """The names that a name or a pattern such as `announce-*` stands for; of every profile."""
    from fnmatch import fnmatchcase

    names = [case.identifier for case in known()]
    return [name for name in names if name == pattern or fnmatchcase(name, pattern)]
