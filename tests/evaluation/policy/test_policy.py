from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scores import ScoreModel, draw_patches

import bcd
from bcd.evaluation.calls import confidence, is_confident, is_idc
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import cross_fit, fit_calibrator
from bcd.evaluation.policy.policy import Policy, fit_policy

PROBABILITY = st.floats(0, 1)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99, 0.999, 0.9999])
def test_a_patch_exactly_at_the_level_counts_and_one_just_below_does_not(level: float) -> None:
    below = np.nextafter(level, 0)
    assert is_confident([level, below], level).tolist() == [True, False]


@given(PROBABILITY, st.floats(0.5, 0.9999))
def test_confidence_has_no_favourite_class(probability: float, level: float) -> None:
    mirrored = 1 - probability
    assert confidence(mirrored) == pytest.approx(confidence(probability))
    assert is_confident(probability, level) == (confidence(probability) >= level)


@given(PROBABILITY, st.floats(0.5, 0.9999), st.floats(0.5, 0.9999))
def test_what_is_confident_at_a_level_is_confident_at_every_lower_one(p: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert not is_confident(p, high) or is_confident(p, low)


def test_one_half_is_called_idc() -> None:
    assert is_idc([0.5, np.nextafter(0.5, 0)]).tolist() == [True, False]


def test_confidence_is_compared_in_one_place_only() -> None:
    compared = re.compile(r"confidence\([^)]*\)\s*[<>]|np\.maximum\(p, 1 - p\)")
    root = Path(bcd.__file__).parent
    places = [file.name for file in root.rglob("*.py") if compared.search(file.read_text())]
    assert places == ["calls.py"]


OPTIONS = EvaluateOptions(levels=[0.8, 0.9999])


def test_a_policy_survives_json_exactly() -> None:
    policy = fit_policy([-2.0, -1.0, 0.5, 3.0], [0, 0, 1, 1], ["a", "b", "a", "b"], OPTIONS)
    assert len(policy.certified) == 3
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


def test_the_deployed_calibrator_is_fitted_on_all_patients_and_the_thresholds_are_not() -> None:
    val = draw_patches(ScoreModel(), 100, np.random.default_rng(1))
    policy = fit_policy(val.logit, val.label, val.patient, OPTIONS)
    assert policy.calibrator == fit_calibrator(val.logit, val.label)
    crossed = cross_fit(val.logit, val.label, val.patient, folds=OPTIONS.folds)
    for row in policy.certified:
        confident = is_confident(crossed, row.tested)
        assert row.coverage == confident.mean()
        wrong = confident & (is_idc(crossed) != (val.label == 1))
        shares = [
            wrong[mine].sum() / mine.sum() for i in range(100) if (mine := confident & (val.patient == i)).any()
        ]
        assert row.error == pytest.approx(np.mean(shares))
        assert row.error_pooled == pytest.approx(wrong.sum() / confident.sum())
        assert (row.patients, row.n_patients) == (len(shares), 100)


def test_the_policy_does_not_depend_on_the_order_of_patches() -> None:
    val = draw_patches(ScoreModel(), 80, np.random.default_rng(2))
    shuffled = np.random.default_rng(3).permutation(len(val.label))
    one = fit_policy(val.logit, val.label, val.patient, OPTIONS)
    other = fit_policy(val.logit[shuffled], val.label[shuffled], val.patient[shuffled], OPTIONS)
    assert other.calibrator.slope == pytest.approx(one.calibrator.slope)
    assert [row.threshold for row in other.certified] == [row.threshold for row in one.certified]


def test_patients_whose_only_negatives_are_in_one_fold_have_a_policy_without_a_certificate() -> None:
    labels, patients = [0, 0, 1, 1, 1], ["a", "a", "b", "c", "d"]
    policy = fit_policy([-2.0, -1.0, 0.5, 3.0, 2.0], labels, patients, OPTIONS)
    assert [(row.threshold, row.patients) for row in policy.certified] == [(None, 0)] * 3
