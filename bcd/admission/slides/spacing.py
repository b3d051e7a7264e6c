"""Which spacing a slide is taken to have: what it says of itself, checked against what was given with it.

The slide's own word counts, since it was written by the scanner; a given spacing stands in where it has none. Where
both are there and differ by more than 5 %, one of them is wrong, and a human has to say which.
"""

from __future__ import annotations

from collections.abc import Mapping

from bcd.admission.slides.errors import SlideError
from bcd.patches import MICRONS_PER_PIXEL

FINEST = 0.1
"""µm/px: half of what light resolves; anything below is a mistake, and would make one patch a huge region."""

COARSEST = 20.0
"""µm/px: no scanner's, but what a resolution meant for a printer comes to."""

COARSEST_ENLARGED = 5.0
"""µm/px: a coarser slide would have to be enlarged by more than a quarter, and shows no nuclei to enlarge."""

TOLERANCE = 0.05
"""Relative difference between what a slide says and what was given."""

Spacing = tuple[float, float]
"""Along x and y, in µm/px."""


def read_spacing(properties: Mapping[str, str]) -> Spacing | None:
    """Reads the spacing off OpenSlide's properties, and no other of them; None where they do not say it."""
    try:
        return float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"])
    except (KeyError, ValueError):
        return None


def settle_spacing(own: Spacing | None, given: float | None) -> Spacing:
    """Decides a slide's spacing.

    Args:
        own: What the slide says, in µm/px; one that no scanner has counts as not said.
        given: What was given with the delivery, in µm/px.

    Raises:
        SlideError: no-spacing: neither says it sensibly, they contradict each other, or it is too coarse.
    """
    if given is not None and not FINEST <= given <= COARSEST:
        raise SlideError(
            "no-spacing", f"A spacing of {given:g} µm/px was given; {FINEST:g} to {COARSEST:g} is possible."
        )
    said = None if own is None else " x ".join(f"{value:g}" for value in sorted(set(own)))
    if own is None or not all(FINEST <= value <= COARSEST for value in own):
        if given is None:
            reason = "does not say its spacing" if own is None else f"says {said} µm/px, which no scanner has"
            raise SlideError("no-spacing", f"The slide {reason}: give it, in µm per pixel.")
        spacing = (given, given)
    elif given is not None and any(abs(value / given - 1) > TOLERANCE for value in own):
        raise SlideError(
            "no-spacing", f"The slide says {said} µm/px, but {given:g} was given: find out which is right."
        )
    else:
        spacing = own
    if max(spacing) > COARSEST_ENLARGED:
        message = f"The slide has {max(spacing):g} µm/px; a patch has {MICRONS_PER_PIXEL:g}, and at most"
        raise SlideError("no-spacing", f"{message} {COARSEST_ENLARGED:g} is enlarged: scan it finer.")
    return spacing
