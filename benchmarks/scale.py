"""How time, memory and disk grow from the whole public set to ten times as many patches, stage by stage.

    nice .venv/bin/python benchmarks/scale.py FOLDER --real FOLDER_OF_ZIPS
    nice .venv/bin/python benchmarks/scale.py FOLDER --sizes 27752 277524       # smaller, to try it

A zip is made, admitted into a new BCD_HOME and removed; of what was admitted a snapshot is frozen, opened and
prepared; the default network is trained for some steps on rows drawn from all train patches; some patients are
scored with the released model; and as many made-up predictions as there are patches are evaluated. Each stage has a
process of its own. What was measured is kept in `FOLDER/measured.json`: called again, the benchmark goes on with the
stage at which it was ended. A size's files are removed once it is measured; ten times the public set takes 44 GB
meanwhile.

Memory is the process's own (RssAnon): mapped files do not count. "before" is what Python and the libraries take, and
the snapshot's list where the stage begins with it. Training and scoring are of a part; "patches" says of how many.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import admission_measures
import evaluation
import made_patches
import numpy as np
import snapshots

from bcd.files import whole_file
from bcd.settings import Settings, load_settings

SIZES = (277_524, 2_775_240)
PATIENTS = 16
"""That are scored."""
STEPS, VAL = 600, 8_192
"""Of training, and val patches that are evaluated."""
EVERY = 0.02
"""Seconds between two looks at the memory."""
LEAST_FREE = 10e9
"""Bytes of disk that no stage may go below."""

Measured = dict[str, Any]


def main() -> None:
    """Measures what is not measured yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to work, and where the measurements are kept")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="patches (default 277,524 and 2,775,240)")
    parser.add_argument("--real", type=Path, help="folder of zips of real patches to make others of; else drawn ones")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(STAGES[arguments.stage](arguments.folder, arguments.sizes[0], arguments.real)))
        return
    file = arguments.folder / "measured.json"
    measured: dict[str, dict[str, Measured]] = json.loads(file.read_text()) if file.exists() else {}
    print(HEADER, flush=True)
    for size in arguments.sizes:
        of_size, folder = measured.setdefault(str(size), {}), arguments.folder / str(size)
        for stage in STAGES:
            if stage not in of_size:
                of_size[stage] = _run(stage, folder, size, arguments.real)
                with whole_file(file) as partial:
                    partial.write_text(json.dumps(measured, indent=2), "utf-8")
            _print_stage(size, stage, of_size[stage])
        shutil.rmtree(folder, ignore_errors=True)


HEADER = (
    f"{'size':>10s} {'stage':<10s}{'patches':>10s}{'seconds':>10s}{'processor':>11s}{'µs a patch':>12s}"
    f"{'before MB':>11s}{'peak MB':>9s}  disk, MB, and more"
)


def _run(stage: str, folder: Path, size: int, real: Path | None) -> Measured:
    """Runs a stage in a process of its own, from its beginning: what an ended one left is removed."""
    for left in LEFT.get(stage, ()):
        shutil.rmtree(folder / left, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free - NEEDED.get(stage, 0) * size
    if free < LEAST_FREE:
        raise SystemExit(
            f"{stage} of {size:,} patches would leave {free / 1e9:.0f} GB of disk: at least 10 are left."
        )
    command = [sys.executable, __file__, str(folder), "--stage", stage, "--sizes", str(size)]
    command += ["--real", str(real)] if real else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _print_stage(size: int, stage: str, one: Measured) -> None:
    each = one["processor"] / one["patches"] * 1e6
    named = {"patches", "seconds", "processor", "before", "peak"}
    others = {name: value for name, value in one.items() if name not in named}
    more = ", ".join(
        f"{name} {value if isinstance(value, list) else f'{value:,.1f}'}" for name, value in others.items()
    )
    print(
        f"{size:10,d} {stage:<10s}{one['patches']:10,d}{one['seconds']:10.1f}{one['processor']:11.1f}{each:12.2f}"
        f"{one['before']:11,.0f}{one['peak']:9,.0f}  {more}",
        flush=True,
    )


LEFT = {"admit": ["home"], "freeze": ["home/snapshots"], "prepare": ["home/prepared"], "score": ["home/scores"]}
"""What a stage makes, below the size's folder."""
NEEDED = {"make": 6_200, "admit": 8_200, "prepare": 7_500}
"""Bytes of disk a patch."""


@contextmanager
def _measured(result: Measured, prefix: str = "") -> Iterator[None]:
    started, used = time.perf_counter(), time.process_time()
    yield
    result[f"{prefix}processor"] = time.process_time() - used
    result[f"{prefix}seconds"] = time.perf_counter() - started


def make(folder: Path, size: int, real: Path | None) -> Measured:
    """Makes the zip: its cost is this benchmark's own."""
    result: Measured = {"patches": size}
    with snapshots.watch_memory(EVERY) as memory, _measured(result):
        base = made_patches.read_base(real) if real else made_patches.draw_base(20_000)
        made_patches.write_large_zip(folder / "delivery.zip", base, size)
    return result | _memory(memory) | {"zip": (folder / "delivery.zip").stat().st_size / 1e6}


def admit(folder: Path, size: int, _: Path | None) -> Measured:
    """Admits the zip into a new home, and removes it."""
    result: Measured = admission_measures.measure_memory(folder / "delivery.zip", folder, EVERY)
    if result.pop("admitted") != size:
        raise SystemExit("Not all patches were admitted: nothing here is comparable.")
    settings = _settings(folder)
    files = {name: _disk(settings.batches, name) for name in ("pixels.npy", "index.parquet")}
    (folder / "delivery.zip").unlink()
    return {"patches": size} | result | files | {"catalog": _disk(settings.home, "*.db*")}


def measure_snapshot(step: str) -> Callable[[Path, int, Path | None], Measured]:
    """Makes the measurement of a step of a snapshot's life."""

    def measure(folder: Path, size: int, _: Path | None) -> Measured:
        settings = _settings(folder)
        result: Measured = {"patches": size} | snapshots.measure(step, settings)
        written = {"freeze": settings.snapshots, "prepare": settings.prepared}.get(step)
        return result if written is None else result | {"disk": _disk(written, "*")}

    return measure


def train(folder: Path, _size: int, _real: Path | None) -> Measured:
    """Trains the default network for some steps on rows drawn from all train patches, and evaluates some of val."""
    from bcd.networks.architecture import PRESETS
    from bcd.networks.backend import keras
    from bcd.preprocessing.options import PrepareOptions
    from bcd.preprocessing.prepared import PatchRows, prepare_snapshot
    from bcd.training.data import gather_training_material
    from bcd.training.loop import Training
    from bcd.training.options import TrainOptions
    from bcd.training.predict import predict_logits

    keras.backend.backend()
    settings, options = _settings(folder), TrainOptions(epochs=1000, keep="last")
    result: Measured = {}
    with tempfile.TemporaryDirectory() as scratch, snapshots.watch_memory(EVERY) as memory:
        prepared = prepare_snapshot(settings, snapshots.load(settings)(), PrepareOptions())
        opened = memory[-1]
        with _measured(result, "gather_"):
            material = gather_training_material(prepared, options)
        val, nobody = PatchRows(material.pixels, material.val_rows), material.val_rows[:0]
        without_val = replace(material, val_rows=nobody, val_labels=nobody)
        training = Training(without_val, PRESETS["compact"], options, Path(scratch))
        epoch = training.steps * training.batch
        training.steps = min(20, training.steps)
        training._epoch(1, lambda _amount: None)  # compiles
        training.steps = min(STEPS, epoch // training.batch)
        with _measured(result):
            row = training._epoch(2, lambda _amount: None)
        result |= {"patches": training.steps * training.batch, "epoch": epoch, "waiting": row["waiting_seconds"]}
        some = PatchRows(val.pixels, val.rows[:: max(1, len(val) // VAL)])
        with _measured(result, "val_"):
            predict_logits(training.averaged, some)
    return result | _memory(memory) | {"opened": opened, "val_patches": len(some), "val": len(val)}


def score(folder: Path, _size: int, _real: Path | None) -> Measured:
    """Lists the patients that wait, and scores some of them, the first before the clock starts."""
    from bcd.bundle.released import load_released
    from bcd.scoring.options import ScoreOptions
    from bcd.scoring.score import patients_to_score, score_patient
    from bcd.store.store import open_store

    store, bundle, options = open_store(_settings(folder)), load_released(), ScoreOptions()
    result: Measured = {}
    with snapshots.watch_memory(EVERY) as memory:
        with _measured(result, "listing_"):
            people = patients_to_score(store, bundle, options)
        with _measured(result, "first_"):  # compares the delivery with the bundle's patients, once
            score_patient(store, bundle, *people[0], options)
        after, patches = [], 0
        chosen = [people[at] for at in np.unique(np.linspace(1, len(people) - 1, PATIENTS).astype(int))]
        with _measured(result):
            for hospital, patient in chosen:
                patches += score_patient(store, bundle, hospital, patient, options).n
                after.append(round(memory[-1]))
    result |= {"patches": patches, "patients": len(people), "after_each": after}
    return result | _memory(memory) | {"a_patient": _disk(store.settings.scores, "*") / (1 + len(chosen))}


def evaluate(_folder: Path, size: int, _real: Path | None) -> Measured:
    """Evaluates as many made-up predictions, of as many patients as the delivery has."""
    patients = round(size / made_patches.PER_PATIENT)
    made = Namespace(patches=size, patients=patients, resamples=2_000)
    result: Measured = {"patches": size} | evaluation.measure("full", made)
    return result


def _settings(folder: Path) -> Settings:
    return load_settings(folder / "home")


def _memory(memory: list[float]) -> Measured:
    return {"before": memory[0], "peak": max(memory)}


def _disk(folder: Path, pattern: str) -> float:
    """Returns the MB of the files of that name in a folder, at any depth."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()) / 1e6


STAGES: dict[str, Callable[[Path, int, Path | None], Measured]] = {
    "make": make,
    "admit": admit,
    **{step: measure_snapshot(step) for step in snapshots.STEPS},
    "train": train,
    "score": score,
    "evaluate": evaluate,
}


if __name__ == "__main__":
    main()
