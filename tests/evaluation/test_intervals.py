from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from bcd.evaluation.bootstrap import draw_resamples, exact_bound, interval
from bcd.evaluation.metrics import Judged
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.sample import read_sample

OPTIONS = EvaluateOptions()


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    weights = draw_resamples(17, OPTIONS)
    assert weights.shape == (2000, 17)
    assert (weights.sum(axis=1) == 17).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 17, abs=0.02)  # binomial


def test_an_interval_is_the_middle_of_the_resamples() -> None:
    low, high, dropped = interval(0.5, np.linspace(0, 1, 1001), n_patients=9, options=OPTIONS)
    assert (low, high, dropped) == (pytest.approx(0.025), pytest.approx(0.975), 0)


def test_a_metric_undefined_on_few_resamples_keeps_its_interval_and_counts_them() -> None:
    resampled = np.append(np.linspace(0, 1, 1900), np.full(100, np.nan))
    low, high, dropped = interval(0.5, resampled, n_patients=9, options=OPTIONS)
    assert (low, high, dropped) == (pytest.approx(0.025), pytest.approx(0.975), 100)


def test_a_metric_undefined_on_over_5_per_cent_of_resamples_has_no_interval() -> None:
    resampled = np.append(np.linspace(0, 1, 1899), np.full(101, np.nan))
    assert interval(0.5, resampled, n_patients=9, options=OPTIONS) == (None, None, 101)


@pytest.mark.parametrize("n_patients", [10, 29, 300])
def test_no_error_seen_is_bounded_exactly_over_patients(n_patients: int) -> None:
    clopper_pearson = beta.ppf(0.975, 1, n_patients)  # upper bound of a share seen in none
    assert exact_bound(n_patients, OPTIONS) == pytest.approx(clopper_pearson)
    none, always = np.zeros(2000), np.ones(2000)
    assert interval(1.0, always, n_patients=n_patients, options=OPTIONS)[:2] == (
        1 - exact_bound(n_patients, OPTIONS),
        1,
    )
    assert interval(0.0, none, n_patients=n_patients, options=OPTIONS)[:2] == (0, exact_bound(n_patients, OPTIONS))


def test_one_and_the_same_value_elsewhere_is_no_certainty() -> None:
    assert interval(0.5, np.full(2000, 0.5), n_patients=12, options=OPTIONS) == (None, None, 0)


def test_a_perfect_model_is_not_shown_as_certain(make_scores: Callable[..., pd.DataFrame]) -> None:
    scores = make_scores([20] * 15)
    scores["probability"] = np.where(scores["label"] == 1, 0.97, 0.02)
    pooled = Judged.of(read_sample(scores), OPTIONS).pooled()
    for metric in ("auroc", "auprc", "accuracy", "balanced_accuracy", "recall", "precision", "f1"):
        estimate = pooled[metric]
        assert (estimate.value, estimate.high) == (1, 1), metric
        assert estimate.low == pytest.approx(0.025 ** (1 / estimate.n_patients)), metric


def test_an_interval_by_patient_is_wider_than_one_by_patch(make_scores: Callable[..., pd.DataFrame]) -> None:
    scores = make_scores([60] * 25, separation=1.0)
    by_patient = Judged.of(read_sample(scores), OPTIONS).pooled()["auroc"]
    by_patch = Judged.of(read_sample(scores.assign(patient=np.arange(len(scores)).astype(str))), OPTIONS).pooled()[
        "auroc"
    ]
    assert by_patient.value == pytest.approx(by_patch.value)
    assert (by_patient.high - by_patient.low) > 1.3 * (by_patch.high - by_patch.low)


def test_the_interval_of_the_calibration_error_holds_it(make_scores: Callable[..., pd.DataFrame]) -> None:
    # Named after a defect: resampling adds noise, and the plain percentile interval lay above the figure itself.
    rng = np.random.default_rng(0)
    scores = make_scores([40] * 30)
    scores["probability"] = rng.random(len(scores))
    scores["label"] = (rng.random(len(scores)) < scores["probability"]).astype(int)
    error = Judged.of(read_sample(scores), OPTIONS).pooled()["ece"]
    assert 0 <= error.low < error.value < error.high


def test_the_rate_of_a_class_that_only_some_patients_have_counts_those(
    make_scores: Callable[..., pd.DataFrame],
) -> None:
    scores = make_scores([30] * 14)
    scores.loc[scores["hospital"] == "north", "label"] = 0
    judged = Judged.of(read_sample(scores), OPTIONS).pooled()
    positive = scores[scores["label"] == 1]
    assert (judged["recall"].n_patches, judged["recall"].n_patients) == (len(positive), 7)
    assert judged["recall"].value is None  # under 10 patients
    assert judged["auroc"].value is None  # its rarer class is in under 10 patients
    assert judged["accuracy"].value is not None
    lowered = Judged.of(read_sample(scores), EvaluateOptions(min_patients=5)).pooled()
    assert lowered["recall"].value is not None
    assert lowered["auroc"].n_patients == 7


@pytest.mark.parametrize(("patients", "patches", "shown"), [(10, 3, True), (9, 4, False), (10, 2, False)])
def test_a_rate_needs_30_patches_and_10_patients(
    patients: int, patches: int, shown: bool, make_scores: Callable[..., pd.DataFrame]
) -> None:
    accuracy = Judged.of(read_sample(make_scores([patches] * patients)), OPTIONS).pooled()["accuracy"]
    assert (accuracy.value is not None) is shown
    assert (accuracy.n_patches, accuracy.n_patients) == (patients * patches, patients)


def test_one_class_leaves_what_needs_both_undefined(make_scores: Callable[..., pd.DataFrame]) -> None:
    pooled = Judged.of(read_sample(make_scores([30] * 12).assign(label=0)), OPTIONS).pooled()
    undefined = {metric for metric, estimate in pooled.items() if estimate.value is None}
    assert undefined == {"auroc", "auprc", "balanced_accuracy", "recall"}
