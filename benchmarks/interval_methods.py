"""Ways to make an interval by patient, to be compared: the two of bcd, and two of the textbook.

- BCa: the bias-corrected and accelerated bootstrap (Efron 1987), the acceleration by the jackknife over patients.
- bootstrap-t: studentised by the infinitesimal jackknife within each resample, on the logit scale (Efron and
  Tibshirani 1993, event 12).

Where no error was seen, all give the exact bound over patients, as bcd does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from bcd.evaluation.metrics.intervals import Array, Statistic, interval, metric_of_sample
from bcd.evaluation.metrics.ranking import auroc, divide
from bcd.evaluation.options import EvaluateOptions

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Figure:
    """A statistic of one sample with what the methods need of it.

    Attributes:
        statistic: The statistic.
        weights: Resamples.
        leverage: How much each patient counts.
        patches: Patches that it rests on, by patient.
        error: Its standard error by the infinitesimal jackknife, for each row of weights.
    """

    statistic: Statistic
    weights: Array
    leverage: Array
    patches: Array
    error: Callable[[Array], Array]

    @property
    def n_patients(self) -> int:
        """Patients that it rests on."""
        return int(np.count_nonzero(self.patches))


def ratio_error(part: Array, whole: Array) -> Callable[[Array], Array]:
    """The standard error of a ratio of sums."""

    def error(weights: Array) -> Array:
        value = divide(weights @ part, weights @ whole)
        squares = weights @ part**2 - 2 * value * (weights @ (part * whole)) + value**2 * (weights @ whole**2)
        return divide(np.sqrt(np.maximum(squares, 0)), weights @ whole)

    return error


def auroc_error(pairs: Array, positive: Array, negative: Array) -> Callable[[Array], Array]:
    """The standard error of the AUROC (the clustered one of Obuchowski 1997, for each row of weights)."""

    def error(weights: Array) -> Array:
        n1, n0 = weights @ positive, weights @ negative
        value = auroc(pairs, positive, negative, weights)[:, None]
        mine = weights @ pairs.T + weights @ pairs
        change = mine - value * (positive * n0[:, None] + negative * n1[:, None])
        return divide(np.sqrt((weights * change**2).sum(axis=1)), n1 * n0)

    return error


def percentile(figure: Figure, options: EvaluateOptions) -> Ends:
    """The middle of the resamples."""
    return _bcd(figure, options.model_copy(update={"interval": "percentile"}))


def jackknife(figure: Figure, options: EvaluateOptions) -> Ends:
    """What bcd does unless told otherwise."""
    return _bcd(figure, options.model_copy(update={"interval": "jackknife"}))


def bca(figure: Figure, options: EvaluateOptions) -> Ends:
    """The bias-corrected and accelerated bootstrap."""
    n = figure.weights.shape[1]
    value = metric_of_sample(figure.statistic, n)
    if value in (0.0, 1.0):
        return percentile(figure, options)
    resampled = figure.statistic(figure.weights)
    resampled = resampled[~np.isnan(resampled)]
    change = figure.statistic(1 - np.eye(n))
    change = np.nan_to_num(np.nanmean(change) - change)
    acceleration = (change**3).sum() / (6 * (change**2).sum() ** 1.5)
    below = np.mean(resampled < value) + np.mean(resampled == value) / 2
    bias = ndtri(np.clip(below, 1 / len(resampled), 1 - 1 / len(resampled)))
    tail = (1 - options.confidence) / 2
    z = bias + ndtri([tail, 1 - tail])
    low, high = np.quantile(resampled, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def bootstrap_t(figure: Figure, options: EvaluateOptions) -> Ends:
    """The studentised bootstrap on the logit scale."""
    n = figure.weights.shape[1]
    value = metric_of_sample(figure.statistic, n)
    if value in (0.0, 1.0):
        return percentile(figure, options)
    resampled, errors = figure.statistic(figure.weights), figure.error(figure.weights)
    usable = (resampled > 0) & (resampled < 1) & (errors > 0)
    inner, errors = resampled[usable], errors[usable]
    student = (logit(inner) - logit(value)) / (errors / (inner * (1 - inner)))
    scale = float(figure.error(np.ones((1, n)))[0]) / (value * (1 - value))
    tail = (1 - options.confidence) / 2
    upper, lower = np.quantile(student, [tail, 1 - tail])
    return float(expit(logit(value) - lower * scale)), float(expit(logit(value) - upper * scale))


METHODS: dict[str, Callable[[Figure, EvaluateOptions], Ends]] = {
    "percentile": percentile,
    "BCa": bca,
    "bootstrap-t": bootstrap_t,
    "jackknife": jackknife,
}


def _bcd(figure: Figure, options: EvaluateOptions) -> Ends:
    low, high, _ = interval(figure.statistic, figure.weights, figure.leverage, options, n_patients=figure.n_patients)
    return low, high
