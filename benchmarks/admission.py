"""How fast deliveries of patches are admitted, beside the decode limit and the founding script's way, and in how much memory.

    .venv/bin/python benchmarks/admission.py                                    # speed, 27,752 patches
    .venv/bin/python benchmarks/admission.py --size                             # and time and memory up to 277,524
    .venv/bin/python benchmarks/admission.py --real FOLDER --scratch FOLDER --keep

Speed: the limit is OpenCV's decoding of the same bytes in as many threads, and nothing else. The founding script's way is
a pool of processes that read, decode and sharpen each file, and one array that is pickled. An admission is everything:
hashes, rules, catalog and store, into a new BCD_HOME. Every measurement has a process of its own; they take turns, so that
a machine that others use slows them alike, and what is compared are the ratios of each turn.

Size: time and memory of an admission from a zip at a tenth of the size and at the size, then of the snapshot.
Memory is the process's own (RssAnon): mapped files do not count. All files were read before: the disk's speed is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import made_patches
from snapshots import watch_memory

LEAST_SHARE, AIM = 0.4, 0.6
MOST_MEMORY = 1024
"""MB."""
MOST_BEND = 0.15
"""By how much the time of a patch may grow from a tenth of the size to the size."""
SPEED_PATCHES = 27_752
CHUNK = 128

Run = dict[str, Any]


def main() -> int:
    """Prints the tables and returns 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=SPEED_PATCHES, help="of the tables of speed (default 27,752)")
    parser.add_argument("--turns", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--size", type=int, nargs="?", const=277_524, help="measure this size too (277,524)")
    parser.add_argument("--real", type=Path, help="folder of zips of real patches to make others of")
    parser.add_argument("--scratch", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep the deliveries in --scratch for the next run")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, delivery, folder = arguments.measure
        print(json.dumps(MEASURES[kind](Path(delivery), Path(folder))))
        return 0
    with _scratch(arguments.scratch, keep=arguments.keep) as scratch:
        missed = compare(scratch, arguments.real, arguments.patches, arguments.turns)
    return int(missed)


@contextmanager
def _scratch(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    if folder is not None and keep:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="bcd-benchmark-", dir=folder) as temporary:
        yield Path(temporary)


def make_zip(scratch: Path, real: Path | None, patches: int) -> Path:
    path = scratch / f"{'real' if real else 'drawn'}-{patches}.zip"
    if not path.exists():
        started = time.perf_counter()
        base = made_patches.read_base(real) if real else made_patches.draw_base()
        made_patches.write_zip(path, base, patches)
        print(f"Made {path.name}, {path.stat().st_size / 1e6:,.0f} MB, in {time.perf_counter() - started:.0f} s.")
    return path


def run(kind: str, delivery: Path, scratch: Path, home: Path | None = None) -> Run:
    """Takes one measurement in a process of its own; its home is removed unless it is given."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        command = [sys.executable, __file__, "--measure", kind, str(delivery), str(home or folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(scratch: Path, real: Path | None, patches: int, turns: int) -> bool:
    """Prints the speeds, the ratios and the table of stages; returns whether a limit is missed."""
    archive = make_zip(scratch, real, patches)
    folder = archive.with_suffix("")
    if not folder.exists():
        made_patches.unpack(archive, folder)
    kinds = {"limit": ("limit", archive), "zip": ("admit", archive), "folder": ("admit", folder)}
    kinds["founding"] = ("founding", folder)
    runs: dict[str, list[Run]] = {kind: [] for kind in kinds}
    for _ in range(turns):
        for name, (kind, delivery) in kinds.items():
            runs[name].append(run(kind, delivery, scratch))
    print(f"{patches:,} patches, {turns} turns, {os.cpu_count()} cores: median (least to most)")
    print(f"{'':10s}{'patches/s':>28s}{'share of the limit':>26s}{'of processor time':>24s}")
    for name in kinds:
        rates = [patches / one["seconds"] for one in runs[name]]
        walls, processors = (_ratios(runs["limit"], runs[name], clock) for clock in ("seconds", "processor"))
        print(f"{name:10s}{_spread(rates, ',.0f'):>28s}{_spread(walls, '.2f'):>26s}{_spread(processors, '.2f'):>24s}")
    for delivery in (archive, folder):
        print_stages(run("stages", delivery, scratch), "zip" if delivery == archive else "folder", patches)
    shares = [statistics.median(_ratios(runs["limit"], runs[name], "seconds")) for name in ("zip", "folder")]
    ahead = all(statistics.median(_ratios(runs["founding"], runs[name], "seconds")) > 1 for name in ("zip", "folder"))
    print(f"least share {min(shares):.2f}, limit {LEAST_SHARE}, aim {AIM}; ahead of the founding way: {ahead}")
    return min(shares) < LEAST_SHARE or not ahead


def _ratios(limit: list[Run], runs: list[Run], clock: str) -> list[float]:
    return [ours[clock] / theirs[clock] for ours, theirs in zip(limit, runs, strict=True)]


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def print_stages(timed: Run, name: str, patches: int) -> None:
    print(f"\nStages from a {name}, µs a patch   processor   share   waiting")
    total = sum(processor for processor, _ in timed["stages"].values())
    for stage, (processor, waiting) in timed["stages"].items():
        print(f"  {stage:30s}{processor / patches * 1e6:10.1f}{processor / total:8.1%}{waiting / patches * 1e6:10.1f}")
    rest = timed["processor"] - total
    print(f"  {'outside the timers':30s}{rest / patches * 1e6:10.1f}")
    idle = timed["seconds"] * (os.cpu_count() or 1) - timed["processor"]
    print(f"  {'all; cores idle':30s}{timed['processor'] / patches * 1e6:10.1f}{'':8s}{idle / patches * 1e6:10.1f}")


@contextmanager
def _clocks(result: Run) -> Iterator[None]:
    wall, used = time.perf_counter(), time.process_time()
    yield
    result["processor"] = time.process_time() - used
    result["seconds"] = time.perf_counter() - wall


def measure_limit(delivery: Path, _: Path) -> Run:
    """Decodes all members of a zip from memory, in as many threads as there are cores."""
    import zipfile

    import cv2
    import numpy as np

    with zipfile.ZipFile(delivery) as archive:
        files = [archive.read(name) for name in archive.namelist()]

    def decode(part: list[bytes]) -> None:
        for data in part:
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    parts = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    result: Run = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(decode, parts[:8]))
        with _clocks(result):
            list(pool.map(decode, parts))
    return result


def measure_founding(delivery: Path, folder: Path) -> Run:
    """Does what the founding script did: a pool reads, decodes and sharpens; one array is pickled."""
    import pickle
    import resource
    from multiprocessing import get_context

    import numpy as np

    result: Run = {}
    with get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        pool.map(_read_and_sharpen, [])
        with _clocks(result):
            paths = sorted(str(path) for path in delivery.glob("*/*/*.png"))
            pixels = np.array(pool.map(_read_and_sharpen, paths))
            with (folder / "patches.pickle").open("wb") as file:
                pickle.dump(pixels, file, protocol=pickle.HIGHEST_PROTOCOL)
        pool.close()
        pool.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["processor"] += used.ru_utime + used.ru_stime
    return result


def _read_and_sharpen(path: str) -> Any:
    import cv2
    import numpy as np

    kernel = np.array([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]])
    return cv2.filter2D(cv2.imread(path), -1, kernel)


def measure_admission(delivery: Path, folder: Path, begin: Callable[[], None] = lambda: None) -> Run:
    """Admits a delivery into a new home; what a first admission loads is loaded before."""
    from bcd.admission.admit import admit
    from bcd.patches import Hospital
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog
    from bcd.store.hospitals import declare_hospital

    warm = folder / "warm" / "delivery"
    warm.mkdir(parents=True)
    made_patches.unpack_some(delivery, warm)
    result: Run = {}
    for path, home in ((warm, folder / "warm" / "home"), (delivery, folder / "home")):
        settings = load_settings(home)
        catalog = open_catalog(settings)
        declare_hospital(settings, catalog, "east", "pseudonyms", author="benchmark")
        begin()
        with watch_memory() as memory, _clocks(result):
            admission = admit(settings, catalog, path, Hospital("east"))
        result |= {"admitted": admission.admitted, "refused": admission.refused, "before": memory[0], "peak": max(memory)}
    shutil.rmtree(folder / "warm")
    return result


def measure_stages(delivery: Path, folder: Path) -> Run:
    """Admits a delivery with timers around its stages."""
    import stages

    timers = stages.Stages()
    stages.time_admission(timers)
    result = measure_admission(delivery, folder, timers.start_over)
    return result | {"stages": timers.totals()}


MEASURES = {
    "limit": measure_limit,
    "founding": measure_founding,
    "admit": measure_admission,
    "stages": measure_stages,
}


if __name__ == "__main__":
    raise SystemExit(main())
