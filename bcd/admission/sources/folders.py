"""A delivery that is a folder, or one file. Links are never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bcd.admission.rules import DeliveryError
from bcd.admission.sources.hazards import Hazard, clean_name, name_hazard
from bcd.admission.sources.source import MAX_MEMBERS, UnreadableFileError

CHUNK = 1 << 20

_NO_FILE, _NO_LISTING = -1, -2  # in place of a size


class FolderSource:
    """The files below a folder, in the order of their names.

    Args:
        folder: Where to begin.
        only: Name of the one file in it that is the delivery; None: all.
    """

    def __init__(self, folder: Path, only: str | None = None) -> None:
        self._folder = os.fspath(folder)
        found = {} if only is None else {only: _size_of_member(os.lstat(folder / only))}
        names, sizes = list(found), list(found.values())
        for name, state in walk(folder) if only is None else ():
            if not is_folder(state):
                names.append(name)
                sizes.append(_NO_LISTING if state is None else _size_of_member(state))
                if len(names) > MAX_MEMBERS:
                    raise DeliveryError("too-many", f"{folder} holds more than {MAX_MEMBERS:,} files.")
        order = sorted(range(len(names)), key=names.__getitem__)
        self._sizes = np.array(sizes, dtype=np.int64)[order]
        self.names = [clean_name(names[place]) for place in order]
        # Few names need cleaning; those alone are kept as they are on the disk.
        self._real = {
            member: names[place] for member, place in enumerate(order) if names[place] != self.names[member]
        }

    def size(self, member: int) -> int:
        """Returns the size of a file in bytes, when it was listed."""
        return max(int(self._sizes[member]), 0)

    def hazard(self, member: int) -> Hazard | None:
        """Returns what the listing shows."""
        size = self._sizes[member]
        if size == _NO_FILE:
            return "not-a-file", "A link, pipe or device is not followed."
        if size == _NO_LISTING:
            return "unreadable", "It cannot be listed: it is damaged, forbidden, or went away."
        return name_hazard(self.names[member])

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
    """Yields path and state of everything below a folder, folders too; no state of what cannot be looked at.

    A folder that cannot be listed comes twice, the second time without its state.

    Raises:
        DeliveryError: The folder itself cannot be listed.
    """
    left = [""]
    while left:
        place = left.pop()
        try:
            with os.scandir(folder / place) as entries:
                for entry in entries:
                    name = f"{place}{entry.name}"
                    state = _stat_entry(entry)
                    yield name, state
                    if is_folder(state):
                        left.append(f"{name}/")
        except OSError as error:
            if not place:
                raise DeliveryError("unreadable", f"{folder} cannot be listed: {error.strerror}.") from error
            yield place.rstrip("/"), None


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


def _stat_entry(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def _size_of_member(state: os.stat_result) -> int:
    return state.st_size if stat.S_ISREG(state.st_mode) else _NO_FILE
