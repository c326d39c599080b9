"""A relay's URL to what is dialled: host, port, path and the transport its scheme asks for."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlsplit

Transport = Literal["quic", "webtransport"]
TransportChoice = Literal["auto", "quic", "webtransport"]

DEFAULT_PORT = 443
"Of `https`, and of `moqt` from draft 15 on (session-init); draft 14 states none."

SCHEMES: Final[dict[str, Transport]] = {"https": "webtransport", "moqt": "quic"}
GOOD_URLS = "https://HOST[:PORT][/PATH] for WebTransport or moqt://HOST[:PORT][/PATH] for raw QUIC"
# What RFC 3986 allows in a path or query, and `%` because escapes are kept as written.
_URI_SAFE = "%:/?#[]@!$&'()*+,;="


class RelayUrlError(ValueError):
    """A relay URL that cannot be dialled; its text names the good values."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a relay is and how to reach it."""

    host: str
    "Name or address, without the brackets of an IPv6 literal; ASCII."
    port: int
    path: str
    "With the query; `/` when the URL has none and the transport is WebTransport, else may be empty."
    authority: str
    "Host and port as written in the URL."
    transport: Transport
    url: str
    "As given."


def parse_relay_url(url: str, transport: TransportChoice = "auto") -> Endpoint:
    """Read a relay URL.

    Args:
        url: `https://…` or `moqt://…`; a fragment is local (draft 18, moqt-uri) and dropped.
        transport: `auto` follows the scheme; the others override it, since `moqt` names both
            transports from draft 18 on.

    Raises:
        RelayUrlError: The URL, or `transport`, is none that can be dialled.
    """
    if transport not in ("auto", "quic", "webtransport"):
        raise RelayUrlError(f"transport {transport!r} is none of auto, quic, webtransport")
    if not url or not url.isprintable() or " " in url:
        raise RelayUrlError(
            f"relay URL {url!r} is empty or has spaces or control characters: use {GOOD_URLS}"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        hostname = parts.hostname
    except ValueError as error:
        raise RelayUrlError(f"relay URL {url!r} cannot be read ({error}): use {GOOD_URLS}") from None
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES or not url[len(scheme) :].startswith("://"):
        raise RelayUrlError(f"relay URL {url!r} has no scheme known here: use {GOOD_URLS}")
    if parts.username is not None or parts.password is not None:
        raise RelayUrlError(
            f"relay URL {url!r} has a user name, which MoQT knows nothing of: use {GOOD_URLS}"
        )
    if not hostname:
        raise RelayUrlError(f"relay URL {url!r} has no host: use {GOOD_URLS}")
    if port == 0:
        raise RelayUrlError(f"relay URL {url!r} has port 0: a port is 1 to 65535")
    chosen = SCHEMES[scheme] if transport == "auto" else transport
    path = quote(parts.path, safe=_URI_SAFE)
    if parts.query:
        path += "?" + quote(parts.query, safe=_URI_SAFE)
    if chosen == "webtransport" and not path.startswith("/"):
        path = "/" + path
    host = _ascii_host(hostname, url)
    authority = parts.netloc if parts.netloc.isascii() else host + (f":{port}" if port is not None else "")
    return Endpoint(host, DEFAULT_PORT if port is None else port, path, authority, chosen, url)


def _ascii_host(hostname: str, url: str) -> str:
    host = hostname.replace("%25", "%")  # the zone of a link-local address (RFC 6874)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return host
    if host.isascii() and all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        # What the codec would answer, without loading its tables.
        return host
    try:
        # TLS and HTTP both need ASCII (RFC 5890).
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise RelayUrlError(f"relay URL {url!r} has a host that is no host name: use {GOOD_URLS}") from None
