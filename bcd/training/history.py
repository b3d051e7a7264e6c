"""The rows of a training's history, and which epoch they speak for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcd.evaluation.metrics.ranking import auroc, aurocs_by_patient, concordance, count_labels
from bcd.evaluation.metrics.sample import Sample


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
    sample = _make_sample(logits, labels, patients)
    own = aurocs_by_patient(sample)
    by_patients, pooled = _score(sample, np.stack([1 / sample.sizes, np.ones(len(sample.patients))]))
    figures = {
        "val_score": by_patients,
        "val_loss": float(np.mean(np.logaddexp(0, logits) - labels * logits)),
        "val_auroc": pooled,
    }
    return figures | ({"val_auroc_patients": float(np.mean(own))} if len(own) else {})


def score_val_by_patients(logits: NDArray[Any], labels: NDArray[Any], patients: NDArray[Any]) -> float:
    """Returns the AUROC in which every patient weighs the same, however many patches it has.

    Pooled AUROC is the largest patients' figure, and the mean of the patients' own is noise from those with a handful
    of either class and silent about those with one. This one compares within and across patients and hears them all.

    Args:
        logits: (n,).
        labels: (n,), both classes among them.
        patients: Patient keys (n,).
    """
    sample = _make_sample(logits, labels, patients)
    return _score(sample, 1 / sample.sizes[None])[0]


def _make_sample(logits: NDArray[Any], labels: NDArray[Any], patients: NDArray[Any]) -> Sample:
    keys, patient = np.unique(patients, return_inverse=True)
    # AUROC asks for the order alone, which logits have as probabilities would, without ties at 0 and 1.
    return Sample(labels == 1, np.asarray(logits, np.float64), patient, [("", str(key)) for key in keys])


def _score(sample: Sample, weights: NDArray[np.float64]) -> list[float]:
    """Returns the AUROC under each row of patients' weights."""
    return [float(each) for each in auroc(concordance(sample), *count_labels(sample), weights)]


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
