"""The subcommands `decode` and `encode`: bytes of MoQT to a table or JSON, and JSON to bytes.

Rules:

- Nothing here imports pytest or a QUIC stack.
- What can be read is printed, then where and why reading stopped; the exit code is 1 then, and 2 for an
  argument that cannot be used.
- The notation of messages is `protocol.notation`'s; what `decode --json` prints, `encode` reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import SUPPORTED, Draft, draft
from pytest_moqt.protocol.errors import LocalProtocolError, NeedMoreData, RemoteProtocolError
from pytest_moqt.protocol.framing import Frame, decode_body, encode_by, pull_frame
from pytest_moqt.protocol.layouts import Layout, Sender, layout_of_message, layout_of_type, layouts_of
from pytest_moqt.protocol.messages import Message
from pytest_moqt.protocol.notation import NotationError, from_json, to_json, value_to_json
from pytest_moqt.protocol.objects import (
    DataStreamDecoder,
    FetchEncoder,
    FetchHeader,
    FetchObject,
    FetchRangeEnd,
    ObjectDatagram,
    ObjectTooLarge,
    StreamObject,
    SubgroupEncoder,
    SubgroupHeader,
    decode_datagram,
    encode_datagram,
)
from pytest_moqt.tap import printable

SENTENCE = 2000
"Characters of one complaint: it may name all that can stand where something else did."
STREAMS = ("control", "request", "subgroup", "fetch", "datagram")
EXIT_OK, EXIT_MALFORMED, EXIT_USAGE = 0, 1, 2
SHOWN = 24
"Bytes of one row that the table shows."


class Row(NamedTuple):
    """One field, as the table shows it."""

    offset: int
    octets: bytes
    name: str
    value: str


class Item(NamedTuple):
    """One message, object or header that was read."""

    json: dict[str, Any]
    rows: list[Row]


class Stopped(Exception):
    """Reading could not go on.

    Attributes:
        offset: Where, in bytes from the start of the input.
        rows: The fields of the unfinished item.
    """

    def __init__(self, message: str, offset: int, rows: Sequence[Row] = ()) -> None:
        super().__init__(message)
        self.offset = offset
        self.rows = list(rows)


def as_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON; a peer's character that does not print, or has no UTF-8, is an escape in it."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]
        for character in text
    )


def read_control(data: bytes, row: Draft, senders: Sequence[Sender]) -> Iterator[Item]:
    """The control messages in these bytes.

    Args:
        data: What one end sent on a control or request stream.
        row: The draft.
        senders: Who may have sent it, the likelier first.

    Raises:
        Stopped: A message is not whole, or is none.
    """
    reader = Reader(data, row.integers)
    while not reader.at_end:
        start = reader.offset
        try:
            frame = pull_frame(reader)
        except NeedMoreData:
            raise Stopped(f"{len(data) - start} bytes, which are no whole message", start) from None
        except RemoteProtocolError as error:
            raise Stopped(str(error), start) from None
        yield _message(data, start, frame, row, senders)


def _message(data: bytes, start: int, frame: Frame, row: Draft, senders: Sequence[Sender]) -> Item:
    _, length_at = row.integers.decode(data, start)
    body_at = length_at + 2
    layout = next((found for sender in senders if (found := layout_of_type(row, frame.type, sender))), None)
    name = layout.name if layout else "unknown"
    rows = [
        Row(start, data[start:length_at], "type", f"{name} ({frame.type:#x})"),
        Row(length_at, data[length_at:body_at], "length", str(len(frame.body))),
    ]
    if layout is None:
        raise Stopped(f"{row.name} defines no message of type {frame.type:#x}", start, rows)
    trace: list[tuple[Any, int, int]] = []
    read: dict[str, Any] = {}
    try:
        message = decode_body(frame.body, layout, row, trace, read)
    except RemoteProtocolError as error:
        rows += [
            Row(body_at + at, frame.body[at:end], field.name, _said_alone(read, field))
            for field, at, end in trace
        ]
        raise Stopped(str(error), body_at + (error.offset or 0), rows) from None
    rows += [
        Row(body_at + at, frame.body[at:end], field.name, _said(message, field)) for field, at, end in trace
    ]
    said = {"offset": start, "name": name, "type": frame.type, "length": len(frame.body)}
    return Item({**said, "fields": to_json(message)}, rows)


def _said(message: Message, field: Any) -> str:
    whole = to_json(message)
    if hasattr(field, "key"):
        value = getattr(message, field.into).get(field.key, field.default)
        return as_text(to_json(value))
    said = [as_text(whole.get(name)) for name in field.attributes]
    return " ".join(said)


def _said_alone(read: dict[str, Any], field: Any) -> str:
    """What a field of a message says of which others cannot be read."""
    said = [value_to_json(name, read[name]) for name in field.attributes if name in read]
    return " ".join(as_text(value) for value in said)


def read_stream(data: bytes, row: Draft) -> Iterator[Item]:
    """The header and objects of one data stream.

    Raises:
        Stopped: The draft does not allow it, or it ends inside an object.
    """
    decoder = DataStreamDecoder(row)
    begun = 0
    for number in range(len(data) + 1):
        ended = number == len(data)
        try:
            # A byte at a time: what is whole comes out before what is wrong stops it.
            items = decoder.feed(data[number : number + 1], ended)
        except (RemoteProtocolError, ObjectTooLarge) as error:
            raise Stopped(str(error), getattr(error, "offset", None) or begun) from None
        for item in items:
            said = to_json(item)
            octets = data[begun : decoder.consumed]
            text = ", ".join(f"{name}={as_text(value)}" for name, value in said.items() if name != "message")
            yield Item({"offset": begun, "fields": said}, [Row(begun, octets, said["message"], text)])
            begun = decoder.consumed


def _row_of(said: dict[str, Any], offset: int, octets: bytes) -> Row:
    fields = [f"{name}={as_text(value)}" for name, value in said.items() if name != "message"]
    return Row(offset, octets, said["message"], ", ".join(fields))


def read_datagram(data: bytes, row: Draft) -> Iterator[Item]:
    """The object of one datagram.

    Raises:
        Stopped: The draft does not allow it.
    """
    try:
        item = decode_datagram(data, row)
    except RemoteProtocolError as error:
        raise Stopped(str(error), error.offset or 0) from None
    said = to_json(item)
    yield Item({"offset": 0, "fields": said}, [_row_of(said, 0, data)])


def write(values: Sequence[Any], row: Draft, sender: Sender) -> Iterator[bytes]:
    """The bytes of messages, or of one data stream, or of datagrams: one piece for each value.

    Raises:
        NotationError: A value stands for nothing.
        LocalProtocolError: The draft cannot say that.
    """
    stream: SubgroupEncoder | FetchEncoder | None = None
    for value in values:
        name = value.get("name") if isinstance(value, dict) else None
        item = from_json(value["fields"] if isinstance(value, dict) and "fields" in value else value)
        match item, stream:
            case Message(), _:
                yield encode_by(item, _layout(item, row, sender, name), row).encode(row)
            case ObjectDatagram(), _:
                yield encode_datagram(item, row)
            case SubgroupHeader(), _:
                stream = SubgroupEncoder(item, row)
                yield stream.header()
            case FetchHeader(), _:
                stream = FetchEncoder(row)
                yield stream.header(item.request_id)
            case StreamObject(), SubgroupEncoder():
                yield stream.object(item)
            case FetchObject(), FetchEncoder():
                yield stream.object(item)
            case FetchRangeEnd(), FetchEncoder():
                yield stream.range_end(item)
            case _:
                kind = type(item).__name__
                raise NotationError(f"{kind} cannot stand there: a stream begins with its header")


def _layout(message: Message, row: Draft, sender: Sender, name: str | None) -> Layout:
    if name is None:
        return layout_of_message(row, type(message), sender=sender)
    for layout in layouts_of(row):
        if layout.name == name and isinstance(message, layout.message):
            return layout
    raise NotationError(f"{row.name} has no {name} that says {type(message).__name__}")


# ---- the command -----------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Run `decode` or `encode`; `argv` begins with which.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    row = draft(arguments.draft)
    if arguments.command == "encode":
        return _encode(arguments, row)
    return _decode(arguments, row)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="moq-test-client", description="MoQT bytes by hand.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what, thing in (
        ("decode", "bytes to a table with offsets, or to JSON", "HEX"),
        ("encode", "JSON, as decode --json prints it, to bytes in hexadecimal", "JSON"),
    ):
        command = commands.add_parser(name, help=what, description=f"MoQT: {what}.")
        command.add_argument(
            "--draft", type=_draft, required=True, metavar="N", help=", ".join(map(str, SUPPORTED))
        )
        command.add_argument(
            "--from",
            dest="sender",
            choices=[sender.value for sender in Sender],
            help="who sends it; where not given, whoever can",
        )
        command.add_argument(
            "input", nargs="*", metavar=thing, help="standard input when there is none, or for -"
        )
        if name == "decode":
            command.add_argument("--stream", choices=STREAMS, default="control", help="default control")
            command.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser


def _draft(text: str) -> int:
    digits = text.removeprefix("draft-").removeprefix("moqt-")
    if not digits.isascii() or not digits.isdigit() or int(digits) not in SUPPORTED:
        known = ", ".join(map(str, SUPPORTED))
        raise argparse.ArgumentTypeError(f"{text!r} is no draft spoken here: use {known}")
    return int(digits)


def _input(words: Sequence[str]) -> str:
    return " ".join(words) if words and list(words) != ["-"] else sys.stdin.read()


def _decode(arguments: argparse.Namespace, row: Draft) -> int:
    text = "".join(word.removeprefix("0x").replace(":", "") for word in _input(arguments.input).split())
    try:
        data = bytes.fromhex(text)
    except ValueError:
        bad = next((at for at, digit in enumerate(text) if digit not in "0123456789abcdefABCDEF"), len(text))
        what = f"{text[bad]!r} is no hexadecimal digit" if bad < len(text) else "an odd number of digits"
        print(f"moq-test-client decode: {what}, at digit {bad}", file=sys.stderr)
        return EXIT_USAGE
    if arguments.stream in ("control", "request"):
        senders = [Sender(arguments.sender)] if arguments.sender else [Sender.SERVER, Sender.CLIENT]
        items = read_control(data, row, senders)
    elif arguments.stream == "datagram":
        items = read_datagram(data, row)
    else:
        items = read_stream(data, row)
    read: list[dict[str, Any]] = []
    stopped: Stopped | None = None
    try:
        for item in items:
            read.append(item.json)
            if not arguments.json:
                _print_rows(item.rows)
    except Stopped as stop:
        stopped = stop
        read.append({"offset": stop.offset, "error": str(stop), "rest": data[stop.offset :].hex()})
        if not arguments.json:
            _print_rows(stop.rows)
    if arguments.json:
        print(as_text(read, indent=2))
    if stopped is None:
        return EXIT_OK
    print(f"moq-test-client decode: stopped at offset {stopped.offset}: {stopped}", file=sys.stderr)
    return EXIT_MALFORMED


def _print_rows(rows: Sequence[Row]) -> None:
    for row in rows:
        octets = row.octets[:SHOWN].hex() + ("…" if len(row.octets) > SHOWN else "")
        print(f"{row.offset:6}  {octets:<{2 * SHOWN}}  {row.name:<24}  {row.value}".rstrip())


def _encode(arguments: argparse.Namespace, row: Draft) -> int:
    try:
        values = json.loads(_input(arguments.input))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        print(f"moq-test-client encode: no JSON: {error.msg} at {where}", file=sys.stderr)
        return EXIT_MALFORMED
    except (RecursionError, ValueError):
        # Lists in lists without end, or a number of thousands of digits.
        print("moq-test-client encode: no JSON of a message: too deep, or a number too long", file=sys.stderr)
        return EXIT_MALFORMED
    sender = Sender(arguments.sender) if arguments.sender else Sender.CLIENT
    try:
        for piece in write(values if isinstance(values, list) else [values], row, sender):
            print(piece.hex())
    except (NotationError, LocalProtocolError) as error:
        print(f"moq-test-client encode: {printable(str(error), SENTENCE)}", file=sys.stderr)
        return EXIT_MALFORMED
    return EXIT_OK
