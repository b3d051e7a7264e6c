"""Nuclei: small soft ellipses, thousands at a time, each of its own size, shape and darkness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcd.synthetic.texture import Field, Points

_CHUNK = 20_000


@dataclass(frozen=True)
class Nuclei:
    """A kind of nuclei at `points`; the arrays have one entry a nucleus.

    Attributes:
        points: Centres (x, y), in pixels.
        radius: Geometric mean of the half axes, in pixels.
        elongation: Ratio of the half axes.
        angle: Direction of the long axis, in radians.
        darkness: Haematoxylin at the centre; 1 is a normal nucleus.
        bend: How far the outline departs from an ellipse; 0 is none.
    """

    points: Points
    radius: NDArray[np.float32]
    elongation: NDArray[np.float32]
    angle: NDArray[np.float32]
    darkness: NDArray[np.float32]
    bend: NDArray[np.float32]


def draw_nuclei(
    rng: np.random.Generator,
    points: Points,
    *,
    radius: float,
    radius_spread: float = 0.12,
    elongation: float = 1.15,
    angle: NDArray[np.float32] | None = None,
    darkness: float = 1.0,
    darkness_spread: float = 0.15,
    bend: float = 0.0,
) -> Nuclei:
    """Draws the individual properties of nuclei around those of their kind; spreads are of the logarithm."""
    n = len(points)

    def around(value: float, spread: float) -> NDArray[np.float32]:
        return (value * np.exp(spread * np.clip(rng.standard_normal(n), -2, 2))).astype(np.float32)

    if angle is None:
        angle = rng.uniform(0, np.pi, n).astype(np.float32)
    return Nuclei(
        points=points,
        radius=around(radius, radius_spread),
        elongation=np.maximum(around(elongation, 0.15), 1),
        angle=angle,
        darkness=around(darkness, darkness_spread),
        bend=(bend * rng.standard_normal(n)).astype(np.float32),
    )


def stamp_nuclei(canvas: Field, nuclei: Nuclei) -> None:
    """Draws nuclei into a field of haematoxylin, in place; where two overlap the darker one shows."""
    if not len(nuclei.points):
        return
    reach = int(np.ceil((nuclei.radius * np.sqrt(nuclei.elongation)).max() + 1))
    padded = np.pad(canvas, reach)
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    dy, dx = (step.ravel()[None] for step in np.meshgrid(steps, steps, indexing="ij"))
    for start in range(0, len(nuclei.points), _CHUNK):
        part = slice(start, start + _CHUNK)
        corner = np.floor(nuclei.points[part]).astype(np.intp)
        offset = nuclei.points[part] - corner
        value = _soft_ellipse(dx - offset[:, :1], dy - offset[:, 1:], nuclei, part)
        place = (
            (corner[:, 1:] + reach + dy.astype(np.intp)) * padded.shape[1]
            + corner[:, :1]
            + reach
            + dx.astype(np.intp)
        )
        np.maximum.at(padded.reshape(-1), place.ravel(), value.ravel())
    canvas[:] = padded[reach:-reach, reach:-reach]


def _soft_ellipse(dx: Field, dy: Field, nuclei: Nuclei, part: slice) -> Field:
    """Darkness of each nucleus at distances (dx, dy) from its centre, falling over one pixel at its outline."""
    radius, stretch = nuclei.radius[part, None], np.sqrt(nuclei.elongation[part, None])
    cosine, sine = np.cos(nuclei.angle[part, None]), np.sin(nuclei.angle[part, None])
    along = (cosine * dx + sine * dy) / (radius * stretch)
    across = (cosine * dy - sine * dx) / (radius / stretch)
    across += nuclei.bend[part, None] * along * along
    distance = np.sqrt(along * along + across * across)
    alpha = np.clip((1 - distance) * radius + np.float32(0.5), 0, 1)
    return np.asarray(nuclei.darkness[part, None] * alpha, np.float32)
