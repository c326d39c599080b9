"""Dials a relay: every address in turn within one deadline, to a transport or one `ConnectError`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TextIO

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from pytest_moqt.client import aioquic_internals as internals
from pytest_moqt.client.errors import ConnectError, ConnectErrorKind, name_of, printable, quoted
from pytest_moqt.client.quic import ClientTransport, EventHandler, QuicTransport, Refusal
from pytest_moqt.client.tls import TlsFileError, TlsOptions
from pytest_moqt.client.url import Endpoint

if TYPE_CHECKING:
    from pytest_moqt.client.connection import Connection, QuicOptions

IDLE_TIMEOUT = 30.0
"Seconds without a packet after which a connection is over; the relay's own limit may be shorter."

MAX_DATAGRAM_FRAME = 65535
"What we accept of DATAGRAM frames, in bytes (RFC 9221 section 3): all that UDP can carry."

_ALERT = 0x100  # CRYPTO_ERROR: a TLS alert is this plus its number (RFC 9001 section 4.8)
_BAD_CERTIFICATE = _ALERT + 42
_CERTIFICATE_EXPIRED = _ALERT + 45
_NO_APPLICATION_PROTOCOL = _ALERT + 120
_VERSION_NEGOTIATION_ERROR = 0x11

# aioquic warns of each failed handshake; without a handler Python would print that to standard error
# beside the error raised for it here.
logging.getLogger("quic").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class _Address:
    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Asked:
    """What a case asks of the QUIC connection, and who is told of it."""

    options: QuicOptions
    watch: Callable[[Connection], None] | None = None
    "Told of each connection that is tried, before its first packet."
    early: Callable[[ClientTransport], None] | None = None
    "Writes on a connection what is to be sent before its handshake is complete."


async def dial(
    endpoint: Endpoint,
    *,
    alpn: Sequence[str],
    protocols: Sequence[str],
    tls: TlsOptions,
    timeout: float,
    on_event: EventHandler,
    idle_timeout: float = IDLE_TIMEOUT,
    peer_streams: int | None = None,
    asked: Asked | None = None,
) -> ClientTransport:
    """Connect to a relay.

    Args:
        endpoint: Where it is and over which transport.
        alpn: Protocols to offer over raw QUIC; the relay's preference decides. WebTransport offers `h3`.
        protocols: WebTransport sub-protocols to offer, most wanted first; empty sends no header.
        tls: How to check the certificate.
        timeout: Seconds for everything, names and all addresses included.
        on_event: Told every event from the first byte on, possibly before this returns; never called
            when this raises.
        idle_timeout: Seconds without a packet after which the connection is over.
        peer_streams: Streams of each kind that the relay may have open at a time; None is 128. Many
            more make every packet slower.
        asked: What is unusual about the connection; None: nothing.

    Returns:
        An established transport. It may have closed already, which `on_event` was then told.

    Raises:
        ConnectError: No session came about.
        TlsFileError: A file of certificates, or SSLKEYLOGFILE, cannot be used.
    """
    tls.check()
    with _open_key_log() as key_log:
        dialler = _Dialler(endpoint, alpn, protocols, tls, timeout, on_event, key_log, asked)
        return await dialler.run(idle_timeout, peer_streams)


@contextmanager
def _open_key_log() -> Iterator[TextIO | None]:
    """The file SSLKEYLOGFILE names, for decrypting captures; all secrets are known once dialling ends."""
    path = os.environ.get("SSLKEYLOGFILE")
    if not path:
        yield None
        return
    try:
        opened = open(path, "a", encoding="ascii")  # noqa: SIM115 - closed below, outside this `try`
    except OSError as error:
        raise TlsFileError(f"SSLKEYLOGFILE {path} cannot be written: {error.strerror or error}") from None
    with opened:
        yield opened


class _Dialler:
    """One call of `dial`."""

    def __init__(
        self,
        endpoint: Endpoint,
        alpn: Sequence[str],
        protocols: Sequence[str],
        tls: TlsOptions,
        timeout: float,
        on_event: EventHandler,
        key_log: TextIO | None,
        asked: Asked | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._over_quic = endpoint.transport == "quic"
        self._alpn = list(alpn) if self._over_quic else ["h3"]
        self._protocols = () if self._over_quic else tuple(protocols)
        self._tls = tls
        self._timeout = timeout
        self._on_event = on_event
        self._key_log = key_log
        self._asked = asked
        self._started = self._loop.time()
        self._tried: list[str] = []
        self._connection_id: str | None = None
        self._silent: list[tuple[ConnectErrorKind, int | None, str]] = []

    async def run(self, idle_timeout: float, peer_streams: int | None) -> ClientTransport:
        addresses = await self._resolve()
        for position, address in enumerate(addresses):
            self._tried.append(str(address))
            share = max(0.0, self._remaining()) / (len(addresses) - position)
            transport = await self._attempt(address, share, idle_timeout, peer_streams)
            if transport is not None:
                return transport
        raise self._unanswered()

    async def _resolve(self) -> list[_Address]:
        host, port = self._endpoint.host, self._endpoint.port
        try:
            ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            # No look-up, so none of its thread.
            return [_Address(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)]
        # As bytes, which it is anyway: a text would go through the codec for international names.
        lookup = asyncio.ensure_future(self._loop.getaddrinfo(host.encode(), port, type=socket.SOCK_DGRAM))
        try:
            await asyncio.wait({lookup}, timeout=self._timeout)
            if not lookup.done():
                raise self._error("dns", f"the name {host} was not resolved within {self._ms(self._timeout)}")
            found = lookup.result()
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"the name {host} of {self._endpoint.url} cannot be resolved: {reason}"
            raise self._error("dns", message, code=error.errno, reason=reason) from None
        finally:
            lookup.cancel()
        addresses: list[_Address] = []
        for family, _, _, _, sockaddr in found:
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            text = str(sockaddr[0])
            if len(sockaddr) == 4 and sockaddr[3] and "%" not in text:
                text += f"%{sockaddr[3]}"  # asyncio takes pairs, so the zone goes into the host
            address = _Address(family, text, port)
            if address not in addresses:
                addresses.append(address)
        if not addresses:
            raise self._error("dns", f"the name {host} of {self._endpoint.url} has no address")
        return addresses

    async def _attempt(
        self, address: _Address, share: float, idle_timeout: float, peer_streams: int | None
    ) -> ClientTransport | None:
        """Try one address; None when nothing answered there.

        Raises:
            ConnectError: Something answered, and it is no session.
        """
        began = self._loop.time()
        transport = self._transport(address, idle_timeout, peer_streams)
        self._connection_id = transport.connection_id
        try:
            await self._loop.create_datagram_endpoint(
                lambda: transport.driver, remote_addr=(address.host, address.port), family=address.family
            )
        except OSError as error:
            self._note("refused", error.errno, f"{error.strerror or error}", address)
            return None
        try:
            early = None if self._asked is None else self._asked.early
            transport.driver.connect(None if early is None else partial(early, transport))
            # Of the share, making the connection has used some: with it no time of the caller's is left.
            await transport.wait_handshaken(max(0.0, share - (self._loop.time() - began)))
            refusal = transport.refusal
            if refusal is None and not transport.handshaken:
                await transport.finish()
                self._note("timeout", None, self._silence(transport, share), address)
                return None
            if refusal is None and not await transport.wait_settled(max(0.0, self._remaining())):
                refusal = Refusal("webtransport", None, f"awaited {transport.awaited()}")
                await transport.finish()
                raise self._webtransport_error(refusal, f" after {self._ms(self._elapsed())}")
            refusal = transport.refusal
            if refusal is not None:
                await transport.finish()
                if refusal.cause == "path" and not transport.handshaken:
                    after = self._ms(self._loop.time() - began)
                    self._note("refused", refusal.code, f"{refusal.reason} after {after}", address)
                    return None
                if refusal.close is not None and refusal.close.idle and not transport.handshaken:
                    self._note("timeout", None, self._silence(transport, idle_timeout), address)
                    return None
                raise self._refused(refusal, transport) from transport.failure
        except BaseException:
            transport.abort()
            raise
        transport.handshake.update(
            address=str(address),
            tried=tuple(self._tried),
            elapsed_ms=round(self._elapsed() * 1000, 3),
            alpn=transport.alpn,
            protocol=transport.protocol,
        )
        return transport

    def _transport(self, address: _Address, idle_timeout: float, peer_streams: int | None) -> ClientTransport:
        configuration = QuicConfiguration(
            alpn_protocols=self._alpn,
            idle_timeout=idle_timeout,
            is_client=True,
            max_datagram_frame_size=MAX_DATAGRAM_FRAME,
            secrets_log_file=self._key_log,
            server_name=self._endpoint.host,
        )
        if self._tls.verify:
            configuration.cafile, configuration.capath = self._tls.trust()
            configuration.cadata = self._tls.ca_data
        else:
            configuration.verify_mode = ssl.CERT_NONE
        connection = None
        if self._asked is not None:
            from pytest_moqt.client.connection import Connection

            connection = Connection(self._asked.options, configuration)
        quic = QuicConnection(configuration=configuration) if connection is None else connection.quic
        if peer_streams is not None:
            internals.allow_peer_streams(quic, peer_streams)
        transport = self._carrier(quic, (address.host, address.port))
        if connection is not None and self._asked is not None:
            connection.attach(transport)
            if self._asked.watch is not None:
                self._asked.watch(connection)
        return transport

    def _carrier(self, quic: QuicConnection, at: tuple[str, int]) -> ClientTransport:
        if self._over_quic:
            return QuicTransport(quic, at, self._on_event)
        from pytest_moqt.client.webtransport import WebTransport

        return WebTransport(quic, at, self._on_event, endpoint=self._endpoint, protocols=self._protocols)

    # what went wrong

    def _elapsed(self) -> float:
        return self._loop.time() - self._started

    def _remaining(self) -> float:
        return self._timeout - self._elapsed()

    @staticmethod
    def _ms(seconds: float) -> str:
        return f"{seconds * 1000:.0f} ms"

    def _where(self) -> str:
        """The address as the user wrote it, with the one dialled when that says more."""
        asked = f"{self._endpoint.host}:{self._endpoint.port}"
        last = self._tried[-1] if self._tried else asked
        return (
            last if last in (asked, f"[{self._endpoint.host}]:{self._endpoint.port}") else f"{asked} ({last})"
        )

    def _error(
        self,
        kind: ConnectErrorKind,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        by_peer: bool = False,
    ) -> ConnectError:
        return ConnectError(
            kind,
            message,
            code=code,
            reason=reason,
            tried=tuple(self._tried),
            offered=(*self._alpn, *self._protocols),
            elapsed=self._elapsed(),
            connection_id=self._connection_id,
            by_peer=by_peer,
        )

    def _closed(self, kind: ConnectErrorKind, message: str, close: internals.QuicClose) -> ConnectError:
        """For how a connection ended."""
        return self._error(kind, message, code=close.code, reason=close.reason, by_peer=close.by_peer)

    def _note(self, kind: ConnectErrorKind, code: int | None, reason: str, address: _Address) -> None:
        self._silent.append((kind, code, reason if self._is_only(address) else f"{address}: {reason}"))

    def _is_only(self, address: _Address) -> bool:
        return str(address) in (self._where(), f"{self._endpoint.host}:{self._endpoint.port}")

    def _silence(self, transport: ClientTransport, waited: float) -> str:
        received = transport.driver.datagrams_received
        if not received:
            return f"no reply within {self._ms(waited)}"
        came = "1 datagram" if received == 1 else f"{received} datagrams"
        return f"no QUIC handshake within {self._ms(waited)}, {came} came back"

    def _unanswered(self) -> ConnectError:
        # Silence says less than a refusal, so it decides: the relay may be behind the silent address.
        kind: ConnectErrorKind = "timeout" if any(k == "timeout" for k, _, _ in self._silent) else "refused"
        code = next((c for k, c, _ in self._silent if k == kind), None)
        reason = "; ".join(r for _, _, r in self._silent)
        asked = f"{self._endpoint.host}:{self._endpoint.port}"
        return self._error(kind, f"no relay answered at {asked} ({reason})", code=code, reason=reason)

    def _refused(self, refusal: Refusal, transport: ClientTransport) -> ConnectError:
        if refusal.cause == "webtransport":
            return self._webtransport_error(refusal, "")
        if refusal.cause == "internal":
            message = f"an error of the test client, not of the relay: {printable(refusal.reason)}"
            return self._error("internal", message, code=refusal.code, reason=refusal.reason)
        if refusal.close is None:
            message = f"the connection to {self._where()} broke: {printable(refusal.reason)}"
            return self._error("closed", message, code=refusal.code, reason=refusal.reason)
        close = refusal.close
        if close.code == _NO_APPLICATION_PROTOCOL and close.frame_type is not None:
            offer = ", ".join(self._alpn)
            message = f"the relay at {self._where()} speaks none of the protocols offered (ALPN {offer})"
            if close.by_peer:
                message += quoted(close.reason)
            return self._closed("alpn", message, close)
        if close.frame_type is not None and _ALERT <= close.code < _ALERT + 0x100:
            return self._tls_error(close)
        if close.code == _VERSION_NEGOTIATION_ERROR or (
            not close.by_peer and close.reason == "Could not find a common protocol version"
        ):
            message = f"the relay at {self._where()} speaks no version of QUIC known here (1 and 2)"
            if close.by_peer:
                message += quoted(close.reason)
            return self._closed("version", message, close)
        http3 = close.frame_type is None
        said = f"{name_of(close.code, http3=http3)}{quoted(close.reason)}"
        if not close.by_peer:
            kind: ConnectErrorKind = "webtransport" if http3 and transport.handshaken else "closed"
            layer = "HTTP/3" if http3 else "QUIC"
            message = f"the relay at {self._where()} broke {layer}: {said}"
            return self._closed(kind, message, close)
        when = f"while we awaited {transport.awaited()}"
        message = f"the relay at {self._where()} closed the connection {when}: {said}"
        return self._closed("closed", message, close)

    def _webtransport_error(self, refusal: Refusal, when: str) -> ConnectError:
        message = (
            f"no WebTransport session with the relay at {self._where()}: {printable(refusal.reason)}{when}"
        )
        return self._error("webtransport", message, code=refusal.code, reason=refusal.reason)

    def _tls_error(self, close: internals.QuicClose) -> ConnectError:
        where, reason = self._where(), close.reason
        if close.by_peer:
            message = f"the relay at {where} ended the TLS handshake: {name_of(close.code)}{quoted(reason)}"
            return self._closed("tls", message, close)
        shown = printable(reason)
        host = self._endpoint.host
        unchecked = "--tls-disable-verify accepts any certificate"
        if close.code == _CERTIFICATE_EXPIRED:
            state = "is not valid yet" if "not valid yet" in reason else "has expired"
            message = f"the certificate of the relay at {where} {state} ({shown}): renew it; {unchecked}"
        elif close.code == _BAD_CERTIFICATE and "doesn't match" in reason:
            message = (
                f"the certificate of the relay at {where} is for another name ({shown}):"
                f" dial the name it is for, or issue it for {host}; {unchecked}"
            )
        elif close.code == _BAD_CERTIFICATE and _is_self_signed(reason):
            message = (
                f"the certificate of the relay at {where} is self-signed ({shown}):"
                f" trust it with --ca-file PEM; {unchecked}"
            )
        elif close.code == _BAD_CERTIFICATE and _has_unknown_issuer(reason):
            message = (
                f"the certificate of the relay at {where} has an untrusted issuer ({shown}):"
                f" name its authority with --ca-file PEM; {unchecked}"
            )
        elif close.code == _BAD_CERTIFICATE:
            message = (
                f"the certificate of the relay at {where} was not accepted ({shown}):"
                f" --ca-file PEM names its authority; {unchecked}"
            )
        else:
            message = f"the TLS handshake with the relay at {where} failed: {name_of(close.code)}"
            message += f" ({shown})" if shown else ""
        return self._closed("tls", message, close)


def _is_self_signed(reason: str) -> bool:
    """Whether OpenSSL found the relay's own certificate self-signed, not one further up its chain."""
    return "self-signed" in reason.replace("self signed", "self-signed") and "chain" not in reason


def _has_unknown_issuer(reason: str) -> bool:
    return any(words in reason for words in ("issuer", "unable to verify", "certificate chain"))
