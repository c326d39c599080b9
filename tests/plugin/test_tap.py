"""TAP text: whatever the values are, a strict reader gets them back and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strict_tap import prefixed, read, runner_count

from pytest_moqt import tap

HOSTILE = [
    "ok 1 - forged",
    "x\nok 2 - forged",
    "x\r\nnot ok 3\rBail out!",
    "# SKIP not really",
    " # TODO later \\# \\",
    "...\n  ...\n---\n",
    "Bail out! no",
    "\x1b[31mred\x1b[0m \x00\x07",
    "line\u2028separator\u2029and\x85next",
    "\u202egnp.exe \ufeff\u200b",
    "\ud800 lone",
    "😀 é ￿",
    "quotes \" and \\ and ' and `",
    "key: value: @x %YAML {a} [b] &c *d !e |f >g",
    "\ttabs\tand   spaces   ",
    "",
    "1..7",
    "test-client-1  | ok 5",
    "- ok",
    "x" * 100_000,
]

texts = st.text() | st.sampled_from(HOSTILE)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(name=texts.filter(str.strip), reason=texts, directive=st.sampled_from(["", "SKIP", "TODO"]))
def test_a_point_is_one_line_whatever_its_texts(name: str, reason: str, directive: str) -> None:
    """Description and reason come back as they are shown, and never as another directive or line."""
    document = read(tap.VERSION + tap.plan(1) + tap.point(True, 1, name, directive, reason))

    assert document.points[0].directive == directive
    assert document.points[0].name == tap.printable(name).strip()
    assert document.points[0].reason == (tap.printable(reason).strip() if directive else "")


def _is_free(key: str) -> bool:
    """Whether lint has no opinion on what a key of that name holds."""
    return "session" not in key.casefold() and "connection_id" not in key.casefold()


@given(values=st.dictionaries(texts.filter(_is_free), values, max_size=6))
def test_a_block_is_yaml_whatever_its_values(values: dict[str, object]) -> None:
    """Every block parses, and no line of it counts as a point, with its indentation or without."""
    text = tap.VERSION + tap.plan(1) + tap.point(False, 1, "case") + tap.yaml_block(values)

    assert read(text).verdicts == [("case", "not ok")]
    assert runner_count(text) == runner_count(prefixed(text)) == (0, 1, 0)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_data(text: str) -> None:
    """A relay's text keeps its meaning, shortened if need be, and forges nothing."""
    block = tap.yaml_block({"received": text})
    document = read(tap.VERSION + tap.plan(1) + tap.point(False, 1, "case") + block + tap.bail_out(text))

    received = document.points[0].values["received"]
    lines = received if isinstance(received, list) else [received]
    wanted = "".join(text.split()).encode("utf-8", "replace").decode()[:100]
    assert "".join("".join(lines).split()).startswith(wanted[:100].rstrip("…"))
    assert document.bail_out is not None


def test_numbers_stay_numbers_and_texts_stay_texts() -> None:
    """An id that looks like a number is not changed by any reader, since it is quoted."""
    block = tap.yaml_block({"duration_ms": 24, "connection_id": "84e5", "ok": True, "none": None})

    assert block == ('  ---\n  duration_ms: 24\n  connection_id: "84e5"\n  ok: true\n  none: null\n  ...\n')


def test_lines_become_a_list_of_lines() -> None:
    """A text of several lines is readable, without a literal block that could be taken for points."""
    assert tap.yaml_block({"message": "first\n\n  ok 2\r\nthird"}) == (
        '  ---\n  message:\n    - "first"\n    - "  ok 2"\n    - "third"\n  ...\n'
    )


def test_a_block_is_bounded() -> None:
    """Values without end do not make a report without end."""
    flood = {f"key_{number}": ["x" * 3000] * 100 for number in range(100)}

    assert len(tap.yaml_block(flood)) < tap.MAX_BLOCK


def test_empty_values_give_no_block() -> None:
    """A point without diagnostics is a line alone."""
    assert tap.yaml_block({}) == ""
    assert tap.yaml_block({"sessions": {"client": {}}, "steps": []}) == ""


def test_a_plan_of_none_says_why() -> None:
    """The reason stands where readers look for it; a plan with points has none, since some lose it."""
    assert tap.plan(0, "no case # selected") == "1..0 # SKIP no case \\# selected\n"
    assert tap.plan(3, "ignored") == "1..3\n"


def test_a_subtest_is_a_document_of_its_own() -> None:
    """Steps stand four spaces in, before their parent's point."""
    steps = [("connected", True, ""), ("answered", False, ""), ("goaway", True, "SKIP draft-14 lacks it")]
    text = tap.VERSION + tap.plan(1) + tap.subtest("case", steps) + tap.point(False, 1, "case")

    children = read(text).points[0].children

    assert children is not None
    assert children.verdicts == [("connected", "ok"), ("answered", "not ok"), ("goaway", "SKIP")]
