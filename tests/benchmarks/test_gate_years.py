"""What the gate promises over years, in small; in full in benchmarks/simulations_gate.py."""

from __future__ import annotations

import numpy as np
import pytest
from gate_simulation import CHALLENGERS, draw_scores, is_promoted, may_pass
from gate_years import Years, list_levels, live
from scipy.stats import binom

from bcd.gate.options import GateOptions

OPTIONS = GateOptions()
WORSE = [
    pytest.param(Years(-OPTIONS.margin / 2, arrivals=0.5), id="by half the margin each"),
    pytest.param(Years(-OPTIONS.margin), id="by the margin each"),
]


@pytest.mark.parametrize("years", WORSE)
def test_in_five_years_the_champion_is_hardly_ever_worse_than_the_anchor_by_the_margin(years: Years) -> None:
    worse = live(years, hospitals=200, options=OPTIONS).is_worse(OPTIONS.margin)
    assert worse.sum() <= binom.ppf(0.975, 200, OPTIONS.budget)


@pytest.mark.parametrize("years", WORSE)
def test_without_the_anchor_it_often_is(years: Years) -> None:
    worse = live(years, hospitals=200, options=OPTIONS, anchored=False).is_worse(OPTIONS.margin)
    assert worse.sum() > binom.ppf(0.999, 200, OPTIONS.budget)


def test_the_anchor_moves_upwards_only() -> None:
    lived = live(Years(0.01, arrivals=1.0, weeks=52), hospitals=50, options=OPTIONS)
    steps = np.diff(lived.anchor, axis=0)
    assert (steps > 0).any()
    assert (steps < 0).sum() <= binom.ppf(0.975, 50, OPTIONS.budget)


def test_an_equal_challenger_is_not_stuck_while_new_gate_patients_come() -> None:
    lived = live(Years(0.0, arrivals=0.5, weeks=52), hospitals=50, options=OPTIONS)
    assert lived.promoted.any(axis=0).mean() > 0.5


def test_what_the_looks_of_years_spend_is_within_the_budget() -> None:
    assert sum(list_levels(Years(arrivals=2.0), OPTIONS)) < OPTIONS.budget


@pytest.mark.parametrize("name", ["equal", "AUROC better by .01"])
def test_asking_for_the_auroc_first_changes_no_verdict(name: str) -> None:
    options = GateOptions(enforce_rates=False, enforce_from=1000)
    for run in range(4):
        champion, other = draw_scores(CHALLENGERS[name], 20, 1, np.random.default_rng([3, run]))
        found = is_promoted(champion, other, 0.01, options)
        assert may_pass(champion, other, 0.01, options) == found
