"""Robustness: what changes of the pixels cost the released recipe, on out-of-fold patches of the natural sample.

Each patch is changed as it was cut, before preparation, and scored by the copies that never saw its patient, in as
many turns as the released model takes. AUROC is patient-macro; the calibration error is of the calibrator that was
fitted on unchanged patches of the other folds. Beyond its edge a patch is taken to go on as its mirror image.

    .venv/bin/python benchmarks/robustness.py --data FOLDER --folder FOLDER   # goes on after a kill, change by change

It needs what `benchmarks/released.py train` left in --folder; `benchmarks/released.py write` takes it from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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
    open_patients,
    read_natural,
)

from bcd.bundle.released.figures import Shift
from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.files import whole_file
from bcd.networks.keras_files import load_network
from bcd.preprocessing.prepare import prepare
from bcd.training.predict import predict_logits

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]
"""Changes one patch (50, 50, 3)."""

_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
MEASURED = "robustness.json"


def restain(share: float) -> Change:
    """Returns what scales haematoxylin and eosin in optical density (Ruifrok and Johnston 2001)."""
    mix = np.linalg.inv(_STAINS) @ np.diag([1 + share, 1 + share, 1]) @ _STAINS

    def change(patch: Pixels) -> Pixels:
        density = -np.log((patch.astype(np.float64) + 1) / 256)
        return _to_bytes(256 * np.exp(-(density @ mix)) - 1)

    return change


def brighten(amount: float) -> Change:
    """Returns what adds to all values of a patch, of 255."""
    return lambda patch: _to_bytes(patch.astype(np.float64) + amount)


def blur(sigma: float) -> Change:
    """Returns what blurs a patch by a Gaussian, in pixels."""
    import cv2

    return lambda patch: np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def compress(quality: int) -> Change:
    """Returns what writes a patch as JPEG and reads it."""
    import cv2

    def change(patch: Pixels) -> Pixels:
        file = cv2.imencode(".jpg", patch[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))[..., ::-1])

    return change


def move(pixels: int) -> Change:
    """Returns what moves a patch down and to the right."""
    around = ((pixels, 0), (pixels, 0), (0, 0))
    return lambda patch: np.pad(patch, around, mode="reflect")[: patch.shape[0], : patch.shape[1]]


def rescale(factor: float) -> Change:
    """Returns what shows a patch at another magnification, around its centre."""
    import cv2

    def change(patch: Pixels) -> Pixels:
        centre = (patch.shape[0] - 1) / 2
        matrix = cv2.getRotationMatrix2D((centre, centre), 0, factor)
        size = (patch.shape[1], patch.shape[0])
        return np.asarray(
            cv2.warpAffine(patch, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        )

    return change


SHIFTS: dict[str, Change] = {
    **{f"stain {share:+.0%}": restain(share) for share in (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)},
    "brightness -20 of 255": brighten(-20),
    "brightness +20 of 255": brighten(20),
    "blur, sigma 1 px": blur(1.0),
    **{f"JPEG {quality}": compress(quality) for quality in (90, 75, 50)},
    "moved by one pixel": move(1),
    "magnified by 0.9": rescale(0.9),
    "magnified by 1.1": rescale(1.1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--folder", type=Path, default=ROOT / "artifacts/released", help="where trainings are kept")
    arguments = parser.parse_args()
    patients = open_patients(arguments.data, arguments.folder / "home", RECIPE)
    scores = gather_scores(arguments.folder, len(find_members(arguments.folder)), read_natural(arguments.natural))
    shifts = []
    print("shift, patient-macro AUROC, loss, calibration error")
    for name in SHIFTS:
        logit = score_shifted(patients, RECIPE, arguments.folder, scores, name)
        shifts.append(shift := evaluate_shift(scores, name, logit))
        print(f"{name:24s} {shift.auroc:.3f} {shift.loss:+.3f} {shift.calibration_error:.3f}", flush=True)
    with whole_file(arguments.folder / MEASURED) as partial:
        partial.write_text(json.dumps([shift.model_dump() for shift in shifts], indent=1) + "\n", "utf-8")


def score_shifted(
    patients: Patients, recipe: Recipe, folder: Path, scores: pd.DataFrame, name: str
) -> NDArray[np.float32]:
    """Scores the changed patches of the natural sample out of fold, or finds them scored.

    Args:
        patients: Everybody.
        recipe: How the networks were trained.
        folder: Where they lie.
        scores: The out-of-fold scores of unchanged patches.
        name: What of SHIFTS is done to each patch.

    Returns:
        The mean logit over members of the natural sample's patches, in the order of `scores`.
    """
    kept = folder / "robustness" / f"{name.replace(' ', '-')}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    natural = scores[scores["natural"]].reset_index(drop=True)
    rows = patients.prepared.snapshot.patches[PLACE].reset_index(names="row")
    row = natural.merge(rows, on=PLACE, how="left", validate="one_to_one")["row"].to_numpy(np.int64)
    members = scores.filter(regex=r"^logit_\d+$").shape[1]
    logit = np.zeros(len(natural), np.float64)
    for fold in range(FOLDS):
        mine = np.flatnonzero(natural["fold"] == fold)
        raw = patients.read(row[mine])
        pixels = prepare(np.stack([SHIFTS[name](patch) for patch in raw]), recipe.preparation)
        for member in range(members):
            network = load_network(fold_folder(folder, member, fold) / "network.keras")
            logit[mine] += predict_logits(network, pixels, turns=recipe.turns) / members
    kept.parent.mkdir(exist_ok=True)
    with whole_file(kept) as partial, partial.open("wb") as file:
        np.save(file, logit.astype(np.float32))
    return logit.astype(np.float32)


def evaluate_shift(scores: pd.DataFrame, name: str, logit: NDArray[np.float32]) -> Shift:
    """Evaluates changed patches of the natural sample beside the unchanged ones, by the calibrators of the latter."""
    scores = scores.assign(logit=scores.filter(regex=r"^logit_\d+$").mean(axis=1))
    policies = fit_by_fold(scores)
    natural = scores[scores["natural"]].reset_index(drop=True)
    before, after = (_evaluate(cross_fit(each, policies)) for each in (natural, natural.assign(logit=logit)))
    return Shift(name=name, auroc=after[0], loss=before[0] - after[0], calibration_error=after[1])


def _evaluate(natural: pd.DataFrame) -> tuple[float, float]:
    resampled = Resampled.of(make_evaluation_sample(natural), OPTIONS)
    error = resampled.values("ece", np.ones((1, len(resampled.sample.patients))))
    return float(np.nanmean(resampled.by_patient("auroc"))), float(error[0])


def _to_bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
