"""A snapshot's patches, prepared once and memory-mapped by everything that trains on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.files import whole_folder
from bcd.patches import PATCH_PIXELS
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.progress import track
from bcd.settings import Settings

if TYPE_CHECKING:
    from bcd.store.snapshots import Snapshot

_CHUNK = 4096  # patches; 30 MB, so that a snapshot of any size is prepared in little memory


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

    def split(self, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]:
        """Returns a split's prepared pixels (copied to memory), labels and patient keys."""
        from bcd.store.snapshots import patient_keys

        rows = self.rows(split)
        keys = patient_keys(self.snapshot.patches.iloc[rows]).to_numpy(dtype=object)
        return self.pixels[rows], self.labels(split), keys


def prepare_snapshot(settings: Settings, snapshot: Snapshot, options: PrepareOptions) -> PreparedSnapshot:
    """Prepares a snapshot's patches, or finds them prepared.

    They lie in `settings.prepared` by snapshot and options, and are made again if they were deleted.
    """
    folder = settings.prepared / f"{snapshot.id[:16]}-{options.fingerprint()}"
    if not folder.exists():
        with whole_folder(folder) as partial:
            _write(settings, snapshot, options, partial / "pixels.npy")
    return PreparedSnapshot(snapshot, options, np.load(folder / "pixels.npy", mmap_mode="r"))


def _write(settings: Settings, snapshot: Snapshot, options: PrepareOptions, path: Path) -> None:
    from bcd.store.batches import read_pixels

    n = len(snapshot.patches)
    shape = (n, PATCH_PIXELS, PATCH_PIXELS, 3)
    # Written, not mapped: a full disk is then an error that can be told, where a map would kill the process.
    with path.open("wb") as file, track("Preparing patches", total=n) as advance:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, n, _CHUNK):
            chunk = snapshot.patches.iloc[start : start + _CHUNK]
            file.write(prepare(read_pixels(settings, chunk), options).tobytes())
            advance(len(chunk))
