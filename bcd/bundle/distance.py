"""How far the detail of patches lies from that of the patches that a bundle was trained on: whether they are as cut.

A distance is in standard deviations of the training patients' means, widened by what a mean of so few patches varies.
On the public set no patient lies beyond 4 of the others in detail; sharpened by the founding kernel each lies 10 to
30 above. How fine the detail is, in grey levels as admission measures it, tells the magnification: at 4 µm/px 227
patients have 32 to 58; 133 of them at 2 µm/px have 13 to 32, at 1 µm/px 5 to 11. At 8 and 16 µm/px they have as much
as at 4: patches of a coarser magnification are not told by how fine their detail is. What is unusual and still as cut
is drift, see `bcd.drift`.
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
"""Detail from which on patches may have been sharpened."""

SHARPENED = 8.0
"""Detail from which on patches were sharpened: none as cut has it."""

MAGNIFIED = 20.0
"""Grey levels of fine detail below which patches were cut finer than 4 µm/px, or are out of focus."""

SMOOTH = 30.0
"""Grey levels of fine detail below which they may have been: no training patient has so little."""

_FEWEST = 5  # patches that say how fine the detail is; a single one may be of bare stroma
SAMPLED = 512
"""Patches that are measured, at most."""


@dataclass(frozen=True)
class Distance:
    """How far the patches of a patient lie from those of the training patients, in standard deviations.

    Attributes:
        detail: Of the mean difference of neighbouring pixels; below 0: less detail.
        fineness: Grey levels of fine detail, the mean over patches; None for fewer than five.
    """

    detail: float
    fineness: float | None = None

    def warnings(self) -> list[str]:
        """Says what of the patches is far from those learned from."""
        told = []
        if self.detail >= FAR:
            told.append(
                f"The detail is far from that of the training patients: {self.detail:.1f} standard deviations more"
                f" (far from {FAR:g} on). The patches may be sharpened, or full of noise."
            )
        if self.fineness is not None and self.fineness < SMOOTH:
            told.append(
                f"The patches have {self.fineness:.0f} grey levels of fine detail, and every training patient has at"
                f" least {SMOOTH:g}: they may be out of focus, or of a finer magnification than 4 µm/px."
            )
        return told

    def require_raw(self, name: str, *, tiled: bool = False) -> None:
        """Refuses patches that are not as they were cut, where the numbers show it.

        Args:
            name: What they are called in the error.
            tiled: Whether bcd cut them itself from a slide of known spacing.

        Raises:
            BcdError: They were sharpened; or, unless bcd cut them, are of a much finer magnification than 4 µm/px.
        """
        if self.detail >= SHARPENED:
            raise BcdError(
                f"{name}: the patches were sharpened before, by all appearances: neighbouring pixels differ by"
                f" {self.detail:.1f} standard deviations more than in the training patients' patches.",
                "Give the patches as they were cut; bcd sharpens them itself.",
            )
        if self.fineness is not None and self.fineness < MAGNIFIED and not tiled:
            raise BcdError(
                f"{name}: the patches have {self.fineness:.0f} grey levels of fine detail ({MAGNIFIED:g} are needed):"
                " they were cut at a finer magnification than 4 µm/px, or are out of focus.",
                "Give patches of 50 x 50 pixels at about 4 µm/px, or the slide itself.",
            )


def measure_distance_from_reference(reference: ReferenceStatistics, pixels: NDArray[np.uint8]) -> Distance:
    """Measures how far raw patches of one patient, uint8 (n, 50, 50, 3), n at least 1, lie from a reference."""
    from bcd.admission.pixels import look_at_pixels

    some = np.ascontiguousarray(pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), SAMPLED)).astype(np.int64)])
    found = measure_patches(some)
    fineness = float(look_at_pixels(some).detail.mean()) if len(some) >= _FEWEST else None
    return Distance(_standardise_feature(reference.features["contrast"], found["contrast"]), fineness)


def _standardise_feature(feature: Feature, values: NDArray[np.float64]) -> float:
    spread = np.hypot(feature.patients.deviation, feature.patches.deviation / np.sqrt(len(values)))
    return float((values.mean() - feature.patients.mean) / max(spread, 1e-9))
