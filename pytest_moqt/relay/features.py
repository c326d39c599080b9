"""What of QUIC the relay offers its clients, as far as a server is free to choose."""

from __future__ import annotations

from dataclasses import dataclass

from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite


@dataclass(frozen=True)
class Features:
    """Parts of QUIC that a server may offer or not; each is allowed without the others, but for one."""

    retry: bool = False
    "Have every client prove its address by Retry (RFC 9000 section 8.1.2)."
    resumption: bool = True
    "Give session tickets, and know them, once each (RFC 8446 section 4.6.1)."
    zero_rtt: bool = True
    "Take data before the handshake is complete (RFC 9001 section 4.6); only with `resumption`."
    v2: bool = True
    "Speak QUIC version 2 too (RFC 9369)."
    migration: bool = True
    "Let clients go on from another address (RFC 9000 section 9)."
    chacha20: bool = True
    "Encrypt with TLS_CHACHA20_POLY1305_SHA256 where a client wants that."

    @property
    def versions(self) -> list[int]:
        """The versions of QUIC that are spoken."""
        versions = [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2]
        return [int(version) for version in (versions if self.v2 else versions[:1])]

    @property
    def ciphers(self) -> list[CipherSuite] | None:
        """The cipher suites, most wanted first; None: those that aioquic has."""
        if self.chacha20:
            return None
        return [CipherSuite.AES_256_GCM_SHA384, CipherSuite.AES_128_GCM_SHA256]
