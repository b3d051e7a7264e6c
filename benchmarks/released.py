"""The released model: trained on all patients, evaluated out of fold.

.venv/bin/python benchmarks/released.py train --data FOLDER --folder FOLDER   # resumable; a member at a time
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.networks.architecture import PRESETS, Architecture
from bcd.networks.keras_files import load_network
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.settings import Settings, load_settings
from bcd.training.data import left_out_rows
from bcd.training.fit import train_network
from bcd.training.options import TrainOptions, Turns
from bcd.training.predict import predict_logits

if TYPE_CHECKING:
    import pandas as pd

HOSPITAL = "public-idc"
PROTOCOL = "all-train"
FOLDS = 3
MEMBERS = 3
ARTIFACTS = Path(__file__).parents[1] / "artifacts/released"


@dataclass(frozen=True)
class Recipe:
    """What is trained, how, and how often it looks at a patch."""

    architecture: Architecture
    training: TrainOptions
    preparation: PrepareOptions = PrepareOptions()
    turns: Turns = 8


RECIPE = Recipe(
    PRESETS["compact"], TrainOptions(epochs=24, keep="last", min_val_patients=0, precision="mixed", seed=1)
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train",))
    parser.add_argument("--data", type=Path, required=True, help="folder of the deliveries of the public set")
    parser.add_argument("--folder", type=Path, default=ARTIFACTS, help="where everything is kept")
    parser.add_argument("--members", type=int, default=MEMBERS)
    arguments = parser.parse_args()
    prepared = open_patients(arguments.data, arguments.folder / "home")
    for member in range(arguments.members):
        train_member(prepared, RECIPE, member, arguments.folder)


def open_patients(data: Path, home: Path) -> PreparedSnapshot:
    """Admits the deliveries of a folder into a home of their own and prepares every patient as one to learn from."""
    from bcd.admission.admit import admit
    from bcd.patches import Hospital
    from bcd.snapshots.freeze import Snapshot, read_admitted, snapshot_id
    from bcd.store.catalog import open_catalog
    from bcd.store.hospitals import declare_hospital

    settings: Settings = load_settings(home)
    catalog = open_catalog(settings)
    declare_hospital(settings, catalog, HOSPITAL, "pseudonyms", author="benchmarks/released.py")
    for delivery in sorted(data.glob("*.zip")):
        admit(settings, catalog, delivery, Hospital(HOSPITAL))
    patches = read_admitted(catalog).assign(split="train")
    snapshot = Snapshot(snapshot_id(PROTOCOL, patches), PROTOCOL, patches)
    return prepare_snapshot(settings, snapshot, RECIPE.preparation)


def train_member(prepared: PreparedSnapshot, recipe: Recipe, member: int, folder: Path) -> None:
    """Trains a member without each fold, scores the patients left out, then trains it on everybody."""
    for fold in range(FOLDS):
        path = folder / f"member-{member}" / f"fold-{fold}"
        options = member_options(recipe, member, fold)
        train(prepared, recipe, options, path)
        score_left_out(prepared, recipe, options, path)
    train(prepared, recipe, member_options(recipe, member), folder / f"member-{member}" / "all")


def train(prepared: PreparedSnapshot, recipe: Recipe, options: TrainOptions, path: Path) -> None:
    """Trains, goes on training, or finds trained what lies in a folder, and prints every epoch."""
    name = f"{path.parent.name}/{path.name}"

    def report(epoch: int, row: dict[str, float]) -> None:
        speed = f"{row['patches_per_second']:.0f} patches/s, {row['seconds']:.0f} s"
        print(f"{name}: epoch {epoch} of {options.epochs}, loss {row['loss']:.4f}, {speed}", flush=True)

    train_network(prepared, recipe.architecture, options, path, on_epoch=report)


def member_options(recipe: Recipe, member: int, fold: int | None = None) -> TrainOptions:
    """Returns how a member is trained: on its own seed, without a fold or, for None, on everybody."""
    left_out = {} if fold is None else {"folds": FOLDS, "fold": fold}
    return recipe.training.model_copy(update={"seed": recipe.training.seed + member, **left_out})


def score_left_out(prepared: PreparedSnapshot, recipe: Recipe, options: TrainOptions, path: Path) -> pd.DataFrame:
    """Scores the fold that a training left out, or finds it scored."""
    import pandas as pd

    from bcd.files import whole_file

    kept = path / "left-out.parquet"
    if not kept.exists():
        rows = left_out_rows(prepared, options)
        logit = predict_logits(load_network(path / "network.keras"), prepared.pixels[rows], turns=recipe.turns)
        columns = ["hospital", "patient", "slide", "x", "y", "label"]
        frame = prepared.snapshot.patches.iloc[rows][columns].reset_index(drop=True)
        with whole_file(kept) as partial:
            frame.assign(fold=options.fold, logit=logit).to_parquet(partial)
    return pd.read_parquet(kept)


if __name__ == "__main__":
    main()
