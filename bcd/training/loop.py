"""The loop: epochs of steps, each epoch evaluated on the val patients and written down before the next begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.networks.architecture import Architecture, describe_architecture
from bcd.networks.build import build_network
from bcd.preprocessing.prepared import PatchRows
from bcd.progress import say_progress, track_progress
from bcd.training.average import WeightAverage
from bcd.training.checkpoint import State
from bcd.training.data import Material, order_epoch_by_patients, order_epoch_naturally, weigh_training_classes
from bcd.training.feed import Feed
from bcd.training.history import has_training_stalled, kept_epoch, score_epoch
from bcd.training.memory import require_training_memory
from bcd.training.options import TrainOptions
from bcd.training.predict import predict_logits

if TYPE_CHECKING:
    from keras import KerasTensor, Layer, Model

    from bcd.progress import Advance

OnEpoch = Callable[[int, dict[str, float]], None]

CHECKPOINT = "checkpoint.npz"


class DivergedError(BcdError):
    """The loss of a training is no longer finite."""


class Training:
    """One training in progress: the network, its optimiser, and the state written after every epoch.

    Args:
        material: What to learn from and be evaluated on.
        architecture: What to train.
        options: How.
        folder: Where the checkpoint lies.
        resident: Whether the train patches lie on the device; None: where it has a memory of its own that holds them.
    """

    def __init__(
        self,
        material: Material,
        architecture: Architecture,
        options: TrainOptions,
        folder: Path,
        resident: bool | None = None,
    ) -> None:
        from bcd.networks.backend import keras, use_keras_precision
        from bcd.networks.devices import open_devices
        from bcd.training.resident import fits_training_on_device

        keras.utils.set_random_seed(options.seed)
        self.material, self.architecture, self.options = material, architecture, options
        self.folder = folder
        self.devices = open_devices(options.devices)
        self.batch = min(options.batch_size, len(material.rows))
        self._require_even_shares()
        self.steps = len(material.rows) // self.batch  # the rest of an epoch's patches has its turn in another epoch
        size = len(material.rows) * material.pixels[0].nbytes
        self.resident = fits_training_on_device(size) if resident is None else resident
        self.weights = weigh_training_classes(material.labels) if options.class_weights else None
        with use_keras_precision(options.precision):
            self.averaged = build_network(architecture, options.seed)
            require_training_memory(self.averaged, self.batch)
            with self.devices.scope():
                self.network = build_network(architecture, options.seed)
                self.learner = self._compile()
        self.average = WeightAverage(options.ema * self.steps)
        self.state = State()

    def run(self, on_epoch: OnEpoch | None = None) -> Model:
        """Trains the epochs that are left.

        Returns:
            The kept epoch's network, in single precision, ready to be saved.

        Raises:
            DivergedError: The loss is no longer finite.
        """
        self._restore()
        history, options = self.state.history, self.options
        patches = self.batch * self.steps + len(self.material.val_labels)
        with track_progress(
            f"Training {describe_architecture(self.architecture)}", total=patches * options.epochs
        ) as advance:
            advance(patches * len(history))
            while len(history) < options.epochs and not has_training_stalled(history, options.patience):
                epoch = len(history) + 1
                row = self._epoch(epoch, advance)
                self.state.save(self.folder / CHECKPOINT)
                on_val = f"AUROC {row['val_auroc']:.3f} on val patients, " if "val_auroc" in row else ""
                say_progress(f"Epoch {epoch} of {options.epochs}: {on_val}{row['patches_per_second']:.0f} patches/s.")
                if on_epoch is not None:
                    on_epoch(epoch, row)
        if len(history) < options.epochs:
            say_progress(f"Training ended early: no better for {options.patience} epochs.")
        network = build_network(self.architecture, options.seed)
        network.set_weights(self.state.best)
        return network

    def _require_even_shares(self) -> None:
        if self.batch % self.devices.count:
            raise BcdError(
                f"Batches of {self.batch} patches cannot be shared evenly by {self.devices.count} devices.",
                f"Set `batch_size` to a multiple of {self.devices.count}, of at most {len(self.material.rows)}.",
            )

    def _compile(self) -> Model:
        """Returns the network behind its augmentation; the network alone is what is evaluated and saved."""
        from bcd.networks.augmentation import Augment
        from bcd.networks.backend import keras
        from bcd.training.optimizer import make_training_optimizer

        options = self.options
        optimizer = make_training_optimizer(options, self.steps * options.epochs)
        augment = Augment(options.stain_jitter, options.light_jitter, options.seed)
        learner = keras.Sequential([*self._source(), augment, self.network])
        learner.compile(
            optimizer=optimizer, loss=keras.losses.BinaryCrossentropy(from_logits=True), auto_scale_loss=False
        )
        optimizer.build(self.network.trainable_variables)
        return learner

    def _source(self) -> list[KerasTensor | Layer]:
        """Returns what stands before the augmentation: patches on the device, or nothing where patches are sent."""
        from bcd.networks.backend import keras
        from bcd.training.resident import ResidentPatches

        if not self.resident:
            return []
        # Said to be whole numbers, or Keras would take them for values and round them with the rest.
        numbers = keras.Input((), dtype="int32", name="numbers")
        return [numbers, ResidentPatches(self.material.pixels[self.material.rows])]

    def _epoch(self, epoch: int, advance: Advance) -> dict[str, float]:
        """Trains one epoch, evaluates it, and brings the state up to date."""
        started = time.perf_counter()
        self._seed(epoch)
        feed = Feed(self._gather, np.split(self._order(epoch)[: self.steps * self.batch], self.steps))
        losses = []
        for step, (pixels, labels, weights) in enumerate(feed, 1):
            loss = self.devices.train(self.learner, pixels, labels, weights)
            if not np.isfinite(loss):
                raise DivergedError(
                    f"Training diverged: the loss of epoch {epoch}, step {step}, is {loss}.",
                    "Lower the learning rate, or train another architecture.",
                )
            losses.append(loss)
            self.average.take((epoch - 1) * self.steps + step, self.network)
            advance(self.batch)
        trained = time.perf_counter()
        optimizer = self.learner.optimizer
        row = {
            "loss": float(np.mean(losses)),
            "gradient_norm": optimizer.pop_gradient_norm(),
            "learning_rate": float(optimizer.learning_rate),
            "patches_per_second": self.steps * self.batch / (trained - started),
            "waiting_seconds": feed.waited,
        }
        self._score(row, advance)
        row["seconds"] = time.perf_counter() - started
        return row

    def _order(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng((self.options.seed, epoch))
        if self.options.sampling == "patients":
            return order_epoch_by_patients(self.material.patients, random)
        return order_epoch_naturally(len(self.material.rows), random)

    def _gather(self, chosen: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        material = self.material
        weights = None if self.weights is None else self.weights[chosen]
        patches = chosen.astype(np.int32) if self.resident else material.pixels[material.rows[chosen]]
        return patches, material.labels[chosen, None], weights

    def _score(self, row: dict[str, float], advance: Advance) -> None:
        """Evaluates the averaged weights on the val patients, if any, and takes the epoch into the state."""
        material, state, live = self.material, self.state, self.network.get_weights()
        weights = self.average.weights or live
        if len(material.val_labels):
            self.averaged.set_weights(weights)
            val = PatchRows(material.pixels, material.val_rows)
            logits = predict_logits(self.averaged, val, advance=advance)
            row |= score_epoch(logits, material.val_labels, material.val_patients)
        state.history.append(row)
        if kept_epoch(state.history, self.options.keep) == len(state.history):
            state.best = [weight.copy() for weight in weights]
        state.weights, state.average, state.looks = live, self.average.weights, self.average.looks
        state.optimizer = [np.asarray(variable) for variable in self.learner.optimizer.variables]

    def _seed(self, epoch: int) -> None:
        """Sets every random generator of the learner to a state that the epoch determines."""
        generators = [v for v in self.learner.variables if v.path.endswith("seed_generator_state")]
        for index, state in enumerate(generators):
            state.assign(np.array([self.options.seed * 1000 + index, epoch << 20], dtype=state.dtype))

    def _restore(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        self.state = state = State.load(path)
        self.network.set_weights(state.weights)
        self.average.weights, self.average.looks = state.average, state.looks
        for variable, value in zip(self.learner.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        say_progress(f"Training goes on after epoch {len(state.history)} of {self.options.epochs}.")
