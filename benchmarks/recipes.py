"""Recipes compared by patient folds of the train patients, and the chosen one opened on the test patients.

Every recipe is trained on each fold's other train patients, with every seed; the snapshot's val patients choose the
epoch and the left-out fold is evaluated. A recipe counts as better where the whole interval of its gain over the
default, by patient and seed, lies above zero.
Everything is kept in --folder, so the same command goes on after a kill.

    .venv/bin/python benchmarks/recipes.py train --home HOME --folder FOLDER       # 3 folds x 2 seeds x 5 recipes
    .venv/bin/python benchmarks/recipes.py compare --home HOME --folder FOLDER     # the table; test patients unread
    .venv/bin/python benchmarks/recipes.py open --home HOME --folder FOLDER --recipe NAME   # three seeds, test, once

HOME is what `make demo DATA=… PROTOCOL=cruz-roa-2014-dev` or `bcd ingest` left; its latest snapshot is used.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem
from bcd.networks.keras_files import load_network
from bcd.patches import CELL
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.settings import load_settings
from bcd.snapshots.freeze import load_snapshot
from bcd.training.data import find_rows_left_out_of_training
from bcd.training.fit import train_network
from bcd.training.options import TrainOptions, Turns
from bcd.training.predict import predict_logits

PUBLISHED = Path(__file__).parents[2] / "shared/data/peer-predictions-val.csv"
FOLDS, SEEDS, RESAMPLES = 3, (1, 2), 2000

WIDE = Architecture(
    stem=Stem(filters=48),
    stages=[Stage(filters=48), Stage(filters=96, dropout=0.1), Stage(filters=192, dropout=0.1)],
    head=Head(dropout=0.2),
)
REGULAR = Architecture(
    stem=Stem(),
    stages=[Stage(filters=32, dropout=0.1), Stage(filters=64, dropout=0.2), Stage(filters=128, dropout=0.3)],
    head=Head(dropout=0.5),
)


Folds = list[list[pd.DataFrame]]
"""Scores of the patients left out: for each fold, a frame for each seed."""


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    architecture: Architecture
    training: TrainOptions


BASE = TrainOptions(epochs=12)
RECIPES = {
    "default": Recipe(PRESETS["compact"], BASE),
    "stain jitter x2": Recipe(PRESETS["compact"], BASE.model_copy(update={"stain_jitter": 2.0})),
    "24 epochs": Recipe(PRESETS["compact"], BASE.model_copy(update={"epochs": 24})),
    "regularised": Recipe(REGULAR, BASE.model_copy(update={"weight_decay": 1e-2})),
    "wide x1.5": Recipe(WIDE, BASE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "compare", "open"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="default")
    parser.add_argument("--beside", type=Path, default=PUBLISHED, help="what published networks say of the patches")
    arguments = parser.parse_args()
    prepared = open_prepared(arguments.home)
    if arguments.step == "train":
        train_all(prepared, arguments.folder)
    elif arguments.step == "compare":
        compare_all(prepared, arguments.folder)
    else:
        open_test(prepared, arguments.folder, arguments.recipe, arguments.beside)


def open_prepared(home: Path) -> PreparedSnapshot:
    """Prepares the home's latest snapshot."""
    settings = load_settings(home)
    latest = max(settings.snapshots.iterdir(), key=lambda folder: folder.stat().st_mtime)
    return prepare_snapshot(settings, load_snapshot(settings, latest.name), PrepareOptions())


def train_all(prepared: PreparedSnapshot, folder: Path) -> None:
    """Trains every recipe, fold and seed that is not trained yet; the default first, so that a part is of use."""
    for seed in SEEDS:
        for name, recipe in RECIPES.items():
            for fold in range(FOLDS):
                trained = train_network(
                    prepared, recipe.architecture, of_fold(recipe, fold, seed), place(folder, name, fold, seed)
                )
                seconds = sum(row["seconds"] for row in trained.history)
                print(
                    f"{name:16s} fold {fold} seed {seed}: val {trained.val_score:.3f} at epoch {trained.best_epoch}, "
                    f"{seconds:.0f} s",
                    flush=True,
                )


def of_fold(recipe: Recipe, fold: int, seed: int) -> TrainOptions:
    """Returns a recipe's options for one fold and seed."""
    return recipe.training.model_copy(update={"folds": FOLDS, "fold": fold, "seed": seed})


def place(folder: Path, name: str, fold: int, seed: int) -> Path:
    """Returns where a training lies."""
    return folder / name.replace(" ", "-") / f"fold{fold}-seed{seed}"


def compare_all(prepared: PreparedSnapshot, folder: Path) -> None:
    """Prints what every recipe gains over the default of the same seeds on the folds that it never saw."""
    evaluated: dict[str, tuple[list[int], Folds]] = {}
    for name, recipe in RECIPES.items():
        seeds = [each for each in SEEDS if all(place(folder, name, fold, each).exists() for fold in range(FOLDS))]
        for turns in (1, 8) if seeds else ():
            evaluated[f"{name}, {turns} turn{'s' * (turns > 1)}"] = (
                seeds,
                [
                    [
                        score_fold(prepared, place(folder, name, fold, seed), of_fold(recipe, fold, seed), turns)
                        for seed in seeds
                    ]
                    for fold in range(FOLDS)
                ],
            )
        if len(seeds) > 1:
            evaluated[f"{name}, 8 turns, both seeds averaged"] = (
                seeds,
                [[average(*frames)] for frames in evaluated[f"{name}, 8 turns"][1]],
            )
    default = evaluated["default, 1 turn"][1]
    draws = [resample_patients(fold[0]) for fold in default]
    base = resample(default, draws)
    print(f"AUROC, every patient weighing the same, mean of {FOLDS} left-out folds; gain over the default")
    for name, (seeds, folds) in evaluated.items():
        values = resample(folds, draws)
        same = base[:, [SEEDS.index(seed) for seed in seeds]]
        gain = pick_seeds(values, 0) - pick_seeds(same, 1)
        low, high = np.percentile(gain[1:], [2.5, 97.5])
        pooled = np.mean([pooled_auroc(frame) for fold in folds for frame in fold])
        print(
            f"{name:42s} {values[0].mean():.4f}  pooled {pooled:.4f}  {gain[0]:+.4f} "
            f"[{low:+.4f}, {high:+.4f}]  seeds {', '.join(map(str, seeds))}"
        )


def open_test(prepared: PreparedSnapshot, folder: Path, name: str, published: Path) -> None:
    """Trains a recipe on all train patients with three seeds and prints its AUROC on the test patients."""
    from bcd.evaluation.evaluation import evaluate_scores
    from bcd.evaluation.options import EvaluateOptions
    from bcd.formats import format_estimate

    recipe, logits = RECIPES[name], {}
    rows = prepared.rows("test")
    columns = [*CELL, "label"]
    frame = prepared.snapshot.patches.iloc[rows][columns].reset_index(drop=True)
    for seed in (1, 2, 3):
        training = recipe.training.model_copy(update={"seed": seed})
        path = folder / name.replace(" ", "-") / f"all-seed{seed}"
        network = load_network(train_network(prepared, recipe.architecture, training, path).path)
        for turns in (1, 8):
            logits[seed, turns] = predict_logits(network, prepared.pixels[rows], turns=turns)
    cases = {f"seed {seed}, {turns} turns": logits[seed, turns] for seed, turns in logits}
    cases["three seeds, 8 turns"] = np.mean([logits[seed, 8] for seed in (1, 2, 3)], axis=0)
    probabilities = {case: 1 / (1 + np.exp(-values.astype(np.float64))) for case, values in cases.items()}
    print(
        f"AUROC of {name} on {frame['patient'].nunique()} test patients: pooled, patient-macro, without the largest"
    )
    for case, probability in (probabilities | read_published(frame, published)).items():
        evaluated = evaluate_scores(
            frame.assign(probability=probability), EvaluateOptions(), snapshot=prepared.snapshot.id, split="test"
        )
        ways = (evaluated.pooled, evaluated.patient_macro, evaluated.without_largest)
        print(f"  {case:22s}", "   ".join(format_estimate(way["auroc"]) for way in ways))


def read_published(frame: pd.DataFrame, file: Path) -> dict[str, np.ndarray]:
    """Reads what published networks say of the same patches; a patch that they lack is an error."""
    if not file.exists():
        return {}
    places = ["patient", "x", "y"]
    said = pd.read_csv(file, dtype={"patient": str})
    merged = frame.merge(said.drop(columns="label"), on=places, how="left", validate="one_to_one")
    columns = [column for column in said.columns if column not in [*places, "label"]]
    if merged[columns].isna().any().any():
        raise ValueError(f"{file} lacks patches of the test patients")
    return {column: merged[column].to_numpy(np.float64) for column in columns}


def score_fold(prepared: PreparedSnapshot, path: Path, training: TrainOptions, turns: Turns) -> pd.DataFrame:
    """Scores the fold that a training left out, or finds it scored."""
    kept = path / f"left-out-{turns}.parquet"
    if not kept.exists():
        rows = find_rows_left_out_of_training(prepared, training)
        frame = prepared.snapshot.patches.iloc[rows][["patient", "label"]].reset_index(drop=True)
        network = load_network(path / "network.keras")
        frame.assign(logit=predict_logits(network, prepared.pixels[rows], turns=turns)).to_parquet(kept)
    return pd.read_parquet(kept)


def average(*frames: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean logit of several networks."""
    return frames[0].assign(logit=np.mean([frame["logit"] for frame in frames], axis=0))


def resample_patients(frame: pd.DataFrame) -> np.ndarray:
    """Draws how often each patient of a fold counts, (1 + RESAMPLES, patients); row 0 is the fold itself."""
    n = frame["patient"].nunique()
    random = np.random.default_rng(n)
    return np.vstack([np.ones(n), random.multinomial(n, np.full(n, 1 / n), RESAMPLES)])


def resample(folds: Folds, draws: list[np.ndarray]) -> np.ndarray:
    """Returns the folds' mean AUROC, (1 + RESAMPLES, seeds)."""
    per_fold = [
        np.column_stack([balanced_auroc(frame, drawn) for frame in seeds])
        for seeds, drawn in zip(folds, draws, strict=True)
    ]
    means: np.ndarray = np.mean(per_fold, axis=0)
    return means


def balanced_auroc(frame: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Returns the AUROC of each resample, every patient weighing the same."""
    from bcd.evaluation.metrics.ranking import auroc, concordance
    from bcd.evaluation.metrics.sample import Sample

    patient, patients = pd.factorize(frame["patient"], sort=True)
    positive = frame["label"].to_numpy() == 1
    probability = 1 / (1 + np.exp(-frame["logit"].to_numpy(np.float64)))
    sample = Sample(positive, probability, patient, [("", str(key)) for key in patients])
    sizes = np.bincount(patient).astype(np.float64)
    ones = np.bincount(patient, weights=positive).astype(np.float64)
    return auroc(concordance(sample), ones, sizes - ones, counts / sizes)


def pick_seeds(values: np.ndarray, seed: int) -> np.ndarray:
    """Returns the mean of as many seeds as there are, drawn anew for every resample; row 0 is of all seeds."""
    drawn = np.random.default_rng(seed).integers(values.shape[1], size=values.shape)
    return np.concatenate([[values[0].mean()], np.take_along_axis(values, drawn, axis=1).mean(axis=1)[1:]])


def pooled_auroc(frame: pd.DataFrame) -> float:
    """Returns the AUROC of all patches alike."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(frame["label"], frame["logit"]))


if __name__ == "__main__":
    main()
