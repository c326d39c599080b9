"""The files that a server offers: what is below one folder, and nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from quic_interop.errors import InteropError


class NotOffered(Exception):
    """A path that names no file below the folder; the message says why."""


class Www:
    """A folder of files.

    Raises:
        InteropError: The folder is not there.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InteropError(f"WWW {folder} is no directory")
        self._root = folder.resolve()

    def find(self, path: str) -> Path:
        """The file of a request's path.

        Raises:
            NotOffered: The path has `..`, leads out of the folder by a link, or names no file.
        """
        segments = unquote(path.partition("?")[0]).split("/")
        if segments[0] or not segments[-1] or ".." in segments or "\0" in path or "\0" in "".join(segments):
            raise NotOffered(f"{path!r} is no path from the root downwards")
        try:
            file = self._root.joinpath(*segments[1:]).resolve(strict=True)
        except (OSError, RuntimeError):
            raise NotOffered(f"{path!r} is not there") from None
        if not file.is_relative_to(self._root) or not file.is_file():
            raise NotOffered(f"{path!r} is no file of this server")
        return file
