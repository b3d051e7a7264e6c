"""Noise that tissue is made of: smooth fields, fibres, and points that keep their distance.

Fields are float32 arrays of shape (height, width); lengths are in pixels.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Points = NDArray[np.float32]
Shape = tuple[int, int]
ScalarT = TypeVar("ScalarT", bound=np.generic)


def smooth_noise(rng: np.random.Generator, shape: Shape, scale: float, octaves: int = 1) -> Field:
    """Draws a field of about zero mean and unit deviation that changes over `scale` pixels.

    Each further octave halves the scale and the amplitude.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = max(scale / 2**octave, 1.0)
        knots = rng.standard_normal((int(height / step) + 4, int(width / step) + 4), dtype=np.float32)
        # The knots lie on a grid of `step`, shifted at random, so that no slide shows the grid at its corner.
        shift = rng.random(2) * step
        warp = np.array([[1 / step, 0, 1 + shift[0] / step], [0, 1 / step, 1 + shift[1] / step]], np.float32)
        total += 0.5**octave * cv2.warpAffine(
            knots, warp, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
    # A cubic interpolation of unit knots has a deviation of about 0.86.
    return total / np.float32(0.86 * np.sqrt(sum(0.25**octave for octave in range(octaves))))


def fibres(rng: np.random.Generator, angle: Field, thickness: float) -> Field:
    """Draws streaks along the directions `angle` (radians): zero mean, unit deviation.

    White noise is averaged along the direction by doubling, which is line integral convolution (Cabral & Leedom
    1993) over 16 thicknesses in four steps.
    """
    height, width = angle.shape
    small = (max(int(height / thickness), 2), max(int(width / thickness), 2))
    direction = cv2.resize(angle, small[::-1], interpolation=cv2.INTER_AREA)
    streaks = rng.standard_normal(small, dtype=np.float32)
    rows, columns = np.mgrid[0 : small[0], 0 : small[1]].astype(np.float32)
    dx, dy = np.cos(direction), np.sin(direction)
    for step in (-8, 4, -2, 1):
        moved = cv2.remap(
            streaks, columns + step * dx, rows + step * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        streaks = (streaks + moved) / 2
    streaks = cv2.resize(streaks, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((streaks - streaks.mean()) / (streaks.std() + np.float32(1e-6)), np.float32)


def spread_texture_points(rng: np.random.Generator, shape: Shape, spacing: float, jitter: float = 0.45) -> Points:
    """Draws points (x, y) on a hexagonal grid of `spacing`, each displaced by up to `jitter` of it."""
    height, width = shape
    rows, columns = np.arange(0.0, height, spacing * 0.87), np.arange(0.0, width, spacing)
    x, y = np.meshgrid(columns, rows)
    x[1::2] += spacing / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    points += rng.uniform(-jitter, jitter, points.shape) * spacing
    inside = (points >= 0).all(axis=1) & (points[:, 0] < width - 1) & (points[:, 1] < height - 1)
    return points[inside].astype(np.float32)


def sample_texture(field: NDArray[ScalarT], points: Points) -> NDArray[ScalarT]:
    """Reads a field at points (x, y)."""
    return field[points[:, 1].astype(np.intp), points[:, 0].astype(np.intp)]


def find_texture_threshold(field: Field, share: float, within: NDArray[np.bool_]) -> float:
    """Returns the value that `share` of the field exceeds inside a mask; infinity where the mask is empty."""
    values = field[::2, ::2][within[::2, ::2]]
    return float(np.quantile(values, 1 - share)) if values.size else float("inf")


def ramp_texture(field: Field, threshold: float, width: float) -> Field:
    """Rises from 0 to 1 where the field passes a threshold, over `width` of the field's unit."""
    return np.asarray(np.clip((field - np.float32(threshold)) / np.float32(width) + np.float32(0.5), 0, 1))


def blur(field: Field, sigma: float) -> Field:
    """Blurs a field with a Gaussian of `sigma` pixels; large ones on a smaller copy, which is much quicker."""
    factor = max(int(sigma / 3), 1)
    height, width = field.shape
    if factor == 1:
        return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)
    small = cv2.resize(field, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
