"""The metrics, each one formula that serves the sample, each patient and each resample.

All are at the sample's own prevalence. A patch is called IDC at a calibrated probability of one half.

- auroc, auprc: area under the ROC curve; average precision.
- accuracy, balanced_accuracy, precision, recall, specificity, npv, f1: from the confusion counts.
- brier: mean of (probability - label)^2.
- ece: expected calibration error in 10 bins of equal width: the same bins for every model and every resample.
  It is biased upwards on few patches, and therefore not given by patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array, Statistic, draw_resamples, interval, metric_of_sample
from bcd.evaluation.metrics.ranking import (
    RankedSteps,
    auroc,
    average_precision,
    concordance,
    count_ranking_steps,
    divide,
    precision_by_patient,
)
from bcd.evaluation.metrics.sample import Sample
from bcd.evaluation.metrics.tallies import Tallies, tally_by_patient
from bcd.evaluation.options import EvaluateOptions

Formula = Callable[[Tallies], Array]


def _expected_calibration_error(t: Tallies) -> Array:
    _, positive, probability = t.bins()
    return divide(np.abs(positive - probability).sum(axis=-1), t.n)


def _balanced_accuracy(t: Tallies) -> Array:
    return (divide(t.tp, t.positive) + divide(t.tn, t.negative)) / 2


RATES: dict[str, Formula] = {
    "accuracy": lambda t: divide(t.tp + t.tn, t.n),
    "balanced_accuracy": _balanced_accuracy,
    "precision": lambda t: divide(t.tp, t.tp + t.fp),
    "recall": lambda t: divide(t.tp, t.positive),
    "specificity": lambda t: divide(t.tn, t.negative),
    "npv": lambda t: divide(t.tn, t.tn + t.fn),
    "f1": lambda t: divide(2 * t.tp, 2 * t.tp + t.fp + t.fn),
    "brier": lambda t: divide(t.squared_error, t.n),
    "ece": _expected_calibration_error,
}
"""Metrics that follow from sums over patches."""

METRICS = ("auroc", "auprc", *RATES)
"""Every metric, in the order in which they are shown."""

_BOTH_CLASSES = ("auroc", "auprc", "balanced_accuracy")


def find_metric_patches(metric: str, t: Tallies) -> Array:
    """Patches that a metric rests on, by patient: a rate's denominator, or the rarer class (by patients)."""
    if metric in _BOTH_CLASSES:
        rank = [(np.count_nonzero(patches), patches.sum()) for patches in (t.positive, t.negative)]
        return t.positive if rank[0] <= rank[1] else t.negative
    denominators: dict[str, Array] = {
        "precision": t.tp + t.fp,
        "recall": t.positive,
        "specificity": t.negative,
        "npv": t.tn + t.fn,
        "f1": t.tp + t.fp + t.fn,
    }
    return denominators.get(metric, t.n)


def measure_leverage(metric: str, t: Tallies) -> Array:
    """How much each patient counts in a metric, in patches, shape (patients,).

    In a metric of both classes it is the mean of the patient's shares of them: a patient of one class counts too.
    """
    if metric in _BOTH_CLASSES and t.positive.any() and t.negative.any():
        shares: Array = t.positive / t.positive.sum() + t.negative / t.negative.sum()
        return shares / 2 * float(t.n.sum())
    return find_metric_patches(metric, t)


def ratio(part: Array, whole: Array) -> Statistic:
    """Returns the statistic sum of `part` / sum of `whole`, both by patient, shape (patients,)."""
    return lambda weights: divide(weights @ part, weights @ whole)


def make_estimate(
    statistic: Statistic,
    weights: Array,
    patches: Array,
    options: EvaluateOptions,
    *,
    leverage: Array | NDArray[np.bool_] | None = None,
) -> Estimate:
    """Puts a metric, its interval and what it rests on together; n/a under the minimums of `options`.

    Args:
        statistic: The metric, in [0, 1], as a function of weights; its value is that of every patient once.
        weights: How often each patient is in each resample, shape (resamples, patients).
        patches: Patches that the metric rests on, by patient, shape (patients,).
        options: Minimums, method and confidence.
        leverage: How much each patient counts, if not by its `patches`: 1 each in a mean over patients, for instance;
            shape (patients,).
    """
    n_patches, n_patients = int(patches.sum()), int(np.count_nonzero(patches))
    value = metric_of_sample(statistic, weights.shape[1])
    if np.isnan(value) or n_patches < options.min_patches or n_patients < options.min_patients:
        return Estimate(value=None, low=None, high=None, n_patches=n_patches, n_patients=n_patients)
    counts = np.asarray(patches if leverage is None else leverage, dtype=np.float64)
    low, high, dropped = interval(statistic, weights, counts, options, n_patients=n_patients)
    return Estimate(value=value, low=low, high=high, n_patches=n_patches, n_patients=n_patients, dropped=dropped)


@dataclass(frozen=True)
class Resampled:
    """A sample with its sums, its concordant pairs and its resamples: all that its metrics need."""

    sample: Sample
    tallies: Tallies
    pairs: Array
    weights: Array
    options: EvaluateOptions

    @classmethod
    def of(cls, sample: Sample, options: EvaluateOptions) -> Resampled:
        """Counts once what every metric then shares."""
        weights = draw_resamples(len(sample.patients), options)
        return cls(sample, tally_by_patient(sample), concordance(sample), weights, options)

    @cached_property
    def steps(self) -> RankedSteps:
        """The patches by falling probability."""
        return count_ranking_steps(self.sample)

    def values(self, metric: str, weights: Array) -> Array:
        """Returns a metric over all patches, for each row of weights."""
        if metric == "auroc":
            return auroc(self.pairs, self.tallies.positive, self.tallies.negative, weights)
        if metric == "auprc":
            return average_precision(self.steps, weights)
        return RATES[metric](self.tallies.total(weights))

    def by_patient(self, metric: str) -> Array:
        """Returns a metric of each patient; NaN where the patient has nothing that it rests on."""
        if metric == "ece":
            return np.full(len(self.sample.patients), np.nan)
        if metric in RATES:
            return RATES[metric](self.tallies)
        if metric == "auroc":
            return divide(np.diagonal(self.pairs).copy(), self.tallies.positive * self.tallies.negative)
        return np.where(self.tallies.negative > 0, precision_by_patient(self.sample), np.nan)

    def pooled(self) -> dict[str, Estimate]:
        """Returns every metric over all patches."""
        return {metric: self._pooled(metric) for metric in METRICS}

    def _pooled(self, metric: str) -> Estimate:
        def statistic(weights: Array) -> Array:
            return self.values(metric, weights)

        leverage = measure_leverage(metric, self.tallies)
        return make_estimate(
            statistic, self.weights, find_metric_patches(metric, self.tallies), self.options, leverage=leverage
        )

    def patient_macro(self) -> dict[str, Estimate]:
        """Returns every metric as the mean over the patients that have it, whatever their size."""
        return {metric: self._mean_over_patients(metric) for metric in METRICS}

    def _mean_over_patients(self, metric: str) -> Estimate:
        each = self.by_patient(metric)
        defined = ~np.isnan(each)
        filled, counted = np.where(defined, each, 0.0), defined.astype(np.float64)

        def mean(weights: Array) -> Array:
            return divide(weights @ filled, weights @ counted)

        patches = np.where(defined, self.tallies.n, 0)
        return make_estimate(mean, self.weights, patches, self.options, leverage=counted)
