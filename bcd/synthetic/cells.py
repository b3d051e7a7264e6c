"""Cells: which kinds gather where, and their nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bcd.synthetic.glands import Glands
from bcd.synthetic.nuclei import draw_nuclei, stamp_nuclei
from bcd.synthetic.patient import Character
from bcd.synthetic.texture import (
    Field,
    Points,
    blur,
    fibres,
    find_texture_threshold,
    ramp_texture,
    sample_texture,
    smooth_noise,
    spread_texture_points,
)
from bcd.synthetic.tissue import Tissue


@dataclass(frozen=True)
class Ground:
    """What cells grow on.

    Attributes:
        character: The patient's.
        tissue: The plan of the slide.
        glands: Its benign epithelium.
        nests: Where the tumour's cells are, 0 to 1.
        clusters: Where lymphocytes gather, 0 to 1.
        activity: How cellular the stroma is; 1 is common.
        solid: Where there is tissue and no vacuole, 0 to 1.
    """

    character: Character
    tissue: Tissue
    glands: Glands
    nests: Field
    clusters: Field
    activity: Field
    solid: Field


def draw_nests(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
    """Draws where the tumour's cells are inside the invaded region: sheets, nests or cords; 0 to 1."""
    shape = tissue.mask.shape
    if not tissue.tumour.any():
        return np.zeros(shape, np.float32)
    field = (
        fibres(rng, tissue.angle, character.nest_size * 0.5) + 0.5 * smooth_noise(rng, shape, character.nest_size)
        if character.cords
        else smooth_noise(rng, shape, character.nest_size, 2)
    )
    field = field + 0.9 * smooth_noise(rng, shape, 70)
    invaded = tissue.tumour > 0.5
    return ramp_texture(field, find_texture_threshold(field, character.nests, invaded), 0.35) * tissue.tumour


def draw_clusters(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
    """Draws where lymphocytes gather; 0 to 1."""
    shape = tissue.mask.shape
    layer = np.zeros(shape, np.uint8)
    n = rng.poisson(character.inflammation * tissue.mask.sum() / 2500 / 100)
    rows, columns = np.nonzero(tissue.mask[::4, ::4])
    for i in rng.integers(max(len(rows), 1), size=n if len(rows) else 0):
        reach = rng.uniform(7, 26)
        axes = (int(reach), int(reach * rng.uniform(0.35, 0.9)))
        cv2.ellipse(layer, (int(columns[i]) * 4, int(rows[i]) * 4), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    cluster = blur(layer.astype(np.float32) / np.float32(255), 5) + 0.12 * smooth_noise(rng, shape, 14, 2)
    return ramp_texture(cluster, 0.5, 0.4)


def draw_cells(rng: np.random.Generator, ground: Ground) -> Field:
    """Draws the nuclei of every kind of cell, as a field of haematoxylin."""
    cells = np.zeros(ground.solid.shape, np.float32)
    glands = ground.glands
    clear = ground.solid * (1 - glands.epithelium) * (1 - glands.lumen) * (1 - glands.secretion)
    _stamp_spindle(rng, cells, ground, clear)
    _stamp_lymphocytes(rng, cells, ground, clear)
    if glands.points:
        _stamp_epithelium(rng, cells, ground)
    _stamp_tumour(rng, cells, ground, clear)
    return cells * np.sqrt(ground.solid)


def _grow_points(rng: np.random.Generator, density: Field, spacing: float, jitter: float = 0.45) -> Points:
    """Spreads points and keeps each with the probability that `density` has there."""
    height, width = density.shape
    points = spread_texture_points(rng, (height, width), spacing, jitter)
    kept = rng.random(len(points)) < sample_texture(density, points)
    return points[kept]


def _stamp_spindle(rng: np.random.Generator, cells: Field, ground: Ground, clear: Field) -> None:
    """Draws fibroblasts along the fibres, and the flat nuclei of fat cells."""
    tissue = ground.tissue
    loose = 0.22 * ground.activity * (1 - ground.nests) * (1 + 0.5 * tissue.tumour + ground.glands.bed)
    points = _grow_points(rng, loose * clear, 5.5)
    angle = (sample_texture(tissue.angle, points) + rng.normal(0, 0.2, len(points))).astype(np.float32)
    spindle = draw_nuclei(rng, points, radius=0.8, radius_spread=0.2, elongation=2.3, angle=angle, darkness=0.65)
    stamp_nuclei(cells, spindle)
    points = _grow_points(rng, tissue.fat * ramp_texture(ground.solid, 0.5, 0.2) * 0.3, 9.0)
    stamp_nuclei(cells, draw_nuclei(rng, points, radius=0.8, elongation=2.0, darkness=0.7))


def _stamp_lymphocytes(rng: np.random.Generator, cells: Field, ground: Ground, clear: Field) -> None:
    """Draws small round nuclei, all alike: dense in clusters, and a few everywhere."""
    points = _grow_points(rng, (0.9 * ground.clusters + 0.008 * ground.activity) * clear, 2.7)
    stamp_nuclei(cells, draw_nuclei(rng, points, radius=1.0, radius_spread=0.06, elongation=1.05, darkness=0.95))


def _stamp_epithelium(rng: np.random.Generator, cells: Field, ground: Ground) -> None:
    """Draws the ordered nuclei of glands, which stand upright on the wall."""
    glands = ground.glands
    points, angles = np.concatenate(glands.points), np.concatenate(glands.angles)
    inside = (points > 0).all(axis=1) & (points < np.array(cells.shape[::-1]) - 1).all(axis=1)
    points, angles = points[inside], angles[inside]
    # Where two glands overlap, the nuclei of one would float in the lumen of the other.
    kept = sample_texture(ground.tissue.mask, points) & (
        sample_texture(glands.lumen + glands.secretion, points) < 0.5
    )
    radius = ground.character.epithelium
    stamp_nuclei(
        cells,
        draw_nuclei(rng, points[kept], radius=radius, elongation=1.4, angle=angles[kept], darkness=0.8),
    )


def _stamp_tumour(rng: np.random.Generator, cells: Field, ground: Ground, clear: Field) -> None:
    """Draws crowded nuclei of all sizes and shapes in the nests, and a few on their own around."""
    character = ground.character
    points = _grow_points(
        rng, (0.92 * ground.nests + 0.05 * ground.tissue.tumour) * clear, character.radius * 2.15, 0.6
    )
    nuclei = draw_nuclei(
        rng,
        points,
        radius=character.radius,
        radius_spread=character.pleomorphism,
        elongation=1.3,
        darkness=character.darkness,
        darkness_spread=0.25,
        bend=0.25,
    )
    stamp_nuclei(cells, nuclei)
