from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scores import ScoreModel, draw_patches
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.evaluation.policy.calibration import (
    Calibrator,
    cross_fit,
    cross_fit_or_none,
    fit_calibrator,
    sigmoid,
)


def test_recovers_the_slope_and_intercept_that_made_the_labels() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, 40_000)
    labels = rng.random(40_000) < sigmoid(0.6 * logits - 1.1)
    fitted = fit_calibrator(logits, labels)
    assert fitted.slope == pytest.approx(0.6, abs=0.02)
    assert fitted.intercept == pytest.approx(-1.1, abs=0.04)


def test_agrees_with_scikit_learn_where_the_smoothing_of_the_targets_is_small() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 50_000)
    labels = rng.random(50_000) < sigmoid(1.5 * logits + 0.4)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], labels)
    fitted = fit_calibrator(logits, labels)
    assert fitted.slope == pytest.approx(oracle.coef_[0, 0], abs=2e-3)
    assert fitted.intercept == pytest.approx(oracle.intercept_[0], abs=2e-3)


def test_stays_finite_on_separable_logits() -> None:
    fitted = fit_calibrator([-9.0, -8.0, 8.0, 9.0], [0, 0, 1, 1])
    assert 0 < fitted.slope < 10
    assert fitted.apply([-9.0, 9.0]) == pytest.approx(
        [0.25, 0.75], abs=0.02
    )  # about 1 / (2 + 2) and (2 + 1) / (2 + 2)


@pytest.mark.parametrize("logit", [0.0, 5.0, -1e8])
def test_gives_the_prevalence_where_all_logits_are_equal(logit: float) -> None:
    fitted = fit_calibrator(np.full(400, logit), np.arange(400) < 100)
    assert fitted.slope == 0
    assert fitted.apply([logit, logit + 3]) == pytest.approx(0.25, abs=0.01)


def test_converges_from_logits_of_any_scale() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, 5_000)
    labels = rng.random(5_000) < sigmoid(logits)
    small = fit_calibrator(logits, labels)
    large = fit_calibrator(1000 * logits, labels)
    assert large.slope * 1000 == pytest.approx(small.slope, rel=1e-4)


def test_gives_probabilities_in_double_precision_from_single_precision_logits() -> None:
    probability = Calibrator(slope=1.0, intercept=0.0).apply(np.array([25.0], dtype=np.float32))
    assert probability.dtype == np.float64
    assert probability[0] < 1  # in single precision this would be 1


@pytest.mark.parametrize(("label", "missing"), [(0, "IDC"), (1, "no IDC")])
def test_refuses_one_class_naming_the_one_that_is_missing(label: int, missing: str) -> None:
    with pytest.raises(InsufficientEvidenceError, match=rf"labelled {missing}\."):
        fit_calibrator([0.0, 1.0, 2.0], [label] * 3)


def test_refuses_logits_that_are_not_finite() -> None:
    with pytest.raises(BcdError, match=r"\b1 logits"):
        fit_calibrator([0.0, np.nan], [0, 1])


def test_recovers_slope_and_intercept_from_patients_of_real_sizes() -> None:
    model = ScoreModel(patient_sd=0, slope_sd=0, slope=0.6, intercept=-0.8)
    patches = draw_patches(model, 1500, np.random.default_rng(4))
    fitted = fit_calibrator(patches.logit, patches.label)
    assert fitted.slope == pytest.approx(0.6, abs=0.015)
    assert fitted.intercept == pytest.approx(-0.8, abs=0.1)  # patients of very different prevalence


@dataclass(frozen=True)
class _Remembered:
    """A calibration that answers whether a logit was among those that it was fitted to."""

    seen: set[float]

    def apply(self, logits: ArrayLike) -> NDArray[np.float64]:
        return np.array([float(logit in self.seen) for logit in np.asarray(logits)])


def _remember(logits: ArrayLike, _labels: ArrayLike) -> _Remembered:
    return _Remembered(set(np.asarray(logits).tolist()))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.integers(2, 15))
def test_no_patient_is_calibrated_by_what_saw_it(patients: list[int], folds: int) -> None:
    if len(set(patients)) == 1:
        patients = [*patients, 13]
    logits = np.array(patients, dtype=np.float64)  # a patch carries its patient's number
    labels = np.zeros(len(patients))
    assert not cross_fit(logits, labels, patients, fit=_remember, folds=folds).any()


def test_a_patients_own_labels_do_not_move_its_cross_fitted_probabilities() -> None:
    patches = draw_patches(ScoreModel(), 12, np.random.default_rng(5))
    before = cross_fit(patches.logit, patches.label, patches.patient)
    for patient in range(12):
        mine = patches.patient == patient
        flipped = np.where(mine, 1 - patches.label, patches.label)
        after = cross_fit(patches.logit, flipped, patches.patient)
        np.testing.assert_array_equal(after[mine], before[mine])
        assert not np.array_equal(after[~mine], before[~mine])


def test_one_patient_cannot_be_cross_fitted() -> None:
    with pytest.raises(InsufficientEvidenceError):
        cross_fit([0.0, 1.0], [0, 1], ["a", "a"])
    assert cross_fit_or_none([0.0, 1.0], [0, 1], ["a", "a"], folds=5) is None
