"""What a probability says: which class, and whether bcd is confident enough of it, in either direction.

That comparison stands here, once.

Examples:
    >>> is_confident(np.array([0.03, 0.5, 0.95]), 0.95).tolist()
    [True, False, True]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcd.options import Probability


def confidence(probability: ArrayLike) -> NDArray[np.float64]:
    """Returns the probability of the likelier class, in [0.5, 1]."""
    p = np.asarray(probability, dtype=np.float64)
    return np.maximum(p, 1 - p)


def is_confident(probability: ArrayLike, level: Probability) -> NDArray[np.bool_]:
    """Whether a patch is confident at `level`: the one place where confidence is compared."""
    return confidence(probability) >= level


def is_idc(probability: ArrayLike) -> NDArray[np.bool_]:
    """Whether a patch is called IDC: its calibrated probability is at least one half."""
    return np.asarray(probability, dtype=np.float64) >= 0.5
