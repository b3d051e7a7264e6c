from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bcd.synthetic.hospital import cut_drawn_slide
from bcd.synthetic.nuclei import draw_nuclei, stamp_nuclei
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import DrawnPatient, draw_synthetic_patients
from bcd.synthetic.slide import DrawnSlide, draw_synthetic_slide
from bcd.synthetic.texture import fibres, smooth_noise, spread_texture_points


@pytest.fixture(scope="module")
def patient() -> DrawnPatient:
    return next(
        p for p in draw_synthetic_patients(HospitalOptions(seed=4, patients=4)) if p.character.tumour and not p.is_cut
    )


@pytest.fixture(scope="module")
def slide(patient: DrawnPatient) -> DrawnSlide:
    return draw_synthetic_slide(patient)


def test_background_is_near_white_and_tissue_is_pink_or_purple(slide: DrawnSlide) -> None:
    glass, tissue = slide.image[~slide.tissue], slide.image[slide.tissue]
    assert np.median(glass, axis=0).min() > 225
    red, green, blue = np.median(tissue, axis=0)
    assert green < min(red, blue)  # RGB, not BGR: eosin takes green; haematoxylin takes red
    assert slide.image.dtype == np.uint8


def test_the_invaded_region_is_darker_in_red_than_the_rest_of_the_tissue(slide: DrawnSlide) -> None:
    red = slide.image[..., 0]
    assert red[slide.tumour].mean() < red[slide.tissue & ~slide.tumour].mean()


def test_a_patient_without_a_tumour_has_no_positive_patch(patient: DrawnPatient) -> None:
    free = dataclasses.replace(patient, character=dataclasses.replace(patient.character, tumour=0.0))
    slide = draw_synthetic_slide(free)
    assert not slide.tumour.any()
    assert {patch.name.label for patch in cut_drawn_slide(free, slide)} == {0}


def test_patches_are_the_slide_cut_along_the_grid(patient: DrawnPatient, slide: DrawnSlide) -> None:
    patches = cut_drawn_slide(patient, slide)
    for patch in patches:
        y, x = patch.name.y - 1, patch.name.x - 1
        assert np.array_equal(patch.pixels, slide.image[y : y + 50, x : x + 50])
        own = slide.tissue[y : y + 50, x : x + 50]
        invaded = (slide.tumour[y : y + 50, x : x + 50] & own).sum()
        assert own.sum() >= 250
        assert patch.name.label == int(invaded >= own.sum() / 2)


def test_a_nucleus_has_the_size_and_place_that_were_asked() -> None:
    canvas = np.zeros((40, 60), np.float32)
    points = np.array([[20.25, 10.5], [59.0, 39.0]], np.float32)  # the second one hangs over the corner
    nuclei = draw_nuclei(np.random.default_rng(0), points, radius=3.0, radius_spread=0, darkness_spread=0)
    stamp_nuclei(canvas, nuclei)
    alone = canvas[:25, :40]
    y, x = np.mgrid[:25, :40]
    assert alone.sum() == pytest.approx(np.pi * 3**2, rel=0.1)
    assert (alone * x).sum() / alone.sum() == pytest.approx(20.25, abs=0.1)
    assert (alone * y).sum() / alone.sum() == pytest.approx(10.5, abs=0.1)
    assert canvas[39, 59] == pytest.approx(1)


def test_noise_has_unit_deviation_at_every_number_of_octaves() -> None:
    for octaves in (1, 4):
        noise = smooth_noise(np.random.default_rng(octaves), (600, 600), 12, octaves)
        assert noise.std() == pytest.approx(1, abs=0.15)


def test_fibres_run_along_their_direction() -> None:
    streaks = fibres(np.random.default_rng(1), np.zeros((200, 200), np.float32), 1.0)
    along, across = np.diff(streaks, axis=1).std(), np.diff(streaks, axis=0).std()
    assert along < across / 3


def test_spread_points_keep_their_distance_and_lie_inside() -> None:
    points = spread_texture_points(np.random.default_rng(2), (80, 120), 8, 0.1)
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 4
    assert (points >= 0).all()
    assert points[:, 0].max() < 120
    assert points[:, 1].max() < 80
