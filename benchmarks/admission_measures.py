"""What `benchmarks/admission.py` measures, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import made_patches
import snapshots
import stages

from bcd.settings import load_settings
from bcd.store.sign_off import SignOff

CHUNK = 128
"""Files that a thread decodes in one go: as many as in an admission."""

Run = dict[str, Any]


def run(kind: str, delivery: Path, scratch: Path, home: Path | None = None) -> Run:
    """Takes one measurement in a process of its own; what it writes is removed unless a home is given."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        command = [sys.executable, __file__, kind, str(delivery), str(home or folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _clocks(result: Run) -> Iterator[None]:
    wall, used = time.perf_counter(), time.process_time()
    yield
    result["processor"] = time.process_time() - used
    result["seconds"] = time.perf_counter() - wall


def measure_limit(delivery: Path, _: Path) -> Run:
    """Decodes all members of a zip from memory, in as many threads as there are cores."""
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

    import cv2  # noqa: F401  before the clock starts
    import numpy as np

    result: Run = {}
    with get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
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
    """Admits a delivery, a zip or a folder, into a new home, `folder / "home"`.

    A small one is admitted elsewhere before, so that all libraries are loaded; `begin` is called after it.
    """
    from bcd.admission.admit import admit
    from bcd.patches import Hospital
    from bcd.store.hospitals import declare_hospital
    from bcd.store.store import open_store

    small = folder / "small" / "delivery.zip"
    made_patches.write_zip(small, made_patches.noise_base(), 64)
    result: Run = {}
    for path, home in ((small, small.parent / "home"), (delivery, folder / "home")):
        settings = load_settings(home)
        store = open_store(settings)
        declare_hospital(store, "east", "pseudonyms", SignOff("benchmark", "test"))
        begin()
        with _clocks(result):
            admission = admit(store, path, Hospital("east"))
        result["admitted"] = admission.admitted
    shutil.rmtree(small.parent)
    return result


def measure_memory(delivery: Path, folder: Path, every: float = 0.005) -> Run:
    """Admits a delivery and watches the memory every so many seconds; every few ms take up to a tenth of the time."""
    beginnings: list[int] = []
    with snapshots.watch_memory(every) as memory:
        result = measure_admission(delivery, folder, lambda: beginnings.append(len(memory)))
    memory = memory[beginnings[-1] :]
    resident = snapshots.own_memory("VmHWM")  # mapped files too, of which the system takes back what it needs
    return result | {"before": memory[0], "peak": max(memory), "resident": resident}


def measure_stages(delivery: Path, folder: Path) -> Run:
    """Admits a delivery with timers around its stages."""
    timers = stages.Stages()
    stages.time_admission(timers)
    result = measure_admission(delivery, folder, timers.start_over)
    return result | {"stages": timers.totals()}


def measure_snapshot(step: str) -> Callable[[Path, Path], Run]:
    """Makes the measurement of a step of a snapshot's life, of what was admitted into `folder / "home"`."""
    return lambda _, folder: snapshots.measure(step, load_settings(folder / "home"))


MEASURES = {
    "limit": measure_limit,
    "founding": measure_founding,
    "admit": measure_admission,
    "memory": measure_memory,
    "stages": measure_stages,
    **{step: measure_snapshot(step) for step in snapshots.STEPS},
}


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
