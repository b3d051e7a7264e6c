from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from bcd.evaluation.evaluation import Evaluation, evaluate_scores
from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.metrics.subgroups import worst_tenth
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.policy import fit_policy


def evaluate(scores: pd.DataFrame, options: EvaluateOptions) -> Evaluation:
    return evaluate_scores(scores, options, snapshot="abc", split="test")


def test_each_hospital_is_evaluated_as_if_it_were_alone(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    both = evaluate(scores, options)
    assert [subgroup.name for subgroup in both.per_hospital] == ["north", "south"]
    for subgroup in both.per_hospital:
        alone = evaluate(scores[scores["hospital"] == subgroup.name], options)
        assert (subgroup.pooled, subgroup.patient_macro) == (alone.pooled, alone.patient_macro)
        assert subgroup.effective_patients == alone.effective_patients
        assert alone.per_hospital[0].pooled == alone.pooled


def test_batches_are_subgroups_where_they_are_known(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    assert evaluate(scores, options).per_batch == []
    halves = scores.assign(batch=["first", "second"] * (len(scores) // 2) + ["first"] * (len(scores) % 2))
    subgroups = evaluate(halves, options).per_batch
    assert [subgroup.name for subgroup in subgroups] == ["first", "second"]
    assert sum(subgroup.n_patches for subgroup in subgroups) == len(scores)
    assert subgroups[0].pooled["brier"].value != subgroups[1].pooled["brier"].value


def test_the_worst_patients_have_enough_patches_for_a_rate(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    worst = evaluate(scores, options).worst
    assert [row.accuracy for row in worst] == sorted(row.accuracy for row in worst)
    assert all(row.patches >= options.min_patches for row in worst)


def test_the_worst_tenth_is_a_mean_over_a_tail(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    scores = make_scores([40] * 25)
    right = (scores["probability"] >= 0.5) == (scores["label"] == 1)
    each = right.groupby([scores["hospital"], scores["patient"]]).mean().sort_values().to_numpy()
    estimate = worst_tenth(Resampled.of(make_evaluation_sample(scores), options))
    assert estimate.value == pytest.approx((each[0] + each[1] + each[2] / 2) / 2.5)
    assert estimate.low <= estimate.value < estimate.high


def test_certified_thresholds_are_evaluated_where_a_policy_has_them(
    scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    lenient = options.model_copy(update={"target_errors": [0.45]})
    whose = scores["hospital"] + scores["patient"]
    policy = fit_policy(scores["logit"], scores["label"], whose, lenient)
    (evaluated,) = evaluate_scores(scores, lenient, snapshot="abc", split="test", policy=policy).certified
    assert evaluated.promised.threshold is not None
    assert evaluated.found.level == evaluated.promised.threshold
    assert evaluated.found.accuracy_macro.value > 0.55
    assert evaluate(scores, options).certified == []
