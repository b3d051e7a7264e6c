"""Stain normalisation of single patches: an ablation of the preparation, off by default.

A network sees a patch alone, in training as in scoring, so the stain is estimated from that patch alone. That is the
weak point: a patch of fat or of one stain only says little of its slide's stain, and normalising it can blow up noise
or wipe out what tells a tumour. Patches that say too little stay as they are, and no gain is more than MOST_GAIN;
measure whether it helps before using it.

Macenko, M. et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
Reinhard, E. et al., "Color transfer between images", IEEE Computer Graphics and Applications 21 (2001); here in
CIELAB, as is usual in histology, and over tissue only.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TISSUE_DENSITY = 0.15
"""Mean optical density above which a pixel is tissue."""

LEAST_TISSUE = 0.2
"""Share of a patch that must be tissue; below it, the patch stays as it is."""

LEAST_ANGLE = 0.15
"""Angle between the two stains, in radians, below which a patch has one stain only and stays as it is."""

MOST_GAIN = 2.0
"""The most that a stain's strength, or a colour's spread, is multiplied or divided by."""

_DENSITY = -np.log((np.arange(256) + 1) / 256)


class Stains(NamedTuple):
    """What Macenko's method finds in a patch.

    Attributes:
        vectors: Optical density of haematoxylin and eosin in red, green and blue, (2, 3), each of length 1.
        strength: How much of each the strongest pixels have (99th percentile), (2,).
    """

    vectors: Floats
    strength: Floats


class Colour(NamedTuple):
    """What Reinhard's method finds in a patch: mean (3,) and standard deviation (3,) of tissue in CIELAB."""

    mean: Floats
    deviation: Floats


REFERENCE_STAINS = Stains(
    vectors=np.array([[0.4985, 0.7489, 0.4365], [0.1925, 0.8324, 0.5197]]), strength=np.array([1.3675, 1.0845])
)
REFERENCE_COLOUR = Colour(mean=np.array([63.762, 27.502, -7.219]), deviation=np.array([9.312, 7.439, 4.243]))
"""Medians over patients of medians over their patches: 82 published train patients of the public set, the first
twenty full-size patches of each in the order of their names; `tests/preprocessing/test_stains.py` finds them again.
"""


def normalise_stain(pixels: NDArray[np.uint8], method: Literal["reinhard", "macenko"]) -> NDArray[np.uint8]:
    """Brings the stain of each patch to the reference, each by itself.

    Args:
        pixels: Raw patches, RGB, (n, 50, 50, 3) uint8.
        method: Whose.

    Returns:
        Patches of the same shape; those that say too little of their stain are as they were.
    """
    one = {"macenko": _apply_macenko, "reinhard": _apply_reinhard}[method]
    normalised = np.empty(pixels.shape, np.uint8)
    for source, target in zip(pixels, normalised, strict=True):
        target[...] = one(source)
    return normalised


def find_stains(patch: NDArray[np.uint8]) -> Stains | None:
    """Returns the two stains of a patch (50, 50, 3), or None where it says too little of them."""
    density = _DENSITY[patch].reshape(-1, 3)
    tissue = density[_is_tissue(density)]
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
    strength = np.percentile(_amounts(vectors, tissue), 99, axis=0)
    return Stains(vectors, strength) if strength.min() > 0 else None


def find_colour(patch: NDArray[np.uint8]) -> Colour | None:
    """Returns the colour of the tissue of a patch (50, 50, 3), or None where there is too little."""
    density = _DENSITY[patch].reshape(-1, 3)
    is_tissue = _is_tissue(density)
    if is_tissue.mean() < LEAST_TISSUE:
        return None
    tissue = _to_lab(patch).reshape(-1, 3)[is_tissue].astype(np.float64)
    return Colour(tissue.mean(0), tissue.std(0))


def _apply_macenko(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found = find_stains(patch)
    if found is None:
        return patch
    amounts = _amounts(found.vectors, _DENSITY[patch].reshape(-1, 3))
    amounts *= _bounded(REFERENCE_STAINS.strength / found.strength)
    light = np.exp(-amounts @ REFERENCE_STAINS.vectors) * 256 - 1
    return _to_bytes(light).reshape(patch.shape)


def _apply_reinhard(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    found = find_colour(patch)
    if found is None:
        return patch
    gain = _bounded(REFERENCE_COLOUR.deviation / np.maximum(found.deviation, 1e-6))
    lab = (_to_lab(patch) - found.mean) * gain + REFERENCE_COLOUR.mean
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_Lab2RGB)
    normalised = _to_bytes(rgb * 255)
    return np.asarray(np.where(_is_tissue(_DENSITY[patch])[..., None], normalised, patch))  # glass stays white


def _is_tissue(density: Floats) -> NDArray[np.bool_]:
    return np.asarray(density.mean(-1) > TISSUE_DENSITY)


def _amounts(vectors: Floats, density: Floats) -> Floats:
    """Returns how much of each stain every pixel has, (n, 2), by least squares."""
    return np.asarray(density @ np.linalg.pinv(vectors))


def _to_lab(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2Lab))


def _to_bytes(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)


def _bounded(gain: Floats) -> Floats:
    return np.clip(gain, 1 / MOST_GAIN, MOST_GAIN)
