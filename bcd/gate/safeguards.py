"""Checks beside the rule: calibration, coverage at 95 %, each hospital, and the patients who lose most.

Each is a difference, challenger minus champion, drawn towards what is more likely by as much as it is uncertain, and
then held against a margin of its own. They are alarms, not proofs: an alarm rings when harm beyond the margin is
likelier than not. They are reported always, and enforced from `GateOptions.enforce_from` patients on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.metrics.intervals import Array, Statistic, metric_of_sample, standard_error
from bcd.evaluation.metrics.metrics import RATES, ratio
from bcd.evaluation.metrics.ranking import auroc, concordance
from bcd.evaluation.metrics.sample import Sample, make_evaluation_sample
from bcd.evaluation.metrics.tallies import tally_by_patient
from bcd.formats import format_signed
from bcd.gate.verdict import Check
from bcd.patches import CELL

if TYPE_CHECKING:
    import pandas as pd

    from bcd.gate.options import GateOptions


def shrink_safeguard_to_zero(value: float, error: float, prior_sd: float) -> tuple[float, float]:
    """Returns the posterior mean and standard deviation of a difference with the prior N(0, prior_sd²).

    Versions of the same recipe hardly differ: the prior's standard deviation is the margin that is tolerated.

    Args:
        value: The difference that was seen.
        error: Its standard error.
        prior_sd: Standard deviation of the prior.
    """
    kept = prior_sd**2 / (prior_sd**2 + error**2)
    return kept * value, float(np.sqrt(kept)) * error


def shrink_safeguard_groups(values: Array, errors: Array, centre: float, centre_error: float) -> tuple[Array, Array]:
    """Returns the empirical-Bayes mean and standard deviation of each group's difference (Efron and Morris 1975).

    The true differences are normal around the pooled one; their spread is estimated by the method of moments
    (DerSimonian and Laird 1986). Groups that differ by no more than their noise are all drawn to the pooled one.

    Args:
        values: The differences that were seen, shape (groups,).
        errors: Their standard errors, all above 0, shape (groups,).
        centre: The pooled difference, which they are drawn to.
        centre_error: Its standard error: a group that is drawn to it wholly is no surer than it.
    """
    spread = estimate_safeguard_spread(values, errors)
    kept = spread / (spread + errors**2)
    return centre + kept * (values - centre), np.sqrt(kept * errors**2 + ((1 - kept) * centre_error) ** 2)


def estimate_safeguard_spread(values: Array, errors: Array) -> float:
    """Estimates the variance of the groups' true differences from each other; never below 0."""
    weights = 1 / errors**2
    mean = float(weights @ values / weights.sum())
    excess = float(weights @ (values - mean) ** 2) - (len(values) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    return max(0.0, excess / scale) if scale > 0 else 0.0


_LEVEL = 0.95
_FEWEST = 5
"""A hospital with fewer patients of both classes has no standard error worth the name."""
_NAMED = 3
_LEAST_ERROR = 1e-6  # two models that never differ leave none


@dataclass(frozen=True)
class _Found:
    """A difference as it was seen, and after shrinkage with its standard deviation; and how many patients say so."""

    seen: float
    mean: float
    spread: float
    patients: int


def check_safeguards(champion: pd.DataFrame, challenger: pd.DataFrame, options: GateOptions) -> list[Check]:
    """Makes the checks beside the rule.

    Args:
        champion: Scores of the gate patients by the champion.
        challenger: Scores of the same patches by the challenger.
        options: Margins, and from how many patients the checks are enforced.
    """
    a, b = (make_evaluation_sample(scores.sort_values(CELL, ignore_index=True)) for scores in (champion, challenger))
    return [
        _check_calibration(a, b, options),
        _check_coverage(a, b, options),
        *_check_hospitals(a, b, options),
        _check_patients(a, b, options),
    ]


def _check_calibration(a: Sample, b: Sample, options: GateOptions) -> Check:
    def error(sample: Sample) -> Statistic:
        sums = tally_by_patient(sample)
        return lambda weights: RATES["ece"](sums.total(weights))

    limit = options.calibration_margin
    found = _shrink(error(a), error(b), tally_by_patient(a).n, limit)
    return _hold(found, options, name="calibration", what="The calibration error", limit=limit)


def _check_coverage(a: Sample, b: Sample, options: GateOptions) -> Check:
    def coverage(sample: Sample) -> Statistic:
        return ratio(tally_by_patient(sample, is_confident(sample.probability, _LEVEL)).n, tally_by_patient(sample).n)

    limit = -options.coverage_margin
    found = _shrink(coverage(a), coverage(b), tally_by_patient(a).n, limit)
    what = "The share of patches that is confident at 95 %"
    return _hold(found, options, name="coverage", what=what, limit=limit)


def _check_hospitals(a: Sample, b: Sample, options: GateOptions) -> list[Check]:
    owner = np.array([hospital for hospital, _ in a.patients])
    names = sorted(set(owner.tolist()))
    if len(names) == 1:
        text = f"All gate patients are of {names[0]}: no hospital can lose behind another's back."
        return [Check(name="hospitals", passed=True, enforced=False, text=text)]
    found, checks = {}, []
    for name in names:
        mine = (owner == name)[a.patient]
        first, second = a.select(mine), b.select(mine)
        sums = tally_by_patient(first)
        both = int(((sums.positive > 0) & (sums.negative > 0)).sum())
        value, error = _differ(_auroc(first), _auroc(second), sums.n)
        if both < _FEWEST or np.isnan(error):
            text = f"{name} has {both} gate patients with both classes: too few for a figure of its own."
            checks.append(Check(name=f"hospital {name}", passed=True, enforced=False, text=text))
        else:
            found[name] = (value, error, len(first.patients))
    shrunk = _shrink_hospitals(found, *_differ(_auroc(a), _auroc(b), tally_by_patient(a).n))
    checks += [
        _hold(one, options, name=f"hospital {name}", what=f"AUROC at {name}", limit=-options.hospital_margin)
        for name, one in shrunk.items()
    ]
    return sorted(checks, key=lambda check: check.name)


def _shrink_hospitals(
    found: dict[str, tuple[float, float, int]], pooled: float, pooled_error: float
) -> dict[str, _Found]:
    if not found:
        return {}
    values, errors, patients = zip(*found.values(), strict=True)
    means, spreads = shrink_safeguard_groups(np.array(values), np.array(errors), pooled, pooled_error)
    rows = zip(found, values, means.tolist(), spreads.tolist(), patients, strict=True)
    return {name: _Found(*row) for name, *row in rows}


def _check_patients(a: Sample, b: Sample, options: GateOptions) -> Check:
    right = (is_idc(b.probability) == b.positive).astype(np.float64) - (is_idc(a.probability) == a.positive)
    sizes = a.sizes.astype(np.float64)
    sums: Array = np.bincount(a.patient, weights=right).astype(np.float64)
    values = sums / sizes
    # One variance for all: a patient of three patches cannot tell its own.
    within = float(((right - values[a.patient]) ** 2).sum() / max(1, len(right) - len(sizes)))
    errors = np.sqrt(max(within, 1 / len(right)) / sizes)
    pooled = ratio(sums, sizes)
    centre = metric_of_sample(pooled, len(sizes)), standard_error(pooled, sizes)
    means, spreads = shrink_safeguard_groups(values, errors, *centre)
    worst = np.argsort(means, kind="stable")[:_NAMED]
    named = ", ".join(f"{'/'.join(a.patients[i])} {format_signed(means[i])} ({int(sizes[i])} patches)" for i in worst)
    low, high = _interval(float(means[worst[0]]), float(spreads[worst[0]]), options)
    limit = -options.patient_margin
    return Check(
        name="patients",
        passed=bool(means[worst[0]] > limit),
        enforced=len(sizes) >= options.enforce_from,
        text=f"The patients whose accuracy changes worst, after shrinkage: {named}; that must stay above "
        f"{format_signed(limit)}{_enforcement(len(sizes), options)}.",
        value=float(means[worst[0]]),
        low=low,
        high=high,
        limit=limit,
    )


def _auroc(sample: Sample) -> Statistic:
    sums, pairs = tally_by_patient(sample), concordance(sample)
    return lambda weights: auroc(pairs, sums.positive, sums.negative, weights)


def _differ(a: Statistic, b: Statistic, patches: Array) -> tuple[float, float]:
    """Returns b minus a with its standard error by patient; NaN where it cannot be had."""

    def difference(weights: Array) -> Array:
        return b(weights) - a(weights)

    error = standard_error(difference, patches)
    return metric_of_sample(difference, len(patches)), error if np.isnan(error) else max(error, _LEAST_ERROR)


def _shrink(a: Statistic, b: Statistic, patches: Array, limit: float) -> _Found:
    seen, error = _differ(a, b, patches)
    return _Found(seen, *shrink_safeguard_to_zero(seen, error, abs(limit)), len(patches))


def _hold(found: _Found, options: GateOptions, *, name: str, what: str, limit: float) -> Check:
    """Holds what was found against a limit: a negative one from above, a positive one from below."""
    low, high = _interval(found.mean, found.spread, options)
    text = (
        f"{what} differs by {format_signed(found.seen)}, after shrinkage {format_signed(found.mean)}"
        f" [{format_signed(low)}, {format_signed(high)}]; that must stay"
        f" {'above' if limit < 0 else 'below'} {format_signed(limit)}"
        f"{_enforcement(found.patients, options)}."
    )
    return Check(
        name=name,
        passed=found.mean > limit if limit < 0 else found.mean < limit,
        enforced=found.patients >= options.enforce_from,
        text=text,
        value=found.mean,
        low=low,
        high=high,
        limit=limit,
    )


def _interval(mean: float, spread: float, options: GateOptions) -> tuple[float, float]:
    from scipy.special import ndtri

    reach = float(ndtri((1 + options.confidence) / 2)) * spread
    return mean - reach, mean + reach


def _enforcement(patients: int, options: GateOptions) -> str:
    if patients >= options.enforce_from:
        return ""
    return f" ({patients} of at least {options.enforce_from} patients: reported only)"
