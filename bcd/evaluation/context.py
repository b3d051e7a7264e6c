"""What context does: the patches of complete slides, scored one by one and with their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from bcd.evaluation.metrics.compare import compare_metrics
from bcd.evaluation.metrics.estimates import Difference, Estimate
from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.metrics.thresholds import ThresholdRow, threshold_row, threshold_table
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.certified import CertifiedThreshold
from bcd.evaluation.policy.context import CONTEXT
from bcd.evaluation.policy.policy import Policy

if TYPE_CHECKING:
    import pandas as pd


class EvaluatedThreshold(BaseModel):
    """A certified threshold, and how it does on these patients.

    Attributes:
        promised: What was certified on val patients.
        found: The row of the threshold table at it; None: no threshold was certified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    promised: CertifiedThreshold
    found: ThresholdRow | None

    @classmethod
    def of(cls, resampled: Resampled, promised: CertifiedThreshold) -> EvaluatedThreshold:
        """Evaluates what was promised."""
        found = None if promised.threshold is None else threshold_row(resampled, promised.threshold)
        return cls(promised=promised, found=found)


class ContextEvaluation(BaseModel):
    """How well the patches of complete slides are scored, alone and in context.

    Attributes:
        n_patches: Patches of complete slides.
        n_patients: Their patients.
        standing: Whether the thresholds in context went through certification, in words; empty without a policy.
        alone: Metrics over all these patches by their probability alone.
        alone_macro: The same as means over patients.
        pooled: Metrics by the probability in context.
        patient_macro: The same as means over patients.
        differences: In context minus alone, paired.
        thresholds: The threshold table, in context.
        certified: The thresholds of the policy in context, if one is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_patches: int
    n_patients: int
    standing: str
    alone: dict[str, Estimate]
    alone_macro: dict[str, Estimate]
    pooled: dict[str, Estimate]
    patient_macro: dict[str, Estimate]
    differences: dict[str, Difference]
    thresholds: list[ThresholdRow]
    certified: list[EvaluatedThreshold] = []


def evaluate_context(
    scores: pd.DataFrame, options: EvaluateOptions, policy: Policy | None = None
) -> ContextEvaluation | None:
    """Evaluates what has a probability in context; None where nothing has.

    Args:
        scores: hospital, patient, slide, x, y, label, probability and, of complete slides, context_probability.
        options: Resamples, confidence, levels and minimums.
        policy: Whose certified thresholds are evaluated too.
    """
    if CONTEXT not in scores.columns or scores[CONTEXT].isna().all():
        return None
    alone = scores[scores[CONTEXT].notna()]
    together = alone.assign(probability=alone[CONTEXT])
    first, second = (Resampled.of(make_evaluation_sample(frame), options) for frame in (alone, together))
    stage = None if policy is None else policy.context
    return ContextEvaluation(
        n_patches=len(alone),
        n_patients=len(first.sample.patients),
        standing="" if stage is None else stage.standing,
        alone=first.pooled(),
        alone_macro=first.patient_macro(),
        pooled=second.pooled(),
        patient_macro=second.patient_macro(),
        differences=compare_metrics(alone, together, options),
        thresholds=threshold_table(second),
        certified=[EvaluatedThreshold.of(second, promised) for promised in (stage.certified if stage else ())],
    )
