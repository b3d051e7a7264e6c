"""What is measured of patches: of their pixels, of their stains, and of their scores.

Sharpness is a ratio of differences at one pixel and at two, so that it says how fine the detail is and not how strong
the stain. The same of colour alone falls with JPEG compression, which keeps less of colour than of light.

Examples:
    >>> pixels = np.full((2, 50, 50, 3), 255, np.uint8)
    >>> [float(value) for value in measure_patches(pixels)["tissue"]]
    [0.0, 0.0]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcd.drift.stains import TISSUE_DENSITY, Stains
from bcd.evaluation.calls import confidence, is_confident

Floats = NDArray[np.float64]

ABSTAINS = 0.95
"""Confidence below which a patch counts as abstained on."""

PICTURE = {
    "density_red": "optical density in red",
    "density_green": "optical density in green",
    "density_blue": "optical density in blue",
    "tissue": "share of tissue",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "colour_sharpness": "sharpness of colour",
    "colour_contrast": "contrast of colour",
    "darkest": "light in the darkest pixels",
    "brightest": "light in the brightest pixels",
    "haematoxylin_red": "red in haematoxylin's colour",
    "haematoxylin_blue": "blue in haematoxylin's colour",
    "haematoxylin": "strength of haematoxylin",
    "eosin_red": "red in eosin's colour",
    "eosin_blue": "blue in eosin's colour",
    "eosin": "strength of eosin",
}
"""The statistics of pictures that are compared, in words."""

SCORE = {
    "logit": "logit",
    "probability": "probability of IDC",
    "confidence": "confidence",
    "abstained": f"abstention at {100 * ABSTAINS:g} %",
}
"""The statistics of scores that are compared, in words."""

_CHUNK = 512  # patches; their optical density takes 15 MB
_DENSITY = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)
_CHANNELS = ("red", "green", "blue")
_EXTREMES = (1, 99)  # percent of a patch's pixels
_LEAST = 0.1  # difference of neighbouring pixels by which a ratio is divided at least


def measure_patches(pixels: NDArray[np.uint8]) -> dict[str, Floats]:
    """Measures raw patches.

    Args:
        pixels: RGB patches, uint8, (n, 50, 50, 3).

    Returns:
        By name, one value a patch, (n,): `red`, `green`, `blue` (mean, 0 to 255), `density_red`, … (mean optical
        density, natural logarithm), `tissue` (share of pixels whose mean density is above `TISSUE_DENSITY`),
        `contrast` (mean absolute difference of neighbouring pixels in green), `sharpness` (that, divided by the
        difference at two pixels), `colour_sharpness` (the same of red less blue), `colour_contrast` (difference of
        neighbours in red less blue, divided by `contrast`), `darkest` and `brightest` (1st and 99th percentile of
        green).
    """
    parts = [_measure(pixels[start : start + _CHUNK]) for start in range(0, max(len(pixels), 1), _CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(pixels: NDArray[np.uint8]) -> dict[str, Floats]:
    dense = _DENSITY[pixels]
    values = pixels.astype(np.int16)
    green, colour = values[..., 1], values[..., 0] - values[..., 2]
    contrast, colours = _differ(green, 1), _differ(colour, 1)
    darkest, brightest = np.percentile(pixels[..., 1], _EXTREMES, axis=(1, 2))
    named: dict[str, Floats] = dict(zip(_CHANNELS, pixels.mean((1, 2)).T, strict=True))
    densities = dense.mean((1, 2), dtype=np.float64).T
    named |= {f"density_{name}": density for name, density in zip(_CHANNELS, densities, strict=True)}
    return named | {
        "tissue": np.asarray((dense.mean(-1) > TISSUE_DENSITY).mean((1, 2)), np.float64),
        "contrast": contrast,
        "sharpness": contrast / np.maximum(_differ(green, 2), _LEAST),
        "colour_sharpness": colours / np.maximum(_differ(colour, 2), _LEAST),
        "colour_contrast": colours / np.maximum(contrast, _LEAST),
        "darkest": darkest,
        "brightest": brightest,
    }


def _differ(values: NDArray[np.int16], step: int) -> NDArray[np.float64]:
    """Returns the mean absolute difference of pixels `step` apart, along rows and columns, of each patch."""
    down = np.abs(values[:, step:] - values[:, :-step]).mean((1, 2))
    across = np.abs(values[:, :, step:] - values[:, :, :-step]).mean((1, 2))
    return np.asarray((down + across) / 2)


def name_stains(stains: Stains | None) -> dict[str, float]:
    """Returns what is compared of a patient's stains, by name; nothing where the patches say too little of them."""
    if stains is None:
        return {}
    (red, _, blue), (eosin_red, _, eosin_blue) = stains.vectors.tolist()
    strength, eosin_strength = np.log(stains.strength).tolist()
    return {
        "haematoxylin_red": red,
        "haematoxylin_blue": blue,
        "haematoxylin": strength,
        "eosin_red": eosin_red,
        "eosin_blue": eosin_blue,
        "eosin": eosin_strength,
    }


def measure_scores(logits: ArrayLike, probabilities: ArrayLike) -> dict[str, Floats]:
    """Returns what is compared of scores, (n,) each, by name: one value a patch."""
    probability = np.asarray(probabilities, np.float64)
    return {
        "logit": np.asarray(logits, np.float64),
        "probability": probability,
        "confidence": confidence(probability),
        "abstained": (~is_confident(probability, ABSTAINS)).astype(np.float64),
    }
