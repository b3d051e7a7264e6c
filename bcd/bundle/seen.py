"""Who a bundle was trained on, where no snapshot of this home can tell: patients, and hashes of their pixels.

A bundle of this home names its snapshot. One that came from elsewhere carries this record, so that nobody among its
patients evaluates it, whatever a hospital calls them.

Examples:
    >>> import pandas as pd
    >>> patches = pd.DataFrame({"hospital": ["a"], "patient": ["1"], "pixel_sha256": ["00" * 32]})
    >>> Seen.of(patches).find(patches.assign(hospital="b", patient="7"))
    ['b/7']
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.errors import LeakageError
from bcd.formats import format_some
from bcd.patches import patient_keys

if TYPE_CHECKING:
    import pandas as pd

    from bcd.bundle.folder import FolderBundle
    from bcd.bundle.registry import Bundle, RecordedBundle
    from bcd.settings import Settings

SEEN = "seen.npz"
"""The record among the files of a bundle."""

_DIGITS = 16  # of a hash in hex: 64 bits tell 277,524 patches from any others


@dataclass(frozen=True, eq=False)
class Seen:
    """Patients that a bundle was trained and calibrated on.

    Attributes:
        patients: As `hospital/patient`, in order.
        pixels: The first 64 bits of the SHA-256 of the pixels of each of their patches, ascending, (n,) uint64.
    """

    patients: tuple[str, ...]
    pixels: NDArray[np.uint64]

    @classmethod
    def of(cls, patches: pd.DataFrame) -> Seen:
        """Records patches with the columns hospital, patient and pixel_sha256."""
        return cls(tuple(sorted(set(patient_keys(patches)))), np.unique(_shorten_pixel_hashes(patches)))

    @classmethod
    def read(cls, path: Path) -> Seen:
        """Reads what `write` wrote."""
        with np.load(path, allow_pickle=False) as held:
            return cls(tuple(held["patients"].tolist()), held["pixels"])

    def write(self, path: Path) -> None:
        """Writes the record as .npz; the same record makes the same bytes."""
        np.savez_compressed(path, patients=np.array(self.patients), pixels=self.pixels)

    def find(self, patches: pd.DataFrame) -> list[str]:
        """Returns whom of patches' patients it knows, as `hospital/patient`: by hospital and name, or by any pixels.

        Args:
            patches: Columns hospital, patient and pixel_sha256.
        """
        keys = patient_keys(patches).to_numpy(dtype=str)
        known = np.isin(keys, self.patients) | self.find_pixels(patches)
        return sorted(set(keys[known].tolist()))

    def find_pixels(self, patches: pd.DataFrame) -> NDArray[np.bool_]:
        """Tells which patches have the pixels of one that it knows, (n,)."""
        return np.isin(_shorten_pixel_hashes(patches), self.pixels)

    def knows_name(self, patient: str) -> bool:
        """Whether a patient of any hospital has this identifier."""
        return any(known.partition("/")[2] == patient for known in self.patients)


def read_seen_by_bundle(folder: Path) -> Seen | None:
    """Reads the record of the bundle in a folder; None: it carries none, for its home has its snapshot."""
    path = folder / SEEN
    return Seen.read(path) if path.is_file() else None


def find_seen_by_bundle(settings: Settings, bundle: Bundle | FolderBundle | RecordedBundle) -> Seen:
    """Returns who a bundle was trained and calibrated on: as its snapshot says, or as it says itself.

    Raises:
        BcdError: It carries no record, and its snapshot is not in the store.
    """
    if bundle.seen is not None:
        return bundle.seen
    from bcd.snapshots.freeze import load_snapshot

    known = load_snapshot(settings, bundle.record.snapshot).patches
    return Seen.of(known[known["split"].isin(["train", "val"])])


def assert_unseen_by_bundle(settings: Settings, bundle: Bundle | FolderBundle, patches: pd.DataFrame) -> None:
    """Asserts that a bundle saw neither a patient nor pixels that it is evaluated on, in training or calibration.

    Raises:
        BcdError: It did; the patients are named.
    """
    seen = find_seen_by_bundle(settings, bundle).find(patches)
    if seen:
        raise LeakageError(
            f"{bundle.name} has seen {len(seen)} patients that it would be evaluated on, by name or by their pixels:"
            f" {format_some(seen, 3)}.",
            "Evaluate it on a snapshot of the protocol that it was trained under "
            f"({bundle.record.protocol}), or retrain the champion under the new one."
            if bundle.seen is None
            else "It came with bcd, and these patients are of the public set: `bcd model promote` makes another"
            " version champion without the comparison.",
        )


def _shorten_pixel_hashes(patches: pd.DataFrame) -> NDArray[np.uint64]:
    return np.array([int(digest[:_DIGITS], 16) for digest in patches["pixel_sha256"]], np.uint64)
