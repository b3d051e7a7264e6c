"""One slide as the report shows it: its picture, a layer of colours over it, and its scores as compact data.

The picture is embedded once and shown twice, plain and under the colours. Scores are
the stored ones, bit for bit, so that what the report's script counts is what `scores.parquet` says.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.evaluation.policy.context import CONTEXT
from bcd.pages import embed_picture_in_page
from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS, SlideId
from bcd.scoring.heatmap import outline, overlay
from bcd.scoring.mosaic import BACKGROUND, view_mosaic_by_cell
from bcd.scoring.picture import pick_scale_bar

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.scoring.mosaic import Mosaic
    from bcd.scoring.options import ScoreOptions

_QUALITY, _FINE = 62, 90
_SMALL = 500_000  # pixels of a picture that is shown enlarged
_TINY = 100  # pixels of the longest edge, below which nothing is reduced
_LONGEST = 8000  # a browser decodes the whole picture
_CRISP, _SHARP, _LAYER = 8, 600, 1200  # pixels of a cell, of the layer, at most: printers blur what they enlarge


@dataclass(frozen=True, eq=False)
class ShownSlide:
    """A slide in the report.

    Attributes:
        slide: The slide.
        width: Of the mosaic, in its pixels.
        height: Likewise.
        picture: The slide as an address that shows it; empty where the report has no pictures.
        scale: Size of the picture as a share of the mosaic, in each direction; 1 where no pixel is lost.
        colours: The layer of colours as an address that shows it, a few pixels a cell.
        labelled: The line around the labelled IDC region as an SVG path in cells; empty where there is none.
        tissue: Mean colour of what lies under the colours, as CSS says it.
        bar: Length of the scale bar in µm.
        data: What the script reads: the cells of the patches, their probabilities and labels, and where cell 0 lies.
    """

    slide: SlideId
    width: int
    height: int
    picture: str
    scale: float
    colours: str
    labelled: str
    tissue: str
    bar: int
    data: dict[str, Any]

    @property
    def bar_share(self) -> float:
        """Length of the scale bar as a share of the slide's width."""
        return self.bar / MICRONS_PER_PIXEL / self.width


def show_slide(
    mosaic: Mosaic, scores: pd.DataFrame, options: ScoreOptions, *, complete: bool, budget: int
) -> ShownSlide:
    """Makes a slide ready for the report.

    Args:
        mosaic: The stitched slide.
        scores: Columns slide, x, y, label (NA = unlabelled), probability, context_probability; patches of that slide.
        options: Level, opacity, outline, pictures.
        complete: Whether every patch with tissue is here, so that something may be said of neighbours.
        budget: Bytes that its picture may have; a larger one is reduced.
    """
    rows, columns = mosaic.cells(scores)
    probability = scores["probability"].to_numpy(np.float64)
    context = scores[CONTEXT].to_numpy(np.float64)
    label = scores["label"].fillna(-1).to_numpy(np.int8)
    longest = max(mosaic.present.shape)
    enlarged = max(min(max(_CRISP, _SHARP // longest), _LAYER // longest), 1)
    layer = np.zeros((*mosaic.present.shape, 4), np.uint8)
    layer[rows, columns] = overlay(probability, options)
    region = np.zeros_like(mosaic.present)
    region[rows, columns] = options.outline_labels & (label == 1)
    height, width = mosaic.image.shape[:2]
    picture, scale, tissue = "", 1.0, _write_css_colour(np.array(BACKGROUND))
    if options.pictures != "none":
        encoded, scale = _reduce_to_budget(mosaic.image, budget)
        picture, tissue = embed_picture_in_page(encoded, "webp"), _mean_colour(mosaic, rows, columns)
    return ShownSlide(
        slide=SlideId(str(scores["slide"].iloc[0])),
        width=width,
        height=height,
        picture=picture,
        scale=scale,
        colours=embed_heatmap_layer(layer.repeat(enlarged, 0).repeat(enlarged, 1)),
        labelled=_draw_svg_path(outline(region)),
        tissue=tissue,
        bar=pick_scale_bar(width),
        data={
            "rows": mosaic.present.shape[0],
            "columns": mosaic.present.shape[1],
            "column": mosaic.column,
            "row": mosaic.row,
            "enlarged": enlarged,
            "complete": complete,
            "cells": _pack_layer_values(rows * mosaic.present.shape[1] + columns, "<u4"),
            "probability": _pack_layer_values(probability, "<f8"),
            "context": _pack_layer_values(context, "<f8") if has_context(scores) else "",
            "label": _pack_layer_values(label, "<i1"),
        },
    )


def has_context(scores: pd.DataFrame) -> bool:
    """Whether any of the patches has a probability in context."""
    return bool(scores[CONTEXT].notna().any())


def embed_heatmap_layer(layer: NDArray[np.uint8]) -> str:
    """Returns RGBA (height, width, 4) as the address that shows it, exact in each pixel."""
    import cv2

    return embed_picture_in_page(
        cv2.imencode(".png", cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes(),
        "png",
    )


def embed_slide_photograph(image: NDArray[np.uint8]) -> str:
    """Returns a small picture, RGB (height, width, 3), as the address that shows it."""
    return embed_picture_in_page(_encode_webp(image, _FINE), "webp")


def _mean_colour(mosaic: Mosaic, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> str:
    """The mean colour of the tissue, of at most about a thousand patches, as CSS says it."""
    some = slice(None, None, len(rows) // 1000 + 1)
    return _write_css_colour(view_mosaic_by_cell(mosaic.image)[rows[some], :, columns[some]].mean(axis=(0, 1, 2)))


def _write_css_colour(colour: NDArray[np.generic]) -> str:
    return "rgb({:.0f} {:.0f} {:.0f})".format(*colour.tolist())


def _encode_webp(image: NDArray[np.uint8], quality: int) -> bytes:
    import cv2

    encoded = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return bytes(encoded.tobytes())


def _reduce_to_budget(image: NDArray[np.uint8], budget: int) -> tuple[bytes, float]:
    """Encodes an image in at most `budget` bytes, reduced as little as that needs."""
    import cv2

    # A pixel of tissue takes a fifth of a byte or more: what cannot fit is not encoded.
    height, width = image.shape[:2]
    quality = _FINE if image[..., 0].size <= _SMALL else _QUALITY
    scale = min(1.0, _LONGEST / max(image.shape[:2]), (5 * budget / image[..., 0].size) ** 0.5)
    while True:
        if scale < 1:
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        encoded = _encode_webp(image, quality)
        if len(encoded) <= budget or max(image.shape) <= _TINY:
            return encoded, scale
        scale *= min(0.95, 0.98 * (budget / len(encoded)) ** 0.5)


def _draw_svg_path(lines: NDArray[np.int64]) -> str:
    """Returns lines of the mosaic's pixels as an SVG path in cells."""
    cells = (lines // PATCH_PIXELS).tolist()
    return "".join(f"M{x} {y}{'h1' if y == end else 'v1'}" for (x, y), (_, end) in cells)


def _pack_layer_values(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode("ascii")
