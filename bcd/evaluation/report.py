"""The evaluation of one split: metrics with their intervals by patient, the threshold table, each patient.

Example:
    evaluation = evaluate_scores(scores, EvaluateOptions(), snapshot=snapshot.id, split="test")
    evaluation.pooled["auroc"].value
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.estimates import Estimate
from bcd.evaluation.metrics import Judged
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.sample import Sample, read_sample
from bcd.evaluation.thresholds import ThresholdRow, threshold_table

if TYPE_CHECKING:
    import pandas as pd


class PatientRow(BaseModel):
    """One patient of the split; a metric is None where the patient cannot have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hospital: str
    patient: str
    patches: int
    positive: int
    predicted_positive: int
    auroc: float | None
    accuracy: float
    recall: float | None
    specificity: float | None
    brier: float


class Evaluation(BaseModel):
    """How well scores hold on one split, at the sample's own prevalence.

    Attributes:
        split: The split that was judged.
        snapshot: The snapshot that it is of.
        options: How it was judged.
        n_patches: Patches judged.
        n_patients: Patients judged.
        effective_patients: Kish's effective number of patients.
        prevalence: Share of patches labelled IDC.
        largest_patient: "hospital/patient" with the most patches.
        largest_patches: Patches of that patient.
        pooled: Metrics over all patches.
        patient_macro: Metrics as means over patients.
        without_largest: Metrics over all patches but the largest patient's; empty if there is one patient.
        thresholds: The threshold table.
        per_patient: Every patient, sorted by hospital and patient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str
    snapshot: str
    options: EvaluateOptions
    n_patches: int
    n_patients: int
    effective_patients: float
    prevalence: float
    largest_patient: str
    largest_patches: int
    pooled: dict[str, Estimate]
    patient_macro: dict[str, Estimate]
    without_largest: dict[str, Estimate]
    thresholds: list[ThresholdRow]
    per_patient: list[PatientRow]

    def headline(self) -> dict[str, float]:
        """Returns the metrics flat for MLflow: `test_auroc_pooled`, `…_low`, `…_high`, …; n/a is left out."""
        flat = {
            f"{self.split}_patches": float(self.n_patches),
            f"{self.split}_patients": float(self.n_patients),
            f"{self.split}_effective_patients": self.effective_patients,
            f"{self.split}_prevalence": self.prevalence,
        }
        views = {"pooled": self.pooled, "macro": self.patient_macro, "without_largest": self.without_largest}
        for view, estimates in views.items():
            for metric, estimate in estimates.items():
                name = f"{self.split}_{metric}_{view}"
                ends = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
                flat |= {key: value for key, value in ends.items() if value is not None}
        return flat


def evaluate_scores(scores: pd.DataFrame, options: EvaluateOptions, *, snapshot: str, split: str) -> Evaluation:
    """Judges the scores of one split.

    Args:
        scores: A row a patch, with the columns hospital, patient, label and probability (calibrated).
        options: Resamples, confidence, levels and minimums.
        snapshot: The snapshot that the patches are of.
        split: The split that the patches are of.

    Raises:
        BcdError: A column is missing, there is no row, a label is neither 0 nor 1, or a probability is none.
    """
    sample = read_sample(scores)
    judged = Judged.of(sample, options)
    largest = sample.largest
    several = len(sample.patients) > 1
    return Evaluation(
        split=split,
        snapshot=snapshot,
        options=options,
        n_patches=len(sample.positive),
        n_patients=len(sample.patients),
        effective_patients=sample.effective_patients,
        prevalence=float(sample.positive.mean()),
        largest_patient="/".join(sample.patients[largest]),
        largest_patches=int(sample.sizes[largest]),
        pooled=judged.pooled(),
        patient_macro=judged.patient_macro(),
        without_largest=Judged.of(sample.without(largest), options).pooled() if several else {},
        thresholds=threshold_table(judged),
        per_patient=_per_patient(judged, sample),
    )


def _per_patient(judged: Judged, sample: Sample) -> list[PatientRow]:
    names = ("auroc", "accuracy", "recall", "specificity", "brier")
    metrics = {name: judged.by_patient(name) for name in names}
    t = judged.tallies
    return [
        PatientRow(
            hospital=hospital,
            patient=patient,
            patches=int(t.n[i]),
            positive=int(t.positive[i]),
            predicted_positive=int(t.tp[i] + t.fp[i]),
            accuracy=float(metrics["accuracy"][i]),
            brier=float(metrics["brier"][i]),
            auroc=_or_none(metrics["auroc"][i]),
            recall=_or_none(metrics["recall"][i]),
            specificity=_or_none(metrics["specificity"][i]),
        )
        for i, (hospital, patient) in enumerate(sample.patients)
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
