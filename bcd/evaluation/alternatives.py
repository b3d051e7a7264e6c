"""Calibrations that could be deployed in place of Platt's, and how well each does on patients that it never saw.

They are measured and logged, not chosen from: Platt's, with two parameters, stays the deployed one.

Example:
    for row in compare_calibrations(logits, labels, patients, EvaluateOptions()):
        print(row.kind, row.log_loss.value)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.bootstrap import draw_resamples
from bcd.evaluation.calibration import (
    Fit,
    cross_fit_or_none,
    fit_calibrator,
    maximise_likelihood,
    platt_targets,
    sigmoid,
)
from bcd.evaluation.estimates import Estimate
from bcd.evaluation.metrics import RATES, make_estimate
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.ranking import divide
from bcd.evaluation.sample import Sample
from bcd.evaluation.tallies import tally

if TYPE_CHECKING:
    from sklearn.isotonic import IsotonicRegression


class CalibrationRow(BaseModel):
    """How well one kind of calibration does, cross-fitted over patients; less is better in all three.

    Attributes:
        kind: `none` (the network's own probability), `platt` (the deployed one), `isotonic`, `beta`.
        log_loss: Mean of -log of the probability of what the label says.
        brier: Mean of (probability - label)^2.
        ece: Expected calibration error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    log_loss: Estimate
    brier: Estimate
    ece: Estimate


@dataclass(frozen=True)
class Uncalibrated:
    """The network's own probability."""

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns sigmoid(logit)."""
        return sigmoid(logits)


@dataclass(frozen=True)
class BetaCalibration:
    """Log odds of IDC = a log p - b log(1 - p) + c, with p the network's own probability (Kull et al. 2017)."""

    a: float
    b: float
    c: float

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns the probability of IDC of each logit."""
        return sigmoid(_beta_design(logits) @ np.array([self.a, self.b, self.c]))


@dataclass(frozen=True)
class IsotonicCalibration:
    """A rising staircase, level beyond the logits that it was fitted to."""

    staircase: IsotonicRegression

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns the probability of IDC of each logit."""
        return np.asarray(self.staircase.predict(np.asarray(logits, dtype=np.float64)))


def fit_none(_logits: ArrayLike, _labels: ArrayLike) -> Uncalibrated:
    """Fits nothing."""
    return Uncalibrated()


def fit_beta(logits: ArrayLike, labels: ArrayLike) -> BetaCalibration:
    """Fits a beta calibration by maximum likelihood, to Platt's targets; a and b are at least zero.

    Kull, Silva Filho and Flach, "Beta calibration", AISTATS 2017, section 4: a weight that comes out negative is set
    to zero and the others are fitted again.

    Raises:
        InsufficientEvidenceError: There is one class only.
        BcdError: A logit is not finite.
    """
    target = platt_targets(logits, labels)
    design = _beta_design(logits)
    weights = maximise_likelihood(design, target)
    for column in (0, 1):
        if weights[column] < 0:
            rest = [index for index in range(3) if index != column]
            weights = np.zeros(3)
            weights[rest] = maximise_likelihood(design[:, rest], target)
    a, b, c = np.maximum(weights, [0.0, 0.0, -np.inf])
    return BetaCalibration(float(a), float(b), float(c))


def fit_isotonic(logits: ArrayLike, labels: ArrayLike) -> IsotonicCalibration:
    """Fits a rising staircase by least squares, to Platt's targets, which keep it off zero and one.

    Raises:
        InsufficientEvidenceError: There is one class only.
        BcdError: A logit is not finite.
    """
    from sklearn.isotonic import IsotonicRegression

    target = platt_targets(logits, labels)
    return IsotonicCalibration(IsotonicRegression(out_of_bounds="clip").fit(np.asarray(logits, np.float64), target))


FITS: dict[str, Fit] = {"none": fit_none, "platt": fit_calibrator, "isotonic": fit_isotonic, "beta": fit_beta}
"""Every kind of calibration that is measured."""


def compare_calibrations(
    logits: ArrayLike, labels: ArrayLike, patients: ArrayLike, options: EvaluateOptions
) -> tuple[CalibrationRow, ...]:
    """Measures every kind of calibration on patients that its fit never saw.

    There is none where there is one patient only, or where all patches of a class are in one fold.

    Args:
        logits: One logit a patch, shape (n,).
        labels: 1 = IDC, 0 = none, shape (n,).
        patients: Whose each patch is, hospital included, shape (n,).
        options: Folds, resamples and minimums.

    Raises:
        BcdError: A logit is not finite.
    """
    names, number = np.unique(np.asarray(patients), return_inverse=True)
    patient = number.reshape(-1)
    positive = np.asarray(labels) == 1
    weights = draw_resamples(len(names), options)

    def measure(kind: str, p: NDArray[np.float64]) -> CalibrationRow:
        t = tally(Sample(positive, p, patient, [("", str(name)) for name in names]))
        surprise = -np.log(np.maximum(np.where(positive, p, 1 - p), np.finfo(np.float64).tiny))
        lost = np.bincount(patient, weights=surprise, minlength=len(names))
        return CalibrationRow(
            kind=kind,
            log_loss=_log_loss(make_estimate(lambda w: np.exp(-divide(w @ lost, w @ t.n)), weights, t.n, options)),
            brier=make_estimate(lambda w: RATES["brier"](t.total(w)), weights, t.n, options),
            ece=make_estimate(lambda w: RATES["ece"](t.total(w)), weights, t.n, options),
        )

    crossed = {
        kind: cross_fit_or_none(logits, labels, patients, fit=fit, folds=options.folds, seed=options.seed)
        for kind, fit in FITS.items()
    }
    rows = tuple(measure(kind, p) for kind, p in crossed.items() if p is not None)
    return rows if len(rows) == len(FITS) else ()


def _log_loss(likelihood: Estimate) -> Estimate:
    """Turns the estimate of exp(-log loss), which lies in [0, 1] as intervals want it, into that of the log loss."""

    def turn(end: float | None) -> float | None:
        return -math.log(end) if end else None

    turned = {"value": turn(likelihood.value), "low": turn(likelihood.high), "high": turn(likelihood.low)}
    return likelihood.model_copy(update=turned)


def _beta_design(logits: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(logits, dtype=np.float64)
    return np.stack([-np.logaddexp(0, -x), np.logaddexp(0, x), np.ones_like(x)], axis=-1)
