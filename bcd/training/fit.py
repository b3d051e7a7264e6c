"""Fits a network on a prepared snapshot, and survives being killed.

After every epoch the averaged weights are evaluated on the val patients and the whole state is written. The
order of patches, the augmentation and the dropout of an epoch are seeded by its number, so a training that
was killed and called again ends as an undisturbed one does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.files import whole_file
from bcd.networks.architecture import Architecture, describe_architecture
from bcd.progress import say_progress
from bcd.training.checkpoint import claim_training_folder
from bcd.training.data import gather_training_material
from bcd.training.history import kept_epoch
from bcd.training.loop import CHECKPOINT, DivergedError, OnEpoch, Training
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    import numpy as np
    from keras import Model
    from numpy.typing import NDArray

    from bcd.preprocessing.prepared import PatchRows, PreparedSnapshot


__all__ = ["DivergedError", "TrainedNetwork", "check_training_evidence", "find_trained_network", "train_network"]

RECORD = "training.json"
"""The file that says that a training is finished."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A finished training.

    Attributes:
        path: The saved network, `network.keras`.
        architecture: What was trained.
        options: How.
        history: A row for every epoch: loss, gradient_norm, learning_rate, val_score, val_loss, val_auroc,
            val_auroc_patients, patches_per_second, waiting_seconds, seconds; nothing of val where none is looked at.
        parameters: Number of weights.
    """

    path: Path
    architecture: Architecture
    options: TrainOptions
    history: list[dict[str, float]]
    parameters: int

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, whose weights were kept."""
        return kept_epoch(self.history, self.options.keep)

    @property
    def val_score(self) -> float:
        """AUROC of the kept network on the val patches, each patient weighing the same."""
        return self.history[self.best_epoch - 1]["val_score"]

    @property
    def val_auroc(self) -> float:
        """AUROC of the kept network on the val patches, pooled."""
        return self.history[self.best_epoch - 1]["val_auroc"]

    def predict(self, prepared: NDArray[np.uint8] | PatchRows) -> NDArray[np.float32]:
        """Loads the network and predicts logits (n,) of prepared patches (n, 50, 50, 3)."""
        from bcd.networks.keras_files import load_network
        from bcd.training.predict import predict_logits

        return predict_logits(load_network(self.path), prepared)


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
        prepared: The snapshot; train patients are learned from, val patients, if any are looked at, choose the epoch.
        architecture: What to train.
        options: How to train it.
        folder: Where its files lie; of one training only.
        on_epoch: Called after every finished epoch with its number, from 1, and its row of the history. What
            it raises stops the training, which a later call continues.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        DivergedError: The loss is no longer finite.
        BcdError: A patient is in two splits, `folder` is of another training, or memory will not suffice.
    """
    check_training_evidence(prepared, options)
    claim_training_folder(
        folder,
        {
            "snapshot": prepared.snapshot.id,
            "preparation": prepared.options.model_dump(),
            "architecture": architecture.model_dump(),
            "options": options.model_dump(exclude={"devices"}),  # it may go on on others
        },
    )
    if trained := find_trained_network(folder):
        say_progress(f"{describe_architecture(architecture).capitalize()} is already trained on this snapshot.")
        return trained
    training = Training(gather_training_material(prepared, options), architecture, options, folder)
    return _save_trained(folder, training.run(on_epoch), training)


def check_training_evidence(prepared: PreparedSnapshot, options: TrainOptions) -> None:
    """Checks that there is enough to train on, and that no patient is on both sides.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        BcdError: A patient, or the same pixels, are in two splits.
    """
    from bcd.snapshots.evidence import assert_no_leakage, require_split_evidence

    needed = {"train": options.min_train_patients}
    if options.min_val_patients:
        needed["val"] = options.min_val_patients
    for split, least in needed.items():
        require_split_evidence(prepared.snapshot, split, min_patients=least, purpose="training")
    assert_no_leakage(prepared.snapshot)


def _save_trained(folder: Path, network: Model, training: Training) -> TrainedNetwork:
    path = folder / "network.keras"
    with whole_file(path) as partial:
        network.save(partial)
    trained = TrainedNetwork(
        path, training.architecture, training.options, training.state.history, int(network.count_params())
    )
    record = {"history": trained.history, "parameters": trained.parameters}
    record |= {"architecture": trained.architecture.model_dump(), "options": trained.options.model_dump()}
    with whole_file(folder / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=2))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return trained


def find_trained_network(folder: Path) -> TrainedNetwork | None:
    """Returns the finished training of a folder; None where there is none."""
    if not (folder / RECORD).exists():
        return None
    record = json.loads((folder / RECORD).read_text())
    return TrainedNetwork(
        folder / "network.keras",
        Architecture.model_validate(record["architecture"]),
        TrainOptions.model_validate(record["options"]),
        record["history"],
        record["parameters"],
    )
