"""Each statistic answers to the fault that it is there for, and little to others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bcd.bundle.probes import draw_tissue_probes
from bcd.drift.measure import PICTURE, SCORE, measure_patches, measure_scores, name_stains
from bcd.drift.profiles import find_patient_stains, profile_pictures, profile_scores

TISSUE = draw_tissue_probes(24)


def mean_of(pixels: np.ndarray) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in measure_patches(pixels).items()}


def test_what_is_measured_is_what_the_pixels_say() -> None:
    flat = np.full((1, 50, 50, 3), (100, 150, 200), np.uint8)
    striped = np.zeros((1, 50, 50, 3), np.uint8)
    striped[:, :, ::2] = 200
    found = mean_of(flat)
    assert (found["red"], found["green"], found["blue"]) == (100, 150, 200)
    assert found["density_green"] == pytest.approx(-np.log(151 / 256), rel=1e-5)
    assert (found["tissue"], found["contrast"], found["darkest"], found["brightest"]) == (1, 0, 150, 150)
    assert mean_of(striped)["contrast"] == 100  # 200 along the rows, 0 along the columns
    assert mean_of(striped)["brightest"] == 200


def test_measuring_many_patches_is_measuring_each() -> None:
    many = np.random.default_rng(5).integers(0, 256, (600, 50, 50, 3), dtype=np.uint8)
    together = measure_patches(many)
    for row in (0, 511, 512, 599):
        for name, values in measure_patches(many[row : row + 1]).items():
            assert together[name][row] == pytest.approx(values[0])


def test_blur_takes_sharpness_and_leaves_density() -> None:
    before, after = mean_of(TISSUE), mean_of(np.stack([cv2.GaussianBlur(patch, (0, 0), 1.0) for patch in TISSUE]))
    assert after["sharpness"] < before["sharpness"] - 0.1
    assert after["density_green"] == pytest.approx(before["density_green"], rel=0.05)


def test_sharpness_does_not_answer_to_a_paler_stain() -> None:
    before, after = mean_of(TISSUE), mean_of((255 - (255 - TISSUE) // 2).astype(np.uint8))
    assert after["contrast"] < 0.6 * before["contrast"]
    assert after["sharpness"] == pytest.approx(before["sharpness"], abs=0.05)


def test_compression_takes_the_sharpness_of_colour() -> None:
    def compress(patch: np.ndarray) -> np.ndarray:
        return np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", patch, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)
        )

    before, after = mean_of(TISSUE), mean_of(np.stack([compress(patch) for patch in TISSUE]))
    assert after["colour_sharpness"] < before["colour_sharpness"] - 0.1
    assert abs(after["sharpness"] - before["sharpness"]) < 0.1


def test_a_profile_has_every_statistic_and_how_many_patches_it_is_of() -> None:
    found = profile_pictures(np.concatenate([TISSUE] * 4))
    assert set(found.means) == set(PICTURE)
    assert found.patches == 64
    assert profile_pictures(TISSUE[:3]).patches == 3


def test_glass_has_no_stains() -> None:
    glass = np.full((3, 50, 50, 3), 245, np.uint8)
    assert name_stains(find_patient_stains(glass)) == {}
    assert set(PICTURE) - set(profile_pictures(glass).means) == set(name_stains(find_patient_stains(TISSUE)))


def test_scores_are_probability_confidence_and_abstention() -> None:
    found = measure_scores([-4.0, 0.0, 4.0], [0.04, 0.5, 0.96])
    assert set(found) == set(SCORE)
    assert found["confidence"].tolist() == [0.96, 0.5, 0.96]
    assert found["abstained"].tolist() == [0, 1, 0]
    assert profile_scores([-4.0, 0.0, 4.0], [0.04, 0.5, 0.96]).means["abstained"] == pytest.approx(1 / 3)
