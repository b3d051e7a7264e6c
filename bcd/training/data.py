"""What a training learns from and is evaluated by: rows, labels, patients and folds; and what an epoch sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.errors import InsufficientEvidenceError
from bcd.evaluation.folds import deal_evaluation_folds
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from bcd.preprocessing.prepared import PreparedSnapshot


def order_epoch_naturally(n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Returns every patch once, in a random order (n,)."""
    return random.permutation(n)


def order_epoch_by_patients(patients: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Returns as many patches as there are, every patient equally often (n,), in a random order.

    A large patient shows a part of its patches in an epoch, a small one all of them several times.

    Args:
        patients: The patient's number of every patch (n,), from 0 without gaps.
        random: Draws.
    """
    n = len(patients)
    order = random.permutation(n)
    order = order[np.argsort(patients[order], kind="stable")]  # by patient, each one's patches in a random order
    sizes = np.bincount(patients)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    turn, place = np.divmod(np.arange(n), len(sizes))
    patient = np.argsort(random.random(len(sizes)))[place]  # who is drawn once more in the last turn is random too
    return random.permutation(order[starts[patient] + turn % sizes[patient]])


def weigh_training_classes(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns a weight for every patch (n,), mean 1, under which both classes weigh the same in sum."""
    counts = np.bincount(labels, minlength=2)
    return (len(labels) / (2.0 * counts))[labels].astype(np.float32)


@dataclass(frozen=True)
class Material:
    """Train and val patches, by row.

    Attributes:
        pixels: Prepared patches of the whole snapshot, memory-mapped, (n, 50, 50, 3) uint8.
        rows: Rows of `pixels` to learn from.
        labels: Their labels.
        patients: Their patients' numbers, from 0 without gaps.
        val_rows: Rows of `pixels` to be evaluated on; none where the training looks at none.
        val_labels: Their labels.
        val_patients: Their patients' keys.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    val_rows: NDArray[np.int64]
    val_labels: NDArray[np.int64]
    val_patients: NDArray[Any]


def gather_training_material(prepared: PreparedSnapshot, options: TrainOptions) -> Material:
    """Gathers what a training needs, without the fold that is left out.

    Raises:
        InsufficientEvidenceError: Without that fold, patients of one class only are left.
    """
    from bcd.patches import patient_keys

    rows, labels = prepared.rows("train"), prepared.labels("train")
    keys = patient_keys(prepared.snapshot.patches.iloc[rows]).to_numpy(dtype=object)
    if options.folds:
        stays = deal_evaluation_folds(keys, options.folds) != options.fold
        rows, labels, keys = rows[stays], labels[stays], keys[stays]
    if len(np.unique(labels)) < 2:
        raise InsufficientEvidenceError(
            f"Without fold {options.fold} of {options.folds} the train patients have patches of one class only.",
            "Use fewer folds, or admit deliveries with more labelled patients.",
        )
    patients = np.unique(keys.astype(str), return_inverse=True)[1].astype(np.int64)
    val, val_labels, val_keys = prepared.split("val")
    looked_at = len(val) if options.min_val_patients else 0
    looked = val.rows[:looked_at], val_labels[:looked_at], val_keys[:looked_at]
    return Material(prepared.pixels, rows, labels, patients, *looked)


def find_rows_left_out_of_training(prepared: PreparedSnapshot, options: TrainOptions) -> NDArray[np.int64]:
    """Returns the rows of the snapshot's train patches that a training with these options leaves out."""
    from bcd.patches import patient_keys

    rows = prepared.rows("train")
    if not options.folds:
        return rows[:0]
    keys = patient_keys(prepared.snapshot.patches.iloc[rows]).to_numpy(dtype=object)
    left_out: NDArray[np.int64] = rows[deal_evaluation_folds(keys, options.folds) == options.fold]
    return left_out
