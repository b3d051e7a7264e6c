"""The policy: calibrator, levels and certified thresholds, fitted on val patients and frozen with the model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import Calibrator, cross_fit_or_none, fit_calibrator
from bcd.evaluation.policy.certified import CertifiedThreshold, certify_threshold
from bcd.options import Probability


class Policy(BaseModel):
    """How logits become decisions.

    Attributes:
        calibrator: Fitted on all val patients.
        levels: Confidence levels of the threshold table.
        certified: The threshold of each target error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrator: Calibrator
    levels: tuple[float, ...]
    certified: tuple[CertifiedThreshold, ...] = ()


def fit_policy(logits: ArrayLike, labels: ArrayLike, patients: ArrayLike, options: EvaluateOptions) -> Policy:
    """Fits the policy on val patches.

    Args:
        logits: One logit a patch, shape (n,).
        labels: 1 = IDC, 0 = none, shape (n,).
        patients: Whose each patch is, hospital included, shape (n,).
        options: Levels, target errors, and how thresholds are certified.

    Raises:
        BcdError: There is one class only, or a logit is not finite.
    """
    return Policy(
        calibrator=fit_calibrator(logits, labels),
        levels=tuple(options.levels),
        certified=_certify(logits, labels, patients, options),
    )


def _certify(
    logits: ArrayLike, labels: ArrayLike, patients: ArrayLike, options: EvaluateOptions
) -> tuple[CertifiedThreshold, ...]:
    names, number = np.unique(np.asarray(patients), return_inverse=True)
    patient = number.reshape(-1)
    p = cross_fit_or_none(logits, labels, patients, folds=options.folds)
    if p is None:
        p = np.full(len(patient), np.nan)  # no patch has an honest score, so that none is confident
    wrong = is_idc(p) != (np.asarray(labels) == 1)

    def by_patient(level: Probability) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        confident = is_confident(p, level)
        errors = np.bincount(patient[confident & wrong], minlength=len(names))
        return errors.astype(np.float64), np.bincount(patient[confident], minlength=len(names)).astype(np.float64)

    return tuple(
        certify_threshold(target, by_patient, len(p), options.confidence) for target in options.target_errors
    )
