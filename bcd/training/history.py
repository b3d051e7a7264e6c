"""The rows of a training's history, and which epoch they speak for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def score_epoch(logits: NDArray[Any], labels: NDArray[Any], patients: NDArray[Any]) -> dict[str, float]:
    """Evaluates an epoch on val patches.

    Args:
        logits: (n,).
        labels: (n,), both classes among them.
        patients: Patient keys (n,).

    Returns:
        `val_score` (see `score_val_by_patients`), by which epochs and recipes are chosen; `val_loss` (cross-entropy),
        `val_auroc` (pooled) and `val_auroc_patients`: the mean over the patients that have both classes, absent where
        there is none.
    """
    from sklearn.metrics import roc_auc_score

    own = [
        roc_auc_score(labels[mine], logits[mine])
        for patient in np.unique(patients)
        if len(np.unique(labels[mine := patients == patient])) == 2
    ]
    figures = {
        "val_score": score_val_by_patients(logits, labels, patients),
        "val_loss": float(np.mean(np.logaddexp(0, logits) - labels * logits)),
        "val_auroc": float(roc_auc_score(labels, logits)),
    }
    return figures | ({"val_auroc_patients": float(np.mean(own))} if own else {})


def score_val_by_patients(logits: NDArray[Any], labels: NDArray[Any], patients: NDArray[Any]) -> float:
    """Returns the AUROC in which every patient weighs the same, however many patches it has.

    Pooled AUROC is the largest patients' figure, and the mean of the patients' own is noise from those with a handful
    of either class and silent about those with one. This one compares within and across patients and hears them all.

    Args:
        logits: (n,).
        labels: (n,), both classes among them.
        patients: Patient keys (n,).
    """
    from sklearn.metrics import roc_auc_score

    _, inverse, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    return float(roc_auc_score(labels, logits, sample_weight=1.0 / sizes[inverse]))


Row = dict[str, float]


def best_epoch(history: Sequence[Row]) -> int:
    """Returns the epoch, counted from 1, with the highest patient-wise val score, the first of equals."""
    scores = [row["val_score"] for row in history]
    return 1 + scores.index(max(scores))


def kept_epoch(history: Sequence[Row], keep: str) -> int:
    """Returns the epoch, counted from 1, whose weights are kept: the `best` or the `last`."""
    return best_epoch(history) if keep == "best" else len(history)


def has_training_stalled(history: Sequence[Row], patience: int) -> bool:
    """Whether the last `patience` epochs were no better than one before them; a patience of 0 never ends."""
    return bool(history) and 0 < patience <= len(history) - best_epoch(history)
