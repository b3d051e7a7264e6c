from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from bcd.evaluation.calls import is_confident
from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.prevalence import AtPrevalence, at_prevalence
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions


def evaluate(scores: pd.DataFrame, prevalence: float, options: EvaluateOptions) -> AtPrevalence:
    return at_prevalence(Resampled.of(make_evaluation_sample(scores), options), prevalence)


def weights_of(scores: pd.DataFrame, prevalence: float) -> np.ndarray:
    share = scores["label"].mean()
    return np.where(scores["label"] == 1, prevalence / share, (1 - prevalence) / (1 - share))


@pytest.mark.parametrize("prevalence", [0.1, 0.5, 0.9])
def test_metrics_are_those_of_weighted_classes(
    prevalence: float, scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    label, p, w = scores["label"], scores["probability"], weights_of(scores, prevalence)
    called = p >= 0.5
    known = {
        "accuracy": sk.accuracy_score(label, called, sample_weight=w),
        "precision": sk.precision_score(label, called, sample_weight=w),
        "npv": sk.precision_score(1 - label, ~called, sample_weight=w),
        "f1": sk.f1_score(label, called, sample_weight=w),
        "auprc": sk.average_precision_score(label, p, sample_weight=w),
        "brier": sk.brier_score_loss(label, p, sample_weight=w),
    }
    found = evaluate(scores, prevalence, options).metrics
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(known)
    assert all(e.low < e.value < e.high for e in found.values())


def test_the_threshold_table_is_weighted_too(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    w = weights_of(scores, 0.5)
    row = evaluate(scores, 0.5, options).thresholds[0]
    confident = is_confident(scores["probability"], row.level)
    label, called = scores["label"][confident], scores["probability"][confident] >= 0.5
    assert row.coverage.value == pytest.approx(w[confident].sum() / w.sum())
    assert row.accuracy.value == pytest.approx(sk.accuracy_score(label, called, sample_weight=w[confident]))
    assert row.precision.value == pytest.approx(sk.precision_score(label, called, sample_weight=w[confident]))
    assert row.recall.value == pytest.approx(sk.recall_score(label, called))


def test_at_its_own_prevalence_nothing_changes(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    evaluated = Resampled.of(make_evaluation_sample(scores), options)
    own = at_prevalence(evaluated, float(scores["label"].mean())).metrics
    pooled = evaluated.pooled()
    assert {name: own[name].value for name in own} == pytest.approx({name: pooled[name].value for name in own})


def test_with_one_class_there_is_nothing_to_weight(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    one_class = make_scores([40] * 12).assign(label=0)
    found = evaluate(one_class, 0.5, options)
    assert {estimate.value for estimate in found.metrics.values()} == {None}


def test_what_is_kept_may_be_of_one_class(make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions) -> None:
    scores = make_scores([40] * 12)
    sure = scores.assign(probability=np.where(scores["label"] == 1, 0.7, 0.01))
    row = evaluate(sure, 0.5, options).thresholds[1]
    assert (row.accuracy.value, row.recall.value) == (1, None)
    assert row.coverage.value == pytest.approx(0.5)
