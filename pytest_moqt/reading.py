"""Bytes at fault as a report shows them: what they are, what is read in them, and how to see it again.

A relay's author decides with it who is wrong; `wire` does the reading, as the `decode` command does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_moqt import wire
from pytest_moqt.client.wording import cut, hexadecimal
from pytest_moqt.protocol.drafts import draft
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.layouts import Sender

TEXT_OCTETS = 200
"Bytes that stand in one text; a report cuts it at 500 characters."
LINE_OCTETS = 64
"Bytes of a line of more than those."
MAX_LINES = 16
"Such lines that are shown."
MAX_ROWS = 30
"Fields that are shown."
ROW_OCTETS = 16
"Bytes of a field that are shown."
REST_OCTETS = 48
"Bytes that are shown of those that were not read."
VALUE_CHARACTERS = 200
MAX_READ = 8192
"Bytes of a data stream that are read."


def reading(error: RemoteProtocolError, number: int) -> dict[str, Any]:
    """The diagnostics about bytes that a draft does not allow.

    Args:
        error: What is wrong, with the bytes.
        number: The draft's.

    Returns:
        `octets` (hexadecimal), `offset` where reading stopped in them, `reading` (a line for each field),
        and `decode` (a command that shows the same) where they are few enough; nothing without bytes.
    """
    if not error.octets:
        return {}
    values: dict[str, Any] = {"octets": _octets(error.octets)}
    if error.offset is not None:
        values["offset"] = error.offset
    values["reading"] = _rows(error, number)
    if len(error.octets) <= TEXT_OCTETS:
        stream = "--from server" if error.stream == "control" else f"--stream {error.stream}"
        values["decode"] = f"moq-test-client decode --draft {number} {stream} {error.octets.hex()}"
    return values


def _octets(octets: bytes) -> str | list[str]:
    if len(octets) <= TEXT_OCTETS:
        return octets.hex()
    lines = [octets[at : at + LINE_OCTETS].hex() for at in range(0, len(octets), LINE_OCTETS)]
    left_out = len(octets) - MAX_LINES * LINE_OCTETS
    return [*lines[:MAX_LINES], *([f"… {left_out} more bytes of {len(octets)}"] if left_out > 0 else [])]


def _rows(error: RemoteProtocolError, number: int) -> list[str]:
    """What is read up to where reading stops, and why it does."""
    row = draft(number)
    rows: list[wire.Row] = []
    octets = error.octets
    if error.stream != "control" and len(octets) > MAX_READ:
        if error.offset is None or error.offset > MAX_READ - LINE_OCTETS:
            return [f"{len(octets)} bytes are not read here: reading stopped: {error}"]
        octets = octets[:MAX_READ]
    end = "nothing is left: these bytes can be read, but may not come here"
    if error.fault != "wrong-message":
        end = f"reading stopped: {error}"
    try:
        if error.stream == "control":
            items = wire.read_control(octets, row, [Sender.SERVER])
        elif error.stream == "datagram":
            items = wire.read_datagram(octets, row)
        else:
            items = wire.read_stream(octets, row)
        for item in items:
            rows += item.rows
    except wire.Stopped as stopped:
        rows += stopped.rows
        end = f"{stopped.offset}: reading stopped: {stopped}"
    lines = [*_shown(rows), end]
    read_to = max((row.offset + len(row.octets) for row in rows), default=0)
    if rest := octets[read_to:]:
        lines.append(f"{read_to}: not read [{hexadecimal(rest, REST_OCTETS)}]")
    if error.left_out:
        lines.insert(0, f"{error.left_out} bytes between the stream's header and these could be read")
    return lines


def _shown(rows: Sequence[wire.Row]) -> list[str]:
    lines = []
    for row in rows:
        if not row.octets:
            # A field that may be left out, and is.
            continue
        value = "" if row.value == "null" else f" {cut(row.value, VALUE_CHARACTERS)}"
        lines.append(f"{row.offset}: {row.name}{value} [{hexadecimal(row.octets, ROW_OCTETS)}]")
    if len(lines) > MAX_ROWS:
        # Those next to where it stopped say most.
        lines = [f"… {len(lines) - MAX_ROWS} fields before these are left out", *lines[-MAX_ROWS:]]
    return lines
