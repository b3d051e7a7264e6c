"""The slide: a patient's patches put back where they lay.

A slide's size comes from its patches. It is cropped to the box around its tissue with a margin of one cell; a
cell without a patch is background. x is the column and y the row of a patch's upper left pixel, from 1 on.

Examples:
    >>> import numpy as np, pandas as pd
    >>> patches = pd.DataFrame({"slide": ["5"], "x": [101], "y": [51]})
    >>> mosaic = stitch(patches, np.zeros((1, 50, 50, 3), np.uint8))
    >>> mosaic.image.shape, mosaic.column, mosaic.row
    ((150, 150, 3), 1, 0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bcd.errors import BcdError
from bcd.patches import PATCH_PIXELS, SlideId

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

BACKGROUND = (244, 243, 240)
"""Colour of a cell without a patch: a warm off-white, told apart from tissue and from its white holes."""

MARGIN = 1
"""Cells of background around the tissue."""

MAX_PIXELS = 250_000_000
"""The largest canvas that is stitched (a 40 x 25 mm slide has 62.5 million pixels)."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A stitched slide.

    Attributes:
        image: RGB, uint8, (50 * rows, 50 * columns, 3).
        present: Which cells hold a patch, (rows, columns).
        column: Grid column of the upper left cell, counted from 0; -1 where the margin lies left of the grid.
        row: Grid row of the upper left cell, likewise.
    """

    image: NDArray[np.uint8]
    present: NDArray[np.bool_]
    column: int
    row: int

    def cells(self, patches: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the rows and the columns of the mosaic's cells in which the patches lie."""
        return find_grid_place(patches["y"]) - self.row, find_grid_place(patches["x"]) - self.column


def stitch(patches: pd.DataFrame, pixels: NDArray[np.uint8]) -> Mosaic:
    """Puts the patches of one slide back where they lay.

    Args:
        patches: Columns slide, x, y; at least one row, all of one slide.
        pixels: RGB, uint8, (n, 50, 50, 3), in the order of `patches`.

    Raises:
        BcdError: The patches lie so far apart that the slide cannot be drawn.
    """
    assert len(patches) == len(pixels) > 0
    assert patches["slide"].nunique() == 1
    columns, rows = find_grid_place(patches["x"]), find_grid_place(patches["y"])
    column, row = int(columns.min()) - MARGIN, int(rows.min()) - MARGIN
    shape = int(rows.max()) + MARGIN + 1 - row, int(columns.max()) + MARGIN + 1 - column
    require_drawable(SlideId(str(patches["slide"].iloc[0])), *shape)
    image = np.empty((shape[0] * PATCH_PIXELS, shape[1] * PATCH_PIXELS, 3), np.uint8)
    image[...] = BACKGROUND
    mosaic = Mosaic(image=image, present=np.zeros(shape, np.bool_), column=column, row=row)
    cells = mosaic.cells(patches)
    view_mosaic_by_cell(image)[cells[0], :, cells[1]] = pixels
    mosaic.present[cells] = True
    return mosaic


def require_drawable(slide: SlideId, rows: int, columns: int) -> None:
    """Makes sure that a slide of so many rows and columns of cells can be drawn.

    Raises:
        BcdError: It is too large.
    """
    if rows * columns * PATCH_PIXELS**2 > MAX_PIXELS:
        raise BcdError(
            f"Slide {slide} would be {columns * PATCH_PIXELS:,} x "
            f"{rows * PATCH_PIXELS:,} pixels: its patches lie too far apart to be one slide.",
            "Check the x and y in the names of its patches at the hospital that delivered it.",
        )


def view_mosaic_by_cell(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a view (rows, 50, columns, 50, 3) of an image; `view[rows, :, columns]` is (n, 50, 50, 3)."""
    height, width, _ = image.shape
    return image.reshape(height // PATCH_PIXELS, PATCH_PIXELS, width // PATCH_PIXELS, PATCH_PIXELS, 3)


def find_grid_place(position: pd.Series) -> NDArray[np.int64]:
    """Returns the columns, or rows, of the grid, counted from 0, of patches at some x, or y."""
    return (position.to_numpy(np.int64) - 1) // PATCH_PIXELS
