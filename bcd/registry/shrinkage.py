"""Shrinkage: what few patients say is drawn towards what is more likely, by as much as it is uncertain.

- `shrink_to_zero`, for a difference of two models: the prior is that versions of the same recipe hardly differ,
  normal around 0 with the margin that is tolerated as its standard deviation.
- `shrink_groups`, for hospitals and patients: empirical Bayes (Efron and Morris 1975). The groups' true differences
  are normal around the pooled one, and their spread is estimated from the groups themselves, by the method of moments
  (DerSimonian and Laird 1986). Groups that differ by no more than their noise are all drawn to the pooled one.
"""

from __future__ import annotations

import numpy as np

from bcd.evaluation.bootstrap import Array


def shrink_to_zero(value: float, error: float, prior_sd: float) -> tuple[float, float]:
    """Returns the posterior mean and standard deviation of a difference with the prior N(0, prior_sd²).

    Args:
        value: The difference that was seen.
        error: Its standard error.
        prior_sd: Standard deviation of the prior.
    """
    kept = prior_sd**2 / (prior_sd**2 + error**2)
    return kept * value, float(np.sqrt(kept)) * error


def shrink_groups(values: Array, errors: Array, centre: float, centre_error: float) -> tuple[Array, Array]:
    """Returns the empirical-Bayes mean and standard deviation of each group's difference.

    Args:
        values: The differences that were seen, shape (groups,).
        errors: Their standard errors, all above 0, shape (groups,).
        centre: The pooled difference, which they are drawn to.
        centre_error: Its standard error: a group that is drawn to it wholly is no surer than it.
    """
    spread = estimate_spread(values, errors)
    kept = spread / (spread + errors**2)
    return centre + kept * (values - centre), np.sqrt(kept * errors**2 + ((1 - kept) * centre_error) ** 2)


def estimate_spread(values: Array, errors: Array) -> float:
    """Estimates the variance of the groups' true differences from each other; never below 0."""
    weights = 1 / errors**2
    mean = float(weights @ values / weights.sum())
    excess = float(weights @ (values - mean) ** 2) - (len(values) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    return max(0.0, excess / scale) if scale > 0 else 0.0
