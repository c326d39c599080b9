"""Which cases a run is to have, how they are listed, and what known failures a file tells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_moqt import catalog, expectations, listing
from pytest_moqt.catalog import Case
from pytest_moqt.options import OptionError, levels
from pytest_moqt.protocol.sections import section
from pytest_moqt.selection import Selection, did_you_mean, select

SUITE = (
    Case("fetch-whole", "conformance/x", "test_a", 2.0, False, ("message-fetch",), profile="fetch"),
    Case(
        *("fetch-old", "conformance/x", "test_b", 2.0, False, ("message-fetch", "fetch-header")),
        until=16,
        level="SHOULD",
        profile="fetch",
        optional=True,
        summary="It fetches.",
    ),
    Case(
        *("object-large", "conformance/y", "test_c", 2.0, False, ("model-object",)),
        since=18,
        level="MAY",
        profile="data",
        transport="webtransport",
    ),
    Case(
        *("soak-silent", "conformance/z", "test_d", 120.0, False, ("model-object", "security-timeouts")),
        level="MAY",
        profile="soak",
    ),
)


@pytest.fixture(autouse=True)
def suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A conformance suite of three cases."""
    monkeypatch.setattr(catalog, "conformance", lambda: SUITE)


def names(selection: Selection) -> list[str]:
    """Of the cases that were selected."""
    return [case.identifier for case in selection.cases]


@pytest.mark.parametrize(
    ("wanted", "profiles", "more", "expected"),
    [
        ([], [], {}, list(catalog.IDENTIFIERS)),
        ([], ["all"], {}, [*catalog.IDENTIFIERS, "fetch-whole", "fetch-old", "object-large"]),
        ([], ["core"], {}, ["fetch-whole", "object-large"]),
        ([], ["fetch", "data"], {}, ["fetch-whole", "fetch-old", "object-large"]),
        (["fetch-*"], [], {}, ["fetch-whole", "fetch-old"]),
        (["setup-only", "fetch-old"], ["data"], {}, ["setup-only", "fetch-old", "object-large"]),
        ([], ["all"], {"levels": ["should", "may"]}, ["fetch-old", "object-large"]),
        ([], [], {"levels": ["may"]}, ["object-large"]),
        ([], ["fetch"], {"exclude": ["*-old"]}, ["fetch-whole"]),
        ([], ["soak"], {}, ["soak-silent"]),
        (["soak-silent"], [], {}, ["soak-silent"]),
        (["soak*", "object-large"], [], {}, ["object-large", "soak-silent"]),
        (["*"], ["fetch"], {"exclude": ["quic-*"], "levels": ["may"]}, ["object-large"]),
        ([section("model-object", 18) or ""], [], {}, ["object-large"]),
        ([], ["soak", "data"], {"exclude": ["*silent"]}, ["object-large"]),
    ],
)
def test_cases_are_chosen(
    wanted: list[str], profiles: list[str], more: dict[str, list[str]], expected: list[str]
) -> None:
    """By name, pattern and profile, beside each other; levels and exclusions narrow that."""
    assert names(select(wanted, profiles, draft=18, **more)) == expected


def test_a_section_is_that_of_the_draft_in_use() -> None:
    """And of what stands below it; numbers move from draft to draft."""
    for draft in (16, 18, 22):
        number = section("message-fetch", draft)
        assert number is not None
        assert names(select([number], draft=draft)) == ["fetch-whole", "fetch-old"]
    assert "fetch-whole" in names(select(["10"], draft=18))
    assert "fetch-whole" not in names(select(["1"], draft=18))


def test_what_stands_for_nothing_is_unknown() -> None:
    """A name, a pattern, a section; what is excluded has to be something."""
    selection = select(["fetch-whol", "no-*", "99.9"], draft=18)

    assert (selection.cases, selection.unknown) == ((), ("fetch-whol", "no-*", "99.9"))
    assert did_you_mean("fetch-whol", 18) == "no case is called 'fetch-whol': did you mean 'fetch-whole'?"
    assert did_you_mean("99.9", 18) == "no case cites section 99.9 of draft-18"
    timeouts = section("security-timeouts", 18) or ""
    assert select([timeouts], draft=18).unknown == (timeouts,)
    assert did_you_mean(timeouts, 18) == (
        f"only soak-silent cites section {timeouts} of draft-18: ask for it by its name"
    )
    with pytest.raises(OptionError, match=r"^--exclude: no case is called 'fetch-whol': did you mean"):
        select([], ["fetch"], exclude=["fetch-whol"], draft=18)


def test_an_empty_selection_says_what_was_selected_from_what() -> None:
    """In one sentence."""
    selection = select([], ["fetch"], levels=["should"], exclude=["fetch-old"], draft=18)

    everything = len(catalog.known())
    assert selection.nothing_left == (
        f"no case is left: of {everything} cases 2 were named, 1 of those have the level should, "
        "1 were excluded by fetch-old"
    )


def test_a_selection_knows_whether_it_goes_beyond_the_catalogue() -> None:
    """That is what decides on the run's budget."""
    assert not select([], draft=18).beyond_the_catalogue
    assert not select([], ["quic"], draft=18).beyond_the_catalogue
    assert select(["setup-only", "fetch-old"], draft=18).beyond_the_catalogue


def test_levels_are_read() -> None:
    """In any case of letters; another word is refused with the good ones."""
    assert levels(["MUST,should"]) == ["must", "should"]
    with pytest.raises(OptionError, match=r"^--level is 'shall': use must, should, may$"):
        levels(["shall"])


# ---- the list --------------------------------------------------------------------------------------


def test_the_long_list_tells_what_is_asked() -> None:
    """Level, profile, drafts, sections of the first draft that has the case, and the requirement."""
    assert listing.long(SUITE[1:3], [22, 16]) == (
        f"fetch-old: SHOULD, fetch (optional), drafts up to 16\n"
        f"  draft-16: {section('message-fetch', 16)}, {section('fetch-header', 16)}\n"
        "  It fetches.\n"
        "\n"
        "object-large: MAY, data, drafts 18 and later, over webtransport only\n"
        "  draft-22: 2.1\n"
    )


def test_the_list_for_machines_has_the_same() -> None:
    """An object for each case."""
    entries = json.loads(listing.as_json(SUITE[:3], [18, 16]))

    assert [entry["identifier"] for entry in entries] == ["fetch-whole", "fetch-old", "object-large"]
    assert entries[1]["drafts"] == [16]
    assert entries[1]["sections"] == {"16": [section("message-fetch", 16), section("fetch-header", 16)]}
    assert (entries[1]["level"], entries[1]["optional"]) == ("SHOULD", True)
    assert entries[2]["transport"] == "webtransport"


# ---- known failures --------------------------------------------------------------------------------


def test_known_failures_are_read(tmp_path: Path) -> None:
    """With one draft, several, or none."""
    path = tmp_path / "known.yaml"
    path.write_text(
        "- case: fetch-*\n  draft: 16\n  reason: no cache\n"
        "- {case: setup-only, draft: [14, 18], reason: known}\n"
        "- case: object-large\n  reason: |\n    too\n    large\n"
    )

    first, second, third = expectations.load(str(path))

    assert first.is_about("fetch-old", 16)
    assert not first.is_about("fetch-old", 18)
    assert not first.is_about("fetch-old", None)
    assert not first.is_about("setup-only", 16)
    assert (second.drafts, third.drafts) == ((14, 18), ())
    assert third.reason == "too large"
    assert third.is_about("object-large", None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("case: setup-only", "line 1: it is no list of entries"),
        ("- setup-only", "line 1: an entry is a mapping with the keys case, draft, reason"),
        (
            "- case: setup-only\n  reason: x\n- case: nobody\n  reason: x",
            "line 3: the key case has 'nobody', which",
        ),
        ("\n- case: 7\n  reason: x", "line 2: the key case has 7; use the name of a case, or a pattern"),
        ("- case: setup-only", "line 1: the key reason has None; say why the failure is known"),
        (
            "- case: setup-only\n  reason: x\n  drafts: 16",
            "line 3: there is no key 'drafts'; use case, draft, reason",
        ),
        ("- case: setup-only\n  reason: x\n  draft: 13", "line 3: the key draft has 13; use 22, 21, 20"),
        ("- case: setup-only\n  reason: x\n  draft: ['16']", "line 3: the key draft has '16'; use 22"),
        ("- case: [", "line 1: "),
        (
            "- case: setup-only\n  reason: 2024-13-45",
            "line 2: the key reason has '2024-13-45', which YAML cannot read; quote it",
        ),
        (
            "- case: setup-only\n  reason: x\n  draft: 0b_",
            "line 3: the key draft has '0b_', which YAML cannot read; quote it",
        ),
        *(
            (f"- case: setup-only\n  reason: x\n  draft: !!{tag} ''", "line 3: the key draft has '', which")
            for tag in ("int", "float", "bool", "timestamp")
        ),
        (
            "- case: setup-only\n  reason: x\n  case: announce-only\n  reason: y",
            "line 3: the key case is there twice; each entry begins with `- `",
        ),
        (
            "- case: setup-only\n  reason: x\n  draft: []",
            "line 3: the key draft has an empty list; use 22, 21, 20",
        ),
        ("- case: setup-only\n  reason: [x]", "line 2: the key reason has a list, where none can be"),
        ("- &a\n  case: setup-only\n  reason: *a", "line 3: the key reason has a mapping, where none can"),
        ("- [case]: setup-only", "line 1: there is no key that is a list or a mapping; use case, draft"),
        ("- case: !!python/object:os.system x", "line 1: could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_line_and_key(
    tmp_path: Path, text: str, sentence: str
) -> None:
    """In one sentence."""
    path = tmp_path / "known.yaml"
    path.write_text(text)

    with pytest.raises(OptionError) as refused:
        expectations.load(str(path))

    assert str(refused.value).startswith(f"{path} {sentence}")
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, or no text."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, why in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "it is not UTF-8"),
    ):
        with pytest.raises(OptionError, match=rf"^--expect is .*, which cannot be read: {why}"):
            expectations.load(str(path))


def test_a_file_that_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    """Every process of a run reads it; whoever came second would expect nothing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(OptionError, match=r"^--expect is .*, which is no regular file: it is read more th"):
        expectations.load(str(pipe))


def test_an_empty_file_expects_nothing(tmp_path: Path) -> None:
    """As does one of comments."""
    path = tmp_path / "known.yaml"
    path.write_text("# nothing yet\n")

    assert expectations.load(str(path)) == ()
