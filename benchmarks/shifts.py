"""Changes of a patch that another stain, camera, file format or cut brings about, for `benchmarks/robustness.py`.

Beyond its edge a patch is taken to go on as its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]
"""Changes one patch (50, 50, 3)."""

_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)


def restain(share: float) -> Change:
    """Returns what scales haematoxylin and eosin in optical density (Ruifrok and Johnston 2001)."""
    mix = np.linalg.inv(_STAINS) @ np.diag([1 + share, 1 + share, 1]) @ _STAINS

    def change(patch: Pixels) -> Pixels:
        density = -np.log((patch.astype(np.float64) + 1) / 256)
        return _to_bytes(256 * np.exp(-(density @ mix)) - 1)

    return change


def brighten(amount: float) -> Change:
    """Returns what adds to all values of a patch, of 255."""
    return lambda patch: _to_bytes(patch.astype(np.float64) + amount)


def blur(sigma: float) -> Change:
    """Returns what blurs a patch by a Gaussian, in pixels."""
    import cv2

    return lambda patch: np.asarray(cv2.GaussianBlur(patch, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def compress(quality: int) -> Change:
    """Returns what writes a patch as JPEG and reads it."""
    import cv2

    def change(patch: Pixels) -> Pixels:
        file = cv2.imencode(".jpg", patch[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.ascontiguousarray(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))[..., ::-1])

    return change


def move(pixels: int) -> Change:
    """Returns what moves a patch down and to the right."""
    around = ((pixels, 0), (pixels, 0), (0, 0))
    return lambda patch: np.pad(patch, around, mode="reflect")[: patch.shape[0], : patch.shape[1]]


def rescale(factor: float) -> Change:
    """Returns what shows a patch at another magnification, around its centre."""
    import cv2

    def change(patch: Pixels) -> Pixels:
        centre = (patch.shape[0] - 1) / 2
        matrix = cv2.getRotationMatrix2D((centre, centre), 0, factor)
        size = (patch.shape[1], patch.shape[0])
        return np.asarray(
            cv2.warpAffine(patch, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        )

    return change


SHIFTS: dict[str, Change] = {
    **{f"stain {share:+.0%}": restain(share) for share in (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)},
    "brightness -20 of 255": brighten(-20),
    "brightness +20 of 255": brighten(20),
    "blur, sigma 1 px": blur(1.0),
    **{f"JPEG {quality}": compress(quality) for quality in (90, 75, 50)},
    "moved by one pixel": move(1),
    "magnified by 0.9": rescale(0.9),
    "magnified by 1.1": rescale(1.1),
}


def _to_bytes(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
