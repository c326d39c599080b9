"""quic-interop-client and quic-interop-server: the QUIC Interop Runner's environment and exit codes.

Rules:

- The test case's name comes before everything else, and before anything heavy is imported: the runner starts
  every image with a made-up one, and takes it for compliant only if that exits with 127.
- Standard error has a sentence for each failure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn

from quic_interop.cases import CASES, DEFAULT, UnsupportedCase
from quic_interop.errors import InteropError
from quic_interop.settings import (
    DEFAULT_CERTS,
    DEFAULT_DOWNLOADS,
    DEFAULT_PORT,
    DEFAULT_WWW,
    ServerSettings,
    case_of,
    client_settings,
    server_settings,
)

CLIENT = "quic-interop-client"
SERVER = "quic-interop-server"
EXIT_OK, EXIT_FAILED, EXIT_UNSUPPORTED = 0, 1, 127

_LOGS = "SSLKEYLOGFILE (a file for TLS secrets), QLOGDIR (a folder for qlog files)"
_CERTS = "cert.pem and priv.key"
_VARIABLES = {
    CLIENT: f"REQUESTS (URLs, with spaces between), DOWNLOADS ({DEFAULT_DOWNLOADS}), {_LOGS}",
    SERVER: f"PORT ({DEFAULT_PORT}), CERTS ({DEFAULT_CERTS}; {_CERTS}), WWW ({DEFAULT_WWW}), {_LOGS}",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an argument in one line, with the only code there is for it."""

    def error(self, message: str) -> NoReturn:
        raise InteropError(message)


def client(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the client.

    Returns:
        The exit code: 0 when all files came and the case was what happened, 1 when not, 127 for a case that
        is not known.
    """
    return _command(CLIENT, _fetch, arguments, environment)


def server(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the server until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a signal, 1 when it cannot run, 127 for a case that is not known.
    """
    return _command(SERVER, _serve, arguments, environment)


def _command(
    name: str,
    run: Callable[[argparse.Namespace, Mapping[str, str]], Coroutine[Any, Any, None]],
    arguments: Sequence[str] | None,
    environment: Mapping[str, str],
) -> int:
    try:
        options = _parser(name).parse_args(arguments)
        case_of(environment)
        if not options.check:
            asyncio.run(run(options, environment))
    except UnsupportedCase as error:
        print(f"{name}: {error.args[0]}", file=sys.stderr)
        return EXIT_UNSUPPORTED
    except InteropError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{name}: stopped by a signal", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=name,
        description="An endpoint for the QUIC Interop Runner.",
        epilog=f"Environment: TESTCASE ({DEFAULT}), {_VARIABLES[name]}. Test cases: {', '.join(CASES)}."
        " Exit codes: 0, 1 failed, 127 unknown test case.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--check", action="store_true", help="only say by the exit code whether TESTCASE is known"
    )
    if name == SERVER:
        parser.add_argument("--host", metavar="ADDRESS", help="the only address to listen on (all)")
    return parser


async def _fetch(_: argparse.Namespace, environment: Mapping[str, str]) -> None:
    settings = client_settings(environment)

    from quic_interop.client import run

    task = asyncio.current_task()
    assert task is not None
    # Cancelled, the run removes what is not whole.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run(settings)


async def _serve(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    settings = server_settings(environment, host=options.host)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    from quic_interop.server import Running

    running = Running(settings)
    try:
        print(_ready(settings, running.listener.port, running.listener.preferred_port), flush=True)
        await stopping.wait()
    finally:
        running.close()


def _ready(settings: ServerSettings, port: int, preferred_port: int | None) -> str:
    host = settings.host or "all addresses"
    preferred = "" if preferred_port is None else f", preferred port {preferred_port}"
    return f"{SERVER} ready on {host}, port {port}{preferred}: {settings.case.name}"
