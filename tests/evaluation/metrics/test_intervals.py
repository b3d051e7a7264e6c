from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, t

from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.metrics.intervals import (
    Statistic,
    draw_resamples,
    exact_bound,
    expected_variance,
    interval,
    percentiles,
    standard_error,
)
from bcd.evaluation.metrics.metrics import Resampled, measure_leverage, ratio
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions

OPTIONS = EvaluateOptions()
PERCENTILE = EvaluateOptions(interval="percentile")


def constant(value: float) -> Statistic:
    return lambda weights: np.full(len(weights), value)


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    weights = draw_resamples(17, OPTIONS)
    assert weights.shape == (2000, 17)
    assert (weights.sum(axis=1) == 17).all()
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 17, abs=0.02)  # binomial


def test_the_percentile_interval_is_the_middle_of_the_resamples() -> None:
    assert percentiles(np.linspace(0, 1, 1001), OPTIONS) == (pytest.approx(0.025), pytest.approx(0.975), 0)
    right, patches = np.arange(1.0, 21), np.full(20, 25.0)
    weights = draw_resamples(20, PERCENTILE)
    low, high, _ = interval(ratio(right, patches), weights, patches, PERCENTILE)
    assert (low, high) == pytest.approx(tuple(np.quantile(weights @ right / 500, [0.025, 0.975])))


def test_a_metric_undefined_on_few_resamples_keeps_its_interval_and_counts_them() -> None:
    resampled = np.append(np.linspace(0, 1, 1900), np.full(100, np.nan))
    assert percentiles(resampled, OPTIONS) == (pytest.approx(0.025), pytest.approx(0.975), 100)


def test_a_metric_undefined_on_over_5_per_cent_of_resamples_has_no_interval() -> None:
    resampled = np.append(np.linspace(0, 1, 1899), np.full(101, np.nan))
    assert percentiles(resampled, OPTIONS) == (None, None, 101)


def test_equal_patients_are_so_many_independent_draws() -> None:
    """With equal sizes both variances are the textbook's, and the interval is the exact binomial one at it."""
    n = 40
    right = np.random.default_rng(1).binomial(50, 0.8, n).astype(float)
    patches = np.full(n, 50.0)
    error = (right / 50).std(ddof=1) / np.sqrt(n)
    assert standard_error(ratio(right, patches), patches) == pytest.approx(error, rel=0.03)
    p = right.sum() / patches.sum()
    draws = p * (1 - p) / standard_error(ratio(right, patches), patches) ** 2
    draws *= (1.959964 / t.ppf(0.975, n - 1)) ** 2
    expected = beta.ppf(0.025, p * draws, draws - p * draws + 1), beta.ppf(0.975, p * draws + 1, draws - p * draws)
    low, high, dropped = interval(ratio(right, patches), draw_resamples(n, OPTIONS), patches, OPTIONS)
    assert ((low, high), dropped) == (pytest.approx(expected, abs=1e-6), 0)


def test_what_is_expected_of_patients_is_how_patients_and_their_patches_differ() -> None:
    """Drawn with known components: the fit finds the variance of the pooled mean, unequal sizes or not."""
    rng = np.random.default_rng(0)
    sizes = np.repeat([5.0, 20.0, 80.0, 400.0], 1000)
    share = sizes / sizes.sum()
    residual = rng.normal(0, np.sqrt(0.04 + 0.9 / sizes))
    change = -share / (1 - share) * residual
    assert expected_variance(change, sizes) == pytest.approx(share**2 @ (0.04 + 0.9 / sizes), rel=0.1)


def test_one_large_patient_widens_the_interval_though_it_shows_nothing() -> None:
    """Named after a defect of the jackknife alone: a giant that lies at the mean seems to say that it must."""
    sizes = np.append(np.linspace(10, 90, 40), 3000.0)
    share = np.append(np.tile([0.65, 0.95], 20), 0.8)
    statistic = ratio(share * sizes, sizes)
    without = np.array([statistic(row[None])[0] for row in 1 - np.eye(41)])
    jackknife = np.sqrt(40 / 41 * ((without - statistic(np.ones((1, 41)))) ** 2).sum())
    assert standard_error(statistic, sizes) > 3 * jackknife


@pytest.mark.parametrize("n_patients", [10, 29, 300])
@pytest.mark.parametrize("options", [OPTIONS, PERCENTILE])
def test_no_error_seen_is_bounded_exactly_over_patients(n_patients: int, options: EvaluateOptions) -> None:
    clopper_pearson = beta.ppf(0.975, 1, n_patients)  # upper bound of a share seen in none
    assert exact_bound(n_patients, options) == pytest.approx(clopper_pearson)
    weights, patches = draw_resamples(n_patients, options), np.ones(n_patients)
    assert interval(constant(1.0), weights, patches, options)[:2] == (pytest.approx(1 - clopper_pearson), 1)
    assert interval(constant(0.0), weights, patches, options)[:2] == (0, pytest.approx(clopper_pearson))


@pytest.mark.parametrize("options", [OPTIONS, PERCENTILE])
def test_no_interval_has_no_width(options: EvaluateOptions) -> None:
    weights, patches = draw_resamples(12, options), np.ones(12)
    assert interval(constant(0.5), weights, patches, options) == (None, None, 0)  # nothing is seen of how it varies
    low, high, _ = interval(constant(0.0), weights, patches, options, signed=True)
    assert -low == high == pytest.approx(exact_bound(12, options))


def test_equal_scores_rank_nothing_and_have_no_interval(
    make_scores: Callable[..., pd.DataFrame],
) -> None:
    pooled = evaluate_scores(
        make_scores([40] * 12).assign(probability=0.5), OPTIONS, snapshot="", split="given"
    ).pooled
    for metric, value in (("auroc", 0.5), ("balanced_accuracy", 0.5), ("brier", 0.25)):
        assert (pooled[metric].value, pooled[metric].low, pooled[metric].high) == (value, None, None)
    for metric in ("auprc", "accuracy", "ece"):  # these follow the prevalence, which differs between patients
        assert pooled[metric].low < pooled[metric].value < pooled[metric].high


def test_one_patient_has_no_interval() -> None:
    weights = draw_resamples(5, OPTIONS)
    alone = np.array([0.0, 30, 0, 0, 0])
    assert interval(ratio(alone / 2, alone), weights, alone, OPTIONS) == (None, None, 0)


def test_a_metric_undefined_without_one_of_its_patients_has_no_interval(
    make_scores: Callable[..., pd.DataFrame],
) -> None:
    scores = make_scores([30] * 14)
    scores.loc[(scores["hospital"] == "north") | (scores["patient"] != "100"), "label"] = 0
    evaluated = Resampled.of(make_evaluation_sample(scores), EvaluateOptions(min_patients=1, min_patches=1))
    auroc = evaluated.pooled()["auroc"]
    assert auroc.value is not None
    assert auroc.low is auroc.high is None


def test_a_patient_of_one_class_counts_in_a_metric_of_both(make_scores: Callable[..., pd.DataFrame]) -> None:
    scores = make_scores([30] * 14)
    scores.loc[scores["hospital"] == "north", "label"] = 0
    tallies = Resampled.of(make_evaluation_sample(scores), OPTIONS).tallies
    assert (measure_leverage("auroc", tallies) > 0).all()
    assert measure_leverage("auroc", tallies).sum() == pytest.approx(14 * 30)
    assert np.count_nonzero(measure_leverage("recall", tallies)) == 7


def test_a_perfect_model_is_not_shown_as_certain(make_scores: Callable[..., pd.DataFrame]) -> None:
    scores = make_scores([20] * 15)
    scores["probability"] = np.where(scores["label"] == 1, 0.97, 0.02)
    pooled = Resampled.of(make_evaluation_sample(scores), OPTIONS).pooled()
    for metric in ("auroc", "auprc", "accuracy", "balanced_accuracy", "recall", "precision", "f1"):
        estimate = pooled[metric]
        assert (estimate.value, estimate.high) == (1, 1), metric
        assert estimate.low == pytest.approx(0.025 ** (1 / estimate.n_patients)), metric


def test_an_interval_by_patient_is_wider_than_one_by_patch(make_scores: Callable[..., pd.DataFrame]) -> None:
    scores = make_scores([60] * 25, separation=1.0)
    by_patient = Resampled.of(make_evaluation_sample(scores), OPTIONS).pooled()["auroc"]
    by_patch = Resampled.of(
        make_evaluation_sample(scores.assign(patient=np.arange(len(scores)).astype(str))), OPTIONS
    ).pooled()["auroc"]
    assert by_patient.value == pytest.approx(by_patch.value)
    assert (by_patient.high - by_patient.low) > 1.3 * (by_patch.high - by_patch.low)


def test_the_interval_of_the_calibration_error_holds_it(make_scores: Callable[..., pd.DataFrame]) -> None:
    # Named after a defect: resampling adds noise, and the plain percentile interval lay above the figure itself.
    rng = np.random.default_rng(0)
    scores = make_scores([40] * 30)
    scores["probability"] = rng.random(len(scores))
    scores["label"] = (rng.random(len(scores)) < scores["probability"]).astype(int)
    error = Resampled.of(make_evaluation_sample(scores), OPTIONS).pooled()["ece"]
    assert 0 <= error.low < error.value < error.high


def test_the_rate_of_a_class_that_only_some_patients_have_counts_those(
    make_scores: Callable[..., pd.DataFrame],
) -> None:
    scores = make_scores([30] * 14)
    scores.loc[scores["hospital"] == "north", "label"] = 0
    evaluated = Resampled.of(make_evaluation_sample(scores), OPTIONS).pooled()
    positive = scores[scores["label"] == 1]
    assert (evaluated["recall"].n_patches, evaluated["recall"].n_patients) == (len(positive), 7)
    assert evaluated["recall"].value is None  # under 10 patients
    assert evaluated["auroc"].value is None  # its rarer class is in under 10 patients
    assert evaluated["accuracy"].value is not None
    lowered = Resampled.of(make_evaluation_sample(scores), EvaluateOptions(min_patients=5)).pooled()
    assert lowered["recall"].value is not None
    assert lowered["auroc"].n_patients == 7


@pytest.mark.parametrize(("patients", "patches", "shown"), [(10, 3, True), (9, 4, False), (10, 2, False)])
def test_a_rate_needs_30_patches_and_10_patients(
    patients: int, patches: int, shown: bool, make_scores: Callable[..., pd.DataFrame]
) -> None:
    accuracy = Resampled.of(make_evaluation_sample(make_scores([patches] * patients)), OPTIONS).pooled()["accuracy"]
    assert (accuracy.value is not None) is shown
    assert (accuracy.n_patches, accuracy.n_patients) == (patients * patches, patients)


def test_one_class_leaves_what_needs_both_undefined(make_scores: Callable[..., pd.DataFrame]) -> None:
    pooled = Resampled.of(make_evaluation_sample(make_scores([30] * 12).assign(label=0)), OPTIONS).pooled()
    undefined = {metric for metric, estimate in pooled.items() if estimate.value is None}
    assert undefined == {"auroc", "auprc", "balanced_accuracy", "recall"}
