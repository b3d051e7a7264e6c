"""The heatmap: what the champion says of each patch, over the slide it came from.

The colour is the calibrated probability of IDC, the opacity what the patch says: one that is confidently IDC carries
the strongest colour, an uncertain one a veil, and one that is confidently not IDC a tint, so that benign tissue is
still seen as it was stained. Background stays as it is.

`colour_patches` is exact to the pixel and knows no figures; `draw_heatmap` puts its result in a picture;
`overlay` is the same as a layer of its own, which the report lays over the slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.patches import PATCH_PIXELS
from bcd.scoring.mosaic import Mosaic, view_mosaic_by_cell
from bcd.scoring.picture import Picture

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from bcd.scoring.options import ScoreOptions

COLOUR_MAP = "cividis"
"""Even to the eye and read alike with and without red-green blindness (Nuñez, Anderton & Renslow 2018)."""

VEIL = 0.6
"""Opacity of an uncertain patch as a share of that of one that is confidently IDC."""

TINT = 0.15
"""Opacity of a patch that is confidently not IDC, likewise."""

LABELLED = "#d1006c"
"""Colour of the line around the labelled IDC region."""


def colour_probabilities(probability: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Returns the RGB colour (n, 3) of each probability of IDC."""
    from matplotlib import colormaps

    rgba = np.asarray(colormaps[COLOUR_MAP](np.asarray(probability, np.float64)))
    rgb: NDArray[np.uint8] = np.rint(255 * rgba[..., :3]).astype(np.uint8)
    return rgb


def _find_opacities(probability: NDArray[np.floating[Any]], options: ScoreOptions) -> NDArray[np.float32]:
    """Returns the opacity (n,) with which each patch is coloured."""
    from bcd.evaluation.calls import is_confident, is_idc

    clear = np.where(is_idc(probability), 1.0, TINT)
    share = np.where(is_confident(probability, options.outcome.level), clear, VEIL)
    return (options.opacity * share).astype(np.float32)


def blend_heatmap(tissue: NDArray[np.uint8], probability: NDArray[Any], options: ScoreOptions) -> NDArray[np.uint8]:
    """Colours tissue by the probability of IDC.

    Args:
        tissue: RGB, uint8, (n, 50, 50, 3), or any (n, …, 3).
        probability: Calibrated probability of IDC of each, (n,).
        options: Level and opacity.

    Returns:
        RGB, uint8, of the tissue's shape.
    """
    over = (len(probability), *[1] * (tissue.ndim - 2))
    alpha = _find_opacities(probability, options).reshape(*over, 1)
    colour = colour_probabilities(probability).reshape(*over, 3).astype(np.float32)
    blended: NDArray[np.uint8] = np.rint(alpha * colour + (1 - alpha) * tissue).astype(np.uint8)
    return blended


def overlay(probability: NDArray[Any], options: ScoreOptions) -> NDArray[np.uint8]:
    """Returns the colour of each patch as a layer over the tissue: RGBA, uint8, (n, 4)."""
    alpha = np.rint(255 * _find_opacities(probability, options)).astype(np.uint8)
    return np.concatenate([colour_probabilities(probability), alpha[:, None]], axis=1)


def colour_patches(mosaic: Mosaic, scores: pd.DataFrame, options: ScoreOptions) -> NDArray[np.uint8]:
    """Colours each patch's cell of the mosaic by its score; every other pixel stays as it is.

    Args:
        mosaic: The stitched slide.
        scores: Columns x, y, probability; patches of that slide.
        options: Level and opacity.

    Returns:
        RGB, uint8, of the mosaic's shape, pixel on pixel.
    """
    rows, columns = mosaic.cells(scores)
    image = mosaic.image.copy()
    cells = view_mosaic_by_cell(image)
    cells[rows, :, columns] = blend_heatmap(cells[rows, :, columns], scores["probability"].to_numpy(), options)
    return image


def outline(region: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the edges of a region of cells in pixels of the mosaic, (n, 2, 2): line, end, (x, y)."""
    padded = np.pad(region, 1)
    row, column = np.nonzero(padded[:, 1:] != padded[:, :-1])  # between a cell and its right neighbour
    upright = np.stack([column, row - 1, column, row], axis=1)
    row, column = np.nonzero(padded[1:, :] != padded[:-1, :])
    level = np.stack([column - 1, row, column, row], axis=1)
    return np.concatenate([upright, level]).reshape(-1, 2, 2) * PATCH_PIXELS


def draw_heatmap(mosaic: Mosaic, scores: pd.DataFrame, options: ScoreOptions, *, title: str, path: Path) -> None:
    """Writes the heatmap of one slide as WebP, on the same canvas and scale as `draw_slide` does the slide.

    Args:
        mosaic: The stitched slide.
        scores: Columns x, y, label (NA = unlabelled), probability; patches of that slide.
        options: Level, opacity, outline, size.
        title: What is shown, such as the patient and the slide.
        path: The file to write.
    """
    picture = Picture(colour_patches(mosaic, scores, options), title=title, longest_edge=options.longest_edge)
    positive = (scores["label"] == 1).fillna(False).to_numpy(bool)
    if options.outline_labels and positive.any():
        region = np.zeros_like(mosaic.present)
        rows, columns = mosaic.cells(scores)
        region[rows[positive], columns[positive]] = True
        picture.add_lines(outline(region), colour=LABELLED)
        picture.add_key("labelled IDC region", colour=LABELLED)
    tissue = mosaic.image[np.repeat(np.repeat(mosaic.present, PATCH_PIXELS, 0), PATCH_PIXELS, 1)]
    _add_legend(picture, tissue.mean(axis=0), options)
    picture.save(path)


def draw_slide(mosaic: Mosaic, options: ScoreOptions, *, title: str, path: Path) -> None:
    """Writes one slide as WebP, as it was stained."""
    Picture(mosaic.image, title=title, longest_edge=options.longest_edge).save(path)


def _add_legend(picture: Picture, tissue: NDArray[np.floating[Any]], options: ScoreOptions) -> None:
    """Draws the colour bar with the same blending as the patches, over the slide's mean tissue."""
    probability = (np.arange(1000) + 0.5) / 1000
    strip = np.broadcast_to(np.rint(tissue).astype(np.uint8), (1000, 1, 3))
    low, high = 1 - options.outcome.level, options.outcome.level
    picture.add_colour_bar(
        blend_heatmap(strip, probability, options).transpose(1, 0, 2),
        label="calibrated probability of IDC (veiled: not confident)",
        ticks={0.0: "0", low: f"{low:.4g}", 0.5: "0.5", high: f"{high:.4g}", 1.0: "1"},
    )
