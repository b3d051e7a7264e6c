"""A snapshot's patches, prepared once and memory-mapped by everything that trains on them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.files import whole_folder
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.progress import track_progress
from bcd.settings import Settings
from bcd.store.spool import PATCH_SHAPE, write_pixels_header

if TYPE_CHECKING:
    from bcd.snapshots.freeze import Snapshot

_PIXELS = "pixels.npy"

_CHUNK = 4096  # patches; 30 MB, so that a snapshot of any size is prepared in little memory


@dataclass(frozen=True)
class PatchRows:
    """Some rows of mapped patches, read when they are asked for: a split of millions of patches fits no memory.

    Attributes:
        pixels: Prepared patches (n, 50, 50, 3) uint8, memory-mapped.
        rows: Which of them, in their order.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        """Returns how many they are."""
        return len(self.rows)

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        """Reads a part of them into memory."""
        return self.pixels[self.rows[part]]


@dataclass(frozen=True)
class PreparedSnapshot:
    """A snapshot with its prepared pixels.

    Attributes:
        snapshot: The frozen list of patches with their split.
        options: How the pixels were prepared.
        pixels: Prepared patches (n, 50, 50, 3) uint8, memory-mapped; row i is row i of `snapshot.patches`.
    """

    snapshot: Snapshot
    options: PrepareOptions
    pixels: NDArray[np.uint8]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Returns the rows of `pixels` that belong to a split, in the snapshot's order."""
        return np.flatnonzero(self.snapshot.patches["split"].to_numpy() == split)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Returns the labels (n,) of a split."""
        return self.snapshot.patches["label"].to_numpy()[self.rows(split)].astype(np.int64)

    def split(self, split: str) -> tuple[PatchRows, NDArray[np.int64], NDArray[Any]]:
        """Returns a split's prepared pixels, labels and patient keys."""
        from bcd.patches import patient_keys

        rows = self.rows(split)
        keys = patient_keys(self.snapshot.patches.iloc[rows]).to_numpy(dtype=object)
        return PatchRows(self.pixels, rows), self.labels(split), keys


def prepare_snapshot(
    settings: Settings, snapshot: Snapshot, options: PrepareOptions, *, chunk: int = _CHUNK
) -> PreparedSnapshot:
    """Prepares a snapshot's patches, or finds them prepared.

    They lie in `settings.prepared` by the snapshot's content and the options, never by a path, and are made again if
    they were deleted or cut short.

    Args:
        settings: Where everything is.
        snapshot: The snapshot.
        options: How its patches are prepared.
        chunk: Patches at a time.
    """
    folder = settings.prepared / f"{snapshot.id[:16]}-{options.fingerprint()}"
    pixels = _map_prepared_pixels(folder / _PIXELS, len(snapshot.patches))
    if pixels is None:
        shutil.rmtree(folder, ignore_errors=True)
        with whole_folder(folder) as partial:
            _write_prepared_pixels(settings, snapshot, options, partial / _PIXELS, chunk)
        pixels = np.load(folder / _PIXELS, mmap_mode="r")
    return PreparedSnapshot(snapshot, options, pixels)


def _map_prepared_pixels(path: Path, n: int) -> np.memmap[Any, np.dtype[np.uint8]] | None:
    """Maps prepared pixels into memory; None where the file is missing, cut short, or of something else."""
    try:
        pixels = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    whole = pixels.shape == (n, *PATCH_SHAPE) and pixels.dtype == np.uint8
    return pixels if whole and path.stat().st_size == pixels.offset + pixels.nbytes else None


def _write_prepared_pixels(
    settings: Settings, snapshot: Snapshot, options: PrepareOptions, path: Path, chunk: int
) -> None:
    from bcd.store.batches import read_batch_pixels

    n = len(snapshot.patches)
    # Written, not mapped: a full disk is then an error that can be told, where a map would kill the process.
    with path.open("wb") as file, track_progress("Preparing patches", total=n) as advance:
        write_pixels_header(file, n)
        for start in range(0, n, chunk):
            some = snapshot.patches.iloc[start : start + chunk]
            file.write(prepare(read_batch_pixels(settings, some), options).data)
            advance(len(some))
