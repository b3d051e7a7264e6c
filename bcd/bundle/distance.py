"""How far patches lie from those that a bundle was trained on, in stain and in detail.

A distance is in standard deviations of the training patients' means, widened by what a mean of so few patches varies.
On the public set no patient lies beyond 4 of the others; sharpened by the founding kernel each has 10 to 30 times the
deviation in detail, and cut at 1 µm/px instead of 4 each has some -5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.bundle.reference import ReferenceStatistics
from bcd.drift.measure import measure_patches
from bcd.errors import BcdError

if TYPE_CHECKING:
    from bcd.bundle.reference import Feature

FAR = 4.0
"""A distance from which on scores are of tissue unlike any that was learned from."""

SHARPENED = 8.0
"""Detail from which on patches were sharpened: none as cut has it."""

MAGNIFIED = -5.0
"""Detail below which patches were cut finer than 4 µm/px, or are out of focus."""

_MOST = 512  # patches that are measured
_DENSITIES = {"density_red": "red", "density_green": "green", "density_blue": "blue"}


@dataclass(frozen=True)
class Distance:
    """How far the patches of a patient lie from those of the training patients, in standard deviations.

    Attributes:
        stain: Of the mean optical density in the channel that is farthest; below 0: less stain.
        channel: That channel.
        detail: Of the mean difference of neighbouring pixels; below 0: less detail.
    """

    stain: float
    channel: str
    detail: float

    def warnings(self) -> list[str]:
        """Says what of the patches is far from those learned from."""
        told = []
        if abs(self.stain) >= FAR:
            told.append(
                f"The stain is far from that of the training patients: {abs(self.stain):.1f} standard deviations"
                f" {'less' if self.stain < 0 else 'more'} dense in {self.channel} (far from {FAR:g} on)."
            )
        if abs(self.detail) >= FAR:
            why = "out of focus, or of another magnification" if self.detail < 0 else "sharpened, or full of noise"
            told.append(
                f"The detail is far from that of the training patients: {abs(self.detail):.1f} standard deviations"
                f" {'less' if self.detail < 0 else 'more'} (far from {FAR:g} on). The patches may be {why}."
            )
        return told

    def require_raw(self, name: str, *, tiled: bool = False) -> None:
        """Refuses patches that are not as they were cut, where the numbers show it.

        Args:
            name: What they are called in the error.
            tiled: Whether bcd cut them itself from a slide of known spacing.

        Raises:
            BcdError: They were sharpened; or, unless bcd cut them, are of a finer magnification than 4 µm/px.
        """
        if self.detail >= SHARPENED:
            raise BcdError(
                f"{name}: the patches were sharpened before, by all appearances: neighbouring pixels differ by"
                f" {self.detail:.1f} standard deviations more than in the training patients' patches.",
                "Give the patches as they were cut; bcd sharpens them itself.",
            )
        if self.detail <= MAGNIFIED and not tiled:
            raise BcdError(
                f"{name}: the patches show {-self.detail:.1f} standard deviations less detail than those of the"
                " training patients at 4 µm/px: they were cut at a finer magnification, or are out of focus.",
                "Give patches of 50 x 50 pixels at about 4 µm/px, or the slide itself.",
            )


def measure_distance(reference: ReferenceStatistics, pixels: NDArray[np.uint8]) -> Distance:
    """Measures how far raw patches of one patient, uint8 (n, 50, 50, 3), n at least 1, lie from a reference."""
    some = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), _MOST)).astype(np.int64)]
    found = measure_patches(np.ascontiguousarray(some))
    off = {name: _standardise(reference.features[name], found[name]) for name in (*_DENSITIES, "contrast")}
    farthest = max(_DENSITIES, key=lambda name: abs(off[name]))
    return Distance(stain=off[farthest], channel=_DENSITIES[farthest], detail=off["contrast"])


def _standardise(feature: Feature, values: NDArray[np.float64]) -> float:
    spread = np.hypot(feature.patients.deviation, feature.patches.deviation / np.sqrt(len(values)))
    return float((values.mean() - feature.patients.mean) / max(spread, 1e-9))
