"""What the YAML block of a test point owes: the time, of a failure the reason, and whose sessions they were.

Source: the runner's TEST-CLIENT-INTERFACE.md, and what its newer editions add. A connection id is the
client's Initial Destination Connection ID, which has 8 to 20 bytes (RFC 9000, section 7.2).
"""

from __future__ import annotations

import re

from pytest_moqt.lint.block import Block, Container, Scalar
from pytest_moqt.lint.point import Point
from pytest_moqt.lint.rules import Findings, shown
from pytest_moqt.lint.runner import Verdict

CAUSES = (
    *("transport", "tls", "alpn", "webtransport", "setup", "rejected", "wrong-message", "malformed"),
    *("timeout", "closed", "reset", "data", "internal"),
)
FAILURE_FIELDS = ("expected", "received", "message", "cause")
SESSION_FIELDS = ("moqt_version", "transport", "alpn")
"What a session that stood is described by, beside its connection id."
CONNECTION_ID = "quic_initial_destination_connection_id"

_HEX = re.compile(r"(?:[0-9a-f]{2}){8,20}")
_ROLE = re.compile(r"[a-z]+(?:[_-][a-z0-9]+)*")


class Diagnostics:
    """Checks the blocks of the points of one document."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def check(self, point: Point, block: Block | None, values: Container | None) -> None:
        """Check what belongs to one point.

        Args:
            point: A point of the document itself, not of a subtest.
            block: Its YAML block, if it has one.
            values: The mapping in it; None where there is none, which has been noted then.
        """
        skipped = point.directive == "SKIP"
        if block is None:
            if not skipped:
                self._findings.add("yaml-missing", point.line, f"{shown(point.name)} has no YAML block")
            return
        if values is None:
            return
        self._duration(block, values)
        if point.verdict is Verdict.FAILED:
            self._failure(block, values)
        if "cause" in values.entries:
            self._cause(values.entries["cause"])
        ids = _connection_ids(values)
        if point.ok and not point.directive:
            self._identity(block, values, ids)
        self._form(values, ids)

    def _duration(self, block: Block, values: Container) -> None:
        duration = values.entries.get("duration_ms")
        if duration is None:
            self._findings.add("duration", block.line, "the YAML block has no `duration_ms`")
        elif not isinstance(duration, Scalar) or duration.number is None or duration.number < 0:
            said = shown(duration.text) if isinstance(duration, Scalar) else "no number"
            self._findings.add("duration", duration.line, f"`duration_ms` is {said} and no number from 0 up")

    def _failure(self, block: Block, values: Container) -> None:
        cause = values.entries.get("cause")
        missing = [name for name in FAILURE_FIELDS if not _says_something(values.entries.get(name))]
        if missing:
            self._findings.add(
                "failure-fields", block.line, f"the YAML block of a failure has no {', '.join(missing)}"
            )

        # Where the client itself is at fault no section of the draft is.
        internal = isinstance(cause, Scalar) and cause.text == "internal"
        if not internal and not _says_something(values.entries.get("spec")):
            self._findings.add("failure-spec", block.line, "the YAML block of a failure has no spec")

    def _cause(self, cause: Scalar | Container) -> None:
        if not isinstance(cause, Scalar):
            self._findings.add("cause", cause.line, "`cause` is not one text")
        elif cause.text not in CAUSES:
            self._findings.add(
                "cause", cause.line, f"no cause is called {shown(cause.text)}: {', '.join(CAUSES)}"
            )

    def _identity(self, block: Block, values: Container, ids: dict[str, Scalar | Container]) -> None:
        missing = [] if ids else ["connection_id or <role>_connection_id"]
        missing += [
            name
            for name in ("sessions", "implementation_version", "test_spec_revision")
            if not _says_something(values.entries.get(name))
        ]
        sessions = values.entries.get("sessions")
        if isinstance(sessions, Container):
            for role, session in sessions.entries.items():
                lacks = [
                    name
                    for name in (*SESSION_FIELDS, CONNECTION_ID)
                    if isinstance(session, Container) and not _says_something(session.entries.get(name))
                ]
                missing += [f"sessions.{role}.{name}" for name in lacks]
        if missing:
            shortened = missing if len(missing) <= 8 else [*missing[:7], f"{len(missing) - 7} more"]
            self._findings.add(
                "identity",
                block.line,
                f"the YAML block of a test point that passed has no {', '.join(shortened)}",
            )

    def _form(self, values: Container, ids: dict[str, Scalar | Container]) -> None:
        for key, value in ids.items():
            role = key.removesuffix("connection_id").removesuffix("_")
            if role and _ROLE.fullmatch(role) is None:
                self._findings.add("identity-form", value.line, f"{shown(role)} in {shown(key)} is no role")
            self._hexadecimal(key, value)
        sessions = values.entries.get("sessions")
        if sessions is None:
            return
        if not isinstance(sessions, Container) or not sessions.mapping:
            self._findings.add("identity-form", sessions.line, "`sessions` is no mapping of roles")
            return
        for role, session in sessions.entries.items():
            if not isinstance(session, Container) or not session.mapping:
                self._findings.add(
                    "identity-form", session.line, f"`sessions` has no mapping for {shown(role)}"
                )
                continue
            known = session.entries.get(CONNECTION_ID)
            if known is None:
                continue
            self._hexadecimal(CONNECTION_ID, known)
            alone = len(sessions.entries) == 1
            flat = ids.get(f"{role}_connection_id", ids.get("connection_id") if alone else None)
            if flat is None or _text(flat) != _text(known):
                self._findings.add(
                    "identity-form",
                    known.line,
                    f"the connection id of {shown(role)} is not the one beside `sessions`",
                )

    def _hexadecimal(self, key: str, value: Scalar | Container) -> None:
        text = _text(value)
        if text is None or _HEX.fullmatch(text) is None:
            said = "it" if text is None else shown(text)
            self._findings.add(
                "identity-form",
                value.line,
                f"`{key}` is to be 8 to 20 bytes in lower-case hexadecimal: {said} is not",
            )


def _connection_ids(values: Container) -> dict[str, Scalar | Container]:
    return {
        key: value
        for key, value in values.entries.items()
        if key == "connection_id" or key.endswith("_connection_id")
    }


def _text(value: Scalar | Container) -> str | None:
    return value.text if isinstance(value, Scalar) else None


def _says_something(value: Scalar | Container | None) -> bool:
    if isinstance(value, Scalar):
        return value.quoted or value.text not in ("", "~", "null")
    return value is not None and bool(value.entries)
