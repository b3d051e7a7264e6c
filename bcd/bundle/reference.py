"""Reference statistics of what a bundle was trained and calibrated on: what a later delivery is compared with.

They are distributions over patches and, since patches of one patient resemble each other, over patients; and the
profiles of patients, with which `bcd.drift` compares. Nothing in them is a patch or names a patient.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.drift.measure import PICTURE, SCORE, measure_patches, measure_scores, name_stains
from bcd.drift.profiles import STAIN_PATCHES, Profiles, choose_evenly, find_patient_stains
from bcd.drift.stains import Stains
from bcd.drift.state import Known
from bcd.progress import track_progress

Floats = NDArray[np.float64]

ReadPatches = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Takes row numbers; returns those raw patches, (n, 50, 50, 3)."""

QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Shares at which a distribution is kept."""

LOGIT_EDGES = tuple(float(edge) for edge in range(-10, 11))
PROBABILITY_EDGES = tuple(round(0.05 * edge, 2) for edge in range(1, 20))
"""Inner edges of the histograms; the first and the last bin are open."""

_CHUNK = 4096  # patches that are read at a time


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
        profiles: Of the val patients, to compare with.
    """

    logit: Feature
    logits: tuple[int, ...]
    probabilities: tuple[int, ...]
    profiles: Profiles


class ReferenceStatistics(_Statistics):
    """What a bundle was trained and calibrated on.

    Attributes:
        features: Of the train patches: what `measure_patches` measures, by name.
        patch_counts: Train patches of each train patient.
        stains: Stains of the train patients; None where no patient's patches say enough.
        scores: Scores of the val patches.
        profiles: Of the pictures of the train patients, to compare with.
    """

    features: dict[str, Feature]
    patch_counts: Distribution
    stains: StainReference | None
    scores: ScoreReference
    profiles: Profiles

    @property
    def known(self) -> Known:
        """The patients with whom slides and deliveries are compared."""
        return Known(pictures=self.profiles, scores=self.scores.profiles)


def describe_training(
    read: ReadPatches, patients: ArrayLike, scores: ScoreReference, *, chunk: int = _CHUNK
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
            parts.append(measure_patches(read(rows[start : start + chunk])))
            advance(len(rows[start : start + chunk]))
        features = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        stains = _find_stains(read, patient, advance)
    named = [name_stains(each) for each in stains]
    whole = {name: [each.get(name, np.nan) for each in named] for name in PICTURE if name not in features}
    return ReferenceStatistics(
        features={name: Feature.of(values, patient) for name, values in features.items()},
        patch_counts=Distribution.of(np.bincount(patient)),
        stains=_describe_stains([each for each in stains if each is not None]),
        scores=scores,
        profiles=Profiles.of(list(PICTURE), features, patients, **whole),
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
        logits=_count_reference_bins(logits, LOGIT_EDGES),
        probabilities=_count_reference_bins(probabilities, PROBABILITY_EDGES),
        profiles=Profiles.of(list(SCORE), measure_scores(logits, probabilities), patients),
    )


def _count_reference_bins(values: ArrayLike, edges: tuple[float, ...]) -> tuple[int, ...]:
    """Counts values in the bins between edges and in the two open ones outside; a value on an edge is above it."""
    bins = np.digitize(np.asarray(values, dtype=np.float64), edges)
    return tuple(int(n) for n in np.bincount(bins, minlength=len(edges) + 1))


def _find_stains(
    read: ReadPatches, patient: NDArray[np.int64], advance: Callable[[float], None]
) -> list[Stains | None]:
    """Finds the stains of each patient, in the order of their numbers."""
    found = []
    order = np.argsort(patient, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(patient[order])) + 1):
        found.append(find_patient_stains(read(rows[choose_evenly(len(rows), STAIN_PATCHES)])))
        advance(1)
    return found


def _describe_stains(found: list[Stains]) -> StainReference | None:
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
