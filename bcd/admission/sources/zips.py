"""A delivery that is a zip: members are read by their place in the file, by several threads at once.

Python's own zipfile holds a lock while a member is read, and takes twice as long for a patch.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bcd.admission.rules import DeliveryError
from bcd.admission.sources.archive_file import PIECE, ArchiveFile
from bcd.admission.sources.containers import describe_file
from bcd.admission.sources.folders import write_whole
from bcd.admission.sources.hazards import BOMB, Hazard, find_name_hazards, is_bomb
from bcd.admission.sources.member_names import MemberNames
from bcd.admission.sources.source import (
    EncryptedFileError,
    OverlongFileError,
    PackedFileError,
    UnreadableFileError,
)
from bcd.admission.sources.zip_listing import NO_FILE, OUTSIDE, OVERLAPS, find_zip_end, list_zip_members

_STORED, _DEFLATED, _DEFLATE64 = 0, 8, 9
_METHODS = {1: "Shrink", 6: "Implode", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd", 99: "AES"}
_HEADER = struct.Struct("<4s22xHH")  # of a member: signature, lengths of its name and extra field

_FAULTS = {
    NO_FILE: ("not-a-file", "A link, pipe or device is not unpacked."),
    OVERLAPS: ("bomb", "It shares bytes of the archive with another member."),
    OUTSIDE: ("unreadable", "The archive's list places it outside the archive."),
}


class ZipSource:
    """The members of a zip, in the order of their places in it.

    Args:
        path: The archive.

    Raises:
        DeliveryError: It is not whole, one part of several, or its list of members is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.names, self._entries = _list_zip(path, self._descriptor)
            self._sizes = self._entries["size"]
            self._file = ArchiveFile(self._descriptor)
            self._hazards = find_name_hazards(self.names) | _mark_hazardous_members(self._entries)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the archive."""
        os.close(self._descriptor)

    def size(self, member: int) -> int:
        """Returns the declared size of a member in bytes."""
        return int(self._sizes[member])

    def hazard(self, member: int) -> Hazard | None:
        """Returns what the listing shows."""
        return self._hazards.get(member)

    def read(self, member: int, limit: int) -> bytes:
        """Reads at most the first `limit` bytes of a member; never unpacks more than one byte beyond it."""
        offset, packed, size, crc, method, flags, _ = self._entries[member].item()
        _check_zip_method(method, flags)
        wanted = min(size, limit)
        # Deflated data are hardly longer than what they unpack to; if they are, they are not read to their end.
        data = self._file.read(min(packed, limit + (limit >> 8) + 1024), self._start(offset))
        if method == _DEFLATED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = inflate.decompress(data, wanted + 1)
            except zlib.error as error:
                raise UnreadableFileError(f"its compressed data are damaged ({error})") from error
        if size > limit:
            if len(data) < limit:
                raise UnreadableFileError(f"it ends before the {size:,} bytes that are declared")
            return data[:limit]
        if len(data) > size:
            raise OverlongFileError(f"it unpacks to more than the {size:,} bytes that are declared")
        if len(data) != size or zlib.crc32(data) != crc:
            raise UnreadableFileError("its checksum is not what the archive says")
        return data

    def copy(self, member: int, target: Path) -> None:
        """Copies a whole member."""
        offset, packed, size, crc, method, flags, _ = self._entries[member].item()
        _check_zip_method(method, flags)
        pieces = self._file.pieces(packed, self._start(offset))
        write_whole(
            target, _verify_member(_inflate_member(pieces) if method == _DEFLATED else pieces, size, crc), size
        )

    def _start(self, offset: int) -> int:
        signature, name, extra = _HEADER.unpack(self._file.read(_HEADER.size, offset))
        if signature != b"PK\3\4":
            raise UnreadableFileError("the archive has something else where it should begin")
        return int(offset + _HEADER.size + name + extra)


def is_whole_zip(path: Path) -> bool:
    """Whether a zip has the record that is written last."""
    if not path.stat().st_size:  # cannot be mapped
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return find_zip_end(data) is not None


def _list_zip(path: Path, descriptor: int) -> tuple[MemberNames, np.ndarray]:
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        end = find_zip_end(data)
        if end is None:
            if describe_file(path)[0] == "split":
                raise DeliveryError("split", f"{path} is one part of a zip that was split into several.")
            raise DeliveryError("unreadable", f"{path} is no whole zip: its end is missing.")
        if end.disk:
            raise DeliveryError("split", f"{path} is the last of {end.disk + 1} parts of a split zip.")
        if end.shift and data[:4] == b"PK\3\4":
            raise DeliveryError("unreadable", f"{path} is several zips in one, or damaged.")
        return list_zip_members(path, data, end)


def _mark_hazardous_members(entries: np.ndarray) -> dict[int, Hazard]:
    """Finds the few members that the list shows to break a rule, whatever their names."""
    odd = np.flatnonzero((entries["fault"] != 0) | is_bomb(entries["size"], entries["packed"]))
    return {member: _FAULTS.get(int(entries["fault"][member]), BOMB) for member in odd.tolist()}


def _check_zip_method(method: int, flags: int) -> None:
    if flags & 1:
        raise EncryptedFileError("it is encrypted with a password")
    if method == _DEFLATE64:
        raise PackedFileError("it is packed by Deflate64, as Windows Explorer does with large folders")
    if method not in {_STORED, _DEFLATED}:
        raise PackedFileError(f"it is packed by {_METHODS.get(method, f'method {method}')}, not by Deflate")


def _inflate_member(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in pieces:
            while piece and not inflate.eof:
                yield inflate.decompress(piece, PIECE)
                piece = inflate.unconsumed_tail  # noqa: PLW2901
    except zlib.error as error:
        raise UnreadableFileError(f"its compressed data are damaged ({error})") from error


def _verify_member(pieces: Iterator[bytes], size: int, crc: int) -> Iterator[bytes]:
    found = reached = 0
    for piece in pieces:
        reached += len(piece)
        if reached > size:
            raise OverlongFileError(f"it unpacks to more than the {size:,} bytes that are declared")
        found = zlib.crc32(piece, found)
        yield piece
    if reached != size or found != crc:
        raise UnreadableFileError("its checksum is not what the archive says")
