"""aioquic's configuration for a case and a role."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import CipherSuite

from pytest_moqt.relay.certificates import CertificateError, load
from quic_interop.cases import QUIC_V1, Case
from quic_interop.errors import InteropError
from quic_interop.qlog import Qlog
from quic_interop.settings import Logs

IDLE_SECONDS = 30.0
"Without a packet from the peer. The longest silence of a scenario is 2 s, the runner's shortest limit 60."


def client_configuration(case: Case, logs: Logs, stack: ExitStack) -> QuicConfiguration:
    """What all connections of a client share.

    Raises:
        InteropError: A log cannot be written.
    """
    configuration = _configuration(case, logs, stack, is_client=True)
    # The runner's certificates are for names that only its containers know; its clients check none.
    configuration.verify_mode = ssl.CERT_NONE
    configuration.original_version = QUIC_V1
    if case.connection_window is not None:
        configuration.max_data = case.connection_window
    if case.stream_window is not None:
        configuration.max_stream_data = case.stream_window
    return configuration


def server_configuration(case: Case, certs: Path, logs: Logs, stack: ExitStack) -> QuicConfiguration:
    """What all connections of a server share.

    Raises:
        InteropError: The certificate or its key cannot be used, or a log cannot be written.
    """
    configuration = _configuration(case, logs, stack, is_client=False)
    try:
        identity = load(str(certs / "cert.pem"), str(certs / "priv.key"))
    except CertificateError as error:
        raise InteropError(str(error)) from None
    configuration.certificate = identity.certificate
    configuration.certificate_chain = list(identity.chain)
    configuration.private_key = identity.private_key
    return configuration


def _configuration(case: Case, logs: Logs, stack: ExitStack, *, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[case.alpn],
        cipher_suites=[CipherSuite(number) for number in case.cipher_suites] or None,
        idle_timeout=IDLE_SECONDS,
        initial_rtt=case.initial_rtt,
        supported_versions=list(case.versions),
        secrets_log_file=None if logs.keys is None else stack.enter_context(_key_log(logs.keys)),
        quic_logger=None if logs.qlog is None else Qlog(logs.qlog),
    )


def _key_log(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="ascii", buffering=1)
    except OSError as error:
        raise InteropError(f"SSLKEYLOGFILE {path} cannot be written: {error.strerror or error}") from None
