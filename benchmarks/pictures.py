"""What a scored patient leaves on disk, with each setting of `[scoring] pictures`.

A made-up patient is scored by the released model, or by the bundle in a folder: the bytes of each kind of file, and
processor time beside the network's. At most a third of what was left with PNG files is allowed.

    .venv/bin/python benchmarks/pictures.py                   # a patient of 3,000 patches
    .venv/bin/python benchmarks/pictures.py --patches 1250
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcd.bundle.distance import Distance
from bcd.bundle.folder import FolderBundle, load_folder
from bcd.bundle.record import BundleRecord
from bcd.bundle.released import load_released
from bcd.drift.state import Known
from bcd.patches import Hospital
from bcd.scoring.exposure import Exposure
from bcd.scoring.heatmap import draw_heatmap, draw_slide
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import Subject, write_result
from bcd.synthetic.hospital import draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients

SHARE = 1 / 3
"""Of the bytes that a patient left with PNG files, at most."""


def main() -> int:
    """Prints the table and returns 1 where a setting leaves more than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle to take instead")
    parser.add_argument("--patches", type=int, default=3000, help="of the patient (default 3,000)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bcd-pictures-") as folder:
        return tell_disk(arguments.bundle, Path(folder), arguments.patches)


def tell_disk(chosen: Path | None, folder: Path, patches: int) -> int:
    """Prints what a patient leaves with each setting of pictures, and returns 1 where that is over the limit."""
    bundle = load_folder(chosen) if chosen else load_released()
    subject = make_subject(patches)
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


def make_subject(patches: int) -> Subject:
    """Draws a patient of one whole slide of about so many patches."""
    options = HospitalOptions(patients=2, large_patients=1, large_patches=patches)
    large = max(draw_synthetic_patients(options), key=lambda each: each.width * each.height)
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
        complete={(Hospital("synthetic"), large.id, names[0].slide)},
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
