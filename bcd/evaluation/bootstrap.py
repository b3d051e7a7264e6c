"""The patient bootstrap: resamples whole patients, because patches of a patient resemble each other.

A resample is a row of weights: how often each patient was drawn. Statistics take the whole matrix of weights at once.
What an interval makes of them stands in `bcd.evaluation.intervals`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bcd.evaluation.options import EvaluateOptions

Array = NDArray[np.float64]

_MAX_DROPPED = 0.05
"""Largest share of resamples on which a metric may be undefined; above it the rest is no fair picture."""


def draw_resamples(n_patients: int, options: EvaluateOptions) -> Array:
    """Draws patients with replacement.

    Returns:
        How often each patient is in each resample, shape (resamples, n_patients); rows sum to n_patients.
    """
    rng = np.random.default_rng(options.seed)
    drawn = rng.integers(n_patients, size=(options.resamples, n_patients))
    offsets = np.arange(options.resamples)[:, None] * n_patients
    counts = np.bincount((drawn + offsets).ravel(), minlength=options.resamples * n_patients)
    return counts.reshape(options.resamples, n_patients).astype(np.float64)


def percentiles(resampled: Array, options: EvaluateOptions) -> tuple[float | None, float | None, int]:
    """Returns the equal-tailed percentile interval (None, None if over 5 % are NaN) and the number of NaN."""
    defined = resampled[~np.isnan(resampled)]
    dropped = len(resampled) - len(defined)
    if dropped > _MAX_DROPPED * len(resampled):
        return None, None, dropped
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high), dropped


def exact_bound(n_patients: int, options: EvaluateOptions) -> float:
    """Upper Clopper-Pearson bound of a share that was seen in none of `n_patients` patients.

    Equal-tailed, like the intervals it stands in for: 1 - (alpha / 2)^(1 / n).
    """
    return float(1 - ((1 - options.confidence) / 2) ** (1 / n_patients))
