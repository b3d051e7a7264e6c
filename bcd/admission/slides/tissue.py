"""Which patches hold tissue: those with enough pixels of the colours of haematoxylin and eosin.

Both stains take out green before red and blue, so a stained pixel has less green than red and than blue. Glass, air,
coverslip edges, dust and black ink take all three alike; blue, green, red and orange ink leave another one lowest. So
`min(red, blue) - green` is high on stained tissue and near zero or below on everything else.

Evidence, on the 16,849 whole patches of the development deliveries, all of which the public set's authors kept as
tissue: 99.3 % pass, and so does every patch with a carcinoma. What fails is coverslip edges, ink, out-of-focus
glass, and fat or inked fibres with next to no stain. On 110 of those patients that show glass, 90 % of its pixels
have an excess of at most 7, on half of the patients at most 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_EXCESS = 8
"""A pixel is stained if red and blue both exceed green by as many grey levels."""

LEAST_SHARE = 0.05
"""A patch holds tissue if this share of its pixels is stained."""


def stained_share(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
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
    """Returns whether each patch holds tissue, shape (n,); see `stained_share`."""
    return stained_share(patches) >= LEAST_SHARE
