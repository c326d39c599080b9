"""What the environment says: names and defaults as the QUIC Interop Runner and its containers have them.

Rules:

- An empty variable counts as unset.
- TESTCASE is read before any other: a name that is not known is answered with 127 whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from quic_interop.cases import Case, find
from quic_interop.errors import InteropError

DEFAULT_PORT = 443
DEFAULT_DOWNLOADS = "/downloads"
DEFAULT_CERTS = "/certs"
DEFAULT_WWW = "/www"


@dataclass(frozen=True)
class Request:
    """A file to fetch."""

    host: str
    port: int
    path: str
    "As it is sent, with a query if there is one."
    name: str
    "Of the file it is downloaded to."

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Logs:
    """Where a run leaves what others can follow it with."""

    keys: Path | None
    "TLS secrets, in the format of SSLKEYLOGFILE; appended to."
    qlog: Path | None
    "A directory for a qlog file of each connection."


@dataclass(frozen=True)
class ClientSettings:
    """What a client is to do."""

    case: Case
    requests: tuple[Request, ...]
    downloads: Path
    logs: Logs


@dataclass(frozen=True)
class ServerSettings:
    """What a server is to do."""

    case: Case
    port: int
    certs: Path
    www: Path
    logs: Logs
    host: str | None = None
    "The only address to listen on; None is all of IPv4 and IPv6."


def case_of(environment: Mapping[str, str]) -> Case:
    """The test case.

    Raises:
        UnsupportedCase: It is not one of ours.
    """
    return find(environment.get("TESTCASE", ""))


def client_settings(environment: Mapping[str, str]) -> ClientSettings:
    """What the environment tells a client.

    Raises:
        UnsupportedCase: TESTCASE is not one of ours.
        InteropError: A variable cannot be used.
    """
    case = case_of(environment)
    requests = tuple(map(request, environment.get("REQUESTS", "").split()))
    if not requests:
        raise InteropError("REQUESTS names no URL, so there is nothing to download")
    names = [one.name for one in requests]
    for name in names:
        if names.count(name) > 1:
            raise InteropError(f"REQUESTS has more than one URL whose file would be {name}")
    downloads = Path(environment.get("DOWNLOADS") or DEFAULT_DOWNLOADS)
    return ClientSettings(case, requests, downloads, _logs(environment))


def server_settings(environment: Mapping[str, str], *, host: str | None = None) -> ServerSettings:
    """What the environment tells a server.

    Raises:
        UnsupportedCase: TESTCASE is not one of ours.
        InteropError: A variable cannot be used.
    """
    case = case_of(environment)
    port = environment.get("PORT") or str(DEFAULT_PORT)
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise InteropError(f"PORT {port} is no port, must be 0 to 65535")
    certs = Path(environment.get("CERTS") or DEFAULT_CERTS)
    www = Path(environment.get("WWW") or DEFAULT_WWW)
    return ServerSettings(case, int(port), certs, www, _logs(environment), host)


def request(url: str) -> Request:
    """What a URL asks for.

    Raises:
        InteropError: It is no URL of a file that this client can fetch.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InteropError(f"{url} is no URL: {error}") from None
    if parts.scheme != "https":
        scheme = f"the scheme {parts.scheme}" if parts.scheme else "no scheme"
        raise InteropError(f"{url} has {scheme}, must be https")
    if not host:
        raise InteropError(f"{url} names no host")
    if not url.isascii() or not url.isprintable():
        raise InteropError(f"{url} has characters that no URL may have; write them as %XX")
    segments = unquote(parts.path).split("/")
    name = segments[-1]
    if ".." in segments or "\0" in name or name in ("", "."):
        raise InteropError(f"{url} names no file that it could be downloaded to")
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Request(host, DEFAULT_PORT if port is None else port, path, name)


def _logs(environment: Mapping[str, str]) -> Logs:
    keys, qlog = environment.get("SSLKEYLOGFILE"), environment.get("QLOGDIR")
    return Logs(Path(keys) if keys else None, Path(qlog) if qlog else None)
