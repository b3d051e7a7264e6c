"""Freezing, opening and preparing a snapshot: time, patches a second, peak memory, at a size and at a tenth of it.

Each step runs in a process of its own on a catalog that the benchmark fills. Memory is the process's own (RssAnon),
so that mapped files do not count; "before" is what Python and the libraries take once they are loaded.

    .venv/bin/python benchmarks/snapshots.py --patches 277524

The whole public set takes 4.2 GB of disk for its pixels and the prepared ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from bcd.patches import PATCH_PIXELS
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.store import open_store

if TYPE_CHECKING:
    from bcd.snapshots.freeze import Snapshot

PER_PATIENT = 995
BATCHES = 5
STEPS = ("freeze", "open", "prepare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=27_752, help="the larger size (default 27,752)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(measure(arguments.step, load_settings(arguments.home))))
        return
    print("   patches     step  seconds  patches/s  before MB  peak MB")
    results = [run(size) for size in (arguments.patches // 10, arguments.patches)]
    print("Ratios of the two sizes, time and memory beyond what the libraries take:")
    for step in STEPS:
        small, large = (result[step] for result in results)
        grown = (large["peak"] - large["before"]) / max(small["peak"] - small["before"], 1)
        print(f"  {step:8s} time x{large['seconds'] / small['seconds']:.1f}, memory x{grown:.1f}")


def run(size: int) -> dict[str, dict[str, float]]:
    """Fills a home and measures every step on it."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="bcd-benchmark-") as folder:
        fill(load_settings(Path(folder)), size)
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--home", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[step] = json.loads(done.stdout)
            print(
                f"{size:10,d} {step:>8s} {results[step]['seconds']:8.2f} {size / results[step]['seconds']:10,.0f}"
                f" {results[step]['before']:10.0f} {results[step]['peak']:8.0f}",
                flush=True,
            )
    return results


def measure(step: str, settings: Settings) -> dict[str, float]:
    """Runs one step and says how long it took and how much memory it had."""
    # Whatever a step imports is there before the clock starts.
    import cv2  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    action = {"freeze": freeze, "open": load, "prepare": prepare}[step](settings)
    with watch_memory() as memory:
        started, used = time.perf_counter(), time.process_time()
        action()
        seconds, processor = time.perf_counter() - started, time.process_time() - used
    return {"seconds": seconds, "processor": processor, "before": memory[0], "peak": max(memory)}


def freeze(settings: Settings) -> Callable[[], object]:
    from bcd.snapshots.freeze import freeze_snapshot
    from bcd.snapshots.options import SplitOptions

    store = open_store(settings)
    return lambda: freeze_snapshot(store, SplitOptions())


def load(settings: Settings) -> Callable[[], Snapshot]:
    from bcd.snapshots.freeze import load_snapshot

    name = next(settings.snapshots.iterdir()).name
    return lambda: load_snapshot(settings, name)


def prepare(settings: Settings) -> Callable[[], object]:
    from bcd.preprocessing.options import PrepareOptions
    from bcd.preprocessing.prepared import prepare_snapshot

    snapshot = load(settings)()
    return lambda: prepare_snapshot(settings, snapshot, PrepareOptions())


@contextmanager
def watch_memory(every: float = 0.005) -> Iterator[list[float]]:
    """Yields the list of this process's own memory, in MB, taken every so many seconds."""
    taken, ended = [own_memory()], threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            taken.append(own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield taken
    finally:
        ended.set()
        watcher.join()


def own_memory(line: str = "RssAnon") -> float:
    """Returns what a line of the process's state says, in MB."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(one.split()[1]) for one in lines if one.startswith(line)) / 1024


def fill(settings: Settings, size: int) -> None:
    """Enters labelled patches of random pixels in BATCHES batches, as admission would."""
    draw = np.random.default_rng(0)
    with open_store(settings).write() as connection:
        for number, rows in enumerate(np.array_split(np.arange(size), BATCHES), start=1):
            batch = hashlib.sha256(f"batch {number}".encode()).hexdigest()
            enter_batch(connection, number, batch, rows)
            folder = settings.batches / batch
            folder.mkdir(parents=True)
            shape = (len(rows), PATCH_PIXELS, PATCH_PIXELS, 3)
            with (folder / "pixels.npy").open("wb") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for start in range(0, len(rows), 1024):
                    file.write(draw.bytes(min(1024, len(rows) - start) * PATCH_PIXELS**2 * 3))


def enter_batch(connection: sa.Connection, number: int, batch: str, rows: np.ndarray) -> None:
    counts = dict.fromkeys(("files", "admitted_files", "admitted"), len(rows))
    counts |= dict.fromkeys(("ignored", "patients", "positive", "unlabelled"), 0)
    delivery = {
        "id": batch,
        "hospital": "east",
        "name": f"{number}.zip",
        "admitted_at": datetime.now(UTC),
        "flags": {},
    }
    connection.execute(sa.insert(tables.deliveries).values(delivery | counts))
    connection.execute(sa.insert(tables.batches).values(number=number, id=batch, delivery=batch))
    patients = sorted({f"{patient_of(row)}" for row in rows})
    known = set(connection.scalars(sa.select(tables.patients.c.patient)))
    new = [{"hospital": "east", "patient": one, "first_batch": number} for one in patients if one not in known]
    if new:
        connection.execute(sa.insert(tables.patients), new)
    patches = [
        {
            "hospital": "east",
            "patient": f"{patient_of(row)}",
            "slide": "5",
            "x": 1 + 50 * int(row % 100),
            "y": 1 + 50 * int(row // 100),
            "label": int(row % 7 in (0, 3)),
            "batch": number,
            "row": place,
            "pixel_sha256": hashlib.sha256(f"patch {row}".encode()).hexdigest(),
        }
        for place, row in enumerate(rows)
    ]
    connection.execute(sa.insert(tables.patches), patches)


def patient_of(row: int) -> int:
    return 10_000 + int(row) // PER_PATIENT


if __name__ == "__main__":
    main()
