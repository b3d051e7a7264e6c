"""Scoring many patients survives anything: who fails is recorded with reason and attempts, and blocks nobody."""

from __future__ import annotations

import os

import pytest

from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import patients_to_score, score_patient
from bcd.store.ledger import MOST_ATTEMPTS, UNENDED, list_failing, list_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.store.withdrawals import record_withdrawal

EAST, FIRST, SECOND = Hospital("east"), PatientId("1001"), PatientId("1002")
OPTIONS = ScoreOptions()


@pytest.fixture
def admitted(store, make_patches):
    for seed, patient in enumerate((FIRST, SECOND)):
        store.admit(*make_patches([(0, 0), (1, 0)], patient=patient, seed=seed))
    return store


def score(store, bundle, patient=FIRST):
    return score_patient(store, bundle, EAST, patient, OPTIONS)


def fail(store, bundle, monkeypatch, error, expected=BcdError):
    def stop(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(bundle, "score", stop)
        with pytest.raises(expected):
            score(store, bundle)


def kill(store, bundle):
    """Scores in a process of its own, which is killed while the bundle scores."""
    child = os.fork()
    if child == 0:
        try:
            bundle.score = lambda *_, **__: os._exit(9)
            with open_store(store.settings) as own:
                score(own, bundle)
        finally:
            os._exit(1)  # whatever it met, the child is no second run of the tests
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_who_fails_is_listed_with_reason_and_attempts_until_a_success(admitted, bundle, monkeypatch):
    assert list_failing(admitted) == []
    for error in (OSError("No space left on device"), ValueError("odd")):
        fail(admitted, bundle, monkeypatch, error)
    (failing,) = list_failing(admitted)
    assert (failing.hospital, failing.patient, failing.bundle) == (EAST, FIRST, "bcd-idc/7")
    assert (failing.attempts, failing.unended, failing.error) == (2, 0, "ValueError: odd")
    assert failing.since < failing.at
    score(admitted, bundle)
    assert list_failing(admitted) == []
    assert [entry.status for entry in list_ledger(admitted)] == ["scored", "failed", "failed"]


def test_who_failed_comes_after_all_others(admitted, bundle, monkeypatch):
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, FIRST), (EAST, SECOND)]
    fail(admitted, bundle, monkeypatch, ValueError("odd"))
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, SECOND), (EAST, FIRST)]


def test_a_patient_who_ends_the_process_comes_last_and_is_given_up_until_asked_for(admitted, bundle, make_patches):
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert (EAST, FIRST) in patients_to_score(admitted, bundle, OPTIONS)
        kill(admitted, bundle)
        (failing,) = list_failing(admitted)
        assert (failing.attempts, failing.unended, failing.error) == (attempt, attempt, UNENDED)
        assert patients_to_score(admitted, bundle, OPTIONS)[0] == (EAST, SECOND)
    assert failing.is_given_up
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, SECOND)]
    assert list_ledger(admitted) == []

    bundle.name = "bcd-idc/8"  # another bundle is another matter
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, SECOND), (EAST, FIRST)]
    bundle.name = "bcd-idc/7"
    admitted.admit(*make_patches([(7, 7)], seed=5))  # and so are other patches
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, SECOND), (EAST, FIRST)]


def test_a_person_who_asks_for_the_patient_is_answered(admitted, bundle):
    for _ in range(MOST_ATTEMPTS):
        kill(admitted, bundle)
    assert score(admitted, bundle).report.exists()
    assert list_failing(admitted) == []


def test_an_interruption_gives_nobody_up(admitted, bundle, monkeypatch):
    for _ in range(MOST_ATTEMPTS):
        fail(admitted, bundle, monkeypatch, KeyboardInterrupt(), KeyboardInterrupt)
    (failing,) = list_failing(admitted)
    assert (failing.attempts, failing.unended, failing.is_given_up) == (MOST_ATTEMPTS, 0, False)
    assert (EAST, FIRST) in patients_to_score(admitted, bundle, OPTIONS)


def test_a_withdrawn_patient_waits_for_nothing(admitted, bundle, monkeypatch):
    fail(admitted, bundle, monkeypatch, ValueError("odd"))
    record_withdrawal(admitted, FIRST, hospital=None, sign_off=SignOff("Mary", "a letter"))
    assert list_failing(admitted) == []
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, SECOND)]


def test_a_withdrawal_between_the_list_and_the_look_keeps_nobody_waiting(admitted, bundle, monkeypatch):
    def withdraw_then_open(store, scorer, hospital, patient, options):
        if patient == FIRST:
            record_withdrawal(store, FIRST, hospital=None, sign_off=SignOff("Mary", "a letter"))
        return honest(store, scorer, hospital, patient, options)

    from bcd.scoring import job as module

    honest = module.open_scoring_job
    monkeypatch.setattr(module, "open_scoring_job", withdraw_then_open)
    assert patients_to_score(admitted, bundle, OPTIONS) == [(EAST, SECOND)]
