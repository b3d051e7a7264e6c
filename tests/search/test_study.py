"""The study: the default first, a budget kept, and the same result however often it is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.networks.architecture import PRESETS, Architecture, Stage, Stem
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.search import study as module
from bcd.search.options import SearchOptions
from bcd.search.records import TrialRecord
from bcd.search.study import run_study, study_name
from bcd.settings import Settings
from bcd.training.fit import DivergedError, TrainedNetwork
from bcd.training.options import TrainOptions


class Killed(BaseException):
    """What a test kills a study with."""


class Bench:
    """Stands in for training: a trial's AUROC is what `score` says, and every training is noted.

    Like training, it goes on after the last epoch where it was killed: at `kill_at`, the how manieth trial and epoch.
    """

    def __init__(self, score: Callable[[int, int], float]) -> None:
        self.score = score
        self.trained: list[tuple[int, Architecture, TrainOptions]] = []
        self.history: dict[int, list[dict[str, float]]] = {}
        self.kill_at: tuple[int, int] | None = None

    def __call__(
        self, prepared: Any, architecture: Architecture, options: TrainOptions, folder: Path, *, on_epoch: Any
    ) -> TrainedNetwork:
        trial = int(folder.name.removeprefix("trial-"))
        self.trained.append((trial, architecture, options))
        history = self.history.setdefault(trial, [])
        for epoch in range(len(history) + 1, options.epochs + 1):
            history.append({"val_auroc": self.score(trial, epoch), "seconds": 1.0})
            on_epoch(epoch, history[-1])
            if self.kill_at == (len(self.history), epoch):
                self.kill_at = None
                raise Killed
        return TrainedNetwork(folder / "network.keras", architecture, options, history, 1)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The first trial after the default is the best, later ones are worse and worse."""
    bench = Bench(lambda trial, epoch: (0.9 - trial / 100 if trial else 0.8) + epoch / 1000)
    monkeypatch.setattr(module, "train_network", bench)
    monkeypatch.setattr(module, "_forget", lambda: None)  # there is no network to let go of
    return bench


def test_the_first_trial_is_compact_as_asked_and_the_best_wins(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    ended: list[TrialRecord] = []
    training = TrainOptions(epochs=8)
    result = run_study(settings, prepared, SearchOptions(), training, on_trial=ended.append)
    number, architecture, options = bench.trained[0]
    assert (number, architecture) == (0, PRESETS["compact"])
    assert options == training.model_copy(update={"epochs": 2})  # a trial's schedule is as long as the trial
    assert len(bench.trained) == 3
    assert ended == result.trials
    assert result.best == bench.trained[1][0]
    winner = result.trials[result.best]
    assert result.architecture == winner.architecture != PRESETS["compact"]
    assert result.training.epochs == 8
    assert result.training.learning_rate == winner.training.learning_rate != training.learning_rate
    assert f"beat the default by {0.1 - result.best / 100:.3f} AUROC" in result.note
    assert "not checked" in result.note


def test_the_default_wins_where_nothing_beats_it(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    bench.score = lambda trial, epoch: 0.8
    result = run_study(settings, prepared, SearchOptions(), TrainOptions())
    assert (result.best, result.architecture, result.training) == (0, PRESETS["compact"], TrainOptions())
    assert "No trial" in result.note


def test_a_finished_study_is_read_and_a_larger_budget_continues_it(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    first = run_study(settings, prepared, SearchOptions(), TrainOptions())
    assert run_study(settings, prepared, SearchOptions(), TrainOptions()) == first
    assert len(bench.trained) == 3
    more = run_study(settings, prepared, SearchOptions(trials=4), TrainOptions())
    assert len(bench.trained) == 4
    assert more.study == first.study
    assert more.trials[: len(first.trials)] == first.trials


def test_a_killed_study_goes_on_with_the_same_trial_and_ends_as_an_undisturbed_one(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench, tmp_path: Path
) -> None:
    elsewhere = Settings(home=tmp_path / "elsewhere")
    undisturbed = run_study(elsewhere, prepared, SearchOptions(trials=4), TrainOptions())
    bench.trained, bench.history = [], {}
    for kill_at in ((1, 1), (3, 2)):
        bench.kill_at = kill_at
        with pytest.raises(Killed):
            run_study(settings, prepared, SearchOptions(trials=4), TrainOptions())
    result = run_study(settings, prepared, SearchOptions(trials=4), TrainOptions())
    numbers = [number for number, *_ in bench.trained]
    assert len(numbers) == len(set(numbers)) + 2  # each kill repeats its own trial only
    assert len(set(numbers)) == 4
    assert result == undisturbed


def test_a_trial_that_lags_is_cut_and_counts(settings: Settings, prepared: PreparedSnapshot, bench: Bench) -> None:
    result = run_study(settings, prepared, SearchOptions(trials=5, epochs=3), TrainOptions())
    tried = [trial for trial in result.trials if trial.state != "too large"]
    assert len(tried) == 5
    assert [trial.state for trial in tried[:2]] == ["complete", "complete"]
    cut = [trial for trial in tried if trial.state == "pruned"]
    assert cut
    assert all(len(trial.history) == 1 and trial.value == trial.history[0]["val_auroc"] for trial in cut)


def test_no_trained_network_is_larger_than_allowed(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    options = SearchOptions(trials=6, max_parameters=310_000, max_cost=1.05)
    result = run_study(settings, prepared, options, TrainOptions())
    compact = result.trials[0]
    trained = [trial for trial in result.trials if trial.state != "too large"]
    assert len(trained) == 6
    assert all(trial.parameters <= 310_000 for trial in trained)
    assert all(trial.multiply_adds <= 1.05 * compact.multiply_adds for trial in trained)
    refused = [trial for trial in result.trials if trial.state == "too large"]
    assert {trial.number for trial in refused}.isdisjoint(number for number, *_ in bench.trained)


def test_limits_that_leave_nothing_are_an_error(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRIES", 3)
    with pytest.raises(BcdError, match="Raise max_parameters or max_cost"):
        run_study(settings, prepared, SearchOptions(max_parameters=1000), TrainOptions())
    assert not bench.trained


def test_a_diverged_trial_does_not_end_the_study(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    def score(trial: int, epoch: int) -> float:
        if trial == 0:
            raise DivergedError("It diverged.", "Lower it.")
        return 0.8

    bench.score = score
    result = run_study(settings, prepared, SearchOptions(), TrainOptions())
    assert result.trials[0].state == "diverged"
    assert result.best > 0
    assert "the default did not finish" in result.note


def test_the_name_follows_what_is_searched_on_and_not_the_budget(prepared: PreparedSnapshot) -> None:
    name = study_name(prepared, SearchOptions(), TrainOptions())
    assert name == study_name(prepared, SearchOptions(trials=99), TrainOptions())
    assert name != study_name(prepared, SearchOptions(seed=2), TrainOptions())
    assert name != study_name(prepared, SearchOptions(), TrainOptions(seed=2))


def test_too_little_evidence_is_refused_before_the_study_exists(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    with pytest.raises(InsufficientEvidenceError, match="val"):
        run_study(settings, prepared, SearchOptions(), TrainOptions(min_val_patients=7))
    assert not settings.home.exists()


def test_two_processes_do_not_run_the_same_study_at_once(
    settings: Settings, prepared: PreparedSnapshot, bench: Bench
) -> None:
    # flock excludes open files, so two threads stand for two processes.
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(run_study(settings, prepared, SearchOptions(), TrainOptions()))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bench.trained) == 3
    assert results[0] == results[1]


def test_a_study_really_trains_on_train_and_val_patients_only(
    settings: Settings, prepared: PreparedSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tiny(trial: Any, training: TrainOptions) -> tuple[Architecture, TrainOptions]:
        filters = trial.suggest_int("tiny_filters", 4, 8)
        return Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=filters, depth=1)]), training

    monkeypatch.setattr(module, "propose", tiny)
    unseen = prepared.rows("gate")
    pixels = prepared.pixels.copy()
    pixels[unseen] = np.random.default_rng(0).integers(0, 256, pixels[unseen].shape)
    options, training = SearchOptions(trials=2, epochs=1), TrainOptions(batch_size=16)
    result = run_study(settings, prepared, options, training)
    assert [trial.state for trial in result.trials] == ["complete", "complete"]
    assert (settings.work / result.study / "trial-0" / "network.keras").exists()

    other_home = Settings(home=settings.home / "other")
    changed = PreparedSnapshot(prepared.snapshot, prepared.options, pixels)
    again = run_study(other_home, changed, options, training)
    assert [trial.value for trial in again.trials] == [trial.value for trial in result.trials]
