"""aiomoqt's codec behind a pipe: a question in JSON on a line of its input, an answer on one of its output.

Run by the Python that aiomoqt is installed for; nothing of ours is imported. A question has `draft`, `plane`
(control, stream or datagram), `hex`, and whether a FETCH is answered in `descending` order. The answer
has `refused`, or `read`, what it took the bytes for, and `written` or `unwritable`, what it writes for that.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from copy import copy
from itertools import pairwise
from typing import Any

from aiomoqt.context import profile_for
from aiomoqt.messages.base import MOQTUnderflow
from aiomoqt.messages.data import FetchHeader, ObjectHeader, SubgroupHeader
from aiomoqt.protocol import MOQTStreamReject, _DataStreamState, _MOQTSessionMixin
from aiomoqt.utils.buffer import Buffer, BufferReadError
from aiopquic._binding._streamchain import StreamChain

STREAM = 3


class Refused(Exception):
    """It would end the session, or drop the stream or datagram."""


class Session(_MOQTSessionMixin):
    """As much of its session as its reading of data needs: no connection, and every stream is welcome."""

    def __init__(self, draft: int, descending: bool = False) -> None:
        self._profile = profile_for(draft)
        self._data_streams = {}
        self._track_default_priority: dict[int, int] = {}
        self._padding_rx = 0
        self._descending = descending

    @property
    def negotiated_draft(self) -> int:
        """The draft spoken."""
        return self._profile.draft

    def _admit_subgroup_stream(self, stream_id: int, header: SubgroupHeader) -> None:
        pass

    def _bind_subgroup_first_obj(self, stream_id: int, header: SubgroupHeader) -> None:
        pass

    def _admit_fetch_stream(self, stream_id: int, header: FetchHeader) -> None:
        header._group_order = 2 if self._descending else 1

    def _deliver_datagram(self, msg: Any, consumed: int, now: int) -> None:
        pass

    def _unknown_stream_type(self, buf: Any, pos: int, stream_type: int) -> Refused:
        return Refused(f"stream type {stream_type:#x}")

    def _close_session(self, error_code: int, reason_phrase: str = "") -> None:
        raise Refused(reason_phrase)


def control(draft: int, data: bytes, _: bool) -> tuple[Any, Any]:
    """As its `_moqt_handle_control_message` reads one message, and what the message's class writes."""
    profile = profile_for(draft)
    buffer = Buffer(data=data, vi64=profile.vi64)
    kind = buffer.pull_vint()
    end = buffer.pull_uint16() + buffer.tell()
    row = _MOQTSessionMixin.CONTROL_REGISTRY[draft].get(kind)
    if row is None:
        raise Refused(f"message type {kind:#x}")
    message = row[0].deserialize(buffer, prof=profile, buf_end=end)
    if buffer.tell() != end:
        raise Refused(f"{buffer.tell() - end} bytes past its Length")
    return plain(message), lambda: octets(message.serialize(prof=profile))


def stream(draft: int, data: bytes, descending: bool) -> tuple[Any, Any]:
    """As its `_drain_stream` reads a whole stream, and what its classes write for header and objects."""
    session = Session(draft, descending)
    chain = StreamChain()
    chain.extend(data)
    session._data_streams[STREAM] = _DataStreamState(chain=chain, last_activity=0.0)
    items: list[Any] = []
    while chain.capacity > 0:
        chain.save()
        try:
            # It keeps its place in the header, and one object for all of a stream.
            item = copy(session._moqt_handle_data_stream(STREAM, chain, chain.capacity))
        except MOQTStreamReject as reject:
            if reject.quiet:
                return [reject.reason], lambda: data
            raise
        except (MOQTUnderflow, BufferReadError):
            raise Refused(f"{chain.capacity} bytes are no whole object") from None
        chain.commit()
        if isinstance(item, ObjectHeader) and item.status:
            wrong = session._status_object_fault(item.status, item.extensions)
            if wrong:
                raise Refused(wrong)
        items.append(item)
    if not items:
        raise Refused("no header")
    return plain(items), lambda: written(items, session._profile, 2 if descending else 1)


def written(items: list[Any], profile: Any, order: int) -> bytes:
    """What its classes write for the header and the objects of a stream."""
    header, *objects = items
    if isinstance(header, SubgroupHeader):
        return octets(header.serialize()) + b"".join(
            header.next_object_bytes(item.payload, item.extensions, item.status, item.object_id)
            for item in objects
        )
    return octets(header.serialize(profile)) + b"".join(
        octets(item.serialize(prof=profile, prior=prior, group_order=order))
        for prior, item in pairwise([None, *objects])
    )


def datagram(draft: int, data: bytes, _: bool) -> tuple[Any, Any]:
    """As its `_moqt_handle_data_dgram` reads one, and what the class of that writes."""
    session = Session(draft)
    found = session._moqt_handle_data_dgram(Buffer(data=data))
    if found is None:
        return "PADDING", lambda: data
    return plain(found), lambda: octets(found.serialize(session._profile))


def plain(value: Any) -> Any:
    """A value as JSON has it: objects by the names of their fields, bytes in hexadecimal."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(int(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def octets(written: Any) -> bytes:
    """Its classes give a buffer or bytes."""
    return bytes(getattr(written, "data", written))


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What became of the bytes of one question."""
    plane = {"control": control, "stream": stream, "datagram": datagram}[question["plane"]]
    try:
        read, write = plane(question["draft"], bytes.fromhex(question["hex"]), question["descending"])
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    try:
        return {"read": read, "written": write().hex()}
    except Exception as error:
        return {"read": read, "unwritable": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer until the input ends."""
    logging.disable()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
