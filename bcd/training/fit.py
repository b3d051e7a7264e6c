"""Fits a network on a prepared snapshot, and survives being killed.

After every epoch the averaged weights are judged on the val patients and the whole state is written. The
order of patches, the augmentation and the dropout of an epoch are seeded by its number, so a training that
was killed and called again ends as an undisturbed one does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.files import whole_file
from bcd.networks.architecture import Architecture, describe
from bcd.networks.build import build_network
from bcd.progress import say, track
from bcd.training.checkpoint import State, claim_folder
from bcd.training.metrics import judge_epoch
from bcd.training.options import TrainOptions
from bcd.training.predict import predict_logits

if TYPE_CHECKING:
    from bcd.preprocessing.prepared import PreparedSnapshot
    from bcd.progress import Advance

OnEpoch = Callable[[int, dict[str, float]], None]


class DivergedError(BcdError):
    """The loss of a training is no longer finite."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A finished training.

    Attributes:
        path: The saved network, `network.keras`.
        architecture: What was trained.
        options: How.
        history: A row for every epoch: loss, val_loss, val_auroc, val_auroc_patients, learning_rate,
            patches_per_second, seconds.
        parameters: Number of weights.
    """

    path: Path
    architecture: Architecture
    options: TrainOptions
    history: list[dict[str, float]]
    parameters: int

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, whose averaged weights were kept."""
        return 1 + int(np.argmax([row["val_auroc"] for row in self.history]))

    @property
    def val_auroc(self) -> float:
        """AUROC of the kept network on the val patches, pooled."""
        return self.history[self.best_epoch - 1]["val_auroc"]


def train_network(
    prepared: PreparedSnapshot,
    architecture: Architecture,
    options: TrainOptions,
    folder: Path,
    *,
    on_epoch: OnEpoch | None = None,
) -> TrainedNetwork:
    """Trains a network, continues a training that was killed, or returns a finished one.

    Args:
        prepared: The snapshot; train patients are learned from, val patients choose the epoch.
        architecture: What to train.
        options: How to train it.
        folder: Where its files lie; of one training only.
        on_epoch: Called after every finished epoch with its number, from 1, and its row of the history. What
            it raises stops the training, which a later call continues.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        DivergedError: The loss is no longer finite.
        BcdError: A patient is in two splits, or `folder` is of another training.
    """
    check_evidence(prepared, options)
    claim_folder(
        folder,
        {
            "snapshot": prepared.snapshot.id,
            "preparation": prepared.options.model_dump(),
            "architecture": architecture.model_dump(),
            "options": options.model_dump(),
        },
    )
    if trained := find_trained(folder):
        say(f"{describe(architecture).capitalize()} is already trained on this snapshot.")
        return trained
    return _Training(prepared, architecture, options, folder).run(on_epoch)


def check_evidence(prepared: PreparedSnapshot, options: TrainOptions) -> None:
    """Checks that there is enough to train on, and that no patient is on both sides.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        BcdError: A patient, or the same pixels, are in two splits.
    """
    from bcd.store.evidence import assert_no_leakage, require_evidence

    for split, least in (("train", options.min_train_patients), ("val", options.min_val_patients)):
        require_evidence(prepared.snapshot, split, min_patients=least, purpose="training")
    assert_no_leakage(prepared.snapshot)


class _Training:
    """One training in progress: the network, its optimiser, and the state written after every epoch."""

    def __init__(
        self, prepared: PreparedSnapshot, architecture: Architecture, options: TrainOptions, folder: Path
    ) -> None:
        from bcd.networks.backend import keras

        keras.utils.set_random_seed(options.seed)
        self.options, self.architecture, self.folder = options, architecture, folder
        self.pixels, self.rows, self.labels = (
            prepared.pixels,
            prepared.rows("train"),
            prepared.labels("train"),
        )
        self.val_pixels, self.val_labels, self.val_patients = prepared.split("val")
        self.batch = min(options.batch_size, len(self.rows))
        self.steps = len(self.rows) // self.batch  # the rest of an epoch's patches has its turn in another epoch
        self.network = build_network(architecture, options.seed)
        self.learner = self._compile()
        self.state = State()

    def run(self, on_epoch: OnEpoch | None) -> TrainedNetwork:
        """Trains the epochs that are left and saves the best network."""
        self._restore()
        history, epochs = self.state.history, self.options.epochs
        patches = self.batch * self.steps + len(self.val_labels)
        with track(f"Training {describe(self.architecture)}", total=patches * epochs) as advance:
            advance(patches * len(history))
            for epoch in range(len(history) + 1, epochs + 1):
                row = self._epoch(epoch, advance)
                self.state.save(self.folder / "checkpoint.npz")
                say(
                    f"Epoch {epoch} of {epochs}: AUROC {row['val_auroc']:.3f} on val patients, "
                    f"{row['patches_per_second']:.0f} patches/s."
                )
                if on_epoch is not None:
                    on_epoch(epoch, row)
        return self._finish()

    def _compile(self) -> Any:
        """Returns the network behind its augmentation; the network alone is what is judged and saved."""
        from bcd.networks.augmentation import Augment
        from bcd.networks.backend import keras

        options = self.options
        total = self.steps * options.epochs
        warmup = min(int(options.warmup * total), total - 1)
        schedule = keras.optimizers.schedules.CosineDecay(
            options.learning_rate / 10 if warmup else options.learning_rate,
            decay_steps=total - warmup,
            alpha=0.01,
            warmup_target=options.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
        optimizer = keras.optimizers.AdamW(
            schedule,
            weight_decay=options.weight_decay,
            global_clipnorm=options.clip,
            use_ema=options.ema > 0,
            ema_momentum=max(0.0, 1 - 1 / max(options.ema * self.steps, 1)),
        )
        learner = keras.Sequential([Augment(options.augmentation, options.seed), self.network])
        learner.compile(optimizer=optimizer, loss=keras.losses.BinaryCrossentropy(from_logits=True))
        optimizer.build(self.network.trainable_variables)
        return learner

    def _epoch(self, epoch: int, advance: Advance) -> dict[str, float]:
        """Trains one epoch, judges the averaged weights, and brings the state up to date."""
        started = time.perf_counter()
        self._seed(epoch)
        order = np.random.default_rng((self.options.seed, epoch)).permutation(len(self.rows))
        losses = []
        for step in range(self.steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            loss = float(self.learner.train_on_batch(self.pixels[self.rows[chosen]], self.labels[chosen, None]))
            if not np.isfinite(loss):
                raise DivergedError(
                    f"Training diverged: the loss of epoch {epoch}, step {step + 1}, is {loss}.",
                    "Lower the learning rate, or train another architecture.",
                )
            losses.append(loss)
            advance(self.batch)
        trained = time.perf_counter()
        live = self.network.get_weights()
        optimizer = self.learner.optimizer
        optimizer.finalize_variable_values(self.network.trainable_variables)  # the averaged weights
        logits = predict_logits(self.network, self.val_pixels, advance=advance)
        row = {"loss": float(np.mean(losses)), **judge_epoch(logits, self.val_labels, self.val_patients)}
        row["learning_rate"] = float(optimizer.learning_rate)
        row["patches_per_second"] = self.steps * self.batch / (trained - started)
        row["seconds"] = time.perf_counter() - started
        self._keep(row, live)
        return row

    def _keep(self, row: dict[str, float], live: list[NDArray[Any]]) -> None:
        """Takes the epoch into the state; the network holds the averaged weights, `live` go on training."""
        state = self.state
        if row["val_auroc"] > max((past["val_auroc"] for past in state.history), default=-1.0):
            state.best = self.network.get_weights()
        state.history.append(row)
        self.network.set_weights(live)
        state.weights = live
        state.optimizer = [np.asarray(variable) for variable in self.learner.optimizer.variables]

    def _seed(self, epoch: int) -> None:
        """Sets every random generator of the learner to a state that the epoch determines."""
        generators = [v for v in self.learner.variables if v.path.endswith("seed_generator_state")]
        for index, state in enumerate(generators):
            state.assign(np.array([self.options.seed * 1000 + index, epoch << 20], dtype=state.dtype))

    def _restore(self) -> None:
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            return
        self.state = state = State.load(path)
        self.network.set_weights(state.weights)
        for variable, value in zip(self.learner.optimizer.variables, state.optimizer, strict=True):
            variable.assign(value)
        say(f"Training goes on after epoch {len(state.history)} of {self.options.epochs}.")

    def _finish(self) -> TrainedNetwork:
        path = self.folder / "network.keras"
        self.network.set_weights(self.state.best)
        with whole_file(path) as partial:
            self.network.save(partial)
        trained = TrainedNetwork(
            path, self.architecture, self.options, self.state.history, int(self.network.count_params())
        )
        record = {"history": trained.history, "parameters": trained.parameters}
        record |= {"architecture": self.architecture.model_dump(), "options": self.options.model_dump()}
        with whole_file(self.folder / "training.json") as partial:
            partial.write_text(json.dumps(record, indent=2))
        (self.folder / "checkpoint.npz").unlink(missing_ok=True)
        return trained


def find_trained(folder: Path) -> TrainedNetwork | None:
    """Returns the finished training of a folder; None where there is none."""
    if not (folder / "training.json").exists():
        return None
    record = json.loads((folder / "training.json").read_text())
    return TrainedNetwork(
        folder / "network.keras",
        Architecture.model_validate(record["architecture"]),
        TrainOptions.model_validate(record["options"]),
        record["history"],
        record["parameters"],
    )
