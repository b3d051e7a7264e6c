"""What scoring costs: patches a second of a bundle, beside its engine alone and beside Keras; and how soon it begins.

    .venv/bin/python benchmarks/scoring.py                                  # compact, each patch as it lies
    .venv/bin/python benchmarks/scoring.py --architecture dissertation --patches 512
    .venv/bin/python benchmarks/scoring.py --bundle FOLDER                  # of a bundle in a folder
    .venv/bin/python benchmarks/scoring.py --pictures 3000                  # what a patient of so many patches leaves

The limit is OpenVINO's own asynchronous throughput on the bundle's graph, from prepared patches in memory: the better
of requests as bcd makes them and of what OpenVINO chooses for itself. Keras gets prepared patches, too. They take
turns in one process. The first patch is timed in processes of their own, from the start of Python.

With --pictures a made-up patient is scored by the released model, or by the bundle in a folder, once with each
setting of `[scoring] pictures`: the bytes of each kind of file, and processor time beside the network's. At most a
third of what it left with PNG files is allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcd.bundle.distance import Distance
from bcd.bundle.engine import BATCH, GRAPH, describe_engine, import_openvino
from bcd.bundle.folder import FolderBundle, load_folder
from bcd.bundle.probes import draw_bundle_probes
from bcd.bundle.record import BundleRecord
from bcd.bundle.released import load_released
from bcd.bundle.scorer import GRAPH_FOLDER, load_scorer
from bcd.bundle.write import load_networks, write_bundle, write_graph
from bcd.drift.state import Known
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.policy import Policy
from bcd.networks.architecture import PRESETS
from bcd.patches import Hospital
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.scoring.exposure import Exposure
from bcd.scoring.heatmap import draw_heatmap, draw_slide
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import Subject, write_result
from bcd.synthetic.hospital import draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_patients
from bcd.training.options import EnsembleOptions, TrainOptions
from bcd.training.predict import predict_logits, turn_patches

SECONDS, MEGABYTES = 2.0, 400
"""At most that before the first patch."""

SHARE = 1 / 3
"""Of the bytes that a patient left with PNG files, at most."""

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
    parser.add_argument("--patches", type=int, default=2048, help="scored at a time (default 2048)")
    parser.add_argument("--pictures", type=int, help="patches of a patient, scored with each setting of pictures")
    parser.add_argument("--turns", type=int, default=5, help="of each way (default 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bcd-scoring-") as folder:
        if arguments.pictures:
            return tell_disk(arguments.bundle, Path(folder), arguments.pictures)
        bundle = arguments.bundle or make_bundle(Path(folder), arguments.architecture)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {arguments.turns} turns, medians")
        missed = tell_first_patch(bundle, arguments.turns)
        tell_throughput(bundle, arguments.patches, arguments.turns)
    return missed


def tell_disk(chosen: Path | None, folder: Path, patches: int) -> int:
    """Prints what a patient leaves with each setting of pictures, and returns 1 where that is over the limit."""
    bundle = load_folder(chosen) if chosen else load_released()
    subject = make_subject(patches)
    pixels = subject.read(subject.patches)
    used = time.process_time()
    scores = bundle.score(pixels)
    print(f"{len(pixels):,} patches, scored by {bundle.name} in {time.process_time() - used:.1f} s of processor time")
    kinds = ("png", "webp", "report", "geojson", "scores")
    head = "".join(f"{kind + ', MB':>12}" for kind in kinds)
    print(f"{'pictures':<10}{head}{'all, MB':>10}{'share':>7}{'processor, s':>14}")
    before, missed = 0.0, 0
    for setting in ("before", "full", "report", "none"):
        options = ScoreOptions.model_validate({"pictures": "full" if setting == "before" else setting})
        to = folder / setting
        to.mkdir()
        used = time.process_time()
        write_result(to, subject, KeptScores(bundle, scores), options)
        used = time.process_time() - used
        if setting == "before":
            draw_as_png(to, subject, options)
        sizes = {file.name: file.stat().st_size / 1e6 for file in to.iterdir()}
        row = "".join(f"{sum(size for name, size in sizes.items() if kind in name):>12.2f}" for kind in kinds)
        total = sum(sizes.values())
        before = before or total
        missed |= setting != "before" and total > SHARE * before
        print(f"{setting:<10}{row}{total:>10.2f}{total / before:>7.2f}{used:>14.1f}", flush=True)
    return missed


@dataclass(frozen=True)
class KeptScores:
    """A bundle whose network has scored the patient already."""

    bundle: FolderBundle
    scores: pd.DataFrame
    seen: None = None

    @property
    def name(self) -> str:
        """As the bundle's."""
        return self.bundle.name

    @property
    def record(self) -> BundleRecord:
        """As the bundle's."""
        return self.bundle.record

    @property
    def known(self) -> Known | None:
        """As the bundle's."""
        return self.bundle.known

    def measure(self, pixels: NDArray[np.uint8]) -> Distance | None:
        """Measures as the bundle does."""
        return self.bundle.measure(pixels)

    def score(self, _pixels: NDArray[np.uint8]) -> pd.DataFrame:
        """Returns what the network gave."""
        return self.scores


def make_subject(patches: int) -> Subject:
    """Draws a patient of one whole slide of about so many patches."""
    options = HospitalOptions(patients=2, large_patients=1, large_patches=patches)
    large = max(draw_patients(options), key=lambda each: each.width * each.height)
    drawn = [each for each in next(iter(draw_patches([large])))[1] if each.pixels.shape == (50, 50, 3)]
    names = [each.name for each in drawn]
    pixels = np.stack([each.pixels for each in drawn])
    table = pd.DataFrame(
        {
            "hospital": "synthetic",
            "patient": large.id,
            "slide": [name.slide for name in names],
            "x": [name.x for name in names],
            "y": [name.y for name in names],
            "label": pd.array([name.label for name in names], dtype="Int8"),
            "batch": "drawn",
            "row": np.arange(len(drawn)),
        }
    )
    return Subject(
        hospital=Hospital("synthetic"),
        patient=large.id,
        patches=table,
        read=lambda rows: pixels[rows["row"].to_numpy()],
        frames={},
        complete={("synthetic", str(large.id), str(names[0].slide))},
        exposure=Exposure(None, True, "Never seen by the model: made up."),
        protocol="none",
        content="0" * 64,
    )


def draw_as_png(folder: Path, subject: Subject, options: ScoreOptions) -> None:
    """Draws slide and heatmap as PNG instead of WebP, as it was before."""
    mosaic = stitch(subject.patches, subject.read(subject.patches))
    draw_slide(mosaic, options, title=subject.key, path=folder / "slide.png")
    scores = pd.read_parquet(folder / "scores.parquet")
    draw_heatmap(mosaic, scores, options, title=subject.key, path=folder / "heatmap.png")
    for webp in folder.glob("*.webp"):
        webp.unlink()


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
