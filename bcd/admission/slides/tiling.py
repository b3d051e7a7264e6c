"""A slide cut into patches: found tissue only, averaged to 4 µm/px, on the 50-px grid from the slide's corner.

A slide is read in blocks of about two million pixels, a few at a time, so memory does not grow with it. A band of
blocks is as wide as the slide at 4 µm/px, which is bounded by the longest glass slide, and is yielded before the next
is read. Blocks are narrow and high, because neighbours across share decoded tiles in OpenSlide's cache.

What is left at the right and lower edge and does not fill a patch is dropped: admission refuses such pieces too.

Examples:
    >>> for tiles in tile_slide(Path("8867_idx5.svs"), spacing=None):
    ...     tiles.pixels.shape  # (n, 50, 50, 3)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcd.admission.slides.errors import SlideError
from bcd.admission.slides.reading import Region, open_slide
from bcd.options import Microns
from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS
from bcd.store.frames import Frame
from bcd.store.hospitals import MOST_COARSE

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


LEAST_EXCESS = 8
"""A pixel is stained if red and blue both exceed green by as many grey levels."""

LEAST_SHARE = 0.05
"""A patch holds tissue if this share of its pixels is stained."""


def measure_tissue_shares(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the share of stained pixels of each patch.

    Args:
        patches: RGB at 4 µm/px, shape (n, height, width, 3).

    Returns:
        From 0 to 1, shape (n,).
    """
    red, green, blue = patches[..., 0], patches[..., 1], patches[..., 2]
    lower = np.minimum(red, blue)
    stained = (lower > green) & (lower - green >= LEAST_EXCESS)  # the first keeps unsigned numbers from wrapping
    return np.asarray(stained.mean(axis=(1, 2)))


def holds_tissue(patches: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns whether each patch holds tissue, shape (n,); see `measure_tissue_shares`."""
    return measure_tissue_shares(patches) >= LEAST_SHARE


__all__ = ["SlideError", "Tiles", "cut_patches", "tile_slide"]

BLOCK_PIXELS = 1 << 21
"""About as many pixels of the slide are read in one go (never less than one patch): 32 MB while they are averaged."""

BAND_PIXELS = 4096
"""A block is about as high, in pixels of the slide."""

BAND_PATCHES = 8
"""A block is at most as high, in patches."""

MOST_PATCHES = 400
"""Patches along either side of a slide: 80 mm, where a glass slide has 75."""

MOST_WORKERS = 4
"""Threads that read a slide; more would need more memory, and hardly help beyond the decoding of JPEG."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Some patches of a slide, in the order of y, then x.

    Attributes:
        xs: Column of each patch's upper left pixel at 4 µm/px, counted from 1, shape (n,).
        ys: Row of the same, shape (n,).
        pixels: RGB, shape (n, 50, 50, 3).
        frame: How the slide's pixels and patches lie to each other.
    """

    xs: NDArray[np.int64]
    ys: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    frame: Frame


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the grid: `size` pixels of the slide, cut into `patches` of `step` pixels each."""

    size: int
    patches: int
    step: float

    def edges(self, first: int, last: int) -> NDArray[np.float64]:
        """Returns the bounds, in pixels of the slide, of the pixels of patches from `first` to before `last`."""
        pixels = np.arange(first * PATCH_PIXELS, last * PATCH_PIXELS + 1, dtype=np.float64)
        return pixels * (self.step / PATCH_PIXELS)

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Cuts the patches into runs of `length`."""
        return [(first, min(first + length, self.patches)) for first in range(0, self.patches, length)]


def tile_slide(path: Path, spacing: Microns | None, coarsest: Microns = MOST_COARSE) -> Iterator[Tiles]:
    """Cuts a slide into patches, in the order of y, then x.

    Args:
        path: The slide, or a plain picture of one.
        spacing: In µm per pixel, for a slide that does not say it, or to confirm what it says.
        coarsest: In µm per pixel; a slide whose finest level says more is refused unless `spacing` confirms it.

    Raises:
        SlideError: It cannot be admitted; damage may show only after patches have been yielded, which are then not to
            be admitted either.
        UnavailableError: OpenSlide is not installed.
    """
    with open_slide(path, spacing, coarsest) as slide:
        across, down = _lay_grid(slide)
        height = int(np.clip(BAND_PIXELS // down.step, 1, BAND_PATCHES))
        width = max(1, int(BLOCK_PIXELS // (height * down.step * across.step)))
        workers = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        is_empty = True
        with ThreadPoolExecutor(workers, thread_name_prefix="slide") as pool:
            for rows in down.spans(height):
                blocks = pool.map(
                    lambda columns, rows=rows: _cut_tiles(slide, across, down, columns, rows), across.spans(width)
                )
                tiles = _join_tiles(list(blocks))
                if len(tiles.xs):
                    is_empty = False
                    yield tiles
    if is_empty:
        raise SlideError("no-tissue", "No patch of the slide holds stained tissue.")


def _lay_grid(slide: Region) -> tuple[_Axis, _Axis]:
    patch = PATCH_PIXELS * MICRONS_PER_PIXEL
    across, down = (
        # The little that is added keeps a whole patch whole that rounding of the spacing has made short.
        _Axis(size, int(extent / patch + 1e-6), patch / spacing)
        for size, extent, spacing in zip(slide.size, slide.extent, slide.spacing, strict=True)
    )
    if max(across.patches, down.patches) > MOST_PATCHES:
        reach = max(slide.extent) / 1000
        raise SlideError("absurd-size", f"The slide would be {reach:,.0f} mm long: its spacing must be wrong.")
    if min(across.patches, down.patches) < 1:
        raise SlideError("no-tissue", "The slide is smaller than one patch.")
    return across, down


def cut_patches(path: Path, xs: ArrayLike, ys: ArrayLike) -> NDArray[np.uint8]:
    """Cuts single patches of a slide again, whatever they show; to a grey level they are those of `tile_slide`.

    Args:
        path: The slide, which says its spacing.
        xs: Column of each patch's upper left pixel at 4 µm/px, counted from 1, shape (n,).
        ys: Row of the same.

    Returns:
        RGB, shape (n, 50, 50, 3).

    Raises:
        SlideError: It cannot be read.
        UnavailableError: OpenSlide is not installed.
    """
    with open_slide(path, None) as slide:
        across, down = _lay_grid(slide)
        places = (np.stack([np.asarray(xs), np.asarray(ys)], axis=1) - 1) // PATCH_PIXELS
        cut = [_average_block(slide, across, down, (x, x + 1), (y, y + 1)) for x, y in places.tolist()]
    return np.concatenate(cut)


def _cut_tiles(slide: Region, across: _Axis, down: _Axis, columns: tuple[int, int], rows: tuple[int, int]) -> Tiles:
    """Reads the patches of some columns and rows of the grid, and keeps those with tissue."""
    patches = _average_block(slide, across, down, columns, rows)
    kept = holds_tissue(patches)
    ys, xs = np.mgrid[rows[0] : rows[1], columns[0] : columns[1]].reshape(2, -1)[:, kept] * PATCH_PIXELS + 1
    return Tiles(xs, ys, patches[kept], slide.frame)


def _average_block(
    slide: Region, across: _Axis, down: _Axis, columns: tuple[int, int], rows: tuple[int, int]
) -> NDArray[np.uint8]:
    """Reads the patches of some columns and rows of the grid, row by row, shape (n, 50, 50, 3)."""
    x_edges, y_edges = across.edges(*columns), down.edges(*rows)
    left, right = _find_pixel_bounds(x_edges, across.size)
    top, bottom = _find_pixel_bounds(y_edges, down.size)
    pixels = slide.read(left, top, right - left, bottom - top)
    averaged = average_areas(pixels, area_weights(y_edges, top, bottom), area_weights(x_edges, left, right))
    n = (rows[1] - rows[0], columns[1] - columns[0])
    patches = averaged.reshape(n[0], PATCH_PIXELS, n[1], PATCH_PIXELS, 3).swapaxes(1, 2)
    return patches.reshape(-1, PATCH_PIXELS, PATCH_PIXELS, 3)


def _find_pixel_bounds(edges: NDArray[np.float64], size: int) -> tuple[int, int]:
    """Returns the first pixel that intervals touch, and one past the last."""
    return int(edges[0]), min(int(np.ceil(edges[-1])), size)


def _join_tiles(blocks: list[Tiles]) -> Tiles:
    xs = np.concatenate([block.xs for block in blocks])
    ys = np.concatenate([block.ys for block in blocks])
    order = np.lexsort((xs, ys))
    pixels = np.concatenate([block.pixels for block in blocks])
    return Tiles(xs[order], ys[order], pixels[order], blocks[0].frame)
