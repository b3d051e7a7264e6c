"""Made-up patches to try a bundle on: drawn tissue, noise and flat colour, of nobody.

They are the example of its input in the registry and what an exported file is compared on.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS

_SHAPE = (PATCH_PIXELS, PATCH_PIXELS, 3)


def draw_bundle_probes(n: int) -> NDArray[np.uint8]:
    """Draws `n` raw patches, (n, 50, 50, 3) uint8, always the same: half of them tissue, the others noise.

    The noise is of every contrast, which saturates the sharpening everywhere, and flat black and white are in it.
    """
    tissue = draw_tissue_probes(n - n // 2)
    rng = np.random.default_rng(1)
    contrast = np.linspace(0, 1, n - len(tissue))[:, None, None, None]
    noise = np.clip(128 + contrast * rng.normal(0, 128, (len(contrast), *_SHAPE)), 0, 255).astype(np.uint8)
    noise[1:2], noise[2:3] = 0, 255
    return np.concatenate([tissue, noise])


def draw_tissue_probes(n: int) -> NDArray[np.uint8]:
    """Draws at most `n` raw patches of tissue, (n, 50, 50, 3) uint8, of both labels in turn; always the same."""
    return _draw_slide()[:n]


@cache
def _draw_slide() -> NDArray[np.uint8]:
    """Draws one small slide of the synthetic hospital and returns its whole patches, those without glass first."""
    from bcd.synthetic.hospital import draw_patches
    from bcd.synthetic.options import HospitalOptions
    from bcd.synthetic.patient import draw_synthetic_patients

    patients = draw_synthetic_patients(
        HospitalOptions(patients=2, large_patients=0, small_patches=100, tumour_free_share=0)
    )
    ((_, patches),) = draw_patches(patients[:1])
    whole = sorted(
        (patch for patch in patches if patch.pixels.shape == _SHAPE), key=lambda patch: patch.pixels.mean()
    )
    idc, rest = ([patch.pixels for patch in whole if patch.name.label == label] for label in (1, 0))
    drawn = np.stack([pixels for pair in zip(idc, rest, strict=False) for pixels in pair])
    drawn.setflags(write=False)  # it is kept, and everybody gets the same
    return drawn
