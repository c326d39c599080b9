"""The list of the cases, for people and for machines; no run is needed for it.

Rules:

- Plain, it is one name a line and nothing else: other programs read it.
- What a draft lacks is not in the list of that draft.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_moqt import catalog


def plain(cases: Sequence[catalog.Case]) -> str:
    """The names, one a line."""
    return "".join(f"{case.identifier}\n" for case in cases)


def long(cases: Sequence[catalog.Case], numbers: Sequence[int]) -> str:
    """A paragraph for each case: name, level and profile, drafts, sections, and what is required.

    Args:
        cases: What to list.
        numbers: The drafts in question, whose sections are told, the preferred first.
    """
    return "\n".join(_paragraph(case, numbers) for case in cases)


def as_json(cases: Sequence[catalog.Case], numbers: Sequence[int]) -> str:
    """The same for machines: an array with an object for each case.

    `sections` has the numbers of the sections by draft; those of an RFC stand under `rfc`.
    """
    import json

    return json.dumps([_entry(case, numbers) for case in cases], indent=1) + "\n"


def exists_in(case: catalog.Case, number: int) -> bool:
    """Whether a draft has what a case needs."""
    return case.since <= number <= (case.until or number)


def _paragraph(case: catalog.Case, numbers: Sequence[int]) -> str:
    kind = " (optional)" if case.optional else ""
    over = f", over {case.transport} only" if case.transport else ""
    lines = [f"{case.identifier}: {case.level}, {case.profile}{kind}, {_drafts(case)}{over}"]
    sections = _sections(case, numbers)
    for number in numbers:
        if found := sections.get(str(number)):
            lines.append(f"  draft-{number}: {', '.join(found)}")
            break
    if found := sections.get("rfc"):
        lines.append(f"  {', '.join(found)}")
    lines.append(f"  {case.summary}" if case.summary else "")
    return "\n".join(filter(None, lines)) + "\n"


def _drafts(case: catalog.Case) -> str:
    from pytest_moqt.protocol.spans import drafts

    return str(drafts(case.since, case.until or None)) if case.since or case.until else "all drafts"


def _sections(case: catalog.Case, numbers: Sequence[int]) -> dict[str, list[str]]:
    from pytest_moqt.protocol.sections import section

    rfcs = [
        anchor.replace("rfc", "RFC ").replace("#", " section ") for anchor in case.anchors if "#" in anchor
    ]
    found = {
        str(number): list(dict.fromkeys(filter(None, (section(anchor, number) for anchor in case.anchors))))
        for number in numbers
        if exists_in(case, number)
    }
    return {key: value for key, value in {**found, "rfc": rfcs}.items() if value}


def _entry(case: catalog.Case, numbers: Sequence[int]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "identifier": case.identifier,
        "level": case.level,
        "profile": case.profile,
        "optional": case.optional,
        "drafts": [number for number in numbers if exists_in(case, number)],
        "sections": _sections(case, numbers),
        "timeout_seconds": case.seconds,
        "revision": case.revision,
        "requirement": case.summary,
    }
    if case.transport:
        entry["transport"] = case.transport
    return entry
