"""The files that a client fetches, which bear their names only once they are whole.

Until then a file has a name that no URL can ask for: of fixed length, since the runner's names are up to 250
characters long, and in the same folder, so that it can be renamed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from quic_interop.errors import InteropError


class Download:
    """A file on its way."""

    def __init__(self, folder: Path, name: str, partial: Path) -> None:
        self.name = name
        self.size = 0
        "Bytes written."
        self._target = folder / name
        self._partial = partial
        try:
            # Not what tempfile makes: those files are their owner's alone, and the runner is another user.
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            raise _not_written(self._target, error) from None
        self._file = os.fdopen(descriptor, "wb")

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            InteropError: They cannot be written.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise _not_written(self._target, error) from None
        self.size += len(data)

    def finish(self) -> None:
        """Take note that this was all; from now on the file has its name.

        Raises:
            InteropError: What came cannot be written.
        """
        try:
            self._file.close()
            self._partial.replace(self._target)
        except OSError as error:
            raise _not_written(self._target, error) from None

    def discard(self) -> None:
        """Remove what came of it; nothing happens to a whole file."""
        with contextlib.suppress(OSError):  # what a full disk refused is not wanted any more
            self._file.close()
        self._partial.unlink(missing_ok=True)


class Downloads:
    """All of a run, in one folder.

    Raises:
        InteropError: The folder is not there.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InteropError(f"DOWNLOADS {folder} is no directory")
        self._folder = folder
        self._begun: list[Download] = []

    def begin(self, name: str) -> Download:
        """A new file.

        Raises:
            InteropError: It cannot be written.
        """
        partial = self._folder / f".partial-{os.getpid()}-{len(self._begun)}"
        download = Download(self._folder, name, partial)
        self._begun.append(download)
        return download

    def discard(self) -> None:
        """Remove all that is not whole."""
        for download in self._begun:
            download.discard()


def _not_written(path: Path, error: OSError) -> InteropError:
    return InteropError(f"{path} cannot be written: {error.strerror or error}")
