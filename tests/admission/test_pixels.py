"""What a patch's pixels show: nothing, no sharp edge, ink, an unusual stain."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.pixels import (
    FLAG_BIT,
    MIN_SLIDES,
    blank_refusal,
    far_slides,
    find_blank,
    flag_delivered_pixels,
    hash_delivered_pixels,
    look_at_pixels,
    optical_density,
)
from bcd.bundle.probes import draw_tissue_probes
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare

PINK, VIOLET, BLUE, GREEN = (230, 150, 190), (120, 70, 140), (40, 80, 200), (60, 190, 120)


def _flat(*colour: int) -> np.ndarray:
    return np.zeros((50, 50, 3), np.uint8) + np.array(colour, np.uint8)


def _tissue(size: int = 50) -> np.ndarray:
    """Pink with violet nuclei in the upper left `size` pixels, white elsewhere."""
    patch = _flat(240, 240, 240)
    patch[:size, :size] = PINK
    for corner in range(2, size - 3, 8):
        patch[corner : corner + 3, 2 : size - 2 : 4] = VIOLET
    return patch


def _blank(*patches: np.ndarray) -> list[bool]:
    return list(find_blank(look_at_pixels(np.stack(patches))).tolist())


def _flags(patch: np.ndarray) -> set[str]:
    [bits] = flag_delivered_pixels(look_at_pixels(patch[None]))
    return {flag for flag, bit in FLAG_BIT.items() if bits & bit}


@pytest.mark.parametrize("grey", [0, 20, 128, 240, 255])
def test_one_shade_of_grey_is_blank(grey: int) -> None:
    assert _blank(_flat(grey, grey, grey)) == [True]


def test_noise_of_a_scanner_does_not_make_glass_a_picture() -> None:
    noise = np.random.default_rng(0).integers(-1, 2, (50, 50, 3))
    assert _blank((_flat(238, 236, 237) + noise).astype(np.uint8)) == [True]


def test_tissue_is_not_blank_nor_flagged() -> None:
    assert _blank(_tissue()) == [False]
    assert _flags(_tissue()) == set()


@given(size=st.integers(8, 50))
def test_a_sliver_of_tissue_on_glass_is_not_blank(size: int) -> None:
    assert _blank(_tissue(size)) == [False]


def test_each_patch_is_checked_by_itself_wherever_it_stands_in_the_chunk() -> None:
    glass = _flat(240, 240, 240)
    assert _blank(glass, _tissue(), glass, glass, _tissue()) == [True, False, True, True, False]


@pytest.mark.parametrize("size", [12, 50])
def test_what_is_out_of_focus_is_flagged_and_not_called_blank(size: int) -> None:
    blurred = np.asarray(cv2.GaussianBlur(_tissue(size), (0, 0), 6))
    assert "blur" in _flags(blurred)
    assert _blank(blurred) == [False]


def test_what_was_sharpened_is_flagged() -> None:
    sharpened = prepare(draw_tissue_probes(20), PrepareOptions(sharpen=True))
    assert sum("sharp" in _flags(patch) for patch in sharpened) > 5
    assert not any("sharp" in _flags(patch) for patch in draw_tissue_probes(20))


def test_values_that_were_scaled_to_0_and_1_are_blank_and_told_so() -> None:
    scaled = _tissue() // 255
    assert _blank(scaled) == [True]
    assert "scaled to 0..1" in blank_refusal(look_at_pixels(scaled[None]).colours[0]).message


@pytest.mark.parametrize("ink", [BLUE, GREEN])
def test_marker_ink_is_flagged_and_not_called_blank(ink: tuple[int, ...]) -> None:
    stroke = _flat(*ink)
    assert "pen" in _flags(stroke)
    assert _blank(stroke) == [False]


@given(st.lists(st.sampled_from([PINK, VIOLET, (200, 160, 200), (250, 220, 235)]), min_size=1, max_size=4))
def test_colours_of_haematoxylin_and_eosin_are_not_ink(colours: list[tuple[int, ...]]) -> None:
    patch = _tissue()
    for place, colour in enumerate(colours):
        patch[10 * place : 10 * place + 5] = colour
    assert "pen" not in _flags(patch)


def test_a_slide_is_far_from_the_others_only_once_enough_are_known() -> None:
    generator = np.random.default_rng(0)
    known = generator.normal([0.15, 0.3, 0.2], 0.03, (MIN_SLIDES, 3))
    arriving = np.array([[0.15, 0.3, 0.2], [0.15, 0.3, 0.6]])
    assert far_slides(known, arriving).tolist() == [False, True]
    assert far_slides(known[:-1], arriving).tolist() == [False, False]


def test_optical_density_of_white_is_nothing_and_of_black_is_finite() -> None:
    assert optical_density(np.array([255.0, 25.5, 0.0])).tolist() == pytest.approx([0, 1, np.log10(255)])


def test_a_hash_is_of_the_pixels_however_they_lie_in_memory() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 50, 50, 3), dtype=np.uint8)
    turned = np.asfortranarray(patches)
    assert not turned.flags.c_contiguous
    assert hash_delivered_pixels(turned).tobytes() == hash_delivered_pixels(patches).tobytes()
    assert hash_delivered_pixels(patches)[1].tobytes() == hashlib.sha256(patches[1].tobytes()).digest()
    assert hash_delivered_pixels(patches[:0]).shape == (0, 32)
