from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from quic_servers import Certificates

from pytest_moqt.client import tls
from pytest_moqt.client.tls import TlsFileError, TlsOptions


def test_a_good_ca_file_passes_and_is_the_only_trust(certificates: Certificates) -> None:
    """A CA file replaces the system's authorities."""
    options = TlsOptions(ca_file=str(certificates.authority))

    options.check()

    assert options.trust() == (str(certificates.authority), None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        (b"not a certificate", "holds no PEM certificate"),
        (b"", "holds no PEM certificate"),
    ],
)
def test_a_bad_ca_file_is_refused_before_dialling(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    """A CA file that is missing or no PEM is said so at once; as a handshake it would only hang."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TlsFileError, match=complaint) as caught:
        TlsOptions(ca_file=str(path)).check()

    assert str(path) in str(caught.value)


def test_a_directory_as_ca_file_is_refused(tmp_path: Path) -> None:
    """A directory is no CA file."""
    with pytest.raises(TlsFileError):
        TlsOptions(ca_file=str(tmp_path)).check()


def test_without_verification_no_file_is_looked_at(tmp_path: Path) -> None:
    """Nothing needs to be readable when nothing is checked."""
    TlsOptions(verify=False, ca_file=str(tmp_path / "missing.pem")).check()


def test_ssl_cert_file_is_honoured_and_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificates: Certificates
) -> None:
    """SSL_CERT_FILE names the system's authorities, and a bad one is told by its name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    TlsOptions().check()
    assert TlsOptions().trust() == (str(certificates.authority), None)

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(TlsFileError, match=r"SSL_CERT_FILE .*missing"):
        TlsOptions().check()


def _system(monkeypatch: pytest.MonkeyPatch, cafile: Path | None, capath: Path | None) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    paths = ssl.DefaultVerifyPaths(
        str(cafile) if cafile else None,  # type: ignore[arg-type]  # None where there is none
        str(capath) if capath else None,  # type: ignore[arg-type]
        "",
        "",
        "",
        "",
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    tls._system_store.cache_clear()


def test_a_complete_directory_is_preferred_to_the_bundle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificates: Certificates
) -> None:
    """The hashed directory is read by need, the bundle as a whole for every connection."""
    bundle, directory = tmp_path / "bundle.pem", tmp_path / "hashed"
    bundle.write_bytes(certificates.authority.read_bytes() * 2)
    directory.mkdir()
    (directory / "0123abcd.0").write_bytes(certificates.authority.read_bytes())

    _system(monkeypatch, bundle, directory)
    assert TlsOptions().trust() == (str(bundle), None)

    (directory / "0123abcd.1").write_bytes(certificates.authority.read_bytes())
    _system(monkeypatch, bundle, directory)
    assert TlsOptions().trust() == (None, str(directory))


def test_without_any_store_the_choice_is_left_to_certifi(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A slim image has an empty directory and no bundle: then certifi's list is used."""
    _system(monkeypatch, None, tmp_path)

    assert TlsOptions().trust() == (None, None)
    tls._system_store.cache_clear()
