from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.evaluation.calibration import Calibrator, fit_calibrator, sigmoid


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


def test_gives_the_prevalence_where_all_logits_are_equal() -> None:
    fitted = fit_calibrator(np.full(400, 5.0), np.arange(400) < 100)
    assert fitted.apply(5.0) == pytest.approx(0.25, abs=0.01)


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
    with pytest.raises(BcdError, match="1 logits are not finite"):
        fit_calibrator([0.0, np.nan], [0, 1])
