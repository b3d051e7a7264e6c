"""Metrics of the order of scores, weighted by patient: AUROC and average precision.

AUROC is a sum over pairs of patients. How often a positive patch of one patient outranks a negative patch of
another is counted once (the clustered form of Obuchowski 1997), and every resample is then a quadratic
form of its weights: exact, and the cost of a resample does not depend on the number of patches. Average precision
is a sum over steps of falling probability, whose patches are counted once for each patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcd.evaluation.metrics.intervals import Array
from bcd.evaluation.metrics.sample import Sample

_ROWS = 256  # resamples at a time, to bound memory


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


def count_labels(sample: Sample) -> tuple[Array, Array]:
    """Counts the positive and the negative patches of each patient, each of shape (patients,)."""
    positive = np.bincount(sample.patient[sample.positive], minlength=len(sample.patients)).astype(np.float64)
    return positive, sample.sizes - positive


def aurocs_by_patient(sample: Sample) -> Array:
    """Area under the ROC curve of each patient who has both labels, shape (such patients,)."""
    positive, negative = count_labels(sample)
    has_both = (positive > 0) & (negative > 0)
    return np.asarray(concordance(sample).diagonal()[has_both] / (positive * negative)[has_both])


@dataclass(frozen=True)
class RankedSteps:
    """Patches counted by patient and step of falling probability; equal probabilities share a step.

    Attributes:
        positive: Positive patches, shape (patients, steps).
        patches: All patches, shape (patients, steps).
        tied: Whether all patches of a step have one probability, shape (steps,).
    """

    positive: Array
    patches: Array
    tied: NDArray[np.bool_]


def count_ranking_steps(sample: Sample, most: int = 4096) -> RankedSteps:
    """Counts a sample's patches by patient and step.

    Args:
        sample: The patches.
        most: Most steps. With no more distinct probabilities than that, each is a step; else a step takes neighbours,
            with about as many positive patches as any other.
    """
    n_patients = len(sample.patients)
    _, place = np.unique(-sample.probability, return_inverse=True)
    distinct = int(place.max()) + 1
    step = place
    if distinct > most:
        idc = np.bincount(place, weights=sample.positive, minlength=distinct)
        before = np.cumsum(idc) - idc
        step = np.minimum(before * most / max(idc.sum(), 1), most - 1).astype(np.intp)[place]
    n_steps = int(step.max()) + 1
    members = np.bincount(np.unique(np.stack([step, place]), axis=1)[0], minlength=n_steps)

    def count(weights: NDArray[np.bool_] | None) -> Array:
        counts = np.bincount(sample.patient * n_steps + step, weights=weights, minlength=n_patients * n_steps)
        return counts.reshape(n_patients, n_steps).astype(np.float64)

    return RankedSteps(count(sample.positive), count(None), members <= 1)


def average_precision(steps: RankedSteps, weights: Array) -> Array:
    """Average precision (AUPRC without interpolation) of each resample; tied patches are taken together.

    Exact where every step is of one probability. In other steps the classes are taken as evenly mixed, which is off
    by some 1e-6 at 4,096 steps of 277,524 patches.

    Args:
        steps: What `count_ranking_steps` counted.
        weights: How often each patient is in each resample, shape (resamples, patients).

    Returns:
        NaN where a resample has no positive patch, shape (resamples,).
    """
    behind = np.where(steps.tied, 0.0, 0.5)  # of a step's patches lie, on average, behind the one looked at
    blocks = []
    for first in range(0, len(weights), _ROWS):
        some = weights[first : first + _ROWS]
        idc, drawn = some @ steps.positive, some @ steps.patches
        found = idc.cumsum(axis=1) - behind * idc
        called = drawn.cumsum(axis=1) - behind * drawn
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        blocks.append(divide((idc * precision).sum(axis=1), idc.sum(axis=1)))
    return np.concatenate(blocks)


def precision_by_patient(sample: Sample) -> Array:
    """Average precision of each patient's own patches, shape (patients,); NaN where none is positive. Exact."""
    n_patients = len(sample.patients)
    order = np.lexsort((-sample.probability, sample.patient))
    p, positive, patient = sample.probability[order], sample.positive[order], sample.patient[order]
    start = np.searchsorted(patient, patient)  # first patch of the same patient
    found = np.cumsum(positive)
    tie = np.append(np.flatnonzero((np.diff(p) != 0) | (np.diff(patient) != 0)), len(p) - 1)  # last patches of ties
    last = tie[np.searchsorted(tie, np.arange(len(p)))]
    precision = (found[last] - found[start] + positive[start]) / (last - start + 1)
    total: Array = np.bincount(patient, weights=precision * positive, minlength=n_patients).astype(np.float64)
    idc: Array = np.bincount(patient, weights=positive, minlength=n_patients).astype(np.float64)
    return divide(total, idc)


def divide(numerator: Array, denominator: Array) -> Array:
    """Divides; NaN where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
