"""Files that are either whole or absent: write under a temporary name, flush to disk, rename.

A temporary name holds the machine and the process that writes it, so that what a killed process left is told from
what a living one is writing, and is swept away by the next write beside it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

SOFTWARE = "bcd"
"""What the tag Software says in pictures of slides that bcd drew, so that it never takes one for a slide."""

_MACHINE = platform.node().replace("-", "_") or "here"


def lock_file(path: Path) -> BaseFileLock:
    """Returns a lock that one process of this machine holds at a time, to be entered by `with`.

    It may also be taken by `acquire()` and given back by `release()`. The system takes it back from a process that
    dies. Its folder is made.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, thread_local=False)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that becomes `path` when the block ends without an error."""
    prefix = _make_room(path.parent)
    # The suffix is kept: matplotlib, Keras and pandas choose their format by it.
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)  # mkstemp lets only the owner read
        keep_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def keep_file(partial: Path, path: Path) -> None:
    """Flushes a temporary file to disk and names it `path`, instead of what is there."""
    flush_file(partial)
    partial.replace(path)
    flush_file(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` that becomes `path` when the block ends without an error.

    If `path` exists by then, somebody made the same folder meanwhile and the temporary one is dropped: folders
    made this way are named by their content.
    """
    with partial_folder(path.parent) as partial:
        yield partial
        keep_folder(partial, path)


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """Yields a temporary folder in `parent`; it is removed when the block ends, unless `keep_folder` renamed it."""
    partial = Path(tempfile.mkdtemp(prefix=_make_room(parent), dir=parent))
    partial.chmod(0o755)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def keep_folder(partial: Path, path: Path) -> None:
    """Flushes a temporary folder to disk and names it `path`, unless that exists."""
    for file in sorted(partial.rglob("*")):
        flush_file(file)
    if path.exists():
        return
    try:
        partial.replace(path)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return  # another process was faster
        raise
    flush_file(path.parent)


def _make_room(folder: Path) -> str:
    """Makes the folder, sweeps what killed processes left in it, and returns the prefix of a temporary name."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".partial-{_MACHINE}-*"):
        if not _is_alive(int(left.name.split("-")[2])):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)  # another process may be sweeping too
            else:
                left.unlink(missing_ok=True)
    return f".partial-{_MACHINE}-{os.getpid()}-"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def drop_folder(path: Path) -> None:
    """Removes a folder, which is gone at once: a process that is killed at it leaves none that is half there."""
    with partial_folder(path.parent) as partial:
        path.replace(partial)  # an empty folder may be replaced by another one


def hash_file(path: Path) -> str:
    """Returns the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rotate_log(file: Path, *, limit: int, keep: int) -> None:
    """Moves what a log holds to `NAME.1` where it is larger than `limit` bytes, and that to `NAME.2`, …, `NAME.keep`.

    The log itself stays and is emptied, so that a process that appends to it goes on at its beginning.
    """
    if file.stat().st_size <= limit:
        return
    older = [file.with_name(f"{file.name}.{number}") for number in range(1, keep + 1)]
    for newer, old in reversed(list(pairwise(older))):
        if newer.exists():
            newer.replace(old)
    shutil.copyfile(file, older[0])
    os.truncate(file, 0)


def flush_file(path: Path) -> None:
    """Writes what the system still holds of a file, or of the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
