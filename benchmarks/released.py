"""The released model: trained on every patient of the deliveries, evaluated out of fold, written into the package.

The patients are dealt to three folds. Each member of the ensemble is trained once without each fold, which it then
scores, and once on everybody: that copy is released. No patient is kept for val: epochs are fixed, and the last
averaged weights are kept. A member is finished before the next begins, so that a run that is stopped leaves a smaller
ensemble that is whole; the same command goes on after the last finished epoch.

    .venv/bin/python benchmarks/released.py train --data FOLDER       # hours on two cores; goes on after a kill
    .venv/bin/python benchmarks/released.py write --data FOLDER       # what is trained, as package data
    .venv/bin/python benchmarks/released.py describe --data FOLDER    # its reference statistics anew, from the scores
    .venv/bin/python benchmarks/released.py context                   # what neighbours add, from the stored scores
    .venv/bin/python benchmarks/released.py compare --beside FILE     # other networks on the same patches
    .venv/bin/python benchmarks/released.py --check                   # the stored figures, from the stored scores

FOLDER holds the deliveries as zip files; --natural names the list of the patches that are a random sample of every
patient, on which alone the policy is fitted. --check, context and compare read the package and no training data.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from released_context import SHOWN, draw_before_and_after
from released_figures import OURS, compare, compute, differences, fit_by_fold, match
from released_folder import describe_anew, gather_release, update_context, write_released
from released_training import (
    MEMBERS,
    PLACE,
    RECIPE,
    digest_files,
    find_deliveries,
    open_patients,
    read_natural,
    train_member,
)

from bcd.bundle.record import read_record
from bcd.bundle.released import OUT_OF_FOLD, released_folder
from bcd.bundle.released.figures import read_released_figures
from bcd.bundle.scorer import RECORD
from bcd.formats import format_estimate

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "step",
        nargs="?",
        choices=("train", "write", "describe", "context", "compare"),
        help="what to do; none: --check",
    )
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--folder", type=Path, default=ROOT / "artifacts/released", help="where trainings are kept")
    parser.add_argument("--members", type=int, default=MEMBERS, help="networks to train")
    parser.add_argument("--to", type=Path, default=released_folder(), help="folder of the released model")
    parser.add_argument("--beside", type=Path, default=DATA / "peer-predictions-unlisted.csv", help="predictions")
    parser.add_argument("--picture", type=Path, help="PNG of a slide without and with its neighbours")
    parser.add_argument("--check", action="store_true", help="end with 1 where a stored figure does not follow")
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit(check(arguments.to))
    if arguments.step is None:
        parser.error("name a step, or --check")
    if arguments.step == "compare":
        print_comparison(pd.read_parquet(arguments.to / OUT_OF_FOLD), arguments.beside)
    elif arguments.step == "context":
        print_context(arguments.to, arguments.picture)
    elif arguments.step == "describe":
        describe_anew(open_patients(arguments.data, arguments.folder / "home", RECIPE), arguments.to)
    else:
        release(arguments)


def release(arguments: argparse.Namespace) -> None:
    """Trains what is not trained yet, if asked to, and writes the folder of the released model."""
    patients = open_patients(arguments.data, arguments.folder / "home", RECIPE)
    for member in range(arguments.members if arguments.step == "train" else 0):
        train_member(patients.prepared, RECIPE, member, arguments.folder)
    digests = digest_files([*find_deliveries(arguments.data), arguments.natural])
    natural = read_natural(arguments.natural)
    found = gather_release(patients, RECIPE, arguments.folder, natural, digests)
    size = write_released(found, arguments.to)
    print(f"Networks: {len(found.members)}. {size / 1e6:.2f} MB in {arguments.to}.")


def check(folder: Path) -> int:
    """Recomputes policy, metrics and figures from the stored scores; returns 1 where they are not those stored."""
    stored, record = read_released_figures(folder), read_record(folder / "bundle" / RECORD)
    found = compute(pd.read_parquet(folder / OUT_OF_FOLD), record.snapshot).plain()
    kept = {"policy": record.policy.model_dump(mode="json"), "metrics": record.metrics}
    kept |= json.loads(stored.model_dump_json(include={"natural", "everything", "yardsticks", "context"}))
    wrong = list(differences(found, kept))
    for line in wrong:
        print(f"differs: {line}")
    for name, evaluation in (("natural sample", stored.natural), ("every patch", stored.everything)):
        pooled, macro = (format_estimate(each["auroc"]) for each in (evaluation.pooled, evaluation.patient_macro))
        print(f"{name}, {evaluation.n_patients} patients out of fold: AUROC {pooled} pooled, {macro} patient-macro")
    print(f"{len(wrong)} values differ." if wrong else "Every figure follows from the stored scores.")
    return 1 if wrong else 0


def print_context(folder: Path, picture: Path | None) -> None:
    """Writes what neighbours add into the folder, prints it, and draws a slide if asked to."""
    computed = update_context(folder)
    stage = computed.policy.context
    if stage is None:
        print("No slide is declared complete: there is no stage of neighbours.")
        return
    print(
        f"own {stage.own:.3f}, neighbours {stage.neighbours:.3f}, intercept {stage.intercept:.3f}; {stage.standing}"
    )
    print("AUROC and best F1: alone; by how much the plain mean and the fitted stage are higher")
    for slide in computed.context:
        figures = "   ".join(
            f"{gain.alone:.4f} {gain.plain - gain.alone:+.4f} {gain.fitted - gain.alone:+.4f}"
            for gain in (slide.auroc, slide.best_f1)
        )
        print(f"  {slide.title:34s} {slide.patches:6,} patches   {figures}")
    if picture is not None:
        draw_before_and_after(computed.scores, fit_by_fold(computed.scores), SHOWN, picture)


def print_comparison(scores: pd.DataFrame, beside: Path) -> None:
    """Prints AUROC of the out-of-fold scores beside other networks', and the paired gain by patient."""
    both, missing = match(scores, beside)
    networks = [name for name in pd.read_csv(beside, nrows=0).columns if name not in {*PLACE, "label"}]
    print(f"{len(both):,} patches of {both['patient'].nunique()} patients; {missing} more were not admitted")
    print("AUROC: pooled; patient-macro; how much higher ours is, patient-macro, paired by patient")
    for name, pooled, macro, gain in compare(both, networks):
        shown = "" if name == OURS else f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        print(f"  {name:18s} {format_estimate(pooled)}   {format_estimate(macro)}   {shown}")


if __name__ == "__main__":
    main()
