"""How a relay's certificate is checked, and against which authorities."""

from __future__ import annotations

import functools
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")


class TlsFileError(ValueError):
    """A file that TLS needs is missing, unreadable or not what it should be."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What of the relay's certificate is checked."""

    verify: bool = True
    "False accepts any certificate."
    ca_file: str | None = None
    "PEM file of the only authorities to trust; None is the system's (and SSL_CERT_FILE's)."
    ca_data: bytes | None = None
    "PEM text of the only authorities to trust, in place of any file."

    def check(self) -> None:
        """See that every file named can be used; a bad one would only show as a handshake that hangs.

        Raises:
            TlsFileError: It cannot.
        """
        if not self.verify or self.ca_data is not None:
            return
        if self.ca_file is not None:
            _check_pem(self.ca_file, "CA file")
        elif named := os.environ.get("SSL_CERT_FILE"):
            _check_pem(named, "SSL_CERT_FILE")

    def trust(self) -> tuple[str | None, str | None]:
        """File and directory of the authorities to trust, either or both None.

        Both None, where the system has no store at all, leaves the choice to aioquic: certifi's list.
        """
        if self.ca_data is not None:
            return None, None
        if self.ca_file is not None:
            return self.ca_file, None
        paths = ssl.get_default_verify_paths()
        if os.environ.get("SSL_CERT_FILE"):
            return paths.cafile, None
        return _system_store(paths.cafile, paths.capath)


def _check_pem(path: str, what: str) -> None:
    try:
        status = os.stat(path)
        _load_pem(path, status.st_mtime_ns, status.st_size)
    except ssl.SSLError:
        raise TlsFileError(f"{what} {path} holds no PEM certificate (BEGIN CERTIFICATE)") from None
    except OSError as error:
        raise TlsFileError(f"{what} {path} cannot be read: {error.strerror or error}") from None


@functools.lru_cache(maxsize=8)
def _load_pem(path: str, modified_ns: int, size: int) -> None:  # noqa: ARG001 - what the cache goes by
    # Once per file: 1 ms, a tenth of a whole connection.
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)


@functools.cache
def _system_store(cafile: str | None, capath: str | None) -> tuple[str | None, str | None]:
    """The system's store, as the hashed directory when that is complete.

    aioquic loads the store anew for every connection: 17 ms for a bundle of 144 certificates, under
    2 ms for the directory, which is read by need.
    """
    hashed = 0
    if capath is not None:
        try:
            hashed = sum(1 for name in os.listdir(capath) if _HASHED_NAME.fullmatch(name))
        except OSError:
            capath = None
    if cafile is not None:
        try:
            bundled = Path(cafile).read_bytes().count(b"-----BEGIN CERTIFICATE-----")
        except OSError:
            bundled = 0
        if not bundled:
            cafile = None
        elif hashed < bundled:
            return cafile, None
    return (None, capath) if hashed else (cafile, None)
