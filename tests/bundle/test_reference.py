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
    measure_reference_scores,
)
from bcd.drift.measure import PICTURE, SCORE

RNG = np.random.default_rng(5)
STAIN_VECTORS = np.array([[0.4985, 0.7489, 0.4365], [0.1925, 0.8324, 0.5197]])


def stain(vectors, n):
    """Draws patches whose pixels hold random amounts of two stains."""
    amounts = RNG.gamma(1.2, 0.5, (n, 50, 50, 2)) * (RNG.random((n, 50, 50, 2)) < 0.7)
    return np.clip(np.rint(256 * np.exp(-amounts @ vectors) - 1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pixels():
    return stain(STAIN_VECTORS, 60)


@pytest.fixture(scope="module")
def patients():
    return np.repeat(["h1/a", "h1/b", "h1/c"], [40, 15, 5])


@pytest.fixture(scope="module")
def scores():
    return measure_reference_scores(
        [-20.0, -0.5, 0.0, 30.0], [0.0, 0.05, 0.5, 0.999], ["h1/a", "h1/a", "h1/b", "h1/b"]
    )


@pytest.fixture(scope="module")
def reference(pixels, patients, scores):
    return describe_training(lambda rows: pixels[rows], patients, scores)


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
    for found, true in zip((reference.stains.haematoxylin, reference.stains.eosin), STAIN_VECTORS, strict=True):
        assert np.degrees(np.arccos(np.dot(found, true) / np.linalg.norm(true))) < 4
        assert np.linalg.norm(found) == pytest.approx(1)
    assert reference.stains.angle.n == 3
    assert reference.stains.angle.mean == pytest.approx(20.4, abs=4)


def test_another_stain_is_told_from_it(reference, patients, scores):
    redder = STAIN_VECTORS * [1.6, 0.8, 1.0]
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


def test_it_keeps_a_profile_of_each_patient_to_compare_with(reference):
    known = reference.known

    assert (known.pictures.statistics, known.scores.statistics) == (tuple(PICTURE), tuple(SCORE))
    assert sorted(known.pictures.patches) == [5, 15, 40]
    assert known.scores.hospitals == ("h1", "h1")
    density = known.pictures.statistics.index("density_red")
    means = [row[density] for row in known.pictures.means]
    assert np.mean(means) == pytest.approx(reference.features["density_red"].patients.mean, rel=1e-3)
    assert None not in known.pictures.means[0]


def test_it_survives_json_and_names_no_patient(reference):
    text = reference.model_dump_json()

    assert ReferenceStatistics.model_validate_json(text) == reference
    assert "h1/" not in json.dumps(json.loads(text))
