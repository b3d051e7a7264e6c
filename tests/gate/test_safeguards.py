"""Checks beside the rule: drawn towards what is likelier, reported always, enforced from a minimum on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gate_simulation import CHALLENGERS, CHAMPION, EVALUATE, promotion_rate, simulate
from made_scores import ScoreModel, draw_score_pair
from scipy.stats import binom

from bcd.gate.options import GateOptions
from bcd.gate.plot import draw_gate_checks
from bcd.gate.rule import decide
from bcd.gate.safeguards import (
    check_safeguards,
    estimate_safeguard_spread,
    shrink_safeguard_groups,
    shrink_safeguard_to_zero,
)

OPTIONS = GateOptions()


def pair(patients=40, hospitals=1, seed=1):
    """The champion's and an equal challenger's scores."""
    model = ScoreModel(hospitals=hospitals)
    return draw_score_pair(model, CHAMPION, patients, seed, correlation=0.9)


def named(checks):
    return {check.name: check for check in checks}


def spoil(scores, rows, answer):
    """Answers the other way round in some rows, so surely that nobody misses it."""
    wrong = np.where(scores["label"] == 1, 1 - answer, answer)
    return scores.assign(probability=np.where(rows, wrong, scores["probability"]))


def test_a_sure_difference_stays_and_an_unsure_one_is_drawn_to_zero():
    assert shrink_safeguard_to_zero(0.1, 1e-6, 0.03)[0] == pytest.approx(0.1)
    assert shrink_safeguard_to_zero(0.1, 0.03, 0.03) == (pytest.approx(0.05), pytest.approx(0.03 / np.sqrt(2)))
    assert shrink_safeguard_to_zero(0.1, 10.0, 0.03)[0] == pytest.approx(0, abs=1e-6)


def test_groups_that_differ_by_noise_are_drawn_to_the_pooled_difference_and_others_keep_theirs():
    errors = np.full(4, 0.02)
    alike, spread = shrink_safeguard_groups(np.array([0.01, -0.01, 0.02, -0.02]), errors, 0.005, 0.01)
    assert alike == pytest.approx(0.005)
    assert spread == pytest.approx(0.01)  # as sure as the pooled one, and not surer
    apart, _ = shrink_safeguard_groups(np.array([0.3, -0.3, 0.2, -0.2]), errors, 0.0, 0.01)
    assert apart == pytest.approx([0.3, -0.3, 0.2, -0.2], rel=0.02)


def test_shrinkage_is_nearer_to_the_truth_than_what_was_seen():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 0.03, 400)
    errors = rng.uniform(0.01, 0.1, 400)
    seen = truth + errors * rng.normal(size=400)
    assert estimate_safeguard_spread(seen, errors) == pytest.approx(0.03**2, rel=0.5)
    shrunk, spread = shrink_safeguard_groups(seen, errors, 0.0, 0.0)
    assert np.mean((shrunk - truth) ** 2) < 0.5 * np.mean((seen - truth) ** 2)
    assert np.mean(np.abs(shrunk - truth) < 1.96 * spread) == pytest.approx(0.95, abs=0.04)


def test_an_equal_challenger_passes_every_check():
    checks = named(check_safeguards(*pair(hospitals=2), OPTIONS))

    assert set(checks) == {"calibration", "coverage", "hospital hospital-1", "hospital hospital-2", "patients"}
    assert all(check.passed for check in checks.values())
    assert all(check.low < check.value < check.high for check in checks.values())


def test_a_bias_rings_the_alarm_of_calibration_and_timidity_that_of_coverage():
    champion, challenger = pair(100)
    logit = np.log(challenger["probability"] / (1 - challenger["probability"]))
    biased = challenger.assign(probability=1 / (1 + np.exp(-logit - 2.5)))
    timid = challenger.assign(probability=1 / (1 + np.exp(-0.5 * logit)))

    assert not named(check_safeguards(champion, biased, OPTIONS))["calibration"].passed
    assert not named(check_safeguards(champion, timid, OPTIONS))["coverage"].passed
    verdict = decide(timid, champion, OPTIONS, EVALUATE)  # ranks and calls as the equal challenger does
    assert verdict.verdict == "HOLD"
    assert verdict.check("coverage").text in verdict.reasons


def test_one_hospital_that_loses_is_named():
    champion, challenger = pair(80, hospitals=2)
    there = (challenger["hospital"] == "hospital-2") & (np.arange(len(challenger)) % 4 == 0)
    checks = named(check_safeguards(champion, spoil(challenger, there, 0.9), OPTIONS))

    assert not checks["hospital hospital-2"].passed
    assert checks["hospital hospital-1"].passed
    assert checks["hospital hospital-2"].enforced  # forty patients of its own


def test_one_patient_who_loses_is_named_unless_a_few_patches_say_so():
    champion, challenger = pair(60)
    sizes = challenger.groupby("patient").size()
    large, small = sizes[sizes > 100].index[0], sizes.index[sizes.argmin()]

    check = named(check_safeguards(champion, spoil(challenger, challenger["patient"] == large, 0.9), OPTIONS))[
        "patients"
    ]
    assert not check.passed
    assert f"hospital-1/{large} " in check.text
    lost = named(check_safeguards(champion, spoil(challenger, challenger["patient"] == small, 0.9), OPTIONS))[
        "patients"
    ]
    assert lost.passed


def test_few_patients_are_reported_and_not_enforced():
    champion, challenger = pair(20)
    timid = challenger.assign(probability=0.5 + (challenger["probability"] - 0.5) * 0.5)
    coverage = named(check_safeguards(champion, timid, OPTIONS))["coverage"]

    assert (coverage.passed, coverage.enforced) == (False, False)
    assert re.search(r"\b20\b.*\b30\b", coverage.text)
    assert named(check_safeguards(champion, timid, GateOptions(enforce_from=20)))["coverage"].enforced


def test_a_hospital_of_few_patients_has_no_figure():
    champion, challenger = pair(8, hospitals=2)

    check = named(check_safeguards(champion, challenger, OPTIONS))["hospital hospital-1"]
    assert (check.passed, check.enforced, check.value) == (True, False, None)


def test_the_superior_rule_asks_for_more():
    champion, challenger = pair(60)

    lenient = decide(challenger, champion, GateOptions(), EVALUATE).check("auroc")
    strict = decide(challenger, champion, GateOptions(rule="superior"), EVALUATE).check("auroc")

    assert (lenient.limit, lenient.passed) == (-0.02, True)
    assert (strict.limit, strict.passed) == (0.0, False)


def test_the_confidence_of_the_gate_is_its_own():
    champion, challenger = pair()
    wide = decide(challenger, champion, GateOptions(), EVALUATE)
    same = decide(challenger, champion, GateOptions(), EVALUATE.model_copy(update={"confidence": 0.6}))
    assert wide.check("auroc") == same.check("auroc")
    narrow = decide(challenger, champion, GateOptions(confidence=0.6), EVALUATE).check("auroc")
    assert narrow.low > wide.check("auroc").low


def test_the_forest_plot_is_drawn_where_something_was_compared(tmp_path):
    champion, challenger = pair()
    verdict = decide(challenger, champion, OPTIONS, EVALUATE)

    assert draw_gate_checks(verdict, tmp_path / "gate.png").read_bytes().startswith(b"\x89PNG")
    assert draw_gate_checks(decide(challenger, None, OPTIONS, EVALUATE), tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("name", list(CHALLENGERS)[:3])
def test_a_challenger_that_is_worse_by_a_margin_is_hardly_ever_promoted(name):
    """At most 5 % of runs; forty allow up to five. In full in benchmarks/simulations_gate.py."""
    promoted = simulate(CHALLENGERS[name], 29, runs=40).sum()

    assert promoted <= binom.ppf(0.975, 40, 0.05)


@pytest.mark.parametrize("name", list(CHALLENGERS)[1:3])
def test_without_the_rule_s_margins_on_rates_it_would_be_promoted_often(name):
    assert simulate(CHALLENGERS[name], 29, runs=20, options=GateOptions(enforce_rates=False)).mean() >= 0.5


def test_a_better_challenger_is_mostly_promoted():
    """A gate that promotes nothing keeps its promise too, and is of no use."""
    better = CHALLENGERS["AUROC better by .02"]
    assert promotion_rate(better, 49, runs=20) >= 0.7
    assert simulate(better, 40, runs=10, looks=3).any(axis=1).mean() >= 0.8


def test_several_looks_at_the_same_patients_are_several_chances():
    promoted = simulate(CHALLENGERS["equal"], 29, runs=8, looks=3)

    assert promoted.shape == (8, 3)
    assert promoted.any(axis=1).mean() > promoted[:, 0].mean()
    assert (promoted[:, 0] == simulate(CHALLENGERS["equal"], 29, runs=8)[:, 0]).all()  # the first look is the same
