"""The evaluation of one split: metrics with their intervals by patient, seen in several ways, and each patient.

Examples:
        evaluation = evaluate_scores(scores, EvaluateOptions(), snapshot=snapshot.id, split="test")
        evaluation.pooled["auroc"].value
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.context import ContextEvaluation, EvaluatedThreshold, evaluate_context
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.patients import PatientFacts, PatientLevel, evaluate_patients, find_patient_figures
from bcd.evaluation.metrics.prevalence import AtPrevalence, at_prevalence
from bcd.evaluation.metrics.risk_coverage import RiskCoverage, risk_coverage
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.metrics.subgroups import Subgroup, make_subgroups, worst_tenth
from bcd.evaluation.metrics.thresholds import ThresholdRow, threshold_table
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.outcome import Outcome
from bcd.evaluation.policy.policy import Policy

if TYPE_CHECKING:
    import pandas as pd


WORST = 5
"""Patients that are named as the worst."""


class PatientRow(BaseModel):
    """One patient of the split; a metric is None where the patient cannot have it.

    Attributes:
        burden: Mean probability of IDC; `positive / patches` is the true one.
        dice: Dice coefficient of what is called and what is labelled IDC.
        piece: Patches in the largest connected piece labelled IDC; None without a whole slide.
        piece_called: Patches in the largest connected piece called IDC.
        outcome: By the rule of the options.
    """

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
    burden: float | None = None
    dice: float | None = None
    piece: int | None = None
    piece_called: int | None = None
    outcome: Outcome | None = None


class Evaluation(BaseModel):
    """How well scores hold on one split, at the sample's own prevalence.

    Attributes:
        split: The split that was resampled.
        snapshot: The snapshot that it is of.
        options: How it was resampled.
        n_patches: Patches resampled.
        n_patients: Patients resampled.
        effective_patients: Kish's effective number of patients.
        prevalence: Share of patches labelled IDC.
        largest_patient: "hospital/patient" with the most patches.
        largest_patches: Patches of that patient.
        pooled: Metrics over all patches.
        patient_macro: Metrics as means over patients.
        without_largest: Metrics over all patches but the largest patient's; empty if there is one patient.
        thresholds: The threshold table.
        per_patient: Every patient, sorted by hospital and patient.
        per_hospital: The metrics by hospital.
        per_batch: The metrics by batch, where it is known; a patient of two batches is in both.
        worst_tenth: Mean accuracy of the tenth of the patients with the lowest.
        at_prevalence: What depends on the prevalence, at a stated one, if one was asked for.
        patient_level: Burden, maps and outcomes.
        selective: The risk-coverage curve with its areas.
        certified: The thresholds of the policy, if one is given.
        context: The patches of complete slides, alone and in context; None where no patch has a context.
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
    per_hospital: list[Subgroup] = []
    per_batch: list[Subgroup] = []
    worst_tenth: Estimate | None = None
    at_prevalence: AtPrevalence | None = None
    patient_level: PatientLevel | None = None
    selective: RiskCoverage
    certified: list[EvaluatedThreshold] = []
    context: ContextEvaluation | None = None

    @property
    def worst(self) -> list[PatientRow]:
        """The patients with the lowest accuracy among those with enough patches for a rate, the lowest first."""
        enough = [row for row in self.per_patient if row.patches >= self.options.min_patches]
        return sorted(enough, key=lambda row: row.accuracy)[:WORST]

    def figures(self) -> dict[str, float]:
        """Returns all metrics flat: `test_auroc_pooled`, `…_low`, `…_high`, …; n/a is left out."""
        flat = {
            f"{self.split}_patches": float(self.n_patches),
            f"{self.split}_patients": float(self.n_patients),
            f"{self.split}_effective_patients": self.effective_patients,
            f"{self.split}_prevalence": self.prevalence,
        }
        subgroups = {"pooled": self.pooled, "macro": self.patient_macro, "without_largest": self.without_largest}
        named = {
            f"{metric}_{subgroup}": e for subgroup, estimates in subgroups.items() for metric, e in estimates.items()
        }
        if self.worst_tenth:
            named["accuracy_worst_tenth"] = self.worst_tenth
        if self.at_prevalence:
            at = f"{100 * self.at_prevalence.prevalence:g}".replace(".", "_")
            named |= {f"{metric}_at_prevalence_{at}": e for metric, e in self.at_prevalence.metrics.items()}
        if self.patient_level:
            level = self.patient_level
            named |= {"burden_error": level.burden_error, "burden_concordance": level.burden_concordance}
            named |= {"map_dice": level.dice}
        if self.context:
            named |= {f"{metric}_alone_on_complete": e for metric, e in self.context.alone.items()}
            named |= {f"{metric}_in_context": e for metric, e in self.context.pooled.items()}
        named |= {"aurc": self.selective.aurc, "augrc": self.selective.augrc}
        for name, e in named.items():
            ends = {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
            flat |= {f"{self.split}_{key}": value for key, value in ends.items() if value is not None}
        return flat


_HEADLINE = {
    "val": ("auroc_pooled",),
    "test": (
        "patients",
        "auroc_pooled",
        "auroc_pooled_low",
        "auroc_pooled_high",
        "auroc_macro",
        "accuracy_pooled",
        "recall_pooled",
        "specificity_pooled",
        "brier_pooled",
    ),
}


def headline(figures: Mapping[str, float]) -> dict[str, float]:
    """Returns those of an evaluation's flat figures that stand in the row of its run; its tables hold the others."""
    names = [f"{split}_{name}" for split, chosen in _HEADLINE.items() for name in chosen]
    return {name: figures[name] for name in names if name in figures}


def evaluate_scores(
    scores: pd.DataFrame, options: EvaluateOptions, *, snapshot: str, split: str, policy: Policy | None = None
) -> Evaluation:
    """Evaluates the scores of one split.

    Args:
        scores: A row a patch, with the columns hospital, patient, label and probability (calibrated); slide, x and y
            for maps, batch for subgroups by batch, context_probability for complete slides.
        options: Resamples, confidence, levels and minimums.
        snapshot: The snapshot that the patches are of.
        split: The split that the patches are of.
        policy: Whose certified thresholds are evaluated too.

    Raises:
        BcdError: A column is missing, there is no row, a label is neither 0 nor 1, or a probability is none.
    """
    sample = make_evaluation_sample(scores)
    resampled = Resampled.of(sample, options)
    largest = sample.largest
    several = len(sample.patients) > 1
    pooled, macro = resampled.pooled(), resampled.patient_macro()
    facts = find_patient_figures(resampled, scores)
    batches = scores["batch"].to_numpy() if "batch" in scores.columns else None
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
        pooled=pooled,
        patient_macro=macro,
        without_largest=Resampled.of(sample.without(largest), options).pooled() if several else {},
        thresholds=threshold_table(resampled),
        per_patient=_per_patient(resampled, facts),
        per_hospital=make_subgroups(resampled, scores["hospital"].to_numpy(), (pooled, macro)),
        per_batch=[] if batches is None else make_subgroups(resampled, batches, (pooled, macro)),
        worst_tenth=worst_tenth(resampled),
        at_prevalence=None if options.at_prevalence is None else at_prevalence(resampled, options.at_prevalence),
        patient_level=evaluate_patients(resampled, facts),
        selective=risk_coverage(resampled),
        certified=[EvaluatedThreshold.of(resampled, promised) for promised in (policy.certified if policy else ())],
        context=evaluate_context(scores, options, policy),
    )


def _per_patient(resampled: Resampled, facts: PatientFacts) -> list[PatientRow]:
    names = ("auroc", "accuracy", "recall", "specificity", "brier")
    metrics = {name: resampled.by_patient(name) for name in names}
    t = resampled.tallies
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
            burden=float(facts.burden[i]),
            dice=_or_none(facts.dice[i]),
            piece=None if pieces is None else pieces.labelled,
            piece_called=None if pieces is None else pieces.called,
            outcome=facts.outcomes[i],
        )
        for i, ((hospital, patient), pieces) in enumerate(zip(resampled.sample.patients, facts.pieces, strict=True))
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
