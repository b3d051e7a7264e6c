"""The model that comes with this very copy of bcd: small, whole, and able to score."""

from __future__ import annotations

import numpy as np
import pytest

from bcd import load_released
from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.released import OUT_OF_FOLD, RELEASED, released_folder
from bcd.bundle.released.card import OF_THE_RECIPE, write_released_card
from bcd.bundle.released.figures import read_released_figures

pytestmark = pytest.mark.skipif(
    not (released_folder() / "bundle").is_dir(), reason="a checkout from before it was trained"
)


def test_it_scores_and_says_where_it_comes_from() -> None:
    bundle = load_released()
    assert bundle.record.origin == RELEASED
    assert np.isfinite(bundle.score(draw_tissue_probes(4))["probability"]).all()


def test_it_knows_every_patient_and_every_patch_that_it_was_trained_on() -> None:
    bundle, data = load_released(), read_released_figures().data
    assert bundle.seen is not None
    assert len(bundle.seen.patients) == data.patients
    assert len(bundle.seen.pixels) == data.patches
    assert {patient.partition("/")[0] for patient in bundle.seen.patients} == {data.hospital}


def test_it_says_how_far_patches_lie_from_its_training_patients() -> None:
    distance = load_released().measure(draw_tissue_probes(40))
    assert distance is not None
    assert np.isfinite(distance.detail)


def test_it_keeps_profiles_of_its_patients_to_compare_deliveries_with() -> None:
    reference, data = load_released().record.reference, read_released_figures().data
    assert reference is not None
    assert reference.known is not None
    assert len(reference.known.pictures.means) == len(reference.known.scores.means) == data.patients
    assert set(reference.known.pictures.hospitals) == {data.hospital}


def test_its_card_stands_on_its_figures() -> None:
    card = write_released_card()
    assert OF_THE_RECIPE in card.markdown
    assert f"{read_released_figures().natural.n_patches:,} patches" in card.markdown


def test_it_is_at_most_five_megabytes() -> None:
    files = [path for path in released_folder().rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 5e6
    assert (released_folder() / OUT_OF_FOLD) in files
