"""The policy: calibrator and levels, fitted on val patients and frozen with the model.

A patch counts at a level if bcd is confident enough of it, in either direction. That comparison stands here,
once.

Example:
    >>> is_confident(np.array([0.03, 0.5, 0.95]), 0.95).tolist()
    [True, False, True]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calibration import Calibrator, fit_calibrator


class Policy(BaseModel):
    """How logits become decisions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrator: Calibrator
    levels: tuple[float, ...]


def fit_policy(logits: ArrayLike, labels: ArrayLike, levels: Sequence[float]) -> Policy:
    """Fits the policy on val patches.

    Args:
        logits: One logit a patch, shape (n,).
        labels: 1 = IDC, 0 = none, shape (n,).
        levels: Confidence levels of the threshold table.

    Raises:
        BcdError: There is one class only, or a logit is not finite.
    """
    return Policy(calibrator=fit_calibrator(logits, labels), levels=tuple(levels))


def confidence(probability: ArrayLike) -> NDArray[np.float64]:
    """Returns the probability of the likelier class, in [0.5, 1]."""
    p = np.asarray(probability, dtype=np.float64)
    return np.maximum(p, 1 - p)


def is_confident(probability: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Whether a patch is decided at `level`: the one place where confidence is compared."""
    return confidence(probability) >= level


def is_idc(probability: ArrayLike) -> NDArray[np.bool_]:
    """Whether a patch is called IDC: its calibrated probability is at least one half."""
    return np.asarray(probability, dtype=np.float64) >= 0.5
