"""Values of the protocol in a report's words: codes by name, bytes in hexadecimal, messages by their fields.

Rules:

- What a peer wrote is data: every text here is printable, and cut where it would be long.
- What is left out is said.
"""

from __future__ import annotations

from typing import Any

from pytest_moqt.client.errors import name_of, printable, quoted
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.events import Close
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.registries import STREAM_ERRORS, describe_session_error

SENTENCE_OCTETS = 64
"Bytes at fault that a sentence shows; a report has all of them beside it."


def describe_close(close: Close, row: Draft) -> str:
    """A close, in the words of the draft spoken: `PROTOCOL_VIOLATION (0x3): "unexpected stream type"`."""
    if close.layer == "session":
        code = describe_session_error(close.code, row.number)
    else:
        layer = {"quic": "QUIC", "http3": "HTTP/3"}[close.layer]
        code = f"{layer} error {name_of(close.code, http3=close.layer == 'http3')}"
    return f"{code}{quoted(close.reason)}"


def describe_error(error: RemoteProtocolError) -> str:
    """What the peer did, and where: `1 byte after the last field of SETUP, at offset 6 of 2f0002000000`."""
    if not error.octets:
        return printable(str(error))
    at = "in" if error.offset is None else f"at offset {error.offset} of"
    return f"{printable(str(error))}, {at} {hexadecimal(error.octets, SENTENCE_OCTETS)}"


def describe_stream_error(code: int | None, wire_code: int | None, row: Draft) -> str:
    """The code of RESET_STREAM or STOP_SENDING: `CANCELLED (0x1)`.

    Args:
        code: None when WebTransport has no such code of an application.
        wire_code: As it stood on the wire, if known.
        row: The draft spoken.
    """
    if code is not None:
        return STREAM_ERRORS.describe(STREAM_ERRORS.name(code, row.number), row.number)
    wire = "a code" if wire_code is None else f"{wire_code:#x},"
    return f"{wire} outside WebTransport's range"


def hexadecimal(octets: bytes, limit: int) -> str:
    """Bytes as `decode` takes them; of more than `limit` the first, and how many there are."""
    if len(octets) <= limit:
        return octets.hex()
    return f"{octets[:limit].hex()}… ({limit} of {len(octets)} bytes)"


def fields(record: Record, limit: int) -> str:
    """A message or object by its fields: `track_namespace=['moq-test'], request_id=0`."""
    # Not loaded by a run in which nobody asks for words.
    from pytest_moqt.protocol.notation import to_json

    said = to_json(record)
    text = ", ".join(f"{name}={_value(value)}" for name, value in said.items() if name != "message")
    return cut(printable(text, 4 * limit), limit)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, the last of which says that there were more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
