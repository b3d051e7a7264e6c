"""Search: the best val score against the compute that was spent, this search beside random search without pruning.

Both try networks of the same space on the same real patches, from the same default on, each to the same budget,
several times with other seeds. Compute is counted in epochs of `compact`: multiply-adds of all epochs that a trial
ran, as a multiple of one epoch of `compact`, so that it does not depend on what else the machine did. The question is
after how much of its compute this search has what random search has in the end.

    .venv/bin/python benchmarks/search.py                       # about two hours on two cores
    .venv/bin/python benchmarks/search.py --repeats 1 --budget 4 --epochs 1 --per-patient 4      # a look

What is trained lies in --home: killed, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bcd.patches import Hospital
from bcd.preprocessing.options import PrepareOptions
from bcd.runtime import enter_runtime
from bcd.search.options import SearchOptions
from bcd.search.records import TrialRecord
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store.sign_off import SignOff
from bcd.training.options import TrainOptions

DATA = Path(__file__).parents[2] / "shared/data/batches"
WAYS: dict[str, dict[str, Any]] = {
    "this search": {"sampler": "tpe", "pruning": True, "dissertation": False},
    "random search": {"sampler": "random", "pruning": False, "dissertation": False},
}

Curve = list[tuple[float, float]]
"""Compute spent and best val score so far, after each trial."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=120, help="of a study, in epochs of compact (default 120)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=9, help="of a trial (default 9: three rungs)")
    parser.add_argument("--per-patient", type=int, default=16, help="patches of a patient at most (default 16)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of deliveries")
    parser.add_argument("--home", type=Path, default=Path(".bcd/benchmark-search"))
    arguments = parser.parse_args()
    settings = Settings(home=arguments.home)
    enter_runtime(settings)
    snapshot = freeze_subset(settings, arguments.data, arguments.per_patient)
    print(", ".join(f"{n:,} {split}" for split, n in snapshot.counts()["patches"].items() if n), "patches")
    curves: dict[str, list[Curve]] = {name: [] for name in WAYS}
    whole: list[TrialRecord] = []
    for seed in range(1, arguments.repeats + 1):
        for name, way in WAYS.items():
            options = SearchOptions(trials=1, epochs=arguments.epochs, best=0, seed=1000 * seed, **way)
            trials = follow(settings, snapshot, options, arguments.budget)
            curves[name].append(draw_curve(trials))
            whole += [] if way["pruning"] else [trial for trial in trials if trial.state == "complete"]
            spent, best = curves[name][-1][-1]
            print(f"repeat {seed}, {name:13s}: {best:.4f} after {spent:.0f} epochs of compact", flush=True)
    print_table(curves, arguments.budget)
    print_foresight(whole, arguments.epochs)


def follow(settings: Settings, snapshot: Snapshot, options: SearchOptions, budget: float) -> list[TrialRecord]:
    """Runs a study trial by trial until the budget is spent, and returns its trials."""
    from bcd.search.study import run_study

    while True:
        result = run_study(settings, snapshot, PrepareOptions(), options, TrainOptions())
        if draw_curve(result.trials)[-1][0] >= budget:
            return result.trials
        options = options.model_copy(update={"trials": options.trials + 1})


def draw_curve(trials: Sequence[TrialRecord]) -> Curve:
    """Returns what a study had found after how much compute; networks over the limits are no find."""
    unit = next(trial.multiply_adds for trial in trials if trial.number == 0)
    spent, best, curve = 0.0, 0.0, []
    for trial in trials:
        spent += len(trial.history) * trial.multiply_adds / unit if trial.kind == "proposed" else 0
        if trial.state == "complete" and trial.allowed:
            best = max(best, trial.value or 0.0)
        curve.append((spent, best))
    return curve


def print_table(curves: dict[str, list[Curve]], budget: float) -> None:
    """Prints the mean best score at shares of the budget, and when this search has random search's last one."""
    shares = (0.125, 0.25, 0.5, 0.75, 1.0)
    print(f"\nBest val score so far, mean (standard deviation) of {len(next(iter(curves.values())))} repeats")
    print("share of the budget  " + "".join(f"{share:>18.0%}" for share in shares))
    for name, found in curves.items():
        at = [[best_at(curve, share * budget) for curve in found] for share in shares]
        print(f"{name:21s}" + "".join(f"{np.mean(values):9.4f} ({np.std(values):.4f})".rjust(18) for values in at))
    goals = [best_at(curve, budget) for curve in curves["random search"]]
    needed = [reach(curve, float(np.mean(goals)), budget) for curve in curves["this search"]]
    shown = ", ".join("not within the budget" if each is None else f"{each / budget:.0%}" for each in needed)
    print(f"This search has random search's final {np.mean(goals):.4f} after, of the budget: {shown}")
    reached = [each for each in needed if each is not None]
    half = len(reached) == len(needed) and np.median(reached) <= budget / 2
    print("That is at most half of its compute." if half else "That is NOT at most half of its compute.")


def print_foresight(trials: Sequence[TrialRecord], epochs: int) -> None:
    """Prints how well the score after some epochs foretells a trial's own: what pruning there has to go by."""
    from scipy.stats import spearmanr

    scores = np.array([[row["val_score"] for row in trial.history] for trial in trials])
    foretold = ((epoch, spearmanr(scores[:, epoch - 1], scores.max(axis=1)).statistic) for epoch in range(1, epochs))
    print(f"Rank correlation with the best score, of {len(trials)} whole trials of random search:")
    print("  " + ", ".join(f"epoch {epoch} {rank:+.2f}" for epoch, rank in foretold))


def best_at(curve: Curve, spent: float) -> float:
    """Returns the best score of the trials that had ended by then."""
    return max((best for at, best in curve if at <= spent), default=0.5)


def reach(curve: Curve, goal: float, budget: float) -> float | None:
    """Returns the compute after which a curve has a score; None where it does not within the budget."""
    return next((at for at, best in curve if best >= goal and at <= budget), None)


def freeze_subset(settings: Settings, data: Path, per_patient: int) -> Snapshot:
    """Admits the deliveries and freezes, of the train and val patients, a few patches each, the same every time."""
    from bcd.admission.admit import admit
    from bcd.snapshots.freeze import freeze_snapshot, write_snapshot
    from bcd.snapshots.options import SplitOptions
    from bcd.store.hospitals import declare_hospital
    from bcd.store.store import open_store

    store, options = open_store(settings), SplitOptions(protocol="cruz-roa-2014-dev")
    declare_hospital(store, "public-idc", "pseudonyms", SignOff("benchmark", "test"))
    for delivery in sorted(data.glob("*.zip")):
        admit(store, delivery, Hospital("public-idc"))
    whole = freeze_snapshot(store, options)
    patches = whole.patches[whole.patches["split"].isin(["train", "val"])]
    shuffled = patches.sample(frac=1, random_state=1)
    chosen: pd.DataFrame = shuffled.groupby("patient", sort=False).head(per_patient).sort_index()
    return write_snapshot(settings, options, chosen.reset_index(drop=True), {})


if __name__ == "__main__":
    main()
