"""One slide: tissue, glands, tumour and cells composed as concentrations of stain, then made a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcd.synthetic.cells import Ground, draw_cells, draw_clusters, draw_nests
from bcd.synthetic.glands import Glands, draw_glands
from bcd.synthetic.patient import DrawnPatient
from bcd.synthetic.stain import render_stain
from bcd.synthetic.stroma import draw_activity, draw_blood, draw_stroma, draw_vacuoles
from bcd.synthetic.texture import Field, blur
from bcd.synthetic.tissue import Mask, draw_tissue_plan


@dataclass(frozen=True)
class DrawnSlide:
    """A drawn slide.

    Attributes:
        image: The picture, RGB, uint8, shape (height, width, 3).
        tissue: Where there is tissue, shape (height, width).
        tumour: Where a pathologist outlined invasive carcinoma, shape (height, width).
    """

    image: NDArray[np.uint8]
    tissue: Mask
    tumour: Mask


def draw_synthetic_slide(patient: DrawnPatient) -> DrawnSlide:
    """Draws a patient's slide; equal patients have equal slides."""
    rng = np.random.default_rng([*patient.seed, 2])
    character = patient.character
    tissue = draw_tissue_plan(rng, patient)
    glands = draw_glands(rng, patient, tissue)
    nests = draw_nests(rng, tissue, character)
    clusters = draw_clusters(rng, tissue, character)
    activity = draw_activity(rng, tissue, character)
    haematoxylin, eosin = draw_stroma(rng, tissue, activity)

    # Painted from the back: stroma, tumour, fat, glands, cells.
    haematoxylin += tissue.tumour * np.float32(0.05) + nests * np.float32(0.22)
    eosin *= 1 - np.float32(0.12) * tissue.tumour - np.float32(0.25) * nests
    vacuoles = draw_vacuoles(rng, tissue, character) * (1 - glands.bed)
    haematoxylin *= 1 - vacuoles
    eosin *= 1 - vacuoles
    _paint_glands(haematoxylin, eosin, glands)
    haematoxylin += clusters * np.float32(0.12)
    covered = blur(tissue.mask.astype(np.float32), 0.8)
    solid = covered * (1 - vacuoles)
    cells = draw_cells(rng, Ground(character, tissue, glands, nests, clusters, activity, solid))
    haematoxylin = haematoxylin * covered + cells
    eosin *= covered * (1 - np.float32(0.3) * np.minimum(cells, 1))
    blood = draw_blood(rng, tissue) * solid * (1 - glands.epithelium)
    image = render_stain(rng, (haematoxylin * (1 - blood), eosin * (1 - blood), blood), patient.stain)
    return DrawnSlide(image=image, tissue=tissue.mask, tumour=tissue.annotation)


def _paint_glands(haematoxylin: Field, eosin: Field, glands: Glands) -> None:
    bed = blur(glands.bed, 1.5)
    haematoxylin += np.float32(0.06) * bed
    eosin *= 1 - np.float32(0.3) * bed
    _mix_into_layer(haematoxylin, glands.epithelium, 0.30)
    _mix_into_layer(eosin, glands.epithelium, 0.50)
    for cavity, amount in ((glands.lumen, 0.02), (glands.secretion, 0.45)):
        _mix_into_layer(haematoxylin, cavity, 0.02)
        _mix_into_layer(eosin, cavity, amount)


def _mix_into_layer(layer: Field, mask: Field, value: float) -> None:
    layer += mask * (np.float32(value) - layer)
