"""What a training learns from and is judged by: rows, labels and patients of a prepared snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.errors import InsufficientEvidenceError
from bcd.training.folds import deal_folds
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from bcd.preprocessing.prepared import PreparedSnapshot


@dataclass(frozen=True)
class Material:
    """Train patches by row, val patches in memory.

    Attributes:
        pixels: Prepared patches of the whole snapshot, memory-mapped, (n, 50, 50, 3) uint8.
        rows: Rows of `pixels` to learn from.
        labels: Their labels.
        patients: Their patients' numbers, from 0 without gaps.
        val_pixels: Prepared val patches.
        val_labels: Their labels.
        val_patients: Their patients' keys.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    val_pixels: NDArray[np.uint8]
    val_labels: NDArray[np.int64]
    val_patients: NDArray[Any]


def gather_material(prepared: PreparedSnapshot, options: TrainOptions) -> Material:
    """Gathers what a training needs, without the fold that is left out.

    Raises:
        InsufficientEvidenceError: Without that fold, patients of one class only are left.
    """
    from bcd.store.snapshots import patient_keys

    rows, labels = prepared.rows("train"), prepared.labels("train")
    keys = patient_keys(prepared.snapshot.patches.iloc[rows]).to_numpy(dtype=object)
    if options.folds:
        stays = deal_folds(keys, options.folds) != options.fold
        rows, labels, keys = rows[stays], labels[stays], keys[stays]
    if len(np.unique(labels)) < 2:
        raise InsufficientEvidenceError(
            f"Without fold {options.fold} of {options.folds} the train patients have patches of one class only.",
            "Use fewer folds, or admit deliveries with more labelled patients.",
        )
    patients = np.unique(keys.astype(str), return_inverse=True)[1].astype(np.int64)
    return Material(prepared.pixels, rows, labels, patients, *prepared.split("val"))


def left_out_rows(prepared: PreparedSnapshot, options: TrainOptions) -> NDArray[np.int64]:
    """Returns the rows of the snapshot's train patches that a training with these options leaves out."""
    from bcd.store.snapshots import patient_keys

    rows = prepared.rows("train")
    if not options.folds:
        return rows[:0]
    keys = patient_keys(prepared.snapshot.patches.iloc[rows]).to_numpy(dtype=object)
    left_out: NDArray[np.int64] = rows[deal_folds(keys, options.folds) == options.fold]
    return left_out
