"""Training: it learns, it keeps the best averaged weights, and it survives being killed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.networks.architecture import Architecture
from bcd.networks.keras_files import load_network
from bcd.patches import SnapshotId
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.progress import Advance, show_progress
from bcd.training import checkpoint, fit
from bcd.training.fit import DivergedError, TrainedNetwork, train_network
from bcd.training.options import TrainOptions
from bcd.training.predict import predict_logits


class Killed(BaseException):
    """What a test kills a training with."""


@pytest.fixture(scope="module")
def undisturbed(
    prepared: PreparedSnapshot,
    tiny: Architecture,
    options: TrainOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainedNetwork:
    """One training from start to end."""
    return train_network(prepared, tiny, options, tmp_path_factory.mktemp("undisturbed") / "a")


def weights(trained: TrainedNetwork) -> list[np.ndarray]:
    return load_network(trained.path).get_weights()


def test_a_separable_task_is_learned(undisturbed: TrainedNetwork, prepared: PreparedSnapshot) -> None:
    assert undisturbed.val_auroc > 0.99
    pixels, labels, _ = prepared.split("gate")  # never seen
    assert roc_auc_score(labels, predict_logits(load_network(undisturbed.path), pixels)) > 0.99


def test_every_epoch_has_its_figures(undisturbed: TrainedNetwork) -> None:
    assert len(undisturbed.history) == 3
    for row in undisturbed.history:
        assert row.keys() >= {"loss", "val_loss", "val_auroc", "val_auroc_patients", "learning_rate"}
        assert row.keys() >= {"patches_per_second", "seconds"}
    rates = [row["learning_rate"] for row in undisturbed.history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01 * 0.01, rel=0.05)
    assert undisturbed.history[-1]["loss"] < undisturbed.history[0]["loss"]
    assert undisturbed.parameters == load_network(undisturbed.path).count_params()


def test_what_was_evaluated_is_what_is_saved(undisturbed: TrainedNetwork, prepared: PreparedSnapshot) -> None:
    pixels, labels, _ = prepared.split("val")
    logits = predict_logits(load_network(undisturbed.path), pixels)
    row = undisturbed.history[undisturbed.best_epoch - 1]
    assert roc_auc_score(labels, logits) == pytest.approx(row["val_auroc"])
    assert np.mean(np.logaddexp(0, logits) - labels * logits) == pytest.approx(row["val_loss"], rel=1e-4)


def test_averaged_weights_are_kept_and_the_live_ones_trained_on(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    seen = []

    def look(epoch: int, row: dict[str, float]) -> None:
        state = checkpoint.State.load(tmp_path / "a" / "checkpoint.npz")
        seen.append(max(abs(a - b).max() for a, b in zip(state.weights, state.best, strict=True)))

    one = options.model_copy(update={"epochs": 1})
    train_network(prepared, tiny, one, tmp_path / "a", on_epoch=look)
    assert seen[0] > 1e-3


def test_a_training_that_looks_at_no_val_patients_learns_without_any(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    everyone = prepared.snapshot.patches.assign(split="train")
    all_train = dataclasses.replace(prepared, snapshot=dataclasses.replace(prepared.snapshot, patches=everyone))
    blind = options.model_copy(update={"epochs": 2, "keep": "last", "min_val_patients": 0})
    trained = train_network(all_train, tiny, blind, tmp_path / "all")
    assert (len(trained.history), trained.best_epoch) == (2, 2)
    assert not any(name.startswith("val") for row in trained.history for name in row)
    with pytest.raises(InsufficientEvidenceError):
        train_network(all_train, tiny, blind.model_copy(update={"min_val_patients": 1}), tmp_path / "refused")


def test_val_patients_that_are_not_looked_at_change_nothing(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    last = options.model_copy(update={"epochs": 1, "keep": "last"})
    seen = train_network(prepared, tiny, last, tmp_path / "seen")
    blind = train_network(prepared, tiny, last.model_copy(update={"min_val_patients": 0}), tmp_path / "blind")
    assert "val_score" in seen.history[0]
    assert "val_score" not in blind.history[0]
    for here, there in zip(weights(seen), weights(blind), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-5)


@pytest.mark.parametrize("after", [1, 2])
def test_a_training_killed_between_epochs_ends_as_an_undisturbed_one(
    after: int, prepared: PreparedSnapshot, undisturbed: TrainedNetwork, tmp_path: Path
) -> None:
    inputs = (prepared, undisturbed.architecture, undisturbed.options, tmp_path / "a")

    def kill(epoch: int, row: dict[str, float]) -> None:
        if epoch == after:
            raise Killed

    with pytest.raises(Killed):
        train_network(*inputs, on_epoch=kill)
    epochs = []
    resumed = train_network(*inputs, on_epoch=lambda epoch, row: epochs.append(epoch))
    assert epochs == list(range(after + 1, 4))
    assert_same(resumed, undisturbed)


def test_a_training_killed_amid_an_epoch_ends_as_an_undisturbed_one(
    prepared: PreparedSnapshot, undisturbed: TrainedNetwork, tmp_path: Path
) -> None:
    inputs = (prepared, undisturbed.architecture, undisturbed.options, tmp_path / "a")

    class KillingSink:
        """Raises at the fourth step of the second epoch."""

        @contextmanager
        def track(self, description: str, total: float | None) -> Iterator[Advance]:
            steps = iter(range(1, 100))

            def advance(amount: float) -> None:
                if next(steps) == 14:
                    raise Killed

            yield advance

        def say(self, message: str) -> None:
            pass

    with show_progress(KillingSink()), pytest.raises(Killed):
        train_network(*inputs)
    assert len(checkpoint.State.load(tmp_path / "a" / "checkpoint.npz").history) == 1
    assert_same(train_network(*inputs), undisturbed)


def assert_same(a: TrainedNetwork, b: TrainedNetwork) -> None:
    for here, there in zip(weights(a), weights(b), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-5)
    for mine, theirs in zip(a.history, b.history, strict=True):
        for figure in ("loss", "val_loss", "val_auroc", "learning_rate"):
            assert mine[figure] == pytest.approx(theirs[figure], abs=1e-5)


def test_a_finished_training_is_returned_at_once(
    undisturbed: TrainedNetwork, prepared: PreparedSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "Training", None)  # training would fail
    again = train_network(prepared, undisturbed.architecture, undisturbed.options, undisturbed.path.parent)
    assert again == undisturbed
    kept = {path.name for path in undisturbed.path.parent.iterdir()}
    assert kept == {"inputs.json", "network.keras", "training.json"}


def test_a_folder_of_another_training_is_refused_naming_the_difference(
    undisturbed: TrainedNetwork, prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions
) -> None:
    folder = undisturbed.path.parent
    other = options.model_copy(update={"seed": 2})
    with pytest.raises(BcdError, match="options"):
        train_network(prepared, tiny, other, folder)
    with pytest.raises(BcdError, match="architecture"):
        train_network(prepared, tiny.model_copy(update={"order": "conv-relu-norm"}), options, folder)
    snapshot = dataclasses.replace(prepared.snapshot, id=SnapshotId("b" * 64))
    with pytest.raises(BcdError, match="snapshot"):
        train_network(dataclasses.replace(prepared, snapshot=snapshot), tiny, options, folder)
    assert json.loads((folder / "inputs.json").read_text())["snapshot"] == "a" * 64


def test_a_loss_that_is_not_finite_stops_the_training_with_a_fix(
    prepared: PreparedSnapshot,
    tiny: Architecture,
    options: TrainOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bcd.networks.backend import keras

    monkeypatch.setattr(keras.Sequential, "train_on_batch", lambda self, *given, **named: float("nan"))
    with pytest.raises(DivergedError, match=r"\bepoch 1, step 1\b.*\bnan\b"):
        train_network(prepared, tiny, options, tmp_path / "a")
    assert not (tmp_path / "a" / "checkpoint.npz").exists()


def test_too_little_evidence_and_leakage_are_refused_before_anything_is_written(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    def with_patches(**columns: Any) -> PreparedSnapshot:
        patches = prepared.snapshot.patches.assign(**columns)
        return dataclasses.replace(prepared, snapshot=dataclasses.replace(prepared.snapshot, patches=patches))

    patches = prepared.snapshot.patches
    few = with_patches(split=patches["split"].replace("val", "test"))
    one_class = with_patches(label=patches["label"].where(patches["split"] != "train", 0).astype("int8"))
    leaky = with_patches(split=patches["split"].where(patches.index % 10 > 0, "gate"))
    for faulty, error, words in (
        (few, InsufficientEvidenceError, "val"),
        (one_class, InsufficientEvidenceError, "train"),
        (leaky, BcdError, "east/"),
    ):
        with pytest.raises(error, match=words):
            train_network(faulty, tiny, options, tmp_path / "a")
    assert not (tmp_path / "a").exists()
