"""The training of the released model: every member without each fold, then on everybody; and what they score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bcd.errors import BcdError
from bcd.files import hash_file, whole_file
from bcd.networks.architecture import PRESETS, Architecture
from bcd.networks.keras_files import load_network
from bcd.patches import CANONICAL, CELL
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.settings import Settings, load_settings
from bcd.training.data import find_rows_left_out_of_training
from bcd.training.fit import TrainedNetwork, find_trained_network, train_network
from bcd.training.options import TrainOptions, Turns
from bcd.training.predict import predict_logits

if TYPE_CHECKING:
    from bcd.patches import BatchId
    from bcd.store.store import Store

HOSPITAL = "public-idc"
PROTOCOL = "all-train"
FOLDS = 3
MEMBERS = 1  # with eight turns, more do not score a slide of 3,000 patches in half a minute on two cores
PLACE = ["patient", "x", "y"]
_LEFT_OUT = "left-out.parquet"
_CELL = [*CELL, "label"]
_NAME = r"^(?P<patient>\d+)_idx5_x(?P<x>\d+)_y(?P<y>\d+)_class[01]\.png$"


@dataclass(frozen=True)
class Recipe:
    """What is trained, how, on what, and in how many turns it looks at a patch."""

    architecture: Architecture
    training: TrainOptions
    preparation: PrepareOptions
    turns: Turns


RECIPE = Recipe(
    PRESETS["compact"],
    TrainOptions(epochs=24, keep="last", min_val_patients=0, precision="mixed", seed=1),
    PrepareOptions(sharpen=False),
    turns=8,
)

KEPT_OUT = 2
"""The fold on which no recipe was chosen: its figures are reported apart."""


@dataclass(frozen=True)
class Patients:
    """Everybody, as one to learn from.

    Attributes:
        prepared: Their prepared patches; all are of the split train.
        read: Reads their raw patches by row.
    """

    prepared: PreparedSnapshot
    read: Callable[[np.ndarray], np.ndarray]


def open_patients(data: Path, home: Path, recipe: Recipe) -> Patients:
    """Admits the deliveries of a folder into a home of their own and prepares every patient as one to learn from."""
    from bcd.snapshots.freeze import Snapshot, preview_snapshot, snapshot_id
    from bcd.store.batches import read_batch_pixels
    from bcd.store.store import open_store

    settings: Settings = load_settings(home)
    store = open_store(settings)
    admit_deliveries(store, data)
    patches = preview_snapshot(store).assign(split="train")
    snapshot = Snapshot(snapshot_id(PROTOCOL, patches), PROTOCOL, patches)
    prepared = prepare_snapshot(settings, snapshot, recipe.preparation)
    return Patients(prepared, lambda rows: read_batch_pixels(settings, patches.iloc[rows]))


def admit_deliveries(store: Store, data: Path) -> dict[BatchId | None, Path]:
    """Admits the deliveries of a folder, or finds them admitted; returns each batch with where it came from."""
    from bcd.admission.admit import admit
    from bcd.patches import Hospital
    from bcd.store.hospitals import declare_hospital
    from bcd.store.sign_off import SignOff

    declare_hospital(store, HOSPITAL, "pseudonyms", SignOff("a benchmark", "benchmark"))
    return {admit(store, delivery, Hospital(HOSPITAL)).batch: delivery for delivery in find_deliveries(data)}


def find_deliveries(data: Path) -> list[Path]:
    """Returns the deliveries of a folder.

    Raises:
        BcdError: There is none.
    """
    found = sorted(data.glob("*.zip"))
    if not found:
        raise BcdError(f"{data} holds no zip file.", "Name the folder of the deliveries.")
    return found


def digest_files(files: list[Path]) -> dict[str, str]:
    """Returns the SHA-256 of each file, by name."""
    return {path.name: hash_file(path) for path in files}


def train_member(prepared: PreparedSnapshot, recipe: Recipe, member: int, folder: Path) -> None:
    """Trains a member without each fold, scores the patients left out, then trains it on everybody."""
    for fold in range(FOLDS):
        options = member_options(recipe, member, fold)
        train(prepared, recipe, options, fold_folder(folder, member, fold))
        score_left_out(prepared, recipe, options, fold_folder(folder, member, fold))
    train(prepared, recipe, member_options(recipe, member), released_copy(folder, member))


def member_options(recipe: Recipe, member: int, fold: int | None = None) -> TrainOptions:
    """Returns how a member is trained: on its own seed, without a fold or, for None, on everybody."""
    left_out = {} if fold is None else {"folds": FOLDS, "fold": fold}
    return recipe.training.model_copy(update={"seed": recipe.training.seed + member, **left_out})


def fold_folder(folder: Path, member: int, fold: int) -> Path:
    """Returns where the copy of a member lies that never saw a fold, and its scores of that fold."""
    return folder / f"member-{member}" / f"fold-{fold}"


def released_copy(folder: Path, member: int) -> Path:
    """Returns where the copy of a member lies that was trained on everybody."""
    return folder / f"member-{member}" / "all"


def train(prepared: PreparedSnapshot, recipe: Recipe, options: TrainOptions, path: Path) -> None:
    """Trains, goes on training, or finds trained what lies in a folder, and prints every epoch."""
    name = f"{path.parent.name}/{path.name}"

    def report(epoch: int, row: dict[str, float]) -> None:
        speed = f"{row['patches_per_second']:.0f} patches/s, {row['seconds']:.0f} s"
        print(f"{name}: epoch {epoch} of {options.epochs}, loss {row['loss']:.4f}, {speed}", flush=True)

    train_network(prepared, recipe.architecture, options, path, on_epoch=report)


def score_left_out(prepared: PreparedSnapshot, recipe: Recipe, options: TrainOptions, path: Path) -> None:
    """Scores the fold that a training left out, unless it is scored."""
    kept = path / _LEFT_OUT
    if kept.exists():
        return
    rows = find_rows_left_out_of_training(prepared, options)
    logit = predict_logits(load_network(path / "network.keras"), prepared.pixels[rows], turns=recipe.turns)
    frame = prepared.snapshot.patches.iloc[rows][_CELL].reset_index(drop=True)
    with whole_file(kept) as partial:
        frame.assign(fold=options.fold, logit=logit).to_parquet(partial)


def read_natural(file: Path) -> pd.DataFrame:
    """Reads patient, x and y of the natural sample's patches from a list of their names.

    Raises:
        BcdError: A name is not as the public set names patches: `PATIENT_idx5_xX_yY_classLABEL.png`.
    """
    names = pd.Series(file.read_text("utf-8").split())
    found = names.str.extract(_NAME)
    if found.isna().any().any():
        raise BcdError(
            f"{file}: {names[found['x'].isna()].iloc[0]} is no name of a patch.", "Name the natural sample."
        )
    return found.astype({"x": "int64", "y": "int64"})


def find_members(folder: Path) -> list[TrainedNetwork]:
    """Returns the released copies of the finished members of a folder: those before the first that is unfinished."""
    members: list[TrainedNetwork] = []
    while True:
        scored = all((fold_folder(folder, len(members), fold) / _LEFT_OUT).exists() for fold in range(FOLDS))
        trained = find_trained_network(released_copy(folder, len(members)))
        if not scored or trained is None:
            return members
        members.append(trained)


def gather_scores(folder: Path, members: int, natural: pd.DataFrame) -> pd.DataFrame:
    """Puts the out-of-fold logits of the first members beside one another: a row a patch, sorted, `natural` said."""
    each = []
    for member in range(members):
        parts = [pd.read_parquet(fold_folder(folder, member, fold) / _LEFT_OUT) for fold in range(FOLDS)]
        each.append(pd.concat(parts).rename(columns={"logit": f"logit_{member + 1}"}).set_index([*_CELL, "fold"]))
    scores = pd.concat(each, axis=1, join="inner").reset_index()
    marked = natural.drop_duplicates().assign(natural=True)
    scores = scores.merge(marked, on=PLACE, how="left", validate="one_to_one")
    scores["natural"] = scores["natural"].notna()
    columns = [*_CELL, "fold", "natural", *(f"logit_{number}" for number in range(1, members + 1))]
    return scores[columns].sort_values(CANONICAL, ignore_index=True)
