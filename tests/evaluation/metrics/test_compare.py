from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from bcd.errors import BcdError
from bcd.evaluation.metrics.compare import compare_metrics
from bcd.evaluation.metrics.intervals import expected_variance
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions


@pytest.fixture
def better(scores: pd.DataFrame) -> pd.DataFrame:
    """The same patches, scored by a model that has seen a little more."""
    logit = scores["logit"] + 0.8 * (scores["label"] - 0.5)
    return scores.assign(logit=logit, probability=1 / (1 + np.exp(-logit)))


def test_a_difference_is_second_minus_first(
    scores: pd.DataFrame, better: pd.DataFrame, options: EvaluateOptions
) -> None:
    differences = compare_metrics(scores, better, options)
    aurocs = [roc_auc_score(frame["label"], frame["probability"]) for frame in (scores, better)]
    assert differences["auroc"].value == pytest.approx(aurocs[1] - aurocs[0])
    assert 0 < differences["auroc"].low < differences["auroc"].value < differences["auroc"].high
    assert differences["brier"].high < 0
    assert set(differences) == {"auroc", "accuracy", "recall", "specificity", "brier"}


def test_swapping_the_models_flips_every_sign(
    scores: pd.DataFrame, better: pd.DataFrame, options: EvaluateOptions
) -> None:
    there, back = compare_metrics(scores, better, options), compare_metrics(better, scores, options)
    for metric, difference in there.items():
        swapped = back[metric]
        mirrored = (-swapped.value, -swapped.high, -swapped.low)
        assert (difference.value, difference.low, difference.high) == pytest.approx(mirrored, abs=1e-12)


def test_both_models_lose_the_same_patient(
    scores: pd.DataFrame, better: pd.DataFrame, options: EvaluateOptions
) -> None:
    """Leaving a patient out of both by hand gives the interval: Student's, at the error of the difference."""
    found = compare_metrics(scores, better, options)["accuracy"]
    sample, other = make_evaluation_sample(scores), make_evaluation_sample(better)
    gain = (other.probability >= 0.5).astype(float) == other.positive
    loss = (sample.probability >= 0.5).astype(float) == sample.positive
    change = gain.astype(float) - loss
    without = [change[sample.patient != i].mean() - change.mean() for i in range(20)]
    shown = 19 / 20 * np.sum(np.square(without))
    error = np.sqrt((shown + expected_variance(np.array(without), sample.sizes.astype(float))) / 2)
    half = t.ppf(0.975, 19) * error
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_both_models_see_the_same_resamples(scores: pd.DataFrame, better: pd.DataFrame) -> None:
    options = EvaluateOptions(resamples=200, interval="percentile")
    sample, other = make_evaluation_sample(scores), make_evaluation_sample(better)
    n_patients = len(sample.patients)
    drawn = np.random.default_rng(options.seed).integers(n_patients, size=(options.resamples, n_patients))
    rows = [np.flatnonzero(sample.patient == patient) for patient in range(n_patients)]
    naive = []
    for draw in drawn:
        chosen = np.concatenate([rows[patient] for patient in draw])
        a, b = (np.mean((s.probability[chosen] >= 0.5) == s.positive[chosen]) for s in (sample, other))
        naive.append(b - a)
    found = compare_metrics(scores, better, options)["accuracy"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=1e-12)


def test_the_order_of_rows_does_not_matter(
    scores: pd.DataFrame, better: pd.DataFrame, options: EvaluateOptions
) -> None:
    shuffled = better.sample(frac=1, random_state=7)
    for metric, difference in compare_metrics(scores, shuffled, options).items():
        expected = compare_metrics(scores, better, options)[metric]
        assert difference.model_dump() == pytest.approx(expected.model_dump(), abs=1e-12)


def test_a_model_does_not_differ_from_itself(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    for difference in compare_metrics(scores, scores, options).values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_models_never_seen_to_decide_differently_are_not_shown_to_be_the_same(
    scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    bent = scores.assign(probability=0.5 + (scores["probability"] - 0.5) * 0.9)
    recall = compare_metrics(scores, bent, options)["recall"]
    assert recall.value == 0
    assert recall.high == pytest.approx(1 - 0.025 ** (1 / recall.n_patients))
    assert recall.low == -recall.high
    assert recall.high > 0


def test_few_patients_give_a_difference_without_an_interval(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    scores = make_scores([40] * 9)
    difference = compare_metrics(scores, scores.assign(probability=scores["probability"] ** 2), options)["accuracy"]
    assert difference.value is not None
    assert difference.low is difference.high is None
    assert difference.n_patients == 9


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.iloc[1:], "1 differ, such as south/100/1/1/1"),
        (lambda s: s.assign(hospital=s["hospital"] + "-2"), "same patches"),
        (lambda s: s.assign(label=1 - s["label"]), "disagree about labels"),
        (lambda s: pd.concat([s, s.iloc[:1]]), "south/100/1/1/1"),
        (lambda s: s.drop(columns="slide"), r"\bslide\b"),
    ],
)
def test_frames_of_other_patches_are_refused(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str, scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    with pytest.raises(BcdError, match=message):
        compare_metrics(scores, spoil(scores), options)
