"""The frame that slide and heatmap share: title above, image at exact pixels, scale bar and legend below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bcd.files import SOFTWARE
from bcd.options import Pixels
from bcd.patches import MICRONS_PER_PIXEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_DPI = 100
_INK = "#1b1b1b"
_QUALITY = 85
_NARROWEST = 900  # room for the legend under a narrow slide
_SMALLEST = 1000  # a slide of a few patches is enlarged about to this
_LENGTHS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)  # of the scale bar, in µm


class Picture:
    """One image in its frame; images of the same shape lie at the same place, at the same scale.

    Args:
        image: RGB, uint8, (height, width, 3), about 4 µm per pixel.
        title: The line above it.
        longest_edge: The image is reduced to this many pixels at its longest edge; a small one is enlarged by
            a whole number.
    """

    def __init__(self, image: NDArray[np.uint8], *, title: str, longest_edge: Pixels) -> None:
        from matplotlib.figure import Figure

        shown, self.scale = fit_slide_picture(image, longest_edge)
        self._height, self._width = shown.shape[:2]
        self._unit: float = max(self._width, _NARROWEST) / 100  # lengths below are in this
        total = max(self._width, _NARROWEST) + 2 * self._px(2)
        self._left = (total - self._width) // 2
        self._above, self._below = self._px(6), self._px(10.5)
        self._size = total, self._height + self._above + self._below
        self._figure = Figure(figsize=(self._size[0] / _DPI, self._size[1] / _DPI), dpi=_DPI, facecolor="white")
        self._axes = self._add_axes(self._left, self._above, self._width, self._height)
        self._axes.imshow(shown, interpolation="none", aspect="auto")
        self._axes.axis("off")
        self._write(
            self._px(2),
            self._above - self._px(2),
            title,
            size=min(2.2, 145 / max(len(title), 1)),
            weight="bold",
            va="baseline",
        )
        self._add_scale_bar(image.shape[1])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the image within the picture, in pixels."""
        return self._left, self._above, self._left + self._width, self._above + self._height

    def add_lines(self, lines: NDArray[np.int64], *, colour: str) -> None:
        """Draws lines (n, 2, 2) given in pixels of the image before scaling."""
        from matplotlib.collections import LineCollection

        ends = lines * self.scale - 0.5
        width = max(self._unit * 0.22, 1.0) * 72 / _DPI
        self._axes.add_collection(LineCollection(list(ends), colors="white", linewidths=2 * width, capstyle="round"))
        self._axes.add_collection(LineCollection(list(ends), colors=colour, linewidths=width, capstyle="round"))

    def add_key(self, text: str, *, colour: str) -> None:
        """Explains what lines of that colour mean, beneath the scale bar."""
        top = self._above + self._height + self._px(8)
        axes = self._add_axes(self._px(2), top, self._px(4), self._px(1))
        axes.axhline(0.5, color=colour, linewidth=max(self._unit * 0.3, 1.0) * 72 / _DPI)
        axes.axis("off")
        self._write(self._px(7), top + self._px(0.5), text, size=1.7, va="center")

    def add_colour_bar(self, strip: NDArray[np.uint8], *, label: str, ticks: Mapping[float, str]) -> None:
        """Draws a strip (1, n, 3) that runs from 0 to 1, with its label and ticks, at the lower right."""
        width = self._px(48)
        left, top = self._size[0] - self._px(3) - width, self._above + self._height + self._px(4)
        axes = self._add_axes(left, top, width, self._px(2.2))
        axes.imshow(strip, extent=(0, 1, 0, 1), aspect="auto", interpolation="nearest")
        axes.set_yticks([])
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.tick_params(labelsize=self._points(1.6), length=self._points(0.6), pad=self._points(0.4))
        axes.tick_params(labelcolor=_INK, color=_INK)
        for mark in axes.get_xticklabels()[:1] + axes.get_xticklabels()[-2:-1]:
            mark.set_horizontalalignment("right")  # away from its near neighbour
        for mark in axes.get_xticklabels()[1:2] + axes.get_xticklabels()[-1:]:
            mark.set_horizontalalignment("left")
        self._write(left, top - self._px(0.8), label, size=1.7, va="baseline")

    def save(self, path: Path) -> None:
        """Writes the picture as what its name ends with; it says what drew it, so that it becomes no slide."""
        from PIL import ExifTags, Image

        said = Image.Exif()
        said[ExifTags.Base.Software] = SOFTWARE
        self._figure.savefig(path, dpi=_DPI, pil_kwargs={"quality": _QUALITY, "exif": said})

    def _add_scale_bar(self, full_width: int) -> None:
        microns = pick_scale_bar(full_width)
        width = round(microns / MICRONS_PER_PIXEL * self.scale)
        top = self._above + self._height + self._px(4)
        axes = self._add_axes(self._left, top, width, self._px(0.7))
        axes.set_facecolor(_INK)
        axes.set_xticks([])
        axes.set_yticks([])
        text = f"{microns / 1000:g} mm" if microns >= 1000 else f"{microns} µm"
        self._write(self._left, top - self._px(0.8), text, size=1.7, va="baseline")

    def _add_axes(self, left: int, top: int, width: int, height: int) -> Axes:
        total_width, total_height = self._size
        return self._figure.add_axes(
            (
                left / total_width,
                1 - (top + height) / total_height,
                width / total_width,
                height / total_height,
            )
        )

    def _write(self, left: int, top: int, text: str, *, size: float, va: str, weight: str = "normal") -> None:
        total_width, total_height = self._size
        self._figure.text(
            left / total_width,
            1 - top / total_height,
            text,
            fontsize=self._points(size),
            color=_INK,
            va=va,
            weight=weight,
            parse_math=False,
        )

    def _px(self, units: float) -> int:
        return round(units * self._unit)

    def _points(self, units: float) -> float:
        return units * self._unit * 72 / _DPI


def pick_scale_bar(width: int) -> int:
    """Returns the length of the scale bar of an image of that width in pixels, in µm: about a quarter of it."""
    return max((each for each in _LENGTHS if each / MICRONS_PER_PIXEL <= width / 4), default=_LENGTHS[0])


def fit_slide_picture(image: NDArray[np.uint8], longest_edge: Pixels) -> tuple[NDArray[np.uint8], float]:
    """Returns the image at the size in which it is shown, and the factor by which it was scaled."""
    import cv2

    longest = max(image.shape[:2])
    if longest > longest_edge:
        scale = longest_edge / longest
        size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale
    factor = max(min(_SMALLEST, longest_edge) // longest, 1)
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1), float(factor)
