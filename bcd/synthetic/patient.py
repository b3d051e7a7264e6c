"""What distinguishes one synthetic patient from another, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS, PatientId
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.stain import Stain, draw_habit, draw_hospital_stain

# The public set's patients have numbers under 20000: a synthetic patient is never taken for one on its lists.
_NUMBERS = range(20_000, 100_000)


@dataclass(frozen=True)
class Character:
    """A patient's tissue and tumour.

    Attributes:
        fat: Share of the tissue that is fat.
        lobules: Lobules and ducts per 100 patches.
        hyperplasia: Share of acini and ducts that are filled with cells.
        inflammation: Clusters of lymphocytes per 100 patches.
        cellularity: Density of the stroma's spindle cells; 1 is common.
        tumour: Share of the tissue that is invaded; 0 for a patient without a tumour.
        nests: Share of the invaded region that tumour cells cover.
        nest_size: Typical width of a nest, in pixels.
        epithelium: Radius of a benign epithelial nucleus, in pixels.
        cords: Whether the nests are stretched along the fibres.
        radius: Radius of a tumour nucleus, in pixels.
        pleomorphism: Spread of the logarithm of that radius.
        darkness: Haematoxylin in a tumour nucleus; 1 is a normal nucleus.
    """

    fat: float
    lobules: float
    hyperplasia: float
    inflammation: float
    cellularity: float
    tumour: float
    nests: float
    nest_size: float
    epithelium: float
    cords: bool
    radius: float
    pleomorphism: float
    darkness: float


@dataclass(frozen=True)
class DrawnPatient:
    """One patient with one slide; everything that is drawn follows from this.

    Attributes:
        id: Five digits.
        delivery: Number of the delivery that holds the patient, 1 or 2.
        width: Width of the slide, in pixels.
        height: Height of the slide, in pixels.
        is_cut: Whether the slide's frame cuts the tissue, which makes edge pieces.
        seed: Seed of the drawing.
    """

    id: PatientId
    delivery: int
    width: int
    height: int
    is_cut: bool
    character: Character
    stain: Stain
    seed: tuple[int, int]


def draw_synthetic_patients(options: HospitalOptions) -> list[DrawnPatient]:
    """Draws the patients of a hospital, in order of their numbers; equal options draw equal patients."""
    rng = np.random.default_rng([options.seed, 0])
    small, large = options.patients, options.large_patients
    habit = draw_habit(rng)
    numbers = rng.choice(_NUMBERS, small + large, replace=False)
    first = min(max(round(options.first_share * small), 1), small - 1)  # each delivery has a patient
    tumour_free = _draw_flags(rng, small, round(options.tumour_free_share * small))
    cut = _draw_flags(rng, small, int(np.ceil(options.cut_share * small)))
    patients = []
    for index, number in enumerate(numbers):
        is_large = index >= small
        own = np.random.default_rng([options.seed, 1, index])
        is_cut = not is_large and bool(cut[index])
        patches = (
            options.large_patches * own.uniform(0.9, 1.1)
            if is_large
            else options.small_patches * own.uniform(0.7, 1.3)
        )
        width, height = _slide_size(own, patches, is_cut=is_cut)
        patients.append(
            DrawnPatient(
                id=PatientId(str(number)),
                delivery=1 + (index - small) % 2 if is_large else (1 if index < first else 2),
                width=width,
                height=height,
                is_cut=is_cut,
                character=_draw_character(
                    own, _share_of_invasion(is_large=is_large, is_free=not is_large and bool(tumour_free[index]))
                ),
                stain=draw_hospital_stain(own, habit),
                seed=(options.seed, index),
            )
        )
    return sorted(patients, key=lambda patient: patient.id)


def _draw_character(rng: np.random.Generator, tumour: tuple[float, float] | None) -> Character:
    """Draws one patient's tissue and tumour; `tumour` bounds the share that it invades, None means no tumour."""
    cords = bool(rng.random() < 0.4)
    return Character(
        fat=float(rng.beta(1.3, 3.2)),
        lobules=float(min(rng.lognormal(np.log(22), 0.7), 45)),
        hyperplasia=float(rng.beta(1.5, 3)),
        inflammation=float(rng.lognormal(np.log(7), 0.8)),
        cellularity=float(rng.lognormal(0, 0.4)),
        tumour=float(rng.uniform(*tumour)) if tumour else 0.0,
        nests=float(rng.uniform(0.10, 0.30) if cords else rng.uniform(0.14, 0.5)),
        nest_size=float(rng.uniform(5, 8) if cords else rng.uniform(7, 18)),
        epithelium=float(rng.uniform(0.95, 1.25)),
        cords=cords,
        radius=float(rng.uniform(1.05, 1.5)),
        pleomorphism=float(rng.uniform(0.12, 0.3)),
        darkness=float(0.75 * rng.lognormal(0, 0.22)),
    )


def _share_of_invasion(*, is_large: bool, is_free: bool) -> tuple[float, float] | None:
    if is_large:  # a resection shows more of what surrounds the tumour than a biopsy
        return (0.15, 0.4)
    return None if is_free else (0.12, 0.75)


def _draw_flags(rng: np.random.Generator, n: int, true: int) -> NDArray[np.bool_]:
    """Returns n flags of which exactly `true` are set."""
    return rng.permutation(np.arange(n) < true)


def _slide_size(rng: np.random.Generator, patches: float, *, is_cut: bool) -> tuple[int, int]:
    """Returns width and height, in pixels, of a slide on which tissue covers about `patches` cells."""
    # Cells at the outline count in full, so a small slide needs less room than its patches.
    edge = PATCH_PIXELS * np.sqrt(patches / 0.62)
    stretch = np.exp(rng.uniform(-0.13, 0.13))
    # A slide of whole cells has no edge pieces; a cut one has pieces that are neither whole nor slivers.
    rest = rng.integers(12, 45, 2) if is_cut else (0, 0)
    width, height = (
        max(round(length / PATCH_PIXELS), 2) * PATCH_PIXELS for length in (edge * stretch, edge / stretch)
    )
    return int(width + rest[0]), int(height + rest[1])
