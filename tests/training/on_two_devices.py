"""Trainings on two virtual devices; `test_devices.py` runs this in a process of its own for each backend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcd.errors import BcdError
from bcd.networks.architecture import Architecture
from bcd.networks.backend import keras
from bcd.networks.keras_files import load_network
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.training.data import gather_training_material
from bcd.training.fit import TrainedNetwork, train_network
from bcd.training.loop import Training
from bcd.training.options import TrainOptions

if keras.backend.backend() == "tensorflow":  # JAX is told by XLA_FLAGS
    import tensorflow as tf

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)

FULL = os.environ.get("BCD_TEST_FULL") == "1"
SEEDS = (1, 2, 3) if keras.backend.backend() == "tensorflow" else (1,)


class Killed(BaseException):
    """What a test kills a training with."""


@pytest.fixture(scope="module")
def options(options: TrainOptions) -> TrainOptions:
    """Two epochs, with all that is drawn or weighed by patch."""
    return options.model_copy(update={"epochs": 2, "class_weights": True})


@pytest.fixture(scope="module")
def plain(tiny: Architecture) -> Architecture:
    """Without batch normalisation, and without dropout, which TensorFlow draws by device."""
    described = tiny.model_dump() | {"normalisation": "none"}
    described["stages"][0]["dropout"] = described["head"]["dropout"] = 0.0
    return Architecture.model_validate(described)


@pytest.fixture(scope="module")
def on_one(
    prepared: PreparedSnapshot,
    plain: Architecture,
    options: TrainOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainedNetwork:
    """The training on one device."""
    return train_network(prepared, plain, options, tmp_path_factory.mktemp("one") / "a")


def test_each_has_half_of_every_batch_and_killed_or_not_the_network_is_that_of_one_device(
    prepared: PreparedSnapshot, plain: Architecture, options: TrainOptions, on_one: TrainedNetwork, tmp_path: Path
) -> None:
    two = options.model_copy(update={"devices": 2})

    def kill(epoch: int, row: dict[str, float]) -> None:
        raise Killed

    if FULL:  # tests/training/test_fit.py kills the training on one device
        with pytest.raises(Killed):
            train_network(prepared, plain, two, tmp_path, on_epoch=kill)
    training = Training(gather_training_material(prepared, two), plain, two, tmp_path, resident=True)
    training.learner.make_train_function()
    step, shares = training.learner.train_function, []

    def look(*given: Any) -> Any:
        batch = next(given[-1])
        shares.append([share_of(part) for part in batch])
        return step(*given[:-1], iter([batch]))

    training.learner.train_function = look
    network = training.run()
    assert shares == [[[8], [8, 1], [8]]] * training.steps * (1 if FULL else 2)  # epochs that were left
    for mine, theirs in zip(network.get_weights(), load_network(on_one.path).get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    for row, one in zip(training.state.history, on_one.history, strict=True):
        for figure in ("loss", "gradient_norm", "val_loss", "learning_rate"):
            assert row[figure] == pytest.approx(one[figure], abs=1e-5)


def share_of(part: Any) -> list[int]:
    """Returns the shape of what the first device has of an array, once there are two that have as much."""
    if keras.backend.backend() == "jax":
        assert len(part.sharding.device_set) == 2
        return list(part.sharding.shard_shape(part.shape))
    first, second = part.values
    assert first.shape == second.shape
    return list(first.shape)


def test_with_batch_normalisation_the_loss_differs_by_less_than_the_noise_of_seeds(
    prepared: PreparedSnapshot, tiny: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    def losses(**changed: int) -> list[float]:
        name = "-".join(map(str, changed.values()))
        trained = train_network(prepared, tiny, options.model_copy(update=changed), tmp_path / name)
        return [row["loss"] for row in trained.history]

    one = np.array([losses(seed=seed) for seed in SEEDS])
    shared = abs(losses(seed=SEEDS[0], devices=2) - one[0])
    if keras.backend.backend() == "jax":  # normalises over the whole batch
        assert (shared < 1e-5).all()
    else:
        assert (shared < one.std(axis=0, ddof=1)).all()


def test_what_two_devices_cannot_share_is_refused(
    prepared: PreparedSnapshot, plain: Architecture, options: TrainOptions, tmp_path: Path
) -> None:
    for changed, words in (
        ({"devices": 3}, r"3 devices should share .* has 2: cpu:0, cpu:1\. Set `devices` to at most 2"),
        ({"devices": 2, "batch_size": 15}, r"Batches of 15 patches .* Set `batch_size` to a multiple of 2"),
    ):
        with pytest.raises(BcdError, match=words):
            train_network(prepared, plain, options.model_copy(update=changed), tmp_path / str(changed["devices"]))
