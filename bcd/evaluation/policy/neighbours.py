"""The neighbours of a patch: the up to eight patches around it on the grid of its slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcd.patches import PATCH_PIXELS, SLIDE

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS = 8

_STEPS = [(right, down) for down in (-1, 0, 1) for right in (-1, 0, 1) if right or down]


def find_neighbours(patches: pd.DataFrame, values: ArrayLike) -> NDArray[np.float64]:
    """Returns what the eight neighbours of each patch have, NaN where there is none: shape (n, 8).

    Args:
        patches: Columns hospital, patient, slide, x, y; no patch twice.
        values: One of each patch, such as its logit, shape (n,).
    """
    if patches.empty:
        return np.empty((0, NEIGHBOURS))
    of = np.asarray(values, dtype=np.float64)
    slide = patches.groupby(SLIDE, sort=False, observed=True).ngroup().to_numpy(np.int64)
    column, row = (patches[name].to_numpy(np.int64) // PATCH_PIXELS for name in ("x", "y"))
    width, height = int(column.max()) + 3, int(row.max()) + 3  # a border around each slide, where nothing lies
    key = (slide * height + row + 1) * width + column + 1
    order = np.argsort(key)
    ranked = key[order]
    found = np.full((len(key), NEIGHBOURS), np.nan)
    for place, (right, down) in enumerate(_STEPS):
        wanted = key + down * width + right
        at = np.minimum(np.searchsorted(ranked, wanted), len(key) - 1)
        there = ranked[at] == wanted
        found[there, place] = of[order[at[there]]]
    return found


def mean_neighbour(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of the neighbours that are there, shape (n,); NaN where there is none."""
    there = ~np.isnan(values)
    counted = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    mean = np.full(len(values), np.nan)
    np.divide(total, counted, out=mean, where=counted > 0)
    return mean
