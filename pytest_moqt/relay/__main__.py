"""moq-test-relay: the embedded relay as a command, for other people's clients and for this project's tests.

Standard output gets the ready line and what a client needs to dial, each on a line of its own; the log
goes to standard error. SIGINT and SIGTERM end it with 0; a wrong argument is one sentence and 2.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import pytest_moqt
from pytest_moqt.protocol.drafts import SUPPORTED

if TYPE_CHECKING:
    import socket

    from pytest_moqt.relay.behaviour import Behaviour
    from pytest_moqt.relay.certificates import Identity

NAME = "moq-test-relay"
TRANSPORTS = ("auto", "quic", "webtransport")
DEFAULT_PORT = 4443


FEATURES = {
    "retry": (False, "have every client prove its address by Retry"),
    "resumption": (True, "give session tickets and know them"),
    "zero-rtt": (True, "take data before the handshake is complete; needs --resumption"),
    "v2": (True, "speak QUIC version 2 beside version 1"),
    "migration": (True, "let clients go on from another address"),
    "chacha20": (True, "have the cipher suite with ChaCha20"),
}
"Flags of `features.Features`: whether it is offered when nothing is said, and what it is."


class UsageError(Exception):
    """An argument that cannot be used; one sentence."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an argument in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=NAME,
        description="A small MoQT relay for tests: raw QUIC and WebTransport on one UDP port.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--port",
        metavar="N",
        type=_port,
        default=DEFAULT_PORT,
        help=f"UDP port, 0 is a free one ({DEFAULT_PORT})",
    )
    add(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1, this machine only)",
    )
    add("--cert", metavar="FILE", help="PEM certificate chain; without it one is made, valid for 13 days")
    add("--key", metavar="FILE", help="its PEM private key")
    add("--draft", metavar="N[,N]", type=_drafts, default=SUPPORTED, help=f"drafts spoken ({_known()})")
    add("--transport", choices=TRANSPORTS, default="auto", help="what is served; auto is both")
    quic = parser.add_argument_group("what of QUIC it offers").add_argument
    for flag, (offered, what) in FEATURES.items():
        quic(
            f"--{flag}",
            action=argparse.BooleanOptionalAction,
            default=offered,
            help=f"{what} ({'yes' if offered else 'no'})",
        )
    add("--defect", metavar="NAME", help="be wrong in exactly one way")
    add("--list-defects", action="store_true", help="print the names of --defect, what each does and fails")
    add(
        "--goaway",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="on a signal say GOAWAY and wait so long for clients to go; a second signal ends at once",
    )
    add("-v", "--verbose", action="store_true", help="log every message on standard error")
    add("--version", action="store_true", help="print the version and exit")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to an hour")
    return seconds


def _destination(flag: str) -> str:
    return flag.replace("-", "_")


def _known() -> str:
    return ",".join(map(str, SUPPORTED))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, must be 0 to 65535")
    return int(text)


def _drafts(text: str) -> tuple[int, ...]:
    numbers = []
    for item in text.split(","):
        digits = item.strip().removeprefix("draft-").removeprefix("moqt-")
        if not digits.isdecimal() or int(digits) not in SUPPORTED:
            raise argparse.ArgumentTypeError(f"{item.strip()!r} is no draft of {_known()}")
        numbers.append(int(digits))
    return tuple(dict.fromkeys(numbers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 after a signal, and after `--help` and its like; 2 for an argument that cannot be used.
    """
    try:
        options = _parser().parse_args(arguments)
        if options.version:
            print(f"{NAME} {pytest_moqt.__version__}")
            return 0
        if options.list_defects:
            _list_defects()
            return 0
        return _serve(options)
    except UsageError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _list_defects() -> None:
    from pytest_moqt.relay.defects import DEFECTS

    for defect in DEFECTS.values():
        where = [] if defect.drafts is None else [str(defect.drafts)]
        where += sorted(defect.transports or ())
        only = f" ({', '.join(where)})" if where else ""
        print(f"{defect.name}{only}: {defect.sentence}")
        if defect.cases:
            print(f"    fails {', '.join(sorted(defect.cases))}; cause {defect.cause}")
        else:
            print("    fails no case: it is allowed")
        if defect.skips:
            print(f"    not offered, so skipped: {', '.join(sorted(defect.skips))}")


def _serve(options: argparse.Namespace) -> int:
    # Not before arguments are read: aioquic takes longer to load than all the rest.
    from pytest_moqt.relay.certificates import CertificateError, load, self_signed
    from pytest_moqt.relay.defects import behaviour_of
    from pytest_moqt.relay.server import bind

    if (options.cert is None) != (options.key is None):
        raise UsageError("--cert and --key belong together: give both or none")
    try:
        behaviour = behaviour_of(options.defect)
    except KeyError as error:
        sentence = str(error.args[0])
        joint = "" if sentence.endswith("?") else ";"
        raise UsageError(f"{sentence}{joint} --list-defects names all") from None
    try:
        identity = self_signed() if options.cert is None else load(options.cert, options.key)
    except CertificateError as error:
        raise UsageError(str(error)) from None
    try:
        bound = bind(options.host, options.port)
    except OSError as error:
        raise UsageError(_why_not_bound(options.host, options.port, error)) from None
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("quic").setLevel(logging.WARNING)
    if options.verbose:
        logging.getLogger("pytest_moqt.relay").setLevel(logging.DEBUG)
    asyncio.run(_run(options, bound, behaviour.identity(identity), behaviour))
    return 0


def _why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} of {host} is in use; choose another --port, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"UDP port {port} of {host} may not be used by this user; choose one above 1023"
    return f"--host {host} cannot be listened on: {error.strerror or error}"


async def _run(
    options: argparse.Namespace, bound: socket.socket, identity: Identity, behaviour: Behaviour
) -> None:
    from pytest_moqt.relay.features import Features
    from pytest_moqt.relay.server import Server

    features = Features(**{name: getattr(options, name) for name in map(_destination, FEATURES)})
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    server = Server(
        loop,
        identity,
        drafts=options.draft,
        transport=options.transport,
        behaviour=behaviour,
        features=features,
    )
    await loop.create_datagram_endpoint(lambda: server, sock=bound)
    host, port = bound.getsockname()[:2]
    print("\n".join(_ready(options, host, port, identity)), flush=True)
    await stopping.wait()
    if options.goaway:
        stopping.clear()
        leaving, again = loop.create_task(server.leave(options.goaway)), loop.create_task(stopping.wait())
        await asyncio.wait({leaving, again}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        again.cancel()
    server.close()


def _ready(options: argparse.Namespace, host: str, port: int, identity: Identity) -> list[str]:
    shown = f"[{host}]" if ":" in host else host
    drafts = ", ".join(f"draft-{number}" for number in sorted(options.draft, reverse=True))
    lines = [
        f"{NAME} ready on {shown}:{port} sha256={identity.fingerprint_hex}",
        f"certificate hash (base64): {identity.fingerprint_base64}",
        f"drafts: {drafts}",
    ]
    unusual = [
        flag if getattr(options, _destination(flag)) else f"no {flag}"
        for flag, (offered, _) in FEATURES.items()
        if getattr(options, _destination(flag)) != offered
    ]
    if unusual:
        lines.append(f"QUIC: {', '.join(unusual)}")
    if options.transport != "webtransport":
        lines.append(f"raw QUIC: moqt://{shown}:{port}")
    if options.transport != "quic":
        lines.append(f"WebTransport: https://{shown}:{port}")
    if options.defect is not None:
        lines.append(f"defect: {options.defect}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
