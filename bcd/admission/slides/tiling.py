"""A slide cut into patches: found tissue only, averaged to 4 µm/px, on the 50-px grid from the slide's corner.

What is left at the right and lower edge and does not fill a patch is dropped: admission refuses such pieces too.

Examples:
    >>> for tiles in tile_slide(Path("8867_idx5.svs"), spacing=None):
    ...     tiles.pixels.shape  # (n, 50, 50, 3)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcd.admission.slides.averaging import average_areas, average_slide, find_pixel_bounds, lay_areas
from bcd.admission.slides.errors import SlideError
from bcd.admission.slides.memory import ThreadMemory
from bcd.admission.slides.reading import Region, open_slide
from bcd.options import Microns
from bcd.patches import MICRONS_PER_PIXEL, MOST_COARSE, PATCH_PIXELS
from bcd.store.frames import Frame

LEAST_EXCESS = 8
"""A pixel is stained if red and blue both exceed green by as many grey levels."""

LEAST_SHARE = 0.05
"""A patch holds tissue if this share of its pixels is stained."""


def measure_tissue_shares(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the share of stained pixels of each patch.

    Args:
        patches: RGB at 4 µm/px, shape (..., height, width, 3).

    Returns:
        From 0 to 1, shape (...).
    """
    red, green, blue = patches[..., 0], patches[..., 1], patches[..., 2]
    lower = np.minimum(red, blue)
    stained = (lower > green) & (lower - green >= LEAST_EXCESS)  # the first keeps unsigned numbers from wrapping
    return np.asarray(stained.mean(axis=(-2, -1)))


def holds_tissue(patches: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns whether each patch holds tissue; see `measure_tissue_shares`."""
    return measure_tissue_shares(patches) >= LEAST_SHARE


__all__ = ["SlideError", "Tiles", "cut_patches", "tile_slide"]

MOST_PATCHES = 400
"""Patches along either side of a slide: 80 mm, where a glass slide has 75."""


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
    is_empty = True
    with open_slide(path, spacing, coarsest) as slide:
        across, down = _lay_grid(slide)
        row, pixels = 0, np.empty((0, across.patches * PATCH_PIXELS, 3), np.uint8)
        for more in average_slide(slide, across.edges(0, across.patches), down.edges(0, down.patches)):
            pixels = np.concatenate([pixels, more])
            whole = len(pixels) // PATCH_PIXELS
            tiles = _keep_tissue(_cut_grid(pixels[: whole * PATCH_PIXELS]), row, slide.frame)
            row, pixels = row + whole, pixels[whole * PATCH_PIXELS :]
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
        cut = [_average_block(slide, across, down, (x, x + 1), (y, y + 1))[0] for x, y in places.tolist()]
    return np.concatenate(cut)


def _average_block(
    slide: Region, across: _Axis, down: _Axis, columns: tuple[int, int], rows: tuple[int, int]
) -> NDArray[np.uint8]:
    """Reads the patches of some columns and rows of the grid, shape (rows, columns, 50, 50, 3)."""
    x_edges, y_edges = across.edges(*columns), down.edges(*rows)
    left, right = find_pixel_bounds(x_edges, across.size)
    top, bottom = find_pixel_bounds(y_edges, down.size)
    pixels = slide.read(left, top, right - left, bottom - top)
    areas = lay_areas(y_edges, top, bottom), lay_areas(x_edges, left, right)
    return _cut_grid(average_areas(pixels, *areas, ThreadMemory(np.float32)))


def _cut_grid(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cuts a picture of whole patches along the grid, shape (rows, columns, 50, 50, 3)."""
    height, width, channels = pixels.shape
    shape = height // PATCH_PIXELS, PATCH_PIXELS, width // PATCH_PIXELS, PATCH_PIXELS, channels
    return pixels.reshape(shape).swapaxes(1, 2)


def _keep_tissue(patches: NDArray[np.uint8], first: int, frame: Frame) -> Tiles:
    """Keeps the patches that hold tissue, of rows of the grid from the `first` on."""
    rows, columns = np.nonzero(holds_tissue(patches))
    xs, ys = columns * PATCH_PIXELS + 1, (rows + first) * PATCH_PIXELS + 1
    return Tiles(xs, ys, patches[rows, columns], frame)
