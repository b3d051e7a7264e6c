"""Risk and coverage: the error among the confident patches, and how many these are, at every confidence at once.

Two areas sum the curve up; less is better in both, and both are at the sample's own prevalence.

- aurc: mean of the error among the confident over all coverages (Geifman, Uziel and El-Yaniv, ICLR 2019).
- augrc: mean over all coverages of the share of all patches that is confident and wrong (Traub et al., "Overcoming
  common flaws in the evaluation of selective classification systems", NeurIPS 2024). It does not let the few most
  confident patches weigh most, as the other does.

Examples:
        curve = risk_coverage(Resampled.of(sample, EvaluateOptions()))
        curve.augrc.value, curve.augrc.low, curve.augrc.high
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import confidence, is_idc
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array
from bcd.evaluation.metrics.metrics import Resampled, make_estimate, ratio
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.sample import Sample

STEPS = 1000
"""Steps of the curve: as many different confidences, or groups of neighbouring ones that hold the same share each."""

POINTS = 50
"""Points of the curve that are stored with their intervals."""


class RiskPoint(BaseModel):
    """One point of the curve.

    Attributes:
        confidence: Smallest confidence of those patches.
        coverage: Share of all patches that is confident.
        risk: Share of wrong patches among the confident; n/a under the minimums of the options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float
    coverage: float
    risk: Estimate


class RiskCoverage(BaseModel):
    """The risk-coverage curve, from the most confident patches to all of them.

    Attributes:
        aurc: Area under it.
        augrc: Area under the generalised one.
        points: Some of its points, coverage rising to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    aurc: Estimate
    augrc: Estimate
    points: list[RiskPoint]


@dataclass(frozen=True)
class ConfidenceSteps:
    """What is confident and wrong from each confidence on, by patient.

    Attributes:
        confidence: Smallest confidence of each step, falling, shape (steps,).
        confident: Confident patches of each patient at each step, shape (patients, steps).
        wrong: Those of them that are wrong, shape (patients, steps).
    """

    confidence: Array
    confident: Array
    wrong: Array

    def aurc(self, weights: Array) -> Array:
        """Mean error among the confident over the patches of each row of weights; NaN where there is none."""
        confident, wrong = weights @ self.confident, weights @ self.wrong
        risk = np.divide(wrong, confident, out=np.zeros_like(confident), where=confident > 0)
        return divide((risk * np.diff(confident, axis=1, prepend=0)).sum(axis=1), confident[:, -1])

    def augrc(self, weights: Array) -> Array:
        """Mean share that is confident and wrong over the patches of each row of weights; NaN where there is none."""
        confident, wrong = weights @ self.confident, weights @ self.wrong
        # Within a step, order is by chance: the middle between its ends.
        middle = wrong - np.diff(wrong, axis=1, prepend=0) / 2
        return divide((middle * np.diff(confident, axis=1, prepend=0)).sum(axis=1), confident[:, -1] ** 2)


def risk_coverage(resampled: Resampled) -> RiskCoverage:
    """Makes the curve of a sample, and its areas with intervals by patient."""
    steps = make_confidence_steps(resampled.sample)
    patches, options = resampled.tallies.n, resampled.options
    coverage = steps.confident.sum(axis=0) / patches.sum()
    shown = np.unique(np.searchsorted(coverage, np.arange(1, POINTS + 1) / POINTS - 1e-9).clip(max=len(coverage) - 1))
    return RiskCoverage(
        aurc=make_estimate(steps.aurc, resampled.weights, patches, options),
        augrc=make_estimate(steps.augrc, resampled.weights, patches, options),
        points=[
            RiskPoint(
                confidence=float(steps.confidence[i]),
                coverage=float(coverage[i]),
                risk=make_estimate(
                    ratio(steps.wrong[:, i], steps.confident[:, i]), resampled.weights, steps.confident[:, i], options
                ),
            )
            for i in shown
        ],
    )


def make_confidence_steps(sample: Sample, steps: int = STEPS) -> ConfidenceSteps:
    """Counts what is confident and wrong from each confidence on.

    Args:
        sample: The patches.
        steps: Most steps; equal confidences are never torn apart.
    """
    sure = confidence(sample.probability)
    levels = np.unique(sure)[::-1]
    if len(levels) > steps:
        spread = np.sort(sure)[::-1][np.linspace(0, len(sure), steps + 1).round().astype(np.intp)[1:] - 1]
        levels = np.unique(spread)[::-1]
    step = np.searchsorted(-levels, -sure, side="left")
    return ConfidenceSteps(
        confidence=levels,
        confident=_cumulate(sample, step, len(levels), np.ones(len(sure), dtype=bool)),
        wrong=_cumulate(sample, step, len(levels), is_idc(sample.probability) != sample.positive),
    )


def _cumulate(sample: Sample, step: NDArray[np.intp], steps: int, which: NDArray[np.bool_]) -> Array:
    cell = sample.patient[which] * steps + step[which]
    counts = np.bincount(cell, minlength=len(sample.patients) * steps).reshape(-1, steps)
    return np.asarray(np.cumsum(counts, axis=1), dtype=np.float64)
