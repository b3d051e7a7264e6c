"""Intervals by patient: how one is made stands here, once, for every figure.

A statistic is a function of weights, that is, of how often each patient is in the sample. Two methods make an
interval of it:

- `jackknife`, the default. Every patient is left out once. The variance is the mean of two: what the patients showed
  (the jackknife) and what patients of their sizes usually show (`expected_variance`). The first alone is too
  small too often, because one large patient carries most of it and is but one draw; the second alone trusts that
  patients differ in size only. A share then gets the exact binomial interval of as many independent draws as have
  that variance (Korn and Graubard 1998), a difference Student's interval; both with patients - 1 degrees of freedom.
- `percentile`, the customary one: the middle of the resamples. It holds the truth too seldom.

Which holds how often is measured in `benchmarks/simulations.py` and told in docs/explanation/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


Statistic = Callable[[Array], Array]
"""Takes weights of shape (rows, patients) and returns a value for each row; NaN where it is undefined."""

Interval = tuple[float | None, float | None, int]
"""Lower and upper end, both None where there is no honest interval, and the number of resamples left out."""

_ROUNDING = 1e-12
"""A smaller standard error is the rounding of one and the same value."""

_ALIKE = 0.1
"""Correlation of a patient's patches by which the fit of the expected variance is weighted, and by which alone."""

_ROWS = 256  # of weights at a time, to bound memory


def metric_of_sample(statistic: Statistic, n_patients: int) -> float:
    """Returns a statistic on the sample itself: every patient once."""
    return float(statistic(np.ones((1, n_patients)))[0])


def interval(
    statistic: Statistic,
    weights: Array,
    leverage: Array,
    options: EvaluateOptions,
    *,
    n_patients: int | None = None,
    signed: bool = False,
) -> Interval:
    """Makes the interval of a statistic.

    A share of 0 or 1 (no error seen, or nothing else) gets the exact bound over patients: its interval has a width.
    Another one that is exactly the same whichever patient is left out, such as the AUROC of equal scores, has none:
    the patients say nothing of how it varies.

    Args:
        statistic: A share in [0, 1] or, where `signed`, a difference in [-1, 1].
        weights: How often each patient is in each resample, shape (resamples, patients); read by `percentile` only.
        leverage: How much each patient counts in the statistic: its patches, or 1 in a mean over patients; 0 where it
            does not count, shape (patients,).
        options: Method and confidence.
        n_patients: Patients that the statistic rests on; None: those with leverage.
        signed: Whether the statistic is a difference.
    """
    n_patients = int(np.count_nonzero(leverage)) if n_patients is None else n_patients
    if n_patients < 2:
        return None, None, 0
    value = metric_of_sample(statistic, len(leverage))
    if options.interval == "jackknife":
        error = standard_error(statistic, leverage)
        dropped = 0
    else:
        low, high, dropped = percentiles(statistic(weights), options)
        if low is None or high is None or high - low > _ROUNDING:
            return low, high, dropped
        error = 0.0
    if np.isnan(error):
        return None, None, dropped
    if not signed and error <= _ROUNDING < value < 1 - _ROUNDING:
        return None, None, dropped
    ends = student_interval if signed else exact_interval
    return (*ends(value, error, n_patients, options), dropped)


def standard_error(statistic: Statistic, leverage: Array) -> float:
    """Returns the standard error of a statistic over patients, by the jackknife and by what is expected of them.

    Returns:
        NaN where the statistic is undefined without one of the patients that count.
    """
    n = len(leverage)
    without = np.concatenate([statistic(rows) for rows in _leave_one_out(n)])
    change = without - metric_of_sample(statistic, n)
    counts = leverage > 0
    if np.isnan(change[counts]).any():
        return float("nan")
    change = np.where(np.isnan(change), 0.0, change)
    k = int(counts.sum())
    shown = (k - 1) / k * float(change @ change)
    expected = expected_variance(change[counts], leverage[counts])
    return float(np.sqrt((shown + expected) / 2))


def expected_variance(change: Array, leverage: Array) -> float:
    """Returns the variance to be expected of patients of those sizes.

    A patient with the share w of the leverage and m patches contributes w² (a + b / m): `a` is how much patients
    differ, `b` how much patches of a patient do. Both are fitted, not below 0, to what all patients showed, so that a
    large patient's contribution does not hang on that patient alone. What a patient showed is the residual behind
    its change, enlarged for having drawn the statistic towards itself (as in HC2 of MacKinnon and White 1985).

    Args:
        change: How leaving the patient out changes the statistic, shape (patients,).
        leverage: How much the patient counts, above 0, in patches, shape (patients,).
    """
    from scipy.optimize import nnls

    share = leverage / leverage.sum()
    shown = (change / share) ** 2 * (1 - share)
    design = np.stack([np.ones_like(leverage), 1 / leverage], axis=1)
    typical = _ALIKE + (1 - _ALIKE) / leverage
    fitted, _ = nnls(design / typical[:, None], shown / typical)
    return float(share**2 @ (design @ fitted))


def _leave_one_out(n: int) -> Iterator[Array]:
    for first in range(0, n, _ROWS):
        rows = np.ones((min(_ROWS, n - first), n))
        rows[np.arange(len(rows)), first + np.arange(len(rows))] = 0
        yield rows


def exact_interval(value: float, error: float, n_patients: float, options: EvaluateOptions) -> tuple[float, float]:
    """Returns the Clopper-Pearson interval of as many independent draws as have that standard error.

    Args:
        value: A share in [0, 1].
        error: Its standard error; 0 where none, or all, were seen to err: each patient is one draw.
        n_patients: Patients, or whatever is drawn independently; above 1.
        options: Confidence.
    """
    from scipy.special import betaincinv, ndtri, stdtrit

    tail = (1 - options.confidence) / 2
    value = min(max(value, 0.0), 1.0)
    draws = float(n_patients)
    if error > _ROUNDING and 0 < value < 1:
        draws = value * (1 - value) / error**2 * (ndtri(tail) / stdtrit(n_patients - 1, tail)) ** 2
    hits, misses = value * draws, (1 - value) * draws
    low = betaincinv(hits, misses + 1, tail) if hits > 0 else 0.0
    high = betaincinv(hits + 1, misses, 1 - tail) if misses > 0 else 1.0
    return float(low), float(high)


def student_interval(value: float, error: float, n_patients: int, options: EvaluateOptions) -> tuple[float, float]:
    """Returns Student's interval of a difference with that standard error over patients."""
    from scipy.special import stdtrit

    half = float(stdtrit(n_patients - 1, (1 + options.confidence) / 2)) * error
    if error <= _ROUNDING:  # never seen to differ is not shown to be the same
        half = exact_bound(n_patients, options)
    return max(value - half, -1.0), min(value + half, 1.0)
