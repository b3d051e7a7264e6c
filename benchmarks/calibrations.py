"""Calibrations beside the deployed one, Platt's: none, isotonic, and beta (Kull et al., AISTATS 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from bcd.evaluation.policy.calibration import fit_calibrator, platt_targets, sigmoid

Apply = Callable[[ArrayLike], NDArray[np.float64]]
"""Returns the probability of IDC of each logit."""


def fit_beta(logits: ArrayLike, labels: ArrayLike) -> Apply:
    """Fits log odds of IDC = a log p - b log(1 - p) + c, a and b at least zero, to Platt's targets."""
    target = platt_targets(logits, labels)
    design = _beta_design(logits)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = design @ at
        return float(np.mean(np.logaddexp(0, z) - target * z)), design.T @ (sigmoid(z) - target) / len(z)

    fitted = minimize(loss, [1.0, 1.0, 0.0], jac=True, bounds=[(0, None), (0, None), (None, None)], tol=1e-12)
    return lambda x: sigmoid(_beta_design(x) @ fitted.x)


def fit_isotonic(logits: ArrayLike, labels: ArrayLike) -> Apply:
    """Fits a rising staircase by least squares to Platt's targets, which keep it off zero and one."""
    target = platt_targets(logits, labels)
    staircase = IsotonicRegression(out_of_bounds="clip").fit(np.asarray(logits, np.float64), target)
    return lambda x: np.asarray(staircase.predict(np.asarray(x, np.float64)))


FITS: dict[str, Callable[[ArrayLike, ArrayLike], Apply]] = {
    "none (the network's own)": lambda _logits, _labels: sigmoid,
    "Platt: slope and intercept (deployed)": lambda logits, labels: fit_calibrator(logits, labels).apply,
    "isotonic": fit_isotonic,
    "beta": fit_beta,
}
"""Every kind of calibration that is measured, by the name that readers see."""


def _beta_design(logits: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(logits, dtype=np.float64)
    return np.stack([-np.logaddexp(0, -x), np.logaddexp(0, x), np.ones_like(x)], axis=-1)
