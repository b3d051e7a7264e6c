"""Connective tissue: collagen with slits, fat cells, and a little blood."""

from __future__ import annotations

import cv2
import numpy as np

from bcd.synthetic.patient import Character
from bcd.synthetic.texture import (
    Field,
    blur,
    fibres,
    ramp_texture,
    sample_texture,
    smooth_noise,
    spread_texture_points,
)
from bcd.synthetic.tissue import Tissue


def draw_activity(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
    """Draws how cellular and basophilic the stroma is; 1 is common, in active parts several times that."""
    field = smooth_noise(rng, tissue.mask.shape, 150, 2) + 0.4 * smooth_noise(rng, tissue.mask.shape, 35)
    return np.asarray(character.cellularity * np.exp(0.65 * field.clip(-2, 2.2)), np.float32)


def draw_stroma(rng: np.random.Generator, tissue: Tissue, activity: Field) -> tuple[Field, Field]:
    """Draws collagen: bundles of fibres with slits between them."""
    shape = tissue.mask.shape
    bundles, threads = fibres(rng, tissue.angle, 3.0), fibres(rng, tissue.angle, 1.0)
    density = 0.62 + 0.10 * smooth_noise(rng, shape, 90, 3)
    eosin = density * (1 + 0.16 * bundles + 0.10 * threads)
    looseness = smooth_noise(rng, shape, 130, 2)
    slits = ramp_texture(bundles + 0.4 * threads + 0.5 * looseness, -2.0, -0.6)
    eosin *= 1 - np.float32(0.9) * slits
    haematoxylin = (0.07 + 0.045 * activity) * (1 + 0.15 * bundles)
    return (haematoxylin * (1 - slits)).clip(0).astype(np.float32), eosin.clip(0.03).astype(np.float32)


def draw_vacuoles(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
    """Draws fat cells: the cells of a Voronoi diagram, round where they lie alone; 1 inside, 0 on a wall."""
    shape = tissue.mask.shape
    seeds = spread_texture_points(rng, shape, rng.uniform(11, 15), 0.4)
    is_fat = rng.random(len(seeds)) < sample_texture(tissue.fat, seeds)
    if character.fat < 0.01 or not is_fat.any():
        return np.zeros(shape, np.float32)
    ground = np.full(shape, 255, np.uint8)
    columns, rows = seeds.astype(np.intp).T
    ground[rows, columns] = 0
    distance, labels = cv2.distanceTransformWithLabels(ground, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    fat_label = np.zeros(labels.max() + 1, np.bool_)
    fat_label[labels[rows, columns]] = is_fat
    inside = fat_label[labels]
    wall = np.zeros(shape, np.bool_)
    wall[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    wall[1:] |= labels[1:] != labels[:-1]
    from_wall = cv2.distanceTransform((~wall).astype(np.uint8), cv2.DIST_L2, 5)
    size = rng.uniform(4.5, 10.5, len(fat_label)).astype(np.float32)
    vacuole = np.minimum(
        ramp_texture(from_wall, 0.45, 1.0),
        ramp_texture(-distance, -1, 1) + ramp_texture(size[labels] - distance, 0, 1),
    )
    return np.float32(0.97) * blur(np.where(inside, np.minimum(vacuole, 1), 0).astype(np.float32), 0.5)


def draw_blood(rng: np.random.Generator, tissue: Tissue) -> Field:
    """Draws red cells: small vessels everywhere, and seldom a bleeding."""
    field = 0.7 * smooth_noise(rng, tissue.mask.shape, 60, 3) + 0.5 * fibres(rng, tissue.angle, 3.0)
    return ramp_texture(field, rng.uniform(2.3, 3.3), 0.3) * np.float32(0.8)
