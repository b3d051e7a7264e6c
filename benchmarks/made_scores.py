"""Made-up scores of patients whose truth is known: what intervals, calibrators, thresholds and the gate are tried on.

Patients are clusters, as in the public set: sizes differ by three orders of magnitude, and every patient has a
prevalence, a shift of its scores and a slope of its own. A patch of label y of patient i has the evidence

    e = slope_i * (separation * (y - 1/2) + noise) + shift_i,

with standard normal noise, normal shifts, log-normal slopes and logit-normal prevalences. The truth is that of
infinitely many such patients (a patient's size has nothing to do with its effects), by quadrature and not by
drawing.

Examples:
    >>> scores = draw_synthetic_scores(ScoreModel(), 49, seed=1)
    >>> round(compute_true_metric(ScoreModel(), "auroc"), 3)
    0.96
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

# fmt: off
PATIENT_SIZES = (
    2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5, 6, 6, 7, 7, 7, 7, 7, 8, 9, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 12, 12, 12,
    14, 14, 14, 14, 14, 14, 15, 15, 17, 17, 17, 17, 18, 18, 18, 19, 19, 20, 20, 20, 20, 20, 21, 21, 22, 22, 22,
    22, 22, 22, 22, 22, 22, 23, 23, 23, 24, 24, 24, 24, 24, 25, 25, 26, 26, 26, 27, 27, 27, 27, 27, 27, 27, 27,
    27, 28, 28, 28, 28, 28, 28, 29, 29, 29, 29, 29, 30, 30, 30, 31, 31, 31, 32, 34, 34, 34, 35, 36, 36, 36, 36,
    37, 37, 38, 38, 39, 39, 40, 40, 40, 41, 41, 41, 43, 43, 43, 44, 44, 45, 46, 46, 47, 47, 48, 48, 48, 48, 49,
    50, 51, 51, 51, 51, 52, 52, 52, 53, 54, 54, 54, 55, 55, 57, 57, 58, 58, 59, 59, 60, 60, 61, 62, 62, 62, 63,
    63, 64, 64, 64, 65, 66, 66, 67, 67, 68, 68, 69, 70, 70, 70, 71, 71, 72, 72, 75, 76, 78, 78, 80, 81, 83, 84,
    86, 87, 88, 90, 91, 92, 93, 95, 96, 96, 110, 111, 112, 114, 123, 130, 131, 144, 149, 194, 205, 207, 211, 217,
    240, 326, 431, 434, 453, 712, 877, 967, 979, 1642,
)
# fmt: on
"""Patches of each of 230 patients of the public set, as five deliveries held them (three whole, the rest thinned)."""

_NODES = 80  # of a quadrature over patients
_GRID = 20_001  # of evidence
_REACH = 12.0  # of that grid, in standard deviations


@dataclass(frozen=True)
class ScoreModel:
    """How patients and the scores of their patches come about.

    The defaults resemble what the four published networks say of the published val patients.

    Attributes:
        separation: Distance of the two classes within a patient, in standard deviations of a patch.
        patient_sd: Standard deviation of the patients' shifts, in the same unit.
        slope_sd: Standard deviation of the logarithm of the patients' slopes.
        prevalence: Share of IDC of the middle patient among those with a tumour.
        prevalence_sd: Standard deviation of the patients' prevalences, on the logit scale.
        tumour_free: Share of patients without any IDC.
        slope: What the logit must be multiplied by to be calibrated (exactly so where patients are alike).
        intercept: What must then be added.
        hospitals: Hospitals that the patients come from in turn; they do not differ.
    """

    separation: float = 2.8
    patient_sd: float = 0.5
    slope_sd: float = 0.2
    prevalence: float = 0.27
    prevalence_sd: float = 1.3
    tumour_free: float = 0.0
    slope: float = 1.0
    intercept: float = 0.0
    hospitals: int = 1

    @property
    def share(self) -> float:
        """Share of IDC among all patches."""
        deviates, chances = _normal_nodes()
        each = 1 / (1 + (1 / self.prevalence - 1) * np.exp(-self.prevalence_sd * deviates))
        return float((1 - self.tumour_free) * (chances @ each))

    def logit(self, evidence: Array) -> Array:
        """Returns what the network says of patches of that evidence."""
        steepness = self.separation / (np.exp(2 * self.slope_sd**2) + self.patient_sd**2)
        calibrated = steepness * evidence + np.log(self.share / (1 - self.share))
        return np.asarray((calibrated - self.intercept) / self.slope)


@dataclass(frozen=True)
class ScoredPatches:
    """Drawn patches as arrays, ordered by patient.

    Attributes:
        patient: Number of the patient of each patch, shape (n,).
        cell: Number of the patch within its patient, shape (n,).
        label: 1 = IDC, 0 = none, shape (n,).
        logit: What the network says, shape (n,).
        probability: The logit, calibrated, shape (n,).
    """

    patient: NDArray[np.intp]
    cell: NDArray[np.intp]
    label: NDArray[np.int8]
    logit: Array
    probability: Array

    def frame(self, hospitals: int = 1) -> pd.DataFrame:
        """Returns a score frame: hospital, patient, slide, x, y, label, logit, probability."""
        import pandas as pd

        width = np.ceil(np.sqrt(np.bincount(self.patient)))[self.patient].astype(np.intp)
        return pd.DataFrame(
            {
                "hospital": np.char.add("hospital-", (self.patient % hospitals + 1).astype(str)),
                "patient": (self.patient + 1).astype(str),
                "slide": "1",
                "x": self.cell % width * PATCH_PIXELS + 1,
                "y": self.cell // width * PATCH_PIXELS + 1,
                "label": self.label,
                "logit": self.logit,
                "probability": self.probability,
            }
        )


def draw_synthetic_scores(model: ScoreModel, n_patients: int, seed: int) -> pd.DataFrame:
    """Draws the score frame of patients with sizes drawn from the real ones; IDC lies in one piece of the grid."""
    return draw_patches(model, n_patients, np.random.default_rng(seed)).frame(model.hospitals)


def draw_score_pair(
    a: ScoreModel, b: ScoreModel, n_patients: int, seed: int, *, correlation: float = 0.8
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draws the score frames of two models on the same patches.

    Args:
        a: The first model; patients and labels are drawn by it.
        b: The second model; only how it scores is used.
        n_patients: Patients to draw.
        seed: Another seed is another sample.
        correlation: Of the two models' noise, shifts and slopes.
    """
    first, second = draw_patch_pair(a, b, n_patients, np.random.default_rng(seed), correlation=correlation)
    return first.frame(a.hospitals), second.frame(a.hospitals)


def draw_patches(model: ScoreModel, n_patients: int, rng: np.random.Generator) -> ScoredPatches:
    """Draws what `draw_synthetic_scores` does, as arrays."""
    patient, cell, label = _draw_labels(model, n_patients, rng)
    return _score(model, (patient, cell, label), _draw_noise(n_patients, len(label), rng))


def draw_patch_pair(
    a: ScoreModel, b: ScoreModel, n_patients: int, rng: np.random.Generator, *, correlation: float = 0.8
) -> tuple[ScoredPatches, ScoredPatches]:
    """Draws what `draw_score_pair` does, as arrays."""
    first, second = draw_patch_series([a, b], n_patients, rng, correlation=correlation)
    return first, second


def draw_patch_series(
    models: Sequence[ScoreModel], n_patients: int, rng: np.random.Generator, *, correlation: float = 0.8
) -> list[ScoredPatches]:
    """Draws what several models say of the same patches, each of them as correlated with the first as a pair is."""
    first, *others = models
    drawn = _draw_labels(first, n_patients, rng)
    noise = _draw_noise(n_patients, len(drawn[2]), rng)
    scored = [_score(first, drawn, noise)]
    rest = np.sqrt(1 - correlation**2)
    for model in others:
        own = _draw_noise(n_patients, len(drawn[2]), rng)
        mixed = tuple(correlation * shared + rest * new for shared, new in zip(noise, own, strict=True))
        same = replace(
            model,
            prevalence=first.prevalence,
            prevalence_sd=first.prevalence_sd,
            tumour_free=first.tumour_free,
        )
        scored.append(_score(same, drawn, mixed))
    return scored


def separate_to_auroc(model: ScoreModel, auroc: float) -> ScoreModel:
    """Returns the model with the separation at which its true AUROC is `auroc` (above 1/2)."""
    from scipy.optimize import brentq

    found = brentq(lambda x: compute_true_metric(replace(model, separation=x), "auroc") - auroc, 0.0, 20.0, xtol=1e-6)
    return replace(model, separation=float(found))


@cache
def make_synthetic_population(model: ScoreModel) -> tuple[Array, Array, Array]:
    """Returns infinitely many patients' patches: logits, rising, and the mass of IDC and of no IDC at each.

    All three have shape (n,); the masses sum to one together.
    """
    from scipy.special import ndtr

    deviates, chances = _normal_nodes()
    slopes = np.exp(model.slope_sd * deviates)
    sd = np.sqrt(slopes**2 + model.patient_sd**2)
    end = _REACH * float(np.sqrt(chances @ sd**2)) + model.separation
    edges = np.linspace(-end, end, _GRID + 1)
    masses = []
    for side, share in ((0.5, model.share), (-0.5, 1 - model.share)):
        below = np.zeros(_GRID + 1)
        for slope, spread, chance in zip(slopes, sd, chances, strict=True):
            below += chance * ndtr((edges - side * slope * model.separation) / spread)
        masses.append(share * np.diff(below))
    return model.logit((edges[1:] + edges[:-1]) / 2), masses[0], masses[1]


@cache
def compute_true_metric(model: ScoreModel, metric: str, level: float = 0.95) -> float:
    """Returns the true value of a metric over all patches, apart from how `bcd.evaluation` computes it.

    Args:
        model: The patients and the network.
        metric: auroc, auprc, accuracy, balanced_accuracy, precision, recall, specificity, npv, f1, brier, or, of the
            patches whose probability or its complement reaches `level`: coverage, selective_error.
        level: Confidence from which a patch counts as confident.
    """
    logit, idc, none = make_synthetic_population(model)
    p = 1 / (1 + np.exp(-(model.slope * logit + model.intercept)))
    share = idc.sum()
    if metric == "auroc":
        return float(idc @ (np.cumsum(none) - none / 2) / (share * none.sum()))
    if metric == "auprc":
        found, called = np.cumsum(idc[::-1]), np.cumsum((idc + none)[::-1])
        return float(idc[::-1] @ np.divide(found, called, out=np.ones_like(found), where=called > 0) / share)
    if metric == "brier":
        return float(idc @ (1 - p) ** 2 + none @ p**2)
    if metric in {"coverage", "selective_error"}:
        sure, sure_not = p >= level, 1 - p >= level
        confident = (idc + none)[sure | sure_not].sum()
        return float(confident if metric == "coverage" else (none[sure].sum() + idc[sure_not].sum()) / confident)
    tp, fp = idc[p >= 0.5].sum(), none[p >= 0.5].sum()
    fn, tn = share - tp, none.sum() - fp
    rates = {
        "accuracy": tp + tn,
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "npv": tn / (tn + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
    }
    return float(rates[metric])


def _draw_labels(
    model: ScoreModel, n_patients: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int8]]:
    sizes = rng.choice(np.array(PATIENT_SIZES), n_patients)
    patient = np.repeat(np.arange(n_patients), sizes)
    cell = np.arange(len(patient)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    prevalence = 1 / (1 + (1 / model.prevalence - 1) * np.exp(-model.prevalence_sd * rng.normal(size=n_patients)))
    positive = rng.binomial(sizes, np.where(rng.random(n_patients) < model.tumour_free, 0.0, prevalence))
    # The tumour is the cells nearest to a point of the slide.
    width = np.ceil(np.sqrt(sizes))
    centre = rng.random((2, n_patients)) * width
    column, row = cell % width[patient], cell // width[patient]
    distance = np.hypot(column - centre[0][patient], row - centre[1][patient])
    label = np.empty(len(patient), dtype=np.int8)
    label[np.lexsort((distance, patient))] = cell < positive[patient]
    return patient, cell, label


def _draw_noise(n_patients: int, n_patches: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    return rng.normal(size=n_patients), rng.normal(size=n_patients), rng.normal(size=n_patches)


def _score(
    model: ScoreModel,
    drawn: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int8]],
    noise: tuple[Array, ...],
) -> ScoredPatches:
    patient, cell, label = drawn
    shift, slope, each = noise
    evidence = model.separation * (label - 0.5) + each
    evidence = np.exp(model.slope_sd * slope)[patient] * evidence + model.patient_sd * shift[patient]
    logit = model.logit(evidence)
    probability = 1 / (1 + np.exp(-(model.slope * logit + model.intercept)))
    return ScoredPatches(patient, cell, label, logit, probability)


@cache
def _normal_nodes() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()
