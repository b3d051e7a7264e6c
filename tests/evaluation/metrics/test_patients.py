"""What patches say of their patients, held against truth that was made up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from made_scores import ScoreModel, draw_synthetic_scores

from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.patients import PatientLevel, evaluate_patients, find_patient_figures
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.outcome import FOUND, NOT_FOUND, UNDECIDED, OutcomeRule, decide_outcome

RULE = OutcomeRule()


def evaluate(scores: pd.DataFrame, options: EvaluateOptions) -> PatientLevel:
    evaluated = Resampled.of(make_evaluation_sample(scores), options)
    return evaluate_patients(evaluated, find_patient_figures(evaluated, scores))


@pytest.mark.parametrize(
    ("idc", "confident", "patches", "outcome"),
    [
        (3, 3, 1000, FOUND),
        (2, 900, 1000, NOT_FOUND),
        (2, 899, 1000, UNDECIDED),
        (0, 29, 29, UNDECIDED),
        (0, 30, 30, NOT_FOUND),
        (0, 0, 0, UNDECIDED),
    ],
)
def test_the_outcome_follows_from_three_counts(idc: int, confident: int, patches: int, outcome: str) -> None:
    assert decide_outcome(confident_idc=idc, confident=confident, patches=patches, rule=RULE) == outcome


def test_the_rule_holds_on_made_up_patients_with_and_without_tumour() -> None:
    """The table of docs/explanation/numbers.md, at a fifth of its size."""
    scores = draw_synthetic_scores(ScoreModel(tumour_free=0.5), 1000, seed=1)
    sizes = scores.groupby("patient")["label"].transform("size")
    level = evaluate(scores[sizes >= RULE.min_patches], EvaluateOptions(resamples=100))
    counts = level.outcomes
    with_idc, without = (sum(counts[group].values()) for group in ("with IDC", "without IDC"))
    assert min(with_idc, without) > 150
    assert not level.descriptive
    assert counts["with IDC"][NOT_FOUND] / with_idc < 0.05
    assert counts["without IDC"][FOUND] / without < 0.02
    # Abstaining on everything would not pass.
    assert counts["with IDC"][FOUND] / with_idc > 0.5
    assert counts["without IDC"][NOT_FOUND] / without > 0.15


def test_with_hardly_anybody_without_idc_the_outcome_is_descriptive(options: EvaluateOptions) -> None:
    level = evaluate(draw_synthetic_scores(ScoreModel(), 30, seed=2), options)
    assert level.descriptive
    assert sum(sum(counts.values()) for counts in level.outcomes.values()) == 30


def test_burden_agrees_perfectly_where_the_probability_is_the_truth(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    scores = make_scores([40 + 5 * i for i in range(12)])
    level = evaluate(scores.assign(probability=scores["label"].astype(float)), options)
    assert level.burden_concordance.value == pytest.approx(1)
    assert level.burden_error.value == pytest.approx(0)
    assert level.dice.value == 1


def test_burden_is_measured_by_patient_and_only_of_those_with_enough_patches(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    scores = make_scores([40 + 5 * i for i in range(12)] + [29] * 5)
    level = evaluate(scores, options)
    enough = scores.groupby(["hospital", "patient"]).filter(lambda patient: len(patient) >= 30)
    each = enough.groupby(["hospital", "patient"]).agg(said=("probability", "mean"), true=("label", "mean"))
    error = each["said"] - each["true"]
    assert level.burden_error.n_patients == len(each) == 12
    assert level.burden_error.value == pytest.approx(error.mean())
    assert level.burden_error.low < level.burden_error.value < level.burden_error.high
    assert level.burden_absolute_error.value == pytest.approx(error.abs().mean())
    covariance = np.cov(each["said"], each["true"], ddof=0)
    lin = 2 * covariance[0, 1] / (np.trace(covariance) + error.mean() ** 2)
    assert level.burden_concordance.value == pytest.approx(lin)
    assert level.burden_concordance.low < lin < level.burden_concordance.high
