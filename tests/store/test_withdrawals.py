from __future__ import annotations

import pandas as pd
import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.patients import list_patients, list_stored_patches
from bcd.store.pseudonyms import open_pseudonyms
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.store.withdrawals import find_snapshots_of_withdrawn, list_withdrawals, record_withdrawal

EAST = Hospital("east")


@pytest.fixture(autouse=True)
def declared(store: Store, store_batch) -> None:
    declare_hospital(store, "east", "pseudonyms", SignOff("Mary", "test"))
    store_batch(["8867", "9999"])


def _withdraw(store: Store, patient: str, hospital: str | None = "east"):
    return record_withdrawal(store, patient, hospital=hospital, sign_off=SignOff("Mary", "a letter"))


def test_a_withdrawal_is_recorded_and_twice_is_once(store: Store) -> None:
    first, is_new = _withdraw(store, "8867", None)
    assert is_new
    assert (first.person, first.sign_off) == (("east", "8867"), SignOff("Mary", "a letter"))
    assert record_withdrawal(store, "8867", hospital="east", sign_off=SignOff("John", "again")) == (first, False)
    assert list_withdrawals(store) == [first]


def test_nobody_scores_a_withdrawn_patient(store: Store) -> None:
    _withdraw(store, "8867")
    with pytest.raises(BcdError, match=r"east/8867\b.*\bMary\b"):
        list_stored_patches(store, EAST, PatientId("8867"))
    assert len(list_stored_patches(store, EAST, PatientId("9999"))) == 2


def test_the_list_of_patients_marks_who_is_withdrawn(store: Store) -> None:
    _withdraw(store, "8867")
    assert list_patients(store)[["patient", "withdrawn"]].values.tolist() == [["8867", True], ["9999", False]]


def test_an_unknown_patient_is_answered_with_near_ones(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"\b8868\b.*\beast\b.*\b8867\b"):
        _withdraw(store, "8868")
    assert list_withdrawals(store) == []


def test_a_raw_hospital_s_patient_is_named_by_identifier_or_pseudonym(store: Store, store_batch) -> None:
    declare_hospital(store, "north", "raw", SignOff("Mary", "test"))
    pseudonyms = open_pseudonyms(store, Hospital("north"))
    assert pseudonyms is not None
    miller = pseudonyms.patient("Miller")
    store_batch([miller], hospital="north")
    assert _withdraw(store, "Miller", "north")[0].patient == miller
    assert _withdraw(store, miller, "north")[1] is False
    with pytest.raises(NotFoundError, match=r"\bP[A-Z2-7]{20}\b.*\bnorth\b") as raised:
        _withdraw(store, "Smith", "north")
    assert "Smith" not in str(raised.value)


def test_the_snapshots_that_hold_a_patient_are_found_with_their_batches(settings: Settings) -> None:
    for name, patients in {"aa": ["8867", "8867", "1"], "bb": ["1"]}.items():
        folder = settings.snapshots / name
        folder.mkdir(parents=True)
        rows = [{"hospital": "east", "patient": patient, "batch": f"b{i}"} for i, patient in enumerate(patients)]
        pd.DataFrame(rows).to_parquet(folder / "patches.parquet")
    found = find_snapshots_of_withdrawn(settings, [("east", "8867"), ("west", "8867")])  # type: ignore[list-item]
    assert found == {("east", "8867"): {"aa": {"b0", "b1"}}, ("west", "8867"): {}}
