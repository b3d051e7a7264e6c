"""How soon a slide is scored by the model that comes with bcd, from the moment of the command.

Makes a slide of about 3,000 patches with tissue at 0.25 µm/px, runs `bcd score SLIDE --to FOLDER` on an empty HOME,
and prints the seconds beside their limit of 30, the processor time, and the peak of memory. It wants two quiet cores.

    .venv/bin/python benchmarks/out_of_the_box.py                     # the released model
    .venv/bin/python benchmarks/out_of_the_box.py --model FOLDER      # the bundle in a folder
    .venv/bin/python benchmarks/out_of_the_box.py --slide slide.svs   # a slide of your own
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from slides import GLASS, LEVELS, SPACING, draw_tiles, write_slide

from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS

MOST_SECONDS = 30.0
PATCHES = 3000


def main() -> int:
    """Prints the figures and returns 1 where the limit on time is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=PATCHES, help="with tissue (default 3,000)")
    parser.add_argument("--slide", type=Path, help="a slide of your own instead")
    parser.add_argument("--model", default="released", help="the released one, or the folder of a bundle")
    parser.add_argument("--turns", type=int, default=3, help="how often; the quickest counts (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        slide = arguments.slide or _make_slide(folder / "made.tif", arguments.patches)
        turns = [_score(slide, arguments.model, folder, turn) for turn in range(arguments.turns)]
        patches = sum(len(pd.read_parquet(scores)) for scores in (folder / "out-0").glob("*/scores.parquet"))
    seconds, used = min(turns)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    verdict = "ok" if seconds <= MOST_SECONDS else "MISSED"
    print(f"patches          {patches:>7,}  on {len(os.sched_getaffinity(0))} cores, {arguments.model}")
    print(f"seconds          {seconds:>7.1f}  limit {MOST_SECONDS:.0f}  {verdict}")
    print(f"processor time   {used:>7.1f}  seconds")
    print(f"peak memory, MB  {memory:>7,.0f}")
    return int(verdict != "ok")


def _make_slide(path: Path, patches: int) -> Path:
    edge = round(PATCH_PIXELS * MICRONS_PER_PIXEL / SPACING)
    rows = max(round((patches * (1 - GLASS)) ** 0.5), 1)
    columns = max(round(patches / rows / (1 - GLASS)), 2)
    write_slide(path, draw_tiles(), columns * edge, rows * edge, LEVELS)
    return path


def _score(slide: Path, model: str, folder: Path, turn: int) -> tuple[float, float]:
    """Returns the seconds that the command took, and those of them that a processor worked."""
    home = folder / "user"
    home.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BCD_")}
    command = [sys.executable, "-m", "bcd.cli.main", "score", str(slide), "--to", str(folder / f"out-{turn}")]
    command += ["--model", model]
    environment["HOME"] = str(home)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"The command failed:\n{done.stdout}{done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
