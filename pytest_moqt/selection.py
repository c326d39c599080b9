"""Which cases a run is to have: by name, pattern, section, profile and level, less what is left out.

Nothing here imports pytest: the command refuses and lists before it loads anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from pytest_moqt import catalog
from pytest_moqt.options import OptionError

_SECTION = re.compile(r"\d+(\.\d+)*")


class Selection(NamedTuple):
    """What was asked for, and the cases that it stands for."""

    cases: tuple[catalog.Case, ...]
    "In the order in which they run."
    unknown: tuple[str, ...] = ()
    "Names, patterns and sections that stand for no case."
    nothing_left: str = ""
    "With no case and nothing unknown: what was selected from what."

    @property
    def beyond_the_catalogue(self) -> bool:
        """Whether it has cases of the conformance suite."""
        return any(case.profile in catalog.CHAPTERS for case in self.cases)


def select(
    wanted: Sequence[str],
    profiles: Sequence[str] = (),
    *,
    levels: Sequence[str] = (),
    exclude: Sequence[str] = (),
    draft: int,
) -> Selection:
    """The cases that are asked for.

    Args:
        wanted: Names, patterns such as `fetch-*`, and numbers of sections such as `10.7`, which stand for
            the cases that cite one of them or one below it. Those of the profile `soak` are meant by their
            names and by patterns that begin with `soak`.
        profiles: Names of profiles; the cases of all of them, beside those that are wanted. With neither it
            is the catalogue, or, where levels are given, everything that has one of them.
        levels: Only cases of these levels; none: of any.
        exclude: Names, patterns and sections of what is left out.
        draft: The number of the draft whose sections are meant.

    Raises:
        OptionError: Something is to be left out that stands for no case.
    """
    # For the catalogue's own names the list of the other cases is not even read.
    at_hand = not (profiles or levels or exclude) and set(catalog.IDENTIFIERS).issuperset(wanted)
    if at_hand and not wanted:
        return Selection(catalog.CATALOG)
    everything = catalog.CATALOG if at_hand else catalog.known()
    unknown: list[str] = []
    if wanted or profiles:
        names = {case.identifier for case in everything if case.profiles.intersection(profiles)}
        for pattern in dict.fromkeys(wanted):
            found = _meant(pattern, _at_hand(pattern, everything), draft)
            names.update(found)
            if not found:
                unknown.append(pattern)
    elif levels:
        names = {case.identifier for case in everything if catalog.ALL in case.profiles}
    else:
        names = set(catalog.IDENTIFIERS)
    cases = [case for case in everything if case.identifier in names]
    first = len(cases)
    if levels:
        cases = [case for case in cases if case.level.lower() in levels]
    at_level = len(cases)
    for pattern in exclude:
        left_out = _meant(pattern, everything, draft)
        if not left_out:
            raise OptionError(f"--exclude: {did_you_mean(pattern, draft)}")
        cases = [case for case in cases if case.identifier not in left_out]
    nothing_left = ""
    if not cases and not unknown:
        said = [f"of {len(everything)} cases {first} were named"]
        if levels:
            said.append(f"{at_level} of those have the level {' or '.join(levels)}")
        if exclude:
            said.append(f"{at_level - len(cases)} were excluded by {', '.join(exclude)}")
        nothing_left = f"no case is left: {', '.join(said)}"
    return Selection(tuple(cases), tuple(unknown), nothing_left)


def _at_hand(pattern: str, cases: Iterable[catalog.Case]) -> list[catalog.Case]:
    """The cases that a pattern may stand for: for those that take minutes not by the way."""
    return [case for case in cases if case.profile != catalog.SOAK or pattern.startswith(catalog.SOAK)]


def _meant(pattern: str, cases: Iterable[catalog.Case], draft: int) -> set[str]:
    """The names of the cases that a name, a pattern or a section stands for."""
    if not _SECTION.fullmatch(pattern):
        return {case.identifier for case in cases if fnmatchcase(case.identifier, pattern)}
    from pytest_moqt.protocol.sections import section

    def cites(case: catalog.Case) -> bool:
        numbers = (section(anchor, draft) for anchor in case.anchors)
        return any(number and f"{number}.".startswith(f"{pattern}.") for number in numbers)

    return {case.identifier for case in cases if cites(case)}


def is_section(text: str) -> bool:
    """Whether this names a section instead of a case."""
    return _SECTION.fullmatch(text) is not None


def did_you_mean(name: str, draft: int) -> str:
    """A sentence about a name that no case has."""
    import difflib

    if is_section(name):
        long = [*_meant(name, catalog.conformance(), draft)]
        if long:
            return f"only {long[0]} cites section {name} of draft-{draft}: ask for it by its name"
        return f"no case cites section {name} of draft-{draft}"
    close = difflib.get_close_matches(name, [case.identifier for case in catalog.known()], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the cases are {', '.join(catalog.IDENTIFIERS)}"
    return f"no case is called {name!r}: {hint}"
