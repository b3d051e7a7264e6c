"""Machines that share a store: each stage of a retraining goes on with what another machine left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.networks.architecture import Architecture, Stage, Stem
from bcd.networks.keras_files import load_network
from bcd.retraining.members import list_missing_members, train_member
from bcd.retraining.plan import Choice, Retraining, find_searched, read_choice, read_plan, write_choice, write_plan
from bcd.retraining.stages import evaluate_stage, find_trained, register_stage, train_stage
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store.objects import list_stored, put
from bcd.training.ensemble import TrainedEnsemble, train_ensemble
from bcd.training.loop import Training
from bcd.training.options import EnsembleOptions, TrainOptions

TINY = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4, depth=1)])
TRAINING = TrainOptions(epochs=1, batch_size=8, min_train_patients=2, min_val_patients=2, seed=3)


@pytest.fixture
def homes(machines: tuple[Settings, Settings], empty_database: Path, forgetful: None) -> tuple[Settings, Settings]:
    """Two homes with nothing but MLflow's tables."""
    for machine in machines:
        machine.mlflow.mkdir(parents=True)
        shutil.copy(empty_database, machine.mlflow / "mlflow.db")
    one, other = (each.model_copy(update={"evaluation": {"resamples": 100}}) for each in machines)
    return one, other


def test_each_stage_may_be_done_by_another_machine(
    homes: tuple[Settings, Settings], make_hospital: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = homes
    snapshot = make_hospital(one)
    put(one, one.batches / "a")
    with pytest.raises(NotFoundError):
        read_plan(other)
    planned = write_plan(one, snapshot, training=TRAINING, ensemble=EnsembleOptions(members=1))
    write_choice(
        one,
        planned,
        Choice(
            architecture=TINY,
            training=TRAINING,
            preparation=planned.plan.preparation,
            study=None,
            note="Chosen by hand.",
        ),
    )
    assert {read_plan(other, plan).key for plan in ("", planned.key, planned.key[:5])} == {planned.key}
    searched = find_searched(other)
    assert searched is not None
    assert read_choice(other, searched).architecture == TINY

    trained = train_stage(other, searched)
    found = find_trained(one, planned)
    assert found is not None
    assert [path.read_bytes() for path in found.paths] == [path.read_bytes() for path in trained.paths]
    assert all(path.is_relative_to(one.home) for path in found.paths)

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Training, "run", refuse)  # no machine trains it again
    mine = evaluate_stage(one, planned, found)
    monkeypatch.setattr("bcd.retraining.evaluate.Engine", refuse)  # nor scores with it
    theirs = evaluate_stage(other, searched, trained)
    assert theirs.policy == mine.policy
    assert theirs.scores("val").equals(mine.scores("val"))
    for folder in ("network", "graph", "evaluation"):  # a machine that was cleaned up in between
        shutil.rmtree(one.work / planned.key / folder)
    bundle = register_stage(one, planned, found, mine)
    assert bundle.record.snapshot == snapshot.id


def read_weights(trained: TrainedEnsemble) -> list[np.ndarray]:
    return [weights for path in trained.paths for weights in load_network(path).get_weights()]


def test_the_networks_of_an_ensemble_are_trained_by_whoever_takes_them_and_are_those_of_one_machine(
    homes: tuple[Settings, Settings],
    make_hospital: Callable[..., Snapshot],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    one, other = homes
    snapshot = make_hospital(one)
    put(one, one.batches / "a")
    planned = write_plan(one, snapshot, training=TRAINING, ensemble=EnsembleOptions(members=2), architecture=TINY)
    alone = train_ensemble(planned.prepare(one), TINY, TRAINING, planned.plan.ensemble, tmp_path / "alone")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def train_elsewhere(settings: Settings, retraining: Retraining) -> None:
        assert list_missing_members(settings, retraining) == [1, 2]
        theirs = read_plan(other, planned.key)
        train_member(other, theirs, 1)
        assert list_missing_members(settings, retraining) == [2]
        with monkeypatch.context() as patch:
            patch.setattr("bcd.training.fit._save_trained", stop)
            with pytest.raises(KeyboardInterrupt):
                train_member(other, theirs, 2)
        assert list_missing_members(settings, retraining) == [2]
        train_member(one, planned, 2)
        train_member(other, theirs, 2)  # who comes too late takes what there is
        assert list_missing_members(settings, retraining) == []
        with pytest.raises(BcdError, match="number 3"):
            train_member(other, theirs, 3)
        monkeypatch.setattr(Training, "run", stop)  # nothing is trained again

    trained = train_stage(one, planned, train_elsewhere)
    assert [path.parent.name for path in trained.paths] == ["member-1", "member-2"]
    assert all(path.is_relative_to(planned.network(one)) for path in trained.paths)
    for mine, theirs in zip(read_weights(trained), read_weights(alone), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert list_stored(one, one.work, f"{planned.key}/members/*") == []
    found = find_trained(other, read_plan(other, planned.key))
    assert found is not None
    assert [path.read_bytes() for path in found.paths] == [path.read_bytes() for path in trained.paths]
