"""Files on both sides: nothing above the folder is offered, and nothing that is not whole has its name."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from quic_interop.downloads import Downloads
from quic_interop.errors import InteropError
from quic_interop.www import NotOffered, Www


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, a folder, and links out of it and within it, beside a secret."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "www"
    (root / "deep").mkdir(parents=True)
    (root / "file").write_text("file")
    (root / "a file").write_text("spaces")
    (root / "deep" / "er").write_text("deeper")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "within").symlink_to(root / "file")
    (root / "circle").symlink_to(root / "circle")
    return root


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/file", "file"),
        ("/file?query", "file"),
        ("/deep/er", "deeper"),
        ("//file", "file"),
        ("/./file", "file"),
        ("/a%20file", "spaces"),
        ("/within", "file"),
    ],
)
def test_files_below_the_folder_are_offered(folder: Path, path: str, content: str) -> None:
    """By their path, with what URLs have to escape."""
    assert Www(folder).find(path).read_text() == content


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret", "/deep/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/deep/..", "/..", "/out"),
        *("", "/", "file", "/deep", "/nothing", "/file/", "/circle", "/file\0", "/%00", "/" + "x" * 5000),
    ],
)
def test_nothing_else_is_offered(folder: Path, path: str) -> None:
    """No way upwards, no link out, no folder, and nothing that is not there."""
    with pytest.raises(NotOffered):
        Www(folder).find(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Both sides name theirs."""
    with pytest.raises(InteropError, match=f"^WWW {tmp_path / 'no'} is no directory$"):
        Www(tmp_path / "no")
    with pytest.raises(InteropError, match=f"^DOWNLOADS {tmp_path / 'no'} is no directory$"):
        Downloads(tmp_path / "no")


def test_a_download_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """And its permissions are those of any new file, since the runner reads it as another user."""
    name = "n" * 250
    before = os.umask(0o022)
    try:
        download = Downloads(tmp_path).begin(name)
        download.write(b"first, ")
        download.write(b"then")
        assert [path.name.startswith(".partial-") for path in tmp_path.iterdir()] == [True]

        download.finish()
    finally:
        os.umask(before)

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"first, then"
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o644


def test_what_is_not_whole_is_removed(tmp_path: Path) -> None:
    """Whole files stay."""
    downloads = Downloads(tmp_path)
    whole, partial = downloads.begin("whole"), downloads.begin("partial")
    for download in (whole, partial):
        download.write(b"x")
    whole.finish()

    downloads.discard()

    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_file_that_cannot_be_begun(tmp_path: Path) -> None:
    """The sentence names the file that was asked for."""
    downloads = Downloads(tmp_path)
    tmp_path.rmdir()

    with pytest.raises(
        InteropError, match=f"^{tmp_path / 'a'} cannot be written: No such file or directory$"
    ):
        downloads.begin("a")


def test_a_name_that_is_a_folder(tmp_path: Path) -> None:
    """What is whole cannot be renamed, and is removed."""
    (tmp_path / "a").mkdir()
    downloads = Downloads(tmp_path)
    download = downloads.begin("a")

    with pytest.raises(InteropError, match=f"^{tmp_path / 'a'} cannot be written: Is a directory$"):
        download.finish()
    downloads.discard()

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """An error of the disk is a sentence, whether it comes while writing or at the end."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    downloads = Downloads(tmp_path)
    small, large = downloads.begin("small"), downloads.begin("large")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        small.write(b"x" * 101)
        with pytest.raises(InteropError, match=r"small cannot be written: File too large$"):
            small.finish()
        with pytest.raises(InteropError, match=r"large cannot be written: File too large$"):
            large.write(b"x" * 1_000_000)
        downloads.discard()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert list(tmp_path.iterdir()) == []
