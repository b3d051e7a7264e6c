"""A slide as a pyramid of tiles, made of its patches a tile at a time: never the whole slide in memory.

A tile of the finest level is 8 x 8 patches, from the corner of the grid on; each further level halves the one before
it, until a single tile holds the slide. A tile is made anew of its patches for each level.

Examples:
    >>> import numpy as np, pandas as pd
    >>> patches = pd.DataFrame({"slide": ["5"], "x": [451], "y": [51]})
    >>> pyramid = Pyramid(patches, lambda rows: np.zeros((len(rows), 50, 50, 3), np.uint8))
    >>> pyramid.sizes, [tile.shape for tile in pyramid.tiles(1)]
    ([(500, 100), (250, 50)], [(400, 400, 3)])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS, SlideId
from bcd.scoring.mosaic import find_grid_place, require_drawable

if TYPE_CHECKING:
    import pandas as pd

_PATCHES = 8
TILE = _PATCHES * PATCH_PIXELS
"""Edge of a tile: whole patches, and a multiple of 16, as TIFF wants it."""

WHITE = 255
"""Each channel of a cell without a patch, as of glass."""


class Pyramid:
    """The levels of a slide.

    Args:
        patches: Columns slide, x, y; patches of one slide, one at least.
        draw: Makes the pixels of rows of `patches`, (n, 50, 50, 3) uint8.

    Attributes:
        sizes: Width and height of each level in pixels, the finest first.

    Raises:
        BcdError: The patches lie so far apart that the slide cannot be drawn.
    """

    def __init__(self, patches: pd.DataFrame, draw: Callable[[pd.DataFrame], NDArray[np.uint8]]) -> None:
        self._patches, self._draw = patches, draw
        self._columns, self._rows = find_grid_place(patches["x"]), find_grid_place(patches["y"])
        across, down = (int(places.max()) + 1 for places in (self._columns, self._rows))
        require_drawable(SlideId(str(patches["slide"].iloc[0])), down, across)
        width, height = across * PATCH_PIXELS, down * PATCH_PIXELS
        deepest = max(0, (max(width, height) - 1) // TILE).bit_length()
        self.sizes = [(max(width >> level, 1), max(height >> level, 1)) for level in range(deepest + 1)]
        keys = self._rows // _PATCHES, self._columns // _PATCHES
        order = np.lexsort(keys[::-1])
        places, first = np.unique(np.stack(keys, axis=1)[order], axis=0, return_index=True)
        self._of_tile = dict(zip(map(tuple, places.tolist()), np.split(order, first[1:]), strict=True))

    def tiles(self, level: int) -> Iterator[NDArray[np.uint8]]:
        """Yields the tiles of a level row by row, each (400, 400, 3) RGB uint8, white where there is no patch."""
        white = np.full((TILE, TILE, 3), WHITE, np.uint8)
        across, down = (-(-size // TILE) for size in self.sizes[level])
        for row in range(down):
            for column in range(across):
                tile = self._make_tile(level, row, column)
                yield white if tile is None else tile

    def _make_tile(self, level: int, row: int, column: int) -> NDArray[np.uint8] | None:
        """Makes a tile of its patches, or of the four tiles that it halves; None where there is no patch."""
        if level == 0:
            return self._draw_tile(row, column)
        import cv2

        places = [(2 * row + down, 2 * column + across) for down in (0, 1) for across in (0, 1)]
        parts = [self._make_tile(level - 1, *place) for place in places]
        if all(part is None for part in parts):
            return None
        halved = np.full((2, TILE // 2, 2, TILE // 2, 3), WHITE, np.uint8)
        for number, part in enumerate(parts):
            if part is not None:
                halved[number // 2, :, number % 2] = cv2.resize(
                    part, (TILE // 2, TILE // 2), interpolation=cv2.INTER_AREA
                )
        return halved.reshape(TILE, TILE, 3)

    def _draw_tile(self, row: int, column: int) -> NDArray[np.uint8] | None:
        rows = self._of_tile.get((row, column))
        if rows is None:
            return None
        cells = np.full((_PATCHES, PATCH_PIXELS, _PATCHES, PATCH_PIXELS, 3), WHITE, np.uint8)
        cells[self._rows[rows] % _PATCHES, :, self._columns[rows] % _PATCHES] = self._draw(self._patches.iloc[rows])
        return cells.reshape(TILE, TILE, 3)
