"""What is where on a slide: outline of the tissue, direction of its fibres, fat, and the invaded region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcd.synthetic.patient import DrawnPatient
from bcd.synthetic.texture import Field, Shape, blur, find_texture_threshold, ramp_texture, smooth_noise

Mask = NDArray[np.bool_]

TISSUE_SHARE = 0.56
"""Share of a slide that is tissue."""


@dataclass(frozen=True)
class Tissue:
    """The plan of a slide; every array has the slide's shape.

    Attributes:
        mask: Where there is tissue.
        angle: Direction of the fibres, in radians.
        fat: How fatty the tissue is; vacuoles are drawn with this probability.
        tumour: How far the tissue is invaded, from 0 to 1.
        annotation: What a pathologist outlined as invaded: a little wider and rounder than what is.
    """

    mask: Mask
    angle: Field
    fat: Field
    tumour: Field
    annotation: Mask


def draw_tissue_plan(rng: np.random.Generator, patient: DrawnPatient) -> Tissue:
    """Draws the plan of a patient's slide."""
    shape = (patient.height, patient.width)
    mask = _draw_tissue_outline(rng, shape, is_cut=patient.is_cut)
    angle = rng.uniform(0, np.pi) + 0.8 * smooth_noise(rng, shape, 180) + 0.3 * smooth_noise(rng, shape, 28)
    tumour = _invaded_region(rng, mask, patient.character.tumour)
    fatness = smooth_noise(rng, shape, 110, 3)
    fat = ramp_texture(fatness, find_texture_threshold(fatness, patient.character.fat, mask), 0.8)
    return Tissue(
        mask=mask,
        angle=angle.astype(np.float32),
        fat=fat * (1 - np.float32(0.75) * tumour),
        tumour=tumour,
        annotation=_annotate_tumour(rng, mask, tumour),
    )


def _annotate_tumour(rng: np.random.Generator, mask: Mask, tumour: Field) -> Mask:
    """Outlines the invaded region as a pathologist does with a coarse brush: generously, and now and then wrongly."""
    return np.asarray(
        (blur(tumour, 24) + 0.15 * smooth_noise(rng, mask.shape, 80) > 0.4) & (blur(tumour, 40) > 0.05) & mask
    )


def _draw_tissue_outline(rng: np.random.Generator, shape: Shape, *, is_cut: bool) -> Mask:
    """Draws a ragged blob with tears; a cut one reaches over the right or the lower border."""
    height, width = shape
    centre = np.array([0.5, 0.5]) + rng.uniform(-0.03, 0.03, 2)
    if is_cut:
        centre[rng.integers(2)] += 0.16
    y = (np.arange(height, dtype=np.float32)[:, None] / height - centre[0]) * 2
    x = (np.arange(width, dtype=np.float32)[None] / width - centre[1]) * 2
    # A power of 3 rather than 2 makes the blob fuller than an ellipse.
    inwards = -((np.abs(x) ** 3 + np.abs(y) ** 3) ** np.float32(1 / 3))
    ragged = inwards + 0.14 * smooth_noise(rng, shape, max(shape) / 3.5, 6)
    if not is_cut:  # glass on every side
        to_border = np.maximum(np.abs(x + 2 * centre[1] - 1), np.abs(y + 2 * centre[0] - 1))
        ragged -= 4 * np.maximum(to_border - 0.88, 0)
    tears = np.abs(smooth_noise(rng, shape, 160, 4)) + 0.5 * ramp_texture(smooth_noise(rng, shape, 120), 1.3, -0.6)
    least = find_texture_threshold(ragged, TISSUE_SHARE, np.ones(shape, np.bool_))
    return np.asarray((ragged > least) & (tears > 0.03))


def _invaded_region(rng: np.random.Generator, mask: Mask, share: float) -> Field:
    if share == 0:
        return np.zeros(mask.shape, np.float32)
    # Two scales: the mass, and its tongues into the tissue around.
    field = smooth_noise(rng, mask.shape, max(max(mask.shape) / 3, 120)) + 0.15 * smooth_noise(rng, mask.shape, 50, 2)
    return ramp_texture(field, find_texture_threshold(field, share, mask), 0.12)
