"""The data plane: subgroup streams, fetch streams, datagrams and padding, read incrementally and written.

Rules:

- A decoder gives a stream's header first, then its objects, each whole; large ones of subgroups in parts as
  they come, where that is asked for. A stream that ends inside an object is a PROTOCOL_VIOLATION ("If a
  sender ... FIN", `message-object`).
- Object ids in subgroups are differences on the wire: the first is absolute, later ones are the
  previous id plus the difference plus one (`subgroup-header`).
- `publisher_priority` None is the priority that the subscription has.
- Lengths are checked against `max_object_size` before the bytes are awaited, so that no length a peer
  writes costs memory.

Sources: drafts 14-17 section 10, 18-22 section 11.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from io import BytesIO
from typing import Any

from pytest_moqt.protocol.buffer import Reader, Writer, counted
from pytest_moqt.protocol.drafts import Draft, FetchCoding
from pytest_moqt.protocol.errors import (
    LocalProtocolError,
    MoqtError,
    NeedMoreData,
    ProtocolViolation,
    RemoteProtocolError,
)
from pytest_moqt.protocol.fields import PROPERTIES
from pytest_moqt.protocol.parameters import Properties
from pytest_moqt.protocol.record import Record
from pytest_moqt.protocol.values import KeyValues

FETCH_HEADER = 0x05
"Stream type (`stream-types`)."
PADDING_STREAM = 0x132B3E28
"Stream type (`padding-streams`, from 18)."
PADDING_DATAGRAM = 0x132B3E29
"Datagram type (`padding-datagrams`, from 18)."

# Bits of a SUBGROUP_HEADER type (`subgroup-header`).
_SUBGROUP = 0x10
_PROPERTIES = 0x01
_SUBGROUP_MODE = 0x06
_MODE_ZERO, _MODE_FIRST_OBJECT, _MODE_FIELD = 0x00, 0x02, 0x04
_END_OF_GROUP = 0x08
_DEFAULT_PRIORITY = 0x20
_FIRST_OBJECT = 0x40

# Bits of an OBJECT_DATAGRAM type (`object-datagram`).
_D_PROPERTIES = 0x01
_D_END_OF_GROUP = 0x02
_D_ZERO_OBJECT_ID = 0x04
_D_DEFAULT_PRIORITY = 0x08
_D_STATUS = 0x20

# Bits of a FETCH object's Serialization Flags (`fetch-header`).
_F_SUBGROUP = 0x03
_F_OBJECT = 0x04
_F_GROUP = 0x08
_F_PRIORITY = 0x10
_F_PROPERTIES = 0x20
_F_DATAGRAM = 0x40

BEGINNING = 1024
"First bytes of a stream that are kept for reports."
MAX_OBJECT_SIZE = 16 * 1024 * 1024
"Bytes of one payload that a decoder takes by default; far above what a test sends."
MAX_PROPERTIES_SIZE = 256 * 1024
"Bytes of one properties block that a decoder takes: a pair may have two, and is a hundred in memory."
_MAX_ID = (1 << 64) - 1

_NO_PROPERTIES: Properties = KeyValues()


class ObjectTooLarge(MoqtError):
    """An object is longer than we are willing to hold: legal, but not for us."""


class SubgroupHeader(Record):
    """SUBGROUP_HEADER: what all objects of a stream share."""

    track_alias: int
    group_id: int
    subgroup_id: int | None = 0
    "None: the id of the first object."
    publisher_priority: int | None = 128
    end_of_group: bool = False
    "The last object before the FIN is the last of the group."
    first_object: bool = False
    "From 18: the stream starts with the subgroup's first object."
    has_properties: bool = False
    "Every object of the stream carries a properties block."
    subgroup_id_field: bool = True
    "Write the subgroup id even if it is 0."


class StreamObject(Record):
    """An object of a subgroup stream."""

    object_id: int
    payload: bytes = b""
    status: int = 0
    "Other than 0 (Normal) with an empty payload only."
    properties: Properties = _NO_PROPERTIES

    def __init__(
        self, object_id: int, payload: bytes = b"", status: int = 0, properties: Properties = _NO_PROPERTIES
    ) -> None:
        values = self.__dict__
        values["object_id"] = object_id
        values["payload"] = payload
        values["status"] = status
        values["properties"] = properties


class ObjectBeginning(Record):
    """An object of a subgroup stream whose payload follows in parts."""

    object_id: int
    length: int
    "Bytes of the whole payload, at least 1."
    properties: Properties = _NO_PROPERTIES


class ObjectPart(Record):
    """The next bytes of the payload of the object that has begun."""

    payload: bytes
    left: int
    "Bytes of the payload that follow these; 0: the object is whole."

    def __init__(self, payload: bytes, left: int) -> None:
        values = self.__dict__
        values["payload"] = payload
        values["left"] = left


class FetchHeader(Record):
    """FETCH_HEADER: which FETCH a stream answers."""

    request_id: int


class FetchObject(Record):
    """An object of a fetch stream."""

    group_id: int
    subgroup_id: int | None
    "None: it was published as a datagram."
    object_id: int
    publisher_priority: int
    payload: bytes = b""
    properties: Properties = _NO_PROPERTIES
    status: int = 0
    "Drafts 14 and 15 only."


class FetchRangeEnd(Record):
    """End of Range: no object between the one before and this place, included, is in the stream."""

    flags: int
    "0x8C: they do not exist; 0x10C: that is not known; 0x20C (from 20): FILL_TIMEOUT was over."
    group_id: int
    object_id: int


class Padding(Record):
    """A padding stream or datagram; its content means nothing."""


class ObjectDatagram(Record):
    """OBJECT_DATAGRAM: one object in one datagram."""

    track_alias: int
    group_id: int
    object_id: int
    publisher_priority: int | None = 128
    payload: bytes = b""
    status: int | None = None
    "Given: a status instead of a payload."
    properties: Properties = _NO_PROPERTIES
    end_of_group: bool = False
    object_id_field: bool = True
    "Write the object id even if it is 0."


StreamHeader = SubgroupHeader | FetchHeader | Padding
ObjectItem = StreamObject | ObjectBeginning | ObjectPart
"What a subgroup stream brings behind its header."
StreamItem = SubgroupHeader | FetchHeader | Padding | ObjectItem | FetchObject | FetchRangeEnd


def is_subgroup_type(number: int, draft: Draft) -> bool:
    """Whether a stream type is a SUBGROUP_HEADER of the draft."""
    flags = number ^ _SUBGROUP
    return (
        bool(number & _SUBGROUP)
        and not flags & ~draft.subgroup_flags
        and number & _SUBGROUP_MODE != _SUBGROUP_MODE
    )


def _check_status(status: int, draft: Draft, offset: int) -> None:
    if status not in draft.object_statuses:
        raise ProtocolViolation(f"{draft.name} has no object status {status:#x}", offset=offset)


def _check_own(status: int, payload: bytes, properties: Properties, draft: Draft) -> None:
    """Refuse to write an object that the other end would have to refuse."""
    if status and payload:
        raise LocalProtocolError("an object has a payload or a status, not both")
    if status not in draft.object_statuses:
        raise LocalProtocolError(f"{draft.name} has no object status {status:#x}")
    if properties and status not in draft.statuses_with_properties:
        raise LocalProtocolError(f"{draft.name} allows no properties in an object of status {status:#x}")


class DataStreamDecoder:
    """Reads one unidirectional data stream.

    Args:
        draft: The draft spoken.
        max_object_size: Bytes of one payload that are taken.
        descending: Whether the FETCH with a request id is answered in descending group order; asked
            once, and only where a draft writes group ids as differences.
    """

    def __init__(
        self,
        draft: Draft,
        *,
        max_object_size: int = MAX_OBJECT_SIZE,
        descending: Callable[[int], bool] = lambda request_id: False,  # noqa: ARG005 - ascending
    ) -> None:
        self.draft = draft
        self.header: StreamHeader | None = None
        self.max_object_size = max_object_size
        self.consumed = 0
        "Bytes of the stream that were understood so far."
        self.completed: list[StreamItem] = []
        "What the last `feed` completed, before an error too."
        self.beginning = b""
        "The first bytes of the stream, BEGINNING at most."
        self.head = b""
        "The header's bytes, once it came."
        self._descending = descending
        self._is_descending = False
        # Not a list of what came: thousands of pieces would leave holes in the memory where they were.
        self._pending = BytesIO()
        self._size = 0
        self._wanted = 1
        self._whole_below: int | None = None
        self._left = 0
        "Bytes that are missing of the object that was begun."
        self._object: int | None = None
        self._fetched: FetchObject | None = None
        self._place: tuple[int, int] | None = None

    @property
    def received(self) -> int:
        """Bytes of the stream that were fed."""
        return self.consumed + self._size

    @property
    def pending(self) -> bytes:
        """What was fed and not understood yet, or could not be: what follows the `consumed` bytes."""
        return self._pending.getvalue()

    def feed(self, data: bytes, fin: bool = False) -> list[StreamItem]:
        """Take the next bytes.

        Returns:
            What they completed, in order.

        Raises:
            RemoteProtocolError: The draft does not allow it, or the stream ends inside an item.
            ObjectTooLarge: A payload is longer than `max_object_size`.
        """
        items = self.completed = []
        if isinstance(self.header, Padding):
            self.consumed += len(data)
            return items
        if len(self.beginning) < BEGINNING:
            self.beginning += data[: BEGINNING - len(self.beginning)]
        self._size += len(data)
        if self._size < self._wanted:
            self._pending.write(data)
        else:
            if self._pending.tell():
                self._pending.write(data)
                data = self._pending.getvalue()
                self._pending = BytesIO()
            reader = Reader(data, self.draft.integers)
            try:
                self._take(reader, items)
            except RemoteProtocolError as error:
                # Said of what is pending; a reader of the error counts from the stream's first byte.
                if error.offset is not None:
                    error.offset += self.consumed
                raise
            finally:
                # After an error too: what it is about is then what is pending, however it was cut.
                self.consumed += reader.offset
                self._pending.write(reader.rest())
            self._wanted = max(self._wanted - self._size, 0)
            self._size = self._pending.tell()
            self._wanted += self._size
        if fin and self._left:
            missing = f"the stream ends {counted(self._left)} before the end of an object"
            raise ProtocolViolation(missing, offset=self.consumed)
        if fin and self._size and not isinstance(self.header, Padding):
            raise ProtocolViolation(
                f"the stream ends {counted(self._size)} into "
                + ("an object" if self.header else "its header"),
                offset=self.consumed,
            )
        if fin and self.header is None:
            raise ProtocolViolation("the stream ends before its type", offset=self.consumed)
        return items

    def give_parts(self, whole_below: int) -> list[StreamItem]:
        """Give objects of a subgroup in parts from now on, but for those that are there whole.

        Args:
            whole_below: Objects whose payload has fewer bytes are waited for.

        Returns:
            What is there by now.

        Raises:
            RemoteProtocolError: As `feed`.
        """
        self._whole_below = whole_below
        self._wanted = 0
        return self.feed(b"")

    def _take(self, reader: Reader, items: list[StreamItem]) -> None:
        # One byte more than there is, unless an item knows better how much it lacks.
        self._wanted = self._size + 1
        while reader.offset < reader.end:
            start = reader.offset
            try:
                if self.header is None:
                    item: StreamItem = self._pull_header(reader)
                elif self._left:
                    item = self._pull_part(reader)
                elif isinstance(self.header, SubgroupHeader):
                    item = self._pull_subgroup_object(reader, self.header)
                else:
                    item = self._pull_fetch_item(reader)
            except NeedMoreData:
                reader.offset = start
                return
            except MoqtError:
                reader.offset = start
                raise
            items.append(item)
            if isinstance(item, Padding):
                reader.rest()

    def _pull_header(self, reader: Reader) -> StreamHeader:
        start = reader.offset
        number = reader.vint()
        if is_subgroup_type(number, self.draft):
            self.header = pull_subgroup_header(reader, number)
        elif number == FETCH_HEADER:
            self.header = FetchHeader(reader.vint())
            self._is_descending = self._descending(self.header.request_id)
        elif number == PADDING_STREAM and self.draft.padding:
            self.header = Padding()
        else:
            raise ProtocolViolation(
                f"{self.draft.name} has no unidirectional stream of type {number:#x}", offset=start
            )
        self.head = reader.data[start : reader.offset]
        return self.header

    def _pull_properties(self, reader: Reader) -> Properties:
        start = reader.offset
        limit = min(self.max_object_size, MAX_PROPERTIES_SIZE)
        self._await(reader, reader.vint(), limit, "a properties block")
        reader.offset = start
        return PROPERTIES.pull(reader, self.draft)

    def _await(self, reader: Reader, length: int, limit: int, what: str) -> None:
        """Go on only when that many bytes are there; what is long is then read once, not with each packet."""
        self._check_size(length, limit, what)
        if reader.remaining < length:
            self._wanted = self._size + length - reader.remaining
            raise NeedMoreData

    @staticmethod
    def _check_size(length: int, limit: int, what: str) -> None:
        if length > limit:
            raise ObjectTooLarge(f"{what} of {length} bytes, at most {limit} are taken here")

    def _pull_payload(self, reader: Reader, length: int) -> bytes:
        self._await(reader, length, self.max_object_size, "an object")
        return reader.take(length)

    def _pull_part(self, reader: Reader) -> ObjectPart:
        payload = reader.take(min(self._left, reader.remaining))
        self._left -= len(payload)
        return ObjectPart(payload, self._left)

    def _pull_subgroup_object(self, reader: Reader, header: SubgroupHeader) -> StreamObject | ObjectBeginning:
        start = reader.offset
        delta = reader.vint()
        number = delta if self._object is None else self._object + delta + 1
        if number > _MAX_ID:
            raise ProtocolViolation(f"object id {number} is above 2^64-1", offset=start)
        properties = self._pull_properties(reader) if header.has_properties else _NO_PROPERTIES
        length = reader.vint()
        item: StreamObject | ObjectBeginning
        if not length:
            item = StreamObject(number, b"", self._pull_status(reader, properties), properties)
        elif self._whole_below is not None and length >= self._whole_below and reader.remaining < length:
            self._check_size(length, self.max_object_size, "an object")
            item = ObjectBeginning(number, length, properties)
            self._left = length
        else:
            item = StreamObject(number, self._pull_payload(reader, length), 0, properties)
        self._object = number
        return item

    def _pull_status(self, reader: Reader, properties: Properties) -> int:
        start = reader.offset
        status = reader.vint()
        _check_status(status, self.draft, start)
        if properties and status not in self.draft.statuses_with_properties:
            raise ProtocolViolation(f"an object of status {status:#x} with properties", offset=start)
        return status

    def _pull_fetch_item(self, reader: Reader) -> FetchObject | FetchRangeEnd:
        if self.draft.fetch_coding is FetchCoding.EXPLICIT:
            return self._pull_explicit(reader)
        start = reader.offset
        with_status = self.draft.fetch_coding is FetchCoding.FLAGS_WITH_STATUS
        flags = reader.u8() if with_status else reader.vint()
        if flags in self.draft.fetch_ranges:
            end = FetchRangeEnd(flags, reader.vint(), reader.vint())
            self._place = (end.group_id, end.object_id)
            return end
        if flags >= (_F_DATAGRAM if with_status else 0x80):
            raise ProtocolViolation(f"{self.draft.name} has no Serialization Flags {flags:#x}", offset=start)
        return self._pull_flagged(reader, flags, start)

    def _pull_explicit(self, reader: Reader) -> FetchObject:
        group, subgroup, number, priority = reader.vint(), reader.vint(), reader.vint(), reader.u8()
        properties = self._pull_properties(reader)
        length = reader.vint()
        if length:
            payload = self._pull_payload(reader, length)
            return FetchObject(group, subgroup, number, priority, payload, properties)
        status = self._pull_status(reader, properties)
        return FetchObject(group, subgroup, number, priority, b"", properties, status)

    def _pull_flagged(self, reader: Reader, flags: int, start: int) -> FetchObject:
        def missing(what: str) -> ProtocolViolation:
            return ProtocolViolation(f"Serialization Flags {flags:#x} refer to a prior {what}", offset=start)

        def in_range(value: int, what: str) -> int:
            if not 0 <= value <= _MAX_ID:
                raise ProtocolViolation(f"{what} {value} is outside 0..2^64-1", offset=start)
            return value

        delta = self.draft.fetch_coding is FetchCoding.FLAGS_DELTA
        group = self._pull_group(reader, flags, delta)
        if group is None:
            raise missing("group")
        in_range(group, "group id")
        subgroup = None if flags & _F_DATAGRAM else self._pull_subgroup(reader, flags, missing)
        if flags & _F_OBJECT:
            number = reader.vint()
            if delta and not flags & _F_GROUP and self._place is not None:
                number += self._place[1]
        elif self._place is None:
            raise missing("object")
        else:
            number = self._place[1] + 1
        in_range(number, "object id")
        if flags & _F_PRIORITY:
            priority = reader.u8()
        elif self._fetched is None:
            raise missing("priority")
        else:
            priority = self._fetched.publisher_priority
        properties = self._pull_properties(reader) if flags & _F_PROPERTIES else _NO_PROPERTIES
        length = reader.vint()
        status = 0
        if not length and self.draft.fetch_coding is FetchCoding.FLAGS_WITH_STATUS:
            status = self._pull_status(reader, properties)
        payload = self._pull_payload(reader, length)
        item = FetchObject(group, subgroup, number, priority, payload, properties, status)
        self._fetched = item
        self._place = (group, number)
        return item

    def _pull_group(self, reader: Reader, flags: int, delta: bool) -> int | None:
        if not flags & _F_GROUP:
            return None if self._place is None else self._place[0]
        value = reader.vint()
        if not delta or self._place is None:
            return value
        return self._place[0] - value - 1 if self._is_descending else self._place[0] + value + 1

    def _pull_subgroup(self, reader: Reader, flags: int, missing: Callable[[str], Exception]) -> int:
        mode = flags & _F_SUBGROUP
        if mode == 0:
            return 0
        if mode == 3:
            return reader.vint()
        if self._fetched is None:
            raise missing("subgroup")
        # "If the first Object ... uses a flag that references fields in the prior Object": no other is a
        # violation. Behind a datagram, which has no subgroup, one relay in the field counts from 0.
        return (self._fetched.subgroup_id or 0) + (mode - 1)


def pull_subgroup_header(reader: Reader, number: int) -> SubgroupHeader:
    """The fields of a SUBGROUP_HEADER behind its type `number`, which must be one of the draft."""
    alias, group = reader.vint(), reader.vint()
    mode = number & _SUBGROUP_MODE
    subgroup = reader.vint() if mode == _MODE_FIELD else (0 if mode == _MODE_ZERO else None)
    priority = None if number & _DEFAULT_PRIORITY else reader.u8()
    return SubgroupHeader(
        alias,
        group,
        subgroup,
        priority,
        end_of_group=bool(number & _END_OF_GROUP),
        first_object=bool(number & _FIRST_OBJECT),
        has_properties=bool(number & _PROPERTIES),
        subgroup_id_field=mode == _MODE_FIELD,
    )


class SubgroupEncoder:
    """Writes one subgroup stream: the header, then objects with rising ids."""

    def __init__(self, header: SubgroupHeader, draft: Draft) -> None:
        self._header = header
        self.draft = draft
        self._object: int | None = None

    def header(self) -> bytes:
        """The header's bytes.

        Raises:
            LocalProtocolError: The draft cannot say that.
        """
        header = self._header
        number = _SUBGROUP
        number |= _PROPERTIES if header.has_properties else 0
        number |= _END_OF_GROUP if header.end_of_group else 0
        number |= _FIRST_OBJECT if header.first_object else 0
        number |= _DEFAULT_PRIORITY if header.publisher_priority is None else 0
        if header.subgroup_id is None:
            number |= _MODE_FIRST_OBJECT
        elif header.subgroup_id or header.subgroup_id_field:
            number |= _MODE_FIELD
        if not is_subgroup_type(number, self.draft):
            raise LocalProtocolError(f"{self.draft.name} has no SUBGROUP_HEADER of type {number:#x}")
        writer = Writer(self.draft.integers)
        writer.vint(number)
        writer.vint(header.track_alias)
        writer.vint(header.group_id)
        if number & _SUBGROUP_MODE == _MODE_FIELD and header.subgroup_id is not None:
            writer.vint(header.subgroup_id)
        if header.publisher_priority is not None:
            writer.u8(header.publisher_priority)
        return bytes(writer)

    def object(self, item: StreamObject) -> bytes:
        """One object's bytes.

        Raises:
            LocalProtocolError: Its id is not above the last one's, or the stream carries no properties.
        """
        delta = self._delta(item)
        _check_own(item.status, item.payload, item.properties, self.draft)
        if item.payload and not self._header.has_properties:
            self._object = item.object_id
            encode = self.draft.integers.encode
            return encode(delta) + encode(len(item.payload)) + item.payload
        writer = Writer(self.draft.integers)
        writer.vint(delta)
        if self._header.has_properties:
            PROPERTIES.push(writer, item.properties, self.draft)
        writer.vint(len(item.payload))
        if not item.payload:
            writer.vint(item.status)
        writer.raw(item.payload)
        self._object = item.object_id
        return bytes(writer)

    def beginning(self, item: ObjectBeginning) -> bytes:
        """The bytes of an object before its payload, which follows as it is.

        Raises:
            LocalProtocolError: As of `object`.
        """
        writer = Writer(self.draft.integers)
        writer.vint(self._delta(item))
        if self._header.has_properties:
            PROPERTIES.push(writer, item.properties, self.draft)
        writer.vint(item.length)
        self._object = item.object_id
        return bytes(writer)

    def _delta(self, item: StreamObject | ObjectBeginning) -> int:
        delta = item.object_id if self._object is None else item.object_id - self._object - 1
        if delta < 0:
            raise LocalProtocolError(f"object {item.object_id} cannot follow object {self._object}")
        if item.properties and not self._header.has_properties:
            raise LocalProtocolError("the stream's header promises no properties")
        return delta


class FetchEncoder:
    """Writes one fetch stream, leaving out what the draft allows to leave out."""

    def __init__(self, draft: Draft, *, descending: bool = False) -> None:
        self.draft = draft
        self._descending = descending
        self._fetched: FetchObject | None = None
        self._place: tuple[int, int] | None = None

    def header(self, request_id: int) -> bytes:
        """FETCH_HEADER's bytes."""
        writer = Writer(self.draft.integers)
        writer.vint(FETCH_HEADER)
        writer.vint(request_id)
        return bytes(writer)

    def item(self, item: FetchObject | FetchRangeEnd) -> bytes:
        """The bytes of an object or an End of Range."""
        return self.range_end(item) if isinstance(item, FetchRangeEnd) else self.object(item)

    def object(self, item: FetchObject) -> bytes:
        """One object's bytes.

        Raises:
            LocalProtocolError: The draft cannot say that.
        """
        writer = Writer(self.draft.integers)
        _check_own(item.status, item.payload, item.properties, self.draft)
        coding = self.draft.fetch_coding
        has_status = coding in (FetchCoding.EXPLICIT, FetchCoding.FLAGS_WITH_STATUS)
        if item.status and not has_status:
            raise LocalProtocolError(f"{self.draft.name} has no object status in the answer to a FETCH")
        if item.subgroup_id is None and has_status:
            # "Objects with forwarding preference Datagram have a Subgroup ID equal to the Object ID".
            item = dataclasses.replace(item, subgroup_id=item.object_id)
        if coding is FetchCoding.EXPLICIT:
            writer.vint(item.group_id)
            writer.vint(item.subgroup_id or 0)
            writer.vint(item.object_id)
            writer.u8(item.publisher_priority)
            PROPERTIES.push(writer, item.properties, self.draft)
        else:
            self._push_flagged(writer, item)
        writer.vint(len(item.payload))
        if has_status and not item.payload:
            writer.vint(item.status)
        writer.raw(item.payload)
        self._fetched = item
        self._place = (item.group_id, item.object_id)
        return bytes(writer)

    def range_end(self, item: FetchRangeEnd) -> bytes:
        """An End of Range's bytes; its place is written absolute, which draft 18 leaves open."""
        if item.flags not in self.draft.fetch_ranges:
            raise LocalProtocolError(f"{self.draft.name} has no End of Range {item.flags:#x}")
        writer = Writer(self.draft.integers)
        writer.vint(item.flags)
        writer.vint(item.group_id)
        writer.vint(item.object_id)
        self._place = (item.group_id, item.object_id)
        return bytes(writer)

    def _push_flagged(self, writer: Writer, item: FetchObject) -> None:
        place, prior = self._place, self._fetched
        same_group = place is not None and place[0] == item.group_id
        flags = 0 if same_group else _F_GROUP
        if place is None or item.object_id != place[1] + 1:
            flags |= _F_OBJECT
        if prior is None or prior.publisher_priority != item.publisher_priority:
            flags |= _F_PRIORITY
        if item.properties:
            flags |= _F_PROPERTIES
        flags |= self._subgroup_mode(item)
        writer.vint(flags)
        delta = self.draft.fetch_coding is FetchCoding.FLAGS_DELTA
        if flags & _F_GROUP:
            group = item.group_id
            if delta and place is not None:
                group = place[0] - group - 1 if self._descending else group - place[0] - 1
            writer.vint(group)
        if flags & _F_SUBGROUP == 3 and not flags & _F_DATAGRAM and item.subgroup_id is not None:
            writer.vint(item.subgroup_id)
        if flags & _F_OBJECT:
            relative = delta and same_group and place is not None
            writer.vint(item.object_id - place[1] if relative and place else item.object_id)
        if flags & _F_PRIORITY:
            writer.u8(item.publisher_priority)
        if flags & _F_PROPERTIES:
            PROPERTIES.push(writer, item.properties, self.draft)

    def _subgroup_mode(self, item: FetchObject) -> int:
        if item.subgroup_id is None:
            return _F_DATAGRAM
        if item.subgroup_id == 0:
            return 0
        prior = None if self._fetched is None else self._fetched.subgroup_id
        if prior == item.subgroup_id:
            return 1
        return 2 if prior is not None and prior + 1 == item.subgroup_id else 3


def is_datagram_type(number: int, draft: Draft) -> bool:
    """Whether a datagram type is an OBJECT_DATAGRAM of the draft."""
    if number & ~draft.datagram_flags:
        return False
    if number & _D_STATUS:
        allowed = _D_STATUS | _D_PROPERTIES | _D_DEFAULT_PRIORITY
        if draft.zero_object_id_with_status:
            allowed |= _D_ZERO_OBJECT_ID
        return not number & ~allowed
    return True


def decode_datagram(data: bytes, draft: Draft) -> ObjectDatagram | Padding:
    """What a datagram carries.

    Raises:
        RemoteProtocolError: The draft does not allow it.
    """
    reader = Reader(data, draft.integers)
    try:
        return _pull_datagram(reader, draft)
    except NeedMoreData:
        raise ProtocolViolation(
            f"a datagram of {len(data)} bytes ends inside its header", offset=reader.offset
        ) from None


def _pull_datagram(reader: Reader, draft: Draft) -> ObjectDatagram | Padding:
    number = reader.vint()
    if number == PADDING_DATAGRAM and draft.padding:
        return Padding()
    if not is_datagram_type(number, draft):
        raise ProtocolViolation(f"{draft.name} has no datagram of type {number:#x}", offset=0)
    values: dict[str, Any] = {"track_alias": reader.vint(), "group_id": reader.vint()}
    values["object_id_field"] = not number & _D_ZERO_OBJECT_ID
    values["object_id"] = reader.vint() if values["object_id_field"] else 0
    values["publisher_priority"] = None if number & _D_DEFAULT_PRIORITY else reader.u8()
    if number & _D_PROPERTIES:
        start = reader.offset
        values["properties"] = PROPERTIES.pull(reader, draft)
        if not values["properties"]:
            raise ProtocolViolation("a datagram whose properties block is empty", offset=start)
    values["end_of_group"] = bool(number & _D_END_OF_GROUP)
    if number & _D_STATUS:
        start = reader.offset
        status = values["status"] = reader.vint()
        _check_status(status, draft, start)
        if "properties" in values and status not in draft.statuses_with_properties:
            raise ProtocolViolation(f"an object of status {status:#x} with properties", offset=start)
        # "Any object with a status code other than zero MUST have an empty payload" (`object-status`). With
        # status zero nothing of the kind is said, but that there is no payload: what is there is none.
        if status and not reader.at_end:
            raise ProtocolViolation(
                f"{counted(reader.remaining)} after the status of a datagram", offset=reader.offset
            )
    else:
        values["payload"] = reader.rest()
    return ObjectDatagram(**values)


def encode_datagram(item: ObjectDatagram, draft: Draft) -> bytes:
    """A datagram's bytes.

    Raises:
        LocalProtocolError: The draft cannot say that.
    """
    number = _D_PROPERTIES if item.properties else 0
    number |= _D_END_OF_GROUP if item.end_of_group else 0
    number |= 0 if item.object_id or item.object_id_field else _D_ZERO_OBJECT_ID
    number |= _D_DEFAULT_PRIORITY if item.publisher_priority is None else 0
    number |= 0 if item.status is None else _D_STATUS
    if not is_datagram_type(number, draft):
        raise LocalProtocolError(f"{draft.name} has no datagram of type {number:#x}")
    _check_own(item.status or 0, b"" if item.status is None else item.payload, item.properties, draft)
    writer = Writer(draft.integers)
    writer.vint(number)
    writer.vint(item.track_alias)
    writer.vint(item.group_id)
    if not number & _D_ZERO_OBJECT_ID:
        writer.vint(item.object_id)
    if item.publisher_priority is not None:
        writer.u8(item.publisher_priority)
    if item.properties:
        PROPERTIES.push(writer, item.properties, draft)
    if item.status is None:
        writer.raw(item.payload)
    else:
        writer.vint(item.status)
    return bytes(writer)
