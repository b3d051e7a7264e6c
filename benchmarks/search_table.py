"""A table of trained recipes, on which any strategy of search is replayed in seconds.

Every row is a point of the space, drawn by chance, that is within the default limits; the first two are `compact` and
`dissertation`. A quarter of the patients is held out of everything; the others are dealt to three folds. A row is
trained without each fold. After every epoch its averaged weights are evaluated on that fold, which is what a search
would see, and after some on the patients that are held out, which is what the choice is worth.

    .venv/bin/python benchmarks/search_table.py --rows 80       # some three hours on two quiet cores

It writes, beside this file, `search-table.csv` (row, fold, epoch, val and held-out score, loss, seconds) and
`search-rows.csv` (row, its point, weights, multiply-adds). A score is the AUROC in which patients weigh the same.
What racing needs, the logits of every val patch after some epochs, goes to `search-val.parquet`.
All rows are trained without the first fold, then all without the second, so that a part of the table can be used.
Killed, the same command goes on; what is in the table is not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from search_patches import DATA, FOLDS, HELD_OUT, choose_patches, freeze_patches

from bcd.files import whole_file
from bcd.networks.build import build_network
from bcd.networks.cost import measure_network_cost
from bcd.patches import patient_keys
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PatchRows, PreparedSnapshot, prepare_snapshot
from bcd.search.options import SearchOptions
from bcd.search.space import Recipe, propose, reference_points
from bcd.settings import load_settings
from bcd.training.data import Material
from bcd.training.history import score_val_by_patients
from bcd.training.loop import Training
from bcd.training.options import TrainOptions
from bcd.training.predict import predict_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bcd.progress import Advance
    from bcd.settings import Settings

HERE = Path(__file__).parent
ROWS, CURVES, VAL = "search-rows.csv", "search-table.csv", "search-val.parquet"
EPOCHS = 9
RUNGS = (3, 6, 9)  # epochs after which val logits are kept and held-out patients are evaluated
_BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--home", type=Path, default=Path(".bcd/benchmark-table"), help="where the patches are kept")
    parser.add_argument("--to", type=Path, default=HERE, help="folder of the table")
    arguments = parser.parse_args()
    settings = load_settings(arguments.home)
    table = Trainer(settings, choose_patches(settings, arguments.data, arguments.natural), arguments.epochs)
    rows = list(draw_rows(arguments.rows))
    for row, point, recipe in rows:
        note_row(arguments.to / ROWS, row, point, recipe)
    for fold in range(FOLDS):
        for row, _, recipe in rows:
            if is_trained(arguments.to / CURVES, row, fold):
                continue
            curve, val = table.train(recipe, fold)
            keep_val(arguments.to / VAL, row, fold, val)
            add(arguments.to / CURVES, [{"row": row, "fold": fold, **epoch} for epoch in curve])
            last = curve[-1]
            print(f"row {row}, fold {fold}: val {last['val']:.4f}, held out {last['held_out']:.4f}", flush=True)


def draw_rows(number: int) -> Iterator[tuple[int, dict[str, Any], Recipe]]:
    """Yields the rows of the table, the same every time: the references, then what chance proposes within limits."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    training, preparation, limits = TrainOptions(), PrepareOptions(), SearchOptions()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=17))
    row = 0
    for point in reference_points(preparation).values():
        yield row, point, propose(optuna.trial.FixedTrial(point), training, preparation)
        row += 1
    compact = _cost(propose(optuna.trial.FixedTrial(reference_points(preparation)["compact"]), training, preparation))
    while row < number:
        trial = study.ask()
        recipe = propose(trial, training, preparation)
        cost = _cost(recipe)
        if cost[0] <= limits.max_parameters and cost[1] <= limits.max_cost * compact[1]:
            yield row, dict(trial.params), recipe
            row += 1


def _cost(recipe: Recipe) -> tuple[int, int]:
    cost = measure_network_cost(build_network(recipe.architecture))
    return cost.parameters, cost.multiply_adds


Evaluated: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]"
"""Rows of the prepared patches, their labels and their patients' keys."""


class Trainer:
    """Trains recipes on patches whose patients are dealt to folds and to those held out.

    Args:
        settings: Where the patches lie.
        patches: As `choose_patches` returns them.
        epochs: Of a training.
    """

    def __init__(self, settings: Settings, patches: pd.DataFrame, epochs: int) -> None:
        self._group = patches["group"].to_numpy()
        self._keys = patient_keys(patches).to_numpy(dtype=object).astype(str)
        self._labels = patches["label"].to_numpy().astype(np.int64)
        self._snapshot, self._settings, self._epochs = freeze_patches(settings, patches), settings, epochs

    def train(self, recipe: Recipe, fold: int) -> tuple[list[dict[str, float]], pd.DataFrame]:
        """Trains a recipe without a fold; returns a row an epoch, and a row a val patch with its logits at rungs."""
        prepared = prepare_snapshot(self._settings, self._snapshot, recipe.preparation)
        options = recipe.training.model_copy(update={"epochs": self._epochs, "seed": 1 + fold, "batch_size": _BATCH})
        rows = np.flatnonzero((self._group != fold) & (self._group != HELD_OUT))
        with tempfile.TemporaryDirectory() as folder:
            material, held_out = self._material(prepared, rows, fold), self._gather(HELD_OUT)
            training = _Watched(material, recipe.architecture, options, Path(folder), held_out)
            training.run()
        names = {"val": "val_score", "held_out": "held_out", "loss": "loss", "seconds": "seconds"}
        curve = [
            {"epoch": epoch, **{name: round(row.get(key, np.nan), 5) for name, key in names.items()}}
            for epoch, row in enumerate(training.state.history, 1)
        ]
        _, labels, keys = self._gather(fold)
        logits = {f"logit_{rung}": training.val_logits[rung] for rung in RUNGS if rung in training.val_logits}
        return curve, pd.DataFrame({"patient": keys, "label": labels, **logits})

    def _material(self, prepared: PreparedSnapshot, rows: NDArray[np.int64], fold: int) -> Material:
        patients = np.unique(self._keys[rows], return_inverse=True)[1].astype(np.int64)
        return Material(prepared.pixels, rows, self._labels[rows], patients, *self._gather(fold))

    def _gather(self, group: int) -> Evaluated:
        rows = np.flatnonzero(self._group == group)
        return rows, self._labels[rows], self._keys[rows]


class _Watched(Training):
    """A training that is evaluated on held-out patients too, at rungs."""

    def __init__(self, *others: Any) -> None:
        *inherited, self._held_out = others
        super().__init__(*inherited)
        self.val_logits: dict[int, NDArray[np.float16]] = {}

    def _score(self, row: dict[str, float], advance: Advance) -> None:
        super()._score(row, advance)
        epoch = len(self.state.history)
        if epoch in RUNGS:
            self.val_logits[epoch] = self._predict(self.material.val_rows).astype(np.float16)
            rows, labels, patients = self._held_out
            row["held_out"] = score_val_by_patients(self._predict(rows), labels, patients)

    def _predict(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return predict_logits(self.averaged, PatchRows(self.material.pixels, rows))


def note_row(path: Path, row: int, point: dict[str, Any], recipe: Recipe) -> None:
    """Notes what a row is, once."""
    known = pd.read_csv(path)["row"].tolist() if path.exists() else []
    if row not in known:
        parameters, multiply_adds = _cost(recipe)
        add(
            path, [{"row": row, "parameters": parameters, "multiply_adds": multiply_adds, "point": json.dumps(point)}]
        )


def keep_val(path: Path, row: int, fold: int, val: pd.DataFrame) -> None:
    """Keeps the val logits of a row's fold, in place of what a killed run left of it."""
    old = pd.read_parquet(path) if path.exists() else None
    others = [] if old is None else [old[(old["row"] != row) | (old["fold"] != fold)]]
    narrow = {"row": "int16", "fold": "int8", "label": "int8", "patient": "category"}
    with whole_file(path) as partial:
        joined = pd.concat([*others, val.assign(row=row, fold=fold)]).astype({"patient": str}).astype(narrow)
        joined.to_parquet(partial, index=False, compression="zstd")


def is_trained(path: Path, row: int, fold: int) -> bool:
    """Whether the table has a row's fold."""
    if not path.exists():
        return False
    known = pd.read_csv(path)
    return bool(((known["row"] == row) & (known["fold"] == fold)).any())


def add(path: Path, rows: list[dict[str, Any]]) -> None:
    """Adds rows to a file, all or none."""
    old = [pd.read_csv(path)] if path.exists() else []
    with whole_file(path) as partial:
        pd.concat([*old, pd.DataFrame(rows)]).to_csv(partial, index=False)


if __name__ == "__main__":
    main()
