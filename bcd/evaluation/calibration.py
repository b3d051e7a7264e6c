"""Calibration: slope and intercept that turn a network's logit into a probability (Platt scaling).

Example:
    >>> calibrator = Calibrator(slope=2.0, intercept=0.0)
    >>> calibrator.apply(np.array([0.0])).tolist()
    [0.5]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.errors import BcdError, InsufficientEvidenceError

_STEPS = 100
_RIDGE = 1e-9  # settles the slope where all logits are equal; too small to be felt elsewhere


class Calibrator(BaseModel):
    """Probability of IDC = sigmoid(slope * logit + intercept)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: float
    intercept: float

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Returns the calibrated probability of IDC of each logit, in double precision."""
        return sigmoid(self.slope * np.asarray(logits, dtype=np.float64) + self.intercept)


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """Returns 1 / (1 + exp(-logit)), without overflow, in double precision."""
    from scipy.special import expit

    return np.asarray(expit(np.asarray(logits, dtype=np.float64)))


def fit_calibrator(logits: ArrayLike, labels: ArrayLike) -> Calibrator:
    """Fits slope and intercept by maximum likelihood, by Newton's method with halved steps.

    The targets are Platt's: (n1 + 1) / (n1 + 2) for a positive and 1 / (n0 + 2) for a negative patch, which
    keeps the fit finite where the logits separate the classes (Platt 1999; Lin, Lin and Weng 2007).

    Args:
        logits: One logit a patch, shape (n,); of val patients, that is, not of those trained on.
        labels: 1 = IDC, 0 = none, shape (n,).

    Raises:
        InsufficientEvidenceError: There is one class only.
        BcdError: A logit is not finite.
    """
    x = np.asarray(logits, dtype=np.float64)
    positive = np.asarray(labels) == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if n1 == 0 or n0 == 0:
        missing = "IDC" if n1 == 0 else "no IDC"
        raise InsufficientEvidenceError(
            f"The calibrator cannot be fitted: none of the {n0 + n1} val patches is labelled {missing}.",
            "Admit labelled patients of both classes, so that val has both.",
        )
    if not np.isfinite(x).all():
        raise BcdError(
            f"{int((~np.isfinite(x)).sum())} logits are not finite.",
            "Train again with a smaller learning rate.",
        )
    target = np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    slope, intercept = _maximise(np.stack([x, np.ones_like(x)], axis=1), target)
    return Calibrator(slope=slope, intercept=intercept)


def _maximise(design: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float]:
    def loss(at: NDArray[np.float64]) -> float:
        z = design @ at
        return float(np.sum(np.logaddexp(0, z) - target * z) + _RIDGE * at @ at)

    at = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    for _ in range(_STEPS):
        p = sigmoid(design @ at)
        gradient = design.T @ (p - target) + 2 * _RIDGE * at
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + 2 * _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(at - step) > loss(at) and np.abs(step).max() > 1e-12:
            step = step / 2
        at = at - step
        if np.abs(step).max() < 1e-10:
            break
    return float(at[0]), float(at[1])
