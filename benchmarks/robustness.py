"""Robustness: what changes of the pixels cost three recipes, on out-of-fold patches of the natural sample.

The recipes are the released one, the same without jitter of stain and light, and the same with the network
`dissertation`. Each patch is changed as it was cut, before preparation, and scored by the copies that never saw its
patient, in as many turns as the released model takes. AUROC is patient-macro; the calibration error is of the
calibrator that was fitted on unchanged patches of the other folds.

    .venv/bin/python benchmarks/robustness.py --data FOLDER --folder FOLDER            # the released recipe
    .venv/bin/python benchmarks/robustness.py --data FOLDER --folder FOLDER --compare  # all three: trains two of them

It goes on after a kill, fold by fold and change by change. It needs what `benchmarks/released.py train` left in
--folder, of which `benchmarks/released.py write` takes robustness.json; the others lie in its folder `compared`.
Afterwards it prints the table and draws robustness.png.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter
from released_figures import OPTIONS, cross_fit, fit_by_fold
from released_training import (
    FOLDS,
    PLACE,
    RECIPE,
    Patients,
    Recipe,
    find_members,
    fold_folder,
    gather_scores,
    member_options,
    open_patients,
    read_natural,
    score_left_out,
    train,
)
from shifts import SHIFTS, Change

from bcd.bundle.released.figures import Shift
from bcd.charts import BLUE, GREEN, MUTED, ORANGE, page
from bcd.errors import BcdError
from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.files import whole_file
from bcd.networks.architecture import PRESETS
from bcd.networks.keras_files import load_network
from bcd.preprocessing.prepare import prepare
from bcd.training.predict import predict_logits

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
MEASURED = "robustness.json"
COSTLY = 0.03
RELEASED = "released"
_NO_JITTER = {"stain_jitter": 0.0, "light_jitter": 0.0}

COMPARED = {
    "unaugmented": replace(RECIPE, training=RECIPE.training.model_copy(update=_NO_JITTER)),
    "dissertation": replace(RECIPE, architecture=PRESETS["dissertation"]),
}
"""Recipes beside the released one, each of which differs from it in one thing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--folder", type=Path, default=ROOT / "artifacts/released", help="where trainings are kept")
    parser.add_argument("--compare", action="store_true", help="train and measure the other two recipes too")
    parser.add_argument(
        "--members", type=int, help="members whose folds are scored (default: those that are finished)"
    )
    parser.add_argument("--only", nargs="+", choices=SHIFTS, help="measure these changes alone, and write nothing")
    arguments = parser.parse_args()
    patients = open_patients(arguments.data, arguments.folder / "home", RECIPE)
    natural = read_natural(arguments.natural)
    members = arguments.members or len(find_members(arguments.folder))
    measured = {RELEASED: measure(patients, RECIPE, arguments.folder, members, natural, only=arguments.only)}
    for name, recipe in COMPARED.items() if arguments.compare else ():
        folder = arguments.folder / "compared" / name
        train_folds(patients, recipe, folder)
        measured[name] = measure(patients, recipe, folder, 1, natural, only=arguments.only)
    print(tabulate(measured))
    draw(measured, arguments.folder / "robustness.png")


def train_folds(patients: Patients, recipe: Recipe, folder: Path) -> None:
    """Trains one member without each fold, and scores the patients left out; what is done is found done."""
    for fold in range(FOLDS):
        options, path = member_options(recipe, 0, fold), fold_folder(folder, 0, fold)
        train(patients.prepared, recipe, options, path)
        score_left_out(patients.prepared, recipe, options, path)


def measure(
    patients: Patients,
    recipe: Recipe,
    folder: Path,
    members: int,
    natural: pd.DataFrame,
    *,
    only: Sequence[str] | None = None,
) -> list[Shift]:
    """Measures what each change costs a recipe, and writes all of them as robustness.json into its folder.

    Args:
        patients: Everybody.
        recipe: How its networks were trained.
        folder: Where they lie, as `benchmarks/released_training.py` lays them out.
        members: How many there are, each of whom scored every fold.
        natural: patient, x and y of the natural sample.
        only: Names of the changes to measure; None: all.

    Raises:
        BcdError: There is no member.
    """
    if not members:
        raise BcdError(f"{folder} holds no member that is finished.", "Train first: benchmarks/released.py train.")
    scores = gather_scores(folder, members, natural)
    shifts = []
    for name in SHIFTS if only is None else only:
        logit = score_shifted(patients, recipe, folder, scores, name, change=SHIFTS[name])
        shifts.append(shift := evaluate_shift(scores, name, logit))
        print(f"{folder.name:14s} {name:24s} {shift.auroc:.3f} {shift.loss:+.3f}", flush=True)
    if only is None:
        with whole_file(folder / MEASURED) as partial:
            partial.write_bytes(TypeAdapter(list[Shift]).dump_json(shifts, indent=1) + b"\n")
    return shifts


def score_shifted(
    patients: Patients, recipe: Recipe, folder: Path, scores: pd.DataFrame, name: str, *, change: Change
) -> NDArray[np.float32]:
    """Scores the changed patches of the natural sample out of fold, or finds them scored.

    Args:
        patients: Everybody.
        recipe: How the networks were trained.
        folder: Where they lie.
        scores: The out-of-fold scores of unchanged patches.
        name: Under which the logits are kept.
        change: What is done to each patch.

    Returns:
        The mean logit over members of the natural sample's patches, in the order of `scores`.
    """
    members = scores.filter(regex=r"^logit_\d+$").shape[1]
    networks = {
        (fold, member): fold_folder(folder, member, fold) / "network.keras"
        for fold in range(FOLDS)
        for member in range(members)
    }
    kept = folder / "robustness" / _digest(networks.values()) / f"{re.sub('[ /]', '-', name)}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    natural = scores[scores["natural"]].reset_index(drop=True)
    rows = patients.prepared.snapshot.patches[PLACE].reset_index(names="row")
    row = natural.merge(rows, on=PLACE, how="left", validate="one_to_one")["row"].to_numpy(np.int64)
    logit = np.zeros(len(natural), np.float64)
    for fold in range(FOLDS):
        mine = np.flatnonzero(natural["fold"] == fold)
        raw = patients.read(row[mine])
        pixels = prepare(np.stack([change(patch) for patch in raw]), recipe.preparation)
        for member in range(members):
            network = load_network(networks[fold, member])
            logit[mine] += predict_logits(network, pixels, turns=recipe.turns) / members
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as partial, partial.open("wb") as file:
        np.save(file, logit.astype(np.float32))
    return logit.astype(np.float32)


def _digest(networks: Iterable[Path]) -> str:
    """Tells networks from those that lay here before: what those scored is not what these would."""
    digest = hashlib.sha256()
    for path in networks:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def evaluate_shift(scores: pd.DataFrame, name: str, logit: NDArray[np.float32]) -> Shift:
    """Evaluates changed patches of the natural sample beside the unchanged ones, by the calibrators of the latter."""
    before, after = (_evaluate(each) for each in cross_fit_shifted(scores, logit))
    return Shift(name=name, auroc=after[0], loss=before[0] - after[0], calibration_error=after[1])


def cross_fit_shifted(scores: pd.DataFrame, logit: NDArray[np.float32]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the natural sample as it is and with other logits, both calibrated on the unchanged other folds."""
    scores = scores.assign(logit=scores.filter(regex=r"^logit_\d+$").mean(axis=1))
    policies = fit_by_fold(scores)
    natural = scores[scores["natural"]].reset_index(drop=True)
    return cross_fit(natural, policies), cross_fit(natural.assign(logit=logit), policies)


def _evaluate(natural: pd.DataFrame) -> tuple[float, float]:
    resampled = Resampled.of(make_evaluation_sample(natural), OPTIONS)
    error = resampled.values("ece", np.ones((1, len(resampled.sample.patients))))
    return float(np.nanmean(resampled.by_patient("auroc"))), float(error[0])


def tabulate(measured: dict[str, list[Shift]]) -> str:
    """Returns a table in Markdown: AUROC, loss and calibration error by recipe and change, and the mean losses.

    Args:
        measured: By recipe the same changes, in one order.
    """
    heads = [f"{name}: AUROC, loss, calibration error" for name in measured]
    rows = [["change", *heads], ["---"] * (len(measured) + 1)]
    for shifts in zip(*measured.values(), strict=True):
        each = [f"{shift.auroc:.3f}, {_show_loss(shift.loss)}, {shift.calibration_error:.3f}" for shift in shifts]
        rows.append([shifts[0].name, *each])
    means = [float(np.mean([shift.loss for shift in shifts])) for shifts in measured.values()]
    rows.append(["mean loss", *(f"{mean:+.4f}" for mean in means)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _show_loss(loss: float) -> str:
    return f"**{loss:+.3f}**" if loss > COSTLY else f"{loss:+.3f}"


def draw(measured: dict[str, list[Shift]], path: Path) -> None:
    """Draws the loss of each recipe under each change, as a PNG."""
    note = f"out-of-fold patches of the natural sample; beyond the line more than {COSTLY:g} is lost"
    with page(
        path, title="What changes of the pixels cost, in patient-macro AUROC", note=note, size=(7, 5)
    ) as figure:
        axes = figure.subplots()
        for (name, shifts), colour, marker in zip(measured.items(), (BLUE, ORANGE, GREEN), "os^", strict=False):
            places = range(len(shifts))
            axes.plot([shift.loss for shift in shifts], places, marker, color=colour, label=name, markersize=5)
            axes.set_yticks(places, [shift.name for shift in shifts])
        axes.axvline(0, color=MUTED)
        axes.axvline(COSTLY, color=MUTED, linestyle="--")
        axes.invert_yaxis()
        axes.set_xlabel("AUROC lost")
        axes.legend(loc="best")


if __name__ == "__main__":
    main()
