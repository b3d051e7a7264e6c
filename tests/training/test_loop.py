"""What the options of a training do to it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bcd.errors import BcdError, DamagedError, InsufficientEvidenceError
from bcd.networks.architecture import Architecture
from bcd.networks.backend import has_gpu
from bcd.networks.keras_files import load_network
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.training import resident
from bcd.training.checkpoint import State
from bcd.training.data import find_rows_left_out_of_training, gather_training_material
from bcd.training.fit import train_network
from bcd.training.loop import CHECKPOINT, Training
from bcd.training.options import TrainOptions


@pytest.fixture
def begin(prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path) -> Any:
    """Begins a training with other options."""

    def begin(resident: bool | None = None, **changed: object) -> Training:
        other = TrainOptions.model_validate({**options.model_dump(), **changed})
        return Training(gather_training_material(prepared, other), tiny, other, tmp_path, resident)

    return begin


def test_patches_on_the_device_train_the_same_network(begin: Any, tmp_path: Path) -> None:
    begin(resident=False, epochs=1).run()
    first = State.load(tmp_path / CHECKPOINT).weights
    (tmp_path / CHECKPOINT).unlink()
    begin(resident=True, epochs=1).run()
    for mine, theirs in zip(first, State.load(tmp_path / CHECKPOINT).weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_patches_lie_on_a_gpu_that_holds_them_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not resident.fits_training_on_device(1) or has_gpu()
    monkeypatch.setattr(resident, "has_gpu", lambda: True)
    monkeypatch.setattr(resident, "smallest_gpu_memory", lambda: 1000)
    assert resident.fits_training_on_device(400)
    assert not resident.fits_training_on_device(401)


def test_class_weights_and_patients_sampling_reach_the_steps(begin: Any) -> None:
    chosen = np.arange(10)
    assert begin()._gather(chosen)[2] is None
    weights = begin(class_weights=True)._gather(chosen)[2]
    assert weights.shape == (10,)
    natural, by_patients = begin(), begin(sampling="patients")
    assert len(np.unique(natural._order(1))) == 140
    seen = np.bincount(by_patients.material.patients[by_patients._order(1)])
    assert seen.max() - seen.min() <= 1


def test_a_training_that_gains_nothing_ends_early(begin: Any) -> None:
    training = begin(epochs=30, patience=1, learning_rate=1e-7, ema=0.0)
    training.run()
    assert len(training.state.history) < 30


def test_the_last_epoch_is_kept_where_that_is_asked(begin: Any) -> None:
    training = begin(keep="last", epochs=2)
    training.run()
    for kept, averaged in zip(training.state.best, training.state.average, strict=True):
        np.testing.assert_array_equal(kept, averaged)


def test_mixed_precision_trains_and_ends_in_single_precision(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    from bcd.networks.backend import keras

    mixed = options.model_copy(update={"precision": "mixed", "epochs": 2})
    training = Training(gather_training_material(prepared, mixed), tiny, mixed, tmp_path)
    assert {layer.compute_dtype for layer in training.network.layers if "stage" in layer.name} == {"bfloat16"}
    assert keras.config.dtype_policy().name == "float32"
    network = load_network(train_network(prepared, tiny, mixed, tmp_path / "a").path)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}


def test_a_fold_is_left_out_whole_and_only_from_the_train_patients(
    prepared: PreparedSnapshot, options: TrainOptions
) -> None:
    parts = []
    for fold in range(3):
        left = options.model_copy(update={"folds": 3, "fold": fold})
        out, kept = find_rows_left_out_of_training(prepared, left), gather_training_material(prepared, left)
        np.testing.assert_array_equal(np.sort(np.concatenate([out, kept.rows])), prepared.rows("train"))
        patients = prepared.snapshot.patches["patient"]
        assert not set(patients.iloc[out]) & set(patients.iloc[kept.rows])
        assert len(kept.val_labels) == len(prepared.rows("val"))
        parts.append(out)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), prepared.rows("train"))


def test_a_fold_without_which_one_class_is_left_is_refused(prepared: PreparedSnapshot, options: TrainOptions) -> None:
    left = options.model_copy(update={"folds": 2})
    out = np.zeros(len(prepared.snapshot.patches), bool)
    out[find_rows_left_out_of_training(prepared, left)] = True
    is_train = (prepared.snapshot.patches["split"] == "train").to_numpy()
    labels = np.where(is_train & ~out, 0, prepared.snapshot.patches["label"]).astype(np.int8)
    patches = prepared.snapshot.patches.assign(label=labels)
    lacking = dataclasses.replace(prepared, snapshot=dataclasses.replace(prepared.snapshot, patches=patches))
    with pytest.raises(InsufficientEvidenceError, match=r"\b0 of 2\b"):
        gather_training_material(lacking, left)


def test_too_little_memory_is_told_before_an_epoch_is_spent(
    begin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()._replace(available=1 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(BcdError, match=r"\d GiB .*\b0\.0 GiB"):
        begin()
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_damaged_checkpoint_is_named(begin: Any, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 half")
    with pytest.raises(DamagedError, match=re.escape(str(tmp_path / CHECKPOINT))):
        begin().run()
