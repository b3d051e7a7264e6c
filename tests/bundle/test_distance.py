"""Patches unlike those that were learned from are told, and those that were sharpened or magnified are refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bcd.bundle.distance import MAGNIFIED, SMOOTH, Distance, measure_distance_from_reference
from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.reference import ReferenceStatistics, describe_training, measure_reference_scores
from bcd.errors import BcdError
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare

TISSUE = draw_tissue_probes(60)


@pytest.fixture(scope="module")
def reference() -> ReferenceStatistics:
    """Of twelve patients of five patches, which differ in stain and in detail as patients do."""
    random = np.random.default_rng(3)
    shift = random.normal(0, 8, (12, 1, 1, 1, 1)) + random.normal(0, 3, (12, 1, 1, 1, 3))
    pixels = np.clip(TISSUE.reshape(12, 5, 50, 50, 3) + shift, 0, 255).astype(np.uint8).reshape(60, 50, 50, 3)
    patients = np.repeat(np.arange(12), 5).astype(str)
    scores = measure_reference_scores(np.zeros(2), np.full(2, 0.5), ["a", "b"])
    return describe_training(lambda rows: pixels[rows], patients, scores)


def test_tissue_like_that_learned_from_is_near(reference: ReferenceStatistics) -> None:
    distance = measure_distance_from_reference(reference, TISSUE)
    assert abs(distance.detail) < 2
    assert distance.warnings() == []
    distance.require_raw("x")


def test_sharpened_patches_are_refused_whoever_cut_them(reference: ReferenceStatistics) -> None:
    distance = measure_distance_from_reference(reference, prepare(TISSUE, PrepareOptions(sharpen=True)))
    for tiled in (True, False):
        with pytest.raises(BcdError, match="sharpened"):
            distance.require_raw("x", tiled=tiled)


def test_patches_of_a_finer_magnification_are_refused_but_not_what_was_cut_at_a_known_one(
    reference: ReferenceStatistics,
) -> None:
    finer = np.stack([cv2.resize(patch[20:24, 20:24], (50, 50), interpolation=cv2.INTER_CUBIC) for patch in TISSUE])
    distance = measure_distance_from_reference(reference, finer)
    assert distance.fineness is not None
    assert distance.fineness < MAGNIFIED
    with pytest.raises(BcdError, match=f"{distance.fineness:.0f} "):
        distance.require_raw("x")
    distance.require_raw("x", tiled=True)
    assert [told for told in distance.warnings() if f"{distance.fineness:.0f} " in told]


def test_a_little_out_of_focus_is_told_and_not_refused(reference: ReferenceStatistics) -> None:
    dull = np.stack([cv2.GaussianBlur(patch, (0, 0), 0.7) for patch in TISSUE])
    distance = measure_distance_from_reference(reference, dull)
    assert distance.fineness is not None
    assert MAGNIFIED < distance.fineness < SMOOTH
    distance.require_raw("x")
    assert [told for told in distance.warnings() if "out of focus" in told]


def test_a_single_patch_without_fine_detail_says_nothing_of_the_magnification(reference: ReferenceStatistics) -> None:
    flat = np.full((1, 50, 50, 3), (210, 160, 190), np.uint8)
    measure_distance_from_reference(reference, flat).require_raw("x")


def test_few_patches_have_room_to_differ(reference: ReferenceStatistics) -> None:
    pale = (255 - (255 - TISSUE) // 4).astype(np.uint8)
    assert abs(measure_distance_from_reference(reference, pale[:1]).detail) < abs(
        measure_distance_from_reference(reference, pale).detail
    )
    assert Distance(0.0).warnings() == []
