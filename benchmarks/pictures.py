"""What a scored patient leaves on disk, with each setting of `[scoring] pictures`, and how like PNG its slide is.

A made-up patient is scored by the released model, or by the bundle in a folder: the bytes of each kind of file, and
processor time beside the network's. At most a third of what was left with PNG files is allowed. How far WebP lies off
PNG is said of the patches, in grey levels. A patient of a delivery may be taken instead.

    .venv/bin/python benchmarks/pictures.py                   # a patient of 3,000 patches
    .venv/bin/python benchmarks/pictures.py --delivery idc-batch-1.zip --patient 8867 --look look.png
    .venv/bin/python benchmarks/pictures.py --night 50 --patches 1000   # admits and scores so many patients
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcd.admission.admit import admit
from bcd.bundle.distance import Distance
from bcd.bundle.folder import FolderBundle, load_folder
from bcd.bundle.record import BundleRecord
from bcd.bundle.released import load_released
from bcd.drift.state import Known
from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId, SlideId
from bcd.scoring.exposure import Exposure
from bcd.scoring.heatmap import draw_heatmap, draw_slide
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.picture import Picture
from bcd.scoring.result import Subject, write_result
from bcd.scoring.score import patients_to_score, score_patient
from bcd.settings import load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.synthetic.hospital import draw_hospital, draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients

SYNTHETIC = Hospital("synthetic")

SHARE = 1 / 3
"""Of the bytes that a patient left with PNG files, at most."""


def main() -> int:
    """Prints the table and returns 1 where a setting leaves more than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle to take instead")
    parser.add_argument("--patches", type=int, default=3000, help="of a made-up patient (default 3,000)")
    parser.add_argument(
        "--delivery", type=Path, metavar="ZIP", help="take a patient of this delivery, with --patient"
    )
    parser.add_argument("--patient", help="the patient to take")
    parser.add_argument("--look", type=Path, metavar="PNG", help="draw a part of the slide, as PNG and as WebP")
    parser.add_argument("--night", type=int, metavar="PATIENTS", help="score so many patients one after the other")
    arguments = parser.parse_args()
    bundle = load_folder(arguments.bundle) if arguments.bundle else load_released()
    with tempfile.TemporaryDirectory(prefix="bcd-pictures-") as name:
        folder = Path(name)
        if arguments.night:
            tell_night(bundle, folder, arguments.night, arguments.patches)
            return 0
        given = arguments.delivery and read_subject(arguments.delivery, arguments.patient)
        subject = given or make_subject(arguments.patches)
        missed = tell_disk(bundle, subject, folder)
        tell_look(subject, folder)
        if arguments.look:
            draw_look(folder, arguments.look)
    return missed


def tell_disk(bundle: FolderBundle, subject: Subject, folder: Path) -> int:
    """Prints what a patient leaves with each setting of pictures, and returns 1 where that is over the limit.

    What it leaves lies in `folder` afterwards, in a folder a setting, and with PNG files in `before`.
    """
    pixels = subject.read(subject.patches)
    used = time.process_time()
    scores = bundle.score(pixels, spread=True)
    print(f"{len(pixels):,} patches, scored by {bundle.name} in {time.process_time() - used:.1f} s of processor time")
    kinds = ("png", "webp", "report", "geojson", "scores")
    head = "".join(f"{kind + ', MB':>12}" for kind in kinds)
    print(f"{'pictures':<10}{head}{'all, MB':>10}{'share':>7}{'processor, s':>14}")
    before, missed = 0.0, 0
    for setting in ("before", "full", "report", "none"):
        options = ScoreOptions.model_validate({"pictures": "report" if setting == "before" else setting})
        to = folder / setting
        to.mkdir()
        used = time.process_time()
        write_result(to, subject, KeptScores(bundle, scores), options)
        if setting == "before":
            draw_as_png(to, subject, options)
        used = time.process_time() - used
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

    def score(self, pixels: NDArray[np.uint8], *, spread: bool = False) -> pd.DataFrame:  # noqa: ARG002
        """Returns what the network gave."""
        return self.scores


def tell_look(subject: Subject, folder: Path) -> None:
    """Prints how far the WebP files that `full` leaves lie off the PNG files of `before`, where there is tissue."""
    for png in sorted((folder / "before").glob("*.png")):
        error = measure_look(subject, png, next((folder / "full").glob(f"{png.stem}-*.webp")))
        decibels = 20 * np.log10(255 / error)
        print(f"{png.stem} as WebP: {error:.1f} grey levels off PNG (root mean square), {decibels:.1f} dB")


def measure_look(subject: Subject, png: Path, webp: Path) -> float:
    """Returns the root mean square of the differences of two pictures of a slide, in grey levels, on its patches."""
    mosaic = stitch(subject.patches, subject.read(subject.patches))
    left, top, right, bottom = Picture(mosaic.image, title="", longest_edge=ScoreOptions().longest_edge).box
    one, other = (_read_picture(path)[top:bottom, left:right].astype(np.int16) for path in (png, webp))
    tissue = cv2.resize(mosaic.present.astype(np.uint8), one.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    return float(np.sqrt(np.square(one[tissue] - other[tissue]).mean()))


def draw_look(folder: Path, path: Path, side: int = 180) -> None:
    """Draws the middle of the slide as PNG beside the same as WebP, three times as large."""
    from bcd.charts import page

    files = {"PNG, as before": folder / "before/slide.png", "WebP": next((folder / "full").glob("slide-*.webp"))}
    with page(path, title="The same part of a slide", note=f"{side} x {side} pixels", size=(7.6, 3.9)) as figure:
        for axes, (name, file) in zip(figure.subplots(1, 2), files.items(), strict=True):
            picture = _read_picture(file)[..., ::-1]
            top, left = (length // 2 - side // 2 for length in picture.shape[:2])
            axes.imshow(picture[top : top + side, left : left + side], interpolation="nearest")
            axes.set_title(f"{name}: {file.stat().st_size / 1e6:.2f} MB the slide")
            axes.axis("off")


def _read_picture(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)


def tell_night(bundle: FolderBundle, folder: Path, patients: int, patches: int) -> None:
    """Admits made-up patients, scores them one after the other, and prints what the night took and left."""
    options = HospitalOptions(patients=patients, large_patients=0, small_patches=patches)
    settings = load_settings(folder / "home")
    with open_store(settings) as store:
        declare_hospital(store, SYNTHETIC, "pseudonyms", SignOff("a benchmark", "benchmark"))
        for delivery in draw_hospital(options, folder / "drawn"):
            admit(store, delivery, SYNTHETIC)
        scoring = ScoreOptions()
        waiting, n = patients_to_score(store, bundle, scoring), 0
        began, used = time.perf_counter(), time.process_time()
        for hospital, patient in waiting:
            n += score_patient(store, bundle, hospital, patient, scoring).n
        took, used = time.perf_counter() - began, time.process_time() - used
    left = sum(file.stat().st_size for file in settings.scores.rglob("*") if file.is_file()) / 1e6
    print(f"{len(waiting):,} patients, {n:,} patches, pictures {scoring.pictures}")
    for of, share in (("the night", 1), ("a patient", len(waiting))):
        print(f"{of}: {took / share:.1f} s, {used / share:.1f} s of processor time, {left / share:.2f} MB")


def read_subject(delivery: Path, patient: str) -> Subject:
    """Reads a patient of the public set, who is one complete slide here, from the zip that was delivered.

    Raises:
        BcdError: The patient is not in it.
    """
    name = re.compile(rf"(?:.*/)?{patient}_idx(?P<slide>\w+)_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])\.png")
    rows, pixels = [], []
    with zipfile.ZipFile(delivery) as archive:
        for member in archive.namelist():
            if found := name.fullmatch(member):
                picture = cv2.imdecode(np.frombuffer(archive.read(member), np.uint8), cv2.IMREAD_COLOR)
                if picture is not None and picture.shape == (50, 50, 3):
                    rows.append(found.groupdict())
                    pixels.append(picture[..., ::-1])
    if not rows:
        raise BcdError(f"{delivery} holds no patch of patient {patient}.", "Name a patient of the delivery.")
    table = pd.DataFrame(rows).astype({"x": "int64", "y": "int64", "label": "int8"}).astype({"label": "Int8"})
    return _make_subject(table, np.stack(pixels), PatientId(patient))


def make_subject(patches: int) -> Subject:
    """Draws a patient of one whole slide of about so many patches."""
    options = HospitalOptions(patients=2, large_patients=1, large_patches=patches)
    large = max(draw_synthetic_patients(options), key=lambda each: each.width * each.height)
    drawn = [each for each in next(iter(draw_patches([large])))[1] if each.pixels.shape == (50, 50, 3)]
    names = [each.name for each in drawn]
    pixels = np.stack([each.pixels for each in drawn])
    table = pd.DataFrame(
        {
            "slide": [name.slide for name in names],
            "x": [name.x for name in names],
            "y": [name.y for name in names],
            "label": pd.array([name.label for name in names], dtype="Int8"),
        }
    )
    return _make_subject(table, pixels, large.id)


def _make_subject(table: pd.DataFrame, pixels: NDArray[np.uint8], patient: PatientId) -> Subject:
    """Makes a subject of one complete slide of a table of slide, x, y, label."""
    table = table.assign(hospital=SYNTHETIC, patient=patient, batch="drawn", row=np.arange(len(table)))
    return Subject(
        hospital=SYNTHETIC,
        patient=patient,
        patches=table,
        read=lambda rows: pixels[rows["row"].to_numpy()],
        frames={},
        complete={(SYNTHETIC, PatientId(str(patient)), SlideId(str(table["slide"].iloc[0])))},
        exposure=Exposure(None, True, "Never seen by the model: made up."),
        protocol="none",
        content="0" * 64,
    )


def draw_as_png(folder: Path, subject: Subject, options: ScoreOptions) -> None:
    """Draws slide and heatmap as PNG, as it was before."""
    mosaic = stitch(subject.patches, subject.read(subject.patches))
    draw_slide(mosaic, options, title=subject.key, path=folder / "slide.png")
    scores = pd.read_parquet(folder / "scores.parquet")
    draw_heatmap(mosaic, scores, options, title=subject.key, path=folder / "heatmap.png")


if __name__ == "__main__":
    sys.exit(main())
