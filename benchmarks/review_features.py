"""What the review's simulations stand on: features of a network that never saw the patients, and a head on them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from released_context import mark_complete
from released_training import (
    FOLDS,
    PLACE,
    RECIPE,
    fold_folder,
    member_options,
    read_natural,
    score_left_out,
    train,
)
from sklearn.linear_model import LogisticRegression

from bcd.files import whole_file
from bcd.networks.keras_files import load_network
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.training.data import find_rows_left_out_of_training
from bcd.training.predict import turn_patches

_BATCH = 256
_TURNS = {"last": 8, "first": 2}
_STRENGTH = 0.01
"""Inverse of the penalty on standardised features: few labels must not fit many channels."""


Depth = Literal["last", "first"]
"""Where features are taken: before the last layer, where IDC is told already, or behind the first stage of layers."""


@dataclass(frozen=True)
class Fold:
    """Patients whom a network never saw.

    Attributes:
        patches: hospital, patient, slide, x, y, label, natural (of the natural sample), complete (of a whole slide).
        features: What the network makes of each patch, by turn, (turns, n, channels) float32; each channel has mean 0
            and standard deviation 1 over the patches, whose labels are of no weight in it.
    """

    patches: pd.DataFrame
    features: NDArray[np.float32]


def read_folds(prepared: PreparedSnapshot, natural: Path, folder: Path, kept: Path, depth: Depth) -> list[Fold]:
    """Reads each fold's patients with the features by the network that left them out; trains what is not trained.

    Args:
        prepared: All patients, as `open_patients` prepares them.
        natural: The list of the natural sample.
        folder: Where the trainings lie.
        kept: Where features are kept.
        depth: Which features.
    """
    marked = read_natural(natural).drop_duplicates().assign(natural=True)
    folds = []
    for number in range(FOLDS):
        options, path = member_options(RECIPE, 0, number), fold_folder(folder, 0, number)
        train(prepared, RECIPE, options, path)
        score_left_out(prepared, RECIPE, options, path)
        rows = find_rows_left_out_of_training(prepared, options)
        patches = prepared.snapshot.patches.iloc[rows].reset_index(drop=True)
        patches = mark_complete(patches.merge(marked, on=PLACE, how="left", validate="one_to_one"))
        features = read_features(prepared, rows, path / "network.keras", kept / f"{depth}-{number}.npy", depth)
        usual = features.mean(axis=0)
        features = (features - usual.mean(axis=0)) / (usual.std(axis=0) + 1e-6)
        folds.append(Fold(patches.assign(natural=patches["natural"].notna()), features))
    return folds


def read_features(
    prepared: PreparedSnapshot, rows: NDArray[np.int64], network: Path, kept: Path, depth: Depth
) -> NDArray[np.float32]:
    """Computes what a network makes of each patch in its turns, or reads it where it is kept."""
    if kept.exists():
        return np.asarray(np.load(kept))
    from bcd.networks.backend import keras

    loaded = load_network(network)
    values = loaded.layers[-1].input if depth == "last" else loaded.get_layer("stage1_pool").output
    if depth == "first":
        pools = keras.layers.GlobalAveragePooling2D(), keras.layers.GlobalMaxPooling2D()
        values = keras.layers.Concatenate()([pool(values) for pool in pools])
    body, parts = keras.Model(loaded.inputs, values), []
    for start in range(0, len(rows), _BATCH):
        turned = turn_patches(prepared.pixels[rows[start : start + _BATCH]], RECIPE.turns)
        parts.append(np.stack([body.predict_on_batch(turn) for turn in islice(turned, _TURNS[depth])]))
        print(f"{kept.stem}: {min(start + _BATCH, len(rows)):,} of {len(rows):,} patches", flush=True)
    features = np.concatenate(parts, axis=1).astype(np.float32)
    with whole_file(kept) as partial:
        np.save(partial, features)
    return features


class Head:
    """A logistic regression: what a retraining is to the network, on features that stay.

    Args:
        features: Of the labelled patches by turn, (turns, n, channels); their mean is learned from.
        labels: 1 = IDC, 0 = none, both there, (n,).
    """

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        self._fitted = LogisticRegression(C=_STRENGTH, max_iter=1000)
        self._fitted.fit(features.mean(axis=0), labels)

    def score(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the logit, as the mean over turns, (n,), and the probability of each turn, (turns, n)."""
        logits = features @ self._fitted.coef_[0].astype(np.float32) + self._fitted.intercept_[0]
        return logits.mean(axis=0), 1 / (1 + np.exp(-logits))
