"""What a patch's pixels show, seen cheaply and for many patches at a time: blank glass, blur, ink, colour.

Detail and colour are measured in blocks of a patch, and the block with most of it counts, so that a sliver of tissue
on glass is seen. The limits were set by eye on the 16,849 whole patches of the development deliveries. Of the seven
below 4, five are bare glass or shadow, one is ink and one the blurred edge of something pink; below 12 lie another
eight, all out of focus; tissue in focus begins at 16.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcd.admission.rules import FLAGS, Refusal
from bcd.store.spool import DIGEST_BYTES

BLANK_DETAIL = 4.0
"""Detail, in grey levels, below which a patch shows nothing."""

BLUR_DETAIL = 12.0
"""Detail below which a patch is out of focus."""

SHARP_DETAIL = 66.0
"""Detail above which a patch was sharpened: one in a thousand has more as cut, every other one sharpened."""

GREY_SPREAD = 15.0
"""Largest difference between red, green and blue in a block of a blank patch; stain has more, even blurred."""

PEN_SPREAD = 15.0
"""The same of a whole patch's mean, from which a colour that is not stain's is ink's: haematoxylin and eosin take
more of green than of red, so where more of red is missing, a marker has been."""

STAIN_DISTANCE = 4.0
"""A slide is far from the others where its mean optical density differs by so many of their standard deviations."""

MIN_SLIDES = 20
"""Slides that must be known before any can be called far from them."""

FLAG_BIT = {flag: 1 << place for place, flag in enumerate(FLAGS)}
"""The bit of each flag in a patch's flags."""


class PixelMeasures(NamedTuple):
    """What n patches show.

    Attributes:
        detail: (n,) the Laplacian of green in grey levels (the mean of its positive half, times two) in the block of
            12 x 10 px with most of it.
        colours: (n, 3) uint8, the mean red, green and blue.
        spread: (n,) the difference of the strongest and the weakest channel, in the block of 10 x 10 px with most.
    """

    detail: NDArray[np.float32]
    colours: NDArray[np.uint8]
    spread: NDArray[np.int16]


def look_at_pixels(patches: NDArray[np.uint8]) -> PixelMeasures:
    """Measures detail and colour of patches (n, 50, 50, 3) uint8 RGB, contiguous."""
    import cv2

    n, edge = patches.shape[:2]
    column = patches.reshape(n * edge, edge, 3)  # one picture of n patches: few calls for many patches
    blocks: NDArray[np.uint8] = cv2.resize(column, (5, 5 * n), interpolation=cv2.INTER_AREA)
    colours = cv2.resize(blocks, (1, n), interpolation=cv2.INTER_AREA).reshape(n, 3)
    spread = _channel_spread(blocks.reshape(n, 25, 3)).max(axis=1)
    green = cv2.extractChannel(column, 1)
    bends: NDArray[np.uint8] = cv2.Laplacian(green, cv2.CV_8U, scale=4).reshape(n, edge, edge)
    inner = np.ascontiguousarray(bends[:, 1:-1]).reshape(n * (edge - 2), edge)  # without the seams between patches
    detail: NDArray[np.uint8] = cv2.resize(inner, (5, 4 * n), interpolation=cv2.INTER_AREA).reshape(n, 20)
    return PixelMeasures(detail.max(axis=1).astype(np.float32) / 2, colours, spread)


def hash_delivered_pixels(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the sha256 of each patch's pixels, in the order of rows, columns, channels however they lie in memory.

    Args:
        patches: RGB, shape (n, 50, 50, 3).

    Returns:
        uint8, shape (n, 32).
    """
    digests = (hashlib.sha256(patch.data).digest() for patch in np.ascontiguousarray(patches))
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(patches), DIGEST_BYTES)


def find_blank(shown: PixelMeasures) -> NDArray[np.bool_]:
    """Tells which patches show nothing: no detail, and no colour of stain or ink."""
    blank: NDArray[np.bool_] = (shown.detail < BLANK_DETAIL) & (shown.spread <= GREY_SPREAD)
    return blank


def _channel_spread(colours: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Returns the difference between the strongest and the weakest channel of colours, (…, 3) to (…)."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    strongest = np.maximum(np.maximum(red, green), blue)  # many times faster than over an axis of three
    weakest = np.minimum(np.minimum(red, green), blue)
    return np.subtract(strongest, weakest, dtype=np.int16)


def blank_refusal(colour: NDArray[np.uint8]) -> Refusal:
    """Returns the refusal of a blank patch."""
    red, green, blue = (int(value) for value in colour)
    if max(red, green, blue) <= 1:
        said = "The patch is black: its values may have been scaled to 0..1 before it was saved."
        return Refusal("blank", said)
    return Refusal("blank", f"The patch shows nothing: all of it is about red {red}, green {green}, blue {blue}.")


def flag_delivered_pixels(shown: PixelMeasures) -> NDArray[np.uint8]:
    """Returns the flags `blur`, `sharp` and `pen` of patches, as bits (n,) of FLAG_BIT."""
    blur, sharp = shown.detail < BLUR_DETAIL, shown.detail > SHARP_DETAIL
    pen = (shown.colours[:, 1] >= shown.colours[:, 0]) & (_channel_spread(shown.colours) >= PEN_SPREAD)
    bits = blur * FLAG_BIT["blur"] + sharp * FLAG_BIT["sharp"] + pen * FLAG_BIT["pen"]
    flags: NDArray[np.uint8] = bits.astype(np.uint8)
    return flags


def optical_density(colours: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns the optical density -log10(I / 255) of colours 0 to 255, black taken as 1."""
    density: NDArray[np.float64] = -np.log10(np.maximum(colours, 1) / 255)
    return density


def far_slides(known: NDArray[np.float64], slides: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tells which slides have a stain far from those of earlier batches.

    Args:
        known: Mean optical density of red, green and blue of the slides admitted before, (m, 3).
        slides: The same of the slides that arrive, (n, 3).

    Returns:
        (n,); all False where fewer than MIN_SLIDES are known.
    """
    if len(known) < MIN_SLIDES:
        return np.zeros(len(slides), bool)
    spread = np.maximum(known.std(axis=0), 0.01)
    far: NDArray[np.bool_] = (np.abs(slides - known.mean(axis=0)) / spread > STAIN_DISTANCE).any(axis=1)
    return far
