"""Thresholds by target error: the loosest confidence at which bcd can promise that it seldom errs, or none.

The promise: of a patient's patches that are confident at the threshold, a share is wrong; the mean of that share over
all patients with a confident patch is at most the target, with the confidence of the options. Patients are the
exchangeable unit, so a patient counts once, whatever its size.

A threshold is tested by a bet. Under the null hypothesis (the mean share wrong is `target` or more) the stake

    product over patients of 1 + STAKE * (target - share) / (1 - target)

is expected to be at most 1, and is therefore 20 or more in at most 5 % of samples (Markov's inequality): no
approximation, whatever the distribution of the shares and however few patients (Waudby-Smith and Ramdas, "Estimating
means of bounded random variables by betting", JRSS B 2024, with a constant bet). Thresholds are tested in a sequence
that is fixed before anything is seen, from strict to loose, up to the first that fails: choosing among them costs no
validity (fixed-sequence testing; Bates et al., J. ACM 2021; Angelopoulos et al., "Learn then Test", 2021). It begins
where a calibrated score errs in at most a third of the target: at stricter levels fewer patients keep anything.

Examples:
    >>> patients_needed(0.05, 0.95)
    61
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import takewhile

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.metrics.intervals import Array
from bcd.evaluation.options import EvaluateOptions
from bcd.options import Probability, Share

STAKE = 0.97
"""Share of the largest possible bet: at 1, a single patient of whom all is wrong would rule out any certificate.

It decides how many spotless patients are needed: 61, 153 and 308 for 5, 2 and 1 %, where no valid test can do with
fewer than 59, 149 and 299.
"""

_FIRST = 3  # the sequence begins at confidence 1 - target / 3
_STEP = 0.05  # of the sequence, in log odds of the confidence
_ALMOST_ONE = 1 - 1e-9

ByPatient = Callable[[Probability], tuple[Array, Array]]
"""Takes a confidence; returns confident patches that are wrong, and all confident ones, both of shape (patients,)."""


class CertifiedThreshold(BaseModel):
    """The threshold for one target error, certified on val patients by cross-fitted scores, or none.

    Attributes:
        target_error: Largest mean, over patients, of the share of wrong patches among the confident ones.
        confidence: How sure the promise is.
        threshold: Confidence from which a patch counts as confident; None: not certifiable with these patients.
        n_patients: Patients that the test had.
        patients_needed: Patients that it takes at least, with no failing patient at all.
        tested: The confidence that the figures below are of: the threshold, or else the strictest that was tested.
        error: Mean over patients of the share of wrong patches among the confident ones; None where there are none.
        bound: Upper bound of that mean with `confidence`; None where nothing is confident.
        error_pooled: Share of wrong patches among all that are confident; not what is promised.
        coverage: Share of all patches that is confident.
        patients: Patients with a confident patch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    target_error: Probability
    confidence: Probability
    threshold: Probability | None
    n_patients: int
    patients_needed: int
    tested: Probability
    error: Probability | None
    bound: Probability | None
    error_pooled: Probability | None
    coverage: Share
    patients: int

    @property
    def verdict(self) -> str:
        """The result in words, such as `certified at ≥ 87.3 %` or `not certifiable with 45 patients (…)`."""
        if self.threshold is not None:
            return f"certified at ≥ {100 * self.threshold:.4g} %"
        spotless = f"it takes {self.patients_needed} spotless ones"
        reason = spotless if self.patients < self.patients_needed else "too much is wrong"
        return f"not certifiable with {self.n_patients} patients ({reason})"


def certify_threshold(
    target: Probability, by_patient: ByPatient, n_patches: int, confidence: Probability
) -> CertifiedThreshold:
    """Finds the smallest threshold that keeps the error at or under `target`, if one can be certified.

    Args:
        target: Largest mean, over patients, of the share of wrong patches among the confident ones.
        by_patient: Tells what is wrong and what is confident at a confidence, by cross-fitted scores.
        n_patches: All patches.
        confidence: How sure the promise is to be.
    """
    sequence = threshold_sequence(target)
    tests = ((level, *by_patient(level)) for level in sequence)
    passed = list(takewhile(lambda test: upper_bound(shares(*test[1:]), confidence) <= target, tests))
    tested, wrong, confident = passed[-1] if passed else (sequence[0], *by_patient(sequence[0]))
    share = shares(wrong, confident)
    return CertifiedThreshold(
        target_error=target,
        confidence=confidence,
        threshold=tested if passed else None,
        n_patients=len(confident),
        patients_needed=patients_needed(target, confidence),
        tested=tested,
        error=float(share.mean()) if len(share) else None,
        bound=upper_bound(share, confidence) if len(share) else None,
        error_pooled=float(wrong.sum() / confident.sum()) if len(share) else None,
        coverage=float(confident.sum() / n_patches),
        patients=len(share),
    )


def certify_targets(
    probability: ArrayLike | None, labels: ArrayLike, patients: ArrayLike, options: EvaluateOptions
) -> tuple[CertifiedThreshold, ...]:
    """Certifies each target error of the options.

    Args:
        probability: Cross-fitted ones, shape (n,); None, or NaN at a patch: no honest one is known, and what has none
            is never confident.
        labels: 1 = IDC, 0 = none, shape (n,).
        patients: Whose each patch is, hospital included, shape (n,).
        options: The targets, and how sure the promises are to be.
    """
    names, number = np.unique(np.asarray(patients), return_inverse=True)
    patient = number.reshape(-1)
    p = np.full(len(patient), np.nan) if probability is None else np.asarray(probability, dtype=np.float64)
    wrong = is_idc(p) != (np.asarray(labels) == 1)

    def by_patient(level: Probability) -> tuple[Array, Array]:
        confident = is_confident(p, level)
        errors = np.bincount(patient[confident & wrong], minlength=len(names))
        return errors.astype(np.float64), np.bincount(patient[confident], minlength=len(names)).astype(np.float64)

    return tuple(
        certify_threshold(target, by_patient, len(p), options.confidence) for target in options.target_errors
    )


def threshold_sequence(target: Probability) -> list[Probability]:
    """Returns the confidences to be tested for a target error, from strict to loose; they depend on nothing else."""
    first = 1 - target / _FIRST
    odds = np.append(np.arange(math.log(first / (1 - first)), 0, -_STEP), 0)
    return [float(level) for level in np.unique(np.round(1 / (1 + np.exp(-odds)), 4))[::-1]]


def shares(wrong: Array, confident: Array) -> Array:
    """Returns the share of wrong patches among the confident ones, of each patient with a confident patch."""
    return np.asarray(wrong[confident > 0] / confident[confident > 0])


def upper_bound(share: Array, confidence: Probability) -> Probability:
    """Returns the upper bound of the mean of values in [0, 1] that independent patients have.

    Args:
        share: A value of each patient, shape (patients,).
        confidence: In at least this share of samples the bound is at or above the true mean.
    """
    from scipy.optimize import brentq

    def excess(mean: float) -> float:
        return float(np.log1p(STAKE * (mean - share) / (1 - mean)).sum() + math.log(1 - confidence))

    if not len(share) or excess(_ALMOST_ONE) <= 0:
        return 1.0
    return float(brentq(excess, float(share.mean()), _ALMOST_ONE, xtol=1e-12)) if share.mean() < 1 else 1.0


def patients_needed(target: Probability, confidence: Probability) -> int:
    """Returns how many patients it takes to certify a target error if no confident patch of theirs is wrong."""
    return math.ceil(math.log(1 / (1 - confidence)) / math.log1p(STAKE * target / (1 - target)))
