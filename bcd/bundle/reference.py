"""Reference statistics of what a bundle was trained and calibrated on: what a later delivery is compared with.

They are distributions over patches and, since patches of one patient resemble each other, over patients. Nothing in
them is a patch or names a patient.

Examples:
    >>> pixels = np.full((2, 50, 50, 3), 255, np.uint8)
    >>> [float(value) for value in measure_patches(pixels)["tissue"]]
    [0.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.preprocessing.stains import TISSUE_DENSITY, find_stains
from bcd.progress import track_progress

Floats = NDArray[np.float64]

ReadPatches = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Takes row numbers; returns those raw patches, (n, 50, 50, 3)."""

QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Shares at which a distribution is kept."""

LOGIT_EDGES = tuple(float(edge) for edge in range(-10, 11))
PROBABILITY_EDGES = tuple(round(0.05 * edge, 2) for edge in range(1, 20))
"""Inner edges of the histograms; the first and the last bin are open."""

_CHUNK = 512  # patches; their optical density takes 15 MB
_STAIN_PATCHES = 16  # of a patient: enough pixels for its stains, and a patient of 1,600 patches takes no longer
_DENSITY = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)
_CHANNELS = ("red", "green", "blue")


class _Statistics(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Distribution(_Statistics):
    """How values are distributed.

    Attributes:
        n: Number of values.
        mean: Their mean.
        deviation: Their standard deviation, of the sample; 0 for one value.
        quantiles: Their quantiles at `QUANTILES`.
    """

    n: int
    mean: float
    deviation: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: ArrayLike) -> Distribution:
        """Describes at least one value."""
        v = np.asarray(values, dtype=np.float64)
        deviation = float(v.std(ddof=1)) if len(v) > 1 else 0.0
        quantiles = tuple(float(q) for q in np.quantile(v, QUANTILES))
        return cls(n=len(v), mean=float(v.mean()), deviation=deviation, quantiles=quantiles)


class Feature(_Statistics):
    """One value a patch: its distribution over patches, and that of the patients' means over patients."""

    patches: Distribution
    patients: Distribution

    @classmethod
    def of(cls, values: ArrayLike, patient: NDArray[np.int64]) -> Feature:
        """Describes values (n,) of patches whose patients are numbered from 0, every number in use."""
        v = np.asarray(values, dtype=np.float64)
        means = np.bincount(patient, weights=v) / np.bincount(patient)
        return cls(patches=Distribution.of(v), patients=Distribution.of(means))


class StainReference(_Statistics):
    """The two stains by Macenko's method, over the patients whose patches say enough of them.

    Attributes:
        haematoxylin: Its optical density in red, green and blue, of length 1: median over patients.
        eosin: The same of eosin.
        strength: Distribution over patients of how much of each the strongest pixels have (99th percentile).
        angle: Distribution over patients of the angle between the two, in degrees.
    """

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    strength: dict[str, Distribution]
    angle: Distribution


class ScoreReference(_Statistics):
    """Scores of the val patients, who fitted the calibrator.

    Attributes:
        logit: Distribution of the logits.
        logits: Patches in each bin between `LOGIT_EDGES`.
        probabilities: Patches in each bin between `PROBABILITY_EDGES`, of the calibrated probability.
    """

    logit: Feature
    logits: tuple[int, ...]
    probabilities: tuple[int, ...]


class ReferenceStatistics(_Statistics):
    """What a bundle was trained and calibrated on.

    Attributes:
        features: Of the train patches: what `measure_reference_patches` measures, by name.
        patch_counts: Train patches of each train patient.
        stains: Stains of the train patients; None where no patient's patches say enough.
        scores: Scores of the val patches.
    """

    features: dict[str, Feature]
    patch_counts: Distribution
    stains: StainReference | None
    scores: ScoreReference


def measure_reference_patches(pixels: NDArray[np.uint8]) -> dict[str, Floats]:
    """Measures raw patches.

    Args:
        pixels: RGB patches, uint8, (n, 50, 50, 3).

    Returns:
        By name, one value a patch, (n,): `red`, `green`, `blue` (mean, 0 to 255), `density_red`, … (mean optical
        density, natural logarithm), `tissue` (share of pixels whose mean density is above `TISSUE_DENSITY`) and
        `contrast` (mean absolute difference of neighbouring pixels in green: it falls where a slide is out of focus).
    """
    n = len(pixels)
    light, density, tissue, contrast = np.empty((n, 3)), np.empty((n, 3)), np.empty(n), np.empty(n)
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        chunk = pixels[rows]
        dense = _DENSITY[chunk]
        light[rows], density[rows] = chunk.mean((1, 2)), dense.mean((1, 2), dtype=np.float64)
        tissue[rows] = (dense.mean(-1) > TISSUE_DENSITY).mean((1, 2))
        green = chunk[..., 1].astype(np.int16)
        contrast[rows] = np.abs(np.diff(green, axis=1)).mean((1, 2)) + np.abs(np.diff(green, axis=2)).mean((1, 2))
    named = dict(zip(_CHANNELS, light.T, strict=True))
    named |= {f"density_{name}": values for name, values in zip(_CHANNELS, density.T, strict=True)}
    return named | {"tissue": tissue, "contrast": contrast / 2}


def describe_training(
    read: ReadPatches, patients: ArrayLike, scores: ScoreReference, *, chunk: int = 8 * _CHUNK
) -> ReferenceStatistics:
    """Describes the patches that a bundle was trained on, a few at a time.

    Args:
        read: Reads train patches.
        patients: Whose each train patch is, hospital included, (n,); n is at least 1.
        scores: What `measure_reference_scores` says of the val patches.
        chunk: Patches at a time.
    """
    names, patient = np.unique(np.asarray(patients), return_inverse=True)
    rows = np.arange(len(patient))
    with track_progress("Describing what it was trained on", total=len(rows) + len(names)) as advance:
        parts = []
        for start in range(0, len(rows), chunk):
            parts.append(measure_reference_patches(read(rows[start : start + chunk])))
            advance(len(rows[start : start + chunk]))
        features = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        stains = _describe_stains(read, patient, advance)
    return ReferenceStatistics(
        features={name: Feature.of(values, patient) for name, values in features.items()},
        patch_counts=Distribution.of(np.bincount(patient)),
        stains=stains,
        scores=scores,
    )


def measure_reference_scores(logits: ArrayLike, probabilities: ArrayLike, patients: ArrayLike) -> ScoreReference:
    """Describes the scores of val patches.

    Args:
        logits: One a patch, (n,).
        probabilities: Calibrated, (n,).
        patients: Whose each patch is, hospital included, (n,).
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    return ScoreReference(
        logit=Feature.of(logits, patient),
        logits=_count(logits, LOGIT_EDGES),
        probabilities=_count(probabilities, PROBABILITY_EDGES),
    )


def _count(values: ArrayLike, edges: tuple[float, ...]) -> tuple[int, ...]:
    """Counts values in the bins between edges and in the two open ones outside; a value on an edge is above it."""
    bins = np.digitize(np.asarray(values, dtype=np.float64), edges)
    return tuple(int(n) for n in np.bincount(bins, minlength=len(edges) + 1))


def _describe_stains(
    read: ReadPatches, patient: NDArray[np.int64], advance: Callable[[float], None]
) -> StainReference | None:
    found = []
    order = np.argsort(patient, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(patient[order])) + 1):
        even = rows[np.linspace(0, len(rows) - 1, min(len(rows), _STAIN_PATCHES)).astype(np.int64)]
        # Patches below one another are one large patch to Macenko's method, which looks at colours alone.
        stains = find_stains(np.concatenate(read(even)))
        found += [] if stains is None else [stains]
        advance(1)
    if not found:
        return None
    vectors = np.stack([stains.vectors for stains in found])
    strength = np.stack([stains.strength for stains in found])
    middle = np.median(vectors, axis=0)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    haematoxylin, eosin = ((float(red), float(green), float(blue)) for red, green, blue in middle)
    between = np.degrees(np.arccos(np.clip((vectors[:, 0] * vectors[:, 1]).sum(1), -1, 1)))
    return StainReference(
        haematoxylin=haematoxylin,
        eosin=eosin,
        strength={
            name: Distribution.of(values) for name, values in zip(("haematoxylin", "eosin"), strength.T, strict=True)
        },
        angle=Distribution.of(between),
    )
