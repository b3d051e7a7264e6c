"""A delivery that is a folder, or one file. Links are never followed."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from bcd.admission.rules import DeliveryError
from bcd.admission.sources.hazards import Hazard, clean_names, find_name_hazards
from bcd.admission.sources.member_names import MemberNames
from bcd.admission.sources.source import MAX_MEMBERS, UnreadableFileError

CHUNK = 1 << 20

_PART = 8192  # files whose names are looked at together

_NO_FILE, _NO_LISTING = -1, -2  # in place of a size
_FAULTS: dict[int, Hazard] = {
    _NO_FILE: ("not-a-file", "A link, pipe or device is not followed."),
    _NO_LISTING: ("unreadable", "It cannot be listed: it is damaged, forbidden, or went away."),
}


class FolderSource:
    """The files below a folder, in the order of their names.

    Args:
        folder: Where to begin.
        only: Name of the one file in it that is the delivery; None: all.
    """

    def __init__(self, folder: Path, only: str | None = None) -> None:
        self._folder = os.fspath(folder)
        self.names, sizes = MemberNames(), array("q")
        # Few names need cleaning; those alone are kept as they are on the disk.
        self._real: dict[int, str] = {}
        found = walk(folder) if only is None else iter([(only, os.lstat(folder / only))])
        while part := list(islice(found, _PART)):
            files = [(name, state) for name, state in part if not is_folder(state)]
            sizes.extend(_NO_LISTING if state is None else _size_of_member(state) for _, state in files)
            real = [name for name, _ in files]
            clean = clean_names(real)
            if clean is not real:
                first = len(self.names)
                pairs = enumerate(zip(real, clean, strict=True), start=first)
                self._real.update((member, name) for member, (name, cleaned) in pairs if name != cleaned)
            self.names.extend(clean)
            if len(self.names) > MAX_MEMBERS:
                raise DeliveryError("too-many", f"{folder} holds more than {MAX_MEMBERS:,} files.")
        self._sizes = np.frombuffer(sizes, np.int64)
        self._hazards = find_name_hazards(self.names)
        for member in np.flatnonzero(self._sizes < 0).tolist():
            self._hazards[member] = _FAULTS[int(self._sizes[member])]

    def size(self, member: int) -> int:
        """Returns the size of a file in bytes, when it was listed."""
        return max(int(self._sizes[member]), 0)

    def hazard(self, member: int) -> Hazard | None:
        """Returns what the listing shows."""
        return self._hazards.get(member)

    def read(self, member: int, limit: int) -> bytes:
        """Reads at most the first `limit` bytes of a file."""
        size = int(self._sizes[member])
        descriptor = self._open(member)
        try:
            data = os.read(descriptor, min(size + 1, limit))
        except OSError as error:
            raise UnreadableFileError(error.strerror or str(error)) from error
        finally:
            os.close(descriptor)
        if len(data) != min(size, limit):
            raise UnreadableFileError("it changed while it was read")
        return data

    def copy(self, member: int, target: Path) -> None:
        """Copies a whole file."""
        with os.fdopen(self._open(member), "rb") as file:
            write_whole(target, iter(lambda: file.read(CHUNK), b""), self.size(member))

    def _open(self, member: int) -> int:
        if self._sizes[member] < 0:
            raise UnreadableFileError("it is no plain file")
        path = f"{self._folder}/{self._real.get(member) or self.names[member]}"
        try:
            # Not blocking: what was a file when it was listed may be a pipe by now.
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableFileError(error.strerror or str(error)) from error


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yields path and state of everything below a folder, folders too, in the order of the paths.

    There is no state of what cannot be looked at. A folder that cannot be listed comes twice, the second time
    without its state.

    Raises:
        DeliveryError: The folder itself cannot be listed.
    """
    top = os.fspath(folder)
    under_way = [iter(_list_folder(folder, ""))]
    while under_way:
        for name in under_way[-1]:
            state = _stat_path(f"{top}/{name}")
            yield name, state
            if is_folder(state):
                try:
                    under_way.append(iter(_list_folder(folder, f"{name}/")))
                except OSError:
                    yield name, None
                break
        else:
            under_way.pop()


def _list_folder(folder: Path, place: str) -> list[str]:
    """Returns the paths of what lies in a folder of a delivery; paths below them follow in the same order."""
    try:
        with os.scandir(folder / place) as entries:
            names = sorted(
                f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name for entry in entries
            )
    except OSError as error:
        if not place:
            raise DeliveryError("unreadable", f"{folder} cannot be listed: {error.strerror}.") from error
        raise
    return [f"{place}{name.removesuffix('/')}" for name in names]


def is_folder(state: os.stat_result | None) -> bool:
    """Whether a state that `walk` yields is a folder's."""
    return state is not None and stat.S_ISDIR(state.st_mode)


def write_whole(target: Path, pieces: Iterator[bytes], size: int) -> None:
    """Writes what has `size` bytes, piece by piece; removes it where it has not, or a piece cannot be read.

    Raises:
        UnreadableFileError: It has more or fewer bytes, or cannot be read.
    """
    try:
        written = 0
        with target.open("wb") as file:
            for piece in pieces:
                written += file.write(piece)
        if written != size:
            raise UnreadableFileError(f"it has {written:,} bytes, not {size:,}")
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _stat_path(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _size_of_member(state: os.stat_result) -> int:
    return state.st_size if stat.S_ISREG(state.st_mode) else _NO_FILE
