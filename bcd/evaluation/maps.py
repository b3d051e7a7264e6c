"""Maps of patches on their slides: the largest connected piece that is labelled, and that is called, IDC.

Pieces are joined by edges and corners. They mean something where a slide was delivered whole: a slide is a map when
its patches have two of their four neighbours, or more, on average (of a slide thinned to 4 %, they have .2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    import pandas as pd

    from bcd.evaluation.sample import Sample

PLACE = ["slide", "x", "y"]
"""Columns that place a patch within its patient."""

MIN_NEIGHBOURS = 2.0
"""Mean number of the four neighbours that are there, from which on a slide is a map."""

_EDGES_AND_CORNERS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Pieces:
    """The largest connected pieces of one patient's maps, in patches.

    Attributes:
        labelled: Size of the largest piece that is labelled IDC.
        called: Size of the largest piece that is called IDC.
        shared: Patches that the two share.
    """

    labelled: int
    called: int
    shared: int

    @property
    def dice(self) -> float | None:
        """Dice coefficient of the two pieces; None where there is neither."""
        both = self.labelled + self.called
        return 2 * self.shared / both if both else None


def find_pieces(scores: pd.DataFrame, sample: Sample, called: NDArray[np.bool_]) -> list[Pieces | None]:
    """Finds each patient's largest pieces.

    Args:
        scores: The frame of the sample, with the columns slide, x and y.
        sample: The patches, in the order of the frame.
        called: Whether each patch is called IDC, shape (n,).

    Returns:
        One a patient, in the sample's order; None where no slide of the patient is a map.
    """
    column = scores["x"].to_numpy(dtype=np.int64) // PATCH_PIXELS
    row = scores["y"].to_numpy(dtype=np.int64) // PATCH_PIXELS
    slide = scores["slide"].astype(str).factorize()[0]
    order = np.lexsort((slide, sample.patient))
    ends = np.flatnonzero((np.diff(sample.patient[order]) != 0) | (np.diff(slide[order]) != 0)) + 1
    found: list[Pieces | None] = [None] * len(sample.patients)
    for rows in np.split(order, ends):
        patient = int(sample.patient[rows[0]])
        pieces = _pieces(row[rows], column[rows], sample.positive[rows], called[rows])
        best = found[patient]
        # The patient's largest labelled piece counts; without one, the largest that was called.
        if pieces and (best is None or (pieces.labelled, pieces.called) > (best.labelled, best.called)):
            found[patient] = pieces
    return found


def _pieces(
    row: NDArray[np.int64], column: NDArray[np.int64], positive: NDArray[np.bool_], called: NDArray[np.bool_]
) -> Pieces | None:
    row, column = row - row.min(), column - column.min()
    shape = (int(row.max()) + 1, int(column.max()) + 1)

    def draw(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        grid = np.zeros(shape, dtype=bool)
        grid[row, column] = values
        return grid

    tissue = draw(np.ones(len(row), dtype=bool))
    pairs = np.count_nonzero(tissue[1:] & tissue[:-1]) + np.count_nonzero(tissue[:, 1:] & tissue[:, :-1])
    if 2 * pairs < MIN_NEIGHBOURS * len(row):
        return None
    labelled, found = _largest(draw(positive)), _largest(draw(called))
    return Pieces(
        int(np.count_nonzero(labelled)), int(np.count_nonzero(found)), int(np.count_nonzero(labelled & found))
    )


def _largest(grid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    pieces, _ = ndimage.label(grid, _EDGES_AND_CORNERS)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = (pieces == sizes.argmax()) & grid
    return largest
