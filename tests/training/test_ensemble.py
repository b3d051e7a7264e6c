"""Ensembles: members by seeds or by folds, each resumable, read back as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture
from bcd.networks.keras_files import load_network
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.settings import Settings, load_settings
from bcd.training.ensemble import TrainedEnsemble, describe_ensemble, find_trained_ensemble, train_ensemble
from bcd.training.fit import train_network
from bcd.training.options import SINGLE, EnsembleOptions, TrainOptions

SEEDS = EnsembleOptions(members=2)
FOLDS = EnsembleOptions(members=2, by="folds", turns=8)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def options() -> TrainOptions:
    return TrainOptions(epochs=2, batch_size=16, learning_rate=0.01, seed=4)


@pytest.fixture(scope="module")
def by_seeds(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path_factory: pytest.TempPathFactory
) -> TrainedEnsemble:
    return train_ensemble(prepared, tiny, options, SEEDS, tmp_path_factory.mktemp("seeds"))


def weights(path: Path) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in load_network(path).get_weights()])


def test_members_by_seeds_are_the_networks_of_those_seeds(
    by_seeds: TrainedEnsemble, prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions
) -> None:
    for member, path, seed in zip(by_seeds.members, by_seeds.paths, (4, 5), strict=True):
        # Found, where the folder is of that very training; else refused.
        own = options.model_copy(update={"seed": seed})
        assert train_network(prepared, tiny, own, path.parent) == member
    first, second = (weights(path) for path in by_seeds.paths)
    assert np.abs(first - second).max() > 1e-2
    assert by_seeds.training == options
    assert by_seeds.parameters == sum(load_network(path).count_params() for path in by_seeds.paths)


def test_members_by_folds_each_leave_out_other_patients(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    short = options.model_copy(update={"epochs": 1})
    ensemble = train_ensemble(prepared, tiny, short, FOLDS, tmp_path)
    assert [(member.options.folds, member.options.fold) for member in ensemble.members] == [(2, 0), (2, 1)]
    assert {member.options.seed for member in ensemble.members} == {4}
    assert np.abs(weights(ensemble.paths[0]) - weights(ensemble.paths[1])).max() > 1e-3
    assert ensemble.training == short


def test_a_single_network_lies_where_it_lay_before_there_were_ensembles(
    by_seeds: TrainedEnsemble, prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions
) -> None:
    alone, folder = by_seeds.members[0], by_seeds.paths[0].parent
    assert train_ensemble(prepared, tiny, options, SINGLE, folder) == TrainedEnsemble([alone], SINGLE)
    assert find_trained_ensemble(folder, SINGLE) == TrainedEnsemble([alone], SINGLE)


def test_an_ensemble_that_was_killed_ends_as_an_undisturbed_one(
    by_seeds: TrainedEnsemble,
    prepared: PreparedSnapshot,
    tiny: Architecture,
    options: TrainOptions,
    tmp_path: Path,
) -> None:
    told: list[tuple[int, int]] = []

    def kill(member: int, epoch: int, row: dict[str, float]) -> None:
        told.append((member, epoch))
        if told == [(1, 1), (1, 2), (2, 1)]:
            raise KilledError

    with pytest.raises(KilledError):
        train_ensemble(prepared, tiny, options, SEEDS, tmp_path, on_epoch=kill)
    assert find_trained_ensemble(tmp_path, SEEDS) is None
    found = train_ensemble(prepared, tiny, options, SEEDS, tmp_path, on_epoch=kill)
    assert told == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for path, expected in zip(found.paths, by_seeds.paths, strict=True):
        np.testing.assert_allclose(weights(path), weights(expected), atol=1e-5)
    assert find_trained_ensemble(tmp_path, SEEDS) == found


def test_folds_asked_for_twice_are_refused_before_any_epoch(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    with pytest.raises(BcdError, match=r"\b1 of 4\b.*`folds = 0`"):
        train_ensemble(prepared, tiny, options.model_copy(update={"folds": 4, "fold": 1}), FOLDS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_member_cannot_leave_out_a_fold() -> None:
    with pytest.raises(BcdError, match="members"):
        EnsembleOptions(members=1, by="folds")


@pytest.mark.parametrize("wrong", [{"turns": 4}, {"members": 0}, {"members": 21}, {"by": "luck"}])
def test_options_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EnsembleOptions.model_validate(wrong)


def test_options_come_from_bcd_toml_and_variables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text('[ensemble]\nmembers = 2\nby = "folds"\n')
    monkeypatch.setenv("BCD_ENSEMBLE__TURNS", "8")
    assert load_settings().options("ensemble", EnsembleOptions) == FOLDS
    monkeypatch.setenv("BCD_ENSEMBLE__TURNS", "5")
    with pytest.raises(BcdError, match=r"\[ensemble\].*turns"):
        load_settings().options("ensemble", EnsembleOptions)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SINGLE, "compact"),
        (EnsembleOptions(members=3, turns=8), "compact ×3 8 turns"),  # noqa: RUF001
        (EnsembleOptions(members=5, by="folds"), "compact ×5 by folds"),  # noqa: RUF001
    ],
)
def test_an_ensemble_is_said_in_a_few_words(options: EnsembleOptions, words: str) -> None:
    assert describe_ensemble(PRESETS["compact"], options) == words
