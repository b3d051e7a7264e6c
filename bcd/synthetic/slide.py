"""One slide: tissue, glands, tumour and cells composed as concentrations of stain, then made a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bcd.synthetic.glands import Glands, draw_glands
from bcd.synthetic.nuclei import draw_nuclei, stamp_nuclei
from bcd.synthetic.patient import Character, Patient
from bcd.synthetic.stain import render
from bcd.synthetic.texture import (
    Field,
    Points,
    blur,
    fibres,
    ramp,
    sample,
    smooth_noise,
    spread_points,
    threshold_of_share,
)
from bcd.synthetic.tissue import Mask, Tissue, plan_tissue


@dataclass(frozen=True)
class Slide:
    """A drawn slide.

    Attributes:
        image: The picture, RGB, uint8, shape (height, width, 3).
        tissue: Where there is tissue, shape (height, width).
        tumour: Where a pathologist outlined invasive carcinoma, shape (height, width).
    """

    image: NDArray[np.uint8]
    tissue: Mask
    tumour: Mask


def draw_slide(patient: Patient) -> Slide:
    """Draws a patient's slide; equal patients have equal slides."""
    rng = np.random.default_rng([*patient.seed, 2])
    character = patient.character
    tissue = plan_tissue(rng, patient)
    glands = draw_glands(rng, patient, tissue)
    tissue_soft = blur(tissue.mask.astype(np.float32), 0.8)
    nests = _draw_nests(rng, tissue, character)
    clusters = _draw_clusters(rng, tissue, character)
    activity = _draw_activity(rng, tissue, character)
    haematoxylin, eosin = _draw_stroma(rng, tissue, activity)

    # Painted from the back: stroma, tumour, fat, glands, cells.
    haematoxylin += tissue.tumour * np.float32(0.05) + nests * np.float32(0.22)
    eosin *= 1 - np.float32(0.12) * tissue.tumour - np.float32(0.25) * nests
    vacuoles = _draw_vacuoles(rng, tissue, character) * (1 - glands.bed)
    haematoxylin *= 1 - vacuoles
    eosin *= 1 - vacuoles
    _paint_glands(haematoxylin, eosin, glands)
    haematoxylin += clusters * np.float32(0.12)
    solid = tissue_soft * (1 - vacuoles)
    cells = np.zeros_like(haematoxylin)
    _stamp_all(rng, cells, patient, tissue, glands, nests, clusters, activity, solid)
    cells *= np.sqrt(solid)
    haematoxylin = haematoxylin * tissue_soft + cells
    eosin = eosin * tissue_soft * (1 - np.float32(0.3) * np.minimum(cells, 1))
    blood = _draw_blood(rng, tissue) * solid * (1 - glands.epithelium)
    image = render(rng, (haematoxylin * (1 - blood), eosin * (1 - blood), blood), patient.stain)
    return Slide(image=image, tissue=tissue.mask, tumour=tissue.annotation)


def _draw_activity(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
    """Draws how cellular and basophilic the stroma is; 1 is common, in active parts several times that."""
    field = smooth_noise(rng, tissue.mask.shape, 150, 2) + 0.4 * smooth_noise(rng, tissue.mask.shape, 35)
    return character.cellularity * np.exp(np.float32(0.65) * field.clip(-2, 2.2))


def _draw_stroma(rng: np.random.Generator, tissue: Tissue, activity: Field) -> tuple[Field, Field]:
    """Draws collagen: bundles of fibres with slits between them."""
    shape = tissue.mask.shape
    bundles, threads = fibres(rng, tissue.angle, 3.0), fibres(rng, tissue.angle, 1.0)
    density = 0.62 + 0.10 * smooth_noise(rng, shape, 90, 3)
    eosin = density * (1 + 0.16 * bundles + 0.10 * threads)
    looseness = smooth_noise(rng, shape, 130, 2)
    slits = ramp(bundles + 0.4 * threads + 0.5 * looseness, -2.0, -0.6)
    eosin *= 1 - np.float32(0.9) * slits
    haematoxylin = (0.06 + 0.05 * activity) * (1 + 0.15 * bundles)
    return (haematoxylin * (1 - slits)).clip(0).astype(np.float32), eosin.clip(0.03).astype(np.float32)


def _draw_nests(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
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
    return ramp(field, threshold_of_share(field, character.nests, invaded), 0.35) * tissue.tumour


def _draw_clusters(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
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
    return ramp(cluster, 0.5, 0.4)


def _draw_vacuoles(rng: np.random.Generator, tissue: Tissue, character: Character) -> Field:
    """Draws fat cells: the cells of a Voronoi diagram, round where they lie alone; 1 inside, 0 on a wall."""
    shape = tissue.mask.shape
    seeds = spread_points(rng, shape, rng.uniform(11, 15), 0.4)
    is_fat = rng.random(len(seeds)) < sample(tissue.fat, seeds)
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
    size = np.zeros(len(fat_label), np.float32)
    size[:] = rng.uniform(4.5, 10.5, len(size))
    vacuole = np.minimum(ramp(from_wall, 0.45, 1.0), ramp(-distance, -1, 1) + ramp(size[labels] - distance, 0, 1))
    return np.float32(0.97) * blur(np.where(inside, np.minimum(vacuole, 1), 0).astype(np.float32), 0.5)


def _paint_glands(haematoxylin: Field, eosin: Field, glands: Glands) -> None:
    bed = blur(glands.bed, 1.5)
    haematoxylin += np.float32(0.06) * bed
    eosin *= 1 - np.float32(0.3) * bed
    _mix(haematoxylin, glands.epithelium, 0.30)
    _mix(eosin, glands.epithelium, 0.50)
    for cavity, amount in ((glands.lumen, 0.02), (glands.secretion, 0.45)):
        _mix(haematoxylin, cavity, 0.02)
        _mix(eosin, cavity, amount)


def _mix(layer: Field, mask: Field, value: float) -> None:
    layer += mask * (np.float32(value) - layer)


def _draw_blood(rng: np.random.Generator, tissue: Tissue) -> Field:
    """Draws red cells: small vessels everywhere, and seldom a bleeding."""
    field = 0.7 * smooth_noise(rng, tissue.mask.shape, 60, 3) + 0.5 * fibres(rng, tissue.angle, 3.0)
    return ramp(field, rng.uniform(2.3, 3.3), 0.3) * np.float32(0.8)


def _stamp_all(
    rng: np.random.Generator,
    cells: Field,
    patient: Patient,
    tissue: Tissue,
    glands: Glands,
    nests: Field,
    clusters: Field,
    activity: Field,
    solid: Field,
) -> None:
    """Draws the nuclei of every kind of cell into `cells`."""
    character, shape = patient.character, cells.shape
    clear = solid * (1 - glands.epithelium) * (1 - glands.lumen) * (1 - glands.secretion)

    def grow(spacing: float, density: Field, jitter: float = 0.45) -> Points:
        points = spread_points(rng, shape, spacing, jitter)
        return points[rng.random(len(points)) < sample(density, points)]

    loose = 0.22 * activity * (1 - nests) * (1 + 0.5 * tissue.tumour + 1.0 * glands.bed)
    spindle = grow(5.5, loose * clear)
    angle = sample(tissue.angle, spindle) + rng.normal(0, 0.2, len(spindle))
    stamp_nuclei(
        cells,
        draw_nuclei(
            rng, spindle, radius=0.8, radius_spread=0.2, elongation=2.3, angle=angle.astype(np.float32), darkness=0.65
        ),
    )
    rims = grow(9.0, tissue.fat * ramp(solid, 0.5, 0.2) * 0.3)
    stamp_nuclei(cells, draw_nuclei(rng, rims, radius=0.8, elongation=2.0, darkness=0.7))
    lymphocytes = grow(2.7, (0.9 * clusters + 0.008 * activity) * clear)
    stamp_nuclei(cells, draw_nuclei(rng, lymphocytes, radius=1.0, radius_spread=0.06, elongation=1.05, darkness=0.95))
    if glands.points:
        epithelial, angles = np.concatenate(glands.points), np.concatenate(glands.angles)
        inside = (epithelial > 0).all(axis=1) & (epithelial < np.array(shape[::-1]) - 1).all(axis=1)
        epithelial, angles = epithelial[inside], angles[inside]
        kept = sample(tissue.mask, epithelial) & (sample(glands.lumen + glands.secretion, epithelial) < 0.5)
        stamp_nuclei(
            cells,
            draw_nuclei(
                rng,
                epithelial[kept],
                radius=character.epithelium,
                radius_spread=0.12,
                elongation=1.4,
                angle=angles[kept],
                darkness=0.8,
            ),
        )
    crowd = grow(character.radius * 2.15, (0.92 * nests + 0.05 * tissue.tumour) * clear, 0.6)
    stamp_nuclei(
        cells,
        draw_nuclei(
            rng,
            crowd,
            radius=character.radius,
            radius_spread=character.pleomorphism,
            elongation=1.3,
            darkness=character.darkness,
            darkness_spread=0.25,
            bend=0.25,
        ),
    )
