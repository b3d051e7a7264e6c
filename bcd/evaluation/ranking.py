"""Metrics of the order of scores, weighted by patient: AUROC and average precision.

AUROC is a sum over pairs of patients. How often a positive patch of one patient outranks a negative patch of
another is counted once (the clustered form of Obuchowski 1997), and every resample is then a quadratic form
of its
weights: exact, and the cost of a resample does not depend on the number of patches.
"""

from __future__ import annotations

import numpy as np

from bcd.evaluation.bootstrap import Array
from bcd.evaluation.sample import Sample


def concordance(sample: Sample) -> Array:
    """Counts pairs of patches in the right order.

    Returns:
        Entry (i, j) is the number of pairs of a positive patch of patient i and a negative patch of patient j
        in which the positive one has the higher probability; ties count one half. Shape (patients, patients).
    """
    n_patients = len(sample.patients)
    order = np.argsort(sample.probability[sample.positive], kind="stable")
    ranked = sample.probability[sample.positive][order]
    owner = sample.patient[sample.positive][order]
    negative = sample.probability[~sample.positive]
    above = np.searchsorted(ranked, negative, side="right")  # first positive that is higher than this negative
    level = np.searchsorted(ranked, negative, side="left")  # first positive that is at least as high
    negative_owner = sample.patient[~sample.positive]
    pairs = np.zeros((n_patients, n_patients))
    for patient in np.unique(negative_owner):
        mine = negative_owner == patient
        steps = np.bincount(above[mine], minlength=len(ranked) + 1) + np.bincount(
            level[mine], minlength=len(ranked) + 1
        )
        outranked = np.cumsum(steps[: len(ranked)]) / 2
        pairs[:, patient] = np.bincount(owner, weights=outranked, minlength=n_patients)
    return pairs


def auroc(pairs: Array, positive: Array, negative: Array, weights: Array) -> Array:
    """Area under the ROC curve of each resample.

    Args:
        pairs: What `concordance` counted, shape (patients, patients).
        positive: Positive patches of each patient, shape (patients,).
        negative: Negative patches of each patient, shape (patients,).
        weights: How often each patient is in each resample, shape (resamples, patients).

    Returns:
        NaN where a resample has one class, shape (resamples,).
    """
    return divide(((weights @ pairs) * weights).sum(axis=1), (weights @ positive) * (weights @ negative))


def average_precision(sample: Sample, weights: Array) -> Array:
    """Average precision (AUPRC without interpolation) of each resample; tied patches are taken together.

    Args:
        sample: The patches.
        weights: How often each patient is in each resample, shape (resamples, patients).

    Returns:
        NaN where a resample has no positive patch, shape (resamples,).
    """
    order = np.argsort(-sample.probability, kind="stable")
    p, positive, patient = sample.probability[order], sample.positive[order], sample.patient[order]
    if not positive.any():
        return np.full(len(weights), np.nan)
    # Precision matters at positive patches only: each looks it up after the last patch of its tie.
    last = np.searchsorted(-p, -p[positive], side="right") - 1
    last_positive = np.searchsorted(-p[positive], -p[positive], side="right") - 1
    owner = patient[positive]
    result = np.zeros(len(weights))
    # One resample at a time, in 32 bits: bounds memory, and stays in the processor's cache.
    for number, weight in enumerate(weights.astype(np.int32)):
        called = weight.take(patient).cumsum(dtype=np.int32).take(last)
        drawn = weight.take(owner)
        found = drawn.cumsum(dtype=np.int32).take(last_positive)
        result[number] = drawn @ (found / np.maximum(called, 1))
    return divide(result, weights @ np.bincount(owner, minlength=weights.shape[1]))


def divide(numerator: Array, denominator: Array) -> Array:
    """Divides; NaN where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
