"""The sample under evaluation: arrays of a score frame, with patches numbered by patient.

Patients are identified by hospital and patient and sorted, so that results do not depend on the order of the
rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.patches import PERSON

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = [*PERSON, "label", "probability"]


@dataclass(frozen=True)
class Sample:
    """Labelled and scored patches of some patients.

    Attributes:
        positive: Whether each patch is labelled IDC, shape (n,).
        probability: Calibrated probability of IDC, float64, shape (n,).
        patient: Index into `patients` of each patch, shape (n,).
        patients: (hospital, patient) of each patient, sorted.
    """

    positive: NDArray[np.bool_]
    probability: NDArray[np.float64]
    patient: NDArray[np.intp]
    patients: list[tuple[str, str]]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Patches of each patient."""
        return np.bincount(self.patient, minlength=len(self.patients))

    @property
    def effective_patients(self) -> float:
        """Kish's effective number: (sum of sizes)^2 / sum of squared sizes."""
        sizes = self.sizes.astype(np.float64)
        return float(sizes.sum() ** 2 / (sizes**2).sum())

    @property
    def largest(self) -> int:
        """Index of the patient with the most patches (the first of equals)."""
        return int(self.sizes.argmax())

    def without(self, patient: int) -> Sample:
        """Returns the sample without one patient."""
        return self.select(self.patient != patient)

    def select(self, keep: NDArray[np.bool_]) -> Sample:
        """Returns some of the patches, shape (n,); patients of whom none is kept are left out."""
        present, patient = np.unique(self.patient[keep], return_inverse=True)
        return Sample(
            positive=self.positive[keep],
            probability=self.probability[keep],
            patient=patient.astype(np.intp),
            patients=[self.patients[index] for index in present],
        )


def make_evaluation_sample(scores: pd.DataFrame) -> Sample:
    """Reads the columns hospital, patient, label and probability of a score frame.

    Raises:
        InsufficientEvidenceError: There is no row.
        BcdError: A column is missing, a label is neither 0 nor 1, or a probability is outside [0, 1].
    """
    missing = [column for column in _NEEDED if column not in scores.columns]
    if missing:
        raise BcdError(f"The scores lack the column {', '.join(missing)}.", f"Give the columns {', '.join(_NEEDED)}.")
    if scores.empty:
        raise InsufficientEvidenceError("There is no scored patch to evaluate.", "Admit labelled patients first.")
    label = scores["label"].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    unusable = int((~np.isin(label, (0.0, 1.0))).sum())
    if unusable:
        raise BcdError(
            f"{unusable} of {len(scores)} scored patches have no label 0 or 1.",
            "Evaluate labelled patches only.",
        )
    probability = scores["probability"].to_numpy(dtype=np.float64)
    outside = int((~((probability >= 0) & (probability <= 1))).sum())
    if outside:
        raise BcdError(
            f"{outside} of {len(scores)} probabilities are not in [0, 1].",
            "Give calibrated probabilities, not logits.",
        )
    groups = scores.groupby([scores["hospital"].astype(str), scores["patient"].astype(str)], sort=True)
    return Sample(
        positive=label == 1,
        probability=probability,
        patient=groups.ngroup().to_numpy().astype(np.intp),
        patients=[(str(hospital), str(patient)) for hospital, patient in groups.size().index],
    )
