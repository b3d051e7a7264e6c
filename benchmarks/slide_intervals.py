"""How often the interval of one patient's figure holds the truth, as bcd makes it and patch by patch.

Draws slides whose patches are IDC in regions of a known typical size, scores each patch with an error of its own, and
counts how often the interval of the mean probability holds the mean over all tissue of that kind. `reach` is the
distance in patches over which the correlation of two patches falls to 1/e; of the three whole slides of the public
set it is measured with --scores.

    .venv/bin/python benchmarks/slide_intervals.py
    .venv/bin/python benchmarks/slide_intervals.py --scores FOLDER/8867/scores.parquet ...   # reach of real slides
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcd.scoring.intervals import PlacedPatches

WANTED = 0.95
REACHES = (1.0, 2.0, 4.0, 8.0)
EDGES = (16, 20, 32, 44, 55)
SHARE = 0.3  # of IDC
_Z = 1.959964


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=400, help="drawn of each kind (default 400)")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="scores.parquet of whole slides")
    arguments = parser.parse_args()
    for path in arguments.scores:
        scores = pd.read_parquet(path)
        reach = measure_reach(scores)
        print(f"{path}: {len(scores):,} patches, reach {reach:.1f} patches")
    head = f"{'patches':>8}{'of them':>9}{'reach':>7}{'given':>8}{'bcd':>8}{'width':>8}"
    print(f"{head}{'patch by patch':>16}{'width':>8}")
    for edge in EDGES:
        for kept in (1.0, 0.04):
            for reach in REACHES:
                if edge * edge * kept < 30:
                    continue
                found = np.array(list(draw(arguments.slides, edge, reach, kept)), float)
                held, width, naive, narrow = np.nanmean(found, axis=0)
                given = np.mean(~np.isnan(found[:, 1]))
                print(
                    f"{edge * edge * kept:>8.0f}{kept:>9.0%}{reach:>7.0f}{given:>8.2f}{held:>8.3f}{width:>8.3f}"
                    f"{naive:>16.3f}{narrow:>8.3f}",
                    flush=True,
                )


def draw(slides: int, edge: int, reach: float, kept: float) -> Iterator[tuple[float, float, float, float]]:
    """Yields, of each slide, whether the intervals of bcd and of patches hold the truth, and how wide each is.

    NaN where bcd gives none.
    """
    rng = np.random.default_rng([edge, round(reach), round(100 * kept)])
    row, column = np.indices((edge, edge)).reshape(2, -1)
    for _ in range(slides):
        chosen = np.flatnonzero(rng.random(edge * edge) < kept)
        p = draw_slide_scores(rng, edge, reach).ravel()[chosen]
        patches = pd.DataFrame({"slide": "1", "x": 50 * column[chosen] + 1, "y": 50 * row[chosen] + 1})
        found = PlacedPatches.of(patches, p).interval(p)
        half = _Z * p.std(ddof=1) / len(p) ** 0.5
        low, high = (np.nan, np.nan) if found is None else found
        held = np.nan if found is None else float(low <= TRUTH <= high)
        yield held, high - low, float(abs(p.mean() - TRUTH) <= half), 2 * half


def draw_slide_scores(rng: np.random.Generator, edge: int, reach: float) -> NDArray[np.float64]:
    """Draws the probabilities of a square slide: IDC in regions of that reach, and an error of each patch."""
    field = draw_field(rng, edge, reach)
    logit = 3 * (field - THRESHOLD) + rng.normal(0, 1, field.shape)
    return np.asarray(1 / (1 + np.exp(-logit)))


def draw_field(rng: np.random.Generator, edge: int, reach: float) -> NDArray[np.float64]:
    """Draws a standard normal field whose correlation falls as exp(-distance / reach)."""
    size = edge + int(8 * reach)  # of the torus, whose other side is too far to matter
    along = np.minimum(np.arange(size), size - np.arange(size))
    correlation = np.exp(-np.hypot(along[:, None], along[None]) / reach)
    power = np.fft.fft2(correlation).real.clip(0)
    noise = np.fft.fft2(rng.normal(size=(size, size)))
    return np.asarray(np.fft.ifft2(np.sqrt(power) * noise).real[:edge, :edge])


def measure_reach(scores: pd.DataFrame) -> float:
    """Returns over how many patches the correlation of two patches' probabilities falls to 1/e."""
    column, row = (scores[name].to_numpy() // 50 for name in ("x", "y"))
    grid = np.full((row.max() + 1, column.max() + 1), np.nan)
    grid[row, column] = scores["probability"] - scores["probability"].mean()
    variance = np.nanmean(grid**2)
    for distance in range(1, max(grid.shape) // 2):
        pairs = [grid[:, distance:] * grid[:, :-distance], grid[distance:] * grid[:-distance]]
        if np.nanmean(np.concatenate([each.ravel() for each in pairs])) < variance / np.e:
            return float(distance)
    return float(max(grid.shape) // 2)


THRESHOLD = 0.524  # 30 % of a normal lie above
_ALL = np.random.default_rng(0).normal(size=(2, 1_000_000))
TRUTH = float((1 / (1 + np.exp(-(3 * (_ALL[0] - THRESHOLD) + _ALL[1])))).mean())
"""The mean probability over all tissue of that kind."""


if __name__ == "__main__":
    main()
