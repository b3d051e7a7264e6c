"""Search: the best network against the compute that was spent, this search beside random search without pruning.

Both try networks of the same space on the same real patches (`search_patches.py`), from the same seeds, each to the
same budget, several times. Compute is counted in epochs of `compact`: multiply-adds of all epochs that a trial ran,
as a multiple of one epoch of `compact`, so that it does not depend on what else the machine did. What is compared is
the best whole trial so far by val score, as a study chooses: its val score, and its AUROC on patients who are held
out of every search. References are no find of a search and are not paid for, nothing is refitted, and no earlier
study is remembered. The question is after how much of its compute this search has what random search has in the end.

    nice -n 19 .venv/bin/python benchmarks/search.py                # some twenty minutes of one core
    .venv/bin/python benchmarks/search.py --repeats 1 --budget 4 --epochs 1 --per-patient 4      # a look

What is trained lies in --home: killed, the same command goes on. Finished repeats are printed as they come.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from search_patches import DATA, choose_patches, freeze_patches

from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import prepare_snapshot
from bcd.runtime import enter_runtime
from bcd.search.job import Job
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult, TrialRecord
from bcd.settings import Settings, load_settings
from bcd.snapshots.freeze import Snapshot
from bcd.training.options import TrainOptions

THIS, RANDOM = "this search", "random search"
WAYS: dict[str, dict[str, Any]] = {THIS: {}, RANDOM: {"sampler": "random", "pruning": False}}
"""What of `SearchOptions` is not as a search has it by default."""

SHARES = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Found:
    """The best whole trial of a study at some moment.

    Attributes:
        spent: Compute spent then, in epochs of `compact`.
        val: Its val score.
        held_out: AUROC on the patients held out, in which patients weigh the same.
    """

    spent: float
    val: float
    held_out: float


Curve = list[Found]
"""What a study had found after each trial, from its first whole one on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=36, help="of a study, in epochs of compact (default 36)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=9, help="of a trial (default 9)")
    parser.add_argument("--per-patient", type=int, default=8, help="patches of a searched patient (default 8)")
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--home", type=Path, default=Path(".bcd/benchmark-search"))
    arguments = parser.parse_args()
    settings = load_settings(arguments.home)
    enter_runtime(settings)
    patches = choose_patches(settings, arguments.data, arguments.natural, searched=arguments.per_patient)
    snapshot = freeze_patches(settings, patches)
    counts = snapshot.counts()
    for split, n in counts["patches"].items():
        print(f"{n:,} {split} patches of {counts['patients'][split]} patients")
    curves: dict[str, list[Curve]] = {name: [] for name in WAYS}
    whole: list[TrialRecord] = []
    for seed in range(1, arguments.repeats + 1):
        for name, way in WAYS.items():
            options = SearchOptions(
                trials=1, epochs=arguments.epochs, best=0, remember=0, dissertation=False, seed=1000 * seed, **way
            )
            study = follow(settings, snapshot, options, arguments.budget)
            curves[name].append(draw_curve(study.trials, partial(evaluate_held_out, settings, snapshot, study)))
            tried = [trial for trial in study.trials if trial.kind == "proposed" and trial.history]
            whole += [] if options.pruning else [trial for trial in tried if trial.state == "complete"]
            print(f"repeat {seed}, {name:13s}: {tell(curves[name][-1], arguments.budget)}, {len(tried)} trials, of "
                  f"which {sum(trial.state == 'pruned' for trial in tried)} pruned", flush=True)  # fmt: skip
        print_table(curves, arguments.budget)
    print_foresight(whole, arguments.epochs)


def follow(settings: Settings, snapshot: Snapshot, options: SearchOptions, budget: float) -> StudyResult:
    """Runs a study trial by trial until the budget is spent."""
    from bcd.search.study import run_study

    while True:
        result = run_study(
            settings, snapshot, PrepareOptions(), options, TrainOptions(), elsewhere=work_in_this_process
        )
        if sum(spend(result.trials)) >= budget:
            return result
        ended = sum(trial.kind == "proposed" and trial.state != "too large" for trial in result.trials)
        options = options.model_copy(update={"trials": ended + 1})


@contextmanager
def work_in_this_process(job: Job, _others: int) -> Iterator[Callable[[], None]]:
    """Does the trials of a study here, one after another: a process each would spend a third of the time starting."""
    from bcd.networks.backend import keras
    from bcd.search.worker import do_next_trial

    def work() -> None:
        do_next_trial(job)
        keras.utils.clear_session()

    yield work


def spend(trials: Sequence[TrialRecord]) -> list[float]:
    """Returns what each trial cost, in epochs of `compact`; references cost nothing."""
    unit = next(trial.multiply_adds for trial in trials if trial.number == 0)
    costs = [len(trial.history) * trial.multiply_adds / unit for trial in trials]
    return [cost if trial.kind == "proposed" else 0.0 for cost, trial in zip(costs, trials, strict=True)]


def draw_curve(trials: Sequence[TrialRecord], held_out: Callable[[TrialRecord], float]) -> Curve:
    """Returns what a study had found after how much compute; what is over the limits or no proposal is no find."""
    spent, best, curve = 0.0, 0.0, Curve()
    for trial, cost in zip(trials, spend(trials), strict=True):
        spent += cost
        is_find = trial.state == "complete" and trial.allowed and trial.kind == "proposed"
        if is_find and (trial.value or 0.0) > best:
            best = trial.value or 0.0
            curve.append(Found(spent, best, held_out(trial)))
    return curve


def evaluate_held_out(settings: Settings, snapshot: Snapshot, study: StudyResult, trial: TrialRecord) -> float:
    """Evaluates a trial's network on the patients who are held out."""
    from bcd.networks.keras_files import load_network
    from bcd.training.history import score_val_by_patients
    from bcd.training.predict import predict_logits

    pixels, labels, patients = prepare_snapshot(settings, snapshot, trial.preparation).split("test")
    network = load_network(settings.work / study.study / f"trial-{trial.number}" / "network.keras")
    return score_val_by_patients(predict_logits(network, pixels), labels, patients)


def tell(curve: Curve, budget: float) -> str:
    """Says what a study has in the end."""
    last = best_at(curve, budget)
    return f"val score {last.val:.4f}, held out {last.held_out:.4f}" if last else "nothing whole"


def print_table(curves: dict[str, list[Curve]], budget: float) -> None:
    """Prints what the best trial has at shares of the budget, and when this search has random search's last value."""
    repeats = len(curves[RANDOM])
    print(f"\nMean (least to most) of {repeats} repeats after, in epochs of compact:")
    print(f"{'':24s}" + "".join(f"{share * budget:>26.1f}" for share in SHARES))
    for what in ("val", "held_out"):
        for name, found in curves.items():
            at = [[value_at(curve, share * budget, what) for curve in found] for share in SHARES]
            told = (f"{np.mean(each):.4f} ({min(each):.4f} to {max(each):.4f})" for each in at)
            print(f"{name + ', ' + what.replace('_', ' '):24s}" + "".join(f"{text:>26s}" for text in told))
        at_end = [value_at(curve, budget, what) for curve in curves[RANDOM]]
        gains = np.array([value_at(curve, budget, what) for curve in curves[THIS]]) - at_end
        print(
            f"this search less random search at the end, each repeat: {', '.join(f'{gain:+.4f}' for gain in gains)}"
        )
    own = [value_at(curve, budget, "val") for curve in curves[RANDOM]]
    for goal, goals in (("of the same repeat", own), ("in the mean", [float(np.mean(own))] * repeats)):
        for name, found in curves.items():
            needed = [reach(curve, each, budget) / budget for curve, each in zip(found, goals, strict=True)]
            shown = ", ".join("not within it" if np.isinf(share) else f"{share:.0%}" for share in needed)
            half = "at most" if np.median(needed) <= 0.5 else "NOT at most"
            print(f"{name} has random search's final val score {goal} after, of the budget: {shown}; "
                  f"{half} half of it in the median")  # fmt: skip


def print_foresight(trials: Sequence[TrialRecord], epochs: int) -> None:
    """Prints how well the score after some epochs foretells a trial's own: what pruning there has to go by."""
    from scipy.stats import spearmanr

    scores = np.array([[row["val_score"] for row in trial.history] for trial in trials])
    foretold = ((epoch, spearmanr(scores[:, epoch - 1], scores.max(axis=1)).statistic) for epoch in range(1, epochs))
    print(f"Rank correlation with the best score, of {len(trials)} whole trials of random search:")
    print("  " + ", ".join(f"epoch {epoch} {rank:+.2f}" for epoch, rank in foretold))


def best_at(curve: Curve, spent: float) -> Found | None:
    """Returns the best of the trials that had ended by then; None before the first whole one."""
    return next((found for found in reversed(curve) if found.spent <= spent), None)


def value_at(curve: Curve, spent: float, what: str) -> float:
    """Returns what the best trial had by then, .5 before the first whole one."""
    found = best_at(curve, spent)
    return float(getattr(found, what)) if found else 0.5


def reach(curve: Curve, goal: float, budget: float) -> float:
    """Returns the compute after which a curve has a val score; infinite where it does not within the budget."""
    return next((found.spent for found in curve if found.val >= goal and found.spent <= budget), float("inf"))


if __name__ == "__main__":
    main()
