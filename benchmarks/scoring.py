"""What scoring costs: patches a second of a bundle, beside its engine alone and beside Keras; and how soon it begins.

    .venv/bin/python benchmarks/scoring.py                                  # compact, each patch as it lies
    .venv/bin/python benchmarks/scoring.py --architecture dissertation --patches 512
    .venv/bin/python benchmarks/scoring.py --bundle FOLDER                  # of a bundle in a folder
    .venv/bin/python benchmarks/scoring.py --bfloat16 DELIVERY.zip [MORE.zip ...]   # what it would bring and change

The limit is OpenVINO's own asynchronous throughput on the bundle's graph, from prepared patches in memory: the better
of requests as bcd makes them and of what OpenVINO chooses for itself. Keras gets prepared patches, too. They take
turns in one process. The first patch is timed in processes of their own, from the start of Python.

With --bfloat16 the released model scores the patches of deliveries in both precisions: how much faster, and which
share of the patches changes side at a level. More than one in a thousand at any level is too many.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bcd.bundle.engine import BATCH, GRAPH, Engine, describe_engine, import_openvino
from bcd.bundle.probes import draw_bundle_probes
from bcd.bundle.record import BundleRecord
from bcd.bundle.released import load_released, released_folder
from bcd.bundle.scorer import GRAPH_FOLDER, Scorer, confident_column, load_scorer
from bcd.bundle.write import load_networks, write_bundle, write_graph
from bcd.errors import BcdError
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.policy import Policy
from bcd.networks.architecture import PRESETS
from bcd.patches import PATCH_PIXELS
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.training.options import EnsembleOptions, TrainOptions
from bcd.training.predict import predict_logits, turn_patches

SECONDS, MEGABYTES = 2.0, 400
"""At most that before the first patch."""

MOST_CHANGED = 0.001
"""Share of patches that may change side at a level in another precision."""

_FIRST = r"""
import json, re, resource, sys
from pathlib import Path
import numpy as np
patch = np.full((1, 50, 50, 3), 128, np.uint8)
{load}
used = resource.getrusage(resource.RUSAGE_SELF)
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps([used.ru_utime + used.ru_stime, peak, "tensorflow" in sys.modules]))
"""
_LOADS = {
    "bundle in a folder": "from bcd.bundle.scorer import load_scorer\nload_scorer(Path(sys.argv[1])).score(patch)",
    "its networks by Keras": "from bcd.bundle.write import load_networks\n"
    "for network in load_networks(Path(sys.argv[1])): network.predict_on_batch(patch)",
    "python and NumPy": "",
}


def main() -> int:
    """Prints both tables and returns 1 where the first patch takes longer or more memory than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=sorted(PRESETS), default="compact", help="of an untrained network")
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle to take instead")
    parser.add_argument(
        "--bfloat16", type=Path, nargs="+", metavar="ZIP", help="deliveries to score in both precisions"
    )
    parser.add_argument("--patches", type=int, default=2048, help="scored at a time (default 2048)")
    parser.add_argument("--turns", type=int, default=5, help="of each way (default 5)")
    arguments = parser.parse_args()
    if arguments.bfloat16:
        return tell_bfloat16(arguments.bfloat16, arguments.turns)
    with tempfile.TemporaryDirectory(prefix="bcd-scoring-") as folder:
        bundle = arguments.bundle or make_bundle(Path(folder), arguments.architecture)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {arguments.turns} turns, medians")
        missed = tell_first_patch(bundle, arguments.turns)
        tell_throughput(bundle, arguments.patches, arguments.turns)
    return missed


def make_bundle(folder: Path, architecture: str) -> Path:
    """Writes a bundle of one untrained network."""
    from bcd.networks.build import build_network

    networks = [folder / "network.keras"]
    build_network(PRESETS[architecture], 1).save(networks[0])
    write_graph(networks, folder / "graph")
    record = BundleRecord(
        preparation=PrepareOptions(),
        architecture=PRESETS[architecture],
        training=TrainOptions(),
        ensemble=EnsembleOptions(),
        engine=describe_engine(folder / "graph"),
        policy=Policy(calibrator=Calibrator(slope=1.0, intercept=0.0), levels=(0.9,)),
        snapshot="0" * 64,
        protocol="none",
        metrics={},
    )
    write_bundle(folder / "bundle", networks=networks, graph=folder / "graph", record=record)
    return folder / "bundle"


def tell_first_patch(bundle: Path, turns: int) -> int:
    """Prints how soon the first patch is scored, and returns 1 where that is too late or takes too much memory."""
    took: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _LOADS}
    for _ in range(turns):
        for name, load in _LOADS.items():
            start = time.perf_counter()
            code = _FIRST.format(load=load)
            done = subprocess.run([sys.executable, "-c", code, bundle], capture_output=True, check=True)
            seconds = time.perf_counter() - start
            processor, peak, imported = json.loads(done.stdout.splitlines()[-1])
            took[name].append((seconds, processor, peak))
            assert not (imported and name == "bundle in a folder"), "TensorFlow was imported."
    print(f"{'until the first patch':<24}{'seconds':>9}{'processor':>11}{'peak, MB':>10}")
    middle = {name: [median(values) for values in zip(*each, strict=True)] for name, each in took.items()}
    for name, (seconds, processor, peak) in middle.items():
        print(f"{name:<24}{seconds:>9.2f}{processor:>11.2f}{peak:>10.0f}")
    print(f"{'allowed':<24}{SECONDS:>9.2f}{'':>11}{MEGABYTES:>10}")
    seconds, _, peak = middle["bundle in a folder"]
    return int(seconds > SECONDS or peak > MEGABYTES)


def tell_throughput(bundle: Path, patches: int, turns: int) -> None:
    """Prints patches a second of each way, and the bundle's share of the engine's and of Keras' in each turn."""
    scorer, networks = load_scorer(bundle), load_networks(bundle)
    record = scorer.record
    probes = draw_bundle_probes(64)
    raw = np.concatenate([probes] * (patches // len(probes) + 1))[:patches]
    prepared = prepare(raw, record.preparation)
    cores = len(os.sched_getaffinity(0))
    as_bcd = {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores}
    views = list(turn_patches(prepared, record.ensemble.turns))
    ways: dict[str, Callable[[], object]] = {
        "bundle, raw patches": lambda: scorer.score(raw),
        "engine, as bcd asks": run_engine(bundle, views, BATCH, as_bcd),
        "engine, as it chooses": run_engine(bundle, views, 32, {"PERFORMANCE_HINT": "THROUGHPUT"}),
        "Keras, prepared patches": lambda: predict_logits(networks, prepared, turns=record.ensemble.turns),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, run in ways.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            if turn:  # the first one compiles
                rates[name].append(patches / (time.perf_counter() - start))
                processor[name].append(1e6 * (time.process_time() - used) / patches)
    ours, best = rates["bundle, raw patches"], [max(pair) for pair in zip(*list(rates.values())[1:3], strict=True)]
    print(f"\n{'patches a second':<26}{'median':>8}{'least':>8}{'most':>8}{'processor, us a patch':>24}")
    for name, each in rates.items():
        row = f"{name:<26}{median(each):>8.0f}{min(each):>8.0f}{max(each):>8.0f}"
        print(f"{row}{median(processor[name]):>24.0f}")
    for name, others in {"share of the engine": best, "times Keras": rates["Keras, prepared patches"]}.items():
        shares = [a / b for a, b in zip(ours, others, strict=True)]
        print(f"{name:<26}{median(shares):>8.2f}{min(shares):>8.2f}{max(shares):>8.2f}")


def tell_bfloat16(deliveries: Sequence[Path], turns: int) -> int:
    """Prints what the released model's scores become in bfloat16, and returns 1 where too many change side."""
    bundle = load_released()
    if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BcdError("This processor does not compute in bfloat16.", "Use one with AVX-512 BF16 or AMX.")
    raw = read_patches(deliveries)
    graph = released_folder() / "bundle" / GRAPH_FOLDER
    scorers = {each: Scorer(bundle.record, Engine(graph, precision=each)) for each in ("float32", "bfloat16")}
    few = raw[:2048]
    rates: dict[str, list[float]] = {name: [] for name in scorers}
    for turn in range(turns + 1):
        for name, scorer in scorers.items():
            start = time.perf_counter()
            scorer.score(few)
            if turn:  # the first one compiles
                rates[name].append(len(few) / (time.perf_counter() - start))
    ratios = [fast / slow for fast, slow in zip(rates["bfloat16"], rates["float32"], strict=True)]
    print(f"bfloat16, times float32: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    exact, rough = (scorers[name].score(raw) for name in scorers)
    print(
        f"{len(raw):,} patches: a probability differs by up to {abs(exact.probability - rough.probability).max():.4f}"
    )
    changed = {}
    for level in bundle.record.policy.levels:
        column = confident_column(level)
        side = exact["label"].where(exact[column], -1) != rough["label"].where(rough[column], -1)
        changed[level] = float(side.mean())
        print(f"level {level:<7g} {1000 * changed[level]:6.2f} patches in a thousand change side")
    return int(max(changed.values()) > MOST_CHANGED)


def read_patches(deliveries: Sequence[Path]) -> NDArray[np.uint8]:
    """Reads the whole patches of zip deliveries, RGB (n, 50, 50, 3)."""
    import cv2

    found: list[NDArray[np.uint8]] = []
    for path in deliveries:
        with zipfile.ZipFile(path) as delivery:
            pictures = [
                np.frombuffer(delivery.read(name), np.uint8) for name in delivery.namelist() if ".png" in name
            ]
        decoded = (cv2.imdecode(picture, cv2.IMREAD_COLOR_RGB) for picture in pictures)
        found += [np.asarray(each, np.uint8) for each in decoded if each is not None]
    return np.stack([pixels for pixels in found if pixels.shape == (PATCH_PIXELS, PATCH_PIXELS, 3)])


def run_engine(
    bundle: Path, views: list[NDArray[np.uint8]], batch: int, settings: Mapping[str, object]
) -> Callable[[], object]:
    """Returns what runs all patches through OpenVINO's own queue of requests, on the bundle's graph."""
    openvino = import_openvino()
    core = openvino.Core()
    model = core.read_model(bundle / GRAPH_FOLDER / GRAPH)
    model.reshape([batch, *views[0].shape[1:]])
    compiled = core.compile_model(model, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})
    queue = openvino.AsyncInferQueue(compiled)

    def run() -> None:
        for view in views:
            for start in range(0, len(view) - batch + 1, batch):
                queue.start_async({0: view[start : start + batch]})
        queue.wait_all()

    return run


if __name__ == "__main__":
    sys.exit(main())
