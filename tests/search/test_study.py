"""The study: the known two first, a budget kept, and the same result however often it is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from workbench import Bench, Killed, write_hospital

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.networks.architecture import PRESETS
from bcd.preprocessing.options import PrepareOptions
from bcd.search import trial as trials_module
from bcd.search.job import Job
from bcd.search.options import SearchOptions, require_pool_of_others
from bcd.search.records import StudyResult, TrialRecord
from bcd.search.worker import do_next_trial
from bcd.settings import Settings
from bcd.training.loop import DivergedError
from bcd.training.options import TrainOptions

Study = Callable[..., StudyResult]


def _trained(bench: Bench) -> list[str]:
    """Names of the trials that were trained, without refits."""
    return [name for name, *_ in bench.trained if "seed" not in name]


def test_the_first_two_trials_are_the_presets_as_asked(study: Study, bench: Bench) -> None:
    training = TrainOptions(epochs=8, stain_jitter=0.5)
    preparation = PrepareOptions(sharpen=False)
    result = study(SearchOptions(trials=1, pruning=False, seeds=1), training, preparation)
    as_asked = training.model_copy(update={"epochs": 2})  # a trial's schedule is as long as the trial
    for number, preset in enumerate(["compact", "dissertation"]):
        assert bench.trained[number] == (f"trial-{number}", PRESETS[preset], as_asked)
        assert result.trials[number].preparation == preparation
    assert result.trials[2].architecture not in PRESETS.values()


def test_the_dissertation_is_tried_though_it_exceeds_the_limits_and_is_never_chosen(
    study: Study, bench: Bench
) -> None:
    bench.score = lambda number, seed, epoch: 0.99 if number == 1 else 0.6
    result = study(SearchOptions(trials=0, pruning=False, seeds=3))
    assert [trial.state for trial in result.trials] == ["complete", "complete"]
    assert [trial.allowed for trial in result.trials] == [True, False]
    assert result.best == 0
    assert result.front == [0]
    allowed = study(SearchOptions(trials=0, pruning=False, seeds=3, max_parameters=2_000_000, max_cost=20))
    assert allowed.best == 1


def test_the_dissertation_is_cut_when_it_has_spent_its_share(study: Study, bench: Bench) -> None:
    result = study(SearchOptions(trials=0, epochs=2, seeds=1))
    assert [trial.state for trial in result.trials] == ["complete", "pruned"]
    assert len(result.trials[1].history) == 1


def test_a_known_network_over_the_limit_spends_no_more_than_one_within_it(study: Study, bench: Bench) -> None:
    bench.score = lambda number, seed, epoch: 0.9 if number == 1 else 0.6  # it leads, so no rung would prune it
    result = study(SearchOptions(trials=0, epochs=9, seeds=1))
    compact, dissertation = result.trials
    assert [compact.state, dissertation.state] == ["complete", "pruned"]
    spent = len(dissertation.history) * dissertation.multiply_adds
    assert spent <= 9 * 1.25 * compact.multiply_adds < spent + dissertation.multiply_adds
    generous = study(SearchOptions(trials=0, epochs=9, seeds=1, max_cost=20, max_parameters=10_000_000))
    assert [trial.state for trial in generous.trials] == ["complete", "complete"]
    assert len(study(SearchOptions(trials=0, epochs=9, seeds=1, pruning=False)).trials[1].history) == 9


def test_a_trial_that_lags_is_cut_and_counts(study: Study, bench: Bench) -> None:
    ended: list[TrialRecord] = []
    result = study(SearchOptions(trials=6, epochs=4, seeds=1), on_trial=ended.append)
    tried = [trial for trial in result.trials if trial.state != "too large"]
    assert len(tried) == 8
    assert ended == tried
    pruned = [trial for trial in tried if trial.state == "pruned"]
    assert len(pruned) >= 2
    assert {len(trial.history) for trial in pruned if trial.kind == "proposed"} == {3}  # none earlier says enough
    assert all(trial.value == trial.history[-1]["val_score"] for trial in pruned)
    assert sum(len(trial.history) for trial in tried) < 8 * 4


def test_a_finished_study_is_read_and_a_larger_budget_continues_it(study: Study, bench: Bench) -> None:
    first = study(SearchOptions(trials=1, seeds=1))
    assert study(SearchOptions(trials=1, seeds=1)) == first
    assert len(_trained(bench)) == 3
    more = study(SearchOptions(trials=2, seeds=1))
    assert len(_trained(bench)) == 4
    assert more.study == first.study
    assert more.trials[: len(first.trials)] == first.trials


def test_a_killed_study_goes_on_with_the_same_trial_and_ends_as_an_undisturbed_one(
    study: Study, bench: Bench, tmp_path: Path
) -> None:
    options = SearchOptions(trials=3, epochs=4, seeds=2, best=1)
    elsewhere = Settings(home=tmp_path / "elsewhere")
    undisturbed = study(options, settings=elsewhere, snapshot=write_hospital(elsewhere))
    straight = bench.trained
    bench.trained, bench.history = [], {}
    for kill_at in ((1, 1), (3, 1), (4, 1), (6, 2)):  # the last one is a refit
        bench.kill_at = kill_at
        with pytest.raises(Killed):
            study(options)
    assert study(options) == undisturbed
    names = [name for name, *_ in bench.trained]
    assert all(names.count(name) <= 2 for name in names)  # a kill repeats its own trial only
    assert list(dict.fromkeys(names)) == [name for name, *_ in straight]


def test_a_trial_that_kills_its_workers_is_given_up(study: Study, bench: Bench) -> None:
    def score(number: int, seed: int, epoch: int) -> float:
        if number == 2:
            raise Killed
        return 0.8

    bench.score = score
    for _ in range(5):
        with pytest.raises(Killed):
            study(SearchOptions(trials=2, seeds=1))
    result = study(SearchOptions(trials=2, seeds=1))
    assert result.trials[2].state == "failed"
    assert len([trial for trial in result.trials if trial.state != "too large"]) == 4


def test_no_trained_network_is_larger_than_allowed(study: Study, bench: Bench) -> None:
    options = SearchOptions(trials=4, epochs=1, max_parameters=310_000, max_cost=1.05, seeds=1)
    result = study(options)
    compact = result.trials[0]
    trained = [trial for trial in result.trials if trial.state != "too large" and trial.number != 1]
    assert len(trained) == 5
    assert all(trial.parameters <= 310_000 for trial in trained)
    assert all(trial.multiply_adds <= 1.05 * compact.multiply_adds for trial in trained)
    refused = [f"trial-{trial.number}" for trial in result.trials if trial.state == "too large"]
    assert refused
    assert set(refused).isdisjoint(_trained(bench))


def test_limits_that_leave_nothing_are_an_error(study: Study, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_TRIES", 3)
    with pytest.raises(BcdError, match="max_parameters, max_cost or max_latency"):
        study(SearchOptions(trials=1, max_parameters=1000))
    assert len(_trained(bench)) == 2  # the known two


def test_no_trained_network_is_slower_than_allowed(
    study: Study, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials_module, "_time_trial_network", lambda architecture: 10.0 * len(architecture.stages))
    generous: dict[str, Any] = {"epochs": 1, "max_parameters": 10_000_000, "max_cost": 100.0, "seeds": 1}
    without = study(SearchOptions(trials=4, **generous))
    within = study(SearchOptions(trials=4, max_latency=0.8, **generous))
    assert {trial.state for trial in without.trials} == {"complete"}
    assert {trial.state for trial in within.trials} == {"complete", "too large"}
    for trial in within.trials[2:]:  # the known two are tried whatever they cost, and not chosen
        assert (trial.state == "too large") == (len(trial.architecture.stages) == 3)
    assert not within.trials[0].allowed


def test_the_time_of_a_network_is_measured_beside_that_of_compact(
    study: Study, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials_module, "_BATCH", 16)
    result = study(SearchOptions(trials=0, max_latency=1000.0, seeds=1))
    compact, dissertation = (trials_module._time_trial_network(trial.architecture) for trial in result.trials)
    assert dissertation > compact > 0


def test_score_and_cost_cut_nothing_and_show_the_front(study: Study, bench: Bench) -> None:
    bench.score = lambda number, seed, epoch: (0.5, 0.9, 0.6, 0.55, 0.7, 0.65)[number % 6]
    options = SearchOptions(trials=4, objective="score-and-cost", max_parameters=2_000_000, max_cost=20, seeds=1)
    result = study(options)
    assert {trial.state for trial in result.trials} == {"complete"}
    trials = {trial.number: trial for trial in result.trials}
    assert result.front
    for number in result.front:  # nobody is both cheaper and better
        assert not any(
            other.multiply_adds < trials[number].multiply_adds and other.value > trials[number].value
            for other in result.trials
        )
    costs = [trials[number].multiply_adds for number in result.front]
    assert costs == sorted(costs)
    assert {gain.trial for gain in result.gains} <= set(result.front)


def test_the_budget_in_hours_ends_the_study_and_more_hours_continue_it(study: Study, bench: Bench) -> None:
    options = SearchOptions(trials=0, hours=3.5 / 3600, epochs=1, seeds=1)  # an epoch takes a second
    assert _proposed(study(options)) == 4  # what the references took is not paid for
    assert _proposed(study(options)) == 4
    assert _proposed(study(options.model_copy(update={"hours": 5.5 / 3600}))) == 6
    assert _proposed(study(options.model_copy(update={"trials": 7, "hours": 100.0}))) == 7


def _counted(result: StudyResult) -> list[TrialRecord]:
    return [trial for trial in result.trials if trial.state != "too large"]


def _proposed(result: StudyResult) -> int:
    return sum(trial.kind == "proposed" for trial in _counted(result))


def test_without_a_budget_only_references_are_trained(study: Study, bench: Bench) -> None:
    assert [trial.label for trial in study(SearchOptions(trials=0, seeds=1)).trials] == ["compact", "dissertation"]


def test_a_reference_is_trained_once_for_all_studies_of_a_snapshot(study: Study, bench: Bench) -> None:
    first = study(SearchOptions(trials=1, seeds=2, best=1, pruning=False))
    second = study(SearchOptions(trials=1, seeds=2, best=1, pruning=False, seed=9))
    assert first.study != second.study
    names = [name for name, *_ in bench.trained]
    for name in ("trial-0", "trial-0-seed-1", "trial-0-seed-2", "trial-1"):
        assert names.count(name) == 1
    assert second.trials[:2] == first.trials[:2]
    study(SearchOptions(trials=0, seeds=1), TrainOptions(batch_size=32))  # trained otherwise, it is another
    assert [name for name, *_ in bench.trained].count("trial-0") == 2


def test_the_search_says_beforehand_what_gain_it_can_see(study: Study, bench: Bench) -> None:
    bench.score = lambda number, seed, epoch: 0.8 + seed / 100
    result = study(SearchOptions(trials=1, seeds=3, best=1, pruning=False))
    names = [name for name, *_ in bench.trained]
    assert names[:5] == ["trial-0", "trial-1", "trial-0-seed-1", "trial-0-seed-2", "trial-0-seed-3"]
    assert result.detectable > 0
    assert f"{result.detectable:.3f}" in result.note
    assert study(SearchOptions(trials=1, seeds=1, best=1, pruning=False)).detectable is None


def test_a_network_of_one_s_own_is_tried_beside_the_budget_whatever_it_costs(study: Study, bench: Bench) -> None:
    large = PRESETS["dissertation"].model_copy(update={"order": "norm-relu-conv"})
    options = SearchOptions(trials=1, seeds=1, pruning=False)
    study(options)
    for _ in range(2):  # asked for again, it is there
        result = study(options, stated={"mine.toml": large})
        [mine] = [trial for trial in result.trials if trial.kind == "stated"]
        assert (mine.label, mine.state, mine.architecture, mine.allowed) == ("mine.toml", "complete", large, False)
        assert _proposed(result) == 1
    assert result.best == 0


def test_a_grid_is_tried_whole_and_nothing_else_is_proposed(study: Study, bench: Bench) -> None:
    grid: dict[str, list[Any]] = {"filters": [16, 32], "stem": ["strided", "patchify"]}
    options = SearchOptions(sampler="grid", grid=grid, seeds=1, pruning=False, max_cost=10, dissertation=False)
    result = study(options)
    tried = [(each.params["filters"], each.params["stem"]) for each in result.trials if each.kind == "stated"]
    assert sorted(tried) == [(16, "patchify"), (16, "strided"), (32, "patchify"), (32, "strided")]
    assert len(result.trials) == 5
    assert study(options) == result


def test_a_study_begins_with_what_the_last_one_of_another_snapshot_found(
    study: Study, bench: Bench, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    homes = [Settings(home=tmp_path / name, study_url=storage) for name in ("before", "grown")]
    options = SearchOptions(trials=4, seeds=1, pruning=False)
    before = study(options, settings=homes[0], snapshot=write_hospital(homes[0]))
    bench.history = {}
    snapshot = write_hospital(homes[1], more=2)
    grown = study(options, settings=homes[1], snapshot=snapshot)
    able = [each for each in before.trials if each.kind == "proposed" and each.state == "complete" and each.allowed]
    best = sorted(able, key=lambda each: -each.value)[:2]
    repeated = [trial for trial in grown.trials if trial.label.endswith(before.study)]
    assert [trial.params for trial in repeated] == [trial.params for trial in best]
    assert [trial.number for trial in repeated] == [2, 3]
    assert _proposed(grown) == 4
    other = options.model_copy(update={"remember": 0, "seed": 5, "trials": 1})
    assert {each.label for each in study(other, settings=homes[1], snapshot=snapshot).trials[2:]} == {""}


def test_a_diverged_trial_does_not_end_the_study(study: Study, bench: Bench) -> None:
    def score(number: int, seed: int, epoch: int) -> float:
        if number == 0:
            raise DivergedError("It diverged.", "Lower it.")
        return 0.8

    bench.score = score
    result = study(SearchOptions(trials=1, seeds=1, pruning=False))
    assert result.trials[0].state == "diverged"
    assert result.best > 1
    assert "default" in result.note


def test_what_stops_the_default_ends_the_study_and_what_stops_another_ends_that_trial(
    study: Study, bench: Bench
) -> None:
    broken = {0}

    def score(number: int, seed: int, epoch: int) -> float:
        if number in broken:
            raise BcdError("The network does not fit into memory.", "Use smaller batches.")
        return 0.8

    bench.score = score
    with pytest.raises(BcdError, match="smaller batches"):
        study(SearchOptions(trials=1, seeds=1))
    broken.clear()
    broken.add(3)
    result = study(SearchOptions(trials=1, seeds=1))
    assert [trial.state for trial in _counted(result)].count("failed") <= 1
    assert 0 not in [trial.number for trial in result.trials if trial.state == "failed"]


def test_the_name_follows_what_is_searched_on_and_not_the_budget(study: Study, bench: Bench) -> None:
    one = SearchOptions(trials=0, dissertation=False, seeds=1)
    name = study(one).study
    assert study(SearchOptions(trials=0, best=3, seeds=3, workers=2, heartbeat_seconds=5)).study == name
    assert study(one.model_copy(update={"seed": 2})).study != name
    assert study(one, TrainOptions(seed=2)).study != name
    assert study(one, preparation=PrepareOptions(sharpen=False)).study != name


def test_a_named_study_of_another_space_is_refused_before_an_epoch_is_spent(
    study: Study, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SearchOptions(trials=0, dissertation=False, seeds=1, study="mine")
    assert study(options).study == "mine"
    trained = len(bench.trained)
    with pytest.raises(BcdError, match=r"mine\b.*search\.epochs 2, not 3"):
        study(options.model_copy(update={"epochs": 3}), TrainOptions(seed=2))
    monkeypatch.setattr("bcd.search.storage.fingerprint_space", lambda: "f" * 12)
    with pytest.raises(BcdError, match=r"mine.* space"):
        study(options)
    assert len(bench.trained) == trained


def test_too_little_evidence_is_refused_before_the_study_exists(
    study: Study, bench: Bench, settings: Settings
) -> None:
    with pytest.raises(InsufficientEvidenceError, match="val"):
        study(training=TrainOptions(min_val_patients=9))
    assert not (settings.home / "optuna.db").exists()


def test_a_study_without_val_patients_is_refused_before_it_exists(
    study: Study, bench: Bench, settings: Settings
) -> None:
    with pytest.raises(BcdError, match="min_val_patients = 0"):
        study(training=TrainOptions(min_val_patients=0, keep="last"))
    assert not (settings.home / "optuna.db").exists()


def test_a_search_does_not_wait_for_trials_on_its_own_pool() -> None:
    assert SearchOptions(pool="gpu").pool == "gpu"
    with pytest.raises(BcdError, match="pool bcd"):
        SearchOptions(pool="bcd")


@pytest.mark.parametrize("pool", ["my pool", "a/b", "é", "-" * 61])
def test_options_and_command_know_the_same_names_of_pools(pool: str) -> None:
    """Regression: `bcd worker` served pools that [search] could not name."""
    with pytest.raises(ValidationError):
        SearchOptions(pool=pool)
    with pytest.raises(BcdError, match=pool):
        require_pool_of_others(pool)


def test_a_worker_that_comes_too_late_does_nothing(study: Study, bench: Bench, jobs: list[Job]) -> None:
    result = study(SearchOptions(trials=1, seeds=1))
    do_next_trial(jobs[0])  # the budget was spent while it started
    assert study(SearchOptions(trials=1, seeds=1)) == result
    assert len(_trained(bench)) == 3
