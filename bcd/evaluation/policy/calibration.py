"""Calibration: slope and intercept that turn a network's logit into a probability (Platt scaling).

The deployed calibrator is fitted on all val patients. What is said about these very patients, such as the certified
thresholds, is said of cross-fitted probabilities: each patient's come from a calibrator that never saw the patient.

Examples:
    >>> calibrator = Calibrator(slope=2.0, intercept=0.0)
    >>> calibrator.apply(np.array([0.0])).tolist()
    [0.5]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.evaluation.folds import deal_evaluation_folds

_LOOSE = 1e9  # a penalty that settles the slope where all logits are equal, too weak to be felt elsewhere


class Calibration(Protocol):
    """Turns logits into probabilities of IDC."""

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns the probability of IDC of each logit."""
        ...


Fit = Callable[[ArrayLike, ArrayLike], Calibration]
"""Fits a calibration to logits and labels (1 = IDC), both of shape (n,)."""


class Calibrator(BaseModel):
    """Probability of IDC = sigmoid(slope * logit + intercept)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: float
    intercept: float

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns the calibrated probability of IDC of each logit, in double precision."""
        return sigmoid(self.scale(logits))

    def scale(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns the calibrated logit of each logit, in double precision."""
        return self.slope * np.asarray(logits, dtype=np.float64) + self.intercept


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """Returns 1 / (1 + exp(-logit)), without overflow, in double precision."""
    from scipy.special import expit

    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))


def fit_calibrator(logits: ArrayLike, labels: ArrayLike) -> Calibrator:
    """Fits slope and intercept by maximum likelihood.

    The targets are Platt's: (n1 + 1) / (n1 + 2) for a positive and 1 / (n0 + 2) for a negative patch, which
    keeps the fit finite where the logits separate the classes (Platt 1999; Lin, Lin and Weng 2007). Of equal logits
    the slope is 0, and every probability the share of IDC.

    Args:
        logits: One logit a patch, shape (n,); of val patients, that is, not of those trained on.
        labels: 1 = IDC, 0 = none, shape (n,).

    Raises:
        InsufficientEvidenceError: There is one class only.
        BcdError: A logit is not finite.
    """
    x = np.asarray(logits, dtype=np.float64)
    target = platt_targets(x, labels)
    if np.ptp(x) == 0:  # nothing is ranked: any slope fits as well, and one that was made up would rank others
        return Calibrator(slope=0.0, intercept=float(np.log(target.mean() / (1 - target.mean()))))
    (slope,), intercept = maximise_likelihood(x[:, None], target, np.ones(len(x)))
    return Calibrator(slope=slope, intercept=intercept)


def maximise_likelihood(
    features: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[list[float], float]:
    """Fits a logistic regression to shares.

    Args:
        features: Shape (n, k).
        targets: The share of IDC that each row stands for, shape (n,).
        weights: How much it counts, shape (n,).

    Returns:
        The k coefficients, and the intercept.
    """
    from sklearn.linear_model import LogisticRegression

    # A row counts twice, as IDC by its target and as none by the rest: a likelihood of shares.
    fitted = LogisticRegression(C=_LOOSE, solver="newton-cholesky", tol=1e-10).fit(
        np.tile(features, (2, 1)),
        np.repeat([1, 0], len(features)),
        sample_weight=np.concatenate([weights * targets, weights * (1 - targets)]),
    )
    return [float(each) for each in fitted.coef_[0]], float(fitted.intercept_[0])


def cross_fit(
    logits: ArrayLike,
    labels: ArrayLike,
    patients: ArrayLike,
    *,
    fit: Fit = fit_calibrator,
    folds: int = 10,
) -> NDArray[np.float64]:
    """Calibrates every patient with a calibration that was fitted to patients of the other folds only.

    Args:
        logits: One logit a patch, shape (n,).
        labels: 1 = IDC, 0 = none, shape (n,).
        patients: Whose each patch is, hospital included, shape (n,).
        fit: What is fitted.
        folds: Folds that the patients are dealt to.

    Returns:
        A probability of IDC of each patch, shape (n,).

    Raises:
        InsufficientEvidenceError: There is one patient only, or all patches of a class are in one fold.
        BcdError: A logit is not finite.
    """
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    fold = deal_evaluation_folds(patients, folds)
    probability = np.empty(len(x))
    for held_out in np.unique(fold):
        mine = fold == held_out
        probability[mine] = fit(x[~mine], y[~mine]).apply(x[mine])
    return probability


def cross_fit_or_none(
    logits: ArrayLike, labels: ArrayLike, patients: ArrayLike, *, fit: Fit = fit_calibrator, folds: int
) -> NDArray[np.float64] | None:
    """As `cross_fit`; None where there is one patient only, or all patches of a class are in one fold."""
    try:
        return cross_fit(logits, labels, patients, fit=fit, folds=folds)
    except InsufficientEvidenceError:
        return None


def platt_targets(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Returns Platt's targets: (n1 + 1) / (n1 + 2) for a positive and 1 / (n0 + 2) for a negative patch.

    Raises:
        InsufficientEvidenceError: There is one class only.
        BcdError: A logit is not finite.
    """
    x, positive = np.asarray(logits, dtype=np.float64), np.asarray(labels) == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if n1 == 0 or n0 == 0:
        missing = "IDC" if n1 == 0 else "no IDC"
        raise InsufficientEvidenceError(
            f"The calibrator cannot be fitted: none of the {n0 + n1} val patches is labelled {missing}.",
            "Admit labelled patches of both classes, so that val has both.",
        )
    if not np.isfinite(x).all():
        raise BcdError(
            f"{int((~np.isfinite(x)).sum())} logits are not finite.",
            "Train again with a smaller learning rate.",
        )
    return np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
