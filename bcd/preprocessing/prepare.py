"""The one preparation of patches, the same to train, to evaluate and to score.

Examples:
    >>> import numpy as np
    >>> from bcd.preprocessing.options import PrepareOptions
    >>> prepare(np.full((2, 50, 50, 3), 7, np.uint8), PrepareOptions()).max()
    np.uint8(7)
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.patches import PATCH_PIXELS
from bcd.preprocessing.options import PrepareOptions

SHARPEN = np.array([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]], np.float32)
"""The sharpening kernel of the founding work; its sum is 1, so flat colour stays as it is."""

_BLOCK = 512  # patches; what one thread takes at a time

_THREADS = min(len(os.sched_getaffinity(0)), 8)


def prepare(pixels: NDArray[np.uint8], options: PrepareOptions, *, block: int = _BLOCK) -> NDArray[np.uint8]:
    """Prepares raw patches for the network.

    Every patch is filtered by itself, mirrored at its border (OpenCV's default): none bleeds into
    another, and the result is the same however many are prepared together.

    Args:
        pixels: Raw patches, RGB, (n, 50, 50, 3) uint8.
        options: What to do.
        block: Patches that a thread takes at a time.

    Returns:
        Prepared patches, (n, 50, 50, 3) uint8.

    Raises:
        BcdError: The array is not of that shape and type.
    """
    shape = (PATCH_PIXELS, PATCH_PIXELS, 3)
    if pixels.ndim != 4 or pixels.shape[1:] != shape or pixels.dtype != np.uint8:
        raise BcdError(
            f"Patches of shape {pixels.shape} and type {pixels.dtype} cannot be prepared.",
            "Give RGB patches as an array (n, 50, 50, 3) of uint8, values 0 to 255.",
        )
    prepared = np.empty(pixels.shape, np.uint8)
    parts = [slice(start, start + block) for start in range(0, len(pixels), block)]

    def prepare_part(part: slice) -> None:
        _prepare_into(pixels[part], options, prepared[part])

    if len(parts) < 2:
        for part in parts:
            prepare_part(part)
    else:
        with ThreadPoolExecutor(_THREADS) as pool:  # OpenCV lets other threads run meanwhile
            list(pool.map(prepare_part, parts))
    return prepared


def _prepare_into(pixels: NDArray[np.uint8], options: PrepareOptions, prepared: NDArray[np.uint8]) -> None:
    if not options.sharpen:
        prepared[...] = pixels
        return
    import cv2

    for source, target in zip(pixels, prepared, strict=True):
        cv2.filter2D(source, -1, SHARPEN, dst=target)
