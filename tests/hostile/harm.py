"""One way for a relay to harm, or to surprise, and a run of the command against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from client_command import Run
from fronts import Hostile, certificate_file, serving
from judging import SETUP_FIRST, assert_survived, judge

from tests.sweeps import dealt

FORGED = b"no\nok 3 - forged\nnot ok 4 - forged # TODO\n...\nBail out! forged\x1b[2J\x07\xe2\x80\xae"
"A text of a relay's that would be five lines of a report."
NOT_UTF8 = b"\xff\xfe\nok 3 - forged\n\x80"


@dataclass(frozen=True, eq=False)
class Harm:
    """A behaviour, and the verdict on it."""

    name: str
    hostile: Callable[[], Hostile]
    section: str
    "Which says what a client makes of it."
    cause: str | Mapping[str, str | None] | None = None
    "Of the first case's failure, by transport where that differs; None: it may do that, and the case passes."
    says: str = ""
    "Words of the failure's message."
    cases: tuple[str, ...] = SETUP_FIRST
    bail_out: bool = False
    "Nothing of the relay can be reached."
    transports: tuple[str, ...] = ("quic", "webtransport")

    def cause_over(self, transport: str) -> str | None:
        """Of the first case's failure over a transport."""
        return self.cause[transport] if isinstance(self.cause, Mapping) else self.cause


class Meeting(NamedTuple):
    """One behaviour over one transport."""

    harm: Harm
    transport: str

    def __str__(self) -> str:
        return f"{self.harm.name}-{self.transport}"


def ordinary(harms: tuple[Harm, ...]) -> list[Meeting]:
    """What an ordinary run judges: one transport for each, and both where the verdict is not the same."""
    return [
        Meeting(harm, transport)
        for harm in harms
        for transport in (
            harm.transports if isinstance(harm.cause, Mapping) else [dealt(harm.transports, harm.name)]
        )
    ]


class Judged(NamedTuple):
    """A run, and what became of the relay."""

    run: Run
    acted: int
    failures: list[BaseException]


def meetings(harms: tuple[Harm, ...]) -> list[Meeting]:
    """Each behaviour over each of its transports."""
    return [Meeting(harm, transport) for harm in harms for transport in harm.transports]


def meet(meeting: Meeting, folder: Path) -> Judged:
    """Judge that relay."""
    with serving(meeting.harm.hostile) as front:
        run = judge(front.url(meeting.transport), certificate_file(folder), folder, meeting.harm.cases)
        return Judged(run, front.victim.acted, front.failures)


def assert_right(judged: Judged, meeting: Meeting) -> None:
    """The behaviour did happen, its verdict is the right one, and the case after it is unharmed."""
    harm = meeting.harm
    assert judged.failures == []
    assert judged.acted > 0
    assert_survived(judged.run, harm.cases, harm.cause_over(meeting.transport), bail_out=harm.bail_out)
    assert harm.says in judged.run.document.points[0].values.get("message", "")
