"""Area averaging: each pixel made is the mean of the area that it covers, to fractions of a pixel.

A slide of 0.499 µm/px has 8.016 px to a pixel of 4 µm. Rounding that to 8 would shift the far end of a slide by a
hundred pixels or more, and resizing block by block would leave seams; here every block takes its part of one grid
over the whole slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def area_weights(edges: NDArray[np.float64], low: int, high: int) -> csr_array:
    """Makes the matrix that averages pixels over intervals along one axis.

    Args:
        edges: Bounds of the intervals in pixels of the whole axis, ascending, shape (n + 1,).
        low: The first pixel at hand.
        high: One past the last pixel at hand; what an interval covers beyond [low, high) does not count.

    Returns:
        Weights, rows summing to 1, shape (n, high - low).
    """
    from scipy.sparse import csr_array

    edges = np.clip(edges, low, high) - low
    starts, ends = edges[:-1, None], edges[1:, None]
    taps = int(np.ceil((ends - starts).max())) + 1
    pixels = np.floor(starts).astype(np.int64) + np.arange(taps)
    weights = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    places = np.minimum(pixels, high - low - 1).ravel()  # beyond the last pixel the weight is 0
    lengths = np.arange(0, weights.size + 1, taps)
    shape = (len(starts), high - low)
    return csr_array((weights.astype(np.float32).ravel(), places, lengths), shape=shape)


def average_areas(pixels: NDArray[np.uint8], rows: csr_array, columns: csr_array) -> NDArray[np.uint8]:
    """Averages a picture over areas.

    Args:
        pixels: RGB, shape (height, width, 3).
        rows: Weights of `area_weights` along y, shape (new height, height).
        columns: Weights along x, shape (new width, width).

    Returns:
        RGB, shape (new height, new width, 3), contiguous, as whoever hashes or writes pixels expects.
    """
    height, width, channels = pixels.shape
    lines = rows @ pixels.reshape(height, width * channels).astype(np.float32)
    turned = lines.reshape(-1, width, channels).transpose(1, 0, 2).reshape(width, -1)
    averaged = (columns @ turned).reshape(columns.shape[0], -1, channels).transpose(1, 0, 2)
    # `rint` and a change of type alone would keep the layout of the turned picture.
    return np.ascontiguousarray(np.rint(averaged), dtype=np.uint8)
