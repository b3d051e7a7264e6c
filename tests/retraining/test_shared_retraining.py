"""Machines that share a store: each stage of a retraining goes on with what another machine left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bcd.errors import NotFoundError
from bcd.networks.architecture import Architecture, Stage, Stem
from bcd.retraining.plan import Choice, find_searched, read_choice, read_plan, write_choice, write_plan
from bcd.retraining.stages import evaluate_stage, find_trained, register_stage, train_stage
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store import objects
from bcd.store.objects import put
from bcd.training.loop import Training
from bcd.training.options import EnsembleOptions, TrainOptions

TINY = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4, depth=1)])
TRAINING = TrainOptions(epochs=1, batch_size=8, min_train_patients=2, min_val_patients=2, seed=3)


@pytest.fixture
def homes(
    machines: tuple[Settings, Settings], empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Settings, Settings]:
    """Two homes with nothing but MLflow's tables."""
    monkeypatch.setattr(objects, "_FRESH_SECONDS", 0.0)  # each call is a new process's
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
