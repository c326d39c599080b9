"""Control messages as frames: type, 16-bit Length, body; read incrementally, written whole.

"MOQT Control Messages are encoded as: Message Type (i), Message Length (16), Message Payload (..)"
(`message`). A Length that does not fit the fields is a PROTOCOL_VIOLATION, as is an unknown type.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_moqt.protocol.buffer import Reader, Writer, counted
from pytest_moqt.protocol.drafts import Draft
from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, ProtocolViolation
from pytest_moqt.protocol.fields import Field
from pytest_moqt.protocol.layouts import Layout, Sender, layout_of_message, layout_of_type
from pytest_moqt.protocol.messages import Message
from pytest_moqt.protocol.record import Record

MAX_BODY = 65535
"Bytes of a body: the Length has 16 bits."


class Frame(Record):
    """One control message, its body not yet understood."""

    type: int
    body: bytes = b""
    length: int | None = None
    "Written in place of the body's real length, for malformed frames."
    type_octets: int | None = None
    "Bytes in which the type is written, if not the fewest."

    def replace(self, **changes: Any) -> Frame:
        """The same frame with one edit: `type`, `body` or `length`."""
        return dataclasses.replace(self, **changes)

    def widened(self, draft: Draft, octets: int) -> Frame:
        """The same message of a client with each of its integers written in so many bytes."""
        message, layout = decode(self, draft, Sender.CLIENT)
        wide = dataclasses.replace(draft, integers=draft.integers.only(octets))
        return encode_by(message, layout, wide).replace(type_octets=octets)

    def encode(self, draft: Draft) -> bytes:
        """The frame's bytes in a draft's integer coding.

        Raises:
            LocalProtocolError: The body is longer than 65535 bytes.
        """
        writer = Writer(draft.integers)
        length = len(self.body) if self.length is None else self.length
        if length > MAX_BODY:
            raise LocalProtocolError(f"a message of {length} bytes, at most {MAX_BODY} are allowed")
        writer.raw(draft.integers.encode(self.type, self.type_octets))
        writer.u16(length)
        writer.raw(self.body)
        return bytes(writer)


def pull_frame(reader: Reader) -> Frame:
    """Read one frame.

    Raises:
        NeedMoreData: It is not whole yet; the reader has not moved.
    """
    start = reader.offset
    try:
        return Frame(reader.vint(), reader.take(reader.u16()))
    except NeedMoreData:
        reader.offset = start
        raise


class FrameBuffer:
    """The bytes of one control or request stream, out of which whole frames are taken.

    At most one frame is ever held back, so memory stays below its 65538 bytes and what one read brings.
    """

    __slots__ = ("_data", "_taken", "draft")

    def __init__(self, draft: Draft, data: bytes = b"") -> None:
        self.draft = draft
        self._data = data
        # Not cut off frame by frame: a read of many small ones would be copied once for each.
        self._taken = 0

    def feed(self, data: bytes) -> None:
        """Add bytes as they come."""
        self._data = self.pending + data
        self._taken = 0

    @property
    def pending(self) -> bytes:
        """What has been fed and not been taken."""
        return self._data[self._taken :]

    def take(self) -> Frame | None:
        """The next whole frame; None until there is one."""
        reader = Reader(self._data, self.draft.integers, self._taken)
        try:
            frame = pull_frame(reader)
        except NeedMoreData:
            self.feed(b"")
            return None
        self._taken = reader.offset
        return frame


def decode(frame: Frame, draft: Draft, sender: Sender) -> tuple[Message, Layout]:
    """What a frame says.

    Args:
        frame: The frame.
        draft: The draft spoken.
        sender: Who sent it.

    Returns:
        The message and the row by which it was read.

    Raises:
        RemoteProtocolError: The draft has no such message, or the body is not what it prescribes;
            `offset` counts from the body's first byte.
    """
    layout = layout_of_type(draft, frame.type, sender)
    if layout is None:
        raise ProtocolViolation(
            f"{draft.name} defines no message of type {frame.type:#x} from a {sender.value}"
        )
    return decode_body(frame.body, layout, draft), layout


def decode_body(
    body: bytes,
    layout: Layout,
    draft: Draft,
    trace: list[tuple[Field, int, int]] | None = None,
    read: dict[str, Any] | None = None,
) -> Message:
    """Read a body by a row (see `decode`).

    Args:
        body: The bytes behind the Length.
        layout: The row.
        draft: The draft spoken.
        trace: Given: where each field stood, up to one that cannot be read, is appended to it.
        read: Given: what they said is put into it, by attribute.
    """
    reader = Reader(body, draft.integers)
    values: dict[str, Any] = {} if read is None else read
    for field in layout.fields:
        start = reader.offset
        try:
            field.pull(reader, draft, values)
            if trace is not None:
                trace.append((field, start, reader.offset))
        except NeedMoreData:
            raise ProtocolViolation(
                f"the {len(body)} bytes of {layout.label} end inside its {field.name}", offset=reader.offset
            ) from None
        except ProtocolViolation as error:
            raise ProtocolViolation(f"{layout.label}: {error}", offset=error.offset) from None
    if not reader.at_end:
        raise ProtocolViolation(
            f"{counted(reader.remaining)} after the last field of {layout.label}", offset=reader.offset
        )
    return layout.message(**values)


def encode(
    message: Message,
    draft: Draft,
    *,
    sender: Sender,
    answering: type[Message] | None = None,
) -> Frame:
    """A message as a frame.

    Raises:
        LocalProtocolError: The draft cannot say that.
    """
    return encode_by(
        message, layout_of_message(draft, type(message), answering=answering, sender=sender), draft
    )


def encode_by(message: Message, layout: Layout, draft: Draft) -> Frame:
    """A message as a frame, by a row.

    Raises:
        LocalProtocolError: A value is missing, or the draft cannot write it.
    """
    writer = Writer(draft.integers)
    for field in layout.fields:
        field.push(writer, draft, message)
    return Frame(layout.code, bytes(writer))
