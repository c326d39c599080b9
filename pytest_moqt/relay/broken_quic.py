"""Servers that speak QUIC wrongly in one way each; aioquic has no words for being wrong.

Rules:

- Each class changes one thing, by a private name of aioquic that tests/relay/test_relay_quic.py holds to be
  there; everything else is QUIC as `internals.ServerConnection` speaks it.
- They are made of a client's connection, and know nothing of MoQT: which case they fail is in
  `defects/quic.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aioquic._buffer import Buffer
from aioquic.quic.connection import NetworkAddress, QuicConnectionError
from aioquic.quic.crypto import CryptoPair, KeyUnavailableError
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicProtocolVersion
from aioquic.tls import AlertDescription, AlertNoApplicationProtocol, CipherSuite, Epoch

from pytest_moqt.relay.internals import ServerConnection, window_left

ODD_EARLY_DATA = 16384
"What TLS over TCP might say; over QUIC only 0xffffffff is allowed (RFC 9001 section 4.6.1)."
WIDE = 64 * 1024
"Bytes of a window."
NO_COMMON_CIPHER = QuicErrorCode.CRYPTO_ERROR + AlertDescription.handshake_failure


class WrongOrigin(ServerConnection):
    """Says that the client's first packet had another connection id than it had."""

    def _serialize_transport_parameters(self) -> bytes:
        true = self._original_destination_connection_id
        self._original_destination_connection_id = bytes(len(true))
        try:
            return super()._serialize_transport_parameters()
        finally:
            self._original_destination_connection_id = true


class NeverConfirms(ServerConnection):
    """Sends no HANDSHAKE_DONE."""

    def _write_handshake_done_frame(self, builder: Any) -> None:
        pass


class NeverSendsAgain(ServerConnection):
    """Sends everything once, whatever is lost."""

    def handle_timer(self, now: float) -> None:
        """Do nothing about what was not acknowledged."""
        self._loss_at = None
        super().handle_timer(now)

    def _handle_crypto_frame(self, *arguments: Any) -> None:
        # Or a client that asks again would be answered again.
        self._crypto_retransmitted = True
        super()._handle_crypto_frame(*arguments)


class NoConnectionIds(ServerConnection):
    """Gives the client no connection ids beside the first, which is allowed."""

    def _replenish_connection_ids(self) -> None:
        pass


class NoDatagrams(ServerConnection):
    """Takes no DATAGRAM frames."""

    def _serialize_transport_parameters(self) -> bytes:
        self._configuration = replace(self._configuration, max_datagram_frame_size=None)
        return super()._serialize_transport_parameters()


# ---- flow control --------------------------------------------------------------------------------


class IgnoresLimits(ServerConnection):
    """Sends until the client's first windows are full, and never looks at later ones."""

    def _handle_max_data_frame(self, *arguments: Any) -> None:
        _buffer(arguments).pull_uint_var()

    def _handle_max_stream_data_frame(self, *arguments: Any) -> None:
        for _ in ("stream", "limit"):
            _buffer(arguments).pull_uint_var()


class OrdersInWideWindows(ServerConnection):
    """Sends streams in turns while the client's window is narrower than what may wait for it."""

    def _put_in_order(self) -> None:
        if window_left(self) > WIDE:
            super()._put_in_order()


class IgnoresStreamLimits(ServerConnection):
    """Opens as many unidirectional streams as it likes."""

    def _parse_transport_parameters(self, *arguments: Any, **options: Any) -> None:
        super()._parse_transport_parameters(*arguments, **options)
        self._remote_max_streams_uni = 1 << 20


def _buffer(arguments: tuple[Any, ...]) -> Buffer:
    """What is left of a packet, of the arguments of a frame's handler: context, type and this."""
    buf: Buffer = arguments[-1]
    return buf


# ---- keys ----------------------------------------------------------------------------------------


class _OneKeyPhase(CryptoPair):
    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int]:
        header, payload, number, updated = self.recv.decrypt_packet(
            packet, encrypted_offset, expected_packet_number
        )
        if updated:
            raise KeyUnavailableError("a key phase that is not known here")
        return header, payload, number


class _OwnKeyPhase(CryptoPair):
    def _update_key(self, trigger: str) -> None:
        secret, aead, phase = self.send.secret, self.send.aead, self.send.key_phase
        super()._update_key(trigger)
        self.send.secret, self.send.aead, self.send.key_phase = secret, aead, phase


class IgnoresKeyUpdate(ServerConnection):
    """Drops packets in new keys."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._cryptos[Epoch.ONE_RTT].__class__ = _OneKeyPhase


class AnswersInOldKeys(ServerConnection):
    """Reads packets in new keys, and goes on sending in the old ones."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self._cryptos[Epoch.ONE_RTT].__class__ = _OwnKeyPhase


class SilentWithoutCipher(ServerConnection):
    """Has no ChaCha20, and says nothing to a client that offers nothing else."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._cipher_suites = [CipherSuite.AES_256_GCM_SHA384, CipherSuite.AES_128_GCM_SHA256]

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Nothing, instead of the alert."""
        if self._close_event is not None and self._close_event.error_code == NO_COMMON_CIPHER:
            return []
        return super().datagrams_to_send(now)


# ---- application protocols -------------------------------------------------------------------------


class TakesAnyProtocol(ServerConnection):
    """Names no application protocol where a client offers none that it has, instead of an alert."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        usual = self.tls._server_handle_hello

        def handle(input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
            began = input_buf.tell()
            try:
                usual(input_buf, initial_buf, handshake_buf)
            except AlertNoApplicationProtocol:
                # Of what TLS knows nothing has changed by then.
                input_buf.seek(began)
                self.tls._alpn_protocols = None
                usual(input_buf, initial_buf, handshake_buf)

        self.tls._server_handle_hello = handle  # type: ignore[method-assign]  # no other word for it


# ---- versions ------------------------------------------------------------------------------------


class WrongVersionInformation(ServerConnection):
    """Says that it chose version 1, in version 2."""

    def _serialize_transport_parameters(self) -> bytes:
        spoken, self._version = self._version, QuicProtocolVersion.VERSION_1
        try:
            return super()._serialize_transport_parameters()
        finally:
            self._version = spoken


class RefusesVersion2(ServerConnection):
    """Ends the connection of a client that prefers version 2, in whatever version it is."""

    def _alpn_handler(self, alpn_protocol: str) -> None:
        super()._alpn_handler(alpn_protocol)
        told = self._remote_version_information
        if told is not None and told.available_versions[:1] == [QuicProtocolVersion.VERSION_2]:
            raise QuicConnectionError(
                error_code=QuicErrorCode.VERSION_NEGOTIATION_ERROR,
                frame_type=QuicFrameType.CRYPTO,
                reason_phrase="version 2 is not spoken here",
            )


# ---- Retry, tickets, early data ------------------------------------------------------------------


class ForgetsItsRetry(ServerConnection):
    """Does not say in its transport parameters that it sent Retry."""

    def _serialize_transport_parameters(self) -> bytes:
        sent, self._retry_source_connection_id = self._retry_source_connection_id, None
        try:
            return super()._serialize_transport_parameters()
        finally:
            self._retry_source_connection_id = sent


class OddEarlyData(ServerConnection):
    """Gives tickets with an amount of early data, which QUIC does not have."""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._max_early_data = ODD_EARLY_DATA
        # aioquic's own would find fault with the ticket here.
        self.tls.new_session_ticket_cb = self._session_ticket_handler


class LosesEarlyData(ServerConnection):
    """Accepts and acknowledges data in 0-RTT packets, and forgets it."""

    def _handle_stream_frame(self, context: Any, frame_type: int, buf: Buffer) -> None:
        if context.epoch is Epoch.ZERO_RTT:
            buf.seek(buf.capacity)
        else:
            super()._handle_stream_frame(context, frame_type, buf)


class RejectsEarlyData(ServerConnection):
    """Gives tickets that allow early data, and takes none when it comes, which is allowed."""

    def _update_traffic_key(self, direction: Any, epoch: Epoch, cipher_suite: Any, secret: bytes) -> None:
        if epoch is Epoch.ZERO_RTT:
            self.tls.early_data_accepted = False
        else:
            super()._update_traffic_key(direction, epoch, cipher_suite, secret)


# ---- paths ---------------------------------------------------------------------------------------


class TrustsNewPaths(ServerConnection):
    """Goes on sending to a client's new address without having it proved."""

    def _find_network_path(self, addr: NetworkAddress) -> Any:
        path = super()._find_network_path(addr)
        path.is_validated = True
        return path
