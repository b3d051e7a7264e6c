"""A delivery that is a tar, plain or compressed with gzip; the latter is unpacked into a file without a name first.

The members are found by Python's tarfile, which knows every dialect, and read by their place in the file.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from bcd.admission.rules import DeliveryError
from bcd.admission.sources.archive_file import ArchiveFile
from bcd.admission.sources.folders import CHUNK, write_whole
from bcd.admission.sources.hazards import MAX_RATIO, Hazard, clean_name, find_name_hazards
from bcd.admission.sources.member_names import MemberNames
from bcd.admission.sources.source import MAX_MEMBERS, UnreadableFileError
from bcd.errors import BcdError, UnavailableError
from bcd.progress import track_progress

BLOCK = 512
HARMLESS_TAR = 1 << 30
"""A tar that unpacks to no more is taken whatever its ratio."""

_MAX_HEADER = 1 << 20  # an extended header of more is no name
_MAX_SIZE = 1 << 62  # a member of more has no place that can be counted
_RECORD = re.compile(rb"([0-9]{1,10}) [^=]{1,255}=")
_MANY_DIGITS = re.compile(rb"[0-9]{100}")
_SPARE_ROOM = 256 << 20  # left on the disk for everybody else
_FILE, _NO_FILE, _SPARSE = 0, 1, 2
_FAULTS = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, IndexError, RecursionError, zlib.error)


class TarSource:
    """The members of a tar, in the order of their places in it.

    Args:
        path: The archive, for messages.
        file: The tar, unpacked.

    Raises:
        BcdError: It is damaged or not whole.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._file = ArchiveFile(file.fileno())
        self._offsets, self._sizes, self._kinds = array("q"), array("q"), array("b")
        tar = _read_headers(path, file)
        self.names = MemberNames(map(self._take, (info for info in _list_tar_members(path, tar) if not info.isdir())))
        self._hazards = find_name_hazards(self.names)
        _check_end(path, file, tar.offset)

    def size(self, member: int) -> int:
        """Returns the size of a member in bytes."""
        return self._sizes[member]

    def hazard(self, member: int) -> Hazard | None:
        """Returns what the listing shows."""
        if self._kinds[member] == _NO_FILE:
            return "not-a-file", "A link, pipe or device is not unpacked."
        return self._hazards.get(member)

    def _take(self, info: tarfile.TarInfo) -> str:
        """Notes where a member lies, and returns its name."""
        self._offsets.append(info.offset_data)
        self._sizes.append(info.size)
        self._kinds.append(_kind_of_member(info))
        return clean_name(info.name)

    def read(self, member: int, limit: int) -> bytes:
        """Reads at most the first `limit` bytes of a member."""
        if self._kinds[member] != _FILE:
            raise UnreadableFileError("it is a sparse file or none at all")
        return self._file.read(min(self._sizes[member], limit), self._offsets[member])

    def copy(self, member: int, target: Path) -> None:
        """Copies a whole member."""
        if self._kinds[member] != _FILE:
            raise UnreadableFileError("it is a sparse file or none at all")
        size = self._sizes[member]
        write_whole(target, self._file.pieces(size, self._offsets[member]), size)


@contextmanager
def open_tar(path: Path, scratch: Path) -> Iterator[TarSource]:
    """Opens a tar, plain or compressed with gzip.

    Args:
        path: The archive.
        scratch: Folder for the unpacked tar; the file in it has no name, so nothing is left of it however this ends.

    Raises:
        BcdError: It is damaged or not whole, or unpacks to an absurd size.
        UnavailableError: There is no room to unpack it.
    """
    if not _is_gzip(path):
        with path.open("rb") as file:
            yield TarSource(path, file)
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as file:
        _fill_unpacked_tar(path, file, scratch)
        yield TarSource(path, file)


def list_tar_names(path: Path) -> Iterator[str]:
    """Yields the names in a tar, plain or compressed with gzip, as far as it is asked for them; unpacks no further.

    Raises:
        BcdError: It is damaged, or declares an absurd size.
    """
    size = path.stat().st_size
    with _open_tar_file(path) as file:
        for info in _list_tar_members(path, _read_headers(path, file)):
            _check_ratio(path, info.offset_data + info.size, size)
            if not info.isdir():
                yield clean_name(info.name)


def _is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does."""
    with path.open("rb") as file:
        return file.read(3) == b"\x1f\x8b\x08"


def is_tar(path: Path) -> bool:
    """Whether a file, unpacked where it is gzip, begins with the header of a tar."""
    try:
        with _open_tar_file(path) as file:
            tarfile.TarInfo.frombuf(file.read(BLOCK), "utf-8", "surrogateescape")
    except _FAULTS:
        return False
    return True


def is_whole_tar(path: Path) -> bool:
    """Whether a tar has its end mark, and its compressed data theirs."""
    size, end = path.stat().st_size, b""
    try:
        if _is_gzip(path):
            size = 0
            for piece in _unpack_gzip(path):
                size += len(piece)
                end = (end + piece)[-BLOCK:]
        else:
            with path.open("rb") as file:
                file.seek(max(0, size - BLOCK))
                end = file.read()
    except BcdError:
        return False
    return size >= BLOCK and size % BLOCK == 0 and not end.strip(b"\0")


def _open_tar_file(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if _is_gzip(path) else path.open("rb")


class _Headers:
    """A file of which tarfile reads headers, and nothing that would fill the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._is_extended = False
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = self._file.read(size)
        if size == BLOCK:
            self._is_extended = data[156:157] in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
        elif self._is_extended:
            _check_records(data)
        return data


def _check_records(header: bytes) -> None:
    """Asks for records `LENGTH KEY=VALUE` and nothing else: with others, tarfile takes hours or all memory.

    The former is CVE-2024-6232, fixed in Python 3.11.10.
    """
    place = 0
    while match := _RECORD.match(header, place):
        length = int(match[1])
        if length <= len(match[0]):
            break
        place += length
    if header[place:].strip(b"\0") or _MANY_DIGITS.search(header):
        raise tarfile.ReadError("an extended header that is none")


def _read_headers(path: Path, file: IO[bytes]) -> tarfile.TarFile:
    headers = cast("IO[bytes]", _Headers(file))  # tarfile needs no more of a file that it only reads
    try:
        return tarfile.TarFile(path.name, fileobj=headers, encoding="utf-8", errors="surrogateescape")
    except _FAULTS as error:
        raise _damaged_tar(path, error) from error


def _list_tar_members(path: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    count, reached = 0, -1
    while (info := _next_tar_member(path, tar)) is not None:
        tar.members = []  # type: ignore[attr-defined]  # it would keep them all
        count += 1
        if count > MAX_MEMBERS:
            raise DeliveryError("too-many", f"{path} has more than {MAX_MEMBERS:,} members.")
        if tar.offset <= reached:
            raise _damaged_tar(path, "a member begins before the one that precedes it")
        if not 0 <= info.size < _MAX_SIZE:
            raise _damaged_tar(path, f"a member of {info.size:,} bytes")
        reached = tar.offset
        yield info


def _next_tar_member(path: Path, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except _FAULTS as error:
        raise _damaged_tar(path, error) from error


def _kind_of_member(info: tarfile.TarInfo) -> int:
    if info.issparse():
        return _SPARSE
    return _FILE if info.isreg() else _NO_FILE


def _check_end(path: Path, file: IO[bytes], end: int) -> None:
    """Asks for the end mark and for nothing but zeros after it: tarfile takes any other end for one."""
    file.seek(end)
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise _damaged_tar(path, "its end is missing")
    while not block.strip(b"\0"):
        block = file.read(CHUNK)
        if not block:
            return
    raise _damaged_tar(path, f"a header near byte {end:,} is none, or another tar follows")


def _fill_unpacked_tar(path: Path, file: IO[bytes], scratch: Path) -> None:
    try:
        for number, piece in enumerate(_unpack_gzip(path)):
            if number % 64 == 0 and shutil.disk_usage(scratch).free < _SPARE_ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.write(piece)
        file.seek(0)  # writes what is still in memory, too
    except OSError as error:  # of writing; those of reading are BcdError by now
        raise UnavailableError(
            f"{path} cannot be unpacked in {scratch}: {error.strerror}.", "Make room there, and ingest it again."
        ) from error


def _unpack_gzip(path: Path) -> Iterator[bytes]:
    size, written = path.stat().st_size, 0
    try:
        with (
            path.open("rb") as raw,
            gzip.GzipFile(fileobj=raw) as file,
            track_progress(f"Unpacking {path.name}", size) as advance,
        ):
            seen = 0
            while piece := file.read(CHUNK):
                written += len(piece)
                _check_ratio(path, written, size)
                yield piece
                advance(raw.tell() - seen)
                seen = raw.tell()
    except _FAULTS as error:
        raise _damaged_tar(path, error) from error


def _check_ratio(path: Path, unpacked: int, packed: int) -> None:
    if unpacked > HARMLESS_TAR and unpacked > MAX_RATIO * packed:
        raise DeliveryError("bomb", f"{path} unpacks to more than {MAX_RATIO} times its size: a bomb, not pictures.")


def _damaged_tar(path: Path, what: object) -> DeliveryError:
    return DeliveryError("unreadable", f"{path} is damaged or not whole ({what}).")
