"""What a bundle keeps of its training data, to compare later deliveries with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bcd.bundle.reference import (
    LOGIT_EDGES,
    QUANTILES,
    Distribution,
    Feature,
    ReferenceStatistics,
    describe_training,
    measure_reference_patches,
    measure_reference_scores,
)
from bcd.preprocessing.stains import REFERENCE_STAINS

RNG = np.random.default_rng(5)


def stain(vectors, n):
    """Draws patches whose pixels hold random amounts of two stains."""
    amounts = RNG.gamma(1.2, 0.5, (n, 50, 50, 2)) * (RNG.random((n, 50, 50, 2)) < 0.7)
    return np.clip(np.rint(256 * np.exp(-amounts @ vectors) - 1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pixels():
    return stain(REFERENCE_STAINS.vectors, 60)


@pytest.fixture(scope="module")
def patients():
    return np.repeat(["h1/a", "h1/b", "h1/c"], [40, 15, 5])


@pytest.fixture(scope="module")
def scores():
    return measure_reference_scores([-20.0, -0.5, 0.0, 30.0], [0.0, 0.05, 0.5, 0.999], ["a", "a", "b", "b"])


@pytest.fixture(scope="module")
def reference(pixels, patients, scores):
    return describe_training(lambda rows: pixels[rows], patients, scores)


def test_what_is_measured_is_what_the_pixels_say():
    flat = np.full((1, 50, 50, 3), (100, 150, 200), np.uint8)
    striped = np.zeros((1, 50, 50, 3), np.uint8)
    striped[:, :, ::2] = 200

    found = {name: float(values[0]) for name, values in measure_reference_patches(flat).items()}

    assert (found["red"], found["green"], found["blue"]) == (100, 150, 200)
    assert found["density_green"] == pytest.approx(-np.log(151 / 256), rel=1e-5)
    assert (found["tissue"], found["contrast"]) == (1, 0)
    assert measure_reference_patches(striped)["contrast"][0] == 100  # 200 along the rows, 0 along the columns


def test_measuring_many_patches_is_measuring_each():
    many = RNG.integers(0, 256, (600, 50, 50, 3), dtype=np.uint8)

    together = measure_reference_patches(many)

    for row in (0, 511, 512, 599):
        for name, values in measure_reference_patches(many[row : row + 1]).items():
            assert together[name][row] == pytest.approx(values[0])


def test_a_distribution_is_its_values_mean_spread_and_quantiles():
    found = Distribution.of(np.arange(101))

    assert (found.n, found.mean) == (101, 50)
    assert found.deviation == pytest.approx(np.std(np.arange(101), ddof=1))
    assert found.quantiles == pytest.approx([100 * share for share in QUANTILES])
    assert Distribution.of([3.0]).deviation == 0


def test_every_patient_weighs_the_same_over_patients():
    found = Feature.of([0.0] * 98 + [1.0, 1.0], np.repeat([0, 1], [98, 2]))

    assert found.patches.mean == pytest.approx(0.02)
    assert (found.patients.mean, found.patients.n) == (0.5, 2)


def test_scores_are_counted_with_open_bins_outside(scores):
    assert (len(scores.logits), sum(scores.logits)) == (len(LOGIT_EDGES) + 1, 4)
    assert (scores.logits[0], scores.logits[-1]) == (1, 1)
    assert scores.logits[10:12] == (1, 1)  # -0.5, and 0 itself, which is above its edge
    assert (scores.probabilities[0], scores.probabilities[1], scores.probabilities[-1]) == (1, 1, 1)
    assert scores.logit.patients.n == 2


def test_the_stains_of_the_training_data_are_found_again(reference):
    for found, true in zip(
        (reference.stains.haematoxylin, reference.stains.eosin), REFERENCE_STAINS.vectors, strict=True
    ):
        assert np.degrees(np.arccos(np.dot(found, true) / np.linalg.norm(true))) < 4
        assert np.linalg.norm(found) == pytest.approx(1)
    assert reference.stains.angle.n == 3
    assert reference.stains.angle.mean == pytest.approx(20.4, abs=4)


def test_another_stain_is_told_from_it(reference, patients, scores):
    redder = REFERENCE_STAINS.vectors * [1.6, 0.8, 1.0]
    other = stain(redder / np.linalg.norm(redder, axis=1, keepdims=True), 60)

    found = describe_training(lambda rows: other[rows], patients, scores)

    assert found.stains.haematoxylin[0] > reference.stains.haematoxylin[0] + 0.1
    assert found.features["density_red"].patients.mean > reference.features["density_red"].patients.quantiles[-1]


def test_patches_of_each_patient_are_counted(reference):
    assert (reference.patch_counts.n, reference.patch_counts.mean) == (3, 20)
    assert reference.features["red"].patches.n == 60


def test_it_is_the_same_however_many_patches_are_read_at_once(reference, pixels, patients, scores):
    read = []

    def read_few(rows):
        read.append(len(rows))
        return pixels[rows]

    few = describe_training(read_few, patients, scores, chunk=7)

    assert max(read) <= 16  # those of a patient, for its stains
    assert few == reference


def test_patches_of_glass_have_no_stains(patients, scores):
    glass = np.full((60, 50, 50, 3), 245, np.uint8)

    assert describe_training(lambda rows: glass[rows], patients, scores).stains is None


def test_it_survives_json_and_names_no_patient(reference):
    text = reference.model_dump_json()

    assert ReferenceStatistics.model_validate_json(text) == reference
    assert "h1" not in json.dumps(json.loads(text))
