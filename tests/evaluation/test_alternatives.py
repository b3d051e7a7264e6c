"""Isotonic and beta calibration are measured beside Platt's, on patients that no fit saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from bcd.evaluation.alternatives import FITS, compare_calibrations, fit_beta, fit_isotonic
from bcd.evaluation.calibration import cross_fit, fit_calibrator, sigmoid
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy_tables import calibration_table
from bcd.synthetic.scores import ScoredPatches, ScoreModel, draw_patches

OPTIONS = EvaluateOptions(resamples=200)


@pytest.fixture(scope="module")
def patches() -> ScoredPatches:
    """Scores that are too extreme by half, and shifted."""
    return draw_patches(ScoreModel(slope=0.5, intercept=0.7), 120, np.random.default_rng(1))


def test_beta_calibration_recovers_what_made_the_labels() -> None:
    rng = np.random.default_rng(2)
    p = sigmoid(rng.normal(0, 2, 200_000))
    labels = rng.random(200_000) < sigmoid(0.5 * np.log(p) - 1.4 * np.log(1 - p) + 0.3)
    fitted = fit_beta(np.log(p / (1 - p)), labels)
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((0.5, 1.4, 0.3), abs=0.06)


def test_beta_calibration_with_equal_weights_is_platts() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, 30_000)
    labels = rng.random(30_000) < sigmoid(0.7 * logits - 0.2)
    probe = np.linspace(-4, 4, 9)
    np.testing.assert_allclose(
        fit_beta(logits, labels).apply(probe), fit_calibrator(logits, labels).apply(probe), atol=0.02
    )


@pytest.mark.parametrize("kind", ["isotonic", "beta"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_higher_logit_never_gets_a_lower_probability(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 3, 40), np.arange(40) % 2  # labels that have nothing to do with the logits
    p = FITS[kind](logits, labels).apply(np.linspace(-30, 30, 200))
    assert (np.diff(p) >= -1e-12).all()
    assert p.min() >= 0
    assert p.max() <= 1


def test_isotonic_calibration_stays_off_zero_and_one_where_the_logits_separate_the_classes() -> None:
    p = fit_isotonic([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1]).apply([-9.0, 9.0])
    assert p == pytest.approx([0.25, 0.75])


def test_the_table_is_of_patients_that_the_fits_never_saw(patches: ScoredPatches) -> None:
    rows = {row.kind: row for row in compare_calibrations(patches.logit, patches.label, patches.patient, OPTIONS)}
    assert list(rows) == ["none", "platt", "isotonic", "beta"]
    for kind, row in rows.items():
        p = cross_fit(patches.logit, patches.label, patches.patient, fit=FITS[kind])
        assert row.log_loss.value == pytest.approx(log_loss(patches.label, p))
        assert row.brier.value == pytest.approx(brier_score_loss(patches.label, p))
        assert row.log_loss.low < row.log_loss.value < row.log_loss.high


def test_every_calibration_mends_scores_that_are_too_extreme(patches: ScoredPatches) -> None:
    none, *others = compare_calibrations(patches.logit, patches.label, patches.patient, OPTIONS)
    for row in others:
        assert row.log_loss.value < 0.9 * none.log_loss.value
        assert row.ece.value < 0.5 * none.ece.value


def test_too_few_patients_have_an_empty_table() -> None:
    assert compare_calibrations([0.0, 1.0], [0, 1], ["a", "a"], OPTIONS) == ()


def test_the_table_names_the_deployed_one(patches: ScoredPatches) -> None:
    text = calibration_table(compare_calibrations(patches.logit, patches.label, patches.patient, OPTIONS)).markdown()
    assert text.count("deployed") == 1
    assert text.count("\n| ") == 6
