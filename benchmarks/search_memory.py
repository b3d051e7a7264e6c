"""A search that remembers, beside one that does not, while one delivery after another arrives.

Recipes of the search's table (`search_table.py`) are trained on what a hospital has after its first delivery, its
first two, and so on: the same patients, of whom fewer have arrived. The last of these, everybody, is in that table
already. On these tables studies are replayed (`search_replay.py`), the default's: after each delivery one study
begins with the best recipes of the study before, as `remember` in `[search]` says, and one begins anew; both have the
same seed and the same budget. A study sees val scores of the patients who have arrived. What its choice is worth is
the AUROC on the patients that are held out, those of all deliveries.

    nice -n 19 .venv/bin/python benchmarks/search_memory.py train --rows 24     # an hour and a half of one core
    .venv/bin/python benchmarks/search_memory.py replay                         # some minutes; trains nothing

`train` writes `search-memory.csv` beside this file (row, deliveries, epoch, val and held-out score, loss, seconds),
row by row, so that a part of it can be used. Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from search_patches import DATA, HELD_OUT, choose_patches
from search_replay import REFERENCES, Replay, Table, interval, reach, read_points, replay, worths
from search_table import CURVES, EPOCHS, HERE, Trainer, add, draw_rows

from bcd.settings import load_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMORY = "search-memory.csv"
STRATEGY = ("TPE", "halving from epoch 3")  # the default's
REMEMBERED = (1, 2, 4)  # best recipes of the study before that are tried first
SHARES = (0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "replay"))
    parser.add_argument("--rows", type=int, default=24, help="recipes of the table that are trained (default 24)")
    parser.add_argument("--replays", type=int, default=300)
    parser.add_argument("--budget", type=float, default=3, help="of a study, in trainings of compact (default 3)")
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--home", type=Path, default=Path(".bcd/benchmark-table"), help="where the patches are kept")
    parser.add_argument("--table", type=Path, default=HERE, help="folder of the tables")
    arguments = parser.parse_args()
    if arguments.step == "train":
        train(arguments.rows, arguments.data, arguments.natural, arguments.home, arguments.table)
        return
    tables = read_tables(arguments.table)
    describe(tables)
    for remember in REMEMBERED:
        print_table(tables, remember, arguments.budget * EPOCHS, arguments.replays)


def train(rows: int, data: Path, natural: Path, home: Path, folder: Path) -> None:
    """Trains the first rows of the table that are no references, each after every delivery but the last."""
    from bcd.networks.backend import keras

    settings = load_settings(home)
    patches = choose_patches(settings, data, natural)
    is_held_out = patches["group"] == HELD_OUT
    deliveries = range(1, int(patches["delivery"].max()))
    arrived = [patches[is_held_out | (patches["delivery"] <= number)] for number in deliveries]
    trainers = [Trainer(settings, each.reset_index(drop=True), EPOCHS) for each in arrived]
    for row, _, recipe in draw_rows(REFERENCES + rows):
        for number, trainer in zip(deliveries, trainers, strict=True):
            if row < REFERENCES or is_trained(folder / MEMORY, row, number):
                continue
            curve, _ = trainer.train(recipe, fold=0)
            add(folder / MEMORY, [{"row": row, "deliveries": number, **epoch} for epoch in curve])
            val, held_out = curve[-1]["val"], curve[-1]["held_out"]
            print(f"row {row}, {number} deliveries: val {val:.4f}, held out {held_out:.4f}", flush=True)
            keras.utils.clear_session()


def is_trained(path: Path, row: int, deliveries: int) -> bool:
    """Whether the table has a row after so many deliveries."""
    if not path.exists():
        return False
    known = pd.read_csv(path)
    return bool(((known["row"] == row) & (known["deliveries"] == deliveries)).any())


def read_tables(folder: Path) -> list[Table]:
    """Reads a table for each number of deliveries, of the rows that are trained after all of them."""
    before = pd.read_csv(folder / MEMORY)
    everybody = pd.read_csv(folder / CURVES).query("fold == 0")
    last = int(before["deliveries"].max()) + 1
    curves = pd.concat([before, everybody.assign(deliveries=last)])
    trained = curves[curves["row"] >= REFERENCES].groupby("row")["deliveries"].nunique()
    kept = [int(row) for row in trained.index if trained[row] == last]
    points, cost = read_points(folder, kept)
    tables = []
    for _, part in curves[curves["row"].isin(kept)].groupby("deliveries"):
        epochs = part.pivot(index="row", columns="epoch", values="val").loc[kept]
        worth = part[part["epoch"] == EPOCHS].set_index("row").loc[kept, "held_out"]
        none = np.full((len(kept), 0, 0), np.nan)  # nothing is resampled: no strategy here races
        tables.append(Table(points, epochs.to_numpy(), worth.to_numpy(np.float64), cost, none))
    return tables


def follow_deliveries(tables: list[Table], remember: int, budget: float, seed: int) -> list[Replay]:
    """Replays a study after each delivery; each begins with the best whole recipes of the one before."""
    made: list[Replay] = []
    for number, table in enumerate(tables):
        first = made[-1].best(tables[number - 1], remember) if made else []
        made.append(replay(table, *STRATEGY, budget, seed + 10_000 * number, first=first))
    return made


def describe(tables: list[Table]) -> None:
    """Prints how much a recipe's score after some deliveries says of its score after one more, and of its worth."""
    from scipy.stats import spearmanr

    print(f"{len(tables[0].points)} recipes; rank correlation over them:")
    print("| deliveries | val score with worth | val score with that after one more | worth with that after all "
          "| best worth | mean worth |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- |")
    for number, table in enumerate(tables):
        val, after = table.val[:, -1], tables[min(number + 1, len(tables) - 1)].val[:, -1]
        own, more = spearmanr(val, table.worth).statistic, spearmanr(val, after).statistic
        whole = spearmanr(table.worth, tables[-1].worth).statistic
        print(f"| {number + 1} | {own:+.2f} | {more:+.2f} | {whole:+.2f} | {table.worth.max():.4f} | "
              f"{table.worth.mean():.4f} |")  # fmt: skip


def print_table(tables: list[Table], remember: int, budget: float, replays: int) -> None:
    """Prints, after each delivery, what remembering gains at equal compute and what it spares."""
    alone = [follow_deliveries(tables, 0, budget, seed) for seed in range(replays)]
    chain = [follow_deliveries(tables, remember, budget, seed) for seed in range(replays)]
    print(f"\n## {remember} remembered, budget {budget:.0f} epochs of compact, {replays} replays\n")
    print("| by | deliveries | without | with | gain after 50 % | 75 % | 100 % | has the other's final mean after |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for by in ("val score", "worth"):
        for number, table in list(enumerate(tables))[1:]:  # before the second there is nothing to remember
            seen = _see(table, by)
            ours, theirs = [made[number] for made in chain], [made[number] for made in alone]
            gains = [worths(seen, ours, share * budget) - worths(seen, theirs, share * budget) for share in SHARES]
            told = " | ".join("{:+.4f} [{:+.4f}, {:+.4f}]".format(each.mean(), *interval(each)) for each in gains)
            goal = worths(seen, theirs, budget).mean()
            print(f"| {by} | {number + 1} | {goal:.4f} | {worths(seen, ours, budget).mean():.4f} | {told} | "
                  f"{reach(seen, ours, goal, budget)} |", flush=True)  # fmt: skip
        gain, error = gain_over_deliveries(tables, remember, budget, replays, by)
        told = " | ".join(
            f"{g:+.4f} [{g - 1.96 * e:+.4f}, {g + 1.96 * e:+.4f}]" for g, e in zip(gain, error, strict=True)
        )
        print(f"| {by} | mean, interval over recipes | | | {told} | |", flush=True)


def gain_over_deliveries(
    tables: list[Table], remember: int, budget: float, replays: int, by: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the mean gain over deliveries at each share of the budget, and its standard error over recipes.

    Replays on the same recipes agree more than other recipes would; the error is that of the jackknife, which leaves
    one recipe out at a time.
    """

    def measure(parts: list[Table]) -> NDArray[np.float64]:
        means = np.zeros((2, len(SHARES)))
        for way, most in enumerate((0, remember)):
            made = [follow_deliveries(parts, most, budget, seed) for seed in range(replays)]
            for number, part in list(enumerate(parts))[1:]:
                found, seen = [each[number] for each in made], _see(part, by)
                means[way] += [worths(seen, found, share * budget).mean() for share in SHARES]
        return np.asarray((means[1] - means[0]) / (len(parts) - 1))

    recipes = np.arange(len(tables[0].points))
    left_out = np.array([measure([table.part(recipes[recipes != one]) for table in tables]) for one in recipes])
    error = np.sqrt((len(recipes) - 1) * left_out.var(axis=0))
    return measure(tables), error


def _see(table: Table, by: str) -> Table:
    """Returns a table whose worth is what a study is measured by: the last val score, or the worth itself."""
    return replace(table, worth=table.val[:, -1]) if by == "val score" else table


if __name__ == "__main__":
    main()
