"""The files of a delivery, a folder or a zip, read in memory one by one; nothing is ever extracted to disk."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from bcd.errors import BcdError

LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
"""Names of files and folders that operating systems leave behind."""


class UnreadableFileError(Exception):
    """A file of a delivery cannot be read: encrypted, damaged in its archive, forbidden."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a delivery.

    Attributes:
        name: Its path in the delivery, with `/`.
        size: Its size in bytes, as declared.
        is_file: Whether it is a plain file; a link, pipe or device is not.
        place: Where the source finds it.
    """

    name: str
    size: int
    is_file: bool
    place: Path | zipfile.ZipInfo

    @property
    def path(self) -> PurePosixPath:
        """The name as a path."""
        return PurePosixPath(self.name)

    @property
    def is_litter(self) -> bool:
        """Whether an operating system left it behind."""
        return not LITTER.isdisjoint(self.path.parts) or self.path.name.startswith("._")


class Source(Protocol):
    """A delivery that is open for reading."""

    members: list[Member]

    def read(self, member: Member, limit: int) -> bytes:
        """Reads at most `limit` bytes of a file; several threads may.

        Raises:
            UnreadableFileError: The file cannot be read.
        """
        ...


class FolderSource:
    """A delivery that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.members = sorted(_walk(folder), key=lambda member: member.name)

    def read(self, member: Member, limit: int) -> bytes:
        """Reads at most `limit` bytes of a file."""
        try:
            with Path(str(member.place)).open("rb") as file:
                return file.read(limit)
        except OSError as error:
            raise UnreadableFileError(error.strerror or str(error)) from error


class ZipSource:
    """A delivery that is a zip."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.members = [_zip_member(info) for info in archive.infolist() if not info.is_dir()]

    def read(self, member: Member, limit: int) -> bytes:
        """Reads at most `limit` bytes of a file."""
        assert isinstance(member.place, zipfile.ZipInfo)
        try:
            with self._archive.open(member.place) as file:
                return file.read(limit)
        # RuntimeError: encrypted; NotImplementedError: a compression that zipfile does not know.
        except (
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            NotImplementedError,
            EOFError,
            OSError,
        ) as error:
            raise UnreadableFileError(str(error)) from error


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Opens a delivery.

    Raises:
        BcdError: It is missing, or neither a folder nor a zip that is whole.
    """
    if not path.exists():
        raise BcdError(f"There is no delivery {path}.", "Check the path.")
    if path.is_dir():
        yield FolderSource(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BcdError(
            f"{path} is neither a folder nor a whole zip ({error}).",
            "Hand over a folder or a zip of patches; if it is a zip, copy it again.",
        ) from error
    with archive:
        yield ZipSource(archive)


def _walk(folder: Path) -> Iterator[Member]:
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        for name in [*names, *links]:
            place = Path(root, name)
            state = place.lstat()
            relative = place.relative_to(folder).as_posix()
            yield Member(_printable(relative), state.st_size, stat.S_ISREG(state.st_mode), place)


def _zip_member(info: zipfile.ZipInfo) -> Member:
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
    name = info.filename.replace("\\", "/")
    return Member(_printable(name), info.file_size, mode in {0, stat.S_IFREG}, info)


def _printable(name: str) -> str:
    # A file name need not be Unicode, the catalog's text must be.
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
