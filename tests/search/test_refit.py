"""Refits: who is refitted, with which seeds, and what is chosen by them."""

from __future__ import annotations

import re
from collections.abc import Callable

from workbench import Bench

from bcd.networks.architecture import PRESETS
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult
from bcd.training.loop import DivergedError
from bcd.training.options import TrainOptions

Study = Callable[..., StudyResult]
THREE = SearchOptions(trials=2, epochs=2, seeds=3, best=2, pruning=False)
TWO = THREE.model_copy(update={"seeds": 2, "best": 1, "trials": 3})


def _refits(bench: Bench) -> list[tuple[str, int, int]]:
    return [(name, options.seed, options.epochs) for name, _, options in bench.trained if "seed" in name]


def test_the_best_and_the_default_are_refitted_with_new_seeds(study: Study, bench: Bench) -> None:
    result = study(THREE)
    complete = [trial for trial in result.trials if trial.state == "complete" and trial.allowed and trial.number]
    best = sorted(complete, key=lambda trial: -trial.value)[:2]
    numbers = [0, *(trial.number for trial in best)]
    assert _refits(bench) == [
        (f"trial-{number}-seed-{seed}", 1 + seed, 2) for number in numbers for seed in (1, 2, 3)
    ]
    assert [gain.trial for gain in result.gains] == numbers[1:]
    trained = len(bench.trained)
    assert study(THREE) == result
    assert len(bench.trained) == trained


def test_a_better_network_takes_the_default_s_place_with_its_whole_recipe(study: Study, bench: Bench) -> None:
    bench.score = lambda number, seed, epoch: 0.95 if number > 1 else 0.5
    result = study(THREE, TrainOptions(epochs=20))
    winner = next(trial for trial in result.trials if trial.number == result.best)
    assert result.best > 1
    assert result.gains[0].low > 0
    assert (result.architecture, result.preparation) == (winner.architecture, winner.preparation)
    assert result.training == winner.training.model_copy(update={"epochs": 20})
    assert re.search(r"\b3 seeds .*\b8 val patients", result.note)


def test_what_was_lucky_once_does_not_take_the_default_s_place(study: Study, bench: Bench) -> None:
    bench.score = lambda number, seed, epoch: 0.95 if number > 1 and seed == 0 else 0.6
    result = study(TWO)
    assert max(trial.value for trial in result.trials if trial.value) == 0.95
    assert (result.best, result.architecture, result.training) == (0, PRESETS["compact"], TrainOptions())


def test_one_seed_evaluates_the_trials_themselves(study: Study, bench: Bench) -> None:
    result = study(SearchOptions(trials=2, seeds=1, pruning=False))
    assert not _refits(bench)
    assert len(result.gains) == 2
    assert not re.search(r"\d seeds", result.note)


def test_more_seeds_or_epochs_later_repeat_nothing_that_is_there(study: Study, bench: Bench) -> None:
    study(SearchOptions(trials=1, seeds=2, best=1, pruning=False))
    study(SearchOptions(trials=1, seeds=3, best=1, pruning=False))
    assert sorted(seed for _, seed, _ in _refits(bench)) == [2, 2, 3, 3, 4, 4]
    study(SearchOptions(trials=1, seeds=2, best=1, refit_epochs=5, pruning=False))
    assert [epochs for *_, epochs in _refits(bench)] == [2] * 6 + [5] * 4


def test_a_candidate_that_diverges_is_no_candidate(study: Study, bench: Bench) -> None:
    def score(number: int, seed: int, epoch: int) -> float:
        if number > 1 and seed == 2:
            raise DivergedError("It diverged.", "Lower it.")
        return 0.9 if number > 1 else 0.6

    bench.score = score
    result = study(TWO)
    assert not result.gains
    assert result.best == 0
