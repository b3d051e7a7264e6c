"""Metrics at a stated prevalence: patches of the two classes are weighted so that IDC has that share.

Recall, specificity, balanced accuracy and AUROC do not depend on the prevalence; these here do. With TPR the recall,
FPR 1 - specificity, and p the prevalence (weights by class: Elkan 2001, "Foundations of cost-sensitive learning"):

- accuracy = p TPR + (1 - p) (1 - FPR)
- precision = p TPR / (p TPR + (1 - p) FPR); npv and f1 likewise
- auprc: average precision with precision so weighted at every score
- brier: p times the mean squared error of IDC patches + (1 - p) times that of the others

The weights follow the sample, also where an interval is made, so that every sample has exactly that prevalence. The
probabilities stay as they are: they were calibrated at another prevalence, so that at this one they are neither
calibrated nor best cut at 1/2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import is_confident
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array, Statistic
from bcd.evaluation.metrics.metrics import Resampled, find_metric_patches, make_estimate, measure_leverage, ratio
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.sample import Sample
from bcd.evaluation.metrics.tallies import Tallies, tally_by_patient
from bcd.options import Probability


class LevelAtPrevalence(BaseModel):
    """A row of the threshold table at the stated prevalence.

    Attributes:
        level: Confidence from which a patch counts as confident.
        coverage: Share of patches that is confident.
        accuracy: Among the confident.
        precision: Among the confident that are called IDC.
        recall: Among the confident that are IDC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Probability
    coverage: Estimate
    accuracy: Estimate
    precision: Estimate
    recall: Estimate


class AtPrevalence(BaseModel):
    """What depends on the prevalence, at a stated one.

    Attributes:
        prevalence: Share of IDC that the classes are weighted to.
        metrics: accuracy, precision, npv, f1, auprc and brier over all patches.
        thresholds: The threshold table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prevalence: float
    metrics: dict[str, Estimate]
    thresholds: list[LevelAtPrevalence]


Rate = Callable[[Array, Array, float], Array]

_RATES: dict[str, Rate] = {
    "accuracy": lambda tpr, fpr, p: p * tpr + (1 - p) * (1 - fpr),
    "precision": lambda tpr, fpr, p: divide(p * tpr, p * tpr + (1 - p) * fpr),
    "npv": lambda tpr, fpr, p: divide((1 - p) * (1 - fpr), (1 - p) * (1 - fpr) + p * (1 - tpr)),
    "f1": lambda tpr, fpr, p: divide(2 * p * tpr, p * tpr + (1 - p) * fpr + p),
}


def at_prevalence(resampled: Resampled, prevalence: float) -> AtPrevalence:
    """Weights the classes of a sample to a stated prevalence, in (0, 1)."""
    t = resampled.tallies
    statistics: dict[str, Statistic] = {name: _rate(rate, t, prevalence) for name, rate in _RATES.items()}
    statistics["auprc"] = _average_precision(resampled.sample, prevalence)
    statistics["brier"] = _brier_at_prevalence(resampled.sample, t, prevalence)
    metrics = {
        name: make_estimate(
            statistic,
            resampled.weights,
            find_metric_patches(name, t),
            resampled.options,
            leverage=_leverage_at_prevalence(t),
        )
        for name, statistic in statistics.items()
    }
    rows = [_level(resampled, level, prevalence) for level in resampled.options.levels]
    return AtPrevalence(prevalence=prevalence, metrics=metrics, thresholds=rows)


def _leverage_at_prevalence(t: Tallies) -> Array:
    """How much each patient counts where classes have weights: the mean of its shares of both, where both are."""
    both = measure_leverage("balanced_accuracy", t)
    return both if both.any() else t.n


def _rate(rate: Rate, t: Tallies, prevalence: float) -> Statistic:
    def statistic(weights: Array) -> Array:
        total = t.total(weights)
        return rate(divide(total.tp, total.positive), divide(total.fp, total.negative), prevalence)

    return statistic


def _brier_at_prevalence(sample: Sample, t: Tallies, prevalence: float) -> Statistic:
    error = (sample.probability - sample.positive) ** 2
    of_idc, of_none = (
        np.bincount(sample.patient, weights=error * chosen, minlength=len(sample.patients))
        for chosen in (sample.positive, ~sample.positive)
    )

    def statistic(weights: Array) -> Array:
        idc = divide(weights @ of_idc, weights @ t.positive)
        return prevalence * idc + (1 - prevalence) * divide(weights @ of_none, weights @ t.negative)

    return statistic


def _average_precision(sample: Sample, prevalence: float) -> Statistic:
    order = np.argsort(-sample.probability, kind="stable")
    p, positive, patient = sample.probability[order], sample.positive[order], sample.patient[order]
    last = np.searchsorted(-p, -p[positive], side="right") - 1  # tied patches are called together
    last_positive = np.searchsorted(-p[positive], -p[positive], side="right") - 1
    owner = patient[positive]
    sizes = np.bincount(patient, minlength=len(sample.patients))
    idc = np.bincount(owner, minlength=len(sample.patients))
    odds = (1 - prevalence) / prevalence

    def one(weight: Array) -> float:
        n_idc, n_all = float(weight @ idc), float(weight @ sizes)
        if not 0 < n_idc < n_all:
            return np.nan
        drawn = weight.take(owner)
        found = drawn.cumsum().take(last_positive)
        false = weight.take(patient).cumsum().take(last) - found
        # A patch without IDC counts so often that the two classes have the stated odds.
        called = found + false * (odds * n_idc / (n_all - n_idc))
        return float(drawn @ (found / np.where(called > 0, called, 1))) / n_idc

    # One resample at a time: bounds memory.
    return lambda weights: np.array([one(weight) for weight in weights.astype(np.float32)])


def _level(resampled: Resampled, level: Probability, prevalence: float) -> LevelAtPrevalence:
    everything = resampled.tallies
    confident = tally_by_patient(resampled.sample, is_confident(resampled.sample.probability, level))
    p = prevalence

    def estimate(formula: Callable[[Tallies, Array, Array], Array], patches: Array, of: Tallies) -> Estimate:
        """Gives `formula` the confident patches with their class's weight; patients count as they do in `of`."""

        def statistic(weights: Array) -> Array:
            total = everything.total(weights)
            idc, none = np.full(len(weights), p), np.full(len(weights), 1 - p)
            return formula(confident.total(weights), divide(idc, total.positive), divide(none, total.negative))

        return make_estimate(
            statistic, resampled.weights, patches, resampled.options, leverage=_leverage_at_prevalence(of)
        )

    return LevelAtPrevalence(
        level=level,
        coverage=estimate(lambda k, idc, none: idc * k.positive + none * k.negative, everything.n, everything),
        accuracy=estimate(
            lambda k, idc, none: divide(idc * k.tp + none * k.tn, idc * k.positive + none * k.negative),
            confident.n,
            confident,
        ),
        precision=estimate(
            lambda k, idc, none: divide(idc * k.tp, idc * k.tp + none * k.fp), confident.tp + confident.fp, confident
        ),
        recall=make_estimate(
            ratio(confident.tp, confident.positive), resampled.weights, confident.positive, resampled.options
        ),
    )
