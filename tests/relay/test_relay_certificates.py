"""Certificates: made, or read from files and checked."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pytest_moqt.relay.certificates import CertificateError, Identity, load, self_signed


def key_pem(identity: Identity, passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return identity.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def written(directory: Path, **files: bytes) -> dict[str, str]:
    for name, data in files.items():
        Path(directory, name).write_bytes(data)
    return {name: str(Path(directory, name)) for name in files}


def test_a_made_certificate_is_what_browsers_take_by_its_hash() -> None:
    """ECDSA P-256, valid for less than two weeks; for this machine's names."""
    certificate = self_signed().certificate

    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < dt.timedelta(days=14)
    assert certificate.not_valid_before_utc < dt.datetime.now(dt.UTC) < certificate.not_valid_after_utc
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]


def test_a_made_certificate_can_be_trusted_as_a_file(tmp_path: Path) -> None:
    """OpenSSL loads it as an authority."""
    files = written(tmp_path, ca=self_signed().pem)

    context = ssl.create_default_context(cafile=files["ca"])

    assert len(context.get_ca_certs()) == 1


def test_fingerprints_are_of_the_der_certificate() -> None:
    """As `openssl x509 -fingerprint -sha256` prints it, and in base64."""
    identity = self_signed()

    assert identity.fingerprint_hex.replace(":", "").lower() == identity.fingerprint.hex()
    assert len(identity.fingerprint) == 32
    assert len(identity.fingerprint_base64) == 44


def test_an_identity_is_loaded_with_its_chain(tmp_path: Path) -> None:
    """The first certificate is the server's, the others come along."""
    identity, other = self_signed(), self_signed()
    files = written(tmp_path, cert=identity.pem + other.pem, key=key_pem(identity))

    loaded = load(files["cert"], files["key"])

    assert loaded.certificate == identity.certificate
    assert loaded.chain == (other.certificate,)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("missing", "cannot be read: No such file"),
        ("directory", "cannot be read: Is a directory"),
        ("no-certificate", "holds no PEM certificate"),
        ("no-key", "holds no PEM private key"),
        ("passphrase", "protected by a passphrase"),
        ("mismatch", "is not the key of certificate file"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, problem: str, sentence: str) -> None:
    """One sentence with the file's name."""
    identity = self_signed()
    files = written(tmp_path, cert=identity.pem, key=key_pem(identity), text=b"hello")
    match problem:
        case "missing":
            files["cert"] += ".not"
        case "directory":
            files["key"] = str(tmp_path)
        case "no-certificate":
            files["cert"] = files["text"]
        case "no-key":
            files["key"] = files["text"]
        case "passphrase":
            Path(files["key"]).write_bytes(key_pem(identity, b"secret"))
        case "mismatch":
            Path(files["key"]).write_bytes(key_pem(self_signed()))

    with pytest.raises(CertificateError, match=sentence) as caught:
        load(files["cert"], files["key"])

    assert str(tmp_path) in str(caught.value)


def test_the_relay_loads_without_pytest() -> None:
    """It is a command of its own, and no part of the plugin."""
    code = (
        "import sys, pytest_moqt.relay.embedded, pytest_moqt.relay.__main__; "
        "bad = [name for name in sys.modules if name.split('.')[0] in ('pytest', '_pytest') "
        "or name.startswith(('pytest_moqt.client', 'pytest_moqt.protocol.session'))]; "
        "sys.exit(repr(bad) if bad else 0)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert ran.returncode == 0, ran.stderr
