"""The test cases of the QUIC Interop Runner that this endpoint takes part in, by the name it is given.

Rules:

- The runner starts every image once with a made-up name, and judges none that does not exit with 127.
- It gives one name to many scenarios: `transfer` is also multiplexing, loss, corruption, a blackhole, NAT
  rebinding and IPv6; `handshake` is also a long round trip.
- Its clients get `transfer` where its servers get `connectionmigration`, and its servers `transfer` where its
  clients get `keyupdate`. Here both names are known in both roles.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

DEFAULT = "handshake"

QUIC_V1 = 0x00000001
"RFC 9000."
QUIC_V2 = 0x6B3343CF
"RFC 9369."

CHACHA20_POLY1305_SHA256 = 0x1303
"RFC 8446 section B.4."

HQ = "hq-interop"
"HTTP/0.9 over QUIC, which all cases but one use."
H3 = "h3"


class Plan(enum.Enum):
    """On which connections a client fetches the files."""

    TOGETHER = "all on one connection"
    EACH_ITS_OWN = "each on a connection of its own, one after the other"
    RESUMED = "the first on one connection, the rest on one that resumes its session"
    EARLY = "the same, with the second connection's requests sent as 0-RTT data"


@dataclass(frozen=True)
class Case:
    """What a test case asks of the two ends."""

    name: str
    summary: str
    alpn: str = HQ
    versions: tuple[int, ...] = (QUIC_V1,)
    """Most wanted first. A client starts in version 1 all the same, and a server that knew version 2 in other
    cases would move there with every client that prefers it, which the runner forbids."""
    cipher_suites: tuple[int, ...] = ()
    "The only ones offered and taken; empty: all."
    plan: Plan = Plan.TOGETHER
    stream_window: int | None = None
    "Flow control of our client in bytes for a stream; None is aioquic's."
    connection_window: int | None = None
    "The same for all streams together."
    initial_rtt: float = 0.1
    "What a connection takes the round trip for until it has measured it, in seconds; aioquic's is 0.1."
    key_update: bool = False
    "Our client updates its keys as soon as it may."
    retry: bool = False
    "Our server sends Retry."
    tickets: bool = False
    "Our server gives session tickets, and takes each once."
    preferred_address: bool = False
    "Our server asks its clients to move to another of its ports."


# Fractions of the files, so that both kinds of credit have to be renewed many times.
_STREAM_WINDOW, _CONNECTION_WINDOW = 128 * 1024, 256 * 1024


def _transfer(name: str, summary: str, *, key_update: bool = False, preferred_address: bool = False) -> Case:
    return Case(
        name,
        summary,
        stream_window=_STREAM_WINDOW,
        connection_window=_CONNECTION_WINDOW,
        key_update=key_update,
        preferred_address=preferred_address,
    )


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("handshake", "a handshake, and a file"),
        _transfer("transfer", "several files on one connection, in windows that have to be renewed"),
        Case("retry", "the server validates the client's address by a Retry packet", retry=True),
        _transfer("keyupdate", "the client updates the keys at the start of a download", key_update=True),
        Case(
            "chacha20",
            "only TLS_CHACHA20_POLY1305_SHA256 is offered",
            cipher_suites=(CHACHA20_POLY1305_SHA256,),
        ),
        # Fifty handshakes at 30 % loss have 300 s, and what is lost is sent again after three of these.
        Case("multiconnect", "a connection for each file", plan=Plan.EACH_ITS_OWN, initial_rtt=0.05),
        Case("v2", "compatible version negotiation from version 1 to version 2", versions=(QUIC_V2, QUIC_V1)),
        Case(
            "resumption",
            "the second connection resumes the first one's session",
            plan=Plan.RESUMED,
            tickets=True,
        ),
        Case("zerortt", "the second connection's requests are 0-RTT data", plan=Plan.EARLY, tickets=True),
        _transfer(
            "connectionmigration",
            "the client moves to the server's preferred address during a download",
            preferred_address=True,
        ),
        Case("http3", "several files by HTTP/3", alpn=H3),
    )
}
"By name, in the order of the documentation."


class UnsupportedCase(LookupError):
    """A test case that this endpoint does not take part in; the exit code is 127."""

    def __init__(self, name: str) -> None:
        super().__init__(f"test case {name!r} is not supported; known are {', '.join(CASES)}")


def find(name: str) -> Case:
    """The case of a name; an empty name is the default's.

    Raises:
        UnsupportedCase: There is none.
    """
    case = CASES.get(name or DEFAULT)
    if case is None:
        raise UnsupportedCase(name)
    return case
