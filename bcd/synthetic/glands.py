"""Benign epithelium: lobules of acini and single ducts, each an ordered ring of nuclei around a lumen.

Some are filled with cells (usual hyperplasia): as dark as a tumour, but bounded, even and smooth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from bcd.synthetic.patient import DrawnPatient
from bcd.synthetic.texture import Field, Points, smooth_noise, spread_texture_points
from bcd.synthetic.tissue import Tissue

_SUBPIXEL = 4
_CELL = 3.4
"""Height of the epithelium, in pixels: about 14 µm."""


@dataclass
class Glands:
    """The benign epithelium of a slide.

    Attributes:
        epithelium: Where there are epithelial cells, 0 to 1.
        lumen: Where there is an open lumen, 0 to 1.
        secretion: Where a lumen holds secretion, 0 to 1.
        bed: Where the loose stroma around a gland is, 0 to 1.
        points: Centres of the nuclei (x, y).
        angles: Their directions, in radians.
    """

    epithelium: Field
    lumen: Field
    secretion: Field
    bed: Field
    points: list[Points] = field(default_factory=list)
    angles: list[NDArray[np.float32]] = field(default_factory=list)


def draw_glands(rng: np.random.Generator, patient: DrawnPatient, tissue: Tissue) -> Glands:
    """Draws the lobules and ducts of a slide."""
    character = patient.character
    shape = tissue.mask.shape
    layers = {name: np.zeros(shape, np.uint8) for name in ("epithelium", "lumen", "secretion", "bed")}
    points: list[Points] = []
    angles: list[NDArray[np.float32]] = []
    for x, y in _draw_lobule_sites(rng, character.lobules, tissue):
        for ring in _draw_lobule(rng, x, y) if rng.random() < 0.7 else _draw_duct(rng, x, y):
            is_filled = rng.random() < character.hyperplasia
            _draw_ring(rng, layers, ring, is_filled=is_filled)
            nuclei, directions = _ring_nuclei(rng, ring, is_filled=is_filled)
            points.append(nuclei)
            angles.append(directions)
    soft = {name: layer.astype(np.float32) / np.float32(255) for name, layer in layers.items()}
    return Glands(**soft, points=points, angles=angles)


@dataclass(frozen=True)
class _Ring:
    """One acinus or duct: a closed outline around (x, y) with `radius` in each of its directions."""

    x: float
    y: float
    stretch: float
    angle: float
    radius: NDArray[np.float64]

    def outline(self, inset: float) -> NDArray[np.float64]:
        """Points (x, y) of the outline, moved inwards by `inset` pixels."""
        turn = np.linspace(0, 2 * np.pi, len(self.radius), endpoint=False)
        radius = np.maximum(self.radius - inset, 0.3)
        u, v = radius * np.cos(turn) * self.stretch, radius * np.sin(turn)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.stack([self.x + cosine * u - sine * v, self.y + sine * u + cosine * v], axis=1)


def _draw_lobule_sites(rng: np.random.Generator, per_hundred: float, tissue: Tissue) -> list[tuple[float, float]]:
    """Draws where lobules lie: in tissue, gathered in glandular parts, seldom where a tumour has replaced them."""
    n = rng.poisson(per_hundred * tissue.mask.sum() / 2500 / 100)
    glandular = smooth_noise(rng, tissue.mask.shape, 220) > -0.3
    spared = tissue.tumour < (0.5 if rng.random() < 0.7 else 1.1)
    rows, columns = np.nonzero((tissue.mask & glandular & spared)[::4, ::4])
    if not len(rows):
        return []
    chosen = rng.integers(len(rows), size=n)
    return [(4.0 * columns[i], 4.0 * rows[i]) for i in chosen]


def _draw_radius(rng: np.random.Generator, mean: float, wobble: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones_like(turn)
    for waves in (2, 3, 5):
        radius += wobble * rng.normal() / waves * np.cos(waves * turn + rng.uniform(0, 2 * np.pi))
    return mean * np.clip(radius, 0.5, 1.6)


def _draw_lobule(rng: np.random.Generator, x: float, y: float) -> list[_Ring]:
    """Draws a cluster of acini."""
    reach, acinus = rng.uniform(14, 38), rng.uniform(4.2, 7.5)
    reach = max(reach, 2 * acinus)
    places = spread_texture_points(rng, (int(2 * reach) + 1, int(2 * reach) + 1), 2.3 * acinus, 0.3) - reach
    places = places[np.hypot(places[:, 0], places[:, 1]) < reach * rng.uniform(0.75, 1.05, len(places))]
    return [
        _Ring(
            x + dx,
            y + dy,
            rng.uniform(1, 1.5),
            rng.uniform(0, np.pi),
            _draw_radius(rng, acinus * rng.uniform(0.75, 1.15), 0.2),
        )
        for dx, dy in places
    ]


def _draw_duct(rng: np.random.Generator, x: float, y: float) -> list[_Ring]:
    """Draws one duct, or a duct and a branch."""
    mean, angle = rng.uniform(7, 17), rng.uniform(0, np.pi)
    return [
        _Ring(x + d * np.cos(angle), y + d * np.sin(angle), rng.uniform(1, 2.6), angle, _draw_radius(rng, mean, 0.35))
        for d in np.arange(1 + (rng.random() < 0.35)) * 2.2 * mean
    ]


def _draw_ring(
    rng: np.random.Generator, layers: dict[str, NDArray[np.uint8]], ring: _Ring, *, is_filled: bool
) -> None:
    _fill_outline(layers["bed"], ring.outline(-rng.uniform(2, 7)))
    _fill_outline(layers["epithelium"], ring.outline(0))
    size = ring.radius.mean()
    if is_filled:
        return
    inner = ring.outline(_CELL * rng.uniform(0.9, 1.3))
    if size > _CELL * 1.5:
        _fill_outline(layers["secretion" if rng.random() < 0.25 else "lumen"], inner)


def _fill_outline(layer: NDArray[np.uint8], outline: NDArray[np.float64]) -> None:
    corners = np.rint(outline * 2**_SUBPIXEL).astype(np.int32)
    cv2.fillPoly(layer, [corners], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL)


def _ring_nuclei(rng: np.random.Generator, ring: _Ring, *, is_filled: bool) -> tuple[Points, NDArray[np.float32]]:
    """Places nuclei evenly along the ring, and through it where it is filled."""
    points: list[NDArray[np.float64]] = []
    angles: list[NDArray[np.float64]] = []
    inset, most = _CELL * 0.45, 1000 if is_filled else int(rng.integers(1, 3))
    while len(points) < most:
        line = ring.outline(inset)
        edges = np.roll(line, -1, axis=0) - line
        lengths = np.hypot(edges[:, 0], edges[:, 1])
        n = int(lengths.sum() / 2.7)
        if n < 1 or inset > ring.radius.mean() - 0.5:
            break
        at = (np.arange(n) + rng.uniform(-0.2, 0.2, n)) * lengths.sum() / n
        # Nuclei stand upright on the wall: across the line's direction.
        i = np.searchsorted(np.cumsum(lengths), at.clip(0)) % len(line)
        along = (at - (np.cumsum(lengths)[i] - lengths[i])) / np.maximum(lengths[i], 1e-6)
        points.append(line[i] + edges[i] * along.clip(0, 1)[:, None] + rng.normal(0, 0.25, (n, 2)))
        angles.append(np.arctan2(edges[i, 1], edges[i, 0]) + np.pi / 2)
        inset += 2.7
    if not points:
        return np.array([[ring.x, ring.y]], np.float32), np.zeros(1, np.float32)
    return np.concatenate(points).astype(np.float32), np.concatenate(angles).astype(np.float32)
