"""A slide's pixels averaged over areas: the mean of what each area covers, to the fraction of a pixel.

A slide is read in bands as wide as itself and as high as its tiles, and a band in blocks of whole tiles by a few
threads: each tile is decoded once, and memory grows with the slide's width alone. An area that begins in a block and
ends in the next reads a little of its tile too, which OpenSlide's cache still holds; what the next band needs of a
band's last rows is carried over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.admission.slides.memory import ThreadMemory
from bcd.admission.slides.reading import Region

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK_PIXELS = (512, 512)
"""A block is at least as wide and high, in pixels of the slide, and whole tiles: small enough for the caches."""

MOST_BAND_PIXELS = 1024
"""A band is at most as high, however high the slide's tiles are: it bounds memory."""

RUNS = 4
"""Runs of blocks that a band is dealt out in, for each thread: each costs time, and glass takes less than tissue."""

MOST_WORKERS = 4
"""Threads that read a slide; more would need more memory, and hardly help beyond the decoding of JPEG."""


def average_slide(
    slide: Region, x_edges: NDArray[np.float64], y_edges: NDArray[np.float64]
) -> Iterator[NDArray[np.uint8]]:
    """Averages a slide over the areas between edges, from above.

    Args:
        slide: The slide.
        x_edges: Bounds of the areas along x, in pixels of the slide from 0 on, ascending.
        y_edges: Their bounds along y.

    Yields:
        RGB, shape (some rows, len(x_edges) - 1, 3); all of them together have len(y_edges) - 1 rows.

    Raises:
        SlideError: unreadable.
    """
    bottom = find_pixel_bounds(y_edges, slide.size[1])[1]
    width, height = (-(-least // tile) * tile for least, tile in zip(BLOCK_PIXELS, slide.tile, strict=True))
    height = min(height, MOST_BAND_PIXELS)
    workers = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    blocks = _lay_blocks(x_edges, slide.size[0], width)
    length = -(-len(blocks) // (RUNS * workers))
    runs = [blocks[first : first + length] for first in range(0, len(blocks), length)]
    done, above = 0, np.empty((0, slide.size[0], 3), np.uint8)
    band: _Band | None = None
    memory = ThreadMemory(np.float32)
    with ThreadPoolExecutor(workers, thread_name_prefix="slide") as pool:
        for top in range(0, bottom, height):
            end = min(top + height, bottom)
            ready = len(y_edges) - 1 if end == bottom else int(np.searchsorted(y_edges, end, side="right")) - 1
            before = band
            band = _Band(
                slide,
                top,
                above=above,
                rows=lay_areas(y_edges[done : ready + 1], top - len(above), end),
                averaged=np.empty((ready - done, len(x_edges) - 1, 3), np.uint8),
                below=np.empty((max(end - int(y_edges[ready]), 0), slide.size[0], 3), np.uint8),
                memory=memory,
            )
            read = pool.map(band.read_run, runs)
            if before:
                yield before.averaged  # while the threads read
            list(read)
            done, above = ready, band.below
    if band:
        yield band.averaged


@dataclass(frozen=True, slots=True)
class _Block:
    """Columns of a slide that are read at once, in every band.

    Attributes:
        left: The first column of pixels.
        first: The first area that begins in it.
        columns: The areas that begin in it, over all pixels from `left` that they cover.
    """

    left: int
    first: int
    columns: Areas


def _lay_blocks(edges: NDArray[np.float64], size: int, width: int) -> list[_Block]:
    """Deals areas to blocks of so many pixels, of which an axis has `size`."""
    blocks = []
    for left in range(0, find_pixel_bounds(edges, size)[1], width):
        first, last = np.searchsorted(edges[:-1], (left, left + width))
        if first < last:
            right = find_pixel_bounds(edges[first : last + 1], size)[1]
            blocks.append(_Block(left, int(first), lay_areas(edges[first : last + 1], left, right)))
    return blocks


@dataclass(frozen=True, slots=True)
class _Band:
    """A band of a slide, which threads read block by block.

    Attributes:
        slide: The slide.
        top: The first row that is read.
        above: The rows above it that its first areas cover too, shape (n, width, 3).
        rows: The areas that end in it, over the rows above and those that are read.
        averaged: Takes the means of these areas, shape (areas along y, areas along x, 3).
        below: Takes its last rows, which the next band needs, shape (n, width, 3).
        memory: For averaging.
    """

    slide: Region
    top: int
    above: NDArray[np.uint8]
    rows: Areas
    averaged: NDArray[np.uint8]
    below: NDArray[np.uint8]
    memory: ThreadMemory[np.float32]

    def read_run(self, run: Sequence[_Block]) -> None:
        """Reads blocks and averages them."""
        for block in run:
            self._read(block)

    def _read(self, block: _Block) -> None:
        left, right = block.left, block.left + block.columns.width
        pixels = self.slide.read(left, self.top, right - left, self.rows.width - len(self.above))
        whole = np.concatenate([self.above[:, left:right], pixels]) if len(self.above) else pixels
        averaged = average_areas(whole, self.rows, block.columns, self.memory)
        self.averaged[:, block.first : block.first + averaged.shape[1]] = averaged
        self.below[:, left:right] = pixels[len(pixels) - len(self.below) :]


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas side by side along one axis.

    Attributes:
        weights: What each takes of the pixels at hand, rows summing to 1, shape (areas, pixels).
        pixels: How many whole pixels each is, where all are the same power of two; else 0.
    """

    weights: csr_array
    pixels: int

    @property
    def width(self) -> int:
        """Pixels at hand."""
        return int(self.weights.shape[1])


def lay_areas(edges: NDArray[np.float64], low: int, high: int) -> Areas:
    """Lays areas over pixels along one axis.

    Args:
        edges: Bounds of the areas in pixels of the whole axis, ascending, shape (n + 1,).
        low: The first pixel at hand.
        high: One past the last pixel at hand; what an area covers beyond [low, high) does not count.
    """
    step = int(edges[1] - edges[0])
    is_whole = step in _EXACT and np.array_equal(edges, np.arange(low, high + 1, step))
    return Areas(_weigh_areas(edges, low, high), step if is_whole else 0)


def average_areas(
    pixels: NDArray[np.uint8], rows: Areas, columns: Areas, memory: ThreadMemory[np.float32]
) -> NDArray[np.uint8]:
    """Averages a picture over areas.

    Args:
        pixels: RGB, shape (height, width, 3).
        rows: Areas along y, over `height` pixels.
        columns: Areas along x, over `width` pixels.
        memory: Of this thread, for what lies between.

    Returns:
        RGB, a pixel an area, contiguous, as whoever hashes or writes pixels expects.
    """
    import cv2

    if rows.pixels and columns.pixels:
        # The same bit for bit: sums of so few whole numbers, and their share, are exact in either way.
        size = (columns.weights.shape[0], rows.weights.shape[0])
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    height, width, channels = pixels.shape
    whole = memory.take(height, width * channels)
    whole[:] = pixels.reshape(height, width * channels)
    lines = (rows.weights @ whole).reshape(-1, width, channels)
    turned = columns.weights @ cv2.transpose(lines).reshape(width, -1)
    averaged = np.rint(turned, out=turned).astype(np.uint8).reshape(-1, len(lines), channels)
    return np.asarray(cv2.transpose(averaged))


_EXACT = frozenset({4, 8, 16, 32})
"""Whole pixels along each axis of which OpenCV's mean is rounded as ours; of 2 it rounds halves up."""


def _weigh_areas(edges: NDArray[np.float64], low: int, high: int) -> csr_array:
    """Returns what areas take of the pixels at hand, rows summing to 1, shape (areas, high - low)."""
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


def find_pixel_bounds(edges: NDArray[np.float64], size: int) -> tuple[int, int]:
    """Returns the first pixel that intervals touch, and one past the last, of an axis of so many pixels."""
    return int(edges[0]), min(int(np.ceil(edges[-1])), size)
