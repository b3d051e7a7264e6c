"""Which spacing a slide is taken to have: what it says of itself, checked against what was given with it.

The slide's own word counts, since it was written by the scanner; a given spacing stands in where it has none. Where
both are there and differ by more than 5 %, one of them is wrong, and a human has to say which. A slide that says a
coarser spacing than scanners have is believed only where a human confirms it: 4.99 may be a mistyped 0.499.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from bcd.admission.slides.errors import SlideError
from bcd.options import Microns
from bcd.patches import FINEST, MICRONS_PER_PIXEL, MOST_COARSE

MOST = 20.0
"""µm/px: no scanner's, but what a resolution meant for a printer comes to."""

TOLERANCE = 0.05
"""Relative difference between what a slide says and what was given."""

Spacing = tuple[float, float]
"""Along x and y, in µm/px."""

_WAYS = "--spacing, or in the column spacing of slides.csv"
_MICRONS = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4, "in": 25_400.0}
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_ATTRIBUTE = re.compile(r"""\b(PhysicalSize[XY](?:Unit)?)\s*=\s*["']([^"']*)["']""")


def read_spacing(properties: Mapping[str, str]) -> Spacing | None:
    """Reads the spacing off OpenSlide's properties, and no other of them; None where they do not say it."""
    try:
        return float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"])
    except (KeyError, ValueError):
        return None


def read_ome_spacing(description: str) -> Spacing | None:
    """Reads PhysicalSizeX and Y off the OME-XML in a TIFF's description; None where it holds none.

    Examples:
        >>> read_ome_spacing('<OME><Image><Pixels PhysicalSizeX="499" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5"/>')
        (0.499, 0.5)
    """
    pixels = _OME_PIXELS.search(description)
    if pixels is None:
        return None
    said = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(pixels[0])}
    try:
        across, down = (
            float(said[f"PhysicalSize{axis}"]) * _MICRONS[_plain_unit(said.get(f"PhysicalSize{axis}Unit", "µm"))]
            for axis in "XY"
        )
    except (KeyError, ValueError):
        return None
    return across, down


def _plain_unit(unit: str) -> str:
    # The micro sign, which may have been read as two characters, and the Greek letter are the same to a reader.
    return unit.replace("Â", "").replace("\N{GREEK SMALL LETTER MU}", "µ")


def settle_spacing(own: Spacing | None, given: Microns | None, coarsest: Microns = MOST_COARSE) -> Spacing:
    """Decides a slide's spacing.

    Args:
        own: What the slide says of its finest level, in µm/px; one that no scanner has counts as not said.
        given: What was given with the delivery, in µm/px.
        coarsest: In µm/px; a slide that says more is refused unless that was given, too.

    Raises:
        SlideError: no-spacing: neither says it sensibly, they contradict each other, or it is too coarse.
    """
    if given is not None and not FINEST <= given <= MOST:
        raise SlideError("no-spacing", f"A spacing of {given:g} µm/px was given; {FINEST:g} to {MOST:g} is possible.")
    said = None if own is None else " x ".join(f"{value:g}" for value in sorted(set(own)))
    if own is None or not all(FINEST <= value <= MOST for value in own):
        if given is None:
            reason = "does not say its spacing" if own is None else f"says {said} µm/px, which no scanner has"
            raise SlideError("no-spacing", f"The slide {reason}: give it, in µm per pixel, with {_WAYS}.")
        spacing = (given, given)
    elif given is not None and any(abs(value / given - 1) > TOLERANCE for value in own):
        raise SlideError(
            "no-spacing", f"The slide says {said} µm/px, but {given:g} was given: find out which is right."
        )
    else:
        spacing = own
    if max(spacing) > MOST_COARSE:
        message = f"The slide has {max(spacing):g} µm/px; a patch has {MICRONS_PER_PIXEL:g}, and at most"
        raise SlideError("no-spacing", f"{message} {MOST_COARSE:g} is enlarged: scan it finer.")
    if given is None and max(spacing) > coarsest:
        raise SlideError(
            "no-spacing",
            f"The slide says {said} µm/px, and {coarsest:g} is the coarsest that is taken on its word: if it is right"
            f" (and not {max(spacing) / 10:g}), confirm it with {_WAYS}, or allow it by `bcd hospital allow`.",
        )
    return spacing
