from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bcd.evaluation.metrics.metrics import METRICS, Resampled
from bcd.evaluation.metrics.ranking import average_precision, count_ranking_steps
from bcd.evaluation.metrics.sample import Sample, make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions

LABEL_AND_SCORE = st.tuples(
    st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5001, 0.9, 1.0]), st.integers(0, 4)
)


def binned_error(label: np.ndarray, p: np.ndarray) -> float:
    bins = np.minimum((p * 10).astype(int), 9)
    parts = [abs(label[bins == b].mean() - p[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(parts))


ORACLES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auroc": sk.roc_auc_score,
    "auprc": sk.average_precision_score,
    "accuracy": lambda y, p: sk.accuracy_score(y, p >= 0.5),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p >= 0.5),
    "precision": lambda y, p: sk.precision_score(y, p >= 0.5),
    "recall": lambda y, p: sk.recall_score(y, p >= 0.5),
    "specificity": lambda y, p: sk.recall_score(~y, p < 0.5),
    "npv": lambda y, p: sk.precision_score(~y, p < 0.5),
    "f1": lambda y, p: sk.f1_score(y, p >= 0.5),
    "brier": sk.brier_score_loss,
    "ece": binned_error,
}


def every_value(evaluated: Resampled, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {metric: evaluated.values(metric, weights) for metric in METRICS}


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_agrees_with_scikit_learn(metric: str, scores: pd.DataFrame, options: EvaluateOptions) -> None:
    estimate = Resampled.of(make_evaluation_sample(scores), options).pooled()[metric]
    expected = ORACLES[metric](scores["label"].to_numpy() == 1, scores["probability"].to_numpy())
    assert estimate.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_resampling_by_weights_is_resampling_patients_one_by_one(
    metric: str, scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    sample = make_evaluation_sample(scores)
    evaluated = Resampled.of(sample, options)
    n_patients = len(sample.patients)
    drawn = np.random.default_rng(options.seed).integers(n_patients, size=(options.resamples, n_patients))
    rows = [np.flatnonzero(sample.patient == patient) for patient in range(n_patients)]
    naive = []
    for draw in drawn[:40]:
        chosen = np.concatenate([rows[patient] for patient in draw])
        naive.append(ORACLES[metric](sample.positive[chosen], sample.probability[chosen]))
    assert evaluated.values(metric, evaluated.weights[:40]) == pytest.approx(naive, abs=1e-12)


def test_patient_macro_is_the_mean_over_the_patients_that_have_the_metric(
    scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    scores.loc[scores["patient"] == "103", "label"] = 0  # two patients without IDC have no AUROC and no recall
    macro = Resampled.of(make_evaluation_sample(scores), options).patient_macro()
    groups = [group for _, group in scores.groupby(["hospital", "patient"])]
    both = [group for group in groups if group["label"].nunique() == 2]
    aurocs = [sk.roc_auc_score(group["label"], group["probability"]) for group in both]
    accuracies = [((group["probability"] >= 0.5) == group["label"]).mean() for group in groups]
    assert (macro["auroc"].value, macro["auroc"].n_patients) == (pytest.approx(np.mean(aurocs)), 18)
    assert (macro["accuracy"].value, macro["accuracy"].n_patients) == (pytest.approx(np.mean(accuracies)), 20)
    assert macro["recall"].n_patients == 18
    assert macro["ece"].value is None


def test_leaving_a_patient_out_is_leaving_its_rows_out(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    without = make_evaluation_sample(scores).without(3)
    hospital, patient = make_evaluation_sample(scores).patients[3]
    rest = make_evaluation_sample(scores[(scores["hospital"] != hospital) | (scores["patient"] != patient)])
    assert without.patients == rest.patients
    assert Resampled.of(without, options).pooled() == Resampled.of(rest, options).pooled()


def test_the_same_number_in_two_hospitals_is_two_patients(scores: pd.DataFrame) -> None:
    assert len(make_evaluation_sample(scores).patients) == 20
    assert scores["patient"].nunique() == 10


def test_effective_patients_are_all_of_equal_ones_and_one_of_a_giant(
    make_scores: Callable[..., pd.DataFrame],
) -> None:
    assert make_evaluation_sample(make_scores([7] * 12)).effective_patients == pytest.approx(12)
    assert make_evaluation_sample(make_scores([10_000, 1, 1])).effective_patients == pytest.approx(1, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(LABEL_AND_SCORE, min_size=1, max_size=40), st.data())
def test_ranking_agrees_with_scikit_learn_for_any_ties_and_weights(
    rows: list[tuple[bool, float, int]], data: st.DataObject
) -> None:
    positive, p, patient = (np.array(column) for column in zip(*rows, strict=True))
    sample = Sample(positive, p, patient, [("north", str(i)) for i in range(5)])
    evaluated = Resampled.of(sample, EvaluateOptions(resamples=100))
    weights = np.array([data.draw(st.lists(st.integers(0, 3), min_size=5, max_size=5))], dtype=float)
    each = weights[0][patient]
    has = [each[positive].sum() > 0, each[~positive].sum() > 0]
    auroc, auprc = (evaluated.values(metric, weights)[0] for metric in ("auroc", "auprc"))
    if all(has):
        assert auroc == pytest.approx(sk.roc_auc_score(positive, p, sample_weight=each), abs=1e-9)
    else:
        assert np.isnan(auroc)
    if has[0]:
        assert auprc == pytest.approx(sk.average_precision_score(positive, p, sample_weight=each), abs=1e-9)
    else:
        assert np.isnan(auprc)


@settings(max_examples=40, deadline=None)
@given(st.lists(LABEL_AND_SCORE, min_size=2, max_size=60))
def test_auroc_depends_on_the_order_of_scores_only(rows: list[tuple[bool, float, int]]) -> None:
    positive, p, patient = (np.array(column) for column in zip(*rows, strict=True))
    patients = [("north", str(i)) for i in range(5)]
    once = np.ones((1, 5))
    some = EvaluateOptions(resamples=100)
    plain = Resampled.of(Sample(positive, p, patient, patients), some).values("auroc", once)
    bent = Resampled.of(Sample(positive, p**3 / 2, patient, patients), some).values("auroc", once)
    flipped = Resampled.of(Sample(positive, 1 - p, patient, patients), some).values("auroc", once)
    np.testing.assert_array_equal(plain, bent)
    np.testing.assert_allclose(plain, 1 - flipped)


def test_many_distinct_probabilities_are_taken_in_steps_that_hardly_tell() -> None:
    rng = np.random.default_rng(0)
    patient = rng.integers(20, size=30_000)
    positive = rng.random(30_000) < 0.3
    p = rng.beta(2, 4, 30_000) + 0.3 * positive * rng.random(30_000)
    sample = Sample(positive, p, patient, [("north", str(i)) for i in range(20)])
    steps = count_ranking_steps(sample, most=2000)
    assert steps.positive.shape == (20, len(steps.tied))
    assert 1500 < len(steps.tied) <= 2000
    weights = rng.integers(3, size=(3, 20)).astype(float)
    exact = [sk.average_precision_score(positive, p, sample_weight=row[patient]) for row in weights]
    assert average_precision(steps, weights) == pytest.approx(exact, abs=5e-5)


def test_a_patients_own_average_precision_is_exact_with_ties(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    evaluated = Resampled.of(make_evaluation_sample(scores), options)
    groups = [group for _, group in scores.groupby(["hospital", "patient"])]
    assert evaluated.by_patient("auprc") == pytest.approx(
        [sk.average_precision_score(group["label"], group["probability"]) for group in groups]
    )
