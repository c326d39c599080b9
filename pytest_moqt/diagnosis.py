"""What a report says of a failed case: expected and received, the cause, and where the rule is written.

Rules:

- The result is made of plain texts, numbers, lists and dicts, since it may cross a process boundary.
- A fault of the relay is a failure; a fault of ours says that it is one (`internal`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pytest_moqt.client.errors import ConnectError
from pytest_moqt.client.failures import CaseFailure

CONNECT_CAUSES = {
    "dns": "transport",
    "refused": "transport",
    "timeout": "transport",
    "closed": "transport",
    "version": "transport",
    "tls": "tls",
    "alpn": "alpn",
    "webtransport": "webtransport",
}
"Kinds of ConnectError, as causes of a report."

MAX_LINES = 20
"Lines of an explained assertion."

_ISINSTANCE = re.compile(r"isinstance\((?P<value>.*), (?P<kind>.+)\)$", re.DOTALL)


def diagnose(error: BaseException, statement: str = "") -> dict[str, Any]:
    """The diagnostics of a failure.

    Args:
        error: What ended the case.
        statement: The source of the line it came from, if known.

    Returns:
        `expected`, `received`, `message` and `cause`; also `spec` (an anchor), `assertion` (lines) and
        `bail_out` (why no other case is worth trying) where there are any.
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
        return values
    if isinstance(error, ConnectError):
        return _of_connect_error(error)
    if isinstance(error, AssertionError):
        return _of_assertion(str(error), statement)
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
        "received": "timeout" if error.kind == "timeout" else str(error.reason or error.kind),
        "message": str(error),
        "cause": CONNECT_CAUSES.get(error.kind, "transport"),
    }
    if error.code is not None:
        values["code"] = error.code
    if error.unreachable:
        values["bail_out"] = str(error)
    return values


def _of_assertion(text: str, statement: str) -> dict[str, Any]:
    """An assertion as pytest explains it: `assert isinstance(x, RequestOk)`, and what x was."""
    lines = [line for line in text.splitlines() if line.strip()]
    claim = statement.strip().removeprefix("assert ").strip()
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
    if lines:
        values["assertion"] = lines[:MAX_LINES]
    return values


def _telling(error: BaseException) -> BaseException:
    """The error that tells most: of a group, a failure of the case before anything else."""
    leaves = list(_leaves(error))
    for kind in (CaseFailure, ConnectError, AssertionError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0] if leaves else error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def citations(anchors: Sequence[str], draft: int | None) -> dict[str, Any]:
    """`spec`, and `spec_url` where there is one: the sections, as the draft in use numbers them.

    Args:
        anchors: Names of sections; those that the draft does not have are left out when others are there.
        draft: None when none was negotiated; then the anchors stand for themselves.
    """
    if draft is None:
        return {"spec": _one_or_all(list(anchors))} if anchors else {}
    from pytest_moqt.protocol import sections

    known = [anchor for anchor in anchors if sections.section(anchor, draft)]
    if not known:
        return {"spec": _one_or_all(list(anchors))} if anchors else {}
    return {
        "spec": _one_or_all([sections.cite(anchor, draft) for anchor in known]),
        "spec_url": _one_or_all([sections.link(anchor, draft) for anchor in known]),
    }


def _one_or_all(entries: list[str]) -> str | list[str]:
    return entries[0] if len(entries) == 1 else entries
