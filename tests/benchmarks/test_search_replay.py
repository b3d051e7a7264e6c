"""The replay of strategies finds what is planted in a table, and pays for every epoch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from search_replay import BASE, Table, Tried, below_median, by_halving, by_racing, replay, worths

from bcd.preprocessing.options import PrepareOptions
from bcd.search.space import propose
from bcd.training.options import TrainOptions

ROWS, EPOCHS = 120, 9


@pytest.fixture(scope="module")
def planted() -> Table:
    """A table in which stem, order and rate decide, from the first epoch on, what a recipe is worth."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    points = []
    for _ in range(ROWS):
        trial = study.ask()
        propose(trial, TrainOptions(), PrepareOptions())
        points.append(dict(trial.params))
    worth = np.array([0.8 + _gain(point) for point in points])
    val = worth[:, None] - 0.1 / np.arange(1, EPOCHS + 1)
    resampled = np.broadcast_to(worth[:, None, None], (ROWS, 3, 50)) + np.zeros((ROWS, 3, 50))
    return Table(points, val, worth, np.ones(ROWS), resampled)


def _gain(point: dict[str, Any]) -> float:
    rate = 0.01 * np.log(point["learning_rate_factor"])
    return 0.04 * (point["stem"] == "strided") + 0.03 * (point["order"] == "conv-norm-relu") + float(rate)


def mean_worth(table: Table, strategy: tuple[str, str], trainings: float, replays: int = 40) -> float:
    compute = trainings * EPOCHS
    made = [replay(table, *strategy, compute, seed) for seed in range(replays)]
    return float(worths(table, made, compute).mean())


def test_the_same_seed_replays_the_same(planted: Table) -> None:
    assert replay(planted, *BASE, 90, 4) == replay(planted, *BASE, 90, 4)
    assert replay(planted, *BASE, 90, 4) != replay(planted, *BASE, 90, 5)


def test_a_whole_trial_costs_its_epochs_and_a_budget_ends_the_search(planted: Table) -> None:
    found = replay(planted, *BASE, 5 * EPOCHS, 1)
    assert found.spent == [EPOCHS * number for number in range(1, 6)]
    assert found.choice_at(EPOCHS - 1) is None


def test_the_choice_is_the_best_val_score_so_far(planted: Table) -> None:
    found = replay(planted, *BASE, 20 * EPOCHS, 1)
    assert all(planted.val[later, -1] >= planted.val[earlier, -1] for earlier, later in pairwise(found.chosen))


def test_every_row_is_tried_once_where_the_budget_has_no_end(planted: Table) -> None:
    found = replay(planted, *BASE, 1e9, 1)
    assert len(found.spent) == ROWS
    assert found.chosen[-1] == int(planted.worth.argmax())


@pytest.mark.parametrize("sampler", ["TPE", "TPE, spread start"])
def test_a_model_finds_what_is_planted_sooner_than_chance(planted: Table, sampler: str) -> None:
    assert mean_worth(planted, (sampler, "none"), 20) > mean_worth(planted, BASE, 20)


def test_a_gaussian_process_finds_it_too(planted: Table) -> None:
    assert mean_worth(planted, ("Gaussian process", "none"), 16, replays=2) > mean_worth(planted, BASE, 16)


@pytest.mark.parametrize("pruner", ["median", "halving from epoch 3", "Hyperband", "racing"])
def test_a_pruner_gains_where_early_epochs_foretell(planted: Table, pruner: str) -> None:
    assert mean_worth(planted, ("random", pruner), 12) > mean_worth(planted, BASE, 12)


def test_nothing_is_pruned_that_leads(planted: Table) -> None:
    best, others = int(planted.worth.argmax()), [int(row) for row in planted.worth.argsort()[:6]]
    tried = Tried(others, [EPOCHS] * 6)
    for epoch in range(1, EPOCHS):
        assert not below_median(planted, tried, best, epoch, first=1)
        assert not by_halving(planted, tried, best, epoch, rungs=(1, 3))
        assert not by_racing(planted, tried, best, epoch)


def test_what_lags_is_pruned_at_its_rung(planted: Table) -> None:
    worst, others = int(planted.worth.argmin()), [int(row) for row in planted.worth.argsort()[-6:]]
    tried = Tried(others, [EPOCHS] * 6)
    assert below_median(planted, tried, worst, 1, first=1)
    assert not below_median(planted, tried, worst, 2, first=3)
    assert by_halving(planted, tried, worst, 3, rungs=(3,))
    assert not by_halving(planted, tried, worst, 2, rungs=(3,))
    assert by_racing(planted, tried, worst, 3)
