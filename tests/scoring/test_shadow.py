"""The challenger in shadow: stored apart, compared patch by patch with what the champion's report was made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import patients_to_score, score_patient
from bcd.scoring.shadow import list_agreements, list_unshadowed, remove_shadow, score_in_shadow
from bcd.store.ledger import list_ledger
from bcd.store.patients import list_patients
from bcd.store.sign_off import SignOff
from bcd.store.withdrawals import record_withdrawal

EAST, PATIENT = Hospital("east"), PatientId("1001")
OPTIONS = ScoreOptions(shadow=True)
SURE, UNSURE = 0.97, 0.7


class Told:
    """A bundle that gives the probabilities that it is told to give, one a patch."""

    def __init__(self, like, name, probability):
        self.name, self.record, self.seen, self.known = name, like.record, None, None
        self.measure, self.probability = like.measure, np.array(probability)

    def score(self, pixels, *, spread=False):
        assert spread
        scores = pd.DataFrame({"probability": self.probability[: len(pixels)], "spread": np.nan})
        return scores.assign(logit=np.log(scores["probability"] / (1 - scores["probability"])), confident_95=False)


@pytest.fixture
def champion(bundle):
    return Told(bundle, "bcd-idc/7", [SURE, SURE, SURE, 1 - SURE, UNSURE])


@pytest.fixture
def challenger(bundle):
    return Told(bundle, "bcd-idc/8", [SURE, SURE, UNSURE, 1 - SURE, 1 - UNSURE])


@pytest.fixture
def admitted(store, make_patches):
    store.admit(*make_patches([(column, 0) for column in range(5)], labels=[0, 1, 0, 1, 0]))
    return store


def shadow(store, champion, challenger, options=OPTIONS):
    return score_in_shadow(store, champion, challenger, EAST, PATIENT, options)


def test_agreement_is_that_of_the_two_stored_scores(admitted, champion, challenger):
    score_patient(admitted, champion, EAST, PATIENT, OPTIONS)
    found = shadow(admitted, champion, challenger)
    assert (found.champion, found.challenger, found.patches) == ("bcd-idc/7", "bcd-idc/8", 5)
    assert found.same_side == {"0.5": 0.8, "0.8": 0.8, "0.95": 0.8, "0.99": 1.0}
    assert found.difference == pytest.approx((SURE - UNSURE + 2 * UNSURE - 1) / 5)
    assert (found.champion_outcome, found.challenger_outcome) == ("IDC found", "Not enough confident patches")
    assert not found.same_outcome


def test_nothing_of_it_lies_with_the_reports_or_in_the_ledger(admitted, champion, challenger):
    scored = score_patient(admitted, champion, EAST, PATIENT, OPTIONS)
    before = {path: path.read_bytes() for path in admitted.settings.scores.rglob("*") if path.is_file()}
    shadow(admitted, champion, challenger)
    assert {path: path.read_bytes() for path in admitted.settings.scores.rglob("*") if path.is_file()} == before
    assert "bcd-idc/8" not in scored.report.read_text()
    assert [entry.bundle for entry in list_ledger(admitted)] == ["bcd-idc/7"]
    (kept,) = admitted.settings.shadow.rglob("scores.parquet")
    assert pd.read_parquet(kept)["probability"].tolist() == challenger.probability.tolist()


def test_it_follows_the_champion_s_scores_and_is_done_once(admitted, champion, challenger, make_patches):
    assert list_unshadowed(admitted, champion, "bcd-idc/8", OPTIONS) == []
    with pytest.raises(FileNotFoundError):
        shadow(admitted, champion, challenger)
    score_patient(admitted, champion, EAST, PATIENT, OPTIONS)
    assert list_unshadowed(admitted, champion, "bcd-idc/8", OPTIONS) == [(EAST, PATIENT)]
    first = shadow(admitted, champion, challenger)
    assert list_unshadowed(admitted, champion, "bcd-idc/8", OPTIONS) == []
    honest, challenger.score = challenger.score, None
    assert shadow(admitted, champion, challenger) == first  # not asked again
    challenger.score = honest

    admitted.admit(*make_patches([(7, 7)], seed=1))
    champion.probability = challenger.probability = np.full(6, SURE)
    score_patient(admitted, champion, EAST, PATIENT, OPTIONS)
    assert list_unshadowed(admitted, champion, "bcd-idc/8", OPTIONS) == [(EAST, PATIENT)]
    again = shadow(admitted, champion, challenger)
    assert (again.patches, again.difference) == (6, 0.0)
    assert list_agreements(admitted, "bcd-idc/8") == [again]


def test_who_withdraws_while_the_list_is_made_keeps_nobody_else_out(admitted, champion, make_patches, monkeypatch):
    admitted.admit(*make_patches([(0, 0)], patient="1002", seed=2))
    champion.probability = np.array([SURE])
    score_patient(admitted, champion, EAST, PatientId("1002"), OPTIONS)
    before = list_patients(admitted)
    record_withdrawal(admitted, PATIENT, hospital=None, sign_off=SignOff("Mary", "a letter"))
    monkeypatch.setattr("bcd.store.patients.list_patients", lambda _: before)
    assert list_unshadowed(admitted, champion, "bcd-idc/8", OPTIONS) == [(EAST, "1002")]


def test_whether_a_challenger_scores_changes_no_report(admitted, champion):
    score_patient(admitted, champion, EAST, PATIENT, ScoreOptions())
    assert patients_to_score(admitted, champion, OPTIONS) == []


def test_scores_that_are_no_numbers_leave_nothing(admitted, champion, challenger):
    score_patient(admitted, champion, EAST, PATIENT, OPTIONS)
    honest, challenger.probability = challenger.probability, np.full(5, np.nan)
    with pytest.raises(BcdError, match="bcd-idc/8"):
        shadow(admitted, champion, challenger)
    assert list_agreements(admitted, "bcd-idc/8") == []
    challenger.probability = honest
    shadow(admitted, champion, challenger)
    assert len(list_agreements(admitted, "bcd-idc/8")) == 1


def test_of_the_agreements_those_with_the_newest_champion_count_the_least_first(
    admitted, champion, challenger, make_patches
):
    admitted.admit(*make_patches([(column, 0) for column in range(5)], patient="1002", seed=4))
    for patient in (PATIENT, PatientId("1002")):
        score_patient(admitted, champion, EAST, patient, OPTIONS)
        score_in_shadow(admitted, champion, challenger, EAST, patient, OPTIONS)
        challenger.probability = champion.probability
    assert [one.patient for one in list_agreements(admitted, "bcd-idc/8")] == ["1001", "1002"]
    record_withdrawal(admitted, "1001", hospital=None, sign_off=SignOff("Mary", "a letter"))
    assert [one.patient for one in list_agreements(admitted, "bcd-idc/8")] == ["1002"]

    newer = Told(champion, "bcd-idc/9", champion.probability)
    score_patient(admitted, newer, EAST, PatientId("1002"), OPTIONS)
    score_in_shadow(admitted, newer, challenger, EAST, PatientId("1002"), OPTIONS)
    assert [one.champion for one in list_agreements(admitted, "bcd-idc/8")] == ["bcd-idc/9"]
    remove_shadow(admitted.settings, "bcd-idc/8")
    assert list(admitted.settings.shadow.rglob("*.parquet")) == []
