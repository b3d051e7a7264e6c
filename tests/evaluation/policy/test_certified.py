"""A certified threshold keeps its promise: few patients, no errors and a lucky sample do not make one."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scores import ScoredPatches, ScoreModel, draw_patches

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import fit_calibrator
from bcd.evaluation.policy.certified import (
    CertifiedThreshold,
    certify_threshold,
    patients_needed,
    shares,
    threshold_sequence,
    upper_bound,
)
from bcd.evaluation.policy.policy import Policy, fit_policy
from bcd.evaluation.report.tables import certified_threshold_table

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=80)
OPTIONS = EvaluateOptions(target_errors=[0.05])


def true_error(patches: ScoredPatches, policy: Policy, threshold: float) -> float:
    """What is promised, on patients so many that they are the population."""
    p = policy.calibrator.apply(patches.logit)
    confident = is_confident(p, threshold)
    wrong = confident & (is_idc(p) != (patches.label == 1))
    size = patches.patient.max() + 1
    counts = [np.bincount(patches.patient[which], minlength=size).astype(float) for which in (wrong, confident)]
    return float(shares(*counts).mean())


@pytest.mark.parametrize(("target", "needed"), [(0.05, 61), (0.02, 153), (0.01, 308)])
def test_spotless_patients_certify_a_target_from_the_number_that_is_said_to_be_needed(
    target: float, needed: int
) -> None:
    assert patients_needed(target, 0.95) == needed
    for patients, certifies in ((needed, True), (needed - 1, False)):
        spotless = certify_threshold(target, lambda _, n=patients: (np.zeros(n), np.ones(n)), patients, 0.95)  # type: ignore[misc]
        assert (spotless.threshold is not None) is certifies
        assert (upper_bound(np.zeros(patients), 0.95) <= target) is certifies


@settings(max_examples=100, deadline=None)
@given(SHARES, st.integers(0, 79), st.floats(0, 1))
def test_the_bound_is_above_the_mean_and_falls_with_no_error(values: list[float], index: int, raised: float) -> None:
    share = np.array(values)
    bound = upper_bound(share, 0.95)
    assert share.mean() - 1e-9 <= bound <= 1
    share[index % len(share)] = max(raised, share[index % len(share)])
    assert upper_bound(share, 0.95) >= bound - 1e-9


@pytest.mark.parametrize("n", [5, 40, 200])
def test_the_bound_holds_in_95_of_100_samples_of_lopsided_shares(n: int) -> None:
    rng = np.random.default_rng(n)
    population = np.concatenate([np.zeros(700), rng.beta(0.5, 20, 250), rng.uniform(0.2, 1, 50)])
    held = [upper_bound(rng.choice(population, n), 0.95) >= population.mean() for _ in range(400)]
    assert np.mean(held) >= 0.95


def test_the_thresholds_to_be_tested_are_fixed_beforehand_from_strict_to_loose() -> None:
    sequence = threshold_sequence(0.05)
    assert sequence == sorted(set(sequence), reverse=True)
    assert sequence[0] == pytest.approx(1 - 0.05 / 3, abs=1e-4)
    assert sequence[-1] == 0.5


def _stepwise(errors: dict[float, float]) -> CertifiedThreshold:
    """Certifies 2,000 patients of whom a share is wrong that depends on the confidence by steps."""

    def by_patient(level: float) -> tuple[np.ndarray, np.ndarray]:
        share = next(value for start, value in errors.items() if level >= start)
        return np.full(2000, share * 100), np.full(2000, 100.0)

    return certify_threshold(0.05, by_patient, 400_000, 0.95)


def test_the_loosest_threshold_before_the_first_failure_is_certified() -> None:
    found = _stepwise({0.9: 0.01, 0.7: 0.2, 0.5: 0.01})
    assert found.threshold == found.tested
    assert 0.9 <= found.threshold < 0.91  # at 0.5 the error is small again: not looked at
    assert found.error == pytest.approx(0.01)
    assert found.coverage == pytest.approx(0.5)
    assert found.error < found.bound <= 0.05


def test_a_failure_at_the_strictest_threshold_certifies_none_and_says_why() -> None:
    found = _stepwise({0.97: 0.2, 0.5: 0.01})
    assert found.threshold is None
    assert found.tested == threshold_sequence(0.05)[0]
    assert found.bound > 0.2
    assert re.findall(r"\d+", found.verdict) == ["2000"]  # patients, and none that it takes


@pytest.fixture(scope="module")
def population() -> ScoredPatches:
    return draw_patches(ScoreModel(slope=0.7, intercept=0.5), 2000, np.random.default_rng(99))


def test_a_certified_threshold_keeps_its_promise_and_still_decides(population: ScoredPatches) -> None:
    model = ScoreModel(slope=0.7, intercept=0.5)
    errors, coverages = [], []
    for seed in range(15):
        val = draw_patches(model, 300, np.random.default_rng(seed))
        policy = fit_policy(val.logit, val.label, val.patient, OPTIONS)
        (certified,) = policy.certified
        assert certified.threshold is not None
        errors.append(true_error(population, policy, certified.threshold))
        coverages.append(certified.coverage)
    assert np.mean(np.array(errors) > 0.05) <= 0.05
    assert np.median(errors) > 0.02  # not by keeping hardly anything
    assert np.median(coverages) > 0.7


def test_it_is_the_bound_and_not_the_mean_that_keeps_the_promise(population: ScoredPatches) -> None:
    broken = []
    for seed in range(12):
        val = draw_patches(ScoreModel(slope=0.7, intercept=0.5), 80, np.random.default_rng(seed))
        calibrator = fit_calibrator(val.logit, val.label)
        policy = Policy(calibrator=calibrator, levels=())
        by_mean = min(
            level for level in np.linspace(0.5, 0.98, 49) if true_error(val, policy, level) <= 0.05
        )  # what a careless author would deploy
        broken.append(true_error(population, policy, by_mean) > 0.05)
    assert np.mean(broken) > 0.2


@pytest.mark.parametrize("n_patients", [1, 2, 45])
def test_few_patients_get_the_honest_answer(n_patients: int) -> None:
    labels = np.tile([0, 1], 20 * n_patients)
    patients = np.repeat(np.arange(n_patients), 40)
    certified = fit_policy(9.0 * labels - 4.5, labels, patients, EvaluateOptions()).certified  # without an error
    assert [row.threshold for row in certified] == [None] * 3
    assert [row.patients_needed for row in certified] == [61, 153, 308]
    assert re.findall(r"\d+", certified[0].verdict) == [str(n_patients), "61"]


def test_the_table_gives_the_verdict_of_each_target() -> None:
    val = draw_patches(ScoreModel(), 150, np.random.default_rng(1))
    certified = fit_policy(val.logit, val.label, val.patient, EvaluateOptions()).certified
    rows = certified_threshold_table(certified).rows
    assert [row[0] for row in rows] == ["≤ 5 %", "≤ 2 %", "≤ 1 %"]
    assert f"≥ {certified[0].threshold:.2%}"[:4] in rows[0][1]
    assert rows[2][1] == certified[2].verdict
    assert re.findall(r"\d+", rows[2][1]) == ["150", "308"]
