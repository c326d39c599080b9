"""Entries of the list of defects: what one says of itself, and the cases and drafts that entries speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pytest_moqt.protocol.spans import Span, drafts
from pytest_moqt.relay.behaviour import Behaviour

DEFAULT = "catalogue"
"The profile of the cases that run by default, with which most defects are judged."
QUIC = "quic"
"The profile of the cases about the QUIC beneath sessions."
CONFORMANCE = "conformance"
"Of defects that only cases of the conformance suite can see."
WARN = "warn"
"What becomes of a case of the suite where the relay misses a SHOULD, or has another code."
INFO = "info"
"What becomes of one where the relay takes another of the ways that its draft leaves it: that is no defect."
PASS = "pass"
"The same, where there is nothing to say of the way."
SKIP = "skip"
"The same, where the way leaves nothing to judge."

DATA_SUBGROUP = "data-subgroup-basic"
"A candidate for the catalogue, of the conformance suite: no default case carries objects."

ANNOUNCING = frozenset(
    {"announce-only", "publish-namespace-done", "announce-subscribe", "subscribe-before-announce"}
    | {DATA_SUBGROUP}
)
REQUESTING = ANNOUNCING | {"subscribe-error", "rendezvous-timeout"}
ALL = REQUESTING | {"setup-only"}
WITHDRAWING = frozenset({"publish-namespace-done"})
REFUSED = frozenset({"subscribe-error"})
UNPUBLISHED = REFUSED | {"subscribe-before-announce"}
ROUTED = frozenset({"announce-subscribe", DATA_SUBGROUP})
EARLY = frozenset({"subscribe-before-announce"})
HELD = frozenset({"rendezvous-timeout"})
DELIVERED = frozenset({DATA_SUBGROUP})

CONTROL_STREAM = drafts(14, 16)
"Drafts that answer requests on the control stream, under their ids."
REQUEST_STREAMS = drafts(17)
"Drafts that answer requests on streams of their own."
SUB_PROTOCOL = drafts(15)
"Drafts that a WebTransport client offers by name."
WEBTRANSPORT = frozenset({"webtransport"})


NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Defect:
    """One wrong way, or one odd way that a draft allows."""

    name: str
    sentence: str
    "What the relay does, for a list of them."
    cases: frozenset[str]
    "Identifiers of the cases that must fail; none: the draft and the limits of the cases allow it."
    cause: str
    "The cause class that their reports must name; empty when no case fails."
    behaviour: type[Behaviour]
    drafts: Span | None = None
    "The drafts that it exists in; None: all."
    transports: frozenset[str] | None = None
    "`quic`, `webtransport`; None: both."
    profile: str = DEFAULT
    "Of the cases that it is judged with."
    skips: frozenset[str] = frozenset()
    "Identifiers of the cases that must be skipped: it does not offer what they are about, and need not."
    suite: Mapping[str, str] = field(default_factory=dict)
    "Cases of the conformance suite that see it, and what becomes of each: the cause, or a word from above."

    def applies(self, number: int, transport: str) -> bool:
        """Whether the relay is wrong in a draft over a transport."""
        return (self.drafts is None or number in self.drafts) and (
            self.transports is None or transport in self.transports
        )


Registration = Callable[[type[Behaviour]], type[Behaviour]]


class Chapter:
    """Defects of one kind: called with an entry's words, it takes in the class that follows."""

    def __init__(self, title: str, profile: str = DEFAULT) -> None:
        self.title = title
        self.profile = profile
        self.defects: list[Defect] = []

    def __call__(
        self,
        name: str,
        sentence: str,
        cases: frozenset[str],
        cause: str,
        where: Span | None = None,
        transports: frozenset[str] | None = None,
        skips: frozenset[str] = frozenset(),
        suite: Mapping[str, str] = NOTHING,
    ) -> Registration:
        """An entry that fails these cases, for this cause; and those of the suite, each for its own."""

        def register(behaviour: type[Behaviour]) -> type[Behaviour]:
            self.defects.append(
                Defect(name, sentence, cases, cause, behaviour, where, transports, self.profile, skips, suite)
            )
            return behaviour

        return register

    def against(
        self,
        name: str,
        sentence: str,
        suite: Mapping[str, str],
        where: Span | None = None,
        transports: frozenset[str] | None = None,
    ) -> Registration:
        """An entry that only cases of the conformance suite can see, with what becomes of each of them."""
        return self(name, sentence, frozenset(), "", where, transports, suite=suite)

    def lawful(
        self,
        name: str,
        sentence: str,
        where: Span | None = None,
        transports: frozenset[str] | None = None,
        skips: frozenset[str] = frozenset(),
    ) -> Registration:
        """An entry that fails no case, and may have some skipped: whoever fails a relay for it is wrong."""
        return self(name, sentence, frozenset(), "", where, transports, skips)
