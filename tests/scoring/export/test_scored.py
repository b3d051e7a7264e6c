"""What is exported is what the report shows: the last scoring, as long as nothing that it stands on has changed."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.evaluation.outcome import OutcomeRule
from bcd.patches import Hospital, PatientId
from bcd.scoring.export.scored import find_scored_patient, require_export_packages
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import score_patient
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.withdrawals import record_withdrawal

EAST, PATIENT = Hospital("east"), PatientId("1001")


@pytest.fixture
def score(store, bundle, make_patches):
    """Admits a patient of these slides, and scores the patient as often as it is called."""

    def do(*slides: str):
        for seed, slide in enumerate(slides):
            store.admit(*make_patches([(0, 0), (1, 0)], slide=slide, seed=seed))
        return score_patient(store, bundle, EAST, PATIENT, ScoreOptions())

    return do


def find(store, **options):
    return find_scored_patient(store, EAST, PATIENT, ScoreOptions(**options))


def test_the_stored_scores_of_the_last_scoring_are_found(store, bundle, score) -> None:
    score("5", "11")
    found = find(store)
    assert (found.key, found.bundle, found.slides) == ("east/1001", "bcd-idc/7", ("11", "5"))
    bundle.name = "bcd-idc/8"
    last = score()
    assert find(store).bundle == "bcd-idc/8"
    pd.testing.assert_frame_equal(find(store).scores, pd.read_parquet(last.scores))
    assert find(store).drift == last.drift.state
    pixels = find(store).read(find(store).of_slide("5"))
    assert pixels.shape == (2, 50, 50, 3)


def test_slides_are_chosen_by_name(scored) -> None:
    found = scored(["5", "11"])
    assert found.choose(["5"]).slides == ("5",)
    assert found.choose([]).slides == ("5", "11")
    with pytest.raises(NotFoundError, match=r"7.*5, 11"):
        found.choose(["5", "7"])


def test_who_is_not_scored_as_they_are_now_is_refused(store, make_patches, score) -> None:
    store.admit(*make_patches([(3, 3)], patient="1002"))
    with pytest.raises(BcdError, match="bcd score 1002"):
        find_scored_patient(store, EAST, PatientId("1002"), ScoreOptions())
    score("5")
    with pytest.raises(BcdError, match="changed since"):
        find(store, outcome=OutcomeRule(level=0.99))
    store.admit(*make_patches([(3, 3)], seed=9))
    with pytest.raises(BcdError, match=r"changed since.*bcd score 1001"):
        find(store)
    folder = score().folder
    assert len(find(store).scores) == 3
    shutil.rmtree(folder)
    with pytest.raises(BcdError, match="not scored"):
        find(store)


def test_a_withdrawn_patient_is_not_exported(store, score) -> None:
    score("5")
    declare_hospital(store, "east", "pseudonyms", SignOff("Mary", "test"))
    record_withdrawal(store, "1001", hospital="east", sign_off=SignOff("Mary", "a letter"))
    with pytest.raises(BcdError, match="withdrawn"):
        find(store)


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(BcdError, match=r"no_such_package.*bcd\[ome\]"):
        require_export_packages("ome-tiff", ["json", "no_such_package"], "ome")
