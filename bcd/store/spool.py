"""The spool: decoded patches of an admission under way, already where a batch's pixels will lie.

It is a `pixels.npy` in a folder with a temporary name. Where all its rows are admitted in their order, which is the
rule, the folder only needs its index and its name; otherwise the admitted rows are copied out of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bcd.files import partial_folder
from bcd.patches import PATCH_PIXELS
from bcd.settings import Settings

DIGEST_BYTES = 32

PATCH_SHAPE = (PATCH_PIXELS, PATCH_PIXELS, 3)
"""Of one patch, uint8 RGB."""

_HEADER_BYTES = 128

_FLUSH_BYTES = 32 << 20
"""So many bytes go to the disk in the background while the next are decoded; at the end little is left to write."""


def begin_digests(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Returns the first quarter of each digest (n, 32) uint8 as a number: what is alike has the same one."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


class Digests:
    """SHA-256 digests that are appended to a file without a name, which is gone with the process.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._rows = 0

    def append(self, digests: NDArray[np.uint8]) -> None:
        """Appends digests (n, 32) uint8."""
        self._file.write(np.ascontiguousarray(digests).data)
        self._rows += len(digests)

    def __getitem__(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Returns some of the digests, (n, 32) uint8."""
        self._file.flush()
        if not self._rows:
            return np.empty((0, DIGEST_BYTES), np.uint8)
        mapped = np.memmap(self._file, np.uint8, "r", shape=(self._rows, DIGEST_BYTES))
        return np.asarray(mapped[rows])

    def close(self) -> None:
        """Lets go of them."""
        self._file.close()


class Spool:
    """An open spool; rows are counted from 0 in the order in which they are appended.

    Attributes:
        folder: The temporary folder; it disappears unless `bcd.store.batches.write_batch` takes it over.
        rows: Number of patches so far.
        digests: The hashes of their pixels, as far as whoever appends patches appends these too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self.digests = Digests(folder)
        self._file: BinaryIO = self.path.open("wb")
        self._file.write(bytes(_HEADER_BYTES))
        self._pixels: NDArray[np.uint8] | None = None
        self._unflushed = 0
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._flushed: Future[None] = Future()
        self._flushed.set_result(None)

    @property
    def path(self) -> Path:
        """The file of pixels."""
        return self.folder / "pixels.npy"

    def append(self, patches: NDArray[np.uint8]) -> int:
        """Appends patches (n, 50, 50, 3) uint8 RGB and returns the row of the first."""
        first = self.rows
        # Written, not mapped: a full disk is then an error that can be told, where a map would kill the process.
        self._file.write(np.ascontiguousarray(patches).data)
        self.rows += len(patches)
        self._unflushed += patches.nbytes
        if self._unflushed >= _FLUSH_BYTES and self._flushed.done():
            self._flushed.result()  # raises what the disk said
            self._file.flush()
            self._flushed = self._flusher.submit(os.fdatasync, self._file.fileno())
            self._unflushed = 0
        return first

    def finish(self) -> NDArray[np.uint8]:
        """Closes the file, writes its header, and maps its pixels, (rows, 50, 50, 3) uint8, read-only."""
        if self._pixels is None:
            self._file.seek(0)
            write_pixels_header(self._file, self.rows)
            self._close_pixels()
            self._flushed.result()
            # Kept: a batch that took the file over may be undone, and then its pixels are still there.
            self._pixels = np.asarray(np.load(self.path, mmap_mode="r"))
        return self._pixels

    def close(self) -> None:
        """Closes the files as they are."""
        self._close_pixels()
        self.digests.close()

    def _close_pixels(self) -> None:
        self._flusher.shutdown()
        self._file.close()


def make_scratch_digests(folder: Path, rows: int) -> NDArray[np.uint8]:
    """Makes digests of zeros, (rows, 32) uint8, mapped from a file without a name that is gone with them."""
    if not rows:
        return np.zeros((0, DIGEST_BYTES), np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        # All of its room at once: a full disk is then an error that can be told, where a map would kill the process.
        os.posix_fallocate(file.fileno(), 0, rows * DIGEST_BYTES)
        return np.memmap(file, np.uint8, "r+", shape=(rows, DIGEST_BYTES))


@contextmanager
def open_store_spool(settings: Settings) -> Iterator[Spool]:
    """Opens a spool in the store; what is left of it when the block ends is removed."""
    with partial_folder(settings.batches) as folder:
        spool = Spool(folder)
        try:
            yield spool
        finally:
            spool.close()


def write_pixels_header(file: BinaryIO, rows: int) -> None:
    """Writes the header of a `.npy` of patches, always 128 bytes long."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (rows, *PATCH_SHAPE)}
    )
    assert file.tell() == _HEADER_BYTES
