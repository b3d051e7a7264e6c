"""Folds of patients, the same wherever patients are left out in turn: a training, an ensemble, a calibration."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray


def deal_evaluation_folds(patients: ArrayLike, folds: int) -> NDArray[np.int64]:
    """Deals patients, not patches, to folds of about equal numbers of patches.

    The largest patient first, each to the fold that has the fewest patches so far; equals in the order of a hash of
    their keys. Whom a fold holds depends on the patients and their sizes alone.

    Args:
        patients: Whose each patch is, hospital included, (n,).
        folds: Number of folds, at least 1; with fewer patients some stay empty.

    Returns:
        The fold of every patch (n,), from 0.
    """
    keys, inverse, sizes = np.unique(np.asarray(patients).astype(str), return_inverse=True, return_counts=True)
    digests = [hashlib.sha256(f"fold {key}".encode()).hexdigest() for key in keys]
    fold_of = np.empty(len(keys), np.int64)
    filled = np.zeros(folds, np.int64)
    for patient in sorted(range(len(keys)), key=lambda i: (-sizes[i], digests[i])):
        fold_of[patient] = fold = int(filled.argmin())
        filled[fold] += sizes[patient]
    return fold_of[inverse]
