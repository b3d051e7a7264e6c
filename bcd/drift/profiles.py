"""Profiles: a patient or a slide as a few means, and those of the patients whom a bundle knows.

Patches of one patient resemble each other, so that the unit of every comparison is the patient. A mean of few patches
varies more than one of many, which the comparison allows for: a profile says of how many patches it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from bcd.drift.measure import PICTURE, SCORE, measure_patches, measure_scores, name_stains
from bcd.drift.stains import find_stains
from bcd.patches import Hospital

if TYPE_CHECKING:
    from bcd.drift.stains import Stains

MOST_PATCHES = 64
"""Patches that are measured of one patient or slide, evenly chosen."""

MOST_PATIENTS = 400
"""Patients that a bundle's record keeps of each kind, evenly chosen: more would not make the comparison finer."""

STAIN_PATCHES = 16
"""Patches in which a patient's stains are looked for: enough pixels, and 1,600 patches take no longer."""

_DIGITS = 5


class Profile(BaseModel):
    """One patient or one slide.

    Attributes:
        patches: Patches that were measured.
        means: Mean over them, by statistic; a statistic that could not be measured is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patches: int
    means: dict[str, float]


class Profiles(BaseModel):
    """Profiles of the patients of a bundle, a row a patient, in an order that says nothing of who they are.

    Attributes:
        statistics: Names of the statistics.
        within: Standard deviation of patches within a patient, by statistic; 0 where a patient has one value.
        hospitals: The hospital of each patient.
        patches: Patches of each patient.
        means: Means of each patient, by statistic; None where it could not be measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    statistics: tuple[str, ...]
    within: tuple[float, ...]
    hospitals: tuple[str, ...]
    patches: tuple[int, ...]
    means: tuple[tuple[float | None, ...], ...]

    @classmethod
    def of(
        cls, statistics: Sequence[str], values: Mapping[str, ArrayLike], patients: ArrayLike, **whole: ArrayLike
    ) -> Profiles:
        """Takes the profiles of patients.

        Args:
            statistics: What is kept, in this order.
            values: By statistic, one value a patch, (n,).
            patients: Whose each patch is, as `hospital/patient`, (n,).
            whole: By statistic, one value a patient, in the order of their names; NaN where there is none.
        """
        names, code = np.unique(np.asarray(patients), return_inverse=True)
        counts = np.bincount(code)
        means, within = [], []
        for name in statistics:
            if name in whole:
                means.append(np.asarray(whole[name], np.float64))
                within.append(0.0)
                continue
            value = np.asarray(values[name], np.float64)
            mean = np.bincount(code, weights=value) / counts
            means.append(mean)
            free = max(len(value) - len(names), 1)
            within.append(float(np.sqrt(np.square(value - mean[code]).sum() / free)))
        rows = [
            (str(name).partition("/")[0], int(n), tuple(_round(each) for each in row))
            for name, n, row in zip(names, counts, np.stack(means, 1), strict=True)
        ]
        rows.sort(key=lambda row: (row[0], [each or 0.0 for each in row[2]]))
        kept = [rows[at] for at in np.linspace(0, len(rows) - 1, min(len(rows), MOST_PATIENTS)).astype(int)]
        hospitals, patches, table = zip(*kept, strict=True)
        return cls(
            statistics=tuple(statistics),
            within=tuple(_round(each) or 0.0 for each in within),
            hospitals=hospitals,
            patches=patches,
            means=table,
        )

    def table(self) -> NDArray[np.float64]:
        """Returns the means, (patients, statistics); NaN where there is none."""
        return np.array(self.means, dtype=np.float64).reshape(len(self.means), len(self.statistics))

    def of_hospital(self, hospital: Hospital) -> Profiles:
        """Returns the profiles of one hospital's patients."""
        return self.take([row for row, each in enumerate(self.hospitals) if each == hospital])

    def take(self, rows: Sequence[int]) -> Profiles:
        """Returns the profiles of some rows."""
        picked = {name: tuple(getattr(self, name)[row] for row in rows) for name in ("hospitals", "patches", "means")}
        return self.model_copy(update=picked)


def profile_pictures(pixels: NDArray[np.uint8]) -> Profile:
    """Measures the pictures of a patient or a slide: raw patches, uint8 (n, 50, 50, 3), n at least 1."""
    some = pixels[choose_evenly(len(pixels), MOST_PATCHES)]
    found = measure_patches(np.ascontiguousarray(some))
    means = {name: float(values.mean()) for name, values in found.items() if name in PICTURE}
    return Profile(patches=len(some), means=means | name_stains(find_patient_stains(pixels)))


def profile_scores(logits: ArrayLike, probabilities: ArrayLike) -> Profile:
    """Measures the scores of a patient or a slide, (n,) each, n at least 1."""
    found = measure_scores(logits, probabilities)
    return Profile(patches=len(found["logit"]), means={name: float(found[name].mean()) for name in SCORE})


def find_patient_stains(pixels: NDArray[np.uint8]) -> Stains | None:
    """Finds the stains of a patient's patches (n, 50, 50, 3), n at least 1, in a few of them."""
    # Patches below one another are one large patch to Macenko's method, which looks at colours alone.
    return find_stains(np.concatenate(pixels[choose_evenly(len(pixels), STAIN_PATCHES)]))


def choose_evenly(n: int, most: int) -> NDArray[np.int64]:
    """Returns at most so many of n rows, evenly spread."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def _round(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.{_DIGITS}g}")
