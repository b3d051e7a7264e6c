"""How hard the synthetic hospital is: colour alone must not suffice, and the default network must find more.

For each seed a hospital is drawn and split by patient. On the evaluated patients the pooled AUROC of a
logistic regression on each patch's mean and standard deviation of colour (six numbers) stands beside that of the
default network.

    .venv/bin/python benchmarks/synthetic.py --seeds 5
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcd.networks.architecture import PRESETS
from bcd.patches import PATCH_PIXELS, Hospital, SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.snapshots.freeze import Snapshot
from bcd.synthetic.hospital import draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients
from bcd.training.fit import train_network
from bcd.training.options import TrainOptions

MOST_BY_COLOUR = 0.90
LEAST_GAIN = 0.04
EVALUATED = 24
VAL = 12


def main() -> int:
    """Prints a line for every seed and returns 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="evaluate hospitals of seeds 1 to this (default 5)")
    parser.add_argument("--first", type=int, default=1, help="begin with this seed (default 1)")
    parser.add_argument("--epochs", type=int, default=TrainOptions().epochs, help="epochs of the default network")
    arguments = parser.parse_args()
    print(f"Limits: colour at most {MOST_BY_COLOUR:.2f}, network at least {LEAST_GAIN:.2f} above it.")
    print("seed patches IDC+ evaluated  colour network    gain  draw s  train s")
    missed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        missed += not _evaluate(seed, TrainOptions(epochs=arguments.epochs))
    print(f"{arguments.seeds - missed} of {arguments.seeds} seeds within the limits.")
    return int(missed > 0)


def _evaluate(seed: int, training: TrainOptions) -> bool:
    from sklearn.metrics import roc_auc_score

    started = time.perf_counter()
    patches, pixels = _draw(seed)
    drawn = time.perf_counter()
    evaluated = (patches["split"] == "test").to_numpy()
    labels = patches["label"].to_numpy()
    by_colour = roc_auc_score(labels[evaluated], _colour_baseline(pixels, labels, ~evaluated)[evaluated])
    by_network = roc_auc_score(labels[evaluated], _network(patches, pixels, training)[evaluated])
    gain = by_network - by_colour
    passed = bool(by_colour <= MOST_BY_COLOUR and gain >= LEAST_GAIN)
    print(
        f"{seed:4d} {len(labels):7d} {labels.mean():4.2f} {patches.loc[evaluated, 'patient'].nunique():6d}"
        f"  {by_colour:6.3f}  {by_network:6.3f}  {gain:+6.3f}  {drawn - started:6.0f}"
        f"  {time.perf_counter() - drawn:7.0f}  {'ok' if passed else 'MISSED'}",
        flush=True,
    )
    return passed


def _draw(seed: int) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """Draws a hospital and deals its patients, the full-size ones too, to train, val and test at random."""
    rows, pixels = [], []
    patients = draw_synthetic_patients(HospitalOptions(seed=seed))
    order = np.random.default_rng(seed).permutation(len(patients))
    dealt = ["test"] * EVALUATED + ["val"] * VAL + ["train"] * (len(order) - EVALUATED - VAL)
    split = {patients[i].id: name for i, name in zip(order, dealt, strict=True)}
    for patient, patches in draw_patches(patients):
        for patch in patches:
            if patch.pixels.shape[:2] == (PATCH_PIXELS, PATCH_PIXELS):
                name = patch.name
                rows.append((patient.id, name.slide, name.x, name.y, name.label, split[patient.id]))
                pixels.append(patch.pixels)
    frame = pd.DataFrame(rows, columns=["patient", "slide", "x", "y", "label", "split"])
    hashes = [hashlib.sha256(patch.tobytes()).hexdigest() for patch in pixels]
    return frame.assign(hospital=Hospital("synthetic"), pixel_sha256=hashes), np.stack(pixels)


def _colour_baseline(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    colours = np.array([[*patch.mean((0, 1)), *patch.std((0, 1))] for patch in pixels])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(colours[known], labels[known])
    return np.asarray(model.decision_function(colours))


def _network(patches: pd.DataFrame, pixels: NDArray[np.uint8], training: TrainOptions) -> NDArray[np.float32]:
    options = PrepareOptions()
    snapshot = Snapshot(id=SnapshotId("0" * 64), protocol="benchmark", patches=patches)
    prepared = PreparedSnapshot(snapshot, options, prepare(pixels, options))
    with tempfile.TemporaryDirectory() as folder:
        trained = train_network(prepared, PRESETS["compact"], training, Path(folder) / "network")
        return trained.predict(prepared.pixels)


if __name__ == "__main__":
    raise SystemExit(main())
