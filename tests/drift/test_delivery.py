"""A delivery is compared by its patients and the catalog keeps what was found; scores count once there are any."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from bcd.drift.delivery import compare_delivery, find_state, read_state
from bcd.drift.patient import FILE, assess_patient
from bcd.drift.state import UNTRUSTED, Known
from bcd.patches import Hospital, PatientId
from bcd.store.drift import find_drift, list_drift
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import LedgerEntry, record_in_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.store.withdrawals import record_withdrawal

BUNDLE = "bcd-idc/7"


def test_a_delivery_like_the_training_patients_is_fine_and_recorded(store: Store, deliver, painted: Known) -> None:
    delivery = deliver("usual", seed=5)
    record = compare_delivery(store, BUNDLE, painted, delivery)
    assert (record.level, record.stage, record.bundle, record.hospital) == ("fine", "admission", BUNDLE, "east")
    assert find_drift(store, delivery.id) == record
    state = read_state(record)
    assert (state.patients, state.known, state.foreign) == (10, 40, False)


def test_a_darker_delivery_is_not_to_be_trusted(store: Store, deliver, painted: Known) -> None:
    state = read_state(compare_delivery(store, BUNDLE, painted, deliver("dark", seed=5, light=-30)))
    assert state.level == UNTRUSTED
    assert state.shifts["density_red"] > 1


def test_a_foreign_hospital_is_said_whatever_its_pictures_are_like(store: Store, deliver, painted: Known) -> None:
    state = read_state(compare_delivery(store, BUNDLE, painted, deliver("usual", hospital="west", seed=5)))
    assert (state.level, state.foreign) == ("fine", True)


def test_who_withdrew_is_not_measured(store: Store, deliver, painted: Known) -> None:
    delivery = deliver("usual", seed=5)
    declare_hospital(store, "east", "pseudonyms", SignOff("a test", "a test"))
    record_withdrawal(store, "usual-03", hospital="east", sign_off=SignOff("Dr Lee", "a letter"))
    assert read_state(compare_delivery(store, BUNDLE, painted, delivery)).patients == 9


def test_a_bundle_without_profiles_is_recorded_as_not_compared(store: Store, deliver) -> None:
    record = compare_delivery(store, BUNDLE, None, deliver("usual"))
    assert (record.level, read_state(record).foreign) == ("not compared", None)


def score_all(store: Store, name: str, known: Known, *, logit: float) -> None:
    """Leaves what scoring leaves of ten patients whose probabilities are as told, and of one who was trained on."""
    random = np.random.default_rng(1)
    for number in range(10):
        logits = random.normal(logit, 2, 6)
        scores = pd.DataFrame({"slide": "5", "logit": logits, "probability": 1 / (1 + np.exp(-logits))})
        pixels = {"5": np.full((6, 50, 50, 3), 120, np.uint8)}
        kept = assess_patient(known, Hospital("east"), scores, pixels, trained_on=number == 0, delivery=None)
        folder = store.settings.home / f"scores/{name}-{number:02d}"
        folder.mkdir(parents=True)
        (folder / FILE).write_text(kept.model_dump_json())
        person = Hospital("east"), PatientId(f"{name}-{number:02d}")
        at, where = datetime(2026, 1, 2, tzinfo=UTC), folder.relative_to(store.settings.home).as_posix()
        record_in_ledger(store, LedgerEntry(*person, BUNDLE, content="c", status="scored", at=at, folder=where))


def test_scores_of_whom_the_bundle_was_not_trained_on_count_once_they_are_there(
    store: Store, deliver, painted: Known
) -> None:
    delivery = deliver("usual", seed=5)
    assert compare_delivery(store, BUNDLE, painted, delivery).level == "fine"
    score_all(store, "usual", painted, logit=6)
    record = compare_delivery(store, BUNDLE, painted, delivery)
    assert (record.level, record.stage) == ("unusual", "scoring")
    assert "probability" in read_state(record).shifts
    assert compare_delivery(store, "bcd-idc/8", painted, delivery).stage == "admission"  # scored it nothing
    assert [one.bundle for one in list_drift(store, delivery=delivery.id)] == [BUNDLE, "bcd-idc/8"]


def test_a_patient_has_the_worst_state_of_the_deliveries_that_brought_the_patches(
    store: Store, deliver, painted: Known
) -> None:
    usual, dark = deliver("usual", seed=5), deliver("dark", seed=5, light=-30)
    assert find_state(store, BUNDLE, painted, [usual.batch, usual.batch]).level == "fine"
    assert find_state(store, BUNDLE, painted, [usual.batch, dark.batch]).level == UNTRUSTED
    assert len(list_drift(store)) == 2
    find_state(store, BUNDLE, painted, [dark.batch])
    assert len(list_drift(store)) == 2  # found, not compared again


def test_a_patient_is_compared_slide_by_slide(painted: Known, paint) -> None:
    logits = np.zeros(12)
    scores = pd.DataFrame({"slide": ["1"] * 6 + ["2"] * 6, "logit": logits, "probability": 0.5 + logits})
    usual, dark = paint(1, seed=5), paint(1, seed=5, light=-90)
    found = assess_patient(painted, Hospital("east"), scores, {"1": usual, "2": dark}, trained_on=True, delivery=None)
    assert found.slides["1"].level == "fine"
    assert found.slides["2"].level == found.state.level == UNTRUSTED
    assert found.scores is None
    assert "Slide 2" in found.state.reasons[0]
