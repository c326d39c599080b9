"""What a report says of a failed case: expected and received, the cause, and where the rule is written.

Rules:

- The result is made of plain texts, numbers, lists and dicts, since it may cross a process boundary.
- A fault of the relay is a failure; a fault of ours says that it is one (`internal`).
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import pytest

from pytest_moqt.client.errors import ConnectError, name_of, printable
from pytest_moqt.client.failures import CaseFailure, leaves

CONNECT_CAUSES = {
    "dns": "transport",
    "refused": "transport",
    "timeout": "transport",
    "closed": "transport",
    "version": "transport",
    "tls": "tls",
    "alpn": "alpn",
    "webtransport": "webtransport",
    "internal": "internal",
}
"Kinds of ConnectError, as causes of a report."

CONNECT_SECTION = "session-establishment"
"Where the drafts say how a session comes about."

MAX_LINES = 20
"Lines of an explained assertion."
MAX_VALUE = 400
"Characters of a compared value."

_RFC = re.compile(r"rfc(?P<number>\d+)#(?P<section>[\d.]+)$")
_RFC_URL = "https://www.rfc-editor.org/rfc/"

_ISINSTANCE = re.compile(r"isinstance\((?P<value>.*), (?P<kind>.+)\)$", re.DOTALL)


class Comparison(NamedTuple):
    """What an assertion compared, when it failed."""

    operator: str
    left: Any
    right: Any


def diagnose(error: BaseException, statement: str = "", compared: Comparison | None = None) -> dict[str, Any]:
    """The diagnostics of a failure.

    Args:
        error: What ended the case.
        statement: The source of the line it came from, if known.
        compared: The last comparison that failed in an assertion, if there was one.

    Returns:
        `expected`, `received`, `message` and `cause`; where there are any also `spec` (an anchor),
        `draft_number` (of the session that failed), `octets` and what belongs to them (see `reading`),
        `assertion` (lines) and `bail_out` (why no other case is worth trying).
    """
    error = _telling(error)
    if isinstance(error, CaseFailure):
        values: dict[str, Any] = {
            "expected": error.expected,
            "received": error.received,
            "message": str(error),
            "cause": error.cause,
        }
        if error.spec:
            values["spec"] = error.spec
        if error.draft is not None:
            values["draft_number"] = error.draft
            if error.error is not None:
                from pytest_moqt.reading import reading

                values.update(reading(error.error, error.draft))
        return values
    if isinstance(error, ConnectError):
        return _of_connect_error(error)
    if isinstance(error, AssertionError):
        return _of_assertion(str(error), statement, compared)
    if isinstance(error, pytest.fail.Exception):
        message = str(error)
        return {
            "expected": statement or "no failure",
            "received": message,
            "message": message,
            "cause": "data",
        }
    name = type(error).__name__
    return {
        "expected": "the client to do its part",
        "received": name,
        "message": f"an error of the test client, not of the relay: {name}: {error}",
        "cause": "internal",
    }


def _of_connect_error(error: ConnectError) -> dict[str, Any]:
    addresses = ", ".join(error.tried)
    values: dict[str, Any] = {
        "expected": "a connection to the relay" + (f" at {addresses}" if addresses else ""),
        "received": "timeout" if error.kind == "timeout" else error.reason or _said_last(error),
        "message": str(error),
        "cause": CONNECT_CAUSES.get(error.kind, "transport"),
        "spec": CONNECT_SECTION,
    }
    if error.code is not None:
        values["code"] = _code(error)
    if error.unreachable:
        values["bail_out"] = str(error)
    return values


def _said_last(error: ConnectError) -> str:
    """Of a refusal without a text: its code with its name, which ends the sentence."""
    return str(error).rpartition(": ")[2] if error.code is not None else error.kind


def _code(error: ConnectError) -> int | str:
    """The number that came with a failed connection: QUIC's with its name, HTTP's and errno as they are."""
    if error.code is None:
        return ""
    if error.kind == "closed":
        return f"{error.code:#x}"
    return name_of(error.code) if error.kind in ("tls", "alpn", "version") else error.code


def _of_assertion(text: str, statement: str, compared: Comparison | None) -> dict[str, Any]:
    """An assertion as pytest explains it: `assert isinstance(x, RequestOk)`, and what x was."""
    lines = [line for line in text.splitlines() if line.strip()]
    test = _test_of(statement)
    claim = _source(statement, test) if test else statement.strip().removeprefix("assert ").strip()
    explained = next(
        (line for line in lines if line.lstrip().startswith("assert ")), lines[0] if lines else ""
    )
    received = explained.strip().removeprefix("assert ")
    cause = "data"
    for line in lines:
        match = _ISINSTANCE.search(line.strip())
        if match:
            claim = match["kind"]
            received = match["value"]
            cause = "rejected" if received.startswith("RequestError") else "wrong-message"
            break
    values: dict[str, Any] = {
        "expected": claim or "the assertion to hold",
        "received": received or "it did not hold",
        "message": lines[0] if lines else f"does not hold: {claim}",
        "cause": cause,
    }
    if compared is not None and isinstance(test, ast.Compare) and len(test.ops) == 1:
        _say_compared(
            values,
            _source(statement, test.left),
            claim,
            compared,
            said=bool(lines) and not lines[0].startswith("assert "),
        )
    if lines and lines != [values["message"]]:
        values["assertion"] = lines[:MAX_LINES]
    return values


def _test_of(statement: str) -> ast.expr | None:
    """What the assertion of this source asserts."""
    try:
        parsed = ast.parse(textwrap.dedent(statement)).body
    except SyntaxError:
        return None
    return parsed[0].test if parsed and isinstance(parsed[0], ast.Assert) else None


def _source(statement: str, node: ast.expr) -> str:
    """The source of a part of a statement, on one line."""
    return " ".join((ast.get_source_segment(textwrap.dedent(statement), node) or ast.unparse(node)).split())


def _say_compared(values: dict[str, Any], name: str, claim: str, compared: Comparison, *, said: bool) -> None:
    """Put the values compared, which pytest's explanation cuts in their middle, in place of its words."""
    if f" {compared.operator} " not in claim:
        # Another comparison, which failed inside something that went on.
        return
    left, right = _value(compared.left), _value(compared.right)
    values["received"] = left
    if compared.operator == "==":
        values["expected"] = right
        what = f"{name} is {left}, not {right}"
    else:
        values["expected"] = f"{name} {compared.operator} {right}"
        what = f"{name} is {left}, which is not {compared.operator} {right}"
    if not said:
        values["message"] = what


def _value(value: Any) -> str:
    """A compared value: a code by its name, a time without its noise."""
    if isinstance(value, Enum):
        return value.name
    text = f"{value:.1f}" if isinstance(value, float) else repr(value)
    return printable(text, MAX_VALUE)


def _telling(error: BaseException) -> BaseException:
    """The error that tells most: of a group, a failure of the case before anything else."""
    found = sorted(leaves(error), key=_rank)
    for kind in (CaseFailure, ConnectError, AssertionError):
        for leaf in found:
            if isinstance(leaf, kind):
                return leaf
    return found[0] if found else error


def _rank(error: BaseException) -> int:
    """Of several failures, what came before that nothing came, and what a refusal follows from before it.

    A relay that ends a publisher's session refuses whoever waits for that publisher: either may be met first.
    """
    return {"rejected": 1, "timeout": 2}.get(error.cause, 0) if isinstance(error, CaseFailure) else 0


def citations(anchors: Sequence[str], draft: int | None) -> dict[str, Any]:
    """`spec`, and `spec_url` where there is one: the sections, as the draft in use numbers them.

    Args:
        anchors: Names of sections; those that the draft does not have are left out when others are there.
            With none at all the draft itself is cited. Those of an RFC are the same in every draft.
        draft: None when none is known; then the anchors stand for themselves.
    """
    rfcs = [found for anchor in anchors if (found := _RFC.match(anchor))]
    if rfcs and len(rfcs) == len(anchors):
        return {
            "spec": _one_or_all([f"RFC {found['number']} section {found['section']}" for found in rfcs]),
            "spec_url": _one_or_all([f"{_RFC_URL}{found[0].replace('#', '#section-')}" for found in rfcs]),
        }
    if draft is None:
        return {"spec": _one_or_all(list(anchors))} if anchors else {}
    from pytest_moqt.protocol import sections

    known = [anchor for anchor in anchors if sections.section(anchor, draft)] or list(anchors)
    if not known:
        return {"spec": f"MoQT-{draft}", "spec_url": sections.link("", draft)}
    return {
        "spec": _one_or_all([sections.cite(anchor, draft) for anchor in known]),
        "spec_url": _one_or_all([sections.link(anchor, draft) for anchor in known]),
    }


def _one_or_all(entries: list[str]) -> str | list[str]:
    return entries[0] if len(entries) == 1 else entries
