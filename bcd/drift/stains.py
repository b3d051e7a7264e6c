"""The two stains of a patch: what haematoxylin and eosin take of the light, and how much of each there is.

Macenko, M. et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009. Nothing is
normalised: a patch says little of its slide's stain, and a network trained on normalised patches was no better by
patient folds (docs/explanation/model.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TISSUE_DENSITY = 0.15
"""Mean optical density above which a pixel is tissue."""

LEAST_TISSUE = 0.2
"""Share of a patch that must be tissue; below it, the patch says too little."""

LEAST_ANGLE = 0.15
"""Angle between the two stains, in radians, below which a patch has one stain only."""

_DENSITY = -np.log((np.arange(256) + 1) / 256)


class Stains(NamedTuple):
    """What Macenko's method finds in a patch.

    Attributes:
        vectors: Optical density of haematoxylin and eosin in red, green and blue, (2, 3), each of length 1.
        strength: How much of each the strongest pixels have (99th percentile), (2,).
    """

    vectors: Floats
    strength: Floats


def find_stains(patch: NDArray[np.uint8]) -> Stains | None:
    """Returns the two stains of a patch (height, width, 3), or None where it says too little of them."""
    density = _DENSITY[patch].reshape(-1, 3)
    tissue = density[density.mean(-1) > TISSUE_DENSITY]
    if len(tissue) < LEAST_TISSUE * len(density):
        return None
    # The plane of the two stains: the two directions in which tissue differs most.
    _, directions = np.linalg.eigh(np.cov(tissue, rowvar=False))
    plane = directions[:, :0:-1].T
    plane *= np.where(plane.sum(1, keepdims=True) < 0, -1, 1)
    first, second = plane @ tissue.T
    low, high = np.percentile(np.arctan2(second, first), (1, 99))
    if high - low < LEAST_ANGLE:
        return None
    vectors = np.array([[np.cos(angle), np.sin(angle)] for angle in (low, high)]) @ plane
    if vectors[0, 0] < vectors[1, 0]:  # haematoxylin is the one that takes more of the red
        vectors = vectors[::-1]
    amounts = tissue @ np.linalg.pinv(vectors)  # of each stain in every pixel, by least squares
    strength = np.percentile(amounts, 99, axis=0)
    return Stains(vectors, strength) if strength.min() > 0 else None
