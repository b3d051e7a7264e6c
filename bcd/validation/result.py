"""A validation: one or several models on the same patches, each evaluated, and compared pair by pair.

Examples:
        validation = evaluate_models({"a": first, "b": second}, EvaluateOptions(), title="Two networks", notes=[])
        validation.differences[0].metrics["auroc"].value  # b minus a
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from bcd.evaluation.evaluation import Evaluation, evaluate_scores
from bcd.evaluation.metrics.compare import compare_metrics
from bcd.evaluation.metrics.estimates import Difference
from bcd.evaluation.metrics.ranking import aurocs_by_patient
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.policy import Policy
from bcd.progress import track_progress

if TYPE_CHECKING:
    import pandas as pd


_FEWEST_REVERSED = 3
"""Patients who must all be ranked the wrong way round before that is said of a model without an interval."""


class Pair(BaseModel):
    """Two models on the same patches.

    Attributes:
        first: The model compared with.
        second: The model in question.
        metrics: Second minus first, by metric.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    second: str
    metrics: dict[str, Difference]


class Validation(BaseModel):
    """Models evaluated on the same patches.

    Attributes:
        title: What was evaluated.
        notes: What a reader must know of it: where labels come from, what was left out, what could not be checked.
        evaluations: The evaluation of each model, by its name.
        differences: Every pair of models.
        protocol: The protocol that chose the patients, where one did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    notes: list[str]
    evaluations: dict[str, Evaluation]
    differences: list[Pair] = []
    protocol: str = ""


def evaluate_models(
    scores: Mapping[str, pd.DataFrame],
    options: EvaluateOptions,
    *,
    title: str,
    notes: Sequence[str],
    split: str = "given",
    snapshot: str = "",
    protocol: str = "",
    policies: Mapping[str, Policy] | None = None,
) -> Validation:
    """Evaluates each model and compares every pair of them.

    Args:
        scores: The score frame of each model, of the same patches.
        options: How they are evaluated.
        title: What is evaluated.
        notes: What a reader must know of it.
        split: What the patches are called: their split, or that they were given.
        snapshot: The snapshot that they are of; empty: none.
        protocol: The protocol that chose them; empty: none.
        policies: The policy of each model that has one, whose certified thresholds are evaluated too.

    Raises:
        BcdError: The frames are not of the same patches with the same labels, or cannot be evaluated.
    """
    pairs = list(combinations(scores, 2))
    with track_progress("Evaluating by patient", total=len(scores) + len(pairs)) as advance:
        evaluations = {}
        for name, frame in scores.items():
            policy = (policies or {}).get(name)
            evaluations[name] = evaluate_scores(frame, options, snapshot=snapshot, split=split, policy=policy)
            advance(1)
        differences = []
        for first, second in pairs:
            metrics = compare_metrics(scores[first], scores[second], options)
            differences.append(Pair(first=first, second=second, metrics=metrics))
            advance(1)
    notes = [
        *notes,
        *(note for name, one in evaluations.items() if (note := _tell_reversal(name, one, scores[name]))),
    ]
    return Validation(title=title, notes=notes, evaluations=evaluations, differences=differences, protocol=protocol)


def _tell_reversal(name: str, evaluation: Evaluation, scores: pd.DataFrame) -> str:
    """Says that a model ranks the wrong way round, with certainty or, where patients are few, in each of them."""
    auroc = evaluation.pooled["auroc"]
    if auroc.value is not None and auroc.high is not None:
        said = f": its AUROC is {auroc.value:.3f}, below one half in its whole interval" if auroc.high < 0.5 else ""
    else:
        own = aurocs_by_patient(make_evaluation_sample(scores))
        is_reversed = len(own) >= _FEWEST_REVERSED and bool((own < 0.5).all())
        said = f" in each of the {len(own)} patients who have both labels" if is_reversed else ""
    return (
        f"{name} ranks the wrong way round{said}. If it is the probability of no IDC, give 1 minus it."
        if said
        else ""
    )
