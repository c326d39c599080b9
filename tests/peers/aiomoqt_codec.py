"""aiomoqt's codec behind a pipe: a question in JSON on a line of its input, an answer on one of its output.

Run by the Python that aiomoqt is installed for; nothing of ours is imported. A question has `draft`, `plane`
(control, stream or datagram), `hex`, and whether a FETCH is answered in `descending` order. The answer has
either `refused`, or `read`, what it took the bytes for, and `written` or `unwritable`: what it writes for that.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
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
    fields = {field.name: str(getattr(message, field.name)) for field in dataclasses.fields(message)}
    return fields, lambda: octets(message.serialize(prof=profile))


def stream(draft: int, data: bytes, descending: bool) -> tuple[Any, Any]:
    """As its `_drain_stream` reads a whole stream, and what its classes write for header and objects."""
    session = Session(draft, descending)
    chain = StreamChain()
    chain.extend(data)
    state = session._data_streams[STREAM] = _DataStreamState(chain=chain, last_activity=0.0)
    items: list[Any] = []
    pieces: list[bytes] = []
    fault = None
    writer: Any = None
    prior: Any = None
    while chain.capacity > 0:
        chain.save()
        try:
            item = session._moqt_handle_data_stream(STREAM, chain, chain.capacity)
        except MOQTStreamReject as reject:
            if reject.quiet:
                return [reject.reason], lambda: data
            raise
        except (MOQTUnderflow, BufferReadError):
            raise Refused(f"{chain.capacity} bytes are no whole object") from None
        chain.commit()
        items.append(str(item))
        try:
            if isinstance(item, SubgroupHeader):
                writer = item
                pieces.append(octets(item.serialize()))
                # The same header object keeps the reader's place; the writer needs one of its own.
                writer = SubgroupHeader(
                    **{
                        name: getattr(item, name)
                        for name in (
                            "track_alias",
                            "group_id",
                            "subgroup_id",
                            "publisher_priority",
                            "extensions_present",
                            "end_of_group",
                            "subgroup_id_mode",
                            "first_object",
                            "default_priority",
                            "prof",
                        )
                    }
                )
            elif isinstance(item, FetchHeader):
                pieces.append(octets(item.serialize(session._profile)))
            elif isinstance(item, ObjectHeader):
                wrong = item.status and session._status_object_fault(item.status, item.extensions)
                if wrong:
                    raise Refused(wrong)
                pieces.append(
                    writer.next_object_bytes(item.payload, item.extensions, item.status, item.object_id)
                )
            else:
                order = 2 if descending else 1
                pieces.append(octets(item.serialize(prof=session._profile, prior=prior, group_order=order)))
                prior = item
        except Refused:
            raise
        except Exception as error:
            fault = error
    if state.parser is None:
        raise Refused("no header")

    def write() -> bytes:
        if fault is not None:
            raise fault
        return b"".join(pieces)

    return items, write


def datagram(draft: int, data: bytes, _: bool) -> tuple[Any, Any]:
    """As its `_moqt_handle_data_dgram` reads one, and what the class of that writes."""
    session = Session(draft)
    found = session._moqt_handle_data_dgram(Buffer(data=data))
    if found is None:
        return "PADDING", lambda: data
    return str(found), lambda: octets(found.serialize(session._profile))


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
