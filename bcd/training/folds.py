"""Folds of train patients: who is left out of a training, so that recipes are compared on patients it never saw."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def deal_folds(patients: NDArray[np.object_], folds: int) -> NDArray[np.int64]:
    """Deals patients to folds of about equal numbers of patches.

    The largest patient first, each to the fold that has the fewest patches so far; equals in the order of a hash of
    their keys. Whom a fold holds depends on the patients and their sizes alone.

    Args:
        patients: The patient's key of every patch (n,).
        folds: Number of folds, at least 1.

    Returns:
        The fold of every patch (n,), from 0.
    """
    keys, inverse, sizes = np.unique(patients.astype(str), return_inverse=True, return_counts=True)
    digests = [hashlib.sha256(f"fold {key}".encode()).hexdigest() for key in keys]
    fold_of = np.empty(len(keys), np.int64)
    filled = np.zeros(folds, np.int64)
    for patient in sorted(range(len(keys)), key=lambda i: (-sizes[i], digests[i])):
        fold_of[patient] = fold = int(filled.argmin())
        filled[fold] += sizes[patient]
    return fold_of[inverse]
