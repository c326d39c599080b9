"""Certificates for a relay on loopback: a fresh self-signed one, or a user's files, checked.

A self-signed certificate is what browsers take by its hash (`serverCertificateHashes` of WebTransport):
an ECDSA P-256 key and a validity of less than 14 days.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

VALID_DAYS = 13
"W3C WebTransport: the validity of a certificate given by its hash must be below two weeks."


class CertificateError(ValueError):
    """A certificate or key file cannot be used; the message is one sentence that names the file."""


@dataclass(frozen=True)
class Identity:
    """A server's certificate and its key."""

    certificate: x509.Certificate
    private_key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()
    "Intermediate certificates."

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the DER certificate, 32 bytes."""
        return self.certificate.fingerprint(hashes.SHA256())

    @property
    def fingerprint_hex(self) -> str:
        """The fingerprint as `openssl x509 -fingerprint` prints it."""
        return self.fingerprint.hex(":").upper()

    @property
    def fingerprint_base64(self) -> str:
        """The fingerprint as scripts in browsers take it most easily."""
        return base64.b64encode(self.fingerprint).decode()


def self_signed(
    *, host: str = "localhost", addresses: Sequence[str] = ("127.0.0.1", "::1"), age_days: float = 1 / 24
) -> Identity:
    """A new identity, by default for `localhost`, `127.0.0.1` and `::1`.

    Args:
        host: Its DNS name.
        addresses: Its IP addresses.
        age_days: Since when it has been valid; from VALID_DAYS on it has expired. By default an hour, for
            clocks that are not quite right.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=age_days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName(host),
                    *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
                ]
            ),
            critical=False,
        )
        # It is trusted by being given as the CA file, so it has to be allowed to be one.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(certificate, key)


def load(certificate_file: str, key_file: str) -> Identity:
    """The identity in a PEM certificate file and a PEM key file without a passphrase.

    Raises:
        CertificateError: A file is missing, unreadable or not what it should be, or they do not match.
    """
    try:
        certificates = x509.load_pem_x509_certificates(_read(certificate_file, "certificate"))
    except ValueError as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"certificate file {certificate_file} holds no PEM certificate") from None
    try:
        key = serialization.load_pem_private_key(_read(key_file, "key"), password=None)
    except TypeError:
        raise CertificateError(
            f"key file {key_file} is protected by a passphrase; give one that is not"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError(f"key file {key_file} holds no PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise CertificateError(f"key file {key_file} holds a {_kind(key)} key, which TLS 1.3 cannot use")
    if certificates[0].public_key() != key.public_key():
        raise CertificateError(f"key file {key_file} is not the key of certificate file {certificate_file}")
    return Identity(certificates[0], key, tuple(certificates[1:]))


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CertificateError(f"{what} file {path} cannot be read: {error.strerror or error}") from None


def _kind(key: PrivateKeyTypes) -> str:
    return "DSA" if isinstance(key, dsa.DSAPrivateKey) else type(key).__name__
